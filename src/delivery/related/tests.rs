//! The corpus by itself: bounds, and what is never shown. How good it is, `tests/it/related.rs`
//! judges on labelled articles.

use bytes::Bytes;
use prost::Message as _;

use super::{corpus::Corpus, profile::Profile};
use crate::{
    article::{Action, ArticleId, RequestId, Revision, Routing, Time, Urgencies, Urgency},
    cursor::Epochs,
    delivery::Entry,
    wire::{
        convert,
        proto::v1 as proto,
        record::{Record, Stored},
    },
};

fn time(seconds: i64) -> Time {
    Time::new(seconds, 0).unwrap()
}

/// An article published at so many seconds from 1970, which also are its sequence.
fn profile(seconds: u32, article: proto::Article) -> Profile {
    let article = proto::Article {
        language: "en".to_owned(),
        urgency: 5,
        ..article
    };
    let bytes: Bytes = article.encode_to_vec().into();
    let record = Record {
        article_id: ArticleId::from_uri(&format!("test:{seconds}")),
        revision: Revision::FIRST,
        action: Action::Publish,
        article: bytes,
        topics: vec!["general".parse().unwrap()],
        own_topic_count: 1,
        topic_reasons: vec!["rest".to_owned()],
        request_id: RequestId::new(uuid::Uuid::nil()),
        publisher_key_id: String::new(),
        published_at: time(seconds.into()),
        routed_at: time(seconds.into()),
        urgencies_ever: Urgencies::default().with(Urgency::DEFAULT),
        uri: String::new(),
        prior_revision_seq: 0,
        routing: Routing::Inferred,
        traceparent: String::new(),
        owner: String::new(),
        trail: None,
        draft_seq: 0,
    };
    let stored = Stored {
        seq: seconds.into(),
        time_ns: i128::from(seconds) * 1_000_000_000,
        record,
    };
    let cursor = Epochs::first("abcdefgh".parse().unwrap()).cursor(stored.seq);
    Profile::of(&Entry::new(stored, cursor).unwrap()).unwrap()
}

fn headline(text: &str) -> proto::Article {
    proto::Article {
        headline: text.to_owned(),
        ..proto::Article::default()
    }
}

/// Seconds of what is related, most first.
fn ranked(corpus: &Corpus, to: &Profile, now: i64) -> Vec<u64> {
    let found = corpus.rank(to, time(now), 10);
    found.iter().map(|found| found.seq).collect()
}

/// However many articles there are, no more are held than are allowed, and of the others nothing:
/// neither they nor their words.
#[test]
fn memory_is_bounded() {
    let mut corpus = Corpus::default();
    for seconds in 1..=500 {
        corpus.insert(
            profile(seconds, headline(&format!("only{seconds} shared"))),
            20,
        );
    }
    assert_eq!(corpus.len(), 20);
    assert_eq!(corpus.feature_count(), 21);
    for seconds in 481..=500 {
        corpus.remove(ArticleId::from_uri(&format!("test:{seconds}")));
    }
    assert!(corpus.is_empty());
    assert_eq!(corpus.feature_count(), 0);
}

/// A rare word outweighs many common ones; of equals the newer comes first; itself is not related.
#[test]
fn rare_words_count_more() {
    let mut corpus = Corpus::default();
    for seconds in 1..=50 {
        corpus.insert(
            profile(seconds, headline("minister said on tuesday in talks")),
            100,
        );
    }
    corpus.insert(profile(60, headline("dredger stranded")), 100);
    corpus.insert(profile(61, headline("another dredger")), 100);
    let asked = profile(70, headline("minister said on tuesday: dredger sails"));
    corpus.insert(asked.clone(), 100);
    let found = corpus.rank(&asked, time(100), 10);
    assert_eq!((found[0].seq, found[1].seq), (61, 60));
    assert_eq!(found[0].words, ["dredger"]);
    assert!(found.iter().all(|found| found.seq != 70));
}

/// What is not to be shown yet, or not any more, is not proposed.
#[test]
fn embargoes_and_ends_hold() {
    let mut corpus = Corpus::default();
    for filler in 1..=9 {
        corpus.insert(profile(filler, headline(&format!("filler{filler}"))), 100);
    }
    let until = |seconds| Some(convert::time_to_proto(time(seconds)));
    let embargoed = proto::Article {
        embargoed_until: until(500),
        ..headline("comet seen")
    };
    let ending = proto::Article {
        expires: until(500),
        ..headline("comet gone")
    };
    corpus.insert(profile(20, embargoed), 100);
    corpus.insert(profile(21, ending), 100);
    let asked = profile(30, headline("comet"));
    assert_eq!(ranked(&corpus, &asked, 400), [21]);
    assert_eq!(ranked(&corpus, &asked, 500), [20]);
}

/// A link counts more than any word; a translation shares no words with what it translates.
#[test]
fn links_count_most() {
    let mut corpus = Corpus::default();
    for filler in 1..=9 {
        corpus.insert(profile(filler, headline(&format!("filler{filler}"))), 100);
    }
    let link = proto::Link {
        article_id: ArticleId::from_uri("test:50").to_string(),
        relation: proto::LinkRelation::TranslationOf.into(),
        ..proto::Link::default()
    };
    let translation = proto::Article {
        links: vec![link],
        ..headline("شوهد المذنب")
    };
    corpus.insert(profile(20, translation.clone()), 100);
    corpus.insert(profile(21, headline("comet over the bay")), 100);
    corpus.insert(profile(50, headline("comet over the bay")), 100);
    let original = profile(50, headline("comet over the bay"));
    assert_eq!(ranked(&corpus, &original, 100), [20, 21]);
    // From the other side, too.
    assert_eq!(ranked(&corpus, &profile(20, translation), 100), [50]);
}

/// Arabic words are one with and without what is written together with them.
#[test]
fn arabic_forms_are_one_word() {
    let mut corpus = Corpus::default();
    for filler in 1..=9 {
        corpus.insert(profile(filler, headline(&format!("حشو{filler}"))), 100);
    }
    corpus.insert(profile(20, headline("افتتاح جسرٍ في حلب")), 100);
    let asked = profile(30, headline("والجسر يغلق أسبوعاً"));
    assert_eq!(ranked(&corpus, &asked, 100), [20]);
}
