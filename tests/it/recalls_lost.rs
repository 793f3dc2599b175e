//! Recipients whose log has lost its newest part: sequences name other revisions then.

use std::sync::atomic::Ordering;

use barid::wire::proto::v1::{
    Action, Delivery, RecallState, SubscribeRequest, subscribe_response::Frame,
};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::{
    access::story,
    durable::{Bot, named},
    harness::{LIMIT, Node, action, after, article_of, eventually, filter, refusal, seq},
    nats::{Nats, find_folder, put_back},
    recalls::{Endpoint, add, health, publish, states},
    recalls_past::{left, reset_to_now},
    webhooks::{CALLS, Hooks},
};

async fn open(node: &Node, name: &str, topic: &str) -> Bot {
    Bot::open(node, named(name, filter(&[topic])))
        .await
        .unwrap()
}

fn shown(delivery: &Delivery) -> (String, Action) {
    (article_of(delivery).uri, action(delivery))
}

/// Waits until retention has taken what lies between two cursors.
async fn gone(node: &Node, from: &str, to: &str) {
    eventually("it is gone", async || {
        let mut reader = node.subscribe(after(from)).await.unwrap();
        match reader.next().await.unwrap() {
            Frame::Gap(gap) => seq(&gap.to) >= seq(to),
            _ => false,
        }
    })
    .await;
}

/// What is delivered next, after a gap or where history ends.
async fn next_delivery(bot: &mut Bot) -> Delivery {
    loop {
        if let Frame::Delivery(delivery) = bot.reader.next().await.unwrap() {
            return delivery;
        }
    }
}

/// A stream that stays open misses no news because it was set to a place that is lost, and is sent no
/// correction of what it never had because of what it had there.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_forgets_what_is_lost() {
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    publish(&node, Action::Publish, "test:kept").await;
    let mut bots = [
        open(&node, "had", "ict").await,
        open(&node, "set", "ict").await,
    ];
    for bot in &mut bots {
        let kept = bot.reader.delivery().await;
        bot.reader.caught_up().await;
        bot.acknowledge(&node, &kept.cursor).await.unwrap();
    }
    let part = find_folder(&nats.store(), "BARID");
    let copy = nats.copy(&part);
    let [mut had, set] = bots;
    for uri in ["test:lost-1", "test:lost-2", "test:lost-3"] {
        publish(&node, Action::Publish, uri).await;
        let lost = had.reader.delivery().await;
        had.acknowledge(&node, &lost.cursor).await.unwrap();
    }
    drop((had, set));
    left(&node, "set").await;
    reset_to_now(&node, "set").await;
    let (mut had, mut set) = (
        open(&node, "had", "economy").await,
        open(&node, "set", "ict").await,
    );
    for bot in [&mut had, &mut set] {
        bot.reader.caught_up().await;
    }

    nats.kill();
    put_back(copy.path(), &part);
    nats.start_again();
    for bot in [&mut had, &mut set] {
        match bot.reader.next().await.unwrap() {
            Frame::Gap(_) => {}
            other => panic!("not a gap: {other:?}"),
        }
    }
    let news = ["test:new-1", "test:new-2", "test:new-3"];
    for uri in news {
        publish(&node, Action::Publish, uri).await;
    }
    publish(&node, Action::Correct, news[0]).await;
    for uri in news {
        let next = set.reader.delivery().await;
        assert_eq!(shown(&next), (uri.to_owned(), Action::Publish));
    }
    let next = set.reader.delivery().await;
    assert_eq!(shown(&next), (news[0].to_owned(), Action::Correct));
    node.publisher()
        .publish(story("test:last", &["economy"]))
        .await
        .unwrap();
    let next = had.reader.delivery().await;
    assert_eq!(shown(&next), ("test:last".to_owned(), Action::Publish));
}

/// A kill that retention took before its recipient came to it was not sent, and stays outstanding.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_that_is_gone_stays_outstanding() {
    let node = Node::start_with(&["--retain", "1s"]);
    let mut bot = open(&node, "bot", "ict").await;
    bot.reader.caught_up().await;
    publish(&node, Action::Publish, "test:had").await;
    let had = bot.reader.delivery().await;
    bot.acknowledge(&node, &had.cursor).await.unwrap();
    drop(bot);
    left(&node, "bot").await;
    let kill = publish(&node, Action::Kill, "test:had").await;
    gone(&node, &had.cursor, &kill).await;
    let mut bot = open(&node, "bot", "ict").await;
    publish(&node, Action::Publish, "test:after").await;
    let last = next_delivery(&mut bot).await;
    assert_eq!(shown(&last), ("test:after".to_owned(), Action::Publish));
    bot.acknowledge(&node, &last.cursor).await.unwrap();
    let found = states(&node, "test:had").await;
    assert_eq!(found["bot"], RecallState::Outstanding);
}

/// What retention took while a webhook was away, and what lies before the beginning of a subscription,
/// was sent to nobody: its kill is not acknowledged by what comes after.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_in_mid_stream_was_not_sent() {
    let node = Node::start_with(&["--retain", "1s", CALLS[0], CALLS[1]]);
    let hooks = Hooks::open(&node);
    let endpoint = Endpoint::start().await;
    let id = add(&hooks, &endpoint.url).await;
    let first = publish(&node, Action::Publish, "test:had").await;
    eventually("the webhook has it", async || {
        health(&hooks, &id).await.taken == 1
    })
    .await;
    endpoint.answers(503);
    publish(&node, Action::Publish, "test:away").await;
    eventually("the webhook is away", async || {
        endpoint.count.load(Ordering::SeqCst) >= 2
    })
    .await;
    let kill = publish(&node, Action::Kill, "test:had").await;
    gone(&node, &first, &kill).await;

    endpoint.answers(200);
    let begin = SubscribeRequest {
        subscription: "new".to_owned(),
        filter: Some(filter(&["ict"])),
        ..after(&first)
    };
    let mut new = Bot::open(&node, begin).await.unwrap();
    match new.reader.next().await.unwrap() {
        Frame::Gap(gap) => assert!(seq(&gap.to) >= seq(&kill)),
        other => panic!("not a gap: {other:?}"),
    }
    publish(&node, Action::Publish, "test:after").await;
    let last = next_delivery(&mut new).await;
    assert_eq!(shown(&last), ("test:after".to_owned(), Action::Publish));
    new.acknowledge(&node, &last.cursor).await.unwrap();
    eventually("the webhook is past it", async || {
        let cursor = health(&hooks, &id).await.cursor;
        seq(&cursor) >= seq(&last.cursor)
    })
    .await;
    let found = states(&node, "test:had").await;
    assert_eq!(found["new"], RecallState::NeverHad);
    assert_eq!(found[&id], RecallState::Outstanding);
}

/// A bucket that was set back, under a node that knew more of it, is read anew: whoever opens is not told
/// that somebody else has its subscription.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_were_set_back_open_again() {
    const OPENED: usize = 40;
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let mut bot = open(&node, "bot", "ict").await;
    bot.reader.caught_up().await;
    publish(&node, Action::Publish, "test:kept").await;
    let kept = bot.reader.delivery().await;
    bot.acknowledge(&node, &kept.cursor).await.unwrap();
    let store = nats.store();
    let copy = nats.copy(&store);
    for _ in 0..OPENED {
        bot = open(&node, "bot", "ict").await;
    }
    nats.kill();
    put_back(copy.path(), &store);
    nats.start_again();
    let mut refused = 0;
    eventually("it opens", async || {
        match Bot::open(&node, named("bot", filter(&["ict"]))).await {
            Ok(opened) => {
                bot = opened;
                true
            }
            Err(status) => {
                let is_taken = refusal(&status).1 == "SUBSCRIPTION_TAKEN_OVER";
                refused += usize::from(is_taken);
                false
            }
        }
    })
    .await;
    assert!(refused < OPENED / 4, "refused {refused} times");
    publish(&node, Action::Publish, "test:new").await;
    let new = next_delivery(&mut bot).await;
    assert_eq!(shown(&new), ("test:new".to_owned(), Action::Publish));
    bot.acknowledge(&node, &new.cursor).await.unwrap();
}

/// It is so, too, if it has grown beyond what the node knew before the node looks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_stream_ends_where_subscriptions_were_set_back_and_grew() {
    const OPENED: usize = 10;
    let mut nats = Nats::start().await;
    let [one, other] = [(); 2].map(|()| Node::start_with(&["--nats-url", &nats.url()]));
    publish(&one, Action::Publish, "test:kept").await;
    let mut former = open(&one, "bot", "ict").await;
    let part = find_folder(&nats.store(), "KV_barid-subscriptions");
    let copy = nats.copy(&part);
    for _ in 0..OPENED {
        former = open(&one, "bot", "ict").await;
    }
    next_delivery(&mut former).await;
    former.reader.caught_up().await;

    one.signal(Signal::STOP);
    nats.kill();
    put_back(copy.path(), &part);
    nats.start_again();
    eventually("it opens elsewhere", async || {
        let request = named("bot", filter(&["economy"]));
        Bot::open(&other, request).await.is_ok()
    })
    .await;
    for number in 0..2 * OPENED {
        open(&other, &format!("bot-{number}"), "economy").await;
    }
    publish(&other, Action::Publish, "test:new").await;
    one.signal(Signal::CONT);
    let status = timeout(LIMIT, former.reader.next()).await;
    let status = status.unwrap().expect_err("it is another's by now");
    assert_eq!(refusal(&status).1, "SUBSCRIPTION_TAKEN_OVER");
}
