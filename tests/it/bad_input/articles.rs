//! Articles with one thing wrong in them.

use barid::wire::proto::v1::{Action, Article, Link, Place};
use prost_types::Timestamp;

use crate::{
    bad_input::{INVALID, Wire, good, link, place, strings},
    harness::new_id,
    raw_log,
};

fn time(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

/// Articles with one thing wrong each, and the field that it is in.
fn bad_articles() -> Vec<(String, Article, &'static str)> {
    let text = |text: &str| text.to_owned();
    let link_with = |one| Article {
        links: vec![one],
        ..good()
    };
    let place_with = |one| Article {
        places: vec![one],
        ..good()
    };
    let (id, long) = (
        new_id(),
        format!("https://wire.example/{}", "x".repeat(2048)),
    );
    let mut cases: Vec<(&str, Article, &'static str)> = vec![
        (
            "no headline",
            Article {
                headline: text(""),
                ..good()
            },
            "article.headline",
        ),
        (
            "a blank headline",
            Article {
                headline: text(" \u{a0}"),
                ..good()
            },
            "article.headline",
        ),
        (
            "a headline too long",
            Article {
                headline: "ع".repeat(501),
                ..good()
            },
            "article.headline",
        ),
        (
            "a subheadline too long",
            Article {
                subheadline: "x".repeat(501),
                ..good()
            },
            "article.subheadline",
        ),
        (
            "a slugline too long",
            Article {
                slugline: "x".repeat(201),
                ..good()
            },
            "article.slugline",
        ),
        (
            "a byline too long",
            Article {
                byline: "x".repeat(501),
                ..good()
            },
            "article.byline",
        ),
        (
            "a dateline too long",
            Article {
                located: "x".repeat(201),
                ..good()
            },
            "article.located",
        ),
        (
            "a source too long",
            Article {
                source: "x".repeat(201),
                ..good()
            },
            "article.source",
        ),
        (
            "a note too long",
            Article {
                edition_note: "x".repeat(1001),
                ..good()
            },
            "article.edition_note",
        ),
        (
            "terms too long",
            Article {
                usage_terms: "x".repeat(2001),
                ..good()
            },
            "article.usage_terms",
        ),
        (
            "a body too long",
            Article {
                body: "x".repeat(512 * 1024 + 1),
                ..good()
            },
            "article.body",
        ),
        (
            "an unknown body type",
            Article {
                body_type: 99,
                ..good()
            },
            "article.body_type",
        ),
        (
            "an id that is no uuid",
            Article {
                id: text("1"),
                ..good()
            },
            "article.id",
        ),
        (
            "an id with a wildcard",
            Article {
                id: "*".repeat(36),
                ..good()
            },
            "article.id",
        ),
        (
            "a uri that is none",
            Article {
                uri: text("wire/1"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri with a line feed",
            Article {
                uri: text("https://a.example/\nx"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri with a space",
            Article {
                uri: text("https://a.example/ x"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri that disguises",
            Article {
                uri: text("https://a.example/\u{202e}x"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri too long",
            Article {
                uri: long.clone(),
                ..good()
            },
            "article.uri",
        ),
        (
            "urgency 10",
            Article {
                urgency: 10,
                ..good()
            },
            "article.urgency",
        ),
        (
            "urgency beyond a byte",
            Article {
                urgency: 257,
                ..good()
            },
            "article.urgency",
        ),
        (
            "10,000 topics",
            Article {
                topics: strings("ict", 10_000),
                ..good()
            },
            "article.topics",
        ),
        (
            "17 topics",
            Article {
                topics: strings("ict", 17),
                ..good()
            },
            "article.topics",
        ),
        (
            "65 subjects",
            Article {
                subjects: strings("04000000", 65),
                ..good()
            },
            "article.subjects",
        ),
        (
            "65 places",
            Article {
                places: vec![place("x"); 65],
                ..good()
            },
            "article.places",
        ),
        (
            "65 links",
            Article {
                links: vec![link(); 65],
                ..good()
            },
            "article.links",
        ),
        (
            "a place without name",
            place_with(place("")),
            "article.places[0].name",
        ),
        (
            "a place with a blank name",
            place_with(place("\u{2003}")),
            "article.places[0].name",
        ),
        (
            "a place too long",
            place_with(place(&"x".repeat(201))),
            "article.places[0].name",
        ),
        (
            "a place with a bad uri",
            place_with(Place {
                uri: text("x"),
                ..place("x")
            }),
            "article.places[0].uri",
        ),
        (
            "a link to nothing",
            link_with(Link {
                href: text(""),
                ..link()
            }),
            "article.links[0]",
        ),
        (
            "a link to both",
            link_with(Link {
                article_id: id,
                ..link()
            }),
            "article.links[0]",
        ),
        (
            "a link to no uuid",
            link_with(Link {
                href: text(""),
                article_id: text("x"),
                ..link()
            }),
            "article.links[0].article_id",
        ),
        (
            "a link without relation",
            link_with(Link {
                relation: 0,
                ..link()
            }),
            "article.links[0].relation",
        ),
        (
            "a link of no relation",
            link_with(Link {
                relation: 99,
                ..link()
            }),
            "article.links[0].relation",
        ),
        (
            "a title too long",
            link_with(Link {
                title: "x".repeat(501),
                ..link()
            }),
            "article.links[0].title",
        ),
        (
            "a type too long",
            link_with(Link {
                content_type: "x".repeat(128),
                ..link()
            }),
            "article.links[0].content_type",
        ),
    ];
    for href in [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//wire.example/1",
        "/1",
        "https://",
        " https://wire.example",
        "java\tscript:alert(1)",
        "https://wire.example/\u{202e}x",
        &long,
    ] {
        let href = href.to_owned();
        cases.push((
            "a bad link",
            link_with(Link { href, ..link() }),
            "article.links[0].href",
        ));
    }
    for tag in [
        "a",
        "e n",
        "en_GB",
        "ar-",
        "-",
        "日本",
        "en-\u{202e}",
        "toolongtag",
        "en\n",
        "en-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd",
    ] {
        cases.push((
            "a bad language",
            Article {
                language: text(tag),
                ..good()
            },
            "article.language",
        ));
    }
    for topic in [
        "",
        ">",
        "ict.>",
        "*",
        "ict.*",
        "ict..telecom",
        ".ict",
        "ict.",
        "ICT",
        "ict telecom",
        "ict\n",
        "ict/telecom",
        "الاقتصاد",
        "a.b.c.d.e.f.g.h.i",
        &"x".repeat(129),
    ] {
        cases.push((
            "a bad topic",
            Article {
                topics: vec![text(topic)],
                ..good()
            },
            "article.topics[0]",
        ));
    }
    for code in [
        "",
        "4000000",
        "040000000",
        "medtop:",
        "medtop:4",
        "subj:04000000",
        "0400000a",
        "٠٤٠٠٠٠٠٠",
    ] {
        cases.push((
            "a bad subject",
            Article {
                subjects: vec![text(code)],
                ..good()
            },
            "article.subjects[0]",
        ));
    }
    for (seconds, nanos) in [
        (253_402_300_800, 0),
        (-2_208_988_801, 0),
        (0, -1),
        (0, 1_000_000_000),
        (i64::MAX, 0),
        (i64::MIN, i32::MIN),
    ] {
        let at = time(seconds, nanos);
        cases.push((
            "a bad time",
            Article {
                first_created: at,
                ..good()
            },
            "article.first_created",
        ));
        cases.push((
            "a bad time",
            Article {
                version_created: at,
                ..good()
            },
            "article.version_created",
        ));
        cases.push((
            "a bad time",
            Article {
                embargoed_until: at,
                ..good()
            },
            "article.embargoed_until",
        ));
        cases.push((
            "a bad time",
            Article {
                expires: at,
                ..good()
            },
            "article.expires",
        ));
    }
    cases
        .into_iter()
        .map(|(case, article, field)| (format!("{case} in {field}"), article, field))
        .collect()
}

/// Proves that an article with anything wrong is refused with the field that it is in.
#[tokio::test]
async fn articles_with_bad_fields_are_refused() {
    let mut wire = Wire::start().await;
    for (case, article, field) in bad_articles() {
        let result = wire.node.publish(Action::Publish, article).await;
        wire.check(&case, result, INVALID, &[field]).await;
    }
    let records = raw_log::whole_groups(&wire.node).await;
    assert_eq!(records.len(), bad_articles().len());
}
