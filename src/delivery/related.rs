//! Related articles: "you might also like", by a measure that can be explained.
//!
//! Two articles are as related as what they share is rare. Of all that the article `a` has, let a
//! thing's weight be its rarity among the newest articles, `ln((N + 1) / n)` for a thing that `n` of
//! `N` have. Then
//!
//! ```text
//! words  = Σ weight² of a's words that b has, too / Σ weight² of a's words
//! topics = the same of topics, without `general`
//! places = the same of places
//! score  = (0.6 words + 0.15 topics + 0.25 places) × recency + link
//! ```
//!
//! where words are those of headline, subheadline, slugline and the body's beginning, in the form
//! in which routing compares them (so `والأمن` and `أمن` are one), and count twice in a headline.
//! `recency` halves its upper half every [`HALF_LIFE_SECONDS`] between the two, from 1 down to 0.5.
//! `link` is 1 where one names the other, or both the same third; a translation is such a link.
//!
//! The index holds the newest revision of the newest [`ARTICLES_MAX`] articles as numbers, a few
//! kilobytes each at most, and follows the ring by itself; nobody who publishes waits for it. It
//! only proposes: each proposal's newest revision is asked of the log before it is shown, so one
//! that is killed or withheld never is.

use std::{
    cmp::Reverse,
    sync::{Arc, RwLock},
};

use tokio::task::{spawn_blocking, yield_now};
use tokio_util::sync::CancellationToken;

use crate::{
    article::{ArticleId, Time},
    delivery::{
        Entry,
        hub::Hub,
        related::{
            corpus::{Corpus, Match},
            profile::Profile,
        },
    },
    fault::Fault,
    topic::Topic,
    wire::log::ReadError,
};

pub mod corpus;
pub mod profile;

/// Articles that are indexed; the one whose newest revision is oldest goes first.
pub const ARTICLES_MAX: usize = 4096;
/// Most related articles of one answer.
pub const COUNT_MAX: usize = 20;
/// Seconds between two articles over which the half of relatedness that fades is halved: a week.
pub const HALF_LIFE_SECONDS: f64 = 7.0 * 86_400.0;
/// Entries that are indexed before others may work.
const BATCH: usize = 16;
/// Proposals that may turn out to be withdrawn, beside those that are asked for.
const SPARE: usize = 10;

/// What is related to what; clones share everything.
#[derive(Clone, Debug)]
pub struct Related {
    hub: Hub,
    corpus: Arc<RwLock<Corpus>>,
}

/// A related article, and why it is.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its newest revision.
    pub entry: Arc<Entry>,
    /// How much, from 0; with a link more than 1.
    pub score: f64,
    /// Words of both, rarest first, as the asked article writes them; at most six.
    pub words: Vec<String>,
    /// Topics of both.
    pub topics: Vec<Topic>,
    /// Places of both, as the asked article writes them.
    pub places: Vec<String>,
    /// Whether one names the other, or both the same third.
    pub is_linked: bool,
}

impl Related {
    /// An index over a hub that knows nothing yet.
    pub fn new(hub: Hub) -> Self {
        Self {
            hub,
            corpus: Arc::default(),
        }
    }

    /// Follows the ring until `stop`. What the ring lets go before it is indexed is left out.
    pub async fn run(&self, stop: CancellationToken) {
        let log = self.hub.log();
        let (mut read, mut epochs) = (log.read_watch(), log.epochs_watch());
        let mut at = 0;
        loop {
            loop {
                let entries = self.hub.ring_after(at, BATCH);
                let Some(last) = entries.last() else { break };
                at = last.seq();
                for entry in &entries {
                    self.note(entry);
                }
                if stop.is_cancelled() {
                    return;
                }
                yield_now().await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Both only wake; what is new is looked for above.
                _ = epochs.changed() => {
                    // What was lost may have been indexed.
                    at = 0;
                    *self.corpus.write().expect("no panic under this lock") = Corpus::default();
                }
                _ = read.changed() => {}
            }
        }
    }

    /// What is related to an article, most first, at most `count` and [`COUNT_MAX`]. Never one that
    /// is killed, withheld, embargoed or expired at `now`.
    ///
    /// # Errors
    /// The article is nobody's, killed or withheld, or the log can't be read.
    pub async fn to(&self, id: ArticleId, count: usize, now: Time) -> Result<Vec<Relation>, Fault> {
        let count = count.min(COUNT_MAX);
        let head = self.hub.shown_head(id, |_| Ok(())).await?;
        let corpus = Arc::clone(&self.corpus);
        let ranked = spawn_blocking(move || {
            let profile = Profile::of(&head)?;
            let corpus = corpus.read().expect("no panic under this lock");
            Some(corpus.rank(&profile, now, count + SPARE))
        });
        let ranked = ranked.await.expect("ranking does not panic");
        let mut relations = Vec::new();
        for found in ranked.unwrap_or_default() {
            if relations.len() == count {
                break;
            }
            let read = |error: ReadError| error.fault();
            if let Some(entry) = self.hub.head(found.article_id).await.map_err(read)?
                && !entry.stored.record.action.is_notice()
                && !self.hub.is_killed(&entry)
            {
                relations.push(relation(entry, found));
            }
        }
        // Judged last: a kill may have come while we read.
        relations.retain(|relation| !self.hub.is_killed(&relation.entry));
        Ok(relations)
    }

    fn note(&self, entry: &Entry) {
        let profile = if entry.stored.record.action.is_notice() {
            None
        } else {
            // Away from the lock: this is what takes long.
            Profile::bare(entry)
        };
        let mut corpus = self.corpus.write().expect("no panic under this lock");
        corpus.remove(entry.article_id());
        if let Some(profile) = profile {
            corpus.insert(profile, ARTICLES_MAX);
        }
    }
}

fn relation(entry: Arc<Entry>, found: Match) -> Relation {
    Relation {
        entry,
        score: found.score,
        words: found.words,
        topics: found.topics,
        places: found.places,
        is_linked: found.is_linked,
    }
}

/// Most first, the newer of two that are equal.
fn order(found: &Match) -> (Reverse<u64>, Reverse<u64>) {
    // Scores are small and positive: in millionths they are integers that compare.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest integer of the range"
    )]
    let millionths = (found.score * 1e6) as u64;
    (Reverse(millionths), Reverse(found.seq))
}

#[cfg(test)]
mod tests;
