//! Start: where a stream begins, and why it can't, or ends.

use std::{sync::Arc, time::Duration};

use crate::{
    access::scope::Scope,
    cursor::{Cursor, Epochs, Place},
    delivery::{
        durable::DurableError,
        gap::{Gap, GapReason},
        group::Wanted,
        hub::{Hub, WINDOWS_MAX},
        subscription::{Beginning, Subscription, Way},
    },
    fault::{Fault, Kind, wrong::Wrong},
    filter::Filter,
    topic::Topic,
    wire::{convert::Start, log::ReadError},
};

/// Candidates that are taken from the index at a time.
const CANDIDATES: usize = 256;

/// Why a stream can't begin, or ends.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The log can't be read.
    #[error("the log can't be read")]
    Read(#[from] ReadError),
    /// A page of the log can't be read, for all who wait for it.
    #[error("a page of the log can't be read")]
    Page(#[source] Arc<ReadError>),
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
    /// Its key may not, or no more.
    #[error("not granted: {}", .0.reason)]
    Access(Fault),
    /// Its durable subscription can't be had, or is another stream's.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The process is stopping.
    #[error("the process is stopping")]
    Draining,
    /// The connection has made no progress for too long.
    #[error("the subscriber at {at} has taken nothing for {patience:?}")]
    Stalled {
        /// The place up to which everything was handed to its connection.
        at: Cursor,
        /// How long it was waited for.
        patience: Duration,
    },
}

/// What becomes of the part of a filter that is not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beyond {
    /// It is left out.
    #[default]
    Cut,
    /// The whole is refused.
    Refuse,
}

/// The part of a filter that a scope opens.
///
/// # Errors
/// Forbidden `FILTER_NOT_GRANTED`: nothing of it, or not all where all is asked for.
pub fn granted(filter: &Filter, scope: &Scope, beyond: Beyond) -> Result<Filter, SubscribeError> {
    if scope.is_all() {
        return Ok(filter.clone());
    }
    let refused = |message: &str| {
        let texts = |topics: &mut dyn Iterator<Item = String>| topics.collect::<Vec<_>>().join(",");
        let topics = texts(&mut scope.topics.iter().map(ToString::to_string));
        let languages = texts(
            &mut scope
                .languages
                .iter()
                .map(|range| range.as_str().to_owned()),
        );
        let fault = Fault::new(Kind::Forbidden, "FILTER_NOT_GRANTED", message);
        SubscribeError::Access(
            fault
                .with("granted_topics", topics)
                .with("granted_languages", languages),
        )
    };
    if beyond == Beyond::Refuse && !scope.holds(filter) {
        return Err(refused(
            "the filter goes beyond what this key may read; narrow it, or take what is granted",
        ));
    }
    scope.cut(filter).ok_or_else(|| {
        refused("nothing of what the filter wants may be read with this key; ask for a grant")
    })
}

impl SubscribeError {
    /// What the subscriber can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Read(error) => error.fault(),
            Self::Page(error) => error.fault(),
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
                Wrong::TopicUnknown {
                    unknown: unknown.clone(),
                    nearest: nearest.clone(),
                },
            )
            .with("topic", unknown.to_string())
            .with("nearest", nearest.to_string()),
            Self::Access(fault) => fault.clone(),
            Self::Durable(error) => error.fault(),
            Self::Draining => Fault::unavailable(
                "DRAINING",
                "this node is stopping; subscribe again after the last cursor",
                Duration::ZERO,
            ),
            Self::Stalled { at, patience } => {
                let shown = humantime::format_duration(*patience);
                let message = format!(
                    "nothing was taken from this stream for {shown}; subscribe again after the \
                     last cursor that came, which is {at} at most"
                );
                Fault::unavailable("STALLED", message, Duration::ZERO)
                    .with("cursor", at.to_string())
            }
        }
    }
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
            let Some(meant) = self.log().meant(&topic, &taxonomy).await? else {
                let nearest = taxonomy.nearest(topic.as_str()).clone();
                return Err(SubscribeError::TopicUnknown {
                    unknown: topic,
                    nearest,
                });
            };
            filter.topics.insert(meant);
        }
        Ok(filter)
    }

    /// Begins a stream that goes this way.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn subscribe(
        &self,
        filter: Filter,
        start: Start,
        beyond: Beyond,
        way: Way,
    ) -> Result<Subscription, SubscribeError> {
        if self.stop().is_cancelled() {
            return Err(SubscribeError::Draining);
        }
        let (history_end, filter) = self.judged(filter, beyond, &way).await?;
        let begin = self.beginning(start, &filter, history_end).await?;
        let wanted = Wanted::by(filter);
        Ok(Subscription::new(self.clone(), &wanted, begin, way, None))
    }

    /// The log's end, and the part of a filter that this way's key may read.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn judged(
        &self,
        filter: Filter,
        beyond: Beyond,
        way: &Way,
    ) -> Result<(u64, Filter), SubscribeError> {
        // Everything that was accepted before this call is history.
        let history_end = self.log().confirm().await?;
        let filter = self.known(filter).await?;
        let filter = granted(&filter, way.permit.scope(), beyond)?;
        Ok((history_end, filter))
    }

    /// Where a stream begins that is to begin there.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn beginning(
        &self,
        start: Start,
        filter: &Filter,
        history_end: u64,
    ) -> Result<Beginning, SubscribeError> {
        let log = self.log();
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
                let after = log.seq_at(time.unix_nanos()).await? - 1;
                // What retention took may have been of that time.
                let is_cut = after <= oldest.seq && oldest.seq > 0;
                let at = epochs.cursor(after.max(oldest.seq));
                (at, is_cut.then(|| retention(epochs.cursor(0))))
            }
            Start::Last(count) => {
                let after = self.before_last(filter, count, history_end).await?;
                (epochs.cursor(after), None)
            }
        };
        Ok(Beginning {
            at,
            epochs,
            history_end,
            gap,
        })
    }

    /// The place of a beginning, for whoever keeps it.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn place(&self, start: Start, filter: &Filter) -> Result<Cursor, SubscribeError> {
        let end = self.log().confirm().await?;
        Ok(self.beginning(start, filter, end).await?.at)
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
                if item.seq < self.log().retained_from() {
                    // Older ones are kept as newest revisions only.
                    return Ok(self.log().retained_from() - 1);
                }
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
