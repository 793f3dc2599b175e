//! `barid publish`: ninjs files, pipelined.

use anyhow::anyhow;
use clap::{ValueEnum, ValueHint};
use jiff::Timestamp;
use prost::Message as _;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    access::key::Role,
    article::{ARTICLE_BYTES_MAX, RequestId},
    cli::{
        BadUse,
        client::{Client, ClientArgs},
        input::{self, Item, Place},
        out::{self, OutputClosed},
        printable::printable,
        publish::{
            stream::{Pipeline, Sending},
            tally::Tally,
        },
    },
    config::value::Output,
    wire::{ninjs, proto::v1 as proto},
};

pub mod stream;
pub mod tally;

/// Articles that are read ahead, and that may be under way. Full: reading waits.
pub const PIPELINE: usize = 256;
/// Most bytes of a request: 4 MiB with its frame.
const REQUEST_BYTES_MAX: usize = (4 << 20) - 1024;
/// The namespace of request ids that are derived from what a request says.
const REQUEST_NAMESPACE: Uuid = Uuid::from_u128(0x7d0b_0f4e_52b7_4c1e_9a36_b2c5_7e1d_90a4);

/// Publish articles from ninjs files
///
/// A file holds ninjs 3.1 objects: one, many one after another (JSON Lines), or a list of them.
/// pubStatus decides what happens: usable publishes or updates, withheld takes the story back for
/// now, canceled kills it.
///
/// The request id is derived from the content, so that running the same command again is harmless:
/// what was accepted is not published twice. Publishing an earlier state anew, after something
/// else, therefore needs --again. A server that goes away is waited for: what it has not answered is
/// sent again, until it has answered nothing for as long as --timeout says.
///
/// A file that can't be read ends it before anything is published.
///
/// Exit codes: 0 all accepted, 2 a file can't be read or all that was not accepted is invalid, 1
/// anything else failed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid publish story.json\n  barid publish archive/2026-07.jsonl \
                        --timeout 5m\n  producer | barid publish -\n  \
                        barid publish --action correct --expected-revision 2 story.json"
)]
pub struct PublishArgs {
    /// Files of ninjs; - is stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
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
    /// Only the topics and subjects that the articles state count, not what their texts say
    #[arg(long)]
    no_inference: bool,
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

/// An accepted article as `--output json` prints it.
#[derive(Serialize)]
struct PublishedJson<'a> {
    result: &'static str,
    place: Option<String>,
    id: &'a str,
    revision: u32,
    topics: &'a [String],
    cursor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    embargoed_until: Option<Timestamp>,
    duplicate: bool,
}

/// A failed article as `--output json` prints it.
#[derive(Serialize)]
pub struct FailedJson<'a> {
    /// `failed`.
    pub result: &'static str,
    /// Where it stands.
    pub place: String,
    /// The server's stable reason; none if it was never asked.
    pub reason: Option<String>,
    /// What is wrong.
    pub message: &'a str,
    /// The fields at fault.
    pub violations: Vec<ViolationJson>,
}

/// A field at fault.
#[derive(Serialize)]
pub struct ViolationJson {
    /// Its path.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Publishes every article of the files.
///
/// # Errors
/// Bad use, no server, or at least one article that was not accepted.
pub async fn run(args: PublishArgs) -> anyhow::Result<()> {
    let ids = args.ids()?;
    let advice = match ids {
        IdChoice::Derived | IdChoice::Given(_) => {
            "run the same command again: what was accepted is not published twice"
        }
        IdChoice::Random => "--again would publish those a second time",
    };
    let is_for_one = args.expected_revision.is_some() || args.request_id.is_some();
    input::check(&args.files)?;
    let client = Client::connect(&args.client, Role::Publisher).await?;
    let mut items = input::read_ahead(args.files.clone(), PIPELINE)?;
    let mut first = None;
    if is_for_one {
        first = items.recv().await;
        if let Some(second) = items.recv().await {
            let place = second.place;
            return Err(BadUse(format!(
                "--expected-revision and --request-id are for one article alone, but {place} \
                 begins another"
            ))
            .into());
        }
    }
    let mut tally = Tally::new(args.client.output, &args.files);
    let rules = Rules {
        ids,
        action: args.action,
        expected_revision: args.expected_revision,
        strict: args.strict,
        routing: routing(args.no_inference),
    };
    let mut pipeline = Pipeline::new(client.clone(), items, rules, args.client.timeout.0);
    if let Some(item) = first {
        pipeline.push(item, &mut tally)?;
    }
    let ended = tokio::select! {
        biased;
        // Nothing is lost: what was not answered is told.
        stop = tokio::signal::ctrl_c() => Err(match stop {
            Ok(()) => anyhow!("stopped by Ctrl-C"),
            Err(error) => anyhow!(error).context("can't wait for Ctrl-C"),
        }),
        ended = pipeline.run(&mut tally) => ended,
    };
    match ended {
        Ok(()) => {
            tell_killed(&client, &tally).await;
            tally.finish()
        }
        Err(error) if error.is::<OutputClosed>() => Err(error),
        Err(error) => {
            pipeline.give_up(&mut tally)?;
            if let Err(failures) = tally.finish() {
                out::say(&format!("barid: {failures:#}"));
            }
            Err(anyhow!("{error:#}; {advice}"))
        }
    }
}

/// Says which of the stories that were accepted before have been taken back for good since.
async fn tell_killed(client: &Client, tally: &Tally) {
    for (place, article_id) in tally.repeated() {
        let article_id = article_id.clone();
        let request = client.request(proto::GetArticleRequest { article_id });
        let answer = client.articles().get_article(request).await;
        // It only tells: without an answer what was printed is still true.
        let Some(delivery) = answer.ok().and_then(|answer| answer.into_inner().delivery) else {
            continue;
        };
        if delivery.action() == proto::Action::Kill {
            tally.say(&format!(
                "barid: {place}: the story has been killed since, by revision {}: it is not on the \
                 wire",
                delivery.revision
            ));
        }
    }
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

/// How topics are to be found. Inferring is not stated: requests without the switch stay what they
/// were before there was one, and so do the ids that are derived from them.
pub fn routing(no_inference: bool) -> proto::Routing {
    if no_inference {
        proto::Routing::Stated
    } else {
        proto::Routing::Unspecified
    }
}

/// How items become requests.
pub struct Rules {
    ids: IdChoice,
    action: Option<ActionArg>,
    expected_revision: Option<u32>,
    strict: bool,
    routing: proto::Routing,
}

impl Rules {
    /// Every article as it says itself, under an id that is derived from what it says.
    pub fn derived(routing: proto::Routing) -> Self {
        Self {
            ids: IdChoice::Derived,
            action: None,
            expected_revision: None,
            strict: false,
            routing,
        }
    }

    /// The request of an item.
    ///
    /// # Errors
    /// Where the item is, and why it makes no request.
    pub fn apply(&self, item: Item) -> Result<Sending, (Place, String)> {
        let parsed = match item.parsed {
            Ok(parsed) => parsed,
            Err(message) => return Err((item.place, message)),
        };
        if self.strict && !parsed.warnings.is_empty() {
            return Err((item.place, parsed.warnings.join("; ")));
        }
        let action = match self.action {
            Some(action) => action.to_proto(),
            None => parsed.pub_status.asks_for(),
        };
        let mut publish = proto::PublishRequest {
            request_id: String::new(),
            expected_revision: self.expected_revision,
            action: action.into(),
            article: Some(parsed.article),
            routing: self.routing.into(),
        };
        let len_bytes = publish.encoded_len();
        if len_bytes > REQUEST_BYTES_MAX {
            // The server would end the whole stream over it.
            let message =
                format!("has {len_bytes} bytes; an article has {ARTICLE_BYTES_MAX} at most");
            return Err((item.place, message));
        }
        self.ids.apply(&mut publish);
        Ok(Sending {
            place: item.place,
            action,
            warnings: parsed.warnings,
            request: proto::PublishStreamRequest {
                publish: Some(publish),
            },
            read_bytes: item.read_bytes,
            sent_count: 0,
        })
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
        embargoed_until,
    } = published;
    let embargoed_until = ninjs::time_from_proto(embargoed_until.as_ref());
    let result = match (embargoed_until, revision) {
        (Some(_), _) => "embargoed",
        (None, 0) => "erased",
        (None, _) => ActionArg::done(action),
    };
    if output == Output::Json {
        return out::json(&PublishedJson {
            result,
            place: place.map(Place::to_string),
            id: article_id,
            revision: *revision,
            topics,
            cursor,
            embargoed_until,
            duplicate: *duplicate,
        });
    }
    let topics = printable(&topics.join(", "));
    if let Some(until) = embargoed_until {
        let again = if *duplicate {
            "  (this was submitted before; `barid embargo list` shows what waits)"
        } else {
            ""
        };
        return out::line(&format!(
            "{result} {article_id} until {until}  {topics}{again}"
        ));
    }
    if *revision == 0 {
        let again = if *duplicate {
            "  (by this very request, before: a later draft is still there, `barid embargo cancel` \
             erases it)"
        } else {
            "  (only a draft was there: nothing was sent)"
        };
        return out::line(&format!("{result} {article_id}{again}"));
    }
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
