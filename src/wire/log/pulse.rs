//! The pulse: proof, several times a second, that this node has read to the leader's end.
//!
//! What a node may show depends on it: one that has fallen behind, or is cut off, may not know of a
//! kill.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::wire::log::{Confirmed, Get, Log, ReadError, bucket, wait_for};
use crate::wire::subject;

/// Time between two proofs.
const PULSE: Duration = Duration::from_millis(200);
/// For how long a proof lets a node show what it has.
pub const FRESH: Duration = Duration::from_secs(1);
/// How long the tail may take to deliver what the leader has.
const CATCH_UP: Duration = Duration::from_millis(900);
/// After how long without news from the tail the leader is asked whether there is any.
const QUIET: Duration = Duration::from_millis(100);
/// Pulses between two looks at the facts about the log.
const META_EVERY: u32 = 5;
/// Key of the highest sequence that any node is known to have read.
pub(super) const HIGH_WATER: &str = "high_water";
/// Key of the first sequence that readers of history may get.
pub const RETAINED_FROM: &str = "retained_from";

impl Log {
    /// Proves that this node has read everything that the log held when it was called; returns the
    /// leader's last sequence. Callers that come while a proof is under way share the next one.
    ///
    /// # Errors
    /// [`ReadError`]: the leader does not answer, or this node is behind.
    pub async fn confirm(&self) -> Result<u64, ReadError> {
        let called = Instant::now();
        // Who waits behind calls that fail is told so in time, too.
        let turn = timeout(FRESH, self.0.confirming.lock()).await;
        let _turn = turn.map_err(|_| ReadError::Behind)?;
        if let Some(confirmed) = *self.0.confirmed.borrow()
            && confirmed.asked >= called
        {
            return Ok(confirmed.last_seq);
        }
        self.settled().await?;
        let asked = Instant::now();
        let generation = self.generation().ok_or(ReadError::Unavailable(None))?;
        // Before the leader is asked: the tail goes on meanwhile. Records, not whole groups: a
        // record may be read a moment before the rest of its batch is stored.
        let seen = self.seen();
        let info = self.info_after(seen).await?;
        self.judge_epochs(&info, seen).await?;
        let last_seq = info.state.last_sequence;
        self.read_to(last_seq).await?;
        self.0.confirmed.send_replace(Some(Confirmed {
            asked,
            last_seq,
            generation,
        }));
        Ok(last_seq)
    }

    /// Whether this node may show what it has: the last proof is less than a second old.
    pub fn is_fresh(&self) -> bool {
        self.0
            .confirmed
            .borrow()
            .is_some_and(|confirmed| confirmed.asked.elapsed() < FRESH)
    }

    /// How long ago this node last proved that it is not behind; none = never.
    pub fn confirmed_age(&self) -> Option<Duration> {
        let confirmed = *self.0.confirmed.borrow();
        confirmed.map(|confirmed| confirmed.asked.elapsed())
    }

    /// Follows these proofs.
    pub fn confirmed_watch(&self) -> watch::Receiver<Option<Confirmed>> {
        self.0.confirmed.subscribe()
    }

    /// Whether the log was confirmed on the connection that is open now.
    pub(super) fn is_generation_confirmed(&self) -> bool {
        let confirmed = *self.0.confirmed.borrow();
        confirmed.is_some_and(|confirmed| self.generation() == Some(confirmed.generation))
    }

    /// Waits until the tail has delivered every record up to `last_seq`.
    async fn read_to(&self, last_seq: u64) -> Result<(), ReadError> {
        let deadline = Instant::now() + CATCH_UP;
        let mut read = self.read_watch();
        while !wait_for(&mut read, QUIET, |read| *read >= last_seq).await {
            // What lies between may be no record at all: an erasure's mark, or a hole.
            let next = Get::Next(subject::ARTICLES.to_owned(), self.read_up_to() + 1);
            match self.get(next).await? {
                None => self.mark_read(last_seq),
                Some(message) if message.sequence > last_seq => self.mark_read(last_seq),
                Some(_) if Instant::now() < deadline => {}
                Some(_) => {
                    self.0.tail_restart.notify_one();
                    return Err(ReadError::Behind);
                }
            }
        }
        Ok(())
    }

    /// Runs the pulse until `stop`.
    pub async fn run_pulse(&self, stop: CancellationToken) {
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut count, mut is_well, mut written) = (0, true, 0);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // A tick that is dropped comes again.
                _ = pulse.tick() => {}
            }
            let result = self.confirm().await;
            if result.is_ok() != is_well {
                is_well = result.is_ok();
                match &result {
                    Ok(_) => tracing::info!("this node has read to the log's end again"),
                    Err(error) => tracing::warn!(%error, "this node can't tell the log's end"),
                }
            }
            count += 1;
            if count % META_EVERY == 0 && result.is_ok() {
                if let Err(error) = self.load_retained_from().await {
                    tracing::warn!(%error, "retained_from can't be read");
                }
                written = self.write_high_water(written).await;
            }
        }
        self.write_high_water(written).await;
    }

    /// Reads from where on history may be shown.
    pub(super) async fn load_retained_from(&self) -> Result<(), ReadError> {
        if let Some(seq) = self.meta_number(RETAINED_FROM).await? {
            self.0.retained_from.fetch_max(seq, Ordering::AcqRel);
        }
        Ok(())
    }

    /// A number among the facts about the log.
    pub(super) async fn meta_number(&self, key: &str) -> Result<Option<u64>, ReadError> {
        let entry = bucket::entry(self.meta(), key).await?;
        Ok(entry.and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok()))
    }

    /// Finds out at start whether the log lost what some node had read.
    pub(super) async fn check_high_water(&self) -> Result<(), ReadError> {
        let high_water = self.meta_number(HIGH_WATER).await?.unwrap_or(0);
        let last_seq = self.info_after(high_water).await?.state.last_sequence;
        if last_seq < high_water {
            tracing::error!(last_seq, high_water, "the log lost its newest part");
            self.begin_epoch(last_seq + 1).await?;
        }
        Ok(())
    }

    async fn write_high_water(&self, written: u64) -> u64 {
        let seen = self.seen();
        if seen == written || !self.put_number(HIGH_WATER, seen).await {
            return written;
        }
        seen
    }

    pub(super) async fn put_number(&self, key: &str, number: u64) -> bool {
        let result = self.meta().put(key, number.to_string().into()).await;
        if let Err(error) = &result {
            tracing::warn!(key, %error, "a fact about the log can't be written");
        }
        result.is_ok()
    }
}
