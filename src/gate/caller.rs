//! Caller: who made a call, and what it may do.

use std::{net::IpAddr, sync::Arc};

use crate::{
    access::{
        audit::{ASKED, DONE, Entry},
        author::{Author, key_name},
        key::Role,
        partner::{PartnerName, Publishing},
        scope::Scope,
    },
    article::Language,
    fault::{Fault, Kind},
    gate::{
        Gate,
        holder::{Holder, State},
        missing,
        permit::Permit,
        proof::{End, Proof, Session},
    },
    topic::Topic,
    wire::log::Log,
};

/// Who made a call.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Whoever comes to a node that asks for no keys.
    Anyone,
    /// Whoever reads on this machine, where that needs no key.
    Local,
    /// One with a key.
    Known(Known),
}

/// What may be read of single articles.
#[derive(Clone, Debug)]
pub enum Reader {
    /// What a scope opens.
    Scope(Arc<Scope>),
    /// What an author has published or may revise.
    Author(Author),
}

impl Reader {
    /// Whether it may read a revision of an article of this owner, with these topics and language.
    pub fn opens(&self, owner: &str, topics: &[Topic], language: &Language) -> bool {
        match self {
            Self::Scope(scope) => scope.opens(topics, language),
            Self::Author(author) => author.check_read(owner, topics, language).is_ok(),
        }
    }
}

/// Whose webhooks a caller manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stewardship {
    /// All; beside it whose new ones are unless it says otherwise.
    All(Option<PartnerName>),
    /// Those of its own partner.
    Of(PartnerName),
}

impl Stewardship {
    /// Whether it extends to a partner's.
    pub fn covers(&self, partner: Option<&PartnerName>) -> bool {
        match self {
            Self::All(_) => true,
            Self::Of(own) => partner == Some(own),
        }
    }
}

/// A caller with a key.
#[derive(Clone, Debug)]
pub struct Known {
    /// The key.
    pub holder: Arc<Holder>,
    /// What it was when the call came.
    pub state: Arc<State>,
    /// Which state that was.
    pub version: u64,
    /// What was shown.
    pub proof: Proof,
    /// From where it was shown.
    pub from: Option<IpAddr>,
    /// Knows what the key may do later.
    pub gate: Gate,
}

/// Who made a call, as the listener found out.
///
/// # Panics
/// The listener has let a call pass that it did not judge: no call may go on from there.
pub fn of(extensions: &http::Extensions) -> Caller {
    let caller = extensions.get::<Caller>();
    caller
        .expect("every call is judged by its listener")
        .clone()
}

impl Caller {
    /// For logs: the key's id, or `anon`.
    pub fn name(&self) -> String {
        key_name(self.known().map(|known| known.state.key.id))
    }

    /// Whose key was shown; none on a node, or to one, that needs none.
    pub fn known(&self) -> Option<&Known> {
        match self {
            Self::Known(known) => Some(known),
            Self::Anyone | Self::Local => None,
        }
    }

    /// That a key of one of these roles was shown; none is needed where no keys are asked for.
    fn needs(&self, roles: &[Role]) -> Result<(), Fault> {
        match self {
            Self::Anyone => Ok(()),
            Self::Local => Err(missing()),
            Self::Known(known) => known.needs(roles),
        }
    }

    /// As whom it hands news in.
    ///
    /// # Errors
    /// Unauthenticated `KEY_MISSING`; forbidden `ROLE_MISSING`, `NOT_GRANTED`.
    pub fn author(&self) -> Result<Author, Fault> {
        self.needs(&[Role::Publisher, Role::Desk])?;
        self.known()
            .map_or_else(|| Ok(Author::anyone()), Known::author)
    }

    /// What it may read of the wire.
    ///
    /// # Errors
    /// Forbidden `ROLE_MISSING`, `NOT_GRANTED`.
    pub fn scope(&self) -> Result<Arc<Scope>, Fault> {
        self.known()
            .map_or_else(|| Ok(Arc::default()), Known::scope)
    }

    /// What it may read of single articles: publishers see what they may revise.
    ///
    /// # Errors
    /// Forbidden `ROLE_MISSING`, `NOT_GRANTED`.
    pub fn reader(&self) -> Result<Reader, Fault> {
        match self.known() {
            Some(known) if known.state.key.role == Role::Publisher => {
                known.author().map(Reader::Author)
            }
            Some(_) | None => self.scope().map(Reader::Scope),
        }
    }

    /// Whose durable subscriptions it uses: a partner's, or nobody's where no keys are asked for.
    ///
    /// # Errors
    /// Unauthenticated `KEY_MISSING`; forbidden `ROLE_MISSING`.
    pub fn recipient(&self) -> Result<Option<PartnerName>, Fault> {
        self.needs(&[Role::Subscriber, Role::Desk])?;
        let known = self.known();
        Ok(known.map(|known| known.state.partner.name.clone()))
    }

    /// The session that it is made in, if it is.
    pub fn session(&self) -> Option<&Session> {
        match self.known().map(|known| &known.proof) {
            Some(Proof::Session(session)) => Some(session),
            Some(Proof::Secret(_) | Proof::Certificate(..) | Proof::Token(_)) | None => None,
        }
    }

    /// Whether a browser shows who it is by itself, also when a page of another site asks.
    pub fn is_ambient(&self) -> bool {
        self.known().is_some_and(|known| known.proof.is_ambient())
    }

    /// Takes the place of a stream.
    ///
    /// # Errors
    /// Forbidden `ROLE_MISSING`, `NOT_GRANTED`; exhausted `STREAMS_LIMIT`.
    pub fn stream(&self) -> Result<Permit, Fault> {
        match self.known() {
            None => Ok(Permit::for_anyone()),
            Some(known) => Permit::new(known.clone()),
        }
    }

    /// Whose webhooks it manages.
    ///
    /// # Errors
    /// Unauthenticated `KEY_MISSING`; forbidden `ROLE_MISSING`.
    pub fn stewardship(&self) -> Result<Stewardship, Fault> {
        self.needs(&[Role::Subscriber, Role::Desk])?;
        let Some(known) = self.known() else {
            return Ok(Stewardship::All(None));
        };
        let own = known.state.partner.name.clone();
        Ok(match known.state.key.role {
            Role::Desk => Stewardship::All(Some(own)),
            Role::Publisher | Role::Subscriber | Role::Monitor | Role::Native => {
                Stewardship::Of(own)
            }
        })
    }

    /// That it is of the desk.
    ///
    /// # Errors
    /// Unauthenticated `KEY_MISSING`; forbidden `ROLE_MISSING`.
    pub fn desk(&self) -> Result<(), Fault> {
        self.needs(&[Role::Desk])
    }

    /// That it may see what is measured.
    ///
    /// # Errors
    /// Unauthenticated `KEY_MISSING`; forbidden `ROLE_MISSING`.
    pub fn monitor(&self) -> Result<(), Fault> {
        match self {
            Self::Local => Ok(()),
            Self::Anyone | Self::Known(_) => self.needs(&[Role::Monitor, Role::Desk]),
        }
    }

    /// The caller as of now: a call that goes on is judged again.
    ///
    /// # Errors
    /// Unauthenticated, if the key is none any more.
    pub fn again(&self) -> Result<Self, Fault> {
        match self {
            Self::Known(known) if known.is_new() => known.again().map(Self::Known),
            Self::Known(_) | Self::Anyone | Self::Local => Ok(self.clone()),
        }
    }

    /// Waits until the key is none any more; for ever, if it needs none.
    pub async fn ended(&self) {
        let Some(known) = self.known() else {
            return std::future::pending().await;
        };
        let _end = known.end();
        let mut changes = known.gate.changes();
        // The sender lives as long as the gate.
        while self.again().is_ok() && changes.changed().await.is_ok() {}
    }

    /// A line of the audit about something that it does; none where no keys are asked for.
    pub fn entry(&self, action: &str, target: &str, outcome: &str) -> Option<Entry> {
        let known = self.known()?;
        Some(Entry {
            key: known.state.key.id.to_string(),
            partner: known.state.partner.name.to_string(),
            from: known.from,
            action: action.to_owned(),
            target: target.to_owned(),
            outcome: outcome.to_owned(),
        })
    }

    /// Records what it is about to do: what can't be recorded is not done.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn record(&self, log: &Log, action: &str, target: &str) -> Result<(), Fault> {
        match self.entry(action, target, ASKED) {
            Some(entry) => log.audit(&entry).await.map_err(|error| error.fault()),
            None => Ok(()),
        }
    }

    /// Puts a line about something that it has done on its way into the audit.
    pub fn note(&self, action: &str, target: &str) {
        if let Some(known) = self.known()
            && let Some(entry) = self.entry(action, target, DONE)
        {
            known.gate.note(entry);
        }
    }

    /// Counts a revision.
    ///
    /// # Errors
    /// Exhausted `RATE_LIMITED`.
    pub fn take_publish(&self) -> Result<(), Fault> {
        self.known()
            .map_or(Ok(()), |known| known.state.take_publish())
    }
}

impl Known {
    fn author(&self) -> Result<Author, Fault> {
        let state = &self.state;
        let publishing = match state.key.role {
            Role::Desk => Publishing::default(),
            Role::Publisher | Role::Subscriber | Role::Monitor | Role::Native => {
                let granted = state.partner.publish.clone();
                granted.ok_or_else(|| self.nothing("publish"))?
            }
        };
        Ok(Author {
            key: Some(state.key.id),
            partner: state.partner.name.to_string(),
            publishing,
        })
    }

    /// What it may read.
    ///
    /// # Errors
    /// As [`Caller::scope`].
    pub fn scope(&self) -> Result<Arc<Scope>, Fault> {
        self.needs(&[Role::Subscriber, Role::Desk])?;
        match self.state.key.role {
            Role::Desk => Ok(Arc::default()),
            Role::Publisher | Role::Subscriber | Role::Monitor | Role::Native => {
                let granted = self.state.partner.subscribe.clone();
                granted.map(Arc::new).ok_or_else(|| self.nothing("read"))
            }
        }
    }

    /// Whether [`Known::again`] has something to look at: one comparison, and for what ends by
    /// itself a look at the clock.
    pub fn is_new(&self) -> bool {
        let is_over = |end| end <= self.now();
        self.holder.version() != self.version || self.proof.expires().is_some_and(is_over)
    }

    /// When it ends: by itself, with its secret, or with its key; in seconds from 1970.
    pub fn expires(&self) -> Option<i64> {
        let key = &self.state.key;
        let digest = self.proof.digest();
        let own = key
            .secrets
            .iter()
            .filter(|kept| Some(&kept.digest) == digest);
        let secret = own.filter_map(|kept| kept.expires).max();
        [self.proof.expires(), key.expires, secret]
            .into_iter()
            .flatten()
            .min()
    }

    /// Has the gate tell of a change when it ends by itself, as long as this is held.
    pub fn end(&self) -> Option<End> {
        self.proof.expires().map(|at| self.gate.ends().count(at))
    }

    /// The same as of now.
    ///
    /// # Errors
    /// Unauthenticated, if it lets nobody in any more.
    pub fn again(&self) -> Result<Self, Fault> {
        // The version first: what changes after it is looked at again.
        let version = self.holder.version();
        let state = self.holder.check(&self.proof, self.now())?;
        Ok(Self {
            state,
            version,
            ..self.clone()
        })
    }

    /// The present, in seconds from 1970.
    pub fn now(&self) -> i64 {
        self.gate.now()
    }

    fn needs(&self, roles: &[Role]) -> Result<(), Fault> {
        let role = self.state.key.role;
        if roles.contains(&role) {
            return Ok(());
        }
        let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        let message = format!(
            "key {} is a {}'s; this takes a key of the role {}",
            self.state.key.id,
            role.as_str(),
            names.join(" or ")
        );
        Err(Fault::new(Kind::Forbidden, "ROLE_MISSING", message))
    }

    fn nothing(&self, what: &str) -> Fault {
        let message = format!("{} may {what} nothing for now", self.state.partner.name);
        Fault::new(Kind::Forbidden, "NOT_GRANTED", message)
    }
}
