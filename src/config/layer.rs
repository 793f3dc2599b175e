//! One source of settings: what flags, variables or a file say, each setting being optional.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::ValueHint;
use serde::Deserialize;

use crate::config::{
    tokens,
    value::{LogFormat, Output, PublicUrl, Size, Span},
};

/// Every setting's name in the file, in the order of the documentation. The flag has dashes for
/// the underscores, the variable `BARID_` and capitals.
pub const KEYS: [&str; 34] = [
    "grpc_listen",
    "http_listen",
    "public_url",
    "nats_listen",
    "nats_server",
    "nats_url",
    "replicas",
    "data_dir",
    "taxonomy",
    "retain",
    "log_bytes_max",
    "drain",
    "ring_bytes",
    "patience",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "connections_max",
    "connections_per_address_max",
    "connection_rate_per_address",
    "begin_timeout",
    "idle_timeout",
    "jwt_jwks",
    "jwt_issuer",
    "jwt_audience",
    "jwt_algorithms",
    "log",
    "log_format",
    "output",
    "local_reads_without_key",
    "danger_without_keys",
    "danger_listen_without_tls",
    "danger_call_without_tls",
    "danger_call_internal_addresses",
];

/// Settings that are whole numbers, and those that are yes or no, also in variables.
pub const NUMBERS: [&str; 4] = [
    "replicas",
    "connections_max",
    "connections_per_address_max",
    "connection_rate_per_address",
];
/// See [`NUMBERS`].
pub const FLAGS: [&str; 5] = [
    "local_reads_without_key",
    "danger_without_keys",
    "danger_listen_without_tls",
    "danger_call_without_tls",
    "danger_call_internal_addresses",
];

/// What the example file gives for settings that are unset by default, as TOML.
pub const EXAMPLES: [(&str, &str); 13] = [
    ("public_url", "\"https://wire.example\""),
    ("nats_server", "\"/usr/local/bin/nats-server\""),
    (
        "nats_url",
        "\"nats://a.example:4222,nats://b.example:4222,nats://c.example:4222\"",
    ),
    ("taxonomy", "\"taxonomy.toml\""),
    ("retain", "\"90d\""),
    ("log_bytes_max", "\"64GiB\""),
    ("tls_cert", "\"/etc/barid/tls/fullchain.pem\""),
    ("tls_key", "\"/etc/barid/tls/privkey.pem\""),
    ("tls_client_ca", "\"/etc/barid/tls/clients.pem\""),
    ("connections_max", "20000"),
    ("jwt_jwks", "\"https://id.example/.well-known/jwks.json\""),
    ("jwt_issuer", "\"https://id.example/\""),
    ("jwt_audience", "\"barid\""),
];

/// What one source says. Each setting is also a flag, `BARID_<NAME>` and a key of `barid.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    /// Where gRPC listens [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::Other)]
    pub grpc_listen: Option<SocketAddr>,
    /// Where HTTP listens: event streams, health, metrics [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,
    /// By which address others reach HTTP, such as `https://wire.example`, where a proxy is before
    /// it: for feeds and ids, and to know our own pages by [default: the one that each request names]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub public_url: Option<PublicUrl>,
    /// Where the NATS server that Barid manages listens [default: 127.0.0.1:4222]
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::Other)]
    pub nats_listen: Option<SocketAddr>,
    /// The nats-server to start [default: .barid/bin/nats-server, then the PATH]
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::ExecutablePath)]
    pub nats_server: Option<PathBuf>,
    /// An existing NATS cluster with JetStream, instead of a managed server: nats://a,nats://b
    #[arg(long, value_name = "URLS", value_hint = ValueHint::Other)]
    pub nats_url: Option<String>,
    /// On how many servers of the cluster the log is kept, 1 to 5 [default: 1]
    #[arg(long, value_name = "COUNT", value_hint = ValueHint::Other)]
    pub replicas: Option<u8>,
    /// Where the managed NATS server keeps the log [default: ./barid-data]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// A taxonomy file [default: the built-in one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub taxonomy: Option<PathBuf>,
    /// How long old revisions are kept, such as 30d, at least 1s [default: for ever]
    #[arg(long, value_name = "DURATION", value_hint = ValueHint::Other)]
    pub retain: Option<Span>,
    /// Most bytes of the log, such as 64GiB, at least 1MiB; a full log takes no more articles
    /// [default: no bound]
    #[arg(long, value_name = "SIZE", value_hint = ValueHint::Other)]
    pub log_bytes_max: Option<Size>,
    /// Over how long open streams are ended at a stop [default: 3s]
    #[arg(long, value_name = "DURATION", value_hint = ValueHint::Other)]
    pub drain: Option<Span>,
    /// Memory for the newest revisions, from which live subscribers are served [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    pub ring_bytes: Option<Size>,
    /// After how long without any progress a subscriber's stream, or any HTTP connection that takes
    /// no answer, is ended, 1s to 24h [default: 2m]
    #[arg(long, value_name = "DURATION")]
    pub patience: Option<Span>,
    /// The certificate of gRPC and HTTP, PEM, with those between it and its authority after it; read
    /// again when it changes [default: no TLS]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM, without a passphrase
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,
    /// Authorities of client certificates, PEM: clients may show one, and need not; one of another
    /// authority is refused [default: clients are not asked]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_client_ca: Option<PathBuf>,
    /// Most connections, gRPC and HTTP together [default: as many as open files allow, at most
    /// 100000]
    #[arg(long, value_name = "COUNT", value_hint = ValueHint::Other)]
    pub connections_max: Option<u32>,
    /// Most connections of one address (IPv6: of one /64); 127.0.0.1 and ::1 have no such bound
    /// [default: 256]
    #[arg(long, value_name = "COUNT", value_hint = ValueHint::Other)]
    pub connections_per_address_max: Option<u32>,
    /// New connections a second that one address may open, and ten seconds' worth at once
    /// [default: 20]
    #[arg(long, value_name = "COUNT", value_hint = ValueHint::Other)]
    pub connection_rate_per_address: Option<u32>,
    /// How long a client may take for TLS and the head of its first request [default: 10s]
    #[arg(long, value_name = "DURATION", value_hint = ValueHint::Other)]
    pub begin_timeout: Option<Span>,
    /// After how long a connection on which nothing is asked for is closed [default: 5m]
    #[arg(long, value_name = "DURATION", value_hint = ValueHint::Other)]
    pub idle_timeout: Option<Span>,
    /// Public keys (JWK Set) of an authority whose access tokens (JWT, RFC 9068) are taken in place of
    /// keys: an https:// address, or a file that is read again when it changes [default: no tokens]
    #[arg(long, value_name = "URL|FILE", value_hint = ValueHint::AnyPath)]
    pub jwt_jwks: Option<String>,
    /// What a token's `iss` must be
    #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
    pub jwt_issuer: Option<String>,
    /// What a token's `aud` must name
    #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
    pub jwt_audience: Option<String>,
    /// How tokens may be signed: some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384,
    /// EdDSA [default: RS256]
    #[arg(long, value_name = "NAMES", value_hint = ValueHint::Other)]
    pub jwt_algorithms: Option<String>,
    /// What the server logs, as a tracing filter such as info,barid=debug [default: info]
    #[arg(long, value_name = "FILTER", value_hint = ValueHint::Other)]
    pub log: Option<String>,
    /// Form of the server's log [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Form of what goes to stdout [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<Output>,
    /// Let whoever is on this machine read over HTTP without a key. Behind a proxy that is everybody
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    pub local_reads_without_key: Option<bool>,
    /// Ask for no keys: whoever reaches the ports can read, publish, kill and administer
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    pub danger_without_keys: Option<bool>,
    /// Let gRPC and HTTP listen beyond this machine without TLS: whoever is on the way reads and
    /// changes what passes
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    pub danger_listen_without_tls: Option<bool>,
    /// Call webhooks by plain http, too: whoever is on the way reads what passes
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    pub danger_call_without_tls: Option<bool>,
    /// Call webhooks on this machine and in its networks, too: whoever may make one then reaches by
    /// this node what only this node can reach
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    #[arg(require_equals = true)]
    pub danger_call_internal_addresses: Option<bool>,
}

impl Layer {
    /// Takes relative paths as relative to a folder, that of the file that they stand in.
    pub fn relative_to(&mut self, folder: &Path) {
        for path in [
            &mut self.nats_server,
            &mut self.data_dir,
            &mut self.taxonomy,
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.tls_client_ca,
        ]
        .into_iter()
        .flatten()
        {
            *path = folder.join(&*path);
        }
        let named = self.jwt_jwks.as_mut();
        if let Some(file) = named.filter(|named| tokens::address(named).is_none()) {
            *file = folder.join(&*file).display().to_string();
        }
    }
}

/// The variable of a setting.
pub fn variable_name(key: &str) -> String {
    format!("BARID_{}", key.to_ascii_uppercase())
}

/// The flag of a setting.
pub fn flag_name(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}
