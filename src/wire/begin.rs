//! Begin: where a stream begins, as text: in a flag, or in the query of a URL.

use std::str::FromStr;

use jiff::Timestamp;

use crate::{
    cursor::Cursor,
    wire::{convert::LAST_MAX, ninjs, proto::v1::start::From},
};

/// Where a stream begins: `now`, `earliest`, `last:N`, a time or a cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Begin(pub From);

/// A text that names no beginning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// None of the forms.
    #[error(
        "use now, earliest, last:20, a time such as 2026-07-01T08:00:00Z, or a cursor such as \
         abcdefgh-42"
    )]
    Unknown,
    /// A number out of bounds.
    #[error("last: takes a number of 1 to {LAST_MAX}")]
    Last,
    /// Begins like a time.
    #[error("a time is RFC 3339 with its offset, such as 2026-07-01T08:00:00+03:00: {0}")]
    Time(String),
}

impl FromStr for Begin {
    type Err = BeginError;

    fn from_str(text: &str) -> Result<Self, BeginError> {
        let from = match text {
            "now" => From::Now(()),
            "earliest" => From::Earliest(()),
            _ => match text.strip_prefix("last:") {
                Some(count) => (count.parse().ok())
                    .filter(|count| (1..=LAST_MAX).contains(count))
                    .map(From::Last)
                    .ok_or(BeginError::Last)?,
                None if text.parse::<Cursor>().is_ok() => From::After(text.to_owned()),
                None => from_time(text)?,
            },
        };
        Ok(Self(from))
    }
}

fn from_time(text: &str) -> Result<From, BeginError> {
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(From::Since(ninjs::time_to_proto(time))),
        Err(error) if text.starts_with(|char: char| char.is_ascii_digit()) => {
            Err(BeginError::Time(error.to_string()))
        }
        Err(_) => Err(BeginError::Unknown),
    }
}

#[cfg(test)]
mod tests;
