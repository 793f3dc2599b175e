//! `barid tail`: the wire as it comes, across lost connections.

use std::time::Duration;

use anstyle::Style;
use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use prost::Message as _;
use serde::Serialize;
use tokio::time::{self, Instant};
use tonic::{Request, Streaming};

use crate::{
    article::Action,
    cli::{
        client::{CallError, Client, ClientArgs},
        line::{self, View},
        out,
        wanted::WantedArgs,
    },
    config::value::Output,
    wire::{
        begin::Begin,
        convert,
        ninjs::{self, Ninjs},
        proto::v1::{self as proto, start::From, subscribe_response::Frame},
    },
};

/// The wait before the first new try; it doubles with each.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The server beats every 15 s when there is nothing; three missing ones are a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// Show news as it comes
///
/// One line each. When the server goes away, tail goes on after the last line as soon as it is
/// back; Ctrl-C ends it. The cursors in the JSON output are places to go on from.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid tail --topics ict,economy.trade --languages ar,en\n  \
                        barid tail --from last:20 --urgency 3\n  \
                        barid tail --from earliest --until-caught-up --output json"
)]
pub struct TailArgs {
    /// now, earliest, last:N, a time such as 2026-07-01T08:00:00Z, or a cursor
    #[arg(long, value_name = "BEGINNING", default_value = "now")]
    from: Begin,
    /// End when everything up to now has been shown, as scripts want it
    #[arg(long)]
    until_caught_up: bool,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// A frame as `--output json` prints it.
#[derive(Debug, Serialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
enum FrameJson<'a> {
    Delivery {
        cursor: &'a str,
        action: &'static str,
        revision: u32,
        topics: &'a [String],
        published_at: Option<Timestamp>,
        routed_at: Option<Timestamp>,
        article: Box<Ninjs>,
    },
    CaughtUp {
        cursor: &'a str,
    },
    Heartbeat {
        cursor: &'a str,
    },
    Gap {
        from: &'a str,
        to: &'a str,
        reason: &'static str,
    },
}

/// Where the tail is.
struct Tail {
    /// Where the next subscription begins.
    from: From,
    filter: proto::Filter,
    output: Output,
    ends_when_caught_up: bool,
    /// Tries since the last frame.
    failed_count: u32,
}

/// How a subscription ended.
enum End {
    /// Everything was shown that was asked for.
    Done,
    /// The connection broke.
    Lost(String, Option<Duration>),
}

/// Shows the wire until Ctrl-C.
///
/// # Errors
/// Bad use, no server at the start, a refusal, or, with `--until-caught-up`, a server that stays
/// away.
pub async fn run(args: TailArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client).await?;
    let mut tail = Tail {
        from: args.from.0,
        filter: args.wanted.filter(),
        output: args.client.output,
        ends_when_caught_up: args.until_caught_up,
        failed_count: 0,
    };
    tokio::select! {
        biased;
        // Nothing is lost: what was printed is all that was promised.
        stop = tokio::signal::ctrl_c() => stop.context("can't wait for Ctrl-C"),
        ended = tail.follow(&client, args.client.timeout.0) => ended,
    }
}

impl Tail {
    async fn follow(&mut self, client: &Client, patience: Duration) -> anyhow::Result<()> {
        let mut lost_at = None;
        loop {
            let (why, hint) = match self.subscribe(client).await? {
                End::Done => return Ok(()),
                End::Lost(why, hint) => (why, hint),
            };
            if self.failed_count == 0 {
                lost_at = None;
            }
            let lost_at = *lost_at.get_or_insert_with(Instant::now);
            if self.ends_when_caught_up && lost_at.elapsed() > patience {
                return Err(anyhow!("the server stays away: {why}"));
            }
            let wait = backoff(self.failed_count).max(hint.unwrap_or_default());
            if self.failed_count == 0 {
                anstream::eprintln!("barid: lost the server ({why}); waiting for it");
            }
            self.failed_count = self.failed_count.saturating_add(1);
            time::sleep(wait.min(BACKOFF_MAX)).await;
        }
    }

    async fn subscribe(&mut self, client: &Client) -> anyhow::Result<End> {
        // No deadline: a subscription has no end.
        let request = Request::new(proto::SubscribeRequest {
            filter: Some(self.filter.clone()),
            start: Some(proto::Start {
                from: Some(self.from.clone()),
            }),
            subscription: String::new(),
        });
        let mut subscriber = client.subscriber();
        let opened = time::timeout(SILENCE_MAX, subscriber.subscribe(request)).await;
        let mut frames = match opened {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return lost_or_refused(status.into()),
            Err(_) => return Ok(End::Lost("no answer".to_owned(), None)),
        };
        self.read(&mut frames).await
    }

    async fn read(
        &mut self,
        frames: &mut Streaming<proto::SubscribeResponse>,
    ) -> anyhow::Result<End> {
        loop {
            let frame = match time::timeout(SILENCE_MAX, frames.message()).await {
                Ok(Ok(Some(response))) => response.frame,
                Ok(Ok(None)) => return Ok(End::Lost("it ended the stream".to_owned(), None)),
                Ok(Err(status)) => return lost_or_refused(status.into()),
                Err(_) => return Ok(End::Lost("no heartbeat".to_owned(), None)),
            };
            if self.failed_count > 0 {
                anstream::eprintln!("barid: the server is back");
                self.failed_count = 0;
            }
            let Some(frame) = frame else {
                continue;
            };
            self.print(&frame)?;
            // Only now: what could not be printed is not behind us.
            self.from = From::After(match &frame {
                Frame::Delivery(delivery) => delivery.cursor.clone(),
                Frame::CaughtUp(caught_up) => caught_up.cursor.clone(),
                Frame::Heartbeat(heartbeat) => heartbeat.cursor.clone(),
                Frame::Gap(gap) => gap.to.clone(),
            });
            if self.ends_when_caught_up && matches!(frame, Frame::CaughtUp(_)) {
                return Ok(End::Done);
            }
        }
    }

    fn print(&self, frame: &Frame) -> anyhow::Result<()> {
        match self.output {
            Output::Json => out::json(&frame_json(frame)?),
            Output::Text => print_text(frame),
        }
    }
}

fn lost_or_refused(error: CallError) -> anyhow::Result<End> {
    if error.is_lost() {
        Ok(End::Lost(error.reason(), error.retry_after()))
    } else {
        Err(error.into())
    }
}

fn backoff(failed_count: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failed_count);
    BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX)
}

fn frame_json(frame: &Frame) -> anyhow::Result<FrameJson<'_>> {
    Ok(match frame {
        Frame::Delivery(delivery) => FrameJson::Delivery {
            cursor: &delivery.cursor,
            action: action(delivery).as_str(),
            revision: delivery.revision,
            topics: &delivery.topics,
            published_at: ninjs::time_from_proto(delivery.published_at.as_ref()),
            routed_at: ninjs::time_from_proto(delivery.routed_at.as_ref()),
            article: Box::new(Ninjs::from_delivery(delivery)?),
        },
        Frame::CaughtUp(proto::CaughtUp { cursor }) => FrameJson::CaughtUp { cursor },
        Frame::Heartbeat(proto::Heartbeat { cursor }) => FrameJson::Heartbeat { cursor },
        Frame::Gap(gap) => FrameJson::Gap {
            from: &gap.from,
            to: &gap.to,
            reason: reason(gap).0,
        },
    })
}

fn print_text(frame: &Frame) -> anyhow::Result<()> {
    match frame {
        Frame::Delivery(delivery) => {
            let article = proto::Article::decode(delivery.article.clone())?;
            out::line(&line::of_delivery(delivery, &article, &View::of_stdout()))
        }
        Frame::CaughtUp(_) => {
            // Between history and live, for people alone.
            if out::columns().is_some() {
                let quiet = Style::new().dimmed();
                out::line(&format!("{quiet}-- live from here --{quiet:#}"))?;
            }
            Ok(())
        }
        Frame::Heartbeat(_) => Ok(()),
        Frame::Gap(gap) => {
            let loud = line::loud();
            let (from, to) = (line::printable(&gap.from), line::printable(&gap.to));
            let why = reason(gap).1;
            out::line(&format!(
                "{loud}GAP{loud:#}  revisions after {from} up to {to} may be missing: {why}"
            ))
        }
    }
}

fn action(delivery: &proto::Delivery) -> Action {
    convert::action_from_proto(delivery.action).unwrap_or(Action::Publish)
}

/// A gap's reason as a word and in words.
fn reason(gap: &proto::Gap) -> (&'static str, &'static str) {
    match gap.reason() {
        proto::GapReason::Unspecified => ("unspecified", "the server does not say why"),
        proto::GapReason::Retention => ("retention", "they are older than what is kept"),
        proto::GapReason::EpochLost => ("epoch_lost", "the log lost its newest part in a restore"),
        proto::GapReason::EpochForeign => (
            "epoch_foreign",
            "the cursor is of another log; this one is shown from its beginning",
        ),
    }
}

#[cfg(test)]
mod tests;
