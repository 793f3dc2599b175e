//! Opening the log: connect, create or check the stream, load what a node must know before it
//! serves.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use async_nats::{
    Client, ConnectError, ConnectOptions,
    connection::State,
    jetstream::{
        self, ErrorCode,
        context::{CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind},
        kv,
        stream::{Config, Stream},
    },
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep},
};
use url::Url;

use crate::{
    cursor::{Epoch, Epochs},
    telemetry::Metrics,
    wire::{
        log::{
            Inner, Log, ReadError, audit,
            batch::{Lane, Queue, Writer, Writers},
            cache::Caches,
            clock::Clock,
            connect::{self, connect},
            embargo::Embargoes,
            killed::Killed,
            page::PAGES_MAX,
            patiently,
        },
        subject,
    },
};

/// How long a cluster may take to answer at start: an election or two.
const OPEN_PATIENCE: Duration = Duration::from_secs(30);
/// How long what looks like a mistake in the settings may be a server or a cluster that starts.
const JETSTREAM_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two tries at start.
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// What NATS or its client says.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
    /// JetStream over that client.
    pub context: jetstream::Context,
    /// The stream, over that client.
    pub stream: Stream,
    /// The stream, over the client for long reads.
    pub reader: Stream,
    /// Facts about the log.
    pub meta: kv::Store,
    /// Partners, their grants and keys.
    pub partners: kv::Store,
    /// Webhooks and how far they have come.
    pub webhooks: kv::Store,
    /// Durable subscriptions.
    pub subscriptions: kv::Store,
    /// Counts connections of the client of commits: what was sent on an earlier one and not
    /// answered never will be.
    pub generation: watch::Receiver<u64>,
    /// Counts connections of the client of long reads: consumers of an earlier one are gone.
    pub reader_generation: watch::Receiver<u64>,
}

/// One connection to one server: what was known of the log on an earlier one may no longer hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// Why the log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody there.
    #[error("NATS can't be reached at {url}: start a server there, or mend --nats-url")]
    Connect {
        /// Where, without credentials.
        url: String,
        /// Why the last of them did not answer.
        source: ConnectError,
    },
    /// Not for us.
    #[error(
        "NATS at {url} refuses the user and password: mend those of the first address of --nats-url"
    )]
    Credentials {
        /// Where, without credentials.
        url: String,
        /// What it says.
        source: ConnectError,
    },
    /// Too old.
    #[error("nats-server {server} is {version}: 2.14.0 or newer is needed, install that")]
    Version {
        /// Which one.
        server: String,
        /// What it is.
        version: String,
    },
    /// JetStream is off.
    #[error(
        "nats-server {server} has no JetStream for Barid: add a `jetstream` block to its \
         configuration, and `jetstream: enabled` to Barid's account"
    )]
    NoJetStream {
        /// Which one.
        server: String,
        /// What it says.
        source: BoxError,
    },
    /// JetStream has no leader.
    #[error(
        "JetStream does not answer: a cluster needs more than half of its servers running and \
         connected by their routes"
    )]
    NoQuorum(#[source] BoxError),
    /// Fewer servers than replicas.
    #[error(
        "the log can't be kept on {replicas} servers: start a cluster of at least as many, or lower \
         --replicas"
    )]
    Replicas {
        /// How many were asked for.
        replicas: usize,
        /// What NATS says.
        source: BoxError,
    },
    /// More bytes than a server has.
    #[error(
        "NATS has no room for a log {}: lower --log-bytes-max, or raise max_file_store on \
         servers with such a disk",
        bytes_max.map_or("at all".to_owned(), |bytes| format!("of {bytes} bytes"))
    )]
    Room {
        /// How many were asked for.
        bytes_max: Option<i64>,
        /// What NATS says.
        source: BoxError,
    },
    /// No servers that have the room.
    #[error(
        "NATS finds no {replicas} servers with room for the log: see that so many run, lower \
         --replicas or --log-bytes-max, or raise max_file_store"
    )]
    Placement {
        /// How many were asked for.
        replicas: usize,
        /// What NATS says.
        source: BoxError,
    },
    /// Another stream takes our subjects.
    #[error("another stream of the account takes log.>: give Barid an account of its own")]
    Overlap(#[source] BoxError),
    /// The stream can't be made.
    #[error("the stream BARID can't be created")]
    Create(#[source] BoxError),
    /// The bucket can't be made.
    #[error("the bucket {name} can't be created, or made to take atomic batches")]
    Bucket {
        /// Which one.
        name: &'static str,
        /// What NATS says.
        source: BoxError,
    },
    /// The audit can't be made.
    #[error("the stream barid-audit can't be created")]
    Audit(#[source] BoxError),
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
    /// Opens the log. Its writers, and the services that follow it, are the caller's to run.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(options: &Options, metrics: Metrics) -> Result<(Self, Writers), OpenError> {
        // Boxed: it is large, and runs once.
        Box::pin(Self::opened(options, metrics)).await
    }

    async fn opened(options: &Options, metrics: Metrics) -> Result<(Self, Writers), OpenError> {
        let (client, generation) = connect(&options.url, "barid").await?;
        let (reader, reader_generation) = connect(&options.url, "barid reader").await?;
        let context = connect::context(client.clone());
        // First: nothing is made beside a stream that is another's.
        let stream = self::stream(&client, &context, options).await?;
        let epochs = Arc::new(ours(&stream)?);
        warn_of_differences(&stream, options);
        let deadline = Instant::now() + OPEN_PATIENCE;
        let name = subject::META_BUCKET;
        let meta = bucket(&context, options, (name, "facts about the log"), deadline).await?;
        let name = subject::PARTNERS_BUCKET;
        let partners = bucket(&context, options, (name, "partners"), deadline).await?;
        let name = subject::WEBHOOKS_BUCKET;
        let webhooks = bucket(&context, options, (name, "webhooks"), deadline).await?;
        let name = subject::SUBSCRIPTIONS_BUCKET;
        let what = (name, "durable subscriptions");
        let patient = connect::patient_context(client.clone());
        let subscriptions = bucket(&patient, options, what, deadline).await?;
        allow_batches(&context, &subscriptions, deadline).await?;
        audit_stream(&context, options, deadline).await?;
        let reader = self::stream(&reader, &connect::context(reader.clone()), options).await?;

        let (queue, jobs) = Queue::new();
        let (subscriptions_queue, entries) = Queue::new();
        let inner = Inner {
            metrics,
            connection: Connection {
                client,
                context,
                stream,
                reader,
                meta,
                partners,
                webhooks,
                subscriptions,
                generation,
                reader_generation,
            },
            queue,
            subscriptions_queue,
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
            clock: Clock::default(),
            embargoes: Embargoes::default(),
            caches: Mutex::new(Caches::default()),
            pages: Semaphore::new(PAGES_MAX),
        };
        let log = Self(Arc::new(inner));
        // What was made a moment ago, here or by another node, may not answer yet.
        patiently(deadline, || log.check_high_water()).await?;
        patiently(deadline, || log.load_retained_from()).await?;
        let writers = Writers {
            log: Writer::new(log.clone(), Lane::Log, jobs),
            subscriptions: Writer::new(log.clone(), Lane::Subscriptions, entries),
        };
        Ok((log, writers))
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

/// Gets or makes the stream; a cluster may need a while to elect its leaders.
async fn stream(
    client: &Client,
    context: &jetstream::Context,
    options: &Options,
) -> Result<Stream, OpenError> {
    let began = Instant::now();
    loop {
        let failure = match context.get_stream(subject::STREAM).await {
            Ok(stream) => return Ok(stream),
            Err(error) if code(&error) == Some(ErrorCode::STREAM_NOT_FOUND) => {
                let epochs = Epochs::first(Epoch::from_bits(rand::random()));
                let config = subject::stream(&epochs, options.replicas, options.bytes_max);
                match context.create_stream(config).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => create_failure(error, options),
                }
            }
            Err(error) => {
                let server = client.server_info();
                let is_off = match code(&error) {
                    Some(code) => is_no_jetstream(code),
                    None => !server.jetstream,
                };
                if is_off {
                    Failure {
                        patience: JETSTREAM_PATIENCE,
                        error: OpenError::NoJetStream {
                            server: server.server_name,
                            source: error.into(),
                        },
                    }
                } else {
                    Failure {
                        patience: OPEN_PATIENCE,
                        error: OpenError::NoQuorum(error.into()),
                    }
                }
            }
        };
        if began.elapsed() >= failure.patience {
            return Err(failure.error);
        }
        tracing::debug!(error = %failure.error, "waiting for JetStream");
        sleep(OPEN_PAUSE).await;
    }
}

/// Why the log is not open yet, and for how long that may pass.
struct Failure {
    patience: Duration,
    error: OpenError,
}

fn create_failure(source: CreateStreamError, options: &Options) -> Failure {
    let code = match source.kind() {
        CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
        _ => None,
    };
    let source = Box::new(source);
    let Options {
        replicas,
        bytes_max,
        ..
    } = *options;
    let (patience, error) = match code {
        Some(ErrorCode::STREAM_SUBJECT_OVERLAP) => (Duration::ZERO, OpenError::Overlap(source)),
        Some(ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED) => {
            (Duration::ZERO, OpenError::Replicas { replicas, source })
        }
        Some(
            ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ) => (Duration::ZERO, OpenError::Room { bytes_max, source }),
        // May pass: servers of a cluster that starts come one after the other.
        Some(ErrorCode::CLUSTER_NO_PEERS) => (
            JETSTREAM_PATIENCE,
            OpenError::Placement { replicas, source },
        ),
        // Another node may have been faster: the next round gets its stream.
        Some(_) | None => (OPEN_PATIENCE, OpenError::Create(source)),
    };
    Failure { patience, error }
}

fn code(error: &GetStreamError) -> Option<ErrorCode> {
    match error.kind() {
        GetStreamErrorKind::JetStream(error) => Some(error.error_code()),
        _ => None,
    }
}

fn is_no_jetstream(code: ErrorCode) -> bool {
    [
        ErrorCode::JETSTREAM_NOT_ENABLED,
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
    ]
    .contains(&code)
}

async fn bucket(
    context: &jetstream::Context,
    options: &Options,
    (name, what): (&'static str, &str),
    deadline: Instant,
) -> Result<kv::Store, OpenError> {
    loop {
        if let Ok(store) = context.get_key_value(name).await {
            return Ok(store);
        }
        let config = kv::Config {
            bucket: name.to_owned(),
            description: format!("Barid: {what}"),
            num_replicas: options.replicas,
            ..kv::Config::default()
        };
        match context.create_key_value(config).await {
            Ok(store) => return Ok(store),
            Err(error) if Instant::now() >= deadline => {
                return Err(OpenError::Bucket {
                    name,
                    source: error.into(),
                });
            }
            Err(_) => sleep(OPEN_PAUSE).await,
        }
    }
}

/// Lets the bucket of durable subscriptions take atomic batches: the client makes none that does, and
/// earlier releases wrote one entry at a time.
async fn allow_batches(
    context: &jetstream::Context,
    store: &kv::Store,
    deadline: Instant,
) -> Result<(), OpenError> {
    let found = &store.stream.cached_info().config;
    if found.allow_atomic_publish {
        return Ok(());
    }
    let config = Config {
        allow_atomic_publish: true,
        ..found.clone()
    };
    loop {
        match context.update_stream(&config).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(OpenError::Bucket {
                    name: subject::SUBSCRIPTIONS_BUCKET,
                    source: error.into(),
                });
            }
            Err(_) => sleep(OPEN_PAUSE).await,
        }
    }
}

/// Gets or makes the stream of the audit.
async fn audit_stream(
    context: &jetstream::Context,
    options: &Options,
    deadline: Instant,
) -> Result<(), OpenError> {
    loop {
        let config = audit::stream(options.replicas);
        match context.get_or_create_stream(config).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(OpenError::Audit(error.into()));
            }
            Err(_) => sleep(OPEN_PAUSE).await,
        }
    }
}

/// Tells where the settings ask for another log than there is: a start does not change it.
fn warn_of_differences(stream: &Stream, options: &Options) {
    let config = &stream.cached_info().config;
    let (found, asked) = (config.num_replicas, options.replicas);
    if found != asked {
        tracing::warn!(
            found,
            asked,
            "the log has another number of replicas than --replicas says; change it with \
             `nats stream edit BARID --replicas {asked}`, and KV_barid-meta likewise"
        );
    }
    if let Some(asked) = options.bytes_max
        && asked != config.max_bytes
    {
        tracing::warn!(
            found = config.max_bytes,
            asked,
            "the log has another bound than --log-bytes-max says; change it with `nats stream edit \
             BARID --max-bytes {asked}`"
        );
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
    let republish = |config: &Config| {
        let rule = config.republish.as_ref();
        rule.map(|rule| (rule.source.clone(), rule.destination.clone()))
    };
    if republish(config) != republish(&wanted) {
        return Err(foreign("it does not republish log.news.> to news.>"));
    }
    if config.storage != wanted.storage {
        return Err(foreign("it is not stored in files"));
    }
    // Each of these takes away, in silence, what was accepted.
    let takes = |config: &Config| {
        (
            (config.retention, config.discard, config.max_age),
            (config.max_messages, config.max_messages_per_subject),
        )
    };
    if takes(config) != takes(&wanted) {
        return Err(foreign(
            "it discards old messages by a limit, an age or an interest",
        ));
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
    let hosts: Vec<String> = url
        .split(',')
        .map(|one| {
            let (scheme, rest) = match one.find("://") {
                Some(at) => one.split_at(at + 3),
                None => ("", one),
            };
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}{host}")
        })
        .collect();
    hosts.join(",")
}
