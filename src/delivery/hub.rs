//! Hub: one reader of the log, the bounded ring of newest entries, and the ways to what is older.
//!
//! The interface that streams stand on is small: entries come in at one end, in order
//! ([`Hub::run`]); [`Hub::read`] reads at the other; waiting is a wake-up ([`Hub::run_usher`]),
//! never a queue per subscriber.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    article::{Action, ArticleId, Time},
    delivery::{
        Entry,
        chunk::{Ask, Chunk, Found},
        durable::Durables,
        explain::DryRuns,
        group::Groups,
        history::History,
        index::{Index, Indexed},
        places::Places,
        seats::Seats,
    },
    filter::Filter,
    routing::taxonomy::{LiveTaxonomy, Taxonomy},
    telemetry::{Counts, Protocol, trace},
    wire::{
        log::{
            Log, ReadError,
            page::{PAGE_SEQS, Walk},
            patiently,
            tail::{Found as TailFound, Tail},
        },
        record::{Stored, time_of},
    },
};

pub mod follow;

/// How many sequences before the log's end a node starts to read.
const START_BACK: u64 = 100_000;
/// How long the log may take to say where it ends at start: an election or two.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Sequences of a window that is read to go backwards.
const WINDOW: u64 = 4096;
/// Most windows that one request may read.
pub const WINDOWS_MAX: usize = 64;
/// Pause before a replica that is behind is asked again.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);
/// Chunks that one read looks into: a reader without a match in them comes back.
const LOOK_MAX: usize = 16;
mod rounds;
pub mod sent;
mod usher;

/// How a hub is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What filters are checked against.
    pub taxonomy: LiveTaxonomy,
    /// Most bytes of the ring; the oldest entries go first, and readers that need them read the
    /// log.
    pub ring_bytes_max: usize,
    /// After how long without any progress a subscriber's stream is ended.
    pub patience: Duration,
    /// Over how long streams end when the process stops.
    pub drain: Duration,
    /// Tells the time.
    pub clock: fn() -> SystemTime,
    /// How this node is called.
    pub node: String,
}

/// The reading side of a node; clones share everything.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    options: Options,
    stop: CancellationToken,
    /// The same, cheaper to ask.
    is_stopping: AtomicBool,
    ring: RwLock<Ring>,
    /// The sequence of the ring's newest entry.
    head: AtomicU64,
    /// How many entries there have been.
    pushed: AtomicU64,
    /// Readers look no further than this sequence.
    ///
    /// Perf: whoever is woken late in a round would take what came meanwhile, too, each by a send of
    /// its own.
    shown: AtomicU64,
    history: Arc<History>,
    groups: Groups,
    /// Where those wait who must be woken by anything that happens.
    restless: Seats,
    places: Places,
    dry_runs: DryRuns,
    durables: Durables,
}

#[derive(Debug)]
struct Ring {
    /// Everything after this sequence that the node has read is here.
    after: u64,
    bytes: usize,
    chunks: VecDeque<Chunk>,
    index: Index,
}

/// What a read of the ring gives.
#[derive(Debug)]
pub enum Read {
    /// What comes next.
    Found(Found),
    /// Nothing: the ring was read to this sequence.
    End(u64),
    /// The ring begins only later: read the log.
    Behind,
}

impl Hub {
    /// A hub over a log. `stop` makes its streams end.
    pub fn new(log: Log, options: Options, stop: CancellationToken) -> Self {
        let ring = Ring {
            after: 0,
            bytes: 0,
            chunks: VecDeque::new(),
            index: Index::new(0),
        };
        Self(Arc::new(Inner {
            history: Arc::new(History::new(log.clone())),
            durables: Durables::new(log.clone(), options.clock, options.node.clone()),
            log,
            options,
            stop,
            is_stopping: AtomicBool::new(false),
            ring: RwLock::new(ring),
            head: AtomicU64::new(0),
            pushed: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            groups: Groups::default(),
            restless: Seats::default(),
            places: Places::default(),
            dry_runs: DryRuns::none(),
        }))
    }

    /// The log behind it.
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// The taxonomy of now.
    pub fn taxonomy(&self) -> Arc<Taxonomy> {
        self.0.options.taxonomy.get()
    }

    /// The time of day.
    pub fn now(&self) -> Time {
        time_of((self.0.options.clock)())
    }

    /// Over how long streams end when the process stops.
    pub fn drain(&self) -> Duration {
        self.0.options.drain
    }

    /// After how long without any progress a stream is ended.
    pub fn patience(&self) -> Duration {
        self.0.options.patience
    }

    /// Durable subscriptions.
    pub fn durables(&self) -> &Durables {
        &self.0.durables
    }

    /// Where dry runs of routing take their turns.
    pub fn dry_runs(&self) -> &DryRuns {
        &self.0.dry_runs
    }

    /// Cancelled when the process stops.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Whether the process stops.
    pub fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Ordering::Acquire)
    }

    /// What is counted of a protocol.
    pub fn counts(&self, protocol: Protocol) -> &Counts {
        self.0.log.metrics().of(protocol)
    }

    /// Pages of what is older than the ring.
    pub fn history(&self) -> &Arc<History> {
        &self.0.history
    }

    /// Subscribers by their filters.
    pub fn groups(&self) -> &Groups {
        &self.0.groups
    }

    /// Where those wait who must be woken by anything that happens.
    pub fn restless(&self) -> &Seats {
        &self.0.restless
    }

    /// Where every subscription is.
    pub fn places(&self) -> &Places {
        &self.0.places
    }

    /// Follows the log until `stop`.
    ///
    /// # Errors
    /// [`ReadError`]: the log can't be read at all, or holds what no release of Barid wrote.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), ReadError> {
        let log = &self.0.log;
        let deadline = Instant::now() + START_PATIENCE;
        let last_seq = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            // A read that is dropped has changed nothing.
            last_seq = patiently(deadline, || log.last_seq()) => last_seq?,
        };
        let after = last_seq.saturating_sub(START_BACK);
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
                TailFound::Record(stored) => self.push(*stored)?,
                TailFound::Lost(after) => self.lose(after),
            }
        }
    }

    /// Forgets what the log has lost: everything after a sequence.
    fn lose(&self, after: u64) {
        {
            let mut ring = self.0.ring.write().expect("no panic under this lock");
            ring.truncate(after, self.0.history.chunk_id());
            let head = ring.chunks.back().map_or(after, Chunk::last_seq);
            self.0.head.store(head, Ordering::Release);
            self.0.shown.fetch_min(after, Ordering::AcqRel);
        }
        self.0.history.clear();
        self.0.log.mark_lost(after);
    }

    fn push(&self, stored: Stored) -> Result<(), ReadError> {
        let log = &self.0.log;
        let (seq, end) = (stored.seq, stored.group_end());
        log.mark_seen(seq);
        if stored.record.action == Action::Kill {
            // Before any reader can know of it.
            log.killed().insert(stored.record.article_id, seq);
        }
        log.note(&stored);
        // Not of the past that a node reads as it starts.
        let is_new = log.confirmed_age().is_some();
        let traceparent = &stored.record.traceparent;
        let _delivery = is_new
            .then(|| trace::delivery(traceparent, seq, stored.time_ns))
            .flatten();
        log.metrics().revisions.inc_by(is_new.into());
        let entry = self.entry(stored)?;
        // Made here, once, and not by the first of many who wait for the same.
        for protocol in Protocol::ALL {
            if self.counts(protocol).subscribers.get() > 0 {
                entry.frame(protocol);
            }
        }
        {
            let mut ring = self.0.ring.write().expect("no panic under this lock");
            ring.push(entry, &self.0.history, self.0.options.ring_bytes_max);
        }
        self.0.head.store(seq, Ordering::Release);
        self.0.pushed.fetch_add(1, Ordering::Relaxed);
        log.mark_read(end);
        Ok(())
    }

    fn entry(&self, stored: Stored) -> Result<Arc<Entry>, ReadError> {
        Entry::of(&self.0.log, stored).map(Arc::new)
    }

    /// The oldest sequence that the ring holds.
    pub fn ring_first(&self) -> u64 {
        self.0.ring.read().expect("no panic under this lock").after + 1
    }

    /// What comes next in the ring for a reader.
    pub fn read(&self, ask: &Ask<'_>) -> Read {
        let shown = self.0.shown.load(Ordering::Acquire);
        // Before the ring: what was marked as read is in the ring by then.
        let read_up_to = self.0.log.read_up_to().min(shown);
        let ask = &Ask {
            up_to: ask.up_to.min(shown),
            ..*ask
        };
        let is_bound = ask.up_to < shown;
        let ring = self.0.ring.read().expect("no panic under this lock");
        if ask.after < ring.after {
            return Read::Behind;
        }
        let first = ring.chunk_after(ask.after);
        let mut past = None;
        for chunk in ring.chunks.iter().skip(first).take(LOOK_MAX) {
            match chunk.find(ask, self.0.log.killed()) {
                Found::Past(seq) => past = Some(seq),
                // What was passed over comes first: its cursor is that of what follows.
                Found::Bound if past.is_some() || !is_bound => break,
                found => {
                    self.0.log.metrics().ring_reads.inc();
                    return Read::Found(found);
                }
            }
        }
        match past {
            Some(seq) => Read::Found(Found::Past(seq)),
            None => Read::End(read_up_to.max(ask.after)),
        }
    }

    /// Whether there is more after a sequence than there was when the ring ended there. With
    /// `anything`, also what is no revision.
    pub fn has_more(&self, after: u64, anything: bool) -> bool {
        let newest = if anything {
            self.0.log.read_up_to()
        } else {
            self.0.head.load(Ordering::Acquire)
        };
        newest.min(self.0.shown.load(Ordering::Acquire)) > after
    }

    /// The next entries of a walk through the log, up to a sequence. Empty means that there are no
    /// more up to there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn page(&self, walk: &mut Walk, end: u64) -> Result<Vec<Arc<Entry>>, ReadError> {
        while walk.at() < end {
            let (page, is_whole) = walk.up_to(end.min(walk.at() + PAGE_SEQS)).await?;
            if !page.is_empty() {
                return page.into_iter().map(|stored| self.entry(stored)).collect();
            }
            if is_whole {
                continue;
            }
            // Empty may mean that the replica is behind: only the leader knows.
            let from = (walk.at() + 1).max(self.0.log.retained_from());
            match self.0.log.next_record(from).await? {
                Some(next) if next.seq <= end => sleep(BEHIND_PAUSE).await,
                Some(_) | None => break,
            }
        }
        Ok(Vec::new())
    }

    /// The entry of a record by its sequence: from the ring, or from the leader; none if it was
    /// erased.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn entry_at(&self, seq: u64) -> Result<Option<Arc<Entry>>, ReadError> {
        match self.entry_in_ring(seq) {
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

    fn entry_in_ring(&self, seq: u64) -> Option<Arc<Entry>> {
        let ring = self.0.ring.read().expect("no panic under this lock");
        let entry = ring.first_after(seq.checked_sub(1)?);
        entry.filter(|entry| entry.seq() == seq).cloned()
    }

    /// The entry of an article's newest revision, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn head(&self, id: ArticleId) -> Result<Option<Arc<Entry>>, ReadError> {
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
    pub async fn revisions(&self, id: ArticleId, first: u64) -> Result<Vec<Arc<Entry>>, ReadError> {
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

    /// The sequence up to which nothing that comes after `after` has facets that match; none if
    /// something has, or may have.
    pub fn nothing_new(&self, after: u64, filter: &Filter) -> Option<u64> {
        let ring = self.0.ring.read().expect("no panic under this lock");
        ring.index.nothing_new(after, filter)
    }

    /// By topic: how many articles stand now in it or beneath it, among the newest revisions that
    /// the index holds.
    pub fn article_counts(&self) -> HashMap<String, u64> {
        let now = self.now();
        let mut ring = self.0.ring.write().expect("no panic under this lock");
        ring.index.expire(now);
        ring.index.counts().clone()
    }

    /// When an article of those that the index holds expired last.
    pub fn last_expiry(&self) -> Option<Time> {
        let now = self.now();
        let mut ring = self.0.ring.write().expect("no panic under this lock");
        ring.index.expire(now)
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
        let mut walk = self.0.log.walk(first.saturating_sub(1));
        loop {
            let page = self.page(&mut walk, before.saturating_sub(1)).await?;
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        walk.end().await;
        entries.reverse();
        Ok((entries, first))
    }

    /// Whether an entry's text must not be shown any more.
    pub fn is_killed(&self, entry: &Entry) -> bool {
        self.0.log.killed().covers(entry.article_id(), entry.seq())
    }
}

impl Ring {
    /// The place of the first chunk with an entry after a sequence.
    fn chunk_after(&self, after: u64) -> usize {
        match self.chunks.back() {
            // Nearly all readers are at the end.
            Some(last) if last.first_seq() <= after => {
                self.chunks.len() - usize::from(last.last_seq() > after)
            }
            Some(_) | None => self
                .chunks
                .partition_point(|chunk| chunk.last_seq() <= after),
        }
    }

    fn first_after(&self, after: u64) -> Option<&Arc<Entry>> {
        self.chunks.get(self.chunk_after(after))?.first_after(after)
    }

    fn push(&mut self, entry: Arc<Entry>, history: &History, bytes_max: usize) {
        self.index.push(&entry);
        self.bytes += entry.bytes();
        match self.chunks.back_mut() {
            Some(chunk) if chunk.has_room(&entry) => chunk.push(entry),
            Some(_) | None => {
                let mut chunk = Chunk::new(history.chunk_id());
                chunk.push(entry);
                self.chunks.push_back(chunk);
            }
        }
        while self.bytes > bytes_max
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.after = oldest.last_seq();
        }
    }

    /// Forgets what a loss of the log has taken: everything after a sequence.
    fn truncate(&mut self, after: u64, id: u64) {
        while let Some(chunk) = self.chunks.pop_back_if(|chunk| chunk.first_seq() > after) {
            self.bytes -= chunk.bytes();
        }
        if let Some(chunk) = self.chunks.back_mut() {
            self.bytes -= chunk.bytes();
            chunk.truncate(after, id);
            self.bytes += chunk.bytes();
        }
        self.after = self.after.min(after);
        self.index.truncate(after);
    }
}
