//! The node under test: this very program as a child, in a folder of its own, on free ports.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    access::key::Role,
    config::value::Output,
    server::{keys, nats::running_url},
};

/// What every benchmark takes.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    /// The nats-server to run [default: .barid/bin/nats-server, then PATH]
    #[arg(long, env = "BARID_NATS_SERVER", value_name = "FILE")]
    pub nats_server: Option<PathBuf>,
    /// A table for people, or one JSON array
    #[arg(
        long,
        env = "BARID_OUTPUT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub output: Output,
    /// Have the node ask for keys, and show it one of the desk: what the check costs
    #[arg(long)]
    pub with_keys: bool,
}

/// A running `barid serve`.
#[derive(Debug)]
pub struct Node {
    child: Child,
    /// Where its gRPC is, a URL.
    pub grpc: String,
    /// Where its HTTP is, a URL.
    pub http: String,
    /// From exec to ready.
    pub start: Duration,
    /// The key to show, if it asks for one.
    pub key: Option<String>,
}

#[derive(Deserialize)]
struct Ready {
    grpc: String,
    http: String,
}

impl Node {
    /// Starts one over a data folder.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(data: &Path, args: &NodeArgs) -> anyhow::Result<Self> {
        let program = env::current_exe().context("can't find this program")?;
        let mut command = Command::new(program);
        command
            .args([
                "serve", "--output", "json", "--log", "error", "--drain", "0s",
            ])
            .args([
                "--grpc-listen",
                "127.0.0.1:0",
                "--http-listen",
                "127.0.0.1:0",
                "--nats-listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(data)
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if !args.with_keys {
            command.arg("--danger-without-keys");
        }
        if let Some(path) = &args.nats_server {
            command.arg("--nats-server").arg(path);
        }
        let began = now();
        let mut child = command.spawn().context("can't start the node")?;
        let stdout = child.stdout.take().context("the node has no output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let start = began.elapsed();
        let Some(line) = line else {
            bail!("the node ended before it was ready")
        };
        let ready: Ready = serde_json::from_str(&line).context("the node is not ready")?;
        let key = match args.with_keys {
            true => Some(fs::read_to_string(keys::file(data, Role::Desk)).context("the key")?),
            false => None,
        };
        Ok(Self {
            key: key.map(|key| key.trim().to_owned()),
            child,
            grpc: ready.grpc,
            http: ready.http,
            start,
        })
    }

    /// Its process.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the node has ended")
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// It ends badly.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok())
            && let Some(pid) = Pid::from_raw(pid)
        {
            kill_process(pid, Signal::TERM)?;
        }
        let status = self.child.wait().await?;
        if status.success() {
            Ok(())
        } else {
            bail!("the node ended with {status}")
        }
    }
}

/// A client of the node's NATS that may do everything.
///
/// # Errors
/// NATS is not there.
pub async fn nats(data: &Path) -> anyhow::Result<async_nats::Client> {
    let url = running_url(data).context("the node's NATS is not running")?;
    let options = crate::wire::log::open::credentials(&url);
    options
        .connect(&url)
        .await
        .context("can't connect to the node's NATS")
}

/// A folder for the node.
///
/// # Errors
/// The system refuses one.
pub fn folder() -> anyhow::Result<TempDir> {
    TempDir::with_prefix("barid-bench-").context("can't make a folder for the node")
}

/// The clock of measurements.
#[expect(clippy::disallowed_methods, reason = "a benchmark is about time")]
pub fn now() -> Instant {
    Instant::now()
}
