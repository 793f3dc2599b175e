//! The thread that keeps nats-server running.

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    StartError,
    conf::{Conf, Readers},
    folder::Folder,
};

/// JetStream recovers its store before the server listens; much of it takes a while.
const READY_MAX: Duration = Duration::from_secs(60);
/// When a start is slow enough for a word in the log.
const READY_SLOW: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(1);
const PROBE_MAX: Duration = Duration::from_secs(1);
/// The first line of a server is some 500 bytes.
const GREETING_LEN_BYTES_MAX: u64 = 16 * 1024;
/// Between a death and the next start: doubled from the first to the second.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A server that lived this long was well.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// Bounds what the server holds after a long replay: 75 MB in place of 4 GB, at a similar speed.
const MEMORY_LIMIT: (&str, &str) = ("GOMEMLIMIT", "512MiB");

/// What to run, and where.
pub(super) struct Plan {
    pub(super) guard: PathBuf,
    pub(super) program: PathBuf,
    pub(super) folder: Folder,
    pub(super) conf: Conf,
    /// The lock of the folder, held.
    pub(super) lock: File,
}

/// What the supervisor and the owner of the server both touch.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Who reads from NATS itself: part of each configuration that is written.
    readers: Mutex<Readers>,
}

/// Runs the server until told to stop.
pub(super) struct Supervisor {
    plan: Plan,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// The server, from its spawning until it is reaped: so a signal never hits a stranger that
    /// got the number of a dead one.
    process: Option<Pid>,
}

impl State {
    fn signal(&self, signal: Signal) {
        if let Some(process) = self.process
            && let Err(error) = kill_process(process, signal)
        {
            tracing::warn!(%error, ?signal, "cannot signal nats-server");
        }
    }
}

/// The first line that a server sends; NATS client protocol, INFO.
#[derive(Deserialize)]
struct Greeting {
    #[serde(default)]
    jetstream: bool,
}

impl Shared {
    /// Starts no more servers, and sends the signal to the one that runs.
    pub(super) fn stop(&self, signal: Signal) {
        let mut state = self.state();
        state.stopping = true;
        state.signal(signal);
        self.changed.notify_all();
    }

    /// Who reads from NATS itself.
    pub(super) fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal to the server, if one runs.
    pub(super) fn signal(&self, signal: Signal) {
        self.state().signal(signal);
    }

    /// Waits for the end of the server; false if it still runs after `limit`.
    pub(super) fn wait_until_gone(&self, limit: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), limit, |state| state.process.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        state.process.is_none()
    }

    /// Waits for `pause`, or until somebody calls [`Shared::stop`].
    fn pause(&self, pause: Duration) {
        drop(
            self.changed
                .wait_timeout_while(self.state(), pause, |state| !state.stopping),
        );
    }

    fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    /// Nothing that is done under the lock can leave it half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor {
    pub(super) fn new(plan: Plan, shared: Arc<Shared>) -> Self {
        Self { plan, shared }
    }

    /// Starts the server, reports once, and from then on restarts it whenever it dies.
    pub(super) fn run(mut self, report: &mpsc::Sender<Result<SocketAddr, StartError>>) {
        let (started, child) = match self.first() {
            Ok((address, child)) => (Ok(address), Some(child)),
            Err(error) => (Err(error), None),
        };
        if report.send(started).is_err() {
            // Nobody wants the server any more; it dies with this thread.
            self.shared.stop(Signal::KILL);
        }
        if let Some(child) = child {
            self.keep(child);
        }
    }

    fn first(&mut self) -> Result<(SocketAddr, Child), StartError> {
        let mut child = self.spawn()?.ok_or_else(|| StartError::Spawn {
            guard: self.plan.guard.clone(),
            source: io::ErrorKind::Interrupted.into(),
        })?;
        let ready = self.wait_until_ready(&mut child).and_then(|address| {
            // From now on this port and no other: clients come back to where they were.
            self.plan.conf.listen = address;
            self.write_conf().map(|_path| address)
        });
        match ready {
            Ok(address) => Ok((address, child)),
            Err(error) => {
                self.shared.stop(Signal::KILL);
                drop(self.reap(&mut child));
                Err(error)
            }
        }
    }

    /// Restarts the server until the stop.
    fn keep(&self, mut child: Child) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let process_id = child.id();
            let born = Instant::now();
            let status = self.wait(&mut child);
            if self.shared.is_stopping() {
                return;
            }
            if born.elapsed() >= WELL_AFTER {
                backoff = BACKOFF_MIN;
            }
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let last_words = self.plan.folder.last_words(process_id);
            tracing::warn!(process_id, status, last_words, ?backoff, "nats-server died");
            child = loop {
                self.shared.pause(backoff);
                backoff = (backoff * 2).min(BACKOFF_MAX);
                match self.spawn() {
                    Ok(Some(child)) => break child,
                    Ok(None) => return,
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(%error, cause, ?backoff, "cannot restart nats-server");
                    }
                }
            };
            tracing::info!(process_id = child.id(), "nats-server restarted");
        }
    }

    /// Starts one server, unless the stop has come.
    fn spawn(&self) -> Result<Option<Child>, StartError> {
        let Plan {
            guard,
            program,
            folder,
            lock,
            ..
        } = &self.plan;
        let conf = self.write_conf()?;
        let failed = |source| StartError::Spawn {
            guard: guard.clone(),
            source,
        };
        folder.clear_ports().map_err(failed)?;
        let mut command = Command::new(guard);
        command
            .args(["nats-guard", "--parent"])
            .arg(process::id().to_string())
            .arg("--")
            .arg(program)
            .arg("-c")
            .arg(conf)
            .stdin(Stdio::from(lock.try_clone().map_err(failed)?))
            .stdout(Stdio::null())
            .stderr(Stdio::from(folder.fresh_stderr().map_err(failed)?))
            // Ctrl-C goes to the whole group of the terminal: Barid still drains into the log then.
            .process_group(0);
        let (limit, value) = MEMORY_LIMIT;
        if env::var_os(limit).is_none() {
            command.env(limit, value);
        }
        // Under the lock, or else a stop between the check and the start would miss the server.
        let mut state = self.shared.state();
        if state.stopping {
            return Ok(None);
        }
        let child = command.spawn().map_err(failed)?;
        state.process = pid(&child);
        Ok(Some(child))
    }

    fn write_conf(&self) -> Result<PathBuf, StartError> {
        let Plan { folder, conf, .. } = &self.plan;
        folder
            .write_conf(&conf.text(&self.shared.readers()))
            .map_err(|source| StartError::Spawn {
                guard: self.plan.guard.clone(),
                source,
            })
    }

    fn wait_until_ready(&self, child: &mut Child) -> Result<SocketAddr, StartError> {
        let folder = &self.plan.folder;
        let process_id = child.id();
        let begin = Instant::now();
        let mut slow_told = false;
        loop {
            if let Some(address) = folder.listening(process_id)
                && greets_with_jetstream(address)
            {
                return Ok(address);
            }
            if let Some(status) = self.has_ended(child) {
                return Err(self.ended(status, process_id));
            }
            let waited = begin.elapsed();
            if waited >= READY_MAX {
                return Err(StartError::NotReady {
                    waited,
                    last_words: folder.last_words(process_id),
                });
            }
            if waited >= READY_SLOW && !slow_told {
                slow_told = true;
                tracing::info!("nats-server is still recovering its store");
            }
            thread::park_timeout(READY_POLL);
        }
    }

    /// Somebody may have taken the port since it was found free.
    fn ended(&self, status: ExitStatus, process_id: u32) -> StartError {
        let last_words = self.plan.folder.last_words(process_id);
        if last_words.contains("address already in use") {
            StartError::PortInUse {
                listen: self.plan.conf.listen,
            }
        } else {
            StartError::Exited { status, last_words }
        }
    }

    /// Waits for the end of the server.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        if let Some(process) = pid(child) {
            // Without reaping, which has to happen under the lock: see `State::process`.
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(process), ended), Err(Errno::INTR)) {}
        }
        self.reap(child)
    }

    fn has_ended(&self, child: &mut Child) -> Option<ExitStatus> {
        let mut state = self.shared.state();
        let status = child.try_wait().ok().flatten()?;
        state.process = None;
        Some(status)
    }

    fn reap(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut state = self.shared.state();
        let status = child.wait();
        state.process = None;
        self.shared.changed.notify_all();
        status
    }
}

/// None for a child that is no process: id 0 or beyond the system's numbers.
fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn greets_with_jetstream(address: SocketAddr) -> bool {
    let greeting = || -> io::Result<String> {
        let stream = TcpStream::connect_timeout(&address, PROBE_MAX)?;
        stream.set_read_timeout(Some(PROBE_MAX))?;
        let mut line = String::new();
        BufReader::new(stream.take(GREETING_LEN_BYTES_MAX)).read_line(&mut line)?;
        Ok(line)
    };
    greeting().is_ok_and(|line| has_jetstream(&line))
}

/// Whether the first line of a server says that JetStream is on.
pub(super) fn has_jetstream(line: &str) -> bool {
    line.strip_prefix("INFO ")
        .and_then(|json| serde_json::from_str(json).ok())
        .is_some_and(|Greeting { jetstream }| jetstream)
}
