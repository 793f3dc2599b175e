//! Parked: what an endpoint refused for good, sent again because somebody asks.

use std::sync::Arc;

use crate::{
    access::scope::Scope,
    article::Action,
    cursor::{Cursor, Place},
    delivery::{
        Entry,
        webhooks::{
            sending::Message,
            worker::{Halt, Worker},
        },
    },
    recipient::{Follows, Had},
    webhook::{Parked, Spec, Webhook, retry::Said},
    wire::log::ReadError,
};

/// Newer revisions of a story that are looked at.
const NEWER_MAX: usize = 256;
/// Why something stays parked that can't be read just now.
const UNREADABLE: &str = "could not be read; try again";

/// What is to be done with something parked.
enum Fate {
    /// It is sent; and after it, in order, the corrections of it that were missed.
    Send(Arc<Entry>, Vec<Arc<Entry>>),
    /// It leaves the list: a newer revision has been taken.
    Overtaken,
    /// It leaves the list unsent, because of this.
    Drop(&'static str),
    /// It stays, because of this.
    Stay(&'static str),
}

impl Worker {
    /// Sends, in order and once each, what is parked and asked for; returns whether it has come to its
    /// end, or its partner may read nothing now.
    pub(super) async fn send_parked(&mut self, webhook: &Webhook) -> Result<bool, Halt> {
        // The owner's wish, as it is now.
        self.change_parked(|_| {}).await?;
        let asked = self.parked.value.0.iter().filter(|one| one.is_asked);
        let asked: Vec<Parked> = asked.cloned().collect();
        for parked in asked {
            if self.scope(webhook).is_none() {
                return Ok(false);
            }
            let cursor = parked.cursor;
            match self.fate(webhook, &parked).await {
                Ok(Fate::Send(entry, missed)) => {
                    self.send_with_missed(webhook, &entry, &missed).await?;
                }
                Ok(Fate::Overtaken) => {
                    tracing::info!(webhook = %webhook.id, %cursor, "a parked revision is overtaken");
                    // What was taken stands for it.
                    self.change_parked(|list| drop(list.remove(cursor))).await?;
                }
                Ok(Fate::Drop(why)) => {
                    tracing::info!(webhook = %webhook.id, %cursor, why, "a parked revision is not sent");
                    self.change_parked(|list| drop(list.leave(cursor))).await?;
                }
                Ok(Fate::Stay(why)) => self.keep(cursor, why, 0).await?,
                Err(error) => {
                    tracing::debug!(webhook = %webhook.id, %error, "a parked revision can't be read");
                    self.keep(cursor, UNREADABLE, 0).await?;
                }
            }
        }
        // Of one with what it missed, the rest may have been left.
        Ok(!self.parked.value.0.iter().any(|one| one.is_asked))
    }

    /// Sends what was parked; returns whether it was taken.
    async fn send_one(&mut self, webhook: &Webhook, entry: &Entry) -> Result<bool, Halt> {
        let cursor = entry.cursor;
        if self.scope(webhook).is_none() {
            // Asked for as before, until it may be sent.
            return Ok(false);
        }
        let Some(message) = self.parked_message(webhook, cursor).await else {
            if self.webhooks.0.parts.hub.is_killed(entry) {
                self.change_parked(|list| drop(list.leave(cursor))).await?;
            } else {
                self.keep(cursor, UNREADABLE, 0).await?;
            }
            return Ok(false);
        };
        let Some((said, reason)) = self.send(webhook, &message).await? else {
            self.keep(cursor, "was not sent; try again", 0).await?;
            return Ok(false);
        };
        if !is_taken(said) {
            self.keep(cursor, &reason, 1).await?;
            return Ok(false);
        }
        self.progress.value.taken_count += 1;
        self.progress.value.last_taken = Some(self.webhooks.now());
        if !matches!(self.had_itself(entry, &[]).await, Ok(Had::Yes)) {
            // Its filter's time does not tell.
            let epochs = self.webhooks.log().epochs();
            self.progress.value.follow(&entry.stray(), &epochs);
        }
        // Not taken for unsent any more before it is kept as sent.
        self.save().await?;
        self.change_parked(|list| drop(list.remove(cursor))).await?;
        Ok(true)
    }

    /// Sends what was parked, and then, in order, the corrections that were passed over meanwhile:
    /// whoever has the one gets the others. Until they are taken they are parked, too.
    async fn send_with_missed(
        &mut self,
        webhook: &Webhook,
        entry: &Entry,
        missed: &[Arc<Entry>],
    ) -> Result<(), Halt> {
        // First: a crash in between only leaves them parked.
        for one in missed {
            let Some(message) = self.parked_message(webhook, one.cursor).await else {
                // Nothing of it stays asked for.
                self.leave(missed).await?;
                return self.keep(entry.cursor, UNREADABLE, 0).await;
            };
            let parked = Parked {
                since: self.webhooks.now(),
                reason: "what it corrects was parked".to_owned(),
                // Whoever goes on here after a stop sends it, too.
                is_asked: true,
                ..message.parked.expect("it is a revision")
            };
            self.change_parked(|list| list.put(parked.clone())).await?;
        }
        if !self.send_one(webhook, entry).await? {
            return self.leave(missed).await;
        }
        for one in missed {
            self.send_one(webhook, one).await?;
        }
        Ok(())
    }

    /// They leave the list unsent.
    async fn leave(&mut self, missed: &[Arc<Entry>]) -> Result<(), Halt> {
        self.change_parked(|list| missed.iter().for_each(|one| drop(list.leave(one.cursor))))
            .await
    }

    async fn parked_message(&self, webhook: &Webhook, cursor: Cursor) -> Option<Message> {
        match &webhook.spec {
            Spec::Standard { format, .. } => {
                let message = self.webhooks.revision(webhook, *format, cursor).await;
                message.ok().flatten()
            }
            // Nothing of a feed is put aside.
            Spec::Websub { .. } => None,
        }
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
    async fn fate(&self, webhook: &Webhook, parked: &Parked) -> Result<Fate, Arc<ReadError>> {
        let hub = &self.webhooks.0.parts.hub;
        let Place::Known(seq) = hub.log().epochs().place(parked.cursor) else {
            return Ok(Fate::Drop("the log has lost it"));
        };
        let Some(entry) = hub.entry_at(seq).await?.filter(|one| !hub.is_killed(one)) else {
            return Ok(Fate::Drop(
                "its story is killed, or the log keeps it no more",
            ));
        };
        let unsent = self.parked.value.untaken(&hub.log().epochs());
        let mut missed = Vec::new();
        for one in &self.newer(&entry).await? {
            if one.stored.record.action.is_notice() {
                return Ok(Fate::Drop("its story has been taken back"));
            }
            let is_correction = one.stored.record.action == Action::Correct;
            match self.had_itself(one, &unsent).await? {
                Had::Yes => return Ok(Fate::Overtaken),
                // A recall is not left out for what may not have been taken. And a correction that
                // followed and was taken is remembered.
                Had::Maybe if !parked.is_recall() && !is_correction => {
                    return Ok(Fate::Stay(
                        "a newer revision may have been taken; drop this one, or replay",
                    ));
                }
                Had::Maybe | Had::No => {}
            }
            if is_correction && self.has_passed(one) && !self.parked.value.has(one.cursor) {
                missed.push(Arc::clone(one));
            }
        }
        missed.reverse();
        let gate = &self.webhooks.0.parts.gate;
        let granted = gate.subscribing(webhook.partner.as_ref());
        let facets = entry.facets();
        let opens = granted
            .as_ref()
            .is_some_and(|scope| scope.opens(facets.topics, facets.language));
        let has_text = !entry.stored.record.action.is_notice();
        if has_text && !opens && !self.follows(&entry, granted.as_deref()).await? {
            return Ok(Fate::Stay("its partner may not read it any more"));
        }
        Ok(Fate::Send(entry, missed))
    }

    /// The revisions of an article after one, newest first, as far as so many tell.
    async fn newer(&self, entry: &Entry) -> Result<Vec<Arc<Entry>>, ReadError> {
        let hub = &self.webhooks.0.parts.hub;
        let mut newer = Vec::new();
        let mut next = hub.head(entry.article_id()).await?;
        while let Some(one) = next
            && one.seq() > entry.seq()
            && newer.len() < NEWER_MAX
        {
            next = hub.entry_at(one.stored.record.prior_revision_seq).await?;
            newer.push(one);
        }
        Ok(newer)
    }

    fn has_passed(&self, entry: &Entry) -> bool {
        let epochs = self.webhooks.log().epochs();
        self.progress.value.has_passed(entry.cursor, &epochs)
    }

    /// Whether a revision was sent and taken; `unsent` as for [`Past::had`](crate::recipient::Past::had).
    async fn had_itself(&self, entry: &Entry, unsent: &[u64]) -> Result<Had, Arc<ReadError>> {
        let progress = &self.progress.value;
        let Some(coverage) = progress
            .coverage
            .as_ref()
            .filter(|_| self.has_passed(entry))
        else {
            return Ok(Had::No);
        };
        let hub = &self.webhooks.0.parts.hub;
        hub.was_sent(coverage, progress.at.seq, entry, unsent).await
    }

    /// Whether a revision goes to the webhook whatever its filter is: it corrects, or takes back, what
    /// that was sent.
    async fn follows(
        &self,
        entry: &Entry,
        granted: Option<&Scope>,
    ) -> Result<bool, Arc<ReadError>> {
        let Some(coverage) = &self.progress.value.coverage else {
            return Ok(false);
        };
        let hub = &self.webhooks.0.parts.hub;
        let (past, unsent) = (
            coverage.past(),
            self.parked.value.untaken(&hub.log().epochs()),
        );
        match past.follows(&entry.revised(), granted, &unsent) {
            Follows::No => Ok(false),
            Follows::Yes => Ok(true),
            Follows::IfHadText => hub.had_text(past, entry, &unsent).await,
        }
    }
}

fn is_taken(said: Said) -> bool {
    let status = said.status();
    status.is_some_and(|status| (200..300).contains(&status))
}
