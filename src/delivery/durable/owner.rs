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
    delivery::durable::DurableError,
    recipient::{
        FOLLOWED_MAX, Stray,
        subscription::{SubscriptionId, Token},
    },
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

/// A stream that a durable subscription belongs to, until it is told otherwise.
#[derive(Debug)]
pub struct Owner {
    id: SubscriptionId,
    token: Token,
    /// Up to here everything was handed to the connection.
    sent: AtomicU64,
    /// What was handed to it and is to be remembered.
    strays: Mutex<Vec<Stray>>,
    /// 0 = it is the owner; else one more than an [`End`].
    end: AtomicU8,
    waker: AtomicWaker,
}

impl Owner {
    /// The owner of this token.
    pub fn new(id: SubscriptionId, token: Token, sent: u64) -> Self {
        Self {
            id,
            token,
            sent: AtomicU64::new(sent),
            strays: Mutex::default(),
            end: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Which subscription.
    pub fn id(&self) -> &SubscriptionId {
        &self.id
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
        let mut strays = self.strays.lock().expect("no panic under this lock");
        strays.extend(new);
        // More are not kept.
        let surplus = strays.len().saturating_sub(FOLLOWED_MAX);
        strays.drain(..surplus);
    }

    /// All of that.
    pub fn strays(&self) -> Vec<Stray> {
        self.strays
            .lock()
            .expect("no panic under this lock")
            .clone()
    }

    /// It is the owner no more.
    pub fn end(&self, end: End) {
        let number = match end {
            End::TakenOver => 1,
            End::Reset => 2,
            End::Removed => 3,
        };
        self.end.store(number, Ordering::Release);
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

    /// Asks to be woken at its end; whoever waits looks once more after this.
    pub fn wait(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}
