//! Plan: what a submission comes to, by what is there.

use std::time::Duration;

use crate::{
    article::{Action, Article, Revision, Submission, Time, Urgencies, Urgency},
    ingest::{Ingest, PublishError, Published},
    recipient::trail::Trail,
    routing::{self, findings::Findings, taxonomy::Taxonomy},
    wire::{
        convert,
        log::{
            ReadError,
            cache::Head,
            embargo::{AHEAD_MAX, Place},
        },
        record::{Outcome, Record, draft::Draft, time_of},
    },
};

/// What a submission comes to.
pub(super) enum Plan {
    /// A new revision.
    Append(Box<Record>, Urgency),
    /// The article is killed already: the answer is its kill.
    Killed(Published),
    /// A revision that waits for its time, in the place of what ends with a sequence.
    Hold(Box<Draft>, u64),
    /// The end of the draft at a sequence, of which nothing was ever sent.
    EraseDraft(Box<Record>, u64),
}

/// What is there when a submission comes.
#[derive(Clone, Copy)]
pub(super) struct Present<'a> {
    /// The article's newest state.
    pub(super) head: Option<&'a Head>,
    /// What its place for drafts ends with.
    pub(super) place: &'a Place,
}

impl Ingest {
    /// Until when the submission is not to be shown, if that is not over. A withdrawal is never held
    /// back.
    pub(super) fn embargo(&self, submission: &Submission) -> Option<Time> {
        let until = submission.article.embargoed_until?;
        let is_over = self.embargo_left(until).is_zero();
        (!is_over && !submission.action.is_notice()).then_some(until)
    }

    pub(super) fn embargo_left(&self, until: Time) -> Duration {
        self.0.log.embargo_left(until, self.now())
    }

    /// What a submission comes to, by what is there.
    pub(super) fn plan(
        &self,
        submission: &Submission,
        present: Present<'_>,
        (findings, taxonomy): (&Findings, &Taxonomy),
    ) -> Result<Plan, PublishError> {
        let Present { head, place } = present;
        let author = &submission.author;
        author
            .check_source(submission.action, &submission.article)
            .map_err(PublishError::NotGranted)?;
        // First: what the article is at is not everybody's to know.
        if let Some(head) = head {
            author
                .check_read(&head.owner, &head.topics, &head.language)
                .map_err(PublishError::NotGranted)?;
        }
        let embargo = self.embargo(submission);
        if let Some(draft) = &place.draft
            // Whoever may kill or correct what is live may do so whatever waits behind it.
            && (head.is_none() || embargo.is_some())
        {
            let seq = place.seq;
            let language = draft.language();
            let language = language.map_err(|source| ReadError::Corrupt { seq, source })?;
            author
                .check_read(&draft.record.owner, &draft.record.topics, &language)
                .map_err(PublishError::NotGranted)?;
        }
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
        let action = action(submission, present, embargo)?;
        if action == Action::Kill
            && head.is_none()
            && let Some(draft) = &place.draft
        {
            let kill = kill_of_draft(submission, draft, time_of(self.now()));
            return Ok(Plan::EraseDraft(Box::new(kill), place.seq));
        }
        let (mut record, urgency) = self.record(submission, head, action, (findings, taxonomy))?;
        if let Some(until) = embargo {
            if place.draft.is_some() && submission.replaces.is_some_and(|seq| seq != place.seq) {
                return Err(PublishError::DraftExists { seq: place.seq });
            }
            self.check_embargo(&record, until)?;
            let draft = Draft {
                record,
                until,
                digest: submission.digest,
            };
            return Ok(Plan::Hold(Box::new(draft), place.seq));
        }
        if action == Action::Kill && place.draft.is_some() {
            record.draft_seq = place.seq;
        }
        Ok(Plan::Append(Box::new(record), urgency))
    }

    /// Whether a draft's time, and the draft itself, are within the bounds.
    fn check_embargo(&self, record: &Record, until: Time) -> Result<(), PublishError> {
        if self.embargo_left(until) > AHEAD_MAX {
            return Err(PublishError::EmbargoFar);
        }
        let queue = self.0.log.embargoes();
        queue
            .room(record.article_id, &record.owner, record.article.len())
            .map_err(PublishError::NoRoom)
    }

    /// The record that a submission becomes, and its urgency.
    fn record(
        &self,
        submission: &Submission,
        head: Option<&Head>,
        action: Action,
        (findings, taxonomy): (&Findings, &Taxonomy),
    ) -> Result<(Record, Urgency), PublishError> {
        let author = &submission.author;
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
            // Of a draft that it replaces nothing goes out: whose that was does not count.
            owner: head.map_or_else(|| author.partner.clone(), |head| head.owner.clone()),
            published_at,
            routed_at: time_of(self.now()),
            urgencies_ever,
            uri,
            prior_revision_seq: head.map_or(0, |head| head.seq),
            routing: submission.routing,
            traceparent: submission.traceparent.clone(),
            trail,
            draft_seq: 0,
        };
        Ok((record, urgency))
    }

    fn killed(&self, submission: &Submission, head: &Head) -> Result<Plan, PublishError> {
        if submission.action != Action::Kill {
            return Err(PublishError::Killed);
        }
        self.0.log.killed().insert(submission.article_id, head.seq);
        Ok(Plan::Killed(Published {
            article_id: submission.article_id,
            outcome: Outcome::Revision(head.revision),
            topics: head.topics.clone(),
            seq: head.seq,
            is_duplicate: true,
            is_before_draft: false,
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
        article.urgency = article.urgency.or(Some(Urgency::DEFAULT));
        if self.embargo(submission).is_none() {
            // A draft gets it with its release.
            let now = time_of(self.now());
            article.version_created = article.version_created.or(Some(now));
        }
        article.first_created = article.first_created.or(article.version_created);
        Ok(article)
    }
}

/// What the revision does, by the state that the article is in.
fn action(
    submission: &Submission,
    Present { head, place }: Present<'_>,
    embargo: Option<Time>,
) -> Result<Action, PublishError> {
    let asked = submission.action;
    match (head.map(|head| head.action), asked) {
        (None, _) => match (&place.draft, asked, embargo) {
            (Some(_), Action::Kill, _) => Ok(Action::Kill),
            // Whatever it is called, it takes the place of a first revision.
            (Some(_), Action::Publish | Action::Update | Action::Correct, Some(_))
            | (None, Action::Publish, _) => Ok(Action::Publish),
            (Some(draft), _, _) => Err(PublishError::Embargoed { until: draft.until }),
            (None, _, _) => Err(PublishError::Unknown {
                id: submission.article_id,
            }),
        },
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

/// What answers a kill of an article of which there is only a draft.
fn kill_of_draft(submission: &Submission, draft: &Draft, now: Time) -> Record {
    Record {
        action: Action::Kill,
        topics: Vec::new(),
        request_id: submission.request_id,
        publisher_key_id: submission.author.key_name(),
        published_at: now,
        ..draft.record.clone()
    }
}
