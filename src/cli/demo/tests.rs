use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::routing::taxonomy::Taxonomy;

/// The day shows everything that a wire knows: at least 60 stories, every action in an order that
/// the service takes, a flash, four languages, translations of stories that were there before.
#[test]
fn a_full_day() {
    let mut live: BTreeMap<String, bool> = BTreeMap::new();
    let (mut killed, mut languages) = (BTreeSet::new(), BTreeMap::new());
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for step in steps().unwrap() {
        let action = step.action.action();
        let request = request(step, "run", Timestamp::UNIX_EPOCH).unwrap();
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

/// Every topic that the stories name exists, and each has news in Arabic and in English.
#[test]
fn every_topic_has_news() {
    let taxonomy = Taxonomy::built_in();
    let mut seen = BTreeSet::new();
    for step in steps().unwrap() {
        let article = request(step, "run", Timestamp::UNIX_EPOCH)
            .unwrap()
            .article
            .unwrap();
        for topic in article.topics {
            let topic = topic.parse().unwrap();
            assert!(taxonomy.contains(&topic), "{topic:?}");
            let language = article.language.split('-').next().unwrap().to_owned();
            seen.insert((topic.as_str().to_owned(), language));
        }
    }
    for entry in taxonomy.entries() {
        for language in ["ar", "en"] {
            let wanted = (entry.topic.as_str().to_owned(), language.to_owned());
            assert!(seen.contains(&wanted), "{wanted:?}");
        }
    }
}
