//! `barid tail`: the wire as it comes, across lost connections.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anstyle::Style;
use anyhow::{Context as _, anyhow};
use clap::ValueHint;
use jiff::Timestamp;
use prost::Message as _;
use serde::Serialize;
use tokio::time::{self, Instant};
use tonic::Streaming;

use crate::{
    access::key::Role,
    article::Action,
    cli::{
        client::{CallError, Client, ClientArgs, backoff},
        line::{self, TimeForm, View},
        out::{self, OutputClosed},
        printable::{cell, printable, width_of, wrapped},
        tail::place::Place,
        wanted::WantedArgs,
    },
    config::value::{Output, Span},
    wire::{
        begin::Begin,
        convert,
        ninjs::{self, Ninjs},
        proto::v1::{self as proto, start::From, subscribe_response::Frame},
    },
};

mod place;

/// The longest wait before a new try.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The server beats every 15 s when there is nothing; three missing ones are a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// Show news as it comes
///
/// One line each. When the server is not there or goes away, tail waits for it and goes on after
/// the last line: nothing is missing and nothing comes twice. Ctrl-C ends it. The cursors in the
/// JSON output are places to go on from.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid tail --topics ict,economy.trade --languages ar,en\n  \
                        barid tail --from last:20 --urgency 3 --time absolute\n  \
                        barid tail --from earliest --until-caught-up --output json\n  \
                        barid tail --subscription night-desk\n  \
                        barid tail --server https://wire.example:50051 \
                        --client-certificate gazette.crt --client-key gazette.pem"
)]
pub struct TailArgs {
    /// now, earliest, last:N, a time such as 2026-07-01T08:00:00Z, or a cursor
    #[arg(long, value_name = "BEGINNING", default_value = "now", value_hint = ValueHint::Other)]
    from: Begin,
    /// End when everything up to now has been shown, as scripts want it; a server that stays away
    /// for longer than --timeout is then a failure
    #[arg(long)]
    until_caught_up: bool,
    /// Go on where the durable subscription of this name was, and acknowledge what has been printed;
    /// --from counts only for a new one
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    subscription: Option<String>,
    /// How times are shown [default: relative on a terminal, absolute in a pipe]
    #[arg(long, value_name = "FORM")]
    time: Option<TimeForm>,
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
    Opened {
        token: &'a str,
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
    /// Of a durable subscription.
    place: Option<Place>,
    server: String,
    output: Output,
    time: Option<TimeForm>,
    ends_when_caught_up: bool,
    /// Whether people have been told that history has ended.
    is_live: bool,
    /// Whether a frame ever came.
    was_there: bool,
    /// Tries since the last frame.
    failed_count: u32,
    /// Since when there has been no server.
    lost_at: Option<Instant>,
}

/// How a subscription ended.
enum End {
    /// Everything was shown that was asked for.
    Done,
    /// The connection broke, or there is none yet.
    Lost(String, Option<Duration>),
}

/// Shows the wire until Ctrl-C.
///
/// # Errors
/// Bad use, a refusal, or, with `--until-caught-up`, a server that stays away.
pub async fn run(args: TailArgs) -> anyhow::Result<()> {
    let client = Client::lazy(&args.client, Role::Subscriber)?;
    client.check_identity(&args.client).await?;
    let mut tail = Tail {
        from: args.from.0,
        filter: args.wanted.filter(),
        place: args.subscription.map(Place::new),
        server: args.client.server,
        output: args.client.output,
        time: args.time,
        ends_when_caught_up: args.until_caught_up,
        is_live: false,
        was_there: false,
        failed_count: 0,
        lost_at: None,
    };
    tokio::select! {
        biased;
        // Nothing is lost: what was printed is all that was promised.
        stop = tokio::signal::ctrl_c() => stop.context("can't wait for Ctrl-C")?,
        ended = tail.follow(&client, args.client.timeout.0) => {
            tail.finish(&client).await;
            return ended;
        }
    }
    tail.finish(&client).await;
    tail.say_where();
    Ok(())
}

impl Tail {
    async fn follow(&mut self, client: &Client, patience: Duration) -> anyhow::Result<()> {
        loop {
            let (why, hint) = match self.subscribe(client).await? {
                End::Done => return Ok(()),
                End::Lost(why, hint) => (why, hint),
            };
            let is_first = self.lost_at.is_none();
            let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
            if self.ends_when_caught_up && lost_at.elapsed() > patience {
                let server = &self.server;
                return Err(anyhow!(
                    "no server at {server} for {}: {why}",
                    Span(patience)
                ));
            }
            if is_first {
                self.say_lost(&why);
            }
            let wait = backoff(self.failed_count, BACKOFF_MAX).max(hint.unwrap_or_default());
            self.failed_count = self.failed_count.saturating_add(1);
            time::sleep(wait.min(BACKOFF_MAX)).await;
        }
    }

    async fn finish(&mut self, client: &Client) {
        if let Some(place) = &mut self.place {
            place.finish(client).await;
        }
    }

    fn say_lost(&self, why: &str) {
        let server = &self.server;
        if self.was_there {
            out::say(&format!("barid: lost the server ({why}); waiting for it"));
        } else {
            out::say(&format!(
                "barid: no server answers at {server} yet; waiting for it (--server names another)"
            ));
        }
    }

    fn say_back(&mut self) {
        self.failed_count = 0;
        let was_there = std::mem::replace(&mut self.was_there, true);
        let Some(lost_at) = self.lost_at.take() else {
            return;
        };
        let away = humantime::format_duration(Duration::from_secs(lost_at.elapsed().as_secs()));
        out::say(&match (was_there, &self.from) {
            (true, From::After(cursor)) => {
                let cursor = printable(cursor);
                format!("barid: the server is back after {away}; going on after {cursor}")
            }
            (true, _) => format!("barid: the server is back after {away}"),
            (false, _) => "barid: the server is there".to_owned(),
        });
    }

    /// Where to go on, for people who have just stopped.
    fn say_where(&self) {
        if let From::After(cursor) = &self.from
            && self.place.is_none()
            && io::stderr().is_terminal()
        {
            let cursor = printable(cursor);
            out::say(&format!(
                "barid: stopped; --from {cursor} goes on from here"
            ));
        }
    }

    async fn subscribe(&mut self, client: &Client) -> anyhow::Result<End> {
        // No deadline: a subscription has no end.
        let request = client.endless(proto::SubscribeRequest {
            beyond_grant: 0,
            filter: Some(self.filter.clone()),
            start: Some(proto::Start {
                from: Some(self.from.clone()),
            }),
            subscription: self.place.as_ref().map(Place::name).unwrap_or_default(),
        });
        let mut subscriber = client.subscriber();
        let opened = time::timeout(SILENCE_MAX, subscriber.subscribe(request)).await;
        let mut frames = match opened {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return self.ended(status.into()),
            Err(_) => return Ok(End::Lost("no answer".to_owned(), None)),
        };
        self.read(client, &mut frames).await
    }

    async fn read(
        &mut self,
        client: &Client,
        frames: &mut Streaming<proto::SubscribeResponse>,
    ) -> anyhow::Result<End> {
        loop {
            let next = time::timeout(SILENCE_MAX, frames.message());
            let next = match &mut self.place {
                None => next.await,
                Some(place) => tokio::select! {
                    biased;
                    next = next => next,
                    // What is under way stays so when a frame comes first.
                    error = place.acknowledge(client) => return self.ended(error),
                },
            };
            let frame = match next {
                Ok(Ok(Some(response))) => response.frame,
                Ok(Ok(None)) => return Ok(End::Lost("it ended the stream".to_owned(), None)),
                Ok(Err(status)) => return self.ended(status.into()),
                Err(_) => return Ok(End::Lost("no heartbeat".to_owned(), None)),
            };
            self.say_back();
            let Some(frame) = frame else {
                continue;
            };
            let cursor = match &frame {
                Frame::Delivery(delivery) => delivery.cursor.clone(),
                Frame::CaughtUp(caught_up) => caught_up.cursor.clone(),
                Frame::Heartbeat(heartbeat) => heartbeat.cursor.clone(),
                Frame::Gap(gap) => gap.to.clone(),
                Frame::Opened(opened) => {
                    if let Some(place) = &mut self.place {
                        place.opens(opened.token.clone());
                    }
                    self.print(&frame)?;
                    continue;
                }
            };
            let is_known = |place: &Place| place.has_printed(&cursor);
            let is_again = self.place.as_ref().is_some_and(is_known);
            if !(is_again && matches!(frame, Frame::Delivery(_))) {
                self.print(&frame)?;
            }
            // Only now: what could not be printed is not behind us.
            if let Some(place) = &mut self.place {
                place.prints(&cursor);
            }
            self.from = From::After(cursor);
            if self.ends_when_caught_up && matches!(frame, Frame::CaughtUp(_)) {
                return Ok(End::Done);
            }
        }
    }

    fn ended(&mut self, error: CallError) -> anyhow::Result<End> {
        let is_reset = error.reason() == "SUBSCRIPTION_RESET";
        if let Some(place) = self.place.as_mut().filter(|_| is_reset) {
            // What it has printed may be wanted again.
            place.forget();
        }
        if is_reset {
            return Ok(End::Lost(error.loss(), None));
        }
        lost_or_refused(error)
    }

    fn print(&mut self, frame: &Frame) -> anyhow::Result<()> {
        if self.output == Output::Json {
            return out::json(&frame_json(frame)?);
        }
        let view = View::of_stdout(self.time);
        match frame {
            Frame::Delivery(delivery) => {
                let article = proto::Article::decode(delivery.article.clone())?;
                out::line(&line::of_delivery(delivery, &article, &view))
            }
            // Once, and for people alone: after a lost connection they know.
            Frame::CaughtUp(_) if !self.is_live => {
                self.is_live = true;
                match view.columns {
                    Some(columns) => out::line(&live(columns)),
                    None => Ok(()),
                }
            }
            // A quiet wire writes no line that would tell it: `tail | head -n 1` would wait for ever.
            Frame::CaughtUp(_) | Frame::Heartbeat(_) if out::is_closed() => {
                Err(OutputClosed.into())
            }
            Frame::CaughtUp(_) | Frame::Heartbeat(_) | Frame::Opened(_) => Ok(()),
            Frame::Gap(gap) => out::line(&gap_text(gap, view.columns)),
        }
    }
}

fn lost_or_refused(error: CallError) -> anyhow::Result<End> {
    if error.is_lost() {
        Ok(End::Lost(error.loss(), error.retry_after()))
    } else {
        Err(error.into())
    }
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
        Frame::Opened(proto::Opened { token }) => FrameJson::Opened { token },
        Frame::CaughtUp(proto::CaughtUp { cursor }) => FrameJson::CaughtUp { cursor },
        Frame::Heartbeat(proto::Heartbeat { cursor }) => FrameJson::Heartbeat { cursor },
        Frame::Gap(gap) => FrameJson::Gap {
            from: &gap.from,
            to: &gap.to,
            reason: reason(gap).0,
        },
    })
}

/// Between history and live.
fn live(columns: usize) -> String {
    let quiet = Style::new().dimmed();
    let rule = "─".repeat(columns.saturating_sub(width_of("── live ") + 1));
    format!("{quiet}── live {rule}{quiet:#}")
}

/// What can't be shown, so that nobody takes it for a line of news: on a terminal in bands of its
/// own, as wide as it is.
fn gap_text(gap: &proto::Gap, columns: Option<usize>) -> String {
    let (from, to) = (printable(&gap.from), printable(&gap.to));
    let why = reason(gap).1;
    let text = format!("revisions after {from} up to {to} may be missing: {why}");
    let Some(columns) = columns else {
        return format!("GAP  {text}");
    };
    let loud = line::loud();
    let width = columns.saturating_sub(1);
    let mut rows = vec![cell(" GAP", width)];
    let lines = wrapped(&text, width.saturating_sub(2));
    rows.extend(lines.iter().map(|line| cell(&format!(" {line}"), width)));
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("{loud}{row}{loud:#}"))
        .collect();
    rows.join("\n")
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
