//! How often readers are woken while revisions come fast.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Revisions a second from which on readers are woken by several at once...
const FAST_PER_SECOND: f64 = 50.0;
/// ...and no more often than this times how many there are...
///
/// Perf: at 190 revisions a second each of 1,000 readers takes six in one send, and the send is nearly
/// all of what a delivery costs (bench fanout, window 16). A few readers cost little, and wait for
/// nothing.
const PACE_EACH: Duration = Duration::from_micros(30);
/// ...or than this.
const PACE_MAX: Duration = Duration::from_millis(30);
/// A pause shorter than this can't be kept.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// Keeps wake-ups apart while revisions come fast.
#[derive(Debug)]
pub struct Pace {
    woken_at: Instant,
    woken: usize,
    pushed: u64,
}

impl Pace {
    /// One that has woken nobody yet.
    pub fn begin() -> Self {
        Self {
            woken_at: Instant::now(),
            woken: 0,
            pushed: 0,
        }
    }

    /// So many readers were woken.
    pub fn woke(&mut self, count: usize) {
        self.woken = count;
    }

    /// Waits until readers may be woken again. `pushed` counts revisions.
    pub async fn keep(&mut self, pushed: &AtomicU64) {
        let (now, count) = (Instant::now(), pushed.load(Ordering::Relaxed));
        let new = u32::try_from(count - self.pushed).unwrap_or(u32::MAX);
        let took = now.duration_since(self.woken_at).as_secs_f64();
        let readers = u32::try_from(self.woken).unwrap_or(u32::MAX);
        let pace = PACE_MAX.min(PACE_EACH.saturating_mul(readers));
        if pace >= TIMER_GRAIN && f64::from(new) >= FAST_PER_SECOND * took {
            sleep_until(self.woken_at + pace).await;
        }
        self.woken_at = Instant::now();
        self.pushed = pushed.load(Ordering::Relaxed);
    }
}
