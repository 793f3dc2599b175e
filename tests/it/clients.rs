//! Other people's clients against a node: grpcio and nats-py, by the programs of `tests/clients`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{certificates::Authority, harness::Node};

/// The interpreter to test with: what `make test` names, or what it has installed.
pub fn python() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join(".barid/venv/bin/python");
    let python = std::env::var_os("BARID_TEST_PYTHON").map_or(default, PathBuf::from);
    assert!(
        python.exists(),
        "there is no Python at {}; `make test` installs it",
        python.display()
    );
    python
}

/// Runs a program of `tests/clients`, which must be content.
pub fn check(program: &str, args: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let output = Command::new(python())
        // No bytecode beside the sources.
        .arg("-B")
        .arg(folder.join(program))
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The contract holds for a gRPC client that we did not write: publish, pipeline, subscribe,
/// resume, read, rich errors, health and reflection.
#[test]
fn grpc_client() {
    let node = Node::start();
    check("grpc_client.py", &[&node.grpc]);
}

/// grpcio, http.client and ssl speak TLS with both listeners, of versions 1.2 and 1.3 alone, and
/// agree with each on its protocol.
#[test]
fn tls_client() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let pair = authority.pair("server");
    let node = Node::start_with(&pair.flags());
    let ca = authority.pem.to_str().unwrap();
    check("tls_client.py", &[&node.grpc, &node.http, ca]);
}

/// A core NATS reader gets whole committed copies with their headers, can tell which one to take,
/// and can only read.
#[test]
fn nats_core() {
    let node = Node::start();
    check("nats_core.py", &[&node.grpc, &node.nats]);
}

/// A pull consumer reads a topic's history exactly, and its acknowledgements are kept.
#[test]
fn nats_jetstream() {
    let node = Node::start();
    check("nats_jetstream.py", &[&node.grpc, &node.nats]);
}
