//! Texts from the wire, made safe for a terminal: nothing that drives it, nothing that disguises
//! itself, cut to columns, and right-to-left script kept within its own field.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr;

/// Isolates a text from the direction of what stands around it; its own direction is that of its
/// first strong character (Unicode UAX 9, FSI and PDI).
const ISOLATE: (char, char) = ('\u{2068}', '\u{2069}');
/// Most bytes of one character with its marks: stacks of accents would climb over other lines.
const GRAPHEME_BYTES_MAX: usize = 64;

/// One line without what could drive a terminal or disguise text.
pub fn printable(text: &str) -> String {
    tame(text).trim().to_owned()
}

/// Several lines, each without what could drive a terminal or disguise text.
pub fn paragraphs(text: &str) -> String {
    let lines: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| tame(line).trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// A part of a line: as [`printable`], but each run of blanks is one space, also at the ends.
pub fn inline(text: &str) -> String {
    let text = tame(text);
    let mut kept = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            blank if blank.is_whitespace() => {
                if !kept.ends_with(' ') {
                    kept.push(' ');
                }
            }
            char => kept.push(char),
        }
    }
    kept
}

fn tame(text: &str) -> String {
    let text = text.replace(is_bad, " ");
    if text
        .graphemes(true)
        .all(|one| one.len() <= GRAPHEME_BYTES_MAX)
    {
        return text;
    }
    text.graphemes(true)
        .map(|one| match one.len() {
            0..=GRAPHEME_BYTES_MAX => one,
            _ => "\u{FFFD}",
        })
        .collect()
}

fn is_bad(char: char) -> bool {
    char.is_control()
        || matches!(char,
            // Line and paragraph separators.
            '\u{2028}' | '\u{2029}'
            // Embeddings, overrides and isolates, which could reach beyond their field.
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            // Annotations, and tags that nobody sees.
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// A printable text that may run right to left, so that it does not turn its line around. One
/// that can't is as it was.
pub fn isolated(text: &str) -> String {
    if text.chars().any(is_right_to_left) {
        format!("{}{text}{}", ISOLATE.0, ISOLATE.1)
    } else {
        text.to_owned()
    }
}

/// Letters of scripts that run right to left, and the marks that stand for them.
fn is_right_to_left(char: char) -> bool {
    matches!(char,
        '\u{0590}'..='\u{08FF}' | '\u{200F}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}'
        | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
}

/// Columns that a text takes. By characters as people see them: `str::width` counts lam and alef as
/// the one ligature that fonts make of them, while terminals give each a column.
pub fn width_of(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// A printable text in so many columns, with an ellipsis where it was cut.
pub fn cut(text: &str, room: usize) -> String {
    if width_of(text) <= room {
        return text.to_owned();
    }
    let (mut kept, mut taken) = (String::new(), 0);
    for grapheme in text.graphemes(true) {
        taken += grapheme.width();
        if taken + 1 > room {
            break;
        }
        kept.push_str(grapheme);
    }
    match room {
        0 => String::new(),
        _ => format!("{}…", kept.trim_end()),
    }
}

/// A printable text in lines of so many columns, broken between words; a longer word is cut.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && width_of(&line) + 1 + width_of(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&cut(word, room));
    }
    lines.push(line);
    lines
}

/// A printable text as a cell of exactly so many columns: cut, isolated, filled up.
pub fn cell(text: &str, room: usize) -> String {
    let text = cut(text, room);
    let fill = " ".repeat(room.saturating_sub(width_of(&text)));
    format!("{}{fill}", isolated(&text))
}

#[cfg(test)]
mod tests;
