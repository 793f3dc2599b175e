//! What clients are held to: how many, how fast, how slow, how long idle; and that whoever breaks a
//! bound touches nobody else.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use barid::wire::proto::v1::Action;
use http_body_util::Empty;
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use crate::{
    certificates::Authority,
    harness::{
        LIMIT, Node, article, barid, eventually, everything, nats_server, without_variables,
    },
    web::{get, metric_of, open, problem},
};

/// A connection from another address of this machine than the usual one.
async fn connect_from(source: &str, address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{source}:0").parse().unwrap())?;
    let address: SocketAddr = address.parse().unwrap();
    timeout(LIMIT, socket.connect(address)).await?
}

/// What comes on a connection until the server ends it.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(LIMIT, socket.read_to_end(&mut bytes)).await;
    // A reset ends it as well.
    let _ended = read.expect("the server does not end it");
    bytes
}

async fn cut(node: &Node, reason: &str) -> f64 {
    metric_of(node, "barid_connections_cut_total", reason).await
}

async fn publish(node: &Node, number: usize) {
    let article = article(&format!("test:{number}"), "a headline");
    node.publish(Action::Publish, article).await.unwrap();
}

/// Who does not begin in time, in whatever way, is cut off; who has begun is not.
#[tokio::test]
async fn slow_clients() {
    let node = Node::start_with(&["--begin-timeout", "300ms"]);
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    let before = cut(&node, "slow").await;
    for (address, said) in [
        (&node.grpc, ""),
        (&node.grpc, "PRI * HTTP/2.0\r\n"),
        (&node.http, ""),
        (&node.http, "GET /v1/stream HTTP/1.1\r\nHost: a\r\nX-A: "),
        (&node.http, "POST / HTTP/1.1\r\nHost: a\r\n"),
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let answer = rest(&mut socket).await;
        if address == &node.http {
            assert!(answer.starts_with(b"HTTP/1.1 408 "), "{said:?}: {answer:?}");
        }
    }
    // A byte now and then is not enough.
    let mut drip = TcpStream::connect(&node.http).await.unwrap();
    let dripped = async {
        let mut answer = [0];
        loop {
            drip.write_all(b"G").await?;
            let pause = Duration::from_millis(20);
            if let Ok(read) = timeout(pause, drip.read(&mut answer)).await {
                return read;
            }
        }
    };
    let _cut_off = timeout(LIMIT, dripped).await.expect("it goes on for ever");
    assert_eq!(cut(&node, "slow").await - before, 6.0);
    publish(&node, 1).await;
    reader.delivery().await;
}

/// The same with TLS: without a word, and in the middle of a handshake.
#[tokio::test]
async fn slow_handshakes() {
    let folder = TempDir::new().unwrap();
    let pair = Authority::new(folder.path(), "authority").pair("server");
    let node = Node::start_with(&[&pair.flags()[..], &["--begin-timeout", "300ms"]].concat());
    for address in [&node.grpc, &node.http] {
        for said in [&b""[..], &[0x16, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3]] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(said).await.unwrap();
            assert_eq!(rest(&mut socket).await, b"");
        }
    }
    eventually("a line in the log", async || {
        node.log().contains("reason=\"slow\"")
    })
    .await;
}

/// A full node refuses in the words of each protocol, still says that it lives, and takes others
/// when one leaves.
#[tokio::test]
async fn full() {
    let node = Node::start_with(&["--connections-max", "2"]);
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    let held = open(&node.http, get("/v1/stream")).await;
    assert_eq!(held.status(), StatusCode::OK);

    let (status, found) = problem(&node.http, get("/v1/stream")).await;
    assert_eq!((status, &found["reason"]), (503, &Value::from("NODE_FULL")));
    let refused = open(&node.http, get("/v1/stream")).await;
    assert_eq!(refused.headers()["retry-after"], "10");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(open(&node.http, get(path)).await.status(), StatusCode::OK);
    }
    assert!(node.subscribe(everything()).await.is_err());
    let mut refused = TcpStream::connect(&node.grpc).await.unwrap();
    let goodbye = rest(&mut refused).await;
    assert!(goodbye.ends_with(b"ask another"), "{goodbye:?}");
    assert!(cut(&node, "full").await >= 5.0);
    assert_eq!(metric_of(&node, "barid_connections", "grpc").await, 1.0);

    drop(held);
    eventually("room", async || node.subscribe(everything()).await.is_ok()).await;
    publish_on_the_full_node(&node).await;
    reader.delivery().await;
}

/// The publisher needs a connection, too.
async fn publish_on_the_full_node(node: &Node) {
    eventually("a publish", async || {
        let article = article("test:full", "a headline");
        node.publish(Action::Publish, article).await.is_ok()
    })
    .await;
}

/// One address has its number of connections, and another its own.
#[tokio::test]
async fn of_one_address() {
    let node = Node::start_with(&["--connections-per-address-max", "3"]);
    let from = |source| connect_from(source, &node.http);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(from("127.0.0.2").await.unwrap());
    }
    let head = b"GET /v1/nothing HTTP/1.1\r\nhost: a\r\n\r\n";
    let ask = async |source| {
        let mut socket = from(source).await.unwrap();
        socket.write_all(head).await.unwrap();
        let mut answer = [0; 12];
        timeout(LIMIT, socket.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(ask("127.0.0.2").await, "HTTP/1.1 429");
    assert_eq!(ask("127.0.0.3").await, "HTTP/1.1 404");
    assert_eq!(cut(&node, "address").await, 1.0);
    let mut refused = connect_from("127.0.0.2", &node.grpc).await.unwrap();
    let goodbye = rest(&mut refused).await;
    assert!(goodbye.ends_with(b"close some"), "{goodbye:?}");
    held.pop();
    eventually("room", async || ask("127.0.0.2").await == "HTTP/1.1 404").await;
}

/// While one address opens connections as fast as it can, those who read on others miss nothing,
/// and the log is not flooded.
#[tokio::test]
async fn a_flood() {
    let node = Node::start_with(&["--connection-rate-per-address", "2"]);
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    let flood = tokio::spawn({
        let (grpc, http) = (node.grpc.clone(), node.http.clone());
        async move {
            let mut held = Vec::new();
            loop {
                for address in [&grpc, &http] {
                    if let Ok(socket) = connect_from("127.0.0.2", address).await {
                        held.push(socket);
                    }
                }
                if held.len() > 400 {
                    held.clear();
                }
            }
        }
    });
    eventually("a flood", async || cut(&node, "rate").await > 500.0).await;
    let begun = Instant::now();
    for number in 0..50 {
        publish(&node, number).await;
        assert_eq!(reader.delivery().await.revision, 1);
    }
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    let mut other = connect_from("127.0.0.3", &node.http).await.unwrap();
    let ask = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    other.write_all(ask).await.unwrap();
    assert!(rest(&mut other).await.ends_with(b"alive\n"));
    assert!(!flood.is_finished());
    flood.abort();
    let line_count = node.log().matches("reason=\"rate\"").count();
    assert!((1..10).contains(&line_count), "{line_count} lines");
}

/// A connection without a request ends, over gRPC with the protocol's own goodbye; one with an open
/// stream does not, however quiet.
#[tokio::test]
async fn idle() {
    let node = Node::start_with(&["--idle-timeout", "300ms"]);
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    let quiet = open(&node.http, get("/v1/stream")).await;

    let socket = TcpStream::connect(&node.grpc).await.unwrap();
    let (_client, connection) = h2::client::handshake(socket).await.unwrap();
    // Without an error: it was asked to leave, and has left.
    timeout(LIMIT, connection).await.unwrap().unwrap();
    assert_eq!(cut(&node, "idle").await, 1.0);

    let socket = TcpStream::connect(&node.http).await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request: Request<Empty<Bytes>> = get("/healthz");
    client.send_request(request).await.unwrap();
    timeout(LIMIT, connection).await.unwrap().unwrap().unwrap();
    eventually("both are counted", async || cut(&node, "idle").await == 2.0).await;

    publish(&node, 1).await;
    reader.delivery().await;
    assert_eq!(metric_of(&node, "barid_subscribers", "grpc").await, 1.0);
    assert_eq!(metric_of(&node, "barid_subscribers", "sse").await, 1.0);
    drop(quiet);
}

/// A client that opens calls and resets them at once, as fast as it can (CVE-2023-44487), loses its
/// connection; a subscriber on another does not notice.
#[tokio::test]
async fn a_flood_of_resets() {
    let node = Node::start();
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    let mut socket = TcpStream::connect(&node.grpc).await.unwrap();
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for number in 0..1000_u32 {
        let stream = (2 * number + 1).to_be_bytes();
        // HEADERS that end the head: POST, http, / of the static table; then RST_STREAM, CANCEL.
        frames.extend([&[0, 0, 3, 1, 4], &stream[..], &[0x83, 0x86, 0x84]].concat());
        frames.extend([&[0, 0, 4, 3, 0], &stream[..], &[0, 0, 0, 8]].concat());
    }
    // It may be over before all is written.
    let _cut_off = socket.write_all(&frames).await;
    eventually("the flood is counted", async || {
        cut(&node, "flood").await == 1.0
    })
    .await;
    publish(&node, 1).await;
    reader.delivery().await;
}

/// Metadata without end is refused, and what is refused is only the call.
#[tokio::test]
async fn long_metadata() {
    let node = Node::start();
    let socket = TcpStream::connect(&node.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    for (len, status) in [
        (20_000, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        (1_000, StatusCode::OK),
    ] {
        let request = Request::post(format!("http://{}/grpc.health.v1.Health/Check", node.grpc))
            .header("content-type", "application/grpc")
            .header("x-long", "a".repeat(len))
            .body(())
            .unwrap();
        let mut client = client.clone().ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let answer = timeout(LIMIT, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), status);
    }
}

/// The soft limit of open files is raised to the hard one, and the log says if that is low.
#[test]
fn open_files() {
    let folder = TempDir::new().unwrap();
    let program = barid();
    let log = folder.path().join("log");
    let mut child = without_variables(Command::new("sh"))
        .args([
            "-c",
            "ulimit -Sn 200 && ulimit -Hn 400 && exec \"$0\" \"$@\" 2>log",
        ])
        .arg(program.get_program())
        .args([
            "serve",
            "--grpc-listen",
            "127.0.0.1:0",
            "--http-listen",
            "127.0.0.1:0",
        ])
        .args(["--nats-listen", "127.0.0.1:0", "--nats-server"])
        .arg(nats_server())
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let pid = child.id();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(status.success(), "{status}: {line}{log}");
    assert!(
        log.contains("too few open files") && log.contains("connections_max=272"),
        "{log}"
    );
    // Where the system tells.
    if let Ok(limits) = limits {
        let files = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let soft = files.unwrap().split_whitespace().nth(3);
        assert_eq!(soft, Some("400"));
    }
}
