//! The web side of a node: a listener, its connections, and the few paths that are served.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    delivery::{
        hub::Hub,
        sse::{self, Events},
    },
    fault::{Fault, Kind},
    server::{
        http::stream::{Asked, read_head},
        incoming::{Arrival, Entrance, Opened},
        refusal,
        socket::Socket,
    },
    telemetry::{LogState, connections::Cut},
    wire::{
        log::Log,
        problem::{problem, problem_with},
    },
};

pub mod stream;

/// Bytes of a request's head, and of what a connection holds unsent beside one frame.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take to send a request when the node drains.
const LAST_REQUEST: Duration = Duration::from_millis(200);
/// Where every path that is served is listed.
const PATHS: [&str; 4] = [STREAM, "/healthz", "/readyz", "/metrics"];
/// The wire as server-sent events.
const STREAM: &str = "/v1/stream";
/// What is answered even to whoever is refused otherwise: a node that is full is not dead.
const OPERATION: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

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
    pub fn new(hub: Hub, clock: fn() -> SystemTime, phase: watch::Receiver<Phase>) -> Self {
        Self { hub, clock, phase }
    }

    fn log(&self) -> &Log {
        self.hub.log()
    }

    /// Accepts connections until `end`. From `drain` on each ends with its answer; what is still
    /// open at `end` is cut off. `connections` counts them.
    pub async fn run(
        self,
        listener: TcpListener,
        entrance: Entrance,
        drain: CancellationToken,
        end: CancellationToken,
        connections: TaskTracker,
    ) {
        loop {
            let arrival = tokio::select! {
                biased;
                () = end.cancelled() => return,
                // A connection that is not taken stays in the system's queue.
                arrival = entrance.next(&listener) => arrival,
            };
            let (web, drain, end) = (self.clone(), drain.clone(), end.clone());
            let (entrance, tracker) = (entrance.clone(), connections.clone());
            connections.spawn(web.connection(arrival, entrance, drain, end, tracker));
        }
    }

    async fn connection(
        self,
        arrival: Arrival,
        entrance: Entrance,
        drain: CancellationToken,
        end: CancellationToken,
        connections: TaskTracker,
    ) {
        // A subscriber that takes nothing ends this connection alone.
        let end = end.child_token();
        let opened = tokio::select! {
            biased;
            () = end.cancelled() => return,
            opened = entrance.open(arrival) => opened,
        };
        let Some(mut opened) = opened else { return };
        if let Some(refused) = &opened.refused {
            let refused = self.refuse(opened.socket, refused.reason);
            return drop(timeout_at(opened.deadline, refused).await);
        }
        let head = tokio::select! {
            biased;
            () = end.cancelled() => return,
            head = first_head(&mut opened, &entrance) => head,
            // Nothing was asked for yet.
            () = drained(&drain) => return,
        };
        let Some(head) = head else { return };
        let certificate = opened.socket.certificate();
        let events = match stream::asked(&head, STREAM) {
            Some(mut asked) => {
                if let Some(certificate) = certificate {
                    asked.extensions.insert(certificate);
                }
                self.open(asked, end.clone()).await
            }
            None => None,
        };
        if let Some(events) = events {
            // As a task of its own, which has no room for all that this one may become: streams are
            // many and stay.
            connections.spawn(self.send(opened.socket, events, end));
            return;
        }
        opened.socket.rewind(head);
        self.serve(opened, &entrance, drain, end).await;
    }

    /// Serves a connection by hyper.
    async fn serve(
        self,
        opened: Opened,
        entrance: &Entrance,
        drain: CancellationToken,
        end: CancellationToken,
    ) {
        let Opened {
            socket, address, ..
        } = opened;
        let (certificate, own_end) = (socket.certificate(), end.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (web, end) = (self.clone(), own_end.clone());
            if let Some(certificate) = certificate {
                request.extensions_mut().insert(certificate);
            }
            async move { Ok::<_, Infallible>(web.answer(&request, end).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The first head is there already; before each other one the connection may be idle.
            .header_read_timeout(entrance.idle_after())
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
            if error.is_timeout() {
                entrance.note(Cut::Idle, address);
            }
            tracing::debug!(%error, "HTTP connection");
        }
    }

    /// Answers one request of a connection that is not served.
    async fn refuse(&self, socket: Socket, reason: Cut) {
        let service = service_fn(move |request: Request<Incoming>| async move {
            if OPERATION.contains(&request.uri().path()) {
                return Ok(self.answer(&request, CancellationToken::new()).await);
            }
            Ok::<_, Infallible>(whole(refusal::answer(reason)))
        });
        let connection = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "HTTP connection");
        }
    }

    /// The stream that is asked for; none if there is anything to say against it.
    async fn open(&self, asked: Asked, end: CancellationToken) -> Option<Events> {
        if *self.phase.borrow() != Phase::Serving {
            return None;
        }
        let opened = Events::open(&self.hub, asked.query.as_deref(), &asked.headers, end);
        opened.await.ok()
    }

    /// Sends a stream to its end.
    fn send(
        &self,
        socket: Socket,
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

    async fn answer(
        &self,
        request: &Request<Incoming>,
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
            STREAM => self.stream(request, end).await,
            "/healthz" => text(StatusCode::OK, "text/plain; charset=utf-8", "alive\n"),
            "/readyz" => self.readiness(),
            _ => self.metrics(),
        }
    }

    async fn stream(
        &self,
        request: &Request<Incoming>,
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
        match Events::open(&self.hub, request.uri().query(), headers, end).await {
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

/// Returns once a connection without a request is to end: not at once, because whoever has just
/// come may be about to ask how the node is.
async fn drained(drain: &CancellationToken) {
    drain.cancelled().await;
    sleep(LAST_REQUEST).await;
}

/// The head of a connection's first request, if it comes in time.
async fn first_head(opened: &mut Opened, entrance: &Entrance) -> Option<Bytes> {
    let head = read_head(&mut opened.socket, BUFFER_BYTES_MAX);
    match timeout_at(opened.deadline, head).await {
        Ok(Ok(head)) => Some(head),
        // The client has gone.
        Ok(Err(_)) => None,
        Err(_) => {
            entrance.note(Cut::Slow, opened.address);
            refusal::say(&mut opened.socket, &refusal::too_slow()).await;
            None
        }
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
