//! Scope: the part of the wire that a grant opens.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    article::Language,
    filter::{Filter, LanguageRange},
    topic::Topic,
};

/// Topics and languages; both must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// Each covers itself and all beneath; none = the whole wire.
    pub topics: BTreeSet<Topic>,
    /// None = any language.
    pub languages: BTreeSet<LanguageRange>,
}

impl Scope {
    /// Whether everything is within it.
    pub fn is_all(&self) -> bool {
        self.topics.is_empty() && self.languages.is_empty()
    }

    /// Whether a topic is within it.
    pub fn covers(&self, topic: &Topic) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|granted| granted.covers(topic))
    }

    /// Whether a language is within it.
    pub fn speaks(&self, language: &Language) -> bool {
        self.languages.is_empty() || self.languages.iter().any(|range| range.matches(language))
    }

    /// Whether a revision with these topics is within it.
    pub fn opens(&self, topics: &[Topic], language: &Language) -> bool {
        (self.topics.is_empty() || topics.iter().any(|topic| self.covers(topic)))
            && self.speaks(language)
    }

    /// The part of a filter that is within it; none if they have nothing in common.
    ///
    /// What is left is some of the filter's topics and some of the scope's: an article whose one
    /// topic is asked for, and whose other is granted, is not in it.
    pub fn cut(&self, filter: &Filter) -> Option<Filter> {
        let covers = |one: &Topic, other: &Topic| one.covers(other);
        let topics = common(&self.topics, &filter.topics, covers)?;
        let covers = |one: &LanguageRange, other: &LanguageRange| one.covers(other);
        let languages = common(&self.languages, &filter.languages, covers)?;
        Some(Filter {
            topics,
            languages,
            urgency: filter.urgency,
            words: filter.words.clone(),
        })
    }

    /// Whether all that a filter wants is within it.
    pub fn holds(&self, filter: &Filter) -> bool {
        let is_within = |wanted: &Topic| self.covers(wanted);
        let speaks = |wanted: &LanguageRange| {
            self.languages.is_empty() || self.languages.iter().any(|range| range.covers(wanted))
        };
        (self.topics.is_empty()
            || (!filter.topics.is_empty() && filter.topics.iter().all(is_within)))
            && (self.languages.is_empty()
                || (!filter.languages.is_empty() && filter.languages.iter().all(speaks)))
    }
}

/// What is beneath both of two choices, of which an empty one is everything; none if nothing is.
fn common<T: Clone + Ord>(
    one: &BTreeSet<T>,
    other: &BTreeSet<T>,
    covers: impl Fn(&T, &T) -> bool,
) -> Option<BTreeSet<T>> {
    if one.is_empty() || other.is_empty() {
        return Some(one.union(other).cloned().collect());
    }
    let within = |of: &BTreeSet<T>, all: &BTreeSet<T>| -> BTreeSet<T> {
        let inner = of
            .iter()
            .filter(|it| all.iter().any(|outer| covers(outer, it)));
        inner.cloned().collect()
    };
    let mut both = within(one, other);
    both.extend(within(other, one));
    (!both.is_empty()).then_some(both)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*, sample::select};

    use super::*;
    use crate::{
        article::{Action, Revision, Urgencies, Urgency},
        filter::Facets,
    };

    const TOPICS: [&str; 6] = [
        "ict",
        "ict.telecom",
        "ict.telecom.x",
        "ict-x",
        "economy",
        "economy.trade",
    ];
    const RANGES: [&str; 5] = ["*", "ar", "ar-eg", "en", "arz"];
    const LANGUAGES: [&str; 5] = ["ar", "ar-EG", "en", "arz", "fr"];

    fn topics() -> impl Strategy<Value = BTreeSet<Topic>> {
        btree_set(
            select(&TOPICS[..]).prop_map(|text| text.parse().unwrap()),
            0..3,
        )
    }

    fn ranges() -> impl Strategy<Value = BTreeSet<LanguageRange>> {
        btree_set(
            select(&RANGES[..]).prop_map(|text| text.parse().unwrap()),
            0..3,
        )
    }

    fn matches(filter: &Filter, topic: &Topic, language: &Language) -> bool {
        filter.matches_facets(&Facets {
            topics: std::slice::from_ref(topic),
            language,
            urgencies: Urgencies::default().with(Urgency::DEFAULT),
            action: Action::Publish,
            revision: Revision::FIRST,
        })
    }

    proptest! {
        /// For a revision with one topic, what is left of a filter wants exactly what the filter
        /// wants and the scope opens.
        #[test]
        fn a_cut_filter_wants_what_both_want(
            (granted, granted_ranges) in (topics(), ranges()),
            (wanted, wanted_ranges) in (topics(), ranges()),
        ) {
            let scope = Scope { topics: granted, languages: granted_ranges };
            let filter = Filter { topics: wanted, languages: wanted_ranges, ..Filter::default() };
            let cut = scope.cut(&filter);
            let mut is_within = true;
            for topic in TOPICS {
                for language in LANGUAGES {
                    let (topic, language) = (topic.parse().unwrap(), language.parse().unwrap());
                    let opens = scope.opens(std::slice::from_ref(&topic), &language);
                    let wants = matches(&filter, &topic, &language);
                    let left = cut.as_ref().is_some_and(|cut| matches(cut, &topic, &language));
                    prop_assert_eq!(left, opens && wants, "{} {:?}", topic, language);
                    is_within &= opens || !wants;
                }
            }
            if scope.holds(&filter) {
                prop_assert!(is_within);
                prop_assert!(cut.is_some());
            }
        }
    }
}
