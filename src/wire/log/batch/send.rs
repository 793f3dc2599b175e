//! Send: one atomic batch (ADR-50), from its first message to its commit.

use std::time::Duration;

use async_nats::{
    RequestErrorKind,
    client::{PublishErrorKind, Request},
    header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE},
    jetstream::{ErrorCode, publish::PublishAck, response::Response},
};

use crate::wire::log::{
    Log,
    batch::{Job, Lane},
};

/// A batch that is stored.
pub(super) struct Sent {
    /// The sequence of its first message.
    pub first_seq: u64,
    /// How far this node had read the log when it was sent; 0 where that is of no matter.
    pub read: u64,
}

/// How a batch failed.
#[derive(Debug)]
pub(super) enum BatchError {
    /// An expectation of some group does not hold.
    Stale,
    /// Nothing was sent: the log is out of reach.
    Away,
    /// Nobody knows, or the server is busy: the same batch may succeed.
    Again(String),
    /// Too many messages, or too large a one, for this server.
    TooLarge,
    Full,
    Refused(String),
}

impl Lane {
    /// Sends one batch and waits for its commit.
    pub(super) async fn send(
        self,
        log: &Log,
        part: &mut [Job],
        patience: Duration,
    ) -> Result<Sent, BatchError> {
        let read = self.begin(log).await?;
        let client = &log.0.connection.client;
        let mut generation = log.0.connection.generation.clone();
        generation.mark_unchanged();
        let batch_id = nuid();
        let last = part
            .iter()
            .map(|job| job.group.messages.len())
            .sum::<usize>();
        let mut number = 0;
        for job in part.iter_mut() {
            job.send_count += 1;
            for message in &job.group.messages {
                number += 1;
                let mut headers = message.header_map();
                headers.insert(NATS_BATCH_ID, batch_id.as_str());
                headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
                let (subject, payload) = (message.subject.clone(), message.payload.clone());
                if number < last {
                    client
                        .publish_with_headers(subject, headers, payload)
                        .await
                        .map_err(|error| match error.kind() {
                            PublishErrorKind::MaxPayloadExceeded => BatchError::TooLarge,
                            PublishErrorKind::InvalidSubject => {
                                BatchError::Refused(error.to_string())
                            }
                            PublishErrorKind::Send => BatchError::Again(error.to_string()),
                        })?;
                    continue;
                }
                headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
                let request = Request::new()
                    .headers(headers)
                    .payload(payload)
                    .timeout(Some(patience));
                let response = tokio::select! {
                    biased;
                    response = client.send_request(subject, request) => response,
                    // What is dropped here waits for an answer that the lost connection took along.
                    _ = generation.changed() => {
                        return Err(BatchError::Again("the connection was lost".to_owned()));
                    }
                };
                let response = response.map_err(|error| match error.kind() {
                    RequestErrorKind::MaxPayloadExceeded => BatchError::TooLarge,
                    RequestErrorKind::InvalidSubject => BatchError::Refused(error.to_string()),
                    RequestErrorKind::TimedOut
                    | RequestErrorKind::NoResponders
                    | RequestErrorKind::Other => BatchError::Again(error.to_string()),
                })?;
                let first_seq = committed(&response.payload, last)?;
                return Ok(Sent { first_seq, read });
            }
        }
        Err(BatchError::Refused("an empty batch".into()))
    }

    /// What must hold before anything is sent; returns how far this node has read the log.
    async fn begin(self, log: &Log) -> Result<u64, BatchError> {
        match self {
            Self::Log => {
                // What this node knows may be of a server that has since been restored from a backup.
                if !log.is_generation_confirmed() {
                    log.confirm().await.map_err(|_| BatchError::Away)?;
                }
                Ok(log.read_up_to())
            }
            // A client without a connection keeps what it is given for the next one.
            Self::Subscriptions => log.generation().map(|_| 0).ok_or(BatchError::Away),
        }
    }
}

/// Reads the acknowledgement of a batch of `len` messages.
fn committed(payload: &[u8], len: usize) -> Result<u64, BatchError> {
    let response: Response<PublishAck> = serde_json::from_slice(payload)
        .map_err(|error| BatchError::Again(format!("unreadable acknowledgement: {error}")))?;
    match response {
        Response::Ok(ack) => {
            let len = u64::try_from(len).expect("usize fits u64");
            Ok(ack.sequence + 1 - len)
        }
        Response::Err { error } => Err(match error.error_code() {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE
            | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => BatchError::Stale,
            ErrorCode::ATOMIC_PUBLISH_TOO_LARGE_BATCH => BatchError::TooLarge,
            ErrorCode::STREAM_STORE_FAILED
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES => BatchError::Full,
            ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH
            | ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT
            | ErrorCode::STREAM_TOO_MANY_REQUESTS
            | ErrorCode::STREAM_NOT_FOUND
            | ErrorCode::CLUSTER_NOT_LEADER
            | ErrorCode::CLUSTER_NOT_AVAILABLE => BatchError::Again(error.to_string()),
            _ if matches!(error.code(), 429 | 503) => BatchError::Again(error.to_string()),
            _ => BatchError::Refused(error.to_string()),
        }),
    }
}

fn nuid() -> String {
    format!("{:032x}", rand::random::<u128>())
}
