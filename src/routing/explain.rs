//! Explaining: the same decision as [`route`], with everything that speaks for each topic and where
//! it stands in the text.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use crate::{
    article::{Action, Article, OWN_TOPICS_MAX},
    routing::{
        Reason, Route, RouteError, Verdict,
        findings::{Field, Findings, Score, Tally, fields},
        inferred, more_precise,
        phrases::{Hit, Target},
        route, stated,
        taxonomy::{Rule, Taxonomy},
        verdict,
        words::{Origin, Words},
    },
    topic::Topic,
};

/// Places of a phrase, and phrases of a rule, that an explanation names.
pub const SHOWN_MAX: usize = 8;

/// Where an article goes, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The decision.
    pub route: Route,
    /// Every topic that anything speaks for: those of the route first, in their order, then the
    /// others, most points first.
    pub topics: Vec<TopicExplanation>,
}

/// What speaks for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicExplanation {
    /// Which.
    pub topic: Topic,
    /// What came of it.
    pub verdict: Verdict,
    /// Points that the text gives to it and to all beneath it.
    pub points: i32,
    /// What speaks for it, with its points, strongest first.
    pub evidence: Vec<(Evidence, i32)>,
    /// What would have to change; empty if the article goes there.
    pub remedy: String,
}

/// One thing that speaks for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The publisher named it, or this alias of it.
    Named(Topic),
    /// This IPTC media topic code leads to it.
    Subject(String),
    /// An earlier revision went there.
    Inherited,
    /// Nothing else was found.
    Rest,
    /// A phrase.
    Phrase(PhraseEvidence),
    /// A rule, and the phrases by which it holds.
    Rule(String, Vec<PhraseEvidence>),
    /// A topic beneath it.
    Descendant(Topic),
}

/// A phrase that the text has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhraseEvidence {
    /// As the taxonomy writes it.
    pub phrase: String,
    /// Where it stands, at most eight places.
    pub places: Vec<PhrasePlace>,
}

/// Where a phrase stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhrasePlace {
    /// Path of the field.
    pub field: &'static str,
    /// Characters from the field's start.
    pub offset: usize,
    /// The words as they stand there.
    pub text: String,
}

impl Evidence {
    /// What a reason says that needs no text.
    fn without_text(reason: &Reason) -> Option<Self> {
        match reason {
            Reason::Named(name) => Some(Self::Named(name.clone())),
            Reason::Subject(code) => Some(Self::Subject(code.clone())),
            Reason::Inherited => Some(Self::Inherited),
            Reason::Rest => Some(Self::Rest),
            Reason::Text { .. } => None,
        }
    }
}

/// Decides as [`route`] does, and says why. `is_inferred` is whether the text counts.
///
/// # Errors
/// [`RouteError`].
pub fn explain(
    article: &Article,
    action: Action,
    inherited: &[Topic],
    is_inferred: bool,
    taxonomy: &Taxonomy,
) -> Result<Explanation, RouteError> {
    let findings = if is_inferred {
        Findings::read(article, taxonomy)
    } else {
        Findings::default()
    };
    let route = route(article, action, inherited, &findings, taxonomy)?;
    let score = findings.score(article.language.as_ref(), taxonomy);
    let stated = stated(article, inherited, taxonomy)?;
    let topic_of = |number: usize| taxonomy.entries()[number].topic.clone();
    let wanted: Vec<Topic> = (stated.iter().map(|(topic, _)| topic.clone()))
        .chain(inferred(&score, taxonomy).into_iter().map(topic_of))
        .collect();
    let explainer = Explainer {
        precise: more_precise(wanted.iter()),
        tallies: by_topic(&score, taxonomy),
        hits: by_cue(&findings, article, taxonomy),
        score: &score,
        stated,
        text: Text::of(article),
        taxonomy,
        route: &route,
    };
    let mut topics: Vec<TopicExplanation> = (route.topics.iter())
        .map(|topic| explainer.topic(topic))
        .collect();
    let routed_count = topics.len();
    let mut known: HashSet<Topic> = route.topics.iter().cloned().collect();
    for topic in explainer.candidates() {
        if known.insert(topic.clone()) {
            topics.push(explainer.topic(&topic));
        }
    }
    topics[routed_count..].sort_by_key(|topic| Reverse(topic.points));
    Ok(Explanation { route, topics })
}

/// What speaks for each topic by itself, in the taxonomy's order.
fn by_topic(score: &Score, taxonomy: &Taxonomy) -> HashMap<usize, Vec<(Tally, i32)>> {
    let mut tallies: HashMap<usize, Vec<(Tally, i32)>> = HashMap::new();
    for tally in &score.tallies {
        if let Target::Topic(topic, points) = taxonomy.phrasebook().cues()[tally.cue].target {
            tallies.entry(topic).or_default().push((*tally, points));
        }
    }
    tallies
}

/// The first places of each cue.
fn by_cue(findings: &Findings, article: &Article, taxonomy: &Taxonomy) -> HashMap<usize, Vec<Hit>> {
    let mut hits: HashMap<usize, Vec<Hit>> = HashMap::new();
    for (hit, _) in findings.counted(article.language.as_ref(), taxonomy) {
        let hits = hits.entry(hit.cue).or_default();
        if hits.len() < SHOWN_MAX {
            hits.push(hit);
        }
    }
    hits
}

struct Explainer<'a> {
    taxonomy: &'a Taxonomy,
    route: &'a Route,
    score: &'a Score,
    stated: Vec<(Topic, Reason)>,
    /// For each path above a wanted topic the first that is wanted beneath it.
    precise: HashMap<&'a str, &'a Topic>,
    /// Of each topic, with the points of a phrase.
    tallies: HashMap<usize, Vec<(Tally, i32)>>,
    /// Of each cue.
    hits: HashMap<usize, Vec<Hit>>,
    text: Text<'a>,
}

impl Explainer<'_> {
    /// What is stated or has points.
    fn candidates(&self) -> Vec<Topic> {
        let entries = self.taxonomy.entries();
        let with_points =
            (0..self.score.total.len()).filter(|number| self.score.total[*number] > 0);
        let stated = self.stated.iter().map(|(topic, _)| topic.clone());
        stated
            .chain(with_points.map(|number| entries[number].topic.clone()))
            .collect()
    }

    fn topic(&self, topic: &Topic) -> TopicExplanation {
        let number = self.taxonomy.number(topic);
        let points = number.and_then(|number| self.score.total.get(number).copied());
        let verdict = self.verdict(topic, number);
        TopicExplanation {
            topic: topic.clone(),
            verdict,
            points: points.unwrap_or(0),
            evidence: self.evidence(topic, number),
            remedy: self.remedy(topic, verdict, points.unwrap_or(0)),
        }
    }

    fn verdict(&self, topic: &Topic, number: Option<usize>) -> Verdict {
        if self.route.topics.contains(topic) {
            return Verdict::Routed;
        }
        if self.more_precise(topic).is_some() {
            return Verdict::Yields;
        }
        let is_stated = self.stated.iter().any(|(stated, _)| stated == topic);
        let of_text = number.and_then(|number| verdict(number, self.score, self.taxonomy));
        match of_text {
            Some(short @ (Verdict::BelowThreshold | Verdict::Outweighed)) if !is_stated => short,
            _ => Verdict::TooMany,
        }
    }

    /// The topic beneath one that is there in its place.
    fn more_precise(&self, topic: &Topic) -> Option<Topic> {
        self.precise.get(topic.as_str()).copied().cloned()
    }

    fn evidence(&self, topic: &Topic, number: Option<usize>) -> Vec<(Evidence, i32)> {
        let mut reasons: Vec<&Reason> = (self.stated.iter())
            .filter(|(stated, _)| stated == topic)
            .map(|(_, reason)| reason)
            .collect();
        let place = self.route.topics.iter().position(|routed| routed == topic);
        reasons.extend(place.map(|place| &self.route.reasons[place]));
        reasons.dedup();
        let mut evidence: Vec<(Evidence, i32)> = reasons
            .into_iter()
            .filter_map(Evidence::without_text)
            .map(|evidence| (evidence, 0))
            .collect();
        let Some(number) = number.filter(|number| *number < self.score.own.len()) else {
            return evidence;
        };
        let mut of_text: Vec<(Evidence, i32)> = Vec::new();
        for (tally, points) in self.tallies.get(&number).into_iter().flatten() {
            let phrase = Evidence::Phrase(self.phrase(tally));
            of_text.push((phrase, points * tally.weight));
        }
        let rules = self
            .score
            .rules
            .iter()
            .map(|rule| &self.taxonomy.rules()[*rule]);
        for rule in rules.filter(|rule| rule.topics.contains(&number)) {
            let name = rule.name.clone();
            of_text.push((Evidence::Rule(name, self.phrases_of(rule)), rule.points));
        }
        if self.score.has_firm_beneath[number] {
            for (other, points) in self.score.beneath(number, self.taxonomy) {
                let beneath = self.taxonomy.entries()[other].topic.clone();
                of_text.push((Evidence::Descendant(beneath), points));
            }
        }
        of_text.sort_by_key(|(_, points)| Reverse(*points));
        evidence.extend(of_text);
        evidence
    }

    fn phrases_of(&self, rule: &Rule) -> Vec<PhraseEvidence> {
        let groups = rule.all.iter().map(|(group, _)| *group);
        groups
            .flat_map(|group| self.score.of_group(group, rule.within, self.taxonomy))
            .map(|tally| self.phrase(tally))
            .take(SHOWN_MAX)
            .collect()
    }

    fn phrase(&self, tally: &Tally) -> PhraseEvidence {
        let hits = self.hits.get(&tally.cue).into_iter().flatten();
        PhraseEvidence {
            phrase: self.taxonomy.phrasebook().cues()[tally.cue].text.clone(),
            places: hits
                .filter_map(|hit| self.text.place(hit.start, hit.end))
                .collect(),
        }
    }

    fn remedy(&self, topic: &Topic, verdict: Verdict, points: i32) -> String {
        let settings = self.taxonomy.settings();
        match verdict {
            Verdict::Routed => String::new(),
            Verdict::BelowThreshold if points >= settings.threshold => {
                format!("only hints speak for it: name {topic} in article.topics")
            }
            Verdict::BelowThreshold => {
                let needed = match settings.threshold - points {
                    1 => "1 more point is".to_owned(),
                    count => format!("{count} more points are"),
                };
                format!(
                    "{needed} needed: say more of it, headline first, or name {topic} in \
                     article.topics"
                )
            }
            Verdict::Outweighed => {
                let strongest = self.score.strongest;
                format!(
                    "the strongest topic has {strongest} points, and this one less than {} % of \
                     that: name {topic} in article.topics",
                    settings.share_percent
                )
            }
            Verdict::Yields => {
                let beneath = self.more_precise(topic).unwrap_or_else(|| topic.clone());
                format!("nothing: {beneath} says it more precisely, and reaches its subscribers")
            }
            Verdict::TooMany => {
                format!("a revision has at most {OWN_TOPICS_MAX} topics of its own: name fewer")
            }
        }
    }
}

/// The fields as they were read, to find places in.
struct Text<'a> {
    fields: [Field<'a>; 4],
    words: Words,
    /// How many words there are up to each field's end.
    counts: Vec<usize>,
}

impl<'a> Text<'a> {
    fn of(article: &'a Article) -> Self {
        let fields = fields(article);
        let mut words = Words::default();
        let mut counts = Vec::new();
        for field in &fields {
            words.push(&field.text);
            counts.push(words.origins().len());
        }
        Self {
            fields,
            words,
            counts,
        }
    }

    /// Where a run of the joined words stands.
    fn place(&self, start: usize, end: usize) -> Option<PhrasePlace> {
        let origins = self.words.origins();
        let word_at = |at: usize| {
            origins
                .partition_point(|origin| origin.at <= at)
                .checked_sub(1)
        };
        let first = word_at(start)?;
        let last = word_at(end.checked_sub(1)?)?;
        let field = &self.fields[self.counts.iter().position(|count| first < *count)?];
        let (first, last): (&Origin, &Origin) = (&origins[first], &origins[last]);
        Some(PhrasePlace {
            field: field.path,
            offset: field.text.get(..first.start)?.chars().count(),
            text: field.text.get(first.start..last.end)?.to_owned(),
        })
    }
}
