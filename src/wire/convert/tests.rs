//! What a publisher sends comes out as it was; what breaks a rule is refused by its field.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::cursor::Cursor;

const REQUEST_ID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

fn request(article: proto::Article) -> proto::PublishRequest {
    proto::PublishRequest {
        request_id: REQUEST_ID.to_owned(),
        expected_revision: None,
        action: proto::Action::Publish.into(),
        article: Some(article),
        routing: proto::Routing::Unspecified.into(),
    }
}

fn minimal() -> proto::Article {
    proto::Article {
        headline: "a headline".to_owned(),
        language: "en".to_owned(),
        ..proto::Article::default()
    }
}

fn refused(fault: &Fault) -> (&'static str, Vec<&str>) {
    let fields = fault.violations.iter().map(|one| one.field.as_str());
    (fault.reason, fields.collect())
}

/// Text of one line that may be shown: no controls, no bidirectional controls.
fn line(chars_max: usize) -> BoxedStrategy<String> {
    let good = |char: &char| {
        !char.is_control() && !matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let any_good = any::<char>().prop_filter("a control", good);
    vec(any_good, 0..=chars_max.min(40))
        .prop_map(String::from_iter)
        .boxed()
}

fn named(chars_max: usize) -> BoxedStrategy<String> {
    line(chars_max).prop_map(|text| format!("x{text}")).boxed()
}

fn uri() -> BoxedStrategy<String> {
    "(|https://wire\\.example/[a-zà-ü0-9/?=&]{0,20}|tag:[a-z]{1,5},2026:[a-z]{1,9})".boxed()
}

fn timestamp() -> BoxedStrategy<Option<prost_types::Timestamp>> {
    // Not after `now`: an embargo that is over is kept.
    let past = (-2_208_988_800..1_700_000_000i64, 0..1_000_000_000i32);
    let past = past.prop_map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos });
    option::of(past).boxed()
}

fn uuid() -> BoxedStrategy<String> {
    any::<[u8; 16]>()
        .prop_map(|bytes| uuid::Uuid::from_bytes(bytes).to_string())
        .boxed()
}

fn link() -> BoxedStrategy<proto::Link> {
    let target = prop_oneof![
        "https?://wire\\.example/[a-z0-9]{0,9}".prop_map(|href| (href, String::new())),
        uuid().prop_map(|id| (String::new(), id)),
    ];
    (1..=4i32, target, line(127), line(500))
        .prop_map(
            |(relation, (href, article_id), content_type, title)| proto::Link {
                relation,
                href,
                article_id,
                content_type,
                title,
            },
        )
        .boxed()
}

fn place() -> BoxedStrategy<proto::Place> {
    (named(199), uri())
        .prop_map(|(name, uri)| proto::Place { name, uri })
        .boxed()
}

/// Body and its type, as they come out: an empty text has no type.
fn body_and_type() -> BoxedStrategy<(String, i32)> {
    prop_oneof![
        Just((String::new(), 0)),
        "[a-z\\n\\t ع<&]{1,50}".prop_map(|body| (body, 1)),
        "(<p>[a-z ع]{0,20}</p>){1,3}".prop_map(|body| (body, 2)),
    ]
    .boxed()
}

prop_compose! {
    fn article()(
        (id, uri) in (uuid(), uri()),
        (headline, subheadline, slugline) in (named(499), line(500), line(200)),
        (body, body_type) in body_and_type(),
        (byline, located, source) in (line(500), line(200), line(200)),
        language in select(vec!["en", "ar-EG", "zh-Hant-TW", "de-CH-1996"]),
        topics in vec("[a-z0-9-]{1,8}(\\.[a-z0-9-]{1,8}){0,7}", 0..4),
        subjects in vec("[0-9]{8}", 0..4),
        places in vec(place(), 0..3),
        links in vec(link(), 0..3),
        urgency in 0..=9u32,
        (edition_note, usage_terms) in (line(1000), line(2000)),
        (first_created, version_created) in (timestamp(), timestamp()),
        (mut embargoed_until, mut expires) in (timestamp(), timestamp()),
    ) -> proto::Article {
        let order = |time: &prost_types::Timestamp| (time.seconds, time.nanos);
        if expires.as_ref().map(order) <= embargoed_until.as_ref().map(order) {
            // It would never be seen.
            (embargoed_until, expires) = (expires, None);
        }
        proto::Article {
            id, uri, headline, subheadline, slugline, body, body_type, byline, located, topics,
            language: language.to_owned(), subjects, places, urgency, edition_note, source,
            usage_terms, first_created, version_created, embargoed_until, expires, links,
        }
    }
}

proptest! {
    #[test]
    fn a_valid_article_comes_out_as_it_went_in(article in article()) {
        let submission = submission(request(article.clone())).unwrap();
        let out = article_to_proto(submission.article_id, submission.article);
        prop_assert_eq!(out, article);
    }

    #[test]
    fn any_request_is_read_or_refused_by_its_fields(
        action: i32,
        texts in vec("\\PC{0,20}", 12),
        (body_type, relation, urgency) in any::<(i32, i32, u32)>(),
        (seconds, nanos) in any::<(i64, i32)>(),
    ) {
        let text = |place: usize| texts[place].clone();
        let time = Some(prost_types::Timestamp { seconds, nanos });
        let article = proto::Article {
            id: text(0), uri: text(1), headline: text(2), body: text(3), body_type,
            language: text(4), topics: vec![text(5)], subjects: vec![text(6)],
            places: vec![proto::Place { name: text(7), uri: text(8) }],
            links: vec![proto::Link {
                relation, href: text(9), article_id: text(10), ..proto::Link::default()
            }],
            urgency, embargoed_until: time, expires: time,
            ..proto::Article::default()
        };
        let request = proto::PublishRequest { request_id: text(11), action, ..request(article) };
        if let Err(fault) = submission(request) {
            let has_field = !fault.violations.is_empty();
            prop_assert!(has_field || fault.kind == Kind::Unsupported, "{:?}", fault);
        }
    }

    #[test]
    fn a_digest_tells_content_from_content(one in article(), other in article()) {
        let of = |article: &proto::Article, id: &str| {
            let request = proto::PublishRequest {
                request_id: id.to_owned(),
                ..request(article.clone())
            };
            submission(request).unwrap().digest
        };
        let another_id = "00000000-0000-0000-0000-000000000000";
        prop_assert_eq!(of(&one, REQUEST_ID), of(&one, another_id));
        prop_assert_eq!(of(&one, REQUEST_ID) == of(&other, REQUEST_ID), one == other);
    }

    #[test]
    fn a_time_comes_back_within_its_bounds(seconds: i64, nanos: i32) {
        let given = prost_types::Timestamp { seconds, nanos };
        match time(Some(&given)) {
            Some(time) => prop_assert_eq!(time_to_proto(time), given),
            None => prop_assert!(
                !(-2_208_988_800..=253_402_300_799).contains(&seconds)
                    || !(0..1_000_000_000).contains(&nanos)
            ),
        }
    }
}

#[test]
fn actions_come_back() {
    for action in [
        Action::Publish,
        Action::Update,
        Action::Correct,
        Action::Withhold,
        Action::Kill,
    ] {
        assert_eq!(
            action_from_proto(action_to_proto(action).into()),
            Some(action)
        );
    }
    assert_eq!([0, 6, -1].map(action_from_proto), [None; 3]);
}

#[test]
fn what_is_left_out_has_its_meaning() {
    let read = |article| submission(request(article)).unwrap();
    let submission = read(minimal());
    assert_eq!(submission.article.urgency, None);
    assert_eq!(submission.expected_revision, None);
    let request_id = REQUEST_ID.parse().unwrap();
    assert_eq!(submission.article_id, ArticleId::from_request(request_id));
    let unspecified = proto::PublishRequest {
        action: 0,
        ..request(minimal())
    };
    let submission = super::submission(unspecified).unwrap();
    assert_eq!(submission.action, Action::Publish);
    let prefixed = proto::Article {
        subjects: vec!["medtop:04000000".into()],
        ..minimal()
    };
    assert_eq!(read(prefixed).article.subjects, ["04000000"]);
    let urn = proto::Article {
        uri: format!("urn:uuid:{REQUEST_ID}"),
        ..minimal()
    };
    let submission = read(urn);
    assert_eq!(submission.article_id.to_string(), REQUEST_ID);
    assert_eq!(submission.article.uri, "");
}

#[test]
fn every_bad_field_is_named_at_once() {
    let article = proto::Article {
        id: "x".into(),
        uri: "x".into(),
        urgency: 10,
        topics: vec!["ict".into(), ">".into()],
        ..proto::Article::default()
    };
    let request = proto::PublishRequest {
        request_id: "x".into(),
        ..request(article)
    };
    let fault = submission(request).unwrap_err();
    let mut fields = refused(&fault).1;
    fields.sort_unstable();
    let expected = [
        "article.headline",
        "article.id",
        "article.topics[1]",
        "article.urgency",
        "article.uri",
        "request_id",
    ];
    assert_eq!(
        (refused(&fault).0, fields),
        ("FIELD_INVALID", expected.to_vec())
    );
}

#[test]
fn html_is_judged_before_and_after_it_is_sanitised() {
    let html = |body: String| {
        let body_type = proto::BodyType::Html.into();
        let article = proto::Article {
            body,
            body_type,
            ..minimal()
        };
        submission(request(article)).map(|one| one.article.body)
    };
    assert_eq!(
        html("<p>a</p><script>b</script>".into()).unwrap(),
        "<p>a</p>"
    );
    assert_eq!(html("&".repeat(1000)).unwrap(), "&amp;".repeat(1000));
    assert!(html("<p>".repeat(crate::article::HTML_ELEMENTS_MAX)).is_ok());
    let refusals = [
        "a&#x202E;b".to_owned(),
        "a\u{202e}b".to_owned(),
        "<p>".repeat(crate::article::HTML_ELEMENTS_MAX + 1),
        "&".repeat(crate::article::HTML_REFERENCES_MAX + 1),
        ">".repeat(crate::article::BODY_BYTES_MAX / 4 + 1),
    ];
    for body in refusals {
        let fault = html(body).unwrap_err();
        assert_eq!(refused(&fault), ("FIELD_INVALID", vec!["article.body"]));
    }
}

#[test]
fn an_answer_names_no_more_mistakes_than_clients_take() {
    let links = vec![
        proto::Link {
            title: "\u{202e}".repeat(600),
            ..proto::Link::default()
        };
        64
    ];
    let fault = submission(request(proto::Article { links, ..minimal() })).unwrap_err();
    let bytes: usize = fault
        .violations
        .iter()
        .map(|one| one.field.len() + one.wrong.to_string().len())
        .sum();
    assert!((1..=3 * 1024).contains(&bytes), "{bytes}");
}

#[test]
fn a_filter_is_read_in_one_form() {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let read = filter(Some(proto::Filter {
        topics: strings(&["ict", "economy", "ict"]),
        languages: strings(&["AR-eg", "ar-EG", "*"]),
        urgency: 4,
        words: strings(&["Fibre", "FIBRE", "e-learning", "مِيناء"]),
    }));
    let read = read.unwrap();
    assert_eq!(
        read.topics.iter().map(Topic::as_str).collect::<Vec<_>>(),
        ["economy", "ict"]
    );
    assert_eq!(read.languages.len(), 2);
    assert_eq!(read.urgency, Urgency::new(4));
    let words: Vec<&str> = read.words.iter().map(String::as_str).collect();
    assert_eq!(words, ["e", "fibre", "learning", "ميناء"]);
    assert_eq!(filter(None).unwrap(), Filter::default());
    assert_eq!(
        filter(Some(proto::Filter::default())).unwrap(),
        Filter::default()
    );

    let fault = filter(Some(proto::Filter {
        topics: strings(&["ict", "*"]),
        languages: strings(&["en_GB"]),
        urgency: 10,
        words: strings(&["!"]),
    }));
    let fault = fault.unwrap_err();
    let fields = [
        "filter.topics[1]",
        "filter.languages[0]",
        "filter.urgency",
        "filter.words[0]",
    ];
    assert_eq!(refused(&fault), ("FIELD_INVALID", fields.to_vec()));
}

#[test]
fn starts_are_read_or_refused() {
    use proto::start::From;
    let read = |from| start(Some(proto::Start { from: Some(from) }));
    let timestamp = |seconds, nanos| From::Since(prost_types::Timestamp { seconds, nanos });
    let cursor: Cursor = "abcdefgh-42".parse().unwrap();
    assert_eq!(start(None), Ok(Start::Now));
    assert_eq!(start(Some(proto::Start { from: None })), Ok(Start::Now));
    assert_eq!(read(From::Now(())), Ok(Start::Now));
    assert_eq!(read(From::Earliest(())), Ok(Start::Earliest));
    assert_eq!(
        read(From::After("abcdefgh-42".into())),
        Ok(Start::After(cursor))
    );
    assert_eq!(
        read(timestamp(-5, 6)),
        Ok(Start::Since(Time::new(-5, 6).unwrap()))
    );
    for count in [1, LAST_MAX] {
        assert_eq!(read(From::Last(count)), Ok(Start::Last(count)));
    }
    for (from, reason, field) in [
        (
            From::After(String::new()),
            "CURSOR_UNREADABLE",
            "start.after",
        ),
        (
            From::After("abcdefgh-042".into()),
            "CURSOR_UNREADABLE",
            "start.after",
        ),
        (
            timestamp(253_402_300_800, 0),
            "FIELD_INVALID",
            "start.since",
        ),
        (timestamp(0, -1), "FIELD_INVALID", "start.since"),
        (From::Last(0), "FIELD_INVALID", "start.last"),
        (From::Last(LAST_MAX + 1), "FIELD_INVALID", "start.last"),
    ] {
        assert_eq!(refused(&read(from).unwrap_err()), (reason, vec![field]));
    }
}
