//! Bucket: what is done alike with every bucket of the log: entries are kept over the version that
//! they were made from, and followed live.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_nats::{
    HeaderValue,
    jetstream::kv::{
        CreateErrorKind, Entry, Operation, PurgeErrorKind, Store, UpdateErrorKind, Watch,
    },
};
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    future::{self, BoxFuture, FutureExt as _},
    stream,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};

use crate::wire::log::{Get, Log, ReadError, unavailable};

/// Time between two questions where a bucket ends.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long the answer may take.
const ASK_PATIENCE: Duration = Duration::from_secs(1);
/// How long nothing may come of what a bucket holds. Whoever follows it begins anew after that: the
/// consumer may be gone with its server, of which only a silence of many seconds would tell.
const SILENCE_MAX: Duration = Duration::from_millis(600);

/// What marks an entry as removed (ADR-8).
const OPERATION: &str = "KV-Operation";

/// What whoever follows a bucket sees.
#[derive(Debug)]
pub(super) enum Followed {
    /// It begins with all entries of a bucket that ends at this revision.
    Begun(u64),
    /// An entry as it is now, or that it is gone.
    Entry(Entry),
    /// All that there was has been seen; told once.
    CaughtUp,
    /// All has been seen that was there at this moment. What was changed on its way is seen with its
    /// newer state alone, which comes after this.
    Confirmed(Instant),
}

/// An entry as the bucket's leader has it, or the mark of its removal. Of the store itself any replica
/// would be asked, which may be behind.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn entry(store: &Store, key: &str) -> Result<Option<Entry>, ReadError> {
    let last = Get::Last(format!("{}{key}", store.prefix));
    let message = Log::get_from(&store.stream, last).await?;
    Ok(message.map(|message| {
        let operation = message.headers.get(OPERATION).map(HeaderValue::as_str);
        Entry {
            bucket: store.name.clone(),
            key: key.to_owned(),
            value: message.payload,
            revision: message.sequence,
            delta: 0,
            created: message.time,
            operation: match operation {
                None => Operation::Put,
                Some("DEL") => Operation::Delete,
                Some(_) => Operation::Purge,
            },
            seen_current: true,
        }
    }))
}

/// Keeps an entry over the version that it was made from, 0 for a new one. Returns the new version;
/// none if somebody else was faster.
///
/// # Errors
/// [`ReadError`]: it may be kept all the same.
pub(super) async fn put(
    store: &Store,
    key: &str,
    value: Bytes,
    revision: u64,
) -> Result<Option<u64>, ReadError> {
    if revision == 0 {
        return match store.create(key, value).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(unavailable(error)),
        };
    }
    match store.update(key, value, revision).await {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

/// Removes an entry with all that was kept of it; returns whether it was still that version.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn remove(store: &Store, key: &str, revision: u64) -> Result<bool, ReadError> {
    match store.purge_expect_revision(key, Some(revision)).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == PurgeErrorKind::WrongLastRevision => Ok(false),
        Err(error) => Err(unavailable(error)),
    }
}

/// Where a bucket ends, for whoever has seen these keys up to a revision.
async fn end_of(store: &Store, keys: &[String], seen: u64) -> Result<u64, ReadError> {
    let info = store.stream.get_info().await.map_err(unavailable)?;
    let mut end = info.state.last_sequence;
    if end > seen {
        // Of other keys, perhaps, or gone without a mark.
        end = 0;
        for key in keys {
            let last = entry(store, key).await?;
            end = end.max(last.map_or(0, |entry| entry.revision));
        }
    }
    Ok(end)
}

/// Whoever follows some keys of a bucket.
struct Follower {
    store: Store,
    keys: Vec<String>,
    watch: Watch,
    /// Of connections to NATS.
    connections: watch::Receiver<u64>,
    /// What is to be told first.
    told: VecDeque<Followed>,
    is_caught_up: bool,
    /// The highest revision that has come, and when.
    seen: u64,
    seen_at: Instant,
    asks: Interval,
    /// Somebody waits for the answer.
    wanted: Arc<Notify>,
    asking: Option<(Instant, BoxFuture<'static, Option<u64>>)>,
    /// Where the bucket ended at a moment; that is to come.
    awaited: Option<(Instant, u64)>,
}

impl Follower {
    /// What is seen next; none if it has to begin anew.
    async fn next(&mut self) -> Option<Result<Followed, ReadError>> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(Ok(told));
            }
            let asking = async {
                match &mut self.asking {
                    Some((asked, end)) => (*asked, end.await),
                    None => future::pending().await,
                }
            };
            tokio::select! {
                changed = self.connections.changed() => {
                    // The log holds the sender: it ends only with the process.
                    if changed.is_err() {
                        future::pending::<()>().await;
                    }
                    return None;
                }
                entry = self.watch.next() => match entry? {
                    Ok(entry) => self.take(entry),
                    Err(error) => return Some(Err(unavailable(error))),
                },
                (asked, end) = asking => {
                    self.asking = None;
                    self.awaited = end.map(|end| (asked, end));
                    self.confirm();
                }
                _ = self.asks.tick() => match self.awaited {
                    Some((asked, _)) if asked.max(self.seen_at).elapsed() >= SILENCE_MAX => {
                        return Some(Err(ReadError::Behind));
                    }
                    // It is on its way.
                    Some(_) => {}
                    None => self.ask(),
                },
                () = self.wanted.notified() => self.ask(),
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        self.seen = self.seen.max(entry.revision);
        self.seen_at = Instant::now();
        self.told.push_back(Followed::Entry(entry));
        self.confirm();
    }

    /// Asks where the bucket ends, unless that is under way.
    fn ask(&mut self) {
        if self.asking.is_some() || self.awaited.is_some() {
            return;
        }
        let (store, keys, seen) = (self.store.clone(), self.keys.clone(), self.seen);
        let end = async move {
            let end = timeout(ASK_PATIENCE, end_of(&store, &keys, seen)).await;
            // It is asked again.
            end.ok()?.ok()
        };
        self.asking = Some((Instant::now(), end.boxed()));
    }

    fn confirm(&mut self) {
        let seen = self.seen;
        if let Some((asked, _)) = self.awaited.take_if(|(_, end)| *end <= seen) {
            if !std::mem::replace(&mut self.is_caught_up, true) {
                self.told.push_back(Followed::CaughtUp);
            }
            self.told.push_back(Followed::Confirmed(asked));
        }
    }
}

impl Log {
    /// The entries of these keys, and then every change, each by its newest state. The stream ends
    /// with the connection to NATS, and where the bucket holds what does not come: its consumer may be
    /// gone, of which only a silence of many seconds would tell. Where the bucket ends is asked now and
    /// then, and whenever that is wanted.
    ///
    /// # Errors
    /// [`ReadError`], also within the stream: begin anew.
    pub(super) async fn follow_bucket(
        &self,
        store: &Store,
        keys: &[&str],
        wanted: Arc<Notify>,
    ) -> Result<impl Stream<Item = Result<Followed, ReadError>> + use<>, ReadError> {
        // Before the watch: a connection that comes in between ends it.
        let mut connections = self.0.connection.generation.clone();
        connections.mark_unchanged();
        let watch = store.watch_many_with_history(keys.iter().copied()).await;
        let watch = watch.map_err(unavailable)?;
        let info = store.stream.get_info().await.map_err(unavailable)?;
        let mut asks = interval(ASK_EVERY);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let follower = Follower {
            store: store.clone(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            watch,
            connections,
            told: VecDeque::from([Followed::Begun(info.state.last_sequence)]),
            is_caught_up: false,
            seen: 0,
            seen_at: Instant::now(),
            asks,
            wanted,
            asking: None,
            awaited: None,
        };
        Ok(stream::unfold(follower, |mut follower| async {
            follower.next().await.map(|next| (next, follower))
        }))
    }
}
