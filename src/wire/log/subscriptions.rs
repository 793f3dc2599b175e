//! Durable subscriptions in the bucket `barid-subscriptions`: one entry each, as JSON. Every node
//! follows it; what decides is read from its leader.

use async_nats::jetstream::{
    kv::{self, Operation},
    stream::RawMessageErrorKind,
};
use futures_util::{Stream, StreamExt as _, future};
use tokio::time::{Instant, sleep};

use crate::{
    recipient::subscription::{Subscription, SubscriptionId},
    wire::log::{
        Log, READ_PATIENCE, RETRY_PAUSE, ReadError,
        bucket::{self, Followed},
        unavailable,
    },
};

/// What marks an entry as removed (ADR-8).
const OPERATION: &str = "KV-Operation";

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
    /// A subscription as it is now.
    Put(Box<KeptSubscription>),
    /// It is gone since this revision.
    Removed(SubscriptionId, u64),
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
        let store = self.subscriptions();
        let at = format!("{}{id}", store.prefix);
        // Not by the store's own `entry`: any replica may answer that.
        let deadline = Instant::now() + READ_PATIENCE;
        let message = loop {
            let read = store.stream.raw_message_builder();
            let error = match read.last_by_subject(at.clone()).send().await {
                Ok(message) => break message,
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                    return Ok(None);
                }
                Err(error) => error,
            };
            // Reads wait behind the writes of the bucket, each of which waits for the disk.
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(unavailable(error));
            }
            sleep(RETRY_PAUSE).await;
        };
        if message.headers.get(OPERATION).is_some() {
            return Ok(None);
        }
        Ok(kept(id, &message.payload, message.sequence))
    }

    /// Keeps a subscription, over the version that it was made from, 0 for a new one. Returns the new
    /// version; none if somebody else was faster.
    ///
    /// # Errors
    /// [`ReadError`]: it may be kept all the same.
    pub async fn put_subscription(
        &self,
        id: &SubscriptionId,
        subscription: &Subscription,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        let text = serde_json::to_vec(subscription).expect("plain data");
        bucket::put(self.subscriptions(), &id.to_string(), text.into(), revision).await
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
    ) -> Result<impl Stream<Item = Result<SubscriptionChange, ReadError>> + use<>, ReadError> {
        let entries = self.follow_bucket(self.subscriptions(), &[">"]).await?;
        Ok(entries.filter_map(|entry| {
            future::ready(match entry {
                Ok(Followed::Entry(entry)) => change(&entry).map(Ok),
                Ok(Followed::CaughtUp) => None,
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
