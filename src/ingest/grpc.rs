//! `barid.v1.PublisherService`.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _, future, stream};
use opentelemetry::Context;
use prost::Message as _;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::{JoinSet, coop::unconstrained},
    time::Instant,
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};
use tracing::Instrument as _;

use crate::{
    article::Action,
    fault::Fault,
    gate::caller::{self, Caller},
    ingest::{Ingest, PublishError, Published},
    telemetry::trace,
    wire::{
        convert,
        proto::v1::{
            PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse,
            publish_stream_response::Result as StreamResult,
            publisher_service_server::PublisherService,
        },
        record::{Outcome, texts},
        status::{self, status},
    },
};

/// Publishes of one stream that may be under way or whose answers are not taken; the next one waits.
const PIPELINE_MAX: usize = 256;
/// For how long a publish without a deadline is tried: longer than a cluster without a leader needs
/// to elect one (up to 16 s were measured).
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest deadline that is obeyed.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// How much before the caller's deadline the answer must be ready.
const MARGIN: Duration = Duration::from_millis(50);

/// Room for one request, or why there is none.
type Room = Result<OwnedSemaphorePermit, PublishError>;
/// A request of a stream, with room, and its deadline.
type Taken = Result<(PublishRequest, Room, Instant), Status>;

/// By whom a call was made, and within which trace.
#[derive(Clone, Debug)]
pub struct By {
    /// Who.
    pub caller: Caller,
    /// As part of which trace.
    pub parent: Context,
    /// As for [`Submission::replaces`](crate::article::Submission::replaces).
    pub replaces: Option<u64>,
}

impl By {
    fn of<T>(request: &Request<T>) -> Self {
        Self {
            caller: caller::of(request.extensions()),
            parent: trace::parent(request.metadata()),
            replaces: None,
        }
    }
}

/// The publish gateway as a gRPC service.
#[derive(Clone, Debug)]
pub struct Publisher {
    ingest: Ingest,
}

impl Publisher {
    /// The service in front of a gateway.
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }

    /// Publishes one revision before `deadline`, for whoever asks for it.
    ///
    /// # Errors
    /// What the publisher can do about it.
    pub async fn accept(
        &self,
        request: PublishRequest,
        by: &By,
        deadline: Instant,
    ) -> Result<PublishResponse, Fault> {
        let room = self.ingest.room(request.encoded_len(), deadline).await;
        self.publish_one(request, room, by, deadline).await
    }

    async fn publish_one(
        &self,
        request: PublishRequest,
        room: Room,
        by: &By,
        deadline: Instant,
    ) -> Result<PublishResponse, Fault> {
        let span = trace::Publish::begin(&by.parent);
        let from = (by, span.traceparent());
        let published = self.publish_checked(request, room, from, deadline);
        let published = published.instrument(span.log()).await;
        span.end(match &published {
            Ok(published) => Ok((published.article_id, published.outcome.revision())),
            Err(fault) => Err(fault.reason),
        });
        let (outcome, answer) = match published {
            Ok(published) if published.is_duplicate => ("duplicate", Ok(self.response(&published))),
            Ok(published) => ("accepted", Ok(self.response(&published))),
            Err(fault) => (status::word(fault.kind), Err(fault)),
        };
        self.ingest.metrics().published(outcome);
        answer
    }

    async fn publish_checked(
        &self,
        request: PublishRequest,
        room: Room,
        (by, traceparent): (&By, String),
        deadline: Instant,
    ) -> Result<Published, Fault> {
        let caller = &by.caller;
        let author = caller.author()?;
        caller.take_publish()?;
        let _room = room.map_err(|error| error.fault())?;
        let mut submission = convert::submission(request)?;
        (submission.author, submission.traceparent) = (author, traceparent);
        submission.replaces = by.replaces;
        let action = submission.action;
        let is_recall = action.is_notice() || action == Action::Correct;
        match self.ingest.publish(submission, deadline).await {
            Ok(published) => {
                let (article, revision) = (published.article_id, published.outcome.revision());
                tracing::debug!(%article, revision, seq = published.seq, "published");
                if published.is_before_draft {
                    caller.note("embargo.blocked", &article.to_string());
                }
                if is_recall && !published.is_duplicate {
                    caller.note(
                        &format!("article.{}", action.as_str()),
                        &article.to_string(),
                    );
                }
                Ok(published)
            }
            Err(error) => {
                let fault = error.fault();
                tracing::debug!(%error, reason = fault.reason, "refused a publish");
                Err(fault)
            }
        }
    }

    /// The answer of a stream to one request.
    async fn answer(&self, taken: Taken, by: By) -> Result<PublishStreamResponse, Status> {
        let (request, room, deadline) = taken?;
        let caller = by.caller.again().map_err(|fault| status(&fault))?;
        let by = By { caller, ..by };
        let request_id = request.request_id.clone();
        let published = self.publish_one(request, room, &by, deadline).await;
        let result = match published.map_err(|fault| status(&fault)) {
            Ok(response) => StreamResult::Published(response),
            Err(status) => StreamResult::Error(tonic_types::Status {
                code: status.code().into(),
                message: status.message().to_owned(),
                details: details(&status),
            }),
        };
        Ok(PublishStreamResponse {
            request_id,
            result: Some(result),
        })
    }

    /// Works off the requests of a stream.
    async fn work(
        self,
        requests: impl Stream<Item = Result<PublishStreamRequest, Status>> + Send,
        by: By,
        answers: mpsc::Sender<Result<PublishStreamResponse, Status>>,
    ) {
        let service = self.clone();
        requests
            // One by one, so that no later request gets room before an earlier one.
            .then(move |request| {
                let (service, answers) = (self.clone(), answers.clone());
                async move {
                    // A place for its answer first: from here on nothing waits for the client.
                    let place = answers.reserve_owned().await;
                    (place, service.taken(request).await)
                }
            })
            .map(move |(place, taken)| {
                let (service, by) = (service.clone(), by.clone());
                // In request order; first polls go in that order too, so revisions keep theirs:
                // but for tokio's budget of a task, which wakes those that it stops backwards.
                unconstrained(async move { (place, service.answer(taken, by).await) })
            })
            .buffered(PIPELINE_MAX)
            .for_each(|(place, answer)| {
                if let Ok(place) = place {
                    place.send(answer);
                }
                future::ready(())
            })
            .await;
    }

    /// Waits for room for a request of a stream.
    async fn taken(&self, request: Result<PublishStreamRequest, Status>) -> Taken {
        let request = request?.publish.unwrap_or_default();
        let deadline = Instant::now() + PATIENCE;
        let room = self.ingest.room(request.encoded_len(), deadline).await;
        Ok((request, room, deadline))
    }

    fn response(&self, published: &Published) -> PublishResponse {
        PublishResponse {
            article_id: published.article_id.to_string(),
            revision: published.outcome.revision(),
            topics: texts(&published.topics),
            cursor: match published.outcome {
                Outcome::Revision(_) => self.ingest.cursor(published.seq),
                Outcome::Draft(_) | Outcome::DraftErased => String::new(),
            },
            duplicate: published.is_duplicate,
            embargoed_until: (published.outcome.embargoed_until()).map(convert::time_to_proto),
        }
    }
}

#[tonic::async_trait]
impl PublisherService for Publisher {
    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let deadline = Instant::now() + patience(request.metadata());
        let by = By::of(&request);
        let request = request.into_inner();
        let published = self.accept(request, &by, deadline).await;
        let published = published.map_err(|fault| status(&fault))?;
        Ok(Response::new(published))
    }

    type PublishStreamStream =
        Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let by = By::of(&request);
        by.caller.author().map_err(|fault| status(&fault))?;
        let stop = self.ingest.stop().clone();
        let last = by.caller.clone();
        let ends = {
            let (stop, caller) = (stop.clone(), by.caller.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = caller.ended() => {}
                }
            }
        };
        // What was taken is answered; then the stream ends, or it would hold the exit.
        let requests = request.into_inner().take_until(ends);
        let (answers_in, answers) = mpsc::channel(PIPELINE_MAX);
        // A task of its own that ends with the answers. Not left to their body: nobody polls that
        // while its client stands still, and it would keep others from its articles and its room.
        let mut working = JoinSet::new();
        working.spawn(self.clone().work(requests, by, answers_in));
        let answers = stream::unfold((answers, working), |(mut answers, mut working)| async {
            if let Some(answer) = answers.recv().await {
                return Some((answer, (answers, working)));
            }
            while let Some(ended) = working.join_next().await {
                ended.expect("publishing does not panic");
            }
            None
        });
        let answers = answers.chain(
            stream::once(async move {
                if stop.is_cancelled() {
                    return Some(Err(status(&PublishError::Stopping.fault())));
                }
                last.again().err().map(|fault| Err(status(&fault)))
            })
            .filter_map(future::ready),
        );
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The `google.rpc` details of a status of ours.
fn details(status: &Status) -> Vec<prost_types::Any> {
    let decoded: Result<tonic_types::Status, _> = prost::Message::decode(status.details());
    decoded.map(|status| status.details).unwrap_or_default()
}

/// How long the caller waits: its `grpc-timeout`, with a margin to answer in, or our patience.
fn patience(metadata: &MetadataMap) -> Duration {
    let given = metadata
        .get("grpc-timeout")
        .and_then(|value| grpc_timeout(value.to_str().ok()?));
    given.map_or(PATIENCE, |timeout| {
        timeout.saturating_sub(MARGIN).min(PATIENCE_MAX)
    })
}

/// Reads a `grpc-timeout`: up to 8 digits and a unit (gRPC over HTTP/2, "Requests").
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_is_read_or_left() {
        assert_eq!(grpc_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(grpc_timeout("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "5", "5s", "123456789S", "-1S", "é"] {
            assert_eq!(grpc_timeout(bad), None, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_grpc_timeout_or_none(text in "\\PC{0,12}|[0-9]{0,9}[HMSmun]?") {
            let longest = Duration::from_secs(99_999_999 * 3600);
            proptest::prop_assert!(grpc_timeout(&text).is_none_or(|time| time <= longest));
        }
    }
}
