# SPDX-License-Identifier: Apache-2.0
"""Storage servers of Swift as their recon middleware answers (shapes: real servers of 2.30.1), on addresses of loopback."""

from __future__ import annotations

import contextlib
import gzip
import json
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

SUM = "59d9252616ebb586b28d8c779fb8a9be"
OTHER = "ff6bee1b39660d3e201225de322f4014"
GIB = 1 << 30


def disk(name, mounted=True, used=50):
    """Return a row of diskusage: `used` of 100 GiB; what is not mounted has empty texts instead of numbers."""
    sizes = {"size": 100 * GIB, "used": used * GIB, "avail": (100 - used) * GIB} if mounted is True else {"size": "", "used": "", "avail": ""}  # fmt: skip
    return {"device": name, "mounted": mounted, **sizes}


def answers(kind, now=None, **changed):
    """Return path below /recon/ -> answer of a server at which all is well; "/" is "__" in `changed`, None takes one away."""
    now = time.time() if now is None else now
    stats = {"attempted": 12, "success": 24, "failure": 0, "remove": 0}
    last = {"replication_time": 0.5, "replication_stats": stats, "replication_last": now - 60}
    told = {
        "version": {"version": "2.30.1"},
        "ringmd5": {f"/etc/swift/{name}.ring.gz": SUM for name in ("account", "container", "object")},
        "swiftconfmd5": {"/etc/swift/swift.conf": OTHER},
        f"replication/{kind}": last,
        "reconstruction/object": {"object_reconstruction_last": None, "object_reconstruction_time": None},
        "async": {"async_pending": 0, "async_pending_last": now - 120},
        "devices": {"/srv/node": ["d1", "d2"]},
        "diskusage": [disk("d1"), disk("d2", used=40)],
        "unmounted": [],
        "driveaudit": {"drive_audit_errors": None},
        "quarantined": {"objects": 0, "containers": 0, "accounts": 0, "policies": {}},
        "auditor/object": {"object_auditor_stats_ALL": {"passes": 9, "start_time": now - 600}, "object_auditor_stats_ZBF": {}},
        "auditor/account": {"account_audits_since": now - 600, "account_auditor_pass_completed": 0.1},
        "auditor/container": {"container_audits_since": now - 600, "container_auditor_pass_completed": 0.1},
        **{path.replace("__", "/"): answer for path, answer in changed.items()},
    }  # fmt: skip
    return {path: answer for path, answer in told.items() if answer is not None}


class Recon(ThreadingHTTPServer):
    """A server of one kind. told: path -> JSON, or (status, body), or a function of the handler; `asked` are the paths.

    ahead  seconds by which its clock is ahead
    """

    daemon_threads = True

    def __init__(self, kind, told=None, host="127.0.0.1", ahead=0.0):
        super().__init__((host, 0), Handler)
        self.kind, self.host, self.port, self.ahead = kind, host, self.server_address[1], ahead
        self.told = answers(kind) if told is None else told
        self.asked, self.connections = [], 0
        self.name = f"{kind}@{host}:{self.port}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def server_bind(self):
        TCPServer.server_bind(self)  # HTTPServer's own asks the resolver for our name

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        self.server.connections += 1
        super().setup()

    def do_GET(self):
        path = self.path.partition("/recon/")[2]
        self.server.asked.append(path)
        answer = self.server.told.get(path, (404, f"Invalid path: {self.path}"))
        if path == "time" and "time" not in self.server.told:
            answer = time.time() + self.server.ahead
        if callable(answer):
            answer = answer(self)
        status, body = answer if isinstance(answer, tuple) else (200, json.dumps(answer))
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def silent(handler):
    """Be an answer that does not come while the test lasts."""
    time.sleep(12)
    return 200, "{}"


def write_ring(directory, name, devices):
    """Write a ring file of version 1 (overview_ring_format.rst): (host, port, device, weight), or None for a hole."""
    devs = [one and dict(zip(("ip", "port", "device", "weight"), one)) for one in devices]
    head = json.dumps({"devs": devs, "part_shift": 30, "replica_count": 1}).encode()
    body = struct.pack("!4sHI", b"R1NG", 1, len(head)) + head + bytes(8)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.ring.gz").write_bytes(gzip.compress(body, mtime=1300507380))
