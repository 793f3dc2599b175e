//! TLS on both listeners: files, reloading, clients with and without certificates.

use std::{io, path::Path, process::Output, sync::Arc};

use barid::wire::proto::v1::{
    Action, publisher_service_client::PublisherServiceClient,
    subscriber_service_client::SubscriberServiceClient,
};
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    certificates::{Authority, Pair},
    harness::{LIMIT, Node, article, barid, eventually, everything, request},
};

/// Authority, its server's certificate, and the folder that they are in.
pub fn made() -> (TempDir, Authority, Pair) {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let pair = authority.pair("server");
    (folder, authority, pair)
}

/// A TLS connection that believes this authority, perhaps as a client with a certificate.
pub async fn connect(
    address: &str,
    authority: &Path,
    client: Option<&Pair>,
) -> io::Result<TlsStream<TcpStream>> {
    connect_by(address, config(authority, client)).await
}

/// The same by a configuration, which may go on with an earlier session of its own.
pub async fn connect_by(
    address: &str,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    over(TcpStream::connect(address).await?, config).await
}

/// The same over a socket that is connected.
async fn over(socket: TcpStream, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(config);
    timeout(LIMIT, connector.connect(name, socket)).await?
}

/// What a client believes, and shows.
pub fn config(authority: &Path, client: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(authority).unwrap();
    roots.add(root).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match client {
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    Arc::new(config)
}

/// What a plain GET over such a connection is answered.
async fn get(mut stream: TlsStream<TcpStream>, path: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// The SHA-256 of the certificate that a listener shows.
async fn shown(address: &str, authority: &Path) -> String {
    let stream = connect(address, authority, None).await.unwrap();
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().unwrap()[0].clone();
    let digest = Sha256::digest(certificate);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn endpoint(node: &Node, authority: &Path, client: Option<&Pair>) -> Endpoint {
    let port = node.grpc.rsplit(':').next().unwrap();
    let pem = |path: &Path| std::fs::read(path).unwrap();
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem(authority)));
    if let Some(pair) = client {
        config = config.identity(Identity::from_pem(pem(&pair.cert), pem(&pair.key)));
    }
    let endpoint = Channel::from_shared(format!("https://localhost:{port}")).unwrap();
    endpoint.tls_config(config).unwrap()
}

async fn publish(channel: Channel, uri: &str) -> Result<String, Status> {
    let request = request(Action::Publish, article(uri, "a headline"));
    let answer = PublisherServiceClient::new(channel)
        .publish(request)
        .await?;
    Ok(answer.into_inner().cursor)
}

/// Reads an SSE stream until a text has come.
pub async fn read_until(stream: &mut TlsStream<TcpStream>, wanted: &str) {
    let mut seen = Vec::new();
    let found = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            assert!(
                stream.read_buf(&mut seen).await.unwrap() > 0,
                "the stream ended"
            );
        }
    };
    let found = timeout(LIMIT, found).await;
    found.unwrap_or_else(|_| panic!("{wanted} did not come"));
}

/// A certificate is exchanged under a running node: new connections see the new one, by a look at
/// the file as by SIGHUP; open streams go on; and a bad file changes nothing but the log.
#[tokio::test]
async fn reload() {
    let (_folder, authority, pair) = made();
    let node = Node::start_with(&pair.flags());
    let channel = endpoint(&node, &authority.pem, None).connect_lazy();
    let mut reader = SubscriberServiceClient::new(channel.clone())
        .subscribe(everything())
        .await
        .unwrap()
        .into_inner();
    reader.message().await.unwrap().unwrap();
    let mut events = connect(&node.http, &authority.pem, None).await.unwrap();
    let head = "GET /v1/stream?from=earliest HTTP/1.1\r\nhost: localhost\r\n\r\n";
    events.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut events, "caught-up").await;
    assert_eq!(shown(&node.grpc, &authority.pem).await, pair.fingerprint);

    let second = authority.pair("second");
    second.replace(&pair);
    for address in [&node.grpc, &node.http] {
        eventually("the second certificate", async || {
            shown(address, &authority.pem).await == second.fingerprint
        })
        .await;
    }

    // Another's key: the second stays.
    std::fs::copy(&authority.pair("third").key, &pair.key).unwrap();
    eventually("an error in the log", async || {
        node.log().contains("is not that of the certificate")
    })
    .await;
    node.signal(Signal::HUP);
    std::fs::remove_file(&pair.cert).unwrap();
    eventually("another error in the log", async || {
        node.log().contains("can't read the certificate")
    })
    .await;
    assert_eq!(shown(&node.http, &authority.pem).await, second.fingerprint);

    authority.pair("fourth").replace(&pair);
    let fourth = authority.pair("fifth");
    fourth.replace(&pair);
    node.signal(Signal::HUP);
    eventually("the last certificate", async || {
        shown(&node.grpc, &authority.pem).await == fourth.fingerprint
    })
    .await;

    // One that is over is served, and told of.
    assert!(!node.log().contains("is over"));
    authority.pair_for("sixth", -60).replace(&pair);
    eventually("a warning in the log", async || {
        node.log().contains("the TLS certificate is over")
    })
    .await;

    // The streams of the first are still there.
    publish(channel, "test:after-all").await.unwrap();
    read_until(&mut events, "test:after-all").await;
    let frame = timeout(LIMIT, reader.message()).await.unwrap();
    frame.unwrap().unwrap();
}

/// A client's certificate is asked for and not required; one of another authority is refused, and a
/// good one is known by its fingerprint.
#[tokio::test]
async fn client_certificates() {
    let (folder, authority, pair) = made();
    let partners = Authority::new(folder.path(), "partners");
    let strangers = Authority::new(folder.path(), "strangers");
    let (good, bad) = (partners.pair("gazette"), strangers.pair("stranger"));
    let ca = ["--tls-client-ca", partners.pem.to_str().unwrap()];
    let node = Node::start_with(&[&pair.flags()[..], &ca].concat());

    let open = |client| connect(&node.http, &authority.pem, client);
    for client in [None, Some(&good)] {
        let answer = get(open(client).await.unwrap(), "/healthz").await.unwrap();
        assert!(answer.ends_with("alive\n"), "{answer}");
        let channel = endpoint(&node, &authority.pem, client).connect_lazy();
        publish(channel, "test:client").await.unwrap();
    }
    let refused = match open(Some(&bad)).await {
        // In TLS 1.3 a client hears of its refusal only when it reads.
        Ok(stream) => get(stream, "/healthz").await,
        Err(error) => Err(error),
    };
    refused.unwrap_err();
    let channel = endpoint(&node, &authority.pem, Some(&bad)).connect_lazy();
    publish(channel, "test:stranger").await.unwrap_err();

    let log = node.log();
    for listener in ["grpc", "http"] {
        let line = log
            .lines()
            .find(|line| line.contains("has proved itself") && line.contains(listener));
        assert!(line.unwrap().contains(&good.fingerprint), "{line:?}");
    }
    assert!(!log.contains(&bad.fingerprint));
}

/// Whoever speaks plainly where TLS is spoken hears so in its own protocol.
#[tokio::test]
async fn plain_clients() {
    let (_folder, _authority, pair) = made();
    let node = Node::start_with(&pair.flags());
    let plain = Channel::from_shared(format!("http://{}", node.grpc)).unwrap();
    let error = publish(plain.connect_lazy(), "test:plain")
        .await
        .unwrap_err();
    assert!(
        format!("{error:?}").contains("INADEQUATE_SECURITY"),
        "{error:?}"
    );

    let mut socket = TcpStream::connect(&node.http).await.unwrap();
    let head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    socket.write_all(head).await.unwrap();
    let mut answer = String::new();
    let read = socket.read_to_string(&mut answer);
    timeout(LIMIT, read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("TLS_REQUIRED"), "{answer}");
}

/// A TLS client of a plain port is turned away, and others are served.
#[tokio::test]
async fn tls_on_a_plain_port() {
    let (_folder, authority, _pair) = made();
    let node = Node::start();
    for address in [&node.grpc, &node.http] {
        connect(address, &authority.pem, None).await.unwrap_err();
    }
    node.publish(Action::Publish, article("test:a", "a headline"))
        .await
        .unwrap();
}

/// TLS subscribers that take nothing for a while get all of it in the end, to the last byte, wherever
/// they were stopped: what TLS held then goes out by itself, and not with whatever comes next.
#[tokio::test]
async fn a_pause() {
    let (_folder, authority, pair) = made();
    let node = Node::start_with(&pair.flags());
    let channel = endpoint(&node, &authority.pem, None).connect_lazy();
    let mut publisher = PublisherServiceClient::new(channel);
    for number in 0..60 {
        let mut long = article(&format!("test:{number}"), "a headline");
        long.body = "x".repeat(1_000);
        let request = request(Action::Publish, long);
        publisher.publish(request).await.unwrap();
    }
    // Each of another length: of some, the last record is what does not go.
    let mut all = Vec::new();
    for count in 1..=60 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let socket = socket.connect(node.http.parse().unwrap()).await.unwrap();
        let mut events = over(socket, config(&authority.pem, None)).await.unwrap();
        let head = format!("GET /v1/stream?from=last:{count} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        events.write_all(head.as_bytes()).await.unwrap();
        all.push(events);
    }
    let mut before = String::new();
    eventually("nothing moves any more", async || {
        let metrics = connect(&node.http, &authority.pem, None).await.unwrap();
        let metrics = get(metrics, "/metrics").await.unwrap();
        let name = "barid_delivery_bytes_total{protocol=\"sse\"}";
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap().to_owned();
        std::mem::replace(&mut before, line.clone()) == line
    })
    .await;
    for events in &mut all {
        // Before the next heartbeat, which would push the rest out.
        let read = timeout(LIMIT / 4, read_until(events, "caught-up")).await;
        read.expect("the rest does not come");
    }
}

/// Runs the program to its end.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let folder = TempDir::new().unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = barid()
        .args(args)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

/// Files that can't be used are bad use, found by `config check` as by `serve`, with words that say
/// what is wrong with which.
#[test]
fn bad_files() {
    let (folder, authority, pair) = made();
    let other = authority.pair("other");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = folder
        .path()
        .join("missing.pem")
        .to_str()
        .unwrap()
        .to_owned();
    let text = file("text.pem", "no PEM");
    let broken = file(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    let locked = file(
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (cert, key, other_key) = (path(&pair.cert), path(&pair.key), path(&other.key));
    for (cert, key, client_ca, words) in [
        (&missing, &key, None, "can't read the certificate"),
        (&cert, &missing, None, "can't read the private key"),
        (&text, &key, None, "has no certificate in it"),
        (&broken, &key, None, "is not PEM"),
        (&cert, &text, None, "has no private key in it"),
        (&cert, &locked, None, "is locked with a passphrase"),
        (&cert, &other_key, None, "is not that of the certificate"),
        (
            &cert,
            &key,
            Some(&missing),
            "can't read the client certificates' authority",
        ),
        (&cert, &key, Some(&key), "has no certificate in it"),
    ] {
        let mut toml = format!("tls_cert = '{cert}'\ntls_key = '{key}'\n");
        if let Some(client_ca) = client_ca {
            toml.push_str(&format!("tls_client_ca = '{client_ca}'\n"));
        }
        let settings = file("barid.toml", &toml);
        for args in [
            ["config", "check", &settings].as_slice(),
            &["serve", "--config", &settings],
        ] {
            let (code, said) = run(args);
            assert_eq!(code, Some(2), "{args:?}: {said}");
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    let good = file(
        "barid.toml",
        &format!("tls_cert = '{cert}'\ntls_key = '{key}'\n"),
    );
    assert_eq!(run(&["config", "check", &good]).0, Some(0));
}

/// The client commands talk to an `https://` server whose authority they are told, and say what is
/// wrong with one that they can't believe, at once.
#[test]
fn commands() {
    let (folder, authority, pair) = made();
    let stranger = Authority::new(folder.path(), "stranger");
    let node = Node::start_with(&pair.flags());
    let port = node.grpc.rsplit(':').next().unwrap();
    let server = format!("https://localhost:{port}");
    let with = |args: &[&str], ca: &Path| {
        let ca = ca.to_str().unwrap();
        run(&[args, &["--server", &server, "--ca", ca]].concat())
    };
    let (code, said) = with(&["topics"], &authority.pem);
    assert_eq!(code, Some(0), "{said}");
    let story = folder.path().join("story.json");
    let ninjs =
        r#"{"uri": "test:story", "language": "en", "headlines": [{"value": "Through TLS"}]}"#;
    std::fs::write(&story, ninjs).unwrap();
    let publish = ["publish", story.to_str().unwrap()];
    let (code, said) = with(&publish, &authority.pem);
    assert_eq!(code, Some(0), "{said}");
    for args in [&["topics"][..], &publish, &["tail", "--from", "earliest"]] {
        let (code, said) = with(args, &stranger.pem);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains("is not to be trusted"), "{args:?}: {said}");
        let (code, said) = with(args, &pair.key);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(
            said.contains("has no certificate in it"),
            "{args:?}: {said}"
        );
    }
    // Without --ca the system's authorities are asked, which don't know this one.
    let (code, said) = run(&["topics", "--server", &server]);
    assert_eq!(code, Some(1), "{said}");
}
