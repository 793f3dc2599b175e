//! Bad input of every kind is refused for its reason, leaves nothing behind, and disturbs nobody.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use barid::wire::proto::v1::{
    Action, Article, BodyType, Filter, GapReason, GetArticleRequest, Link, LinkRelation,
    ListArticlesRequest, ListRevisionsRequest, Place, PublishRequest, PublishResponse,
    PublishStreamRequest, SubscribeRequest, start::From as StartFrom, subscribe_response::Frame,
};
use prost::Message as _;
use prost_types::Timestamp;
use tokio::time::{Instant, timeout};
use tonic::{
    Code, Request, Status,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tower_service::Service as _;

use crate::{
    harness::{
        LIMIT, Node, Reader, after, article, article_of, everything, fields, filter, from, new_id,
        refusal, request, seq,
    },
    raw_log,
};

const INVALID: (Code, &str) = (Code::InvalidArgument, "FIELD_INVALID");
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

fn time(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
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
        wire.check(case, result, (Code::Internal, ""), &[]).await;
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

/// Articles with one thing wrong each, and the field that it is in.
fn bad_articles() -> Vec<(String, Article, &'static str)> {
    let text = |text: &str| text.to_owned();
    let link_with = |one| Article {
        links: vec![one],
        ..good()
    };
    let place_with = |one| Article {
        places: vec![one],
        ..good()
    };
    let (id, long) = (
        new_id(),
        format!("https://wire.example/{}", "x".repeat(2048)),
    );
    let mut cases: Vec<(&str, Article, &'static str)> = vec![
        (
            "no headline",
            Article {
                headline: text(""),
                ..good()
            },
            "article.headline",
        ),
        (
            "a blank headline",
            Article {
                headline: text(" \u{a0}"),
                ..good()
            },
            "article.headline",
        ),
        (
            "a headline too long",
            Article {
                headline: "ع".repeat(501),
                ..good()
            },
            "article.headline",
        ),
        (
            "a subheadline too long",
            Article {
                subheadline: "x".repeat(501),
                ..good()
            },
            "article.subheadline",
        ),
        (
            "a slugline too long",
            Article {
                slugline: "x".repeat(201),
                ..good()
            },
            "article.slugline",
        ),
        (
            "a byline too long",
            Article {
                byline: "x".repeat(501),
                ..good()
            },
            "article.byline",
        ),
        (
            "a dateline too long",
            Article {
                located: "x".repeat(201),
                ..good()
            },
            "article.located",
        ),
        (
            "a source too long",
            Article {
                source: "x".repeat(201),
                ..good()
            },
            "article.source",
        ),
        (
            "a note too long",
            Article {
                edition_note: "x".repeat(1001),
                ..good()
            },
            "article.edition_note",
        ),
        (
            "terms too long",
            Article {
                usage_terms: "x".repeat(2001),
                ..good()
            },
            "article.usage_terms",
        ),
        (
            "a body too long",
            Article {
                body: "x".repeat(512 * 1024 + 1),
                ..good()
            },
            "article.body",
        ),
        (
            "an unknown body type",
            Article {
                body_type: 99,
                ..good()
            },
            "article.body_type",
        ),
        (
            "an id that is no uuid",
            Article {
                id: text("1"),
                ..good()
            },
            "article.id",
        ),
        (
            "an id with a wildcard",
            Article {
                id: "*".repeat(36),
                ..good()
            },
            "article.id",
        ),
        (
            "a uri that is none",
            Article {
                uri: text("wire/1"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri with a line feed",
            Article {
                uri: text("https://a.example/\nx"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri with a space",
            Article {
                uri: text("https://a.example/ x"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri that disguises",
            Article {
                uri: text("https://a.example/\u{202e}x"),
                ..good()
            },
            "article.uri",
        ),
        (
            "a uri too long",
            Article {
                uri: long.clone(),
                ..good()
            },
            "article.uri",
        ),
        (
            "urgency 10",
            Article {
                urgency: 10,
                ..good()
            },
            "article.urgency",
        ),
        (
            "urgency beyond a byte",
            Article {
                urgency: 257,
                ..good()
            },
            "article.urgency",
        ),
        (
            "10,000 topics",
            Article {
                topics: strings("ict", 10_000),
                ..good()
            },
            "article.topics",
        ),
        (
            "17 topics",
            Article {
                topics: strings("ict", 17),
                ..good()
            },
            "article.topics",
        ),
        (
            "65 subjects",
            Article {
                subjects: strings("04000000", 65),
                ..good()
            },
            "article.subjects",
        ),
        (
            "65 places",
            Article {
                places: vec![place("x"); 65],
                ..good()
            },
            "article.places",
        ),
        (
            "65 links",
            Article {
                links: vec![link(); 65],
                ..good()
            },
            "article.links",
        ),
        (
            "a place without name",
            place_with(place("")),
            "article.places[0].name",
        ),
        (
            "a place with a blank name",
            place_with(place("\u{2003}")),
            "article.places[0].name",
        ),
        (
            "a place too long",
            place_with(place(&"x".repeat(201))),
            "article.places[0].name",
        ),
        (
            "a place with a bad uri",
            place_with(Place {
                uri: text("x"),
                ..place("x")
            }),
            "article.places[0].uri",
        ),
        (
            "a link to nothing",
            link_with(Link {
                href: text(""),
                ..link()
            }),
            "article.links[0]",
        ),
        (
            "a link to both",
            link_with(Link {
                article_id: id,
                ..link()
            }),
            "article.links[0]",
        ),
        (
            "a link to no uuid",
            link_with(Link {
                href: text(""),
                article_id: text("x"),
                ..link()
            }),
            "article.links[0].article_id",
        ),
        (
            "a link without relation",
            link_with(Link {
                relation: 0,
                ..link()
            }),
            "article.links[0].relation",
        ),
        (
            "a link of no relation",
            link_with(Link {
                relation: 99,
                ..link()
            }),
            "article.links[0].relation",
        ),
        (
            "a title too long",
            link_with(Link {
                title: "x".repeat(501),
                ..link()
            }),
            "article.links[0].title",
        ),
        (
            "a type too long",
            link_with(Link {
                content_type: "x".repeat(128),
                ..link()
            }),
            "article.links[0].content_type",
        ),
    ];
    for href in [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//wire.example/1",
        "/1",
        "https://",
        " https://wire.example",
        "java\tscript:alert(1)",
        "https://wire.example/\u{202e}x",
        &long,
    ] {
        let href = href.to_owned();
        cases.push((
            "a bad link",
            link_with(Link { href, ..link() }),
            "article.links[0].href",
        ));
    }
    for tag in [
        "a",
        "e n",
        "en_GB",
        "ar-",
        "-",
        "日本",
        "en-\u{202e}",
        "toolongtag",
        "en\n",
        "en-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd",
    ] {
        cases.push((
            "a bad language",
            Article {
                language: text(tag),
                ..good()
            },
            "article.language",
        ));
    }
    for topic in [
        "",
        ">",
        "ict.>",
        "*",
        "ict.*",
        "ict..telecom",
        ".ict",
        "ict.",
        "ICT",
        "ict telecom",
        "ict\n",
        "ict/telecom",
        "الاقتصاد",
        "a.b.c.d.e.f.g.h.i",
        &"x".repeat(129),
    ] {
        cases.push((
            "a bad topic",
            Article {
                topics: vec![text(topic)],
                ..good()
            },
            "article.topics[0]",
        ));
    }
    for code in [
        "",
        "4000000",
        "040000000",
        "medtop:",
        "medtop:4",
        "subj:04000000",
        "0400000a",
        "٠٤٠٠٠٠٠٠",
    ] {
        cases.push((
            "a bad subject",
            Article {
                subjects: vec![text(code)],
                ..good()
            },
            "article.subjects[0]",
        ));
    }
    for (seconds, nanos) in [
        (253_402_300_800, 0),
        (-2_208_988_801, 0),
        (0, -1),
        (0, 1_000_000_000),
        (i64::MAX, 0),
        (i64::MIN, i32::MIN),
    ] {
        let at = time(seconds, nanos);
        cases.push((
            "a bad time",
            Article {
                first_created: at,
                ..good()
            },
            "article.first_created",
        ));
        cases.push((
            "a bad time",
            Article {
                version_created: at,
                ..good()
            },
            "article.version_created",
        ));
        cases.push((
            "a bad time",
            Article {
                embargoed_until: at,
                ..good()
            },
            "article.embargoed_until",
        ));
        cases.push((
            "a bad time",
            Article {
                expires: at,
                ..good()
            },
            "article.expires",
        ));
    }
    cases
        .into_iter()
        .map(|(case, article, field)| (format!("{case} in {field}"), article, field))
        .collect()
}

/// Proves that an article with anything wrong is refused with the field that it is in.
#[tokio::test]
async fn articles_with_bad_fields_are_refused() {
    let mut wire = Wire::start().await;
    for (case, article, field) in bad_articles() {
        let result = wire.node.publish(Action::Publish, article).await;
        wire.check(&case, result, INVALID, &[field]).await;
    }
    let records = raw_log::whole_groups(&wire.node).await;
    assert_eq!(records.len(), bad_articles().len());
}

/// Proves that text which disguises itself is refused wherever readers see a line, and that what
/// honest Arabic, Persian and emoji need is welcome, unchanged.
#[tokio::test]
async fn controls_are_refused_and_joiners_are_welcome() {
    let mut wire = Wire::start().await;
    let bidi = "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    let controls = "\0\u{1}\u{7}\t\n\r\u{1b}\u{7f}\u{85}\u{9f}";
    for bad in bidi.chars().chain(controls.chars()) {
        let article = article("", &format!("a {bad} headline"));
        let case = format!("U+{:04X}", u32::from(bad));
        let result = wire.node.publish(Action::Publish, article).await;
        wire.check(&case, result, INVALID, &["article.headline"])
            .await;
    }
    let (bad, title) = ("a\u{202e}b".to_owned(), "a\u{2066}b".to_owned());
    let lines = [
        (
            Article {
                subheadline: bad.clone(),
                ..good()
            },
            "article.subheadline",
        ),
        (
            Article {
                slugline: bad.clone(),
                ..good()
            },
            "article.slugline",
        ),
        (
            Article {
                byline: bad.clone(),
                ..good()
            },
            "article.byline",
        ),
        (
            Article {
                located: bad.clone(),
                ..good()
            },
            "article.located",
        ),
        (
            Article {
                source: bad.clone(),
                ..good()
            },
            "article.source",
        ),
        (
            Article {
                edition_note: bad.clone(),
                ..good()
            },
            "article.edition_note",
        ),
        (
            Article {
                usage_terms: bad.clone(),
                ..good()
            },
            "article.usage_terms",
        ),
        (
            Article {
                body: bad.clone(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                body: "a\u{202d}b".into(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                body: "a\0b".into(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                body: "a\rb".into(),
                ..good()
            },
            "article.body",
        ),
        (
            Article {
                places: vec![place(&bad)],
                ..good()
            },
            "article.places[0].name",
        ),
        (
            Article {
                links: vec![Link { title, ..link() }],
                ..good()
            },
            "article.links[0].title",
        ),
    ];
    for (article, field) in lines {
        let result = wire.node.publish(Action::Publish, article).await;
        wire.check(field, result, INVALID, &[field]).await;
    }
    let welcome = Article {
        headline: "a\u{200e}b\u{200f}c\u{61c}d می\u{200c}خواهم 👩\u{200d}💻".to_owned(),
        body: "a\tb\n\n\u{202a}c\u{202c} \u{202b}d\u{202c} \u{2067}e\u{2069} \u{200f}f".to_owned(),
        ..good()
    };
    let response = wire
        .node
        .publish(Action::Publish, welcome.clone())
        .await
        .unwrap();
    let delivery = wire.reader.delivery().await;
    assert_eq!(delivery.cursor, response.cursor);
    let found = article_of(&delivery);
    assert_eq!(
        (found.headline, found.body),
        (welcome.headline, welcome.body)
    );
}

/// Proves that the limits of whole articles hold where each field is within its own, that what is
/// just within them is accepted, and that a thousand mistakes come back as one readable answer.
#[tokio::test]
async fn large_articles_and_many_mistakes_are_answered() {
    let mut wire = Wire::start().await;
    let large = |count: usize| Article {
        body: "x".repeat(512 * 1024),
        links: vec![
            Link {
                href: format!("https://wire.example/{}", "x".repeat(2000)),
                title: "𝒳".repeat(500),
                ..link()
            };
            count
        ],
        places: vec![
            Place {
                name: "𝒳".repeat(200),
                uri: format!("https://wire.example/{}", "x".repeat(2000)),
            };
            count
        ],
        ..article("", "a large one")
    };
    assert!(large(64).encoded_len() > 900 * 1024);
    let result = wire.node.publish(Action::Publish, large(64)).await;
    wire.check("an article too large", result, INVALID, &["article"])
        .await;

    let within = (1..64)
        .map(large)
        .take_while(|one| one.encoded_len() <= 900 * 1024)
        .last();
    let response = wire
        .node
        .publish(Action::Publish, within.clone().unwrap())
        .await
        .unwrap();
    let delivery = wire.reader.delivery().await;
    assert_eq!(delivery.cursor, response.cursor);
    assert_eq!(article_of(&delivery).body, within.unwrap().body);
    wire.last_seq = Some(seq(&response.cursor));

    let mistakes = Article {
        uri: "\u{202e}".repeat(100),
        headline: "\u{202e}".repeat(600),
        subheadline: "\u{202e}".repeat(600),
        topics: strings(&"\u{202e}".repeat(100), 16),
        subjects: strings(&"\u{202e}".repeat(100), 64),
        places: vec![
            Place {
                name: "\u{202e}".repeat(300),
                uri: "\u{202e}".repeat(100)
            };
            64
        ],
        links: vec![
            Link {
                title: "\u{202e}".repeat(600),
                ..Link::default()
            };
            64
        ],
        ..Article::default()
    };
    let status = wire
        .node
        .publish(Action::Publish, mistakes)
        .await
        .unwrap_err();
    assert_eq!(refusal(&status), (INVALID.0, INVALID.1.to_owned()));
    assert!(fields(&status).contains(&"article.uri".to_owned()));
    // Other people's clients take no more than 8 KiB of headers.
    let header_bytes = status.message().len() * 3 + status.details().len() * 4 / 3;
    assert!(header_bytes < 8 * 1024, "{header_bytes}");
    wire.works("a thousand mistakes").await;
}

/// Proves that HTML is made harmless before it is stored, and that what could not be is refused.
#[tokio::test]
async fn html_is_sanitised_before_it_is_stored() {
    let mut wire = Wire::start().await;
    let html = |body: &str| Article {
        body: body.to_owned(),
        body_type: BodyType::Html.into(),
        ..article("", "html")
    };
    let cases = [
        ("<p>text<script>evil()</script></p>", "<p>text</p>"),
        ("<p onclick=\"evil()\">text</p>", "<p>text</p>"),
        (
            "<img src=\"https://wire.example/1.png\" onerror=\"evil()\">",
            "<img src=\"https://wire.example/1.png\">",
        ),
        ("<img src=x onerror=evil()>", "<img src=\"x\">"),
        (
            "<a href=\"javascript:evil()\">text</a>",
            "<a rel=\"noopener noreferrer\">text</a>",
        ),
        (
            "<a href=\"java&#10;script:evil()\">text</a>",
            "<a rel=\"noopener noreferrer\">text</a>",
        ),
        ("<iframe src=\"https://evil.example\"></iframe>text", "text"),
        ("<style>evil</style>text", "text"),
        ("<svg><script>evil()</script></svg>text", "text"),
        (
            "<math><mtext><table><mglyph><style><!--</style><img onerror=evil()>--></table>text",
            "",
        ),
        ("<p style=\"position:fixed\">text</p>", "<p>text</p>"),
        (
            "<form action=\"https://evil.example\"><input></form>text",
            "text",
        ),
        ("<!-- evil -->text", "text"),
        (
            "&lt;script&gt;evil()&lt;/script&gt;",
            "&lt;script&gt;evil()&lt;/script&gt;",
        ),
    ];
    for (body, expected) in cases {
        let response = wire
            .node
            .publish(Action::Publish, html(body))
            .await
            .unwrap();
        let delivery = wire.reader.delivery().await;
        assert_eq!(delivery.cursor, response.cursor);
        let found = article_of(&delivery);
        if !expected.is_empty() {
            assert_eq!(found.body, expected, "{body}");
        }
        for evil in [
            "onerror",
            "onclick",
            "javascript:",
            "<script",
            "<iframe",
            "<style",
            "style=",
        ] {
            assert!(!found.body.contains(evil), "{body} became {}", found.body);
        }
        wire.last_seq = Some(seq(&response.cursor));
    }
    let stored = raw_log::messages(&wire.node).await;
    for message in stored {
        let text = String::from_utf8_lossy(&message.payload);
        assert!(
            !text.contains("onerror") && !text.contains("<script"),
            "{}",
            message.subject
        );
    }

    // Entities become what they stand for, so the rules for text hold after that.
    let bold =
        |count: usize| -> String { (0..count).map(|one| format!("<b lang={one}>")).collect() };
    let refused = [
        ("an override by entity", "a&#x202E;b".to_owned()),
        ("a control by entity", "a&#1;b".to_owned()),
        (
            "escapes that outgrow the limit",
            format!("{}&&", ">x".repeat(150_000)),
        ),
        ("too many references", "&".repeat(100_001)),
        ("too many elements", "<p>".repeat(2001)),
        (
            "too many elements in comments",
            format!("<!--{}-->", "<p>".repeat(2001)),
        ),
    ];
    for (case, body) in refused {
        let result = wire.node.publish(Action::Publish, html(&body)).await;
        wire.check(case, result, INVALID, &["article.body"]).await;
    }

    let again = format!("<p>{}{}", bold(900), "<p>x".repeat(900));
    let result = wire.node.publish(Action::Publish, html(&again)).await;
    let both = ["article.body", "article"];
    wire.check(
        "elements that open each other again",
        result,
        INVALID,
        &both,
    )
    .await;
}

/// Proves that HTML which is nested absurdly deep costs a moment and no node, neither when it is
/// published nor when a filter looks for words in it.
#[tokio::test]
async fn deeply_nested_html_breaks_nothing() {
    let mut wire = Wire::start().await;
    let words = Filter {
        words: vec!["needle".to_owned()],
        ..Filter::default()
    };
    let request = SubscribeRequest {
        filter: Some(words),
        ..everything()
    };
    let mut words = wire.node.subscribe(request).await.unwrap();
    words.caught_up().await;
    // As many as are allowed, or the body is refused before it costs anything.
    for open in [
        "<div>",
        "<b>",
        "<p><b>",
        "<ul><li>",
        "<table><tr><td>",
        "<blockquote>",
        "<a href=\"urn:a:b\">",
    ] {
        let body = format!("{}needle", open.repeat(2000 / open.matches('<').count()));
        let nested = Article {
            body,
            body_type: BodyType::Html.into(),
            ..article("", "nested")
        };
        let begin = Instant::now();
        match wire.node.publish(Action::Publish, nested).await {
            Ok(response) => {
                assert_eq!(
                    wire.reader.delivery().await.cursor,
                    response.cursor,
                    "{open}"
                );
                assert_eq!(words.delivery().await.cursor, response.cursor, "{open}");
                wire.last_seq = Some(seq(&response.cursor));
            }
            Err(status) => {
                assert_eq!(
                    refusal(&status),
                    (INVALID.0, INVALID.1.to_owned()),
                    "{open}"
                );
                assert_eq!(fields(&status), ["article.body"], "{open}");
            }
        }
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{open} took {:?}",
            begin.elapsed()
        );
        wire.works(open).await;
    }
}

async fn subscribe(wire: &Wire, wanted: Filter, start: StartFrom) -> Result<Reader, Status> {
    let request = SubscribeRequest {
        filter: Some(wanted),
        start: from(start),
        ..SubscribeRequest::default()
    };
    wire.node.subscribe(request).await
}

/// Proves that a stream does not begin at what is no place.
#[tokio::test]
async fn bad_starts_are_refused() {
    let mut wire = Wire::start().await;
    wire.works("nothing").await;
    let request = ListArticlesRequest::default();
    let list = wire
        .node
        .articles()
        .list_articles(request)
        .await
        .unwrap()
        .into_inner();
    let epoch = list.snapshot_cursor.split_once('-').unwrap().0.to_owned();
    let unreadable = [
        "",
        "1",
        "-",
        "-1",
        "abcdefgh",
        "abcdefgh-",
        "abcdefgh-01",
        "abcdefgh- 1",
        "ABCDEFGH-1",
        "abcdefgh-18446744073709551616",
        "abcdefgh-9223372036854775808",
        "abcdefgh-1\0",
        "abcdefgh-٣",
        "\u{202e}bcdefgh-1",
        &"a".repeat(100_000),
    ];
    for text in unreadable {
        let result = subscribe(&wire, Filter::default(), StartFrom::After(text.to_owned())).await;
        let expected = (Code::InvalidArgument, "CURSOR_UNREADABLE");
        wire.check(
            &format!("cursor {:.20}", text.escape_default().to_string()),
            result,
            expected,
            &["start.after"],
        )
        .await;
    }
    for ahead in [GROUP_LEN, 1_000_000, (1 << 63) - 1 - 10_000] {
        let cursor = format!("{epoch}-{}", wire.last_seq.unwrap() + ahead);
        let result = subscribe(&wire, Filter::default(), StartFrom::After(cursor)).await;
        wire.check(
            "a cursor of the future",
            result,
            (Code::OutOfRange, "CURSOR_IN_FUTURE"),
            &[],
        )
        .await;
    }
    for count in [0, 1001, u32::MAX] {
        let result = subscribe(&wire, Filter::default(), StartFrom::Last(count)).await;
        wire.check(&format!("last {count}"), result, INVALID, &["start.last"])
            .await;
    }
    for (seconds, nanos) in [(253_402_300_800, 0), (-2_208_988_801, 0), (0, -1)] {
        let since = Timestamp { seconds, nanos };
        let result = subscribe(&wire, Filter::default(), StartFrom::Since(since)).await;
        wire.check("since a bad time", result, INVALID, &["start.since"])
            .await;
    }
}

/// Proves that a cursor of another log is answered by a gap and then everything, and that the end
/// of the log, and a place between revisions, are places like any other.
#[tokio::test]
async fn a_foreign_cursor_is_a_gap_then_everything() {
    let mut wire = Wire::start().await;
    for _ in 0..3 {
        wire.works("nothing").await;
    }
    for foreign in ["aaaaaaaa-0", "aaaaaaaa-5", "zzzzzzzz-9223372036854775807"] {
        let mut reader = wire.node.subscribe(after(foreign)).await.unwrap();
        let Frame::Gap(gap) = reader.next().await.unwrap() else {
            panic!("no gap for {foreign}");
        };
        assert_eq!(gap.from, foreign);
        assert_eq!(seq(&gap.to), 0);
        assert_eq!(gap.reason(), GapReason::EpochForeign);
        assert_eq!(reader.history().await.len(), 3, "{foreign}");
        // What the gap says is a place to go on from.
        let mut reader = wire.node.subscribe(after(&gap.to)).await.unwrap();
        assert_eq!(reader.history().await.len(), 3, "{foreign}");
    }
    let mut reader = wire.node.subscribe(everything()).await.unwrap();
    let all = reader.history().await;
    let end = after(&all[2].cursor);
    assert_eq!(wire.node.subscribe(end).await.unwrap().history().await, []);
    let (epoch, second) = (
        all[0].cursor.split_once('-').unwrap().0,
        seq(&all[1].cursor),
    );
    let between = after(&format!("{epoch}-{}", second - 1));
    assert_eq!(
        wire.node.subscribe(between).await.unwrap().history().await,
        all[1..]
    );
}

/// Proves that a filter which can't be is refused, for streams and lists alike.
#[tokio::test]
async fn bad_filters_are_refused() {
    let mut wire = Wire::start().await;
    let topic = |text: &str| filter(&[text]);
    let language = |text: &str| Filter {
        languages: vec![text.to_owned()],
        ..Filter::default()
    };
    let word = |text: &str| Filter {
        words: vec![text.to_owned()],
        ..Filter::default()
    };
    let unknown = (Code::InvalidArgument, "TOPIC_UNKNOWN");
    let cases = [
        (
            "an unknown topic",
            topic("cybersecurity"),
            unknown,
            "filter.topics",
        ),
        (
            "an unknown child",
            topic("ict.none"),
            unknown,
            "filter.topics",
        ),
        ("all by wildcard", topic(">"), INVALID, "filter.topics[0]"),
        ("a wildcard", topic("ict.*"), INVALID, "filter.topics[0]"),
        ("an empty topic", topic(""), INVALID, "filter.topics[0]"),
        (
            "65 topics",
            Filter {
                topics: strings("ict", 65),
                ..Filter::default()
            },
            INVALID,
            "filter.topics",
        ),
        (
            "a bad language",
            language("en_GB"),
            INVALID,
            "filter.languages[0]",
        ),
        (
            "an empty language",
            language(""),
            INVALID,
            "filter.languages[0]",
        ),
        (
            "17 languages",
            Filter {
                languages: strings("en", 17),
                ..Filter::default()
            },
            INVALID,
            "filter.languages",
        ),
        (
            "urgency 10",
            Filter {
                urgency: 10,
                ..Filter::default()
            },
            INVALID,
            "filter.urgency",
        ),
        (
            "17 words",
            Filter {
                words: strings("x", 17),
                ..Filter::default()
            },
            INVALID,
            "filter.words",
        ),
        ("an empty word", word(""), INVALID, "filter.words[0]"),
        ("a word of marks", word("!?"), INVALID, "filter.words[0]"),
        ("a word of tatweel", word("ـــ"), INVALID, "filter.words[0]"),
        (
            "a word too long",
            word(&"x".repeat(65)),
            INVALID,
            "filter.words[0]",
        ),
    ];
    for (case, wanted, expected, field) in cases {
        let result = subscribe(&wire, wanted.clone(), StartFrom::Now(())).await;
        wire.check(case, result, expected, &[field]).await;
        let request = ListArticlesRequest {
            filter: Some(wanted),
            ..ListArticlesRequest::default()
        };
        let result = wire.node.articles().list_articles(request).await;
        wire.check(case, result, expected, &[field]).await;
    }
    let status = subscribe(&wire, topic("cybersecurity"), StartFrom::Now(()))
        .await
        .err()
        .unwrap();
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(info.metadata["nearest"], "ict.cybersecurity");
    // The bounds themselves are welcome.
    let most = Filter {
        topics: strings("ict", 64),
        languages: strings("en", 16),
        urgency: 9,
        words: strings(&"x".repeat(64), 16),
    };
    subscribe(&wire, most, StartFrom::Last(1000))
        .await
        .unwrap()
        .caught_up()
        .await;
}

/// Proves that a page of no size, a token of no list and an id of no article are refused.
#[tokio::test]
async fn bad_pages_are_refused() {
    let mut wire = Wire::start().await;
    for _ in 0..3 {
        wire.works("nothing").await;
    }
    let request = ListArticlesRequest {
        page_size: 1,
        ..ListArticlesRequest::default()
    };
    let page = wire
        .node
        .articles()
        .list_articles(request)
        .await
        .unwrap()
        .into_inner();
    let (snapshot, token) = (page.snapshot_cursor, page.next_page_token);
    let id = article_of(&page.deliveries[0]).id;
    for page_size in [101, u32::MAX] {
        let request = ListArticlesRequest {
            page_size,
            ..ListArticlesRequest::default()
        };
        let result = wire.node.articles().list_articles(request).await;
        wire.check("a page too large", result, INVALID, &["page_size"])
            .await;
        let request = ListRevisionsRequest {
            article_id: id.clone(),
            page_size,
            page_token: String::new(),
        };
        let result = wire.node.articles().list_revisions(request).await;
        wire.check("a page too large", result, INVALID, &["page_size"])
            .await;
    }
    let (epoch, end) = (
        snapshot.split_once('-').unwrap().0.to_owned(),
        seq(&snapshot),
    );
    let tokens = [
        "x".to_owned(),
        ".".to_owned(),
        snapshot.clone(),
        format!("{token}0"),
        format!("{token}."),
        format!("{snapshot}.-1"),
        format!("{snapshot}.{}", end + 2),
        format!("{snapshot}.99999999999999999999"),
        format!("aaaaaaaa-{end}.1"),
        format!("{epoch}-{}.1", end + 1_000_000),
        format!("{epoch}-9223372036854775807.9223372036854775808"),
        "\u{202e}".repeat(1000),
    ];
    for page_token in tokens {
        let case = format!("token {:.40}", page_token.escape_default().to_string());
        let request = ListArticlesRequest {
            page_token,
            ..ListArticlesRequest::default()
        };
        let result = wire.node.articles().list_articles(request).await;
        wire.check(&case, result, INVALID, &["page_token"]).await;
    }
    for page_token in ["x", "0", "-1", "1.5", "99999999999999999999", "\u{202e}"] {
        let case = format!("token {}", page_token.escape_default());
        let page_token = page_token.to_owned();
        let request = ListRevisionsRequest {
            article_id: id.clone(),
            page_token,
            page_size: 0,
        };
        let result = wire.node.articles().list_revisions(request).await;
        wire.check(&case, result, INVALID, &["page_token"]).await;
    }
    // Tokens that could be of this list give a page of it, perhaps an empty one, and no error.
    for page_token in ["1", "18446744073709551615"] {
        let page_token = page_token.to_owned();
        let request = ListRevisionsRequest {
            article_id: id.clone(),
            page_token,
            page_size: 0,
        };
        let page = wire
            .node
            .articles()
            .list_revisions(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.deliveries.len() <= 1);
    }
    let request = ListArticlesRequest {
        page_token: format!("{epoch}-0.0"),
        ..ListArticlesRequest::default()
    };
    let page = wire
        .node
        .articles()
        .list_articles(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.deliveries.len(), page.next_page_token.as_str()),
        (0, "")
    );
    for article_id in ["", "x", ">", "log.article.>", "\u{202e}"] {
        let case = format!("id {}", article_id.escape_default());
        let article_id = article_id.to_owned();
        let request = ListRevisionsRequest {
            article_id: article_id.clone(),
            ..ListRevisionsRequest::default()
        };
        let result = wire.node.articles().list_revisions(request).await;
        wire.check(&case, result, INVALID, &["article_id"]).await;
        let result = wire
            .node
            .articles()
            .get_article(GetArticleRequest { article_id })
            .await;
        wire.check(&case, result, INVALID, &["article_id"]).await;
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
    wire.check("garbage on a stream", result, (Code::Internal, ""), &[])
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
    let stopped = tokio::task::spawn_blocking(move || (node.stop(), node));
    let (code, node) = timeout(LIMIT, stopped).await.unwrap().unwrap();
    assert_eq!(code, Some(0));
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
