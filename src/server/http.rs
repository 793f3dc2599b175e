//! The web side of a node: a listener and its connections. A stream that is a connection's first
//! request is written by [`stream`]; all else goes by hyper to the [`mod@router`].

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::Router;
use bytes::Bytes;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service as _;

use crate::{
    delivery::{articles::Articles, feeds::Feeds, hub::Hub, sse::Events},
    desk::Desk,
    ingest::grpc::Publisher,
    server::{
        http::{
            patient::Patient,
            router::{STREAM, router},
            stream::{Asked, Rewound, read_head},
        },
        incoming::accept,
    },
    wire::log::Log,
};

pub mod admission;
pub mod answer;
pub mod articles;
pub mod conditional;
pub mod events;
pub mod feeds;
pub mod openapi;
pub mod operate;
pub mod patient;
pub mod publish;
pub mod router;
pub mod stream;
pub mod topics;

/// How long a client may take to send a request's head, and an idle connection may stay.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head, and of what a connection holds unsent beside one frame.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

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
    /// The time of day.
    pub clock: fn() -> SystemTime,
    /// What the node is at.
    pub phase: watch::Receiver<Phase>,
}

/// The web side of a node; clones share everything.
#[derive(Clone, Debug)]
pub struct Web {
    hub: Hub,
    articles: Articles,
    feeds: Feeds,
    publisher: Publisher,
    desk: Desk,
    /// Bytes of bodies that may still be taken in.
    body_room: Arc<Semaphore>,
    clock: fn() -> SystemTime,
    phase: watch::Receiver<Phase>,
}

/// Ends the connection that a request came on; in every request's extensions.
#[derive(Clone, Debug)]
pub struct ConnectionEnd(pub CancellationToken);

impl Web {
    /// The web side over its parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            articles: Articles::new(parts.hub.clone()),
            feeds: Feeds::new(parts.hub.clone()),
            hub: parts.hub,
            publisher: parts.publisher,
            desk: parts.desk,
            body_room: Arc::new(Semaphore::new(publish::ROOM_BYTES_MAX)),
            clock: parts.clock,
            phase: parts.phase,
        }
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
        drain: CancellationToken,
        end: CancellationToken,
        connections: TaskTracker,
    ) {
        let router = router(self.clone());
        loop {
            let socket = tokio::select! {
                biased;
                () = end.cancelled() => return,
                // A connection that is not taken stays in the system's queue.
                socket = accept(&listener) => socket,
            };
            let (web, router) = (self.clone(), router.clone());
            let (drain, end, tracker) = (drain.clone(), end.clone(), connections.clone());
            connections.spawn(web.connection(socket, router, drain, end, tracker));
        }
    }

    async fn connection(
        self,
        mut socket: TcpStream,
        router: Router,
        drain: CancellationToken,
        end: CancellationToken,
        connections: TaskTracker,
    ) {
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
            Some(asked) => self.open(asked, end.clone()).await,
            None => None,
        };
        if let Some(events) = events {
            // As a task of its own, which has no room for all that this one may become: streams are
            // many and stay.
            connections.spawn(self.send(socket, events, end));
            return;
        }
        let socket = Patient::new(Rewound::new(head, socket), self.hub.patience());
        serve(socket, router, drain, end).await;
    }

    /// The stream that is asked for; none if there is anything to say against it.
    async fn open(&self, asked: Asked, end: CancellationToken) -> Option<Events> {
        // Whoever is not let in hears why from the router.
        self.admit(&asked.headers).ok()?;
        let opened = Events::open(&self.hub, asked.query.as_deref(), &asked.headers, end);
        opened.await.ok()
    }

    /// Sends a stream to its end.
    fn send(
        &self,
        socket: TcpStream,
        events: Events,
        end: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let now = self.now();
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
}

/// Serves a connection by hyper and the router.
async fn serve(
    socket: Patient<Rewound>,
    router: Router,
    drain: CancellationToken,
    end: CancellationToken,
) {
    let own_end = end.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request
            .extensions_mut()
            .insert(ConnectionEnd(own_end.clone()));
        router.clone().call(request)
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
