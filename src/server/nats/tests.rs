use std::net::SocketAddr;

use super::{
    binary::{NotAVersion, OLDEST, Version, find},
    conf::{Conf, Readers},
    folder::{parse_ports, password_in},
    supervise::has_jetstream,
};

/// Versions are read from what nats-server prints, and compared by number.
#[test]
fn versions() {
    let version = |answer: &str| answer.parse::<Version>();
    assert_eq!(
        version("nats-server: v2.15.1\n").unwrap().to_string(),
        "2.15.1"
    );
    assert_eq!(version("nats-server: v2.14.0-RC.2").unwrap(), OLDEST);
    assert!(version("nats-server: v2.14.6").unwrap() > OLDEST);
    assert!(version("nats-server: v3.0.0").unwrap() > OLDEST);
    assert!(version("nats-server: v2.9.25").unwrap() < OLDEST);
    for answer in [
        "",
        "2.15.1",
        "nats-server: v2.15",
        "nats-server: v2.x.1",
        "cat (GNU) 9.1",
    ] {
        assert_eq!(version(answer), Err(NotAVersion), "{answer}");
    }
}

/// The words tell what was looked for and found.
#[test]
fn attempts_tell_what_was_found() {
    let absent = find(Some("/nonexistent/nats-server".as_ref())).unwrap_err();
    assert_eq!(absent.to_string(), "/nonexistent/nats-server is missing");
    let other = find(Some("/bin/sh".as_ref())).unwrap_err();
    assert_eq!(
        other.to_string(),
        "/bin/sh does not say which version it is"
    );
}

/// The ports file names the client listener; a half-written one names nothing.
#[test]
fn ports_file() {
    let text = br#"{"nats":["nats://127.0.0.1:34567"]}"#;
    assert_eq!(parse_ports(text), Some("127.0.0.1:34567".parse().unwrap()));
    let six = br#"{"nats":["nats://[::1]:4222"],"monitoring":["http://[::1]:8222"]}"#;
    assert_eq!(parse_ports(six), Some("[::1]:4222".parse().unwrap()));
    for len in 0..text.len() {
        assert_eq!(parse_ports(&text[..len]), None);
    }
    assert_eq!(parse_ports(br#"{"nats":[]}"#), None);
}

/// Only a server that greets with JetStream is ready.
#[test]
fn greeting() {
    assert!(has_jetstream(
        "INFO {\"server_name\":\"barid\",\"jetstream\":true} \r\n"
    ));
    assert!(!has_jetstream("INFO {\"server_name\":\"barid\"} \r\n"));
    assert!(!has_jetstream("INFO {\"jetstream\":tr"));
    assert!(!has_jetstream("HTTP/1.1 400 Bad Request\r\n"));
    assert!(!has_jetstream(""));
}

/// A password goes into a URL and a configuration, so that only letters and digits are taken.
#[test]
fn credentials() {
    let read = |text: &str| password_in(text.as_bytes()).ok();
    assert_eq!(
        read(r#"{"user":"barid","password":"a1"}"#),
        Some("a1".to_owned())
    );
    assert_eq!(read(r#"{"user":"barid","password":""}"#), None);
    assert_eq!(read(r#"{"user":"barid","password":"a\"b"}"#), None);
    assert_eq!(read(r#"{"user":"root","password":"a1"}"#), None);
    assert_eq!(read(""), None);
}

/// The whole configuration, so that a change of rights is seen.
#[test]
fn configuration() {
    let conf = |listen: &str, folder: &str| {
        let listen: SocketAddr = listen.parse().unwrap();
        Conf {
            listen,
            folder: folder.to_owned(),
            store_len_bytes_max: 1_000_000,
            password: "1secret".to_owned(),
        }
        .text(&Readers {
            anonymous: true,
            places: vec![],
        })
    };
    // One of the accounts of native readers stands for all.
    let whole = conf("127.0.0.1:4222", "/data");
    let (start, others) = whole.split_once("  NATIVE_2 {").unwrap();
    let (_, end) = others.split_once("\n}\nsystem_account").unwrap();
    let text = format!("{start}}}\nsystem_account{end}");
    assert_eq!(text, include_str!("nats.conf.golden"));
    let free = conf("[::1]:0", "/a \"b\" \\c");
    assert!(free.contains("\nhost: \"::1\"\nport: -1\n"));
    assert!(free.contains(r#"store_dir: "/a \"b\" \\c""#));
}
