//! Subscription: a cursor and a filter that walk from history into live, without a gap or a
//! repeat.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    cursor::{Cursor, Epochs, Place},
    delivery::{
        Entry,
        hub::{Hub, Read, WINDOWS_MAX},
    },
    fault::{Fault, Kind},
    filter::Filter,
    topic::Topic,
    wire::{convert::Start, log::ReadError},
};

/// Silence after which a subscriber is told that nothing has matched.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// For how long entries may wait in memory for a reader that does not read: then they are read
/// again, since a kill may have been forgotten meanwhile.
const PAGE_LIFE: Duration = Duration::from_secs(60);
/// Candidates that are taken from the index at a time.
const CANDIDATES: usize = 256;

/// What a subscriber gets next.
#[derive(Debug)]
pub enum Output {
    /// A revision that matches.
    Delivery(Arc<Entry>),
    /// History has ended.
    CaughtUp(Cursor),
    /// Nothing that matches was there for a while.
    Heartbeat(Cursor),
    /// Something may be missing.
    Gap(Gap),
}

/// Revisions with `from` < cursor <= `to` may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where the reader was.
    pub from: Cursor,
    /// Where it goes on.
    pub to: Cursor,
    /// Why.
    pub reason: GapReason,
}

/// Why revisions may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Older than what is kept.
    Retention,
    /// In a part that the log lost.
    EpochLost,
    /// Of another log.
    EpochForeign,
}

/// Why a stream can't begin, or ends.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The log can't be read.
    #[error("the log can't be read")]
    Read(#[from] ReadError),
    /// A cursor that the log has not reached.
    #[error("the cursor {cursor} is beyond the log's end, {last}")]
    Future {
        /// What was given.
        cursor: Cursor,
        /// Where the log ends.
        last: Cursor,
    },
    /// A topic that nobody knows.
    #[error("the topic {unknown} is not known")]
    TopicUnknown {
        /// What was given.
        unknown: Topic,
        /// What may have been meant.
        nearest: Topic,
    },
    /// The process is stopping.
    #[error("the process is stopping")]
    Draining,
}

impl SubscribeError {
    /// What the subscriber can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Read(error) => error.fault(),
            Self::Future { cursor, last } => {
                let message = format!(
                    "start.after is {cursor}, but the log ends at {last}; take the cursor of \
                     something that was delivered"
                );
                Fault::new(Kind::OutOfRange, "CURSOR_IN_FUTURE", message)
                    .with("last", last.to_string())
            }
            Self::TopicUnknown { unknown, nearest } => Fault::field(
                "TOPIC_UNKNOWN",
                "filter.topics",
                format!("{unknown} is not in the taxonomy; the nearest topic is {nearest}"),
            )
            .with("topic", unknown.to_string())
            .with("nearest", nearest.to_string()),
            Self::Draining => Fault::unavailable(
                "DRAINING",
                "this node is stopping; subscribe again after the last cursor",
                Duration::ZERO,
            ),
        }
    }
}

/// One subscriber's walk through the log.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    filter: Arc<Filter>,
    /// The highest place judged.
    at: Cursor,
    epochs: Arc<Epochs>,
    /// Where history ends: the log's end when the stream began.
    history_end: u64,
    is_caught_up: bool,
    gap: Option<Gap>,
    /// Read, not judged yet.
    page: VecDeque<Arc<Entry>>,
    page_read_at: Instant,
    heartbeat_at: Instant,
    /// When this stream ends, once the process stops: jittered, or all would come back at once.
    ends_at: Option<Instant>,
    read: watch::Receiver<u64>,
}

impl Hub {
    /// A filter whose topics all are of the taxonomy or of the log. An alias stands for the topic
    /// that it means, and for itself: older revisions went there.
    ///
    /// # Errors
    /// [`SubscribeError::TopicUnknown`] with the nearest known one.
    pub async fn known(&self, mut filter: Filter) -> Result<Filter, SubscribeError> {
        let taxonomy = self.taxonomy();
        for topic in filter.topics.clone() {
            if let Some(meant) = taxonomy.resolve(&topic) {
                filter.topics.insert(meant.clone());
            } else if !self.log().has_topic(&topic).await? {
                let nearest = taxonomy.nearest(topic.as_str()).clone();
                return Err(SubscribeError::TopicUnknown {
                    unknown: topic,
                    nearest,
                });
            }
        }
        Ok(filter)
    }

    /// Begins a stream.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn subscribe(
        &self,
        filter: Filter,
        start: Start,
    ) -> Result<Subscription, SubscribeError> {
        if self.stop().is_cancelled() {
            return Err(SubscribeError::Draining);
        }
        let log = self.log();
        // Everything that was accepted before this call is history.
        let history_end = log.confirm().await?;
        let filter = Arc::new(self.known(filter).await?);
        let epochs = log.epochs();
        let oldest = epochs.cursor(log.retained_from() - 1);
        let retention = |from: Cursor| Gap {
            from,
            to: oldest,
            reason: GapReason::Retention,
        };
        let (at, gap) = match start {
            Start::Now => (epochs.cursor(history_end), None),
            Start::Earliest => (oldest, None),
            Start::After(cursor) => self.after(cursor, &epochs, history_end)?,
            Start::Since(time) => {
                let time_ns = i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos());
                let after = log.seq_at(time_ns).await? - 1;
                // What retention took may have been of that time.
                let is_cut = after <= oldest.seq && oldest.seq > 0;
                let at = epochs.cursor(after.max(oldest.seq));
                (at, is_cut.then(|| retention(epochs.cursor(0))))
            }
            Start::Last(count) => {
                let after = self.before_last(&filter, count, history_end).await?;
                (epochs.cursor(after), None)
            }
        };
        let now = Instant::now();
        Ok(Subscription {
            hub: self.clone(),
            filter,
            at,
            epochs,
            history_end,
            is_caught_up: false,
            gap,
            page: VecDeque::new(),
            page_read_at: now,
            heartbeat_at: now + HEARTBEAT,
            ends_at: None,
            read: log.read_watch(),
        })
    }

    /// Where a stream after a cursor begins, and what it can't have.
    fn after(
        &self,
        cursor: Cursor,
        epochs: &Epochs,
        last_seq: u64,
    ) -> Result<(Cursor, Option<Gap>), SubscribeError> {
        match epochs.place(cursor) {
            Place::Known(seq) if seq > last_seq => Err(SubscribeError::Future {
                cursor,
                last: epochs.cursor(last_seq),
            }),
            // What retention took is found as the stream goes.
            Place::Known(_) => Ok((cursor, None)),
            Place::Lost(to) => Ok((
                to,
                Some(Gap {
                    from: cursor,
                    to,
                    reason: GapReason::EpochLost,
                }),
            )),
            Place::Foreign => {
                let to = epochs.cursor(self.log().retained_from() - 1);
                Ok((
                    to,
                    Some(Gap {
                        from: cursor,
                        to,
                        reason: GapReason::EpochForeign,
                    }),
                ))
            }
        }
    }

    /// The sequence after which exactly `count` revisions up to `end` match, or all there are.
    async fn before_last(
        &self,
        filter: &Filter,
        count: u32,
        end: u64,
    ) -> Result<u64, SubscribeError> {
        let mut left = count;
        let mut before = end + 1;
        loop {
            let (candidates, known_after) = self.backwards(before, filter, CANDIDATES);
            let Some((last, _)) = candidates.last() else {
                before = before.min(known_after + 1);
                break;
            };
            before = last.seq;
            for (item, _) in &candidates {
                if self.log().killed().covers(item.article_id, item.seq) {
                    continue;
                }
                let is_match = !filter.needs_words(&item.facets())
                    || self
                        .entry_at(item.seq)
                        .await?
                        .is_some_and(|entry| entry.matches(filter));
                left -= u32::from(is_match);
                if left == 0 {
                    return Ok(item.seq - 1);
                }
            }
        }
        for _ in 0..WINDOWS_MAX {
            if before <= self.log().retained_from() {
                break;
            }
            let (entries, first) = self.window(before).await?;
            for entry in entries {
                left -= u32::from(entry.matches(filter) && !self.is_killed(&entry));
                if left == 0 {
                    return Ok(entry.seq() - 1);
                }
            }
            before = first;
        }
        Ok(before - 1)
    }
}

impl Subscription {
    /// What the subscriber gets next. Cancel-safe: a dropped call takes nothing with it.
    ///
    /// # Errors
    /// [`SubscribeError`] ends the stream.
    pub async fn next(&mut self) -> Result<Output, SubscribeError> {
        loop {
            if self.is_ending() {
                return Err(SubscribeError::Draining);
            }
            if let Some(gap) = self.next_gap() {
                self.heartbeat_at = Instant::now() + HEARTBEAT;
                return Ok(Output::Gap(gap));
            }
            if Instant::now() >= self.heartbeat_at {
                self.heartbeat_at = Instant::now() + HEARTBEAT;
                return Ok(Output::Heartbeat(self.at));
            }
            if self.page_read_at.elapsed() > PAGE_LIFE {
                self.page.clear();
            }
            if !self.hub.log().is_fresh() {
                // This node may not know of a kill, or the ring may hold what the log has lost.
                self.pause().await;
                continue;
            }
            if self.page.is_empty() {
                if let Some(output) = self.read().await? {
                    self.heartbeat_at = Instant::now() + HEARTBEAT;
                    return Ok(output);
                }
                continue;
            }
            let is_live = |entry: &Arc<Entry>| entry.seq() > self.history_end;
            if !self.is_caught_up && self.page.front().is_some_and(is_live) {
                // History has ended, even if live never pauses.
                self.is_caught_up = true;
                return Ok(Output::CaughtUp(self.at));
            }
            let Some(entry) = self.page.pop_front() else {
                continue;
            };
            self.at = entry.cursor;
            if !self.hub.is_killed(&entry) && entry.matches(&self.filter) {
                self.heartbeat_at = Instant::now() + HEARTBEAT;
                return Ok(Output::Delivery(entry));
            }
        }
    }

    /// Reads on: fills the page, or finds the end, or waits for more.
    async fn read(&mut self) -> Result<Option<Output>, SubscribeError> {
        // Before the ring is looked at: what comes later wakes us.
        self.read.mark_unchanged();
        match self.hub.read_after(self.at.seq) {
            Read::Entries(entries) => {
                self.page = entries.into();
                self.page_read_at = Instant::now();
            }
            Read::Behind(ring_after) => {
                let page = self.hub.page(self.at.seq, ring_after).await?;
                if page.is_empty() {
                    self.at = self.epochs.cursor(ring_after);
                }
                self.page = page.into();
                self.page_read_at = Instant::now();
            }
            Read::End(seq) => {
                if seq > self.at.seq {
                    self.at = self.epochs.cursor(seq);
                }
                if !self.is_caught_up && seq >= self.history_end {
                    self.is_caught_up = true;
                    return Ok(Some(Output::CaughtUp(self.at)));
                }
                self.pause().await;
            }
        }
        Ok(None)
    }

    /// Waits until something may have changed.
    async fn pause(&mut self) {
        let until = self
            .ends_at
            .map_or(self.heartbeat_at, |ends| ends.min(self.heartbeat_at));
        let is_fresh = self.hub.log().is_fresh();
        let hub = self.hub.clone();
        tokio::select! {
            // Every arm only wakes; the loop looks at everything again.
            () = hub.stop().cancelled(), if self.ends_at.is_none() => {}
            () = sleep_until(until) => {}
            () = hub.log().fresh(), if !is_fresh => {}
            _ = self.read.changed(), if is_fresh => {}
        }
    }

    fn is_ending(&mut self) -> bool {
        if self.ends_at.is_none() && self.hub.stop().is_cancelled() {
            let share = rand::rng().random_range(0.0..1.0);
            self.ends_at = Some(Instant::now() + self.hub.drain().mul_f64(share));
        }
        self.ends_at.is_some_and(|ends| Instant::now() >= ends)
    }

    /// What this reader can't have, if anything.
    fn next_gap(&mut self) -> Option<Gap> {
        if let Some(gap) = self.gap.take() {
            return Some(gap);
        }
        let log = self.hub.log();
        let epochs = log.epochs();
        if !Arc::ptr_eq(&epochs, &self.epochs) {
            self.epochs = epochs;
            self.page.clear();
            let from = self.at;
            let (to, reason) = match self.epochs.place(from) {
                Place::Known(_) => return None,
                Place::Lost(to) => (to, GapReason::EpochLost),
                Place::Foreign => (
                    self.epochs.cursor(log.retained_from() - 1),
                    GapReason::EpochForeign,
                ),
            };
            self.at = to;
            self.history_end = self.history_end.min(to.seq);
            return Some(Gap { from, to, reason });
        }
        let kept_after = log.retained_from() - 1;
        if self.at.seq < kept_after {
            let (from, to) = (self.at, self.epochs.cursor(kept_after));
            self.at = to;
            self.page.retain(|entry| entry.seq() > kept_after);
            return Some(Gap {
                from,
                to,
                reason: GapReason::Retention,
            });
        }
        None
    }
}
