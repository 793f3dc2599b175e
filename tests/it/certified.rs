//! Client certificates that stand for keys: TLS proves who calls, and nothing else is shown.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::Output,
    sync::Arc,
    time::{Duration, Instant},
};

use barid::wire::proto::v1::{CreateKeyRequest, Role, RotateKeyRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::rustls::{AlertDescription, Error as TlsError, HandshakeKind};
use tonic::{Code, Request};

use crate::{
    access::{Caller, gazette, story},
    certificates::{Authority, Pair},
    harness::{LIMIT, Node, barid, eventually, everything, refusal},
    tls::{config, connect, connect_by, endpoint, made, read_until},
    tokens::ended,
};

/// A node with TLS and keys, an authority of its clients, and one of its server.
struct Wire {
    node: Node,
    server: Authority,
    partners: Authority,
    desk: Caller,
    _folder: tempfile::TempDir,
}

impl Wire {
    async fn start() -> Self {
        let (folder, server, pair) = made();
        let partners = Authority::new(folder.path(), "partners");
        let ca = ["--tls-client-ca", partners.pem.to_str().unwrap()];
        let node = Node::start_with_keys(&[&pair.flags()[..], &ca].concat());
        let channel = endpoint(&node, &server.pem, None).connect_lazy();
        let desk = Caller::over(channel, &node.key("desk"));
        desk.partner(gazette()).await;
        Self {
            node,
            server,
            partners,
            desk,
            _folder: folder,
        }
    }

    /// A caller that shows a certificate and, unless it is empty, a key.
    fn caller(&self, pair: Option<&Pair>, key: &str) -> Caller {
        let channel = endpoint(&self.node, &self.server.pem, pair).connect_lazy();
        Caller::over(channel, key)
    }

    /// What a request with a certificate is answered; of a stream, its beginning.
    async fn http(&self, pair: Option<&Pair>, method: &str, path: &str, fields: &str) -> String {
        let address = &self.node.http;
        let mut stream = connect(address, &self.server.pem, pair).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        let head = async {
            // A problem ends with its brace.
            let is_whole = |seen: &[u8]| {
                let text = String::from_utf8_lossy(seen);
                let is_good = text.starts_with("HTTP/1.1 200");
                text.contains("\r\n\r\n") && (is_good || text.ends_with('}'))
            };
            while !is_whole(&seen) {
                assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
            }
        };
        timeout(LIMIT, head).await.expect("no answer in time");
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// A request for a key that a certificate stands for.
    fn key(&self, pair: &Pair, partner: &str, role: Role) -> Request<CreateKeyRequest> {
        self.desk.request(CreateKeyRequest {
            partner: partner.to_owned(),
            role: role.into(),
            // As openssl prints it.
            certificate: pair.fingerprint.to_uppercase(),
            ..CreateKeyRequest::default()
        })
    }

    fn run(&self, args: &[&str]) -> Output {
        let port = self.node.grpc.rsplit(':').next().unwrap();
        let server = format!("https://localhost:{port}");
        let keys = self.node.data().join("keys");
        let (ca, keys) = (path(&self.server.pem), path(&keys));
        let common = ["--server", &server, "--ca", ca, "--key-file", keys];
        barid().args(args).args(common).output().unwrap()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a command printed, which must have gone well.
fn good(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// A certificate lets its owner in on both listeners, as a key of its role would; another one, or
/// none, does not; and a key that is shown wins.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_a_key() {
    let wire = Wire::start().await;
    let (own, other) = (wire.partners.pair("gazette"), wire.partners.pair("other"));
    let made = good(&wire.run(&[
        "key",
        "add",
        "gazette",
        "--role",
        "subscriber",
        "--certificate",
        path(&own.cert),
    ]));
    assert!(
        made.contains(&own.fingerprint) && !made.contains("barid_"),
        "{made}"
    );
    let shown = good(&wire.run(&["partner", "show", "gazette"]));
    assert!(
        shown.contains(&format!("certificate {}", own.fingerprint)),
        "{shown}"
    );

    let reader = wire.caller(Some(&own), "");
    eventually("the node knows the certificate", async || {
        reader.subscribe(everything()).await.is_ok()
    })
    .await;
    let unknown = (Code::Unauthenticated, "CERTIFICATE_UNKNOWN".to_owned());
    let refused = wire.caller(Some(&other), "").subscribe(everything()).await;
    assert_eq!(refusal(&refused.err().unwrap()), unknown);
    let refused = wire.caller(None, "").subscribe(everything()).await;
    assert_eq!(refusal(&refused.err().unwrap()).1, "KEY_MISSING");
    // It is a subscriber's, and no more.
    let refused = reader.publish(story("test:x", &["ict"])).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "ROLE_MISSING");
    // A key that is shown wins, in both ways.
    let publisher = wire.caller(Some(&own), &wire.node.key("publisher"));
    publisher.publish(story("test:x", &["ict"])).await.unwrap();
    let nobody = wire
        .caller(Some(&own), "nonsense")
        .subscribe(everything())
        .await;
    assert_eq!(refusal(&nobody.err().unwrap()).1, "KEY_INVALID");

    let http = async |pair, fields| wire.http(pair, "GET", "/v1/articles", fields).await;
    assert!(http(Some(&own), "").await.starts_with("HTTP/1.1 200"));
    assert!(http(Some(&other), "").await.contains("CERTIFICATE_UNKNOWN"));
    assert!(http(None, "").await.contains("KEY_MISSING"));
    let nonsense = "authorization: Bearer nonsense\r\n";
    assert!(http(Some(&own), nonsense).await.contains("KEY_INVALID"));
    let stream = wire.http(Some(&own), "GET", "/v1/stream", "").await;
    assert!(stream.starts_with("HTTP/1.1 200"), "{stream}");
    // A browser shows it by itself: another site's page must not write by it.
    let fields = "sec-fetch-site: cross-site\r\ncontent-length: 0\r\n";
    let foreign = wire.http(Some(&own), "POST", "/v1/articles", fields).await;
    assert!(foreign.contains("ORIGIN_FOREIGN"), "{foreign}");
}

/// Renewed with an overlap, both certificates are good for a while; a revoked key's certificate ends
/// open streams like any key.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_and_revoked() {
    let wire = Wire::start().await;
    let (first, second) = (wire.partners.pair("first"), wire.partners.pair("second"));
    let admin = wire.desk.admin();
    let made = admin
        .clone()
        .create_key(wire.key(&first, "gazette", Role::Subscriber))
        .await;
    let made = made.unwrap().into_inner();
    assert_eq!(made.secret, "");
    let id = made.key.unwrap().id;
    let reader = wire.caller(Some(&first), "");
    eventually("the node knows the certificate", async || {
        reader.subscribe(everything()).await.is_ok()
    })
    .await;
    // One certificate, one key.
    let again = admin
        .clone()
        .create_key(wire.key(&first, "gazette", Role::Publisher))
        .await;
    let taken = (Code::AlreadyExists, "CERTIFICATE_TAKEN".to_owned());
    assert_eq!(refusal(&again.unwrap_err()), taken);
    let native = admin
        .clone()
        .create_key(wire.key(&second, "gazette", Role::Native))
        .await;
    assert_eq!(native.unwrap_err().code(), Code::InvalidArgument);
    let mut bad = wire.key(&second, "gazette", Role::Subscriber);
    bad.get_mut().certificate = "abc".to_owned();
    let bad = admin.clone().create_key(bad).await;
    assert_eq!(crate::harness::fields(&bad.unwrap_err()), ["certificate"]);

    let rotate = async |certificate: &str, seconds| {
        let overlap = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = wire.desk.request(RotateKeyRequest {
            key_id: id.clone(),
            overlap,
            certificate: certificate.to_owned(),
        });
        admin.clone().rotate_key(request).await
    };
    let none = rotate("", 0).await.unwrap_err();
    assert_eq!(crate::harness::fields(&none), ["certificate"]);
    let rotated = rotate(&second.fingerprint, 3600)
        .await
        .unwrap()
        .into_inner();
    let certificates = rotated.key.unwrap().certificates;
    assert_eq!(
        certificates,
        [first.fingerprint.clone(), second.fingerprint.clone()]
    );
    let renewed = wire.caller(Some(&second), "");
    eventually("the node knows the next one", async || {
        renewed.subscribe(everything()).await.is_ok()
    })
    .await;
    let mut open = reader.subscribe(everything()).await.unwrap();
    open.caught_up().await;
    let mut events = connect(&wire.node.http, &wire.server.pem, Some(&second))
        .await
        .unwrap();
    let head = "GET /v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
    events.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut events, "caught-up").await;

    wire.desk.revoke(&id).await;
    let unknown = (Code::Unauthenticated, "CERTIFICATE_UNKNOWN".to_owned());
    assert_eq!(ended(&mut open).await, unknown);
    read_until(&mut events, ": CERTIFICATE_UNKNOWN").await;
    for caller in [&reader, &renewed] {
        let refused = caller.subscribe(everything()).await;
        assert_eq!(refusal(&refused.err().unwrap()), unknown);
    }
    // It is free for another key.
    let free = admin
        .clone()
        .create_key(wire.key(&first, "gazette", Role::Publisher))
        .await;
    free.unwrap();
}

/// What a certificate opens ends when it does; so does an earlier TLS session, which a client may go on
/// with, and whose certificate nobody verifies anew. A key that is shown goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_certificate_opens_ends_with_it() {
    const LIFE: Duration = Duration::from_secs(10);
    let wire = Wire::start().await;
    let began = Instant::now();
    let pair = wire.partners.pair_for("short", 10);
    let made = wire.key(&pair, "gazette", Role::Subscriber);
    wire.desk.admin().create_key(made).await.unwrap();
    let reader = wire.caller(Some(&pair), "");
    eventually("the node knows the certificate", async || {
        reader.subscribe(everything()).await.is_ok()
    })
    .await;
    let mut open = reader.subscribe(everything()).await.unwrap();
    open.caught_up().await;
    let (address, shown) = (&wire.node.http, config(&wire.server.pem, Some(&pair)));
    let mut events = connect_by(address, Arc::clone(&shown)).await.unwrap();
    let mut kept = connect_by(address, Arc::clone(&shown)).await.unwrap();
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n");
    let (stream, articles) = (head("/v1/stream") + "\r\n", head("/v1/articles"));
    let ask = articles.clone() + "\r\n";
    events.write_all(stream.as_bytes()).await.unwrap();
    read_until(&mut events, "caught-up").await;
    kept.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut kept, "HTTP/1.1 200").await;

    let expired = (Code::Unauthenticated, "CERTIFICATE_EXPIRED".to_owned());
    assert_eq!(ended(&mut open).await, expired);
    // Its last second, the clock's grain, and what a busy machine takes.
    let took = began.elapsed();
    assert!(
        (LIFE..LIFE + Duration::from_secs(7)).contains(&took),
        "{took:?}"
    );
    read_until(&mut events, ": CERTIFICATE_EXPIRED").await;
    let refused = reader.subscribe(everything()).await;
    assert_eq!(refusal(&refused.err().unwrap()), expired);
    let mut resumed = connect_by(address, shown).await.unwrap();
    let kind = resumed.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Resumed));
    for connection in [&mut kept, &mut resumed] {
        connection.write_all(ask.as_bytes()).await.unwrap();
        read_until(connection, "CERTIFICATE_EXPIRED").await;
    }
    let key = wire.node.key("subscriber");
    let with_key = format!("{articles}authorization: Bearer {key}\r\n\r\n");
    kept.write_all(with_key.as_bytes()).await.unwrap();
    read_until(&mut kept, "HTTP/1.1 200").await;

    // A handshake from the beginning verifies, and TLS says what is wrong.
    let refused = match connect(address, &wire.server.pem, Some(&pair)).await {
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
        Err(error) => error,
    };
    let cause = refused.get_ref().and_then(|cause| cause.downcast_ref());
    let alert = TlsError::AlertReceived(AlertDescription::CertificateExpired);
    assert_eq!(cause, Some(&alert), "{refused}");
}

/// The client commands prove themselves by a certificate, which a key beside it outdoes only if it is
/// named; files that can't be used are bad use, and one that the server refuses is told of.
#[tokio::test(flavor = "multi_thread")]
async fn commands_prove_themselves() {
    let wire = Wire::start().await;
    let own = wire.partners.pair("gazette");
    let made = wire.key(&own, "gazette", Role::Subscriber);
    wire.desk.admin().create_key(made).await.unwrap();
    let reader = wire.caller(Some(&own), "");
    eventually("the node knows the certificate", async || {
        reader.subscribe(everything()).await.is_ok()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    // Where commands find keys by default.
    symlink(wire.node.data(), folder.path().join("barid-data")).unwrap();
    let port = wire.node.grpc.rsplit(':').next().unwrap();
    let server = format!("https://localhost:{port}");
    let run = |args: &[&str], variables: &[(&str, &Path)]| {
        let mut command = barid();
        command.args(args).args(["--server", &server]);
        command.args(["--ca", path(&wire.server.pem)]);
        command.envs(variables.iter().copied());
        let output = command.current_dir(folder.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let by = |args: &[&str], cert: &Path, key: &Path| {
        let flags = [
            "--client-certificate",
            path(cert),
            "--client-key",
            path(key),
        ];
        run(&[args, &flags].concat(), &[])
    };

    let tail = ["tail", "--from", "earliest", "--until-caught-up"];
    let (code, said) = by(&tail, &own.cert, &own.key);
    assert_eq!(code, Some(0), "{said}");
    let story = folder.path().join("story.json");
    let ninjs = r#"{"uri": "test:x", "language": "en", "headlines": [{"value": "By TLS"}]}"#;
    std::fs::write(&story, ninjs).unwrap();
    let publish = ["publish", path(&story)];
    let variables = [
        ("BARID_CLIENT_CERTIFICATE", own.cert.as_path()),
        ("BARID_CLIENT_KEY", own.key.as_path()),
    ];
    let (code, said) = run(&publish, &variables);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ROLE_MISSING"), "{said}");
    let keys = wire.node.data().join("keys");
    let with_key = [&publish[..], &["--key-file", path(&keys)]].concat();
    let (code, said) = run(&with_key, &variables);
    assert_eq!(code, Some(0), "{said}");

    let other = wire.partners.pair("other");
    let missing = folder.path().join("missing.pem");
    for (cert, key, words) in [
        (&missing, &own.key, "can't read the certificate"),
        (&own.cert, &missing, "can't read the private key"),
        (&own.key, &own.key, "has no certificate in it"),
        (&own.cert, &own.cert, "has no private key in it"),
        (&own.cert, &other.key, "is not that of the certificate"),
    ] {
        for args in [&["topics"][..], &tail] {
            let (exit, said) = by(args, cert, key);
            assert_eq!(exit, Some(2), "{words}: {said}");
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    // TLS tells the reason, but mostly not to whoever calls.
    let expired = wire.partners.pair_for("expired", -60);
    let stranger = Authority::new(folder.path(), "strangers").pair("stranger");
    for pair in [expired, stranger] {
        for args in [&["topics"][..], &tail] {
            let (code, said) = by(args, &pair.cert, &pair.key);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("--client-certificate names"), "{said}");
        }
    }
    let (code, said) = run(&["topics", "--client-certificate", path(&own.cert)], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--client-key"), "{said}");
}
