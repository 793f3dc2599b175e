"""An exact native reader with nats-py and without credentials: a pull consumer on one topic's copies.

    nats_jetstream.py <gRPC address> <NATS address>
"""

import asyncio
import sys

from barid_test import LIMIT, Barid, article, check

import nats
from barid.v1 import article_pb2, delivery_pb2

STREAM = "BARID"
SUBJECT = "log.news.ict.telecom"


async def main(grpc_address, nats_address):
    barid = Barid(grpc_address)
    published = publish(barid)
    await check_history(nats_address, published)
    await check_acknowledge(barid, nats_address, published)


def publish(barid):
    """Several revisions of several articles, in and beside the topic; returns those in it."""
    published = []

    def add(answer):
        if "ict.telecom" in answer.topics:
            published.append(answer)

    for number in range(6):
        topics = [["ict.telecom"], ["economy.trade"], ["diplomacy.visits", "ict.telecom"]][number % 3]
        add(barid.publish(article(f"https://example.org/{number}", f"Story {number}", topics)))
    for number in (0, 1, 2):
        later = article(f"https://example.org/{number}", f"Story {number}, later", ["ict.postal"])
        add(barid.publish(later, article_pb2.ACTION_UPDATE))
    note = article("https://example.org/2", "", edition_note="Not confirmed.")
    add(barid.publish(note, article_pb2.ACTION_WITHHOLD))
    return published


async def check_history(address, published):
    """All that ever went to the topic comes once and in order, whatever the revision says now."""
    connection = await nats.connect(address, allow_reconnect=False)
    pull = await connection.jetstream().pull_subscribe(SUBJECT, stream=STREAM)
    messages = await fetch(pull, len(published))
    check("subjects", {message.subject for message in messages}, {SUBJECT})
    check("history", [facts(message) for message in messages], [answered(answer) for answer in published])
    # Each copy lies in its revision's group: after the record, in the order of the topics.
    places = [message.metadata.sequence.stream for message in messages]
    expected = [
        int(answer.cursor.split("-")[1]) + 1 + list(answer.topics).index("ict.telecom") for answer in published
    ]
    check("places in the log", places, expected)
    for message in messages:
        check("cursor in a copy", delivery_pb2.Delivery.FromString(message.data).cursor, "")
    await connection.close()


async def check_acknowledge(barid, address, published):
    """What was acknowledged does not come again to the same durable consumer; the rest does, then
    what is new."""
    middle = len(published) // 2
    connection = await nats.connect(address, allow_reconnect=False)
    jetstream = connection.jetstream()
    pull = await jetstream.pull_subscribe(SUBJECT, durable="partner", stream=STREAM)
    for message in await fetch(pull, middle):
        await message.ack_sync(timeout=LIMIT)
    info = await pull.consumer_info()
    check("not acknowledged", (info.num_ack_pending, info.num_pending), (0, len(published) - middle))
    await connection.close()

    new = barid.publish(article("https://example.org/new", "New", ["ict.telecom"]))
    connection = await nats.connect(address, allow_reconnect=False)
    jetstream = connection.jetstream()
    pull = await jetstream.pull_subscribe(SUBJECT, durable="partner", stream=STREAM)
    rest = await fetch(pull, len(published) - middle + 1)
    expected = [answered(answer) for answer in [*published[middle:], new]]
    check("the rest", [facts(message) for message in rest], expected)
    for message in rest:
        await message.ack()
    await connection.flush()
    await jetstream.delete_consumer(STREAM, "partner")
    await connection.close()


async def fetch(pull, count):
    """So many messages, however the server cuts them."""
    messages = []
    while len(messages) < count:
        messages += await pull.fetch(count - len(messages), timeout=LIMIT)
    return messages


def facts(message):
    delivery = delivery_pb2.Delivery.FromString(message.data)
    check("header and payload", message.headers["Barid-Revision"], str(delivery.revision))
    return (delivery.article.id, delivery.revision, list(delivery.topics))


def answered(answer):
    return (answer.article_id, answer.revision, list(answer.topics))


asyncio.run(main(*sys.argv[1:]))
