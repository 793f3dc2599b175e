//! What a text has of a taxonomy's phrases, and how many points that gives to which topics.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    article::{Article, BodyType, Language, text},
    routing::{
        phrases::{Hit, Run, Target},
        taxonomy::{Rule, Taxonomy},
        words::Words,
    },
};

/// Bytes of a plain body that are read: news says first what it is about.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an HTML body that are read: markup included, so more.
pub const HTML_BYTES_MAX: usize = 64 * 1024;

/// What is beneath a topic speaks for it with this part of its points: several crumbs of a field
/// are weaker than a word for the field.
const BENEATH: i32 = 2;

/// A part of an article, the weightier first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zone {
    /// The headline.
    Headline,
    /// Subheadline and slugline.
    Deck,
    /// The first words of the body.
    Lead,
    /// The rest of the body.
    Body,
}

/// A field that is read.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Its path, `article.headline`.
    pub path: &'static str,
    /// Its text, plain, as far as it is read.
    pub text: Cow<'a, str>,
}

/// The fields of an article that are read, in order.
pub fn fields(article: &Article) -> [Field<'_>; 4] {
    let body = match article.body_type {
        BodyType::Text => Cow::Borrowed(beginning(&article.body, BODY_BYTES_MAX)),
        BodyType::Html => {
            let cut = beginning(&article.body, HTML_BYTES_MAX);
            Cow::Owned(text::plain(cut, BodyType::Html))
        }
    };
    [
        ("article.headline", Cow::Borrowed(&*article.headline)),
        ("article.subheadline", Cow::Borrowed(&*article.subheadline)),
        ("article.slugline", Cow::Borrowed(&*article.slugline)),
        ("article.body", body),
    ]
    .map(|(path, text)| Field { path, text })
}

fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Every phrase of a taxonomy in an article's text, of any language. Empty where none was looked
/// for.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    runs: Vec<Run>,
    /// Where headline, deck and lead end among the joined words.
    zone_ends: [usize; 3],
}

/// A cue as often as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Which cue.
    pub cue: usize,
    /// Weights of its places, up to the taxonomy's bound.
    pub weight: i32,
    /// The weightiest zone that it stands in.
    pub zone: Zone,
}

/// Points and what gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Cues that stand in the text, in the taxonomy's order.
    pub tallies: Vec<Tally>,
    /// Rules that hold, in the taxonomy's order.
    pub rules: Vec<usize>,
    /// Points of each topic by itself, in the taxonomy's order; empty where the text gives none.
    pub own: Vec<i32>,
    /// Those of each topic, and what phrases and rules give to the topics beneath it: hints do not
    /// add up, or a few words that are in all news would be the whole of a field.
    pub total: Vec<i32>,
    /// The part of its own that phrases and rules give: hints alone lead nowhere.
    pub firm: Vec<i32>,
    /// Whether topics beneath it speak for it.
    pub has_firm_beneath: Vec<bool>,
    /// The most that phrases and hints alone give to any topic. Rules are left out: they say what a
    /// story is about, not how much of it.
    pub strongest: i32,
}

impl Findings {
    /// Looks for everything that a taxonomy looks for. Takes time in proportion to the text, of
    /// which at most the first 16 KiB of the body are read (of HTML 64 KiB).
    pub fn read(article: &Article, taxonomy: &Taxonomy) -> Self {
        let [headline, subheadline, slugline, body] = fields(article);
        let mut words = Words::of(&headline.text);
        let headline_end = words.joined().len();
        words.push(&subheadline.text);
        words.push(&slugline.text);
        let (deck_end, deck_len) = (words.joined().len(), words.origins().len());
        words.push(&body.text);
        let lead_last = deck_len + taxonomy.settings().lead_words;
        let lead_end =
            (words.origins().get(lead_last)).map_or(words.joined().len(), |word| word.at);
        Self {
            runs: taxonomy.phrasebook().find(&words),
            zone_ends: [headline_end, deck_end, lead_end],
        }
    }

    /// The hits that count for an article of a language: not those within what says nothing, and
    /// for one topic not those within longer ones.
    pub fn counted<'a>(
        &'a self,
        language: Option<&'a Language>,
        taxonomy: &'a Taxonomy,
    ) -> impl Iterator<Item = (Hit, Zone)> + 'a {
        let phrasebook = taxonomy.phrasebook();
        let cues = phrasebook.cues();
        let mut ignored_end = 0;
        let mut topic_ends = vec![0; taxonomy.entries().len()];
        let hits = self.runs.iter().flat_map(|run| phrasebook.hits(*run));
        hits.filter_map(move |hit| {
            let cue = &cues[hit.cue];
            if hit.end <= ignored_end || !language.is_none_or(|known| cue.range.matches(known)) {
                return None;
            }
            match cue.target {
                Target::Ignored => {
                    ignored_end = hit.end;
                    return None;
                }
                Target::Topic(topic, _) if hit.end <= topic_ends[topic] => return None,
                Target::Topic(topic, _) => topic_ends[topic] = hit.end,
                Target::Group(_) => {}
            }
            Some((hit, self.zone(hit.start)))
        })
    }

    fn zone(&self, at: usize) -> Zone {
        let [headline, deck, lead] = self.zone_ends;
        match at {
            at if at < headline => Zone::Headline,
            at if at < deck => Zone::Deck,
            at if at < lead => Zone::Lead,
            _ => Zone::Body,
        }
    }

    /// Every cue that counts, as often as it stands in the text.
    fn tallies(&self, language: Option<&Language>, taxonomy: &Taxonomy) -> Vec<Tally> {
        let settings = taxonomy.settings();
        let mut tallies: HashMap<usize, Tally> = HashMap::new();
        for (hit, zone) in self.counted(language, taxonomy) {
            let tally = tallies.entry(hit.cue).or_insert(Tally {
                cue: hit.cue,
                weight: 0,
                zone,
            });
            let weight = tally.weight + settings.weight(zone);
            tally.weight = weight.min(settings.weight_max);
            tally.zone = tally.zone.min(zone);
        }
        let mut tallies: Vec<Tally> = tallies.into_values().collect();
        tallies.sort_unstable_by_key(|tally| tally.cue);
        tallies
    }

    /// How many points the text gives to which topics.
    pub fn score(&self, language: Option<&Language>, taxonomy: &Taxonomy) -> Score {
        let settings = taxonomy.settings();
        let tallies = self.tallies(language, taxonomy);
        if tallies.is_empty() {
            return Score::default();
        }
        let topic_count = taxonomy.entries().len();
        let mut score = Score {
            tallies,
            own: vec![0; topic_count],
            firm: vec![0; topic_count],
            has_firm_beneath: vec![false; topic_count],
            ..Score::default()
        };
        for Tally { cue, weight, .. } in &score.tallies {
            if let Target::Topic(topic, points) = taxonomy.phrasebook().cues()[*cue].target {
                score.own[topic] += points * weight;
                if points > settings.hint {
                    score.firm[topic] += points * weight;
                }
            }
        }
        score.strongest = score.own.iter().copied().max().unwrap_or(0);
        for (number, rule) in taxonomy.rules().iter().enumerate() {
            if score.satisfies(rule, taxonomy) {
                score.rules.push(number);
                for topic in &rule.topics {
                    score.own[*topic] += rule.points;
                    score.firm[*topic] += rule.points;
                }
            }
        }
        score.total.clone_from(&score.own);
        for (topic, points) in score
            .firm
            .iter()
            .enumerate()
            .filter(|(_, points)| **points > 0)
        {
            for ancestor in taxonomy.ancestors(topic) {
                score.total[ancestor] += points / BENEATH;
                score.has_firm_beneath[ancestor] |= *points >= BENEATH;
            }
        }
        score
    }
}

impl Score {
    /// The topics beneath one that speak for it, by their places, with the points that they give.
    pub fn beneath(&self, topic: usize, taxonomy: &Taxonomy) -> impl Iterator<Item = (usize, i32)> {
        let firm = self
            .firm
            .iter()
            .enumerate()
            .filter(|(_, points)| **points >= BENEATH);
        firm.filter(move |(other, _)| taxonomy.ancestors(*other).any(|ancestor| ancestor == topic))
            .map(|(other, points)| (other, points / BENEATH))
    }

    fn satisfies(&self, rule: &Rule, taxonomy: &Taxonomy) -> bool {
        let count = |group| self.of_group(group, rule.within, taxonomy).count();
        (rule.all.iter()).all(|(group, least)| count(*group) >= *least)
            && rule.none.iter().all(|group| count(*group) == 0)
    }

    /// The cues of a group that stand in a zone or a weightier one.
    pub fn of_group(
        &self,
        group: usize,
        within: Zone,
        taxonomy: &Taxonomy,
    ) -> impl Iterator<Item = &Tally> {
        let cues = taxonomy.phrasebook().cues();
        self.tallies.iter().filter(move |tally| {
            tally.zone <= within && cues[tally.cue].target == Target::Group(group)
        })
    }
}
