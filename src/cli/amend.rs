//! `barid correct` and `barid kill`: one story, one step.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, anyhow};
use clap::ValueHint;
use prost::Message as _;

use crate::{
    access::key::Role,
    article::ArticleId,
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs, article_id},
        input, line, out,
        publish::{self, IdChoice},
    },
    config::value::Output,
    wire::proto::v1 as proto,
};

/// Correct a story: mend an error, and say which
///
/// The file holds the whole corrected story as one ninjs object.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid correct tag:wire.example,2026:1 story.json \
                        --note 'Second paragraph: 18 percent, not 38'"
)]
pub struct CorrectArgs {
    /// The story: its id or its uri
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    article: String,
    /// One ninjs object; - is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: String,
    /// What was wrong; shown to everybody [default: the file's edNote]
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Only if this is the newest revision
    #[arg(long, value_name = "NUMBER")]
    expected_revision: Option<u32>,
    /// Correct anew, although the very same correction was made before
    #[arg(long)]
    again: bool,
    /// Only the topics and subjects that the file states count, not what its text says
    #[arg(long)]
    no_inference: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Kill a story: take it back for good, everywhere
///
/// Its text is erased; what remains is the note. Nothing can bring the story back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  barid kill tag:wire.example,2026:1 --note 'Forged statement'")]
pub struct KillArgs {
    /// The story: its id or its uri
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    article: String,
    /// Why; shown to everybody
    #[arg(long, value_name = "TEXT")]
    note: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Corrects a story.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn correct(args: CorrectArgs) -> anyhow::Result<()> {
    let id = article_id(&args.article)?;
    let mut article = read_one(&args.file)?;
    article.id = id.to_string();
    if let Some(note) = args.note {
        article.edition_note = note;
    }
    if article.edition_note.trim().is_empty() {
        let message = "a correction says what was wrong: give --note, or edNote in the file";
        return Err(BadUse(message.to_owned()).into());
    }
    let ids = if args.again {
        IdChoice::Random
    } else {
        IdChoice::Derived
    };
    let request = proto::PublishRequest {
        request_id: String::new(),
        expected_revision: args.expected_revision,
        action: proto::Action::Correct.into(),
        article: Some(article),
        routing: publish::routing(args.no_inference).into(),
    };
    let client = Client::connect(&args.client, Role::Publisher).await?;
    send(&client, ids, request, args.client.output).await
}

/// Kills a story.
///
/// # Errors
/// Bad use, no server, a refusal, or second thoughts.
pub async fn kill(args: KillArgs) -> anyhow::Result<()> {
    let id = article_id(&args.article)?;
    let client = Client::connect(&args.client, Role::Publisher).await?;
    if !args.yes && io::stdin().is_terminal() {
        confirm(&client, id).await?;
    }
    let request = proto::PublishRequest {
        request_id: String::new(),
        expected_revision: None,
        action: proto::Action::Kill.into(),
        article: Some(proto::Article {
            id: id.to_string(),
            edition_note: args.note,
            ..proto::Article::default()
        }),
        routing: proto::Routing::Unspecified.into(),
    };
    send(&client, IdChoice::Derived, request, args.client.output).await
}

async fn send(
    client: &Client,
    ids: IdChoice,
    mut request: proto::PublishRequest,
    output: Output,
) -> anyhow::Result<()> {
    ids.apply(&mut request);
    let action = request.action();
    let answer = client.publisher().publish(client.request(request)).await;
    let published = answer.map_err(CallError::from)?.into_inner();
    publish::print_published(output, action, &published, None)
}

fn read_one(file: &str) -> anyhow::Result<proto::Article> {
    let reader = input::open(file)
        .map_err(|error| BadUse(format!("can't read {file}: {}", input::why(&error))))?;
    let mut items = input::items(file, reader);
    let Some(item) = items.next() else {
        return Err(BadUse(format!("{file} holds no ninjs object")).into());
    };
    let place = item.place;
    let parsed = item
        .parsed
        .map_err(|message| BadUse(format!("{place}: {message}")))?;
    if let Some(second) = items.next() {
        let message = format!("{}: one article is expected", second.place);
        return Err(BadUse(message).into());
    }
    for warning in &parsed.warnings {
        out::say(&format!("barid: {place}: {warning}"));
    }
    Ok(parsed.article)
}

/// Shows the story and asks.
async fn confirm(client: &Client, id: ArticleId) -> anyhow::Result<()> {
    let request = client.request(proto::GetArticleRequest {
        article_id: id.to_string(),
    });
    let answer = client.articles().get_article(request).await;
    let delivery = answer.map_err(CallError::from)?.into_inner().delivery;
    let delivery = delivery.context("the answer holds no article")?;
    let article = proto::Article::decode(delivery.article.clone())?;
    let shown = line::of_delivery(&delivery, &article, &line::View::of_stdout(None));
    out::say(&shown);
    anstream::eprint!("Kill this story for good? Its text is erased everywhere. [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(anyhow!("nothing was killed"))
    }
}
