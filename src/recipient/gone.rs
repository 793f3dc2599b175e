//! Gone: what the log kept no more when a recipient came to it.

use serde::{Deserialize, Serialize};

use crate::cursor::{Cursor, Epoch, Epochs, Place};

/// Most parts that are kept; with one more the two that are nearest to each other become one, with all
/// between, and nothing of that is sure.
pub(super) const GONE_MAX: usize = 16;

/// Parts of the log that were gone before a recipient came to them, in order and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Gone(Vec<Part>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Part {
    /// After this sequence.
    after: u64,
    /// Up to here an earlier stream may have sent it all the same.
    perhaps: u64,
    /// Up to here.
    to: u64,
    /// The life of the log that `to` is of.
    epoch: Epoch,
}

impl Gone {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many parts there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What lies between two places is gone; up to `perhaps` it may have been sent before. Returns
    /// whether that is new.
    pub(super) fn add(&mut self, after: u64, perhaps: u64, to: Cursor) -> bool {
        let new = Part {
            after,
            perhaps: perhaps.clamp(after, to.seq.max(after)),
            to: to.seq,
            epoch: to.epoch,
        };
        if new.to <= new.after || self.0.iter().any(|part| part.says(&new)) {
            return false;
        }
        let at = self.0.partition_point(|part| part.to < new.after);
        let end = self.0.partition_point(|part| part.after <= new.to);
        let joined = self.0[at..end].iter().fold(new, Part::with);
        self.0.splice(at..end, [joined]);
        if self.0.len() > GONE_MAX {
            self.join_nearest();
        }
        true
    }

    /// Adds what another has beyond what was surely sent before; what was perhaps sent is not sure.
    pub(super) fn extend_after(&mut self, other: &Self, (sent, perhaps): (u64, u64)) {
        for part in &other.0 {
            let to = Cursor {
                epoch: part.epoch,
                seq: part.to,
            };
            self.add(part.after.max(sent), part.perhaps.max(perhaps), to);
        }
    }

    /// Whether what lies at a sequence may not have been sent.
    pub(super) fn may_hold(&self, seq: u64) -> bool {
        self.0.iter().any(|part| part.after < seq && seq <= part.to)
    }

    /// Whether it was not.
    pub(super) fn holds(&self, seq: u64) -> bool {
        self.0
            .iter()
            .any(|part| part.perhaps < seq && seq <= part.to)
    }

    /// Takes away what a loss of the log has taken.
    pub(super) fn clip(&mut self, epochs: &Epochs) {
        self.0.retain_mut(|part| {
            let to = Cursor {
                epoch: part.epoch,
                seq: part.to,
            };
            match epochs.place(to) {
                Place::Known(_) => {}
                Place::Lost(to) => {
                    (part.to, part.epoch) = (to.seq, to.epoch);
                    part.perhaps = part.perhaps.min(to.seq);
                }
                Place::Foreign => return false,
            }
            part.after < part.to
        });
    }

    fn join_nearest(&mut self) {
        let gaps = self.0.windows(2).map(|two| two[1].after - two[0].to);
        let Some((nearest, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else {
            return;
        };
        let second = self.0.remove(nearest + 1);
        let joined = self.0[nearest].with(&second);
        self.0[nearest] = Part {
            perhaps: joined.to,
            ..joined
        };
    }
}

impl Part {
    /// Whether it says all that another says.
    fn says(&self, other: &Self) -> bool {
        self.after <= other.after && other.to <= self.to && self.perhaps <= other.perhaps
    }

    /// Both in one, which lie side by side or one over the other.
    fn with(self, other: &Self) -> Self {
        let last = if other.to >= self.to { other } else { &self };
        let after = self.after.min(other.after);
        let unsure = [&self, other]
            .into_iter()
            .filter(|part| part.perhaps > part.after);
        Self {
            after,
            perhaps: unsure.map(|part| part.perhaps).max().unwrap_or(after),
            to: last.to,
            epoch: last.epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Cursor {
        Cursor {
            epoch: Epoch::from_bits(0),
            seq,
        }
    }

    /// Each sequence as it was told, once, in whatever order; and of too many parts two become one, of
    /// which nothing is sure.
    #[test]
    fn parts_are_joined() {
        let mut gone = Gone::default();
        assert!(gone.add(10, 10, at(20)));
        assert!(!gone.add(10, 10, at(20)), "known");
        assert!(!gone.add(30, 30, at(30)), "nothing");
        assert!(gone.add(20, 20, at(25)), "beside it");
        assert!(gone.add(40, 45, at(50)), "an earlier stream came to 45");
        assert!(gone.add(5, 5, at(12)), "over it");
        assert_eq!(gone.len(), 2);
        for (seq, may, surely) in [
            (5, false, false),
            (6, true, true),
            (25, true, true),
            (26, false, false),
            (45, true, false),
            (46, true, true),
            (51, false, false),
        ] {
            assert_eq!(
                (gone.may_hold(seq), gone.holds(seq)),
                (may, surely),
                "{seq}"
            );
        }
        for round in 1..u64::try_from(GONE_MAX).unwrap() {
            gone.add(100 * round, 100 * round, at(100 * round + 1));
        }
        assert_eq!(gone.len(), GONE_MAX);
        assert!(gone.may_hold(30) && !gone.holds(30), "between the nearest");
        assert!(gone.may_hold(101) && gone.holds(101));
    }

    /// Of what is gone, what was surely sent before is left out, and what was perhaps sent is not sure.
    #[test]
    fn what_was_sent_before_is_not_gone() {
        let (mut gone, mut next) = (Gone::default(), Gone::default());
        next.add(10, 10, at(80));
        gone.extend_after(&next, (20, 60));
        for (seq, may, surely) in [
            (20, false, false),
            (21, true, false),
            (60, true, false),
            (61, true, true),
            (80, true, true),
        ] {
            assert_eq!(
                (gone.may_hold(seq), gone.holds(seq)),
                (may, surely),
                "{seq}"
            );
        }
    }

    /// What a loss has taken is gone for nobody: other revisions lie there then.
    #[test]
    fn a_loss_is_no_retention() {
        let mut gone = Gone::default();
        gone.add(10, 12, at(20));
        gone.add(30, 30, at(40));
        let next = Epoch::from_bits(1);
        let epochs = Epochs::first(Epoch::from_bits(0)).with(next, 16);
        gone.clip(&epochs);
        assert_eq!(gone.len(), 1);
        assert!(gone.holds(15) && !gone.may_hold(16));
        gone.clip(&Epochs::first(Epoch::from_bits(7)));
        assert!(gone.is_empty(), "another log");
    }
}
