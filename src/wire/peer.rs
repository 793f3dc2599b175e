//! Who is at the other end of a connection, as far as TLS proves it.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a client certificate that a listed authority vouches for: of its DER, as
/// `openssl x509 -fingerprint -sha256` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerCertificate(pub [u8; 32]);

impl PeerCertificate {
    /// That of a certificate's DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

/// 64 hexadecimal digits, lower case, without colons.
impl fmt::Display for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
