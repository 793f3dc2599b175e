//! Incoming connections, with what every subscriber's socket needs.

use std::{io, time::Duration};

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that the system holds unsent for a connection before it is asked to wait: a stalled
/// subscriber costs the kernel little, and others nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

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
