//! Keys and grants: nobody where they don't belong.

use std::time::{Duration, Instant};

use barid::wire::proto::v1::{
    Action, Article, BeyondGrant, CreateKeyRequest, CreatePartnerRequest, ExplainRoutingRequest,
    Filter, GetArticleRequest, GetPartnerRequest, Limits, ListArticlesRequest, ListPartnersRequest,
    ListRevisionsRequest, Partner, PublishRequest, Publishing, RevokeKeyRequest, Role,
    RotateKeyRequest, Routing, Scope, SubscribeRequest, UpdatePartnerRequest,
    article_service_client::ArticleServiceClient, desk_service_client::DeskServiceClient,
    explain_routing_request::Subject, publisher_service_client::PublisherServiceClient,
    subscriber_service_client::SubscriberServiceClient,
};
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::harness::{
    LIMIT, Node, Reader, action, after, article, article_of, everything, filter, noted, refusal,
    request,
};

/// Within what every node follows a change.
const FOLLOWS: Duration = Duration::from_secs(1);

/// A caller with a key, at a node.
#[derive(Clone)]
pub struct Caller {
    channel: Channel,
    key: String,
}

impl Caller {
    pub fn new(node: &Node, key: &str) -> Self {
        Self {
            channel: node.channel(),
            key: key.to_owned(),
        }
    }

    /// With a key, or, if that is empty, with none, over a channel.
    pub fn over(channel: Channel, key: &str) -> Self {
        let key = key.to_owned();
        Self { channel, key }
    }

    /// Changes what a partner may read.
    pub async fn try_grant(&self, name: &str, topics: &Vec<String>) -> Result<(), Status> {
        let request = self.request(GetPartnerRequest {
            name: name.to_owned(),
        });
        let got = self.admin().get_partner(request).await?.into_inner();
        let mut partner = got.partner.unwrap();
        partner
            .subscribe
            .as_mut()
            .unwrap()
            .topics
            .clone_from(topics);
        let request = self.request(UpdatePartnerRequest {
            partner: Some(partner),
        });
        self.admin().update_partner(request).await.map(drop)
    }

    pub fn desk(node: &Node) -> Self {
        Self::new(node, &node.key("desk"))
    }

    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.key.is_empty() {
            return request;
        }
        let value = format!("Bearer {}", self.key).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    }

    pub fn admin(&self) -> DeskServiceClient<Channel> {
        DeskServiceClient::new(self.channel.clone())
    }

    fn articles(&self) -> ArticleServiceClient<Channel> {
        ArticleServiceClient::new(self.channel.clone())
    }

    pub async fn publish(&self, message: PublishRequest) -> Result<String, Status> {
        let mut client = PublisherServiceClient::new(self.channel.clone());
        let answer = client.publish(self.request(message)).await?;
        Ok(answer.into_inner().article_id)
    }

    pub async fn subscribe(&self, message: SubscribeRequest) -> Result<Reader, Status> {
        let mut client = SubscriberServiceClient::new(self.channel.clone());
        let frames = client.subscribe(self.request(message)).await?.into_inner();
        Ok(Reader { frames })
    }

    pub async fn partner(&self, partner: Partner) {
        self.try_partner(partner).await.unwrap();
    }

    pub async fn try_partner(&self, partner: Partner) -> Result<(), Status> {
        let partner = Some(partner);
        let request = self.request(CreatePartnerRequest { partner });
        self.admin().create_partner(request).await.map(drop)
    }

    pub async fn partners(&self) -> Vec<Partner> {
        let request = self.request(ListPartnersRequest {});
        let listed = self.admin().list_partners(request).await;
        listed.unwrap().into_inner().partners
    }

    pub async fn update(&self, name: &str, change: impl FnOnce(&mut Partner)) {
        let name = name.to_owned();
        let got = self
            .admin()
            .get_partner(self.request(GetPartnerRequest { name }))
            .await;
        let mut partner = got.unwrap().into_inner().partner.unwrap();
        change(&mut partner);
        let partner = Some(partner);
        let request = self.request(UpdatePartnerRequest { partner });
        self.admin().update_partner(request).await.unwrap();
    }

    /// A new key: its id and secret.
    pub async fn key(&self, partner: &str, role: Role, lives: Option<i64>) -> (String, String) {
        let expires = lives.map(|seconds| prost_types::Timestamp {
            seconds: now() + seconds,
            nanos: 0,
        });
        let request = self.request(CreateKeyRequest {
            partner: partner.to_owned(),
            role: role.into(),
            note: String::new(),
            expires,
            certificate: String::new(),
        });
        let made = self.admin().create_key(request).await.unwrap().into_inner();
        (made.key.unwrap().id, made.secret)
    }

    pub async fn revoke(&self, key_id: &str) {
        let key_id = key_id.to_owned();
        let request = self.request(RevokeKeyRequest { key_id });
        self.admin().revoke_key(request).await.unwrap();
    }

    /// A caller with a new key of a partner, at this node.
    pub async fn new_caller(&self, partner: &str, role: Role) -> Self {
        let (_, key) = self.key(partner, role, None).await;
        let caller = Self {
            key,
            ..self.clone()
        };
        caller.is_known().await;
        caller
    }

    /// Waits until the node knows the key.
    async fn is_known(&self) {
        crate::harness::eventually("the node knows the key", async || {
            let request = self.request(barid::wire::proto::v1::ListTopicsRequest {});
            self.admin().list_topics(request).await.is_ok()
        })
        .await;
    }
}

pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs().try_into().unwrap()
}

fn scope(topics: &[&str]) -> Scope {
    Scope {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        languages: vec![],
    }
}

pub fn gazette() -> Partner {
    Partner {
        name: "gazette".to_owned(),
        subscribe: Some(scope(&["ict"])),
        publish: Some(Publishing {
            scope: Some(scope(&["ict"])),
            source: String::new(),
            own_articles_only: false,
        }),
        desk: true,
        ..Partner::default()
    }
}

pub fn story(uri: &str, topics: &[&str]) -> PublishRequest {
    let article = Article {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..article(uri, uri)
    };
    PublishRequest {
        routing: Routing::Stated.into(),
        ..request(Action::Publish, article)
    }
}

/// Why a stream ended, and how long after `since`.
async fn ended(reader: &mut Reader, since: Instant) -> (Code, String) {
    loop {
        match timeout(LIMIT, reader.next())
            .await
            .expect("the stream goes on")
        {
            Ok(_) => {}
            Err(status) => {
                let took = since.elapsed();
                assert!(took < FOLLOWS, "{took:?}");
                return refusal(&status);
            }
        }
    }
}

/// A subscriber gets exactly what is granted: live, from history, in lists and by id.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_reads_what_is_granted() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let reader = desk.new_caller("gazette", Role::Subscriber).await;
    let mut live = reader.subscribe(SubscribeRequest::default()).await.unwrap();
    live.caught_up().await;
    let mut ids = Vec::new();
    for (uri, topics) in [
        ("test:a", &["ict.telecom"][..]),
        ("test:b", &["economy"]),
        ("test:c", &["economy", "ict"]),
        ("test:d", &["diplomacy"]),
    ] {
        ids.push(desk.publish(story(uri, topics)).await.unwrap());
    }
    // A story that comes in by a correction brings its next revisions, and not the ones before.
    let mut correction = story("test:d", &["ict.satellite"]);
    correction.action = Action::Correct.into();
    correction.article.as_mut().unwrap().edition_note = "It is about satellites.".to_owned();
    desk.publish(correction).await.unwrap();
    desk.publish(request(Action::Kill, noted("test:c", "Untrue.")))
        .await
        .unwrap();

    let expected = ["test:a", "test:c", "test:d", "test:c"];
    for uri in expected {
        assert_eq!(article_of(&live.delivery().await).uri, uri);
    }
    let mut history = reader.subscribe(everything()).await.unwrap();
    let history: Vec<_> = history
        .history()
        .await
        .iter()
        .map(|one| article_of(one).uri)
        .collect();
    assert_eq!(history, ["test:a", "test:d", "test:c"]);

    let list = reader.request(ListArticlesRequest::default());
    let list = reader
        .articles()
        .list_articles(list)
        .await
        .unwrap()
        .into_inner();
    let uris: Vec<_> = list
        .deliveries
        .iter()
        .map(|one| article_of(one).uri)
        .collect();
    assert_eq!(uris, ["test:c", "test:d", "test:a"]);
    for (id, is_open) in ids.iter().zip([true, false, true, true]) {
        let article_id = id.clone();
        let got = reader.request(GetArticleRequest { article_id });
        let got = reader.articles().get_article(got).await;
        assert_eq!(got.is_ok(), is_open, "{id}");
        if let Err(status) = got {
            assert_eq!(
                refusal(&status),
                (Code::NotFound, "ARTICLE_UNKNOWN".to_owned())
            );
        }
        let revisions = reader.request(ListRevisionsRequest {
            article_id: id.clone(),
            ..ListRevisionsRequest::default()
        });
        let revisions = reader.articles().list_revisions(revisions).await;
        assert_eq!(revisions.is_ok(), is_open);
        if *id == ids[3] {
            let revisions = revisions.unwrap().into_inner().deliveries;
            let actions: Vec<_> = revisions.iter().map(action).collect();
            assert_eq!(actions, [Action::Correct], "revision 1 was not for it");
        }
    }

    // Beyond the grant: cut by default, refused if that is asked for.
    let wanted = |topics: &[&str], beyond: BeyondGrant| SubscribeRequest {
        filter: Some(filter(topics)),
        beyond_grant: beyond.into(),
        ..everything()
    };
    let cut = wanted(&["economy", "ict.telecom"], BeyondGrant::Unspecified);
    let mut cut = reader.subscribe(cut).await.unwrap();
    let cut: Vec<_> = cut
        .history()
        .await
        .iter()
        .map(|one| article_of(one).uri)
        .collect();
    assert_eq!(cut, ["test:a"]);
    for (topics, beyond) in [
        (&["economy"][..], BeyondGrant::Cut),
        (&["economy", "ict.telecom"], BeyondGrant::Refuse),
        (&[], BeyondGrant::Refuse),
    ] {
        let status = reader
            .subscribe(wanted(topics, beyond))
            .await
            .err()
            .unwrap();
        let expected = (Code::PermissionDenied, "FILTER_NOT_GRANTED".to_owned());
        assert_eq!(refusal(&status), expected);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["granted_topics"], "ict");
    }
    let good = wanted(&["ict.telecom"], BeyondGrant::Refuse);
    reader.subscribe(good).await.unwrap();
    // Languages are part of it.
    let french = Filter {
        languages: vec!["fr".to_owned()],
        ..Filter::default()
    };
    desk.update("gazette", |partner| {
        partner.subscribe.as_mut().unwrap().languages = vec!["ar".to_owned()];
    })
    .await;
    crate::harness::eventually("the language is granted", async || {
        let request = SubscribeRequest {
            filter: Some(french.clone()),
            ..everything()
        };
        reader.subscribe(request).await.is_err()
    })
    .await;
    let mut arabic = reader.subscribe(everything()).await.unwrap();
    assert_eq!(arabic.history().await, []);
}

/// Open streams follow a change of their grant within a second on every node, and go on exactly by
/// their cursor.
#[tokio::test(flavor = "multi_thread")]
async fn open_streams_follow_their_grants() {
    let one = Node::start_with_keys(&[]);
    let other = Node::start_with_keys(&["--nats-url", &one.nats_url()]);
    let desk = Caller::desk(&one);
    desk.partner(gazette()).await;
    let (id, key) = desk.key("gazette", Role::Subscriber, None).await;
    let callers = [&one, &other].map(|node| Caller::new(node, &key));
    let mut readers = Vec::new();
    for caller in &callers {
        caller.is_known().await;
        let mut reader = caller.subscribe(everything()).await.unwrap();
        reader.caught_up().await;
        readers.push(reader);
    }
    desk.publish(story("test:1", &["ict"])).await.unwrap();
    let mut cursor = String::new();
    for reader in &mut readers {
        cursor = reader.delivery().await.cursor;
    }

    // What changes nothing of what is read ends nothing.
    desk.update("gazette", |partner| {
        partner.limits = Some(Limits {
            streams: 9,
            ..Limits::default()
        });
    })
    .await;
    desk.publish(story("test:2", &["economy", "ict"]))
        .await
        .unwrap();
    for reader in &mut readers {
        assert_eq!(article_of(&reader.delivery().await).uri, "test:2");
    }
    desk.update("gazette", |partner| {
        partner.subscribe = Some(scope(&["economy"]));
    })
    .await;
    let since = Instant::now();
    for reader in &mut readers {
        let expected = (Code::Unavailable, "GRANT_CHANGED".to_owned());
        assert_eq!(ended(reader, since).await, expected);
    }
    desk.publish(story("test:3", &["ict"])).await.unwrap();
    desk.publish(story("test:4", &["economy"])).await.unwrap();
    for (caller, reader) in callers.iter().zip(&mut readers) {
        *reader = caller.subscribe(after(&cursor)).await.unwrap();
        let got: Vec<_> = reader
            .history()
            .await
            .iter()
            .map(|one| article_of(one).uri)
            .collect();
        assert_eq!(got, ["test:2", "test:4"]);
    }

    desk.revoke(&id).await;
    let since = Instant::now();
    for reader in &mut readers {
        let expected = (Code::Unauthenticated, "KEY_INVALID".to_owned());
        assert_eq!(ended(reader, since).await, expected);
    }
    for caller in &callers {
        let status = caller.subscribe(everything()).await.err().unwrap();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}

/// A loss of NATS makes no node deaf to what becomes of keys: a revocation just after it ends open
/// streams as soon as any.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_revoked_after_a_loss_of_nats() {
    let one = Node::start_with_keys(&[]);
    let other = Node::start_with_keys(&["--nats-url", &one.nats_url()]);
    let desk = Caller::desk(&one);
    desk.partner(gazette()).await;
    let (id, key) = desk.key("gazette", Role::Subscriber, None).await;
    let mut readers = Vec::new();
    for node in [&one, &other] {
        let caller = Caller::new(node, &key);
        caller.is_known().await;
        let mut reader = caller.subscribe(everything()).await.unwrap();
        reader.caught_up().await;
        readers.push(reader);
    }
    one.kill_nats();
    // Waits for NATS, and shows that both nodes read its log again.
    desk.publish(story("test:1", &["ict"])).await.unwrap();
    for reader in &mut readers {
        reader.delivery().await;
    }
    desk.revoke(&id).await;
    let since = Instant::now();
    for reader in &mut readers {
        let expected = (Code::Unauthenticated, "KEY_INVALID".to_owned());
        assert_eq!(ended(reader, since).await, expected);
    }
}

/// Expiry, suspension and rotation end what stands on them.
#[tokio::test(flavor = "multi_thread")]
async fn keys_come_to_their_end() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (_, key) = desk.key("gazette", Role::Subscriber, Some(2)).await;
    let short = Caller::new(&node, &key);
    short.is_known().await;
    let mut reader = short.subscribe(everything()).await.unwrap();
    let (_, end) = (reader.caught_up().await, now());
    let status = loop {
        if let Err(status) = reader.next().await {
            break status;
        }
    };
    assert_eq!(
        refusal(&status),
        (Code::Unauthenticated, "KEY_EXPIRED".to_owned())
    );
    assert!((1..=4).contains(&(now() - end)));

    let (id, key) = desk.key("gazette", Role::Subscriber, None).await;
    let caller = Caller::new(&node, &key);
    caller.is_known().await;
    let mut reader = caller.subscribe(everything()).await.unwrap();
    desk.update("gazette", |partner| partner.suspended = true)
        .await;
    let expected = (Code::Unauthenticated, "PARTNER_SUSPENDED".to_owned());
    assert_eq!(ended(&mut reader, Instant::now()).await, expected);
    desk.update("gazette", |partner| partner.suspended = false)
        .await;
    caller.is_known().await;

    // Both secrets are good for a while, and then the new one is.
    let mut former = caller.subscribe(everything()).await.unwrap();
    let rotate = desk.request(RotateKeyRequest {
        key_id: id.clone(),
        overlap: Some(prost_types::Duration {
            seconds: 2,
            nanos: 0,
        }),
        certificate: String::new(),
    });
    let rotated = desk.admin().rotate_key(rotate).await.unwrap().into_inner();
    assert_eq!(rotated.key.unwrap().id, id);
    let new = Caller::new(&node, &rotated.secret);
    new.is_known().await;
    let mut latter = new.subscribe(everything()).await.unwrap();
    caller.is_known().await;
    let status = loop {
        if let Err(status) = former.next().await {
            break status;
        }
    };
    assert_eq!(
        refusal(&status),
        (Code::Unauthenticated, "KEY_INVALID".to_owned())
    );
    desk.publish(story("test:1", &["ict"])).await.unwrap();
    latter.caught_up().await;
    latter.delivery().await;
    assert_eq!(
        caller.subscribe(everything()).await.err().unwrap().code(),
        Code::Unauthenticated
    );
}

/// A publisher writes what is granted, and reads back what it may revise.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_writes_what_is_granted() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let bureau = Partner {
        name: "bureau".to_owned(),
        publish: Some(Publishing {
            scope: Some(Scope {
                topics: vec!["ict".to_owned()],
                languages: vec!["en".to_owned()],
            }),
            source: "Bureau".to_owned(),
            own_articles_only: true,
        }),
        ..Partner::default()
    };
    desk.partner(bureau).await;
    let free = desk.new_caller("gazette", Role::Publisher).await;
    let bound = desk.new_caller("bureau", Role::Publisher).await;
    let sourced = |mut request: PublishRequest| {
        request.article.as_mut().unwrap().source = "Bureau".to_owned();
        request
    };
    let denied = |reason: &str| (Code::PermissionDenied, reason.to_owned());

    let own = bound
        .publish(sourced(story("test:own", &["ict"])))
        .await
        .unwrap();
    let theirs = desk.publish(story("test:theirs", &["ict"])).await.unwrap();
    let beyond = desk
        .publish(story("test:beyond", &["ict", "economy"]))
        .await
        .unwrap();
    let mut arabic = sourced(story("test:arabic", &["ict"]));
    arabic.article.as_mut().unwrap().language = "ar".to_owned();
    for (caller, request, reason) in [
        (
            &bound,
            story("test:no-source", &["ict"]),
            "SOURCE_NOT_GRANTED",
        ),
        (
            &bound,
            sourced(story("test:x", &["ict", "economy"])),
            "TOPIC_NOT_GRANTED",
        ),
        (&bound, arabic, "LANGUAGE_NOT_GRANTED"),
        (
            &bound,
            request(Action::Kill, noted("test:theirs", "x")),
            "ARTICLE_NOT_OWN",
        ),
        (
            &free,
            request(Action::Kill, noted("test:beyond", "x")),
            "TOPIC_NOT_GRANTED",
        ),
        // Nothing is said of it, so it would go to the rest of the wire.
        (
            &free,
            request(Action::Publish, article("test:y", "Nothing")),
            "TOPIC_NOT_GRANTED",
        ),
    ] {
        let status = caller.publish(request).await.unwrap_err();
        assert_eq!(refusal(&status), denied(reason));
    }
    // Not everybody writes Arabic.
    let english = Scope {
        languages: vec!["en".to_owned()],
        ..scope(&["ict"])
    };
    let herald = Partner {
        name: "herald".to_owned(),
        publish: Some(Publishing {
            scope: Some(english),
            ..Publishing::default()
        }),
        ..Partner::default()
    };
    desk.partner(herald).await;
    let english = desk.new_caller("herald", Role::Publisher).await;
    let mut foreign = story("test:foreign", &["ict"]);
    foreign.article.as_mut().unwrap().language = "ar".to_owned();
    let foreign = desk.publish(foreign).await.unwrap();
    let ids = [&own, &theirs, &beyond, &foreign];
    for (caller, readable) in [
        (&bound, [true, false, false, false]),
        (&free, [true, true, false, true]),
        (&english, [true, true, false, false]),
    ] {
        for (id, is_open) in ids.into_iter().zip(readable) {
            let article_id = id.clone();
            let got = caller.request(GetArticleRequest { article_id });
            assert_eq!(caller.articles().get_article(got).await.is_ok(), is_open);
            let explain = ExplainRoutingRequest {
                subject: Some(Subject::ArticleId(id.clone())),
                ..ExplainRoutingRequest::default()
            };
            let explained = caller.request(explain);
            let explained = caller.articles().explain_routing(explained).await;
            assert_eq!(explained.is_ok(), is_open);
        }
    }
    // Nor what has become of it.
    let gone = desk
        .publish(story("test:gone", &["economy"]))
        .await
        .unwrap();
    desk.publish(request(Action::Kill, noted("test:gone", "Untrue.")))
        .await
        .unwrap();
    for (subject, said) in [
        (
            Subject::ArticleId(gone),
            (Code::NotFound, "ARTICLE_UNKNOWN".to_owned()),
        ),
        (
            Subject::Article(story("test:gone", &["ict"]).article.unwrap()),
            denied("TOPIC_NOT_GRANTED"),
        ),
    ] {
        let explain = ExplainRoutingRequest {
            subject: Some(subject),
            ..ExplainRoutingRequest::default()
        };
        let explained = free.request(explain);
        let status = free.articles().explain_routing(explained).await;
        assert_eq!(refusal(&status.unwrap_err()), said);
    }
    // To whoever may not read it, it is not there, and nobody says where it went.
    let status = free
        .publish(request(Action::Kill, noted("test:beyond", "x")))
        .await
        .unwrap_err();
    let said = format!("{status:?}");
    assert!(!said.contains("economy"), "{said}");
    // What the desk has widened stays its publisher's own.
    let mut wider = story("test:own", &["economy"]);
    wider.action = Action::Update.into();
    desk.publish(wider).await.unwrap();
    bound
        .publish(request(Action::Kill, noted("test:own", "Untrue.")))
        .await
        .unwrap();
    free.publish(request(Action::Kill, noted("test:theirs", "Untrue.")))
        .await
        .unwrap();

    // A request id is its key's own.
    let mine = story("test:mine", &["ict"]);
    let first = free.publish(mine.clone()).await.unwrap();
    assert_eq!(free.publish(mine.clone()).await.unwrap(), first);
    let other = PublishRequest {
        request_id: mine.request_id,
        ..sourced(story("test:other", &["ict"]))
    };
    assert_ne!(bound.publish(other).await.unwrap(), first);
}

/// A stream in the place that another gives back.
async fn eventually_open(caller: &Caller) -> Reader {
    let mut opened = None;
    crate::harness::eventually("the place is given back", async || {
        opened = caller.subscribe(SubscribeRequest::default()).await.ok();
        opened.is_some()
    })
    .await;
    opened.unwrap()
}

/// Limits of a key, and the time to come back.
#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    let limits = Limits {
        publishes_per_second: 2,
        requests_per_second: 50,
        streams: 1,
        bytes_per_day: 2000,
    };
    desk.partner(Partner {
        limits: Some(limits),
        ..gazette()
    })
    .await;
    let publisher = desk.new_caller("gazette", Role::Publisher).await;
    let subscriber = desk.new_caller("gazette", Role::Subscriber).await;
    let exhausted = |status: &Status, reason: &str| {
        assert_eq!(
            refusal(status),
            (Code::ResourceExhausted, reason.to_owned())
        );
        let after = status
            .get_details_retry_info()
            .unwrap()
            .retry_delay
            .unwrap();
        assert!(after > Duration::ZERO);
        after
    };
    let mut refused = Vec::new();
    for number in 0..5 {
        let request = story(&format!("test:{number}"), &["ict"]);
        if let Err(status) = publisher.publish(request).await {
            refused.push(status);
        }
    }
    assert!((2..=3).contains(&refused.len()), "{refused:?}");
    exhausted(&refused[0], "RATE_LIMITED");
    // Others are not held back.
    for number in 10..15 {
        desk.publish(story(&format!("test:{number}"), &["ict"]))
            .await
            .unwrap();
    }

    let mut reader = subscriber
        .subscribe(SubscribeRequest::default())
        .await
        .unwrap();
    reader.caught_up().await;
    let status = subscriber.subscribe(everything()).await.err().unwrap();
    exhausted(&status, "STREAMS_LIMIT");
    drop(reader);
    let mut reader = eventually_open(&subscriber).await;
    reader.caught_up().await;
    let status = loop {
        let long = Article {
            body: "x".repeat(1500),
            topics: vec!["ict".to_owned()],
            ..article("test:long", "Long")
        };
        desk.publish(request(Action::Publish, long)).await.unwrap();
        if let Err(status) = reader.next().await {
            break status;
        }
    };
    let after = exhausted(&status, "BYTES_LIMIT");
    assert!(after <= Duration::from_secs(86_400));

    let (_, key) = desk.key("gazette", Role::Subscriber, None).await;
    let hasty = Caller::new(&node, &key);
    let mut refused = None;
    for _ in 0..200 {
        let request = hasty.request(ListArticlesRequest::default());
        if let Err(status) = hasty.articles().list_articles(request).await
            && status.code() != Code::Unauthenticated
        {
            refused = Some(status);
            break;
        }
    }
    exhausted(&refused.unwrap(), "RATE_LIMITED");
}
