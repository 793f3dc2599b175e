//! `GET /feeds/{topic or all}.atom`, `.rss`, `.json`.

use std::{sync::Arc, time::Duration};

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
    access::scope::Scope,
    delivery::{
        feeds::{Feed, Form, Wanted},
        query::Parameters,
    },
    fault::{Fault, Kind, Violation},
    gate::caller::Caller,
    server::http::{
        Connection, Web,
        answer::Refusal,
        conditional::{REVALIDATE, Tag},
    },
    topic::Topic,
};

/// The name of the feed of the whole wire.
const ALL: &str = "all";
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
    let base = match &web.public_url {
        Some(url) => url.to_string(),
        None => format!("{}://{}", connection.scheme, host(&headers)),
    };
    let query = query.as_deref().unwrap_or_default();
    let wanted = wanted(&name, query, scope, base)?;
    let feed = web.feeds.get(&wanted).await.map_err(in_path)?;
    Ok(answer(&feed, &wanted, &headers, web.now()))
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
    let own = HeaderValue::from_str(&format!("<{}{}>; rel=\"self\"", wanted.base, wanted.path));
    fields.insert(LINK, own.expect("an authority and a percent-encoded path"));
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

/// The feed that a path and query name.
fn wanted(name: &str, query: &str, scope: Arc<Scope>, base: String) -> Result<Wanted, Fault> {
    let parameters = Parameters::parse(query, &["language"])?;
    let (stem, form) = name
        .rsplit_once('.')
        .and_then(|(stem, ending)| Some((stem, Form::of_ending(ending)?)))
        .ok_or_else(unknown_feed)?;
    let topic: Option<Topic> = match stem {
        ALL => None,
        path => Some(path.parse().map_err(|_| unknown_feed())?),
    };
    let language = parameters.get("language").map(str::to_ascii_lowercase);
    let path = match &language {
        None => format!("/feeds/{name}"),
        Some(range) => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("language", range);
            format!("/feeds/{name}?{}", query.finish())
        }
    };
    Ok(Wanted {
        topic,
        language,
        form,
        scope,
        base,
        path,
    })
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

fn unknown_feed() -> Fault {
    let message = "there is no such feed; it is all or a topic of /v1/topics, then .atom, .rss or \
                   .json";
    Fault::new(Kind::Missing, "FEED_UNKNOWN", message)
}

/// A fault of a filter in the words of a feed: what its path names is there, or not.
fn in_path(fault: Fault) -> Fault {
    if fault.reason == "TOPIC_UNKNOWN" {
        return Fault {
            metadata: fault.metadata,
            ..unknown_feed()
        };
    }
    let rename = |violation: &Violation| Violation {
        field: "language".to_owned(),
        message: violation.message.clone(),
    };
    match fault.violations.as_slice() {
        [] => fault,
        violations => Fault::fields(fault.reason, violations.iter().map(rename).collect()),
    }
}

/// A time as HTTP writes it (RFC 9110, section 5.6.7).
fn http_date(time: Timestamp) -> Option<String> {
    rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .ok()
}
