//! `barid partner`: who may do what.

use clap::{Args, Subcommand, ValueHint};
use serde::Serialize;

use crate::{
    access::key::Role,
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs},
        key::KeyJson,
        out,
        printable::printable,
    },
    config::value::{Output, Size},
    wire::proto::v1::{self as proto},
};

/// Make, change and list partners and what they may do
///
/// Takes a key of the role desk. Every node follows a change within a second, open streams too.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  barid partner add gazette --subscribe ict,economy --languages ar,en\n  \
                  barid key add gazette --role subscriber\n  barid partner show gazette\n  \
                  barid partner suspend gazette"
)]
pub enum PartnerCommand {
    /// Make a partner
    #[command(
        after_help = "Examples:\n  barid partner add gazette --subscribe ict,economy --streams 10\n  \
                      barid partner add bureau --publish all --source cairo-bureau \
                      --own-articles-only"
    )]
    Add(ChangeArgs),
    /// Change what a partner may do; what is not named stays
    #[command(
        after_help = "Examples:\n  barid partner set gazette --subscribe ict,economy,diplomacy\n  \
                      barid partner set gazette --subscribe none\n  \
                      barid partner set gazette --origins https://desk.gazette.example"
    )]
    Set(ChangeArgs),
    /// List all partners
    #[command(after_help = "Examples:\n  barid partner list\n  barid partner list --output json")]
    List(ListArgs),
    /// Show a partner, its keys, and what is connected to the node that answers
    #[command(after_help = "Examples:\n  barid partner show gazette")]
    Show(NameArgs),
    /// Let a partner's keys in no more, until `resume`
    #[command(after_help = "Examples:\n  barid partner suspend gazette")]
    Suspend(NameArgs),
    /// Let a suspended partner's keys in again
    #[command(after_help = "Examples:\n  barid partner resume gazette")]
    Resume(NameArgs),
    /// Remove a partner and all its keys
    #[command(after_help = "Examples:\n  barid partner remove gazette")]
    Remove(NameArgs),
}

/// Which partner.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Its name: of a-z, 0-9 and '-'
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// All of them.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// What it may do.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Its name: of a-z, 0-9 and '-'
    #[arg(value_name = "NAME", value_hint = ValueHint::Other)]
    name: String,
    /// Topics that its subscribers may read, with all beneath them; `all`, or `none`
    #[arg(long, value_name = "TOPICS", value_delimiter = ',', value_hint = ValueHint::Other)]
    subscribe: Option<Vec<String>>,
    /// Topics that its publishers may publish to, with all beneath them; `all`, or `none`
    #[arg(long, value_name = "TOPICS", value_delimiter = ',', value_hint = ValueHint::Other)]
    publish: Option<Vec<String>>,
    /// Languages of both, such as ar,en; `all`
    #[arg(long, value_name = "RANGES", value_delimiter = ',', value_hint = ValueHint::Other)]
    languages: Option<Vec<String>>,
    /// What `source` must say in what it publishes; empty for anything
    #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
    source: Option<String>,
    /// Let its publishers revise only articles that it published itself
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    own_articles_only: Option<bool>,
    /// Let it have keys of the roles desk and monitor
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    desk: Option<bool>,
    /// Revisions that each key may publish a second on one node; 0 for no limit
    #[arg(long, value_name = "COUNT")]
    publishes_per_second: Option<u32>,
    /// Calls that each key may make a second on one node; 0 for no limit
    #[arg(long, alias = "rate", value_name = "COUNT")]
    requests_per_second: Option<u32>,
    /// Streams that each key may have open on one node; 0 for no limit
    #[arg(long, value_name = "COUNT")]
    streams: Option<u32>,
    /// Bytes that each key, and all webhooks together, may take a day (UTC) from one node, such as 10GiB
    #[arg(long, value_name = "SIZE")]
    bytes_per_day: Option<Size>,
    /// Sites whose pages may ask over HTTP with its keys, such as `https://desk.example`; `none`
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',', value_hint = ValueHint::Other)]
    origins: Option<Vec<String>>,
    #[command(flatten)]
    client: ClientArgs,
}

/// A partner as `--output json` prints it.
#[derive(Serialize)]
struct PartnerJson<'a> {
    name: &'a str,
    suspended: bool,
    /// none = nothing
    subscribe: Option<ScopeJson<'a>>,
    publish: Option<ScopeJson<'a>>,
    source: &'a str,
    own_articles_only: bool,
    desk: bool,
    publishes_per_second: u32,
    requests_per_second: u32,
    streams_max: u32,
    bytes_per_day: u64,
    origins: &'a [String],
    /// open on the node that answers
    streams: u32,
    keys: Vec<KeyJson<'a>>,
}

/// A part of the wire; an empty list is everything.
#[derive(Serialize)]
struct ScopeJson<'a> {
    topics: &'a [String],
    languages: &'a [String],
}

/// Runs `barid partner`.
///
/// # Errors
/// Bad use, no server, or a refusal.
pub async fn run(command: PartnerCommand) -> anyhow::Result<()> {
    match command {
        PartnerCommand::Add(args) => add(args).await,
        PartnerCommand::Set(args) => set(args).await,
        PartnerCommand::List(args) => list(args).await,
        PartnerCommand::Show(args) => show(args).await,
        PartnerCommand::Suspend(args) => suspend(args, true).await,
        PartnerCommand::Resume(args) => suspend(args, false).await,
        PartnerCommand::Remove(args) => remove(args).await,
    }
}

async fn add(args: ChangeArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let partner = proto::Partner {
        name: args.name.clone(),
        ..proto::Partner::default()
    };
    let partner = Some(args.changed(partner)?);
    let request = client.request(proto::CreatePartnerRequest { partner });
    let made = client.desk().create_partner(request).await;
    let made = made.map_err(CallError::from)?.into_inner().partner;
    print(&made.unwrap_or_default(), &[], args.client.output)
}

async fn set(args: ChangeArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let (partner, _) = get(&client, &args.name).await?;
    let changed = update(&client, args.changed(partner)?).await?;
    print(&changed, &[], args.client.output)
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let request = client.request(proto::ListPartnersRequest {});
    let listed = client.desk().list_partners(request).await;
    let partners = listed.map_err(CallError::from)?.into_inner().partners;
    if args.client.output == Output::Json {
        for partner in &partners {
            out::json(&PartnerJson::from(partner))?;
        }
        return Ok(());
    }
    let names = partners.iter().map(|partner| partner.name.len());
    let width = names.max().unwrap_or(0);
    for partner in &partners {
        out::line(&format!(
            "{:<width$}  reads {}, publishes {}; {} keys, {} streams here{}{}",
            printable(&partner.name),
            scope(partner.subscribe.as_ref()),
            scope(publishing(partner)),
            partner.keys.len(),
            partner.streams,
            if partner.desk { "; desk" } else { "" },
            if partner.suspended { "; SUSPENDED" } else { "" },
        ))?;
    }
    Ok(())
}

async fn show(args: NameArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let (partner, streams) = get(&client, &args.name).await?;
    print(&partner, &streams, args.client.output)
}

async fn suspend(args: NameArgs, suspended: bool) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let (partner, _) = get(&client, &args.name).await?;
    let partner = proto::Partner {
        suspended,
        ..partner
    };
    let changed = update(&client, partner).await?;
    print(&changed, &[], args.client.output)
}

async fn remove(args: NameArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.client, Role::Desk).await?;
    let name = args.name;
    let request = client.request(proto::DeletePartnerRequest { name });
    let removed = client.desk().delete_partner(request).await;
    removed.map_err(CallError::from)?;
    Ok(())
}

async fn get(
    client: &Client,
    name: &str,
) -> anyhow::Result<(proto::Partner, Vec<proto::OpenStream>)> {
    let name = name.to_owned();
    let request = client.request(proto::GetPartnerRequest { name });
    let got = client.desk().get_partner(request).await;
    let got = got.map_err(CallError::from)?.into_inner();
    Ok((got.partner.unwrap_or_default(), got.streams))
}

async fn update(client: &Client, partner: proto::Partner) -> anyhow::Result<proto::Partner> {
    let partner = Some(partner);
    let request = client.request(proto::UpdatePartnerRequest { partner });
    let changed = client.desk().update_partner(request).await;
    let changed = changed.map_err(CallError::from)?.into_inner().partner;
    Ok(changed.unwrap_or_default())
}

impl ChangeArgs {
    /// The partner with what the flags name.
    fn changed(&self, mut partner: proto::Partner) -> Result<proto::Partner, BadUse> {
        if let Some(topics) = &self.subscribe {
            let former = partner.subscribe.take();
            partner.subscribe = granted("--subscribe", topics, former)?;
        }
        if let Some(topics) = &self.publish {
            let former = partner.publish.take().unwrap_or_default();
            let scope = granted("--publish", topics, former.scope.clone())?;
            partner.publish = scope.map(|scope| proto::Publishing {
                scope: Some(scope),
                ..former
            });
        }
        if let Some(languages) = &self.languages {
            let languages = all_or(languages);
            if let Some(scope) = &mut partner.subscribe {
                scope.languages.clone_from(&languages);
            }
            if let Some(publish) = &mut partner.publish {
                publish.scope.get_or_insert_default().languages = languages;
            }
        }
        if self.source.is_some() || self.own_articles_only.is_some() {
            let publish = partner.publish.as_mut().ok_or_else(|| {
                let message = "--source and --own-articles-only need --publish, with its topics";
                BadUse(message.to_owned())
            })?;
            if let Some(source) = &self.source {
                publish.source.clone_from(source);
            }
            publish.own_articles_only = self.own_articles_only.unwrap_or(publish.own_articles_only);
        }
        partner.desk = self.desk.unwrap_or(partner.desk);
        let limits = partner.limits.get_or_insert_default();
        let or = |given: Option<u32>, former: u32| given.unwrap_or(former);
        limits.publishes_per_second = or(self.publishes_per_second, limits.publishes_per_second);
        limits.requests_per_second = or(self.requests_per_second, limits.requests_per_second);
        limits.streams = or(self.streams, limits.streams);
        limits.bytes_per_day = self
            .bytes_per_day
            .map_or(limits.bytes_per_day, |size| size.0);
        match self.origins.as_deref() {
            None => {}
            Some([none]) if none == "none" => partner.origins.clear(),
            Some(origins) => partner.origins = origins.to_vec(),
        }
        Ok(partner)
    }
}

/// The scope that a list of topics means; none for `none`.
fn granted(
    flag: &str,
    topics: &[String],
    former: Option<proto::Scope>,
) -> Result<Option<proto::Scope>, BadUse> {
    match topics {
        [none] if none == "none" => Ok(None),
        [] => Err(BadUse(format!(
            "{flag} names nothing; give topics, all, or none"
        ))),
        topics => Ok(Some(proto::Scope {
            topics: all_or(topics),
            languages: former.unwrap_or_default().languages,
        })),
    }
}

/// A list, in which `all` stands for an empty one.
fn all_or(texts: &[String]) -> Vec<String> {
    match texts {
        [all] if all == "all" => Vec::new(),
        texts => texts.iter().map(|text| text.trim().to_owned()).collect(),
    }
}

impl<'a> From<&'a proto::Partner> for PartnerJson<'a> {
    fn from(partner: &'a proto::Partner) -> Self {
        let limits = partner.limits.unwrap_or_default();
        let publish = partner.publish.as_ref();
        Self {
            name: &partner.name,
            suspended: partner.suspended,
            subscribe: partner.subscribe.as_ref().map(ScopeJson::from),
            publish: publishing(partner).map(ScopeJson::from),
            source: publish.map_or("", |publish| &publish.source),
            own_articles_only: publish.is_some_and(|publish| publish.own_articles_only),
            desk: partner.desk,
            publishes_per_second: limits.publishes_per_second,
            requests_per_second: limits.requests_per_second,
            streams_max: limits.streams,
            bytes_per_day: limits.bytes_per_day,
            origins: &partner.origins,
            streams: partner.streams,
            keys: partner.keys.iter().map(KeyJson::from).collect(),
        }
    }
}

impl<'a> From<&'a proto::Scope> for ScopeJson<'a> {
    fn from(scope: &'a proto::Scope) -> Self {
        Self {
            topics: &scope.topics,
            languages: &scope.languages,
        }
    }
}

fn publishing(partner: &proto::Partner) -> Option<&proto::Scope> {
    partner.publish.as_ref()?.scope.as_ref()
}

/// A scope in a few words.
fn scope(scope: Option<&proto::Scope>) -> String {
    let Some(scope) = scope else {
        return "nothing".to_owned();
    };
    let topics = match scope.topics.as_slice() {
        [] => "everything".to_owned(),
        topics => topics.join(","),
    };
    match scope.languages.as_slice() {
        [] => topics,
        languages => format!("{topics} in {}", languages.join(",")),
    }
}

fn print(
    partner: &proto::Partner,
    streams: &[proto::OpenStream],
    output: Output,
) -> anyhow::Result<()> {
    if output == Output::Json {
        return out::json(&PartnerJson::from(partner));
    }
    let limits = partner.limits.unwrap_or_default();
    let or_none = |count: u64| match count {
        0 => "no limit".to_owned(),
        count => count.to_string(),
    };
    let state = if partner.suspended {
        "SUSPENDED"
    } else {
        "good"
    };
    out::line(&format!(
        "partner        {}  {state}",
        printable(&partner.name)
    ))?;
    out::line(&format!(
        "reads          {}",
        scope(partner.subscribe.as_ref())
    ))?;
    out::line(&format!("publishes      {}", scope(publishing(partner))))?;
    if let Some(publish) = &partner.publish {
        if !publish.source.is_empty() {
            out::line(&format!("as source      {}", printable(&publish.source)))?;
        }
        if publish.own_articles_only {
            out::line("revises        its own articles only")?;
        }
    }
    if partner.desk {
        out::line("desk           keys of the roles desk and monitor")?;
    }
    for (name, count) in [
        ("publishes/s", u64::from(limits.publishes_per_second)),
        ("requests/s", u64::from(limits.requests_per_second)),
        ("streams", u64::from(limits.streams)),
        ("bytes a day", limits.bytes_per_day),
    ] {
        out::line(&format!("{name:<15}{}", or_none(count)))?;
    }
    if !partner.origins.is_empty() {
        let origins = printable(&partner.origins.join(","));
        out::line(&format!("pages of       {origins}"))?;
    }
    for key in &partner.keys {
        out::line(&format!("key            {}", crate::cli::key::line(key)))?;
    }
    for stream in streams {
        let lag = stream
            .lag
            .and_then(|lag| std::time::Duration::try_from(lag).ok());
        let lag = humantime::format_duration(lag.unwrap_or_default());
        let by = match stream.subject.as_str() {
            "" => format!("key {}", printable(&stream.key_id)),
            subject => format!("token of {}", printable(subject)),
        };
        out::line(&format!(
            "stream         {by} over {}, at {}, {lag} behind",
            printable(&stream.protocol),
            printable(&stream.cursor)
        ))?;
    }
    Ok(())
}
