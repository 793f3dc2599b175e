//! Publishers of the fan-out benchmark: a node's own protocol, and those of its peers.

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    cli::bench::{
        fanout::tally::Tally,
        load::{self, Connection},
        node::Node,
    },
    wire::proto::v1::{Article, publisher_service_client::PublisherServiceClient},
};

/// Bytes that a delivery of Barid has beside its body, about: peers send as many.
const ENVELOPE_BYTES: usize = 250;

/// Where articles go.
#[derive(Debug)]
pub struct Publisher {
    target: Target,
    body_bytes: usize,
    under_way: JoinSet<anyhow::Result<()>>,
}

#[derive(Debug)]
enum Target {
    Barid(PublisherServiceClient<Connection>, Box<Article>),
    Peer(Peer, String, Option<TcpStream>),
}

#[derive(Clone, Copy, Debug)]
enum Peer {
    Floor,
    Nchan,
    Nats,
}

impl Publisher {
    /// At a node.
    ///
    /// # Errors
    /// It does not listen.
    pub async fn barid(node: &Node, body_bytes: usize) -> anyhow::Result<Self> {
        let client = PublisherServiceClient::new(load::connect(node).await?);
        let article = Box::new(load::article(body_bytes));
        Ok(Self::new(Target::Barid(client, article), body_bytes))
    }

    /// At the floor.
    pub fn floor(address: &str, body_bytes: usize) -> Self {
        Self::peer(Peer::Floor, address, body_bytes)
    }

    /// At nginx with nchan.
    pub fn nchan(address: &str, body_bytes: usize) -> Self {
        Self::peer(Peer::Nchan, address, body_bytes)
    }

    /// At nats-server.
    pub fn nats(address: &str, body_bytes: usize) -> Self {
        Self::peer(Peer::Nats, address, body_bytes)
    }

    fn peer(peer: Peer, address: &str, body_bytes: usize) -> Self {
        Self::new(Target::Peer(peer, address.to_owned(), None), body_bytes)
    }

    fn new(target: Target, body_bytes: usize) -> Self {
        Self {
            target,
            body_bytes,
            under_way: JoinSet::new(),
        }
    }

    /// Publishes the next article; does not wait for the answer, but sees those that came.
    ///
    /// # Errors
    /// One was refused.
    pub async fn start(&mut self, tally: &Tally) -> anyhow::Result<()> {
        while let Some(done) = self.under_way.try_join_next() {
            done??;
        }
        let number = tally.sent();
        if let Target::Barid(client, article) = &self.target {
            let (mut client, article) = (client.clone(), marked(article, number));
            self.under_way.spawn(async move {
                client.publish(load::request(&article)).await?;
                Ok(())
            });
            return Ok(());
        }
        self.publish(number).await
    }

    /// Waits for the answers.
    ///
    /// # Errors
    /// One was refused.
    pub async fn finish(&mut self) -> anyhow::Result<()> {
        while let Some(done) = self.under_way.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Publishes one article and waits for the answer, where there is one.
    ///
    /// # Errors
    /// It is refused.
    pub async fn publish(&mut self, number: usize) -> anyhow::Result<()> {
        let (peer, address, open) = match &mut self.target {
            Target::Barid(client, article) => {
                client
                    .publish(load::request(&marked(article, number)))
                    .await?;
                return Ok(());
            }
            Target::Peer(peer, address, open) => (*peer, address, open),
        };
        let socket = match open {
            Some(socket) => socket,
            None => {
                let mut socket = TcpStream::connect(&*address).await.context("no peer")?;
                socket.set_nodelay(true)?;
                match peer {
                    Peer::Floor => socket.write_all(b"PUB").await?,
                    Peer::Nats => socket.write_all(b"CONNECT {\"verbose\":false}\r\n").await?,
                    Peer::Nchan => {}
                }
                open.insert(socket)
            }
        };
        let mut body = format!("{} ", mark(number)).into_bytes();
        body.resize(self.body_bytes + ENVELOPE_BYTES, b'x');
        let len = body.len();
        match peer {
            Peer::Floor => {
                socket.write_all(&u32::try_from(len)?.to_be_bytes()).await?;
                socket.write_all(&body).await?;
            }
            Peer::Nats => {
                body.extend_from_slice(b"\r\n");
                socket
                    .write_all(format!("PUB fan {len}\r\n").as_bytes())
                    .await?;
                socket.write_all(&body).await?;
            }
            Peer::Nchan => {
                let head =
                    format!("POST /pub HTTP/1.1\r\nHost: fan\r\nContent-Length: {len}\r\n\r\n");
                socket.write_all(&[head.as_bytes(), &body].concat()).await?;
                answer(socket).await?;
            }
        }
        Ok(())
    }
}

/// Reads one HTTP answer to its end.
async fn answer(socket: &mut TcpStream) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            bail!("the peer closed the publisher's connection");
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if !head.starts_with("HTTP/1.1 20") {
            bail!("the peer refuses an article: {head}");
        }
        let len = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().ok())?
        });
        if body.len() >= len.unwrap_or(0) {
            return Ok(());
        }
    }
}

fn marked(article: &Article, number: usize) -> Article {
    Article {
        headline: mark(number),
        ..article.clone()
    }
}

fn mark(number: usize) -> String {
    format!("@@fan:{number:08x}")
}
