//! The log: one JetStream stream, the only buffer and the only order.
//!
//! Reads that decide go to the stream's leader. What a node shows to readers comes from one tail
//! that follows the history records, and from pages of them for readers that are behind.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{
    kv,
    message::StreamMessage,
    stream::{RawMessageError, RawMessageErrorKind, Stream},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    access::{author::key_name, key::KeyId},
    article::{ArticleId, RequestId},
    cursor::{Cursor, Epochs},
    fault::{Fault, Kind},
    routing::taxonomy::Taxonomy,
    telemetry::Metrics,
    topic::Topic,
    wire::{
        log::{
            batch::Queue,
            cache::{Caches, Head, Known},
            clock::Clock,
            embargo::Embargoes,
            killed::Killed,
            open::{Connection, Generation},
        },
        record::{Answer, Record, RecordError, Stored},
        subject,
    },
};

pub mod admin;
pub mod audit;
pub mod batch;
mod bucket;
pub mod cache;
pub mod clock;
mod connect;
pub mod embargo;
pub mod epoch;
pub mod erase;
pub mod freshness;
pub mod group;
mod info;
pub mod killed;
pub mod open;
pub mod page;
pub mod partners;
pub mod pulse;
pub mod retain;
pub mod servers;
pub mod sessions;
pub mod subscriptions;
pub mod tail;
pub mod webhooks;

/// How long one request to the leader may take before it is sent again.
const API_TIMEOUT: Duration = Duration::from_millis(500);
/// How long reads that decide are tried in all.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two tries of a read.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// What a caller is told to wait while NATS is away.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A handle on the log; clones share everything.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    connection: Connection,
    /// Groups on their way to the log's writer.
    queue: Queue,
    /// Entries on their way to the writer of durable subscriptions.
    subscriptions_queue: Queue,
    epochs: watch::Sender<Arc<Epochs>>,
    /// The lives that the tail knows: it has gone back to where the newest begins.
    tail_epochs: watch::Sender<Arc<Epochs>>,
    /// The highest sequence up to which this node has read.
    read_up_to: watch::Sender<u64>,
    /// The sequence of the newest record that the tail has read: the log can't end before it
    /// unless it lost something.
    seen: AtomicU64,
    /// When this node last knew that it had read to the leader's end, and to where.
    confirmed: watch::Sender<Option<Confirmed>>,
    /// One confirmation at a time; those who ask meanwhile share the next.
    confirming: tokio::sync::Mutex<()>,
    /// Tells the tail to begin anew: its consumer is gone or stuck.
    tail_restart: Notify,
    /// Tells the eraser that there is work.
    erase_wake: Notify,
    retained_from: AtomicU64,
    killed: Killed,
    /// What time it is for the log.
    clock: Clock,
    embargoes: Embargoes,
    caches: Mutex<Caches>,
    pages: Semaphore,
}

/// The moment of the last proof that this node is not behind.
#[derive(Clone, Copy, Debug)]
pub struct Confirmed {
    /// When the leader was asked.
    pub asked: Instant,
    /// The leader's last sequence then; this node has read to it since.
    pub last_seq: u64,
    /// Which connection it was asked on.
    generation: Generation,
}

/// Why the log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// NATS does not answer; the same read may succeed later.
    #[error("the log does not answer")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// This node has not read to the log's end.
    #[error("this node is behind the log")]
    Behind,
    /// Bytes that no release of Barid wrote.
    #[error("the log holds an unreadable record at {seq}")]
    Corrupt {
        /// Where.
        seq: u64,
        /// What is wrong.
        source: RecordError,
    },
}

impl ReadError {
    /// What the caller can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unavailable(_) | Self::Behind => {
                let message = "the log is out of reach or this node is behind it; try again";
                Fault::unavailable("LOG_UNAVAILABLE", message, RETRY_AFTER)
            }
            Self::Corrupt { .. } => Self::corrupt_fault(),
        }
    }

    /// What is said of bytes that no release of Barid wrote.
    fn corrupt_fault() -> Fault {
        let message = "a stored record is not readable; ask the operator";
        Fault::new(Kind::Bug, "RECORD_UNREADABLE", message)
    }
}

/// Which message to get from the leader.
#[derive(Clone, Debug)]
enum Get {
    At(u64),
    Last(String),
    Next(String, u64),
}

impl Log {
    /// The newest record of an article, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn head(&self, id: ArticleId) -> Result<Option<Stored>, ReadError> {
        let found = self.get(Get::Last(subject::article(id))).await?;
        let stored = found.map(stored).transpose()?;
        if let Some(stored) = &stored {
            self.note(stored);
        }
        Ok(stored)
    }

    /// The record at a sequence, as the leader has it; none if it was erased.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn record(&self, seq: u64) -> Result<Option<Stored>, ReadError> {
        self.get(Get::At(seq)).await?.map(stored).transpose()
    }

    /// The first record at or after a sequence, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next_record(&self, seq: u64) -> Result<Option<Stored>, ReadError> {
        let get = Get::Next(subject::ARTICLES.to_owned(), seq.max(1));
        self.get(get).await?.map(stored).transpose()
    }

    /// The stored answer to a request, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn answer(
        &self,
        key: Option<KeyId>,
        id: RequestId,
    ) -> Result<Option<Answer>, ReadError> {
        let at = subject::request(&key_name(key), id);
        let Some(message) = self.get(Get::Last(at)).await? else {
            return Ok(None);
        };
        let seq = message.sequence;
        let answer = Answer::decode(message.payload, seq)
            .map_err(|source| ReadError::Corrupt { seq, source })?;
        self.0
            .caches
            .lock()
            .expect("no panic under this lock")
            .answered(key, id, answer.clone());
        Ok(Some(answer))
    }

    /// What a topic means: itself, or of an alias another; none = neither the taxonomy nor the log knows it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn meant(
        &self,
        topic: &Topic,
        taxonomy: &Taxonomy,
    ) -> Result<Option<Topic>, ReadError> {
        if let Some(meant) = taxonomy.resolve(topic) {
            return Ok(Some(meant.clone()));
        }
        Ok(self.has_topic(topic).await?.then(|| topic.clone()))
    }

    /// Whether any copy of this topic, or of one beneath it, is in the log.
    async fn has_topic(&self, topic: &Topic) -> Result<bool, ReadError> {
        let own = subject::news(topic);
        let beneath = format!("{own}.>");
        Ok(self.get(Get::Last(own)).await?.is_some()
            || self.get(Get::Last(beneath)).await?.is_some())
    }

    /// What this node remembers of an article; may be behind the leader.
    pub fn cached_head(&self, id: ArticleId) -> Option<Arc<Head>> {
        self.0
            .caches
            .lock()
            .expect("no panic under this lock")
            .head(id)
    }

    /// What this node remembers of a request.
    pub fn cached_answer(&self, key: Option<KeyId>, id: RequestId) -> Option<Known> {
        self.0
            .caches
            .lock()
            .expect("no panic under this lock")
            .answer(key, id)
    }

    /// Remembers what a record says of its article and its request, and judges its draft by it.
    pub fn note(&self, stored: &Stored) {
        self.embargoes().judge(stored);
        match Head::of(stored) {
            Ok(head) => {
                self.0
                    .caches
                    .lock()
                    .expect("no panic under this lock")
                    .noted(stored, head);
            }
            // Readers of this very record get the error; here it is only not remembered.
            Err(error) => tracing::error!(seq = stored.seq, %error, "unreadable record"),
        }
    }

    /// Remembers the answer to a request of this node.
    pub fn note_answer(&self, key: Option<KeyId>, id: RequestId, answer: Answer) {
        self.0
            .caches
            .lock()
            .expect("no panic under this lock")
            .answered(key, id, answer);
    }

    /// Articles whose earlier revisions must not be shown any more.
    pub fn killed(&self) -> &Killed {
        &self.0.killed
    }

    /// What is measured of this node.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The lives of the log.
    pub fn epochs(&self) -> Arc<Epochs> {
        Arc::clone(&self.0.epochs.borrow())
    }

    /// Follows the lives of the log.
    pub fn epochs_watch(&self) -> watch::Receiver<Arc<Epochs>> {
        self.0.epochs.subscribe()
    }

    /// The cursor of a sequence.
    pub fn cursor(&self, seq: u64) -> Cursor {
        self.0.epochs.borrow().cursor(seq)
    }

    /// The first sequence that readers of history may get.
    pub fn retained_from(&self) -> u64 {
        self.0.retained_from.load(Ordering::Acquire)
    }

    /// Follows how far this node has read.
    pub fn read_watch(&self) -> watch::Receiver<u64> {
        self.0.read_up_to.subscribe()
    }

    /// How far this node has read.
    pub fn read_up_to(&self) -> u64 {
        *self.0.read_up_to.borrow()
    }

    /// Says that everything up to a sequence can be read here.
    pub fn mark_read(&self, seq: u64) {
        self.0.read_up_to.send_if_modified(|read| {
            let is_new = *read < seq;
            *read = seq.max(*read);
            is_new
        });
    }

    /// The newest record that the tail has read.
    fn seen(&self) -> u64 {
        self.0.seen.load(Ordering::Acquire)
    }

    /// Says that the tail has read a record.
    pub fn mark_seen(&self, seq: u64) {
        self.0.seen.store(seq, Ordering::Release);
    }

    /// The leader's last sequence.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn last_seq(&self) -> Result<u64, ReadError> {
        Ok(self.info().await?.state.last_sequence)
    }

    fn meta(&self) -> &kv::Store {
        &self.0.connection.meta
    }

    fn subscriptions(&self) -> &kv::Store {
        &self.0.connection.subscriptions
    }

    fn partners(&self) -> &kv::Store {
        &self.0.connection.partners
    }

    /// Asks the log's leader for a message.
    async fn get(&self, get: Get) -> Result<Option<StreamMessage>, ReadError> {
        Self::get_from(&self.0.connection.stream, get).await
    }

    /// Asks a stream's leader for a message, again and again until it answers or patience ends.
    async fn get_from(stream: &Stream, get: Get) -> Result<Option<StreamMessage>, ReadError> {
        let deadline = Instant::now() + READ_PATIENCE;
        loop {
            let builder = stream.raw_message_builder();
            let builder = match get.clone() {
                Get::At(seq) => builder.sequence(seq),
                Get::Last(subject) => builder.last_by_subject(subject),
                Get::Next(subject, seq) => builder.next_by_subject(subject).sequence(seq),
            };
            let error: RawMessageError = match builder.send().await {
                Ok(message) => return Ok(Some(message)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                    return Ok(None);
                }
                Err(error) => error,
            };
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(unavailable(error));
            }
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// Reads a history record.
fn stored(message: StreamMessage) -> Result<Stored, ReadError> {
    let (seq, time_ns) = (message.sequence, message.time.unix_timestamp_nanos());
    let record =
        Record::decode(message.payload).map_err(|source| ReadError::Corrupt { seq, source })?;
    Ok(Stored {
        seq,
        time_ns,
        record,
    })
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> ReadError {
    ReadError::Unavailable(Some(Box::new(error)))
}

/// Waits for a value that satisfies a condition, for a while.
async fn wait_for<T>(
    receiver: &mut watch::Receiver<T>,
    patience: Duration,
    condition: impl FnMut(&T) -> bool,
) -> bool {
    timeout(patience, receiver.wait_for(condition))
        .await
        .is_ok_and(|found| found.is_ok())
}

/// Reads again while the log has no leader and the caller still waits.
///
/// # Errors
/// [`ReadError`]: what the last try says at the deadline, or what no waiting mends.
pub async fn patiently<T, F>(deadline: Instant, read: impl Fn() -> F) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
{
    loop {
        match read().await {
            Err(ReadError::Unavailable(_) | ReadError::Behind) if Instant::now() < deadline => {}
            result => return result,
        }
        // Some reads try for a while by themselves; others fail at once.
        sleep(RETRY_PAUSE).await;
    }
}
