//! Every parser of what comes from outside, over inputs that are nearly right: none panics, and what
//! is taken is written back as it came. `PROPTEST_CASES` says how many inputs each gets; `make fuzz`
//! gives a million.

use std::{collections::BTreeSet, fmt::Display, str::FromStr, time::SystemTime};

use barid::{
    access::{
        key::{KeyId, Secret},
        origin::Origin,
        partner::PartnerName,
        session::{Sealer, Token},
        token::{KeySet, Rules},
    },
    article::{ArticleId, Language, RequestId},
    cli::import::feed,
    cursor::{Cursor, Epochs},
    delivery::query::Query,
    filter::LanguageRange,
    gate::{Gate, Policy, proof::Shown, tokens::Tokens},
    routing::taxonomy::Taxonomy,
    server::http::{
        articles::tagged_revision, conditional::Tag, cookie, dashboard::wish::Wish, origin, stream,
    },
    telemetry::trace,
    topic::Topic,
    wire::{
        begin::Begin,
        convert, ninjs,
        proto::v1::{self as proto, Action},
    },
};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{
    prelude::any,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tonic::metadata::MetadataMap;

use crate::harness::{article, request};

/// What grammars are made of.
const TOKENS: [&str; 40] = [
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "/",
    "//",
    "%",
    "%00",
    "%C3",
    "&",
    "=",
    ";",
    ":",
    ",",
    ".",
    "..",
    "-",
    "_",
    "*",
    "+",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    "<!--",
    "]]>",
    "null",
    "1e400",
    "-1",
    "18446744073709551616",
    "é",
    "\u{202e}",
    "ـ",
    "\u{feff}",
];
/// Most bytes of an input.
const INPUT_BYTES_MAX: usize = 4096;

/// Runs a parser over inputs made of good ones.
fn fuzz(good: &[&[u8]], parse: impl Fn(&[u8])) {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&any::<u64>(), |seed| {
        parse(&input(good, seed));
        Ok::<_, TestCaseError>(())
    });
    if let Err(TestError::Fail(why, seed)) = result {
        let input = input(good, seed);
        panic!("{why}: seed {seed}: {:?}", String::from_utf8_lossy(&input));
    }
}

/// The same for texts.
fn fuzz_text(good: &[&str], parse: impl Fn(&str)) {
    let good: Vec<&[u8]> = good.iter().map(|text| text.as_bytes()).collect();
    fuzz(&good, |bytes| parse(&String::from_utf8_lossy(bytes)));
}

/// What is parsed must be written as it was read.
fn comes_back<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

/// One of the good inputs with a few faults; sometimes something else altogether.
fn input(good: &[&[u8]], seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let pick = |random: &mut StdRng| good[random.random_range(0..good.len())].to_vec();
    let mut bytes = match random.random_range(0..16) {
        0 => (0..random.random_range(0..64))
            .map(|_| random.random())
            .collect(),
        _ => pick(&mut random),
    };
    for _ in 0..random.random_range(0..6) {
        let at = random.random_range(0..=bytes.len());
        let to = random.random_range(at..=bytes.len().min(at + 32));
        match random.random_range(0..7) {
            0 => bytes.insert(at, random.random()),
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
            2 => drop(bytes.drain(at..to)),
            3 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let token = TOKENS[random.random_range(0..TOKENS.len())];
                bytes.splice(at..to, token.bytes());
            }
            5 => {
                let other = pick(&mut random);
                let from = random.random_range(0..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// It came back, with whatever.
fn tried<T>(_: T) {}

fn headers(fields: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        // hyper lets no other values through.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
    }
    headers
}

fn key() -> Secret {
    Secret::new(KeyId::from_bits(7), [1; 20])
}

fn session() -> Token {
    let key = key();
    Sealer::new(&[2; 32]).seal(key.id(), &key.digest(), 1_800_000_000, [3; 12])
}

const JWT: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImVjIn0.\
    eyJpc3MiOiJhIiwiYXVkIjoiYiIsInN1YiI6ImMiLCJleHAiOjQxMDI0NDQ4MDAsImlhdCI6MX0.\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS256"}]}"#;

fn rules() -> Rules {
    Rules {
        issuer: "a".to_owned(),
        audience: "b".to_owned(),
        algorithms: ["ES256", "RS256", "EdDSA"]
            .map(|name| name.parse().unwrap())
            .to_vec(),
    }
}

#[test]
fn keys_and_names() {
    let (key, session) = (key().reveal().to_owned(), session().reveal());
    let good = [
        key.as_str(),
        &session,
        "aaaaaaaaaa",
        "gazette",
        "https://desk.example:8080",
    ];
    fuzz_text(&good, |text| {
        if let Ok(key) = text.parse::<Secret>() {
            assert_eq!(key.reveal(), text);
        }
        if let Ok(token) = text.parse::<Token>() {
            assert_eq!(token.reveal(), text);
        }
        comes_back::<KeyId>(text);
        comes_back::<PartnerName>(text);
        comes_back::<Origin>(text);
        tried(convert::partner::certificate(text));
    });
}

#[test]
fn cursors_and_beginnings() {
    let good = [
        "abcdefgh-42",
        "abcdefgh@1,bcdefgha@77",
        "now",
        "earliest",
        "last:20",
        "2026-07-01T08:00:00.5+03:00",
    ];
    fuzz_text(&good, |text| {
        comes_back::<Cursor>(text);
        comes_back::<Epochs>(text);
        tried(text.parse::<Begin>());
    });
}

#[test]
fn topics_languages_and_ids() {
    let good = [
        "ict.cybersecurity",
        "ar-EG",
        "zh-Hant-TW-x-a",
        "*",
        "de-*",
        "6fa459ea-ee8a-3ca4-894e-db77e160355e",
    ];
    fuzz_text(&good, |text| {
        comes_back::<Topic>(text);
        if let Ok(range) = text.parse::<LanguageRange>() {
            assert!(range.as_str().eq_ignore_ascii_case(text));
        }
        tried(text.parse::<Language>());
        tried(text.parse::<ArticleId>());
        tried(text.parse::<RequestId>());
    });
}

#[test]
fn queries_of_streams() {
    let good = [
        "topics=ict,economy.trade&languages=ar&urgency=5&q=port+said&from=last:20",
        "from=2026-07-01T08:00:00%2B03:00&beyond-grant=refuse",
        "abcdefgh-42",
    ];
    fuzz_text(&good, |text| {
        let headers = headers(&[("last-event-id", text.as_bytes())]);
        for headers in [&HeaderMap::new(), &headers] {
            if let Err(fault) = Query::parse(text, headers) {
                assert!(!fault.violations.is_empty(), "{fault:?}");
            }
        }
        tried(origin::check_query(Some(text)));
    });
}

#[test]
fn pages_of_the_dashboard() {
    let good = [
        "topics=ict&languages=ar,en&urgency=3&q=port&page=abcdefgh-42&ui=ar&article=7",
        "ar-JO,en;q=0.5,*;q=0.1",
    ];
    fuzz_text(&good, |text| {
        let wish = Wish::parse(text, &headers(&[("accept-language", text.as_bytes())]));
        tried(wish.filter());
        let again = Wish::parse(
            wish.page(&wish.page).trim_start_matches("/?"),
            &HeaderMap::new(),
        );
        assert_eq!(
            (again.topics, again.page),
            (wish.topics.clone(), wish.page.clone())
        );
    });
}

/// Nobody is let in, whatever is shown.
#[test]
fn what_callers_show() {
    let tokens = Tokens::new(rules());
    tokens.set(KeySet::parse(JWKS.as_bytes()).unwrap());
    let gate = Gate::new(Policy::Keys, || SystemTime::UNIX_EPOCH, Some(tokens));
    let bearer = format!("Bearer {}", key().reveal());
    let cookie = format!("a=b; barid-session={}; c", session().reveal());
    let token = format!("bearer {JWT}");
    let good = [
        bearer.as_bytes(),
        cookie.as_bytes(),
        token.as_bytes(),
        b"Basic YTpi",
    ];
    fuzz(&good, |bytes| {
        let fields = headers(&[("authorization", bytes), ("cookie", bytes)]);
        let session = cookie::session(&fields, None);
        for authorization in [fields.get("authorization").cloned(), None] {
            let shown = Shown {
                authorization,
                session: session.clone(),
                ..Shown::default()
            };
            gate.admit(&shown).unwrap_err();
            gate.refused(&shown, "/", "KEY_INVALID");
        }
    });
}

#[test]
fn tokens_and_their_keys() {
    let keys = KeySet::parse(JWKS.as_bytes()).unwrap();
    let rules = rules();
    fuzz_text(&[JWT, JWKS], |text| {
        rules.check(text, &keys, 1_800_000_000).unwrap_err();
        tried(KeySet::parse(text.as_bytes()));
    });
}

#[test]
fn headers_of_http() {
    let good: [&[u8]; 6] = [
        b"\"3-abcdefgh-42\", W/\"x\"",
        b"*",
        b"https://desk.example",
        b"same-origin",
        b"desk.example:1",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    fuzz(&good, |bytes| {
        let fields = headers(&[
            ("if-none-match", bytes),
            ("if-match", bytes),
            ("origin", bytes),
            ("host", bytes),
            ("traceparent", bytes),
            ("tracestate", bytes),
        ]);
        tried(Tag::new("x").is_held(&fields));
        tried(tagged_revision(&String::from_utf8_lossy(bytes)));
        tried(origin::site(&fields, Some("https://desk.example")));
        tried(trace::parent(&MetadataMap::from_headers(fields)));
    });
}

#[test]
fn heads_of_streams() {
    let good: [&[u8]; 2] = [
        b"GET /v1/stream?topics=ict HTTP/1.1\r\nHost: a\r\nLast-Event-ID: abcdefgh-42\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    ];
    fuzz(&good, |bytes| {
        if let Some(asked) = stream::asked(bytes, "/v1/stream") {
            assert!(asked.headers.contains_key("host"));
        }
    });
}

#[test]
fn articles_in_ninjs() {
    let good = [
        r#"{"uri": "https://news.example/1", "version": "2", "language": "ar", "urgency": 3,
            "pubStatus": "usable", "versionCreated": "2026-07-01T08:00:00Z", "edNote": "x",
            "headlines": [{"role": "main", "value": "Talks"}], "bodies": [{"contentType": "text/html",
            "value": "<p>One</p>"}], "subjects": [{"rel": "topic", "literal": "ict"}],
            "associations": [{"uri": "urn:uuid:6fa459ea-ee8a-3ca4-894e-db77e160355e"}]}"#,
        r#"{"uri": "a", "altIds": [{"role": "barid:id", "value": "b"}], "places": [{"name": "Cairo"}]}"#,
    ];
    fuzz_text(&good, |text| tried(ninjs::parse(text)));
}

#[test]
fn taxonomies() {
    let path = format!("{}/src/routing/taxonomy.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    // Without its description, and from several places.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let parts = lines.chunks(40).take(8).map(|part| part.join("\n"));
    let parts: Vec<String> = parts.collect();
    let good: Vec<&str> = parts.iter().map(String::as_str).collect();
    fuzz_text(&good, |text| tried(Taxonomy::parse(text)));
}

#[test]
fn feeds() {
    let good = [
        "<?xml version=\"1.0\"?><rss version=\"2.0\"><channel><title>t</title><link>http://a/</link>\
         <item><title>One &amp; two</title><guid>1</guid><pubDate>Wed, 01 Jul 2026 08:00:00 GMT</pubDate>\
         <description><![CDATA[<p>x</p>]]></description><category>ict</category></item></channel></rss>",
        "<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:lang=\"ar\"><id>a</id><title>t</title>\
         <updated>2026-07-01T08:00:00Z</updated><entry><id>b</id><title type=\"html\">&lt;b&gt;x</title>\
         <updated>2026-07-01T08:00:00Z</updated><content type=\"html\">x</content></entry></feed>",
        r#"{"version": "https://jsonfeed.org/version/1.1", "title": "t", "items": [{"id": "1",
            "url": "http://a/1", "content_html": "<p>x</p>", "date_published": "2026-07-01T08:00:00Z"}]}"#,
    ];
    let topics = BTreeSet::from(["ict".to_owned()]);
    fuzz_text(&good, |text| {
        tried(feed::read(
            text.as_bytes(),
            "https://news.example/feed",
            &topics,
        ));
    });
}

/// Messages that are protobuf and say anything.
#[test]
fn messages() {
    let mut published = request(Action::Correct, article("test:x", "a headline"));
    if let Some(article) = &mut published.article {
        article.topics = vec!["ict".to_owned()];
        article.edition_note = "signed on Monday".to_owned();
    }
    let partner = proto::Partner {
        name: "gazette".to_owned(),
        origins: vec!["https://desk.example".to_owned()],
        ..crate::access::gazette()
    };
    let subscribe = proto::SubscribeRequest {
        filter: Some(crate::harness::filter(&["ict"])),
        ..crate::harness::after("abcdefgh-42")
    };
    let good = [
        published.encode_to_vec(),
        partner.encode_to_vec(),
        subscribe.encode_to_vec(),
    ];
    let good: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    fuzz(&good, |bytes| {
        if let Ok(request) = proto::PublishRequest::decode(bytes) {
            tried(convert::submission(request));
        }
        if let Ok(partner) = proto::Partner::decode(bytes) {
            tried(convert::partner::partner(Some(partner)));
        }
        if let Ok(request) = proto::SubscribeRequest::decode(bytes) {
            tried(convert::filter(request.filter));
            tried(convert::start(request.start));
        }
    });
}
