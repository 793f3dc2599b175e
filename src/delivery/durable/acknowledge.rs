//! Acknowledgements: written together, each subscription's latest for all before it, and answered
//! once they are stored.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::Display,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{
    sync::oneshot,
    time::{Duration, Instant, sleep},
};

use crate::{
    cursor::{Cursor, Place},
    delivery::durable::{
        DurableError, Durables, PAUSE, USED_EVERY, is_unused,
        owner::{Met, Owner},
    },
    recipient::subscription::{Subscription as Kept, SubscriptionId, Token, is_ahead},
    wire::log::{ReadError, batch::BATCH_LEN_MAX, subscriptions::KeptSubscription},
};

/// Subscriptions that are written at a time: those of the batch on its way to the disk, and those of
/// the next.
const WRITES_MAX: usize = 2 * BATCH_LEN_MAX;
/// Acknowledgements of one subscription that may wait for one write; more are told to come back.
const WAITERS_MAX: usize = 1024;
/// How long one subscription's write is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// How an acknowledgement ends: the place that is stored, or why it is not.
type Stored = Result<Cursor, MoveError>;

/// Why a place is not written, for all who wait for it.
#[derive(Clone, Copy, Debug)]
enum MoveError {
    TakenOver,
    Unknown,
    Unavailable,
}

/// How far a subscription is to be moved.
#[derive(Debug)]
struct Move {
    token: Token,
    /// The place to acknowledge, if any.
    cursor: Option<Cursor>,
    /// Up to where its stream has sent, if that is known.
    sent: Option<Cursor>,
    /// What that has met.
    met: Met,
    /// Whether its stream has ended.
    is_over: bool,
    waiters: Vec<oneshot::Sender<Stored>>,
}

/// One write.
#[derive(Debug)]
enum Work {
    Move(SubscriptionId, Move),
    Former(Former),
}

/// What is to be written: at most one move for each subscription.
#[derive(Debug, Default)]
pub struct Moves {
    moves: HashMap<SubscriptionId, Move>,
    /// Those that nobody writes, first come first served.
    waiting: VecDeque<SubscriptionId>,
    being_written: HashSet<SubscriptionId>,
    /// Streams that are nobody's any more, beside the moves.
    formers: VecDeque<Former>,
}

/// A stream that was its subscription's until another took over.
#[derive(Debug)]
struct Former {
    id: SubscriptionId,
    /// When that was made.
    created: i64,
    /// Up to where it has sent.
    sent: Cursor,
    met: Met,
}

impl Moves {
    /// A stream has ended, having sent everything up to a place.
    pub fn end(&mut self, owner: &Owner, sent: Cursor) {
        let to_move = self.of(owner.id(), owner.token());
        to_move.sent = Some(sent);
        to_move.met = owner.met();
        to_move.is_over = true;
    }

    /// A stream was taken over, or its subscription set to another place: what it sent until it knew is
    /// not known yet.
    pub fn lose(&mut self, owner: &Owner, sent: Cursor) {
        self.formers.push_back(Former {
            id: owner.id().clone(),
            created: owner.created(),
            sent,
            met: owner.met(),
        });
    }

    /// What a stream of a subscription has met that ended and was not written yet.
    pub fn met(&self, id: &SubscriptionId) -> Met {
        let of = self.moves.get(id);
        of.map(|to_move| to_move.met.clone()).unwrap_or_default()
    }

    /// Up to where a stream of a subscription has sent that ended and was not written yet.
    pub fn sent(&self, id: &SubscriptionId) -> Option<Cursor> {
        self.moves.get(id)?.sent
    }

    /// A stream goes on.
    pub fn touch(&mut self, owner: &Owner, sent: Cursor) {
        self.of(owner.id(), owner.token()).sent = Some(sent);
    }

    /// The move of a subscription under this token.
    fn of(&mut self, id: &SubscriptionId, token: &Token) -> &mut Move {
        let new = || Move {
            token: token.clone(),
            cursor: None,
            sent: None,
            met: Met::default(),
            is_over: false,
            waiters: Vec::new(),
        };
        if !self.moves.contains_key(id) && !self.being_written.contains(id) {
            self.waiting.push_back(id.clone());
        }
        let known = self.moves.entry(id.clone()).or_insert_with(new);
        if known.token != *token {
            // The later token is the one that counts.
            let former = std::mem::replace(known, new());
            former.answer(Err(MoveError::TakenOver));
        }
        known
    }

    /// The next to write.
    fn next(&mut self) -> Option<(SubscriptionId, Move)> {
        let id = self.waiting.pop_front()?;
        let to_move = self.moves.remove(&id)?;
        self.being_written.insert(id.clone());
        Some((id, to_move))
    }

    /// Nobody writes any more: what was being written, and has more to come, waits again.
    pub fn begin_again(&mut self) {
        self.being_written.clear();
        self.waiting = self.moves.keys().cloned().collect();
    }

    /// One is written.
    fn written(&mut self, id: &SubscriptionId) {
        self.being_written.remove(id);
        if self.moves.contains_key(id) {
            self.waiting.push_back(id.clone());
        }
    }
}

impl Move {
    fn answer(self, stored: Stored) {
        for waiter in self.waiters {
            // Whoever has gone does not want to know.
            let _gone = waiter.send(stored);
        }
    }
}

impl Durables {
    /// Acknowledges everything up to a place, for the stream of a token. Returns the place that is
    /// stored, which may be further.
    ///
    /// # Errors
    /// [`DurableError`].
    pub async fn acknowledge(
        &self,
        id: &SubscriptionId,
        token: &str,
        cursor: Cursor,
    ) -> Result<Cursor, DurableError> {
        let subscription = self.of_token(id, token).await?;
        let cursor = self.reached(cursor).await?;
        let (log, epochs) = (&self.0.log, self.0.log.epochs());
        if !is_ahead(cursor, subscription.cursor, &epochs) {
            return Ok(subscription.cursor);
        }
        let stored = {
            let mut book = self.book();
            let to_move = book.moves.of(id, &subscription.token);
            if to_move.waiters.len() >= WAITERS_MAX {
                return Err(DurableError::Busy(id.clone()));
            }
            let known = to_move.cursor.get_or_insert(cursor);
            if is_ahead(cursor, *known, &epochs) {
                *known = cursor;
            }
            let (waiter, stored) = oneshot::channel();
            to_move.waiters.push(waiter);
            stored
        };
        self.0.to_write.notify_one();
        match stored.await {
            Ok(Ok(cursor)) => {
                log.metrics().recipients.acknowledgements.inc();
                Ok(cursor)
            }
            Ok(Err(MoveError::TakenOver)) => Err(DurableError::TakenOver(id.clone())),
            Ok(Err(MoveError::Unknown)) => Err(DurableError::Unknown(id.clone())),
            // The writer has ended with the process.
            Ok(Err(MoveError::Unavailable)) | Err(_) => Err(ReadError::Unavailable(None).into()),
        }
    }

    /// A subscription, if its stream has this token.
    async fn of_token(&self, id: &SubscriptionId, token: &str) -> Result<Kept, DurableError> {
        let known = self.get(id).map(|kept| kept.subscription);
        if let Some(known) = known.filter(|known| known.token.is(token)) {
            return Ok(known);
        }
        // It may have been opened a moment ago on another node.
        let kept = self.read(id).await?;
        self.note(kept.clone());
        if kept.subscription.token.is(token) {
            Ok(kept.subscription)
        } else {
            Err(DurableError::TakenOver(id.clone()))
        }
    }

    /// A place that the log has reached.
    async fn reached(&self, cursor: Cursor) -> Result<Cursor, DurableError> {
        let log = &self.0.log;
        match log.epochs().place(cursor) {
            Place::Known(seq) if seq > log.read_up_to() => {
                let end = log.confirm().await?;
                if seq > end {
                    let last = log.cursor(end);
                    return Err(DurableError::Future { cursor, last });
                }
                Ok(cursor)
            }
            Place::Known(_) => Ok(cursor),
            // What came after it is lost with it.
            Place::Lost(to) => Ok(to),
            Place::Foreign => Err(DurableError::Foreign(cursor)),
        }
    }

    /// Writes what is to be written, for ever.
    pub(super) async fn write_all(&self) {
        loop {
            self.write_waiting().await;
            self.0.to_write.notified().await;
        }
    }

    /// Writes what is to be written until nothing is.
    pub(super) async fn write_waiting(&self) {
        let mut writes = FuturesUnordered::new();
        loop {
            while writes.len() < WRITES_MAX
                && let Some(work) = self.next_work()
            {
                writes.push(self.work(work));
            }
            tokio::select! {
                biased;
                written = writes.next() => match written {
                    Some(Some(id)) => self.book().moves.written(&id),
                    Some(None) => {}
                    None => return,
                },
                // A permit that is dropped with the others' ends is taken in the next round.
                () = self.0.to_write.notified(), if writes.len() < WRITES_MAX => {}
            }
        }
    }

    fn next_work(&self) -> Option<Work> {
        let moves = &mut self.book().moves;
        let former = moves.formers.pop_front().map(Work::Former);
        former.or_else(|| moves.next().map(|(id, to_move)| Work::Move(id, to_move)))
    }

    /// Writes one; returns the subscription of a move.
    async fn work(&self, work: Work) -> Option<SubscriptionId> {
        match work {
            Work::Move(id, to_move) => {
                let stored = self.try_write(&id, &to_move).await;
                to_move.answer(stored);
                Some(id)
            }
            Work::Former(former) => {
                if let Err(error) = self.write_former(&former).await {
                    let id = &former.id;
                    tracing::warn!(%id, %error, "how far a stream came can't be written");
                }
                None
            }
        }
    }

    /// Whoever has taken over did not know what the former stream sent until its end.
    async fn write_former(&self, former: &Former) -> Result<(), DurableError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let written = self.try_write_former(former).await;
            match written {
                Ok(true) | Err(DurableError::Unknown(_)) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Ok(false) | Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn try_write_former(&self, former: &Former) -> Result<bool, DurableError> {
        let known = self.get(&former.id);
        if known.is_some_and(|mut known| !self.tell_former(former, &mut known.subscription)) {
            // As a rule whoever took over knew.
            return Ok(true);
        }
        let mut kept = self.read(&former.id).await?;
        if !self.tell_former(former, &mut kept.subscription) {
            return Ok(true);
        }
        Ok(self.put(kept).await?.is_some())
    }

    /// Completes what is kept by what a former stream has sent; returns whether anything is new.
    fn tell_former(&self, former: &Former, subscription: &mut Kept) -> bool {
        if subscription.created != former.created {
            // It was removed, and its name is another's now.
            return false;
        }
        let epochs = self.0.log.epochs();
        let sent = subscription.sent_at_most(&epochs);
        subscription.coverage.clip(&epochs);
        subscription.lose_sight(former.sent, &epochs);
        let has_met = former.met.tell(&mut subscription.coverage, &epochs);
        has_met || subscription.sent_at_most(&epochs) != sent
    }

    async fn try_write(&self, id: &SubscriptionId, to_move: &Move) -> Stored {
        let log = &self.0.log;
        let deadline = Instant::now() + PATIENCE;
        let mut known = self.get(id);
        loop {
            let is_its = |kept: &KeptSubscription| kept.subscription.token == to_move.token;
            let mut kept = match known.take().filter(is_its) {
                Some(kept) => kept,
                None => match self.read(id).await {
                    Ok(kept) if is_its(&kept) => kept,
                    Ok(kept) => {
                        self.note(kept);
                        return Err(MoveError::TakenOver);
                    }
                    Err(DurableError::Unknown(_)) => return Err(MoveError::Unknown),
                    Err(error) => {
                        late(&error, deadline)?;
                        sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let subscription = &mut kept.subscription;
            let epochs = log.epochs();
            let cursor = to_move.cursor.unwrap_or(subscription.cursor);
            let here = self.sent_here(id).map(|seq| epochs.cursor(seq));
            let sent = to_move.sent.or(here).unwrap_or(cursor);
            let mut has_moved = subscription.advance(cursor, sent, &epochs);
            subscription.coverage.clip(&epochs);
            for met in [&to_move.met, &self.met_of_late(id)] {
                has_moved |= met.tell(&mut subscription.coverage, &epochs);
            }
            let (now, place) = (self.now(), subscription.cursor);
            let is_left = to_move.is_over && !subscription.node.is_empty();
            if !has_moved && !is_left && !is_unused(subscription, now, USED_EVERY) {
                // Written already, if nobody said so.
                return Ok(place);
            }
            if is_left {
                subscription.node.clear();
            }
            subscription.used = now;
            match self.put(kept).await {
                Ok(Some(_)) => return Ok(place),
                // Somebody has changed it: look at it anew.
                Ok(None) => {}
                Err(error) => {
                    late(&error, deadline)?;
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

fn late(error: &impl Display, deadline: Instant) -> Result<(), MoveError> {
    if Instant::now() >= deadline {
        tracing::warn!(%error, "the place of a subscription can't be written");
        return Err(MoveError::Unavailable);
    }
    Ok(())
}
