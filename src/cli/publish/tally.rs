//! What became of the articles: the progress bar, the answers on stdout, the summary on stderr.

use std::{collections::BTreeMap, fs};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{
        BadUse,
        client::CallError,
        input::Place,
        out,
        printable::printable,
        publish::{FailedJson, ViolationJson, print_published, stream::Sending},
    },
    config::value::Output,
    wire::{ninjs::names::in_ninjs, proto::v1 as proto},
};

/// Different sentences that the summary repeats for each reason; articles beyond are counted.
const SENTENCES_SHOWN: usize = 20;
/// Places that the summary names for each sentence; the others are counted.
const PLACES_SHOWN: u64 = 8;
/// Repeated articles that are remembered, to look what became of them.
const REPEATED_MAX: usize = 100;
/// The reason of what never left: it is no article.
const UNREADABLE: &str = "not readable as an article";
/// The reason of what failed without the server giving one.
const UNANSWERED: &str = "not answered";

/// What became of the articles.
pub struct Tally {
    output: Output,
    bar: ProgressBar,
    accepted_count: u64,
    duplicate_count: u64,
    failed_count: u64,
    /// Those of the failed whose input is at fault.
    invalid_count: u64,
    reasons: BTreeMap<String, Failures>,
    /// The first that had been accepted before, with their articles' ids.
    repeated: Vec<(Place, String)>,
}

/// What failed for one reason.
#[derive(Debug, Default)]
struct Failures {
    count: u64,
    /// Each sentence once, with the places that it is true of.
    sentences: Vec<(String, Places)>,
}

#[derive(Debug, Default)]
struct Places {
    count: u64,
    shown: Vec<Place>,
}

impl Tally {
    /// Of nothing yet. The bar is drawn on stderr, and only if that is a terminal.
    pub fn new(output: Output, files: &[String]) -> Self {
        let (bar, template) = match bytes(files) {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{wide_bar} {percent:>3}%  {bytes} of {total_bytes}  {msg}  {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            output,
            bar,
            accepted_count: 0,
            duplicate_count: 0,
            failed_count: 0,
            invalid_count: 0,
            reasons: BTreeMap::new(),
            repeated: Vec::new(),
        }
    }

    /// An article was accepted.
    ///
    /// # Errors
    /// Those of stdout.
    pub fn accept(
        &mut self,
        sending: &Sending,
        published: &proto::PublishResponse,
    ) -> anyhow::Result<()> {
        let mut published = published.clone();
        // Sent again over a lost connection, it may be its own duplicate.
        published.duplicate &= sending.sent_count == 1;
        self.accepted_count += 1;
        self.duplicate_count += u64::from(published.duplicate);
        if published.duplicate
            && sending.action != proto::Action::Kill
            && self.repeated.len() < REPEATED_MAX
        {
            let id = published.article_id.clone();
            self.repeated.push((sending.place.clone(), id));
        }
        self.done(sending.read_bytes);
        let place = Some(&sending.place);
        self.bar
            .suspend(|| print_published(self.output, sending.action, &published, place))
    }

    /// Articles that had been accepted before, with their ids; at most the first 100.
    pub fn repeated(&self) -> &[(Place, String)] {
        &self.repeated
    }

    /// An article never left.
    ///
    /// # Errors
    /// Those of stdout.
    pub fn refuse(&mut self, place: &Place, message: &str, read_bytes: u64) -> anyhow::Result<()> {
        self.invalid_count += 1;
        self.done(read_bytes);
        self.note(UNREADABLE, place, message, None)
    }

    /// An article was refused by the server, or not answered.
    ///
    /// # Errors
    /// Those of stdout.
    pub fn fail(
        &mut self,
        place: &Place,
        message: &str,
        error: Option<&CallError>,
    ) -> anyhow::Result<()> {
        self.invalid_count += u64::from(error.is_some_and(CallError::is_bad_use));
        let reason = error.map_or_else(|| UNANSWERED.to_owned(), CallError::reason);
        self.note(&reason, place, message, error)
    }

    fn note(
        &mut self,
        reason: &str,
        place: &Place,
        message: &str,
        error: Option<&CallError>,
    ) -> anyhow::Result<()> {
        self.failed_count += 1;
        let failures = self.reasons.entry(printable(reason)).or_default();
        // People know their file's names; programs get the protocol's.
        failures.add(place, &in_ninjs(message));
        if self.output == Output::Text {
            return Ok(());
        }
        let violations = error.map_or_else(Vec::new, CallError::violations);
        let json = FailedJson {
            result: "failed",
            place: place.to_string(),
            reason: error.map(CallError::reason),
            message,
            violations: (violations.into_iter())
                .map(|(field, message)| ViolationJson { field, message })
                .collect(),
        };
        self.bar.suspend(|| out::json(&json))
    }

    /// So much of the files is done.
    pub fn done(&self, read_bytes: u64) {
        if self.bar.length().is_some() {
            self.bar.set_position(read_bytes);
        } else {
            self.bar.tick();
        }
        let (accepted, failed) = (self.accepted_count, self.failed_count);
        self.bar.set_message(match failed {
            0 => format!("{accepted} accepted"),
            _ => format!("{accepted} accepted, {failed} failed"),
        });
    }

    /// What was left out of an article.
    pub fn warn(&self, place: &Place, warnings: &[String]) {
        for warning in warnings {
            self.say(&format!("barid: {place}: {warning}"));
        }
    }

    /// Says something beside the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| out::say(text));
    }

    /// Says what failed and why, and judges it as a whole.
    ///
    /// # Errors
    /// [`BadUse`] if there was nothing, or if all that failed was invalid; another error if
    /// anything failed otherwise.
    pub fn finish(self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let Self {
            accepted_count: accepted,
            duplicate_count: duplicates,
            failed_count: failed,
            ..
        } = self;
        if accepted > 1 {
            let before = match duplicates {
                0 => String::new(),
                _ => format!(", of which {duplicates} had been before"),
            };
            out::say(&format!("barid: {accepted} articles were accepted{before}"));
        }
        let all = accepted + failed;
        let text = self.summary();
        match failed {
            0 if all == 0 => Err(BadUse("there is no article in the files".to_owned()).into()),
            0 => Ok(()),
            _ if self.invalid_count == failed => Err(BadUse(text).into()),
            _ => Err(anyhow!(text)),
        }
    }

    /// What failed, by reasons.
    fn summary(&self) -> String {
        let all = self.accepted_count + self.failed_count;
        let failed = self.failed_count;
        let mut lines = vec![format!("{failed} of {all} articles were not accepted")];
        for (reason, failures) in &self.reasons {
            lines.push(format!("  {reason} ({})", failures.count));
            for (sentence, places) in &failures.sentences {
                lines.push(format!("    {}", sentence.replace('\n', "\n    ")));
                lines.push(format!("      at {}", places.text()));
            }
            let shown: u64 = failures
                .sentences
                .iter()
                .map(|(_, places)| places.count)
                .sum();
            match failures.count - shown {
                0 => {}
                more => lines.push(format!("    and {more} more")),
            }
        }
        lines.join("\n")
    }
}

impl Places {
    /// `a.jsonl:2, :4, b.jsonl:1 and 3 more`: each file once in a row.
    fn text(&self) -> String {
        let (mut text, mut file) = (String::new(), "");
        for place in &self.shown {
            if !text.is_empty() {
                text.push_str(", ");
            }
            let whole = place.to_string();
            let short = whole
                .strip_prefix(&place.file)
                .filter(|_| place.file == file);
            text.push_str(short.filter(|short| !short.is_empty()).unwrap_or(&whole));
            file = &place.file;
        }
        match self.count.saturating_sub(PLACES_SHOWN) {
            0 => text,
            more => format!("{text} and {more} more"),
        }
    }
}

impl Failures {
    fn add(&mut self, place: &Place, message: &str) {
        self.count += 1;
        let known = self
            .sentences
            .iter()
            .position(|(known, _)| known == message);
        let index = match known {
            Some(index) => index,
            None if self.sentences.len() < SENTENCES_SHOWN => {
                self.sentences.push((message.to_owned(), Places::default()));
                self.sentences.len() - 1
            }
            None => return,
        };
        if let Some((_, places)) = self.sentences.get_mut(index) {
            places.count += 1;
            if places.count <= PLACES_SHOWN {
                places.shown.push(place.clone());
            }
        }
    }
}

/// Bytes of all files; none where one of them is no file, such as stdin.
fn bytes(files: &[String]) -> Option<u64> {
    files
        .iter()
        .map(|file| {
            let metadata = fs::metadata(file).ok()?;
            metadata.is_file().then_some(metadata.len())
        })
        .sum()
}

#[cfg(test)]
mod tests;
