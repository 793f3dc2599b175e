//! What a node remembers of articles and requests, so that a write needs no read. Never decides
//! alone: the log itself refuses a group whose writer was wrong.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;

use crate::{
    access::key::KeyId,
    article::{Action, ArticleId, Language, RequestId, Revision, Time, Urgencies, Urgency},
    recipient::trail::{Former, Trail},
    topic::Topic,
    wire::record::{Answer, RecordError, Stored},
};

/// Articles that a node remembers; the least recently used is forgotten first.
const HEADS_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");
/// Requests that a node remembers; likewise.
const ANSWERS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The newest state of an article: what the next revision builds on.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Sequence of its record.
    pub seq: u64,
    /// Its number.
    pub revision: Revision,
    /// What it did.
    pub action: Action,
    /// Where the article went so far, in order.
    pub topics: Vec<Topic>,
    /// As fixed at revision 1.
    pub uri: String,
    /// As fixed at revision 1.
    pub language: Language,
    /// All it ever had.
    pub urgencies_ever: Urgencies,
    /// The newest one.
    pub urgency: Urgency,
    /// Which partner's it is, or empty.
    pub owner: String,
    /// When the story was first written.
    pub first_created: Option<Time>,
    /// What it knows of the revisions before it, if its record tells.
    pub trail: Option<Trail>,
}

impl Head {
    /// The state that a record leaves its article in.
    ///
    /// # Errors
    /// [`RecordError`] for bytes that no release of Barid wrote.
    pub fn of(stored: &Stored) -> Result<Self, RecordError> {
        let facets = stored.record.facets()?;
        Ok(Self {
            seq: stored.seq,
            revision: stored.record.revision,
            action: stored.record.action,
            topics: stored.record.topics.clone(),
            uri: stored.record.uri.clone(),
            language: facets.language,
            urgencies_ever: stored.record.urgencies_ever,
            urgency: facets.urgency,
            owner: stored.record.owner.clone(),
            first_created: facets.first_created,
            trail: stored.record.trail.clone(),
        })
    }

    /// The trail of the revision after it, with all these topics and urgencies.
    pub fn next_trail(&self, topics: &[Topic], urgencies: Urgencies) -> Option<Trail> {
        let former = Former {
            seq: self.seq,
            trail: self.trail.as_ref()?,
            topics: &self.topics,
            urgencies: self.urgencies_ever,
            is_notice: self.action.is_notice(),
        };
        Some(Trail::after(former, topics, urgencies))
    }
}

/// What a node knows of a request.
#[derive(Clone, Debug)]
pub enum Known {
    /// Its whole answer.
    Answer(Arc<Answer>),
    /// That it has one; the leader has the rest.
    Seen,
}

/// The caches of one node.
#[derive(Debug)]
pub struct Caches {
    heads: LruCache<ArticleId, Arc<Head>>,
    answers: LruCache<(Option<KeyId>, RequestId), Known>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            heads: LruCache::new(HEADS_MAX),
            answers: LruCache::new(ANSWERS_MAX),
        }
    }
}

impl Caches {
    /// The newest state that is remembered of an article.
    pub fn head(&mut self, id: ArticleId) -> Option<Arc<Head>> {
        self.heads.get(&id).cloned()
    }

    /// What is remembered of a request.
    pub fn answer(&mut self, key: Option<KeyId>, id: RequestId) -> Option<Known> {
        self.answers.get(&(key, id)).cloned()
    }

    /// Remembers an answer.
    pub fn answered(&mut self, key: Option<KeyId>, id: RequestId, answer: Answer) {
        self.answers.put((key, id), Known::Answer(Arc::new(answer)));
    }

    /// Remembers what a record says; an older record than the one known changes nothing.
    pub fn noted(&mut self, stored: &Stored, head: Head) {
        let id = stored.record.article_id;
        if self
            .heads
            .peek(&id)
            .is_none_or(|known| known.seq < head.seq)
        {
            self.heads.put(id, Arc::new(head));
        }
        let key = stored.record.publisher_key_id.parse().ok();
        let request = (key, stored.record.request_id);
        if !self.answers.contains(&request) {
            self.answers.put(request, Known::Seen);
        }
    }

    /// Forgets everything, after the log lost its newest part.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.answers.clear();
    }
}
