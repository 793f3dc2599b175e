//! What an operator asks of the log itself.

use crate::wire::{
    log::{Log, ReadError, servers::Server},
    subject,
};

/// The state of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// Its lives, `<epoch>@<first sequence>`, joined by commas.
    pub epochs: String,
    /// The cursor of its end.
    pub end: String,
    /// The first sequence that readers of history may get.
    pub retained_from: u64,
    /// Messages that it holds: records, copies, answers and marks.
    pub message_count: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// The most that it may hold; none = what the disk does.
    pub bytes_max: Option<u64>,
    /// Copies of every message.
    pub replicas: usize,
    /// Kills whose erasure from the disk is not finished.
    pub erasures_pending: usize,
    /// The servers that keep it.
    pub servers: Vec<Server>,
}

impl Log {
    /// The state of the log, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn status(&self) -> Result<LogStatus, ReadError> {
        let info = self.info().await?;
        let epochs = self.epochs();
        Ok(LogStatus {
            epochs: info
                .config
                .metadata
                .get(subject::EPOCHS_METADATA)
                .cloned()
                .unwrap_or_default(),
            end: epochs.cursor(info.state.last_sequence).to_string(),
            retained_from: self.retained_from(),
            message_count: info.state.messages,
            bytes: info.state.bytes,
            bytes_max: u64::try_from(info.config.max_bytes)
                .ok()
                .filter(|max| *max > 0),
            replicas: info.config.num_replicas,
            erasures_pending: self.load_erasures().await?.len(),
            servers: self.servers().await?,
        })
    }

    /// Begins a new life of the log after its present end, as an operator must after restoring an
    /// old state of it: cursors beyond that state then tell their readers of the loss.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn new_epoch(&self) -> Result<(), ReadError> {
        let last_seq = self.last_seq().await?;
        self.begin_epoch(last_seq + 1).await
    }
}
