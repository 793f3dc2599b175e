//! Text as filters compare it: Unicode NFKC, case folded, Arabic diacritics and tatweel off, split
//! into whole words.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::article::BodyType;

/// Columns at which the HTML renderer may break a line: so wide that it breaks at blocks alone.
const HTML_WIDTH: usize = 10_000;

/// A text in the form in which texts are compared.
pub fn normalise(text: &str) -> String {
    let folded = caseless::default_case_fold_str(&text.nfkc().collect::<String>());
    // Folding can undo the composition (`ẞ`), and marks may only be seen once composed.
    folded.nfkc().filter(|char| !is_dropped(*char)).collect()
}

/// The words of a text, normalised.
pub fn words(text: &str) -> HashSet<String> {
    normalise(text).unicode_words().map(str::to_owned).collect()
}

/// A body without its markup.
pub fn plain(body: &str, body_type: BodyType) -> String {
    match body_type {
        BodyType::Text => body.to_owned(),
        BodyType::Html => html2text::config::plain_no_decorate()
            .string_from_read(body.as_bytes(), HTML_WIDTH)
            // Only a width too small for a table fails; the raw text then still holds the words.
            .unwrap_or_else(|_| body.to_owned()),
    }
}

/// Arabic marks that change how a word looks, not which word it is, tatweel, and joiners.
fn is_dropped(char: char) -> bool {
    matches!(char,
        '\u{0610}'..='\u{061A}' | '\u{061C}' | '\u{0640}' | '\u{064B}'..='\u{065F}' | '\u{0670}'
        | '\u{06D6}'..='\u{06DC}' | '\u{06DF}'..='\u{06E4}' | '\u{06E7}' | '\u{06E8}'
        | '\u{06EA}'..='\u{06ED}' | '\u{00AD}' | '\u{200B}'..='\u{200F}' | '\u{FEFF}')
}
