//! Server-sent events: what a stream carries, how it is resumed, and how it ends.

use std::collections::VecDeque;

use barid::wire::proto::v1::{Action, Article};
use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, body::Incoming};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    harness::{LIMIT, Node, article, eventually, everything, noted},
    nats::Nats,
    web::{get, metric_of, open, problem},
};

/// One event as the WHATWG says that it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    fn headline(&self) -> String {
        let headline = self.json()["headlines"][0]["value"].clone();
        headline.as_str().unwrap_or_default().to_owned()
    }
}

/// An open stream.
pub struct Stream {
    body: Incoming,
    text: String,
    events: VecDeque<Event>,
    last_id: String,
    pub comments: Vec<String>,
    pub retry: Option<u64>,
}

impl Stream {
    pub async fn open(address: &str, path: &str, last_id: Option<&str>) -> Self {
        let mut request = Request::builder().uri(path).header("host", "barid.test");
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        request = request.header("accept", "text/event-stream");
        let response = open(address, request.body(Default::default()).unwrap()).await;
        Self {
            last_id: last_id.unwrap_or_default().to_owned(),
            ..Self::of(response)
        }
    }

    /// The stream of an answer.
    pub fn of(response: Response<Incoming>) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            text: String::new(),
            events: VecDeque::new(),
            last_id: String::new(),
            comments: Vec::new(),
            retry: None,
        }
    }

    /// The next event; none once the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let frame = timeout(LIMIT, self.body.frame()).await;
            let frame = frame.expect("no event in time")?.ok()?;
            let data = frame.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                self.read(&block);
            }
        }
    }

    fn read(&mut self, block: &str) {
        let mut event = Event::default();
        for line in block.lines() {
            match line
                .split_once(": ")
                .or_else(|| line.split_once(':'))
                .unwrap()
            {
                ("", comment) => self.comments.push(comment.trim().to_owned()),
                ("event", name) => event.name = name.to_owned(),
                ("id", id) => self.last_id = id.to_owned(),
                ("data", data) => {
                    assert!(event.data.is_empty(), "data on several lines: {block}");
                    event.data = data.to_owned();
                }
                ("retry", ms) => self.retry = Some(ms.parse().unwrap()),
                other => panic!("{other:?}"),
            }
        }
        if !event.data.is_empty() {
            event.id.clone_from(&self.last_id);
            self.events.push_back(event);
        }
    }

    pub async fn event(&mut self) -> Event {
        self.next().await.expect("the stream has ended")
    }

    /// All revisions up to where history ends.
    pub async fn history(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.event().await {
                end if end.name == "caught-up" => return events,
                event => events.push(event),
            }
        }
    }
}

async fn publish(node: &Node, number: usize) -> String {
    let article = article(&format!("test:{number}"), &format!("number {number}"));
    let published = node.publish(Action::Publish, article).await;
    published.unwrap().cursor
}

/// Each revision is one event, named for what it does, with its cursor as id and ninjs as data; and
/// comes as the gRPC stream has it.
#[tokio::test]
async fn events() {
    let node = Node::start();
    let first = Article {
        body: "one line\nand another".to_owned(),
        topics: vec!["ict.telecom".to_owned()],
        urgency: 2,
        ..article("test:a", "Harbour opens")
    };
    let steps = [
        (Action::Publish, first.clone()),
        (Action::Update, first.clone()),
        (
            Action::Correct,
            Article {
                edition_note: "a figure".to_owned(),
                ..first
            },
        ),
        (Action::Withhold, noted("test:a", "in doubt")),
        (Action::Kill, noted("test:a", "false")),
    ];
    let mut live = Stream::open(&node.http, "/v1/stream", None).await;
    let begin = live.event().await;
    assert_eq!(begin.name, "caught-up");
    assert_eq!(
        begin.json()["cursor"],
        begin.id.as_str(),
        "it is safe to resume there"
    );
    assert!((500..1500).contains(&live.retry.unwrap()));
    let mut grpc = node.subscribe(everything()).await.unwrap();
    grpc.caught_up().await;

    let names = ["publish", "update", "correct", "withhold", "kill"];
    for ((action, article), name) in steps.into_iter().zip(names) {
        let published = node.publish(action, article).await.unwrap();
        let event = live.event().await;
        assert_eq!((event.name.as_str(), &event.id), (name, &published.cursor));
        let delivery = grpc.delivery().await;
        let ninjs = barid::wire::ninjs::Ninjs::from_delivery(&delivery).unwrap();
        assert_eq!(event.json(), serde_json::to_value(&ninjs).unwrap());
        let is_notice = matches!(action, Action::Withhold | Action::Kill);
        assert_eq!(event.data.contains("Harbour"), !is_notice);
    }
}

/// Parameters choose, as the filter of a gRPC request does; from says where to begin.
#[tokio::test]
async fn parameters() {
    let node = Node::start();
    for (uri, topic, language, urgency) in [
        ("a", "ict.telecom", "en", 1),
        ("b", "economy.trade", "en", 5),
        ("c", "ict.telecom", "ar-EG", 5),
        ("d", "ict", "en", 5),
    ] {
        let article = Article {
            topics: vec![topic.to_owned()],
            language: language.to_owned(),
            urgency,
            ..article(&format!("test:{uri}"), &format!("story {uri}"))
        };
        node.publish(Action::Publish, article).await.unwrap();
    }
    for (query, expected) in [
        ("from=earliest", "abcd"),
        ("from=earliest&topics=ict", "acd"),
        ("from=earliest&topics=ict.telecom,economy", "abc"),
        ("from=earliest&languages=ar", "c"),
        ("from=earliest&urgency=1", "a"),
        ("from=earliest&q=story+d", "d"),
        ("from=last:2", "cd"),
        ("from=last:2&topics=ict.telecom", "ac"),
        ("from=2020-01-01T00:00:00Z", "abcd"),
        ("from=now", ""),
        ("", ""),
    ] {
        let mut stream = Stream::open(&node.http, &format!("/v1/stream?{query}"), None).await;
        let history = stream.history().await;
        let names: String = history
            .iter()
            .map(|event| event.headline().replace("story ", ""))
            .collect();
        assert_eq!(names, expected, "{query}");
    }
}

/// A query that can't be served is a problem that names the parameter.
#[tokio::test]
async fn refused() {
    let node = Node::start();
    let cursor = publish(&node, 0).await;
    let epoch = cursor.split_once('-').unwrap().0;
    let future = format!("from={epoch}-1000");
    for (query, field, reason) in [
        ("topic=ict", "topic", "PARAMETER_UNKNOWN"),
        ("topics=ict.telekom", "topics", "TOPIC_UNKNOWN"),
        ("urgency=0", "urgency", "FIELD_INVALID"),
        ("from=yesterday", "from", "FIELD_INVALID"),
        (&future, "", "CURSOR_IN_FUTURE"),
    ] {
        let (status, found) = problem(&node.http, get(&format!("/v1/stream?{query}"))).await;
        assert_eq!(status, 400, "{query}");
        assert_eq!(found["reason"], reason, "{query}");
        if field.is_empty() {
            assert!(
                found["detail"].as_str().unwrap().starts_with("from "),
                "{found}"
            );
        } else {
            assert_eq!(found["errors"][0]["field"], field, "{query}");
        }
    }
    let mut bad_id = get("/v1/stream");
    bad_id
        .headers_mut()
        .insert("last-event-id", "7".parse().unwrap());
    let (status, found) = problem(&node.http, bad_id).await;
    assert_eq!(
        (status, &found["errors"][0]["field"]),
        (400, &"Last-Event-ID".into())
    );
}

/// A reader that comes back with the last id that it saw misses nothing and sees nothing twice, over
/// kill -9 of the service; the id wins over from.
#[tokio::test]
async fn resumes_exactly() {
    let mut node = Node::start();
    let (mut expected, mut seen) = (Vec::new(), Vec::new());
    let mut last_id: Option<String> = None;
    let mut number = 0;
    for round in 0..4 {
        let path = "/v1/stream?from=earliest";
        let mut stream = Stream::open(&node.http, path, last_id.as_deref()).await;
        for _ in 0..10 {
            expected.push(publish(&node, number).await);
            number += 1;
        }
        // Gives up in the middle.
        while seen.len() + 3 < expected.len() {
            let event = stream.event().await;
            last_id = Some(event.id.clone());
            if event.name == "publish" {
                seen.push(event.id);
            }
        }
        if round % 2 == 0 {
            node.kill();
            // What was on its way may come, whole.
            while let Some(event) = stream.next().await {
                last_id = Some(event.id.clone());
                if event.name == "publish" {
                    seen.push(event.id);
                }
            }
            node.start_again().await;
        }
    }
    let mut stream = Stream::open(&node.http, "/v1/stream", last_id.as_deref()).await;
    let rest = stream.history().await;
    seen.extend(rest.into_iter().map(|event| event.id));
    assert_eq!(seen, expected);
}

/// At the stop streams end by themselves, and their readers go on at another node.
#[tokio::test]
async fn moves_to_another_node() {
    let nats = Nats::start().await;
    let mut one = Node::start_with(&["--nats-url", &nats.url(), "--drain", "1s"]);
    let other = Node::start_with(&["--nats-url", &nats.url()]);
    let mut expected = Vec::new();
    for number in 0..5 {
        expected.push(publish(&one, number).await);
    }
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = Stream::open(&one.http, "/v1/stream?from=earliest", None).await;
        stream.event().await;
        streams.push(stream);
    }
    one.signal(Signal::TERM);
    for number in 5..10 {
        expected.push(publish(&other, number).await);
    }
    let mut tasks = Vec::new();
    for mut stream in streams {
        let address = other.http.clone();
        tasks.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            while let Some(event) = stream.next().await {
                if event.name == "publish" {
                    ids.push(event.id);
                }
            }
            assert!(
                stream.comments.contains(&"DRAINING".to_owned()),
                "{:?}",
                stream.comments
            );
            let mut again = Stream::open(&address, "/v1/stream", Some(&stream.last_id)).await;
            let rest = again.history().await;
            ids.extend(rest.into_iter().map(|event| event.id));
            ids
        }));
    }
    for task in tasks {
        // The first was taken before the stop.
        assert_eq!(task.await.unwrap(), expected[1..]);
    }
    assert_eq!(one.ended().await, Some(0));
}

/// While the log is away, a stream is opened and ends at once, because a status would end an
/// EventSource for good; whoever takes no events hears why.
#[tokio::test]
async fn waits_for_the_log() {
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    publish(&node, 0).await;
    nats.kill();
    let mut stream = Stream::open(&node.http, "/v1/stream?from=earliest", None).await;
    assert_eq!(stream.next().await, None);
    assert!(stream.retry.is_some());
    let (status, found) = problem(&node.http, get("/v1/stream?from=earliest")).await;
    assert_eq!((status, &found["reason"]), (503, &"LOG_UNAVAILABLE".into()));
    nats.start_again();
    eventually("a stream with the article", async || {
        let mut stream = Stream::open(&node.http, "/v1/stream?from=earliest", None).await;
        stream
            .next()
            .await
            .is_some_and(|event| event.headline() == "number 0")
    })
    .await;
}

/// A silent stream says after 15 seconds that it lives, and moves the place to resume from without
/// an event.
#[tokio::test]
async fn heartbeat() {
    let node = Node::start();
    let path = "/v1/stream?topics=ict.satellite";
    let mut stream = Stream::open(&node.http, path, None).await;
    let begin = stream.event().await;
    let passed = publish(&node, 0).await;
    eventually("a heartbeat", async || {
        let _none = timeout(std::time::Duration::from_millis(100), stream.next()).await;
        stream.comments == ["heartbeat"]
    })
    .await;
    assert_ne!(stream.last_id, begin.id);
    assert!(crate::harness::seq(&stream.last_id) >= crate::harness::seq(&passed));
}

/// A subscriber that takes nothing is cut off after the patience, and costs the others nothing; it
/// goes on by the last id that it has.
#[tokio::test]
async fn stalled() {
    let node = Node::start_with(&["--patience", "1s"]);
    let mut stalled = Stream::open(&node.http, "/v1/stream", None).await;
    stalled.event().await;
    let mut other = Stream::open(&node.http, "/v1/stream", None).await;
    other.event().await;
    let mut count = 0;
    // More than every buffer on the way holds.
    let large = "x".repeat(400_000);
    let mut expected = Vec::new();
    eventually("the end of the stalled stream", async || {
        if count < 40 {
            let article = Article {
                body: large.clone(),
                ..article(&format!("test:{count}"), &format!("number {count}"))
            };
            count += 1;
            let published = node.publish(Action::Publish, article).await.unwrap();
            assert_eq!(other.event().await.id, published.cursor);
            expected.push(published.cursor);
        }
        metric_of(&node, "barid_subscribers", "sse").await == 1.0
    })
    .await;
    let mut seen = Vec::new();
    while let Some(event) = stalled.next().await {
        seen.push(event.id);
    }
    assert!(seen.len() < expected.len(), "it was not cut off");
    let mut again = Stream::open(&node.http, "/v1/stream", Some(&stalled.last_id)).await;
    seen.extend(again.history().await.into_iter().map(|event| event.id));
    assert_eq!(seen, expected);
}
