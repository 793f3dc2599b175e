//! The floor of fan-out: one loop that writes the same bytes to every socket, and nothing else.
//! What any server does beyond these system calls comes on top.

use std::{io, path::Path};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Duration, sleep},
};

/// Articles and subscribers that may wait for the loop.
const QUEUE: usize = 1024;
/// Pause before a socket that is full is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// What a subscriber is greeted with.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// What the loop gets.
enum Input {
    Subscriber(TcpStream),
    Article(Bytes),
}

/// Runs until it is ended.
///
/// # Errors
/// The address is taken.
pub async fn run(listen: &str, address_file: Option<&Path>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.context("can't listen")?;
    let address = listener.local_addr()?.to_string();
    if let Some(path) = address_file {
        std::fs::write(path, &address).context("can't write the address")?;
    }
    crate::cli::out::line(&address)?;
    let (sender, mut inputs) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                sleep(FULL_PAUSE).await;
                continue;
            };
            connections.spawn(greet(socket, sender.clone()));
            while connections.try_join_next().is_some() {}
        }
    });
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut batch = BytesMut::new();
    while let Some(input) = inputs.recv().await {
        // Whatever waits goes out in one write, as any server would do it.
        let mut next = Some(input);
        while let Some(input) = next {
            match input {
                Input::Article(article) => batch.extend_from_slice(&article),
                Input::Subscriber(socket) => {
                    // It is not for whoever comes only now.
                    send(&mut sockets, &batch).await;
                    batch.clear();
                    // Whoever reads this is sent all that comes after.
                    if socket.try_write(HEAD).is_ok() {
                        sockets.push(socket);
                    }
                }
            }
            next = inputs.try_recv().ok();
        }
        send(&mut sockets, &batch).await;
        batch.clear();
    }
    Ok(())
}

/// The first bytes tell a publisher from a subscriber.
async fn greet(mut socket: TcpStream, sender: mpsc::Sender<Input>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut first = [0; 3];
    socket.read_exact(&mut first).await?;
    if &first == b"PUB" {
        loop {
            let len = socket.read_u32().await?;
            let mut article = vec![0; usize::try_from(len).unwrap_or(0)];
            socket.read_exact(&mut article).await?;
            if sender.send(Input::Article(article.into())).await.is_err() {
                return Ok(());
            }
        }
    }
    let mut head = first.to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    // The loop may have ended: then so has the process.
    let _ended = sender.send(Input::Subscriber(socket)).await;
    Ok(())
}

async fn send(sockets: &mut Vec<TcpStream>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let mut place = 0;
    while let Some(socket) = sockets.get(place) {
        let mut rest = bytes;
        let is_open = loop {
            match socket.try_write(rest) {
                Ok(len) if len == rest.len() => break true,
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_PAUSE).await,
                Err(_) => break false,
            }
        };
        if is_open {
            place += 1;
        } else {
            sockets.swap_remove(place);
        }
    }
}
