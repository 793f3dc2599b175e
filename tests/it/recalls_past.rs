//! Recalls over changes of what a recipient is sent: whom they reach, and what is said of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use barid::wire::proto::v1::{
    Action, Filter, Partner, RecallState, ResetSubscriptionRequest, Role, SubscribeRequest,
    Webhook, recipient_service_client::RecipientServiceClient, reset_subscription_request::To,
    start::From as StartFrom, subscribe_response::Frame,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use crate::{
    access::{Caller, gazette, story},
    command_line::run,
    durable::{Bot, named, shown},
    harness::{Node, action, article, article_of, eventually, everything, filter, noted},
    recalls::{Endpoint, HOLDS, add, health, publish, states, states_for},
    webhooks::{CALLS, Hooks, receiver::Receiver, taken, types, wanting},
};

pub async fn reset_to_now(node: &Node, name: &str) {
    let reset = ResetSubscriptionRequest {
        name: name.to_owned(),
        to: Some(To::Now(())),
        ..ResetSubscriptionRequest::default()
    };
    let mut recipients = RecipientServiceClient::new(node.channel());
    recipients.reset_subscription(reset).await.unwrap();
}

pub async fn left(node: &Node, name: &str) {
    eventually("its stream has ended", async || {
        shown(node, name).await.connected_to.is_empty()
    })
    .await;
}

/// A correction that is parked is sent when somebody asks, though later news of the story was left
/// out; and one that a replay brings is parked no more.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_sent_though_news_was_left_out() {
    let (node, receiver) = (Node::start_with(&CALLS), Receiver::start());
    let hooks = Hooks::open(&node);
    let hook = hooks
        .add(&receiver, "hook", wanting(filter(&["ict"])))
        .await;
    let secret = receiver.secret("hook");
    let answers = |answers: &[u16]| receiver.expect("hook", &hook, &[&secret], answers);
    let parks = async |count: usize| {
        eventually("so much is parked", async || {
            hooks.parked(&hook.id).await.len() == count
        })
        .await;
    };
    let state = async || states(&node, "test:had").await[&hook.id];
    publish(&node, Action::Publish, "test:had").await;
    taken(&receiver, "hook", 1).await;
    answers(&[422]);
    publish(&node, Action::Correct, "test:had").await;
    parks(1).await;
    hooks.pause(&hook.id).await;
    publish(&node, Action::Update, "test:had").await;
    hooks.replay(&hook.id, StartFrom::Now(())).await;
    answers(&[200]);
    hooks.resume(&hook.id).await;
    publish(&node, Action::Publish, "test:after").await;
    taken(&receiver, "hook", 2).await;
    assert_eq!(state().await, RecallState::Outstanding);
    assert_eq!(hooks.retry(&hook.id).await, 1);
    parks(0).await;
    let all = taken(&receiver, "hook", 3).await;
    let expected = ["article.publish", "article.publish", "article.correct"];
    assert_eq!(types(&all), expected);
    assert_eq!(state().await, RecallState::Acknowledged);

    answers(&[422]);
    publish(&node, Action::Correct, "test:had").await;
    parks(1).await;
    let cursor = hooks.parked(&hook.id).await[0].cursor.clone();
    answers(&[200]);
    let before = all[1].cursor.clone().unwrap();
    hooks.replay(&hook.id, StartFrom::After(before)).await;
    let again = taken(&receiver, "hook", 4).await;
    assert_eq!(again[3].cursor.as_deref(), Some(&*cursor));
    parks(0).await;
    assert_eq!(state().await, RecallState::Acknowledged);
    receiver.assert_content();
}

/// A jump forward leaves no kill out, though the log has begun another life in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_jump_over_a_new_life_of_the_log_leaves_no_kill_out() {
    let mut node = Node::start_with(&CALLS);
    let hooks = Hooks::open(&node);
    let endpoint = Endpoint::start().await;
    let id = add(&hooks, &endpoint.url).await;
    let took = async |hooks: &Hooks, count: u64| {
        eventually("it was taken", async || {
            health(hooks, &id).await.taken == count
        })
        .await;
    };
    publish(&node, Action::Publish, "test:had").await;
    took(&hooks, 1).await;
    hooks.pause(&id).await;
    assert_eq!(node.stop().await, Some(0));
    let data = node.data().to_str().unwrap();
    let said = run(&["log", "new-epoch", "--data-dir", data], b"");
    assert_eq!(said.code, Some(0), "{said:?}");
    node.start_again().await;
    let hooks = Hooks::open(&node);
    publish(&node, Action::Publish, "test:between").await;
    publish(&node, Action::Kill, "test:had").await;
    hooks.replay(&id, StartFrom::Now(())).await;
    hooks.resume(&id).await;
    took(&hooks, 2).await;
    let found = states(&node, "test:had").await;
    assert_eq!(found[&id], RecallState::Acknowledged);
    publish(&node, Action::Publish, "test:after").await;
    took(&hooks, 3).await;
    assert_eq!(endpoint.count.load(Ordering::SeqCst), 3);
}

/// Who was sent nothing of a story never had it, whatever it is set to; and what is left out of its
/// backlog is not sent because of that.
#[tokio::test(flavor = "multi_thread")]
async fn who_had_nothing_gets_nothing_by_a_jump() {
    let node = Node::start_with(&CALLS);
    let hooks = Hooks::open(&node);
    let endpoint = Endpoint::start().await;
    let id = add(&hooks, &endpoint.url).await;
    let wish = named("bot", filter(&["ict"]));
    let mut bot = Bot::open(&node, wish.clone()).await.unwrap();
    bot.reader.caught_up().await;
    publish(&node, Action::Publish, "test:first").await;
    let first = bot.reader.delivery().await;
    bot.acknowledge(&node, &first.cursor).await.unwrap();
    drop(bot);
    left(&node, "bot").await;
    eventually("the webhook has it", async || {
        health(&hooks, &id).await.taken == 1
    })
    .await;
    hooks.pause(&id).await;

    // The one is of the topic with its correction only, the others are left out whole.
    let elsewhere = |uri: &str| {
        let mut article = noted(uri, "a reason");
        article.topics = vec!["economy".to_owned()];
        article
    };
    node.publish(Action::Publish, elsewhere("test:moved"))
        .await
        .unwrap();
    publish(&node, Action::Correct, "test:moved").await;
    publish(&node, Action::Publish, "test:corrected").await;
    publish(&node, Action::Correct, "test:corrected").await;
    publish(&node, Action::Publish, "test:killed").await;
    publish(&node, Action::Kill, "test:killed").await;
    let nobody_had_them = async || {
        for uri in ["test:moved", "test:corrected", "test:killed"] {
            let found = states(&node, uri).await;
            for name in ["bot", &id] {
                assert_eq!(found[name], RecallState::NeverHad, "{name} {uri}");
            }
        }
    };
    nobody_had_them().await;
    // For so long a stream that nobody knows of may still send.
    sleep(Duration::from_secs(4)).await;
    reset_to_now(&node, "bot").await;
    hooks.replay(&id, StartFrom::Now(())).await;
    nobody_had_them().await;
    hooks.resume(&id).await;
    let mut bot = Bot::open(&node, wish).await.unwrap();
    bot.reader.caught_up().await;
    publish(&node, Action::Publish, "test:last").await;
    let last = bot.reader.delivery().await;
    assert_eq!(article_of(&last).uri, "test:last");
    bot.acknowledge(&node, &last.cursor).await.unwrap();
    eventually("the webhook has it", async || {
        health(&hooks, &id).await.taken == 2
    })
    .await;
    nobody_had_them().await;
    assert_eq!(endpoint.count.load(Ordering::SeqCst), 2);
}

/// A partner whose grant goes elsewhere: the desk, what it hands in, and the partner's own calls.
pub struct Narrowed {
    pub node: Node,
    pub desk: Caller,
    key: String,
}

impl Narrowed {
    pub async fn start() -> Self {
        let node = Node::start_with_keys(&CALLS);
        let desk = Caller::desk(&node);
        desk.partner(gazette()).await;
        let (_, key) = desk.key("gazette", Role::Subscriber, None).await;
        let new = Self { node, desk, key };
        eventually("the node knows the key", async || {
            new.bot().subscribe(everything()).await.is_ok()
        })
        .await;
        new
    }

    pub async fn start_again(&mut self, id: &str) {
        self.node.start_again().await;
        self.desk = Caller::desk(&self.node);
        eventually("the node has read the log", async || {
            self.hooks().get(id).await.is_ok()
        })
        .await;
    }

    pub fn bot(&self) -> Caller {
        Caller::new(&self.node, &self.key)
    }

    pub fn hooks(&self) -> Hooks {
        Hooks::keyed(&self.node, &self.node.key("desk"))
    }

    pub async fn add(&self, url: &str) -> String {
        self.add_wanting(url, filter(&["ict", "economy"])).await
    }

    pub async fn add_wanting(&self, url: &str, wanted: Filter) -> String {
        let webhook = Webhook {
            partner: "gazette".to_owned(),
            url: url.to_owned(),
            ..wanting(wanted)
        };
        let made = self.hooks().create(webhook).await.unwrap();
        made.webhook.unwrap().id
    }

    pub async fn publish(&self, action: Action, uri: &str) {
        let mut message = story(uri, &["ict"]);
        message.action = action.into();
        message.article.as_mut().unwrap().edition_note = "a reason".to_owned();
        self.desk.publish(message).await.unwrap();
    }

    pub async fn narrow(&self) {
        self.grant(&["economy"]).await;
    }

    pub async fn grant(&self, topics: &[&str]) {
        let granted: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let change = |partner: &mut Partner| {
            partner.subscribe.as_mut().unwrap().topics = granted.clone();
        };
        self.desk.update("gazette", change).await;
        let is_good = topics.contains(&"ict");
        eventually("the grant is followed", async || {
            let asked = SubscribeRequest {
                filter: Some(filter(&["ict"])),
                ..everything()
            };
            self.bot().subscribe(asked).await.is_ok() == is_good
        })
        .await;
    }

    /// News of economy, which the webhook has passed once this returns.
    pub async fn pass(&self, id: &str) {
        let before = health(&self.hooks(), id).await.taken;
        let uri = format!("test:passed-{before}");
        self.desk.publish(story(&uri, &["economy"])).await.unwrap();
        eventually("the webhook has passed", async || {
            health(&self.hooks(), id).await.taken > before
        })
        .await;
    }

    pub async fn parks(&self, id: &str, count: usize) {
        eventually("so much is parked", async || {
            self.hooks().parked(id).await.len() == count
        })
        .await;
    }

    pub async fn state(&self, uri: &str, name: &str) -> RecallState {
        states_for(&self.node, Some(&self.desk), uri).await[name]
    }
}

/// Whoever surely was sent a story gets its correction beyond the grant: whatever else is parked, and
/// though it was set to a later place with its stream open.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_surely_sent_is_corrected() {
    let at = Narrowed::start().await;
    let hooks = at.hooks();
    let endpoint = Endpoint::start().await;
    let id = at.add(&endpoint.url).await;
    let wish = named("bot", filter(&[]));
    let mut bot = Bot::open_as(&at.node, wish.clone(), Some(&at.bot()))
        .await
        .unwrap();
    bot.reader.caught_up().await;
    endpoint.answers(422);
    at.publish(Action::Publish, "test:refused").await;
    bot.reader.delivery().await;
    eventually("it is parked", async || hooks.parked(&id).await.len() == 1).await;
    endpoint.answers(200);
    at.publish(Action::Publish, "test:had").await;
    bot.reader.delivery().await;
    eventually("it is taken", async || health(&hooks, &id).await.taken == 1).await;
    let reset = at.desk.request(ResetSubscriptionRequest {
        partner: "gazette".to_owned(),
        name: "bot".to_owned(),
        to: Some(To::Now(())),
    });
    let mut recipients = RecipientServiceClient::new(at.node.channel());
    recipients.reset_subscription(reset).await.unwrap();
    at.narrow().await;
    at.publish(Action::Correct, "test:refused").await;
    at.publish(Action::Correct, "test:had").await;
    let mut bot = Bot::open_as(&at.node, wish, Some(&at.bot())).await.unwrap();
    // It was sent both.
    for uri in ["test:refused", "test:had"] {
        let correction = bot.reader.delivery().await;
        assert_eq!(article_of(&correction).uri, uri);
        assert_eq!(action(&correction), Action::Correct);
        bot.acknowledge_as(&at.node, &correction.cursor, Some(&at.bot()))
            .await
            .unwrap();
    }
    assert_eq!(at.state("test:had", "bot").await, RecallState::Acknowledged);
    eventually("the webhook has it", async || {
        at.state("test:had", &id).await == RecallState::Acknowledged
    })
    .await;
    assert_eq!(health(&hooks, &id).await.taken, 2);
    // What it refused it may have: its correction is text that goes no further than the grant.
    assert_eq!(
        at.state("test:refused", &id).await,
        RecallState::Outstanding
    );
}

/// Whoever may have a story is not sent its correction beyond the grant, and nobody says that it never
/// had the story, or has the correction.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_sent_stays_open() {
    let mut at = Narrowed::start().await;
    let endpoint = Endpoint::start().await;
    endpoint.answers(HOLDS);
    let id = at.add(&endpoint.url).await;
    at.publish(Action::Publish, "test:perhaps").await;
    eventually("it is there", async || {
        endpoint.count.load(Ordering::SeqCst) == 1
    })
    .await;
    at.node.kill();
    endpoint.answers(500);
    at.start_again(&id).await;
    at.narrow().await;
    at.publish(Action::Correct, "test:perhaps").await;
    let open = RecallState::Outstanding;
    eventually("it is known to be open", async || {
        at.state("test:perhaps", &id).await == open
    })
    .await;
    endpoint.answers(200);
    at.hooks().replay(&id, StartFrom::Now(())).await;
    let mut other = story("test:other", &["economy"]);
    other.action = Action::Publish.into();
    at.desk.publish(other).await.unwrap();
    at.publish(Action::Kill, "test:perhaps").await;
    eventually("the kill has come", async || {
        at.state("test:perhaps", &id).await == RecallState::Acknowledged
    })
    .await;
}

/// A story that was parked comes with the correction that was passed over meanwhile, since it was not
/// granted; and what was dropped from the list was sent to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_comes_with_what_it_missed() {
    let at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    let hooks = at.hooks();
    let endpoint = Endpoint::start().await;
    let id = at.add(&endpoint.url).await;
    endpoint.answers(422);
    at.publish(Action::Publish, "test:parked").await;
    at.publish(Action::Publish, "test:dropped").await;
    at.parks(&id, 2).await;
    let dropped = hooks.parked(&id).await[1].cursor.clone();
    hooks.drop_parked(&id, &dropped).await.unwrap();
    endpoint.answers(200);
    at.narrow().await;
    for uri in ["test:parked", "test:dropped"] {
        at.publish(Action::Correct, uri).await;
    }
    at.pass(&id).await;
    let states = async || {
        let parked = at.state("test:parked", &id).await;
        (parked, at.state("test:dropped", &id).await)
    };
    let [open, done] = [RecallState::Outstanding, RecallState::Acknowledged];
    assert_eq!(states().await, (open, open));
    at.grant(&["ict", "economy"]).await;
    at.pass(&id).await;
    assert_eq!(states().await, (open, open));
    let before = health(&hooks, &id).await.taken;
    assert_eq!(hooks.retry(&id).await, 1);
    at.parks(&id, 0).await;
    assert_eq!(health(&hooks, &id).await.taken, before + 2);
    assert_eq!(states().await, (done, open));
}

/// A correction that followed whoever may have had the story was surely sent: the next one follows
/// that beyond the grant. And nothing older comes after what was taken.
#[tokio::test(flavor = "multi_thread")]
async fn what_followed_is_remembered() {
    let mut at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    let endpoint = Endpoint::start().await;
    let id = at.add(&endpoint.url).await;
    endpoint.answers(422);
    at.publish(Action::Publish, "test:old").await;
    at.parks(&id, 1).await;
    endpoint.answers(HOLDS);
    let count = endpoint.count.load(Ordering::SeqCst);
    at.publish(Action::Publish, "test:perhaps").await;
    eventually("it is there", async || {
        endpoint.count.load(Ordering::SeqCst) > count
    })
    .await;
    at.node.kill();
    endpoint.answers(200);
    at.start_again(&id).await;
    let hooks = at.hooks();
    let elsewhere = Webhook {
        id: id.clone(),
        partner: "gazette".to_owned(),
        url: endpoint.url.clone(),
        ..wanting(filter(&["economy"]))
    };
    hooks.update(elsewhere).await;
    for _ in 0..2 {
        for uri in ["test:perhaps", "test:old"] {
            at.publish(Action::Correct, uri).await;
        }
        at.pass(&id).await;
        for uri in ["test:perhaps", "test:old"] {
            assert_eq!(at.state(uri, &id).await, RecallState::Acknowledged, "{uri}");
        }
        at.narrow().await;
    }
    let before = endpoint.count.load(Ordering::SeqCst);
    assert_eq!(hooks.retry(&id).await, 1);
    at.parks(&id, 0).await;
    at.pass(&id).await;
    assert_eq!(endpoint.count.load(Ordering::SeqCst), before + 1);
}

/// A correction that was handed over, and not acknowledged, comes again under another filter, though
/// nothing else of its story was sent; until then nobody says that it was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_comes_again() {
    let node = Node::start();
    let open = async |topic: &str| {
        Bot::open(&node, named("bot", filter(&[topic])))
            .await
            .unwrap()
    };
    let mut elsewhere = open("economy").await;
    elsewhere.reader.caught_up().await;
    publish(&node, Action::Publish, "test:story").await;
    drop(elsewhere);
    left(&node, "bot").await;
    let mut bot = open("economy").await;
    let passed = bot.reader.caught_up().await;
    bot.acknowledge(&node, &passed).await.unwrap();
    drop(bot);
    left(&node, "bot").await;

    let mut bot = open("ict").await;
    bot.reader.caught_up().await;
    publish(&node, Action::Correct, "test:story").await;
    let handed = bot.reader.delivery().await;
    drop(bot);
    left(&node, "bot").await;
    let mut bot = open("economy").await;
    let again = bot.reader.delivery().await;
    assert_eq!(
        (&again.cursor, action(&again)),
        (&handed.cursor, Action::Correct)
    );
    assert_eq!(states(&node, "test:story").await["bot"], RecallState::Sent);
    bot.acknowledge(&node, &again.cursor).await.unwrap();
    eventually("it is acknowledged", async || {
        states(&node, "test:story").await["bot"] == RecallState::Acknowledged
    })
    .await;
}

/// What a stream still sends after another has taken over its subscription is known, though that one
/// ended before it came so far.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_of_a_former_stream_are_known() {
    const BOTS: usize = 8;
    const PUBLISHERS: usize = 8;
    // More of them than a stream takes that nobody reads.
    const BEHIND: usize = 40;
    let node = Node::start();
    let name = |number: usize| format!("bot-{number}");
    let wish = |number| named(&name(number), filter(&["ict"]));
    let mut bots = Vec::new();
    for number in 0..BOTS {
        let mut bot = Bot::open(&node, wish(number)).await.unwrap();
        bot.reader.caught_up().await;
        bots.push(bot);
    }
    let is_over = AtomicBool::new(false);
    let publishing = stream::iter(0..PUBLISHERS).for_each_concurrent(None, async |publisher| {
        let mut number = 0;
        while !is_over.load(Ordering::SeqCst) {
            number += 1;
            let mut long = article(&format!("test:{publisher}-{number}"), "long");
            (long.body, long.topics) = ("x".repeat(10_000), vec!["ict".to_owned()]);
            node.publish(Action::Publish, long).await.unwrap();
        }
    });
    let taking_over = async {
        let last = bots.into_iter().enumerate().map(async |(number, mut bot)| {
            let mut last = bot.reader.delivery().await;
            for _ in 0..BEHIND {
                last = bot.reader.delivery().await;
            }
            drop(Bot::open(&node, wish(number)).await.unwrap());
            while let Ok(frame) = bot.reader.next().await {
                if let Frame::Delivery(delivery) = frame {
                    last = delivery;
                }
            }
            (name(number), article_of(&last).uri)
        });
        let last: Vec<(String, String)> = stream::iter(last).buffered(BOTS).collect().await;
        is_over.store(true, Ordering::SeqCst);
        last
    };
    let ((), last) = tokio::join!(publishing, taking_over);
    for (name, uri) in last {
        publish(&node, Action::Kill, &uri).await;
        eventually("it is known who had it", async || {
            states(&node, &uri).await[&name] == RecallState::Outstanding
        })
        .await;
    }
}
