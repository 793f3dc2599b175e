//! `barid.v1.SubscriberService`, by hand: its frames are encoded once per entry and shared, and an
//! article's bytes pass through unchanged.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Frame as BodyFrame;
use prost::Message;
use tonic::{Status, body::Body, codec::Streaming, server::NamedService};

use crate::{
    cursor::Cursor,
    delivery::{
        durable::open::Wish,
        gap::{Gap, GapReason},
        hub::Hub,
        recipients,
        start::Beyond,
        subscription::{Output, Subscription, Way},
    },
    fault::Fault,
    gate::caller::{self, Caller},
    telemetry::Protocol,
    wire::{
        codec::StrictDecoder,
        convert::{self, field},
        proto::v1::{
            self as proto, AcknowledgeRequest, AcknowledgeResponse, CaughtUp, Heartbeat, Opened,
            SubscribeRequest, SubscribeResponse, subscribe_response::Frame,
        },
        status::status,
    },
};

/// Path of the method that streams.
const SUBSCRIBE: &str = "/barid.v1.SubscriberService/Subscribe";
/// Path of the other.
const ACKNOWLEDGE: &str = "/barid.v1.SubscriberService/Acknowledge";
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_LEN: usize = 5;

/// The subscriber service.
#[derive(Clone, Debug)]
pub struct Subscriber {
    hub: Hub,
}

impl Subscriber {
    /// The service over a hub.
    pub fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// Answers a call of the service.
    pub async fn answer(self, request: Request<Body>) -> Response<Body> {
        match request.uri().path() {
            SUBSCRIBE => match self.subscribe(request).await {
                Ok(subscription) => response(Frames {
                    subscription: Some(subscription),
                }),
                Err(status) => status.into_http(),
            },
            ACKNOWLEDGE => match self.acknowledge(request).await {
                Ok(answer) => response(Answer::Message(answer)),
                Err(status) => status.into_http(),
            },
            _ => Status::unimplemented("no such method").into_http(),
        }
    }

    async fn subscribe(self, request: Request<Body>) -> Result<Subscription, Status> {
        let caller = caller::of(request.extensions());
        let request = decode(request).await?;
        let subscription = self.begin(request, &caller).await;
        subscription.map_err(|fault| status(&fault))
    }

    async fn begin(
        self,
        request: SubscribeRequest,
        caller: &Caller,
    ) -> Result<Subscription, Fault> {
        // First: what is asked for is nobody's business who may not ask.
        let permit = caller.stream()?;
        let filter = convert::filter(request.filter)?;
        let start = convert::start(request.start)?;
        let beyond = beyond(request.beyond_grant)?;
        // The connection may carry other streams: it is not this one's to end.
        let way = Way {
            protocol: Protocol::Grpc,
            connection: None,
            permit,
        };
        let subscription = if request.subscription.is_empty() {
            self.hub.subscribe(filter, start, beyond, way).await
        } else {
            let id = recipients::own(caller, "subscription", &request.subscription)?;
            let wish = Wish {
                id,
                filter,
                start,
                beyond,
            };
            self.hub.subscribe_as(wish, way).await
        };
        subscription.map_err(|error| error.fault())
    }

    async fn acknowledge(&self, request: Request<Body>) -> Result<AcknowledgeResponse, Status> {
        let caller = caller::of(request.extensions());
        let request: AcknowledgeRequest = decode(request).await?;
        let stored = self.acknowledged(request, &caller).await;
        let cursor = stored.map_err(|fault| status(&fault))?.to_string();
        Ok(AcknowledgeResponse { cursor })
    }

    async fn acknowledged(
        &self,
        request: AcknowledgeRequest,
        caller: &Caller,
    ) -> Result<Cursor, Fault> {
        let id = recipients::own(caller, "subscription", &request.subscription)?;
        let cursor = field::cursor("cursor", &request.cursor)?;
        let durables = self.hub.durables();
        let stored = durables.acknowledge(&id, &request.token, cursor).await;
        stored.map_err(|error| error.fault())
    }
}

fn beyond(number: i32) -> Result<Beyond, Fault> {
    match proto::BeyondGrant::try_from(number) {
        Ok(proto::BeyondGrant::Unspecified | proto::BeyondGrant::Cut) => Ok(Beyond::Cut),
        Ok(proto::BeyondGrant::Refuse) => Ok(Beyond::Refuse),
        Err(_) => {
            let message = format!("{number} is none of BeyondGrant");
            Err(Fault::field("FIELD_INVALID", "beyond_grant", message))
        }
    }
}

/// The one message of the request.
async fn decode<T: Message + Default + 'static>(request: Request<Body>) -> Result<T, Status> {
    if let Some(encoding) = request.headers().get("grpc-encoding")
        && encoding != "identity"
    {
        let mut status = Status::unimplemented("requests are taken uncompressed only");
        let identity = tonic::metadata::MetadataValue::from_static("identity");
        status
            .metadata_mut()
            .insert("grpc-accept-encoding", identity);
        return Err(status);
    }
    let decoder = StrictDecoder::<T>::default();
    let body = request.into_body();
    let mut messages = Streaming::new_request(decoder, body, None, None);
    let message = messages.message().await?;
    // As tonic answers it for every other method.
    message.ok_or_else(|| Status::internal("missing request message"))
}

impl NamedService for Subscriber {
    const NAME: &'static str = "barid.v1.SubscriberService";
}

fn response<B>(body: B) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let mut response = Response::new(Body::new(body));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The body of an answer: pulled only as the connection takes it.
#[derive(Debug)]
struct Frames {
    /// None once the stream has ended.
    subscription: Option<Subscription>,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let Some(subscription) = &mut self.subscription else {
            return Poll::Ready(None);
        };
        let Poll::Ready(output) = subscription.poll_next(context) else {
            return Poll::Pending;
        };
        let frame = match output {
            Output::Opened(token) => control(Frame::Opened(Opened {
                token: token.as_str().to_owned(),
            })),
            Output::Deliveries(run) => BodyFrame::data(run.bytes),
            Output::CaughtUp(cursor) => control(Frame::CaughtUp(CaughtUp {
                cursor: cursor.to_string(),
            })),
            Output::Heartbeat(cursor) => control(Frame::Heartbeat(Heartbeat {
                cursor: cursor.to_string(),
            })),
            Output::Gap(gap) => control(Frame::Gap(gap_frame(gap))),
            Output::End(error) => {
                self.subscription = None;
                BodyFrame::trailers(trailers(&status(&error.fault())))
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.subscription.is_none()
    }
}

/// The body of an acknowledgement's answer: its message, then the trailers.
#[derive(Debug)]
enum Answer {
    Message(AcknowledgeResponse),
    Trailers,
    End,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let frame = match &*self {
            Self::Message(answer) => BodyFrame::data(framed(answer)),
            Self::Trailers => BodyFrame::trailers(trailers(&Status::ok(""))),
            Self::End => return Poll::Ready(None),
        };
        *self = match &*self {
            Self::Message(_) => Self::Trailers,
            Self::Trailers | Self::End => Self::End,
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::End)
    }
}

fn control(frame: Frame) -> BodyFrame<Bytes> {
    BodyFrame::data(self::frame(frame))
}

fn gap_frame(gap: Gap) -> proto::Gap {
    let reason = match gap.reason {
        GapReason::Retention => proto::GapReason::Retention,
        GapReason::EpochLost => proto::GapReason::EpochLost,
        GapReason::EpochForeign => proto::GapReason::EpochForeign,
    };
    proto::Gap {
        from: gap.from.to_string(),
        to: gap.to.to_string(),
        reason: reason.into(),
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(error) = status.add_header(&mut trailers) {
        // Our messages and reasons always fit a header.
        tracing::error!(%error, "a status has no form as trailers");
    }
    trailers
}

/// A `SubscribeResponse` as gRPC sends it: prefix and message (gRPC over HTTP/2,
/// "Length-Prefixed-Message").
pub fn frame(frame: Frame) -> Bytes {
    framed(&SubscribeResponse { frame: Some(frame) })
}

fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_LEN + len);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    message
        .encode(&mut bytes)
        .expect("a vector takes as much as it is given");
    bytes.into()
}
