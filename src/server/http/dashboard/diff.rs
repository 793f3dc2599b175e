//! What changed between two texts, word by word.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

/// How long two texts may be compared before the rest counts as changed.
const PATIENCE: Duration = Duration::from_millis(20);
/// Bytes of each text that are compared: more than anybody reads as a comparison.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A part of two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// In both.
    Same(String),
    /// In the earlier one.
    Removed(String),
    /// In the later one.
    Added(String),
}

/// What became of a text, as far as its first 64 KiB. None: nothing.
pub fn changes(before: &str, after: &str) -> Option<Vec<Piece>> {
    if before == after {
        return None;
    }
    let (before, after) = (beginning(before), beginning(after));
    let mut comparison = TextDiff::configure();
    comparison.timeout(PATIENCE);
    let comparison = comparison.diff_unicode_words(before, after);
    let mut pieces = Pieces::default();
    for change in comparison.iter_all_changes() {
        match change.tag() {
            ChangeTag::Equal => pieces.same(change.value()),
            ChangeTag::Delete => pieces.change(change.value(), ""),
            ChangeTag::Insert => pieces.change("", change.value()),
        }
    }
    Some(pieces.finish())
}

/// The same with long parts that are in both cut down to `context` characters at each end.
#[must_use]
pub fn shortened(pieces: Vec<Piece>, context: usize) -> Vec<Piece> {
    let last = pieces.len().saturating_sub(1);
    let shorten = |(place, piece)| match piece {
        Piece::Same(text) => Piece::Same(cut(&text, context, place > 0, place < last)),
        Piece::Removed(_) | Piece::Added(_) => piece,
    };
    pieces.into_iter().enumerate().map(shorten).collect()
}

/// Pieces as they grow: neighbours of one kind are one, and a space between two changed words is
/// changed with them, so that a changed sentence reads as one.
#[derive(Debug, Default)]
struct Pieces {
    done: Vec<Piece>,
    same: String,
    removed: String,
    added: String,
    /// Space after a change, which belongs to it if another follows.
    space: String,
}

impl Pieces {
    fn same(&mut self, text: &str) {
        let is_after_change = !self.removed.is_empty() || !self.added.is_empty();
        if is_after_change && text.trim().is_empty() {
            self.space.push_str(text);
            return;
        }
        self.end_change();
        self.same.push_str(text);
    }

    fn change(&mut self, removed: &str, added: &str) {
        if !self.same.is_empty() {
            self.done.push(Piece::Same(std::mem::take(&mut self.same)));
        }
        self.removed.push_str(&self.space);
        self.added.push_str(&self.space);
        self.space.clear();
        self.removed.push_str(removed);
        self.added.push_str(added);
    }

    fn end_change(&mut self) {
        if !self.removed.is_empty() {
            let removed = std::mem::take(&mut self.removed);
            self.done.push(Piece::Removed(removed));
        }
        if !self.added.is_empty() {
            self.done
                .push(Piece::Added(std::mem::take(&mut self.added)));
        }
        self.same.push_str(&self.space);
        self.space.clear();
    }

    fn finish(mut self) -> Vec<Piece> {
        self.end_change();
        if !self.same.is_empty() {
            self.done.push(Piece::Same(self.same));
        }
        self.done
    }
}

fn beginning(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX))
        .unwrap_or(text)
}

/// A text without its middle; of the ends only those that touch a change are kept.
fn cut(text: &str, context: usize, is_after: bool, is_before: bool) -> String {
    let (head, tail) = (
        if is_after { context } else { 0 },
        if is_before { context } else { 0 },
    );
    let count = text.chars().count();
    // A cut that spares a word or two is none.
    if count <= head + tail + 20 {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let head: String = chars.iter().take(head).collect();
    let tail: String = chars.iter().skip(count - tail).collect();
    // Whole words only.
    let head = head
        .rsplit_once(char::is_whitespace)
        .map_or("", |cut| cut.0);
    let tail = tail.split_once(char::is_whitespace).map_or("", |cut| cut.1);
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests;
