//! Freshness: when a node last knew all that a bucket held.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use crate::wire::log::{ReadError, pulse::FRESH};

/// How long whoever must know all waits for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// When a node last knew all that a bucket held, if it ever did.
#[derive(Debug, Default)]
pub struct Freshness {
    confirmed: watch::Sender<Option<Instant>>,
    /// Tells whoever follows the bucket that somebody waits for this.
    wanted: Arc<Notify>,
}

impl Freshness {
    /// All is known that was there at this moment.
    pub fn confirm(&self, asked: Instant) {
        self.confirmed.send_replace(Some(asked));
    }

    /// What is known is worth nothing.
    pub fn lose(&self) {
        self.confirmed.send_replace(None);
    }

    /// Whether all is known that was there less than a second ago.
    pub fn is_fresh(&self) -> bool {
        self.age().is_some_and(|age| age < FRESH)
    }

    /// How long ago all was known that was there; none if it never was, or is worth nothing.
    pub fn age(&self) -> Option<Duration> {
        self.confirmed.borrow().map(|asked| asked.elapsed())
    }

    /// Waits until all is known that is there now.
    ///
    /// # Errors
    /// [`ReadError`]: it does not come in time.
    pub async fn settled(&self) -> Result<(), ReadError> {
        let called = Instant::now();
        let mut confirmed = self.confirmed.subscribe();
        let settled = async {
            while confirmed.borrow().is_none_or(|asked| asked < called) {
                self.wanted.notify_one();
                // The sender lives as long as this.
                let _gone = confirmed.changed().await;
            }
        };
        timeout(PATIENCE, settled)
            .await
            .map_err(|_| ReadError::Behind)
    }

    /// Tells that somebody waits, to whoever follows the bucket.
    pub(super) fn wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.wanted)
    }
}
