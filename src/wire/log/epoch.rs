//! New lives of the log: begun when it is seen to have lost its newest part, by one node for all.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{kv, stream::Info};
use tokio::time::{Instant, sleep};

use crate::{
    cursor::{Epoch, Epochs},
    wire::{
        log::{Log, ReadError, bucket, pulse::HIGH_WATER, unavailable, wait_for},
        subject,
    },
};

/// Key under which nodes agree on the list of lives.
const EPOCHS: &str = "epochs";
/// How long a node waits for another that is about to change the list.
const AGREEMENT: Duration = Duration::from_secs(5);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How long the tail may take to go back.
const SETTLE: Duration = Duration::from_millis(900);

/// What the stream's list of lives is to ours.
enum Listed {
    /// It is ours.
    Same,
    /// It has become ours.
    Another,
    /// Ours continues it: the log went back, and from this sequence on it is not what it was.
    Older(u64),
}

impl Log {
    /// The leader's word, after `seen` was read by this node. One that tells of a loss is believed on
    /// a single server at once, and in a cluster only if the leader stays with it.
    ///
    /// A server that has just been elected may answer before it has stored what it inherited, by the
    /// same rule as others that do not lead yet (`is_of_leader`); each replica stores what the cluster
    /// has agreed on at its own pace, so that a tail on a faster one may be ahead of the leader; and a
    /// list of lives that was just written may reach a new leader a moment later. Measured: once in 28
    /// elections under publishing. Nothing is missed by waiting: after a restore every connection is a
    /// new one, and nothing is committed on it before the log is confirmed.
    pub(super) async fn info_after(&self, seen: u64) -> Result<Info, ReadError> {
        let deadline = Instant::now() + AGREEMENT;
        loop {
            let info = self.info().await?;
            let is_loss = info.state.last_sequence < seen || self.is_older(&info);
            let is_cluster = info.config.num_replicas > 1;
            if !(is_loss && is_cluster) || Instant::now() >= deadline {
                return Ok(info);
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Compares the leader's word with `seen`, what the tail had read before it was asked: takes over a
    /// list of lives that another node wrote, or begins a new one.
    pub(super) async fn judge_epochs(&self, info: &Info, seen: u64) -> Result<(), ReadError> {
        let last_seq = info.state.last_sequence;
        match self.adopt(info) {
            // What was read belongs to the list before.
            Listed::Another => return self.settled().await,
            Listed::Same if last_seq >= seen => return Ok(()),
            Listed::Same => {
                tracing::error!(last_seq, seen, "the log lost its newest part");
                self.begin_epoch(last_seq + 1).await?;
            }
            Listed::Older(first_seq) => {
                tracing::error!(last_seq, seen, "the log went back to an earlier life");
                self.begin_epoch(first_seq.min(last_seq + 1)).await?;
            }
        }
        self.settled().await
    }

    /// Waits until the tail has gone back to where the newest life begins: before that, what this
    /// node has read, and its ring, may be of the lost part.
    pub(super) async fn settled(&self) -> Result<(), ReadError> {
        let mut tail_epochs = self.0.tail_epochs.subscribe();
        let is_settled = |tail_epochs: &Arc<Epochs>| Arc::ptr_eq(tail_epochs, &self.epochs());
        if wait_for(&mut tail_epochs, SETTLE, is_settled).await {
            Ok(())
        } else {
            Err(ReadError::Behind)
        }
    }

    /// The tail says which lives it knows, and that it has gone back if it had to.
    pub(super) fn mark_settled(&self, epochs: &Arc<Epochs>) {
        self.0.tail_epochs.send_if_modified(|settled| {
            let is_new = !Arc::ptr_eq(settled, epochs);
            *settled = Arc::clone(epochs);
            is_new
        });
    }

    /// Begins a new life for a commit at `first_seq` that met a loss nobody had seen.
    pub(super) async fn begin_epoch_here(&self, first_seq: u64) -> Result<(), ReadError> {
        let _turn = self.0.confirming.lock().await;
        loop {
            // Another node may have begun one above: its first cursors would name other revisions.
            self.begin_epoch(first_seq).await?;
            if self.epochs().cursor(first_seq).epoch == self.epochs().cursor(u64::MAX).epoch {
                return Ok(());
            }
        }
    }

    /// Begins a new life of the log at `first_seq`, after a loss or a restore, unless another node
    /// has done so meanwhile.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn begin_epoch(&self, first_seq: u64) -> Result<(), ReadError> {
        let deadline = Instant::now() + AGREEMENT;
        loop {
            // The key before the stream: a list that is finished between the two is seen.
            let entry = bucket::entry(self.meta(), EPOCHS).await?;
            let info = self.info().await?;
            if matches!(self.adopt(&info), Listed::Another) {
                return Ok(());
            }
            let current = self.epochs();
            if Instant::now() < deadline && is_under_way(entry.as_ref(), &current) {
                sleep(LOOK_PAUSE).await;
                continue;
            }
            let next = current.with(Epoch::from_bits(rand::random()), first_seq);
            // Whoever writes this key first decides; the stream's own list follows it.
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
                // A node that starts now must not take the same loss for another.
                self.put_number(HIGH_WATER, first_seq - 1).await;
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ReadError::Behind);
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Whether the stream carries an earlier list of lives than ours.
    fn is_older(&self, info: &Info) -> bool {
        let text = info.config.metadata.get(subject::EPOCHS_METADATA);
        let listed = text.and_then(|text| text.parse::<Epochs>().ok());
        let known = self.epochs();
        listed.is_some_and(|listed| listed != *known && known.continues(&listed))
    }

    /// Takes over the list of lives that the stream carries, unless it is an earlier one of ours.
    fn adopt(&self, info: &Info) -> Listed {
        let text = info.config.metadata.get(subject::EPOCHS_METADATA);
        let known = self.epochs();
        match text.map(|text| text.parse::<Epochs>()) {
            Some(Ok(listed)) if listed == *known => Listed::Same,
            // The stream itself was restored: its list with it.
            Some(Ok(listed)) if known.continues(&listed) => {
                Listed::Older(known.parts_from(&listed).unwrap_or(1))
            }
            Some(Ok(listed)) => {
                self.set_epochs(listed);
                Listed::Another
            }
            Some(Err(_)) | None => {
                tracing::error!(?text, "the stream's epochs are not readable");
                Listed::Same
            }
        }
    }

    fn set_epochs(&self, epochs: Epochs) {
        tracing::warn!(%epochs, "the log began a new life");
        // First: nothing of this node is shown from the moment that anybody can see the new list,
        // until the tail has gone back and the log is confirmed again.
        self.0.confirmed.send_replace(None);
        self.0
            .caches
            .lock()
            .expect("no panic under this lock")
            .clear();
        self.0.epochs.send_replace(Arc::new(epochs));
    }

    /// Says that the log ends at `seq` again, for the tail that goes back there.
    pub fn mark_lost(&self, seq: u64) {
        self.killed().truncate(seq);
        self.embargoes().truncate(seq);
        self.mark_seen(seq);
        self.0.read_up_to.send_replace(seq);
    }
}

/// Whether another node has decided on a list, and the stream does not carry it yet. It may also
/// have died in between: then nobody waits longer than [`AGREEMENT`].
fn is_under_way(entry: Option<&kv::Entry>, current: &Epochs) -> bool {
    let text = entry.and_then(|entry| std::str::from_utf8(&entry.value).ok());
    let decided: Option<Epochs> = text.and_then(|text| text.parse().ok());
    decided.is_some_and(|decided| decided != *current && decided.continues(current))
}
