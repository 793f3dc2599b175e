//! Atom (RFC 4287).

use atom_syndication::FixedDateTime;
use atom_syndication::{
    Category, Content, Entry as AtomEntry, Feed, Generator, Link, Person, Text,
};
use jiff::Timestamp;

use crate::delivery::feeds::{
    Channel,
    entry::{Entry, MEDIA_TOPICS},
};

/// The feed as Atom.
pub fn render(channel: &Channel<'_>, entries: &[Entry]) -> Vec<u8> {
    let feed = Feed {
        title: Text::plain(channel.title.clone()),
        // The address is all that tells feeds apart.
        id: channel.own_url.clone(),
        updated: time(channel.updated),
        lang: channel.language.map(str::to_owned),
        generator: Some(Generator {
            value: "Barid".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            uri: None,
        }),
        authors: vec![Person {
            name: "Barid".to_owned(),
            ..Person::default()
        }],
        links: vec![
            Link {
                href: channel.own_url.clone(),
                rel: "self".to_owned(),
                mime_type: Some("application/atom+xml".to_owned()),
                ..Link::default()
            },
            Link {
                href: channel.hub_url.clone(),
                rel: "hub".to_owned(),
                ..Link::default()
            },
        ],
        entries: entries.iter().map(|one| entry(channel, one)).collect(),
        ..Feed::default()
    };
    feed.write_to(Vec::new()).expect("memory takes it")
}

fn entry(channel: &Channel<'_>, entry: &Entry) -> AtomEntry {
    let lang = Some(entry.language.clone());
    let text = |value: &str| Text {
        lang: lang.clone(),
        ..Text::plain(value)
    };
    let mut links = vec![Link {
        href: entry.url(channel.base),
        hreflang: lang.clone(),
        ..Link::default()
    }];
    links.extend(entry.enclosures.iter().map(|[href, kind, title]| Link {
        href: href.clone(),
        rel: "enclosure".to_owned(),
        mime_type: (!kind.is_empty()).then(|| kind.clone()),
        title: (!title.is_empty()).then(|| title.clone()),
        ..Link::default()
    }));
    let topics = entry.topics.iter().map(|topic| Category {
        term: topic.clone(),
        ..Category::default()
    });
    let subjects = entry.subjects.iter().map(|code| Category {
        term: format!("medtop:{code}"),
        scheme: Some(MEDIA_TOPICS.to_owned()),
        label: None,
    });
    let author = (!entry.author.is_empty()).then(|| Person {
        name: entry.author.clone(),
        ..Person::default()
    });
    let kind = if entry.is_html { "html" } else { "text" };
    AtomEntry {
        title: text(&entry.title),
        id: entry.id.clone(),
        updated: time(entry.updated),
        published: Some(time(entry.published)),
        authors: author.into_iter().collect(),
        categories: topics.chain(subjects).collect(),
        links,
        rights: (!entry.rights.is_empty()).then(|| text(&entry.rights)),
        summary: (!entry.summary.is_empty()).then(|| text(&entry.summary)),
        content: (!entry.body.is_empty()).then(|| Content {
            lang: lang.clone(),
            value: Some(entry.body.clone()),
            content_type: Some(kind.to_owned()),
            ..Content::default()
        }),
        ..AtomEntry::default()
    }
}

fn time(time: Timestamp) -> FixedDateTime {
    // The crate has another library's times; its own format is what both read and write.
    let text = time.to_string();
    text.parse().expect("RFC 3339")
}
