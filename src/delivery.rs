//! Delivery: what all endpoints share. An entry is one revision with its frames; a subscription is
//! a cursor and a filter.

use std::{collections::HashSet, sync::OnceLock};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    article::{ArticleId, BodyType, text},
    cursor::Cursor,
    filter::{Facets, Filter},
    wire::{
        proto::v1::{self as proto, SubscribeResponse, subscribe_response::Frame},
        record::{ArticleFacets, RecordError, Stored},
    },
};

pub mod articles;
pub mod explain;
pub mod grpc;
pub mod hub;
pub mod index;
pub mod subscription;

/// One revision, ready for every reader: facets to judge it by, and its frames, each encoded once.
#[derive(Debug)]
pub struct Entry {
    /// Its record and place.
    pub stored: Stored,
    /// Its place as readers see it.
    pub cursor: Cursor,
    facets: ArticleFacets,
    words: OnceLock<HashSet<String>>,
    grpc: OnceLock<Bytes>,
}

impl Entry {
    /// The entry of a record.
    ///
    /// # Errors
    /// [`RecordError`] for bytes that no release of Barid wrote.
    pub fn new(stored: Stored, cursor: Cursor) -> Result<Self, RecordError> {
        let facets = stored.record.facets()?;
        Ok(Self {
            stored,
            cursor,
            facets,
            words: OnceLock::new(),
            grpc: OnceLock::new(),
        })
    }

    /// Its sequence.
    pub fn seq(&self) -> u64 {
        self.stored.seq
    }

    /// Whose revision it is.
    pub fn article_id(&self) -> ArticleId {
        self.stored.record.article_id
    }

    /// What a filter looks at.
    pub fn facets(&self) -> Facets<'_> {
        let record = &self.stored.record;
        Facets {
            topics: &record.topics,
            language: &self.facets.language,
            urgencies: record.urgencies_ever,
            action: record.action,
            revision: record.revision,
        }
    }

    /// Whether a filter wants it.
    pub fn matches(&self, filter: &Filter) -> bool {
        filter.matches(&self.facets(), || self.words())
    }

    /// The `SubscribeResponse` that delivers it, encoded.
    pub fn grpc_frame(&self) -> Bytes {
        let frame = || {
            let delivery = self.delivery();
            let response = SubscribeResponse {
                frame: Some(Frame::Delivery(delivery)),
            };
            response.encode_to_vec().into()
        };
        self.grpc.get_or_init(frame).clone()
    }

    /// What a reader gets.
    pub fn delivery(&self) -> proto::Delivery {
        self.stored.record.delivery(self.cursor.to_string())
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        // The record's own buffer holds the body; the frame is another copy of it once made.
        2 * self.stored.record.article.len() + 512
    }

    /// The words of its text; unreadable text has none.
    fn words(&self) -> &HashSet<String> {
        self.words.get_or_init(|| {
            let article = self.stored.record.article.clone();
            let Ok(article) = proto::ArticleText::decode(article) else {
                return HashSet::new();
            };
            let body_type = match proto::BodyType::try_from(article.body_type) {
                Ok(proto::BodyType::Html) => BodyType::Html,
                Ok(proto::BodyType::Text | proto::BodyType::Unspecified) | Err(_) => BodyType::Text,
            };
            let body = text::plain(&article.body, body_type);
            let parts = [
                &article.headline,
                &article.subheadline,
                &article.slugline,
                &body,
            ];
            parts
                .into_iter()
                .flat_map(|part| text::words(part))
                .collect()
        })
    }
}
