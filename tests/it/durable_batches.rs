//! The places of durable subscriptions are written together: many at a time, one write for many
//! acknowledgements of one, and nobody held up by another whose entry has changed.

use async_nats::jetstream::{self, kv};
use barid::wire::proto::v1::{
    AcknowledgeRequest, DeleteSubscriptionRequest, SubscribeResponse,
    recipient_service_client::RecipientServiceClient, subscribe_response::Frame,
    subscriber_service_client::SubscriberServiceClient,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;
use tonic::{Streaming, transport::Channel};

use crate::{
    durable::{Bot, named, publish, shown},
    harness::{LIMIT, Node, filter, seq},
    nats::Nats,
    web,
};

const BUCKET: &str = "barid-subscriptions";
const COMMITS: &str = "barid_subscription_commit_duration_seconds_count";
/// Bots at a time.
const BOTS: usize = 200;
/// Of those, the ones whose entries somebody else writes meanwhile.
const CROSSED: usize = 20;

/// An open stream among many on one connection.
struct Stream {
    name: String,
    token: String,
    _frames: Streaming<SubscribeResponse>,
}

async fn open(channel: Channel, name: String) -> Stream {
    let mut client = SubscriberServiceClient::new(channel);
    let request = named(&name, filter(&[]));
    let mut frames = client.subscribe(request).await.unwrap().into_inner();
    let first = timeout(LIMIT, frames.message()).await.unwrap().unwrap();
    let Some(Frame::Opened(opened)) = first.unwrap().frame else {
        panic!("not opened");
    };
    Stream {
        name,
        token: opened.token,
        _frames: frames,
    }
}

async fn acknowledge(channel: Channel, name: &str, token: &str, cursor: &str) -> String {
    let request = AcknowledgeRequest {
        subscription: name.to_owned(),
        token: token.to_owned(),
        cursor: cursor.to_owned(),
    };
    let mut client = SubscriberServiceClient::new(channel);
    let answer = client.acknowledge(request).await.unwrap();
    answer.into_inner().cursor
}

/// Acknowledgements that come together are stored together, each as far as its own says; one whose
/// entry somebody else has written meanwhile is tried anew, and holds up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_are_written_together() {
    let node = Node::start();
    let cursors = publish(&node, 3).await;
    let channel = node.channel();
    let names = (0..BOTS).map(|number| format!("bot-{number}"));
    let opened = stream::iter(names).map(|name| open(channel.clone(), name));
    let bots: Vec<Stream> = opened.buffer_unordered(BOTS).collect().await;

    let bucket = jetstream::new(node.nats_owner().await);
    let bucket = bucket.get_key_value(BUCKET).await.unwrap();
    // As another node would: what this one knows of these is older than what there is.
    let cross = async {
        for number in 0..CROSSED {
            let key = format!("_.bot-{number}");
            let entry = bucket.entry(key.as_str()).await.unwrap().unwrap();
            // The same again; the node may be faster.
            let _is_first = bucket
                .update(key.as_str(), entry.value, entry.revision)
                .await;
        }
    };
    let before = web::metric_of(&node, COMMITS, "").await;
    let acknowledged = async |cursor: &str| {
        let all = stream::iter(&bots).map(async |bot| {
            let stored = acknowledge(channel.clone(), &bot.name, &bot.token, cursor).await;
            assert_eq!(stored, cursor, "{}", bot.name);
        });
        all.buffer_unordered(BOTS).count().await
    };
    let (count, ()) = tokio::join!(acknowledged(&cursors[1]), cross);
    assert_eq!(count, BOTS);
    // Nor does one go back that comes late.
    let stored = acknowledge(channel.clone(), &bots[0].name, &bots[0].token, &cursors[0]).await;
    assert_eq!(stored, cursors[1]);
    assert_eq!(acknowledged(&cursors[2]).await, BOTS);
    let commits = web::metric_of(&node, COMMITS, "").await - before;
    let most = 2 * BOTS / 4;
    assert!(commits <= most as f64, "{commits} commits for {}", 2 * BOTS);
    for number in [0, CROSSED - 1, CROSSED, BOTS - 1] {
        let kept = shown(&node, &format!("bot-{number}")).await;
        assert_eq!(kept.cursor, cursors[2], "bot-{number}");
    }
}

/// Of one subscription's acknowledgements in flight, the furthest stands for all.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_one_are_one_write() {
    let node = Node::start();
    let cursors = publish(&node, 60).await;
    let channel = node.channel();
    let bot = open(channel.clone(), "bot".to_owned()).await;
    let before = web::metric_of(&node, COMMITS, "").await;
    let all = stream::iter(&cursors).map(async |cursor| {
        let stored = acknowledge(channel.clone(), &bot.name, &bot.token, cursor).await;
        assert!(seq(&stored) >= seq(cursor), "{stored} for {cursor}");
    });
    let count = all.buffer_unordered(cursors.len()).count().await;
    assert_eq!(count, cursors.len());
    let commits = web::metric_of(&node, COMMITS, "").await - before;
    assert!(commits <= 20.0, "{commits} commits");
    assert_eq!(&shown(&node, "bot").await.cursor, cursors.last().unwrap());
}

/// A bucket that an earlier release made is made to take batches, with what it holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_an_earlier_release() {
    let nats = Nats::start().await;
    let client = jetstream::new(nats.client().await);
    let config = kv::Config {
        bucket: BUCKET.to_owned(),
        ..kv::Config::default()
    };
    client.create_key_value(config).await.unwrap();
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let cursors = publish(&node, 1).await;
    let bot = Bot::open(&node, named("bot", filter(&[]))).await.unwrap();
    bot.acknowledge(&node, &cursors[0]).await.unwrap();
    let stream = client.get_stream(format!("KV_{BUCKET}")).await.unwrap();
    let info = stream.cached_info();
    assert!(info.config.allow_atomic_publish);
    assert_eq!(
        (info.config.max_messages_per_subject, info.state.messages),
        (1, 1)
    );
}

/// A name that was removed can be used anew, and begins where it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_name_is_free() {
    let node = Node::start();
    let cursors = publish(&node, 2).await;
    for _ in 0..2 {
        let mut bot = Bot::open(&node, named("bot", filter(&[]))).await.unwrap();
        assert_eq!(bot.reader.delivery().await.cursor, cursors[0]);
        bot.acknowledge(&node, &cursors[1]).await.unwrap();
        let request = DeleteSubscriptionRequest {
            name: "bot".to_owned(),
            ..DeleteSubscriptionRequest::default()
        };
        let mut client = RecipientServiceClient::new(node.channel());
        client.delete_subscription(request).await.unwrap();
    }
}
