//! Native readers with a key: their topics, and nothing else of NATS.

use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{self, consumer::pull},
};
use barid::wire::proto::v1::{Partner, Role};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::{
    access::{Caller, gazette, story},
    harness::{LIMIT, Node, eventually},
};

/// Longer than what is allowed ever takes on one machine.
const SILENCE: Duration = Duration::from_millis(500);

/// A client that gives up at once what it may not.
async fn connect(node: &Node, seed: &str) -> Client {
    let mut client = None;
    eventually("the nkey is known", async || {
        let options = ConnectOptions::with_nkey(seed.to_owned())
            .request_timeout(Some(SILENCE))
            .max_reconnects(1);
        client = options.connect(&node.nats).await.ok();
        client.is_some()
    })
    .await;
    client.unwrap()
}

/// A pull consumer within the stream BARID, made by the one call that readers have.
async fn consumer(
    client: &Client,
    name: &str,
    filter: &str,
) -> Result<jetstream::consumer::Consumer<pull::Config>, async_nats::Error> {
    let stream = jetstream::new(client.clone())
        .get_stream_no_info("BARID")
        .await?;
    let config = pull::Config {
        name: Some(name.to_owned()),
        filter_subject: filter.to_owned(),
        ..pull::Config::default()
    };
    Ok(stream.create_consumer(config).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_key_reads_its_topics_and_nothing_else() {
    let node = Node::start_with_keys(&[]);
    // Nobody comes without a key.
    async_nats::connect(&node.nats).await.unwrap_err();
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    desk.partner(Partner {
        name: "tribune".to_owned(),
        ..gazette()
    })
    .await;
    let (id, seed) = desk.key("gazette", Role::Native, None).await;
    let (other_id, other_seed) = desk.key("tribune", Role::Native, None).await;
    let client = connect(&node, &seed).await;
    let other = connect(&node, &other_seed).await;

    let mut granted = client.subscribe("news.ict.>").await.unwrap();
    let mut denied = client.subscribe("news.economy").await.unwrap();
    let mut everything = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    desk.publish(story("test:1", &["ict.telecom"]))
        .await
        .unwrap();
    desk.publish(story("test:2", &["economy"])).await.unwrap();
    desk.publish(story("test:3", &["ict.telecom"]))
        .await
        .unwrap();
    for _ in 0..2 {
        let message = timeout(LIMIT, granted.next()).await.unwrap().unwrap();
        assert_eq!(message.subject.as_str(), "news.ict.telecom");
    }
    timeout(SILENCE, denied.next()).await.unwrap_err();
    timeout(SILENCE, everything.next()).await.unwrap_err();

    let consumer_of = consumer(&client, &id, "log.news.ict.>").await.unwrap();
    let mut messages = consumer_of.messages().await.unwrap();
    for _ in 0..2 {
        let message = timeout(LIMIT, messages.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(message.subject.as_str(), "log.news.ict.telecom");
        message.ack().await.unwrap();
    }
    for (name, filter) in [
        (format!("{id}-2"), "log.news.economy"),
        (format!("{id}-2"), "log.news.>"),
        (format!("{id}-2"), "log.article.>"),
        (format!("{id}-5"), "log.news.ict.>"),
        (other_id.clone(), "log.news.ict.>"),
        ("any".to_owned(), "log.news.ict"),
    ] {
        let made = consumer(&client, &name, filter).await;
        assert!(made.is_err(), "{name} of {filter}");
    }
    let theirs = consumer(&other, &other_id, "log.news.ict.>").await.unwrap();
    drop(theirs);
    for subject in [
        format!("$JS.API.CONSUMER.MSG.NEXT.BARID.{other_id}"),
        format!("$JS.API.CONSUMER.INFO.BARID.{other_id}"),
        format!("$JS.API.CONSUMER.DELETE.BARID.{other_id}"),
        "$JS.API.STREAM.INFO.BARID".to_owned(),
        "$JS.API.STREAM.DELETE.BARID".to_owned(),
        "$JS.API.STREAM.PURGE.BARID".to_owned(),
        "$JS.API.STREAM.MSG.GET.BARID".to_owned(),
        "$JS.API.DIRECT.GET.BARID".to_owned(),
        "$JS.API.STREAM.INFO.KV_barid-partners".to_owned(),
        "$JS.API.STREAM.CREATE.x".to_owned(),
        "$SYS.REQ.SERVER.PING".to_owned(),
        "log.article.x".to_owned(),
    ] {
        let answered = client.request(subject.clone(), "{\"seq\":1}".into()).await;
        assert!(answered.is_err(), "{subject}: {answered:?}");
    }
    // What it publishes stays with itself.
    let mut theirs = other.subscribe("news.>").await.unwrap();
    other.flush().await.unwrap();
    for subject in ["news.ict", "log.news.ict", "news.ict.telecom"] {
        client.publish(subject, "forged".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    timeout(SILENCE, theirs.next()).await.unwrap_err();

    // A grant that changes, and one that a subject can't carry.
    desk.update("tribune", |partner| {
        partner.subscribe.as_mut().unwrap().languages = vec!["ar".to_owned()];
    })
    .await;
    let since = Instant::now();
    ended(&other).await;
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    desk.revoke(&id).await;
    let since = Instant::now();
    ended(&client).await;
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    let again = ConnectOptions::with_nkey(seed).connect(&node.nats).await;
    again.unwrap_err();
}

/// Waits until the server has sent a client away.
async fn ended(client: &Client) {
    eventually("the connection is gone", async || {
        client.connection_state() != async_nats::connection::State::Connected
            || client.flush().await.is_err()
    })
    .await;
}

/// Native readers stay over a death of NATS, and go on where their consumer was.
#[tokio::test(flavor = "multi_thread")]
async fn a_native_key_stays_over_a_restart_of_nats() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (id, seed) = desk.key("gazette", Role::Native, None).await;
    let client = connect(&node, &seed).await;
    desk.publish(story("test:1", &["ict"])).await.unwrap();
    let made = consumer(&client, &id, "log.news.ict").await.unwrap();
    let mut messages = made.messages().await.unwrap();
    timeout(LIMIT, messages.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    node.kill_nats();
    eventually("NATS is back", async || {
        desk.publish(story("test:2", &["ict"])).await.is_ok()
    })
    .await;
    connect(&node, &seed).await;
}

/// What a cluster's servers are told is what managed NATS has.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_for_a_cluster_are_printed() {
    let node = Node::start_with_keys(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (id, _) = desk.key("gazette", Role::Native, None).await;
    let keys = node.data().join("keys");
    let server = format!("http://{}", node.grpc);
    let args = [
        "key",
        "nats-accounts",
        "--server",
        &server,
        "--key-file",
        keys.to_str().unwrap(),
    ];
    let mut printed = String::new();
    eventually("the account is printed", async || {
        printed = crate::command_line::run(&args, b"").stdout;
        printed.contains(&id)
    })
    .await;
    // The same as managed NATS has, but for the account's name.
    let conf = std::fs::read_to_string(node.data().join("nats.conf")).unwrap();
    let (_, rest) = printed.trim_end().split_once('{').unwrap();
    assert!(
        printed.starts_with(&format!("  NATIVE_{id} {{")) && conf.contains(rest),
        "{printed}\n{conf}"
    );
}
