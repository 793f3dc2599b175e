//! What has expired leaves lists, feeds, counts and related articles at its time, without a new
//! revision; it can still be got, and streams carry it as ever.

use std::time::{Duration, SystemTime};

use barid::wire::proto::v1::{Action, Article, GetArticleRequest, ListArticlesRequest};
use hyper::StatusCode;
use prost_types::Timestamp;

use crate::{
    harness::{Node, article, eventually, everything},
    http_articles::{get, get_unless},
};

async fn listed(node: &Node) -> usize {
    let request = ListArticlesRequest::default();
    let page = node.articles().list_articles(request).await.unwrap();
    page.into_inner().deliveries.len()
}

async fn counted(node: &Node) -> u64 {
    let topics = get(node, "/v1/topics").await.json();
    let topics = topics["topics"].as_array().unwrap();
    let ict = topics.iter().find(|topic| topic["path"] == "ict").unwrap();
    ict["article_count"].as_u64().unwrap()
}

#[tokio::test]
async fn what_has_expired_leaves_lists_and_feeds() {
    let node = Node::start();
    let on = |uri: &str, expires: Option<Timestamp>| Article {
        topics: vec!["ict.telecom".to_owned()],
        body: "the harbour cable of Latakia".to_owned(),
        expires,
        ..article(
            uri,
            &format!("Submarine cable reaches Latakia harbour {uri}"),
        )
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let at = since.unwrap() + Duration::from_secs(6);
    let expires = Timestamp {
        seconds: at.as_secs().try_into().unwrap(),
        nanos: at.subsec_nanos().try_into().unwrap(),
    };
    let stays = node.publish(Action::Publish, on("test:stays", None));
    let stays = stays.await.unwrap().article_id;
    let goes = node.publish(Action::Publish, on("test:goes", Some(expires)));
    let goes = goes.await.unwrap().article_id;
    let past = Timestamp {
        seconds: 1_000_000_000,
        nanos: 0,
    };
    let gone = node.publish(Action::Publish, on("test:gone", Some(past)));
    gone.await.unwrap();
    assert_eq!(listed(&node).await, 2);
    assert_eq!(counted(&node).await, 2);
    let related = format!("/v1/articles/{stays}/related");
    eventually("they are related", async || {
        get(&node, &related).await.text().contains(&goes)
    })
    .await;
    let mut tags = Vec::new();
    for form in ["atom", "rss", "json"] {
        let path = format!("/feeds/ict.{form}");
        let feed = get(&node, &path).await;
        assert!(feed.text().contains("test:goes") && !feed.text().contains("test:gone"));
        let tag = feed.header("etag").to_owned();
        assert_eq!(
            get_unless(&node, &path, &tag).await.status,
            StatusCode::NOT_MODIFIED
        );
        tags.push((path, tag));
    }
    eventually("it has left the lists", async || listed(&node).await == 1).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    assert!(now.unwrap() >= at, "too early");
    assert_eq!(counted(&node).await, 1);
    assert!(!get(&node, &related).await.text().contains(&goes));
    for (path, tag) in tags {
        let feed = get_unless(&node, &path, &tag).await;
        assert_eq!(feed.status, StatusCode::OK);
        assert!(feed.text().contains("test:stays") && !feed.text().contains("test:goes"));
    }
    let request = GetArticleRequest { article_id: goes };
    let got = node.articles().get_article(request).await.unwrap();
    let delivery = got.into_inner().delivery.unwrap();
    assert_eq!(delivery.revision, 1, "no new revision");
    let history = node.subscribe(everything()).await.unwrap().history().await;
    assert_eq!(history.len(), 3);
    // A newer revision brings it back, if it says so.
    node.publish(Action::Update, on("test:goes", None))
        .await
        .unwrap();
    assert_eq!((listed(&node).await, counted(&node).await), (2, 2));
}
