"""Other people's gRPC against a node: publish, subscribe, resume, keep a place, read, errors, health,
reflection.

    grpc_client.py <gRPC address>
"""

import sys
import threading
import uuid

import barid_test
import grpc
from barid_test import LIMIT, Barid, article, check, check_holds
from google.protobuf import descriptor_pool, empty_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from barid.v1 import (
    article_pb2,
    articles_pb2,
    delivery_pb2,
    desk_pb2,
    publisher_pb2,
    recipients_pb2,
    subscriber_pb2,
)

SERVICES = {
    "barid.v1.ArticleService",
    "barid.v1.DeskService",
    "barid.v1.PublisherService",
    "barid.v1.RecipientService",
    "barid.v1.SubscriberService",
    "barid.v1.WebhookService",
}
PIPELINED = 40
BAD = 17


def main(address):
    barid = Barid(address)
    grpc.channel_ready_future(barid.channel).result(LIMIT)
    check_health(barid)
    check_reflection(barid)
    first = check_publish(barid)
    pipelined = check_publish_stream(barid)
    wanted = check_subscribe(barid, [first, *pipelined])
    check_resume(barid, wanted)
    check_durable(barid, wanted)
    check_errors(barid)
    check_reads(barid, wanted)


def check_health(barid):
    """The node and each of its services are fit to serve."""
    health = health_pb2_grpc.HealthStub(barid.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=""), timeout=LIMIT)
    check("health of the node", answer.status, health_pb2.HealthCheckResponse.SERVING)


def check_reflection(barid):
    """Both versions list the five services, and describe them as proto/ does."""
    for version in ("v1", "v1alpha"):
        # v1 has the messages of v1alpha under another name.
        ask = barid.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        question = reflection_pb2.ServerReflectionRequest(list_services="*")
        (answer,) = ask(iter([question]), timeout=LIMIT)
        names = {service.name for service in answer.list_services_response.service}
        check(f"services that {version} lists", {name for name in names if name.startswith("barid.")}, SERVICES)
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(barid.channel))
    for message in (article_pb2.Article, delivery_pb2.Delivery, subscriber_pb2.SubscribeResponse):
        shown = pool.FindMessageTypeByName(message.DESCRIPTOR.full_name)
        fields = [(field.number, field.name) for field in shown.fields]
        own = [(field.number, field.name) for field in message.DESCRIPTOR.fields]
        check(f"fields of {message.DESCRIPTOR.full_name}", fields, own)


def check_publish(barid):
    """An article becomes revision 1; the same request again gives the same answer."""
    request = barid_test.request(article("https://example.org/first", "First", ["ict.telecom"]))
    answer = barid.publisher.Publish(request, timeout=LIMIT)
    check("revision", answer.revision, 1)
    check("topics", list(answer.topics), ["ict.telecom"])
    check("id", answer.article_id, str(uuid.uuid5(uuid.NAMESPACE_URL, "https://example.org/first")))
    again = barid.publisher.Publish(request, timeout=LIMIT)
    check("is a duplicate", (answer.duplicate, again.duplicate), (False, True))
    again.duplicate = False
    check("answer to the same request", again, answer)
    return answer


def check_publish_stream(barid):
    """Many at once, nobody waits for an answer; the one bad article is refused and no other.
    Revisions of one article become what their order says."""
    requests = []
    for number in range(PIPELINED):
        topic = ("ict.cybersecurity", "economy.trade")[number % 2]
        headline = "" if number == BAD else f"Story {number}"
        # Every fourth is the next revision of one and the same.
        name = "often" if number % 4 == 2 else number
        requests.append(barid_test.request(article(f"https://example.org/{name}", headline, [topic])))
    answered = threading.Event()

    def send():
        for request in requests:
            yield publisher_pb2.PublishStreamRequest(publish=request)
        # Half open until all answers are there: they do not wait for the end of the requests.
        answered.wait(LIMIT)

    answers = []
    for answer in barid.publisher.PublishStream(send(), timeout=LIMIT):
        answers.append(answer)
        if len(answers) == len(requests):
            answered.set()
    check("ids in the answers", [a.request_id for a in answers], [r.request_id for r in requests])
    kinds = [answer.WhichOneof("result") for answer in answers]
    expected = ["error" if number == BAD else "published" for number in range(PIPELINED)]
    check("kinds of answers", kinds, expected)

    error = answers[BAD].error
    check_holds("the bad one's answer is a google.rpc.Status", isinstance(error, status_pb2.Status))
    check("code", error.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])
    check_details(error, "FIELD_INVALID", ["article.headline"])
    often = [answer.published.revision for answer in answers[2::4]]
    check("revisions of one article", often, list(range(1, len(often) + 1)))
    published = [answer.published for answer in answers if answer.WhichOneof("result") == "published"]
    # Between articles, the log has its own order.
    return sorted(published, key=lambda answer: place(answer.cursor))


def check_subscribe(barid, published):
    """History that matches, in order, then that it has ended, then what is published meanwhile."""
    wanted = [answer for answer in published if any(topic.startswith("ict.") for topic in answer.topics)]
    check_holds("the filter has something to hold back", 1 < len(wanted) < len(published))
    frames = subscribe(barid, subscriber_pb2.Start(earliest=empty_pb2.Empty()))
    history = []
    for frame in frames:
        if frame.WhichOneof("frame") != "delivery":
            break
        history.append(frame.delivery)
    check_deliveries("history", history, wanted)
    check("frame after history", frame.WhichOneof("frame"), "caught_up")
    last = max(place(answer.cursor) for answer in published)
    check_holds("the end of history is past the last article", place(frame.caught_up.cursor) >= last)

    barid.publish(article("https://example.org/other", "Not wanted", ["economy.trade"]))
    text = "تجربة أمن سيبراني"
    new = barid.publish(article("https://example.org/live", text, ["ict"], language="ar", urgency=2))
    live = next(frames).delivery
    check_deliveries("live", [live], [new])
    check("what is live", (live.article.headline, live.article.language, live.article.urgency), (text, "ar", 2))
    check("id that Barid filled in", live.article.id, new.article_id)
    frames.cancel()
    return [*wanted, new]


def check_resume(barid, wanted):
    """A second call goes on after the first one's cursor: nothing twice, nothing missing."""
    middle = len(wanted) // 2
    for seen in (middle, len(wanted)):
        frames = subscribe(barid, subscriber_pb2.Start(after=wanted[seen - 1].cursor))
        rest = [next(frames).delivery for _ in wanted[seen:]]
        check_deliveries(f"after {seen}", rest, wanted[seen:])
        check("frame after the rest", next(frames).WhichOneof("frame"), "caught_up")
        frames.cancel()


def check_durable(barid, wanted):
    """A bot that keeps no state: it goes on after what it acknowledged, and never twice at once."""
    def open_bot():
        request = subscriber_pb2.SubscribeRequest(
            subscription="bot",
            filter=delivery_pb2.Filter(topics=["ict"]),
            start=subscriber_pb2.Start(earliest=empty_pb2.Empty()),
        )
        frames = barid.subscriber.Subscribe(request, timeout=LIMIT)
        return next(frames).opened.token, frames

    def acknowledge(token, cursor):
        request = subscriber_pb2.AcknowledgeRequest(subscription="bot", token=token, cursor=cursor)
        return barid.subscriber.Acknowledge(request, timeout=LIMIT)

    token, frames = open_bot()
    deliveries = [next(frames).delivery for _ in wanted]
    check_deliveries("what a new bot gets", deliveries, wanted)
    done = deliveries[0].cursor
    check("what is stored", acknowledge(token, done).cursor, done)
    new_token, new_frames = open_bot()
    check_deliveries("what comes again", [next(new_frames).delivery for _ in wanted[1:]], wanted[1:])
    status = refused(grpc.StatusCode.ABORTED, lambda: list(frames))
    check_details(status, "SUBSCRIPTION_TAKEN_OVER", [])
    status = refused(grpc.StatusCode.ABORTED, lambda: acknowledge(token, deliveries[1].cursor))
    check_details(status, "SUBSCRIPTION_TAKEN_OVER", [])
    last = deliveries[-1].cursor
    check("what is stored at last", acknowledge(new_token, last).cursor, last)
    new_frames.cancel()
    request = recipients_pb2.GetSubscriptionRequest(name="bot")
    kept = barid.recipients.GetSubscription(request, timeout=LIMIT).subscription
    check("its place", (kept.cursor, kept.lag_articles, list(kept.filter.topics)), (last, 0, ["ict"]))


def check_errors(barid):
    """Rich errors as grpc_status reads them: a stable reason, and the fields at fault."""
    bad = article("https://example.org/bad", "", language="no such language", urgency=12)
    status = refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: barid.publish(bad))
    check_details(status, "FIELD_INVALID", ["article.headline", "article.language", "article.urgency"])

    near = article("https://example.org/near", "Near", ["ict.cybersecurty"])
    status = refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: barid.publish(near))
    info = check_details(status, "TOPIC_UNKNOWN", ["article.topics[0]"])
    check("nearest topic", info.metadata["nearest"], "ict.cybersecurity")

    stale = barid_test.request(article("https://example.org/first", "Second", ["ict.telecom"]))
    stale.expected_revision = 7
    call = lambda: barid.publisher.Publish(stale, timeout=LIMIT)  # noqa: E731
    check_details(refused(grpc.StatusCode.ABORTED, call), "REVISION_CONFLICT", [])

    nobody = articles_pb2.GetArticleRequest(article_id=str(uuid.uuid4()))
    call = lambda: barid.articles.GetArticle(nobody, timeout=LIMIT)  # noqa: E731
    check_details(refused(grpc.StatusCode.NOT_FOUND, call), "ARTICLE_UNKNOWN", [])

    # A stream that cannot begin ends with its status as well.
    start = subscriber_pb2.Start(after="not a cursor")
    status = refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: next(subscribe(barid, start)))
    check_details(status, "CURSOR_UNREADABLE", ["start.after"])


def check_reads(barid, wanted):
    """Get, List in pages, ListRevisions, ListTopics."""
    id = wanted[0].article_id
    corrected = article("https://example.org/first", "First, mended", ["ict.telecom"], edition_note="A name.")
    second = barid.publish(corrected, article_pb2.ACTION_CORRECT)
    got = barid.articles.GetArticle(articles_pb2.GetArticleRequest(article_id=id), timeout=LIMIT).delivery
    check_deliveries("the newest revision", [got], [second])
    check("its headline", got.article.headline, "First, mended")

    listed, token = [], ""
    while True:
        filter = delivery_pb2.Filter(topics=["ict"])
        request = articles_pb2.ListArticlesRequest(filter=filter, page_size=8, page_token=token)
        page = barid.articles.ListArticles(request, timeout=LIMIT)
        check_holds("a page has at most page_size", len(page.deliveries) <= 8)
        listed += page.deliveries
        token = page.next_page_token
        if not token:
            break
    newest = {answer.article_id: answer for answer in [*wanted, second]}.values()
    latest_first = sorted(newest, key=lambda answer: place(answer.cursor), reverse=True)
    check_deliveries("the list, latest first", listed, latest_first)

    request = articles_pb2.ListRevisionsRequest(article_id=id)
    revisions = barid.articles.ListRevisions(request, timeout=LIMIT).deliveries
    check_deliveries("the revisions, oldest first", revisions, [wanted[0], second])
    actions = [revision.action for revision in revisions]
    check("their actions", actions, [article_pb2.ACTION_PUBLISH, article_pb2.ACTION_CORRECT])

    topics = [topic.path for topic in barid.desk.ListTopics(desk_pb2.ListTopicsRequest(), timeout=LIMIT).topics]
    check_holds("a topic stands after its parent", topics.index("ict") < topics.index("ict.telecom"))


def subscribe(barid, start):
    """A stream of all of ict."""
    request = subscriber_pb2.SubscribeRequest(filter=delivery_pb2.Filter(topics=["ict"]), start=start)
    return barid.subscriber.Subscribe(request, timeout=LIMIT)


def refused(code, call):
    """The google.rpc.Status of a call that must fail."""
    try:
        call()
    except grpc.RpcError as error:
        check("code", error.code(), code)
        status = rpc_status.from_call(error)
        check_holds("the error has a google.rpc.Status", status is not None)
        return status
    sys.exit(f"accepted, but must be refused with {code}")


def check_details(status, reason, fields):
    """Checks reason and fields of a google.rpc.Status; returns its ErrorInfo."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    unpacked = [[detail.Unpack(kind) for detail in status.details].count(True) for kind in (info, bad)]
    check(f"details of {reason}", unpacked, [1, 1 if fields else 0])
    check("domain and reason", (info.domain, info.reason), ("barid", reason))
    check(f"fields of {reason}", sorted(violation.field for violation in bad.field_violations), fields)
    for violation in bad.field_violations:
        check_holds(f"{violation.field} has a description", violation.description)
    return info


def check_deliveries(what, deliveries, published):
    """Checks that deliveries are those of the answers, in their order."""
    def facts(one):
        return (one.cursor, one.revision, list(one.topics))

    check(what, [facts(delivery) for delivery in deliveries], [facts(answer) for answer in published])


def place(cursor):
    return int(cursor.split("-")[1])


main(*sys.argv[1:])
