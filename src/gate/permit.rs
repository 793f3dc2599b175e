//! Permit: what an open stream stands on, and whether it still does.

use std::{sync::Arc, time::Duration};

use crate::{
    access::scope::Scope,
    fault::Fault,
    gate::{caller::Known, holder::Holder, proof::End},
};

/// The right to one open stream; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    known: Option<Known>,
    scope: Arc<Scope>,
    /// So that it is looked at when it ends by itself.
    _end: Option<End>,
}

impl Permit {
    /// For a node that asks for no keys.
    pub fn for_anyone() -> Self {
        Self {
            known: None,
            scope: Arc::default(),
            _end: None,
        }
    }

    /// For what goes out on a partner's right and not on a key's: whoever sends it looks at the right
    /// itself.
    pub fn over(scope: Arc<Scope>) -> Self {
        Self {
            known: None,
            scope,
            _end: None,
        }
    }

    /// Takes the place of a stream.
    ///
    /// # Errors
    /// Forbidden `ROLE_MISSING`, `NOT_GRANTED`; exhausted `STREAMS_LIMIT`.
    pub fn new(known: Known) -> Result<Self, Fault> {
        let scope = known.scope()?;
        known.holder.take_stream(&known.state)?;
        Ok(Self {
            _end: known.end(),
            known: Some(known),
            scope,
        })
    }

    /// What may be read.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// Whether the stream may go on as it is: one comparison, unless the key has changed.
    ///
    /// # Errors
    /// Unauthenticated, if the key is none any more; unavailable `GRANT_CHANGED`, if it opens
    /// something else now.
    pub fn stands(&mut self) -> Result<(), Fault> {
        let Some(known) = &mut self.known else {
            return Ok(());
        };
        if !known.is_new() {
            return Ok(());
        }
        *known = known.again()?;
        if *known.scope()? != *self.scope {
            let message =
                "what this key may read has changed; subscribe again after the last cursor";
            return Err(Fault::unavailable("GRANT_CHANGED", message, Duration::ZERO));
        }
        Ok(())
    }

    /// Whether [`Permit::stands`] has something to look at.
    pub fn is_new(&self) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(Known::is_new)
    }

    /// Counts what goes out.
    ///
    /// # Errors
    /// Exhausted `BYTES_LIMIT`.
    pub fn take_bytes(&self, bytes: u64) -> Result<(), Fault> {
        let Some(known) = &self.known else {
            return Ok(());
        };
        if known.state.partner.limits.bytes_per_day.is_none() {
            return Ok(());
        }
        known.holder.take_bytes(&known.state, bytes, known.now())
    }

    /// The key, or the subject of a token, if it needed one.
    pub fn holder(&self) -> Option<&Arc<Holder>> {
        self.known.as_ref().map(|known| &known.holder)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(known) = &self.known {
            known.holder.give_back_stream();
        }
    }
}
