//! Access tokens of another authority (JWT, RFC 9068), in place of keys.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use barid::wire::proto::v1::{GetPartnerRequest, Limits, Role};
use data_encoding::BASE64URL_NOPAD;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, timeout},
};
use tonic::Code;

use crate::{
    access::{Caller, gazette, now, story},
    harness::{LIMIT, Node, Reader, barid, eventually, everything, refusal},
    http_articles::send,
};

pub const ISSUER: &str = "https://id.example/";

/// An authority with one key, and its set in a file.
pub struct Authority {
    pair: Ed25519KeyPair,
    kid: String,
    folder: TempDir,
}

impl Authority {
    pub fn new(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let authority = Self {
            pair: Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap(),
            kid: kid.to_owned(),
            folder: TempDir::new().unwrap(),
        };
        authority.write(&authority.jwks());
        authority
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    fn write(&self, jwks: &Value) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, jwks.to_string()).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn jwks(&self) -> Value {
        let x = BASE64URL_NOPAD.encode(self.pair.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x}]})
    }

    /// A node that takes its tokens.
    pub fn node(&self, more: &[&str]) -> Node {
        self.node_by(self.path().to_str().unwrap(), more)
    }

    fn node_by(&self, jwks: &str, more: &[&str]) -> Node {
        let args = [
            "--jwt-jwks",
            jwks,
            "--jwt-issuer",
            ISSUER,
            "--jwt-audience",
            "barid",
            "--jwt-algorithms",
            "EdDSA",
        ];
        Node::start_with_keys(&[&args, more].concat())
    }

    /// A token of a role of gazette's for a while, with other claims or none.
    pub fn token(&self, role: &str, seconds: i64, other: &Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": "barid", "sub": format!("desk of {role}"), "iat": now(),
            "exp": now() + seconds, "barid_partner": "gazette", "barid_role": role,
        });
        for (name, value) in other.as_object().cloned().unwrap_or_default() {
            claims[name] = value;
        }
        self.sign(
            &json!({"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid}),
            &claims,
        )
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(text.as_bytes());
        format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

/// Why a stream ended.
pub async fn ended(reader: &mut Reader) -> (Code, String) {
    let ended = async {
        loop {
            if let Err(status) = reader.next().await {
                return refusal(&status);
            }
        }
    };
    timeout(LIMIT, ended).await.expect("the stream goes on")
}

/// A token opens what its partner is granted, by its role; on both listeners.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_stands_for_a_key() {
    let authority = Authority::new("one");
    let node = authority.node(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let caller = |token: &str| Caller::new(&node, token);
    let subscriber = caller(&authority.token("subscriber", 600, &json!({})));
    eventually("the partner is known", async || {
        subscriber.subscribe(everything()).await.is_ok()
    })
    .await;
    let publisher = caller(&authority.token("publisher", 600, &json!({})));
    publisher
        .publish(story("test:ict", &["ict"]))
        .await
        .unwrap();
    let refused = publisher.publish(story("test:x", &["economy"])).await;
    assert_eq!(refusal(&refused.unwrap_err()).1, "TOPIC_NOT_GRANTED");
    let refused = subscriber.publish(story("test:x", &["ict"])).await;
    assert_eq!(refusal(&refused.unwrap_err()).1, "ROLE_MISSING");
    desk.publish(story("test:economy", &["economy"]))
        .await
        .unwrap();
    let mut reader = subscriber.subscribe(everything()).await.unwrap();
    assert_eq!(reader.history().await.len(), 1);

    // A retry is known under another token of the same subject.
    let request = story("test:again", &["ict"]);
    let first = publisher.publish(request.clone()).await.unwrap();
    let renewed = caller(&authority.token("publisher", 900, &json!({})));
    assert_eq!(renewed.publish(request).await.unwrap(), first);

    let http = async |token: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        send(&node.http, http::Method::GET, path, &headers, "").await
    };
    let token = authority.token("subscriber", 600, &json!({}));
    assert_eq!(http(&token, "/v1/articles").await.status, 200);
    let who: Value = serde_json::from_str(http(&token, "/v1/session").await.text()).unwrap();
    assert_eq!(
        (&who["partner"], &who["role"]),
        (&json!("gazette"), &json!("subscriber"))
    );
    // A browser's session is begun with a key.
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let begun = send(&node.http, http::Method::POST, "/v1/session", &headers, "").await;
    assert!(begun.text().contains("KEY_NEEDED"), "{}", begun.text());

    // Without settings for tokens none is taken.
    let plain = Node::start_with_keys(&[]);
    let refused = Caller::new(&plain, &token).subscribe(everything()).await;
    assert_eq!(refusal(&refused.err().unwrap()).1, "KEY_INVALID");
}

/// What is wrong with a token is said, and nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused() {
    let (authority, stranger) = (Authority::new("one"), Authority::new("one"));
    let node = authority.node(&[]);
    Caller::desk(&node).partner(gazette()).await;
    let good = Caller::new(&node, &authority.token("subscriber", 600, &json!({})));
    eventually("the partner is known", async || {
        good.subscribe(everything()).await.is_ok()
    })
    .await;
    let of = |other: Value| authority.token("subscriber", 600, &other);
    let header = |alg: &str, kid: &str, typ: &str| {
        let claims = json!({"iss": ISSUER, "aud": "barid", "sub": "x", "iat": now(),
            "exp": now() + 60, "barid_partner": "gazette", "barid_role": "subscriber"});
        authority.sign(&json!({"alg": alg, "kid": kid, "typ": typ}), &claims)
    };
    let invalid = "TOKEN_INVALID";
    for (token, reason) in [
        (
            authority.token("subscriber", 0, &json!({})),
            "TOKEN_EXPIRED",
        ),
        (of(json!({"iss": "https://evil.example/"})), invalid),
        (of(json!({"aud": "other"})), invalid),
        (of(json!({"nbf": now() + 3600})), invalid),
        (of(json!({"barid_partner": "nobody"})), invalid),
        (of(json!({"barid_role": "native"})), invalid),
        (stranger.token("subscriber", 600, &json!({})), invalid),
        (header("EdDSA", "two", "at+jwt"), invalid),
        (header("EdDSA", "one", "JWT"), invalid),
        (header("HS256", "one", "at+jwt"), invalid),
        (header("none", "one", "at+jwt"), invalid),
    ] {
        let refused = Caller::new(&node, &token).subscribe(everything()).await;
        let status = refused.err().unwrap();
        assert_eq!(
            refusal(&status),
            (Code::Unauthenticated, reason.to_owned()),
            "{token}"
        );
        let signature = token.rsplit('.').next().unwrap();
        assert!(!status.message().contains(signature));
    }
    // A partner that has no grant for it.
    let mut bureau = gazette();
    (bureau.name, bureau.publish) = ("bureau".to_owned(), None);
    Caller::desk(&node).partner(bureau).await;
    let claims = json!({"barid_partner": "bureau"});
    let token = authority.token("publisher", 600, &claims);
    eventually("the grant is missing", async || {
        let refused = Caller::new(&node, &token)
            .publish(story("test:x", &["ict"]))
            .await;
        refused.is_err_and(|status| refusal(&status).1 == "ROLE_NOT_GRANTED")
    })
    .await;
}

/// Whose a stream by a token is, its partner and `/v1/status` tell: the partner's, by the token's subject.
#[tokio::test(flavor = "multi_thread")]
async fn streams_by_tokens_are_told() {
    let authority = Authority::new("one");
    let node = authority.node(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let mut other = gazette();
    other.name = "tribune".to_owned();
    desk.partner(other).await;
    let reader = |partner: &str, subject: &str| {
        let claims = json!({"barid_partner": partner, "sub": subject});
        Caller::new(&node, &authority.token("subscriber", 600, &claims))
    };
    let (own, others) = (reader("gazette", "night desk"), reader("tribune", "x"));
    eventually("the partners are known", async || {
        own.subscribe(everything()).await.is_ok() && others.subscribe(everything()).await.is_ok()
    })
    .await;
    let _open = own.subscribe(everything()).await.unwrap();
    let _others = others.subscribe(everything()).await.unwrap();
    let (_, key) = desk.key("gazette", Role::Subscriber, None).await;
    let by_key = Caller::new(&node, &key);
    eventually("the key is known", async || {
        by_key.subscribe(everything()).await.is_ok()
    })
    .await;
    let _by_key = by_key.subscribe(everything()).await.unwrap();
    let mut told = Vec::new();
    eventually(
        "both streams of the partner are told, and no other",
        async || {
            let name = "gazette".to_owned();
            let request = desk.request(GetPartnerRequest { name });
            let got = desk
                .admin()
                .get_partner(request)
                .await
                .unwrap()
                .into_inner();
            told = got
                .streams
                .into_iter()
                .map(|stream| stream.subject)
                .collect();
            told.sort();
            let partners = desk.partners().await.into_iter();
            let counts = partners.map(|partner| (partner.name, partner.streams));
            let counts: BTreeMap<String, u32> = counts.collect();
            told == ["", "night desk"] && (counts["gazette"], counts["tribune"]) == (2, 1)
        },
    )
    .await;
    let output = barid()
        .args(["partner", "show", "gazette", "--server"])
        .arg(format!("http://{}", node.grpc))
        .arg("--key-file")
        .arg(node.data().join("keys"))
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("token of night desk over grpc"), "{shown}");

    let bearer = format!("Bearer {}", node.key("desk"));
    let headers = [("authorization", bearer.as_str())];
    let status = send(&node.http, http::Method::GET, "/v1/status", &headers, "").await;
    let status: Value = serde_json::from_str(status.text()).unwrap();
    let streams = status["streams"]["first"].as_array().unwrap();
    let is_ours = |stream: &&Value| stream["subject"] == "night desk";
    let stream = streams.iter().find(is_ours).expect("the stream is there");
    assert_eq!(stream["partner"], "gazette");
}

/// Open streams end with their token, and with what its partner may do.
#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_their_token() {
    let authority = Authority::new("one");
    let node = authority.node(&[]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let caller = |seconds| Caller::new(&node, &authority.token("subscriber", seconds, &json!({})));
    let long = caller(600);
    eventually("the partner is known", async || {
        long.subscribe(everything()).await.is_ok()
    })
    .await;
    let began = Instant::now();
    let mut short = caller(3).subscribe(everything()).await.unwrap();
    let mut other = long.subscribe(everything()).await.unwrap();
    other.caught_up().await;
    let expired = (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned());
    assert_eq!(ended(&mut short).await, expired);
    // Two seconds of three are sure, and one more is the clock's grain.
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(6)).contains(&took),
        "{took:?}"
    );

    desk.update("gazette", |partner| partner.suspended = true)
        .await;
    assert_eq!(ended(&mut other).await.1, "PARTNER_SUSPENDED");
    desk.update("gazette", |partner| {
        partner.suspended = false;
        partner.limits = Some(Limits {
            streams: 1,
            ..Limits::default()
        });
    })
    .await;
    // Limits count for each subject.
    let mut held = None;
    eventually("it is let in again", async || {
        held = long.subscribe(everything()).await.ok();
        held.is_some()
    })
    .await;
    let second = long.subscribe(everything()).await;
    assert_eq!(refusal(&second.err().unwrap()).1, "STREAMS_LIMIT");
    let claims = json!({"sub": "somebody else"});
    let other = Caller::new(&node, &authority.token("subscriber", 600, &claims));
    other.subscribe(everything()).await.unwrap();
}

/// Keys are read again when their file changes; one that can't be used changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn keys_follow_their_file() {
    let (authority, next) = (Authority::new("one"), Authority::new("two"));
    let node = authority.node(&[]);
    Caller::desk(&node).partner(gazette()).await;
    let first = Caller::new(&node, &authority.token("subscriber", 600, &json!({})));
    let second = Caller::new(&node, &next.token("subscriber", 600, &json!({})));
    eventually("the first key is known", async || {
        first.subscribe(everything()).await.is_ok()
    })
    .await;
    assert!(second.subscribe(everything()).await.is_err());
    std::fs::write(authority.path(), "{").unwrap();
    eventually("an error in the log", async || {
        node.log().contains("the keys of tokens can't be used")
    })
    .await;
    first.subscribe(everything()).await.unwrap();
    authority.write(&next.jwks());
    eventually("the next key is known", async || {
        second.subscribe(everything()).await.is_ok()
    })
    .await;
    assert!(first.subscribe(everything()).await.is_err());
}

/// Keys come from an address, which is asked again when a token names one that is not known.
#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_web() {
    let (authority, next) = (Authority::new("one"), Authority::new("two"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/jwks", listener.local_addr().unwrap());
    let served = std::sync::Arc::new(std::sync::Mutex::new(authority.jwks().to_string()));
    let serving = served.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let _gone = socket.read(&mut asked).await;
            let body = serving.lock().unwrap().clone();
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _gone = socket.write_all((head + &body).as_bytes()).await;
        }
    });
    let node = authority.node_by(&address, &[]);
    Caller::desk(&node).partner(gazette()).await;
    let first = Caller::new(&node, &authority.token("subscriber", 600, &json!({})));
    let second = Caller::new(&node, &next.token("subscriber", 600, &json!({})));
    eventually("the first key is known", async || {
        first.subscribe(everything()).await.is_ok()
    })
    .await;
    *served.lock().unwrap() = next.jwks().to_string();
    eventually("the next key is known", async || {
        second.subscribe(everything()).await.is_ok()
    })
    .await;
}

/// Settings that would take anybody's tokens, or anybody's keys, are refused.
#[test]
fn settings_are_checked() {
    let run = |args: &[&str]| {
        let output = barid().arg("serve").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let whole = ["--jwt-issuer", "a", "--jwt-audience", "b"];
    let with = |jwks: &str, more: &[&str]| run(&[&["--jwt-jwks", jwks], &whole[..], more].concat());
    assert!(run(&["--jwt-issuer", "a"]).contains("--jwt-jwks"));
    assert!(run(&["--jwt-jwks", "x", "--jwt-issuer", "a"]).contains("--jwt-audience"));
    assert!(with("http://id.example/jwks", &[]).contains("https://"));
    assert!(with("/nowhere/jwks.json", &[]).contains("can't read the keys"));
    assert!(with("/dev/null", &[]).contains("JSON Web Key Set"));
    for algorithms in ["none", "HS256", "RS256,HS256", ""] {
        let said = with("/dev/null", &["--jwt-algorithms", algorithms]);
        assert!(said.contains("--jwt-algorithms"), "{said}");
    }
}
