use http::HeaderValue;

use super::*;
use crate::wire::convert::LAST_MAX;

fn check(query: &str) -> Result<Query, (String, &'static str)> {
    check_resumed(query, None)
}

fn check_resumed(query: &str, id: Option<&str>) -> Result<Query, (String, &'static str)> {
    let mut headers = HeaderMap::new();
    if let Some(id) = id {
        headers.insert(LAST_EVENT_ID, HeaderValue::from_str(id).unwrap());
    }
    Query::parse(query, &headers).map_err(|fault| {
        let field = &fault.violations[0].field;
        assert!(fault.message.starts_with(field), "{}", fault.message);
        (field.clone(), fault.reason)
    })
}

/// Each parameter says what the same part of a gRPC request says.
#[test]
fn reads() {
    let all = check("").unwrap();
    assert_eq!((all.filter, all.start), (Filter::default(), Start::Now));
    let query =
        check("topics=ict,economy.trade&topics=general&languages=ar-EG&urgency=3&q=a+b").unwrap();
    let wanted = proto::Filter {
        topics: ["ict", "economy.trade", "general"]
            .map(str::to_owned)
            .into(),
        languages: vec!["ar-EG".to_owned()],
        urgency: 3,
        words: vec!["a".to_owned(), "b".to_owned()],
    };
    assert_eq!(query.filter, convert::filter(Some(wanted)).unwrap());
    assert_eq!(check("from=earliest").unwrap().start, Start::Earliest);
    assert_eq!(check("from=last:20").unwrap().start, Start::Last(20));
    let cursor = "abcdefgh-42".parse().unwrap();
    assert_eq!(
        check("from=abcdefgh-42").unwrap().start,
        Start::After(cursor)
    );
    for time in [
        "from=2026-07-01T08:00:00%2B03:00",
        "from=2026-07-01T08:00:00+03:00",
    ] {
        assert!(
            matches!(check(time).unwrap().start, Start::Since(_)),
            "{time}"
        );
    }
    let resumed = check_resumed("from=earliest", Some("abcdefgh-42")).unwrap();
    assert_eq!(resumed.start, Start::After(cursor), "the header wins");
    let fresh = check_resumed("from=earliest", Some("")).unwrap();
    assert_eq!(fresh.start, Start::Earliest);
}

/// What can't be read names the parameter.
#[test]
fn refuses() {
    let many = format!("q={}", "word+".repeat(17));
    let last = format!("from=last:{}", LAST_MAX + 1);
    for (query, field, reason) in [
        ("topic=ict", "topic", "PARAMETER_UNKNOWN"),
        ("Topics=ict", "Topics", "PARAMETER_UNKNOWN"),
        ("topics=ict,ICT", "topics[1]", "FIELD_INVALID"),
        ("languages=e_n", "languages[0]", "FIELD_INVALID"),
        ("urgency=0", "urgency", "FIELD_INVALID"),
        ("urgency=10", "urgency", "FIELD_INVALID"),
        ("urgency=high", "urgency", "FIELD_INVALID"),
        ("urgency=1&urgency=2", "urgency", "FIELD_INVALID"),
        ("from=now&from=now", "from", "FIELD_INVALID"),
        ("from=yesterday", "from", "FIELD_INVALID"),
        ("from=", "from", "FIELD_INVALID"),
        (&last, "from", "FIELD_INVALID"),
        (&many, "q", "FIELD_INVALID"),
    ] {
        let refused = check(query).unwrap_err();
        assert_eq!(refused, (field.to_owned(), reason), "{query}");
    }
    for id in ["now", "abcdefgh-042", "x"] {
        let refused = check_resumed("", Some(id)).unwrap_err();
        assert_eq!(
            refused,
            ("Last-Event-ID".to_owned(), "CURSOR_UNREADABLE"),
            "{id}"
        );
    }
    let long = format!("q={}", "a".repeat(QUERY_BYTES_MAX));
    assert_eq!(check(&long).unwrap_err().0, "query");
}
