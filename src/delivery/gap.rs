//! Gap: revisions that a reader can't have.

use crate::{
    cursor::{Cursor, Epochs},
    recipient::subscription::known,
};

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

impl Gap {
    /// After which sequence the log keeps nothing of it any more; none if what is missing never was.
    pub fn gone_after(&self, epochs: &Epochs) -> Option<u64> {
        match self.reason {
            GapReason::Retention => Some(known(self.from, epochs).unwrap_or(0)),
            GapReason::EpochForeign => Some(0),
            GapReason::EpochLost => None,
        }
    }
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

impl GapReason {
    /// As JSON names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "RETENTION",
            Self::EpochLost => "EPOCH_LOST",
            Self::EpochForeign => "EPOCH_FOREIGN",
        }
    }
}
