//! Router: which path is answered by what.

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use http::{Method, StatusCode};

use crate::{
    fault::{Fault, Kind},
    server::http::{
        Web, admission,
        answer::Refusal,
        articles::{self, ARTICLES},
        cors, dashboard, events, feeds, hub, openapi, operate, publish, related,
        session::{self, SESSION},
        status::{self, STATUS},
        subscriptions::{self, ACKNOWLEDGE},
        topics::{self, TOPICS},
    },
    webhook::websub::HUB,
};

/// The wire as server-sent events.
pub const STREAM: &str = "/v1/stream";
/// Every path that is served.
pub const PATHS: [&str; 16] = [
    "/",
    STREAM,
    ARTICLES,
    "/v1/articles/{id}",
    "/v1/articles/{id}/revisions",
    "/v1/articles/{id}/related",
    TOPICS,
    ACKNOWLEDGE,
    SESSION,
    STATUS,
    "/feeds/{feed}",
    HUB,
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
];

/// All paths. Those of news are behind [`Web::admit`].
pub fn router(web: Web) -> Router {
    let news = Router::new()
        .route(STREAM, get(events::get))
        .route(ARTICLES, get(articles::list).post(publish::post))
        .route("/v1/articles/{id}", get(articles::one))
        .route("/v1/articles/{id}/revisions", get(articles::revisions))
        .route(TOPICS, get(topics::get))
        .route(ACKNOWLEDGE, post(subscriptions::acknowledge))
        .route(SESSION, get(session::get).delete(session::end))
        .route("/feeds/{feed}", get(feeds::get))
        .route(HUB, post(hub::post))
        .route("/v1/articles/{id}/related", get(related::get))
        .merge(dashboard::news())
        .route_layer(from_fn_with_state(web.clone(), admission::layer));
    let operation = Router::new()
        .route("/openapi.json", get(openapi::get))
        .route("/healthz", get(operate::health))
        .route("/readyz", get(operate::readiness))
        .route("/metrics", get(operate::metrics))
        .route(STATUS, get(status::get));
    Router::new()
        .merge(news)
        .merge(operation)
        .route(SESSION, post(session::begin))
        .merge(dashboard::open())
        .fallback(unknown_path)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(web.clone(), cors::layer))
        .with_state(web)
}

async fn unknown_path() -> Refusal {
    let paths = PATHS.join(", ");
    let message = format!("there is nothing at this path; served are {paths}");
    Fault::new(Kind::Missing, "PATH_UNKNOWN", message).into()
}

/// The router adds which methods are allowed.
async fn other_method(method: Method) -> Refusal {
    let message = format!("this path does not take {method}; the field Allow names what it takes");
    let fault = Fault::new(Kind::Invalid, "METHOD_NOT_ALLOWED", message);
    Refusal::with(StatusCode::METHOD_NOT_ALLOWED, fault)
}
