//! Publishing: what each action does to each state, which article is meant, what a request id is
//! worth, where revisions go, and that all of it holds for many publishers at once.

use std::{collections::BTreeMap, time::Duration};

use barid::{
    article::{ArticleId, RequestId, Revision, Routing, Time, Urgencies, Urgency},
    wire::{
        log::group::{Context, Group},
        proto::v1::{
            Action, Article, Delivery, GetArticleRequest, ListArticlesRequest,
            ListRevisionsRequest, PublishRequest, PublishResponse, PublishStreamRequest,
            PublishStreamResponse, publish_stream_response::Result as Answer,
            publisher_service_client::PublisherServiceClient,
        },
        record::Record,
    },
};
use prost::Message as _;
use prost_types::Timestamp;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    harness::{
        LIMIT, Node, action, article, article_of, everything, fields, new_id, noted, refusal,
        request, seq,
    },
    raw_log,
};

/// What an action on an article in some state comes to.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// A new revision that says so.
    Becomes(Action),
    /// The answer to the first kill again.
    FirstKill,
    Refused(Code, &'static str),
}

async fn send(node: &Node, request: &PublishRequest) -> Result<PublishResponse, Status> {
    let response = node.publisher().publish(request.clone()).await;
    response.map(tonic::Response::into_inner)
}

async fn replay(node: &Node) -> Vec<Delivery> {
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.history().await
}

async fn get(node: &Node, article_id: &str) -> Delivery {
    let request = GetArticleRequest {
        article_id: article_id.to_owned(),
    };
    let response = node.articles().get_article(request).await.unwrap();
    response.into_inner().delivery.unwrap()
}

/// An id-derived name: UUIDv5 in the namespace of URLs.
fn v5(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

fn metadata(status: &Status, key: &str) -> Option<String> {
    let info = status.get_details_error_info()?;
    info.metadata.get(key).cloned()
}

/// Proves the table of actions: every action in every state either makes the next revision, which
/// says what it did, or is refused for its reason and leaves nothing.
#[tokio::test]
async fn every_action_does_in_every_state_what_the_table_says() {
    use Action::{Correct, Kill, Publish, Unspecified, Update, Withhold};
    use Outcome::{Becomes, FirstKill, Refused};
    let unknown = Refused(Code::NotFound, "ARTICLE_UNKNOWN");
    let withheld = Refused(Code::FailedPrecondition, "ARTICLE_WITHHELD");
    let killed = Refused(Code::FailedPrecondition, "ARTICLE_KILLED");
    let asked = [Unspecified, Publish, Update, Correct, Withhold, Kill];
    let table: [(&[Action], [Outcome; 6]); 6] = [
        (
            &[],
            [
                Becomes(Publish),
                Becomes(Publish),
                unknown,
                unknown,
                unknown,
                unknown,
            ],
        ),
        (
            &[Publish],
            [
                Becomes(Update),
                Becomes(Update),
                Becomes(Update),
                Becomes(Correct),
                Becomes(Withhold),
                Becomes(Kill),
            ],
        ),
        (
            &[Publish, Correct],
            [
                Becomes(Update),
                Becomes(Update),
                Becomes(Update),
                Becomes(Correct),
                Becomes(Withhold),
                Becomes(Kill),
            ],
        ),
        (
            &[Publish, Withhold],
            [
                Becomes(Publish),
                Becomes(Publish),
                withheld,
                withheld,
                withheld,
                Becomes(Kill),
            ],
        ),
        (
            &[Publish, Withhold, Publish],
            [
                Becomes(Update),
                Becomes(Update),
                Becomes(Update),
                Becomes(Correct),
                Becomes(Withhold),
                Becomes(Kill),
            ],
        ),
        (
            &[Publish, Kill],
            [killed, killed, killed, killed, killed, FirstKill],
        ),
    ];
    let node = Node::start();
    for (before, outcomes) in table {
        for (asked, outcome) in asked.into_iter().zip(outcomes) {
            check_action(&node, before, asked, outcome).await;
        }
    }
}

async fn check_action(node: &Node, before: &[Action], asked: Action, outcome: Outcome) {
    let case = format!("{asked:?} after {before:?}");
    let uri = format!("https://wire.example/{}", new_id());
    let mut last = None;
    for one in before {
        last = Some(node.publish(*one, noted(&uri, "why")).await.unwrap());
    }
    let result = node.publish(asked, noted(&uri, "why")).await;
    let newest = match (outcome, result) {
        (Outcome::Becomes(done), Ok(response)) => {
            let revision = before.len() + 1;
            assert_eq!(response.revision as usize, revision, "{case}");
            assert!(!response.duplicate, "{case}");
            Some((response, done))
        }
        (Outcome::FirstKill, Ok(response)) => {
            let first = last.unwrap();
            let again = PublishResponse {
                duplicate: true,
                ..first.clone()
            };
            assert_eq!(response, again, "{case}");
            Some((first, Action::Kill))
        }
        (Outcome::Refused(code, reason), Err(status)) => {
            assert_eq!(refusal(&status), (code, reason.to_owned()), "{case}");
            last.zip(before.last().copied())
        }
        (outcome, result) => panic!("{case}: not {outcome:?} but {result:?}"),
    };
    let Some((response, done)) = newest else {
        return;
    };
    let found = get(node, &response.article_id).await;
    assert_eq!(
        (action(&found), found.revision),
        (done, response.revision),
        "{case}"
    );
    assert_eq!(found.cursor, response.cursor, "{case}");
}

/// Proves that correct, withhold and kill are refused without a reason, and publish and update need
/// none.
#[tokio::test]
async fn who_takes_something_back_says_why() {
    let node = Node::start();
    let uri = "https://wire.example/1";
    for asked in [Action::Publish, Action::Update] {
        node.publish(asked, article(uri, "a headline"))
            .await
            .unwrap();
    }
    for asked in [Action::Correct, Action::Withhold, Action::Kill] {
        for note in ["", " \n"] {
            let status = node.publish(asked, noted(uri, note)).await.unwrap_err();
            let expected = (Code::InvalidArgument, "FIELD_INVALID".to_owned());
            assert_eq!(refusal(&status), expected, "{asked:?}");
            assert_eq!(fields(&status), ["article.edition_note"], "{asked:?}");
        }
    }
    assert_eq!(replay(&node).await.len(), 2);
}

/// Proves which article a request means: a given id, else the one of its uri, else one of its
/// request id.
#[tokio::test]
async fn ids_are_given_or_derived_from_uri_or_request() {
    let node = Node::start();
    let (given, urn_id) = (new_id(), new_id());
    let uri = "https://wire.example/ünï/1?a=b";
    let cases = [
        ("given", given.clone(), "", given.clone()),
        ("given in upper case", given.to_uppercase(), "", given),
        ("of the uri", String::new(), uri, v5(uri)),
        (
            "of the exact bytes",
            String::new(),
            "HTTPS://wire.example/ünï/1?a=b",
            v5("HTTPS://wire.example/ünï/1?a=b"),
        ),
        (
            "of the urn",
            String::new(),
            &format!("urn:uuid:{urn_id}"),
            urn_id.clone(),
        ),
        (
            "of the urn and given",
            urn_id.clone(),
            &format!("urn:uuid:{urn_id}"),
            urn_id.clone(),
        ),
        (
            "of a urn that is no uuid",
            String::new(),
            "urn:uuid:1",
            v5("urn:uuid:1"),
        ),
        (
            "given beside a uri",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8".into(),
            "https://w.example/",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8".into(),
        ),
    ];
    for (case, id, uri, expected) in cases {
        let article = Article {
            id,
            ..article(uri, case)
        };
        let response = node.publish(Action::Publish, article).await.unwrap();
        assert_eq!(response.article_id, expected, "{case}");
        let found = article_of(&get(&node, &expected).await);
        let shown_uri = if uri == format!("urn:uuid:{urn_id}") {
            ""
        } else {
            uri
        };
        assert_eq!(
            (found.id.as_str(), found.uri.as_str()),
            (expected.as_str(), shown_uri),
            "{case}"
        );
    }

    let request = request(Action::Publish, article("", "of the request"));
    let response = send(&node, &request).await.unwrap();
    assert_eq!(
        response.article_id,
        v5(&format!("urn:uuid:{}", request.request_id))
    );
    // A retry means the same article.
    assert!(send(&node, &request).await.unwrap().duplicate);
}

/// Proves that an id and a uri which do not belong together are refused, and the right ones never.
#[tokio::test]
async fn a_uri_is_fixed_at_revision_1() {
    let node = Node::start();
    let (with, without) = (new_id(), new_id());
    let stored = "https://wire.example/1";
    let of = |id: &str, uri: &str| Article {
        id: id.to_owned(),
        ..article(uri, "a headline")
    };
    node.publish(Action::Publish, of(&with, stored))
        .await
        .unwrap();
    node.publish(Action::Publish, of(&without, ""))
        .await
        .unwrap();

    let mismatches = [
        of(&with, "https://wire.example/2"),
        of(&with, &format!("urn:uuid:{without}")),
        of(&without, "https://wire.example/3"),
        of(&without, &format!("urn:uuid:{with}")),
    ];
    for article in mismatches {
        let case = format!("{article:?}");
        let status = node.publish(Action::Update, article).await.unwrap_err();
        let expected = (Code::InvalidArgument, "ID_URI_MISMATCH".to_owned());
        assert_eq!(refusal(&status), expected, "{case}");
        assert_eq!(fields(&status), ["article.uri"], "{case}");
    }
    let good = [
        of(&with, stored),
        of(&with, ""),
        of(&with, &format!("urn:uuid:{with}")),
        of("", &format!("urn:uuid:{with}")),
    ];
    for (revision, article) in (2..).zip(good) {
        let response = node.publish(Action::Update, article).await.unwrap();
        assert_eq!(
            (response.article_id.as_str(), response.revision),
            (with.as_str(), revision)
        );
        assert_eq!(article_of(&get(&node, &with).await).uri, stored);
    }
}

/// Proves invariant 3 for an article's whole life: a request that is sent again gets its first
/// answer, after later revisions, a kill, a kill -9 and an orderly restart.
#[tokio::test]
async fn a_request_that_is_sent_again_gets_its_first_answer() {
    let mut node = Node::start();
    let uri = "https://wire.example/1";
    let mut requests = Vec::new();
    for asked in [
        Action::Publish,
        Action::Update,
        Action::Correct,
        Action::Withhold,
        Action::Kill,
    ] {
        let request = PublishRequest {
            expected_revision: Some(requests.len() as u32),
            ..request(asked, noted(uri, "why"))
        };
        let response = send(&node, &request).await.unwrap();
        requests.push((request, response));
        check_answers(&node, &requests).await;
    }
    node.kill();
    node.start_again().await;
    check_answers(&node, &requests).await;
    assert_eq!(node.stop().await, Some(0));
    node.start_again().await;
    check_answers(&node, &requests).await;
    // The kill is all that is left to read.
    assert_eq!(replay(&node).await.len(), 1);
}

async fn check_answers(node: &Node, requests: &[(PublishRequest, PublishResponse)]) {
    for (request, response) in requests {
        let again = send(node, request).await.unwrap();
        let expected = PublishResponse {
            duplicate: true,
            ..response.clone()
        };
        assert_eq!(again, expected);
        let mut other = request.clone();
        other.article.as_mut().unwrap().headline = "another".to_owned();
        let status = send(node, &other).await.unwrap_err();
        let expected = (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned());
        assert_eq!(refusal(&status), expected);
        assert_eq!(fields(&status), ["request_id"]);
    }
}

/// Proves the order of checks: request id, killed, expected revision, then what the action may do.
#[tokio::test]
async fn checks_come_in_their_order() {
    let node = Node::start();
    let (killed, withheld) = (
        "https://wire.example/killed",
        "https://wire.example/withheld",
    );
    let first = request(Action::Publish, article(killed, "a headline"));
    send(&node, &first).await.unwrap();
    let kill = node
        .publish(Action::Kill, noted(killed, "why"))
        .await
        .unwrap();
    node.publish(Action::Publish, article(withheld, "a headline"))
        .await
        .unwrap();
    node.publish(Action::Withhold, noted(withheld, "why"))
        .await
        .unwrap();

    let stale = |action, uri| PublishRequest {
        expected_revision: Some(7),
        ..request(action, noted(uri, "why"))
    };
    let reused = PublishRequest {
        request_id: first.request_id.clone(),
        ..stale(Action::Update, killed)
    };
    let conflict = (Code::Aborted, "REVISION_CONFLICT");
    let cases = [
        (
            "request id before killed",
            reused,
            (Code::InvalidArgument, "REQUEST_ID_REUSED"),
        ),
        (
            "killed before revision",
            stale(Action::Update, killed),
            (Code::FailedPrecondition, "ARTICLE_KILLED"),
        ),
        (
            "revision before withheld",
            stale(Action::Update, withheld),
            conflict,
        ),
        (
            "revision before unknown",
            stale(Action::Update, "https://wire.example/none"),
            conflict,
        ),
    ];
    for (case, request, (code, reason)) in cases {
        let status = send(&node, &request).await.unwrap_err();
        assert_eq!(refusal(&status), (code, reason.to_owned()), "{case}");
    }
    let again = send(&node, &stale(Action::Kill, killed)).await.unwrap();
    assert_eq!(
        again,
        PublishResponse {
            duplicate: true,
            ..kill
        }
    );
}

/// Proves the optimistic check: 0 is a new article, anything stale names the newest revision.
#[tokio::test]
async fn a_stale_expectation_is_told_the_newest_revision() {
    let node = Node::start();
    let expecting = |revision| PublishRequest {
        expected_revision: Some(revision),
        ..request(
            Action::Publish,
            article("https://wire.example/1", "a headline"),
        )
    };
    for revision in 0..3 {
        for wrong in (0..5).filter(|wrong| *wrong != revision) {
            let status = send(&node, &expecting(wrong)).await.unwrap_err();
            let expected = (Code::Aborted, "REVISION_CONFLICT".to_owned());
            assert_eq!(refusal(&status), expected, "{wrong} at {revision}");
            let newest = metadata(&status, "newest_revision");
            assert_eq!(newest, Some(revision.to_string()), "{wrong} at {revision}");
        }
        let response = send(&node, &expecting(revision)).await.unwrap();
        assert_eq!(response.revision, revision + 1);
    }
    assert_eq!(replay(&node).await.len(), 3);
}

/// Proves that the language of revision 1 stays, may be left out, and is needed once.
#[tokio::test]
async fn a_language_is_fixed_at_revision_1() {
    let node = Node::start();
    let uri = "https://wire.example/1";
    let tagged = |tag: &str| Article {
        language: tag.to_owned(),
        ..article(uri, "a headline")
    };
    let status = node.publish(Action::Publish, tagged("")).await.unwrap_err();
    assert_eq!(
        refusal(&status),
        (Code::InvalidArgument, "FIELD_INVALID".to_owned())
    );
    assert_eq!(fields(&status), ["article.language"]);

    node.publish(Action::Publish, tagged("ar-EG"))
        .await
        .unwrap();
    for other in ["ar", "en", "ar-SY"] {
        let status = node
            .publish(Action::Update, tagged(other))
            .await
            .unwrap_err();
        let expected = (Code::InvalidArgument, "LANGUAGE_FIXED".to_owned());
        assert_eq!(refusal(&status), expected, "{other}");
        assert_eq!(fields(&status), ["article.language"], "{other}");
    }
    for same in ["ar-EG", "AR-eg", ""] {
        node.publish(Action::Update, tagged(same)).await.unwrap();
    }
    for delivery in replay(&node).await {
        assert_eq!(article_of(&delivery).language, "ar-EG");
    }
}

/// Proves that a notice carries id, uri, language, urgency, reason and times, whatever the
/// publisher sent with it, on every way out and in the log.
#[tokio::test]
async fn a_notice_carries_nothing_of_the_text() {
    let time = |seconds| Some(Timestamp { seconds, nanos: 7 });
    let full = |uri: &str| Article {
        subheadline: "SECRET subheadline".to_owned(),
        slugline: "SECRET slugline".to_owned(),
        body: "SECRET body".to_owned(),
        byline: "SECRET byline".to_owned(),
        located: "SECRET located".to_owned(),
        source: "SECRET source".to_owned(),
        usage_terms: "SECRET terms".to_owned(),
        topics: vec!["ict".to_owned()],
        subjects: vec!["04000000".to_owned()],
        urgency: 2,
        edition_note: "the reason".to_owned(),
        first_created: time(1_000),
        version_created: time(2_000),
        ..article(uri, "SECRET headline")
    };
    let node = Node::start();
    let mut reader = node.subscribe(everything()).await.unwrap();
    reader.caught_up().await;
    for asked in [Action::Withhold, Action::Kill] {
        let uri = format!("https://wire.example/{asked:?}");
        let first = node.publish(Action::Publish, full(&uri)).await.unwrap();
        reader.delivery().await;
        let notice = node.publish(asked, full(&uri)).await.unwrap();
        let expected = Article {
            id: first.article_id.clone(),
            uri,
            language: "en".to_owned(),
            urgency: 2,
            edition_note: "the reason".to_owned(),
            first_created: time(1_000),
            version_created: time(2_000),
            ..Article::default()
        };
        assert_eq!(notice.topics, first.topics);
        let article_id = first.article_id.clone();
        let listed = node
            .articles()
            .list_articles(ListArticlesRequest::default())
            .await
            .unwrap();
        let revisions = ListRevisionsRequest {
            article_id,
            ..ListRevisionsRequest::default()
        };
        let revisions = node
            .articles()
            .list_revisions(revisions)
            .await
            .unwrap()
            .into_inner();
        let shown = [
            reader.delivery().await,
            get(&node, &first.article_id).await,
            listed.into_inner().deliveries[0].clone(),
            revisions.deliveries.last().unwrap().clone(),
        ];
        for delivery in shown {
            assert_eq!(article_of(&delivery), expected, "{asked:?}");
            assert_eq!(
                (action(&delivery), &delivery.topics),
                (asked, &first.topics)
            );
        }
        let group = notice.topics.len() as u64 + 3;
        for message in raw_log::messages(&node).await {
            if (seq(&notice.cursor)..seq(&notice.cursor) + group).contains(&message.seq) {
                let text = String::from_utf8_lossy(&message.payload);
                assert!(!text.contains("SECRET"), "{asked:?} in {}", message.subject);
            }
        }
    }
}

/// Sends all requests on one stream at once; returns the answers in their order.
async fn pipeline(node: &Node, requests: Vec<PublishRequest>) -> Vec<PublishStreamResponse> {
    let requests = requests.into_iter().map(|publish| PublishStreamRequest {
        publish: Some(publish),
    });
    let stream = tokio_stream::iter(requests.collect::<Vec<_>>());
    let mut answers = node
        .publisher()
        .publish_stream(stream)
        .await
        .unwrap()
        .into_inner();
    let mut found = Vec::new();
    while let Some(answer) = timeout(LIMIT, answers.message()).await.unwrap().unwrap() {
        found.push(answer);
    }
    found
}

/// Proves that a stream whose client takes no answers keeps nobody else from its article, and that it
/// gets all of them later, in their order.
#[tokio::test]
async fn a_pipeline_that_stands_still_keeps_no_article() {
    // More than may be under way.
    const COUNT: u32 = 300;
    let node = Node::start();
    let channel = Channel::from_shared(format!("http://{}", node.grpc)).unwrap();
    let channel = channel.initial_stream_window_size(128).connect_lazy();
    let requests = (0..COUNT).map(|number| {
        let article = article("test:a", &format!("headline {number}"));
        let publish = Some(request(Action::Publish, article));
        PublishStreamRequest { publish }
    });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let mut publisher = PublisherServiceClient::new(channel);
    let mut answers = publisher
        .publish_stream(requests)
        .await
        .unwrap()
        .into_inner();
    let mut next = async || {
        let answer = timeout(LIMIT, answers.message()).await.expect("in time");
        match answer.unwrap().unwrap().result.unwrap() {
            Answer::Published(published) => published.revision,
            Answer::Error(status) => panic!("refused: {status:?}"),
        }
    };
    let mut revisions = vec![next().await];
    let by_another = node.publish(Action::Publish, article("test:a", "by another"));
    let by_another = timeout(LIMIT, by_another).await.expect("in time").unwrap();
    while revisions.len() < COUNT as usize {
        revisions.push(next().await);
    }
    let all = 1..=COUNT + 1;
    let expected = all.filter(|revision| *revision != by_another.revision);
    assert_eq!(revisions, expected.collect::<Vec<_>>());
}

/// Proves that a stream of 1000 pipelined requests is answered in its order, that revisions of one
/// article keep theirs, and that bad ones in between cost nothing but themselves.
#[tokio::test]
async fn a_pipeline_is_answered_in_order_with_bad_ones_in_between() {
    const ARTICLES: usize = 60;
    let node = Node::start();
    let good = |number: usize| {
        let uri = format!("https://wire.example/{}", number % ARTICLES);
        request(
            Action::Publish,
            article(&uri, &format!("headline {number}")),
        )
    };
    let mut requests: Vec<(PublishRequest, Option<&str>)> = Vec::new();
    for number in 0..1000 {
        let request = good(number);
        requests.push(match number % 9 {
            3 => {
                let article = article("https://wire.example/0", "");
                (
                    PublishRequest {
                        article: Some(article),
                        ..request
                    },
                    Some("FIELD_INVALID"),
                )
            }
            5 => {
                let bad = noted(&format!("https://wire.example/none/{number}"), "why");
                let kill = Action::Kill.into();
                let article = Some(bad);
                (
                    PublishRequest {
                        article,
                        action: kill,
                        ..request
                    },
                    Some("ARTICLE_UNKNOWN"),
                )
            }
            7 => (
                PublishRequest {
                    request_id: "bad".into(),
                    ..request
                },
                Some("FIELD_INVALID"),
            ),
            _ => (request, None),
        });
    }
    let sent = requests
        .iter()
        .map(|(request, _)| request.clone())
        .collect();
    let answers = pipeline(&node, sent).await;
    assert_eq!(answers.len(), requests.len());

    let mut accepted = BTreeMap::new();
    let mut revisions: BTreeMap<String, u32> = BTreeMap::new();
    for ((request, refused), answer) in requests.iter().zip(answers) {
        assert_eq!(answer.request_id, request.request_id);
        match (answer.result.unwrap(), refused) {
            (Answer::Published(response), None) => {
                let revision = revisions.entry(response.article_id.clone()).or_default();
                *revision += 1;
                assert_eq!(response.revision, *revision);
                let headline = request.article.as_ref().unwrap().headline.clone();
                accepted.insert(seq(&response.cursor), headline);
            }
            (Answer::Error(error), Some(reason)) => {
                let details = tonic_types::Status {
                    code: error.code,
                    message: error.message.clone(),
                    details: error.details.clone(),
                };
                let status = Status::with_details(
                    error.code.into(),
                    error.message,
                    details.encode_to_vec().into(),
                );
                assert_eq!(&refusal(&status).1, reason);
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }
    let replayed: Vec<(u64, String)> = replay(&node)
        .await
        .iter()
        .map(|delivery| (seq(&delivery.cursor), article_of(delivery).headline))
        .collect();
    assert_eq!(replayed, accepted.into_iter().collect::<Vec<_>>());
    raw_log::whole_groups(&node).await;
}

/// Proves where revisions go: named topics, then those of codes, then those of earlier revisions;
/// general when there is nothing; and that an unknown topic is refused with the nearest.
#[tokio::test]
async fn topics_are_named_coded_inherited_or_general() {
    let node = Node::start();
    let uri = "https://wire.example/1";
    let routed = |topics: &[&str], subjects: &[&str]| Article {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        subjects: subjects.iter().map(|code| (*code).to_owned()).collect(),
        ..noted(uri, "why")
    };
    let steps: [(Action, Article, &[&str]); 6] = [
        (Action::Publish, routed(&[], &["01000000"]), &["general"]),
        (
            Action::Update,
            routed(&["ict.telecom", "ict"], &["medtop:04000000"]),
            &["ict.telecom", "economy", "general"],
        ),
        (
            Action::Correct,
            routed(&["economy.trade", "ict.telecom"], &[]),
            &["economy.trade", "ict.telecom", "economy", "general"],
        ),
        (
            Action::Update,
            routed(&[], &[]),
            &["economy.trade", "ict.telecom", "economy", "general"],
        ),
        (
            Action::Update,
            routed(&["ict.telecom"], &["13000000"]),
            &["ict.telecom", "economy.trade", "economy", "general"],
        ),
        (
            Action::Withhold,
            routed(&["diplomacy", "no.such"], &["11000000"]),
            &["ict.telecom", "economy.trade", "economy", "general"],
        ),
    ];
    for (asked, article, expected) in steps {
        let case = format!("{asked:?} {article:?}");
        let response = node.publish(asked, article).await.unwrap();
        assert_eq!(response.topics, expected, "{case}");
        assert_eq!(
            get(&node, &response.article_id).await.topics,
            expected,
            "{case}"
        );
    }

    for (given, nearest) in [
        ("cybersecurity", "ict.cybersecurity"),
        ("econmy", "economy"),
    ] {
        let article = Article {
            uri: String::new(),
            ..routed(&["ict", given], &[])
        };
        let status = node.publish(Action::Publish, article).await.unwrap_err();
        let expected = (Code::InvalidArgument, "TOPIC_UNKNOWN".to_owned());
        assert_eq!(refusal(&status), expected, "{given}");
        assert_eq!(fields(&status), ["article.topics[1]"], "{given}");
        assert_eq!(
            metadata(&status, "nearest").as_deref(),
            Some(nearest),
            "{given}"
        );
        assert_eq!(
            metadata(&status, "topic").as_deref(),
            Some(given),
            "{given}"
        );
    }
}

/// Proves that an article has at most 64 topics: an update that adds one is refused, a withdrawal
/// still goes to all of them. The built-in taxonomy has fewer, so the first revision is put into
/// the log as a node with another taxonomy would.
#[tokio::test]
async fn an_article_has_at_most_64_topics() {
    let node = Node::start();
    let uri = "https://wire.example/1";
    let topics: Vec<String> = (0..64).map(|number| format!("old.topic{number}")).collect();
    let now = Time::new(1_700_000_000, 0).unwrap();
    let id = ArticleId::from_uri(uri);
    let stored = Article {
        id: id.to_string(),
        urgency: 5,
        ..article(uri, "of another taxonomy")
    };
    let record = Record {
        article_id: id,
        revision: Revision::FIRST,
        action: barid::article::Action::Publish,
        article: stored.encode_to_vec().into(),
        topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
        own_topic_count: 64,
        topic_reasons: vec!["named".to_owned(); 64],
        request_id: new_id().parse::<RequestId>().unwrap(),
        publisher_key_id: "anon".to_owned(),
        published_at: now,
        routed_at: now,
        urgencies_ever: Urgencies::default().with(Urgency::DEFAULT),
        uri: uri.to_owned(),
        prior_revision_seq: 0,
        routing: Routing::Inferred,
        traceparent: String::new(),
        owner: String::new(),
        draft_seq: 0,
        trail: None,
    };
    let context = Context {
        head_seq: 0,
        digest: [7; 32],
        urgency: Urgency::DEFAULT,
    };
    let group = Group::new(&record, &context);
    raw_log::append(&node.nats_owner().await, group.messages).await;

    let more = Article {
        topics: vec!["ict".to_owned()],
        ..article(uri, "one too many")
    };
    let status = node.publish(Action::Update, more).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "TOPICS_TOO_MANY".to_owned());
    assert_eq!(refusal(&status), expected);
    // Topics that the taxonomy has lost stay valid for their article.
    let same = Article {
        topics: vec!["old.topic9".to_owned()],
        ..article(uri, "no more")
    };
    let response = node.publish(Action::Update, same).await.unwrap();
    assert_eq!((response.revision, response.topics.len()), (2, 64));
    assert_eq!(response.topics[0], "old.topic9");
    let noted = Article {
        topics: vec!["ict".to_owned()],
        ..noted(uri, "why")
    };
    let response = node.publish(Action::Kill, noted).await.unwrap();
    assert_eq!((response.revision, response.topics.len()), (3, 64));
}

/// Proves that an embargo in the past is none.
#[tokio::test]
async fn an_embargo_in_the_past_is_none() {
    let node = Node::start();
    let past = Article {
        embargoed_until: Some(Timestamp {
            seconds: 1_000_000_000,
            nanos: 0,
        }),
        ..article("https://wire.example/1", "a headline")
    };
    let published = node.publish(Action::Publish, past).await.unwrap();
    assert_eq!((published.revision, published.embargoed_until), (1, None));
    assert_eq!(replay(&node).await.len(), 1);
}

/// Proves invariants 2 and 3 for callers that go away, by dropping the call or by a deadline that
/// is too short: the revision is there whole or not at all, and the same request tells which.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let node = Node::start();
    let mut publisher = node.publisher();
    let mut retried = 0;
    for number in 0..120u64 {
        let uri = format!("https://wire.example/{}", number % 40);
        let request = request(
            Action::Publish,
            article(&uri, &format!("headline {number}")),
        );
        let patience = Duration::from_micros(number * 97);
        if number % 2 == 0 {
            // Dropped: the stream is reset wherever the call is by then.
            let call = publisher.publish(request.clone());
            let _gone = timeout_at(Instant::now() + patience, call).await;
        } else {
            let mut call = tonic::Request::new(request.clone());
            call.set_timeout(Duration::from_millis(50) + patience);
            if let Err(status) = publisher.publish(call).await {
                let codes = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled];
                assert!(codes.contains(&status.code()), "{status:?}");
            }
        }
        if number % 3 == 0 {
            continue;
        }
        let response = publisher
            .publish(request.clone())
            .await
            .unwrap()
            .into_inner();
        let again = publisher.publish(request).await.unwrap().into_inner();
        assert_eq!(
            again,
            PublishResponse {
                duplicate: true,
                ..response
            }
        );
        retried += 1;
    }
    // The log takes one after the other: what comes after it is after all that was begun.
    let last = article("https://wire.example/last", "the last");
    node.publish(Action::Publish, last).await.unwrap();
    let records = raw_log::whole_groups(&node).await;
    assert!(records.len() > retried);
    let mut requests: Vec<String> = records
        .iter()
        .map(|one| one.request_id.to_string())
        .collect();
    let mut revisions: BTreeMap<ArticleId, u32> = BTreeMap::new();
    for record in &records {
        let revision = revisions.entry(record.article_id).or_default();
        *revision += 1;
        assert_eq!(record.revision.get(), *revision);
    }
    requests.sort();
    requests.dedup();
    assert_eq!(
        requests.len(),
        records.len(),
        "a request made two revisions"
    );
}

/// Publishes until it is for good: two nodes may take each other's turns.
async fn publish_for_good(
    publisher: &mut PublisherServiceClient<Channel>,
    request: &PublishRequest,
) -> PublishResponse {
    loop {
        match publisher.publish(request.clone()).await {
            Ok(response) => return response.into_inner(),
            Err(status) => assert_eq!(refusal(&status).1, "REVISION_CONFLICT"),
        }
    }
}

/// Publishes from `tasks` tasks, `each` times, spread over the nodes: every other one to articles
/// that all share, and returns what was accepted.
async fn publish_from_many(nodes: &[&Node], tasks: usize, each: usize) -> Vec<PublishResponse> {
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let mut publisher = nodes[task % nodes.len()].publisher();
        running.spawn(async move {
            let mut accepted = Vec::new();
            for number in 0..each {
                let uri = if number % 2 == 0 {
                    format!("https://wire.example/shared/{}", number % 8)
                } else {
                    format!("https://wire.example/{task}/{}", number % 4)
                };
                let headline = format!("headline {task} {number}");
                let request = request(Action::Publish, article(&uri, &headline));
                accepted.push(publish_for_good(&mut publisher, &request).await);
            }
            accepted
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

/// Asserts that the log is whole, that revisions are gapless, and that a replay shows exactly what
/// was accepted.
async fn check_accepted(node: &Node, accepted: &[PublishResponse]) {
    let mut by_place = BTreeMap::new();
    for response in accepted {
        assert!(!response.duplicate);
        let one = (response.article_id.clone(), response.revision);
        assert!(by_place.insert(seq(&response.cursor), one).is_none());
    }
    let mut revisions: BTreeMap<&str, u32> = BTreeMap::new();
    for (id, revision) in by_place.values() {
        let expected = revisions.entry(id).or_default();
        *expected += 1;
        assert_eq!(revision, expected, "{id}");
    }
    let replayed: BTreeMap<u64, (String, u32)> = replay(node)
        .await
        .iter()
        .map(|one| (seq(&one.cursor), (article_of(one).id, one.revision)))
        .collect();
    assert_eq!(replayed, by_place);
    assert_eq!(raw_log::whole_groups(node).await.len(), accepted.len());
}

/// Proves invariants 3, 4 and 5 under load: 64 publishers at once, on articles of their own and on
/// shared ones.
#[tokio::test]
async fn many_publishers_at_once_lose_and_double_nothing() {
    let node = Node::start();
    let accepted = publish_from_many(&[&node], 64, 20).await;
    assert_eq!(accepted.len(), 64 * 20);
    check_accepted(&node, &accepted).await;
}

/// Proves the same for two nodes on one log, which know nothing of each other's turns.
#[tokio::test]
async fn publishers_on_two_nodes_lose_and_double_nothing() {
    let node = Node::start();
    let other = Node::start_with(&["--nats-url", &node.nats_url()]);
    let accepted = publish_from_many(&[&node, &other], 12, 10).await;
    assert_eq!(accepted.len(), 12 * 10);
    check_accepted(&node, &accepted).await;
    assert_eq!(replay(&other).await, replay(&node).await);
}

/// A retry of what no node remembers any more is still the same revision: the log itself refuses a
/// second answer to one request.
#[tokio::test]
async fn a_forgotten_request_is_answered_by_the_log() {
    let mut node = Node::start();
    node.publish(Action::Publish, article("test:a", "first"))
        .await
        .unwrap();
    let update = request(Action::Update, article("test:a", "second"));
    let first = send(&node, &update).await.unwrap();
    // A node that starts reads the newest 100,000 sequences only.
    raw_log::append_filler(&node.nats_owner().await, 100_000).await;
    assert_eq!(node.stop().await, Some(0));
    node.start_again().await;

    let again = send(&node, &update).await.unwrap();
    let duplicate = true;
    assert_eq!(again, PublishResponse { duplicate, ..first });
    assert_eq!(get(&node, &again.article_id).await.revision, 2);
}
