//! RSS 2.0, with Dublin Core for what it lacks and Atom for the feed's own address.

use std::collections::BTreeMap;

use jiff::{Timestamp, fmt::rfc2822};
use rss::{
    Category, Channel as RssChannel, Enclosure, Guid, Item,
    extension::{
        atom::{AtomExtension, Link},
        dublincore::DublinCoreExtension,
    },
};

use crate::delivery::feeds::{
    Channel,
    entry::{Entry, MEDIA_TOPICS},
};

/// The feed as RSS.
pub fn render(channel: &Channel<'_>, entries: &[Entry]) -> Vec<u8> {
    let own_link = Link {
        href: channel.own_url.clone(),
        rel: "self".to_owned(),
        mime_type: Some("application/rss+xml".to_owned()),
        ..Link::default()
    };
    let hub_link = Link {
        href: channel.hub_url.clone(),
        rel: "hub".to_owned(),
        ..Link::default()
    };
    let rss = RssChannel {
        title: channel.title.clone(),
        link: format!("{}/", channel.base),
        description: channel.title.clone(),
        language: channel.language.map(str::to_owned),
        last_build_date: Some(time(channel.updated)),
        generator: Some(concat!("Barid ", env!("CARGO_PKG_VERSION")).to_owned()),
        atom_ext: Some(AtomExtension {
            links: vec![own_link, hub_link],
        }),
        namespaces: BTreeMap::from([
            ("atom".to_owned(), "http://www.w3.org/2005/Atom".to_owned()),
            (
                "dc".to_owned(),
                "http://purl.org/dc/elements/1.1/".to_owned(),
            ),
            (
                "content".to_owned(),
                "http://purl.org/rss/1.0/modules/content/".to_owned(),
            ),
        ]),
        items: entries.iter().map(|one| item(channel, one)).collect(),
        ..RssChannel::default()
    };
    rss.write_to(Vec::new()).expect("memory takes it")
}

fn item(channel: &Channel<'_>, entry: &Entry) -> Item {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let topics = entry.topics.iter().map(|topic| Category {
        name: topic.clone(),
        domain: None,
    });
    let subjects = entry.subjects.iter().map(|code| Category {
        name: format!("medtop:{code}"),
        domain: Some(MEDIA_TOPICS.to_owned()),
    });
    let dublin_core = DublinCoreExtension {
        creators: some(&entry.author).into_iter().collect(),
        dates: vec![entry.updated.to_string()],
        languages: vec![entry.language.clone()],
        rights: some(&entry.rights).into_iter().collect(),
        ..DublinCoreExtension::default()
    };
    Item {
        title: Some(entry.title.clone()),
        link: Some(entry.url(channel.base)),
        description: some(&entry.summary),
        content: some(&entry.html()),
        guid: Some(Guid {
            value: entry.id.clone(),
            permalink: false,
        }),
        pub_date: Some(time(entry.published)),
        categories: topics.chain(subjects).collect(),
        // RSS takes one, and wants its length, which nobody has told: 0 is the custom.
        enclosure: entry.enclosures.first().map(|[href, kind, _]| Enclosure {
            url: href.clone(),
            length: "0".to_owned(),
            mime_type: some(kind).unwrap_or_else(|| "application/octet-stream".to_owned()),
        }),
        dublin_core_ext: Some(dublin_core),
        ..Item::default()
    }
}

/// As HTTP writes it, which is a date of RFC 822, too.
fn time(time: Timestamp) -> String {
    let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
    text.expect("a time of the years 1900 to 9999")
}
