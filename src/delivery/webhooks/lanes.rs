//! Lanes: how many calls are under way at once, so that endpoints that answer never wait for those
//! that do not.
//!
//! A call begins in the fast lane, unless its endpoint failed or was slow the last time; one that takes
//! long moves over while it waits. So the fast lane always has room within a moment, and calls in all
//! are bounded.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// Calls in the fast lane at once; others wait, first come first served.
const FAST_MAX: usize = 128;
/// Calls in the slow lane at once, likewise.
const SLOW_MAX: usize = 512;
/// After how long a call is slow.
pub const SLOW_AFTER: Duration = Duration::from_secs(1);

/// Both lanes; clones share them.
#[derive(Clone, Debug)]
pub struct Lanes {
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// Which lane a call begins in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Its endpoint took the last call at once.
    Fast,
    /// It failed, or was slow.
    Slow,
}

/// A place in a lane, given back when dropped.
#[derive(Debug)]
pub struct Place {
    pace: Pace,
    slow: Arc<Semaphore>,
    held: OwnedSemaphorePermit,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            fast: Arc::new(Semaphore::new(FAST_MAX)),
            slow: Arc::new(Semaphore::new(SLOW_MAX)),
        }
    }
}

impl Lanes {
    /// Waits for a place.
    pub async fn enter(&self, pace: Pace) -> Place {
        let lane = match pace {
            Pace::Fast => &self.fast,
            Pace::Slow => &self.slow,
        };
        let held = Arc::clone(lane).acquire_owned().await;
        Place {
            pace,
            slow: Arc::clone(&self.slow),
            held: held.expect("lanes are never closed"),
        }
    }
}

impl Place {
    /// Makes a call in this place.
    pub async fn run<T>(mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            // The call goes on below.
            () = sleep(SLOW_AFTER) => {}
        }
        if self.pace == Pace::Fast
            && let Ok(place) = Arc::clone(&self.slow).try_acquire_owned()
        {
            self.held = place;
        }
        call.await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// With as many dead endpoints as the slow lane takes, and as many that have just died as the fast
    /// lane takes, a call gets its place within a moment.
    #[tokio::test(start_paused = true)]
    async fn the_dead_do_not_hold_up_the_living() {
        let lanes = Lanes::default();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..SLOW_MAX - FAST_MAX {
            let place = lanes.enter(Pace::Slow).await;
            calls.spawn(place.run(pending::<()>()));
        }
        for _ in 0..FAST_MAX {
            let place = lanes.enter(Pace::Fast).await;
            calls.spawn(place.run(pending::<()>()));
        }
        let begun = Instant::now();
        let place = timeout(SLOW_AFTER * 2, lanes.enter(Pace::Fast)).await;
        assert!(place.is_ok(), "no place after {:?}", begun.elapsed());
        // All that have died move over; in all they are bounded.
        sleep(Duration::from_millis(1)).await;
        assert!(timeout(SLOW_AFTER, lanes.enter(Pace::Slow)).await.is_err());
    }
}
