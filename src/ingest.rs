//! The Publish call: decide the next revision, route it, put it into the log, answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    article::{Action, ArticleId, BodyType, Routing, Submission},
    routing::{
        findings::Findings,
        taxonomy::{LiveTaxonomy, Taxonomy},
    },
    telemetry::Metrics,
    topic::Topic,
    wire::{
        log::{
            self, Log, ReadError,
            batch::AppendError,
            cache::{Head, Known},
            embargo::{Place, queue::State},
            group::{Context, Group},
        },
        record::{Answer, Outcome, Record},
    },
};

pub mod error;
pub mod grpc;
mod plan;
pub mod turns;

pub use error::PublishError;
use plan::{Plan, Present};
use turns::Turns;

/// How often a publisher without `expected_revision` may lose to others before it is told.
const RACES_MAX: u32 = 16;

/// Pause before an article is looked at again whose draft is just being released.
const RELEASE_PAUSE: Duration = Duration::from_millis(20);
/// Bytes that requests at work may take; others wait, then are told to come back.
const ROOM_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of HTML that are read for routing by the caller's own task.
const INLINE_HTML_BYTES_MAX: usize = 4 * 1024;
/// How many times its own size a request takes until its commit: as article, record and copies.
const ROOM_PER_BYTE: usize = 4;

/// The publish gateway of a node.
#[derive(Clone, Debug)]
pub struct Ingest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    taxonomy: LiveTaxonomy,
    clock: fn() -> SystemTime,
    turns: Turns,
    stop: CancellationToken,
    /// Bytes that requests at work may still take.
    room: Arc<Semaphore>,
    /// Publishes under way: the stop waits for them.
    under_way: TaskTracker,
}

/// One accepted publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The article.
    pub article_id: ArticleId,
    /// What became of it.
    pub outcome: Outcome,
    /// Where that went or will go, in order.
    pub topics: Vec<Topic>,
    /// Sequence of its record, of its draft, or of a draft's end.
    pub seq: u64,
    /// Whether an earlier call had made it.
    pub is_duplicate: bool,
    /// Whether it came before the time of a draft, which is blocked by it.
    pub is_before_draft: bool,
}

impl Ingest {
    /// A gateway in front of a log. After `stop` it takes no more; `under_way` counts what it is at.
    pub fn new(
        log: Log,
        taxonomy: LiveTaxonomy,
        clock: fn() -> SystemTime,
        stop: CancellationToken,
        under_way: TaskTracker,
    ) -> Self {
        Self(Arc::new(Inner {
            log,
            taxonomy,
            clock,
            turns: Turns::default(),
            stop,
            room: Arc::new(Semaphore::new(ROOM_BYTES_MAX)),
            under_way,
        }))
    }

    /// Cancelled when it takes no more.
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Waits for room for a request of so many bytes, before anything is made of it. Requests get
    /// room in the order in which their futures are first polled.
    ///
    /// # Errors
    /// [`AppendError::Busy`] at the deadline.
    pub async fn room(
        &self,
        bytes: usize,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, PublishError> {
        let bytes = bytes.saturating_mul(ROOM_PER_BYTE).min(ROOM_BYTES_MAX);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = timeout_at(deadline, Arc::clone(&self.0.room).acquire_many_owned(bytes)).await;
        let room = room.map_err(|_| AppendError::Busy)?;
        Ok(room.expect("this semaphore is never closed"))
    }

    /// The time of day.
    pub fn now(&self) -> SystemTime {
        (self.0.clock)()
    }

    /// What is measured of this node.
    pub fn metrics(&self) -> &Metrics {
        self.0.log.metrics()
    }

    /// The cursor of a sequence, as text.
    pub fn cursor(&self, seq: u64) -> String {
        self.0.log.cursor(seq).to_string()
    }

    /// Publishes one revision before `deadline`. Submissions are taken in the order in which their
    /// futures are first polled: those for one article always, others unless the leader must be
    /// asked about one of them.
    ///
    /// Dropping the future does not take back what is on its way into the log. This node then does
    /// not remember the outcome; the log itself, or the tail, tells the next one who asks.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(
        &self,
        submission: Submission,
        deadline: Instant,
    ) -> Result<Published, PublishError> {
        if self.0.stop.is_cancelled() {
            return Err(PublishError::Stopping);
        }
        let _counted = self.0.under_way.token();
        let late = |is_in_doubt| AppendError::Unavailable { is_in_doubt };
        let turn = self.0.turns.take(submission.article_id);
        let _turn = timeout_at(deadline, turn).await.map_err(|_| late(false))?;
        // Reads of the leader have a patience of their own, which may end later.
        let work = self.run(&submission, deadline);
        timeout_at(deadline, work)
            .await
            .unwrap_or_else(|_| Err(late(true).into()))
    }

    async fn run(
        &self,
        submission: &Submission,
        deadline: Instant,
    ) -> Result<Published, PublishError> {
        // What this node remembers may be behind: it may lead to a try that the log refuses, never
        // to an error. A draft is not refused for what it is written for.
        let mut is_sure = self.embargo(submission).is_some();
        let mut is_ours_possible = false;
        let mut race_count = 0;
        // One taxonomy throughout, whatever is loaded meanwhile.
        let taxonomy = self.0.taxonomy.get();
        let mut findings = None;
        loop {
            let answer = log::patiently(deadline, || self.answer(submission, is_sure)).await?;
            if let Some(answer) = answer {
                return self.answered(submission, &answer, is_ours_possible);
            }
            let (head, is_read) =
                log::patiently(deadline, || self.head(submission, is_sure)).await?;
            // Always the leader's word, where there may be one at all.
            let place = log::patiently(deadline, || self.draft_place(submission)).await?;
            if findings.is_none() {
                findings = Some(read_text(submission, &taxonomy).await);
            }
            let routes = (findings.as_ref().expect("read above"), &*taxonomy);
            let present = Present {
                head: head.as_deref(),
                place: &place,
            };
            let plan = match self.plan(submission, present, routes) {
                Ok(plan) => plan,
                Err(_) if !(is_sure && is_read) => {
                    is_sure = true;
                    continue;
                }
                Err(PublishError::Embargoed { until })
                    if self.embargo_left(until).is_zero() && Instant::now() < deadline =>
                {
                    // It is on its way out.
                    sleep(RELEASE_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.carry_out(submission, plan, deadline).await {
                Ok(published) => return Ok(published),
                Err(AppendError::Stale {
                    is_ours_possible: possible,
                }) if race_count < RACES_MAX && Instant::now() < deadline => {
                    is_sure = true;
                    is_ours_possible |= possible;
                    race_count += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn carry_out(
        &self,
        submission: &Submission,
        plan: Plan,
        deadline: Instant,
    ) -> Result<Published, AppendError> {
        let log = &self.0.log;
        let without_record = |outcome, topics, seq| Published {
            article_id: submission.article_id,
            outcome,
            topics,
            seq,
            is_duplicate: false,
            is_before_draft: false,
        };
        match plan {
            Plan::Killed(published) => Ok(published),
            Plan::Hold(draft, expected) => {
                let seq = log.hold(&draft, expected, deadline).await?;
                let outcome = Outcome::Draft(draft.until);
                Ok(without_record(outcome, draft.record.topics, seq))
            }
            Plan::EraseDraft(kill, draft_seq) => {
                let digest = submission.digest;
                let seq = log.kill_draft(&kill, draft_seq, digest, deadline).await?;
                Ok(without_record(Outcome::DraftErased, kill.topics, seq))
            }
            Plan::Append(record, urgency) => {
                let context = Context {
                    head_seq: record.prior_revision_seq,
                    digest: submission.digest,
                    urgency,
                };
                // Looked at before: the commit itself blocks it.
                let draft = log.embargoes().card(submission.article_id);
                let appended = log.append(Group::new(&record, &context), deadline).await?;
                let is_before_draft = record.draft_seq == 0
                    && draft.is_some_and(|draft| draft.state == State::Scheduled);
                let published = self.accepted(submission, *record, appended.seq);
                Ok(Published {
                    is_before_draft,
                    ..published
                })
            }
        }
    }

    /// What the article's place for drafts ends with, where that can matter.
    async fn draft_place(&self, submission: &Submission) -> Result<Place, ReadError> {
        let log = &self.0.log;
        let id = submission.article_id;
        let matters = submission.action == Action::Kill
            || self.embargo(submission).is_some()
            || log.embargoes().card(id).is_some();
        if matters {
            log.draft_place(id).await
        } else {
            Ok(Place {
                seq: 0,
                draft: None,
            })
        }
    }

    /// The stored answer to the request, if it has one.
    async fn answer(
        &self,
        submission: &Submission,
        is_sure: bool,
    ) -> Result<Option<Arc<Answer>>, ReadError> {
        let log = &self.0.log;
        match log.cached_answer(submission.author.key, submission.request_id) {
            Some(Known::Answer(answer)) => Ok(Some(answer)),
            None if !is_sure => Ok(None),
            Some(Known::Seen) | None => Ok(log
                .answer(submission.author.key, submission.request_id)
                .await?
                .map(Arc::new)),
        }
    }

    fn answered(
        &self,
        submission: &Submission,
        answer: &Answer,
        is_ours_possible: bool,
    ) -> Result<Published, PublishError> {
        if answer.digest != submission.digest {
            return Err(PublishError::RequestReused);
        }
        let is_revision = matches!(answer.outcome, Outcome::Revision(_));
        if submission.action == Action::Kill && is_revision {
            // The answer says that no earlier text is shown here: make it true first.
            self.0.log.killed().insert(answer.article_id, answer.seq);
        }
        Ok(Published {
            article_id: answer.article_id,
            outcome: answer.outcome,
            topics: answer.topics.clone(),
            seq: answer.seq,
            is_duplicate: !is_ours_possible,
            is_before_draft: false,
        })
    }

    /// The newest state of the article, and whether the leader gave it.
    async fn head(
        &self,
        submission: &Submission,
        is_sure: bool,
    ) -> Result<(Option<Arc<Head>>, bool), ReadError> {
        let log = &self.0.log;
        if !is_sure {
            if let Some(head) = log.cached_head(submission.article_id) {
                return Ok((Some(head), false));
            }
            let is_new = submission.action == Action::Publish
                && submission.expected_revision.unwrap_or(0) == 0;
            if is_new {
                // Perf: a publish of an unknown article is nearly always its first; where it is
                // not, the log refuses it and the leader is asked then.
                return Ok((None, false));
            }
        }
        let Some(stored) = log.head(submission.article_id).await? else {
            return Ok((None, true));
        };
        let seq = stored.seq;
        let head = Head::of(&stored).map_err(|source| ReadError::Corrupt { seq, source })?;
        Ok((Some(Arc::new(head)), true))
    }

    fn accepted(&self, submission: &Submission, record: Record, seq: u64) -> Published {
        let answer = Answer {
            article_id: record.article_id,
            outcome: Outcome::Revision(record.revision),
            topics: record.topics.clone(),
            seq,
            digest: submission.digest,
        };
        let author = &submission.author;
        let request_id = submission.request_id;
        self.0.log.note_answer(author.key, request_id, answer);
        let published = Published {
            article_id: record.article_id,
            outcome: Outcome::Revision(record.revision),
            topics: record.topics.clone(),
            seq,
            is_duplicate: false,
            is_before_draft: false,
        };
        // The log's own time comes with the tail; a head needs none.
        self.0.log.note(&crate::wire::record::Stored {
            seq,
            time_ns: 0,
            record,
        });
        published
    }
}

/// What the text of a submission has of the taxonomy's phrases, if that counts.
async fn read_text(submission: &Submission, taxonomy: &Arc<Taxonomy>) -> Findings {
    let is_inferred = match submission.routing {
        Routing::Inferred => !submission.action.is_notice(),
        Routing::Stated => false,
    };
    let article = &submission.article;
    if !is_inferred {
        return Findings::default();
    }
    // Of plain text only a beginning is read; HTML must be parsed first, which takes milliseconds.
    if article.body_type == BodyType::Text || article.body.len() <= INLINE_HTML_BYTES_MAX {
        return Findings::read(article, taxonomy);
    }
    let (article, taxonomy) = (article.clone(), Arc::clone(taxonomy));
    spawn_blocking(move || Findings::read(&article, &taxonomy))
        .await
        .expect("reading a text does not panic")
}
