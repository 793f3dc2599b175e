//! `GET /v1/status`: how the node, its NATS and its subscribers are, and what went through in the
//! last quarter of an hour. For keys of the roles monitor and desk; the desk's page shows the same.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    server::http::{
        Phase, Web,
        admission::Asked,
        answer::{Refusal, fleeting},
    },
    telemetry::series::{Rates, SAMPLE_EVERY, Series},
    wire::log::{Log, admin::LogStatus, servers::Sync},
};

/// The path.
pub const STATUS: &str = "/v1/status";
/// Streams that are told one by one, those furthest behind first; all are counted.
const STREAMS_MAX: usize = 100;
/// A stream that is further behind is not live.
const LIVE: Duration = Duration::from_secs(2);
/// For how long what the leader says is told again.
const KEPT: Duration = Duration::from_secs(5);
/// For how long it is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is watched of a node; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    series: Series,
    /// What the leader said last, or that it did not answer; one asks at a time.
    stored: Mutex<Option<(Instant, Option<LogStatus>)>>,
}

/// How a node is.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The process.
    pub node: NodeState,
    /// The connection to NATS, and its servers.
    pub nats: NatsState,
    /// The log as this node has read it.
    pub log: LogState,
    /// Open streams that this node serves.
    pub streams: Streams,
    /// The last quarter of an hour.
    pub rates: Rates,
}

/// The process.
#[derive(Debug, Serialize)]
pub struct NodeState {
    /// Barid's release.
    pub version: &'static str,
    /// What it is at.
    pub phase: Phase,
    /// Whether it can serve.
    pub ready: bool,
}

/// The connection to NATS.
#[derive(Debug, Serialize)]
pub struct NatsState {
    /// Whether it is there.
    pub connected: bool,
    /// How often it came back.
    pub reconnects: u64,
    /// Those that keep the log; empty if they don't say.
    pub servers: Vec<ServerState>,
}

/// A server of NATS.
#[derive(Debug, Serialize)]
pub struct ServerState {
    /// Its name.
    pub name: String,
    /// Its release; none if it does not answer.
    pub version: Option<String>,
    /// Whether what it acknowledges is on disk; none if it does not say.
    pub syncs_each_write: Option<bool>,
}

/// The log.
#[derive(Debug, Serialize)]
pub struct LogState {
    /// Whether this node has read to its end, by a proof that is less than a second old.
    pub caught_up: bool,
    /// Up to where this node has read.
    pub position: u64,
    /// Seconds since the last proof.
    pub confirmed_age_seconds: Option<f64>,
    /// What its leader says; none if it does not.
    pub stored: Option<Stored>,
}

/// The log as its leader has it.
#[derive(Debug, Serialize)]
pub struct Stored {
    /// The cursor of its end.
    pub end: String,
    /// The first sequence that readers of history may get.
    pub retained_from: u64,
    /// Messages: records, copies, answers and marks.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
    /// The most that it may have; none = what the disk holds.
    pub bytes_max: Option<u64>,
    /// Copies of every message.
    pub replicas: usize,
    /// Kills whose texts are still being erased.
    pub erasures_pending: usize,
}

/// Open streams.
#[derive(Debug, Serialize)]
pub struct Streams {
    /// How many.
    pub count: usize,
    /// How many of them are behind.
    pub behind: usize,
    /// One by one, furthest behind first, a hundred at most.
    pub first: Vec<Stream>,
}

/// An open stream.
#[derive(Debug, Serialize)]
pub struct Stream {
    /// Whose it is; none if it needed no key.
    pub partner: Option<String>,
    /// Its key; of one by a token, what stands for a key's id in all tokens of its subject.
    pub key_id: Option<String>,
    /// For whom the token is that it is open by.
    pub subject: Option<String>,
    /// `grpc` or `sse`.
    pub protocol: &'static str,
    /// Up to where it has judged the log.
    pub cursor: String,
    /// For how long what it has not judged has been there.
    pub lag_seconds: f64,
    /// Whether that is not to speak of.
    pub live: bool,
}

impl Board {
    /// Counts until `stop`.
    pub async fn run(&self, log: Log, clock: fn() -> SystemTime, stop: CancellationToken) {
        let mut tick = interval(SAMPLE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A tick that is dropped comes again.
                _ = tick.tick() => {}
            }
            let since = clock().duration_since(SystemTime::UNIX_EPOCH);
            let at_ms = since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
            self.0.series.add(log.metrics().sample(at_ms));
        }
    }

    /// What the leader says of the log, or said a moment ago; none if it does not answer.
    async fn stored(&self, log: &Log) -> Option<LogStatus> {
        let mut stored = self.0.stored.lock().await;
        if let Some((at, status)) = &*stored
            && at.elapsed() < KEPT
        {
            return status.clone();
        }
        let asked = timeout(PATIENCE, log.status()).await;
        let status = asked.ok().and_then(Result::ok);
        *stored = Some((Instant::now(), status.clone()));
        status
    }
}

impl Status {
    /// How a node is now.
    pub async fn of(web: &Web) -> Self {
        let log = web.log();
        let status = web.board.stored(log).await;
        let (servers, stored) = status.map_or((Vec::new(), None), told);
        let (phase, caught_up) = (web.phase(), log.is_fresh());
        Self {
            node: NodeState {
                version: env!("CARGO_PKG_VERSION"),
                phase,
                ready: phase == Phase::Serving && caught_up,
            },
            nats: NatsState {
                connected: log.is_connected(),
                reconnects: log.reconnect_count(),
                servers,
            },
            log: LogState {
                caught_up,
                position: log.read_up_to(),
                confirmed_age_seconds: log.confirmed_age().map(|age| age.as_secs_f64()),
                stored,
            },
            streams: streams(web),
            rates: web.board.0.series.rates(),
        }
    }
}

fn told(status: LogStatus) -> (Vec<ServerState>, Option<Stored>) {
    let servers = status.servers.into_iter().map(|server| ServerState {
        name: server.name,
        version: server.version,
        syncs_each_write: match server.sync {
            Sync::Always => Some(true),
            Sync::Later => Some(false),
            Sync::Unknown => None,
        },
    });
    let stored = Stored {
        end: status.end,
        retained_from: status.retained_from,
        messages: status.message_count,
        bytes: status.bytes,
        bytes_max: status.bytes_max,
        replicas: status.replicas,
        erasures_pending: status.erasures_pending,
    };
    (servers.collect(), Some(stored))
}

fn streams(web: &Web) -> Streams {
    let mut open = web.hub.open_streams((web.clock)());
    open.sort_by_key(|stream| std::cmp::Reverse(stream.lag));
    let shown = open.iter().take(STREAMS_MAX).map(|stream| {
        let holder = stream.holder.as_ref();
        let subject = holder.and_then(|holder| holder.subject());
        Stream {
            partner: holder.map(|holder| holder.partner().to_string()),
            key_id: holder.map(|holder| holder.id().to_string()),
            subject: subject.map(str::to_owned),
            protocol: stream.protocol.as_str(),
            cursor: web.log().cursor(stream.at).to_string(),
            lag_seconds: stream.lag.as_secs_f64(),
            live: stream.lag < LIVE,
        }
    });
    Streams {
        count: open.len(),
        behind: open.iter().filter(|stream| stream.lag >= LIVE).count(),
        first: shown.collect(),
    }
}

/// Answered in every phase: a node that does not serve is one to look at.
pub async fn get(State(web): State<Web>, request: Request) -> Response {
    let asked = Asked::of(&web, &request);
    let caller = web.caller(&asked);
    if let Err(fault) = caller.and_then(|caller| caller.monitor()) {
        let answer = Refusal::from(fault).into_response();
        web.note_refusal(&asked, &answer);
        return answer;
    }
    let body = serde_json::to_vec(&Status::of(&web).await).expect("plain data");
    fleeting(StatusCode::OK, "application/json", body)
}
