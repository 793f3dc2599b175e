//! Pages of history for readers that are behind, through a bounded pool.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
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
pub const PAGE_LEN_MAX: usize = 1024;
/// Sequences whose records surely fit a page, with one to spare that tells that all were there: a
/// group has three messages at least.
pub const PAGE_SEQS: u64 = 3 * 1023;
/// Bytes at which the server ends a page: as many records of two kilobytes as a page takes at most.
pub const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;
/// How long the server may take to hand out a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// After how long without use the server forgets a walk's consumer.
const CONSUMER_LIFE: Duration = Duration::from_secs(10);

impl Log {
    /// The records of one article from a sequence on, in order and without a hole, at most
    /// [`PAGE_LEN_MAX`]. Empty only if there is none, or if the replica that was asked is behind.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn revisions(&self, id: ArticleId, first: u64) -> Result<Vec<Stored>, ReadError> {
        let after = first.saturating_sub(1);
        let mut walk = Walk::new(self.clone(), subject::article(id), after);
        let read = walk.read(PAGE_LEN_MAX).await;
        let page = std::mem::take(&mut walk.beyond);
        walk.end().await;
        read.map(|()| page)
    }

    /// A walk through the records after a sequence, from `retained_from` on at the earliest.
    pub fn walk(&self, after: u64) -> Walk {
        let after = after.max(self.retained_from() - 1);
        Walk::new(self.clone(), subject::ARTICLES.to_owned(), after)
    }
}

/// A walk through records, page by page.
///
/// Perf: the server counts all that a new consumer has before it, subject by subject: 9 ms of it in
/// a log of 50,000 articles, where a page of 900 takes 5. So a walk keeps its own.
#[derive(Debug)]
pub struct Walk {
    log: Log,
    subject: String,
    /// The sequence up to which it has handed out all.
    at: u64,
    /// Bytes at which the server ends what is read at a time, unless that is one record.
    bytes_max: usize,
    /// None until it is asked for something, and after a failure.
    reader: Option<Reader>,
    /// What was read and not handed out yet.
    beyond: Vec<Stored>,
}

/// A consumer of the server's, and how many messages it has sent.
#[derive(Debug)]
struct Reader {
    consumer: Consumer<pull::Config>,
    number: u64,
}

impl Walk {
    fn new(log: Log, subject: String, after: u64) -> Self {
        Self {
            log,
            subject,
            at: after,
            bytes_max: PAGE_BYTES_MAX,
            reader: None,
            beyond: Vec::new(),
        }
    }

    /// The sequence up to which it has handed out all.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Reads no more at a time from here on, but one record at least.
    pub fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The next records up to a sequence which is at most [`PAGE_SEQS`] on, in order and without a
    /// hole, and whether these are all up to there. None only if there is none, or if the replica that
    /// was asked is behind.
    ///
    /// # Errors
    /// [`ReadError`]; the walk is where it was.
    pub async fn up_to(&mut self, up_to: u64) -> Result<(Vec<Stored>, bool), ReadError> {
        if self.read_up_to() <= up_to {
            let len = usize::try_from(up_to.saturating_sub(self.at) / 3 + 2);
            let len = len.unwrap_or(PAGE_LEN_MAX).min(PAGE_LEN_MAX);
            self.read(len.saturating_sub(self.beyond.len()).max(1))
                .await?;
        }
        let is_whole = self.read_up_to() > up_to;
        let count = self.beyond.partition_point(|stored| stored.seq <= up_to);
        let rest = self.beyond.split_off(count);
        let mut found = std::mem::replace(&mut self.beyond, rest);
        self.at = match found.last() {
            _ if is_whole => up_to,
            Some(last) => last.seq,
            None => self.at,
        };
        // Before what is retained only newest revisions are kept, which are of no page.
        let from = self.log.retained_from();
        found.retain(|stored| stored.seq >= from);
        Ok((found, is_whole))
    }

    /// Gives its consumer back.
    pub async fn end(self) {
        let Some(reader) = self.reader else {
            return;
        };
        let name = &reader.consumer.cached_info().name;
        let stream = &self.log.0.connection.reader;
        if let Err(error) = stream.delete_consumer(name).await {
            // The server forgets it by itself.
            tracing::debug!(%error, "a walk's consumer stays for a while");
        }
    }

    /// The sequence of the last record read.
    fn read_up_to(&self) -> u64 {
        self.beyond.last().map_or(self.at, |last| last.seq)
    }

    /// Reads on.
    async fn read(&mut self, len: usize) -> Result<(), ReadError> {
        let metrics = self.log.metrics();
        let waiting = Counted::up(&metrics.catch_ups_waiting);
        let permit = self.log.0.pages.acquire().await;
        let _permit = permit.expect("this semaphore is never closed");
        drop(waiting);
        let _running = Counted::up(&metrics.catch_ups_running);
        let before = self.read_up_to();
        // Taken: what is dropped in mid-read must not be gone on with.
        if let Some(mut reader) = self.reader.take()
            && let Ok(is_sound) = reader.read(len, self.bytes_max, &mut self.beyond).await
            && self.read_up_to() > before
        {
            self.reader = is_sound.then_some(reader);
            return Ok(());
        }
        // None yet, or none that the server still knows, or none that has more.
        let mut reader = self.reader(self.read_up_to() + 1).await?;
        let is_sound = reader.read(len, self.bytes_max, &mut self.beyond).await?;
        self.reader = is_sound.then_some(reader);
        Ok(())
    }

    async fn reader(&self, first: u64) -> Result<Reader, ReadError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: first,
            },
            ack_policy: AckPolicy::None,
            filter_subject: self.subject.clone(),
            inactive_threshold: CONSUMER_LIFE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let stream = &self.log.0.connection.reader;
        let consumer = stream.create_consumer(config).await.map_err(unavailable)?;
        Ok(Reader {
            consumer,
            number: 0,
        })
    }
}

impl Reader {
    /// Adds the next records, at least one, and tells whether it can go on: what is lost on the way does
    /// not come again.
    async fn read(
        &mut self,
        len: usize,
        bytes_max: usize,
        records: &mut Vec<Stored>,
    ) -> Result<bool, ReadError> {
        let before = records.len();
        let read = self.fetch(len, bytes_max, records).await;
        if read.is_err() && bytes_max < PAGE_BYTES_MAX && records.len() == before {
            // The next record alone is larger than that.
            return self.fetch(1, PAGE_BYTES_MAX, records).await;
        }
        read
    }

    /// Adds the next records that are not larger than so many bytes.
    async fn fetch(
        &mut self,
        len: usize,
        bytes_max: usize,
        records: &mut Vec<Stored>,
    ) -> Result<bool, ReadError> {
        let mut messages = self
            .consumer
            .fetch()
            .max_messages(len)
            .max_bytes(bytes_max)
            .expires(PAGE_TIMEOUT)
            .messages()
            .await
            .map_err(unavailable)?;
        records.reserve(len);
        let before = records.len();
        while let Some(message) = messages.next().await {
            let message = match message {
                Ok(message) => message,
                // A page that is full of bytes ends with an error (409 "Message Size Exceeds
                // MaxBytes"), as any failure may come late: what came before it is whole.
                Err(_) if records.len() > before => break,
                Err(error) => return Err(ReadError::from_boxed(error)),
            };
            let info = message.info().map_err(ReadError::from_boxed)?;
            self.number += 1;
            if info.consumer_sequence != self.number {
                // One was lost on the way: what came before it is whole.
                return Ok(false);
            }
            let (seq, time_ns) = (info.stream_sequence, info.published.unix_timestamp_nanos());
            let record = Record::decode(message.message.payload)
                .map_err(|source| ReadError::Corrupt { seq, source })?;
            records.push(Stored {
                seq,
                time_ns,
                record,
            });
        }
        Ok(true)
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
