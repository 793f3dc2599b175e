//! `barid embargo`: drafts that wait for their time.

use std::str::FromStr;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueHint};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    access::key::Role,
    cli::{
        client::{CallError, Client, ClientArgs, article_id},
        line::View,
        out,
        printable::printable,
        read,
    },
    config::value::{Output, Span},
    wire::{
        convert,
        ninjs::{self, Ninjs},
        proto::v1 as proto,
    },
};

/// Drafts of a page.
const PAGE_SIZE: u32 = 1000;

/// See and change what waits for its time
///
/// A story whose embargoedUntil lies in the future is published as a draft that goes out then. It is
/// replaced by publishing it again. Takes a key of the role desk.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  barid embargo list\n  barid embargo show tag:wire.example,2026:1\n  \
                  barid embargo move tag:wire.example,2026:1 2h\n  \
                  barid embargo release tag:wire.example,2026:1"
)]
pub enum EmbargoCommand {
    /// List what waits, next one first
    #[command(after_help = "Examples:\n  barid embargo list\n  barid embargo list --output json")]
    List(ListArgs),
    /// Show a draft with its text
    #[command(after_help = "Examples:\n  barid embargo show tag:wire.example,2026:1")]
    Show(DraftArgs),
    /// Give a draft another time
    #[command(
        after_help = "Examples:\n  barid embargo move tag:wire.example,2026:1 2026-12-24T18:00:00Z\n  \
                      barid embargo move tag:wire.example,2026:1 45m"
    )]
    Move(MoveArgs),
    /// Erase a draft; nothing is sent
    #[command(after_help = "Examples:\n  barid embargo cancel tag:wire.example,2026:1")]
    Cancel(DraftArgs),
    /// Let a draft out now
    #[command(after_help = "Examples:\n  barid embargo release tag:wire.example,2026:1")]
    Release(DraftArgs),
}

/// Nothing to choose.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Which draft.
#[derive(Debug, Args)]
pub struct DraftArgs {
    /// The story: its id or its uri
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    article: String,
    /// Only if this is the draft's version, as list and show say it
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true
    )]
    version_is: u64,
    #[command(flatten)]
    client: ClientArgs,
}

/// Which draft, and when.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The story: its id or its uri
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    article: String,
    /// When to let it out: a time such as 2026-12-24T18:00:00Z, or from now on, such as 45m
    #[arg(value_name = "TIME", value_hint = ValueHint::Other)]
    until: Until,
    /// Only if this is the draft's version, as list and show say it
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true
    )]
    version_is: u64,
    #[command(flatten)]
    client: ClientArgs,
}

/// A time to come.
#[derive(Clone, Debug)]
enum Until {
    Time(Timestamp),
    In(Span),
}

/// A text that names no time to come.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("use a time such as 2026-12-24T18:00:00Z, or a duration such as 45m")]
struct UntilError;

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, UntilError> {
        if let Ok(span) = text.parse() {
            return Ok(Self::In(span));
        }
        text.parse().map(Self::Time).map_err(|_| UntilError)
    }
}

impl Until {
    fn time(&self, now: Timestamp) -> Result<Timestamp, UntilError> {
        match self {
            Self::Time(time) => Ok(*time),
            Self::In(Span(span)) => now.checked_add(*span).map_err(|_| UntilError),
        }
    }
}

/// A draft as `--output json` prints it.
#[derive(Serialize)]
struct EmbargoJson<'a> {
    id: &'a str,
    until: Option<Timestamp>,
    state: &'static str,
    uri: &'a str,
    headline: &'a str,
    language: &'a str,
    urgency: u32,
    topics: &'a [String],
    base_revision: u32,
    submitted_at: Option<Timestamp>,
    key: &'a str,
    partner: &'a str,
    version: u64,
    /// The whole article, for one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    article: Option<Ninjs>,
}

/// What was done, as `--output json` prints it.
#[derive(Serialize)]
struct DoneJson<'a> {
    result: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

/// Runs `barid embargo`.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn run(command: EmbargoCommand) -> anyhow::Result<()> {
    match command {
        EmbargoCommand::List(args) => list(&args.client).await,
        EmbargoCommand::Show(args) => show(&args).await,
        EmbargoCommand::Move(args) => move_to(&args).await,
        EmbargoCommand::Cancel(args) => cancel(&args).await,
        EmbargoCommand::Release(args) => release(&args).await,
    }
}

async fn list(args: &ClientArgs) -> anyhow::Result<()> {
    let client = Client::connect(args, Role::Desk).await?;
    let mut page_token = String::new();
    loop {
        let request = client.request(proto::ListEmbargoesRequest {
            page_size: PAGE_SIZE,
            page_token,
        });
        let answer = client.desk().list_embargoes(request).await;
        let page = answer.map_err(CallError::from)?.into_inner();
        for embargo in &page.embargoes {
            match args.output {
                Output::Json => out::json(&json_of(embargo, None))?,
                Output::Text => out::line(&line_of(embargo))?,
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

async fn show(args: &DraftArgs) -> anyhow::Result<()> {
    let id = article_id(&args.article)?.to_string();
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::GetEmbargoRequest { article_id: id });
    let answer = client.desk().get_embargo(request).await;
    let answer = answer.map_err(CallError::from)?.into_inner();
    let embargo = answer.embargo.context("the answer holds no draft")?;
    let article = answer.article.context("the answer holds no article")?;
    // As the revision that it will be.
    let delivery = proto::Delivery {
        topics: embargo.topics.clone(),
        action: embargo.action,
        revision: embargo.base_revision + 1,
        article: prost::Message::encode_to_vec(&article).into(),
        published_at: embargo.submitted_at,
        ..proto::Delivery::default()
    };
    if args.client.output == Output::Json {
        let article = Ninjs::from_delivery(&delivery)?;
        return out::json(&json_of(&embargo, Some(article)));
    }
    out::line(&line_of(&embargo))?;
    out::line(&read::page(&delivery)?)
}

async fn move_to(args: &MoveArgs) -> anyhow::Result<()> {
    let id = article_id(&args.article)?.to_string();
    let until = args.until.time(Timestamp::now())?;
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::MoveEmbargoRequest {
        article_id: id.clone(),
        embargoed_until: Some(ninjs::time_to_proto(until)),
        expected_version: args.version_is,
    });
    let answer = client.desk().move_embargo(request).await;
    let answer = answer.map_err(CallError::from)?.into_inner();
    let embargo = answer.embargo.context("the answer holds no draft")?;
    match args.client.output {
        Output::Json => out::json(&json_of(&embargo, None)),
        Output::Text => out::line(&format!("moved {}", line_of(&embargo))),
    }
}

async fn cancel(args: &DraftArgs) -> anyhow::Result<()> {
    let id = article_id(&args.article)?.to_string();
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::CancelEmbargoRequest {
        article_id: id.clone(),
        expected_version: args.version_is,
    });
    let answer = client.desk().cancel_embargo(request).await;
    answer.map_err(CallError::from)?;
    match args.client.output {
        Output::Json => out::json(&DoneJson {
            result: "cancelled",
            id: &id,
            until: None,
            revision: None,
            cursor: None,
        }),
        Output::Text => out::line(&format!("cancelled {id}: its draft is erased")),
    }
}

async fn release(args: &DraftArgs) -> anyhow::Result<()> {
    let id = article_id(&args.article)?.to_string();
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::ReleaseEmbargoRequest {
        article_id: id.clone(),
        expected_version: args.version_is,
    });
    let answer = client.desk().release_embargo(request).await;
    let released = answer.map_err(CallError::from)?.into_inner();
    let (revision, cursor) = (released.revision, &released.cursor);
    match args.client.output {
        Output::Json => out::json(&DoneJson {
            result: "released",
            id: &id,
            until: None,
            revision: Some(revision),
            cursor: Some(cursor),
        }),
        Output::Text => {
            let topics = printable(&released.topics.join(", "));
            out::line(&format!(
                "released {id} revision {revision}  {topics}  {cursor}"
            ))
        }
    }
}

fn state(embargo: &proto::Embargo) -> &'static str {
    match embargo.state() {
        proto::EmbargoState::Blocked => "blocked",
        proto::EmbargoState::Scheduled | proto::EmbargoState::Unspecified => "scheduled",
    }
}

fn json_of(embargo: &proto::Embargo, article: Option<Ninjs>) -> EmbargoJson<'_> {
    EmbargoJson {
        id: &embargo.article_id,
        until: ninjs::time_from_proto(embargo.embargoed_until.as_ref()),
        state: state(embargo),
        uri: &embargo.uri,
        headline: &embargo.headline,
        language: &embargo.language,
        urgency: embargo.urgency,
        topics: &embargo.topics,
        base_revision: embargo.base_revision,
        submitted_at: ninjs::time_from_proto(embargo.submitted_at.as_ref()),
        key: &embargo.key_id,
        partner: &embargo.partner,
        version: embargo.version,
        article,
    }
}

/// Time, state, urgency, action, language, headline, topics, id, version.
fn line_of(embargo: &proto::Embargo) -> String {
    let view = View::of_stdout(None);
    let until = ninjs::time_from_proto(embargo.embargoed_until.as_ref());
    let until = until.map_or_else(|| "-".to_owned(), |until| view.clock(until));
    let action = convert::action_from_proto(embargo.action);
    let action = action.map_or("-", |action| action.as_str());
    let headline = view.isolated(&printable(&embargo.headline));
    let topics = printable(&embargo.topics.join(", "));
    let (language, id) = (printable(&embargo.language), printable(&embargo.article_id));
    let state = state(embargo);
    format!(
        "{until}  {state}  {}  {action}  {language}  {headline}  {topics}  {id}  version {}",
        embargo.urgency, embargo.version
    )
}
