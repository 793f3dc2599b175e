//! Durable subscriptions as server-sent events: the same names, tokens and places as over gRPC.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    access::{Caller, gazette},
    durable::{Bot, named, publish, shown},
    harness::{Node, eventually, filter, noted, seq},
    http_articles::{Answer, send},
    sessions,
    sse::Stream,
};
use barid::wire::proto::v1::{
    Action, ResetSubscriptionRequest, Role, recipient_service_client::RecipientServiceClient,
    reset_subscription_request::To,
};

const PATH: &str = "/v1/stream?subscription=bot&from=earliest";
const ACKNOWLEDGE: &str = "/v1/subscriptions/bot/acknowledge";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A stream and its token.
async fn open(node: &Node, path: &str, last_id: Option<&str>) -> (Stream, String) {
    let mut stream = Stream::open(&node.http, path, last_id).await;
    let first = stream.event().await;
    assert_eq!(first.name, "opened");
    // It moves nothing: where a client resumes is what is acknowledged.
    assert_eq!(first.id, last_id.unwrap_or_default());
    let token = first.json()["token"].as_str().unwrap().to_owned();
    (stream, token)
}

async fn acknowledge(node: &Node, token: &str, cursor: &str) -> Answer {
    let body = json!({"token": token, "cursor": cursor}).to_string();
    send(&node.http, Method::POST, ACKNOWLEDGE, &[JSON], body).await
}

/// What is stored.
async fn stored(node: &Node, token: &str, cursor: &str) -> String {
    let answer = acknowledge(node, token, cursor).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let said: Value = serde_json::from_str(answer.text()).unwrap();
    said["cursor"].as_str().unwrap().to_owned()
}

fn refusal(answer: &Answer) -> (u16, String) {
    let problem: Value = serde_json::from_str(answer.text()).unwrap();
    let reason = problem["reason"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), reason)
}

async fn cursors_of(stream: &mut Stream) -> Vec<String> {
    let history = stream.history().await;
    history.into_iter().map(|event| event.id).collect()
}

/// It goes on after what is acknowledged, whatever its client saw last, over both protocols; and one
/// stream has it at a time, of either.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_one_for_both_protocols() {
    let one = Node::start();
    let other = Node::start_with(&["--nats-url", &one.nats_url()]);
    let cursors = publish(&one, 4).await;
    let (mut stream, token) = open(&one, PATH, None).await;
    assert_eq!(cursors_of(&mut stream).await, cursors);
    assert_eq!(stored(&one, &token, &cursors[1]).await, cursors[1]);
    assert_eq!(stored(&other, &token, &cursors[0]).await, cursors[1]);
    assert_eq!(shown(&one, "bot").await.cursor, cursors[1]);

    // Its EventSource would come back and take it over again: it is told not to, and why.
    let mut bot = Bot::open(&other, named("bot", filter(&[]))).await.unwrap();
    let end = stream.event().await;
    assert_eq!(end.name, "ended");
    assert_eq!(end.json()["reason"], "SUBSCRIPTION_TAKEN_OVER");
    assert_eq!(stream.retry, Some(86_400_000));
    assert_eq!(stream.next().await, None);
    let taken = (409, "SUBSCRIPTION_TAKEN_OVER".to_owned());
    for node in [&one, &other] {
        assert_eq!(
            refusal(&acknowledge(node, &token, &cursors[3]).await),
            taken
        );
    }
    assert_eq!(bot.reader.delivery().await.cursor, cursors[2]);
    bot.acknowledge(&one, &cursors[2]).await.unwrap();

    // A client that saw more than it acknowledged gets that again.
    let (mut stream, token) = open(&one, PATH, Some(&cursors[3])).await;
    assert_eq!(cursors_of(&mut stream).await, cursors[3..]);
    assert_eq!(stored(&other, &token, &cursors[3]).await, cursors[3]);
    let killed = one.publish(Action::Kill, noted("test:0", "false")).await;
    let killed = killed.unwrap().cursor;
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), &event.id), ("kill", &killed));
    let shown = shown(&other, "bot").await;
    assert!(seq(&shown.cursor) == seq(&cursors[3]) && shown.lag_articles == 1);

    // One that was set to another place is to come back at once; of a name that is gone, not.
    let mut client = RecipientServiceClient::new(other.channel());
    let reset = ResetSubscriptionRequest {
        name: "bot".to_owned(),
        to: Some(To::Earliest(())),
        ..ResetSubscriptionRequest::default()
    };
    client.reset_subscription(reset).await.unwrap();
    assert_eq!(stream.next().await, None);
    assert_eq!(stream.comments.last().unwrap(), "SUBSCRIPTION_RESET");
    assert!(stream.retry.unwrap() < 2000);
}

/// What can't be is refused by name.
#[tokio::test(flavor = "multi_thread")]
async fn bad_acknowledgements_are_refused() {
    let node = Node::start();
    let cursors = publish(&node, 1).await;
    let (_stream, token) = open(&node, PATH, None).await;
    let future = format!("{}999", cursors[0]);
    let foreign = format!("zzzzzzzz-{}", seq(&cursors[0]));
    for (cursor, reason) in [
        (future.as_str(), "CURSOR_IN_FUTURE"),
        (&foreign, "CURSOR_FOREIGN"),
        ("", "CURSOR_UNREADABLE"),
    ] {
        let answer = acknowledge(&node, &token, cursor).await;
        assert_eq!(refusal(&answer), (400, reason.to_owned()), "{cursor}");
    }
    let good = json!({"token": token, "cursor": cursors[0]}).to_string();
    let post = async |name: &str, kind: (&str, &str), body: &str| {
        let path = format!("/v1/subscriptions/{name}/acknowledge");
        refusal(&send(&node.http, Method::POST, &path, &[kind], body.to_owned()).await)
    };
    let plain = ("content-type", "text/plain");
    for (name, kind, body, status, reason) in [
        ("none", JSON, good.as_str(), 404, "SUBSCRIPTION_UNKNOWN"),
        ("UPPER", JSON, &good, 400, "FIELD_INVALID"),
        ("%ff", JSON, &good, 400, "FIELD_INVALID"),
        ("bot", plain, &good, 415, "MEDIA_TYPE_UNSUPPORTED"),
        ("bot", JSON, "{}", 400, "FIELD_INVALID"),
        ("bot", JSON, "[", 400, "FIELD_INVALID"),
        (
            "bot",
            JSON,
            &good.replace("token", "toke"),
            400,
            "FIELD_INVALID",
        ),
        ("bot?x=1", JSON, &good, 404, "PATH_UNKNOWN"),
    ] {
        let expected = (status, reason.to_owned());
        assert_eq!(post(name, kind, body).await, expected, "{name} {body}");
    }
    let large = format!("{{\"token\": \"{}\"", "a".repeat(5000));
    assert_eq!(post("bot", JSON, &large).await.0, 413);
    for name in ["UPPER", "a.b", ""] {
        let path = format!("/v1/stream?subscription={name}");
        let (status, problem) = crate::web::problem(&node.http, crate::web::get(&path)).await;
        assert_eq!((status, &problem["reason"]), (400, &json!("FIELD_INVALID")));
        assert_eq!(problem["errors"][0]["field"], "subscription", "{problem}");
    }
    assert_eq!(
        shown(&node, "bot").await.cursor,
        format!("{}-0", &cursors[0][..8])
    );
}

/// A page takes it in its session, and proves that it asks when it acknowledges; a partner's are its
/// own.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_acknowledges_in_its_session() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (_, key) = desk.key("gazette", Role::Subscriber, None).await;
    let mut begun = None;
    eventually("the node knows the key", async || {
        let headers = [("authorization", &*format!("Bearer {key}"))];
        let answer = send(&node.http, Method::POST, "/v1/session", &headers, "").await;
        let is_in = answer.status == StatusCode::CREATED;
        begun = is_in.then_some(answer);
        is_in
    })
    .await;
    let begun = begun.unwrap();
    let cookie = sessions::cookie(&begun.headers);
    let who: Value = serde_json::from_str(begun.text()).unwrap();
    let csrf = who["csrf_token"].as_str().unwrap();
    let mut request = crate::web::get(PATH);
    request
        .headers_mut()
        .insert("cookie", cookie.parse().unwrap());
    let mut stream = Stream::of(crate::web::open(&node.http, request).await);
    let opened = stream.event().await;
    let place = stream.event().await;
    assert_eq!(
        (opened.name.as_str(), place.name.as_str()),
        ("opened", "caught-up")
    );
    let body = json!({"token": opened.json()["token"], "cursor": place.id}).to_string();
    let post = async |headers: &[(&str, &str)]| {
        let headers = [&[JSON], headers].concat();
        send(
            &node.http,
            Method::POST,
            ACKNOWLEDGE,
            &headers,
            body.clone(),
        )
        .await
    };
    let answer = post(&[("cookie", &cookie)]).await;
    assert_eq!(refusal(&answer), (403, "CSRF_TOKEN_INVALID".to_owned()));
    let answer = post(&[("cookie", &cookie), ("x-csrf-token", csrf)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let others = format!("Bearer {}", node.key("subscriber"));
    let answer = post(&[("authorization", &others)]).await;
    assert_eq!(refusal(&answer), (404, "SUBSCRIPTION_UNKNOWN".to_owned()));
}
