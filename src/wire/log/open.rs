//! Opening the log: connect, create or check the stream, load what a node must know before it
//! serves.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use async_nats::{
    Client, ConnectError, ConnectOptions, Event,
    connection::State,
    jetstream::{
        self, ErrorCode,
        context::{ContextBuilder, CreateKeyValueError, CreateStreamError, GetStreamError},
        kv,
        stream::Stream,
    },
};
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    time::{Instant, sleep},
};
use url::Url;

use crate::{
    cursor::{Epoch, Epochs},
    telemetry::Metrics,
    wire::{
        log::{
            API_TIMEOUT, Inner, Log, ReadError,
            batch::{QUEUE_BYTES_MAX, QUEUE_LEN_MAX, Writer},
            cache::Caches,
            killed::Killed,
            page::PAGES_MAX,
        },
        subject,
    },
};

/// How long a cluster may take to answer at start.
const OPEN_PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two tries at start.
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// Oldest nats-server with what the log needs.
const SERVER_MIN: (i64, i64, i64) = (2, 14, 0);

/// Where the log is, and how it is made if it is not there.
#[derive(Clone, Debug)]
pub struct Options {
    /// `nats://` addresses, joined by commas.
    pub url: String,
    /// Copies of every message, 1 to 5.
    pub replicas: usize,
    /// The wall: most bytes of the log; none = as many as the server allows.
    pub bytes_max: Option<i64>,
}

/// Two connections, so that long reads never delay a commit, and what lies behind them.
#[derive(Debug)]
pub struct Connection {
    /// Commits and reads that decide.
    pub client: Client,
    /// The stream, over that client.
    pub stream: Stream,
    /// The stream, over the client for long reads.
    pub reader: Stream,
    /// Facts about the log.
    pub meta: kv::Store,
    /// Counts connections of the client of long reads: consumers of an earlier one are gone.
    pub reader_generation: watch::Receiver<u64>,
}

/// One connection to one server: what was known of the log on an earlier one may no longer hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// Why the log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody there, or not for us.
    #[error("NATS at {url} can't be reached")]
    Connect {
        /// Where, without credentials.
        url: String,
        /// Why.
        source: ConnectError,
    },
    /// Too old.
    #[error("nats-server {version} is too old: 2.14.0 or newer is needed")]
    Version {
        /// What it is.
        version: String,
    },
    /// JetStream is off, or has no quorum.
    #[error("JetStream does not answer; is it enabled, and does it have a quorum?")]
    NoJetStream(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The stream can't be made.
    #[error("the stream BARID can't be created")]
    Create(#[source] CreateStreamError),
    /// The bucket can't be made.
    #[error("the bucket barid-meta can't be created")]
    Bucket(#[source] CreateKeyValueError),
    /// There is a stream of that name that is not ours.
    #[error(
        "there is a stream BARID that Barid did not make: {difference}; give Barid an account \
             of its own"
    )]
    Foreign {
        /// What it lacks.
        difference: String,
    },
    /// The stream can't be read.
    #[error("the log can't be read at start")]
    Read(#[from] ReadError),
}

impl Log {
    /// Opens the log. Its writer, and the services that follow it, are the caller's to run.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(options: &Options, metrics: Metrics) -> Result<(Self, Writer), OpenError> {
        let (client, _) = connect(&options.url, "barid").await?;
        let (reader, reader_generation) = connect(&options.url, "barid reader").await?;
        let info = client.server_info();
        let (major, minor, patch) = SERVER_MIN;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(OpenError::Version {
                version: info.version,
            });
        }
        let context = self::context(client.clone());
        let meta = self::meta(&context, options).await?;
        let stream = self::stream(&context, options).await?;
        let reader = self::stream(&self::context(reader), options).await?;
        let epochs = Arc::new(ours(&stream)?);

        let (queue, jobs) = mpsc::channel(QUEUE_LEN_MAX);
        let inner = Inner {
            metrics,
            connection: Connection {
                client,
                stream,
                reader,
                meta,
                reader_generation,
            },
            queue,
            queue_bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
            tail_epochs: watch::Sender::new(Arc::clone(&epochs)),
            epochs: watch::Sender::new(epochs),
            read_up_to: watch::Sender::new(0),
            seen: AtomicU64::new(0),
            confirmed: watch::Sender::new(None),
            confirming: tokio::sync::Mutex::default(),
            tail_restart: Notify::new(),
            erase_wake: Notify::new(),
            retained_from: AtomicU64::new(1),
            killed: Killed::default(),
            caches: Mutex::new(Caches::default()),
            pages: Semaphore::new(PAGES_MAX),
        };
        let log = Self(Arc::new(inner));
        log.check_high_water().await?;
        log.load_retained_from().await?;
        let writer = Writer::new(log.clone(), jobs);
        Ok((log, writer))
    }

    /// Whether the connection that commits take is there.
    pub fn is_connected(&self) -> bool {
        self.0.connection.client.connection_state() == State::Connected
    }

    /// How often the connection to NATS came back.
    pub fn reconnect_count(&self) -> u64 {
        // The first one is no return.
        self.0
            .connection
            .reader_generation
            .borrow()
            .saturating_sub(1)
    }

    /// The connection that commits take; none while there is none.
    pub(super) fn generation(&self) -> Option<Generation> {
        let client = &self.0.connection.client;
        if client.connection_state() != State::Connected {
            return None;
        }
        // Not by the client's events: they come after the first message on a new connection.
        let info = client.server_info();
        let mut hasher = DefaultHasher::new();
        (info.server_id, info.client_id).hash(&mut hasher);
        Some(Generation(hasher.finish()))
    }
}

async fn connect(url: &str, name: &str) -> Result<(Client, watch::Receiver<u64>), OpenError> {
    let (count, generation) = watch::channel(0);
    let count = Arc::new(count);
    let options = credentials(url)
        .name(name)
        .connection_timeout(Duration::from_secs(2))
        .request_timeout(Some(API_TIMEOUT))
        .ping_interval(Duration::from_secs(2))
        .reconnect_delay_callback(|attempts| {
            // At once, then soon: a managed server is back within a tenth of a second.
            Duration::from_millis(u64::try_from(attempts).unwrap_or(u64::MAX).min(20) * 25)
        })
        .event_callback(move |event| {
            let count = Arc::clone(&count);
            async move {
                match event {
                    Event::Connected => {
                        count.send_modify(|count| *count += 1);
                        tracing::info!("connected to NATS");
                    }
                    Event::Disconnected => tracing::warn!("lost the connection to NATS"),
                    Event::SlowConsumer(id) => {
                        tracing::error!(id, "a NATS subscription overflowed");
                    }
                    Event::ServerError(error) => tracing::error!(%error, "NATS refused"),
                    Event::ClientError(error) => tracing::warn!(%error, "NATS client"),
                    Event::LameDuckMode | Event::Draining | Event::Closed => {
                        tracing::info!(%event, "NATS connection");
                    }
                }
            }
        });
    let addresses: Vec<String> = url.split(',').map(|one| one.trim().to_owned()).collect();
    let deadline = Instant::now() + OPEN_PATIENCE;
    loop {
        match options.clone().connect(&addresses[..]).await {
            Ok(client) => return Ok((client, generation)),
            Err(source) if Instant::now() >= deadline => {
                return Err(OpenError::Connect {
                    url: without_credentials(url),
                    source,
                });
            }
            Err(_) => sleep(OPEN_PAUSE).await,
        }
    }
}

fn context(client: Client) -> jetstream::Context {
    ContextBuilder::new()
        .timeout(API_TIMEOUT)
        .ack_timeout(API_TIMEOUT)
        .build(client)
}

/// Gets or makes the stream; a cluster may need a while to elect its leaders.
async fn stream(context: &jetstream::Context, options: &Options) -> Result<Stream, OpenError> {
    let deadline = Instant::now() + OPEN_PATIENCE;
    loop {
        let error: Box<dyn std::error::Error + Send + Sync> =
            match context.get_stream(subject::STREAM).await {
                Ok(stream) => return Ok(stream),
                Err(error) if is_not_found(&error) => {
                    let epochs = Epochs::first(Epoch::from_bits(rand::random()));
                    let config = subject::stream(&epochs, options.replicas, options.bytes_max);
                    match context.create_stream(config).await {
                        Ok(stream) => return Ok(stream),
                        // Another node may have been faster: get it on the next round.
                        Err(error) if Instant::now() >= deadline => {
                            return Err(OpenError::Create(error));
                        }
                        Err(error) if is_final(&error) => return Err(OpenError::Create(error)),
                        Err(error) => error.into(),
                    }
                }
                Err(error) => error.into(),
            };
        if Instant::now() >= deadline {
            return Err(OpenError::NoJetStream(error));
        }
        tracing::debug!(%error, "waiting for JetStream");
        sleep(OPEN_PAUSE).await;
    }
}

fn is_not_found(error: &GetStreamError) -> bool {
    matches!(error.kind(), jetstream::context::GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Errors that no waiting mends.
fn is_final(error: &CreateStreamError) -> bool {
    matches!(error.kind(), jetstream::context::CreateStreamErrorKind::JetStream(error)
        if [
            ErrorCode::STREAM_SUBJECT_OVERLAP,
            ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
            ErrorCode::STORAGE_RESOURCES_EXCEEDED,
            ErrorCode::INSUFFICIENT_RESOURCES,
        ].contains(&error.error_code()))
}

async fn meta(context: &jetstream::Context, options: &Options) -> Result<kv::Store, OpenError> {
    let deadline = Instant::now() + OPEN_PATIENCE;
    loop {
        if let Ok(store) = context.get_key_value(subject::META_BUCKET).await {
            return Ok(store);
        }
        let config = kv::Config {
            bucket: subject::META_BUCKET.to_owned(),
            description: "Barid: facts about the log".to_owned(),
            num_replicas: options.replicas,
            ..kv::Config::default()
        };
        match context.create_key_value(config).await {
            Ok(store) => return Ok(store),
            Err(error) if Instant::now() >= deadline => return Err(OpenError::Bucket(error)),
            Err(_) => sleep(OPEN_PAUSE).await,
        }
    }
}

/// Checks that the stream is one that Barid made, and reads its lives.
fn ours(stream: &Stream) -> Result<Epochs, OpenError> {
    let config = &stream.cached_info().config;
    let foreign = |difference: &str| OpenError::Foreign {
        difference: difference.to_owned(),
    };
    let Some(epochs) = config.metadata.get(subject::EPOCHS_METADATA) else {
        return Err(foreign("its metadata lacks barid.epochs"));
    };
    if !config.allow_atomic_publish {
        return Err(foreign("it does not allow atomic publish"));
    }
    let wanted = subject::stream(&Epochs::first(Epoch::from_bits(0)), 1, None);
    if config.subjects != wanted.subjects {
        return Err(foreign("its subjects are not log.>"));
    }
    if config
        .republish
        .as_ref()
        .map(|rule| (&rule.source, &rule.destination))
        != wanted
            .republish
            .as_ref()
            .map(|rule| (&rule.source, &rule.destination))
    {
        return Err(foreign("it does not republish log.news.> to news.>"));
    }
    epochs
        .parse()
        .map_err(|_| foreign("its barid.epochs is not readable"))
}

/// Options with the user and password of the first address: async-nats does not take them from
/// there by itself.
pub fn credentials(url: &str) -> ConnectOptions {
    let first = url.split(',').next().unwrap_or_default().trim();
    match Url::parse(first) {
        Ok(url) if !url.username().is_empty() => ConnectOptions::with_user_and_password(
            url.username().to_owned(),
            url.password().unwrap_or_default().to_owned(),
        ),
        Ok(_) | Err(_) => ConnectOptions::new(),
    }
}

/// An address as messages may show it.
pub fn without_credentials(url: &str) -> String {
    let hosts: Vec<&str> = url
        .split(',')
        .map(|one| one.rsplit_once('@').map_or(one, |(_, host)| host))
        .collect();
    hosts.join(",")
}
