//! Bind, assemble, supervise, drain.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{server::NamedService as _, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    delivery::{
        articles::Articles,
        grpc::Subscriber,
        hub::{self, Hub},
        recalls::Recalls,
        recipients::Recipients,
        webhooks::{self, Webhooks},
    },
    gate::{Gate, Policy, seconds},
    ingest::{Ingest, grpc::Publisher},
    routing::taxonomy::{LiveTaxonomy, Taxonomy},
    server::{
        grpc::Grpc,
        http::{Phase, Web},
        incoming::{Entrance, Limits},
        jwks::Jwks,
        nats::{ManagedNats, ReadersHandle},
        tls::Tls,
    },
    telemetry::{Metrics, connections::Listener},
    wire::{
        log::{Log, ReadError, batch::Writers, open, patiently},
        outbound::{self, Outbound},
        proto::v1::{
            DESCRIPTORS, article_service_server::ArticleServiceServer,
            desk_service_server::DeskServiceServer,
            publisher_service_server::PublisherServiceServer,
            recipient_service_server::RecipientServiceServer,
            webhook_service_server::WebhookServiceServer,
        },
    },
};

mod desk;
pub mod door;
pub mod files;
pub mod grpc;
pub mod http;
pub mod incoming;
pub mod jwks;
pub mod keys;
pub mod nats;
pub mod refusal;
pub mod reload;
mod services;
pub mod socket;
pub mod tls;

/// How long the log may take to be ready to serve.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// How much longer than its streams the server may take to stop.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// How long the last frames of a stream, or an answer, may take to be written.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Time between two looks at whether this node can serve.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// What a node needs to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where gRPC listens.
    pub grpc_listen: SocketAddr,
    /// Where HTTP listens.
    pub http_listen: SocketAddr,
    /// By which address others reach HTTP, such as `https://wire.example`; none = the one that each
    /// request names.
    pub public_url: Option<Arc<str>>,
    /// Which NATS.
    pub nats: Nats,
    /// Most bytes of the log, none = as many as NATS allows.
    pub log_bytes_max: Option<i64>,
    /// How long news is kept, none = for ever.
    pub retain: Option<Duration>,
    /// Over how long streams end at a stop.
    pub drain: Duration,
    /// Most bytes of the newest revisions that are held for live readers.
    pub ring_bytes_max: usize,
    /// After how long without any progress a subscriber's stream is ended.
    pub patience: Duration,
    /// What keys are asked for.
    pub policy: Policy,
    /// Whether whoever is on this machine reads over HTTP without a key.
    pub local_reads: bool,
    /// TLS of both listeners; none = connections are plain.
    pub tls: Option<Tls>,
    /// Tokens of another authority that are taken in place of keys, and its own keys; none = no
    /// tokens are.
    pub jwks: Option<Jwks>,
    /// What connections are held to.
    pub limits: Limits,
    /// Which targets are called beyond those of the public internet by TLS.
    pub calls: outbound::Dangers,
    /// What to route by at first.
    pub taxonomy: Taxonomy,
    /// The file that it is of, which is read again when it changes; none = built in.
    pub taxonomy_file: Option<PathBuf>,
}

/// Which NATS a node runs on.
#[derive(Clone, Debug)]
pub enum Nats {
    /// A child of this process.
    Managed(nats::Options),
    /// An existing JetStream cluster.
    External {
        /// `nats://` addresses, joined by commas.
        url: String,
        /// Copies of every message.
        replicas: usize,
    },
}

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// gRPC.
    pub grpc: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
    /// NATS for native readers, without credentials.
    pub nats: String,
}

/// Why a node can't run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address is taken or not ours.
    #[error("can't listen on {address}; choose another with {flag}")]
    Listen {
        /// What chooses it.
        flag: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Managed NATS does not start.
    #[error("managed NATS does not start")]
    Nats(#[from] nats::StartError),
    /// The log can't be opened.
    #[error("the log can't be opened")]
    Open(#[from] open::OpenError),
    /// The log can't be read at start.
    #[error("the log can't be read")]
    Read(#[from] ReadError),
    /// Reflection can't be built.
    #[error("the descriptors for reflection are broken")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// Nobody can be called.
    #[error("the client of webhooks can't be made: are the system's certificates there?")]
    Outbound(#[source] reqwest::Error),
    /// The first keys can't be made.
    #[error("the first keys can't be made")]
    Keys(#[from] keys::KeysError),
    /// A service ended that must not.
    #[error("a service ended before the stop: {0}")]
    Ended(&'static str),
    /// A service panicked.
    #[error("a service panicked")]
    Panicked(#[from] JoinError),
}

/// The services of a node: each ends with its name, and none before the stop.
type Services = JoinSet<Result<&'static str, ServeError>>;

/// Runs a node until `stop`; `ready` is called once, when it serves.
///
/// # Errors
/// [`ServeError`].
pub async fn run(
    options: Options,
    ready: impl FnOnce(&Addresses),
    stop: CancellationToken,
) -> Result<(), ServeError> {
    // First: an address in use must not cost a start of NATS.
    let (grpc_listener, grpc) = bind(options.grpc_listen, "--grpc-listen")?;
    let (http_listener, http) = bind(options.http_listen, "--http-listen")?;

    let (managed, url, replicas, shown) = match options.nats.clone() {
        Nats::Managed(nats_options) => {
            let managed = spawn_blocking(move || ManagedNats::start(nats_options)).await??;
            let url = managed.url().to_owned();
            let shown = format!("nats://{}", managed.address());
            (Some(managed), url, 1, shown)
        }
        Nats::External { url, replicas } => {
            let shown = open::without_credentials(&url);
            (None, url, replicas, shown)
        }
    };
    let open_options = open::Options {
        url,
        replicas,
        bytes_max: options.log_bytes_max,
    };
    let opened = tokio::select! {
        opened = Log::open(&open_options, Metrics::new()) => opened,
        // Nothing has begun that must end in order.
        () = stop.cancelled() => return Ok(()),
    };
    let (log, writers) = opened?;
    if let (Nats::Managed(nats), Policy::Keys) = (&options.nats, options.policy) {
        // Whoever may read the folder owns the log anyway.
        keys::make_first(&log, &nats.data_dir, seconds(clock())).await?;
    }
    let mut node = Node::new(log, &options)?;
    node.readers = managed.as_ref().map(ManagedNats::readers);
    let addresses = Addresses {
        grpc,
        http,
        nats: shown,
    };
    let listeners = Listeners {
        grpc: grpc_listener,
        http: http_listener,
    };
    let result = node
        .serve(listeners, writers, &options, || ready(&addresses), stop)
        .await;
    if let Some(managed) = managed {
        // Last: everything else has let go of it.
        spawn_blocking(move || managed.stop()).await?;
    }
    result
}

/// Bound sockets.
struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
}

fn bind(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listen = |source| ServeError::Listen {
        flag,
        address,
        source,
    };
    let listener = incoming::listen(address).map_err(listen)?;
    let local = listener.local_addr().map_err(listen)?;
    Ok((listener, local))
}

/// The parts of a running node.
struct Node {
    log: Log,
    gate: Gate,
    /// Of managed NATS.
    readers: Option<ReadersHandle>,
    hub: Hub,
    webhooks: Webhooks,
    ingest: Ingest,
    taxonomy: LiveTaxonomy,
    /// What the web side says of the node.
    phase: watch::Sender<Phase>,
    /// HTTP connections.
    web_connections: TaskTracker,
    /// Publishes under way.
    publishes: TaskTracker,
    /// Streams end.
    end_streams: CancellationToken,
    /// Services end.
    end_services: CancellationToken,
}

impl Node {
    fn new(log: Log, options: &Options) -> Result<Self, ServeError> {
        let publishes = TaskTracker::new();
        let end_streams = CancellationToken::new();
        let taxonomy = LiveTaxonomy::new(options.taxonomy.clone());
        let hub_options = hub::Options {
            taxonomy: taxonomy.clone(),
            ring_bytes_max: options.ring_bytes_max,
            patience: options.patience,
            drain: options.drain,
            clock,
            node: name(options.grpc_listen.port()),
        };
        let hub = Hub::new(log.clone(), hub_options, end_streams.clone());
        let ingest = Ingest::new(
            log.clone(),
            taxonomy.clone(),
            clock,
            end_streams.clone(),
            publishes.clone(),
        );
        let end_services = CancellationToken::new();
        let tokens = options.jwks.as_ref().map(|jwks| jwks.tokens().clone());
        let gate = Gate::new(options.policy, clock, tokens);
        let webhooks = Webhooks::new(webhooks::Parts {
            hub: hub.clone(),
            gate: gate.clone(),
            outbound: Outbound::new(options.calls).map_err(ServeError::Outbound)?,
            clock,
        });
        Ok(Self {
            gate,
            webhooks,
            readers: None,
            log,
            hub,
            ingest,
            taxonomy,
            phase: watch::Sender::new(Phase::Starting),
            web_connections: TaskTracker::new(),
            publishes,
            end_streams,
            end_services,
        })
    }

    async fn serve(
        self,
        listeners: Listeners,
        writers: Writers,
        options: &Options,
        ready: impl FnOnce(),
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let mut services = self.start_services(writers, options);
        let metrics = self.log.metrics().clone();
        let shared = incoming::Options::new(options.limits, options.tls.clone(), metrics);
        // From here on it can be asked whether the node is ready.
        let entrance = Entrance::new(Listener::Http, shared.clone());
        self.start_web((listeners.http, entrance), options, &mut services);
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            // A service that ends takes the node with it; nothing that it held is needed.
            ended = services.join_next() => Err(ended_early(ended)),
            // Begun anew only by a new process.
            result = self.get_ready() => result,
        };
        let result = if result.is_ok() && !stop.is_cancelled() {
            let entrance = Entrance::new(Listener::Grpc, shared);
            let grpc = (listeners.grpc, entrance);
            self.listen(grpc, &mut services, options.drain, ready, stop)
                .await
        } else {
            result
        };
        self.end_services.cancel();
        let all = async { while services.join_next().await.is_some() {} };
        if timeout(STOP_MARGIN, all).await.is_err() {
            tracing::warn!("some services did not end in time");
        }
        result
    }

    /// Serves until the stop, then drains: no new connections, streams end, publishes finish.
    async fn listen(
        &self,
        (listener, entrance): (TcpListener, Entrance),
        services: &mut Services,
        drain: Duration,
        ready: impl FnOnce(),
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        let routes = Routes::new(health_service)
            .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
            .add_service(
                reflection()
                    .build_v1alpha()
                    .map_err(ServeError::Reflection)?,
            )
            .add_service(PublisherServiceServer::new(Publisher::new(
                self.ingest.clone(),
            )))
            .add_service(ArticleServiceServer::new(Articles::new(self.hub.clone())))
            .add_service(WebhookServiceServer::new(self.webhooks.clone()))
            .add_service(RecipientServiceServer::new(self.recipients()))
            .add_service(DeskServiceServer::new(self.desk()));
        let (connections, end_connections) = (TaskTracker::new(), CancellationToken::new());
        let server = Grpc {
            entrance,
            subscriber: Subscriber::new(self.hub.clone()),
            routes,
            gate: self.gate.clone(),
            drain: self.end_streams.clone(),
            end: end_connections.clone(),
            connections: connections.clone(),
        };
        let mut server = pin!(server.run(listener));
        self.phase.send_replace(Phase::Serving);
        ready();
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = services.join_next() => Err(ended_early(ended)),
            () = &mut server => Err(ServeError::Ended("gRPC")),
            // Never ends by itself.
            () = self.run_health(&health) => Ok(()),
        };
        tracing::info!(?drain, "stopping");
        self.phase.send_replace(Phase::Draining);
        set_health(&health, ServingStatus::NotServing).await;
        self.publishes.close();
        self.web_connections.close();
        self.end_streams.cancel();
        let drained = async {
            if result.is_ok() {
                // Closes its listener.
                server.await;
            }
            connections.close();
            tokio::select! {
                () = connections.wait() => {}
                // Only clients that do not take their leave are left now.
                () = self.all_is_said(drain) => {
                    end_connections.cancel();
                    connections.wait().await;
                }
            }
            self.publishes.wait().await;
            // Their listener stays open until now: whoever asks must hear that the node drains.
            let web_ends = self.web_connections.wait();
            if timeout(drain + LAST_WORDS, web_ends).await.is_err() {
                tracing::debug!("some HTTP clients did not take their leave");
            }
        };
        if timeout(drain + STOP_MARGIN, drained).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        result
    }

    /// Waits until all streams have ended and all publishes are answered, for clients that listen.
    async fn all_is_said(&self, drain: Duration) {
        sleep(drain + LAST_WORDS).await;
        self.publishes.wait().await;
        sleep(LAST_WORDS).await;
    }

    fn recipients(&self) -> Recipients {
        let recalls = Recalls::new(self.hub.clone());
        Recipients::new(self.hub.clone(), recalls, self.webhooks.clone(), clock)
    }

    fn start_web(
        &self,
        (listener, entrance): (TcpListener, Entrance),
        options: &Options,
        services: &mut Services,
    ) {
        let web = Web::new(http::Parts {
            hub: self.hub.clone(),
            publisher: Publisher::new(self.ingest.clone()),
            desk: self.desk(),
            recipients: self.recipients(),
            clock,
            phase: self.phase.subscribe(),
            gate: self.gate.clone(),
            webhooks: self.webhooks.clone(),
            local_reads: options.local_reads,
            public_url: options.public_url.clone(),
        });
        let (drain, end) = (self.end_streams.clone(), self.end_services.clone());
        let connections = self.web_connections.clone();
        let (related, stop) = (web.related().clone(), end.clone());
        services.spawn(async move {
            related.run(stop).await;
            Ok("related")
        });
        let (board, log, stop) = (web.board().clone(), self.log.clone(), end.clone());
        services.spawn(async move {
            board.run(log, clock, stop).await;
            Ok("counting")
        });
        services.spawn(async move {
            web.run(listener, entrance, drain, end, connections).await;
            Ok("web")
        });
    }

    /// Waits until this node has read the log and knows every kill.
    async fn get_ready(&self) -> Result<(), ServeError> {
        let deadline = Instant::now() + READY_PATIENCE;
        let ready = async {
            while let Err(error) = self.log.confirm().await {
                tracing::debug!(%error, "not ready yet");
            }
            self.gate.ready().await?;
            patiently(deadline, || self.log.load_embargoes()).await?;
            patiently(deadline, || self.log.load_erasures()).await
        };
        match timeout(READY_PATIENCE, ready).await {
            Ok(erasures) => Ok(erasures.map(drop)?),
            Err(_) => Err(ReadError::Behind.into()),
        }
    }

    async fn run_health(&self, health: &HealthReporter) {
        let mut look = interval(HEALTH_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = None;
        loop {
            look.tick().await;
            let is_fresh = self.log.is_fresh();
            if shown != Some(is_fresh) {
                shown = Some(is_fresh);
                let status = if is_fresh {
                    ServingStatus::Serving
                } else {
                    ServingStatus::NotServing
                };
                set_health(health, status).await;
            }
        }
    }
}

/// How a node that listens there is called: by its machine, and its port for gRPC.
fn name(port: u16) -> String {
    let system = rustix::system::uname();
    format!("{}:{port}", system.nodename().to_string_lossy())
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
}

/// Tells every watcher of `grpc.health.v1` how the node is.
async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in [
        "",
        PublisherServiceServer::<Publisher>::NAME,
        Subscriber::NAME,
        ArticleServiceServer::<Articles>::NAME,
    ] {
        health.set_service_status(service, status).await;
    }
}

fn ended_early(ended: Option<Result<Result<&'static str, ServeError>, JoinError>>) -> ServeError {
    match ended {
        Some(Ok(Ok(name))) => ServeError::Ended(name),
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => error.into(),
        None => ServeError::Ended("all"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the node reads the clock"
)]
fn clock() -> SystemTime {
    SystemTime::now()
}
