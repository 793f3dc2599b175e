//! The connection to a server, and its errors in words.

use std::{
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use clap::ValueHint;
use prost::Message as _;
use rand::RngExt as _;
use tokio_rustls::rustls::{self, AlertDescription};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use url::{Host, Url};

use crate::{
    access::key::{KeyError, Role, Secret},
    article::ArticleId,
    cli::{
        BadUse,
        printable::{paragraphs, printable},
    },
    config::value::{Output, Span},
    server::{
        keys,
        tls::{self, TlsError},
    },
    wire::proto::v1::{
        article_service_client::ArticleServiceClient, desk_service_client::DeskServiceClient,
        publisher_service_client::PublisherServiceClient,
        recipient_service_client::RecipientServiceClient,
        subscriber_service_client::SubscriberServiceClient,
        webhook_service_client::WebhookServiceClient,
    },
    wire::status,
};

/// Most bytes of one answer: a page ends at 3 MiB, but may hold one article more.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long an idle connection may be silent before it is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The data folder of a service that was started here.
const DATA_DIR: &str = "barid-data";

/// The wait before the first new try, at most.
const BACKOFF_MIN: Duration = Duration::from_millis(250);

/// What servers have against a client's certificate (RFC 8446 section 6.2), and what to do.
const MISTRUST: [(AlertDescription, &str); 7] = [
    (
        AlertDescription::CertificateExpired,
        "its certificate is over or not good yet; --client-certificate names the next one",
    ),
    (
        AlertDescription::UnknownCA,
        "no authority that the server knows vouches for its certificate; --client-certificate names \
         another, or has those between it and its authority, too",
    ),
    (AlertDescription::BadCertificate, NOT_GOOD),
    (AlertDescription::UnsupportedCertificate, NOT_GOOD),
    (AlertDescription::CertificateRevoked, NOT_GOOD),
    (AlertDescription::CertificateUnknown, NOT_GOOD),
    (
        AlertDescription::CertificateRequired,
        "it must show a certificate; --client-certificate and --client-key name it",
    ),
];
const NOT_GOOD: &str = "its certificate is not good for this; --client-certificate names another";

/// Calls by which a client tries to hear what a server has against its certificate.
const PROOFS_MAX: usize = 10;
/// What to make of connections that break as soon as a certificate was shown.
const UNTAKEN: &str = "each connection broke at its first call, as it does when a server refuses a \
                       client's certificate: it is over, or no authority that the server knows \
                       vouches for it; --client-certificate names another";

/// What all client commands take.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Server and output")]
pub struct ClientArgs {
    /// The server to talk to
    #[arg(long, env = "BARID_SERVER", default_value = "http://127.0.0.1:50051")]
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub server: String,
    /// A file with the key to show, or a folder with one for each role [default: ./barid-data/keys
    /// if it is there and the server is on this machine]
    #[arg(long, env = "BARID_KEY_FILE", value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub key_file: Option<PathBuf>,
    /// The authority of an https:// server's certificate, PEM [default: those that this system
    /// trusts]
    #[arg(long, env = "BARID_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// A certificate, PEM, that stands for a key at an https:// server; only a --key-file is shown
    /// beside it, and counts instead
    #[arg(long, env = "BARID_CLIENT_CERTIFICATE", value_name = "FILE")]
    #[arg(requires = "client_key", value_hint = ValueHint::FilePath)]
    pub client_certificate: Option<PathBuf>,
    /// The private key of --client-certificate, PEM
    #[arg(long, env = "BARID_CLIENT_KEY", value_name = "FILE")]
    #[arg(requires = "client_certificate", value_hint = ValueHint::FilePath)]
    pub client_key: Option<PathBuf>,
    /// Text for people, or one JSON object per line
    #[arg(
        long,
        env = "BARID_OUTPUT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub output: Output,
    /// How long to wait for an answer
    #[arg(
        long,
        env = "BARID_TIMEOUT",
        default_value = "30s",
        value_name = "DURATION"
    )]
    pub timeout: Span,
}

impl ClientArgs {
    /// The files of a certificate and its key; whoever gives one gives both.
    fn identity(&self) -> Option<(&Path, &Path)> {
        let (certificate, key) = (
            self.client_certificate.as_deref(),
            self.client_key.as_deref(),
        );
        certificate.zip(key)
    }
}

/// A connection to a server.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    timeout: Duration,
    /// What its calls show.
    authorization: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Connects, with a key of a role.
    ///
    /// # Errors
    /// The address or the key file is none ([`BadUse`]), or nobody answers there.
    pub async fn connect(args: &ClientArgs, role: Role) -> anyhow::Result<Self> {
        let authorization = authorization(args, role)?;
        let server = &args.server;
        let connected = endpoint(args)?.connect().await;
        let channel = connected.map_err(|error| match distrust(&error) {
            Some(why) => anyhow!("{server}: {why}"),
            None => anyhow::Error::from(error).context(format!(
                "no server answers at {server}; is `barid serve` running? --server names another"
            )),
        })?;
        let client = Self {
            channel,
            timeout: args.timeout.0,
            authorization,
        };
        client.check_identity(args).await?;
        Ok(client)
    }

    /// That the server takes the certificate that this client shows, if it shows one and the server is
    /// there. With TLS 1.3 a client is done before the server has looked at it, and whatever is called
    /// then breaks, often without the reason: the next call may hear it.
    ///
    /// # Errors
    /// It does not.
    pub async fn check_identity(&self, args: &ClientArgs) -> anyhow::Result<()> {
        if args.identity().is_none() || !is_tls(&args.server) {
            return Ok(());
        }
        for _ in 0..PROOFS_MAX {
            // Everybody may ask that.
            let request = self.request(HealthCheckRequest::default());
            let Err(status) = self.health().check(request).await else {
                return Ok(());
            };
            if let Some(why) = distrust(&status) {
                bail!("{}: {why}", args.server);
            }
            let is_broken = matches!(
                status.code(),
                Code::Unknown | Code::Cancelled | Code::Internal
            );
            if !is_broken || status::reason(&status).is_some() {
                return Ok(());
            }
        }
        bail!("{}: {UNTAKEN}", args.server);
    }

    /// A client that connects with its first call, and again with each after a loss.
    ///
    /// # Errors
    /// The address or the key file is none ([`BadUse`]).
    pub fn lazy(args: &ClientArgs, role: Role) -> anyhow::Result<Self> {
        Ok(Self {
            channel: endpoint(args)?.connect_lazy(),
            timeout: args.timeout.0,
            authorization: authorization(args, role)?,
        })
    }

    /// A message to send with the deadline that was asked for.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.endless(message);
        request.set_timeout(self.timeout);
        request
    }

    /// A message to send without a deadline.
    pub fn endless<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        request
    }

    /// Where news is handed in.
    pub fn publisher(&self) -> PublisherServiceClient<Channel> {
        PublisherServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Where news is taken.
    pub fn subscriber(&self) -> SubscriberServiceClient<Channel> {
        SubscriberServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Where single stories are read.
    pub fn articles(&self) -> ArticleServiceClient<Channel> {
        ArticleServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Recipients that have a name.
    pub fn recipients(&self) -> RecipientServiceClient<Channel> {
        RecipientServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Whether the node serves.
    pub fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }

    /// Webhooks.
    pub fn webhooks(&self) -> WebhookServiceClient<Channel> {
        WebhookServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Administration.
    pub fn desk(&self) -> DeskServiceClient<Channel> {
        DeskServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

/// What shows the key of a role, if there is one.
fn authorization(args: &ClientArgs, role: Role) -> anyhow::Result<Option<MetadataValue<Ascii>>> {
    let named = match &args.key_file {
        Some(path) if path.is_dir() => Some(path.join(role.as_str())),
        Some(path) => Some(path.clone()),
        // It would count, and the certificate would not.
        None if args.identity().is_some() && is_tls(&args.server) => None,
        // Of the log on this machine, which no other server is shown.
        None => Some(keys::file(Path::new(DATA_DIR), role))
            .filter(|path| is_local(&args.server) && path.is_file()),
    };
    let Some(path) = named else {
        return Ok(None);
    };
    let shown = path.display();
    let text = fs::read_to_string(&path)
        .map_err(|error| BadUse(format!("can't read the key in {shown}: {error}")))?;
    let secret: Secret = text
        .trim()
        .parse()
        .map_err(|error: KeyError| BadUse(format!("{shown} holds no key: {error}")))?;
    let value = format!("Bearer {}", secret.reveal()).parse();
    let mut value: MetadataValue<Ascii> = value.context("the key")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn is_tls(server: &str) -> bool {
    Url::parse(server).is_ok_and(|url| url.scheme() == "https")
}

fn is_local(server: &str) -> bool {
    let url = Url::parse(server).ok();
    url.is_some_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}

fn endpoint(args: &ClientArgs) -> anyhow::Result<Endpoint> {
    let server = &args.server;
    let endpoint = Endpoint::from_shared(server.clone())
        .ok()
        .filter(|endpoint| matches!(endpoint.uri().scheme_str(), Some("http" | "https")))
        .ok_or_else(|| {
            let example = "http://127.0.0.1:50051 or https://news.example:50051";
            BadUse(format!(
                "--server {server:?} is not an address such as {example}"
            ))
        })?;
    let config = tls_config(args)?;
    // In the environment the files may be for another server than this one.
    let endpoint = if is_tls(server) {
        endpoint.tls_config(config).context("TLS")?
    } else {
        endpoint
    };
    endpoint
        .connect_timeout(args.timeout.0)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .user_agent(concat!("barid/", env!("CARGO_PKG_VERSION")))
        .context("the user agent")
}

/// Whom a client believes over TLS, and what it proves itself by.
fn tls_config(args: &ClientArgs) -> Result<ClientTlsConfig, BadUse> {
    let config = ClientTlsConfig::new();
    let config = match &args.ca {
        Some(ca) => {
            let bad = |error: TlsError| BadUse(format!("--ca: {error}"));
            let pem = tls::bytes(ca, tls::Role::ServerAuthorities).map_err(bad)?;
            tls::certificates(ca, tls::Role::ServerAuthorities, &pem).map_err(bad)?;
            config.ca_certificate(Certificate::from_pem(pem))
        }
        None => config.with_native_roots(),
    };
    let Some((certificate, key)) = args.identity() else {
        return Ok(config);
    };
    let bad = |error| BadUse(format!("--client-certificate, --client-key: {error}"));
    let (certificate, key) = tls::identity(certificate, key).map_err(bad)?;
    Ok(config.identity(Identity::from_pem(certificate, key)))
}

/// Why one side's certificate is not believed by the other, if that is what is wrong.
fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        // What it wraps is not its source.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let found = wrapped
            .and_then(|error| error.downcast_ref())
            .or_else(|| error.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(why)) = found {
            return Some(format!(
                "the server's certificate is not to be trusted: {why}; --ca names its authority, \
                 --server the name that it is for"
            ));
        }
        if let Some(why) = mistrust(error) {
            return Some(format!("the server does not take this client: {why}"));
        }
        next = error.source();
    }
    None
}

/// What a server has against a client's certificate, if this is its alert about that.
fn mistrust(error: &(dyn Error + 'static)) -> Option<&'static str> {
    // HTTP/2 keeps no more of what broke its connection than the words.
    let words = error.to_string();
    let is_it = |alert| rustls::Error::AlertReceived(alert).to_string() == words;
    let found = MISTRUST.into_iter().find(|(alert, _)| is_it(*alert));
    found.map(|(_, why)| why)
}

/// The wait before the next try: it doubles with each, up to `longest`, and is jittered over its
/// upper half, so that all who lost one server do not come back at once.
pub fn backoff(failed_count: u32, longest: Duration) -> Duration {
    let factor = 2_u32.saturating_pow(failed_count);
    let wait = BACKOFF_MIN.saturating_mul(factor).min(longest);
    wait.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// A call that the server refused, or that did not reach it.
#[derive(Debug)]
pub struct CallError(Box<Status>);

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

impl From<tonic_types::Status> for CallError {
    fn from(status: tonic_types::Status) -> Self {
        let details = status.encode_to_vec().into();
        Status::with_details(Code::from(status.code), status.message, details).into()
    }
}

impl CallError {
    /// Whether what the user gave is at fault.
    pub fn is_bad_use(&self) -> bool {
        self.0.code() == Code::InvalidArgument
    }

    /// Whether the server, or the way to it, was lost, so that the same call may succeed later.
    pub fn is_lost(&self) -> bool {
        match self.0.code() {
            // It will not be believed the next time, either.
            _ if distrust(&*self.0).is_some() => false,
            Code::Unavailable => true,
            // tonic's words for a connection that broke; the server's own errors give a reason.
            Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded => {
                status::reason(&self.0).is_none()
            }
            _ => false,
        }
    }

    /// How long the server asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        status::retry_after(&self.0)
    }

    /// The stable reason, `TOPIC_UNKNOWN`, or else the gRPC code.
    pub fn reason(&self) -> String {
        status::reason(&self.0).unwrap_or_else(|| format!("{:?}", self.0.code()))
    }

    /// How a connection was lost, in a few words: the server's reason, if it gave one.
    pub fn loss(&self) -> String {
        let reason = status::reason(&self.0).map(|reason| printable(&reason));
        reason.unwrap_or_else(|| "the connection broke".to_owned())
    }

    /// A fact that the server gave for programs, by its key.
    pub fn fact(&self, key: &str) -> Option<String> {
        let info = self.0.get_details_error_info()?;
        info.metadata.get(key).map(|fact| printable(fact))
    }

    /// The fields at fault, with what is wrong.
    pub fn violations(&self) -> Vec<(String, String)> {
        let bad_request = self.0.get_details_bad_request();
        bad_request.map_or_else(Vec::new, |bad_request| {
            (bad_request.field_violations.into_iter())
                .map(|violation| (violation.field, violation.description))
                .collect()
        })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", printable(&self.reason()), self.words())
    }
}

impl CallError {
    /// What the server says, with its details, without the reason.
    pub fn words(&self) -> String {
        let mut text = distrust(&*self.0).unwrap_or_else(|| self.0.message().to_owned());
        let violations = self.violations();
        match violations.as_slice() {
            [] => {}
            // The message already is that of the one field.
            [(_, description)] if self.0.message().contains(description) => {}
            [..] => {
                for (field, description) in violations {
                    text.push_str(&format!("\n  {field}: {description}"));
                }
            }
        }
        if let Some(info) = self.0.get_details_error_info() {
            let mut facts: Vec<(String, String)> = info.metadata.into_iter().collect();
            facts.sort();
            for (key, value) in facts {
                // Mostly for programs; people have read it in the message.
                if text.contains(&value) {
                    continue;
                }
                text.push_str(&format!("\n  {key}: {value}"));
            }
        }
        if self.0.code() == Code::Unauthenticated {
            text.push_str("\n  --key-file, or BARID_KEY_FILE, names the file of a key");
        }
        if let Some(after) = self.retry_after() {
            let after = humantime::format_duration(after);
            text.push_str(&format!("\n  try again in {after}"));
        }
        paragraphs(&text)
    }
}

impl Error for CallError {}

/// The article that an id or a uri names.
///
/// # Errors
/// [`BadUse`] if it is neither.
pub fn article_id(text: &str) -> Result<ArticleId, BadUse> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) if text.contains(':') => Ok(ArticleId::from_uri(text)),
        Err(error) => Err(BadUse(format!(
            "{text:?} is neither an article's uri nor its id: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits double, stay bounded, and differ from each other.
    #[test]
    fn waits() {
        let longest = Duration::from_secs(10);
        for (failed_count, most) in [(0, BACKOFF_MIN), (2, BACKOFF_MIN * 4), (u32::MAX, longest)] {
            let waits: Vec<Duration> = (0..20).map(|_| backoff(failed_count, longest)).collect();
            assert!(
                waits.iter().all(|wait| (most / 2..=most).contains(wait)),
                "{waits:?}"
            );
            assert!(waits.iter().any(|wait| wait != &waits[0]));
        }
    }
}
