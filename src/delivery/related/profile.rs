//! Profile: an article as the numbers that related articles are found by.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use prost::Message as _;

use crate::{
    article::{ArticleId, BodyType, Time, text},
    delivery::Entry,
    routing::{taxonomy::GENERAL, words::Words},
    topic::Topic,
    wire::{convert, proto::v1 as proto},
};

/// Different words of an article that count, headline first: news says first what it is about.
pub const WORDS_MAX: usize = 120;
/// Bytes of a plain body that are looked at.
const BODY_BYTES_MAX: usize = 4096;
/// Bytes of an HTML body that are looked at: markup included, so more.
const HTML_BYTES_MAX: usize = 16 * 1024;
/// Fewest letters of a word that counts. Two are enough for scripts without spaces.
const LETTERS_MIN: usize = 2;

/// A thing as a number: equal things have equal ones.
pub type Feature = u64;

/// What of an article is compared.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Whose.
    pub article_id: ArticleId,
    /// The sequence of its newest revision.
    pub seq: u64,
    /// When that was accepted.
    pub published_at: Time,
    /// Its words, in rising order.
    pub words: Vec<Feature>,
    /// Its topics but `general`.
    pub topics: Vec<Topic>,
    /// Its places, in rising order.
    pub places: Vec<Feature>,
    /// Articles and pages that it names, and itself, in rising order.
    pub links: Vec<Feature>,
    /// Not to be shown before.
    pub embargoed_until: Option<Time>,
    /// Not to be shown after.
    pub expires: Option<Time>,
    /// How it writes its words and places; empty in the index.
    pub spellings: HashMap<Feature, Spelling>,
}

/// A word or place as an article writes it.
#[derive(Clone, Debug)]
pub struct Spelling {
    /// As it stands there first.
    pub text: String,
    /// Whether that is in the headline or slugline.
    pub is_in_headline: bool,
}

impl Profile {
    /// The profile of a revision; none if its article is not readable.
    pub fn of(entry: &Entry) -> Option<Self> {
        Self::read(entry, true)
    }

    /// The same without spellings, as the index has it.
    ///
    /// Perf: they are most of the work, for every revision that any node publishes.
    pub fn bare(entry: &Entry) -> Option<Self> {
        Self::read(entry, false)
    }

    fn read(entry: &Entry, has_spellings: bool) -> Option<Self> {
        let record = &entry.stored.record;
        let article = proto::Article::decode(record.article.clone()).ok()?;
        let time = |time: Option<&prost_types::Timestamp>| convert::time(time);
        let mut profile = Self {
            article_id: record.article_id,
            seq: entry.seq(),
            published_at: record.published_at,
            words: Vec::new(),
            topics: record.topics.clone(),
            places: Vec::new(),
            links: links(record.article_id, &article),
            embargoed_until: time(article.embargoed_until.as_ref()),
            expires: time(article.expires.as_ref()),
            spellings: HashMap::new(),
        };
        profile.topics.retain(|topic| topic.as_str() != GENERAL);
        profile.note_places(&article, has_spellings);
        profile.note_words(&article, has_spellings);
        for list in [&mut profile.words, &mut profile.places, &mut profile.links] {
            list.sort_unstable();
            list.dedup();
        }
        Some(profile)
    }

    fn note_places(&mut self, article: &proto::Article, has_spellings: bool) {
        for place in &article.places {
            let feature = feature(&("place", Words::of(&place.name).joined()));
            self.places.push(feature);
            if has_spellings {
                self.spell(feature, &place.name, false);
            }
        }
    }

    fn note_words(&mut self, article: &proto::Article, has_spellings: bool) {
        let body = match article.body_type() {
            proto::BodyType::Html => {
                let cut = beginning(&article.body, HTML_BYTES_MAX);
                Cow::Owned(text::plain(cut, BodyType::Html))
            }
            proto::BodyType::Unspecified | proto::BodyType::Text => {
                Cow::Borrowed(beginning(&article.body, BODY_BYTES_MAX))
            }
        };
        let fields = [
            (&*article.headline, true),
            (&*article.slugline, true),
            (&*article.subheadline, false),
            (&*body, false),
        ];
        let mut known: HashSet<Feature> = HashSet::with_capacity(WORDS_MAX);
        for (field, is_in_headline) in fields {
            let words = Words::of(field);
            for (word, origin) in words.iter() {
                if word.chars().nth(LETTERS_MIN - 1).is_none() {
                    continue;
                }
                let feature = feature(&stem(word));
                if known.contains(&feature) {
                    continue;
                }
                if self.words.len() == WORDS_MAX {
                    return;
                }
                known.insert(feature);
                self.words.push(feature);
                if has_spellings {
                    let shown = field.get(origin.start..origin.end).unwrap_or(word);
                    self.spell(feature, shown, is_in_headline);
                }
            }
        }
    }

    fn spell(&mut self, feature: Feature, text: &str, is_in_headline: bool) {
        self.spellings.entry(feature).or_insert_with(|| Spelling {
            text: text.to_owned(),
            is_in_headline,
        });
    }
}

/// A topic as a number.
pub fn topic_feature(topic: &Topic) -> Feature {
    feature(&("topic", topic.as_str()))
}

/// The number of a thing.
fn feature(thing: &impl Hash) -> Feature {
    // Without a seed: numbers are compared within one process only.
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    hasher.finish()
}

fn links(own: ArticleId, article: &proto::Article) -> Vec<Feature> {
    let own = own.to_string();
    let named = article.links.iter().flat_map(|link| {
        // A page's own address is often the uri that its id is made of.
        let by_address = ArticleId::from_uri(&link.href).to_string();
        [link.article_id.clone(), by_address]
    });
    let named = named.filter(|id| !id.is_empty());
    std::iter::once(own)
        .chain(named)
        .map(|id| feature(&("link", id)))
        .collect()
}

/// One form for the commonest forms of a word: English plurals, Arabic feminine and plural endings.
/// Coarser than a dictionary's; what it confuses is rare beside what it joins.
fn stem(word: &str) -> &str {
    const ENDINGS: [&str; 9] = ["ies", "ing", "ed", "es", "s", "ات", "ين", "ون", "ه"];
    let kept = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending));
    kept.filter(|stem| stem.chars().count() >= 3)
        .unwrap_or(word)
}

fn beginning(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}
