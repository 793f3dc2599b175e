//! Checks of single fields, which collect every violation instead of stopping at the first.

use url::Url;

use crate::{
    article::{BODY_BYTES_MAX, HTML_ELEMENTS_MAX, HTML_REFERENCES_MAX, URI_BYTES_MAX},
    fault::{Fault, Violation},
};

/// Characters of a bad value that an error shows.
const SHOWN_CHARS_MAX: usize = 40;

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
    /// A field is wrong; `message` names the value, the rule and the remedy.
    pub fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.refuse_as(FIELD_INVALID, field, message);
    }

    /// A field is wrong for a reason of its own; the first such reason names the whole.
    pub fn refuse_as(&mut self, reason: &'static str, field: &str, message: impl Into<String>) {
        if self.reason.is_none_or(|known| known == FIELD_INVALID) {
            self.reason = Some(reason);
        }
        let (field, message) = (field.to_owned(), message.into());
        self.violation_bytes += field.len() + message.len();
        if self.violations.is_empty() || self.violation_bytes <= VIOLATION_BYTES_MAX {
            self.violations.push(Violation { field, message });
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
        let count = value.chars().count();
        if count > chars_max {
            self.refuse(
                field,
                format!("has {count} characters; at most {chars_max} are allowed"),
            );
        }
        if let Some(bad) = value
            .chars()
            .find(|char| char.is_control() || is_bidi_control(*char))
        {
            self.refuse(field, control_message(bad, value));
        }
    }

    /// A text of several lines of at most `chars_max` characters.
    pub fn paragraph(&mut self, field: &str, value: &str, chars_max: usize) {
        let count = value.chars().count();
        if count > chars_max {
            self.refuse(
                field,
                format!("has {count} characters; at most {chars_max} are allowed"),
            );
        }
        let is_bad = |char: &char| is_bad_in_text(*char) || is_bidi_control(*char);
        if let Some(bad) = value.chars().find(is_bad) {
            self.refuse(field, control_message(bad, value));
        }
    }

    /// A body; returns whether it is good.
    pub fn body(&mut self, field: &str, value: &str) -> bool {
        let is_long = value.len() > BODY_BYTES_MAX;
        if is_long {
            let len = value.len();
            self.refuse(
                field,
                format!("has {len} bytes; at most {BODY_BYTES_MAX} are allowed"),
            );
        }
        let is_bad = |char: &char| is_bad_in_text(*char) || matches!(char, '\u{202D}' | '\u{202E}');
        let bad = value.chars().find(is_bad);
        if let Some(bad) = bad {
            self.refuse(field, control_message(bad, value));
        }
        !is_long && bad.is_none()
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
            (element_count, HTML_ELEMENTS_MAX, "elements"),
            (reference_count, HTML_REFERENCES_MAX, "character references"),
        ];
        let mut is_good = true;
        for (count, max, what) in counts {
            if count > max {
                self.refuse(
                    field,
                    format!("has {count} {what}; at most {max} are allowed"),
                );
                is_good = false;
            }
        }
        is_good
    }

    /// At most `max` entries; returns how many to look at.
    pub fn count(&mut self, field: &str, count: usize, max: usize) -> usize {
        if count > max {
            self.refuse(
                field,
                format!("has {count} entries; at most {max} are allowed"),
            );
        }
        count.min(max)
    }

    /// An absolute URI, or empty.
    pub fn uri(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if value.len() > URI_BYTES_MAX {
            let len = value.len();
            self.refuse(
                field,
                format!("has {len} bytes; at most {URI_BYTES_MAX} are allowed"),
            );
        } else if value
            .chars()
            .any(|char| char.is_control() || char.is_whitespace() || is_bidi_control(char))
            || Url::parse(value).is_err()
        {
            self.refuse(field, format!("{} is not an absolute URI", shown(value)));
        }
    }

    /// An absolute URL that a reader may be sent to.
    pub fn href(&mut self, field: &str, value: &str) {
        self.uri(field, value);
        let scheme_is_good =
            Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "urn"));
        if !scheme_is_good {
            let shown = shown(value);
            self.refuse(
                field,
                format!("{shown} must be an absolute http, https or urn URL"),
            );
        }
    }
}

/// A value as errors show it: quoted, escaped and cut.
pub fn shown(value: &str) -> String {
    let cut: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    let ellipsis = if cut.len() < value.len() { "…" } else { "" };
    let escaped: String = cut
        .chars()
        .map(|char| {
            if char.is_control() || is_bidi_control(char) {
                char.escape_unicode().to_string()
            } else {
                char.to_string()
            }
        })
        .collect();
    format!("\"{escaped}{ellipsis}\"")
}

fn control_message(bad: char, value: &str) -> String {
    format!(
        "{} holds the control character U+{:04X}, which can disguise text; remove it",
        shown(value),
        u32::from(bad)
    )
}

fn is_bad_in_text(char: char) -> bool {
    char.is_control() && !matches!(char, '\n' | '\t')
}

/// Embeddings, overrides and isolates: they reorder what follows them.
fn is_bidi_control(char: char) -> bool {
    matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
