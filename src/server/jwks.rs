//! The public keys of an authority of tokens, out of a file or from the web, kept up to date.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, StatusCode, redirect::Policy};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    access::token::{KEYS_BYTES_MAX, KeySet, KeySetError},
    gate::tokens::Tokens,
    server::reload::Watch,
};

/// Time between two looks at an address.
const FETCH_EVERY: Duration = Duration::from_secs(300);
/// Least time between two, also when tokens name keys that are not known, or when one fails.
const FETCH_PAUSE: Duration = Duration::from_secs(5);
/// How long an address may take to answer.
const FETCH_PATIENCE: Duration = Duration::from_secs(10);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, which is read again when it changes.
    File(PathBuf),
    /// An address.
    Url(Url),
}

/// Keys on their way into a node.
#[derive(Clone, Debug)]
pub struct Jwks {
    source: Source,
    tokens: Tokens,
}

/// Why keys can't be had.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file can't be read.
    #[error("can't read the keys in {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too large.
    #[error("the keys have more than {KEYS_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no set of keys.
    #[error("{of} {source}")]
    Content {
        /// The file or address.
        of: String,
        /// Why.
        source: KeySetError,
    },
    /// The address does not answer.
    #[error("the keys can't be fetched")]
    Fetch(#[from] reqwest::Error),
    /// It answers with something else.
    #[error("the address of the keys answers {0}")]
    Status(StatusCode),
}

impl Jwks {
    /// Keys for tokens. Those of a file are read now; an address is asked once the node runs.
    ///
    /// # Errors
    /// [`JwksError`] of a file.
    pub fn load(source: Source, tokens: Tokens) -> Result<Self, JwksError> {
        if let Source::File(path) = &source {
            tokens.set(read(path)?);
        }
        Ok(Self { source, tokens })
    }

    /// What they are for.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Keeps the keys up to date until `stop`. What can't be used changes nothing but the log.
    pub async fn run(self, stop: CancellationToken) {
        let follow = async {
            match &self.source {
                Source::File(path) => self.follow_file(path).await,
                Source::Url(url) => self.follow_url(url).await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            // What was being read is read again by the next node.
            () = follow => {}
        }
    }

    async fn follow_file(&self, path: &Path) {
        let mut watch = Watch::new(vec![path.to_owned()]);
        loop {
            watch.changed().await;
            let file = path.to_owned();
            let read = spawn_blocking(move || read(&file)).await;
            self.take(read.expect("reading keys does not panic"));
        }
    }

    async fn follow_url(&self, url: &Url) {
        let client = Client::builder()
            .timeout(FETCH_PATIENCE)
            // Who is trusted is who is named.
            .redirect(Policy::none())
            .user_agent(concat!("barid/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "the keys of tokens can't be fetched on this machine");
                return std::future::pending().await;
            }
        };
        loop {
            let began = Instant::now();
            let is_good = self.take(fetch(&client, url).await);
            sleep_until(began + FETCH_PAUSE).await;
            if is_good {
                tokio::select! {
                    biased;
                    // One that came meanwhile is remembered.
                    () = self.tokens.unknown() => {}
                    () = sleep_until(began + FETCH_EVERY) => {}
                }
            }
        }
    }

    fn take(&self, keys: Result<KeySet, JwksError>) -> bool {
        match keys {
            Ok(keys) => {
                tracing::debug!(count = keys.count(), "keys of tokens");
                self.tokens.set(keys);
                true
            }
            Err(error) => {
                let error: &(dyn Error + 'static) = &error;
                tracing::error!(error, "the keys of tokens can't be used; those before stay");
                false
            }
        }
    }
}

fn read(path: &Path) -> Result<KeySet, JwksError> {
    let failed = |source| JwksError::Read {
        path: path.to_owned(),
        source,
    };
    let len = fs::metadata(path).map_err(failed)?.len();
    if usize::try_from(len).unwrap_or(usize::MAX) > KEYS_BYTES_MAX {
        return Err(JwksError::TooLarge);
    }
    let bytes = fs::read(path).map_err(failed)?;
    KeySet::parse(&bytes).map_err(|source| JwksError::Content {
        of: path.display().to_string(),
        source,
    })
}

async fn fetch(client: &Client, url: &Url) -> Result<KeySet, JwksError> {
    let mut answer = client.get(url.clone()).send().await?;
    if answer.status() != StatusCode::OK {
        return Err(JwksError::Status(answer.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if bytes.len() + chunk.len() > KEYS_BYTES_MAX {
            return Err(JwksError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    KeySet::parse(&bytes).map_err(|source| JwksError::Content {
        of: url.to_string(),
        source,
    })
}
