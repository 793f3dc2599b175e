//! Fault -> gRPC status, with `google.rpc` details, and HTTP status; the only such tables.

use std::{collections::HashMap, time::Duration};

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::fault::{Fault, Kind};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "barid";

/// The status that a caller gets for a fault.
pub fn status(fault: &Fault) -> Status {
    let mut details = ErrorDetails::new();
    let metadata: HashMap<String, String> = fault
        .metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    details.set_error_info(fault.reason, DOMAIN, metadata);
    for violation in &fault.violations {
        details.add_bad_request_violation(&violation.field, violation.wrong.to_string());
    }
    if let Some(after) = fault.retry_after {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code(fault.kind), &fault.message, details)
}

/// How long a status asks its caller to wait.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// The stable reason of a status of ours.
pub fn reason(status: &Status) -> Option<String> {
    Some(status.get_details_error_info()?.reason)
}

/// The HTTP status of a kind of fault.
pub fn http(kind: Kind) -> StatusCode {
    match kind {
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::Invalid | Kind::OutOfRange => StatusCode::BAD_REQUEST,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Kind::Missing => StatusCode::NOT_FOUND,
        Kind::Exists | Kind::Conflict | Kind::Precondition => StatusCode::CONFLICT,
        Kind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The kind of a fault as a word, for logs and metrics.
pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Unauthenticated => "unauthenticated",
        Kind::Forbidden => "forbidden",
        Kind::Invalid => "invalid",
        Kind::Unsupported => "unsupported",
        Kind::Missing => "missing",
        Kind::Exists => "exists",
        Kind::Conflict => "conflict",
        Kind::Precondition => "precondition",
        Kind::OutOfRange => "out_of_range",
        Kind::Exhausted => "exhausted",
        Kind::Unavailable => "unavailable",
        Kind::Bug => "bug",
    }
}

fn code(kind: Kind) -> Code {
    match kind {
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::Invalid => Code::InvalidArgument,
        Kind::Unsupported => Code::Unimplemented,
        Kind::Missing => Code::NotFound,
        Kind::Exists => Code::AlreadyExists,
        Kind::Conflict => Code::Aborted,
        Kind::Precondition => Code::FailedPrecondition,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Bug => Code::Internal,
    }
}
