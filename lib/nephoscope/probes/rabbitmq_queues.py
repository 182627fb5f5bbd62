# SPDX-License-Identifier: Apache-2.0
"""The queues of a RabbitMQ cluster, page by page: what each holds, who consumes it, where its replicas are.

Sources: rabbitmq_management's API page (paging, columns) and rabbit_mgmt_format.erl (states, idle_since) of the tags named in
rabbitmq.py; oslo.messaging 18.3's amqpdriver.py and impl_rabbit.py (reply_<32 hex>, <topic>_fanout_<32 hex>; with
use_queue_manager host, process and counter, colons between them, in the place of the digits; a fan-out may be a stream).

A broker may have 100,000 queues: a page is folded into sums and into the worst of each kind, and let go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase, translate
from heapq import heappush, heapreplace
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import rabbitmq
from nephoscope.probes.rabbitmq import Api, Standing, number

PAGE = 500  # queues of one answer: the most that the API gives
SHOWN = 100  # queues of each kind of trouble that are told by name
NAMED = 2000  # queues that patterns of limits may name
KEPT = 1000  # queues of which something is remembered between runs
RISES = 3  # runs in a row in which a queue that is called growing held more than before
GROWN = 100  # messages that it holds at least
NET = 0.2  # of what is published stays
APART = 30.0  # seconds between two samples of a queue
AHEAD = 21600.0  # seconds that a forecast looks ahead
ORPHANED = 3600.0  # seconds without consumer and use
ASKED = 100  # virtual hosts that are asked one by one whether they are hidden
COLUMNS = (
    "vhost,name,type,state,messages,messages_ready,messages_unacknowledged,message_bytes,memory,consumers,idle_since,"
    "head_message_timestamp,members,online,leader,slave_nodes,synchronised_slave_nodes,message_stats.publish,message_stats.ack"
)
TRANSIENT = re.compile(r"reply_(?:[0-9a-f]{32}|.+:.+:\d+)|.+_fanout(?:_(?:[0-9a-f]{32}|.+:.+:\d+))?")
"""Queues of one process: they come and go with it."""
NOTIFICATIONS = re.compile(r".*notifications.*\.(?:audit|debug|info|warn|error|critical|sample)")
SERVICES = (
    *("conductor*", "scheduler*", "compute*", "console", "consoleauth*"),  # nova
    *(
        "q-plugin*",
        "q-reports-plugin*",
        "q-l3-plugin*",
        "q-server-resource-versions*",
        "dhcp_agent*",
        "l3_agent*",
    ),  # neutron
    *("cinder-scheduler*", "cinder-volume*", "cinder-backup*", "manila-*", "engine*", "heat-engine-listener*"),
    *("ironic.conductor_manager*", "magnum-conductor*", "octavia_provisioning*", "trove-conductor*", "sahara-*"),
)
"""Topics of OpenStack's services: who publishes to them waits for an answer."""
TIME = re.compile(r"(\d+)-(\d+)-(\d+)[ T](\d+):(\d+):(\d+)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))?")
"""3.8 writes the hour without a zero before it, which datetime does not read."""
ADVICE = (
    "notifications that nobody reads: driver = noop, notification_format = unversioned, or a policy with message-ttl"
)
RUNS = ("running", "idle", "live")
PASSING = ("syncing", "recovering")
BROKEN = ("crashed", "down", "stopped", "terminated", "minority")


class Queue(NamedTuple):
    """A queue. None is what the broker does not tell (yet), which is not 0.

    name     as it is called, with "vhost/" before it in any virtual host but "/"
    kind     "service", "notifications", "transient" or "other"
    size     bytes of one message, the mean of those that it holds
    age      seconds since the time stamp of its first message, where publishers set one
    idle     seconds without use; quorum queues do not tell it, nor does one that is in use
    """

    name: str
    kind: str
    type: str
    state: str
    messages: float | None
    ready: float
    unacked: float
    consumers: float | None
    size: float | None
    memory: float
    age: float | None
    idle: float | None
    members: tuple[str, ...]
    online: tuple[str, ...] | None
    leader: str | None
    mirrors: tuple[str, ...]
    synced: tuple[str, ...]
    publish: float | None
    ack: float | None

    @property
    def stream(self) -> bool:
        """Whether it is a log that keeps what was read: its length is no backlog."""
        return self.type == "stream"

    @property
    def bare(self) -> bool:
        """Whether it is no more than a connection's mailbox (MQTT with QoS 0), which tells neither messages nor consumers."""
        return "mqtt" in self.type.lower()

    @property
    def unconsumed(self) -> bool:
        """Whether it holds messages and nobody takes them."""
        return self.consumers == 0 and bool(self.messages) and not self.stream and self.kind != "transient"


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _idle(text: Any, now: float) -> float:
    """Return seconds since "2019-11-21 12:00:00" (UTC, 3.8) or since ISO 8601 with an offset (later releases)."""
    match = TIME.match(str(text))
    if match is None:
        return 0.0
    from calendar import timegm

    offset = 60 * (60 * int(match[8] or 0) + int(match[9] or 0)) * (-1 if match[7] == "-" else 1)
    return max(0.0, now - (timegm((*(int(match[at]) for at in range(1, 7)), 0, 0, 0)) - offset))


def topics(globs: Iterable[str]) -> re.Pattern[str]:
    """Return the patterns of services' topics as one."""
    return re.compile("|".join(translate(glob) for glob in globs))


def queue(entry: dict[str, Any], services: re.Pattern[str], now: float) -> Queue:
    """Return a queue from an item of /api/queues. Raises KeyError, TypeError, AttributeError for what is none."""
    short, vhost = str(entry["name"]), str(entry["vhost"])
    if TRANSIENT.fullmatch(short):
        kind = "transient"
    elif NOTIFICATIONS.fullmatch(short):
        kind = "notifications"
    else:
        kind = "service" if services.match(short) else "other"
    messages, consumers = number(entry.get("messages")), number(entry.get("consumers"))
    size, stamp, stats = (
        number(entry.get("message_bytes")),
        number(entry.get("head_message_timestamp")),
        entry.get("message_stats"),
    )
    stats = stats if isinstance(stats, dict) else {}
    leader, online = entry.get("leader"), entry.get("online")
    idle = entry.get("idle_since") if kind == "transient" and consumers == 0 else None
    return Queue(
        short if vhost == "/" else f"{vhost}/{short}",
        kind,
        str(entry.get("type") or "classic"),
        str(entry.get("state") or ""),
        messages,
        number(entry.get("messages_ready")) or 0.0,
        number(entry.get("messages_unacknowledged")) or 0.0,
        consumers,
        size / messages if size and messages else None,
        number(entry.get("memory")) or 0.0,
        max(0.0, now - stamp) if stamp else None,
        _idle(idle, now) if idle else None,
        _strings(entry.get("members")),
        _strings(online) if isinstance(online, list) else None,
        None if leader is None else str(leader),
        _strings(entry.get("slave_nodes")),
        _strings(entry.get("synchronised_slave_nodes")),
        number(stats.get("publish")),
        number(stats.get("ack")),
    )


class Top:
    """The queues with the highest values, at most so many."""

    def __init__(self, most: int = SHOWN) -> None:
        self.most = most
        self._heap: list[tuple[float, int, Queue]] = []
        self._serial = 0

    def add(self, value: float, one: Queue) -> None:
        """Take a queue, unless enough are worse."""
        self._serial += 1
        entry = (value, -self._serial, one)
        if len(self._heap) < self.most:
            heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapreplace(self._heap, entry)

    def __iter__(self) -> Iterator[tuple[float, Queue]]:
        """Yield value and queue, the highest first."""
        for value, _, one in sorted(self._heap, reverse=True):
            yield value, one


class Queues:
    """What was learnt of all queues together, and of those that stand out."""

    def __init__(self, of: str, now: float, before: Any) -> None:
        self.of, self.now = of, now
        self.before: dict[str, Any] = before if isinstance(before, dict) else {}
        self.failures: list[Failed] = []
        self.looked = 0
        self.listed = 0  # by the broker's own count of what it may show
        self.kinds: dict[str, int] = {}
        self.total = 0.0  # messages, but for notifications and streams
        self.orphans = 0
        self.unconsumed = 0
        self.whole = True  # every queue was looked at
        self.mark: float | None = None  # bytes of memory at which a node blocks publishers, the lowest
        self.tops: dict[str, Top] = {}
        self.named: dict[str, Queue] = {}
        self.troubles: list[Standing] = []
        self.untold: dict[tuple[str, str], int] = {}  # mode and kind -> troubles beyond those that are told
        self.found: dict[str, float] = {}  # expected glob -> consumers of the queues that match it
        self.vague: set[str] = set()  # expected globs with a queue that does not tell its consumers (yet)
        self.shown: set[str] = set()  # virtual hosts of which a queue was listed
        self.forlorn = 0  # queues of processes, without consumer, that do not tell for how long
        self._since: dict[str, Top] = {}
        self._depth = Top(KEPT)

    def take(self, one: Queue, globs: Iterable[str], expected: Iterable[str]) -> None:
        """Fold a queue in. globs: patterns of limits, which name it; expected: patterns of what must exist."""
        self.looked += 1
        self.kinds[one.kind] = self.kinds.get(one.kind, 0) + 1
        for glob in expected:
            if fnmatchcase(one.name, glob):
                self.found[glob] = self.found.get(glob, 0.0) + (one.consumers or 0.0)
                if one.consumers is None:
                    self.vague.add(glob)
        self._state(one)
        if one.messages is None or one.consumers is None:
            if one.state not in BROKEN and not one.bare:
                self._hold("blank", one)
            return
        if one.kind == "transient" and one.consumers == 0 and not one.stream:
            self.forlorn += one.idle is None
            self.orphans += one.idle is not None and one.idle >= ORPHANED
        if not one.stream:
            self._fold(one)
        for glob in globs:
            if fnmatchcase(one.name, glob) and len(self.named) <= NAMED:
                self.named[one.name] = one

    def _fold(self, one: Queue) -> None:
        if one.kind != "notifications":
            self.total += one.messages or 0.0
        if one.messages:
            self._top("messages", one.messages, one)
            self._depth.add(one.messages, one)
            if one.kind == "notifications":
                self._top("notifications", one.messages, one)
        if one.unacked:
            self._top("unacked", one.unacked, one)
            self._hold("stuck", one)
        if one.size:
            self._top("bytes", one.size, one)
        if one.age is not None and one.messages:
            self._top("age", one.age, one)
        if one.kind == "service":
            self._top("backlog", one.ready, one)
            self._top("consumers", -(one.consumers or 0.0), one)
        if one.unconsumed:
            self.unconsumed += 1
            self._hold("unconsumed", one)
        if one.state == "flow":
            self._hold("flow", one)

    def _top(self, name: str, value: float, one: Queue) -> None:
        self.tops.setdefault(name, Top()).add(value, one)

    def _hold(self, name: str, one: Queue) -> None:
        """Note a queue whose condition matters when it lasts."""
        self._since.setdefault(name, Top(KEPT)).add(one.messages or 0.0, one)

    def _trouble(self, mode: str, of: str, kind: str, text: str) -> None:
        # A hundred of each kind: what is worse must not be lost behind what came first.
        count = self.untold.get((mode, kind), -SHOWN) + 1
        self.untold[mode, kind] = count
        if count <= 0:
            self.troubles.append(Standing((mode,), of, kind, text))

    def _state(self, one: Queue) -> None:
        """Note what is wrong with a queue's state and replicas."""
        if one.state in BROKEN:
            self._trouble("replicas", one.name, "down", f"is {one.state}")
        elif one.state in PASSING:
            self._trouble("replicas", one.name, "passing", f"is {one.state}")
        elif one.state and one.state != "flow" and one.state not in RUNS:
            self._trouble("replicas", one.name, "unknown", f"is in a state that is not understood: {one.state[:40]}")
        if one.members and one.online is not None:
            gone = [name for name in one.members if name not in one.online]
            if 2 * (len(one.members) - len(gone)) <= len(one.members) and gone:
                self._trouble("replicas", one.name, "down", f"has lost its majority: {', '.join(gone)} offline")
            elif not one.leader or one.leader in gone:
                self._trouble("replicas", one.name, "down", "has no leader")
            elif gone:
                self._trouble("replicas", one.name, "lessened", f"lacks a member: {', '.join(gone)} offline")
        behind = [name for name in one.mirrors if name not in one.synced]
        if behind:
            self._trouble("replicas", one.name, "lessened", f"has a mirror that is not in step: {', '.join(behind)}")

    def held(self, name: str, same: Callable[[Queue, list[Any]], bool] | None = None) -> Iterator[tuple[float, Queue]]:
        """Yield for how many seconds queues have been in a condition, by earlier runs, and the queues, the longest first.

        same: whether a queue is still as it was noted (by `keep`), for conditions that are a standstill.
        """
        known = self.before.get(name)
        known = known if isinstance(known, dict) else {}
        found = []
        for _, one in self._since.get(name, Top()):
            noted = known.get(one.name)
            since = number(noted[0]) if isinstance(noted, list) and noted else None
            if since is None or since > self.now or (same is not None and not same(one, noted or [])):
                since = self.now
            found.append((self.now - since, one))
        return iter(sorted(found, key=lambda pair: -pair[0]))

    @staticmethod
    def _standstill(one: Queue, noted: list[Any]) -> bool:
        """Whether a queue's unacknowledged messages have not fallen, and none was acknowledged."""
        before, acks = (number(value) for value in [*noted, None, None][1:3])
        return before is not None and one.unacked >= before and (one.ack or 0.0) == (acks or 0.0)

    def growing(self) -> Iterator[tuple[float, Queue]]:
        """Yield messages per second that stay in each queue that grew in every one of the last runs, and the queue."""
        for _, one in self._depth:
            ring = self._ring(one)
            depths = [pair[1] for pair in ring[-RISES:]] + [one.messages or 0.0]
            if len(depths) <= RISES or depths[-1] < GROWN or any(b <= a for a, b in zip(depths, depths[1:])):
                continue
            at, was, published = ring[-RISES]
            net = (depths[-1] - was) / (self.now - at)
            inflow = ((one.publish or 0.0) - published) / (self.now - at)
            if inflow >= 0 and net > NET * inflow:  # else its statistics began anew meanwhile
                yield net, one

    def _ring(self, one: Queue) -> list[list[float]]:
        """Return the kept [time, messages, published] of a queue, oldest first."""
        depth = self.before.get("depth")
        kept = depth.get(one.name) if isinstance(depth, dict) else None
        return [
            [float(value) for value in entry]
            for entry in (kept if isinstance(kept, list) else ())
            if isinstance(entry, list) and len(entry) == 3 and None not in map(number, entry) and entry[0] < self.now
        ]

    def _forlorn(self) -> list[list[float]]:
        """Return the [time, number] of queues of processes without consumer, over an hour and now; [] for less than that.

        They don't tell since when, and are too many to be remembered one by one: so many at least have lasted.
        """
        kept = rabbitmq.older(self.before.get("forlorn"), self.now, ORPHANED)
        return [*kept, [self.now, self.forlorn]] if kept and self.now - kept[0][0] >= ORPHANED else []

    def numbers(self) -> Iterator[tuple[Any, ...]]:
        """Yield name, value, object, least, most and detail of everything that was measured."""
        yield "queues", self.looked
        yield "total", self.total
        yield "unconsumed", self.unconsumed
        yield "orphans", self.orphans + min((count for _, count in self._forlorn()), default=0)
        for name, values in self._measures():
            empty = True
            for value, one, detail in values:
                empty = False
                yield name, value, one.name, None, None, detail
            # While no queue is so, the number stands in its place all the same. That no service has a topic is no number.
            if empty and name != "consumers" and name != "age":
                yield name, 0.0

    def _measures(self) -> Iterator[tuple[str, list[tuple[float, Queue, str]]]]:
        named = [one for one in self.named.values() if not one.stream]

        def measure(name: str, of: Callable[[Queue], float | None], only: str = "") -> list[tuple[float, Queue, str]]:
            chosen = {one.name: one for _, one in self.tops.get(name, ())}
            chosen.update((one.name, one) for one in named)
            values = [(of(one), one) for one in chosen.values() if not only or one.kind == only]
            return [(value, one, "") for value, one in values if value is not None]

        yield "messages", measure("messages", lambda one: one.messages)
        yield (
            "notifications",
            [
                (value, one, ADVICE)
                for value, one, _ in measure("notifications", lambda one: one.messages, "notifications")
            ],
        )
        yield "backlog", measure("backlog", lambda one: one.ready, "service")
        yield "unacked", measure("unacked", lambda one: one.unacked)
        yield "bytes", measure("bytes", lambda one: one.size)
        yield "age", measure("age", lambda one: one.age)
        yield "consumers", measure("consumers", lambda one: one.consumers, "service")
        held = list(self.held("unconsumed"))
        advice = {
            one.name: ADVICE if one.kind == "notifications" else f"{one.messages:.0f} messages" for _, one in held
        }

        def worst(pairs: Iterable[tuple[float, Queue]]) -> list[tuple[float, Queue]]:
            ordered = sorted(pairs, key=lambda pair: -pair[0])
            return [pair for at, pair in enumerate(ordered) if at < SHOWN or pair[1].name in self.named]

        yield "unconsumed_age", [(value, one, advice[one.name]) for value, one in worst(held)]
        pairs = worst((one.messages or 0.0, one) for _, one in held)
        yield "unconsumed_messages", [(value, one, advice[one.name]) for value, one in pairs]
        if self.mark:
            shares = worst((100.0 * one.memory / self.mark, one) for _, one in held)
            yield "unconsumed_memory", [(value, one, "") for value, one in shares]
        yield "flow_age", [(value, one, "") for value, one in worst(self.held("flow"))]
        yield "unacked_age", [(value, one, "") for value, one in worst(self.held("stuck", self._standstill))]
        grow = worst(self.growing())
        yield "growth_rate", [(rate, one, "") for rate, one in grow]
        yield "forecast", [((one.messages or 0.0) + rate * AHEAD, one, "") for rate, one in grow]

    def standings(self, expected: Iterable[tuple[str, int]]) -> Iterator[Standing]:
        """Yield what has a state of its own; `expected` are patterns of queues that must exist, with so many consumers."""
        for glob, least in expected:
            if glob not in self.found:
                kind, text = (
                    ("missing", "does not exist")
                    if self.whole
                    else ("unknown", "is not among those that were looked at")
                )
                yield Standing(("consumers",), glob, kind, text)
            elif self.found[glob] < least and glob in self.vague:
                yield Standing(("consumers",), glob, "unknown", "tells no consumers (yet)")
            elif self.found[glob] < least:
                yield Standing(("consumers",), glob, "missing", f"has {self.found[glob]:.0f} consumers, not {least}")
            else:
                yield Standing(("consumers",), glob, "runs", "exists")
        yield from self.troubles
        for (mode, kind), count in self.untold.items():
            if count > 0:
                yield Standing((mode,), "", kind, f"{count} more queues are not well")
        for seconds, one in self.held("blank"):
            if seconds > 0:
                yield Standing(("replicas",), one.name, "unknown", f"has told no statistics for {seconds / 60:.0f} min")

    def keep(self) -> dict[str, Any]:
        """Return what the next run needs, plain JSON: since when, and the last depths of the fullest queues."""
        kept: dict[str, Any] = {}
        for name in self._since:
            same = self._standstill if name == "stuck" else None
            held = list(self.held(name, same))
            kept[name] = {
                one.name: [round(self.now - seconds, 1), one.unacked, one.ack]
                if name == "stuck"
                else [round(self.now - seconds, 1)]
                for seconds, one in held
            }
        depth = {}
        for _, one in self._depth:
            ring = self._ring(one)
            if not ring or self.now - ring[-1][0] >= APART:
                ring = [*ring, [round(self.now, 1), one.messages or 0.0, one.publish or 0.0]]
            depth[one.name] = ring[-RISES:]
        forlorn = rabbitmq.older(self.before.get("forlorn"), self.now, ORPHANED)
        kept["forlorn"] = rabbitmq.thinned([*forlorn, [round(self.now, 1), float(self.forlorn)]])
        return {**kept, "depth": depth}

    @property
    def summary(self) -> str:
        """Say what was looked at."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()) if kind != "other")
        return f"{self.looked} queues{f' ({kinds})' if kinds else ''}, {self.total:.0f} messages"


def globs_of(limits: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns of `NAME/GLOB=RANGE`: the queues that they name are told one by one."""
    found = (limit.rpartition("=")[0].partition("/")[2] for limit in limits)
    return tuple(dict.fromkeys(glob for glob in found if glob))


def survey(run: Run, options: Any) -> Queues:
    """Return what the queues look like that this user may see; what may not be seen is a Failed, never an empty list.

    Raises Failed: as rabbitmq.reach and Api.get do; absent when there is no queue at all.
    """
    with rabbitmq.reach(run, options) as api:
        try:
            return _survey(run, api, options)
        except Failed as failed:
            raise rabbitmq.frozen(failed) from None


def _survey(run: Run, api: Api, options: Any) -> Queues:
    found = Queues(api.of, run.clock.time(), run.before)
    overview = api.get("overview?columns=object_totals.queues,disable_stats")
    if not isinstance(overview, dict):
        raise Failed(UNREADABLE, api.of, "GET /api/overview", "its fields are not those of RabbitMQ")
    if overview.get("disable_stats") is True:
        text = "the management plug-in keeps no statistics here (management_agent.disable_metrics_collector)"
        found.failures.append(Failed(UNREADABLE, "", "GET /api/overview", text))
    _mark(api, found)
    globs = globs_of((*(options.warning or ()), *(options.critical or ())))
    expected = [glob for glob, _ in options.expect or ()]
    services = topics(options.service or SERVICES)
    for vhost in options.vhost or ("",):
        try:
            for one in _list(run, api, found, vhost, options.matching, services):
                if run.wants(one.name):
                    found.take(one, globs, expected)
        except Failed as failed:
            found.whole = False
            if failed.kind == ABSENT:
                failed = Failed(ABSENT, api.of, failed.tried, f"there is no vhost {vhost}")
            found.failures.append(rabbitmq.frozen(failed))
    if len(found.named) > NAMED:
        text = f"more than {NAMED} queues match the patterns of -w and -c: narrow them"
        found.failures.append(Failed(UNREADABLE, api.of, "", text))
    if found.whole and not options.vhost:
        hidden = _guard(api, found, number((overview.get("object_totals") or {}).get("queues")))
        found.failures += hidden
        found.whole = not hidden
    found.whole = found.whole and not options.matching
    if not found.looked and not found.failures and not run.left_out:
        raise Failed(ABSENT, api.of, "GET /api/queues", "no queue" + (" matches" if options.matching else " here"))
    return found


def _mark(api: Api, found: Queues) -> None:
    """Set the memory at which the first node blocks publishers; a share of it is all that it is needed for."""
    nodes = api.get("nodes?columns=mem_limit")
    limits = [number(one.get("mem_limit")) for one in nodes if isinstance(one, dict)] if isinstance(nodes, list) else []
    found.mark = min((limit for limit in limits if limit), default=None)


def _list(run: Run, api: Api, found: Queues, vhost: str, matching: str, services: re.Pattern[str]) -> Iterator[Queue]:
    """Yield the queues of a virtual host ("": of all), a page at a time, as far as the time goes."""
    path = f"queues/{rabbitmq.part(vhost)}" if vhost else "queues"
    query = f"page_size={PAGE}&columns={COLUMNS}" + (
        f"&name={rabbitmq.part(matching)}&use_regex=true" if matching else ""
    )
    page, pages, slowest = 1, 1, 0.0
    total, done = 0, 0
    while page <= pages:
        if page > 1 and run.left() < 2 * slowest + 0.3:
            text = (
                f"{done} of {total} queues were looked at in the time: narrow it by --vhost or --matching, or raise -t"
            )
            raise Failed(LATE, found.of, f"GET /api/{path}", text)
        started = run.clock.monotonic()
        status, body = api.status(f"{path}?page={page}&{query}")
        if status == 400 and page > 1:  # "page_out_of_range": queues went away meanwhile
            return
        if status != 200:
            raise _refusal(api, path, status, body, vhost)
        slowest = max(slowest, run.clock.monotonic() - started)
        try:
            pages, total, entries = int(body["page_count"]), int(body["filtered_count"]), body["items"]
            if page == 1:
                found.listed += int(body["total_count"])
            done += len(entries)
            for entry in entries:
                one = queue(entry, services, found.now)
                found.shown.add(str(entry["vhost"]))
                yield one
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Failed(UNREADABLE, api.of, f"GET /api/{path}", "its fields are not those of RabbitMQ") from None
        page += 1


def _refusal(api: Api, path: str, status: int, body: Any, vhost: str) -> Failed:
    try:
        api.get(f"{path}?page=1&page_size=1&columns=name", vhost)
    except Failed as failed:
        return failed
    reason = str(body.get("reason", ""))[:100] if isinstance(body, dict) else ""
    return Failed(UNREADABLE, api.of, f"GET /api/{path}", f"HTTP {status} {reason}".rstrip())


def _guard(api: Api, found: Queues, counted: float | None) -> list[Failed]:
    """Return a Failed when the broker has more queues than it lists: those of a virtual host without permission it hides."""
    if counted is None:
        text = "it does not count its queues: whether some are hidden can't be told"
        return [Failed(UNREADABLE, api.of, "GET /api/overview", text)]
    if found.listed >= counted:
        return []
    try:
        names = [str(entry.get("name")) for entry in api.get("vhosts?columns=name")]
        dark = [name for name in names if name not in found.shown]
        refused = _hidden(api, dark[:ASKED])
        if refused:
            return refused
        # Who was asked may be seen: queues came or went between the two questions. Ask again before saying anything.
        overview = api.get("overview?columns=object_totals.queues")
        again = number((overview.get("object_totals") or {}).get("queues")) or 0.0
        listed = number(api.get("queues?page=1&page_size=1&columns=name").get("total_count")) or 0.0
    except Failed as failed:  # what was learnt of the queues stands
        return [rabbitmq.frozen(failed)]
    if listed >= again or (listed >= 0.8 * again and len(dark) <= ASKED):
        return []
    text = f"{listed:.0f} of {again:.0f} queues are shown to user {api.user}"
    return [Failed(NOT_ALLOWED, found.of, "GET /api/queues", text, rabbitmq.right(api.user))]


def _hidden(api: Api, vhosts: Iterable[str]) -> list[Failed]:
    """Return a Failed for each of these virtual hosts that refuses to list its queues."""
    refused = []
    for name in vhosts:
        try:
            api.get(f"queues/{rabbitmq.part(name)}?page=1&page_size=1&columns=name", name)
        except Failed as failed:
            if failed.kind in (UNREACHABLE, LATE):
                raise
            if failed.kind == NOT_ALLOWED:
                refused.append(failed)
    return refused
