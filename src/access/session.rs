//! Session: a browser's stay on the strength of a key that it showed once.
//!
//! Nodes keep nothing of it: the token says all, and is sealed. The seal covers the digest of the
//! secret that was shown, so that a token is worth nothing from the moment that the secret is.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::access::key::{KeyId, SecretDigest};

/// How long a session lasts, in seconds: 12 hours.
pub const SESSION_SECONDS: i64 = 12 * 60 * 60;
/// Bytes of the secret that tokens are sealed with.
pub const SEAL_SECRET_BYTES: usize = 32;
/// Random bytes of a token, which tell two sessions of one key apart.
const NONCE_BYTES: usize = 12;
/// Bytes of a seal: HMAC-SHA256.
const SEAL_BYTES: usize = 32;
/// Longest token.
const TOKEN_LEN_MAX: usize = 128;

/// What sessions are sealed with, the same on all nodes.
pub struct Sealer(hmac::Key);

/// `<key id>.<end in seconds from 1970>.<random>.<seal>`. Whoever has it is let in, so it is never
/// in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    key: KeyId,
    expires: i64,
    /// All before the seal.
    said: String,
    seal: [u8; SEAL_BYTES],
}

/// A text that is no session's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no session's token")]
pub struct TokenError;

impl Sealer {
    /// One with a secret.
    pub fn new(secret: &[u8; SEAL_SECRET_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of a session that was begun with the secret of that digest, up to a time in seconds
    /// from 1970.
    pub fn seal(
        &self,
        key: KeyId,
        digest: &SecretDigest,
        expires: i64,
        nonce: [u8; NONCE_BYTES],
    ) -> Token {
        let said = format!("{key}.{expires}.{}", BASE64URL_NOPAD.encode(&nonce));
        let tag = hmac::sign(&self.0, &sealed(&said, digest));
        let seal = tag.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Token {
            key,
            expires,
            said,
            seal,
        }
    }

    /// Whether a token is ours, and of a session that was begun with the secret of that digest.
    pub fn fits(&self, token: &Token, digest: &SecretDigest) -> bool {
        // In a time that tells nothing of where they differ.
        hmac::verify(&self.0, &sealed(&token.said, digest), &token.seal).is_ok()
    }

    /// What a page of the session must say to change anything: a page of others can't know it,
    /// though the browser would send it the cookie.
    pub fn csrf(&self, token: &Token) -> CsrfToken {
        let text = [b"barid csrf 1\0", &token.seal[..]].concat();
        CsrfToken(BASE64URL_NOPAD.encode(hmac::sign(&self.0, &text).as_ref()))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// What is sealed: nothing else that is ever signed with the secret begins like it.
fn sealed(said: &str, digest: &SecretDigest) -> Vec<u8> {
    [
        b"barid session 1\0",
        said.as_bytes(),
        b"\0",
        digest.as_bytes(),
    ]
    .concat()
}

impl Token {
    /// Whose session it is.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// When it ends, in seconds from 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }

    /// The text to hand out.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.said, BASE64URL_NOPAD.encode(&self.seal))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_LEN_MAX {
            return Err(TokenError);
        }
        let (said, seal) = text.rsplit_once('.').ok_or(TokenError)?;
        let mut parts = said.split('.');
        let (Some(key), Some(expires), Some(nonce), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError);
        };
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes());
        let seal = decode(seal).map_err(|_| TokenError)?;
        if decode(nonce).map(|nonce| nonce.len()) != Ok(NONCE_BYTES) {
            return Err(TokenError);
        }
        Ok(Self {
            key: key.parse().map_err(|_| TokenError)?,
            expires: expires.parse().map_err(|_| TokenError)?,
            said: said.to_owned(),
            seal: seal.try_into().map_err(|_| TokenError)?,
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.…", self.key, self.expires)
    }
}

/// The token of a session against requests that other sites make a browser send. Never in `Debug`.
#[derive(Clone)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// The text to hand to the session's own pages.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether this is it, in a time that tells nothing of where they differ.
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::key::Secret;

    fn secret(fill: u8) -> Secret {
        Secret::new(KeyId::from_bits(7), [fill; 20])
    }

    fn token(sealer: &Sealer) -> Token {
        let secret = secret(1);
        sealer.seal(secret.id(), &secret.digest(), 1_800_000_000, [9; 12])
    }

    /// A token is good for the secret that it was begun with, under the seal that it was given.
    #[test]
    fn a_token_is_of_one_secret_and_one_seal() {
        let sealer = Sealer::new(&[3; 32]);
        let token = token(&sealer);
        assert_eq!(token.reveal().parse::<Token>().unwrap(), token);
        assert!(sealer.fits(&token, &secret(1).digest()));
        assert!(!sealer.fits(&token, &secret(2).digest()));
        assert!(!Sealer::new(&[4; 32]).fits(&token, &secret(1).digest()));
        assert!(!format!("{token:?}").contains(token.reveal().get(30..).unwrap()));
        let csrf = sealer.csrf(&token);
        assert!(csrf.is(csrf.reveal().as_bytes()) && !csrf.is(b""));
        assert!(!token.reveal().contains(csrf.reveal()));
    }

    /// Whatever is changed of a token, it is none, or does not fit.
    #[test]
    fn a_changed_token_does_not_fit() {
        let sealer = Sealer::new(&[3; 32]);
        let text = token(&sealer).reveal();
        let digest = secret(1).digest();
        for (index, char) in text.char_indices() {
            for other in ['a', '2', '.', '-'] {
                if char == other {
                    continue;
                }
                let mut changed = text.clone();
                changed.replace_range(index..=index, &other.to_string());
                let fits = changed
                    .parse::<Token>()
                    .is_ok_and(|token| sealer.fits(&token, &digest));
                assert!(!fits, "{changed}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_or_refused(text in "\\PC{0,140}|[a-z2-7]{10}\\.[0-9]{1,20}\\.[A-Za-z0-9_-]{16}\\.[A-Za-z0-9_-]{43}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.reveal(), text);
            }
        }
    }
}
