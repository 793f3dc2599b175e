//! Related articles over HTTP: how good they are, why they are, and what is never among them.

use std::collections::HashMap;

use barid::{
    article::ArticleId,
    wire::proto::v1::{self as proto, Action, Article, BodyType, LinkRelation},
};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    harness::{LIMIT, Node, article, eventually, noted},
    web::{get, open, problem},
};

/// Articles of which people have said which belong together.
const LABELLED: &str = include_str!("../related.jsonl");
/// What else is on the wire meanwhile.
const NOISE: &str = include_str!("../../src/cli/demo/news.jsonl");

#[derive(Deserialize)]
struct Labelled {
    uri: String,
    language: String,
    headline: String,
    body: String,
    #[serde(default)]
    places: Vec<String>,
    #[serde(default)]
    links: Vec<String>,
    related: Vec<String>,
}

impl Labelled {
    fn article(&self) -> Article {
        let place = |name: &String| proto::Place {
            name: name.clone(),
            ..proto::Place::default()
        };
        let link = |uri: &String| proto::Link {
            article_id: ArticleId::from_uri(uri).to_string(),
            relation: LinkRelation::TranslationOf.into(),
            ..proto::Link::default()
        };
        Article {
            language: self.language.clone(),
            body: self.body.clone(),
            body_type: BodyType::Text.into(),
            places: self.places.iter().map(place).collect(),
            links: self.links.iter().map(link).collect(),
            ..article(&self.uri, &self.headline)
        }
    }
}

fn path(uri: &str, query: &str) -> String {
    let id = ArticleId::from_uri(uri);
    format!("/v1/articles/{id}/related{query}")
}

async fn related(node: &Node, path: &str) -> Vec<Value> {
    let response = open(&node.http, get(path)).await;
    assert_eq!(response.status(), 200, "{path}");
    let body = timeout(LIMIT, response.into_body().collect()).await;
    let body = body.unwrap().unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    answer["related"].as_array().unwrap().clone()
}

fn uris(found: &[Value]) -> Vec<String> {
    let uri = |item: &Value| item["article"]["uri"].as_str().unwrap().to_owned();
    found.iter().map(uri).collect()
}

/// Waits until the index, which follows by itself, has come to an article.
async fn indexed(node: &Node, asked: &str, wanted: &str) {
    eventually("the newest article is proposed", async || {
        let found = related(node, &path(asked, "?limit=20")).await;
        uris(&found).iter().any(|uri| uri == wanted)
    })
    .await;
}

/// Of the labelled articles, amid others, at least 80 % have one that belongs to them among the
/// first three; in each language.
#[tokio::test]
async fn belongs_to_what_people_say() {
    let node = Node::start();
    for line in NOISE.lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        if step["action"] == "publish" {
            let noise = &step["article"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let noise = Article {
                language: text(&noise["language"]),
                body: text(&noise["bodies"][0]["value"]),
                body_type: BodyType::Text.into(),
                ..article(&text(&noise["uri"]), &text(&noise["headlines"][0]["value"]))
            };
            node.publish(Action::Publish, noise).await.unwrap();
        }
    }
    let labelled = LABELLED.lines().map(serde_json::from_str);
    let labelled: Vec<Labelled> = labelled.collect::<Result<_, _>>().unwrap();
    assert_eq!(labelled.len(), 20);
    for one in &labelled {
        node.publish(Action::Publish, one.article()).await.unwrap();
    }
    indexed(&node, "rel:rail-2", "rel:rail-3").await;
    let mut counts: HashMap<&str, (f64, f64)> = HashMap::new();
    for one in &labelled {
        let found = uris(&related(&node, &path(&one.uri, "?limit=3")).await);
        let is_hit = found.iter().any(|uri| one.related.contains(uri));
        if !is_hit {
            eprintln!("{}: {found:?}", one.uri);
        }
        for group in ["all", &one.language] {
            let (hits, all) = counts.entry(group).or_default();
            *all += 1.0;
            *hits += f64::from(u8::from(is_hit));
        }
    }
    eprintln!("{counts:?}");
    for (group, (hits, all)) in counts {
        assert!(hits / all >= 0.8, "{group}: {hits} of {all}");
    }
}

/// Killed and withheld articles are never proposed, a reinstated one is again, after a restart too;
/// each proposal says what it shares.
#[tokio::test]
async fn shows_nothing_that_is_withdrawn() {
    let mut node = Node::start();
    for (uri, headline) in [
        ("test:asked", "dredger stranded off Tartus"),
        ("test:killed", "dredger crew questioned"),
        ("test:withheld", "dredger owner named"),
        ("test:kept", "dredger towed to Tartus"),
    ] {
        let article = article(uri, headline);
        node.publish(Action::Publish, article).await.unwrap();
    }
    for filler in 0..20 {
        let article = article(&format!("test:{filler}"), &format!("filler{filler}"));
        node.publish(Action::Publish, article).await.unwrap();
    }
    indexed(&node, "test:asked", "test:kept").await;
    let found = related(&node, &path("test:asked", "")).await;
    assert_eq!(uris(&found).len(), 3);
    assert_eq!(found[0]["article"]["uri"], "test:kept");
    assert_eq!(found[0]["words"], serde_json::json!(["Tartus", "dredger"]));
    assert_eq!(found[0]["linked"], false);

    let kill = noted("test:killed", "wrong");
    node.publish(Action::Kill, kill).await.unwrap();
    let withhold = noted("test:withheld", "not yet");
    node.publish(Action::Withhold, withhold).await.unwrap();
    let found = related(&node, &path("test:asked", "")).await;
    assert_eq!(uris(&found), ["test:kept"]);
    for uri in ["test:killed", "test:withheld"] {
        let (status, _) = problem(&node.http, get(&path(uri, ""))).await;
        assert_eq!(status, 409, "{uri}");
    }

    node.kill();
    node.start_again().await;
    let reinstated = article("test:withheld", "dredger owner named");
    node.publish(Action::Publish, reinstated).await.unwrap();
    indexed(&node, "test:asked", "test:withheld").await;
    let found = related(&node, &path("test:asked", "")).await;
    assert_eq!(uris(&found), ["test:kept", "test:withheld"]);
}

/// What can't be answered says which part is wrong.
#[tokio::test]
async fn refuses_with_the_field() {
    let node = Node::start();
    node.publish(Action::Publish, article("test:one", "one"))
        .await
        .unwrap();
    let unknown = path("test:nobody", "");
    let cases = [
        ("/v1/articles/7/related".to_owned(), 400, "FIELD_INVALID"),
        ("/v1/articles/%ff/related".to_owned(), 400, "FIELD_INVALID"),
        (unknown, 404, "ARTICLE_UNKNOWN"),
        (path("test:one", "?limit=0"), 400, "FIELD_INVALID"),
        (path("test:one", "?limit=21"), 400, "FIELD_INVALID"),
        (path("test:one", "?limit=1&limit=2"), 400, "FIELD_INVALID"),
        (path("test:one", "?count=3"), 400, "PARAMETER_UNKNOWN"),
    ];
    for (path, status, reason) in cases {
        let (found, said) = problem(&node.http, get(&path)).await;
        assert_eq!((found, &said["reason"]), (status, &reason.into()), "{path}");
    }
}
