//! Connections to NATS: to any of the given servers, and back as fast as they allow.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, ConnectErrorKind, Event, jetstream};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::wire::log::{
    API_TIMEOUT,
    open::{OpenError, credentials, without_credentials},
};

/// How long the servers may take to be there at start; whoever started this process starts it again.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two rounds over all addresses.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// How long one server may take to greet: a machine that is off answers nothing at all.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two pings; the third without an answer ends the connection. A server whose machine
/// is gone is left so before the others have elected new leaders.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// By how much the pause before each further address grows, and what it grows to.
const RECONNECT_STEP: Duration = Duration::from_millis(25);
const RECONNECT_STEPS_MAX: u32 = 20;
/// How long one of many writes to a bucket may take before it is looked at again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Oldest nats-server with what the log needs.
const SERVER_MIN: (i64, i64, i64) = (2, 14, 0);

/// Connects to one of the servers; the number counts connections.
pub(super) async fn connect(
    url: &str,
    name: &str,
) -> Result<(Client, watch::Receiver<u64>), OpenError> {
    let (count, generation) = watch::channel(0);
    let count = Arc::new(count);
    let options = credentials(url)
        .name(name)
        .connection_timeout(GREETING_TIMEOUT)
        .request_timeout(Some(API_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        // What servers say of each other may be addresses that only they can reach, and each costs
        // a time-out in the middle of an outage. Whoever runs Barid names all servers.
        .ignore_discovered_servers()
        .reconnect_delay_callback(|attempts| {
            // The next server at once: the lost one is often the only one that is away.
            let steps = u32::try_from(attempts.saturating_sub(1)).unwrap_or(RECONNECT_STEPS_MAX);
            RECONNECT_STEP * steps.min(RECONNECT_STEPS_MAX)
        })
        .event_callback(move |event| {
            let count = Arc::clone(&count);
            async move {
                if matches!(event, Event::Connected) {
                    count.send_modify(|count| *count += 1);
                }
                tell(&event);
            }
        });
    let addresses: Vec<String> = url.split(',').map(|one| one.trim().to_owned()).collect();
    let deadline = Instant::now() + CONNECT_PATIENCE;
    let mut is_told = false;
    loop {
        let source = match options.clone().connect(&addresses[..]).await {
            Ok(client) => {
                check_version(&client)?;
                return Ok((client, generation));
            }
            Err(source) => source,
        };
        let url = without_credentials(url);
        match source.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                return Err(OpenError::Credentials { url, source });
            }
            _ if Instant::now() >= deadline => return Err(OpenError::Connect { url, source }),
            _ if !is_told => tracing::warn!(url, error = %source, "waiting for NATS"),
            _ => {}
        }
        is_told = true;
        sleep(CONNECT_PAUSE).await;
    }
}

fn tell(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("lost the connection to NATS"),
        Event::SlowConsumer(id) => tracing::error!(id, "a NATS subscription overflowed"),
        Event::ServerError(error) => tracing::error!(%error, "NATS refused"),
        // One for each try while a server is away: the loss itself is told above.
        Event::ClientError(error) => tracing::debug!(%error, "NATS client"),
        // The server ends this connection within seconds; then another is at hand.
        Event::LameDuckMode => tracing::info!("the NATS server of a connection is about to stop"),
        Event::Draining | Event::Closed => tracing::info!(%event, "NATS connection"),
    }
}

fn check_version(client: &Client) -> Result<(), OpenError> {
    let (major, minor, patch) = SERVER_MIN;
    if client.is_server_compatible(major, minor, patch) {
        return Ok(());
    }
    let info = client.server_info();
    Err(OpenError::Version {
        server: info.server_name,
        version: info.version,
    })
}

/// The same, for a bucket that many write at once: one disk serves them one after the other.
pub(super) fn patient_context(client: Client) -> jetstream::Context {
    jetstream::context::ContextBuilder::new()
        .timeout(API_TIMEOUT)
        .ack_timeout(WRITE_TIMEOUT)
        .build(client)
}

/// JetStream over a client.
pub(super) fn context(client: Client) -> jetstream::Context {
    jetstream::context::ContextBuilder::new()
        .timeout(API_TIMEOUT)
        .ack_timeout(API_TIMEOUT)
        .build(client)
}
