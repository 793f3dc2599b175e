//! Webhooks in the bucket `barid-webhooks`: what their owners want (`hook.<id>`), how far they have
//! come (`progress.<id>`), what is parked (`parked.<id>`), and which nodes work them
//! (`node.<name>`). All as JSON, and no news in any of it.

use async_nats::jetstream::kv::{self, Operation};
use futures_util::{Stream, StreamExt as _, future};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    access::partner::PartnerName,
    webhook::{ParkedList, Progress, Webhook, WebhookId},
    wire::log::{
        Log, ReadError,
        bucket::{self, Followed},
        freshness::Freshness,
        unavailable,
    },
};

/// A value and the version of its entry: what the next change builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<T> {
    /// The value.
    pub value: T,
    /// Its entry's revision; 0 = there is none.
    pub revision: u64,
}

/// What a node sees as it follows the bucket.
#[derive(Clone, Debug)]
pub enum WebhookChange {
    /// All webhooks that there were have come, but for what was changed on its way: that comes.
    CaughtUp,
    /// A webhook as it is now.
    Put(Box<Kept<Webhook>>),
    /// It is gone.
    Removed(WebhookId),
    /// A node is there.
    Beat(String),
    /// It has said good-bye.
    Left(String),
    /// All that there was at this moment has come.
    Confirmed(Instant),
}

fn hook_key(id: WebhookId) -> String {
    format!("hook.{id}")
}

fn progress_key(id: WebhookId) -> String {
    format!("progress.{id}")
}

fn parked_key(id: WebhookId) -> String {
    format!("parked.{id}")
}

fn node_key(node: &str) -> String {
    format!("node.{node}")
}

impl Log {
    /// A webhook, as it is kept.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Kept<Webhook>>, ReadError> {
        self.kept(&hook_key(id)).await
    }

    /// Keeps a webhook over a version, 0 for a new one. Returns the new version; none if somebody
    /// else was faster.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn put_webhook(
        &self,
        webhook: &Webhook,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        self.keep(&hook_key(webhook.id), webhook, revision).await
    }

    /// Removes a webhook and all that is kept of it; whoever works it stops.
    ///
    /// # Errors
    /// [`ReadError`]: try again.
    pub async fn remove_webhook(&self, id: WebhookId) -> Result<(), ReadError> {
        // The webhook first: whoever still works it would begin it anew where nothing is kept of it.
        self.purge([hook_key(id), parked_key(id), progress_key(id)])
            .await
    }

    async fn purge(&self, keys: impl IntoIterator<Item = String>) -> Result<(), ReadError> {
        for key in keys {
            let purged = self.0.connection.webhooks.purge(key).await;
            purged.map_err(unavailable)?;
        }
        Ok(())
    }

    /// Removes a webhook and all that is kept of it, if it is still this version; returns whether it
    /// was.
    ///
    /// # Errors
    /// [`ReadError`]: try again.
    pub async fn end_webhook(&self, id: WebhookId, revision: u64) -> Result<bool, ReadError> {
        let store = &self.0.connection.webhooks;
        if !bucket::remove(store, &hook_key(id), revision).await? {
            return Ok(false);
        }
        self.purge([parked_key(id), progress_key(id)]).await?;
        Ok(true)
    }

    /// Removes all webhooks of a partner.
    ///
    /// # Errors
    /// [`ReadError`]: some may be left; try again.
    pub async fn remove_webhooks_of(&self, partner: &PartnerName) -> Result<(), ReadError> {
        let keys = self.0.connection.webhooks.keys().await;
        let mut keys = keys.map_err(unavailable)?;
        let mut ids: Vec<WebhookId> = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(unavailable)?;
            ids.extend(
                key.strip_prefix("hook.")
                    .and_then(|id| id.parse::<WebhookId>().ok()),
            );
        }
        for id in ids {
            let kept = self.webhook(id).await?;
            if kept.is_some_and(|kept| kept.value.partner.as_ref() == Some(partner)) {
                self.remove_webhook(id).await?;
            }
        }
        Ok(())
    }

    /// How far a webhook has come; none if nobody has worked it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn progress(&self, id: WebhookId) -> Result<Option<Kept<Progress>>, ReadError> {
        self.kept(&progress_key(id)).await
    }

    /// Keeps how far a webhook has come, as [`Log::put_webhook`] does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn put_progress(
        &self,
        id: WebhookId,
        progress: &Progress,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        self.keep(&progress_key(id), progress, revision).await
    }

    /// What is parked of a webhook; empty with version 0 if nothing ever was.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn parked(&self, id: WebhookId) -> Result<Kept<ParkedList>, ReadError> {
        let kept = self.kept(&parked_key(id)).await?;
        Ok(kept.unwrap_or(Kept {
            value: ParkedList::default(),
            revision: 0,
        }))
    }

    /// Keeps what is parked, as [`Log::put_webhook`] does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn put_parked(
        &self,
        id: WebhookId,
        parked: &ParkedList,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        self.keep(&parked_key(id), parked, revision).await
    }

    /// Says that a node is there.
    ///
    /// # Errors
    /// [`ReadError`]: it may not have been heard.
    pub async fn beat(&self, node: &str) -> Result<(), ReadError> {
        let put = self.0.connection.webhooks.put(node_key(node), "".into());
        put.await.map(|_| ()).map_err(unavailable)
    }

    /// Says good-bye for a node.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn leave(&self, node: &str) -> Result<(), ReadError> {
        let purge = self.0.connection.webhooks.purge(node_key(node));
        purge.await.map_err(unavailable)
    }

    /// All webhooks and nodes, and then every change, each by its newest state. An entry that can't
    /// be read is logged, and counts as removed.
    ///
    /// # Errors
    /// [`ReadError`], also within the stream: begin anew.
    pub async fn follow_webhooks(
        &self,
        freshness: &Freshness,
    ) -> Result<impl Stream<Item = Result<WebhookChange, ReadError>> + use<>, ReadError> {
        let store = &self.0.connection.webhooks;
        let keys = ["hook.>", "node.>"];
        let entries = self.follow_bucket(store, &keys, freshness.wanted()).await?;
        Ok(entries.filter_map(|entry| {
            future::ready(match entry {
                Ok(Followed::Entry(entry)) => change(&entry).map(Ok),
                Ok(Followed::Begun(_)) => None,
                Ok(Followed::Confirmed(asked)) => Some(Ok(WebhookChange::Confirmed(asked))),
                Ok(Followed::CaughtUp) => Some(Ok(WebhookChange::CaughtUp)),
                Err(error) => Some(Err(error)),
            })
        }))
    }

    async fn kept<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Kept<T>>, ReadError> {
        let entry = bucket::entry(&self.0.connection.webhooks, key).await?;
        Ok(entry.and_then(|entry| read(&entry)))
    }

    async fn keep(
        &self,
        key: &str,
        value: &impl Serialize,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        let text = serde_json::to_vec(value).expect("plain data");
        bucket::put(&self.0.connection.webhooks, key, text.into(), revision).await
    }

    /// Forgets a node that is dead, unless it has come back.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn bury(&self, node: &str) -> Result<(), ReadError> {
        let store = &self.0.connection.webhooks;
        let entry = bucket::entry(store, &node_key(node)).await?;
        let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put) else {
            return Ok(());
        };
        bucket::remove(store, &node_key(node), entry.revision)
            .await
            .map(drop)
    }
}

fn change(entry: &kv::Entry) -> Option<WebhookChange> {
    let is_put = entry.operation == Operation::Put;
    let (kind, name) = entry.key.split_once('.')?;
    match kind {
        "node" if is_put => Some(WebhookChange::Beat(name.to_owned())),
        "node" => Some(WebhookChange::Left(name.to_owned())),
        _ => {
            let kept = read(entry).map(|kept| WebhookChange::Put(Box::new(kept)));
            kept.or_else(|| name.parse().ok().map(WebhookChange::Removed))
        }
    }
}

fn read<T: DeserializeOwned>(entry: &kv::Entry) -> Option<Kept<T>> {
    if entry.operation != Operation::Put {
        return None;
    }
    match serde_json::from_slice(&entry.value) {
        Ok(value) => Some(Kept {
            value,
            revision: entry.revision,
        }),
        Err(error) => {
            // Never what it holds: there are secrets in it.
            tracing::error!(
                key = entry.key,
                at = error.column(),
                "a webhook can't be read"
            );
            None
        }
    }
}
