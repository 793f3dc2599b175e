//! The words of a text in the form in which phrases are looked for.
//!
//! Beyond what filters compare ([`text::normalise`]), spellings of one Arabic letter become one,
//! and the Arabic article goes, with what is written before it: `والأمن` and `أمن` are one word.

use unicode_normalization::char::is_combining_mark;

use crate::article::text;

/// What an Arabic word may begin with that belongs to its article `ال`, longest first.
const ARTICLES: [&str; 8] = ["وبال", "فبال", "وكال", "وال", "فال", "بال", "كال", "ال"];
/// Fewest letters that must be left of a word without its article: `الم` is no `م`.
const STEM_LETTERS_MIN: usize = 3;

/// Words, each between two spaces, and where each comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// ` word word word `; a line feed begins each field, so that no phrase crosses it.
    joined: String,
    /// One for each word, in order.
    origins: Vec<Origin>,
    /// A word as it is made; kept for its room.
    scratch: String,
}

/// Where a word comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its first byte among the joined words.
    pub at: usize,
    /// Its bytes in the field.
    pub start: usize,
    /// Their end.
    pub end: usize,
}

impl Words {
    /// The words of one field.
    pub fn of(field: &str) -> Self {
        let mut words = Self::default();
        words.push(field);
        words
    }

    /// Adds the words of a field.
    pub fn push(&mut self, field: &str) {
        self.joined.push_str("\n ");
        let mut offset = 0;
        while let Some((start, len)) = next_word(field, offset) {
            self.push_word(field, start, start + len);
            offset = start + len;
        }
    }

    /// All words: a line feed and a space before each field, a space after each word.
    pub fn joined(&self) -> &str {
        &self.joined
    }

    /// Where each word comes from, in order.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    fn push_word(&mut self, field: &str, start: usize, end: usize) {
        let at = self.joined.len();
        let word = field.get(start..end).unwrap_or_default();
        if word.is_ascii() {
            let lower = word
                .bytes()
                .map(|byte| char::from(byte.to_ascii_lowercase()));
            self.joined.extend(lower);
        } else {
            self.scratch.clear();
            if word.chars().all(is_plain_arabic) {
                // Perf: nearly all Arabic words need none of Unicode's tables.
                let letters = word.chars().filter(|char| !is_plain_mark(*char));
                self.scratch.extend(letters);
            } else {
                self.scratch.push_str(&text::normalise(word));
            }
            // A mark that stands alone is a space to Unicode.
            let letters = without_article(self.scratch.trim())
                .chars()
                .map(one_spelling);
            self.joined.extend(letters);
        }
        if self.joined.len() > at {
            self.origins.push(Origin { at, start, end });
            self.joined.push(' ');
        }
    }
}

/// Start and length of the first word at or after a byte of a text.
fn next_word(text: &str, from: usize) -> Option<(usize, usize)> {
    let rest = text.get(from..)?;
    let start = from + rest.find(begins_word)?;
    let mut chars = text.get(start..)?.char_indices();
    let (_, first) = chars.next()?;
    let is_end = |char: char| {
        if is_unspaced(first) {
            !is_combining_mark(char)
        } else {
            !goes_on_in_word(char) || is_unspaced(char)
        }
    };
    let end = chars.find(|(_, char)| is_end(*char));
    Some((start, end.map_or(text.len() - start, |(len, _)| len)))
}

fn begins_word(char: char) -> bool {
    is_arabic_letter(char) || char.is_alphanumeric()
}

/// Marks belong to the letter before them; joiners and tatweel only change how it looks.
fn goes_on_in_word(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric();
    }
    is_plain_arabic(char)
        || char.is_alphanumeric()
        || is_combining_mark(char)
        || matches!(char, '\u{0640}' | '\u{200C}' | '\u{200D}' | '\u{00AD}')
}

/// Whether a character is of a script that puts no spaces between words: Thai, Lao, Burmese, Khmer,
/// kana, Han. There each character is a word, and a phrase is a run of them.
fn is_unspaced(char: char) -> bool {
    matches!(char,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Letters and marks of Arabic that normalisation leaves alone or drops one by one. The marks that
/// join a letter, such as hamza above, are not among them.
fn is_plain_arabic(char: char) -> bool {
    is_arabic_letter(char) || is_plain_mark(char)
}

/// Perf: asked first, this saves Unicode's tables for most of Arabic, where a fifth of routing's
/// time went (perf, `barid bench route`); now 21.5k articles/s a core.
fn is_arabic_letter(char: char) -> bool {
    matches!(char, '\u{0621}'..='\u{063A}' | '\u{0641}'..='\u{064A}')
}

fn is_plain_mark(char: char) -> bool {
    matches!(char, '\u{0640}' | '\u{064B}'..='\u{0652}' | '\u{0670}')
}

fn without_article(word: &str) -> &str {
    if !word.starts_with(['ا', 'و', 'ف', 'ب', 'ك']) {
        return word;
    }
    let stem = ARTICLES
        .iter()
        .find_map(|article| word.strip_prefix(article));
    stem.filter(|stem| stem.chars().count() >= STEM_LETTERS_MIN)
        .unwrap_or(word)
}

/// One letter for those that writers take for each other.
fn one_spelling(char: char) -> char {
    match char {
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        'ى' | 'ی' => 'ي',
        'ة' => 'ه',
        'ک' => 'ك',
        other => other,
    }
}

#[cfg(test)]
mod tests;
