"""Flask-WebSub, a subscriber that others wrote, over TLS, of which it makes a condition for secrets: it
finds the hub, subscribes, verifies, takes what it is sent, renews and unsubscribes.

    websub.py <gRPC address> <HTTP address> <CA file>
"""

import json
import os
import queue
import sys
import tempfile
import threading
from urllib.parse import quote

import feedparser
import grpc
from barid_test import LIMIT, Barid, article, check, check_holds
from flask import Flask
from flask_websub.subscriber import (
    SQLite3SubscriberStorage,
    SQLite3TempSubscriberStorage,
    Subscriber,
    discover,
)
from werkzeug.serving import make_server


def main(grpc_address, http_address, ca):
    # What requests, and so the subscriber, trusts.
    os.environ["REQUESTS_CA_BUNDLE"] = ca
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    barid = Barid(f"localhost:{grpc_address.rpartition(':')[2]}", credentials)
    port = http_address.rpartition(":")[2]
    with tempfile.TemporaryDirectory(prefix="barid-websub-") as folder:
        for form in ("atom", "rss", "json"):
            check_subscriber(barid, f"https://localhost:{port}/feeds/all.{form}", f"{folder}/{form}")


def check_subscriber(barid, url, path):
    storage = SQLite3SubscriberStorage(f"{path}.db"), SQLite3TempSubscriberStorage(f"{path}-temp.db")
    subscriber = Subscriber(*storage)
    said, content = queue.Queue(), queue.Queue()
    subscriber.add_success_handler(lambda topic, _, mode: said.put((mode, topic)))
    subscriber.add_error_handler(lambda topic, _, reason: said.put((reason, topic)))
    subscriber.add_listener(lambda topic, _, body: content.put((topic, body)))
    app = Flask(__name__)
    app.register_blueprint(subscriber.build_blueprint(url_prefix="/callbacks"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    app.config["SERVER_NAME"] = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()

    found = discover(url)
    check("what is found", found, {"hub_url": url.split("/feeds")[0] + "/v1/hub", "topic_url": url})
    with app.app_context():
        callback = subscriber.subscribe(**found, lease_seconds=3600)
        check("subscribed", said.get(timeout=LIMIT), ("subscribe", url))
        check_holds("a secret is agreed", len(subscriber.storage[callback]["secret"]) > 30)
        check("the lease", subscriber.storage[callback]["lease_seconds"], 3600)
        check_news(barid, content, url, "of a subscription")
        subscriber.renew(callback)
        check("renewed", said.get(timeout=LIMIT), ("subscribe", url))
        check_news(barid, content, url, "of a renewed one")
        subscriber.unsubscribe(callback)
        check("unsubscribed", said.get(timeout=LIMIT), ("unsubscribe", url))
    server.shutdown()


def check_news(barid, content, url, what):
    """What is published comes, signed as agreed: the library drops what is not."""
    headline = f"News {what} to {url}"
    barid.publish(article(f"test:{quote(headline, safe='')}", headline))
    while True:
        topic, body = content.get(timeout=LIMIT)
        check("the topic", topic, url)
        if url.endswith("json"):
            titles = [item["title"] for item in json.loads(body)["items"]]
        else:
            titles = [entry.title for entry in feedparser.parse(body).entries]
        if headline in titles:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
