//! WebSub: feeds tell their hub, who confirms is sent them, signed and again until it takes them, and
//! nobody else.

use std::collections::HashSet;

use barid::wire::proto::v1::{
    Action, Article, DeleteWebhookRequest, ListWebhooksRequest, PauseWebhookRequest, Role, Webhook,
    WebhookFormat, webhook_service_client::WebhookServiceClient,
};
use hyper::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use url::form_urlencoded;

use crate::{
    access::{Caller, gazette, story},
    certificates::Authority,
    clients,
    harness::{Node, article, eventually, noted, refusal},
    http_articles::{Answer, get, get_unless, send},
    nats::Nats,
    webhooks::CALLS,
    websub::subscriber::{Intent, Subscriber},
};

pub mod subscriber;

const HUB: &str = "/v1/hub";
/// By which name the test asks.
const ATOM: &str = "http://barid.test/feeds/all.atom";

/// Sends a form to the hub, with a key or with none.
async fn post(node: &Node, key: &str, fields: &[(&str, &str)]) -> Answer {
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let bearer = format!("Bearer {key}");
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    if !key.is_empty() {
        headers.push(("authorization", &bearer));
    }
    send(&node.http, Method::POST, HUB, &headers, form).await
}

/// Asks for a feed; what it asks for is checked by nobody but the hub.
async fn ask(node: &Node, mode: &str, topic: &str, callback: &str, more: &[(&str, &str)]) {
    let fields = [
        ("hub.mode", mode),
        ("hub.topic", topic),
        ("hub.callback", callback),
    ];
    let answer = post(node, "", &[&fields[..], more].concat()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
}

/// All that is subscribed to, or webhooks otherwise, for whoever has this key.
async fn listed(node: &Node, key: &str) -> Vec<Webhook> {
    let mut client = WebhookServiceClient::new(node.channel());
    let request = Caller::over(node.channel(), key).request(ListWebhooksRequest::default());
    let listed = client.list_webhooks(request).await.unwrap();
    listed.into_inner().webhooks
}

/// Waits until a subscription is as it should be.
async fn listed_as(
    node: &Node,
    key: &str,
    what: &str,
    is_so: impl Fn(&Webhook) -> bool,
) -> Webhook {
    let mut found = None;
    eventually(what, async || {
        found = listed(node, key).await.into_iter().find(|one| is_so(one));
        found.is_some()
    })
    .await;
    found.unwrap()
}

fn is_confirmed(webhook: &Webhook) -> bool {
    let feed = webhook.feed.as_ref();
    feed.is_some_and(|feed| feed.lease_ends.is_some() && !feed.unconfirmed)
}

/// Subscribes, and waits until that counts.
async fn subscribe(node: &Node, subscriber: &Subscriber, name: &str, more: &[(&str, &str)]) {
    let url = subscriber.url(name);
    ask(node, "subscribe", ATOM, &url, more).await;
    let is_it = |webhook: &Webhook| webhook.url == url && is_confirmed(webhook);
    listed_as(node, "", "the subscription counts", is_it).await;
}

async fn publish(node: &Node, uri: &str) {
    let message = article(uri, &format!("headline of {uri}."));
    node.publish(Action::Publish, message).await.unwrap();
}

fn headline(uri: &str) -> String {
    format!("headline of {uri}.")
}

/// Every form of feed says in its head and in its text where it is subscribed to, also if it has not
/// changed.
#[tokio::test]
async fn feeds_tell_their_hub() {
    for (args, base) in [
        (&[][..], "http://barid.test"),
        (
            &["--public-url", "https://wire.example"],
            "https://wire.example",
        ),
    ] {
        let node = Node::start_with(args);
        for (path, inside) in [
            (
                "/feeds/all.atom",
                format!("href=\"{base}/v1/hub\" rel=\"hub\""),
            ),
            (
                "/feeds/ict.rss?language=ar",
                format!("href=\"{base}/v1/hub\" rel=\"hub\""),
            ),
            (
                "/feeds/all.json",
                format!("\"hubs\":[{{\"type\":\"WebSub\",\"url\":\"{base}/v1/hub\"}}]"),
            ),
        ] {
            let links = format!("<{base}/v1/hub>; rel=\"hub\", <{base}{path}>; rel=\"self\"");
            let answer = get(&node, path).await;
            assert_eq!(answer.header("link"), links);
            assert!(
                answer.text().contains(&inside),
                "{inside}: {}",
                answer.text()
            );
            let same = get_unless(&node, path, answer.header("etag")).await;
            assert_eq!(
                (same.status, same.header("link")),
                (StatusCode::NOT_MODIFIED, &*links)
            );
            let head = send(&node.http, Method::HEAD, path, &[], "").await;
            assert_eq!(
                (head.status, head.header("link")),
                (StatusCode::OK, &*links)
            );
        }
    }
}

/// Who confirms is sent the feed as it is, whenever it changes: its type, its links, signed; unknown
/// fields are nobody's, and the callback's own parameters stay.
#[tokio::test(flavor = "multi_thread")]
async fn who_confirms_is_sent_the_feed() {
    let (node, subscriber) = (Node::start_with(&CALLS), Subscriber::start().await);
    publish(&node, "test:before").await;
    for (name, path, kind, secret) in [
        (
            "atom",
            "/feeds/all.atom",
            "application/atom+xml; charset=utf-8",
            Some("s".repeat(199)),
        ),
        (
            "rss",
            "/feeds/general.rss",
            "application/rss+xml; charset=utf-8",
            None,
        ),
        (
            "json",
            "/feeds/all.json?language=en",
            "application/feed+json",
            Some("سر".to_owned()),
        ),
    ] {
        let topic = format!("http://barid.test{path}");
        let callback = format!("{}?a=1&hub.mode=own&b=%20", subscriber.url(name));
        let mut more = vec![
            ("hub.lease_seconds", "3600"),
            ("hub.verify", "async"),
            ("x", "y"),
        ];
        if let Some(secret) = &secret {
            more.push(("hub.secret", secret));
        }
        ask(&node, "subscribe", &topic, &callback, &more).await;
        let asked = subscriber.was_asked(name, 1).await;
        // Of two parameters of a name the reader takes the last one, which is the hub's.
        let expected = [
            ("a", "1"),
            ("b", " "),
            ("hub.mode", "subscribe"),
            ("hub.topic", &topic),
        ];
        for (name, value) in expected {
            assert_eq!(asked[name], value, "{asked:?}");
        }
        assert_eq!(asked["hub.lease_seconds"], "3600");
        assert!(asked["hub.challenge"].len() >= 32, "{asked:?}");
        let is_it = |webhook: &Webhook| webhook.url == callback && is_confirmed(webhook);
        let webhook = listed_as(&node, "", "the subscription", is_it).await;
        assert_eq!(webhook.format(), WebhookFormat::Feed);
        let feed = webhook.feed.unwrap();
        assert_eq!((&feed.topic, feed.signed), (&topic, secret.is_some()));
        let ends = feed.lease_ends.unwrap().seconds - crate::access::now();
        assert!((3500..=3600).contains(&ends), "{ends}");

        let uri = format!("test:{name}");
        publish(&node, &uri).await;
        let has_it = |content: &subscriber::Content| content.body.contains(&headline(&uri));
        let content = subscriber.was_sent(name, has_it).await;
        assert!(content.body.contains(&headline("test:before")));
        assert_eq!(content.header("content-type"), kind);
        let links = format!("<http://barid.test{HUB}>; rel=\"hub\", <{topic}>; rel=\"self\"");
        assert_eq!(content.header("link"), links);
        assert!(
            content.is_signed(secret.as_deref()),
            "{:?}",
            content.headers
        );
        assert_eq!(content.body, get(&node, path).await.text());
    }
    // Challenges are never the same.
    let challenges =
        ["atom", "rss", "json"].map(|name| subscriber.asked(name)[0]["hub.challenge"].clone());
    assert!(challenges[0] != challenges[1] && challenges[1] != challenges[2]);
    // Another topic's news is no reason to send a feed.
    let has_last = |content: &subscriber::Content| content.body.contains(&headline("test:json"));
    subscriber.was_sent("rss", has_last).await;
    let count = subscriber.content("rss").len();
    let other = Article {
        topics: vec!["ict".to_owned()],
        ..article("test:ict", "headline of test:ict.")
    };
    node.publish(Action::Publish, other).await.unwrap();
    subscriber
        .was_sent("atom", |content| {
            content.body.contains(&headline("test:ict"))
        })
        .await;
    publish(&node, "test:general").await;
    let last = subscriber
        .was_sent("rss", |content| {
            content.body.contains(&headline("test:general"))
        })
        .await;
    assert!(!last.body.contains("test:ict"));
    assert_eq!(subscriber.content("rss").len(), count + 1);
}

/// Who does not confirm is sent nothing and leaves nothing behind; what counted before goes on. Who
/// could not answer is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_sent_anything() {
    let (node, subscriber) = (Node::start_with(&CALLS), Subscriber::start().await);
    let intents = [
        ("wrong", Intent::Wrong),
        ("missing", Intent::Status(404)),
        ("gone", Intent::Status(410)),
        ("moved", Intent::Status(302)),
    ];
    for (name, intent) in intents {
        subscriber.set(name, intent, 200);
        ask(&node, "subscribe", ATOM, &subscriber.url(name), &[]).await;
        subscriber.was_asked(name, 1).await;
    }
    eventually("nothing is subscribed to", async || {
        listed(&node, "").await.is_empty()
    })
    .await;
    subscriber.set("later", Intent::Status(503), 200);
    ask(&node, "subscribe", ATOM, &subscriber.url("later"), &[]).await;
    subscriber.was_asked("later", 1).await;
    subscriber.set("later", Intent::Confirm, 200);
    // A newer wish is followed though the one before waits for its next try.
    subscriber.set("again", Intent::Status(503), 200);
    ask(&node, "subscribe", ATOM, &subscriber.url("again"), &[]).await;
    subscriber.was_asked("again", 1).await;
    subscriber.set("again", Intent::Confirm, 200);
    subscribe(&node, &subscriber, "again", &[]).await;

    subscribe(&node, &subscriber, "hook", &[("hub.secret", "one")]).await;
    for (mode, count) in [("subscribe", 2), ("unsubscribe", 3)] {
        subscriber.set("hook", Intent::Wrong, 200);
        let more = [("hub.secret", "two"), ("hub.lease_seconds", "1")];
        ask(&node, mode, ATOM, &subscriber.url("hook"), &more).await;
        let asked = subscriber.was_asked("hook", count).await;
        assert_eq!(asked["hub.mode"], mode);
        let url = subscriber.url("hook");
        let is_it = |webhook: &Webhook| webhook.url == url && is_confirmed(webhook);
        listed_as(&node, "", "it counts as before", is_it).await;
    }
    let later = subscriber.url("later");
    let is_it = |webhook: &Webhook| webhook.url == later && is_confirmed(webhook);
    listed_as(&node, "", "it is asked again", is_it).await;
    assert!(subscriber.asked("later").len() >= 2);
    publish(&node, "test:1").await;
    for (name, secret) in [("hook", Some("one")), ("later", None), ("again", None)] {
        let content = subscriber
            .was_sent(name, |content| content.body.contains(&headline("test:1")))
            .await;
        assert!(content.is_signed(secret));
    }
    for (name, _) in intents {
        assert!(subscriber.content(name).is_empty(), "{name}");
    }
}

/// A lease that is renewed has another end and another secret; one that is not ends, and one that is
/// unsubscribed ends at once.
#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_and_end() {
    let (node, subscriber) = (Node::start_with(&CALLS), Subscriber::start().await);
    subscribe(&node, &subscriber, "kept", &[("hub.lease_seconds", "3")]).await;
    let more = [("hub.lease_seconds", "99999999999"), ("hub.secret", "new")];
    ask(&node, "subscribe", ATOM, &subscriber.url("kept"), &more).await;
    let asked = subscriber.was_asked("kept", 2).await;
    let month = (30 * 24 * 3600).to_string();
    assert_eq!(asked["hub.lease_seconds"], month);
    subscribe(&node, &subscriber, "default", &[]).await;
    let ten_days = (10 * 24 * 3600).to_string();
    assert_eq!(
        subscriber.asked("default")[0]["hub.lease_seconds"],
        ten_days
    );
    subscribe(&node, &subscriber, "short", &[("hub.lease_seconds", "2")]).await;

    let urls = async || -> Vec<String> {
        let all = listed(&node, "").await.into_iter();
        all.map(|webhook| webhook.url).collect()
    };
    eventually("the short one ends", async || {
        !urls().await.contains(&subscriber.url("short"))
    })
    .await;
    assert_eq!(urls().await.len(), 2);
    ask(&node, "unsubscribe", ATOM, &subscriber.url("default"), &[]).await;
    let asked = subscriber.was_asked("default", 2).await;
    assert_eq!(
        (&*asked["hub.mode"], asked.get("hub.lease_seconds")),
        ("unsubscribe", None)
    );
    eventually("it is unsubscribed", async || urls().await.len() == 1).await;

    publish(&node, "test:1").await;
    let content = subscriber
        .was_sent("kept", |content| content.body.contains(&headline("test:1")))
        .await;
    assert!(content.is_signed(Some("new")));
    for name in ["default", "short"] {
        assert!(subscriber.content(name).is_empty(), "{name}");
    }
    let fields = [
        ("hub.mode", "unsubscribe"),
        ("hub.topic", ATOM),
        ("hub.callback", &*subscriber.url("default")),
    ];
    let unknown = post(&node, "", &fields).await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.json()["reason"]),
        (404, &json!("SUBSCRIPTION_UNKNOWN"))
    );
}

/// Corrections change what is sent, and what is killed is in nothing that is sent after it, though a
/// callback has kept its hub waiting; news that came meanwhile comes at once. 410 ends it.
#[tokio::test(flavor = "multi_thread")]
async fn corrections_and_kills_follow() {
    let (node, subscriber) = (Node::start_with(&CALLS), Subscriber::start().await);
    for name in ["quick", "slow"] {
        subscribe(&node, &subscriber, name, &[("hub.secret", "s")]).await;
    }
    subscriber.hold("slow", true);
    publish(&node, "test:1").await;
    publish(&node, "test:2").await;
    eventually("the slow one is sent something", async || {
        !subscriber.content("slow").is_empty()
    })
    .await;
    let corrected = Article {
        headline: "put right".to_owned(),
        ..noted("test:1", "it was wrong")
    };
    node.publish(Action::Correct, corrected).await.unwrap();
    // Who does not answer holds nobody else up.
    subscriber
        .was_sent("quick", |content| content.body.contains("put right"))
        .await;
    node.publish(Action::Kill, noted("test:2", "it is false"))
        .await
        .unwrap();
    let is_clean = |content: &subscriber::Content| {
        content.body.contains("put right") && !content.body.contains(&headline("test:2"))
    };
    subscriber.was_sent("quick", is_clean).await;
    subscriber.hold("slow", false);
    let last = subscriber.was_sent("slow", is_clean).await;
    assert!(last.is_signed(Some("s")));
    let count = subscriber.content("slow").len();
    assert!(
        count <= 3,
        "{count} times, and the second has all that came meanwhile"
    );

    subscriber.set("quick", Intent::Confirm, 410);
    publish(&node, "test:3").await;
    let url = subscriber.url("quick");
    eventually("who is gone is sent nothing more", async || {
        listed(&node, "")
            .await
            .iter()
            .all(|webhook| webhook.url != url)
    })
    .await;
    let count = subscriber.content("quick").len();
    publish(&node, "test:4").await;
    subscriber
        .was_sent("slow", |content| content.body.contains(&headline("test:4")))
        .await;
    assert_eq!(subscriber.content("quick").len(), count);
}

/// A node that is killed while a callback is sent something, and before another has confirmed, does
/// both when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_over_a_crash() {
    let mut node = Node::start_with(&CALLS);
    let subscriber = Subscriber::start().await;
    subscribe(&node, &subscriber, "hook", &[("hub.secret", "s")]).await;
    subscriber.hold("hook", true);
    publish(&node, "test:1").await;
    eventually("it is sent something", async || {
        subscriber.content("hook").len() == 1
    })
    .await;
    publish(&node, "test:2").await;
    subscriber.set("new", Intent::Status(503), 200);
    ask(&node, "subscribe", ATOM, &subscriber.url("new"), &[]).await;
    subscriber.was_asked("new", 1).await;
    node.kill();
    subscriber.hold("hook", false);
    subscriber.set("new", Intent::Confirm, 200);
    node.start_again().await;
    let has_both = |content: &subscriber::Content| {
        let body = &content.body;
        body.contains(&headline("test:1")) && body.contains(&headline("test:2"))
    };
    let content = subscriber.was_sent("hook", has_both).await;
    assert!(content.is_signed(Some("s")));
    let url = subscriber.url("new");
    let is_it = |webhook: &Webhook| webhook.url == url && is_confirmed(webhook);
    listed_as(&node, "", "the wish was kept", is_it).await;
    publish(&node, "test:3").await;
    for name in ["hook", "new"] {
        subscriber
            .was_sent(name, |content| content.body.contains(&headline("test:3")))
            .await;
    }
}

/// Of two nodes one works a subscription; when it dies the other does, from where it was.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_takes_over() {
    let nats = Nats::start().await;
    let url = nats.url();
    let args = [&["--nats-url", url.as_str()][..], &CALLS].concat();
    let mut nodes: Vec<Node> = (0..2).map(|_| Node::start_with(&args)).collect();
    let subscriber = Subscriber::start().await;
    // Each node works some of them.
    let names: Vec<String> = (0..6).map(|number| format!("hook{number}")).collect();
    for name in &names {
        subscribe(&nodes[0], &subscriber, name, &[]).await;
    }
    let workers: HashSet<String> = {
        let all = listed(&nodes[0], "").await.into_iter();
        all.map(|webhook| webhook.health.unwrap().node).collect()
    };
    for name in &names {
        subscriber.hold(name, true);
    }
    publish(&nodes[1], "test:1").await;
    for name in &names {
        eventually("it is sent something", async || {
            !subscriber.content(name).is_empty()
        })
        .await;
    }
    publish(&nodes[1], "test:2").await;
    nodes[0].kill();
    for name in &names {
        subscriber.hold(name, false);
    }
    for name in &names {
        let has_both = |content: &subscriber::Content| {
            let body = &content.body;
            body.contains(&headline("test:1")) && body.contains(&headline("test:2"))
        };
        subscriber.was_sent(name, has_both).await;
        let count = subscriber.content(name).len();
        assert!(
            count <= 3,
            "{name} is sent something {count} times: {workers:?}"
        );
    }
}

/// A subscription is sent what its key's partner may read, and ends with its key; the desk sees and
/// removes it, and who has it hears of both.
#[tokio::test(flavor = "multi_thread")]
async fn keys_bound_subscriptions() {
    let node = Node::start_with_keys(&CALLS);
    let subscriber = Subscriber::start().await;
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let mut nothing = gazette();
    (nothing.name, nothing.subscribe) = ("tribune".to_owned(), None);
    desk.partner(nothing).await;
    let (id, key) = desk.key("gazette", Role::Subscriber, None).await;
    let (_, desk_key) = desk.key("gazette", Role::Desk, None).await;
    let (_, publisher) = desk.key("gazette", Role::Publisher, None).await;
    let (_, poor) = desk.key("tribune", Role::Desk, None).await;
    let try_ask = async |key: &str, name: &str| {
        let fields = [
            ("hub.mode", "subscribe"),
            ("hub.topic", ATOM),
            ("hub.callback", &*subscriber.url(name)),
        ];
        let answer = post(&node, key, &fields).await;
        let reason = match answer.status {
            StatusCode::ACCEPTED => String::new(),
            _ => answer.json()["reason"].as_str().unwrap().to_owned(),
        };
        (answer.status.as_u16(), reason)
    };
    let refused = |status, reason: &str| (status, reason.to_owned());
    assert_eq!(try_ask("", "none").await, refused(401, "KEY_MISSING"));
    eventually("the keys are known", async || {
        try_ask(&poor, "poor").await == refused(403, "NOT_GRANTED")
    })
    .await;
    assert_eq!(
        try_ask(&publisher, "publisher").await,
        refused(403, "ROLE_MISSING")
    );
    for (key, name) in [(&key, "hook"), (&desk_key, "desk")] {
        assert_eq!(try_ask(key, name).await, refused(202, ""));
        let url = subscriber.url(name);
        let is_it = |webhook: &Webhook| webhook.url == url && is_confirmed(webhook);
        let webhook = listed_as(&node, key, "it counts", is_it).await;
        assert_eq!(webhook.partner, "gazette");
    }
    let publish = async |uri: &str, topic: &str| {
        desk.publish(story(uri, &[topic])).await.unwrap();
    };
    publish("test:economy", "economy").await;
    publish("test:ict", "ict").await;
    for name in ["hook", "desk"] {
        let content = subscriber
            .was_sent(name, |content| content.body.contains("test:ict"))
            .await;
        // Also for the desk: what its partner may read.
        assert!(!content.body.contains("test:economy"), "{}", content.body);
    }
    desk.revoke(&id).await;
    let asked = subscriber.was_asked("hook", 2).await;
    assert_eq!(
        (&*asked["hub.mode"], &*asked["hub.topic"]),
        ("denied", ATOM)
    );
    let url = subscriber.url("hook");
    eventually("it is gone", async || {
        listed(&node, &desk_key)
            .await
            .iter()
            .all(|webhook| webhook.url != url)
    })
    .await;
    let count = subscriber.content("hook").len();
    publish("test:after", "ict").await;
    subscriber
        .was_sent("desk", |content| content.body.contains("test:after"))
        .await;
    assert_eq!(subscriber.content("hook").len(), count);

    // Nobody pauses what another manages; the desk may remove it.
    let [webhook] = &listed(&node, &desk_key).await[..] else {
        panic!("not one")
    };
    let mut client = WebhookServiceClient::new(node.channel());
    let pause = PauseWebhookRequest {
        id: webhook.id.clone(),
    };
    let paused = client.pause_webhook(desk.request(pause)).await;
    assert_eq!(refusal(&paused.unwrap_err()).1, "WEBHOOK_SUBSCRIBED");
    let delete = DeleteWebhookRequest {
        id: webhook.id.clone(),
    };
    client.delete_webhook(desk.request(delete)).await.unwrap();
    let asked = subscriber.was_asked("desk", 2).await;
    assert_eq!(asked["hub.mode"], "denied");
    assert!(!asked["hub.reason"].is_empty());
    assert!(listed(&node, &desk_key).await.is_empty());
}

/// What is wrong with a request is said of each field; nothing inside is called, and there are only so
/// many.
#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused() {
    let node = Node::start();
    let good = [
        ("hub.mode", "subscribe"),
        ("hub.topic", ATOM),
        ("hub.callback", "https://news.example/hook"),
    ];
    let refused = async |field: &str, value: Option<&str>, reason: &str| {
        let mut fields: Vec<_> = good
            .into_iter()
            .filter(|(name, _)| *name != field)
            .collect();
        fields.extend(value.map(|value| (field, value)));
        let answer = post(&node, "", &fields).await;
        let problem = answer.json();
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{field} {value:?}: {problem}"
        );
        assert_eq!(problem["errors"][0]["field"], field, "{value:?}: {problem}");
        assert_eq!(problem["reason"], reason, "{field} {value:?}: {problem}");
    };
    for (field, value) in [
        ("hub.mode", None),
        ("hub.mode", Some("")),
        ("hub.mode", Some("publish")),
        ("hub.callback", None),
        ("hub.callback", Some("news.example")),
        ("hub.callback", Some("ftp://news.example/")),
        ("hub.callback", Some("https://user:pass@news.example/")),
        ("hub.callback", Some("https://news.example:25/")),
        ("hub.callback", Some("https://news.example/\r\n")),
        ("hub.topic", None),
        ("hub.lease_seconds", Some("0")),
        ("hub.lease_seconds", Some("-1")),
        ("hub.lease_seconds", Some("1e3")),
        ("hub.secret", Some(&*"s".repeat(200))),
        ("hub.secret", Some(&*"ش".repeat(100))),
    ] {
        refused(field, value, "FIELD_INVALID").await;
    }
    for topic in [
        "http://elsewhere.test/feeds/all.atom",
        "http://barid.test.elsewhere.test/feeds/all.atom",
        "https://barid.test/feeds/all.atom",
        "http://barid.test/feeds/all.xml",
        "http://barid.test/feeds/ICT.atom",
        "http://barid.test/v1/articles",
        "http://barid.test/feeds/all.atom?",
        "http://barid.test/feeds/all.atom?language=AR",
        "http://barid.test/feeds/all.atom?lang=ar",
        "http://barid.test/feeds/all.atom#top",
        "/feeds/all.atom",
    ] {
        refused("hub.topic", Some(topic), "FEED_UNKNOWN").await;
    }
    for callback in [
        "http://news.example/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest",
    ] {
        refused("hub.callback", Some(callback), "TARGET_REFUSED").await;
    }
    let unknown = [
        good[0],
        ("hub.topic", "http://barid.test/feeds/ict.nowhere.rss"),
        good[2],
    ];
    let answer = post(&node, "", &unknown).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["reason"]),
        (404, &json!("FEED_UNKNOWN"))
    );
    let twice = post(&node, "", &[&good[..], &good[..1]].concat()).await;
    assert_eq!(
        twice.json()["errors"][0]["field"],
        "hub.mode",
        "{}",
        twice.text()
    );
    let all = post(&node, "", &[("hub.mode", "x")]).await.json();
    assert_eq!(all["errors"].as_array().unwrap().len(), 3, "{all}");
    let plain = send(&node.http, Method::POST, HUB, &[], "hub.mode=subscribe").await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let got = get(&node, HUB).await;
    assert_eq!((got.status.as_u16(), got.header("allow")), (405, "POST"));
    assert!(listed(&node, "").await.is_empty());

    let (open, subscriber) = (Node::start_with(&CALLS), Subscriber::start().await);
    for number in 0..100 {
        ask(
            &open,
            "subscribe",
            ATOM,
            &subscriber.url(&number.to_string()),
            &[],
        )
        .await;
    }
    eventually("all count", async || {
        let listed = listed(&open, "").await;
        listed.len() == 100 && listed.iter().all(is_confirmed)
    })
    .await;
    let fields = [good[0], good[1], ("hub.callback", &*subscriber.url("100"))];
    let full = post(&open, "", &fields).await;
    assert_eq!(
        (full.status.as_u16(), &full.json()["reason"]),
        (429, &json!("WEBHOOKS_MAX"))
    );
    // Who is there already may renew.
    ask(&open, "subscribe", ATOM, &subscriber.url("7"), &[]).await;
}

/// A subscriber that others wrote finds the hub, subscribes over TLS, verifies what it is sent, and
/// unsubscribes.
#[tokio::test(flavor = "multi_thread")]
async fn subscribed_to_by_others() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let pair = authority.pair("server");
    let node = Node::start_with(&[&pair.flags()[..], &CALLS].concat());
    let ca = authority.pem.to_str().unwrap().to_owned();
    let (http, grpc) = (node.http.clone(), node.grpc.clone());
    tokio::task::spawn_blocking(move || clients::check("websub.py", &[&grpc, &http, &ca]))
        .await
        .unwrap();
}
