//! Target: an address on the web that an outsider names, and that this node calls.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

pub mod address;

/// Longest address.
pub const TARGET_LEN_MAX: usize = 2048;
/// Characters of a path's part that are shown: names are short, and secrets are not.
const PART_CHARS_MAX: usize = 12;
/// The first port that needs no privilege: beneath it only those of the web are called.
const PORT_FREE: u16 = 1024;
/// Ports from [`PORT_FREE`] on at which no web server listens, and others do who take lines of text
/// (WHATWG Fetch, "port blocking").
const PORTS_BAD: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
];

/// An address of the form `https://host/…`, as it was given: without credentials, at a port of the
/// web, at most [`TARGET_LEN_MAX`] bytes. Whether it may be called is for the caller to know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target(Url);

/// Why an address is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No address.
    #[error("is no address of the form https://host/path")]
    Form,
    /// Too long.
    #[error("has more than {TARGET_LEN_MAX} bytes")]
    Long,
    /// Another scheme.
    #[error("has the scheme {0:?}; give an https address")]
    Scheme(String),
    /// A user, or a password.
    #[error("has a user or a password before its host; leave them out")]
    Credentials,
    /// A port of something else.
    #[error("has port {0}, where no web server listens; take 443, or one from 1024 on")]
    Port(u16),
    /// Plain HTTP, where that is not allowed.
    #[error("is plain http; this node calls https only")]
    Plain,
    /// An address that is not of the public internet.
    #[error("leads to {0}, which is not an address of the public internet")]
    Internal(IpAddr),
    /// A name without addresses.
    #[error("has a name without any address")]
    Nowhere,
}

impl Target {
    /// It, for whoever calls it.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it goes without TLS.
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Its host, if that is an address and no name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        }
    }

    /// The same with more parameters after those that it has.
    #[must_use]
    pub fn asking(&self, parameters: &[(&str, &str)]) -> Self {
        let mut url = self.0.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        Self(url)
    }

    /// Scheme, host and port, for logs: the path may hold a secret.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// For screens: without its query, and of each long part of its path only the beginning, since
    /// either may be a secret.
    pub fn hint(&self) -> String {
        let mut hint = self.origin();
        for part in self.0.path_segments().into_iter().flatten() {
            hint.push('/');
            hint.extend(part.chars().take(PART_CHARS_MAX));
            if part.chars().count() > PART_CHARS_MAX {
                hint.push('…');
            }
        }
        if self.0.query().is_some() {
            hint.push_str("?…");
        }
        hint
    }

    /// The whole of it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.len() > TARGET_LEN_MAX {
            return Err(TargetError::Long);
        }
        // Browsers leave these out, and so call what nobody can read here.
        if text.chars().any(char::is_control) {
            return Err(TargetError::Form);
        }
        // By the rules of browsers, which know every way to write an address: what this calls an
        // address is one for the client, too, which parses by the same.
        let mut url = Url::parse(text).map_err(|_| TargetError::Form)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme(url.scheme().chars().take(16).collect()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        let port = url.port_or_known_default().ok_or(TargetError::Form)?;
        let is_web = matches!(port, 80 | 443) || port >= PORT_FREE && !PORTS_BAD.contains(&port);
        if !is_web {
            return Err(TargetError::Port(port));
        }
        if url.host().is_none() {
            return Err(TargetError::Form);
        }
        // Not sent to anybody.
        url.set_fragment(None);
        if url.as_str().len() > TARGET_LEN_MAX {
            return Err(TargetError::Long);
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.0.into()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}/…)", self.origin())
    }
}
