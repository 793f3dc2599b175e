//! Token: an access token of another authority (JWT, RFC 9068), in place of a key.
//!
//! What is trusted is what the settings name: one issuer, one audience, and algorithms of public
//! keys. Nothing in a token's header leads to a key but its id.

use std::{fmt, str::FromStr};

use jsonwebtoken::{
    AlgorithmFamily, DecodingKey, Validation,
    errors::ErrorKind,
    jwk::{Jwk, PublicKeyUse},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::access::{
    key::{KeyId, Role},
    partner::PartnerName,
};

mod ring;

/// Longest token: it must fit a request's head.
const TOKEN_LEN_MAX: usize = 8 * 1024;
/// Most bytes of a set of keys.
pub const KEYS_BYTES_MAX: usize = 1 << 20;
/// Most keys of a set.
const KEYS_MAX: usize = 64;
/// Longest name of whom a token is for.
const SUBJECT_LEN_MAX: usize = 256;
/// By how many seconds the issuer's clock may be before ours.
const AHEAD_SECONDS: i64 = 60;
/// Types of access tokens (RFC 9068 section 2.1); no other kind of token is one.
const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

/// How tokens are signed: by public keys alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm(jsonwebtoken::Algorithm);

/// A name that is no algorithm of public keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no algorithm of public keys; give some of RS256, RS384, RS512, PS256, PS384, PS512, \
     ES256, ES384, EdDSA"
)]
pub struct AlgorithmError(String);

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        let known = text.parse::<jsonwebtoken::Algorithm>().ok();
        let public = known.filter(|known| known.family() != AlgorithmFamily::Hmac);
        public
            .map(Self)
            .ok_or_else(|| AlgorithmError(text.to_owned()))
    }
}

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What `iss` must say.
    pub issuer: String,
    /// What `aud` must name.
    pub audience: String,
    /// How it may be signed.
    pub algorithms: Vec<Algorithm>,
}

/// The issuer's public keys.
#[derive(Clone, Default)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Clone)]
struct PublicKey {
    id: Option<String>,
    /// The one that it is for, if the set says so.
    algorithm: Option<jsonwebtoken::Algorithm>,
    key: DecodingKey,
}

/// Why a set of keys can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or no set.
    #[error("is no JSON Web Key Set: {0}")]
    Form(serde_json::Error),
    /// Too many.
    #[error("has more than {KEYS_MAX} keys")]
    TooMany,
    /// None that we could use.
    #[error("has no public key that signatures can be checked with")]
    Empty,
}

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `barid_partner`.
    pub partner: PartnerName,
    /// `barid_role`: publisher, subscriber, desk or monitor.
    pub role: Role,
    /// `sub`.
    pub subject: String,
    /// `exp`, in seconds from 1970.
    pub expires: i64,
}

/// Why a token is not good. Never with anything out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token at all.
    #[error("it is no signed JWT of at most {TOKEN_LEN_MAX} bytes")]
    Form,
    /// Another kind, an ID token perhaps.
    #[error("its type is not at+jwt: send an access token (RFC 9068)")]
    Type,
    /// Signed otherwise than the settings say.
    #[error("it is signed by an algorithm that is not taken here")]
    Algorithm,
    /// The set has no such key.
    #[error("it is signed by a key that is not known here")]
    KeyUnknown,
    /// Not by that key.
    #[error("its signature is wrong")]
    Signature,
    /// Of somebody else.
    #[error("its issuer is not the one that is trusted here")]
    Issuer,
    /// For somebody else.
    #[error("it is not for this audience")]
    Audience,
    /// Over.
    #[error("it has expired")]
    Expired,
    /// Not yet.
    #[error("it is not good yet: its nbf or iat is in the future")]
    Early,
    /// Something is missing, or is not what it should be.
    #[error("its claim {0} is missing, or is not what it must be")]
    Claim(&'static str),
}

/// What is read of a token's claims.
#[derive(Deserialize)]
struct Said {
    iss: String,
    sub: String,
    exp: i64,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    barid_partner: Option<String>,
    #[serde(default)]
    barid_role: Option<String>,
}

impl KeySet {
    /// Reads a set (RFC 7517 section 5). Keys of kinds that we do not know are passed over, as are
    /// secret ones and those that are not for signatures.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(bytes).map_err(KeySetError::Form)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<PublicKey> = set.keys.into_iter().filter_map(PublicKey::read).collect();
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self(keys))
    }

    /// How many keys it has.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The key that a header means: by its id, or else the only one that it could mean.
    fn find(&self, id: Option<&str>, algorithm: jsonwebtoken::Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|one| {
            one.key.family() == algorithm.family()
                && one.algorithm.is_none_or(|own| own == algorithm)
                && id.is_none_or(|id| one.id.as_deref() == Some(id))
        });
        match (fitting.next(), fitting.next(), id) {
            (Some(only), None, _) | (Some(only), Some(_), Some(_)) => Some(&only.key),
            (None, _, _) | (Some(_), Some(_), None) => None,
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|one| &one.id))
            .finish()
    }
}

impl PublicKey {
    fn read(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let algorithm = match &common.key_algorithm {
            // Both are written as RFC 7518 names them.
            Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
            None => None,
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (key.family() != AlgorithmFamily::Hmac).then_some(Self {
            id: common.key_id.clone(),
            algorithm,
            key,
        })
    }
}

impl Rules {
    /// Checks a token at a time, in seconds from 1970.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn check(&self, text: &str, keys: &KeySet, now: i64) -> Result<Claims, TokenError> {
        if text.len() > TOKEN_LEN_MAX {
            return Err(TokenError::Form);
        }
        ring::install();
        let header = jsonwebtoken::decode_header(text).map_err(|_| TokenError::Form)?;
        let kind = header.typ.as_deref().unwrap_or_default();
        if !TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Err(TokenError::Type);
        }
        if !self.algorithms.contains(&Algorithm(header.alg)) {
            return Err(TokenError::Algorithm);
        }
        let key = keys.find(header.kid.as_deref(), header.alg);
        let key = key.ok_or(TokenError::KeyUnknown)?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // By our own clock, below.
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Said>(text, key, &validation);
        let said = decoded.map_err(|error| kind_of(error.kind()))?.claims;
        self.judge(said, now)
    }

    fn judge(&self, said: Said, now: i64) -> Result<Claims, TokenError> {
        // A list of issuers, of which one fits, is none.
        if said.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        if said.exp <= now {
            return Err(TokenError::Expired);
        }
        // The issuer says when it was issued (RFC 9068 section 2.2).
        let issued = said.iat.ok_or(TokenError::Claim("iat"))?;
        let latest = now.saturating_add(AHEAD_SECONDS);
        if issued > latest || said.nbf.is_some_and(|from| from > latest) {
            return Err(TokenError::Early);
        }
        if said.sub.is_empty() || said.sub.len() > SUBJECT_LEN_MAX {
            return Err(TokenError::Claim("sub"));
        }
        let partner = said.barid_partner.and_then(|text| text.parse().ok());
        let role = said.barid_role.and_then(|text| {
            let mut roles = Role::ALL.into_iter();
            // Native readers show an nkey to NATS.
            roles.find(|role| *role != Role::Native && role.as_str() == text)
        });
        Ok(Claims {
            partner: partner.ok_or(TokenError::Claim("barid_partner"))?,
            role: role.ok_or(TokenError::Claim("barid_role"))?,
            subject: said.sub,
            expires: said.exp,
        })
    }
}

impl Claims {
    /// What stands for a key's id: the same for all tokens of one subject, of one partner and role.
    pub fn id(&self, issuer: &str) -> KeyId {
        let mut digest = Sha256::new();
        for part in [
            issuer,
            self.partner.as_str(),
            self.role.as_str(),
            &self.subject,
        ] {
            digest.update(Sha256::digest(part.as_bytes()));
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.finalize());
        KeyId::from_bits(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

fn kind_of(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::MissingRequiredClaim(name) => {
            let known = ["iss", "aud", "sub", "exp"].into_iter();
            let mut known = known.filter(|known| known == name);
            TokenError::Claim(known.next().unwrap_or("exp"))
        }
        // Claims that are of another type, and all that is no token.
        _ => TokenError::Form,
    }
}

#[cfg(test)]
mod tests;
