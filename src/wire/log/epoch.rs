//! New lives of the log: begun when it is seen to have lost its newest part, by one node for all.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream::Info;
use tokio::time::{Instant, sleep};

use crate::{
    cursor::{Epoch, Epochs},
    wire::{
        log::{Log, ReadError, unavailable},
        subject,
    },
};

/// Key under which nodes agree on the list of lives.
const EPOCHS: &str = "epochs";
/// How long a node waits for another that is about to change the list.
const AGREEMENT: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

impl Log {
    /// Compares the leader's word with what this node has read: takes over a list of lives that
    /// another node wrote, or begins a new one. `seen` is the newest record that the tail had read
    /// before the leader was asked.
    pub(super) async fn judge_epochs(&self, info: &Info, seen: u64) -> Result<(), ReadError> {
        self.adopt(info);
        let last_seq = info.state.last_sequence;
        if last_seq >= seen {
            return Ok(());
        }
        let newest_first = self.epochs().newest_first();
        if newest_first > last_seq && newest_first <= seen {
            // The tail is about to go back to the new life's beginning.
            return Err(ReadError::Behind);
        }
        tracing::error!(last_seq, seen, "the log lost its newest part");
        self.begin_epoch(last_seq + 1).await
    }

    /// Begins a new life of the log at `first_seq`, after a loss or a restore.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn begin_epoch(&self, first_seq: u64) -> Result<(), ReadError> {
        let deadline = Instant::now() + AGREEMENT;
        loop {
            let info = self.info().await?;
            let seen = self.epochs();
            self.adopt(&info);
            if self.epochs() != seen && self.epochs().newest_first() >= first_seq {
                return Ok(());
            }
            let current = self.epochs();
            let next = current.with(Epoch::from_bits(rand::random()), first_seq);
            // Whoever writes this key first decides; the stream's own list follows it.
            let entry = self.meta().entry(EPOCHS).await.map_err(unavailable)?;
            let revision = entry.map_or(0, |entry| entry.revision);
            let text = next.to_string();
            if self
                .meta()
                .update(EPOCHS, text.clone().into(), revision)
                .await
                .is_ok()
            {
                let mut config = info.config.clone();
                config
                    .metadata
                    .insert(subject::EPOCHS_METADATA.to_owned(), text);
                let client = self.0.connection.client.clone();
                async_nats::jetstream::new(client)
                    .update_stream(config)
                    .await
                    .map_err(unavailable)?;
                self.set_epochs(next);
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ReadError::Behind);
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Takes over the list of lives that the stream carries.
    fn adopt(&self, info: &Info) {
        let text = info.config.metadata.get(subject::EPOCHS_METADATA);
        match text.map(|text| text.parse::<Epochs>()) {
            Some(Ok(epochs)) if epochs != *self.epochs() => self.set_epochs(epochs),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => tracing::error!(?text, "the stream's epochs are not readable"),
        }
    }

    fn set_epochs(&self, epochs: Epochs) {
        tracing::warn!(%epochs, "the log began a new life");
        self.0
            .caches
            .lock()
            .expect("no panic under this lock")
            .clear();
        self.0.epochs.send_replace(Arc::new(epochs));
    }

    /// Says that the log ends at `seq` again, for the tail that goes back there.
    pub fn mark_lost(&self, seq: u64) {
        self.mark_seen(seq);
        self.0.read_up_to.send_replace(seq);
    }
}
