//! A connection's socket, with or without TLS: one type, so that all above it is written once.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{server::door::Pass, wire::peer::PeerCertificate};

/// A connection that is set up; it counts as open until it is dropped.
#[derive(Debug)]
pub struct Socket {
    io: Io,
    /// What was read already, and is given first.
    before: Bytes,
    /// None for one that is only told why it is refused.
    _pass: Option<Pass>,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    /// Boxed: a kilobyte, which plain connections must not pay for.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// One without TLS.
    pub fn plain(socket: TcpStream, pass: Option<Pass>) -> Self {
        Self {
            io: Io::Plain(socket),
            before: Bytes::new(),
            _pass: pass,
        }
    }

    /// One with TLS, after its handshake.
    pub fn tls(stream: TlsStream<TcpStream>, pass: Option<Pass>) -> Self {
        Self {
            io: Io::Tls(Box::new(stream)),
            before: Bytes::new(),
            _pass: pass,
        }
    }

    /// Gives these bytes again, before all that comes.
    pub fn rewind(&mut self, before: Bytes) {
        self.before = before;
    }

    /// What is given again, before all that comes.
    pub fn before(&self) -> &[u8] {
        &self.before
    }

    /// `http`, or with TLS `https`.
    pub fn scheme(&self) -> &'static str {
        match self.io {
            Io::Plain(_) => "http",
            Io::Tls(_) => "https",
        }
    }

    /// The certificate that the client has shown, which the handshake has verified; where that goes
    /// on with an earlier session it was verified then, and may be over by now.
    pub fn certificate(&self) -> Option<PeerCertificate> {
        let Io::Tls(stream) = &self.io else {
            return None;
        };
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates()?.first()?;
        PeerCertificate::of(shown)
            .inspect_err(
                |error| tracing::warn!(%error, "what a client shows by TLS does not count"),
            )
            .ok()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return match &mut self.io {
                Io::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
                Io::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            };
        }
        let len = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before.split_to(len));
        if self.before.is_empty() {
            // Even an empty slice would hold what it is a slice of.
            self.before = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_write_vectored(context, parts),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(socket) => socket.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
