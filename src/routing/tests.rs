//! Routing is total, never drops what an earlier revision had, and gives each topic its reason.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn topics(paths: &[&str]) -> Vec<Topic> {
    paths.iter().map(|path| path.parse().unwrap()).collect()
}

fn article(named: &[&str], codes: &[&str]) -> Article {
    Article {
        topics: topics(named),
        subjects: codes.iter().map(|code| (*code).to_owned()).collect(),
        ..Article::default()
    }
}

fn routed(article: &Article, action: Action, inherited: &[&str]) -> Result<Route, RouteError> {
    route(article, action, &topics(inherited), &Taxonomy::built_in())
}

#[test]
fn named_topics_and_codes_lead_and_a_parent_yields_to_its_child() {
    let route = routed(
        &article(&["ict", "ict.telecom"], &["04000000"]),
        Action::Publish,
        &[],
    );
    let route = route.unwrap();
    assert_eq!(route.topics, topics(&["ict.telecom", "economy"]));
    assert_eq!(
        route.reasons,
        [Reason::Named, Reason::Subject("04000000".into())]
    );
}

#[test]
fn what_belongs_nowhere_is_general() {
    let route = routed(&article(&[], &["99999999"]), Action::Publish, &[]).unwrap();
    assert_eq!((route.topics, route.own_count), (topics(&["general"]), 1));
    // A later revision without topics of its own stays where the story was.
    let route = routed(&article(&[], &[]), Action::Update, &["ict"]).unwrap();
    assert_eq!((route.topics, route.own_count), (topics(&["ict"]), 0));
}

#[test]
fn a_later_revision_goes_to_its_own_topics_then_to_all_earlier_ones() {
    let route = routed(
        &article(&["economy"], &[]),
        Action::Correct,
        &["ict", "general"],
    )
    .unwrap();
    assert_eq!(route.topics, topics(&["economy", "ict", "general"]));
    assert_eq!(route.own_count, 1);
    // Not even a descendant of its own displaces an inherited topic.
    let route = routed(&article(&["ict.telecom"], &[]), Action::Update, &["ict"]).unwrap();
    assert_eq!(route.topics, topics(&["ict.telecom", "ict"]));
}

#[test]
fn a_withdrawal_adds_no_topics() {
    let route = routed(
        &article(&["economy"], &["13000000"]),
        Action::Kill,
        &["general"],
    )
    .unwrap();
    assert_eq!((route.topics, route.own_count), (topics(&["general"]), 0));
}

#[test]
fn an_unknown_topic_is_refused_with_the_nearest() {
    for (given, nearest) in [
        ("cybersecurity", "ict.cybersecurity"),
        ("econmy", "economy"),
    ] {
        let error = routed(&article(&["ict", given], &[]), Action::Publish, &[]).unwrap_err();
        let [unknown, nearest] = [given, nearest].map(|path| path.parse().unwrap());
        assert_eq!(
            error,
            RouteError::Unknown {
                index: 1,
                unknown,
                nearest
            }
        );
    }
}

#[test]
fn topics_that_the_taxonomy_has_lost_stay_valid_for_their_articles() {
    let route = routed(
        &article(&["old.topic"], &[]),
        Action::Update,
        &["old.topic"],
    )
    .unwrap();
    assert_eq!(route.topics, topics(&["old.topic"]));
}

#[test]
fn an_article_has_at_most_64_topics() {
    let many: Vec<String> = (0..TOPICS_MAX)
        .map(|index| format!("old.t{index}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = routed(&article(&["ict"], &[]), Action::Update, &many).unwrap_err();
    assert_eq!(error, RouteError::TooMany { count: 65 });
    assert!(routed(&article(&["ict"], &[]), Action::Kill, &many).is_ok());
}

#[test]
fn a_broken_taxonomy_is_refused_with_its_place() {
    use taxonomy::TaxonomyError;
    let parse = |text: &str| Taxonomy::parse(text).unwrap_err();
    assert!(matches!(
        parse("[general]\nnames = 1"),
        TaxonomyError::Syntax(_)
    ));
    assert!(matches!(
        parse("[general]\nnames = {}\ncolour = 1"),
        TaxonomyError::Syntax(_)
    ));
    assert!(matches!(
        parse("['>']\nnames = {}"),
        TaxonomyError::Path { .. }
    ));
    assert!(matches!(
        parse("['a.b']\nnames = {}"),
        TaxonomyError::Orphan { .. }
    ));
    assert!(matches!(parse("[a]\nnames = {}"), TaxonomyError::NoGeneral));
    let code = "[general]\nnames = {}\nsubjects = ['4000000']";
    assert!(matches!(parse(code), TaxonomyError::Code { .. }));
}

proptest! {
    #[test]
    fn routing_is_total_and_keeps_the_past(
        named in vec(select(vec!["ict", "ict.telecom", "economy", "diplomacy.visits"]), 0..5),
        past in vec(select(vec!["ict", "general", "economy.trade"]), 0..4),
        action in select(vec![Action::Publish, Action::Update, Action::Kill]),
    ) {
        let route = routed(&article(&named, &[]), action, &past).unwrap();
        prop_assert!(!route.topics.is_empty());
        prop_assert_eq!(route.topics.len(), route.reasons.len());
        prop_assert!(topics(&past).iter().all(|topic| route.topics.contains(topic)));
        let mut unique = route.topics.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), route.topics.len());
    }
}
