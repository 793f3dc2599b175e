//! Partner: an organisation, what it may do, and its keys.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    access::{
        key::{KeyId, Role, Secret, SecretDigest},
        origin::Origin,
        scope::Scope,
        session::Ended,
    },
    topic::Topic,
};

/// Most keys of a partner.
pub const KEYS_MAX: usize = 64;
/// Most keys that read from one NATS.
pub const NATIVE_MAX: usize = 64;
/// Longest name.
const NAME_LEN_MAX: usize = 64;
/// Most characters of a note.
pub const NOTE_CHARS_MAX: usize = 200;

/// A partner's name: 1 to 64 of `[a-z0-9-]`, neither at the start nor at the end a hyphen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartnerName(String);

/// A text that is no partner's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a partner's name is 1 to {NAME_LEN_MAX} of a-z, 0-9 and '-', and begins and ends with none"
)]
pub struct NameError;

impl PartnerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PartnerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let good = (1..=NAME_LEN_MAX).contains(&text.len())
            && text.bytes().all(is_good)
            && !text.starts_with('-')
            && !text.ends_with('-');
        good.then(|| Self(text.to_owned())).ok_or(NameError)
    }
}

impl TryFrom<String> for PartnerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PartnerName> for String {
    fn from(name: PartnerName) -> Self {
        name.0
    }
}

impl fmt::Display for PartnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a partner says which topics it is granted: to subscribe to, to publish to.
const SCOPE_FIELDS: [&str; 2] = ["partner.subscribe.topics", "partner.publish.scope.topics"];

/// A partner, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partner {
    /// Its name, by which it is kept.
    pub name: PartnerName,
    /// Whether its keys let nobody in for now.
    #[serde(default)]
    pub is_suspended: bool,
    /// What its subscribers may read; none = nothing.
    pub subscribe: Option<Scope>,
    /// What its publishers may hand in; none = nothing.
    pub publish: Option<Publishing>,
    /// Whether it may have keys of the desk, and of its monitoring.
    #[serde(default)]
    pub has_desk: bool,
    /// How much each of its keys may do on one node.
    #[serde(default)]
    pub limits: Limits,
    /// Sites whose pages may ask with its keys.
    #[serde(default)]
    pub origins: BTreeSet<Origin>,
    /// Its keys, oldest first.
    #[serde(default)]
    pub keys: Vec<Key>,
}

/// What publishers may hand in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// Topics and languages of its articles: each topic of its own that an article gets must be
    /// within.
    #[serde(flatten)]
    pub scope: Scope,
    /// What `source` must say; none = anything.
    #[serde(default)]
    pub source: Option<String>,
    /// Whether it may revise only articles that it published itself.
    #[serde(default)]
    pub is_bound: bool,
}

/// How much a key may do on one node; none = without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Revisions a second, with a burst of a second's worth.
    pub publishes_per_second: Option<u32>,
    /// Requests a second, a publish or an opened stream being one; likewise.
    pub requests_per_second: Option<u32>,
    /// Streams open at once.
    pub streams: Option<u32>,
    /// Bytes of deliveries, from midnight to midnight UTC; all webhooks together have as many.
    pub bytes_per_day: Option<u64>,
}

/// A key, as it is kept: never its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name; the same after a rotation, so that retries of publishes stay known.
    pub id: KeyId,
    /// What it is for.
    pub role: Role,
    /// Its secrets: one, and during a rotation the one before.
    pub secrets: Vec<KeptSecret>,
    /// When it was made, in seconds from 1970.
    pub created: i64,
    /// From when on it lets nobody in, in seconds from 1970; none = never.
    #[serde(default)]
    pub expires: Option<i64>,
    /// For people.
    #[serde(default)]
    pub note: String,
    /// The public half of its nkey, for [`Role::Native`], which has no secrets.
    #[serde(default)]
    pub nkey: Option<String>,
    /// Its sessions that were ended before their time.
    #[serde(default)]
    pub ended_sessions: Ended,
}

/// A secret of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSecret {
    /// Its SHA-256.
    pub digest: SecretDigest,
    /// Whether it is a client certificate, by its DER, which TLS proves, and no text that is shown.
    #[serde(default)]
    pub is_certificate: bool,
    /// From when on it is none, in seconds from 1970; none = as long as the key.
    #[serde(default)]
    pub expires: Option<i64>,
}

/// A key that reads from NATS itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeReader {
    /// Its id, which its consumers are named by.
    pub id: KeyId,
    /// The public half of its nkey.
    pub nkey: String,
    /// What it may read, each with all beneath; none = the whole wire.
    pub topics: Vec<Topic>,
}

impl KeptSecret {
    /// One that is good for as long as its key.
    pub fn lasting(secret: &Secret) -> Self {
        Self {
            digest: secret.digest(),
            is_certificate: false,
            expires: None,
        }
    }

    /// A client certificate that is good for as long as its key.
    pub fn certificate(digest: SecretDigest) -> Self {
        Self {
            digest,
            is_certificate: true,
            expires: None,
        }
    }
}

impl Partner {
    /// What it is granted, by the fields that say so.
    pub fn scopes(&self) -> impl Iterator<Item = (&'static str, &Scope)> {
        let publish = self.publish.as_ref().map(|publish| &publish.scope);
        let scopes = [self.subscribe.as_ref(), publish];
        SCOPE_FIELDS
            .into_iter()
            .zip(scopes)
            .filter_map(|(field, scope)| Some((field, scope?)))
    }

    /// The same, to be changed.
    pub fn scopes_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Scope)> {
        let publish = self.publish.as_mut().map(|publish| &mut publish.scope);
        let scopes = [self.subscribe.as_mut(), publish];
        SCOPE_FIELDS
            .into_iter()
            .zip(scopes)
            .filter_map(|(field, scope)| Some((field, scope?)))
    }

    /// Whether it may have keys of this role.
    pub fn has(&self, role: Role) -> bool {
        match role {
            Role::Publisher => self.publish.is_some(),
            Role::Subscriber => self.subscribe.is_some(),
            // A subject says nothing of a language.
            Role::Native => {
                (self.subscribe.as_ref()).is_some_and(|scope| scope.languages.is_empty())
            }
            Role::Desk | Role::Monitor => self.has_desk,
        }
    }
}

impl Key {
    /// One that a secret opens, made now, in seconds from 1970.
    pub fn new(secret: &Secret, role: Role, now: i64) -> Self {
        Self {
            id: secret.id(),
            role,
            secrets: vec![KeptSecret::lasting(secret)],
            created: now,
            expires: None,
            note: String::new(),
            nkey: None,
            ended_sessions: Ended::default(),
        }
    }

    /// The client certificates that stand for it.
    pub fn certificates(&self) -> impl Iterator<Item = &SecretDigest> {
        let kept = self.secrets.iter().filter(|kept| kept.is_certificate);
        kept.map(|kept| &kept.digest)
    }

    /// Whether a secret of this digest is its own at a time, in seconds from 1970.
    pub fn opens(&self, digest: &SecretDigest, now: i64) -> bool {
        // All of them are looked at: the time tells nothing of which it was.
        let fits = |kept: &KeptSecret| kept.digest == *digest && is_before(now, kept.expires);
        self.secrets.iter().filter(|kept| fits(kept)).count() > 0
    }

    /// Whether it has come to its end.
    pub fn is_expired(&self, now: i64) -> bool {
        !is_before(now, self.expires)
    }
}

fn is_before(now: i64, end: Option<i64>) -> bool {
    end.is_none_or(|end| now < end)
}
