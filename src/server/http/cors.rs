//! CORS: pages of other sites that may ask with a partner's keys (Fetch, "CORS protocol").
//!
//! A partner lists the origins of its pages. A preflight shows no key, so that it is answered for
//! an origin that any partner lists; the answer itself is opened to an origin that the key's own
//! partner lists. Credentials are never allowed: our cookie is for our own pages.

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ORIGIN, VARY,
    },
};

use crate::{
    fault::{Fault, Kind},
    gate::{Gate, caller::Caller},
    server::http::{Web, answer::Refusal, session::SESSION},
};

/// What the paths begin with that pages of others may ask for. Sessions are for our own.
const OPEN: [&str; 2] = ["/v1/", "/feeds/"];
/// What pages may do.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
/// What they may send.
const SENT: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, traceparent",
);
/// What they may see of an answer.
const SEEN: HeaderValue = HeaderValue::from_static("etag, link, location, retry-after");
/// For how many seconds a browser may keep the answer to a preflight; a change of a partner's
/// origins takes so long there, and no time here.
const KEPT: HeaderValue = HeaderValue::from_static("600");

/// Answers preflights before all paths: their method is none that a path takes.
pub async fn layer(State(web): State<Web>, request: Request, next: Next) -> Response {
    match preflight(&web.gate, &request) {
        Some(answer) => answer,
        None => next.run(request).await,
    }
}

/// The answer to a preflight; none for any other request.
fn preflight(gate: &Gate, request: &Request) -> Option<Response> {
    let headers = request.headers();
    let origin = headers.get(ORIGIN)?;
    let path = request.uri().path();
    let is_open = path != SESSION && OPEN.iter().any(|open| path.starts_with(open));
    let is_preflight = is_open
        && request.method() == Method::OPTIONS
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        return None;
    }
    if !is_known(gate, origin) {
        let message = "no partner lists this origin; --origins of `barid partner set` does";
        let fault = Fault::new(Kind::Forbidden, "ORIGIN_NOT_GRANTED", message);
        return Some(Refusal::from(fault).into_response());
    }
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
    headers.insert(ACCESS_CONTROL_MAX_AGE, KEPT);
    headers.append(VARY, HeaderValue::from_static("origin"));
    Some(answer)
}

/// The origin that an answer is opened to: one that the caller's partner lists. Why somebody is
/// not let in is told to all that a preflight was answered for.
pub fn opened(gate: &Gate, headers: &HeaderMap, caller: Option<&Caller>) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let is_listed = match caller {
        Some(caller) => caller.known().is_some_and(|known| {
            let text = origin.to_str().unwrap_or_default();
            let listed = &known.state.partner.origins;
            listed.iter().any(|listed| listed.as_str() == text)
        }),
        None => is_known(gate, origin),
    };
    is_listed.then(|| origin.clone())
}

/// Opens an answer to an origin.
pub fn open(answer: &mut HeaderMap, origin: HeaderValue) {
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, SEEN);
    answer.append(VARY, HeaderValue::from_static("origin"));
}

fn is_known(gate: &Gate, origin: &HeaderValue) -> bool {
    let origin = origin.to_str().ok().and_then(|text| text.parse().ok());
    origin.is_some_and(|origin| gate.lists_origin(&origin))
}
