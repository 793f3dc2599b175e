//! Event: a revision, or what a receiver must be told of the log, as the body of a webhook.

use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    webhook::Format,
    wire::{
        convert,
        ninjs::{Ninjs, time_from_proto},
        proto::v1 as proto,
        subject::CE_SOURCE_VALUE,
    },
};

/// A body and its media type.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is.
    pub content_type: HeaderValue,
    /// The bytes that are signed and sent.
    pub body: Bytes,
}

/// What is no revision.
#[derive(Clone, Debug)]
pub struct Notice<'a, T> {
    /// Its kind, `gap` or `test`.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
    /// When it was.
    pub time: Timestamp,
    /// What it says.
    pub data: &'a T,
}

/// The envelope of Standard Webhooks.
#[derive(Serialize)]
struct Envelope<'a, T> {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    data: &'a T,
}

/// The JSON format of CloudEvents 1.0, structured mode.
#[derive(Serialize)]
struct CloudEvent<'a, T> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    baridcursor: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    traceparent: &'a str,
    data: &'a T,
}

impl Event {
    /// A revision of an article; `event` is what the article's native copies are called, too.
    ///
    /// # Errors
    /// The delivery's article is not readable.
    pub fn revision(
        delivery: &proto::Delivery,
        event: &str,
        format: Format,
    ) -> Result<Self, prost::DecodeError> {
        let ninjs = Ninjs::from_delivery(delivery)?;
        let action = convert::action_from_proto(delivery.action);
        let action = action.map_or("publish", |action| action.as_str());
        let time = time_from_proto(delivery.published_at.as_ref());
        let cursor = Some(delivery.cursor.as_str());
        Ok(match format {
            Format::Ninjs => Self::plain(&Envelope {
                r#type: format!("article.{action}"),
                timestamp: time,
                cursor,
                data: &ninjs,
            }),
            Format::CloudEvents => Self::cloud(&CloudEvent {
                specversion: "1.0",
                id: event,
                source: CE_SOURCE_VALUE,
                r#type: format!("barid.v1.{action}"),
                subject: Some(&ninjs.uri),
                time,
                datacontenttype: "application/json",
                baridcursor: cursor,
                traceparent: &delivery.traceparent,
                data: &ninjs,
            }),
        })
    }

    /// What is no revision.
    pub fn notice<T: Serialize>(notice: &Notice<'_, T>, format: Format) -> Self {
        match format {
            Format::Ninjs => Self::plain(&Envelope {
                r#type: notice.kind.to_owned(),
                timestamp: Some(notice.time),
                cursor: None,
                data: notice.data,
            }),
            Format::CloudEvents => Self::cloud(&CloudEvent {
                specversion: "1.0",
                id: notice.id,
                source: CE_SOURCE_VALUE,
                r#type: format!("barid.v1.{}", notice.kind),
                subject: None,
                time: Some(notice.time),
                datacontenttype: "application/json",
                baridcursor: None,
                traceparent: "",
                data: notice.data,
            }),
        }
    }

    fn plain(body: &impl Serialize) -> Self {
        Self::new("application/json", body)
    }

    fn cloud(body: &impl Serialize) -> Self {
        Self::new("application/cloudevents+json", body)
    }

    fn new(content_type: &'static str, body: &impl Serialize) -> Self {
        Self {
            content_type: HeaderValue::from_static(content_type),
            body: serde_json::to_vec(body).expect("plain data").into(),
        }
    }
}
