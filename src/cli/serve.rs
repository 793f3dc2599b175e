//! `barid serve`: from settings to a running node.

use std::{
    env, fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    pin::Pin,
};

use anyhow::{Context as _, anyhow};
use clap::ValueHint;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    cli::{BadUse, out},
    config::{
        self, Serve,
        layer::Layer,
        tokens,
        value::{LogFormat, Output},
    },
    gate::{Policy, tokens::Tokens},
    routing::taxonomy::Taxonomy,
    server::{
        self, Addresses, Nats,
        incoming::Limits,
        jwks::{Jwks, Source},
        nats,
        tls::{self, Tls},
    },
    telemetry::trace,
};

/// Run the service
///
/// Each setting is a flag, a variable (--grpc-listen: BARID_GRPC_LISTEN) and a key of barid.toml
/// (grpc_listen); flags win over variables over the file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  barid serve\n  barid serve --data-dir /var/lib/barid --retain 90d\n  \
                        barid serve --nats-url nats://a,nats://b,nats://c --replicas 3"
)]
pub struct ServeArgs {
    /// The settings file [default: ./barid.toml if it is there]
    #[arg(long, env = "BARID_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Every setting.
    #[command(flatten)]
    pub flags: Layer,
}

/// That the node serves, as `--output json` prints it.
#[derive(Serialize)]
struct ReadyJson<'a> {
    ready: bool,
    grpc: String,
    http: String,
    nats: &'a str,
}

/// Serves until SIGINT or SIGTERM; a second one ends the process without draining.
///
/// # Errors
/// Settings that can't be used, or what the server ends with.
pub async fn run(args: ServeArgs, variables: &[(String, String)]) -> anyhow::Result<()> {
    let serve = config::load(args.flags, args.config.as_deref(), variables)?.serve;
    let taxonomy = match &serve.taxonomy {
        Some(path) => read_taxonomy(path)?,
        None => Taxonomy::built_in(),
    };
    let tls = read_tls(&serve)?;
    let jwks = read_jwks(&serve)?;
    start_log(&serve)?;
    let (output, scheme) = (serve.output, if tls.is_some() { "https" } else { "http" });
    let stop = CancellationToken::new();
    let ready = |addresses: &Addresses| say_ready(output, scheme, addresses);
    let options = server::Options {
        jwks,
        ..options(&serve, taxonomy, tls)?
    };
    let variable = |name: &str| {
        let named = variables.iter().find(|(given, _)| given == name);
        named.map(|(_, value)| value.clone())
    };
    let exporter = trace::Exporter::start(variable)
        .map_err(|error| BadUse(format!("{:#}", anyhow::Error::from(error))))?;
    // Boxed: it is large, and moved.
    let server = Box::pin(server::run(options, ready, stop.clone()));
    let ended = until_asked(server, &stop).await;
    if let Some(exporter) = exporter {
        // It blocks.
        match tokio::task::spawn_blocking(|| exporter.end()).await? {
            Ok(()) => {}
            Err(error) => tracing::warn!("{:#}", anyhow::Error::from(error)),
        }
    }
    ended
}

/// Runs the server until it ends, asking it to at the first signal.
async fn until_asked(
    mut server: Pin<Box<impl Future<Output = Result<(), server::ServeError>>>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
    loop {
        tokio::select! {
            biased;
            // Nothing is lost: a signal that was not taken is there in the next round.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            ended = &mut server => return Ok(ended?),
        }
        if stop.is_cancelled() {
            return Err(anyhow!("asked to stop twice: stopped without draining"));
        }
        stop.cancel();
    }
}

/// Reads a taxonomy file.
///
/// # Errors
/// [`BadUse`] names the file and what is wrong with it.
pub fn read_taxonomy(path: &Path) -> Result<Taxonomy, BadUse> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| BadUse(format!("can't read the taxonomy {shown}: {error}")))?;
    Taxonomy::parse(&text).map_err(|error| BadUse(format!("{shown}:{error}")))
}

/// Reads the files of TLS, if the settings name some.
///
/// # Errors
/// [`BadUse`] names the file and what is wrong with it.
pub fn read_tls(serve: &Serve) -> Result<Option<Tls>, BadUse> {
    let Some(files) = &serve.connections.tls else {
        return Ok(None);
    };
    let loaded = Tls::load(tls::Files {
        cert: files.cert.clone(),
        key: files.key.clone(),
        client_ca: files.client_ca.clone(),
    });
    loaded.map(Some).map_err(|error| BadUse(error.to_string()))
}

/// Reads the keys of tokens, if the settings name a file of them.
///
/// # Errors
/// [`BadUse`] names the file and what is wrong with it.
pub fn read_jwks(serve: &Serve) -> Result<Option<Jwks>, BadUse> {
    let Some(jwt) = &serve.jwt else {
        return Ok(None);
    };
    let source = match tokens::address(&jwt.jwks) {
        Some(url) => Source::Url(url),
        None => Source::File(jwt.jwks.clone().into()),
    };
    let loaded = Jwks::load(source, Tokens::new(jwt.rules.clone()));
    loaded.map(Some).map_err(|error| BadUse(error.to_string()))
}

fn options(serve: &Serve, taxonomy: Taxonomy, tls: Option<Tls>) -> anyhow::Result<server::Options> {
    let connections = &serve.connections;
    Ok(server::Options {
        grpc_listen: serve.grpc_listen,
        http_listen: serve.http_listen,
        public_url: serve.public_url.as_ref().map(|url| url.as_str().into()),
        nats: nats(serve)?,
        log_bytes_max: serve.log_bytes_max.map(i64::try_from).transpose()?,
        retain: serve.retain,
        drain: serve.drain,
        ring_bytes_max: usize::try_from(serve.ring_bytes).unwrap_or(usize::MAX),
        patience: serve.patience,
        policy: if serve.danger_without_keys {
            Policy::Open
        } else {
            Policy::Keys
        },
        local_reads: serve.local_reads,
        tls,
        jwks: None,
        calls: serve.calls,
        limits: Limits {
            connections_max: connections.max,
            per_address_max: connections.per_address_max,
            rate_per_address: connections.rate_per_address,
            begin_within: connections.begin_within,
            idle_after: connections.idle_after,
        },
        taxonomy,
        taxonomy_file: serve.taxonomy.clone(),
    })
}

/// Which NATS the settings name.
///
/// # Errors
/// This program can't be found, which guards managed NATS.
pub fn nats(serve: &Serve) -> anyhow::Result<Nats> {
    Ok(match &serve.nats_url {
        Some(url) => Nats::External {
            url: url.clone(),
            replicas: serve.replicas.into(),
        },
        None => Nats::Managed(nats::Options {
            binary: serve.nats_server.clone(),
            data_dir: serve.data_dir.clone(),
            listen: serve.nats_listen,
            anonymous_readers: serve.danger_without_keys || serve.local_reads,
            guard: env::current_exe().context("can't find the barid program")?,
        }),
    })
}

/// Logs go to stderr: stdout is for what was asked for.
fn start_log(serve: &Serve) -> anyhow::Result<()> {
    let wanted = EnvFilter::try_new(&serve.log).context("the log filter")?;
    // Below that it prints what the log's leader answers, whole: articles, drafts under embargo too.
    let without_articles = filter_fn(|event| {
        !event.target().starts_with("async_nats") || *event.level() <= Level::INFO
    });
    let log = tracing_subscriber::registry()
        .with(wanted)
        .with(without_articles);
    let lines = fmt::layer().with_writer(io::stderr);
    let started = match serve.log_format {
        LogFormat::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal());
            log.with(lines).try_init()
        }
        LogFormat::Json => log.with(lines.json()).try_init(),
    };
    started.map_err(|error| anyhow!("can't start the log: {error}"))
}

fn say_ready(output: Output, scheme: &str, addresses: &Addresses) {
    let said = match output {
        Output::Text => out::line(&format!(
            "barid is ready: gRPC at {scheme}://{}, HTTP at {scheme}://{}, NATS at {}",
            addresses.grpc, addresses.http, addresses.nats
        )),
        Output::Json => out::json(&ReadyJson {
            ready: true,
            grpc: format!("{scheme}://{}", addresses.grpc),
            http: format!("{scheme}://{}", addresses.http),
            nats: &addresses.nats,
        }),
    };
    if let Err(error) = said {
        // Whoever started it does not listen; subscribers may.
        tracing::warn!("nobody hears that barid is ready: {error:#}");
    }
}
