//! Entry: one article as all forms of feeds show it.

use jiff::Timestamp;
use prost::Message as _;

use crate::{
    article::ArticleId,
    cursor::Cursor,
    wire::{
        ninjs::time_from_proto,
        proto::v1::{self as proto, Delivery},
    },
};

/// Where IPTC media topics live; the eight digits follow.
pub const MEDIA_TOPICS: &str = "http://cv.iptc.org/newscodes/mediatopic/";

/// One article that stands.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose revision.
    pub article_id: ArticleId,
    /// Sequence of the revision's record.
    pub seq: u64,
    /// `urn:uuid:<id>`: the same in all revisions and on all nodes.
    pub id: String,
    /// The headline.
    pub title: String,
    /// The line below, or empty.
    pub summary: String,
    /// The body, or empty.
    pub body: String,
    /// Whether the body is HTML, which was sanitised before it was stored.
    pub is_html: bool,
    /// Who wrote it, or empty.
    pub author: String,
    /// BCP 47.
    pub language: String,
    /// Paths, in order.
    pub topics: Vec<String>,
    /// IPTC media topic codes.
    pub subjects: Vec<String>,
    /// When the story began, as its publisher says, or else when this revision was accepted.
    pub published: Timestamp,
    /// When this revision was accepted.
    pub updated: Timestamp,
    /// The story's own page.
    pub page: Option<String>,
    /// Pictures, film, sound: address, media type, title.
    pub enclosures: Vec<[String; 3]>,
    /// Terms of use, or empty.
    pub rights: String,
}

/// An article that can't be an entry: no release of Barid stores such a one.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Its bytes.
    #[error("the article is not readable")]
    Article(#[from] prost::DecodeError),
    /// Its id or cursor.
    #[error("the article's id or cursor is not readable")]
    Id,
}

impl Entry {
    /// A delivery as an entry.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn of(delivery: &Delivery) -> Result<Self, EntryError> {
        let article = proto::Article::decode(delivery.article.clone())?;
        let article_id: ArticleId = article.id.parse().map_err(|_| EntryError::Id)?;
        let cursor: Cursor = delivery.cursor.parse().map_err(|_| EntryError::Id)?;
        let updated = time_from_proto(delivery.published_at.as_ref()).unwrap_or_default();
        let is_html = article.body_type() == proto::BodyType::Html;
        let relation = |link: &proto::Link| proto::LinkRelation::try_from(link.relation);
        let with_href = article.links.iter().filter(|link| !link.href.is_empty());
        let page = with_href
            .clone()
            .find(|link| relation(link) == Ok(proto::LinkRelation::Canonical));
        let files = with_href.filter(|link| relation(link) == Ok(proto::LinkRelation::Rendition));
        Ok(Self {
            article_id,
            seq: cursor.seq,
            id: format!("urn:uuid:{article_id}"),
            title: clean(&article.headline),
            summary: clean(&article.subheadline),
            body: clean(&article.body),
            is_html,
            author: clean(&article.byline),
            published: time_from_proto(article.first_created.as_ref()).unwrap_or(updated),
            updated,
            page: page.map(|link| link.href.clone()),
            enclosures: files
                .map(|link| {
                    [
                        link.href.clone(),
                        link.content_type.clone(),
                        clean(&link.title),
                    ]
                })
                .collect(),
            rights: clean(&article.usage_terms),
            language: article.language,
            topics: delivery.topics.clone(),
            subjects: article.subjects,
        })
    }

    /// Where the article is: its own page, or else what this node says of it.
    pub fn url(&self, base: &str) -> String {
        match &self.page {
            Some(page) => page.clone(),
            None => format!("{base}/v1/articles/{}", self.article_id),
        }
    }

    /// The body as HTML.
    pub fn html(&self) -> String {
        if self.is_html || self.body.is_empty() {
            return self.body.clone();
        }
        let escaped = self
            .body
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let paragraphs = escaped
            .split("\n\n")
            .map(str::trim)
            .filter(|one| !one.is_empty());
        paragraphs
            .map(|one| format!("<p>{}</p>", one.replace('\n', "<br>")))
            .collect()
    }
}

/// A text without what XML 1.0 can't hold, not even escaped (section 2.2).
fn clean(text: &str) -> String {
    let is_good = |char: &char| match char {
        '\t' | '\n' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        char => !char.is_control(),
    };
    text.chars().filter(is_good).collect()
}
