//! Retention: what is older than the operator keeps goes, and readers are told.

use std::time::{Duration, SystemTime};

use async_nats::jetstream;
use barid::{
    telemetry::Metrics,
    wire::{
        log::{Log, open},
        proto::v1::{
            Action, Gap, GapReason, GetArticleRequest, ListRevisionsRequest, SubscribeRequest,
            start::From as StartFrom, subscribe_response::Frame,
        },
    },
};
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Node, Reader, after, article, article_of, eventually, everything, from, noted, request, seq,
};

/// A sweeper over the log of a node, which keeps what is younger than a moment.
struct Sweeper {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Sweeper {
    async fn start(node: &Node, from: SystemTime) -> Self {
        const KEEP: Duration = Duration::from_millis(100);
        let options = open::Options {
            url: node.nats_url(),
            replicas: 1,
            bytes_max: None,
        };
        let (log, _) = Box::pin(Log::open(&options, Metrics::new())).await.unwrap();
        let stop = CancellationToken::new();
        let end = stop.clone();
        let task = tokio::spawn(async move {
            log.run_sweeper(KEEP, || from + KEEP, end).await;
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// What lies in the log itself.
struct Inside {
    stream: jetstream::stream::Stream,
    meta: jetstream::kv::Store,
}

impl Inside {
    async fn of(node: &Node) -> Self {
        let context = jetstream::new(node.nats_owner().await);
        Self {
            stream: context.get_stream("BARID").await.unwrap(),
            meta: context.get_key_value("barid-meta").await.unwrap(),
        }
    }

    async fn holds(&self, place: u64) -> bool {
        self.stream.get_raw_message(place).await.is_ok()
    }

    async fn number(&self, key: &str) -> u64 {
        let value = self.meta.get(key).await.unwrap();
        value.map_or(0, |value| {
            std::str::from_utf8(&value).unwrap().parse().unwrap()
        })
    }
}

async fn gap(reader: &mut Reader) -> Gap {
    match reader.next().await.unwrap() {
        Frame::Gap(gap) => gap,
        other => panic!("not a gap: {other:?}"),
    }
}

/// Old revisions go and heads stay; readers of what went get a Gap, and `retained_from` had risen
/// before anything was deleted. A later erasure makes no Gap.
#[tokio::test]
async fn sweeps_what_is_old() {
    let node = Node::start();
    let mut old = Vec::new();
    let first = request(Action::Publish, article("test:a", "a 1"));
    let answer = node.publisher().publish(first.clone()).await.unwrap();
    old.push(answer.into_inner());
    for (action, uri, headline) in [
        (Action::Update, "test:a", "a 2"),
        (Action::Update, "test:a", "a 3"),
        (Action::Publish, "test:b", "b 1"),
        (Action::Update, "test:b", "b 2"),
        (Action::Publish, "test:single", "single 1"),
    ] {
        old.push(node.publish(action, article(uri, headline)).await.unwrap());
    }
    let mut stayed = node.subscribe(everything()).await.unwrap();
    assert_eq!(stayed.history().await.len(), 6);
    let border = SystemTime::now();
    // Newer than the border: b's head, and so all of its old revisions may go.
    let b_3 = node.publish(Action::Update, article("test:b", "b 3")).await;
    let b_3 = b_3.unwrap();
    let c_1 = node
        .publish(Action::Publish, article("test:c", "c 1"))
        .await;
    let c_1 = c_1.unwrap();

    let inside = Inside::of(&node).await;
    let sweeper = Sweeper::start(&node, border).await;
    let gone = [0, 1, 3, 4].map(|index: usize| seq(&old[index].cursor));
    eventually("the sweep", async || {
        let mut is_done = true;
        for place in gone {
            let is_held = inside.holds(place).await;
            // Read after the record was found gone: it was there before it went.
            assert!(is_held || inside.number("retained_from").await > place);
            is_done &= !is_held;
        }
        is_done && inside.number("swept_to").await > 0
    })
    .await;
    sweeper.stop().await;
    for kept in [&old[2], &old[5], &b_3, &c_1] {
        assert!(inside.holds(seq(&kept.cursor)).await, "{kept:?}");
    }

    // Heads answer, and take the next revision.
    for (response, headline) in [(&old[2], "a 3"), (&old[5], "single 1")] {
        let article_id = response.article_id.clone();
        let got = node
            .articles()
            .get_article(GetArticleRequest {
                article_id: article_id.clone(),
            })
            .await;
        let got = got.unwrap().into_inner().delivery.unwrap();
        assert_eq!(article_of(&got).headline, headline);
        assert_eq!(got.cursor, response.cursor);
        let listed = node
            .articles()
            .list_revisions(ListRevisionsRequest {
                article_id,
                ..Default::default()
            })
            .await;
        assert_eq!(listed.unwrap().into_inner().deliveries, [got]);
    }
    let a_4 = node.publish(Action::Update, article("test:a", "a 4")).await;
    let a_4 = a_4.unwrap();
    assert_eq!(a_4.revision, 4);
    // Answers are kept for longer than news.
    let again = node.publisher().publish(first).await.unwrap().into_inner();
    assert!(again.duplicate);
    assert_eq!(again.cursor, old[0].cursor);

    // One that was there all the time has missed nothing.
    for expected in ["b 3", "c 1", "a 4"] {
        assert_eq!(article_of(&stayed.delivery().await).headline, expected);
    }
    let kept = ["b 3", "c 1", "a 4"];
    for below in [&old[0], &old[2]] {
        let mut reader = node.subscribe(after(&below.cursor)).await.unwrap();
        let told = gap(&mut reader).await;
        assert_eq!(told.reason(), GapReason::Retention);
        assert_eq!(told.from, below.cursor);
        // Right after the last old record: its copies and its answer lie between.
        assert_eq!(seq(&told.to), seq(&old[old.len() - 1].cursor));
        check_history(&mut reader, &kept).await;
        let mut resumed = node.subscribe(after(&told.to)).await.unwrap();
        check_history(&mut resumed, &kept).await;
    }
    let mut reader = node.subscribe(everything()).await.unwrap();
    check_history(&mut reader, &kept).await;
    let since = SubscribeRequest {
        start: from(StartFrom::Since(SystemTime::UNIX_EPOCH.into())),
        ..Default::default()
    };
    let mut reader = node.subscribe(since).await.unwrap();
    assert_eq!(gap(&mut reader).await.reason(), GapReason::Retention);
    check_history(&mut reader, &kept).await;

    // An erased record above where history begins is no Gap.
    let kill = node.publish(Action::Kill, noted("test:c", "why")).await;
    kill.unwrap();
    eventually("the erasure", async || {
        !inside.holds(seq(&c_1.cursor)).await
    })
    .await;
    let mut reader = node.subscribe(after(&b_3.cursor)).await.unwrap();
    check_history(&mut reader, &["a 4", ""]).await;
    let mut reader = node.subscribe(after(&c_1.cursor)).await.unwrap();
    check_history(&mut reader, &["a 4", ""]).await;
}

async fn check_history(reader: &mut Reader, expected: &[&str]) {
    let history = reader.history().await;
    let headlines: Vec<_> = history.iter().map(|one| article_of(one).headline).collect();
    assert_eq!(headlines, expected);
}

/// A node that is told how long to keep news sweeps by itself, and a restart in the middle of it or
/// after it changes nothing of what it says.
#[tokio::test]
async fn a_node_sweeps() {
    let mut node = Node::start_with(&["--retain", "1s"]);
    let mut old = Vec::new();
    for revision in 1..=3 {
        let article = article("test:a", &format!("a {revision}"));
        old.push(node.publish(Action::Publish, article).await.unwrap());
    }
    let inside = Inside::of(&node).await;
    eventually("retained_from", async || {
        inside.number("retained_from").await > seq(&old[2].cursor)
    })
    .await;
    // Between the word and the deed.
    node.kill();
    node.start_again().await;
    let inside = Inside::of(&node).await;
    eventually("the sweep", async || {
        !inside.holds(seq(&old[1].cursor)).await
    })
    .await;
    assert!(inside.holds(seq(&old[2].cursor)).await);
    let mut reader = node.subscribe(after(&old[0].cursor)).await.unwrap();
    let told = gap(&mut reader).await;
    assert_eq!(told.reason(), GapReason::Retention);
    assert!(seq(&told.to) >= seq(&old[2].cursor));
    check_history(&mut reader, &[]).await;
    let next = node.publish(Action::Update, article("test:a", "a 4")).await;
    let next = next.unwrap();
    assert_eq!(next.revision, 4);
    assert_eq!(article_of(&reader.delivery().await).headline, "a 4");
    // What was swept is none of the newest that can be had.
    eventually("retained_from again", async || {
        inside.number("retained_from").await > seq(&next.cursor)
    })
    .await;
    let last = SubscribeRequest {
        start: from(StartFrom::Last(3)),
        ..everything()
    };
    check_history(&mut node.subscribe(last).await.unwrap(), &[]).await;
}
