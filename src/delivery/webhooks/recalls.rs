//! What webhooks have of a recall.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    cursor::{Cursor, Epochs, Place},
    delivery::{Entry, recalls::State, webhooks::Webhooks},
    fault::Fault,
    recipient::{Had, subscription::known},
    webhook::{self, ParkedList, Progress, Webhook, WebhookId},
    wire::log::ReadError,
};

/// Webhooks that are looked up for one count of open recalls: with more that are behind, what is
/// counted is a lower bound.
const READS_MAX: usize = 1000;

/// Up to where webhooks have surely taken all recalls: they are not looked up again before there is a
/// newer one.
#[derive(Debug, Default)]
pub struct Settled(HashMap<WebhookId, (Cursor, u32)>);

impl Settled {
    fn covers(&self, webhook: &Webhook, newest: &Entry, epochs: &Epochs) -> bool {
        self.0.get(&webhook.id).is_some_and(|(at, replays)| {
            let is_past = match epochs.place(*at) {
                Place::Known(seq) => seq >= newest.seq(),
                Place::Lost(_) | Place::Foreign => false,
            };
            // A replay goes back.
            is_past && *replays == webhook.replay.number
        })
    }
}

/// How far a webhook has come.
struct Come {
    webhook: Webhook,
    progress: Progress,
    parked: ParkedList,
}

impl Webhooks {
    /// What webhooks have of a recall, by id: so many at most, after one of them.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn recalled(
        &self,
        recall: &Entry,
        after: Option<WebhookId>,
        count_max: usize,
    ) -> Result<Vec<(Webhook, State)>, Fault> {
        let mut states = Vec::new();
        for webhook in self.after(after, count_max) {
            let come = self.come(webhook).await;
            let come = come.map_err(|error| error.fault())?;
            let state = self.state(&come, recall).await;
            let state = state.map_err(|error| error.fault())?;
            states.push((come.webhook, state));
        }
        Ok(states)
    }

    /// Marks recalls, oldest first, that some webhook is to get and has not taken. One that is gone
    /// gets nothing more.
    ///
    /// # Errors
    /// [`ReadError`]: not all are marked.
    pub async fn mark_open(
        &self,
        recalls: &VecDeque<Arc<Entry>>,
        open: &mut [bool],
        settled: &mut Settled,
    ) -> Result<(), Arc<ReadError>> {
        let Some(newest) = recalls.back() else {
            return Ok(());
        };
        let epochs = self.log().epochs();
        let webhooks = self.after(None, usize::MAX);
        settled
            .0
            .retain(|id, _| webhooks.binary_search_by_key(id, |one| one.id).is_ok());
        let behind = webhooks.into_iter().filter(|webhook| {
            webhook.state != webhook::State::Gone && !settled.covers(webhook, newest, &epochs)
        });
        let behind: Vec<Webhook> = behind.take(READS_MAX).collect();
        for webhook in behind {
            let come = self.come(webhook).await?;
            let mut is_settled = true;
            for (recall, open) in recalls.iter().zip(&mut *open) {
                let is_open = match self.state(&come, recall).await? {
                    State::Outstanding | State::Sent => true,
                    State::NeverHad | State::Acknowledged => false,
                };
                is_settled &= !is_open;
                *open |= is_open;
            }
            if is_settled {
                let webhook = &come.webhook;
                let place = (come.progress.at, webhook.replay.number);
                settled.0.insert(webhook.id, place);
            }
        }
        Ok(())
    }

    /// So many webhooks at most, by id, after one of them.
    fn after(&self, after: Option<WebhookId>, count_max: usize) -> Vec<Webhook> {
        let book = self.book();
        let all = book
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after));
        all.take(count_max)
            .map(|(_, kept)| kept.value.clone())
            .collect()
    }

    async fn come(&self, webhook: Webhook) -> Result<Come, ReadError> {
        let log = self.log();
        let progress = log.progress(webhook.id).await?;
        let progress = progress.map_or_else(|| Progress::new(&webhook), |kept| kept.value);
        let parked = log.parked(webhook.id).await?.value;
        Ok(Come {
            webhook,
            progress,
            parked,
        })
    }

    async fn state(&self, come: &Come, recall: &Entry) -> Result<State, Arc<ReadError>> {
        let epochs = self.log().epochs();
        let Come {
            webhook,
            progress,
            parked,
        } = come;
        let (gate, hub) = (&self.0.parts.gate, &self.0.parts.hub);
        // Whoever is suspended gets it once it is not.
        let granted = match &webhook.partner {
            Some(partner) => gate.grant(partner),
            None => gate.subscribing(None).as_deref().cloned(),
        };
        // What its receiver refused, it was shown.
        let end = known(progress.end(&epochs), &epochs).unwrap_or(0);
        let end = end.max(self.perhaps_shown(webhook.id, progress));
        let unsent = parked.untaken(&epochs);
        let has_passed = progress.has_passed(recall.cursor, &epochs);
        let (told, had) = match progress.coverage.clone() {
            Some(mut coverage) => {
                coverage.clip(&epochs);
                let is_told = if has_passed {
                    let was_sent = hub.was_sent(&coverage, progress.at.seq, recall, &unsent);
                    was_sent.await? == Had::Yes
                } else {
                    let reaches = hub.reaches(&coverage, recall, granted.as_ref(), &unsent);
                    reaches.await?
                };
                (is_told, hub.had(&coverage, end, recall, &unsent).await?)
            }
            None => (false, Had::No),
        };
        Ok(if parked.has(recall.cursor) {
            // Its receiver has it, and refuses it: somebody must act.
            State::Outstanding
        } else if !told {
            State::of_untold(had)
        } else if has_passed {
            State::Acknowledged
        } else if progress.may_have_taken(recall.cursor, &epochs) {
            State::Sent
        } else if had == Had::No && end < recall.seq() {
            State::NeverHad
        } else {
            State::Outstanding
        })
    }
}
