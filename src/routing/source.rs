//! A taxonomy file: its form, and what can be wrong with it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    filter::LanguageRange,
    routing::{
        findings::Zone,
        phrases::{Builder, PhraseError, Target},
        taxonomy::{
            Entry, GENERAL, Rule, Settings, TAXONOMY_BYTES_MAX, TAXONOMY_TOPICS_MAX, Taxonomy,
            media_topic_code, version,
        },
    },
    topic::{Topic, TopicError},
};

/// Most points of a rule, and most of any number in `[inference]`.
const NUMBER_MAX: i32 = 1000;

/// Why a text is not a taxonomy, and where.
#[derive(Debug, thiserror::Error)]
#[error("{line}:{column}: {problem}")]
pub struct TaxonomyError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a taxonomy.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Not TOML of the expected shape.
    #[error("{0}")]
    Syntax(String),
    /// Too long.
    #[error("the taxonomy has {0} bytes; at most 1 MiB (1,048,576) is allowed")]
    TooLong(usize),
    /// More topics than a taxonomy can have.
    #[error("more than {TAXONOMY_TOPICS_MAX} topics and aliases")]
    TooMany,
    /// A key that is not a topic.
    #[error("{path:?} is no topic: {source}")]
    Path {
        /// The key.
        path: String,
        /// What is wrong with it.
        source: TopicError,
    },
    /// A child without its parent.
    #[error("{path} stands here but not its parent {parent}: add [topics.\"{parent}\"]")]
    Orphan {
        /// The child.
        path: String,
        /// What is missing.
        parent: String,
    },
    /// A code that is not one.
    #[error("{code:?} is no IPTC media topic code; it has eight digits")]
    Code {
        /// The code.
        code: String,
    },
    /// A phrase that can't be looked for.
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    /// A name of a topic, group or rule that stands for nothing.
    #[error("there is no {what} {name:?}{hint}")]
    Unknown {
        /// Topic or group.
        what: &'static str,
        /// The name.
        name: String,
        /// The nearest known one, as a clause of its own, or empty.
        hint: String,
    },
    /// An alias that is a topic as well.
    #[error("{0} is a topic and an alias; it can be one of them")]
    AliasOfItself(String),
    /// Aliases that lead back to where they began.
    #[error("the aliases go in a circle: {0}")]
    AliasCycle(String),
    /// A number out of its bounds.
    #[error("{value} is not {least} to {most}")]
    Number {
        /// What was given.
        value: i32,
        /// The least that is allowed.
        least: i32,
        /// The most that is allowed.
        most: i32,
    },
    /// Points of a rule that say nothing, or too much.
    #[error(
        "{0} points are none, or more than {NUMBER_MAX}; give 1 to {NUMBER_MAX}, or -{NUMBER_MAX} to -1"
    )]
    RulePoints(i32),
    /// A rule that always holds, or leads nowhere.
    #[error("the rule {0:?} is empty; name at least one group under all, and one topic")]
    EmptyRule(String),
    /// Nowhere to put the rest.
    #[error("there is no topic general; add [topics.general]")]
    NoGeneral,
}

/// Phrases per language range; in each list entry `|` parts alternatives that count as one, and `*`
/// leaves the end of a word open.
type Phrases = BTreeMap<Spanned<String>, Vec<Spanned<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    inference: Inference,
    topics: BTreeMap<Spanned<String>, TopicSource>,
    #[serde(default)]
    aliases: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    groups: BTreeMap<String, Phrases>,
    #[serde(default)]
    rules: Vec<RuleSource>,
    #[serde(default)]
    ignore: Phrases,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Inference {
    threshold: Spanned<i32>,
    share_percent: Spanned<i32>,
    lead_words: Spanned<i32>,
    headline: Spanned<i32>,
    deck: Spanned<i32>,
    lead: Spanned<i32>,
    body: Spanned<i32>,
    weight_max: Spanned<i32>,
    phrase: Spanned<i32>,
    hint: Spanned<i32>,
}

impl Default for Inference {
    /// What the built-in taxonomy says, for files that say nothing.
    fn default() -> Self {
        let number = |value| Spanned::new(0..0, value);
        Self {
            threshold: number(10),
            share_percent: number(45),
            lead_words: number(45),
            headline: number(3),
            deck: number(2),
            lead: number(2),
            body: number(1),
            weight_max: number(6),
            phrase: number(3),
            hint: number(1),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicSource {
    names: BTreeMap<String, String>,
    #[serde(default)]
    subjects: Vec<Spanned<String>>,
    #[serde(default)]
    phrases: Phrases,
    #[serde(default)]
    hints: Phrases,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSource {
    name: Spanned<String>,
    topics: Vec<Spanned<String>>,
    points: Spanned<i32>,
    all: BTreeMap<Spanned<String>, Spanned<i32>>,
    #[serde(default)]
    none: Vec<Spanned<String>>,
    #[serde(default)]
    within: Within,
}

/// Where a rule looks.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Within {
    Headline,
    Lead,
    #[default]
    Text,
}

/// Something wrong at a place of the text.
struct Misplaced {
    span: Range<usize>,
    problem: Problem,
}

trait At<T> {
    fn at(self, span: Range<usize>) -> Result<T, Misplaced>;
}

impl<T, P: Into<Problem>> At<T> for Result<T, P> {
    fn at(self, span: Range<usize>) -> Result<T, Misplaced> {
        self.map_err(|problem| Misplaced {
            span,
            problem: problem.into(),
        })
    }
}

/// Reads a taxonomy file's text.
pub(super) fn parse(text: &str) -> Result<Taxonomy, TaxonomyError> {
    read(text).map_err(|Misplaced { span, problem }| {
        let before = text.get(..span.start).unwrap_or_default();
        let column = before
            .chars()
            .rev()
            .take_while(|char| *char != '\n')
            .count();
        TaxonomyError {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            problem,
        }
    })
}

fn read(text: &str) -> Result<Taxonomy, Misplaced> {
    if text.len() > TAXONOMY_BYTES_MAX {
        return Err(Problem::TooLong(text.len())).at(0..0);
    }
    let file: File = toml::from_str(text).map_err(|error| Misplaced {
        span: error.span().unwrap_or(0..0),
        problem: Problem::Syntax(error.message().to_owned()),
    })?;
    if file.topics.len() + file.aliases.len() > TAXONOMY_TOPICS_MAX {
        return Err(Problem::TooMany).at(0..0);
    }
    let points = [
        number(&file.inference.phrase, 1)?,
        number(&file.inference.hint, 0)?,
    ];
    let settings = settings(&file.inference)?;
    let mut taxonomy = Topics::default();
    // A map's order puts parents before their children: a prefix sorts first.
    for (path, topic) in file.topics {
        taxonomy.add(&path, topic, points)?;
    }
    let general: Topic = GENERAL.parse().expect("general is a topic");
    if !taxonomy.by_topic.contains_key(&general) {
        return Err(Problem::NoGeneral).at(0..0);
    }
    let aliases = taxonomy.aliases(&file.aliases)?;
    add_phrases(&mut taxonomy.phrases, &file.ignore, Target::Ignored)?;
    let mut groups = HashMap::new();
    for (name, phrases) in &file.groups {
        let group = groups.len();
        groups.insert(name.as_str(), group);
        add_phrases(&mut taxonomy.phrases, phrases, Target::Group(group))?;
    }
    let rules = file.rules.iter();
    let rules = rules
        .map(|rule| taxonomy.rule(rule, &groups))
        .collect::<Result<_, _>>()?;
    let too_many = |error: aho_corasick::BuildError| Problem::Syntax(error.to_string());
    Ok(Taxonomy {
        version: version(text),
        phrasebook: taxonomy.phrases.build().map_err(too_many).at(0..0)?,
        entries: taxonomy.entries,
        by_topic: taxonomy.by_topic,
        by_subject: taxonomy.by_subject,
        aliases,
        general,
        settings,
        rules,
    })
}

fn settings(inference: &Inference) -> Result<Settings, Misplaced> {
    let lead_words = number(&inference.lead_words, 0)?;
    Ok(Settings {
        threshold: number(&inference.threshold, 1)?,
        share_percent: bounded(&inference.share_percent, 0, 100)?,
        lead_words: usize::try_from(lead_words).expect("at most 1000"),
        weights: [
            number(&inference.headline, 0)?,
            number(&inference.deck, 0)?,
            number(&inference.lead, 0)?,
            number(&inference.body, 0)?,
        ],
        weight_max: number(&inference.weight_max, 1)?,
        hint: number(&inference.hint, 0)?,
    })
}

fn rule_points(value: &Spanned<i32>) -> Result<i32, Misplaced> {
    let points = *value.get_ref();
    if points == 0 || points.abs() > NUMBER_MAX {
        return Err(Problem::RulePoints(points)).at(value.span());
    }
    Ok(points)
}

fn number(value: &Spanned<i32>, least: i32) -> Result<i32, Misplaced> {
    bounded(value, least, NUMBER_MAX)
}

fn bounded(value: &Spanned<i32>, least: i32, most: i32) -> Result<i32, Misplaced> {
    let number = *value.get_ref();
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Problem::Number {
            value: number,
            least,
            most,
        })
        .at(value.span())
    }
}

/// Adds lists of phrases, each entry of which means `target`.
fn add_phrases(builder: &mut Builder, phrases: &Phrases, target: Target) -> Result<(), Misplaced> {
    for (language, list) in phrases {
        let name = language.get_ref();
        let range: LanguageRange = name
            .parse()
            .map_err(|error| PhraseError::Language(name.clone(), error))
            .at(language.span())?;
        for entry in list {
            let text = entry.get_ref();
            builder.add(text, &range, target).at(entry.span())?;
        }
    }
    Ok(())
}

fn topic(path: &Spanned<String>) -> Result<Topic, Misplaced> {
    let text = path.get_ref();
    text.parse()
        .map_err(|source| Problem::Path {
            path: text.clone(),
            source,
        })
        .at(path.span())
}

/// The topics as they are read.
#[derive(Default)]
struct Topics {
    entries: Vec<Entry>,
    by_topic: HashMap<Topic, usize>,
    by_subject: HashMap<String, Vec<Topic>>,
    phrases: Builder,
}

impl Topics {
    fn add(
        &mut self,
        path: &Spanned<String>,
        source: TopicSource,
        [phrase_points, hint_points]: [i32; 2],
    ) -> Result<(), Misplaced> {
        let topic = topic(path)?;
        let number = self.entries.len();
        let mut ancestors = Vec::new();
        let mut above = topic.as_str();
        while let Some((parent, _)) = above.rsplit_once('.') {
            let known = parent
                .parse()
                .ok()
                .and_then(|parent: Topic| self.by_topic.get(&parent));
            let Some(known) = known else {
                let (span, path) = (path.span(), path.get_ref().clone());
                let parent = parent.to_owned();
                return Err(Problem::Orphan { path, parent }).at(span);
            };
            ancestors.push(*known);
            above = parent;
        }
        for code in &source.subjects {
            let text = code.get_ref();
            if media_topic_code(text) != Some(text) {
                return Err(Problem::Code { code: text.clone() }).at(code.span());
            }
            let topics = self.by_subject.entry(text.clone()).or_default();
            topics.push(topic.clone());
        }
        let (phrase, hint) = (
            Target::Topic(number, phrase_points),
            Target::Topic(number, hint_points),
        );
        add_phrases(&mut self.phrases, &source.phrases, phrase)?;
        add_phrases(&mut self.phrases, &source.hints, hint)?;
        self.by_topic.insert(topic.clone(), number);
        self.entries.push(Entry {
            topic,
            names: source.names,
            subjects: (source.subjects.into_iter())
                .map(Spanned::into_inner)
                .collect(),
            ancestors,
        });
        Ok(())
    }

    /// Every alias with the topic that it means in the end.
    fn aliases(
        &self,
        sources: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<BTreeMap<Topic, Topic>, Misplaced> {
        let mut steps = BTreeMap::new();
        for (alias, meant) in sources {
            let path = topic(alias)?;
            if self.by_topic.contains_key(&path) {
                return Err(Problem::AliasOfItself(path.to_string())).at(alias.span());
            }
            steps.insert(path, (topic(meant)?, meant.span()));
        }
        let mut aliases = BTreeMap::new();
        for alias in steps.keys() {
            let mut way = vec![alias];
            let meant = loop {
                let at = way[way.len() - 1];
                let Some((next, span)) = steps.get(at) else {
                    break at;
                };
                if way.contains(&next) {
                    way.push(next);
                    let names: Vec<&str> = way.iter().map(|topic| topic.as_str()).collect();
                    return Err(Problem::AliasCycle(names.join(" -> "))).at(span.clone());
                }
                if !steps.contains_key(next) && !self.by_topic.contains_key(next) {
                    return Err(self.unknown_topic(next.as_str())).at(span.clone());
                }
                way.push(next);
            };
            aliases.insert(alias.clone(), meant.clone());
        }
        Ok(aliases)
    }

    fn rule(&self, source: &RuleSource, groups: &HashMap<&str, usize>) -> Result<Rule, Misplaced> {
        let topics = source.topics.iter().map(|name| {
            let path = topic(name)?;
            let known = self.by_topic.get(&path).copied();
            known
                .ok_or_else(|| self.unknown_topic(path.as_str()))
                .at(name.span())
        });
        let group = |name: &Spanned<String>| {
            let text = name.get_ref().as_str();
            let unknown = || Problem::Unknown {
                what: "group",
                name: text.to_owned(),
                hint: hint(text, groups.keys().copied()),
            };
            groups
                .get(text)
                .copied()
                .ok_or_else(unknown)
                .at(name.span())
        };
        if source.all.is_empty() || source.topics.is_empty() {
            let name = source.name.get_ref().clone();
            return Err(Problem::EmptyRule(name)).at(source.name.span());
        }
        let all = source.all.iter();
        let all = all.map(|(name, least)| {
            Ok((
                group(name)?,
                usize::try_from(number(least, 1)?).expect("at least 1"),
            ))
        });
        Ok(Rule {
            name: source.name.get_ref().clone(),
            topics: topics.collect::<Result<_, Misplaced>>()?,
            points: rule_points(&source.points)?,
            all: all.collect::<Result<_, Misplaced>>()?,
            none: source.none.iter().map(group).collect::<Result<_, _>>()?,
            within: match source.within {
                Within::Headline => Zone::Headline,
                Within::Lead => Zone::Lead,
                Within::Text => Zone::Body,
            },
        })
    }

    fn unknown_topic(&self, name: &str) -> Problem {
        Problem::Unknown {
            what: "topic",
            name: name.to_owned(),
            hint: hint(name, self.entries.iter().map(|entry| entry.topic.as_str())),
        }
    }
}

fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(name, other);
    known
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .map_or(String::new(), |near| format!("; is {near} meant?"))
}

#[cfg(test)]
mod tests;
