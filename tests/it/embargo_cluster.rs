//! An embargo holds beyond one machine: three nats-servers as deployed, two nodes of Barid, and the
//! log's leader, a node or both go away while drafts become due. Each goes out once, on all its topics,
//! not before its time, and soon after there is somebody to send it. Proves invariant 9 for clusters.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{
    Client,
    jetstream::{self, consumer::DeliverPolicy, consumer::pull::OrderedConfig},
};
use barid::wire::proto::v1::{
    Action, Article, Delivery, subscribe_response::Frame,
    subscriber_service_client::SubscriberServiceClient,
};
use futures_util::StreamExt as _;
use rand::RngExt as _;
use tokio::time::{sleep, timeout};
use tonic::{Request, transport::Endpoint};

use crate::{
    embargoes::{draft, history, list, nothing_is_left_over, now, since_1970, submit},
    harness::{Node, action, after, article, article_of, everything, request, seq},
    nats_cluster::{Cluster, LIMIT, eventually},
};

/// Drafts of a round, and the time from one's to the next one's.
const DRAFTS: usize = 6;
const BETWEEN: Duration = Duration::from_millis(300);
/// From when the drafts are handed in to the first one's time.
const AHEAD: Duration = Duration::from_secs(5);
/// Within what a draft goes out once it is due and there is a leader and a node.
const SOON: Duration = Duration::from_secs(12);
const TOPICS: [&str; 2] = ["ict.telecom", "economy.trade"];

/// A draft that was handed in.
struct Held {
    uri: String,
    until: Duration,
    /// When the log and a node were there to send it, if that was later.
    back: Duration,
}

/// What came, and when.
type Seen = Arc<Mutex<Vec<(Delivery, Duration)>>>;

/// Follows the wire for ever, over as many streams as it takes.
async fn follow(mut addresses: Vec<String>, seen: Seen) {
    let mut cursor: Option<String> = None;
    loop {
        let endpoint = Endpoint::from_shared(format!("http://{}", addresses[0])).unwrap();
        let mut client = SubscriberServiceClient::new(endpoint.connect_lazy());
        let start = cursor.as_deref().map_or_else(everything, after);
        let Ok(opened) = client.subscribe(start).await else {
            addresses.rotate_left(1);
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut frames = opened.into_inner();
        while let Ok(Some(frame)) = frames.message().await {
            match frame.frame.unwrap() {
                Frame::Delivery(delivery) => {
                    cursor = Some(delivery.cursor.clone());
                    seen.lock().unwrap().push((delivery, now()));
                }
                Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
                other => panic!("not expected: {other:?}"),
            }
        }
    }
}

/// Publishes something that is under no embargo; returns when it was accepted.
async fn accepted(node: &Node, name: &str) -> Duration {
    let mut call = Request::new(request(
        Action::Publish,
        article(&format!("test:probe-{name}"), name),
    ));
    call.set_timeout(LIMIT);
    node.publisher().publish(call).await.unwrap();
    now()
}

/// Every copy of a topic's subject with its uri and the log's own time of it.
async fn copies(client: &Client, topic: &str) -> Vec<(String, Duration)> {
    let context = jetstream::new(client.clone());
    let stream = context.get_stream("BARID").await.unwrap();
    let config = OrderedConfig {
        filter_subject: format!("log.news.{topic}"),
        deliver_policy: DeliverPolicy::All,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut found = Vec::new();
    loop {
        let message = timeout(LIMIT, messages.next()).await.unwrap();
        let message = message.unwrap().unwrap();
        let info = message.info().unwrap();
        let time_ns = info.published.unix_timestamp_nanos();
        let headers = message.headers.as_ref().unwrap();
        let uri = headers.get("ce-subject").unwrap().to_string();
        found.push((uri, Duration::from_nanos(time_ns.try_into().unwrap())));
        if info.pending == 0 {
            return found;
        }
    }
}

/// Who goes away in a round.
#[derive(Clone, Copy, Debug)]
struct Away {
    leader: bool,
    node: Option<usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drafts_over_the_loss_of_a_leader_and_a_node() {
    let mut cluster = Cluster::start().await;
    let url = cluster.url();
    let mut nodes: Vec<Node> = (0..2)
        .map(|_| Node::start_with(&["--nats-url", &url, "--replicas", "3"]))
        .collect();
    let client = cluster.client().await;
    let addresses: Vec<String> = nodes.iter().map(|node| node.grpc.clone()).collect();
    let seen: [Seen; 2] = Default::default();
    for (number, seen) in seen.iter().enumerate() {
        let mut addresses = addresses.clone();
        addresses.rotate_left(number);
        tokio::spawn(follow(addresses, Arc::clone(seen)));
    }
    let mut held: Vec<Held> = Vec::new();
    let rounds = [
        (true, None),
        (false, Some(0)),
        (false, Some(1)),
        (true, Some(0)),
    ];
    for (round, (leader, node)) in rounds.into_iter().enumerate() {
        let away = Away { leader, node };
        let first = now() + AHEAD;
        for number in 0..DRAFTS {
            let uri = format!("test:{round}-{number}");
            let until = first + BETWEEN * u32::try_from(number).unwrap();
            let article: Article = draft(&uri, "body", until.saturating_sub(now()));
            let answer = submit(&nodes[number % 2], article).await;
            let until = since_1970(answer.embargoed_until.unwrap());
            held.push(Held {
                uri,
                until,
                back: until,
            });
        }
        eventually("both nodes know all drafts", async || {
            let mut counts = Vec::new();
            for node in &nodes {
                counts.push(list(node).await.len());
            }
            counts == [DRAFTS; 2]
        })
        .await;
        // Some are due before it, most while nobody or another leads.
        let moment = BETWEEN + Duration::from_millis(rand::rng().random_range(0..300));
        let leader = cluster.leader(&client).await;
        sleep((first + moment).saturating_sub(now())).await;
        if let Some(node) = away.node {
            nodes[node].kill();
        }
        if away.leader {
            cluster.kill(leader);
        }
        let back = accepted(
            &nodes[away.node.map_or(1, |node| 1 - node)],
            &round.to_string(),
        )
        .await;
        for one in held.iter_mut().rev().take(DRAFTS) {
            one.back = back;
        }
        eventually("all drafts are out", async || {
            seen.iter().all(|seen| {
                let seen = seen.lock().unwrap();
                let is_out = |one: &Held| {
                    seen.iter()
                        .any(|(delivery, _)| article_of(delivery).uri == one.uri)
                };
                held.iter().all(is_out)
            })
        })
        .await;
        if away.leader {
            cluster.start_again(leader);
            cluster.healthy(leader).await;
        }
        if let Some(node) = away.node {
            nodes[node].start_again().await;
        }
    }
    nothing_is_left_over(&client).await;
    let mut latest = Duration::ZERO;
    for seen in &seen {
        let seen = seen.lock().unwrap();
        assert!(seen.is_sorted_by_key(|(delivery, _)| seq(&delivery.cursor)));
        for one in &held {
            let of_it = |(delivery, _): &&(Delivery, Duration)| article_of(delivery).uri == one.uri;
            let found: Vec<_> = seen.iter().filter(of_it).collect();
            let [(delivery, at)] = found[..] else {
                panic!("{} came {} times", one.uri, found.len());
            };
            assert_eq!((delivery.revision, action(delivery)), (1, Action::Publish));
            assert_eq!(delivery.topics, TOPICS);
            assert!(*at >= one.until, "{} came before its time", one.uri);
            assert!(
                since_1970(delivery.published_at.unwrap()) >= one.until,
                "{}",
                one.uri
            );
            let late = at.saturating_sub(one.until.max(one.back));
            assert!(
                late < SOON,
                "{} came {late:?} after somebody was there",
                one.uri
            );
            latest = latest.max(late);
        }
    }
    for node in &nodes {
        assert_eq!(history(node).await.len(), held.len() + rounds.len());
        assert!(list(node).await.is_empty());
    }
    for topic in TOPICS {
        // The replica that is read may still be catching up.
        let mut copies = copies(&client, topic).await;
        let deadline = now() + LIMIT;
        while copies.len() < held.len() && now() < deadline {
            sleep(Duration::from_millis(100)).await;
            copies = self::copies(&client, topic).await;
        }
        for one in &held {
            let of_it = copies.iter().filter(|(uri, _)| *uri == one.uri);
            let times: Vec<_> = of_it.map(|(_, time)| *time).collect();
            assert!(
                matches!(times[..], [time] if time >= one.until),
                "{topic}: {times:?}"
            );
        }
    }
    eprintln!(
        "{} drafts over {} losses: {latest:?} late at most",
        held.len(),
        rounds.len()
    );
}
