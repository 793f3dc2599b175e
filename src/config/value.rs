//! Values of settings that need a form of their own: durations, sizes, formats, NATS addresses.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;
use url::Url;

use crate::wire::log::open::without_credentials;

/// A duration such as `30d`, `1h 30m` or `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration such as 30d, 12h or 500ms")]
pub struct SpanError {
    text: String,
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let parsed = humantime::parse_duration(text);
        parsed.map(Self).map_err(|_| SpanError {
            text: text.to_owned(),
        })
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// An address of HTTP as others reach it: scheme, host and port, `https://wire.example`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl(String);

/// A text that is not such an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an address such as https://wire.example: http or https, a host, and nothing after it"
)]
pub struct PublicUrlError;

impl PublicUrl {
    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let url = Url::parse(text).map_err(|_| PublicUrlError)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_anyones = url.username().is_empty() && url.password().is_none();
        if matches!(url.scheme(), "http" | "https") && is_bare && is_anyones {
            Ok(Self(url.origin().ascii_serialization()))
        } else {
            Err(PublicUrlError)
        }
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = PublicUrlError;

    fn try_from(text: String) -> Result<Self, PublicUrlError> {
        text.parse()
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of bytes: plain, or with a unit, `64GiB` or `500MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SizeForm")]
pub struct Size(pub u64);

/// A size in the file is a number or a text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of bytes, or a text such as \"64GiB\"")]
enum SizeForm {
    Number(u64),
    Text(String),
}

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size of 1 byte and more, such as 64GiB, 500MB or 1048576")]
pub struct SizeError {
    text: String,
}

/// Units of sizes, in bytes.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
];

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let digits_len = trimmed
            .find(|char: char| !char.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(digits_len);
        let unit = unit.trim().to_ascii_uppercase();
        let factor = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor);
        let number: u64 = digits.parse().map_err(|_| error())?;
        let bytes = factor.and_then(|factor| number.checked_mul(factor));
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or_else(error)
    }
}

impl TryFrom<SizeForm> for Size {
    type Error = SizeError;

    fn try_from(form: SizeForm) -> Result<Self, SizeError> {
        match form {
            SizeForm::Number(number) => number.to_string().parse(),
            SizeForm::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)];
        let whole = binary
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Form of the server's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Form of what a command prints to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Checks a list of NATS addresses, `nats://a:4222,tls://b`.
///
/// # Errors
/// A sentence on what is wrong, without the passwords in it.
pub fn check_nats_urls(urls: &str) -> Result<(), String> {
    for text in urls.split(',') {
        let url = Url::parse(text.trim()).ok();
        let is_good = url.is_some_and(|url| {
            matches!(url.scheme(), "nats" | "tls")
                && url.host_str().is_some_and(|host| !host.is_empty())
        });
        if !is_good {
            let shown = without_credentials(text);
            return Err(format!(
                "{shown:?} is not a NATS address; write nats://host:4222 or tls://host:4222, \
                 several with commas between them"
            ));
        }
    }
    Ok(())
}
