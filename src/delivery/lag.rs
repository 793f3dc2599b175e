//! Lag: how far a recipient is behind.

use std::time::{Duration, SystemTime};

use crate::{delivery::hub::Hub, filter::Filter, wire::log::ReadError};

/// Revisions that are counted of what a recipient has before it.
const ARTICLES_MAX: u32 = 10_000;

/// How far a recipient is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// How many revisions it has before it.
    pub articles: u32,
    /// Whether there may be more.
    pub is_least: bool,
    /// For how long the oldest of them has been there.
    pub time: Duration,
}

impl Hub {
    /// How far whoever has everything up to `after`, and wants what a filter matches, is behind now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn lag_after(
        &self,
        after: u64,
        filter: &Filter,
        now: SystemTime,
    ) -> Result<Lag, ReadError> {
        let waiting = self.waiting(after, filter, ARTICLES_MAX);
        let oldest = match waiting.first {
            Some(seq) => self.entry_at(seq).await?,
            None => None,
        };
        let time = oldest.map_or(Duration::ZERO, |entry| {
            let since = now.duration_since(SystemTime::UNIX_EPOCH);
            let now_ns = since.map_or(0, |since| since.as_nanos());
            let behind = i128::try_from(now_ns).unwrap_or(0) - entry.stored.time_ns;
            Duration::from_nanos(u64::try_from(behind).unwrap_or(0))
        });
        Ok(Lag {
            articles: waiting.count,
            is_least: waiting.is_least,
            time,
        })
    }
}
