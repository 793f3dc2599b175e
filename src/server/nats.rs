//! Managed NATS: a `nats-server` that this process starts, restarts and takes with it.
//!
//! It holds the log of a single machine. Its store and all that belongs to it lie in one data folder
//! that only one process may use at a time; see [`Options::data_dir`]. The server listens on loopback
//! alone. Barid connects with a generated password; everybody else on the machine is a reader, in an
//! account of its own.

use std::{
    ffi::OsString,
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::access::partner::NativeReader;

mod binary;
mod conf;
mod folder;
mod supervise;
#[cfg(test)]
mod tests;

use binary::Attempts;
use conf::Conf;
pub use conf::account;
use folder::Folder;
use supervise::{Plan, Shared, Supervisor};

/// Time that a graceful stop may take before the server is killed.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How to run managed NATS.
#[derive(Clone, Debug)]
pub struct Options {
    /// The nats-server to run. None: `.barid/bin/nats-server` of the working directory, then the
    /// one on PATH.
    pub binary: Option<PathBuf>,
    /// Where the store, the configuration and the credentials lie. Made, for the owner only, if it
    /// does not exist. One process at a time.
    pub data_dir: PathBuf,
    /// A loopback address. Port 0: any free port, kept for as long as this process lives.
    pub listen: SocketAddr,
    /// Whether whoever gives no credentials reads everything.
    pub anonymous_readers: bool,
    /// The barid executable, which is run as `nats-guard --parent <pid> -- <program> <args>…` and
    /// has to call [`guard`]. Production gives `std::env::current_exe()`.
    pub guard: PathBuf,
}

/// Why managed NATS did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log is for this machine; others go through Barid.
    #[error("managed NATS listens on loopback only, not on {listen}: mend --nats-listen")]
    NotLoopback {
        /// What was asked for.
        listen: SocketAddr,
    },
    /// Something in the data folder cannot be read or written.
    #[error("cannot use {}, part of the data folder given by --data-dir", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The path cannot be written into nats-server's configuration.
    #[error("the data folder's path {} is not UTF-8: choose another with --data-dir", path.display())]
    DataDirName {
        /// The folder.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error(
        "another `barid serve` uses the data folder {}: stop it, or choose another with --data-dir",
        path.display()
    )]
    DataDirInUse {
        /// The folder.
        path: PathBuf,
    },
    /// No usable nats-server.
    #[error(
        "found no nats-server {} or newer ({attempts}): install one with `make tools`",
        binary::OLDEST
    )]
    Binary {
        /// What was looked for and what was found.
        attempts: Attempts,
    },
    /// Somebody listens there.
    #[error(
        "managed NATS cannot listen on {listen}, the port is in use: choose another with \
         --nats-listen (port 0 takes any free one), or use the NATS that runs there with --nats-url"
    )]
    PortInUse {
        /// What was asked for.
        listen: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("managed NATS cannot listen on {listen}: choose another address with --nats-listen")]
    Listen {
        /// What was asked for.
        listen: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The guard did not even start.
    #[error("cannot run {} as the guard of nats-server", guard.display())]
    Spawn {
        /// The barid executable.
        guard: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The thread that watches the server did not start.
    #[error("cannot start the thread that watches nats-server")]
    Thread(#[source] io::Error),
    /// The server ended before it was ready.
    #[error("nats-server ended at its start ({status}); its last words:\n{last_words}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        last_words: String,
    },
    /// The server lives but does not answer.
    #[error("nats-server was not ready after {} s; its last words:\n{last_words}", waited.as_secs())]
    NotReady {
        /// How long it was given.
        waited: Duration,
        /// The end of its log.
        last_words: String,
    },
}

/// A running nats-server. Dropping it kills the server; [`ManagedNats::stop`] is the kind way.
pub struct ManagedNats {
    folder: Folder,
    conf: Conf,
    address: SocketAddr,
    url: String,
    shared: Arc<Shared>,
    /// None once joined.
    supervisor: Option<thread::JoinHandle<()>>,
}

impl ManagedNats {
    /// Starts the server and waits until JetStream is ready: tens of milliseconds with an empty
    /// store, at most 60 s. Blocks the thread.
    ///
    /// # Errors
    /// What stands in the way, with the flag or the command that removes it.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let Options {
            binary,
            data_dir,
            listen,
            anonymous_readers,
            guard,
        } = options;
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback { listen });
        }
        let program =
            binary::find(binary.as_deref()).map_err(|attempts| StartError::Binary { attempts });
        // Without a program nothing is made. That a server runs there already is told first: whoever
        // goes in beside it needs none.
        let program = if data_dir.exists() {
            program
        } else {
            Ok(program?)
        };
        let folder = Folder::make(&data_dir)?;
        let lock = folder.lock()?;
        let program = program?;
        refuse_port_in_use(listen)?;
        let password = folder.password()?;
        let conf = Conf {
            listen,
            folder: folder.text()?,
            store_len_bytes_max: folder.store_len_bytes_max()?,
            password: password.clone(),
        };

        let shared = Arc::new(Shared::default());
        shared.readers().anonymous = anonymous_readers;
        let (report, started) = mpsc::channel();
        let supervisor = Supervisor::new(
            Plan {
                guard,
                program,
                folder: folder.clone(),
                conf: conf.clone(),
                lock,
            },
            Arc::clone(&shared),
        );
        // A thread of its own, which lives as long as the server: the death signal goes off when
        // the thread ends that spawned, and a pool's thread may end at any time.
        let supervisor = thread::Builder::new()
            .name("barid-nats".to_owned())
            .spawn(move || supervisor.run(&report))
            .map_err(StartError::Thread)?;
        let address = started
            .recv()
            .expect("the supervisor reports before it ends")?;
        let nats = Self {
            conf: Conf {
                listen: address,
                ..conf
            },
            address,
            url: format!("nats://{}:{password}@{address}", conf::OWNER),
            folder,
            shared,
            supervisor: Some(supervisor),
        };
        nats.folder.write_url(&nats.url)?;
        Ok(nats)
    }

    /// Where to connect as Barid: `nats://barid:<password>@127.0.0.1:4222`. Not for logs.
    ///
    /// Some clients, async-nats 0.51 among them, leave out the credentials of a URL; the server then
    /// takes them for a reader. Give them as options.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the server listens. Without credentials one is a reader: it subscribes to `news.>` and
    /// creates pull consumers with a name and one filter within `log.news.>`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle on who reads from it.
    pub fn readers(&self) -> ReadersHandle {
        ReadersHandle {
            folder: self.folder.clone(),
            conf: self.conf.clone(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Ends the server: asks, waits up to 10 s, then kills. Blocks the thread.
    pub fn stop(mut self) {
        self.shared.stop(Signal::TERM);
        if !self.shared.wait_until_gone(STOP_MAX) {
            tracing::warn!(waited = ?STOP_MAX, "nats-server did not stop, killing it");
            self.shared.stop(Signal::KILL);
        }
        self.join();
    }

    fn join(&mut self) {
        if let Some(supervisor) = self.supervisor.take()
            && supervisor.join().is_err()
        {
            tracing::error!("the thread that watched nats-server has panicked");
        }
        self.folder.remove_url();
    }
}

/// Says who reads from managed NATS.
#[derive(Clone)]
pub struct ReadersHandle {
    folder: Folder,
    conf: Conf,
    shared: Arc<Shared>,
}

impl ReadersHandle {
    /// Lets these readers in, and nobody else but the anonymous one; ends the connections of those
    /// that were let in before. Blocks the thread for the writing of a file.
    ///
    /// # Errors
    /// The configuration can't be written.
    pub fn set(&self, named: Vec<NativeReader>) -> io::Result<()> {
        // Held: the supervisor writes the same file.
        let mut readers = self.shared.readers();
        readers.set(named);
        self.folder.write_conf(&self.conf.text(&readers))?;
        self.shared.signal(Signal::HUP);
        Ok(())
    }
}

impl fmt::Debug for ReadersHandle {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadersHandle").finish_non_exhaustive()
    }
}

impl fmt::Debug for ManagedNats {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedNats")
            .field("folder", &self.folder)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for ManagedNats {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            self.shared.stop(Signal::KILL);
            self.join();
        }
    }
}

/// Where the managed NATS of a data folder listens, with credentials, for commands that are run
/// beside `barid serve`.
///
/// # Errors
/// `NotFound` if no `barid serve` uses the folder, else what the system says.
pub fn running_url(data_dir: &Path) -> io::Result<String> {
    folder::running_url(data_dir)
}

/// Becomes `program`, after arranging that it dies with its parent. What `barid nats-guard` runs;
/// the supervisor starts it, never a person.
///
/// On Linux the kernel kills the program when the thread that spawned the guard ends, however that
/// happens. Other systems have no such signal: there the program outlives a parent that is killed,
/// and holds the lock of the data folder, so that a second server cannot damage the store.
///
/// Returns only if it fails.
pub fn guard(parent: u32, program: &Path, args: &[OsString]) -> io::Error {
    match die_with(parent) {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(error) => error,
    }
}

#[cfg(target_os = "linux")]
fn die_with(parent: u32) -> io::Result<()> {
    // TERM, not KILL: nats-server writes a message's tombstone before it overwrites the bytes, and a
    // kill between the two would leave the text of a killed article on the disk for ever.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // After the signal is set, not before: a parent that died in between sends none.
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "process {parent} is not the parent of this guard"
        )))
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_parent: u32) -> io::Result<()> {
    Ok(())
}

/// nats-server says so too, but only in its log. The moment between this check and its start is
/// covered by [`supervise`], which reads that log.
fn refuse_port_in_use(listen: SocketAddr) -> Result<(), StartError> {
    match TcpListener::bind(listen) {
        Ok(_listener) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
            Err(StartError::PortInUse { listen })
        }
        Err(source) => Err(StartError::Listen { listen, source }),
    }
}
