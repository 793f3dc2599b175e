//! The text of `nats.conf`.

use std::{fmt::Write, iter::repeat, net::SocketAddr};

use crate::{
    access::{
        key::KeyId,
        partner::{NATIVE_MAX, NativeReader},
    },
    wire::subject::{NEWS, STREAM},
};

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
#[derive(Clone)]
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
    pub(super) fn text(&self, readers: &Readers) -> String {
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
      {{ stream: "news.>" }}
{exports}    ]
    # Whether the server syncs each write, for `barid log status`.
    imports: [ {{ service: {{ account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" }} }} ]
  }}
  SYS {{
    exports: [ {{ service: "$SYS.REQ.SERVER.PING.JSZ", accounts: [BARID], response: stream }} ]
  }}
{anonymous}{named}}}
system_account: SYS
{no_auth_user}"#,
            host = self.listen.ip(),
            pid_file = quoted(&format!("{}/nats-server.pid", self.folder)),
            ports = quoted(&format!("{}/ports", self.folder)),
            log = quoted(&format!("{}/nats-server.log", self.folder)),
            // The server adds `jetstream` to it.
            store = quoted(&self.folder),
            store_len_bytes_max = self.store_len_bytes_max,
            password = self.password,
            exports = exports(&calls),
            anonymous = if readers.anonymous {
                anonymous(&calls)
            } else {
                String::new()
            },
            named = readers.accounts(),
            no_auth_user = if readers.anonymous {
                format!("no_auth_user: {READER}\n")
            } else {
                String::new()
            },
        )
    }
}

/// The account of whoever gives no credentials.
fn anonymous(calls: &[Call]) -> String {
    format!(
        r#"  READERS {{
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
"#,
        publish = publish(calls),
        imports = imports(calls),
    )
}

/// The account of a native reader, under a name; empty without one. Of its own, so that nobody sees
/// its inboxes, and it can put nothing where others read.
pub fn account(name: &str, reader: Option<&NativeReader>) -> String {
    format!(
        r#"  {name} {{
    limits {{ max_connections: {READER_CONNECTION_COUNT_MAX}, max_payload: {READER_PAYLOAD_LEN_BYTES_MAX} }}
    users: [{user}]
    imports: [
      {{ stream: {{ account: BARID, subject: "news.>" }} }}
{imports}    ]
  }}
"#,
        user = reader.map(user).unwrap_or_default(),
        imports = imports(&reader_calls()),
    )
}

/// A native reader: its topics, and consumers within them that are named by its id.
fn user(reader: &NativeReader) -> String {
    let below = |prefix: &str| -> Vec<String> {
        match reader.topics.as_slice() {
            [] => vec![format!("{prefix}.>")],
            topics => topics
                .iter()
                .flat_map(|topic| [format!("{prefix}.{topic}"), format!("{prefix}.{topic}.>")])
                .collect(),
        }
    };
    let mut publish = vec!["$JS.API.INFO".to_owned(), "$JS.API.STREAM.NAMES".to_owned()];
    for name in consumers(reader.id) {
        let filters = below("log.news").into_iter();
        publish.extend(
            filters.map(|filter| format!("$JS.API.CONSUMER.CREATE.{STREAM}.{name}.{filter}")),
        );
        for call in ["INFO", "DELETE", "MSG.NEXT"] {
            publish.push(format!("$JS.API.CONSUMER.{call}.{STREAM}.{name}"));
        }
        publish.push(format!("$JS.ACK.{STREAM}.{name}.>"));
    }
    let mut subscribe = below("news");
    subscribe.push("_INBOX.>".to_owned());
    let list = |subjects: Vec<String>| {
        let quoted: Vec<String> = subjects
            .iter()
            .map(|it| format!("        \"{it}\"\n"))
            .collect();
        quoted.concat()
    };
    format!(
        " {{\n      nkey: {}\n      permissions {{\n      subscribe: [\n{}      ]\n      publish: [\n{}      \
         ]\n      }}\n    }} ",
        reader.nkey,
        list(subscribe),
        list(publish)
    )
}

/// The consumers that a native reader may have.
fn consumers(id: KeyId) -> [String; 4] {
    [
        id.to_string(),
        format!("{id}-2"),
        format!("{id}-3"),
        format!("{id}-4"),
    ]
}

/// Who reads from NATS itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readers {
    /// Whether whoever gives no credentials reads everything.
    pub(super) anonymous: bool,
    /// Those with an nkey, each in an account of its own.
    ///
    /// All accounts are there from the server's start, most of them empty: to one that comes with a
    /// reload the server gives what it imports only with the reload after (measured, 2.15.1).
    pub(super) places: Vec<Option<NativeReader>>,
}

impl Readers {
    /// Lets these in and nobody else; who stays keeps its account, so that it stays connected. Those
    /// beyond [`NATIVE_MAX`] are not let in.
    pub(super) fn set(&mut self, named: Vec<NativeReader>) {
        self.places.resize(NATIVE_MAX, None);
        for place in &mut self.places {
            let id = place.as_ref().map(|reader| reader.id);
            *place = named.iter().find(|reader| Some(reader.id) == id).cloned();
        }
        for reader in named {
            if self
                .places
                .iter()
                .flatten()
                .any(|known| known.id == reader.id)
            {
                continue;
            }
            match self.places.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(reader),
                None => tracing::error!(key = %reader.id, "there are too many native readers"),
            }
        }
    }

    fn accounts(&self) -> String {
        let named =
            (1..=NATIVE_MAX).zip(self.places.iter().map(Option::as_ref).chain(repeat(None)));
        let accounts = named.map(|(number, reader)| account(&format!("NATIVE_{number}"), reader));
        accounts.collect()
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
        format!(r#"{{ service: "{subject}"{response} }}"#)
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
