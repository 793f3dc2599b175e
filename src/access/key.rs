//! Key: what a caller shows, and what is kept of it.

use std::{fmt, str::FromStr};

use data_encoding::{HEXLOWER, Specification};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::cursor::{LETTERS, letters};

/// What every key begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "barid_";
/// Characters of a key's id: 50 bits.
const ID_LEN: usize = 10;
/// Random bytes of a secret, written in 32 characters.
const SECRET_BYTES: usize = 20;
/// Characters of a secret.
const SECRET_LEN: usize = 32;
/// Characters of the checksum: 30 bits.
const CHECK_LEN: usize = 6;

/// The name of a key: not secret, shown in lists, logs and subjects. 10 characters of `[a-z2-7]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; ID_LEN]);

/// A text that is no key or no key's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No id.
    #[error("a key's id is {ID_LEN} letters and digits of [a-z2-7]")]
    Id,
    /// No key.
    #[error("a key is barid_<id>_<secret>, with {ID_LEN} and {} characters of [a-z2-7]", SECRET_LEN + CHECK_LEN)]
    Form,
    /// Mistyped or cut off.
    #[error("the key's checksum is wrong: it was mistyped, or is not whole")]
    Checksum,
}

impl KeyId {
    /// The id of these 50 bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(letters(bits))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is ASCII")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes: [u8; ID_LEN] = text.as_bytes().try_into().map_err(|_| KeyError::Id)?;
        if is_encoded(text) {
            Ok(Self(bytes))
        } else {
            Err(KeyError::Id)
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A whole key, `barid_<id>_<secret and checksum>`: 55 characters. Whoever has it is let in, so it is
/// shown once, and never in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    id: KeyId,
    text: String,
}

impl Secret {
    /// A secret of these random bytes.
    pub fn new(id: KeyId, random: [u8; SECRET_BYTES]) -> Self {
        let start = format!("{PREFIX}{id}_{}", encode(&random));
        let text = format!("{start}{}", checksum(&start));
        Self { id, text }
    }

    /// Which key's it is.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The text to hand out.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is kept of it.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest(Sha256::digest(self.text.as_bytes()).into())
    }
}

impl FromStr for Secret {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(PREFIX).ok_or(KeyError::Form)?;
        let (id, secret) = rest.split_once('_').ok_or(KeyError::Form)?;
        let id = id.parse().map_err(|_| KeyError::Form)?;
        if secret.len() != SECRET_LEN + CHECK_LEN || !is_encoded(secret) {
            return Err(KeyError::Form);
        }
        let (start, check) = text.split_at(text.len() - CHECK_LEN);
        if check != checksum(start) {
            return Err(KeyError::Checksum);
        }
        Ok(Self {
            id,
            text: text.to_owned(),
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.id)
    }
}

/// SHA-256 of a whole key. A key has 160 random bits, so that nothing slower is needed against
/// guessing.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretDigest {
    /// In a time that tells nothing of where they differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretDigest {}

impl TryFrom<String> for SecretDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("not 64 hex digits")
    }
}

impl From<SecretDigest> for String {
    fn from(digest: SecretDigest) -> Self {
        HEXLOWER.encode(&digest.0)
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Hands news in, within what its partner may publish.
    Publisher,
    /// Takes news, within what its partner may subscribe to.
    Subscriber,
    /// Administers, and may do everything.
    Desk,
    /// Sees what is measured, and nothing else.
    Monitor,
    /// Reads topics from NATS itself, by an nkey instead of a secret of ours.
    Native,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Publisher,
        Self::Subscriber,
        Self::Desk,
        Self::Monitor,
        Self::Native,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
            Self::Desk => "desk",
            Self::Monitor => "monitor",
            Self::Native => "native",
        }
    }
}

fn is_encoded(text: &str) -> bool {
    text.bytes().all(|byte| LETTERS.as_bytes().contains(&byte))
}

fn encode(bytes: &[u8]) -> String {
    let mut specification = Specification::new();
    specification.symbols.push_str(LETTERS);
    let encoding = specification.encoding().expect("32 different characters");
    encoding.encode(bytes)
}

/// Of the whole text before it, so that a key cut off or mistyped is known without a lookup.
fn checksum(start: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(start.as_bytes()).into();
    let mut text = encode(&digest[..5]);
    text.truncate(CHECK_LEN);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> Secret {
        Secret::new(KeyId::from_bits(0x0123_4567_89ab), [7; SECRET_BYTES])
    }

    /// A change here makes every key that was handed out worthless.
    #[test]
    fn a_key_is_this_text() {
        let secret = secret();
        let text = secret.reveal();
        assert_eq!(text.len(), 55);
        assert_eq!(text.parse::<Secret>().unwrap(), secret);
        assert_eq!(
            text,
            "barid_lncpwcneba_a4dqobyha4dqobyha4dqobyha4dqobyhw53xcf"
        );
        assert_eq!(format!("{secret:?}"), "barid_lncpwcneba_…");
        assert!(!format!("{:?}", secret.digest()).contains("a4"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = secret().reveal().to_owned();
        let swapped = good.replacen("a4", "4a", 1);
        for (text, error) in [
            ("", KeyError::Form),
            ("barid_", KeyError::Form),
            (&good.to_ascii_uppercase(), KeyError::Form),
            (good.get(..54).unwrap(), KeyError::Form),
            (&format!("{good}a"), KeyError::Form),
            (&good.replace("lncp", "LNCP"), KeyError::Form),
            (&good.replace("barid_", "barad_"), KeyError::Form),
            (
                &good.replacen("lncpwcneba", "lncpwcnebb", 1),
                KeyError::Checksum,
            ),
            (&swapped, KeyError::Checksum),
        ] {
            assert_eq!(text.parse::<Secret>().unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_key_comes_back(bits in any::<u64>(), random in any::<[u8; SECRET_BYTES]>()) {
            let secret = Secret::new(KeyId::from_bits(bits), random);
            prop_assert_eq!(secret.reveal().parse::<Secret>().unwrap(), secret.clone());
            let json = serde_json::to_string(&secret.digest()).unwrap();
            prop_assert!(!json.contains(secret.reveal()));
            prop_assert_eq!(serde_json::from_str::<SecretDigest>(&json).unwrap(), secret.digest());
        }

        #[test]
        fn any_text_is_a_key_or_refused(text in "(barid_)?\\PC{0,60}") {
            if let Ok(secret) = text.parse::<Secret>() {
                prop_assert_eq!(secret.reveal(), text);
            }
        }
    }
}
