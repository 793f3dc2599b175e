//! Index: facets of the newest revisions, without their texts, for reads that go backwards.
//! JetStream can't read backwards; beyond the index, windows of the log are read forwards.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    article::{Action, ArticleId, Language, Revision, Urgencies},
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
}

impl Item {
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
}

impl Index {
    /// An empty index of what comes after a sequence.
    pub fn new(after: u64) -> Self {
        Self {
            after,
            items: BTreeMap::new(),
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
        };
        if let Some((_, next)) = self.items.get_mut(&record.prior_revision_seq) {
            *next = Some(entry.seq());
        }
        self.items.insert(entry.seq(), (Arc::new(item), None));
        while self.items.len() > INDEX_LEN_MAX
            && let Some((seq, _)) = self.items.pop_first()
        {
            self.after = seq;
        }
    }

    /// Forgets what a loss of the log has taken: everything after a sequence.
    pub fn truncate(&mut self, after: u64) {
        self.items.split_off(&(after + 1));
        self.after = self.after.min(after);
        for (_, next) in self.items.values_mut() {
            *next = next.filter(|next| *next <= after);
        }
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
