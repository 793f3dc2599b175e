//! Who is at the other end of a connection, as far as TLS proves it.

use std::fmt;

use sha2::{Digest as _, Sha256};
use x509_parser::{certificate::X509CertificateParser, nom::Parser as _};

/// A client certificate that a listed authority vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The SHA-256 of its DER, as `openssl x509 -fingerprint -sha256` counts it.
    pub digest: [u8; 32],
    /// From when on it is over, in seconds from 1970: the second after its `notAfter`, which still
    /// belongs to it (RFC 5280 section 4.1.2.5).
    pub expires: i64,
}

/// A DER that is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no X.509 certificate with a time at which it ends")]
pub struct PeerCertificateError;

impl PeerCertificate {
    /// That of a certificate's DER.
    ///
    /// # Errors
    /// It is none.
    pub fn of(der: &[u8]) -> Result<Self, PeerCertificateError> {
        // Extensions are for whoever verifies it.
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (_, parsed) = parser.parse(der).map_err(|_| PeerCertificateError)?;
        let not_after = parsed.validity().not_after.timestamp();
        Ok(Self {
            digest: Sha256::digest(der).into(),
            expires: not_after.saturating_add(1),
        })
    }
}

/// 64 hexadecimal digits, lower case, without colons.
impl fmt::Display for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = self.digest.iter();
        digits.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
