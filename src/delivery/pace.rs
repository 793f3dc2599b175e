//! How often readers are woken while revisions come fast.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Revisions a second from which on readers are woken by several at once...
const FAST_PER_SECOND: f64 = 50.0;
/// ...over about so long: they come in batches, as they are committed.
const MEMORY: Duration = Duration::from_millis(200);
/// The longest that others are waited for, times how many readers there are: a few cost little, and
/// wait for nothing...
const PATIENCE_EACH: Duration = Duration::from_micros(40);
/// ...and the longest of all.
const PATIENCE_MAX: Duration = Duration::from_millis(40);
/// A pause shorter than this can't be kept.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// Keeps wake-ups apart while revisions come fast, so that each brings as many as one send carries.
#[derive(Debug)]
pub struct Pace {
    counted_at: Instant,
    counted: u64,
    /// How many came of late: the older, the less they count.
    recent: f64,
    woken: usize,
}

impl Pace {
    /// One that has woken nobody yet.
    pub fn begin() -> Self {
        Self {
            counted_at: Instant::now(),
            counted: 0,
            recent: 0.0,
            woken: 0,
        }
    }

    /// So many readers were woken.
    pub fn woke(&mut self, count: usize) {
        self.woken = count;
    }

    /// Waits until readers may be woken again; whether that is by several revisions at once. `pushed`
    /// counts revisions, `changes` tells of them, and `is_enough` whether those that nobody was woken for
    /// are as many as one send carries.
    pub async fn keep<T>(
        &mut self,
        pushed: &AtomicU64,
        changes: &mut watch::Receiver<T>,
        is_enough: impl Fn() -> bool,
    ) -> bool {
        let readers = u32::try_from(self.woken).unwrap_or(u32::MAX);
        let patience = PATIENCE_MAX.min(PATIENCE_EACH.saturating_mul(readers));
        if !self.is_fast(pushed) || patience < TIMER_GRAIN {
            return false;
        }
        let until = Instant::now() + patience;
        while !is_enough() {
            tokio::select! {
                () = sleep_until(until) => break,
                // Only wakes; everything is looked at again.
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        true
    }

    fn is_fast(&mut self, pushed: &AtomicU64) -> bool {
        let (now, pushed) = (Instant::now(), pushed.load(Ordering::Relaxed));
        let passed = now - self.counted_at;
        let new = u32::try_from(pushed - self.counted).unwrap_or(u32::MAX);
        let fading = (-passed.div_duration_f64(MEMORY)).exp();
        self.recent = self.recent * fading + f64::from(new);
        (self.counted_at, self.counted) = (now, pushed);
        self.recent >= FAST_PER_SECOND * MEMORY.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a round waits in which so many revisions come, so far apart, after ten that came at once
    /// and woke so many readers.
    async fn waited(readers: usize, count: u64, apart: Duration) -> Duration {
        let (pushed, (news, mut changes)) = (AtomicU64::new(10), watch::channel(()));
        let mut pace = Pace::begin();
        assert!(
            !pace.keep(&pushed, &mut changes, || false).await,
            "nobody waits"
        );
        pace.woke(readers);
        pushed.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let come = async {
            for _ in 1..count {
                sleep_until(Instant::now() + apart).await;
                pushed.fetch_add(1, Ordering::Relaxed);
                news.send_replace(());
            }
            std::future::pending::<()>().await;
        };
        let is_enough = || pushed.load(Ordering::Relaxed) >= 18;
        tokio::select! {
            () = come => {}
            _ = pace.keep(&pushed, &mut changes, is_enough) => {}
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn many_readers_wait_for_several_and_few_for_nothing() {
        let milli = Duration::from_millis(1);
        assert_eq!(waited(1, 100, milli).await, Duration::ZERO);
        assert_eq!(waited(10, 100, milli).await, Duration::ZERO);
        // Eight are there after seven more.
        assert_eq!(waited(1000, 100, milli).await, milli * 7);
        assert_eq!(waited(1000, 3, milli).await, PATIENCE_MAX);
        assert_eq!(waited(100_000, 3, milli).await, PATIENCE_MAX);
        assert_eq!(waited(100, 3, milli).await, milli * 4);
    }

    /// Whether the last of so many revisions is held, which come so far apart, so many at a time.
    async fn is_held(count: u64, at_once: u64, apart: Duration) -> bool {
        let (pushed, (_news, mut changes)) = (AtomicU64::new(0), watch::channel(()));
        let mut pace = Pace::begin();
        let mut is_held = false;
        for _ in 0..count {
            pace.woke(1000);
            sleep_until(Instant::now() + apart).await;
            pushed.fetch_add(at_once, Ordering::Relaxed);
            is_held = pace.keep(&pushed, &mut changes, || true).await;
        }
        is_held
    }

    #[tokio::test(start_paused = true)]
    async fn slow_news_is_not_held_and_batches_of_fast_news_are() {
        let milli = Duration::from_millis(1);
        assert!(!is_held(50, 1, 50 * milli).await);
        assert!(!is_held(9, 1, milli).await, "a few after a silence");
        assert!(is_held(50, 1, 10 * milli).await);
        assert!(is_held(50, 8, 100 * milli).await);
        assert!(!is_held(50, 8, 1000 * milli).await);
    }
}
