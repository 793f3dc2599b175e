//! The log as NATS shows it: what native readers get, what never reaches them, and its settings.

use async_nats::{
    Client, HeaderMap, Subscriber,
    client::Request as NatsRequest,
    header::{
        NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
        NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    },
    jetstream::{
        self, ErrorCode,
        publish::PublishAck,
        response::Response,
        stream::{DiscardPolicy, RetentionPolicy, StorageType, Stream},
    },
};
use barid::wire::proto::{
    log::v1::{ArticleRecord, RequestRecord},
    v1::{
        Action, Article, Delivery, Filter, GetArticleRequest, ListArticlesRequest,
        ListRevisionsRequest, SubscribeResponse, subscribe_response::Frame,
    },
};
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use prost::{Message as _, encoding};
use prost_types::Timestamp;
use tokio::time::timeout;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use uuid::Uuid;

use crate::harness::{LIMIT, Node, after, article, article_of, everything, filter, request, seq};

/// A field of `Article` that this release does not know.
const UNKNOWN_ARTICLE_FIELD: u32 = 1000;
/// A field of `ArticleRecord` that a later release may use.
const UNKNOWN_RECORD_FIELD: u32 = 30;

/// One message of a group: subject, sequence that its subject must have, body.
type Part = (String, Option<u64>, Bytes);

/// What a batch that was never committed, or that the log refused, has left behind is nothing:
/// native readers, gRPC subscribers and the log itself show only what was committed after it.
#[tokio::test]
async fn an_uncommitted_batch_shows_nothing() {
    let mut node = Node::start();
    let owner = node.nats_owner().await;
    let mut live = reader(&node, "news.>").await;
    // Parts of a batch do pass here before a commit, and without one.
    let mut passing = owner.subscribe("log.news.>").await.unwrap();
    owner.flush().await.unwrap();

    let abandoned = group("https://example.org/abandoned");
    let uncommitted = &abandoned[..abandoned.len() - 1];
    send_batch(&owner, uncommitted, false).await;
    assert_eq!(next(&mut passing).await.subject.as_str(), "log.news.ict");

    for stale in [0, 2] {
        let mut refused = group("https://example.org/refused");
        refused[stale].1 = Some(7);
        let answer = send_batch(&owner, &refused, true).await;
        let Some(Response::Err { error }) = answer else {
            panic!("not refused: {answer:?}");
        };
        assert!(matches!(
            error.error_code(),
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT
        ));
        assert_eq!(next(&mut passing).await.subject.as_str(), "log.news.ict");
    }
    assert_eq!(last_sequence(&owner).await, 0);

    let accepted = Article {
        topics: vec!["ict".to_owned(), "economy.trade".to_owned()],
        ..article("https://example.org/accepted", "Accepted")
    };
    let accepted = node.publish(Action::Publish, accepted).await.unwrap();
    assert_eq!(seq(&accepted.cursor), 1);
    for subject in ["news.ict", "news.economy.trade"] {
        let copy = next(&mut live).await;
        assert_eq!(copy.subject.as_str(), subject);
        let shown = article_of(&delivery(&copy.payload));
        assert_eq!(shown.id, accepted.article_id);
    }

    // Nor does the end of both processes bring the abandoned one back.
    node.kill();
    node.start_again().await;
    let mut stream = node.subscribe(everything()).await.unwrap();
    let history = stream.history().await;
    let cursors: Vec<_> = history.iter().map(|delivery| &delivery.cursor).collect();
    assert_eq!(cursors, [&accepted.cursor]);
    // Record, two copies, answer.
    assert_eq!(last_sequence(&node.nats_owner().await).await, 4);
}

/// Fields of an article that this release does not know, written by a newer one, reach every kind of
/// reader as they are; those of the record stay where they are; and an older node can go on with
/// the article.
#[tokio::test]
async fn unknown_fields_survive() {
    let node = Node::start();
    let owner = node.nats_owner().await;
    let mut live = node.subscribe(everything()).await.unwrap();
    live.caught_up().await;
    let mut native = reader(&node, "news.ict").await;

    let uri = "https://example.org/newer";
    let group = group(uri);
    let record = ArticleRecord::decode(group[0].2.clone()).unwrap();
    let answer = send_batch(&owner, &group, true).await;
    assert!(matches!(answer, Some(Response::Ok(_))), "{answer:?}");

    let article_id = article_id(&record);
    let delivered = live.delivery().await;
    let mut history = node.subscribe(everything()).await.unwrap();
    let mut all = vec![
        delivered.clone(),
        delivery(&next(&mut native).await.payload),
        history.delivery().await,
    ];
    let mut articles = node.articles();
    let get = GetArticleRequest {
        article_id: article_id.clone(),
    };
    all.extend(
        articles
            .get_article(get)
            .await
            .unwrap()
            .into_inner()
            .delivery,
    );
    let list = ListArticlesRequest {
        filter: Some(Filter {
            words: vec!["newer".to_owned()],
            ..filter(&["ict"])
        }),
        ..ListArticlesRequest::default()
    };
    all.extend(
        articles
            .list_articles(list)
            .await
            .unwrap()
            .into_inner()
            .deliveries,
    );
    let list = ListRevisionsRequest {
        article_id,
        ..ListRevisionsRequest::default()
    };
    all.extend(
        articles
            .list_revisions(list)
            .await
            .unwrap()
            .into_inner()
            .deliveries,
    );
    let shown: Vec<_> = all.into_iter().map(|delivery| delivery.article).collect();
    assert_eq!(shown, vec![record.article; 6]);

    let update = node.publish(Action::Update, article(uri, "Goes on")).await;
    let update = update.unwrap();
    assert_eq!((update.revision, update.topics), (2, record.topics));
    let mut rest = node.subscribe(after(&delivered.cursor)).await.unwrap();
    assert_eq!(rest.delivery().await.cursor, update.cursor);
}

/// Why an article went to its topics, which request made it and whose key published it is known to
/// the log alone: no byte of it is in what gRPC or NATS readers get.
#[tokio::test]
async fn the_inner_fields_never_leave() {
    let node = Node::start();
    let owner = node.nats_owner().await;
    let mut native = reader(&node, "news.>").await;
    let mut frames = raw_stream(&node, &everything()).await;
    assert!(matches!(
        frame(&next_frame(&mut frames).await),
        Frame::CaughtUp(_)
    ));

    // By a code, so that the reason is not a word that the article has itself.
    let published = Article {
        subjects: vec!["13000000".to_owned()],
        ..article("https://example.org/inner", "Inner")
    };
    let request = request(Action::Publish, published);
    let request_id: Uuid = request.request_id.parse().unwrap();
    let published = node.publisher().publish(request).await.unwrap();
    let published = published.into_inner();
    // As a newer release, or one with keys, would.
    let by_hand = group("https://example.org/by-hand");
    let answer = send_batch(&owner, &by_hand, true).await;
    assert!(matches!(answer, Some(Response::Ok(_))), "{answer:?}");

    let by_hand_record = ArticleRecord::decode(by_hand[0].2.clone()).unwrap();
    let by_hand_id = Uuid::from_slice(&by_hand_record.request_id).unwrap();
    let mut secrets = Vec::new();
    for id in [request_id, by_hand_id] {
        secrets.push(id.as_bytes().to_vec());
        secrets.push(id.to_string().into_bytes());
        secrets.push(id.simple().to_string().into_bytes());
    }
    let reasons = ["subject medtop:13000000", "a reason of the router"];
    secrets.extend(reasons.map(|reason| reason.as_bytes().to_vec()));
    secrets.push(b"a-key-of-somebody".to_vec());
    secrets.push(b"a field of a later release".to_vec());
    // Field 9 of a publisher without a key: the word alone may be in any text.
    secrets.push([&[0x4a, 4], b"anon".as_slice()].concat());

    let mut shown: Vec<(&str, Vec<u8>)> = Vec::new();
    for _ in 0..2 {
        shown.push(("a live frame", next_frame(&mut frames).await.to_vec()));
    }
    let mut history = raw_stream(&node, &everything()).await;
    for _ in 0..2 {
        shown.push((
            "a frame of history",
            next_frame(&mut history).await.to_vec(),
        ));
    }
    for (_, frame_bytes) in &shown {
        assert!(matches!(frame(frame_bytes), Frame::Delivery(_)));
    }
    for article_id in [published.article_id, article_id(&by_hand_record)] {
        let get = GetArticleRequest {
            article_id: article_id.clone(),
        };
        shown.push(("GetArticle", raw_call(&node, "GetArticle", &get).await));
        let list = ListRevisionsRequest {
            article_id,
            ..ListRevisionsRequest::default()
        };
        shown.push((
            "ListRevisions",
            raw_call(&node, "ListRevisions", &list).await,
        ));
    }
    let list = ListArticlesRequest::default();
    shown.push(("ListArticles", raw_call(&node, "ListArticles", &list).await));
    for _ in 0..2 {
        let copy = next(&mut native).await;
        let headers = copy.headers.unwrap();
        for (name, values) in headers.iter() {
            let name: &str = name.as_ref();
            assert!(is_native_header(name), "header {name}");
            for value in values {
                shown.push(("a header", value.as_str().as_bytes().to_vec()));
            }
        }
        shown.push(("a copy", copy.payload.to_vec()));
    }

    // They are there to be found: otherwise this test would prove nothing.
    let stream = stream(&owner).await;
    let mut stored = Vec::new();
    for place in 1..=last_sequence(&owner).await {
        let message = stream.get_raw_message(place).await.unwrap();
        stored.extend_from_slice(message.subject.as_bytes());
        stored.extend_from_slice(&message.payload);
    }
    for secret in &secrets {
        let text = String::from_utf8_lossy(secret);
        // No subject has an id without hyphens.
        assert!(
            contains(&stored, secret) || text.len() == 32,
            "not in the log: {text}"
        );
        for (place, bytes) in &shown {
            assert!(!contains(bytes, secret), "{text} in {place}");
        }
    }
}

/// The stream is as the design has it: on disk, a wall and not a window, atomic, republished, with
/// the epoch that cursors carry.
#[tokio::test]
async fn the_stream_has_its_settings() {
    let node = Node::start();
    let config = stream(&node.nats_owner().await)
        .await
        .get_info()
        .await
        .unwrap()
        .config;
    assert_eq!(config.subjects, ["log.>"]);
    assert_eq!(config.storage, StorageType::File);
    assert_eq!(config.num_replicas, 1);
    assert_eq!(config.retention, RetentionPolicy::Limits);
    assert_eq!(config.discard, DiscardPolicy::New);
    assert!(config.max_age.is_zero());
    assert_eq!(
        (config.max_messages, config.max_messages_per_subject),
        (-1, -1)
    );
    assert!(config.allow_atomic_publish && config.allow_direct);
    // The erasure of a kill is a delete.
    assert!(!config.deny_delete && !config.sealed && !config.no_ack);
    let republish = config.republish.unwrap();
    assert_eq!(
        (republish.source.as_str(), republish.destination.as_str()),
        ("log.news.>", "news.>")
    );
    assert!(!republish.headers_only);

    let published = node.publish(Action::Publish, article("https://example.org/1", "One"));
    let cursor = published.await.unwrap().cursor;
    let (epoch, _) = cursor.split_once('-').unwrap();
    assert_eq!(config.metadata["barid.epochs"], format!("{epoch}@1"));
}

/// A subscription as everybody has it who gives no credentials.
async fn reader(node: &Node, subject: &str) -> Subscriber {
    let client = async_nats::connect(&node.nats).await.unwrap();
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    subscriber
}

async fn next(subscriber: &mut Subscriber) -> async_nats::Message {
    let message = timeout(LIMIT, subscriber.next()).await;
    message.expect("no message in time").unwrap()
}

fn delivery(payload: &Bytes) -> Delivery {
    Delivery::decode(payload.clone()).unwrap()
}

async fn stream(owner: &Client) -> Stream {
    let context = jetstream::new(owner.clone());
    context.get_stream("BARID").await.unwrap()
}

async fn last_sequence(owner: &Client) -> u64 {
    let info = stream(owner).await.get_info().await.unwrap();
    info.state.last_sequence
}

/// Revision 1 of an article in `ict`, as a newer release would write it: record, copy, answer.
fn group(uri: &str) -> Vec<Part> {
    let (id, request_id) = (
        Uuid::new_v5(&Uuid::NAMESPACE_URL, uri.as_bytes()),
        Uuid::new_v4(),
    );
    let now = Some(Timestamp {
        seconds: 1_900_000_000,
        nanos: 0,
    });
    let article = Article {
        id: id.to_string(),
        topics: vec!["ict".to_owned()],
        urgency: 5,
        first_created: now,
        version_created: now,
        ..article(uri, "By a newer release")
    };
    let mut article = article.encode_to_vec();
    let unknown = "not known to this release".to_owned();
    encoding::string::encode(UNKNOWN_ARTICLE_FIELD, &unknown, &mut article);
    let article = Bytes::from(article);
    let topics = vec!["ict".to_owned()];
    let record = ArticleRecord {
        article_id: Bytes::copy_from_slice(id.as_bytes()),
        revision: 1,
        action: Action::Publish.into(),
        article: article.clone(),
        topics: topics.clone(),
        own_topic_count: 1,
        topic_reasons: vec!["a reason of the router".to_owned()],
        request_id: Bytes::copy_from_slice(request_id.as_bytes()),
        publisher_key_id: "a-key-of-somebody".to_owned(),
        published_at: now,
        routed_at: now,
        urgencies_ever: 1 << 5,
        uri: uri.to_owned(),
        prior_revision_seq: 0,
        routing: 0,
        traceparent: String::new(),
        owner: String::new(),
        ..ArticleRecord::default()
    };
    let mut record = record.encode_to_vec();
    let unknown = "a field of a later release".to_owned();
    encoding::string::encode(UNKNOWN_RECORD_FIELD, &unknown, &mut record);
    let copy = Delivery {
        topics: topics.clone(),
        action: Action::Publish.into(),
        revision: 1,
        article,
        published_at: now,
        routed_at: now,
        ..Delivery::default()
    };
    let answer = RequestRecord {
        article_id: Bytes::copy_from_slice(id.as_bytes()),
        revision: 1,
        topics,
        request_sha256: Bytes::from_static(&[0; 32]),
        embargoed_until: None,
    };
    vec![
        (format!("log.article.{id}"), Some(0), record.into()),
        ("log.news.ict".to_owned(), None, copy.encode_to_vec().into()),
        (
            format!("log.request.a-key-of-somebody.{request_id}"),
            Some(0),
            answer.encode_to_vec().into(),
        ),
    ]
}

fn article_id(record: &ArticleRecord) -> String {
    Uuid::from_slice(&record.article_id).unwrap().to_string()
}

/// Sends an atomic batch and, if it is to be committed, returns what the log says.
async fn send_batch(
    owner: &Client,
    parts: &[Part],
    is_committed: bool,
) -> Option<Response<PublishAck>> {
    let batch_id = Uuid::new_v4().simple().to_string();
    for (number, (subject, expected, payload)) in (1..).zip(parts) {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_BATCH_ID, batch_id.as_str());
        headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
        if let Some(expected) = expected {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        }
        let is_commit = is_committed && number == parts.len();
        if is_commit {
            headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
        }
        let request = NatsRequest::new()
            .headers(headers)
            .payload(payload.clone())
            .timeout(Some(LIMIT));
        let answer = owner.send_request(subject.clone(), request).await.unwrap();
        if is_commit {
            return Some(serde_json::from_slice(&answer.payload).unwrap());
        }
        // The server takes a part with an empty answer.
        assert_eq!(answer.payload, "", "part {number} is not taken");
    }
    None
}

/// Whether a native reader may see a header of this name.
fn is_native_header(name: &str) -> bool {
    const OWN: [&str; 13] = [
        "ce-specversion",
        "ce-id",
        "ce-source",
        "ce-type",
        "ce-time",
        "ce-subject",
        "content-type",
        "Barid-Article",
        "Barid-Revision",
        "Barid-Action",
        "Barid-Urgency",
        "Barid-Topics",
        "traceparent",
    ];
    // Those of NATS: the copy's place in the stream and in its batch.
    OWN.contains(&name) || name.starts_with("Nats-")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn frame(bytes: &[u8]) -> Frame {
    SubscribeResponse::decode(bytes).unwrap().frame.unwrap()
}

/// An open stream whose frames nothing has decoded.
async fn raw_stream(node: &Node, request: &impl prost::Message) -> tonic::codec::Streaming<Bytes> {
    let mut client = raw_client(node).await;
    let path = PathAndQuery::from_static("/barid.v1.SubscriberService/Subscribe");
    let request = Request::new(Bytes::from(request.encode_to_vec()));
    let frames = client.server_streaming(request, path, RawCodec).await;
    frames.unwrap().into_inner()
}

async fn next_frame(frames: &mut tonic::codec::Streaming<Bytes>) -> Bytes {
    let frame = timeout(LIMIT, frames.message()).await;
    frame.expect("no frame in time").unwrap().unwrap()
}

/// The answer of `ArticleService`, which nothing has decoded.
async fn raw_call(node: &Node, method: &str, request: &impl prost::Message) -> Vec<u8> {
    let path = format!("/barid.v1.ArticleService/{method}");
    let request = Request::new(Bytes::from(request.encode_to_vec()));
    let mut client = raw_client(node).await;
    let answer = client
        .unary(request, path.parse().unwrap(), RawCodec)
        .await
        .unwrap();
    answer.into_inner().to_vec()
}

async fn raw_client(node: &Node) -> tonic::client::Grpc<Channel> {
    let mut client = tonic::client::Grpc::new(node.channel());
    client.ready().await.unwrap();
    client
}

/// Leaves messages as they are.
#[derive(Clone, Copy)]
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
