//! The audit in the stream `barid-audit`: lines are added, and nobody can change or remove one.

use std::time::Duration;

use async_nats::jetstream::{
    Message,
    consumer::pull::OrderedConfig,
    stream::{Config, DiscardPolicy, StorageType},
};
use futures_util::{Stream, StreamExt as _, future};
use tokio::time::timeout;

use crate::{
    access::audit::Entry,
    wire::log::{Log, ReadError, connect, unavailable},
};

/// The stream's name.
pub const STREAM: &str = "barid-audit";
/// What its subjects begin with.
const PREFIX: &str = "audit";
/// Most lines that it holds, about a GiB; the oldest go first. Not a bound of bytes: JetStream would
/// set them aside at once.
const LINES_MAX: i64 = 4_000_000;
/// How long the log may take to keep a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When the log took it, in nanoseconds from 1970.
    pub time_ns: i128,
    /// What it says.
    pub entry: Entry,
}

/// The settings of the stream.
pub fn stream(replicas: usize) -> Config {
    Config {
        name: STREAM.to_owned(),
        description: Some("Barid: who did what".to_owned()),
        subjects: vec![format!("{PREFIX}.>")],
        storage: StorageType::File,
        num_replicas: replicas,
        max_messages: LINES_MAX,
        discard: DiscardPolicy::Old,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        ..Config::default()
    }
}

impl Log {
    /// Keeps a line.
    ///
    /// # Errors
    /// [`ReadError`]: it may not be kept.
    pub async fn audit(&self, entry: &Entry) -> Result<(), ReadError> {
        let text = serde_json::to_vec(entry).expect("plain data");
        let kept = async {
            let context = connect::context(self.0.connection.client.clone());
            let sent = context.publish(format!("{PREFIX}.line"), text.into()).await;
            sent.map_err(unavailable)?.await.map_err(unavailable)
        };
        match timeout(PATIENCE, kept).await {
            Ok(kept) => kept.map(drop),
            Err(_) => Err(ReadError::Behind),
        }
    }

    /// The lines from a time on, in nanoseconds from 1970, or from the first one; with `follows`
    /// also those to come.
    ///
    /// # Errors
    /// [`ReadError`], also within the stream.
    pub async fn audit_lines(
        &self,
        since_ns: Option<i128>,
        follows: bool,
    ) -> Result<impl Stream<Item = Result<Line, ReadError>> + use<>, ReadError> {
        let context = connect::context(self.0.connection.client.clone());
        let stream = context.get_stream(STREAM).await.map_err(unavailable)?;
        let config = OrderedConfig::default();
        let consumer = stream.create_consumer(config).await.map_err(unavailable)?;
        let old_count = usize::try_from(consumer.cached_info().num_pending);
        let messages = consumer.messages().await.map_err(unavailable)?;
        // Those that are there as it begins, unless it goes on.
        let most = if follows {
            usize::MAX
        } else {
            old_count.unwrap_or(usize::MAX)
        };
        let since_ns = since_ns.unwrap_or(i128::MIN);
        let lines = messages.take(most).map(|message| match message {
            Ok(message) => line(&message),
            Err(error) => Err(unavailable(error)),
        });
        let is_wanted = move |line: &Result<Line, ReadError>| {
            let is_old = line.as_ref().is_ok_and(|line| line.time_ns < since_ns);
            future::ready(!is_old)
        };
        Ok(lines.filter(is_wanted))
    }
}

fn line(message: &Message) -> Result<Line, ReadError> {
    let info = message.info().map_err(ReadError::from_boxed)?;
    // A line that a later release wrote in another form still says that it is there.
    let entry = serde_json::from_slice(&message.payload).unwrap_or_else(|error| {
        tracing::error!(seq = info.stream_sequence, %error, "a line of the audit can't be read");
        Entry {
            action: "unreadable".to_owned(),
            ..Entry::default()
        }
    });
    Ok(Line {
        time_ns: info.published.unix_timestamp_nanos(),
        entry,
    })
}
