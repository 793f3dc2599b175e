//! Holder: one key as a node knows it: its grant as of now, and what it has used.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, RwLock,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use crate::{
    access::{
        key::KeyId,
        partner::{Key, Limits, Partner, PartnerName},
    },
    fault::{Fault, Kind},
    gate::{
        budget::Budget, certificate_ended, proof::Proof, session_ended, token_ended,
        unknown_certificate, unknown_key,
    },
};

/// One key of one partner, or one subject of tokens, which is like one.
#[derive(Debug)]
pub struct Holder {
    id: KeyId,
    partner: PartnerName,
    subject: Option<String>,
    state: RwLock<Arc<State>>,
    /// Counts changes of the state: what stays open compares it before each delivery.
    version: AtomicU64,
    streams: AtomicU32,
    /// In seconds from 1970, 0 = never on this node.
    last_used: AtomicI64,
    taken: Budget,
}

/// What a key is at one moment.
#[derive(Debug)]
pub struct State {
    /// Whether it was revoked, or its partner removed.
    pub is_ended: bool,
    /// The key.
    pub key: Key,
    /// Its partner.
    pub partner: Arc<Partner>,
    publishes: Rate,
    requests: Rate,
}

/// At most so many a second; none = without limit. Clones share what is left.
#[derive(Clone, Debug, Default)]
struct Rate(Option<(u32, Arc<DefaultDirectRateLimiter>)>);

impl Rate {
    fn new(per_second: Option<u32>) -> Self {
        Self(per_second.map(|count| {
            let quota = Quota::per_second(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
            (count, Arc::new(RateLimiter::direct(quota)))
        }))
    }

    /// The same, where nothing has changed: a change of a note must not refill it.
    fn keep_or(&self, per_second: Option<u32>) -> Self {
        let known = self.0.as_ref().map(|(count, _)| *count);
        if known == per_second {
            self.clone()
        } else {
            Self::new(per_second)
        }
    }

    fn take(&self, what: &str) -> Result<(), Fault> {
        let Some((count, limiter)) = &self.0 else {
            return Ok(());
        };
        limiter.check().map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            let message = format!("this key may make {count} {what} a second; slow down");
            exhausted("RATE_LIMITED", message, wait.max(Duration::from_millis(1)))
        })
    }
}

impl Holder {
    /// A key as it is kept, or with a subject what stands for one in tokens for that.
    pub fn new(key: &Key, partner: &Arc<Partner>, subject: Option<String>) -> Self {
        let limits = partner.limits;
        Self {
            id: key.id,
            partner: partner.name.clone(),
            subject,
            state: RwLock::new(Arc::new(State {
                is_ended: false,
                key: key.clone(),
                partner: Arc::clone(partner),
                publishes: Rate::new(limits.publishes_per_second),
                requests: Rate::new(limits.requests_per_second),
            })),
            version: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            last_used: AtomicI64::new(0),
            taken: Budget::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whose it is.
    pub fn partner(&self) -> &PartnerName {
        &self.partner
    }

    /// For whom the tokens are that it stands for; none for a key.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// What it is now.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().expect("no panic under this lock"))
    }

    /// Which state it is in.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Streams that are open on this node.
    pub fn streams(&self) -> u32 {
        self.streams.load(Ordering::Relaxed)
    }

    /// When it was used last on this node, in seconds from 1970.
    pub fn last_used(&self) -> Option<i64> {
        Some(self.last_used.load(Ordering::Relaxed)).filter(|time| *time > 0)
    }

    /// Takes over how it is kept now.
    pub fn set(&self, key: &Key, partner: &Arc<Partner>) {
        let state = self.state();
        if !state.is_ended && state.key == *key && *state.partner == **partner {
            return;
        }
        let Limits {
            publishes_per_second,
            requests_per_second,
            ..
        } = partner.limits;
        self.replace(State {
            is_ended: false,
            key: key.clone(),
            partner: Arc::clone(partner),
            publishes: state.publishes.keep_or(publishes_per_second),
            requests: state.requests.keep_or(requests_per_second),
        });
    }

    /// It is no key any more.
    pub fn end(&self) {
        let state = self.state();
        self.replace(State {
            is_ended: true,
            key: state.key.clone(),
            partner: Arc::clone(&state.partner),
            publishes: state.publishes.clone(),
            requests: state.requests.clone(),
        });
    }

    fn replace(&self, state: State) {
        *self.state.write().expect("no panic under this lock") = Arc::new(state);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Whether it, or one of its secrets, came to its end after `last` and up to `now`. Then what
    /// is open looks again.
    pub fn lapse(&self, last: i64, now: i64) -> bool {
        let state = self.state();
        let ends = state.key.secrets.iter().map(|kept| kept.expires);
        let is_over = ends
            .chain([state.key.expires])
            .flatten()
            .any(|end| last < end && end <= now);
        if is_over {
            self.version.fetch_add(1, Ordering::Release);
        }
        is_over
    }

    /// Whether this lets somebody in now.
    ///
    /// # Errors
    /// Unauthenticated, with what is wrong.
    pub fn check(&self, proof: &Proof, now: i64) -> Result<Arc<State>, Fault> {
        let state = self.state();
        let is_past = proof.expires().is_some_and(|end| end <= now);
        let is_over = is_past || proof.is_ended(&state.key);
        let opens = |digest| state.key.opens(digest, now);
        if is_over || state.is_ended || !proof.digest().is_none_or(opens) {
            return Err(match proof {
                Proof::Secret(_) => unknown_key(),
                Proof::Session(_) => session_ended(),
                Proof::Certificate(..) if is_past => certificate_ended(),
                Proof::Certificate(..) => unknown_certificate(),
                Proof::Token(_) => token_ended(),
            });
        }
        if state.key.is_expired(now) {
            let message = "this key has expired; ask for a new one";
            return Err(Fault::new(Kind::Unauthenticated, "KEY_EXPIRED", message));
        }
        if state.partner.is_suspended {
            let message = format!("{} is suspended for now", state.partner.name);
            return Err(Fault::new(
                Kind::Unauthenticated,
                "PARTNER_SUSPENDED",
                message,
            ));
        }
        if matches!(proof, Proof::Token(_)) && !state.partner.has(state.key.role) {
            // Keys are made within a grant; what a token asks for is judged as it comes.
            let (name, role) = (&state.partner.name, state.key.role.as_str());
            let message = format!("{name} has no grant for the role {role}");
            return Err(Fault::new(Kind::Forbidden, "ROLE_NOT_GRANTED", message));
        }
        Ok(state)
    }

    /// Counts a use.
    ///
    /// # Errors
    /// Exhausted `RATE_LIMITED`.
    pub fn take_request(&self, state: &State, now: i64) -> Result<(), Fault> {
        self.last_used.store(now, Ordering::Relaxed);
        state.requests.take("requests")
    }

    /// Takes the place of a stream, to be given back.
    ///
    /// # Errors
    /// Exhausted `STREAMS_LIMIT`.
    pub fn take_stream(&self, state: &State) -> Result<(), Fault> {
        let open = self.streams.fetch_add(1, Ordering::Relaxed);
        let Some(most) = state.partner.limits.streams.filter(|most| open >= *most) else {
            return Ok(());
        };
        self.give_back_stream();
        let message = format!("this key has {most} streams open, as many as it may; end one first");
        Err(exhausted("STREAMS_LIMIT", message, Duration::from_secs(5)))
    }

    /// Gives back the place of a stream.
    pub fn give_back_stream(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts delivered bytes.
    ///
    /// # Errors
    /// As [`Budget::take`].
    pub fn take_bytes(&self, state: &State, bytes: u64, now: i64) -> Result<(), Fault> {
        match state.partner.limits.bytes_per_day {
            Some(most) => self.taken.take("this key", most, bytes, now),
            None => Ok(()),
        }
    }
}

impl State {
    /// Counts a revision.
    ///
    /// # Errors
    /// Exhausted `RATE_LIMITED`.
    pub fn take_publish(&self) -> Result<(), Fault> {
        self.publishes.take("publishes")
    }
}

fn exhausted(reason: &'static str, message: String, after: Duration) -> Fault {
    Fault {
        retry_after: Some(after),
        ..Fault::new(Kind::Exhausted, reason, message)
    }
}
