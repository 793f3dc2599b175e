//! Opening a durable subscription's stream: it takes the subscription over first, then begins after
//! what is acknowledged.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    cursor::Cursor,
    delivery::{
        durable::{DurableError, Durables, PAUSE, PER_PARTNER_MAX, RACES_MAX, owner::Owner},
        group::Wanted,
        hub::Hub,
        start::{Beyond, SubscribeError},
        subscription::{Beginning, Subscription, Way},
    },
    filter::Filter,
    recipient::{
        Stray,
        subscription::{Opening, Subscription as Kept, SubscriptionId},
    },
    wire::{convert::Start, log::subscriptions::KeptSubscription},
};

/// How long a former stream may go on before it knows of its end, on whatever node: as long as a node
/// that is cut off, from the log or from the bucket, shows anything, and a little more.
const HANDOVER: Duration = Duration::from_millis(1200);

/// A stream's hold on its subscription; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    durables: Durables,
    owner: Arc<Owner>,
}

impl Claim {
    /// Whether this node surely knows whose the subscription is.
    pub fn is_fresh(&self) -> bool {
        self.durables.freshness().is_fresh()
    }

    /// This was handed to its connection and is to be remembered.
    pub fn follows(&self, strays: Vec<Stray>) {
        self.owner.follows(strays);
        self.write_met();
    }

    /// What lies there was gone when its turn came.
    pub fn leaves_out(&self, after: u64, to: Cursor) {
        self.owner.leaves_out(after, to);
        self.write_met();
    }

    /// At once, since what comes after may be acknowledged on another node.
    fn write_met(&self) {
        let sent = self.durables.0.log.cursor(self.owner.sent());
        self.durables.book().moves.touch(&self.owner, sent);
        self.durables.0.to_write.notify_one();
    }
}

impl Deref for Claim {
    type Target = Owner;

    fn deref(&self) -> &Owner {
        &self.owner
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.durables.leave(&self.owner);
    }
}

/// What a durable subscription is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which.
    pub id: SubscriptionId,
    /// What is wanted.
    pub filter: Filter,
    /// Where it begins, if nothing is stored.
    pub start: Start,
    /// What becomes of the part that is not granted.
    pub beyond: Beyond,
}

/// A subscription that this stream has taken over.
struct Claimed {
    kept: KeptSubscription,
    claim: Claim,
    /// Where it begins, if it is new.
    begin: Option<Beginning>,
    /// Whether a stream that it had before may be going on.
    has_former: bool,
}

impl Hub {
    /// Begins a durable subscription's stream, which goes this way. Whatever stream it had ends within
    /// a second.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn subscribe_as(&self, wish: Wish, way: Way) -> Result<Subscription, SubscribeError> {
        if self.stop().is_cancelled() {
            return Err(SubscribeError::Draining);
        }
        let (history_end, filter) = self.judged(wish.filter.clone(), wish.beyond, &way).await?;
        let claimed = self.claim(&wish, &filter, history_end).await?;
        let Claimed {
            mut kept, claim, ..
        } = claimed;
        if *kept.subscription.coverage.filter() != filter {
            kept = self.refilter(kept, filter, claimed.has_former).await?;
        }
        let mut subscription = kept.subscription;
        let begin = match claimed.begin {
            Some(begin) => begin,
            None => {
                // What is acknowledged may have been so since the log was asked.
                let history_end = self.log().confirm().await?;
                let start = Start::After(subscription.cursor);
                let filter = subscription.coverage.filter();
                self.beginning(start, filter, history_end).await?
            }
        };
        claim.sends(begin.at.seq);
        // The log may have lost something meanwhile.
        subscription.coverage.clip(&begin.epochs);
        let granted = way.permit.scope();
        let wanted = Wanted::of(&subscription.coverage, begin.at.seq, granted, Vec::new());
        Ok(Subscription::new(
            self.clone(),
            &wanted,
            begin,
            way,
            Some(claim),
        ))
    }

    /// Takes a subscription over, or makes it.
    async fn claim(
        &self,
        wish: &Wish,
        filter: &Filter,
        history_end: u64,
    ) -> Result<Claimed, SubscribeError> {
        let (durables, id) = (self.durables(), &wish.id);
        let opening = durables.opening();
        let mut failure = DurableError::Crossed(id.clone());
        for _ in 0..RACES_MAX {
            let known = self.log().subscription(id).await?;
            let (kept, begin, has_former) = match known {
                None => {
                    durables.check_room(id)?;
                    let begin = self.beginning(wish.start.clone(), filter, history_end);
                    let begin = begin.await?;
                    (new(id, filter, &begin, &opening), Some(begin), false)
                }
                // Written all the same, though nobody said so.
                Some(kept) if kept.subscription.token == opening.token => {
                    durables.note(kept.clone());
                    return self.claimed(kept, None, true);
                }
                Some(mut kept) => {
                    let subscription = &mut kept.subscription;
                    durables.tell(id, subscription, history_end);
                    let has_former = subscription.may_stream(opening.now);
                    subscription.take_over(opening.clone());
                    (kept, None, has_former)
                }
            };
            let is_new = begin.is_some();
            match durables.put(kept).await {
                Ok(Some(kept)) => {
                    if !is_new {
                        self.log().metrics().recipients.take_overs.inc();
                    }
                    return self.claimed(kept, begin, has_former);
                }
                Ok(None) => {}
                Err(error) => failure = error.into(),
            }
            sleep(PAUSE).await;
        }
        Err(failure.into())
    }

    fn claimed(
        &self,
        kept: KeptSubscription,
        begin: Option<Beginning>,
        has_former: bool,
    ) -> Result<Claimed, SubscribeError> {
        let claim = self.durables().own(&kept, has_former)?;
        Ok(Claimed {
            kept,
            claim,
            begin,
            has_former,
        })
    }

    /// Lets another filter count from what is acknowledged on.
    async fn refilter(
        &self,
        kept: KeptSubscription,
        filter: Filter,
        has_former: bool,
    ) -> Result<KeptSubscription, SubscribeError> {
        let (durables, id) = (self.durables(), kept.id);
        if has_former {
            // Until it knows of its end, the former stream sends what the former filter wants: who had
            // what must be known for sure.
            sleep(HANDOVER).await;
        }
        let end = self.log().confirm().await?;
        for _ in 0..RACES_MAX {
            let mut now = durables.read(&id).await?;
            if now.subscription.token != kept.subscription.token {
                return Err(DurableError::TakenOver(id).into());
            }
            let epochs = self.log().epochs();
            let end = epochs.cursor(end);
            now.subscription.refilter(filter.clone(), end, &epochs);
            if let Some(now) = durables.put(now).await? {
                return Ok(now);
            }
            sleep(PAUSE).await;
        }
        Err(DurableError::Crossed(id).into())
    }
}

impl Durables {
    /// Makes a stream of this node the owner of what it has just taken over.
    fn own(&self, kept: &KeptSubscription, has_former: bool) -> Result<Claim, DurableError> {
        let mut book = self.book();
        let token = &kept.subscription.token;
        // Another may have been faster since.
        let newest = book.kept.get(&kept.id);
        if newest.is_some_and(|newest| newest.subscription.token != *token) {
            return Err(DurableError::TakenOver(kept.id.clone()));
        }
        let perhaps = if has_former {
            // It goes on until it knows of its end.
            u64::MAX
        } else {
            kept.subscription.sent_at_most(&self.0.log.epochs())
        };
        let owner = Arc::new(Owner::new(kept, perhaps));
        book.owners.insert(kept.id.clone(), Arc::clone(&owner));
        Ok(Claim {
            durables: self.clone(),
            owner,
        })
    }

    fn check_room(&self, id: &SubscriptionId) -> Result<(), DurableError> {
        let book = self.book();
        if book.kept.count(&id.partner) >= PER_PARTNER_MAX {
            return Err(DurableError::Full(id.clone()));
        }
        Ok(())
    }
}

fn new(
    id: &SubscriptionId,
    filter: &Filter,
    begin: &Beginning,
    opening: &Opening,
) -> KeptSubscription {
    KeptSubscription {
        id: id.clone(),
        subscription: Kept::new(filter.clone(), begin.at, opening.clone()),
        revision: 0,
    }
}
