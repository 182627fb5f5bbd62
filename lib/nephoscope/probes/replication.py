# SPDX-License-Identifier: Apache-2.0
"""Who replicates from whom: replicas of MySQL and MariaDB here, of PostgreSQL in pg_replication, Galera in galera; and all of
them together, over one server or several, as check_db_cluster asks.

Sources: MariaDB's "SHOW REPLICA STATUS" (SHOW ALL SLAVES STATUS: every connection, one without name; since 10.0) and "SLAVE
MONITOR"; MySQL's manual, "SHOW REPLICA STATUS Statement" (since 8.0.22, one row for a channel; SHOW SLAVE STATUS before, and
gone in 8.4). Columns are called Slave_/Master_ or Replica_/Source_. Last_Error holds the statement that failed, so the error's
number is told and not its text.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREADABLE, Collecting, Failed, Run, samples
from nephoscope.probes import galera, pg_replication, sql

GRANTS: tuple[tuple[tuple[int, ...], str], ...] = (
    ((10, 5, 9), "GRANT SLAVE MONITOR ON *.* TO the account, or --mode galera"),
    ((10, 5, 2), "GRANT REPLICATION SLAVE ADMIN ON *.* TO the account (MariaDB 10.5.9 takes less), or --mode galera"),
    ((0,), "GRANT REPLICATION CLIENT ON *.* TO the account"),
)
"""MariaDB's, by the first version ("SHOW REPLICA STATUS" of its documentation); MySQL has the last one always."""
ON_THE_WAY = ("Connecting", "Preparing")
ERRORS = {
    1032: "row not found",
    1045: "log-in refused",
    1062: "duplicate key",
    1129: "host blocked",
    1130: "host not allowed",
    1146: "no such table",
    1205: "lock wait time-out",
    1236: "the primary no longer has that log",
    1593: "fatal error of replication",
    1595: "relay log not written",
    1756: "a worker failed",
    1872: "no repository",
    1950: "out of order GTID",
    2003: "can't connect",
    2005: "unknown host",
    2013: "connection lost",
    2026: "TLS failed",
}
"""What the commonest numbers in Last_IO_Errno and Last_SQL_Errno mean (MySQL's and MariaDB's error reference)."""


class Channel(NamedTuple):
    """One connection of a replica to a primary.

    name    of the channel, "" for the nameless one
    source  host:port of the primary
    io, sql  Slave_IO_Running and Slave_SQL_Running, as they come
    lag     Seconds_Behind, None for NULL
    delay   seconds that it stays behind on purpose
    io_error, sql_error  number of the last error, 0: none
    """

    name: str
    source: str
    io: str
    sql: str
    lag: float | None
    delay: float = 0.0
    io_error: int = 0
    sql_error: int = 0

    def standings(self) -> Iterator[tuple[str, str]]:
        """Yield how it stands, a word of the suite's and it in words."""
        whence = f"replication from {self.source}"
        words = {"IO": (self.io, self.io_error), "SQL": (self.sql, self.sql_error)}
        for thread, (word, error) in words.items():
            why = f" (error {error}{', ' * (error in ERRORS)}{ERRORS.get(error, '')})" if error else ""
            if word == "No":
                yield "stopped", f"{whence} is stopped: its {thread} thread does not run{why}"
            elif thread == "IO" and word in ON_THE_WAY:
                yield "reconnecting", f"{whence} is not connected: its IO thread is {word}{why}"
            elif word != "Yes":
                yield "unknown", f"{whence} has an {thread} thread in a state that is not understood: {word or 'none'}"
        if self.runs:
            yield (
                ("serves", f"{whence} runs")
                if self.lag is not None
                else ("stopped", f"{whence} does not know its lag (NULL)")
            )

    @property
    def runs(self) -> bool:
        """Whether both threads run, the one that fetches connected: only then does its lag mean anything."""
        return self.io == self.sql == "Yes"

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Yield what is measured: name, value, detail."""
        if self.runs and self.lag is not None:
            yield (
                "lag",
                max(0.0, self.lag - self.delay),
                f"beyond the wanted delay of {self.delay:g} s" * bool(self.delay),
            )


def channels(db: Any) -> tuple[Channel, ...]:
    """Return all connections of a MySQL or MariaDB server to primaries, none when it is no replica.

    Group replication's own channels are left out: they are no replication from a primary.
    Raises Failed: not-allowed with the grant that is missing.
    """
    if db.flavour == "mariadb":
        statement, grants = "SHOW ALL SLAVES STATUS", GRANTS
    else:
        statement, grants = f"SHOW {'REPLICA' if db.version >= (8, 0, 22) else 'SLAVE'} STATUS", GRANTS[-1:]
    try:
        rows = db.rows(statement)
    except Failed as failed:
        if failed.kind == NOT_ALLOWED:
            cure = next(grant for first, grant in grants if db.version >= first)
            raise Failed(failed.kind, failed.of, statement, failed.error, cure) from None
        raise
    found = (channel(db.of, row) for row in rows)
    return tuple(each for each in found if not each.name.startswith("group_replication_"))


def channel(of: str, row: Mapping[str, Any]) -> Channel:
    """Return one row of the answer. Raises Failed unreadable: a column is missing."""

    def word(*names: str) -> Any:
        for name in names:
            if name in row:
                return row[name]
        raise Failed(UNREADABLE, of, "SHOW REPLICA STATUS", f"the answer has no column {names[0]}")

    lag = word("seconds_behind_master", "seconds_behind_source")
    return Channel(
        str(row.get("connection_name") or row.get("channel_name") or ""),
        f"{word('master_host', 'source_host')}:{word('master_port', 'source_port')}",
        str(word("slave_io_running", "replica_io_running") or ""),
        str(word("slave_sql_running", "replica_sql_running") or ""),
        None if lag is None else float(lag),
        float(row.get("sql_delay") or 0),
        int(row.get("last_io_errno") or 0),
        int(row.get("last_sql_errno") or 0),
    )


class Value(NamedTuple):
    """A measured value: its name, it, the object, and what is said behind it where it is bad."""

    name: str
    value: float | Collecting | None
    of: str
    detail: str = ""


class Server(NamedTuple):
    """What one server is; empty: not there, or not looked for.

    of        its name, "" when it is the only one asked
    text      product and version
    read_only  whether it takes no writes
    replicas  how many replicas are connected to it; None: not looked for, or it does not tell (MySQL)
    fell_back  whether commits should wait for a replica (semi-synchronous replication) and do not
    group     whether it belongs to a group replication of MySQL, which is not looked at
    failures  what could not be learnt of it
    """

    of: str
    text: str = ""
    read_only: bool = False
    node: galera.Node | None = None
    channels: tuple[Channel, ...] = ()
    replicas: int | None = None
    fell_back: bool = False
    group: bool = False
    postgres: pg_replication.Server | None = None
    failures: tuple[Failed, ...] = ()
    kept: Any = None

    @property
    def empty(self) -> bool:
        """Whether nothing replicates here, neither from nor to it, as far as was looked."""
        there = self.node or self.channels or self.replicas or (self.postgres and not self.postgres.empty)
        return not (there or self.failures)

    @property
    def nothing(self) -> str:
        """That it replicates nothing, in words, as far as it was told."""
        if self.group:
            return f"{self.text} takes part in group replication, which is not looked at"
        if self.postgres or self.replicas is not None:
            return f"{self.text} replicates nothing, neither from nor to it"
        return f"{self.text} is no replica, and does not tell whether others replicate from it"

    def named(self, name: str) -> str:
        """Return the name of an object of this server's: bare when it is the only server."""
        return f"{self.of} {name}".strip()

    def present(self) -> Iterator[str]:
        """Yield what should not vanish, streaming or not: connections to primaries, standbys."""
        yield from (self.named(each.name or each.source) for each in self.channels)
        if self.postgres:
            yield from (self.named(each.name) for each in self.postgres.followers)

    def stays(self) -> Iterator[str]:
        """Yield what `present` does, and by which names a standby was present while there were others of its name, or none."""
        yield from self.present()
        for each in self.postgres.followers if self.postgres else ():
            yield from map(self.named, each.names)

    def streams(self) -> Iterator[tuple[str, ...]]:
        """Yield what receives or sends just now: all names by which it may be expected."""
        for each in self.channels:
            if each.runs:
                yield (each.name, each.source, each.source.rpartition(":")[0])
        for follower in self.postgres.standbys if self.postgres else ():
            if follower.state == pg_replication.STREAMING:
                yield follower.names

    def standings(self) -> Iterator[tuple[str, str, str]]:
        """Yield how each thing on it stands: the object, a word of the suite's, and it in words."""
        if self.node:
            yield from ((self.of or self.node.name, word, text) for word, text in self.node.standings())
        for each in self.channels:
            yield from ((self.named(each.name), word, text) for word, text in each.standings())
        if self.fell_back and not (self.channels or self.read_only):  # a replica may be ready to take over
            yield (
                self.of,
                "asynchronous",
                "commits wait for no replica: semi-synchronous replication is enabled and off",
            )
        if self.postgres:
            yield from ((self.named(name), word, text) for name, word, text in self.postgres.standings())

    def values(self) -> Iterator[Value]:
        """Yield all that is measured on it."""
        if self.node:
            yield from (Value(name, value, self.of, detail) for name, value, detail in self.node.values())
        for each in self.channels:
            yield from (Value(name, value, self.named(each.name), detail) for name, value, detail in each.values())
        if self.replicas is not None:
            yield Value("replicas", self.replicas, self.of)
        if self.postgres:
            yield from (
                Value(name, value, self.named(of), detail) for name, value, of, detail in self.postgres.values()
            )

    @property
    def said(self) -> str:
        """What it is, for an OK."""
        parts = [self.node.said] if self.node else []
        parts += [f"a replica of {each.source}" for each in self.channels]
        if self.replicas:
            parts.append(f"{self.replicas} replica{'s' * (self.replicas != 1)} connected")
        if self.postgres:
            parts.append(self.postgres.said)
        return f"{self.of}{': ' * bool(self.of)}{', '.join(parts) or self.text}"

    def unlike(self, wanted: Iterable[str], galera_expected: bool) -> Iterator[tuple[str, str] | Failed]:
        """Yield where it is not what it was asked as: a word of the suite's and it in words, or a Failed: no such thing here.

        wanted  the modes asked for by name
        """
        if self.postgres:
            yield from self.postgres.unlike(wanted)
            strange = [mode for mode in wanted if mode in ("galera", "replica")]
        else:
            if not self.node and ("galera" in wanted or galera_expected):
                yield "off", "is no Galera node: wsrep is off"
            if "replica" in wanted and not self.channels and not self.failures:
                yield "stopped", "is no replica: it has no connection to a primary"
            if "primary" in wanted and not self.replicas:
                text = "it does not tell its replicas" if self.replicas is None else "no replica is connected"
                yield Failed(ABSENT, self.of, "", text)
            strange = [mode for mode in wanted if mode in ("standby", "slots")]
        for mode in strange:
            yield Failed(ABSENT, self.of, "", f"{self.text} has no mode {mode}")


class Cluster(NamedTuple):
    """All servers that were asked, a Failed in the place of one that could not be.

    expected  names that must stream, with how many of each
    size      members that the Galera cluster should have, 0: not said
    members   the most members that earlier runs saw lately
    gone      what was connected lately and is no more -> seconds since
    unlike    where a server is not what it was asked as: object, word, text
    """

    servers: tuple[Server | Failed, ...]
    expected: tuple[tuple[str, int], ...] = ()
    size: int = 0
    members: int = 0
    gone: Mapping[str, float] = {}
    unlike: tuple[tuple[str, str, str], ...] = ()
    absent: tuple[Failed, ...] = ()
    kept: Any = None

    @property
    def answered(self) -> tuple[Server, ...]:
        """The servers that could be asked."""
        return tuple(server for server in self.servers if isinstance(server, Server))

    @property
    def nodes(self) -> dict[str, galera.Node]:
        """The Galera nodes, by server."""
        return {server.of: server.node for server in self.answered if server.node}

    @property
    def failures(self) -> tuple[Failed, ...]:
        """What could not be learnt, or is not there."""
        whole = tuple(server for server in self.servers if isinstance(server, Failed))
        return whole + self.absent + tuple(failed for server in self.answered for failed in server.failures)

    def standings(self) -> Iterator[tuple[str, str, str]]:
        """Yield how each thing stands: the object, a word of the suite's, and it in words."""
        yield from self.unlike
        for server in self.answered:  # that the only thing there is well is what the summary says
            yield from (each for each in server.standings() if each[0] or each[1] != "serves")
        whole = list(galera.clusters(self.nodes))
        members = galera.size(self.nodes.values())
        if members is not None:
            whole += galera.sizes(members, self.size, len(self.servers), self.members)
        whole += pg_replication.twins({server.of: server.postgres for server in self.answered if server.postgres})
        yield from (("", word, text) for word, text in whole)
        names = [names for server in self.answered for names in server.streams()]
        for name, least in self.expected:
            count = sum(name in each for each in names)
            yield name, "missing" if count < least else "serves", f"has {count} streaming, {least} expected"
        for name, seconds in self.gone.items():
            yield name, "vanished", f"is gone, it was there {_ago(seconds)} ago"

    def values(self) -> Iterator[Value]:
        """Yield all that is measured."""
        members = galera.size(self.nodes.values())
        if members is not None:
            yield Value("size", members, "")
        for server in self.answered:
            yield from server.values()

    @property
    def summary(self) -> str:
        """What was looked at, for an OK."""
        return "; ".join(server.said for server in self.answered)


def look(run: Run, options: Any) -> Cluster:
    """Return what replicates on the server that the options name, and on those of `--node`.

    options.mode        galera, replica, standby, primary, slots: what to look at; options.mode_given: they were asked for
    options.node, size, expect, read_only, remember  as the check declares them
    Raises Failed when there is but one server and it could not be asked.
    """
    places = _places(run, options)
    before = _before(run.before)
    alone = len(places) == 1
    jobs = {
        access.of: functools.partial(
            _server, run, access, "" if alone else access.of, options.mode, before["servers"].get(access.of)
        )
        for access in places
    }
    if alone:
        servers: dict[str, Any] = {of: job() for of, job in jobs.items()}
    else:
        servers = together(run, jobs)
    return whole(run, options, servers, before)


def _before(kept: Any) -> dict[str, dict[str, Any]]:
    """Return what was kept, every part there and of the right shape."""
    kept = kept if isinstance(kept, dict) else {}
    return {
        part: kept[part] if isinstance(kept.get(part), dict) else {}
        for part in ("servers", "seen", "sizes", "replicas")
    }


def _places(run: Run, options: Any) -> list[sql.Access]:
    """Return whom to ask: what the options name, and each --node; only these when nothing else is named."""
    first = sql.access(options, run)
    nodes = [_at(first, node) for node in options.node]
    named = options.hostname or options.socket or options.from_service_file or not nodes
    return list({access.of: access for access in ([first] if named else []) + nodes}.values())


def _at(access: sql.Access, node: str) -> sql.Access:
    """Return the same account on another server: HOST, HOST:PORT, an IPv6 address, [IPv6]:PORT."""
    from nephoscope.base.dial import host_port

    host, port = host_port(node, access.port)
    made = access._replace(host=host, port=port, socket="", also=())
    return made._replace(of=made.place)


def together(run: Run, jobs: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return what several servers are: what `side_by_side` gives, twice where they seem to be more than one cluster.

    A member that comes or goes between two answers looks like that. Asked again are those that answered, and where the second
    answer does not come (one that is silent may have taken all the time) the first one stands.
    """
    servers = side_by_side(run, jobs)
    if list(galera.clusters(Cluster(tuple(servers.values())).nodes)):
        again = side_by_side(run, {of: jobs[of] for of, server in servers.items() if isinstance(server, Server)})
        servers.update({of: server for of, server in again.items() if isinstance(server, Server)})
    return servers


def side_by_side(run: Run, jobs: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return what each function returns, or the Failed that it raises, in the order given.

    A frozen server must not cost the others their time. Each function keeps to the run's deadline by itself.
    """
    import threading

    answers: dict[str, Any] = {}

    def work(of: str, job: Callable[[], Any]) -> None:
        try:
            answers[of] = job()
        except Failed as failed:
            answers[of] = Failed(failed.kind, of, *failed.args[2:])
        except Exception as error:  # a bug: told by the main thread, which lives on
            answers[of] = error

    threads = [threading.Thread(target=work, args=job, daemon=True) for job in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(run.left() + 0.2)
    late = {of: Failed(LATE, of, "", "no answer before the time was up") for of in jobs if of not in answers}
    found = {of: late[of] if of in late else answers[of] for of in jobs}
    for answer in found.values():
        if isinstance(answer, Exception) and not isinstance(answer, Failed):
            raise answer
    return found


def _server(run: Run, access: sql.Access, of: str, modes: Iterable[str], before: Any) -> Server:
    """Ask one server, in one session."""
    with sql.connect(run, access) as db:
        run.stage(f"ask {access.of} what it replicates")
        if db.kind == "postgres":
            found = pg_replication.look(run, db, of, modes)
            now, kept = run.clock.time(), before.get("since") if isinstance(before, dict) else None
            since = samples.since(kept, found.positions(), now)
            found = found.timed({name: now - at for name, at in since.items()})
            return Server(of, db.text, found.recovering, postgres=found, kept={"since": since})
        semi = [f"rpl_semi_sync_{who}" for who in ("master", "source")]
        status = galera.status(db, "Uptime", "Slaves_connected", *(f"{name}_status" for name in semi))
        asked = ("read_only", "super_read_only", "group_replication_group_name", *(f"{name}_enabled" for name in semi))
        variables = galera.variables(db, *asked)
        node = galera.node(run, db, status, variables, before) if "galera" in modes else None
        found_channels: tuple[Channel, ...] = ()
        failures = [node.unasked] if node and node.unasked else []
        if "replica" in modes:
            try:
                found_channels = channels(db)
            except Failed as failed:
                failures.append(failed)
        replicas = status.get("slaves_connected", "") if "primary" in modes else ""
        if "read_only" not in variables:
            raise Failed(UNREADABLE, of, "SHOW GLOBAL VARIABLES", "the answer has no read_only")
        # MariaDB 12 knows more than ON: NO_LOCK, NO_LOCK_NO_ADMIN.
        read_only = any(variables.get(name, "OFF") != "OFF" for name in asked[:2])
        off = [variables.get(f"{name}_enabled") == "ON" and status.get(f"{name}_status") == "OFF" for name in semi]
        return Server(
            *(of, db.text, read_only, node, found_channels),
            replicas=int(replicas) if replicas.isdigit() else None,
            fell_back=any(off) and "primary" in modes,
            group=bool(variables.get("group_replication_group_name")),
            failures=tuple(Failed(failed.kind, of, *failed.args[2:]) for failed in failures),
            kept=node.kept if node else None,
        )


def whole(
    run: Run, options: Any, servers: Mapping[str, Server | Failed], before: Mapping[str, dict[str, Any]]
) -> Cluster:
    """Return all servers together: what should be here and is not, what was here lately, what to keep. Asks nothing.

    servers  place -> what is there
    """
    cluster = Cluster(tuple(servers.values()), options.expect, options.size or 0)
    answered, nodes = cluster.answered, cluster.nodes
    wanted = options.mode if options.mode_given else ()
    unlike: list[tuple[str, str, str]] = []
    absent: list[Failed] = []
    now = run.clock.time()

    def lately(at: Any) -> bool:
        return isinstance(at, (int, float)) and 0 <= now - at <= options.remember

    def numbers(kept: Any) -> dict[int, float]:
        return {int(n): at for n, at in kept.items() if n.isdigit() and lately(at)} if isinstance(kept, dict) else {}

    replicas = {place: numbers(before["replicas"].get(place)) for place in servers}
    for place, server in servers.items():
        if isinstance(server, Server) and server.replicas is not None:
            if server.replicas < max(replicas[place], default=0):
                several = "s" * (server.replicas != 1)
                text = f"has {server.replicas} replica{several} connected, it had {max(replicas[place])}"
                unlike.append((server.of, "shrunk", text))
            replicas[place][server.replicas] = now
    for server in answered:
        for each in server.unlike(wanted, bool(nodes)):
            if isinstance(each, Failed):
                absent.append(Failed(each.kind, server.of, *each.args[2:]))
            else:
                unlike.append((server.of, *each))
        if options.read_only and server.read_only != (options.read_only == "on"):
            words = ("read-only", "writable")
            is_so, should = words if server.read_only else words[::-1]
            unlike.append((server.of, "wrong_role", f"is {is_so} and should be {should}"))
        if server.empty and not (wanted or nodes or options.expect) and server.of not in [of for of, *_ in unlike]:
            absent.append(Failed(ABSENT, server.of, "", server.nothing))
    here = [of for server in answered for of in server.present()]
    stays = {of for server in answered for of in server.stays()}
    seen = {name: at for name, at in before["seen"].items() if lately(at)}
    looked = len(answered) == len(servers) and not any(server.failures for server in answered)
    expected = [name for name, _ in options.expect]
    known = numbers(before["sizes"])
    members = galera.size(nodes.values())
    return cluster._replace(
        members=max(known, default=0),
        gone={name: now - at for name, at in seen.items() if looked and name not in (*stays, *expected)},
        unlike=tuple(unlike),
        absent=tuple(absent),
        kept={
            "servers": {
                place: server.kept if isinstance(server, Server) else before["servers"].get(place)
                for place, server in servers.items()
            },
            "seen": {**seen, **dict.fromkeys(here, now)},
            "replicas": {place: {str(n): at for n, at in many.items()} for place, many in replicas.items()},
            "sizes": {**{str(n): at for n, at in known.items()}, **({str(members): now} if members else {})},
        },
    )


def _ago(seconds: float) -> str:
    size, unit = next(
        (size, unit) for size, unit in ((3600, "h"), (60, "min"), (1, "s")) if seconds >= 2 * size or size == 1
    )
    return f"{seconds / size:.0f} {unit}"
