//! Settings of `barid serve`: flags, then `BARID_*` variables, then `barid.toml`, then defaults.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize as _;
use url::Url;

use crate::{
    config::{
        connections::{Connections, Dangers},
        layer::{FLAGS, KEYS, Layer, NUMBERS, flag_name, variable_name},
        problem::{ConfigError, Origin, Place, Problem},
        tokens::Jwt,
        value::{LogFormat, Output, PublicUrl, Size, Span},
    },
    wire::{log::open::without_credentials, outbound},
};

pub mod connections;
pub mod example;
pub mod file;
pub mod layer;
pub mod problem;
pub mod tokens;
pub mod value;

/// The file that is read when it is there and `--config` names no other.
pub const FILE: &str = "barid.toml";
/// Variables of the client commands, which clap reads.
const CLIENT_VARIABLES: [&str; 8] = [
    "BARID_KEY_FILE",
    "BARID_CA",
    "BARID_CLIENT_CERTIFICATE",
    "BARID_CLIENT_KEY",
    "BARID_SERVER",
    "BARID_OUTPUT",
    "BARID_TIMEOUT",
    "BARID_CONFIG",
];
/// How alike a name must be to be offered instead, of 1.
const LIKENESS_MIN: f64 = 0.6;
/// Most replicas that JetStream keeps.
const REPLICAS_MAX: u8 = 5;
/// Longest drain.
const DRAIN_MAX: Duration = Duration::from_secs(3600);
/// Memory for the newest revisions: an hour and more of a busy wire.
const RING: Size = Size(64 << 20);
/// Patience with a subscriber that takes nothing.
const PATIENCE: Duration = Duration::from_secs(120);
/// Least patience with a subscriber.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// Most patience with a subscriber: a place that nobody reads from holds memory.
const PATIENCE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Least bytes of the log: below, not even one long article gets in.
const LOG_BYTES_MIN: u64 = 1 << 20;
/// Least retention: below, a subscriber's short absence would already be a gap.
const RETAIN_MIN: Duration = Duration::from_secs(1);

/// What `barid serve` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Where gRPC listens; `127.0.0.1:50051`.
    pub grpc_listen: SocketAddr,
    /// Where HTTP listens; `127.0.0.1:8080`.
    pub http_listen: SocketAddr,
    /// By which address others reach HTTP; none = the one that each request names.
    pub public_url: Option<PublicUrl>,
    /// Where the managed NATS server listens; `127.0.0.1:4222`.
    pub nats_listen: SocketAddr,
    /// The nats-server binary; none = `.barid/bin`, then `PATH`.
    pub nats_server: Option<PathBuf>,
    /// An existing JetStream cluster, `nats://a,nats://b`; none = a managed server.
    pub nats_url: Option<String>,
    /// Replicas of the log, 1 to 5.
    pub replicas: u8,
    /// Where managed NATS keeps the log; `./barid-data`.
    pub data_dir: PathBuf,
    /// A taxonomy file; none = the built-in one.
    pub taxonomy: Option<PathBuf>,
    /// How long revisions are kept, at least one second; none = for ever.
    pub retain: Option<Duration>,
    /// Most bytes of the log, at which it takes no more; none = as the disk allows.
    pub log_bytes_max: Option<u64>,
    /// Over how long open streams are ended at a stop; 3 s.
    pub drain: Duration,
    /// Most bytes of the newest revisions that are held for live readers; 64 MiB.
    pub ring_bytes: u64,
    /// After how long without any progress a subscriber's stream is ended; 2 minutes.
    pub patience: Duration,
    /// Whether whoever is on this machine reads over HTTP without a key.
    pub local_reads: bool,
    /// Whether no keys are asked for.
    pub danger_without_keys: bool,
    /// Which targets are called beyond those of the public internet by TLS.
    pub calls: outbound::Dangers,
    /// TLS, and what connections are held to.
    pub connections: Connections,
    /// Tokens that are taken in place of keys; none = none are.
    pub jwt: Option<Jwt>,
    /// Filter of the server's own log, in tracing's syntax; `info`.
    pub log: String,
    /// Form of the server's own log.
    pub log_format: LogFormat,
    /// Form of what goes to stdout.
    pub output: Output,
}

/// One setting as `barid config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name in the file.
    pub key: &'static str,
    /// Its value, without passwords; empty = none.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// All settings, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For the server.
    pub serve: Serve,
    /// For people, in the order of the documentation.
    pub shown: Vec<Shown>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// Decides every setting. `file` is that of `--config`; without it, `barid.toml` is read if it is
/// there. `variables` is the whole environment. Paths in the file are relative to the file.
///
/// # Errors
/// [`ConfigError`] names each setting at fault, where its value comes from, and the remedy.
pub fn load(
    flags: Layer,
    file: Option<&Path>,
    variables: &[(String, String)],
) -> Result<Settings, ConfigError> {
    load_layers(flags, file::chosen(file), variables)
}

/// Decides every setting, and judges the variables of the client commands with them, so that one
/// check finds everything.
///
/// # Errors
/// As [`load`].
pub fn check(file: Option<&Path>, variables: &[(String, String)]) -> Result<Settings, ConfigError> {
    let loaded = load(Layer::default(), file, variables);
    let client_problems = client_variables(variables);
    match loaded {
        Err(ConfigError(problems)) => Err(ConfigError([problems, client_problems].concat())),
        Ok(_) if !client_problems.is_empty() => Err(ConfigError(client_problems)),
        Ok(settings) => Ok(settings),
    }
}

/// Decides every setting; without a file none is read.
///
/// # Errors
/// As [`load`].
fn load_layers(
    flags: Layer,
    path: Option<PathBuf>,
    variables: &[(String, String)],
) -> Result<Settings, ConfigError> {
    let mut problems = Vec::new();
    let from_file = path
        .as_deref()
        .map(|path| file::read(path, &mut problems))
        .unwrap_or_default();
    problems.extend(unknown_variables(variables));
    let mut picker = Picker {
        flags,
        variables: from_variables(variables, &mut problems),
        from_file: from_file.layer,
        places: from_file.places,
        shown: Vec::new(),
    };
    let serve = picker.serve();
    let dangers = picker.dangers();
    let calls = picker.calls();
    let serve = Serve { calls, ..serve };
    let settings = Settings {
        serve,
        shown: picker.shown,
        file: path,
    };
    settings.check(dangers, &mut problems);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(ConfigError(problems))
    }
}

/// Refuses `BARID_*` variables that nothing reads: they are typos.
///
/// # Errors
/// [`Problem::UnknownVariable`] for each of them.
pub fn check_variables(variables: &[(String, String)]) -> Result<(), ConfigError> {
    let problems = unknown_variables(variables);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError(problems))
    }
}

fn unknown_variables(variables: &[(String, String)]) -> Vec<Problem> {
    let known: Vec<String> = (KEYS.iter().map(|key| variable_name(key)))
        .chain(CLIENT_VARIABLES.map(str::to_owned))
        .collect();
    variables
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("BARID_") && !known.contains(*name))
        .map(|name| Problem::UnknownVariable {
            name: name.clone(),
            nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
        })
        .collect()
}

/// What is wrong with the variables of the client commands, which clap reads where they are used.
fn client_variables(variables: &[(String, String)]) -> Vec<Problem> {
    let problem = |name: &str, message: String| Problem::Variable {
        name: name.to_owned(),
        message,
    };
    let mut problems = Vec::new();
    for (name, text) in variables {
        if name == "BARID_TIMEOUT"
            && let Err(error) = text.parse::<Span>()
        {
            problems.push(problem(name, error.to_string()));
        }
        let is_server = |url: Url| matches!(url.scheme(), "http" | "https");
        if name == "BARID_SERVER" && !Url::parse(text).is_ok_and(is_server) {
            let message = format!("{text:?} is not an address such as http://127.0.0.1:50051");
            problems.push(problem(name, message));
        }
    }
    problems
}

/// The known name that may have been meant, if any is alike.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // What all variables begin with makes none of them alike.
    let own = |name: &str| name.trim_start_matches("BARID_").to_ascii_lowercase();
    let given = own(name);
    known
        .map(|other| {
            let likeness = strsim::normalized_damerau_levenshtein(&given, &own(other));
            (likeness, other)
        })
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, other)| other)
}

fn from_variables(variables: &[(String, String)], problems: &mut Vec<Problem>) -> Layer {
    let mut table = toml::Table::new();
    for key in KEYS {
        let name = variable_name(key);
        let Some((_, text)) = variables.iter().find(|(known, _)| *known == name) else {
            continue;
        };
        let value = match key {
            key if NUMBERS.contains(&key) => text.parse().map(toml::Value::Integer).ok(),
            key if FLAGS.contains(&key) => text.parse().map(toml::Value::Boolean).ok(),
            _ => None,
        };
        let value = value.unwrap_or_else(|| toml::Value::String(text.clone()));
        // One by one, so that an error can name the variable, and hides no other's.
        let only = toml::Table::from_iter([(key.to_owned(), value.clone())]);
        match Layer::deserialize(only) {
            Ok(_) => {
                table.insert(key.to_owned(), value);
            }
            Err(error) => problems.push(Problem::Variable {
                name,
                message: error.message().to_owned(),
            }),
        }
    }
    Layer::deserialize(table).expect("each entry was read by itself")
}

/// Takes each setting from the first layer that has it, and remembers which.
struct Picker {
    flags: Layer,
    variables: Layer,
    from_file: Layer,
    places: BTreeMap<&'static str, Place>,
    shown: Vec<Shown>,
}

impl Picker {
    fn serve(&mut self) -> Serve {
        let path = |path: &PathBuf| path.display().to_string();
        Serve {
            grpc_listen: self.address("grpc_listen", |layer| layer.grpc_listen, 50051),
            http_listen: self.address("http_listen", |layer| layer.http_listen, 8080),
            public_url: self.optional(
                "public_url",
                |layer| layer.public_url.clone(),
                PublicUrl::to_string,
            ),
            nats_listen: self.address("nats_listen", |layer| layer.nats_listen, 4222),
            nats_server: self.optional("nats_server", |layer| layer.nats_server.clone(), path),
            nats_url: self.optional(
                "nats_url",
                |layer| layer.nats_url.clone(),
                |urls| without_credentials(urls),
            ),
            replicas: self.or("replicas", |layer| layer.replicas, u8::to_string, 1),
            data_dir: self.or(
                "data_dir",
                |layer| layer.data_dir.clone(),
                path,
                "./barid-data".into(),
            ),
            taxonomy: self.optional("taxonomy", |layer| layer.taxonomy.clone(), path),
            retain: self
                .optional("retain", |layer| layer.retain, Span::to_string)
                .map(|span| span.0),
            log_bytes_max: self
                .optional(
                    "log_bytes_max",
                    |layer| layer.log_bytes_max,
                    Size::to_string,
                )
                .map(|size| size.0),
            drain: self.span("drain", |layer| layer.drain, Duration::from_secs(3)),
            ring_bytes: self
                .or(
                    "ring_bytes",
                    |layer| layer.ring_bytes,
                    Size::to_string,
                    RING,
                )
                .0,
            patience: self.span("patience", |layer| layer.patience, PATIENCE),
            connections: self.connections(),
            jwt: self.jwt(),
            log: self.or(
                "log",
                |layer| layer.log.clone(),
                String::clone,
                "info".to_owned(),
            ),
            log_format: self.or(
                "log_format",
                |layer| layer.log_format,
                LogFormat::to_string,
                LogFormat::Text,
            ),
            output: self.or(
                "output",
                |layer| layer.output,
                Output::to_string,
                Output::Text,
            ),
            local_reads: self.yes("local_reads_without_key", |layer| {
                layer.local_reads_without_key
            }),
            danger_without_keys: self.yes("danger_without_keys", |layer| layer.danger_without_keys),
            calls: outbound::Dangers::default(),
        }
    }

    /// A yes, or no.
    fn yes(&mut self, key: &'static str, get: impl Fn(&Layer) -> Option<bool>) -> bool {
        self.or(key, get, bool::to_string, false)
    }

    /// A duration.
    fn span(
        &mut self,
        key: &'static str,
        get: impl Fn(&Layer) -> Option<Span>,
        default: Duration,
    ) -> Duration {
        self.or(key, get, Span::to_string, Span(default)).0
    }

    /// An address of this machine unless a layer names one.
    fn address(
        &mut self,
        key: &'static str,
        get: impl Fn(&Layer) -> Option<SocketAddr>,
        port: u16,
    ) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], port));
        self.or(key, get, SocketAddr::to_string, default)
    }

    fn or<T>(
        &mut self,
        key: &'static str,
        get: impl Fn(&Layer) -> Option<T>,
        show: impl Fn(&T) -> String,
        default: T,
    ) -> T {
        let (value, origin) = self.first(key, get).unwrap_or((default, Origin::Default));
        self.shown.push(Shown {
            key,
            value: show(&value),
            origin,
        });
        value
    }

    fn optional<T>(
        &mut self,
        key: &'static str,
        get: impl Fn(&Layer) -> Option<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let (value, origin) = match self.first(key, get) {
            Some((value, origin)) => (Some(value), origin),
            None => (None, Origin::Default),
        };
        self.shown.push(Shown {
            key,
            value: value.as_ref().map(show).unwrap_or_default(),
            origin,
        });
        value
    }

    fn first<T>(&self, key: &str, get: impl Fn(&Layer) -> Option<T>) -> Option<(T, Origin)> {
        if let Some(value) = get(&self.flags) {
            return Some((value, Origin::Flag(flag_name(key))));
        }
        if let Some(value) = get(&self.variables) {
            return Some((value, Origin::Variable(variable_name(key))));
        }
        let value = get(&self.from_file)?;
        let place = self.places.get(key)?.clone();
        Some((value, Origin::File(place)))
    }
}

impl Settings {
    fn check(&self, dangers: Dangers, problems: &mut Vec<Problem>) {
        // Two settings are compared only where both are as they were meant.
        let is_whole = problems.is_empty();
        let serve = &self.serve;
        if !(1..=REPLICAS_MAX).contains(&serve.replicas) {
            let message = format!("{} is not 1 to {REPLICAS_MAX}", serve.replicas);
            problems.push(self.rule("replicas", message));
        }
        if let Some(retain) = serve.retain
            && retain < RETAIN_MIN
        {
            let shown = humantime::format_duration(retain);
            let message = format!("{shown} is less than 1s, the least that is kept");
            problems.push(self.rule("retain", message));
        }
        if serve.drain > DRAIN_MAX {
            let shown = humantime::format_duration(serve.drain);
            let message = format!("{shown} is more than 1h, the longest that a stop may take");
            problems.push(self.rule("drain", message));
        }
        if serve.patience < PATIENCE_MIN {
            let shown = humantime::format_duration(serve.patience);
            let message = format!("{shown} is less than 1s, in which any network may pause");
            problems.push(self.rule("patience", message));
        }
        if serve.patience > PATIENCE_MAX {
            let shown = humantime::format_duration(serve.patience);
            let message = format!("{shown} is more than 24h, the longest that a stall may last");
            problems.push(self.rule("patience", message));
        }
        if let Some(bytes) = serve.log_bytes_max
            && bytes < LOG_BYTES_MIN
        {
            let message = format!("{bytes} is less than 1MiB, in which not every article has room");
            problems.push(self.rule("log_bytes_max", message));
        }
        if let Some(bytes) = serve.log_bytes_max
            && i64::try_from(bytes).is_err()
        {
            let message = format!("{bytes} is more than JetStream can count; leave it out");
            problems.push(self.rule("log_bytes_max", message));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&serve.log) {
            let message = format!("is not a filter such as info or barid=debug: {error}");
            problems.push(self.rule("log", message));
        }
        self.check_connections(problems);
        self.check_algorithms(problems);
        if is_whole {
            self.check_nats(problems);
            self.check_tls(problems);
            self.check_jwt(problems);
            self.check_listeners(dangers, problems);
        }
    }

    fn check_listeners(&self, dangers: Dangers, problems: &mut Vec<Problem>) {
        let serve = &self.serve;
        let nats = serve.nats_listen;
        let public = [
            ("grpc_listen", serve.grpc_listen),
            ("http_listen", serve.http_listen),
        ];
        self.check_public(public, dangers, problems);
        if serve.nats_url.is_none() && !nats.ip().is_loopback() {
            let message = format!(
                "{nats} can be reached from other machines, but managed NATS is for this one; \
                 listen on 127.0.0.1, or name a cluster with --nats-url"
            );
            problems.push(self.rule("nats_listen", message));
        }
    }

    fn check_nats(&self, problems: &mut Vec<Problem>) {
        let Some(urls) = &self.serve.nats_url else {
            if self.serve.replicas > 1 {
                let message = "more than one replica needs a cluster; name it with --nats-url";
                problems.push(self.rule("replicas", message.to_owned()));
            }
            return;
        };
        if let Err(message) = value::check_nats_urls(urls) {
            problems.push(self.rule("nats_url", message));
        }
        for key in ["nats_listen", "data_dir", "nats_server"] {
            if self.origin(key) != Origin::Default {
                let other = self.origin("nats_url");
                let message = format!(
                    "is for the NATS server that Barid manages, but nats_url ({other}) names \
                     another; give one of them"
                );
                problems.push(self.rule(key, message));
            }
        }
    }

    fn rule(&self, key: &'static str, message: String) -> Problem {
        Problem::Rule {
            key,
            origin: self.origin(key),
            message,
        }
    }

    fn origin(&self, key: &str) -> Origin {
        self.shown
            .iter()
            .find(|shown| shown.key == key)
            .map_or(Origin::Default, |shown| shown.origin.clone())
    }
}

#[cfg(test)]
mod tests;
