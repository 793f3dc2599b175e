//! A stream's connection, written without hyper: frames go to the socket as they are shared, and
//! a subscriber that waits holds no buffers.
//!
//! Perf: hyper costs a subscriber 16 KiB of buffers, and a delivery a chunk's head and a vectored
//! write of three parts. The answer ends with its connection instead (RFC 9112 section 6.3). A
//! stream that is asked for on a connection that has had other requests still goes by hyper.

use std::{
    future::poll_fn,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use jiff::{Timestamp, fmt::rfc2822};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::{delivery::sse::Events, server::socket::Socket};

/// Most fields of a request's head; with more, hyper judges it.
const FIELDS_MAX: usize = 64;
/// Room for a request's head: that of a browser's `EventSource` fits.
const HEAD_BYTES: usize = 1024;
/// What a stream has to say at once goes out with its head if it is no longer than this; more is not
/// copied.
const FIRST_BYTES_MAX: usize = 1024;
/// Bytes that a client may send after its request and that are thrown away at once.
const JUNK_BYTES: usize = 256;
/// Where a request's head ends.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A request for a stream, as it came.
#[derive(Debug)]
pub struct Asked {
    /// What follows the path.
    pub query: Option<String>,
    /// Its fields.
    pub headers: HeaderMap,
}

/// Reads the head of the first request, or what there is at `bytes_max`, at the end, or once it
/// can't become a request any more. What follows the head may be behind it.
///
/// # Errors
/// Those of the connection.
pub async fn read_head(socket: &mut Socket, bytes_max: usize) -> io::Result<Bytes> {
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    loop {
        let seen = head.len().saturating_sub(HEAD_END.len() - 1);
        if socket.read_buf(&mut head).await? == 0 {
            break;
        }
        let has_end = memchr::memmem::find(head.get(seen..).unwrap_or_default(), HEAD_END);
        let is_request = head.first().is_some_and(u8::is_ascii_uppercase);
        if has_end.is_some() || !is_request || head.len() >= bytes_max {
            break;
        }
    }
    Ok(head.freeze())
}

/// The request for a stream that a head is; none if it is anything else, which hyper judges.
pub fn asked(head: &[u8], path: &str) -> Option<Asked> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    // With content, or with another request behind it, it is not ours.
    let is_whole = request.parse(head) == Ok(httparse::Status::Complete(head.len()));
    if !is_whole || request.method != Some("GET") || request.version != Some(1) {
        return None;
    }
    let (asked_path, query) = match request.path?.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (request.path?, None),
    };
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(field.value).ok()?;
        headers.append(name, value);
    }
    let has_content = headers.contains_key("content-length")
        || headers.contains_key("transfer-encoding")
        || headers.contains_key("upgrade");
    let has_host = headers.contains_key("host");
    (asked_path == path && !has_content && has_host).then_some(Asked { query, headers })
}

/// Sends a stream's head and its events until either side ends it.
///
/// # Errors
/// Those of the connection.
pub async fn send(socket: Socket, mut events: Box<Events>, now: Timestamp) -> io::Result<()> {
    let head = head(now)?;
    let begun = poll_fn(|context| Poll::Ready(first(&head, &mut events, context)));
    let (rest, next) = begun.await;
    let mut sending = Sending {
        socket,
        events,
        rest,
        next,
    };
    (&mut sending).await?;
    sending.socket.shutdown().await
}

/// The head with what goes before the first news, and what comes next, if that is there already.
///
/// Perf: each write that is saved is a tenth of what a subscriber costs to set up.
fn first(head: &str, events: &mut Events, context: &mut Context<'_>) -> (Bytes, Bytes) {
    let mut first = BytesMut::from(head.as_bytes());
    // Whatever is pending or over is asked for again.
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *events).poll_frame(context) {
        let bytes = frame.into_data().unwrap_or_default();
        if first.len() + bytes.len() > FIRST_BYTES_MAX {
            return (first.freeze(), bytes);
        }
        first.extend_from_slice(&bytes);
    }
    (first.freeze(), Bytes::new())
}

fn head(now: Timestamp) -> io::Result<String> {
    let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
    let date = date.map_err(io::Error::other)?;
    Ok(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
         x-accel-buffering: no\r\nconnection: close\r\ndate: {date}\r\n\r\n"
    ))
}

/// A stream on its way.
struct Sending {
    socket: Socket,
    events: Box<Events>,
    /// What is being written.
    rest: Bytes,
    /// What is written after it.
    next: Bytes,
}

impl Sending {
    /// Whether the client has gone. What it sends is of no use.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut junk = [0; JUNK_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut junk);
            match ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// Writes until the client takes no more; ready once the stream has ended.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.rest.is_empty() {
                let len = ready!(Pin::new(&mut self.socket).poll_write(context, &self.rest))?;
                if len == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.rest.advance(len);
            }
            // Also of what is written to its end: it may be a part of what many share.
            self.rest = mem::take(&mut self.next);
            if !self.rest.is_empty() {
                continue;
            }
            // TLS may hold the last record still; while it does, it takes no other.
            ready!(Pin::new(&mut self.socket).poll_flush(context))?;
            match ready!(Pin::new(self.events.as_mut()).poll_frame(context)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(never)) => match never {},
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Future for &mut Sending {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = self.poll_send(context) {
            return Poll::Ready(result);
        }
        // Asked only when there is nothing to write, and costs no call to the system then.
        self.poll_gone(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(head: &str) -> bool {
        asked(head.as_bytes(), "/v1/stream").is_some()
    }

    /// Only a plain request for the stream is taken past hyper; what is odd about it, hyper judges.
    #[test]
    fn only_plain_requests_are_taken() {
        let asked = asked(
            b"GET /v1/stream?topics=ict HTTP/1.1\r\nHost: a\r\nLast-Event-ID: x\r\n\r\n",
            "/v1/stream",
        )
        .unwrap();
        assert_eq!(asked.query.as_deref(), Some("topics=ict"));
        assert_eq!(asked.headers["last-event-id"], "x");
        assert!(is_ours("GET /v1/stream HTTP/1.1\r\nhost: a\r\n\r\n"));
        for other in [
            "",
            "GET",
            "GET /v1/stream HTTP/1.1\r\nHost: a\r\n",
            "GET /v1/stream HTTP/1.1\r\n\r\n",
            "GET /v1/stream HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET /v1/streams HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HEAD /v1/stream HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /v1/stream HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /v1/stream HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "GET /v1/stream HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "GET /v1/stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /v1/stream HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(!is_ours(other), "{other:?}");
        }
    }
}
