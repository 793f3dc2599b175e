//! What holds a partner's webhooks back, and that recalls are not lost over it: a suspension, and the
//! bytes of a day.

use barid::wire::proto::v1::{
    Action, GetRecallRequest, Limits, Partner, RecallState, Role, Webhook,
    recipient_service_client::RecipientServiceClient,
};

use crate::{
    access::{Caller, gazette, story},
    durable::{Bot, named},
    harness::{Node, action, eventually, filter},
    web,
    webhooks::{CALLS, Hooks, receiver::Receiver, taken, types, wanting},
};

async fn publish(desk: &Caller, action: Action, uri: &str, body: &str) -> String {
    let mut message = story(uri, &["ict"]);
    message.action = action.into();
    let article = message.article.as_mut().unwrap();
    article.edition_note = "a reason".to_owned();
    article.body = body.to_owned();
    desk.publish(message).await.unwrap()
}

/// A partner's webhook at the receiver.
async fn hook(node: &Node, desk: &Caller, receiver: &Receiver) {
    eventually("the partner is known", async || {
        desk.partners().await.len() == 2
    })
    .await;
    let webhook = Webhook {
        partner: "gazette".to_owned(),
        ..wanting(filter(&["ict"]))
    };
    let hooks = Hooks::keyed(node, &node.key("desk"));
    hooks.add(receiver, "hook", webhook).await;
}

/// What is taken back while a partner is suspended is open for its subscription and its webhook, and
/// reaches both once it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_partners_recalls_wait() {
    let node = Node::start_with_keys(&[&CALLS[..], &["--local-reads-without-key"]].concat());
    let receiver = Receiver::start();
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    hook(&node, &desk, &receiver).await;
    let caller = desk.new_caller("gazette", Role::Subscriber).await;
    let open = async || Bot::open_as(&node, named("bot", filter(&[])), Some(&caller)).await;
    let mut bot = open().await.unwrap();
    bot.reader.caught_up().await;
    let id = publish(&desk, Action::Publish, "test:had", "text").await;
    let had = bot.reader.delivery().await.cursor;
    bot.acknowledge_as(&node, &had, Some(&caller))
        .await
        .unwrap();
    taken(&receiver, "hook", 1).await;

    let suspend = async |is_suspended: bool| {
        let change = |partner: &mut Partner| partner.suspended = is_suspended;
        desk.update("gazette", change).await;
        eventually("the node knows", async || {
            open().await.is_err() == is_suspended
        })
        .await;
    };
    let states = async || {
        let (mut states, mut page_token) = (Vec::new(), String::new());
        loop {
            let message = desk.request(GetRecallRequest {
                article_id: id.clone(),
                page_token,
                ..GetRecallRequest::default()
            });
            let mut recipients = RecipientServiceClient::new(node.channel());
            let page = recipients.get_recall(message).await.unwrap().into_inner();
            states.extend(page.recipients.iter().map(|one| one.state()));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return states;
            }
        }
    };
    let open_count = async || web::metric_of(&node, "barid_recalls_open", "").await;
    suspend(true).await;
    drop(bot);
    publish(&desk, Action::Kill, "test:had", "").await;
    assert_eq!(states().await, [RecallState::Outstanding; 2]);
    eventually("the recall is open", async || open_count().await == 1.0).await;
    assert_eq!(types(&receiver.taken("hook")), ["article.publish"]);

    suspend(false).await;
    let all = taken(&receiver, "hook", 2).await;
    assert_eq!(types(&all), ["article.publish", "article.kill"]);
    let mut bot = open().await.unwrap();
    let kill = bot.reader.delivery().await;
    assert_eq!(action(&kill), Action::Kill);
    bot.acknowledge_as(&node, &kill.cursor, Some(&caller))
        .await
        .unwrap();
    eventually("both have it", async || {
        states().await == [RecallState::Acknowledged; 2]
    })
    .await;
    eventually("no recall is open", async || open_count().await == 0.0).await;
}

/// A recall that a webhook alone has not taken is open, until it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhooks_recalls_are_counted() {
    let (node, receiver) = (Node::start_with(&CALLS), Receiver::start());
    let hooks = Hooks::open(&node);
    let hook = hooks
        .add(&receiver, "hook", wanting(filter(&["ict"])))
        .await;
    let publish = async |action: Action, uri: &str| {
        let mut article = crate::harness::noted(uri, "a reason");
        article.topics = vec!["ict".to_owned()];
        node.publish(action, article).await.unwrap();
    };
    publish(Action::Publish, "test:had").await;
    taken(&receiver, "hook", 1).await;
    let open_count = async || web::metric_of(&node, "barid_recalls_open", "").await;
    for uri in ["test:had", "test:later"] {
        if uri == "test:later" {
            publish(Action::Publish, uri).await;
            taken(&receiver, "hook", 3).await;
        }
        hooks.pause(&hook.id).await;
        publish(Action::Kill, uri).await;
        eventually("the recall is open", async || open_count().await == 1.0).await;
        hooks.resume(&hook.id).await;
        eventually("no recall is open", async || open_count().await == 0.0).await;
    }
    taken(&receiver, "hook", 4).await;
}

/// A partner's webhooks take as many bytes a day as one of its keys may; then they wait, in order, for
/// midnight or another bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_so_many_bytes() {
    let (node, receiver) = (Node::start_with_keys(&CALLS), Receiver::start());
    let desk = Caller::desk(&node);
    let limits = |bytes_per_day| {
        Some(Limits {
            bytes_per_day,
            ..Limits::default()
        })
    };
    desk.partner(Partner {
        limits: limits(3000),
        ..gazette()
    })
    .await;
    hook(&node, &desk, &receiver).await;
    let body = "x".repeat(1600);
    for number in 0..4 {
        publish(&desk, Action::Publish, &format!("test:{number}"), &body).await;
    }
    eventually("it waits", async || {
        node.log().contains("has taken its 3000 bytes of today")
    })
    .await;
    assert_eq!(receiver.taken("hook").len(), 2);
    desk.update("gazette", |partner| partner.limits = limits(0))
        .await;
    let all = taken(&receiver, "hook", 4).await;
    let uris: Vec<_> = all.iter().map(|one| one.uri.as_deref().unwrap()).collect();
    assert_eq!(uris, ["test:0", "test:1", "test:2", "test:3"]);
}
