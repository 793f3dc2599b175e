//! Feeds: what other people's readers find in them, and what makes them change.

use barid::wire::proto::v1::{Action, Article, BodyType, Link, LinkRelation};
use hyper::{Method, StatusCode};
use prost_types::Timestamp;

use crate::{
    clients,
    harness::{Node, article, eventually},
    http_articles::{Answer, get, get_unless, send},
};

const FORMS: [&str; 3] = ["atom", "rss", "json"];

fn notice(uri: &str) -> Article {
    Article {
        uri: uri.to_owned(),
        edition_note: "the reason".to_owned(),
        ..Article::default()
    }
}

/// An article with everything that a feed shows, and with what breaks a careless writer.
fn full() -> Article {
    let link = |relation: LinkRelation, href: &str, kind: &str, title: &str| Link {
        relation: relation.into(),
        href: href.to_owned(),
        content_type: kind.to_owned(),
        title: title.to_owned(),
        ..Link::default()
    };
    Article {
        headline: "محادثات <b>دمشق</b> & \"more\" ]]>".to_owned(),
        subheadline: "Below & beneath".to_owned(),
        body: "<p>One &amp; <em>two</em></p><p>\u{FFFE}three ]]&gt;</p>".to_owned(),
        body_type: BodyType::Html.into(),
        byline: "A. Writer <b>".to_owned(),
        language: "ar-SY".to_owned(),
        topics: vec!["ict.telecom".to_owned()],
        subjects: vec!["04000000".to_owned()],
        usage_terms: "© terms & more".to_owned(),
        first_created: Some(Timestamp {
            seconds: 1_780_000_000,
            nanos: 0,
        }),
        links: vec![
            link(
                LinkRelation::Canonical,
                "https://news.example/1?a=1&b=2",
                "",
                "",
            ),
            link(
                LinkRelation::Rendition,
                "https://news.example/1.jpg",
                "image/jpeg",
                "A & B",
            ),
        ],
        ..article("test:full", "")
    }
}

/// feedparser finds in Atom, RSS and JSON Feed all that the article says.
#[tokio::test]
async fn read_by_others() {
    let node = Node::start();
    node.publish(Action::Publish, full()).await.unwrap();
    let plain = Article {
        body: "First & <line>\nsecond\n\nNew paragraph".to_owned(),
        ..article("test:plain", "Plain")
    };
    node.publish(Action::Publish, plain).await.unwrap();
    let (http, grpc) = (node.http.clone(), node.grpc.clone());
    tokio::task::spawn_blocking(move || clients::check("feeds.py", &[&http, &grpc]))
        .await
        .unwrap();
}

/// Behind a proxy the address that others use is told, whatever name the proxy asks by.
#[tokio::test]
async fn told_by_their_public_address() {
    let node = Node::start_with(&["--public-url", "https://wire.example/"]);
    node.publish(Action::Publish, article("test:1", "One"))
        .await
        .unwrap();
    for form in FORMS {
        let answer = feed(&node, &format!("/feeds/all.{form}")).await;
        let own = format!("https://wire.example/feeds/all.{form}");
        assert!(
            answer
                .header("link")
                .ends_with(&format!("<{own}>; rel=\"self\""))
        );
        assert!(answer.text().contains(&own), "{}", answer.text());
        assert!(!answer.text().contains("barid.test"), "{}", answer.text());
    }
    let description = get(&node, "/openapi.json").await.json();
    assert_eq!(description["servers"][0]["url"], "https://wire.example");
}

async fn feed(node: &Node, path: &str) -> Answer {
    let answer = get(node, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer
}

/// A feed holds its topic and what is beneath, in its language; an unknown one is a problem.
#[tokio::test]
async fn chosen_by_topic_and_language() {
    let node = Node::start();
    let of = |uri: &str, topic: &str, language: &str| Article {
        topics: vec![topic.to_owned()],
        language: language.to_owned(),
        ..article(uri, &format!("headline of {uri}"))
    };
    node.publish(Action::Publish, of("test:1", "ict.telecom", "en"))
        .await
        .unwrap();
    node.publish(Action::Publish, of("test:2", "ict", "ar-EG"))
        .await
        .unwrap();
    node.publish(Action::Publish, of("test:3", "economy", "ar"))
        .await
        .unwrap();
    for form in FORMS {
        for (name, query, expected) in [
            ("all", "", &["test:1", "test:2", "test:3"][..]),
            ("ict", "", &["test:1", "test:2"]),
            ("ict.telecom", "", &["test:1"]),
            ("ict", "?language=ar", &["test:2"]),
            ("all", "?language=fr", &[]),
        ] {
            let answer = feed(&node, &format!("/feeds/{name}.{form}{query}")).await;
            for uri in ["test:1", "test:2", "test:3"] {
                let has = answer.text().contains(&format!("headline of {uri}"));
                assert_eq!(has, expected.contains(&uri), "{name}.{form}{query}: {uri}");
            }
            let own = format!("http://barid.test/feeds/{name}.{form}{query}");
            assert!(
                answer
                    .header("link")
                    .ends_with(&format!("<{own}>; rel=\"self\""))
            );
            assert!(answer.text().contains(&own), "{own}: {}", answer.text());
        }
    }
    for (path, status, reason) in [
        ("/feeds/ict.nowhere.rss", 404, "FEED_UNKNOWN"),
        ("/feeds/all.xml", 404, "FEED_UNKNOWN"),
        ("/feeds/all", 404, "FEED_UNKNOWN"),
        ("/feeds/ICT.atom", 404, "FEED_UNKNOWN"),
        ("/feeds/all.atom?language=a%20b", 400, "FIELD_INVALID"),
        ("/feeds/all.atom?lang=ar", 400, "PARAMETER_UNKNOWN"),
    ] {
        let refused = get(&node, path).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["reason"]),
            (status, &reason.into())
        );
    }
}

/// A feed keeps its tag until something of it changes, whatever else is published.
#[tokio::test]
async fn unchanged_until_changed() {
    let node = Node::start();
    let of = |uri: &str, topic: &str, headline: &str| Article {
        topics: vec![topic.to_owned()],
        ..article(uri, headline)
    };
    node.publish(Action::Publish, of("test:1", "ict", "one"))
        .await
        .unwrap();
    for form in FORMS {
        let path = format!("/feeds/ict.{form}");
        let first = feed(&node, &path).await;
        let tag = first.header("etag").to_owned();
        node.publish(
            Action::Publish,
            of(&format!("test:{form}"), "economy", "other"),
        )
        .await
        .unwrap();
        let same = get_unless(&node, &path, &tag).await;
        assert_eq!(
            (same.status, same.body.len()),
            (StatusCode::NOT_MODIFIED, 0)
        );
        assert_eq!(
            (same.header("etag"), same.header("cache-control")),
            (tag.as_str(), "private, no-cache")
        );
        node.publish(Action::Update, of("test:1", "ict", &format!("for {form}")))
            .await
            .unwrap();
        eventually("the feed has changed", async || {
            let changed = get_unless(&node, &path, &tag).await;
            changed.status == StatusCode::OK && changed.text().contains(&format!("for {form}"))
        })
        .await;
    }
    // The second of a change stands for it only when it is over.
    let mut modified = String::new();
    eventually("the time of the last change", async || {
        modified = get(&node, "/feeds/ict.rss")
            .await
            .header("last-modified")
            .to_owned();
        !modified.is_empty()
    })
    .await;
    let since = [("if-modified-since", modified.as_str())];
    let same = send(&node.http, Method::GET, "/feeds/ict.rss", &since, "").await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    let both = [since[0], ("if-none-match", "\"other\"")];
    let tagged = send(&node.http, Method::GET, "/feeds/ict.rss", &both, "").await;
    assert_eq!(tagged.status, StatusCode::OK);
}

/// After the answer to a kill no feed holds the text, though it was kept ready; a withheld article
/// vanishes and comes back.
#[tokio::test]
async fn withdrawn_articles_vanish() {
    let node = Node::start();
    let secret = || Article {
        topics: vec!["ict".to_owned()],
        body: "open sesame".to_owned(),
        ..article("test:secret", "Sesame")
    };
    node.publish(Action::Publish, secret()).await.unwrap();
    let has = async |path: &str| {
        feed(&node, path)
            .await
            .text()
            .to_lowercase()
            .contains("sesame")
    };
    let paths: Vec<String> = ["all", "ict"]
        .iter()
        .flat_map(|name| FORMS.map(|form| format!("/feeds/{name}.{form}")))
        .collect();
    let all = async |expected: bool| {
        for path in &paths {
            eventually("the feed follows", async || has(path).await == expected).await;
        }
    };
    all(true).await;
    node.publish(Action::Withhold, notice("test:secret"))
        .await
        .unwrap();
    all(false).await;
    node.publish(Action::Publish, secret()).await.unwrap();
    all(true).await;
    let tag = feed(&node, "/feeds/all.atom")
        .await
        .header("etag")
        .to_owned();
    node.publish(Action::Kill, notice("test:secret"))
        .await
        .unwrap();
    for path in &paths {
        assert!(!has(path).await, "{path}");
    }
    let asked = get_unless(&node, "/feeds/all.atom", &tag).await;
    assert_eq!(asked.status, StatusCode::OK);
}
