use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    routing::{Route, findings::Findings, route, taxonomy::Taxonomy},
    topic::Topic,
};

/// The day shows everything that a wire knows: at least 60 stories, every action in an order that
/// the service takes, a flash, four languages, translations of stories that were there before.
#[test]
fn a_full_day() {
    let mut live: BTreeMap<String, bool> = BTreeMap::new();
    let (mut killed, mut languages) = (BTreeSet::new(), BTreeMap::new());
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for step in steps().unwrap() {
        let action = step.action.action();
        let request = request(step, "run", 1.0, Timestamp::UNIX_EPOCH).unwrap();
        let article = request.article.unwrap();
        let uri = article.uri.clone();
        assert!(!killed.contains(&uri), "{uri} is killed");
        let before = live.get(&uri).copied();
        match (action, before) {
            (Action::Publish, None) => {
                *languages.entry(article.language.clone()).or_insert(0) += 1;
                *counts.entry("story").or_default() += 1;
            }
            (Action::Publish, Some(false)) => *counts.entry("reinstated").or_default() += 1,
            (_, Some(true)) => *counts.entry(action.as_str()).or_default() += 1,
            (action, before) => panic!("{uri}: {action:?} after {before:?}"),
        }
        if article.urgency == 1 {
            *counts.entry("flash").or_default() += 1;
        }
        for link in &article.links {
            let originals: BTreeSet<String> = live
                .keys()
                .map(|uri| ArticleId::from_uri(uri).to_string())
                .collect();
            assert!(originals.contains(&link.article_id), "{uri}: {link:?}");
            *counts.entry("translation").or_default() += 1;
        }
        if action == Action::Kill {
            killed.insert(uri.clone());
        }
        live.insert(uri, action != Action::Withhold);
    }
    for (what, least) in [
        ("story", 60),
        ("update", 5),
        ("correct", 3),
        ("withhold", 1),
        ("reinstated", 1),
        ("kill", 2),
        ("flash", 2),
        ("translation", 3),
    ] {
        assert!(counts.get(what) >= Some(&least), "{what}: {counts:?}");
    }
    for (language, least) in [("ar", 25), ("en", 25), ("fr", 3), ("ur", 3)] {
        assert!(
            languages.get(language) >= Some(&least),
            "{language}: {languages:?}"
        );
    }
}

/// Where a step's revision goes by itself, and how many topics it names.
fn routed(step: Step, taxonomy: &Taxonomy) -> (Route, usize) {
    let request = request(step, "run", 1.0, Timestamp::UNIX_EPOCH).unwrap();
    let (_, article) = convert::routing::explained(request.article.unwrap()).unwrap();
    let findings = Findings::read(&article, taxonomy);
    let route = route(&article, Action::Publish, &[], &findings, taxonomy).unwrap();
    (route, article.topics.len())
}

/// Steps with a text: withholdings and kills go where their story went.
fn steps_with_text() -> impl Iterator<Item = Step> {
    let steps = steps().unwrap().into_iter();
    steps.filter(|step| !step.action.action().is_notice())
}

/// Stories that are about a second field beside that of their uri.
const TWO_FIELDS: [(&str, &str); 4] = [
    ("dip/0001", "ict"),
    ("dip/0002", "ict"),
    ("dip/0011", "ict"),
    ("eco/0010", "ict"),
];

/// More than half of the stories name no topic, and their texts lead to the fields that they are
/// about: by the built-in taxonomy, in Arabic and in English.
#[test]
fn stories_find_their_fields() {
    let taxonomy = Taxonomy::built_in();
    let mut inferred = BTreeSet::new();
    for step in steps_with_text() {
        let uri = step.article.uri.clone();
        let (route, named_count) = routed(step, &taxonomy);
        if named_count > 0 {
            continue;
        }
        let tail = uri.strip_prefix(OWN_URIS).unwrap();
        let field = match tail.split('/').next() {
            Some("dip") => "diplomacy",
            Some("ict") => "ict",
            Some("eco") => "economy",
            _ => "general",
        };
        let second = TWO_FIELDS.iter().filter(|(story, _)| *story == tail);
        for wanted in second.map(|(_, field)| *field).chain([field]) {
            let wanted: Topic = wanted.parse().unwrap();
            let topics = &route.topics;
            assert!(
                topics.iter().any(|topic| wanted.covers(topic)),
                "{uri}: {route:?}"
            );
        }
        inferred.insert(uri);
    }
    assert!(inferred.len() > 33, "{inferred:?}");
}

/// Each topic has news in Arabic and in English, and every topic that a story names exists.
#[test]
fn every_topic_has_news() {
    let taxonomy = Taxonomy::built_in();
    let mut seen = BTreeSet::new();
    for step in steps_with_text() {
        let language = step.article.language.split('-').next().unwrap().to_owned();
        // An unknown name would be refused.
        let (route, _) = routed(step, &taxonomy);
        seen.extend(
            route
                .topics
                .into_iter()
                .map(|topic| (topic, language.clone())),
        );
    }
    for entry in taxonomy.entries() {
        for language in ["ar", "en"] {
            // News of a topic beneath it is its news too.
            let has_news = seen
                .iter()
                .any(|(topic, spoken)| entry.topic.covers(topic) && spoken == language);
            assert!(has_news, "{} in {language}", entry.topic);
        }
    }
}
