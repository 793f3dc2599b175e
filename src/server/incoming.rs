//! Incoming connections: let in or refused, with what every subscriber's socket needs, and with
//! TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    server::{
        door::{self, Door, Pass},
        files, refusal,
        socket::Socket,
        tls::Tls,
    },
    telemetry::{
        Metrics,
        connections::{Cut, Listener},
    },
};

/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG_MAX: u32 = 4096;
/// Bytes that the system holds unsent for a connection before it is asked to wait: a stalled
/// subscriber costs the kernel little, and others nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 16 * 1024;
/// Bytes that TLS holds encrypted for a connection: half a record. What is behind them stays in
/// buffers that all subscribers share. More would save calls to the system in a burst, and cost as
/// much for each subscriber that is stalled.
const TLS_BYTES_MAX: usize = 8 * 1024;
/// Refused connections that are told why at once; beyond them they are closed without a word.
const REFUSALS_MAX: usize = 64;
/// The first byte of a TLS connection: a handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Where a listener's connections come in; clones share it.
#[derive(Clone, Debug)]
pub struct Entrance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    listener: Listener,
    refusals: Arc<Semaphore>,
}

/// What connections are held to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections of both listeners; none = as many as open files allow, at most 100,000.
    pub connections_max: Option<u32>,
    /// Most connections of one address.
    pub per_address_max: u32,
    /// Connections that one address may open a second, at least 1; ten seconds' worth at once.
    pub rate_per_address: u32,
    /// How long a client may take for TLS and the beginning of its first request together.
    pub begin_within: Duration,
    /// After how long a connection on which nothing is asked for is ended.
    pub idle_after: Duration,
}

/// What both entrances share.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who may come in.
    pub door: Door,
    /// None = connections are plain.
    pub tls: Option<Tls>,
    /// How long a client may take for TLS and the beginning of its first request together.
    pub begin_within: Duration,
    /// After how long a connection on which nothing is asked for is ended.
    pub idle_after: Duration,
}

/// A connection that has come.
#[derive(Debug)]
pub struct Arrival {
    socket: TcpStream,
    address: IpAddr,
    at: Instant,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    In(Pass),
    Refused(Refused),
}

/// Why a connection is refused, and the leave to say so.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub reason: Cut,
    _leave: OwnedSemaphorePermit,
}

/// A connection that is set up.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub socket: Socket,
    /// Whose it is.
    pub address: IpAddr,
    /// When its first request must have begun.
    pub deadline: Instant,
    /// Set if it is only to be told why it is not served.
    pub refused: Option<Refused>,
}

/// Listens there. Its connections have its options from their beginning, and so what every
/// subscriber's socket needs.
///
/// # Errors
/// The address is taken, or not ours.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A node that starts again takes its address back at once.
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.bind(address)?;
    socket.listen(BACKLOG_MAX)
}

impl Options {
    /// What these limits come to on this system; may raise its limit of open files.
    pub fn new(limits: Limits, tls: Option<Tls>, metrics: Metrics) -> Self {
        let door = door::Options {
            connections_max: files::connections_max(limits.connections_max),
            per_address_max: limits.per_address_max,
            rate_per_address: limits.rate_per_address,
        };
        Self {
            door: Door::new(door, metrics),
            tls,
            begin_within: limits.begin_within,
            idle_after: limits.idle_after,
        }
    }
}

impl Entrance {
    /// That of a listener.
    pub fn new(listener: Listener, options: Options) -> Self {
        Self(Arc::new(Shared {
            options,
            listener,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        }))
    }

    /// After how long a connection on which nothing is asked for is ended.
    pub fn idle_after(&self) -> Duration {
        self.0.options.idle_after
    }

    /// Counts a connection that is cut.
    pub fn note(&self, reason: Cut, address: IpAddr) {
        self.0.options.door.note(reason, address, Instant::now());
    }

    /// The next connection that is let in, or that is told why it is not.
    pub async fn next(&self, listener: &TcpListener) -> Arrival {
        loop {
            let (socket, address) = accept(listener).await;
            let at = Instant::now();
            let address = address.ip();
            let standing = match self.0.options.door.enter(self.0.listener, address, at) {
                Ok(pass) => Standing::In(pass),
                // A handshake is the most that a flood can cost.
                Err(Cut::Address | Cut::Rate) if self.0.options.tls.is_some() => continue,
                Err(reason) => match Arc::clone(&self.0.refusals).try_acquire_owned() {
                    Ok(leave) => Standing::Refused(Refused {
                        reason,
                        _leave: leave,
                    }),
                    Err(_) => continue,
                },
            };
            return Arrival {
                socket,
                address,
                at,
                standing,
            };
        }
    }

    /// Sets a connection up; none if it ends before it is.
    pub async fn open(&self, arrival: Arrival) -> Option<Opened> {
        let Arrival {
            socket,
            address,
            at,
            standing,
        } = arrival;
        let (pass, refused, within) = match standing {
            Standing::In(pass) => (Some(pass), None, self.0.options.begin_within),
            Standing::Refused(refused) => (None, Some(refused), refusal::REFUSAL_TIME),
        };
        let deadline = at + within;
        let opened = match &self.0.options.tls {
            None => Ok(Ok(Some(Socket::plain(socket, pass)))),
            // Boxed: it is large, and a plain connection must not pay for that.
            Some(tls) => timeout_at(deadline, Box::pin(self.handshake(tls, socket, pass))).await,
        };
        match opened {
            Ok(Ok(socket)) => Some(Opened {
                socket: socket?,
                address,
                deadline,
                refused,
            }),
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "TLS");
                self.note(Cut::Tls, address);
                None
            }
            Err(_) => {
                self.note(Cut::Slow, address);
                None
            }
        }
    }

    /// None if the client leaves without a word.
    async fn handshake(
        &self,
        tls: &Tls,
        socket: TcpStream,
        pass: Option<Pass>,
    ) -> io::Result<Option<Socket>> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first != [TLS_HANDSHAKE] {
            refusal::say(socket, &refusal::speak_tls(self.0.listener)).await;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client does not speak TLS",
            ));
        }
        let acceptor = TlsAcceptor::from(tls.config(self.0.listener));
        let accepting = acceptor.accept_with(socket, |session| {
            session.set_buffer_limit(Some(TLS_BYTES_MAX));
        });
        let accepted = match accepting.into_fallible().await {
            Ok(accepted) => accepted,
            Err((error, socket)) => {
                // TLS has said what is wrong, perhaps with a certificate.
                refusal::say(socket, &[]).await;
                return Err(error);
            }
        };
        let socket = Socket::tls(accepted, pass);
        if let Some(certificate) = socket.certificate() {
            tracing::debug!(listener = self.0.listener.as_str(), %certificate, "a client has proved itself");
        }
        Ok(Some(socket))
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // A full table of descriptors must not make the loop spin.
                tracing::warn!(%error, "can't accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is set on the listener holds for a connection that comes.
    #[tokio::test]
    async fn options_are_inherited() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), accept(&listener));
        let (socket, _) = accepted;
        assert!(socket.nodelay().unwrap());
        #[cfg(any(target_os = "linux", target_os = "android"))]
        assert_eq!(
            SockRef::from(&socket).tcp_notsent_lowat().unwrap(),
            UNSENT_BYTES_MAX
        );
    }
}
