use super::*;

fn view(columns: Option<usize>) -> View {
    View {
        columns,
        zone: TimeZone::UTC,
        now: "2026-07-01T20:00:00Z".parse().unwrap(),
    }
}

/// The line of a story, without its colours.
fn check(headline: &str, action: proto::Action, columns: Option<usize>) -> String {
    let article = proto::Article {
        id: "0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11".into(),
        headline: headline.into(),
        language: "ar".into(),
        edition_note: "wrong\nfigure".into(),
        urgency: 3,
        ..proto::Article::default()
    };
    let delivery = proto::Delivery {
        topics: vec!["ict.cybersecurity".into(), "economy".into()],
        action: action.into(),
        published_at: Some(prost_types::Timestamp {
            seconds: 1_782_907_200,
            nanos: 0,
        }),
        ..proto::Delivery::default()
    };
    let line = of_delivery(&delivery, &article, &view(columns));
    anstream::adapter::strip_str(&line).to_string()
}

/// A pipe gets the whole headline, the date, and no isolates.
#[test]
fn pipe() {
    let headline = "دمشق وعمّان تبحثان التعاون ".repeat(10);
    let line = check(&headline, proto::Action::Publish, None);
    let start = "2026-07-01 12:00:00  3  publish   ar  دمشق";
    assert!(line.starts_with(start), "{line}");
    assert!(line.contains(headline.trim()));
    assert!(
        line.ends_with("ict.cybersecurity, economy  0f3a9c1b"),
        "{line}"
    );
    assert!(!line.contains(ISOLATE.0));
}

/// A terminal gets one row, whatever the script, with right-to-left text isolated.
#[test]
fn terminal() {
    for headline in [
        "دمشق وعمّان تبحثان التعاون ",
        "Damascus and Amman ",
        "大马士革和安曼",
    ] {
        for columns in [70, 80, 120, 200] {
            let line = check(&headline.repeat(10), proto::Action::Update, Some(columns));
            assert!(line.width() < columns, "{columns}: {line}");
            assert!(line.contains('…'), "{line}");
            assert_eq!(line.contains(ISOLATE.0), headline.starts_with('د'));
        }
    }
    let short = check("Short", proto::Action::Publish, Some(100));
    assert_eq!(
        short,
        "12:00:00  3  publish   ar  Short  ict.cybersecurity, economy  0f3a9c1b"
    );
}

/// A narrow window cuts and does not panic.
#[test]
fn narrow() {
    for columns in 1..60 {
        check("دمشق وعمّان تبحثان", proto::Action::Publish, Some(columns));
    }
}

/// A withdrawal shows its reason, on one line.
#[test]
fn notices() {
    let line = check("", proto::Action::Kill, None);
    assert!(line.contains("  kill      ar  wrong figure  "), "{line}");
    let line = check("Head", proto::Action::Correct, None);
    assert!(line.contains("Head (wrong figure)"), "{line}");
}
