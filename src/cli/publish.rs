//! `barid publish`: ninjs files, pipelined.

use std::{iter, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message as _;
use serde::Serialize;
use tokio::{sync::mpsc, time};
use tonic::Streaming;
use uuid::Uuid;

use crate::{
    article::RequestId,
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs},
        input::{self, Item, Place},
        ninjs::PubStatus,
        out,
        printable::printable,
    },
    config::value::Output,
    wire::proto::v1::{self as proto, publish_stream_response},
};

/// Articles that are read ahead, and that may be under way. Full: reading waits.
const PIPELINE: usize = 256;
/// Failures whose words the summary repeats; the others are counted.
const FAILURES_SHOWN: usize = 100;
/// The namespace of request ids that are derived from what a request says.
const REQUEST_NAMESPACE: Uuid = Uuid::from_u128(0x7d0b_0f4e_52b7_4c1e_9a36_b2c5_7e1d_90a4);

/// Publish articles from ninjs files
///
/// A file holds one ninjs 3.1 object, or one per line (JSON Lines). pubStatus decides what happens:
/// usable publishes or updates, withheld takes the story back for now, canceled kills it.
///
/// The request id is derived from the content, so that running the same command again is harmless:
/// what was accepted is not published twice. Publishing an earlier state anew, after something
/// else, therefore needs --again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid publish story.json\n  producer | barid publish -\n  \
                        barid publish --action correct --expected-revision 2 story.json"
)]
pub struct PublishArgs {
    /// Files of ninjs; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// What to do, whatever pubStatus says
    #[arg(long, value_name = "ACTION")]
    action: Option<ActionArg>,
    /// Only if this is the newest revision; 0 = the story is new. For one article alone
    #[arg(long, value_name = "NUMBER")]
    expected_revision: Option<u32>,
    /// The request id, a UUID, instead of the derived one. For one article alone
    #[arg(long, value_name = "UUID", conflicts_with = "again")]
    request_id: Option<String>,
    /// Publish anew what was published before: takes random request ids
    #[arg(long)]
    again: bool,
    /// Refuse what would be left out with a warning, such as an unknown property
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// An action on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ActionArg {
    /// Start a story, or reinstate a withheld one
    Publish,
    /// More or newer text
    Update,
    /// Mend an error; edNote says which
    Correct,
    /// Take the story back for now; edNote says why
    Withhold,
    /// Take the story back for good; edNote says why
    Kill,
}

impl ActionArg {
    /// The action as protobuf.
    pub fn to_proto(self) -> proto::Action {
        match self {
            Self::Publish => proto::Action::Publish,
            Self::Update => proto::Action::Update,
            Self::Correct => proto::Action::Correct,
            Self::Withhold => proto::Action::Withhold,
            Self::Kill => proto::Action::Kill,
        }
    }

    /// What a pubStatus asks for.
    pub fn of_status(status: PubStatus) -> Self {
        match status {
            PubStatus::Usable => Self::Publish,
            PubStatus::Withheld => Self::Withhold,
            PubStatus::Canceled => Self::Kill,
        }
    }

    /// What happened to the story once it is done.
    fn done(action: proto::Action) -> &'static str {
        match action {
            proto::Action::Unspecified | proto::Action::Publish => "published",
            proto::Action::Update => "updated",
            proto::Action::Correct => "corrected",
            proto::Action::Withhold => "withheld",
            proto::Action::Kill => "killed",
        }
    }
}

/// How a request gets its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdChoice {
    /// From what it says: a repetition is harmless.
    Derived,
    /// At random: a repetition is a revision of its own.
    Random,
    /// This one.
    Given(String),
}

impl IdChoice {
    /// Gives a request its id.
    pub fn apply(&self, request: &mut proto::PublishRequest) {
        request.request_id = match self {
            Self::Derived => {
                request.request_id = String::new();
                // The very bytes that the server compares: equal ids mean equal content.
                let content = request.encode_to_vec();
                Uuid::new_v5(&REQUEST_NAMESPACE, &content).to_string()
            }
            Self::Random => Uuid::new_v4().to_string(),
            Self::Given(id) => id.clone(),
        };
    }
}

/// A request on its way, in the order of the answers.
enum Sent {
    Request(Place, proto::Action, Vec<String>),
    Refused(Place, String),
}

/// An accepted article as `--output json` prints it.
#[derive(Serialize)]
struct PublishedJson<'a> {
    result: &'static str,
    place: Option<String>,
    id: &'a str,
    revision: u32,
    topics: &'a [String],
    cursor: &'a str,
    duplicate: bool,
}

/// A failed article as `--output json` prints it.
#[derive(Serialize)]
struct FailedJson<'a> {
    result: &'static str,
    place: String,
    reason: Option<String>,
    message: &'a str,
    violations: Vec<ViolationJson>,
}

/// A field at fault.
#[derive(Serialize)]
struct ViolationJson {
    field: String,
    message: String,
}

/// Publishes every article of the files.
///
/// # Errors
/// Bad use, no server, or at least one article that was not accepted.
pub async fn run(args: PublishArgs) -> anyhow::Result<()> {
    let ids = args.ids()?;
    let is_for_one = args.expected_revision.is_some() || args.request_id.is_some();
    let client = Client::connect(&args.client).await?;
    let mut items = read_ahead(args.files.clone())?;
    let mut first = Vec::new();
    if is_for_one {
        first.extend(items.recv().await);
        if let Some(second) = items.recv().await {
            let place = second.place;
            return Err(BadUse(format!(
                "--expected-revision and --request-id are for one article alone, but {place} \
                 begins another"
            ))
            .into());
        }
    }
    let mut tally = Tally::new(args.client.output, &ids);
    let (sent_in, sent) = mpsc::channel(PIPELINE);
    let rules = Rules {
        ids,
        action: args.action,
        expected_revision: args.expected_revision,
        strict: args.strict,
    };
    let requests = requests(first, items, rules, sent_in);
    let mut publisher = client.publisher();
    let answers = publisher.publish_stream(requests).await;
    let answers = answers.map_err(CallError::from)?.into_inner();
    tally.take(answers, sent, args.client.timeout.0).await?;
    tally.finish()
}

impl PublishArgs {
    fn ids(&self) -> Result<IdChoice, BadUse> {
        match &self.request_id {
            None if self.again => Ok(IdChoice::Random),
            None => Ok(IdChoice::Derived),
            Some(id) => match id.parse::<RequestId>() {
                Ok(_) => Ok(IdChoice::Given(id.clone())),
                Err(error) => Err(BadUse(format!("--request-id {id:?}: {error}"))),
            },
        }
    }
}

/// How items become requests.
struct Rules {
    ids: IdChoice,
    action: Option<ActionArg>,
    expected_revision: Option<u32>,
    strict: bool,
}

impl Rules {
    fn apply(&self, item: Item) -> (Sent, Option<proto::PublishStreamRequest>) {
        let parsed = match item.parsed {
            Ok(parsed) => parsed,
            Err(message) => return (Sent::Refused(item.place, message), None),
        };
        if self.strict && !parsed.warnings.is_empty() {
            return (Sent::Refused(item.place, parsed.warnings.join("; ")), None);
        }
        let action = self
            .action
            .unwrap_or_else(|| ActionArg::of_status(parsed.pub_status))
            .to_proto();
        let mut publish = proto::PublishRequest {
            request_id: String::new(),
            expected_revision: self.expected_revision,
            action: action.into(),
            article: Some(parsed.article),
        };
        self.ids.apply(&mut publish);
        let request = proto::PublishStreamRequest {
            publish: Some(publish),
        };
        (
            Sent::Request(item.place, action, parsed.warnings),
            Some(request),
        )
    }
}

/// Reads the files in a thread of its own: stdin may keep it waiting for ever.
fn read_ahead(files: Vec<String>) -> anyhow::Result<mpsc::Receiver<Item>> {
    let (items_in, items) = mpsc::channel(PIPELINE);
    // Not a task: a task that reads stdin would keep the runtime from ending.
    thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || {
            for file in files {
                let items: Box<dyn Iterator<Item = Item>> = match input::open(&file) {
                    Ok(reader) => Box::new(input::items(&file, reader)),
                    Err(error) => Box::new(iter::once(unreadable(file, &error))),
                };
                for item in items {
                    if items_in.blocking_send(item).is_err() {
                        // Nobody takes them any more: the command is ending.
                        return;
                    }
                }
            }
        })
        .context("can't start the reader")?;
    Ok(items)
}

fn unreadable(file: String, error: &std::io::Error) -> Item {
    Item {
        place: Place {
            file,
            line: 0,
            column: 0,
        },
        parsed: Err(format!("can't read the file: {error}")),
    }
}

/// The requests in order; `sent` hears of each before it leaves, so that answers find it.
fn requests(
    first: Vec<Item>,
    items: mpsc::Receiver<Item>,
    rules: Rules,
    sent: mpsc::Sender<Sent>,
) -> impl futures_util::Stream<Item = proto::PublishStreamRequest> + Send + 'static {
    let state = (first.into_iter(), items, rules, sent);
    stream::unfold(state, |(mut first, mut items, rules, sent)| async move {
        loop {
            let item = match first.next() {
                Some(item) => item,
                None => items.recv().await?,
            };
            let (note, request) = rules.apply(item);
            sent.send(note).await.ok()?;
            if let Some(request) = request {
                return Some((request, (first, items, rules, sent)));
            }
        }
    })
}

/// What became of the articles.
struct Tally {
    output: Output,
    /// What to do when the stream breaks.
    advice: &'static str,
    bar: ProgressBar,
    accepted_count: u64,
    failed_count: u64,
    failures: Vec<String>,
}

impl Tally {
    fn new(output: Output, ids: &IdChoice) -> Self {
        // Drawn on stderr, and only if that is a terminal.
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} articles, {per_sec}") {
            bar.set_style(style);
        }
        Self {
            output,
            advice: match ids {
                IdChoice::Derived | IdChoice::Given(_) => {
                    "run the same command again: what was accepted is not published twice"
                }
                IdChoice::Random => "--again would publish those a second time",
            },
            bar,
            accepted_count: 0,
            failed_count: 0,
            failures: Vec::new(),
        }
    }

    async fn take(
        &mut self,
        mut answers: Streaming<proto::PublishStreamResponse>,
        mut sent: mpsc::Receiver<Sent>,
        patience: Duration,
    ) -> anyhow::Result<()> {
        while let Some(next) = sent.recv().await {
            self.bar.inc(1);
            let (place, action) = match next {
                Sent::Refused(place, message) => {
                    self.fail(&place, &message, None)?;
                    continue;
                }
                Sent::Request(place, action, warnings) => {
                    self.warn(&place, &warnings);
                    (place, action)
                }
            };
            let lost = match time::timeout(patience, answers.message()).await {
                Ok(Ok(Some(answer))) => {
                    self.answer(&place, action, answer)?;
                    continue;
                }
                Ok(Ok(None)) => anyhow!("the server ended the stream"),
                Ok(Err(status)) => CallError::from(status).into(),
                Err(_) => anyhow!("no answer within {}", humantime::format_duration(patience)),
            };
            sent.close();
            return self.lose(&place, sent, lost).await;
        }
        Ok(())
    }

    fn answer(
        &mut self,
        place: &Place,
        action: proto::Action,
        answer: proto::PublishStreamResponse,
    ) -> anyhow::Result<()> {
        match answer.result {
            Some(publish_stream_response::Result::Published(published)) => {
                self.accepted_count += 1;
                let place = Some(place);
                self.bar
                    .suspend(|| print_published(self.output, action, &published, place))
            }
            Some(publish_stream_response::Result::Error(status)) => {
                let error = CallError::from(status);
                self.fail(place, &error.to_string(), Some(&error))
            }
            None => self.fail(place, "the answer is empty; is the server newer?", None),
        }
    }

    /// The stream broke: what had been sent has no answer, what was not read stays where it is.
    async fn lose(
        &mut self,
        place: &Place,
        mut sent: mpsc::Receiver<Sent>,
        lost: anyhow::Error,
    ) -> anyhow::Result<()> {
        self.fail(place, "sent, but not answered", None)?;
        while let Some(next) = sent.recv().await {
            match next {
                Sent::Refused(place, message) => self.fail(&place, &message, None)?,
                Sent::Request(place, ..) => self.fail(&place, "sent, but not answered", None)?,
            }
        }
        self.summary();
        Err(lost.context(format!(
            "stopped after {} articles; {}",
            self.accepted_count, self.advice
        )))
    }

    fn fail(
        &mut self,
        place: &Place,
        message: &str,
        error: Option<&CallError>,
    ) -> anyhow::Result<()> {
        self.failed_count += 1;
        if self.failures.len() < FAILURES_SHOWN {
            self.failures.push(format!("{place}: {message}"));
        }
        if self.output == Output::Text {
            return Ok(());
        }
        let violations = error.map_or_else(Vec::new, CallError::violations);
        let json = FailedJson {
            result: "failed",
            place: place.to_string(),
            reason: error.map(CallError::reason),
            message,
            violations: (violations.into_iter())
                .map(|(field, message)| ViolationJson { field, message })
                .collect(),
        };
        self.bar.suspend(|| out::json(&json))
    }

    fn warn(&self, place: &Place, warnings: &[String]) {
        self.bar.suspend(|| {
            for warning in warnings {
                anstream::eprintln!("barid: {place}: {warning}");
            }
        });
    }

    fn summary(&self) {
        self.bar.finish_and_clear();
        for failure in &self.failures {
            anstream::eprintln!("barid: {failure}");
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        self.summary();
        let all = self.accepted_count + self.failed_count;
        match (all, self.failed_count) {
            (0, _) => Err(BadUse("there is no article in the files".to_owned()).into()),
            (_, 0) => Ok(()),
            (all, failed) => Err(anyhow!("{failed} of {all} articles were not accepted")),
        }
    }
}

/// Prints one accepted revision.
///
/// # Errors
/// As [`out::line()`].
pub fn print_published(
    output: Output,
    action: proto::Action,
    published: &proto::PublishResponse,
    place: Option<&Place>,
) -> anyhow::Result<()> {
    let proto::PublishResponse {
        article_id,
        revision,
        topics,
        cursor,
        duplicate,
    } = published;
    let result = ActionArg::done(action);
    if output == Output::Json {
        return out::json(&PublishedJson {
            result,
            place: place.map(Place::to_string),
            id: article_id,
            revision: *revision,
            topics,
            cursor,
            duplicate: *duplicate,
        });
    }
    let topics = printable(&topics.join(", "));
    let again = match (duplicate, action) {
        (false, _) => "",
        (true, proto::Action::Kill) => "  (was killed before)",
        (true, _) => "  (this was accepted before: nothing new was published)",
    };
    out::line(&format!(
        "{result} {article_id} revision {revision}  {topics}  {cursor}{again}"
    ))
}

#[cfg(test)]
mod tests;
