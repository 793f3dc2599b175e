//! `GET /feeds/{topic or all}.atom`, `.rss`, `.json`.

use std::time::Duration;

use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
        LINK,
    },
    uri::Authority,
};
use jiff::{Timestamp, fmt::rfc2822};

use crate::{
    delivery::feeds::{Feed, Wanted},
    gate::caller::Caller,
    server::http::{
        Connection, Web,
        answer::Refusal,
        conditional::{REVALIDATE, Tag},
    },
};

/// How long ago the last change must be for its second to stand for it.
const SETTLED: Duration = Duration::from_secs(2);

/// One feed, or that it has not changed.
///
/// # Errors
/// There is no such feed, or the node can't read.
pub async fn get(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    Extension(connection): Extension<Connection>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let scope = caller.scope()?;
    let query = query.as_deref().unwrap_or_default();
    let wanted = Wanted::of(&name, query, scope, base(&web, &connection, &headers))?;
    let feed = web.feeds.get(&wanted).await?;
    Ok(answer(&feed, &wanted, &headers, web.now()))
}

/// By which address this side is reached.
pub fn base(web: &Web, connection: &Connection, headers: &HeaderMap) -> String {
    match &web.public_url {
        Some(url) => url.to_string(),
        None => format!("{}://{}", connection.scheme, host(headers)),
    }
}

fn answer(feed: &Feed, wanted: &Wanted, headers: &HeaderMap, now: Timestamp) -> Response {
    let tag = Tag::new(&feed.digest);
    // Two changes of one second can't be told apart by it; who was told nothing asks by its tag.
    let settled = feed
        .modified
        .filter(|modified| now.duration_since(*modified).unsigned_abs() >= SETTLED);
    let modified = settled.and_then(http_date);
    let is_held = if headers.contains_key(IF_NONE_MATCH) {
        tag.is_held(headers)
    } else {
        let held = headers
            .get(IF_MODIFIED_SINCE)
            .and_then(|value| value.to_str().ok());
        held.is_some() && held == modified.as_deref()
    };
    let mut answer = Response::new(if is_held {
        Body::empty()
    } else {
        Body::from(feed.bytes.clone())
    });
    let fields = answer.headers_mut();
    fields.insert(ETAG, tag.value());
    fields.insert(CACHE_CONTROL, REVALIDATE);
    let kind = HeaderValue::from_static(wanted.form.media_type());
    fields.insert(CONTENT_TYPE, kind);
    let links = HeaderValue::from_str(&wanted.links());
    fields.insert(
        LINK,
        links.expect("an authority and a percent-encoded path"),
    );
    if let Some(modified) = modified {
        let modified = HeaderValue::from_str(&modified).expect("a date is ASCII");
        fields.insert(LAST_MODIFIED, modified);
    }
    if is_held {
        fields.remove(CONTENT_TYPE);
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    answer
}

/// By which name this node was asked.
fn host(headers: &HeaderMap) -> String {
    let given = headers.get(HOST).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.parse::<Authority>().ok());
    match given {
        // Without a user's name, which it may hold.
        Some(authority) => match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        },
        None => "localhost".to_owned(),
    }
}

/// A time as HTTP writes it (RFC 9110, section 5.6.7).
fn http_date(time: Timestamp) -> Option<String> {
    rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .ok()
}
