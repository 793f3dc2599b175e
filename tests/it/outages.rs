//! Outages: NATS or the service goes away, and nothing that was accepted goes with it.

use std::{collections::HashMap, net::TcpListener, process::Output, time::Duration};

use async_nats::jetstream;
use barid::wire::proto::v1::{
    Action, GetArticleRequest, ListArticlesRequest, ListTopicsRequest, PublishRequest,
    PublishResponse, PublishStreamRequest, SubscribeRequest,
    desk_service_client::DeskServiceClient, publisher_service_client::PublisherServiceClient,
};
use futures_util::TryStreamExt as _;
use rustix::process::{Signal, kill_process, test_kill_process};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::{
    harness::{
        LIMIT, Node, action, article, article_of, barid, eventually, everything, nats_server,
        refusal, request, seq,
    },
    nats::Nats,
    subscribing::publish_large,
};

const PUBLISHERS: usize = 64;
const REVISIONS: u32 = 6;

/// Starts publishers that each write the revisions of an article of their own, and send every
/// request until it is answered.
fn start_publishers(node: &Node, accepted: &watch::Sender<usize>) -> Vec<Publisher> {
    (0..PUBLISHERS)
        .map(|number| {
            let (address, accepted) = (node.grpc.clone(), accepted.clone());
            tokio::spawn(async move {
                let channel = Endpoint::from_shared(format!("http://{address}"));
                let client = PublisherServiceClient::new(channel.unwrap().connect_lazy());
                let mut responses = Vec::new();
                for revision in 1..=REVISIONS {
                    let headline = format!("story {number}, revision {revision}");
                    let article = article(&format!("test:{number}"), &headline);
                    let request = request(Action::Publish, article);
                    responses.push(send(client.clone(), request).await);
                    accepted.send_modify(|count| *count += 1);
                }
                responses
            })
        })
        .collect()
}

type Publisher = JoinHandle<Vec<PublishResponse>>;

async fn send(
    mut client: PublisherServiceClient<Channel>,
    request: PublishRequest,
) -> PublishResponse {
    // Not by `eventually`, whose closure can't go into a task.
    let deadline = Instant::now() + LIMIT;
    loop {
        match client.publish(request.clone()).await {
            Ok(answer) => return answer.into_inner(),
            // A connection that breaks gives a status of the client's own, without our details.
            Err(status) => assert!(
                status.code() == Code::Unavailable || status.get_details_error_info().is_none(),
                "{status:?}"
            ),
        }
        assert!(Instant::now() < deadline, "no answer to a publish in time");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Everything that was accepted is there once, whole and in order, and nothing else is.
async fn check_all(node: &Node, publishers: Vec<Publisher>) {
    let mut expected = HashMap::new();
    for publisher in publishers {
        let responses = publisher.await.unwrap();
        let revisions: Vec<_> = responses.iter().map(|one| one.revision).collect();
        assert_eq!(revisions, (1..=REVISIONS).collect::<Vec<_>>());
        for response in responses {
            let place = seq(&response.cursor);
            assert_eq!(expected.insert(place, response), None, "two at {place}");
        }
    }
    let mut replay = None;
    eventually("a replay", async || {
        replay = node.subscribe(everything()).await.ok();
        replay.is_some()
    })
    .await;
    let history = replay.unwrap().history().await;
    assert_eq!(history.len(), PUBLISHERS * REVISIONS as usize);
    let context = jetstream::new(node.nats_owner().await);
    let stream = context.get_stream("BARID").await.unwrap();
    let mut next = 1;
    for delivery in history {
        let place = seq(&delivery.cursor);
        let response = &expected[&place];
        assert_eq!(
            (delivery.revision, &delivery.cursor),
            (response.revision, &response.cursor)
        );
        let headline = article_of(&delivery).headline;
        let revision = format!("revision {}", delivery.revision);
        assert!(headline.ends_with(&revision), "{headline}");
        let is_first = delivery.revision == 1;
        assert_eq!(action(&delivery) == Action::Publish, is_first);
        // A group stands right after the one before it, and is whole.
        assert_eq!(place, next);
        let mut subjects = vec![format!("log.article.{}", response.article_id)];
        subjects.extend(
            response
                .topics
                .iter()
                .map(|topic| format!("log.news.{topic}")),
        );
        for subject in subjects {
            let message = stream.get_raw_message(next).await.unwrap();
            assert_eq!(message.subject.as_str(), subject);
            next += 1;
        }
        let answer = stream.get_raw_message(next).await.unwrap();
        assert!(answer.subject.starts_with("log.request."));
        next += 1;
    }
    let last = stream.get_info().await.unwrap().state.last_sequence;
    assert_eq!(last, next - 1);
}

/// nats-server is killed several times under 64 publishers: nothing accepted is lost, nothing is
/// there twice, everything is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_killed_under_publishing() {
    let node = Node::start();
    let (accepted, mut progress) = watch::channel(0);
    let publishers = start_publishers(&node, &accepted);
    for number in 1..=4 {
        let share = PUBLISHERS * REVISIONS as usize * number / 6;
        progress.wait_for(|count| *count >= share).await.unwrap();
        node.kill_nats();
    }
    check_all(&node, publishers).await;
}

/// The service is killed several times under 64 publishers, likewise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_is_killed_under_publishing() {
    let mut node = Node::start();
    let (accepted, mut progress) = watch::channel(0);
    let publishers = start_publishers(&node, &accepted);
    for number in 1..=3 {
        let share = PUBLISHERS * REVISIONS as usize * number / 5;
        progress.wait_for(|count| *count >= share).await.unwrap();
        node.kill();
        node.start_again().await;
    }
    check_all(&node, publishers).await;
}

async fn health(channel: Channel) -> ServingStatus {
    let request = HealthCheckRequest::default();
    let answer = HealthClient::new(channel).check(request).await.unwrap();
    answer.into_inner().status()
}

fn check_unavailable(status: &Status) {
    let expected = (Code::Unavailable, "LOG_UNAVAILABLE".to_owned());
    assert_eq!(refusal(status), expected, "{status:?}");
    let retry = status.get_details_retry_info();
    assert!(retry.is_some_and(|info| info.retry_delay.is_some()));
}

/// NATS is away: publishes are refused within their deadline, reads at once or nearly, health says
/// so; streams stay open, and everything goes on by itself when NATS is back.
#[tokio::test]
async fn nats_is_away() {
    const DEADLINE: Duration = Duration::from_millis(600);
    let mut nats = Nats::start().await;
    let node = Node::start_with(&["--nats-url", &nats.url()]);
    let first = node
        .publish(Action::Publish, article("test:a", "before"))
        .await
        .unwrap();
    let mut stayed = node.subscribe(everything()).await.unwrap();
    assert_eq!(stayed.history().await.len(), 1);
    let channel = node.channel();
    eventually("health is well", async || {
        health(channel.clone()).await == ServingStatus::Serving
    })
    .await;

    nats.kill();

    let begun = Instant::now();
    eventually("health tells", async || {
        health(channel.clone()).await == ServingStatus::NotServing
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(4));
    let mut kept = Vec::new();
    // New, known to this node, and to be looked up first.
    for (what, uri) in [
        (Action::Publish, "test:b"),
        (Action::Update, "test:a"),
        (Action::Update, "test:unknown"),
    ] {
        let sent = request(what, article(uri, "during"));
        let mut call = Request::new(sent.clone());
        call.set_timeout(DEADLINE);
        let begun = Instant::now();
        let status = node.publisher().publish(call).await.unwrap_err();
        assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
        check_unavailable(&status);
        kept.push(sent);
    }
    let get = GetArticleRequest {
        article_id: first.article_id.clone(),
    };
    let begun = Instant::now();
    check_unavailable(&node.articles().get_article(get.clone()).await.unwrap_err());
    let list = ListArticlesRequest::default();
    check_unavailable(&node.articles().list_articles(list).await.unwrap_err());
    let subscribed = node.subscribe(SubscribeRequest::default()).await;
    check_unavailable(&subscribed.err().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(4));

    nats.start_again();

    let mut expected = Vec::new();
    for sent in kept.into_iter().take(2) {
        // Sent again, as the answer said: whether the first one went in or not, it is there once.
        expected.push(send(node.publisher(), sent).await);
    }
    expected.sort_by_key(|response| seq(&response.cursor));
    for response in expected {
        let delivery = stayed.delivery().await;
        assert_eq!(delivery.cursor, response.cursor);
    }
    eventually("health is well again", async || {
        health(channel.clone()).await == ServingStatus::Serving
    })
    .await;
    let got = node.articles().get_article(get).await.unwrap();
    assert_eq!(got.into_inner().delivery.unwrap().revision, 2);
}

/// SIGTERM: streams end with DRAINING, a publish that waits for NATS finishes, then the process
/// ends well and takes its nats-server with it.
#[tokio::test]
async fn drains() {
    let mut node = Node::start();
    let first = node.publish(Action::Publish, article("test:a", "before"));
    first.await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut reader = node.subscribe(everything()).await.unwrap();
        assert_eq!(reader.history().await.len(), 1);
        streams.push(reader);
    }
    let nats = node.nats_pid();
    kill_process(nats, Signal::STOP).unwrap();
    let channel = node.channel();
    let mut publisher = PublisherServiceClient::new(channel.clone());
    let in_flight = tokio::spawn(async move {
        let article = article("test:b", "in flight");
        publisher.publish(request(Action::Publish, article)).await
    });
    // Later on the same connection: when this is answered, the publish has arrived.
    tokio::task::yield_now().await;
    let mut desk = DeskServiceClient::new(channel);
    for _ in 0..3 {
        desk.list_topics(ListTopicsRequest {}).await.unwrap();
    }

    node.signal(Signal::TERM);

    for mut stream in streams {
        let status = stream.next().await.unwrap_err();
        let expected = (Code::Unavailable, "DRAINING".to_owned());
        assert_eq!(refusal(&status), expected);
        assert!(status.get_details_retry_info().is_some());
    }
    kill_process(nats, Signal::CONT).unwrap();
    let response = in_flight.await.unwrap().unwrap().into_inner();
    assert_eq!(node.ended().await, Some(0));
    assert!(test_kill_process(nats).is_err(), "nats-server is left");

    node.start_again().await;
    let history = node.subscribe(everything()).await.unwrap().history().await;
    assert_eq!(history.len(), 2);
    assert_eq!(history[1].cursor, response.cursor);
}

/// SIGTERM: a publish stream that is open and idle ends with DRAINING, and holds nothing up.
#[tokio::test]
async fn drains_publish_streams() {
    let mut node = Node::start();
    let (requests, receiver) = mpsc::channel(1);
    let publish = request(Action::Publish, article("test:a", "before"));
    let publish = Some(publish);
    requests
        .send(PublishStreamRequest { publish })
        .await
        .unwrap();
    let requests_sent = ReceiverStream::new(receiver);
    let mut publisher = node.publisher();
    let answers = publisher.publish_stream(requests_sent).await.unwrap();
    let mut answers = answers.into_inner();
    answers.message().await.unwrap().unwrap();

    let begun = Instant::now();
    node.signal(Signal::TERM);

    let status = answers.message().await.unwrap_err();
    let expected = (Code::Unavailable, "DRAINING".to_owned());
    assert_eq!(refusal(&status), expected);
    assert_eq!(node.ended().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(4));
    drop(requests);
}

/// SIGTERM under 64 publishers: each request is accepted or told to come back, and what was accepted
/// is there after the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_under_publishing() {
    let mut node = Node::start();
    let (accepted, mut progress) = watch::channel(0);
    let publishers = start_publishers(&node, &accepted);
    for _ in 0..2 {
        let share = *progress.borrow() + PUBLISHERS;
        progress.wait_for(|count| *count >= share).await.unwrap();
        assert_eq!(node.stop().await, Some(0));
        node.start_again().await;
    }
    check_all(&node, publishers).await;
}

async fn serve(args: &[&str], dir: &std::path::Path) -> Output {
    let mut command = barid();
    command.arg("serve").args(args).current_dir(dir);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    timeout(LIMIT, run).await.unwrap().unwrap()
}

/// A second service on the same data folder, or on a port in use, is refused, with the flag that
/// mends it; the first one goes on.
#[tokio::test]
async fn refuses_what_is_in_use() {
    let node = Node::start();
    let program = nats_server();
    let program = program.to_str().unwrap();
    let data = node.data().to_str().unwrap();
    let other = tempfile::TempDir::new().unwrap();
    let managed = ["--nats-listen", "127.0.0.1:0", "--nats-server", program];

    let free = "127.0.0.1:0";
    let mut args = vec!["--grpc-listen", free, "--http-listen", free];
    args.extend(["--data-dir", data]);
    args.extend(managed);
    let output = serve(&args, other.path()).await;
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("--data-dir"), "{words}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let fresh = other.path().join("data");
    for (flag, other_flag) in [
        ("--grpc-listen", "--http-listen"),
        ("--http-listen", "--grpc-listen"),
    ] {
        let mut args = vec![flag, &address, other_flag, free];
        args.extend(["--data-dir", fresh.to_str().unwrap()]);
        args.extend(managed);
        let output = serve(&args, other.path()).await;
        assert!(!output.status.success());
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains(flag), "{words}");
        assert!(!fresh.exists(), "NATS was started for nothing");
    }

    let published = node.publish(Action::Publish, article("test:a", "on"));
    published.await.unwrap();
}

/// A reader of history reads on, without a gap or a repeat, when NATS has forgotten the consumer by
/// which that is read.
#[tokio::test]
async fn nats_forgets_a_reader() {
    // The ring holds some sixty of these, and a page six.
    const STORIES: usize = 100;
    const BEFORE: usize = 10;
    let node = Node::start();
    let cursors = publish_large(&node, 0..STORIES).await;
    let mut reader = node.subscribe(everything()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < BEFORE {
        seen.push(reader.delivery().await.cursor);
    }

    let nats = jetstream::new(node.nats_owner().await);
    let stream = nats.get_stream("BARID").await.unwrap();
    let consumers: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    assert!(
        consumers.len() >= 2,
        "the node's own and the reader's: {consumers:?}"
    );
    for consumer in consumers {
        stream.delete_consumer(&consumer).await.unwrap();
    }

    while seen.len() < STORIES {
        seen.push(reader.delivery().await.cursor);
    }
    assert_eq!(seen, cursors);
}
