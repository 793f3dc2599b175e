//! The gRPC side of a node: a listener and its connections, over hyper itself, which bounds what
//! a connection holds for a client that does not read. tonic's own server does not.
//!
//! Beside what is set here, h2 ends a connection that floods it: with resets, its own or those it
//! provokes, with fields without end, with more than it may send.

use std::{
    convert::Infallible, error::Error as _, future::Future, io, net::IpAddr, sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use http::header::AUTHORIZATION;
use hyper::{
    Request, Response, body::Incoming, rt::Executor, server::conn::http2, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpListener,
    time::{Instant, MissedTickBehavior, interval_at, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, body::Body, service::Routes};
use tower_service::Service as _;

use crate::{
    delivery::grpc::Subscriber,
    fault::Fault,
    gate::{Gate, proof::Shown},
    server::{
        grpc::{
            activity::{Activity, Answer, Call, answered},
            together::Together,
        },
        incoming::{Arrival, Entrance, Opened},
        refusal,
        socket::Socket,
    },
    telemetry::connections::Cut,
    wire::{
        peer::PeerCertificate,
        status::{reason, status},
    },
};

pub mod activity;
pub mod together;

/// Time between two HTTP/2 pings to a silent client.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a client may take to answer a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What the paths of our services begin with.
const OURS: &str = "/barid.v1.";
/// What those of the service begin with that has the streams.
const STREAMS: &str = "/barid.v1.SubscriberService/";
/// Streams and calls that one connection may have open.
const STREAMS_MAX: u32 = 1024;
/// Bytes that a stream may have waiting within its connection: at least one frame goes in.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a call's metadata, as HTTP/2 counts them (RFC 9113 section 6.5.2).
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Calls that a client has reset and that wait to be taken; with more, h2 ends the connection.
const RESETS_MAX: usize = 20;
/// Streams that break the protocol, and that h2 resets; with more, it ends the connection.
const FAULTS_MAX: usize = 256;
/// What a client says first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for what a client says first: as a rule its first call is there, too.
const FIRST_BYTES: usize = 1024;

/// The gRPC side.
#[derive(Debug)]
pub struct Grpc {
    /// Where connections come in.
    pub entrance: Entrance,
    /// Streams, which go past the router: it costs each its set-up, and each frame two layers.
    pub subscriber: Subscriber,
    /// What else they may call.
    pub routes: Routes,
    /// Who may.
    pub gate: Gate,
    /// From its cancellation on each connection ends with its last stream.
    pub drain: CancellationToken,
    /// What is still open then is cut off.
    pub end: CancellationToken,
    /// Counts connections, and what runs for them.
    pub connections: TaskTracker,
}

/// Runs what hyper spawns among the connections, so that the stop waits for it, too.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

impl Grpc {
    /// Accepts connections until `drain`.
    pub async fn run(mut self, listener: TcpListener) {
        // Once, and not for each connection.
        self.routes = self.routes.prepare();
        let side = Arc::new(self);
        loop {
            let arrival = tokio::select! {
                biased;
                // Closes the listener.
                () = side.drain.cancelled() => return,
                // A connection that is not taken stays in the system's queue.
                arrival = side.entrance.next(&listener) => arrival,
            };
            side.connections
                .spawn(Arc::clone(&side).connection(arrival));
        }
    }

    async fn connection(self: Arc<Self>, arrival: Arrival) {
        let opened = tokio::select! {
            biased;
            () = self.end.cancelled() => return,
            // Nothing was asked for yet.
            () = self.drain.cancelled() => return,
            // Boxed: it is large, and over before the connection begins to stay.
            began = Box::pin(self.begun(arrival)) => began,
        };
        if let Some(opened) = opened {
            self.serve(opened).await;
        }
    }

    /// A connection whose client begins as HTTP/2 does, in its time, and is to be served.
    async fn begun(&self, arrival: Arrival) -> Option<Opened> {
        let mut opened = self.entrance.open(arrival).await?;
        if let Some(refused) = &opened.refused {
            let words = refusal::goodbye(refused.reason);
            refusal::say(&mut opened.socket, &words).await;
            return None;
        }
        match timeout_at(opened.deadline, read_preface(&mut opened.socket)).await {
            Ok(Ok(())) => return Some(opened),
            Ok(Err(error)) => tracing::debug!(%error, "gRPC connection"),
            Err(_) => self.entrance.note(Cut::Slow, opened.address),
        }
        None
    }

    async fn serve(self: Arc<Self>, opened: Opened) {
        let Opened {
            socket, address, ..
        } = opened;
        let activity = Activity::default();
        let asker = Asker {
            side: Arc::clone(&self),
            from: address,
            certificate: socket.certificate(),
        };
        let socket = Together::new(socket);
        let calls = activity.clone();
        // Boxed: a stream keeps the room of its answer's future for as long as it stays.
        let service =
            service_fn(move |request| Box::pin(asker.clone().answer(calls.begin(), request)));
        let connection = http2::Builder::new(Tracked(self.connections.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .max_concurrent_streams(STREAMS_MAX)
            .max_send_buf_size(SEND_BYTES_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(FAULTS_MAX)
            .serve_connection(TokioIo::new(socket), service);
        // Boxed: on its way into a pin of the task it would have room there twice.
        let mut connection = Box::pin(connection);
        let result = tokio::select! {
            biased;
            () = self.end.cancelled() => return,
            result = connection.as_mut() => result,
            // The connection goes on below, in each of these.
            () = self.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    () = self.end.cancelled() => return,
                    result = connection => result,
                }
            }
            () = idle(&activity, self.entrance.idle_after()) => {
                self.entrance.note(Cut::Idle, address);
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    () = self.end.cancelled() => return,
                    // A call may have come just before the client was told.
                    result = connection => result,
                }
            }
        };
        if let Err(error) = result {
            if is_flood(&error) {
                self.entrance.note(Cut::Flood, address);
            }
            tracing::debug!(%error, "gRPC connection");
        }
    }
}

/// Who asks on a connection, as far as that tells.
#[derive(Clone, Debug)]
struct Asker {
    side: Arc<Grpc>,
    from: IpAddr,
    certificate: Option<PeerCertificate>,
}

impl Asker {
    /// Answers a request; the call ends with its answer's body.
    async fn answer(
        self,
        call: Call,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let shown = Shown {
            authorization: request.headers().get(AUTHORIZATION).cloned(),
            session: None,
            certificate: self.certificate,
            from: Some(self.from),
        };
        let path = request.uri().path().to_owned();
        let answer = match self.admitted(request, &shown) {
            Ok(request) if path.starts_with(STREAMS) => {
                let subscriber = self.side.subscriber.clone();
                subscriber.answer(request.map(Body::new)).await
            }
            Ok(request) => {
                let mut routes = self.side.routes.clone();
                answered(routes.call(request.map(Body::new)).await)
            }
            Err(fault) => status(&fault).into_http(),
        };
        if let Some(reason) = why_refused(&answer) {
            self.side.gate.refused(&shown, &path, &reason);
        }
        Ok(call.answer(answer))
    }

    /// A request with its caller, and without the key: no service sees that. Health and reflection
    /// are everybody's.
    fn admitted(
        &self,
        mut request: Request<Incoming>,
        shown: &Shown,
    ) -> Result<Request<Incoming>, Fault> {
        request.headers_mut().remove(AUTHORIZATION);
        if request.uri().path().starts_with(OURS) {
            let caller = self.side.gate.admit(shown)?;
            request.extensions_mut().insert(caller);
        }
        Ok(request)
    }
}

/// Why an answer says that its caller may not, if it does so at once.
fn why_refused(answer: &Response<Body>) -> Option<String> {
    let status = Status::from_header_map(answer.headers())?;
    let is_refusal = matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied
    );
    is_refusal.then(|| reason(&status).unwrap_or_default())
}

/// Returns once nothing was asked for in at least this time, at most twice as long.
async fn idle(activity: &Activity, after: Duration) {
    let mut look = interval_at(Instant::now() + after, after);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        look.tick().await;
        let at_rest = activity.at_rest();
        if at_rest.is_some() && at_rest == before {
            return;
        }
        before = at_rest;
    }
}

/// Reads what a client says first, with all that has come behind it, and gives it back to whoever
/// reads next.
async fn read_preface(socket: &mut Socket) -> io::Result<()> {
    let mut said = BytesMut::with_capacity(FIRST_BYTES);
    while said.len() < PREFACE.len() && PREFACE.starts_with(&said) {
        if socket.read_buf(&mut said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if !said.starts_with(PREFACE) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the client does not speak HTTP/2",
        ));
    }
    socket.rewind(said.freeze());
    Ok(())
}

fn is_flood(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &h2::Error| cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}
