//! Killed articles: whose earlier revisions must not be shown, whatever still holds them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::article::ArticleId;

/// How long a kill is remembered after its erasure ended: longer than any page of history is held
/// in memory.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The set of killed articles that some buffer of this process may still hold a text of.
#[derive(Debug, Default)]
pub struct Killed {
    /// Read on every delivery: nearly always zero, and then the lock is not taken.
    count: AtomicUsize,
    /// Changes with every kill and every loss: a verdict holds as long as this does.
    generation: AtomicU64,
    kills: RwLock<HashMap<ArticleId, Kill>>,
}

#[derive(Debug)]
struct Kill {
    seq: u64,
    erased_at: Option<Instant>,
}

impl Killed {
    /// An article is killed by the record at `seq`.
    pub fn insert(&self, id: ArticleId, seq: u64) {
        let mut kills = self.kills.write().expect("no panic under this lock");
        if let Entry::Vacant(place) = kills.entry(id) {
            place.insert(Kill {
                seq,
                erased_at: None,
            });
            self.changed(&kills);
        }
    }

    /// Under the lock, so that whoever judges by the new number sees what it stands for.
    fn changed(&self, kills: &HashMap<ArticleId, Kill>) {
        self.count.store(kills.len(), Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// What verdicts of [`Killed::covers`] depend on: 0 = nothing was ever killed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether a revision must not be shown: its article was killed by a later one.
    pub fn covers(&self, id: ArticleId, seq: u64) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self
                .kills
                .read()
                .expect("no panic under this lock")
                .get(&id)
                .is_some_and(|kill| seq < kill.seq)
    }

    /// Forgets kills that the log has lost: everything after a sequence.
    pub fn truncate(&self, after: u64) {
        let mut kills = self.kills.write().expect("no panic under this lock");
        kills.retain(|_, kill| kill.seq <= after);
        self.changed(&kills);
    }

    /// Forgets kills that no buffer can matter to any more: erased for long, and before
    /// `ring_first`, the oldest sequence that this process still holds. `pending` are the articles
    /// whose erasure is not finished.
    pub fn forget(&self, pending: &[ArticleId], ring_first: u64, now: Instant) {
        let mut kills = self.kills.write().expect("no panic under this lock");
        kills.retain(|id, kill| {
            if pending.contains(id) {
                return true;
            }
            let erased_at = *kill.erased_at.get_or_insert(now);
            kill.seq >= ring_first || now.duration_since(erased_at) < REMEMBERED
        });
        self.count.store(kills.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_covers_what_came_before_it_until_nothing_can_hold_that() {
        let (id, other) = (ArticleId::from_uri("a:1"), ArticleId::from_uri("a:2"));
        let killed = Killed::default();
        assert!(!killed.covers(id, 1));
        killed.insert(id, 10);
        assert!(killed.covers(id, 9) && !killed.covers(id, 10) && !killed.covers(other, 9));

        let now = Instant::now();
        let late = now + REMEMBERED;
        killed.forget(&[id], 100, late);
        assert!(killed.covers(id, 9), "its erasure is pending");
        killed.forget(&[], 100, now);
        killed.forget(&[], 5, late);
        assert!(killed.covers(id, 9), "the ring reaches back before it");
        killed.forget(&[], 100, late);
        assert!(!killed.covers(id, 9));

        killed.insert(id, 10);
        killed.truncate(10);
        assert!(killed.covers(id, 9), "the log still has it");
        killed.truncate(9);
        assert!(!killed.covers(id, 9));
    }
}
