//! One delivery as one line of text: columns on a terminal, whole fields in a pipe.

use anstyle::{AnsiColor, Color, Style};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    article::Action,
    cli::{
        out,
        printable::{cell, cut, isolated, printable, width_of},
    },
    wire::{convert, ninjs, proto::v1 as proto},
};

/// Columns of an action's word.
const ACTION_COLUMNS: usize = 8;
/// Columns of an age, `364d ago`.
const AGE_COLUMNS: usize = 8;
/// Characters of an article's id that tell it from its neighbours.
const SHORT_ID_LEN: usize = 8;

/// How times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TimeForm {
    /// How long ago, 5m ago; a terminal's default
    Relative,
    /// The clock: local on a terminal, RFC 3339 in UTC in a pipe; a pipe's default
    Absolute,
}

/// Where lines go.
#[derive(Clone, Debug)]
pub struct View {
    /// Columns of the terminal; none for a pipe, which gets whole lines.
    pub columns: Option<usize>,
    /// How times are shown.
    pub time: TimeForm,
    /// The time zone of the reader.
    pub zone: TimeZone,
    /// What ages are counted from.
    pub now: Timestamp,
}

impl View {
    /// That of stdout, as it is now: a window may have been resized.
    pub fn of_stdout(time: Option<TimeForm>) -> Self {
        let columns = out::columns();
        let usual = match columns {
            Some(_) => TimeForm::Relative,
            None => TimeForm::Absolute,
        };
        Self {
            columns,
            time: time.unwrap_or(usual),
            zone: TimeZone::system(),
            now: Timestamp::now(),
        }
    }

    /// A time in the view's form.
    pub fn time(&self, time: Timestamp) -> String {
        match self.time {
            TimeForm::Relative => self.age(time),
            TimeForm::Absolute => self.clock(time),
        }
    }

    /// How long ago; a clock that is a little ahead of ours makes no future.
    pub fn age(&self, time: Timestamp) -> String {
        let seconds = self.now.as_second().saturating_sub(time.as_second());
        match seconds {
            ..5 => "now".to_owned(),
            5..60 => format!("{seconds}s ago"),
            60..3_600 => format!("{}m ago", seconds / 60),
            3_600..86_400 => format!("{}h ago", seconds / 3_600),
            86_400..31_536_000 => format!("{}d ago", seconds / 86_400),
            _ => format!("{}y ago", seconds / 31_536_000),
        }
    }

    /// The reader's clock, with the date if it is another day; RFC 3339 in a pipe.
    pub fn clock(&self, time: Timestamp) -> String {
        if self.columns.is_none() {
            return format!("{time:.3}");
        }
        let zoned = time.to_zoned_datetime(self.zone.clone());
        let is_today = zoned.date() == self.now.to_zoned_datetime(self.zone.clone()).date();
        let format = if is_today {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M"
        };
        zoned.strftime(format).to_string()
    }

    /// A printable text, isolated where its direction could turn the line around.
    pub fn isolated(&self, text: &str) -> String {
        match self.columns {
            Some(_) => isolated(text),
            None => text.to_owned(),
        }
    }
}

/// The line of a delivery: time, urgency, action, language, headline, topics, id. A narrow terminal
/// goes without the last of them, then without language and time.
pub fn of_delivery(delivery: &proto::Delivery, article: &proto::Article, view: &View) -> String {
    let action = convert::action_from_proto(delivery.action).unwrap_or(Action::Publish);
    let published_at = ninjs::time_from_proto(delivery.published_at.as_ref());
    let time = published_at.map_or_else(|| "-".to_owned(), |time| view.time(time));
    let urgency = match article.urgency {
        0 => 5,
        number => number,
    };
    let language = printable(&article.language);
    let word = action.as_str();
    let text = headline(article, action);
    let Some(columns) = view.columns else {
        let (topics, id) = (
            printable(&delivery.topics.join(", ")),
            printable(&article.id),
        );
        return format!("{time}  {urgency}  {word:<8}  {language:<2}  {text}  {topics}  {id}");
    };
    let quiet = Style::new().dimmed();
    let mut before = Vec::new();
    if columns >= 48 {
        before.push((quiet, format!("{time:>AGE_COLUMNS$}")));
    }
    before.push((urgency_style(urgency), urgency.to_string()));
    before.push((action_style(action), format!("{word:<ACTION_COLUMNS$}")));
    if columns >= 56 {
        before.push((Style::new(), cell(&language, language_columns(columns))));
    }
    let mut after = Vec::new();
    if columns >= 72 {
        let width = topics_columns(columns);
        after.push((Style::new(), cell(&short(&delivery.topics, width), width)));
    }
    if columns >= 110 {
        let id: String = printable(&article.id).chars().take(SHORT_ID_LEN).collect();
        after.push((quiet, id));
    }
    let style = headline_style(action, urgency);
    row(&before, (style, &text), &after, columns)
}

/// The line of what has just been published: action, revision, headline, topics.
pub fn of_publication(
    action: proto::Action,
    published: &proto::PublishResponse,
    headline: &str,
    view: &View,
) -> String {
    let action = convert::action_from_proto(action.into()).unwrap_or(Action::Publish);
    let (word, revision) = match ninjs::time_from_proto(published.embargoed_until.as_ref()) {
        None => (action.as_str(), format!("rev{}", published.revision)),
        Some(until) => ("embargo", format!("until {}", view.clock(until))),
    };
    let Some(columns) = view.columns else {
        let topics = printable(&published.topics.join(", "));
        return format!("{word:<8}  {revision}  {headline}  {topics}");
    };
    let before = [
        (action_style(action), format!("{word:<ACTION_COLUMNS$}")),
        (Style::new().dimmed(), revision),
    ];
    let mut after = Vec::new();
    if columns >= 72 {
        let width = topics_columns(columns);
        after.push((Style::new(), cell(&short(&published.topics, width), width)));
    }
    row(&before, (Style::new(), headline), &after, columns)
}

/// One row of a terminal: cells, with the headline in what they leave. The last column stays free:
/// some terminals wrap after it.
fn row(
    before: &[(Style, String)],
    (style, text): (Style, &str),
    after: &[(Style, String)],
    columns: usize,
) -> String {
    let taken: usize = before
        .iter()
        .chain(after)
        .map(|(_, text)| width_of(text) + 2)
        .sum();
    let room = columns.saturating_sub(taken + 1);
    let headline = match after {
        [] => isolated(&cut(text, room)),
        [..] => cell(text, room),
    };
    let cells: Vec<String> = (before.iter().map(|(style, text)| (*style, text)))
        .chain([(style, &headline)])
        .chain(after.iter().map(|(style, text)| (*style, text)))
        .map(|(style, text)| format!("{style}{text}{style:#}"))
        .collect();
    cells.join("  ").trim_end().to_owned()
}

fn language_columns(columns: usize) -> usize {
    if columns >= 100 { 5 } else { 2 }
}

fn topics_columns(columns: usize) -> usize {
    match columns {
        0..90 => 20,
        90..130 => 28,
        130..170 => 36,
        _ => 48,
    }
}

/// What a line says of a story: its headline, or why it is taken back.
fn headline(article: &proto::Article, action: Action) -> String {
    let note = &article.edition_note;
    let text = match action {
        Action::Withhold | Action::Kill => note.clone(),
        Action::Correct => format!("{} ({note})", article.headline),
        Action::Publish | Action::Update => article.headline.clone(),
    };
    printable(&text)
}

/// All topics where they have room, or else the first and how many more there are.
fn short(topics: &[String], columns: usize) -> String {
    let all = printable(&topics.join(", "));
    match topics {
        [first, rest @ ..] if width_of(&all) > columns && !rest.is_empty() => {
            let more = format!(" +{}", rest.len());
            let room = columns.saturating_sub(width_of(&more));
            format!("{}{more}", cut(&printable(first), room))
        }
        _ => all,
    }
}

fn urgency_style(urgency: u32) -> Style {
    match urgency {
        1 => loud(),
        2 => colour(AnsiColor::Red).bold(),
        3 | 4 => colour(AnsiColor::Yellow),
        5 => Style::new(),
        _ => Style::new().dimmed(),
    }
}

fn action_style(action: Action) -> Style {
    match action {
        Action::Publish => colour(AnsiColor::Green),
        Action::Update => colour(AnsiColor::Cyan),
        Action::Correct => colour(AnsiColor::Yellow).bold(),
        Action::Withhold => colour(AnsiColor::Magenta).bold(),
        Action::Kill => loud(),
    }
}

fn headline_style(action: Action, urgency: u32) -> Style {
    match (action, urgency) {
        (Action::Kill, _) => colour(AnsiColor::Red),
        (Action::Withhold, _) => colour(AnsiColor::Magenta),
        (Action::Publish | Action::Update | Action::Correct, 1 | 2) => Style::new().bold(),
        (Action::Publish | Action::Update | Action::Correct, _) => Style::new(),
    }
}

/// The style of what must not be missed.
pub fn loud() -> Style {
    let red = Some(Color::Ansi(AnsiColor::Red));
    colour(AnsiColor::BrightWhite).bold().bg_color(red)
}

/// The style of a colour.
pub fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

#[cfg(test)]
mod tests;
