//! `GET /`: the wire for editors. Pages are made here, ready to read; one small script keeps the
//! first of them live. `/desk/…` are its parts.

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
    uri::PathAndQuery,
};
use maud::Markup;

use crate::{
    access::scope::Scope,
    fault::{Fault, Kind},
    gate::caller::{self, Caller},
    server::http::{
        Web,
        answer::{Reason, Refusal},
        articles::Id,
        dashboard::{
            article::Opened,
            kept::Kept,
            page::{Front, News},
            phrases::Tongue,
            story::Story,
            visit::Visit,
            wish::{Layout, Wish},
        },
        form::Form,
        origin::{self, Site},
        related::article_id,
    },
    wire::{proto::v1::ListArticlesRequest, status},
};

pub mod article;
pub mod assets;
pub mod board;
pub mod compose;
pub mod diff;
pub mod embargo;
pub mod entry;
pub mod kept;
pub mod lanes;
pub mod listing;
pub mod page;
pub mod phrases;
pub mod queue;
pub mod recall;
pub mod story;
pub mod subscriptions;
pub mod visit;
pub mod webhook;
pub mod webhooks;
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
        .merge(desk())
        .merge(recipients())
        .route(entry::LEAVE, post(entry::end))
}

/// Those of whoever is sent news, and of the desk.
fn recipients() -> Router<Web> {
    Router::new()
        .route(subscriptions::SUBSCRIPTIONS, get(subscriptions::get))
        .route(webhooks::WEBHOOKS, get(webhooks::get))
        .route(
            "/desk/webhooks/{id}",
            get(webhook::get).post(webhook::change),
        )
        .route_layer(from_fn(only_recipients))
}

/// The desk's own.
fn desk() -> Router<Web> {
    Router::new()
        .route("/desk/status", get(board::get))
        .route(queue::QUEUE, get(queue::get))
        .route(
            "/desk/embargoes/{id}",
            get(embargo::get).post(embargo::change),
        )
        .route("/desk/articles/{id}/recall", get(recall::get))
        .route("/desk/new", get(compose::new).post(compose::send_new))
        .route(
            "/desk/articles/{id}/{task}",
            get(compose::begin).post(compose::send),
        )
        .route_layer(from_fn(only_desk))
}

/// Lets in the desk.
async fn only_desk(request: Request, next: Next) -> Response {
    only(Caller::desk, request, next).await
}

/// Lets in whoever has subscriptions or webhooks; whose they see is for the pages to ask.
async fn only_recipients(request: Request, next: Next) -> Response {
    only(|caller| caller.recipient().map(drop), request, next).await
}

/// Lets in who may, by our own pages alone; whoever has shown no key is asked for one, and a form
/// that it sent is kept.
async fn only(may: fn(&Caller) -> Result<(), Fault>, request: Request, next: Next) -> Response {
    let is_write = !request.method().is_safe();
    if is_write && request.extensions().get() == Some(&Site::Foreign) {
        return not_for(&request, origin::foreign());
    }
    let asks = !is_write || entry::takes_pages(request.headers());
    match may(&caller::of(request.extensions())) {
        Ok(()) => next.run(request).await,
        Err(fault) if fault.kind == Kind::Unauthenticated && asks => {
            let target = request.uri().path_and_query();
            let target = target.map_or("/", PathAndQuery::as_str);
            let query = request.uri().query().unwrap_or_default();
            let wish = Wish::parse(query, request.headers());
            let form = request.extensions().get::<Form>();
            entry::page(&wish, target, None, &form.map_or(Kept::Nothing, Kept::of))
        }
        Err(fault) => not_for(&request, fault),
    }
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
    refusal(tongue, status::http(fault.kind), &fault, csrf)
}

/// A page that says why there is no other; with a way out of the session of that token.
pub fn refusal(tongue: Tongue, status: StatusCode, fault: &Fault, csrf: Option<&str>) -> Response {
    let mut answer = answer(status, &page::problem(tongue, fault, csrf));
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
async fn front(visit: Visit) -> Response {
    let (web, wish) = (&visit.web, &visit.wish);
    let found = match wish.layout {
        Layout::Column => stories(web, wish, STORIES).await.map(News::Column),
        Layout::Lanes => lanes::read(web, wish).await.map(News::Lanes),
    };
    let fault = found.as_ref().err();
    let status = fault.map_or(StatusCode::OK, |fault| status::http(fault.kind));
    visit.show(status, |view| page::front(view, wish, found.as_ref()))
}

/// The newest stories, or those of a page of earlier ones.
async fn stories(web: &Web, wish: &Wish, count_max: u32) -> Result<Front, Fault> {
    let request = ListArticlesRequest {
        filter: Some(wish.filter()?),
        page_size: count_max,
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
async fn one(visit: Visit, id: Id) -> Response {
    let opened = async { Opened::read(&visit.web, article_id(id)?).await };
    visit.part(opened.await, |view, opened| {
        article::page(view, opened, visit.wish.done)
    })
}

/// A story of the list, with what its newest revision changed.
async fn row(visit: Visit, id: Id) -> Response {
    let found = async { article::row(&visit.web, article_id(id)?).await };
    visit.part(found.await, |view, row| {
        page::list(view, std::slice::from_ref(row))
    })
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
