//! What is parked, sent again: while its partner is suspended, over a crash, and judged by its words.

use std::sync::atomic::Ordering;

use barid::wire::proto::v1::{Action, Filter, Partner, RecallState, Webhook};

use crate::{
    harness::{eventually, everything, filter},
    recalls::{Endpoint, HOLDS, health},
    recalls_past::Narrowed,
    recalls_text::titled,
    webhooks::wanting,
};

/// While its partner is suspended nothing that is parked is sent, though somebody asks; once it is
/// not, it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_partner_is_sent_nothing_parked() {
    let at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    let endpoint = Endpoint::start().await;
    let id = at.add(&endpoint.url).await;
    at.publish(Action::Publish, "test:had").await;
    eventually("it is taken", async || {
        health(&at.hooks(), &id).await.taken == 1
    })
    .await;
    let elsewhere = Webhook {
        id: id.clone(),
        partner: "gazette".to_owned(),
        url: endpoint.url.clone(),
        ..wanting(filter(&["economy"]))
    };
    at.hooks().update(elsewhere).await;
    at.pass(&id).await;
    let witness = Endpoint::start().await;
    let own = Webhook {
        url: witness.url.clone(),
        ..wanting(filter(&["economy"]))
    };
    let own = at.hooks().create(own).await.unwrap().webhook.unwrap().id;
    endpoint.answers(422);
    // It follows, whatever is granted.
    at.publish(Action::Correct, "test:had").await;
    at.parks(&id, 1).await;
    endpoint.answers(200);
    let suspend = async |is_suspended: bool| {
        let change = |partner: &mut Partner| partner.suspended = is_suspended;
        at.desk.update("gazette", change).await;
        eventually("the suspension is followed", async || {
            let is_refused = at.bot().subscribe(everything()).await;
            is_refused.is_err() == is_suspended
        })
        .await;
    };
    suspend(true).await;
    let count = endpoint.count.load(Ordering::SeqCst);
    let taken = health(&at.hooks(), &id).await.taken;
    assert_eq!(at.hooks().retry(&id).await, 1);
    // News after the wish, which somebody else has taken by the time that we look.
    let news = titled("test:news", "economy", "Trade");
    at.desk.publish(news).await.unwrap();
    eventually("it is taken elsewhere", async || {
        health(&at.hooks(), &own).await.taken == 1
    })
    .await;
    let state = async || at.state("test:had", &id).await;
    assert_eq!(state().await, RecallState::Outstanding);
    assert_eq!(endpoint.count.load(Ordering::SeqCst), count);
    suspend(false).await;
    eventually("both are taken", async || {
        health(&at.hooks(), &id).await.taken == taken + 2
    })
    .await;
    at.parks(&id, 0).await;
    assert_eq!(endpoint.count.load(Ordering::SeqCst), count + 2);
    assert_eq!(state().await, RecallState::Acknowledged);
}

/// A node that dies while what was parked is with its receiver leaves nothing of it behind: whoever
/// goes on sends it again, with the correction that comes with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_breaks_off_no_retry() {
    let mut at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    let endpoint = Endpoint::start().await;
    let id = at.add(&endpoint.url).await;
    endpoint.answers(422);
    at.publish(Action::Publish, "test:parked").await;
    at.parks(&id, 1).await;
    endpoint.answers(200);
    at.narrow().await;
    at.publish(Action::Correct, "test:parked").await;
    at.pass(&id).await;
    at.grant(&["ict", "economy"]).await;
    at.pass(&id).await;
    let taken = health(&at.hooks(), &id).await.taken;
    endpoint.answers(HOLDS);
    let count = endpoint.count.load(Ordering::SeqCst);
    assert_eq!(at.hooks().retry(&id).await, 1);
    eventually("it is with its receiver", async || {
        endpoint.count.load(Ordering::SeqCst) > count
    })
    .await;
    at.node.kill();
    endpoint.answers(200);
    at.start_again(&id).await;
    at.parks(&id, 0).await;
    assert_eq!(health(&at.hooks(), &id).await.taken, taken + 2);
    let state = at.state("test:parked", &id).await;
    assert_eq!(state, RecallState::Acknowledged);
}

/// A newer revision that words held back overtakes nothing that is parked; one that was taken does.
#[tokio::test(flavor = "multi_thread")]
async fn words_tell_what_is_overtaken() {
    let at = Narrowed::start().await;
    at.grant(&["ict", "economy"]).await;
    let endpoint = Endpoint::start().await;
    let wanted = Filter {
        words: vec!["talks".to_owned()],
        ..filter(&["ict"])
    };
    let id = at.add_wanting(&endpoint.url, wanted).await;
    let publish = async |action: Action, uri: &str, headline: &str| {
        let mut message = titled(uri, "ict", headline);
        message.action = action.into();
        message.article.as_mut().unwrap().edition_note = "a reason".to_owned();
        at.desk.publish(message).await.unwrap()
    };
    let took = async |count: u64| {
        eventually("so much is taken", async || {
            health(&at.hooks(), &id).await.taken == count
        })
        .await;
    };
    endpoint.answers(422);
    publish(Action::Publish, "test:held-back", "Talks begin").await;
    at.parks(&id, 1).await;
    endpoint.answers(200);
    publish(Action::Update, "test:held-back", "An end").await;
    publish(Action::Publish, "test:next", "More talks").await;
    took(1).await;
    let count = endpoint.count.load(Ordering::SeqCst);
    assert_eq!(at.hooks().retry(&id).await, 1);
    at.parks(&id, 0).await;
    assert_eq!(endpoint.count.load(Ordering::SeqCst), count + 1);

    publish(Action::Publish, "test:taken", "Talks fail").await;
    took(3).await;
    endpoint.answers(422);
    publish(Action::Correct, "test:taken", "They fail").await;
    at.parks(&id, 1).await;
    endpoint.answers(200);
    publish(Action::Update, "test:taken", "Talks go on").await;
    took(4).await;
    let count = endpoint.count.load(Ordering::SeqCst);
    assert_eq!(at.hooks().retry(&id).await, 1);
    at.parks(&id, 0).await;
    assert_eq!(endpoint.count.load(Ordering::SeqCst), count);
}
