//! Retention: one node at a time takes away what is older than the operator keeps.
//!
//! `retained_from` rises before anything is deleted, so that no reader mistakes what was taken for
//! what was never there. The newest record of an article always stays.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::wire::{
    log::{Get, Log, ReadError, bucket, pulse::RETAINED_FROM, unavailable},
    subject,
};

/// How long a request's answer is kept at least.
pub const ANSWERS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time between two sweeps, or the time that news is kept if that is less.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// How long every node may take to learn where history begins.
const SETTLE: Duration = Duration::from_secs(3);
/// Key of the sequence up to which a sweep has finished.
const SWEPT_TO: &str = "swept_to";
/// Key of the lease; its holder sweeps.
const LEASE: &str = "lease.sweep";

impl Log {
    /// Sweeps until `stop`: revisions older than `keep` go, but for the newest of each article,
    /// and answers to requests older than both `keep` and [`ANSWERS_KEPT`].
    pub async fn run_sweeper(
        &self,
        keep: Duration,
        clock: impl Fn() -> SystemTime,
        stop: CancellationToken,
    ) {
        let every = SWEEP_EVERY.min(keep);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A sleep that is dropped has done nothing.
                () = sleep(every) => {}
            }
            let now = clock();
            match self.take_lease(LEASE, now, every * 2).await {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) => {
                    tracing::debug!(%error, "the lease of the sweep can't be had");
                    continue;
                }
            }
            if let Err(error) = self.sweep(now, keep).await {
                tracing::warn!(%error, "a sweep is not finished");
            }
        }
    }

    /// Takes or renews a lease: the right of one node at a time to do something.
    pub(super) async fn take_lease(
        &self,
        lease: &str,
        now: SystemTime,
        life: Duration,
    ) -> Result<bool, ReadError> {
        let info = self.0.connection.client.server_info();
        let me = format!("{}.{}", info.server_id, info.client_id);
        let now_ms = millis(now);
        let entry = bucket::entry(self.meta(), lease).await?;
        let (revision, is_free) = match &entry {
            None => (0, true),
            Some(entry) => {
                let text = String::from_utf8_lossy(&entry.value);
                let (owner, until) = text.split_once(' ').unwrap_or(("", "0"));
                let is_over = until.parse::<u128>().unwrap_or(0) < now_ms;
                (entry.revision, is_over || owner == me)
            }
        };
        let value = format!("{me} {}", now_ms + life.as_millis());
        // Compare and set: of two that try, one wins.
        Ok(is_free
            && self
                .meta()
                .update(lease, value.into(), revision)
                .await
                .is_ok())
    }

    /// One sweep.
    async fn sweep(&self, now: SystemTime, keep: Duration) -> Result<(), ReadError> {
        let retain_from = self.seq_at(nanos(now) - duration_nanos(keep)).await?;
        if retain_from > self.retained_from() {
            if !self.put_number(RETAINED_FROM, retain_from).await {
                return Ok(());
            }
            self.load_retained_from().await?;
            sleep(SETTLE).await;
        }
        let retained_from = self.retained_from();
        // Whole groups: the copies of an old record end where the next record begins. What readers
        // are told stays right after the old record: whoever has read that has missed nothing.
        let next = self.next_record(retained_from).await?;
        let groups_to = next.map_or(retained_from, |one| one.seq);
        let swept_to = self.meta_number(SWEPT_TO).await?.unwrap_or(1);
        if swept_to < retained_from {
            let stream = &self.0.connection.stream;
            stream
                .purge()
                .filter(subject::NEWS)
                .sequence(groups_to)
                .await
                .map_err(unavailable)?;
            self.sweep_articles(swept_to, retained_from).await?;
            self.put_number(SWEPT_TO, retained_from).await;
            tracing::info!(retained_from, "swept old revisions");
        }
        let answers_from = nanos(now) - duration_nanos(keep.max(ANSWERS_KEPT));
        let answers_from = self.seq_at(answers_from).await?;
        let stream = &self.0.connection.stream;
        stream
            .purge()
            .filter(subject::REQUESTS)
            .sequence(answers_from)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    /// Deletes the old records of every article that has one between `from` and `to`.
    async fn sweep_articles(&self, from: u64, to: u64) -> Result<(), ReadError> {
        let mut at = from;
        while let Some(stored) = self.next_record(at).await?.filter(|stored| stored.seq < to) {
            at = stored.seq + 1;
            let subject = subject::article(stored.record.article_id);
            let Some(head) = self.get(Get::Last(subject.clone())).await? else {
                continue;
            };
            if head.sequence == stored.seq && stored.record.prior_revision_seq == 0 {
                continue;
            }
            let purge = self.0.connection.stream.purge().filter(subject);
            // A revision that comes now only makes the kept one newer.
            if head.sequence >= to {
                purge.sequence(to).await.map_err(unavailable)?;
            } else {
                purge.keep(1).await.map_err(unavailable)?;
            }
        }
        Ok(())
    }

    /// The first sequence of a record that the log took at or after a time in nanoseconds from
    /// 1970, or the one after the last; by bisection over the log's own clock.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn seq_at(&self, time_ns: i128) -> Result<u64, ReadError> {
        let (mut low, mut high) = (1, self.last_seq().await? + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next_record(middle).await? {
                Some(stored) if stored.time_ns < time_ns => low = stored.seq + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }
}

fn nanos(time: SystemTime) -> i128 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    duration_nanos(since)
}

fn duration_nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}
