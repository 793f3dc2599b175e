use super::*;

fn check(feed: &str) -> Vec<Parsed> {
    let topics = ["ict.telecom", "economy"].map(str::to_owned).into();
    let read = read(feed.as_bytes(), "https://news.example/feed", &topics).unwrap();
    read.into_iter().map(|one| one.parsed.unwrap()).collect()
}

const RSS: &str = r#"<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"
  xmlns:media="http://search.yahoo.com/mrss/"><channel>
  <title>The &amp; Wire</title><link>https://news.example/</link><language>en-GB</language>
  <copyright>© The Wire</copyright>
  <item><title>Newer &lt;b&gt;</title><guid isPermaLink="false">42</guid>
    <link>https://news.example/42</link><pubDate>Tue, 02 Jun 2026 10:00:00 GMT</pubDate>
    <description>Short</description><content:encoded>&lt;p&gt;Long&lt;/p&gt;</content:encoded>
    <category>ict.telecom</category><category>Gardening</category><category>medtop:04000000</category>
    <enclosure url="https://news.example/42.jpg" type="image/jpeg" length="0"/></item>
  <item><title>Older</title><link>https://news.example/41</link>
    <pubDate>Mon, 01 Jun 2026 10:00:00 GMT</pubDate><description>Only this</description></item>
  </channel></rss>"#;

/// Oldest first, with every part in its field.
#[test]
fn reads_rss() {
    let found = check(RSS);
    let [older, newer] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(older.article.uri, "https://news.example/41");
    assert_eq!(older.article.body, "Only this");
    let article = &newer.article;
    assert_eq!(article.uri, "https://news.example/#42");
    assert_eq!(article.language, "en-GB");
    assert_eq!(
        (&*article.subheadline, &*article.body),
        ("Short", "<p>Long</p>")
    );
    assert_eq!(article.body_type(), proto::BodyType::Html);
    assert_eq!(
        (&*article.source, &*article.usage_terms),
        ("The & Wire", "© The Wire")
    );
    assert_eq!(
        (&article.topics[..], &article.subjects[..]),
        (
            &["ict.telecom".to_owned()][..],
            &["04000000".to_owned()][..]
        )
    );
    let hrefs: Vec<&str> = article
        .links
        .iter()
        .map(|link| link.href.as_str())
        .collect();
    assert_eq!(
        hrefs,
        ["https://news.example/42", "https://news.example/42.jpg"]
    );
    assert_eq!(
        article.first_created.map(|time| time.seconds),
        Some(1_780_394_400)
    );
}

/// What has no id and no link is refused: its next state could not be told.
#[test]
fn refuses_what_can_not_be_told_again() {
    let feed = r#"<rss version="2.0"><channel><title>x</title>
        <item><title>one</title></item></channel></rss>"#;
    let read = read(feed.as_bytes(), "-", &BTreeSet::new()).unwrap();
    assert!(read[0].parsed.is_err(), "{read:?}");
    assert!(super::read(b"<html></html>", "-", &BTreeSet::new()).is_err());
}

/// Lines are cut at the server's bounds, with a warning, and hold nothing that disguises text.
#[test]
fn cleans_lines() {
    let long = "x".repeat(600);
    let feed = format!(
        r#"{{"version": "https://jsonfeed.org/version/1.1", "title": "t", "items": [
          {{"id": "a", "url": "https://news.example/a", "title": "{long}", "content_text": "b"}},
          {{"id": "b", "url": "https://news.example/b", "title": "a\u202Eb\n c", "content_text": "b"}}]}}"#
    );
    let found = check(&feed);
    let by_title = |title: &str| found.iter().find(|one| one.article.headline == title);
    assert_eq!(by_title(&"x".repeat(500)).unwrap().warnings.len(), 1);
    assert!(by_title("ab c").is_some(), "{found:?}");
}
