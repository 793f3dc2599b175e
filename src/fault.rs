//! Fault: what the caller can do about an error, in words that are safe to show.

use std::time::Duration;

use crate::fault::wrong::Wrong;

pub mod wrong;

/// What went wrong, cut by what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody knows who asks: show a key.
    Unauthenticated,
    /// Whoever asks may not: ask for a grant.
    Forbidden,
    /// The request can never succeed: mend the named fields.
    Invalid,
    /// This release does not do it.
    Unsupported,
    /// The thing does not exist.
    Missing,
    /// There is one already.
    Exists,
    /// Somebody else was faster: read again, decide again.
    Conflict,
    /// The thing is in a state that forbids it.
    Precondition,
    /// A place beyond the end of the log.
    OutOfRange,
    /// A quota or a disk is full.
    Exhausted,
    /// Not now: send the same request again after a while.
    Unavailable,
    /// Ours to mend.
    Bug,
}

/// One field that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, `article.headline`.
    pub field: String,
    /// The value, the rule, the remedy.
    pub wrong: Wrong,
}

/// An error as its caller may see it: no causes, hosts or keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the caller can do.
    pub kind: Kind,
    /// Stable and machine-readable, `TOPIC_UNKNOWN`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The fields at fault, if any.
    pub violations: Vec<Violation>,
    /// Facts for programs, such as the nearest known topic.
    pub metadata: Vec<(&'static str, String)>,
    /// When to try again, for [`Kind::Unavailable`] and [`Kind::Exhausted`].
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault without details.
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason,
            message: message.into(),
            violations: Vec::new(),
            metadata: Vec::new(),
            retry_after: None,
        }
    }

    /// One field at fault.
    pub fn field(reason: &'static str, field: &str, wrong: impl Into<Wrong>) -> Self {
        Self::fields(
            reason,
            vec![Violation {
                field: field.to_owned(),
                wrong: wrong.into(),
            }],
        )
    }

    /// Several fields at fault; the first gives the message.
    pub fn fields(reason: &'static str, violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [] => "the request is malformed".to_owned(),
            [only] => format!("{}: {}", only.field, only.wrong),
            [first, rest @ ..] => {
                format!("{}: {} (and {} more)", first.field, first.wrong, rest.len())
            }
        };
        Self {
            violations,
            ..Self::new(Kind::Invalid, reason, message)
        }
    }

    /// A passing fault, with the time after which the same request may succeed.
    pub fn unavailable(
        reason: &'static str,
        message: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Kind::Unavailable, reason, message)
        }
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }
}
