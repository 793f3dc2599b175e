//! `barid explain` and `--no-inference`: the real binary over routing that is known.

use std::{fs, time::Duration};

use barid::wire::proto::v1::{
    Action, Article, CompareRoutingRequest, CompareRoutingResponse, ExplainRoutingRequest,
    PublishRequest, Routing, Verdict, article_service_client::ArticleServiceClient,
    compare_routing_response::Result as Compared, explain_routing_request::Subject,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    command_line::{Said, ninjs, run, server},
    harness::{LIMIT, Node, article, eventually, everything, noted, refusal, request},
    web::metric_of,
};

const TAXONOMY: &str = "[topics.general]\nnames = {en = 'General'}\n\
                        [topics.ict]\nnames = {}\n\
                        [topics.'ict.telecom']\nnames = {}\nphrases.en = ['cable']\n\
                        phrases.ar = ['كابل']\n\
                        [inference]\nthreshold = 6\n\
                        [aliases]\n'ict.phones' = 'ict.telecom'\n";

/// A node that routes by `TAXONOMY`, and a folder for files.
struct Desk {
    node: Node,
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("taxonomy.toml");
        fs::write(&path, TAXONOMY).unwrap();
        let node = Node::start_with(&["--taxonomy", path.to_str().unwrap()]);
        Self { node, dir }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str], stdin: &str) -> Said {
        let server = server(&self.node);
        run(&[args, &[&server]].concat(), stdin.as_bytes())
    }

    /// The objects that a command prints.
    fn objects(&self, args: &[&str], stdin: &str) -> Vec<Value> {
        let said = self.run(&[args, &["--output", "json"]].concat(), stdin);
        let lines = said.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said:?}")))
            .collect()
    }
}

/// Proves that a file is explained article by article, as text and as objects, without being
/// stored, and that one that can't be is told with its place.
#[tokio::test]
async fn explains_files() {
    let desk = Desk::new();
    let cable = ninjs("tag:wire.example,2026:1", "A new cable for the island");
    let arabic = json!({
        "uri": "tag:wire.example,2026:2", "language": "ar",
        "headlines": [{"value": "إصلاح الكابل البحري"}],
    });
    let file = desk.file("two.jsonl", &format!("{cable}\nnews\n{arabic}\n"));
    let said = desk.run(&["explain", &file], "");
    assert_eq!(said.code, Some(2), "{said:?}");
    for expected in [
        "A new cable for the island\n",
        &format!("{file}:1  en  taxonomy "),
        "goes to    ict.telecom\n",
        "ict.telecom  routed  9 points, 6 are needed\n",
        "    +9 phrase  cable\n",
        "headline     A new [cable] for the island\n",
        "headline     إصلاح [الكابل] البحري",
        "ict  yields  4 points",
    ] {
        assert!(said.stdout.contains(expected), "{expected}: {said:?}");
    }
    assert!(said.stderr.contains(&format!("barid: {file}:2:")));
    assert!(said.stderr.contains("1 of 3 articles were not explained"));

    let list = json!([cable, {"uri": "a:3", "language": "en", "headlines": [{"value": "x"}],
        "subjects": [{"rel": "topic", "literal": "ict.telecoms"}]}]);
    let objects = desk.objects(&["explain", "-"], &list.to_string());
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["result"], "explained");
    assert_eq!(objects[0]["own_topics"], json!(["ict.telecom"]));
    let place = &objects[0]["explanations"][0]["evidence"][0]["places"][0];
    assert_eq!(
        place,
        &json!({
            "field": "article.headline", "offset": 6, "before": "A new ", "text": "cable",
            "after": " for the island",
        })
    );
    assert_eq!(objects[1]["reason"], "TOPIC_UNKNOWN");

    let stated = desk.objects(&["explain", "-", "--no-inference"], &cable.to_string());
    assert_eq!(stated[0]["topics"], json!(["general"]));
    assert_eq!(desk.run(&["list"], "").stdout, "");

    // Nobody to ask is no invalid input.
    assert_eq!(desk.run(&["explain", "/no/such.json"], "").code, Some(2));
    let said = run(&["explain", "-", "--server", "http://127.0.0.1:1"], b"");
    assert_eq!(said.code, Some(1), "{said:?}");
}

/// Proves that a stored story is explained by its uri and its id, with what the taxonomy of now
/// would change, and that one that is not there or taken back is told.
#[tokio::test]
async fn explains_stored_stories() {
    let desk = Desk::new();
    let uri = "tag:wire.example,2026:1";
    let published = desk.node.publish(Action::Publish, article(uri, "A cable"));
    let id = published.await.unwrap().article_id;
    for name in [uri, &id] {
        let said = desk.run(&["explain", name], "");
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.stdout.contains("stored     the same\n"), "{said:?}");
        assert!(said.stdout.contains("A [cable]\n"), "{said:?}");
    }
    let other = desk.file(
        "other.toml",
        "[topics.general]\nnames = {}\n[topics.sea]\nnames = {}\nphrases.en = ['cable']\n\
         [inference]\nthreshold = 6\n",
    );
    let said = desk.run(&["explain", uri, "--taxonomy", &other], "");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout
            .contains("  - ict.telecom  text 9: cable\n  + sea\n"),
        "{said:?}"
    );
    let said = desk.run(&["explain", uri, "--no-inference"], "");
    assert_eq!(said.code, Some(2), "{said:?}");

    // As the next revision of the stored story.
    let next = ninjs(uri, "Nothing of that").to_string();
    let objects = desk.objects(&["explain", "-"], &next);
    assert_eq!(objects[0]["inherited_topics"], json!(["ict.telecom"]));
    assert_eq!(
        objects[0]["stored"],
        json!([{"topic": "ict.telecom", "reason": "text 9: cable"}])
    );

    let withheld = desk.node.publish(Action::Withhold, noted(uri, "why")).await;
    assert!(withheld.is_ok());
    for (name, reason) in [(uri, "ARTICLE_WITHHELD"), ("a:none", "ARTICLE_UNKNOWN")] {
        let said = desk.run(&["explain", name], "");
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stderr.contains(reason), "{said:?}");
    }
}

/// Proves that a comparison tells each revision that differs and the sums, and that a taxonomy that
/// can't be used is told with its place.
#[tokio::test]
async fn compares_taxonomies() {
    let desk = Desk::new();
    for (uri, headline) in [("a:1", "A cable"), ("a:2", "A ship"), ("a:3", "A cat")] {
        let published = desk.node.publish(Action::Publish, article(uri, headline));
        published.await.unwrap();
    }
    let text = TAXONOMY.replace("'cable'", "'ship'");
    let new = desk.file("new.toml", &text);
    let args = ["explain", "--since", "24h", "--taxonomy", &new];
    let said = desk.run(&args, "");
    assert_eq!((said.code, &*said.stderr), (Some(0), ""), "{said:?}");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(
        lines[0].ends_with("rev1  A cable  +general  -ict.telecom"),
        "{said:?}"
    );
    assert!(
        lines[1].ends_with("rev1  A ship  +ict.telecom  -general"),
        "{said:?}"
    );
    assert_eq!(
        lines[2..],
        [
            "2 of 3 revisions would have other topics of their own",
            "  general         +1     -1",
            "  ict.telecom     +1     -1",
        ]
    );
    let objects = desk.objects(&args, "");
    assert_eq!(objects[0]["gained"], json!(["general"]));
    assert_eq!(
        objects[2],
        json!({
            "result": "summary", "compared_count": 3, "different_count": 2,
            "changes": [
                {"topic": "general", "gained_count": 1, "lost_count": 1},
                {"topic": "ict.telecom", "gained_count": 1, "lost_count": 1},
            ],
        })
    );
    let narrower = desk.objects(&[&args[..], &["--topics", "ict"]].concat(), "");
    assert_eq!(narrower.last().unwrap()["compared_count"], 1);
    let future = [
        "explain",
        "--since",
        "2126-01-01T00:00:00Z",
        "--taxonomy",
        &new,
    ];
    assert_eq!(desk.objects(&future, "")[0]["compared_count"], 0);

    let broken = desk.file("broken.toml", "[topics.general]\nnames = {}\nnmaes = 5\n");
    let story = ninjs("a:1", "x").to_string();
    for args in [
        &["explain", "-", "--taxonomy", &broken][..],
        &["explain", "--since", "24h", "--taxonomy", &broken],
    ] {
        let said = desk.run(args, &story);
        assert_eq!(said.code, Some(2), "{said:?}");
        let place = format!("barid: {broken}:3:1: ");
        assert!(said.stderr.starts_with(&place), "{said:?}");
    }
}

/// Proves that `publish` and `correct` with `--no-inference` state all topics, and that `topics`
/// shows aliases and the version.
#[tokio::test]
async fn publishes_without_inference() {
    let desk = Desk::new();
    let story = ninjs("a:1", "A cable").to_string();
    let published = &desk.objects(&["publish", "-", "--no-inference"], &story)[0];
    assert_eq!(published["topics"], json!(["general"]));
    let corrected = |flags: &[&str], note: &str| {
        let args = [&["correct", "a:1", "-", "--note", note][..], flags].concat();
        desk.objects(&args, &story)[0]["topics"].clone()
    };
    assert_eq!(corrected(&["--no-inference"], "one"), json!(["general"]));
    assert_eq!(corrected(&[], "two"), json!(["ict.telecom", "general"]));

    let topics = desk.objects(&["topics"], "");
    let explained = &desk.objects(&["explain", "-"], &story)[0];
    assert_eq!(topics.len(), 3);
    assert_eq!(topics[2]["aliases"], json!(["ict.phones"]));
    assert_eq!(topics[2]["taxonomy_version"], explained["taxonomy_version"]);
    let said = desk.run(&["topics"], "");
    assert!(said.stdout.contains("also ict.phones\n"), "{said:?}");
    assert_eq!(said.stdout.lines().count(), 3);
}

/// A taxonomy of topics that share one phrase, and have long names.
fn crowded(count: usize) -> String {
    let topics = (0..count)
        .map(|number| format!("[topics.t{number:0>100}]\nnames = {{}}\nphrases.en = ['cable']\n"));
    let general = "[topics.general]\nnames = {}\n".to_owned();
    [general].into_iter().chain(topics).collect()
}

/// Enough of that phrase for every topic.
fn cable(uri: &str) -> Article {
    Article {
        body: "A cable. ".repeat(50),
        ..article(uri, "A cable")
    }
}

async fn compare(
    node: &Node,
    taxonomy: String,
) -> Result<Streaming<CompareRoutingResponse>, Status> {
    let request = CompareRoutingRequest {
        taxonomy,
        ..CompareRoutingRequest::default()
    };
    let compared = node.articles().compare_routing(request).await;
    compared.map(tonic::Response::into_inner)
}

/// How many revisions were compared, in the end.
async fn compared_count(mut answers: Streaming<CompareRoutingResponse>) -> u64 {
    loop {
        match answers.message().await.unwrap().unwrap().result.unwrap() {
            Compared::Difference(_) => {}
            Compared::Summary(summary) => return summary.compared_count,
        }
    }
}

/// Proves that publishing goes on beside comparisons, however much they compute, and that they cost
/// no more than their topics.
#[tokio::test]
async fn comparisons_hold_up_nobody() {
    let node = Node::start();
    for number in 0..20 {
        let article = cable(&format!("test:{number}"));
        node.publish(Action::Publish, article).await.unwrap();
    }
    let mut comparisons = JoinSet::new();
    for _ in 0..6 {
        let answers = compare(&node, crowded(3000)).await.unwrap();
        comparisons.spawn(compared_count(answers));
    }
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !comparisons.is_empty() {
        let began = Instant::now();
        let article = article(&format!("test:beside-{count}"), "news");
        node.publish(Action::Publish, article).await.unwrap();
        longest = longest.max(began.elapsed());
        count += 1;
        while let Some(compared) = comparisons.try_join_next() {
            assert!(compared.unwrap() >= 20);
        }
    }
    assert!(longest < Duration::from_secs(2), "{longest:?} of {count}");

    let request = ExplainRoutingRequest {
        subject: Some(Subject::Article(cable("test:new"))),
        taxonomy: crowded(3000),
        ..ExplainRoutingRequest::default()
    };
    let explained = timeout(LIMIT, async {
        node.articles().explain_routing(request).await
    });
    let explained = explained.await.expect("in time").unwrap().into_inner();
    let verdicts = |wanted: Verdict| {
        let topics = explained.explanations.iter();
        topics.filter(|topic| topic.verdict() == wanted).count()
    };
    assert_eq!(verdicts(Verdict::Routed), 16);
    assert_eq!(verdicts(Verdict::TooMany), 3000 - 16);
}

/// Proves that a node takes so many comparisons and no more, and tells when to come back.
#[tokio::test]
async fn comparisons_are_bounded() {
    let node = Node::start();
    for number in 0..100 {
        let article = cable(&format!("test:{number}"));
        node.publish(Action::Publish, article).await.unwrap();
    }
    // More answers than a connection takes that nobody reads: each stays open.
    let begin = || compare(&node, crowded(16));
    let mut open = Vec::new();
    let refused = loop {
        match begin().await {
            Ok(answers) => open.push(answers),
            Err(status) => break status,
        }
        assert!(open.len() < 100, "no bound");
    };
    let reason = "COMPARISONS_TOO_MANY".to_owned();
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, reason));
    assert!(refused.get_details_retry_info().is_some());
    open.pop();
    eventually("room for another", async || begin().await.is_ok()).await;
    for answers in open {
        assert_eq!(compared_count(answers).await, 100);
    }
}

/// A comparison whose client takes one answer, and then no more than a connection holds of a few.
async fn standing(grpc: String, taxonomy: String) -> Streaming<CompareRoutingResponse> {
    let channel = Channel::from_shared(format!("http://{grpc}")).unwrap();
    let channel = channel.initial_stream_window_size(128).connect_lazy();
    let request = CompareRoutingRequest {
        taxonomy,
        ..CompareRoutingRequest::default()
    };
    let mut articles = ArticleServiceClient::new(channel);
    let mut answers = articles
        .compare_routing(request)
        .await
        .unwrap()
        .into_inner();
    let first = timeout(LIMIT, answers.message()).await.expect("in time");
    assert!(first.unwrap().is_some());
    answers
}

/// Proves that comparisons whose clients stand still keep none of the places for pages of history,
/// however many they are, and that they neither hold up the stop nor lose anything by that.
#[tokio::test]
async fn standing_comparisons_keep_no_page() {
    const STORIES: usize = 24;
    let mut node = Node::start_with(&["--ring-bytes", "1MiB"]);
    // Pages of a few, which are judged at once: topics that are stated need no text.
    for number in 0..STORIES {
        let large = Article {
            body: "x".repeat(500_000),
            topics: vec!["ict.cybersecurity".to_owned()],
            ..article(&format!("test:{number}"), "large")
        };
        let stated = PublishRequest {
            routing: Routing::Stated.into(),
            ..request(Action::Publish, large)
        };
        node.publisher().publish(stated).await.unwrap();
    }
    let mut open = Vec::new();
    // As many as there are places, and as a node takes.
    for _ in 0..16 {
        open.push(standing(node.grpc.clone(), crowded(1)).await);
    }
    eventually("no page is being read", async || {
        let running = metric_of(&node, "barid_catch_up_pages", "running").await;
        running + metric_of(&node, "barid_catch_up_pages", "waiting").await == 0.0
    })
    .await;
    let mut reader = node.subscribe(everything()).await.unwrap();
    assert_eq!(reader.history().await.len(), STORIES);
    let count = timeout(LIMIT, compared_count(open.pop().unwrap())).await;
    assert_eq!(count.expect("in time"), 24);
    drop(reader);
    assert_eq!(node.stop().await, Some(0));
}

/// Proves that comparisons whose clients stand still keep no turn: others are explained and compared
/// beside them.
#[tokio::test]
async fn standing_comparisons_keep_no_turn() {
    let node = Node::start();
    for number in 0..20 {
        let article = cable(&format!("test:{number}"));
        node.publish(Action::Publish, article).await.unwrap();
    }
    // Under so many topics each revision takes a turn, for which the others wait meanwhile.
    let mut opening = JoinSet::new();
    for _ in 0..4 {
        opening.spawn(standing(node.grpc.clone(), crowded(1000)));
    }
    let open = opening.join_all().await;
    // Each of these has its turn after those that wait when it comes.
    for _ in 0..20 {
        let request = ExplainRoutingRequest {
            subject: Some(Subject::Article(cable("test:new"))),
            ..ExplainRoutingRequest::default()
        };
        let mut articles = node.articles();
        let explained = timeout(LIMIT, articles.explain_routing(request)).await;
        explained.expect("in time").unwrap();
    }
    let beside = compare(&node, crowded(1)).await.unwrap();
    let count = timeout(LIMIT, compared_count(beside)).await;
    assert_eq!(count.expect("in time"), 20);
    drop(open);
}
