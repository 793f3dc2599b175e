//! What is measured of connections.

use prometheus::{IntCounter, IntGauge};

use crate::telemetry::New;

/// Which of a node's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// gRPC.
    Grpc,
    /// HTTP.
    Http,
}

/// Why the node takes no connection, or ends one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// There are as many as the node takes.
    Full,
    /// There are as many as one address may have.
    Address,
    /// One address opens them too fast.
    Rate,
    /// TLS can't be agreed on, or one side speaks it alone.
    Tls,
    /// The client does not begin within its time.
    Slow,
    /// The client has asked for nothing in a long time.
    Idle,
    /// The client breaks HTTP/2's bounds, as with a flood of resets.
    Flood,
}

impl Listener {
    const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

impl Cut {
    /// All of them, by [`Cut::index`].
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::Address,
        Self::Rate,
        Self::Tls,
        Self::Slow,
        Self::Idle,
        Self::Flood,
    ];

    /// Its place in [`Cut::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Full => 0,
            Self::Address => 1,
            Self::Rate => 2,
            Self::Tls => 3,
            Self::Slow => 4,
            Self::Idle => 5,
            Self::Flood => 6,
        }
    }

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::Tls => "tls",
            Self::Slow => "slow",
            Self::Idle => "idle",
            Self::Flood => "flood",
        }
    }
}

/// Handles on what is measured of connections.
#[derive(Debug)]
pub struct Connections {
    open: [IntGauge; 2],
    cut: [IntCounter; 7],
}

impl Connections {
    pub(super) fn new(new: &New<'_>) -> Self {
        let open = new.gauges("barid_connections", "Open connections.", "listener");
        let cut = new.counters(
            "barid_connections_cut_total",
            "Connections that the node did not take, or ended, by reason.",
            "reason",
        );
        Self {
            open: Listener::ALL.map(|listener| open.with_label_values(&[listener.as_str()])),
            cut: Cut::ALL.map(|reason| cut.with_label_values(&[reason.as_str()])),
        }
    }

    /// The open ones of a listener.
    pub fn open(&self, listener: Listener) -> &IntGauge {
        match listener {
            Listener::Grpc => &self.open[0],
            Listener::Http => &self.open[1],
        }
    }

    /// Those that were cut for a reason.
    pub fn cut(&self, reason: Cut) -> &IntCounter {
        &self.cut[reason.index()]
    }
}
