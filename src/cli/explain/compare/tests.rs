use super::*;
use crate::cli::explain::show::Mark;

const PIPE: Look = Look {
    columns: None,
    mark: Mark::Brackets,
};
const TERMINAL: Look = Look {
    columns: Some(60),
    mark: Mark::Colour,
};

fn difference(before: &[&str], after: &[&str]) -> proto::RoutingDifference {
    let topics = |topics: &[&str]| topics.iter().map(|topic| (*topic).to_owned()).collect();
    proto::RoutingDifference {
        cursor: "abcdefgh-42".into(),
        article_id: "0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11".into(),
        revision: 2,
        headline: "دمشق وعمّان تبحثان التعاون".into(),
        before: topics(before),
        after: topics(after),
    }
}

/// One line for a pipe, two for a terminal, with what is gained before what is lost.
#[test]
fn differences() {
    let changed = difference(&["general"], &["ict", "economy.trade"]);
    assert_eq!(
        of_difference(&changed, &PIPE),
        "abcdefgh-42  0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11  rev2  دمشق وعمّان تبحثان التعاون  \
         +ict +economy.trade  -general"
    );
    let shown = of_difference(&changed, &TERMINAL);
    assert!(shown.contains("\x1b[32m+ict +economy.trade\x1b[0m  \x1b[31m-general\x1b[0m"));
    assert_eq!(
        anstream::adapter::strip_str(&shown).to_string(),
        "abcdefgh-42  \u{2068}دمشق وعمّان تبحثان التعاون\u{2069}\n    +ict +economy.trade  -general"
    );
    let order = of_difference(&difference(&["a", "b"], &["b", "a"]), &PIPE);
    assert!(order.ends_with("the same topics in another order: b, a"));
}

/// The sums stand in columns.
#[test]
fn sums() {
    let change = |topic: &str, gained_count, lost_count| proto::TopicChange {
        topic: topic.into(),
        gained_count,
        lost_count,
    };
    let summary = proto::RoutingComparison {
        compared_count: 1200,
        different_count: 14,
        changes: vec![change("economy.trade", 12, 0), change("general", 0, 3)],
    };
    assert_eq!(
        of_summary(&summary, &PIPE),
        "14 of 1200 revisions would have other topics of their own\n  \
         economy.trade    +12      -\n  \
         general            -     -3"
    );
    let none = of_summary(&proto::RoutingComparison::default(), &PIPE);
    assert_eq!(
        none,
        "0 of 0 revisions would have other topics of their own"
    );
}

/// A beginning is a duration, a time or the beginning; others are told how to say it.
#[test]
fn beginnings() {
    let now: Timestamp = "2026-07-02T08:00:00Z".parse().unwrap();
    let since = |text: &str| text.parse::<Since>().unwrap().time(now);
    let yesterday = since("2026-07-01T11:00:00+03:00");
    assert!(yesterday.is_some());
    assert_eq!(since("24h"), yesterday);
    assert_eq!(since("1day"), yesterday);
    assert_eq!(since("earliest"), None);
    // Longer ago than times go.
    assert_eq!(since("500000years"), None);
    let parsed = |text: &str| text.parse::<Since>().unwrap_err();
    for text in ["", "now", "last:3", "abcdefgh-42", "yesterday"] {
        assert_eq!(parsed(text), SinceError::Unknown, "{text}");
    }
    assert!(matches!(parsed("2026-07-01"), SinceError::Time(_)));
}
