//! An explanation as text: colours and the terminal's width, or plain lines in a pipe.

use anstyle::{AnsiColor, Style};

use crate::{
    cli::{
        explain::context::{Context, Fields},
        line::colour,
        out,
        printable::{cut, isolated, printable, width_of, wrapped},
    },
    wire::{
        ninjs::names::in_ninjs,
        proto::v1::{self as proto, evidence::Kind},
    },
};

/// Columns of a phrase with the words around it, in a pipe.
const PIPE_CONTEXT_COLUMNS: usize = 80;
/// Least columns of a phrase with the words around it, however narrow the terminal is.
const CONTEXT_COLUMNS_MIN: usize = 12;
/// Places of a phrase that are shown; the others are counted.
const PLACES_SHOWN: usize = 2;
/// Columns of the points and the word before a piece of evidence.
const EVIDENCE_INDENT: usize = 15;
/// A terminal below this many columns shows phrases further to the left.
const NARROW_COLUMNS: usize = 60;
/// Columns before a phrase there.
const NARROW_INDENT: usize = 4;

/// Where the text goes.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Columns of the terminal; none for a pipe, which gets whole lines.
    pub columns: Option<usize>,
    /// What makes a phrase stand out.
    pub mark: Mark,
}

/// What makes a phrase stand out among the words around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A colour.
    Colour,
    /// Brackets, where there are no colours.
    Brackets,
}

/// What was explained.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Where it stands, or the id or uri that was asked for.
    pub name: &'a str,
    /// Whether a stored story was asked for.
    pub is_stored: bool,
    /// The article.
    pub article: &'a proto::Article,
    /// Its texts as routing reads them.
    pub fields: &'a Fields,
    /// The answer.
    pub explained: &'a proto::ExplainRoutingResponse,
}

impl Look {
    /// That of stdout, as it is now.
    pub fn of_stdout() -> Self {
        let columns = out::columns();
        let is_coloured = columns.is_some() && out::has_colours();
        Self {
            columns,
            mark: if is_coloured {
                Mark::Colour
            } else {
                Mark::Brackets
            },
        }
    }

    /// A text with its style; plain in a pipe.
    pub fn styled(&self, style: Style, text: &str) -> String {
        match self.columns {
            Some(_) if !text.is_empty() => format!("{style}{text}{style:#}"),
            _ => text.to_owned(),
        }
    }

    /// A text from the wire after so many columns: printable, cut to what the terminal has left, and
    /// isolated there.
    pub fn fitted(&self, text: &str, taken: usize) -> String {
        let text = printable(text);
        match self.columns {
            // The last column stays free: some terminals wrap after it.
            Some(columns) => isolated(&cut(&text, columns.saturating_sub(taken + 1))),
            None => text,
        }
    }

    /// A name and a long text after it, whose further lines stand beneath its beginning.
    pub fn paragraph(&self, name: &str, text: &str) -> String {
        let text = printable(text);
        let indent = width_of(name);
        let lines = match self.columns {
            Some(columns) => wrapped(&text, columns.saturating_sub(indent + 1).max(20)),
            None => vec![text],
        };
        let between = format!("\n{}", " ".repeat(indent));
        format!("{name}{}", lines.join(&between))
    }

    fn context(&self, fields: &Fields, place: &proto::PhrasePlace) -> String {
        let field = place.field.strip_prefix("article.").unwrap_or(&place.field);
        // On a narrow terminal the words need the room more.
        let indent = match self.columns {
            Some(..NARROW_COLUMNS) => NARROW_INDENT,
            _ => EVIDENCE_INDENT,
        };
        let label = format!("{:indent$}{:<11}  ", "", printable(field));
        let taken = width_of(&label) + 1;
        let room = self.columns.map_or(PIPE_CONTEXT_COLUMNS, |columns| {
            columns.saturating_sub(taken).max(CONTEXT_COLUMNS_MIN)
        });
        let quiet = Style::new().dimmed();
        let label = self.styled(quiet, &label);
        let text = match self.mark {
            Mark::Colour => marked(&fields.around(place, room)),
            Mark::Brackets => {
                let Context {
                    before,
                    phrase,
                    after,
                } = fields.around(place, room.saturating_sub(2));
                format!("{before}[{phrase}]{after}")
            }
        };
        match self.columns {
            Some(_) => format!("{label}{}", isolated(&text)),
            None => format!("{label}{text}"),
        }
    }
}

fn marked(context: &Context) -> String {
    let loud = colour(AnsiColor::Yellow).bold();
    let Context {
        before,
        phrase,
        after,
    } = context;
    format!("{before}{loud}{phrase}{loud:#}{after}")
}

impl Subject<'_> {
    /// The article's own topics, and those that it inherits.
    pub fn topics(&self) -> (&[String], &[String]) {
        let topics = &self.explained.topics;
        let own_count = usize::try_from(self.explained.own_topic_count).unwrap_or(0);
        topics.split_at_checked(own_count).unwrap_or((topics, &[]))
    }
}

/// The whole explanation of an article, in lines.
pub fn explained(subject: &Subject<'_>, look: &Look) -> String {
    let Subject {
        article, explained, ..
    } = subject;
    let (bold, quiet) = (Style::new().bold(), Style::new().dimmed());
    let mut lines = Vec::new();
    let headline = look.fitted(&article.headline, 0);
    if !headline.is_empty() {
        lines.push(look.styled(bold, &headline));
    }
    let about = format!(
        "{}  {}  taxonomy {}",
        subject.name, article.language, explained.taxonomy_version
    );
    lines.push(look.styled(quiet, &look.fitted(&about, 0)));
    let (own, inherited) = subject.topics();
    if !own.is_empty() {
        lines.push(look.paragraph("goes to    ", &own.join(", ")));
    }
    if !inherited.is_empty() {
        lines.push(look.paragraph("inherited  ", &inherited.join(", ")));
    }
    if subject.is_stored {
        lines.extend(stored(explained, look));
    }
    lines.push(String::new());
    for explanation in &explained.explanations {
        let is_inherited = inherited.contains(&explanation.topic);
        lines.push(verdict(
            explanation,
            explained.threshold,
            is_inherited,
            look,
        ));
        for evidence in &explanation.evidence {
            lines.extend(of_evidence(evidence, subject.fields, look));
        }
        if !explanation.remedy.is_empty() {
            let remedy = look.paragraph("    → ", &in_ninjs(&explanation.remedy));
            lines.push(look.styled(quiet, &remedy));
        }
    }
    lines.join("\n")
}

/// What was decided then, where the taxonomy of now says otherwise.
fn stored(explained: &proto::ExplainRoutingResponse, look: &Look) -> Vec<String> {
    let (then, now) = (&explained.stored_topics, &explained.topics);
    if then == now {
        return vec!["stored     the same".to_owned()];
    }
    let mut lines = vec!["stored     otherwise, with the reasons of then:".to_owned()];
    let reasons = explained.stored_reasons.iter().map(String::as_str);
    for (topic, reason) in then.iter().zip(reasons.chain(std::iter::repeat(""))) {
        let (sign, style) = if now.contains(topic) {
            ("=", Style::new())
        } else {
            ("-", colour(AnsiColor::Red))
        };
        let topic = format!("  {sign} {}", printable(topic));
        let reason = look.fitted(reason, width_of(&topic) + 2);
        let line = format!("{}  {reason}", look.styled(style, &topic));
        lines.push(line.trim_end().to_owned());
    }
    for topic in now.iter().filter(|topic| !then.contains(topic)) {
        let line = format!("  + {}", printable(topic));
        lines.push(look.styled(colour(AnsiColor::Green), &line));
    }
    lines
}

/// The line of a topic: what came of it, and its points.
fn verdict(
    explanation: &proto::TopicExplanation,
    threshold: i32,
    is_inherited: bool,
    look: &Look,
) -> String {
    let (word, style) = match explanation.verdict() {
        proto::Verdict::Routed if is_inherited => ("inherited", colour(AnsiColor::Cyan)),
        proto::Verdict::Routed => ("routed", colour(AnsiColor::Green)),
        proto::Verdict::BelowThreshold => ("below the threshold", colour(AnsiColor::Yellow)),
        proto::Verdict::Outweighed => ("outweighed", colour(AnsiColor::Yellow)),
        proto::Verdict::Yields => ("yields", Style::new().dimmed()),
        proto::Verdict::TooMany => ("one too many", colour(AnsiColor::Yellow)),
        proto::Verdict::Unspecified => ("unknown verdict; is the server newer?", Style::new()),
    };
    let points = match explanation.points {
        0 => String::new(),
        // Stated: it needs none.
        points if points < threshold && explanation.verdict() == proto::Verdict::Routed => {
            format!("  {points} points")
        }
        1 => format!("  1 point, {threshold} are needed"),
        points => format!("  {points} points, {threshold} are needed"),
    };
    let topic = look.fitted(&explanation.topic, width_of(word) + 2);
    let taken = width_of(&topic) + 2 + width_of(word);
    let has_room = (look.columns).is_none_or(|columns| taken + width_of(&points) < columns);
    let topic = look.styled(Style::new().bold(), &topic);
    let word = look.styled(style, word);
    format!("{topic}  {word}{}", if has_room { &*points } else { "" })
}

/// The lines of one piece of evidence.
fn of_evidence(evidence: &proto::Evidence, fields: &Fields, look: &Look) -> Vec<String> {
    let (word, text): (&str, &str) = match &evidence.kind {
        Some(Kind::Named(name)) => ("named", name),
        Some(Kind::Subject(code)) => ("subject", &format!("medtop:{code}")),
        Some(Kind::Inherited(_)) => ("earlier", "an earlier revision went there"),
        Some(Kind::Phrase(phrase)) => ("phrase", &phrase.phrase),
        Some(Kind::Rule(rule)) => ("rule", &rule.name),
        Some(Kind::Descendant(topic)) => ("beneath", topic),
        Some(Kind::Rest(_)) => ("rest", "nothing speaks for any topic"),
        None => ("?", "what this release does not know; is the server newer?"),
    };
    let points = match evidence.points {
        0 => String::new(),
        points => format!("{points:+}"),
    };
    let before = format!("  {points:>4} {word:<8}");
    debug_assert_eq!(width_of(&before), EVIDENCE_INDENT);
    let text = look.fitted(text, EVIDENCE_INDENT);
    let quiet = Style::new().dimmed();
    let mut lines = vec![format!("{}{text}", look.styled(quiet, &before))];
    match &evidence.kind {
        Some(Kind::Phrase(phrase)) => lines.extend(places(&phrase.places, fields, look)),
        Some(Kind::Rule(rule)) => {
            let firsts = rule.phrases.iter().filter_map(|one| one.places.first());
            lines.extend(firsts.map(|place| look.context(fields, place)));
        }
        _ => {}
    }
    lines
}

fn places(places: &[proto::PhrasePlace], fields: &Fields, look: &Look) -> Vec<String> {
    let shown = places.iter().take(PLACES_SHOWN);
    let mut lines: Vec<String> = shown.map(|place| look.context(fields, place)).collect();
    match places.len().saturating_sub(PLACES_SHOWN) {
        0 => {}
        more => {
            let text = format!("{}and {more} more", " ".repeat(EVIDENCE_INDENT));
            lines.push(look.styled(Style::new().dimmed(), &text));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
