//! Embargo: drafts in the log, and the ways out of it.
//!
//! `log.embargo.<id>` ends with an article's draft, or with the end of one. Every step is one group
//! that the log takes only while the subject still ends with what the step was decided on: a draft is
//! replaced, moved, ended or released once, by whichever node, whatever crashes. A release is the
//! record of an ordinary revision and the draft's end, in one group.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, TryStreamExt as _, future, stream};
use tokio::time::Instant;

use crate::{
    access::key::KeyId,
    article::{ArticleId, Revision, Time},
    fault::{Fault, Kind},
    wire::{
        log::{
            Get, Log, ReadError,
            batch::AppendError,
            clock,
            embargo::queue::{Card, Queue},
            group::{Context, Group},
            info::is_of_leader,
            patiently, unavailable,
        },
        record::{Answer, Outcome, Record, RecordError, Stored, draft::Draft, time_of},
        subject,
    },
};

pub mod keeper;
pub mod queue;

/// How far ahead a draft's time may lie.
pub const AHEAD_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Drafts that are read at once.
const READS_MAX: usize = 64;
/// How often a release may find the log changed before it gives up for now.
const RACES_MAX: u32 = 16;
/// What a node knows of embargoes.
#[derive(Debug, Default)]
pub struct Embargoes {
    queue: Queue,
    /// Whether this node releases at the very time; others only where that has not happened.
    leads: AtomicBool,
}

/// What an article's place for drafts ends with.
#[derive(Debug)]
pub struct Place {
    /// Sequence of the draft, or of the end of one; 0 = there is neither.
    pub seq: u64,
    /// The draft, if there is one.
    pub draft: Option<Draft>,
}

/// Why a draft was not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// It is another one by now, or none.
    #[error("the draft has changed")]
    Changed,
    /// The article has got another revision since it was written.
    #[error("the article has moved on to revision {}", newest.get())]
    BaseMoved {
        /// Which.
        newest: Revision,
    },
    /// The log can't be read.
    #[error("the log can't be read")]
    Read(#[from] ReadError),
    /// The log did not take it.
    #[error("the log did not take the revision")]
    Append(#[from] AppendError),
    /// What no release of Barid wrote.
    #[error("the draft is not readable")]
    Corrupt(#[from] RecordError),
}

impl ReleaseError {
    /// What the caller can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Changed => changed(),
            Self::BaseMoved { newest } => {
                let newest = newest.get();
                let message = format!(
                    "the article has got revision {newest} since the draft was written; submit the \
                     draft again, or cancel it"
                );
                Fault::new(Kind::Precondition, "EMBARGO_BASE_MOVED", message)
                    .with("newest_revision", newest.to_string())
            }
            Self::Read(error) => error.fault(),
            Self::Append(error) => error.fault(),
            Self::Corrupt(_) => ReadError::corrupt_fault(),
        }
    }
}

/// What whoever meant another state of a draft is told.
pub fn changed() -> Fault {
    let message = "the draft has changed meanwhile; look at it again, then decide";
    Fault::new(Kind::Conflict, "EMBARGO_CONFLICT", message)
}

/// A release that has happened.
#[derive(Debug)]
pub enum Released {
    /// By this very call.
    Now(Stored),
    /// It had been: by another node, or by a try whose answer was lost.
    Before(Stored),
}

impl Log {
    /// The drafts that this node knows.
    pub fn embargoes(&self) -> &Queue {
        &self.0.embargoes.queue
    }

    /// How long an embargo lasts from `now`, which is what this node's own clock shows: until both
    /// that and the log's clock have reached its time, so that neither of them breaks it by being fast.
    pub fn embargo_left(&self, until: Time, now: SystemTime) -> Duration {
        let leader = self.0.clock.at(Instant::now());
        clock::left(until, time_of(now).unix_nanos(), leader)
    }

    /// What an article's place for drafts ends with, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn draft_place(&self, id: ArticleId) -> Result<Place, ReadError> {
        let Some(message) = self.get(Get::Last(subject::embargo(id))).await? else {
            return Ok(Place {
                seq: 0,
                draft: None,
            });
        };
        let seq = message.sequence;
        let draft =
            Draft::decode(message.payload).map_err(|source| ReadError::Corrupt { seq, source })?;
        Ok(Place { seq, draft })
    }

    /// Loads all drafts as the leader has them, and judges those that are new to this node by their
    /// articles. Returns the log's last sequence from before.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn load_embargoes(&self) -> Result<u64, ReadError> {
        let last_seq = self.last_seq().await?;
        let ids = self.listed_drafts().await?;
        let cards = stream::iter(ids).map(|id| self.draft_card(id));
        let cards: Vec<Option<Card>> = cards.buffer_unordered(READS_MAX).try_collect().await?;
        let cards: Vec<Card> = cards.into_iter().flatten().collect();
        let is_new = |card: &&Card| {
            let known = self.embargoes().card(card.article_id());
            known.is_none_or(|known| known.seq != card.seq)
        };
        let new: Vec<ArticleId> = cards.iter().filter(is_new).map(Card::article_id).collect();
        self.embargoes().replace(cards, last_seq);
        // Whoever reads a head notes it, and that judges the draft.
        let heads = stream::iter(new).map(|id| self.head(id));
        let mut heads = heads.buffer_unordered(READS_MAX);
        while heads.try_next().await?.is_some() {}
        Ok(last_seq)
    }

    /// Forgets drafts that are not there any more: nobody is told of what is erased. Takes over those
    /// that this node does not know.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(super) async fn compare_embargoes(&self) -> Result<(), ReadError> {
        let last_seq = self.last_seq().await?;
        let listed: HashSet<ArticleId> = self.listed_drafts().await?.into_iter().collect();
        for id in self.embargoes().compare(&listed, last_seq) {
            self.refresh_draft(id).await?;
            self.head(id).await?;
        }
        Ok(())
    }

    /// The articles that have a place for drafts, as the leader has them.
    async fn listed_drafts(&self) -> Result<Vec<ArticleId>, ReadError> {
        let stream = &self.0.connection.stream;
        let subjects = stream.info_with_subjects(subject::EMBARGOES).await;
        let subjects = subjects.map_err(unavailable)?;
        if !is_of_leader(&subjects.info) {
            return Err(ReadError::Unavailable(None));
        }
        let ids =
            subjects.try_filter_map(|(subject, _)| future::ready(Ok(subject::embargoed(&subject))));
        ids.try_collect().await.map_err(unavailable)
    }

    async fn draft_card(&self, id: ArticleId) -> Result<Option<Card>, ReadError> {
        let Place { seq, draft } = self.draft_place(id).await?;
        let card = draft.map(|draft| Card::new(&draft, seq)).transpose();
        card.map_err(|source| ReadError::Corrupt { seq, source })
    }

    /// Takes over what the leader says of an article's place for drafts.
    pub(super) async fn refresh_draft(&self, id: ArticleId) -> Result<(), ReadError> {
        match self.draft_place(id).await? {
            Place {
                seq,
                draft: Some(draft),
            } => {
                let card = Card::new(&draft, seq);
                let card = card.map_err(|source| ReadError::Corrupt { seq, source })?;
                self.embargoes().hold(card);
            }
            Place { seq: 0, .. } => self.embargoes().forget(id),
            Place { seq, draft: None } => self.embargoes().end(id, seq),
        }
        Ok(())
    }

    /// Keeps a draft as it was submitted, in the place of what its subject ends with, before
    /// `deadline`. Returns its sequence.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn hold(
        &self,
        draft: &Draft,
        expected: u64,
        deadline: Instant,
    ) -> Result<u64, AppendError> {
        let seq = self
            .append(Group::draft(draft, expected), deadline)
            .await?
            .seq;
        self.held(draft, seq);
        let record = &draft.record;
        let answer = Answer {
            article_id: record.article_id,
            outcome: Outcome::Draft(draft.until),
            topics: record.topics.clone(),
            seq,
            digest: draft.digest,
        };
        self.note_answer(key_of(record), record.request_id, answer);
        Ok(seq)
    }

    /// Keeps a draft that the desk has changed, likewise.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn change_draft(
        &self,
        draft: &Draft,
        expected: u64,
        deadline: Instant,
    ) -> Result<u64, AppendError> {
        let group = Group::changed_draft(draft, expected);
        let seq = self.append(group, deadline).await?.seq;
        self.held(draft, seq);
        Ok(seq)
    }

    fn held(&self, draft: &Draft, seq: u64) {
        match Card::new(draft, seq) {
            Ok(card) => self.embargoes().hold(card),
            // Its article was encoded a moment ago.
            Err(error) => tracing::error!(seq, %error, "unreadable draft"),
        }
    }

    /// Ends the draft at a sequence, of which nothing is ever sent.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn end_draft(
        &self,
        id: ArticleId,
        draft_seq: u64,
        deadline: Instant,
    ) -> Result<(), AppendError> {
        let group = Group::ended_draft(id, draft_seq);
        let appended = self.append(group, deadline).await?;
        self.embargoes().end(id, appended.seq);
        Ok(())
    }

    /// Ends the draft at a sequence, likewise, as the answer to a request to kill. Returns the
    /// sequence of the end.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn kill_draft(
        &self,
        kill: &Record,
        draft_seq: u64,
        digest: [u8; 32],
        deadline: Instant,
    ) -> Result<u64, AppendError> {
        let group = Group::killed_draft(kill, draft_seq, digest);
        let seq = self.append(group, deadline).await?.seq;
        self.embargoes().end(kill.article_id, seq);
        let answer = Answer {
            article_id: kill.article_id,
            outcome: Outcome::DraftErased,
            topics: kill.topics.clone(),
            seq,
            digest,
        };
        self.note_answer(key_of(kill), kill.request_id, answer);
        Ok(seq)
    }

    /// Makes the draft at a sequence the next revision of its article, at a time, before `deadline`.
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub async fn release(
        &self,
        draft: Draft,
        draft_seq: u64,
        at: Time,
        deadline: Instant,
    ) -> Result<Released, ReleaseError> {
        let context = Context {
            head_seq: draft.record.prior_revision_seq,
            digest: draft.digest,
            urgency: draft.record.facets()?.urgency,
        };
        let record = draft.released(draft_seq, at)?;
        let (id, group) = (record.article_id, Group::new(&record, &context));
        for _ in 0..RACES_MAX {
            match self.append(group.clone(), deadline).await {
                Ok(appended) => {
                    let stored = Stored {
                        seq: appended.seq,
                        // The log's own time comes with the tail; a head needs none.
                        time_ns: 0,
                        record,
                    };
                    self.note(&stored);
                    return Ok(Released::Now(stored));
                }
                Err(AppendError::Stale { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // Judges the draft, too.
            let head = patiently(deadline, || self.head(id)).await?;
            let newest = match head {
                Some(head) if head.record.draft_seq == draft_seq => {
                    return Ok(Released::Before(head));
                }
                head => head.map(|head| (head.seq, head.record.revision)),
            };
            let place = patiently(deadline, || self.draft_place(id)).await?;
            if place.seq != draft_seq {
                patiently(deadline, || self.refresh_draft(id)).await?;
                return Err(ReleaseError::Changed);
            }
            if let Some((seq, newest)) = newest
                && seq != context.head_seq
            {
                return Err(ReleaseError::BaseMoved { newest });
            }
        }
        let is_ours_possible = false;
        Err(AppendError::Stale { is_ours_possible }.into())
    }

    /// Whether this node releases at the very time.
    pub(super) fn leads_embargoes(&self) -> bool {
        self.0.embargoes.leads.load(Ordering::Relaxed)
    }

    pub(super) fn set_leads_embargoes(&self, leads: bool) {
        self.0.embargoes.leads.store(leads, Ordering::Relaxed);
    }
}

/// The key that a record names; none for `anon`.
fn key_of(record: &Record) -> Option<KeyId> {
    record.publisher_key_id.parse().ok()
}
