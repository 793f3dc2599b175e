//! `POST /v1/articles`: publish one revision in ninjs.

use std::time::Duration;

use axum::{
    extract::{RawQuery, Request, State},
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION},
};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::{
    article::check::shown,
    cursor::{Cursor, Place},
    delivery::query::Parameters,
    fault::{Fault, Kind, Violation},
    gate::caller,
    ingest::grpc::By,
    server::http::{
        Web,
        answer::{Refusal, fleeting},
        articles::{ARTICLES, tag, tagged_revision},
        body::{self, BODY_BYTES_MAX},
        conditional::tags,
    },
    telemetry::trace,
    wire::{
        ninjs::{self, Parsed, names::property_of},
        proto::v1::{Action, PublishRequest, PublishResponse, Routing},
    },
};

/// For how long a publish is tried, its body's way included: as over gRPC.
const PATIENCE: Duration = Duration::from_secs(30);
/// What of a query is read.
const PARAMETERS: [&str; 4] = ["action", "expected_revision", "request_id", "routing"];
/// The id of a request, as a header (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The same as people write it.
const IDEMPOTENCY_KEY_SHOWN: &str = "Idempotency-Key";
/// What was accepted.
#[derive(Debug, Serialize)]
struct Published {
    article_id: String,
    revision: u32,
    topics: Vec<String>,
    cursor: String,
    /// For a draft: when it is to be released.
    #[serde(skip_serializing_if = "Option::is_none")]
    embargoed_until: Option<Timestamp>,
    /// Whether an earlier request with this id had made it.
    duplicate: bool,
    /// What of the ninjs was left out, one sentence each.
    warnings: Vec<String>,
}

/// What a request says beside its article.
struct Terms {
    request_id: String,
    action: Option<Action>,
    expected: Expected,
    routing: Routing,
}

/// Which revision a publisher has seen.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It does not matter.
    Any,
    /// This one, by a parameter.
    Revision(u32),
    /// This one, by a precondition of HTTP.
    Precondition(u32),
}

/// Publishes the article in the body.
///
/// # Errors
/// Everything that [`crate::ingest`] refuses, and what is wrong with the request itself.
pub async fn post(
    State(web): State<Web>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let deadline = Instant::now() + PATIENCE;
    let (head, body) = request.into_parts();
    let caller = caller::of(&head.extensions);
    // Before the body is taken in.
    caller.author()?;
    body::check_json(&head.headers, "ninjs as application/json")?;
    let terms = terms(&web, query.as_deref().unwrap_or_default(), &head.headers)?;
    let expected = terms.expected;
    let bounds = (BODY_BYTES_MAX, deadline);
    let text = body::take(&web.body_room, &head.headers, body, bounds).await?;
    let parsed = ninjs::parse(&text).map_err(|error| {
        let fault = unreadable(&error);
        match error.line {
            // It is ninjs, and says what Barid can't carry.
            0 => Refusal::with(StatusCode::UNPROCESSABLE_ENTITY, fault),
            _ => Refusal::from(fault),
        }
    })?;
    let (request, warnings) = publish_request(terms, parsed);
    let by = By {
        caller,
        parent: trace::parent(&MetadataMap::from_headers(head.headers)),
        replaces: None,
    };
    match web.publisher.accept(request, &by, deadline).await {
        Ok(published) => Ok(accepted(published, warnings)),
        Err(fault) => Err(refused(fault, expected)),
    }
}

fn publish_request(terms: Terms, parsed: Parsed) -> (PublishRequest, Vec<String>) {
    let action = terms.action.unwrap_or_else(|| parsed.pub_status.asks_for());
    let request = PublishRequest {
        request_id: terms.request_id,
        expected_revision: match terms.expected {
            Expected::Any => None,
            Expected::Revision(number) | Expected::Precondition(number) => Some(number),
        },
        action: action.into(),
        article: Some(parsed.article),
        routing: terms.routing.into(),
    };
    (request, parsed.warnings)
}

fn accepted(published: PublishResponse, warnings: Vec<String>) -> Response {
    let embargoed_until = ninjs::time_from_proto(published.embargoed_until.as_ref());
    let status = match (published.revision, embargoed_until) {
        // It is not on the wire yet.
        (_, Some(_)) => StatusCode::ACCEPTED,
        (1, None) if !published.duplicate => StatusCode::CREATED,
        (_, None) => StatusCode::OK,
    };
    let place = (published.revision > 0).then(|| {
        let location = format!("{ARTICLES}/{}", published.article_id);
        let location = HeaderValue::from_str(&location).expect("a path and a UUID");
        (location, tag(published.revision, &published.cursor))
    });
    let said = Published {
        article_id: published.article_id,
        revision: published.revision,
        topics: published.topics,
        cursor: published.cursor,
        embargoed_until,
        duplicate: published.duplicate,
        warnings,
    };
    let body = serde_json::to_vec(&said).expect("plain data");
    let mut answer = fleeting(status, "application/json", body);
    // A draft, and what is left of an erased one, is not to be got there.
    if let Some((location, tag)) = place {
        answer.headers_mut().insert(LOCATION, location);
        answer.headers_mut().insert(ETAG, tag.value());
    }
    answer
}

fn refused(fault: Fault, expected: Expected) -> Refusal {
    let fault = in_ninjs(fault);
    let is_precondition = matches!(expected, Expected::Precondition(_));
    if fault.reason == "REVISION_CONFLICT" && is_precondition {
        return Refusal::with(StatusCode::PRECONDITION_FAILED, fault);
    }
    // It was read, and breaks a rule: of its fields, or of what is stored.
    if fault.kind == Kind::Invalid {
        return Refusal::with(StatusCode::UNPROCESSABLE_ENTITY, fault);
    }
    fault.into()
}

/// A fault of a gRPC request's fields in the words of ninjs.
fn in_ninjs(fault: Fault) -> Fault {
    if fault.violations.is_empty() {
        return fault;
    }
    let rename = |violation: &Violation| Violation {
        field: match violation.field.as_str() {
            "request_id" => IDEMPOTENCY_KEY_SHOWN.to_owned(),
            field => property_of(field),
        },
        wrong: violation.wrong.clone(),
    };
    let violations = fault.violations.iter().map(rename).collect();
    Fault {
        metadata: fault.metadata,
        retry_after: fault.retry_after,
        kind: fault.kind,
        ..Fault::fields(fault.reason, violations)
    }
}

fn unreadable(error: &ninjs::NinjsError) -> Fault {
    let place = match (error.line, error.column) {
        (0, _) => String::new(),
        (line, column) => format!(" (line {line}, column {column})"),
    };
    let field = match error.field.as_str() {
        "" => "body",
        field => field,
    };
    let message = format!("{}{place}", error.message);
    Fault::field("FIELD_INVALID", field, message)
}

fn terms(web: &Web, query: &str, headers: &HeaderMap) -> Result<Terms, Refusal> {
    let parameters = Parameters::parse(query, &PARAMETERS)?;
    let action = parameters.get("action").map(action).transpose();
    let routing = match parameters.get("routing") {
        // As `barid publish` says it, so that the same request has the same digest.
        None | Some("inferred") => Ok(Routing::Unspecified),
        Some("stated") => Ok(Routing::Stated),
        Some(other) => {
            let message = format!("{} is neither inferred nor stated", shown(other));
            Err(Fault::field("FIELD_INVALID", "routing", message))
        }
    };
    Ok(Terms {
        request_id: request_id(&parameters, headers)?,
        action: action?,
        expected: expected(web, &parameters, headers)?,
        routing: routing?,
    })
}

fn action(text: &str) -> Result<Action, Fault> {
    match text {
        "publish" => Ok(Action::Publish),
        "update" => Ok(Action::Update),
        "correct" => Ok(Action::Correct),
        "withhold" => Ok(Action::Withhold),
        "kill" => Ok(Action::Kill),
        other => {
            let message = format!(
                "{} is no action; use publish, update, correct, withhold or kill",
                shown(other)
            );
            Err(Fault::field("FIELD_INVALID", "action", message))
        }
    }
}

/// The request's id, by header or by parameter; the gateway parses it.
fn request_id(parameters: &Parameters, headers: &HeaderMap) -> Result<String, Fault> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (by_header, second) = (given.next(), given.next());
    let by_header = by_header.map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        // The draft writes a string with its quotes; many clients leave them out.
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        bare.map(str::to_owned).unwrap_or(text)
    });
    let invalid = |message: &str| Fault::field("FIELD_INVALID", IDEMPOTENCY_KEY_SHOWN, message);
    match (by_header, parameters.get("request_id")) {
        _ if second.is_some() => Err(invalid("is given more than once; give it once")),
        (Some(one), Some(other)) if one != other => Err(invalid(
            "is not what the parameter request_id says; give one of them",
        )),
        (Some(id), _) => Ok(id),
        (None, Some(id)) => Ok(id.to_owned()),
        (None, None) => Err(invalid(
            "is missing; give each request a UUID of its own, and the same when it is sent again",
        )),
    }
}

fn expected(web: &Web, parameters: &Parameters, headers: &HeaderMap) -> Result<Expected, Refusal> {
    let by_parameter = parameters.get("expected_revision").map(|text| {
        text.parse().map_err(|_| {
            let message = format!("{} is not a revision; 0 = the article is new", shown(text));
            Fault::field("FIELD_INVALID", "expected_revision", message)
        })
    });
    let by_parameter = by_parameter.transpose()?;
    let matches: Vec<&str> = tags(headers, IF_MATCH.as_str()).collect();
    let none_matches: Vec<&str> = tags(headers, IF_NONE_MATCH.as_str()).collect();
    match (by_parameter, matches.as_slice(), none_matches.as_slice()) {
        (None, [], []) => Ok(Expected::Any),
        (Some(number), [], []) => Ok(Expected::Revision(number)),
        (None, [], ["*"]) => Ok(Expected::Precondition(0)),
        (None, [one], []) if one.starts_with('"') && one.ends_with('"') => {
            match tagged_revision(one) {
                Some((number, cursor)) if is_known(web, cursor) => {
                    Ok(Expected::Precondition(number))
                }
                Some(_) | None => {
                    let message = format!(
                        "{} is not the ETag of an article of this wire; read the article and decide \
                     again",
                        shown(one)
                    );
                    let fault = Fault::field("REVISION_CONFLICT", "If-Match", message);
                    Err(Refusal::with(StatusCode::PRECONDITION_FAILED, fault))
                }
            }
        }
        _ => {
            let message = "give one of expected_revision, If-Match with one ETag in its quotes, \
                           and If-None-Match: *";
            let fault = Fault::field("FIELD_INVALID", "If-Match", message);
            Err(fault.into())
        }
    }
}

/// Whether a cursor names a revision of this log's life.
fn is_known(web: &Web, cursor: Cursor) -> bool {
    matches!(web.log().epochs().place(cursor), Place::Known(_))
}
