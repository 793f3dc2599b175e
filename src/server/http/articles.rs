//! `GET /v1/articles`, `/v1/articles/{id}` and its revisions, as ninjs.

use axum::{
    Extension,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::Response,
};
use http::{HeaderMap, HeaderValue, header::LINK};
use prost::Message as _;
use serde::Serialize;
use url::form_urlencoded;

use crate::{
    article::check::shown,
    cursor::Cursor,
    delivery::query::{Parameters, named},
    fault::{Fault, Kind},
    gate::caller::Caller,
    server::http::{
        Web,
        answer::Refusal,
        conditional::{self, Tag},
    },
    wire::{
        ninjs::{
            Ninjs,
            write::{is_bare, name_bare},
        },
        proto::v1::{
            Article, Delivery, GetArticleRequest, ListArticlesRequest, ListRevisionsRequest,
        },
    },
};

/// The path of the list, and of publishing.
pub const ARTICLES: &str = "/v1/articles";
/// Parameters of the list.
const LIST: [&str; 6] = ["topics", "languages", "urgency", "q", "limit", "page"];
/// Parameters of an article's revisions.
const REVISIONS: [&str; 2] = ["limit", "page"];
/// The name of an article's place in a path.
pub type Id = Result<Path<String>, PathRejection>;

/// A page of articles.
#[derive(Debug, Serialize)]
struct Page {
    /// ninjs objects.
    articles: Vec<Ninjs>,
    /// The state of the wire that all pages of this list show.
    #[serde(skip_serializing_if = "String::is_empty")]
    snapshot: String,
    /// Where the next page is, as in the field `Link`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The list: newest revision first.
///
/// # Errors
/// What is wrong with the query, or a node that can't read.
pub async fn list(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let scope = caller.scope()?;
    let query = query.unwrap_or_default();
    let parameters = Parameters::parse(&query, &LIST)?;
    let request = ListArticlesRequest {
        filter: Some(parameters.filter.clone()),
        page_size: limit(&parameters)?,
        page_token: page(&parameters)?,
    };
    let found = web.articles.list(request, &scope).await.map_err(in_query)?;
    let articles = found.deliveries.iter().map(ninjs);
    let next = next(ARTICLES, &query, &found.next_page_token);
    Ok(paged(
        &headers,
        Page {
            articles: articles.collect::<Result<_, _>>()?,
            snapshot: found.snapshot_cursor,
            next,
        },
    ))
}

/// One article as it stands.
///
/// # Errors
/// The id is none, or nobody's, or the node can't read.
pub async fn one(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    id: Id,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let reader = caller.reader()?;
    Parameters::parse(query.as_deref().unwrap_or_default(), &[])?;
    let article_id = given_id(id)?;
    let request = GetArticleRequest { article_id };
    let delivery = web.articles.get(request, &reader).await;
    let delivery = delivery.map_err(in_query)?;
    let tag = tag(delivery.revision, &delivery.cursor);
    if tag.is_held(&headers) {
        return Ok(conditional::not_modified(&tag));
    }
    let body = serde_json::to_vec(&ninjs(&delivery)?).expect("plain data");
    Ok(conditional::tagged(&tag, "application/json", body))
}

/// An article's revisions, oldest first.
///
/// # Errors
/// The id or the query is wrong, or the node can't read.
pub async fn revisions(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
    id: Id,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let reader = caller.reader()?;
    let query = query.unwrap_or_default();
    let parameters = Parameters::parse(&query, &REVISIONS)?;
    let article_id = given_id(id)?;
    let request = ListRevisionsRequest {
        article_id: article_id.clone(),
        page_size: limit(&parameters)?,
        page_token: page(&parameters)?,
    };
    let found = web.articles.revisions(request, &reader).await;
    let found = found.map_err(in_query)?;
    let path = format!("{ARTICLES}/{article_id}/revisions");
    let next = next(&path, &query, &found.next_page_token);
    let mut deliveries = found.deliveries;
    if deliveries.iter().any(is_bare) {
        let request = GetArticleRequest { article_id };
        let head = web.articles.get(request, &reader).await;
        let head = head.map_err(in_query)?;
        let head = Article::decode(head.article).map_err(|error| unreadable(&error))?;
        name_bare(&mut deliveries, &head);
    }
    let articles = deliveries.iter().map(ninjs);
    Ok(paged(
        &headers,
        Page {
            articles: articles.collect::<Result<_, _>>()?,
            snapshot: String::new(),
            next,
        },
    ))
}

/// The tag of a revision as an article's state; [`tagged_revision`] reads it.
pub fn tag(revision: u32, cursor: &str) -> Tag {
    Tag::new(&format!("{revision}-{cursor}"))
}

/// The revision and cursor that a tag of an article names.
pub fn tagged_revision(tag: &str) -> Option<(u32, Cursor)> {
    let opaque = tag.strip_prefix('"')?.strip_suffix('"')?;
    let (revision, cursor) = opaque.split_once('-')?;
    Some((revision.parse().ok()?, cursor.parse().ok()?))
}

/// The id in a path, as text: whoever uses it parses it.
///
/// # Errors
/// It is not UTF-8.
pub fn given_id(id: Id) -> Result<String, Fault> {
    id.map(|Path(id)| id).map_err(|_| {
        let message = "is not percent-encoded UTF-8; give the article's UUID";
        Fault::field("FIELD_INVALID", "id", message)
    })
}

/// A delivery as ninjs.
///
/// # Errors
/// A bug: no release of Barid stores such an article.
pub fn ninjs(delivery: &Delivery) -> Result<Ninjs, Fault> {
    Ninjs::from_delivery(delivery).map_err(|error| unreadable(&error))
}

/// A fault in the words of this side's parameters.
pub fn in_query(fault: Fault) -> Fault {
    named(fault, "from")
}

fn unreadable(error: &prost::DecodeError) -> Fault {
    tracing::error!(%error, "an article is not readable");
    Fault::new(Kind::Bug, "INTERNAL", "a stored article is not readable")
}

fn limit(parameters: &Parameters) -> Result<u32, Fault> {
    let Some(text) = parameters.get("limit") else {
        return Ok(0);
    };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        let message = format!("{} is not a number of 1 to 100", shown(text));
        Fault::field("FIELD_INVALID", "limit", message)
    })
}

fn page(parameters: &Parameters) -> Result<String, Fault> {
    match parameters.get("page") {
        Some("") => {
            let message = "is empty; take next of the page before, or leave it out";
            Err(Fault::field("FIELD_INVALID", "page", message))
        }
        text => Ok(text.unwrap_or_default().to_owned()),
    }
}

/// The address of the next page: the same query but for its page.
fn next(path: &str, query: &str, token: &str) -> Option<String> {
    if token.is_empty() {
        return None;
    }
    let mut next = form_urlencoded::Serializer::new(String::new());
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "page");
    next.extend_pairs(others).append_pair("page", token);
    Some(format!("{path}?{}", next.finish()))
}

fn paged(headers: &HeaderMap, page: Page) -> Response {
    let mut answer = conditional::json(headers, &page);
    if let Some(next) = page.next {
        let link = HeaderValue::from_str(&format!("<{next}>; rel=\"next\""));
        let link = link.expect("a percent-encoded address is ASCII");
        answer.headers_mut().insert(LINK, link);
    }
    answer
}
