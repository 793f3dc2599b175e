//! `barid import`: feeds and files come in once, change as they change, and are asked for politely.

use std::{
    path::Path,
    process::{Child, Output, Stdio},
};

use barid::wire::proto::v1::Action;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    harness::{LIMIT, Node, article, barid, eventually},
    http_articles::get,
};

/// Runs the command to its end.
async fn import(node: &Node, args: &[&str]) -> Output {
    let mut command = barid();
    command.arg("import").args(args);
    command.args(["--server", &format!("http://{}", node.grpc)]);
    command.current_dir(node.data());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Runs the command, which must be content; returns what it prints.
async fn imported(node: &Node, args: &[&str]) -> Vec<Value> {
    let output = import(node, &[args, &["--output", "json"]].concat()).await;
    let (stdout, stderr) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let lines = std::str::from_utf8(stdout).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn listed(node: &Node) -> Vec<Value> {
    let list = get(node, "/v1/articles?limit=100").await.json();
    list["articles"].as_array().unwrap().clone()
}

fn count(lines: &[Value], duplicate: bool) -> usize {
    lines
        .iter()
        .filter(|line| line["duplicate"] == duplicate)
        .count()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn rss(title: &str, items: &str) -> String {
    format!(
        r#"<rss version="2.0"><channel><title>{title}</title><link>https://news.example/</link>
        <language>en</language>{items}</channel></rss>"#
    )
}

fn item(id: &str, title: &str) -> String {
    format!("<item><guid isPermaLink=\"false\">{id}</guid><title>{title}</title></item>")
}

/// A node's feeds in each form come into another node with the same ids, once; what changes there
/// becomes an update here.
#[tokio::test]
async fn feeds_of_another_node() {
    let (there, here) = (Node::start(), Node::start());
    for number in 0..3 {
        let uri = format!("test:{number}");
        let one = article(&uri, &format!("Number {number}"));
        there.publish(Action::Publish, one).await.unwrap();
    }
    let feed = |form: &str| format!("http://{}/feeds/all.{form}", there.http);
    assert_eq!(count(&imported(&here, &[&feed("atom")]).await, false), 3);
    assert_eq!(count(&imported(&here, &[&feed("atom")]).await, true), 3);
    let ids = |list: Vec<Value>| -> Vec<String> {
        list.iter()
            .map(|one| one["altIds"][0]["value"].as_str().unwrap().to_owned())
            .collect()
    };
    // In order, too: oldest first.
    assert_eq!(ids(listed(&here).await), ids(listed(&there).await));

    there
        .publish(Action::Update, article("test:1", "Changed"))
        .await
        .unwrap();
    eventually("the feed has changed", async || {
        get(&there, "/feeds/all.atom")
            .await
            .text()
            .contains("Changed")
    })
    .await;
    let lines = imported(&here, &[&feed("atom")]).await;
    assert_eq!((count(&lines, false), count(&lines, true)), (1, 2));
    let newest = &listed(&here).await[0];
    assert_eq!(
        (&newest["headlines"][0]["value"], &newest["version"]),
        (&"Changed".into(), &"2".into())
    );
    for form in ["rss", "json"] {
        assert_eq!(imported(&here, &[&feed(form)]).await.len(), 3, "{form}");
    }
    assert_eq!(listed(&here).await.len(), 3);
}

/// Files of feeds and of ninjs come in by one command; what is wrong is told by entry.
#[tokio::test]
async fn files() {
    let node = Node::start();
    let folder = TempDir::new().unwrap();
    let items = [
        item("7", "Ministers agree on a cybersecurity centre"),
        item("8", "Two"),
    ]
    .concat();
    let feed = write(folder.path(), "feed.xml", &rss("Wire", &items));
    let ninjs = r#"{"uri": "test:ninjs", "headlines": [{"value": "Three"}]}"#;
    let ninjs = write(folder.path(), "stories.jsonl", &format!("{ninjs}\n"));
    let lines = imported(
        &node,
        &[
            &feed,
            &ninjs,
            "--language",
            "en",
            "--topics",
            "economy.trade",
        ],
    )
    .await;
    assert_eq!(lines.len(), 3);
    let list = listed(&node).await;
    let of = |uri: &str| {
        list.iter()
            .find(|one| one["uri"] == uri)
            .unwrap_or_else(|| panic!("{uri}: {list:?}"))
    };
    assert_eq!(
        of("https://news.example/#7")["infoSources"][0]["name"],
        "Wire"
    );
    let topics: Vec<&Value> = of("test:ninjs")["subjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["literal"])
        .collect();
    assert_eq!(topics, ["economy.trade"]);

    let untold = import(&node, &[&ninjs]).await;
    assert_eq!(untold.status.code(), Some(2));
    let words = String::from_utf8_lossy(&untold.stderr).into_owned();
    assert!(
        words.contains("--language") && words.contains("stories.jsonl:1"),
        "{words}"
    );
    let broken = write(folder.path(), "broken.xml", "<rss><channel>");
    assert_eq!(import(&node, &[&broken]).await.status.code(), Some(2));
    let nowhere = import(&node, &["http://127.0.0.1:1/feed"]).await;
    assert_eq!(nowhere.status.code(), Some(1));
    for bad in [
        &["--watch", &feed][..],
        &["--every", "1ms", &feed],
        &["--language", "x y", &feed],
    ] {
        let refused = import(&node, bad).await;
        assert_eq!(refused.status.code(), Some(2), "{bad:?}");
    }
}

/// A running `barid import --watch`, killed when dropped.
struct Watch(Child);

impl Watch {
    fn start(node: &Node, url: &str) -> Self {
        let mut command = barid();
        command.args(["import", "--watch", "--every", "1s", url]);
        command.args(["--server", &format!("http://{}", node.grpc)]);
        command
            .current_dir(node.data())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Takes one request, answers it, and returns it and how long it was waited for.
async fn serve(listener: &TcpListener, answer: &str) -> String {
    let taken = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let request = head(&mut socket).await;
        let answer = format!("HTTP/1.1 {answer}");
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        request.to_lowercase()
    };
    timeout(LIMIT, taken).await.expect("nobody asks")
}

async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A watched feed is asked for what has changed alone, waited for as long as it says, and imported
/// when it changes.
#[tokio::test]
async fn watches_politely() {
    let node = Node::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/feed", listener.local_addr().unwrap());
    let _watch = Watch::start(&node, &url);
    let whole = |tag: &str, body: &str| {
        format!(
            "200 OK\r\ncontent-type: application/rss+xml\r\netag: {tag}\r\n\
             last-modified: Mon, 01 Jun 2026 10:00:00 GMT\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let first = rss("Wire", &[item("1", "One"), item("2", "Two")].concat());
    let request = serve(&listener, &whole("\"a\"", &first)).await;
    assert!(request.contains("user-agent: barid/"), "{request}");
    assert!(!request.contains("if-none-match"), "{request}");
    eventually("both are here", async || listed(&node).await.len() == 2).await;

    let busy =
        "503 Unavailable\r\nretry-after: 3\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let request = serve(&listener, busy).await;
    assert!(request.contains("if-none-match: \"a\""), "{request}");
    assert!(
        request.contains("if-modified-since: mon, 01 jun 2026 10:00:00 gmt"),
        "{request}"
    );
    let asked = tokio::time::Instant::now();
    let same = "304 Not Modified\r\nconnection: close\r\n\r\n";
    serve(&listener, same).await;
    assert!(asked.elapsed().as_secs_f64() > 2.5, "{:?}", asked.elapsed());

    let second = rss(
        "Wire",
        &[
            item("1", "One"),
            item("2", "Two, changed"),
            item("3", "Three"),
        ]
        .concat(),
    );
    serve(&listener, &whole("\"b\"", &second)).await;
    eventually("the change is here", async || {
        let list = listed(&node).await;
        let of = |uri: &str| {
            list.iter()
                .find(|one| one["uri"] == uri)
                .map(|one| one["version"].clone())
        };
        of("https://news.example/#1") == Some("1".into())
            && of("https://news.example/#2") == Some("2".into())
            && of("https://news.example/#3") == Some("1".into())
    })
    .await;
    let request = serve(&listener, same).await;
    assert!(request.contains("if-none-match: \"b\""), "{request}");
}
