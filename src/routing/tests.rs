//! Routing is total, never drops what an earlier revision had, and gives each topic its reason.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn topics(paths: &[&str]) -> Vec<Topic> {
    paths.iter().map(|path| path.parse().unwrap()).collect()
}

fn article(named: &[&str], codes: &[&str]) -> Article {
    Article {
        topics: topics(named),
        subjects: codes.iter().map(|code| (*code).to_owned()).collect(),
        ..Article::default()
    }
}

fn routed(article: &Article, action: Action, inherited: &[&str]) -> Result<Route, RouteError> {
    // Made once: in a debug build that takes a while.
    static BUILT_IN: LazyLock<Taxonomy> = LazyLock::new(Taxonomy::built_in);
    let findings = Findings::read(article, &BUILT_IN);
    route(article, action, &topics(inherited), &findings, &BUILT_IN)
}

/// An article in English.
fn story(headline: &str, body: &str) -> Article {
    Article {
        headline: headline.to_owned(),
        body: body.to_owned(),
        language: Some("en".parse().unwrap()),
        ..Article::default()
    }
}

fn small(rest: &str) -> Taxonomy {
    let text = format!(
        "[topics.general]\nnames = {{}}\n[topics.ict]\nnames = {{}}\n[topics.'ict.telecom']\n\
         names = {{}}\nphrases.en = ['network', 'mobile network']\nhints.en = ['phone']\n{rest}"
    );
    Taxonomy::parse(&text).unwrap()
}

#[test]
fn named_topics_and_codes_lead_and_a_parent_yields_to_its_child() {
    let route = routed(
        &article(&["ict", "ict.telecom"], &["04000000"]),
        Action::Publish,
        &[],
    );
    let route = route.unwrap();
    assert_eq!(route.topics, topics(&["ict.telecom", "economy"]));
    assert_eq!(
        route.reasons,
        [
            Reason::Named(topics(&["ict.telecom"])[0].clone()),
            Reason::Subject("04000000".into())
        ]
    );
}

#[test]
fn what_belongs_nowhere_is_general() {
    let route = routed(&article(&[], &["99999999"]), Action::Publish, &[]).unwrap();
    assert_eq!((route.topics, route.own_count), (topics(&["general"]), 1));
    // A later revision without topics of its own stays where the story was.
    let route = routed(&article(&[], &[]), Action::Update, &["ict"]).unwrap();
    assert_eq!((route.topics, route.own_count), (topics(&["ict"]), 0));
}

#[test]
fn a_later_revision_goes_to_its_own_topics_then_to_all_earlier_ones() {
    let route = routed(
        &article(&["economy"], &[]),
        Action::Correct,
        &["ict", "general"],
    )
    .unwrap();
    assert_eq!(route.topics, topics(&["economy", "ict", "general"]));
    assert_eq!(route.own_count, 1);
    // Not even a descendant of its own displaces an inherited topic.
    let route = routed(&article(&["ict.telecom"], &[]), Action::Update, &["ict"]).unwrap();
    assert_eq!(route.topics, topics(&["ict.telecom", "ict"]));
}

#[test]
fn a_withdrawal_adds_no_topics() {
    let route = routed(
        &article(&["economy"], &["13000000"]),
        Action::Kill,
        &["general"],
    )
    .unwrap();
    assert_eq!((route.topics, route.own_count), (topics(&["general"]), 0));
}

#[test]
fn an_unknown_topic_is_refused_with_the_nearest() {
    for (given, nearest) in [
        ("itc", "ict"),
        ("cybersecurity", "ict.cybersecurity"),
        ("econmy", "economy"),
    ] {
        let error = routed(&article(&["ict", given], &[]), Action::Publish, &[]).unwrap_err();
        let [unknown, nearest] = [given, nearest].map(|path| path.parse().unwrap());
        assert_eq!(
            error,
            RouteError::Unknown {
                index: 1,
                unknown,
                nearest
            }
        );
    }
}

#[test]
fn topics_that_the_taxonomy_has_lost_stay_valid_for_their_articles() {
    let route = routed(
        &article(&["old.topic"], &[]),
        Action::Update,
        &["old.topic"],
    )
    .unwrap();
    assert_eq!(route.topics, topics(&["old.topic"]));
}

#[test]
fn an_article_has_at_most_64_topics() {
    let many: Vec<String> = (0..TOPICS_MAX)
        .map(|index| format!("old.t{index}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = routed(&article(&["ict"], &[]), Action::Update, &many).unwrap_err();
    assert_eq!(error, RouteError::TooMany { count: 65 });
    assert!(routed(&article(&["ict"], &[]), Action::Kill, &many).is_ok());
}

/// The story of two governments that talk about communications and cybersecurity.
#[test]
fn talks_on_communications_and_cybersecurity_need_no_named_topic() {
    let english = story(
        "Damascus and Amman agree joint team on communications and cybersecurity",
        "DAMASCUS - Government delegations from Syria and Jordan held talks on Tuesday on closer \
         cooperation in communications and cybersecurity, and agreed to form a joint technical \
         team.\n\nThe two sides discussed sharing early warnings of cyberattacks, officials said.",
    );
    let arabic = Article {
        headline: "دمشق وعمّان تبحثان التعاون في الاتصالات والأمن السيبراني".to_owned(),
        body: "بحث وفدان حكوميان من سوريا والأردن، الثلاثاء في دمشق، سبل توسيع التعاون في مجالي \
               الاتصالات والأمن السيبراني، واتفقا على تشكيل فريق فني مشترك. وتناولت المباحثات تبادل \
               الإنذارات المبكرة بشأن الهجمات الإلكترونية."
            .to_owned(),
        language: Some("ar".parse().unwrap()),
        ..Article::default()
    };
    for article in [english, arabic] {
        let route = routed(&article, Action::Publish, &[]).unwrap();
        for wanted in topics(&["diplomacy.bilateral", "ict.cybersecurity"]) {
            assert!(route.topics.contains(&wanted), "{:?}", route);
        }
        let is_economy = |topic: &Topic| topic.as_str().starts_with("economy");
        assert!(!route.topics.iter().any(is_economy), "{route:?}");
    }
}

#[test]
fn points_follow_the_place_and_overlaps_count_once() {
    let taxonomy = small("[ignore]\nen = ['network of friends']");
    let points = |article: &Article| {
        let findings = Findings::read(article, &taxonomy);
        let score = findings.score(article.language.as_ref(), &taxonomy);
        score.own.get(2).copied().unwrap_or(0)
    };
    assert_eq!(points(&story("Network", "")), 9);
    assert_eq!(points(&story("", "network")), 6);
    let late = format!("{} network", "word ".repeat(45));
    assert_eq!(points(&story("", &late)), 3);
    // The longer phrase alone, and a hint.
    assert_eq!(points(&story("", "mobile network, phone")), 6 + 2);
    // One phrase weighs at most 6.
    assert_eq!(points(&story("network", "network network network")), 18);
    assert_eq!(points(&story("A network of friends", "")), 0);
}

#[test]
fn phrases_are_for_articles_of_their_language() {
    let taxonomy = small("");
    let mut article = story("network network", "mobile network");
    let find = |article: &Article| {
        let findings = Findings::read(article, &taxonomy);
        route(article, Action::Publish, &[], &findings, &taxonomy)
            .unwrap()
            .topics
    };
    assert_eq!(find(&article), topics(&["ict.telecom"]));
    article.language = Some("en-GB".parse().unwrap());
    assert_eq!(find(&article), topics(&["ict.telecom"]));
    article.language = Some("fr".parse().unwrap());
    assert_eq!(find(&article), topics(&["general"]));
}

#[test]
fn rules_need_all_and_none_and_can_speak_against() {
    let taxonomy = small(
        "[groups.talks]\nen = ['talks', 'met']\n[groups.sport]\nen = ['coach']\n\
         [[rules]]\nname = 'talk'\ntopics = ['ict.telecom']\npoints = 15\nall = { talks = 2 }\n\
         none = ['sport']\n[[rules]]\nname = 'sport'\ntopics = ['ict.telecom']\npoints = -40\n\
         all = { sport = 1 }",
    );
    let is_telecom = |headline: &str| {
        let article = story(headline, "");
        let findings = Findings::read(&article, &taxonomy);
        let route = route(&article, Action::Publish, &[], &findings, &taxonomy).unwrap();
        route.topics == topics(&["ict.telecom"])
    };
    assert!(is_telecom("They met for talks"));
    assert!(!is_telecom("talks about talks"));
    assert!(!is_telecom("They met for talks with the coach"));
    assert!(is_telecom("network network mobile network"));
    assert!(!is_telecom("network network mobile network coach"));
}

#[test]
fn a_named_alias_means_its_topic() {
    let taxonomy = small("[aliases]\n'mobile' = 'ict.telecom'");
    let article = article(&["mobile"], &[]);
    let findings = Findings::default();
    let route = route(&article, Action::Publish, &[], &findings, &taxonomy).unwrap();
    assert_eq!(route.topics, topics(&["ict.telecom"]));
    assert_eq!(route.reasons, [Reason::Named("mobile".parse().unwrap())]);
}

/// An explanation decides as routing does, and says where each phrase stands.
#[test]
fn an_explanation_is_the_decision_with_its_places() {
    use explain::{Evidence, PhrasePlace, explain};
    let taxonomy = small("");
    let article = story("Ein Network", "A phone, a network");
    let explanation = explain(
        &article,
        Action::Publish,
        &topics(&["ict"]),
        true,
        &taxonomy,
    );
    let explanation = explanation.unwrap();
    let telecom = &explanation.topics[0];
    assert_eq!(telecom.topic, topics(&["ict.telecom"])[0]);
    assert_eq!(
        (telecom.verdict, telecom.points),
        (Verdict::Routed, 9 + 6 + 2)
    );
    let places: Vec<&PhrasePlace> = (telecom.evidence.iter())
        .filter_map(|(evidence, _)| match evidence {
            Evidence::Phrase(phrase) => phrase.places.first(),
            _ => None,
        })
        .collect();
    assert_eq!(
        (places[0].field, places[0].offset, &*places[0].text),
        ("article.headline", 4, "Network")
    );
    assert_eq!(places[1].text, "phone");
    assert_eq!(explanation.topics[1].evidence[0].0, Evidence::Inherited);
}

#[test]
fn what_falls_short_is_told_what_it_lacks() {
    use explain::explain;
    let taxonomy = small("");
    let article = story("", "network");
    let explanation = explain(&article, Action::Publish, &[], true, &taxonomy).unwrap();
    assert_eq!(explanation.route.topics, topics(&["general"]));
    let short = &explanation.topics[1];
    assert_eq!(short.verdict, Verdict::BelowThreshold);
    assert!(
        short.remedy.starts_with("4 more points"),
        "{}",
        short.remedy
    );
}

/// Whatever a text holds, reading it is bounded and finds the same by route and explanation.
#[test]
fn the_largest_article_with_every_phrase_is_routed() {
    let taxonomy = Taxonomy::built_in();
    let cues = taxonomy.phrasebook().cues().iter();
    let every: String = cues
        .map(|cue| cue.text.replace(['|', '*'], " ") + " ")
        .collect();
    let mut article = story("every phrase", &every.repeat(1 + 512 * 1024 / every.len()));
    article
        .body
        .truncate(article.body.floor_char_boundary(512 * 1024));
    let findings = Findings::read(&article, &taxonomy);
    let route = route(&article, Action::Publish, &[], &findings, &taxonomy).unwrap();
    assert!((1..=OWN_TOPICS_MAX).contains(&route.own_count), "{route:?}");
}

proptest! {
    #[test]
    fn routing_is_total_and_keeps_the_past(
        headline in "\\PC{0,40}",
        named in vec(select(vec!["ict", "ict.telecom", "economy", "diplomacy.visits"]), 0..5),
        past in vec(select(vec!["ict", "general", "economy.trade"]), 0..4),
        action in select(vec![Action::Publish, Action::Update, Action::Kill]),
    ) {
        let article = Article { headline, ..article(&named, &[]) };
        let route = routed(&article, action, &past).unwrap();
        prop_assert!(!route.topics.is_empty());
        prop_assert_eq!(route.topics.len(), route.reasons.len());
        prop_assert!(topics(&past).iter().all(|topic| route.topics.contains(topic)));
        let mut unique = route.topics.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), route.topics.len());
    }
}
