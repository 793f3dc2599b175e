//! `barid bench`: figures as ratios to a floor, measured in turns in one run.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use clap::Subcommand;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::config::value::Output;

pub mod embargo;
pub mod fanout;
pub mod floor;
pub mod load;
pub mod node;
pub mod publish;
pub mod replay;
pub mod route;
pub mod start;
pub mod subscriptions;

/// Measure this machine: ratios to what NATS alone does, in one run
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  barid bench publish\n  barid bench start")]
pub enum BenchCommand {
    /// Publishing: latency and throughput beside the same atomic batches by a bare NATS client
    #[command(
        after_help = "Examples:\n  barid bench publish\n  barid bench publish --rounds 9 \
                            --output json"
    )]
    Publish(publish::PublishArgs),
    /// Routing: articles a second that one core routes
    #[command(after_help = "Examples:\n  barid bench route\n  barid bench route --body-bytes 8192")]
    Route(route::RouteArgs),
    /// Replay: how fast one subscriber gets history, beside one ordered consumer of NATS
    #[command(
        after_help = "Examples:\n  barid bench replay\n  barid bench replay --records 20000 \
                            --rounds 3"
    )]
    Replay(replay::ReplayArgs),
    /// Starting: from exec to ready, with an empty log and with a full one
    #[command(after_help = "Examples:\n  barid bench start\n  barid bench start --records 100000")]
    Start(start::StartArgs),
    /// Fan-out: what a delivery costs with many subscribers, each on a connection of its own
    ///
    /// Deliveries are marked articles. CPU is that of the server's process alone; latency from the
    /// publish call on includes the commit. benches/fanout.py runs the same load on peers.
    #[command(
        after_help = "Examples:\n  barid bench fanout\n  barid bench fanout --protocol sse \
                            --subscribers 5000 --rate 10\n  barid bench fanout --window 16 \
                            --filters 100 --output json"
    )]
    Fanout(Box<fanout::FanoutArgs>),
    /// Durable subscriptions: what ten thousand of them take, and what an acknowledgement costs
    #[command(
        after_help = "Examples:\n  barid bench subscriptions\n  barid bench subscriptions \
                            --subscriptions 1000 --articles 20 --output json"
    )]
    Subscriptions(subscriptions::SubscriptionsArgs),
    /// Embargoes: how late embargoed articles reach a subscriber on an idle node
    #[command(
        after_help = "Examples:\n  barid bench embargo\n  barid bench embargo --drafts 2000 \
                            --every 10ms"
    )]
    Embargo(embargo::EmbargoArgs),
    /// The floor that benches/fanout.py compares with
    #[command(hide = true)]
    FanoutFloor(fanout::FloorArgs),
}

/// Runs a benchmark.
///
/// # Errors
/// What the node or NATS says.
pub async fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Publish(args) => publish::run(args).await,
        BenchCommand::Route(args) => route::run(&args),
        BenchCommand::Replay(args) => replay::run(args).await,
        BenchCommand::Start(args) => start::run(args).await,
        BenchCommand::Fanout(args) => fanout::run(*args).await,
        BenchCommand::Subscriptions(args) => subscriptions::run(args).await,
        BenchCommand::Embargo(args) => embargo::run(args).await,
        BenchCommand::FanoutFloor(args) => fanout::run_floor(args).await,
    }
}

/// Latencies of one measurement, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Up to a minute, with three digits: the bounds are constants, so this can't fail.
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).expect("good bounds"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    /// Adds all of another measurement.
    ///
    /// # Errors
    /// Never: all have the same bounds.
    pub fn add_all(&mut self, other: &Self) -> anyhow::Result<()> {
        self.0
            .add(&other.0)
            .context("histograms of different bounds")
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many took so many milliseconds at most.
    pub fn count_within_ms(&self, ms: f64) -> u64 {
        let micros = Duration::from_secs_f64(ms / 1e3).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.0.count_between(0, micros)
    }

    /// A quantile in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        Duration::from_micros(self.0.value_at_quantile(quantile)).as_secs_f64() * 1e3
    }
}

/// A figure over the rounds: its minimum, median and maximum.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it is, with its unit.
    pub name: &'static str,
    min: f64,
    median: f64,
    max: f64,
    /// What the design asks for, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<&'static str>,
}

impl Figure {
    /// The figure of these rounds.
    pub fn new(name: &'static str, mut rounds: Vec<f64>, goal: Option<&'static str>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or(f64::NAN);
        let last = rounds.len().saturating_sub(1);
        Self {
            name,
            min: at(0),
            median: at(last / 2),
            max: at(last),
            goal,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            min,
            median,
            max,
            goal,
        } = self;
        write!(f, "{name:<58} {median:>10.2}  {min:>10.2} … {max:<10.2}")?;
        match goal {
            Some(goal) => write!(f, " {goal}"),
            None => Ok(()),
        }
    }
}

/// Prints the figures: a table for people, one object for programs.
///
/// # Errors
/// Those of stdout.
pub fn print(output: Output, figures: &[Figure]) -> anyhow::Result<()> {
    match output {
        Output::Json => super::out::json(&figures),
        Output::Text => {
            let head = format!(
                "{:<58} {:>10}  {:>10} … {:<10} goal",
                "", "median", "min", "max"
            );
            super::out::line(&head)?;
            figures
                .iter()
                .try_for_each(|figure| super::out::line(&figure.to_string()))
        }
    }
}

/// A progress bar on a terminal, nothing elsewhere.
pub fn progress(len: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<44} {wide_bar} {pos}/{len} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    // indicatif draws on stderr, and only if that is a terminal.
    ProgressBar::new(len).with_style(style)
}
