//! Problem: a fault as an HTTP answer (RFC 9457), with the same stable reason as over gRPC.

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use crate::{
    fault::{Fault, Violation},
    wire::status,
};

/// The body of a problem.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    /// The reason says more than any page that a type could name.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// Stable and machine-readable, as in gRPC's `ErrorInfo`.
    reason: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError<'a>>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    metadata: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct FieldError<'a> {
    /// The parameter or field.
    field: &'a str,
    detail: String,
}

/// The answer that a caller gets for a fault.
pub fn problem(fault: &Fault) -> Response<Bytes> {
    problem_with(status::http(fault.kind), fault)
}

/// The same with another status, for what HTTP alone knows.
pub fn problem_with(status: StatusCode, fault: &Fault) -> Response<Bytes> {
    let metadata = fault.metadata.iter();
    let problem = Problem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail: &fault.message,
        reason: fault.reason,
        errors: fault.violations.iter().map(error).collect(),
        metadata: metadata
            .map(|(key, value)| ((*key).to_owned(), value.clone().into()))
            .collect(),
    };
    let body = serde_json::to_vec(&problem).expect("a problem is plain data");
    let mut answer = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/problem+json")
        .header(CACHE_CONTROL, "no-store");
    if let Some(after) = fault.retry_after {
        answer = answer.header(RETRY_AFTER, after.as_secs().max(1));
    }
    if status == StatusCode::UNAUTHORIZED {
        answer = answer.header(WWW_AUTHENTICATE, "Bearer");
    }
    answer.body(body.into()).expect("these headers are good")
}

fn error(violation: &Violation) -> FieldError<'_> {
    FieldError {
        field: &violation.field,
        detail: violation.wrong.to_string(),
    }
}
