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
    access::session::CsrfToken,
    delivery::sse::{self, Events},
    fault::{Fault, Kind},
    gate::{caller::Caller, proof::Shown},
    server::http::{
        Connection, Phase, Web,
        answer::{Reason, Refusal},
        body::BODY_BYTES_MAX,
        cookie, cors,
        dashboard::{
            self, entry,
            kept::{self, Kept},
            wish::Wish,
        },
        events,
        form::{self, Form},
        origin::{self, Site},
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
    site: Site,
    takes_events: bool,
    /// What a browser that asks for a page wishes.
    page: Option<Box<Wish>>,
    csrf: Option<HeaderValue>,
}

impl Asked {
    /// Of a request.
    pub fn of(web: &Web, request: &Request) -> Self {
        let connection = request.extensions().get::<Connection>();
        let uri = request.uri();
        let asked = (request.method(), uri.path(), uri.query());
        Self::by(web, asked, request.headers(), connection)
    }

    /// Of a request's parts: method, path and query, fields, connection.
    pub fn by(
        web: &Web,
        (method, path, query): (&Method, &str, Option<&str>),
        headers: &HeaderMap,
        connection: Option<&Connection>,
    ) -> Self {
        let takes_page = dashboard::is_page(path) && entry::takes_pages(headers);
        let page = takes_page.then(|| Wish::parse(query.unwrap_or_default(), headers));
        Self {
            shown: Shown {
                authorization: headers.get(AUTHORIZATION).cloned(),
                session: cookie::session(headers, connection),
                certificate: connection.and_then(|connection| connection.certificate),
                from: connection.and_then(|connection| connection.from),
            },
            method: method.clone(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            site: origin::site(headers, web.public_url.as_deref()),
            takes_events: path == STREAM && sse::takes_events(headers),
            page: page.map(Box::new),
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
        if asked.site == Site::Foreign && !asked.method.is_safe() && caller.is_ambient() {
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

    /// Hands a request on as its handler gets it: without what it shows, with its caller, and with
    /// the fields of its form. What changes something in a session proves that a page of the session
    /// asks for it.
    async fn let_in(
        &self,
        asked: &Asked,
        caller: Caller,
        mut request: Request,
        next: Next,
    ) -> Response {
        let csrf = caller.session().map(|session| &session.csrf);
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
        let is_form = form::is_form(headers);
        if is_form && !asked.method.is_safe() {
            let deadline = Instant::now() + FORM_PATIENCE;
            let (mut head, body) = request.into_parts();
            let bounds = (BODY_BYTES_MAX, deadline);
            match Form::take(&self.body_room, &head.headers, body, bounds).await {
                Ok(form) => head.extensions.insert(form),
                Err(refusal) => return asked.refuse(refusal, csrf),
            };
            request = Request::from_parts(head, Body::empty());
        }
        if let Some(csrf) = csrf.filter(|_| !asked.method.is_safe()) {
            let form = request.extensions().get::<Form>();
            let field = form.and_then(|form| form.get(CSRF_FIELD));
            let token = asked.csrf.as_ref().map(HeaderValue::as_bytes);
            let token = token.or(field.map(str::as_bytes));
            if !token.is_some_and(|token| csrf.is(token)) {
                let fault = origin::no_csrf_token();
                return match (&asked.page, form) {
                    // The page is of a session before this one.
                    (Some(wish), Some(form)) if asked.site == Site::Ours => {
                        Kept::of(form).again(wish, &asked.target(), csrf, Some(&fault))
                    }
                    _ => asked.refuse(fault.into(), Some(csrf)),
                };
            }
        }
        request.extensions_mut().insert(asked.site);
        request.extensions_mut().insert(caller);
        next.run(request).await
    }

    /// Says why a request is not let in. A browser is shown a page, which asks for a key if one is
    /// missing, and keeps what a form of ours says.
    async fn shut_out(&self, asked: &Asked, fault: Fault, request: Request) -> Response {
        match &asked.page {
            Some(wish) if fault.kind == Kind::Unauthenticated => {
                let kept = self.kept(asked, request).await;
                let fault = (fault.reason != "KEY_MISSING").then_some(fault);
                entry::page(wish, &asked.target(), fault.as_ref(), &kept)
            }
            Some(_) | None => asked.refuse(fault.into(), None),
        }
    }

    /// What a form of ours says whose sender is not known any more.
    async fn kept(&self, asked: &Asked, request: Request) -> Kept {
        let is_ours = asked.site == Site::Ours && !asked.method.is_safe();
        if !is_ours || !form::is_form(request.headers()) {
            return Kept::Nothing;
        }
        let (head, body) = request.into_parts();
        let bounds = (kept::BYTES_MAX, Instant::now() + FORM_PATIENCE);
        let form = Form::take(&self.entry_room, &head.headers, body, bounds).await;
        form.map_or(Kept::Lost, |form| Kept::of(&form))
    }
}

/// The same as a layer of the router.
pub async fn layer(State(web): State<Web>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&web, &request);
    let admitted = web.admit(&asked);
    let origin = cors::opened(&web.gate, request.headers(), admitted.as_ref().ok());
    let mut answer = match admitted {
        Ok(caller) => web.let_in(&asked, caller, request, next).await,
        // An EventSource gives up for good at any status but 200. What passes must not look like an
        // error to it; whoever needs another key must not ask for ever.
        Err(fault) if asked.takes_events && fault.retry_after.is_some() => {
            events::answer(Events::closed(&fault))
        }
        Err(fault) => web.shut_out(&asked, fault, request).await,
    };
    if let Some(origin) = origin {
        cors::open(answer.headers_mut(), origin);
    }
    web.note_refusal(&asked, &answer);
    answer
}

impl Asked {
    /// What follows the path.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Whose page makes the request.
    pub fn site(&self) -> Site {
        self.site
    }

    /// A refusal as its reader takes it: a page for a browser that asked for one, with the way out of
    /// the session of that token.
    pub fn refuse(&self, refusal: Refusal, csrf: Option<&CsrfToken>) -> Response {
        let Some(wish) = &self.page else {
            return refusal.into_response();
        };
        let (status, fault) = refusal.parts();
        dashboard::refusal(wish.tongue, status, fault, csrf.map(CsrfToken::reveal))
    }

    /// Where to go on after a session has begun: each form is sent to the path of its own page.
    fn target(&self) -> String {
        let query = self.query.as_deref();
        let whole = query.map(|query| format!("{}?{query}", self.path));
        entry::target(whole.as_deref().or(Some(&self.path))).to_owned()
    }
}
