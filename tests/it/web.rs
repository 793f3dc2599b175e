//! The web side: health, readiness, metrics, and how requests are refused.

use std::time::Duration;

use barid::wire::proto::v1::{Action, Article};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    harness::{LIMIT, Node, article, eventually},
    nats::Nats,
};

/// One request on a connection of its own; returns once the head is there.
pub async fn open(address: &str, request: Request<Empty<Bytes>>) -> Response<Incoming> {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let sent = timeout(LIMIT, sender.send_request(request)).await;
    sent.expect("no answer in time").unwrap()
}

pub fn get(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::builder().uri(path).header("host", "barid.test");
    request.body(Empty::new()).unwrap()
}

/// Status, type and body of an answer.
pub async fn answer(address: &str, request: Request<Empty<Bytes>>) -> (StatusCode, String, Bytes) {
    let response = open(address, request).await;
    let kind = response.headers().get("content-type");
    let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let status = response.status();
    let body = timeout(LIMIT, response.into_body().collect()).await;
    (status, kind, body.unwrap().unwrap().to_bytes())
}

/// A problem's status and what it says.
pub async fn problem(address: &str, request: Request<Empty<Bytes>>) -> (u16, Value) {
    let (status, kind, body) = answer(address, request).await;
    assert_eq!(kind, "application/problem+json");
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    (status.as_u16(), problem)
}

pub async fn readiness(node: &Node) -> (StatusCode, Value) {
    let (status, kind, body) = answer(&node.http, get("/readyz")).await;
    assert_eq!(kind, "application/json");
    (status, serde_json::from_slice(&body).unwrap())
}

/// The values of a metric by its labels as they are written.
async fn metric(node: &Node, name: &str) -> Vec<(String, f64)> {
    let (_, _, body) = answer(&node.http, get("/metrics")).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_whole_name = labels.is_empty() || labels.starts_with('{');
        is_whole_name.then(|| (labels.to_owned(), value.parse().unwrap()))
    });
    values.collect()
}

pub async fn metric_of(node: &Node, name: &str, label: &str) -> f64 {
    let values = metric(node, name).await;
    let found = values.iter().find(|(labels, _)| labels.contains(label));
    found
        .unwrap_or_else(|| panic!("no {name} of {label:?} in {values:?}"))
        .1
}

/// Paths and methods that are not served are problems with a stable reason; HEAD has no body.
#[tokio::test]
async fn refuses_what_is_not_served() {
    let node = Node::start();
    let (status, found) = problem(&node.http, get("/nowhere")).await;
    assert_eq!(
        (status, &found["reason"]),
        (404, &Value::from("PATH_UNKNOWN"))
    );
    let mut post = get("/healthz");
    *post.method_mut() = hyper::Method::POST;
    let (status, found) = problem(&node.http, post).await;
    assert_eq!(status, 405);
    assert_eq!(found["reason"], "METHOD_NOT_ALLOWED");
    let mut head = get("/healthz");
    *head.method_mut() = hyper::Method::HEAD;
    let (status, _, body) = answer(&node.http, head).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    let (status, _, body) = answer(&node.http, get("/healthz")).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"alive\n"[..]));
}

/// A head that is too long, or no HTTP at all, ends the connection and nothing else.
#[tokio::test]
async fn survives_what_is_no_request() {
    let node = Node::start();
    for sent in [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0xff; 100],
        [
            b"GET /healthz HTTP/1.1\r\nx: ".to_vec(),
            vec![b'a'; 100_000],
        ]
        .concat(),
    ] {
        let mut socket = TcpStream::connect(&node.http).await.unwrap();
        // The server may close before it has read all.
        let _closed = socket.write_all(&sent).await;
        let mut rest = Vec::new();
        let end = timeout(LIMIT, socket.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "the connection stays open");
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{sent:?}");
    }
    let (status, _, _) = answer(&node.http, get("/healthz")).await;
    assert_eq!(status, StatusCode::OK);
}

/// A node is ready while it has read to the log's end, and says why if it is not; it is alive in
/// any case.
#[tokio::test]
async fn readiness_follows_nats() {
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let (status, state) = readiness(&node).await;
    assert_eq!(status, StatusCode::OK, "{state}");
    assert_eq!(
        (&state["ready"], &state["phase"]),
        (&true.into(), &"serving".into())
    );

    nats.kill();
    eventually("not ready without NATS", async || {
        let (status, state) = readiness(&node).await;
        status == StatusCode::SERVICE_UNAVAILABLE
            && state["nats"]["connected"] == false
            && state["log"]["caught_up"] == false
    })
    .await;
    assert_eq!(metric_of(&node, "barid_nats_connected", "").await, 0.0);
    let (status, _, _) = answer(&node.http, get("/healthz")).await;
    assert_eq!(status, StatusCode::OK);

    nats.start_again();
    eventually("ready again", async || {
        readiness(&node).await.0 == StatusCode::OK
    })
    .await;
    assert_eq!(metric_of(&node, "barid_nats_connected", "").await, 1.0);
    let reconnects = metric_of(&node, "barid_nats_reconnects_total", "").await;
    assert!(reconnects >= 1.0, "{reconnects}");
}

/// While a node drains, who asks hears so; then the node ends well.
#[tokio::test]
async fn readiness_turns_at_the_stop() {
    let mut node = Node::start_with(&["--drain", "3s"]);
    // Open streams keep the node draining: one may end at once, not all of sixteen.
    let mut readers = Vec::new();
    for _ in 0..16 {
        let mut reader = node.subscribe(crate::harness::everything()).await.unwrap();
        reader.caught_up().await;
        readers.push(reader);
    }
    node.signal(Signal::TERM);
    let turned = async {
        loop {
            let (status, state) = readiness(&node).await;
            if status == StatusCode::SERVICE_UNAVAILABLE {
                return state;
            }
        }
    };
    let state = timeout(Duration::from_secs(4), turned).await.unwrap();
    assert_eq!(state["phase"], "draining");
    assert_eq!(node.ended().await, Some(0));
}

/// The counters follow what happens, and every metric has a help text and a type.
#[tokio::test]
async fn metrics() {
    let node = Node::start();
    let mut reader = node.subscribe(crate::harness::everything()).await.unwrap();
    reader.caught_up().await;
    let topical = Article {
        topics: vec!["ict.telecom".to_owned()],
        ..article("test:topical", "a headline")
    };
    node.publish(Action::Publish, topical).await.unwrap();
    let plain = article("test:plain", "a headline");
    node.publish(Action::Publish, plain).await.unwrap();
    let refused = node.publish(Action::Publish, Article::default()).await;
    refused.unwrap_err();
    reader.delivery().await;
    reader.delivery().await;

    let publishes = async |outcome| metric_of(&node, "barid_publishes_total", outcome).await;
    assert_eq!(publishes("accepted").await, 2.0);
    assert_eq!(publishes("invalid").await, 1.0);
    let of_grpc = async |name| metric_of(&node, name, "grpc").await;
    assert_eq!(of_grpc("barid_subscribers").await, 1.0);
    assert_eq!(of_grpc("barid_deliveries_total").await, 2.0);
    assert!(of_grpc("barid_delivery_bytes_total").await > 100.0);
    assert_eq!(
        metric_of(&node, "barid_routed_to_general_total", "").await,
        1.0
    );
    assert!(metric_of(&node, "barid_commit_duration_seconds_count", "").await >= 1.0);
    assert!(metric_of(&node, "barid_log_position", "").await >= 6.0);
    assert!(metric_of(&node, "barid_log_confirmed_age_seconds", "").await < 5.0);
    assert!(metric_of(&node, "process_resident_memory_bytes", "").await > 1e6);

    drop(reader);
    eventually("the subscriber is gone", async || {
        metric_of(&node, "barid_subscribers", "grpc").await == 0.0
    })
    .await;

    let (_, kind, body) = answer(&node.http, get("/metrics")).await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    check_exposition(std::str::from_utf8(&body).unwrap());
}

/// The rules of `promtool check metrics` that names and types can break.
fn check_exposition(text: &str) {
    let mut types = std::collections::HashMap::new();
    let mut helps = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "{name} has two types");
            assert_eq!(
                name.ends_with("_total"),
                kind == "counter",
                "{name} is a {kind}"
            );
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(
                help.ends_with('.') || name.starts_with("process_"),
                "{name}: {help}"
            );
            helps.insert(name);
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .into_iter()
                .filter_map(|part| name.strip_suffix(part))
                .find(|family| types.get(family) == Some(&"histogram"))
                .unwrap_or(name);
            assert!(types.contains_key(family), "{line} has no type");
            assert!(helps.contains(family), "{line} has no help");
        }
    }
    assert!(types.len() > 15, "too few: {types:?}");
}

/// Proves that a client which asks without end and reads no answer is cut off when `--patience` is.
#[tokio::test]
async fn a_client_that_never_reads() {
    let node = Node::start_with(&["--patience", "1s"]);
    let mut socket = TcpStream::connect(&node.http).await.unwrap();
    let asking = async {
        while socket
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: barid.test\r\n\r\n")
            .await
            .is_ok()
        {}
    };
    timeout(LIMIT, asking).await.expect("it was not cut off");
    let (status, _, _) = answer(&node.http, get("/healthz")).await;
    assert_eq!(status, StatusCode::OK);
}
