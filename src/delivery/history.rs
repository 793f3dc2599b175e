//! History: pages of the log for readers behind the ring, shared by all who read the same part.
//!
//! A crowd that comes back after an outage reads each page from NATS once. Pages are read through
//! the log's bounded pool, first come first served, so such a crowd can't starve live readers.

use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use lru::LruCache;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{
        Entry,
        chunk::{Ask, Chunk, Found},
        seats::Seats,
    },
    wire::{
        log::{
            Log, ReadError,
            page::{PAGE_BYTES_MAX, PAGE_LEN_MAX, PAGE_SEQS, PAGES_MAX, Walk},
        },
        record::Stored,
    },
};

/// Bytes of pages that are kept; the least recently used goes first and is read again if need be.
const PAGES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of pages that readers hold on to while they are in their midst; who comes later looks for its
/// page again for each send.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// About how many bytes a page takes in memory for each that is read, in all its forms.
const FORMS: usize = 5;
/// Bytes at which a page ends, however many readers there are.
const PAGE_BYTES_MIN: usize = 64 * 1024;
/// Pages that are kept, likewise.
const PAGES_LEN_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// For how long a page is kept: less than a kill is remembered after its erasure.
const PAGE_LIFE: Duration = Duration::from_secs(60);
/// Walks that are kept for whoever reads on where they are; the least recently used goes first, and
/// another begins there if need be.
const WALKS_MAX: NonZeroUsize = NonZeroUsize::new(PAGES_MAX).expect("not zero");
/// With more walks than that, pages are read only as they are needed: two ahead for each of them would
/// not fit those that are kept.
const AHEAD_WALKS_MAX: usize = 4;
/// For how long a walk is kept: less than the server keeps its consumer.
const WALK_LIFE: Duration = Duration::from_secs(5);
/// Pause before a replica that is behind is asked again.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);

/// Pages of history.
#[derive(Debug)]
pub struct History {
    log: Log,
    /// The next chunk's id; the ring takes from here, too.
    next_id: AtomicU64,
    cache: Mutex<Cache>,
    /// Tells [`History::run`] that pages are to be read.
    to_read: Notify,
    /// How many read pages now, and where they wait.
    reader_count: AtomicUsize,
    seats: Seats,
    held_bytes: AtomicUsize,
}

/// A page that its reader is in the midst of.
///
/// Perf: slow readers at places of their own push one another's pages out, and each send of a few
/// kilobytes would read its page anew.
#[derive(Debug)]
pub struct Held {
    page: Arc<Page>,
    history: Arc<History>,
}

/// A reader of pages, for as long as it is one.
#[derive(Debug)]
pub struct Reader {
    history: Arc<History>,
    /// Where it waits for a page, so that the stop need not wait for that.
    seat: usize,
}

#[derive(Debug)]
struct Cache {
    pages: LruCache<u64, Arc<Page>>,
    bytes: usize,
    reading: HashMap<u64, Reading>,
    /// Those of them that [`History::run`] has not begun, first come first served.
    new: VecDeque<(u64, Reading)>,
    /// Walks that are needed no more.
    ended: Vec<Walk>,
    /// By where they are, and since when.
    walks: LruCache<u64, (Instant, Walk)>,
    /// How often the log has lost something: what was read before that may be gone.
    losses: u64,
}

/// A page on its way.
pub type Reading = Shared<BoxFuture<'static, Result<Arc<Page>, Arc<ReadError>>>>;

/// A page, or its future.
#[derive(Debug)]
pub enum Lookup {
    /// It is here.
    Page(Arc<Page>),
    /// It is being read.
    Reading(Reading),
}

/// All entries of a part of the log.
#[derive(Debug)]
pub struct Page {
    /// Up to this sequence, inclusive, nothing is missing.
    pub end: u64,
    chunks: Vec<Chunk>,
    bytes: usize,
    read_at: Instant,
}

impl Page {
    fn is_old(&self) -> bool {
        self.read_at.elapsed() >= PAGE_LIFE
    }

    /// What the page has for a reader; `Past` its end if nothing.
    pub fn find(&self, ask: &Ask<'_>, log: &Log) -> Found {
        let first = self
            .chunks
            .partition_point(|chunk| chunk.last_seq() <= ask.after);
        match self
            .chunks
            .get(first)
            .map(|chunk| chunk.find(ask, log.killed()))
        {
            Some(found) => found,
            None => Found::Past(self.end),
        }
    }

    /// The entry of a revision by its sequence.
    pub fn entry_at(&self, seq: u64) -> Option<Arc<Entry>> {
        let place = self.chunks.partition_point(|chunk| chunk.last_seq() < seq);
        let entry = self.chunks.get(place)?.first_after(seq.checked_sub(1)?);
        entry.filter(|entry| entry.seq() == seq).cloned()
    }
}

impl History {
    /// No pages yet.
    pub fn new(log: Log) -> Self {
        Self {
            log,
            next_id: AtomicU64::new(0),
            cache: Mutex::new(Cache::new()),
            to_read: Notify::new(),
            reader_count: AtomicUsize::new(0),
            seats: Seats::default(),
            held_bytes: AtomicUsize::new(0),
        }
    }

    /// Where readers wait for pages.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    /// Begins to count a reader.
    pub fn enter(self: &Arc<Self>) -> Reader {
        self.reader_count.fetch_add(1, Ordering::Relaxed);
        Reader {
            history: Arc::clone(self),
            seat: self.seats.take(),
        }
    }

    /// Keeps a page for a reader that is in its midst; none if others hold enough.
    pub fn hold(self: &Arc<Self>, page: &Arc<Page>) -> Option<Held> {
        let hold = |held: usize| Some(held + page.bytes).filter(|held| *held <= HELD_BYTES_MAX);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.held_bytes.fetch_update(set, get, hold).ok()?;
        Some(Held {
            page: Arc::clone(page),
            history: Arc::clone(self),
        })
    }

    /// Bytes at which the next page ends: so many that each reader can hold on to one.
    fn page_bytes_max(&self) -> usize {
        let reader_count = self.reader_count.load(Ordering::Relaxed).max(1);
        (HELD_BYTES_MAX / FORMS / reader_count).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX)
    }

    /// Reads the pages that are asked for, each to its end, until `stop`.
    ///
    /// Not left to those who wait for them: one that stands still in the midst of a page would keep its
    /// place in the log's pool.
    pub async fn run(&self, stop: CancellationToken) {
        let (mut pages, mut ends) = (JoinSet::new(), JoinSet::new());
        loop {
            tokio::select! {
                biased;
                // Whoever still waits for a page drives it on.
                () = stop.cancelled() => return,
                // A permit that is dropped with another's end is looked at below all the same.
                () = self.to_read.notified() => {}
                Some(_) = pages.join_next() => {}
                Some(_) = ends.join_next() => {}
            }
            let mut cache = self.cache.lock().expect("no panic under this lock");
            // All at once: whoever waits for one has begun it, and may have gone with a place in the
            // log's pool. There are two for each reader at most.
            while let Some(reading) = cache.next_wanted() {
                // How it ends is told to whoever waits for it.
                pages.spawn(reading.map(drop));
            }
            for walk in cache.ended.drain(..) {
                ends.spawn(walk.end());
            }
        }
    }

    /// An id for a new chunk.
    pub fn chunk_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the page begins that a reader after a sequence may share with others.
    pub fn page_start(after: u64) -> u64 {
        after - after % PAGE_SEQS
    }

    /// The page that begins after a sequence.
    pub fn page(self: &Arc<Self>, start: u64) -> Lookup {
        let mut cache = self.cache.lock().expect("no panic under this lock");
        if let Some(page) = cache.pages.get(&start) {
            if !page.is_old() {
                return Lookup::Page(Arc::clone(page));
            }
            cache.forget(start);
        }
        if let Some(reading) = cache.reading.get(&start) {
            return Lookup::Reading(reading.clone());
        }
        let (history, losses) = (Arc::clone(self), cache.losses);
        let walk = cache.walks.pop(&start).map(|(_, walk)| walk);
        let reading = async move {
            let mut walk = walk.unwrap_or_else(|| history.log.walk(start));
            let page = history.read(start, &mut walk).await;
            history.keep(start, losses, page, walk)
        };
        let reading = reading.boxed().shared();
        cache.reading.insert(start, reading.clone());
        cache.new.push_back((start, reading.clone()));
        drop(cache);
        self.to_read.notify_one();
        Lookup::Reading(reading)
    }

    /// The page after a sequence, for a reader that will soon be there; none where it might push out
    /// what others are reading.
    pub fn ahead(self: &Arc<Self>, after: u64) -> Option<Lookup> {
        let walk_count = {
            let cache = self.cache.lock().expect("no panic under this lock");
            cache.walks.len()
        };
        (walk_count <= AHEAD_WALKS_MAX).then(|| self.page(after))
    }

    /// Whether a page failed only because the log lost something while it was read.
    pub fn is_passing(&self, error: &ReadError) -> bool {
        matches!(error, ReadError::Behind)
    }

    /// Forgets every page: the log has lost something.
    pub fn clear(&self) {
        let mut cache = self.cache.lock().expect("no panic under this lock");
        cache.losses += 1;
        cache.pages.clear();
        // What is new is begun all the same: whoever waits for it may hold a place in the log's pool.
        cache.reading.clear();
        while let Some((_, (_, walk))) = cache.walks.pop_lru() {
            cache.ended.push(walk);
        }
        cache.bytes = 0;
    }

    /// Forgets pages and walks that are too old.
    pub fn sweep(&self) {
        let mut cache = self.cache.lock().expect("no panic under this lock");
        let pages = cache.pages.iter();
        let old: Vec<u64> = pages
            .filter(|(_, page)| page.is_old())
            .map(|(start, _)| *start)
            .collect();
        old.into_iter().for_each(|start| cache.forget(start));
        let walks = cache.walks.iter();
        let old = walks.filter(|(_, (since, _))| since.elapsed() >= WALK_LIFE);
        let old: Vec<u64> = old.map(|(at, _)| *at).collect();
        let ended = old.iter().filter_map(|at| cache.walks.pop(at));
        let ended: Vec<Walk> = ended.map(|(_, walk)| walk).collect();
        cache.ended.extend(ended);
        drop(cache);
        self.to_read.notify_one();
    }

    /// Keeps a page, and the walk for the next one.
    fn keep(
        &self,
        start: u64,
        losses: u64,
        page: Result<Page, ReadError>,
        walk: Walk,
    ) -> Result<Arc<Page>, Arc<ReadError>> {
        let mut cache = self.cache.lock().expect("no panic under this lock");
        if cache.losses != losses {
            // Read across a loss: whoever waits looks for it anew.
            cache.ended.push(walk);
            return Err(Arc::new(ReadError::Behind));
        }
        cache.reading.remove(&start);
        let page = match page {
            Ok(page) => Arc::new(page),
            Err(error) => {
                cache.ended.push(walk);
                return Err(Arc::new(error));
            }
        };
        cache.bytes += page.bytes;
        if let Some((_, old)) = cache.pages.push(start, Arc::clone(&page)) {
            cache.bytes -= old.bytes;
        }
        while cache.bytes > PAGES_BYTES_MAX
            && let Some((_, old)) = cache.pages.pop_lru()
        {
            cache.bytes -= old.bytes;
        }
        if let Some((_, (_, former))) = cache.walks.push(page.end, (Instant::now(), walk)) {
            cache.ended.push(former);
        }
        Ok(page)
    }

    async fn read(&self, start: u64, walk: &mut Walk) -> Result<Page, ReadError> {
        let read_at = Instant::now();
        let up_to = start - start % PAGE_SEQS + PAGE_SEQS;
        loop {
            // Before the log is asked: what this node has read is in it.
            let known = self.log.read_up_to();
            walk.limit(self.page_bytes_max());
            let (found, is_whole) = walk.up_to(up_to).await?;
            if is_whole {
                return self.made(up_to, found, read_at);
            }
            if let Some(last) = found.last() {
                return self.made(last.seq, found, read_at);
            }
            // Empty may mean that the replica is behind: only the leader knows.
            // Before what is retained only newest revisions are kept, which are of no page.
            let from = (start + 1).max(self.log.retained_from());
            match self.log.next_record(from).await? {
                Some(next) if next.seq <= up_to.min(known) => sleep(BEHIND_PAUSE).await,
                // This node has not read so far itself.
                Some(_) | None if known <= start => sleep(BEHIND_PAUSE).await,
                Some(_) | None => return self.made(up_to.min(known), found, read_at),
            }
        }
    }

    fn made(&self, end: u64, found: Vec<Stored>, read_at: Instant) -> Result<Page, ReadError> {
        let mut chunks: Vec<Chunk> = Vec::new();
        for stored in found {
            let entry = Arc::new(Entry::of(&self.log, stored)?);
            match chunks.last_mut() {
                Some(chunk) if chunk.has_room(&entry) => chunk.push(entry),
                Some(_) | None => {
                    let mut chunk = Chunk::new(self.chunk_id());
                    chunk.push(entry);
                    chunks.push(chunk);
                }
            }
        }
        let bytes = chunks.iter().map(Chunk::bytes).sum::<usize>() + PAGE_LEN_MAX;
        Ok(Page {
            end,
            chunks,
            bytes,
            read_at,
        })
    }
}

impl Held {
    /// The page, if that may still be shown.
    pub fn page(&self) -> Option<&Arc<Page>> {
        Some(&self.page).filter(|page| !page.is_old())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.page.bytes;
        self.history.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Reader {
    /// Asks to be woken at the stop; whoever waits looks for that once more after this.
    pub fn wait(&self, context: &Context<'_>) {
        self.history.seats.wait(self.seat, context);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.history.seats.give_back(self.seat);
        self.history.reader_count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cache {
    fn new() -> Self {
        Self {
            pages: LruCache::new(PAGES_LEN_MAX),
            bytes: 0,
            reading: HashMap::new(),
            new: VecDeque::new(),
            ended: Vec::new(),
            walks: LruCache::new(WALKS_MAX),
            losses: 0,
        }
    }

    /// The next page for which somebody waits; others are forgotten.
    fn next_wanted(&mut self) -> Option<Reading> {
        while let Some((start, reading)) = self.new.pop_front() {
            let is_it = |known: &Reading| known.ptr_eq(&reading);
            let is_known = self.reading.get(&start).is_some_and(is_it);
            // Beside this one and that in the map.
            let own_count = 1 + usize::from(is_known);
            if reading
                .strong_count()
                .is_some_and(|count| count > own_count)
            {
                return Some(reading);
            }
            if is_known {
                self.reading.remove(&start);
            }
        }
        None
    }

    fn forget(&mut self, start: u64) {
        if let Some(page) = self.pages.pop(&start) {
            self.bytes -= page.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    #[test]
    fn only_what_somebody_waits_for_is_begun_also_over_a_loss() {
        for is_known in [true, false] {
            let mut cache = Cache::new();
            let reading: Reading = future::pending().boxed().shared();
            let asked = |cache: &mut Cache| {
                if is_known {
                    cache.reading.insert(7, reading.clone());
                }
                cache.new.push_back((7, reading.clone()));
            };
            asked(&mut cache);
            assert!(cache.next_wanted().is_some(), "known: {is_known}");
            assert_eq!(cache.reading.contains_key(&7), is_known);

            asked(&mut cache);
            drop(reading);
            assert!(cache.next_wanted().is_none(), "known: {is_known}");
            assert!(cache.reading.is_empty());
        }
    }
}
