//! What `deploy/` says to Barid, Barid takes. The rest of it is checked by `scripts/check-deploy`.

use std::{fs, path::Path, process::Command};

use crate::{
    harness::{barid, nats_server},
    nats_cluster::deployed,
};

fn deploy() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"))
}

/// Runs `barid config check`; returns whether it is content, and its words.
fn check(file: Option<&Path>, variables: &[(&str, &str)]) -> (bool, String) {
    let empty = tempfile::TempDir::new().unwrap();
    let mut command = barid();
    command.args(["config", "check"]).args(file);
    command.envs(variables.iter().copied());
    let output = command.current_dir(empty.path()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), words)
}

/// The settings files, beside the address of a cluster where they are for one.
#[test]
fn settings_are_taken() {
    let cluster = [("BARID_NATS_URL", "nats://barid:p@a,nats://b,nats://c")];
    for (file, variables) in [
        ("systemd/barid.toml", &[][..]),
        ("systemd/barid.toml", &cluster),
        ("kubernetes/barid.toml", &cluster),
    ] {
        let (is_content, words) = check(Some(&deploy().join(file)), variables);
        assert!(is_content, "{file}: {words}");
    }
    // Without a cluster, three replicas are none; the file says how it is checked.
    let file = deploy().join("kubernetes/barid.toml");
    let (is_content, words) = check(Some(&file), &[]);
    assert!(!is_content && words.contains("--nats-url"), "{words}");
    let text = fs::read_to_string(&file).unwrap();
    let command = text
        .lines()
        .find_map(|line| line.strip_prefix("#   BARID_NATS_URL="));
    let (url, command) = command.unwrap().split_once(' ').unwrap();
    assert_eq!(command, "barid config check deploy/kubernetes/barid.toml");
    let (is_content, words) = check(Some(&file), &[("BARID_NATS_URL", url)]);
    assert!(is_content, "{words}");
}

/// The variables of the composition.
#[test]
fn variables_are_taken() {
    let text = fs::read_to_string(deploy().join("compose.yaml")).unwrap();
    let variables: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(name, _)| name.starts_with("BARID_"))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .map(|(name, value)| match name {
            // Its password is the composition's to fill in.
            "BARID_NATS_URL" => (name, "nats://barid:p@nats-1:4222,nats://nats-2:4222"),
            _ => (name, value),
        })
        .collect();
    assert!(variables.len() >= 5, "{variables:?}");
    let (is_content, words) = check(None, &variables);
    assert!(is_content, "{words}");
}

/// nats-server takes the configuration of its nodes, and refuses it with a variable missing.
#[test]
fn nats_takes_its_configuration() {
    let store = tempfile::TempDir::new().unwrap();
    let test = |passwords: &[&str]| {
        let mut command = Command::new(nats_server());
        command.arg("-c").arg(deployed()).arg("-t");
        command.env_clear().env("NATS_NAME", "nats-1");
        for name in ["NATS_LISTEN", "NATS_MONITOR_LISTEN", "NATS_CLUSTER_LISTEN"] {
            command.env(name, "127.0.0.1:0");
        }
        command.env("NATS_ROUTES", r#"["nats://route:p@127.0.0.1:1"]"#);
        command.env("NATS_STORE", store.path());
        command.env("NATS_STORE_MAX", "1GB");
        for name in passwords {
            command.env(format!("NATS_{name}_PASSWORD"), "p");
        }
        command.output().unwrap()
    };
    let output = test(&["BARID", "READER", "SYS", "ROUTE"]);
    assert!(output.status.success(), "{output:?}");
    let output = test(&["BARID", "READER", "SYS"]);
    assert!(!output.status.success(), "{output:?}");
}
