# SPDX-License-Identifier: Apache-2.0
"""What a node of a Galera cluster says of itself and of its cluster, and whether it serves real tables.

Sources: the status and system variables of Galera (galeracluster.com/library/documentation/galera-status-variables.html,
mysql-wsrep-options.html; mariadb.com/kb, "Galera Cluster Status Variables"), and MariaDB 10.11 with Galera 26.4.23 as three
nodes. No privilege is needed for any of it:

* `SELECT 1`, SHOW and information_schema answer on a node that is cut off from its quorum; a query of a real table gets error
  1047 there, and it does so *before* the privileges are looked at. So a table is asked that an account without grants may not
  read: error 1142 is the answer of a node that serves.
* With wsrep_reject_queries the same 1047 comes while wsrep_ready stays ON; the variable itself can still be read.
* wsrep_flow_control_paused, _sent, _recv and the averages are zeroed by FLUSH STATUS; wsrep_flow_control_paused_ns is not.
* A view of the members comes in order with the writes, so a node that is not in step sees those of a while ago. While it joins,
  its status is non-Primary or Primary, and wsrep_ready is OFF until it is Synced (sql/wsrep_server_service.cc of MariaDB).
* FLUSH TABLES WITH READ LOCK and backups make a node Donor/Desynced as wsrep_desync=ON and a state transfer do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Collecting, Failed, Run, attempt, samples

PRIMARY = "primary"
CUT_OFF = ("non-primary", "disconnected")  # in small letters: Percona's has Non-Primary
UNDEFINED, JOINING, DONOR, JOINED, SYNCED = range(5)
"""wsrep_local_state; a node that is in no component is Initialized, which is 0, too."""
NOBODY = "00000000-0000-0000-0000-000000000000"
EMPTY_GCACHE = 1 << 63  # wsrep_local_cached_downto of a node that has cached nothing is 2**64 - 1
GCACHE_MOST = 30 * 86400.0  # seconds; a cache that drops nothing covers any time
SAMPLES, BETWEEN = 3, 0.2  # looks at a flag that may be up for a moment, and the seconds between two of them
SHOWN = 80  # characters of a list of members
ENOUGH = 100  # transactions in the span below which a share of conflicts is noise
FEW = Collecting(f"is not told of fewer than {ENOUGH} transactions")
TABLE = "SELECT 1 FROM mysql.help_topic LIMIT 1"
"""Of a table that every MySQL and MariaDB has, holds nothing of anybody's, and is written by nobody."""


class Node(NamedTuple):
    """One node. None: the server does not tell it.

    name        wsrep_node_name
    on          whether it replicates at all: wsrep_on is ON and a provider is loaded
    configured  whether its configuration names a provider and a cluster
    status      wsrep_cluster_status: Primary, non-Primary, Disconnected
    state       wsrep_local_state, 0 to 4; `comment` is the server's word for it
    size        wsrep_cluster_size, an arbitrator (garbd) counted
    uuid        wsrep_cluster_state_uuid; local_uuid: that of its own data
    conf_id     wsrep_cluster_conf_id: how often the membership changed
    reject      wsrep_reject_queries: NONE, ALL, ALL_KILL
    donor_refuses  wsrep_sst_donor_rejects_queries
    delayed     wsrep_evs_delayed and wsrep_evs_evict_list together
    held        whether flow control stopped all writes in two of three looks; requested: by the wish of this node
    answer      how a query of a real table was refused: None: it was answered, or refused for a missing grant only
    unasked     why that can't be told: the query came to nothing, late or not understood; None: it did
    flow        share of the last minutes in which flow control stopped writes, in percent
    conflicts   share of this node's transactions that lost against another node's, in percent; FEW of too few
    gcache      seconds of writes that its cache covers: a node that is away for longer needs a whole copy
    deps        wsrep_cert_deps_distance: how many writes could be applied side by side
    latency     mean seconds of replication in wsrep_evs_repl_latency
    donor_for, joining_for  seconds for which it was seen so without a gap
    """

    name: str = ""
    on: bool = False
    configured: bool = False
    status: str | None = None
    ready: bool | None = None
    connected: bool | None = None
    state: int | None = None
    comment: str = ""
    size: int | None = None
    uuid: str = ""
    local_uuid: str = ""
    conf_id: str = ""
    reject: str = "NONE"
    desync: bool = False
    donor_refuses: bool = False
    delayed: str = ""
    held: bool = False
    requested: bool = False
    answer: Failed | None = None
    unasked: Failed | None = None
    recv_queue: float | None = None
    send_queue: float | None = None
    flow: float | Collecting | None = None
    conflicts: float | Collecting | None = None
    gcache: float | Collecting | None = None
    deps: float | None = None
    latency: float | None = None
    donor_for: float = 0.0
    joining_for: float = 0.0
    kept: Any = None

    @property
    def word(self) -> str:
        """`status` in small letters, "" when the server does not tell it."""
        return (self.status or "").lower()

    @property
    def primary(self) -> bool:
        """Whether it belongs to a component that may write."""
        return self.on and self.word == PRIMARY

    @property
    def joins(self) -> bool:
        """Whether it is on its way into its cluster, and neither cut off nor in step yet."""
        return self.state in (JOINING, JOINED)

    @property
    def sees(self) -> bool:
        """Whether it sees the members of now."""
        return self.primary and (self.state == SYNCED or (self.state != JOINING and not self.recv_queue))

    @property
    def said(self) -> str:
        """The node in words, for an OK."""
        return f"Galera node {self.name} is {self.comment} in a cluster of {self.size}"

    def standings(self) -> Iterator[tuple[str, str]]:
        """Yield how it stands, each a word of the suite's and what it is in words."""
        if not self.on:
            yield "off", "does not replicate: wsrep_on is OFF" + (", though a cluster is configured" * self.configured)
            return
        if self.word in CUT_OFF and not self.joins:
            asked = "refuses every query of a table (error 1047)" if self.answer else "lets tables be read"
            asked = "" if self.unasked else f", and {asked}"
            yield "cut_off", f"is cut off from its cluster: {self.status}, {self.comment or 'no state'}{asked}"
            return
        if self.word not in (PRIMARY, *CUT_OFF) or None in (self.ready, self.connected, self.size):
            told = (
                self.status if self.word != PRIMARY else "wsrep_ready, wsrep_connected or wsrep_cluster_size is missing"
            )
            yield "unknown", f"has a cluster status that is not understood: {told or 'none'}"
            return
        if not (self.ready and self.connected) and not self.joins:  # which is not ready by its nature
            words = {"wsrep_ready": self.ready, "wsrep_connected": self.connected}
            yield "not_ready", f"is not ready: {' and '.join(w for w, on in words.items() if not on)} OFF"
        yield from self._state()
        yield from self._serves()
        if self.desync:
            yield "desynced", "was desynced by hand: wsrep_desync is ON"
        if self.held:
            whose = "by its own wish" if self.requested else "by another node's wish"
            yield "held", f"is held back by flow control just now, {whose}"
        if self.delayed:
            yield "delayed", f"sees members that answer late: {self.delayed[:SHOWN]}"

    def _state(self) -> Iterator[tuple[str, str]]:
        if self.state == SYNCED:
            yield "serves", f"is {self.comment}"
        elif self.state == DONOR:
            yield (
                ("donor_refuses" if self.donor_refuses else "serves"),
                f"is {self.comment}"
                + (" and refuses queries meanwhile (wsrep_sst_donor_rejects_queries)" * self.donor_refuses),
            )
        elif self.joins:
            yield "joining", f"is {self.comment}: not yet in step"
        elif self.state == UNDEFINED:
            yield "not_ready", f"is {self.comment or 'in no state'}"
        else:
            yield "unknown", f"is in a state that is not understood: {self.state} {self.comment}".rstrip()
        if self.state in (SYNCED, DONOR) and self.local_uuid != self.uuid:
            yield (
                "foreign",
                f"holds data of another history ({self.local_uuid[:8]}) than its cluster's ({self.uuid[:8]})",
            )

    def _serves(self) -> Iterator[tuple[str, str]]:
        if self.reject != "NONE":
            yield "closed", f"refuses every query of a table: wsrep_reject_queries is {self.reject}"
        elif self.answer is not None and self.ready and self.connected:
            yield "refuses", f"says that it is ready, and a query of a table got: {self.answer.error}"

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Yield what is measured: name, value, detail. Of a node that is cut off nothing of it means anything."""
        if not (self.primary or (self.on and self.joins)):
            return
        yield "recv_queue", self.recv_queue, ""
        yield "send_queue", self.send_queue, ""
        yield "donor", self.donor_for, "backup, state transfer or FLUSH TABLES WITH READ LOCK"
        yield "joining", self.joining_for, ""
        if self.deps is not None:
            yield "deps_distance", self.deps, ""
        yield "flow_paused", self.flow, ""
        yield "conflicts", self.conflicts, ""
        if self.gcache is not None:
            yield "gcache", self.gcache, ""
        if self.latency is not None:
            yield "repl_latency", self.latency, ""


def node(run: Run, db: Any, status: Mapping[str, str], variables: Mapping[str, str], before: Any) -> Node | None:
    """Return what this server is as a Galera node, or None: it has no wsrep, or none that is in use or configured.

    db         a connection (sql.Connection)
    status     SHOW GLOBAL STATUS, names in lower case, with wsrep_* and uptime; variables: SHOW GLOBAL VARIABLES likewise
    before     `Node.kept` of the run before
    """
    provider = variables.get("wsrep_provider", "none")
    loaded = provider not in ("", "none")
    configured = loaded and bool(variables.get("wsrep_cluster_address"))
    on = loaded and variables.get("wsrep_on") == "ON"
    if not (on or configured):
        return None
    if not on:
        return Node(name=variables.get("wsrep_node_name", ""), configured=configured)
    answer = attempt(db.value, TABLE)
    failed = answer if isinstance(answer, Failed) and answer.kind not in (NOT_ALLOWED, ABSENT) else None
    refused = failed is not None and failed.kind == UNREACHABLE
    found = parse(run, status, variables, before)
    found = found._replace(answer=failed if refused else None, unasked=None if refused else failed)
    return found if found.unasked else found._replace(held=_held(run, db, status))


def _held(run: Run, db: Any, status: Mapping[str, str]) -> bool:
    """Return whether writes stood still in most looks: the flag is up for moments on a busy cluster that is well."""
    ups, looks = int(_flag(status, "wsrep_flow_control_active") is True), 1
    while ups == 1 and looks < SAMPLES and run.left() > 2 * BETWEEN:
        time.sleep(BETWEEN)
        row = db.row("SHOW GLOBAL STATUS LIKE 'wsrep_flow_control_active'")
        ups, looks = ups + (str(row.get("value")).lower() == "true"), looks + 1
    return ups > 1


def parse(run: Run, status: Mapping[str, str], variables: Mapping[str, str], before: Any) -> Node:
    """Return a node that replicates from its status and variables, with what both runs together tell. Asks nothing."""
    before = before if isinstance(before, dict) else {}
    state = _number(status, "wsrep_local_state")
    uptime = _number(status, "uptime")
    aborts = (_number(status, "wsrep_local_cert_failures"), _number(status, "wsrep_local_bf_aborts"))
    commits = _number(status, "wsrep_local_commits")
    conflicts = None if None in aborts else sum(n for n in aborts if n is not None)
    downto, last = (_number(status, f"wsrep_{name}") for name in ("local_cached_downto", "last_committed"))
    if downto is not None and downto >= EMPTY_GCACHE:
        downto = None
    counters = {
        "paused": _number(status, "wsrep_flow_control_paused_ns"),
        "conflicts": conflicts,
        "attempts": None if commits is None or conflicts is None else commits + conflicts,
        "dropped": downto,
    }
    boot = status.get("wsrep_gcomm_uuid", "")
    history = samples.take(
        run,
        {name: value for name, value in counters.items() if value is not None},
        before=before.get("history", []),
        at=uptime,
        boot=boot,
    )

    def late(name: str) -> float | Collecting | None:
        return None if counters[name] is None else history.rate(name)

    paused, dropped = late("paused"), late("dropped")
    flow = paused / 1e7 if isinstance(paused, float) else paused  # nanoseconds in a second, as a share in percent
    gcache: float | Collecting | None = dropped
    if isinstance(dropped, float) and last is not None and downto is not None:
        gcache = min(GCACHE_MOST, (last - downto) / dropped) if dropped > 0 else GCACHE_MOST
    conflicting: float | Collecting | None = None
    if counters["attempts"] is not None:
        conflicting, attempts = history.share("conflicts", "attempts"), history.rise("attempts")
        if isinstance(attempts, float) and attempts < ENOUGH:
            conflicting = FEW
    now = run.clock.time()
    words = {DONOR: "donor", JOINING: "joining", JOINED: "joining"}
    # With the node's own name: behind an address that moves there may be another than last time.
    present = [f"{words[int(state)]} {boot}"] if state in words else []
    since = samples.since(before.get("since"), present, now)
    spent = {name.partition(" ")[0]: now - at for name, at in since.items()}
    return Node(
        name=variables.get("wsrep_node_name", ""),
        on=True,
        configured=True,
        status=status.get("wsrep_cluster_status"),
        ready=_flag(status, "wsrep_ready"),
        connected=_flag(status, "wsrep_connected"),
        state=None if state is None else int(state),
        comment=status.get("wsrep_local_state_comment", ""),
        size=_whole(status, "wsrep_cluster_size"),
        uuid=status.get("wsrep_cluster_state_uuid", ""),
        local_uuid=status.get("wsrep_local_state_uuid", ""),
        conf_id=status.get("wsrep_cluster_conf_id", ""),
        reject=variables.get("wsrep_reject_queries", "NONE").upper() or "NONE",
        desync=_flag(variables, "wsrep_desync") is True,
        donor_refuses=_flag(variables, "wsrep_sst_donor_rejects_queries") is True,
        delayed=" ".join(filter(None, (status.get("wsrep_evs_delayed"), status.get("wsrep_evs_evict_list")))),
        requested=_flag(status, "wsrep_flow_control_requested") is True,
        recv_queue=_number(status, "wsrep_local_recv_queue"),
        send_queue=_number(status, "wsrep_local_send_queue"),
        flow=flow,
        conflicts=conflicting,
        gcache=gcache,
        deps=_number(status, "wsrep_cert_deps_distance"),
        latency=_latency(status.get("wsrep_evs_repl_latency", "")),
        donor_for=spent.get("donor", 0.0),
        joining_for=spent.get("joining", 0.0),
        kept={"history": history.keep(), "since": since},
    )


def clusters(nodes: Mapping[str, Node]) -> Iterator[tuple[str, str]]:
    """Yield where nodes that were asked at the same time do not see one cluster: a word of the suite's, and it in words.

    Two histories (uuid) are two clusters. Of one history, each node that may write, and sees the members of now, must name the
    same ones: the count of changes and the size are equal, and there are no more such nodes than the cluster has members.
    """
    histories: dict[str, list[str]] = {}
    views: dict[tuple[str, str, int | None], list[str]] = {}
    for of, each in nodes.items():
        if each.on and each.uuid not in ("", NOBODY):
            histories.setdefault(each.uuid, []).append(of)
            if each.sees:
                views.setdefault((each.uuid, each.conf_id, each.size), []).append(of)
    if len(histories) > 1:
        told = "; ".join(f"{uuid[:8]}: {', '.join(ofs)}" for uuid, ofs in histories.items())
        yield "split", f"the nodes belong to {len(histories)} clusters: {told}"
        return
    if len(views) > 1:
        told = "; ".join(f"{', '.join(ofs)} (of {size})" for (_, _, size), ofs in views.items())
        yield "split", f"the nodes that may write do not see the same members: {told}"
        return
    for (_, _, size), ofs in views.items():
        if size is not None and len(ofs) > size:
            yield (
                "split",
                f"{len(ofs)} nodes may write and each sees {size} member{'s' * (size != 1)}: {', '.join(ofs)}",
            )


def size(nodes: Iterable[Node]) -> int | None:
    """Return how many members the cluster has, as the nodes see it that may write: the fewest; None when none may."""
    writing = [each for each in nodes if each.primary and each.state != JOINING]
    seeing = [each for each in writing if each.sees] or writing
    return min((each.size for each in seeing if each.size is not None), default=None)


def sizes(members: int, expected: int, asked: int, known: int) -> Iterator[tuple[str, str]]:
    """Yield how the number of members stands, a word of the suite's and it in words.

    expected  as the operator says, 0: not said; asked: how many servers were asked, each of which should be a member
    known     the most members that were seen lately, 0: none
    """
    should = expected or asked
    if members < should:
        yield ("minority" if 2 * members <= should else "fewer"), f"the cluster has {members} of {should} members"
    elif not expected and members < known:
        yield "shrunk", f"the cluster has {members} member{'s' * (members != 1)}, it had {known}"
    elif expected == members:
        return
    elif members == 1:
        yield "alone", "the cluster has one member: nothing takes over (--size 1 when that is meant)"
    elif members % 2 == 0:
        halves = "halves that lose each other both stop"
        yield (
            "even",
            f"the cluster has {members} members, an even number: {halves} (--size {members} when that is meant)",
        )


def status(db: Any, *more: str) -> dict[str, str]:
    """Return wsrep_* and `more` (names in lower case) of SHOW GLOBAL STATUS, names in lower case."""
    return _pairs(db, "STATUS", more)


def variables(db: Any, *more: str) -> dict[str, str]:
    """Return wsrep_* and `more` of SHOW GLOBAL VARIABLES, likewise."""
    return _pairs(db, "VARIABLES", more)


def _pairs(db: Any, what: str, more: Iterable[str]) -> dict[str, str]:
    names = ", ".join(f"'{name}'" for name in more)
    # No % in it: a driver may take that for a place of a parameter.
    rows = db.rows(f"SHOW GLOBAL {what} WHERE Variable_name REGEXP '^wsrep_' OR Variable_name IN ({names})")
    try:
        return {str(row["variable_name"]).lower(): str(row["value"]) for row in rows}
    except KeyError:
        raise Failed(
            UNREADABLE, db.of, f"SHOW GLOBAL {what}", "the answer has no column Variable_name or Value"
        ) from None


def _number(values: Mapping[str, str], name: str) -> float | None:
    try:
        return float(values[name])
    except (KeyError, ValueError):
        return None


def _whole(values: Mapping[str, str], name: str) -> int | None:
    number = _number(values, name)
    return None if number is None else int(number)


def _flag(values: Mapping[str, str], name: str) -> bool | None:
    return {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}.get(
        values.get(name, "").lower()
    )


def _latency(text: str) -> float | None:
    """Return the mean of min/avg/max/stddev/n; None while nothing was measured."""
    parts = text.split("/")
    try:
        return float(parts[1]) if len(parts) == 5 and float(parts[4]) > 0 else None
    except ValueError:
        return None
