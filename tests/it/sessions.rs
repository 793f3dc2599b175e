//! Browser sessions: a key becomes a cookie, good on every node, that ends with the key.

use std::time::{Duration, Instant};

use barid::{
    access::session::Sealer,
    wire::proto::v1::{Role, RotateKeyRequest, desk_service_client::DeskServiceClient},
};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{Response, body::Incoming};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    access::{Caller, gazette},
    harness::{LIMIT, Node, eventually},
    http_articles::{Answer, send},
    web,
};

/// Within what an open stream follows the end of its session.
const FOLLOWS: Duration = Duration::from_secs(1);
const STORY: &str =
    r#"{"uri": "test:session", "language": "en", "headlines": [{"value": "A new fibre network"}]}"#;

/// What a browser keeps: name and value of the cookie that an answer sets.
pub fn cookie(headers: &HeaderMap) -> String {
    let set = headers["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// Begins a session with a key: its cookie, and what is said of it.
pub async fn begin(node: &Node, key: &str) -> (String, Value) {
    let body = json!({ "key": key }).to_string();
    let headers = [("content-type", "application/json")];
    let answer = send(&node.http, Method::POST, "/v1/session", &headers, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    (cookie(&answer.headers), said(&answer))
}

fn said(answer: &Answer) -> Value {
    serde_json::from_str(answer.text()).unwrap()
}

fn reason(answer: &Answer) -> (u16, String) {
    let reason = said(answer)["reason"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), reason)
}

async fn who(node: &Node, cookie: &str) -> Answer {
    let headers = [("cookie", cookie)];
    send(&node.http, Method::GET, "/v1/session", &headers, "").await
}

async fn is_in(node: &Node, cookie: &str) -> bool {
    who(node, cookie).await.status == StatusCode::OK
}

/// An open stream by cookie, as an EventSource opens it.
async fn stream(node: &Node, cookie: &str) -> Response<Incoming> {
    let mut request = web::get("/v1/stream");
    let headers = request.headers_mut();
    headers.insert("cookie", cookie.parse().unwrap());
    headers.insert("accept", "text/event-stream".parse().unwrap());
    let answer = web::open(&node.http, request).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer
}

/// Waits for a stream's end, which must come soon after `since`; returns its last words.
async fn ended(stream: Response<Incoming>, since: Instant) -> String {
    let body = timeout(LIMIT, stream.into_body().collect()).await;
    let took = since.elapsed();
    assert!(took < FOLLOWS + Duration::from_secs(1), "{took:?}");
    let body = body.expect("the stream goes on").unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// A session tells who is in, is kept where no script sees it, and is forgotten at its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_becomes_a_cookie() {
    let node = Node::start_with_keys(&[]);
    let key = node.key("subscriber");
    let by_header = format!("Bearer {key}");
    let headers = [("authorization", by_header.as_str())];
    let answer = send(&node.http, Method::POST, "/v1/session", &headers, "").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let set = answer.header("set-cookie");
    for term in ["HttpOnly", "SameSite=Strict", "Max-Age=43200", "Path=/"] {
        assert!(set.contains(term), "{set}");
    }
    assert!(
        set.starts_with("barid-session=") && !set.contains("Secure"),
        "{set}"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    // The TLS of a proxy shows by what the browser says.
    let headers = [headers[0], ("origin", "https://barid.test")];
    let answer = send(&node.http, Method::POST, "/v1/session", &headers, "").await;
    let set = answer.header("set-cookie");
    assert!(
        set.starts_with("__Host-barid-session=") && set.contains("; Secure"),
        "{set}"
    );

    let (cookie, begun) = begin(&node, &key).await;
    let who = who(&node, &cookie).await;
    assert_eq!(said(&who), begun);
    assert_eq!(
        (&begun["partner"], &begun["role"]),
        (&json!("local"), &json!("subscriber"))
    );
    assert!(key.contains(begun["key_id"].as_str().unwrap()));
    assert!(begun["csrf_token"].as_str().unwrap().len() > 30);
    assert!(begun["expires"].as_str().unwrap().ends_with('Z'));
    let by_key = send(&node.http, Method::GET, "/v1/session", &headers[..1], "").await;
    assert_eq!(
        (by_key.status, &said(&by_key)["csrf_token"]),
        (StatusCode::OK, &Value::Null)
    );

    // What is no key begins nothing.
    for (kind, body, expected) in [
        ("text/plain", "{}", (415, "MEDIA_TYPE_UNSUPPORTED")),
        ("application/json", "{}", (400, "FIELD_INVALID")),
        ("application/json", r#"{"key": 7}"#, (400, "FIELD_INVALID")),
        ("application/json", r#"{"key": ""}"#, (401, "KEY_INVALID")),
        (
            "application/json",
            r#"{"key": "a\nb"}"#,
            (401, "KEY_INVALID"),
        ),
        (
            "application/json",
            &"x".repeat(5000),
            (413, "BODY_TOO_LARGE"),
        ),
    ] {
        let headers = [("content-type", kind)];
        let answer = send(
            &node.http,
            Method::POST,
            "/v1/session",
            &headers,
            body.to_owned(),
        )
        .await;
        assert_eq!(
            reason(&answer),
            (expected.0, expected.1.to_owned()),
            "{body}"
        );
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    // Another site must not make a browser begin one.
    let headers = [
        ("authorization", by_header.as_str()),
        ("sec-fetch-site", "cross-site"),
    ];
    let answer = send(&node.http, Method::POST, "/v1/session", &headers, "").await;
    assert_eq!(reason(&answer), (403, "ORIGIN_FOREIGN".to_owned()));

    // A header wins over a cookie, also one that is worth nothing.
    let both = [
        ("cookie", cookie.as_str()),
        ("authorization", "Bearer nonsense"),
    ];
    let answer = send(&node.http, Method::GET, "/v1/articles", &both, "").await;
    assert_eq!(reason(&answer), (401, "KEY_INVALID".to_owned()));

    let csrf = begun["csrf_token"].as_str().unwrap();
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf)];
    let end = send(&node.http, Method::DELETE, "/v1/session", &headers, "").await;
    assert_eq!(end.status, StatusCode::NO_CONTENT);
    let forgotten = end.headers.get_all("set-cookie").iter();
    let forgotten: Vec<&str> = forgotten.map(|value| value.to_str().unwrap()).collect();
    assert_eq!(forgotten.len(), 2);
    assert!(
        forgotten.iter().all(|set| set.contains("=; Max-Age=0;")),
        "{forgotten:?}"
    );
}

/// A write in a session proves that a page of the session asks for it; a read does not need to.
#[tokio::test(flavor = "multi_thread")]
async fn writes_prove_where_they_come_from() {
    let node = Node::start_with_keys(&[]);
    let (cookie, begun) = begin(&node, &node.key("desk")).await;
    let csrf = begun["csrf_token"].as_str().unwrap();
    let (_, other) = begin(&node, &node.key("desk")).await;
    let other = other["csrf_token"].as_str().unwrap();
    assert_ne!(csrf, other);
    let publish = async |more: &[(&str, &str)]| {
        let id = crate::harness::new_id();
        let mut headers = vec![
            ("cookie", cookie.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", &id),
        ];
        headers.extend_from_slice(more);
        send(&node.http, Method::POST, "/v1/articles", &headers, STORY).await
    };
    let invalid = (403, "CSRF_TOKEN_INVALID".to_owned());
    let cut = &csrf[1..];
    for token in ["", "nonsense", other, cut] {
        let answer = publish(&[("x-csrf-token", token)]).await;
        assert_eq!(reason(&answer), invalid, "{token}");
    }
    assert_eq!(reason(&publish(&[]).await), invalid);
    let good = ("x-csrf-token", csrf);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let answer = publish(&[good, (name, value)]).await;
        assert_eq!(
            reason(&answer),
            (403, "ORIGIN_FOREIGN".to_owned()),
            "{name} {value}"
        );
    }
    assert_eq!(publish(&[good]).await.status, StatusCode::CREATED);
    let ours = [
        good,
        ("sec-fetch-site", "same-origin"),
        ("origin", "http://barid.test"),
    ];
    assert_eq!(publish(&ours).await.status, StatusCode::OK);
    // A key by header is nothing that a browser sends by itself.
    let bearer = format!("Bearer {}", node.key("publisher"));
    let keyed = [
        ("authorization", bearer.as_str()),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(publish(&keyed).await.status, StatusCode::OK);
    let headers = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "cross-site"),
    ];
    let read = send(&node.http, Method::GET, "/v1/articles", &headers, "").await;
    assert_eq!(read.status, StatusCode::OK);
    let end = send(&node.http, Method::DELETE, "/v1/session", &headers[..1], "").await;
    assert_eq!(reason(&end), invalid);
}

/// Nodes keep nothing of a session: it is good on another node, and over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_good_on_every_node() {
    let mut one = Node::start_with_keys(&[]);
    let (cookie, _) = begin(&one, &one.key("subscriber")).await;
    {
        let other = Node::start_with_keys(&["--nats-url", &one.nats_url()]);
        assert!(is_in(&other, &cookie).await);
        let (back, _) = begin(&other, &one.key("subscriber")).await;
        assert!(is_in(&one, &back).await);
    }
    one.kill();
    one.start_again().await;
    assert!(is_in(&one, &cookie).await);
    // Another log has another secret, and other keys.
    let foreign = Node::start_with_keys(&[]);
    assert_eq!(
        reason(&who(&foreign, &cookie).await),
        (401, "SESSION_ENDED".to_owned())
    );
    for garbage in [
        "barid-session=",
        "barid-session=x",
        "barid-session=a.b.c.d",
        "x=y",
    ] {
        assert_eq!(
            who(&one, garbage).await.status,
            StatusCode::UNAUTHORIZED,
            "{garbage}"
        );
    }
}

/// A session ends within a second, on every node and on open streams, when its key is revoked or
/// rotated, and when its partner is suspended.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_key() {
    let one = Node::start_with_keys(&[]);
    let other = Node::start_with_keys(&["--nats-url", &one.nats_url()]);
    let desk = Caller::desk(&one);
    desk.partner(gazette()).await;
    let begun = async || {
        let (id, key) = desk.key("gazette", Role::Subscriber, None).await;
        let bearer = format!("Bearer {key}");
        for node in [&one, &other] {
            eventually("the key is known", async || {
                let headers = [("authorization", bearer.as_str())];
                let answer = send(&node.http, Method::GET, "/v1/session", &headers, "").await;
                answer.status == StatusCode::OK
            })
            .await;
        }
        (id, begin(&one, &key).await.0)
    };
    let ends = async |cookie: &str, streams: [Response<Incoming>; 2], said: &str| {
        let since = Instant::now();
        for stream in streams {
            let words = ended(stream, since).await;
            assert!(words.ends_with(&format!(": {said}\n\n")), "{words}");
        }
        for node in [&one, &other] {
            assert_eq!(reason(&who(node, cookie).await), (401, said.to_owned()));
        }
    };
    let open = async |cookie: &str| [stream(&one, cookie).await, stream(&other, cookie).await];

    let (id, cookie) = begun().await;
    let streams = open(&cookie).await;
    desk.revoke(&id).await;
    ends(&cookie, streams, "SESSION_ENDED").await;

    let (id, cookie) = begun().await;
    let streams = open(&cookie).await;
    let rotate = desk.request(RotateKeyRequest {
        key_id: id,
        // Not at all: the session was begun with the former secret.
        overlap: Some(prost_types::Duration::default()),
    });
    let mut admin = DeskServiceClient::new(one.channel());
    admin.rotate_key(rotate).await.unwrap();
    ends(&cookie, streams, "SESSION_ENDED").await;

    let (_, cookie) = begun().await;
    let streams = open(&cookie).await;
    desk.update("gazette", |partner| partner.suspended = true)
        .await;
    ends(&cookie, streams, "PARTNER_SUSPENDED").await;
    // An EventSource that comes back then is told so, and gives up.
    let mut request = web::get("/v1/stream");
    let headers = request.headers_mut();
    headers.insert("cookie", cookie.parse().unwrap());
    headers.insert("accept", "text/event-stream".parse().unwrap());
    assert_eq!(web::problem(&one.http, request).await.0, 401);
}

/// A session ends by itself at its time, also on an open stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_at_its_time() {
    let node = Node::start_with_keys(&[]);
    let context = async_nats::jetstream::new(node.nats_owner().await);
    let meta = context.get_key_value("barid-meta").await.unwrap();
    let secret = meta.get("session-secret").await.unwrap().unwrap();
    let secret = data_encoding::HEXLOWER.decode(&secret).unwrap();
    let sealer = Sealer::new(&secret.try_into().unwrap());
    let key: barid::access::key::Secret = node.key("subscriber").parse().unwrap();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expires = i64::try_from(now).unwrap() + 3;
    let token = sealer.seal(key.id(), &key.digest(), expires, [7; 12]);
    let cookie = format!("barid-session={}", token.reveal());
    let until = Instant::now() + Duration::from_secs(3);
    let open = stream(&node, &cookie).await;
    let words = ended(open, until).await;
    assert!(words.ends_with(": SESSION_ENDED\n\n"), "{words}");
    assert_eq!(
        reason(&who(&node, &cookie).await),
        (401, "SESSION_ENDED".to_owned())
    );
}

/// The dashboard asks for a key on a page that needs no script, and goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_asks_for_a_key() {
    let node = Node::start_with_keys(&[]);
    let page = [("accept", "text/html"), ("accept-language", "ar")];
    let ask = send(&node.http, Method::GET, "/?topics=ict", &page, "").await;
    assert_eq!(ask.status, StatusCode::UNAUTHORIZED);
    assert!(
        ask.header("content-security-policy")
            .contains("form-action 'self'")
    );
    let text = ask.text();
    assert!(
        text.contains("dir=\"rtl\"") && text.contains("تسجيل الدخول"),
        "{text}"
    );
    assert!(text.contains("value=\"/?topics=ict\""), "{text}");
    // Programs hear a problem.
    let plain = send(&node.http, Method::GET, "/", &[], "").await;
    assert_eq!(reason(&plain), (401, "KEY_MISSING".to_owned()));

    let form = |key: &str| format!("target=%2F%3Ftopics%3Dict&key={key}");
    let enter = async |body: String, more: &[(&str, &str)]| {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let mut headers = vec![kind, ("sec-fetch-site", "same-origin")];
        headers.extend_from_slice(more);
        send(&node.http, Method::POST, "/desk/session", &headers, body).await
    };
    let wrong = enter(form("barid_nonsense"), &page[..1]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("KEY_INVALID") && !wrong.text().contains("barid_nonsense"));
    assert!(!wrong.headers.contains_key("set-cookie"));
    let entered = enter(form(&node.key("subscriber")), &[]).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text());
    assert_eq!(entered.header("location"), "/?topics=ict");
    let cookie = cookie(&entered.headers);

    let headers = [page[0], ("cookie", cookie.as_str())];
    let wire = send(&node.http, Method::GET, "/?topics=ict", &headers, "").await;
    assert_eq!(wire.status, StatusCode::OK);
    let (_, csrf) = wire.text().split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = csrf.split('"').next().unwrap();
    let leave = async |body: String| {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let headers = [kind, ("cookie", cookie.as_str())];
        send(
            &node.http,
            Method::POST,
            "/desk/session/end",
            &headers,
            body,
        )
        .await
    };
    assert_eq!(reason(&leave("csrf=x".to_owned()).await).0, 403);
    let left = leave(format!("csrf={csrf}")).await;
    assert_eq!(
        (left.status, left.header("location")),
        (StatusCode::SEE_OTHER, "/")
    );
    assert!(left.header("set-cookie").contains("Max-Age=0"));

    // Whoever may read a part only hears so on a page, with a way out.
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (_, key) = desk.key("gazette", Role::Subscriber, None).await;
    eventually("the key is known", async || {
        let answer = enter(form(&key), &[]).await;
        answer.status == StatusCode::SEE_OTHER
    })
    .await;
    let (cookie, _) = begin(&node, &key).await;
    let headers = [page[0], ("cookie", cookie.as_str())];
    let part = send(&node.http, Method::GET, "/", &headers, "").await;
    assert_eq!(part.status, StatusCode::FORBIDDEN);
    assert!(part.text().contains("NOT_GRANTED") && part.text().contains("/desk/session/end"));
}

/// A key in an address is refused whatever else is shown, and said nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn keys_in_addresses_are_refused() {
    let node = Node::start_with_keys(&[]);
    let key = node.key("desk");
    let bearer = format!("Bearer {key}");
    for path in ["/v1/stream", "/v1/articles", "/", "/metrics", "/v1/session"] {
        for query in [
            format!("key={key}"),
            format!("access_token={key}"),
            format!("q={key}"),
        ] {
            let headers = [("authorization", bearer.as_str())];
            let asked = format!("{path}?{query}");
            let answer = send(&node.http, Method::GET, &asked, &headers, "").await;
            assert_eq!(reason(&answer), (400, "KEY_IN_QUERY".to_owned()), "{asked}");
            assert!(!answer.text().contains(&key));
        }
    }
    assert!(!node.log().contains(&key));
}
