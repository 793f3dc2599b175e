//! Fields that several requests have, each read in one way.

use std::time::Duration;

use crate::{article::check::shown, cursor::Cursor, fault::Fault};

/// How long a former secret stays good unless it is said.
const OVERLAP: Duration = Duration::from_secs(86_400);
/// The longest overlap of two secrets: 90 days.
const OVERLAP_MAX: Duration = Duration::from_secs(90 * 86_400);

/// A cursor in a request's field.
///
/// # Errors
/// Invalid `CURSOR_UNREADABLE`, which names the field.
pub fn cursor(field: &str, text: &str) -> Result<Cursor, Fault> {
    text.parse().map_err(|error| {
        let message = format!("{} is not a cursor: {error}", shown(text));
        Fault::field("CURSOR_UNREADABLE", field, message)
    })
}

/// How long a former secret stays good beside its successor; none = 24 hours.
///
/// # Errors
/// A [`Fault`] for one that is negative or longer than 90 days.
pub fn overlap(given: Option<prost_types::Duration>) -> Result<Duration, Fault> {
    let Some(given) = given else {
        return Ok(OVERLAP);
    };
    let overlap = Duration::try_from(given).ok();
    overlap
        .filter(|overlap| *overlap <= OVERLAP_MAX)
        .ok_or_else(|| {
            let message = "is negative, or longer than 90 days";
            Fault::field("FIELD_INVALID", "overlap", message)
        })
}
