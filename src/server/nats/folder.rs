//! The data folder: its lock, the files that Barid keeps there, and the room on its disk.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{StartError, conf::OWNER};

const LOCK: &str = "lock";
const URL: &str = "nats-url";
const CREDENTIALS: &str = "nats-credentials";
const CONF: &str = "nats.conf";
const PORTS: &str = "ports";
const STORE: &str = "jetstream";
const LOG: &str = "nats-server.log";
const STDERR: &str = "nats-server.stderr";

/// Letters and digits: 32 of them are 190 bits, and none needs an escape in a URL.
const PASSWORD_LEN: usize = 32;
/// How long a lock may be held by a server that is dying with its killed parent.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(3);
const LOCK_POLL: Duration = Duration::from_millis(10);
/// How much of a log's end is shown.
const TAIL_LEN_BYTES_MAX: u64 = 16 * 1024;
const TAIL_LINE_COUNT_MAX: usize = 10;
/// `st_blocks` counts these (POSIX, `sys/stat.h`).
const BLOCK_LEN_BYTES: u64 = 512;

/// A data folder, absolute.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// `nats-credentials`, for tools that connect from outside.
#[derive(Serialize, Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

/// The ports file of nats-server; what else it listens on is not in use.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Folder {
    /// Makes the folder if need be, for the owner only.
    pub(super) fn make(path: &Path) -> Result<Self, StartError> {
        private_dir(path)
            .and_then(|()| path.canonicalize())
            .map(Self)
            .map_err(at(path))
    }

    /// The path for `nats.conf`.
    pub(super) fn text(&self) -> Result<String, StartError> {
        self.0
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| StartError::DataDirName {
                path: self.0.clone(),
            })
    }

    /// Takes the lock, which lasts until the file and all its duplicates are closed. nats-server
    /// gets one: so a server that outlives a killed parent, if only for a moment, keeps a second
    /// one from the store.
    pub(super) fn lock(&self) -> Result<File, StartError> {
        let path = self.0.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        let deadline = Instant::now() + LOCK_WAIT_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::park_timeout(LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StartError::DataDirInUse {
                        path: self.0.clone(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
            }
        }
    }

    /// The password of this folder, made at the first start.
    pub(super) fn password(&self) -> Result<String, StartError> {
        let path = self.0.join(CREDENTIALS);
        match fs::read(&path) {
            Ok(bytes) => password_in(&bytes).map_err(at(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let password = Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LEN);
                let credentials = Credentials {
                    user: OWNER.to_owned(),
                    password: password.clone(),
                };
                let text = serde_json::to_string(&credentials).map_err(io::Error::from);
                text.and_then(|text| write_private(&path, &text))
                    .map_err(at(&path))?;
                Ok(password)
            }
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// What the store may grow to: what it takes now and three quarters of the free room.
    ///
    /// The server's own default leaves out what it takes now, so that a store which has
    /// filled most of its disk would be refused every write after a restart.
    pub(super) fn store_len_bytes_max(&self) -> Result<u64, StartError> {
        let store = self.0.join(STORE);
        private_dir(&store).map_err(at(&store))?;
        let disk = rustix::fs::statvfs(&store)
            .map_err(io::Error::from)
            .map_err(at(&store))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let used = disk_use(&store).map_err(at(&store))?;
        Ok(used.saturating_add(free / 4 * 3))
    }

    /// Writes the server's configuration and returns its path.
    pub(super) fn write_conf(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(CONF);
        write_private(&path, text)?;
        Ok(path)
    }

    /// Makes the place of the ports file, empty: one of a killed server would bear a number that
    /// the system may give again.
    pub(super) fn clear_ports(&self) -> io::Result<()> {
        let ports = self.0.join(PORTS);
        match fs::remove_dir_all(&ports) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        private_dir(&ports)
    }

    /// Where the server of this process id listens, as soon as it says so.
    pub(super) fn listening(&self, process_id: u32) -> Option<SocketAddr> {
        // Named `<program>_<pid>.ports`.
        let suffix = format!("_{process_id}.ports");
        let file = fs::read_dir(self.0.join(PORTS))
            .ok()?
            .filter_map(Result::ok)
            .find(|file| file.file_name().to_string_lossy().ends_with(&suffix))?;
        parse_ports(&fs::read(file.path()).ok()?)
    }

    /// An empty file for what the server writes before its log is open, and when it panics.
    pub(super) fn fresh_stderr(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.0.join(STDERR))
    }

    /// The last lines of the server with this process id.
    pub(super) fn last_words(&self, process_id: u32) -> String {
        let mark = format!("[{process_id}] ");
        let log = tail(&self.0.join(LOG));
        let stderr = tail(&self.0.join(STDERR));
        let log: Vec<_> = log.lines().filter(|line| line.starts_with(&mark)).collect();
        let log = log
            .iter()
            .skip(log.len().saturating_sub(TAIL_LINE_COUNT_MAX));
        // The head of a Go panic says what happened, its end is the stack.
        let stderr = stderr.lines().take(TAIL_LINE_COUNT_MAX);
        log.copied().chain(stderr).collect::<Vec<_>>().join("\n")
    }

    /// Tells other commands where the server is.
    pub(super) fn write_url(&self, url: &str) -> Result<(), StartError> {
        let path = self.0.join(URL);
        write_private(&path, url).map_err(at(&path))
    }

    /// The server is gone.
    pub(super) fn remove_url(&self) {
        if let Err(error) = fs::remove_file(self.0.join(URL)) {
            tracing::debug!(%error, "cannot remove the url of managed NATS");
        }
    }
}

/// See [`super::running_url`].
pub(super) fn running_url(data_dir: &Path) -> io::Result<String> {
    let lock = File::open(data_dir.join(LOCK))?;
    // Shared, so that two commands at once do not take each other for a server.
    match lock.try_lock_shared() {
        Ok(()) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no `barid serve` uses this data folder",
        )),
        Err(TryLockError::WouldBlock) => fs::read_to_string(data_dir.join(URL)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The address in a ports file; none in one that is half written.
pub(super) fn parse_ports(bytes: &[u8]) -> Option<SocketAddr> {
    let ports: Ports = serde_json::from_slice(bytes).ok()?;
    let url = ports.nats.first()?;
    url.strip_prefix("nats://")?.parse().ok()
}

/// The password in `nats-credentials`.
pub(super) fn password_in(bytes: &[u8]) -> io::Result<String> {
    let Credentials { user, password } = serde_json::from_slice(bytes)?;
    let plain = !password.is_empty() && password.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if user == OWNER && plain {
        Ok(password)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not the user `barid` with a password of letters and digits; remove the file for a new one",
        ))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Data { path, source }
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whole or not at all: a reader of the file never sees half of it.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, path)
}

fn disk_use(root: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK_LEN_BYTES));
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

/// The end of a text file; nothing if it cannot be read, because it only explains another error.
fn tail(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_LEN_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_LEN_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
