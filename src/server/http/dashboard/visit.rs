//! Visit: a request for a page, and how it is answered.

use std::convert::Infallible;

use axum::{body::Body, extract::FromRequestParts, response::Response};
use http::{HeaderValue, StatusCode, header::LOCATION, request::Parts};
use maud::Markup;

use crate::{
    access::key::Role,
    fault::Fault,
    gate::caller::{self, Caller},
    server::http::{
        Web,
        dashboard::{answer, refusal, story::View, wish::Wish},
    },
    wire::status,
};

/// A request for a page: by whom, and what its address asks for.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The node.
    pub web: Web,
    /// Who comes.
    pub caller: Caller,
    /// What the address asks for.
    pub wish: Wish,
    path: String,
}

impl FromRequestParts<Web> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self {
            web: web.clone(),
            caller: caller::of(&parts.extensions),
            wish: Wish::parse(query, &parts.headers),
            path: parts.uri.path().to_owned(),
        })
    }
}

impl Visit {
    /// Answers with a page.
    pub fn show(&self, status: StatusCode, make: impl FnOnce(&View<'_>) -> Markup) -> Response {
        let (taxonomy, suffix) = (self.web.hub.taxonomy(), self.wish.suffix());
        let view = View {
            tongue: self.wish.tongue,
            suffix: &suffix,
            taxonomy: &taxonomy,
            path: &self.path,
            csrf: self.csrf(),
            is_desk: self.has_role(&[Role::Desk]),
            is_recipient: self.has_role(&[Role::Desk, Role::Subscriber]),
        };
        answer(status, &make(&view))
    }

    /// Answers with a page that says why there is no other.
    pub fn refuse(&self, fault: &Fault) -> Response {
        refusal(
            self.wish.tongue,
            status::http(fault.kind),
            fault,
            self.csrf(),
        )
    }

    /// Answers with a page if there is something to show.
    pub fn part<T>(
        &self,
        found: Result<T, Fault>,
        show: impl FnOnce(&View<'_>, &T) -> Markup,
    ) -> Response {
        match found {
            Ok(found) => self.show(StatusCode::OK, |view| show(view, &found)),
            Err(fault) => self.refuse(&fault),
        }
    }

    /// The token of the session that it is in.
    fn csrf(&self) -> Option<&str> {
        let session = self.caller.session();
        session.map(|session| session.csrf.reveal())
    }

    /// Whether pages for these roles are shown the way to: whoever has no key yet is asked for one
    /// there.
    fn has_role(&self, roles: &[Role]) -> bool {
        let known = self.caller.known();
        known.is_none_or(|known| roles.contains(&known.state.key.role))
    }

    /// Answers that a page of ours is to be opened now, in the same language.
    pub fn go_to(&self, path: &str) -> Response {
        let ui = self.wish.suffix();
        let ui = if path.contains('?') {
            ui.replace('?', "&")
        } else {
            ui
        };
        let target = HeaderValue::from_str(&format!("{path}{ui}"));
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::SEE_OTHER;
        let headers = answer.headers_mut();
        headers.insert(LOCATION, target.expect("ids and numbers are ASCII"));
        answer
    }
}
