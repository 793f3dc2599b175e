//! ninjs: everything that Barid writes as such is valid by the IPTC's own schema.

use std::fmt::Write as _;

use barid::wire::{
    ninjs::Ninjs,
    proto::v1::{Action, Article, BodyType, Delivery, Link, LinkRelation, Place},
};
use proptest::{
    prelude::{Strategy, any, prop},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use prost::Message as _;
use prost_types::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    clients,
    command_line::{run, server},
    harness::{Node, article, noted},
    http_articles::{get, post},
    sse::Stream,
};

/// Deliveries of articles that are made by chance.
const RANDOM: usize = 400;

/// Has another's validator look at every object.
fn check_valid(objects: &[Value]) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ninjs.jsonl");
    let mut lines = String::new();
    for object in objects {
        writeln!(lines, "{object}").unwrap();
    }
    std::fs::write(&path, lines).unwrap();
    clients::check("ninjs.py", &[path.to_str().unwrap()]);
}

/// An article with every field, each with what its form allows beyond the usual.
fn full(uri: &str) -> Article {
    let time = |seconds: i64, nanos: i32| Some(Timestamp { seconds, nanos });
    let link = |relation: LinkRelation, href: &str| Link {
        relation: relation.into(),
        href: href.to_owned(),
        content_type: "image/jpeg".to_owned(),
        title: "عنوان".to_owned(),
        ..Link::default()
    };
    let story = |relation: LinkRelation| Link {
        relation: relation.into(),
        article_id: "5f6c7c1e-9d2c-4f0a-8a53-3f6f3c0e1b11".to_owned(),
        ..Link::default()
    };
    Article {
        headline: "محادثات <b>دمشق</b> & \"more\" ]]>".to_owned(),
        subheadline: "Below \u{2028} beneath".to_owned(),
        slugline: "TALKS".to_owned(),
        body: "<p>One &amp; <em>two</em></p>".to_owned(),
        body_type: BodyType::Html.into(),
        byline: "A. Writer <b>".to_owned(),
        located: "دمشق".to_owned(),
        language: "ar-SY".to_owned(),
        topics: vec!["ict.telecom".to_owned(), "diplomacy.bilateral".to_owned()],
        subjects: vec!["04000000".to_owned(), "11000000".to_owned()],
        places: vec![
            Place {
                name: "دمشق".to_owned(),
                uri: "https://place.example/دمشق".to_owned(),
            },
            Place {
                name: "Amman".to_owned(),
                uri: String::new(),
            },
        ],
        urgency: 1,
        edition_note: "the reason".to_owned(),
        source: "Wire".to_owned(),
        usage_terms: "© terms & more".to_owned(),
        first_created: time(-2_208_988_800, 0),
        version_created: time(1_780_000_000, 123_456_789),
        expires: time(253_402_300_799, 999_999_999),
        links: vec![
            link(LinkRelation::Canonical, "https://news.example/خبر?a[]=1|2"),
            link(LinkRelation::Rendition, "https://أخبار.example/1.jpg"),
            link(LinkRelation::Related, "https://news.example/50%"),
            link(LinkRelation::TranslationOf, "urn:x:أ"),
            story(LinkRelation::Canonical),
            story(LinkRelation::Rendition),
            story(LinkRelation::Related),
            story(LinkRelation::TranslationOf),
        ],
        ..article(uri, "")
    }
}

/// All actions on articles of all kinds, by every way that tells them in JSON.
#[tokio::test]
async fn every_answer_is_valid() {
    let node = Node::start();
    let sparse = Article {
        uri: String::new(),
        ..article("", "No uri, and nothing but what is required")
    };
    let kinds = [
        sparse,
        article("test:plain", "Plain"),
        full("https://news.example/خبر عاجل".replace(' ', "-").as_str()),
        full("tag:news.example,2026:{1}|2"),
    ];
    let mut ids = Vec::new();
    for kind in &kinds {
        let made = node.publish(Action::Publish, kind.clone()).await.unwrap();
        for action in [Action::Update, Action::Correct] {
            let mut mended = kind.clone();
            mended.id.clone_from(&made.article_id);
            mended.edition_note = "mended".to_owned();
            node.publish(action, mended).await.unwrap();
        }
        ids.push(made.article_id);
    }
    // Three of each: live, withheld, withheld and back, killed.
    for action in [Action::Withhold, Action::Kill] {
        for kind in ["notice", "back"] {
            let uri = format!("test:{}:{kind}", action.as_str_name());
            let made = node.publish(Action::Publish, full(&uri)).await.unwrap();
            let notice = Article {
                language: "ar-SY".to_owned(),
                ..noted(&uri, "not so")
            };
            let withdrawn = node.publish(action, notice).await.unwrap();
            assert_eq!(withdrawn.revision, 2);
            if action == Action::Withhold && kind == "back" {
                node.publish(Action::Publish, full(&uri)).await.unwrap();
            }
            ids.push(made.article_id);
        }
    }
    let mut found = Vec::new();
    let list = get(&node, "/v1/articles?limit=100").await.json();
    found.extend(list["articles"].as_array().unwrap().iter().cloned());
    assert_eq!(found.len(), ids.len());
    for id in &ids {
        let path = format!("/v1/articles/{id}");
        found.push(get(&node, &path).await.json());
        let revisions = get(&node, &format!("{path}/revisions")).await.json();
        found.extend(revisions["articles"].as_array().unwrap().iter().cloned());
        for args in [vec![], vec!["--revisions"]] {
            let server = server(&node);
            let mut words = vec!["get", id, "--output", "json", &server];
            words.extend(args);
            let said = run(&words, b"");
            assert_eq!(said.code, Some(0), "{}", said.stderr);
            let lines = said.stdout.lines();
            found.extend(lines.map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    let mut stream = Stream::open(&node.http, "/v1/stream?from=earliest", None).await;
    let events = stream.history().await;
    // Of killed stories the notice alone.
    assert_eq!(events.len(), 3 * kinds.len() + 2 + 3 + 2);
    found.extend(events.iter().map(crate::sse::Event::json));
    let server = server(&node);
    let said = run(
        &["list", "--limit", "100", "--output", "json", &server],
        b"",
    );
    found.extend(
        said.stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()),
    );
    for object in &found {
        let role = |role: &str| {
            let ids = object["altIds"].as_array().unwrap();
            let named = ids.iter().find(|fact| fact["role"] == role);
            named.map(|fact| fact["value"].as_str().unwrap())
        };
        assert!(
            ids.iter().any(|id| role("barid:id") == Some(id)),
            "{object}"
        );
    }
    tokio::task::spawn_blocking(move || check_valid(&found))
        .await
        .unwrap();
}

/// What is read can be handed in again as it is, whatever its own uri is.
#[tokio::test]
async fn what_is_read_is_taken() {
    let node = Node::start();
    for uri in ["https://news.example/خبر", "test:{1}|2"] {
        let made = node.publish(Action::Publish, full(uri)).await.unwrap();
        let read = get(&node, &format!("/v1/articles/{}", made.article_id))
            .await
            .json();
        assert_ne!(read["uri"], uri);
        let again = post(&node, "?action=update", &[], &read).await;
        let said = again.json();
        assert_eq!(said["article_id"], made.article_id, "{said}");
        assert_eq!(
            (&said["revision"], &said["warnings"]),
            (&2.into(), &Value::Array(vec![]))
        );
    }
}

/// Articles of texts and numbers by chance, within what an article may be.
#[test]
fn random_articles_are_valid() {
    let text = || "\\PC{0,12}";
    let href = "(https|http|urn|tag|x):(//)?[\\PC]{1,20}".prop_filter("a URI", |text| {
        !text.contains(char::is_whitespace) && url::Url::parse(text).is_ok()
    });
    let href = href.boxed();
    let links = prop::collection::vec((1..=4_i32, href.clone(), text(), text()), 0..4);
    let time = (-2_208_988_800..253_402_300_800_i64, 0..1_000_000_000_i32);
    let texts = prop::collection::vec(text(), 10);
    let article = (
        texts,
        links,
        prop::option::of(time),
        href,
        0..=9_u32,
        1..=5_i32,
        any::<bool>(),
    );
    let mut runner = TestRunner::deterministic();
    let mut found = Vec::new();
    for _ in 0..RANDOM {
        let (mut texts, links, time, uri, urgency, action, is_html) =
            article.new_tree(&mut runner).unwrap().current();
        let mut text = || texts.pop().unwrap();
        let time = time.map(|(seconds, nanos)| Timestamp { seconds, nanos });
        let article = Article {
            id: uuid::Uuid::new_v4().to_string(),
            uri,
            headline: text(),
            subheadline: text(),
            slugline: text(),
            body: text(),
            body_type: if is_html {
                BodyType::Html
            } else {
                BodyType::Text
            }
            .into(),
            byline: text(),
            located: text(),
            edition_note: text(),
            source: text(),
            usage_terms: text(),
            urgency,
            first_created: time,
            version_created: time,
            embargoed_until: time,
            expires: time,
            links: (links.into_iter())
                .map(|(relation, href, content_type, title)| Link {
                    relation,
                    href,
                    content_type,
                    title,
                    ..Link::default()
                })
                .collect(),
            ..Article::default()
        };
        let delivery = Delivery {
            cursor: "abcdefgh-7".to_owned(),
            topics: vec!["ict".to_owned()],
            action,
            revision: 1,
            article: article.encode_to_vec().into(),
            published_at: Some(Timestamp::default()),
            ..Delivery::default()
        };
        found.push(serde_json::to_value(Ninjs::from_delivery(&delivery).unwrap()).unwrap());
    }
    check_valid(&found);
}
