//! The words of a text in the form in which phrases are looked for.
//!
//! Beyond what filters compare ([`text::normalise`]), spellings of one Arabic letter become one,
//! and the Arabic article goes, with what is written before it: `والأمن` and `أمن` are one word.

use unicode_normalization::char::is_combining_mark;

use crate::article::text;

/// What an Arabic word may begin with that belongs to its article `ال`, longest first.
const ARTICLES: [&str; 8] = ["وبال", "فبال", "وكال", "وال", "فال", "بال", "كال", "ال"];
/// Bytes that a field's words may take beyond its own.
const ROOM: usize = 64;
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
        self.joined.reserve(field.len() + ROOM);
        self.joined.push_str("\n ");
        let mut offset = 0;
        while let Some(byte) = field.as_bytes().get(offset) {
            // Perf: nearly all of many languages is ASCII, of which bytes tell everything.
            if byte.is_ascii() && !byte.is_ascii_alphanumeric() {
                offset += 1;
            } else if let Some(word) = ascii_word(field, offset) {
                self.push_ascii(word, offset);
                offset += word.len();
            } else if let Some((start, len)) = next_word(field, offset) {
                self.push_word(field, start, start + len);
                offset = start + len;
            } else {
                break;
            }
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

    /// Each word, and where it comes from, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Origin)> {
        let next = self.origins.iter().skip(1).map(|next| next.at);
        let ends = next.chain([self.joined.len()]);
        self.origins.iter().zip(ends).map(|(origin, end)| {
            let word = self.joined.get(origin.at..end).unwrap_or_default();
            // A space follows, and the beginning of another field.
            (word.trim_end(), *origin)
        })
    }

    fn push_ascii(&mut self, word: &str, start: usize) {
        let at = self.joined.len();
        self.joined.push_str(word);
        if let Some(lower) = self.joined.get_mut(at..) {
            lower.make_ascii_lowercase();
        }
        self.joined.push(' ');
        let end = start + word.len();
        self.origins.push(Origin { at, start, end });
    }

    fn push_word(&mut self, field: &str, start: usize, end: usize) {
        let at = self.joined.len();
        let word = field.get(start..end).unwrap_or_default();
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
        if self.joined.len() > at {
            self.origins.push(Origin { at, start, end });
            self.joined.push(' ');
        }
    }
}

/// The word that begins at a byte of a text, if it is ASCII and nothing else follows on it.
fn ascii_word(text: &str, start: usize) -> Option<&str> {
    let rest = text.as_bytes().get(start..)?;
    let is_end = |byte: &u8| !byte.is_ascii_alphanumeric();
    let len = rest.iter().position(is_end).unwrap_or(rest.len());
    let is_whole = len > 0 && rest.get(len).is_none_or(u8::is_ascii);
    is_whole.then(|| text.get(start..start + len))?
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
