use serde_json::json;

use super::*;
use crate::{
    article::Article,
    cli::explain::json::ExplainedJson,
    routing::{explain::explain, taxonomy::Taxonomy},
    topic::Topic,
    wire::convert,
};

const TAXONOMY: &str = r#"
[topics.general]
names = {}
[topics.ict]
names = {}
[topics."ict.cybersecurity"]
names = {}
phrases.en = ["cybersecurity|cyber*"]
phrases.ar = ["أمن سيبراني"]
[topics.economy]
names = {}
phrases.en = ["market"]
subjects = ["04000000"]
"#;

const AR: &str = "دمشق وعمّان تبحثان التعاون في الاتصالات والأمن السيبراني بين البلدين الشقيقين";

fn english() -> proto::Article {
    proto::Article {
        headline: "Damascus and Amman agree joint team on communications and cybersecurity".into(),
        body:
            "The two sides will share warnings of cyberattacks.\nThe market was calm, an analyst \
               said on Tuesday, and so were the people who sell in it."
                .into(),
        language: "en".into(),
        ..proto::Article::default()
    }
}

/// The subject of an article that went to `inherited` before, as the server would explain it.
fn with_subject<T>(
    article: &proto::Article,
    inherited: &[&str],
    use_it: impl FnOnce(&Subject<'_>) -> T,
) -> T {
    let taxonomy = Taxonomy::parse(TAXONOMY).unwrap();
    let (_, read) = convert::routing::explained(article.clone()).unwrap();
    let inherited: Vec<Topic> = inherited
        .iter()
        .map(|topic| topic.parse().unwrap())
        .collect();
    let action = crate::article::Action::Publish;
    let explanation = explain(&read, action, &inherited, true, &taxonomy).unwrap();
    let mut explained = convert::routing::explanation(explanation, &taxonomy);
    explained.taxonomy_version = "0123456789ab".into();
    use_it(&Subject {
        name: "talks.json:1",
        is_stored: false,
        article,
        fields: &Fields::of(&read),
        explained: &explained,
    })
}

fn plain(article: &proto::Article, inherited: &[&str], look: Look) -> String {
    let text = with_subject(article, inherited, |subject| explained(subject, &look));
    anstream::adapter::strip_str(&text).to_string()
}

const PIPE: Look = Look {
    columns: None,
    mark: Mark::Brackets,
};

const PIPED: &str = r#"
Damascus and Amman agree joint team on communications and cybersecurity
talks.json:1  en  taxonomy 0123456789ab
goes to    ict.cybersecurity
inherited  general

ict.cybersecurity  routed  15 points, 10 are needed
   +15 phrase  cybersecurity|cyber*
               headline     Damascus and Amman agree joint team on communications and [cybersecurity]
               body         The two sides will share warnings of [cyberattacks]. The market was calm, an…
general  inherited
       earlier an earlier revision went there
ict  yields  7 points, 10 are needed
    +7 beneath ict.cybersecurity
    → nothing: ict.cybersecurity says it more precisely, and reaches its subscribers
economy  below the threshold  6 points, 10 are needed
    +6 phrase  market
               body         …will share warnings of cyberattacks. The [market] was calm, an analyst said on…
    → 4 more points are needed: say more of it, headline first, or name economy in subjects with rel "topic"
"#;

/// A pipe gets every phrase in brackets among its words, and no escapes.
#[test]
fn pipe() {
    let shown = plain(&english(), &["general"], PIPE);
    assert_eq!(shown, PIPED.trim());
    let coloured = with_subject(&english(), &[], |subject| explained(subject, &PIPE));
    assert!(!coloured.contains('\x1b'));
}

/// A terminal gets lines that fit it, with right-to-left text isolated and the phrase in a colour.
#[test]
fn terminal() {
    let arabic = proto::Article {
        headline: AR.into(),
        language: "ar".into(),
        ..proto::Article::default()
    };
    for columns in [40, 60, 80, 132] {
        let look = Look {
            columns: Some(columns),
            mark: Mark::Colour,
        };
        for article in [&english(), &arabic] {
            for line in plain(article, &["ict.cybersecurity", "general"], look).lines() {
                assert!(width_of(line) < columns, "{columns}: {line}");
                let count = |wanted| line.chars().filter(|char| *char == wanted).count();
                assert_eq!(count('\u{2068}'), count('\u{2069}'), "{line}");
            }
        }
    }
    let look = Look {
        columns: Some(60),
        mark: Mark::Colour,
    };
    let shown = with_subject(&arabic, &[], |subject| explained(subject, &look));
    assert!(
        shown.contains("\x1b[1m\x1b[33mوالأمن السيبراني\x1b[0m"),
        "{shown:?}"
    );
}

/// What is stored otherwise is told topic by topic, with the reasons of then.
#[test]
fn stored_otherwise() {
    let shown = with_subject(&english(), &[], |subject| {
        let explained = proto::ExplainRoutingResponse {
            stored_topics: vec!["ict.cybersecurity".into(), "economy".into()],
            stored_reasons: vec!["text 18: cybersecurity".into(), "named economy".into()],
            topics: vec!["ict.cybersecurity".into(), "ict.telecom".into()],
            ..subject.explained.clone()
        };
        stored(&explained, &PIPE).join("\n")
    });
    assert_eq!(
        shown,
        "stored     otherwise, with the reasons of then:\n  \
         = ict.cybersecurity  text 18: cybersecurity\n  \
         - economy  named economy\n  \
         + ict.telecom"
    );
}

/// The keys of the JSON form are a contract with scripts.
#[test]
fn json() {
    let mut shown = with_subject(&english(), &["general"], |subject| {
        serde_json::to_value(ExplainedJson::of(subject)).unwrap()
    });
    let place = |field: &str, offset: u32, before: &str, text: &str, after: &str| json!({"field": field, "offset": offset, "before": before, "text": text, "after": after});
    let phrases = json!([
        place(
            "article.headline",
            58,
            "Damascus and Amman agree joint team on communications and ",
            "cybersecurity",
            ""
        ),
        place(
            "article.body",
            37,
            "…two sides will share warnings of ",
            "cyberattacks",
            ". The market was calm, an analyst…"
        ),
    ]);
    assert_eq!(
        shown["explanations"][0],
        json!({
            "topic": "ict.cybersecurity", "verdict": "routed", "points": 15, "remedy": null,
            "evidence": [{
                "kind": "phrase", "points": 15, "phrase": "cybersecurity|cyber*", "places": phrases,
            }],
        })
    );
    assert_eq!(shown["explanations"][2]["verdict"], "yields");
    assert_eq!(
        shown["explanations"][2]["evidence"],
        json!([{"kind": "descendant", "points": 7, "topic": "ict.cybersecurity"}])
    );
    shown.as_object_mut().unwrap().remove("explanations");
    assert_eq!(
        shown,
        json!({
            "result": "explained", "place": "talks.json:1", "id": "", "uri": "", "language": "en",
            "headline": english().headline, "taxonomy_version": "0123456789ab", "threshold": 10,
            "topics": ["ict.cybersecurity", "general"], "own_topics": ["ict.cybersecurity"],
            "inherited_topics": ["general"], "stored": [],
        })
    );
}

/// A phrase that is not where its place says, as of another revision, is shown without words
/// around it, and any offset is harmless.
#[test]
fn places_of_another_text() {
    let article = Article {
        headline: "a joint team".into(),
        ..Article::default()
    };
    let fields = Fields::of(&article);
    let around = |field: &str, offset, text: &str| {
        let place = proto::PhrasePlace {
            field: field.into(),
            offset,
            text: text.into(),
        };
        let context = fields.around(&place, 80);
        (context.before, context.phrase, context.after)
    };
    let parts = |before: &str, after: &str| (before.into(), "joint".into(), after.into());
    assert_eq!(around("article.headline", 2, "joint"), parts("a ", " team"));
    for (field, offset) in [
        ("article.headline", 3),
        ("article.headline", u32::MAX),
        ("article.body", 0),
        ("x", 2),
    ] {
        assert_eq!(around(field, offset, "joint"), parts("", ""));
    }
    assert_eq!(around("article.headline", 12, "").0, "a joint team");
}
