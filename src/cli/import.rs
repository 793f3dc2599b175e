//! `barid import`: feeds and files of other systems, once or as they change.

use std::{
    collections::{BTreeSet, HashMap},
    io::Read as _,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::ValueHint;
use jiff::Timestamp;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use crate::{
    access::key::Role,
    article::Language,
    cli::{
        BadUse,
        client::{CallError, Client, ClientArgs, backoff},
        import::fetch::{FEED_BYTES_MAX, Fetched, Remote},
        input::{self, Item, Place},
        out,
        publish::{PIPELINE, Rules, routing, stream::Pipeline, tally::Tally},
    },
    config::value::Span,
    wire::{ninjs::PubStatus, proto::v1 as proto},
};

pub mod feed;
pub mod fetch;

/// The shortest time between two looks at a feed.
const EVERY_MIN: Duration = Duration::from_secs(1);
/// The longest wait before a feed that does not answer is asked again.
const BACKOFF_MAX: Duration = Duration::from_secs(3600);
/// Bytes of a file that tell what it is.
const BEGIN_BYTES: u64 = 4096;

/// Import news from feeds and files
///
/// Reads RSS, Atom and JSON Feed, and ninjs, from files and from the web, and publishes what it
/// finds. Entries keep their ids, so that a second run publishes nothing new, and what has changed
/// becomes an update. Categories that are topics of the server, or IPTC media topics, go with the
/// article; all else is routed by what the texts say.
///
/// With --watch it goes on until Ctrl-C: it asks each feed again after --every, only for what has
/// changed, later if the feed asks for that, and ever more seldom while it does not answer.
///
/// Exit codes: 0 all accepted, 2 all that was not accepted is invalid, 1 anything else failed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid import https://news.example/rss.xml\n  \
                        barid import archive.atom stories.jsonl --language ar\n  \
                        barid import --watch --every 2m https://news.example/feed.json"
)]
pub struct ImportArgs {
    /// Feeds and files: addresses that begin with http:// or https://, files, - for stdin
    #[arg(required = true, value_name = "FEED-OR-FILE", value_hint = ValueHint::AnyPath)]
    sources: Vec<String>,
    /// Go on, and import what is new
    #[arg(long)]
    watch: bool,
    /// Time between two looks at a feed, with --watch
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    every: Span,
    /// The language of what does not say it, such as ar or en
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Topics of everything, beside those that are found
    #[arg(long, value_name = "TOPIC,…", value_delimiter = ',')]
    topics: Vec<String>,
    /// Only the topics and subjects that are stated count, not what the texts say
    #[arg(long)]
    no_inference: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What all items get.
#[derive(Clone, Debug)]
struct Additions {
    language: String,
    topics: Vec<String>,
    /// What the server sorts news into.
    known_topics: BTreeSet<String>,
}

/// A feed that is watched.
struct Watched {
    remote: Remote,
    due: Instant,
    failed_count: u32,
    /// What was sent of each entry last: a poll sends only what has changed.
    sent: HashMap<String, [u8; 32]>,
}

/// Imports everything.
///
/// # Errors
/// Bad use, no server, a feed that can't be had, or at least one article that was not accepted.
pub async fn run(args: ImportArgs) -> anyhow::Result<()> {
    args.check()?;
    let client = Client::connect(&args.client, Role::Publisher).await?;
    let additions = args.additions(&client).await?;
    let work = async {
        if args.watch {
            watch(&args, &client, &additions).await
        } else {
            once(&args, &client, &additions).await
        }
    };
    tokio::select! {
        biased;
        stop = tokio::signal::ctrl_c() => match stop {
            // How a watch ends; what was not answered is sent by the next run.
            Ok(()) if args.watch => Ok(()),
            Ok(()) => Err(anyhow!(
                "stopped by Ctrl-C; run the same command again: what was accepted is not published \
                 twice"
            )),
            Err(error) => Err(anyhow!(error).context("can't wait for Ctrl-C")),
        },
        ended = work => ended,
    }
}

impl ImportArgs {
    fn check(&self) -> Result<(), BadUse> {
        if let Some(language) = &self.language
            && let Err(error) = language.parse::<Language>()
        {
            return Err(BadUse(format!("--language {language:?}: {error}")));
        }
        if self.every.0 < EVERY_MIN {
            let every = self.every;
            return Err(BadUse(format!("--every {every} is too often; 1s at least")));
        }
        let file = self.sources.iter().find(|source| !is_url(source));
        match file {
            Some(file) if self.watch => Err(BadUse(format!(
                "--watch follows feeds on the web, and {file} is a file; import it without --watch"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    async fn additions(&self, client: &Client) -> anyhow::Result<Additions> {
        let request = client.request(proto::ListTopicsRequest {});
        let answer = client.desk().list_topics(request).await;
        let topics = answer.map_err(CallError::from)?.into_inner().topics;
        let known = topics.into_iter().flat_map(|topic| {
            let mut names = topic.aliases;
            names.push(topic.path);
            names
        });
        Ok(Additions {
            language: self.language.clone().unwrap_or_default(),
            topics: self.topics.clone(),
            known_topics: known.collect(),
        })
    }

    fn rules(&self) -> Rules {
        Rules::derived(routing(self.no_inference))
    }
}

impl Additions {
    fn apply(&self, item: &mut Item) {
        let Ok(parsed) = &mut item.parsed else { return };
        let article = &mut parsed.article;
        if article.language.is_empty() {
            article.language.clone_from(&self.language);
        }
        for topic in &self.topics {
            if !article.topics.contains(topic) {
                article.topics.push(topic.clone());
            }
        }
        if article.language.is_empty() && parsed.pub_status == PubStatus::Usable {
            let message = "says no language, nor does its feed; give --language";
            item.parsed = Err(message.to_owned());
        }
    }
}

/// Imports each source once.
async fn once(args: &ImportArgs, client: &Client, additions: &Additions) -> anyhow::Result<()> {
    let mut tally = Tally::new(args.client.output, &args.sources);
    let http = fetch::client()?;
    for source in &args.sources {
        let items = if is_url(source) {
            match Remote::new(http.clone(), source.clone()).fetch(now()).await {
                Ok(Fetched::New(bytes)) => items(bytes, source, additions).await?,
                Ok(Fetched::Unchanged | Fetched::Gone) => {
                    tally.fail(&place(source), "is gone for good", None)?;
                    continue;
                }
                Err(error) => {
                    let error = anyhow!(error);
                    tally.fail(&place(source), &format!("{error:#}"), None)?;
                    continue;
                }
            }
        } else {
            of_file(source, additions).await?
        };
        let timeout = args.client.timeout.0;
        let mut pipeline = Pipeline::new(client.clone(), items, args.rules(), timeout);
        if let Err(error) = pipeline.run(&mut tally).await {
            pipeline.give_up(&mut tally)?;
            if let Err(failures) = tally.finish() {
                out::say(&format!("barid: {failures:#}"));
            }
            return Err(error);
        }
    }
    tally.finish()
}

/// Imports feeds as they change, until the future is dropped.
async fn watch(args: &ImportArgs, client: &Client, additions: &Additions) -> anyhow::Result<()> {
    let http = fetch::client()?;
    let mut feeds: Vec<Watched> = (args.sources.iter())
        .map(|url| Watched {
            remote: Remote::new(http.clone(), url.clone()),
            due: Instant::now(),
            failed_count: 0,
            sent: HashMap::new(),
        })
        .collect();
    loop {
        let next = (0..feeds.len()).min_by_key(|index| feeds.get(*index).map(|feed| feed.due));
        let Some(index) = next else {
            return Err(anyhow!("all feeds are gone for good"));
        };
        let feed = feeds.get_mut(index).context("a feed")?;
        sleep_until(feed.due).await;
        match feed.remote.fetch(now()).await {
            Ok(Fetched::New(bytes)) => {
                feed.answered(args.every.0);
                feed.import(bytes, args, client, additions).await?;
            }
            Ok(Fetched::Unchanged) => feed.answered(args.every.0),
            Ok(Fetched::Gone) => {
                out::say(&format!("barid: {}: is gone for good", feed.remote.url));
                feeds.remove(index);
            }
            Err(error) => {
                let wait = backoff(feed.failed_count, BACKOFF_MAX).max(args.every.0);
                let wait = wait.max(error.retry_after().unwrap_or_default());
                feed.failed_count = feed.failed_count.saturating_add(1);
                feed.due = Instant::now() + wait;
                let (url, error) = (&feed.remote.url, anyhow!(error));
                let shown = Span(Duration::from_secs(wait.as_secs().max(1)));
                out::say(&format!("barid: {url}: {error:#}; asking again in {shown}"));
            }
        }
    }
}

impl Watched {
    fn answered(&mut self, every: Duration) {
        if self.failed_count > 0 {
            out::say(&format!("barid: {}: answers again", self.remote.url));
        }
        self.failed_count = 0;
        self.due = Instant::now() + every;
    }

    /// Publishes what has changed since the last time.
    async fn import(
        &mut self,
        bytes: Vec<u8>,
        args: &ImportArgs,
        client: &Client,
        additions: &Additions,
    ) -> anyhow::Result<()> {
        let mut found = items(bytes, &self.remote.url, additions).await?;
        let (changed_in, changed) = mpsc::channel(PIPELINE);
        let mut sent = HashMap::new();
        let mut items = Vec::new();
        while let Some(item) = found.recv().await {
            let (key, digest) = fingerprint(&item);
            if self.sent.get(&key) != Some(&digest) {
                items.push(item);
            }
            sent.insert(key, digest);
        }
        if items.is_empty() {
            return Ok(());
        }
        let mut tally = Tally::new(args.client.output, std::slice::from_ref(&self.remote.url));
        let timeout = args.client.timeout.0;
        let mut pipeline = Pipeline::new(client.clone(), changed, args.rules(), timeout);
        let feeding = async move {
            for item in items {
                if changed_in.send(item).await.is_err() {
                    return;
                }
            }
        };
        let ran = async { tokio::join!(feeding, pipeline.run(&mut tally)).1 }.await;
        match ran {
            Ok(()) => self.sent = sent,
            Err(error) => {
                // The server is away: all of it comes again, and is accepted once.
                self.remote.forget();
                pipeline.give_up(&mut tally)?;
                out::say(&format!("barid: {error:#}"));
            }
        }
        // Told, and no reason to end: the next state may be better.
        if let Err(failures) = tally.finish() {
            if failures.is::<out::OutputClosed>() {
                return Err(failures);
            }
            out::say(&format!("barid: {failures:#}"));
        }
        Ok(())
    }
}

/// What an item is called, and the digest of what it says.
fn fingerprint(item: &Item) -> (String, [u8; 32]) {
    let said = match &item.parsed {
        Ok(parsed) => parsed.article.encode_to_vec(),
        Err(message) => message.clone().into_bytes(),
    };
    (item.place.file.clone(), Sha256::digest(said).into())
}

/// The items of a file or of stdin.
async fn of_file(file: &str, additions: &Additions) -> anyhow::Result<mpsc::Receiver<Item>> {
    let named = file.to_owned();
    let begun = spawn_blocking(move || -> anyhow::Result<Option<Vec<u8>>> {
        let mut begin = Vec::new();
        let mut reader = input::open(&named)?;
        let is_stdin = named == "-";
        reader.by_ref().take(BEGIN_BYTES).read_to_end(&mut begin)?;
        if !is_stdin && !is_feed(&begin) {
            // As long as it likes: it is read as it is sent.
            return Ok(None);
        }
        let most = u64::try_from(FEED_BYTES_MAX)? + 1 - BEGIN_BYTES;
        reader.take(most).read_to_end(&mut begin)?;
        if begin.len() > FEED_BYTES_MAX {
            return Err(BadUse(format!("{named} has more than {FEED_BYTES_MAX} bytes")).into());
        }
        Ok(Some(begin))
    });
    let begun = begun.await?.with_context(|| format!("can't read {file}"))?;
    match begun {
        Some(bytes) => items(bytes, file, additions).await,
        None => {
            let additions = additions.clone();
            input::read_ahead_with(vec![file.to_owned()], PIPELINE, move |item| {
                additions.apply(item);
            })
        }
    }
}

/// The items of a feed, or of ninjs.
async fn items(
    bytes: Vec<u8>,
    source: &str,
    additions: &Additions,
) -> anyhow::Result<mpsc::Receiver<Item>> {
    let (named, additions) = (source.to_owned(), additions.clone());
    // Parsing takes longer than a task may hold its thread.
    let found = spawn_blocking(move || {
        let mut found = if is_feed(&bytes) {
            of_feed(&bytes, &named, &additions)
        } else {
            input::items(&named, bytes.as_slice()).collect()
        };
        found.iter_mut().for_each(|item| additions.apply(item));
        found
    });
    let found = found.await?;
    let (found_in, items) = mpsc::channel(found.len().max(1));
    for item in found {
        // There is room for all of them.
        found_in.try_send(item).context("the items")?;
    }
    Ok(items)
}

fn of_feed(bytes: &[u8], source: &str, additions: &Additions) -> Vec<Item> {
    let item = |file: String, parsed| Item {
        place: place(&file),
        parsed,
        read_bytes: 0,
    };
    match feed::read(bytes, source, &additions.known_topics) {
        Ok(read) => {
            let read = read.into_iter();
            read.map(|one| item(format!("{source} <{}>", one.id), one.parsed))
                .collect()
        }
        Err(error) => vec![item(source.to_owned(), Err(error.to_string()))],
    }
}

/// Whether a text is XML or JSON Feed; all else is read as ninjs.
fn is_feed(begin: &[u8]) -> bool {
    let begin = begin.get(..begin.len().min(4096)).unwrap_or_default();
    let text = String::from_utf8_lossy(begin);
    let text = text.trim_start_matches(|char: char| char.is_whitespace() || char == '\u{FEFF}');
    // UTF-16 begins with its mark and is XML.
    text.starts_with('<')
        || begin.starts_with(&[0xFE, 0xFF])
        || begin.starts_with(&[0xFF, 0xFE])
        || text.starts_with('{') && text.contains("jsonfeed.org/version")
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

fn place(file: &str) -> Place {
    Place {
        file: file.to_owned(),
        line: 0,
        column: 0,
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}
