//! Phrases: one automaton over all that a taxonomy looks for in a text.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, BuildError};

use crate::{
    filter::{LanguageRange, RangeError},
    routing::words::Words,
};

/// Most phrases of a taxonomy, alternatives counted one by one.
pub const PHRASES_MAX: usize = 50_000;
/// Most characters of a phrase.
pub const PHRASE_CHARS_MAX: usize = 100;
/// Fewest letters and digits of a phrase.
const PHRASE_LETTERS_MIN: usize = 2;
/// Fewest letters before a `*`.
const BEGINNING_LETTERS_MIN: usize = 3;
/// What may stand before an Arabic word without a space: and, so, by, as, for, and their joins.
/// `لل` is for and the article in one.
const CLITICS: [&str; 15] = [
    "و", "ف", "ب", "ك", "ل", "لل", "وب", "وك", "ول", "ولل", "فب", "فل", "فلل", "س", "وس",
];

/// Why a text is no phrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Nothing to look for.
    #[error(
        "the phrase {0:?} has fewer than two letters; it would be met by chance: give a whole word"
    )]
    TooShort(String),
    /// Longer than any phrase.
    #[error("a phrase of {0} characters; at most {PHRASE_CHARS_MAX} are allowed")]
    TooLong(usize),
    /// Nearly everything begins like this.
    #[error("the phrase {0:?} has fewer than three letters before its *: give more of the word")]
    TooBroad(String),
    /// A star elsewhere than at the end.
    #[error("the phrase {0:?} has a * that does not end it; only the end may be left open")]
    Star(String),
    /// Too many in all.
    #[error("more than {PHRASES_MAX} phrases")]
    TooMany,
    /// A language range that is none.
    #[error("the language {0:?}: {1}")]
    Language(String, RangeError),
}

/// What meeting a phrase means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It speaks for a topic, with so many points.
    Topic(usize, i32),
    /// It is one of a group.
    Group(usize),
    /// What stands within it says nothing.
    Ignored,
}

impl Target {
    /// The points that it gives to a topic, if it speaks for that one.
    pub fn points_for(self, number: usize) -> Option<i32> {
        match self {
            Self::Topic(topic, points) if topic == number => Some(points),
            Self::Topic(..) | Self::Group(_) | Self::Ignored => None,
        }
    }
}

/// One entry of a list of phrases: alternatives that count as one.
#[derive(Clone, Debug)]
pub struct Cue {
    /// As the taxonomy writes it.
    pub text: String,
    /// Whose articles it is for.
    pub range: LanguageRange,
    /// What it means.
    pub target: Target,
}

/// A place where one or more cues stand: those of one pattern. A taxonomy may give one phrase to
/// thousands of topics, and a text may repeat it as often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First byte among the joined words.
    start: usize,
    /// End of the phrase there; of an open one, of what it names.
    end: usize,
    /// Which pattern.
    pattern: usize,
}

/// A cue in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// First byte among the joined words.
    pub start: usize,
    /// End of the phrase there; of an open one, of what it names.
    pub end: usize,
    /// Which cue.
    pub cue: usize,
}

/// All cues, and the automaton that finds them.
#[derive(Clone, Debug)]
pub struct Phrasebook {
    automaton: AhoCorasick,
    /// The cues of each pattern.
    patterns: Vec<Vec<usize>>,
    cues: Vec<Cue>,
}

/// Cues on their way into a [`Phrasebook`].
#[derive(Debug, Default)]
pub struct Builder {
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
    patterns: Vec<Vec<usize>>,
    cues: Vec<Cue>,
    count: usize,
}

impl Builder {
    /// Adds one entry of a list: phrases joined by `|`, each of which may end in `*`.
    ///
    /// # Errors
    /// [`PhraseError`].
    pub fn add(
        &mut self,
        text: &str,
        range: &LanguageRange,
        target: Target,
    ) -> Result<(), PhraseError> {
        let cue = self.cues.len();
        for phrase in text.split('|') {
            self.count += 1;
            if self.count > PHRASES_MAX {
                return Err(PhraseError::TooMany);
            }
            let pattern = pattern(phrase)?;
            let number = *self.numbers.entry(pattern.clone()).or_insert_with(|| {
                self.texts.push(pattern);
                self.patterns.push(Vec::new());
                self.patterns.len() - 1
            });
            // Cues come in order: one that is there already is the last.
            if self.patterns[number].last() != Some(&cue) {
                self.patterns[number].push(cue);
            }
        }
        self.cues.push(Cue {
            text: text.to_owned(),
            range: range.clone(),
            target,
        });
        Ok(())
    }

    /// Makes the automaton.
    ///
    /// # Errors
    /// More phrases than an automaton holds.
    pub fn build(self) -> Result<Phrasebook, BuildError> {
        Ok(Phrasebook {
            automaton: AhoCorasick::new(&self.texts)?,
            patterns: self.patterns,
            cues: self.cues,
        })
    }
}

/// What the automaton looks for: the words, and the space after the last unless that is left open.
fn pattern(phrase: &str) -> Result<String, PhraseError> {
    let phrase = phrase.trim();
    let chars_count = phrase.chars().count();
    if chars_count > PHRASE_CHARS_MAX {
        return Err(PhraseError::TooLong(chars_count));
    }
    let (given, is_open) = match phrase.strip_suffix('*') {
        Some(given) => (given, true),
        None => (phrase, false),
    };
    if given.contains('*') {
        return Err(PhraseError::Star(phrase.to_owned()));
    }
    let words = Words::of(given);
    let joined = words.joined().trim();
    let letters_count = joined.chars().filter(|char| *char != ' ').count();
    if letters_count < PHRASE_LETTERS_MIN {
        return Err(PhraseError::TooShort(phrase.to_owned()));
    }
    let last = joined.rsplit(' ').next().unwrap_or_default();
    if is_open && last.chars().count() < BEGINNING_LETTERS_MIN {
        return Err(PhraseError::TooBroad(phrase.to_owned()));
    }
    Ok(format!("{joined}{}", if is_open { "" } else { " " }))
}

impl Phrasebook {
    /// All cues, in the order in which they were added.
    pub fn cues(&self) -> &[Cue] {
        &self.cues
    }

    /// Every place where a cue of any language stands, earlier ones first, and of those that begin
    /// together longer ones first.
    pub fn find(&self, words: &Words) -> Vec<Run> {
        let joined = words.joined();
        let found = self.automaton.find_overlapping_iter(joined);
        let mut runs: Vec<Run> = found
            .filter(|found| begins_word(joined, found.start()))
            .map(|found| Run {
                start: found.start(),
                end: found.end(),
                pattern: found.pattern().as_usize(),
            })
            .collect();
        // Two patterns are two texts: none begins and ends with another.
        runs.sort_unstable_by_key(|run| (run.start, usize::MAX - run.end));
        runs
    }

    /// The cues of a place, in their order.
    pub fn hits(&self, run: Run) -> impl Iterator<Item = Hit> + '_ {
        self.patterns[run.pattern].iter().map(move |cue| Hit {
            start: run.start,
            end: run.end,
            cue: *cue,
        })
    }
}

/// Whether a place is the beginning of a word, or of an Arabic word but for what is written before
/// it as a part of it.
fn begins_word(joined: &str, start: usize) -> bool {
    let before = joined.get(..start).unwrap_or_default();
    if before.ends_with(' ') {
        return true;
    }
    let is_arabic = (joined.get(start..).and_then(|rest| rest.chars().next()))
        .is_some_and(|char| matches!(char, '\u{0621}'..='\u{064A}'));
    is_arabic
        && CLITICS.iter().any(|clitic| {
            before
                .strip_suffix(clitic)
                .is_some_and(|before| before.ends_with(' '))
        })
}

#[cfg(test)]
mod tests;
