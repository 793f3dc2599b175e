#!/usr/bin/env python3
"""Runs one fan-out load in turns on Barid, its peers and the floor, and prints ratios to the floor.

    cargo build --release && benches/fanout.py
    benches/fanout.py --subscribers 5000 --rounds 5 --load rate=10 --load window=16

The floor is one loop that writes the same bytes to every socket. Peers are measured if they are
installed: nginx with nchan (Debian: nginx libnginx-mod-nchan) and nats-server. Only ratios of one
round are to be trusted, and of them the median over the rounds: the same server varies by a quarter
from run to run. The load comes from this machine, so the figures are for this machine.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NCHAN = "/usr/lib/nginx/modules/ngx_nchan_module.so"

NGINX_CONF = """
load_module {nchan};
daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn; worker_rlimit_nofile {files};
events {{ worker_connections {files}; use epoll; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; tcp_nodelay on;
  client_body_buffer_size 64k; nchan_shared_memory_size 256M;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /v1/stream {{
      nchan_subscriber eventsource; nchan_channel_id fan; nchan_subscriber_first_message newest;
    }}
    location = /pub {{
      nchan_publisher http; nchan_channel_id fan;
      nchan_message_buffer_length 1000; nchan_message_timeout 60s;
    }}
  }}
}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--barid", default=ROOT / "target/release/barid")
    parser.add_argument("--nats-server", default=None, help="default: scripts/fetch-tools nats-server")
    parser.add_argument("--subscribers", type=int, action="append", help="may be repeated [1000]")
    parser.add_argument("--load", action="append", help="rate=N or window=N, may be repeated [rate=20, window=16]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--time", default="5s")
    parser.add_argument("--only", help="servers to measure beside the floor, with commas")
    parser.add_argument("--json", help="write every figure of every round to this file")
    options = parser.parse_args()
    if not os.access(options.barid, os.X_OK):
        sys.exit(f"fanout.py: there is no {options.barid}; cargo build --release")
    nats_server = options.nats_server or subprocess.run(
        [ROOT / "scripts/fetch-tools", "nats-server"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()

    servers = {"barid grpc": barid("grpc"), "barid sse": barid("sse"), "nats": nats}
    if os.path.exists(NCHAN) and shutil.which("nginx"):
        servers["nchan"] = nginx
    else:
        print("fanout.py: nginx with nchan is not installed, and left out", file=sys.stderr)
    if options.only:
        servers = {name: servers[name] for name in options.only.split(",")}
    servers = {"floor": floor, **servers}

    rounds = []
    cells = [
        (subscribers, load)
        for subscribers in options.subscribers or [1000]
        for load in options.load or ["rate=20", "window=16"]
    ]
    steps = options.rounds * len(cells) * len(servers)
    for number in range(options.rounds):
        for subscribers, load in cells:
            for name, server in servers.items():
                progress(len(rounds), steps, f"{name}, {subscribers} subscribers, {load}")
                kind, value = load.split("=")
                arguments = ["--subscribers", str(subscribers), f"--{kind}", value, "--time", options.time]
                figures = server(Bench(options.barid, nats_server, arguments, subscribers))
                rounds.append({"round": number, "cell": (subscribers, load), "server": name, **figures})
    progress(steps, steps, "")
    for subscribers, load in cells:
        table(subscribers, load, [one for one in rounds if one["cell"] == (subscribers, load)], list(servers))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rounds, indent=1))


class Bench:
    """One run of `barid bench fanout`."""

    def __init__(self, program, nats_server, arguments, subscribers):
        self.program = str(program)
        self.nats_server = nats_server
        self.arguments = arguments
        # A server holds a socket for each subscriber, and little else.
        self.files = subscribers + 1000

    def run(self, *more):
        command = [self.program, "bench", "fanout", "--output", "json", *self.arguments, *more]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"fanout.py: {' '.join(command)} failed")
        return {figure["name"]: figure["median"] for figure in json.loads(done.stdout)}

    def at_peer(self, peer, address, pid):
        return self.run("--peer", peer, "--peer-address", address, "--peer-pid", str(pid))


def barid(protocol):
    return lambda bench: bench.run("--protocol", protocol, "--nats-server", bench.nats_server)


def floor(bench):
    command = ulimit(bench, [bench.program, "bench", "fanout-floor"])
    with Server(command, stdout=subprocess.PIPE, text=True) as server:
        return bench.at_peer("floor", server.stdout.readline().strip(), server.pid)


def nats(bench):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        conf = pathlib.Path(folder) / "nats.conf"
        conf.write_text(f"listen: 127.0.0.1:{port}\nmax_connections: {bench.files}\nlog_file: {folder}/log\n")
        with Server(ulimit(bench, [bench.nats_server, "-c", str(conf)])) as server:
            wait_for(port, server)
            return bench.at_peer("nats", f"127.0.0.1:{port}", server.pid)


def nginx(bench):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        os.chmod(folder, 0o755)
        conf = pathlib.Path(folder) / "nginx.conf"
        conf.write_text(NGINX_CONF.format(nchan=NCHAN, port=port, files=bench.files))
        command = ["nginx", "-p", folder, "-c", str(conf), "-e", f"{folder}/error.log"]
        with Server(ulimit(bench, command), stderr=subprocess.DEVNULL) as server:
            wait_for(port, server)
            return bench.at_peer("nchan", f"127.0.0.1:{port}", worker(server))


def worker(server):
    """The process that does nginx's work: its master listens before it has one."""
    children = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        if found := children.read_text().split():
            return found[0]
        time.sleep(0.02)
    sys.exit(f"fanout.py: {server.args} has no worker")


class Server(subprocess.Popen):
    """A process that ends with its block."""

    def __exit__(self, *why):
        self.send_signal(signal.SIGTERM)
        try:
            self.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        return super().__exit__(*why)


def ulimit(bench, command):
    # `exec`, so that the process is the server itself.
    return ["sh", "-c", f'ulimit -n {bench.files} && exec "$@"', "sh", *command]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, server):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"fanout.py: {server.args} does not listen")


def progress(done, steps, what):
    if sys.stderr.isatty():
        print(f"\r\033[K{done}/{steps} {what}", end="", file=sys.stderr, flush=True)


def table(subscribers, load, rounds, servers):
    cost, last = "server CPU per delivery: us", "publish to last subscriber: p99 ms"
    spread, memory = "first to last subscriber: p99 ms", "server memory per idle subscriber: KiB"
    floors = {one["round"]: one for one in rounds if one["server"] == "floor"}
    print(f"\n{subscribers} subscribers, {load}, medians of {len(floors)} rounds")
    print(f"{'':12} {'us/delivery':>12} {'ratio':>7} {'deliveries/s':>13} {'last p99 ms':>12}"
          f" {'first-last p99':>15} {'ratio':>7} {'KiB':>7} {'connect us':>11}")
    for name in servers:
        mine = [one for one in rounds if one["server"] == name]
        median = lambda key: statistics.median(one[key] for one in mine)
        ratio = lambda key: statistics.median(
            one[key] / floors[one["round"]][key] for one in mine if floors[one["round"]][key] > 0
        )
        print(f"{name:12} {median(cost):12.2f} {ratio(cost):7.2f} {median('deliveries/s'):13.0f}"
              f" {median(last):12.2f} {median(spread):15.2f} {ratio(spread):7.2f} {median(memory):7.1f}"
              f" {median('server CPU per connection set up: us'):11.0f}")


if __name__ == "__main__":
    main()
