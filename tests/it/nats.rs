//! A nats-server that belongs to the test and not to a node: it can be away, and lose what it held.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use async_nats::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{eventually, nats_server};

/// The server, in a folder of its own. Killed when dropped.
pub struct Nats {
    dir: TempDir,
    port: u16,
    child: Child,
    jetstream: Option<&'static str>,
}

impl Nats {
    /// A new server on a free port that it keeps.
    pub async fn start() -> Self {
        Self::start_with("sync_interval: always").await
    }

    /// Likewise, with these settings of JetStream; none = without JetStream.
    pub async fn start_with(jetstream: impl Into<Option<&'static str>>) -> Self {
        let dir = TempDir::new().unwrap();
        let jetstream = jetstream.into();
        let child = spawn(dir.path(), -1, jetstream);
        let mut nats = Self {
            dir,
            port: 0,
            child,
            jetstream,
        };
        eventually("the ports of nats-server", async || {
            match ports(nats.dir.path()) {
                Some(port) => {
                    nats.port = port;
                    true
                }
                None => false,
            }
        })
        .await;
        nats
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub async fn client(&self) -> Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    /// kill -9; nobody starts it again.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), i32::from(self.port), self.jetstream);
    }

    /// Copies a part of the store as it is at one moment, while the server runs.
    pub fn copy(&self, part: &Path) -> TempDir {
        let copy = TempDir::new().unwrap();
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        copy_folder(part, copy.path());
        kill_process(pid, Signal::CONT).unwrap();
        copy
    }

    /// Where everything is stored.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Puts a copy back in place of what is there.
pub fn put_back(copy: &Path, part: &Path) {
    fs::remove_dir_all(part).unwrap();
    fs::create_dir(part).unwrap();
    copy_folder(copy, part);
}

/// The folder of that name beneath another.
pub fn find_folder(root: &Path, name: &str) -> PathBuf {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() == name {
                    return entry.path();
                }
                folders.push(entry.path());
            }
        }
    }
    panic!("no folder {name}");
}

fn spawn(dir: &Path, port: i32, jetstream: Option<&str>) -> Child {
    let conf = dir.join("nats.conf");
    let store = dir.join("store");
    let mut text = format!("listen: \"127.0.0.1:{port}\"\nports_file_dir: {dir:?}\n");
    if let Some(settings) = jetstream {
        text += &format!("jetstream {{ store_dir: {store:?}, {settings} }}\n");
    }
    fs::write(&conf, text).unwrap();
    let log = fs::File::create(dir.join("nats.log")).unwrap();
    Command::new(nats_server())
        .arg("-c")
        .arg(conf)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The port that the server has written down.
fn ports(dir: &Path) -> Option<u16> {
    let path = fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.extension()
            .is_some_and(|ending| ending == "ports")
            .then_some(path)
    })?;
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).ok()?;
    let url = ports["nats"][0].as_str()?;
    url.rsplit_once(':')?.1.parse().ok()
}

pub fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
