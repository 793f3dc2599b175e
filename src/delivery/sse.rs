//! `GET /v1/stream`: the wire as server-sent events (WHATWG HTML, "Server-sent events"), each
//! revision as ninjs.
//!
//! A client resumes by what it has anyway: `EventSource` sends the last `id` that it saw. A durable
//! subscription goes on after what is acknowledged instead.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, header::ACCEPT};
use http_body::Frame as BodyFrame;
use rand::RngExt as _;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    cursor::Cursor,
    delivery::{
        Entry,
        durable::{DurableError, open::Wish},
        gap::Gap,
        hub::Hub,
        query::Query,
        recipients,
        start::SubscribeError,
        subscription::{Output, Subscription, Way},
    },
    fault::{Fault, Kind},
    gate::caller::Caller,
    telemetry::Protocol,
    wire::ninjs::Ninjs,
};

/// Milliseconds after which a client comes back, least and most: jittered, or all who were cut off
/// at once would come back at once.
const RETRY_MS: std::ops::Range<u32> = 500..1500;
/// Milliseconds after which a client comes back whose durable subscription another stream has, or
/// nobody: a day. An `EventSource` that came back at once would take it over again, and two of them in
/// turns for ever.
const LEFT_RETRY_MS: u32 = 86_400_000;

/// The body of a stream: pulled only as the connection takes it.
#[derive(Debug)]
pub struct Events {
    /// What goes before everything else.
    greeting: Option<Bytes>,
    /// None once the stream has ended.
    subscription: Option<Subscription>,
}

/// What a control event says.
#[derive(Debug, Serialize)]
struct CaughtUp {
    cursor: String,
}

/// What the first event of a durable subscription says.
#[derive(Debug, Serialize)]
struct Opened<'a> {
    token: &'a str,
}

/// What the last one says.
#[derive(Debug, Serialize)]
struct Ended {
    reason: &'static str,
}

/// What a gap says.
#[derive(Debug, Serialize)]
struct GapEvent {
    from: String,
    to: String,
    reason: &'static str,
}

impl Events {
    /// Opens the stream that a query asks for; `connection` is ended if it makes no progress.
    ///
    /// # Errors
    /// A fault that names the parameter, if one is at fault.
    pub async fn open(
        hub: &Hub,
        query: Option<&str>,
        headers: &HeaderMap,
        caller: &Caller,
        connection: CancellationToken,
    ) -> Result<Self, Fault> {
        let permit = caller.stream()?;
        let query = Query::parse(query.unwrap_or_default(), headers)?;
        let way = Way {
            protocol: Protocol::Sse,
            connection: Some(connection),
            permit,
        };
        let (filter, start, beyond) = (query.filter.clone(), query.start.clone(), query.beyond);
        let begun = match &query.subscription {
            None => hub.subscribe(filter, start, beyond, way).await,
            Some(name) => {
                let wish = Wish {
                    id: recipients::own(caller, "subscription", name)?,
                    filter,
                    start,
                    beyond,
                };
                hub.subscribe_as(wish, way).await
            }
        };
        match begun {
            Ok(subscription) => Ok(Self {
                greeting: Some(greeting()),
                subscription: Some(subscription),
            }),
            Err(error) => {
                let fault = error.fault();
                // An EventSource gives up for good at any status but 200: what passes must not
                // look like an error to it. It comes back with the same last id.
                if fault.kind == Kind::Unavailable && takes_events(headers) {
                    return Ok(Self::closed(&fault));
                }
                Err(query.named(fault))
            }
        }
    }

    /// A stream that ends at once, for a client that comes back by itself.
    pub fn closed(fault: &Fault) -> Self {
        let why = format!(": {}\n", fault.reason);
        Self {
            greeting: Some([why.as_bytes(), &greeting()].concat().into()),
            subscription: None,
        }
    }
}

/// Whether a client says that it takes events, as every EventSource does.
pub fn takes_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"))
}

fn greeting() -> Bytes {
    let retry_ms = rand::rng().random_range(RETRY_MS);
    format!("retry: {retry_ms}\n\n").into()
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(Ok(BodyFrame::data(greeting))));
        }
        let Some(subscription) = &mut self.subscription else {
            return Poll::Ready(None);
        };
        let Poll::Ready(output) = subscription.poll_next(context) else {
            return Poll::Pending;
        };
        let bytes = match output {
            Output::Deliveries(run) => run.bytes,
            Output::Opened(token) => {
                let token = token.as_str();
                event_without_id("opened", &Opened { token })
            }
            Output::CaughtUp(cursor) => {
                let cursor_text = cursor.to_string();
                event(
                    "caught-up",
                    cursor,
                    &CaughtUp {
                        cursor: cursor_text,
                    },
                )
            }
            // A comment; and an id without data, which moves where a client resumes and fires no
            // event: a narrow filter must not fall behind retention.
            Output::Heartbeat(cursor) => format!(": heartbeat\nid: {cursor}\n\n").into(),
            Output::Gap(gap) => gap_event(gap),
            Output::End(error) => {
                self.subscription = None;
                ending(&error)
            }
        };
        Poll::Ready(Some(Ok(BodyFrame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.greeting.is_none() && self.subscription.is_none()
    }
}

/// It is safe to resume at `Gap.to`, as at all that control events name.
fn gap_event(gap: Gap) -> Bytes {
    let said = GapEvent {
        from: gap.from.to_string(),
        to: gap.to.to_string(),
        reason: gap.reason.as_str(),
    };
    event("gap", gap.to, &said)
}

/// What is said at the end of a stream.
fn ending(error: &SubscribeError) -> Bytes {
    let reason = error.fault().reason;
    let is_left = matches!(
        error,
        SubscribeError::Durable(DurableError::TakenOver(_) | DurableError::Unknown(_))
    );
    if !is_left {
        // For people; a client comes back by itself.
        return format!(": {reason}\n\n").into();
    }
    let ended = event_without_id("ended", &Ended { reason });
    [format!("retry: {LEFT_RETRY_MS}\n").as_bytes(), &ended]
        .concat()
        .into()
}

fn event(name: &str, cursor: Cursor, data: &impl Serialize) -> Bytes {
    // One line: JSON escapes the breaks within texts.
    let json = serde_json::to_string(data).expect("plain data");
    format!("event: {name}\nid: {cursor}\ndata: {json}\n\n").into()
}

/// An event that does not move where a client resumes.
fn event_without_id(name: &str, data: &impl Serialize) -> Bytes {
    let json = serde_json::to_string(data).expect("plain data");
    format!("event: {name}\ndata: {json}\n\n").into()
}

/// A revision as an event. An article that is not readable as such goes without what it says.
pub fn frame(entry: &Entry) -> Bytes {
    let action = entry.stored.record.action.as_str();
    match Ninjs::from_delivery(&entry.delivery()) {
        Ok(ninjs) => event(action, entry.cursor, &ninjs),
        Err(error) => {
            tracing::error!(cursor = %entry.cursor, %error, "an article is not readable");
            event(
                action,
                entry.cursor,
                &CaughtUp {
                    cursor: entry.cursor.to_string(),
                },
            )
        }
    }
}
