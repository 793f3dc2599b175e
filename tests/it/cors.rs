//! Pages of other sites: a partner lists the origins of its own, and no other page is told anything.

use barid::wire::proto::v1::Role;
use http::{Method, StatusCode};

use crate::{
    access::{Caller, gazette, story},
    harness::{Node, eventually, new_id},
    http_articles::{Answer, send},
};

const DESK: &str = "https://desk.gazette.example";
const OTHER: &str = "https://tribune.example";
const OPENED: &str = "access-control-allow-origin";

async fn preflight(node: &Node, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    send(&node.http, Method::OPTIONS, path, &headers, "").await
}

fn is_open_to(answer: &Answer, origin: &str) -> bool {
    assert!(
        !answer
            .headers
            .contains_key("access-control-allow-credentials")
    );
    answer.header(OPENED) == origin && answer.header("vary").contains("origin")
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_partner_may_ask_with_its_keys() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    let id = desk.publish(story("test:cors", &["ict"])).await.unwrap();
    let mut partner = gazette();
    partner.origins = vec![DESK.to_owned()];
    desk.partner(partner).await;
    let mut other = gazette();
    (other.name, other.origins) = ("tribune".to_owned(), vec![OTHER.to_owned()]);
    desk.partner(other).await;
    let (_, key) = desk.key("gazette", Role::Subscriber, None).await;
    let bearer = format!("Bearer {key}");
    let get = async |path: &str, bearer: &str, origin: &str| {
        let headers = [("authorization", bearer), ("origin", origin)];
        send(&node.http, Method::GET, path, &headers, "").await
    };
    eventually("the node knows both", async || {
        let answer = get("/v1/topics", &bearer, DESK).await;
        answer.status == StatusCode::OK
            && preflight(&node, "/v1/articles", OTHER).await.status == 204
    })
    .await;

    for path in ["/v1/articles", "/v1/stream", "/feeds/ict.json"] {
        let asked = preflight(&node, path, DESK).await;
        assert_eq!(asked.status, StatusCode::NO_CONTENT, "{path}");
        assert!(is_open_to(&asked, DESK), "{path}");
        assert!(
            asked
                .header("access-control-allow-headers")
                .contains("authorization")
        );
        for foreign in [
            "https://evil.example",
            "null",
            "https://desk.gazette.example:444",
        ] {
            let asked = preflight(&node, path, foreign).await;
            assert_eq!(asked.status, StatusCode::FORBIDDEN, "{path}");
            assert!(!asked.headers.contains_key(OPENED), "{path}");
        }
    }
    // Sessions are for our own pages.
    assert_eq!(preflight(&node, "/v1/session", DESK).await.status, 405);

    let article = format!("/v1/articles/{id}");
    for path in ["/v1/topics", "/v1/articles", &article, "/feeds/ict.json"] {
        let answer = get(path, &bearer, DESK).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(is_open_to(&answer, DESK), "{path}");
        assert!(
            answer
                .header("access-control-expose-headers")
                .contains("etag")
        );
        // A key opens nothing to pages of another partner, or of nobody.
        for origin in [OTHER, "https://evil.example", "null"] {
            let answer = get(path, &bearer, origin).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(!answer.headers.contains_key(OPENED), "{path} {origin}");
        }
    }
    // A page hears what is wrong with its key.
    let refused = get("/v1/articles", "Bearer nonsense", DESK).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(is_open_to(&refused, DESK));
    let body = r#"{"uri": "test:page", "language": "en", "headlines": [{"value": "A network"}],
        "subjects": [{"rel": "topic", "literal": "ict"}]}"#;
    let (_, publisher) = desk.key("gazette", Role::Publisher, None).await;
    let bearer_of_publisher = format!("Bearer {publisher}");
    eventually("a page publishes", async || {
        let id = new_id();
        let headers = [
            ("authorization", bearer_of_publisher.as_str()),
            ("origin", DESK),
            ("content-type", "application/json"),
            ("idempotency-key", &id),
        ];
        let answer = send(
            &node.http,
            Method::POST,
            "/v1/articles?routing=stated",
            &headers,
            body,
        )
        .await;
        answer.status.is_success() && is_open_to(&answer, DESK)
    })
    .await;
    // As an EventSource by fetch would.
    let mut request = crate::web::get("/v1/stream");
    let headers = request.headers_mut();
    headers.insert("authorization", bearer.parse().unwrap());
    headers.insert("origin", DESK.parse().unwrap());
    let stream = crate::web::open(&node.http, request).await;
    assert_eq!(stream.headers()[OPENED], DESK);

    // What is struck off is closed at once.
    desk.update("gazette", |partner| partner.origins.clear())
        .await;
    eventually("it is struck off", async || {
        let answer = get("/v1/topics", &bearer, DESK).await;
        let asked = preflight(&node, "/v1/articles", DESK).await;
        !answer.headers.contains_key(OPENED) && asked.status == StatusCode::FORBIDDEN
    })
    .await;
}

/// What no browser would write is refused, with what it would.
#[tokio::test(flavor = "multi_thread")]
async fn origins_are_checked() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    for bad in [
        "*",
        "null",
        "desk.example",
        "https://desk.example/",
        "file:///x",
    ] {
        let mut partner = gazette();
        partner.origins = vec![bad.to_owned()];
        let status = desk.try_partner(partner).await.unwrap_err();
        assert_eq!(
            crate::harness::fields(&status),
            ["partner.origins[0]"],
            "{bad}"
        );
    }
}
