//! Article, its identity, revisions and actions, and the limits of its fields.

use std::{fmt, num::NonZeroU32, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{access::author::Author, topic::Topic};

pub mod check;
pub mod text;

/// Most bytes of an encoded article.
pub const ARTICLE_BYTES_MAX: usize = 900 * 1024;
/// Most bytes of a body.
pub const BODY_BYTES_MAX: usize = 512 * 1024;
/// Most elements of an HTML body.
pub const HTML_ELEMENTS_MAX: usize = 2000;
/// Most character references of an HTML body.
pub const HTML_REFERENCES_MAX: usize = 100_000;
/// Most topics that a publisher may name, and most own topics of a revision.
pub const OWN_TOPICS_MAX: usize = 16;
/// Most entries of each other list of an article.
pub const LIST_MAX: usize = 64;
/// Most bytes of a URI.
pub const URI_BYTES_MAX: usize = 2048;

/// Identity of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArticleId(Uuid);

impl ArticleId {
    /// The id that a UUID is.
    pub fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id that a stable uri stands for: UUIDv5 (RFC 9562, namespace URL) of its exact bytes,
    /// or, of `urn:uuid:<id>`, the id itself.
    pub fn from_uri(uri: &str) -> Self {
        let given = Self::in_urn(uri);
        given.unwrap_or_else(|| Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, uri.as_bytes())))
    }

    /// The id of an article that has neither id nor uri: the one of `urn:uuid:<request id>` read
    /// as plain bytes, so that a retry means the same article.
    pub fn from_request(request: RequestId) -> Self {
        let urn = request.0.urn().to_string();
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, urn.as_bytes()))
    }

    /// The id that `urn:uuid:<id>` names.
    pub fn in_urn(uri: &str) -> Option<Self> {
        let text = uri.strip_prefix("urn:uuid:")?;
        text.parse().ok()
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ArticleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ArticleId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        hyphenated(text).map(Self)
    }
}

impl TryFrom<String> for ArticleId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ArticleId> for String {
    fn from(id: ArticleId) -> Self {
        id.to_string()
    }
}

/// Identity of a request to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// The id that a UUID is.
    pub fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id under which the draft that this request made is released: UUIDv5 in its namespace.
    #[must_use]
    pub fn of_release(self) -> Self {
        Self(Uuid::new_v5(&self.0, b"release"))
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        hyphenated(text).map(Self)
    }
}

/// A text that is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UUID in its hyphenated form is 36 characters, 8-4-4-4-12 hexadecimal digits")]
pub struct IdError;

fn hyphenated(text: &str) -> Result<Uuid, IdError> {
    // `Uuid` also reads braces, urns and bare digits: one form keeps ids comparable as text.
    if text.len() == 36 {
        Uuid::parse_str(text).map_err(|_| IdError)
    } else {
        Err(IdError)
    }
}

/// Number of a revision, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(NonZeroU32);

impl Revision {
    /// The first one.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The revision with this number, unless it is 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The one after it.
    ///
    /// # Panics
    /// After 4,294,967,295 revisions of one article.
    #[must_use]
    pub fn next(self) -> Self {
        Self(
            self.0
                .checked_add(1)
                .expect("an article has fewer than 2^32 revisions"),
        )
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// What a revision does to its story (IPTC pubStatus in brackets).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Starts or reinstates it (usable).
    Publish,
    /// More or newer text (usable).
    Update,
    /// Mends an error (usable).
    Correct,
    /// Takes it back for now (withheld).
    Withhold,
    /// Takes it back for good (canceled).
    Kill,
}

impl Action {
    /// The word in headers, events and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Update => "update",
            Self::Correct => "correct",
            Self::Withhold => "withhold",
            Self::Kill => "kill",
        }
    }

    /// Whether its record is a notice: no text of the story, only that and why it is withdrawn.
    pub fn is_notice(self) -> bool {
        match self {
            Self::Withhold | Self::Kill => true,
            Self::Publish | Self::Update | Self::Correct => false,
        }
    }

    /// Whether it must give its reason in the edition note.
    pub fn needs_note(self) -> bool {
        match self {
            Self::Correct | Self::Withhold | Self::Kill => true,
            Self::Publish | Self::Update => false,
        }
    }
}

/// How a revision's own topics are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// By what the publisher states, and by the text.
    #[default]
    Inferred,
    /// Only by what the publisher states: topics and subject codes.
    Stated,
}

/// IPTC urgency, 1 (flash) to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Urgency(u8);

/// A number that is no urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an urgency is a number from 1 to 9")]
pub struct UrgencyError;

impl TryFrom<u32> for Urgency {
    type Error = UrgencyError;

    fn try_from(number: u32) -> Result<Self, UrgencyError> {
        Self::new(number).ok_or(UrgencyError)
    }
}

impl From<Urgency> for u32 {
    fn from(urgency: Urgency) -> Self {
        urgency.0.into()
    }
}

impl Urgency {
    /// What an article has that names none.
    pub const DEFAULT: Self = Self(5);

    /// The urgency with this number, if it is one.
    pub fn new(number: u32) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (1..=9).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A set of urgencies: all that an article ever had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Urgencies(u32);

impl Urgencies {
    /// The set of these bits, bit n for urgency n.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set with one more.
    #[must_use]
    pub fn with(self, urgency: Urgency) -> Self {
        Self(self.0 | 1 << urgency.get())
    }

    /// Whether one of them is as urgent as `least` or more.
    pub fn reach(self, least: Urgency) -> bool {
        // Bits 0 to `least`: the lower the number, the more urgent.
        self.0 & ((2 << least.get()) - 1) != 0
    }
}

/// A well-formed BCP 47 tag, as its publisher wrote it; compared without case.
#[derive(Clone, Debug)]
pub struct Language(Arc<str>);

impl Language {
    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Language {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Language {}

/// A text that is not a language tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a language is a well-formed BCP 47 tag of at most 35 bytes, such as ar or ar-EG")]
pub struct LanguageError;

impl FromStr for Language {
    type Err = LanguageError;

    fn from_str(text: &str) -> Result<Self, LanguageError> {
        if text.len() > 35 {
            return Err(LanguageError);
        }
        oxilangtag::LanguageTag::parse(text).map_err(|_| LanguageError)?;
        Ok(Self(text.into()))
    }
}

/// A point of time of the years 1900 to 9999, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    seconds: i64,
    nanos: i32,
}

impl Time {
    /// 1900-01-01T00:00:00Z in seconds from 1970.
    const SECONDS_MIN: i64 = -2_208_988_800;
    /// 9999-12-31T23:59:59Z.
    pub const SECONDS_MAX: i64 = 253_402_300_799;

    /// The time at these seconds from 1970 and nanoseconds, if it lies within the bounds.
    pub fn new(seconds: i64, nanos: i32) -> Option<Self> {
        let good = (Self::SECONDS_MIN..=Self::SECONDS_MAX).contains(&seconds)
            && (0..1_000_000_000).contains(&nanos);
        good.then_some(Self { seconds, nanos })
    }

    /// Seconds from 1970.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// All of it in nanoseconds from 1970.
    pub fn unix_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }

    /// Nanoseconds of the second.
    pub fn nanos(self) -> i32 {
        self.nanos
    }
}

/// The form of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyType {
    /// Plain text.
    #[default]
    Text,
    /// Sanitised HTML.
    Html,
}

/// A place that a story is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name as printed.
    pub name: String,
    /// Absolute URI, or empty.
    pub uri: String,
}

/// What a link's target is to the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRelation {
    /// The story's own page.
    Canonical,
    /// A picture, film or sound of the story.
    Rendition,
    /// A story to read beside it.
    Related,
    /// The article that this one translates.
    TranslationOf,
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkTarget {
    /// An absolute URL.
    Href(String),
    /// Another article of this wire.
    Article(ArticleId),
}

/// Something that a story points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What the target is.
    pub relation: LinkRelation,
    /// Where it is.
    pub target: LinkTarget,
    /// Media type of a rendition, or empty.
    pub content_type: String,
    /// Title as printed, or empty.
    pub title: String,
}

/// A story as one revision has it, every field within its limits. `proto/barid/v1/article.proto`
/// describes the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Article {
    /// The agency's own id, or empty.
    pub uri: String,
    /// Empty in notices only.
    pub headline: String,
    /// May be empty.
    pub subheadline: String,
    /// May be empty.
    pub slugline: String,
    /// May be empty.
    pub body: String,
    /// Form of the body.
    pub body_type: BodyType,
    /// May be empty.
    pub byline: String,
    /// Dateline; may be empty.
    pub located: String,
    /// None in a request means unchanged.
    pub language: Option<Language>,
    /// As the publisher named them.
    pub topics: Vec<Topic>,
    /// IPTC media topic codes, eight digits each.
    pub subjects: Vec<String>,
    /// What it is about.
    pub places: Vec<Place>,
    /// None means 5.
    pub urgency: Option<Urgency>,
    /// Reason of a correction, withholding or kill.
    pub edition_note: String,
    /// Whose news it is.
    pub source: String,
    /// Terms of use.
    pub usage_terms: String,
    /// When the story was first written.
    pub first_created: Option<Time>,
    /// When this revision was written.
    pub version_created: Option<Time>,
    /// Not to be shown before.
    pub embargoed_until: Option<Time>,
    /// Not to be shown after.
    pub expires: Option<Time>,
    /// What it points to.
    pub links: Vec<Link>,
}

impl Article {
    /// The notice of a withdrawal: uri, language, urgency, reason and times, nothing of the text.
    #[must_use]
    pub fn into_notice(self) -> Self {
        Self {
            uri: self.uri,
            language: self.language,
            urgency: self.urgency,
            edition_note: self.edition_note,
            first_created: self.first_created,
            version_created: self.version_created,
            ..Self::default()
        }
    }
}

/// What a publisher asks for, every field within its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Makes a retry harmless.
    pub request_id: RequestId,
    /// SHA-256 of the request's content.
    pub digest: [u8; 32],
    /// The article that is meant.
    pub article_id: ArticleId,
    /// The revision that the publisher believes to be the newest, 0 for none.
    pub expected_revision: Option<u32>,
    /// What to do.
    pub action: Action,
    /// With what content.
    pub article: Article,
    /// How its topics are found.
    pub routing: Routing,
    /// Who hands it in.
    pub author: Author,
    /// W3C trace context that the revision goes on in, or empty.
    pub traceparent: String,
    /// The draft that it may take the place of, if it is one itself: by its sequence, 0 = none may be
    /// there; none = whichever is.
    pub replaces: Option<u64>,
}

#[cfg(test)]
mod tests;
