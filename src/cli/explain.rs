//! `barid explain`: where articles would go, and why; what another taxonomy would change.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, anyhow};
use clap::ValueHint;
use prost::Message as _;

use crate::{
    access::key::Role,
    article::ArticleId,
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs, article_id},
        explain::{
            compare::Since,
            context::Fields,
            json::ExplainedJson,
            show::{Look, Subject},
        },
        input::{self, Item},
        out,
        publish::{self, FailedJson, ViolationJson},
        wanted::WantedArgs,
    },
    config::value::Output,
    routing::taxonomy::TAXONOMY_BYTES_MAX,
    wire::{
        convert,
        ninjs::{Parsed, PubStatus, names::in_ninjs},
        proto::v1::{self as proto, explain_routing_request::Subject as Asked},
    },
};

pub mod compare;
pub mod context;
pub mod json;
pub mod show;

/// Articles that are read ahead. Full: reading waits.
const READ_AHEAD: usize = 16;

/// Show which topics articles would go to, and why
///
/// A dry run that stores nothing. For a file of ninjs, in any layout that `publish` reads: where
/// each article would go if it were published now, every phrase and rule that speaks for a topic
/// where it stands in the text, and what is missing for the topics that fall short. For a story
/// that is stored: what the taxonomy of now says, beside what was decided then. A word that names no
/// existing file, and is a UUID or has a colon in it, is the id or the uri of a story.
///
/// With --since: what the taxonomy in the file of --taxonomy would have done with the revisions in
/// the log that the filter chooses: one entry for each that would have other topics of its own, then
/// the sums by topics.
///
/// Exit codes: 0 done, 2 a file can't be read or all that was not explained is invalid, 1 anything
/// else failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  barid explain story.json\n  \
                        barid explain tag:wire.example,2026:1 --taxonomy new.toml\n  \
                        producer | barid explain - --output json\n  \
                        barid explain --since 24h --taxonomy new.toml --topics economy")]
pub struct ExplainArgs {
    /// Files of ninjs, - for stdin, or ids or uris of stored stories
    #[arg(value_name = "FILE|ID", value_hint = ValueHint::FilePath)]
    targets: Vec<String>,
    /// Route by this taxonomy file instead of the server's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    taxonomy: Option<String>,
    /// Only what the publisher states counts, as with `publish --no-inference`; for files
    #[arg(long, conflicts_with = "since")]
    no_inference: bool,
    /// Compare over the log instead: from so long ago (24h), a time such as 2026-07-01T08:00:00Z,
    /// or earliest
    #[arg(long, value_name = "BEGINNING", value_hint = ValueHint::Other)]
    since: Option<Since>,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What one word of the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    File(String),
    Story(ArticleId, String),
}

/// Explains articles, or compares taxonomies.
///
/// # Errors
/// Bad use, no server, a refusal, or an article that was not explained.
pub async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    if let Some(message) = args.misuse() {
        return Err(BadUse(message.to_owned()).into());
    }
    let taxonomy = args.taxonomy.as_deref().map(TaxonomyFile::read);
    let taxonomy = taxonomy.transpose()?;
    if let (Some(since), Some(taxonomy)) = (&args.since, &taxonomy) {
        let client = Client::connect(&args.client, Role::Desk).await?;
        let filter = args.wanted.filter();
        return compare::run(&client, &args.client, since, filter, taxonomy).await;
    }
    let targets: Vec<Target> = args.targets.iter().map(|text| Target::of(text)).collect();
    if args.no_inference
        && let Some(Target::Story(_, text)) = targets
            .iter()
            .find(|target| matches!(target, Target::Story(..)))
    {
        let message = format!(
            "--no-inference is for files: the stored story {text} was routed as its publisher asked"
        );
        return Err(BadUse(message).into());
    }
    for target in &targets {
        if let Target::File(file) = target {
            check_file(file)?;
        }
    }
    let mut explainer = Explainer {
        client: Client::connect(&args.client, Role::Publisher).await?,
        output: args.client.output,
        taxonomy,
        routing: publish::routing(args.no_inference),
        explained_count: 0,
        failed_count: 0,
        invalid_count: 0,
    };
    for target in targets {
        match target {
            Target::File(file) => explainer.file(file).await?,
            Target::Story(id, text) => explainer.story(id, text).await?,
        }
    }
    explainer.finish()
}

impl ExplainArgs {
    /// What can't be asked together, with the remedy.
    fn misuse(&self) -> Option<&'static str> {
        let is_filtered = self.wanted.filter() != proto::Filter::default();
        match (&self.since, &self.taxonomy) {
            (Some(_), _) if !self.targets.is_empty() => Some(
                "--since compares over the log and takes no files: leave out --since to explain \
                 articles",
            ),
            (Some(_), None) => Some(
                "--since compares over the log with another taxonomy: name its file with \
                 --taxonomy FILE",
            ),
            (Some(_), Some(_)) => None,
            (None, Some(_)) if self.targets.is_empty() => Some(
                "nothing to explain: name files, - for stdin or a story's id, or compare over the \
                 log with --since 24h",
            ),
            (None, None) if self.targets.is_empty() => Some(
                "nothing to explain: name files of ninjs, - for stdin, or a stored story's id or \
                 uri",
            ),
            (None, _) if is_filtered => Some(
                "--topics, --languages, --urgency and --words choose from the log: they need \
                 --since",
            ),
            (None, _) => None,
        }
    }
}

impl Target {
    fn of(text: &str) -> Self {
        if text != "-"
            && !Path::new(text).exists()
            && let Ok(id) = article_id(text)
        {
            return Self::Story(id, text.to_owned());
        }
        Self::File(text.to_owned())
    }
}

/// Checks that a file can be read; what names none might have been a story.
fn check_file(file: &str) -> Result<(), BadUse> {
    input::check(&[file.to_owned()]).map_err(|BadUse(message)| {
        if Path::new(file).exists() {
            return BadUse(message);
        }
        BadUse(format!(
            "{message}, and a story's id is a UUID, its uri has a colon in it"
        ))
    })
}

/// A taxonomy file, read to be sent along.
#[derive(Debug)]
pub struct TaxonomyFile {
    /// As the user named it.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl TaxonomyFile {
    fn read(name: &str) -> Result<Self, BadUse> {
        let refused = |why: String| BadUse(format!("can't read the taxonomy {name}: {why}"));
        let file = File::open(name).map_err(|error| refused(input::why(&error)))?;
        let limit = u64::try_from(TAXONOMY_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        // One byte more tells that there is more, without reading it all.
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| refused(input::why(&error)))?;
        if bytes.len() > TAXONOMY_BYTES_MAX {
            return Err(refused(format!(
                "it has more than {TAXONOMY_BYTES_MAX} bytes"
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| refused("it is not UTF-8; save it as UTF-8".to_owned()))?;
        // To the server, no text means its own taxonomy.
        if text.trim().is_empty() {
            return Err(refused("it is empty".to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// A refusal of this very file, with its name, line and column; other refusals as they are.
    pub fn refusal(&self, error: CallError) -> anyhow::Error {
        if error.reason() != "TAXONOMY_INVALID" {
            return error.into();
        }
        let (line, column) = (error.fact("line"), error.fact("column"));
        let (Some(line), Some(column)) = (line, column) else {
            return BadUse(format!("{}: {error}", self.name)).into();
        };
        let words = error.words();
        let place = format!("line {line}, column {column}: ");
        let problem = words.split_once(&place).map_or(&*words, |(_, rest)| rest);
        let problem = problem.lines().next().unwrap_or_default();
        BadUse(format!("{}:{line}:{column}: {problem}", self.name)).into()
    }
}

/// Asks about one article after the other.
struct Explainer {
    client: Client,
    output: Output,
    taxonomy: Option<TaxonomyFile>,
    routing: proto::Routing,
    explained_count: u64,
    failed_count: u64,
    /// Those of the failed whose input is at fault.
    invalid_count: u64,
}

impl Explainer {
    async fn file(&mut self, file: String) -> anyhow::Result<()> {
        let mut items = input::read_ahead(vec![file.clone()], READ_AHEAD)?;
        let mut is_empty = true;
        while let Some(item) = items.recv().await {
            is_empty = false;
            self.item(item).await?;
        }
        if is_empty {
            self.fail(&file, "holds no article", None)?;
        }
        Ok(())
    }

    async fn item(&mut self, item: Item) -> anyhow::Result<()> {
        let place = item.place.to_string();
        let parsed = match item.parsed {
            Ok(parsed) => parsed,
            Err(message) => return self.fail(&place, &message, None),
        };
        let Parsed {
            article,
            pub_status,
            warnings,
        } = parsed;
        for warning in warnings {
            out::say(&format!("barid: {place}: {warning}"));
        }
        if pub_status != PubStatus::Usable {
            self.explained_count += 1;
            out::say(&format!(
                "barid: {place}: takes its story back: it would go where the story went, and \
                 nowhere else"
            ));
            return Ok(());
        }
        let request = self.request(Asked::Article(article.clone()));
        let answer = self.client.articles().explain_routing(request).await;
        let explained = match answer.map_err(CallError::from) {
            Ok(explained) => explained.into_inner(),
            Err(error) => return self.refused(&place, error),
        };
        // As the server reads it; what it could not read it has refused.
        let checked = convert::routing::explained(article.clone()).ok();
        let fields = checked.map_or_else(Fields::default, |(_, article)| Fields::of(&article));
        self.print(&Subject {
            name: &place,
            is_stored: false,
            article: &article,
            fields: &fields,
            explained: &explained,
        })
    }

    async fn story(&mut self, id: ArticleId, text: String) -> anyhow::Result<()> {
        let article_id = id.to_string();
        let request = self.request(Asked::ArticleId(article_id.clone()));
        let answer = self.client.articles().explain_routing(request).await;
        let explained = match answer.map_err(CallError::from) {
            Ok(explained) => explained.into_inner(),
            Err(error) => return self.refused(&text, error),
        };
        // Asked for after that: if it has just become another revision, then what does not stand
        // where it stood is shown without its context.
        let request = self.client.request(proto::GetArticleRequest { article_id });
        let answer = self.client.articles().get_article(request).await;
        let delivery = match answer.map_err(CallError::from) {
            Ok(answer) => answer.into_inner().delivery,
            Err(error) => return self.refused(&text, error),
        };
        let delivery = delivery.context("the answer holds no article")?;
        let article = proto::Article::decode(delivery.article.clone())?;
        let read = convert::routing::routed(&delivery.article).ok();
        let fields = read.map_or_else(Fields::default, |article| Fields::of(&article));
        self.print(&Subject {
            name: &text,
            is_stored: true,
            article: &article,
            fields: &fields,
            explained: &explained,
        })
    }

    fn request(&self, subject: Asked) -> tonic::Request<proto::ExplainRoutingRequest> {
        let taxonomy = self.taxonomy.as_ref();
        self.client.request(proto::ExplainRoutingRequest {
            subject: Some(subject),
            routing: self.routing.into(),
            taxonomy: taxonomy.map_or_else(String::new, |file| file.text.clone()),
        })
    }

    fn print(&mut self, subject: &Subject<'_>) -> anyhow::Result<()> {
        let is_first = self.explained_count == 0;
        self.explained_count += 1;
        match self.output {
            Output::Json => out::json(&ExplainedJson::of(subject)),
            Output::Text => {
                if !is_first {
                    out::line("")?;
                }
                out::line(&show::explained(subject, &Look::of_stdout()))
            }
        }
    }

    /// One article was refused; a taxonomy that can't be used, or a server that is lost, ends all.
    fn refused(&mut self, place: &str, error: CallError) -> anyhow::Result<()> {
        if error.is_lost() {
            return Err(error.into());
        }
        match &self.taxonomy {
            Some(file) if error.reason() == "TAXONOMY_INVALID" => Err(file.refusal(error)),
            _ => self.fail(place, &error.to_string(), Some(&error)),
        }
    }

    fn fail(
        &mut self,
        place: &str,
        message: &str,
        error: Option<&CallError>,
    ) -> anyhow::Result<()> {
        self.failed_count += 1;
        self.invalid_count += u64::from(error.is_none_or(CallError::is_bad_use));
        if self.output == Output::Text {
            out::say(&format!("barid: {place}: {}", in_ninjs(message)));
            return Ok(());
        }
        let violations = error.map_or_else(Vec::new, CallError::violations);
        out::json(&FailedJson {
            result: "failed",
            place: place.to_owned(),
            reason: error.map(CallError::reason),
            message,
            violations: (violations.into_iter())
                .map(|(field, message)| ViolationJson { field, message })
                .collect(),
        })
    }

    fn finish(self) -> anyhow::Result<()> {
        let failed = self.failed_count;
        let all = self.explained_count + failed;
        let text = format!("{failed} of {all} articles were not explained");
        match failed {
            0 => Ok(()),
            _ if self.invalid_count == failed => Err(BadUse(text).into()),
            _ => Err(anyhow!(text)),
        }
    }
}

#[cfg(test)]
mod tests;
