//! The command line: its commands, and how an error becomes words and an exit code.

use std::{ffi::OsString, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::{
    cli::{client::CallError, out::OutputClosed},
    config::{self, problem::ConfigError},
    server,
};

pub mod amend;
pub mod audit;
pub mod bench;
pub mod client;
pub mod demo;
pub mod embargo;
pub mod explain;
pub mod health;
pub mod import;
pub mod input;
pub mod key;
pub mod line;
pub mod log;
pub mod manual;
pub mod out;
pub mod partner;
pub mod printable;
pub mod publish;
pub mod read;
pub mod serve;
pub mod settings;
pub mod subscription;
pub mod tail;
pub mod wanted;
pub mod webhook;

/// Exit code of what was asked wrongly; clap uses the same.
const BAD_USE: u8 = 2;

/// Event-stream news distribution: articles in by gRPC, every matching revision out, in order, once.
///
/// The client commands talk to the server that --server or BARID_SERVER names.
/// Exit codes: 0 done, 1 failed, 2 bad use, or refused by the server as invalid.
#[derive(Debug, Parser)]
#[command(name = "barid", version, propagate_version = true)]
#[command(
    after_help = "Examples:\n  barid serve\n  barid demo\n  barid tail --from last:10\n  barid publish story.json"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Publish(publish::PublishArgs),
    Import(import::ImportArgs),
    Correct(amend::CorrectArgs),
    Kill(amend::KillArgs),
    Get(read::GetArgs),
    List(read::ListArgs),
    Tail(tail::TailArgs),
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    Recall(subscription::RecallArgs),
    Topics(read::TopicsArgs),
    Explain(explain::ExplainArgs),
    Health(health::HealthArgs),
    Demo(demo::DemoArgs),
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    #[command(subcommand)]
    Partner(partner::PartnerCommand),
    #[command(subcommand)]
    Key(key::KeyCommand),
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    #[command(subcommand)]
    Embargo(embargo::EmbargoCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Log(log::LogCommand),
    #[command(subcommand)]
    Config(settings::ConfigCommand),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
    #[command(hide = true)]
    NatsGuard(GuardArgs),
}

/// Becomes nats-server, which then ends when the process that asked for it ends.
#[derive(Debug, clap::Args)]
struct GuardArgs {
    /// The process to outlive by nothing
    #[arg(long)]
    parent: u32,
    /// The program to become, and its arguments
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// The command line asks for something that can't be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadUse(pub String);

/// Runs one command to its end.
///
/// # Errors
/// What [`report`] turns into words and an exit code.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    // Before any thread exists: what the guard sets belongs to the thread that becomes the program.
    if let Command::NatsGuard(guard) = &cli.command {
        let (program, args) = guard.program.split_first().context("no program is named")?;
        let program = Path::new(program);
        let error = server::nats::guard(guard.parent, program, args);
        return Err(error).with_context(|| format!("can't become {}", program.display()));
    }
    server::tls::install_provider();
    let variables = settings::variables();
    match &cli.command {
        // These look at the variables together with everything else.
        Command::Serve(_) | Command::Log(_) | Command::Config(_) => {}
        _ => config::check_variables(&variables)?,
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(*args, &variables).await,
            Command::Publish(args) => publish::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Correct(args) => amend::correct(args).await,
            Command::Kill(args) => amend::kill(args).await,
            Command::Get(args) => read::get(args).await,
            Command::List(args) => read::list(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Subscription(command) => subscription::run(command).await,
            Command::Recall(args) => subscription::recall(args).await,
            Command::Topics(args) => read::topics(args).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Health(args) => health::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Partner(command) => partner::run(command).await,
            Command::Key(command) => key::run(command).await,
            Command::Webhook(command) => webhook::run(command).await,
            Command::Embargo(command) => embargo::run(command).await,
            Command::Audit(command) => audit::run(command).await,
            Command::Log(command) => log::run(command, &variables).await,
            Command::Bench(command) => bench::run(command).await,
            Command::Config(command) => settings::config(command, &variables),
            Command::Completions(args) => manual::completions(&args, &Cli::command()),
            Command::Man(args) => manual::man(&args, Cli::command()),
            Command::NatsGuard(_) => Ok(()),
        }
    })
}

/// Says on stderr what went wrong, and gives the exit code. A reader of our output that has gone
/// away, as in `| head`, is no error.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    out::say(&format!("barid: {error:#}"));
    let is_bad_use = error.is::<BadUse>()
        || error.is::<ConfigError>()
        || error
            .downcast_ref::<CallError>()
            .is_some_and(CallError::is_bad_use);
    if is_bad_use {
        ExitCode::from(BAD_USE)
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests;
