//! How a node is, told to programs and shown to the desk; and what the desk's forms do.

use barid::wire::proto::v1::{Action, Role};
use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::{
    access::{Caller, gazette},
    harness::{Node, article, eventually, new_id},
    http_articles::{Answer, get, send},
    nats::Nats,
    web,
};

async fn status(node: &Node) -> Value {
    let answer = get(node, "/v1/status").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

/// A node tells of its NATS, its log, its subscribers and of what went through.
#[tokio::test(flavor = "multi_thread")]
async fn tells_how_it_is() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (id, key) = desk.key("gazette", Role::Subscriber, None).await;
    let monitor = node.key("monitor");
    let asked = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let answer = send(&node.http, Method::GET, "/v1/status", &headers, "").await;
        answer.json()
    };
    eventually("the node is well", async || {
        let status = asked(&monitor).await;
        status["node"]["ready"] == true && status["log"]["stored"]["replicas"] == 1
    })
    .await;
    let mut request = web::get("/v1/stream");
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let _stream = web::open(&node.http, request).await;
    eventually("the subscriber is told", async || {
        let streams = asked(&monitor).await["streams"].clone();
        let first = &streams["first"][0];
        streams["count"] == 1
            && streams["behind"] == 0
            && first["partner"] == "gazette"
            && first["key_id"] == id.as_str()
            && first["protocol"] == "sse"
            && first["live"] == true
    })
    .await;
    let story = crate::access::story("test:rates", &["ict"]);
    desk.publish(story).await.unwrap();
    eventually("what went through is counted", async || {
        let rates = asked(&monitor).await["rates"].clone();
        let more = |name: &str| {
            let values = rates[name].as_array().unwrap().clone();
            values
                .iter()
                .any(|value| value.as_f64().is_some_and(|value| value > 0.0))
        };
        more("revisions_per_minute") && more("deliveries_per_second") && more("commit_seconds")
    })
    .await;
    let servers = asked(&monitor).await["nats"]["servers"].clone();
    assert_eq!(servers[0]["syncs_each_write"], true, "{servers}");
    assert_eq!(asked(&key).await["reason"], "ROLE_MISSING");
}

/// While NATS is away it says so, and in time.
#[tokio::test]
async fn tells_that_nats_is_away() {
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    assert_eq!(status(&node).await["nats"]["connected"], true);
    nats.kill();
    eventually("the loss is told", async || {
        let status = status(&node).await;
        status["nats"]["connected"] == false
            && status["node"]["ready"] == false
            && status["log"]["stored"] == Value::Null
    })
    .await;
}

/// Sends a form as a browser does.
pub async fn form(
    node: &Node,
    path: &str,
    headers: &[(&str, &str)],
    fields: &[(&str, &str)],
) -> Answer {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    let text = text.extend_pairs(fields).finish();
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend_from_slice(headers);
    send(&node.http, Method::POST, path, &all, text).await
}

/// A form publishes once under its id, keeps what it does not show, and is not sent by others' pages.
#[tokio::test]
async fn forms_publish() {
    let node = Node::start();
    let id = new_id();
    let fields = [
        ("request_id", id.as_str()),
        ("headline", "Written in a form"),
        ("language", "en"),
        ("urgency", "2"),
        ("body", "One\r\n\r\nTwo"),
        ("topics", "ict"),
        ("topics", "economy"),
    ];
    let made = form(&node, "/desk/new", &[], &fields).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text());
    let place = made.header("location").to_owned();
    assert!(place.ends_with("?done=1"), "{place}");
    let again = form(&node, "/desk/new", &[], &fields).await;
    assert_eq!(again.header("location"), place);
    let id = place.split(['/', '?']).nth(3).unwrap().to_owned();
    let read = get(&node, &format!("/v1/articles/{id}")).await.json();
    assert_eq!(read["bodies"][0]["value"], "One\n\nTwo");
    assert_eq!(
        (&read["urgency"], &read["version"]),
        (&2.into(), &"1".into())
    );
    let page = get(&node, &place).await;
    assert!(
        page.text().contains("Revision 1 is on the wire"),
        "{}",
        page.text()
    );

    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ] {
        let refused = form(&node, "/desk/new", &[foreign], &fields).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{foreign:?}");
    }
    // Without a form, or with one that is older than the log.
    let bare = send(&node.http, Method::POST, "/desk/new", &[], "").await;
    assert_eq!(bare.status, StatusCode::BAD_REQUEST);
    let kill = format!("/desk/articles/{id}/kill");
    let blind = [("request_id", new_id()), ("confirm", "yes".to_owned())];
    let blind: Vec<(&str, &str)> = blind
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let refused = form(&node, &kill, &[], &blind).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    for path in [
        "/desk/articles/7/kill",
        &format!("/desk/articles/{id}/burn"),
    ] {
        let refused = form(&node, path, &[], &fields).await;
        assert!(
            refused.status.is_client_error(),
            "{path}: {}",
            refused.status
        );
    }
    assert_eq!(
        get(&node, &format!("/v1/articles/{id}")).await.json()["version"],
        "1"
    );
}

/// A form that was begun on an older revision publishes nothing, and shows what the newer one changed.
#[tokio::test]
async fn forms_do_not_overwrite() {
    let node = Node::start();
    let first = node
        .publish(Action::Publish, article("test:race", "First words"))
        .await
        .unwrap();
    let path = format!("/desk/articles/{}/update", first.article_id);
    let seen = format!("\"1-{}\"", first.cursor);
    let page = get(&node, &path).await;
    assert!(
        page.text().contains(&seen.replace('"', "&quot;")),
        "{}",
        page.text()
    );
    node.publish(Action::Update, article("test:race", "Second words"))
        .await
        .unwrap();
    let id = new_id();
    let fields = |seen: &str| {
        let fields = [
            ("request_id", id.clone()),
            ("seen", seen.to_owned()),
            ("headline", "Third words".to_owned()),
            ("urgency", "5".to_owned()),
        ];
        fields.to_vec()
    };
    let post = async |fields: Vec<(&'static str, String)>| {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        form(&node, &path, &[], &fields).await
    };
    let refused = post(fields(&seen)).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let text = refused.text();
    assert!(
        text.contains("Revision 2 came in between") && text.contains("Third words"),
        "{text}"
    );
    assert!(text.contains("Second"), "{text}");
    let newer = text.split("name=\"seen\" value=\"").nth(1).unwrap();
    let newer = newer.split("\">").next().unwrap().replace("&quot;", "\"");
    assert!(newer.starts_with("\"2-"), "{newer}");
    let done = post(fields(&newer)).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text());
    // Sent again it is the same, though the article has moved on.
    let again = post(fields(&newer)).await;
    assert_eq!(again.header("location"), done.header("location"));
}
