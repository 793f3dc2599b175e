//! One delivery as one line of text: cut to the terminal, whole in a pipe.

use anstyle::{AnsiColor, Color, Style};
use jiff::{Timestamp, tz::TimeZone};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use crate::{
    article::Action,
    cli::out,
    wire::{convert, ninjs, proto::v1 as proto},
};

/// Fewest columns of a headline, before topics give way to it.
const HEADLINE_COLUMNS_MIN: usize = 30;
/// Characters of an article's id that tell it from its neighbours.
const SHORT_ID_LEN: usize = 8;
/// Isolates a text from the direction of what stands around it (Unicode FSI and PDI).
const ISOLATE: (char, char) = ('\u{2068}', '\u{2069}');

/// Where lines go.
#[derive(Clone, Debug)]
pub struct View {
    /// Columns of the terminal; none for a pipe, which gets whole lines.
    pub columns: Option<usize>,
    /// The time zone of the reader.
    pub zone: TimeZone,
    /// The reader's day shows times without dates on a terminal.
    pub now: Timestamp,
}

impl View {
    /// That of stdout, as it is now: a window may have been resized.
    pub fn of_stdout() -> Self {
        Self {
            columns: out::columns(),
            zone: TimeZone::system(),
            now: Timestamp::now(),
        }
    }

    /// A time of the reader's clock.
    pub fn time(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned_datetime(self.zone.clone());
        let is_today = zoned.date() == self.now.to_zoned_datetime(self.zone.clone()).date();
        let format = match self.columns {
            Some(_) if is_today => "%H:%M:%S",
            Some(_) | None => "%Y-%m-%d %H:%M:%S",
        };
        zoned.strftime(format).to_string()
    }

    /// A text that may run right to left, so that it does not turn its line around.
    pub fn isolated(&self, text: &str) -> String {
        if self.columns.is_some() && text.chars().any(is_right_to_left) {
            format!("{}{text}{}", ISOLATE.0, ISOLATE.1)
        } else {
            text.to_owned()
        }
    }
}

/// The line of a delivery: time, urgency, action, language, headline, topics, id.
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
    let before_columns = time.width() + 2 + 1 + 2 + 8 + 2 + language.width().max(2) + 2;
    let short_id: String = article.id.chars().take(SHORT_ID_LEN).collect();

    let headline = headline(article, action);
    let mut topics = printable(&delivery.topics.join(", "));
    let headline = match view.columns {
        None => headline,
        Some(columns) => {
            // The last column stays free: some terminals wrap after it.
            let room = |topics: &str| {
                let taken = before_columns + 2 + topics.width() + 2 + SHORT_ID_LEN + 1;
                columns.saturating_sub(taken)
            };
            let wanted = headline.width().min(HEADLINE_COLUMNS_MIN);
            if room(&topics) < wanted {
                topics = short_topics(&delivery.topics);
            }
            cut(&headline, room(&topics).max(1))
        }
    };
    let (urgency_style, action_style) = (urgency_style(urgency), action_style(action));
    let quiet = Style::new().dimmed();
    let headline = view.isolated(&headline);
    let text_style = match urgency {
        1 | 2 => Style::new().bold(),
        _ => Style::new(),
    };
    format!(
        "{quiet}{time}{quiet:#}  {urgency_style}{urgency}{urgency_style:#}  \
         {action_style}{word:<8}{action_style:#}  {language:<2}  \
         {text_style}{headline}{text_style:#}  {topics}  {quiet}{short_id}{quiet:#}"
    )
}

/// The line of what the demo has just published.
pub fn of_publication(
    action: proto::Action,
    published: &proto::PublishResponse,
    headline: &str,
    view: &View,
) -> String {
    let action = convert::action_from_proto(action.into()).unwrap_or(Action::Publish);
    let (word, revision) = (action.as_str(), published.revision);
    let topics = match view.columns {
        None => printable(&published.topics.join(", ")),
        Some(_) => short_topics(&published.topics),
    };
    let before_columns = 8 + 2 + 3 + revision.to_string().len() + 2;
    let headline = match view.columns {
        None => headline.to_owned(),
        Some(columns) => {
            let room = columns.saturating_sub(before_columns + 2 + topics.width() + 1);
            cut(headline, room.max(1))
        }
    };
    let style = action_style(action);
    let headline = view.isolated(&headline);
    format!("{style}{word:<8}{style:#}  rev{revision}  {headline}  {topics}")
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

/// One line without what could drive a terminal or disguise text.
pub fn printable(text: &str) -> String {
    let is_bad = |char: char| {
        char.is_control() || matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(is_bad, " ").trim().to_owned()
}

/// A text in so many columns, with an ellipsis where it was cut.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = 0;
    for grapheme in text.graphemes(true) {
        width += grapheme.width();
        if width + 1 > columns {
            break;
        }
        kept.push_str(grapheme);
    }
    format!("{}…", kept.trim_end())
}

/// The first topic, and how many more there are.
fn short_topics(topics: &[String]) -> String {
    match topics {
        [] => String::new(),
        [only] => printable(only),
        [first, rest @ ..] => format!("{} +{}", printable(first), rest.len()),
    }
}

fn is_right_to_left(char: char) -> bool {
    matches!(char,
        '\u{0590}'..='\u{08FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFF}'
        | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
}

fn urgency_style(urgency: u32) -> Style {
    match urgency {
        1 | 2 => colour(AnsiColor::Red).bold(),
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

/// The style of what must not be missed.
pub fn loud() -> Style {
    let red = Some(Color::Ansi(AnsiColor::Red));
    colour(AnsiColor::BrightWhite).bold().bg_color(red)
}

fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

#[cfg(test)]
mod tests;
