"""Runs schemathesis against a node of its own: check_api.py BARID NATS_SERVER

Every check is on; tests/web/schemathesis.toml holds the exceptions. The event stream is left out,
for it does not end.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
STORY = {
    "uri": "https://news.example/1",
    "language": "en",
    "headlines": [{"value": "Ministers agree on a joint cybersecurity centre"}],
    "bodies": [{"contentType": "text/html", "value": "<p>They signed.</p>"}],
}


def main(barid, nats_server):
    with tempfile.TemporaryDirectory() as data:
        command = [barid, "serve", "--output", "json", "--nats-server", str(Path(nats_server).resolve())]
        command += ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
        command += ["--nats-listen", "127.0.0.1:0", "--data-dir", data, "--log", "warn"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=data) as node:
            try:
                address = json.loads(node.stdout.readline())["http"]
                # What it makes for the desk itself: such a key may ask for everything.
                key = (Path(data) / "keys" / "desk").read_text().strip()
                publish(address, key)
                return check(address, key)
            finally:
                node.terminate()


def publish(address, key):
    """Something to find."""
    headers = {"content-type": "application/json", "idempotency-key": str(uuid.uuid4())}
    headers["authorization"] = f"Bearer {key}"
    body = json.dumps(STORY).encode()
    request = urllib.request.Request(f"{address}/v1/articles", data=body, headers=headers)
    urllib.request.urlopen(request).close()


def check(address, key):
    command = [Path(sys.executable).with_name("schemathesis")]
    command += ["--config-file", HERE / "schemathesis.toml", "run", f"{address}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {key}"]
    command += ["--exclude-path", "/v1/stream", "--checks", "all", "--max-examples", "100"]
    return subprocess.run(command, cwd=tempfile.gettempdir()).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
