//! Draft: an article under embargo, as the log holds it until its time.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    article::{Language, Revision, Time},
    wire::{
        convert,
        proto::{log::v1 as stored, v1 as proto},
        record::{Record, RecordError, digest},
    },
};

/// A revision that is not one yet. Its record is what it will be, but for `request_id`, which is that
/// of the submission, and `published_at`, which is when that came.
#[derive(Clone, PartialEq)]
pub struct Draft {
    /// The revision as it will be.
    pub record: Record,
    /// When it is to be released.
    pub until: Time,
    /// SHA-256 of the submission's content.
    pub digest: [u8; 32],
}

/// Says nothing of the article: whatever prints it may reach a log.
impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Draft");
        shown.field("article_id", &self.record.article_id);
        shown.field("until", &self.until).finish_non_exhaustive()
    }
}

impl Draft {
    /// The bytes that the log stores.
    pub fn encode(&self) -> Bytes {
        let draft = stored::DraftRecord {
            record: self.record.encode(),
            embargoed_until: Some(convert::time_to_proto(self.until)),
            request_sha256: Bytes::copy_from_slice(&self.digest),
        };
        draft.encode_to_vec().into()
    }

    /// Reads the bytes that the log stores; none for the end of a draft.
    ///
    /// # Errors
    /// [`RecordError`] for bytes that no release of Barid wrote.
    pub fn decode(bytes: Bytes) -> Result<Option<Self>, RecordError> {
        let draft = stored::DraftRecord::decode(bytes)?;
        if draft.record.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            record: Record::decode(draft.record)?,
            until: convert::time(draft.embargoed_until.as_ref())
                .ok_or(RecordError::Field("embargoed_until"))?,
            digest: digest(&draft.request_sha256)?,
        }))
    }

    /// The same draft for another time, which its article says, too.
    ///
    /// # Errors
    /// [`RecordError`] for an article that no release of Barid wrote.
    pub fn moved(mut self, until: Time) -> Result<Self, RecordError> {
        let mut article = self.article()?;
        article.embargoed_until = Some(convert::time_to_proto(until));
        self.record.article = article.encode_to_vec().into();
        self.until = until;
        Ok(self)
    }

    /// Its text.
    ///
    /// # Errors
    /// [`RecordError`] for an article that no release of Barid wrote.
    pub fn article(&self) -> Result<proto::Article, RecordError> {
        Ok(proto::Article::decode(self.record.article.clone())?)
    }

    /// Its language.
    ///
    /// # Errors
    /// [`RecordError`] for an article that no release of Barid wrote.
    pub fn language(&self) -> Result<Language, RecordError> {
        let language = self.article()?.language;
        let language = language.parse();
        language.map_err(|_| RecordError::Field("article.language"))
    }

    /// The revision that it was written for; none = the article is new.
    pub fn base(&self) -> Option<Revision> {
        Revision::new(self.record.revision.get() - 1)
    }

    /// The record of its release: under a request id of its own, so that there is one for ever. Of the
    /// times that its publisher left out, that of the release takes the place.
    ///
    /// # Errors
    /// [`RecordError`] for an article that no release of Barid wrote.
    pub fn released(mut self, draft_seq: u64, at: Time) -> Result<Record, RecordError> {
        let mut article = self.article()?;
        if article.version_created.is_none() || article.first_created.is_none() {
            let written = article
                .version_created
                .get_or_insert(convert::time_to_proto(at));
            article.first_created.get_or_insert(*written);
            self.record.article = article.encode_to_vec().into();
        }
        Ok(Record {
            request_id: self.record.request_id.of_release(),
            published_at: at,
            draft_seq,
            ..self.record
        })
    }
}
