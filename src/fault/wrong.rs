//! Wrong: which rule a field breaks, with what is told of it. Its text is the API's message; the
//! dashboard has words of its own for whoever writes in a form.

use std::fmt;

use crate::{
    access::partner::NameError,
    article::{Action, IdError, LanguageError},
    filter::RangeError,
    topic::{Topic, TopicError},
    webhook::IdError as WebhookIdError,
};

/// Characters of a bad value that are shown.
const SHOWN_CHARS_MAX: usize = 40;

/// A value as errors show it: escaped and cut. Its text form is quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

/// What there may be only so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Characters of a text.
    Characters,
    /// Bytes of a text.
    Bytes,
    /// Entries of a list.
    Entries,
    /// Elements of an HTML text.
    Elements,
    /// Character references of an HTML text.
    References,
}

/// Which rule a field breaks: the value, the rule, the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// What no editor writes in a form: in the API's words alone.
    #[error("{0}")]
    Told(String),
    /// There is too much of it.
    #[error("has {count} {unit}; at most {max} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
        /// Of what.
        unit: Unit,
    },
    /// The article as a whole is too large.
    #[error("has {count} bytes encoded; at most {max}")]
    TooLarge {
        /// Bytes that it has.
        count: usize,
        /// Bytes that it may have.
        max: usize,
    },
    /// A character that nobody sees.
    #[error(
        "{value} holds the control character U+{:04X}, which can disguise text; remove it",
        u32::from(*.char)
    )]
    Control {
        /// The text.
        value: Quoted,
        /// The first such character.
        char: char,
    },
    /// No URI.
    #[error("{value} is not an absolute URI")]
    NoUri {
        /// What it is.
        value: Quoted,
    },
    /// No URL that a reader may be sent to.
    #[error("{value} must be an absolute http, https or urn URL")]
    NoUrl {
        /// What it is.
        value: Quoted,
    },
    /// An article without a headline.
    #[error("is empty; an article needs a headline")]
    NoHeadline,
    /// A correction or withdrawal without a reason.
    #[error("is empty; a {} must give its reason", .action.as_str())]
    NoReason {
        /// Which of them.
        action: Action,
    },
    /// No urgency.
    #[error("{} is not 1 (flash) to 9", .value.text())]
    NoUrgency {
        /// What it is.
        value: Quoted,
    },
    /// A first revision without a language.
    #[error("is empty; a new article needs its language, such as ar or en")]
    LanguageMissing,
    /// No language.
    #[error("{value}: {LanguageError}")]
    NoLanguage {
        /// What it is.
        value: Quoted,
    },
    /// Another language than that of the first revision.
    #[error("is fixed at {stored}; publish a translation as another article")]
    LanguageFixed {
        /// That of the first revision.
        stored: String,
    },
    /// No range of languages.
    #[error("{value}: {RangeError}")]
    NoRange {
        /// What it is.
        value: Quoted,
    },
    /// No word to look for.
    #[error("{value} is not a word of 1 to 64 characters")]
    NoWord {
        /// What it is.
        value: Quoted,
    },
    /// No topic's path.
    #[error("{value}: {TopicError}")]
    NoTopic {
        /// What it is.
        value: Quoted,
    },
    /// A topic that the taxonomy does not have.
    #[error("{unknown} is not in the taxonomy; the nearest topic is {nearest}")]
    TopicUnknown {
        /// Which.
        unknown: Topic,
        /// What may be meant.
        nearest: Topic,
    },
    /// No code of a media topic.
    #[error("{value} is not an IPTC media topic code: eight digits, medtop: before them or not")]
    NoSubject {
        /// What it is.
        value: Quoted,
    },
    /// A place without a name.
    #[error("is empty; name the place")]
    NoPlace,
    /// No time.
    #[error("{value} is not a time such as 2026-12-24T18:00")]
    NoTime {
        /// What it is.
        value: Quoted,
    },
    /// A time that is over.
    #[error("is over already; give a time in the future, in UTC, or none")]
    Over,
    /// It ends before anybody may see it.
    #[error("is not after embargoed_until; nobody would ever see it")]
    ExpiresUnseen,
    /// An embargo that is too long.
    #[error("lies more than {days} days ahead; take an earlier time")]
    TooFar {
        /// How long it may be.
        days: u64,
    },
    /// No time to move a draft to.
    #[error("is missing, or not a time of 1900 to 9999")]
    NoUntil,
    /// A time to which a draft can't be moved.
    #[error(
        "does not lie ahead, or by more than {days} days; to let the draft out now, release it"
    )]
    NotAhead {
        /// How far it may lie ahead.
        days: u64,
    },
    /// A draft would be out only when its story is none any more.
    #[error(
        "is not before {end}, when the story expires; take an earlier time, or send the draft anew \
         with another article.expires"
    )]
    AfterExpiry {
        /// When it expires, in the form of RFC 3339.
        end: String,
    },
    /// Another story has the identifier.
    #[error("another story has this identifier; revise that one, or give another")]
    NameTaken,
    /// A draft has the identifier.
    #[error(
        "a draft under embargo has this identifier; tick below that yours is to take its place, or \
         give another"
    )]
    NameHasDraft,
    /// A draft of the story waits.
    #[error(
        "a draft of this story waits already; look at it among those under embargo, and tick below \
         that yours is to take its place"
    )]
    StoryHasDraft,
    /// What can't be taken back is not confirmed.
    #[error("is not ticked")]
    Unticked,
    /// No article's id.
    #[error("{value} is not an id: {IdError}")]
    NoId {
        /// What it is.
        value: Quoted,
    },
    /// No webhook's id.
    #[error("{value}: {WebhookIdError}")]
    NoWebhook {
        /// What it is.
        value: Quoted,
    },
    /// No partner's name.
    #[error("{value}: {NameError}")]
    NoPartner {
        /// What it is.
        value: Quoted,
    },
}

impl Quoted {
    /// A value, escaped and cut.
    pub fn of(value: &str) -> Self {
        let cut: String = value.chars().take(SHOWN_CHARS_MAX).collect();
        let ellipsis = if cut.len() < value.len() { "…" } else { "" };
        let escaped = cut.chars().map(|char| {
            if char.is_control() || is_bidi_control(char) {
                char.escape_unicode().to_string()
            } else {
                char.to_string()
            }
        });
        Self(escaped.chain([ellipsis.to_owned()]).collect())
    }

    /// It without quotation marks.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Characters => "characters",
            Self::Bytes => "bytes",
            Self::Entries => "entries",
            Self::Elements => "elements",
            Self::References => "character references",
        })
    }
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self::Told(message)
    }
}

impl From<&str> for Wrong {
    fn from(message: &str) -> Self {
        Self::Told(message.to_owned())
    }
}

/// Embeddings, overrides and isolates: they reorder what follows them.
pub fn is_bidi_control(char: char) -> bool {
    matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
