//! `barid bench subscriptions`: many durable subscriptions, and what their acknowledgements cost.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, stream};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Streaming};
use uuid::Uuid;

use crate::{
    cli::bench::{
        Figure, Latencies,
        fanout::process::{cpu, memory_kib},
        load,
        node::{self, Node, NodeArgs},
        print,
    },
    wire::{
        proto::v1::{
            AcknowledgeRequest, PublishRequest, SubscribeRequest, SubscribeResponse,
            publisher_service_client::PublisherServiceClient, subscribe_response::Frame,
            subscriber_service_client::SubscriberServiceClient,
        },
        subject::SUBSCRIPTIONS_BUCKET,
    },
};

/// Streams on one connection.
const STREAMS_EACH: usize = 500;
/// Streams that are opened at a time.
const OPENED_AT_ONCE: usize = 64;
/// How often a stream is asked for while the node says that it can't open it, and between two tries.
const TRIES_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of a body.
const BODY_BYTES: usize = 2000;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct SubscriptionsArgs {
    /// Durable subscriptions, each with a stream
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    subscriptions: u32,
    /// Articles that each of them gets, and acknowledges one by one
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    articles: u32,
    #[command(flatten)]
    node: NodeArgs,
}

/// One open stream.
struct Bot {
    name: String,
    token: String,
    channel: load::Connection,
    frames: Streaming<SubscribeResponse>,
}

/// Measures and prints.
///
/// # Errors
/// What the node says; a delivery that does not come.
pub async fn run(args: SubscriptionsArgs) -> anyhow::Result<()> {
    let folder = node::folder()?;
    let node = Node::start(folder.path(), &args.node).await?;
    let pid = node.pid()?;
    let nats_pid = std::fs::read_to_string(folder.path().join("nats-server.pid"))?;
    let nats_pid: u32 = nats_pid.trim().parse().context("the process of NATS")?;
    let count = f64::from(args.subscriptions);
    let before = memory_kib(pid)?;
    let began = node::now();
    let bots = open_all(&node, args.subscriptions).await?;
    let open_time = began.elapsed();
    let after = memory_kib(pid)?;
    let mut publisher = PublisherServiceClient::new(load::connect(&node).await?);
    for _ in 0..args.articles {
        let request = PublishRequest {
            request_id: Uuid::new_v4().to_string(),
            article: Some(load::article(BODY_BYTES)),
            ..PublishRequest::default()
        };
        publisher.publish(request).await?;
    }
    let cpu_before = (cpu(pid)?, cpu(nats_pid)?);
    let began = node::now();
    let mut work = JoinSet::new();
    for bot in bots {
        work.spawn(acknowledge_all(bot, args.articles));
    }
    let (mut latencies, mut open) = (Latencies::default(), Vec::new());
    while let Some(done) = work.join_next().await {
        let (bot, measured) = done??;
        latencies.add_all(&measured)?;
        open.push(bot);
    }
    let time = began.elapsed().as_secs_f64();
    let cpu_after = (cpu(pid)?, cpu(nats_pid)?);
    let acknowledged = count * f64::from(args.articles);
    let each_us = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e6;
    let (entries, bytes) = bucket(folder.path()).await?;
    let one = |name, value: f64| Figure::new(name, vec![value], None);
    let figures = [
        one("subscriptions", count),
        one("openings a second", count / open_time.as_secs_f64()),
        one("KiB of the node for each", grown(before, after) / count),
        one("acknowledgements a second", acknowledged / time),
        one("acknowledgement, p50 ms", latencies.quantile_ms(0.5)),
        one("acknowledgement, p99 ms", latencies.quantile_ms(0.99)),
        one(
            "CPU of the node for each, us",
            each_us(cpu_after.0, cpu_before.0) / acknowledged,
        ),
        one(
            "CPU of NATS for each, us",
            each_us(cpu_after.1, cpu_before.1) / acknowledged,
        ),
        one("entries in NATS", entries),
        one("bytes of an entry", bytes / entries.max(1.0)),
    ];
    print(args.node.output, &figures)?;
    drop(open);
    node.stop().await
}

fn grown(before: u64, after: u64) -> f64 {
    u32::try_from(after.saturating_sub(before)).map_or(f64::INFINITY, f64::from)
}

/// Opens all streams, on connections that they share.
async fn open_all(node: &Node, count: u32) -> anyhow::Result<Vec<Bot>> {
    let names: Vec<String> = (0..count).map(|number| format!("bot-{number}")).collect();
    let mut bots = Vec::with_capacity(names.len());
    for some in names.chunks(STREAMS_EACH) {
        let channel = load::connect(node).await?;
        let opened = stream::iter(some.to_vec())
            .map(|name| open(channel.clone(), name))
            .buffer_unordered(OPENED_AT_ONCE);
        let opened: Vec<_> = opened.collect().await;
        for bot in opened {
            bots.push(bot?);
        }
    }
    Ok(bots)
}

async fn open(channel: load::Connection, name: String) -> anyhow::Result<Bot> {
    let request = SubscribeRequest {
        subscription: name.clone(),
        ..SubscribeRequest::default()
    };
    let mut client = SubscriberServiceClient::new(channel.clone());
    let mut tries = 0;
    let mut frames = loop {
        match client.subscribe(request.clone()).await {
            Ok(answer) => break answer.into_inner(),
            // As every client does.
            Err(status) if status.code() == Code::Unavailable && tries < TRIES_MAX => {
                tries += 1;
                sleep(PAUSE).await;
            }
            Err(status) => return Err(status.into()),
        }
    };
    let first = frames.message().await?.and_then(|response| response.frame);
    let Some(Frame::Opened(opened)) = first else {
        bail!("a stream does not begin with its token");
    };
    Ok(Bot {
        name,
        token: opened.token,
        channel,
        frames,
    })
}

/// Reads so many deliveries and acknowledges each, in turn.
async fn acknowledge_all(mut bot: Bot, count: u32) -> anyhow::Result<(Bot, Latencies)> {
    let mut latencies = Latencies::default();
    let mut client = SubscriberServiceClient::new(bot.channel.clone());
    let mut seen = 0;
    while seen < count {
        let frame = bot.frames.message().await?;
        let frame = frame.and_then(|response| response.frame);
        let cursor = match frame.context("a stream ended")? {
            Frame::Delivery(delivery) => delivery.cursor,
            Frame::CaughtUp(_) | Frame::Heartbeat(_) => continue,
            Frame::Gap(_) | Frame::Opened(_) => bail!("neither delivery nor its end"),
        };
        seen += 1;
        let began = node::now();
        let request = AcknowledgeRequest {
            subscription: bot.name.clone(),
            token: bot.token.clone(),
            cursor: cursor.clone(),
        };
        let stored = client.acknowledge(request).await?.into_inner().cursor;
        ensure!(stored == cursor, "{stored} is stored, not {cursor}");
        latencies.add(began.elapsed());
    }
    Ok((bot, latencies))
}

/// How many entries the bucket has, and how many bytes.
async fn bucket(data: &std::path::Path) -> anyhow::Result<(f64, f64)> {
    let context = async_nats::jetstream::new(node::nats(data).await?);
    let name = format!("KV_{SUBSCRIPTIONS_BUCKET}");
    let stream = context.get_stream(name).await.context("the bucket")?;
    let state = &stream.cached_info().state;
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    Ok((number(state.messages), number(state.bytes)))
}
