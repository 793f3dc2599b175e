//! What webhooks have of a recall.

use crate::{
    cursor::{Epochs, Place},
    delivery::{Entry, recalls::State, webhooks::Webhooks},
    fault::Fault,
    webhook::{ParkedList, Progress, Webhook, WebhookId},
};

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
        let webhooks: Vec<Webhook> = {
            let book = self.book();
            let all = book
                .iter()
                .filter(|(id, _)| after.is_none_or(|after| **id > after));
            all.take(count_max)
                .map(|(_, kept)| kept.value.clone())
                .collect()
        };
        let epochs = self.log().epochs();
        let mut states = Vec::with_capacity(webhooks.len());
        for webhook in webhooks {
            let progress = self.log().progress(webhook.id).await;
            let progress = progress.map_err(|error| error.fault())?;
            let progress = progress.map_or_else(|| Progress::new(&webhook), |kept| kept.value);
            let parked = self.log().parked(webhook.id).await;
            let parked = parked.map_err(|error| error.fault())?.value;
            let granted = self.0.parts.gate.subscribing(webhook.partner.as_ref());
            let reaches = progress.coverage.clone().is_some_and(|mut coverage| {
                coverage.clip(&epochs);
                coverage.reaches(recall.seq(), &recall.revised(), granted.as_deref())
            });
            let state = if reaches {
                state(&progress, &parked, recall, &epochs)
            } else {
                State::NeverHad
            };
            states.push((webhook, state));
        }
        Ok(states)
    }
}

fn state(progress: &Progress, parked: &ParkedList, recall: &Entry, epochs: &Epochs) -> State {
    let is_parked = parked.0.iter().any(|one| one.cursor == recall.cursor);
    let is_past = match epochs.place(progress.at) {
        Place::Known(seq) => seq >= recall.seq(),
        Place::Lost(_) | Place::Foreign => false,
    };
    if is_parked {
        // Its receiver has it, and refuses it: somebody must act.
        State::Outstanding
    } else if is_past {
        State::Acknowledged
    } else if progress.failing_at(recall.cursor).is_some() {
        State::Sent
    } else {
        State::Outstanding
    }
}
