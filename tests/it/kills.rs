//! A kill is final: everybody who had the story is told, and its text is gone from every protocol
//! and from the disk, whatever crashes in between.

use std::{fs, path::Path, time::Duration};

use async_nats::jetstream;
use barid::wire::proto::v1::{
    Action, Article, Filter, GetArticleRequest, ListArticlesRequest, ListRevisionsRequest,
    SubscribeRequest, start::From as StartFrom, subscribe_response::Frame,
};
use futures_util::StreamExt as _;
use rand::RngExt as _;
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{
    harness::{
        Node, action, article, article_of, eventually, everything, filter, from, new_id, noted,
    },
    nats::Nats,
};

/// An article whose text can be found anywhere.
fn marked(uri: &str, marker: &str) -> Article {
    Article {
        body: format!("before {marker} after"),
        ..article(uri, &format!("A headline {marker}"))
    }
}

pub fn marker() -> String {
    format!("marker{}", new_id().replace('-', ""))
}

pub fn contains(bytes: &[u8], marker: &str) -> bool {
    let marker = marker.as_bytes();
    bytes.windows(marker.len()).any(|part| part == marker)
}

/// Whether any read of a node gives the text; none while the node can't answer.
async fn shows(node: &Node, article_id: &str, marker: &str) -> Option<bool> {
    let article_id = article_id.to_owned();
    let mut articles = node.articles();
    let get = GetArticleRequest {
        article_id: article_id.clone(),
    };
    let got = articles.get_article(get).await.ok()?.into_inner();
    let mut all = vec![got.delivery?];
    let list = ListArticlesRequest {
        page_size: 100,
        ..Default::default()
    };
    let listed = articles.list_articles(list).await.ok()?.into_inner();
    all.extend(listed.deliveries);
    let revisions = ListRevisionsRequest {
        article_id,
        page_size: 100,
        ..Default::default()
    };
    let revisions = articles.list_revisions(revisions).await.ok()?.into_inner();
    all.extend(revisions.deliveries);
    for start in [StartFrom::Earliest(()), StartFrom::Last(1000)] {
        let request = SubscribeRequest {
            start: from(start),
            ..Default::default()
        };
        all.extend(node.subscribe(request).await.ok()?.history().await);
    }
    Some(all.iter().any(|one| contains(&one.article, marker)))
}

/// Files beneath a folder that hold the text.
pub fn files_with(root: &Path, marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        // What goes away while we look does not hold it any more.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match fs::read(&path) {
                Ok(bytes) if contains(&bytes, marker) => found.push(path.display().to_string()),
                Ok(_) => {}
                Err(_) => folders.push(path),
            }
        }
        folders.retain(|folder| folder.is_dir());
    }
    found
}

async fn erasures(client: async_nats::Client) -> usize {
    let stream = jetstream::new(client).get_stream("BARID").await.unwrap();
    let subjects = stream.info_with_subjects("log.erase.>").await.unwrap();
    subjects.count().await
}

/// Everybody whom any earlier revision reached gets the notice, and nobody else.
#[tokio::test]
async fn everybody_who_had_it_is_told() {
    let node = Node::start();
    let words = |word: &str| Filter {
        words: vec![word.to_owned()],
        ..Filter::default()
    };
    let flash = Filter {
        urgency: 1,
        ..Filter::default()
    };
    let french = Filter {
        languages: vec!["fr".to_owned()],
        ..Filter::default()
    };
    let mut told = Vec::new();
    for (filter, is_told) in [
        (Filter::default(), true),
        (filter(&["ict.telecom"]), true),
        (filter(&["economy.trade"]), true),
        (flash, true),
        (words("harbour"), true),
        (words("volcano"), true),
        (filter(&["ict.satellite"]), false),
        (french, false),
    ] {
        let request = SubscribeRequest {
            filter: Some(filter.clone()),
            ..Default::default()
        };
        let mut reader = node.subscribe(request).await.unwrap();
        reader.caught_up().await;
        told.push((filter, is_told, reader));
    }
    let first = Article {
        urgency: 1,
        topics: vec!["ict.telecom".to_owned()],
        ..article("test:a", "harbour")
    };
    let second = Article {
        urgency: 8,
        topics: vec!["economy.trade".to_owned()],
        ..article("test:a", "volcano")
    };
    node.publish(Action::Publish, first).await.unwrap();
    node.publish(Action::Update, second).await.unwrap();
    let kill = node.publish(Action::Kill, noted("test:a", "all wrong"));
    let kill = kill.await.unwrap();
    // Matches every filter: the first thing that those get who are not told.
    for language in ["en", "fr"] {
        let end = Article {
            urgency: 1,
            language: language.to_owned(),
            topics: vec![
                "ict.telecom".to_owned(),
                "ict.satellite".to_owned(),
                "economy.trade".to_owned(),
            ],
            ..article(&format!("test:end-{language}"), "harbour volcano")
        };
        node.publish(Action::Publish, end).await.unwrap();
    }
    for (filter, is_told, mut reader) in told {
        let mut seen = Vec::new();
        let notice = loop {
            let delivery = reader.delivery().await;
            if article_of(&delivery).uri.starts_with("test:end") {
                break seen.pop();
            }
            seen.push(delivery);
        };
        let notice = notice.filter(|one| action(one) == Action::Kill);
        assert_eq!(notice.is_some(), is_told, "{filter:?}");
        if let Some(notice) = notice {
            assert_eq!(notice.cursor, kill.cursor);
            let shown = article_of(&notice);
            assert_eq!(shown.edition_note, "all wrong");
            assert_eq!((shown.headline.as_str(), shown.body.as_str()), ("", ""));
        }
    }
}

/// After the kill's answer no read of the accepting node gives the text, and within a second none of
/// another node; from then on none ever, also while the erasure runs and after a restart.
#[tokio::test]
async fn no_read_gives_the_text() {
    let mut one = Node::start();
    let other = Node::start_with(&["--nats-url", &one.nats_url()]);
    for round in 0..5 {
        let (uri, marker) = (format!("test:{round}"), marker());
        let mut id = String::new();
        for revision in 0..=round {
            let article = Article {
                urgency: revision + 1,
                ..marked(&uri, &marker)
            };
            id = one
                .publish(Action::Publish, article)
                .await
                .unwrap()
                .article_id;
        }
        assert_eq!(shows(&one, &id, &marker).await, Some(true));
        assert_eq!(shows(&other, &id, &marker).await, Some(true));
        let (here, there) = if round % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        here.publish(Action::Kill, noted(&uri, "why"))
            .await
            .unwrap();
        let answered = Instant::now();
        assert_eq!(shows(here, &id, &marker).await, Some(false));
        while shows(there, &id, &marker).await != Some(false) {
            assert!(answered.elapsed() < Duration::from_secs(1));
        }
        for node in [here, there] {
            assert_eq!(shows(node, &id, &marker).await, Some(false));
        }
        // What a retry of the kill or of the first publish says makes no difference.
        let again = here.publish(Action::Kill, noted(&uri, "again")).await;
        assert!(again.unwrap().duplicate);
        let refused = there.publish(Action::Publish, marked(&uri, &marker)).await;
        assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
        if round == 4 {
            drop(other);
            one.kill();
            one.start_again().await;
            assert_eq!(shows(&one, &id, &marker).await, Some(false));
            break;
        }
    }
}

/// Kills stories on a node, which itself is killed at a random moment after each answer, between
/// any two steps of the erasure; the next start finishes that by itself. Returns what was in the
/// stories.
async fn kill_between_steps(node: &mut Node, store: &Path, count: usize) -> Vec<String> {
    let mut markers = Vec::new();
    for round in 0..count {
        let (uri, marker) = (format!("test:{round}"), marker());
        let mut id = String::new();
        for _ in 0..3 {
            let article = Article {
                topics: vec!["ict.telecom".to_owned(), "economy.trade".to_owned()],
                ..marked(&uri, &marker)
            };
            let published = node.publish(Action::Publish, article).await;
            id = published.unwrap().article_id;
        }
        assert_ne!(files_with(store, &marker), [""; 0], "it was never there");
        node.publish(Action::Kill, noted(&uri, "why"))
            .await
            .unwrap();
        sleep(Duration::from_millis(rand::rng().random_range(0..50))).await;
        node.kill();
        node.start_again().await;
        assert_eq!(shows(node, &id, &marker).await, Some(false));
        markers.push(marker);
    }
    markers
}

/// The text is gone from every file of the store, though the service is killed in the middle of the
/// erasures.
#[tokio::test]
async fn nothing_is_left_on_the_disk() {
    let nats = Nats::start().await;
    let mut node = Node::start_with(&["--nats-url", &nats.url()]);
    let markers = kill_between_steps(&mut node, &nats.store(), 8).await;
    let client = nats.client().await;
    eventually("all erasures are done", async || {
        erasures(client.clone()).await == 0
    })
    .await;
    for marker in markers {
        assert_eq!(files_with(&nats.store(), &marker), [""; 0]);
    }
}

/// Managed NATS ends with the service: the erasures are finished all the same, the log gives
/// nothing, and nothing is left on the disk.
///
/// Its death signal lets nats-server (2.15.1) end well: it deletes a message before it overwrites
/// its bytes, so one that is itself killed just in between never does.
#[tokio::test]
async fn erasures_outlive_managed_nats() {
    let mut node = Node::start();
    let store = node.data().join("jetstream");
    let markers = kill_between_steps(&mut node, &store, 5).await;
    let client = node.nats_owner().await;
    eventually("all erasures are done", async || {
        erasures(client.clone()).await == 0
    })
    .await;
    let stream = jetstream::new(client).get_stream("BARID").await.unwrap();
    for place in 1..=stream.cached_info().state.last_sequence {
        if let Ok(message) = stream.get_raw_message(place).await {
            let shows = |marker: &String| contains(&message.payload, marker);
            assert!(!markers.iter().any(shows), "at {place}");
        }
    }
    for marker in markers {
        assert_eq!(files_with(&store, &marker), [""; 0]);
    }
}

/// An erasure that a node left when it was killed is finished by another.
#[tokio::test]
async fn another_node_finishes() {
    const REVISIONS: usize = 20;
    let nats = Nats::start().await;
    let mut one = Node::start_with(&["--nats-url", &nats.url()]);
    let other = Node::start_with(&["--nats-url", &nats.url()]);
    let marker = marker();
    for _ in 0..REVISIONS {
        let article = Article {
            topics: vec!["ict.telecom".to_owned(), "economy.trade".to_owned()],
            ..marked("test:a", &marker)
        };
        one.publish(Action::Publish, article).await.unwrap();
    }
    one.publish(Action::Kill, noted("test:a", "why"))
        .await
        .unwrap();
    one.kill();
    // Otherwise this proves nothing.
    let client = nats.client().await;
    assert_eq!(erasures(client.clone()).await, 1, "not left unfinished");
    assert_ne!(files_with(&nats.store(), &marker), [""; 0]);

    eventually("the other node finishes", async || {
        erasures(client.clone()).await == 0
    })
    .await;
    assert_eq!(files_with(&nats.store(), &marker), [""; 0]);
    let history = other.subscribe(everything()).await.unwrap().history().await;
    let actions: Vec<_> = history.iter().map(action).collect();
    assert_eq!(actions, [Action::Kill]);
}

/// A reader that stalled with a page read before the kill gets no text after it where that had not
/// been sent yet, and then the notice.
#[tokio::test]
async fn a_stalled_reader() {
    const STORIES: usize = 60;
    let node = Node::start();
    let body = "x".repeat(100_000);
    let mut markers = Vec::new();
    for number in 0..STORIES {
        let marker = marker();
        let article = Article {
            body: format!("{marker} {body}"),
            ..article(&format!("test:{number}"), "long")
        };
        node.publish(Action::Publish, article).await.unwrap();
        markers.push(marker);
    }
    let mut reader = node.subscribe(everything()).await.unwrap();
    // The page is read; far more than what the connection takes is left.
    reader.delivery().await;
    let killed = [STORIES / 2, STORIES - 2, STORIES - 1];
    for number in killed {
        let uri = format!("test:{number}");
        node.publish(Action::Kill, noted(&uri, "why"))
            .await
            .unwrap();
    }
    let mut seen = 1;
    let mut notices = 0;
    while notices < killed.len() {
        match reader.next().await.unwrap() {
            Frame::Delivery(delivery) if action(&delivery) == Action::Kill => notices += 1,
            Frame::Delivery(delivery) => {
                seen += 1;
                for number in killed {
                    assert!(!contains(&delivery.article, &markers[number]));
                }
            }
            Frame::CaughtUp(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, STORIES - killed.len());
}
