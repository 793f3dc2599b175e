//! `/v1/session`: a key becomes a cookie, for browsers: an `EventSource` can't send headers, and a
//! script should not hold a key.

use std::{net::IpAddr, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, request::Parts};
use http_body::Body as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    access::session::Token,
    delivery::query::Parameters,
    fault::{Fault, Kind},
    gate::{caller::Caller, proof::Shown},
    server::http::{
        Connection, Web,
        admission::Asked,
        answer::{Refusal, fleeting},
        body, cookie,
        origin::{self, Site},
    },
};

/// The path.
pub const SESSION: &str = "/v1/session";
/// Most bytes of what a session is begun with.
const BODY_BYTES_MAX: usize = 4096;
/// For how long that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a session is begun with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
}

/// Who is in; all null where no key is needed.
#[derive(Serialize)]
struct Who {
    partner: Option<String>,
    key_id: Option<String>,
    role: Option<&'static str>,
    /// When the session, or else the key, ends.
    expires: Option<Timestamp>,
    /// What `X-CSRF-Token` must say when something is written in this session.
    csrf_token: Option<String>,
}

/// `POST`: begins a session.
pub async fn begin(State(web): State<Web>, request: Request) -> Response {
    let asked = Asked::of(&web, &request);
    let (head, body) = request.into_parts();
    let answer = begun(&web, &asked, &head, body).await;
    let answer = answer.unwrap_or_else(Refusal::into_response);
    web.note_refusal(&asked, &answer);
    answer
}

async fn begun(web: &Web, asked: &Asked, head: &Parts, body: Body) -> Result<Response, Refusal> {
    asked.may_begin(web)?;
    Parameters::parse(asked.query().unwrap_or_default(), &[])?;
    // A body is looked at, too, where the header has the key: one that is wrong is a mistake.
    let given = match (&asked.shown.authorization, body.is_end_stream()) {
        (Some(_), true) => None,
        _ => Some(given(web, head, body).await?),
    };
    let authorization = match (&asked.shown.authorization, given) {
        (Some(value), _) => value.clone(),
        (None, given) => authorization(&given.map(|given| given.key).unwrap_or_default())?,
    };
    let (token, caller) = enter(web, authorization, asked.shown.from)?;
    let mut answer = said(StatusCode::CREATED, &caller);
    let connection = head.extensions.get::<Connection>();
    cookie::set(answer.headers_mut(), &token, &head.headers, connection);
    Ok(answer)
}

impl Asked {
    /// That a session may begin by this request: another site must not make a browser begin one.
    ///
    /// # Errors
    /// Unavailable `NOT_SERVING`; invalid `KEY_IN_QUERY`; forbidden `ORIGIN_FOREIGN`.
    pub fn may_begin(&self, web: &Web) -> Result<(), Fault> {
        web.serving()?;
        origin::check_query(self.query())?;
        if self.site() == Site::Foreign {
            return Err(origin::foreign());
        }
        Ok(())
    }
}

/// A key as a caller shows it.
///
/// # Errors
/// Unauthenticated `KEY_INVALID`.
pub fn authorization(key: &str) -> Result<HeaderValue, Fault> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
    let mut value = value.map_err(|_| {
        let message = "a key is barid_<id>_<secret>, and nothing else";
        Fault::new(Kind::Unauthenticated, "KEY_INVALID", message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Begins the session of whoever shows this.
///
/// # Errors
/// What is wrong with the key, or with a session here.
pub fn enter(
    web: &Web,
    authorization: HeaderValue,
    from: Option<IpAddr>,
) -> Result<(Token, Caller), Fault> {
    let shown = Shown {
        authorization: Some(authorization),
        session: None,
        certificate: None,
        from,
    };
    let caller = web.gate.admit(&shown)?;
    web.gate.begin_session(&caller)
}

async fn given(web: &Web, head: &Parts, body: Body) -> Result<Entry, Refusal> {
    let remedy = "`authorization: Bearer <key>`, or {\"key\": \"barid_…\"} as application/json";
    body::check_json(&head.headers, remedy)?;
    let bounds = (BODY_BYTES_MAX, Instant::now() + PATIENCE);
    let text = body::take(&web.entry_room, &head.headers, body, bounds).await?;
    // What the parser says may name what it read.
    serde_json::from_str(&text).map_err(|_| {
        let message = "is not {\"key\": \"barid_…\"}";
        Fault::field("FIELD_INVALID", "body", message).into()
    })
}

/// `GET`: who is in, by a session or by a key.
///
/// # Errors
/// A parameter that is none.
pub async fn get(
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    Parameters::parse(query.as_deref().unwrap_or_default(), &[])?;
    Ok(said(StatusCode::OK, &caller))
}

/// `DELETE`: the session ends, on every node, with the streams that are open in it.
///
/// # Errors
/// A parameter that is none; a log that is away.
pub async fn end(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    Parameters::parse(query.as_deref().unwrap_or_default(), &[])?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    forget(&web, &caller, answer.headers_mut()).await?;
    Ok(answer)
}

/// Ends the session of a caller on every node, and has its browser forget it.
///
/// # Errors
/// Unavailable; the session goes on.
pub async fn forget(web: &Web, caller: &Caller, answer: &mut HeaderMap) -> Result<(), Fault> {
    if let (Some(session), Some(known)) = (caller.session(), caller.known()) {
        let id = known.holder.id();
        let partners = web.desk.partners();
        partners
            .end_session(id, &session.nonce, session.expires)
            .await?;
        caller.note("session.end", "");
    }
    cookie::clear(answer);
    Ok(())
}

fn said(status: StatusCode, caller: &Caller) -> Response {
    let known = caller.known();
    let csrf = caller.session().map(|session| &session.csrf);
    let expires = known.and_then(|known| known.expires());
    let who = Who {
        partner: known.map(|known| known.state.partner.name.to_string()),
        key_id: known.map(|known| known.state.key.id.to_string()),
        role: known.map(|known| known.state.key.role.as_str()),
        expires: expires.and_then(|end| Timestamp::from_second(end).ok()),
        csrf_token: csrf.map(|csrf| csrf.reveal().to_owned()),
    };
    let body = serde_json::to_vec(&who).expect("plain data");
    fleeting(status, "application/json", body)
}
