//! `barid get`, `list` and `topics`.

use std::collections::BTreeMap;

use anstyle::Style;
use anyhow::Context as _;
use clap::ValueHint;
use prost::Message as _;
use serde::Serialize;

use crate::{
    access::key::Role,
    article::{Action, BodyType, text},
    cli::{
        client::{CallError, Client, ClientArgs, article_id},
        line::{self, TimeForm, View},
        out,
        printable::{paragraphs, printable, width_of},
        wanted::WantedArgs,
    },
    config::value::Output,
    wire::{
        convert,
        ninjs::{
            self, Ninjs,
            write::{is_bare, name_bare},
        },
        proto::v1 as proto,
    },
};

/// Most articles of one page.
const PAGE_MAX: u32 = 100;

/// Show a story
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  barid get tag:wire.example,2026:1\n  \
                        barid get 0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11 --output json")]
pub struct GetArgs {
    /// The story: its id or its uri
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    article: String,
    /// All revisions that are kept, one line each, oldest first
    #[arg(long)]
    revisions: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// List stories by their newest revision, latest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  barid list --topics ict --languages ar --limit 50")]
pub struct ListArgs {
    /// How many at most
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20)]
    limit: u32,
    /// How times are shown [default: relative on a terminal, absolute in a pipe]
    #[arg(long, value_name = "FORM")]
    time: Option<TimeForm>,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Show the topics that news is sorted into, their aliases and the taxonomy's version
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  barid topics --output json")]
pub struct TopicsArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// A topic as `--output json` prints it.
#[derive(Serialize)]
struct TopicJson {
    path: String,
    names: BTreeMap<String, String>,
    subjects: Vec<String>,
    aliases: Vec<String>,
    taxonomy_version: String,
}

/// Shows one story, or its revisions.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn get(args: GetArgs) -> anyhow::Result<()> {
    let article_id = article_id(&args.article)?.to_string();
    let client = Client::connect(&args.client, Role::Subscriber).await?;
    if args.revisions {
        return revisions(&client, article_id, args.client.output).await;
    }
    let delivery = head(&client, article_id).await?;
    match args.client.output {
        Output::Text => out::line(&page(&delivery)?),
        Output::Json => out::json(&Ninjs::from_delivery(&delivery)?),
    }
}

async fn head(client: &Client, article_id: String) -> anyhow::Result<proto::Delivery> {
    let request = client.request(proto::GetArticleRequest { article_id });
    let answer = client.articles().get_article(request).await;
    let delivery = answer.map_err(CallError::from)?.into_inner().delivery;
    delivery.context("the answer holds no article")
}

async fn revisions(client: &Client, article_id: String, output: Output) -> anyhow::Result<()> {
    let mut page_token = String::new();
    loop {
        let request = client.request(proto::ListRevisionsRequest {
            article_id: article_id.clone(),
            page_size: PAGE_MAX,
            page_token,
        });
        let answer = client.articles().list_revisions(request).await;
        let mut page = answer.map_err(CallError::from)?.into_inner();
        if output == Output::Json && page.deliveries.iter().any(is_bare) {
            let head = head(client, article_id.clone()).await?;
            let head = proto::Article::decode(head.article)?;
            name_bare(&mut page.deliveries, &head);
        }
        for delivery in &page.deliveries {
            print_one(delivery, output, None)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

/// Lists stories.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Subscriber).await?;
    let mut page_token = String::new();
    let mut left = args.limit;
    while left > 0 {
        let request = client.request(proto::ListArticlesRequest {
            filter: Some(args.wanted.filter()),
            page_size: left.min(PAGE_MAX),
            page_token,
        });
        let answer = client.articles().list_articles(request).await;
        let page = answer.map_err(CallError::from)?.into_inner();
        for delivery in &page.deliveries {
            print_one(delivery, args.client.output, args.time)?;
        }
        // A page may be empty and still name a next one, where much of the log was searched.
        left = left.saturating_sub(u32::try_from(page.deliveries.len())?);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    Ok(())
}

fn print_one(
    delivery: &proto::Delivery,
    output: Output,
    time: Option<TimeForm>,
) -> anyhow::Result<()> {
    match output {
        Output::Json => out::json(&Ninjs::from_delivery(delivery)?),
        Output::Text => {
            let article = proto::Article::decode(delivery.article.clone())?;
            out::line(&line::of_delivery(
                delivery,
                &article,
                &View::of_stdout(time),
            ))
        }
    }
}

/// A story as a page of text.
///
/// # Errors
/// The article is not readable.
pub fn page(delivery: &proto::Delivery) -> anyhow::Result<String> {
    let article = proto::Article::decode(delivery.article.clone())?;
    let view = View::of_stdout(None);
    let (bold, quiet) = (Style::new().bold(), Style::new().dimmed());
    let action = convert::action_from_proto(delivery.action).unwrap_or(Action::Publish);
    let mut lines = Vec::new();
    let mut title = |style: Style, text: &str| {
        if !text.is_empty() {
            let text = view.isolated(&printable(text));
            lines.push(format!("{style}{text}{style:#}"));
        }
    };
    title(bold, &article.headline);
    title(Style::new(), &article.subheadline);
    if action.is_notice() {
        let loud = line::loud();
        title(
            loud,
            &format!("{}: {}", action.as_str(), article.edition_note),
        );
    }
    for (name, value) in facts(delivery, &article, action, &view) {
        if !value.is_empty() {
            let value = view.isolated(&printable(&value));
            lines.push(format!("{quiet}{name:>8}{quiet:#}  {value}"));
        }
    }
    for link in &article.links {
        let target = if link.href.is_empty() {
            &link.article_id
        } else {
            &link.href
        };
        let value = printable(&format!("{target} {}", link.title));
        lines.push(format!("{quiet}    link{quiet:#}  {value}"));
    }
    if !article.body.is_empty() {
        lines.push(String::new());
        lines.push(body(&article));
    }
    Ok(lines.join("\n"))
}

/// What there is to know of a story beside its text; empty values are none.
fn facts(
    delivery: &proto::Delivery,
    article: &proto::Article,
    action: Action,
    view: &View,
) -> [(&'static str, String); 19] {
    let time = |time: Option<&prost_types::Timestamp>| {
        ninjs::time_from_proto(time).map_or(String::new(), |time| match view.columns {
            Some(_) => format!("{} ({})", view.clock(time), view.age(time)),
            None => view.clock(time),
        })
    };
    let places: Vec<&str> = article.places.iter().map(|place| &*place.name).collect();
    let urgency = match article.urgency {
        0 => 5,
        number => number,
    };
    let note = if action.is_notice() {
        ""
    } else {
        &article.edition_note
    };
    [
        ("id", article.id.clone()),
        ("uri", article.uri.clone()),
        (
            "revision",
            format!("{} ({})", delivery.revision, action.as_str()),
        ),
        ("cursor", delivery.cursor.clone()),
        ("accepted", time(delivery.published_at.as_ref())),
        ("created", time(article.first_created.as_ref())),
        ("written", time(article.version_created.as_ref())),
        (
            "expires",
            ninjs::time_from_proto(article.expires.as_ref())
                .map_or(String::new(), |time| view.clock(time)),
        ),
        ("topics", delivery.topics.join(", ")),
        ("subjects", article.subjects.join(", ")),
        ("urgency", urgency.to_string()),
        ("language", article.language.clone()),
        ("slug", article.slugline.clone()),
        ("by", article.byline.clone()),
        ("located", article.located.clone()),
        ("places", places.join(", ")),
        ("source", article.source.clone()),
        ("note", note.to_owned()),
        ("usage", article.usage_terms.clone()),
    ]
}

fn body(article: &proto::Article) -> String {
    let body_type = match article.body_type() {
        proto::BodyType::Html => BodyType::Html,
        proto::BodyType::Unspecified | proto::BodyType::Text => BodyType::Text,
    };
    paragraphs(&text::plain(&article.body, body_type))
}

/// Shows the taxonomy.
///
/// # Errors
/// No server, or a refusal.
pub async fn topics(args: TopicsArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Subscriber).await?;
    let request = client.request(proto::ListTopicsRequest {});
    let answer = client.desk().list_topics(request).await;
    let proto::ListTopicsResponse { topics, version } =
        answer.map_err(CallError::from)?.into_inner();
    let depth = |path: &str| path.matches('.').count();
    let indented = |topic: &proto::Topic| {
        let path = printable(&topic.path);
        format!("{}{path}", "  ".repeat(depth(&path)))
    };
    let name_of = |topic: &proto::Topic, language: &str| {
        printable(topic.names.get(language).map_or("", String::as_str))
    };
    let paths_width = topics.iter().map(|topic| width_of(&indented(topic))).max();
    let paths_width = paths_width.unwrap_or(0);
    let names_width = topics
        .iter()
        .map(|topic| width_of(&name_of(topic, "en")))
        .max();
    let names_width = names_width.unwrap_or(0);
    let view = View::of_stdout(None);
    let quiet = Style::new().dimmed();
    for topic in topics {
        if args.client.output == Output::Json {
            out::json(&TopicJson {
                path: topic.path,
                names: topic.names,
                subjects: topic.subjects,
                aliases: topic.aliases,
                taxonomy_version: version.clone(),
            })?;
            continue;
        }
        let path = indented(&topic);
        let (english, arabic) = (name_of(&topic, "en"), name_of(&topic, "ar"));
        let arabic = view.isolated(&arabic);
        let style = if path.starts_with(' ') {
            Style::new()
        } else {
            Style::new().bold()
        };
        let mut line =
            format!("{style}{path:<paths_width$}{style:#}  {english:<names_width$}  {arabic}");
        if !topic.aliases.is_empty() {
            let aliases = printable(&topic.aliases.join(", "));
            line.push_str(&format!("  {quiet}also {aliases}{quiet:#}"));
        }
        out::line(&line)?;
    }
    // For people: to a script it would be one more topic.
    if args.client.output == Output::Text && view.columns.is_some() {
        let version = printable(&version);
        out::line(&format!("{quiet}taxonomy {version}{quiet:#}"))?;
    }
    Ok(())
}
