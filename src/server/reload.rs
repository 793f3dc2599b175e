//! Files that are read again when they change; the taxonomy's first of all.

use std::{
    future::pending,
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::{
    fs,
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::routing::{
    source::TaxonomyError,
    taxonomy::{LiveTaxonomy, TAXONOMY_BYTES_MAX, Taxonomy},
};

/// Time between two looks at files. A look costs one `stat` each; notifications of the kernel would
/// miss what a container's volume or a network does.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells when files are to be read again.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    look: Interval,
    /// None if the system does not give it.
    hangup: Option<Signal>,
    /// How each file was at the last look, if there was one; `None` within is a file that is not
    /// there.
    seen: Option<Vec<Option<State>>>,
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    modified: SystemTime,
    len: u64,
}

/// Keeps the taxonomy as its file says.
#[derive(Debug)]
pub struct Reload {
    file: PathBuf,
    taxonomy: LiveTaxonomy,
}

/// Why the file can't be taken.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("the file can't be read")]
    Read(#[from] io::Error),
    #[error("the file has {0} bytes; at most 1 MiB is allowed")]
    TooLong(u64),
    #[error(transparent)]
    Taxonomy(#[from] TaxonomyError),
}

impl Watch {
    /// Looks at these files from now on.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::error!(%error, "SIGHUP can't be waited for"))
            .ok();
        Self {
            files,
            look,
            hangup,
            seen: None,
        }
    }

    /// Waits until a file is not as it was at the last look, which the first always finds, or until
    /// SIGHUP. Looks every second. Each state is told of once, not once a second.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                biased;
                // Asked for: they are read even if they look the same.
                () = hung_up(&mut self.hangup) => self.seen = None,
                // A tick that is dropped comes again.
                _ = self.look.tick() => {}
            }
            // Before they are read: what changes after this is found by the next look.
            let mut states = Vec::with_capacity(self.files.len());
            for file in &self.files {
                let metadata = fs::metadata(file).await;
                let state = metadata.and_then(|metadata| {
                    Ok(State {
                        modified: metadata.modified()?,
                        len: metadata.len(),
                    })
                });
                states.push(state.ok());
            }
            if self.seen.as_ref() != Some(&states) {
                self.seen = Some(states);
                return;
            }
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => pending().await,
    }
}

impl Reload {
    /// Follows a file, from which the taxonomy of now was read.
    pub fn new(file: PathBuf, taxonomy: LiveTaxonomy) -> Self {
        Self { file, taxonomy }
    }

    /// Reads the file when it changes, and at once on SIGHUP, until `stop`. A file that can't be
    /// used changes nothing: the taxonomy before it stays.
    pub async fn run(self, stop: CancellationToken) {
        let mut watch = Watch::new(vec![self.file.clone()]);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A change that is not seen now is seen by the next look.
                () = watch.changed() => {}
            }
            if let Err(error) = self.read().await {
                tracing::error!(
                    file = %self.file.display(), %error,
                    "the taxonomy can't be used; routing goes on with the one before"
                );
            }
        }
    }

    async fn read(&self) -> Result<(), ReloadError> {
        let len = fs::metadata(&self.file).await?.len();
        if usize::try_from(len).unwrap_or(usize::MAX) > TAXONOMY_BYTES_MAX {
            return Err(ReloadError::TooLong(len));
        }
        let text = fs::read_to_string(&self.file).await?;
        let parsed = spawn_blocking(move || Taxonomy::parse(&text)).await;
        let taxonomy = parsed.expect("reading a taxonomy does not panic")?;
        if taxonomy.version() != self.taxonomy.get().version() {
            let (version, topic_count) = (taxonomy.version(), taxonomy.entries().len());
            tracing::info!(file = %self.file.display(), version, topic_count, "taxonomy loaded");
            self.taxonomy.replace(taxonomy);
        }
        Ok(())
    }
}
