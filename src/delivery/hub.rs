//! Hub: one reader of the log, the bounded ring of newest entries, and the ways to what is older.
//!
//! The interface that streams stand on is small: entries come in at one end, in order
//! ([`Hub::run`]); [`Hub::read_after`] reads at the other; waiting is a wake-up
//! ([`Log::read_watch`]), never a queue per subscriber.

use std::{
    collections::VecDeque,
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{
        Entry,
        index::{Index, Indexed},
    },
    filter::Filter,
    routing::taxonomy::{LiveTaxonomy, Taxonomy},
    wire::{
        log::{
            Log, ReadError,
            tail::{Found, Tail},
        },
        record::Stored,
    },
};

/// Most entries of the ring.
const RING_LEN_MAX: usize = 65_536;
/// Most bytes of the ring; the oldest entry goes first, and readers that need it read the log.
const RING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most entries that one read takes from the ring.
const READ_LEN_MAX: usize = 64;
/// How many sequences before the log's end a node starts to read.
const START_BACK: u64 = 100_000;
/// Sequences of a window that is read to go backwards.
const WINDOW: u64 = 4096;
/// Most windows that one request may read.
pub const WINDOWS_MAX: usize = 64;
/// Pause before a replica that is behind is asked again.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);

/// The reading side of a node; clones share everything.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    taxonomy: LiveTaxonomy,
    /// Over how long streams end when the process stops.
    drain: Duration,
    stop: CancellationToken,
    ring: RwLock<Ring>,
}

#[derive(Debug)]
struct Ring {
    /// Everything after this sequence that the node has read is here.
    after: u64,
    bytes: usize,
    entries: VecDeque<Arc<Entry>>,
    index: Index,
}

/// What a read of the ring gives.
#[derive(Debug)]
pub enum Read {
    /// The next entries.
    Entries(Vec<Arc<Entry>>),
    /// Nothing: the ring was read to this sequence.
    End(u64),
    /// The ring begins only after this sequence: read the log up to there.
    Behind(u64),
}

impl Hub {
    /// A hub over a log. `stop` makes its streams end, over the time `drain`.
    pub fn new(log: Log, taxonomy: LiveTaxonomy, drain: Duration, stop: CancellationToken) -> Self {
        let ring = Ring {
            after: 0,
            bytes: 0,
            entries: VecDeque::new(),
            index: Index::new(0),
        };
        Self(Arc::new(Inner {
            log,
            taxonomy,
            drain,
            stop,
            ring: RwLock::new(ring),
        }))
    }

    /// The log behind it.
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// The taxonomy of now.
    pub fn taxonomy(&self) -> Arc<Taxonomy> {
        self.0.taxonomy.get()
    }

    /// Over how long streams end when the process stops.
    pub fn drain(&self) -> Duration {
        self.0.drain
    }

    /// Cancelled when the process stops.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Follows the log until `stop`.
    ///
    /// # Errors
    /// [`ReadError`]: the log can't be read at all, or holds what no release of Barid wrote.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), ReadError> {
        let log = &self.0.log;
        let after = log.last_seq().await?.saturating_sub(START_BACK);
        let after = after.max(log.retained_from() - 1);
        {
            let mut ring = self.0.ring.write().expect("no panic under this lock");
            ring.after = after;
            ring.index = Index::new(after);
        }
        log.mark_read(after);
        let mut tail = Tail::new(log.clone(), after);
        loop {
            let found = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                // Dropped only when the process stops.
                found = tail.next() => found?,
            };
            match found {
                Found::Record(stored) => self.push(*stored)?,
                Found::Lost(after) => {
                    self.0
                        .ring
                        .write()
                        .expect("no panic under this lock")
                        .truncate(after);
                    log.mark_lost(after);
                }
            }
        }
    }

    fn push(&self, stored: Stored) -> Result<(), ReadError> {
        let log = &self.0.log;
        let (seq, end) = (stored.seq, stored.group_end());
        log.mark_seen(seq);
        if stored.record.action == crate::article::Action::Kill {
            // Before any reader can know of it.
            log.killed().insert(stored.record.article_id, seq);
        }
        log.note(&stored);
        let entry = self.entry(stored)?;
        self.0
            .ring
            .write()
            .expect("no panic under this lock")
            .push(entry);
        log.mark_read(end);
        Ok(())
    }

    fn entry(&self, stored: Stored) -> Result<Arc<Entry>, ReadError> {
        let seq = stored.seq;
        let cursor = self.0.log.cursor(seq);
        let entry =
            Entry::new(stored, cursor).map_err(|source| ReadError::Corrupt { seq, source })?;
        Ok(Arc::new(entry))
    }

    /// The oldest sequence that the ring holds.
    pub fn ring_first(&self) -> u64 {
        self.0.ring.read().expect("no panic under this lock").after + 1
    }

    /// The next entries after a sequence, of any filter.
    pub fn read_after(&self, after: u64) -> Read {
        // Before the ring: what was marked as read is in the ring by then.
        let read_up_to = self.0.log.read_up_to();
        let ring = self.0.ring.read().expect("no panic under this lock");
        if after < ring.after {
            return Read::Behind(ring.after);
        }
        let from = ring.entries.partition_point(|entry| entry.seq() <= after);
        let entries: Vec<_> = ring
            .entries
            .iter()
            .skip(from)
            .take(READ_LEN_MAX)
            .cloned()
            .collect();
        if entries.is_empty() {
            Read::End(read_up_to.max(after))
        } else {
            Read::Entries(entries)
        }
    }

    /// The entries of the log after a sequence, for a reader that is behind the ring, which begins
    /// after `ring_after`. Empty means that there are none up to there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn page(&self, after: u64, ring_after: u64) -> Result<Vec<Arc<Entry>>, ReadError> {
        loop {
            let page = self.0.log.page(after).await?;
            if !page.is_empty() {
                return page.into_iter().map(|stored| self.entry(stored)).collect();
            }
            // Empty may mean that the replica is behind: only the leader knows.
            match self.0.log.next_record(after + 1).await? {
                Some(next) if next.seq <= ring_after => sleep(BEHIND_PAUSE).await,
                Some(_) | None => return Ok(Vec::new()),
            }
        }
    }

    /// The entry of a record by its sequence: from the ring, or from the leader; none if it was
    /// erased.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn entry_at(&self, seq: u64) -> Result<Option<Arc<Entry>>, ReadError> {
        let in_ring = {
            let ring = self.0.ring.read().expect("no panic under this lock");
            let place = ring.entries.binary_search_by_key(&seq, |entry| entry.seq());
            place
                .ok()
                .and_then(|place| ring.entries.get(place).cloned())
        };
        match in_ring {
            Some(entry) => Ok(Some(entry)),
            None => self
                .0
                .log
                .record(seq)
                .await?
                .map(|stored| self.entry(stored))
                .transpose(),
        }
    }

    /// The entry of an article's newest revision, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn head(
        &self,
        id: crate::article::ArticleId,
    ) -> Result<Option<Arc<Entry>>, ReadError> {
        self.0
            .log
            .head(id)
            .await?
            .map(|stored| self.entry(stored))
            .transpose()
    }

    /// The revisions of an article from a sequence on, a page of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn revisions(
        &self,
        id: crate::article::ArticleId,
        first: u64,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        let page = self.0.log.revisions(id, first).await?;
        page.into_iter().map(|stored| self.entry(stored)).collect()
    }

    /// The newest revisions below `before` whose facets match, latest first, and the sequence
    /// after which the index knows all.
    pub fn backwards(&self, before: u64, filter: &Filter, count: usize) -> (Vec<Indexed>, u64) {
        let ring = self.0.ring.read().expect("no panic under this lock");
        (
            ring.index.backwards(before, filter, count),
            ring.index.after(),
        )
    }

    /// The entries of the window of the log that ends below `before`, latest first, and where it
    /// begins.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn window(&self, before: u64) -> Result<(Vec<Arc<Entry>>, u64), ReadError> {
        let first = before
            .saturating_sub(WINDOW)
            .max(self.0.log.retained_from())
            .min(before);
        let mut entries = Vec::new();
        let mut at = first.saturating_sub(1);
        loop {
            let page = self.page(at, before - 1).await?;
            let Some(last) = page.last() else { break };
            at = last.seq();
            entries.extend(page.into_iter().take_while(|entry| entry.seq() < before));
            if at >= before - 1 {
                break;
            }
        }
        entries.reverse();
        Ok((entries, first))
    }

    /// Whether an entry's text must not be shown any more.
    pub fn is_killed(&self, entry: &Entry) -> bool {
        self.0.log.killed().covers(entry.article_id(), entry.seq())
    }
}

impl Ring {
    fn push(&mut self, entry: Arc<Entry>) {
        self.index.push(&entry);
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > RING_LEN_MAX || self.bytes > RING_BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            self.after = oldest.seq();
        }
    }

    /// Forgets what a loss of the log has taken: everything after a sequence.
    fn truncate(&mut self, after: u64) {
        while let Some(newest) = self.entries.pop_back_if(|entry| entry.seq() > after) {
            self.bytes -= newest.bytes();
        }
        self.after = self.after.min(after);
        self.index.truncate(after);
    }
}
