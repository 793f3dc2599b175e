//! Parked: what an endpoint refused for good, sent again because somebody asks.

use std::sync::Arc;

use crate::{
    access::scope::Scope,
    article::Action,
    cursor::{Cursor, Place},
    delivery::{
        Entry,
        webhooks::worker::{Halt, Worker},
    },
    webhook::{Parked, Spec, Webhook},
    wire::log::ReadError,
};

/// What is to be done with something parked.
enum Fate {
    /// It is sent.
    Send,
    /// It leaves the list unsent, because of this.
    Drop(&'static str),
    /// It stays, because of this.
    Stay(&'static str),
}

impl Worker {
    /// Sends, in order and once each, what is parked and asked for.
    pub(super) async fn send_parked(&mut self, webhook: &Webhook) -> Result<(), Halt> {
        // The owner's wish, as it is now.
        self.change_parked(|_| {}).await?;
        let asked = self.parked.value.0.iter().filter(|one| one.is_asked);
        let asked: Vec<Parked> = asked.cloned().collect();
        for parked in asked {
            let cursor = parked.cursor;
            match self.fate(webhook, &parked).await {
                Ok(Fate::Send) => self.send_one(webhook, parked).await?,
                Ok(Fate::Drop(why)) => {
                    tracing::info!(webhook = %webhook.id, %cursor, why, "a parked revision is not sent");
                    self.change_parked(|list| drop(list.remove(cursor))).await?;
                }
                Ok(Fate::Stay(why)) => self.keep(cursor, why, 0).await?,
                Err(error) => {
                    tracing::debug!(webhook = %webhook.id, %error, "a parked revision can't be read");
                    self.keep(cursor, "could not be read; try again", 0).await?;
                }
            }
        }
        Ok(())
    }

    async fn send_one(&mut self, webhook: &Webhook, parked: Parked) -> Result<(), Halt> {
        let cursor = parked.cursor;
        let webhooks = self.webhooks.clone();
        let message = match &webhook.spec {
            Spec::Standard { format, .. } => webhooks.revision(webhook, *format, cursor).await,
            // Nothing of a feed is put aside.
            Spec::Websub { .. } => Ok(None),
        };
        let Ok(Some(message)) = message else {
            return self.keep(cursor, "could not be read; try again", 0).await;
        };
        let Some((said, reason)) = self.send(webhook, &message).await? else {
            return self.keep(cursor, "was not sent; try again", 0).await;
        };
        if said
            .status()
            .is_some_and(|status| (200..300).contains(&status))
        {
            self.progress.value.taken_count += 1;
            self.progress.value.last_taken = Some(webhooks.now());
            return self.change_parked(|list| drop(list.remove(cursor))).await;
        }
        self.keep(cursor, &reason, 1).await
    }

    /// It stays on the list, and waits for the next wish.
    async fn keep(&mut self, cursor: Cursor, reason: &str, tries: u32) -> Result<(), Halt> {
        self.change_parked(|list| {
            let one = list.0.iter_mut().find(|one| one.cursor == cursor);
            if let Some(one) = one {
                reason.clone_into(&mut one.reason);
                one.tries += tries;
                one.is_asked = false;
            }
        })
        .await
    }

    /// What becomes of something parked: nothing is sent that a newer revision has overtaken or taken
    /// back, or that its partner may not read.
    async fn fate(&self, webhook: &Webhook, parked: &Parked) -> Result<Fate, ReadError> {
        let hub = &self.webhooks.0.parts.hub;
        let Place::Known(seq) = hub.log().epochs().place(parked.cursor) else {
            return Ok(Fate::Drop("the log has lost it"));
        };
        let Some(entry) = hub.entry_at(seq).await?.filter(|one| !hub.is_killed(one)) else {
            return Ok(Fate::Drop(
                "its story is killed, or the log keeps it no more",
            ));
        };
        let record = &entry.stored.record;
        if let Some(head) = hub.head(record.article_id).await?
            && head.seq() > seq
        {
            match head.stored.record.action {
                Action::Withhold | Action::Kill => {
                    return Ok(Fate::Drop("its story has been taken back"));
                }
                Action::Publish | Action::Update | Action::Correct
                    if self.has_taken(webhook, &head) =>
                {
                    return Ok(Fate::Drop("a newer revision has been taken"));
                }
                Action::Publish | Action::Update | Action::Correct => {}
            }
        }
        let has_text = !matches!(record.action, Action::Withhold | Action::Kill);
        let facets = entry.facets();
        let granted = self.granted(webhook);
        let opens = granted
            .as_ref()
            .is_some_and(|scope| scope.opens(facets.topics, facets.language));
        if has_text && !opens && !self.follows(&entry, granted.as_deref()) {
            return Ok(Fate::Stay("its partner may not read it any more"));
        }
        Ok(Fate::Send)
    }

    /// Whether a revision surely was sent in its turn, and taken.
    fn has_taken(&self, webhook: &Webhook, entry: &Entry) -> bool {
        let epochs = self.webhooks.log().epochs();
        let progress = &self.progress.value;
        if !progress.has_passed(entry.cursor, &epochs) || self.parked.value.has(entry.cursor) {
            return false;
        }
        let Some(coverage) = &progress.coverage else {
            return false;
        };
        let mut counted = coverage.counted_at(entry.seq(), progress.at.seq);
        counted.any(|filter| entry.matches(filter))
            || self.follows(entry, self.granted(webhook).as_deref())
    }

    /// Whether a revision goes to the webhook whatever its filter is: it corrects, or takes back, what
    /// that was sent.
    fn follows(&self, entry: &Entry, granted: Option<&Scope>) -> bool {
        let unsent = self.parked.value.seqs(&self.webhooks.log().epochs());
        let coverage = self.progress.value.coverage.as_ref();
        coverage.is_some_and(|coverage| {
            let past = coverage.past();
            past.calls_for(&entry.revised(), granted, &unsent)
        })
    }

    fn granted(&self, webhook: &Webhook) -> Option<Arc<Scope>> {
        let gate = &self.webhooks.0.parts.gate;
        gate.subscribing(webhook.partner.as_ref())
    }
}
