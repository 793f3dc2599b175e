//! Filter: what a subscriber wants, and whether a revision is it.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::{
    article::{Action, Language, Revision, Urgencies, Urgency},
    topic::Topic,
};

/// Most topics in a filter.
pub const TOPICS_MAX: usize = 64;
/// Most language ranges in a filter.
pub const LANGUAGES_MAX: usize = 16;
/// Most words in a filter.
pub const WORDS_MAX: usize = 16;
/// Most characters of a word in a filter.
pub const WORD_CHARS_MAX: usize = 64;

/// A basic language range (RFC 4647 section 2.1): a tag's beginning, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LanguageRange(String);

/// A text that is not a language range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a language range is * or 1 to 8 letters, then parts of 1 to 8 letters or digits after '-'"
)]
pub struct RangeError;

impl LanguageRange {
    /// Whether a tag begins with this range, by whole parts (RFC 4647 section 3.3.1).
    pub fn matches(&self, language: &Language) -> bool {
        self.begins(language.as_str())
    }

    /// Whether it matches all that another range matches.
    pub fn covers(&self, other: &Self) -> bool {
        self.begins(&other.0)
    }

    /// The range as text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn begins(&self, tag: &str) -> bool {
        let (range, tag) = (self.0.as_bytes(), tag.as_bytes());
        range == b"*"
            || tag
                .get(..range.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(range))
                && tag.get(range.len()).is_none_or(|next| *next == b'-')
    }
}

impl TryFrom<String> for LanguageRange {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl From<LanguageRange> for String {
    fn from(range: LanguageRange) -> Self {
        range.0
    }
}

impl std::str::FromStr for LanguageRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let mut parts = text.split('-');
        let first = parts.next().unwrap_or_default();
        let good = |part: &str, is_good: fn(&u8) -> bool| {
            (1..=8).contains(&part.len()) && part.as_bytes().iter().all(is_good)
        };
        let is_range = good(first, u8::is_ascii_alphabetic)
            && parts.all(|part| good(part, u8::is_ascii_alphanumeric));
        if (is_range && text.len() <= 35) || text == "*" {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(RangeError)
        }
    }
}

/// What a subscriber wants; all given parts must match. Equal filters compare equal, however they
/// were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Each covers itself and all beneath; none = the whole wire.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub topics: BTreeSet<Topic>,
    /// None = any language.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub languages: BTreeSet<LanguageRange>,
    /// Least urgent wanted; none = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// Normalised words that must all occur.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub words: BTreeSet<String>,
}

/// What a filter looks at, but for the text.
#[derive(Clone, Copy, Debug)]
pub struct Facets<'a> {
    /// All topics of the revision.
    pub topics: &'a [Topic],
    /// Its language.
    pub language: &'a Language,
    /// All urgencies that the article ever had.
    pub urgencies: Urgencies,
    /// What the revision did.
    pub action: Action,
    /// Which revision.
    pub revision: Revision,
}

impl Facets<'_> {
    /// Whether words may hold the revision back: a recall, or the return of a recalled story,
    /// goes to all whom the other parts let it reach.
    fn words_count(&self) -> bool {
        match self.action {
            Action::Update => true,
            // A publish beyond the first revision reinstates.
            Action::Publish => self.revision == Revision::FIRST,
            Action::Correct | Action::Withhold | Action::Kill => false,
        }
    }
}

impl Filter {
    /// What no article is: what is left of a filter of which nothing is granted any more.
    pub fn nothing() -> Self {
        let topic = "nothing-is-granted".parse().expect("a good topic");
        let language = "zxx-nothing".parse().expect("a good range");
        Self {
            topics: [topic].into(),
            languages: [language].into(),
            ..Self::default()
        }
    }

    /// Whether a revision matches. `words` gives the words of its text and is asked only when they
    /// decide.
    pub fn matches<'a>(
        &self,
        facets: &Facets<'_>,
        words: impl FnOnce() -> &'a HashSet<String>,
    ) -> bool {
        self.matches_facets(facets) && (!self.needs_words(facets) || self.matches_words(words()))
    }

    /// Whether all but the text of a revision matches.
    pub fn matches_facets(&self, facets: &Facets<'_>) -> bool {
        let covered = |topic: &Topic| self.topics.iter().any(|wanted| wanted.covers(topic));
        let spoken = |range: &LanguageRange| range.matches(facets.language);
        (self.topics.is_empty() || facets.topics.iter().any(covered))
            && (self.languages.is_empty() || self.languages.iter().any(spoken))
            && self
                .urgency
                .is_none_or(|least| facets.urgencies.reach(least))
    }

    /// Whether the text of a revision decides.
    pub fn needs_words(&self, facets: &Facets<'_>) -> bool {
        !self.words.is_empty() && facets.words_count()
    }

    fn matches_words(&self, text: &HashSet<String>) -> bool {
        self.words.iter().all(|word| text.contains(word))
    }
}

#[cfg(test)]
mod tests;
