"""Other people's TLS against a node: grpcio, and Python's own ssl and http.client.

    tls_client.py <gRPC address> <HTTP address> <CA file>
"""

import http.client
import json
import socket
import ssl
import sys

import barid_test
import grpc
from barid_test import LIMIT, Barid, article, check, check_holds

from barid.v1 import subscriber_pb2


def main(grpc_address, http_address, ca):
    port = grpc_address.rpartition(":")[2]
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    barid = Barid(f"localhost:{port}", credentials)
    grpc.channel_ready_future(barid.channel).result(LIMIT)
    headline = "Through TLS"
    check_grpc(barid, headline)
    check_http(http_address, ca, headline)
    check_protocols(grpc_address, http_address, ca)


def check_grpc(barid, headline):
    """What is published over TLS comes back over TLS."""
    barid.publish(article("test:tls", headline))
    start = subscriber_pb2.Start(earliest={})
    frames = barid.subscriber.Subscribe(subscriber_pb2.SubscribeRequest(start=start), timeout=LIMIT)
    check("the first delivery", next(frames).delivery.article.headline, headline)
    frames.cancel()


def check_http(address, ca, headline):
    """Answers, and the stream's own writer, go by TLS."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=ca)
    connection = http.client.HTTPSConnection(host, int(port), timeout=LIMIT, context=context)
    # Twice on one connection, so that it is seen to live on.
    for _ in range(2):
        connection.request("GET", "/healthz")
        check("/healthz", connection.getresponse().read(), b"alive\n")
    connection.close()
    connection = http.client.HTTPSConnection(host, int(port), timeout=LIMIT, context=context)
    connection.request("GET", "/v1/stream?from=earliest")
    answer = connection.getresponse()
    check("the type", answer.headers["content-type"], "text/event-stream")
    while not (line := answer.readline()).startswith(b"data: "):
        check_holds("the stream goes on", line != b"")
    check("its event", json.loads(line[6:])["headlines"][0]["value"], headline)
    connection.close()


def check_protocols(grpc_address, http_address, ca):
    """ALPN names what each port speaks; TLS 1.2 and 1.3 are spoken, and what is older is not."""

    def agreed(address, version, offered):
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.set_alpn_protocols(offered)
        with socket.create_connection((host, int(port)), LIMIT) as plain:
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                return wrapped.version(), wrapped.selected_alpn_protocol()

    both = ["h2", "http/1.1"]
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        check("gRPC", agreed(grpc_address, version, both), (name, "h2"))
        check("HTTP", agreed(http_address, version, both), (name, "http/1.1"))
    for address, version, offered in (
        (grpc_address, ssl.TLSVersion.TLSv1_1, both),
        (http_address, ssl.TLSVersion.TLSv1_1, both),
        (http_address, ssl.TLSVersion.TLSv1_3, ["h2"]),
    ):
        try:
            found = agreed(address, version, offered)
        except ssl.SSLError:
            continue
        sys.exit(f"{address}: {found} was agreed on")


main(*sys.argv[1:])
