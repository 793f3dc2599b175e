//! Visit: a request for a page, and how it is answered.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, response::Response};
use http::{StatusCode, request::Parts};
use maud::Markup;

use crate::{
    access::key::Role,
    fault::Fault,
    gate::caller::{self, Caller},
    server::http::{
        Web,
        answer::Reason,
        dashboard::{answer, page, story::View, wish::Wish},
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
            is_desk: self.is_desk(),
        };
        answer(status, &make(&view))
    }

    /// Answers with a page that says why there is no other.
    pub fn refuse(&self, fault: &Fault) -> Response {
        let page = page::problem(self.wish.tongue, fault, self.csrf());
        let mut answer = answer(status::http(fault.kind), &page);
        answer.extensions_mut().insert(Reason(fault.reason));
        answer
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

    /// Whether the desk's pages are shown the way to: whoever has no key yet is asked for one there.
    fn is_desk(&self) -> bool {
        let known = self.caller.known();
        known.is_none_or(|known| known.state.key.role == Role::Desk)
    }
}
