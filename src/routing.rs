//! Routing: which topics a revision goes to, and why. A pure function of article, taxonomy and
//! what earlier revisions went to.

use std::{cmp::Reverse, collections::HashMap, fmt};

use crate::{
    article::{Action, Article, OWN_TOPICS_MAX},
    fault::{Fault, Kind, wrong::Wrong},
    topic::Topic,
};

pub mod explain;
pub mod findings;
pub mod phrases;
pub mod source;
pub mod taxonomy;
pub mod words;

use findings::{Findings, Score};
use taxonomy::Taxonomy;

/// Most topics of a revision, inherited ones included.
pub const TOPICS_MAX: usize = 64;
/// Phrases and rules that a reason names.
const CAUSES_MAX: usize = 3;

/// Why a revision goes to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The publisher named it, or this alias of it.
    Named(Topic),
    /// This IPTC media topic code leads to it.
    Subject(String),
    /// The text speaks for it.
    Text {
        /// With so many points.
        points: i32,
        /// By these phrases and rules, strongest first, at most three.
        causes: Vec<String>,
    },
    /// An earlier revision went there.
    Inherited,
    /// Nothing else was found.
    Rest,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "named {name}"),
            Self::Subject(code) => write!(f, "subject medtop:{code}"),
            Self::Text { points, causes } => write!(f, "text {points}: {}", causes.join("; ")),
            Self::Inherited => f.write_str("inherited"),
            Self::Rest => f.write_str("rest"),
        }
    }
}

/// Where a revision goes: its own topics first, then those of earlier revisions in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// All topics, without repetition; never empty.
    pub topics: Vec<Topic>,
    /// How many of them are the revision's own.
    pub own_count: usize,
    /// Why, one for each topic.
    pub reasons: Vec<Reason>,
}

/// Why a revision can't be routed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A topic that neither the taxonomy nor the article's past knows.
    #[error("the topic {unknown} is not known")]
    Unknown {
        /// Place in the publisher's list.
        index: usize,
        /// What the publisher named.
        unknown: Topic,
        /// What may have been meant.
        nearest: Topic,
    },
    /// More topics than an article can have.
    #[error("with this revision the article would have {count} topics")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
}

impl RouteError {
    /// What the publisher can do.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unknown {
                index,
                unknown,
                nearest,
            } => Fault::field(
                "TOPIC_UNKNOWN",
                &format!("article.topics[{index}]"),
                Wrong::TopicUnknown {
                    unknown: unknown.clone(),
                    nearest: nearest.clone(),
                },
            )
            .with("topic", unknown.to_string())
            .with("nearest", nearest.to_string()),
            Self::TooMany { count } => {
                let message = format!(
                    "the article would go to {count} topics with those of earlier revisions; at \
                     most {TOPICS_MAX} are allowed: name fewer new ones"
                );
                Fault::new(Kind::Precondition, "TOPICS_TOO_MANY", message)
            }
        }
    }
}

/// What came of a topic that something speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The revision goes there.
    Routed,
    /// Too few points.
    BelowThreshold,
    /// Far fewer points than the strongest topic.
    Outweighed,
    /// A topic beneath it is there too.
    Yields,
    /// A revision has as many topics of its own as it can have.
    TooMany,
}

/// Decides the topics of a revision. `inherited` is where earlier revisions went, in their order;
/// `findings` are those of the very article and taxonomy, or empty if only what the publisher
/// states counts.
///
/// # Errors
/// [`RouteError`]; a withdrawal adds no topics and never fails.
pub fn route(
    article: &Article,
    action: Action,
    inherited: &[Topic],
    findings: &Findings,
    taxonomy: &Taxonomy,
) -> Result<Route, RouteError> {
    let mut route = Route::default();
    if !action.is_notice() {
        let stated = stated(article, inherited, taxonomy)?;
        let score = findings.score(article.language.as_ref(), taxonomy);
        route.add_own(stated, &score, taxonomy);
    }
    for topic in inherited {
        if !route.topics.contains(topic) {
            route.topics.push(topic.clone());
            route.reasons.push(Reason::Inherited);
        }
    }
    if route.topics.is_empty() {
        route.topics.push(taxonomy.general().clone());
        route.reasons.push(Reason::Rest);
        route.own_count = 1;
    }
    let count = route.topics.len();
    if count > TOPICS_MAX && !action.is_notice() {
        Err(RouteError::TooMany { count })
    } else {
        Ok(route)
    }
}

impl Route {
    /// Takes what is stated and what the text leads to, but for what is said more precisely, is there
    /// already or is too much.
    fn add_own(&mut self, stated: Vec<(Topic, Reason)>, score: &Score, taxonomy: &Taxonomy) {
        let inferred = inferred(score, taxonomy);
        let of = |number: usize| &taxonomy.entries()[number].topic;
        let named: Vec<Topic> = stated.iter().map(|(topic, _)| topic.clone()).collect();
        let found = inferred.iter().map(|number| of(*number));
        let precise = more_precise(named.iter().chain(found));
        for (topic, reason) in stated {
            if self.takes(&topic, &precise) {
                self.add(topic, reason);
            }
        }
        for number in inferred {
            let topic = of(number);
            if self.takes(topic, &precise) {
                // Made only where it is shown: each looks at everything that the text has.
                let reason = Reason::Text {
                    points: score.total[number],
                    causes: causes(number, score, taxonomy),
                };
                self.add(topic.clone(), reason);
            }
        }
    }

    fn takes(&self, topic: &Topic, precise: &HashMap<&str, &Topic>) -> bool {
        self.own_count < OWN_TOPICS_MAX
            && !precise.contains_key(topic.as_str())
            && !self.topics.contains(topic)
    }

    fn add(&mut self, topic: Topic, reason: Reason) {
        self.topics.push(topic);
        self.reasons.push(reason);
        self.own_count += 1;
    }
}

/// For each path above a wanted topic the first that is wanted beneath it.
fn more_precise<'a>(wanted: impl Iterator<Item = &'a Topic>) -> HashMap<&'a str, &'a Topic> {
    let mut precise = HashMap::new();
    for topic in wanted {
        let mut at = topic.as_str();
        while let Some((above, _)) = at.rsplit_once('.') {
            precise.entry(above).or_insert(topic);
            at = above;
        }
    }
    precise
}

/// What the publisher states: the topics that it names, then those of its subject codes.
fn stated(
    article: &Article,
    inherited: &[Topic],
    taxonomy: &Taxonomy,
) -> Result<Vec<(Topic, Reason)>, RouteError> {
    let mut stated = Vec::new();
    for (index, named) in article.topics.iter().enumerate() {
        let lost = || inherited.iter().find(|topic| *topic == named);
        let Some(topic) = taxonomy.resolve(named).or_else(lost) else {
            return Err(RouteError::Unknown {
                index,
                unknown: named.clone(),
                nearest: taxonomy.nearest(named.as_str()).clone(),
            });
        };
        stated.push((topic.clone(), Reason::Named(named.clone())));
    }
    for code in &article.subjects {
        let topics = taxonomy.of_subject(code).iter().cloned();
        stated.extend(topics.map(|topic| (topic, Reason::Subject(code.clone()))));
    }
    Ok(stated)
}

/// The topics to which the text leads, by their places in the taxonomy, most points first.
fn inferred(score: &Score, taxonomy: &Taxonomy) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..score.total.len())
        .filter(|number| verdict(*number, score, taxonomy) == Some(Verdict::Routed))
        .collect();
    numbers.sort_by_key(|number| Reverse(score.total[*number]));
    numbers
}

/// What the points of one topic come to; none where it has none.
fn verdict(number: usize, score: &Score, taxonomy: &Taxonomy) -> Option<Verdict> {
    let points = score.total.get(number).copied().unwrap_or(0);
    let settings = taxonomy.settings();
    if points <= 0 {
        None
    } else if points < settings.threshold || !is_firm(number, score) {
        Some(Verdict::BelowThreshold)
    } else if i64::from(points) * 100
        < i64::from(score.strongest) * i64::from(settings.share_percent)
    {
        Some(Verdict::Outweighed)
    } else {
        Some(Verdict::Routed)
    }
}

/// Whether more than hints speaks for a topic.
fn is_firm(number: usize, score: &Score) -> bool {
    score.firm[number] > 0 || score.has_firm_beneath[number]
}

/// What gives a topic its points: phrases and rules, strongest first; where it has none by itself,
/// the topics beneath it.
fn causes(number: usize, score: &Score, taxonomy: &Taxonomy) -> Vec<String> {
    let rules = score.rules.iter().map(|rule| &taxonomy.rules()[*rule]);
    let rules = rules.filter(|rule| rule.topics.contains(&number) && rule.points > 0);
    let mut causes: Vec<(i32, &str)> = rules.map(|rule| (rule.points, &*rule.name)).collect();
    causes.extend(score.tallies.iter().filter_map(|tally| {
        let cue = &taxonomy.phrasebook().cues()[tally.cue];
        let points = cue.target.points_for(number)?;
        Some((points * tally.weight, &*cue.text))
    }));
    if causes.is_empty() {
        let beneath = score.beneath(number, taxonomy);
        causes = beneath
            .map(|(other, points)| (points, taxonomy.entries()[other].topic.as_str()))
            .collect();
    }
    causes.sort_by_key(|(points, _)| Reverse(*points));
    let causes = causes.into_iter().take(CAUSES_MAX);
    causes.map(|(_, cause)| cause.to_owned()).collect()
}

#[cfg(test)]
mod tests;
