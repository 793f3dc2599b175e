//! `barid audit`: who did what.

use clap::{Args, Subcommand, ValueHint};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    access::key::Role,
    cli::{
        client::{CallError, Client, ClientArgs},
        explain::compare::Since,
        out,
        printable::printable,
    },
    config::value::Output,
    wire::proto::v1::{self as proto},
};

/// Show who changed partners and keys, who recalled what, and whose calls were refused
///
/// Takes a key of the role desk.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  barid audit tail --since 24h\n  barid audit tail --follow")]
pub enum AuditCommand {
    /// Print the audit, oldest line first
    #[command(
        after_help = "Examples:\n  barid audit tail --since 24h\n  barid audit tail --follow \
                      --output json"
    )]
    Tail(TailArgs),
}

/// Which lines.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// From so long ago (24h), a time such as 2026-07-01T08:00:00Z, or earliest
    #[arg(long, value_name = "BEGINNING", default_value = "earliest")]
    #[arg(value_hint = ValueHint::Other)]
    since: Since,
    /// Go on with lines to come, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// A line as `--output json` prints it.
#[derive(Serialize)]
struct LineJson<'a> {
    time: &'a str,
    key: &'a str,
    partner: &'a str,
    address: &'a str,
    action: &'a str,
    target: &'a str,
    outcome: &'a str,
}

/// Runs `barid audit`.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn run(command: AuditCommand) -> anyhow::Result<()> {
    let AuditCommand::Tail(args) = command;
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.endless(proto::ListAuditRequest {
        since: args.since.time(Timestamp::now()),
        follow: args.follow,
    });
    let answer = client.desk().list_audit(request).await;
    let mut lines = answer.map_err(CallError::from)?.into_inner();
    while let Some(line) = lines.message().await.map_err(CallError::from)? {
        print(&line, args.client.output)?;
    }
    Ok(())
}

fn print(line: &proto::ListAuditResponse, output: Output) -> anyhow::Result<()> {
    let time = line.time.unwrap_or_default();
    let time = Timestamp::new(time.seconds, time.nanos).unwrap_or_default();
    let time = format!("{time:.3}");
    if output == Output::Json {
        return out::json(&LineJson {
            time: &time,
            key: &line.key_id,
            partner: &line.partner,
            address: &line.address,
            action: &line.action,
            target: &line.target,
            outcome: &line.outcome,
        });
    }
    let or_dash = |text: &str| match text {
        "" => "-".to_owned(),
        text => printable(text),
    };
    let who = match line.partner.as_str() {
        "" => or_dash(&line.key_id),
        partner => format!("{}/{}", printable(partner), or_dash(&line.key_id)),
    };
    out::line(&format!(
        "{time}  {who}  {}  {}  {}  {}",
        or_dash(&line.address),
        or_dash(&line.action),
        or_dash(&line.target),
        or_dash(&line.outcome),
    ))
}
