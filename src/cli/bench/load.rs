//! Load on a node through its public protocol.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{
    cli::bench::{
        Latencies,
        floor::{Floor, GROUPS_MAX},
        node::{self, Node, NodeArgs},
        progress,
    },
    wire::proto::v1::{
        Article, PublishRequest, SubscribeRequest,
        publisher_service_client::PublisherServiceClient, subscribe_response::Frame,
        subscriber_service_client::SubscriberServiceClient,
    },
};

/// Connections over which many publishers share.
const CONNECTIONS: usize = 4;

/// Retries of the last request of a publisher in turn.
const RETRIES: u32 = 500;

/// What one publisher in turn measures.
#[derive(Debug, Default)]
pub struct InTurn {
    /// From request to answer.
    pub answer: Latencies,
    /// From request to the first subscriber.
    pub delivery: Latencies,
    /// From a retry to its stored answer, which the node remembers: what the call itself costs.
    pub retry: Latencies,
}

/// An article with a body of this many bytes and one topic.
pub fn article(body_bytes: usize) -> Article {
    Article {
        headline: "A headline of about the usual length for a story on the wire".to_owned(),
        body: "lorem ipsum dolor sit amet. ".repeat(body_bytes / 28),
        language: "en".to_owned(),
        topics: vec!["ict.telecom".to_owned()],
        urgency: 5,
        ..Article::default()
    }
}

/// Publishes one article after the other for a while, with one subscriber that follows.
///
/// # Errors
/// The node refuses.
pub async fn in_turn(node: &Node, article: &Article, time: Duration) -> anyhow::Result<InTurn> {
    let mut publisher = PublisherServiceClient::new(connect(node).await?);
    let mut subscriber = SubscriberServiceClient::new(connect(node).await?);
    let mut frames = subscriber
        .subscribe(SubscribeRequest::default())
        .await?
        .into_inner();
    let first = frames.message().await?.and_then(|response| response.frame);
    anyhow::ensure!(
        matches!(first, Some(Frame::CaughtUp(_))),
        "the stream does not begin"
    );
    let mut measured = InTurn::default();
    let mut last = request(article);
    let end = node::now() + time;
    while node::now() < end {
        last = request(article);
        let began = node::now();
        let answer = async {
            let answer = publisher.publish(last.clone()).await;
            (answer, began.elapsed())
        };
        let delivery = async {
            let frame = frames.message().await;
            (frame, began.elapsed())
        };
        // Both at once: the delivery may come before the answer.
        let ((answer, answered), (frame, delivered)) = tokio::join!(answer, delivery);
        answer?;
        let frame = frame?.and_then(|response| response.frame);
        anyhow::ensure!(
            matches!(frame, Some(Frame::Delivery(_))),
            "no delivery came"
        );
        measured.answer.add(answered);
        measured.delivery.add(delivered);
    }
    for _ in 0..RETRIES {
        let began = node::now();
        let answer = publisher.publish(last.clone()).await?.into_inner();
        measured.retry.add(began.elapsed());
        anyhow::ensure!(answer.duplicate, "a retry was taken for another request");
    }
    Ok(measured)
}

/// This many publishers, each in turn, for a while; articles a second.
///
/// # Errors
/// The node refuses.
pub async fn throughput(
    node: &Node,
    article: &Article,
    publishers: u32,
    time: Duration,
) -> anyhow::Result<(f64, Latencies)> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(connect(node).await?);
    }
    let article = Arc::new(article.clone());
    let mut tasks = JoinSet::new();
    let began = node::now();
    for (_, channel) in (0..publishers).zip(channels.iter().cycle()) {
        let mut publisher = PublisherServiceClient::new(channel.clone());
        let article = Arc::clone(&article);
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            while began.elapsed() < time {
                let request = request(&article);
                let sent = node::now();
                publisher.publish(request).await?;
                latencies.add(sent.elapsed());
            }
            Ok::<_, Status>(latencies)
        });
    }
    let mut latencies = Latencies::default();
    while let Some(task) = tasks.join_next().await {
        latencies.add_all(&task??)?;
    }
    let count = u32::try_from(latencies.count()).context("too many to count")?;
    Ok((f64::from(count) / began.elapsed().as_secs_f64(), latencies))
}

/// A request with a new id.
pub fn request(article: &Article) -> PublishRequest {
    PublishRequest {
        request_id: Uuid::new_v4().to_string(),
        article: Some(article.clone()),
        ..PublishRequest::default()
    }
}

/// A connection to a node.
///
/// # Errors
/// It is not there.
pub async fn connect(node: &Node) -> anyhow::Result<Connection> {
    let endpoint = Endpoint::from_shared(node.grpc.clone())?.tcp_nodelay(true);
    let channel = endpoint
        .connect()
        .await
        .context("can't connect to the node")?;
    let authorization = node.key.as_ref().map(|key| format!("Bearer {key}").parse());
    let authorization = authorization.transpose().context("the key")?;
    Ok(InterceptedService::new(channel, Shows(authorization)))
}

/// A connection on which a key is shown, if the node asks for one.
pub type Connection = InterceptedService<Channel, Shows>;

/// The key that is shown.
#[derive(Clone, Debug)]
pub struct Shows(Option<MetadataValue<Ascii>>);

impl Interceptor for Shows {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// Fills a node's log with articles, as fast as NATS takes them.
///
/// # Errors
/// What the node or NATS says.
pub async fn fill(data: &Path, args: &NodeArgs, article: Bytes, count: u32) -> anyhow::Result<()> {
    let node = Node::start(data, args).await?;
    let floor = Floor::log(node::nats(data).await?, article);
    let bar = progress(count.into()).with_message("filling the log");
    let mut left = count;
    while left > 0 {
        let step = left.min(GROUPS_MAX);
        floor.commit_groups(step).await?;
        left -= step;
        bar.inc(step.into());
    }
    bar.finish_and_clear();
    node.stop().await
}
