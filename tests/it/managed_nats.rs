//! Managed NATS: it starts, comes back, dies with its parent, and holds readers to reading.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr, Subject,
    jetstream::{
        self,
        consumer::{AckPolicy, pull, push},
        stream::{Config, Republish},
    },
};
use barid::server::nats::{ManagedNats, Options, StartError, running_url};
use futures_util::{StreamExt, TryStreamExt};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    sync::mpsc as channel,
    time::{Instant, sleep, timeout},
};

const LIMIT: Duration = Duration::from_secs(10);
/// How long a request waits whose answer must not come.
const REFUSAL: Duration = Duration::from_millis(300);
const GUARD: &str = env!("CARGO_BIN_EXE_barid");

/// The server to test with; none means the one that `make tools` installs.
fn nats_server() -> Option<PathBuf> {
    std::env::var_os("BARID_TEST_NATS_SERVER").map(PathBuf::from)
}

fn options(data_dir: &Path, port: u16) -> Options {
    Options {
        anonymous_readers: true,
        binary: nats_server(),
        data_dir: data_dir.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        guard: GUARD.into(),
    }
}

fn start(data_dir: &Path) -> ManagedNats {
    ManagedNats::start(options(data_dir, 0)).unwrap()
}

fn server_pid(data_dir: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data_dir.join("nats-server.pid")).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A client whose refusals can be awaited.
async fn connect(url: &str, inbox: &str) -> (Client, channel::Receiver<String>) {
    let (errors, refused) = channel::channel(64);
    let server: ServerAddr = url.parse().unwrap();
    // async-nats ignores the credentials of a URL.
    let options = match (server.username(), server.password()) {
        (Some(user), Some(password)) => {
            ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        }
        _ => ConnectOptions::new(),
    };
    let client = options
        .custom_inbox_prefix(inbox)
        .event_callback(move |event| {
            let errors = errors.clone();
            async move {
                if let Event::ServerError(error) = event {
                    // Full or dropped: that test does not ask for refusals.
                    drop(errors.try_send(error.to_string()));
                }
            }
        })
        .connect(server)
        .await
        .unwrap();
    (client, refused)
}

/// The log with one article in it, as Barid lays it out.
async fn log(owner: &Client) -> jetstream::Context {
    let context = jetstream::new(owner.clone());
    context
        .create_stream(Config {
            name: "BARID".to_owned(),
            subjects: vec!["log.>".to_owned()],
            allow_direct: true,
            republish: Some(Republish {
                source: "log.news.>".to_owned(),
                destination: "news.>".to_owned(),
                headers_only: false,
            }),
            ..Config::default()
        })
        .await
        .unwrap();
    for (subject, body) in [("log.article.1", "secret"), ("log.news.ict", "first")] {
        append(&context, subject, body).await;
    }
    context
}

async fn append(context: &jetstream::Context, subject: &'static str, body: &'static str) {
    let sent = context.publish(subject, body.into()).await.unwrap();
    sent.await.unwrap();
}

async fn last_sequence(context: &jetstream::Context) -> u64 {
    let mut stream = context.get_stream("BARID").await.unwrap();
    stream.info().await.unwrap().state.last_sequence
}

/// A server that is killed is back on the same port with the same log, and a client finds it by
/// itself.
#[tokio::test]
async fn restarts_after_kill() {
    let dir = TempDir::new().unwrap();
    let nats = start(dir.path());
    let (owner, _) = connect(nats.url(), "_OWNER").await;
    let context = log(&owner).await;
    let first = server_pid(dir.path()).unwrap();

    kill_process(first, Signal::KILL).unwrap();

    eventually("another nats-server", async || {
        server_pid(dir.path()).is_some_and(|pid| pid != first)
            && TcpStream::connect(nats.address()).is_ok()
    })
    .await;
    eventually("the log", async || {
        let mut stream = match context.get_stream("BARID").await {
            Ok(stream) => stream,
            Err(_) => return false,
        };
        stream.info().await.unwrap().state.last_sequence == 2
    })
    .await;
    assert_eq!(running_url(dir.path()).unwrap(), nats.url());
    nats.stop();
}

/// A stop ends the server for good and keeps log and password for the next start.
#[tokio::test]
async fn stops_and_keeps() {
    let dir = TempDir::new().unwrap();
    let nats = start(dir.path());
    let (address, url) = (nats.address(), nats.url().to_owned());
    let (owner, _) = connect(&url, "_OWNER").await;
    log(&owner).await;
    assert_eq!(running_url(dir.path()).unwrap(), url);
    let password = fs::read(dir.path().join("nats-credentials")).unwrap();

    nats.stop();

    assert!(TcpStream::connect(address).is_err());
    assert!(running_url(dir.path()).is_err());
    let nats = ManagedNats::start(options(dir.path(), address.port())).unwrap();
    assert_eq!(nats.url(), url);
    assert_eq!(
        fs::read(dir.path().join("nats-credentials")).unwrap(),
        password
    );
    let (owner, _) = connect(nats.url(), "_OWNER").await;
    assert_eq!(last_sequence(&jetstream::new(owner)).await, 2);
    drop(nats);
    assert!(TcpStream::connect(address).is_err());
}

/// Secrets are for the owner of the process only.
#[test]
fn files_are_private() {
    let parent = TempDir::new().unwrap();
    // What nats-server's configuration would read otherwise.
    let dir = parent.path().join(r#"a "b" \c $D # é"#);
    let nats = start(&dir);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("jetstream")), 0o700);
    for name in ["nats.conf", "nats-credentials", "nats-url", "lock"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    nats.stop();
}

/// One data folder, one process; one port, one server.
#[test]
fn refuses_what_is_in_use() {
    let dir = TempDir::new().unwrap();
    let nats = start(dir.path());
    let again = ManagedNats::start(options(dir.path(), 0));
    assert!(matches!(again, Err(StartError::DataDirInUse { .. })));
    // Whoever goes in beside it needs no program of his own.
    let mut beside = options(dir.path(), 0);
    beside.binary = Some(dir.path().join("absent"));
    let again = ManagedNats::start(beside);
    assert!(matches!(again, Err(StartError::DataDirInUse { .. })));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let other = TempDir::new().unwrap();
    let refused = ManagedNats::start(options(other.path(), port));
    assert!(matches!(refused, Err(StartError::PortInUse { listen }) if listen.port() == port));

    let mut public = options(other.path(), 0);
    public.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = ManagedNats::start(public);
    assert!(matches!(refused, Err(StartError::NotLoopback { .. })));

    let mut absent = options(other.path(), 0);
    absent.binary = Some(other.path().join("absent"));
    let refused = ManagedNats::start(absent);
    assert!(matches!(refused, Err(StartError::Binary { .. })));
    nats.stop();
}

/// A server that cannot start says why.
#[test]
fn reports_a_failed_start() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("nats-server.log")).unwrap();
    match ManagedNats::start(options(dir.path(), 0)) {
        Err(StartError::Exited { last_words, .. }) => {
            assert!(last_words.contains("is a directory"))
        }
        other => panic!("{other:?}"),
    }
}

/// However the parent ends, no nats-server is left.
#[test]
#[cfg(target_os = "linux")]
fn dies_with_its_parent() {
    let dir = TempDir::new().unwrap();
    let server = nats_server().unwrap_or_else(|| {
        let tools = PathBuf::from(".barid/bin/nats-server");
        if tools.exists() {
            tools
        } else {
            "nats-server".into()
        }
    });
    // Its standard output is open for as long as the guard or the server lives.
    let mut parent = shell(
        r#""$1" nats-guard --parent $$ -- "$2" -a 127.0.0.1 -p -1 --ports_file_dir "$3" & wait"#,
        [GUARD.as_ref(), server.as_os_str(), dir.path().as_os_str()],
    );
    let mut output = parent.stdout.take().unwrap();
    let (ended, end) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        ended.send(output.read_to_end(&mut Vec::new())).unwrap();
    });
    let is_up = || fs::read_dir(dir.path()).unwrap().next().is_some();
    while !is_up() {
        let early = end.recv_timeout(Duration::from_millis(10));
        assert_eq!(early.unwrap_err(), mpsc::RecvTimeoutError::Timeout);
    }

    parent.kill().unwrap();

    end.recv_timeout(LIMIT).unwrap().unwrap();
    reader.join().unwrap();
    parent.wait().unwrap();
}

/// A guard whose parent has died before the death signal was set runs nothing.
#[test]
#[cfg(target_os = "linux")]
fn guard_checks_its_parent() {
    let output = Command::new(GUARD)
        .args(["nats-guard", "--parent", "1", "--", "echo", "ran"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
}

fn shell<'a>(script: &str, args: impl IntoIterator<Item = &'a OsStr>) -> Child {
    Command::new("sh")
        .args(["-c", script, "sh"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A native reader gets committed copies, live and from the log.
#[tokio::test]
async fn readers_read() {
    let dir = TempDir::new().unwrap();
    let nats = start(dir.path());
    let (owner, _) = connect(nats.url(), "_OWNER").await;
    let context = log(&owner).await;
    let (reader, _) = connect(&nats.address().to_string(), "_INBOX").await;

    let mut live = reader.subscribe("news.>").await.unwrap();
    reader.flush().await.unwrap();
    append(&context, "log.news.ict.ai", "second").await;
    let delivered = timeout(LIMIT, live.next()).await.unwrap().unwrap();
    assert_eq!(delivered.subject.as_str(), "news.ict.ai");

    let native = jetstream::new(reader);
    let consumer = native
        .create_consumer_on_stream(
            pull::Config {
                name: Some("mine".to_owned()),
                filter_subject: "log.news.>".to_owned(),
                ack_policy: AckPolicy::Explicit,
                ..pull::Config::default()
            },
            "BARID",
        )
        .await
        .unwrap();
    let articles: Vec<_> = consumer
        .fetch()
        .max_messages(2)
        .messages()
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let subjects: Vec<_> = articles
        .iter()
        .map(|article| article.subject.as_str())
        .collect();
    assert_eq!(subjects, ["log.news.ict", "log.news.ict.ai"]);
    for article in articles {
        article.double_ack().await.unwrap();
    }
    assert_eq!(consumer.get_info().await.unwrap().num_ack_pending, 0);
    let gone = native.delete_consumer_from_stream("mine", "BARID").await;
    assert!(gone.unwrap().success);

    let ordered = native
        .create_consumer_on_stream(
            pull::OrderedConfig {
                // A consumer without a name is created on a subject without its filter.
                name: Some("ordered".to_owned()),
                filter_subject: "log.news.ict".to_owned(),
                ..pull::OrderedConfig::default()
            },
            "BARID",
        )
        .await
        .unwrap();
    let mut articles = ordered.messages().await.unwrap();
    let article = timeout(LIMIT, articles.next()).await.unwrap().unwrap();
    assert_eq!(article.unwrap().payload, "first");
    nats.stop();
}

/// Everything else is refused to a reader by the server.
#[tokio::test]
async fn readers_only_read() {
    let dir = TempDir::new().unwrap();
    let nats = start(dir.path());
    let (owner, _) = connect(nats.url(), "_OWNER").await;
    log(&owner).await;
    let (reader, mut refused) = connect(&nats.address().to_string(), "_INBOX").await;

    for subject in [
        "log.news.ict",
        "log.article.1",
        "news.ict",
        "_INBOX.somebody",
        "$KV.barid-partners.key",
        "$JS.API.STREAM.INFO.BARID",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.UPDATE.BARID",
        "$JS.API.STREAM.PURGE.BARID",
        "$JS.API.STREAM.DELETE.BARID",
        "$JS.API.STREAM.MSG.GET.BARID",
        "$JS.API.STREAM.MSG.DELETE.BARID",
        "$JS.API.STREAM.SNAPSHOT.BARID",
        "$JS.API.DIRECT.GET.BARID",
        "$JS.API.DIRECT.GET.BARID.log.news.ict",
        "$JS.API.CONSUMER.LIST.BARID",
        "$JS.API.CONSUMER.NAMES.BARID",
        "$JS.API.CONSUMER.CREATE.BARID",
        "$JS.API.CONSUMER.CREATE.BARID.mine",
        "$JS.API.CONSUMER.CREATE.BARID.mine.log.>",
        "$JS.API.CONSUMER.CREATE.BARID.mine.log.article.>",
        "$JS.API.CONSUMER.CREATE.KV_barid-partners.mine.log.news.>",
        "$JS.API.CONSUMER.DURABLE.CREATE.BARID.mine",
        "$SYS.REQ.SERVER.PING",
    ] {
        reader.publish(subject, "{}".into()).await.unwrap();
        let error = timeout(LIMIT, refused.recv()).await.unwrap().unwrap();
        assert!(
            error.to_lowercase().contains("permissions violation"),
            "{subject}: {error}"
        );
    }
    for subject in [
        "log.>",
        "log.news.>",
        ">",
        "$JS.>",
        "$KV.>",
        "$SYS.>",
        "_OWNER.>",
        "_R_.>",
    ] {
        let _subscription = reader.subscribe(subject).await.unwrap();
        let error = timeout(LIMIT, refused.recv()).await.unwrap().unwrap();
        assert!(
            error.to_lowercase().contains("permissions violation"),
            "{subject}: {error}"
        );
    }
    nats.stop();
}

/// A reader cannot get at more by a filter that differs from the subject of the request.
#[tokio::test]
async fn readers_keep_to_their_filter() {
    let dir = TempDir::new().unwrap();
    let nats = start(dir.path());
    let (owner, _) = connect(nats.url(), "_OWNER").await;
    log(&owner).await;
    let (reader, _) = connect(&nats.address().to_string(), "_INBOX").await;

    let ask = async |filter: &str| {
        let body = format!(r#"{{"stream_name": "BARID", "config": {{"name": "mine", {filter}}}}}"#);
        let subject = "$JS.API.CONSUMER.CREATE.BARID.mine.log.news.>";
        let answer = timeout(LIMIT, reader.request(subject, body.into())).await;
        let answer: serde_json::Value =
            serde_json::from_slice(&answer.unwrap().unwrap().payload).unwrap();
        answer["error"]["err_code"].as_u64()
    };
    let (mismatch, many) = (Some(10131), Some(10137));
    for (filter, code) in [
        (r#""filter_subject": "log.>""#, mismatch),
        (r#""filter_subject": """#, mismatch),
        (r#""filter_subjects": ["log.article.>"]"#, many),
        (
            r#""filter_subject": "log.news.>", "filter_subjects": ["log.article.>"]"#,
            many,
        ),
        (r#""filter_subject": "log.news.>""#, None),
    ] {
        assert_eq!(ask(filter).await, code, "{filter}");
    }
    nats.stop();
}

/// The server writes nothing in a reader's place, wherever the reader sends an answer or a delivery,
/// and shows it no answers but its own.
#[tokio::test]
async fn readers_borrow_no_rights() {
    let dir = TempDir::new().unwrap();
    let nats = start(dir.path());
    // Not Barid's own prefix, so that one account for both would be found out.
    let (owner, _) = connect(nats.url(), "_INBOX").await;
    let context = log(&owner).await;
    let (reader, _) = connect(&nats.address().to_string(), "_INBOX.reader").await;
    let native = jetstream::new(reader.clone());
    let pulled = pull::Config {
        name: Some("mine".to_owned()),
        filter_subject: "log.news.>".to_owned(),
        ..pull::Config::default()
    };
    let pushed = push::Config {
        name: Some("pushed".to_owned()),
        filter_subject: "log.news.>".to_owned(),
        deliver_subject: "$JS.API.STREAM.PURGE.BARID".to_owned(),
        headers_only: true,
        ..push::Config::default()
    };
    native
        .create_consumer_on_stream(pulled, "BARID")
        .await
        .unwrap();
    native
        .create_consumer_on_stream(pushed, "BARID")
        .await
        .unwrap();

    let mut spied = reader.subscribe("_INBOX.>").await.unwrap();
    for request in [
        "$JS.API.STREAM.NAMES",
        "$JS.API.CONSUMER.MSG.NEXT.BARID.mine",
    ] {
        let forged = Subject::from_static("log.article.forged");
        reader
            .publish_with_reply(request, forged, "".into())
            .await
            .unwrap();
    }
    reader.flush().await.unwrap();
    // An answer after them says that they are through: one connection's requests keep their order.
    let info = native.query_account().await.unwrap();
    assert_eq!(info.streams, 1);
    let own = timeout(LIMIT, spied.next()).await.unwrap().unwrap();
    assert!(own.subject.starts_with("_INBOX.reader."));

    assert_eq!(last_sequence(&context).await, 2);
    let consumer = native
        .get_consumer_from_stream::<push::Config, _, _>("pushed", "BARID")
        .await;
    assert_eq!(
        consumer.unwrap().cached_info().delivered.consumer_sequence,
        0
    );
    while let Ok(Some(answer)) = timeout(REFUSAL, spied.next()).await {
        assert!(
            answer.subject.starts_with("_INBOX.reader."),
            "{}",
            answer.subject
        );
    }
    nats.stop();
}
