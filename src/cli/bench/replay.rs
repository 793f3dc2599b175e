//! `barid bench replay`: how fast one subscriber gets history.

use std::time::Duration;

use anyhow::Context as _;
use prost::Message as _;
use tokio::time::timeout;

use crate::{
    cli::bench::{
        Figure,
        floor::Floor,
        load,
        node::{self, Node, NodeArgs},
        print, progress,
    },
    wire::proto::v1::{
        Start, SubscribeRequest, start::From as StartFrom, subscribe_response::Frame,
        subscriber_service_client::SubscriberServiceClient,
    },
};

/// How long the next article may take to come.
const LOST: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Rounds, each of which reads everything twice; figures are medians over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Articles in the log
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    records: u32,
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
pub async fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let folder = node::folder()?;
    let article = load::article(args.body_bytes).encode_to_vec().into();
    load::fill(folder.path(), &args.node, article, args.records).await?;
    let node = Node::start(folder.path(), &args.node).await?;
    let floor = Floor::log(node::nats(folder.path()).await?, bytes::Bytes::new());
    let bar = progress(u64::from(args.rounds) * 2);
    let (mut alone, mut barid) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        bar.set_message("NATS alone");
        let took = floor.read(args.records).await?;
        alone.push(f64::from(args.records) / took.as_secs_f64());
        bar.inc(1);
        bar.set_message("Barid");
        let took = read(&node, args.records).await?;
        barid.push(f64::from(args.records) / took.as_secs_f64());
        bar.inc(1);
    }
    bar.finish_and_clear();
    node.stop().await?;
    let ratios = barid.iter().zip(&alone).map(|(barid, alone)| barid / alone);
    let figures = [
        Figure::new(
            "replay over the ordered consumer's",
            ratios.collect(),
            Some("0.7, aim 1"),
        ),
        Figure::new("one ordered pull consumer: articles/s", alone, None),
        Figure::new("replay to one subscriber: articles/s", barid, None),
    ];
    print(args.node.output, &figures)
}

/// Reads all articles as a subscriber.
async fn read(node: &Node, count: u32) -> anyhow::Result<Duration> {
    let mut subscriber = SubscriberServiceClient::new(load::connect(node).await?);
    let request = SubscribeRequest {
        start: Some(Start {
            from: Some(StartFrom::Earliest(())),
        }),
        ..SubscribeRequest::default()
    };
    let began = node::now();
    let mut frames = subscriber.subscribe(request).await?.into_inner();
    let mut left = count;
    while left > 0 {
        let frame = timeout(LOST, frames.message()).await;
        let frame = frame.context("an article does not come")??;
        let frame = frame.context("the stream ended")?.frame;
        if let Some(Frame::Delivery(_)) = frame {
            left -= 1;
        }
    }
    Ok(began.elapsed())
}
