//! Clock: what time it is for the log, by the clock of its leader, which all nodes share.
//!
//! The pulse asks the leader several times a second anyway, and its answers carry its time.

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::article::Time;

/// How long everything takes at least while the leader's time is not known yet.
const UNKNOWN: Duration = Duration::from_secs(1);

/// The leader's clock, as far as this node knows it.
#[derive(Debug, Default)]
pub struct Clock(Mutex<Option<Reading>>);

/// One answer of the leader.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// When it was asked.
    pub asked: Instant,
    /// When the answer was here.
    pub answered: Instant,
    /// What its clock showed in between, in nanoseconds from 1970.
    pub time_ns: i128,
}

/// What a clock may show: bounds, in nanoseconds from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub earliest: i128,
    /// At most.
    pub latest: i128,
}

impl Clock {
    /// The leader has told the time.
    pub fn set(&self, reading: Reading) {
        *self.0.lock().expect("no panic under this lock") = Some(reading);
    }

    /// What the leader's clock shows at a moment; none before it first told.
    pub fn at(&self, now: Instant) -> Option<Bounds> {
        let reading = (*self.0.lock().expect("no panic under this lock"))?;
        let after = |then: Instant| {
            let since = now.saturating_duration_since(then);
            reading.time_ns + i128::try_from(since.as_nanos()).unwrap_or(i128::MAX / 2)
        };
        Some(Bounds {
            earliest: after(reading.answered),
            latest: after(reading.asked),
        })
    }
}

impl Bounds {
    /// By how many nanoseconds another clock that shows `now_ns` is surely ahead, or behind if
    /// negative; 0 if they may agree.
    pub fn skew(self, now_ns: i128) -> i128 {
        if now_ns > self.latest {
            now_ns - self.latest
        } else if now_ns < self.earliest {
            now_ns - self.earliest
        } else {
            0
        }
    }
}

/// How long it is to a time by two clocks: until both that of this node, which shows `own_ns`, and the
/// leader's have reached it. One of them that is fast makes nothing early; one that is slow, late.
pub fn left(until: Time, own_ns: i128, leader: Option<Bounds>) -> Duration {
    let left = |now_ns: i128| {
        let left = u64::try_from(until.unix_nanos() - now_ns);
        Duration::from_nanos(left.unwrap_or(0))
    };
    // Between its bounds the leader's clock may not have reached it yet.
    left(own_ns).max(leader.map_or(UNKNOWN, |bounds| left(bounds.earliest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that is fast, or NATS: neither ends an embargo. Both have to be there, and surely.
    #[test]
    fn no_clock_ends_an_embargo_alone() {
        let until = Time::new(100, 0).unwrap();
        let second = 1_000_000_000;
        let bounds = |earliest, latest| {
            let (earliest, latest) = (earliest * second, latest * second);
            Some(Bounds { earliest, latest })
        };
        for (own, leader, expected) in [
            (90, bounds(90, 91), 10),
            (1_000, bounds(90, 91), 10),
            (90, bounds(1_000, 1_000), 10),
            (100, bounds(99, 101), 1),
            (100, bounds(100, 101), 0),
            (1_000, bounds(1_000, 1_000), 0),
            (1_000, None, 1),
        ] {
            let left = left(until, own * second, leader);
            assert_eq!(left, Duration::from_secs(expected), "{own} {leader:?}");
        }
    }

    #[test]
    fn a_reading_goes_on_and_says_what_it_does_not_know() {
        let clock = Clock::default();
        let asked = Instant::now();
        assert_eq!(clock.at(asked), None);
        let answered = asked + Duration::from_nanos(10);
        clock.set(Reading {
            asked,
            answered,
            time_ns: 1_000,
        });
        let bounds = clock.at(answered + Duration::from_nanos(5)).unwrap();
        let expected = Bounds {
            earliest: 1_005,
            latest: 1_015,
        };
        assert_eq!(bounds, expected);
        let skews = [1_000, 1_005, 1_010, 1_015, 1_020].map(|now| bounds.skew(now));
        assert_eq!(skews, [-5, 0, 0, 0, 5]);
    }
}
