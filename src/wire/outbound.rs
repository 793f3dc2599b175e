//! Outbound: calls to addresses that outsiders name, so that nobody reaches by this node what only
//! this node can reach.
//!
//! A name is looked up once for a connection; all of its addresses are checked, and the connection
//! goes to one of those that were checked. An address that stands in the URL is checked as it
//! stands there. Nothing is followed, no proxy is asked, and what is answered is read to a bound.

use std::{
    error::Error as StdError,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use tokio::{net::lookup_host, time::timeout};

use crate::target::{Target, TargetError, address::is_public};

/// Most bytes that are read of an answer.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long a call may take in all, from the lookup to the answer's last byte.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection may take to stand, its lookup and TLS included: less than a call, so that who
/// was never reached is told from who does not answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a name's lookup may take: it goes on when the call that asked for it is given up.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next call of the same host; one for each.
const IDLE: Duration = Duration::from_secs(30);
/// Who calls.
const USER_AGENT: &str = concat!("barid/", env!("CARGO_PKG_VERSION"));

/// Which targets are called beyond those of the public internet by TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dangers {
    /// Plain HTTP.
    pub http: bool,
    /// Addresses of this machine and of networks of its own.
    pub internal: bool,
}

/// Calls targets; clones share connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client,
    dangers: Dangers,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// How.
    pub method: Method,
    /// Whom.
    pub target: &'a Target,
    /// With what.
    pub headers: HeaderMap,
    /// And what.
    pub body: Bytes,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// With what.
    pub status: StatusCode,
    /// When to come back, as it asks.
    pub retry_after: Option<Duration>,
    /// The beginning of what it says: at most [`ANSWER_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The target is not called.
    #[error("the target {0}")]
    Refused(TargetError),
    /// No whole answer came in time.
    #[error("no answer came within {} s", PATIENCE.as_secs())]
    Late,
    /// There is nobody: nothing was sent.
    #[error("the target can't be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It was sent, and no whole answer in HTTP came.
    #[error("the connection broke before an answer")]
    Broken(#[source] reqwest::Error),
}

impl CallError {
    /// What went wrong, for whoever owns the target; never with its path, which may be secret.
    pub fn reason(&self) -> String {
        match self {
            Self::Refused(_) | Self::Late => self.to_string(),
            Self::Unreachable(error) if error.is_timeout() => {
                let seconds = CONNECT_PATIENCE.as_secs();
                format!("no connection was made within {seconds} s")
            }
            Self::Unreachable(error) | Self::Broken(error) => causes(error)
                .last()
                .map_or_else(|| self.to_string(), ToString::to_string),
        }
    }
}

/// Passes on only addresses that may be called: it is all that the client connects to.
struct Guard {
    resolver: Arc<dyn Resolve>,
    dangers: Dangers,
}

/// The system's own lookup.
struct System;

impl Outbound {
    /// Calls by the system's own lookups.
    ///
    /// # Errors
    /// The system's certificates can't be read.
    pub fn new(dangers: Dangers) -> Result<Self, reqwest::Error> {
        Self::with_resolver(dangers, Arc::new(System))
    }

    /// Calls by other lookups.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with_resolver(
        dangers: Dangers,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .timeout(PATIENCE)
            .connect_timeout(CONNECT_PATIENCE)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            // What is read is what was sent: no small answer grows beyond the bound.
            .no_gzip()
            .https_only(!dangers.http)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .dns_resolver(Arc::new(Guard { resolver, dangers }))
            .build()?;
        Ok(Self { client, dangers })
    }

    /// Whether a target may be called, as far as it can be told without a lookup.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn check(&self, target: &Target) -> Result<(), TargetError> {
        if target.is_plain() && !self.dangers.http {
            return Err(TargetError::Plain);
        }
        match target.address() {
            // It goes past every lookup.
            Some(address) if !self.dangers.internal && !is_public(address) => {
                Err(TargetError::Internal(address))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Makes one call; `now` is what dates of answers are measured from.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, call: Call<'_>, now: Timestamp) -> Result<Answer, CallError> {
        self.check(call.target).map_err(CallError::Refused)?;
        let request = self
            .client
            .request(call.method, call.target.url().clone())
            .headers(call.headers)
            .body(call.body);
        let mut answer = request.send().await.map_err(CallError::from)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(CallError::from)? {
            let room = ANSWER_BYTES_MAX - body.len();
            body.extend(chunk.iter().take(room));
            if chunk.len() >= room {
                // The connection ends with the answer: the rest is nobody's.
                break;
            }
        }
        Ok(Answer {
            status: answer.status(),
            retry_after: retry_after(answer.headers(), now),
            body,
        })
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        let refused = causes(&error).find_map(|cause| cause.downcast_ref::<TargetError>());
        match refused {
            Some(refused) => Self::Refused(refused.clone()),
            None if error.is_connect() || error.is_builder() => {
                Self::Unreachable(error.without_url())
            }
            None if error.is_timeout() => Self::Late,
            None => Self::Broken(error.without_url()),
        }
    }
}

/// An error and what it comes from.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, dangers) = (self.resolver.resolve(name), self.dangers);
        Box::pin(async move {
            let Ok(found) = timeout(LOOKUP_PATIENCE, found).await else {
                let seconds = LOOKUP_PATIENCE.as_secs();
                let message = format!("the target's name was not found within {seconds} s");
                // No time-out of the call, which would be told of as a late answer.
                return Err(io::Error::new(ErrorKind::NotFound, message).into());
            };
            let found: Vec<SocketAddr> = found?.collect();
            // All of them: of a name with one address inside, none is to be trusted.
            let inside = found.iter().find(|one| !is_public(one.ip()));
            if let Some(one) = inside.filter(|_| !dangers.internal) {
                return Err(TargetError::Internal(one.ip()).into());
            }
            if found.is_empty() {
                return Err(TargetError::Nowhere.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The client puts the port in.
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// How long an answer asks to be left alone: in seconds, or by a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = rfc2822::parse(text).ok()?.timestamp();
            Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests;
