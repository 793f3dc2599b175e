//! Incoming connections that end when they are told to, whatever their clients do.
//!
//! The server waits for each connection to end by itself; one whose client never says a word, not
//! even HTTP/2's preface, would hold the exit.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that the system holds unsent for a connection before it is asked to wait: a stalled
/// subscriber costs the kernel little, and others nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// A connection that seems closed by its client once its end has come.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The connections of a listener, all of which end with `end`.
pub fn connections(
    listener: TcpListener,
    end: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, end), async |(listener, end)| {
        let socket = accept(&listener).await;
        let connection = Connection {
            socket,
            end: Box::pin(end.clone().cancelled_owned()),
        };
        Some((Ok(connection), (listener, end)))
    })
}

/// The next connection, with what every subscriber's socket needs.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => match prepare(&socket) {
                Ok(()) => return socket,
                // The client has gone already.
                Err(error) => tracing::debug!(%error, "a connection ended at once"),
            },
            Err(error) => {
                // A full table of descriptors must not make the loop spin.
                tracing::warn!(%error, "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(context).is_ready() {
            // Nothing read: the end of the stream.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
