//! The servers that keep the log, and whether what they acknowledge is on disk.
//!
//! A client can't see a server's `sync_interval`; the system account can. The configurations in
//! `deploy/nats`, and that of managed NATS, let Barid's account ask that one question.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{StatusCode, jetstream::stream::Info};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::wire::log::{Log, ReadError, unavailable};

/// What every server of the system is asked by.
const QUESTION: &str = "$SYS.REQ.SERVER.PING.JSZ";
/// How long the servers may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// One server that keeps the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its `server_name`.
    pub name: String,
    /// Its release; none if it did not answer.
    pub version: Option<String>,
    /// When it syncs.
    pub sync: Sync,
}

/// When a server writes to its disk for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it acknowledges.
    Always,
    /// Later: a power loss takes what it acknowledged meanwhile.
    Later,
    /// It did not say.
    Unknown,
}

/// The part of an answer that is used (nats-server's `ServerAPIResponse` with `JSInfo`).
#[derive(Deserialize)]
struct Answer {
    server: Named,
    data: Data,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    ver: String,
}

#[derive(Deserialize)]
struct Data {
    config: Settings,
}

#[derive(Deserialize)]
struct Settings {
    /// Left out when false.
    #[serde(default)]
    sync_always: bool,
}

impl Log {
    /// The servers that keep the log, by name.
    ///
    /// # Errors
    /// [`ReadError`]: the leader does not say which they are.
    pub async fn servers(&self) -> Result<Vec<Server>, ReadError> {
        let info = self.info().await?;
        let server_name = self.0.connection.client.server_info().server_name;
        let mut servers: BTreeMap<String, Server> = peers(&info, server_name)
            .map(|name| {
                let server = Server {
                    name: name.clone(),
                    version: None,
                    sync: Sync::Unknown,
                };
                (name, server)
            })
            .collect();
        self.ask(&mut servers).await?;
        Ok(servers.into_values().collect())
    }

    /// Tells the operator of every server that may lose what it acknowledged, or may be too old.
    pub async fn warn_of_servers(&self) {
        let servers = match self.servers().await {
            Ok(servers) => servers,
            Err(error) => {
                tracing::warn!(%error, "can't tell which servers keep the log");
                return;
            }
        };
        for Server {
            name,
            version,
            sync,
        } in servers
        {
            match sync {
                Sync::Always => {}
                Sync::Later => tracing::warn!(
                    server = name,
                    "nats-server {name} does not sync each write: a power loss can take the last \
                     minutes of what it acknowledged; set `sync_interval: always` in its jetstream \
                     block and restart it"
                ),
                Sync::Unknown => tracing::warn!(
                    server = name,
                    "could not verify that nats-server {name} syncs each write: see that its \
                     jetstream block has `sync_interval: always`, and let Barid's account import \
                     {QUESTION} as deploy/nats/accounts.conf does"
                ),
            }
            if let Some(version) = version
                && is_too_old(&version)
            {
                tracing::warn!(
                    server = name,
                    version,
                    "nats-server {name} is too old to lead the log: install 2.14.0 or newer"
                );
            }
        }
    }

    /// Fills in what the servers say, until all have answered or patience ends.
    async fn ask(&self, servers: &mut BTreeMap<String, Server>) -> Result<(), ReadError> {
        let client = &self.0.connection.client;
        let deadline = Instant::now() + PATIENCE;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        client
            .publish_with_reply(QUESTION, inbox, "{}".into())
            .await
            .map_err(unavailable)?;
        while servers.values().any(|server| server.version.is_none()) {
            let Ok(Some(message)) = timeout_at(deadline, answers.next()).await else {
                break;
            };
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            // A server without JetStream has no such part; it keeps nothing of the log either.
            let Ok(Answer { server, data }) = serde_json::from_slice(&message.payload) else {
                continue;
            };
            if let Some(known) = servers.get_mut(&server.name) {
                known.version = Some(server.ver);
                known.sync = if data.config.sync_always {
                    Sync::Always
                } else {
                    Sync::Later
                };
            }
        }
        Ok(())
    }
}

/// The servers that the stream's replicas are on; outside a cluster, the one that is connected.
fn peers(info: &Info, connected: String) -> impl Iterator<Item = String> {
    let cluster = info.cluster.as_ref();
    let leader = cluster.map_or(Some(connected), |cluster| cluster.leader.clone());
    let followers = cluster.into_iter().flat_map(|cluster| &cluster.replicas);
    leader
        .into_iter()
        .chain(followers.map(|peer| peer.name.clone()))
}

fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (2, 14),
        _ => false,
    }
}
