//! Error: why a publish was not accepted, and what the publisher can do.

use std::time::Duration;

use crate::{
    article::{ArticleId, Time, check::shown},
    fault::{Fault, Kind, wrong::Wrong},
    routing::RouteError,
    wire::{
        convert::time_to_proto,
        log::{ReadError, batch::AppendError, embargo::AHEAD_MAX},
    },
};

/// Why a publish was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The request id has been used for other content.
    #[error("the request id was used for other content")]
    RequestReused,
    /// Killed for good.
    #[error("the article is killed")]
    Killed,
    /// Withheld: only publish and kill go on from there.
    #[error("the article is withheld")]
    Withheld,
    /// Its first revision waits for its time.
    #[error("the article is under embargo")]
    Embargoed {
        /// Until then.
        until: Time,
    },
    /// It is a draft, and would take the place of another than was meant.
    #[error("another draft is there")]
    DraftExists {
        /// The sequence of that.
        seq: u64,
    },
    /// Its time is too far ahead.
    #[error("the embargo is too long")]
    EmbargoFar,
    /// There are too many drafts.
    #[error("no room for a draft: {}", .0.reason)]
    NoRoom(Fault),
    /// There is no such article.
    #[error("there is no such article")]
    Unknown {
        /// Which.
        id: ArticleId,
    },
    /// Not the newest revision.
    #[error("the newest revision is {newest}, not {expected}")]
    Conflict {
        /// What the publisher believed.
        expected: u32,
        /// What is; 0 for none.
        newest: u32,
    },
    /// Not the uri of revision 1.
    #[error("the uri is not that of revision 1")]
    UriMismatch {
        /// What revision 1 said.
        stored: String,
    },
    /// No language at revision 1.
    #[error("revision 1 names no language")]
    LanguageMissing,
    /// Not the language of revision 1.
    #[error("the language is not that of revision 1")]
    LanguageFixed {
        /// What revision 1 said.
        stored: String,
    },
    /// Its key may not.
    #[error("not granted: {}", .0.reason)]
    NotGranted(Fault),
    /// No way to route it.
    #[error("the article can't be routed")]
    Route(#[from] RouteError),
    /// The log can't be read.
    #[error("the log can't be read")]
    Read(#[from] ReadError),
    /// The log can't be written.
    #[error("the log can't be written")]
    Append(#[from] AppendError),
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

impl PublishError {
    /// What the publisher can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::RequestReused => Fault::field(
                "REQUEST_ID_REUSED",
                "request_id",
                "was used for other content; take a new one for new content",
            ),
            Self::Killed => Fault::new(
                Kind::Precondition,
                "ARTICLE_KILLED",
                "the article is killed for good; publish a new one",
            ),
            Self::Withheld => Fault::new(
                Kind::Precondition,
                "ARTICLE_WITHHELD",
                "the article is withheld; publish it in full to reinstate it, or kill it",
            ),
            Self::Embargoed { until } => {
                let until = time_to_proto(*until).to_string();
                let message = format!(
                    "the article is under embargo until {until}, and not on the wire yet; to change \
                     its draft send it with embargoed_until in the future, to break the embargo let \
                     the desk release it, to drop it kill it"
                );
                Fault::new(Kind::Precondition, "ARTICLE_EMBARGOED", message)
                    .with("embargoed_until", until)
            }
            Self::DraftExists { seq } => draft_exists(*seq),
            Self::EmbargoFar => {
                let days = AHEAD_MAX.as_secs() / 86_400;
                let wrong = Wrong::TooFar { days };
                Fault::field("FIELD_INVALID", "article.embargoed_until", wrong)
            }
            Self::NoRoom(fault) => fault.clone(),
            Self::Unknown { id } => {
                let message = format!("there is no article {id}; start it with publish");
                Fault::new(Kind::Missing, "ARTICLE_UNKNOWN", message)
            }
            Self::Conflict { expected, newest } => {
                let message = format!(
                    "expected_revision is {expected}, but the newest is {newest}; read the \
                     article and decide again"
                );
                Fault::new(Kind::Conflict, "REVISION_CONFLICT", message)
                    .with("newest_revision", newest.to_string())
            }
            Self::UriMismatch { stored } => {
                let stored = shown(stored);
                let message = format!("is fixed at revision 1 as {stored}; leave it empty");
                Fault::field("ID_URI_MISMATCH", "article.uri", message)
            }
            Self::LanguageMissing => {
                Fault::field("FIELD_INVALID", "article.language", Wrong::LanguageMissing)
            }
            Self::LanguageFixed { stored } => Fault::field(
                "LANGUAGE_FIXED",
                "article.language",
                Wrong::LanguageFixed {
                    stored: stored.clone(),
                },
            ),
            Self::NotGranted(fault) => fault.clone(),
            Self::Route(error) => error.fault(),
            Self::Read(error) => error.fault(),
            Self::Append(error) => error.fault(),
            Self::Stopping => Fault::unavailable(
                "DRAINING",
                "this node is stopping; send the same request to another one",
                Duration::ZERO,
            ),
        }
    }
}

fn draft_exists(seq: u64) -> Fault {
    let message = "another draft of the article waits; look at it, then decide";
    Fault::new(Kind::Conflict, "DRAFT_EXISTS", message).with("version", seq.to_string())
}
