//! What operators ask: health, readiness, metrics. Answered in every phase.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::Serialize;

use crate::{
    server::http::{
        Phase, Web,
        admission::Asked,
        answer::{Refusal, fleeting},
    },
    telemetry::LogState,
    wire::log::pulse::FRESH,
};

/// What `/readyz` says.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    phase: Phase,
    nats: NatsState,
    log: LogReadiness,
    recipients: RecipientsReadiness,
}

#[derive(Debug, Serialize)]
struct NatsState {
    connected: bool,
    reconnects: u64,
}

#[derive(Debug, Serialize)]
struct LogReadiness {
    /// This node has read to the log's end, by a proof that is less than a second old.
    caught_up: bool,
    position: u64,
    confirmed_age_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct RecipientsReadiness {
    /// This node knows all durable subscriptions and webhooks, by a proof that is less than a second old.
    /// Else recall waits, and durable streams may; all others go on: the node is ready all the same.
    caught_up: bool,
    confirmed_age_seconds: Option<f64>,
}

/// `GET /healthz`: the process lives.
pub async fn health() -> Response {
    fleeting(StatusCode::OK, "text/plain; charset=utf-8", "alive\n")
}

/// `GET /readyz`: whether the node can serve, and why not.
pub async fn readiness(State(web): State<Web>) -> Response {
    let (phase, log) = (web.phase(), web.log());
    let (connected, caught_up) = (log.is_connected(), log.is_fresh());
    let known = web.recipients.confirmed_age();
    let readiness = Readiness {
        ready: phase == Phase::Serving && caught_up,
        phase,
        nats: NatsState {
            connected,
            reconnects: log.reconnect_count(),
        },
        log: LogReadiness {
            caught_up,
            position: log.read_up_to(),
            confirmed_age_seconds: log.confirmed_age().map(|age| age.as_secs_f64()),
        },
        recipients: RecipientsReadiness {
            caught_up: known.is_some_and(|age| age < FRESH),
            confirmed_age_seconds: known.map(|age| age.as_secs_f64()),
        },
    };
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::to_vec(&readiness).expect("plain data");
    fleeting(status, "application/json", body)
}

/// `GET /metrics`: for Prometheus, with a key of the role monitor.
pub async fn metrics(State(web): State<Web>, request: Request) -> Response {
    let asked = Asked::of(&web, &request);
    let caller = web.caller(&asked);
    if let Err(fault) = caller.and_then(|caller| caller.monitor()) {
        let answer = Refusal::from(fault).into_response();
        web.note_refusal(&asked, &answer);
        return answer;
    }
    let log = web.log();
    let seconds = |age: Option<Duration>| age.map_or(f64::INFINITY, |age| age.as_secs_f64());
    let state = LogState {
        is_connected: log.is_connected(),
        reconnect_count: log.reconnect_count(),
        position: log.read_up_to(),
        confirmed_age_seconds: seconds(log.confirmed_age()),
        recipients_age_seconds: seconds(web.recipients.confirmed_age()),
    };
    let text_type = "text/plain; version=0.0.4; charset=utf-8";
    fleeting(StatusCode::OK, text_type, log.metrics().text(state))
}
