//! The log loses its newest part: readers are told, and no cursor ever names two revisions.

use std::{collections::HashMap, process::Command, time::Duration};

use async_nats::jetstream;
use barid::wire::proto::v1::{
    Action, Article, Delivery, Gap, GapReason, PublishRequest, PublishResponse,
    subscribe_response::Frame,
};
use tonic::Code;

use crate::{
    harness::{Node, Reader, after, article, article_of, eventually, everything, request, seq},
    nats::{Nats, find_folder, put_back},
    subscribing::publish_large,
};

/// Publishes one article; sends it again while the log is out of reach.
async fn publish(node: &Node, name: &str) -> PublishResponse {
    send(node, request(Action::Publish, named(name))).await
}

fn named(name: &str) -> Article {
    article(&format!("test:{}", name.replace(' ', "-")), name)
}

async fn send(node: &Node, request: PublishRequest) -> PublishResponse {
    let mut response = None;
    eventually("an answer to a publish", async || {
        match node.publisher().publish(request.clone()).await {
            Ok(answer) => response = Some(answer.into_inner()),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        response.is_some()
    })
    .await;
    response.unwrap()
}

async fn publish_all(node: &Node, names: &[&str]) -> Vec<PublishResponse> {
    let mut responses = Vec::new();
    for name in names {
        responses.push(publish(node, name).await);
    }
    responses
}

/// Opens a stream; tries again while the node is behind the log.
async fn subscribe(node: &Node, request: barid::wire::proto::v1::SubscribeRequest) -> Reader {
    let mut reader = None;
    eventually("a subscription", async || {
        match node.subscribe(request.clone()).await {
            Ok(opened) => reader = Some(opened),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        reader.is_some()
    })
    .await;
    reader.unwrap()
}

fn epoch(cursor: &str) -> &str {
    cursor.split_once('-').unwrap().0
}

fn names(deliveries: &[Delivery]) -> Vec<String> {
    let names = deliveries.iter().map(|one| article_of(one).headline);
    names.collect()
}

async fn gap(reader: &mut Reader) -> Gap {
    match reader.next().await.unwrap() {
        Frame::Gap(gap) => gap,
        other => panic!("not a gap: {other:?}"),
    }
}

async fn deliveries(reader: &mut Reader, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for _ in 0..count {
        deliveries.push(reader.delivery().await);
    }
    deliveries
}

/// The lives that the stream lists, as (epoch, first sequence).
async fn lives(nats: &Nats) -> Vec<(String, u64)> {
    let stream = jetstream::new(nats.client().await)
        .get_stream("BARID")
        .await
        .unwrap();
    let list = stream.cached_info().config.metadata["barid.epochs"].clone();
    list.split(',')
        .map(|one| {
            let (epoch, first) = one.split_once('@').unwrap();
            (epoch.to_owned(), first.parse().unwrap())
        })
        .collect()
}

/// Every cursor names one revision, whatever was lost.
fn check_no_alias<'a>(all: impl IntoIterator<Item = &'a PublishResponse>) {
    let mut seen = HashMap::new();
    for response in all {
        let before = seen.insert(&response.cursor, response);
        assert_eq!(before, None, "two revisions at {}", response.cursor);
    }
}

/// A running node notices that NATS came back without its newest part: it begins a new epoch, a
/// subscriber that stayed gets one Gap and then what is new, and old cursors mean what they meant.
#[tokio::test]
async fn a_running_node_notices_a_loss() {
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let kept = publish_all(&node, &["kept 1", "kept 2", "kept 3"]).await;
    let copy = nats.copy(&nats.store());
    let lost_request = request(Action::Publish, named("lost 3"));
    let mut lost = publish_all(&node, &["lost 1", "lost 2"]).await;
    lost.push(send(&node, lost_request.clone()).await);
    let mut stayed = subscribe(&node, everything()).await;
    assert_eq!(stayed.history().await.len(), 6);

    nats.kill();
    put_back(copy.path(), &nats.store());
    nats.start_again();

    let lost_gap = gap(&mut stayed).await;
    assert_eq!(lost_gap.reason(), GapReason::EpochLost);
    assert!(seq(&lost_gap.from) >= seq(&lost[2].cursor), "{lost_gap:?}");
    assert_eq!(epoch(&lost_gap.from), epoch(&kept[0].cursor));
    assert_ne!(epoch(&lost_gap.to), epoch(&kept[0].cursor));
    assert!(seq(&lost_gap.to) >= seq(&kept[2].cursor), "{lost_gap:?}");
    assert!(seq(&lost_gap.to) < seq(&lost[0].cursor), "{lost_gap:?}");

    let mut new = publish_all(&node, &["new 1", "new 2"]).await;
    // A retry of what was lost publishes it: nothing of it is left.
    new.push(send(&node, lost_request).await);
    assert!(!new[2].duplicate);
    let live = deliveries(&mut stayed, 3).await;
    assert_eq!(names(&live), ["new 1", "new 2", "lost 3"]);
    for (response, delivery) in new.iter().zip(&live) {
        assert_eq!(response.cursor, delivery.cursor);
        assert_eq!(epoch(&response.cursor), epoch(&lost_gap.to));
    }
    assert_eq!(seq(&new[0].cursor), seq(&lost[0].cursor), "the same place");
    check_no_alias(kept.iter().chain(&lost).chain(&new));

    // Of the lost part: a Gap, then what is new.
    for response in &lost {
        let mut reader = subscribe(&node, after(&response.cursor)).await;
        let told = gap(&mut reader).await;
        assert_eq!(told.reason(), GapReason::EpochLost);
        assert_eq!((&told.from, &told.to), (&response.cursor, &lost_gap.to));
        assert_eq!(reader.history().await, live);
    }
    // Of the surviving part, and of what is new: no Gap.
    let mut reader = subscribe(&node, after(&kept[1].cursor)).await;
    let history = reader.history().await;
    assert_eq!(names(&history), ["kept 3", "new 1", "new 2", "lost 3"]);
    assert_eq!(history[0].cursor, kept[2].cursor);
    let mut reader = subscribe(&node, after(&lost_gap.to)).await;
    assert_eq!(reader.history().await, live);
    let mut reader = subscribe(&node, after(&new[0].cursor)).await;
    assert_eq!(reader.history().await, live[1..]);
    let mut reader = subscribe(&node, everything()).await;
    assert_eq!(reader.history().await.len(), 6);
    assert_eq!(lives(&nats).await.len(), 2);
}

/// A reader that is in what is kept, and not at its end, gets to the end of history although that lay in
/// what is lost.
#[tokio::test]
async fn history_ends_where_the_log_does() {
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let kept = publish_large(&node, 0..20).await;
    let copy = nats.copy(&nats.store());
    publish_large(&node, 20..23).await;
    // So large that the rest waits until this one is read.
    let mut reader = subscribe(&node, everything()).await;
    assert_eq!(reader.delivery().await.cursor, kept[0]);

    nats.kill();
    put_back(copy.path(), &nats.store());
    nats.start_again();
    let new = publish(&node, "new").await.cursor;
    let history = reader.history().await;
    let history: Vec<&String> = history.iter().map(|one| &one.cursor).collect();
    let expected: Vec<&String> = kept[1..].iter().chain([&new]).collect();
    // What is new may be so after the end.
    assert!(expected.starts_with(&history), "{history:?}");
    assert!(history.len() >= kept.len() - 1, "{history:?}");
}

/// What is published while NATS is away, and goes out the moment it is back, lies in the new epoch:
/// also if it is more than what was lost, so that the log ends no lower than before.
#[tokio::test]
async fn publishing_into_a_loss() {
    for lost_count in [1, 5] {
        let mut nats = Nats::start().await;
        let node = Node::start_with(&["--nats-url", &nats.url()]);
        let kept = publish_all(&node, &["kept 1"]).await;
        let copy = nats.copy(&nats.store());
        let mut lost = Vec::new();
        for number in 0..lost_count {
            lost.push(publish(&node, &format!("lost {number}")).await);
        }
        let mut stayed = subscribe(&node, everything()).await;
        assert_eq!(stayed.history().await.len(), 1 + lost_count);

        nats.kill();
        let publishing: Vec<_> = (0..3)
            .map(|number| {
                let mut publisher = node.publisher();
                tokio::spawn(async move {
                    let article = named(&format!("new {number}"));
                    publisher.publish(request(Action::Publish, article)).await
                })
            })
            .collect();
        // Answered by the same connection as they, and after them: they are under way.
        let mut publisher = node.publisher();
        let refused = publisher.publish(PublishRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        put_back(copy.path(), &nats.store());
        nats.start_again();

        let mut new = Vec::new();
        for one in publishing {
            new.push(one.await.unwrap().unwrap().into_inner());
        }
        new.sort_by_key(|response| seq(&response.cursor));
        check_no_alias(kept.iter().chain(&lost).chain(&new));
        let told = gap(&mut stayed).await;
        assert_eq!(told.reason(), GapReason::EpochLost);
        let live = deliveries(&mut stayed, 3).await;
        let cursors = |all: &[Delivery]| all.iter().map(|one| one.cursor.clone()).collect();
        let seen: Vec<String> = cursors(&live);
        let published: Vec<_> = new.iter().map(|one| one.cursor.clone()).collect();
        assert_eq!(seen, published);
        assert!(seen.iter().all(|one| epoch(one) == epoch(&told.to)));
        assert_eq!(lives(&nats).await.len(), 2, "one loss, one new life");
    }
}

/// Two nodes that see the loss at once agree on one new epoch, and so do their subscribers.
#[tokio::test]
async fn nodes_agree_on_the_new_epoch() {
    let mut nats = Nats::start().await;
    let nodes = [0, 1].map(|_| Node::start_with(&["--nats-url", &nats.url()]));
    let kept = publish(&nodes[0], "kept").await;
    let copy = nats.copy(&nats.store());
    let lost = publish_all(&nodes[1], &["lost 1", "lost 2"]).await;
    let mut stayed = Vec::new();
    for node in &nodes {
        let mut reader = subscribe(node, everything()).await;
        assert_eq!(reader.history().await.len(), 3);
        stayed.push(reader);
    }

    nats.kill();
    put_back(copy.path(), &nats.store());
    nats.start_again();

    let (mut one, mut other) = (stayed.remove(0), stayed.remove(0));
    let (first, second) = tokio::join!(gap(&mut one), gap(&mut other));
    assert_eq!(first.to, second.to);
    assert_eq!(first.reason(), GapReason::EpochLost);
    let (new, newer) = tokio::join!(publish(&nodes[0], "new"), publish(&nodes[1], "new too"));
    check_no_alias([&kept, &new, &newer].into_iter().chain(&lost));
    let seen = deliveries(&mut one, 2).await;
    assert_eq!(seen, deliveries(&mut other, 2).await);
    assert!(
        seen.iter()
            .all(|delivery| epoch(&delivery.cursor) == epoch(&first.to))
    );
    assert_eq!(lives(&nats).await.len(), 2, "one loss, one new life");
}

/// A second, deeper loss: cursors of both earlier epochs that lie beyond it are lost.
#[tokio::test]
async fn a_deeper_loss_follows() {
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let kept = publish(&node, "kept").await;
    let deep = nats.copy(&nats.store());
    let middle = publish(&node, "middle").await;
    let shallow = nats.copy(&nats.store());
    let lost = publish(&node, "lost").await;
    let mut stayed = subscribe(&node, everything()).await;
    stayed.history().await;

    let mut told = Vec::new();
    let mut new = Vec::new();
    for copy in [shallow, deep] {
        nats.kill();
        put_back(copy.path(), &nats.store());
        nats.start_again();
        told.push(gap(&mut stayed).await);
        new.push(publish(&node, &format!("new {}", new.len())).await);
        assert_eq!(stayed.delivery().await.cursor, new.last().unwrap().cursor);
    }

    check_no_alias([&kept, &middle, &lost].into_iter().chain(&new));
    for gone in [&middle, &lost, &new[0]] {
        let mut reader = subscribe(&node, after(&gone.cursor)).await;
        let told = gap(&mut reader).await;
        // A life that the restored log does not list any more is a foreign one.
        assert!(matches!(
            told.reason(),
            GapReason::EpochLost | GapReason::EpochForeign
        ));
        assert_eq!(reader.history().await.last().unwrap().cursor, new[1].cursor);
    }
    let mut reader = subscribe(&node, after(&kept.cursor)).await;
    assert_eq!(names(&reader.history().await), ["new 1"]);
}

/// A service that was down while its stream lost its newest part finds out at its start, from what
/// the bucket remembers.
#[tokio::test]
async fn a_start_notices_a_loss() {
    let mut node = Node::start();
    let kept = publish_all(&node, &["kept 1", "kept 2"]).await;
    assert_eq!(node.stop().await, Some(0));
    // The stream's folder alone, in that of the account of the same name.
    let folder = find_folder(&node.data().join("jetstream/BARID"), "BARID");
    let copy = tempfile::TempDir::new().unwrap();
    put_back(&folder, copy.path());
    node.start_again().await;
    let lost = publish_all(&node, &["lost 1", "lost 2", "lost 3"]).await;
    assert_eq!(node.stop().await, Some(0));
    put_back(copy.path(), &folder);
    node.start_again().await;

    let new = publish(&node, "new").await;
    assert_ne!(epoch(&new.cursor), epoch(&kept[0].cursor));
    check_no_alias(kept.iter().chain(&lost).chain([&new]));
    let mut reader = subscribe(&node, after(&lost[0].cursor)).await;
    assert_eq!(gap(&mut reader).await.reason(), GapReason::EpochLost);
    assert_eq!(names(&reader.history().await), ["new"]);
    let mut reader = subscribe(&node, after(&kept[0].cursor)).await;
    assert_eq!(names(&reader.history().await), ["kept 2", "new"]);

    // The loss is told once: the next start begins nothing new.
    assert_eq!(node.stop().await, Some(0));
    node.start_again().await;
    let later = publish(&node, "later").await;
    assert_eq!(epoch(&later.cursor), epoch(&new.cursor));
}

/// A cursor of a log that this one never was: a Gap, then everything.
#[tokio::test]
async fn a_foreign_cursor() {
    let node = Node::start();
    publish_all(&node, &["one", "two"]).await;
    let mut reader = subscribe(&node, after("aaaaaaaa-5")).await;
    let told = gap(&mut reader).await;
    assert_eq!(told.reason(), GapReason::EpochForeign);
    assert_eq!((told.from.as_str(), seq(&told.to)), ("aaaaaaaa-5", 0));
    assert_eq!(names(&reader.history().await), ["one", "two"]);
}

/// A stream BARID that Barid did not make is left alone, and the refusal names it.
#[tokio::test]
async fn a_foreign_stream_is_refused() {
    let nats = Nats::start().await;
    let made = jetstream::new(nats.client().await)
        .create_stream(jetstream::stream::Config {
            name: "BARID".to_owned(),
            subjects: vec!["somebody.>".to_owned()],
            ..Default::default()
        })
        .await
        .unwrap();
    let before = made.cached_info().config.clone();
    let dir = tempfile::TempDir::new().unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_barid"));
    command
        .args(["serve", "--grpc-listen", "127.0.0.1:0"])
        .args(["--http-listen", "127.0.0.1:0"])
        .args(["--nats-url", &nats.url()])
        .current_dir(dir.path());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(20), run);
    let output = output.await.unwrap().unwrap();

    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("BARID"), "{words}");
    let mut made = made;
    assert_eq!(made.info().await.unwrap().config, before);
}
