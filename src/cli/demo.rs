//! `barid demo`: a made-up news day, so that there is something to see.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{self, Instant};
use uuid::Uuid;

use crate::{
    access::key::Role,
    article::{Action, ArticleId},
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs, backoff},
        line::{self, View},
        out,
        printable::printable,
        publish::{self, IdChoice},
    },
    config::value::Output,
    wire::{
        convert,
        ninjs::{self, Ninjs},
        proto::v1 as proto,
    },
};

/// The day's publications, one per line.
const NEWS: &str = include_str!("demo/news.jsonl");
/// How the day's own uris begin.
const OWN_URIS: &str = "tag:wire.example,2026:";
/// The longest wait for a lost server before a new try.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often a server is tried that is not there yet, a quarter of a second apart.
const TRIES: u32 = 40;
/// The wait between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// Publish a made-up news day in Arabic, English, French and Urdu, about a minute long
///
/// Stories with updates, corrections, a withholding, kills and an embargo. Each round is a fresh set of stories.
/// A server that is not there yet, or goes away, is waited for. Watch it with `barid tail` in a
/// second terminal.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid demo\n  barid demo --speed 20\n  barid demo --forever --speed 0.5"
)]
pub struct DemoArgs {
    /// Begin a new round after each
    #[arg(long)]
    forever: bool,
    /// How fast: 2 halves the pauses, 0.5 doubles them
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
    #[command(flatten)]
    client: ClientArgs,
}

/// One line of the day.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    pause_ms: u32,
    /// For how long it is under embargo.
    #[serde(default)]
    embargo_ms: Option<u32>,
    action: StepAction,
    article: Ninjs,
}

/// What a step does.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StepAction {
    Publish,
    Update,
    Correct,
    Withhold,
    Kill,
}

impl StepAction {
    fn action(self) -> Action {
        match self {
            Self::Publish => Action::Publish,
            Self::Update => Action::Update,
            Self::Correct => Action::Correct,
            Self::Withhold => Action::Withhold,
            Self::Kill => Action::Kill,
        }
    }
}

/// Publishes the day, once or for ever.
///
/// # Errors
/// Bad use, no server within 10 s, or a refusal.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(BadUse("--speed is a number above 0".to_owned()).into());
    }
    tokio::select! {
        biased;
        // Nothing is lost: what was published stays.
        stop = tokio::signal::ctrl_c() => stop.context("can't wait for Ctrl-C"),
        ended = rounds(&args) => ended,
    }
}

async fn rounds(args: &DemoArgs) -> anyhow::Result<()> {
    let client = wait_for_server(&args.client).await?;
    loop {
        round(args, &client).await?;
        if !args.forever {
            return Ok(());
        }
    }
}

async fn wait_for_server(args: &ClientArgs) -> anyhow::Result<Client> {
    for tried in 0..TRIES {
        match Client::connect(args, Role::Publisher).await {
            Ok(client) => return Ok(client),
            Err(error) if error.is::<BadUse>() => return Err(error),
            Err(_) if tried == 0 => {
                out::say(&format!("barid: waiting for the server at {}", args.server));
            }
            Err(_) => {}
        }
        time::sleep(TRY_PAUSE).await;
    }
    Client::connect(args, Role::Publisher).await
}

async fn round(args: &DemoArgs, client: &Client) -> anyhow::Result<()> {
    // Killed stories of an earlier round stay killed: each round has uris of its own.
    let run = Uuid::new_v4().simple().to_string();
    for step in steps()? {
        let pause = paced(step.pause_ms, args.speed);
        let request = request(step, &run, args.speed, Timestamp::now())?;
        let (headline, action) = (
            request.article.as_ref().map(headline).unwrap_or_default(),
            request.action(),
        );
        let published = send(&request, client, args.client.timeout.0).await?;
        print(args.client.output, action, &published, &headline)?;
        time::sleep(pause).await;
    }
    Ok(())
}

/// Publishes one step, again with the same request id where the server was lost.
async fn send(
    request: &proto::PublishRequest,
    client: &Client,
    patience: Duration,
) -> anyhow::Result<proto::PublishResponse> {
    let begin = Instant::now();
    let mut failed_count = 0;
    loop {
        let answer = client
            .publisher()
            .publish(client.request(request.clone()))
            .await;
        let error = match answer {
            Ok(published) => return Ok(published.into_inner()),
            Err(status) => CallError::from(status),
        };
        if !error.is_lost() || begin.elapsed() > patience {
            return Err(error.into());
        }
        if failed_count == 0 {
            out::say("barid: lost the server; waiting for it");
        }
        time::sleep(backoff(failed_count, BACKOFF_MAX)).await;
        failed_count += 1;
    }
}

/// Every article of the demo, as it is published.
///
/// # Errors
/// Never: the demo is tested.
pub fn articles() -> anyhow::Result<Vec<proto::Article>> {
    let article = |step: Step| Ok(step.article.into_article(&mut Vec::new())?);
    steps()?.into_iter().map(article).collect()
}

fn steps() -> anyhow::Result<Vec<Step>> {
    let read = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("line {number} of the demo"))
    };
    (1..).zip(NEWS.lines()).map(read).collect()
}

/// So many milliseconds of the day at a speed.
fn paced(ms: u32, speed: f64) -> Duration {
    Duration::from_millis(ms.into()).div_f64(speed.max(0.001))
}

/// The request of one step in one round.
fn request(
    step: Step,
    run: &str,
    speed: f64,
    now: Timestamp,
) -> anyhow::Result<proto::PublishRequest> {
    let embargo = step.embargo_ms.map(|ms| paced(ms, speed));
    let mut warnings = Vec::new();
    let mut article = step.article.into_article(&mut warnings)?;
    article.uri = format!("{}/{run}", article.uri);
    article.id = ArticleId::from_uri(&article.uri).to_string();
    for link in &mut article.links {
        if link.href.starts_with(OWN_URIS) {
            let uri = format!("{}/{run}", link.href);
            link.article_id = ArticleId::from_uri(&uri).to_string();
            link.href.clear();
        }
    }
    let action = step.action.action();
    if action == Action::Publish {
        article.first_created = Some(ninjs::time_to_proto(now));
    }
    article.version_created = Some(ninjs::time_to_proto(now));
    if let Some(embargo) = embargo {
        article.embargoed_until = Some(ninjs::time_to_proto(now.checked_add(embargo)?));
    }
    let mut request = proto::PublishRequest {
        request_id: String::new(),
        expected_revision: None,
        action: convert::action_to_proto(action).into(),
        article: Some(article),
        routing: proto::Routing::Unspecified.into(),
    };
    IdChoice::Random.apply(&mut request);
    Ok(request)
}

fn headline(article: &proto::Article) -> String {
    let text = if article.headline.is_empty() {
        &article.edition_note
    } else {
        &article.headline
    };
    printable(text)
}

fn print(
    output: Output,
    action: proto::Action,
    published: &proto::PublishResponse,
    headline: &str,
) -> anyhow::Result<()> {
    match output {
        Output::Json => publish::print_published(output, action, published, None),
        Output::Text => {
            let view = View::of_stdout(None);
            out::line(&line::of_publication(action, published, headline, &view))
        }
    }
}

#[cfg(test)]
mod tests;
