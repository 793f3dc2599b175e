"""A native reader with nats-py and without credentials: committed copies, and nothing but reading.

    nats_core.py <gRPC address> <NATS address>
"""

import asyncio
import re
import sys
from urllib.parse import unquote

from barid_test import LIMIT, Barid, article, check, check_holds

import nats
from barid.v1 import article_pb2, delivery_pb2

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
END = "https://example.org/end"
READ = ["news.ict", "news.ict.>", "news.diplomacy.>"]


class Reader:
    """An anonymous connection, and what the server says against it."""

    def __init__(self):
        self.refusals = asyncio.Queue()

    async def connect(self, address):
        self.nats = await nats.connect(address, error_cb=self.refusals.put, allow_reconnect=False)

    async def read(self, *subjects):
        self.subscriptions = [await self.nats.subscribe(subject) for subject in subjects]
        await self.nats.flush()

    async def until(self, uri):
        """All copies up to an article that goes to every subscription, without it. Each subscription
        has its own order; the place in the log is that of all."""
        copies = []
        for subscription in self.subscriptions:
            while (copy := await subscription.next_msg(LIMIT)).headers["ce-subject"] != uri:
                copies.append(copy)
        return sorted(copies, key=lambda copy: int(copy.headers["Nats-Sequence"]))

    async def is_refused(self, what, subject):
        """Waits for the server's word. It is text only, and nats-py changes its case."""
        refusal = str(await asyncio.wait_for(self.refusals.get(), LIMIT))
        expected = f'permissions violation for {what} to "{subject}"'
        check_holds(f"{refusal} says: {expected}", expected.casefold() in refusal.casefold())


async def main(grpc_address, nats_address):
    barid = Barid(grpc_address)
    await check_copies(barid, nats_address)
    await check_once(barid, nats_address)
    await check_only_reads(barid, nats_address)


async def check_copies(barid, address):
    """A copy comes on the subject of each topic that the reader asked for, whole, with headers."""
    reader = Reader()
    await reader.connect(address)
    await reader.read("news.ict", "news.ict.>")
    # An address as agencies of the region have them: with letters beyond ASCII, and with a percent.
    uri = "https://example.org/ميناء%20harbour"
    sent = article(
        uri,
        "Fibre reaches the harbour — كابل الميناء",
        ["ict.telecom", "economy.trade", "ict.cybersecurity"],
        body="First paragraph.\n\nSecond paragraph.",
        byline="A Reporter",
        urgency=3,
        subjects=["20000391"],
        links=[article_pb2.Link(relation=article_pb2.LINK_RELATION_CANONICAL, href=uri)],
    )
    # Of the call that gave it, and of no other.
    traced = barid.publish(sent, metadata=[("traceparent", TRACEPARENT)])
    exact = barid.publish(article("", "On the parent", ["ict"]))
    note = article(uri, "", edition_note="Untrue.")
    killed = barid.publish(note, article_pb2.ACTION_KILL)

    end(barid, ["ict"], ["ict.postal"])

    copies = await reader.until(END)
    subjects = [copy.subject for copy in copies]
    of_first = ["news.ict.telecom", "news.ict.cybersecurity"]
    check("subjects", subjects, [*of_first, "news.ict", *of_first])
    for copy, answer in zip(copies, (traced, traced, exact)):
        delivery = delivery_pb2.Delivery.FromString(copy.data)
        check("cursor in a copy", delivery.cursor, "")
        check("revision in a copy", delivery.revision, answer.revision)
        check("topics in a copy", list(delivery.topics), list(answer.topics))
        check("action in a copy", delivery.action, article_pb2.ACTION_PUBLISH)
        check("id in a copy", delivery.article.id, answer.article_id)
        for time in ("published_at", "routed_at"):
            check_holds(f"a copy has {time}", delivery.HasField(time))
    got = delivery_pb2.Delivery.FromString(copies[0].data).article
    for field in ("uri", "headline", "body", "byline", "urgency", "subjects", "links", "language", "topics"):
        check(f"{field} in a copy", getattr(got, field), getattr(sent, field))

    headers = copies[0].headers
    time = headers.get("ce-time", "")
    check_holds(f"RFC 3339: {time!r}", re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time))
    expected = {
        "ce-specversion": "1.0",
        "ce-id": f"{traced.article_id}/1",
        "ce-source": "/barid/v1",
        "ce-type": "barid.v1.publish",
        # CloudEvents: encoded once more, whatever it is, so that one decoding gives it back.
        "ce-subject": "https://example.org/%D9%85%D9%8A%D9%86%D8%A7%D8%A1%2520harbour",
        "content-type": "application/protobuf",
        "Barid-Article": traced.article_id,
        "Barid-Revision": "1",
        "Barid-Action": "publish",
        "Barid-Urgency": "3",
        "Barid-Topics": "ict.telecom,economy.trade,ict.cybersecurity",
        "traceparent": TRACEPARENT,
    }
    check("headers", {name: headers.get(name) for name in expected}, expected)
    check("the uri again", unquote(headers["ce-subject"]), uri)
    check("headers of both copies", own(copies[1].headers), own(headers))
    check("trace context without one", copies[2].headers.get("traceparent"), None)
    check("subject without a uri", copies[2].headers.get("ce-subject"), f"urn:uuid:{exact.article_id}")

    notice = copies[3]
    delivery = delivery_pb2.Delivery.FromString(notice.data)
    check("revision of the notice", delivery.revision, killed.revision)
    check("action of the notice", notice.headers.get("Barid-Action"), "kill")
    check("text of the notice", (delivery.article.headline, delivery.article.body), ("", ""))
    check("reason of the notice", delivery.article.edition_note, "Untrue.")
    await reader.nats.close()


async def check_once(barid, address):
    """A reader of several topics that takes the copy on the first of Barid-Topics that it reads
    sees each revision once."""
    reader = Reader()
    await reader.connect(address)
    await reader.read(*READ)
    published = []
    for number, topics in enumerate([
        ["ict.cybersecurity", "diplomacy.bilateral", "economy.trade"],
        ["economy.trade", "diplomacy.visits", "ict"],
        ["economy.energy"],
        ["ict.telecom"],
        ["diplomacy.visits", "diplomacy.bilateral", "diplomacy.treaties"],
    ]):
        answer = barid.publish(article(f"https://example.org/once/{number}", f"Story {number}", topics))
        if topics != ["economy.energy"]:
            published.append((answer.article_id, answer.revision))
    # A later revision goes to its own topics first, then to those of the one before.
    moved = article("https://example.org/once/3", "Story 3 moves", ["diplomacy.visits"])
    answer = barid.publish(moved, article_pb2.ACTION_UPDATE)
    check("topics of the update", list(answer.topics), ["diplomacy.visits", "ict.telecom"])
    published.append((answer.article_id, answer.revision))
    end(barid, ["ict"], ["ict.postal", "diplomacy.visits"])

    copies = await reader.until(END)
    taken = [
        (copy.headers["Barid-Article"], int(copy.headers["Barid-Revision"]))
        for copy in copies
        if copy.subject == next(filter(is_read, map("news.{}".format, copy.headers["Barid-Topics"].split(","))))
    ]
    check_holds("there are copies to leave", len(copies) > len(taken))
    check("what the reader takes", taken, published)
    await reader.nats.close()


def end(barid, *topics):
    """Publishes what a reader reads up to, once for each list of topics."""
    for revision in topics:
        barid.publish(article(END, "The end", revision))


def is_read(subject):
    return any(
        subject.startswith(pattern[:-1]) if pattern.endswith(".>") else subject == pattern for pattern in READ
    )


async def check_only_reads(barid, address):
    """The server refuses what a reader publishes, and shows it no other subject."""
    reader = Reader()
    await reader.connect(address)
    await reader.read("news.>")
    for subject in ("news.ict", "log.news.ict", "log.article.x", "anything"):
        await reader.nats.publish(subject, b"forged")
        await reader.is_refused("publish", subject)
    for subject in ("log.>", "log.article.>", "$JS.>", ">"):
        await reader.nats.subscribe(subject)
        await reader.is_refused("subscription", subject)
    barid.publish(article("https://example.org/true", "True", ["ict"]))
    copy = await reader.subscriptions[0].next_msg(LIMIT)
    check("the first that comes", copy.headers and copy.headers.get("ce-subject"), "https://example.org/true")
    await reader.nats.close()


def own(headers):
    """Headers without those of NATS, which tell the place of each copy."""
    return {name: value for name, value in headers.items() if not name.startswith("Nats-")}


asyncio.run(main(*sys.argv[1:]))
