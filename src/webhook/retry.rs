//! Retry: what becomes of a delivery after an answer, and when it is tried again.

use std::time::Duration;

/// Pause before the second try.
const PAUSE: Duration = Duration::from_secs(5);
/// By how much each pause is longer than the one before.
const GROWTH: u32 = 3;
/// The longest pause, also of those that an endpoint asks for.
pub const PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The shortest pause that an endpoint may ask for.
const ASKED_MIN: Duration = Duration::from_secs(1);
/// Refusals of one delivery after which it is parked.
const REFUSALS_MAX: u32 = 5;
/// Deliveries parked in a row after which it is the endpoint that is at fault, and is waited for.
const PARKED_IN_ROW_MAX: u32 = 10;

/// What an endpoint said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What came of the request.
    pub reply: Reply,
    /// When it asks to be tried again.
    pub retry_after: Option<Duration>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer of this status.
    Status(u16),
    /// No answer, though it was sent: it may have been taken.
    Silence,
    /// Nothing: it never got there.
    Unreached,
}

/// What was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Failures of this delivery.
    pub failures: u32,
    /// Those of them that were refusals.
    pub refusals: u32,
    /// Deliveries parked since one was taken.
    pub parked_in_row: u32,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Taken,
    /// It is tried again after a pause.
    Again {
        /// How long.
        pause: Duration,
        /// Whether it was this delivery that was refused, and not any.
        is_refusal: bool,
    },
    /// It is put aside, and the next one is sent.
    Park,
    /// Nobody wants any more.
    Gone,
}

impl Said {
    /// The status of its answer; none = there was none.
    pub fn status(self) -> Option<u16> {
        match self.reply {
            Reply::Status(status) => Some(status),
            Reply::Silence | Reply::Unreached => None,
        }
    }
}

/// Judges an answer. `share`, of 0 to 1, spreads pauses, so that those who failed together do not
/// come back together.
pub fn verdict(said: Said, before: Before, share: f64) -> Verdict {
    let is_refusal = match said.status() {
        Some(200..=299) => return Verdict::Taken,
        Some(410) => return Verdict::Gone,
        // Too late, too early, too much: not this delivery's fault.
        Some(408 | 425 | 429) | None => false,
        Some(400..=499) => true,
        // Redirects are not followed: whoever moved gives the new address.
        Some(_) => false,
    };
    let is_over = is_refusal && before.refusals + 1 >= REFUSALS_MAX;
    if is_over && before.parked_in_row < PARKED_IN_ROW_MAX {
        return Verdict::Park;
    }
    Verdict::Again {
        pause: pause(said.retry_after, before.failures, share),
        is_refusal,
    }
}

/// How long to wait after a failure, before which there were some: what is asked for, else ever
/// longer from 5 seconds to a day, by up to a quarter more or less.
pub fn pause(asked: Option<Duration>, failures: u32, share: f64) -> Duration {
    if let Some(asked) = asked {
        return asked.clamp(ASKED_MIN, PAUSE_MAX);
    }
    let growth = GROWTH.saturating_pow(failures.min(16));
    let pause = PAUSE.saturating_mul(growth).min(PAUSE_MAX);
    pause.mul_f64(0.75 + share.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: Option<u16>, before: Before) -> Verdict {
        let said = Said {
            reply: status.map_or(Reply::Silence, Reply::Status),
            retry_after: None,
        };
        verdict(said, before, 0.5)
    }

    fn again(seconds: u64, is_refusal: bool) -> Verdict {
        Verdict::Again {
            pause: Duration::from_secs(seconds),
            is_refusal,
        }
    }

    /// Each kind of answer has its consequence.
    #[test]
    fn answers_have_consequences() {
        let first = Before::default();
        for status in [200, 201, 204, 299] {
            assert_eq!(judge(Some(status), first), Verdict::Taken);
        }
        assert_eq!(judge(Some(410), first), Verdict::Gone);
        for status in [
            None,
            Some(301),
            Some(302),
            Some(408),
            Some(425),
            Some(429),
            Some(500),
        ] {
            assert_eq!(judge(status, first), again(5, false), "{status:?}");
        }
        let last = Before {
            failures: 4,
            refusals: 4,
            parked_in_row: 0,
        };
        for status in [400, 401, 404, 409, 413, 422, 451] {
            assert_eq!(judge(Some(status), first), again(5, true), "{status}");
            assert_eq!(judge(Some(status), last), Verdict::Park, "{status}");
        }
        // Who is merely away is waited for, however long.
        let long = Before {
            failures: 1000,
            ..last
        };
        assert_eq!(judge(Some(503), long), again(86_400, false));
        // An endpoint that refuses everything is at fault itself.
        let in_row = Before {
            parked_in_row: PARKED_IN_ROW_MAX,
            ..last
        };
        assert_eq!(judge(Some(404), in_row), again(405, true));
    }

    /// Pauses grow from 5 seconds to a day, spread by a quarter; what is asked for counts, within
    /// bounds.
    #[test]
    fn pauses_grow() {
        let seconds = |failures| pause(None, failures, 0.5).as_secs();
        let grown: Vec<u64> = (0..12).map(seconds).collect();
        let expected = [
            5, 15, 45, 135, 405, 1215, 3645, 10_935, 32_805, 86_400, 86_400, 86_400,
        ];
        assert_eq!(grown, expected);
        assert_eq!(seconds(u32::MAX), 86_400);
        assert_eq!(pause(None, 0, 0.0), PAUSE.mul_f64(0.75));
        assert_eq!(pause(None, 0, 1.0), PAUSE.mul_f64(1.25));
        for (asked, expected) in [(0, 1), (7, 7), (90_000, 86_400), (u64::MAX, 86_400)] {
            let asked = Some(Duration::from_secs(asked));
            assert_eq!(pause(asked, 3, 0.5).as_secs(), expected);
        }
    }
}
