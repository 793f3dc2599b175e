//! `barid explain --since`: what another taxonomy would change in the log.

use std::{str::FromStr, time::Duration};

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time;

use crate::{
    cli::{
        client::{CallError, Client, ClientArgs},
        explain::{TaxonomyFile, show::Look},
        line::colour,
        out,
        printable::{printable, width_of},
    },
    config::value::{Output, Span},
    wire::{
        begin::{Begin, BeginError},
        ninjs,
        proto::v1::{
            self as proto, compare_routing_response::Result as Compared, start::From as StartFrom,
        },
    },
};

/// How often the time of a long comparison is drawn.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Where a comparison begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Since {
    /// With all that is kept.
    Earliest,
    /// So long ago.
    Ago(Span),
    /// At a time.
    Time(prost_types::Timestamp),
}

/// A text that names no beginning of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinceError {
    /// None of the forms.
    #[error("use a duration such as 24h, a time such as 2026-07-01T08:00:00Z, or earliest")]
    Unknown,
    /// Begins like a time.
    #[error(transparent)]
    Time(BeginError),
}

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, SinceError> {
        if let Ok(span) = text.parse::<Span>() {
            return Ok(Self::Ago(span));
        }
        match text.parse::<Begin>() {
            Ok(Begin(StartFrom::Earliest(()))) => Ok(Self::Earliest),
            Ok(Begin(StartFrom::Since(time))) => Ok(Self::Time(time)),
            Err(error @ BeginError::Time(_)) => Err(SinceError::Time(error)),
            Ok(Begin(_)) | Err(_) => Err(SinceError::Unknown),
        }
    }
}

impl Since {
    /// As a time; none for the beginning of the log.
    pub fn time(&self, now: Timestamp) -> Option<prost_types::Timestamp> {
        match self {
            Self::Earliest => None,
            // Before there were times there was no log either.
            Self::Ago(Span(ago)) => now.checked_sub(*ago).ok().map(ninjs::time_to_proto),
            Self::Time(time) => Some(*time),
        }
    }
}

/// A revision that differs, or the sums, as `--output json` prints them.
#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum ComparedJson<'a> {
    Difference {
        cursor: &'a str,
        id: &'a str,
        revision: u32,
        headline: &'a str,
        before: &'a [String],
        after: &'a [String],
        gained: Vec<&'a str>,
        lost: Vec<&'a str>,
    },
    Summary {
        compared_count: u64,
        different_count: u64,
        changes: Vec<ChangeJson<'a>>,
    },
}

#[derive(Serialize)]
struct ChangeJson<'a> {
    topic: &'a str,
    gained_count: u64,
    lost_count: u64,
}

/// Compares, and prints each difference as it is found.
///
/// # Errors
/// A refusal, a lost server, or those of stdout.
pub async fn run(
    client: &Client,
    args: &ClientArgs,
    since: &Since,
    filter: proto::Filter,
    taxonomy: &TaxonomyFile,
) -> anyhow::Result<()> {
    // Without a deadline for the whole: a long log takes its time. A lost server is noticed by the
    // connection's own pings.
    let request = client.endless(proto::CompareRoutingRequest {
        taxonomy: taxonomy.text.clone(),
        since: since.time(Timestamp::now()),
        filter: Some(filter),
    });
    let mut articles = client.articles();
    let patience = args.timeout;
    let opened = time::timeout(patience.0, articles.compare_routing(request)).await;
    let opened = opened.map_err(|_| anyhow!("no answer for {patience}, the --timeout"))?;
    let mut answers = match opened.map_err(CallError::from) {
        Ok(answers) => answers.into_inner(),
        Err(error) => return Err(taxonomy.refusal(error)),
    };
    let bar = progress();
    let mut different_count = 0_u64;
    loop {
        bar.set_message(match different_count {
            1 => "1 revision differs".to_owned(),
            count => format!("{count} revisions differ"),
        });
        let answer = answers.message().await.map_err(CallError::from)?;
        let answer = answer.context("the server ended the comparison without its sums")?;
        match answer.result {
            Some(Compared::Difference(difference)) => {
                different_count += 1;
                bar.suspend(|| print_difference(&difference, args.output))?;
            }
            Some(Compared::Summary(summary)) => {
                bar.finish_and_clear();
                return print_summary(&summary, args.output);
            }
            // Of a newer server.
            None => {}
        }
    }
}

/// A spinner on stderr, if that is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} comparing: {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(PROGRESS_EVERY);
    bar
}

fn print_difference(difference: &proto::RoutingDifference, output: Output) -> anyhow::Result<()> {
    if output == Output::Text {
        return out::line(&of_difference(difference, &Look::of_stdout()));
    }
    out::json(&ComparedJson::Difference {
        cursor: &difference.cursor,
        id: &difference.article_id,
        revision: difference.revision,
        headline: &difference.headline,
        before: &difference.before,
        after: &difference.after,
        gained: only_in(&difference.after, &difference.before),
        lost: only_in(&difference.before, &difference.after),
    })
}

fn only_in<'a>(topics: &'a [String], others: &[String]) -> Vec<&'a str> {
    let only = topics.iter().filter(|topic| !others.contains(topic));
    only.map(String::as_str).collect()
}

/// What a revision gains and loses: two lines on a terminal, one in a pipe.
pub fn of_difference(difference: &proto::RoutingDifference, look: &Look) -> String {
    let gained = only_in(&difference.after, &difference.before);
    let lost = only_in(&difference.before, &difference.after);
    let part = |sign: char, topics: &[&str], ground: AnsiColor| -> Option<String> {
        let topics = topics.iter().map(|topic| format!("{sign}{topic}"));
        let text = topics.collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then(|| look.styled(colour(ground), &printable(&text)))
    };
    let parts = [
        part('+', &gained, AnsiColor::Green),
        part('-', &lost, AnsiColor::Red),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let changes = match parts.as_slice() {
        [] => format!(
            "the same topics in another order: {}",
            printable(&difference.after.join(", "))
        ),
        [..] => parts.join("  "),
    };
    let cursor = printable(&difference.cursor);
    if look.columns.is_none() {
        let id = printable(&difference.article_id);
        let (revision, headline) = (difference.revision, printable(&difference.headline));
        return format!("{cursor}  {id}  rev{revision}  {headline}  {changes}");
    }
    let headline = look.fitted(&difference.headline, width_of(&cursor) + 2);
    let cursor = look.styled(Style::new().dimmed(), &cursor);
    format!("{cursor}  {headline}\n    {changes}")
}

fn print_summary(summary: &proto::RoutingComparison, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Text => out::line(&of_summary(summary, &Look::of_stdout())),
        Output::Json => out::json(&ComparedJson::Summary {
            compared_count: summary.compared_count,
            different_count: summary.different_count,
            changes: (summary.changes.iter())
                .map(|change| ChangeJson {
                    topic: &change.topic,
                    gained_count: change.gained_count,
                    lost_count: change.lost_count,
                })
                .collect(),
        }),
    }
}

/// The sums, and what each topic would gain and lose.
pub fn of_summary(summary: &proto::RoutingComparison, look: &Look) -> String {
    let (compared, different) = (summary.compared_count, summary.different_count);
    let text = format!("{different} of {compared} revisions would have other topics of their own");
    let mut lines = vec![look.styled(Style::new().bold(), &text)];
    let widths = summary
        .changes
        .iter()
        .map(|change| width_of(&printable(&change.topic)));
    let width = widths.max().unwrap_or(0);
    let count = |sign: char, count: u64, ground: AnsiColor| {
        let text = match count {
            0 => format!("{:>7}", "-"),
            _ => format!("{:>7}", format!("{sign}{count}")),
        };
        let style = match count {
            0 => Style::new().dimmed(),
            _ => colour(ground),
        };
        look.styled(style, &text)
    };
    for change in &summary.changes {
        let topic = printable(&change.topic);
        let gained = count('+', change.gained_count, AnsiColor::Green);
        let lost = count('-', change.lost_count, AnsiColor::Red);
        lines.push(format!("  {topic:<width$}{gained}{lost}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
