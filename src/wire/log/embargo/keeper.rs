//! Keeper: what every node does beside its calls, so that each draft goes out at its time and
//! leaves nothing behind, whichever nodes are there.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    article::{ArticleId, Time},
    wire::{
        log::{
            Get, Log, ReadError,
            embargo::{
                Place, ReleaseError, Released,
                queue::{Card, State},
            },
            unavailable,
        },
        record::{draft::Draft, time_of},
        subject,
    },
};

/// Releases that may be under way; others wait for one of them to end.
const RELEASES_MAX: usize = 64;
/// How long one release is tried.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);
/// Pause before a release that failed is tried again.
const RELEASE_PAUSE: Duration = Duration::from_millis(500);
/// The longest sleep between two looks at the clock, which may be set meanwhile.
const LOOK: Duration = Duration::from_millis(500);
/// How much later those try who do not lead.
const HANDOVER: Duration = Duration::from_millis(150);
/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// For how long a round gives the lead.
const LEAD: Duration = Duration::from_secs(3);
/// Key of the lease; its holder leads.
const LEASE: &str = "lease.embargo";
/// Time between two looks for what is to be erased, if nothing happens.
const ERASE_EVERY: Duration = Duration::from_secs(5);
/// Time between two looks for drafts that are gone, of which the tail does not tell, and for those that
/// it has not told of: after the loss of a leader its consumer may be silent for many seconds.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// How long the tail's consumer may take to stand.
const CONSUMER_PATIENCE: Duration = Duration::from_secs(2);
/// Pause before the drafts are followed again.
const FOLLOW_PAUSE: Duration = Duration::from_millis(50);
/// From what skew on this node's clock is told to be wrong. Embargoes are kept to 50 ms.
const SKEW_MAX: Duration = Duration::from_millis(100);

impl Log {
    /// Follows the drafts until `stop`.
    pub async fn run_embargo_tail(&self, stop: CancellationToken) {
        loop {
            let followed = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Begun anew from a whole load.
                followed = self.follow_embargoes() => followed,
            };
            if let Err(error) = followed {
                tracing::debug!(%error, "the drafts can't be followed");
            }
            sleep(FOLLOW_PAUSE).await;
        }
    }

    /// Loads all drafts, and follows them until something is lost.
    async fn follow_embargoes(&self) -> Result<(), ReadError> {
        let mut generation = self.0.connection.reader_generation.clone();
        let mut epochs = self.epochs_watch();
        generation.mark_unchanged();
        epochs.mark_unchanged();
        let last_seq = self.load_embargoes().await?;
        let config = OrderedConfig {
            filter_subject: subject::EMBARGOES.to_owned(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: last_seq + 1,
            },
            ..OrderedConfig::default()
        };
        let messages = async {
            let consumer = self.0.connection.reader.create_consumer(config).await;
            let messages = consumer.map_err(unavailable)?.messages().await;
            messages.map_err(unavailable)
        };
        let messages = timeout(CONSUMER_PATIENCE, messages).await;
        let mut messages = messages.map_err(unavailable)??;
        let mut compare = interval(COMPARE_EVERY);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                // Each of these only ends this life of the tail; the next one loads everything.
                _ = generation.changed() => return Ok(()),
                _ = epochs.changed() => return Ok(()),
                // A tick that is dropped comes again.
                _ = compare.tick() => {
                    self.compare_embargoes().await?;
                    continue;
                }
                message = messages.next() => message,
            };
            let Some(message) = message else {
                return Ok(());
            };
            let message = message.map_err(unavailable)?;
            let info = message.info().map_err(ReadError::from_boxed)?;
            let seq = info.stream_sequence;
            let Some(id) = subject::embargoed(&message.subject) else {
                continue;
            };
            let draft = Draft::decode(message.message.payload.clone());
            let corrupt = |source| ReadError::Corrupt { seq, source };
            match draft.map_err(corrupt)? {
                None => self.embargoes().end(id, seq),
                Some(draft) => {
                    self.embargoes()
                        .hold(Card::new(&draft, seq).map_err(corrupt)?);
                    // Judges it: the article may have moved on just before.
                    self.head(id).await?;
                }
            }
        }
    }

    /// Releases drafts at their times until `stop`. What is under way then is decided by the log.
    pub async fn run_releases(&self, clock: fn() -> SystemTime, stop: CancellationToken) {
        let mut changes = self.embargoes().changes();
        let mut under_way = FuturesUnordered::new();
        // Articles that are being released, and those that failed, which wait for a moment.
        let mut busy: HashMap<ArticleId, Option<Instant>> = HashMap::new();
        loop {
            busy.retain(|_, pause| pause.is_none_or(|pause| pause > Instant::now()));
            let handover = if self.leads_embargoes() {
                Duration::ZERO
            } else {
                HANDOVER
            };
            let now = clock();
            // Those who do not lead look at an earlier now.
            let own = now - handover;
            let left = |until: Time| {
                let left = self.embargo_left(until, now);
                left.max(self.embargo_left(until, own))
            };
            for card in self.embargoes().scheduled_while(|at| left(at).is_zero()) {
                let id = card.article_id();
                if under_way.len() < RELEASES_MAX && !busy.contains_key(&id) {
                    busy.insert(id, None);
                    under_way.push(self.release_due(card, clock));
                }
            }
            let is_busy = |card: &Card| busy.contains_key(&card.article_id());
            let next = self.embargoes().next(is_busy);
            let wait = match next {
                Some(until) if under_way.len() < RELEASES_MAX => left(until).min(LOOK),
                Some(_) | None => LOOK,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Taken out of the set only when it is returned.
                Some((id, is_done)) = under_way.next(), if !under_way.is_empty() => {
                    if is_done {
                        busy.remove(&id);
                    } else {
                        busy.insert(id, Some(Instant::now() + RELEASE_PAUSE));
                    }
                }
                // These two only wake.
                _ = changes.changed() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Releases a draft whose time has come; returns whether that is settled, one way or another.
    async fn release_due(&self, card: Arc<Card>, clock: fn() -> SystemTime) -> (ArticleId, bool) {
        let article = card.article_id();
        let deadline = Instant::now() + RELEASE_PATIENCE;
        let is_done = match self.try_release(&card, time_of(clock()), deadline).await {
            Ok(Released::Now(stored)) => {
                let late_ns = time_of(clock()).unix_nanos() - card.until.unix_nanos();
                let late = Duration::from_nanos(u64::try_from(late_ns).unwrap_or(0));
                self.metrics().released(late);
                let (revision, seq) = (stored.record.revision.get(), stored.seq);
                tracing::info!(%article, revision, seq, ?late, "released an embargoed revision");
                true
            }
            Ok(Released::Before(_)) | Err(ReleaseError::Changed) => true,
            Err(ReleaseError::BaseMoved { newest }) => {
                let newest = newest.get();
                tracing::error!(
                    %article, newest,
                    "an embargoed revision is not released: the article has moved on; submit it \
                     again or cancel it"
                );
                true
            }
            Err(error) => {
                tracing::warn!(%article, %error, "an embargoed revision can't be released yet");
                false
            }
        };
        (article, is_done)
    }

    async fn try_release(
        &self,
        card: &Card,
        at: Time,
        deadline: Instant,
    ) -> Result<Released, ReleaseError> {
        let id = card.article_id();
        match self.draft_place(id).await? {
            Place {
                seq,
                draft: Some(draft),
            } if seq == card.seq => self.release(draft, seq, at, deadline).await,
            Place { .. } => {
                self.refresh_draft(id).await?;
                Err(ReleaseError::Changed)
            }
        }
    }

    /// Counts drafts, looks at the clocks, and takes or leaves the lead, until `stop`.
    pub async fn run_embargo_rounds(&self, clock: fn() -> SystemTime, stop: CancellationToken) {
        let mut round = interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_told, mut is_empty) = (false, true);
        let mut changes = self.embargoes().changes();
        loop {
            let is_round = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A tick that is dropped comes again, and a change shows in the queue.
                _ = round.tick() => true,
                _ = changes.changed() => false,
            };
            if !is_round && !is_empty {
                continue;
            }
            let scheduled = self.embargoes().count(State::Scheduled);
            let blocked = self.embargoes().count(State::Blocked);
            self.metrics().embargoes(scheduled, blocked);
            is_told = self.judge_clock(clock(), is_told);
            // The first draft must not wait for a round to have somebody who leads.
            let leads = scheduled > 0 && self.take_lead(clock()).await;
            self.set_leads_embargoes(leads);
            is_empty = scheduled == 0;
        }
    }

    async fn take_lead(&self, now: SystemTime) -> bool {
        let taken = timeout(ROUND, self.take_lease(LEASE, now, LEAD)).await;
        matches!(taken, Ok(Ok(true)))
    }

    /// Compares this node's clock with the log's; returns whether it was told to be wrong.
    fn judge_clock(&self, now: SystemTime, is_told: bool) -> bool {
        let Some(bounds) = self.0.clock.at(Instant::now()) else {
            return is_told;
        };
        let skew_ns = bounds.skew(time_of(now).unix_nanos());
        let skew = Duration::from_nanos(u64::try_from(skew_ns.unsigned_abs()).unwrap_or(u64::MAX));
        self.metrics().skew(skew, skew_ns < 0);
        let is_wrong = skew > SKEW_MAX;
        if is_wrong && !is_told {
            let way = if skew_ns < 0 { "behind" } else { "ahead" };
            tracing::warn!(
                ?skew,
                way,
                "this node's clock is not that of NATS: embargoes end when both have reached their \
                 time; let both follow one clock (NTP)"
            );
        }
        is_wrong
    }

    /// Overwrites what drafts have left, until `stop`: those that were replaced, released or ended.
    pub async fn run_draft_eraser(&self, stop: CancellationToken) {
        let mut leavings = self.embargoes().leavings();
        loop {
            let erased = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Whatever is left is found again.
                erased = self.erase_drafts() => erased,
            };
            if let Err(error) = erased {
                tracing::debug!(%error, "the erasure of drafts is not finished");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Either only wakes.
                _ = timeout(ERASE_EVERY, leavings.changed()) => {}
            }
        }
    }

    async fn erase_drafts(&self) -> Result<(), ReadError> {
        for card in self.embargoes().doomed() {
            let (id, deadline) = (card.article_id(), Instant::now() + RELEASE_PATIENCE);
            if self.end_draft(id, card.seq, deadline).await.is_err() {
                self.refresh_draft(id).await?;
            }
        }
        let stream = &self.0.connection.stream;
        let subjects = stream.info_with_subjects(subject::EMBARGOES).await;
        let mut subjects = subjects.map_err(unavailable)?;
        while let Some((subject, count)) = subjects.try_next().await.map_err(unavailable)? {
            let Some(id) = subject::embargoed(&subject) else {
                continue;
            };
            // Nothing before it, and known to wait: nearly all of them, nearly always.
            if count > 1 || self.embargoes().card(id).is_none() {
                self.erase_before_newest(subject).await?;
            }
        }
        Ok(())
    }

    /// Overwrites all but the newest at a place, oldest first, and then the newest if it is an end.
    async fn erase_before_newest(&self, subject: String) -> Result<(), ReadError> {
        let Some(newest) = self.get(Get::Last(subject.clone())).await? else {
            return Ok(());
        };
        let mut at = 1;
        while let Some(message) = self.get(Get::Next(subject.clone(), at)).await?
            && message.sequence < newest.sequence
        {
            at = message.sequence + 1;
            self.overwrite(message.sequence).await?;
        }
        // Last: while it is there, somebody may have to come back.
        if newest.payload.is_empty() {
            self.overwrite(newest.sequence).await?;
        }
        Ok(())
    }
}
