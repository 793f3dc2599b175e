//! What is wanted, and from where: the flags of `tail` and `list`.

use std::str::FromStr;

use jiff::Timestamp;

use crate::{
    cli::ninjs,
    cursor::Cursor,
    wire::{
        convert::LAST_MAX,
        proto::v1::{self as proto, start::From},
    },
};

/// A filter; all given parts must match.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filter")]
pub struct WantedArgs {
    /// Topics, with commas between; each covers all beneath it [default: the whole wire]
    #[arg(long, value_name = "TOPICS", value_delimiter = ',')]
    pub topics: Vec<String>,
    /// Languages, with commas between; ar covers ar-EG [default: any]
    #[arg(long, value_name = "LANGUAGES", value_delimiter = ',')]
    pub languages: Vec<String>,
    /// Least urgent wanted, 1 (flash) to 9 [default: any]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=9))]
    pub urgency: Option<u32>,
    /// Words that must all occur; corrections and kills come without them too
    #[arg(long, value_name = "WORDS", num_args = 1..)]
    pub words: Vec<String>,
}

impl WantedArgs {
    /// As the server reads it; its limits are the server's to check.
    pub fn filter(&self) -> proto::Filter {
        let trimmed = |texts: &[String]| texts.iter().map(|text| text.trim().to_owned()).collect();
        proto::Filter {
            topics: trimmed(&self.topics),
            languages: trimmed(&self.languages),
            urgency: self.urgency.unwrap_or(0),
            words: (self.words.iter())
                .flat_map(|words| words.split(|char: char| char.is_whitespace() || char == ','))
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

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
