//! Rounds: looks at where subscribers are, seen from outside.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{hub::Hub, places::Place},
    gate::holder::Holder,
    telemetry::Protocol,
};

/// Time between two looks at where subscribers are.
const ROUND: Duration = Duration::from_secs(5);

/// An open stream, seen from outside.
#[derive(Clone, Debug)]
pub struct OpenStream {
    /// Whose it is, if it needed a key.
    pub holder: Option<Arc<Holder>>,
    /// How it takes the wire.
    pub protocol: Protocol,
    /// The highest sequence that it has judged.
    pub at: u64,
    /// For how long the oldest revision that it has not judged has been there: a lower bound for one
    /// behind the ring.
    pub lag: Duration,
}

impl Hub {
    /// Looks now and then at where subscribers are, until `stop`: measures how far they are behind,
    /// and gives up those whose connections make no progress.
    pub async fn run_rounds(&self, clock: fn() -> SystemTime, stop: CancellationToken) {
        let mut round = interval(ROUND.min(self.patience() / 2));
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // A tick that is dropped comes again.
                _ = round.tick() => {}
            }
            let (now, time) = (Instant::now(), clock());
            for place in self.0.places.all() {
                self.stall_if_stuck(&place, now);
                let lag = self.lag(&place, now, time).as_secs_f64();
                self.0.log.metrics().lag_seconds.observe(lag);
            }
            self.0.history.sweep();
            self.0.groups.prune();
        }
    }

    /// All open streams.
    pub fn open_streams(&self, now: SystemTime) -> Vec<OpenStream> {
        let places = self.0.places.all();
        let streams = places.iter().map(|place| OpenStream {
            holder: place.holder().cloned(),
            protocol: place.protocol(),
            at: place.at(),
            lag: self.lag(place, Instant::now(), now),
        });
        streams.collect()
    }

    fn stall_if_stuck(&self, place: &Place, now: Instant) {
        let Some(sending_for) = place.sending_for(now) else {
            return;
        };
        // Webhooks have a patience of their own: theirs are tried for days.
        let is_webhook = place.protocol() == Protocol::Webhook;
        if sending_for >= self.patience() && !place.is_stalled() && !is_webhook {
            tracing::info!(
                at = place.at(),
                ?sending_for,
                "a subscriber made no progress"
            );
            place.stall();
        }
    }

    fn lag(&self, place: &Place, now: Instant, time: SystemTime) -> Duration {
        if place.sending_for(now).is_none() {
            return Duration::ZERO;
        }
        let ring = self.0.ring.read().expect("no panic under this lock");
        let first = ring.first_after(place.at());
        first.map_or(Duration::ZERO, |entry| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            let now_ns = since.map_or(0, |since| since.as_nanos());
            let behind = i128::try_from(now_ns).unwrap_or(0) - entry.stored.time_ns;
            Duration::from_nanos(u64::try_from(behind).unwrap_or(0))
        })
    }
}
