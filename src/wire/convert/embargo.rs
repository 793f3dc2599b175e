//! Drafts of articles under embargo <-> protobuf.

use crate::{
    article::{ArticleId, Time, check::shown},
    fault::{Fault, wrong::Wrong},
    wire::{
        convert::{action_to_proto, time, time_to_proto},
        log::embargo::queue::{Card, State},
        proto::v1 as proto,
        record::texts,
    },
};

/// Drafts of a page where the request names no number.
const PAGE_SIZE: u32 = 100;
/// Most drafts of a page.
const PAGE_SIZE_MAX: u32 = 1000;

/// A draft as the desk sees it, without its body.
pub fn embargo_to_proto(card: &Card) -> proto::Embargo {
    let record = &card.record;
    proto::Embargo {
        article_id: record.article_id.to_string(),
        embargoed_until: Some(time_to_proto(card.until)),
        state: match card.state {
            State::Scheduled => proto::EmbargoState::Scheduled,
            State::Blocked | State::Doomed => proto::EmbargoState::Blocked,
        }
        .into(),
        uri: record.uri.clone(),
        headline: card.headline.clone(),
        language: card.facets.language.as_str().to_owned(),
        urgency: card.facets.urgency.get().into(),
        topics: texts(&record.topics),
        action: action_to_proto(record.action).into(),
        base_revision: record.revision.get() - 1,
        submitted_at: Some(time_to_proto(record.published_at)),
        key_id: record.publisher_key_id.clone(),
        partner: record.owner.clone(),
        version: card.seq,
    }
}

/// Reads which article's draft is meant.
///
/// # Errors
/// A [`Fault`] for what is no id.
pub fn article_id(text: &str) -> Result<ArticleId, Fault> {
    text.parse().map_err(|error| {
        let message = format!("{} is not an id: {error}", shown(text));
        Fault::field("FIELD_INVALID", "article_id", message)
    })
}

/// Reads a time to move a draft to; whether it lies ahead is the caller's to say.
///
/// # Errors
/// A [`Fault`] for none, or one that is none of the years 1900 to 9999.
pub fn until(timestamp: Option<&prost_types::Timestamp>) -> Result<Time, Fault> {
    time(timestamp).ok_or_else(|| Fault::field("FIELD_INVALID", "embargoed_until", Wrong::NoUntil))
}

/// Reads how many drafts a page is to have.
///
/// # Errors
/// A [`Fault`] for too many.
pub fn page_size(size: u32) -> Result<usize, Fault> {
    if size > PAGE_SIZE_MAX {
        let message = format!("{size} is more than {PAGE_SIZE_MAX}");
        return Err(Fault::field("FIELD_INVALID", "page_size", message));
    }
    let size = if size == 0 { PAGE_SIZE } else { size };
    Ok(usize::try_from(size).expect("at most 1000"))
}

/// The token of the page after a draft.
pub fn page_token(card: &Card) -> String {
    let until = card.until;
    let id = card.article_id();
    format!("{}.{:09}.{id}", until.seconds(), until.nanos())
}

/// Reads the token of a page; none = the first.
///
/// # Errors
/// A [`Fault`] for what is no token.
pub fn page_place(text: &str) -> Result<Option<(Time, ArticleId)>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let place = || {
        let (seconds, rest) = text.split_once('.')?;
        let (nanos, id) = rest.split_once('.')?;
        let until = Time::new(seconds.parse().ok()?, nanos.parse().ok()?)?;
        Some((until, id.parse().ok()?))
    };
    place().map(Some).ok_or_else(|| {
        let message = format!("{} is not a token of this list", shown(text));
        Fault::field("FIELD_INVALID", "page_token", message)
    })
}
