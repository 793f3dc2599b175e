//! Router: which path is answered by what.

use axum::{Router, middleware::from_fn_with_state, response::Response, routing::get};
use http::{Method, StatusCode};

use crate::{
    fault::{Fault, Kind},
    server::http::{
        Web, admission,
        answer::{problem, problem_with},
        dashboard, events, operate, related,
    },
};

/// The wire as server-sent events.
pub const STREAM: &str = "/v1/stream";
/// Where every path that is served is listed.
const PATHS: [&str; 6] = [
    "/",
    "/v1/articles/{id}/related",
    STREAM,
    "/healthz",
    "/readyz",
    "/metrics",
];

/// All paths. Those of news are behind [`Web::admit`].
pub fn router(web: Web) -> Router {
    let news = Router::new()
        .route(STREAM, get(events::get))
        .route("/v1/articles/{id}/related", get(related::get))
        .merge(dashboard::news())
        .route_layer(from_fn_with_state(web.clone(), admission::layer));
    let operation = Router::new()
        .route("/healthz", get(operate::health))
        .route("/readyz", get(operate::readiness))
        .route("/metrics", get(operate::metrics));
    Router::new()
        .merge(news)
        .merge(operation)
        .merge(dashboard::assets())
        .fallback(unknown_path)
        .method_not_allowed_fallback(other_method)
        .with_state(web)
}

async fn unknown_path() -> Response {
    let paths = PATHS.join(", ");
    let message = format!("there is nothing at this path; served are {paths}");
    problem(&Fault::new(Kind::Missing, "PATH_UNKNOWN", message))
}

/// The router adds which methods are allowed.
async fn other_method(method: Method) -> Response {
    let message = format!("this path does not take {method}; the field Allow names what it takes");
    let fault = Fault::new(Kind::Invalid, "METHOD_NOT_ALLOWED", message);
    problem_with(StatusCode::METHOD_NOT_ALLOWED, &fault)
}
