//! `barid log`: the log itself, past the service.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    cli::{BadUse, out, serve},
    config::{self, value::Output},
    server::{
        Nats, keys,
        nats::{ManagedNats, StartError, running_url},
    },
    telemetry::Metrics,
    wire::log::{
        Log,
        admin::LogStatus,
        open,
        servers::{Server, Sync},
    },
};

/// Look at the log, begin a new epoch after a restore, or make a key of the desk
///
/// Works beside a running service and without one; the settings say where the log is.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  barid log status\n  barid log new-epoch --data-dir /var/lib/barid"
)]
pub enum LogCommand {
    /// Show the log's epochs, end and size
    #[command(
        after_help = "Examples:\n  barid log status\n  barid log status --output json \
                            --data-dir /var/lib/barid"
    )]
    Status(Box<serve::ServeArgs>),
    /// Begin a new epoch: run this once after restoring a backup of the log
    ///
    /// Readers whose cursor lies beyond the restored state are then told of the loss by a gap.
    #[command(after_help = "Examples:\n  barid log new-epoch --data-dir /var/lib/barid")]
    NewEpoch(Box<serve::ServeArgs>),
    /// Make a key of the desk, and print it: the first one of a cluster, or where all are lost
    ///
    /// It belongs to the partner `local`, which is made if it is not there.
    #[command(
        after_help = "Examples:\n  barid log desk-key --nats-url nats://a,nats://b \
                            > /etc/barid/keys/desk"
    )]
    DeskKey(Box<serve::ServeArgs>),
}

/// What is done to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Status,
    NewEpoch,
    DeskKey,
}

/// The state of the log as `--output json` prints it.
#[derive(Serialize)]
struct StatusJson<'a> {
    epochs: Vec<&'a str>,
    end: &'a str,
    retained_from: u64,
    message_count: u64,
    bytes: u64,
    bytes_max: Option<u64>,
    replicas: usize,
    erasures_pending: usize,
    servers: Vec<ServerJson<'a>>,
}

/// A server of NATS that keeps the log.
#[derive(Serialize)]
struct ServerJson<'a> {
    name: &'a str,
    version: Option<&'a str>,
    /// Whether what it acknowledges is on disk; none = it did not say.
    sync_always: Option<bool>,
}

impl<'a> From<&'a Server> for ServerJson<'a> {
    fn from(server: &'a Server) -> Self {
        Self {
            name: &server.name,
            version: server.version.as_deref(),
            sync_always: match server.sync {
                Sync::Always => Some(true),
                Sync::Later => Some(false),
                Sync::Unknown => None,
            },
        }
    }
}

/// Runs `barid log`.
///
/// # Errors
/// Settings that can't be used, or a log that can't be read.
pub async fn run(command: LogCommand, variables: &[(String, String)]) -> anyhow::Result<()> {
    let (args, task) = match command {
        LogCommand::Status(args) => (args, Task::Status),
        LogCommand::NewEpoch(args) => (args, Task::NewEpoch),
        LogCommand::DeskKey(args) => (args, Task::DeskKey),
    };
    let settings = config::load(args.flags, args.config.as_deref(), variables)?.serve;
    let output = settings.output;
    let (url, replicas, managed) = match serve::nats(&settings)? {
        Nats::External { url, replicas } => (url, replicas, None),
        Nats::Managed(options) => {
            let data_dir: PathBuf = options.data_dir.clone();
            if !data_dir.join("jetstream").is_dir() {
                let shown = data_dir.display();
                let message = format!("{shown} holds no log: name the data folder with --data-dir");
                return Err(BadUse(message).into());
            }
            match spawn_blocking(move || ManagedNats::start(options)).await? {
                Ok(managed) => (managed.url().to_owned(), 1, Some(managed)),
                // A service runs there: go in beside it.
                Err(StartError::DataDirInUse { .. }) => (running_url(&data_dir)?, 1, None),
                Err(error) => return Err(error.into()),
            }
        }
    };
    let options = open::Options {
        url,
        replicas,
        bytes_max: None,
    };
    let result = act(&options, task, output).await;
    if let Some(managed) = managed {
        spawn_blocking(move || managed.stop()).await?;
    }
    result
}

async fn act(options: &open::Options, task: Task, output: Output) -> anyhow::Result<()> {
    // Its writers are not run: nothing is published here.
    let (log, _writers) = Box::pin(Log::open(options, Metrics::new())).await?;
    match task {
        Task::Status => {}
        Task::NewEpoch => log.new_epoch().await?,
        Task::DeskKey => {
            let secret = keys::recover(&log, Timestamp::now().as_second()).await?;
            return out::line(secret.reveal());
        }
    }
    show(&log.status().await?, output)
}

fn show(status: &LogStatus, output: Output) -> anyhow::Result<()> {
    let LogStatus {
        epochs,
        end,
        retained_from,
        message_count,
        bytes,
        bytes_max,
        replicas,
        erasures_pending,
        servers,
    } = status;
    if output == Output::Json {
        return out::json(&StatusJson {
            epochs: epochs.split(',').collect(),
            end,
            retained_from: *retained_from,
            message_count: *message_count,
            bytes: *bytes,
            bytes_max: *bytes_max,
            replicas: *replicas,
            erasures_pending: *erasures_pending,
            servers: servers.iter().map(ServerJson::from).collect(),
        });
    }
    out::line(&format!("epochs            {}", epochs.replace(',', ", ")))?;
    out::line(&format!("end               {end}"))?;
    out::line(&format!("retained from     {retained_from}"))?;
    out::line(&format!("messages          {message_count}"))?;
    let bound = bytes_max.map_or_else(String::new, |max| format!(" of {max}"));
    out::line(&format!("bytes             {bytes}{bound}"))?;
    out::line(&format!("replicas          {replicas}"))?;
    out::line(&format!("erasures pending  {erasures_pending}"))?;
    for server in servers {
        let version = server.version.as_deref().unwrap_or("does not answer");
        let sync = match server.sync {
            Sync::Always => "syncs each write",
            Sync::Later => "does NOT sync each write: set sync_interval: always",
            Sync::Unknown => "not known whether it syncs each write: see deploy/nats/accounts.conf",
        };
        out::line(&format!(
            "server            {} ({version}): {sync}",
            server.name
        ))?;
    }
    Ok(())
}
