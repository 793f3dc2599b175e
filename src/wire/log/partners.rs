//! Partners in the bucket `barid-partners`: one entry each, by name, as JSON. Every node follows it.

use std::sync::Arc;

use async_nats::jetstream::kv::{self, Operation};
use futures_util::{Stream, StreamExt as _, future};

use crate::{
    access::partner::{Partner, PartnerName},
    wire::log::{
        Log, ReadError,
        bucket::{self, Followed},
        unavailable,
    },
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
        let entry = bucket::entry(self.partners(), name.as_str()).await?;
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
        bucket::put(
            self.partners(),
            partner.name.as_str(),
            text.into(),
            revision,
        )
        .await
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
        bucket::remove(self.partners(), name.as_str(), revision).await
    }

    /// All partners, and then every change, each by its newest state. An entry that can't be read
    /// is logged, and counts as removed.
    ///
    /// # Errors
    /// [`ReadError`], also within the stream: begin anew.
    pub async fn follow_partners(
        &self,
    ) -> Result<impl Stream<Item = Result<PartnerChange, ReadError>> + use<>, ReadError> {
        let entries = self
            .follow_bucket(self.partners(), &[">"], Arc::default())
            .await?;
        Ok(entries.filter_map(|entry| {
            future::ready(match entry {
                Ok(Followed::Entry(entry)) => change(&entry).map(Ok),
                Ok(Followed::Begun(_) | Followed::Confirmed(..)) => None,
                Ok(Followed::CaughtUp) => Some(Ok(PartnerChange::CaughtUp)),
                Err(error) => Some(Err(error)),
            })
        }))
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
