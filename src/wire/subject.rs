//! NATS names: subjects, headers, and the settings of the stream.

use std::collections::HashMap;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, StorageType};

use crate::{
    article::{ArticleId, RequestId},
    cursor::Epochs,
    topic::Topic,
};

/// The one stream.
pub const STREAM: &str = "BARID";
/// The bucket of facts about the log itself.
pub const META_BUCKET: &str = "barid-meta";
/// The bucket of partners, their grants and keys.
pub const PARTNERS_BUCKET: &str = "barid-partners";
/// The bucket of webhooks and how far they have come.
pub const WEBHOOKS_BUCKET: &str = "barid-webhooks";
/// The bucket of durable subscriptions.
pub const SUBSCRIPTIONS_BUCKET: &str = "barid-subscriptions";
/// All history records.
pub const ARTICLES: &str = "log.article.>";
/// All copies for native readers.
pub const NEWS: &str = "log.news.>";
/// All answers to requests.
pub const REQUESTS: &str = "log.request.>";
/// All erasures that are not finished.
pub const ERASURES: &str = "log.erase.>";
/// All drafts of articles under embargo, and the ends of drafts.
pub const EMBARGOES: &str = "log.embargo.>";
/// What every subject of the log begins with.
const ALL: &str = "log.>";
/// Where the stream's epochs are kept.
pub const EPOCHS_METADATA: &str = "barid.epochs";

/// The sequence that a message's subject must end with, or the batch is refused (ADR-50).
pub const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
/// CloudEvents 1.0 binary mode over NATS: the specification's version.
pub const CE_SPECVERSION: &str = "ce-specversion";
/// CloudEvents id: `<article id>/<revision>`.
pub const CE_ID: &str = "ce-id";
/// The source of all CloudEvents of this wire.
pub const CE_SOURCE_VALUE: &str = "/barid/v1";
/// CloudEvents source.
pub const CE_SOURCE: &str = "ce-source";
/// CloudEvents type: `barid.v1.<action>`.
pub const CE_TYPE: &str = "ce-type";
/// CloudEvents time: when the revision was accepted.
pub const CE_TIME: &str = "ce-time";
/// CloudEvents subject: the agency's uri, or `urn:uuid:<article id>`.
pub const CE_SUBJECT: &str = "ce-subject";
/// Media type of the payload.
pub const CONTENT_TYPE: &str = "content-type";
/// Article id.
pub const BARID_ARTICLE: &str = "Barid-Article";
/// Revision number.
pub const BARID_REVISION: &str = "Barid-Revision";
/// What the revision did.
pub const BARID_ACTION: &str = "Barid-Action";
/// Urgency of the revision.
pub const BARID_URGENCY: &str = "Barid-Urgency";
/// All topics of the revision in order, joined by commas.
pub const BARID_TOPICS: &str = "Barid-Topics";
/// W3C trace context of the publisher.
pub const TRACEPARENT: &str = "traceparent";

/// Where an article's history lies.
pub fn article(id: ArticleId) -> String {
    format!("log.article.{id}")
}

/// Where a topic's copies lie.
pub fn news(topic: &Topic) -> String {
    format!("log.news.{topic}")
}

/// Where the answer to a request lies.
pub fn request(key: &str, id: RequestId) -> String {
    format!("log.request.{key}.{id}")
}

/// Where an article's unfinished erasure lies.
pub fn erase(id: ArticleId) -> String {
    format!("log.erase.{id}")
}

/// Where an article's draft lies.
pub fn embargo(id: ArticleId) -> String {
    format!("log.embargo.{id}")
}

/// The article whose draft lies at a subject.
pub fn embargoed(subject: &str) -> Option<ArticleId> {
    subject.strip_prefix("log.embargo.")?.parse().ok()
}

/// The stream's settings.
pub fn stream(epochs: &Epochs, replicas: usize, max_bytes: Option<i64>) -> Config {
    Config {
        name: STREAM.to_owned(),
        description: Some("Barid: the log of the wire".to_owned()),
        subjects: vec![ALL.to_owned()],
        storage: StorageType::File,
        num_replicas: replicas,
        // A wall, not a window: what was accepted stays until retention takes it.
        discard: DiscardPolicy::New,
        max_bytes: max_bytes.unwrap_or(-1),
        max_messages: -1,
        max_messages_per_subject: -1,
        allow_direct: true,
        allow_atomic_publish: true,
        republish: Some(Republish {
            source: NEWS.to_owned(),
            destination: "news.>".to_owned(),
            headers_only: false,
        }),
        metadata: HashMap::from([(EPOCHS_METADATA.to_owned(), epochs.to_string())]),
        ..Config::default()
    }
}
