//! One node of Barid on a nats-server of its own, both on free ports and in a folder of their own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use barid::wire::proto::v1::{
    self as proto, Action, Article, Delivery, Filter, PublishRequest, PublishResponse, Start,
    SubscribeRequest, SubscribeResponse, article_service_client::ArticleServiceClient,
    publisher_service_client::PublisherServiceClient, start::From as StartFrom,
    subscribe_response::Frame, subscriber_service_client::SubscriberServiceClient,
};
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

/// The longest that anything may take which must come.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The nats-server to test with: what `make test` names, or what `make tools` installs.
pub fn nats_server() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join(".barid/bin/nats-server");
    std::env::var_os("BARID_TEST_NATS_SERVER").map_or(default, PathBuf::from)
}

/// The program, without our own variables: it refuses those that it does not know.
pub fn barid() -> Command {
    without_variables(Command::new(env!("CARGO_BIN_EXE_barid")))
}

/// A command without our own variables.
pub fn without_variables(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("BARID_")) {
            command.env_remove(name);
        }
    }
    command
}

/// A running node. Killed when dropped.
pub struct Node {
    child: Child,
    /// Where gRPC listens; the same after a restart.
    pub grpc: String,
    /// Where HTTP listens; the same after a restart.
    pub http: String,
    /// NATS for native readers, without credentials.
    pub nats: String,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    has_keys: bool,
    data: PathBuf,
    _owned: Option<TempDir>,
}

#[derive(Deserialize)]
struct Ready {
    grpc: String,
    http: String,
    nats: String,
}

impl Node {
    /// A node in a new folder.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A node in a new folder, with more arguments.
    pub fn start_with(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut node = Self::start_in(dir.path(), args);
        node._owned = Some(dir);
        node
    }

    /// A node in a new folder, with variables in its environment.
    pub fn start_with_variables(variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut node = Self::idle(dir.path(), &[]);
        node.variables = variables.iter().map(owned).collect();
        node.spawn();
        node._owned = Some(dir);
        node
    }

    /// A node in a new folder that asks for keys.
    pub fn start_with_keys(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut node = Self::idle(dir.path(), args);
        node.has_keys = true;
        node.spawn();
        node._owned = Some(dir);
        node
    }

    /// The node's own key of a role, in the file that it made.
    pub fn key(&self, role: &str) -> String {
        let path = self.data.join("keys").join(role);
        let text = std::fs::read_to_string(path).unwrap();
        text.trim().to_owned()
    }

    /// A node in a folder that is there, perhaps with a log.
    pub fn start_in(data: &Path, args: &[&str]) -> Self {
        let mut node = Self::idle(data, args);
        node.spawn();
        node
    }

    /// One that is yet to be started.
    fn idle(data: &Path, args: &[&str]) -> Self {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        Self {
            child,
            grpc: address(),
            http: address(),
            nats: format!("nats://{}", address()),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            variables: Vec::new(),
            has_keys: false,
            data: data.to_owned(),
            _owned: None,
        }
    }

    fn spawn(&mut self) {
        let mut command = barid();
        command
            .arg("serve")
            .args(["--grpc-listen", &self.grpc, "--output", "json"])
            .args(["--http-listen", &self.http]);
        if !self.args.iter().any(|arg| arg == "--drain") {
            command.args(["--drain", "100ms"]);
        }
        if !self.args.iter().any(|arg| arg == "--log") {
            command.args(["--log", "barid=debug,warn"]);
        }
        if !self.has_keys {
            command.arg("--danger-without-keys");
        }
        if !self.is_external() {
            let listen = self.nats.strip_prefix("nats://").unwrap();
            command
                .args(["--nats-listen", listen])
                .arg("--nats-server")
                .arg(nats_server());
            command.arg("--data-dir").arg(&self.data);
        }
        // A folder of its own, so that no barid.toml of anybody is read.
        command.args(&self.args).current_dir(&self.data);
        command.envs(self.variables.iter().cloned());
        let log = self.data.join(format!("barid-{}.log", next_number()));
        let log = std::fs::File::create(log).unwrap();
        self.child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("not ready: {error}: {line:?}\n{}", self.log()));
        let address = |url: &str| url.split_once("://").unwrap().1.to_owned();
        self.grpc = address(&ready.grpc);
        self.http = address(&ready.http);
        self.nats = ready.nats;
    }

    /// Whether its NATS is another's.
    fn is_external(&self) -> bool {
        self.args.iter().any(|arg| arg == "--nats-url")
    }

    /// What the node has logged, all starts.
    pub fn log(&self) -> String {
        let mut paths: Vec<_> = std::fs::read_dir(&self.data)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    /// Its folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The address with credentials of its managed NATS.
    pub fn nats_url(&self) -> String {
        std::fs::read_to_string(self.data.join("nats-url"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// A client of its NATS that may do everything.
    pub async fn nats_owner(&self) -> async_nats::Client {
        let url = self.nats_url();
        barid::wire::log::open::credentials(&url)
            .connect(&url)
            .await
            .unwrap()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same addresses, after a kill or a stop.
    pub async fn start_again(&mut self) {
        if !self.is_external() {
            let address = self.nats.strip_prefix("nats://").unwrap().to_owned();
            // The server of a killed parent dies with it, but the port may take a moment.
            eventually("the port of NATS is free", async || {
                std::net::TcpListener::bind(&address).is_ok()
            })
            .await;
        }
        self.spawn();
    }

    /// kill -9 of its managed NATS, which it starts again by itself.
    pub fn kill_nats(&self) {
        let pid = std::fs::read_to_string(self.data.join("nats-server.pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        // It may just be between two lives.
        let _gone = kill_process(pid, Signal::KILL);
    }

    /// Sends a signal to the node itself.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits until the node has ended by itself; returns the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the end of the node", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }

    /// The process of its managed NATS.
    pub fn nats_pid(&self) -> Pid {
        let pid = std::fs::read_to_string(self.data.join("nats-server.pid")).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }

    pub fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc))
            .unwrap()
            .connect_lazy()
    }

    pub fn publisher(&self) -> PublisherServiceClient<Channel> {
        PublisherServiceClient::new(self.channel())
    }

    pub fn articles(&self) -> ArticleServiceClient<Channel> {
        ArticleServiceClient::new(self.channel())
    }

    /// Publishes with a new request id.
    pub async fn publish(
        &self,
        action: Action,
        article: Article,
    ) -> Result<PublishResponse, Status> {
        let request = request(action, article);
        self.publisher()
            .publish(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Opens a stream.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<Reader, Status> {
        let mut client = SubscriberServiceClient::new(self.channel());
        let frames = client.subscribe(request).await?.into_inner();
        Ok(Reader { frames })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the node:\n{}", self.log());
        }
    }
}

/// An open stream.
pub struct Reader {
    pub frames: Streaming<SubscribeResponse>,
}

impl Reader {
    /// The next frame but heartbeats, which come with time alone.
    pub async fn next_of_substance(&mut self) -> Result<Frame, Status> {
        let found = async {
            loop {
                match self.next().await? {
                    Frame::Heartbeat(_) => {}
                    other => return Ok(other),
                }
            }
        };
        timeout(LIMIT, found)
            .await
            .expect("nothing but heartbeats in time")
    }

    /// The next frame; panics if none comes.
    pub async fn next(&mut self) -> Result<Frame, Status> {
        let frame = timeout(LIMIT, self.frames.message())
            .await
            .expect("no frame in time")?;
        let ended = || Status::internal("the stream ended without a status");
        Ok(frame.ok_or_else(ended)?.frame.unwrap())
    }

    /// The next frame, which must be a delivery.
    pub async fn delivery(&mut self) -> Delivery {
        match self.next_of_substance().await.unwrap() {
            Frame::Delivery(delivery) => delivery,
            other => panic!("not a delivery: {other:?}"),
        }
    }

    /// The next frame, which must say that history has ended; returns its cursor.
    pub async fn caught_up(&mut self) -> String {
        match self.next_of_substance().await.unwrap() {
            Frame::CaughtUp(caught_up) => caught_up.cursor,
            other => panic!("not caught up: {other:?}"),
        }
    }

    /// All deliveries up to where history ends.
    pub async fn history(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        loop {
            match self.next_of_substance().await.unwrap() {
                Frame::Delivery(delivery) => deliveries.push(delivery),
                Frame::CaughtUp(_) => return deliveries,
                other => panic!("neither delivery nor end: {other:?}"),
            }
        }
    }
}

/// A request with a new id.
pub fn request(action: Action, article: Article) -> PublishRequest {
    PublishRequest {
        routing: 0,
        request_id: new_id(),
        expected_revision: None,
        action: action.into(),
        article: Some(article),
    }
}

/// An article with what is required.
pub fn article(uri: &str, headline: &str) -> Article {
    Article {
        uri: uri.to_owned(),
        headline: headline.to_owned(),
        language: "en".to_owned(),
        ..Article::default()
    }
}

/// An article for an action that must give a reason.
pub fn noted(uri: &str, note: &str) -> Article {
    Article {
        edition_note: note.to_owned(),
        ..article(uri, "a headline")
    }
}

pub fn filter(topics: &[&str]) -> Filter {
    Filter {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        ..Filter::default()
    }
}

pub fn from(start: StartFrom) -> Option<Start> {
    Some(Start { from: Some(start) })
}

/// A stream of everything from the beginning.
pub fn everything() -> SubscribeRequest {
    SubscribeRequest {
        start: from(StartFrom::Earliest(())),
        ..SubscribeRequest::default()
    }
}

/// A stream of everything after a cursor.
pub fn after(cursor: &str) -> SubscribeRequest {
    SubscribeRequest {
        start: from(StartFrom::After(cursor.to_owned())),
        ..SubscribeRequest::default()
    }
}

/// The article of a delivery.
pub fn article_of(delivery: &Delivery) -> Article {
    Article::decode(delivery.article.clone()).unwrap()
}

/// Code and stable reason of an error.
pub fn refusal(status: &Status) -> (Code, String) {
    let reason = status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default();
    (status.code(), reason)
}

/// The fields that an error names.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request();
    let violations = details
        .map(|details| details.field_violations)
        .unwrap_or_default();
    violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

/// Waits for a condition, level-triggered.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A new UUID.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A free address that stays free while whoever has it starts again: below the ports that systems
/// give to outgoing connections.
fn address() -> String {
    const FIRST: u64 = 10_000;
    const COUNT: u64 = 20_000;
    // Other runs begin elsewhere.
    let begin = u64::from(std::process::id()) * 331;
    loop {
        let port = FIRST + (begin + next_number()) % COUNT;
        let address = format!("127.0.0.1:{port}");
        if std::net::TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The sequence of a cursor.
pub fn seq(cursor: &str) -> u64 {
    cursor.split_once('-').unwrap().1.parse().unwrap()
}

/// The action of a delivery.
pub fn action(delivery: &Delivery) -> proto::Action {
    proto::Action::try_from(delivery.action).unwrap()
}
