//! A receiver of webhooks that others wrote: `tests/clients/webhook_receiver.py`.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use barid::wire::proto::v1::Webhook;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{certificates::Pair, clients::python};

/// One request, as it came.
#[derive(Clone, Debug, Deserialize)]
pub struct Taken {
    pub id: String,
    pub r#type: String,
    pub cursor: Option<String>,
    pub version: Option<String>,
    pub uri: Option<String>,
    pub text: Vec<String>,
    /// How many Ed25519 signatures it had.
    pub signatures: usize,
}

/// The receiver. Killed when dropped.
pub struct Receiver {
    folder: TempDir,
    port: u16,
    /// What it speaks TLS with, if it does.
    pair: Option<Pair>,
    child: Child,
}

impl Receiver {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// One that speaks TLS.
    pub fn start_over_tls(pair: Pair) -> Self {
        Self::start_with(Some(pair))
    }

    fn start_with(pair: Option<Pair>) -> Self {
        let folder = TempDir::new().unwrap();
        let (child, port) = spawn(0, folder.path(), pair.as_ref());
        Self {
            folder,
            port,
            pair,
            child,
        }
    }

    /// The address of a webhook's own path.
    pub fn url(&self, name: &str) -> String {
        let scheme = self.pair.as_ref().map_or("http", |_| "https");
        format!("{scheme}://127.0.0.1:{}/{name}", self.port)
    }

    /// What a webhook's requests are verified by, and answered with.
    pub fn set(&self, name: &str, settings: &Value) {
        let path = self.folder.path().join(format!("{name}.json"));
        let new = path.with_extension("new");
        fs::write(&new, settings.to_string()).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Likewise, for a webhook that was made with this secret.
    pub fn expect(&self, name: &str, webhook: &Webhook, secrets: &[&str], answers: &[u16]) {
        let format = match webhook.format {
            2 => "cloudevents",
            _ => "ninjs",
        };
        self.set(
            name,
            &json!({
                "secrets": secrets, "publics": webhook.public_keys, "format": format,
                "answers": answers,
            }),
        );
    }

    /// Remembers a webhook's secret.
    pub fn keep_secret(&self, name: &str, secret: &str) {
        fs::write(self.folder.path().join(format!("{name}.secret")), secret).unwrap();
    }

    /// The secret that was remembered.
    pub fn secret(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{name}.secret"))).unwrap()
    }

    /// What it has taken on a path, each request, in order.
    pub fn taken(&self, name: &str) -> Vec<Taken> {
        self.lines(&format!("{name}.log"))
    }

    /// What it has not.
    pub fn refused(&self, name: &str) -> Vec<Taken> {
        self.lines(&format!("{name}.refused"))
    }

    /// Nothing came that it could not verify or read.
    pub fn assert_content(&self) {
        let errors = fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default();
        assert!(errors.is_empty(), "{errors}");
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same place.
    pub fn start_again(&mut self) {
        let (child, _) = spawn(self.port, self.folder.path(), self.pair.as_ref());
        self.child = child;
    }

    fn lines(&self, file: &str) -> Vec<Taken> {
        let text = fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        // Its last line may be half written when it was killed; then it was not answered, either.
        let lines = text.lines().filter(|line| line.ends_with('}'));
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        if std::thread::panicking() {
            let errors = fs::read_to_string(self.folder.path().join("errors"));
            eprintln!("--- what the receiver could not read: {errors:?}");
        }
    }
}

/// Each id once, in the order in which it first came.
pub fn once(taken: &[Taken]) -> Vec<Taken> {
    let mut seen = HashSet::new();
    let first = taken.iter().filter(|one| seen.insert(one.id.clone()));
    first.cloned().collect()
}

fn spawn(port: u16, folder: &Path, pair: Option<&Pair>) -> (Child, u16) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/webhook_receiver.py");
    let mut child = Command::new(python())
        .arg("-B")
        .arg(program)
        .arg(port.to_string())
        .arg(folder)
        .args(pair.iter().flat_map(|pair| [&pair.cert, &pair.key]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line.trim().parse().expect("the receiver says its port");
    (child, port)
}
