//! Following the bucket: what this node knows of it, and whether that is all.
//!
//! A stream sends only as long as its node surely knows whose it is: one that slept, or that hears
//! nothing of the bucket, would go on beside the stream that has taken over, and what it sends then
//! nobody knows of.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, pin_mut, stream};
use tokio::time::{Instant, sleep};

use crate::{
    delivery::durable::{Durables, PAUSE, kept::Kept, owner::End},
    recipient::subscription::SubscriptionId,
    wire::log::{
        ReadError,
        freshness::Freshness,
        subscriptions::{KeptSubscription, SubscriptionChange},
    },
};

/// The longest pause before the bucket is followed anew.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Subscriptions that are read from the leader at a time.
const READS_MAX: usize = 64;

/// Which revision of each has come since the bucket is followed.
type Seen = HashMap<SubscriptionId, u64>;

impl Durables {
    /// When this node last knew all of them.
    pub fn freshness(&self) -> &Freshness {
        &self.0.freshness
    }

    pub(super) async fn follow(&self) {
        let mut epochs = self.0.log.epochs_watch();
        let mut pause = PAUSE;
        loop {
            epochs.mark_unchanged();
            let began = Instant::now();
            tokio::select! {
                biased;
                // What is dropped is begun anew. The sender lives as long as the log.
                _ = epochs.changed() => {}
                followed = self.follow_once() => if let Err(error) = followed {
                    tracing::warn!(%error, "subscriptions can't be followed; trying again");
                }
            }
            // Where it does not even begin, others need not hear of that so often.
            pause = if began.elapsed() > PAUSE_MAX {
                PAUSE
            } else {
                (pause * 2).min(PAUSE_MAX)
            };
            sleep(pause).await;
        }
    }

    async fn follow_once(&self) -> Result<(), ReadError> {
        // Before the bucket is asked where it ends: what this node writes meanwhile is beyond that.
        let known = self.book().newest;
        let changes = self.0.log.follow_subscriptions(&self.0.freshness).await?;
        pin_mut!(changes);
        let mut seen = Some(Seen::new());
        while let Some(change) = changes.next().await {
            match change? {
                SubscriptionChange::Begun(last) => self.begin(last, known),
                SubscriptionChange::Put(kept) => {
                    if let Some(seen) = &mut seen {
                        seen.insert(kept.id.clone(), kept.revision);
                    }
                    self.note(*kept);
                }
                SubscriptionChange::Removed(id, revision) => {
                    self.forget(&id, revision);
                    if let Some(seen) = &mut seen {
                        seen.insert(id, revision);
                    }
                }
                SubscriptionChange::Confirmed(asked) => {
                    let asked = match seen.take() {
                        Some(seen) => self.complete(&seen).await?,
                        None => asked,
                    };
                    self.confirm(asked);
                }
            }
        }
        Ok(())
    }

    /// All are told anew. What was known of a bucket that has been set back since, or of another life of
    /// the log, is worth nothing: later revisions would be taken for older ones.
    fn begin(&self, last: u64, known: u64) {
        let epochs = self.0.log.epochs();
        let before = self.book().epochs.replace(Arc::clone(&epochs));
        let is_same_life = before.is_none_or(|before| Arc::ptr_eq(&before, &epochs));
        if !is_same_life || known > last {
            self.read_anew(last);
        }
    }

    /// Asks the leader for what has not come, once all else has. What changes on its way comes with its
    /// newer state alone, and that later; and what is known of a bucket that was set back, and has grown
    /// beyond where it was, never comes. Returns since when all is known.
    async fn complete(&self, seen: &Seen) -> Result<Instant, ReadError> {
        let asked = Instant::now();
        let ids = self.0.log.subscription_ids().await?;
        let doubts = self.doubts(seen, ids);
        let reads = stream::iter(doubts).map(|(id, known)| async move {
            let kept = self.0.log.subscription(&id).await;
            (id, known, kept)
        });
        let reads = reads.buffer_unordered(READS_MAX);
        pin_mut!(reads);
        while let Some((id, known, kept)) = reads.next().await {
            self.settle(&id, known, kept?);
        }
        Ok(asked)
    }

    /// What of these, and of what is known, has not come; each with the revision that is known.
    fn doubts(
        &self,
        seen: &Seen,
        ids: Vec<SubscriptionId>,
    ) -> HashMap<SubscriptionId, Option<u64>> {
        let book = self.book();
        let has_come = |kept: &KeptSubscription| {
            let at = seen.get(&kept.id);
            at.is_some_and(|at| *at >= kept.revision)
        };
        let known = book.kept.all().filter(|kept| !has_come(kept));
        let known = known.map(|kept| (kept.id.clone(), Some(kept.revision)));
        let missing = ids.into_iter().filter(|id| !seen.contains_key(id));
        let missing = missing.chain(book.owners.keys().cloned());
        let missing = missing.filter(|id| book.kept.get(id).is_none());
        known.chain(missing.map(|id| (id, None))).collect()
    }

    /// Takes over what the leader has, unless more is known by now.
    pub(super) fn settle(
        &self,
        id: &SubscriptionId,
        doubted: Option<u64>,
        kept: Option<KeptSubscription>,
    ) {
        let mut book = self.book();
        if book.kept.get(id).map(|known| known.revision) != doubted {
            return;
        }
        let is_older = |revision| kept.as_ref().is_none_or(|kept| kept.revision < revision);
        if doubted.is_some_and(is_older) {
            tracing::warn!(%id, "what was known of a subscription is gone, or was set back");
            book.kept.remove(id);
            self.0.log.metrics().recipients.subscriptions.dec();
        }
        match kept {
            Some(kept) => {
                drop(book);
                self.note(kept);
            }
            None => {
                let former = book.owners.remove(id);
                drop(book);
                if let Some(former) = former {
                    former.end(End::Removed);
                }
            }
        }
    }

    /// What was known of a bucket that is another by now is worth nothing.
    fn read_anew(&self, end: u64) {
        let mut book = self.book();
        tracing::warn!(end, known = book.newest, "subscriptions are read anew");
        self.0.freshness.lose();
        book.kept = Kept::default();
        book.newest = 0;
        self.0.log.metrics().recipients.subscriptions.set(0);
    }

    /// All is known that the bucket held at this moment.
    fn confirm(&self, asked: Instant) {
        let was_fresh = self.0.freshness.is_fresh();
        self.0.freshness.confirm(asked);
        if !was_fresh {
            let book = self.book();
            book.owners.values().for_each(|owner| owner.wake());
        }
    }

    /// Takes over a newer state; a stream of this node that it is not of any more ends.
    pub(super) fn note(&self, kept: KeptSubscription) {
        let mut book = self.book();
        let known = book.kept.get(&kept.id);
        if known.is_some_and(|known| known.revision >= kept.revision) {
            return;
        }
        book.newest = book.newest.max(kept.revision);
        let token = &kept.subscription.token;
        let owner = book.owners.get(&kept.id).cloned();
        let former = owner.filter(|owner| owner.token() != token);
        if former.is_some() {
            book.owners.remove(&kept.id);
        }
        let end = if token.is_nobodys() {
            End::Reset
        } else {
            End::TakenOver
        };
        if book.kept.insert(kept).is_none() {
            self.0.log.metrics().recipients.subscriptions.inc();
        }
        if let Some(former) = &former {
            // Its end is told, too, which a client that reads nothing delays.
            let sent = self.0.log.cursor(former.sent());
            book.moves.lose(former, sent);
        }
        drop(book);
        if let Some(former) = former {
            former.end(end);
            self.0.to_write.notify_one();
        }
    }

    pub(super) fn forget(&self, id: &SubscriptionId, revision: u64) {
        let mut book = self.book();
        let known = book.kept.get(id);
        if known.is_some_and(|known| known.revision < revision) {
            book.newest = book.newest.max(revision);
            book.kept.remove(id);
            self.0.log.metrics().recipients.subscriptions.dec();
            let former = book.owners.remove(id);
            drop(book);
            if let Some(former) = former {
                former.end(End::Removed);
            }
        }
    }
}
