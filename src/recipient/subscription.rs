//! Subscription: a durable one as it is kept: how far its subscriber has got, whose stream it is,
//! and what it was sent.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    access::partner::{NameError, PartnerName},
    cursor::{Cursor, Epochs, Place, letters},
    filter::Filter,
    recipient::{Coverage, Turn},
};

/// Longest name.
const NAME_LEN_MAX: usize = 64;
/// Characters of a token: 60 bits, so that nobody guesses another stream's.
const TOKEN_LEN: usize = 12;
/// After how many seconds without a stream none can be going on any more.
const QUIET_SECS: i64 = 3;
/// What stands for a partner where keys are not asked for; no partner has this name.
const NOBODY: &str = "_";

/// A durable subscription's name among its partner's: 1 to 64 of `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionName(String);

/// A text that is no subscription's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subscription's name is 1 to {NAME_LEN_MAX} of a-z, 0-9 and '-'")]
pub struct SubscriptionNameError;

impl SubscriptionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubscriptionName {
    type Err = SubscriptionNameError;

    fn from_str(text: &str) -> Result<Self, SubscriptionNameError> {
        let is_good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let good = (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(is_good);
        good.then(|| Self(text.to_owned()))
            .ok_or(SubscriptionNameError)
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which subscription: a partner's, or one of a node that asks for no keys. Text form, by which it is
/// kept: `<partner>.<name>`, `_.<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId {
    /// Whose it is; none where keys are not asked for.
    pub partner: Option<PartnerName>,
    /// Its name among those.
    pub name: SubscriptionName,
}

/// A text that is no subscription's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No dot.
    #[error("a subscription is kept as <partner>.<name>")]
    Shape,
    /// The part before the dot.
    #[error(transparent)]
    Partner(#[from] NameError),
    /// The part after it.
    #[error(transparent)]
    Name(#[from] SubscriptionNameError),
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partner = self.partner.as_ref().map_or(NOBODY, PartnerName::as_str);
        write!(f, "{partner}.{}", self.name)
    }
}

impl FromStr for SubscriptionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (partner, name) = text.split_once('.').ok_or(IdError::Shape)?;
        let partner = match partner {
            NOBODY => None,
            partner => Some(partner.parse()?),
        };
        Ok(Self {
            partner,
            name: name.parse()?,
        })
    }
}

/// Whose a subscription's stream is: handed to its subscriber with the first frame, and shown again
/// with each acknowledgement. Empty: nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token of these random bits.
    pub fn from_bits(bits: u64) -> Self {
        let text = letters::<TOKEN_LEN>(bits);
        Self(text.iter().copied().map(char::from).collect())
    }

    /// Whether a text is this token; nobody's is none.
    pub fn is(&self, text: &str) -> bool {
        !self.0.is_empty() && self.0 == text
    }

    /// Whether it is nobody's.
    pub fn is_nobodys(&self) -> bool {
        self.0.is_empty()
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A durable subscription, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Up to here everything is acknowledged.
    pub cursor: Cursor,
    /// Up to here everything is known to have been sent: at least to the cursor.
    pub sent: Cursor,
    /// Up to here a former stream may have sent that nobody has said an end of; none = there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perhaps: Option<Cursor>,
    /// Whose stream it is.
    pub token: Token,
    /// Which node that stream was opened on; empty once it is known to have ended.
    #[serde(default)]
    pub node: String,
    /// What it was sent, and is sent now.
    pub coverage: Coverage,
    /// Counts its filters, from 1.
    pub version: u32,
    /// When it was made, in seconds from 1970.
    pub created: i64,
    /// When it was last written for a subscriber's sake, likewise.
    pub used: i64,
}

/// Who opens a stream, and when.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The token of the new stream.
    pub token: Token,
    /// The node that it is on.
    pub node: String,
    /// In seconds from 1970.
    pub now: i64,
}

impl Subscription {
    /// A new one, which begins after a place.
    pub fn new(filter: Filter, after: Cursor, opening: Opening) -> Self {
        Self {
            cursor: after,
            sent: after,
            perhaps: None,
            token: opening.token,
            node: opening.node,
            coverage: Coverage::new(filter, after),
            version: 1,
            created: opening.now,
            used: opening.now,
        }
    }

    /// Another stream takes it over.
    pub fn take_over(&mut self, opening: Opening) {
        self.token = opening.token;
        self.node = opening.node;
        self.used = opening.now;
    }

    /// How far that of its streams which is taken over has come is not known, but not beyond a place.
    pub fn lose_sight(&mut self, end: Cursor, epochs: &Epochs) {
        if self
            .perhaps
            .is_none_or(|known| is_ahead(end, known, epochs))
        {
            self.perhaps = Some(end);
        }
    }

    /// Beyond this sequence no former stream has sent anything.
    pub fn sent_at_most(&self, epochs: &Epochs) -> u64 {
        let perhaps = self.perhaps.and_then(|place| known(place, epochs));
        self.surely_sent(epochs).max(perhaps.unwrap_or(0))
    }

    /// Another filter counts from the acknowledged place on; under the former nothing was sent
    /// beyond `end`.
    pub fn refilter(&mut self, filter: Filter, end: Cursor, epochs: &Epochs) {
        let turn = Turn {
            sent: self.surely_sent(epochs),
            end,
            after: self.place(epochs),
        };
        self.coverage.turn(filter, turn);
        self.version = self.version.saturating_add(1);
        // What was sent beyond comes again, if the new filter wants it.
        (self.sent, self.perhaps) = (self.cursor, None);
    }

    /// After which place it is sent what its filter wants.
    pub fn place(&self, epochs: &Epochs) -> Cursor {
        let begin = self.coverage.after();
        if is_ahead(begin, self.cursor, epochs) {
            begin
        } else {
            self.cursor
        }
    }

    /// The desk, or its owner, sets it to another place; its stream is nobody's then. Nothing was
    /// sent beyond `end`. What a place further on leaves out is not sent but for what takes back what
    /// was. It is used, in seconds from 1970: its stream may take a moment to know.
    pub fn reset(&mut self, to: Cursor, end: Cursor, now: i64, epochs: &Epochs) {
        let turn = Turn {
            sent: self.surely_sent(epochs),
            end,
            after: to,
        };
        let filter = self.coverage.filter().clone();
        self.coverage.turn(filter, turn);
        if !is_ahead(to, self.cursor, epochs) || known(self.cursor, epochs).is_none() {
            self.cursor = to;
        }
        (self.sent, self.perhaps) = (self.cursor, None);
        self.token = Token::default();
        self.node.clear();
        self.used = now;
    }

    /// Whether a stream that it had may be going on at a time, in seconds from 1970.
    pub fn may_stream(&self, now: i64) -> bool {
        !self.node.is_empty() || now.saturating_sub(self.used) < QUIET_SECS
    }

    /// Takes over how far its subscriber has got and what it was sent, each only forward; returns
    /// whether anything has changed.
    pub fn advance(&mut self, cursor: Cursor, sent: Cursor, epochs: &Epochs) -> bool {
        let is_ahead = is_ahead(cursor, self.cursor, epochs);
        if is_ahead {
            self.cursor = cursor;
        }
        let mut has_sent = false;
        for sent in [cursor, sent] {
            if self::is_ahead(sent, self.sent, epochs) {
                self.sent = sent;
                has_sent = true;
            }
        }
        is_ahead || has_sent
    }

    fn surely_sent(&self, epochs: &Epochs) -> u64 {
        let known = |cursor| known(cursor, epochs).unwrap_or(0);
        known(self.sent).max(known(self.cursor))
    }
}

/// Whether a place of the log comes after another.
pub fn is_ahead(place: Cursor, of: Cursor, epochs: &Epochs) -> bool {
    match (known(place, epochs), known(of, epochs)) {
        (Some(place), Some(of)) => place > of,
        // What is of another log is behind all that this one has.
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// The sequence that a place is at now; none if it is of another log.
pub fn known(place: Cursor, epochs: &Epochs) -> Option<u64> {
    match epochs.place(place) {
        Place::Known(seq) => Some(seq),
        Place::Lost(to) => Some(to.seq),
        Place::Foreign => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Epoch;

    fn at(seq: u64) -> Cursor {
        Cursor {
            epoch: Epoch::from_bits(0),
            seq,
        }
    }

    fn opening(bits: u64, now: i64) -> Opening {
        Opening {
            token: Token::from_bits(bits),
            node: "a".to_owned(),
            now,
        }
    }

    #[test]
    fn names_and_keys() {
        for (text, is_good) in [
            ("a", true),
            ("0-9", true),
            ("-", true),
            (&*"a".repeat(64), true),
            ("", false),
            ("A", false),
            ("a.b", false),
            ("a b", false),
            ("a_b", false),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(text.parse::<SubscriptionName>().is_ok(), is_good, "{text}");
            for partner in ["_", "gazette"] {
                let key = format!("{partner}.{text}");
                let id = key.parse::<SubscriptionId>();
                assert_eq!(id.is_ok(), is_good, "{key}");
                if let Ok(id) = id {
                    assert_eq!(id.to_string(), key);
                    assert_eq!(id.partner.is_none(), partner == "_");
                }
            }
        }
        for text in ["", "a", ".a", "A.a", "__.a"] {
            assert!(text.parse::<SubscriptionId>().is_err(), "{text}");
        }
        assert!(!Token::default().is(""));
    }

    /// It goes forward only, but by a reset; and a loss of the log is no way forward.
    #[test]
    fn it_never_goes_back() {
        let epochs = Epochs::first(Epoch::from_bits(0));
        let mut kept = Subscription::new(Filter::default(), at(10), opening(1, 5));
        assert!(kept.advance(at(20), at(30), &epochs));
        assert_eq!((kept.cursor, kept.sent), (at(20), at(30)));
        assert!(!kept.advance(at(15), at(25), &epochs));
        assert!(!kept.advance(at(20), at(30), &epochs));
        assert!(kept.advance(at(40), at(30), &epochs));
        assert_eq!((kept.cursor, kept.sent), (at(40), at(40)));
        // The log lost what came after 24: 40 is 24 now, and 25 of the new life is ahead of it.
        let next = Epoch::from_bits(1);
        let epochs = epochs.with(next, 25);
        let new = |seq| Cursor { epoch: next, seq };
        assert!(!kept.advance(new(24), new(24), &epochs));
        assert!(kept.advance(new(25), new(25), &epochs));
        // Of another log: whatever this one has is ahead of it.
        let other = Epochs::first(Epoch::from_bits(7));
        assert!(!kept.advance(new(99), new(99), &other));
        assert!(kept.advance(other.cursor(0), other.cursor(0), &other));
    }

    /// A new filter counts from the acknowledged place; what went out under the former is kept.
    #[test]
    fn a_new_filter_keeps_what_was_sent() {
        let epochs = Epochs::first(Epoch::from_bits(0));
        let filter = Filter {
            words: ["talks".to_owned()].into(),
            ..Filter::default()
        };
        let mut kept = Subscription::new(Filter::default(), at(10), opening(1, 5));
        kept.advance(at(20), at(30), &epochs);
        kept.refilter(filter.clone(), at(50), &epochs);
        assert_eq!((kept.version, kept.cursor, kept.sent), (2, at(20), at(20)));
        assert_eq!(
            (kept.coverage.filter(), kept.coverage.after()),
            (&filter, at(20))
        );
        assert!(!kept.coverage.past().is_empty());
        kept.reset(at(5), at(60), 7, &epochs);
        assert_eq!((kept.cursor, kept.coverage.after()), (at(5), at(5)));
        assert!(kept.token.is_nobodys());
        // Its stream may not know yet.
        assert!(kept.may_stream(9) && !kept.may_stream(10));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Subscription>(&text).unwrap(), kept);
    }
}
