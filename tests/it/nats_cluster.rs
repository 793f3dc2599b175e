//! Three nats-servers in a cluster, from the very files of `deploy/nats`.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use async_nats::{
    Client,
    jetstream::{self, stream::Info},
};
use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::harness::nats_server;

/// The longest that a cluster may take for anything: two elections on a busy machine.
pub const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
pub const SIZE: usize = 3;
/// Below what the system hands out by itself, so that nobody takes them between two lives of a server.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// The cluster. Killed when dropped.
pub struct Cluster {
    dir: TempDir,
    servers: Vec<Server>,
    store_max: String,
}

struct Server {
    conf: PathBuf,
    client_port: u16,
    monitor_port: u16,
    route_port: u16,
    child: Option<Child>,
}

/// The configuration as it is deployed.
pub fn deployed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats/node.conf")
}

impl Cluster {
    /// Three servers of the deployed configuration.
    pub async fn start() -> Self {
        Self::start_with(&[None, None, None], "1GB").await
    }

    /// Servers of which some have a configuration of their own, beside `accounts.conf`.
    pub async fn start_with(texts: &[Option<String>], store_max: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let accounts = deployed().with_file_name("accounts.conf");
        fs::copy(accounts, dir.path().join("accounts.conf")).unwrap();
        let servers = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let conf = match text {
                    Some(text) => {
                        let path = dir.path().join(format!("node-{}.conf", index + 1));
                        fs::write(&path, text).unwrap();
                        path
                    }
                    None => deployed(),
                };
                let [client_port, monitor_port, route_port] = [(); 3].map(|()| free_port());
                Server {
                    conf,
                    client_port,
                    monitor_port,
                    route_port,
                    child: None,
                }
            })
            .collect();
        let mut cluster = Self {
            dir,
            servers,
            store_max: store_max.to_owned(),
        };
        for index in 0..texts.len() {
            cluster.start_again(index);
        }
        for index in 0..texts.len() {
            cluster.healthy(index).await;
        }
        cluster
    }

    /// Starts one server, perhaps for the first time.
    pub fn start_again(&mut self, index: usize) {
        let routes: Vec<String> = (self.servers.iter())
            .map(|one| format!("\"nats://route:proute@127.0.0.1:{}\"", one.route_port))
            .collect();
        let name = format!("nats-{}", index + 1);
        let log = self.dir.path().join(format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(log);
        let server = &mut self.servers[index];
        let listen = |port| format!("127.0.0.1:{port}");
        let child = Command::new(nats_server())
            .arg("-c")
            .arg(&server.conf)
            .env("NATS_LISTEN", listen(server.client_port))
            .env("NATS_MONITOR_LISTEN", listen(server.monitor_port))
            .env("NATS_CLUSTER_LISTEN", listen(server.route_port))
            .env("NATS_ROUTES", format!("[{}]", routes.join(",")))
            .env("NATS_STORE", self.dir.path().join("stores").join(&name))
            .env("NATS_STORE_MAX", &self.store_max)
            .env("NATS_NAME", name)
            .env("NATS_BARID_PASSWORD", "pbarid")
            .env("NATS_READER_PASSWORD", "preader")
            .env("NATS_SYS_PASSWORD", "psys")
            .env("NATS_ROUTE_PASSWORD", "proute")
            .env("GOMEMLIMIT", "256MiB")
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        server.child = Some(child.unwrap());
    }

    /// Waits until a server says that it has caught up with the others.
    pub async fn healthy(&self, index: usize) {
        eventually("a healthy server", async || {
            let answer = get(self.servers[index].monitor_port, "/healthz").await;
            answer.is_some_and(|answer| answer.split(' ').nth(1) == Some("200"))
        })
        .await;
    }

    /// Addresses with Barid's credentials, those of servers that are away too.
    pub fn url(&self) -> String {
        let urls: Vec<String> = (self.servers.iter())
            .map(|one| format!("nats://barid:pbarid@127.0.0.1:{}", one.client_port))
            .collect();
        urls.join(",")
    }

    /// A client as Barid, that knows all servers.
    pub async fn client(&self) -> Client {
        let urls = self.url();
        let urls: Vec<&str> = urls.split(',').collect();
        async_nats::ConnectOptions::with_user_and_password("barid".into(), "pbarid".into())
            .ignore_discovered_servers()
            .connect(urls)
            .await
            .unwrap()
    }

    /// The server that leads the stream.
    pub async fn leader(&self, client: &Client) -> usize {
        let mut leader = None;
        eventually("a leader", async || {
            let info = info(client).await;
            leader = info.and_then(|info| info.cluster?.leader);
            leader.is_some()
        })
        .await;
        let number: usize = leader.unwrap()["nats-".len()..].parse().unwrap();
        number - 1
    }

    /// kill -9.
    pub fn kill(&mut self, index: usize) {
        let mut child = self.servers[index].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Where everything is stored.
    pub fn stores(&self) -> PathBuf {
        self.dir.path().join("stores")
    }

    /// A stop by lame duck mode, waited for.
    pub async fn stop_lame_duck(&mut self, index: usize) {
        let mut child = self.servers[index].child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::USR2).unwrap();
        eventually("the end of a lame duck", async || {
            child.try_wait().unwrap().is_some()
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.servers.iter_mut().filter_map(|one| one.child.as_mut()) {
            let _gone = child.kill();
            let _gone = child.wait();
        }
        if std::thread::panicking() {
            for number in 1..=self.servers.len() {
                let path = self.dir.path().join(format!("nats-{number}.log"));
                let text = fs::read_to_string(path).unwrap_or_default();
                let from = text.len().saturating_sub(3000);
                eprintln!("--- log of nats-{number}:\n{}", &text[from..]);
            }
        }
    }
}

/// The state of the stream, if it has a leader.
pub async fn info(client: &Client) -> Option<Info> {
    let stream = jetstream::new(client.clone()).get_stream("BARID").await;
    Some(stream.ok()?.cached_info().clone())
}

/// Waits for a condition, level-triggered.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn get(port: u16, path: &str) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    connection.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
