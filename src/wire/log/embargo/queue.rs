//! Queue: the drafts that wait for their time, as this node knows them, without their bodies.
//!
//! It decides when to try, and what to ask the leader about; the log alone decides what happens.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    article::{Action, ArticleId, Time},
    fault::{Fault, Kind},
    wire::{
        log::RETRY_AFTER,
        record::{ArticleFacets, Record, RecordError, Stored, draft::Draft},
    },
};

/// Most drafts; further ones are refused. Nodes count for themselves, so that some more may slip in
/// at the same moment.
pub const DRAFTS_MAX: usize = 10_000;
/// Most drafts of one partner, likewise.
pub const PARTNER_DRAFTS_MAX: usize = 1_000;
/// Most bytes of all drafts, likewise.
pub const BYTES_MAX: usize = 1024 * 1024 * 1024;

/// What becomes of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It goes out at its time.
    Scheduled,
    /// The article has got another revision since it was written.
    Blocked,
    /// The article is killed: it is to be erased.
    Doomed,
}

/// A draft without its body.
#[derive(Clone)]
pub struct Card {
    /// Its sequence, and its version.
    pub seq: u64,
    /// When it is to be released.
    pub until: Time,
    /// What becomes of it.
    pub state: State,
    /// The revision as it will be, without its article.
    pub record: Record,
    /// Of the article.
    pub headline: String,
    /// Of the article.
    pub facets: ArticleFacets,
    /// Bytes that it takes in the log.
    pub bytes: usize,
}

/// Says nothing of the article: whatever prints it may reach a log.
impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Card");
        shown.field("seq", &self.seq).field("state", &self.state);
        shown.finish_non_exhaustive()
    }
}

impl Card {
    /// The card of the draft at a sequence.
    ///
    /// # Errors
    /// [`RecordError`] for an article that no release of Barid wrote.
    pub fn new(draft: &Draft, seq: u64) -> Result<Self, RecordError> {
        let (facets, headline) = (draft.record.facets()?, draft.article()?.headline);
        Ok(Self {
            seq,
            until: draft.until,
            state: State::Scheduled,
            bytes: draft.record.article.len(),
            record: Record {
                article: Bytes::new(),
                ..draft.record.clone()
            },
            headline,
            facets,
        })
    }

    /// Whose draft.
    pub fn article_id(&self) -> ArticleId {
        self.record.article_id
    }

    /// Where it stands among the others.
    pub fn place(&self) -> (Time, ArticleId) {
        (self.until, self.article_id())
    }
}

/// What lies newest at an article's place.
#[derive(Clone, Debug)]
enum Newest {
    Draft(Arc<Card>),
    /// The end of one, at this sequence.
    End(u64),
}

impl Newest {
    fn seq(&self) -> u64 {
        match self {
            Self::Draft(card) => card.seq,
            Self::End(seq) => *seq,
        }
    }

    fn card(&self) -> Option<&Arc<Card>> {
        match self {
            Self::Draft(card) => Some(card),
            Self::End(_) => None,
        }
    }
}

/// The drafts that a node knows.
#[derive(Debug)]
pub struct Queue {
    /// Read on every publish: nearly always zero, and then the lock is not taken.
    count: AtomicUsize,
    places: RwLock<Places>,
    changes: watch::Sender<u64>,
    /// Changes with everything that leaves something to erase.
    leavings: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Places {
    by_article: HashMap<ArticleId, Newest>,
    by_time: BTreeSet<(Time, ArticleId)>,
    bytes: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            places: RwLock::default(),
            changes: watch::Sender::new(0),
            leavings: watch::Sender::new(0),
        }
    }
}

impl Queue {
    /// Follows its changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Follows what leaves something to erase.
    pub fn leavings(&self) -> watch::Receiver<u64> {
        self.leavings.subscribe()
    }

    /// An article's draft.
    pub fn card(&self, id: ArticleId) -> Option<Arc<Card>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let places = self.places.read().expect("no panic under this lock");
        places.by_article.get(&id)?.card().cloned()
    }

    /// There is a draft, unless something newer is known.
    pub fn hold(&self, card: Card) {
        self.change(card.article_id(), Newest::Draft(Arc::new(card)));
    }

    /// There is the end of a draft at a sequence, unless something newer is known.
    pub fn end(&self, id: ArticleId, seq: u64) {
        self.change(id, Newest::End(seq));
    }

    /// There is nothing at an article's place.
    pub fn forget(&self, id: ArticleId) {
        let mut places = self.places.write().expect("no panic under this lock");
        places.put(id, None);
        self.changed(&places);
    }

    fn change(&self, id: ArticleId, mut newest: Newest) {
        let mut places = self.places.write().expect("no panic under this lock");
        let known = places.by_article.get(&id);
        if known.is_none_or(|known| known.seq() < newest.seq()) {
            let leaves = known.is_some() || newest.card().is_none();
            if let Newest::Draft(card) = &mut newest
                && let Some(former) = known.and_then(Newest::card)
                && former.record.prior_revision_seq == card.record.prior_revision_seq
            {
                // What came before the one came before the other.
                Arc::make_mut(card).state = former.state;
            }
            places.put(id, Some(newest));
            self.changed(&places);
            if leaves {
                self.leavings.send_modify(|number| *number += 1);
            }
        }
    }

    /// Forgets what has a sequence up to `last_seq` and is not among those that were `listed` then.
    /// Returns those listed that are not known here.
    pub fn compare(&self, listed: &HashSet<ArticleId>, last_seq: u64) -> Vec<ArticleId> {
        let mut places = self.places.write().expect("no panic under this lock");
        let is_gone = |(id, newest): &(&ArticleId, &Newest)| {
            newest.seq() <= last_seq && !listed.contains(*id)
        };
        let gone = places.by_article.iter().filter(is_gone);
        let gone: Vec<ArticleId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            places.put(id, None);
            self.changed(&places);
        }
        let is_new = |id: &&ArticleId| !places.by_article.contains_key(*id);
        listed.iter().filter(is_new).copied().collect()
    }

    /// What the leader had, all of it, when `last_seq` was the log's last.
    pub fn replace(&self, loaded: Vec<Card>, last_seq: u64) {
        let mut places = self.places.write().expect("no panic under this lock");
        let mut gone: BTreeSet<ArticleId> = (places.by_article.iter())
            .filter(|(_, newest)| newest.seq() <= last_seq)
            .map(|(id, _)| *id)
            .collect();
        for card in loaded {
            let id = card.article_id();
            gone.remove(&id);
            let known = places.by_article.get(&id);
            if known.is_none_or(|known| known.seq() < card.seq) {
                places.put(id, Some(Newest::Draft(Arc::new(card))));
            }
        }
        for id in gone {
            places.put(id, None);
        }
        self.changed(&places);
    }

    /// An article has this newest revision.
    pub fn judge(&self, stored: &Stored) {
        let record = &stored.record;
        let Some(card) = self.card(record.article_id) else {
            return;
        };
        if record.draft_seq == card.seq {
            return self.end(record.article_id, stored.group_end());
        }
        let state = match (stored.seq > card.record.prior_revision_seq, record.action) {
            (false, _) => return,
            (true, Action::Kill) => State::Doomed,
            (true, Action::Publish | Action::Update | Action::Correct | Action::Withhold) => {
                State::Blocked
            }
        };
        if state == card.state {
            return;
        }
        let mut places = self.places.write().expect("no panic under this lock");
        let known = places.by_article.get(&record.article_id);
        if known.is_some_and(|known| known.seq() == card.seq) {
            let (article, seq) = (record.article_id, stored.seq);
            tracing::warn!(%article, seq, ?state, "a revision came before an embargoed one");
            let card = Card {
                state,
                ..(*card).clone()
            };
            places.put(record.article_id, Some(Newest::Draft(Arc::new(card))));
            self.changed(&places);
            if state == State::Doomed {
                self.leavings.send_modify(|number| *number += 1);
            }
        }
    }

    /// Forgets what the log has lost: everything after a sequence.
    pub fn truncate(&self, after: u64) {
        let mut places = self.places.write().expect("no panic under this lock");
        let lost: Vec<ArticleId> = (places.by_article.iter())
            .filter(|(_, newest)| newest.seq() > after)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            places.put(id, None);
        }
        self.changed(&places);
    }

    /// Whether a partner may have one more draft, of so many bytes, beside or in place of another.
    ///
    /// # Errors
    /// Exhausted `EMBARGOES_TOO_MANY`.
    pub fn room(&self, id: ArticleId, owner: &str, bytes: usize) -> Result<(), Fault> {
        let places = self.places.read().expect("no panic under this lock");
        let former = places.by_article.get(&id).and_then(Newest::card);
        let (former_count, former_bytes) = former.map_or((0, 0), |card| (1, card.bytes));
        let count = places.by_time.len() - former_count;
        let is_own = |newest: &&Newest| {
            let card = newest.card();
            card.is_some_and(|card| card.record.owner == owner && card.article_id() != id)
        };
        let too_many = if count >= DRAFTS_MAX {
            format!("there are {DRAFTS_MAX} drafts under embargo already")
        } else if places.bytes - former_bytes + bytes > BYTES_MAX {
            format!("all drafts under embargo have {BYTES_MAX} bytes at most")
        } else if count >= PARTNER_DRAFTS_MAX
            && places.by_article.values().filter(is_own).count() >= PARTNER_DRAFTS_MAX
        {
            format!("{owner} has {PARTNER_DRAFTS_MAX} drafts under embargo already")
        } else {
            return Ok(());
        };
        let message = format!("{too_many}; wait for some to be released, or cancel some");
        Err(Fault {
            retry_after: Some(RETRY_AFTER),
            ..Fault::new(Kind::Exhausted, "EMBARGOES_TOO_MANY", message)
        })
    }

    /// All that wait after a place, in their order.
    pub fn after(&self, place: Option<(Time, ArticleId)>, count: usize) -> Vec<Arc<Card>> {
        let places = self.places.read().expect("no panic under this lock");
        let is_after = |at: &&(Time, ArticleId)| place.is_none_or(|place| **at > place);
        let cards = places.by_time.iter().filter(is_after).take(count);
        cards.filter_map(|(_, id)| places.card(*id)).collect()
    }

    /// Those to be released, in their order, while `is_wanted`.
    pub fn scheduled_while(&self, is_wanted: impl Fn(Time) -> bool) -> Vec<Arc<Card>> {
        let places = self.places.read().expect("no panic under this lock");
        let due = places.by_time.iter().take_while(|(at, _)| is_wanted(*at));
        let cards = due.filter_map(|(_, id)| places.card(*id));
        cards
            .filter(|card| card.state == State::Scheduled)
            .collect()
    }

    /// When the first one is to be released that is not wanted by `is_known`.
    pub fn next(&self, is_known: impl Fn(&Card) -> bool) -> Option<Time> {
        let places = self.places.read().expect("no panic under this lock");
        let mut cards = (places.by_time.iter()).filter_map(|(_, id)| places.card(*id));
        let next = cards.find(|card| card.state == State::Scheduled && !is_known(card));
        next.map(|card| card.until)
    }

    /// Drafts of killed articles.
    pub fn doomed(&self) -> Vec<Arc<Card>> {
        self.in_state(State::Doomed)
    }

    /// How many there are in a state.
    pub fn count(&self, state: State) -> usize {
        self.in_state(state).len()
    }

    fn in_state(&self, state: State) -> Vec<Arc<Card>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let places = self.places.read().expect("no panic under this lock");
        let cards = places.by_article.values().filter_map(Newest::card);
        cards.filter(|card| card.state == state).cloned().collect()
    }

    /// Under the lock, so that whoever looks at the count sees what it stands for.
    fn changed(&self, places: &Places) {
        self.count.store(places.by_time.len(), Ordering::Release);
        self.changes.send_modify(|number| *number += 1);
    }
}

impl Places {
    fn card(&self, id: ArticleId) -> Option<Arc<Card>> {
        self.by_article.get(&id)?.card().cloned()
    }

    fn put(&mut self, id: ArticleId, newest: Option<Newest>) {
        if let Some(card) = newest.as_ref().and_then(Newest::card) {
            self.by_time.insert(card.place());
            self.bytes += card.bytes;
        }
        let next = newest
            .as_ref()
            .and_then(Newest::card)
            .map(|card| card.place());
        let former = match newest {
            Some(newest) => self.by_article.insert(id, newest),
            None => self.by_article.remove(&id),
        };
        if let Some(card) = former.as_ref().and_then(Newest::card) {
            self.bytes -= card.bytes;
            if next != Some(card.place()) {
                self.by_time.remove(&card.place());
            }
        }
    }
}

#[cfg(test)]
mod tests;
