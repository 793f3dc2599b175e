//! Usher: shows readers what has come, and wakes them.

use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::delivery::{chunk::Chunk, group::Group, hub::Hub, pace::Pace};

/// How far readers may look.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// The sequence of the newest entry.
    head: u64,
    /// The sequence up to which there is nothing else.
    up_to: u64,
}

impl Hub {
    /// Shows and wakes readers as entries come, until `stop`; then wakes all of them, to end.
    /// `access` changes with the rights that streams stand on.
    pub async fn run_usher(&self, mut access: watch::Receiver<u64>, stop: CancellationToken) {
        let log = &self.0.log;
        let (mut read, mut confirmed) = (log.read_watch(), log.confirmed_watch());
        let mut epochs = log.epochs_watch();
        // What is there already is shown first.
        read.mark_changed();
        let mut at = 0;
        let mut pace = Pace::begin();
        loop {
            let mut is_for_all = false;
            // What was left for the next send has told of itself already.
            if self.0.head.load(Ordering::Acquire) <= at {
                tokio::select! {
                    // Each arm only wakes; everything is looked at again.
                    () = self.0.stop.cancelled() => break,
                    _ = read.changed() => {}
                    _ = confirmed.changed() => {}
                    _ = epochs.changed() => is_for_all = true,
                    _ = access.changed() => is_for_all = true,
                }
            }
            let is_fast = self.0.head.load(Ordering::Acquire) > at && {
                let is_enough = || self.full_after(at).is_some();
                pace.keep(&self.0.pushed, &mut read, is_enough).await
            };
            let shown = self.next_shown(at, is_fast);
            self.0.shown.store(shown.up_to, Ordering::Release);
            self.0.restless.wake_all().await;
            if is_for_all || shown.head < at {
                // Some must go back.
                pace.woke(self.wake_groups(|_| true).await);
            } else if shown.head > at {
                pace.woke(self.wake_groups(|group| self.is_wanted(group, at)).await);
            }
            at = shown.head;
        }
        self.0.is_stopping.store(true, Ordering::Release);
        self.0.restless.wake_all().await;
        self.0.history.seats().wake_all().await;
        self.wake_groups(|_| true).await;
        stop.cancelled().await;
    }

    /// How far readers may look now, who could look as far as `at`: while entries come fast, to the end
    /// of what one send carries.
    fn next_shown(&self, at: u64, is_fast: bool) -> Shown {
        if is_fast && let Some(shown) = self.full_after(at) {
            return shown;
        }
        // Before the ring: what was marked as read is in it by then.
        let up_to = self.0.log.read_up_to();
        let mut ring = self.0.ring.write().expect("no panic under this lock");
        if is_fast && let Some(last) = ring.chunks.back_mut() {
            last.close();
        }
        let head = self.0.head.load(Ordering::Acquire);
        Shown {
            head,
            up_to: up_to.max(head),
        }
    }

    /// The end of the newest full chunk, if that is after a sequence.
    fn full_after(&self, at: u64) -> Option<Shown> {
        let ring = self.0.ring.read().expect("no panic under this lock");
        for (place, chunk) in ring.chunks.iter().rev().enumerate() {
            let last = chunk.entries().last().filter(|last| last.seq() > at)?;
            // All but the newest are full.
            if place > 0 || chunk.is_full() {
                return Some(Shown {
                    head: last.seq(),
                    up_to: last.stored.group_end(),
                });
            }
        }
        None
    }

    /// Wakes whoever waits in some groups; returns how many did.
    async fn wake_groups(&self, is_wanted: impl Fn(&Group) -> bool) -> usize {
        let mut woken = 0;
        for group in self.0.groups.all() {
            if is_wanted(&group) {
                woken += group.seats().wake_all().await;
            }
        }
        woken
    }

    /// Whether a group wants anything of the ring after a sequence.
    fn is_wanted(&self, group: &Group, after: u64) -> bool {
        let ring = self.0.ring.read().expect("no panic under this lock");
        if ring.after > after {
            // Gone already: whoever may want it reads the log.
            return true;
        }
        let newest_first = ring.chunks.iter().rev();
        let mut new = newest_first.take_while(|chunk: &&Chunk| chunk.last_seq() > after);
        new.any(|chunk| group.verdict(chunk) & chunk.mask_after(after) != 0)
    }
}
