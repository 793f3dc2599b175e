//! `barid bench embargo`: how late embargoed articles come.

use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use jiff::Timestamp;
use prost::Message as _;
use tokio::time::{interval, timeout};
use tonic::{Streaming, transport::Channel};

use crate::{
    cli::{
        bench::{
            Figure, Latencies, load,
            node::{self, Node, NodeArgs},
            print, progress,
        },
        out,
    },
    config::value::{Output, Span},
    wire::{
        ninjs,
        proto::v1::{
            Article, SubscribeRequest, SubscribeResponse,
            publisher_service_client::PublisherServiceClient, subscribe_response::Frame,
            subscriber_service_client::SubscriberServiceClient,
        },
    },
};

/// Upper ends of the printed histogram, in milliseconds.
const BUCKETS_MS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 1000.0];
/// How long a delivery may take to come.
const LOST: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct EmbargoArgs {
    /// Drafts
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    drafts: u32,
    /// Time between two of them
    #[arg(long, default_value = "50ms", value_name = "DURATION")]
    every: Span,
    /// From a draft's submission to its time
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    ahead: Span,
    /// Bytes of a body
    #[arg(long, default_value_t = 2000)]
    body_bytes: usize,
    #[command(flatten)]
    node: NodeArgs,
}

/// Measures and prints.
///
/// # Errors
/// What the node or NATS says.
pub async fn run(args: EmbargoArgs) -> anyhow::Result<()> {
    let folder = node::folder()?;
    let node = Node::start(folder.path(), args.node.nats_server.as_ref()).await?;
    let article = load::article(args.body_bytes);
    let bar = progress(u64::from(args.drafts) * 2);
    let frames = subscribe(&node.grpc).await?;
    let mut publisher = PublisherServiceClient::new(load::connect(&node.grpc).await?);
    // Both at once: the first are due before the last are submitted.
    let (commits, late) = tokio::join!(
        submit(&mut publisher, &article, &args, &bar),
        receive(frames, args.drafts, &bar),
    );
    let (commits, late) = (commits?, late?);
    bar.finish_and_clear();
    node.stop().await?;
    let figure = |name, of: &Latencies, quantile, goal| {
        Figure::new(name, vec![of.quantile_ms(quantile)], goal)
    };
    let figures = [
        figure("embargo's time to subscriber: p50 ms", &late, 0.5, None),
        figure("embargo's time to subscriber: p90 ms", &late, 0.9, None),
        figure(
            "embargo's time to subscriber: p99 ms",
            &late,
            0.99,
            Some("50"),
        ),
        figure("embargo's time to subscriber: most ms", &late, 1.0, None),
        figure(
            "submission to answer, a commit: p50 ms",
            &commits,
            0.5,
            None,
        ),
        figure(
            "submission to answer, a commit: p99 ms",
            &commits,
            0.99,
            None,
        ),
    ];
    print(args.node.output, &figures)?;
    match args.node.output {
        Output::Json => Ok(()),
        Output::Text => histogram(&late),
    }
}

async fn subscribe(grpc: &str) -> anyhow::Result<Streaming<SubscribeResponse>> {
    let mut subscriber = SubscriberServiceClient::new(load::connect(grpc).await?);
    let frames = subscriber.subscribe(SubscribeRequest::default()).await?;
    Ok(frames.into_inner())
}

/// Hands the drafts in, one by one; returns how long each answer took.
async fn submit(
    publisher: &mut PublisherServiceClient<Channel>,
    article: &Article,
    args: &EmbargoArgs,
    bar: &ProgressBar,
) -> anyhow::Result<Latencies> {
    bar.set_message("drafts in and out");
    let mut latencies = Latencies::default();
    let mut next = interval(args.every.0);
    for _ in 0..args.drafts {
        next.tick().await;
        let until = Timestamp::now().checked_add(args.ahead.0)?;
        let request = load::request(&Article {
            embargoed_until: Some(ninjs::time_to_proto(until)),
            ..article.clone()
        });
        let began = node::now();
        let answer = publisher.publish(request).await?.into_inner();
        latencies.add(began.elapsed());
        bar.inc(1);
        anyhow::ensure!(answer.revision == 0, "a draft was published at once");
    }
    Ok(latencies)
}

/// Takes the deliveries; returns how late each was, by this machine's clock.
async fn receive(
    mut frames: Streaming<SubscribeResponse>,
    count: u32,
    bar: &ProgressBar,
) -> anyhow::Result<Latencies> {
    let mut late = Latencies::default();
    while late.count() < u64::from(count) {
        let frame = timeout(LOST, frames.message()).await;
        let frame = frame.context("a draft does not come out")??;
        let now = Timestamp::now();
        let frame = frame.context("the stream ended")?.frame;
        if let Some(Frame::Delivery(delivery)) = frame {
            let article = Article::decode(delivery.article)?;
            let until = ninjs::time_from_proto(article.embargoed_until.as_ref());
            let until = until.context("an article without an embargo")?;
            anyhow::ensure!(now >= until, "a draft came out before its time");
            late.add(now.duration_since(until).unsigned_abs());
            bar.inc(1);
        }
    }
    Ok(late)
}

fn histogram(late: &Latencies) -> anyhow::Result<()> {
    let mut before = 0;
    for up_to in BUCKETS_MS {
        let within = late.count_within_ms(up_to);
        let count = within - before;
        before = within;
        let bar = "#".repeat(usize::try_from(count * 60 / late.count().max(1))?);
        out::line(&format!("up to {up_to:>6} ms  {count:>6}  {bar}"))?;
    }
    let count = late.count() - before;
    out::line(&format!("later            {count:>6}"))
}
