"""A receiver of webhooks as others write them: standardwebhooks verifies the HMAC, PyNaCl the Ed25519
signature, the CloudEvents SDK parses. What it takes is in its file, synced, before it answers 200.

    webhook_receiver.py PORT FOLDER [CERTIFICATE KEY]

With a certificate and its key it speaks TLS.
Each webhook has a path of its own, /NAME, and the file FOLDER/NAME.json, which is read at each request:
    secrets, publics   what it verifies by; any of the secrets may fit, all publics must be known ones
    format             ninjs or cloudevents
    answers            statuses, drawn at random; 200 is taking it
    delay_ms           the longest pause before an answer
What it takes goes as lines of JSON into FOLDER/NAME.log, what it refuses into FOLDER/NAME.refused.
"""

import base64
import json
import os
import random
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
LOCK = threading.Lock()


def verified(settings, headers, body):
    """By each way that the specification has; raises if one of them does not hold."""
    for number, secret in enumerate(settings["secrets"]):
        try:
            Webhook(secret).verify(body, headers)
            break
        except WebhookVerificationError:
            if number + 1 == len(settings["secrets"]):
                raise
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signatures = [one.split(",") for one in headers["webhook-signature"].split(" ")]
    signatures = [base64.b64decode(text) for version, text in signatures if version == "v1a"]
    assert signatures, "no Ed25519 signature"
    for public in settings["publics"]:
        key = VerifyKey(base64.b64decode(public.removeprefix("whpk_")))
        for signature in signatures:
            try:
                key.verify(content, signature)
                return len(signatures)
            except BadSignatureError:
                pass
    raise AssertionError("no Ed25519 signature fits")


def parsed(settings, headers, body):
    """What it is, where in the log it is, and the article."""
    if settings.get("format") == "cloudevents":
        event = from_http_event(HTTPMessage(headers=headers, body=body))
        assert event.get_specversion() == "1.0", event
        assert event.get_source() == "/barid/v1", event
        return event.get_type(), event.get_extension("baridcursor"), event.get_data()
    event = json.loads(body)
    assert headers["content-type"] == "application/json", headers
    return event["type"], event.get("cursor"), event["data"]


def keep(path, line):
    with LOCK, open(path, "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
        log.flush()
        os.fsync(log.fileno())


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        name = self.path.strip("/")
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {key.lower(): value for key, value in self.headers.items()}
        settings = json.loads((FOLDER / f"{name}.json").read_text())
        line = {"id": headers.get("webhook-id"), "at": time.time()}
        try:
            line["signatures"] = verified(settings, headers, body)
            line["type"], line["cursor"], data = parsed(settings, headers, body)
            line["version"] = data.get("version")
            line["uri"] = data.get("uri")
            line["text"] = [one["value"] for one in data.get("bodies", [])]
        except Exception as error:  # whatever it is, the test is to see it
            line["error"] = f"{type(error).__name__}: {error}"
            keep(FOLDER / "errors", line)
            self.answer(500)
            return
        time.sleep(random.random() * settings.get("delay_ms", 0) / 1000)
        status = random.choice(settings.get("answers", [200]))
        line["status"] = status
        keep(FOLDER / (f"{name}.log" if status == 200 else f"{name}.refused"), line)
        self.answer(status)

    def answer(self, status):
        self.send_response(status)
        if status != 200:
            self.send_header("retry-after", "1")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


server = Server(("127.0.0.1", PORT), Receiver)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[3:5])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
