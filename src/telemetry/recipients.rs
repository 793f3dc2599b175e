//! What is measured of recipients that have a name.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use crate::telemetry::{COMMIT_BUCKETS, New};

/// Handles on what is measured of them.
#[derive(Debug)]
pub struct Recipients {
    /// Durable subscriptions.
    pub subscriptions: IntGauge,
    /// Acknowledgements that were stored.
    pub acknowledgements: IntCounter,
    /// From the first entry of a batch of subscriptions to its acknowledgement by NATS.
    pub commit_seconds: Histogram,
    /// Subscriptions that another stream took over.
    pub take_overs: IntCounter,
    /// Recalls that somebody has not acknowledged.
    pub open_recalls: IntGauge,
    pub(super) confirmed_age: Gauge,
}

impl Recipients {
    pub(super) fn new(new: &New<'_>) -> Self {
        Self {
            subscriptions: new.gauge(
                "barid_subscriptions",
                "Durable subscriptions that the log keeps the place of.",
            ),
            acknowledgements: new.counter(
                "barid_acknowledgements_total",
                "Acknowledgements of durable subscriptions that this node stored.",
            ),
            commit_seconds: new.histogram(
                "barid_subscription_commit_duration_seconds",
                "Duration of writing the durable subscriptions that waited at a time.",
                &COMMIT_BUCKETS,
            ),
            take_overs: new.counter(
                "barid_subscription_openings_total",
                "Streams on this node that took up a durable subscription that was there.",
            ),
            open_recalls: new.gauge(
                "barid_recalls_open",
                "Corrections, withholdings and kills, among the newest 1,024 stories with one, that \
                 some durable subscription or webhook is to get and has not acknowledged or taken.",
            ),
            confirmed_age: new.seconds(
                "barid_recipients_confirmed_age_seconds",
                "Time since this node last proved that it knows all durable subscriptions and webhooks; \
                 while it is more than a second recall waits, and durable streams may.",
            ),
        }
    }
}
