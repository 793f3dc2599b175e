//! What is measured of webhooks, on the node that works them.

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::telemetry::New;

/// Seconds of a call: 15 are its bound.
const CALL_BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Taken,
    /// It is made again later.
    Again,
    /// Its revision was put aside.
    Parked,
    /// Its receiver wants no more.
    Gone,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Taken, Self::Again, Self::Parked, Self::Gone];

    fn index(self) -> usize {
        match self {
            Self::Taken => 0,
            Self::Again => 1,
            Self::Parked => 2,
            Self::Gone => 3,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Again => "again",
            Self::Parked => "parked",
            Self::Gone => "gone",
        }
    }
}

/// Handles on it.
#[derive(Debug)]
pub struct Webhooks {
    calls: [IntCounter; 4],
    /// From the lookup to the answer's end.
    pub seconds: Histogram,
    well: IntGauge,
    failing: IntGauge,
    parked_news: IntGauge,
    parked_recalls: IntGauge,
}

impl Webhooks {
    pub(super) fn new(new: &New<'_>) -> Self {
        let calls = new.counters(
            "barid_webhook_calls_total",
            "Calls of webhooks by what they came to.",
            "outcome",
        );
        let webhooks = new.gauges(
            "barid_webhooks",
            "Webhooks that this node works, by whether what comes next has failed.",
            "state",
        );
        let parked = new.gauges(
            "barid_webhook_parked",
            "Revisions that receivers refuse for good, by kind; a recall is for somebody to act on.",
            "kind",
        );
        Self {
            calls: Outcome::ALL.map(|outcome| calls.with_label_values(&[outcome.as_str()])),
            seconds: new.histogram(
                "barid_webhook_call_duration_seconds",
                "Duration of a call of a webhook.",
                &CALL_BUCKETS,
            ),
            well: webhooks.with_label_values(&["well"]),
            failing: webhooks.with_label_values(&["failing"]),
            parked_news: parked.with_label_values(&["news"]),
            parked_recalls: parked.with_label_values(&["recall"]),
        }
    }

    /// Counts a call.
    pub fn judged(&self, outcome: Outcome) {
        self.calls[outcome.index()].inc();
    }

    /// How many are worked here, and how many of them fail.
    pub fn count(&self, all: i64, failing: i64) {
        self.well.set(all - failing);
        self.failing.set(failing);
    }

    /// How much is parked of those that are worked here.
    pub fn park(&self, news: i64, recalls: i64) {
        self.parked_news.set(news);
        self.parked_recalls.set(recalls);
    }
}
