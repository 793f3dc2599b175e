//! Bucket: what is done alike with every bucket of the log: entries are kept over the version that
//! they were made from, and followed live.

use async_nats::jetstream::kv::{CreateErrorKind, Entry, PurgeErrorKind, Store, UpdateErrorKind};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future, stream};

use crate::wire::log::{Log, ReadError, unavailable};

/// What whoever follows a bucket sees.
#[derive(Debug)]
pub(super) enum Followed {
    /// It begins with all entries of a bucket that ends at this revision.
    Begun(u64),
    /// An entry as it is now, or that it is gone.
    Entry(Entry),
    /// All that there was has been seen.
    CaughtUp,
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

impl Log {
    /// The entries of these keys, and then every change, each by its newest state. The stream ends
    /// with the connection to NATS: its consumer may be gone with that, of which only a silence of
    /// many seconds would tell.
    ///
    /// # Errors
    /// [`ReadError`], also within the stream: begin anew.
    pub(super) async fn follow_bucket(
        &self,
        store: &Store,
        keys: &[&str],
    ) -> Result<impl Stream<Item = Result<Followed, ReadError>> + use<>, ReadError> {
        // Before the watch: a connection that comes in between ends it.
        let mut connections = self.0.connection.generation.clone();
        connections.mark_unchanged();
        let watch = store.watch_many_with_history(keys.iter().copied()).await;
        let watch = watch.map_err(unavailable)?;
        let info = store.stream.get_info().await.map_err(unavailable)?;
        let begun = stream::iter([Ok(Followed::Begun(info.state.last_sequence))]);
        // An empty bucket has no entry to say that it was the last.
        let mut is_caught_up = info.state.messages == 0;
        let empty = stream::iter(is_caught_up.then_some(Ok(Followed::CaughtUp)));
        let changes = watch.flat_map(move |entry| {
            let (entry, is_last) = match entry {
                Ok(entry) => {
                    let is_last = entry.seen_current && !is_caught_up;
                    is_caught_up |= is_last;
                    (Ok(Followed::Entry(entry)), is_last)
                }
                Err(error) => (Err(unavailable(error)), false),
            };
            let last = is_last.then_some(Ok(Followed::CaughtUp));
            stream::iter(std::iter::once(entry).chain(last))
        });
        let lost = async move {
            // The log holds the sender: it ends only with the process.
            if connections.changed().await.is_err() {
                future::pending::<()>().await;
            }
        };
        Ok(begun.chain(empty).chain(changes).take_until(Box::pin(lost)))
    }
}
