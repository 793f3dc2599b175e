//! Stored records outlive releases: their bytes are what they were, and any record comes back as it
//! went in.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    article::Action,
    wire::{
        log::group::{Context, Group},
        proto::log::v1::EraseRecord,
        record::draft::Draft,
    },
};

/// Bytes 0x00 to 0x0f, or from another start.
fn id(start: u8) -> Uuid {
    Uuid::from_bytes(std::array::from_fn(|place| {
        start + u8::try_from(place).expect("16 places")
    }))
}

fn topics_of(paths: &[&str]) -> Vec<Topic> {
    paths.iter().map(|path| path.parse().unwrap()).collect()
}

/// The first came at 293, the second, which brought `a.b` and urgency 1, at 300.
fn steps() -> Steps {
    Steps {
        earlier: vec![7],
        topics: vec![0, 1],
        urgencies: vec![1, 8],
        notices: vec![1],
        knows_notices: true,
    }
}

/// A record with every field set, and no two alike.
fn full() -> Record {
    Record {
        article_id: ArticleId::new(id(0)),
        revision: Revision::new(3).unwrap(),
        action: Action::Kill,
        article: Bytes::from_static(b"\x0a\x01x"),
        topics: topics_of(&["ict", "a.b"]),
        own_topic_count: 1,
        topic_reasons: vec!["named".into(), "inherited".into()],
        request_id: RequestId::new(id(16)),
        publisher_key_id: "anon".into(),
        published_at: Time::new(1_000, 7).unwrap(),
        routed_at: Time::new(-1, 8).unwrap(),
        urgencies_ever: Urgencies::from_bits(0b10_0010),
        uri: "a:1".into(),
        prior_revision_seq: 300,
        routing: Routing::Stated,
        traceparent: "00-1-2-01".into(),
        owner: "mena".into(),
        trail: Trail::read(&steps(), 300, 3, 2, Urgencies::from_bits(0b10_0010)),
        draft_seq: 299,
    }
}

fn answer() -> Answer {
    Answer {
        article_id: ArticleId::new(id(0)),
        outcome: Outcome::Revision(Revision::new(2).unwrap()),
        topics: topics_of(&["ict", "a.b"]),
        seq: 40,
        digest: [0xab; 32],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ID: &str = "000102030405060708090a0b0c0d0e0f";
const REQUEST: &str = "101112131415161718191a1b1c1d1e1f";

/// Each line is a field as protobuf writes it: its number and type, its length, its value. A change
/// here is a change of what logs hold: old bytes must still be read.
#[test]
fn an_article_record_is_these_bytes() {
    let golden = [
        &format!("0a10{ID}"),             // 1 article_id
        "1003",                           // 2 revision
        "1805",                           // 3 action
        "22030a0178",                     // 4 article
        "2a03696374",                     // 5 topics
        "2a03612e62",                     //
        "3001",                           // 6 own_topic_count
        "3a056e616d6564",                 // 7 topic_reasons
        "3a09696e68657269746564",         //
        &format!("4210{REQUEST}"),        // 8 request_id
        "4a04616e6f6e",                   // 9 publisher_key_id
        "520508e8071007",                 // 10 published_at
        "5a0d08ffffffffffffffffff011008", // 11 routed_at
        "6022",                           // 12 urgencies_ever
        "6a03613a31",                     // 13 uri
        "70ac02",                         // 14 prior_revision_seq
        "7802",                           // 15 routing
        "82010930302d312d322d3031",       // 16 traceparent
        "8a01046d656e61",                 // 17 owner
        "92010107",                       // 18 earlier_steps
        "9a01020001",                     // 19 topic_steps
        "a201020108",                     // 20 urgency_steps
        "a801ab02b2010101b80101",         // 21 draft_seq
    ]
    .concat();
    let record = full();
    assert_eq!(hex(&record.encode()), golden);
    assert_eq!(Record::decode(record.encode()).unwrap(), record);
}

#[test]
fn a_request_record_is_these_bytes() {
    let golden = [
        &format!("0a10{ID}"),                // 1 article_id
        "1002",                              // 2 revision
        "1a03696374",                        // 3 topics
        "1a03612e62",                        //
        &format!("2220{}", "ab".repeat(32)), // 4 request_sha256
    ]
    .concat();
    let answer = answer();
    assert_eq!(hex(&answer.encode()), golden);
    // It stands after its record and two copies.
    assert_eq!(Answer::decode(answer.encode(), 43).unwrap(), answer);
}

/// Of a draft, and of the end of one: each stands right before its answer.
#[test]
fn answers_without_a_revision_are_these_bytes() {
    let topics = "1a036963741a03612e62";
    let digest = format!("2220{}", "ab".repeat(32));
    let until = Time::new(1_000, 7).unwrap();
    for (outcome, golden) in [
        (
            Outcome::Draft(until),
            format!("0a10{ID}{topics}{digest}2a0508e8071007"),
        ),
        (Outcome::DraftErased, format!("0a10{ID}{topics}{digest}")),
    ] {
        let answer = Answer {
            outcome,
            ..answer()
        };
        assert_eq!(hex(&answer.encode()), golden);
        assert_eq!(Answer::decode(answer.encode(), 41).unwrap(), answer);
    }
}

#[test]
fn a_draft_is_these_bytes() {
    let draft = Draft {
        record: full(),
        until: Time::new(1_000, 7).unwrap(),
        digest: [0xab; 32],
    };
    let record = hex(&full().encode());
    let golden = format!(
        "0a{:02x}01{record}120508e80710071a20{}",
        (record.len() / 2) % 128 + 128,
        "ab".repeat(32)
    );
    assert_eq!(hex(&draft.encode()), golden);
    assert_eq!(Draft::decode(draft.encode()).unwrap().unwrap(), draft);
    assert!(Draft::decode(Bytes::new()).unwrap().is_none());
}

/// A draft's release is another request, the same for every node and for ever, and its group ends with
/// the draft's end.
#[test]
fn a_release_is_a_request_of_its_own() {
    let draft = Draft {
        record: full(),
        until: Time::new(1_000, 0).unwrap(),
        digest: [0; 32],
    };
    let at = Time::new(2_000, 0).unwrap();
    let record = draft.clone().released(70, at).unwrap();
    assert_eq!(record.request_id, full().request_id.of_release());
    assert_ne!(record.request_id, full().request_id);
    assert_eq!((record.draft_seq, record.published_at), (70, at));
    let context = Context {
        head_seq: 300,
        digest: [0; 32],
        urgency: Urgency::DEFAULT,
    };
    let group = Group::new(&record, &context);
    let expectations: Vec<_> = (group.messages.iter())
        .map(|message| (message.subject.split('.').nth(1).unwrap(), message.expected))
        .collect();
    let expected = [
        ("article", Some(300)),
        ("news", None),
        ("news", None),
        ("request", Some(0)),
        ("erase", None),
        ("embargo", Some(70)),
    ];
    assert_eq!(expectations, expected);
    assert!(group.messages.last().unwrap().payload.is_empty());
    assert_eq!(record.group_len(), 6);
}

#[test]
fn an_erase_record_is_these_bytes() {
    let context = Context {
        head_seq: 300,
        digest: [0; 32],
        urgency: Urgency::DEFAULT,
    };
    let record = Record {
        draft_seq: 0,
        ..full()
    };
    let group = Group::new(&record, &context);
    let mark = group.messages.last().unwrap();
    let golden = [
        &format!("0a10{ID}"), // 1 article_id
        "1002",               // 2 topic_count
    ]
    .concat();
    assert_eq!(hex(&mark.payload), golden);
    let read = EraseRecord::decode(mark.payload.clone()).unwrap();
    assert_eq!(
        (read.article_id.as_ref(), read.topic_count),
        (&id(0).as_bytes()[..], 2)
    );
}

/// A later release may add fields: an older one must read what it knows.
#[test]
fn fields_of_later_releases_are_passed_over() {
    // Field 31, a string, and field 100, a number.
    let later = b"\xfa\x01\x03new\xa0\x06\x01";
    let record = [&full().encode()[..], later].concat();
    assert_eq!(Record::decode(record.into()).unwrap(), full());
    let stored = [&answer().encode()[..], later].concat();
    assert_eq!(Answer::decode(stored.into(), 43).unwrap(), answer());
}

#[test]
fn a_record_without_meaning_is_refused_by_its_field() {
    let bad = |change: fn(&mut stored::ArticleRecord)| {
        let mut record = stored::ArticleRecord::decode(full().encode()).unwrap();
        change(&mut record);
        match Record::decode(record.encode_to_vec().into()) {
            Err(RecordError::Field(field)) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bad(|record| record.article_id = Bytes::new()), "article_id");
    assert_eq!(bad(|record| record.revision = 0), "revision");
    assert_eq!(bad(|record| record.action = 0), "action");
    assert_eq!(bad(|record| record.action = 6), "action");
    assert_eq!(bad(|record| record.topics.push(">".into())), "topics");
    assert_eq!(
        bad(|record| record.request_id = vec![0; 17].into()),
        "request_id"
    );
    assert_eq!(bad(|record| record.published_at = None), "published_at");
    assert_eq!(bad(|record| record.routed_at = None), "routed_at");
    assert!(matches!(
        Record::decode(Bytes::from_static(b"\xff")),
        Err(RecordError::Decode(_))
    ));

    assert!(matches!(
        Answer::decode(answer().encode(), 2),
        Err(RecordError::Field("topics"))
    ));
    let short = stored::RequestRecord {
        request_sha256: Bytes::from_static(&[1; 31]),
        ..stored::RequestRecord::decode(answer().encode()).unwrap()
    };
    assert!(matches!(
        Answer::decode(short.encode_to_vec().into(), 43),
        Err(RecordError::Field("request_sha256"))
    ));
}

#[test]
fn a_delivery_leaves_out_what_is_not_for_readers() {
    let delivery = full().delivery("abcdefgh-40".into()).encode_to_vec();
    let holds = |part: &[u8]| delivery.windows(part.len()).any(|window| window == part);
    assert!(holds(b"a.b") && holds(b"abcdefgh-40"));
    assert!(!holds(b"inherited") && !holds(b"anon") && !holds(id(16).as_bytes()));
    assert_eq!(full().group_len(), 6);
}

fn any_time() -> impl Strategy<Value = Time> {
    (-2_208_988_800..=253_402_300_799i64, 0..1_000_000_000i32)
        .prop_map(|(seconds, nanos)| Time::new(seconds, nanos).unwrap())
}

fn any_topics() -> impl Strategy<Value = Vec<Topic>> {
    vec("[a-z0-9-]{1,8}(\\.[a-z0-9-]{1,8}){0,7}", 0..5)
        .prop_map(|paths| paths.iter().map(|path| path.parse().unwrap()).collect())
}

fn any_action() -> impl Strategy<Value = Action> {
    select(vec![
        Action::Publish,
        Action::Update,
        Action::Correct,
        Action::Withhold,
        Action::Kill,
    ])
}

prop_compose! {
    fn any_record()(
        ids in any::<([u8; 16], [u8; 16])>(),
        revision in 1..=u32::MAX,
        action in any_action(),
        article in vec(any::<u8>(), 0..50),
        topics in any_topics(),
        (own_topic_count, topic_reasons) in (any::<u32>(), vec("\\PC{0,10}", 0..5)),
        (publisher_key_id, uri) in ("\\PC{0,10}", "\\PC{0,20}"),
        (traceparent, owner) in ("\\PC{0,5}", "\\PC{0,5}"),
        (published_at, routed_at) in (any_time(), any_time()),
        (urgencies, prior_revision_seq) in any::<(u32, u64)>(),
        routing in select(vec![Routing::Inferred, Routing::Stated]),
        earlier in vec(1..9u64, 0..4),
        draft_seq in any::<u64>(),
    ) -> Record {
        let urgencies_ever = Urgencies::from_bits(urgencies);
        let steps = Steps { earlier, ..Steps::default() };
        let trail = Trail::read(&steps, prior_revision_seq, revision, topics.len(), urgencies_ever);
        Record {
            article_id: ArticleId::new(Uuid::from_bytes(ids.0)),
            revision: Revision::new(revision).unwrap(),
            action,
            article: article.into(),
            topics,
            own_topic_count,
            topic_reasons,
            request_id: RequestId::new(Uuid::from_bytes(ids.1)),
            publisher_key_id,
            published_at,
            routed_at,
            urgencies_ever,
            uri,
            prior_revision_seq,
            routing,
            traceparent,
            owner,
            trail,
            draft_seq,
        }
    }
}

proptest! {
    #[test]
    fn any_record_comes_back_as_it_went_in(record in any_record()) {
        prop_assert_eq!(Record::decode(record.encode()).unwrap(), record);
    }

    #[test]
    fn any_answer_comes_back_as_it_went_in(
        article_id: [u8; 16],
        revision in 1..=u32::MAX,
        topics in any_topics(),
        seq in 1..u64::MAX / 2,
        digest: [u8; 32],
    ) {
        let article_id = ArticleId::new(Uuid::from_bytes(article_id));
        let outcome = Outcome::Revision(Revision::new(revision).unwrap());
        let answer_seq = seq + u64::try_from(topics.len()).unwrap() + 1;
        let answer = Answer { article_id, outcome, topics, seq, digest };
        prop_assert_eq!(Answer::decode(answer.encode(), answer_seq).unwrap(), answer);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..100)) {
        let _refused = Record::decode(bytes.clone().into());
        let _refused = Draft::decode(bytes.clone().into());
        let _refused = Answer::decode(bytes.into(), 1);
    }
}
