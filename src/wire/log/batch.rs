//! Group commit: one writer for each stream takes whatever is queued and commits it as one atomic
//! batch.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    article::RequestId,
    fault::{Fault, Kind},
    wire::log::{
        Get, Log, RETRY_AFTER,
        batch::send::{BatchError, Sent},
        group::{Group, Outgoing, Whose},
    },
};

mod send;

/// Groups that may wait; their bytes are bounded apart.
const QUEUE_LEN_MAX: usize = 16_384;
/// Bytes of groups that may wait; a publisher waits for room, then is told to come back.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most messages of a batch (nats-server's own limit, ADR-50).
pub const BATCH_LEN_MAX: usize = 1000;
/// Bytes at which a batch is closed; a single group may be larger.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long one commit may take before the same groups are sent again: several times what the slowest
/// of late took, within these. A leader that steps down may leave a batch without an answer.
const COMMIT_TIMEOUT_MIN: Duration = Duration::from_millis(250);
const COMMIT_TIMEOUT_MAX: Duration = Duration::from_secs(2);
const COMMIT_TIMEOUT_FACTOR: u32 = 4;
/// The longest that a batch waits for more: a fraction of what a commit takes at its fastest.
const LINGER_MAX: Duration = Duration::from_millis(3);
/// Reads of the leader that may be under way to explain a refusal.
const CHECKS_MAX: usize = 64;
/// Pause before the same groups are sent again; it doubles each time up to the second figure: an
/// election takes seconds, and each try is a whole batch.
const RESEND_PAUSE: Duration = Duration::from_millis(20);
const RESEND_PAUSE_MAX: Duration = Duration::from_millis(100);

/// A group that waits for its commit.
#[derive(Debug)]
pub struct Job {
    group: Group,
    deadline: Instant,
    /// How often it was sent: from the second time on, a refusal may mean that it is in the log.
    send_count: u32,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    /// Room in the queue, given back when the job ends.
    _room: OwnedSemaphorePermit,
}

/// Where a group went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Sequence of its record.
    pub seq: u64,
}

/// Why a group is not known to be in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The article has moved on, or the request has its answer: read both from the leader.
    #[error("the article or the request is no longer as it was")]
    Stale {
        /// Whether this very group may be what moved it.
        is_ours_possible: bool,
    },
    /// NATS did not confirm in time.
    #[error("the log did not confirm in time")]
    Unavailable {
        /// Whether the group may be in the log all the same: the same request tells.
        is_in_doubt: bool,
    },
    /// The queue had no room in time.
    #[error("the queue of the log has no room")]
    Busy,
    /// The wall is reached.
    #[error("the log is full")]
    Full,
    /// NATS refuses what no retry mends.
    #[error("NATS refuses the batch: {0}")]
    Refused(String),
}

impl AppendError {
    /// What the caller can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Stale { .. } => {
                let message = "another publisher changed the article at the same time; read it, \
                               then send the request again";
                Fault::new(Kind::Conflict, "REVISION_CONFLICT", message)
            }
            Self::Unavailable { is_in_doubt } => {
                let message = if *is_in_doubt {
                    "the log did not confirm in time; send the same request again to learn how it \
                     ended"
                } else {
                    "the log is out of reach; nothing was published, send the same request again"
                };
                Fault::unavailable("LOG_UNAVAILABLE", message, RETRY_AFTER)
            }
            Self::Busy => {
                let message = "too much is waiting to be written; send the same request again";
                Fault::unavailable("LOG_BUSY", message, RETRY_AFTER)
            }
            Self::Full => {
                let message = "the log has reached its size; the operator must give it room";
                Fault {
                    retry_after: Some(Duration::from_secs(60)),
                    ..Fault::new(Kind::Exhausted, "LOG_FULL", message)
                }
            }
            Self::Refused(_) => Fault::new(
                Kind::Bug,
                "LOG_REFUSED",
                "the log refuses the article; ask the operator",
            ),
        }
    }
}

/// Which stream a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The log itself.
    Log,
    /// The bucket of durable subscriptions.
    Subscriptions,
}

impl Lane {
    fn stream(self, log: &Log) -> &Stream {
        match self {
            Self::Log => &log.0.connection.stream,
            Self::Subscriptions => &log.subscriptions().stream,
        }
    }
}

/// The writers of a node, which whoever opens the log runs.
#[derive(Debug)]
pub struct Writers {
    /// That of the log itself.
    pub log: Writer,
    /// That of durable subscriptions.
    pub subscriptions: Writer,
}

impl Log {
    /// Puts a group into the log, whole or not at all, durably, before `deadline`.
    ///
    /// Dropping the future does not take the group back.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, group: Group, deadline: Instant) -> Result<Appended, AppendError> {
        self.0.queue.append(group, deadline).await
    }
}

/// The way to a writer, bounded in groups and in bytes.
#[derive(Debug)]
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    /// Bytes that it still takes.
    bytes: Arc<Semaphore>,
}

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        let bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        (Self { jobs, bytes }, receiver)
    }

    /// As [`Log::append`].
    pub(super) async fn append(
        &self,
        group: Group,
        deadline: Instant,
    ) -> Result<Appended, AppendError> {
        let bytes = u32::try_from(group.bytes.min(QUEUE_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bytes).acquire_many_owned(bytes);
        let room = match timeout_at(deadline, room).await {
            Ok(room) => room.expect("this semaphore is never closed"),
            Err(_) => return Err(AppendError::Busy),
        };
        let (reply, answer) = oneshot::channel();
        let job = Job {
            group,
            deadline,
            send_count: 0,
            reply,
            _room: room,
        };
        let gone = AppendError::Unavailable { is_in_doubt: true };
        match timeout_at(deadline, self.jobs.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(AppendError::Unavailable { is_in_doubt: false }),
            Err(_) => return Err(AppendError::Busy),
        }
        // The writer looks at the deadline between two tries only, and a try may take longer.
        match timeout_at(deadline, answer).await {
            Ok(answer) => answer.unwrap_or(Err(gone)),
            Err(_) => Err(gone),
        }
    }
}

/// The one writer of a stream on this node.
#[derive(Debug)]
pub struct Writer {
    log: Log,
    lane: Lane,
    jobs: mpsc::Receiver<Job>,
    /// Taken from the queue, but not in a batch yet.
    held: VecDeque<Job>,
    /// How many publishers seem to be at work, by the last commit.
    expected: usize,
    /// How long they may be waited for.
    linger: Duration,
    /// How long the slowest commit of late took.
    slowest: Duration,
}

impl Writer {
    pub(super) fn new(log: Log, lane: Lane, jobs: mpsc::Receiver<Job>) -> Self {
        Self {
            log,
            lane,
            jobs,
            held: VecDeque::new(),
            expected: 0,
            linger: Duration::ZERO,
            // Nothing is known of this server yet.
            slowest: COMMIT_TIMEOUT_MAX,
        }
    }

    /// Commits what is queued until `stop`, then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            if self.held.is_empty() {
                tokio::select! {
                    biased;
                    // Dropping `recv` loses nothing: it takes a job only when it returns it.
                    job = self.jobs.recv() => match job {
                        Some(job) => self.held.push_back(job),
                        None => return,
                    },
                    () = stop.cancelled() => return,
                }
            }
            self.gather().await;
            let batch = self.take_batch();
            let (batch_len, began) = (batch.len(), Instant::now());
            self.commit(batch).await;
            let metrics = self.log.metrics();
            let duration = match self.lane {
                Lane::Log => &metrics.commit_seconds,
                Lane::Subscriptions => &metrics.recipients.commit_seconds,
            };
            duration.observe(began.elapsed().as_secs_f64());
            let (lane, took, expected) = (self.lane, began.elapsed(), self.expected);
            tracing::debug!(?lane, batch_len, ?took, expected, "committed");
            // Whoever was answered just now may come back; whoever is queued is there.
            self.expected = batch_len + self.held.len() + self.jobs.len();
            self.linger = (began.elapsed() / 4).min(LINGER_MAX);
        }
    }

    /// Waits a moment for publishers who were answered by the last commit to come back.
    ///
    /// Perf: publishers in turn fall into two halves otherwise, which wait for each other's
    /// commits, and every commit costs the same handful of syncs.
    async fn gather(&mut self) {
        let until = Instant::now() + self.linger;
        while self.held.len() + self.jobs.len() < self.expected && self.held.len() < BATCH_LEN_MAX {
            match timeout_at(until, self.jobs.recv()).await {
                Ok(Some(job)) => self.held.push_back(job),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// As many jobs as fit one batch, in their order, at most one step of an article or subscription.
    fn take_batch(&mut self) -> Vec<Job> {
        let (mut batch, mut len, mut bytes) = (Vec::new(), 0, 0);
        let mut known: HashSet<Whose> = HashSet::new();
        let mut requests: HashSet<RequestId> = HashSet::new();
        let mut held = std::mem::take(&mut self.held);
        while let Some(job) = held.pop_front().or_else(|| self.jobs.try_recv().ok()) {
            let group = &job.group;
            let is_first = batch.is_empty();
            let fits = len + group.messages.len() <= BATCH_LEN_MAX
                && (is_first || bytes + group.bytes <= BATCH_BYTES_MAX);
            // A batch that names a subject's expectation twice fails as a whole (error 10164).
            let is_repeated = |id| requests.contains(&id);
            let is_new =
                !known.contains(&group.whose) && !group.request_id.is_some_and(is_repeated);
            if fits && is_new {
                len += group.messages.len();
                bytes += group.bytes;
                known.insert(group.whose.clone());
                requests.extend(group.request_id);
                batch.push(job);
            } else {
                // Later revisions of an article that is held must not overtake it.
                known.insert(group.whose.clone());
                self.held.push_back(job);
                if !fits {
                    break;
                }
            }
        }
        self.held.extend(held);
        batch
    }

    /// Commits a batch, in parts if need be, and answers every job.
    async fn commit(&mut self, batch: Vec<Job>) {
        let mut parts = vec![batch];
        let (mut pause, mut is_resent) = (RESEND_PAUSE, false);
        while let Some(mut part) = parts.pop() {
            part = self.without_expired(part);
            if part.is_empty() {
                continue;
            }
            let began = Instant::now();
            let patience = self.commit_timeout(is_resent);
            let sent = self.lane.send(&self.log, &mut part, patience).await;
            if sent.is_ok() {
                // Forgotten by and by: one slow commit of a busy disk says little of the next.
                self.slowest = began.elapsed().max(self.slowest - self.slowest / 16);
            }
            match sent {
                Ok(Sent { first_seq, read }) if first_seq <= read => {
                    self.succeed_after_loss(part, first_seq).await;
                }
                Ok(Sent { first_seq, .. }) => {
                    self.succeed(part, first_seq);
                    (pause, is_resent) = (RESEND_PAUSE, false);
                }
                Err(BatchError::Stale) if part.len() == 1 => stale(part),
                Err(BatchError::Stale) => parts.extend(self.without_stale(part).await),
                Err(BatchError::TooLarge) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(BatchError::TooLarge) => {
                    fail(part, &AppendError::Refused("it is too large".into()));
                }
                Err(BatchError::Again(why)) => {
                    if !is_resent {
                        tracing::warn!(why, group_count = part.len(), "sending a batch again");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(RESEND_PAUSE_MAX);
                    is_resent = true;
                    parts.push(part);
                }
                Err(BatchError::Away) => {
                    // The pulse has told so already, and the try itself took a while.
                    sleep(RESEND_PAUSE).await;
                    parts.push(part);
                }
                Err(BatchError::Full) => fail(part, &AppendError::Full),
                Err(BatchError::Refused(why)) => {
                    tracing::error!(why, "NATS refuses a batch");
                    fail(part, &AppendError::Refused(why));
                }
            }
        }
    }

    /// The second try gets all the time there is: the first may have been too short for a disk that
    /// has become slow.
    fn commit_timeout(&self, is_resent: bool) -> Duration {
        if is_resent {
            return COMMIT_TIMEOUT_MAX;
        }
        (self.slowest * COMMIT_TIMEOUT_FACTOR).clamp(COMMIT_TIMEOUT_MIN, COMMIT_TIMEOUT_MAX)
    }

    /// The commit took a place that this node had read already: it met a log that had lost its
    /// newest part, before anybody could see that. The new life begins with this very commit.
    async fn succeed_after_loss(&self, part: Vec<Job>, first_seq: u64) {
        tracing::error!(first_seq, "the log lost its newest part before a commit");
        match self.log.begin_epoch_here(first_seq).await {
            Ok(()) => self.succeed(part, first_seq),
            Err(error) => {
                tracing::error!(%error, "the new life of the log could not be begun");
                fail(part, &AppendError::Unavailable { is_in_doubt: true });
            }
        }
    }

    fn succeed(&self, part: Vec<Job>, first_seq: u64) {
        let mut seq = first_seq;
        for job in part {
            let len = u64::try_from(job.group.messages.len()).expect("usize fits u64");
            if let Some(article_id) = job.group.killed {
                // Before anybody learns of it: this node shows no earlier text any more.
                self.log.killed().insert(article_id, seq);
                self.log.0.erase_wake.notify_one();
            }
            // A caller that has gone away learns of it when it asks again.
            let _gone = job.reply.send(Ok(Appended { seq }));
            seq += len;
        }
    }

    fn without_expired(&self, part: Vec<Job>) -> Vec<Job> {
        let now = Instant::now();
        let (expired, part): (Vec<_>, Vec<_>) =
            part.into_iter().partition(|job| job.deadline <= now);
        for job in expired {
            let error = AppendError::Unavailable {
                is_in_doubt: job.send_count > 0,
            };
            let _gone = job.reply.send(Err(error));
        }
        part
    }

    /// Finds the groups whose expectations do not hold by asking the leader, answers them, and
    /// returns the rest: as one part, or singly where the leader's word does not explain the
    /// refusal.
    async fn without_stale(&self, part: Vec<Job>) -> Vec<Vec<Job>> {
        // Perf: one read round for the whole batch instead of a commit per bisection.
        let checks: Vec<_> = part
            .iter()
            .map(|job| is_stale(self.log.clone(), self.lane, &job.group))
            .collect();
        let verdicts: Vec<bool> = stream::iter(checks).buffered(CHECKS_MAX).collect().await;
        let (mut bad, mut good) = (Vec::new(), Vec::new());
        for (job, is_stale) in part.into_iter().zip(verdicts) {
            if is_stale {
                bad.push(job)
            } else {
                good.push(job)
            }
        }
        if bad.is_empty() {
            return good.into_iter().rev().map(|job| vec![job]).collect();
        }
        stale(bad);
        vec![good]
    }
}

/// Whether the leader says that a group's expectations do not hold.
fn is_stale(log: Log, lane: Lane, group: &Group) -> impl Future<Output = bool> + use<> {
    let expected = |message: &Outgoing| Some((message.subject.clone(), message.expected?));
    let expectations: Vec<_> = group.messages.iter().filter_map(expected).collect();
    async move {
        for (subject, seq) in expectations {
            match Log::get_from(lane.stream(&log), Get::Last(subject)).await {
                Ok(last) if last.as_ref().map_or(0, |message| message.sequence) != seq => {
                    return true;
                }
                // Unknown: sent again, singly if nothing else explains the refusal.
                Ok(_) | Err(_) => {}
            }
        }
        false
    }
}

fn stale(jobs: Vec<Job>) {
    for job in jobs {
        let error = AppendError::Stale {
            is_ours_possible: job.send_count > 1,
        };
        let _gone = job.reply.send(Err(error));
    }
}

fn fail(jobs: Vec<Job>, error: &AppendError) {
    for job in jobs {
        let _gone = job.reply.send(Err(error.clone()));
    }
}
