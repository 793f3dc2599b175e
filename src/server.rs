//! Bind, assemble, supervise, drain.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    time::{Duration, SystemTime},
};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{server::NamedService as _, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    delivery::{
        articles::Articles,
        grpc::Subscriber,
        hub::{self, Hub},
    },
    desk::Desk,
    ingest::{Ingest, grpc::Publisher},
    routing::taxonomy::{LiveTaxonomy, Taxonomy},
    server::{
        http::{Phase, Web},
        nats::ManagedNats,
        reload::Reload,
    },
    telemetry::Metrics,
    wire::{
        log::{Log, ReadError, batch::Writer, open},
        proto::v1::{
            DESCRIPTORS, article_service_server::ArticleServiceServer,
            desk_service_server::DeskServiceServer,
            publisher_service_server::PublisherServiceServer,
        },
    },
};

pub mod grpc;
pub mod http;
pub mod incoming;
pub mod nats;
pub mod reload;

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
    let (grpc_listener, grpc) = bind(options.grpc_listen, "--grpc-listen").await?;
    let (http_listener, http) = bind(options.http_listen, "--http-listen").await?;

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
    let (log, writer) = opened?;
    let node = Node::new(log, &options);
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
        .serve(listeners, writer, &options, || ready(&addresses), stop)
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

async fn bind(
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listen = |source| ServeError::Listen {
        flag,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let local = listener.local_addr().map_err(listen)?;
    Ok((listener, local))
}

/// The parts of a running node.
struct Node {
    log: Log,
    hub: Hub,
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
    fn new(log: Log, options: &Options) -> Self {
        let publishes = TaskTracker::new();
        let end_streams = CancellationToken::new();
        let taxonomy = LiveTaxonomy::new(options.taxonomy.clone());
        let hub_options = hub::Options {
            taxonomy: taxonomy.clone(),
            ring_bytes_max: options.ring_bytes_max,
            patience: options.patience,
            drain: options.drain,
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
        Self {
            log,
            hub,
            ingest,
            taxonomy,
            phase: watch::Sender::new(Phase::Starting),
            web_connections: TaskTracker::new(),
            publishes,
            end_streams,
            end_services,
        }
    }

    async fn serve(
        self,
        listeners: Listeners,
        writer: Writer,
        options: &Options,
        ready: impl FnOnce(),
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let mut services = self.start_services(writer, options);
        // From here on it can be asked whether the node is ready.
        self.start_web(listeners.http, &mut services);
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            // A service that ends takes the node with it; nothing that it held is needed.
            ended = services.join_next() => Err(ended_early(ended)),
            // Begun anew only by a new process.
            result = self.get_ready() => result,
        };
        let result = if result.is_ok() && !stop.is_cancelled() {
            self.listen(listeners.grpc, &mut services, options.drain, ready, stop)
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
        listener: TcpListener,
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
            .add_service(Subscriber::new(self.hub.clone()))
            .add_service(ArticleServiceServer::new(Articles::new(self.hub.clone())))
            .add_service(DeskServiceServer::new(Desk::new(self.taxonomy.clone())));
        let (connections, end_connections) = (TaskTracker::new(), CancellationToken::new());
        let server = grpc::run(
            listener,
            routes,
            self.end_streams.clone(),
            end_connections.clone(),
            connections.clone(),
        );
        let mut server = pin!(server);
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

    fn start_web(&self, listener: TcpListener, services: &mut Services) {
        let web = Web::new(self.hub.clone(), clock, self.phase.subscribe());
        let (drain, end) = (self.end_streams.clone(), self.end_services.clone());
        let connections = self.web_connections.clone();
        let (related, stop) = (web.related().clone(), end.clone());
        services.spawn(async move {
            related.run(stop).await;
            Ok("related")
        });
        services.spawn(async move {
            web.run(listener, drain, end, connections).await;
            Ok("web")
        });
    }

    fn start_services(&self, writer: Writer, options: &Options) -> Services {
        let mut services = Services::new();
        let stop = &self.end_services;
        let (hub, end) = (self.hub.clone(), stop.clone());
        services.spawn(async move { Ok(hub.run(end).await.map(|()| "hub")?) });
        let (hub, end) = (self.hub.clone(), stop.clone());
        services.spawn(async move {
            hub.run_usher(end).await;
            Ok("usher")
        });
        let (hub, end) = (self.hub.clone(), stop.clone());
        services.spawn(async move {
            hub.run_rounds(clock, end).await;
            Ok("rounds")
        });
        let end = stop.clone();
        services.spawn(async move {
            writer.run(end).await;
            Ok("writer")
        });
        let (log, end) = (self.log.clone(), stop.clone());
        services.spawn(async move {
            log.run_pulse(end).await;
            Ok("pulse")
        });
        let (log, hub, end) = (self.log.clone(), self.hub.clone(), stop.clone());
        services.spawn(async move {
            log.run_eraser(|| hub.ring_first(), end).await;
            Ok("eraser")
        });
        let (log, end) = (self.log.clone(), stop.clone());
        services.spawn(async move {
            // Beside the start, which it must not delay: a server that is away answers late.
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                // A question that is dropped only tells nobody.
                () = log.warn_of_servers() => end.cancelled().await,
            }
            Ok("servers")
        });
        if let Some(keep) = options.retain {
            let (log, end) = (self.log.clone(), stop.clone());
            services.spawn(async move {
                log.run_sweeper(keep, clock, end).await;
                Ok("sweeper")
            });
        }
        if let Some(file) = options.taxonomy_file.clone() {
            let reload = Reload::new(file, self.taxonomy.clone());
            let end = stop.clone();
            services.spawn(async move {
                reload.run(end).await;
                Ok("taxonomy")
            });
        }
        services
    }

    /// Waits until this node has read the log and knows every kill.
    async fn get_ready(&self) -> Result<(), ServeError> {
        let ready = async {
            while let Err(error) = self.log.confirm().await {
                tracing::debug!(%error, "not ready yet");
            }
            self.log.load_erasures().await
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
