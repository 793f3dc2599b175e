//! The event stream as an answer of hyper's, for all requests that [`stream`](super::stream) does
//! not take.

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    response::Response,
};
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use crate::{
    delivery::sse::Events,
    gate::caller::Caller,
    server::http::{Connection, Web, answer::Refusal},
};

/// `GET /v1/stream`.
///
/// # Errors
/// What is wrong with the query, or a node that can't read.
pub async fn get(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Extension(connection): Extension<Connection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let opened = Events::open(
        &web.hub,
        query.as_deref(),
        &headers,
        &caller,
        connection.end,
    )
    .await?;
    Ok(answer(opened))
}

/// A stream as an answer.
pub fn answer(events: Events) -> Response {
    let mut answer = Response::new(Body::new(events));
    let headers = answer.headers_mut();
    let set = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, set("text/event-stream"));
    headers.insert(CACHE_CONTROL, set("no-store"));
    // nginx and its like would hold events back to fill a buffer.
    headers.insert("x-accel-buffering", set("no"));
    answer
}
