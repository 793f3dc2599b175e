//! Following the bucket: what this node knows of it, and whether that is all.
//!
//! A stream sends only as long as its node surely knows whose it is: one that slept, or that hears
//! nothing of the bucket, would go on beside the stream that has taken over, and what it sends then
//! nobody knows of.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, pin_mut};
use tokio::time::{Instant, sleep};

use crate::{
    delivery::durable::{
        Durables, PAUSE,
        kept::Kept,
        owner::{End, Owner},
    },
    recipient::subscription::SubscriptionId,
    wire::log::{
        ReadError,
        freshness::Freshness,
        subscriptions::{KeptSubscription, SubscriptionChange},
    },
};

/// Which revision of each has come since the bucket is followed.
type Seen = HashMap<SubscriptionId, u64>;

impl Durables {
    /// When this node last knew all of them.
    pub fn freshness(&self) -> &Freshness {
        &self.0.freshness
    }

    pub(super) async fn follow(&self) {
        let mut epochs = self.0.log.epochs_watch();
        loop {
            epochs.mark_unchanged();
            tokio::select! {
                biased;
                // What is dropped is begun anew. The sender lives as long as the log.
                _ = epochs.changed() => {}
                followed = self.follow_once() => if let Err(error) = followed {
                    tracing::warn!(%error, "subscriptions can't be followed; trying again");
                }
            }
            sleep(PAUSE).await;
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
                SubscriptionChange::Confirmed(asked, end) => {
                    if let Some(seen) = seen.take()
                        && self.is_outdated(&seen, end)
                    {
                        self.read_anew(end);
                        return Ok(());
                    }
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

    /// Whether something is known that the bucket does not hold, of which all has come up to `end`: it
    /// was set back, and may have grown beyond where it was.
    fn is_outdated(&self, seen: &Seen, end: u64) -> bool {
        let book = self.book();
        let is_gone = |kept: &KeptSubscription| {
            let at = seen.get(&kept.id);
            kept.revision <= end && at.is_none_or(|at| *at < kept.revision)
        };
        book.kept.all().any(is_gone)
    }

    fn read_anew(&self, end: u64) {
        let mut book = self.book();
        tracing::warn!(end, known = book.newest, "subscriptions are read anew");
        book.kept = Kept::default();
        book.newest = 0;
        book.former_owners = book.owners.values().cloned().collect();
        self.0.log.metrics().recipients.subscriptions.set(0);
        drop(book);
        self.0.freshness.lose();
    }

    /// All is known that the bucket held at this moment.
    fn confirm(&self, asked: Instant) {
        let was_fresh = self.0.freshness.is_fresh();
        let mut book = self.book();
        for owner in std::mem::take(&mut book.former_owners) {
            let id = owner.id();
            let is_its = |known: &Arc<Owner>| Arc::ptr_eq(known, &owner);
            if book.kept.get(id).is_none() && book.owners.get(id).is_some_and(is_its) {
                book.owners.remove(id);
                owner.end(End::Removed);
            }
        }
        self.0.freshness.confirm(asked);
        if !was_fresh {
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
