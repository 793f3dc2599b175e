//! Owner: the stream of a durable subscription on this node.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;

use crate::{
    cursor::{Cursor, Epochs, Place},
    delivery::durable::DurableError,
    recipient::{
        Coverage, FOLLOWED_MAX, Stray,
        subscription::{SubscriptionId, Token},
    },
    wire::log::subscriptions::KeptSubscription,
};

/// Why a stream is not its subscription's any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Another stream has taken it over.
    TakenOver,
    /// It was set to another place.
    Reset,
    /// It was removed.
    Removed,
}

/// Most parts that were gone which a stream keeps; all are written as soon as they are met.
const GONE_MAX: usize = 64;

/// What a stream has met that is to be remembered with its subscription.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// What was handed to its connection though its filter does not want it.
    strays: Vec<Stray>,
    /// What was gone: after which sequence, up to where it may have been sent before, and up to where.
    gone: Vec<(u64, u64, Cursor)>,
}

impl Met {
    /// Completes what was sent by it, as far as the log has not lost that; returns whether anything is
    /// new.
    pub fn tell(&self, coverage: &mut Coverage, epochs: &Epochs) -> bool {
        let mut is_new = false;
        for stray in &self.strays {
            is_new |= coverage.follow(stray);
        }
        for (after, perhaps, to) in &self.gone {
            let to = match epochs.place(*to) {
                Place::Known(_) => *to,
                Place::Lost(to) => to,
                Place::Foreign => continue,
            };
            is_new |= coverage.leave_out(*after, *perhaps, to);
        }
        is_new
    }
}

/// A stream that a durable subscription belongs to, until it is told otherwise.
#[derive(Debug)]
pub struct Owner {
    id: SubscriptionId,
    /// When that was made, in seconds from 1970: another may get its name.
    created: i64,
    token: Token,
    /// Up to here everything was handed to the connection.
    sent: AtomicU64,
    met: Mutex<Met>,
    /// Up to here an earlier stream may have sent.
    perhaps: u64,
    /// 0 = it is the owner; else one more than an [`End`].
    end: AtomicU8,
    waker: AtomicWaker,
}

impl Owner {
    /// The owner of a subscription as it is kept now, of which nothing was sent before beyond
    /// `perhaps`.
    pub fn new(kept: &KeptSubscription, perhaps: u64) -> Self {
        let subscription = &kept.subscription;
        Self {
            id: kept.id.clone(),
            created: subscription.created,
            token: subscription.token.clone(),
            sent: AtomicU64::new(subscription.sent.seq),
            met: Mutex::default(),
            perhaps,
            end: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Which subscription.
    pub fn id(&self) -> &SubscriptionId {
        &self.id
    }

    /// When that was made, in seconds from 1970.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// What its subscriber shows.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Up to where everything was handed to its connection.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Everything up to this sequence was handed to its connection.
    pub fn sends(&self, seq: u64) {
        self.sent.store(seq, Ordering::Relaxed);
    }

    /// This was handed to its connection and is to be remembered.
    pub fn follows(&self, new: Vec<Stray>) {
        let mut met = self.met.lock().expect("no panic under this lock");
        met.strays.extend(new);
        // More are not kept.
        let surplus = met.strays.len().saturating_sub(FOLLOWED_MAX);
        met.strays.drain(..surplus);
    }

    /// What lies there was gone when its turn came.
    pub fn leaves_out(&self, after: u64, to: Cursor) {
        let mut met = self.met.lock().expect("no panic under this lock");
        met.gone.push((after, self.perhaps, to));
        let surplus = met.gone.len().saturating_sub(GONE_MAX);
        met.gone.drain(..surplus);
    }

    /// What it has met.
    pub fn met(&self) -> Met {
        self.met.lock().expect("no panic under this lock").clone()
    }

    /// It is the owner no more.
    pub fn end(&self, end: End) {
        let number = match end {
            End::TakenOver => 1,
            End::Reset => 2,
            End::Removed => 3,
        };
        self.end.store(number, Ordering::Release);
        self.wake();
    }

    /// Wakes its stream.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Whether it still is the owner.
    ///
    /// # Errors
    /// Why it is not.
    pub fn stands(&self) -> Result<(), DurableError> {
        let id = || self.id.clone();
        match self.end.load(Ordering::Acquire) {
            0 => Ok(()),
            1 => Err(DurableError::TakenOver(id())),
            2 => Err(DurableError::Reset(id())),
            _ => Err(DurableError::Unknown(id())),
        }
    }

    /// Asks to be woken, at its end at the latest; whoever waits looks once more after this.
    pub fn wait(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}
