//! Tokens of another authority, as a node checks them: by the newest keys that its authority gave.

use std::sync::{Arc, RwLock};

use tokio::sync::Notify;

use crate::{
    access::token::{Claims, KeySet, Rules, TokenError},
    fault::{Fault, Kind},
};

/// What tokens are checked by; clones share it.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Rules,
    keys: RwLock<Arc<KeySet>>,
    /// Somebody showed a token by a key that is not known.
    unknown: Notify,
}

impl Tokens {
    /// By these rules, and no keys yet.
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(Inner {
            rules,
            keys: RwLock::default(),
            unknown: Notify::new(),
        }))
    }

    /// Takes over the authority's keys of now.
    pub fn set(&self, keys: KeySet) {
        *self.0.keys.write().expect("no panic under this lock") = Arc::new(keys);
    }

    /// Waits until a token names a key that is not known: there may be new ones.
    pub async fn unknown(&self) {
        self.0.unknown.notified().await;
    }

    /// Whose tokens are taken.
    pub fn issuer(&self) -> &str {
        &self.0.rules.issuer
    }

    /// What a token says.
    ///
    /// # Errors
    /// Unauthenticated `TOKEN_EXPIRED`, `TOKEN_INVALID`.
    pub fn check(&self, text: &str, now: i64) -> Result<Claims, Fault> {
        let keys = Arc::clone(&self.0.keys.read().expect("no panic under this lock"));
        self.0.rules.check(text, &keys, now).map_err(|error| {
            if error == TokenError::KeyUnknown {
                self.0.unknown.notify_one();
            }
            let reason = match error {
                TokenError::Expired => "TOKEN_EXPIRED",
                _ => "TOKEN_INVALID",
            };
            let message = format!("this token is not taken: {error}");
            Fault::new(Kind::Unauthenticated, reason, message)
        })
    }
}
