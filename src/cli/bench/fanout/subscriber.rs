//! Subscribers: bare sockets that look for marks in whatever bytes come, at one cost for every
//! protocol, so that servers can be compared.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use memchr::memmem::Finder;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};

use crate::cli::bench::fanout::tally::{DIGITS, MARK, Tally};

/// Connections that are being set up at once.
const CONNECTING: usize = 64;
/// Bytes that one read takes.
const READ_BYTES: usize = 32 * 1024;
/// Length of a frame's head (RFC 9113 section 4.1).
const FRAME_HEAD: usize = 9;
/// A window that no run fills (RFC 9113 section 6.9.1: 2^31-1 is the most).
const WINDOW: u32 = (1 << 31) - 1;
/// What a connection's window is at first (RFC 9113 section 6.9.2).
const WINDOW_AT_FIRST: u32 = 65_535;

/// How subscribers take the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// `Subscribe`
    Grpc,
    /// Server-sent events
    Sse,
    /// HTTP's head, then bare bytes
    #[value(skip)]
    Raw,
    /// NATS's own, core
    #[value(skip)]
    Nats,
}

/// Open connections.
#[derive(Debug)]
pub struct Subscribers {
    tasks: JoinSet<anyhow::Result<()>>,
    /// Open, and never read.
    stalled: Vec<TcpStream>,
}

impl Subscribers {
    /// Connects them all; returns once every stream is open.
    ///
    /// # Errors
    /// The server refuses one.
    pub async fn connect(
        protocol: Protocol,
        (address, key): (&str, Option<&str>),
        count: u32,
        stalled: u32,
        filters: u32,
        tally: &Tally,
    ) -> anyhow::Result<Self> {
        let room = Arc::new(Semaphore::new(CONNECTING));
        let mut opening = JoinSet::new();
        for number in 0..count {
            let (address, room) = (address.to_owned(), Arc::clone(&room));
            let hello = hello(protocol, number % filters, key);
            opening.spawn(async move {
                let _turn = room.acquire_owned().await?;
                open(protocol, &address, &hello).await
            });
        }
        let mut all = Self {
            tasks: JoinSet::new(),
            stalled: Vec::new(),
        };
        while let Some(opened) = opening.join_next().await {
            let (socket, rest) = opened??;
            if u32::try_from(all.stalled.len()).is_ok_and(|len| len < stalled) {
                all.stalled.push(socket);
            } else {
                all.tasks
                    .spawn(follow(protocol, socket, rest, tally.clone()));
            }
        }
        Ok(all)
    }

    /// Ends them all.
    ///
    /// # Errors
    /// One had ended before.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended??;
            bail!("a subscriber's stream ended early");
        }
        self.tasks.shutdown().await;
        self.stalled.clear();
        Ok(())
    }
}

/// Opens one stream; returns what came after the server's first words.
async fn open(
    protocol: Protocol,
    address: &str,
    hello: &[u8],
) -> anyhow::Result<(TcpStream, Vec<u8>)> {
    let mut socket = TcpStream::connect(address).await.context("can't connect")?;
    socket.set_nodelay(true)?;
    socket.write_all(hello).await?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let len = socket.read(&mut piece).await?;
        if len == 0 {
            let said = String::from_utf8_lossy(&bytes);
            bail!("the server closed a connection: {said}");
        }
        bytes.extend_from_slice(piece.get(..len).unwrap_or_default());
        if is_open(protocol, &bytes)? {
            return Ok((socket, bytes));
        }
    }
}

/// What is sent first. Filters differ by a range that no article's language has, beside `*`.
fn hello(protocol: Protocol, filter: u32, key: Option<&str>) -> Vec<u8> {
    match protocol {
        Protocol::Grpc => h2_hello(filter, key),
        Protocol::Sse => {
            let query = match filter {
                0 => String::new(),
                number => format!("?languages=*,x-{number}"),
            };
            let key = key.map_or_else(String::new, |key| {
                format!("authorization: Bearer {key}\r\n")
            });
            // nchan has its stream at /sub, and Barid at its own place; each takes both lines.
            format!(
                "GET {}{query} HTTP/1.1\r\nHost: fan\r\nAccept: text/event-stream\r\n{key}\r\n",
                SSE
            )
            .into_bytes()
        }
        Protocol::Raw => b"GET / HTTP/1.1\r\nHost: fan\r\n\r\n".to_vec(),
        Protocol::Nats => b"CONNECT {\"verbose\":false}\r\nSUB fan 1\r\nPING\r\n".to_vec(),
    }
}

/// Where events are, at Barid and in the configuration of nchan that benches/fanout.py writes.
const SSE: &str = "/v1/stream";

fn is_open(protocol: Protocol, bytes: &[u8]) -> anyhow::Result<bool> {
    let has = |part: &[u8]| memchr::memmem::find(bytes, part).is_some();
    Ok(match protocol {
        Protocol::Grpc => {
            if has(b"grpc-status") {
                bail!("the server refuses: {}", String::from_utf8_lossy(bytes));
            }
            has_headers(bytes)
        }
        Protocol::Sse | Protocol::Raw => {
            if bytes.len() > 12 && !bytes.starts_with(b"HTTP/1.1 200") {
                bail!("the server refuses: {}", String::from_utf8_lossy(bytes));
            }
            has(b"\r\n\r\n")
        }
        Protocol::Nats => has(b"PONG"),
    })
}

/// Reads to the end, and counts marks.
async fn follow(
    protocol: Protocol,
    mut socket: TcpStream,
    rest: Vec<u8>,
    tally: Tally,
) -> anyhow::Result<()> {
    let finder = Finder::new(MARK);
    let mut pings = Pings::default();
    // What was read and may be the beginning of a mark.
    let mut bytes = rest;
    loop {
        if protocol == Protocol::Grpc {
            let answers = pings.answers(&bytes);
            socket.write_all(&answers).await?;
        } else if protocol == Protocol::Nats && memchr::memmem::find(&bytes, b"PING\r\n").is_some()
        {
            socket.write_all(b"PONG\r\n").await?;
        }
        let kept = count_marks(&finder, &bytes, &tally);
        bytes.drain(..bytes.len() - kept);
        let begin = bytes.len();
        pings.skip = begin;
        bytes.reserve(READ_BYTES);
        if socket.read_buf(&mut bytes).await? == 0 {
            bail!("the server ended a stream");
        }
        if bytes.capacity() > 4 * READ_BYTES {
            bytes.shrink_to(2 * READ_BYTES);
        }
    }
}

/// Counts whole marks; returns how many bytes at the end may belong to one that is not whole.
fn count_marks(finder: &Finder<'_>, bytes: &[u8], tally: &Tally) -> usize {
    let whole = MARK.len() + DIGITS;
    let mut from = 0;
    while let Some(found) = bytes.get(from..).and_then(|rest| finder.find(rest)) {
        let at = from + found;
        let Some(digits) = bytes.get(at + MARK.len()..at + whole) else {
            return bytes.len() - at;
        };
        let number = std::str::from_utf8(digits).ok();
        if let Some(number) = number.and_then(|text| usize::from_str_radix(text, 16).ok()) {
            tally.got(number);
        }
        from = at + whole;
    }
    (bytes.len() - from).min(MARK.len() - 1)
}

/// Answers a server's pings: walks over frames, however they are cut.
#[derive(Debug, Default)]
struct Pings {
    /// Bytes at the beginning of what comes that were seen before.
    skip: usize,
    head: Vec<u8>,
    /// Bytes of the frame's content that are still to come.
    left: usize,
    ping: Vec<u8>,
}

impl Pings {
    fn answers(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        let mut bytes = bytes.get(self.skip..).unwrap_or_default();
        while !bytes.is_empty() {
            if self.left == 0 && self.head.len() < FRAME_HEAD {
                let len = (FRAME_HEAD - self.head.len()).min(bytes.len());
                let (head, rest) = bytes.split_at(len);
                self.head.extend_from_slice(head);
                bytes = rest;
                if let [a, b, c, ..] = *self.head.as_slice()
                    && self.head.len() == FRAME_HEAD
                {
                    self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    self.ping.clear();
                }
                if self.head.len() < FRAME_HEAD || self.left > 0 {
                    continue;
                }
            }
            let (content, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= content.len();
            bytes = rest;
            let (kind, flags) = (self.head.get(3), self.head.get(4));
            let is_ping = kind == Some(&6) && flags == Some(&0);
            if is_ping {
                self.ping.extend_from_slice(content);
            }
            if self.left == 0 {
                if is_ping {
                    answers.extend(h2_frame(6, 1, 0, &self.ping));
                } else if kind == Some(&4) && flags == Some(&0) {
                    answers.extend(h2_frame(4, 1, 0, &[]));
                }
                self.head.clear();
            }
        }
        answers
    }
}

/// Whether a HEADERS frame is among whole frames.
fn has_headers(mut bytes: &[u8]) -> bool {
    while let [a, b, c, kind, ..] = *bytes {
        if kind == 1 {
            return true;
        }
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        bytes = bytes.get(FRAME_HEAD + len..).unwrap_or_default();
    }
    false
}

/// A client's first bytes (RFC 9113 section 3.4) and one request, with windows that need no more.
fn h2_hello(filter: u32, key: Option<&str>) -> Vec<u8> {
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let window = [&[0, 4][..], &WINDOW.to_be_bytes()].concat();
    hello.extend(h2_frame(4, 0, 0, &window));
    let more = (WINDOW - WINDOW_AT_FIRST).to_be_bytes();
    hello.extend(h2_frame(8, 0, 0, &more));
    // HPACK (RFC 7541): :method POST and :scheme http from the static table, the rest literal.
    let mut head = vec![0x83, 0x86];
    let path = "/barid.v1.SubscriberService/Subscribe";
    let authorization = key.map(|key| format!("Bearer {key}"));
    let shown = authorization.as_deref();
    let fields = [
        (":path", path),
        (":authority", "fan"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields
        .into_iter()
        .chain(shown.map(|key| ("authorization", key)))
    {
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap_or(0));
            head.extend_from_slice(text.as_bytes());
        }
    }
    hello.extend(h2_frame(1, 4, 1, &head));
    hello.extend(h2_frame(0, 1, 1, &request(filter)));
    hello
}

/// A `SubscribeRequest` with gRPC's prefix.
fn request(filter: u32) -> Vec<u8> {
    use crate::wire::proto::v1::{Filter, SubscribeRequest};
    use prost::Message as _;
    let languages = match filter {
        0 => vec![],
        number => vec!["*".to_owned(), format!("x-{number}")],
    };
    let request = SubscribeRequest {
        filter: Some(Filter {
            languages,
            ..Filter::default()
        }),
        ..SubscribeRequest::default()
    };
    let message = request.encode_to_vec();
    let len = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&[0][..], &len, &message].concat()
}

fn h2_frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap_or(0).to_be_bytes();
    let mut frame = len.get(1..).unwrap_or_default().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(content);
    frame
}
