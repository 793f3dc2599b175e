//! Feeds: the newest articles of a topic as Atom (RFC 4287), RSS 2.0 and JSON Feed 1.1.
//!
//! A feed is made once and kept until a revision comes that it could show; who asks in between
//! costs a look at the index of what is new. What is kept is judged again after every kill.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use jiff::Timestamp;
use lru::LruCache;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::{
    access::scope::Scope,
    article::{ArticleId, Time},
    cursor::{Cursor, Epoch},
    delivery::{
        articles::Articles,
        feeds::entry::Entry,
        hub::Hub,
        query::Parameters,
        start::{Beyond, granted},
    },
    fault::{Fault, Kind, Violation},
    filter::Filter,
    routing::taxonomy::Taxonomy,
    topic::Topic,
    webhook::websub::{HUB, links},
    wire::{
        convert::{self, time_to_proto},
        log::ReadError,
        ninjs::time_from_proto,
        proto::v1::{self as proto, ArticleFacets, Delivery, ListArticlesRequest},
    },
};

pub mod atom;
pub mod entry;
pub mod json;
pub mod rss;

/// Most articles of a feed.
const ENTRIES_MAX: usize = 50;
/// Bytes of articles at which a feed ends.
const ENTRY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Articles of a page that is read to make a feed.
const PAGE_SIZE: u32 = 100;
/// Most pages that are read to make a feed: many of the newest may be withdrawn.
const PAGES_MAX: usize = 5;
/// Feeds that are kept; the least recently asked for is made anew if need be.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");
/// Bytes of feeds that are kept, likewise.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Feeds that are made at a time; others wait.
const MAKING_MAX: usize = 2;
/// The name of the feed of the whole wire.
const ALL: &str = "all";
/// Where feeds are.
const FEEDS: &str = "/feeds/";

/// A form of feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// RFC 4287.
    Atom,
    /// RSS 2.0.
    Rss,
    /// JSON Feed 1.1.
    Json,
}

impl Form {
    /// The form that a file's ending names.
    pub fn of_ending(ending: &str) -> Option<Self> {
        match ending {
            "atom" => Some(Self::Atom),
            "rss" => Some(Self::Rss),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Atom => "application/atom+xml; charset=utf-8",
            Self::Rss => "application/rss+xml; charset=utf-8",
            Self::Json => "application/feed+json",
        }
    }
}

/// Which feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Its topic and all beneath it; none = the whole wire.
    pub topic: Option<Topic>,
    /// A language range; none = all languages.
    pub language: Option<String>,
    /// What of it may be shown.
    pub scope: Arc<Scope>,
    /// In which form.
    pub form: Form,
    /// Where this node is reached, `http://host:port`, for addresses within the feed.
    pub base: String,
    /// The feed's own path and query.
    pub path: String,
}

impl Wanted {
    /// The feed that a name, such as `ict.atom`, and a query ask for.
    ///
    /// # Errors
    /// Missing `FEED_UNKNOWN`; invalid `PARAMETER_UNKNOWN`, `FIELD_INVALID`.
    pub fn of(name: &str, query: &str, scope: Arc<Scope>, base: String) -> Result<Self, Fault> {
        let parameters = Parameters::parse(query, &["language"])?;
        let (stem, form) = name
            .rsplit_once('.')
            .and_then(|(stem, ending)| Some((stem, Form::of_ending(ending)?)))
            .ok_or_else(unknown_feed)?;
        let topic: Option<Topic> = match stem {
            ALL => None,
            path => Some(path.parse().map_err(|_| unknown_feed())?),
        };
        let language = parameters.get("language").map(str::to_ascii_lowercase);
        let path = match &language {
            None => format!("{FEEDS}{name}"),
            Some(range) => {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                query.append_pair("language", range);
                format!("{FEEDS}{name}?{}", query.finish())
            }
        };
        Ok(Self {
            topic,
            language,
            form,
            scope,
            base,
            path,
        })
    }

    /// The feed at a path and query.
    ///
    /// # Errors
    /// As [`Wanted::of`].
    pub fn at(path: &str, scope: Arc<Scope>, base: String) -> Result<Self, Fault> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let name = path.strip_prefix(FEEDS).ok_or_else(unknown_feed)?;
        Self::of(name, query, scope, base)
    }

    /// Its own address.
    pub fn url(&self) -> String {
        format!("{}{}", self.base, self.path)
    }

    /// The header `Link` of whatever carries it.
    pub fn links(&self) -> String {
        links(&self.base, &self.path)
    }
}

/// A feed as it is kept.
#[derive(Debug)]
pub struct Feed {
    /// All of it.
    pub bytes: Bytes,
    /// The digest of it, in hexadecimal.
    pub digest: String,
    /// When the newest revision of it, withdrawals included, was accepted; none = never.
    pub modified: Option<Timestamp>,
    shown: Vec<(ArticleId, u64)>,
    /// The log's life that it was made in.
    epoch: Epoch,
    /// No revision up to this sequence is missing in it.
    judged_up_to: AtomicU64,
    /// The kills that it was judged by.
    kills: AtomicU64,
    /// When the first of its articles expires.
    ends: Option<Time>,
    taxonomy_version: String,
}

/// What a feed says of itself.
#[derive(Debug)]
pub struct Channel<'a> {
    /// For people.
    pub title: String,
    /// `http://host:port`.
    pub base: &'a str,
    /// Its own address.
    pub own_url: String,
    /// Where it is subscribed to (WebSub).
    pub hub_url: String,
    /// The language of all its articles, or that was asked for.
    pub language: Option<&'a str>,
    /// When anything of it last changed.
    pub updated: Timestamp,
}

impl Feed {
    /// The sequence up to which no revision is missing in it.
    pub fn judged_up_to(&self) -> u64 {
        self.judged_up_to.load(Ordering::Acquire)
    }
}

/// All feeds of a node; clones share everything.
#[derive(Clone, Debug)]
pub struct Feeds(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hub: Hub,
    articles: Articles,
    kept: Mutex<Kept>,
    making: Semaphore,
}

#[derive(Debug)]
struct Kept {
    feeds: LruCache<Wanted, Arc<Feed>>,
    bytes: usize,
}

impl Feeds {
    /// Nothing is made yet.
    pub fn new(hub: Hub) -> Self {
        let kept = Kept {
            feeds: LruCache::new(KEPT_MAX),
            bytes: 0,
        };
        Self(Arc::new(Inner {
            articles: Articles::new(hub.clone()),
            hub,
            kept: Mutex::new(kept),
            making: Semaphore::new(MAKING_MAX),
        }))
    }

    /// The feed as it is now.
    ///
    /// # Errors
    /// An unknown topic, a bad language range, or a node that can't read.
    pub async fn get(&self, wanted: &Wanted) -> Result<Arc<Feed>, Fault> {
        let filter = self.filter(wanted).await?;
        let granted = granted(&filter, &wanted.scope, Beyond::Cut);
        let filter = granted.map_err(|error| error.fault())?;
        if !self.0.hub.log().is_fresh() {
            return Err(ReadError::Behind.fault());
        }
        if let Some(feed) = self.kept(wanted, &filter) {
            return Ok(feed);
        }
        let _place = self.0.making.acquire().await;
        // Somebody may have made it while we waited.
        if let Some(feed) = self.kept(wanted, &filter) {
            return Ok(feed);
        }
        loop {
            let kills = self.0.hub.log().killed().generation();
            let feed = Arc::new(self.make(wanted, kills).await?);
            // A kill may have come while it was made.
            if self.is_showable(&feed) {
                self.keep(wanted.clone(), &feed);
                return Ok(feed);
            }
        }
    }

    /// All that is in a feed, if everything may be.
    ///
    /// # Errors
    /// Missing `FEED_UNKNOWN`; a bad language range; a node that can't read.
    pub async fn filter(&self, wanted: &Wanted) -> Result<Filter, Fault> {
        let filter = convert::filter(Some(filter_of(wanted))).map_err(in_path)?;
        let known = self.0.hub.known(filter).await;
        known.map_err(|error| in_path(error.fault()))
    }

    /// The feed that is kept, if there is nothing new for it.
    fn kept(&self, wanted: &Wanted, filter: &Filter) -> Option<Arc<Feed>> {
        let feed = {
            let mut kept = self.0.kept.lock().expect("no panic under this lock");
            kept.feeds.get(wanted).cloned()
        }?;
        self.is_current(&feed, filter).then_some(feed)
    }

    fn is_current(&self, feed: &Feed, filter: &Filter) -> bool {
        let hub = &self.0.hub;
        if feed.taxonomy_version != hub.taxonomy().version() {
            return false;
        }
        if !self.is_showable(feed) || feed.ends.is_some_and(|ends| ends <= hub.now()) {
            return false;
        }
        let judged_up_to = feed.judged_up_to.load(Ordering::Acquire);
        // A loss takes sequences that were judged, and gives them to other revisions.
        let is_of_this_life = hub.log().epochs().cursor(judged_up_to).epoch == feed.epoch;
        match hub.nothing_new(judged_up_to, filter) {
            Some(up_to) if is_of_this_life => {
                feed.judged_up_to.fetch_max(up_to, Ordering::AcqRel);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether nothing in it has been killed since.
    pub fn is_showable(&self, feed: &Feed) -> bool {
        let killed = self.0.hub.log().killed();
        let kills = killed.generation();
        if feed.kills.load(Ordering::Acquire) == kills {
            return true;
        }
        let is_killed = |(id, seq): &(ArticleId, u64)| killed.covers(*id, *seq);
        if feed.shown.iter().any(is_killed) {
            return false;
        }
        feed.kills.store(kills, Ordering::Release);
        true
    }

    fn keep(&self, wanted: Wanted, feed: &Arc<Feed>) {
        let mut kept = self.0.kept.lock().expect("no panic under this lock");
        kept.bytes += feed.bytes.len();
        if let Some((_, old)) = kept.feeds.push(wanted, Arc::clone(feed)) {
            kept.bytes -= old.bytes.len();
        }
        while kept.bytes > KEPT_BYTES_MAX
            && let Some((_, old)) = kept.feeds.pop_lru()
        {
            kept.bytes -= old.bytes.len();
        }
    }

    async fn make(&self, wanted: &Wanted, kills: u64) -> Result<Feed, Fault> {
        let (mut deliveries, mut page_token) = (Vec::new(), String::new());
        let (mut modified, mut snapshot) = (None, None);
        let (mut bytes, mut ends) = (0, None);
        for _ in 0..PAGES_MAX {
            let request = ListArticlesRequest {
                filter: Some(filter_of(wanted)),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = self.0.articles.list(request, &wanted.scope).await?;
            if snapshot.is_none() {
                snapshot = page.snapshot_cursor.parse::<Cursor>().ok();
                let newest = page.deliveries.first();
                modified = newest.and_then(|newest| time_from_proto(newest.published_at.as_ref()));
                // Whatever has expired left it then.
                let expiry = self.0.hub.last_expiry().map(time_to_proto);
                modified = modified.max(time_from_proto(expiry.as_ref()));
            }
            for delivery in page.deliveries {
                if deliveries.len() < ENTRIES_MAX && bytes < ENTRY_BYTES_MAX && stands(&delivery) {
                    bytes += delivery.article.len();
                    ends = sooner(ends, expires(&delivery));
                    deliveries.push(delivery);
                }
            }
            page_token = page.next_page_token;
            let is_full = deliveries.len() >= ENTRIES_MAX || bytes >= ENTRY_BYTES_MAX;
            if is_full || page_token.is_empty() {
                break;
            }
        }
        let snapshot = snapshot.ok_or_else(|| broken("a list without a snapshot"))?;
        let entries: Result<Vec<Entry>, _> = deliveries.iter().map(Entry::of).collect();
        let entries = entries.map_err(|error| broken(&error.to_string()))?;
        let taxonomy = self.0.hub.taxonomy();
        let channel = Channel {
            title: title(wanted, &taxonomy),
            base: &wanted.base,
            own_url: wanted.url(),
            hub_url: format!("{}{HUB}", wanted.base),
            language: language(wanted, &entries),
            updated: modified.unwrap_or(Timestamp::UNIX_EPOCH),
        };
        let bytes = match wanted.form {
            Form::Atom => atom::render(&channel, &entries),
            Form::Rss => rss::render(&channel, &entries),
            Form::Json => json::render(&channel, &entries),
        };
        let digest = Sha256::digest(&bytes);
        let shown = entries.iter().map(|entry| (entry.article_id, entry.seq));
        Ok(Feed {
            bytes: bytes.into(),
            digest: digest
                .iter()
                .take(16)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            modified,
            shown: shown.collect(),
            epoch: snapshot.epoch,
            judged_up_to: AtomicU64::new(snapshot.seq),
            kills: AtomicU64::new(kills),
            ends,
            taxonomy_version: taxonomy.version().to_owned(),
        })
    }
}

/// A feed's title: that of its topic in English, as of all that a feed says of itself.
fn title(wanted: &Wanted, taxonomy: &Taxonomy) -> String {
    let Some(topic) = &wanted.topic else {
        return "Barid".to_owned();
    };
    let mut entries = taxonomy.entries().iter();
    let entry = entries.find(|entry| entry.topic == *topic);
    let name = entry.and_then(|entry| entry.names.get("en"));
    format!("Barid: {}", name.map_or(topic.as_str(), String::as_str))
}

/// What all articles are written in, or what was asked for: RSS has no place for it in an entry.
fn language<'a>(wanted: &'a Wanted, entries: &'a [Entry]) -> Option<&'a str> {
    let first = entries.first().map(|entry| entry.language.as_str());
    let is_common = |tag: &&str| {
        entries
            .iter()
            .all(|entry| entry.language.eq_ignore_ascii_case(tag))
    };
    let asked = wanted.language.as_deref().filter(|range| *range != "*");
    first.filter(is_common).or(asked)
}

fn filter_of(wanted: &Wanted) -> proto::Filter {
    proto::Filter {
        topics: wanted.topic.iter().map(Topic::to_string).collect(),
        languages: wanted.language.iter().cloned().collect(),
        ..proto::Filter::default()
    }
}

/// When an article expires, if it does.
fn expires(delivery: &Delivery) -> Option<Time> {
    let facets = ArticleFacets::decode(delivery.article.clone()).ok()?;
    convert::time(facets.expires.as_ref())
}

/// The sooner of two times, of which one may be never.
fn sooner(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether a feed shows it: withdrawn articles vanish.
fn stands(delivery: &Delivery) -> bool {
    convert::action_from_proto(delivery.action).is_some_and(|action| !action.is_notice())
}

fn unknown_feed() -> Fault {
    let message = "there is no such feed; it is all or a topic of /v1/topics, then .atom, .rss or \
                   .json";
    Fault::new(Kind::Missing, "FEED_UNKNOWN", message)
}

/// A fault of a filter in the words of a feed: what its path names is there, or not.
fn in_path(fault: Fault) -> Fault {
    if fault.reason == "TOPIC_UNKNOWN" {
        return Fault {
            metadata: fault.metadata,
            ..unknown_feed()
        };
    }
    let rename = |violation: &Violation| Violation {
        field: "language".to_owned(),
        wrong: violation.wrong.clone(),
    };
    match fault.violations.as_slice() {
        [] => fault,
        violations => Fault::fields(fault.reason, violations.iter().map(rename).collect()),
    }
}

fn broken(why: &str) -> Fault {
    tracing::error!(why, "a feed can't be made");
    Fault::new(Kind::Bug, "INTERNAL", "the feed can't be made")
}
