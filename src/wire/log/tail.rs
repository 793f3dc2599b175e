//! The tail: one ordered consumer per node that follows the history records for ever.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::consumer::{
    DeliverPolicy,
    pull::{Ordered, OrderedConfig},
};
use futures_util::StreamExt as _;
use tokio::time::sleep;

use crate::{
    cursor::Epochs,
    wire::{
        log::{Log, ReadError},
        record::{Record, Stored},
        subject,
    },
};

/// Pause after a failure to begin.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// What the tail finds.
#[derive(Debug)]
pub enum Found {
    /// The next record.
    Record(Box<Stored>),
    /// The log lost what came after this sequence and began a new life there.
    Lost(u64),
}

/// Follows the history records from a sequence on.
pub struct Tail {
    log: Log,
    /// The last record's sequence.
    at: u64,
    /// The lives that the log had when this was last looked at.
    epochs: Arc<Epochs>,
    records: Option<Ordered>,
}

impl Tail {
    /// A tail that begins after a sequence.
    pub fn new(log: Log, after: u64) -> Self {
        let epochs = log.epochs();
        Self {
            log,
            at: after,
            epochs,
            records: None,
        }
    }

    /// The next thing that happens. Never fails: it begins anew until NATS answers.
    ///
    /// # Errors
    /// A record that can't be read: the wire can't go on without it.
    pub async fn next(&mut self) -> Result<Found, ReadError> {
        let mut generation = self.log.0.connection.reader_generation.clone();
        let mut epochs = self.log.epochs_watch();
        loop {
            if let Some(lost_after) = self.loss() {
                return Ok(Found::Lost(lost_after));
            }
            // Whoever called has gone back where a call before told it to.
            self.log.mark_settled(&self.epochs);
            epochs.mark_unchanged();
            generation.mark_unchanged();
            let Some(records) = &mut self.records else {
                self.begin().await;
                continue;
            };
            let message = tokio::select! {
                // Each arm only wakes; the record that `next` might have had comes again, because
                // the tail begins anew after the last one that it returned.
                _ = generation.changed() => { self.records = None; continue }
                _ = epochs.changed() => continue,
                () = self.log.0.tail_restart.notified() => { self.records = None; continue }
                message = records.next() => message,
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    tracing::warn!(%error, "the tail of the log begins anew");
                    self.records = None;
                    continue;
                }
                None => {
                    self.records = None;
                    continue;
                }
            };
            let Ok(info) = message.info() else {
                self.records = None;
                continue;
            };
            let (seq, time_ns) = (info.stream_sequence, info.published.unix_timestamp_nanos());
            if seq <= self.at {
                continue;
            }
            let record = Record::decode(message.message.payload)
                .map_err(|source| ReadError::Corrupt { seq, source })?;
            self.at = seq;
            return Ok(Found::Record(Box::new(Stored {
                seq,
                time_ns,
                record,
            })));
        }
    }

    /// Where the log now ends for this tail, if it lost something that the tail had read.
    fn loss(&mut self) -> Option<u64> {
        let epochs = self.log.epochs();
        if Arc::ptr_eq(&epochs, &self.epochs) {
            return None;
        }
        let lost_after = epochs
            .parts_from(&self.epochs)
            .map_or(u64::MAX, |first| first - 1);
        self.epochs = epochs;
        (lost_after < self.at).then(|| {
            self.at = lost_after;
            self.records = None;
            lost_after
        })
    }

    async fn begin(&mut self) {
        let config = OrderedConfig {
            filter_subject: subject::ARTICLES.to_owned(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.at + 1,
            },
            ..OrderedConfig::default()
        };
        let stream = &self.log.0.connection.reader;
        let error: Box<dyn std::error::Error + Send + Sync> =
            match stream.create_consumer(config).await {
                Ok(consumer) => match consumer.messages().await {
                    Ok(records) => {
                        self.records = Some(records);
                        return;
                    }
                    Err(error) => error.into(),
                },
                Err(error) => error.into(),
            };
        tracing::debug!(%error, "the tail of the log can't begin");
        sleep(RESTART_PAUSE).await;
    }
}
