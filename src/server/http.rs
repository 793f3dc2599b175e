//! The web side of a node: a listener, its connections, and the few paths that are served.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    delivery::{
        hub::Hub,
        sse::{self, Events},
    },
    fault::{Fault, Kind},
    gate::{Gate, caller::Caller},
    server::{
        http::{
            patient::Patient,
            stream::{Asked, Rewound, read_head},
        },
        incoming::accept,
    },
    telemetry::LogState,
    wire::{
        log::Log,
        problem::{problem, problem_with},
    },
};

pub mod patient;
pub mod stream;

/// How long a client may take to send a request's head, and an idle connection may stay.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head, and of what a connection holds unsent beside one frame.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Where every path that is served is listed.
const PATHS: [&str; 4] = [STREAM, "/healthz", "/readyz", "/metrics"];
/// The wire as server-sent events.
const STREAM: &str = "/v1/stream";

/// What a node is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It reads the log and knows not every kill yet.
    Starting,
    /// It serves.
    Serving,
    /// It ends its streams and takes no new ones.
    Draining,
}

/// The web side of a node; clones share everything.
#[derive(Clone, Debug)]
pub struct Web {
    hub: Hub,
    clock: fn() -> SystemTime,
    phase: watch::Receiver<Phase>,
    gate: Gate,
    /// Whether whoever is on this machine reads without a key.
    local_reads: bool,
}

/// An answer's body.
#[derive(Debug)]
pub enum WebBody {
    /// All of it, until it is taken.
    Whole(Bytes),
    /// A stream of events.
    Events(Box<Events>),
}

/// What `/readyz` says.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    phase: Phase,
    nats: NatsState,
    log: LogReadiness,
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

impl Web {
    /// The web side over a hub.
    pub fn new(
        hub: Hub,
        clock: fn() -> SystemTime,
        phase: watch::Receiver<Phase>,
        (gate, local_reads): (Gate, bool),
    ) -> Self {
        Self {
            hub,
            clock,
            phase,
            gate,
            local_reads,
        }
    }

    /// Who makes a request over a connection from an address.
    fn caller(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Caller, Fault> {
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if shown.is_none() && self.local_reads && from.is_some_and(|from| from.is_loopback()) {
            return Ok(Caller::Local);
        }
        self.gate.admit(shown, from)
    }

    fn log(&self) -> &Log {
        self.hub.log()
    }

    /// Accepts connections until `end`. From `drain` on each ends with its answer; what is still
    /// open at `end` is cut off. `connections` counts them.
    pub async fn run(
        self,
        listener: TcpListener,
        drain: CancellationToken,
        end: CancellationToken,
        connections: TaskTracker,
    ) {
        loop {
            let socket = tokio::select! {
                biased;
                () = end.cancelled() => return,
                // A connection that is not taken stays in the system's queue.
                socket = accept(&listener) => socket,
            };
            let (web, drain, end) = (self.clone(), drain.clone(), end.clone());
            let tracker = connections.clone();
            connections.spawn(web.connection(socket, drain, end, tracker));
        }
    }

    async fn connection(
        self,
        mut socket: TcpStream,
        drain: CancellationToken,
        end: CancellationToken,
        connections: TaskTracker,
    ) {
        let from = socket.peer_addr().ok().map(|peer| peer.ip());
        // A subscriber that takes nothing ends this connection alone.
        let end = end.child_token();
        let head = tokio::select! {
            biased;
            () = end.cancelled() => return,
            // Nothing was asked for yet.
            () = drain.cancelled() => Ok(Ok(Bytes::new())),
            head = timeout(HEAD_TIMEOUT, read_head(&mut socket, STREAM, BUFFER_BYTES_MAX)) => head,
        };
        let Ok(Ok(head)) = head else {
            // The client has gone, or says nothing.
            return;
        };
        let events = match stream::asked(&head, STREAM) {
            Some(asked) => self.open(asked, from, end.clone()).await,
            None => None,
        };
        if let Some(events) = events {
            // As a task of its own, which has no room for all that this one may become: streams are
            // many and stay.
            connections.spawn(self.send(socket, events, end));
            return;
        }
        self.serve(Rewound::new(head, socket), from, drain, end)
            .await;
    }

    /// Serves a connection by hyper.
    async fn serve(
        self,
        socket: Rewound,
        from: Option<IpAddr>,
        drain: CancellationToken,
        end: CancellationToken,
    ) {
        let own_end = end.clone();
        let socket = Patient::new(socket, self.hub.patience());
        let service = service_fn(move |request| {
            let (web, end) = (self.clone(), own_end.clone());
            async move { Ok::<_, Infallible>(web.audited(&request, from, end).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        let result = tokio::select! {
            biased;
            () = end.cancelled() => return,
            result = connection.as_mut() => result,
            // The connection goes on below.
            () = drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    () = end.cancelled() => return,
                    result = connection => result,
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "HTTP connection");
        }
    }

    /// The stream that is asked for; none if there is anything to say against it.
    async fn open(
        &self,
        asked: Asked,
        from: Option<IpAddr>,
        end: CancellationToken,
    ) -> Option<Events> {
        if *self.phase.borrow() != Phase::Serving {
            return None;
        }
        let caller = self.caller(&asked.headers, from).ok()?;
        let query = asked.query.as_deref();
        let opened = Events::open(&self.hub, query, &asked.headers, &caller, end);
        opened.await.ok()
    }

    /// Sends a stream to its end.
    fn send(
        &self,
        socket: TcpStream,
        events: Events,
        end: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let now = Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        async move {
            let result = tokio::select! {
                biased;
                () = end.cancelled() => return,
                result = stream::send(socket, events, now) => result,
            };
            if let Err(error) = result {
                tracing::debug!(%error, "event stream");
            }
        }
    }

    /// An answer, and a line of the audit if it says that its caller may not.
    async fn audited(
        &self,
        request: &Request<Incoming>,
        from: Option<IpAddr>,
        end: CancellationToken,
    ) -> Response<WebBody> {
        let answer = self.answer(request, from, end).await;
        let refusal = match answer.status() {
            StatusCode::UNAUTHORIZED => Some("UNAUTHENTICATED"),
            StatusCode::FORBIDDEN => Some("PERMISSION_DENIED"),
            _ => None,
        };
        if let Some(reason) = refusal {
            let shown = request.headers().get(AUTHORIZATION);
            let shown = shown.map(HeaderValue::as_bytes);
            self.gate.refused(shown, from, request.uri().path(), reason);
        }
        answer
    }

    async fn answer(
        &self,
        request: &Request<Incoming>,
        from: Option<IpAddr>,
        end: CancellationToken,
    ) -> Response<WebBody> {
        let path = request.uri().path();
        if !PATHS.contains(&path) {
            let message = format!("there is nothing at this path; served are {}", list(&PATHS));
            return whole(problem(&Fault::new(Kind::Missing, "PATH_UNKNOWN", message)));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let message = "this path takes GET and HEAD";
            let fault = Fault::new(Kind::Invalid, "METHOD_NOT_ALLOWED", message);
            let mut answer = whole(problem_with(StatusCode::METHOD_NOT_ALLOWED, &fault));
            let methods = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, methods);
            return answer;
        }
        match path {
            STREAM => self.stream(request, from, end).await,
            "/healthz" => text(StatusCode::OK, "text/plain; charset=utf-8", "alive\n"),
            "/readyz" => self.readiness(),
            _ => match self
                .caller(request.headers(), from)
                .and_then(|it| it.monitor())
            {
                Ok(()) => self.metrics(),
                Err(fault) => whole(problem(&fault)),
            },
        }
    }

    async fn stream(
        &self,
        request: &Request<Incoming>,
        from: Option<IpAddr>,
        end: CancellationToken,
    ) -> Response<WebBody> {
        let headers = request.headers();
        if *self.phase.borrow() != Phase::Serving {
            let message = "this node does not serve yet, or no more; come back, or ask another";
            let fault = Fault::unavailable("NOT_SERVING", message, Duration::from_secs(1));
            if sse::takes_events(headers) {
                return events(Events::closed(&fault));
            }
            return whole(problem(&fault));
        }
        let caller = match self.caller(headers, from) {
            Ok(caller) => caller,
            Err(fault) => return whole(problem(&fault)),
        };
        match Events::open(&self.hub, request.uri().query(), headers, &caller, end).await {
            Ok(opened) => events(opened),
            Err(fault) => whole(problem(&fault)),
        }
    }

    fn readiness(&self) -> Response<WebBody> {
        let phase = *self.phase.borrow();
        let (connected, caught_up) = (self.log().is_connected(), self.log().is_fresh());
        let readiness = Readiness {
            ready: phase == Phase::Serving && caught_up,
            phase,
            nats: NatsState {
                connected,
                reconnects: self.log().reconnect_count(),
            },
            log: LogReadiness {
                caught_up,
                position: self.log().read_up_to(),
                confirmed_age_seconds: self.log().confirmed_age().map(|age| age.as_secs_f64()),
            },
        };
        let status = if readiness.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::to_vec(&readiness).expect("plain data");
        text(status, "application/json", body)
    }

    fn metrics(&self) -> Response<WebBody> {
        let age = self.log().confirmed_age();
        let state = LogState {
            is_connected: self.log().is_connected(),
            reconnect_count: self.log().reconnect_count(),
            position: self.log().read_up_to(),
            confirmed_age_seconds: age.map_or(f64::INFINITY, |age| age.as_secs_f64()),
        };
        let text_type = "text/plain; version=0.0.4; charset=utf-8";
        text(StatusCode::OK, text_type, self.log().metrics().text(state))
    }
}

fn events(events: Events) -> Response<WebBody> {
    let mut answer = Response::new(WebBody::Events(Box::new(events)));
    let headers = answer.headers_mut();
    let set = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, set("text/event-stream"));
    headers.insert(CACHE_CONTROL, set("no-store"));
    // nginx and its like would hold events back to fill a buffer.
    headers.insert("x-accel-buffering", set("no"));
    answer
}

fn whole(answer: Response<Bytes>) -> Response<WebBody> {
    answer.map(WebBody::Whole)
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<WebBody> {
    let mut answer = Response::new(WebBody::Whole(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn list(paths: &[&str]) -> String {
    paths.join(", ")
}

impl Body for WebBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Events(events) => Pin::new(events.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Events(events) => events.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).expect("usize fits u64"))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}
