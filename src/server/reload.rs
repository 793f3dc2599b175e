//! The taxonomy's file, read again when it changes.

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::{
    fs,
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::routing::{
    source::TaxonomyError,
    taxonomy::{LiveTaxonomy, TAXONOMY_BYTES_MAX, Taxonomy},
};

/// Time between two looks at the file. A look costs one `stat`; notifications of the kernel would
/// miss what a container's volume or a network does.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps the taxonomy as its file says.
#[derive(Debug)]
pub struct Reload {
    file: PathBuf,
    taxonomy: LiveTaxonomy,
    /// How the file was at the last look, if there was one; `None` within is a file that is not
    /// there.
    seen: Option<Option<State>>,
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    modified: SystemTime,
    len: u64,
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

impl Reload {
    /// Follows a file, from which the taxonomy of now was read.
    pub fn new(file: PathBuf, taxonomy: LiveTaxonomy) -> Self {
        Self {
            file,
            taxonomy,
            seen: None,
        }
    }

    /// Looks at the file every second, and at once on SIGHUP, until `stop`. A file that can't be
    /// used changes nothing: the taxonomy before it stays.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                tracing::error!(%error, "SIGHUP can't be waited for; the taxonomy stays as it is");
                return stop.cancelled().await;
            }
        };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Asked for: read it even if it looks the same.
                _ = hangup.recv() => self.seen = None,
                // A tick that is dropped comes again.
                _ = look.tick() => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(
                    file = %self.file.display(), %error,
                    "the taxonomy can't be used; routing goes on with the one before"
                );
            }
        }
    }

    /// Reads the file if it is not as it was at the last look.
    async fn look(&mut self) -> Result<(), ReloadError> {
        // Before the text: what changes after this is found by the next look.
        let metadata = fs::metadata(&self.file).await;
        let state = metadata.and_then(|metadata| {
            Ok(State {
                modified: metadata.modified()?,
                len: metadata.len(),
            })
        });
        let found = state.as_ref().ok().copied();
        if self.seen == Some(found) {
            return Ok(());
        }
        // Whatever comes of it: each state of the file is spoken of once, not once a second.
        self.seen = Some(found);
        let len = state?.len;
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
