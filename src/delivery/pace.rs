//! Pace: how often readers are woken while revisions come fast.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Revisions a second from which on readers are woken by several at once...
const FAST_PER_SECOND: f64 = 50.0;
/// ...and no more often than this.
///
/// Perf: at 190 revisions a second each of 1,000 readers takes two or more in one send instead of
/// one, and the send is nearly all of what a delivery costs (bench fanout, window 16).
const PACE: Duration = Duration::from_millis(10);

/// Keeps wake-ups apart while revisions come fast.
#[derive(Debug)]
pub struct Pace {
    woken_at: Instant,
    pushed: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace {
    /// Nobody has been woken yet.
    pub fn new() -> Self {
        Self {
            woken_at: Instant::now(),
            pushed: 0,
        }
    }

    /// Waits until readers may be woken again.
    pub async fn keep(&mut self, pushed: &AtomicU64) {
        let (now, count) = (Instant::now(), pushed.load(Ordering::Relaxed));
        let new = u32::try_from(count - self.pushed).unwrap_or(u32::MAX);
        let took = now.duration_since(self.woken_at).as_secs_f64();
        if f64::from(new) >= FAST_PER_SECOND * took {
            sleep_until(self.woken_at + PACE).await;
        }
        self.woken_at = Instant::now();
        self.pushed = pushed.load(Ordering::Relaxed);
    }
}
