//! Admission: what must hold before a request is answered, whatever its path.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, COOKIE},
};
use tokio::time::Instant;

use crate::{
    delivery::sse::{self, Events},
    fault::{Fault, Kind},
    gate::{caller::Caller, proof::Shown},
    server::http::{
        Connection, Phase, Web,
        answer::{Reason, Refusal},
        cookie,
        dashboard::{self, entry},
        events,
        form::{self, Form},
        origin,
        router::STREAM,
    },
};

/// The header with which a session's page proves itself.
pub const CSRF_TOKEN: &str = "x-csrf-token";
/// The field with which a form does.
pub const CSRF_FIELD: &str = "csrf";
/// For how long a form's fields are waited for.
const FORM_PATIENCE: Duration = Duration::from_secs(30);

/// What a request says of who makes it, and by what it is noted if it is refused.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who, as far as it shows.
    pub shown: Shown,
    method: Method,
    path: String,
    query: Option<String>,
    is_foreign: bool,
    takes_events: bool,
    takes_pages: bool,
    csrf: Option<HeaderValue>,
}

impl Asked {
    /// Of a request.
    pub fn of(request: &Request) -> Self {
        let connection = request.extensions().get::<Connection>();
        let uri = request.uri();
        let asked = (request.method(), uri.path(), uri.query());
        Self::by(asked, request.headers(), connection)
    }

    /// Of a request's parts: method, path and query, fields, connection.
    pub fn by(
        (method, path, query): (&Method, &str, Option<&str>),
        headers: &HeaderMap,
        connection: Option<&Connection>,
    ) -> Self {
        Self {
            shown: Shown {
                authorization: headers.get(AUTHORIZATION).cloned(),
                session: cookie::session(headers, connection),
                from: connection.and_then(|connection| connection.from),
            },
            method: method.clone(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            is_foreign: origin::is_foreign(headers),
            takes_events: path == STREAM && sse::takes_events(headers),
            takes_pages: dashboard::is_page(path) && entry::takes_pages(headers),
            csrf: headers.get(CSRF_TOKEN).cloned(),
        }
    }
}

impl Web {
    /// Lets a request in: who makes it. The one place for it: the router asks here for every path
    /// but those of [`operate`](super::operate), and a stream that goes past the router asks, too.
    ///
    /// # Errors
    /// A fault: `NOT_SERVING`, to come back later or to ask another node; or as [`Web::caller`].
    pub fn admit(&self, asked: &Asked) -> Result<Caller, Fault> {
        self.serving()?;
        self.caller(asked)
    }

    /// That news is served now.
    ///
    /// # Errors
    /// Unavailable `NOT_SERVING`.
    pub fn serving(&self) -> Result<(), Fault> {
        if self.phase() == Phase::Serving {
            return Ok(());
        }
        let message = "this node does not serve yet, or no more; come back, or ask another";
        let after = Duration::from_secs(1);
        Err(Fault::unavailable("NOT_SERVING", message, after))
    }

    /// Who makes a request, in any phase.
    ///
    /// # Errors
    /// Invalid `KEY_IN_QUERY`; forbidden `ORIGIN_FOREIGN`; what is wrong with what it shows, as
    /// [`Gate::admit`](crate::gate::Gate::admit) says it.
    pub fn caller(&self, asked: &Asked) -> Result<Caller, Fault> {
        origin::check_query(asked.query.as_deref())?;
        let caller = match self.gate.admit(&asked.shown) {
            Err(fault) if fault.kind == Kind::Unauthenticated && self.is_local(&asked.shown) => {
                Caller::Local
            }
            other => other?,
        };
        if asked.is_foreign && !asked.method.is_safe() && caller.session().is_some() {
            return Err(origin::foreign());
        }
        Ok(caller)
    }

    fn is_local(&self, shown: &Shown) -> bool {
        let is_here = shown.from.is_some_and(|from| from.is_loopback());
        self.local_reads && shown.authorization.is_none() && is_here
    }

    /// A line of the audit for an answer that says that its caller may not.
    pub fn note_refusal(&self, asked: &Asked, answer: &Response) {
        let is_refusal = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        if let Some(Reason(reason)) = answer.extensions().get()
            && is_refusal.contains(&answer.status())
        {
            self.gate.refused(&asked.shown, &asked.path, reason);
        }
    }

    /// The request as its handler gets it: without what it shows, with its caller, and with the
    /// fields of its form. What changes something in a session proves that a page of the session
    /// asks for it.
    async fn let_in(
        &self,
        asked: &Asked,
        caller: Caller,
        mut request: Request,
    ) -> Result<Request, Refusal> {
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
        let is_form = form::is_form(headers);
        if is_form && !asked.method.is_safe() {
            let deadline = Instant::now() + FORM_PATIENCE;
            let (mut head, body) = request.into_parts();
            let form = Form::take(self, &head.headers, body, deadline).await?;
            head.extensions.insert(form);
            request = Request::from_parts(head, Body::empty());
        }
        if let Some(session) = caller.session().filter(|_| !asked.method.is_safe()) {
            let form = request.extensions().get::<Form>();
            let field = form.and_then(|form| form.get(CSRF_FIELD));
            let token = asked.csrf.as_ref().map(HeaderValue::as_bytes);
            let token = token.or(field.map(str::as_bytes));
            if !token.is_some_and(|token| session.csrf.is(token)) {
                return Err(origin::no_csrf_token().into());
            }
        }
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

/// The same as a layer of the router.
pub async fn layer(State(web): State<Web>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let answer = match web.admit(&asked) {
        Ok(caller) => match web.let_in(&asked, caller, request).await {
            Ok(request) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        },
        // An EventSource gives up for good at any status but 200. What passes must not look like an
        // error to it; whoever needs another key must not ask for ever.
        Err(fault) if asked.takes_events && fault.retry_after.is_some() => {
            events::answer(Events::closed(&fault))
        }
        Err(fault) if asked.takes_pages && fault.kind == Kind::Unauthenticated => {
            let fault = (fault.reason != "KEY_MISSING").then_some(fault);
            entry::page(&asked.target(), request.headers(), fault.as_ref())
        }
        Err(fault) => Refusal::from(fault).into_response(),
    };
    web.note_refusal(&asked, &answer);
    answer
}

impl Asked {
    /// What follows the path.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Whether another site's page makes the request.
    pub fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Where to go on after a session has begun.
    fn target(&self) -> String {
        match (&self.method, &self.query) {
            (&Method::GET, Some(query)) => format!("{}?{query}", self.path),
            (&Method::GET, None) => self.path.clone(),
            _ => "/".to_owned(),
        }
    }
}
