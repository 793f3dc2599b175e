//! Telemetry: what is measured of a node, for Prometheus, and traced, for OpenTelemetry.
//!
//! Labels are enums of ours, so that their values are bounded by the code.

use std::{sync::Arc, time::Duration};

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
    core::{Collector, GenericGauge},
};

use crate::telemetry::{
    connections::Connections, recipients::Recipients, series::Sample, webhooks::Webhooks,
};

pub mod connections;
pub mod recipients;
pub mod series;
pub mod trace;
pub mod webhooks;

/// Seconds of a commit: a lone one takes some 3 ms, a batch under load some tens.
const COMMIT_BUCKETS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0,
];
/// Seconds by which an embargoed revision came after its time: 50 ms are promised on an idle node.
const LATE_BUCKETS: [f64; 11] = [
    0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0,
];
/// Seconds that a subscriber is behind.
const LAG_BUCKETS: [f64; 11] = [
    0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0,
];

/// How a subscriber takes the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, `Subscribe`.
    Grpc,
    /// HTTP, server-sent events.
    Sse,
    /// HTTP, called by us.
    Webhook,
}

impl Protocol {
    /// All of them, by [`Protocol::index`].
    pub const ALL: [Self; 3] = [Self::Grpc, Self::Sse, Self::Webhook];

    /// Its place in [`Protocol::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Grpc => 0,
            Self::Sse => 1,
            Self::Webhook => 2,
        }
    }

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Sse => "sse",
            Self::Webhook => "webhook",
        }
    }
}

/// What is counted of one protocol's subscribers.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Open streams.
    pub subscribers: IntGauge,
    /// Revisions handed to connections.
    pub deliveries: IntCounter,
    /// Bytes of their frames.
    pub bytes: IntCounter,
}

/// Handles on everything that is measured; clones share it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Handles>);

/// The handles themselves.
#[derive(Debug)]
pub struct Handles {
    registry: Registry,
    protocols: [Counts; 3],
    /// Connections of both listeners.
    pub connections: Connections,
    /// Webhooks that this node works.
    pub webhooks: Webhooks,
    /// Recipients that have a name.
    pub recipients: Recipients,
    /// Revisions that came from the log while the node served.
    pub revisions: IntCounter,
    /// Reads that the ring answered.
    pub ring_reads: IntCounter,
    /// Reads that had to go to the log, for a reader behind the ring.
    pub log_reads: IntCounter,
    /// Pages of history being read now.
    pub catch_ups_running: IntGauge,
    /// Pages of history that wait for their turn.
    pub catch_ups_waiting: IntGauge,
    /// How far subscribers are behind, each looked at now and then.
    pub lag_seconds: Histogram,
    /// From the first message of a batch to its acknowledgement.
    pub commit_seconds: Histogram,
    publishes: IntCounterVec,
    embargoes: IntGaugeVec,
    embargo_late_seconds: Histogram,
    clock_skew: GenericGauge<prometheus::core::AtomicF64>,
    /// Articles for which no topic was found.
    pub routed_to_general: IntCounter,
    nats_connected: IntGauge,
    nats_reconnects: IntCounter,
    log_position: IntGauge,
    confirmed_age: GenericGauge<prometheus::core::AtomicF64>,
}

/// The state of the log at the moment of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct LogState {
    /// Whether the connection to NATS is there.
    pub is_connected: bool,
    /// How often it came back.
    pub reconnect_count: u64,
    /// How far this node has read.
    pub position: u64,
    /// Seconds since it was proved to be up to date; infinite = never.
    pub confirmed_age_seconds: f64,
    /// Seconds since this node knew all recipients that have a name; infinite = never.
    pub recipients_age_seconds: f64,
}

impl std::ops::Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// New metrics, all zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let new = New(&registry);
        let catch_ups = new.gauges(
            "barid_catch_up_pages",
            "Pages of history for readers behind the ring, by state.",
            "state",
        );
        new.process();
        let handles = Handles {
            protocols: new.protocols(),
            connections: Connections::new(&new),
            webhooks: Webhooks::new(&new),
            recipients: Recipients::new(&new),
            revisions: new.counter(
                "barid_revisions_total",
                "Revisions that came from the log, of whatever node, while this one served.",
            ),
            ring_reads: new.counter("barid_ring_reads_total", "Reads that the ring answered."),
            log_reads: new.counter(
                "barid_catch_up_reads_total",
                "Reads by subscribers that are behind the ring.",
            ),
            catch_ups_running: catch_ups.with_label_values(&["running"]),
            catch_ups_waiting: catch_ups.with_label_values(&["waiting"]),
            lag_seconds: new.histogram(
                "barid_subscriber_lag_seconds",
                "How far each subscriber is behind, sampled every five seconds.",
                &LAG_BUCKETS,
            ),
            commit_seconds: new.histogram(
                "barid_commit_duration_seconds",
                "Duration of a group commit to the log.",
                &COMMIT_BUCKETS,
            ),
            publishes: new.counters(
                "barid_publishes_total",
                "Publish requests by how they ended.",
                "outcome",
            ),
            embargoes: new.embargoes(),
            embargo_late_seconds: new.embargo_late(),
            clock_skew: new.seconds(
                "barid_clock_skew_seconds",
                "By how much this node's clock is ahead of that of NATS; negative = behind.",
            ),
            routed_to_general: new.counter(
                "barid_routed_to_general_total",
                "New articles for which no topic was found.",
            ),
            nats_connected: new.gauge(
                "barid_nats_connected",
                "1 while the connection to NATS is there.",
            ),
            nats_reconnects: new.counter(
                "barid_nats_reconnects_total",
                "How often the connection to NATS came back.",
            ),
            log_position: new.gauge(
                "barid_log_position",
                "Sequence of the log up to which this node has read.",
            ),
            confirmed_age: new.seconds(
                "barid_log_confirmed_age_seconds",
                "Time since this node last proved that it has read to the log's end.",
            ),
            registry,
        };
        Self(Arc::new(handles))
    }

    /// What is counted of a protocol.
    pub fn of(&self, protocol: Protocol) -> &Counts {
        &self.0.protocols[protocol.index()]
    }

    /// Counts a publish request: `accepted`, `duplicate`, or the kind of its fault.
    pub fn published(&self, outcome: &'static str) {
        self.0.publishes.with_label_values(&[outcome]).inc();
    }

    /// How many drafts wait, by state.
    pub fn embargoes(&self, scheduled: usize, blocked: usize) {
        for (state, count) in [("scheduled", scheduled), ("blocked", blocked)] {
            let gauge = self.0.embargoes.with_label_values(&[state]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// An embargoed revision is in the log, so long after its time.
    pub fn released(&self, late: Duration) {
        self.0.embargo_late_seconds.observe(late.as_secs_f64());
    }

    /// This node's clock is off by so much.
    pub fn skew(&self, skew: Duration, is_behind: bool) {
        let seconds = skew.as_secs_f64();
        self.0
            .clock_skew
            .set(if is_behind { -seconds } else { seconds });
    }

    /// What has been counted so far, for the series; the time is in milliseconds from 1970.
    pub fn sample(&self, at_ms: i64) -> Sample {
        let deliveries = Protocol::ALL.map(|protocol| self.of(protocol).deliveries.get());
        Sample {
            at_ms,
            revisions: self.0.revisions.get(),
            deliveries: deliveries.iter().sum(),
            commits: self.0.commit_seconds.get_sample_count(),
            commit_seconds: self.0.commit_seconds.get_sample_sum(),
        }
    }

    /// Everything in Prometheus' text format 0.0.4.
    pub fn text(&self, log: LogState) -> Vec<u8> {
        let handles = &self.0;
        handles.nats_connected.set(log.is_connected.into());
        let known = handles.nats_reconnects.get();
        handles
            .nats_reconnects
            .inc_by(log.reconnect_count.saturating_sub(known));
        handles
            .log_position
            .set(log.position.try_into().unwrap_or(i64::MAX));
        handles.confirmed_age.set(log.confirmed_age_seconds);
        let recipients_age = &handles.recipients.confirmed_age;
        recipients_age.set(log.recipients_age_seconds);
        let mut text = Vec::new();
        let families = handles.registry.gather();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("writing to memory can't fail, and every family has a metric");
        text
    }
}

/// Makes metrics and registers them. Names and buckets are constants, so nothing of it can fail.
struct New<'a>(&'a Registry);

impl New<'_> {
    fn register<T: Collector + Clone + 'static>(&self, made: prometheus::Result<T>) -> T {
        let metric = made.expect("names, labels and buckets are good");
        self.0
            .register(Box::new(metric.clone()))
            .expect("each name is registered once");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn seconds(&self, name: &str, help: &str) -> prometheus::Gauge {
        self.register(prometheus::Gauge::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn embargoes(&self) -> IntGaugeVec {
        self.gauges(
            "barid_embargoes",
            "Drafts of articles under embargo, by state; blocked ones need the desk.",
            "state",
        )
    }

    fn embargo_late(&self) -> Histogram {
        self.histogram(
            "barid_embargo_late_seconds",
            "How long after its time this node had each embargoed revision in the log.",
            &LATE_BUCKETS,
        )
    }

    fn protocols(&self) -> [Counts; 3] {
        let label = "protocol";
        let subscribers = self.gauges("barid_subscribers", "Open subscriber streams.", label);
        let deliveries = self.counters(
            "barid_deliveries_total",
            "Revisions handed to subscribers' connections.",
            label,
        );
        let bytes = self.counters(
            "barid_delivery_bytes_total",
            "Bytes of the frames of these revisions.",
            label,
        );
        Protocol::ALL.map(|protocol| {
            let label = [protocol.as_str()];
            Counts {
                subscribers: subscribers.with_label_values(&label),
                deliveries: deliveries.with_label_values(&label),
                bytes: bytes.with_label_values(&label),
            }
        })
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options))
    }

    /// CPU, memory, descriptors and start time of the process, where the system tells.
    fn process(&self) {
        #[cfg(target_os = "linux")]
        self.0
            .register(Box::new(
                prometheus::process_collector::ProcessCollector::for_self(),
            ))
            .expect("each name is registered once");
    }
}
