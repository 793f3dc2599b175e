//! `GET /`: the wire for editors. Pages are made here, ready to read; one small script keeps the
//! first of them live. `/desk/…` are its parts.

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, RawQuery, Request, State, rejection::PathRejection},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use maud::Markup;

use crate::{
    access::scope::Scope,
    fault::{Fault, Kind},
    gate::caller::{self, Caller},
    server::http::{
        Web,
        answer::{Reason, Refusal},
        dashboard::{
            article::Opened,
            page::Front,
            story::{Story, View},
            wish::Wish,
        },
        related::article_id,
    },
    wire::{proto::v1::ListArticlesRequest, status},
};

pub mod article;
pub mod assets;
pub mod diff;
pub mod entry;
pub mod page;
pub mod phrases;
pub mod story;
pub mod wish;

/// Stories of a page.
const STORIES: u32 = 30;
/// Pages that may compare texts at a time: each takes a core for up to a second.
pub const COMPARING_MAX: usize = 2;
/// Nothing but our own files, and none of it written into a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Keeps pages of others that opened ours away from it.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// The pages; behind [`Web::admit`], as all news is.
pub fn news() -> Router<Web> {
    Router::new()
        .route("/", get(front))
        .route("/desk/articles/{id}", get(one))
        .route("/desk/articles/{id}/row", get(row))
        .route_layer(from_fn(whole_wire))
        .route(entry::LEAVE, post(entry::end))
}

/// Lets in whoever may read the whole wire: the pages know no smaller part of it.
async fn whole_wire(request: Request, next: Next) -> Response {
    match caller::of(request.extensions()).scope() {
        Ok(scope) if scope.is_all() => next.run(request).await,
        Ok(_) => {
            let message = "the dashboard is for keys that may read the whole wire";
            let fault = Fault::new(Kind::Forbidden, "NOT_GRANTED", message);
            not_for(&request, fault)
        }
        Err(fault) => not_for(&request, fault),
    }
}

/// A browser can leave from a page for somebody else.
fn not_for(request: &Request, fault: Fault) -> Response {
    if !entry::takes_pages(request.headers()) {
        return Refusal::from(fault).into_response();
    }
    let query = request.uri().query().unwrap_or_default();
    let tongue = Wish::parse(query, request.headers()).tongue;
    let session = caller::of(request.extensions());
    let csrf = session.session().map(|session| session.csrf.reveal());
    let page = page::problem(tongue, &fault, csrf);
    let mut answer = answer(status::http(fault.kind), &page);
    answer.extensions_mut().insert(Reason(fault.reason));
    answer
}

/// Whether a path is that of a page, or of a part of one.
pub fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/desk/")
}

/// What needs no key: the files of the pages, which tell no news, and where a key is shown.
pub fn open() -> Router<Web> {
    Router::new()
        .route("/assets/{name}", get(assets::get))
        .route(entry::ENTER, post(entry::enter))
}

/// The newest stories that a query asks for.
async fn front(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let wish = Wish::parse(query.as_deref().unwrap_or_default(), &headers);
    let taxonomy = web.hub.taxonomy();
    let suffix = wish.suffix();
    let view = View {
        tongue: wish.tongue,
        suffix: &suffix,
        taxonomy: &taxonomy,
    };
    let (found, status) = match stories(&web, &wish).await {
        Ok(front) => (Ok(front), StatusCode::OK),
        Err(fault) => {
            let status = status::http(fault.kind);
            (Err(fault), status)
        }
    };
    let csrf = caller.session().map(|session| session.csrf.reveal());
    answer(status, &page::front(&view, &wish, found.as_ref(), csrf))
}

async fn stories(web: &Web, wish: &Wish) -> Result<Front, Fault> {
    let request = ListArticlesRequest {
        filter: Some(wish.filter()?),
        page_size: STORIES,
        page_token: wish.page.clone(),
    };
    let found = web.articles.list(request, &Scope::default()).await?;
    let mut stories = Vec::with_capacity(found.deliveries.len());
    for delivery in &found.deliveries {
        let change = article::change_of(web, delivery).await?;
        stories.push((Story::of(delivery), change));
    }
    Ok(Front {
        stories,
        snapshot: found.snapshot_cursor,
        next_page: found.next_page_token,
    })
}

/// An article by itself: its text, revisions, topics and what is related.
async fn one(
    State(web): State<Web>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let opened = async { Opened::read(&web, article_id(id)?).await };
    part(&web, &query, &headers, opened.await, article::page)
}

/// A story of the list, with what its newest revision changed.
async fn row(
    State(web): State<Web>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let found = async { article::row(&web, article_id(id)?).await };
    part(&web, &query, &headers, found.await, |view, row| {
        page::list(view, std::slice::from_ref(row))
    })
}

/// A part of the dashboard, or a page that says why not.
fn part<T>(
    web: &Web,
    query: &str,
    headers: &HeaderMap,
    found: Result<T, Fault>,
    show: impl FnOnce(&View<'_>, &T) -> Markup,
) -> Response {
    let wish = Wish::parse(query, headers);
    let (taxonomy, suffix) = (web.hub.taxonomy(), wish.suffix());
    let view = View {
        tongue: wish.tongue,
        suffix: &suffix,
        taxonomy: &taxonomy,
    };
    match found {
        Ok(found) => answer(StatusCode::OK, &show(&view, &found)),
        Err(fault) => answer(
            status::http(fault.kind),
            &page::problem(wish.tongue, &fault, None),
        ),
    }
}

/// A page as an answer.
pub fn answer(status: StatusCode, page: &Markup) -> Response {
    let mut answer = Response::new(Body::from(page.0.clone()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let set = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, set("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, set("no-store"));
    headers.insert(VARY, set("accept-language"));
    headers.insert(CONTENT_SECURITY_POLICY, set(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, set("nosniff"));
    // Our own pages must be known as the origin of what they post; nobody else hears of them.
    headers.insert(REFERRER_POLICY, set("same-origin"));
    headers.insert(OPENER_POLICY, set("same-origin"));
    answer
}
