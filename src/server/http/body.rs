//! Bodies of requests: taken in within bounds of bytes and time, and of what a node holds of them.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use axum::body::Body;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body as _;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    article::check::shown,
    fault::{Fault, Kind},
    server::http::answer::Refusal,
};

/// Most bytes of a request's body: an article of 900 KiB with every character escaped, and room.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of bodies that a node takes in at a time; others wait.
pub const ROOM_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The same, of whoever is not let in yet; others of them wait.
pub const ENTRY_ROOM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// That a body says that it is JSON; `remedy` is what to send.
///
/// # Errors
/// 415 `MEDIA_TYPE_UNSUPPORTED`.
pub fn check_json(headers: &HeaderMap, remedy: &str) -> Result<(), Refusal> {
    let essence = said_type(headers).split(';').next().unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(not_taken(headers, remedy))
}

/// 415 `MEDIA_TYPE_UNSUPPORTED`: a body of another type than what is taken.
pub fn not_taken(headers: &HeaderMap, remedy: &str) -> Refusal {
    let message = format!("{} is not taken; send {remedy}", shown(said_type(headers)));
    let fault = Fault::field("MEDIA_TYPE_UNSUPPORTED", "Content-Type", message);
    Refusal::with(StatusCode::UNSUPPORTED_MEDIA_TYPE, fault)
}

fn said_type(headers: &HeaderMap) -> &str {
    let given = headers.get(CONTENT_TYPE);
    given
        .and_then(|given| given.to_str().ok())
        .unwrap_or_default()
}

/// Takes a body of at most so many bytes in, as soon as there is room for it.
///
/// # Errors
/// It is too large, late, broken, or no text.
pub async fn take(
    room: &Arc<Semaphore>,
    headers: &HeaderMap,
    body: Body,
    (bytes_max, deadline): (usize, Instant),
) -> Result<String, Refusal> {
    let said = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let said = said.and_then(|text| text.parse::<usize>().ok());
    let len_bytes = said.unwrap_or(bytes_max);
    if len_bytes > bytes_max {
        return Err(too_large(bytes_max));
    }
    let wanted = u32::try_from(len_bytes).expect("8 MiB at most");
    let room = Arc::clone(room).acquire_many_owned(wanted);
    let taken = async {
        let _room = room.await.expect("this semaphore is never closed");
        collect(body, len_bytes).await
    };
    let bytes = match timeout_at(deadline, taken).await {
        Ok(bytes) => bytes?,
        Err(_) => {
            let message = "the body did not come in time; send it again";
            let fault = Fault::new(Kind::Invalid, "BODY_LATE", message);
            return Err(Refusal::with(StatusCode::REQUEST_TIMEOUT, fault));
        }
    };
    String::from_utf8(bytes).map_err(|_| {
        let message = "is not UTF-8";
        Fault::field("FIELD_INVALID", "body", message).into()
    })
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(frame) = frame else {
            let message = "the body ends before its time; send it again";
            return Err(Fault::new(Kind::Invalid, "BODY_BROKEN", message).into());
        };
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

fn too_large(bytes_max: usize) -> Refusal {
    let message = format!("has more than {bytes_max} bytes; send less at a time");
    let fault = Fault::field("BODY_TOO_LARGE", "body", message);
    Refusal::with(StatusCode::PAYLOAD_TOO_LARGE, fault)
}
