//! `GET /v1/articles/{id}/related`: what else to read, and why.

use axum::{
    Extension,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use serde::Serialize;

use crate::{
    article::{ArticleId, IdError, check::shown},
    delivery::{
        query::Parameters,
        related::{COUNT_MAX, Relation},
    },
    fault::{
        Fault,
        wrong::{Quoted, Wrong},
    },
    gate::caller::Caller,
    server::http::{
        Web,
        answer::{Refusal, fleeting},
        articles::ninjs,
    },
    wire::{ninjs::Ninjs, proto::v1::GetArticleRequest, record::texts},
};

/// Related articles of an answer that names no number.
const COUNT: usize = 5;

/// Related articles, most first.
#[derive(Debug, Serialize)]
struct Answer {
    related: Vec<Item>,
}

/// One of them, and why it is there.
#[derive(Debug, Serialize)]
struct Item {
    /// How much they share, 0 to 1, and 1 more for a link.
    score: f64,
    /// Words of both, rarest first.
    words: Vec<String>,
    /// Topics of both.
    topics: Vec<String>,
    /// Places of both.
    places: Vec<String>,
    /// Whether one names the other, or both the same third.
    linked: bool,
    /// ninjs.
    article: Ninjs,
}

/// Related articles of an article; `limit` of them, 1 to 20, otherwise 5.
///
/// # Errors
/// The id or the query is wrong, the article is nobody's or withdrawn, or the node can't read.
pub async fn get(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let count = count(query.as_deref().unwrap_or_default())?;
    let (id, reader) = (article_id(id)?, caller.reader()?);
    // What it is related to tells of it.
    let request = GetArticleRequest {
        article_id: id.to_string(),
    };
    web.articles.get(request, &reader).await?;
    let relations = web.related.to(id, count, web.time()).await?;
    let may_be_read = |relation: &&Relation| {
        let record = &relation.entry.stored.record;
        let language = relation.entry.facets().language;
        reader.opens(&record.owner, &record.topics, language)
    };
    let related = relations.iter().filter(may_be_read).map(item);
    let related = related.collect::<Result<_, _>>()?;
    let body = serde_json::to_vec(&Answer { related }).expect("plain data");
    Ok(fleeting(StatusCode::OK, "application/json", body))
}

/// The article that a path names.
///
/// # Errors
/// It is no UUID.
pub fn article_id(id: Result<Path<String>, PathRejection>) -> Result<ArticleId, Fault> {
    let text = id.map_or_else(|_| String::new(), |Path(text)| text);
    text.parse().map_err(|IdError| {
        let value = Quoted::of(&text);
        Fault::field("FIELD_INVALID", "id", Wrong::NoId { value })
    })
}

fn item(relation: &Relation) -> Result<Item, Fault> {
    Ok(Item {
        score: (relation.score * 1000.0).round() / 1000.0,
        words: relation.words.clone(),
        topics: texts(&relation.topics),
        places: relation.places.clone(),
        linked: relation.is_linked,
        article: ninjs(&relation.entry.delivery())?,
    })
}

fn count(query: &str) -> Result<usize, Fault> {
    let parameters = Parameters::parse(query, &["limit"])?;
    let Some(text) = parameters.get("limit") else {
        return Ok(COUNT);
    };
    let number = text.parse().ok();
    let number = number.filter(|number| (1..=COUNT_MAX).contains(number));
    number.ok_or_else(|| {
        let message = format!("{} is not a number of 1 to {COUNT_MAX}", shown(text));
        Fault::field("FIELD_INVALID", "limit", message)
    })
}
