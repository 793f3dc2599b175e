//! Places: where every open subscription is, seen from outside: how far it is behind, and whether
//! its connection makes any progress.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{delivery::subscription::Way, gate::holder::Holder, telemetry::Protocol};

/// Where one subscription is. The subscription alone writes it.
#[derive(Debug)]
pub struct Place {
    begun: Instant,
    /// The highest sequence judged.
    at: AtomicU64,
    /// Since when its connection has had something to send and not come back for more, in
    /// milliseconds from `begun` and at least 1; 0 = it waits for us.
    sending_since: AtomicU64,
    is_stalled: AtomicBool,
    holder: Option<Arc<Holder>>,
    protocol: Protocol,
    /// Ends its connection, where that carries nothing else.
    connection: Option<CancellationToken>,
}

impl Place {
    /// The place of a new subscription that goes this way.
    pub fn new(at: u64, way: &Way, now: Instant) -> Self {
        Self {
            begun: now,
            at: AtomicU64::new(at),
            sending_since: AtomicU64::new(1),
            is_stalled: AtomicBool::new(false),
            holder: way.permit.holder().cloned(),
            protocol: way.protocol,
            connection: way.connection.clone(),
        }
    }

    /// Whose it is, if it needed a key.
    pub fn holder(&self) -> Option<&Arc<Holder>> {
        self.holder.as_ref()
    }

    /// How it takes the wire.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The highest sequence judged.
    pub fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    /// It waits for news.
    pub fn waits(&self) {
        self.sending_since.store(0, Ordering::Relaxed);
    }

    /// Its connection was given something to send.
    pub fn sends(&self, at: u64, now: Instant) {
        self.at.store(at, Ordering::Relaxed);
        let since = now.duration_since(self.begun).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
        self.sending_since.store(since, Ordering::Relaxed);
    }

    /// For how long its connection has not come back for more; none = it waits.
    pub fn sending_for(&self, now: Instant) -> Option<Duration> {
        match self.sending_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(
                now.duration_since(self.begun)
                    .saturating_sub(Duration::from_millis(since)),
            ),
        }
    }

    /// Gives it up.
    pub fn stall(&self) {
        self.is_stalled.store(true, Ordering::Relaxed);
        if let Some(connection) = &self.connection {
            connection.cancel();
        }
    }

    /// Whether it was given up.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }
}

/// The places of all open subscriptions.
#[derive(Debug, Default)]
pub struct Places(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    places: HashMap<u64, Arc<Place>>,
}

impl Places {
    /// Adds one; returns the number to remove it by.
    pub fn add(&self, place: Arc<Place>) -> u64 {
        let mut inner = self.0.lock().expect("no panic under this lock");
        inner.next += 1;
        let number = inner.next;
        inner.places.insert(number, place);
        number
    }

    /// Removes one.
    pub fn remove(&self, number: u64) {
        let mut inner = self.0.lock().expect("no panic under this lock");
        inner.places.remove(&number);
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Place>> {
        let inner = self.0.lock().expect("no panic under this lock");
        inner.places.values().cloned().collect()
    }
}
