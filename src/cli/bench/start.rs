//! `barid bench start`.

use std::time::Duration;

use prost::Message as _;

use crate::cli::bench::{
    Figure, load,
    node::{self, Node, NodeArgs},
    print,
};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Starts of each kind; figures are medians over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Articles in the full log
    #[arg(long, default_value_t = 1_000_000)]
    records: u32,
    /// Bytes of a body in the full log
    #[arg(long, default_value_t = 500)]
    body_bytes: usize,
    #[command(flatten)]
    node: NodeArgs,
}

/// Measures and prints.
///
/// # Errors
/// What the node or NATS says.
pub async fn run(args: StartArgs) -> anyhow::Result<()> {
    let folder = node::folder()?;
    let millis = |start: Duration| start.as_secs_f64() * 1e3;
    let mut empty = Vec::new();
    for _ in 0..args.rounds {
        let node = Node::start(folder.path(), &args.node).await?;
        empty.push(millis(node.start));
        node.stop().await?;
    }
    let article = load::article(args.body_bytes).encode_to_vec().into();
    load::fill(folder.path(), &args.node, article, args.records).await?;
    let mut full = Vec::new();
    for _ in 0..args.rounds {
        let node = Node::start(folder.path(), &args.node).await?;
        full.push(millis(node.start));
        node.stop().await?;
    }
    let figures = [
        Figure::new("start to ready, empty log: ms", empty, Some("300, aim 100")),
        Figure::new(
            "start to ready, full log: ms",
            full,
            Some("4000, aim 2500 at 1M records"),
        ),
    ];
    print(args.node.output, &figures)
}
