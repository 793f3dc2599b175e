//! `GET /openapi.json`: this side as OpenAPI 3.1 describes it.

use axum::{extract::State, response::Response};
use http::HeaderMap;
use serde_json::{Value, json};

use crate::server::http::{Web, conditional};

/// The description, but for what only a running node knows.
const DESCRIPTION: &str = include_str!("openapi.json");

/// The description, with this release's version and the topics of now.
pub async fn get(State(web): State<Web>, headers: HeaderMap) -> Response {
    let mut description: Value = serde_json::from_str(DESCRIPTION).expect("a test reads it");
    let taxonomy = web.desk.topics();
    let topics: Vec<String> = taxonomy
        .topics
        .into_iter()
        .map(|topic| topic.path)
        .collect();
    if let Some(version) = description.pointer_mut("/info/version") {
        *version = json!(env!("CARGO_PKG_VERSION"));
    }
    if let Some(names) = description.pointer_mut("/components/schemas/Topic/enum") {
        *names = json!(topics);
    }
    if let Some(url) = &web.public_url {
        description["servers"] = json!([{ "url": &**url }]);
    }
    conditional::json(&headers, &description)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::router::PATHS;

    /// It is JSON, has the places that are filled in, and names exactly the paths that are served.
    #[test]
    fn describes_what_is_served() {
        let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
        for place in ["/info/version", "/components/schemas/Topic/enum"] {
            assert!(description.pointer(place).is_some(), "{place}");
        }
        let mut described: Vec<&str> = description["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        // Pages are for people.
        let mut served: Vec<&str> = PATHS.into_iter().filter(|path| *path != "/").collect();
        described.sort_unstable();
        served.sort_unstable();
        assert_eq!(described, served);
    }
}
