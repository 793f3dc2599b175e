//! Random schedules on two nodes with kill -9 of nodes, NATS and subscribers, take-overs, and changes
//! of filters and grants, against an oracle that remembers everything.
//!
//! Schedules run side by side on the same nodes, each in a language of its own, with a partner of its
//! own; while they do, something is killed now and then. `BARID_SOAK=1` runs 2,000 of them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use barid::wire::proto::v1::{
    AcknowledgeRequest, Action, Article, Filter, GetSubscriptionRequest, Partner, PublishRequest,
    Role, Scope, SubscribeRequest, publisher_service_client::PublisherServiceClient,
    recipient_service_client::RecipientServiceClient, subscribe_response::Frame,
    subscriber_service_client::SubscriberServiceClient,
};
use futures_util::{StreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use crate::{
    access::Caller,
    harness::{Node, action, article_of, from, new_id, refusal, seq},
};

/// Schedules that run side by side.
const AT_ONCE: usize = 25;
/// Steps of one schedule.
const STEPS: usize = 24;
/// The longest that anything may take which must come, outages included.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPICS: [&str; 3] = ["ict", "economy", "diplomacy"];

/// A revision, as the log has it.
#[derive(Clone, Debug)]
struct Logged {
    seq: u64,
    story: usize,
    action: Action,
    topics: Vec<String>,
}

/// What one stream was asked for and gave.
#[derive(Clone, Debug)]
struct Session {
    /// Topics that counted; none = everything.
    topics: Vec<String>,
    granted: Option<&'static str>,
    /// What was acknowledged as it opened; none = nothing yet.
    after: u64,
    /// What came: sequences with the story.
    got: Vec<u64>,
    /// Up to here everything that is to come has come.
    judged: u64,
}

impl Session {
    fn wants(&self, topics: &[String]) -> bool {
        self.topics.is_empty() || topics.iter().any(|topic| self.topics.contains(topic))
    }

    fn may_read(&self, topics: &[String]) -> bool {
        let granted = self.granted;
        granted.is_none_or(|granted| topics.iter().any(|topic| topic == granted))
    }
}

/// The nodes, and where they are.
struct World {
    desk: String,
    channels: [Channel; 2],
    is_over: AtomicBool,
}

impl World {
    fn channel(&self, number: usize) -> Channel {
        self.channels[number % 2].clone()
    }
}

/// One subscriber with what it has seen, and one publisher.
struct Schedule<'a> {
    world: &'a World,
    random: StdRng,
    number: usize,
    key: String,
    log: Vec<Logged>,
    sessions: Vec<Session>,
    stream: Option<Open>,
    /// The highest that was answered.
    acknowledged: u64,
    wanted: Option<&'static str>,
    granted: Option<&'static str>,
}

struct Open {
    token: String,
    frames: Streaming<barid::wire::proto::v1::SubscribeResponse>,
    last: String,
}

fn shown<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {key}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn is_passing(status: &Status) -> bool {
    // A connection that broke says nothing of ours.
    status.code() == Code::Unavailable || refusal(status).1.is_empty()
}

impl Schedule<'_> {
    fn language(&self) -> String {
        format!("en-x-s{}", self.number)
    }

    fn uri(&self, story: usize) -> String {
        format!("test:{}/{story}", self.number)
    }

    /// Publishes a revision that the story's state allows.
    async fn publish(&mut self) {
        let story = self.random.random_range(0..4);
        let head = self.log.iter().rev().find(|one| one.story == story);
        let actions: &[Action] = match head.map(|head| head.action) {
            None => &[Action::Publish],
            Some(Action::Kill) => return,
            Some(Action::Withhold) => &[Action::Publish, Action::Kill],
            Some(_) => &[
                Action::Update,
                Action::Update,
                Action::Correct,
                Action::Withhold,
                Action::Kill,
            ],
        };
        let action = *actions.choose(&mut self.random).unwrap();
        let topic = *TOPICS.choose(&mut self.random).unwrap();
        let is_notice = matches!(action, Action::Withhold | Action::Kill);
        let article = Article {
            uri: self.uri(story),
            headline: "a headline".to_owned(),
            language: self.language(),
            edition_note: "mended".to_owned(),
            topics: if is_notice {
                vec![]
            } else {
                vec![topic.to_owned()]
            },
            ..Article::default()
        };
        let request = PublishRequest {
            request_id: new_id(),
            action: action.into(),
            article: Some(article),
            routing: barid::wire::proto::v1::Routing::Stated.into(),
            ..PublishRequest::default()
        };
        let deadline = Instant::now() + PATIENCE;
        let answer = loop {
            let channel = self.world.channel(self.random.random_range(0..2));
            let mut publisher = PublisherServiceClient::new(channel);
            let request = shown(&self.world.desk, request.clone());
            match timeout(Duration::from_secs(5), publisher.publish(request)).await {
                Ok(Ok(answer)) => break answer.into_inner(),
                Ok(Err(status)) if !is_passing(&status) => panic!("{status:?}"),
                Ok(Err(_)) | Err(_) => {}
            }
            assert!(Instant::now() < deadline, "a publish");
            sleep(Duration::from_millis(50)).await;
        };
        self.log.push(Logged {
            seq: seq(&answer.cursor),
            story,
            action,
            topics: answer.topics,
        });
    }

    /// Opens the stream, on whatever node, over the one that may be open.
    async fn open(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let channel = self.world.channel(self.random.random_range(0..2));
            let request = SubscribeRequest {
                subscription: "bot".to_owned(),
                filter: Some(Filter {
                    topics: self
                        .wanted
                        .iter()
                        .map(|topic| (*topic).to_owned())
                        .collect(),
                    languages: vec![self.language()],
                    ..Filter::default()
                }),
                start: from(barid::wire::proto::v1::start::From::Earliest(())),
                ..SubscribeRequest::default()
            };
            let mut client = SubscriberServiceClient::new(channel);
            let opened = client.subscribe(shown(&self.key, request));
            let why = match timeout(Duration::from_secs(10), opened).await {
                Ok(Ok(answer)) => {
                    let mut frames = answer.into_inner();
                    match timeout(Duration::from_secs(5), frames.message()).await {
                        Ok(Ok(Some(first))) => {
                            let Some(Frame::Opened(opened)) = first.frame else {
                                panic!("not opened: {first:?}");
                            };
                            let topics = self.counting_topics().await;
                            let expected = self.wanted.or(self.granted);
                            // A grant may be on its way to the node.
                            let is_expected = topics.iter().eq(expected.iter());
                            self.begun(opened.token, frames, topics);
                            if is_expected {
                                return;
                            }
                            "another filter".to_owned()
                        }
                        other => format!("{other:?}"),
                    }
                }
                Ok(Err(status)) => {
                    let reason = refusal(&status).1;
                    let passes = [
                        "FILTER_NOT_GRANTED",
                        "KEY_INVALID",
                        "SUBSCRIPTION_TAKEN_OVER",
                    ];
                    // The grant or the key may be on its way to this node.
                    let is_on_its_way = passes.contains(&&*reason);
                    assert!(is_passing(&status) || is_on_its_way, "{status:?}");
                    reason
                }
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < deadline, "a stream: {why}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The topics of the subscription's filter, as it is kept.
    async fn counting_topics(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let channel = self.world.channel(self.random.random_range(0..2));
            let request = GetSubscriptionRequest {
                name: "bot".to_owned(),
                ..GetSubscriptionRequest::default()
            };
            let mut client = RecipientServiceClient::new(channel);
            let got = client.get_subscription(shown(&self.key, request));
            match timeout(Duration::from_secs(5), got).await {
                Ok(Ok(answer)) => {
                    let kept = answer.into_inner().subscription.unwrap();
                    return kept.filter.unwrap().topics;
                }
                Ok(Err(status)) => assert!(is_passing(&status), "{status:?}"),
                Err(_) => {}
            }
            assert!(Instant::now() < deadline, "a subscription");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn begun(
        &mut self,
        token: String,
        frames: Streaming<barid::wire::proto::v1::SubscribeResponse>,
        topics: Vec<String>,
    ) {
        self.sessions.push(Session {
            topics,
            granted: self.granted,
            after: self.acknowledged,
            got: Vec::new(),
            judged: 0,
        });
        self.stream = Some(Open {
            token,
            frames,
            last: String::new(),
        });
    }

    /// Reads so many frames, or as many as come in a while.
    async fn read(&mut self, count: usize, wait: Duration) {
        for _ in 0..count {
            let Some(open) = &mut self.stream else { return };
            let frame = match timeout(wait, open.frames.message()).await {
                Ok(Ok(Some(response))) => response.frame.unwrap(),
                Ok(Ok(None)) => panic!("a stream ended without a status"),
                Ok(Err(status)) => {
                    let reason = refusal(&status).1;
                    let ours = ["SUBSCRIPTION_TAKEN_OVER", "GRANT_CHANGED"];
                    let is_known = ours.contains(&&*reason) || is_passing(&status);
                    assert!(is_known, "{status:?}");
                    self.stream = None;
                    return;
                }
                Err(_) => return,
            };
            let session = self.sessions.last_mut().unwrap();
            let cursor = match frame {
                Frame::Delivery(delivery) => {
                    session.got.push(seq(&delivery.cursor));
                    // What it says is what was published.
                    let uri = article_of(&delivery).uri;
                    assert!(uri.starts_with(&format!("test:{}/", self.number)), "{uri}");
                    assert_ne!(action(&delivery), Action::Unspecified);
                    delivery.cursor
                }
                Frame::CaughtUp(caught_up) => caught_up.cursor,
                Frame::Heartbeat(heartbeat) => heartbeat.cursor,
                other => panic!("{other:?}"),
            };
            session.judged = session.judged.max(seq(&cursor));
            open.last = cursor;
        }
    }

    /// Acknowledges all that was read, by whatever node.
    async fn acknowledge(&mut self) {
        let Some(open) = &self.stream else { return };
        if open.last.is_empty() {
            return;
        }
        let request = AcknowledgeRequest {
            subscription: "bot".to_owned(),
            token: open.token.clone(),
            cursor: open.last.clone(),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let channel = self.world.channel(self.random.random_range(0..2));
            let mut client = SubscriberServiceClient::new(channel);
            let answer = client.acknowledge(shown(&self.key, request.clone()));
            match timeout(Duration::from_secs(10), answer).await {
                Ok(Ok(answer)) => {
                    let stored = seq(&answer.into_inner().cursor);
                    assert!(stored >= seq(&request.cursor) && stored >= self.acknowledged);
                    self.acknowledged = stored;
                    return;
                }
                Ok(Err(status)) => assert!(is_passing(&status), "{status:?}"),
                Err(_) => {}
            }
            assert!(Instant::now() < deadline, "an acknowledgement");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn change_grant(&mut self) {
        let granted = *[None, Some("ict"), Some("economy")]
            .choose(&mut self.random)
            .unwrap();
        let caller = Caller::over(self.world.channel(0), &self.world.desk);
        let topics = granted
            .iter()
            .map(|topic: &&str| (*topic).to_owned())
            .collect();
        let deadline = Instant::now() + PATIENCE;
        while let Err(status) = caller.try_grant(&self.partner(), &topics).await {
            let is_crossed = refusal(&status).1 == "PARTNER_CONFLICT";
            assert!(is_passing(&status) || is_crossed, "{status:?}");
            assert!(Instant::now() < deadline, "a grant");
            sleep(Duration::from_millis(50)).await;
        }
        self.granted = granted;
        // What is open on the former grant ends; both nodes know within a second, if they are there.
        self.read(usize::MAX, Duration::from_millis(1500)).await;
        sleep(Duration::from_millis(1500)).await;
        if self.wanted.is_some() && granted.is_some() {
            self.wanted = granted;
        }
        self.open().await;
    }

    fn partner(&self) -> String {
        format!("partner-{}", self.number)
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            match self.random.random_range(0..20) {
                0..=8 => self.publish().await,
                9..=12 => {
                    let count = self.random.random_range(1..6);
                    self.read(count, Duration::from_millis(200)).await;
                }
                13..=14 => self.acknowledge().await,
                // The subscriber is killed.
                15 => self.stream = None,
                // Another one takes over.
                16..=17 => self.open().await,
                18 => {
                    let topics = [None, Some("ict"), Some("economy")];
                    let wanted = *topics.choose(&mut self.random).unwrap();
                    if self.granted.is_none() || wanted.is_none() || wanted == self.granted {
                        self.wanted = wanted;
                        self.open().await;
                    }
                }
                _ => self.change_grant().await,
            }
        }
        // To the end: everything that is to come has come.
        let end = self.log.last().map_or(0, |last| last.seq);
        let deadline = Instant::now() + PATIENCE;
        while self
            .sessions
            .last()
            .is_none_or(|session| session.judged < end)
        {
            assert!(Instant::now() < deadline, "the end: {self:?}");
            if self.stream.is_none() {
                self.open().await;
            }
            let before = self.sessions.last().unwrap().judged;
            self.read(1, Duration::from_secs(2)).await;
            if self.sessions.last().unwrap().judged == before {
                // Live, only a delivery says how far it is; a new stream says it at once.
                self.stream = None;
            }
        }
    }

    /// What came in each session is what had to come, and nothing that could not.
    fn judge(&self) {
        for (number, session) in self.sessions.iter().enumerate() {
            let before = &self.sessions[..number];
            let tell = || format!("session {number}: {session:?}\n{self:?}");
            assert!(
                session.got.is_sorted_by(|one, next| one < next),
                "order: {}",
                tell()
            );
            for seq in &session.got {
                assert!(*seq > session.after, "{seq} was acknowledged: {}", tell());
                let logged = self.log.iter().find(|one| one.seq == *seq);
                let logged = logged.unwrap_or_else(|| panic!("{seq} is unknown: {}", tell()));
                let may = session.wants(&logged.topics) || self.may_follow(logged, before);
                assert!(may, "{seq} is not for it: {}", tell());
            }
            for logged in &self.log {
                let is_within = logged.seq > session.after && logged.seq <= session.judged;
                let is_killed = self.log.iter().any(|one| {
                    one.story == logged.story && one.action == Action::Kill && one.seq > logged.seq
                });
                if !is_within || is_killed {
                    continue;
                }
                let must =
                    session.wants(&logged.topics) || self.must_follow(logged, session, before);
                let has = session.got.contains(&logged.seq);
                assert!(!must || has, "{} is missing: {}", logged.seq, tell());
            }
        }
    }

    /// How many deliveries were not what the filter of their time wants.
    fn followed(&self) -> usize {
        let is_beyond = |session: &Session, seq: u64| {
            let logged = self.log.iter().find(|one| one.seq == seq);
            logged.is_some_and(|logged| !session.wants(&logged.topics))
        };
        let all = self.sessions.iter();
        all.map(|session| {
            session
                .got
                .iter()
                .filter(|seq| is_beyond(session, **seq))
                .count()
        })
        .sum()
    }

    fn is_recall(logged: &Logged) -> bool {
        matches!(
            logged.action,
            Action::Correct | Action::Withhold | Action::Kill
        )
    }

    /// Whether a recall beyond the filter may come: it was itself for an earlier session, or an earlier
    /// revision was.
    fn may_follow(&self, logged: &Logged, before: &[Session]) -> bool {
        let earlier = self
            .log
            .iter()
            .filter(|one| one.story == logged.story && one.seq <= logged.seq);
        Self::is_recall(logged)
            && earlier.into_iter().any(|one| {
                let for_it =
                    |former: &Session| former.wants(&one.topics) || former.got.contains(&one.seq);
                before.iter().any(for_it)
            })
    }

    /// Whether it must: it came itself in an earlier session, or an earlier revision did, and, if this
    /// carries text beyond the grant, was acknowledged under the filter of then: what comes under another
    /// tells nothing of what may have been on its way.
    fn must_follow(&self, logged: &Logged, session: &Session, before: &[Session]) -> bool {
        let mut earlier = self
            .log
            .iter()
            .filter(|one| one.story == logged.story && one.seq <= logged.seq);
        let is_beyond = logged.action == Action::Correct && !session.may_read(&logged.topics);
        let acknowledged = |at: usize| {
            let later = before[at + 1..].iter().chain([session]);
            let mut others = later.filter(|later| later.topics != before[at].topics);
            others.next().unwrap_or(session).after
        };
        Self::is_recall(logged)
            && earlier.any(|one| {
                before.iter().enumerate().any(|(at, former)| {
                    let had = former.wants(&one.topics) && former.got.contains(&one.seq);
                    had && (!is_beyond || one.seq <= acknowledged(at))
                })
            })
    }
}

impl std::fmt::Debug for Schedule<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "schedule {}", self.number)?;
        for logged in &self.log {
            writeln!(f, "  {logged:?}")?;
        }
        for session in &self.sessions {
            writeln!(f, "  {session:?}")?;
        }
        Ok(())
    }
}

/// Kills something now and then.
async fn chaos(nodes: &Mutex<[Node; 2]>, world: &World, mut random: StdRng) -> u32 {
    let mut kills = 0;
    while !world.is_over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(random.random_range(1500..4000))).await;
        let mut nodes = nodes.lock().await;
        match random.random_range(0..3) {
            0 => nodes[0].kill_nats(),
            // Its managed NATS goes with it.
            1 => {
                nodes[0].kill();
                nodes[0].start_again().await;
            }
            _ => {
                nodes[1].kill();
                nodes[1].start_again().await;
            }
        }
        kills += 1;
    }
    kills
}

#[tokio::test(flavor = "multi_thread")]
async fn random_schedules() {
    let is_soak = std::env::var_os("BARID_SOAK").is_some();
    let count = if is_soak { 2000 } else { 50 };
    let seed = match std::env::var("BARID_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random::<u64>(),
    };
    eprintln!("BARID_SEED={seed}");
    let one = Node::start_with_keys(&[]);
    let other = Node::start_with_keys(&["--nats-url", &one.nats_url()]);
    let world = World {
        desk: one.key("desk"),
        channels: [one.channel(), other.channel()],
        is_over: AtomicBool::new(false),
    };
    let desk = Caller::desk(&one);
    let mut keys = BTreeMap::new();
    for number in 0..count {
        let name = format!("partner-{number}");
        let partner = Partner {
            name: name.clone(),
            subscribe: Some(Scope::default()),
            ..Partner::default()
        };
        desk.partner(partner).await;
        keys.insert(number, desk.key(&name, Role::Subscriber, None).await.1);
    }
    let nodes = Mutex::new([one, other]);
    let world = &world;
    let schedules = stream::iter(keys).map(|(number, key)| async move {
        let mut schedule = Schedule {
            world,
            random: StdRng::seed_from_u64(seed.wrapping_add(u64::try_from(number).unwrap())),
            number,
            key,
            log: Vec::new(),
            sessions: Vec::new(),
            stream: None,
            acknowledged: 0,
            wanted: None,
            granted: None,
        };
        schedule.run().await;
        schedule.judge();
        let came: usize = schedule
            .sessions
            .iter()
            .map(|session| session.got.len())
            .sum();
        [
            schedule.log.len(),
            schedule.sessions.len(),
            came,
            schedule.followed(),
        ]
    });
    let all = async {
        let done: Vec<_> = schedules.buffer_unordered(AT_ONCE).collect().await;
        world.is_over.store(true, Ordering::Relaxed);
        done
    };
    let random = StdRng::seed_from_u64(seed);
    let (done, kills) = tokio::join!(all, chaos(&nodes, world, random));
    let sum = |place: usize| done.iter().map(|sums| sums[place]).sum::<usize>();
    eprintln!(
        "{count} schedules, {kills} kills, {} revisions, {} streams, {} deliveries, of which {} \
         followed what was sent under other filters: none lost, repeated beyond what was not \
         acknowledged, or out of order",
        sum(0),
        sum(1),
        sum(2),
        sum(3)
    );
    assert!(sum(3) > 0, "no recall had to follow");
}
