//! Group: the messages that one revision is, in the order in which they lie in the log.

use std::fmt::Write as _;

use std::sync::Arc;

use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;
use prost::Message as _;

use crate::{
    article::{Action, ArticleId, RequestId, Urgency},
    recipient::subscription::SubscriptionId,
    wire::{
        convert,
        proto::log::v1::EraseRecord,
        record::{Answer, Outcome, Record, draft::Draft, texts},
        subject,
    },
};

/// Media type of every copy's payload.
const CONTENT_TYPE_VALUE: &str = "application/protobuf";

/// The headers of a message, shared by all copies.
///
/// Perf: the client's own map costs some thirty allocations to make and as many to clone; this one
/// is made once, and the map once per send.
#[derive(Clone, Debug, Default)]
pub struct Headers(Arc<[(&'static str, String)]>);

impl Headers {
    fn to_map(&self) -> HeaderMap {
        let named = |(name, value): &(&'static str, String)| {
            (HeaderName::from_static(name), value.as_str().into())
        };
        self.0.iter().map(named).collect()
    }
}

/// One message of a group, without the headers of the batch that it goes in.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// The sequence that its subject must end with, 0 for none: the log refuses the group otherwise.
    pub expected: Option<u64>,
    /// Its own headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Bytes,
}

/// What a group says beside its record.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Sequence of the record before, 0 for a new article: the log refuses the group otherwise.
    pub head_seq: u64,
    /// SHA-256 of the request's content.
    pub digest: [u8; 32],
    /// Urgency of the revision.
    pub urgency: Urgency,
}

/// What a group is a step of: they come one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// An article.
    Article(ArticleId),
    /// A durable subscription.
    Subscription(SubscriptionId),
}

/// What one request, one step of the desk or one of a subscription stores, whole or not at all: a
/// revision (record, copies, answer, for a kill the erasure), a draft, the end of one, an entry.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it is a step of.
    pub whose: Whose,
    /// Whose request, if it is one.
    pub request_id: Option<RequestId>,
    /// Which article it kills, if it does.
    pub killed: Option<ArticleId>,
    /// The messages, in order.
    pub messages: Vec<Outgoing>,
    /// Bytes of all bodies and headers, about.
    pub bytes: usize,
}

impl Group {
    /// The group of a record.
    pub fn new(record: &Record, context: &Context) -> Self {
        let mut messages = Vec::with_capacity(record.topics.len() + 3);
        messages.push(Outgoing {
            subject: subject::article(record.article_id),
            expected: Some(context.head_seq),
            headers: Headers::default(),
            payload: record.encode(),
        });
        // Perf: one body for all copies; only the subject differs. The cursor is not known before
        // the commit, so native readers have the server's own sequence header instead.
        let copy: Bytes = record.delivery(String::new()).encode_to_vec().into();
        let headers = copy_headers(record, context);
        messages.extend(record.topics.iter().map(|topic| Outgoing {
            subject: subject::news(topic),
            expected: None,
            headers: headers.clone(),
            payload: copy.clone(),
        }));
        let outcome = Outcome::Revision(record.revision);
        messages.push(answer(record, outcome, context.digest));
        if record.action == Action::Kill {
            let erase = EraseRecord {
                article_id: Bytes::copy_from_slice(record.article_id.as_bytes()),
                topic_count: u32::try_from(record.topics.len()).expect("at most 64 topics"),
            };
            messages.push(Outgoing {
                subject: subject::erase(record.article_id),
                expected: None,
                headers: Headers::default(),
                payload: erase.encode_to_vec().into(),
            });
        }
        if record.draft_seq != 0 {
            // Whoever moves or ends the draft at the same time wins, or loses.
            messages.push(draft_end(record.article_id, record.draft_seq));
        }
        Self {
            request_id: Some(record.request_id),
            killed: (record.action == Action::Kill).then_some(record.article_id),
            ..Self::of(Whose::Article(record.article_id), messages)
        }
    }

    /// A draft as it was submitted, in the place of what its subject ends with.
    pub fn draft(draft: &Draft, expected: u64) -> Self {
        let record = &draft.record;
        let answer = answer(record, Outcome::Draft(draft.until), draft.digest);
        Self {
            request_id: Some(record.request_id),
            ..Self::of(
                Whose::Article(record.article_id),
                vec![draft_at(draft, expected), answer],
            )
        }
    }

    /// A draft that the desk has changed.
    pub fn changed_draft(draft: &Draft, expected: u64) -> Self {
        let messages = vec![draft_at(draft, expected)];
        Self::of(Whose::Article(draft.record.article_id), messages)
    }

    /// The end of the draft at a sequence, by a kill of an article of which nothing was ever sent.
    pub fn killed_draft(kill: &Record, draft_seq: u64, digest: [u8; 32]) -> Self {
        let answer = answer(kill, Outcome::DraftErased, digest);
        let messages = vec![draft_end(kill.article_id, draft_seq), answer];
        Self {
            request_id: Some(kill.request_id),
            ..Self::of(Whose::Article(kill.article_id), messages)
        }
    }

    /// The end of the draft at a sequence.
    pub fn ended_draft(article_id: ArticleId, draft_seq: u64) -> Self {
        let messages = vec![draft_end(article_id, draft_seq)];
        Self::of(Whose::Article(article_id), messages)
    }

    /// A durable subscription's next state, in the place of what its subject ends with.
    pub fn subscription(id: SubscriptionId, subject: String, state: Bytes, expected: u64) -> Self {
        let entry = Outgoing {
            subject,
            expected: Some(expected),
            headers: Headers::default(),
            payload: state,
        };
        Self::of(Whose::Subscription(id), vec![entry])
    }

    fn of(whose: Whose, messages: Vec<Outgoing>) -> Self {
        Self {
            whose,
            request_id: None,
            killed: None,
            bytes: messages.iter().map(Outgoing::bytes).sum(),
            messages,
        }
    }
}

fn answer(record: &Record, outcome: Outcome, digest: [u8; 32]) -> Outgoing {
    let answer = Answer {
        article_id: record.article_id,
        outcome,
        topics: record.topics.clone(),
        seq: 0,
        digest,
    };
    Outgoing {
        subject: subject::request(&record.publisher_key_id, record.request_id),
        expected: Some(0),
        headers: Headers::default(),
        payload: answer.encode(),
    }
}

fn draft_at(draft: &Draft, expected: u64) -> Outgoing {
    Outgoing {
        subject: subject::embargo(draft.record.article_id),
        expected: Some(expected),
        headers: Headers::default(),
        payload: draft.encode(),
    }
}

fn draft_end(article_id: ArticleId, draft_seq: u64) -> Outgoing {
    Outgoing {
        subject: subject::embargo(article_id),
        expected: Some(draft_seq),
        headers: Headers::default(),
        payload: Bytes::new(),
    }
}

impl Outgoing {
    /// Its headers with its expectation, as the client takes them.
    pub fn header_map(&self) -> HeaderMap {
        let mut headers = self.headers.to_map();
        if let Some(seq) = self.expected {
            headers.insert(subject::EXPECTED_SEQUENCE, seq.to_string());
        }
        headers
    }

    /// About what it takes in memory and on the wire.
    fn bytes(&self) -> usize {
        const HEADERS_BYTES: usize = 600;
        self.payload.len() + self.subject.len() + HEADERS_BYTES
    }
}

/// Headers of the copies: CloudEvents binary mode, and what a reader may want to choose by without
/// decoding.
fn copy_headers(record: &Record, context: &Context) -> Headers {
    let id = record.article_id;
    let action = record.action.as_str();
    let of = if record.uri.is_empty() {
        format!("urn:uuid:{id}")
    } else {
        record.uri.clone()
    };
    let revision = record.revision.get();
    let mut headers = vec![
        (subject::CE_SPECVERSION, "1.0".to_owned()),
        (subject::CE_ID, format!("{id}/{revision}")),
        (subject::CE_SOURCE, subject::CE_SOURCE_VALUE.to_owned()),
        (subject::CE_TYPE, format!("barid.v1.{action}")),
        (
            subject::CE_TIME,
            convert::time_to_proto(record.published_at).to_string(),
        ),
        (subject::CE_SUBJECT, percent_encoded(&of)),
        (subject::CONTENT_TYPE, CONTENT_TYPE_VALUE.to_owned()),
        (subject::BARID_ARTICLE, id.to_string()),
        (subject::BARID_REVISION, revision.to_string()),
        (subject::BARID_ACTION, action.to_owned()),
        (subject::BARID_URGENCY, context.urgency.get().to_string()),
        (subject::BARID_TOPICS, texts(&record.topics).join(",")),
    ];
    if !record.traceparent.is_empty() {
        headers.push((subject::TRACEPARENT, record.traceparent.clone()));
    }
    Headers(headers.into())
}

/// A text as CloudEvents wants it in a header (NATS binding, 3.1.3.2): what is not printable ASCII,
/// and `"` and `%`, as the hexadecimal of its UTF-8 bytes.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}
