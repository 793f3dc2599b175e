//! NATS that is not as it must be: each time a word that names the remedy, and nothing is touched.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use async_nats::jetstream::{self, stream};
use barid::wire::proto::v1::Action;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    harness::{LIMIT, Node, article, barid, eventually},
    nats::Nats,
    nats_cluster::{Cluster, deployed},
};

/// Runs `barid` to its end, which must be a failure; returns its words.
async fn refused(args: &[&str]) -> String {
    let dir = tempfile::TempDir::new().unwrap();
    let mut command = barid();
    command.args(args).current_dir(dir.path());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = timeout(LIMIT, run).await.expect("no end in time").unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    words
}

async fn serve_refused(args: &[&str]) -> String {
    let mut all = vec!["serve", "--grpc-listen", "127.0.0.1:0"];
    all.extend(["--http-listen", "127.0.0.1:0"]);
    all.extend(args);
    refused(&all).await
}

#[track_caller]
fn check(words: &str, parts: &[&str]) {
    for part in parts {
        assert!(words.contains(part), "no {part:?} in: {words}");
    }
}

/// No answer at all, from any address: told within the patience, with all of them.
#[tokio::test]
async fn nobody_is_there() {
    // Ports that no other test can be given meanwhile.
    let urls = [1, 2]
        .map(|port| format!("nats://user:hidden@127.0.0.1:{port}"))
        .join(",");
    let words = serve_refused(&["--nats-url", &urls]).await;
    check(&words, &["--nats-url", "start a server"]);
    for url in urls.split(',') {
        check(&words, &[url.rsplit_once('@').unwrap().1]);
    }
    assert!(!words.contains("hidden"), "{words}");
}

/// A server without JetStream.
#[tokio::test]
async fn no_jetstream() {
    let nats = Nats::start_with(None).await;
    let words = serve_refused(&["--nats-url", &nats.url()]).await;
    check(&words, &["has no JetStream", "`jetstream` block"]);
}

/// An older server: one line of its greeting is enough.
#[tokio::test]
async fn an_old_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let info = r#"{"server_id":"N","server_name":"old","version":"2.12.4","max_payload":1048576,"headers":true,"jetstream":true}"#;
        write!(connection, "INFO {info}\r\n").unwrap();
        let mut asked: Vec<u8> = Vec::new();
        while !asked.windows(4).any(|part| part == b"PING") {
            let mut part = [0; 1024];
            let len = connection.read(&mut part).unwrap();
            assert!(len > 0, "the client went away");
            asked.extend(&part[..len]);
        }
        connection.write_all(b"PONG\r\n").unwrap();
    });
    let words = serve_refused(&["--nats-url", &url]).await;
    server.join().unwrap();
    check(&words, &["old is 2.12.4", "2.14.0"]);
}

/// One server can't hold three replicas, nor more bytes than it has; nothing is left behind.
#[tokio::test]
async fn too_small_a_server() {
    let nats = Nats::start_with("sync_interval: always, max_file_store: 10MB").await;
    let url = nats.url();
    let words = serve_refused(&["--nats-url", &url, "--replicas", "3"]).await;
    check(&words, &["on 3 servers", "--replicas"]);
    let words = serve_refused(&["--nats-url", &url, "--log-bytes-max", "1GiB"]).await;
    check(
        &words,
        &["1073741824 bytes", "--log-bytes-max", "max_file_store"],
    );
    check_streams(&nats, &[]).await;
}

async fn check_streams(nats: &Nats, wanted: &[&str]) {
    let context = jetstream::new(nats.client().await);
    let mut names = Vec::new();
    let mut stream = context.stream_names();
    while let Some(name) = futures_util::StreamExt::next(&mut stream).await {
        names.push(name.unwrap());
    }
    assert_eq!(names, wanted);
}

/// Another application's streams: one that has our name, one that takes our subjects, and one that
/// would forget what was accepted. None is changed, and nothing is made beside them.
#[tokio::test]
async fn streams_of_others() {
    let config = |name: &str, subject: &str| stream::Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        ..Default::default()
    };
    let forgetful = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &forgetful.url()]);
    drop(node);
    let context = jetstream::new(forgetful.client().await);
    let ours = context.get_stream("BARID").await.unwrap();
    let mut aged = ours.cached_info().config.clone();
    aged.max_age = std::time::Duration::from_secs(3600);
    context.update_stream(&aged).await.unwrap();
    let words = serve_refused(&["--nats-url", &forgetful.url()]).await;
    check(
        &words,
        &["stream BARID", "discards", "an account of its own"],
    );

    for (config, part) in [
        (config("BARID", "somebody.>"), "barid.epochs"),
        (config("SOMEBODY", "log.>"), "takes log.>"),
    ] {
        let nats = Nats::start().await;
        let context = jetstream::new(nats.client().await);
        let mut made = context.create_stream(&config).await.unwrap();
        let before = made.cached_info().config.clone();
        let words = serve_refused(&["--nats-url", &nats.url()]).await;
        check(&words, &[part, "an account of its own"]);
        assert_eq!(made.info().await.unwrap().config, before);
        check_streams(&nats, &[&config.name]).await;
    }
}

fn status(args: &[&str]) -> Value {
    let dir = tempfile::TempDir::new().unwrap();
    let mut command = barid();
    command
        .args(["log", "status", "--output", "json"])
        .args(args);
    let output = command.current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A server that nobody lets Barid ask may sync or not: that is said, with what would tell. Another
/// log than the settings ask for is said, too.
#[tokio::test]
async fn a_server_that_can_not_be_asked() {
    let nats = Nats::start().await;
    let url = nats.url();
    drop(Node::start_with(&["--nats-url", &url]));
    let node = Node::start_with(&["--nats-url", &url, "--log-bytes-max", "1GiB"]);
    eventually("a warning", async || {
        node.log().contains("could not verify that nats-server")
    })
    .await;
    check(&node.log(), &["accounts.conf", "--max-bytes 1073741824"]);
    let status = status(&["--nats-url", &url]);
    assert_eq!(status["servers"].as_array().unwrap().len(), 1);
    assert_eq!(status["servers"][0]["sync_always"], Value::Null);
}

/// Managed NATS syncs each write, and says so.
#[tokio::test]
async fn managed_nats_syncs() {
    let node = Node::start();
    let url = node.nats_url();
    let status = status(&["--nats-url", &url]);
    assert_eq!(status["servers"][0]["name"], "barid");
    assert_eq!(status["servers"][0]["sync_always"], true);
    assert!(!node.log().contains("could not verify"));
}

/// A cluster as deployed, but for one server with NATS's default sync and for little room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_faults() {
    let late = fs::read_to_string(deployed())
        .unwrap()
        .replace("sync_interval: always", "");
    let mut cluster = Cluster::start_with(&[None, Some(late), None], "100MB").await;
    let url = cluster.url();

    let wrong = url.replace("pbarid", "pwrong");
    let words = serve_refused(&["--nats-url", &wrong]).await;
    check(&words, &["refuses the user and password", "--nats-url"]);
    assert!(!words.contains("pwrong"), "{words}");
    let words = serve_refused(&["--nats-url", &url, "--replicas", "5"]).await;
    check(&words, &["5 servers", "--replicas"]);
    let big = ["--replicas", "3", "--log-bytes-max", "1GiB"];
    let words = serve_refused(&[&["--nats-url", &url], &big[..]].concat()).await;
    check(&words, &["room", "--log-bytes-max", "max_file_store"]);

    let args = ["--nats-url", &url, "--replicas", "3"];
    let node = Node::start_with(&args);
    eventually("a warning", async || {
        node.log()
            .contains("nats-server nats-2 does not sync each write")
    })
    .await;
    check(&node.log(), &["`sync_interval: always`"]);
    for other in ["nats-1", "nats-3"] {
        let sentence = format!("nats-server {other} ");
        assert!(!node.log().contains(&sentence), "{}", node.log());
    }
    let servers = status(&["--nats-url", &url])["servers"].clone();
    let servers: Vec<_> = (servers.as_array().unwrap().iter())
        .map(|one| (one["name"].as_str().unwrap(), one["sync_always"].as_bool()))
        .collect();
    let always = Some(true);
    assert_eq!(
        servers,
        [
            ("nats-1", always),
            ("nats-2", Some(false)),
            ("nats-3", always)
        ]
    );

    // One address of three is dead: a start goes by the others.
    cluster.kill(0);
    let other = Node::start_with(&args);
    let deadline = Instant::now() + crate::nats_cluster::LIMIT;
    while let Err(status) = other
        .publish(Action::Publish, article("test:a", "two of three"))
        .await
    {
        assert!(Instant::now() < deadline, "{status:?}");
    }
}
