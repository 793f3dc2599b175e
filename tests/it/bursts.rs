//! News that comes fast, for many: readers are woken by several revisions at once, and nobody is left
//! behind when it stops.

use std::time::Duration;

use barid::wire::proto::v1::{
    Action, SubscribeRequest, start::From as StartFrom, subscribe_response::Frame,
};
use tokio::{
    task::{JoinHandle, spawn},
    time::timeout,
};

use crate::{
    harness::{Node, article, everything, filter, from, seq},
    sse::Stream,
    web,
};

/// Within what the last of a burst is there: less than the time after which a reader would look by
/// itself, which is that of a heartbeat.
const THERE: Duration = Duration::from_secs(10);
const PUBLISHERS: usize = 8;
const EACH: usize = 40;
/// Readers of each kind: so many are worth waiting for.
const READERS: usize = 40;

/// Publishes from several sides at once, in two topics by turns; returns what each topic got, in order.
async fn burst(node: &Node) -> [Vec<String>; 2] {
    let publishing: Vec<JoinHandle<Vec<(usize, String)>>> = (0..PUBLISHERS)
        .map(|side| {
            let mut publisher = node.publisher();
            spawn(async move {
                let mut cursors = Vec::new();
                for number in 0..EACH {
                    let topic = (side + number) % 2;
                    let mut story = article(&format!("burst:{side}/{number}"), "a headline");
                    story.topics = vec![["ict", "economy"][topic].to_owned()];
                    // From less to more than what one send carries.
                    story.body = "x".repeat([200, 2_000, 2_000, 30_000][number % 4]);
                    let request = crate::harness::request(Action::Publish, story);
                    let published = publisher.publish(request).await.unwrap();
                    cursors.push((topic, published.into_inner().cursor));
                }
                cursors
            })
        })
        .collect();
    let mut all = Vec::new();
    for one in publishing {
        all.extend(one.await.unwrap());
    }
    all.sort_by_key(|(_, cursor)| seq(cursor));
    [0, 1].map(|wanted| {
        let of_topic = all.iter().filter(|(topic, _)| *topic == wanted);
        of_topic.map(|(_, cursor)| cursor.clone()).collect()
    })
}

async fn ring_reads(node: &Node) -> f64 {
    web::metric_of(node, "barid_ring_reads_total", "").await
}

/// Each of many readers, by both protocols and with filters or none, gets all of a burst once and in
/// order, to its last article; so does whoever comes while it is under way.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_a_burst_to_its_end() {
    let node = Node::start();
    let topics: [&[&str]; 3] = [&[], &["ict"], &["economy"]];
    let open = async |topics: &[&str], start: StartFrom| {
        let request = SubscribeRequest {
            filter: Some(filter(topics)),
            start: from(start),
            ..everything()
        };
        node.subscribe(request).await.unwrap()
    };
    let (mut by_grpc, mut by_sse) = (Vec::new(), Vec::new());
    for number in 0..READERS {
        let wanted = topics[number % 3];
        let mut reader = open(wanted, StartFrom::Now(())).await;
        reader.caught_up().await;
        by_grpc.push((number % 3, reader));
        let path = match wanted.first() {
            Some(topic) => format!("/v1/stream?topics={topic}"),
            None => "/v1/stream".to_owned(),
        };
        let mut stream = Stream::open(&node.http, &path, None).await;
        stream.history().await;
        by_sse.push((number % 3, stream));
    }
    let before = ring_reads(&node).await;
    let late = async {
        let mut readers = Vec::new();
        for number in 0..READERS {
            let reader = open(topics[number % 3], StartFrom::Earliest(())).await;
            readers.push((number % 3, reader));
        }
        readers
    };
    let ([ict, economy], late) = tokio::join!(burst(&node), late);
    let mut all = [&ict[..], &economy].concat();
    all.sort_by_key(|cursor| seq(cursor));
    let expected = [all, ict, economy];

    let there = timeout(THERE, async {
        for (wanted, reader) in by_grpc.iter_mut() {
            for cursor in &expected[*wanted] {
                assert_eq!(reader.delivery().await.cursor, *cursor);
            }
        }
        for (wanted, stream) in &mut by_sse {
            for cursor in &expected[*wanted] {
                assert_eq!(stream.event().await.id, *cursor);
            }
        }
    });
    there
        .await
        .expect("somebody waits for the end of the burst");
    let reads = ring_reads(&node).await - before;
    for (wanted, mut reader) in late {
        let mut got = Vec::new();
        let there = timeout(THERE, async {
            while got.last() != expected[wanted].last() {
                if let Frame::Delivery(delivery) = reader.next().await.unwrap() {
                    got.push(delivery.cursor);
                }
            }
        });
        there
            .await
            .expect("somebody waits for the end of the burst");
        assert_eq!(got, expected[wanted]);
    }
    let per_reader = expected.iter().map(Vec::len).sum::<usize>() / 3;
    let alone = u32::try_from(3 * READERS * per_reader).unwrap();
    assert!(
        reads < f64::from(alone),
        "{reads} reads, {alone} deliveries"
    );
}
