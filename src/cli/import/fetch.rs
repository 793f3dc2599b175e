//! Feeds from the web: conditional requests, within bounds.

use std::time::Duration;

use http::{
    StatusCode,
    header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};
use jiff::Timestamp;
use reqwest::{Client, Response};

use crate::wire::outbound::retry_after;

/// Most bytes of a feed, unpacked.
pub const FEED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest time that a server may ask to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Who asks.
const USER_AGENT: &str = concat!("barid/", env!("CARGO_PKG_VERSION"), " (barid import)");

/// One feed on the web, and what is known of its last state.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    /// Where it is.
    pub url: String,
    etag: Option<String>,
    last_modified: Option<String>,
}

/// What a feed answers.
#[derive(Debug)]
pub enum Fetched {
    /// All of it.
    New(Vec<u8>),
    /// It is as it was.
    Unchanged,
    /// It is gone for good.
    Gone,
}

/// Why a feed can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody answers, or too late.
    #[error("can't be fetched")]
    Unreachable(#[from] reqwest::Error),
    /// An answer that is no feed.
    #[error("answers {status}")]
    Refused {
        /// With what.
        status: StatusCode,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// It does not end.
    #[error("has more than {FEED_BYTES_MAX} bytes")]
    TooLarge,
}

impl FetchError {
    /// When to come back, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable(_) | Self::TooLarge => None,
        }
    }
}

/// A client for all feeds.
///
/// # Errors
/// The system's certificates can't be read.
pub fn client() -> Result<Client, FetchError> {
    let client = Client::builder().user_agent(USER_AGENT).timeout(PATIENCE);
    Ok(client.build()?)
}

impl Remote {
    /// A feed of which nothing is known.
    pub fn new(client: Client, url: String) -> Self {
        Self {
            client,
            url,
            etag: None,
            last_modified: None,
        }
    }

    /// Fetches it, unless it is as it was. `now` is the time of day, for a server that names one.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&mut self, now: Timestamp) -> Result<Fetched, FetchError> {
        let mut request = self.client.get(&self.url);
        if let Some(etag) = &self.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(last_modified) = &self.last_modified {
            request = request.header(IF_MODIFIED_SINCE, last_modified);
        }
        let answer = request.send().await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => return Ok(Fetched::Unchanged),
            StatusCode::GONE => return Ok(Fetched::Gone),
            status if !status.is_success() => {
                let retry_after = retry_after(answer.headers(), now);
                let retry_after = retry_after.map(|wait| wait.min(RETRY_AFTER_MAX));
                return Err(FetchError::Refused {
                    status,
                    retry_after,
                });
            }
            _ => {}
        }
        let (etag, last_modified) = (
            field(&answer, ETAG.as_str()),
            field(&answer, LAST_MODIFIED.as_str()),
        );
        let bytes = whole(answer).await?;
        // Only now: what did not come whole must come again.
        (self.etag, self.last_modified) = (etag, last_modified);
        Ok(Fetched::New(bytes))
    }

    /// Forgets its last state: what it said was not taken.
    pub fn forget(&mut self) {
        (self.etag, self.last_modified) = (None, None);
    }
}

async fn whole(mut answer: Response) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if bytes.len() + chunk.len() > FEED_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn field(answer: &Response, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?;
    value.to_str().ok().map(str::to_owned)
}
