//! The first keys of a log that has none: whoever owns the data folder administers.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use crate::{
    access::{
        key::{KeyId, Role, Secret},
        partner::{Key, Limits, Partner, PartnerName, Publishing},
        scope::Scope,
    },
    gate::Gate,
    server::nats::ReadersHandle,
    wire::log::{Log, ReadError},
};

/// What the first keys are for.
const FIRST: [Role; 4] = [Role::Publisher, Role::Subscriber, Role::Desk, Role::Monitor];
/// The partner of the first keys.
const NAME: &str = "local";

/// Why the first keys can't be made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The log does not answer.
    #[error("the partners can't be read or kept")]
    Log(#[from] ReadError),
    /// A file can't be written.
    #[error("can't write {path}: see that the folder is Barid's own")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file of a role's first key, in a data folder.
pub fn file(data_dir: &Path, role: Role) -> PathBuf {
    data_dir.join("keys").join(role.as_str())
}

/// Makes a partner that may do everything, with one key for each role, in files that only their
/// owner may read: unless the log has partners. `now` is in seconds from 1970.
///
/// # Errors
/// [`KeysError`].
pub async fn make_first(log: &Log, data_dir: &Path, now: i64) -> Result<(), KeysError> {
    if log.has_partners().await? {
        return Ok(());
    }
    let secrets = FIRST.map(|role| (role, new_secret()));
    // Files first: keys that nobody has would be of no use.
    for (role, secret) in &secrets {
        let path = file(data_dir, *role);
        write(&path, secret.reveal()).map_err(|source| KeysError::File { path, source })?;
    }
    let keys = secrets
        .iter()
        .map(|(role, secret)| Key::new(secret, *role, now));
    // If another node was faster, its keys count.
    log.put_partner(&local(keys.collect()), 0).await?;
    Ok(())
}

/// Makes a new key of the desk, for whoever has access to the log itself. Returns its secret.
///
/// # Errors
/// [`KeysError::Log`].
pub async fn recover(log: &Log, now: i64) -> Result<Secret, KeysError> {
    let name = NAME.parse::<PartnerName>().expect("a good name");
    let secret = new_secret();
    loop {
        let kept = log.partner(&name).await?;
        let revision = kept.as_ref().map_or(0, |kept| kept.revision);
        let mut partner = kept.map_or_else(|| local(Vec::new()), |kept| kept.partner);
        partner.keys.push(Key::new(&secret, Role::Desk, now));
        (partner.is_suspended, partner.has_desk) = (false, true);
        if log.put_partner(&partner, revision).await?.is_some() {
            return Ok(secret);
        }
    }
}

fn new_secret() -> Secret {
    Secret::new(KeyId::from_bits(rand::random()), rand::random())
}

fn local(keys: Vec<Key>) -> Partner {
    Partner {
        name: NAME.parse().expect("a good name"),
        is_suspended: false,
        subscribe: Some(Scope::default()),
        publish: Some(Publishing::default()),
        has_desk: true,
        limits: Limits::default(),
        origins: BTreeSet::new(),
        keys,
    }
}

fn write(path: &Path, secret: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    // A file of an earlier log, whatever may be done to it, is none of ours.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut &file, format!("{secret}\n").as_bytes())
}

/// Keeps managed NATS to the native readers of now; never ends.
pub async fn run_readers(gate: Gate, readers: ReadersHandle) {
    let mut changes = gate.changes();
    let mut known = Vec::new();
    // The sender lives as long as the gate.
    while changes.changed().await.is_ok() {
        let wanted = gate.native_readers();
        if wanted == known {
            continue;
        }
        let (readers, named) = (readers.clone(), wanted.clone());
        match spawn_blocking(move || readers.set(named)).await {
            Ok(Ok(())) => known = wanted,
            Ok(Err(error)) => tracing::error!(%error, "native readers can't be changed"),
            Err(error) => tracing::error!(%error, "native readers can't be changed"),
        }
    }
    std::future::pending().await
}
