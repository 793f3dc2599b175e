//! Admission: what must hold before a request for news is answered, whatever its path.

use std::{net::IpAddr, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};

use crate::{
    delivery::sse::{self, Events},
    fault::Fault,
    gate::caller::Caller,
    server::http::{
        Connection, Phase, Web,
        answer::{Reason, Refusal},
        events,
        router::STREAM,
    },
};

impl Web {
    /// Lets a request in by its header: who makes it. The one place for it: the router asks here for
    /// every path but those of [`operate`](super::operate), and a stream that goes past the router
    /// asks, too.
    ///
    /// # Errors
    /// A fault: `NOT_SERVING`, to come back later or to ask another node; or what is wrong with the
    /// key, as [`Gate::admit`](crate::gate::Gate::admit) says it.
    pub fn admit(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Caller, Fault> {
        if self.phase() == Phase::Serving {
            return self.caller(headers, from);
        }
        let message = "this node does not serve yet, or no more; come back, or ask another";
        let after = Duration::from_secs(1);
        Err(Fault::unavailable("NOT_SERVING", message, after))
    }

    /// Who makes a request, in any phase.
    ///
    /// # Errors
    /// As [`Gate::admit`](crate::gate::Gate::admit).
    pub fn caller(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Caller, Fault> {
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if shown.is_none() && self.local_reads && from.is_some_and(|from| from.is_loopback()) {
            return Ok(Caller::Local);
        }
        self.gate.admit(shown, from)
    }

    /// A line of the audit for an answer that says that its caller may not.
    pub fn note_refusal(&self, asked: &Asked, answer: &Response) {
        let is_refusal = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        if let Some(Reason(reason)) = answer.extensions().get()
            && is_refusal.contains(&answer.status())
        {
            let shown = asked.shown.as_ref().map(HeaderValue::as_bytes);
            self.gate.refused(shown, asked.from, &asked.path, reason);
        }
    }
}

/// What a refusal is noted by.
#[derive(Clone, Debug)]
pub struct Asked {
    shown: Option<HeaderValue>,
    /// From where it comes.
    pub from: Option<IpAddr>,
    path: String,
}

impl Asked {
    /// Of a request.
    pub fn of(request: &Request) -> Self {
        let connection = request.extensions().get::<Connection>();
        Self {
            shown: request.headers().get(AUTHORIZATION).cloned(),
            from: connection.and_then(|connection| connection.from),
            path: request.uri().path().to_owned(),
        }
    }
}

/// The same as a layer of the router.
pub async fn layer(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let answer = match web.admit(request.headers(), asked.from) {
        Ok(caller) => {
            // No answer sees the key.
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        // An EventSource gives up for good at any status but 200.
        Err(fault) if request.uri().path() == STREAM && sse::takes_events(request.headers()) => {
            events::answer(Events::closed(&fault))
        }
        Err(fault) => Refusal::from(fault).into_response(),
    };
    web.note_refusal(&asked, &answer);
    answer
}
