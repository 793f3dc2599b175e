//! Webhooks over crashes: two nodes, a receiver that others wrote, and random schedules of failures,
//! kill -9 of a node, of NATS and of the receiver. Nothing is lost or out of order, and what comes twice
//! is what was in flight.
//!
//! A schedule is one webhook through one round: a filter, a format, a receiver's moods, and the round's
//! disturbance. `BARID_SOAK=1` runs 2,000 instead of 50; `BARID_MODEL_SEED=n` begins with another seed.

use std::time::Duration;

use barid::wire::proto::v1::{
    DeleteWebhookRequest, PublishRequest, PublishResponse, Webhook, WebhookFormat,
    publisher_service_client::PublisherServiceClient,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    access::story,
    harness::{Node, filter, seq},
    nats::Nats,
    webhooks::{
        CALLS, Hooks,
        receiver::{Receiver, Taken},
        wanting,
    },
};

const ROUNDS: u64 = 5;
const SOAK_ROUNDS: u64 = 200;
/// Webhooks of a round: ten schedules.
const HOOKS: usize = 10;
/// Articles of a round.
const ARTICLES: usize = 16;
/// The longest that a round may take: a takeover and some pauses after failures.
const PATIENCE: Duration = Duration::from_secs(90);
const TOPICS: [&str; 3] = ["ict", "economy.trade", "diplomacy.visits"];

/// What befalls a round.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    Nothing,
    Node(usize),
    Nats,
    Receiver,
}

/// What all rounds come to.
#[derive(Debug, Default)]
struct Sums {
    schedules: u64,
    taken: usize,
    lost: usize,
    repeated: usize,
    reordered: usize,
}

/// One webhook and what it must get.
struct Expected {
    name: String,
    webhook: Webhook,
    topic: Option<&'static str>,
}

impl Expected {
    fn wants(&self, published: &PublishResponse) -> bool {
        self.topic
            .is_none_or(|topic| published.topics.iter().any(|one| one == topic))
    }
}

struct World {
    nats: Nats,
    nodes: Vec<Node>,
    receiver: Receiver,
    random: StdRng,
    sums: Sums,
}

impl World {
    async fn start(seed: u64) -> Self {
        let nats = Nats::start().await;
        let url = nats.url();
        let args = [&["--nats-url", url.as_str()][..], &CALLS].concat();
        Self {
            nodes: (0..2).map(|_| Node::start_with(&args)).collect(),
            nats,
            receiver: Receiver::start(),
            random: StdRng::seed_from_u64(seed),
            sums: Sums::default(),
        }
    }

    async fn round(&mut self, number: u64) {
        let mut hooks = Vec::new();
        for index in 0..HOOKS {
            hooks.push(self.hook(&format!("round{number}-{index}")).await);
        }
        let disturbance = *[
            Disturbance::Nothing,
            Disturbance::Node(0),
            Disturbance::Node(1),
            Disturbance::Nats,
            Disturbance::Receiver,
        ]
        .choose(&mut self.random)
        .unwrap();
        let when = self.random.random_range(1..ARTICLES);
        let mut published = Vec::new();
        for index in 0..ARTICLES {
            if index == when {
                self.disturb(disturbance).await;
            }
            let topic = *TOPICS.choose(&mut self.random).unwrap();
            published.push(
                self.publish(story(&format!("test:{number}/{index}"), &[topic]))
                    .await,
            );
        }
        let deadline = Instant::now() + PATIENCE;
        for hook in &hooks {
            let wanted: Vec<&PublishResponse> =
                published.iter().filter(|one| hook.wants(one)).collect();
            while !self.has_all(hook, &wanted) && Instant::now() < deadline {
                sleep(Duration::from_millis(50)).await;
            }
            self.judge(hook, &wanted, disturbance);
        }
        self.receiver.assert_content();
        for hook in hooks {
            let id = hook.webhook.id;
            let client = Hooks::open(&self.nodes[0]);
            client.delete(DeleteWebhookRequest { id }).await;
        }
    }

    /// A webhook with a filter, a format and a receiver of its own.
    async fn hook(&mut self, name: &str) -> Expected {
        let topic = [None, Some("ict"), Some("economy.trade")];
        let topic = *topic.choose(&mut self.random).unwrap();
        let format = [WebhookFormat::Ninjs, WebhookFormat::Cloudevents];
        let format = *format.choose(&mut self.random).unwrap();
        let webhook = Webhook {
            format: format.into(),
            ..wanting(filter(topic.as_slice()))
        };
        let node = &self.nodes[self.random.random_range(0..2)];
        let webhook = Hooks::open(node).add(&self.receiver, name, webhook).await;
        let moods: [&[u16]; 4] = [
            &[200],
            &[200, 200, 200, 200, 200, 200, 200, 503],
            &[200, 200, 200, 200, 200, 200, 200, 500, 429],
            &[200, 200, 200, 200, 200, 200, 200, 404],
        ];
        let answers = *moods.choose(&mut self.random).unwrap();
        let delay_ms = *[0, 5, 50].choose(&mut self.random).unwrap();
        let settings = json!({
            "secrets": [self.receiver.secret(name)],
            "publics": webhook.public_keys,
            "format": if format == WebhookFormat::Ninjs { "ninjs" } else { "cloudevents" },
            "answers": answers,
            "delay_ms": delay_ms,
        });
        self.receiver.set(name, &settings);
        Expected {
            name: name.to_owned(),
            webhook,
            topic,
        }
    }

    async fn disturb(&mut self, disturbance: Disturbance) {
        let pause = Duration::from_millis(self.random.random_range(0..600));
        sleep(Duration::from_millis(self.random.random_range(0..200))).await;
        match disturbance {
            Disturbance::Nothing => {}
            Disturbance::Node(index) => {
                self.nodes[index].kill();
                sleep(pause).await;
                self.nodes[index].start_again().await;
            }
            Disturbance::Nats => {
                self.nats.kill();
                sleep(pause).await;
                self.nats.start_again();
            }
            Disturbance::Receiver => {
                self.receiver.kill();
                sleep(pause).await;
                self.receiver.start_again();
            }
        }
    }

    /// Publishes by whichever node takes it.
    async fn publish(&mut self, message: PublishRequest) -> PublishResponse {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let node = &self.nodes[self.random.random_range(0..2)];
            let mut client = PublisherServiceClient::new(node.channel());
            let answer = timeout(Duration::from_secs(10), client.publish(message.clone())).await;
            if let Ok(Ok(answer)) = answer {
                return answer.into_inner();
            }
            assert!(
                Instant::now() < deadline,
                "nobody takes an article: {answer:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn has_all(&self, hook: &Expected, wanted: &[&PublishResponse]) -> bool {
        let taken = self.receiver.taken(&hook.name);
        let has = |one: &Taken, cursor: &str| one.cursor.as_deref() == Some(cursor);
        wanted
            .iter()
            .all(|published| taken.iter().any(|one| has(one, &published.cursor)))
    }

    fn judge(&mut self, hook: &Expected, wanted: &[&PublishResponse], disturbance: Disturbance) {
        let taken = self.receiver.taken(&hook.name);
        let mut cursors: Vec<u64> = taken
            .iter()
            .map(|one| seq(one.cursor.as_deref().unwrap()))
            .collect();
        let all = cursors.len();
        // What was in flight comes again at once, before anything else.
        cursors.dedup();
        let reordered = cursors.windows(2).filter(|two| two[0] >= two[1]).count();
        let lost = wanted
            .iter()
            .filter(|published| !cursors.contains(&seq(&published.cursor)))
            .count();
        let ids_agree = taken
            .iter()
            .all(|one| one.id == format!("{}_{}", hook.webhook.id, one.cursor.as_deref().unwrap()));
        assert!(ids_agree, "{taken:?}");
        assert!(
            cursors.len() <= wanted.len() || lost > 0 || reordered > 0,
            "more than it wants"
        );
        assert_eq!(
            (lost, reordered),
            (0, 0),
            "{} of {} after {disturbance:?}: {cursors:?}",
            hook.name,
            wanted.len()
        );
        self.sums.schedules += 1;
        self.sums.taken += all;
        self.sums.lost += lost;
        self.sums.repeated += all - cursors.len();
        self.sums.reordered += reordered;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_over_crashes() {
    let rounds = match std::env::var_os("BARID_SOAK") {
        Some(_) => SOAK_ROUNDS,
        None => ROUNDS,
    };
    let seed = std::env::var("BARID_MODEL_SEED");
    let seed = seed.map_or(1, |seed| seed.parse().unwrap());
    let mut world = World::start(seed).await;
    let begun = Instant::now();
    for number in 0..rounds {
        world.round(number).await;
    }
    eprintln!("{:?} in {:?}", world.sums, begun.elapsed());
}
