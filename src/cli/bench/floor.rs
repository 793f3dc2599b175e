//! The floor: the same groups, as atomic batches, by async-nats alone, into a stream with the same
//! settings. Everything that Barid does comes on top of this.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use async_nats::{
    Client, HeaderMap,
    client::Request,
    header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE},
    jetstream::{
        self, consumer::pull::OrderedConfig, publish::PublishAck, response::Response,
        stream::Republish,
    },
};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::{
    access::author::key_name,
    article::{Action, ArticleId, RequestId, Revision, Routing, Time, Urgencies, Urgency},
    cli::bench::{Latencies, node},
    cursor::{Epoch, Epochs},
    topic::Topic,
    wire::{
        log::group::{Context, Group},
        record::Record,
        subject,
    },
};

/// Most groups of three messages in a batch of 1000.
pub const GROUPS_MAX: u32 = 333;

/// A stream beside the log, with the same settings.
#[derive(Debug)]
pub struct Floor {
    client: Client,
    prefix: &'static str,
    article: Bytes,
}

/// One message of a batch, ready to be sent.
struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Floor {
    /// Makes the stream. With `republish`, copies go on to core subjects as those of the log do.
    ///
    /// # Errors
    /// NATS refuses.
    pub async fn new(
        client: Client,
        prefix: &'static str,
        has_republish: bool,
        article: Bytes,
    ) -> anyhow::Result<Self> {
        let epochs = Epochs::first(Epoch::from_bits(0));
        let mut config = subject::stream(&epochs, 1, None);
        config.name = prefix.to_uppercase();
        config.subjects = vec![format!("{prefix}.>")];
        config.republish = has_republish.then(|| Republish {
            source: format!("{prefix}.news.>"),
            destination: format!("{prefix}-news.>"),
            headers_only: false,
        });
        jetstream::new(client.clone())
            .create_stream(config)
            .await
            .context("no floor stream")?;
        Ok(Self {
            client,
            prefix,
            article,
        })
    }

    /// The log itself, to be filled.
    pub fn log(client: Client, article: Bytes) -> Self {
        Self {
            client,
            prefix: "log",
            article,
        }
    }

    /// Commits one group after the other for a while.
    ///
    /// # Errors
    /// NATS refuses.
    pub async fn latency(&self, time: Duration) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::default();
        let end = node::now() + time;
        while node::now() < end {
            let began = node::now();
            self.commit(self.group()).await?;
            latencies.add(began.elapsed());
        }
        Ok(latencies)
    }

    /// Group commit of what this many publishers in turn would have waiting; groups a second.
    ///
    /// # Errors
    /// NATS refuses.
    pub async fn throughput(&self, publishers: u32, time: Duration) -> anyhow::Result<f64> {
        let began: Instant = node::now();
        let mut group_count = 0_u32;
        while began.elapsed() < time {
            let waiting = publishers.min(GROUPS_MAX);
            self.commit_groups(waiting).await?;
            group_count += waiting;
        }
        Ok(f64::from(group_count) / began.elapsed().as_secs_f64())
    }

    /// Reads so many history records by one ordered consumer; how long that took.
    ///
    /// # Errors
    /// NATS refuses.
    pub async fn read(&self, count: u32) -> anyhow::Result<Duration> {
        let stream = jetstream::new(self.client.clone());
        let stream = stream.get_stream(subject::STREAM).await?;
        let config = OrderedConfig {
            filter_subject: subject::ARTICLES.to_owned(),
            ..OrderedConfig::default()
        };
        let began = node::now();
        let mut records = stream.create_consumer(config).await?.messages().await?;
        for _ in 0..count {
            records.next().await.context("the consumer ended")??;
        }
        Ok(began.elapsed())
    }

    /// Commits this many groups, at most [`GROUPS_MAX`], as one batch.
    ///
    /// # Errors
    /// NATS refuses.
    pub async fn commit_groups(&self, count: u32) -> anyhow::Result<()> {
        self.commit((0..count).flat_map(|_| self.group()).collect())
            .await
    }

    /// The group of a new article with one topic.
    fn group(&self) -> Vec<Message> {
        let topic: Topic = "ict.telecom".parse().expect("a topic");
        let now = Time::new(1_800_000_000, 0).expect("a time");
        let record = Record {
            article_id: ArticleId::new(uuid::Uuid::new_v4()),
            revision: Revision::FIRST,
            action: Action::Publish,
            article: self.article.clone(),
            topics: vec![topic],
            own_topic_count: 1,
            topic_reasons: vec!["named".to_owned()],
            request_id: RequestId::new(uuid::Uuid::new_v4()),
            publisher_key_id: key_name(None),
            published_at: now,
            routed_at: now,
            urgencies_ever: Urgencies::default().with(Urgency::DEFAULT),
            uri: String::new(),
            prior_revision_seq: 0,
            routing: Routing::Inferred,
            traceparent: String::new(),
            owner: String::new(),
            draft_seq: 0,
            trail: None,
        };
        let context = Context {
            head_seq: 0,
            digest: [0; 32],
            urgency: Urgency::DEFAULT,
        };
        let group = Group::new(&record, &context);
        let retarget = |subject: &str| subject.replacen("log", self.prefix, 1);
        let messages = group.messages.into_iter().map(|message| Message {
            subject: retarget(&message.subject),
            headers: message.header_map(),
            payload: message.payload,
        });
        messages.collect()
    }

    async fn commit(&self, batch: Vec<Message>) -> anyhow::Result<()> {
        let id = format!("{:032x}", rand::random::<u128>());
        let last = batch.len();
        for (number, message) in (1..).zip(batch) {
            let Message {
                subject,
                mut headers,
                payload,
            } = message;
            headers.insert(NATS_BATCH_ID, id.as_str());
            headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
            if number < last {
                self.client
                    .publish_with_headers(subject, headers, payload)
                    .await?;
                continue;
            }
            headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
            let request = Request::new().headers(headers).payload(payload);
            let request = request.timeout(Some(Duration::from_secs(10)));
            let answer = self.client.send_request(subject, request).await?;
            match serde_json::from_slice(&answer.payload)? {
                Response::<PublishAck>::Ok(_) => {}
                Response::Err { error } => bail!("NATS refuses a batch: {error}"),
            }
        }
        Ok(())
    }
}
