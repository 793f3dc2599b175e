//! `barid bench fanout`: many subscribers on connections of their own, at a node or at a peer.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{sleep, sleep_until};

use crate::{
    cli::bench::{
        Figure, Latencies,
        fanout::{
            process::{cpu, memory_kib},
            publisher::Publisher,
            subscriber::{Protocol, Subscribers},
            tally::Tally,
        },
        node::{self, Node, NodeArgs},
        print, progress,
    },
    config::value::Span,
};

pub mod floor;
pub mod process;
pub mod publisher;
pub mod subscriber;
pub mod tally;

/// Descriptors beside those of the subscribers.
const DESCRIPTORS: u64 = 200;
/// How long what was published may take to reach the last subscriber.
const LAST_PATIENCE: Duration = Duration::from_secs(20);

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct FanoutArgs {
    /// Rounds; figures are medians over them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long the measurement of a round takes
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    time: Span,
    /// Subscribers, each on a connection of its own
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    subscribers: u32,
    /// Of these, how many never read
    #[arg(long, default_value_t = 0)]
    stalled: u32,
    /// How they take the wire
    #[arg(long, default_value = "grpc", value_name = "PROTOCOL")]
    protocol: Protocol,
    /// Different filters among them, each of which wants everything
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    filters: u32,
    /// Articles a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Instead of a rate: so many articles at a time that have not reached everybody
    #[arg(long, conflicts_with = "rate")]
    window: Option<u32>,
    /// Bytes of a body
    #[arg(long, default_value_t = 2000)]
    body_bytes: usize,
    /// Measure another server instead, which runs already
    #[command(flatten)]
    peer: PeerArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Another server.
#[derive(Debug, clap::Args)]
struct PeerArgs {
    /// What it is; its topic, channel or subject is fan
    #[arg(long, requires = "peer_address", requires = "peer_pid")]
    peer: Option<Peer>,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS")]
    peer_address: Option<String>,
    /// Its process
    #[arg(long, value_name = "PID")]
    peer_pid: Option<u32>,
}

/// The servers that the load is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// `barid bench fanout-floor`
    Floor,
    /// nginx with nchan: subscribers at /sub, publishers at /pub
    Nchan,
    /// nats-server, core
    Nats,
}

/// What is measured, and how to reach it.
struct Target {
    publisher: Publisher,
    protocol: Protocol,
    address: String,
    pid: u32,
    /// What subscribers show.
    key: Option<String>,
}

/// What one round measures.
struct Round {
    memory_kib: f64,
    connect_us: f64,
    delivery_us: f64,
    rate: f64,
    first: Latencies,
    last: Latencies,
    spread: Latencies,
}

/// Measures and prints.
///
/// # Errors
/// What the node or the peer says; a delivery that does not come.
pub async fn run(args: FanoutArgs) -> anyhow::Result<()> {
    allow_descriptors(args.subscribers)?;
    let bar = progress(args.rounds.into());
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        bar.set_message(format!("{} subscribers", args.subscribers));
        // A server of its own for each: memory tells only when it is fresh.
        rounds.push(match args.peer.peer {
            Some(peer) => round(&args, peer_target(&args, peer).await?).await?,
            None => at_a_node(&args).await?,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    print(args.node.output, &figures(&rounds))
}

async fn at_a_node(args: &FanoutArgs) -> anyhow::Result<Round> {
    let folder = node::folder()?;
    let node = Node::start(folder.path(), &args.node).await?;
    let address = match args.protocol {
        Protocol::Grpc => &node.grpc,
        Protocol::Sse => &node.http,
        Protocol::Raw | Protocol::Nats => bail!("a node speaks grpc and sse"),
    };
    let target = Target {
        publisher: Publisher::barid(&node, args.body_bytes).await?,
        protocol: args.protocol,
        address: address.trim_start_matches("http://").to_owned(),
        pid: node.pid()?,
        key: node.key.clone(),
    };
    let round = round(args, target).await;
    node.stop().await?;
    round
}

async fn peer_target(args: &FanoutArgs, peer: Peer) -> anyhow::Result<Target> {
    let address = args.peer.peer_address.clone().context("--peer-address")?;
    let pid = args.peer.peer_pid.context("--peer-pid")?;
    let (protocol, publisher) = match peer {
        Peer::Floor => (Protocol::Raw, Publisher::floor(&address, args.body_bytes)),
        Peer::Nchan => (Protocol::Sse, Publisher::nchan(&address, args.body_bytes)),
        Peer::Nats => (Protocol::Nats, Publisher::nats(&address, args.body_bytes)),
    };
    Ok(Target {
        publisher,
        protocol,
        address,
        pid,
        key: None,
    })
}

async fn round(args: &FanoutArgs, mut target: Target) -> anyhow::Result<Round> {
    let reading = args.subscribers.saturating_sub(args.stalled);
    let tally = Tally::new(reading);
    let (memory_before, cpu_before) = (memory_kib(target.pid)?, cpu(target.pid)?);
    let mut subscribers = Subscribers::connect(
        target.protocol,
        (&target.address, target.key.as_deref()),
        args.subscribers,
        args.stalled,
        args.filters,
        &tally,
    )
    .await?;
    let connect = cpu(target.pid)?.saturating_sub(cpu_before);
    let memory = memory_kib(target.pid)?.saturating_sub(memory_before);
    // What everybody must have before anything counts.
    target.publisher.publish(tally.sent()).await?;
    tally.wait_for_all(LAST_PATIENCE).await?;

    let before = tally.delivered();
    let (cpu_before, began) = (cpu(target.pid)?, node::now());
    let end = began + args.time.0;
    let mut due = tokio::time::Instant::now();
    while node::now() < end {
        if let Some(window) = args.window {
            tally.wait_for_room(window, LAST_PATIENCE).await?;
            target.publisher.start(&tally).await?;
        } else {
            sleep_until(due).await;
            due += Duration::from_secs(1) / args.rate;
            target.publisher.start(&tally).await?;
        }
    }
    target.publisher.finish().await?;
    tally.wait_for_all(LAST_PATIENCE).await?;
    let took = began.elapsed();
    let spent = cpu(target.pid)?.saturating_sub(cpu_before);
    let delivered = tally.delivered() - before;
    subscribers.end().await?;
    // Its own descriptors are gone before the next round counts memory.
    sleep(Duration::from_millis(100)).await;
    let [first, last, spread] = tally.latencies();
    let micros = |time: Duration, count: f64| time.as_secs_f64() * 1e6 / count.max(1.0);
    let count = f64::from(u32::try_from(delivered).context("too many to count")?);
    Ok(Round {
        memory_kib: f64::from(u32::try_from(memory)?) / f64::from(args.subscribers),
        connect_us: micros(connect, args.subscribers.into()),
        delivery_us: micros(spent, count),
        rate: count / took.as_secs_f64(),
        first,
        last,
        spread,
    })
}

/// Each subscriber is a socket here and one at the server, which inherits the limit.
fn allow_descriptors(subscribers: u32) -> anyhow::Result<()> {
    let wanted = u64::from(subscribers) + DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        if limit.maximum.is_some_and(|maximum| maximum < wanted) {
            bail!("{wanted} descriptors are needed; the system allows fewer (ulimit -Hn)");
        }
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).context("can't raise the limit of descriptors")?;
    }
    Ok(())
}

fn figures(rounds: &[Round]) -> Vec<Figure> {
    let over = |name, figure: fn(&Round) -> f64| {
        Figure::new(name, rounds.iter().map(figure).collect(), None)
    };
    vec![
        over("deliveries/s", |round| round.rate),
        over("server CPU per delivery: us", |round| round.delivery_us),
        over("server CPU per connection set up: us", |round| {
            round.connect_us
        }),
        over("server memory per idle subscriber: KiB", |round| {
            round.memory_kib
        }),
        over("publish to first subscriber: p50 ms", |round| {
            round.first.quantile_ms(0.5)
        }),
        over("publish to last subscriber: p50 ms", |round| {
            round.last.quantile_ms(0.5)
        }),
        over("publish to last subscriber: p99 ms", |round| {
            round.last.quantile_ms(0.99)
        }),
        over("first to last subscriber: p50 ms", |round| {
            round.spread.quantile_ms(0.5)
        }),
        over("first to last subscriber: p99 ms", |round| {
            round.spread.quantile_ms(0.99)
        }),
    ]
}

/// Where the floor is run: by this program as another process.
#[derive(Debug, clap::Args)]
pub struct FloorArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: String,
    /// Written when it listens: its address
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

/// Runs the floor until it is ended.
///
/// # Errors
/// The address is taken.
pub async fn run_floor(args: FloorArgs) -> anyhow::Result<()> {
    floor::run(&args.listen, args.address_file.as_deref()).await
}
