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
/// ...by so many, if they come in time.
///
/// Perf: the send is nearly all of what a delivery costs, whether it carries one or eight (bench fanout,
/// window 16; the bare loop's sends carry seven or eight).
const TOGETHER: u64 = 8;
/// The longest that they are waited for, times how many readers there are: a few cost little, and wait
/// for nothing...
const PATIENCE_EACH: Duration = Duration::from_micros(40);
/// ...and the longest of all.
const PATIENCE_MAX: Duration = Duration::from_millis(40);
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

    /// Waits until readers may be woken again. `pushed` counts revisions, and `changes` tells of them.
    pub async fn keep<T>(&mut self, pushed: &AtomicU64, changes: &mut watch::Receiver<T>) {
        let new = || pushed.load(Ordering::Relaxed) - self.pushed;
        let count = u32::try_from(new()).unwrap_or(u32::MAX);
        let took = self.woken_at.elapsed().as_secs_f64();
        let readers = u32::try_from(self.woken).unwrap_or(u32::MAX);
        let patience = PATIENCE_MAX.min(PATIENCE_EACH.saturating_mul(readers));
        if patience >= TIMER_GRAIN && f64::from(count) >= FAST_PER_SECOND * took {
            let until = self.woken_at + patience;
            while new() < TOGETHER {
                tokio::select! {
                    () = sleep_until(until) => break,
                    // Only wakes; everything is looked at again.
                    changed = changes.changed() => if changed.is_err() { break },
                }
            }
        }
        self.woken_at = Instant::now();
        self.pushed = pushed.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a round waits in which so many revisions come, so far apart, after one that woke so many
    /// readers.
    async fn waited(readers: usize, count: u64, apart: Duration) -> Duration {
        let (pushed, (news, mut changes)) = (AtomicU64::new(0), watch::channel(()));
        let mut pace = Pace::begin();
        pace.woke(readers);
        pushed.store(1, Ordering::Relaxed);
        let begun = Instant::now();
        let come = async {
            for _ in 1..count {
                sleep_until(Instant::now() + apart).await;
                pushed.fetch_add(1, Ordering::Relaxed);
                news.send_replace(());
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = come => {}
            () = pace.keep(&pushed, &mut changes) => {}
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

    #[tokio::test(start_paused = true)]
    async fn slow_news_is_not_held() {
        let (pushed, (_news, mut changes)) = (AtomicU64::new(0), watch::channel(()));
        let mut pace = Pace::begin();
        for number in 1..10 {
            pace.woke(1000);
            sleep_until(Instant::now() + Duration::from_millis(50)).await;
            pushed.store(number, Ordering::Relaxed);
            let begun = Instant::now();
            pace.keep(&pushed, &mut changes).await;
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
    }
}
