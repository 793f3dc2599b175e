//! Beyond one machine: three nats-servers as deployed, two nodes of Barid, and each of them goes away
//! in mid-publish. Every accepted revision is there once, in order and whole, on every topic;
//! publishers that wait see no error while NATS changes its leaders; subscribers miss nothing.
//!
//! `BARID_SOAK=1` does it several times and prints medians: how long nothing was accepted, beside
//! what a bare NATS client sees of the same stream in the same run.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{self, consumer::DeliverPolicy};
use barid::wire::proto::v1::{
    Action, Delivery, GapReason, PublishResponse, SubscribeRequest,
    publisher_service_client::PublisherServiceClient, subscribe_response::Frame,
    subscriber_service_client::SubscriberServiceClient,
};
use futures_util::StreamExt as _;
use rustix::process::Signal;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};

use crate::{
    harness::{Node, after, article, everything, filter, request, seq},
    nats::{copy_folder, put_back},
    nats_cluster::{Cluster, LIMIT, SIZE, info},
};

/// Publishers of each node.
const PUBLISHERS: usize = 8;
/// Accepted revisions between two disturbances.
const SHARE: usize = 150;
/// What a publisher waits for an answer: the longest that Barid obeys.
const DEADLINE: Duration = Duration::from_secs(60);
const TOPICS: [&str; 2] = ["ict.telecom", "economy.trade"];
/// Where the bare client publishes: into Barid's stream, so that it meets the same elections.
const BARE: &str = "log.bare.beside";

/// When something was accepted.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<Vec<Instant>>>);

impl Times {
    fn add(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    /// The longest time without anything accepted that ended after `since`.
    fn pause(&self, since: Instant) -> Duration {
        let times = self.0.lock().unwrap();
        let gaps = times.windows(2).filter(|two| two[1] >= since);
        gaps.map(|two| two[1] - two[0]).max().unwrap_or_default()
    }

    fn count_since(&self, since: Instant) -> usize {
        let times = self.0.lock().unwrap();
        times.iter().rev().take_while(|one| **one >= since).count()
    }
}

/// Errors that a publisher may see; else it panics at the first.
#[derive(Clone, Copy, PartialEq)]
enum Errors {
    None,
    /// Its node may go away: then it sends the same to the next.
    OfNode,
}

/// A cluster with two nodes under publishing, and subscribers on both.
struct World {
    cluster: Cluster,
    nodes: Vec<Node>,
    accepted: watch::Sender<usize>,
    times: Times,
    bare_times: Times,
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<Vec<PublishResponse>>>,
    bare: JoinHandle<()>,
    subscribers: Vec<JoinHandle<Vec<Delivery>>>,
    /// The end of the log, once it is known.
    end: watch::Sender<Option<u64>>,
}

impl World {
    async fn start(errors: Errors) -> Self {
        let cluster = Cluster::start().await;
        let url = cluster.url();
        let nodes: Vec<Node> = (0..2)
            .map(|_| Node::start_with(&["--nats-url", &url, "--replicas", "3"]))
            .collect();
        let addresses: Vec<String> = nodes.iter().map(|node| node.grpc.clone()).collect();
        let mut world = Self {
            bare: tokio::spawn(async {}),
            cluster,
            nodes,
            accepted: watch::Sender::new(0),
            times: Times::default(),
            bare_times: Times::default(),
            stop: Arc::default(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            end: watch::Sender::new(None),
        };
        for number in 0..2 * PUBLISHERS {
            let mut addresses = addresses.clone();
            addresses.rotate_left(number % 2);
            world.publishers.push(tokio::spawn(publish(
                number,
                addresses,
                errors,
                world.accepted.clone(),
                world.times.clone(),
                Arc::clone(&world.stop),
            )));
        }
        for number in 0..4 {
            let mut addresses = addresses.clone();
            addresses.rotate_left(number % 2);
            // Two of everything, two of one topic.
            let topic = (number >= 2).then_some(TOPICS[0]);
            let reader = read(addresses, topic, world.end.subscribe());
            world.subscribers.push(tokio::spawn(reader));
        }
        world.bare = tokio::spawn(publish_bare(
            world.cluster.client().await,
            world.bare_times.clone(),
            Arc::clone(&world.stop),
        ));
        world
    }

    /// Waits until so many more revisions were accepted.
    async fn progress(&self) {
        let mut accepted = self.accepted.subscribe();
        let share = *accepted.borrow() + SHARE;
        let reached = accepted.wait_for(|count| *count >= share);
        timeout(LIMIT, reached)
            .await
            .expect("publishing stands still")
            .unwrap();
    }

    /// Waits until Barid and the bare client go on, and tells how long each paused.
    async fn pauses(&self, since: Instant) -> (Duration, Duration) {
        self.progress().await;
        crate::nats_cluster::eventually("the bare client goes on", async || {
            self.bare_times.count_since(since) > SHARE / 10
        })
        .await;
        (self.times.pause(since), self.bare_times.pause(since))
    }

    /// Ends publishing, and checks everything.
    async fn check(self) {
        self.stop.store(true, Ordering::Release);
        let mut expected = BTreeMap::new();
        for publisher in self.publishers {
            let responses = publisher.await.unwrap();
            let revisions: Vec<_> = responses.iter().map(|one| one.revision).collect();
            let gapless: Vec<_> = (1..=u32::try_from(responses.len()).unwrap()).collect();
            assert_eq!(revisions, gapless);
            for response in responses {
                let place = seq(&response.cursor);
                assert_eq!(expected.insert(place, response), None, "two at {place}");
            }
        }
        self.bare.await.unwrap();
        let client = self.cluster.client().await;
        check_log(&client, &expected).await;
        self.end
            .send_replace(Some(*expected.keys().next_back().unwrap()));
        for (number, subscriber) in self.subscribers.into_iter().enumerate() {
            let seen = subscriber.await.unwrap();
            let seen: Vec<_> = seen.iter().map(|one| (&one.cursor, one.revision)).collect();
            let wanted: Vec<_> = (expected.values())
                .filter(|one| number < 2 || one.topics.iter().any(|topic| topic == TOPICS[0]))
                .map(|one| (&one.cursor, one.revision))
                .collect();
            assert!(!wanted.is_empty());
            assert_eq!(seen, wanted, "subscriber {number}");
        }
    }
}

/// Publishes revisions of one article until the stop; returns the answers.
async fn publish(
    number: usize,
    addresses: Vec<String>,
    errors: Errors,
    accepted: watch::Sender<usize>,
    times: Times,
    stop: Arc<AtomicBool>,
) -> Vec<PublishResponse> {
    let mut clients: Vec<_> = (addresses.iter())
        .map(|address| Endpoint::from_shared(format!("http://{address}")).unwrap())
        .map(|endpoint| PublisherServiceClient::new(endpoint.connect_lazy()))
        .collect();
    let mut responses: Vec<PublishResponse> = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let revision = responses.len() + 1;
        let mut article = article(
            &format!("test:{number}"),
            &format!("story {number}, revision {revision}"),
        );
        article.topics = vec![TOPICS[number / 2 % 2].to_owned()];
        let request = request(Action::Publish, article);
        let deadline = Instant::now() + DEADLINE;
        let response = loop {
            let mut call = Request::new(request.clone());
            call.set_timeout(DEADLINE);
            match clients[0].publish(call).await {
                Ok(response) => break response.into_inner(),
                Err(status) => {
                    assert!(errors == Errors::OfNode, "publisher {number}: {status:?}");
                    let may_be = matches!(
                        status.code(),
                        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                    );
                    assert!(may_be, "publisher {number}: {status:?}");
                    assert!(Instant::now() < deadline, "publisher {number}: {status:?}");
                    clients.rotate_left(1);
                    sleep(Duration::from_millis(10)).await;
                }
            }
        };
        times.add();
        accepted.send_modify(|count| *count += 1);
        responses.push(response);
    }
    responses
}

/// Asks for an update of an article that no node remembers; returns the refusal.
async fn update_of_unknown(mut publisher: PublisherServiceClient<Channel>) -> Code {
    let mut call = Request::new(request(Action::Update, article("test:unknown", "unknown")));
    call.set_timeout(DEADLINE);
    publisher.publish(call).await.unwrap_err().code()
}

/// Publishes to NATS alone, one message at a time, each until it is acknowledged.
async fn publish_bare(client: async_nats::Client, times: Times, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Acquire) {
        let sent = async_nats::Request::new()
            .payload("bare".into())
            .timeout(Some(Duration::from_millis(300)));
        match client.send_request(BARE, sent).await {
            Ok(answer) if !answer.payload.starts_with(b"{\"error") => times.add(),
            Ok(_) | Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Reads everything from the beginning to the end of the log, over as many streams as it takes.
async fn read(
    mut addresses: Vec<String>,
    topic: Option<&'static str>,
    mut end: watch::Receiver<Option<u64>>,
) -> Vec<Delivery> {
    let mut seen: Vec<Delivery> = Vec::new();
    let mut cursor: Option<String> = None;
    let is_over = |cursor: &Option<String>, end: Option<u64>| match (cursor, end) {
        (Some(cursor), Some(end)) => seq(cursor) >= end,
        _ => false,
    };
    loop {
        let start = cursor.as_deref().map_or_else(everything, after);
        let request = SubscribeRequest {
            filter: Some(filter(topic.as_slice())),
            ..start
        };
        let endpoint = Endpoint::from_shared(format!("http://{}", addresses[0])).unwrap();
        let mut client = SubscriberServiceClient::new(endpoint.connect_lazy());
        let Ok(opened) = client.subscribe(request).await else {
            addresses.rotate_left(1);
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut frames = opened.into_inner();
        loop {
            if is_over(&cursor, *end.borrow_and_update()) {
                return seen;
            }
            let frame = tokio::select! {
                frame = timeout(LIMIT, frames.message()) => frame.expect("no frame in time"),
                _ = end.changed() => continue,
            };
            let Ok(Some(frame)) = frame else { break };
            match frame.frame.unwrap() {
                Frame::Delivery(delivery) => {
                    cursor = Some(delivery.cursor.clone());
                    seen.push(delivery);
                }
                Frame::CaughtUp(one) => cursor = Some(one.cursor),
                Frame::Heartbeat(one) => cursor = Some(one.cursor),
                other => panic!("not expected: {other:?}"),
            }
        }
    }
}

/// Every message of the log is a part of an accepted revision, in its place; nothing is missing.
async fn check_log(client: &async_nats::Client, expected: &BTreeMap<u64, PublishResponse>) {
    let context = jetstream::new(client.clone());
    let stream = context.get_stream("BARID").await.unwrap();
    let last = stream.cached_info().state.last_sequence;
    let config = jetstream::consumer::pull::OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut wanted = Vec::new();
    let mut found = 0;
    let mut at = 0;
    while at < last {
        let message = timeout(LIMIT, messages.next()).await.unwrap();
        let message = message.unwrap().unwrap();
        at += 1;
        assert_eq!(message.info().unwrap().stream_sequence, at);
        let subject = message.subject.as_str();
        if wanted.is_empty() {
            if subject == BARE {
                continue;
            }
            let response = expected
                .get(&at)
                .unwrap_or_else(|| panic!("{subject} at {at} is no accepted revision"));
            found += 1;
            wanted.push("log.request.".to_owned());
            let topics = response.topics.iter().rev();
            wanted.extend(topics.map(|topic| format!("log.news.{topic}")));
            wanted.push(format!("log.article.{}", response.article_id));
        }
        let wanted = wanted.pop().unwrap();
        assert!(subject.starts_with(&wanted), "{subject}, not {wanted}");
    }
    assert!(wanted.is_empty(), "a part is missing: {wanted:?}");
    assert_eq!(found, expected.len());
    let epochs = &stream.cached_info().config.metadata["barid.epochs"];
    assert!(!epochs.contains(','), "nothing was lost: {epochs}");
}

/// The whole cluster is put back to an earlier state under a running node: it waits long enough to tell
/// that from a slow leader, and nothing gets in meanwhile under the cursors of what was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_is_noticed() {
    let mut cluster = Cluster::start().await;
    let node = Node::start_with(&["--nats-url", &cluster.url(), "--replicas", "3"]);
    let publish = async |name: &str| {
        let mut call = Request::new(request(
            Action::Publish,
            article(&format!("test:{name}"), name),
        ));
        call.set_timeout(DEADLINE);
        node.publisher().publish(call).await.unwrap().into_inner()
    };
    let restart = async |cluster: &mut Cluster| {
        for index in 0..SIZE {
            cluster.start_again(index);
        }
        for index in 0..SIZE {
            cluster.healthy(index).await;
        }
    };
    publish("kept").await;
    (0..SIZE).for_each(|index| cluster.kill(index));
    let backup = tempfile::TempDir::new().unwrap();
    copy_folder(&cluster.stores(), backup.path());
    restart(&mut cluster).await;
    let lost = publish("lost").await;
    let mut stayed = node.subscribe(after(&lost.cursor)).await.unwrap();
    assert_eq!(stayed.history().await, []);

    (0..SIZE).for_each(|index| cluster.kill(index));
    put_back(backup.path(), &cluster.stores());
    restart(&mut cluster).await;

    let new = publish("new").await;
    assert_eq!(seq(&new.cursor), seq(&lost.cursor), "the same place");
    assert_ne!(new.cursor, lost.cursor);
    match timeout(LIMIT, stayed.next()).await.unwrap().unwrap() {
        Frame::Gap(gap) => assert_eq!(gap.reason(), GapReason::EpochLost),
        other => panic!("not a gap: {other:?}"),
    }
    assert_eq!(stayed.delivery().await.cursor, new.cursor);
}

fn rounds() -> usize {
    if std::env::var_os("BARID_SOAK").is_some() {
        7
    } else {
        1
    }
}

fn tell(what: &str, mut pauses: Vec<(Duration, Duration)>) {
    let mut bare: Vec<_> = pauses.iter().map(|one| one.1).collect();
    let mut more: Vec<_> = pauses
        .iter()
        .map(|(barid, bare)| barid.saturating_sub(*bare))
        .collect();
    let middle = pauses.len() / 2;
    pauses.sort();
    bare.sort();
    more.sort();
    eprintln!(
        "{what}: nothing accepted for {:?} by Barid, {:?} by NATS alone, {:?} between the two \
         (medians of {}); longest {:?} and {:?}",
        pauses[middle].0,
        bare[middle],
        more[middle],
        pauses.len(),
        pauses.last().unwrap().0,
        bare.last().unwrap(),
    );
}

/// The leader of the log is killed in mid-publish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed() {
    let mut world = World::start(Errors::None).await;
    let client = world.cluster.client().await;
    let mut pauses = Vec::new();
    for _ in 0..rounds() {
        world.progress().await;
        let leader = world.cluster.leader(&client).await;
        let since = Instant::now();
        world.cluster.kill(leader);
        // What only the leader knows is waited for, too.
        let unknown = tokio::spawn(update_of_unknown(world.nodes[0].publisher()));
        pauses.push(world.pauses(since).await);
        assert_eq!(unknown.await.unwrap(), Code::NotFound);
        assert_ne!(world.cluster.leader(&client).await, leader);
        world.cluster.start_again(leader);
        world.cluster.healthy(leader).await;
    }
    tell("leader killed", pauses);
    world.check().await;
}

/// A follower is killed in mid-publish, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_killed() {
    let mut world = World::start(Errors::None).await;
    let client = world.cluster.client().await;
    let mut pauses = Vec::new();
    for round in 0..rounds() {
        world.progress().await;
        let follower = (world.cluster.leader(&client).await + 1 + round % 2) % SIZE;
        let since = Instant::now();
        world.cluster.kill(follower);
        pauses.push(world.pauses(since).await);
        world.cluster.start_again(follower);
        world.cluster.healthy(follower).await;
    }
    tell("follower killed", pauses);
    world.check().await;
}

/// All servers are restarted, one after the other, by lame duck mode, as an upgrade does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart() {
    let mut world = World::start(Errors::None).await;
    let client = world.cluster.client().await;
    let mut pauses = Vec::new();
    for _ in 0..rounds() {
        for index in 0..SIZE {
            world.progress().await;
            let since = Instant::now();
            world.cluster.stop_lame_duck(index).await;
            world.cluster.start_again(index);
            world.cluster.healthy(index).await;
            pauses.push(world.pauses(since).await);
        }
    }
    tell("lame duck", pauses);
    let info = info(&client).await.unwrap();
    assert_eq!(info.cluster.unwrap().replicas.len(), SIZE - 1);
    world.check().await;
}

/// A node of Barid is killed in mid-publish: its publishers send the same requests to the other one.
/// Then the other one is stopped and started, as an upgrade does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed() {
    let mut world = World::start(Errors::OfNode).await;
    for _ in 0..rounds() {
        world.progress().await;
        world.nodes[0].kill();
        world.progress().await;
        world.nodes[0].start_again().await;
        world.progress().await;
        world.nodes[1].signal(Signal::TERM);
        assert_eq!(world.nodes[1].ended().await, Some(0));
        world.progress().await;
        world.nodes[1].start_again().await;
    }
    world.progress().await;
    world.check().await;
}

/// Proves that two nodes may be the first ever of a cluster, at once: what one of them has only just
/// made answers the other a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_start_on_a_new_cluster() {
    let cluster = Cluster::start().await;
    let start = || {
        let url = cluster.url();
        tokio::task::spawn_blocking(move || {
            Node::start_with(&["--nats-url", &url, "--replicas", "3"])
        })
    };
    let (one, other) = (start(), start());
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let published = one.publish(Action::Publish, article("test:first", "first"));
    let cursor = published.await.unwrap().cursor;
    let mut reader = other.subscribe(everything()).await.unwrap();
    assert_eq!(reader.delivery().await.cursor, cursor);
}
