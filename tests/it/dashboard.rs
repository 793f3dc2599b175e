//! The dashboard as bytes: its policy, its files, and how it refuses. What it does in a browser is
//! tested there, `tests/browser`.

use barid::wire::proto::v1::{Action, Article};
use http_body_util::BodyExt as _;
use hyper::{Response, body::Incoming};
use tokio::time::timeout;

use crate::{
    harness::{LIMIT, Node, article},
    web::{get, open},
};

async fn text(response: Response<Incoming>) -> String {
    let body = timeout(LIMIT, response.into_body().collect()).await;
    String::from_utf8(body.unwrap().unwrap().to_bytes().to_vec()).unwrap()
}

fn header<'a>(response: &'a Response<Incoming>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

/// Every page lets nothing run but our own files, which are there, are kept for ever, and have
/// names that change with them.
#[tokio::test]
async fn pages_let_nothing_else_run() {
    let node = Node::start();
    let page = open(&node.http, get("/")).await;
    assert_eq!(page.status(), 200);
    let policy = header(&page, "content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header(&page, "cache-control"), "no-store");
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    let page = text(page).await;
    let mut count = 0;
    for path in page.split('"').filter(|part| part.starts_with("/assets/")) {
        let file = open(&node.http, get(path)).await;
        assert_eq!(file.status(), 200, "{path}");
        assert!(header(&file, "cache-control").contains("immutable"));
        count += 1;
    }
    assert_eq!(count, 3, "{page}");
    let other = open(&node.http, get("/assets/dashboard-0000000000000000.js")).await;
    assert_eq!(other.status(), 404);
}

/// What can't be shown is a page with the right status, in the language of the reader.
#[tokio::test]
async fn refuses_in_pages() {
    let node = Node::start();
    for (path, status, reason) in [
        ("/?topics=ict.telecon", 400, "TOPIC_UNKNOWN"),
        ("/?urgency=high", 400, "FIELD_INVALID"),
        ("/?page=nonsense", 400, "FIELD_INVALID"),
        ("/desk/articles/7", 400, "FIELD_INVALID"),
        ("/desk/articles/7/row", 400, "FIELD_INVALID"),
        (
            "/desk/articles/6fa459ea-ee8a-3ca4-894e-db77e160355e?ui=ar",
            404,
            "ARTICLE_UNKNOWN",
        ),
    ] {
        let page = open(&node.http, get(path)).await;
        assert_eq!(page.status(), status, "{path}");
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        let page = text(page).await;
        assert!(page.contains(reason), "{path}: {page}");
        assert_eq!(page.contains("dir=\"rtl\""), path.contains("ui=ar"));
    }
}

/// Earlier news is a page of its own that does not live.
#[tokio::test]
async fn goes_back_in_pages() {
    let node = Node::start();
    for number in 0..31 {
        let headline = format!("number {number:02}");
        let article = article(&format!("test:{number}"), &headline);
        node.publish(Action::Publish, article).await.unwrap();
    }
    let newest = text(open(&node.http, get("/?languages=en")).await).await;
    assert!(newest.contains("number 30") && newest.contains("number 01"));
    assert!(!newest.contains("number 00"));
    assert!(newest.contains("data-stream=\"/v1/stream?languages=en&amp;from="));
    let link = newest.split("href=\"").find(|part| part.contains("page="));
    let path = link
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let earlier = text(open(&node.http, get(&path)).await).await;
    assert!(earlier.contains("number 00") && !earlier.contains("number 01"));
    assert!(!earlier.contains("data-stream"));
}

/// A text is only ever a text, whatever it looks like; an HTML body is shown as its plain text.
#[tokio::test]
async fn texts_are_escaped() {
    let node = Node::start();
    let article = Article {
        headline: "<b onclick=x()>\"bold\"</b>".to_owned(),
        body: "<p>one &lt;two&gt;</p>".to_owned(),
        body_type: 2,
        ..article("test:html", "")
    };
    let answer = node.publish(Action::Publish, article).await.unwrap();
    let page = format!("/desk/articles/{}", answer.article_id);
    for path in ["/", &page] {
        let shown = text(open(&node.http, get(path)).await).await;
        assert!(shown.contains("&lt;b onclick=x()&gt;"), "{path}: {shown}");
        assert!(!shown.contains("<b onclick"), "{path}: {shown}");
    }
    let shown = text(open(&node.http, get(&page)).await).await;
    assert!(shown.contains(">one &lt;two&gt;</p>"), "{shown}");
}
