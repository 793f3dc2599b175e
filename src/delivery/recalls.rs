//! Recalls: whom the corrections, withholdings and kills have reached.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    article::{Action, ArticleId},
    delivery::{
        Entry,
        hub::Hub,
        webhooks::{Webhooks, recalls::Settled},
    },
    recipient::{Had, subscription::known},
    wire::log::{ReadError, subscriptions::KeptSubscription},
};

/// Stories whose last recall is looked at; the oldest recall is forgotten first.
const RECALLS_MAX: usize = 1024;
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Recipients that are judged in one look: with more, what is counted is a lower bound.
const JUDGED_MAX: usize = 200_000;
/// Recipients that are judged before others get a turn.
const JUDGED_AT_ONCE: usize = 2_000;
/// Entries that are taken from the ring at a time.
const ENTRIES: usize = 256;
/// Revisions of a story that are looked at for its last recall.
const STEPS_MAX: usize = 1000;

/// What a recipient has of a recall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, and it was sent no revision of the story: it gets nothing, or is behind it and gets the
    /// recall in its turn.
    NeverHad,
    /// Nothing yet, or it refuses it.
    Outstanding,
    /// It was sent the recall.
    Sent,
    /// It has acknowledged the recall.
    Acknowledged,
}

impl State {
    /// That of a recipient to whom nothing surely brings the recall, or has: a correction is text, which
    /// does not go beyond the grant to whom only may have had the story. Then somebody must see to it.
    pub fn of_untold(had: Had) -> Self {
        match had {
            Had::No => Self::NeverHad,
            Had::Maybe | Had::Yes => Self::Outstanding,
        }
    }
}

/// Whether a revision takes something back.
pub fn is_recall(action: Action) -> bool {
    match action {
        Action::Correct | Action::Withhold | Action::Kill => true,
        Action::Publish | Action::Update => false,
    }
}

/// Judges recipients.
#[derive(Clone, Debug)]
pub struct Recalls {
    hub: Hub,
}

impl Recalls {
    /// Those of a node.
    pub fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// The last recall of a story, if it has one; none if there is no such story.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn last(&self, id: ArticleId) -> Result<Option<Option<Arc<Entry>>>, ReadError> {
        let Some(mut entry) = self.hub.head(id).await? else {
            return Ok(None);
        };
        for _ in 0..STEPS_MAX {
            if is_recall(entry.stored.record.action) {
                return Ok(Some(Some(entry)));
            }
            match entry.stored.record.prior_revision_seq {
                0 => break,
                prior => match self.hub.entry_at(prior).await? {
                    Some(before) => entry = before,
                    None => break,
                },
            }
        }
        Ok(Some(None))
    }

    /// What a recipient has of a recall.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn state(
        &self,
        kept: &KeptSubscription,
        recall: &Entry,
    ) -> Result<State, Arc<ReadError>> {
        let epochs = self.hub.log().epochs();
        let subscription = &kept.subscription;
        let mut coverage = subscription.coverage.clone();
        let met = self.hub.durables().met_of_late(&kept.id);
        met.tell(&mut coverage, &epochs);
        coverage.clip(&epochs);
        let end = self.hub.durables().sent_at_most(kept).unwrap_or(u64::MAX);
        let had = self.hub.had(&coverage, end, recall, &[]).await?;
        let is_at = |seq: Option<u64>| seq.filter(|seq| *seq >= recall.seq());
        let here = self.hub.durables().sent_here(&kept.id);
        let acknowledged = is_at(known(subscription.cursor, &epochs));
        let sent = is_at(known(subscription.sent, &epochs).max(here));
        if let Some(at) = acknowledged.or(sent) {
            let was_sent = self.hub.was_sent(&coverage, at, recall, &[]);
            return Ok(match was_sent.await? {
                Had::Yes if acknowledged.is_some() => State::Acknowledged,
                Had::Yes => State::Sent,
                Had::No | Had::Maybe => State::of_untold(had),
            });
        }
        // Whether it will be sent or somebody must see to it: it is not done.
        Ok(State::of_untold(had))
    }

    /// Counts recalls that somebody has not acknowledged, until `stop`.
    pub async fn run(self, webhooks: Webhooks, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recalls: VecDeque<Arc<Entry>> = VecDeque::new();
        let mut settled = Settled::default();
        let mut at = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A tick that is dropped comes again.
                _ = look.tick() => {}
            }
            at = self.follow(at, &mut recalls);
            let marked = async {
                let mut open = self.open(&recalls).await?;
                let marked = webhooks.mark_open(&recalls, &mut open, &mut settled);
                marked.await.map(|()| open)
            };
            let marked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // What is not marked is so in the next look.
                marked = marked => marked,
            };
            let open = match marked {
                Ok(open) => open.iter().filter(|is_open| **is_open).count(),
                Err(error) => {
                    // What was counted last is nearer to it than a part is.
                    tracing::debug!(%error, "open recalls are not counted");
                    continue;
                }
            };
            let open = i64::try_from(open).unwrap_or(i64::MAX);
            self.hub.log().metrics().recipients.open_recalls.set(open);
        }
    }

    /// Takes new recalls from the ring; of a story the last one counts.
    fn follow(&self, mut at: u64, recalls: &mut VecDeque<Arc<Entry>>) -> u64 {
        // What a loss has taken is no recall any more.
        let end = self.hub.log().read_up_to();
        recalls.retain(|recall| recall.seq() <= end);
        at = at.min(end);
        loop {
            let new = self.hub.ring_after(at, ENTRIES);
            let Some(last) = new.last() else { return at };
            at = last.seq();
            for entry in new {
                if is_recall(entry.stored.record.action) {
                    recalls.retain(|known| known.article_id() != entry.article_id());
                    recalls.push_back(entry);
                }
            }
            while recalls.len() > RECALLS_MAX {
                recalls.pop_front();
            }
        }
    }

    /// Which recalls some durable subscription is to get and has not acknowledged, in their order.
    async fn open(&self, recalls: &VecDeque<Arc<Entry>>) -> Result<Vec<bool>, Arc<ReadError>> {
        let kept = self.hub.durables().list(None, None, usize::MAX);
        let (mut open, mut judged) = (vec![false; recalls.len()], 0);
        for (recall, is_open) in recalls.iter().zip(&mut open).rev() {
            for one in &kept {
                if one.subscription.cursor.seq >= recall.seq() {
                    continue;
                }
                judged += 1;
                if judged >= JUDGED_MAX {
                    return Ok(open);
                }
                if judged % JUDGED_AT_ONCE == 0 {
                    yield_now().await;
                }
                match self.state(one, recall).await? {
                    State::Outstanding | State::Sent => {
                        *is_open = true;
                        break;
                    }
                    State::NeverHad | State::Acknowledged => {}
                }
            }
        }
        Ok(open)
    }
}
