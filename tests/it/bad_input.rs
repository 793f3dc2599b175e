//! Bad input of every kind is refused for its reason, leaves nothing behind, and disturbs nobody.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use barid::wire::proto::v1::{
    Action, Article, Link, LinkRelation, Place, PublishRequest, PublishResponse,
    PublishStreamRequest,
};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tonic::{
    Code, Request, Status,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tower_service::Service as _;

use crate::harness::{
    LIMIT, Node, Reader, article, article_of, everything, fields, new_id, refusal, request, seq,
};

mod articles;
mod reads;
mod texts;

const INVALID: (Code, &str) = (Code::InvalidArgument, "FIELD_INVALID");
/// What no protobuf message is.
const UNREADABLE: (Code, &str) = (Code::InvalidArgument, "REQUEST_UNREADABLE");
const PUBLISH: &str = "/barid.v1.PublisherService/Publish";
/// Messages of an article that goes to one topic: record, copy, answer.
const GROUP_LEN: u64 = 3;

/// A node under attack, with an innocent reader.
struct Wire {
    node: Node,
    reader: Reader,
    /// Sequence of the newest accepted article.
    last_seq: Option<u64>,
}

impl Wire {
    async fn start() -> Self {
        let node = Node::start();
        let mut reader = node.subscribe(everything()).await.unwrap();
        reader.caught_up().await;
        Self {
            node,
            reader,
            last_seq: None,
        }
    }

    /// Asserts that a call was refused as expected, and that it left nothing: the service accepts
    /// the next article, delivers it as the very next one, and the log holds nothing in between.
    async fn check<T>(
        &mut self,
        case: &str,
        result: Result<T, Status>,
        (code, reason): (Code, &str),
        bad_fields: &[&str],
    ) {
        let status = result.err().unwrap_or_else(|| panic!("accepted: {case}"));
        assert_eq!(
            refusal(&status),
            (code, reason.to_owned()),
            "{case}: {status:?}"
        );
        let mut named = fields(&status);
        named.dedup();
        assert_eq!(named, bad_fields, "{case}: {status:?}");
        self.works(case).await;
    }

    /// Asserts that the service accepts and delivers, and that nothing else has come since.
    async fn works(&mut self, case: &str) {
        let article = article("", case);
        let response = self.node.publish(Action::Publish, article).await;
        let response = response.unwrap_or_else(|status| panic!("after {case}: {status:?}"));
        let delivery = self.reader.delivery().await;
        assert_eq!(delivery.cursor, response.cursor, "{case}");
        let place = seq(&response.cursor);
        if let Some(last_seq) = self.last_seq {
            assert_eq!(
                place,
                last_seq + GROUP_LEN,
                "something was left in the log: {case}"
            );
        }
        self.last_seq = Some(place);
    }

    async fn publish(&self, request: PublishRequest) -> Result<PublishResponse, Status> {
        let response = self.node.publisher().publish(request).await;
        response.map(tonic::Response::into_inner)
    }
}

fn good() -> Article {
    article("https://wire.example/bad", "a headline")
}

fn strings(text: &str, count: usize) -> Vec<String> {
    vec![text.to_owned(); count]
}

fn link() -> Link {
    Link {
        relation: LinkRelation::Related.into(),
        href: "https://wire.example/1".to_owned(),
        ..Link::default()
    }
}

fn place(name: &str) -> Place {
    Place {
        name: name.to_owned(),
        uri: String::new(),
    }
}

/// Sends bytes as one message, and takes none apart.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &bytes);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        let rest = bytes::Buf::remaining(buffer);
        bytes::Buf::advance(buffer, rest);
        Ok(Some(()))
    }
}

async fn send_bytes(node: &Node, path: &'static str, message: Vec<u8>) -> Result<(), Status> {
    let mut grpc: Grpc<Channel> = Grpc::new(node.channel());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    grpc.unary(Request::new(message), path, Bytes)
        .await
        .map(drop)
}

/// Posts a body as it stands; returns the gRPC code that comes back, or the HTTP status.
async fn post(
    node: &Node,
    path: &str,
    content_type: &str,
    body: &'static str,
) -> Result<Code, u16> {
    let mut channel = node.channel();
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let request = http::Request::post(format!("http://{}{path}", node.grpc))
        .header("content-type", content_type)
        .header("te", "trailers")
        .body(Body::new(body.to_owned()))
        .unwrap();
    let response = timeout(LIMIT, channel.call(request))
        .await
        .unwrap()
        .unwrap();
    match Status::from_header_map(response.headers()) {
        Some(status) => Ok(status.code()),
        None => Err(response.status().as_u16()),
    }
}

/// Proves that bytes which are no message, or no whole one, are refused.
#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let mut wire = Wire::start().await;
    wire.works("nothing").await;
    let valid = request(Action::Publish, good()).encode_to_vec();
    // Field 4, the article, with its field 3, the headline, in Latin-1.
    let latin_1 = [&[0x22, 6, 0x1a, 4][..], b"caf\xe9"].concat();
    let cases = [
        ("garbage", vec![0xff; 64]),
        ("a message cut short", valid[..valid.len() - 3].to_vec()),
        ("a headline that is no UTF-8", latin_1),
        (
            "an overlong UTF-8 form",
            [&[0x22, 4, 0x1a, 2][..], b"\xc0\x80"].concat(),
        ),
        (
            "a surrogate in UTF-8",
            [&[0x22, 5, 0x1a, 3][..], b"\xed\xa0\x80"].concat(),
        ),
        (
            "a length beyond the end",
            vec![0x22, 0xff, 0xff, 0xff, 0xff, 0x07],
        ),
        ("groups without end", vec![0x0b; 200_000]),
        ("a wrong wire type", vec![0x20, 1]),
    ];
    for (case, message) in cases {
        let result = send_bytes(&wire.node, PUBLISH, message).await;
        wire.check(case, result, UNREADABLE, &[]).await;
    }
    let huge = vec![0; 5 * 1024 * 1024];
    let result = send_bytes(&wire.node, PUBLISH, huge).await;
    wire.check("more than 4 MiB", result, (Code::OutOfRange, ""), &[])
        .await;
    let result = send_bytes(&wire.node, "/barid.v1.PublisherService/None", Vec::new()).await;
    wire.check("no such method", result, (Code::Unimplemented, ""), &[])
        .await;
    let result = send_bytes(&wire.node, "/barid.v1.SubscriberService/None", Vec::new()).await;
    wire.check("no such method", result, (Code::Unimplemented, ""), &[])
        .await;
    let result = send_bytes(&wire.node, PUBLISH, Vec::new()).await;
    wire.check(
        "an empty message",
        result,
        INVALID,
        &["request_id", "article"],
    )
    .await;

    let grpc = "application/grpc";
    let cases = [
        (
            "a frame cut short",
            grpc,
            "\0\0\0\0\x10abc",
            Ok(Code::Internal),
        ),
        (
            "a frame header cut short",
            grpc,
            "\0\0\0",
            Ok(Code::Internal),
        ),
        ("no frame", grpc, "", Ok(Code::Internal)),
        (
            "a frame of 2 GiB",
            grpc,
            "\0\x7f\x7f\x7f\x7fabc",
            Ok(Code::OutOfRange),
        ),
        (
            "a compressed frame",
            grpc,
            "\x01\0\0\0\x01a",
            Ok(Code::Internal),
        ),
        (
            "a flag of nothing",
            grpc,
            "\x07\0\0\0\x01a",
            Ok(Code::Internal),
        ),
        (
            "another content type",
            "text/plain",
            "hello",
            Ok(Code::Internal),
        ),
    ];
    for (case, content_type, body, expected) in cases {
        for path in [PUBLISH, "/barid.v1.SubscriberService/Subscribe"] {
            let result = post(&wire.node, path, content_type, body).await;
            assert_eq!(result, expected, "{case} to {path}");
            wire.works(case).await;
        }
    }
}

/// Proves that a request which is no request is refused with its field.
#[tokio::test]
async fn requests_with_bad_fields_are_refused() {
    let mut wire = Wire::start().await;
    let id = |request_id: &str| PublishRequest {
        request_id: request_id.to_owned(),
        ..request(Action::Publish, good())
    };
    let braced = format!("{{{}}}", new_id());
    let cases = [
        ("no request id", id(""), "request_id"),
        ("a request id that is no uuid", id("42"), "request_id"),
        ("a request id in braces", id(&braced), "request_id"),
        (
            "a request id that is a wildcard",
            id(&">".repeat(36)),
            "request_id",
        ),
        (
            "an unknown action",
            PublishRequest {
                action: 99,
                ..id(&new_id())
            },
            "action",
        ),
        (
            "a negative action",
            PublishRequest {
                action: -1,
                ..id(&new_id())
            },
            "action",
        ),
        (
            "no article",
            PublishRequest {
                article: None,
                ..id(&new_id())
            },
            "article",
        ),
    ];
    for (case, request, field) in cases {
        let result = wire.publish(request).await;
        wire.check(case, result, INVALID, &[field]).await;
    }
}

/// Proves that a broken message on a publish stream ends that stream alone, and that an empty one
/// is answered like any other bad request.
#[tokio::test]
async fn a_broken_stream_ends_alone() {
    let mut wire = Wire::start().await;
    let requests = [
        PublishStreamRequest { publish: None },
        PublishStreamRequest {
            publish: Some(request(Action::Publish, good())),
        },
    ];
    let answers = wire
        .node
        .publisher()
        .publish_stream(tokio_stream::iter(requests))
        .await;
    let mut answers = answers.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.request_id, "");
    let second = answers.message().await.unwrap().unwrap();
    assert_ne!(second.request_id, "");
    assert_eq!(answers.message().await.unwrap(), None);
    wire.reader.delivery().await;

    let mut grpc: Grpc<Channel> = Grpc::new(wire.node.channel());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/barid.v1.PublisherService/PublishStream");
    let messages = tokio_stream::iter([vec![0xff; 10]]);
    let answers = grpc.streaming(Request::new(messages), path, Bytes).await;
    let result = match answers {
        Ok(answers) => answers.into_inner().message().await,
        Err(status) => Err(status),
    };
    wire.check("garbage on a stream", result, UNREADABLE, &[])
        .await;
}

/// Proves that connections which speak no HTTP/2, or nothing at all, disturb nobody and do not hold
/// the exit.
#[tokio::test]
async fn mute_and_mad_connections_hold_nothing() {
    let mut wire = Wire::start().await;
    let connect = || TcpStream::connect(&wire.node.grpc).unwrap();
    let mut open = Vec::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"PRI * HT",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 4096],
        b"",
    ] {
        for _ in 0..10 {
            let mut socket = connect();
            // The node may have hung up at once.
            let _gone = socket.write_all(garbage);
            open.push(socket);
        }
    }
    wire.works("mad connections").await;
    let begin = Instant::now();
    let mut node = wire.node;
    assert_eq!(node.stop().await, Some(0));
    // A connection that held the exit would hold it for five seconds.
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}\n{}",
        begin.elapsed(),
        node.log()
    );
    for mut socket in open {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut rest = Vec::new();
        // End or reset, but no silence.
        if let Err(error) = socket.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}

/// Proves that a subscriber which does not read costs the others nothing, and gets everything once
/// it reads.
#[tokio::test]
async fn a_reader_that_does_not_read_slows_nobody() {
    const ARTICLES: usize = 2000;
    let node = Node::start();
    let mut asleep = node.subscribe(everything()).await.unwrap();
    let mut awake = node.subscribe(everything()).await.unwrap();
    awake.caught_up().await;
    let requests = (0..ARTICLES).map(|number| {
        let article = Article {
            body: "x".repeat(2048),
            ..article(
                &format!("https://wire.example/{number}"),
                &format!("headline {number}"),
            )
        };
        PublishStreamRequest {
            publish: Some(request(Action::Publish, article)),
        }
    });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let mut publisher = node.publisher();
    let publishing = tokio::spawn(async move {
        let mut answers = publisher
            .publish_stream(requests)
            .await
            .unwrap()
            .into_inner();
        let mut count = 0;
        while answers.message().await.unwrap().is_some() {
            count += 1;
        }
        count
    });
    let (mut cursors, mut headlines) = (Vec::new(), BTreeSet::new());
    for _ in 0..ARTICLES {
        let delivery = awake.delivery().await;
        headlines.insert(article_of(&delivery).headline);
        cursors.push(delivery.cursor);
    }
    assert_eq!(headlines.len(), ARTICLES);
    assert_eq!(timeout(LIMIT, publishing).await.unwrap().unwrap(), ARTICLES);
    asleep.caught_up().await;
    for cursor in cursors {
        assert_eq!(asleep.delivery().await.cursor, cursor);
    }
}
