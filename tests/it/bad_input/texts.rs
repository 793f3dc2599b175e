//! Texts that disguise themselves, that are too large, and that are HTML.

use std::time::Duration;

use barid::wire::proto::v1::{Action, Article, BodyType, Filter, Link, Place, SubscribeRequest};
use prost::Message as _;
use tokio::time::Instant;

use crate::{
    bad_input::{INVALID, Wire, good, link, place, strings},
    harness::{article, article_of, everything, fields, refusal, seq},
    raw_log,
};

/// Proves that text which disguises itself is refused wherever readers see a line, and that what
/// honest Arabic, Persian and emoji need is welcome, unchanged.
#[tokio::test]
async fn controls_are_refused_and_joiners_are_welcome() {
    let mut wire = Wire::start().await;
    let bidi = "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    let controls = "\0\u{1}\u{7}\t\n\r\u{1b}\u{7f}\u{85}\u{9f}";
    for bad in bidi.chars().chain(controls.chars()) {
        let article = article("", &format!("a {bad} headline"));
        let case = format!("U+{:04X}", u32::from(bad));
        let result = wire.node.publish(Action::Publish, article).await;
        wire.check(&case, result, INVALID, &["article.headline"])
            .await;
    }
    let (bad, title) = ("a\u{202e}b".to_owned(), "a\u{2066}b".to_owned());
    let lines = [
        (
            Article {
                subheadline: bad.clone(),
                ..good()
            },
            "article.subheadline",
        ),
        (
            Article {
                slugline: bad.clone(),
                ..good()
            },
            "article.slugline",
        ),
        (
            Article {
                byline: bad.clone(),
                ..good()
            },
            "article.byline",
        ),
        (
            Article {
                located: bad.clone(),
                ..good()
            },
            "article.located",
        ),
        (
            Article {
                source: bad.clone(),
                ..good()
            },
            "article.source",
        ),
        (
            Article {
                edition_note: bad.clone(),
                ..good()
            },
            "article.edition_note",
        ),
        (
            Article {
                usage_terms: bad.clone(),
                ..good()
            },
            "article.usage_terms",
        ),
        (
            Article {
                body: bad.clone(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                body: "a\u{202d}b".into(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                body: "a\0b".into(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                body: "a\rb".into(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                places: vec![place(&bad)],
                ..good()
            },
            "article.places[0].name",
        ),
        (
            Article {
                links: vec![Link { title, ..link() }],
                ..good()
            },
            "article.links[0].title",
        ),
    ];
    for (article, field) in lines {
        let result = wire.node.publish(Action::Publish, article).await;
        wire.check(field, result, INVALID, &[field]).await;
    }
    let welcome = Article {
        headline: "a\u{200e}b\u{200f}c\u{61c}d می\u{200c}خواهم 👩\u{200d}💻".to_owned(),
        body: "a\tb\n\n\u{202a}c\u{202c} \u{202b}d\u{202c} \u{2067}e\u{2069} \u{200f}f".to_owned(),
        ..good()
    };
    let response = wire
        .node
        .publish(Action::Publish, welcome.clone())
        .await
        .unwrap();
    let delivery = wire.reader.delivery().await;
    assert_eq!(delivery.cursor, response.cursor);
    let found = article_of(&delivery);
    assert_eq!(
        (found.headline, found.body),
        (welcome.headline, welcome.body)
    );
}

/// Proves that the limits of whole articles hold where each field is within its own, that what is
/// just within them is accepted, and that a thousand mistakes come back as one readable answer.
#[tokio::test]
async fn large_articles_and_many_mistakes_are_answered() {
    let mut wire = Wire::start().await;
    let large = |count: usize| Article {
        body: "x".repeat(512 * 1024),
        links: vec![
            Link {
                href: format!("https://wire.example/{}", "x".repeat(2000)),
                title: "𝒳".repeat(500),
                ..link()
            };
            count
        ],
        places: vec![
            Place {
                name: "𝒳".repeat(200),
                uri: format!("https://wire.example/{}", "x".repeat(2000)),
            };
            count
        ],
        ..article("", "a large one")
    };
    assert!(large(64).encoded_len() > 900 * 1024);
    let result = wire.node.publish(Action::Publish, large(64)).await;
    wire.check("an article too large", result, INVALID, &["article"])
        .await;

    let within = (1..64)
        .map(large)
        .take_while(|one| one.encoded_len() <= 900 * 1024)
        .last();
    let response = wire
        .node
        .publish(Action::Publish, within.clone().unwrap())
        .await
        .unwrap();
    let delivery = wire.reader.delivery().await;
    assert_eq!(delivery.cursor, response.cursor);
    assert_eq!(article_of(&delivery).body, within.unwrap().body);
    wire.last_seq = Some(seq(&response.cursor));

    let mistakes = Article {
        uri: "\u{202e}".repeat(100),
        headline: "\u{202e}".repeat(600),
        subheadline: "\u{202e}".repeat(600),
        topics: strings(&"\u{202e}".repeat(100), 16),
        subjects: strings(&"\u{202e}".repeat(100), 64),
        places: vec![
            Place {
                name: "\u{202e}".repeat(300),
                uri: "\u{202e}".repeat(100)
            };
            64
        ],
        links: vec![
            Link {
                title: "\u{202e}".repeat(600),
                ..Link::default()
            };
            64
        ],
        ..Article::default()
    };
    let status = wire
        .node
        .publish(Action::Publish, mistakes)
        .await
        .unwrap_err();
    assert_eq!(refusal(&status), (INVALID.0, INVALID.1.to_owned()));
    assert!(fields(&status).contains(&"article.uri".to_owned()));
    // Other people's clients take no more than 8 KiB of headers.
    let header_bytes = status.message().len() * 3 + status.details().len() * 4 / 3;
    assert!(header_bytes < 8 * 1024, "{header_bytes}");
    wire.works("a thousand mistakes").await;
}

/// Proves that HTML is made harmless before it is stored, and that what could not be is refused.
#[tokio::test]
async fn html_is_sanitised_before_it_is_stored() {
    let mut wire = Wire::start().await;
    let html = |body: &str| Article {
        body: body.to_owned(),
        body_type: BodyType::Html.into(),
        ..article("", "html")
    };
    let cases = [
        ("<p>text<script>evil()</script></p>", "<p>text</p>"),
        ("<p onclick=\"evil()\">text</p>", "<p>text</p>"),
        (
            "<img src=\"https://wire.example/1.png\" onerror=\"evil()\">",
            "<img src=\"https://wire.example/1.png\">",
        ),
        ("<img src=x onerror=evil()>", "<img src=\"x\">"),
        (
            "<a href=\"javascript:evil()\">text</a>",
            "<a rel=\"noopener noreferrer\">text</a>",
        ),
        (
            "<a href=\"java&#10;script:evil()\">text</a>",
            "<a rel=\"noopener noreferrer\">text</a>",
        ),
        ("<iframe src=\"https://evil.example\"></iframe>text", "text"),
        ("<style>evil</style>text", "text"),
        ("<svg><script>evil()</script></svg>text", "text"),
        (
            "<math><mtext><table><mglyph><style><!--</style><img onerror=evil()>--></table>text",
            "",
        ),
        ("<p style=\"position:fixed\">text</p>", "<p>text</p>"),
        (
            "<form action=\"https://evil.example\"><input></form>text",
            "text",
        ),
        ("<!-- evil -->text", "text"),
        (
            "&lt;script&gt;evil()&lt;/script&gt;",
            "&lt;script&gt;evil()&lt;/script&gt;",
        ),
    ];
    for (body, expected) in cases {
        let response = wire
            .node
            .publish(Action::Publish, html(body))
            .await
            .unwrap();
        let delivery = wire.reader.delivery().await;
        assert_eq!(delivery.cursor, response.cursor);
        let found = article_of(&delivery);
        if !expected.is_empty() {
            assert_eq!(found.body, expected, "{body}");
        }
        for evil in [
            "onerror",
            "onclick",
            "javascript:",
            "<script",
            "<iframe",
            "<style",
            "style=",
        ] {
            assert!(!found.body.contains(evil), "{body} became {}", found.body);
        }
        wire.last_seq = Some(seq(&response.cursor));
    }
    let stored = raw_log::messages(&wire.node).await;
    for message in stored {
        let text = String::from_utf8_lossy(&message.payload);
        assert!(
            !text.contains("onerror") && !text.contains("<script"),
            "{}",
            message.subject
        );
    }

    // Entities become what they stand for, so the rules for text hold after that.
    let bold =
        |count: usize| -> String { (0..count).map(|one| format!("<b lang={one}>")).collect() };
    let refused = [
        ("an override by entity", "a&#x202E;b".to_owned()),
        ("a control by entity", "a&#1;b".to_owned()),
        (
            "escapes that outgrow the limit",
            format!("{}&&", ">x".repeat(150_000)),
        ),
        ("too many references", "&".repeat(100_001)),
        ("too many elements", "<p>".repeat(2001)),
        (
            "too many elements in comments",
            format!("<!--{}-->", "<p>".repeat(2001)),
        ),
    ];
    for (case, body) in refused {
        let result = wire.node.publish(Action::Publish, html(&body)).await;
        wire.check(case, result, INVALID, &["article.body"]).await;
    }

    let again = format!("<p>{}{}", bold(900), "<p>x".repeat(900));
    let result = wire.node.publish(Action::Publish, html(&again)).await;
    let both = ["article.body", "article"];
    wire.check(
        "elements that open each other again",
        result,
        INVALID,
        &both,
    )
    .await;
}

/// Proves that HTML which is nested absurdly deep costs a moment and no node, neither when it is
/// published nor when a filter looks for words in it.
#[tokio::test]
async fn deeply_nested_html_breaks_nothing() {
    let mut wire = Wire::start().await;
    let words = Filter {
        words: vec!["needle".to_owned()],
        ..Filter::default()
    };
    let request = SubscribeRequest {
        filter: Some(words),
        ..everything()
    };
    let mut words = wire.node.subscribe(request).await.unwrap();
    words.caught_up().await;
    // As many as are allowed, or the body is refused before it costs anything.
    for open in [
        "<div>",
        "<b>",
        "<p><b>",
        "<ul><li>",
        "<table><tr><td>",
        "<blockquote>",
        "<a href=\"urn:a:b\">",
    ] {
        let body = format!("{}needle", open.repeat(2000 / open.matches('<').count()));
        let nested = Article {
            body,
            body_type: BodyType::Html.into(),
            ..article("", "nested")
        };
        let begin = Instant::now();
        match wire.node.publish(Action::Publish, nested).await {
            Ok(response) => {
                assert_eq!(
                    wire.reader.delivery().await.cursor,
                    response.cursor,
                    "{open}"
                );
                assert_eq!(words.delivery().await.cursor, response.cursor, "{open}");
                wire.last_seq = Some(seq(&response.cursor));
            }
            Err(status) => {
                assert_eq!(
                    refusal(&status),
                    (INVALID.0, INVALID.1.to_owned()),
                    "{open}"
                );
                assert_eq!(fields(&status), ["article.body"], "{open}");
            }
        }
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{open} took {:?}",
            begin.elapsed()
        );
        wire.works(open).await;
    }
}
