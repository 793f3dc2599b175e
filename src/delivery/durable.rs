//! Durable subscriptions: those that the log keeps the place of. Every node follows their bucket; a
//! stream is taken over by compare-and-set of its token, and acknowledgements are written together.
//!
//! What a node knows may be behind for a moment: it may let an acknowledgement begin that the bucket
//! then refuses, and it never says that something is stored which is not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::partner::PartnerName,
    cursor::{Cursor, Epochs, Place},
    delivery::durable::{
        acknowledge::Moves,
        kept::Kept,
        owner::{Met, Owner},
    },
    fault::{Fault, Kind},
    gate::seconds,
    recipient::subscription::{Opening, Subscription, SubscriptionId, Token, known},
    wire::log::{Log, ReadError, freshness::Freshness, subscriptions::KeptSubscription},
};

pub mod acknowledge;
mod follow;
pub mod kept;
pub mod open;
pub mod owner;

/// Most durable subscriptions of a partner; with more a new one is refused.
pub const PER_PARTNER_MAX: usize = 20_000;
/// After how long without a stream or an acknowledgement a subscription is removed.
pub const IDLE_MAX: Duration = Duration::from_secs(90 * 86_400);
/// How often an open stream that acknowledges nothing is noted all the same.
const USED_EVERY: Duration = Duration::from_secs(86_400);
/// Time between two looks for idle ones.
const IDLE_LOOK: Duration = Duration::from_secs(3600);
/// How often a change that somebody else crossed is tried anew.
const RACES_MAX: usize = 16;
/// Pause before the bucket is followed anew, or a crossed change is tried anew.
const PAUSE: Duration = Duration::from_millis(50);
/// How long what is to be written may take at a stop.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Why something of a durable subscription can't be.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// There is none, or none any more.
    #[error("there is no subscription {0}")]
    Unknown(SubscriptionId),
    /// Its stream is another one by now.
    #[error("the subscription {0} was taken over by another stream")]
    TakenOver(SubscriptionId),
    /// It was set to another place.
    #[error("the subscription {0} was reset")]
    Reset(SubscriptionId),
    /// Its partner has as many as may be.
    #[error("there are {PER_PARTNER_MAX} subscriptions beside {0}")]
    Full(SubscriptionId),
    /// Others change it all the time.
    #[error("the subscription {0} is changed by others at the same time")]
    Crossed(SubscriptionId),
    /// What is acknowledged, or reset to, is beyond the log's end.
    #[error("the cursor {cursor} is beyond the log's end, {last}")]
    Future {
        /// What was given.
        cursor: Cursor,
        /// Where the log ends.
        last: Cursor,
    },
    /// What is acknowledged, or reset to, is of another log.
    #[error("the cursor {0} is of another log")]
    Foreign(Cursor),
    /// Too many acknowledgements of one subscription wait.
    #[error("too many acknowledgements of {0} wait to be written")]
    Busy(SubscriptionId),
    /// The bucket can't be read, or written.
    #[error("subscriptions can't be read")]
    Read(#[from] ReadError),
}

impl DurableError {
    /// What the caller can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unknown(id) => {
                let message = format!("there is no subscription {}", id.name);
                Fault::new(Kind::Missing, "SUBSCRIPTION_UNKNOWN", message)
            }
            Self::TakenOver(id) => {
                let message = format!(
                    "another stream has taken over the subscription {}; its token counts now",
                    id.name
                );
                Fault::new(Kind::Conflict, "SUBSCRIPTION_TAKEN_OVER", message)
            }
            Self::Reset(id) => {
                let message = format!(
                    "the subscription {} was set to another place; subscribe again",
                    id.name
                );
                Fault::new(Kind::Conflict, "SUBSCRIPTION_RESET", message)
            }
            Self::Full(_) => {
                let message = format!(
                    "subscription: there are {PER_PARTNER_MAX} already; remove one that is not \
                     needed, or use the name of one"
                );
                Fault::new(Kind::Exhausted, "SUBSCRIPTIONS_FULL", message)
            }
            Self::Crossed(id) => {
                let message = format!(
                    "others open or change the subscription {} at the same time; try again",
                    id.name
                );
                Fault::unavailable("SUBSCRIPTION_CONFLICT", message, PAUSE)
            }
            Self::Future { cursor, last } => {
                let message = format!(
                    "cursor is {cursor}, but the log ends at {last}; take the cursor of something \
                     that was delivered"
                );
                Fault::new(Kind::OutOfRange, "CURSOR_IN_FUTURE", message)
                    .with("last", last.to_string())
            }
            Self::Foreign(cursor) => Fault::field(
                "CURSOR_FOREIGN",
                "cursor",
                format!("{cursor} is of another log; take the cursor of something of this one"),
            ),
            Self::Busy(_) => {
                let message = "too many acknowledgements of this subscription wait; a later one \
                               stands for all before it";
                Fault::unavailable("ACKNOWLEDGEMENTS_BUSY", message, PAUSE)
            }
            Self::Read(error) => error.fault(),
        }
    }
}

/// The durable subscriptions of a log, as one node knows them; clones share everything.
#[derive(Clone, Debug)]
pub struct Durables(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    clock: fn() -> SystemTime,
    /// How this node is called.
    node: String,
    book: Mutex<Book>,
    freshness: Freshness,
    /// Tells the writer that there is something to write.
    to_write: Notify,
}

/// All that this node knows.
#[derive(Debug, Default)]
struct Book {
    kept: Kept,
    /// The newest revision among them, and of those that are gone.
    newest: u64,
    /// The lives of the log of which they are.
    epochs: Option<Arc<Epochs>>,
    /// Streams of this node.
    owners: HashMap<SubscriptionId, Arc<Owner>>,
    moves: Moves,
}

impl Durables {
    /// Those of a log; nothing is known of them yet.
    pub fn new(log: Log, clock: fn() -> SystemTime, node: String) -> Self {
        Self(Arc::new(Inner {
            log,
            clock,
            node,
            book: Mutex::default(),
            freshness: Freshness::default(),
            to_write: Notify::new(),
        }))
    }

    /// Follows and writes them until `stop`, over losses of NATS.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            // What is not written when they end is so once more below.
            () = self.follow() => {}
            () = self.write_all() => {}
            () = self.remove_idle() => {}
        }
        self.book().moves.begin_again();
        // Of streams that have just ended: how far they got.
        if timeout(LAST_WRITES, self.write_waiting()).await.is_err() {
            tracing::debug!("some places of subscriptions were not written at the stop");
        }
    }

    /// A subscription, as far as this node knows.
    pub fn get(&self, id: &SubscriptionId) -> Option<KeptSubscription> {
        self.book().kept.get(id).cloned()
    }

    /// Subscriptions that come after one, of a partner or of all, at most so many.
    pub fn list(
        &self,
        partner: Option<&Option<PartnerName>>,
        after: Option<&SubscriptionId>,
        count_max: usize,
    ) -> Vec<KeptSubscription> {
        let book = self.book();
        let wanted = book.kept.after(partner, after);
        wanted.take(count_max).cloned().collect()
    }

    /// Up to where a stream of this node has sent a subscription's revisions, if it has one.
    pub fn sent_here(&self, id: &SubscriptionId) -> Option<u64> {
        self.book().owners.get(id).map(|owner| owner.sent())
    }

    /// Beyond this sequence nothing was sent of a subscription; none if only another node knows.
    pub fn sent_at_most(&self, kept: &KeptSubscription) -> Option<u64> {
        let (subscription, epochs) = (&kept.subscription, self.0.log.epochs());
        let late = self.sent_of_late(&kept.id);
        if late.is_none() && !subscription.node.is_empty() {
            return None;
        }
        let late = late.and_then(|late| known(late, &epochs));
        Some(subscription.sent_at_most(&epochs).max(late.unwrap_or(0)))
    }

    /// The same, or what a stream that has just ended had sent and nobody has written yet.
    fn sent_of_late(&self, id: &SubscriptionId) -> Option<Cursor> {
        let book = self.book();
        let of_stream = book.owners.get(id).map(|owner| owner.sent());
        of_stream
            .map(|seq| self.0.log.cursor(seq))
            .or_else(|| book.moves.sent(id))
    }

    /// Completes what is kept of a subscription by how far its stream has come, or may have, if that is
    /// nowhere beyond `end`.
    fn tell(&self, id: &SubscriptionId, subscription: &mut Subscription, end: u64) {
        let epochs = self.0.log.epochs();
        subscription.coverage.clip(&epochs);
        let met = self.met_of_late(id);
        met.tell(&mut subscription.coverage, &epochs);
        match self.sent_of_late(id) {
            Some(sent) => {
                subscription.advance(subscription.cursor, sent, &epochs);
            }
            // Of another node, or of one that has died.
            None if !subscription.node.is_empty() => {
                subscription.lose_sight(epochs.cursor(end), &epochs);
            }
            None => {}
        }
    }

    /// What a stream of this node has met that is to be remembered with a subscription; also one that has
    /// just ended and that nobody has written yet.
    pub fn met_of_late(&self, id: &SubscriptionId) -> Met {
        let book = self.book();
        match book.owners.get(id) {
            Some(owner) => owner.met(),
            None => book.moves.met(id),
        }
    }

    /// Sets a subscription to another place; its stream ends.
    ///
    /// # Errors
    /// [`DurableError`].
    pub async fn reset(
        &self,
        id: &SubscriptionId,
        to: Cursor,
    ) -> Result<KeptSubscription, DurableError> {
        let log = &self.0.log;
        let end = log.confirm().await?;
        for _ in 0..RACES_MAX {
            let epochs = log.epochs();
            match epochs.place(to) {
                Place::Known(seq) if seq > end => {
                    let last = epochs.cursor(end);
                    return Err(DurableError::Future { cursor: to, last });
                }
                Place::Known(_) | Place::Lost(_) => {}
                Place::Foreign => return Err(DurableError::Foreign(to)),
            }
            let mut kept = self.read(id).await?;
            let (subscription, now) = (&mut kept.subscription, self.now());
            let may_stream = subscription.may_stream(now);
            self.tell(id, subscription, end);
            let sent_at_most = if may_stream {
                // Until it knows of its end.
                end
            } else {
                subscription.sent_at_most(&epochs)
            };
            subscription.reset(to, epochs.cursor(sent_at_most), now, &epochs);
            if let Some(kept) = self.put(kept).await? {
                return Ok(kept);
            }
            sleep(PAUSE).await;
        }
        Err(DurableError::Crossed(id.clone()))
    }

    /// Removes a subscription; its stream ends.
    ///
    /// # Errors
    /// [`DurableError`].
    pub async fn remove(&self, id: &SubscriptionId) -> Result<(), DurableError> {
        for _ in 0..RACES_MAX {
            let kept = self.read(id).await?;
            if (self.0.log.remove_subscription(id, kept.revision)).await? {
                self.forget(id, kept.revision + 1);
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        Err(DurableError::Crossed(id.clone()))
    }

    /// Gives a stream's place back.
    pub fn leave(&self, owner: &Arc<Owner>) {
        let mut book = self.book();
        let is_its = |known: &Arc<Owner>| Arc::ptr_eq(known, owner);
        let sent = self.0.log.cursor(owner.sent());
        if book.owners.get(owner.id()).is_some_and(is_its) {
            book.owners.remove(owner.id());
            book.moves.end(owner, sent);
        } else {
            book.moves.lose(owner, sent);
        }
        drop(book);
        self.0.to_write.notify_one();
    }

    /// A subscription, as the leader has it.
    async fn read(&self, id: &SubscriptionId) -> Result<KeptSubscription, DurableError> {
        let known = self.get(id).map(|kept| kept.revision);
        let kept = self.0.log.subscription(id).await?;
        if kept.is_none() {
            // Perhaps nothing will tell of that, not even a mark.
            self.settle(id, known, None);
        }
        kept.ok_or_else(|| DurableError::Unknown(id.clone()))
    }

    /// Writes a subscription over the state that it was made from; none if somebody was faster.
    async fn put(&self, kept: KeptSubscription) -> Result<Option<KeptSubscription>, ReadError> {
        let put = self
            .0
            .log
            .put_subscription(&kept.id, &kept.subscription, kept.revision);
        let Some(revision) = put.await? else {
            return Ok(None);
        };
        let kept = KeptSubscription { revision, ..kept };
        self.note(kept.clone());
        Ok(Some(kept))
    }

    /// How a stream that begins now is known.
    fn opening(&self) -> Opening {
        Opening {
            token: Token::from_bits(rand::random()),
            node: self.0.node.clone(),
            now: self.now(),
        }
    }

    fn now(&self) -> i64 {
        seconds((self.0.clock)())
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what nobody has used for long, and notes that open streams use theirs.
    async fn remove_idle(&self) {
        let mut look = interval(IDLE_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once: what is kept is not known yet.
        look.tick().await;
        loop {
            look.tick().await;
            let now = self.now();
            for kept in self.unused(now, USED_EVERY) {
                let owner = self.book().owners.get(&kept.id).cloned();
                if let Some(owner) = owner {
                    let sent = self.0.log.cursor(owner.sent());
                    self.book().moves.touch(&owner, sent);
                    self.0.to_write.notify_one();
                } else if is_unused(&kept.subscription, now, IDLE_MAX) {
                    self.remove_one_idle(&kept).await;
                }
            }
        }
    }

    fn unused(&self, now: i64, since: Duration) -> Vec<KeptSubscription> {
        let book = self.book();
        let all = book.kept.all();
        all.filter(|kept| is_unused(&kept.subscription, now, since))
            .cloned()
            .collect()
    }

    async fn remove_one_idle(&self, kept: &KeptSubscription) {
        let id = &kept.id;
        // Over the very state that was idle: whoever uses it meanwhile keeps it.
        match self.0.log.remove_subscription(id, kept.revision).await {
            Ok(true) => {
                self.forget(id, kept.revision + 1);
                tracing::info!(%id, "removed a subscription that nobody has used for long");
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%id, %error, "an idle subscription can't be removed"),
        }
    }
}

fn is_unused(subscription: &Subscription, now: i64, since: Duration) -> bool {
    let since = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    now.saturating_sub(subscription.used) >= since
}
