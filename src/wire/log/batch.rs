//! Group commit: one writer takes whatever is queued and commits it as one atomic batch.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_nats::{
    RequestErrorKind,
    client::{PublishErrorKind, Request},
    header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE},
    jetstream::{ErrorCode, publish::PublishAck, response::Response},
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    article::{ArticleId, RequestId},
    fault::{Fault, Kind},
    wire::log::{
        Get, Log, RETRY_AFTER,
        group::{Group, Outgoing},
    },
};

/// Groups that may wait; their bytes are bounded apart.
pub const QUEUE_LEN_MAX: usize = 16_384;
/// Bytes of groups that may wait; a publisher waits for room, then is told to come back.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most messages of a batch (nats-server's own limit, ADR-50).
const BATCH_LEN_MAX: usize = 1000;
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

/// A batch that is in the log.
struct Sent {
    /// The sequence of its first message.
    first_seq: u64,
    /// How far this node had read when it was sent.
    read: u64,
}

/// How a batch failed.
#[derive(Debug)]
enum BatchError {
    /// An expectation of some group does not hold.
    Stale,
    /// Nothing was sent: the log is out of reach.
    Away,
    /// Nobody knows, or the server is busy: the same batch may succeed.
    Again(String),
    /// Too many messages, or too large a one, for this server.
    TooLarge,
    Full,
    Refused(String),
}

impl Log {
    /// Puts a group into the log, whole or not at all, durably, before `deadline`.
    ///
    /// Dropping the future does not take the group back.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, group: Group, deadline: Instant) -> Result<Appended, AppendError> {
        let bytes = u32::try_from(group.bytes.min(QUEUE_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0.queue_bytes).acquire_many_owned(bytes);
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
        match timeout_at(deadline, self.0.queue.send(job)).await {
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

/// The one writer of a node.
#[derive(Debug)]
pub struct Writer {
    log: Log,
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
    pub(super) fn new(log: Log, jobs: mpsc::Receiver<Job>) -> Self {
        Self {
            log,
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
            metrics
                .commit_seconds
                .observe(began.elapsed().as_secs_f64());
            tracing::debug!(batch_len, took = ?began.elapsed(), expected = self.expected, "committed");
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

    /// As many jobs as fit one batch, in their order, at most one revision of an article.
    fn take_batch(&mut self) -> Vec<Job> {
        let (mut batch, mut len, mut bytes) = (Vec::new(), 0, 0);
        let mut articles: HashSet<ArticleId> = HashSet::new();
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
                !articles.contains(&group.article_id) && !group.request_id.is_some_and(is_repeated);
            if fits && is_new {
                len += group.messages.len();
                bytes += group.bytes;
                articles.insert(group.article_id);
                requests.extend(group.request_id);
                batch.push(job);
            } else {
                // Later revisions of an article that is held must not overtake it.
                articles.insert(group.article_id);
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
            let sent = self.send(&mut part, self.commit_timeout(is_resent)).await;
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
            if job.group.is_kill {
                // Before anybody learns of it: this node shows no earlier text any more.
                self.log.killed().insert(job.group.article_id, seq);
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
            .map(|job| is_stale(self.log.clone(), &job.group))
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

    /// Sends one batch and waits for its commit.
    async fn send(&self, part: &mut [Job], patience: Duration) -> Result<Sent, BatchError> {
        // What this node knows may be of a server that has since been restored from a backup.
        if !self.log.is_generation_confirmed() {
            self.log.confirm().await.map_err(|_| BatchError::Away)?;
        }
        let read = self.log.read_up_to();
        let client = &self.log.0.connection.client;
        let mut generation = self.log.0.connection.generation.clone();
        generation.mark_unchanged();
        let batch_id = nuid();
        let last = part
            .iter()
            .map(|job| job.group.messages.len())
            .sum::<usize>();
        let mut number = 0;
        for job in part.iter_mut() {
            job.send_count += 1;
            for message in &job.group.messages {
                number += 1;
                let mut headers = message.header_map();
                headers.insert(NATS_BATCH_ID, batch_id.as_str());
                headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
                let (subject, payload) = (message.subject.clone(), message.payload.clone());
                if number < last {
                    client
                        .publish_with_headers(subject, headers, payload)
                        .await
                        .map_err(|error| match error.kind() {
                            PublishErrorKind::MaxPayloadExceeded => BatchError::TooLarge,
                            PublishErrorKind::InvalidSubject => {
                                BatchError::Refused(error.to_string())
                            }
                            PublishErrorKind::Send => BatchError::Again(error.to_string()),
                        })?;
                    continue;
                }
                headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
                let request = Request::new()
                    .headers(headers)
                    .payload(payload)
                    .timeout(Some(patience));
                let response = tokio::select! {
                    biased;
                    response = client.send_request(subject, request) => response,
                    // What is dropped here waits for an answer that the lost connection took along.
                    _ = generation.changed() => {
                        return Err(BatchError::Again("the connection was lost".to_owned()));
                    }
                };
                let response = response.map_err(|error| match error.kind() {
                    RequestErrorKind::MaxPayloadExceeded => BatchError::TooLarge,
                    RequestErrorKind::InvalidSubject => BatchError::Refused(error.to_string()),
                    RequestErrorKind::TimedOut
                    | RequestErrorKind::NoResponders
                    | RequestErrorKind::Other => BatchError::Again(error.to_string()),
                })?;
                let first_seq = committed(&response.payload, last)?;
                return Ok(Sent { first_seq, read });
            }
        }
        Err(BatchError::Refused("an empty batch".into()))
    }
}

/// Whether the leader says that a group's expectations do not hold.
fn is_stale(log: Log, group: &Group) -> impl Future<Output = bool> + use<> {
    let expected = |message: &Outgoing| Some((message.subject.clone(), message.expected?));
    let expectations: Vec<_> = group.messages.iter().filter_map(expected).collect();
    async move {
        for (subject, seq) in expectations {
            match log.get(Get::Last(subject)).await {
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

/// Reads the acknowledgement of a batch of `len` messages.
fn committed(payload: &[u8], len: usize) -> Result<u64, BatchError> {
    let response: Response<PublishAck> = serde_json::from_slice(payload)
        .map_err(|error| BatchError::Again(format!("unreadable acknowledgement: {error}")))?;
    match response {
        Response::Ok(ack) => {
            let len = u64::try_from(len).expect("usize fits u64");
            Ok(ack.sequence + 1 - len)
        }
        Response::Err { error } => Err(match error.error_code() {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE
            | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => BatchError::Stale,
            ErrorCode::ATOMIC_PUBLISH_TOO_LARGE_BATCH => BatchError::TooLarge,
            ErrorCode::STREAM_STORE_FAILED
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES => BatchError::Full,
            ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH
            | ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT
            | ErrorCode::STREAM_TOO_MANY_REQUESTS
            | ErrorCode::STREAM_NOT_FOUND
            | ErrorCode::CLUSTER_NOT_LEADER
            | ErrorCode::CLUSTER_NOT_AVAILABLE => BatchError::Again(error.to_string()),
            _ if matches!(error.code(), 429 | 503) => BatchError::Again(error.to_string()),
            _ => BatchError::Refused(error.to_string()),
        }),
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

fn nuid() -> String {
    format!("{:032x}", rand::random::<u128>())
}
