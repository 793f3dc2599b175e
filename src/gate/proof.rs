//! Proof: by what a caller showed who it is, and how long that holds.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use http::HeaderValue;

use crate::{
    access::{key::SecretDigest, partner::Key, session::CsrfToken},
    wire::peer::PeerCertificate,
};

/// What a caller shows of itself. Never in `Debug`.
#[derive(Clone, Default)]
pub struct Shown {
    /// The value of `authorization`; with it, nothing else counts.
    pub authorization: Option<HeaderValue>,
    /// The token of a session, out of its cookie.
    pub session: Option<String>,
    /// What TLS has proved; with any of the others it does not count.
    pub certificate: Option<PeerCertificate>,
    /// From where it is shown.
    pub from: Option<IpAddr>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({:?}, …)", self.from)
    }
}

/// What was found good.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A key's secret, by its digest.
    Secret(SecretDigest),
    /// A session.
    Session(Arc<Session>),
    /// A client certificate, by its digest, that ends then, in seconds from 1970.
    Certificate(SecretDigest, i64),
    /// A token of another authority, that ends then, in seconds from 1970.
    Token(i64),
}

/// A browser's session.
#[derive(Debug)]
pub struct Session {
    /// Of the secret that it was begun with.
    pub digest: SecretDigest,
    /// When it ends, in seconds from 1970.
    pub expires: i64,
    /// What tells it from other sessions of its key.
    pub nonce: String,
    /// What its writes must say.
    pub csrf: CsrfToken,
}

impl Proof {
    /// The digest of the secret of its key that it stands on; a token stands on none.
    pub fn digest(&self) -> Option<&SecretDigest> {
        match self {
            Self::Secret(digest) | Self::Certificate(digest, _) => Some(digest),
            Self::Session(session) => Some(&session.digest),
            Self::Token(_) => None,
        }
    }

    /// Whether it was ended before its time.
    pub fn is_ended(&self, key: &Key) -> bool {
        match self {
            Self::Session(session) => key.ended_sessions.has(&session.nonce, session.expires),
            Self::Secret(_) | Self::Certificate(..) | Self::Token(_) => false,
        }
    }

    /// When it ends by itself, whatever becomes of its key; in seconds from 1970.
    pub fn expires(&self) -> Option<i64> {
        match self {
            Self::Secret(_) => None,
            Self::Session(session) => Some(session.expires),
            Self::Certificate(_, expires) | Self::Token(expires) => Some(*expires),
        }
    }

    /// Whether a browser shows it by itself, also when a page of another site asks.
    pub fn is_ambient(&self) -> bool {
        match self {
            Self::Secret(_) | Self::Token(_) => false,
            Self::Session(_) | Self::Certificate(..) => true,
        }
    }
}

/// When what is open ends by itself: how much at which second.
#[derive(Debug, Default)]
pub struct Ends(Mutex<BTreeMap<i64, usize>>);

/// One open thing that ends by itself, until this is dropped.
#[derive(Debug)]
pub struct End {
    ends: Arc<Ends>,
    at: i64,
}

impl Ends {
    /// Counts one that ends then.
    pub fn count(self: &Arc<Self>, at: i64) -> End {
        let mut ends = self.0.lock().expect("no panic under this lock");
        *ends.entry(at).or_default() += 1;
        End {
            ends: Arc::clone(self),
            at,
        }
    }

    /// Whether any ends after `last` and up to `now`.
    pub fn any(&self, last: i64, now: i64) -> bool {
        let ends = self.0.lock().expect("no panic under this lock");
        last < now && ends.range(last + 1..=now).next().is_some()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut ends = self.ends.0.lock().expect("no panic under this lock");
        if let Some(count) = ends.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                ends.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_seen_once_and_forgotten() {
        let ends = Arc::new(Ends::default());
        let (one, other) = (ends.count(10), ends.count(10));
        assert!(ends.any(9, 10) && ends.any(5, 20));
        assert!(!ends.any(10, 20) && !ends.any(5, 9) && !ends.any(10, 10) && !ends.any(12, 9));
        drop(one);
        assert!(ends.any(9, 10));
        drop(other);
        assert!(!ends.any(9, 10) && ends.0.lock().unwrap().is_empty());
    }
}
