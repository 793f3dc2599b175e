use super::*;

const AR: &str = "دمشق وعمّان تبحثان التعاون في الاتصالات والأمن السيبراني";
const EN: &str = "Damascus and Amman agree joint team on communications";
const FSI: char = '\u{2068}';
const PDI: char = '\u{2069}';

fn view(columns: Option<usize>) -> View {
    View {
        columns,
        time: match columns {
            Some(_) => TimeForm::Relative,
            None => TimeForm::Absolute,
        },
        zone: TimeZone::UTC,
        now: "2026-07-01T20:00:00Z".parse().unwrap(),
    }
}

/// The line of a story with its colours.
fn coloured(headline: &str, action: proto::Action, urgency: u32, view: &View) -> String {
    let article = proto::Article {
        id: "0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11".into(),
        headline: headline.into(),
        language: "ar".into(),
        edition_note: "wrong\nfigure".into(),
        urgency,
        ..proto::Article::default()
    };
    let delivery = proto::Delivery {
        topics: vec!["ict.cybersecurity".into(), "economy".into()],
        action: action.into(),
        published_at: Some(prost_types::Timestamp {
            seconds: 1_782_907_200,
            nanos: 123_456_789,
        }),
        ..proto::Delivery::default()
    };
    of_delivery(&delivery, &article, view)
}

fn check(headline: &str, action: proto::Action, columns: Option<usize>) -> String {
    let line = coloured(headline, action, 3, &view(columns));
    anstream::adapter::strip_str(&line).to_string()
}

/// A pipe gets RFC 3339, every field whole, and no isolates.
#[test]
fn pipe() {
    assert_eq!(
        check(AR, proto::Action::Publish, None),
        format!(
            "2026-07-01T12:00:00.123Z  3  publish   ar  {AR}  ict.cybersecurity, economy  \
             0f3a9c1b-9d2c-4f0a-8a53-3f6f3c0e1b11"
        )
    );
    let long = "headline ".repeat(100);
    assert!(check(&long, proto::Action::Publish, None).contains(long.trim()));
    assert!(!coloured(AR, proto::Action::Kill, 1, &view(None)).contains('\x1b'));
}

/// Golden rows of terminals, wide and narrow, left to right and right to left.
#[test]
fn rows() {
    let update = proto::Action::Update;
    assert_eq!(
        check(EN, update, Some(132)),
        "  8h ago  3  update    ar     Damascus and Amman agree joint team on communications  \
         ict.cybersecurity, economy            0f3a9c1b"
    );
    assert_eq!(
        check(EN, update, Some(80)),
        "  8h ago  3  update    ar  Damascus and Amman agree join…  ict.cybersecurity +1"
    );
    assert_eq!(
        check(EN, update, Some(60)),
        "  8h ago  3  update    ar  Damascus and Amman agree joint…"
    );
    assert_eq!(
        check(EN, update, Some(40)),
        "3  update    Damascus and Amman agree…"
    );
    assert_eq!(
        check(AR, update, Some(80)),
        format!(
            "  8h ago  3  update    ar  {FSI}دمشق وعمّان تبحثان التعاون في…{PDI}   ict.cybersecurity +1"
        )
    );
    assert_eq!(
        check(AR, update, Some(60)),
        format!("  8h ago  3  update    ar  {FSI}دمشق وعمّان تبحثان التعاون في ال…{PDI}")
    );
    assert_eq!(
        check("Short", update, Some(80)),
        "  8h ago  3  update    ar  Short                           ict.cybersecurity +1"
    );
}

/// Every row is one row, whatever the script and the width, and columns stand below each other.
#[test]
fn rows_fit() {
    for headline in [
        AR,
        EN,
        "大马士革和安曼同意就通信和网络安全展开合作",
        "قالت CNN إن 120 engineers",
    ] {
        for columns in 15..200 {
            let line = check(&headline.repeat(5), proto::Action::Correct, Some(columns));
            assert!(width_of(&line) < columns, "{columns}: {line}");
            if columns >= 72 {
                let topics = line.find("ict.").unwrap();
                let before = width_of(line.split_at(topics).0);
                assert_eq!(
                    before + topics_columns(columns) + 1 + if columns >= 110 { 10 } else { 0 },
                    columns
                );
            }
        }
        for columns in 0..15 {
            check(headline, proto::Action::Correct, Some(columns));
        }
    }
}

/// Ages are short, and a clock ahead of ours is now.
#[test]
fn ages() {
    let view = view(Some(80));
    let check = |time: &str| view.time(time.parse().unwrap());
    assert_eq!(check("2026-07-01T20:00:03Z"), "now");
    assert_eq!(check("2026-07-01T19:59:57Z"), "now");
    assert_eq!(check("2026-07-01T19:59:18Z"), "42s ago");
    assert_eq!(check("2026-07-01T19:01:00Z"), "59m ago");
    assert_eq!(check("2026-06-30T20:00:01Z"), "23h ago");
    assert_eq!(check("2025-07-02T20:00:00Z"), "364d ago");
    assert_eq!(check("2023-07-01T20:00:00Z"), "3y ago");
    let absolute = View {
        time: TimeForm::Absolute,
        ..view.clone()
    };
    let check = |time: &str| absolute.time(time.parse().unwrap());
    assert_eq!(check("2026-07-01T08:09:10Z"), "08:09:10");
    assert_eq!(check("2026-06-30T08:09:10Z"), "2026-06-30 08:09");
}

/// Urgency and action have colours; a flash and a kill are loud.
#[test]
fn colours() {
    let view = view(Some(80));
    let of = |action, urgency| coloured(EN, action, urgency, &view);
    let loud = loud().to_string();
    let publish = proto::Action::Publish;
    assert!(of(publish, 1).contains(&format!("{loud}1")));
    assert!(!of(publish, 5).contains(&loud));
    assert!(of(proto::Action::Kill, 5).contains(&format!("{loud}kill")));
    let all = [1, 2, 3, 5, 6].map(|urgency| of(publish, urgency));
    for (index, line) in all.iter().enumerate() {
        assert!(all.iter().skip(index + 1).all(|other| other != line));
    }
}

/// A withdrawal shows its reason, on one line; a correction what was wrong.
#[test]
fn notices() {
    let line = check("", proto::Action::Kill, None);
    assert!(line.contains("  kill      ar  wrong figure  "), "{line}");
    let line = check("Head", proto::Action::Correct, None);
    assert!(line.contains("Head (wrong figure)"), "{line}");
}

/// What the wire says can't move the cursor, colour anything or turn the line around.
#[test]
fn hostile() {
    let line = coloured(
        "\x1b]0;pwned\x07\x1b[2J\u{202E}evil\u{2067}",
        proto::Action::Update,
        5,
        &view(None),
    );
    assert!(
        !line.contains(|char: char| char.is_control() || char == '\u{202E}' || char == '\u{2067}'),
        "{line:?}"
    );
}
