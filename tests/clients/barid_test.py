"""What the client tests share: stubs made from proto/, requests, and checks with clear words."""

import atexit
import faulthandler
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

import grpc
import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent.parent

# The longest that anything may take which must come, in seconds.
LIMIT = 20

# A test that hangs says where, and ends.
faulthandler.dump_traceback_later(6 * LIMIT, exit=True)


def make_stubs():
    """Does what a partner does: protoc over the public contract. google/rpc is googleapis' own."""
    out = tempfile.mkdtemp(prefix="barid-stubs-")
    atexit.register(shutil.rmtree, out)
    files = sorted(str(path) for path in (ROOT / "proto/barid/v1").glob("*.proto"))
    include = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [f"-I{ROOT / 'proto'}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", *arguments, *files]) != 0:
        sys.exit("protoc refuses proto/")
    sys.path.insert(0, out)


make_stubs()

from barid.v1 import (  # noqa: E402
    article_pb2,
    articles_pb2_grpc,
    desk_pb2_grpc,
    publisher_pb2,
    publisher_pb2_grpc,
    recipients_pb2_grpc,
    subscriber_pb2_grpc,
)


class Barid:
    """A connection to a node."""

    def __init__(self, address, credentials=None):
        if credentials is None:
            self.channel = grpc.insecure_channel(address)
        else:
            self.channel = grpc.secure_channel(address, credentials)
        self.publisher = publisher_pb2_grpc.PublisherServiceStub(self.channel)
        self.subscriber = subscriber_pb2_grpc.SubscriberServiceStub(self.channel)
        self.articles = articles_pb2_grpc.ArticleServiceStub(self.channel)
        self.desk = desk_pb2_grpc.DeskServiceStub(self.channel)
        self.recipients = recipients_pb2_grpc.RecipientServiceStub(self.channel)

    def publish(self, article, action=article_pb2.ACTION_PUBLISH, metadata=None):
        """Publishes with a new request id; returns the answer."""
        return self.publisher.Publish(request(article, action), timeout=LIMIT, metadata=metadata)


def request(article, action=article_pb2.ACTION_PUBLISH):
    """A request with a new id."""
    return publisher_pb2.PublishRequest(request_id=str(uuid.uuid4()), action=action, article=article)


def article(uri, headline, topics=(), **fields):
    """An article with what is required."""
    fields.setdefault("language", "en")
    return article_pb2.Article(uri=uri, headline=headline, topics=topics, **fields)


def check(what, got, expected):
    """Ends the test unless both are equal."""
    if got != expected:
        sys.exit(f"{what}:\n  got      {got!r}\n  expected {expected!r}")


def check_holds(what, holds):
    """Ends the test unless it holds."""
    if not holds:
        sys.exit(f"does not hold: {what}")
