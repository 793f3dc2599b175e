//! Keys as operators meet them: the command line, files, and what must never show.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use barid::wire::proto::v1::{Action, Role};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    access::{Caller, gazette},
    command_line::{Said, run},
    harness::{Node, eventually, everything, noted, request},
    http_articles, sessions, tokens, web,
};

fn server(node: &Node) -> String {
    format!("http://{}", node.grpc)
}

/// A command at a node, with the key in a file.
fn with_key(node: &Node, key: &Path, args: &[&str]) -> Said {
    let server = server(node);
    let key = key.to_str().unwrap();
    let all: Vec<&str> = args
        .iter()
        .copied()
        .chain(["--server", &server, "--key-file", key])
        .collect();
    run(&all, b"")
}

fn good(said: Said) -> String {
    assert_eq!(said.code, Some(0), "{said:?}");
    said.stdout
}

/// From the first start to a partner that reads, and to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_by_the_command_line() {
    let node = Node::start_with_keys(&[]);
    let keys = node.data().join("keys");
    for role in ["publisher", "subscriber", "desk", "monitor"] {
        let mode = fs::metadata(keys.join(role)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{role}");
    }
    let mode = fs::metadata(&keys).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let made = with_key(
        &node,
        &keys,
        &[
            "partner",
            "add",
            "gazette",
            "--subscribe",
            "ict",
            "--streams",
            "3",
        ],
    );
    let made = good(made);
    assert!(
        made.contains("gazette") && made.contains("reads          ict"),
        "{made}"
    );
    // With --partner it is the desk that asks, of a folder with a key for each role.
    let list = ["subscription", "list", "--partner", "gazette"];
    assert_eq!(good(with_key(&node, &keys, &list)), "");
    let refused = with_key(&node, &keys, &[&list[..], &["--as", "subscriber"]].concat());
    assert!(refused.stderr.contains("ROLE_MISSING"), "{refused:?}");
    let refused = with_key(
        &node,
        &keys,
        &["key", "add", "gazette", "--role", "publisher"],
    );
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("ROLE_NOT_GRANTED"), "{refused:?}");
    let key = with_key(
        &node,
        &keys,
        &[
            "key",
            "add",
            "gazette",
            "--role",
            "subscriber",
            "--note",
            "cms",
        ],
    );
    // The secret alone is what goes into a file.
    let secret = good(key);
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("gazette.key");
    fs::write(&file, &secret).unwrap();
    assert_eq!(secret.trim().len(), 55);
    eventually("the key is known", async || {
        with_key(&node, &file, &["topics"]).code == Some(0)
    })
    .await;
    let tail = [
        "tail",
        "--from",
        "earliest",
        "--until-caught-up",
        "--output",
        "json",
    ];
    good(with_key(&node, &file, &tail));

    let set = [
        "partner",
        "set",
        "gazette",
        "--subscribe",
        "economy,ict.telecom",
        "--languages",
        "ar,en",
    ];
    good(with_key(&node, &keys, &set));
    let shown = good(with_key(
        &node,
        &keys,
        &["partner", "show", "gazette", "--output", "json"],
    ));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        shown["subscribe"]["topics"],
        serde_json::json!(["economy", "ict.telecom"])
    );
    assert_eq!(
        shown["subscribe"]["languages"],
        serde_json::json!(["ar", "en"])
    );
    assert_eq!(shown["publish"], Value::Null);
    assert_eq!(shown["streams_max"], 3);
    assert_eq!(shown["keys"][0]["note"], "cms");
    assert!(shown["keys"][0].get("secret").is_none());
    let id = shown["keys"][0]["id"].as_str().unwrap();

    let rotated = good(with_key(
        &node,
        &keys,
        &["key", "rotate", id, "--overlap", "0s"],
    ));
    assert_ne!(rotated, secret);
    eventually("the former secret is none", async || {
        with_key(&node, &file, &["topics"]).code == Some(1)
    })
    .await;
    fs::write(&file, &rotated).unwrap();
    eventually("the new secret is good", async || {
        with_key(&node, &file, &["topics"]).code == Some(0)
    })
    .await;
    good(with_key(&node, &keys, &["partner", "suspend", "gazette"]));
    eventually("it is suspended", async || {
        with_key(&node, &file, &["topics"])
            .stderr
            .contains("PARTNER_SUSPENDED")
    })
    .await;
    good(with_key(&node, &keys, &["partner", "resume", "gazette"]));
    good(with_key(&node, &keys, &["key", "revoke", id]));
    let listed = good(with_key(&node, &keys, &["partner", "list"]));
    assert!(
        listed.contains("gazette") && listed.contains("local"),
        "{listed}"
    );
    good(with_key(&node, &keys, &["partner", "remove", "gazette"]));
    let gone = with_key(&node, &keys, &["partner", "show", "gazette"]);
    assert!(gone.stderr.contains("PARTNER_UNKNOWN"), "{gone:?}");

    // Every command that calls shows its key.
    let story = br#"{"uri": "test:cli", "language": "en", "headlines": [{"value": "A new fibre network"}]}"#;
    let server_url = server(&node);
    let keyed = [
        "--server",
        &server_url,
        "--key-file",
        keys.to_str().unwrap(),
    ];
    let run_keyed = |args: &[&str], stdin: &[u8]| {
        let all: Vec<&str> = args.iter().chain(&keyed).copied().collect();
        good(run(&all, stdin))
    };
    run_keyed(&["publish", "-"], story);
    run_keyed(&["explain", "-"], story);
    let taxonomy = format!("{}/src/routing/taxonomy.toml", env!("CARGO_MANIFEST_DIR"));
    run_keyed(
        &["explain", "--since", "earliest", "--taxonomy", &taxonomy],
        b"",
    );
    run_keyed(&["list"], b"");
    run_keyed(&["get", "test:cli"], b"");
    run_keyed(&["kill", "test:cli", "--note", "Untrue.", "--yes"], b"");
    run_keyed(&["audit", "tail"], b"");
    run_keyed(&["health"], b"");
    // What is no key, or none at all.
    fs::write(&file, "barid_short").unwrap();
    let bad = with_key(&node, &file, &["topics"]);
    assert_eq!(bad.code, Some(2), "{bad:?}");
    assert!(bad.stderr.contains("holds no key"), "{bad:?}");
    let none = run(&["topics", "--server", &server(&node)], b"");
    assert!(none.stderr.contains("--key-file"), "{none:?}");
}

/// Where the keys of the desk are lost, or none was made, the log itself gives one.
#[tokio::test(flavor = "multi_thread")]
async fn a_desk_key_from_the_log() {
    let one = Node::start_with_keys(&[]);
    let url = one.nats_url();
    let made = good(run(&["log", "desk-key", "--nats-url", &url], b""));
    let desk = Caller::new(&one, made.trim());
    eventually("the key is known", async || {
        desk.try_partner(gazette()).await.is_ok()
    })
    .await;
    // The first ones were not made anew by another node.
    let other = Node::start_with_keys(&["--nats-url", &url]);
    let first = Caller::new(&other, &one.key("desk"));
    assert_eq!(first.partners().await.len(), 2);
}

/// The keys of a log hold over restarts of service and NATS.
#[tokio::test(flavor = "multi_thread")]
async fn keys_stay_over_a_restart() {
    let mut node = Node::start_with_keys(&[]);
    let before = node.key("desk");
    node.kill();
    node.start_again().await;
    assert_eq!(node.key("desk"), before);
    assert_eq!(Caller::desk(&node).partners().await.len(), 1);
}

/// Who changed, recalled and knocked is told by the audit, and by nothing that can be changed.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_tells_who_did_what() {
    let mut node = Node::start_with_keys(&[]);
    let keys = node.data().join("keys");
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (id, secret) = desk.key("gazette", Role::Subscriber, None).await;
    let reader = Caller::new(&node, &secret);
    eventually("the key is known", async || {
        reader.subscribe(everything()).await.is_ok()
    })
    .await;
    let story = crate::access::story("test:x", &["ict"]);
    reader.publish(story.clone()).await.unwrap_err();
    let article_id = desk.publish(story).await.unwrap();
    let kill = request(Action::Kill, noted("test:x", "Untrue."));
    desk.publish(kill.clone()).await.unwrap();
    // A retry is no second kill.
    desk.publish(kill).await.unwrap();
    Caller::new(&node, "nonsense")
        .publish(crate::access::story("test:y", &[]))
        .await
        .unwrap_err();
    let mut request = web::get("/metrics");
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {secret}").parse().unwrap());
    web::problem(&node.http, request).await;
    desk.revoke(&id).await;

    let lines = |node: &Node| -> Vec<Value> {
        let said = good(with_key(
            node,
            &keys,
            &["audit", "tail", "--output", "json"],
        ));
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let publish = "/barid.v1.PublisherService/Publish";
    let subscribe = "/barid.v1.SubscriberService/Subscribe";
    let expected = [
        ("local", "partner.create", "gazette", "asked"),
        ("local", "key.create", "gazette", "asked"),
        ("gazette", publish, "", "ROLE_MISSING"),
        ("local", "article.kill", &article_id, "done"),
        ("", publish, "", "KEY_INVALID"),
        ("gazette", "/metrics", "", "ROLE_MISSING"),
        ("local", "key.revoke", &id, "asked"),
    ];
    let told = |lines: &[Value]| -> Vec<(String, String, String, String)> {
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let line = |line| {
            (
                text(line, "partner"),
                text(line, "action"),
                text(line, "target"),
                text(line, "outcome"),
            )
        };
        // Until the node knew the new key, it refused to let it subscribe.
        let lines = lines.iter().filter(|line| line["action"] != subscribe);
        let mut told: Vec<_> = lines.map(line).collect();
        // Changes are kept before they are made, the rest a moment later.
        told.sort();
        told
    };
    let mut wanted: Vec<_> = expected
        .iter()
        .map(|(a, b, c, d)| {
            (
                (*a).to_owned(),
                (*b).to_owned(),
                (*c).to_owned(),
                (*d).to_owned(),
            )
        })
        .collect();
    wanted.sort();
    eventually("the audit has all", async || {
        lines(&node).len() >= wanted.len()
    })
    .await;
    let all = lines(&node);
    assert_eq!(told(&all), wanted);
    assert!(
        all.iter().all(|line| line["address"] == "127.0.0.1"),
        "{all:?}"
    );

    // It stays over a restart, and NATS itself refuses to take a line back.
    node.kill();
    node.start_again().await;
    assert_eq!(lines(&node), all);
    let owner = async_nats::jetstream::new(node.nats_owner().await);
    let stream = owner.get_stream("barid-audit").await.unwrap();
    stream.delete_message(1).await.unwrap_err();
    stream.purge().await.unwrap_err();
}

/// No secret is in any log line, error, metric or file, but where it was written on purpose: neither
/// a key's, nor a session's, nor a token.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows() {
    let authority = tokens::Authority::new("one");
    let node = authority.node(&["--log", "trace"]);
    let desk = Caller::desk(&node);
    desk.partner(gazette()).await;
    let (id, canary) = desk.key("gazette", Role::Subscriber, None).await;
    let reader = Caller::new(&node, &canary);
    eventually("the key is known", async || {
        reader.subscribe(everything()).await.is_ok()
    })
    .await;
    reader
        .publish(crate::access::story("test:x", &["ict"]))
        .await
        .unwrap_err();
    let mut request = web::get("/v1/stream?from=nonsense");
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {canary}").parse().unwrap());
    let (status, problem) = web::problem(&node.http, request).await;
    assert_eq!(status, 400);
    let secret = canary.rsplit('_').next().unwrap();
    assert!(!problem.to_string().contains(secret));
    let mut cut = web::get("/v1/stream");
    let headers = cut.headers_mut();
    headers.insert(
        "authorization",
        format!("Bearer {canary}x").parse().unwrap(),
    );
    let (_, problem) = web::problem(&node.http, cut).await;
    assert!(!problem.to_string().contains(secret));
    let mut metrics = web::get("/metrics");
    let headers = metrics.headers_mut();
    headers.insert(
        "authorization",
        format!("Bearer {}", node.key("monitor")).parse().unwrap(),
    );
    let (_, _, metrics) = web::answer(&node.http, metrics).await;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();

    let mut secrets = vec![secret.to_owned()];
    let (cookie, begun) = sessions::begin(&node, &canary).await;
    secrets.push(cookie.rsplit('.').next().unwrap().to_owned());
    secrets.push(begun["csrf_token"].as_str().unwrap().to_owned());
    let token = authority.token("subscriber", 600, &json!({}));
    secrets.push(token.rsplit('.').next().unwrap().to_owned());
    let mut said = Vec::new();
    let (bearer, cut) = (format!("Bearer {token}"), format!("Bearer {token}x"));
    let (foreign, bad) = (secrets[2].replace('a', "b"), format!("{cookie}x"));
    for shown in [
        &[("authorization", bearer.as_str())][..],
        &[("authorization", &cut)],
        &[("cookie", &cookie)],
        &[("cookie", &bad)],
        &[("cookie", &cookie), ("x-csrf-token", &foreign)],
        &[("cookie", &cookie), ("x-csrf-token", &secrets[2])],
    ] {
        for (method, path) in [
            ("GET", "/v1/stream?from=nonsense"),
            ("POST", "/v1/articles"),
        ] {
            let method = method.parse().unwrap();
            let answer = http_articles::send(&node.http, method, path, shown, "{").await;
            assert!(answer.status.is_client_error(), "{path} {shown:?}");
            said.push(answer.text().to_owned());
        }
    }
    let form = format!("key={canary}x");
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let post = http::Method::POST;
    let page = http_articles::send(&node.http, post, "/desk/session", &kind, form).await;
    said.push(page.text().to_owned());
    desk.revoke(&id).await;

    let log = node.log();
    assert!(log.contains("made a key"), "the log is on");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret}");
        assert!(!metrics.contains(&secret) && !said.iter().any(|text| text.contains(&secret)));
        // NATS's files hold digests only.
        let found = holds(node.data(), secret.as_bytes());
        assert_eq!(found, Vec::<String>::new());
    }
}

/// Files under a folder that hold these bytes.
fn holds(folder: &Path, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holds(&path, wanted));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(wanted.len()).any(|part| part == wanted))
        {
            found.push(path.display().to_string());
        }
    }
    found
}
