//! Who may connect: bounds in all, for each address, and on how fast an address may come.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::telemetry::{
    Metrics,
    connections::{Cut, Listener},
};

/// Addresses that are remembered at once, of open connections and of some seconds before; beyond
/// them only known ones are let in.
const CLIENTS_MAX: usize = 1 << 17;
/// At how many addresses those of which nothing is left are first looked for.
const SWEEP_MIN: usize = 1 << 10;
/// An address may come at once as often as in this time.
const BURST: Duration = Duration::from_secs(10);
/// Time between two lines of the log on one reason.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections of both listeners.
    pub connections_max: usize,
    /// Connections of one address.
    pub per_address_max: u32,
    /// Connections that one address may open a second, at least 1; ten seconds' worth of them at
    /// once.
    pub rate_per_address: u32,
}

/// Lets connections in; clones share what they count.
///
/// An address is one of IPv4, or the 64 bits of IPv6 that a site has. `127.0.0.1` and `::1` are not
/// bounded by themselves: a proxy on this machine speaks for many.
#[derive(Clone, Debug)]
pub struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    metrics: Metrics,
    clients: Mutex<Clients>,
    said: Mutex<[Option<Said>; Cut::ALL.len()]>,
}

#[derive(Debug)]
struct Clients {
    open: usize,
    by_address: HashMap<IpAddr, Client>,
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    open: u32,
    /// When its connections would all have come if they had come at its rate (GCRA's theoretical
    /// arrival time).
    due: Instant,
}

/// When a reason was last spoken of, and what was counted then.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: Instant,
    count: u64,
}

/// A connection that is let in; counted until it is dropped.
#[derive(Debug)]
pub struct Pass {
    door: Door,
    listener: Listener,
    /// None where addresses are not bounded.
    address: Option<IpAddr>,
}

impl Door {
    /// A door with these bounds.
    pub fn new(options: Options, metrics: Metrics) -> Self {
        let clients = Clients {
            open: 0,
            by_address: HashMap::new(),
            sweep_at: SWEEP_MIN,
        };
        Self(Arc::new(Shared {
            options,
            metrics,
            clients: Mutex::new(clients),
            said: Mutex::new([None; Cut::ALL.len()]),
        }))
    }

    /// Lets a connection in.
    ///
    /// # Errors
    /// [`Cut::Full`], [`Cut::Address`] or [`Cut::Rate`], which is counted already.
    pub fn enter(&self, listener: Listener, address: IpAddr, now: Instant) -> Result<Pass, Cut> {
        let bounded = bounded(address);
        let entered = {
            let mut clients = self.clients();
            clients.enter(&self.0.options, bounded, now)
        };
        match entered {
            Ok(()) => {
                self.0.metrics.connections.open(listener).inc();
                Ok(Pass {
                    door: self.clone(),
                    listener,
                    address: bounded,
                })
            }
            Err(reason) => {
                self.note(reason, address, now);
                Err(reason)
            }
        }
    }

    /// Counts a connection that is cut, and logs it unless the like was logged just before.
    pub fn note(&self, reason: Cut, address: IpAddr, now: Instant) {
        let counter = self.0.metrics.connections.cut(reason);
        counter.inc();
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &mut said[reason.index()];
        if last.is_some_and(|last| now.saturating_duration_since(last.at) < SAY_EVERY) {
            return;
        }
        let count = counter.get();
        let since = last.map_or(0, |last| last.count);
        *last = Some(Said { at: now, count });
        drop(said);
        let (reason, more) = (reason.as_str(), count.saturating_sub(since + 1));
        tracing::warn!(reason, %address, more, "a connection was refused or ended");
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, Clients> {
        // Counts stay right under a panic: none can happen between two of them.
        (self.0.clients.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clients {
    fn enter(
        &mut self,
        options: &Options,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Cut> {
        if let Some(address) = address {
            self.count(options, address, now)?;
        }
        if self.open >= options.connections_max {
            return Err(Cut::Full);
        }
        self.open += 1;
        if let Some(address) = address
            && let Some(client) = self.by_address.get_mut(&address)
        {
            client.open += 1;
        }
        Ok(())
    }

    /// Holds an address to its own bounds; each try counts for its rate.
    fn count(&mut self, options: &Options, address: IpAddr, now: Instant) -> Result<(), Cut> {
        if self.by_address.len() >= self.sweep_at {
            let is_used = |client: &Client| client.open > 0 || client.due > now;
            self.by_address.retain(|_, client| is_used(client));
            self.sweep_at = SWEEP_MIN.max(2 * self.by_address.len()).min(CLIENTS_MAX);
        }
        if self.by_address.len() >= CLIENTS_MAX && !self.by_address.contains_key(&address) {
            return Err(Cut::Full);
        }
        let client = self
            .by_address
            .entry(address)
            .or_insert(Client { open: 0, due: now });
        let due = client.due.max(now);
        if due.duration_since(now) > BURST {
            return Err(Cut::Rate);
        }
        client.due = due + Duration::from_secs(1) / options.rate_per_address.max(1);
        if client.open >= options.per_address_max {
            return Err(Cut::Address);
        }
        Ok(())
    }

    fn leave(&mut self, address: Option<IpAddr>) {
        self.open -= 1;
        if let Some(address) = address
            && let Some(client) = self.by_address.get_mut(&address)
        {
            client.open -= 1;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.clients().leave(self.address);
        let shared = &self.door.0;
        shared.metrics.connections.open(self.listener).dec();
    }
}

/// What is counted as one address; none for this machine's own two.
fn bounded(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Some(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options {
        connections_max: 5,
        per_address_max: 3,
        rate_per_address: 1,
    };

    fn enter(door: &Door, address: &str, now: Instant) -> Result<Pass, Cut> {
        door.enter(Listener::Grpc, address.parse().unwrap(), now)
    }

    /// Each bound holds by itself, is counted, and is free again when a connection ends.
    #[test]
    fn bounds() {
        let metrics = Metrics::new();
        let door = Door::new(OPTIONS, metrics.clone());
        let now = Instant::now();
        let first: Vec<Pass> = (0..3)
            .map(|_| enter(&door, "192.0.2.1", now).unwrap())
            .collect();
        assert_eq!(enter(&door, "192.0.2.1", now).unwrap_err(), Cut::Address);
        assert_eq!(
            enter(&door, "::ffff:192.0.2.1", now).unwrap_err(),
            Cut::Address
        );
        let _local = [enter(&door, "127.0.0.1", now), enter(&door, "::1", now)].map(Result::unwrap);
        assert_eq!(enter(&door, "192.0.2.2", now).unwrap_err(), Cut::Full);
        assert_eq!(enter(&door, "127.0.0.1", now).unwrap_err(), Cut::Full);
        assert_eq!(metrics.connections.open(Listener::Grpc).get(), 5);
        drop(first);
        enter(&door, "192.0.2.2", now).unwrap();
        assert_eq!(metrics.connections.open(Listener::Grpc).get(), 2);
        assert_eq!(metrics.connections.cut(Cut::Address).get(), 2);
        assert_eq!(metrics.connections.cut(Cut::Full).get(), 2);
    }

    /// An address has its burst, then its rate; a site of IPv6 is one address, and another address
    /// is not touched.
    #[test]
    fn rate() {
        let door = Door::new(OPTIONS, Metrics::new());
        let now = Instant::now();
        let count = |last: u32, now| {
            let address = format!("2001:db8::{last:x}");
            enter(&door, &address, now).map(drop)
        };
        let let_in = (1..100).filter(|last| count(*last, now).is_ok()).count();
        assert_eq!(let_in, 11, "a burst of ten seconds, and the one of now");
        assert_eq!(count(1, now), Err(Cut::Rate));
        enter(&door, "2001:db8:0:1::1", now).unwrap();
        assert_eq!(count(1, now + Duration::from_secs(1)), Ok(()));
        assert_eq!(count(2, now + Duration::from_secs(1)), Err(Cut::Rate));
    }

    /// What is remembered of addresses goes when nothing is left of them.
    #[test]
    fn forgets() {
        let door = Door::new(OPTIONS, Metrics::new());
        let now = Instant::now();
        let come = |from: u32, now| {
            for number in from..from + 2000 {
                let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
                door.enter(Listener::Http, address, now).unwrap();
            }
        };
        come(0, now);
        come(2000, now + Duration::from_secs(60));
        come(4000, now + Duration::from_secs(120));
        assert!(door.clients().by_address.len() <= 4096);
    }
}
