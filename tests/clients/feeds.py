"""feedparser reads the feeds of a node, and finds the articles: feeds.py HTTP GRPC"""

import html
import json
import sys
import urllib.request
from datetime import datetime, timezone

import feedparser

from barid_test import Barid, check, check_holds
from barid.v1 import article_pb2, articles_pb2  # noqa: E402  (after barid_test has made them)

MEDTOP = "http://cv.iptc.org/newscodes/mediatopic/"


def stamp(parsed):
    return datetime(*parsed[:6], tzinfo=timezone.utc).replace(microsecond=0)


def when(timestamp):
    return timestamp.ToDatetime(tzinfo=timezone.utc).replace(microsecond=0)


def body_as_html(article):
    """What a text body becomes in RSS, which knows HTML alone."""
    if article.body_type == article_pb2.BODY_TYPE_HTML:
        return article.body.replace("\ufffe", "")
    paragraphs = [one.strip() for one in html.escape(article.body, quote=False).split("\n\n")]
    return "".join("<p>" + one.replace("\n", "<br>") + "</p>" for one in paragraphs)


def main(http, grpc):
    listed = Barid(grpc).articles.ListArticles(articles_pb2.ListArticlesRequest())
    deliveries = [(delivery, delivery.article) for delivery in listed.deliveries]
    check("articles", len(deliveries), 2)
    for form in ("atom", "rss"):
        read_xml(form, f"http://{http}/feeds/all.{form}", deliveries)
    read_json(f"http://{http}/feeds/all.json", deliveries)


def read_xml(form, url, deliveries):
    # Sanitising and resolving are feedparser's own, and would change what is compared.
    feed = feedparser.parse(url, sanitize_html=False, resolve_relative_uris=False)
    check_holds(f"{form} is well-formed: {feed.get('bozo_exception')}", not feed.bozo)
    check("version", feed.version, {"atom": "atom10", "rss": "rss20"}[form])
    check("title", feed.feed.title, "Barid")
    own = [link.href for link in feed.feed.links if link.rel == "self"]
    check("self", own, [url])
    hubs = [link.href for link in feed.feed.links if link.rel == "hub"]
    check("hub", hubs, [url.split("/feeds")[0] + "/v1/hub"])
    check("updated", stamp(feed.feed.updated_parsed), when(deliveries[0][0].published_at))
    check("entries", len(feed.entries), len(deliveries))
    for entry, (delivery, article) in zip(feed.entries, deliveries):
        page = [link.href for link in article.links if link.relation == article_pb2.LINK_RELATION_CANONICAL]
        check("id", entry.id, f"urn:uuid:{article.id}")
        check("title", entry.title, article.headline)
        check("link", entry.link, page[0] if page else url.split("/feeds")[0] + f"/v1/articles/{article.id}")
        check("summary", entry.get("summary", "") if article.subheadline else "", article.subheadline)
        check("author", entry.get("author", ""), article.byline)
        check("updated", stamp(entry.updated_parsed), when(delivery.published_at))
        published = article.first_created if article.HasField("first_created") else delivery.published_at
        check("published", stamp(entry.published_parsed), when(published))
        tags = [(tag.term, tag.scheme) for tag in entry.get("tags", [])]
        expected = [(topic, None) for topic in delivery.topics]
        expected += [(f"medtop:{code}", MEDTOP) for code in article.subjects]
        check("tags", tags, expected)
        if article.body:
            content = entry.content[0]
            body = article.body.replace("\ufffe", "")
            check("content", content.value, body_as_html(article) if form == "rss" else body)
            if form == "atom":
                check("language", content.language, article.language)
        files = [(one.href, one.type) for one in entry.enclosures]
        renditions = [link for link in article.links if link.relation == article_pb2.LINK_RELATION_RENDITION]
        check("enclosures", files, [(link.href, link.content_type) for link in renditions])
        check("rights", entry.get("rights", ""), article.usage_terms)
        if form == "rss":
            check("language", entry.get("language"), article.language)


def read_json(url, deliveries):
    with urllib.request.urlopen(url) as answer:
        check("type", answer.headers["content-type"], "application/feed+json")
        feed = json.load(answer)
    check("version", feed["version"], "https://jsonfeed.org/version/1.1")
    check("feed_url", feed["feed_url"], url)
    check("hubs", feed["hubs"], [{"type": "WebSub", "url": url.split("/feeds")[0] + "/v1/hub"}])
    check("items", len(feed["items"]), len(deliveries))
    for item, (delivery, article) in zip(feed["items"], deliveries):
        check("id", item["id"], f"urn:uuid:{article.id}")
        check("title", item["title"], article.headline)
        is_html = article.body_type == article_pb2.BODY_TYPE_HTML
        check("content", item["content_html" if is_html else "content_text"], article.body.replace("\ufffe", ""))
        check("one content", ("content_html" in item) + ("content_text" in item), 1)
        check("summary", item.get("summary", ""), article.subheadline)
        check("authors", item.get("authors", []), [{"name": article.byline}] if article.byline else [])
        check("language", item["language"], article.language)
        check("tags", item["tags"], list(delivery.topics) + [f"medtop:{code}" for code in article.subjects])
        modified = datetime.fromisoformat(item["date_modified"][:19] + "+00:00")
        check("modified", modified, when(delivery.published_at))
        renditions = [link for link in article.links if link.relation == article_pb2.LINK_RELATION_RENDITION]
        expected = [{"url": link.href, "mime_type": link.content_type, "title": link.title} for link in renditions]
        check("attachments", item.get("attachments", []), expected)


if __name__ == "__main__":
    main(*sys.argv[1:])
