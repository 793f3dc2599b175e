//! Corpus: the profiles of the newest articles, and how many of them have each thing.

use std::collections::{BTreeMap, HashMap};

use crate::{
    article::{ArticleId, Time},
    delivery::related::{
        HALF_LIFE_SECONDS, order,
        profile::{Feature, Profile, topic_feature},
    },
    topic::Topic,
};

/// What words, topics and places weigh.
const SHARES: [f64; 3] = [0.6, 0.15, 0.25];
/// Least score of what is shown.
const SCORE_MIN: f64 = 0.04;
/// How much more a word of the headline weighs.
const HEADLINE: f64 = 2.0;
/// Words that a match names.
const WORDS_SHOWN: usize = 6;

/// The newest articles.
#[derive(Debug, Default)]
pub struct Corpus {
    by_seq: BTreeMap<u64, Profile>,
    seq_of: HashMap<ArticleId, u64>,
    /// How many articles have a thing.
    counts: HashMap<Feature, u32>,
}

/// An article that has something in common with another.
#[derive(Clone, Debug)]
pub struct Match {
    /// Which.
    pub article_id: ArticleId,
    /// The sequence of the revision that was compared.
    pub seq: u64,
    /// How much.
    pub score: f64,
    /// Words of both, rarest first.
    pub words: Vec<String>,
    /// Topics of both.
    pub topics: Vec<Topic>,
    /// Places of both.
    pub places: Vec<String>,
    /// Whether one names the other, or both the same third.
    pub is_linked: bool,
}

impl Corpus {
    /// Adds an article that is not in it, and lets the oldest go beyond `len_max`.
    pub fn insert(&mut self, profile: Profile, len_max: usize) {
        for feature in features(&profile) {
            *self.counts.entry(feature).or_insert(0) += 1;
        }
        self.seq_of.insert(profile.article_id, profile.seq);
        self.by_seq.insert(profile.seq, profile);
        while self.by_seq.len() > len_max
            && let Some((_, oldest)) = self.by_seq.pop_first()
        {
            self.seq_of.remove(&oldest.article_id);
            self.uncount(&oldest);
        }
    }

    /// Takes an article out.
    pub fn remove(&mut self, id: ArticleId) {
        if let Some(profile) = (self.seq_of.remove(&id)).and_then(|seq| self.by_seq.remove(&seq)) {
            self.uncount(&profile);
        }
    }

    /// How many articles it has.
    pub fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    /// How many different things its articles have.
    pub fn feature_count(&self) -> usize {
        self.counts.len()
    }

    /// What is related to an article, most first.
    pub fn rank(&self, to: &Profile, now: Time, count: usize) -> Vec<Match> {
        let words = self.weights(to, to.words.iter().copied());
        let places = self.weights(to, to.places.iter().copied());
        let topics = self.weights(to, to.topics.iter().map(topic_feature));
        let is_due = |profile: &&Profile| {
            profile.article_id != to.article_id
                && profile.embargoed_until.is_none_or(|until| until <= now)
                && profile.expires.is_none_or(|until| until > now)
        };
        let mut best: Vec<Match> = Vec::new();
        for profile in self.by_seq.values().filter(is_due) {
            let shares = [
                share(&words, |word| profile.words.binary_search(word).is_ok()),
                share(&topics, |topic| {
                    profile
                        .topics
                        .iter()
                        .any(|own| topic_feature(own) == *topic)
                }),
                share(&places, |place| profile.places.binary_search(place).is_ok()),
            ];
            let is_linked = shares_any(&to.links, &profile.links);
            let common: f64 = shares
                .iter()
                .zip(SHARES)
                .map(|(share, of)| share * of)
                .sum();
            let score = common * recency(to, profile) + f64::from(u8::from(is_linked));
            if score >= SCORE_MIN {
                best.push(Match {
                    article_id: profile.article_id,
                    seq: profile.seq,
                    score,
                    words: Vec::new(),
                    topics: Vec::new(),
                    places: Vec::new(),
                    is_linked,
                });
            }
        }
        best.sort_unstable_by_key(order);
        best.truncate(count);
        for found in &mut best {
            if let Some(profile) = self.by_seq.get(&found.seq) {
                explain(found, to, profile, &words);
            }
        }
        best
    }

    /// What each thing weighs, most first.
    fn weights(
        &self,
        to: &Profile,
        features: impl Iterator<Item = Feature>,
    ) -> Vec<(Feature, f64)> {
        let article_count = f64::from(u32::try_from(self.len()).unwrap_or(u32::MAX));
        let weight = |feature: Feature| {
            let count = self.counts.get(&feature).copied().unwrap_or(0).max(1);
            let rarity = ((article_count + 1.0) / f64::from(count)).ln().max(0.0);
            let is_in_headline =
                (to.spellings.get(&feature)).is_some_and(|word| word.is_in_headline);
            let factor = if is_in_headline { HEADLINE } else { 1.0 };
            (feature, rarity * rarity * factor)
        };
        let mut weights: Vec<(Feature, f64)> = features.map(weight).collect();
        weights.sort_unstable_by(|one, other| other.1.total_cmp(&one.1));
        weights
    }

    fn uncount(&mut self, profile: &Profile) {
        for feature in features(profile) {
            if let Some(count) = self.counts.get_mut(&feature) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&feature);
                }
            }
        }
    }
}

/// Everything that is counted of an article.
fn features(profile: &Profile) -> Vec<Feature> {
    let topics = profile.topics.iter().map(topic_feature);
    let others = profile.words.iter().chain(&profile.places).copied();
    others.chain(topics).collect()
}

/// Which part of all weight is shared, 0 to 1.
fn share(weights: &[(Feature, f64)], is_shared: impl Fn(&Feature) -> bool) -> f64 {
    let all: f64 = weights.iter().map(|(_, weight)| weight).sum();
    if all <= 0.0 {
        return 0.0;
    }
    let shared = weights.iter().filter(|(feature, _)| is_shared(feature));
    shared.map(|(_, weight)| weight).sum::<f64>() / all
}

fn shares_any(one: &[Feature], other: &[Feature]) -> bool {
    one.iter().any(|link| other.binary_search(link).is_ok())
}

/// 1 for two of the same time, down to 0.5.
fn recency(one: &Profile, other: &Profile) -> f64 {
    let apart = one.published_at.seconds() - other.published_at.seconds();
    let apart = u32::try_from(apart.unsigned_abs()).unwrap_or(u32::MAX);
    0.5 + 0.5 * (-f64::from(apart) / HALF_LIFE_SECONDS).exp2()
}

fn explain(found: &mut Match, to: &Profile, profile: &Profile, words: &[(Feature, f64)]) {
    let spelt = |feature: &Feature| to.spellings.get(feature).map(|word| word.text.clone());
    let shared = words
        .iter()
        .map(|(word, _)| word)
        .filter(|word| profile.words.binary_search(word).is_ok());
    found.words = shared.filter_map(spelt).take(WORDS_SHOWN).collect();
    let places = to.places.iter();
    let shared = places.filter(|place| profile.places.binary_search(place).is_ok());
    found.places = shared.filter_map(spelt).collect();
    let topics = to
        .topics
        .iter()
        .filter(|topic| profile.topics.contains(topic));
    found.topics = topics.cloned().collect();
}
