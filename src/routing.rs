//! Routing: which topics a revision goes to, and why. A pure function of article, taxonomy and
//! what earlier revisions went to.

use std::fmt;

use crate::{
    article::{Action, Article, OWN_TOPICS_MAX},
    topic::Topic,
};

pub mod taxonomy;

use taxonomy::Taxonomy;

/// Most topics of a revision, inherited ones included.
pub const TOPICS_MAX: usize = 64;

/// Why a revision goes to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The publisher named it.
    Named,
    /// This IPTC media topic code leads to it.
    Subject(String),
    /// An earlier revision went there.
    Inherited,
    /// Nothing else was found.
    Rest,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => f.write_str("named"),
            Self::Subject(code) => write!(f, "subject medtop:{code}"),
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

/// Decides the topics of a revision. `inherited` is where earlier revisions went, in their order.
///
/// # Errors
/// [`RouteError`]; a withdrawal adds no topics and never fails.
pub fn route(
    article: &Article,
    action: Action,
    inherited: &[Topic],
    taxonomy: &Taxonomy,
) -> Result<Route, RouteError> {
    let mut own: Vec<(Topic, Reason)> = Vec::new();
    if !action.is_notice() {
        for (index, topic) in article.topics.iter().enumerate() {
            if !taxonomy.contains(topic) && !inherited.contains(topic) {
                let nearest = taxonomy.nearest(topic.as_str()).clone();
                return Err(RouteError::Unknown {
                    index,
                    unknown: topic.clone(),
                    nearest,
                });
            }
            own.push((topic.clone(), Reason::Named));
        }
        for code in &article.subjects {
            let topics = taxonomy.of_subject(code).iter().cloned();
            own.extend(topics.map(|topic| (topic, Reason::Subject(code.clone()))));
        }
    }
    let mut route = Route::default();
    for (topic, reason) in &own {
        let has_descendant = own
            .iter()
            .any(|(other, _)| topic != other && topic.covers(other));
        if !has_descendant && !route.topics.contains(topic) && route.own_count < OWN_TOPICS_MAX {
            route.topics.push(topic.clone());
            route.reasons.push(reason.clone());
            route.own_count += 1;
        }
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
    if count > TOPICS_MAX {
        Err(RouteError::TooMany { count })
    } else {
        Ok(route)
    }
}

#[cfg(test)]
mod tests;
