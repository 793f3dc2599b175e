//! Turns: one submission at a time for one article, first come first served.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::OwnedMutexGuard;

use crate::article::ArticleId;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// Who is working on which article.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<HashMap<ArticleId, Lock>>>);

/// The right to work on an article, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    id: ArticleId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the right to work on an article. The place in the queue is taken at the first
    /// poll.
    pub async fn take(&self, id: ArticleId) -> Turn {
        let lock = {
            let mut turns = self.0.lock().expect("no panic under this lock");
            Arc::clone(turns.entry(id).or_default())
        };
        // Made before waiting, so that a caller who goes away while waiting also tidies up.
        let mut turn = Turn {
            turns: self.clone(),
            id,
            guard: None,
        };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut turns = self.turns.0.lock().expect("no panic under this lock");
        // Two references would be the map's and somebody's who waits or works.
        if turns
            .get(&self.id)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            turns.remove(&self.id);
        }
    }
}
