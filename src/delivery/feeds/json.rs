//! JSON Feed 1.1.

use serde::Serialize;

use crate::delivery::feeds::{Channel, entry::Entry};

#[derive(Debug, Serialize)]
struct Feed<'a> {
    version: &'static str,
    title: &'a str,
    home_page_url: String,
    feed_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    hubs: [Hub<'a>; 1],
    items: Vec<Item<'a>>,
}

#[derive(Debug, Serialize)]
struct Hub<'a> {
    r#type: &'static str,
    url: &'a str,
}

#[derive(Debug, Serialize)]
struct Item<'a> {
    id: &'a str,
    url: String,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_html: Option<&'a str>,
    /// One of the two must be there, if only empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_text: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    summary: &'a str,
    date_published: String,
    date_modified: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authors: Vec<Author<'a>>,
    tags: Vec<String>,
    language: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment<'a>>,
}

#[derive(Debug, Serialize)]
struct Author<'a> {
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Attachment<'a> {
    url: &'a str,
    mime_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
}

/// The feed as JSON.
pub fn render(channel: &Channel<'_>, entries: &[Entry]) -> Vec<u8> {
    let feed = Feed {
        version: "https://jsonfeed.org/version/1.1",
        title: &channel.title,
        home_page_url: format!("{}/", channel.base),
        feed_url: &channel.own_url,
        language: channel.language,
        hubs: [Hub {
            r#type: "WebSub",
            url: &channel.hub_url,
        }],
        items: entries.iter().map(|one| item(channel, one)).collect(),
    };
    serde_json::to_vec(&feed).expect("plain data")
}

fn item<'a>(channel: &Channel<'_>, entry: &'a Entry) -> Item<'a> {
    let subjects = entry.subjects.iter().map(|code| format!("medtop:{code}"));
    let author = (!entry.author.is_empty()).then_some(Author {
        name: &entry.author,
    });
    Item {
        id: &entry.id,
        url: entry.url(channel.base),
        title: &entry.title,
        content_html: entry.is_html.then_some(&*entry.body),
        content_text: (!entry.is_html).then_some(&*entry.body),
        summary: &entry.summary,
        date_published: entry.published.to_string(),
        date_modified: entry.updated.to_string(),
        authors: author.into_iter().collect(),
        tags: entry.topics.iter().cloned().chain(subjects).collect(),
        language: &entry.language,
        attachments: (entry.enclosures.iter())
            .map(|[url, kind, title]| Attachment {
                url,
                mime_type: if kind.is_empty() {
                    "application/octet-stream"
                } else {
                    kind
                },
                title,
            })
            .collect(),
    }
}
