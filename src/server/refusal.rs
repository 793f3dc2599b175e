//! The last words to a connection that is not served, in its protocol.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    fault::{Fault, Kind},
    telemetry::connections::{Cut, Listener},
    wire::problem::problem_with,
};

/// How long a refused client may take to hear why, and to leave.
pub const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// After how long it is to come back.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Error codes of HTTP/2 (RFC 9113 section 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;
const INADEQUATE_SECURITY: u32 = 0xc;

/// What a client of one of the listeners hears that speaks plainly where TLS is spoken.
pub fn speak_tls(listener: Listener) -> Bytes {
    match listener {
        Listener::Grpc => go_away(INADEQUATE_SECURITY, "this port speaks TLS; use https://"),
        Listener::Http => Bytes::from_static(
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
              content-type: application/problem+json\r\ncontent-length: 127\r\n\r\n\
              {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\
              \"detail\":\"this port speaks TLS; use https://\",\"reason\":\"TLS_REQUIRED\"}",
        ),
    }
}

/// What an HTTP client hears that takes too long.
pub fn too_slow() -> Bytes {
    Bytes::from_static(
        b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    )
}

/// What a refused gRPC client hears: a `GOAWAY` before its first stream, so that it knows that
/// nothing was begun.
pub fn goodbye(reason: Cut) -> Bytes {
    go_away(ENHANCE_YOUR_CALM, &fault(reason).message)
}

/// What a refused HTTP client hears: 503 if the node is full, 429 if it is the client's own doing.
pub fn answer(reason: Cut) -> Response<Bytes> {
    let status = match reason {
        Cut::Address | Cut::Rate => StatusCode::TOO_MANY_REQUESTS,
        Cut::Full | Cut::Tls | Cut::Slow | Cut::Idle | Cut::Flood => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    problem_with(status, &fault(reason))
}

fn fault(reason: Cut) -> Fault {
    let (name, message) = match reason {
        Cut::Address => (
            "TOO_MANY_CONNECTIONS",
            "your address has as many connections as it may have; close some",
        ),
        Cut::Rate => (
            "CONNECTING_TOO_FAST",
            "your address opens connections too fast; keep one open, and wait longer between tries",
        ),
        Cut::Full | Cut::Tls | Cut::Slow | Cut::Idle | Cut::Flood => (
            "NODE_FULL",
            "this node has as many connections as it takes; come back, or ask another",
        ),
    };
    Fault {
        retry_after: Some(RETRY_AFTER),
        ..Fault::new(Kind::Unavailable, name, message)
    }
}

/// An empty `SETTINGS`, which must come first, and a `GOAWAY` (RFC 9113 sections 6.5 and 6.8).
fn go_away(code: u32, words: &str) -> Bytes {
    let len = u8::try_from(8 + words.len()).expect("the words are short");
    let mut bytes = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    bytes.extend([0, 0, len, 7, 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, 0, 0]);
    bytes.extend(code.to_be_bytes());
    bytes.extend(words.as_bytes());
    bytes.into()
}

/// Says these words, and takes what the client still sends for a moment: closed with something
/// unread, the connection would be reset and the words lost.
pub async fn say(mut socket: impl AsyncRead + AsyncWrite + Unpin, words: &[u8]) {
    let said = async {
        socket.write_all(words).await?;
        socket.shutdown().await?;
        let mut junk = [0; 1024];
        while socket.read(&mut junk).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    if !matches!(timeout(REFUSAL_TIME, said).await, Ok(Ok(()))) {
        tracing::debug!("a client did not hear why it is not served");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths that are written by hand are those of what follows, and all words fit.
    #[test]
    fn lengths() {
        let words = speak_tls(Listener::Http);
        let words = std::str::from_utf8(&words).unwrap();
        let (head, body) = words.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        for reason in Cut::ALL {
            let frames = goodbye(reason);
            assert_eq!(frames.len(), 9 + 9 + usize::from(frames[11]));
            assert!(answer(reason).headers().contains_key("retry-after"));
        }
        assert!(speak_tls(Listener::Grpc).ends_with(b"https://"));
    }
}
