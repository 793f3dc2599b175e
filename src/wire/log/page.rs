//! Pages of history for readers that are behind, through a bounded pool.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt as _;
use prometheus::IntGauge;

use crate::{
    article::ArticleId,
    wire::{
        log::{Log, ReadError, unavailable},
        record::{Record, Stored},
        subject,
    },
};

/// Pages that may be read at once; others wait, first come first served.
pub const PAGES_MAX: usize = 16;
/// Most records of a page.
///
/// Perf: what a page costs beside its records is a consumer, made and deleted.
pub const PAGE_LEN_MAX: usize = 1024;
/// Sequences whose records surely fit a page, with one to spare that tells that all were there: a
/// group has three messages at least.
pub const PAGE_SEQS: u64 = 3 * 1023;
/// Bytes at which the server ends a page.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long the server may take to hand out a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// After how long without use the server forgets a page's consumer.
const CONSUMER_LIFE: Duration = Duration::from_secs(5);

impl Log {
    /// The records after a sequence, in order and without a hole: at most [`PAGE_LEN_MAX`], from
    /// `retained_from` on at the earliest. Empty only if there is none, or if the replica that was
    /// asked is behind.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn page(&self, after: u64) -> Result<Vec<Stored>, ReadError> {
        let first = (after + 1).max(self.retained_from());
        let subject = subject::ARTICLES.to_owned();
        self.page_of(subject, first, PAGE_LEN_MAX).await
    }

    /// The records after a sequence, likewise, and as many as there may be up to another, which is
    /// at most [`PAGE_SEQS`] on; perhaps some beyond it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn page_up_to(&self, after: u64, up_to: u64) -> Result<Vec<Stored>, ReadError> {
        let first = (after + 1).max(self.retained_from());
        let len = up_to.saturating_sub(first) / 3 + 2;
        let len = usize::try_from(len)
            .unwrap_or(PAGE_LEN_MAX)
            .min(PAGE_LEN_MAX);
        self.page_of(subject::ARTICLES.to_owned(), first, len).await
    }

    /// The records of one article from a sequence on, likewise, however old.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn revisions(&self, id: ArticleId, first: u64) -> Result<Vec<Stored>, ReadError> {
        self.page_of(subject::article(id), first, PAGE_LEN_MAX)
            .await
    }

    async fn page_of(
        &self,
        subject: String,
        first: u64,
        len_max: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let metrics = self.metrics();
        let waiting = Counted::up(&metrics.catch_ups_waiting);
        let permit = self.0.pages.acquire().await;
        let _permit = permit.expect("this semaphore is never closed");
        drop(waiting);
        let _running = Counted::up(&metrics.catch_ups_running);
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: first,
            },
            ack_policy: AckPolicy::None,
            filter_subject: subject,
            inactive_threshold: CONSUMER_LIFE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let stream = &self.0.connection.reader;
        let consumer = stream.create_consumer(config).await.map_err(unavailable)?;
        let page = self.fetch(&consumer, len_max).await;
        let name = &consumer.cached_info().name;
        if let Err(error) = stream.delete_consumer(name).await {
            // The server forgets it by itself.
            tracing::debug!(%error, "a page's consumer stays for a while");
        }
        page
    }

    async fn fetch(
        &self,
        consumer: &async_nats::jetstream::consumer::Consumer<pull::Config>,
        len_max: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let mut messages = consumer
            .fetch()
            .max_messages(len_max)
            .max_bytes(PAGE_BYTES_MAX)
            .expires(PAGE_TIMEOUT)
            .messages()
            .await
            .map_err(unavailable)?;
        let mut page = Vec::with_capacity(len_max);
        let mut number = 0;
        while let Some(message) = messages.next().await {
            let message = match message {
                Ok(message) => message,
                // A page that is full of bytes ends with an error (409 "Message Size Exceeds
                // MaxBytes"), as any failure may come late: what came before it is whole.
                Err(_) if !page.is_empty() => break,
                Err(error) => return Err(ReadError::from_boxed(error)),
            };
            let info = message.info().map_err(ReadError::from_boxed)?;
            number += 1;
            if info.consumer_sequence != number {
                // One was lost on the way: what came before it is whole.
                break;
            }
            let (seq, time_ns) = (info.stream_sequence, info.published.unix_timestamp_nanos());
            let record = Record::decode(message.message.payload)
                .map_err(|source| ReadError::Corrupt { seq, source })?;
            page.push(Stored {
                seq,
                time_ns,
                record,
            });
        }
        Ok(page)
    }
}

/// One more of something, until it is dropped.
struct Counted<'a>(&'a IntGauge);

impl<'a> Counted<'a> {
    fn up(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ReadError {
    /// An error of the client that comes in a box.
    pub(super) fn from_boxed(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::Unavailable(Some(error))
    }
}
