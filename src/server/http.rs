//! The web side of a node: a listener and its connections. A stream that is a connection's first
//! request is written by [`stream`]; all else goes by hyper to the [`mod@router`].

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Method, Request, header::ORIGIN};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service as _;

use crate::{
    article::Time,
    delivery::{
        articles::Articles, feeds::Feeds, hub::Hub, recipients::Recipients, related::Related,
        sse::Events, webhooks::Webhooks,
    },
    desk::Desk,
    gate::Gate,
    ingest::grpc::Publisher,
    server::{
        http::{
            patient::Patient,
            router::{STREAM, router},
            status::Board,
            stream::{Asked, read_head},
        },
        incoming::{Arrival, Entrance, Opened},
        refusal,
        socket::Socket,
    },
    telemetry::connections::Cut,
    wire::{log::Log, peer::PeerCertificate, record::time_of},
};

pub mod admission;
pub mod answer;
pub mod articles;
pub mod body;
pub mod conditional;
pub mod cookie;
pub mod cors;
pub mod dashboard;
pub mod events;
pub mod feeds;
pub mod form;
pub mod hub;
pub mod openapi;
pub mod operate;
pub mod origin;
pub mod patient;
pub mod publish;
pub mod related;
pub mod router;
pub mod session;
pub mod status;
pub mod stream;
pub mod subscriptions;
pub mod topics;

/// Bytes of a request's head, and of what a connection holds unsent beside one frame.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take to send a request when the node drains.
const LAST_REQUEST: Duration = Duration::from_millis(200);
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

/// What the web side stands on.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The reading side.
    pub hub: Hub,
    /// The publish gateway.
    pub publisher: Publisher,
    /// The desk.
    pub desk: Desk,
    /// Durable subscriptions, and whom recalls have reached.
    pub recipients: Recipients,
    /// The time of day.
    pub clock: fn() -> SystemTime,
    /// What the node is at.
    pub phase: watch::Receiver<Phase>,
    /// Who may do what.
    pub gate: Gate,
    /// Webhooks, and feeds sent to who has subscribed to them.
    pub webhooks: Webhooks,
    /// Whether whoever is on this machine reads without a key.
    pub local_reads: bool,
    /// By which address others reach this side; none = the one that each request names.
    pub public_url: Option<Arc<str>>,
}

/// The web side of a node; clones share everything.
#[derive(Clone, Debug)]
pub struct Web {
    hub: Hub,
    articles: Articles,
    feeds: Feeds,
    publisher: Publisher,
    desk: Desk,
    recipients: Recipients,
    /// Bytes of bodies that may still be taken in.
    body_room: Arc<Semaphore>,
    /// The same, of those who are not let in yet: they must not hold up who is.
    entry_room: Arc<Semaphore>,
    related: Related,
    /// Lets so many texts be compared at a time; others wait.
    comparing: Arc<Semaphore>,
    clock: fn() -> SystemTime,
    phase: watch::Receiver<Phase>,
    gate: Gate,
    webhooks: Webhooks,
    /// Whether whoever is on this machine reads without a key.
    local_reads: bool,
    public_url: Option<Arc<str>>,
    board: Board,
}

/// The connection that a request came on; in every request's extensions.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Ends it.
    pub end: CancellationToken,
    /// From where it comes.
    pub from: Option<IpAddr>,
    /// `http`, or `https`.
    pub scheme: &'static str,
    /// What its client has proved by TLS.
    pub certificate: Option<PeerCertificate>,
}

impl Web {
    /// The web side over its parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            articles: Articles::new(parts.hub.clone()),
            related: Related::new(parts.hub.clone()),
            comparing: Arc::new(Semaphore::new(dashboard::COMPARING_MAX)),
            feeds: parts.webhooks.feeds().clone(),
            hub: parts.hub,
            publisher: parts.publisher,
            desk: parts.desk,
            recipients: parts.recipients,
            body_room: Arc::new(Semaphore::new(body::ROOM_BYTES_MAX)),
            entry_room: Arc::new(Semaphore::new(body::ENTRY_ROOM_BYTES_MAX)),
            clock: parts.clock,
            phase: parts.phase,
            gate: parts.gate,
            webhooks: parts.webhooks,
            local_reads: parts.local_reads,
            public_url: parts.public_url,
            board: Board::default(),
        }
    }

    /// The index of related articles; whoever starts the web side runs it, too.
    pub fn related(&self) -> &Related {
        &self.related
    }

    /// What is watched of the node; whoever starts the web side runs it, too.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The time of day.
    fn time(&self) -> Time {
        time_of((self.clock)())
    }

    fn log(&self) -> &Log {
        self.hub.log()
    }

    fn now(&self) -> Timestamp {
        Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// What the node is at now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
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
        let side = Arc::new(Side {
            router: router(self.clone()),
            web: self,
            entrance,
            drain,
            end,
        });
        loop {
            let arrival = tokio::select! {
                biased;
                () = side.end.cancelled() => return,
                // A connection that is not taken stays in the system's queue.
                arrival = side.entrance.next(&listener) => arrival,
            };
            connections.spawn(Arc::clone(&side).connection(arrival));
        }
    }

    /// The stream that is asked for; none if there is anything to say against it.
    async fn open(&self, asked: &Asked, connection: &Connection) -> Option<Events> {
        // Another site's page: the router knows what its browser has to be told.
        if asked.headers.contains_key(ORIGIN) {
            return None;
        }
        let query = asked.query.as_deref();
        let by = (&Method::GET, STREAM, query);
        // Whoever is not let in hears why from the router.
        let by = admission::Asked::by(self, by, &asked.headers, Some(connection));
        let caller = self.admit(&by).ok()?;
        let end = connection.end.clone();
        let opened = Events::open(&self.hub, query, &asked.headers, &caller, end);
        opened.await.ok()
    }
}

/// What all connections share.
struct Side {
    web: Web,
    router: Router,
    entrance: Entrance,
    drain: CancellationToken,
    end: CancellationToken,
}

impl Side {
    async fn connection(self: Arc<Self>, arrival: Arrival) {
        // A subscriber that takes nothing ends this connection alone.
        let end = self.end.child_token();
        // Boxed: all that a connection may become is large, and streams are many and stay.
        let stream = Box::pin(self.begin(arrival, &end)).await;
        let Some((socket, events)) = stream else {
            return;
        };
        let result = tokio::select! {
            biased;
            () = end.cancelled() => return,
            result = stream::send(socket, events, self.web.now()) => result,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "event stream");
        }
    }

    /// Serves a connection to its end, unless that becomes a stream.
    async fn begin(
        &self,
        arrival: Arrival,
        end: &CancellationToken,
    ) -> Option<(Socket, Box<Events>)> {
        let mut opened = tokio::select! {
            biased;
            () = end.cancelled() => return None,
            opened = self.entrance.open(arrival) => opened?,
        };
        let mut connection = Connection {
            end: end.clone(),
            from: Some(opened.address),
            scheme: opened.socket.scheme(),
            certificate: None,
        };
        if let Some(refused) = &opened.refused {
            let router = self.router.clone();
            let refused = Box::pin(refuse(opened.socket, refused.reason, router, connection));
            drop(timeout_at(opened.deadline, refused).await);
            return None;
        }
        let head = tokio::select! {
            biased;
            () = end.cancelled() => return None,
            head = first_head(&mut opened, &self.entrance) => head?,
            // Nothing was asked for yet.
            () = drained(&self.drain) => return None,
        };
        connection.certificate = opened.socket.certificate();
        if let Some(asked) = stream::asked(&head, STREAM)
            && let Some(events) = self.web.open(&asked, &connection).await
        {
            return Some((opened.socket, Box::new(events)));
        }
        opened.socket.rewind(head);
        let http = Http {
            router: self.router.clone(),
            connection,
            address: opened.address,
        };
        let socket = Patient::new(opened.socket, self.web.hub.patience());
        Box::pin(http.serve(socket, &self.entrance, &self.drain)).await;
        None
    }
}

/// How a connection is served by hyper and the router.
struct Http {
    router: Router,
    connection: Connection,
    address: IpAddr,
}

impl Http {
    async fn serve(self, socket: Patient<Socket>, entrance: &Entrance, drain: &CancellationToken) {
        let (end, address) = (self.connection.end.clone(), self.address);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(self.connection.clone());
            self.router.clone().call(request)
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
}

/// Answers one request of a connection that is not served.
async fn refuse(socket: Socket, reason: Cut, router: Router, connection: Connection) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (mut router, connection) = (router.clone(), connection.clone());
        async move {
            if !OPERATION.contains(&request.uri().path()) {
                return Ok::<_, Infallible>(refusal::answer(reason).map(Body::from));
            }
            request.extensions_mut().insert(connection);
            router.call(request).await
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "HTTP connection");
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
