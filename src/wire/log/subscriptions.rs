//! Durable subscriptions in the bucket `barid-subscriptions`: one entry each, as JSON. Every node
//! follows it; what decides is read from its leader.

use std::time::Duration;

use async_nats::jetstream::kv::{self, Operation};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future};
use tokio::time::Instant;

use crate::{
    recipient::subscription::{Subscription, SubscriptionId},
    wire::log::{
        Log, ReadError,
        batch::AppendError,
        bucket::{self, Followed},
        freshness::Freshness,
        group::Group,
        unavailable,
    },
};

/// How long one entry may take to be stored before it is looked at again.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// A subscription and the version of its entry.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSubscription {
    /// Which.
    pub id: SubscriptionId,
    /// The subscription.
    pub subscription: Subscription,
    /// Its entry's revision: what the next change builds on, and higher than that of every earlier
    /// state.
    pub revision: u64,
}

/// What a node sees as it follows the bucket.
#[derive(Clone, Debug, PartialEq)]
pub enum SubscriptionChange {
    /// All subscriptions come, of a bucket that ends at this revision.
    Begun(u64),
    /// A subscription as it is now.
    Put(Box<KeptSubscription>),
    /// It is gone since this revision.
    Removed(SubscriptionId, u64),
    /// All that there was at this moment has come, but for what was changed on its way: that comes.
    Confirmed(Instant),
}

impl Log {
    /// A subscription, as the leader has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn subscription(
        &self,
        id: &SubscriptionId,
    ) -> Result<Option<KeptSubscription>, ReadError> {
        let entry = bucket::entry(self.subscriptions(), &id.to_string()).await?;
        let entry = entry.filter(|entry| entry.operation == Operation::Put);
        Ok(entry.and_then(|entry| kept(id, &entry.value, entry.revision)))
    }

    /// The ids of all subscriptions, as the leader has them, and of some that were removed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn subscription_ids(&self) -> Result<Vec<SubscriptionId>, ReadError> {
        let store = self.subscriptions();
        let subjects = store
            .stream
            .info_with_subjects(format!("{}>", store.prefix));
        let mut subjects = subjects.await.map_err(unavailable)?;
        let mut ids = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(unavailable)?;
            let key = subject.strip_prefix(&*store.prefix);
            // What is under no key of one was logged as it came.
            ids.extend(key.and_then(|key| key.parse::<SubscriptionId>().ok()));
        }
        Ok(ids)
    }

    /// Keeps a subscription, over the version that it was made from, 0 for a new one. Returns the new
    /// version; none if somebody else was faster. Whatever waits at the time is written with it.
    ///
    /// # Errors
    /// [`ReadError`]: it may be kept all the same.
    pub async fn put_subscription(
        &self,
        id: &SubscriptionId,
        subscription: &Subscription,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        let (store, key) = (self.subscriptions(), id.to_string());
        let at = format!("{}{key}", store.prefix);
        let state: Bytes = serde_json::to_vec(subscription).expect("plain data").into();
        let deadline = Instant::now() + WRITE_PATIENCE;
        let mut expected = revision;
        loop {
            let group = Group::subscription(id.clone(), at.clone(), state.clone(), expected);
            let is_ours_possible = match self.0.subscriptions_queue.append(group, deadline).await {
                Ok(appended) => return Ok(Some(appended.seq)),
                Err(AppendError::Stale { is_ours_possible }) => is_ours_possible,
                Err(error) => return Err(unavailable(error)),
            };
            match bucket::entry(store, &key).await? {
                // An earlier try of the same is stored, though nobody said so.
                Some(entry) if is_ours_possible && entry.value == state => {
                    return Ok(Some(entry.revision));
                }
                // One of this name was removed: its mark is what a new one comes after.
                Some(entry)
                    if revision == 0
                        && entry.operation != Operation::Put
                        && entry.revision > expected =>
                {
                    expected = entry.revision;
                }
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// Removes a subscription; returns whether it was still that version.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn remove_subscription(
        &self,
        id: &SubscriptionId,
        revision: u64,
    ) -> Result<bool, ReadError> {
        bucket::remove(self.subscriptions(), &id.to_string(), revision).await
    }

    /// All subscriptions, and then every change, each by its newest state. An entry that can't be
    /// read is logged and passed over.
    ///
    /// # Errors
    /// [`ReadError`], also within the stream: begin anew.
    pub async fn follow_subscriptions(
        &self,
        freshness: &Freshness,
    ) -> Result<impl Stream<Item = Result<SubscriptionChange, ReadError>> + use<>, ReadError> {
        let entries = self
            .follow_bucket(self.subscriptions(), &[">"], freshness.wanted())
            .await?;
        Ok(entries.filter_map(|entry| {
            future::ready(match entry {
                Ok(Followed::Begun(last)) => Some(Ok(SubscriptionChange::Begun(last))),
                Ok(Followed::Entry(entry)) => change(&entry).map(Ok),
                Ok(Followed::CaughtUp) => None,
                Ok(Followed::Confirmed(asked)) => Some(Ok(SubscriptionChange::Confirmed(asked))),
                Err(error) => Some(Err(error)),
            })
        }))
    }
}

fn change(entry: &kv::Entry) -> Option<SubscriptionChange> {
    let id: SubscriptionId = match entry.key.parse() {
        Ok(id) => id,
        Err(error) => {
            tracing::error!(key = entry.key, %error, "a subscription is kept under no key of one");
            return None;
        }
    };
    match entry.operation {
        Operation::Put => {
            let kept = kept(&id, &entry.value, entry.revision);
            kept.map(|kept| SubscriptionChange::Put(Box::new(kept)))
        }
        Operation::Delete | Operation::Purge => {
            Some(SubscriptionChange::Removed(id, entry.revision))
        }
    }
}

fn kept(id: &SubscriptionId, bytes: &[u8], revision: u64) -> Option<KeptSubscription> {
    match serde_json::from_slice(bytes) {
        Ok(subscription) => Some(KeptSubscription {
            id: id.clone(),
            subscription,
            revision,
        }),
        Err(error) => {
            tracing::error!(%id, %error, "a subscription can't be read");
            None
        }
    }
}
