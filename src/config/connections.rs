//! Settings of connections: TLS, and what clients are held to.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    config::{Picker, Settings, problem::Problem},
    wire::outbound,
};

/// Connections of one address.
const PER_ADDRESS_MAX: u32 = 256;
/// New connections of one address a second.
const RATE_PER_ADDRESS: u32 = 20;
/// For TLS and the first head.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// For a connection without a request.
const IDLE_AFTER: Duration = Duration::from_secs(300);
/// Least of either time.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Most of either time.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What connections are set up by and held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// None = no TLS.
    pub tls: Option<TlsFiles>,
    /// Most of them, at least 1; none = as many as open files allow.
    pub max: Option<u32>,
    /// Most of one address, at least 1; 256.
    pub per_address_max: u32,
    /// New ones of one address a second, at least 1; 20.
    pub rate_per_address: u32,
    /// How long TLS and the first request's head may take, 100 ms to a day; 10 s.
    pub begin_within: Duration,
    /// After how long without a request one is closed, 100 ms to a day; 5 minutes.
    pub idle_after: Duration,
}

/// The files of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of clients; none = clients are not asked.
    pub client_ca: Option<PathBuf>,
}

/// Which dangers are accepted by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dangers {
    /// Listening beyond this machine without TLS.
    pub(super) without_tls: bool,
}

impl Picker {
    pub(super) fn connections(&mut self) -> Connections {
        let path = |path: &PathBuf| path.display().to_string();
        let cert = self.optional("tls_cert", |layer| layer.tls_cert.clone(), path);
        let key = self.optional("tls_key", |layer| layer.tls_key.clone(), path);
        let client_ca = self.optional("tls_client_ca", |layer| layer.tls_client_ca.clone(), path);
        // One without the other is a problem, which is told of by what is shown.
        let tls = cert.zip(key).map(|(cert, key)| TlsFiles {
            cert,
            key,
            client_ca,
        });
        Connections {
            tls,
            max: self.optional(
                "connections_max",
                |layer| layer.connections_max,
                u32::to_string,
            ),
            per_address_max: self.or(
                "connections_per_address_max",
                |layer| layer.connections_per_address_max,
                u32::to_string,
                PER_ADDRESS_MAX,
            ),
            rate_per_address: self.or(
                "connection_rate_per_address",
                |layer| layer.connection_rate_per_address,
                u32::to_string,
                RATE_PER_ADDRESS,
            ),
            begin_within: self.span("begin_timeout", |layer| layer.begin_timeout, BEGIN_WITHIN),
            idle_after: self.span("idle_timeout", |layer| layer.idle_timeout, IDLE_AFTER),
        }
    }

    pub(super) fn dangers(&mut self) -> Dangers {
        Dangers {
            without_tls: self.yes("danger_listen_without_tls", |layer| {
                layer.danger_listen_without_tls
            }),
        }
    }
}

impl Picker {
    pub(super) fn calls(&mut self) -> outbound::Dangers {
        outbound::Dangers {
            http: self.yes("danger_call_without_tls", |layer| {
                layer.danger_call_without_tls
            }),
            internal: self.yes("danger_call_internal_addresses", |layer| {
                layer.danger_call_internal_addresses
            }),
        }
    }
}

impl Settings {
    /// Each rule for one setting.
    pub(super) fn check_connections(&self, problems: &mut Vec<Problem>) {
        let connections = &self.serve.connections;
        let counts = [
            ("connections_max", connections.max),
            (
                "connections_per_address_max",
                Some(connections.per_address_max),
            ),
            (
                "connection_rate_per_address",
                Some(connections.rate_per_address),
            ),
        ];
        for (key, _) in counts.into_iter().filter(|(_, count)| *count == Some(0)) {
            let message = "0 would let nobody in; the least is 1".to_owned();
            problems.push(self.rule(key, message));
        }
        let times = [
            ("begin_timeout", connections.begin_within),
            ("idle_timeout", connections.idle_after),
        ];
        for (key, time) in times {
            if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&time) {
                let shown = humantime::format_duration(time);
                problems.push(self.rule(key, format!("{shown} is not 100ms to 1d")));
            }
        }
    }

    /// A certificate goes with a key, and authorities of clients with both.
    pub(super) fn check_tls(&self, problems: &mut Vec<Problem>) {
        let is_given = |key: &str| {
            self.shown
                .iter()
                .any(|shown| shown.key == key && !shown.value.is_empty())
        };
        let (cert, key) = (is_given("tls_cert"), is_given("tls_key"));
        if cert && !key {
            let message = "needs its private key; name it with --tls-key";
            problems.push(self.rule("tls_cert", message.to_owned()));
        }
        if key && !cert {
            let message = "needs its certificate; name it with --tls-cert";
            problems.push(self.rule("tls_key", message.to_owned()));
        }
        if is_given("tls_client_ca") && !cert && !key {
            let message = "needs TLS; name a certificate with --tls-cert and --tls-key";
            problems.push(self.rule("tls_client_ca", message.to_owned()));
        }
    }

    /// Whoever listens beyond this machine has TLS and authentication, or knows the danger by name.
    pub(super) fn check_public(
        &self,
        listeners: [(&'static str, SocketAddr); 2],
        dangers: Dangers,
        problems: &mut Vec<Problem>,
    ) {
        let has_tls = self.serve.connections.tls.is_some();
        for (key, address) in listeners {
            if address.ip().is_loopback() {
                continue;
            }
            if !has_tls && !dangers.without_tls {
                let message = format!(
                    "{address} can be reached from other machines, and without TLS whoever is on the \
                     way reads and changes what passes; give --tls-cert and --tls-key, listen on \
                     127.0.0.1 behind a proxy that has TLS, or accept it with \
                     --danger-listen-without-tls"
                );
                problems.push(self.rule(key, message));
            }
        }
    }
}
