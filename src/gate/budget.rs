//! Budget: bytes of deliveries of one day, of a key or of a partner's webhooks together.

use std::{sync::Mutex, time::Duration};

use crate::fault::{Fault, Kind};

/// Seconds of a day of UTC.
const DAY: i64 = 86_400;

/// What was taken, on this node.
#[derive(Debug, Default)]
pub struct Budget(Mutex<Taken>);

/// Bytes of one day.
#[derive(Debug, Default)]
struct Taken {
    day: i64,
    bytes: u64,
}

impl Budget {
    /// Counts bytes against the most of a day; what was sent before the bound was reached is sent.
    /// `who` is whose they are, `now` is in seconds from 1970.
    ///
    /// # Errors
    /// Exhausted `BYTES_LIMIT`, with the time until midnight.
    pub fn take(&self, who: &str, most: u64, bytes: u64, now: i64) -> Result<(), Fault> {
        let mut taken = self.0.lock().expect("no panic under this lock");
        let day = now.div_euclid(DAY);
        if taken.day != day {
            *taken = Taken { day, bytes: 0 };
        }
        if taken.bytes >= most {
            let left = (day + 1) * DAY - now;
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(1));
            let message = format!("{who} has taken its {most} bytes of today");
            return Err(Fault {
                retry_after: Some(left),
                ..Fault::new(Kind::Exhausted, "BYTES_LIMIT", message)
            });
        }
        taken.bytes = taken.bytes.saturating_add(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound is passed once at most, holds until midnight, and not beyond.
    #[test]
    fn a_day_has_so_many() {
        let (budget, noon) = (Budget::default(), 10 * DAY + DAY / 2);
        for _ in 0..3 {
            budget.take("it", 250, 100, noon).unwrap();
        }
        let fault = budget.take("it", 250, 1, noon).unwrap_err();
        assert_eq!(fault.reason, "BYTES_LIMIT");
        let left = fault.retry_after.unwrap();
        assert_eq!(left, Duration::from_secs(DAY.unsigned_abs() / 2));
        budget.take("it", 300 + 1, 1, noon).unwrap();
        budget.take("it", 250, 1, 11 * DAY).unwrap();
    }
}
