# SPDX-License-Identifier: Apache-2.0
"""The management API of RabbitMQ, releases that Debian 12 does not have: 3.8, 3.13, 4.0 to 4.3; and with more queues than a lab holds.

Its shapes are those of rabbitmq_management's priv/www/api/index.html and of the code of the tags v3.8.34, v3.13.7, v4.0.9, v4.1.8,
v4.2.9, v4.3.5 (github rabbitmq/rabbitmq-server): rabbit_mgmt_wm_{whoami,overview,nodes,queues,vhosts,health_check_*}.erl,
rabbit_mgmt_util.erl (columns, pages, refusals), rabbit_mgmt_format.erl (idle_since, tags), rabbit_mgmt_external_stats.erl. What they
share with 3.10 was compared with a real 3.10.8. It imports nothing of Nephoscope.

Faults: `faults[path] = 401, 500, "hang", "html", "half", "drip", "garbage"`; path without /api/ and without a query; "" is every one.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PAGE_MAX = 500
MISSING = object()
HEALTH = {
    "alarms": (3, 8), "local-alarms": (3, 8), "virtual-hosts": (3, 8), "node-is-quorum-critical": (3, 8),
    "node-is-mirror-sync-critical": (3, 8), "metadata-store/initialized": (4, 0), "ready-to-serve-clients": (4, 1),
    "quorum-queues-without-elected-leaders/all-vhosts/": (4, 1), "reached-target-cluster-size": (4, 2),
}  # fmt: skip
GONE = {"node-is-mirror-sync-critical": (4, 0)}


def node(name: str = "rabbit@a", version: str = "3.13.7", **fields: Any) -> dict[str, Any]:
    """Return a running node as its release tells it; fields replace, None takes one away."""
    release = tuple(int(part) for part in version.split(".")[:2])
    entry: dict[str, Any] = {
        "name": name, "type": "disc", "running": True, "partitions": [], "uptime": 86400000, "run_queue": 1, "processors": 4,
        "mem_used": 400_000_000, "mem_limit": 1_600_000_000, "mem_alarm": False,
        "disk_free": 50_000_000_000, "disk_free_limit": 50_000_000, "disk_free_alarm": False,
        "fd_used": 100, "fd_total": 65536, "sockets_used": 20, "sockets_total": 58890, "proc_used": 500, "proc_total": 1048576,
        "cluster_links": [],
        "applications": [{"name": "kernel", "version": "9.2"}, {"name": "rabbit", "version": version}],
    }  # fmt: skip
    if release >= (3, 11):
        entry["being_drained"] = False
    if release >= (4, 0):
        entry.update(sockets_used=0, sockets_total=0)
    entry.update(fields)
    return {key: value for key, value in entry.items() if value is not None}


def queue(name: str, vhost: str = "/", **fields: Any) -> dict[str, Any]:
    """Return a classic queue in use; fields replace, None takes one away. messages counts as ready unless said."""
    messages = fields.get("messages", 0)
    entry: dict[str, Any] = {
        "name": name, "vhost": vhost, "type": "classic", "state": "running", "node": "rabbit@a", "durable": False,
        "auto_delete": False, "exclusive": False, "arguments": {}, "messages": messages, "messages_unacknowledged": 0,
        "messages_ready": (messages or 0) - (fields.get("messages_unacknowledged") or 0),
        "message_bytes": 1000 * (messages or 0), "memory": 30_000, "consumers": 1, "consumer_utilisation": 0,
        "message_stats": {"publish": 0, "ack": 0},
    }  # fmt: skip
    entry.update(fields)
    told = {key: value for key, value in entry.items() if value is not None}
    if told["type"] == "classic" and "messages" in told:
        told.setdefault("head_message_timestamp", None)  # null as long as no publisher sets it
    return told


def quorum(name: str, members: list[str], online: list[str], leader: str, **fields: Any) -> dict[str, Any]:
    """Return a quorum queue."""
    return queue(name, type="quorum", durable=True, members=members, online=online, leader=leader, **fields)


def fresh(name: str) -> dict[str, Any]:
    """Return a quorum queue as 3.10.8 lists it for some seconds after it was made: without any statistics."""
    keep = ("name", "vhost", "type", "node", "members", "online", "leader")
    entry = quorum(name, ["rabbit@a"], ["rabbit@a"], "rabbit@a")
    return {key: value for key, value in entry.items() if key in keep}


def _column(entry: Any, path: list[str]) -> Any:
    """Return what of an entry the dotted column asks for, MISSING without it; of a list that of each member."""
    if not path:
        return entry
    if isinstance(entry, list):
        return [_column(one, path) for one in entry]
    if not isinstance(entry, dict) or path[0] not in entry:
        return MISSING
    inner = _column(entry[path[0]], path[1:])
    return MISSING if inner is MISSING else {path[0]: inner}


def _merge(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{key: _merge(one.get(key), value) for key, value in other.items()}}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_merge(a, b) for a, b in zip(one, other)]
    return other


def columns(entry: Any, names: list[str]) -> Any:
    """Return an entry with these columns only, as rabbit_mgmt_util's filter leaves it."""
    if not names:
        return entry
    if isinstance(entry, list):
        return [columns(one, names) for one in entry]
    left: Any = {}
    for name in names:
        part = _column(entry, name.split("."))
        if part is not MISSING:
            left = _merge(left, part)
    return left


class Rabbit:
    """A simulated cluster, asked through one node.

    queues    a list, or (how many, function of the number) for more than should be held at once
    users     name -> (password, tags, virtual hosts with a permission)
    health    check -> the body of its failure
    requests  every path with its query, as asked; `sent` bytes of bodies
    """

    def __init__(self, version: str = "3.13.7", nodes: list[dict[str, Any]] | None = None, queues: Any = ()) -> None:
        self.version = version
        self.release = tuple(int(part) for part in version.split(".")[:2])
        self.nodes = [node(version=version)] if nodes is None else nodes
        self.queues = queues
        self.vhosts = ["/"]
        self.users: dict[str, tuple[str, str, tuple[str, ...]]] = {"nagios": ("secret", "monitoring", ("/", "nova"))}
        self.health: dict[str, dict[str, Any]] = {}
        self.expiring: dict[int, list[dict[str, Any]]] = {}  # days -> certificates that expire within
        self.overview: dict[str, Any] = {}
        self.faults: dict[str, Any] = {}
        self.requests: list[str] = []
        self.sent = 0
        self.port = 0

    def count(self) -> int:
        return self.queues[0] if isinstance(self.queues, tuple) and self.queues else len(self.queues)

    def each(self) -> Iterator[dict[str, Any]]:
        if isinstance(self.queues, tuple) and self.queues:
            count, make = self.queues
            yield from (make(number) for number in range(count))
        else:
            yield from self.queues

    def answer(self, path: str, query: dict[str, list[str]], user: str) -> tuple[int, Any]:
        """Return status and body of a GET below /api/."""
        names = [name for name in (query.get("columns") or [""])[0].split(",") if name]
        _, tags, allowed = self.users[user]
        if path == "whoami":
            return 200, {"name": user, "tags": tags if self.release < (3, 9) else tags.split(",")}
        if path == "overview":
            # Of the overview, whose parts are maps to the server, a dotted column brings the whole part.
            return 200, columns(self._overview(), [name.partition(".")[0] for name in names])
        if path == "nodes":
            return 200, columns(self.nodes, names)
        if path == "vhosts":
            return 200, columns([{"name": name, "messages": 0} for name in self.vhosts], names)
        if path.startswith("health/checks/"):
            return self._health(path[14:])
        if path.partition("/")[0] == "queues":
            vhost = unquote(path[7:])
            if vhost and vhost not in self.vhosts:
                return 404, {"error": "Object Not Found", "reason": "Not Found"}
            if vhost and vhost not in allowed:
                return 401, {"error": "not_authorised", "reason": "User not authorised to access virtual host"}
            return self._queues(query, names, (vhost,) if vhost else allowed)
        return 404, {"error": "Object Not Found", "reason": "Not Found"}

    def _overview(self) -> dict[str, Any]:
        return {
            "management_version": self.version, "rabbitmq_version": self.version, "product_version": self.version,
            "erlang_version": "26.2", "cluster_name": "cloud", "node": self.nodes[0]["name"] if self.nodes else "", "disable_stats": False,
            "message_stats": {"publish": 10, "return_unroutable": 0, "drop_unroutable": 0},
            "churn_rates": {"connection_created": 100, "connection_closed": 90},
            "queue_totals": {"messages": 0}, "statistics_db_event_queue": 0,
            "object_totals": {"connections": 10, "channels": 10, "consumers": 10, "exchanges": 14, "queues": self.count()},
            "listeners": [], **self.overview,
        }  # fmt: skip

    def _health(self, name: str) -> tuple[int, Any]:
        expiry = re.fullmatch(r"certificate-expiration/(\d+)/days", name)
        if expiry:
            found = [one for days, ones in self.expiring.items() if days <= int(expiry[1]) for one in ones]
            if found:
                return 503, {"status": "failed", "reason": "Certificates expiring", "expired": found}
            return 200, {"status": "ok"}
        if name not in HEALTH or not HEALTH[name] <= self.release < GONE.get(name, (99,)):
            return 404, {"error": "Object Not Found", "reason": "Not Found"}
        if name in self.health:
            return 503, {"status": "failed", **self.health[name]}
        if len(self.nodes) == 1 and "critical" in name:
            return 200, {"status": "ok", "reason": "single node cluster"}
        return 200, {"status": "ok"}

    def _queues(self, query: dict[str, list[str]], names: list[str], allowed: tuple[str, ...]) -> tuple[int, Any]:
        if "page" not in query:
            return 200, columns([entry for entry in self.each() if entry["vhost"] in allowed], names)
        page, size = int(query["page"][0]), int(query["page_size"][0])
        if size > PAGE_MAX:
            return 400, {"error": "bad_request", "reason": f"page_size too large {size}"}
        pattern = (query.get("name") or [""])[0]
        try:
            wanted = re.compile(pattern)
        except re.error:
            return 400, {"error": "bad_request", "reason": f"Invalid regexp: {pattern}"}
        total = filtered = 0
        items = []
        if isinstance(self.queues, tuple) and self.queues and not pattern and len(allowed) != 1:
            # A page is made without the others, and as it is: 100,000 queues are to test the one that asks.
            total = filtered = self.queues[0]
            make = self.queues[1]
            items = [make(at) for at in range((page - 1) * size, min(page * size, total))]
            return 200, self._page(total, filtered, page, size, items)
        for entry in self.each():
            if entry["vhost"] not in allowed:
                continue
            total += 1
            if wanted.search(entry["name"]):
                if (page - 1) * size <= filtered < page * size:
                    items.append(columns(entry, names))
                filtered += 1
        if not items and page > 1:
            reason = f"Page out of range, page: {page} page size: {size}, len: {filtered}"
            return 400, {"error": "page_out_of_range", "reason": reason}
        return 200, self._page(total, filtered, page, size, items)

    @staticmethod
    def _page(total: int, filtered: int, page: int, size: int, items: list[Any]) -> dict[str, Any]:
        return {
            "total_count": total, "item_count": len(items), "filtered_count": filtered, "page": page, "page_size": size,
            "page_count": (filtered + size - 1) // size, "items": items,
        }  # fmt: skip

    def refusal(self, header: str) -> tuple[int, Any] | str:
        """Return who asks by basic authentication, or the 401 of this release."""
        user, _, password = base64.b64decode(header.partition(" ")[2] or "").decode().partition(":")
        known = self.users.get(user)
        if known is None or known[0] != password:
            reason = "Login failed" if self.release < (3, 12) else "Not_Authorized"
            return 401, {"error": "not_authorized" if self.release >= (3, 9) else "not_authorised", "reason": reason}
        if not known[1]:
            return 401, {"error": "not_authorised", "reason": "Not management user"}
        return user


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece: else each answer waits 40 ms for the other side's acknowledgement
    rabbit: Rabbit

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        rabbit = self.rabbit
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/api/")
        rabbit.requests.append(self.path)
        fault = rabbit.faults.get(path, rabbit.faults.get(""))
        if callable(fault):
            fault = fault()
        if fault == "hang":
            time.sleep(30)
        if isinstance(fault, int):
            return self._send(fault, b"", "text/plain")
        if fault == "html":
            return self._send(200, b"<!DOCTYPE html><html><title>It works!</title></html>", "text/html")
        if fault == "garbage":
            self.wfile.write(b"AMQP\x00\x00\x09\x01")
            self.close_connection = True
            return None
        user = rabbit.refusal(self.headers.get("Authorization", ""))
        if isinstance(user, str) and path != "whoami" and rabbit.users[user][1] == "management":
            user = 401, {"error": "not_authorised", "reason": "Not monitor user"}
        status, body = user if isinstance(user, tuple) else rabbit.answer(path, parse_qs(parts.query), user)
        data = json.dumps(body).encode()
        if fault == "half":
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return None
        if fault == "drip":
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for at in range(len(data)):
                self.wfile.write(data[at : at + 1])
                self.wfile.flush()
                time.sleep(0.5)
            return None
        return self._send(status, data, "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.rabbit.sent += len(data)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the one that asked went away: what a deadline is for


@contextlib.contextmanager
def serving(rabbit: Rabbit, wrap: Callable[[Any], Any] | None = None) -> Iterator[Rabbit]:
    """Serve it on a free port of 127.0.0.1; `wrap` makes TLS of a listening socket."""
    handler = type("Handler", (_Handler,), {"rabbit": rabbit})
    server = _Server(("127.0.0.1", 0), handler)
    server.block_on_close = False
    if wrap:
        server.socket = wrap(server.socket)
    rabbit.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield rabbit
    finally:
        server.shutdown()
        server.server_close()
