//! Checks of single fields, which collect every violation instead of stopping at the first.

use url::Url;

use crate::{
    article::{BODY_BYTES_MAX, HTML_ELEMENTS_MAX, HTML_REFERENCES_MAX, URI_BYTES_MAX},
    fault::{
        Fault, Violation,
        wrong::{Quoted, Unit, Wrong, is_bidi_control},
    },
};

/// Bytes of violations that an answer names; what is wrong beyond them is left out. Clients take as
/// little as 8 KiB of headers, and that is where gRPC puts errors.
const VIOLATION_BYTES_MAX: usize = 3 * 1024;

/// The reason of a field without a reason of its own.
const FIELD_INVALID: &str = "FIELD_INVALID";

/// Collects what is wrong with a request.
#[derive(Debug, Default)]
pub struct Checker {
    reason: Option<&'static str>,
    violations: Vec<Violation>,
    violation_bytes: usize,
    metadata: Vec<(&'static str, String)>,
}

impl Checker {
    /// A field is wrong.
    pub fn refuse(&mut self, field: &str, wrong: impl Into<Wrong>) {
        self.refuse_as(FIELD_INVALID, field, wrong);
    }

    /// A field is wrong for a reason of its own; the first such reason names the whole.
    pub fn refuse_as(&mut self, reason: &'static str, field: &str, wrong: impl Into<Wrong>) {
        if self.reason.is_none_or(|known| known == FIELD_INVALID) {
            self.reason = Some(reason);
        }
        let (field, wrong) = (field.to_owned(), wrong.into());
        self.violation_bytes += field.len() + wrong.to_string().len();
        if self.violations.is_empty() || self.violation_bytes <= VIOLATION_BYTES_MAX {
            self.violations.push(Violation { field, wrong });
        }
    }

    /// A fact for programs, shown if anything is refused.
    pub fn fact(&mut self, key: &'static str, value: impl Into<String>) {
        self.metadata.push((key, value.into()));
    }

    /// The collected violations, if any.
    ///
    /// # Errors
    /// One [`Fault`] with all of them.
    pub fn finish(self) -> Result<(), Fault> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(self.into_fault())
        }
    }

    /// All violations as one fault.
    pub fn into_fault(self) -> Fault {
        let fault = Fault::fields(self.reason.unwrap_or(FIELD_INVALID), self.violations);
        self.metadata
            .into_iter()
            .fold(fault, |fault, (key, value)| fault.with(key, value))
    }

    /// One line of at most `chars_max` characters.
    pub fn line(&mut self, field: &str, value: &str, chars_max: usize) {
        self.at_most(field, value.chars().count(), chars_max, Unit::Characters);
        if let Some(bad) = value
            .chars()
            .find(|char| char.is_control() || is_bidi_control(*char))
        {
            self.refuse(field, control(bad, value));
        }
    }

    /// A text of several lines of at most `chars_max` characters.
    pub fn paragraph(&mut self, field: &str, value: &str, chars_max: usize) {
        self.at_most(field, value.chars().count(), chars_max, Unit::Characters);
        let is_bad = |char: &char| is_bad_in_text(*char) || is_bidi_control(*char);
        if let Some(bad) = value.chars().find(is_bad) {
            self.refuse(field, control(bad, value));
        }
    }

    /// A body; returns whether it is good.
    pub fn body(&mut self, field: &str, value: &str) -> bool {
        let is_short = self.at_most(field, value.len(), BODY_BYTES_MAX, Unit::Bytes);
        let is_bad = |char: &char| is_bad_in_text(*char) || matches!(char, '\u{202D}' | '\u{202E}');
        let bad = value.chars().find(is_bad);
        if let Some(bad) = bad {
            self.refuse(field, control(bad, value));
        }
        is_short && bad.is_none()
    }

    /// The markup of an HTML body that is not sanitised yet; returns whether it is good.
    ///
    /// HTML's own rules make a parser do work, and open elements again, by the square of what it
    /// reads: `<p>`, 2,000 times `<b>` and 2,000 times `<p>x` took 3 s and 1 GB in 35 KB.
    pub fn markup(&mut self, field: &str, value: &str) -> bool {
        let bytes = value.as_bytes();
        let is_tag = |pair: &&[u8]| pair[0] == b'<' && pair[1].is_ascii_alphabetic();
        let element_count = bytes.windows(2).filter(is_tag).count();
        let reference_count = bytes.iter().filter(|byte| **byte == b'&').count();
        let counts = [
            (element_count, HTML_ELEMENTS_MAX, Unit::Elements),
            (reference_count, HTML_REFERENCES_MAX, Unit::References),
        ];
        let mut is_good = true;
        for (count, max, unit) in counts {
            is_good &= self.at_most(field, count, max, unit);
        }
        is_good
    }

    /// At most `max` entries; returns how many to look at.
    pub fn count(&mut self, field: &str, count: usize, max: usize) -> usize {
        self.at_most(field, count, max, Unit::Entries);
        count.min(max)
    }

    /// An absolute URI, or empty.
    pub fn uri(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let is_bad =
            |char: char| char.is_control() || char.is_whitespace() || is_bidi_control(char);
        let is_short = self.at_most(field, value.len(), URI_BYTES_MAX, Unit::Bytes);
        if is_short && (value.chars().any(is_bad) || Url::parse(value).is_err()) {
            let value = Quoted::of(value);
            self.refuse(field, Wrong::NoUri { value });
        }
    }

    /// An absolute URL that a reader may be sent to.
    pub fn href(&mut self, field: &str, value: &str) {
        let scheme_is_good =
            Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "urn"));
        if scheme_is_good {
            self.uri(field, value);
        } else {
            let value = Quoted::of(value);
            self.refuse(field, Wrong::NoUrl { value });
        }
    }

    /// At most so many; returns whether it is so.
    fn at_most(&mut self, field: &str, count: usize, max: usize, unit: Unit) -> bool {
        let is_good = count <= max;
        if !is_good {
            self.refuse(field, Wrong::TooMany { count, max, unit });
        }
        is_good
    }
}

/// A value as errors show it: quoted, escaped and cut.
pub fn shown(value: &str) -> String {
    Quoted::of(value).to_string()
}

fn control(char: char, value: &str) -> Wrong {
    let value = Quoted::of(value);
    Wrong::Control { value, char }
}

fn is_bad_in_text(char: char) -> bool {
    char.is_control() && !matches!(char, '\n' | '\t')
}
