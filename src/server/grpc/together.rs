//! A node's first words on a connection, with the answer to the first call: in one write.
//!
//! HTTP/2 has a server say three things before a stream's first article: its settings, that it
//! takes the client's, and the answer's head. Written each by itself, each wakes the client.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::server::{grpc::PREFACE, socket::Socket};

/// Bytes that are held back; with more, all are written.
const HELD_BYTES_MAX: usize = 1024;
/// Bytes that a client says before nothing is held back from it: with much to say it may wait for
/// room to say the rest, which it learns of by what is held.
const HEARD_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a frame's head (RFC 9113 section 4.1).
const FRAME_HEAD_LEN: usize = 9;
/// The type of a frame with which a call begins (RFC 9113 section 6.2).
const HEADERS: u8 = 1;
/// How long an answer may keep the words that go before it.
const HELD_TIME: Duration = Duration::from_millis(50);

/// A socket that holds back what is written first.
///
/// Whoever writes to it has to flush it, and to read from it until it has nothing more: so does h2,
/// each time that it is woken.
#[derive(Debug)]
pub struct Together {
    socket: Socket,
    /// None as soon as it is written: connections stay.
    held: Option<Box<Held>>,
}

/// What is held back.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// How many the client has said.
    heard: usize,
    /// Whether its first call was there at once.
    is_asked: bool,
    stage: Stage,
    /// When all is written that there is.
    end: Pin<Box<Sleep>>,
}

/// Until when it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What the client has said is not read to its end.
    Reading,
    /// It is, and no answer was given meanwhile.
    Read,
    /// A call waits for its answer, which is what is written next.
    Waiting,
    /// No longer.
    Due,
}

impl Together {
    /// One on which the client has said something, which is to be read again, and we have not.
    pub fn new(socket: Socket) -> Self {
        let held = Held {
            bytes: Vec::with_capacity(HELD_BYTES_MAX),
            written: 0,
            heard: 0,
            is_asked: is_asked(socket.before()),
            stage: Stage::Reading,
            end: Box::pin(sleep(HELD_TIME)),
        };
        Self {
            socket,
            held: Some(Box::new(held)),
        }
    }

    /// Writes what is held back.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(held) = &mut self.held else {
            return Poll::Ready(Ok(()));
        };
        held.stage = Stage::Due;
        while let Some(rest) = held
            .bytes
            .get(held.written..)
            .filter(|rest| !rest.is_empty())
        {
            let len = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            held.written += len;
        }
        self.held = None;
        Poll::Ready(Ok(()))
    }
}

impl Held {
    /// The client has said something.
    fn hear(&mut self, len: usize) {
        self.heard += len;
        if self.heard > HEARD_BYTES_MAX {
            self.stage = Stage::Due;
        }
    }

    /// It has said no more.
    fn hear_all(&mut self) {
        if self.stage == Stage::Reading {
            self.stage = Stage::Read;
        }
    }

    /// Takes bytes, if there is room.
    fn take(&mut self, bytes: &[u8]) -> bool {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Due;
        }
        let has_room = self.bytes.len() + bytes.len() <= HELD_BYTES_MAX;
        if has_room {
            self.bytes.extend_from_slice(bytes);
        }
        has_room
    }

    /// Whether what is held is to be written now; if not, its time wakes whoever asks.
    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        match self.stage {
            // Whoever has not read to the end goes on with that.
            Stage::Reading => false,
            Stage::Read | Stage::Waiting => {
                self.stage = Stage::Waiting;
                !self.is_asked || self.end.as_mut().poll(context).is_ready()
            }
            Stage::Due => true,
        }
    }
}

impl AsyncRead for Together {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if let Some(held) = &mut self.held {
            match read {
                Poll::Ready(_) => held.hear(buffer.filled().len() - before),
                Poll::Pending => held.hear_all(),
            }
        }
        read
    }
}

impl AsyncWrite for Together {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(held) = &mut self.held {
            if held.take(bytes) {
                return Poll::Ready(Ok(bytes.len()));
            }
            ready!(self.poll_release(context))?;
        }
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.held.is_some() {
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(context, first.map_or(&[], |part| part));
        }
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(held) = &mut self.held {
            if !held.is_due(context) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_release(context))?;
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Whether a call begins in what a client has said first (RFC 9113 section 4.1).
fn is_asked(said: &[u8]) -> bool {
    let mut frames = said.get(PREFACE.len()..).unwrap_or_default();
    while let [a, b, c, kind, ..] = *frames {
        if kind == HEADERS {
            return true;
        }
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        frames = frames.get(FRAME_HEAD_LEN + len..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// What a client says first: settings, and a call or none.
    const ASKED: &[u8] =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x01\x04\0\0\0\0\0.\0\0\0\x01\x04\0\0\0\x01";
    const NOT_ASKED: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x01\x04\0\0\0\0\0\x01";

    /// A connection whose client has said this, which is read; and its client.
    async fn begun(said: &'static [u8]) -> (Together, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = Socket::plain(socket, None);
        socket.rewind(Bytes::from_static(said));
        let mut together = Together::new(socket);
        together.read_exact(&mut vec![0; said.len()]).await.unwrap();
        (together, client.unwrap())
    }

    /// Says it as h2 does: what there is to read is read first.
    async fn say(together: &mut Together, words: &[u8]) {
        poll_fn(|context| {
            let mut buffer = [0; 8];
            let read = Pin::new(&mut *together).poll_read(context, &mut ReadBuf::new(&mut buffer));
            assert!(read.is_pending());
            Poll::Ready(())
        })
        .await;
        together.write_all(words).await.unwrap();
        together.flush().await.unwrap();
    }

    async fn heard(client: &mut TcpStream) -> Vec<u8> {
        let mut heard = Vec::with_capacity(4 * HELD_BYTES_MAX);
        client.read_buf(&mut heard).await.unwrap();
        heard
    }

    /// What is said before the first answer goes with it, and nothing is held after.
    #[tokio::test(start_paused = true)]
    async fn goes_with_the_answer() {
        let (mut together, mut client) = begun(ASKED).await;
        together.write_all(b"settings,").await.unwrap();
        together.flush().await.unwrap();
        say(&mut together, b"acknowledged,").await;
        say(&mut together, b"answer").await;
        assert_eq!(heard(&mut client).await, b"settings,acknowledged,answer");
        say(&mut together, b"article").await;
        assert_eq!(heard(&mut client).await, b"article");
    }

    /// Nothing is held back from a client that asks for nothing yet: it may wait for our settings.
    #[tokio::test]
    async fn goes_at_once_if_nothing_is_asked_for() {
        let (mut together, mut client) = begun(NOT_ASKED).await;
        say(&mut together, b"settings").await;
        assert_eq!(heard(&mut client).await, b"settings");
    }

    /// What does not wait: for an answer that takes its time, or that is long; for a client that
    /// has much to say; at the end.
    #[tokio::test(start_paused = true)]
    async fn goes_before_a_late_answer() {
        let (mut together, mut client) = begun(ASKED).await;
        say(&mut together, b"settings").await;
        poll_fn(|context| {
            let flushed = Pin::new(&mut together).poll_flush(context);
            assert!(flushed.is_ready());
            match together.held {
                Some(_) => Poll::Pending,
                None => Poll::Ready(()),
            }
        })
        .await;
        assert_eq!(heard(&mut client).await, b"settings");

        let (mut together, mut client) = begun(ASKED).await;
        say(&mut together, b"settings").await;
        together.write_all(&[b'x'; HELD_BYTES_MAX]).await.unwrap();
        assert!(heard(&mut client).await.starts_with(b"settings"));

        let (mut together, mut client) = begun(ASKED).await;
        client
            .write_all(&[b'x'; HEARD_BYTES_MAX + 1])
            .await
            .unwrap();
        let mut much = [0; HEARD_BYTES_MAX + 1];
        together.read_exact(&mut much).await.unwrap();
        say(&mut together, b"settings").await;
        assert_eq!(heard(&mut client).await, b"settings");

        let (mut together, mut client) = begun(ASKED).await;
        together.write_all(b"goodbye").await.unwrap();
        together.shutdown().await.unwrap();
        assert_eq!(heard(&mut client).await, b"goodbye");
    }
}
