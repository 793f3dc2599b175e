//! Worker: sends one webhook its deliveries, in order, one at a time.

use std::{future::poll_fn, sync::Arc, time::Duration};

use rand::RngExt as _;
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::scope::Scope,
    cursor::Cursor,
    delivery::{
        group::{Strays, Wanted},
        start::{Beyond, SubscribeError},
        subscription::{Gap, Output, Subscription, Way},
        webhooks::{Webhooks, keeping::Seen, sending::Message},
    },
    filter::Filter,
    gate::permit::Permit,
    recipient::Coverage,
    telemetry::{Protocol, webhooks::Outcome},
    webhook::{
        Failing, ParkedList, Progress, Webhook,
        retry::{Before, Said, Verdict, pause, verdict},
    },
    wire::{
        convert::Start,
        log::{ReadError, webhooks::Kept},
    },
};

/// Pause before a claim, a read or a stream is tried again.
const PAUSE: Duration = Duration::from_millis(500);
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
enum Next {
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
}

/// What a gap says.
#[derive(Serialize)]
struct GapData {
    from: String,
    to: String,
    reason: &'static str,
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
        }
    }

    /// Works until it is told to stop, or another takes over.
    pub(super) async fn run(mut self) {
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
        if halt == Halt::Stopped && self.progress.value.node == self.webhooks.0.node {
            self.progress.value.node.clear();
            if let Err(halt) = self.save().await {
                tracing::debug!(webhook = %id, ?halt, "a webhook is not let go");
            }
        }
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

    /// What the webhook's partner may read now; none = nothing.
    fn scope(&self, webhook: &Webhook) -> Option<Arc<Scope>> {
        let gate = &self.webhooks.0.parts.gate;
        gate.subscribing(webhook.partner.as_ref())
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
        let wishes = [webhook.replay.number, webhook.wakes, webhook.parked_asks];
        let followed = self.progress.value.followed;
        if followed == wishes {
            return Ok(());
        }
        if followed[0] != wishes[0]
            && let Some(after) = webhook.replay.after
        {
            let unsent = self.parked.value.first();
            self.progress.value.jump(after, unsent);
        }
        if followed[1] != wishes[1] {
            // As if it had never failed.
            self.progress.value.failing = None;
            self.progress.value.parked_in_row = 0;
        }
        if followed[2] != wishes[2] {
            self.send_parked(webhook).await?;
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
                    let cursor = hub.log().cursor(run.last_seq);
                    self.deliver(webhook, scope, cursor).await?
                }
                Output::CaughtUp(cursor) | Output::Heartbeat(cursor) => {
                    self.pass(cursor).await?;
                    Next::Done
                }
                // No durable subscription is claimed.
                Output::Opened(_) => Next::Done,
                Output::Gap(gap) => self.tell_gap(webhook, scope, gap).await?,
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
                    Ok(end) => (end, nothing()),
                    Err(error) => return Ok(Err(error.into())),
                }
            }
            Err(error) => return Ok(Err(error)),
        };
        let unsent = self.parked.value.first();
        let epochs = hub.log().epochs();
        if self.progress.value.turn(&filter, unsent, &epochs) {
            self.save().await?;
        }
        let start = Start::After(self.progress.value.at);
        let begin = match hub.beginning(start, &filter, history_end).await {
            Ok(begin) => begin,
            Err(error) => return Ok(Err(error)),
        };
        let coverage = self.progress.value.coverage.as_ref();
        let past = coverage.map(Coverage::strays).unwrap_or_default();
        let wanted = Wanted {
            filter,
            strays: (!past.is_empty()).then(|| Strays {
                past,
                granted: Arc::clone(scope),
            }),
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
        if self.progress.value.at == cursor {
            return Ok(());
        }
        self.progress.value.at = cursor;
        if self.kept_at.elapsed() < PASS_EVERY {
            return Ok(());
        }
        self.save().await
    }

    /// Sends one revision until it is taken, put aside, or not wanted any more.
    async fn deliver(
        &mut self,
        webhook: &Webhook,
        scope: &Arc<Scope>,
        cursor: Cursor,
    ) -> Result<Next, Halt> {
        loop {
            if self.await_turn(webhook, scope, cursor).await? == Next::Look {
                return Ok(Next::Look);
            }
            let message = match self.webhooks.revision(webhook, cursor).await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    // Killed meanwhile: its notice comes at its own place.
                    self.progress.value.done(cursor);
                    self.save().await?;
                    return Ok(Next::Done);
                }
                Err(error) => {
                    tracing::debug!(webhook = %webhook.id, %error, "a revision can't be read");
                    self.changed(Some(PAUSE)).await?;
                    return Ok(Next::Look);
                }
            };
            let Some((said, reason)) = self.send(webhook, &message).await? else {
                continue;
            };
            if let Some(next) = self.judge(webhook, &message, said, reason).await? {
                return Ok(next);
            }
        }
    }

    /// Tells a receiver that it may miss something.
    async fn tell_gap(
        &mut self,
        webhook: &Webhook,
        scope: &Arc<Scope>,
        gap: Gap,
    ) -> Result<Next, Halt> {
        let data = GapData {
            from: gap.from.to_string(),
            to: gap.to.to_string(),
            reason: gap.reason.as_str(),
        };
        loop {
            if self.await_turn(webhook, scope, gap.to).await? == Next::Look {
                return Ok(Next::Look);
            }
            let id = format!("{}_gap_{}", webhook.id, gap.to);
            let message = self.webhooks.notice(webhook, id, "gap", gap.to, &data);
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

    /// Draws the consequence of an answer; none = try again.
    async fn judge(
        &mut self,
        webhook: &Webhook,
        message: &Message,
        said: Said,
        reason: String,
    ) -> Result<Option<Next>, Halt> {
        let progress = &self.progress.value;
        let failing = progress.failing_at(message.cursor);
        let before = Before {
            failures: failing.map_or(0, |failing| failing.count),
            refusals: failing.map_or(0, |failing| failing.refusals),
            parked_in_row: progress.parked_in_row,
        };
        let share = rand::rng().random_range(0.0..=1.0);
        let mut verdict = verdict(said, before, share);
        if verdict == Verdict::Park && (self.parked.value.is_full() || message.parked.is_none()) {
            // There is no room: it waits, and so does all that comes after it.
            verdict = Verdict::Again {
                pause: pause(None, before.failures, share),
                is_refusal: true,
            };
        }
        self.webhooks
            .log()
            .metrics()
            .webhooks
            .judged(outcome(verdict));
        let now = self.webhooks.now();
        match verdict {
            Verdict::Taken => self.progress.value.taken(message.cursor, now),
            Verdict::Again { pause, is_refusal } => {
                self.fail(message.cursor, pause, is_refusal, reason);
                self.save().await?;
                return Ok(None);
            }
            Verdict::Park => {
                let mut parked = message.parked.clone().expect("looked at above");
                (parked.reason, parked.since) = (reason, now);
                parked.tries = before.failures + 1;
                if parked.is_recall() {
                    tracing::error!(
                        webhook = %webhook.id,
                        cursor = %parked.cursor,
                        action = parked.action,
                        "a recall is parked: its receiver refuses it"
                    );
                }
                // First: a crash in between only sends it once more.
                self.change_parked(|list| list.put(parked.clone())).await?;
                self.progress.value.done(message.cursor);
                self.progress.value.parked_in_row += 1;
            }
            Verdict::Gone => {
                self.fail(message.cursor, Duration::ZERO, false, reason);
                self.save().await?;
                self.webhooks.disable(webhook.id).await;
                self.changed(Some(PAUSE)).await?;
                return Ok(Some(Next::Look));
            }
        }
        self.save().await?;
        Ok(Some(Next::Done))
    }

    fn fail(&mut self, cursor: Cursor, pause: Duration, is_refusal: bool, reason: String) {
        let now = self.webhooks.now();
        let former = self.progress.value.failing_at(cursor);
        let pause = i64::try_from(pause.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        self.progress.value.failing = Some(Failing {
            cursor,
            count: former.map_or(1, |former| former.count.saturating_add(1)),
            refusals: former.map_or(0, |former| former.refusals) + u32::from(is_refusal),
            since: former.map_or(now, |former| former.since),
            next: now.saturating_add(pause),
            reason,
        });
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Taken => Outcome::Taken,
        Verdict::Again { .. } => Outcome::Again,
        Verdict::Park => Outcome::Parked,
        Verdict::Gone => Outcome::Gone,
    }
}

/// What no article is: what is left of a filter of which nothing is granted any more.
fn nothing() -> Filter {
    let topic = "nothing-is-granted".parse().expect("a good topic");
    let language = "zxx-nothing".parse().expect("a good range");
    Filter {
        topics: [topic].into(),
        languages: [language].into(),
        ..Filter::default()
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
