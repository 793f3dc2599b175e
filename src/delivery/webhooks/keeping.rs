//! Keeping: what a worker writes down, over outages and over changes by others.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    delivery::webhooks::worker::{Halt, Worker},
    webhook::ParkedList,
    wire::log::webhooks::Kept,
};

/// Pause before progress that is not kept is kept again.
const SAVE_PAUSE: Duration = Duration::from_millis(100);
/// How long what has been sent already may still be kept after a stop.
const LAST_SAVE: Duration = Duration::from_secs(2);

/// What is seen of a worker from outside.
#[derive(Debug, Default)]
pub(super) struct Seen {
    parked: AtomicU32,
    recalls: AtomicU32,
    is_failing: AtomicBool,
}

impl Seen {
    /// Parked news, parked recalls, and whether what comes next has failed.
    pub(super) fn read(&self) -> (u32, u32, bool) {
        (
            self.parked.load(Ordering::Relaxed),
            self.recalls.load(Ordering::Relaxed),
            self.is_failing.load(Ordering::Relaxed),
        )
    }

    /// What comes next has failed, or not.
    pub(super) fn fails(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// This much is parked.
    pub(super) fn parks(&self, parked: &ParkedList) {
        let recalls = u32::try_from(parked.recall_count()).unwrap_or(u32::MAX);
        let all = u32::try_from(parked.0.len()).unwrap_or(u32::MAX);
        self.recalls.store(recalls, Ordering::Relaxed);
        self.parked.store(all - recalls, Ordering::Relaxed);
    }
}

impl Worker {
    /// Keeps how far it has come, before anything else is sent. What has been sent is sent, so it is
    /// tried for as long as nobody else has taken over.
    pub(super) async fn save(&mut self) -> Result<(), Halt> {
        let id = self.webhook.borrow().id;
        let log = self.webhooks.log().clone();
        let stop = self.stop.clone();
        let saved = async {
            loop {
                let (value, revision) = (&self.progress.value, self.progress.revision);
                match log.put_progress(id, value, revision).await {
                    Ok(Some(revision)) => break Ok(revision),
                    Ok(None) => {
                        // An earlier try may have been kept without an answer.
                        if let Ok(kept) = log.progress(id).await {
                            let own = kept.filter(|kept| kept.value == *value);
                            break own.map(|own| own.revision).ok_or(Halt::Lost);
                        }
                    }
                    Err(error) => {
                        tracing::debug!(webhook = %id, %error, "progress is not kept; trying again");
                    }
                }
                sleep(SAVE_PAUSE).await;
            }
        };
        let given_up = async {
            stop.cancelled().await;
            sleep(LAST_SAVE).await;
        };
        let revision = tokio::select! {
            biased;
            saved = saved => saved?,
            // Sent again by whoever takes over: at least once.
            () = given_up => return Err(Halt::Stopped),
        };
        self.progress.revision = revision;
        self.kept_at = Instant::now();
        Ok(())
    }

    /// Changes what is parked, over changes by the webhook's owner.
    pub(super) async fn change_parked(
        &mut self,
        change: impl Fn(&mut ParkedList),
    ) -> Result<(), Halt> {
        let id = self.webhook.borrow().id;
        let log = self.webhooks.log().clone();
        loop {
            let read = log.parked(id).await;
            let done = match read {
                Ok(mut parked) => {
                    change(&mut parked.value);
                    let kept = log.put_parked(id, &parked.value, parked.revision).await;
                    kept.map(|kept| kept.map(|revision| (parked.value, revision)))
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(Some((value, revision))) => {
                    self.seen.parks(&value);
                    self.parked = Kept { value, revision };
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(webhook = %id, %error, "can't park; trying again"),
            }
            tokio::select! {
                biased;
                halt = self.halted() => return Err(halt),
                // A pause that is dropped has done nothing.
                () = sleep(SAVE_PAUSE) => {}
            }
        }
    }
}
