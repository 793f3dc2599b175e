//! Subscribing: where a stream begins, what it takes, and how it goes from history into live.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use barid::wire::proto::v1::{
    Action, Article, Delivery, Filter, PublishResponse, SubscribeRequest, start::From as StartFrom,
    subscribe_response::Frame,
};
use tokio::sync::watch;
use tonic::Code;

use crate::{
    harness::{
        Node, after, article, article_of, eventually, everything, fields, filter, from, noted,
        refusal, seq,
    },
    web::metric_of,
};

/// A story with everything that a filter looks at.
struct Story {
    name: &'static str,
    headline: &'static str,
    topics: &'static [&'static str],
    language: &'static str,
    urgency: u32,
}

const STORIES: [Story; 6] = [
    Story {
        name: "a",
        headline: "Harbour opens",
        topics: &["ict.telecom"],
        language: "en",
        urgency: 1,
    },
    Story {
        name: "b",
        headline: "Ministers meet",
        topics: &["diplomacy.visits", "economy.trade"],
        language: "en-GB",
        urgency: 5,
    },
    Story {
        name: "c",
        headline: "افتتاح الميناء",
        topics: &["economy.trade"],
        language: "ar-EG",
        urgency: 3,
    },
    Story {
        name: "d",
        headline: "The harbour reopens",
        topics: &["ict"],
        language: "en",
        urgency: 6,
    },
    Story {
        name: "e",
        headline: "Weather",
        topics: &[],
        language: "fr",
        urgency: 9,
    },
    Story {
        name: "f",
        headline: "HARBOUR: a fibre",
        topics: &["ict.telecom", "economy.energy"],
        language: "ar",
        urgency: 0,
    },
];

impl Story {
    fn article(&self) -> Article {
        Article {
            slugline: self.name.to_owned(),
            language: self.language.to_owned(),
            topics: self.topics.iter().map(ToString::to_string).collect(),
            urgency: self.urgency,
            ..article(&format!("test:{}", self.name), self.headline)
        }
    }
}

async fn publish_stories(node: &Node) -> Vec<PublishResponse> {
    let mut responses = Vec::new();
    for story in &STORIES {
        let response = node.publish(Action::Publish, story.article()).await;
        responses.push(response.unwrap());
    }
    responses
}

/// The names of stories, and for what has no slugline the action.
fn names(deliveries: &[Delivery]) -> String {
    let name = |one: &Delivery| article_of(one).slugline;
    deliveries.iter().map(name).collect::<Vec<_>>().join("")
}

fn request(filter: Option<Filter>, start: StartFrom) -> SubscribeRequest {
    SubscribeRequest {
        filter,
        start: from(start),
        ..SubscribeRequest::default()
    }
}

/// What history a request gives; then that live news follows it.
async fn check(node: &Node, request: SubscribeRequest, expected: &str) {
    let mut reader = node.subscribe(request.clone()).await.unwrap();
    let history = reader.history().await;
    assert_eq!(names(&history), expected, "{request:?}");
    let places: Vec<u64> = history.iter().map(|one| seq(&one.cursor)).collect();
    assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");
}

/// Every start begins where it says, with and without a filter.
#[tokio::test]
async fn starts() {
    let node = Node::start();
    let mut published = Vec::new();
    let mut times = Vec::new();
    for story in &STORIES {
        times.push(SystemTime::now());
        let response = node.publish(Action::Publish, story.article()).await;
        published.push(response.unwrap());
    }
    let harbour = || Filter {
        words: vec!["harbour".to_owned()],
        ..Filter::default()
    };
    let telecom_harbour = || Filter {
        topics: vec!["ict.telecom".to_owned()],
        ..harbour()
    };

    check(&node, SubscribeRequest::default(), "").await;
    check(&node, request(None, StartFrom::Now(())), "").await;
    check(&node, everything(), "abcdef").await;
    let harbours = request(Some(harbour()), StartFrom::Earliest(()));
    check(&node, harbours, "adf").await;
    let epoch = published[0].cursor.split_once('-').unwrap().0;
    check(&node, after(&format!("{epoch}-0")), "abcdef").await;
    for (index, one) in published.iter().enumerate() {
        check(&node, after(&one.cursor), &"abcdef"[index + 1..]).await;
        let filtered = request(Some(harbour()), StartFrom::After(one.cursor.clone()));
        let expected: String = "abcdef"[index + 1..]
            .chars()
            .filter(|name| "adf".contains(*name))
            .collect();
        check(&node, filtered, &expected).await;
    }
    for (index, time) in times.into_iter().enumerate() {
        let start = StartFrom::Since(time.into());
        check(&node, request(None, start), &"abcdef"[index..]).await;
    }
    let future = SystemTime::now() + std::time::Duration::from_secs(3600);
    check(&node, request(None, StartFrom::Since(future.into())), "").await;
    let past = SystemTime::UNIX_EPOCH;
    check(
        &node,
        request(None, StartFrom::Since(past.into())),
        "abcdef",
    )
    .await;
    for (count, expected) in [(1, "f"), (2, "ef"), (6, "abcdef"), (1000, "abcdef")] {
        check(&node, request(None, StartFrom::Last(count)), expected).await;
    }
    for (count, expected) in [(1, "f"), (2, "df"), (3, "adf"), (4, "adf")] {
        let last = request(Some(harbour()), StartFrom::Last(count));
        check(&node, last, expected).await;
    }
    for (count, expected) in [(1, "f"), (2, "af"), (9, "af")] {
        let last = request(Some(telecom_harbour()), StartFrom::Last(count));
        check(&node, last, expected).await;
    }
}

/// What no stream can begin with is refused, with the field or the reason.
#[tokio::test]
async fn refused_starts() {
    let node = Node::start();
    let published = publish_stories(&node).await;
    let refused = async |request: SubscribeRequest| match node.subscribe(request).await {
        Ok(_) => panic!("not refused"),
        Err(status) => status,
    };
    for count in [0, 1001] {
        let status = refused(request(None, StartFrom::Last(count))).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(fields(&status), ["start.last"]);
    }
    for text in ["", "5", "abc-5", "aaaaaaaa-05", "aaaaaaaa--1"] {
        let status = refused(after(text)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{text:?}");
        assert_eq!(fields(&status), ["start.after"]);
    }
    let epoch = published[0].cursor.split_once('-').unwrap().0;
    let status = refused(after(&format!("{epoch}-1000"))).await;
    let expected = (Code::OutOfRange, "CURSOR_IN_FUTURE".to_owned());
    assert_eq!(refusal(&status), expected);
    let unknown = request(Some(filter(&["ict.telekom"])), StartFrom::Now(()));
    let status = refused(unknown).await;
    assert_eq!(
        refusal(&status),
        (Code::InvalidArgument, "TOPIC_UNKNOWN".to_owned())
    );
}

/// Each part of a filter takes what it says; all given parts must match.
#[tokio::test]
async fn filters() {
    let node = Node::start();
    publish_stories(&node).await;
    let languages = |ranges: &[&str]| Filter {
        languages: ranges.iter().map(ToString::to_string).collect(),
        ..Filter::default()
    };
    let urgency = |urgency| Filter {
        urgency,
        ..Filter::default()
    };
    let words = |words: &[&str]| Filter {
        words: words.iter().map(ToString::to_string).collect(),
        ..Filter::default()
    };
    let all = Filter {
        urgency: 5,
        topics: filter(&["ict", "diplomacy"]).topics,
        ..languages(&["en"])
    };
    for (filter, expected) in [
        (Filter::default(), "abcdef"),
        // A topic covers itself and all beneath it, not what is above.
        (filter(&["ict"]), "adf"),
        (filter(&["ict.telecom"]), "af"),
        (filter(&["economy"]), "bcf"),
        (filter(&["diplomacy.visits", "economy.energy"]), "bf"),
        (filter(&["general"]), "e"),
        (filter(&["ict.satellite"]), ""),
        (languages(&["en"]), "abd"),
        (languages(&["EN-gb"]), "b"),
        (languages(&["ar", "fr"]), "cef"),
        (languages(&["ar-EG"]), "c"),
        (languages(&["*"]), "abcdef"),
        (languages(&["e"]), ""),
        (urgency(1), "a"),
        (urgency(3), "ac"),
        (urgency(5), "abcf"),
        (urgency(9), "abcdef"),
        (words(&["HARBOUR"]), "adf"),
        (words(&["harbour", "fibre"]), "f"),
        (words(&["harb"]), ""),
        (words(&["الميناء"]), "c"),
        (all, "ab"),
    ] {
        check(
            &node,
            request(Some(filter), StartFrom::Earliest(())),
            expected,
        )
        .await;
    }
}

/// Whoever got a story gets what takes it back or mends it, though it no longer has the words, the
/// urgency or the topic; and words alone hold back an update.
#[tokio::test]
async fn recalls_reach_all_who_had_the_story() {
    let node = Node::start();
    let first = Article {
        urgency: 1,
        topics: vec!["ict.telecom".to_owned()],
        ..article("test:a", "Harbour opens")
    };
    let later = |action: Action| Article {
        urgency: 8,
        topics: vec!["economy.trade".to_owned()],
        ..match action {
            Action::Update | Action::Publish => article("test:a", "Something else"),
            _ => noted("test:a", "a reason"),
        }
    };
    let words = |words: &str| Filter {
        words: vec![words.to_owned()],
        ..Filter::default()
    };
    let urgent = Filter {
        urgency: 2,
        ..Filter::default()
    };
    let german = Filter {
        languages: vec!["de".to_owned()],
        ..words("harbour")
    };
    let steps = [
        Action::Publish,
        Action::Update,
        Action::Correct,
        Action::Withhold,
        Action::Publish,
        Action::Kill,
    ];
    let mut readers = Vec::new();
    let cases = [
        (Filter::default(), [true; 6]),
        (filter(&["ict.telecom"]), [true; 6]),
        (urgent, [true; 6]),
        (words("harbour"), [true, false, true, true, true, true]),
        (words("volcano"), [false, false, true, true, true, true]),
        (filter(&["economy"]), [false, true, true, true, true, true]),
        (filter(&["ict.satellite"]), [false; 6]),
        (german, [false; 6]),
    ];
    for (filter, expected) in cases {
        let live = request(Some(filter.clone()), StartFrom::Now(()));
        let mut reader = node.subscribe(live).await.unwrap();
        reader.caught_up().await;
        readers.push((filter, expected, reader));
    }
    let mut last = None;
    for (index, action) in steps.into_iter().enumerate() {
        let article = if index == 0 {
            first.clone()
        } else {
            later(action)
        };
        let published = node.publish(action, article).await.unwrap();
        // Taken before the next is published: a kill holds back what has not left yet.
        for (filter, expected, reader) in &mut readers {
            if expected[index] {
                let cursor = reader.delivery().await.cursor;
                assert_eq!(cursor, published.cursor, "{filter:?}");
            }
        }
        last = Some(seq(&published.cursor));
    }
    let end = article("test:end", "harbour volcano");
    for (filter, _, mut reader) in readers {
        // What matches next is the next frame: nothing else came in between.
        let end = Article {
            urgency: 1,
            language: filter.languages.first().cloned().unwrap_or("en".into()),
            topics: filter.topics.clone(),
            uri: format!("test:end {filter:?}").replace([' ', '"'], ""),
            ..end.clone()
        };
        let end = node.publish(Action::Publish, end).await.unwrap();
        loop {
            let delivery = reader.delivery().await;
            // The ends of the readers before this one may match as well.
            assert!(Some(seq(&delivery.cursor)) > last, "{filter:?}");
            if delivery.cursor == end.cursor {
                break;
            }
        }
    }
}

/// CaughtUp comes once: after all that was accepted before the call, and before what comes later.
/// Its cursor, like one of any delivery, is safe to resume from.
#[tokio::test]
async fn caught_up_once() {
    let node = Node::start();
    let mut reader = node.subscribe(everything()).await.unwrap();
    assert_eq!(seq(&reader.caught_up().await), 0, "an empty log");

    const HISTORY: usize = 300;
    publish_many(&node, 0..HISTORY).await;
    let mut first = node.subscribe(everything()).await.unwrap();
    assert_eq!(first.history().await.len(), HISTORY);
    let nothing = request(Some(filter(&["ict.satellite"])), StartFrom::Earliest(()));
    let mut silent = node.subscribe(nothing.clone()).await.unwrap();
    let silent_end = silent.caught_up().await;
    let mut now = node.subscribe(SubscribeRequest::default()).await.unwrap();
    let now_end = now.caught_up().await;

    publish_many(&node, HISTORY..HISTORY + 20).await;
    for _ in 0..20 {
        first.delivery().await;
        now.delivery().await;
    }
    for _ in 0..HISTORY + 20 {
        reader.delivery().await;
    }
    for cursor in [silent_end, now_end] {
        let mut resumed = node.subscribe(after(&cursor)).await.unwrap();
        assert_eq!(resumed.history().await.len(), 20);
    }
    let satellite = Article {
        topics: vec!["ict.satellite".to_owned()],
        ..article("test:satellite", "at last")
    };
    node.publish(Action::Publish, satellite).await.unwrap();
    silent.delivery().await;
    first.delivery().await;
    now.delivery().await;
}

/// Publishes articles, eight at a time.
async fn publish_many(node: &Node, numbers: std::ops::Range<usize>) -> Vec<PublishResponse> {
    let (accepted, _) = watch::channel(0);
    publish_counted(node, numbers, &accepted).await
}

async fn publish_counted(
    node: &Node,
    numbers: std::ops::Range<usize>,
    accepted: &watch::Sender<usize>,
) -> Vec<PublishResponse> {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (next, accepted) = (Arc::clone(&next), accepted.clone());
            let (mut publisher, end) = (node.publisher(), numbers.end);
            tokio::spawn(async move {
                let mut responses = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return responses;
                    }
                    let article = article(&format!("test:{number}"), &format!("number {number}"));
                    let request = crate::harness::request(Action::Publish, article);
                    let response = publisher.publish(request).await.unwrap();
                    responses.push(response.into_inner());
                    accepted.send_modify(|count| *count += 1);
                }
            })
        })
        .collect();
    let mut responses = Vec::new();
    for task in tasks {
        responses.extend(task.await.unwrap());
    }
    responses.sort_by_key(|response| seq(&response.cursor));
    responses
}

/// Streams that begin while 500 articles are being published see every one of them, once and in
/// order, on the way from history into live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hands_over_under_publishing() {
    const COUNT: usize = 500;
    const READERS: usize = 40;
    let node = Arc::new(Node::start());
    let (accepted, progress) = watch::channel(0);
    let readers: Vec<_> = (0..READERS)
        .map(|number| {
            let (node, mut progress) = (Arc::clone(&node), progress.clone());
            tokio::spawn(async move {
                // Spread over the whole time of publishing.
                let begin = COUNT * number / READERS;
                progress.wait_for(|count| *count >= begin).await.unwrap();
                let mut reader = node.subscribe(everything()).await.unwrap();
                let (mut seen, mut ends) = (Vec::new(), 0);
                while seen.len() < COUNT || ends == 0 {
                    match reader.next().await.unwrap() {
                        Frame::Delivery(delivery) => seen.push(delivery.cursor),
                        Frame::CaughtUp(_) => {
                            assert!(seen.len() >= begin, "history was cut");
                            ends += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(ends, 1);
                seen
            })
        })
        .collect();
    let published = publish_counted(&node, 0..COUNT, &accepted).await;
    let expected: Vec<_> = published.into_iter().map(|one| one.cursor).collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expected);
    }
}

/// Two nodes on one log: what one accepts the other delivers, and a client that goes from one to
/// the other by its cursor misses nothing and sees nothing twice.
#[tokio::test]
async fn two_nodes() {
    let one = Node::start();
    let other = Node::start_with(&["--nats-url", &one.nats_url()]);
    let mut stayed = other.subscribe(everything()).await.unwrap();
    stayed.caught_up().await;

    let (mut seen, mut expected) = (Vec::new(), Vec::new());
    let mut cursor = None;
    for round in 0..20 {
        let (here, there) = if round % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        let name = |part: &str| format!("{part} {round}");
        for part in ["first", "second"] {
            let article = article(&format!("test:{part}{round}"), &name(part));
            expected.push(name(part));
            let response = here.publish(Action::Publish, article).await.unwrap();
            assert_eq!(stayed.delivery().await.cursor, response.cursor);
        }
        // On the node that has not accepted it, after what the other one had shown; gives up in
        // the middle every other time.
        let start = cursor.as_deref().map_or_else(everything, after);
        let mut reader = there.subscribe(start).await.unwrap();
        for _ in 0..1 + round / 2 % 2 {
            if seen.len() == expected.len() {
                break;
            }
            let delivery = reader.delivery().await;
            cursor = Some(delivery.cursor.clone());
            seen.push(article_of(&delivery).headline);
        }
    }
    let mut reader = one.subscribe(after(&cursor.unwrap())).await.unwrap();
    let rest = reader.history().await;
    seen.extend(rest.iter().map(|one| article_of(one).headline));
    assert_eq!(seen, expected);
}

/// A silent stream says after 15 seconds that nothing that matches was there; the cursor of that is
/// safe to resume from.
#[tokio::test]
async fn heartbeat() {
    let node = Node::start();
    let silent = request(Some(filter(&["ict.satellite"])), StartFrom::Now(()));
    let mut reader = node.subscribe(silent.clone()).await.unwrap();
    reader.caught_up().await;
    let begun = tokio::time::Instant::now();
    let published = publish_many(&node, 0..3).await;
    let beat = match reader.next().await.unwrap() {
        Frame::Heartbeat(beat) => beat.cursor,
        other => panic!("{other:?}"),
    };
    let silence = begun.elapsed().as_millis();
    assert!((14_500..17_000).contains(&silence), "{silence}");
    assert!(seq(&beat) >= seq(&published[2].cursor));
    let mut resumed = node.subscribe(after(&beat)).await.unwrap();
    assert_eq!(resumed.history().await, []);
}

/// A reader that takes nothing for longer than the node's patience gets what was on its way, then a
/// status with the place up to which everything was sent; going on after the last cursor that came,
/// it has everything once. Others are not held up.
#[tokio::test]
async fn stalled() {
    const STORIES: usize = 30;
    let node = Node::start_with(&["--patience", "1s"]);
    let mut stalled = node.subscribe(everything()).await.unwrap();
    stalled.caught_up().await;
    let mut other = node.subscribe(everything()).await.unwrap();
    other.caught_up().await;
    let mut cursors = Vec::new();
    for number in 0..STORIES {
        let large = Article {
            body: "x".repeat(300_000),
            ..article(&format!("test:{number}"), "large")
        };
        let published = node.publish(Action::Publish, large).await.unwrap();
        assert_eq!(other.delivery().await.cursor, published.cursor);
        cursors.push(published.cursor);
    }
    crate::harness::eventually("the node gives the reader up", async || {
        node.log().contains("made no progress")
    })
    .await;
    let mut seen = Vec::new();
    let status = loop {
        match stalled.next().await {
            Ok(Frame::Delivery(delivery)) => seen.push(delivery.cursor),
            Ok(other) => panic!("{other:?}"),
            Err(status) => break status,
        }
    };
    assert!(seen.len() < STORIES, "it was not given up");
    assert_eq!(refusal(&status), (Code::Unavailable, "STALLED".to_owned()));
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    let last = seen.last().unwrap();
    assert_eq!(&info.metadata["cursor"], last);
    let mut again = node.subscribe(after(last)).await.unwrap();
    seen.extend(again.history().await.into_iter().map(|one| one.cursor));
    assert_eq!(seen, cursors);
}

/// Publishes articles of half a megabyte; returns their cursors.
pub async fn publish_large(node: &Node, numbers: Range<usize>) -> Vec<String> {
    let mut cursors = Vec::new();
    for number in numbers {
        let large = Article {
            body: "x".repeat(500_000),
            ..article(&format!("test:{number}"), "large")
        };
        let response = node.publish(Action::Publish, large).await;
        cursors.push(response.unwrap().cursor);
    }
    cursors
}

/// A reader that begins before what the node holds in memory reads the log, joins the ring, and goes
/// over into live, without a gap or a repeat.
#[tokio::test]
async fn reads_on_behind_the_ring() {
    // The ring holds some sixty of these.
    const STORIES: usize = 100;
    const LATER: usize = 20;
    let node = Node::start();
    let mut cursors = publish_large(&node, 0..STORIES).await;
    let mut reader = node.subscribe(everything()).await.unwrap();
    let publishing = publish_large(&node, STORIES..STORIES + LATER);
    let reading = async {
        let (mut seen, mut caught_up) = (Vec::new(), 0);
        while seen.len() < STORIES + LATER {
            match reader.next().await.unwrap() {
                Frame::Delivery(delivery) => seen.push(delivery.cursor),
                Frame::CaughtUp(_) => caught_up += 1,
                other => panic!("neither delivery nor end: {other:?}"),
            }
        }
        (seen, caught_up)
    };
    let (later, (seen, caught_up)) = tokio::join!(publishing, reading);
    cursors.extend(later);
    assert_eq!(seen, cursors);
    assert_eq!(caught_up, 1);
}

/// Whoever reads nothing for a while, in the midst of history, keeps no place among those for whom pages
/// are read: with a few like that nobody else would read any.
#[tokio::test]
async fn whoever_stands_still_keeps_no_place() {
    const STORIES: usize = 40;
    let node = Node::start_with(&["--ring-bytes", "4MiB"]);
    let cursors = publish_large(&node, 0..STORIES).await;
    let mut reader = node.subscribe(everything()).await.unwrap();
    assert_eq!(reader.delivery().await.cursor, cursors[0]);
    eventually("no page is being read", async || {
        let running = metric_of(&node, "barid_catch_up_pages", "running").await;
        running + metric_of(&node, "barid_catch_up_pages", "waiting").await == 0.0
    })
    .await;
    for cursor in &cursors[1..] {
        assert_eq!(reader.delivery().await.cursor, *cursor);
    }
}
