//! Durable subscriptions: the log keeps their place, one stream has each, and what takes back a story
//! follows whoever was sent it.

use std::time::{Duration, Instant};

use barid::wire::proto::v1::{
    AcknowledgeRequest, Action, DeleteSubscriptionRequest, Filter, GetRecallRequest,
    GetSubscriptionRequest, ListSubscriptionsRequest, RecallState, ResetSubscriptionRequest, Role,
    SubscribeRequest, Subscription, recipient_service_client::RecipientServiceClient,
    reset_subscription_request::To, start::From as StartFrom, subscribe_response::Frame,
    subscriber_service_client::SubscriberServiceClient,
};
use tonic::{Code, Request, Status};

use crate::{
    access::{Caller, gazette},
    command_line::{run, server},
    harness::{
        Node, Reader, action, article, article_of, eventually, everything, fields, filter, from,
        noted, refusal, seq,
    },
    web,
};

/// Within what a stream that was taken over ends.
const ENDS: Duration = Duration::from_secs(1);

/// The stream of a durable subscription.
pub struct Bot {
    name: String,
    pub token: String,
    pub reader: Reader,
}

/// A durable subscription to what a filter wants, from the beginning if it is new.
pub fn named(name: &str, filter: Filter) -> SubscribeRequest {
    SubscribeRequest {
        subscription: name.to_owned(),
        filter: Some(filter),
        ..everything()
    }
}

/// A subscriber's call with a key, or without.
fn with_key<T>(message: T, caller: Option<&Caller>) -> Request<T> {
    match caller {
        Some(caller) => caller.request(message),
        None => Request::new(message),
    }
}

impl Bot {
    pub async fn open(node: &Node, request: SubscribeRequest) -> Result<Self, Status> {
        Self::open_as(node, request, None).await
    }

    pub async fn open_as(
        node: &Node,
        request: SubscribeRequest,
        caller: Option<&Caller>,
    ) -> Result<Self, Status> {
        let name = request.subscription.clone();
        let mut client = SubscriberServiceClient::new(node.channel());
        let frames = client.subscribe(with_key(request, caller)).await?;
        let mut reader = Reader {
            frames: frames.into_inner(),
        };
        match reader.next().await? {
            Frame::Opened(opened) => Ok(Self {
                name,
                token: opened.token,
                reader,
            }),
            other => panic!("not opened: {other:?}"),
        }
    }

    pub async fn acknowledge(&self, node: &Node, cursor: &str) -> Result<String, Status> {
        self.acknowledge_as(node, cursor, None).await
    }

    pub async fn acknowledge_as(
        &self,
        node: &Node,
        cursor: &str,
        caller: Option<&Caller>,
    ) -> Result<String, Status> {
        let request = AcknowledgeRequest {
            subscription: self.name.clone(),
            token: self.token.clone(),
            cursor: cursor.to_owned(),
        };
        let mut client = SubscriberServiceClient::new(node.channel());
        let answer = client.acknowledge(with_key(request, caller)).await?;
        Ok(answer.into_inner().cursor)
    }

    /// How the stream ends, whatever comes before.
    async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.reader.next().await {
                return status;
            }
        }
    }
}

pub async fn publish(node: &Node, count: usize) -> Vec<String> {
    let mut cursors = Vec::new();
    for number in 0..count {
        let story = article(&format!("test:{number}"), &format!("story {number}"));
        let answer = node.publish(Action::Publish, story).await.unwrap();
        cursors.push(answer.cursor);
    }
    cursors
}

pub async fn shown(node: &Node, name: &str) -> Subscription {
    let request = GetSubscriptionRequest {
        name: name.to_owned(),
        ..GetSubscriptionRequest::default()
    };
    let mut client = RecipientServiceClient::new(node.channel());
    let got = client.get_subscription(request).await.unwrap();
    got.into_inner().subscription.unwrap()
}

/// Nothing that was acknowledged comes again and nothing else is missing, over a stream that just
/// goes, kill -9 of NATS and of the node.
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_what_is_acknowledged() {
    let mut node = Node::start();
    let cursors = publish(&node, 5).await;
    let mut bot = Bot::open(&node, named("bot", filter(&[]))).await.unwrap();
    for cursor in &cursors {
        assert_eq!(bot.reader.delivery().await.cursor, *cursor);
    }
    assert_eq!(
        bot.acknowledge(&node, &cursors[1]).await.unwrap(),
        cursors[1]
    );
    let shown = shown(&node, "bot").await;
    assert_eq!(shown.cursor, cursors[1]);
    assert!(seq(&shown.sent) >= seq(&cursors[4]), "{}", shown.sent);
    assert!((shown.lag_articles, shown.lag_is_least) == (3, false) && shown.lag.is_some());
    assert!(!shown.connected_to.is_empty());
    drop(bot);

    // Where it begins counts for a new one only.
    let mut request = named("bot", filter(&[]));
    request.start = from(StartFrom::Now(()));
    let mut bot = Bot::open(&node, request).await.unwrap();
    let rest: Vec<String> = bot
        .reader
        .history()
        .await
        .into_iter()
        .map(|one| one.cursor)
        .collect();
    assert_eq!(rest, cursors[2..]);
    bot.acknowledge(&node, &cursors[2]).await.unwrap();
    node.kill_nats();
    eventually("an acknowledgement over a loss of NATS", async || {
        bot.acknowledge(&node, &cursors[3]).await.is_ok()
    })
    .await;
    node.kill();
    node.start_again().await;
    let mut bot = Bot::open(&node, named("bot", filter(&[]))).await.unwrap();
    let rest: Vec<String> = bot
        .reader
        .history()
        .await
        .into_iter()
        .map(|one| one.cursor)
        .collect();
    assert_eq!(rest, cursors[4..]);
}

/// A stream has its subscription alone: one that is opened elsewhere ends it within a second, and its
/// acknowledgements count no more, on whatever node they come.
#[tokio::test(flavor = "multi_thread")]
async fn another_stream_takes_it_over() {
    let one = Node::start();
    let other = Node::start_with(&["--nats-url", &one.nats_url()]);
    let cursors = publish(&one, 3).await;
    let mut former = Bot::open(&one, named("bot", filter(&[]))).await.unwrap();
    former.acknowledge(&one, &cursors[0]).await.unwrap();
    for node in [&other, &one, &other] {
        let began = Instant::now();
        let mut bot = Bot::open(node, named("bot", filter(&[]))).await.unwrap();
        let status = former.end().await;
        let expected = (Code::Aborted, "SUBSCRIPTION_TAKEN_OVER".to_owned());
        assert_eq!(refusal(&status), expected);
        assert!(began.elapsed() < ENDS * 3, "{:?}", began.elapsed());
        for node in [&one, &other] {
            let status = former.acknowledge(node, &cursors[2]).await.unwrap_err();
            assert_eq!(refusal(&status), expected);
        }
        assert_eq!(bot.reader.delivery().await.cursor, cursors[1]);
        // By any node; and never back.
        assert_eq!(
            bot.acknowledge(&one, &cursors[0]).await.unwrap(),
            cursors[0]
        );
        assert_eq!(
            bot.acknowledge(&other, &cursors[0]).await.unwrap(),
            cursors[0]
        );
        former = bot;
    }
    assert_eq!(
        former.acknowledge(&one, &cursors[2]).await.unwrap(),
        cursors[2]
    );
    assert_eq!(
        former.acknowledge(&other, &cursors[1]).await.unwrap(),
        cursors[2]
    );
}

/// What can't be is refused by name.
#[tokio::test]
async fn bad_subscriptions_are_refused() {
    let node = Node::start();
    let cursors = publish(&node, 1).await;
    for name in ["UPPER", "a b", "a.b", "*", &"a".repeat(65)] {
        let status = Bot::open(&node, named(name, filter(&[])))
            .await
            .err()
            .unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        assert_eq!(fields(&status), ["subscription"], "{name}");
    }
    let bot = Bot::open(&node, named("bot", filter(&[]))).await.unwrap();
    let future = format!("{}999", cursors[0]);
    let foreign = format!("zzzzzzzz-{}", seq(&cursors[0]));
    for (cursor, code, reason) in [
        (&*future, Code::OutOfRange, "CURSOR_IN_FUTURE"),
        (&foreign, Code::InvalidArgument, "CURSOR_FOREIGN"),
        ("", Code::InvalidArgument, "CURSOR_UNREADABLE"),
        ("x", Code::InvalidArgument, "CURSOR_UNREADABLE"),
    ] {
        let status = bot.acknowledge(&node, cursor).await.unwrap_err();
        assert_eq!(refusal(&status), (code, reason.to_owned()), "{cursor}");
    }
    let stranger = Bot {
        name: "none".to_owned(),
        ..bot
    };
    let status = stranger.acknowledge(&node, &cursors[0]).await.unwrap_err();
    let unknown = (Code::NotFound, "SUBSCRIPTION_UNKNOWN".to_owned());
    assert_eq!(refusal(&status), unknown);
    let stranger = Bot {
        name: "bot".to_owned(),
        token: String::new(),
        ..stranger
    };
    let status = stranger.acknowledge(&node, &cursors[0]).await.unwrap_err();
    let taken = (Code::Aborted, "SUBSCRIPTION_TAKEN_OVER".to_owned());
    assert_eq!(refusal(&status), taken);
}

fn in_topic(uri: &str, topic: &str) -> barid::wire::proto::v1::Article {
    barid::wire::proto::v1::Article {
        topics: vec![topic.to_owned()],
        ..noted(uri, "mended")
    }
}

/// Another filter counts from what is acknowledged on. Corrections and kills of what went out before
/// come all the same, and those of what did not stay away.
#[tokio::test(flavor = "multi_thread")]
async fn recalls_follow_what_was_sent_under_other_filters() {
    let node = Node::start();
    let mut bot = Bot::open(&node, named("bot", filter(&["ict"])))
        .await
        .unwrap();
    bot.reader.caught_up().await;
    node.publish(Action::Publish, in_topic("test:had", "ict"))
        .await
        .unwrap();
    node.publish(Action::Publish, in_topic("test:not", "diplomacy"))
        .await
        .unwrap();
    let had = bot.reader.delivery().await;
    bot.acknowledge(&node, &had.cursor).await.unwrap();
    drop(bot);

    let mut bot = Bot::open(&node, named("bot", filter(&["economy"])))
        .await
        .unwrap();
    bot.reader.caught_up().await;
    let later = in_topic("test:later", "ict");
    node.publish(Action::Publish, later).await.unwrap();
    for uri in ["test:had", "test:not", "test:later"] {
        node.publish(Action::Update, in_topic(uri, "ict"))
            .await
            .unwrap();
        node.publish(Action::Correct, in_topic(uri, "ict"))
            .await
            .unwrap();
        node.publish(Action::Kill, noted(uri, "false"))
            .await
            .unwrap();
    }
    node.publish(Action::Publish, in_topic("test:last", "economy"))
        .await
        .unwrap();
    let mut got = Vec::new();
    loop {
        let delivery = bot.reader.delivery().await;
        let uri = article_of(&delivery).uri;
        if uri == "test:last" {
            break;
        }
        got.push((uri, action(&delivery)));
    }
    let expected = [Action::Correct, Action::Kill].map(|action| ("test:had".to_owned(), action));
    assert_eq!(got, expected);
    let kept = shown(&node, "bot").await;
    assert_eq!(
        (kept.version, kept.filter.unwrap().topics),
        (2, vec!["economy".to_owned()])
    );

    let recall = async |uri: &str| {
        let request = GetRecallRequest {
            article_id: barid::article::ArticleId::from_uri(uri).to_string(),
            ..GetRecallRequest::default()
        };
        let mut client = RecipientServiceClient::new(node.channel());
        let answer = client.get_recall(request).await?.into_inner();
        let states: Vec<_> = answer.recipients.iter().map(|one| one.state()).collect();
        Ok::<_, Status>((answer.action(), states))
    };
    let sent = (Action::Kill, vec![RecallState::Sent]);
    assert_eq!(recall("test:had").await.unwrap(), sent);
    let never_had = (Action::Kill, vec![RecallState::NeverHad]);
    assert_eq!(recall("test:not").await.unwrap(), never_had);
    assert_eq!(recall("test:later").await.unwrap(), never_had);
    let status = recall("test:last").await.unwrap_err();
    assert_eq!(
        refusal(&status),
        (Code::FailedPrecondition, "NOT_RECALLED".to_owned())
    );
    eventually("an open recall is counted", async || {
        web::metric_of(&node, "barid_recalls_open", "").await == 1.0
    })
    .await;
    bot.acknowledge(&node, &shown(&node, "bot").await.sent)
        .await
        .unwrap();
    let acknowledged = (Action::Kill, vec![RecallState::Acknowledged]);
    assert_eq!(recall("test:had").await.unwrap(), acknowledged);
    eventually("no recall is open", async || {
        web::metric_of(&node, "barid_recalls_open", "").await == 0.0
    })
    .await;
}

/// Whoever lost a grant still gets what takes back what it had: text only of what it surely had.
#[tokio::test(flavor = "multi_thread")]
async fn recalls_follow_what_was_sent_under_another_grant() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (_, key) = desk.key("gazette", Role::Subscriber, None).await;
    let caller = Caller::new(&node, &key);
    eventually("the node knows the key", async || {
        caller.subscribe(everything()).await.is_ok()
    })
    .await;
    let open = async || Bot::open_as(&node, named("bot", filter(&[])), Some(&caller)).await;
    let publish = async |action: Action, article: barid::wire::proto::v1::Article| {
        desk.publish(crate::harness::request(action, article))
            .await
            .unwrap();
    };
    let mut bot = open().await.unwrap();
    bot.reader.caught_up().await;
    publish(Action::Publish, in_topic("test:had", "ict")).await;
    let had = bot.reader.delivery().await;
    bot.acknowledge_as(&node, &had.cursor, Some(&caller))
        .await
        .unwrap();
    drop(bot);
    publish(Action::Publish, in_topic("test:unsent", "ict")).await;
    let economy = |partner: &mut barid::wire::proto::v1::Partner| {
        partner.subscribe.as_mut().unwrap().topics = vec!["economy".to_owned()];
    };
    desk.update("gazette", economy).await;
    eventually("the grant is followed", async || {
        let refused = SubscribeRequest {
            filter: Some(filter(&["ict"])),
            ..everything()
        };
        caller.subscribe(refused).await.is_err()
    })
    .await;
    let mut bot = open().await.unwrap();
    bot.reader.caught_up().await;
    publish(Action::Correct, in_topic("test:had", "ict")).await;
    publish(Action::Correct, in_topic("test:unsent", "ict")).await;
    publish(Action::Publish, in_topic("test:last", "economy")).await;
    let got: Vec<String> = [bot.reader.delivery().await, bot.reader.delivery().await]
        .iter()
        .map(|delivery| article_of(delivery).uri)
        .collect();
    assert_eq!(got, ["test:had", "test:last"]);
}

/// Owners see and change their own, the desk all; a reset or a removal ends the stream.
#[tokio::test(flavor = "multi_thread")]
async fn owners_and_the_desk_administer_them() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    let mut keys = Vec::new();
    for name in ["gazette", "tribune"] {
        let mut partner = gazette();
        partner.name = name.to_owned();
        desk.partner(partner).await;
        let (_, key) = desk.key(name, Role::Subscriber, None).await;
        keys.push(Caller::new(&node, &key));
    }
    for caller in &keys {
        eventually("the node knows the key", async || {
            caller.subscribe(everything()).await.is_ok()
        })
        .await;
    }
    let mut bots = Vec::new();
    for caller in &keys {
        let bot = Bot::open_as(&node, named("bot", filter(&[])), Some(caller)).await;
        bots.push(bot.unwrap());
    }
    let client = || RecipientServiceClient::new(node.channel());
    let list = async |caller: &Caller, partner: &str| {
        let request = caller.request(ListSubscriptionsRequest {
            partner: partner.to_owned(),
            ..ListSubscriptionsRequest::default()
        });
        let listed = client().list_subscriptions(request).await?.into_inner();
        let names = listed.subscriptions.into_iter();
        Ok::<_, Status>(
            names
                .map(|one| format!("{}/{}", one.partner, one.name))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(list(&keys[0], "").await.unwrap(), ["gazette/bot"]);
    assert_eq!(
        list(&desk, "").await.unwrap(),
        ["gazette/bot", "tribune/bot"]
    );
    assert_eq!(list(&desk, "tribune").await.unwrap(), ["tribune/bot"]);
    let status = list(&keys[0], "tribune").await.unwrap_err();
    assert_eq!(
        refusal(&status),
        (Code::PermissionDenied, "ROLE_MISSING".to_owned())
    );

    let reset = async |caller: &Caller, partner: &str, to: Option<To>| {
        let request = caller.request(ResetSubscriptionRequest {
            partner: partner.to_owned(),
            name: "bot".to_owned(),
            to,
        });
        let answer = client().reset_subscription(request).await?.into_inner();
        Ok::<_, Status>(answer.subscription.unwrap())
    };
    let status = reset(&keys[1], "gazette", Some(To::Now(())))
        .await
        .unwrap_err();
    assert_eq!(refusal(&status).1, "ROLE_MISSING");
    let status = reset(&desk, "gazette", None).await.unwrap_err();
    assert_eq!(fields(&status), ["to"]);
    let future = To::After("abcdefgh-99999".to_owned());
    assert!(reset(&desk, "gazette", Some(future)).await.is_err());
    let kept = reset(&desk, "gazette", Some(To::Now(()))).await.unwrap();
    assert!(kept.connected_to.is_empty());
    let status = bots[0].end().await;
    assert_eq!(
        refusal(&status),
        (Code::Aborted, "SUBSCRIPTION_RESET".to_owned())
    );

    let delete = async |caller: &Caller, partner: &str| {
        let request = caller.request(DeleteSubscriptionRequest {
            partner: partner.to_owned(),
            name: "bot".to_owned(),
        });
        client().delete_subscription(request).await.map(drop)
    };
    assert_eq!(
        refusal(&delete(&keys[0], "tribune").await.unwrap_err()).1,
        "ROLE_MISSING"
    );
    delete(&keys[1], "").await.unwrap();
    let unknown = (Code::NotFound, "SUBSCRIPTION_UNKNOWN".to_owned());
    assert_eq!(refusal(&bots[1].end().await), unknown);
    assert_eq!(refusal(&delete(&keys[1], "").await.unwrap_err()), unknown);
    assert_eq!(list(&desk, "").await.unwrap(), ["gazette/bot"]);
}

/// A reset moves the place, forward and back.
#[tokio::test]
async fn a_reset_moves_the_place() {
    let node = Node::start();
    let cursors = publish(&node, 4).await;
    let mut request = named("bot", filter(&[]));
    request.start = from(StartFrom::Now(()));
    drop(Bot::open(&node, request.clone()).await.unwrap());
    let mut client = RecipientServiceClient::new(node.channel());
    for (to, expected) in [
        (To::Earliest(()), &cursors[..]),
        (To::After(cursors[2].clone()), &cursors[3..]),
        (To::Now(()), &[]),
    ] {
        let reset = ResetSubscriptionRequest {
            name: "bot".to_owned(),
            to: Some(to),
            ..ResetSubscriptionRequest::default()
        };
        client.reset_subscription(reset).await.unwrap();
        let mut bot = Bot::open(&node, request.clone()).await.unwrap();
        let got: Vec<String> = bot
            .reader
            .history()
            .await
            .into_iter()
            .map(|one| one.cursor)
            .collect();
        assert_eq!(got, expected);
    }
}

/// `tail` keeps its place in the log and acknowledges what it has printed; `subscription` and `recall`
/// show and change what there is.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_uses_and_shows_them() {
    let node = Node::start();
    let server = &server(&node);
    let tail = |more: &[&str]| {
        let args = [
            "tail",
            "--subscription",
            "desk",
            "--until-caught-up",
            "--output",
            "json",
        ];
        let said = run(&[&args[..], &[server], more].concat(), &[]);
        assert_eq!(said.code, Some(0), "{said:?}");
        let frames = said
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let deliveries = frames.filter(|frame| frame["frame"] == "delivery");
        deliveries
            .map(|frame| frame["cursor"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let cursors = publish(&node, 3).await;
    assert_eq!(tail(&["--from", "earliest"]), cursors);
    let killed = node
        .publish(Action::Kill, noted("test:0", "false"))
        .await
        .unwrap();
    let say = |args: &[&str]| {
        let said = run(&[args, &[server]].concat(), &[]);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.stdout
    };
    eventually("the list", async || {
        let listed = say(&["subscription", "list"]);
        listed.contains("desk  1 waiting") && listed.contains("not connected")
    })
    .await;
    let recall = say(&["recall", "test:0"]);
    assert!(
        recall.starts_with("kill ") && recall.contains("outstanding   desk"),
        "{recall}"
    );
    assert_eq!(tail(&[]), [killed.cursor]);
    let recall = say(&["recall", "test:0", "--output", "json"]);
    assert!(recall.contains(r#""state":"acknowledged""#), "{recall}");
    assert!(say(&["subscription", "show", "desk"]).contains("nothing waits"));
    let reset = say(&["subscription", "reset", "desk", "--to", &cursors[1]]);
    assert!(
        reset.contains(&format!("acknowledged  {}", cursors[1])),
        "{reset}"
    );
    assert_eq!(tail(&[]).len(), 2);
    say(&["subscription", "remove", "desk"]);
    let gone = run(&["subscription", "show", "desk", server], &[]);
    assert!(
        gone.code == Some(1) && gone.stderr.contains("SUBSCRIPTION_UNKNOWN"),
        "{gone:?}"
    );
    let bad = run(
        &["subscription", "reset", "desk", "--to", "last:3", server],
        &[],
    );
    assert_eq!(bad.code, Some(2), "{bad:?}");
}
