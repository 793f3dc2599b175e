//! The Publish call: decide the next revision, route it, put it into the log, answer.

use std::{sync::Arc, time::SystemTime};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    article::{
        Action, Article, ArticleId, BodyType, Revision, Routing, Submission, Urgencies, Urgency,
    },
    recipient::trail::Trail,
    routing::{
        self,
        findings::Findings,
        taxonomy::{LiveTaxonomy, Taxonomy},
    },
    telemetry::Metrics,
    topic::Topic,
    wire::{
        convert,
        log::{
            self, Log, ReadError,
            batch::AppendError,
            cache::{Head, Known},
            group::{Context, Group},
        },
        record::{Answer, Record, time_of},
    },
};

pub mod error;
pub mod grpc;
pub mod turns;

pub use error::PublishError;
use turns::Turns;

/// How often a publisher without `expected_revision` may lose to others before it is told.
const RACES_MAX: u32 = 16;

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
    /// Which revision it became.
    pub revision: Revision,
    /// Where that went, in order.
    pub topics: Vec<Topic>,
    /// Sequence of its record.
    pub seq: u64,
    /// Whether an earlier call had made it.
    pub is_duplicate: bool,
}

/// What a submission comes to.
enum Plan {
    /// A new revision.
    Append(Box<Draft>),
    /// The article is killed already: the answer is its kill.
    Killed(Published),
}

/// A record and what its group needs beside it.
struct Draft {
    record: Record,
    head_seq: u64,
    urgency: Urgency,
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
        // to an error.
        let mut is_sure = false;
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
            if findings.is_none() {
                findings = Some(read_text(submission, &taxonomy).await);
            }
            let routes = (findings.as_ref().expect("read above"), &*taxonomy);
            let draft = match self.plan(submission, head.as_deref(), routes) {
                Ok(Plan::Append(draft)) => draft,
                Ok(Plan::Killed(published)) => return Ok(published),
                Err(_) if !(is_sure && is_read) => {
                    is_sure = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let context = Context {
                head_seq: draft.head_seq,
                digest: submission.digest,
                urgency: draft.urgency,
            };
            let group = Group::new(&draft.record, &context);
            match self.0.log.append(group, deadline).await {
                Ok(appended) => return Ok(self.accepted(submission, draft.record, appended.seq)),
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
        if submission.action == Action::Kill {
            // The answer says that no earlier text is shown here: make it true first.
            self.0.log.killed().insert(answer.article_id, answer.seq);
        }
        Ok(Published {
            article_id: answer.article_id,
            revision: answer.revision,
            topics: answer.topics.clone(),
            seq: answer.seq,
            is_duplicate: !is_ours_possible,
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

    fn plan(
        &self,
        submission: &Submission,
        head: Option<&Head>,
        (findings, taxonomy): (&Findings, &Taxonomy),
    ) -> Result<Plan, PublishError> {
        let author = &submission.author;
        // First: what the article is at is not everybody's to know.
        author
            .check_before(
                (submission.action, &submission.article),
                head.map(|head| (&*head.owner, &*head.topics)),
            )
            .map_err(PublishError::NotGranted)?;
        if let Some(head) = head
            && head.action == Action::Kill
        {
            return self.killed(submission, head);
        }
        let newest = head.map_or(0, |head| head.revision.get());
        if let Some(expected) = submission.expected_revision
            && expected != newest
        {
            return Err(PublishError::Conflict { expected, newest });
        }
        let action = action(submission, head)?;
        let article = self.article(submission, head, action)?;
        let inherited = head.map_or(&[][..], |head| &head.topics);
        let published_at = time_of(self.now());
        let route = routing::route(&article, action, inherited, findings, taxonomy)?;
        let language = article.language.as_ref().expect("checked above");
        author
            .check_route(language, &route.topics[..route.own_count])
            .map_err(PublishError::NotGranted)?;
        if head.is_none() && route.reasons == [routing::Reason::Rest] {
            self.0.log.metrics().routed_to_general.inc();
            tracing::debug!(article = %submission.article_id, "routed to general");
        }
        let urgency = article.urgency.unwrap_or(Urgency::DEFAULT);
        let urgencies_ever = head
            .map_or(Urgencies::default(), |head| head.urgencies_ever)
            .with(urgency);
        let trail = match head {
            None => Some(Trail::first(route.topics.len(), urgencies_ever)),
            Some(head) => head.next_trail(&route.topics, urgencies_ever),
        };
        let uri = article.uri.clone();
        let encoded = convert::article_to_proto(submission.article_id, article);
        let record = Record {
            article_id: submission.article_id,
            revision: head.map_or(Revision::FIRST, |head| head.revision.next()),
            action,
            article: prost::Message::encode_to_vec(&encoded).into(),
            own_topic_count: u32::try_from(route.own_count).expect("at most 64 topics"),
            topic_reasons: route.reasons.iter().map(ToString::to_string).collect(),
            topics: route.topics,
            request_id: submission.request_id,
            publisher_key_id: submission.author.key_name(),
            owner: head.map_or_else(
                || submission.author.partner.clone(),
                |head| head.owner.clone(),
            ),
            published_at,
            routed_at: time_of(self.now()),
            urgencies_ever,
            uri,
            prior_revision_seq: head.map_or(0, |head| head.seq),
            routing: submission.routing,
            traceparent: submission.traceparent.clone(),
            trail,
        };
        Ok(Plan::Append(Box::new(Draft {
            record,
            head_seq: head.map_or(0, |head| head.seq),
            urgency,
        })))
    }

    fn killed(&self, submission: &Submission, head: &Head) -> Result<Plan, PublishError> {
        if submission.action != Action::Kill {
            return Err(PublishError::Killed);
        }
        self.0.log.killed().insert(submission.article_id, head.seq);
        Ok(Plan::Killed(Published {
            article_id: submission.article_id,
            revision: head.revision,
            topics: head.topics.clone(),
            seq: head.seq,
            is_duplicate: true,
        }))
    }

    /// The article as it will be stored: what is fixed at revision 1, and what Barid fills in.
    fn article(
        &self,
        submission: &Submission,
        head: Option<&Head>,
        action: Action,
    ) -> Result<Article, PublishError> {
        let mut article = submission.article.clone();
        if action.is_notice() {
            article = article.into_notice();
            article.urgency = article.urgency.or(head.map(|head| head.urgency));
        }
        match head {
            None if article.language.is_none() => return Err(PublishError::LanguageMissing),
            None => {}
            Some(head) => {
                if !article.uri.is_empty() && article.uri != head.uri {
                    return Err(PublishError::UriMismatch {
                        stored: head.uri.clone(),
                    });
                }
                if article
                    .language
                    .as_ref()
                    .is_some_and(|given| *given != head.language)
                {
                    let stored = head.language.as_str().to_owned();
                    return Err(PublishError::LanguageFixed { stored });
                }
                article.uri.clone_from(&head.uri);
                article.language = Some(head.language.clone());
                article.first_created = article.first_created.or(head.first_created);
            }
        }
        let now = time_of(self.now());
        article.urgency = article.urgency.or(Some(Urgency::DEFAULT));
        article.version_created = article.version_created.or(Some(now));
        article.first_created = article.first_created.or(article.version_created);
        Ok(article)
    }

    fn accepted(&self, submission: &Submission, record: Record, seq: u64) -> Published {
        let answer = Answer {
            article_id: record.article_id,
            revision: record.revision,
            topics: record.topics.clone(),
            seq,
            digest: submission.digest,
        };
        let author = &submission.author;
        let request_id = submission.request_id;
        self.0.log.note_answer(author.key, request_id, answer);
        let published = Published {
            article_id: record.article_id,
            revision: record.revision,
            topics: record.topics.clone(),
            seq,
            is_duplicate: false,
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

/// What the revision does, by the state that the article is in.
fn action(submission: &Submission, head: Option<&Head>) -> Result<Action, PublishError> {
    let asked = submission.action;
    match (head.map(|head| head.action), asked) {
        (None, Action::Publish) => Ok(Action::Publish),
        (None, _) => Err(PublishError::Unknown {
            id: submission.article_id,
        }),
        (Some(Action::Withhold), Action::Publish | Action::Kill) => Ok(asked),
        (Some(Action::Withhold), _) => Err(PublishError::Withheld),
        // Killed articles never come here.
        (Some(Action::Kill), _) => Err(PublishError::Killed),
        (Some(Action::Publish | Action::Update | Action::Correct), Action::Publish) => {
            Ok(Action::Update)
        }
        (Some(Action::Publish | Action::Update | Action::Correct), _) => Ok(asked),
    }
}
