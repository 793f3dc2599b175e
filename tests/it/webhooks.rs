//! Webhooks: in order, at least once, signed, to whom may have it, and never what was killed.

use barid::wire::proto::v1::{
    Action, CreateWebhookRequest, CreateWebhookResponse, DeleteWebhookRequest, DropParkedRequest,
    Filter, GetRecallRequest, GetWebhookRequest, ListParkedRequest, ListWebhooksRequest,
    ParkedRevision, PauseWebhookRequest, RecallState, RecipientKind, ReplayWebhookRequest,
    ResumeWebhookRequest, RetryParkedRequest, Role, RotateWebhookRequest, Start,
    TestWebhookRequest, UpdateWebhookRequest, Webhook, WebhookFormat, WebhookState,
    recipient_service_client::RecipientServiceClient, start::From as StartFrom,
    webhook_service_client::WebhookServiceClient,
};
use tempfile::TempDir;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    access::{Caller, gazette, story},
    certificates::Authority,
    harness::{Node, article, barid, eventually, fields, filter, noted, refusal},
    web,
    webhooks::receiver::{Receiver, Taken, once},
};

pub mod receiver;

/// Lets a node call receivers of the test.
pub const CALLS: [&str; 2] = [
    "--danger-call-without-tls",
    "--danger-call-internal-addresses",
];

/// The service of a node, for whoever has this key; none = no key.
pub struct Hooks {
    client: WebhookServiceClient<Channel>,
    key: Option<String>,
}

impl Hooks {
    pub fn open(node: &Node) -> Self {
        Self {
            client: WebhookServiceClient::new(node.channel()),
            key: None,
        }
    }

    pub fn keyed(node: &Node, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..Self::open(node)
        }
    }

    fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(key) = &self.key {
            let value = format!("Bearer {key}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    pub async fn create(&self, webhook: Webhook) -> Result<CreateWebhookResponse, Status> {
        let message = CreateWebhookRequest {
            webhook: Some(webhook),
            ..CreateWebhookRequest::default()
        };
        let made = self.client.clone().create_webhook(self.ask(message)).await;
        made.map(tonic::Response::into_inner)
    }

    /// A webhook of that name at the receiver, which takes all that it can verify.
    pub async fn add(&self, receiver: &Receiver, name: &str, webhook: Webhook) -> Webhook {
        let webhook = Webhook {
            url: receiver.url(name),
            ..webhook
        };
        let made = self.create(webhook).await.unwrap();
        let webhook = made.webhook.unwrap();
        receiver.expect(name, &webhook, &[&made.secret], &[200]);
        receiver.keep_secret(name, &made.secret);
        webhook
    }

    pub async fn get(&self, id: &str) -> Result<Webhook, Status> {
        let message = GetWebhookRequest { id: id.to_owned() };
        let got = self.client.clone().get_webhook(self.ask(message)).await;
        Ok(got?.into_inner().webhook.unwrap())
    }

    pub async fn delete(&self, message: DeleteWebhookRequest) {
        let deleted = self.client.clone().delete_webhook(self.ask(message)).await;
        deleted.unwrap();
    }

    pub async fn update(&self, webhook: Webhook) {
        let message = UpdateWebhookRequest {
            webhook: Some(webhook),
        };
        self.client
            .clone()
            .update_webhook(self.ask(message))
            .await
            .unwrap();
    }

    pub async fn pause(&self, id: &str) {
        let message = PauseWebhookRequest { id: id.to_owned() };
        self.client
            .clone()
            .pause_webhook(self.ask(message))
            .await
            .unwrap();
    }

    pub async fn replay(&self, id: &str, from: StartFrom) {
        let message = ReplayWebhookRequest {
            id: id.to_owned(),
            start: Some(Start { from: Some(from) }),
        };
        self.client
            .clone()
            .replay_webhook(self.ask(message))
            .await
            .unwrap();
    }

    pub async fn resume(&self, id: &str) {
        let message = ResumeWebhookRequest { id: id.to_owned() };
        self.client
            .clone()
            .resume_webhook(self.ask(message))
            .await
            .unwrap();
    }

    pub async fn parked(&self, id: &str) -> Vec<ParkedRevision> {
        let mut parked = None;
        // A node that is behind for a moment says so.
        eventually("what is parked is listed", async || {
            let message = ListParkedRequest { id: id.to_owned() };
            let listed = self.client.clone().list_parked(self.ask(message)).await;
            parked = listed.ok().map(|listed| listed.into_inner().parked);
            parked.is_some()
        })
        .await;
        parked.unwrap()
    }

    pub async fn retry(&self, id: &str) -> u32 {
        let message = RetryParkedRequest {
            id: id.to_owned(),
            cursors: vec![],
        };
        let asked = self.client.clone().retry_parked(self.ask(message)).await;
        asked.unwrap().into_inner().count
    }

    pub async fn drop_parked(&self, id: &str, cursor: &str) -> Result<(), Status> {
        let message = DropParkedRequest {
            id: id.to_owned(),
            cursor: cursor.to_owned(),
        };
        self.client
            .clone()
            .drop_parked(self.ask(message))
            .await
            .map(drop)
    }
}

pub fn wanting(filter: Filter) -> Webhook {
    Webhook {
        filter: Some(filter),
        ..Webhook::default()
    }
}

/// Waits until a webhook has taken so many requests in all.
pub async fn taken(receiver: &Receiver, name: &str, count: usize) -> Vec<Taken> {
    eventually(&format!("{count} requests of {name}"), async || {
        receiver.taken(name).len() >= count
    })
    .await;
    receiver.taken(name)
}

pub fn types(taken: &[Taken]) -> Vec<&str> {
    taken.iter().map(|one| one.r#type.as_str()).collect()
}

/// Both formats carry each action, in order, verified by libraries of others; a rotation has two
/// valid secrets; a test is answered; a replay has the same ids.
#[tokio::test(flavor = "multi_thread")]
async fn the_wire_in_both_formats() {
    let (node, receiver) = (Node::start_with(&CALLS), Receiver::start());
    let hooks = Hooks::open(&node);
    let plain = hooks
        .add(&receiver, "plain", wanting(filter(&["ict"])))
        .await;
    let cloud = Webhook {
        format: WebhookFormat::Cloudevents.into(),
        ..wanting(Filter::default())
    };
    let cloud = hooks.add(&receiver, "cloud", cloud).await;
    let story = |text: &str| barid::wire::proto::v1::Article {
        topics: vec!["ict".to_owned()],
        body: text.to_owned(),
        edition_note: "a reason".to_owned(),
        ..article("test:one", "a headline")
    };
    let mut cursors = Vec::new();
    for (action, text) in [
        (Action::Publish, "first"),
        (Action::Update, "second"),
        (Action::Correct, "third"),
    ] {
        cursors.push(node.publish(action, story(text)).await.unwrap().cursor);
    }
    let other = article("test:other", "of no topic that is asked for");
    node.publish(Action::Publish, other).await.unwrap();
    let plain_taken = taken(&receiver, "plain", 3).await;
    cursors.push(
        node.publish(Action::Kill, noted("test:one", "false"))
            .await
            .unwrap()
            .cursor,
    );
    taken(&receiver, "plain", 4).await;
    let all = taken(&receiver, "cloud", 5).await;
    receiver.assert_content();
    assert_eq!(
        types(&receiver.taken("plain")),
        [
            "article.publish",
            "article.update",
            "article.correct",
            "article.kill"
        ]
    );
    let got: Vec<_> = receiver
        .taken("plain")
        .iter()
        .map(|one| one.cursor.clone().unwrap())
        .collect();
    assert_eq!(got, cursors);
    assert_eq!(plain_taken[1].text, ["second"]);
    assert_eq!(plain_taken[1].version.as_deref(), Some("2"));
    assert_eq!(
        types(&all),
        [
            "barid.v1.publish",
            "barid.v1.update",
            "barid.v1.correct",
            "barid.v1.publish",
            "barid.v1.kill"
        ]
    );

    let rotated = hooks
        .client
        .clone()
        .rotate_webhook(RotateWebhookRequest {
            id: plain.id.clone(),
            ..RotateWebhookRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(rotated.webhook.as_ref().unwrap().public_keys.len(), 2);
    let (old, new) = (receiver.secret("plain"), rotated.secret.as_str());
    assert_ne!(old, new);
    for secret in [old.as_str(), new] {
        receiver.expect(
            "plain",
            rotated.webhook.as_ref().unwrap(),
            &[secret],
            &[200],
        );
        let mut client = hooks.client.clone();
        let tested = client.test_webhook(TestWebhookRequest {
            id: plain.id.clone(),
        });
        assert_eq!(tested.await.unwrap().into_inner().status, 200);
    }
    let last = receiver.taken("plain").pop().unwrap();
    assert_eq!((last.r#type.as_str(), last.signatures), ("test", 2));

    let count = receiver.taken("cloud").len();
    hooks.replay(&cloud.id, StartFrom::Earliest(())).await;
    let all = taken(&receiver, "cloud", count + 2).await;
    receiver.assert_content();
    // What was killed does not come again; what comes has the id that it had.
    let again: Vec<&Taken> = all.iter().skip(count).collect();
    assert_eq!(
        (again[0].id.as_str(), again[1].id.as_str()),
        (all[3].id.as_str(), all[4].id.as_str())
    );
}

/// A failure is tried again under the same id, as soon as the receiver asks; order holds meanwhile;
/// what was killed while it waited is not sent.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again() {
    let (node, receiver) = (Node::start_with(&CALLS), Receiver::start());
    let hooks = Hooks::open(&node);
    let hook = hooks
        .add(&receiver, "hook", wanting(Filter::default()))
        .await;
    let secret = receiver.secret("hook");
    receiver.expect("hook", &hook, &[&secret], &[503]);
    let story = |number: u32| barid::wire::proto::v1::Article {
        body: format!("body {number}"),
        ..article(&format!("test:{number}"), "a headline")
    };
    for number in 0..3 {
        node.publish(Action::Publish, story(number)).await.unwrap();
    }
    eventually("two tries", async || receiver.refused("hook").len() >= 2).await;
    let health = hooks.get(&hook.id).await.unwrap().health.unwrap();
    assert!(health.failures > 0, "{health:?}");
    assert_eq!(health.failure, "answered 503 Service Unavailable");
    // The first of them, while it waits for its turn.
    node.publish(Action::Kill, noted("test:0", "false"))
        .await
        .unwrap();
    receiver.expect("hook", &hook, &[&secret], &[200]);
    let all = taken(&receiver, "hook", 3).await;
    receiver.assert_content();
    let refused = receiver.refused("hook");
    assert!(
        refused.iter().all(|one| one.id == refused[0].id),
        "{refused:?}"
    );
    assert_eq!(
        types(&all),
        ["article.publish", "article.publish", "article.kill"]
    );
    assert!(all.iter().all(|one| one.text != ["body 0"]), "{all:?}");
    assert_eq!(all[2].uri.as_deref(), Some("test:0"));
}

/// What is refused for good is parked, and what comes after it goes on; recalls stay and are counted;
/// what is sent again is what still stands. 410 ends it until it is resumed.
#[tokio::test(flavor = "multi_thread")]
async fn refused_for_good() {
    let (node, receiver) = (Node::start_with(&CALLS), Receiver::start());
    let hooks = Hooks::open(&node);
    let hook = hooks
        .add(&receiver, "hook", wanting(Filter::default()))
        .await;
    let secret = receiver.secret("hook");
    let answers = |answers: &[u16]| receiver.expect("hook", &hook, &[&secret], answers);
    let parks = async |count: usize| {
        eventually("it is parked", async || {
            hooks.parked(&hook.id).await.len() == count
        })
        .await;
    };
    answers(&[422]);
    let publish =
        async |action, uri: &str| node.publish(action, noted(uri, "a reason")).await.unwrap();
    let first = publish(Action::Publish, "test:killed").await.cursor;
    parks(1).await;
    publish(Action::Publish, "test:stands").await;
    parks(2).await;
    let recall = publish(Action::Correct, "test:stands").await.cursor;
    parks(3).await;
    answers(&[200]);
    publish(Action::Publish, "test:next").await;
    let all = taken(&receiver, "hook", 1).await;
    assert_eq!(all[0].uri.as_deref(), Some("test:next"));
    let parked = hooks.parked(&hook.id).await;
    assert_eq!(
        (parked[0].tries, parked[0].reason.as_str()),
        (5, "answered 422 Unprocessable Entity")
    );
    assert_eq!(parked[0].cursor, first);
    eventually("the alarm", async || {
        let parked = async |kind| web::metric_of(&node, "barid_webhook_parked", kind).await;
        parked("recall").await == 1.0 && parked("news").await == 2.0
    })
    .await;
    let refused = hooks.drop_parked(&hook.id, &recall).await.unwrap_err();
    assert_eq!(
        refusal(&refused),
        (Code::FailedPrecondition, "RECALL_PARKED".to_owned())
    );
    let unknown = hooks.drop_parked(&hook.id, "aaaaaaaa-1").await.unwrap_err();
    assert_eq!(
        refusal(&unknown),
        (Code::NotFound, "PARKED_UNKNOWN".to_owned())
    );

    publish(Action::Kill, "test:killed").await;
    taken(&receiver, "hook", 2).await;
    assert_eq!(hooks.retry(&hook.id).await, 3);
    parks(0).await;
    let all = receiver.taken("hook");
    let sent: Vec<_> = all
        .iter()
        .skip(2)
        .map(|one| (one.r#type.as_str(), one.cursor.clone()))
        .collect();
    // Of the story that stands its older revision, which the correction has not overtaken until it is
    // taken itself, and the correction; nothing of the killed one.
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[1], ("article.correct", Some(recall)));
    assert!(
        all.iter()
            .skip(2)
            .all(|one| one.uri.as_deref() == Some("test:stands"))
    );

    answers(&[410]);
    publish(Action::Publish, "test:gone").await;
    eventually("it is gone", async || {
        hooks.get(&hook.id).await.unwrap().state() == WebhookState::Gone
    })
    .await;
    let count = receiver.refused("hook").len();
    publish(Action::Publish, "test:more").await;
    answers(&[200]);
    hooks.resume(&hook.id).await;
    let all = taken(&receiver, "hook", all.len() + 2).await;
    let uris: Vec<_> = all
        .iter()
        .rev()
        .take(2)
        .map(|one| one.uri.as_deref().unwrap())
        .collect();
    assert_eq!(uris, ["test:more", "test:gone"]);
    assert_eq!(receiver.refused("hook").len(), count);
    receiver.assert_content();
}

/// A partner's webhooks are its own, get what it may read, follow its grant, and end with it; a paused
/// one goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn partners_and_grants() {
    let node = Node::start_with_keys(&CALLS);
    let receiver = Receiver::start();
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let mut tribune = gazette();
    tribune.name = "tribune".to_owned();
    desk.partner(tribune).await;
    let (_, gazette_key) = desk.key("gazette", Role::Subscriber, None).await;
    let (_, tribune_key) = desk.key("tribune", Role::Subscriber, None).await;
    let all = Hooks::keyed(&node, &node.key("desk"));
    let own = Hooks::keyed(&node, &gazette_key);
    let others = Hooks::keyed(&node, &tribune_key);
    eventually("the keys are known", async || {
        let one = own
            .client
            .clone()
            .list_webhooks(own.ask(ListWebhooksRequest::default()))
            .await;
        let other = others
            .client
            .clone()
            .list_webhooks(others.ask(ListWebhooksRequest::default()))
            .await;
        one.is_ok() && other.is_ok()
    })
    .await;
    // The gazette reads ict.
    let hook = own.add(&receiver, "hook", wanting(Filter::default())).await;
    assert_eq!(hook.partner, "gazette");
    let missing = (Code::NotFound, "WEBHOOK_UNKNOWN".to_owned());
    assert_eq!(refusal(&others.get(&hook.id).await.unwrap_err()), missing);
    assert_eq!(all.get(&hook.id).await.unwrap().id, hook.id);
    let foreign = own.create(Webhook {
        partner: "tribune".to_owned(),
        url: receiver.url("x"),
        ..Webhook::default()
    });
    assert_eq!(refusal(&foreign.await.unwrap_err()).1, "NOT_GRANTED");
    let of_nobody = all.create(Webhook {
        partner: "nobody".to_owned(),
        url: receiver.url("x"),
        ..Webhook::default()
    });
    let unknown = (Code::NotFound, "PARTNER_UNKNOWN".to_owned());
    assert_eq!(refusal(&of_nobody.await.unwrap_err()), unknown);
    let nothing = own.create(Webhook {
        url: receiver.url("x"),
        ..wanting(filter(&["economy"]))
    });
    assert_eq!(refusal(&nothing.await.unwrap_err()).1, "FILTER_NOT_GRANTED");

    let publish = async |uri: &str, topic: &str| {
        desk.publish(story(uri, &[topic])).await.unwrap();
    };
    publish("test:1", "economy").await;
    publish("test:2", "ict").await;
    assert_eq!(
        taken(&receiver, "hook", 1).await[0].uri.as_deref(),
        Some("test:2")
    );
    let economy = |partner: &mut barid::wire::proto::v1::Partner| {
        partner.subscribe.as_mut().unwrap().topics = vec!["economy".to_owned()];
    };
    desk.update("gazette", economy).await;
    // Whatever order the node hears of both in: what is read after the grant is judged by it.
    eventually("the grant is followed", async || {
        publish(&format!("test:ict-{}", receiver.taken("hook").len()), "ict").await;
        publish("test:economy", "economy").await;
        receiver
            .taken("hook")
            .iter()
            .any(|one| one.uri.as_deref() == Some("test:economy"))
    })
    .await;
    all.pause(&hook.id).await;
    publish("test:paused", "economy").await;
    desk.update("gazette", |partner| partner.suspended = true)
        .await;
    all.resume(&hook.id).await;
    publish("test:suspended", "economy").await;
    desk.update("gazette", |partner| partner.suspended = false)
        .await;
    eventually("all that came meanwhile", async || {
        let taken = once(&receiver.taken("hook"));
        let mut uris = taken.iter().rev().map(|one| one.uri.as_deref().unwrap());
        uris.next() == Some("test:suspended") && uris.next() == Some("test:paused")
    })
    .await;
    receiver.assert_content();

    let remove = barid::wire::proto::v1::DeletePartnerRequest {
        name: "gazette".to_owned(),
    };
    let mut admin =
        barid::wire::proto::v1::desk_service_client::DeskServiceClient::new(node.channel());
    admin.delete_partner(desk.request(remove)).await.unwrap();
    assert_eq!(refusal(&all.get(&hook.id).await.unwrap_err()), missing);
}

/// A correction and a kill follow whoever was sent the story, though its grant has changed since and
/// nothing of its filter is granted any more; nothing else does. The desk sees who has it.
#[tokio::test(flavor = "multi_thread")]
async fn recalls_follow() {
    let node = Node::start_with_keys(&CALLS);
    let receiver = Receiver::start();
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let hooks = Hooks::keyed(&node, &node.key("desk"));
    let webhook = Webhook {
        partner: "gazette".to_owned(),
        ..wanting(filter(&["ict"]))
    };
    eventually("the partner is known", async || {
        desk.partners().await.len() == 2
    })
    .await;
    let hook = hooks.add(&receiver, "hook", webhook).await;
    let publish = async |action: Action, uri: &str| {
        let mut message = story(uri, &["ict"]);
        message.action = action.into();
        message.article.as_mut().unwrap().edition_note = "a reason".to_owned();
        desk.publish(message).await.unwrap()
    };
    let id = publish(Action::Publish, "test:had").await;
    taken(&receiver, "hook", 1).await;
    let grants = async |topics: &[&str]| {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let change = |partner: &mut barid::wire::proto::v1::Partner| {
            partner.subscribe.as_mut().unwrap().topics = topics.clone();
        };
        desk.update("gazette", change).await;
        eventually("the node knows the grant", async || {
            let partners = desk.partners().await;
            let known = partners.iter().find(|one| one.name == "gazette").unwrap();
            known.subscribe.as_ref().unwrap().topics == topics
        })
        .await;
    };
    grants(&["economy"]).await;
    publish(Action::Publish, "test:never-had").await;
    publish(Action::Correct, "test:had").await;
    publish(Action::Kill, "test:never-had").await;
    publish(Action::Kill, "test:had").await;
    taken(&receiver, "hook", 3).await;
    grants(&["ict"]).await;
    publish(Action::Publish, "test:end").await;
    let all = once(&taken(&receiver, "hook", 4).await);
    receiver.assert_content();
    let got: Vec<_> = all
        .iter()
        .map(|one| (one.r#type.as_str(), one.uri.as_deref().unwrap()))
        .collect();
    assert_eq!(
        got,
        [
            ("article.publish", "test:had"),
            ("article.correct", "test:had"),
            ("article.kill", "test:had"),
            ("article.publish", "test:end"),
        ]
    );
    let mut recipients = RecipientServiceClient::new(node.channel());
    let mut page_token = String::new();
    let mut found = Vec::new();
    loop {
        let message = desk.request(GetRecallRequest {
            article_id: id.clone(),
            page_token,
            ..GetRecallRequest::default()
        });
        let page = recipients.get_recall(message).await.unwrap().into_inner();
        found.extend(page.recipients);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let [recipient] = &found[..] else {
        panic!("not one: {found:?}")
    };
    assert_eq!(
        (recipient.name.as_str(), recipient.partner.as_str()),
        (hook.id.as_str(), "gazette")
    );
    assert_eq!(
        (recipient.kind(), recipient.state()),
        (RecipientKind::Webhook, RecallState::Acknowledged)
    );
}

/// Over TLS a receiver is called whose certificate is good, and no other one hears anything.
#[tokio::test]
async fn receivers_are_who_they_say() {
    let folder = TempDir::new().unwrap();
    let known = Authority::new(folder.path(), "known");
    let stranger = Authority::new(folder.path(), "stranger");
    let node = Node::start_with_variables(&[
        ("SSL_CERT_FILE", known.pem.to_str().unwrap()),
        ("BARID_DANGER_CALL_INTERNAL_ADDRESSES", "true"),
    ]);
    let hooks = Hooks::open(&node);
    let good = Receiver::start_over_tls(known.pair("good"));
    let strange = Receiver::start_over_tls(stranger.pair("strange"));
    let expired = Receiver::start_over_tls(known.pair_for("expired", -60));
    let everything = || wanting(Filter::default());
    hooks.add(&good, "good", everything()).await;
    let mut refused = Vec::new();
    for (receiver, name) in [(&strange, "strange"), (&expired, "expired")] {
        refused.push(hooks.add(receiver, name, everything()).await.id);
    }
    let story = article("test:one", "A headline");
    node.publish(Action::Publish, story).await.unwrap();
    taken(&good, "good", 1).await;
    good.assert_content();
    for id in refused {
        eventually("it has failed", async || {
            let health = hooks.get(&id).await.unwrap().health.unwrap();
            health.failure.contains("certificate")
        })
        .await;
    }
    for (receiver, name) in [(&strange, "strange"), (&expired, "expired")] {
        assert!(receiver.taken(name).is_empty() && receiver.refused(name).is_empty());
        receiver.assert_content();
    }
}

/// Without its flags a node calls nobody inside, nor anybody without TLS; bad fields are named.
#[tokio::test(flavor = "multi_thread")]
async fn bad_webhooks_are_refused() {
    let node = Node::start();
    let hooks = Hooks::open(&node);
    for url in [
        "http://news.example/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest",
    ] {
        let refused = hooks
            .create(Webhook {
                url: url.to_owned(),
                ..Webhook::default()
            })
            .await
            .unwrap_err();
        assert_eq!(refusal(&refused).1, "TARGET_REFUSED", "{url}");
        assert_eq!(fields(&refused), ["webhook.url"]);
    }
    let refused = hooks
        .create(Webhook {
            url: "https://user:pass@news.example".to_owned(),
            partner: "No Name".to_owned(),
            note: "n".repeat(201),
            format: 7,
            ..Webhook::default()
        })
        .await
        .unwrap_err();
    let named = [
        "webhook.format",
        "webhook.url",
        "webhook.note",
        "webhook.partner",
    ];
    assert_eq!(fields(&refused), named);
    // Nothing that a terminal would obey.
    let refused = hooks.create(Webhook {
        url: "https://news.example/\n".to_owned(),
        note: "\u{1b}[31mred".to_owned(),
        ..Webhook::default()
    });
    let refused = refused.await.unwrap_err();
    assert_eq!(fields(&refused), ["webhook.url", "webhook.note"]);
    let unknown = hooks.create(Webhook {
        url: "https://news.example".to_owned(),
        ..wanting(filter(&["ict.nonsense"]))
    });
    assert_eq!(refusal(&unknown.await.unwrap_err()).1, "TOPIC_UNKNOWN");
    let update = UpdateWebhookRequest {
        webhook: Some(Webhook {
            id: "not an id".to_owned(),
            ..Webhook::default()
        }),
    };
    let refused = hooks
        .client
        .clone()
        .update_webhook(update)
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["id"]);
}

/// The commands do what they say, and print the secret once.
#[tokio::test(flavor = "multi_thread")]
async fn commands() {
    let (node, receiver) = (Node::start_with(&CALLS), Receiver::start());
    let run = |args: &[&str]| {
        let server = format!("http://{}", node.grpc);
        let output = barid()
            .arg("webhook")
            .args(args)
            .args(["--server", &server])
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let url = receiver.url("hook");
    let (code, secret, said) = run(&["add", &url, "--topics", "ict", "--from", "earliest"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let id = said.split(' ').next().unwrap();
    let (_, shown, _) = run(&["show", id, "--output", "json"]);
    assert!(
        !shown.contains("whsec_") && !shown.contains("secret\":"),
        "{shown}"
    );
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (shown["topics"][0].as_str(), shown["state"].as_str()),
        (Some("ict"), Some("active"))
    );
    receiver.set(
        "hook",
        &serde_json::json!({"secrets": [secret.trim()], "publics": shown["public_keys"]}),
    );
    let (code, _, said) = run(&["replay", id, "--from", "zzzzzzzz-1"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("another log"), "{said}");
    let (_, tested, _) = run(&["test", id]);
    assert!(tested.starts_with("200 "), "{tested}");
    for args in [
        &["set", id, "--topics", "economy", "--note", "of the desk"][..],
        &["pause", id],
        &["resume", id],
        &["replay", id, "--from", "last:5"],
        &["rotate", id, "--overlap", "1h"],
        &["parked", "list", id],
        &["parked", "retry", id],
        &["list"],
        &["show", id],
        &["remove", id],
    ] {
        let (code, _, said) = run(args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
    let (code, _, said) = run(&["show", id]);
    assert_eq!(code, Some(1), "{said}");
    let (code, _, said) = run(&["add", "ftp://news.example"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("webhook.url"), "{said}");
    receiver.assert_content();
}
