//! TLS of both listeners: certificates out of files, read again when they change.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::ring::{Ticketer, default_provider},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use crate::{server::reload::Watch, telemetry::connections::Listener, wire::peer::PeerCertificate};

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate and those between it and its authority, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key: PathBuf,
    /// Authorities of client certificates, PEM; none = clients are not asked for one.
    pub client_ca: Option<PathBuf>,
}

/// TLS as the files say; clones share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    live: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    grpc: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    /// Of all bytes of the files.
    digest: [u8; 32],
    /// From when on the certificate is over, in seconds from 1970, where that can be read.
    expires: Option<i64>,
}

/// Why TLS can't be had from the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {role} {}: {source}", path.display())]
    Read {
        /// What is in the file.
        role: Role,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{role} {} {what}", path.display())]
    Content {
        /// What should be in the file.
        role: Role,
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The key is another certificate's.
    #[error(
        "the private key {} is not that of the certificate {}: give the two that belong together",
        key.display(), cert.display()
    )]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// The library refuses what else is there.
    #[error("TLS can't be set up: {0}")]
    Setup(rustls::Error),
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The server's certificate.
    Certificate,
    /// Its key.
    Key,
    /// Authorities of clients.
    ClientAuthorities,
    /// Authorities of servers.
    ServerAuthorities,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the certificate",
            Self::Key => "the private key",
            Self::ClientAuthorities => "the client certificates' authority",
            Self::ServerAuthorities => "the server certificate's authority",
        })
    }
}

/// Makes ring the process's provider of cryptography, once; before the first connection of any
/// kind.
pub fn install_provider() {
    // Only one can be first, and all are the same.
    let _installed_before = default_provider().install_default();
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let loaded = Loaded::read(&files)?;
        loaded.warn_if_over(&files);
        Ok(Self(Arc::new(Shared {
            files,
            live: RwLock::new(loaded),
        })))
    }

    /// What new connections of a listener are set up by.
    pub fn config(&self, listener: Listener) -> Arc<ServerConfig> {
        let live = self.0.live.read().expect("no panic under this lock");
        match listener {
            Listener::Grpc => Arc::clone(&live.grpc),
            Listener::Http => Arc::clone(&live.http),
        }
    }

    /// Follows the files until `stop`: every second, and at once on SIGHUP. Open connections go on
    /// as they are; files that can't be used change nothing.
    pub async fn run(self, stop: CancellationToken) {
        let Files {
            cert,
            key,
            client_ca,
        } = self.0.files.clone();
        let watched = [Some(cert), Some(key), client_ca];
        let mut watch = Watch::new(watched.into_iter().flatten().collect());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A change that is not seen now is seen by the next look.
                () = watch.changed() => {}
            }
            let files = self.0.files.clone();
            let read = spawn_blocking(move || Loaded::read(&files)).await;
            match read.expect("reading certificates does not panic") {
                Ok(loaded) => self.replace(loaded),
                Err(error) => tracing::error!(
                    %error,
                    "the TLS files can't be used; connections go on with the ones before"
                ),
            }
        }
    }

    fn replace(&self, loaded: Loaded) {
        let mut live = self.0.live.write().expect("no panic under this lock");
        if live.digest != loaded.digest {
            loaded.warn_if_over(&self.0.files);
            *live = loaded;
            drop(live);
            tracing::info!(cert = %self.0.files.cert.display(), "TLS certificate loaded");
        }
    }
}

impl Loaded {
    fn read(files: &Files) -> Result<Self, TlsError> {
        let cert = bytes(&files.cert, Role::Certificate)?;
        let key = bytes(&files.key, Role::Key)?;
        let mut digest = Sha256::new();
        for bytes in [&cert, &key] {
            digest.update(Sha256::digest(bytes));
        }
        let verifier = match &files.client_ca {
            Some(path) => {
                let ca = bytes(path, Role::ClientAuthorities)?;
                digest.update(&ca);
                verifier(path, &ca)?
            }
            None => Arc::new(NoClientAuth),
        };
        let chain = certificates(&files.cert, Role::Certificate, &cert)?;
        let own = chain.first().and_then(|own| PeerCertificate::of(own).ok());
        let expires = own.map(|own| own.expires);
        let key = private_key(&files.key, &key)?;
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let built = (builder.with_safe_default_protocol_versions())
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key);
        let mut config = built.map_err(|error| refused(&files.cert, &files.key, error))?;
        // With keys of its own: a session that began under other files, and so perhaps under
        // another authority of clients, is not resumed.
        config.ticketer = Ticketer::new().map_err(TlsError::Setup)?;
        let with = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Ok(Self {
            grpc: with(b"h2"),
            http: with(b"http/1.1"),
            digest: digest.finalize().into(),
            expires,
        })
    }

    /// It serves all the same: some clients do not look.
    fn warn_if_over(&self, files: &Files) {
        let now = Timestamp::now().as_second();
        if self.expires.is_some_and(|expires| expires <= now) {
            tracing::warn!(
                cert = %files.cert.display(),
                "the TLS certificate is over: clients refuse it; put a new one in its place"
            );
        }
    }
}

/// What the library finds when it puts key and certificate together.
fn refused(cert: &Path, key: &Path, error: rustls::Error) -> TlsError {
    let (role, path) = match error {
        rustls::Error::InconsistentKeys(_) => {
            return TlsError::Mismatch {
                key: key.to_owned(),
                cert: cert.to_owned(),
            };
        }
        rustls::Error::General(_) => (Role::Key, key),
        rustls::Error::InvalidCertificate(_) => (Role::Certificate, cert),
        other => return TlsError::Setup(other),
    };
    content(path, role, format!("can't be used: {error}"))
}

/// Clients may show a certificate, and need not.
fn verifier(path: &Path, ca: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let role = Role::ClientAuthorities;
    let bad = |error: &dyn fmt::Display| content(path, role, format!("can't be used: {error}"));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, role, ca)? {
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    let provider = Arc::new(default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| bad(&error))
}

/// What a client proves itself by: the bytes of the file of its certificate, with those between it
/// and its authority, and of that of its private key, which belong together.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn identity(cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let cert_bytes = bytes(cert, Role::Certificate)?;
    let key_bytes = bytes(key, Role::Key)?;
    let chain = certificates(cert, Role::Certificate, &cert_bytes)?;
    let private = private_key(key, &key_bytes)?;
    match CertifiedKey::from_der(chain, private, &default_provider()) {
        Ok(_) => Ok((cert_bytes, key_bytes)),
        Err(error) => Err(refused(cert, key, error)),
    }
}

/// The bytes of a file of certificates or a key.
///
/// # Errors
/// [`TlsError::Read`].
pub fn bytes(path: &Path, role: Role) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read {
        role,
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    (file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
        return Err(content(path, role, "has more than 1 MiB".to_owned()));
    }
    Ok(bytes)
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// [`TlsError::Content`].
pub fn certificates(
    path: &Path,
    role: Role,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    let bad = |what| content(path, role, what);
    let found = read.map_err(|error| bad(format!("is not PEM: {error}")))?;
    if found.is_empty() {
        let what = "has no certificate in it; it must be PEM, with BEGIN CERTIFICATE";
        return Err(bad(what.to_owned()));
    }
    Ok(found)
}

fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| {
        let is_locked = memchr::memmem::find(bytes, b"ENCRYPTED").is_some();
        let what = match error {
            _ if is_locked => {
                "is locked with a passphrase; unlock it with openssl pkey -in FILE -out NEW"
                    .to_owned()
            }
            pem::Error::NoItemsFound => {
                "has no private key in it; it must be PEM, with BEGIN PRIVATE KEY".to_owned()
            }
            other => format!("is not PEM: {other}"),
        };
        content(path, Role::Key, what)
    })
}

fn content(path: &Path, role: Role, what: String) -> TlsError {
    TlsError::Content {
        role,
        path: path.to_owned(),
        what,
    }
}
