//! The stored record of one revision: its form in memory and in the log.

use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::{
    article::{
        Action, ArticleId, Language, RequestId, Revision, Routing, Time, Urgencies, Urgency,
    },
    recipient::trail::{Steps, Trail},
    topic::Topic,
    wire::{
        convert,
        proto::{log::v1 as stored, v1 as proto},
    },
};

pub mod draft;

/// One revision as the log holds it. `proto/barid/log/v1/record.proto` describes the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The story.
    pub article_id: ArticleId,
    /// Which of its revisions.
    pub revision: Revision,
    /// What the revision did.
    pub action: Action,
    /// The encoded `barid.v1.Article`.
    pub article: Bytes,
    /// All topics, own ones first.
    pub topics: Vec<Topic>,
    /// How many are the revision's own.
    pub own_topic_count: u32,
    /// Why, one for each topic.
    pub topic_reasons: Vec<String>,
    /// The request that made it.
    pub request_id: RequestId,
    /// The key that published it.
    pub publisher_key_id: String,
    /// When it was accepted.
    pub published_at: Time,
    /// When its topics were decided.
    pub routed_at: Time,
    /// All urgencies that the article ever had.
    pub urgencies_ever: Urgencies,
    /// The agency's own id, or empty.
    pub uri: String,
    /// Sequence of the record of the revision before, 0 for none.
    pub prior_revision_seq: u64,
    /// How its own topics were found.
    pub routing: Routing,
    /// Which partner published the article first, or empty.
    pub owner: String,
    /// W3C trace context of the publish that made it, or empty.
    pub traceparent: String,
    /// What it knows of the revisions before it; none if it was written by a release that kept
    /// nothing of the kind.
    pub trail: Option<Trail>,
    /// Sequence of the draft that it was, or that this kill erases; 0 for none.
    pub draft_seq: u64,
}

/// What filters and later revisions need of an encoded article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArticleFacets {
    /// Language of the text.
    pub language: Language,
    /// Urgency of this revision.
    pub urgency: Urgency,
    /// When the story was first written.
    pub first_created: Option<Time>,
    /// From when on lists leave it out.
    pub expires: Option<Time>,
}

/// A record and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Sequence of the record.
    pub seq: u64,
    /// When the log took it, by the log's own clock, in nanoseconds from 1970.
    pub time_ns: i128,
    /// The record.
    pub record: Record,
}

/// The stored answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The article that it made or changed.
    pub article_id: ArticleId,
    /// What became of it.
    pub outcome: Outcome,
    /// Where that went or will go, in order.
    pub topics: Vec<Topic>,
    /// Sequence of its record, of its draft, or of a draft's end.
    pub seq: u64,
    /// SHA-256 of the request's content.
    pub digest: [u8; 32],
}

/// What became of a request that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This revision.
    Revision(Revision),
    /// A draft, to be released then.
    Draft(Time),
    /// The end of a draft, of which nothing was ever sent.
    DraftErased,
}

/// Bytes in the log that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the expected protobuf.
    #[error("the record is not readable")]
    Decode(#[from] prost::DecodeError),
    /// A field without meaning.
    #[error("the record has no valid {0}")]
    Field(&'static str),
}

impl Record {
    /// The bytes that the log stores.
    pub fn encode(&self) -> Bytes {
        let steps = self.trail.as_ref().map(Trail::steps).unwrap_or_default();
        let record = stored::ArticleRecord {
            article_id: Bytes::copy_from_slice(self.article_id.as_bytes()),
            revision: self.revision.get(),
            action: convert::action_to_proto(self.action).into(),
            article: self.article.clone(),
            topics: texts(&self.topics),
            own_topic_count: self.own_topic_count,
            topic_reasons: self.topic_reasons.clone(),
            request_id: Bytes::copy_from_slice(self.request_id.as_bytes()),
            publisher_key_id: self.publisher_key_id.clone(),
            published_at: Some(convert::time_to_proto(self.published_at)),
            routed_at: Some(convert::time_to_proto(self.routed_at)),
            urgencies_ever: self.urgencies_ever.bits(),
            uri: self.uri.clone(),
            prior_revision_seq: self.prior_revision_seq,
            routing: match self.routing {
                Routing::Inferred => proto::Routing::Unspecified,
                Routing::Stated => proto::Routing::Stated,
            }
            .into(),
            traceparent: self.traceparent.clone(),
            owner: self.owner.clone(),
            earlier_steps: steps.earlier,
            topic_steps: steps.topics,
            urgency_steps: steps.urgencies,
            draft_seq: self.draft_seq,
            notice_places: steps.notices,
            notices_known: steps.knows_notices,
        };
        record.encode_to_vec().into()
    }

    /// Reads the bytes that the log stores.
    ///
    /// # Errors
    /// [`RecordError`] for bytes that no release of Barid wrote.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let record = stored::ArticleRecord::decode(bytes)?;
        let urgencies_ever = Urgencies::from_bits(record.urgencies_ever);
        let steps = Steps {
            earlier: record.earlier_steps,
            topics: record.topic_steps,
            urgencies: record.urgency_steps,
            notices: record.notice_places,
            knows_notices: record.notices_known,
        };
        let (prior, topic_count) = (record.prior_revision_seq, record.topics.len());
        let trail = Trail::read(&steps, prior, record.revision, topic_count, urgencies_ever);
        Ok(Self {
            trail,
            article_id: ArticleId::new(uuid(&record.article_id, "article_id")?),
            revision: Revision::new(record.revision).ok_or(RecordError::Field("revision"))?,
            action: convert::action_from_proto(record.action)
                .ok_or(RecordError::Field("action"))?,
            article: record.article,
            topics: topics(&record.topics)?,
            own_topic_count: record.own_topic_count,
            topic_reasons: record.topic_reasons,
            request_id: RequestId::new(uuid(&record.request_id, "request_id")?),
            publisher_key_id: record.publisher_key_id,
            published_at: convert::time(record.published_at.as_ref())
                .ok_or(RecordError::Field("published_at"))?,
            routed_at: convert::time(record.routed_at.as_ref())
                .ok_or(RecordError::Field("routed_at"))?,
            urgencies_ever,
            uri: record.uri,
            prior_revision_seq: prior,
            routing: match proto::Routing::try_from(record.routing) {
                Ok(proto::Routing::Unspecified | proto::Routing::Inferred) => Routing::Inferred,
                Ok(proto::Routing::Stated) => Routing::Stated,
                Err(_) => return Err(RecordError::Field("routing")),
            },
            traceparent: record.traceparent,
            owner: record.owner,
            draft_seq: record.draft_seq,
        })
    }

    /// What filters and later revisions need of the article itself.
    ///
    /// # Errors
    /// [`RecordError`] for bytes that no release of Barid wrote.
    pub fn facets(&self) -> Result<ArticleFacets, RecordError> {
        let facets = proto::ArticleFacets::decode(self.article.clone())?;
        Ok(ArticleFacets {
            language: facets
                .language
                .parse()
                .map_err(|_| RecordError::Field("language"))?,
            urgency: Urgency::new(facets.urgency).ok_or(RecordError::Field("urgency"))?,
            first_created: convert::time(facets.first_created.as_ref()),
            expires: convert::time(facets.expires.as_ref()),
        })
    }

    /// How many messages its group has: the record, a copy per topic, the answer, for a kill the
    /// erasure, and the end of a draft.
    pub fn group_len(&self) -> u64 {
        let topic_count = u64::try_from(self.topics.len()).expect("usize fits u64");
        let is_kill = self.action == Action::Kill;
        topic_count + 2 + u64::from(is_kill) + u64::from(self.draft_seq != 0)
    }

    /// What a reader gets of it, at this cursor.
    pub fn delivery(&self, cursor: String) -> proto::Delivery {
        proto::Delivery {
            cursor,
            topics: texts(&self.topics),
            action: convert::action_to_proto(self.action).into(),
            revision: self.revision.get(),
            article: self.article.clone(),
            published_at: Some(convert::time_to_proto(self.published_at)),
            routed_at: Some(convert::time_to_proto(self.routed_at)),
            traceparent: self.traceparent.clone(),
        }
    }
}

impl Stored {
    /// The last sequence of its group.
    pub fn group_end(&self) -> u64 {
        self.seq + self.record.group_len() - 1
    }
}

impl Outcome {
    /// The number of the revision, 0 for none.
    pub fn revision(self) -> u32 {
        match self {
            Self::Revision(revision) => revision.get(),
            Self::Draft(_) | Self::DraftErased => 0,
        }
    }

    /// When the draft is to be released, if it is one.
    pub fn embargoed_until(self) -> Option<Time> {
        match self {
            Self::Draft(until) => Some(until),
            Self::Revision(_) | Self::DraftErased => None,
        }
    }
}

impl Answer {
    /// The bytes that the log stores.
    pub fn encode(&self) -> Bytes {
        let record = stored::RequestRecord {
            article_id: Bytes::copy_from_slice(self.article_id.as_bytes()),
            revision: self.outcome.revision(),
            topics: texts(&self.topics),
            request_sha256: Bytes::copy_from_slice(&self.digest),
            embargoed_until: self.outcome.embargoed_until().map(convert::time_to_proto),
        };
        record.encode_to_vec().into()
    }

    /// Reads the bytes that the log stores at `answer_seq`: a record stands before its copies, and
    /// they before the answer; a draft, or its end, right before it.
    ///
    /// # Errors
    /// [`RecordError`] for bytes that no release of Barid wrote.
    pub fn decode(bytes: Bytes, answer_seq: u64) -> Result<Self, RecordError> {
        let record = stored::RequestRecord::decode(bytes)?;
        let topic_count = u64::try_from(record.topics.len()).expect("usize fits u64");
        let outcome = match (Revision::new(record.revision), &record.embargoed_until) {
            (Some(revision), _) => Outcome::Revision(revision),
            (None, None) => Outcome::DraftErased,
            (None, Some(until)) => Outcome::Draft(
                convert::time(Some(until)).ok_or(RecordError::Field("embargoed_until"))?,
            ),
        };
        let distance = match outcome {
            Outcome::Revision(_) => topic_count + 1,
            Outcome::Draft(_) | Outcome::DraftErased => 1,
        };
        Ok(Self {
            article_id: ArticleId::new(uuid(&record.article_id, "article_id")?),
            outcome,
            topics: topics(&record.topics)?,
            seq: answer_seq
                .checked_sub(distance)
                .ok_or(RecordError::Field("topics"))?,
            digest: digest(&record.request_sha256)?,
        })
    }
}

/// The time of day that the gateway reads once per request.
pub fn time_of(now: SystemTime) -> Time {
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(since.subsec_nanos()).unwrap_or_default();
    Time::new(seconds, nanos).expect("the machine's clock is between 1970 and 9999")
}

/// Topics as text.
pub fn texts(topics: &[Topic]) -> Vec<String> {
    topics.iter().map(Topic::to_string).collect()
}

fn topics(texts: &[String]) -> Result<Vec<Topic>, RecordError> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|_| RecordError::Field("topics")))
        .collect()
}

fn uuid(bytes: &[u8], field: &'static str) -> Result<Uuid, RecordError> {
    Uuid::from_slice(bytes).map_err(|_| RecordError::Field(field))
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], RecordError> {
    bytes
        .try_into()
        .map_err(|_| RecordError::Field("request_sha256"))
}

#[cfg(test)]
mod tests;
