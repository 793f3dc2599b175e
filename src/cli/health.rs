//! `barid health`: whether a node serves, as `grpc.health.v1` says it.

use clap::Args;
use serde::Serialize;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::{
    access::key::Role,
    cli::{
        client::{CallError, Client, ClientArgs},
        out,
    },
    config::value::Output,
};

/// Ask a node whether it serves
///
/// Needs no key. Exit codes: 0 it serves, 1 it does not, or nobody answers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  barid health\n  barid health --server http://10.0.0.5:50051")]
pub struct HealthArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// The answer as `--output json` prints it.
#[derive(Serialize)]
struct HealthJson {
    serving: bool,
}

/// Runs `barid health`.
///
/// # Errors
/// Nobody answers, or the node does not serve.
pub async fn run(args: HealthArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Monitor).await?;
    let request = client.request(HealthCheckRequest::default());
    let answer = client.health().check(request).await;
    let status = answer.map_err(CallError::from)?.into_inner().status;
    let serving = status == i32::from(ServingStatus::Serving);
    match args.client.output {
        Output::Json => out::json(&HealthJson { serving })?,
        Output::Text if serving => out::line("serving")?,
        Output::Text => {}
    }
    if serving {
        Ok(())
    } else {
        anyhow::bail!("the node does not serve: it can't reach its log, has not read it, or stops")
    }
}
