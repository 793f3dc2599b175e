//! Delivery: what all endpoints share. An entry is one revision with its frames; a subscription is
//! a cursor and a filter.

use std::{collections::HashSet, sync::OnceLock};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    article::{ArticleId, BodyType, Time, text},
    cursor::Cursor,
    delivery::group::Wanted,
    filter::{Facets, Filter},
    recipient::{Follows, Revised, Stray},
    telemetry::Protocol,
    wire::{
        log::{Log, ReadError},
        proto::v1::{self as proto, subscribe_response::Frame},
        record::{ArticleFacets, RecordError, Stored},
    },
};

pub mod articles;
pub mod chunk;
pub mod durable;
pub mod explain;
pub mod feeds;
pub mod gap;
pub mod group;
pub mod grpc;
pub mod history;
pub mod hub;
pub mod index;
pub mod lag;
pub mod pace;
pub mod places;
pub mod query;
pub mod recalls;
pub mod recipients;
pub mod related;
pub mod seats;
pub mod sse;
pub mod start;
pub mod subscription;
pub mod webhooks;

/// One revision, ready for every reader: facets to judge it by, and its frames, each encoded once.
#[derive(Debug)]
pub struct Entry {
    /// Its record and place.
    pub stored: Stored,
    /// Its place as readers see it.
    pub cursor: Cursor,
    facets: ArticleFacets,
    words: OnceLock<HashSet<String>>,
    frames: [OnceLock<Bytes>; 3],
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
            frames: Default::default(),
        })
    }

    /// The entry of what a log holds.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`].
    pub fn of(log: &Log, stored: Stored) -> Result<Self, ReadError> {
        let seq = stored.seq;
        Self::new(stored, log.cursor(seq)).map_err(|source| ReadError::Corrupt { seq, source })
    }

    /// Its sequence.
    pub fn seq(&self) -> u64 {
        self.stored.seq
    }

    /// Whose revision it is.
    pub fn article_id(&self) -> ArticleId {
        self.stored.record.article_id
    }

    /// Whether lists leave it out: its article is no news any more.
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    /// From when on lists leave it out.
    pub fn expires(&self) -> Option<Time> {
        self.facets.expires
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

    /// Whether a subscriber wants it, or was perhaps sent what it takes back.
    pub fn is_for(&self, wanted: &Wanted) -> bool {
        self.is_wanted(wanted)
            || (wanted.strays.as_ref()).is_some_and(|strays| strays.call(self) != Follows::No)
    }

    /// Whether a subscriber wants it.
    pub fn is_wanted(&self, wanted: &Wanted) -> bool {
        self.seq() > wanted.begin && self.matches(&wanted.filter)
    }

    /// What is remembered of it where it is sent to whom does not want it.
    pub fn stray(&self) -> Stray {
        Stray {
            article: self.article_id(),
            place: self.cursor,
            is_notice: self.stored.record.action.is_notice(),
        }
    }

    /// What recipients are judged by.
    pub fn revised(&self) -> Revised<'_> {
        Revised {
            facets: self.facets(),
            article: self.article_id(),
            seq: self.seq(),
            trail: self.stored.record.trail.as_ref(),
            read: &[],
        }
    }

    /// What delivers it over a protocol, made once.
    pub fn frame(&self, protocol: Protocol) -> &Bytes {
        self.frames[protocol.index()].get_or_init(|| match protocol {
            Protocol::Grpc => grpc::frame(Frame::Delivery(self.delivery())),
            Protocol::Sse => sse::frame(self),
            // Made at each try, for each webhook: what is handed over is the place alone.
            Protocol::Webhook => Bytes::new(),
        })
    }

    /// The same, if it was made already.
    pub fn made_frame(&self, protocol: Protocol) -> Option<&Bytes> {
        self.frames[protocol.index()].get()
    }

    /// What a reader gets.
    pub fn delivery(&self) -> proto::Delivery {
        self.stored.record.delivery(self.cursor.to_string())
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        // The record's own buffer holds the body; two frames and a slab of each are further copies
        // once made. A large entry has no slab.
        let article = self.stored.record.article.len();
        let copies = if article > chunk::CHUNK_BYTES_MAX {
            3
        } else {
            5
        };
        copies * article + 1024
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
