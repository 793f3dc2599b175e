//! Gate: who a caller is, and what it may do at this moment.
//!
//! Every node follows the partners in the log's bucket. A call is judged as it comes; what stays
//! open holds a [`permit::Permit`] that knows when the grant behind it has changed.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, pin_mut};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::HeaderValue;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{
        audit::Entry,
        key::{KeyId, Role, Secret, SecretDigest},
        origin::Origin,
        partner::{NativeReader, PartnerName},
        scope::Scope,
        session::{SESSION_SECONDS, Sealer, Token},
    },
    fault::{Fault, Kind},
    gate::{
        book::Book,
        caller::{Caller, Known},
        holder::Holder,
        proof::{Ends, Proof, Session, Shown},
        tokens::Tokens,
    },
    wire::{
        log::{
            Log, ReadError,
            partners::{KeptPartner, PartnerChange},
        },
        peer::PeerCertificate,
    },
};

mod book;
pub mod budget;
pub mod caller;
pub mod holder;
pub mod permit;
pub mod proof;
pub mod tokens;

/// Pause before the bucket is followed anew.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// How long the partners may take to be read at start.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// The longest sleep towards an expiry: clocks are set.
const EXPIRY_LOOK: Duration = Duration::from_secs(1);

/// Lines of the audit that may wait for the log.
const NOTES_MAX: usize = 1024;
/// Refused calls that are noted a second.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// What keys a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// One for everything.
    Keys,
    /// None: whoever comes may do everything.
    Open,
}

/// The gate of a node; clones share everything.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: Policy,
    clock: fn() -> SystemTime,
    book: RwLock<Book>,
    /// Counts changes of what any key may do; the first is that all partners are known.
    changes: watch::Sender<u64>,
    notes: mpsc::Sender<Entry>,
    /// Taken by whoever keeps them.
    noted: Mutex<Option<mpsc::Receiver<Entry>>>,
    /// So that nobody fills the audit by knocking.
    refusals: DefaultDirectRateLimiter,
    /// Of sessions; there from when the partners are known.
    sealer: OnceLock<Sealer>,
    /// When what is open ends by itself.
    ends: Arc<Ends>,
    /// What tokens of another authority are checked by; none = none are taken.
    tokens: Option<Tokens>,
}

impl Gate {
    /// A gate that knows no partners yet.
    pub fn new(policy: Policy, clock: fn() -> SystemTime, tokens: Option<Tokens>) -> Self {
        let (notes, noted) = mpsc::channel(NOTES_MAX);
        Self(Arc::new(Inner {
            policy,
            clock,
            book: RwLock::default(),
            changes: watch::Sender::new(0),
            notes,
            noted: Mutex::new(Some(noted)),
            refusals: RateLimiter::direct(Quota::per_second(REFUSALS_PER_SECOND)),
            sealer: OnceLock::new(),
            ends: Arc::default(),
            tokens,
        }))
    }

    fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.0.book.read().expect("no panic under this lock")
    }

    fn book_mut(&self) -> RwLockWriteGuard<'_, Book> {
        self.0.book.write().expect("no panic under this lock")
    }

    /// Changes whenever a key may do more or less than before.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Who shows this.
    ///
    /// # Errors
    /// Unauthenticated `KEY_MISSING`, `KEY_INVALID`, `KEY_EXPIRED`, `PARTNER_SUSPENDED`,
    /// `SESSION_ENDED`, `CERTIFICATE_UNKNOWN`, `CERTIFICATE_EXPIRED`, `TOKEN_INVALID`,
    /// `TOKEN_EXPIRED`; forbidden `ROLE_NOT_GRANTED`; exhausted `RATE_LIMITED`.
    pub fn admit(&self, shown: &Shown) -> Result<Caller, Fault> {
        if self.0.policy == Policy::Open {
            return Ok(Caller::Anyone);
        }
        let (holder, proof) = match (&shown.authorization, &shown.session) {
            (Some(value), _) => self.by_bearer(value)?,
            (None, Some(token)) => self.by_session(token)?,
            (None, None) => self.by_certificate(shown.certificate.ok_or_else(missing)?)?,
        };
        let now = self.now();
        let version = holder.version();
        let state = holder.check(&proof, now)?;
        holder.take_request(&state, now)?;
        Ok(Caller::Known(Known {
            holder,
            state,
            version,
            proof,
            from: shown.from,
            gate: self.clone(),
        }))
    }

    fn by_bearer(&self, value: &HeaderValue) -> Result<(Arc<Holder>, Proof), Fault> {
        let shown = bearer(value.as_bytes())?;
        if let Some(tokens) = self.0.tokens.as_ref().filter(|_| is_token(shown)) {
            return self.by_token(tokens, shown);
        }
        let secret = secret(shown)?;
        let holder = self.holder(secret.id()).ok_or_else(unknown_key)?;
        Ok((holder, Proof::Secret(secret.digest())))
    }

    fn by_token(&self, tokens: &Tokens, shown: &str) -> Result<(Arc<Holder>, Proof), Fault> {
        let claims = tokens.check(shown, self.now())?;
        let id = claims.id(tokens.issuer());
        let proof = Proof::Token(claims.expires);
        let known = self.book().subject(id);
        let holder = match known {
            Some(holder) => holder,
            None => self.book_mut().add_subject(id, claims)?,
        };
        Ok((holder, proof))
    }

    fn by_session(&self, token: &str) -> Result<(Arc<Holder>, Proof), Fault> {
        let token: Token = token.parse().map_err(|_| session_ended())?;
        let (holder, sealer) = (self.holder(token.key()), self.0.sealer.get());
        let (holder, sealer) = holder.zip(sealer).ok_or_else(session_ended)?;
        let state = holder.state();
        let mut digests = state.key.secrets.iter().map(|kept| kept.digest);
        let digest = digests.find(|digest| sealer.fits(&token, digest));
        let session = Session {
            digest: digest.ok_or_else(session_ended)?,
            expires: token.expires(),
            nonce: token.nonce().to_owned(),
            csrf: sealer.csrf(&token),
        };
        Ok((holder, Proof::Session(Arc::new(session))))
    }

    fn by_certificate(&self, shown: PeerCertificate) -> Result<(Arc<Holder>, Proof), Fault> {
        let id = self.key_of_certificate(&shown.digest);
        let holder = id.and_then(|id| self.holder(id));
        let proof = Proof::Certificate(SecretDigest::new(shown.digest), shown.expires);
        Ok((holder.ok_or_else(unknown_certificate)?, proof))
    }

    /// The key that a client certificate of this SHA-256 stands for.
    pub fn key_of_certificate(&self, digest: &[u8; 32]) -> Option<KeyId> {
        let book = self.book();
        book.certificates.get(digest).copied()
    }

    /// Begins a session for whoever has shown a key's secret: its token, and the caller in it.
    ///
    /// # Errors
    /// A precondition `KEYS_NOT_ASKED`, on a node where a session would change nothing;
    /// unauthenticated `KEY_MISSING`.
    pub fn begin_session(&self, caller: &Caller) -> Result<(Token, Caller), Fault> {
        let known = match caller {
            Caller::Anyone => {
                let message = "this node asks nobody for a key; go on without one";
                return Err(Fault::new(Kind::Precondition, "KEYS_NOT_ASKED", message));
            }
            Caller::Local => return Err(missing()),
            Caller::Known(known) => known,
        };
        let sealer = self.0.sealer.get().ok_or_else(missing)?;
        let digest = known.proof.digest().copied().ok_or_else(|| {
            let message = "a session is begun with a key, and this is a token";
            Fault::new(Kind::Forbidden, "KEY_NEEDED", message)
        })?;
        let expires = self.now() + SESSION_SECONDS;
        let token = sealer.seal(known.holder.id(), &digest, expires, rand::random());
        let session = Session {
            digest,
            expires,
            nonce: token.nonce().to_owned(),
            csrf: sealer.csrf(&token),
        };
        caller.note("session.begin", "");
        let proof = Proof::Session(Arc::new(session));
        let known = Known {
            proof,
            ..known.clone()
        };
        Ok((token, Caller::Known(known)))
    }

    /// The key of that id, if it is known.
    pub fn holder(&self, id: KeyId) -> Option<Arc<Holder>> {
        let book = self.book();
        book.holder(id)
    }

    /// How many streams are open on this node by tokens, of each partner that has any.
    pub fn token_streams(&self) -> HashMap<PartnerName, u32> {
        let book = self.book();
        book.token_streams()
    }

    /// What a partner's subscribers may read now; none = nothing, or there is no such partner.
    pub fn scope(&self, name: &PartnerName) -> Option<Scope> {
        let book = self.book();
        let partner = &book.partners.get(name)?.partner;
        partner.subscribe.clone().filter(|_| !partner.is_suspended)
    }

    /// The same, also of a partner that is suspended: what it may read once it is not.
    pub fn grant(&self, name: &PartnerName) -> Option<Scope> {
        let book = self.book();
        book.partners.get(name)?.partner.subscribe.clone()
    }

    /// Counts what a partner's webhooks are sent by this node, together.
    ///
    /// # Errors
    /// As [`Budget::take`](budget::Budget::take).
    pub fn take_webhook_bytes(&self, name: &PartnerName, bytes: u64) -> Result<(), Fault> {
        let book = self.book();
        let kept = book.partners.get(name);
        let most = kept.and_then(|kept| kept.partner.limits.bytes_per_day);
        let Some((most, budget)) = most.zip(book.webhook_bytes.get(name).cloned()) else {
            return Ok(());
        };
        drop(book);
        let who = format!("{name}, by all its webhooks,");
        budget.take(&who, most, bytes, self.now())
    }

    /// When what is open ends by itself.
    fn ends(&self) -> &Arc<Ends> {
        &self.0.ends
    }

    /// Whether any partner lists an origin.
    pub fn lists_origin(&self, origin: &Origin) -> bool {
        let book = self.book();
        book.origins.contains_key(origin)
    }

    /// All partners, by name.
    pub fn partners(&self) -> Vec<KeptPartner> {
        let book = self.book();
        book.partners.values().cloned().collect()
    }

    /// Whether there is such a partner.
    pub fn knows(&self, name: &PartnerName) -> bool {
        self.book().partners.contains_key(name)
    }

    /// What a partner's subscribers may read now; none = nothing, as of one that is suspended. Nobody's
    /// is everything, where no keys are asked for.
    pub fn subscribing(&self, partner: Option<&PartnerName>) -> Option<Arc<Scope>> {
        let Some(name) = partner else {
            return (self.0.policy == Policy::Open).then(Arc::default);
        };
        self.scope(name).map(Arc::new)
    }

    /// Whether a key lets somebody in now, or would if its partner were not suspended.
    pub fn is_good(&self, id: KeyId) -> bool {
        let holder = self.holder(id);
        holder.is_some_and(|holder| !holder.state().key.is_expired(self.now()))
    }

    /// Keys that may read from NATS itself now, by id: each with the topics that it may read.
    pub fn native_readers(&self) -> Vec<NativeReader> {
        let now = self.now();
        let book = self.book();
        let mut readers = Vec::new();
        for KeptPartner { partner, .. } in book.partners.values() {
            let Some(scope) = partner
                .subscribe
                .as_ref()
                .filter(|_| partner.has(Role::Native))
            else {
                continue;
            };
            let good = partner
                .keys
                .iter()
                .filter(|key| !key.is_expired(now) && !partner.is_suspended);
            readers.extend(good.filter_map(|key| {
                Some(NativeReader {
                    id: key.id,
                    nkey: key.nkey.clone()?,
                    topics: scope.topics.iter().cloned().collect(),
                })
            }));
        }
        readers.sort_by_key(|reader| reader.id);
        readers
    }

    /// The present, in seconds from 1970.
    pub fn now(&self) -> i64 {
        seconds((self.0.clock)())
    }

    /// Follows the partners until `stop`, over losses of NATS; meanwhile the newest state that was
    /// seen holds.
    pub async fn run(self, log: Log, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow(&log) => {}
            () = self.expire() => {}
            () = self.keep_notes(&log) => {}
        }
    }

    /// Waits until all partners are known.
    ///
    /// # Errors
    /// They were not read in time.
    pub async fn ready(&self) -> Result<(), ReadError> {
        let mut changes = self.changes();
        let known = changes.wait_for(|count| *count > 0);
        match tokio::time::timeout(START_PATIENCE, known).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ReadError::Behind),
        }
    }

    async fn follow(&self, log: &Log) {
        loop {
            if let Err(error) = self.follow_once(log).await {
                tracing::warn!(%error, "the partners can't be followed; trying again");
            }
            sleep(FOLLOW_PAUSE).await;
        }
    }

    async fn follow_once(&self, log: &Log) -> Result<(), ReadError> {
        if self.0.policy == Policy::Keys && self.0.sealer.get().is_none() {
            let sealer = Sealer::new(&log.session_secret().await?);
            self.0.sealer.get_or_init(|| sealer);
        }
        let changes = log.follow_partners().await?;
        pin_mut!(changes);
        let mut is_caught_up = false;
        while let Some(change) = changes.next().await {
            match change? {
                PartnerChange::Put(kept) => self.book_mut().put(*kept),
                PartnerChange::Removed(name) => self.book_mut().remove(&name),
                PartnerChange::CaughtUp => is_caught_up = true,
            }
            if is_caught_up {
                self.changed();
            }
        }
        Ok(())
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Notes a call of a path that was refused; at most 20 a second are noted.
    pub fn refused(&self, shown: &Shown, path: &str, reason: &str) {
        if self.0.policy == Policy::Open || self.0.refusals.check().is_err() {
            return;
        }
        let key = match (&shown.authorization, &shown.session) {
            (Some(value), _) => {
                let shown = bearer(value.as_bytes()).and_then(secret);
                shown.ok().map(|secret| secret.id())
            }
            (None, Some(token)) => token.parse().ok().map(|token: Token| token.key()),
            (None, None) => {
                let certificate = shown.certificate.as_ref();
                certificate.and_then(|shown| self.key_of_certificate(&shown.digest))
            }
        };
        let partner = key.and_then(|id| self.holder(id));
        self.note(Entry {
            key: key.map(|id| id.to_string()).unwrap_or_default(),
            partner: partner
                .map(|holder| holder.partner().to_string())
                .unwrap_or_default(),
            from: shown.from,
            action: path.to_owned(),
            target: String::new(),
            outcome: reason.to_owned(),
        });
    }

    /// Puts a line on its way into the audit.
    pub fn note(&self, entry: Entry) {
        if let Err(error) = self.0.notes.try_send(entry) {
            tracing::warn!(%error, "a line of the audit is lost");
        }
    }

    async fn keep_notes(&self, log: &Log) {
        let noted = self
            .0
            .noted
            .lock()
            .expect("no panic under this lock")
            .take();
        let Some(mut noted) = noted else {
            return std::future::pending().await;
        };
        while let Some(entry) = noted.recv().await {
            while let Err(error) = log.audit(&entry).await {
                tracing::debug!(%error, "a line of the audit waits for the log");
                sleep(FOLLOW_PAUSE).await;
            }
        }
    }

    /// Ends what expires, within a second of its time.
    async fn expire(&self) {
        let mut last = self.now();
        loop {
            sleep_until(Instant::now() + EXPIRY_LOOK).await;
            let now = self.now();
            let expired = {
                let book = self.book();
                let holders = book.holders.values();
                holders.filter(|holder| holder.lapse(last, now)).count()
            };
            if expired > 0 || self.0.ends.any(last, now) {
                self.changed();
            }
            last = now;
        }
    }
}

/// A time in seconds from 1970.
pub fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// What an `authorization` shows (RFC 6750 section 2.1).
fn bearer(value: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case("bearer") => Ok(shown.trim()),
        Some(_) | None => Err(invalid_key(
            "authorization is not `Bearer <key>`".to_owned(),
        )),
    }
}

/// The key that is shown.
fn secret(shown: &str) -> Result<Secret, Fault> {
    shown
        .parse()
        .map_err(|error| invalid_key(format!("{error}")))
}

fn invalid_key(message: String) -> Fault {
    Fault::new(Kind::Unauthenticated, "KEY_INVALID", message)
}

/// Whether it looks like a token, which no key does.
fn is_token(shown: &str) -> bool {
    shown.bytes().filter(|byte| *byte == b'.').count() == 2
}

fn missing() -> Fault {
    let message = "no key was shown; send one as `authorization: Bearer <key>`";
    Fault::new(Kind::Unauthenticated, "KEY_MISSING", message)
}

/// One answer for a session that never was, that is over, and whose key is none any more.
fn session_ended() -> Fault {
    let message = "this session has ended; begin another with a key";
    Fault::new(Kind::Unauthenticated, "SESSION_ENDED", message)
}

/// A token that was good and is over, or whose partner is gone.
fn token_ended() -> Fault {
    let message = "this token has expired, or its partner is none any more; get another";
    Fault::new(Kind::Unauthenticated, "TOKEN_EXPIRED", message)
}

/// A certificate that was good and is over, on a connection that it opened before.
fn certificate_ended() -> Fault {
    let message = "this client certificate has expired; connect again with the next one";
    Fault::new(Kind::Unauthenticated, "CERTIFICATE_EXPIRED", message)
}

/// One answer for a certificate that never stood for a key, and for one that does no more.
fn unknown_certificate() -> Fault {
    let message = "no key goes with this client certificate, and none was shown; \
                   `barid key add --certificate` makes one";
    Fault::new(Kind::Unauthenticated, "CERTIFICATE_UNKNOWN", message)
}

/// One answer for a key that never was, that is revoked, and that has another secret.
fn unknown_key() -> Fault {
    let message = "nobody has this key; it may have been revoked or rotated";
    Fault::new(Kind::Unauthenticated, "KEY_INVALID", message)
}
