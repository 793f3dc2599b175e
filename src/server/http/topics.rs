//! `GET /v1/topics`: what news is sorted into.

use std::collections::BTreeMap;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::HeaderMap;
use serde::Serialize;

use crate::{
    delivery::query::Parameters,
    server::http::{Web, answer::Refusal, conditional},
};

/// The path.
pub const TOPICS: &str = "/v1/topics";

/// The taxonomy.
#[derive(Debug, Serialize)]
struct Topics {
    /// Changes when anything of it does.
    version: String,
    topics: Vec<Topic>,
}

#[derive(Debug, Serialize)]
struct Topic {
    path: String,
    /// By language.
    names: BTreeMap<String, String>,
    /// IPTC media topic codes that lead to it.
    subjects: Vec<String>,
    /// Earlier paths of it.
    aliases: Vec<String>,
    /// Articles that stand now in it or beneath it, among the newest revisions of this node.
    article_count: u64,
}

/// The taxonomy, with counts.
///
/// # Errors
/// A parameter that is none.
pub async fn get(
    State(web): State<Web>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    Parameters::parse(query.as_deref().unwrap_or_default(), &[])?;
    let (taxonomy, counts) = (web.desk.topics(), web.hub.article_counts());
    let topics = taxonomy.topics.into_iter().map(|topic| Topic {
        article_count: counts.get(&topic.path).copied().unwrap_or(0),
        path: topic.path,
        names: topic.names.into_iter().collect(),
        subjects: topic.subjects,
        aliases: topic.aliases,
    });
    let topics = Topics {
        version: taxonomy.version,
        topics: topics.collect(),
    };
    Ok(conditional::json(&headers, &topics))
}
