//! Entries of feeds -> articles.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use feed_rs::model::{Category, Content, Entry, Feed, Link, Text};
use oxilangtag::LanguageTag;
use url::Url;

use crate::{
    article::{ArticleId, BodyType, LIST_MAX, text},
    routing::taxonomy::media_topic_code,
    wire::{
        ninjs::{Parsed, PubStatus},
        proto::v1 as proto,
    },
};

/// Most characters of a headline, as the server takes it; a longer one is cut.
const HEADLINE_CHARS_MAX: usize = 500;
/// Most characters of other lines.
const LINE_CHARS_MAX: usize = 200;
/// Most characters of terms of use.
const TERMS_CHARS_MAX: usize = 2000;

/// A feed that is none.
#[derive(Debug, thiserror::Error)]
#[error("is no feed that can be read: {0}")]
pub struct FeedError(#[from] feed_rs::parser::ParseFeedError);

/// One entry: what it is called in the feed, and what it says.
#[derive(Debug)]
pub struct Read {
    /// Its id in the feed, for people.
    pub id: String,
    /// The article, or why it is none.
    pub parsed: Result<Parsed, String>,
}

/// Reads RSS, Atom or JSON Feed that came from `source`, oldest entry first. Categories that are
/// `topics` or media topics become the article's.
///
/// # Errors
/// [`FeedError`].
pub fn read(bytes: &[u8], source: &str, topics: &BTreeSet<String>) -> Result<Vec<Read>, FeedError> {
    let base = Url::parse(source).ok().map(|_| source);
    let parser = feed_rs::parser::Builder::new().base_uri(base);
    // By the address alone: a changed title would be another story.
    let parser = parser.id_generator(|links, _, _| {
        page(links)
            .map(|page| page.href.clone())
            .unwrap_or_default()
    });
    let mut feed = parser.build().parse(bytes)?;
    let mut entries = std::mem::take(&mut feed.entries);
    // Feeds have the newest first; of equal times, that order counts.
    entries.reverse();
    entries.sort_by_key(|entry| entry.updated.or(entry.published));
    let article = |entry: &Entry| Read {
        id: entry.id.clone(),
        parsed: article(entry, &feed, source, topics),
    };
    Ok(entries.iter().map(article).collect())
}

fn article(
    entry: &Entry,
    feed: &Feed,
    source: &str,
    topics: &BTreeSet<String>,
) -> Result<Parsed, String> {
    let mut warnings = Vec::new();
    let uri = uri(&entry.id, feed, source)
        .ok_or("has neither an id nor a link, so that its next state could not be told")?;
    let (body, body_type) = body(entry.content.as_ref(), entry.summary.as_ref());
    let summary = entry.summary.as_ref().map(plain).unwrap_or_default();
    let headline = match entry.title.as_ref().map(plain) {
        Some(title) if !title.is_empty() => title,
        // A title is optional in RSS: its first words stand for it.
        _ => line(&text::plain(&body, body_type)),
    };
    let authors = entry
        .authors
        .iter()
        .filter_map(|author| author.name.as_deref());
    let (own_topics, subjects) = sorted(&entry.categories, topics);
    Ok(Parsed {
        article: proto::Article {
            headline: cut(headline, HEADLINE_CHARS_MAX, "headline", &mut warnings),
            // A summary that repeats the body says nothing.
            subheadline: if entry.content.is_some() && summary.chars().count() <= HEADLINE_CHARS_MAX
            {
                summary
            } else {
                String::new()
            },
            body,
            body_type: match body_type {
                BodyType::Html => proto::BodyType::Html.into(),
                BodyType::Text => proto::BodyType::Text.into(),
            },
            byline: cut(
                authors.map(line).collect::<Vec<_>>().join(", "),
                HEADLINE_CHARS_MAX,
                "authors",
                &mut warnings,
            ),
            language: language(&entry.links, entry.language.as_deref(), feed),
            topics: own_topics,
            subjects,
            source: cut(
                feed.title.as_ref().map(plain).unwrap_or_default(),
                LINE_CHARS_MAX,
                "the feed's title",
                &mut warnings,
            ),
            usage_terms: cut(
                entry
                    .rights
                    .as_ref()
                    .or(feed.rights.as_ref())
                    .map(plain)
                    .unwrap_or_default(),
                TERMS_CHARS_MAX,
                "rights",
                &mut warnings,
            ),
            first_created: entry.published.map(time),
            version_created: entry.updated.map(time),
            links: links(&entry.links, &entry.media),
            uri,
            ..proto::Article::default()
        },
        pub_status: PubStatus::Usable,
        warnings,
    })
}

/// A stable uri: the entry's id where it is one, or else the id within the feed.
fn uri(id: &str, feed: &Feed, source: &str) -> Option<String> {
    if id.is_empty() {
        return None;
    }
    if ArticleId::in_urn(id).is_some() || Url::parse(id).is_ok_and(|url| url.scheme().len() > 1) {
        return Some(id.to_owned());
    }
    let site = feed
        .links
        .iter()
        .find(|link| link.rel.as_deref() != Some("self"));
    let named = [site.map(|link| link.href.as_str()), Some(source)];
    let base = named
        .into_iter()
        .flatten()
        .find_map(|base| Url::parse(base).ok());
    let mut base = base?;
    base.set_fragment(Some(id));
    Some(base.into())
}

/// What the entry says, or the link to its page, or the feed. Atom has no other place for it, and
/// the parser drops the case.
fn language(links: &[Link], own: Option<&str>, feed: &Feed) -> String {
    let of_page = page(links).and_then(|page| page.href_lang.as_deref());
    let tag = own
        .or(of_page)
        .or(feed.language.as_deref())
        .unwrap_or_default();
    match LanguageTag::parse_and_normalize(tag) {
        Ok(tag) => tag.into_inner(),
        // The server says what is wrong with it.
        Err(_) => tag.to_owned(),
    }
}

fn page(links: &[Link]) -> Option<&Link> {
    let is_page = |link: &&Link| matches!(link.rel.as_deref(), None | Some("alternate"));
    links.iter().find(is_page)
}

fn body(content: Option<&Content>, summary: Option<&Text>) -> (String, BodyType) {
    let (body, kind) = match (content, summary) {
        (
            Some(Content {
                body: Some(body),
                content_type,
                ..
            }),
            _,
        ) => (body.clone(), content_type.as_str()),
        (_, Some(summary)) => (summary.content.clone(), summary.content_type.as_str()),
        (_, None) => return (String::new(), BodyType::Text),
    };
    let body: String = body
        .chars()
        .filter(|char| !char.is_control() || matches!(char, '\n' | '\t'))
        .collect();
    let essence = kind.split(';').next().unwrap_or_default();
    // RSS does not say what its texts are; nearly all are HTML, and plain ones have no tags.
    let is_html = matches!(essence, "text/html" | "application/xhtml+xml") || body.contains("</");
    (
        body,
        if is_html {
            BodyType::Html
        } else {
            BodyType::Text
        },
    )
}

/// Topics and media topic codes among the categories.
fn sorted(categories: &[Category], topics: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let (mut own, mut subjects) = (Vec::new(), Vec::new());
    for category in categories {
        let term = category.term.trim();
        let digits = term.rsplit('/').next().and_then(media_topic_code);
        let is_media_topic = term.starts_with("medtop:")
            || term.contains("cv.iptc.org/")
            || category
                .scheme
                .as_ref()
                .is_some_and(|scheme| scheme.contains("cv.iptc.org/"));
        match digits {
            Some(code) if is_media_topic => subjects.push(code.to_owned()),
            _ if topics.contains(term) => own.push(term.to_owned()),
            _ => {}
        }
    }
    (own, subjects)
}

fn links(links: &[Link], media: &[feed_rs::model::MediaObject]) -> Vec<proto::Link> {
    let link = |relation: proto::LinkRelation,
                href: &str,
                kind: Option<&str>,
                title: Option<&str>| proto::Link {
        relation: relation.into(),
        href: href.to_owned(),
        content_type: kind.unwrap_or_default().to_owned(),
        title: title.map(line).unwrap_or_default(),
        ..proto::Link::default()
    };
    let mut found = Vec::new();
    if let Some(page) = page(links) {
        found.push(link(proto::LinkRelation::Canonical, &page.href, None, None));
    }
    for file in links
        .iter()
        .filter(|link| link.rel.as_deref() == Some("enclosure"))
    {
        let (kind, title) = (file.media_type.as_deref(), file.title.as_deref());
        found.push(link(
            proto::LinkRelation::Rendition,
            &file.href,
            kind,
            title,
        ));
    }
    for object in media {
        let title = object.title.as_ref().map(|title| title.content.as_str());
        for file in &object.content {
            if let Some(url) = &file.url {
                let kind = file.content_type.as_ref().map(|kind| kind.as_str());
                found.push(link(
                    proto::LinkRelation::Rendition,
                    url.as_str(),
                    kind,
                    title,
                ));
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|link| is_web(&link.href) && seen.insert(link.href.clone()));
    found.truncate(LIST_MAX);
    found
}

fn is_web(href: &str) -> bool {
    Url::parse(href).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn plain(text: &Text) -> String {
    let body_type = match text.content_type.as_str() {
        "text/html" | "application/xhtml+xml" => BodyType::Html,
        _ => BodyType::Text,
    };
    line(&text::plain(&text.content, body_type))
}

/// A text as one line, without what could disguise it.
fn line(text: &str) -> String {
    let is_good = |char: &char| {
        (!char.is_control() || char.is_whitespace())
            && !matches!(char, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let good: String = text.chars().filter(is_good).collect();
    good.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: String, chars_max: usize, what: &str, warnings: &mut Vec<String>) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some((end, _)) => {
            warnings.push(format!("{what}: is cut to {chars_max} characters"));
            text.split_at(end).0.to_owned()
        }
    }
}

fn time(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos().min(999_999_999)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
