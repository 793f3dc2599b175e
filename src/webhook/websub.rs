//! WebSub (W3C Recommendation): a subscription to a feed, as it is kept: as a webhook that its
//! subscriber set up itself, and that lasts as long as its lease.

use std::fmt;

use data_encoding::HEXLOWER;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::access::key::KeyId;

/// Where feeds are subscribed to.
pub const HUB: &str = "/v1/hub";
/// Most bytes of a secret (section 5.1: "less than 200").
pub const SECRET_BYTES_MAX: usize = 199;
/// How long a subscription lasts that asks for nothing else, in seconds: ten days.
pub const LEASE_DEFAULT: u32 = 10 * 24 * 3600;
/// How long one lasts at most; it may be renewed for ever. Thirty days.
pub const LEASE_MAX: u32 = 30 * 24 * 3600;

/// A subscription to a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Websub {
    /// By which address of this side it was asked for: `https://wire.example`.
    pub base: String,
    /// The feed's path and query below that.
    pub path: String,
    /// What its subscriber has confirmed; none = nothing yet.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// What was asked for last and is not confirmed.
    #[serde(default)]
    pub asked: Option<Asked>,
}

/// A subscription that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The key by which it was asked for, and with which it ends; none = it was no key's.
    pub key: Option<KeyId>,
    /// What is signed with; none = nothing is signed.
    pub secret: Option<HubSecret>,
    /// From when on it does not count any more, in seconds from 1970.
    pub ends: i64,
}

/// A wish that its subscriber has to confirm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Tells it from others.
    pub number: u64,
    /// What is wished for.
    pub wish: Wish,
}

/// What a subscriber may wish for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// To be sent the feed.
    Subscribe(Terms),
    /// Not to be.
    Unsubscribe,
}

/// How it wishes to be sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// As [`Lease::key`].
    pub key: Option<KeyId>,
    /// As [`Lease::secret`].
    pub secret: Option<HubSecret>,
    /// For how long, from when it is confirmed.
    pub lease_seconds: u32,
    /// When what was shown with the wish ends by itself, in seconds from 1970; none = never.
    pub ends_by: Option<i64>,
}

/// What a subscriber knows its hub by: text of 1 to [`SECRET_BYTES_MAX`] bytes. Kept as it is, as
/// [`SigningKey`](super::signing::SigningKey) is, and for the same reason.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HubSecret(String);

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has {0} bytes; a secret has 1 to {SECRET_BYTES_MAX}")]
pub struct HubSecretError(usize);

impl Websub {
    /// The feed's address: `hub.topic`.
    pub fn topic(&self) -> String {
        format!("{}{}", self.base, self.path)
    }

    /// The header `Link` of the feed.
    pub fn links(&self) -> String {
        links(&self.base, &self.path)
    }

    /// Whether nothing of it counts at a time, in seconds from 1970.
    pub fn is_over(&self, now: i64) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.ends <= now)
    }
}

impl Wish {
    /// `hub.mode`.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

impl Terms {
    /// For how many seconds it may be, from a time on in seconds from 1970: as it wishes, but not for
    /// longer than what it was asked with is good for.
    pub fn seconds_from(&self, now: i64) -> i64 {
        let left = self.ends_by.map_or(i64::MAX, |end| end.saturating_sub(now));
        left.min(self.lease_seconds.into()).max(0)
    }
}

impl HubSecret {
    /// The header `X-Hub-Signature` of a body (section 7.1).
    pub fn sign(&self, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        let tag = hmac::sign(&key, body);
        format!("sha256={}", HEXLOWER.encode(tag.as_ref()))
    }
}

impl TryFrom<String> for HubSecret {
    type Error = HubSecretError;

    fn try_from(text: String) -> Result<Self, HubSecretError> {
        if (1..=SECRET_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(HubSecretError(text.len()))
        }
    }
}

impl From<HubSecret> for String {
    fn from(secret: HubSecret) -> Self {
        secret.0
    }
}

impl fmt::Debug for HubSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubSecret(…)")
    }
}

/// The header `Link` of a feed and of whatever carries it: who distributes it, and what it is.
pub fn links(base: &str, path: &str) -> String {
    format!("<{base}{HUB}>; rel=\"hub\", <{base}{path}>; rel=\"self\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signature by another's hand: `printf body | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn a_known_signature() {
        let secret = HubSecret::try_from("secret".to_owned()).unwrap();
        let expected = "sha256=dc46983557fea127b43af721467eb9b3fde2338fe3e14f51952aa8478c13d355";
        assert_eq!(secret.sign(b"body"), expected);
        assert_eq!(format!("{secret:?}"), "HubSecret(…)");
    }

    #[test]
    fn secrets_are_bounded_in_bytes() {
        for (text, is_good) in [
            (String::new(), false),
            ("s".to_owned(), true),
            ("s".repeat(199), true),
            ("s".repeat(200), false),
            ("ش".repeat(99), true),
            ("ش".repeat(100), false),
        ] {
            assert_eq!(HubSecret::try_from(text.clone()).is_ok(), is_good, "{text}");
        }
    }

    /// A lease ends with what it was asked with.
    #[test]
    fn leases_end() {
        let terms = |ends_by| Terms {
            key: None,
            secret: None,
            lease_seconds: 100,
            ends_by,
        };
        assert_eq!(terms(None).seconds_from(1000), 100);
        assert_eq!(terms(Some(2000)).seconds_from(1000), 100);
        assert_eq!(terms(Some(1030)).seconds_from(1000), 30);
        assert_eq!(terms(Some(1000)).seconds_from(1000), 0);
        assert_eq!(terms(Some(i64::MIN)).seconds_from(1000), 0);
    }
}
