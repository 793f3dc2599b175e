//! Certificates for a test: authorities, and what they vouch for, made anew each time.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use sha2::{Digest as _, Sha256};

/// An authority, with its certificate in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// The certificate's SHA-256, in hexadecimal digits.
    pub fingerprint: String,
}

impl Authority {
    /// A new one, in a folder.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pem = folder.join(format!("{name}.pem"));
        std::fs::write(&pem, issuer.pem()).unwrap();
        Self { issuer, pem }
    }

    /// A new certificate for servers of this machine, or for clients.
    pub fn pair(&self, name: &str) -> Pair {
        self.made(name, Self::params())
    }

    /// One that is over after so many seconds, or that has been for as many.
    pub fn pair_for(&self, name: &str, seconds: i64) -> Pair {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let by = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        let end = match seconds {
            0.. => now.unwrap() + by(seconds),
            ..0 => now.unwrap() - by(seconds),
        };
        let mut params = Self::params();
        params.not_after = date_time_ymd(1970, 1, 1) + end;
        self.made(name, params)
    }

    fn params() -> CertificateParams {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        CertificateParams::new(names).unwrap()
    }

    fn made(&self, name: &str, mut params: CertificateParams) -> Pair {
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let own_key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&own_key, &self.issuer).unwrap();
        let file = |ending: &str| self.pem.with_file_name(format!("{name}.{ending}"));
        let (cert, key) = (file("crt"), file("key"));
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&key, own_key.serialize_pem()).unwrap();
        let digest = Sha256::digest(certificate.der());
        Pair {
            cert,
            key,
            fingerprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl Pair {
    /// The flags with which a node has it.
    pub fn flags(&self) -> [&str; 4] {
        let (cert, key) = (self.cert.to_str().unwrap(), self.key.to_str().unwrap());
        ["--tls-cert", cert, "--tls-key", key]
    }

    /// Puts it in place of another, one file after the other, as a renewal does.
    pub fn replace(&self, other: &Self) {
        for (from, to) in [(&self.cert, &other.cert), (&self.key, &other.key)] {
            let new = to.with_extension("new");
            std::fs::copy(from, &new).unwrap();
            std::fs::rename(new, to).unwrap();
        }
    }
}
