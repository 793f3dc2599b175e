use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::article::ArticleId;

fn check(text: &str) -> Parsed {
    parse(text).unwrap()
}

fn delivery(article: &proto::Article, action: proto::Action) -> proto::Delivery {
    proto::Delivery {
        cursor: "abcdefgh-7".to_owned(),
        topics: vec!["ict.cybersecurity".to_owned(), "economy".to_owned()],
        action: action.into(),
        revision: 2,
        article: Bytes::from(article.encode_to_vec()),
        published_at: Some(prost_types::Timestamp {
            seconds: 1_800_000_000,
            nanos: 0,
        }),
        routed_at: None,
        traceparent: String::new(),
    }
}

const FULL: &str = r#"{
  "uri": "tag:wire.example,2026:dip/1", "type": "text", "version": "4", "pubStatus": "usable",
  "urgency": 3, "language": "ar",
  "firstCreated": "2026-07-01T10:00:00+03:00", "versionCreated": "2026-07-01T10:05:00.5Z",
  "expires": "2027-01-01T00:00:00Z",
  "headlines": [{"role": "main", "value": "دمشق"}, {"role": "subheadline", "value": "خط"}],
  "slugline": "S", "by": "B", "located": "دمشق", "edNote": "E", "usageTerms": "U",
  "bodies": [{"role": "main", "contentType": "text/html; charset=utf-8", "value": "<p>x</p>"}],
  "subjects": [
    {"rel": "topic", "literal": "diplomacy.bilateral"},
    {"uri": "http://cv.iptc.org/newscodes/mediatopic/11000000", "name": "politics"},
    {"literal": "medtop:04000000"}],
  "places": [{"name": "دمشق", "uri": "https://place.example/1"}],
  "infoSources": [{"name": "Wire"}],
  "renditions": [
    {"name": "canonical", "href": "https://wire.example/1"},
    {"name": "thumb", "href": "https://wire.example/1.jpg", "contentType": "image/jpeg",
     "title": "T"}],
  "associations": [
    {"name": "related-1", "uri": "urn:uuid:5f6c7c1e-9d2c-4f0a-8a53-3f6f3c0e1b11"},
    {"name": "translationOf", "uri": "https://wire.example/2", "title": "Original"}]
}"#;

/// Every property that Barid carries arrives in its field, without a warning.
#[test]
fn reads_each_property() {
    let parsed = check(FULL);
    let article = &parsed.article;
    assert_eq!(parsed.warnings, Vec::<String>::new());
    assert_eq!(article.uri, "tag:wire.example,2026:dip/1");
    assert_eq!(article.id, "");
    assert_eq!((&*article.headline, &*article.subheadline), ("دمشق", "خط"));
    assert_eq!(article.body, "<p>x</p>");
    assert_eq!(article.body_type(), proto::BodyType::Html);
    assert_eq!(article.topics, ["diplomacy.bilateral"]);
    assert_eq!(article.subjects, ["11000000", "04000000"]);
    assert_eq!(article.source, "Wire");
    assert_eq!(article.urgency, 3);
    assert_eq!(article.first_created.unwrap().seconds, 1_782_889_200);
    assert_eq!(article.version_created.unwrap().nanos, 500_000_000);
    let relations: Vec<_> = article.links.iter().map(proto::Link::relation).collect();
    assert_eq!(
        relations,
        [
            proto::LinkRelation::Canonical,
            proto::LinkRelation::Rendition,
            proto::LinkRelation::Related,
            proto::LinkRelation::TranslationOf
        ]
    );
    assert_eq!(
        article.links[2].article_id,
        "5f6c7c1e-9d2c-4f0a-8a53-3f6f3c0e1b11"
    );
    assert_eq!(article.links[3].href, "https://wire.example/2");
}

/// What Barid writes it reads again as the same article, and finds nothing to warn of.
#[test]
fn there_and_back() {
    let mut article = check(FULL).article;
    article.id = "5f6c7c1e-9d2c-4f0a-8a53-3f6f3c0e1b12".to_owned();
    let ninjs = Ninjs::from_delivery(&delivery(&article, proto::Action::Correct)).unwrap();
    let text = serde_json::to_string(&ninjs).unwrap();
    let parsed = check(&text);
    assert_eq!(parsed.warnings, Vec::<String>::new());
    article.topics = vec!["ict.cybersecurity".to_owned(), "economy".to_owned()];
    assert_eq!(parsed.article, article);
    assert_eq!(parsed.pub_status, PubStatus::Usable);
    assert!(text.contains(r#""version":"2""#));
    assert!(text.contains(r#"{"role":"barid:cursor","value":"abcdefgh-7"}"#));
}

/// A kill is `canceled` and shows no empty texts; without a uri the id stands for it, both ways.
#[test]
fn notice_without_uri() {
    let id = "5f6c7c1e-9d2c-4f0a-8a53-3f6f3c0e1b12";
    let notice = proto::Article {
        id: id.to_owned(),
        language: "en".to_owned(),
        edition_note: "wrong".to_owned(),
        ..proto::Article::default()
    };
    let ninjs = Ninjs::from_delivery(&delivery(&notice, proto::Action::Kill)).unwrap();
    assert_eq!(ninjs.pub_status, PubStatus::Canceled);
    assert_eq!(ninjs.uri, format!("urn:uuid:{id}"));
    let text = serde_json::to_string(&ninjs).unwrap();
    assert!(!text.contains("headlines") && !text.contains("bodies"));
    let article = check(&text).article;
    assert_eq!((article.id, article.uri), (id.to_owned(), String::new()));
}

/// A typo, a property without a field, and a foreign subject are each named.
#[test]
fn names_what_is_left_out() {
    let parsed = check(
        r#"{"uri": "tag:a,2026:1", "headlnes": [], "genres": [{"name": "x"}],
            "subjects": [{"name": "chess", "relevance": 3}]}"#,
    );
    assert_eq!(parsed.warnings.len(), 3, "{:?}", parsed.warnings);
    assert!(parsed.warnings[0].contains("headlnes (is headlines meant?)"));
    assert!(parsed.warnings[1].contains("genres, subjects[0].relevance"));
    assert!(parsed.warnings[2].contains("chess"));
}

/// Errors name line, column and field.
#[test]
fn errors_name_the_place() {
    let wrong_type = parse("{\"uri\": \"a\",\n \"headlines\": [{\"value\": 3}]}").unwrap_err();
    assert_eq!(
        (wrong_type.line, &*wrong_type.field),
        (2, "headlines[0].value")
    );
    assert!(wrong_type.column > 0);
    let broken = parse("{\"uri\": \"a\",\n,}").unwrap_err();
    assert_eq!(broken.line, 2);
    let body = parse(r#"{"bodies": [{"contentType": "application/nitf+xml", "value": "x"}]}"#);
    assert_eq!(body.unwrap_err().field, "bodies[0].contentType");
    let time = parse(r#"{"expires": "tomorrow"}"#).unwrap_err();
    assert_eq!(time.field, "expires");
    let two = parse("{} {}").unwrap_err();
    assert_eq!((two.line, &*two.field), (1, ""));
}

/// Protobuf counts nanoseconds up, also before 1970.
#[test]
fn old_times() {
    let time: Timestamp = "1969-12-31T23:59:59.25Z".parse().unwrap();
    let stamp = time_to_proto(time);
    assert_eq!((stamp.seconds, stamp.nanos), (-1, 250_000_000));
    assert_eq!(time_from_proto(Some(&stamp)), Some(time));
}

/// Sentences about an article name what its author has written.
#[test]
fn names_of_ninjs() {
    for (text, expected) in [
        ("article.edition_note: is empty", "edNote: is empty"),
        (
            "article.topics[0]: oil is not in the taxonomy",
            "subjects with rel \"topic\": oil is not in the taxonomy",
        ),
        (
            "name ict in article.topics, or say it in article.headline.",
            "name ict in subjects with rel \"topic\", or say it in headlines[0].value.",
        ),
        (
            "article.places[1].name: is empty",
            "places[1].name: is empty",
        ),
        (
            "article.colour and the article.",
            "article.colour and the article.",
        ),
        ("https://the-article.uri", "https://the-article.uri"),
        ("the particle.uri", "the particle.uri"),
    ] {
        assert_eq!(names::in_ninjs(text), expected);
    }
}

/// What Barid takes as an identifier becomes a URI; the article keeps its own, there and back.
#[test]
fn identifiers_become_uris() {
    for (own, expected) in [
        ("test:one", "test:one"),
        (
            "https://a.example/%D8%AE?q=1#x",
            "https://a.example/%D8%AE?q=1#x",
        ),
        ("https://a.example/خ", "https://a.example/%D8%AE"),
        ("https://أخبار.example/", "https://xn--igbicxr.example/"),
        ("urn:x:أ|b", "urn:x:%D8%A3%7Cb"),
        (
            "https://a.example/[1]?a[]=50%",
            "https://a.example/%5B1%5D?a%5B%5D=50%25",
        ),
        ("a:b#c#d", "a:b%23c%23d"),
    ] {
        let article = proto::Article {
            uri: own.to_owned(),
            id: ArticleId::from_uri(own).to_string(),
            ..proto::Article::default()
        };
        let ninjs = Ninjs::from_delivery(&delivery(&article, proto::Action::Publish)).unwrap();
        assert_eq!(ninjs.uri, expected);
        let parsed = check(&serde_json::to_string(&ninjs).unwrap());
        assert_eq!(parsed.warnings, Vec::<String>::new());
        assert_eq!(
            (parsed.article.uri, parsed.article.id),
            (own.to_owned(), article.id)
        );
    }
}

proptest::proptest! {
    /// Whatever the check of an article takes as a URI.
    #[test]
    fn every_identifier_becomes_a_uri(text in "[a-z]{1,3}:[\\PC]{0,20}") {
        if url::Url::parse(&text).is_ok() {
            let uri = uri::as_uri(text);
            proptest::prop_assert!(iri_string::types::UriStr::new(&uri).is_ok(), "{uri}");
            proptest::prop_assert_eq!(uri::as_uri(uri.clone()), uri);
        }
    }
}

/// A time that is none is told as one, whatever the library finds in it; null is none.
#[test]
fn times_are_told_apart() {
    for text in ["9999-12-31T23:59:59Z", "2027-01-01", "tomorrow", ""] {
        let ninjs = serde_json::json!({"uri": "test:a", "expires": text}).to_string();
        let error = parse(&ninjs).unwrap_err();
        assert_eq!(error.field, "expires");
        assert!(
            error.message.contains("write it as 2026-12-24T18:00:00Z")
                && error.message.contains(text),
            "{}",
            error.message
        );
    }
    let ninjs = r#"{"uri": "test:a", "expires": null}"#;
    assert_eq!(check(ninjs).article.expires, None);
}
