//! `barid bench publish`.

use prost::Message as _;

use crate::{
    cli::bench::{
        Figure, Latencies,
        floor::Floor,
        load,
        node::{self, Node, NodeArgs},
        print, progress,
    },
    config::value::Span,
};

/// What to measure, and for how long.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// Rounds, each of which measures everything once; figures are medians over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each measurement of a round takes
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    time: Span,
    /// Publishers at once for the throughput
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    publishers: u32,
    /// Bytes of a body
    #[arg(long, default_value_t = 2000)]
    body_bytes: usize,
    #[command(flatten)]
    node: NodeArgs,
}

/// Everything that one round measures.
struct Round {
    floor: Latencies,
    floor_silent: Latencies,
    barid: load::InTurn,
    floor_rate: f64,
    floor_silent_rate: f64,
    barid_rate: f64,
    barid_many: Latencies,
}

/// Measures and prints.
///
/// # Errors
/// What the node or NATS says.
pub async fn run(args: PublishArgs) -> anyhow::Result<()> {
    let folder = node::folder()?;
    let node = Node::start(folder.path(), &args.node).await?;
    let client = node::nats(folder.path()).await?;
    let article = load::article(args.body_bytes);
    let bytes: bytes::Bytes = article.encode_to_vec().into();
    let floor = Floor::new(client.clone(), "floor", true, bytes.clone()).await?;
    let silent = Floor::new(client, "silent", false, bytes).await?;
    let bar = progress(u64::from(args.rounds) * 6);
    let mut rounds = Vec::new();
    let (time, publishers) = (args.time.0, args.publishers);
    for _ in 0..args.rounds {
        let step = |what: &'static str| {
            bar.inc(1);
            bar.set_message(what);
        };
        step("one publisher: NATS alone");
        let floor_latency = floor.latency(time).await?;
        step("one publisher: Barid");
        let barid = load::in_turn(&node, &article, time).await?;
        step("one publisher: NATS alone, no republish");
        let floor_silent = silent.latency(time).await?;
        step("many publishers: NATS alone");
        let floor_rate = floor.throughput(publishers, time).await?;
        step("many publishers: Barid");
        let (barid_rate, barid_many) = load::throughput(&node, &article, publishers, time).await?;
        step("many publishers: NATS alone, no republish");
        let floor_silent_rate = silent.throughput(publishers, time).await?;
        rounds.push(Round {
            floor: floor_latency,
            floor_silent,
            barid,
            floor_rate,
            floor_silent_rate,
            barid_rate,
            barid_many,
        });
    }
    bar.finish_and_clear();
    let start = node.start;
    node.stop().await?;
    let mut figures = figures(&rounds);
    figures.push(Figure::new(
        "start of this node, empty log: ms",
        vec![start.as_secs_f64() * 1e3],
        Some("300, aim 100"),
    ));
    print(args.node.output, &figures)
}

fn figures(rounds: &[Round]) -> Vec<Figure> {
    let over = |name, goal, figure: fn(&Round) -> f64| {
        Figure::new(name, rounds.iter().map(figure).collect(), goal)
    };
    vec![
        over("commit alone, one in turn: p50 ms", None, |round| {
            round.floor.quantile_ms(0.5)
        }),
        over("commit alone, one in turn: p99 ms", None, |round| {
            round.floor.quantile_ms(0.99)
        }),
        over("Publish, one in turn: p50 ms", None, |round| {
            round.barid.answer.quantile_ms(0.5)
        }),
        over("Publish, one in turn: p99 ms", None, |round| {
            round.barid.answer.quantile_ms(0.99)
        }),
        over(
            "Publish p50 over the commit's",
            Some("1.3, aim 1.1"),
            |round| round.barid.answer.quantile_ms(0.5) / round.floor.quantile_ms(0.5),
        ),
        over(
            "a retry's stored answer, one in turn: p50 ms",
            None,
            |round| round.barid.retry.quantile_ms(0.5),
        ),
        over("publish to first subscriber: p50 ms", None, |round| {
            round.barid.delivery.quantile_ms(0.5)
        }),
        over("publish to first subscriber: p99 ms", None, |round| {
            round.barid.delivery.quantile_ms(0.99)
        }),
        over(
            "the same beyond the commit alone: p50 ms",
            Some("1, aim 0.4"),
            |round| round.barid.delivery.quantile_ms(0.5) - round.floor.quantile_ms(0.5),
        ),
        over(
            "group commit alone, many publishers: articles/s",
            None,
            |round| round.floor_rate,
        ),
        over("Publish, many publishers: articles/s", None, |round| {
            round.barid_rate
        }),
        over("Publish, many publishers: p50 ms", None, |round| {
            round.barid_many.quantile_ms(0.5)
        }),
        over("Publish, many publishers: p99 ms", None, |round| {
            round.barid_many.quantile_ms(0.99)
        }),
        over(
            "Publish rate over the group commit's",
            Some("0.8, aim 0.95"),
            |round| round.barid_rate / round.floor_rate,
        ),
        over(
            "republish, one in turn: p50 with over without",
            None,
            |round| round.floor.quantile_ms(0.5) / round.floor_silent.quantile_ms(0.5),
        ),
        over(
            "republish, many publishers: rate with over without",
            None,
            |round| round.floor_rate / round.floor_silent_rate,
        ),
    ]
}
