//! Signing: what a receiver knows a webhook by (Standard Webhooks, "signature scheme").

use std::fmt;

use data_encoding::BASE64;
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde::{Deserialize, Serialize};

/// What a shared secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// What a public key begins with.
const PUBLIC_PREFIX: &str = "whpk_";
/// Bytes of a secret that is made here.
const SECRET_BYTES: usize = 32;
/// Least and most bytes of a secret.
const SECRET_BYTES_RANGE: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of an Ed25519 key's seed.
const SEED_BYTES: usize = 32;
/// Random bytes that a key is made of.
pub const RANDOM_BYTES: usize = SECRET_BYTES + SEED_BYTES;

/// One pair of a shared secret (HMAC-SHA256, `v1`) and a key of our own (Ed25519, `v1a`): whoever
/// receives checks whichever it likes.
///
/// It is kept as it is: to sign takes the secret itself, and a key to encrypt it by would lie beside
/// it, with whoever can read the log's buckets. Of receivers it opens nothing but their trust in who
/// sent it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    #[serde(with = "base64")]
    secret: Vec<u8>,
    #[serde(with = "base64")]
    seed: Vec<u8>,
    /// From when on it is none, in seconds from 1970; none = until the next.
    #[serde(default)]
    pub expires: Option<i64>,
}

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is whsec_ and the base64 of 24 to 64 random bytes")]
pub struct SecretError;

impl SigningKey {
    /// A key of these random bytes, with a shared secret of the receiver's own if it gives one.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn new(random: [u8; RANDOM_BYTES], given: Option<&str>) -> Result<Self, SecretError> {
        let (secret, seed) = random.split_at(SECRET_BYTES);
        let secret = match given {
            None => secret.to_vec(),
            Some(text) => {
                let text = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError)?;
                let secret = BASE64.decode(text.as_bytes()).map_err(|_| SecretError)?;
                if !SECRET_BYTES_RANGE.contains(&secret.len()) {
                    return Err(SecretError);
                }
                secret
            }
        };
        Ok(Self {
            secret,
            seed: seed.to_vec(),
            expires: None,
        })
    }

    /// The shared secret, to hand out once: `whsec_…`.
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.secret))
    }

    /// The public key, for everybody: `whpk_…`; none for a seed that is none.
    pub fn public(&self) -> Option<String> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.seed).ok()?;
        let public = BASE64.encode(pair.public_key().as_ref());
        Some(format!("{PUBLIC_PREFIX}{public}"))
    }

    /// Whether it signs at a time, in seconds from 1970.
    pub fn is_good(&self, now: i64) -> bool {
        self.expires.is_none_or(|end| now < end)
    }

    fn sign(&self, content: &[u8], signatures: &mut Vec<String>) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, content);
        signatures.push(format!("v1,{}", BASE64.encode(tag.as_ref())));
        if let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&self.seed) {
            let signature = pair.sign(content);
            signatures.push(format!("v1a,{}", BASE64.encode(signature.as_ref())));
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The header `webhook-signature` of a message, by all keys that are good at its time, which is in
/// seconds from 1970.
pub fn signatures(keys: &[SigningKey], id: &str, now: i64, body: &[u8]) -> String {
    let content = [format!("{id}.{now}.").as_bytes(), body].concat();
    let mut signatures = Vec::with_capacity(2 * keys.len());
    for key in keys.iter().filter(|key| key.is_good(now)) {
        key.sign(&content, &mut signatures);
    }
    signatures.join(" ")
}

/// Bytes as base64.
mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64
            .decode(text.as_bytes())
            .map_err(|_| D::Error::custom("not base64"))
    }
}
