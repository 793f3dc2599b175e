//! Answers: what all paths make theirs of.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use crate::{fault::Fault, wire};

/// A fault on its way to become an answer.
#[derive(Debug)]
pub struct Refusal {
    fault: Box<Fault>,
    /// None: that of the fault's kind.
    status: Option<StatusCode>,
}

/// Why an answer is a refusal; in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Reason(pub &'static str);

impl Refusal {
    /// With another status, for what HTTP alone knows.
    pub fn with(status: StatusCode, fault: Fault) -> Self {
        Self {
            fault: Box::new(fault),
            status: Some(status),
        }
    }
}

impl Refusal {
    /// What it says, and with which status.
    pub fn parts(&self) -> (StatusCode, &Fault) {
        let status = self.status;
        (
            status.unwrap_or_else(|| wire::status::http(self.fault.kind)),
            &self.fault,
        )
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self {
            fault: Box::new(fault),
            status: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = match self.status {
            Some(status) => wire::problem::problem_with(status, &self.fault),
            None => wire::problem::problem(&self.fault),
        };
        let mut answer = problem.map(Body::from);
        answer.extensions_mut().insert(Reason(self.fault.reason));
        answer
    }
}

/// What is true only now and must not be kept.
pub fn fleeting(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
