use proptest::{collection::vec, prelude::*};
use prost::Message as _;
use uuid::Uuid;

use super::*;
use crate::{
    article::{Action, ArticleId, RequestId, Revision, Routing, Time, Urgencies, Urgency},
    cursor::{Cursor, Epoch},
    delivery::group::{Groups, Wanted},
    filter::Filter,
    wire::{
        proto::v1 as proto,
        record::{Record, Stored},
    },
};

/// What a test varies of an entry.
#[derive(Clone, Debug)]
struct Sample {
    article: u8,
    topic: &'static str,
    body_len: usize,
}

fn sample() -> impl Strategy<Value = Sample> {
    let topic = prop::sample::select(vec!["ict", "ict.telecom", "economy.trade"]);
    (0..6_u8, topic, 0..4000_usize).prop_map(|(article, topic, body_len)| Sample {
        article,
        topic,
        body_len,
    })
}

fn id(article: u8) -> ArticleId {
    ArticleId::from_uri(&format!("test:{article}"))
}

fn entry(seq: u64, sample: &Sample) -> Arc<Entry> {
    let article = proto::Article {
        headline: format!("secret of {} at {seq}", sample.article),
        body: "x".repeat(sample.body_len),
        language: "en".to_owned(),
        urgency: 5,
        ..proto::Article::default()
    };
    let now = Time::new(1_800_000_000, 0).unwrap();
    let record = Record {
        article_id: id(sample.article),
        revision: Revision::FIRST,
        action: Action::Publish,
        article: article.encode_to_vec().into(),
        topics: vec![sample.topic.parse().unwrap()],
        own_topic_count: 1,
        topic_reasons: vec!["named".to_owned()],
        request_id: RequestId::new(Uuid::nil()),
        publisher_key_id: String::new(),
        published_at: now,
        routed_at: now,
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
        seq,
        time_ns: 0,
        record,
    };
    let cursor = Cursor {
        epoch: Epoch::from_bits(0),
        seq,
    };
    Arc::new(Entry::new(stored, cursor).unwrap())
}

/// The chunks of entries at every third sequence, as a log has them.
fn chunks(samples: &[Sample]) -> Vec<Chunk> {
    let mut chunks = vec![Chunk::new(0)];
    for (seq, sample) in (1..).step_by(3).zip(samples) {
        let entry = entry(seq, sample);
        if !chunks.last().unwrap().has_room(&entry) {
            chunks.push(Chunk::new(u64::try_from(chunks.len()).unwrap()));
        }
        chunks.last_mut().unwrap().push(entry);
    }
    chunks
}

/// Reads on from a sequence as a subscriber does; the frames, and where it ended.
fn read(chunks: &[Chunk], mut ask: Ask<'_>, killed: &Killed) -> (Vec<u8>, u64, u64) {
    let (mut bytes, mut count) = (Vec::new(), 0);
    for chunk in chunks {
        loop {
            match chunk.find(&ask, killed) {
                Found::Run(run) => {
                    assert!(run.last_seq > ask.after, "no progress");
                    bytes.extend_from_slice(&run.bytes);
                    count += run.count;
                    ask.after = run.last_seq;
                }
                Found::Past(seq) => {
                    ask.after = ask.after.max(seq);
                    if seq >= chunk.last_seq().min(ask.up_to.saturating_sub(2)) {
                        break;
                    }
                }
                Found::Bound => return (bytes, count, ask.after),
                Found::Asks(entry) => panic!("nobody has another filter: {entry:?}"),
            }
        }
    }
    (bytes, count, ask.after)
}

proptest! {
    /// Whatever is asked for, chunks give exactly the frames of what a naive look would choose:
    /// after the place, up to the bound, wanted by the filter, and not killed; also when kills come
    /// between two reads, and however often the same is asked.
    #[test]
    fn chunks_give_what_a_naive_look_chooses(
        samples in vec(sample(), 1..150),
        asks in vec((0..450_u64, 0..450_u64, 0..3_usize, 0..2_usize), 1..12),
        kills in vec((0..12_usize, 0..6_u8), 0..4),
    ) {
        let chunks = chunks(&samples);
        let entries: Vec<_> = chunks.iter().flat_map(|chunk| chunk.entries()).cloned().collect();
        prop_assert_eq!(entries.len(), samples.len());
        let (killed, groups) = (Killed::default(), Groups::default());
        let filters = ["", "ict", "economy"].map(|topic| Filter {
            topics: topic.parse().into_iter().collect(),
            ..Filter::default()
        });
        for (number, (after, up_to, filter, protocol)) in asks.into_iter().enumerate() {
            for (_, article) in kills.iter().filter(|(when, _)| *when == number) {
                killed.insert(id(*article), 10_000);
            }
            let filter = &filters[filter];
            let group = groups.of(&Wanted::by(filter.clone()));
            let ask = Ask { after, up_to, group: &group, protocol: Protocol::ALL[protocol] };
            let (bytes, count, _) = read(&chunks, ask, &killed);
            let chosen = entries.iter().filter(|entry| {
                entry.seq() > after
                    && entry.seq() <= up_to
                    && entry.matches(filter)
                    && !killed.covers(entry.article_id(), entry.seq())
            });
            let chosen: Vec<_> = chosen.map(|entry| entry.frame(ask.protocol)).collect();
            prop_assert_eq!(count, u64::try_from(chosen.len()).unwrap());
            prop_assert_eq!(bytes, chosen.concat_all());
        }
    }
}

trait ConcatAll {
    fn concat_all(&self) -> Vec<u8>;
}

impl ConcatAll for Vec<&Bytes> {
    fn concat_all(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|bytes| bytes.iter().copied())
            .collect()
    }
}

/// All readers that are behind by the same part get one buffer, not copies of it; and so do those
/// with filters that want all of it.
#[test]
fn readers_share_one_buffer() {
    let sample = Sample {
        article: 1,
        topic: "ict",
        body_len: 100,
    };
    let chunks = chunks(&vec![sample; 10]);
    let (killed, groups) = (Killed::default(), Groups::default());
    let ict = Filter {
        topics: "ict".parse().into_iter().collect(),
        ..Filter::default()
    };
    let run = |filter: &Filter, after| {
        let group = groups.of(&Wanted::by(filter.clone()));
        let ask = Ask {
            after,
            up_to: u64::MAX,
            group: &group,
            protocol: Protocol::Grpc,
        };
        match chunks[0].find(&ask, &killed) {
            Found::Run(run) => run,
            other => panic!("{other:?}"),
        }
    };
    let (one, other) = (run(&Filter::default(), 0), run(&ict, 0));
    assert_eq!((one.count, one.bytes.as_ptr()), (10, other.bytes.as_ptr()));
    let later = run(&Filter::default(), 13);
    assert_eq!(later.count, 5);
    let end = |run: &Run| run.bytes.as_ptr() as usize + run.bytes.len();
    assert_eq!(end(&later), end(&one), "a part of the same buffer");
}

/// A loss takes entries away; what comes after it is judged anew and sent whole.
#[test]
fn a_loss_is_forgotten() {
    let sample = |topic, article| Sample {
        article,
        topic,
        body_len: 10,
    };
    let mut chunk = chunks(&vec![sample("economy.trade", 1); 5]).remove(0);
    let (killed, groups) = (Killed::default(), Groups::default());
    let ict = Filter {
        topics: "ict".parse().into_iter().collect(),
        ..Filter::default()
    };
    let group = groups.of(&Wanted::by(ict.clone()));
    let ask = Ask {
        after: 0,
        up_to: u64::MAX,
        group: &group,
        protocol: Protocol::Grpc,
    };
    assert!(matches!(chunk.find(&ask, &killed), Found::Past(13)));
    chunk.truncate(6, 77);
    for seq in [7, 10, 13] {
        chunk.push(entry(seq, &sample("ict", 2)));
    }
    match chunk.find(&ask, &killed) {
        Found::Run(run) => assert_eq!((run.count, run.last_seq), (3, 13)),
        other => panic!("{other:?}"),
    }
}

/// A chunk of equal entries with the frames of a protocol, as long as there is room.
fn filled(protocol: Protocol) -> Chunk {
    let sample = Sample {
        article: 1,
        topic: "ict",
        body_len: 2000,
    };
    let mut chunk = Chunk::new(0);
    for seq in 1.. {
        let entry = entry(seq, &sample);
        entry.frame(protocol);
        if !chunk.has_room(&entry) {
            break;
        }
        assert!(!chunk.is_full(), "{seq} went in");
        chunk.push(entry);
    }
    chunk
}

#[test]
fn a_chunk_is_what_one_send_carries() {
    for (protocol, bytes_max) in [(Protocol::Grpc, 16 << 10), (Protocol::Sse, 24 << 10)] {
        let chunk = filled(protocol);
        assert!(chunk.is_full());
        let bytes: usize = chunk
            .entries()
            .iter()
            .map(|one| one.frame(protocol).len())
            .sum();
        let mean = bytes / chunk.entries().len();
        assert!(
            bytes <= bytes_max && bytes + mean > bytes_max,
            "{bytes} of {bytes_max}"
        );
    }
    // Those that have no frames yet are counted by their articles.
    let chunk = filled(Protocol::Webhook);
    let bytes: usize = chunk
        .entries()
        .iter()
        .map(|one| one.stored.record.article.len())
        .sum();
    assert!(bytes <= CHUNK_BYTES_MAX && bytes > CHUNK_BYTES_MAX - 2500);
}

#[test]
fn a_closed_chunk_takes_nothing_until_it_loses_some() {
    let mut chunk = filled(Protocol::Grpc);
    chunk.truncate(2, 1);
    let next = Arc::clone(&filled(Protocol::Grpc).entries()[2]);
    assert!(chunk.has_room(&next) && !chunk.is_full());
    chunk.close();
    assert!(!chunk.has_room(&next) && chunk.is_full());
    chunk.truncate(1, 2);
    assert!(chunk.has_room(&next) && !chunk.is_full());
}
