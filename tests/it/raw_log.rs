//! The stream itself, as its owner sees it: what lies in it, and ways to put things into it that
//! only another release, or much time, would.

use async_nats::{
    client::Request,
    header::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE},
    jetstream::{
        self,
        consumer::{DeliverPolicy, pull::OrderedConfig},
    },
};
use barid::{
    article::Action,
    wire::{
        log::group::{Headers, Outgoing},
        record::Record,
    },
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::harness::{LIMIT, Node, new_id};

/// One message of the stream.
#[derive(Debug)]
pub struct Message {
    pub seq: u64,
    pub subject: String,
    pub payload: Bytes,
}

/// Everything that the log holds, in order; it must hold something.
pub async fn messages(node: &Node) -> Vec<Message> {
    let context = jetstream::new(node.nats_owner().await);
    let stream = context.get_stream("BARID").await.unwrap();
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut incoming = consumer.messages().await.unwrap();
    let mut found = Vec::new();
    loop {
        let message = timeout(LIMIT, incoming.next()).await.unwrap();
        let message = message.unwrap().unwrap();
        let info = message.info().unwrap();
        let is_last = info.pending == 0;
        found.push(Message {
            seq: info.stream_sequence,
            subject: message.subject.to_string(),
            payload: message.payload.clone(),
        });
        if is_last {
            return found;
        }
    }
}

/// Asserts that the log consists of whole groups and nothing else; returns their records. Only for
/// logs without erasures.
pub async fn whole_groups(node: &Node) -> Vec<Record> {
    let messages = messages(node).await;
    let seqs: Vec<u64> = messages.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..).take(seqs.len()).collect::<Vec<u64>>());
    let mut messages = messages.into_iter();
    let mut records = Vec::new();
    while let Some(message) = messages.next() {
        let record = Record::decode(message.payload).unwrap();
        assert_eq!(
            message.subject,
            format!("log.article.{}", record.article_id)
        );
        let mut expected: Vec<String> = record
            .topics
            .iter()
            .map(|topic| format!("log.news.{topic}"))
            .collect();
        expected.push(format!("log.request.anon.{}", record.request_id));
        assert_ne!(
            record.action,
            Action::Kill,
            "an erasure would leave its holes"
        );
        let found: Vec<String> = messages
            .by_ref()
            .take(expected.len())
            .map(|message| message.subject)
            .collect();
        assert_eq!(found, expected, "the group at {}", message.seq);
        records.push(record);
    }
    records
}

/// Puts messages into the log as one atomic batch.
pub async fn append(client: &async_nats::Client, batch: Vec<Outgoing>) {
    let (id, last) = (new_id(), batch.len());
    for (number, message) in (1..).zip(batch) {
        let mut headers = message.header_map();
        headers.insert(NATS_BATCH_ID, id.as_str());
        headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
        if number < last {
            client
                .publish_with_headers(message.subject, headers, message.payload)
                .await
                .unwrap();
        } else {
            headers.insert(NATS_BATCH_COMMIT, "1");
            let request = Request::new().headers(headers).payload(message.payload);
            let answer = client.send_request(message.subject, request).await.unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
            assert_eq!(answer.get("error"), None, "{answer}");
        }
    }
}

/// Puts `count` messages into the log that are no news, as old answers to requests are.
pub async fn append_filler(client: &async_nats::Client, count: usize) {
    for start in (0..count).step_by(1000) {
        let filler = |number| Outgoing {
            subject: format!("log.request.anon.filler-{number}"),
            expected: None,
            headers: Headers::default(),
            payload: Bytes::new(),
        };
        let end = count.min(start + 1000);
        append(client, (start..end).map(filler).collect()).await;
    }
}
