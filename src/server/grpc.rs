//! The gRPC side of a node: a listener and its connections, over hyper itself, which bounds what
//! a connection holds for a client that does not read. tonic's own server does not.

use std::{convert::Infallible, future::Future, net::IpAddr, pin::pin, time::Duration};

use http::{HeaderValue, header::AUTHORIZATION};
use hyper::{
    Request, Response, body::Incoming, rt::Executor, server::conn::http2, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, body::Body, service::Routes};
use tower_service::Service as _;

use crate::{
    fault::Fault,
    gate::Gate,
    server::incoming::accept,
    wire::status::{reason, status},
};

/// Time between two HTTP/2 pings to a silent client.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a client may take to answer a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What the paths of our services begin with.
const OURS: &str = "/barid.v1.";
/// Streams and calls that one connection may have open.
const STREAMS_MAX: u32 = 1024;
/// Bytes that a stream may have waiting within its connection: at least one frame goes in.
const SEND_BYTES_MAX: usize = 64 * 1024;

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

/// Accepts connections until `drain`. From then on each ends with its last stream; what is still
/// open at `end` is cut off. `connections` counts them.
pub async fn run(
    listener: TcpListener,
    (routes, gate): (Routes, Gate),
    drain: CancellationToken,
    end: CancellationToken,
    connections: TaskTracker,
) {
    // Once, and not for each connection.
    let routes = routes.prepare();
    loop {
        let socket = tokio::select! {
            biased;
            // Closes the listener.
            () = drain.cancelled() => return,
            // A connection that is not taken stays in the system's queue.
            socket = accept(&listener) => socket,
        };
        let (routes, drain, end) = ((routes.clone(), gate.clone()), drain.clone(), end.clone());
        let tracked = Tracked(connections.clone());
        connections.spawn(connection(socket, routes, tracked, drain, end));
    }
}

async fn connection(
    socket: TcpStream,
    (routes, gate): (Routes, Gate),
    tracked: Tracked,
    drain: CancellationToken,
    end: CancellationToken,
) {
    let from = socket.peer_addr().ok().map(|peer| peer.ip());
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut routes, gate) = (routes.clone(), gate.clone());
        async move {
            let shown = request.headers().get(AUTHORIZATION).cloned();
            let path = request.uri().path().to_owned();
            let answer = match admitted(&gate, request, shown.as_ref(), from) {
                Ok(request) => answered(routes.call(request.map(Body::new)).await),
                Err(fault) => status(&fault).into_http(),
            };
            if let Some(reason) = refusal(&answer) {
                gate.refused(
                    shown.as_ref().map(HeaderValue::as_bytes),
                    from,
                    &path,
                    &reason,
                );
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http2::Builder::new(tracked)
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
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
        tracing::debug!(%error, "gRPC connection");
    }
}

/// A request with its caller, and without the key: no service sees that. Health and reflection are
/// everybody's.
fn admitted(
    gate: &Gate,
    mut request: Request<Incoming>,
    shown: Option<&HeaderValue>,
    from: Option<IpAddr>,
) -> Result<Request<Incoming>, Fault> {
    request.headers_mut().remove(AUTHORIZATION);
    if request.uri().path().starts_with(OURS) {
        let caller = gate.admit(shown.map(HeaderValue::as_bytes), from)?;
        request.extensions_mut().insert(caller);
    }
    Ok(request)
}

/// Why an answer says that its caller may not, if it does so at once.
fn refusal(answer: &Response<Body>) -> Option<String> {
    let status = Status::from_header_map(answer.headers())?;
    let is_refusal = matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied
    );
    is_refusal.then(|| reason(&status).unwrap_or_default())
}

fn answered<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}
