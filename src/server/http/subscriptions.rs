//! `/v1/subscriptions/{name}/acknowledge`: how far whoever takes a durable subscription as
//! server-sent events has got.

use std::time::Duration;

use axum::{
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    delivery::{query::Parameters, recipients},
    fault::Fault,
    gate::caller,
    server::http::{
        Web,
        answer::{Refusal, fleeting},
        body,
    },
    wire::convert::field,
};

/// The path.
pub const ACKNOWLEDGE: &str = "/v1/subscriptions/{name}/acknowledge";
/// Most bytes of a request's body.
const BODY_BYTES_MAX: usize = 4096;
/// For how long that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is to be sent.
const SHAPE: &str = "{\"token\": \"…\", \"cursor\": \"…\"}";

/// Up to where, and for which stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    token: String,
    cursor: String,
}

/// What is stored.
#[derive(Serialize)]
struct Stored {
    cursor: String,
}

/// `POST`: everything up to a cursor has been dealt with. Answered once that is on disk.
///
/// # Errors
/// As over gRPC; what is wrong with the request itself.
pub async fn acknowledge(
    State(web): State<Web>,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let caller = caller::of(&head.extensions);
    // First: what there is is nobody's business who may not ask. A name that is no text is none.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let id = recipients::own(&caller, "name", &name)?;
    Parameters::parse(query.as_deref().unwrap_or_default(), &[])?;
    body::check_json(&head.headers, &format!("{SHAPE} as application/json"))?;
    let bounds = (BODY_BYTES_MAX, Instant::now() + PATIENCE);
    let text = body::take(&web.body_room, &head.headers, body, bounds).await?;
    let given: Acknowledgement = serde_json::from_str(&text).map_err(|error| {
        let message = format!("is not {SHAPE}: {error}");
        Fault::field("FIELD_INVALID", "body", message)
    })?;
    let cursor = field::cursor("cursor", &given.cursor)?;
    let durables = web.hub.durables();
    let stored = durables.acknowledge(&id, &given.token, cursor).await;
    let stored = stored.map_err(|error| error.fault())?;
    let said = Stored {
        cursor: stored.to_string(),
    };
    let said = serde_json::to_vec(&said).expect("plain data");
    Ok(fleeting(StatusCode::OK, "application/json", said))
}
