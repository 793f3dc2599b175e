//! Cursor: a place in the log, its order and text form; epochs: which log the place is in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Length of an epoch in characters.
const EPOCH_LEN: usize = 8;

/// Letters and digits that nobody mixes up, in lower case: base 32 (RFC 4648 section 6).
pub const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz234567";

/// The lowest bits as [`LETTERS`], five to each.
pub fn letters<const LEN: usize>(bits: u64) -> [u8; LEN] {
    let mut text = [0; LEN];
    for (place, byte) in (0u32..).zip(text.iter_mut()) {
        let index = usize::try_from((bits >> (5 * place)) & 31).expect("5 bits fit");
        *byte = LETTERS.as_bytes()[index];
    }
    text
}

/// Name of one life of the log: 8 characters of `[a-z2-7]`.
///
/// A log that lost its newest part starts a new one, because the same sequences then name other
/// revisions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epoch([u8; EPOCH_LEN]);

impl Epoch {
    /// The epoch of these 40 bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(letters(bits))
    }

    /// Its 8 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is ASCII")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Epoch {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes: [u8; EPOCH_LEN] = text.as_bytes().try_into().map_err(|_| CursorError::Epoch)?;
        if bytes
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
        {
            Ok(Self(bytes))
        } else {
            Err(CursorError::Epoch)
        }
    }
}

impl TryFrom<String> for Epoch {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

impl From<Epoch> for String {
    fn from(epoch: Epoch) -> Self {
        epoch.to_string()
    }
}

/// A place in the log, exclusive: what comes after it. Text form `<epoch>-<sequence>`.
///
/// The sequence is that of the last revision's record; 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// Which life of the log.
    pub epoch: Epoch,
    /// Which sequence of the stream.
    pub seq: u64,
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

/// Why a text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The part before the dash.
    #[error("an epoch is 8 characters of a-z and 2-7")]
    Epoch,
    /// The part after the dash.
    #[error("a sequence is a decimal number below 2^63 without leading zeros")]
    Sequence,
    /// No dash.
    #[error("a cursor is <epoch>-<sequence>")]
    Shape,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, seq) = text.split_once('-').ok_or(CursorError::Shape)?;
        let epoch = epoch.parse()?;
        let seq = sequence(seq)?;
        Ok(Self { epoch, seq })
    }
}

/// The one form of a sequence: decimal, no sign, no leading zeros.
fn sequence(text: &str) -> Result<u64, CursorError> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CursorError::Sequence);
    }
    let seq: u64 = text.parse().map_err(|_| CursorError::Sequence)?;
    // JetStream's own numbers stay far below; the bound keeps sums of sequences safe.
    if seq >= 1 << 63 {
        return Err(CursorError::Sequence);
    }
    Ok(seq)
}

/// The lives of one log, oldest first: each with its first sequence. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs(Vec<(Epoch, u64)>);

/// What a cursor means to this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A place of this log: go on after this sequence.
    Known(u64),
    /// Of an older life, beyond what survived of it: go on with the next one, after this cursor.
    Lost(Cursor),
    /// Of another log altogether.
    Foreign,
}

impl Epochs {
    /// A log in its first life.
    pub fn first(epoch: Epoch) -> Self {
        Self(vec![(epoch, 1)])
    }

    /// The list with a further life that begins at `first_seq`.
    #[must_use]
    pub fn with(&self, epoch: Epoch, first_seq: u64) -> Self {
        let mut list = self.0.clone();
        list.push((epoch, first_seq));
        Self(list)
    }

    /// The cursor of a sequence.
    pub fn cursor(&self, seq: u64) -> Cursor {
        // Sequence 0 is before the first of the first life.
        let (epoch, _) = self
            .0
            .iter()
            .rev()
            .find(|(_, first)| *first <= seq)
            .unwrap_or(&self.0[0]);
        Cursor { epoch: *epoch, seq }
    }

    /// What a cursor means here.
    pub fn place(&self, cursor: Cursor) -> Place {
        let Some(index) = self.0.iter().position(|(epoch, _)| *epoch == cursor.epoch) else {
            return Place::Foreign;
        };
        // A life begins where a loss began: what earlier ones had from there on is gone. The deepest
        // loss decides, and of equal ones the last.
        let deepest = self
            .0
            .iter()
            .skip(index + 1)
            .rev()
            .min_by_key(|(_, first)| *first);
        match deepest {
            Some((epoch, first)) if cursor.seq >= *first => Place::Lost(Cursor {
                epoch: *epoch,
                seq: first - 1,
            }),
            Some(_) | None => Place::Known(cursor.seq),
        }
    }

    /// Whether this list is another one, or continues it.
    pub fn continues(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The first sequence that may name different revisions under two lists.
    pub fn parts_from(&self, other: &Self) -> Option<u64> {
        let same = self.0.iter().zip(&other.0);
        let same = same.take_while(|(one, other)| one == other).count();
        let apart = self.0.iter().skip(same).chain(other.0.iter().skip(same));
        apart.map(|(_, first)| *first).min()
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (epoch, first)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{epoch}@{first}")?;
        }
        Ok(())
    }
}

impl FromStr for Epochs {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut list = Vec::new();
        for part in text.split(',') {
            let (epoch, first) = part.split_once('@').ok_or(CursorError::Shape)?;
            list.push((epoch.parse()?, sequence(first)?));
        }
        // `split` yields at least one part, so the list is never empty.
        Ok(Self(list))
    }
}

#[cfg(test)]
mod tests;
