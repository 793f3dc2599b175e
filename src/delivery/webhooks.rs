//! Webhooks: the wire, sent to addresses of partners (Standard Webhooks), and feeds, sent to who has
//! subscribed to them (WebSub).
//!
//! Each webhook is worked by one node, by one task, one delivery at a time, so that its order is the
//! log's. What is kept is where it is ([`Progress`]); the log is its queue, and each try reads the
//! revision anew, so that what was killed meanwhile is not sent. A subscription to a feed is worked
//! alike: each revision that the feed could show is a reason to send it as it is then.
//!
//! [`Progress`]: crate::webhook::Progress

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, RwLock},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, pin_mut};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cursor::{Cursor, letters},
    delivery::{
        feeds::Feeds,
        hub::Hub,
        webhooks::{
            keeping::Seen,
            lanes::Lanes,
            nodes::{BEAT, LEASE, Nodes},
            worker::Worker,
        },
    },
    gate::Gate,
    webhook::{Progress, State, Webhook, WebhookId},
    wire::{
        log::{
            ReadError,
            freshness::Freshness,
            webhooks::{Kept, WebhookChange},
        },
        outbound::Outbound,
    },
};

pub mod grpc;
mod judging;
mod keeping;
pub mod lanes;
pub mod nodes;
pub mod owners;
mod parked;
pub mod recalls;
mod sending;
pub mod subscribers;
mod websub;
mod worker;

/// Time between two looks at which webhooks are this node's.
const LOOK: Duration = Duration::from_millis(250);
/// Pause before the bucket is followed anew.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// How long a node's word may take to be kept.
const BEAT_PATIENCE: Duration = Duration::from_secs(2);
/// How long workers may take to let go at a stop.
const LEAVE_PATIENCE: Duration = Duration::from_secs(4);
/// Looks between two counts for the metrics.
const COUNT_EVERY: u32 = 8;

/// Whether a node works webhooks, and what with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The reading side.
    pub hub: Hub,
    /// Who may read what.
    pub gate: Gate,
    /// Calls them.
    pub outbound: Outbound,
    /// The time of day.
    pub clock: fn() -> SystemTime,
}

/// The webhooks of a wire; clones share everything.
#[derive(Clone, Debug)]
pub struct Webhooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    feeds: Feeds,
    /// This node's name among those who work webhooks.
    node: String,
    lanes: Lanes,
    /// Up to which sequence requests under way show something.
    sending: Arc<Mutex<HashMap<WebhookId, u64>>>,
    book: RwLock<BTreeMap<WebhookId, Kept<Webhook>>>,
    nodes: Mutex<Nodes>,
    /// Counts changes of the book.
    changes: watch::Sender<u64>,
    /// Until when this node may work.
    lease: watch::Sender<Instant>,
    freshness: Freshness,
}

/// A webhook that this node works.
struct Work {
    webhook: watch::Sender<Arc<Webhook>>,
    stop: CancellationToken,
    seen: Arc<Seen>,
}

impl Webhooks {
    /// Those of a log, none of which is known yet.
    pub fn new(parts: Parts) -> Self {
        let node = letters::<10>(rand::random());
        let node = String::from_utf8(node.to_vec()).expect("letters are ASCII");
        Self(Arc::new(Inner {
            feeds: Feeds::new(parts.hub.clone()),
            parts,
            nodes: Mutex::new(Nodes::new(node.clone())),
            node,
            lanes: Lanes::default(),
            sending: Arc::default(),
            book: RwLock::default(),
            changes: watch::Sender::new(0),
            lease: watch::Sender::new(Instant::now()),
            freshness: Freshness::default(),
        }))
    }

    /// Follows the webhooks and works this node's until `stop`; then lets go of them, so that others
    /// take them over at once.
    pub async fn run(self, stop: CancellationToken) {
        let mut works = Works::default();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            // None of them ends; what they hold is let go below.
            () = self.follow() => {}
            () = self.beat() => {}
            () = self.supervise(&mut works) => {}
        }
        works.end_all();
        let ended = async { while works.tasks.join_next().await.is_some() {} };
        if timeout(LEAVE_PATIENCE, ended).await.is_err() {
            tracing::warn!("some webhooks were not let go in time; others take over later");
        }
        if !self.book().is_empty() {
            let left = timeout(BEAT_PATIENCE, self.log().leave(&self.0.node)).await;
            if !matches!(left, Ok(Ok(()))) {
                tracing::debug!("nobody heard that this node works no webhooks any more");
            }
        }
    }

    /// When this node last knew all of them.
    pub fn freshness(&self) -> &Freshness {
        &self.0.freshness
    }

    /// The feeds that subscribers are sent.
    pub fn feeds(&self) -> &Feeds {
        &self.0.feeds
    }

    fn log(&self) -> &crate::wire::log::Log {
        self.0.parts.hub.log()
    }

    /// The present, in seconds from 1970.
    fn now(&self) -> i64 {
        self.0.parts.gate.now()
    }

    /// All webhooks, by id.
    fn book(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<WebhookId, Kept<Webhook>>> {
        self.0.book.read().expect("no panic under this lock")
    }

    async fn follow(&self) {
        loop {
            if let Err(error) = self.follow_once().await {
                tracing::debug!(%error, "the webhooks can't be followed; trying again");
            }
            sleep(FOLLOW_PAUSE).await;
        }
    }

    async fn follow_once(&self) -> Result<(), ReadError> {
        let changes = self.log().follow_webhooks(&self.0.freshness).await?;
        pin_mut!(changes);
        let mut seen = HashSet::new();
        while let Some(change) = changes.next().await {
            let change = change?;
            if matches!(change, WebhookChange::CaughtUp) {
                self.complete(&seen).await?;
            }
            let now = Instant::now();
            let mut book = self.0.book.write().expect("no panic under this lock");
            let mut nodes = self.0.nodes.lock().expect("no panic under this lock");
            match change {
                WebhookChange::Put(kept) => {
                    seen.insert(kept.value.id);
                    book.insert(kept.value.id, *kept);
                }
                WebhookChange::CaughtUp => {}
                WebhookChange::Removed(id) => drop(book.remove(&id)),
                WebhookChange::Beat(node) => {
                    nodes.heard(&node, now);
                    continue;
                }
                WebhookChange::Left(node) => nodes.left(&node),
                WebhookChange::Confirmed(asked) => {
                    self.0.freshness.confirm(asked);
                    continue;
                }
            }
            self.0.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Others may have gone while nothing was heard: what has not come is so, or is changed on its way.
    async fn complete(&self, seen: &HashSet<WebhookId>) -> Result<(), ReadError> {
        let known: Vec<WebhookId> = self.book().keys().copied().collect();
        for id in known.into_iter().filter(|id| !seen.contains(id)) {
            if self.log().webhook(id).await?.is_none() {
                let mut book = self.0.book.write().expect("no panic under this lock");
                book.remove(&id);
            }
        }
        Ok(())
    }

    /// Says that this node is there, as long as there are webhooks.
    async fn beat(&self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = Instant::now();
        loop {
            look.tick().await;
            let began = Instant::now();
            if self.book().is_empty() || began < due {
                continue;
            }
            match timeout(BEAT_PATIENCE, self.log().beat(&self.0.node)).await {
                Ok(Ok(())) => {
                    due = began + BEAT;
                    self.0.lease.send_replace(began + LEASE);
                }
                Ok(Err(error)) => tracing::debug!(%error, "a node's word is not kept"),
                Err(_) => tracing::debug!("a node's word is not kept in time"),
            }
        }
    }

    /// Begins and ends workers as webhooks and nodes come and go.
    async fn supervise(&self, works: &mut Works) {
        let mut changes = self.0.changes.subscribe();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = 0;
        loop {
            tokio::select! {
                // Each only wakes: everything is looked at below.
                _ = changes.changed() => {}
                _ = look.tick() => round += 1,
                ended = works.tasks.join_next(), if !works.tasks.is_empty() => works.ended(ended),
            }
            self.assign(works);
            if round >= COUNT_EVERY {
                round = 0;
                self.count(works);
                self.bury().await;
            }
        }
    }

    fn assign(&self, works: &mut Works) {
        let (now, time) = (Instant::now(), self.now());
        let is_leased = now < *self.0.lease.borrow();
        let nodes = self.0.nodes.lock().expect("no panic under this lock");
        let book = self.book();
        let is_wanted = |webhook: &Webhook| {
            webhook.state == State::Active && is_leased && nodes.is_mine(webhook.id, now)
        };
        for (id, work) in &works.by_id {
            match book.get(id).filter(|kept| is_wanted(&kept.value)) {
                Some(kept) => {
                    work.webhook.send_if_modified(|known| {
                        let is_new = **known != kept.value;
                        if is_new {
                            *known = Arc::new(kept.value.clone());
                        }
                        is_new || has_lapsed(known, time)
                    });
                }
                None => work.stop.cancel(),
            }
        }
        for (id, kept) in &*book {
            let is_free = !works.by_id.contains_key(id) && !works.going.contains(id);
            if is_free && is_wanted(&kept.value) {
                works.begin(self, &kept.value);
            }
        }
        if is_leased {
            works.let_go(self);
        }
    }

    /// Lets go of a webhook that no worker of this node works; returns whether it is let go.
    async fn let_go(&self, id: WebhookId) -> Result<bool, ReadError> {
        let log = self.log();
        let Some(mut kept) = log.progress(id).await? else {
            return Ok(true);
        };
        if kept.value.node != self.0.node {
            return Ok(true);
        }
        // Its worker may have ended with a request under way.
        let end = log.confirm().await?;
        kept.value.lose_sight(log.epochs().cursor(end));
        kept.value.node.clear();
        let put = log.put_progress(id, &kept.value, kept.revision).await?;
        Ok(put.is_some())
    }

    /// Forgets nodes that have been dead for long.
    async fn bury(&self) {
        let buried = {
            let mut nodes = self.0.nodes.lock().expect("no panic under this lock");
            nodes.buried(Instant::now())
        };
        for node in buried {
            if let Err(error) = self.log().bury(&node).await {
                tracing::debug!(node, %error, "a dead node is still kept");
            }
        }
    }

    fn count(&self, works: &Works) {
        let metrics = self.log().metrics();
        let mut sums = [0; 2];
        let mut failing = 0;
        for work in works.by_id.values() {
            let (news, recalls, is_failing) = work.seen.read();
            sums[0] += i64::from(news);
            sums[1] += i64::from(recalls);
            failing += i64::from(is_failing);
        }
        let count = i64::try_from(works.by_id.len()).unwrap_or(i64::MAX);
        metrics.webhooks.count(count, failing);
        metrics.webhooks.park(sums[0], sums[1]);
    }

    /// A request is under way that shows everything up to a place, until what this returns is dropped.
    fn sends(&self, id: WebhookId, covers: Cursor) -> Sending {
        let all = Arc::clone(&self.0.sending);
        let mut sending = all.lock().expect("no panic under this lock");
        sending.insert(id, covers.seq);
        drop(sending);
        Sending { all, id }
    }

    /// Up to which sequence a webhook may have been shown something of which nothing is kept yet.
    fn perhaps_shown(&self, id: WebhookId, progress: &Progress) -> u64 {
        if progress.node.is_empty() {
            return 0;
        }
        if progress.node != self.0.node {
            // Only its own node would know, if it lives.
            return u64::MAX;
        }
        let sending = self.0.sending.lock().expect("no panic under this lock");
        sending.get(&id).copied().unwrap_or(0)
    }

    /// Whether another node is surely dead, for whoever wants to take over from it.
    fn is_dead(&self, node: &str) -> bool {
        let nodes = self.0.nodes.lock().expect("no panic under this lock");
        nodes.is_dead(node, Instant::now())
    }
}

/// A request that is under way.
struct Sending {
    all: Arc<Mutex<HashMap<WebhookId, u64>>>,
    id: WebhookId,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut all = self.all.lock().expect("no panic under this lock");
        all.remove(&self.id);
    }
}

/// Whether it is a subscription whose lease has ended at a time in seconds from 1970: its worker is
/// woken until it has ended that.
fn has_lapsed(webhook: &Webhook, now: i64) -> bool {
    let lease = webhook.websub().and_then(|websub| websub.lease.as_ref());
    lease.is_some_and(|lease| lease.ends <= now)
}

/// The workers of a node.
#[derive(Default)]
struct Works {
    by_id: HashMap<WebhookId, Work>,
    /// Those that may be kept as this node's though their workers have ended: nobody else takes them
    /// over as long as this node lives.
    held: HashSet<WebhookId>,
    /// Those of them that are being let go.
    going: HashSet<WebhookId>,
    tasks: JoinSet<Done>,
}

/// What a task of a node has come to.
struct Done {
    id: WebhookId,
    is_let_go: bool,
}

impl Works {
    fn begin(&mut self, webhooks: &Webhooks, webhook: &Webhook) {
        let work = Work {
            webhook: watch::Sender::new(Arc::new(webhook.clone())),
            stop: CancellationToken::new(),
            seen: Arc::default(),
        };
        let (id, stop) = (webhook.id, work.stop.clone());
        let worker = Worker::new(
            webhooks.clone(),
            work.webhook.subscribe(),
            stop,
            Arc::clone(&work.seen),
        );
        self.tasks.spawn(async move {
            let is_let_go = worker.run().await;
            Done { id, is_let_go }
        });
        self.by_id.insert(id, work);
        self.held.remove(&id);
    }

    /// Lets go of all that no worker works.
    fn let_go(&mut self, webhooks: &Webhooks) {
        let held = self.held.extract_if(|id| !self.by_id.contains_key(id));
        for id in held {
            self.going.insert(id);
            let webhooks = webhooks.clone();
            self.tasks.spawn(async move {
                let let_go = webhooks.let_go(id).await;
                if let Err(error) = &let_go {
                    tracing::debug!(webhook = %id, %error, "a webhook is not let go; trying again");
                }
                let is_let_go = let_go.unwrap_or(false);
                Done { id, is_let_go }
            });
        }
    }

    /// A worker has ended: it was told to, or another has taken over.
    fn ended(&mut self, ended: Option<Result<Done, tokio::task::JoinError>>) {
        match ended {
            Some(Ok(Done { id, is_let_go })) => {
                if !self.going.remove(&id) {
                    self.by_id.remove(&id);
                }
                if !is_let_go {
                    self.held.insert(id);
                }
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a webhook's worker panicked");
                // Whose it was is not known: those that are gone are found by their channels.
                let is_gone = |work: &mut Work| work.webhook.receiver_count() == 0;
                let gone = self.by_id.extract_if(|_, work| is_gone(work));
                self.held.extend(gone.map(|(id, _)| id));
            }
            None => {}
        }
    }

    fn end_all(&self) {
        self.by_id.values().for_each(|work| work.stop.cancel());
    }
}
