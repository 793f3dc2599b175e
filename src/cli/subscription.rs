//! `barid subscription` and `barid recall`: recipients that have a name.

use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    access::key::Role,
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs, article_id},
        out,
        printable::printable,
    },
    config::value::Output,
    wire::{
        begin::Begin,
        convert, ninjs,
        proto::v1::{
            self as proto, RecallState, RecipientKind, reset_subscription_request::To,
            start::From as StartFrom,
        },
    },
};

/// List, show, reset and remove durable subscriptions
///
/// A subscriber's key sees those of its own partner, a desk's key all. `barid tail --subscription
/// NAME` makes and uses one.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  barid subscription list\n  barid subscription show bot\n  \
                  barid subscription reset bot --to 2026-07-01T08:00:00Z\n  \
                  barid subscription remove bot --partner gazette"
)]
pub enum SubscriptionCommand {
    /// List them: how far each is behind, and where it is connected
    #[command(
        after_help = "Examples:\n  barid subscription list\n  barid subscription list --as desk \
                      --output json"
    )]
    List(ListArgs),
    /// Show one
    #[command(after_help = "Examples:\n  barid subscription show bot")]
    Show(NameArgs),
    /// Set one to another place; its stream ends, and goes on there when it comes back
    #[command(after_help = "Examples:\n  barid subscription reset bot --to now\n  \
                      barid subscription reset bot --to earliest")]
    Reset(ResetArgs),
    /// Remove one; its stream ends
    #[command(after_help = "Examples:\n  barid subscription remove bot")]
    Remove(NameArgs),
}

/// As whom to ask.
#[derive(Debug, Args)]
pub struct WhoseArgs {
    /// Whose; only the desk may name others than its own
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    partner: Option<String>,
    /// Which key to take of a folder with one for each role [default: subscriber; desk with --partner]
    #[arg(long = "as", value_name = "ROLE")]
    role: Option<Asking>,
    #[command(flatten)]
    client: ClientArgs,
}

/// A role that sees subscriptions.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Asking {
    /// Those of the key's partner
    Subscriber,
    /// All
    Desk,
}

/// All of them.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    whose: WhoseArgs,
}

/// Which one.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Its name: of a-z, 0-9 and '-'
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    name: String,
    #[command(flatten)]
    whose: WhoseArgs,
}

/// Which one, and where to.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Its name: of a-z, 0-9 and '-'
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    name: String,
    /// now, earliest, a time such as 2026-07-01T08:00:00Z, or a cursor, after which it goes on
    #[arg(long, value_name = "PLACE", value_hint = ValueHint::Other)]
    to: Begin,
    #[command(flatten)]
    whose: WhoseArgs,
}

/// Show whom the last correction, withholding or kill of a story has reached
///
/// Of each durable subscription and webhook: whether it never had the story (if it is behind it, it may still
/// get the recall in its turn), is to get the recall or refuses it, was sent it without an answer, or has
/// acknowledged it (a webhook: taken it). Takes a key of the role desk.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  barid recall tag:wire.example,2026:1\n  barid recall \
                  0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11 --all --output json"
)]
pub struct RecallArgs {
    /// The story: its id or its uri
    #[arg(value_name = "ID", value_hint = ValueHint::Other)]
    article: String,
    /// Show those that never had the story, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// A subscription as `--output json` prints it.
#[derive(Serialize)]
struct SubscriptionJson<'a> {
    partner: &'a str,
    name: &'a str,
    cursor: &'a str,
    sent: &'a str,
    lag_articles: u32,
    lag_is_least: bool,
    lag_seconds: f64,
    connected_to: &'a str,
    topics: &'a [String],
    languages: &'a [String],
    /// 0 = any
    urgency: u32,
    words: &'a [String],
    version: u32,
    created: Option<Timestamp>,
    used: Option<Timestamp>,
}

/// A recipient of a recall as `--output json` prints it.
#[derive(Serialize)]
struct RecipientJson<'a> {
    partner: &'a str,
    name: &'a str,
    kind: &'static str,
    state: &'static str,
    action: &'static str,
    revision: u32,
    cursor: &'a str,
}

/// Runs `barid subscription`.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn run(command: SubscriptionCommand) -> anyhow::Result<()> {
    match command {
        SubscriptionCommand::List(args) => list(args).await,
        SubscriptionCommand::Show(args) => show(args).await,
        SubscriptionCommand::Reset(args) => reset(args).await,
        SubscriptionCommand::Remove(args) => remove(args).await,
    }
}

impl WhoseArgs {
    async fn connect(&self) -> anyhow::Result<Client> {
        let role = match (self.role, &self.partner) {
            (Some(Asking::Subscriber), _) | (None, None) => Role::Subscriber,
            (Some(Asking::Desk), _) | (None, Some(_)) => Role::Desk,
        };
        Client::connect(&self.client, role).await
    }

    fn partner(&self) -> String {
        self.partner.clone().unwrap_or_default()
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let whose = args.whose;
    let client = whose.connect().await?;
    let mut page_token = String::new();
    loop {
        let request = client.request(proto::ListSubscriptionsRequest {
            partner: whose.partner(),
            page_size: 0,
            page_token,
        });
        let listed = client.recipients().list_subscriptions(request).await;
        let listed = listed.map_err(CallError::from)?.into_inner();
        for subscription in &listed.subscriptions {
            if whose.client.output == Output::Json {
                out::json(&json(subscription))?;
            } else {
                out::line(&line(subscription))?;
            }
        }
        page_token = listed.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn show(args: NameArgs) -> anyhow::Result<()> {
    let client = args.whose.connect().await?;
    let request = client.request(proto::GetSubscriptionRequest {
        partner: args.whose.partner(),
        name: args.name,
    });
    let got = client.recipients().get_subscription(request).await;
    let got = got.map_err(CallError::from)?.into_inner().subscription;
    print(&got.unwrap_or_default(), args.whose.client.output)
}

async fn reset(args: ResetArgs) -> anyhow::Result<()> {
    let to = match args.to.0 {
        StartFrom::Now(()) => To::Now(()),
        StartFrom::Earliest(()) => To::Earliest(()),
        StartFrom::After(cursor) => To::After(cursor),
        StartFrom::Since(time) => To::Since(time),
        StartFrom::Last(_) => {
            let message = "--to takes now, earliest, a time or a cursor";
            return Err(BadUse(message.to_owned()).into());
        }
    };
    let client = args.whose.connect().await?;
    let request = client.request(proto::ResetSubscriptionRequest {
        partner: args.whose.partner(),
        name: args.name,
        to: Some(to),
    });
    let reset = client.recipients().reset_subscription(request).await;
    let reset = reset.map_err(CallError::from)?.into_inner().subscription;
    print(&reset.unwrap_or_default(), args.whose.client.output)
}

async fn remove(args: NameArgs) -> anyhow::Result<()> {
    let client = args.whose.connect().await?;
    let request = client.request(proto::DeleteSubscriptionRequest {
        partner: args.whose.partner(),
        name: args.name,
    });
    let removed = client.recipients().delete_subscription(request).await;
    removed.map_err(CallError::from)?;
    Ok(())
}

/// Runs `barid recall`.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn recall(args: RecallArgs) -> anyhow::Result<()> {
    let id = article_id(&args.article)?;
    let client = Client::connect(&args.client, Role::Desk).await?;
    let (mut page_token, mut counts, mut is_first) = (String::new(), [0_u64; 4], true);
    loop {
        let request = client.request(proto::GetRecallRequest {
            article_id: id.to_string(),
            page_size: 0,
            page_token,
        });
        let answer = client.recipients().get_recall(request).await;
        let page = answer.map_err(CallError::from)?.into_inner();
        let action = convert::action_from_proto(page.action).map_or("", |action| action.as_str());
        let is_text = args.client.output == Output::Text;
        if std::mem::take(&mut is_first) && is_text {
            let cursor = printable(&page.cursor);
            let revision = page.revision;
            out::line(&format!("{action} {id}, revision {revision}, at {cursor}"))?;
        }
        for recipient in &page.recipients {
            let (place, state) = state(recipient.state());
            counts[place] += 1;
            if recipient.state() == RecallState::NeverHad && !args.all {
                continue;
            }
            if is_text {
                let name = full_name(&recipient.partner, &recipient.name);
                let what = match recipient.kind() {
                    RecipientKind::Webhook => "  (webhook)",
                    RecipientKind::Unspecified | RecipientKind::Subscription => "",
                };
                out::line(&format!("{state:<13} {name}{what}"))?;
            } else {
                out::json(&RecipientJson {
                    partner: &recipient.partner,
                    name: &recipient.name,
                    kind: kind(recipient.kind()),
                    state,
                    action,
                    revision: page.revision,
                    cursor: &page.cursor,
                })?;
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            let [never_had, outstanding, sent, acknowledged] = counts;
            if is_text {
                out::line(&format!(
                    "{acknowledged} acknowledged, {sent} sent, {outstanding} outstanding, \
                     {never_had} never had it"
                ))?;
            }
            return Ok(());
        }
    }
}

fn kind(kind: RecipientKind) -> &'static str {
    match kind {
        RecipientKind::Unspecified => "unknown",
        RecipientKind::Subscription => "subscription",
        RecipientKind::Webhook => "webhook",
    }
}

/// A state's place in the sums, and its word.
fn state(state: RecallState) -> (usize, &'static str) {
    match state {
        RecallState::Unspecified | RecallState::NeverHad => (0, "never had"),
        RecallState::Outstanding => (1, "outstanding"),
        RecallState::Sent => (2, "sent"),
        RecallState::Acknowledged => (3, "acknowledged"),
    }
}

fn full_name(partner: &str, name: &str) -> String {
    match partner {
        "" => printable(name),
        partner => format!("{}/{}", printable(partner), printable(name)),
    }
}

fn lag(subscription: &proto::Subscription) -> Duration {
    let lag = subscription.lag.map(Duration::try_from);
    lag.and_then(Result::ok).unwrap_or_default()
}

/// How far one is behind, in a few words.
fn behind(subscription: &proto::Subscription) -> String {
    let least = if subscription.lag_is_least {
        "at least "
    } else {
        ""
    };
    let seconds = Duration::from_secs(lag(subscription).as_secs());
    match subscription.lag_articles {
        0 if !subscription.lag_is_least => "nothing waits".to_owned(),
        count => format!(
            "{least}{count} waiting, {} behind",
            humantime::format_duration(seconds)
        ),
    }
}

fn connected(subscription: &proto::Subscription) -> String {
    match subscription.connected_to.as_str() {
        "" => "not connected".to_owned(),
        node => format!("connected to {}", printable(node)),
    }
}

fn line(subscription: &proto::Subscription) -> String {
    format!(
        "{}  {}; {}; at {}",
        full_name(&subscription.partner, &subscription.name),
        behind(subscription),
        connected(subscription),
        printable(&subscription.cursor),
    )
}

fn json(subscription: &proto::Subscription) -> SubscriptionJson<'_> {
    static NONE: proto::Filter = proto::Filter {
        topics: Vec::new(),
        languages: Vec::new(),
        urgency: 0,
        words: Vec::new(),
    };
    let filter = subscription.filter.as_ref().unwrap_or(&NONE);
    SubscriptionJson {
        partner: &subscription.partner,
        name: &subscription.name,
        cursor: &subscription.cursor,
        sent: &subscription.sent,
        lag_articles: subscription.lag_articles,
        lag_is_least: subscription.lag_is_least,
        lag_seconds: lag(subscription).as_secs_f64(),
        connected_to: &subscription.connected_to,
        topics: &filter.topics,
        languages: &filter.languages,
        urgency: filter.urgency,
        words: &filter.words,
        version: subscription.version,
        created: ninjs::time_from_proto(subscription.created.as_ref()),
        used: ninjs::time_from_proto(subscription.used.as_ref()),
    }
}

fn print(subscription: &proto::Subscription, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return out::json(&json(subscription));
    }
    let shown = json(subscription);
    let list = |texts: &[String], none: &str| match texts {
        [] => none.to_owned(),
        texts => printable(&texts.join(",")),
    };
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    for (name, text) in [
        (
            "subscription",
            full_name(&subscription.partner, &subscription.name),
        ),
        ("acknowledged", printable(shown.cursor)),
        ("sent", printable(shown.sent)),
        ("lag", behind(subscription)),
        ("stream", connected(subscription)),
        ("topics", list(shown.topics, "everything")),
        ("languages", list(shown.languages, "any")),
        (
            "urgency",
            match shown.urgency {
                0 => "any".to_owned(),
                least => format!("{least} or more urgent"),
            },
        ),
        ("words", list(shown.words, "any")),
        ("filter no.", shown.version.to_string()),
        ("made", time(shown.created)),
        ("used", time(shown.used)),
    ] {
        out::line(&format!("{name:<14}{text}"))?;
    }
    Ok(())
}
