//! Settings of `barid serve`: flags, then `BARID_*` variables, then `barid.toml`, then defaults.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize as _;

use crate::{
    config::{
        layer::{KEYS, Layer, flag_name, variable_name},
        value::{LogFormat, Output, Size, Span},
    },
    wire::log::open::without_credentials,
};

pub mod layer;
pub mod value;

/// The file that is read when it is there and `--config` names no other.
pub const FILE: &str = "barid.toml";
/// Variables of the client commands, which clap reads.
const CLIENT_VARIABLES: [&str; 4] = [
    "BARID_SERVER",
    "BARID_OUTPUT",
    "BARID_TIMEOUT",
    "BARID_CONFIG",
];
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
/// Least retention: below, a subscriber's short absence would already be a gap.
const RETAIN_MIN: Duration = Duration::from_secs(1);

/// What `barid serve` runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Where gRPC listens; `127.0.0.1:50051`.
    pub grpc_listen: SocketAddr,
    /// Where HTTP listens; `127.0.0.1:8080`.
    pub http_listen: SocketAddr,
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
    /// Filter of the server's own log, in tracing's syntax; `info`.
    pub log: String,
    /// Form of the server's own log.
    pub log_format: LogFormat,
    /// Form of what goes to stdout.
    pub output: Output,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line; the flag with its dashes.
    Flag(String),
    /// The environment; the variable's name.
    Variable(String),
    /// A file; its path.
    File(PathBuf),
    /// Nobody named one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
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

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is named but not there, or not readable.
    #[error("can't read the settings file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong kind.
    #[error("{}:{line}:{column}: {message}{hint}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
        /// The nearest known key, as a clause of its own, or empty.
        hint: String,
    },
    /// `BARID_*` variables that name no setting, each with the nearest one.
    #[error("unknown variables: {}", list(names))]
    UnknownVariables {
        /// The variable and the one that is perhaps meant.
        names: Vec<(String, String)>,
    },
    /// A variable's value is of the wrong kind.
    #[error("{name}: {message}")]
    Variable {
        /// Which one.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A value breaks its rule, or two settings contradict each other.
    #[error("{key} ({origin}): {message}")]
    Rule {
        /// The setting's name in the file.
        key: &'static str,
        /// Where its value comes from.
        origin: Origin,
        /// The rule and the remedy.
        message: String,
    },
}

fn list(names: &[(String, String)]) -> String {
    let shown: Vec<String> = names
        .iter()
        .map(|(name, near)| format!("{name} (is {near} meant?)"))
        .collect();
    shown.join(", ")
}

/// Decides every setting. `file` is that of `--config`; without it, `barid.toml` is read if it is
/// there. `variables` is the whole environment. Paths in the file are relative to the file.
///
/// # Errors
/// [`ConfigError`] names the setting, where its value comes from, and the remedy.
pub fn load(
    flags: Layer,
    file: Option<&Path>,
    variables: &[(String, String)],
) -> Result<Settings, ConfigError> {
    check_variables(variables)?;
    let (path, from_file) = match file {
        Some(path) => (Some(path.to_owned()), read_file(path)?),
        None if Path::new(FILE).exists() => (Some(FILE.into()), read_file(Path::new(FILE))?),
        None => (None, Layer::default()),
    };
    let mut picker = Picker {
        flags,
        variables: from_variables(variables)?,
        from_file,
        path: path.clone(),
        shown: Vec::new(),
    };
    let serve = picker.serve();
    let danger = picker.or(
        "danger_listen_without_authentication",
        |layer| layer.danger_listen_without_authentication,
        bool::to_string,
        false,
    );
    let settings = Settings {
        serve,
        shown: picker.shown,
        file: path,
    };
    settings.check(danger)?;
    Ok(settings)
}

/// Refuses `BARID_*` variables that nothing reads: they are typos.
///
/// # Errors
/// [`ConfigError::UnknownVariables`] names all of them.
pub fn check_variables(variables: &[(String, String)]) -> Result<(), ConfigError> {
    let known: Vec<String> = (KEYS.iter().map(|key| variable_name(key)))
        .chain(CLIENT_VARIABLES.map(str::to_owned))
        .collect();
    let names: Vec<(String, String)> = variables
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("BARID_") && !known.contains(*name))
        .map(|name| {
            let near = nearest(name, known.iter().map(String::as_str));
            (name.clone(), near.to_owned())
        })
        .collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::UnknownVariables { names })
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(name, other);
    known
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        .unwrap_or_default()
}

fn from_variables(variables: &[(String, String)]) -> Result<Layer, ConfigError> {
    let mut table = toml::Table::new();
    for key in KEYS {
        let name = variable_name(key);
        let Some((_, text)) = variables.iter().find(|(known, _)| *known == name) else {
            continue;
        };
        let value = match key {
            "replicas" => text.parse().map(toml::Value::Integer).ok(),
            "danger_listen_without_authentication" => text.parse().map(toml::Value::Boolean).ok(),
            _ => None,
        };
        let value = value.unwrap_or_else(|| toml::Value::String(text.clone()));
        // One by one, so that an error can name the variable.
        let only = toml::Table::from_iter([(key.to_owned(), value.clone())]);
        Layer::deserialize(only).map_err(|error| ConfigError::Variable {
            name,
            message: error.message().to_owned(),
        })?;
        table.insert(key.to_owned(), value);
    }
    Ok(Layer::deserialize(table).expect("each entry was read by itself"))
}

fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut layer: Layer = toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let message = error.message().to_owned();
        ConfigError::File {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .chars()
                .rev()
                .take_while(|char| *char != '\n')
                .count()
                + 1,
            hint: unknown_key(&message).map_or(String::new(), |key| {
                format!("; is {} meant?", nearest(key, KEYS.into_iter()))
            }),
            message,
        }
    })?;
    layer.relative_to(path.parent().unwrap_or(Path::new("")));
    Ok(layer)
}

/// The key in serde's "unknown field `x`, expected one of …".
fn unknown_key(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("unknown field `")?;
    Some(rest.split_once('`')?.0)
}

/// Takes each setting from the first layer that has it, and remembers which.
struct Picker {
    flags: Layer,
    variables: Layer,
    from_file: Layer,
    path: Option<PathBuf>,
    shown: Vec<Shown>,
}

impl Picker {
    fn serve(&mut self) -> Serve {
        let path = |path: &PathBuf| path.display().to_string();
        Serve {
            grpc_listen: self.address("grpc_listen", |layer| layer.grpc_listen, 50051),
            http_listen: self.address("http_listen", |layer| layer.http_listen, 8080),
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
        }
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
        let path = self.path.clone().unwrap_or_default();
        Some((value, Origin::File(path)))
    }
}

impl Settings {
    fn check(&self, danger: bool) -> Result<(), ConfigError> {
        let serve = &self.serve;
        if !(1..=REPLICAS_MAX).contains(&serve.replicas) {
            let message = format!("{} is not 1 to {REPLICAS_MAX}", serve.replicas);
            return Err(self.rule("replicas", message));
        }
        if let Some(retain) = serve.retain
            && retain < RETAIN_MIN
        {
            let shown = humantime::format_duration(retain);
            let message = format!("{shown} is less than 1s, the least that is kept");
            return Err(self.rule("retain", message));
        }
        if serve.drain > DRAIN_MAX {
            let shown = humantime::format_duration(serve.drain);
            let message = format!("{shown} is more than 1h, the longest that a stop may take");
            return Err(self.rule("drain", message));
        }
        if serve.patience < PATIENCE_MIN {
            let shown = humantime::format_duration(serve.patience);
            let message = format!("{shown} is less than 1s, in which any network may pause");
            return Err(self.rule("patience", message));
        }
        if let Some(bytes) = serve.log_bytes_max
            && i64::try_from(bytes).is_err()
        {
            let message = format!("{bytes} is more than JetStream can count; leave it out");
            return Err(self.rule("log_bytes_max", message));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&serve.log) {
            let message = format!("is not a filter such as info or barid=debug: {error}");
            return Err(self.rule("log", message));
        }
        self.check_nats()?;
        let nats = serve.nats_listen;
        let public = [
            ("grpc_listen", serve.grpc_listen),
            ("http_listen", serve.http_listen),
        ];
        let is_open = |(_, address): &(_, SocketAddr)| !address.ip().is_loopback();
        if let Some((key, address)) = public.into_iter().find(is_open)
            && !danger
        {
            let message = format!(
                "{address} can be reached from other machines, and this release has neither TLS nor \
                 authentication; listen on 127.0.0.1 behind a proxy that has, or accept it with \
                 --danger-listen-without-authentication"
            );
            return Err(self.rule(key, message));
        }
        if serve.nats_url.is_none() && !nats.ip().is_loopback() {
            let message = format!(
                "{nats} can be reached from other machines, but managed NATS is for this one; \
                 listen on 127.0.0.1, or name a cluster with --nats-url"
            );
            return Err(self.rule("nats_listen", message));
        }
        Ok(())
    }

    fn check_nats(&self) -> Result<(), ConfigError> {
        let Some(urls) = &self.serve.nats_url else {
            if self.serve.replicas > 1 {
                let message = "more than one replica needs a cluster; name it with --nats-url";
                return Err(self.rule("replicas", message.to_owned()));
            }
            return Ok(());
        };
        if let Err(message) = value::check_nats_urls(urls) {
            return Err(self.rule("nats_url", message));
        }
        for key in ["nats_listen", "data_dir", "nats_server"] {
            if self.origin(key) != Origin::Default {
                let other = self.origin("nats_url");
                let message = format!(
                    "is for the NATS server that Barid manages, but nats_url ({other}) names \
                     another; give one of them"
                );
                return Err(self.rule(key, message));
            }
        }
        Ok(())
    }

    fn rule(&self, key: &'static str, message: String) -> ConfigError {
        ConfigError::Rule {
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
