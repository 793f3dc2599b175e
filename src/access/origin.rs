//! Origin: a site whose pages may ask with a partner's keys (RFC 6454, and the CORS protocol of
//! Fetch).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

/// Most origins of a partner.
pub const ORIGINS_MAX: usize = 32;

/// An origin as browsers write it, `https://desk.example` or `http://localhost:3000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No address of the web.
    #[error("an origin is https:// or http://, a host, and perhaps a port")]
    Form,
    /// With more than an origin has, or written otherwise.
    #[error("browsers write it {0}; give it so")]
    Other(String),
}

impl Origin {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let url = Url::parse(text).map_err(|_| OriginError::Form)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OriginError::Form);
        }
        let written = url.origin().ascii_serialization();
        if written == text {
            Ok(Self(written))
        } else {
            Err(OriginError::Other(written))
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what a browser writes in `Origin` is taken: anything else would never match.
    #[test]
    fn origins_are_as_browsers_write_them() {
        for good in [
            "https://desk.example",
            "http://localhost:3000",
            "http://[::1]:8080",
        ] {
            assert_eq!(good.parse::<Origin>().unwrap().as_str(), good);
        }
        for (text, written) in [
            ("https://desk.example/", "https://desk.example"),
            ("https://Desk.example", "https://desk.example"),
            ("https://desk.example:443", "https://desk.example"),
            ("https://a:b@desk.example/x?y", "https://desk.example"),
        ] {
            let error = text.parse::<Origin>().unwrap_err();
            assert_eq!(error, OriginError::Other(written.to_owned()), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "desk.example",
            "file:///x",
            "ftp://a",
            "javascript:alert(1)",
        ] {
            assert_eq!(
                text.parse::<Origin>().unwrap_err(),
                OriginError::Form,
                "{text}"
            );
        }
    }
}
