//! Worker: sends one webhook its deliveries, in order, one at a time.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::scope::Scope,
    cursor::Cursor,
    delivery::{
        group::Wanted,
        start::{Beyond, SubscribeError},
        subscription::{Output, Subscription, Way},
        webhooks::{Webhooks, keeping::Seen, sending::News},
    },
    filter::Filter,
    gate::permit::Permit,
    recipient::Stray,
    telemetry::Protocol,
    webhook::{ParkedList, Progress, Webhook},
    wire::{
        convert::Start,
        log::{ReadError, webhooks::Kept},
    },
};

/// Pause before a claim, a read or a stream is tried again.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// After how long a place without deliveries is kept: retention must not overtake it.
pub(super) const PASS_EVERY: Duration = Duration::from_secs(60);

/// Why a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// It is to let go.
    Stopped,
    /// It is no more the one who works the webhook, or can't know whether it is.
    Lost,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is done: the next one.
    Done,
    /// Something has changed: look again at everything.
    Look,
}

/// What is known of a webhook by the one who works it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) webhooks: Webhooks,
    pub(super) webhook: watch::Receiver<Arc<Webhook>>,
    lease: watch::Receiver<Instant>,
    grants: watch::Receiver<u64>,
    pub(super) stop: CancellationToken,
    pub(super) seen: Arc<Seen>,
    pub(super) progress: Kept<Progress>,
    pub(super) parked: Kept<ParkedList>,
    /// Whether the last call took long.
    pub(super) was_slow: bool,
    pub(super) kept_at: Instant,
    /// The wish of a subscriber that was followed last.
    pub(super) confirmed: Option<u64>,
}

impl Worker {
    pub(super) fn new(
        webhooks: Webhooks,
        webhook: watch::Receiver<Arc<Webhook>>,
        stop: CancellationToken,
        seen: Arc<Seen>,
    ) -> Self {
        let progress = Progress::new(&webhook.borrow());
        Self {
            lease: webhooks.0.lease.subscribe(),
            grants: webhooks.0.parts.gate.changes(),
            webhooks,
            webhook,
            stop,
            seen,
            progress: Kept {
                value: progress,
                revision: 0,
            },
            parked: Kept {
                value: ParkedList::default(),
                revision: 0,
            },
            was_slow: false,
            kept_at: Instant::now(),
            confirmed: None,
        }
    }

    /// Works until it is told to stop, or another takes over; returns whether it surely let go.
    pub(super) async fn run(mut self) -> bool {
        let id = self.webhook.borrow().id;
        let halt = match self.claim().await {
            Ok(()) => {
                tracing::debug!(webhook = %id, fence = self.progress.value.fence, "works a webhook");
                // Boxed: a worker waits for most of its life, and there are many.
                Box::pin(self.work()).await
            }
            Err(halt) => halt,
        };
        tracing::debug!(webhook = %id, ?halt, "works a webhook no more");
        if halt != Halt::Stopped || self.progress.value.node != self.webhooks.0.node {
            return false;
        }
        self.progress.value.node.clear();
        let saved = self.save().await;
        if let Err(halt) = saved {
            tracing::debug!(webhook = %id, ?halt, "a webhook is not let go");
        }
        saved.is_ok()
    }

    /// Waits until the webhook is this node's to work, and makes it so.
    async fn claim(&mut self) -> Result<(), Halt> {
        let id = self.webhook.borrow().id;
        loop {
            match self.try_claim().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => tracing::debug!(webhook = %id, %error, "can't claim a webhook"),
            }
            tokio::select! {
                biased;
                halt = self.halted() => return Err(halt),
                // A pause that is dropped has done nothing.
                () = sleep(PAUSE) => {}
            }
        }
    }

    async fn try_claim(&mut self) -> Result<bool, ReadError> {
        let webhook = Arc::clone(&self.webhook.borrow());
        let log = self.webhooks.log();
        let kept = log.progress(webhook.id).await?;
        let mut kept = kept.unwrap_or_else(|| Kept {
            value: Progress::new(&webhook),
            revision: 0,
        });
        let (former, me) = (&kept.value.node, &self.webhooks.0.node);
        if !former.is_empty() && former != me && !self.webhooks.is_dead(former) {
            return Ok(false);
        }
        if !former.is_empty() {
            // It died, perhaps with a request under way.
            let end = log.confirm().await?;
            kept.value.lose_sight(log.epochs().cursor(end));
        }
        kept.value.node.clone_from(&self.webhooks.0.node);
        kept.value.fence += 1;
        // From here on whoever worked it before fails at its next step.
        let claimed = log
            .put_progress(webhook.id, &kept.value, kept.revision)
            .await?;
        let Some(revision) = claimed else {
            return Ok(false);
        };
        kept.revision = revision;
        self.progress = kept;
        self.parked = log.parked(webhook.id).await?;
        self.seen.parks(&self.parked.value);
        Ok(true)
    }

    /// Ends when the worker must.
    pub(super) async fn halted(&self) -> Halt {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Halt::Stopped,
            () = lapsed(self.lease.clone()) => Halt::Lost,
        }
    }

    async fn work(&mut self) -> Halt {
        loop {
            let webhook = Arc::clone(&self.webhook.borrow_and_update());
            let step = async {
                self.follow_wishes(&webhook).await?;
                if !self.stands(&webhook).await? {
                    return Ok(());
                }
                match self.scope(&webhook) {
                    Some(scope) => self.stream(&webhook, &scope).await,
                    // Suspended, or nothing is granted: until that changes.
                    None => self.changed(None).await,
                }
            };
            if let Err(halt) = step.await {
                return halt;
            }
        }
    }

    /// What is to be sent of now; none = nothing: its partner may read nothing, or it is a
    /// subscription whose key is none any more.
    pub(super) fn scope(&self, webhook: &Webhook) -> Option<Arc<Scope>> {
        let gate = &self.webhooks.0.parts.gate;
        let lease = webhook.websub().and_then(|websub| websub.lease.as_ref());
        let key = lease.and_then(|lease| lease.key);
        let granted = gate.subscribing(webhook.partner.as_ref());
        granted.filter(|_| key.is_none_or(|key| gate.is_good(key)))
    }

    /// Waits until the webhook or anybody's grants change, or for a while.
    pub(super) async fn changed(&mut self, pause: Option<Duration>) -> Result<(), Halt> {
        let (mut webhook, mut grants) = (self.webhook.clone(), self.grants.clone());
        let pause = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            halt = self.halted() => return Err(halt),
            // Each only wakes. The senders live as long as the worker is wanted.
            _ = webhook.changed() => {}
            _ = grants.changed() => self.grants = grants,
            () = pause => {}
        }
        Ok(())
    }

    /// Does what the webhook's owner has asked for since.
    async fn follow_wishes(&mut self, webhook: &Webhook) -> Result<(), Halt> {
        self.follow_subscriber(webhook).await?;
        let mut wishes = [webhook.replay.number, webhook.wakes, webhook.parked_asks];
        let followed = self.progress.value.followed;
        if self.scope(webhook).is_none() {
            // Nothing is sent until that changes.
            wishes[2] = followed[2];
        }
        if followed == wishes {
            return Ok(());
        }
        // Since it began the log may have lost something.
        self.progress.value.clip(&self.webhooks.log().epochs());
        if followed[0] != wishes[0]
            && let Some(after) = webhook.replay.after
        {
            let epochs = self.webhooks.log().epochs();
            self.progress.value.jump(after, &epochs);
        }
        if followed[1] != wishes[1] {
            // As if it had never failed.
            self.progress.value.failing = None;
            self.progress.value.parked_in_row = 0;
        }
        while followed[2] != wishes[2] && !self.send_parked(webhook).await? {
            if self.scope(webhook).is_none() {
                wishes[2] = followed[2];
            } else {
                // Its partner was suspended for a moment only.
                self.changed(Some(PAUSE)).await?;
            }
        }
        self.progress.value.followed = wishes;
        self.save().await
    }

    /// Sends what comes, until something changes.
    async fn stream(&mut self, webhook: &Webhook, scope: &Arc<Scope>) -> Result<(), Halt> {
        let way = Way {
            protocol: Protocol::Webhook,
            connection: None,
            permit: Permit::over(Arc::clone(scope)),
        };
        let hub = self.webhooks.0.parts.hub.clone();
        let mut subscription = match self.subscribe(webhook, scope, way).await? {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::debug!(webhook = %webhook.id, %error, "a webhook has to wait");
                return self.changed(Some(PAUSE)).await;
            }
        };
        while let Some(output) = self.next(&mut subscription, webhook, scope).await? {
            let next = match output {
                Output::Deliveries(run) => {
                    let news = News::Revision(hub.log().cursor(run.last_seq));
                    let stray = run.strays.first().map(|entry| entry.stray());
                    let is_stray = stray.is_some();
                    let next = self.deliver(webhook, scope, news, stray).await?;
                    // What follows it is judged by whether it was taken.
                    if is_stray { Next::Look } else { next }
                }
                Output::CaughtUp(cursor) | Output::Heartbeat(cursor) => {
                    self.pass(cursor).await?;
                    Next::Done
                }
                // No durable subscription is claimed.
                Output::Opened(_) => Next::Done,
                Output::Gap(gap) => {
                    let epochs = hub.log().epochs();
                    if let Some(after) = gap.gone_after(&epochs) {
                        self.progress.value.leave_out(after, gap.to, &epochs);
                    }
                    let news = News::Gap(gap);
                    self.deliver(webhook, scope, news, None).await?
                }
                Output::End(error) => {
                    tracing::debug!(webhook = %webhook.id, %error, "a webhook begins anew");
                    return self.changed(Some(PAUSE)).await;
                }
            };
            if next == Next::Look {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Begins where it is: with what its filter wants of what is granted, and what takes back what it
    /// was sent under another.
    async fn subscribe(
        &mut self,
        webhook: &Webhook,
        scope: &Arc<Scope>,
        way: Way,
    ) -> Result<Result<Subscription, SubscribeError>, Halt> {
        let hub = self.webhooks.0.parts.hub.clone();
        let judged = tokio::select! {
            biased;
            halt = self.halted() => return Err(halt),
            // Nothing has begun that is missed.
            judged = hub.judged(webhook.filter.clone(), Beyond::Cut, &way) => judged,
        };
        let (history_end, filter) = match judged {
            Ok(judged) => judged,
            // Recalls follow what it was sent before.
            Err(SubscribeError::Access(_)) if self.progress.value.coverage.is_some() => {
                match hub.log().confirm().await {
                    Ok(end) => (end, Filter::nothing()),
                    Err(error) => return Ok(Err(error.into())),
                }
            }
            Err(error) => return Ok(Err(error)),
        };
        let epochs = hub.log().epochs();
        if self.progress.value.turn(&filter, &epochs) {
            self.save().await?;
        }
        let start = Start::After(self.progress.value.at);
        let begin = match hub.beginning(start, &filter, history_end).await {
            Ok(begin) => begin,
            Err(error) => return Ok(Err(error)),
        };
        // The log may have lost something meanwhile.
        self.progress.value.clip(&begin.epochs);
        let wanted = match &self.progress.value.coverage {
            Some(coverage) => {
                let unsent = self.parked.value.untaken(&epochs);
                Wanted::of(coverage, begin.at.seq, scope, unsent)
            }
            None => Wanted::by(filter),
        };
        Ok(Ok(Subscription::new(hub, &wanted, begin, way, None)))
    }

    /// What comes next; none when something has changed.
    async fn next(
        &mut self,
        subscription: &mut Subscription,
        webhook: &Webhook,
        scope: &Arc<Scope>,
    ) -> Result<Option<Output>, Halt> {
        loop {
            let (mut changed, mut grants) = (self.webhook.clone(), self.grants.clone());
            let output = poll_fn(|context| subscription.poll_next(context));
            tokio::select! {
                biased;
                halt = self.halted() => return Err(halt),
                // What is not taken from the subscription stays in it.
                _ = changed.changed() => return Ok(None),
                _ = grants.changed() => {
                    self.grants = grants;
                    if self.scope(webhook).as_ref() != Some(scope) {
                        return Ok(None);
                    }
                }
                output = output => return Ok(Some(output)),
            }
        }
    }

    /// Nothing that is wanted was there up to a place.
    async fn pass(&mut self, cursor: Cursor) -> Result<(), Halt> {
        let epochs = self.webhooks.log().epochs();
        if self.progress.value.has_passed(cursor, &epochs) {
            return Ok(());
        }
        self.progress.value.pass(cursor, &epochs);
        if self.kept_at.elapsed() < PASS_EVERY {
            return Ok(());
        }
        self.save().await
    }

    /// Sends what is new until it is taken, put aside, or not wanted any more.
    async fn deliver(
        &mut self,
        webhook: &Webhook,
        scope: &Arc<Scope>,
        news: News,
        stray: Option<Stray>,
    ) -> Result<Next, Halt> {
        let cursor = news.cursor();
        let epochs = self.webhooks.log().epochs();
        if self.progress.value.has_passed(cursor, &epochs) {
            // The feed that was sent last had it.
            return Ok(Next::Done);
        }
        loop {
            if self.await_turn(webhook, scope, cursor).await? == Next::Look {
                return Ok(Next::Look);
            }
            let message = match self.webhooks.message(webhook, scope, news).await {
                Ok(Some(mut message)) => {
                    message.stray.clone_from(&stray);
                    message
                }
                Ok(None) => {
                    // Killed meanwhile: its notice comes at its own place. Or kept no more.
                    if cursor.seq < self.webhooks.log().retained_from() {
                        let progress = &mut self.progress.value;
                        progress.leave_out(cursor.seq - 1, cursor, &epochs);
                    }
                    self.progress.value.done(cursor, &epochs);
                    self.save().await?;
                    return Ok(Next::Done);
                }
                Err(fault) => {
                    let reason = fault.reason;
                    tracing::debug!(webhook = %webhook.id, reason, "what is new can't be read");
                    self.changed(Some(PAUSE)).await?;
                    return Ok(Next::Look);
                }
            };
            let _sending = self.webhooks.sends(webhook.id, message.covers);
            let Some((said, reason)) = self.send(webhook, &message).await? else {
                continue;
            };
            if let Some(next) = self.judge(webhook, &message, said, reason).await? {
                return Ok(next);
            }
        }
    }

    /// Waits for the next try of a delivery.
    async fn await_turn(
        &mut self,
        webhook: &Webhook,
        scope: &Arc<Scope>,
        cursor: Cursor,
    ) -> Result<Next, Halt> {
        let failing = self.progress.value.failing_at(cursor);
        let next = failing.map(|failing| failing.next);
        self.seen.fails(next.is_some());
        loop {
            let wait = next.map_or(0, |next| next - self.webhooks.now());
            // The clock may have been set: never longer than what is asked for at most.
            let wait = u64::try_from(wait).unwrap_or(0);
            if wait > 0 {
                self.changed(Some(Duration::from_secs(wait).min(PASS_EVERY)))
                    .await?;
            }
            let is_changed = self.webhook.has_changed().unwrap_or(true);
            if is_changed || self.scope(webhook).as_ref() != Some(scope) {
                return Ok(Next::Look);
            }
            if wait == 0 {
                return Ok(Next::Done);
            }
        }
    }
}

/// Ends when a lease has ended.
async fn lapsed(lease: watch::Receiver<Instant>) {
    loop {
        let until = *lease.borrow();
        if Instant::now() >= until {
            return;
        }
        sleep_until(until).await;
    }
}
