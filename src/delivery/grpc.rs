//! `barid.v1.SubscriberService`, by hand: its frames are encoded once per entry and shared, and an
//! article's bytes pass through unchanged.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes};
use futures_util::{Stream, stream};
use prost::Message as _;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, EncodeBuf, Encoder},
    server::{Grpc, NamedService, ServerStreamingService},
};
use tower_service::Service;

use crate::{
    delivery::{
        hub::Hub,
        subscription::{Gap, GapReason, Output, Subscription},
    },
    fault::{Fault, Kind},
    telemetry::{Counts, Protocol},
    wire::{
        codec::StrictDecoder,
        convert,
        proto::v1::{
            self as proto, CaughtUp, Heartbeat, SubscribeRequest, SubscribeResponse,
            subscribe_response::Frame,
        },
        status::status,
    },
};

/// Path of the one method.
const SUBSCRIBE: &str = "/barid.v1.SubscriberService/Subscribe";

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

    async fn subscribe(self, request: SubscribeRequest) -> Result<Subscription, Fault> {
        if !request.subscription.is_empty() {
            let message = "subscription: durable subscriptions are not kept by this release; leave \
                           the name empty and resume by cursor";
            return Err(Fault::new(Kind::Unsupported, "NOT_YET_SUPPORTED", message)
                .with("field", "subscription"));
        }
        let filter = convert::filter(request.filter)?;
        let start = convert::start(request.start)?;
        let subscription = self.hub.subscribe(filter, start).await;
        subscription.map_err(|error| error.fault())
    }
}

impl NamedService for Subscriber {
    const NAME: &'static str = "barid.v1.SubscriberService";
}

impl Service<http::Request<Body>> for Subscriber {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != SUBSCRIBE {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            Ok(Grpc::new(FrameCodec)
                .server_streaming(service, request)
                .await)
        })
    }
}

impl ServerStreamingService<SubscribeRequest> for Subscriber {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<SubscribeRequest>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let counted = Counted::new(service.hub.log().metrics().of(Protocol::Grpc));
            let subscription = service
                .subscribe(request.into_inner())
                .await
                .map_err(|fault| status(&fault))?;
            // Pulled only as the connection takes it: a slow reader holds one page, no queue.
            let frames = stream::unfold(Some((subscription, counted)), async |open| {
                let (mut subscription, counted) = open?;
                match subscription.next().await {
                    Ok(output) => {
                        let is_delivery = matches!(output, Output::Delivery(_));
                        let frame = frame(output);
                        if is_delivery {
                            counted.delivered(&frame);
                        }
                        Some((Ok(frame), Some((subscription, counted))))
                    }
                    Err(error) => Some((Err(status(&error.fault())), None)),
                }
            });
            let frames: Self::ResponseStream = Box::pin(frames);
            Ok(Response::new(frames))
        })
    }
}

/// An open stream in the metrics, until it is dropped.
struct Counted(Counts);

impl Counted {
    fn new(counts: &Counts) -> Self {
        counts.subscribers.inc();
        Self(counts.clone())
    }

    fn delivered(&self, frame: &Bytes) {
        let bytes = u64::try_from(frame.len()).expect("usize fits u64");
        self.0.deliveries.inc();
        self.0.bytes.inc_by(bytes);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.subscribers.dec();
    }
}

/// The encoded `SubscribeResponse` of an output.
fn frame(output: Output) -> Bytes {
    let frame = match output {
        Output::Delivery(entry) => return entry.grpc_frame(),
        Output::CaughtUp(cursor) => Frame::CaughtUp(CaughtUp {
            cursor: cursor.to_string(),
        }),
        Output::Heartbeat(cursor) => Frame::Heartbeat(Heartbeat {
            cursor: cursor.to_string(),
        }),
        Output::Gap(Gap { from, to, reason }) => {
            let reason = match reason {
                GapReason::Retention => proto::GapReason::Retention,
                GapReason::EpochLost => proto::GapReason::EpochLost,
                GapReason::EpochForeign => proto::GapReason::EpochForeign,
            };
            let (from, to) = (from.to_string(), to.to_string());
            Frame::Gap(proto::Gap {
                from,
                to,
                reason: reason.into(),
            })
        }
    };
    SubscribeResponse { frame: Some(frame) }
        .encode_to_vec()
        .into()
}

/// Decodes requests; sends frames that are encoded already.
#[derive(Clone, Copy, Debug)]
struct FrameCodec;

/// Puts ready frames on the wire.
#[derive(Debug)]
struct FrameEncoder;

impl Codec for FrameCodec {
    type Encode = Bytes;
    type Decode = SubscribeRequest;
    type Encoder = FrameEncoder;
    type Decoder = StrictDecoder<SubscribeRequest>;

    fn encoder(&mut self) -> Self::Encoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder::default()
    }
}

impl Encoder for FrameEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, frame: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(frame);
        Ok(())
    }
}
