//! Erasure: what a kill leaves on the disk is overwritten, whatever crashes in between.
//!
//! `log.erase.<id>` stands until its article's earlier texts are gone. Any node works on any of
//! them; every step can be done twice.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    article::ArticleId,
    wire::{
        log::{Get, Log, ReadError, unavailable},
        proto::log::v1::EraseRecord,
        record::RecordError,
        subject,
    },
};

/// Time between two looks for erasures that some node left unfinished.
const LOOK: Duration = Duration::from_secs(5);

/// An erasure that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Whose texts.
    pub article_id: ArticleId,
    /// Sequence of its mark.
    mark_seq: u64,
    /// Sequence of the kill's record.
    pub kill_seq: u64,
}

impl Log {
    /// Loads the erasures that are not finished, and bars their articles' texts on this node.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn load_erasures(&self) -> Result<Vec<Erasure>, ReadError> {
        let stream = &self.0.connection.stream;
        let mut subjects = stream
            .info_with_subjects(subject::ERASURES)
            .await
            .map_err(unavailable)?;
        let mut erasures = Vec::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(unavailable)? {
            // Gone in the meantime: another node has finished it.
            let Some(message) = self.get(Get::Last(subject)).await? else {
                continue;
            };
            let erasure = erasure(message.sequence, message.payload).map_err(|source| {
                ReadError::Corrupt {
                    seq: message.sequence,
                    source,
                }
            })?;
            self.killed().insert(erasure.article_id, erasure.kill_seq);
            erasures.push(erasure);
        }
        Ok(erasures)
    }

    /// Erases what kills have left, until `stop`. `ring_first` tells the oldest sequence that this
    /// process still holds in memory.
    pub async fn run_eraser(&self, ring_first: impl Fn() -> u64, stop: CancellationToken) {
        loop {
            match self.load_erasures().await {
                Ok(erasures) => {
                    let pending: Vec<_> = erasures.iter().map(|one| one.article_id).collect();
                    self.killed().forget(&pending, ring_first(), Instant::now());
                    for erasure in erasures {
                        if stop.is_cancelled() {
                            return;
                        }
                        if let Err(error) = self.erase(erasure).await {
                            let article = erasure.article_id;
                            tracing::warn!(%article, %error, "an erasure is not finished");
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "erasures can't be read"),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A wake-up that is dropped is made up for by the next look.
                _ = timeout(LOOK, self.0.erase_wake.notified()) => {}
            }
        }
    }

    /// Overwrites every earlier revision of a killed article, oldest first, then its mark.
    async fn erase(&self, erasure: Erasure) -> Result<(), ReadError> {
        // Read the whole chain before the first cut: each record is the only one that knows the
        // record before it. Oldest first keeps the chain whole down to what is left.
        let mut revisions = Vec::new();
        let kill = self.record(erasure.kill_seq).await?;
        let mut prior = kill.map_or(0, |kill| kill.record.prior_revision_seq);
        while prior != 0 {
            let Some(stored) = self.record(prior).await? else {
                break;
            };
            revisions.push((prior, stored.record.topics.len()));
            prior = stored.record.prior_revision_seq;
        }
        for (seq, topic_count) in revisions.iter().rev().copied() {
            let topic_count = u64::try_from(topic_count).expect("usize fits u64");
            // Copies first: without the record nobody would know that they are there.
            for copy in (1..=topic_count).rev() {
                self.overwrite(seq + copy).await?;
            }
            self.overwrite(seq).await?;
        }
        self.overwrite(erasure.mark_seq).await?;
        let (article, count) = (erasure.article_id, revisions.len());
        tracing::info!(%article, count, "erased the revisions of a killed article");
        Ok(())
    }

    pub(super) async fn overwrite(&self, seq: u64) -> Result<(), ReadError> {
        // `delete_message` leaves no_erase unset: the server overwrites the message's bytes.
        match self.0.connection.stream.delete_message(seq).await {
            Ok(_) => Ok(()),
            // Gone already: erased by another node, or before a crash.
            Err(_) if self.get(Get::At(seq)).await?.is_none() => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// Reads the mark of an erasure: it stands after the kill's record, its copies and its answer.
fn erasure(mark_seq: u64, payload: Bytes) -> Result<Erasure, RecordError> {
    let record = EraseRecord::decode(payload)?;
    let article_id = Uuid::from_slice(&record.article_id)
        .map(ArticleId::new)
        .map_err(|_| RecordError::Field("article_id"))?;
    let kill_seq = mark_seq
        .checked_sub(u64::from(record.topic_count) + 2)
        .ok_or(RecordError::Field("topic_count"))?;
    Ok(Erasure {
        article_id,
        mark_seq,
        kill_seq,
    })
}
