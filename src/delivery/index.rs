//! Index: facets of the newest revisions, without their texts, for reads that go backwards.
//! JetStream can't read backwards; beyond the index, windows of the log are read forwards.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    article::{Action, ArticleId, Language, Revision, Time, Urgencies},
    delivery::Entry,
    filter::{Facets, Filter},
    topic::Topic,
};

/// Revisions that a node remembers; the oldest is forgotten first.
const INDEX_LEN_MAX: usize = 50_000;

/// Facets of one revision.
#[derive(Debug)]
pub struct Item {
    /// Sequence of its record.
    pub seq: u64,
    /// Whose revision.
    pub article_id: ArticleId,
    topics: Vec<Topic>,
    language: Language,
    urgencies: Urgencies,
    action: Action,
    revision: Revision,
    expires: Option<Time>,
}

/// What a subscriber has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many revisions.
    pub count: u32,
    /// Whether there may be more.
    pub is_least: bool,
    /// The sequence of the first that is known.
    pub first: Option<u64>,
}

impl Item {
    /// Whether lists leave it out.
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What a filter looks at.
    pub fn facets(&self) -> Facets<'_> {
        Facets {
            topics: &self.topics,
            language: &self.language,
            urgencies: self.urgencies,
            action: self.action,
            revision: self.revision,
        }
    }
}

/// An item, and the sequence of the article's next revision, if there is one.
pub type Indexed = (Arc<Item>, Option<u64>);

/// Facets of the newest revisions, by sequence.
#[derive(Debug)]
pub struct Index {
    /// Everything after this sequence that the node has read is here.
    after: u64,
    items: BTreeMap<u64, Indexed>,
    /// By topic: articles whose newest revision is here, is no notice and has not expired, in it or
    /// beneath it.
    counts: HashMap<String, u64>,
    /// Newest revisions that will expire.
    expiring: BTreeSet<(Time, u64)>,
    /// When one of them expired last.
    last_expiry: Option<Time>,
}

impl Index {
    /// An empty index of what comes after a sequence.
    pub fn new(after: u64) -> Self {
        Self {
            after,
            items: BTreeMap::new(),
            counts: HashMap::new(),
            expiring: BTreeSet::new(),
            last_expiry: None,
        }
    }

    /// The sequence after which it is complete.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// Adds the next revision.
    pub fn push(&mut self, entry: &Entry) {
        let record = &entry.stored.record;
        let facets = entry.facets();
        let item = Item {
            seq: entry.seq(),
            article_id: record.article_id,
            topics: record.topics.clone(),
            language: facets.language.clone(),
            urgencies: record.urgencies_ever,
            action: record.action,
            revision: record.revision,
            expires: entry.expires(),
        };
        if let Some((prior, next)) = self.items.get_mut(&record.prior_revision_seq) {
            *next = Some(entry.seq());
            let prior = Arc::clone(prior);
            self.uncount(&prior);
        }
        self.count(&item);
        self.items.insert(entry.seq(), (Arc::new(item), None));
        while self.items.len() > INDEX_LEN_MAX
            && let Some((seq, (item, next))) = self.items.pop_first()
        {
            self.after = seq;
            if next.is_none() {
                self.uncount(&item);
            }
        }
    }

    fn count(&mut self, item: &Item) {
        count(&mut self.counts, item, |count| count + 1);
        self.expiring
            .extend(item.expires.map(|expires| (expires, item.seq)));
    }

    /// Takes an article out of the counts, unless it has expired and left them before.
    fn uncount(&mut self, item: &Item) {
        let is_counted = item
            .expires
            .is_none_or(|expires| self.expiring.remove(&(expires, item.seq)));
        if is_counted {
            count(&mut self.counts, item, |count| count.saturating_sub(1));
        }
    }

    /// Takes what has expired out of the counts; returns when something did last.
    pub fn expire(&mut self, now: Time) -> Option<Time> {
        while let Some((expires, seq)) = self.expiring.first().copied().filter(|at| at.0 <= now) {
            self.last_expiry = self.last_expiry.max(Some(expires));
            match self.items.get(&seq).map(|(item, _)| Arc::clone(item)) {
                Some(item) => self.uncount(&item),
                None => {
                    self.expiring.remove(&(expires, seq));
                }
            }
        }
        self.last_expiry
    }

    /// Forgets what a loss of the log has taken: everything after a sequence.
    pub fn truncate(&mut self, after: u64) {
        self.items.split_off(&(after + 1));
        self.after = self.after.min(after);
        for (_, next) in self.items.values_mut() {
            *next = next.filter(|next| *next <= after);
        }
        self.counts.clear();
        self.expiring.clear();
        let newest = self.items.values().filter(|(_, next)| next.is_none());
        let newest: Vec<Arc<Item>> = newest.map(|(item, _)| Arc::clone(item)).collect();
        for item in newest {
            self.count(&item);
        }
    }

    /// The sequence up to which nothing that comes after `after` has facets that match; none if
    /// something has, or may have: what the index does not reach back to.
    pub fn nothing_new(&self, after: u64, filter: &Filter) -> Option<u64> {
        let mut new = self.items.range(after + 1..);
        let is_new = new.any(|(_, (item, _))| filter.matches_facets(&item.facets()));
        let last = self.items.last_key_value().map_or(0, |(seq, _)| *seq);
        (self.after <= after && !is_new).then_some(last.max(after))
    }

    /// What comes after a sequence and has facets that match; at most `count_max` are counted.
    pub fn waiting(&self, after: u64, filter: &Filter, count_max: u32) -> Waiting {
        let new = self.items.range(after.saturating_add(1)..);
        let wanted = new.filter(|(_, (item, _))| filter.matches_facets(&item.facets()));
        let mut wanted = wanted.map(|(seq, _)| *seq);
        let first = wanted.next();
        let mut count = u32::from(first.is_some());
        while count < count_max && wanted.next().is_some() {
            count += 1;
        }
        Waiting {
            count,
            is_least: self.after > after || count >= count_max,
            first,
        }
    }

    /// By topic: how many articles stood in it or beneath it when [`Index::expire`] was last called.
    pub fn counts(&self) -> &HashMap<String, u64> {
        &self.counts
    }

    /// The newest revisions below `before` whose facets match, latest first, at most `count`, and
    /// for each the sequence of the article's next revision.
    pub fn backwards(&self, before: u64, filter: &Filter, count: usize) -> Vec<Indexed> {
        self.items
            .range(..before)
            .rev()
            .map(|(_, found)| found)
            .filter(|(item, _)| filter.matches_facets(&item.facets()))
            .take(count)
            .cloned()
            .collect()
    }
}

/// Changes the counts of all topics that an article stands in; a withdrawn one stands in none.
fn count(counts: &mut HashMap<String, u64>, item: &Item, change: impl Fn(u64) -> u64) {
    if item.action.is_notice() {
        return;
    }
    let mut covered = BTreeSet::new();
    for topic in &item.topics {
        let path = topic.as_str();
        covered.insert(path);
        covered.extend(path.match_indices('.').map(|(end, _)| path.split_at(end).0));
    }
    for path in covered {
        match counts.get_mut(path) {
            Some(count) => *count = change(*count),
            None => {
                counts.insert(path.to_owned(), change(0));
            }
        }
    }
}
