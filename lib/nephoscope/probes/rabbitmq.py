# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ's management API, and what it tells of the nodes of a cluster.

Sources (github rabbitmq/rabbitmq-server, tags v3.8.34, v3.10.8, v3.13.7, v4.0.9, v4.1.8, v4.2.9, v4.3.5): rabbitmq_management's
priv/www/api/index.html (paths, columns, pages), rabbit_mgmt_dispatcher.erl and rabbit_mgmt_wm_health_check_*.erl (which
release has which health check, and their bodies), rabbit_mgmt_util.erl (words of a refusal), rabbit_mgmt_external_stats.erl
(fields of a node: from 4.0 on sockets_* are 0, from 4.3 on partitions is always empty).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import (
    ABSENT,
    COLLECTING,
    LATE,
    NOT_ALLOWED,
    UNREACHABLE,
    UNREADABLE,
    Collecting,
    Failed,
    Run,
    samples,
)
from nephoscope.base.run import KEPT_BACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base import http

PORT = 15672
"""Of the management API; with TLS it is 15671, unless the broker's owner chose otherwise."""
PLUGIN = "is the broker down, or its management plug-in off? `rabbitmq-plugins enable rabbitmq_management`"
DOWN = ("Connection refused", "HTTP 502", "HTTP 503")
FROZEN = "the log-in was answered: look for a node of the cluster that is frozen or cut off, the others wait for it"
NODE_COLUMNS = (
    "name,running,partitions,mem_used,mem_limit,mem_alarm,disk_free,disk_free_limit,disk_free_alarm,fd_used,fd_total,"
    "sockets_used,sockets_total,proc_used,proc_total,run_queue,processors,uptime,being_drained,cluster_links.name,"
    "applications.name,applications.version"
)
OVERVIEW_COLUMNS = (
    "node,rabbitmq_version,disable_stats,object_totals,statistics_db_event_queue,listeners,"
    "churn_rates.connection_created,message_stats.return_unroutable,message_stats.drop_unroutable"
)
HEALTH = {  # path: (first release, release from which on it is gone, what a failure means)
    "virtual-hosts": ((3, 8), (99,), "down"),
    "node-is-quorum-critical": ((3, 8), (99,), "at risk"),
    "node-is-mirror-sync-critical": ((3, 8), (4,), "at risk"),
    "metadata-store/initialized": ((4,), (99,), "down"),
    "ready-to-serve-clients": ((4, 1), (99,), "down"),
    "quorum-queues-without-elected-leaders/all-vhosts/": ((4, 1), (99,), "down"),
    "reached-target-cluster-size": ((4, 2), (99,), "at risk"),
}
STATISTICS = ("nodes", "partitions", "memory", "disk", "limits", "traffic")
"""Modes that look at what nodes tell of themselves; alarms and health have questions of their own."""
RESOURCES = {"disk space": "disk", "file descriptors": "descriptor"}
"""Of alarms, as rabbit_alarm.erl calls them (seen on 3.10.8), in the words of a node's statistics."""
CERTIFICATE_DAYS = ((14, "expires soon"), (30, "expires"))
VIEWS = 2.0  # seconds that the other nodes' own views may take together, unless they were asked for
GROWTH_SPAN = 3600.0  # seconds over which the growth of memory is measured
GROWTH_LEAST = 1800.0  # and the least: garbage collection alone makes a tenth in ten minutes
GROWTH_FLOOR = 0.2  # of the mark: below it a node that doubles is a node that was just started
LOST_LEAST = 20  # connections: of fewer a share says nothing


def options(add: Any) -> None:
    """Declare who asks."""
    add(
        "--user", metavar="NAME", help="the broker's user (default guest, who may log in on the broker's own host only)"
    )
    add("--password", secret=True, help="its password (default of guest: guest)")
    add(
        "--from-service-file", repeat=True, metavar="FILE",
        help="user, password and hosts of a service's transport_url (nova.conf); the first host that answers is asked",
    )  # fmt: skip


def right(user: str = "USER", vhost: str = "VHOST") -> str:
    """Return the least right, as the statements that grant it: it sees every queue and reads no message."""
    return f"`rabbitmqctl set_user_tags {user} monitoring`, for each virtual host `{permission(user, vhost)}`"


def permission(user: str, vhost: str) -> str:
    """Return the statement that shows a virtual host's queues to a monitoring user."""
    return f"rabbitmqctl set_permissions -p {vhost} {user} '^$' '^$' '^$'"


def number(value: Any) -> float | None:
    """Return a JSON number; None for what is none ("disk_free_monitoring_disabled", null, a missing key)."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


class Api:
    """The management API of the node that answered, its log-in checked.

    of    "host:port"
    user  who asks
    """

    def __init__(self, run: Run, session: http.Session, user: str, password: str) -> None:
        from binascii import b2a_base64

        self.run, self.session, self.user, self.of = run, session, user, session.of
        secret = b2a_base64(f"{user}:{password}".encode(), newline=False).decode()
        self._headers = {"Authorization": f"Basic {secret}", "Accept": "application/json"}

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def greet(self) -> None:
        """Log in: a question that needs neither another node nor statistics. Raises Failed as `get` does."""
        try:
            who = self.get("whoami")
        except Failed as failed:
            if failed.kind == UNREACHABLE and failed.error in DOWN:
                raise Failed(UNREACHABLE, self.of, failed.tried, failed.error, PLUGIN) from None
            kind, error = failed.kind, failed.error
            # The AMQP port greets in its own words and resets the connection, which may come first.
            if "reset" in error and self._greets():
                kind, error = UNREADABLE, "this port speaks AMQP, not HTTP"
            if kind == UNREADABLE:
                cure = f"is this the port of RabbitMQ's management API ({PORT}, with --tls 15671)?"
                raise Failed(kind, self.of, failed.tried, error, cure) from None
            raise
        if not isinstance(who, dict) or "name" not in who or "tags" not in who:
            raise Failed(UNREADABLE, self.of, "GET /api/whoami", "this is no RabbitMQ: it does not say who logged in")

    def _greets(self) -> bool:
        """Whether the port answers eight bytes that are no AMQP, as a client's first eight must be, with "AMQP"."""
        from urllib.parse import urlsplit

        from nephoscope.base.dial import dial, patience

        parts = urlsplit(self.session.base)
        try:
            with dial(self.session.run, parts.hostname or "", parts.port or PORT) as sock:
                sock.sendall(b"GET /api")
                patience(self.session.run, sock)
                return sock.recv(4) == b"AMQP"
        except OSError:
            return False

    def get(self, path: str, vhost: str = "") -> Any:
        """Return the JSON of a path below /api/; `vhost` is the one that the path needs a permission for.

        Raises Failed: as http.Session.request does; not-allowed with the statement that grants what is missing;
        unreachable for 5xx; absent for 404; unreadable for any other status and for what is no JSON.
        """
        status, body = self.status(path)
        tried = f"GET /api/{path.partition('?')[0]}"
        if status == 200:
            return body
        reason = str(body.get("reason", "")) if isinstance(body, dict) else ""
        if status in (401, 403):
            raise self._refused(tried, reason, vhost)
        if status >= 500:
            raise Failed(UNREACHABLE, self.of, tried, f"HTTP {status}")
        if status == 404 and isinstance(body, dict):
            raise Failed(ABSENT, self.of, tried, "there is no such thing")
        raise Failed(UNREADABLE, self.of, tried, f"HTTP {status}{' ' if reason else ''}{reason[:100]}")

    def status(self, path: str) -> tuple[int, Any]:
        """Return status and JSON of a path below /api/; of an answer that is no JSON: None, unless it is a 200.

        Raises Failed: as http.Session.request does; unreadable for a 200 that is no JSON.
        """
        import json

        answer = self.session.get(f"/api/{path}", self._headers)
        try:
            return answer.status, json.loads(answer.body)
        except (ValueError, RecursionError):
            if answer.status != 200:
                return answer.status, None
        tried = f"GET /api/{path.partition('?')[0]}"
        raise Failed(UNREADABLE, self.of, tried, f"not JSON: {answer.body[:40]!r}")

    def _refused(self, tried: str, reason: str, vhost: str) -> Failed:
        """Return why it was refused, by the server's own words: wrong password, tag and permission are all 401."""
        if "Not management" in reason or "Not monitor" in reason or "Not administrator" in reason:
            cure = f"`rabbitmqctl set_user_tags {self.user} monitoring`"
            return Failed(NOT_ALLOWED, self.of, tried, f"user {self.user} lacks the tag monitoring", cure)
        if vhost and "virtual host" in reason:
            cure = f"`{permission(self.user, vhost)}`"
            return Failed(NOT_ALLOWED, self.of, tried, f"no permission on vhost {vhost}", cure)
        if "localhost" in reason:
            text = f"user {self.user} may log in on the broker's own host only"
            return Failed(NOT_ALLOWED, self.of, tried, text, f"--user NAME of a user with {right('NAME')}")
        cure = "the right --user, and its password in an --extra-opts file or NEPHOSCOPE_PASSWORD"
        return Failed(NOT_ALLOWED, self.of, tried, f"the log-in of user {self.user} was refused", cure)


def _part(run: Run, seconds: float) -> Run:
    """Return a run that has this much of the time that is left."""
    part = Run(min(run.left(), seconds) + KEPT_BACK, root=run.root, clock=run.clock)
    part.stages = run.stages
    return part


def reach(run: Run, options: Any) -> Api:
    """Return the API of the first host that answers: that of -H, else those of the service files, else this machine.

    Raises Failed: of the last host, when none answers; of a service file that can't be used; as Api.get does.
    """
    from nephoscope.base import http

    brokers: list[Any] = []
    if options.from_service_file:
        from nephoscope.probes import transport_url

        brokers = transport_url.brokers(run, options.from_service_file)
    for broker in brokers:
        if isinstance(broker, Failed):
            raise broker
    user = options.user or next((broker.user for broker in brokers), "guest")
    own = next((broker.password for broker in brokers if broker.user == user), "")
    # A password that is meant for another check's user is not tried with a service's account.
    password = own if brokers and not options.user else options.password or own
    if not password and user == "guest":
        password = user
    if not password:
        cure = "an --extra-opts file or NEPHOSCOPE_PASSWORD"
        raise Failed(NOT_ALLOWED, "", "log in", f"no password of user {user} was given", cure)
    hosts = list(dict.fromkeys(broker.host for broker in brokers)) or ["127.0.0.1"]
    if options.hostname:
        hosts = [options.hostname]
    default = 15671 if options.tls or any(http.trust(options).values()) else PORT
    last = Failed(UNREACHABLE, "", "log in", "no host to ask")
    for at, host in enumerate(hosts):
        rest = len(hosts) - at
        share = run if rest == 1 else _part(run, run.left() / rest)
        session = http.Session(share, http.base_of(options, host, options.port or default), **http.trust(options))
        api = Api(run, session, user, password)
        try:
            api.greet()
        except Failed as failed:
            session.close()
            if failed.kind != UNREACHABLE:
                raise
            last = failed
            continue
        session.run = run
        return api
    raise last


class Node(NamedTuple):
    """A node as the cluster knows it; None is a field that it does not tell. Only `name` and `running` of one that is down.

    memory, limit, disk, disk_limit   bytes; `limit` is the mark at which publishers are blocked
    fds, sockets, processes           used, in % of what there may be; sockets None from 4.0 on, which counts none
    run_queue                         Erlang processes that wait, for each CPU
    uptime                            seconds
    alarms                            "memory", "disk"
    partitions                        nodes that it believes to be on the other side
    links                             nodes that it is connected to
    """

    name: str
    running: bool
    memory: float | None = None
    limit: float | None = None
    disk: float | None = None
    disk_limit: float | None = None
    fds: float | None = None
    sockets: float | None = None
    processes: float | None = None
    run_queue: float | None = None
    uptime: float | None = None
    draining: bool = False
    alarms: tuple[str, ...] = ()
    partitions: tuple[str, ...] | None = None
    links: tuple[str, ...] | None = None
    version: str = ""
    told: bool = True

    @property
    def share(self) -> float | None:
        """Memory in % of the mark."""
        return 100.0 * self.memory / self.limit if self.memory is not None and self.limit else None

    @property
    def margin(self) -> float | None:
        """Free disk, in multiples of the limit at which publishers are blocked."""
        return self.disk / self.disk_limit if self.disk is not None and self.disk_limit else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _share(used: Any, total: Any) -> float | None:
    part, whole = number(used), number(total)
    return 100.0 * part / whole if part is not None and whole else None


def _names(value: Any) -> tuple[str, ...] | None:
    return tuple(str(name) for name in value) if isinstance(value, list) else None


def node(entry: Mapping[str, Any]) -> Node:
    """Return a node from an item of /api/nodes."""
    name, running = str(entry["name"]), entry.get("running") is True
    links = entry.get("cluster_links")
    waiting, cpus = number(entry.get("run_queue")), number(entry.get("processors"))
    uptime = number(entry.get("uptime"))
    applications = entry.get("applications")
    return Node(
        name,
        running,
        number(entry.get("mem_used")),
        number(entry.get("mem_limit")),
        number(entry.get("disk_free")),
        number(entry.get("disk_free_limit")),
        _share(entry.get("fd_used"), entry.get("fd_total")),
        _share(entry.get("sockets_used"), entry.get("sockets_total")),
        _share(entry.get("proc_used"), entry.get("proc_total")),
        waiting / max(cpus or 1.0, 1.0) if waiting is not None else None,
        uptime / 1000.0 if uptime is not None else None,
        entry.get("being_drained") is True,
        tuple(
            what for what, field in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")) if entry.get(field) is True
        ),
        _names(entry.get("partitions")),
        tuple(str(link.get("name")) for link in links) if isinstance(links, list) else None,
        next((str(one.get("version")) for one in applications if one.get("name") == "rabbit"), "")
        if isinstance(applications, list)
        else "",
        "mem_used" in entry and "mem_alarm" in entry,
    )


class View(NamedTuple):
    """What one node says of all: who runs, who is on the other side of a partition."""

    running: frozenset[str]
    partitions: frozenset[str]


class Standing(NamedTuple):
    """A thing that has a state of its own: `kind` is a word that the judge knows, `modes` are those that it concerns."""

    modes: tuple[str, ...]
    of: str
    kind: str
    text: str


class Cluster:
    """What was learnt of the nodes; `kept` is what the next run needs."""

    def __init__(self, of: str) -> None:
        self.of = of
        self.answer: float | None = None  # seconds
        self.version = ""
        self.asked = ""  # the node that was asked
        self.nodes: list[Node] = []
        self.views: dict[str, View | Failed] = {}
        self.wanted_views = False
        self.alarms: list[tuple[str, str]] = []
        self.health: list[Standing] = []
        self.lacking: list[str] = []  # health checks that this release has not
        self.failures: list[Failed] = []
        self.backlog: float | None = None  # events
        self.opened: float | Collecting | None = None  # connections per second
        self.unroutable: float | Collecting | None = None  # messages per second
        self.connections: float | None = None
        self.lost: float | Collecting = COLLECTING  # connections, in % of those of the last run
        self.growth: dict[str, float | Collecting | None] = {}
        self.held: dict[str, float | Collecting | None] = {}
        self.kept: dict[str, Any] = {}

    @property
    def running(self) -> list[Node]:
        """Nodes that run."""
        return [one for one in self.nodes if one.running]

    @property
    def partitioned(self) -> dict[str, list[str]]:
        """For each node that is on the other side of one, those that say so."""
        sides: dict[str, set[str]] = {}
        views = {name: view.partitions for name, view in self.views.items() if isinstance(view, View)}
        for one in self.nodes:
            views.setdefault(one.name, frozenset(one.partitions or ()))
        for name, others in views.items():
            for other in others:
                sides.setdefault(other, set()).add(name)
        return {name: sorted(by) for name, by in sorted(sides.items())}

    @property
    def cut(self) -> set[str]:
        """Nodes that do not run, as the one that was asked believes, and that another view has running."""
        views = [view.running for view in self.views.values() if isinstance(view, View)]
        return {one.name for one in self.nodes if not one.running and any(one.name in running for running in views)}

    def standings(self, expected: tuple[str, ...]) -> Iterator[Standing]:
        """Yield what has a state of its own; `expected` are names of nodes, or their number."""
        yield from self._present(expected)
        for one in self.nodes:
            if one.name in self.cut:
                text = f"runs, but {self.asked} does not see it"
                yield Standing(("nodes", "partitions"), one.name, "partition", text)
            elif not one.running:
                yield Standing(("nodes", "partitions"), one.name, "down", "is not running")
            elif not one.told:
                yield Standing(STATISTICS, one.name, "untold", "runs, but tells no statistics (yet)")
            elif one.draining:
                yield Standing(("nodes",), one.name, "draining", "is in maintenance mode")
            else:
                yield Standing(("nodes",), one.name, "runs", "runs")
        versions = {one.name: one.version for one in self.running if one.version}
        if len(set(versions.values())) > 1:
            text = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
            yield Standing(("nodes",), "", "mixed", f"releases are mixed: {text}")
        alarms = {(one.name, what) for one in self.nodes for what in one.alarms} | set(self.alarms)
        for name, what in sorted(alarms):
            means = (
                "publishers are blocked in the whole cluster" if what != "descriptor" else "it takes no new connections"
            )
            yield Standing(("alarms",), name, "alarm", f"{what} alarm: {means}")
        yield from self._split()
        yield from self.health

    def _present(self, expected: tuple[str, ...]) -> Iterator[Standing]:
        names = {one.name for one in self.nodes}
        short = {name.partition("@")[2] for name in names}
        for word in expected:
            if word.isdecimal():
                runs = len(self.running)
                if runs < int(word):
                    kind = "few" if 2 * runs > int(word) else "too few"
                    yield Standing(("nodes",), "", kind, f"{runs} of {word} nodes run")
            elif word not in names and word not in short:
                yield Standing(("nodes",), word, "missing", "is no node of this cluster")

    def _split(self) -> Iterator[Standing]:
        for name, by in self.partitioned.items():
            yield Standing(("partitions",), name, "partition", f"is partitioned from {', '.join(by)}")
        runs = {one.name for one in self.running}
        for name, view in self.views.items():
            if isinstance(view, Failed):
                if not self.wanted_views:
                    yield Standing(("partitions",), name, "unseen", f"was not asked for its own view: {view.error}")
                continue
            gone = sorted(runs - view.running)
            if gone and name not in self.cut:  # that is told already
                yield Standing(("partitions",), name, "partition", f"does not see {', '.join(gone)}")
        for one in self.running:
            apart = sorted(runs - set(one.links) - {one.name}) if one.links is not None else []
            if apart:
                yield Standing(("partitions",), one.name, "unlinked", f"has no connection to {', '.join(apart)}")

    def numbers(self) -> Iterator[tuple[Any, ...]]:
        """Yield name, value, object, least and most of everything that was measured."""
        yield "answer", self.answer
        yield "nodes", len(self.running)
        yield "partitions", len(self.cut.union(self.partitioned))
        yield "stats_backlog", self.backlog
        yield "connections", self.connections
        yield "connections_lost", self.lost
        yield "opened_rate", self.opened
        yield "unroutable_rate", self.unroutable
        for one in self.running:
            if not one.told:
                continue
            yield "mem", one.memory, one.name, 0, one.limit
            yield "mem_share", one.share, one.name
            yield "mem_growth", self.growth.get(one.name), one.name
            yield "disk_free", one.disk, one.name
            yield "disk_margin", one.margin, one.name
            yield "fds", one.fds, one.name, 0, 100
            if one.sockets is not None:
                yield "sockets", one.sockets, one.name, 0, 100
            yield "processes", one.processes, one.name, 0, 100
            yield "run_queue", self.held.get(one.name), one.name
            yield "uptime", one.uptime, one.name

    def keep(self) -> dict[str, Any]:
        """Return what the next run needs, plain JSON."""
        return self.kept

    @property
    def summary(self) -> str:
        """Say what was looked at."""
        return f"RabbitMQ {self.version}, {len(self.running)} of {len(self.nodes)} nodes run"


def cluster(run: Run, options: Any) -> Cluster:
    """Return what one node tells of the whole cluster, and the other nodes' own views where they can be had.

    Raises Failed: as `reach` and Api.get do; what one question of several lacks stands in `failures`.
    """
    with reach(run, options) as api:
        found = Cluster(api.of)
        started = run.clock.monotonic()
        try:
            overview = api.get(f"overview?columns={OVERVIEW_COLUMNS}")
            found.answer = run.clock.monotonic() - started
            entries = api.get(f"nodes?columns={NODE_COLUMNS}")
        except Failed as failed:
            raise frozen(failed) from None
        try:
            found.nodes = sorted(node(entry) for entry in entries)
            found.version, found.asked = str(overview["rabbitmq_version"]), str(overview["node"])
        except (TypeError, KeyError, AttributeError):
            raise Failed(UNREADABLE, api.of, "GET /api/nodes", "its fields are not those of RabbitMQ") from None
        if not found.nodes:
            raise Failed(UNREADABLE, api.of, "GET /api/nodes", "it lists no node, not even itself")
        modes = options.mode
        if overview.get("disable_stats") is True and set(modes).intersection(STATISTICS):
            text = "the management plug-in keeps no statistics here (management_agent.disable_metrics_collector)"
            found.failures.append(Failed(UNREADABLE, "", "GET /api/overview", text))
        if "alarms" in modes:
            _alarms(api, found)
        if "health" in modes:
            _health(api, found)
            if not found.health and not found.failures and options.mode_given:
                text = f"RabbitMQ {found.version} has no health checks"
                found.failures.append(Failed(ABSENT, api.of, "GET /api/health/checks", text))
        if "partitions" in modes:
            _views(run, api, found, overview, options)
        _history(run, found, overview)
        return found


def frozen(failed: Failed) -> Failed:
    """Return a failure behind the log-in with what it means when it is silence."""
    if failed.kind == UNREACHABLE and failed.error.startswith("no answer"):
        return Failed(UNREACHABLE, failed.of, failed.tried, failed.error, FROZEN)
    return failed


def release(text: str) -> tuple[int, ...]:
    """Return (3, 10, 8) of "3.10.8" and of "3.13.0-rc.2"."""
    parts = []
    for part in text.split(".")[:3]:
        digits = part.partition("-")[0].partition("+")[0]
        if not digits.isdigit():
            break
        parts.append(int(digits))
    return tuple(parts)


def _check(api: Api, path: str) -> dict[str, Any] | None:
    """Return {} of a health check that is content, its body when it is not, None where this release lacks it.

    Raises Failed: as Api.get does, and for a 503 that is not the check's own (a proxy's).
    """
    tried = f"GET /api/health/checks/{path}"
    status, body = api.status(f"health/checks/{path}")
    if status == 404:
        return None
    if status == 200 and isinstance(body, dict) and body.get("status") == "ok":
        return {}
    if status == 503 and isinstance(body, dict) and body.get("status") == "failed":
        return body
    if status >= 500:
        raise Failed(UNREACHABLE, api.of, tried, f"HTTP {status}")
    if status in (401, 403):
        raise Failed(NOT_ALLOWED, api.of, tried, f"HTTP {status}", right(api.user))
    raise Failed(UNREADABLE, api.of, tried, f"HTTP {status} and neither ok nor failed")


def _alarms(api: Api, found: Cluster) -> None:
    """Ask for alarms themselves: the nodes' statistics are seconds behind."""
    try:
        body = _check(api, "alarms")
    except Failed as failed:
        found.failures.append(failed)
        return
    if body is None:
        found.lacking.append("alarms")
    for alarm in (body or {}).get("alarms") or ([{}] if body else []):
        what = str(alarm.get("resource", "an"))
        found.alarms.append((str(alarm.get("node", "")), RESOURCES.get(what, what)))


def _health(api: Api, found: Cluster) -> None:
    """Ask the health checks that this release has; the certificates by the number of days that are left to them."""
    now = release(found.version)
    for path, (first, gone, kind) in HEALTH.items():
        name = path.partition("/all-vhosts")[0]
        if now and not first <= now < gone:
            found.lacking.append(name)
            continue
        try:
            body = _check(api, path)
        except Failed as failed:
            found.failures.append(failed)
            if failed.kind in (UNREACHABLE, LATE):
                return  # who does not answer one does not answer the next
            continue
        if body is None:
            found.lacking.append(name)
        elif body:
            text = f"{str(body.get('reason', 'failed'))[:160]}{_named(body)}"
            found.health.append(Standing(("health",), name, kind, text))
        else:
            found.health.append(Standing(("health",), name, "runs", "is well"))
    for days, kind in CERTIFICATE_DAYS:
        try:
            body = _check(api, f"certificate-expiration/{days}/days")
        except Failed as failed:
            found.failures.append(failed)
            return
        if body is None:
            found.lacking.append("certificate-expiration")
            return
        if body:
            ports = ", ".join(
                sorted({f"{one.get('protocol')} port {one.get('port')}" for one in body.get("expired") or ()})
            )
            text = f"expires within {days} days{': ' if ports else ''}{ports}"
            found.health.append(Standing(("health",), "certificate", kind, text))
            return
    found.health.append(Standing(("health",), "certificate", "runs", "none expires within 30 days"))


def _named(body: Mapping[str, Any]) -> str:
    """Return ": a, b and 3 more" of the queues or virtual hosts that a health check names."""
    things = body.get("queues") or body.get("virtual-hosts") or ()
    names = [str(one.get("readable_name") or one.get("name")) if isinstance(one, dict) else str(one) for one in things]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f": {', '.join(names[:3])}{more}" if names else ""


def _views(run: Run, api: Api, found: Cluster, overview: Mapping[str, Any], options: Any) -> None:
    """Ask the other nodes for their own view: at the addresses that were given, else by name, on the port they listen on."""
    from urllib.parse import urlsplit

    from nephoscope.base import http

    session = api.session
    scheme = session.base.partition(":")[0]
    places: dict[str, str] = {}
    if options.views:
        found.wanted_views = True
        for word in options.views:
            if word == "none":
                continue
            try:
                parts = urlsplit(f"//{word}")
                host, port = parts.hostname, parts.port or urlsplit(session.base).port
            except ValueError:
                host = port = None
            if host and port:
                places[word] = http.base_of(options, host, port)
            else:
                found.failures.append(Failed(UNREADABLE, word, "", "is no HOST or HOST:PORT"))
    else:
        for listener in overview.get("listeners") or ():
            name, listens = str(listener.get("node")), number(listener.get("port"))
            if listener.get("protocol") == scheme and listens:
                places[name] = f"{scheme}://{name.partition('@')[2]}:{listens:.0f}"
        # One that does not run has no listener any more. If it is only cut off, it may answer where others listen.
        own = urlsplit(places.pop(found.asked, session.base)).port
        for one in found.nodes:
            if not one.running and one.name != found.asked:
                places[one.name] = f"{scheme}://{one.name.partition('@')[2]}:{own}"
    started, most = run.clock.monotonic(), run.left() if found.wanted_views else min(VIEWS, run.left() / 2)
    for at, (name, base) in enumerate(places.items()):
        # A firewall that drops what is sent to them must not cost the others their turn, nor the run its answer.
        left = (most - (run.clock.monotonic() - started)) / (len(places) - at)
        view = _view(_part(run, max(0.05, left)), api, base, options)
        if not options.views and isinstance(view, View) and name not in view.running:
            view = Failed(UNREADABLE, name, "GET /api/nodes", "another node answered")
        found.views[name] = view
    if found.wanted_views:
        found.failures += [view for view in found.views.values() if isinstance(view, Failed)]


def _view(run: Run, api: Api, base: str, options: Any) -> View | Failed:
    from nephoscope.base import http

    try:
        with http.Session(run, base, **http.trust(options)) as session:
            other = Api(run, session, api.user, "")
            other._headers = api._headers
            entries = [node(entry) for entry in other.get("nodes?columns=name,running,partitions")]
    except Failed as failed:
        return failed
    except (TypeError, KeyError, AttributeError):
        return Failed(UNREADABLE, base, "GET /api/nodes", "its fields are not those of RabbitMQ")
    me = [one for one in entries if one.running]
    sides = {other for one in me for other in one.partitions or ()}
    return View(frozenset(one.name for one in me), frozenset(sides))


def _history(run: Run, found: Cluster, overview: Mapping[str, Any]) -> None:
    """Set what takes earlier runs: rates of the whole cluster, growth of each node; a node that was restarted begins anew."""
    before: dict[str, Any] = run.before if isinstance(run.before, dict) else {}
    stats, churn = overview.get("message_stats") or {}, overview.get("churn_rates") or {}
    totals = overview.get("object_totals") or {}
    found.backlog = number(overview.get("statistics_db_event_queue"))
    found.connections = number(totals.get("connections"))
    counters = {}
    unroutable = [number(stats.get(name)) for name in ("return_unroutable", "drop_unroutable")]
    # A broker that never had a message has no message_stats at all: nothing was unroutable.
    counters["unroutable"] = sum(value or 0.0 for value in unroutable)
    # So is a broker that never had a connection, whose churn is told and empty.
    opened = number(churn.get("connection_created", None if churn or "churn_rates" not in overview else 0))
    if opened is not None:
        counters["opened"] = opened
    ups = _dict(before.get("uptime"))
    started = {one.name for one in found.running if (one.uptime or 0.0) < (number(ups.get(one.name)) or 0.0)}
    known = {one.name for one in found.running if one.uptime is not None}
    # The counters are sums over all nodes that run: one that was restarted, went or came back makes them begin anew.
    same = not started and known == set(ups)
    history = samples.take(run, counters, before=(before.get("samples") or []) if same else [])
    found.unroutable = history.rate("unroutable")
    found.opened = history.rate("opened") if opened is not None else None
    earlier = number(before.get("connections"))
    if found.connections is not None and earlier is not None:
        found.lost = 100.0 * max(0.0, earlier - found.connections) / earlier if earlier >= LOST_LEAST else 0.0
    rings, queues = _dict(before.get("memory")), _dict(before.get("run_queue"))
    memory: dict[str, list[list[float]]] = {}
    now = run.clock.time()
    for one in found.running:
        if one.memory is None or one.uptime is None:
            continue
        ring = [] if one.name in started else older(rings.get(one.name), now, GROWTH_SPAN)
        found.growth[one.name] = _growth(ring, now, one.memory, one.limit)
        memory[one.name] = thinned([*ring, [round(now, 1), one.memory]])
        last = number(queues.get(one.name))
        if one.run_queue is not None:
            found.held[one.name] = COLLECTING if last is None else min(last, one.run_queue)
    found.kept = {
        "samples": history.keep(),
        "connections": found.connections,
        "memory": memory,
        "uptime": {one.name: one.uptime for one in found.running if one.uptime is not None},
        "run_queue": {one.name: one.run_queue for one in found.running if one.run_queue is not None},
    }


def older(ring: Any, now: float, span: float) -> list[list[float]]:
    """Return the kept [time, value], oldest first; of those from before the span (seconds) the last one only."""
    pairs = [
        [float(pair[0]), float(pair[1])]
        for pair in (ring if isinstance(ring, list) else ())
        if isinstance(pair, list) and len(pair) == 2 and None not in map(number, pair) and pair[0] < now
    ]
    while len(pairs) > 1 and now - pairs[1][0] >= span:
        del pairs[0]
    return pairs


def _growth(older: list[list[float]], now: float, memory: float, limit: float | None) -> float | Collecting:
    """Return by how much memory grew, in % an hour, of what it was or of a fifth of the mark where that is more."""
    if not older or now - older[0][0] < GROWTH_LEAST:
        return COLLECTING
    at, was = older[0]
    floor = max(was, GROWTH_FLOOR * (limit or 0.0), 1.0)
    return 100.0 * (memory - was) / floor * GROWTH_SPAN / (now - at)


def thinned(pairs: list[list[float]], most: int = 16) -> list[list[float]]:
    """Return at most so many samples; first and last stay, the others go where they stand closest."""
    pairs = list(pairs)
    while len(pairs) > most:
        gaps = [(pairs[at + 1][0] - pairs[at - 1][0], at) for at in range(1, len(pairs) - 1)]
        del pairs[min(gaps)[1]]
    return pairs


def part(text: str) -> str:
    """Return a name as a part of a path or a query: the virtual host "/" is %2F."""
    from urllib.parse import quote

    return quote(text, safe="")
