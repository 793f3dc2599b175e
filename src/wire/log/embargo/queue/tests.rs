use super::*;
use crate::{
    article::{RequestId, Revision, Routing, Urgencies},
    wire::proto::v1 as proto,
};

fn record(number: u128, owner: &str, base_seq: u64) -> Record {
    let id = ArticleId::new(uuid::Uuid::from_u128(number));
    let article = proto::Article {
        headline: "a secret".to_owned(),
        language: "en".to_owned(),
        urgency: 5,
        ..proto::Article::default()
    };
    let now = Time::new(1_000, 0).unwrap();
    Record {
        article_id: id,
        revision: Revision::FIRST,
        action: Action::Update,
        article: prost::Message::encode_to_vec(&article).into(),
        topics: vec![],
        own_topic_count: 0,
        topic_reasons: vec![],
        request_id: RequestId::new(uuid::Uuid::from_u128(number)),
        publisher_key_id: "anon".to_owned(),
        published_at: now,
        routed_at: now,
        urgencies_ever: Urgencies::default(),
        uri: String::new(),
        prior_revision_seq: base_seq,
        routing: Routing::Inferred,
        owner: owner.to_owned(),
        traceparent: String::new(),
        trail: None,
        draft_seq: 0,
    }
}

fn card(number: u128, owner: &str, seq: u64, until: i64) -> Card {
    let draft = Draft {
        record: record(number, owner, 5),
        until: Time::new(until, 0).unwrap(),
        digest: [0; 32],
    };
    Card::new(&draft, seq).unwrap()
}

fn seqs(queue: &Queue) -> Vec<u64> {
    queue
        .after(None, usize::MAX)
        .iter()
        .map(|card| card.seq)
        .collect()
}

fn stored(number: u128, seq: u64, action: Action, draft_seq: u64) -> Stored {
    let record = Record {
        action,
        draft_seq,
        ..record(number, "", 5)
    };
    Stored {
        seq,
        time_ns: 0,
        record,
    }
}

/// Whatever comes in whatever order: only the newest counts, and ends are remembered.
#[test]
fn the_newest_counts() {
    let queue = Queue::default();
    queue.hold(card(1, "", 10, 200));
    queue.hold(card(2, "", 11, 100));
    assert_eq!(seqs(&queue), [11, 10]);
    queue.hold(card(1, "", 12, 50));
    queue.hold(card(1, "", 10, 200));
    assert_eq!(seqs(&queue), [12, 11]);
    queue.end(card(1, "", 0, 0).article_id(), 13);
    queue.hold(card(1, "", 12, 50));
    assert_eq!(seqs(&queue), [11]);
    // A whole load knows nothing of what came after it.
    queue.hold(card(3, "", 20, 300));
    queue.replace(vec![card(4, "", 14, 400)], 15);
    assert_eq!(seqs(&queue), [20, 14]);
    queue.truncate(15);
    assert_eq!(seqs(&queue), [14]);
    assert!(!format!("{queue:?}").contains("secret"));
    // What is not listed any more was erased, and what is not known came from another node.
    let id = |number| card(number, "", 0, 0).article_id();
    queue.hold(card(5, "", 30, 500));
    let listed = HashSet::from([id(6)]);
    assert_eq!(queue.compare(&listed, 20), [id(6)]);
    assert_eq!(seqs(&queue), [30]);
}

/// A later revision of its article blocks a draft, a kill dooms it, its own release ends it; an earlier
/// one says nothing.
#[test]
fn an_articles_revisions_judge_its_draft() {
    let id = card(1, "", 0, 0).article_id();
    let state = |queue: &Queue| queue.card(id).map(|card| card.state);
    for (at, action, draft_seq, expected) in [
        (5, Action::Update, 0, Some(State::Scheduled)),
        (6, Action::Update, 0, Some(State::Blocked)),
        (6, Action::Withhold, 0, Some(State::Blocked)),
        (6, Action::Kill, 0, Some(State::Doomed)),
        (30, Action::Update, 10, None),
        (30, Action::Kill, 10, None),
    ] {
        let queue = Queue::default();
        queue.hold(card(1, "", 10, 200));
        queue.judge(&stored(1, at, action, draft_seq));
        queue.judge(&stored(2, 99, Action::Kill, 0));
        assert_eq!(state(&queue), expected, "{action:?} at {at}");
        let is_due = |until: Time| until.seconds() <= 200;
        let scheduled = usize::from(expected == Some(State::Scheduled));
        assert_eq!(queue.scheduled_while(is_due).len(), scheduled);
        assert_eq!(queue.next(|_| false).is_some(), scheduled == 1);
    }
}

/// A draft that is moved stays blocked by what blocked it, until it is handed in again on that.
#[test]
fn a_moved_draft_is_blocked_by_what_came_before() {
    let queue = Queue::default();
    queue.hold(card(1, "", 10, 200));
    queue.judge(&stored(1, 6, Action::Update, 0));
    let state = |card: Card| {
        let id = card.article_id();
        queue.hold(card);
        queue.card(id).unwrap().state
    };
    assert_eq!(state(card(1, "", 11, 300)), State::Blocked);
    let mut again = card(1, "", 12, 300);
    again.record.prior_revision_seq = 6;
    assert_eq!(state(again), State::Scheduled);
}

#[test]
fn drafts_have_bounds() {
    let queue = Queue::default();
    let other = card(1_000_000, "", 0, 0).article_id();
    let refused = |id, owner: &str, bytes| {
        queue.room(id, owner, bytes).is_err_and(|fault| {
            fault.kind == Kind::Exhausted && fault.reason == "EMBARGOES_TOO_MANY"
        })
    };
    assert!(refused(other, "a", BYTES_MAX + 1));
    let held = |number: usize, owner: &str| {
        let number = u64::try_from(number).unwrap();
        queue.hold(card(number.into(), owner, number + 1, 100));
    };
    (0..PARTNER_DRAFTS_MAX).for_each(|number| held(number, "a"));
    assert!(refused(other, "a", 1) && !refused(other, "b", 1));
    let own = card(7, "a", 0, 0).article_id();
    assert!(!refused(own, "a", 1), "it takes the place of another");
    (PARTNER_DRAFTS_MAX..DRAFTS_MAX).for_each(|number| held(number, &number.to_string()));
    assert!(refused(other, "b", 1));
    queue.end(own, 1_000_000);
    assert!(!refused(other, "b", 1));
}
