//! The text of `nats.conf`.

use std::{fmt::Write, net::SocketAddr};

use crate::wire::subject::{NEWS, STREAM};

/// The user that Barid connects as.
pub(super) const OWNER: &str = "barid";
/// The user of everybody who gives no credentials.
const READER: &str = "reader";
/// Connections of readers at one time; more are refused. So they cannot take Barid's.
const READER_CONNECTION_COUNT_MAX: u32 = 1000;
/// A reader sends requests, never articles.
const READER_PAYLOAD_LEN_BYTES_MAX: u32 = 64 * 1024;
/// One log file; the one before is kept.
const LOG_LEN_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// What differs from one machine to the next.
pub(super) struct Conf {
    /// Port 0: any free one, told by the ports file.
    pub(super) listen: SocketAddr,
    /// The data folder, absolute.
    pub(super) folder: String,
    /// Where the server stops to accept.
    pub(super) store_len_bytes_max: u64,
    /// Of the user `barid`; letters and digits.
    pub(super) password: String,
}

/// One service of JetStream that readers may call.
struct Call {
    subject: String,
    answers: Answers,
}

enum Answers {
    One,
    Many,
}

impl Conf {
    /// The whole file.
    ///
    /// Readers have an account of their own, because permissions alone do not hold them: whoever
    /// may ask JetStream anything may also name the subject that the answer goes to, and the server
    /// writes it there by its own right. Measured with one account and 2.15.1: a reader stored a
    /// record in `log.article.>` and a value in a KV bucket by the reply subject of a request, and
    /// `_INBOX.>` shows the answers that Barid gets. From another account a reply subject leads
    /// back into that account.
    pub(super) fn text(&self) -> String {
        let port = match self.listen.port() {
            0 => "-1".to_owned(),
            port => port.to_string(),
        };
        let calls = reader_calls();
        format!(
            r#"# Written by `barid serve` at each start: changes are lost.
server_name: barid
host: "{host}"
port: {port}
pid_file: {pid_file}
ports_file_dir: {ports}
logfile: {log}
logfile_size_limit: {LOG_LEN_BYTES_MAX}
logfile_max_num: 2

jetstream {{
  store_dir: {store}
  # What Barid has accepted is on disk.
  sync_interval: always
  max_file_store: {store_len_bytes_max}
}}

accounts {{
  BARID {{
    jetstream: enabled
    users: [ {{ user: {OWNER}, password: "{password}" }} ]
    exports: [
      {{ stream: "news.>", accounts: [READERS] }}
{exports}    ]
    # Whether the server syncs each write, for `barid log status`.
    imports: [ {{ service: {{ account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" }} }} ]
  }}
  SYS {{
    exports: [ {{ service: "$SYS.REQ.SERVER.PING.JSZ", accounts: [BARID], response: stream }} ]
  }}
  READERS {{
    limits {{ max_connections: {READER_CONNECTION_COUNT_MAX}, max_payload: {READER_PAYLOAD_LEN_BYTES_MAX} }}
    users: [
      {{
        user: {READER}
        permissions {{
          subscribe: ["news.>", "_INBOX.>"]
          publish: [{publish}]
        }}
      }}
    ]
    imports: [
      {{ stream: {{ account: BARID, subject: "news.>" }} }}
{imports}    ]
  }}
}}
system_account: SYS
no_auth_user: {READER}
"#,
            host = self.listen.ip(),
            pid_file = quoted(&format!("{}/nats-server.pid", self.folder)),
            ports = quoted(&format!("{}/ports", self.folder)),
            log = quoted(&format!("{}/nats-server.log", self.folder)),
            // The server adds `jetstream` to it.
            store = quoted(&self.folder),
            store_len_bytes_max = self.store_len_bytes_max,
            password = self.password,
            exports = exports(&calls),
            publish = publish(&calls),
            imports = imports(&calls),
        )
    }
}

/// What a pull consumer within `log.news.>` takes, and no more.
///
/// Creation is allowed by the subject that carries the filter; the server compares it with the filter
/// in the request. Not allowed: `STREAM.INFO`, whose `subjects_filter` lists the ids of keys,
/// requests and embargoed articles. A push consumer can be created, but never delivers: it
/// waits for interest in Barid's account.
fn reader_calls() -> [Call; 7] {
    let one = |subject| Call {
        subject,
        answers: Answers::One,
    };
    [
        // Without this one the server answers all the others itself, with "JetStream not enabled
        // for account" (2.15.1).
        one("$JS.API.INFO".to_owned()),
        one("$JS.API.STREAM.NAMES".to_owned()),
        one(format!("$JS.API.CONSUMER.CREATE.{STREAM}.*.{NEWS}")),
        one(format!("$JS.API.CONSUMER.INFO.{STREAM}.*")),
        one(format!("$JS.API.CONSUMER.DELETE.{STREAM}.*")),
        Call {
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.*"),
            answers: Answers::Many,
        },
        one(format!("$JS.ACK.{STREAM}.>")),
    ]
}

fn exports(calls: &[Call]) -> String {
    lines(calls, |Call { subject, answers }| {
        let response = match answers {
            Answers::One => "",
            Answers::Many => ", response: stream",
        };
        format!(r#"{{ service: "{subject}", accounts: [READERS]{response} }}"#)
    })
}

fn imports(calls: &[Call]) -> String {
    lines(calls, |Call { subject, .. }| {
        format!(r#"{{ service: {{ account: BARID, subject: "{subject}" }} }}"#)
    })
}

fn publish(calls: &[Call]) -> String {
    let subjects: Vec<_> = calls
        .iter()
        .map(|call| format!("\"{}\"", call.subject))
        .collect();
    subjects.join(", ")
}

fn lines(calls: &[Call], line: impl Fn(&Call) -> String) -> String {
    calls.iter().fold(String::new(), |mut text, call| {
        writeln!(text, "      {}", line(call)).expect("a String takes everything");
        text
    })
}

/// A string of nats-server's configuration language.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
