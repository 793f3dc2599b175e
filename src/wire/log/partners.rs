//! Partners in the bucket `barid-partners`: one entry each, by name, as JSON. Every node follows it.

use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, UpdateErrorKind};
use futures_util::{Stream, StreamExt as _, future};

use crate::{
    access::partner::{Partner, PartnerName},
    wire::log::{Log, ReadError, unavailable},
};

/// A partner and the version of its entry.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptPartner {
    /// The partner.
    pub partner: Partner,
    /// Its entry's revision: what the next change builds on.
    pub revision: u64,
}

/// What a node sees as it follows the bucket.
#[derive(Clone, Debug, PartialEq)]
pub enum PartnerChange {
    /// A partner as it is now.
    Put(Box<KeptPartner>),
    /// It is gone.
    Removed(PartnerName),
    /// All that there was has been seen.
    CaughtUp,
}

impl Log {
    /// Whether any partner was ever kept.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn has_partners(&self) -> Result<bool, ReadError> {
        let info = self.partners().stream.get_info().await;
        Ok(info.map_err(unavailable)?.state.messages > 0)
    }

    /// A partner, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn partner(&self, name: &PartnerName) -> Result<Option<KeptPartner>, ReadError> {
        let entry = self.partners().entry(name.as_str()).await;
        let entry = entry.map_err(unavailable)?;
        Ok(entry.and_then(|entry| kept(&entry)))
    }

    /// Keeps a partner, over the version that it was made from, 0 for a new one. Returns the new
    /// version; none if somebody else was faster.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn put_partner(
        &self,
        partner: &Partner,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        let text = serde_json::to_vec(partner).expect("plain data");
        let name = partner.name.as_str();
        if revision == 0 {
            return match self.partners().create(name, text.into()).await {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(unavailable(error)),
            };
        }
        match self.partners().update(name, text.into(), revision).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Removes a partner with all that was kept of it; returns whether it was still that version.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn remove_partner(
        &self,
        name: &PartnerName,
        revision: u64,
    ) -> Result<bool, ReadError> {
        let removed = self
            .partners()
            .purge_expect_revision(name.as_str(), Some(revision));
        match removed.await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == kv::PurgeErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// All partners, and then every change, each by its newest state. An entry that can't be read
    /// is logged, and counts as removed.
    ///
    /// # Errors
    /// [`ReadError`], also within the stream: begin anew.
    pub async fn follow_partners(
        &self,
    ) -> Result<impl Stream<Item = Result<PartnerChange, ReadError>> + use<>, ReadError> {
        let watch = self.partners().watch_with_history(">").await;
        let watch = watch.map_err(unavailable)?;
        let is_empty = !self.has_partners().await?;
        let mut is_caught_up = false;
        let changes = watch.flat_map(move |entry| {
            let mut changes = Vec::with_capacity(2);
            match entry {
                Ok(entry) => {
                    changes.extend(change(&entry).map(Ok));
                    if entry.seen_current && !is_caught_up {
                        is_caught_up = true;
                        changes.push(Ok(PartnerChange::CaughtUp));
                    }
                }
                Err(error) => changes.push(Err(unavailable(error))),
            }
            futures_util::stream::iter(changes)
        });
        // An empty bucket has no entry to say that it was the last.
        let empty = is_empty.then_some(Ok(PartnerChange::CaughtUp));
        let empty = futures_util::stream::once(future::ready(empty));
        Ok(empty.filter_map(future::ready).chain(changes))
    }
}

fn change(entry: &kv::Entry) -> Option<PartnerChange> {
    match entry.operation {
        // What can't be read lets nobody in.
        Operation::Put => kept(entry)
            .map(|kept| PartnerChange::Put(Box::new(kept)))
            .or_else(|| entry.key.parse().ok().map(PartnerChange::Removed)),
        Operation::Delete | Operation::Purge => entry.key.parse().ok().map(PartnerChange::Removed),
    }
}

fn kept(entry: &kv::Entry) -> Option<KeptPartner> {
    if entry.operation != Operation::Put {
        return None;
    }
    match serde_json::from_slice::<Partner>(&entry.value) {
        Ok(partner) if partner.name.as_str() == entry.key => Some(KeptPartner {
            partner,
            revision: entry.revision,
        }),
        Ok(_) => {
            tracing::error!(key = entry.key, "a partner is kept under another's name");
            None
        }
        Err(error) => {
            tracing::error!(key = entry.key, %error, "a partner can't be read");
            None
        }
    }
}
