//! Articles over HTTP: read, listed, published in ninjs, and withdrawn.

use barid::wire::proto::v1::{Action, Article};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use crate::harness::{LIMIT, Node, article, eventually};

/// An answer, all of it.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One request on a connection of its own.
pub async fn send(
    address: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    request = request.header("host", "barid.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let answer = async {
        let answer = sender.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    };
    timeout(LIMIT, answer).await.expect("no answer in time")
}

pub async fn get(node: &Node, path: &str) -> Answer {
    send(&node.http, Method::GET, path, &[], "").await
}

/// The answer to whoever has a state already.
pub async fn get_unless(node: &Node, path: &str, tag: &str) -> Answer {
    send(&node.http, Method::GET, path, &[("if-none-match", tag)], "").await
}

/// Publishes with a new request id and further headers.
pub async fn post(node: &Node, query: &str, headers: &[(&str, &str)], ninjs: &Value) -> Answer {
    let id = Uuid::new_v4().to_string();
    let mut all = vec![
        ("content-type", "application/json"),
        ("idempotency-key", id.as_str()),
    ];
    all.extend_from_slice(headers);
    let path = format!("/v1/articles{query}");
    send(&node.http, Method::POST, &path, &all, ninjs.to_string()).await
}

/// Checks a problem's status, reason and first field.
fn check_problem(answer: &Answer, status: u16, reason: &str, field: Option<&str>) {
    let problem = answer.json();
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        (answer.status.as_u16(), &problem["reason"]),
        (status, &json!(reason)),
        "{problem}"
    );
    assert_eq!(problem["status"], status);
    assert_eq!(problem["errors"][0]["field"].as_str(), field, "{problem}");
}

fn story(uri: &str, headline: &str) -> Value {
    json!({"uri": uri, "language": "en", "headlines": [{"value": headline}],
           "bodies": [{"contentType": "text/plain", "value": "the body of it"}],
           "subjects": [{"rel": "topic", "literal": "ict.telecom"}]})
}

/// What is published in ninjs is read as ninjs, by id, with a tag that holds until it changes.
#[tokio::test]
async fn publishes_and_reads() {
    let node = Node::start();
    let created = post(&node, "", &[], &story("test:one", "First")).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
    let said = created.json();
    assert_eq!(
        (&said["revision"], &said["duplicate"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(said["topics"], json!(["ict.telecom"]));
    let path = created.header("location").to_owned();
    assert_eq!(
        path,
        format!("/v1/articles/{}", said["article_id"].as_str().unwrap())
    );

    let read = get(&node, &path).await;
    let ninjs = read.json();
    assert_eq!(read.status, StatusCode::OK);
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.header("cache-control"), "private, no-cache");
    assert_eq!(read.header("etag"), created.header("etag"));
    assert_eq!(
        (&ninjs["uri"], &ninjs["version"]),
        (&json!("test:one"), &json!("1"))
    );
    assert_eq!(ninjs["headlines"][0]["value"], "First");
    assert_eq!(ninjs["bodies"][0]["value"], "the body of it");

    let tag = read.header("etag");
    let same = get_unless(&node, &path, tag).await;
    assert_eq!(
        (same.status, same.body.len()),
        (StatusCode::NOT_MODIFIED, 0)
    );
    assert_eq!(same.header("etag"), tag);
    let head = send(&node.http, Method::HEAD, &path, &[], "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("etag"), tag);

    let updated = post(&node, "?action=update", &[], &story("test:one", "Second")).await;
    assert_eq!(updated.status, StatusCode::OK, "{}", updated.text());
    let changed = get_unless(&node, &path, tag).await;
    assert_eq!(changed.json()["headlines"][0]["value"], "Second");
    assert_ne!(changed.header("etag"), tag);
    let history = get(&node, &format!("{path}/revisions")).await.json();
    let versions: Vec<&Value> = history["articles"].as_array().unwrap().iter().collect();
    assert_eq!(versions.len(), 2);
    assert_eq!(
        (&versions[0]["version"], &versions[1]["version"]),
        (&json!("1"), &json!("2"))
    );
}

/// A list shows one state in all its pages, by the filter of the stream, and links the next page.
#[tokio::test]
async fn lists_in_pages() {
    let node = Node::start();
    for number in 0..5 {
        let uri = format!("test:{number}");
        post(&node, "", &[], &story(&uri, &format!("Number {number}"))).await;
    }
    let other = json!({"uri": "test:ar", "language": "ar", "headlines": [{"value": "خبر"}]});
    post(&node, "", &[], &other).await;
    let mut path = "/v1/articles?topics=ict&limit=2".to_owned();
    let mut found = Vec::new();
    for page in 0.. {
        let answer = get(&node, &path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let list = answer.json();
        let articles = list["articles"].as_array().unwrap();
        found.extend(
            articles
                .iter()
                .map(|one| one["uri"].as_str().unwrap().to_owned()),
        );
        if page == 0 {
            // What comes meanwhile belongs to another list.
            post(&node, "", &[], &story("test:late", "Late")).await;
        }
        let Some(next) = list["next"].as_str() else {
            assert_eq!(answer.header("link"), "");
            break;
        };
        assert_eq!(answer.header("link"), format!("<{next}>; rel=\"next\""));
        path = next.to_owned();
    }
    assert_eq!(found, ["test:4", "test:3", "test:2", "test:1", "test:0"]);
    let arabic = get(&node, "/v1/articles?languages=ar&q=%D8%AE%D8%A8%D8%B1")
        .await
        .json();
    assert_eq!(arabic["articles"].as_array().unwrap().len(), 1);

    let list = get(&node, "/v1/articles").await;
    let same = get_unless(&node, "/v1/articles", list.header("etag")).await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    for (query, reason, field) in [
        ("topics=ict.telecm", "TOPIC_UNKNOWN", "topics"),
        ("urgency=0", "FIELD_INVALID", "urgency"),
        ("limit=101", "FIELD_INVALID", "limit"),
        ("limit=x", "FIELD_INVALID", "limit"),
        ("page=x", "FIELD_INVALID", "page"),
        ("from=now", "PARAMETER_UNKNOWN", "from"),
        ("limit=1&limit=2", "FIELD_INVALID", "limit"),
    ] {
        let refused = get(&node, &format!("/v1/articles?{query}")).await;
        check_problem(&refused, 400, reason, Some(field));
    }
}

/// A request is accepted once, however it is sent; a publisher who has not seen the newest revision
/// is told.
#[tokio::test]
async fn publishes_once() {
    let node = Node::start();
    let id = Uuid::new_v4().to_string();
    let keyed = format!("\"{id}\"");
    let key = [
        ("idempotency-key", keyed.as_str()),
        ("content-type", "application/json"),
    ];
    let body = story("test:once", "Once");
    let put = async |path: &str, key: &[(&str, &str)], body: &Value| {
        send(&node.http, Method::POST, path, key, body.to_string()).await
    };
    let first = put("/v1/articles", &key, &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = put(&format!("/v1/articles?request_id={id}"), &key[1..], &body).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json()["duplicate"], true);
    assert_eq!(again.json()["cursor"], first.json()["cursor"]);
    let reused = put("/v1/articles", &key, &story("test:once", "Other")).await;
    check_problem(&reused, 422, "REQUEST_ID_REUSED", Some("Idempotency-Key"));

    let tag = first.header("etag");
    let body = story("test:once", "Seen");
    let seen = post(&node, "", &[("if-match", tag)], &body).await;
    assert_eq!(
        (seen.status, &seen.json()["revision"]),
        (StatusCode::OK, &json!(2))
    );
    let stale = post(&node, "", &[("if-match", tag)], &body).await;
    check_problem(&stale, 412, "REVISION_CONFLICT", None);
    assert_eq!(stale.json()["metadata"]["newest_revision"], "2");
    let foreign = post(&node, "", &[("if-match", "\"2-aaaaaaaa-1\"")], &body).await;
    check_problem(&foreign, 412, "REVISION_CONFLICT", Some("If-Match"));
    let exists = post(&node, "", &[("if-none-match", "*")], &body).await;
    check_problem(&exists, 412, "REVISION_CONFLICT", None);
    let stale = post(&node, "?expected_revision=1", &[], &body).await;
    check_problem(&stale, 409, "REVISION_CONFLICT", None);
    let new = post(
        &node,
        "?expected_revision=0",
        &[],
        &story("test:new", "New"),
    )
    .await;
    assert_eq!(new.status, StatusCode::CREATED);
}

/// Bad requests are problems that name the header, the parameter or the property of ninjs.
#[tokio::test]
async fn refuses_bad_requests() {
    let node = Node::start();
    let good = story("test:bad", "Good");
    let id = Uuid::new_v4().to_string();
    let json_type = ("content-type", "application/json");
    let key = ("idempotency-key", id.as_str());
    let sent = async |headers: &[(&str, &str)], body: Vec<u8>| {
        send(&node.http, Method::POST, "/v1/articles", headers, body).await
    };
    let body = good.to_string().into_bytes();
    let keyless = sent(&[json_type], body.clone()).await;
    check_problem(&keyless, 400, "FIELD_INVALID", Some("Idempotency-Key"));
    let typeless = sent(&[key], body.clone()).await;
    check_problem(
        &typeless,
        415,
        "MEDIA_TYPE_UNSUPPORTED",
        Some("Content-Type"),
    );
    let broken = sent(&[json_type, key], b"{\"uri\": ".to_vec()).await;
    check_problem(&broken, 400, "FIELD_INVALID", Some("uri"));
    let binary = sent(&[json_type, key], vec![0xff]).await;
    check_problem(&binary, 400, "FIELD_INVALID", Some("body"));
    // It is refused by its head: nobody sends the rest.
    let head = format!(
        "POST /v1/articles HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         idempotency-key: {id}\r\ncontent-length: 9000000\r\n\r\n"
    );
    let mut socket = TcpStream::connect(&node.http).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut large = Vec::new();
    let read = timeout(LIMIT, socket.read_to_end(&mut large)).await;
    read.expect("no answer in time").unwrap();
    let large = String::from_utf8(large).unwrap();
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    assert!(large.contains("BODY_TOO_LARGE"), "{large}");
    let keys = [json_type, key, ("idempotency-key", "x")];
    check_problem(
        &sent(&keys, body).await,
        400,
        "FIELD_INVALID",
        Some("Idempotency-Key"),
    );

    for (change, status, reason, field) in [
        (json!({"headlines": 3}), 400, "FIELD_INVALID", "headlines"),
        (json!({"headlines": []}), 422, "FIELD_INVALID", "headlines"),
        (json!({"urgency": 10}), 422, "FIELD_INVALID", "urgency"),
        (json!({"urgency": 1.5}), 400, "FIELD_INVALID", "urgency"),
        (
            json!({"edNote": "\u{202E}"}),
            422,
            "FIELD_INVALID",
            "edNote",
        ),
        (
            json!({"subjects": [{"rel": "topic", "literal": "ict.nowhere"}]}),
            422,
            "TOPIC_UNKNOWN",
            "subjects",
        ),
        (
            json!({"bodies": [{"contentType": "x/y", "value": ""}]}),
            422,
            "FIELD_INVALID",
            "bodies[0].contentType",
        ),
    ] {
        let mut bad = good.clone();
        bad.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        check_problem(
            &post(&node, "", &[], &bad).await,
            status,
            reason,
            Some(field),
        );
    }
    for (query, field) in [
        ("?action=erase", "action"),
        ("?routing=best", "routing"),
        ("?expected_revision=-1", "expected_revision"),
    ] {
        let refused = post(&node, query, &[], &good).await;
        check_problem(&refused, 400, "FIELD_INVALID", Some(field));
    }
    let unknown = post(&node, "?acton=kill", &[], &good).await;
    check_problem(&unknown, 400, "PARAMETER_UNKNOWN", Some("acton"));
    let kill = json!({"uri": "test:none", "pubStatus": "canceled", "edNote": "n"});
    check_problem(
        &post(&node, "", &[], &kill).await,
        404,
        "ARTICLE_UNKNOWN",
        None,
    );
    let not_uuid = get(&node, "/v1/articles/x").await;
    check_problem(&not_uuid, 400, "FIELD_INVALID", Some("id"));
    let nobody = get(&node, &format!("/v1/articles/{}", Uuid::new_v4())).await;
    check_problem(&nobody, 404, "ARTICLE_UNKNOWN", None);
    let put = send(&node.http, Method::PUT, "/v1/articles", &[], "").await;
    check_problem(&put, 405, "METHOD_NOT_ALLOWED", None);
    assert_eq!(put.header("allow"), "GET,HEAD,POST");
    // Nothing of all that was accepted.
    let list = get(&node, "/v1/articles").await.json();
    assert_eq!(list["articles"], json!([]));
}

/// What is withdrawn says so and shows no text, in its history neither; counts follow.
#[tokio::test]
async fn withdraws() {
    let node = Node::start();
    let count = async |topic: &str| {
        let topics = get(&node, "/v1/topics").await.json();
        let topics = topics["topics"].as_array().unwrap().clone();
        let found = topics.iter().find(|one| one["path"] == topic).unwrap();
        found["article_count"].as_u64().unwrap()
    };
    let ended =
        |action: &str| json!({"uri": "test:secret", "pubStatus": action, "edNote": "the reason"});
    let created = post(&node, "", &[], &story("test:secret", "Sesame")).await;
    post(&node, "", &[], &story("test:other", "Other")).await;
    let path = created.header("location").to_owned();
    let history_path = format!("{path}/revisions");
    let before = get(&node, &path).await;
    eventually("the index has both", async || {
        count("ict").await == 2 && count("ict.telecom").await == 2
    })
    .await;
    assert_eq!(count("economy").await, 0);

    let withheld = post(&node, "", &[], &ended("withheld")).await;
    assert_eq!(withheld.status, StatusCode::OK, "{}", withheld.text());
    let shown = get_unless(&node, &path, before.header("etag")).await;
    assert_eq!(
        (shown.status, &shown.json()["pubStatus"]),
        (StatusCode::OK, &json!("withheld"))
    );
    let history = get(&node, &history_path).await;
    let first = &history.json()["articles"][0];
    assert_eq!(
        (&first["uri"], &first["version"]),
        (&json!("test:secret"), &json!("1"))
    );
    assert_eq!(first["altIds"][0]["value"], created.json()["article_id"]);
    for answer in [&shown, &history] {
        assert!(!answer.text().contains("Sesame") && !answer.text().contains("the body of it"));
    }
    eventually("the index has it", async || count("ict").await == 1).await;

    post(&node, "", &[], &story("test:secret", "Sesame again")).await;
    eventually("the index has it", async || count("ict.telecom").await == 2).await;
    post(&node, "", &[], &ended("canceled")).await;
    eventually("the index has it", async || count("ict.telecom").await == 1).await;
    for path in [&path, &history_path, "/v1/articles"] {
        let shown = get(&node, path).await;
        assert!(shown.text().contains("canceled"), "{}", shown.text());
        assert!(!shown.text().contains("Sesame"), "{}", shown.text());
    }
    let update = post(&node, "", &[], &story("test:secret", "Back")).await;
    check_problem(&update, 409, "ARTICLE_KILLED", None);
}

/// What gRPC publishes reads the same over HTTP, and the description tells the topics of now.
#[tokio::test]
async fn agrees_with_grpc() {
    let node = Node::start();
    let one = article("test:grpc", "By gRPC");
    let published = node.publish(Action::Publish, one).await.unwrap();
    let read = get(&node, &format!("/v1/articles/{}", published.article_id)).await;
    let cursor = &read.json()["altIds"][1];
    assert_eq!(
        (&cursor["role"], &cursor["value"]),
        (&json!("barid:cursor"), &json!(published.cursor))
    );
    let description = get(&node, "/openapi.json").await.json();
    let topics = description["components"]["schemas"]["Topic"]["enum"]
        .as_array()
        .unwrap();
    assert!(topics.contains(&json!("ict.cybersecurity")));
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// A client that asks for much and takes nothing is cut off after the patience.
#[tokio::test]
async fn stalled() {
    let node = Node::start_with(&["--patience", "1s"]);
    for number in 0..8 {
        let large = Article {
            body: "x".repeat(400_000),
            ..article(&format!("test:{number}"), "large")
        };
        node.publish(Action::Publish, large).await.unwrap();
    }
    let mut socket = TcpStream::connect(&node.http).await.unwrap();
    // More than every buffer on the way holds.
    let request = "GET /v1/articles?limit=100 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
    socket.write_all(request.as_bytes()).await.unwrap();
    eventually("the end of the connection", async || {
        // Refused only once the other side has let go of it.
        socket.write_all(b"\r\n").await.is_err()
    })
    .await;
    // Who takes what was asked for may take as long as it likes between two requests.
    assert_eq!(get(&node, "/v1/articles").await.status, StatusCode::OK);
}
