//! `barid webhook`: addresses that are sent news.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum, ValueHint};

use crate::{
    access::key::Role,
    cli::{
        client::{CallError, Client, ClientArgs},
        out,
        wanted::WantedArgs,
        webhook::show::{WebhookJson, print, print_parked},
    },
    config::value::{Output, Span},
    wire::{
        begin::Begin,
        proto::v1::{self as proto, WebhookFormat},
    },
};

mod show;

/// Make, change and watch webhooks
///
/// A webhook is an https address that is sent news, signed by Standard Webhooks. Subscriptions to
/// feeds, which are made by WebSub, are listed and removed here, too. Takes a key of the role desk, or
/// one of the role subscriber for its own partner's.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  barid webhook add https://news.example/hook --topics ict > hook.secret\n  \
                  barid webhook list\n  barid webhook test abcdefghij\n  \
                  barid webhook parked list abcdefghij"
)]
pub enum WebhookCommand {
    /// Make a webhook, and print its secret
    #[command(
        after_help = "Examples:\n  barid webhook add https://news.example/hook --topics ict,economy \
                      --languages ar > hook.secret\n  \
                      barid webhook add https://news.example/hook --partner gazette --format \
                      cloudevents --from earliest"
    )]
    Add(AddArgs),
    /// Change where a webhook is and what it wants; what is not named stays
    #[command(
        after_help = "Examples:\n  barid webhook set abcdefghij --topics ict,diplomacy\n  \
                      barid webhook set abcdefghij --url https://news.example/new"
    )]
    Set(SetArgs),
    /// List webhooks with how far they have come
    #[command(
        after_help = "Examples:\n  barid webhook list\n  barid webhook list --partner gazette --output json"
    )]
    List(ListArgs),
    /// Show a webhook
    #[command(after_help = "Examples:\n  barid webhook show abcdefghij")]
    Show(IdArgs),
    /// Send a webhook a test, and say what it answers
    #[command(after_help = "Examples:\n  barid webhook test abcdefghij")]
    Test(IdArgs),
    /// Send a webhook nothing more, until `resume`; nothing is lost that the log keeps
    #[command(after_help = "Examples:\n  barid webhook pause abcdefghij")]
    Pause(IdArgs),
    /// Send to a webhook again: a paused one, one that answered 410, or at once instead of later
    #[command(after_help = "Examples:\n  barid webhook resume abcdefghij")]
    Resume(IdArgs),
    /// Go on from another place; what comes again has the same webhook-id
    #[command(
        after_help = "Examples:\n  barid webhook replay abcdefghij --from earliest\n  \
                      barid webhook replay abcdefghij --from 2026-07-01T08:00:00Z"
    )]
    Replay(ReplayArgs),
    /// Give a webhook new secrets, and print the new one; the former ones sign on for a while
    #[command(
        after_help = "Examples:\n  barid webhook rotate abcdefghij --overlap 7d > hook.secret"
    )]
    Rotate(RotateArgs),
    /// What an endpoint refuses for good
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Remove a webhook with all that is kept of it
    #[command(after_help = "Examples:\n  barid webhook remove abcdefghij")]
    Remove(IdArgs),
}

/// List, retry and drop what an endpoint refuses for good
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  barid webhook parked list abcdefghij\n  \
                  barid webhook parked retry abcdefghij")]
pub enum ParkedCommand {
    /// List what is parked, and why
    #[command(after_help = "Examples:\n  barid webhook parked list abcdefghij")]
    List(IdArgs),
    /// Send it again: all, or only what is named
    #[command(after_help = "Examples:\n  barid webhook parked retry abcdefghij\n  \
                      barid webhook parked retry abcdefghij --cursor klmnopqr-815")]
    Retry(RetryArgs),
    /// Take something off the list; corrections, withholdings and kills stay
    #[command(
        after_help = "Examples:\n  barid webhook parked drop abcdefghij --cursor klmnopqr-815"
    )]
    Drop(DropArgs),
}

/// Which webhook.
#[derive(Debug, Args)]
pub struct IdArgs {
    /// Its id
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    id: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// A webhook to make.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Where it is: https, on the public internet
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    url: String,
    /// Whose it is [default: the key's own partner]
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    partner: Option<String>,
    /// In which form it is sent news
    #[arg(long, value_name = "FORMAT", default_value = "ninjs")]
    format: FormatArg,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "", value_hint = ValueHint::Other)]
    note: String,
    /// Where it begins: now, earliest, last:N, a time such as 2026-07-01T08:00:00Z, or a cursor
    #[arg(long, value_name = "BEGINNING", default_value = "now", value_hint = ValueHint::Other)]
    from: Begin,
    /// A file with a secret of the receiver's own, whsec_… [default: one is made]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What to change of a webhook.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Its id
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    id: String,
    /// Where it is
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    url: Option<String>,
    /// In which form it is sent news
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// For people
    #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
    note: Option<String>,
    /// Want the whole wire in any language, but for what else is named here
    #[arg(long)]
    everything: bool,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Which webhooks.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of a partner
    #[arg(long, value_name = "NAME", default_value = "", value_hint = ValueHint::Other)]
    partner: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Where a webhook goes on.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Its id
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    id: String,
    /// now, earliest, last:N, a time such as 2026-07-01T08:00:00Z, or a cursor
    #[arg(long, value_name = "BEGINNING", value_hint = ValueHint::Other)]
    from: Begin,
    #[command(flatten)]
    client: ClientArgs,
}

/// A webhook whose secrets are replaced.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Its id
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    id: String,
    /// How long the former secrets sign, too; at most 90d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_hint = ValueHint::Other)]
    overlap: Span,
    /// A file with a secret of the receiver's own, whsec_… [default: one is made]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What to send again.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The webhook's id
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    id: String,
    /// Only these, as `parked list` shows them
    #[arg(long = "cursor", value_name = "CURSOR", value_delimiter = ',')]
    cursors: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What to drop.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// The webhook's id
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    id: String,
    /// Which, as `parked list` shows it
    #[arg(long, value_name = "CURSOR", value_hint = ValueHint::Other)]
    cursor: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// In which form news is sent.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// ninjs 3.1 in the envelope of Standard Webhooks
    Ninjs,
    /// CloudEvents 1.0, structured JSON, with ninjs 3.1 as its data
    Cloudevents,
}

impl FormatArg {
    fn number(self) -> i32 {
        match self {
            Self::Ninjs => WebhookFormat::Ninjs,
            Self::Cloudevents => WebhookFormat::Cloudevents,
        }
        .into()
    }
}

/// Runs `barid webhook`.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn run(command: WebhookCommand) -> anyhow::Result<()> {
    match command {
        WebhookCommand::Add(args) => add(args).await,
        WebhookCommand::Set(args) => set(args).await,
        WebhookCommand::List(args) => list(args).await,
        WebhookCommand::Show(args) => show(args).await,
        WebhookCommand::Test(args) => test(args).await,
        WebhookCommand::Pause(args) => pause(args).await,
        WebhookCommand::Resume(args) => resume(args).await,
        WebhookCommand::Replay(args) => replay(args).await,
        WebhookCommand::Rotate(args) => rotate(args).await,
        WebhookCommand::Parked(command) => parked(command).await,
        WebhookCommand::Remove(args) => remove(args).await,
    }
}

async fn add(args: AddArgs) -> anyhow::Result<()> {
    let secret = secret(args.secret_file)?;
    let client = Client::connect(&args.client, Role::Desk).await?;
    let webhook = proto::Webhook {
        partner: args.partner.unwrap_or_default(),
        url: args.url,
        filter: Some(args.wanted.filter()),
        format: args.format.number(),
        note: args.note,
        ..proto::Webhook::default()
    };
    let request = client.request(proto::CreateWebhookRequest {
        webhook: Some(webhook),
        start: Some(proto::Start {
            from: Some(args.from.0),
        }),
        secret,
    });
    let made = client.webhooks().create_webhook(request).await;
    let made = made.map_err(CallError::from)?.into_inner();
    let webhook = made.webhook.unwrap_or_default();
    hand_out(&webhook, &made.secret, args.client.output)
}

async fn set(args: SetArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let mut webhook = get(&client, args.id).await?;
    let mut filter = webhook.filter.take().unwrap_or_default();
    if args.everything {
        filter = proto::Filter::default();
    }
    let wanted = args.wanted.filter();
    let replace = |former: &mut Vec<String>, new: Vec<String>| {
        if !new.is_empty() {
            *former = new;
        }
    };
    replace(&mut filter.topics, wanted.topics);
    replace(&mut filter.languages, wanted.languages);
    replace(&mut filter.words, wanted.words);
    if wanted.urgency != 0 {
        filter.urgency = wanted.urgency;
    }
    let webhook = proto::Webhook {
        url: args.url.unwrap_or(webhook.url),
        filter: Some(filter),
        format: args.format.map_or(webhook.format, FormatArg::number),
        note: args.note.unwrap_or(webhook.note),
        ..webhook
    };
    let webhook = Some(webhook);
    let request = client.request(proto::UpdateWebhookRequest { webhook });
    let changed = client.webhooks().update_webhook(request).await;
    let changed = changed.map_err(CallError::from)?.into_inner().webhook;
    print(&changed.unwrap_or_default(), args.client.output)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let partner = args.partner;
    let request = client.request(proto::ListWebhooksRequest { partner });
    let listed = client.webhooks().list_webhooks(request).await;
    let webhooks = listed.map_err(CallError::from)?.into_inner().webhooks;
    for webhook in &webhooks {
        match args.client.output {
            Output::Json => out::json(&WebhookJson::new(webhook, None))?,
            Output::Text => out::line(&show::line(webhook))?,
        }
    }
    Ok(())
}

async fn show(args: IdArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let webhook = get(&client, args.id).await?;
    print(&webhook, args.client.output)
}

async fn test(args: IdArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::TestWebhookRequest { id: args.id });
    let tested = client.webhooks().test_webhook(request).await;
    let tested = tested.map_err(CallError::from)?.into_inner();
    show::print_tested(&tested, args.client.output)
}

async fn pause(args: IdArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::PauseWebhookRequest { id: args.id });
    let paused = client.webhooks().pause_webhook(request).await;
    let paused = paused.map_err(CallError::from)?.into_inner().webhook;
    print(&paused.unwrap_or_default(), args.client.output)
}

async fn resume(args: IdArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::ResumeWebhookRequest { id: args.id });
    let resumed = client.webhooks().resume_webhook(request).await;
    let resumed = resumed.map_err(CallError::from)?.into_inner().webhook;
    print(&resumed.unwrap_or_default(), args.client.output)
}

async fn replay(args: ReplayArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::ReplayWebhookRequest {
        id: args.id,
        start: Some(proto::Start {
            from: Some(args.from.0),
        }),
    });
    let replayed = client.webhooks().replay_webhook(request).await;
    let replayed = replayed.map_err(CallError::from)?.into_inner();
    if args.client.output == Output::Text {
        out::say(&format!("goes on after {}", replayed.cursor));
    }
    print(&replayed.webhook.unwrap_or_default(), args.client.output)
}

async fn rotate(args: RotateArgs) -> anyhow::Result<()> {
    let secret = secret(args.secret_file)?;
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::RotateWebhookRequest {
        id: args.id,
        overlap: prost_types::Duration::try_from(args.overlap.0).ok(),
        secret,
    });
    let rotated = client.webhooks().rotate_webhook(request).await;
    let rotated = rotated.map_err(CallError::from)?.into_inner();
    let webhook = rotated.webhook.unwrap_or_default();
    hand_out(&webhook, &rotated.secret, args.client.output)
}

async fn parked(command: ParkedCommand) -> anyhow::Result<()> {
    match command {
        ParkedCommand::List(args) => {
            let client = Client::connect(&args.client, Role::Desk).await?;
            let request = client.request(proto::ListParkedRequest { id: args.id });
            let listed = client.webhooks().list_parked(request).await;
            let parked = listed.map_err(CallError::from)?.into_inner().parked;
            print_parked(&parked, args.client.output)
        }
        ParkedCommand::Retry(args) => {
            let client = Client::connect(&args.client, Role::Desk).await?;
            let request = client.request(proto::RetryParkedRequest {
                id: args.id,
                cursors: args.cursors,
            });
            let asked = client.webhooks().retry_parked(request).await;
            let count = asked.map_err(CallError::from)?.into_inner().count;
            out::say(&format!("{count} to be sent again"));
            Ok(())
        }
        ParkedCommand::Drop(args) => {
            let client = Client::connect(&args.client, Role::Desk).await?;
            let request = client.request(proto::DropParkedRequest {
                id: args.id,
                cursor: args.cursor,
            });
            let dropped = client.webhooks().drop_parked(request).await;
            dropped.map_err(CallError::from)?;
            Ok(())
        }
    }
}

async fn remove(args: IdArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::DeleteWebhookRequest { id: args.id });
    let removed = client.webhooks().delete_webhook(request).await;
    removed.map_err(CallError::from)?;
    Ok(())
}

async fn get(client: &Client, id: String) -> anyhow::Result<proto::Webhook> {
    let request = client.request(proto::GetWebhookRequest { id });
    let got = client.webhooks().get_webhook(request).await;
    let got = got.map_err(CallError::from)?.into_inner();
    Ok(got.webhook.unwrap_or_default())
}

/// The secret alone on stdout, so that it can go into a file; the rest is for people.
fn hand_out(webhook: &proto::Webhook, secret: &str, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return out::json(&WebhookJson::new(webhook, Some(secret)));
    }
    out::say(&format!(
        "{}; its secret is not shown again:",
        show::line(webhook)
    ));
    out::line(secret)
}

fn secret(file: Option<PathBuf>) -> anyhow::Result<String> {
    let Some(path) = file else {
        return Ok(String::new());
    };
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("can't read {}", path.display()))?;
    Ok(text.trim().to_owned())
}
