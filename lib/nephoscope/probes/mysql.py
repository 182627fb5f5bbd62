# SPDX-License-Identifier: Apache-2.0
"""What a MySQL or MariaDB server tells of its load: its counters, sessions, transactions, key counters and binary logs.

Everything is asked in one connection, of tables that the server makes up from its memory; no table of a tenant is opened for
reading, and no statement's text is ever selected: tokens occur in them. Names are those of SHOW GLOBAL STATUS and SHOW GLOBAL
VARIABLES. Looked at on MariaDB 10.11.19; what differs in MySQL 5.7 to 8.4 and MariaDB from 10.3 on is said where it matters
(the reference manuals' pages on status variables, INNODB_TRX, INNODB_METRICS, data_lock_waits and privileges).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Collecting, Failed, Run, samples

CALM = 4  # running threads up to which one reading will do
PAUSE = 0.5  # seconds between two readings
READINGS = 3  # of the running threads, of which the least counts: one is noise
REQUESTS = 1000  # page requests in the span below which a share of misses is noise
FEW = Collecting(f"is not told of fewer than {REQUESTS} page requests")
SLACK = 2.0  # seconds by which two computations of one start may differ
LARGEST = 100  # key counters that are handed on, of those nearest to their end
SERVERS_OWN = ("system user", "event_scheduler")

HERE = "SELECT UNIX_TIMESTAMP() AS now, CURRENT_USER() AS account, CONNECTION_ID() AS id"
# trx_started is in the system's time zone, NOW() in the session's.
TRANSACTIONS = """SELECT trx_id AS id, trx_mysql_thread_id AS thread, trx_state AS state,
TIMESTAMPDIFF(SECOND, trx_started, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')) AS seconds,
TIMESTAMPDIFF(SECOND, CONVERT_TZ(trx_started, 'SYSTEM', '+00:00'), UTC_TIMESTAMP()) AS utc
FROM information_schema.INNODB_TRX"""
SESSIONS = "SELECT id AS thread, user, host, command, time AS seconds FROM information_schema.PROCESSLIST"
INNODB_LOCK_WAITS = """SELECT blocking_trx_id AS id, COUNT(DISTINCT requesting_trx_id) AS waiting
FROM information_schema.INNODB_LOCK_WAITS GROUP BY blocking_trx_id"""
DATA_LOCK_WAITS = """SELECT BLOCKING_ENGINE_TRANSACTION_ID AS id, COUNT(DISTINCT REQUESTING_ENGINE_TRANSACTION_ID) AS waiting
FROM performance_schema.data_lock_waits GROUP BY BLOCKING_ENGINE_TRANSACTION_ID"""
COUNTED = "SELECT * FROM information_schema.INNODB_METRICS WHERE name IN ('lock_deadlocks', 'trx_rseg_history_len')"
SYSTEM = ("mysql", "information_schema", "performance_schema", "sys")
TABLES = f"""SELECT table_schema AS s, table_name AS t, auto_increment AS counter, engine, LEFT(table_comment, 100) AS said
FROM information_schema.TABLES WHERE table_type = 'BASE TABLE' AND table_schema NOT IN {SYSTEM}"""  # noqa: S608
COLUMNS = f"""SELECT table_schema AS s, table_name AS t, column_type AS kind
FROM information_schema.COLUMNS WHERE LEFT(extra, 14) = 'auto_increment' AND table_schema NOT IN {SYSTEM}"""  # noqa: S608
GRANTS = "SHOW GRANTS"  # with those of the roles that are in force; information_schema.USER_PRIVILEGES lacks them
GRANT = re.compile(r"(GRANT|REVOKE) (.+) ON (?:\*|[`\"](.+?)[`\"])\.\* (?:TO|FROM) ")
COLUMN_RIGHTS = {"SELECT", "INSERT", "UPDATE", "REFERENCES"}  # each of them shows every table and column

SERVER = ("hostname", "port", "server_id", "server_uuid", "server_uid")
"""Settings that tell two servers behind one address apart; server_uuid is MySQL's, server_uid MariaDB's."""
RATED = ("login", "connections", "statements", "locks", "deadlocks", "innodb", "temporary", "files")  # modes with rates
GAUGES = {
    "running": ("Threads_running",),
    "lock_waits": ("Innodb_row_lock_current_waits",),
    "pending_io": ("Innodb_data_pending_reads", "Innodb_data_pending_writes", "Innodb_data_pending_fsyncs"),
}
COUNTERS = {
    "refused": "Connection_errors_max_connections",
    "aborted": "Aborted_connects",
    "preauth": "Aborted_connects_preauth",
    "denied": "Access_denied_errors",
    "aborted_clients": "Aborted_clients",
    "slow": "Slow_queries",
    "full_join": "Select_full_join",
    "waits": "Innodb_row_lock_waits",
    "waited": "Innodb_row_lock_time",  # ms
    "misses": "Innodb_buffer_pool_reads",
    "requests": "Innodb_buffer_pool_read_requests",
    "wait_free": "Innodb_buffer_pool_wait_free",
    "log_waits": "Innodb_log_waits",
    "tmp_disk": "Created_tmp_disk_tables",
    "tmp": "Created_tmp_tables",
    "table_cache": "Table_open_cache_overflows",
    "deadlocks": "Innodb_deadlocks",
}
MAY_LACK = {
    # MariaDB alone; preauth from 10.4, deadlocks from 10.5
    *("preauth", "denied", "deadlocks"),
    # not in every storage engine's release
    *("wait_free", "log_waits", "table_cache", "pending_io"),
}
METRICS = {"deadlocks": "lock_deadlocks", "history": "trx_rseg_history_len"}  # their names in INNODB_METRICS
READ_ONLY = {"OFF": False, "0": False, "ON": True, "1": True, "NO_LOCK": True, "NO_LOCK_NO_ADMIN": True}
"""Words of read_only, super_read_only and innodb_read_only; the last two of read_only are MariaDB's from 12.0 on."""

# The largest value of an AUTO_INCREMENT column of a type: (signed, unsigned).
LIMITS = {
    "tinyint": (127, 255),
    "smallint": (32767, 65535),
    "mediumint": (8388607, 16777215),
    "int": (2147483647, 4294967295),
    "bigint": (9223372036854775807, 18446744073709551615),
    "float": (16777216, 16777216),
    "double": (9007199254740992, 9007199254740992),
}


class Measure(NamedTuple):
    """A number in base units: of the whole, or of a session (user@host, without the port) or a column (schema.table).

    value   None: not measured; COLLECTING: a rate without an earlier sample; FEW: a share of next to nothing
    detail  what is to be said behind it when it is bad: which connection it is, what the column's type is
    """

    name: str
    value: Any
    of: str = ""
    detail: str = ""


class Role(NamedTuple):
    """Whether the server takes writes, what forbids them, and seconds since that was seen to change (None: not seen)."""

    writable: bool
    why: str = ""
    changed: float | None = None


class Server(NamedTuple):
    """One look.

    text          product and version
    measures      numbers, see Measure; what this server does not count is not among them
    role          None: not asked for
    cut_off       why it serves nobody though it answers us, "" where it serves
    kept_for_ever  nothing removes binary logs
    notes         what else there is to know: (of, text)
    failures      parts that could not be looked at
    kept          plain JSON for the next run
    """

    text: str
    measures: Sequence[Measure]
    role: Role | None = None
    cut_off: str = ""
    kept_for_ever: bool = False
    notes: Sequence[tuple[str, str]] = ()
    failures: Sequence[Failed] = ()
    kept: Any = None

    @property
    def summary(self) -> str:
        """The server in a few words."""
        counted = next((one.detail for one in self.measures if one.name == "connections"), "")
        return f"{self.text}, {counted} connections"

    def standings(self, role: str, period: float) -> Iterator[tuple[str, str, str]]:
        """Yield (kind, of, text): kind is cut_off, kept_for_ever, role, role_wrong, role_changed or note.

        role    "primary" or "replica", what it should be; "": a change within `period` seconds is told instead
        """
        if self.cut_off:
            yield "cut_off", "server", f"serves nobody: {self.cut_off}"
        if self.kept_for_ever:
            yield "kept_for_ever", "binlog", "nothing removes binary logs: they are kept for ever"
        if self.role:
            words = "takes writes" if self.role.writable else f"is read-only ({self.role.why})"
            changed = self.role.changed
            if role and self.role.writable != (role == "primary"):
                yield "role_wrong", "role", f"{words}, and should be a {role}"
            elif not role and changed is not None and changed < period:
                was = "was read-only" if self.role.writable else "took writes"
                yield "role_changed", "role", f"{words}, and {was} until {changed / 60:.0f} min ago"
            else:
                yield "role", "role", words
        yield from (("note", of, text) for of, text in (("", self.summary), *self.notes))


def look(run: Run, db: Any, modes: Iterable[str], *, given: bool = False, schemas: Sequence[str] = ()) -> Server:
    """Ask what the modes need, over an open connection of probes/sql.py.

    given    the modes were named by the operator: what is absent is then a failure rather than a note
    schemas  those whose key counters are looked at; none: all but the system's

    Raises Failed when the server can't be reached any more or is not understood; what a right is missing for, and what a
    server does not have, is a Failed in `failures`.
    """
    return _Look(run, db, set(modes), given, schemas).server()


class _Refused(Exception):
    """The right `right` on `on` is missing: that hides something, and the rest works without it."""

    def __init__(self, hidden: str, right: str, on: str) -> None:
        super().__init__(hidden)
        self.hidden, self.right, self.on = hidden, right, on


class _Look:
    """The questions of one run and what came of them."""

    def __init__(self, run: Run, db: Any, modes: set[str], given: bool, schemas: Sequence[str]) -> None:
        self.run, self.db, self.modes, self.given, self.schemas = run, db, modes, given, schemas
        self.numbers: dict[str, Any] = {}
        self.details: dict[str, str] = {}
        self.notes: list[tuple[str, str]] = []
        self.failures: list[Failed] = []
        self.refused: list[tuple[str, _Refused]] = []
        before = run.before if isinstance(run.before, dict) else {}
        self.before: dict[str, Any] = before
        self.kept: dict[str, Any] = {}
        self.kept_for_ever = False

    def server(self) -> Server:
        here = self.db.row(HERE)
        self.account = "@".join(f"'{part}'" for part in str(here.get("account") or "").rsplit("@", 1))
        self.own = here.get("id")
        self.status = self._named("SHOW GLOBAL STATUS", "uptime", "threads_connected", "threads_running")
        self.variables = self._named("SHOW GLOBAL VARIABLES", "max_connections", "version")
        self.metrics = self._part(self._asked("deadlocks", "history"), self._metrics) or {}
        self._whole()
        self._rates(_number(here.get("now")))
        parts = [
            measure
            for of, ask in (
                (self._asked("transactions", "queries"), self._held),
                ("autoincrement", self._keys),
                ("binlog", self._binlog),
            )
            for measure in self._part(of, ask) or ()
        ]
        role = self._part("role", self._role)
        whole = [Measure(name, value, "", self.details.get(name, "")) for name, value in self.numbers.items()]
        return Server(
            self.db.text, [*whole, *parts], role, self._cut_off(), self.kept_for_ever,
            tuple(self.notes), (*self._refusals(), *self.failures), self.kept,
        )  # fmt: skip

    def _asked(self, *modes: str) -> str:
        return " and ".join(mode for mode in modes if mode in self.modes)

    def _named(self, statement: str, *must: str) -> dict[str, str]:
        """Return name (lower case) -> text of a SHOW statement. Raises Failed UNREADABLE when it lacks `must`."""
        named = {str(row.get("variable_name")).lower(): _text(row.get("value")) for row in self.db.rows(statement)}
        for name in must:
            if name not in named:
                raise Failed(UNREADABLE, self.db.of, statement, f"it has no {name}: is this a MySQL server?")
        return named

    def _part(self, of: str, ask: Callable[[], Any]) -> Any:
        """Return what `ask` gives; None, and a failure that names the part, when it can't be had."""
        try:
            return ask()
        except _Refused as refused:
            self.refused.append((of, refused))
            return None
        except Failed as failed:
            if failed.kind == UNREACHABLE:
                raise
            self.failures.append(Failed(failed.kind, of, failed.tried, failed.error, failed.cure))
            return None

    def _rows(self, what: str, statement: str, right: str, on: str = "*.*") -> list[dict[str, Any]]:
        """Return rows; a refusal says which right is missing."""
        try:
            rows: list[dict[str, Any]] = self.db.rows(statement)
            return rows
        except Failed as failed:
            if failed.kind != NOT_ALLOWED:
                raise
            raise _Refused(what, right, on) from None

    def _refusals(self) -> Iterator[Failed]:
        """Yield what rights are missing for, one for each level, so that line 1 has the statement that grants them all."""
        for on in sorted({refused.on for _, refused in self.refused}):
            parts = [(of, refused) for of, refused in self.refused if refused.on == on]
            hidden = dict.fromkeys(refused.hidden for _, refused in parts)
            rights = dict.fromkeys(refused.right for _, refused in parts)
            cure = f"GRANT {', '.join(rights)} ON {on} TO {self.account};"
            yield Failed(
                NOT_ALLOWED,
                ", ".join(of for of, _ in parts),
                "",
                f"this account is not shown {', '.join(hidden)}",
                cure,
            )

    # Numbers of the whole

    def _value(self, name: str) -> float | None:
        return _number(self.status.get(name.lower()))

    def _setting(self, name: str) -> float | None:
        return _number(self.variables.get(name))

    def _whole(self) -> None:
        """Put the numbers of this moment."""
        numbers, most = self.numbers, self._setting("max_connections")
        numbers["login"] = self.db.login
        numbers["uptime"] = self._value("Uptime")
        numbers["connections"] = _share(self._value("Threads_connected"), most)
        numbers["connections_peak"] = _share(self._value("Max_used_connections"), most)
        self.details["connections"] = f"{self.status['threads_connected']} of {self.variables['max_connections']}"
        numbers["open_files"] = _share(self._value("Open_files"), self._setting("open_files_limit"))
        for name, parts in GAUGES.items():
            values = [self._value(part) for part in parts]
            known = [value for value in values if value is not None]
            if known or name not in MAY_LACK:
                numbers[name] = sum(known) if known else None
        if "statements" in self.modes:
            numbers["running"] = self._running(numbers["running"])
        if "history" in self.modes:
            history = self._value("Innodb_history_list_length")
            if history is None:
                history = self.metrics.get("history")
            if history is not None:
                numbers["history"] = history

    def _running(self, running: float | None) -> float | None:
        """Return the least of a few readings, a moment apart, when the first is not small."""
        for _ in range(READINGS - 1):
            if running is None or running <= CALM or self.run.left() < 2 * PAUSE:
                break
            time.sleep(PAUSE)
            again = _number(
                self._named("SHOW GLOBAL STATUS LIKE 'Threads_running'", "threads_running")["threads_running"]
            )
            running = None if again is None else min(running, again)
        return running

    def _metrics(self) -> dict[str, float]:
        """Return deadlocks and history from INNODB_METRICS where SHOW STATUS has them not: MySQL, MariaDB before 10.5."""
        wanted = {
            name: METRICS[name]
            for name, variable in (("deadlocks", "innodb_deadlocks"), ("history", "innodb_history_list_length"))
            if name in self.modes and variable not in self.status
        }
        if not wanted:
            return {}
        rows = self._rows(" and ".join(wanted), COUNTED, "PROCESS")
        found = {}
        for name, counter in wanted.items():
            row = next((row for row in rows if row.get("name") == counter), None)
            if row is None:
                raise Failed(UNREADABLE, name, "ask INNODB_METRICS", f"it has no {counter}")
            # The column is STATUS ("enabled") in MySQL and MariaDB 10.3 and 10.4, ENABLED (1) later.
            state = _text(row.get("status", row.get("enabled"))).lower()
            if state not in ("enabled", "1"):
                error = f"{counter} is not counted: its state is '{state}'"
                raise Failed(ABSENT, name, "ask INNODB_METRICS", error, f"SET GLOBAL innodb_monitor_enable = {counter}")
            value = _number(row.get("count"))
            if value is None:
                raise Failed(UNREADABLE, name, "ask INNODB_METRICS", f"{counter} has no number")
            found[name] = value
        return found

    # Rates

    def _rates(self, now: float | None) -> None:
        """Put the rates, from the counters of this and of earlier runs."""
        values = {name: self._value(variable) for name, variable in COUNTERS.items()}
        if values["deadlocks"] is None:
            values["deadlocks"] = self.metrics.get("deadlocks")
        counters = {name: value for name, value in values.items() if value is not None}
        began, other = self._began(now)
        history = samples.take(self.run, counters, before=self.before.get("samples", []), boot=began)
        self.kept["samples"] = history.keep()
        if self.modes.intersection(RATED) and all(history.rate(name) is None for name in counters):
            why = "it is started, or its counters are reset, between any two runs"
            if other:
                why = "another server answers at each run: ask each by an address of its own"
            self.failures.append(Failed(UNREADABLE, "", "", f"no rates: {why}"))

        def rate(name: str) -> Any:
            return history.rate(name) if name in counters else None

        numbers = self.numbers
        for name in ("refused", "aborted_clients", "slow", "full_join", "wait_free", "log_waits", "table_cache"):
            if name in counters or name not in MAY_LACK:
                numbers[f"{name}_rate"] = rate(name)
        for name in ("denied", "deadlocks"):
            if name in counters:
                numbers[f"{name}_rate"] = rate(name)
        numbers["aborted_connects_rate"] = self._aborted(rate, counters)
        numbers["tmp_disk"] = history.share("tmp_disk", "tmp") if {"tmp_disk", "tmp"} <= set(counters) else None
        waited = history.share("waited", "waits") if {"waited", "waits"} <= set(counters) else None
        numbers["lock_wait_mean"] = waited / 100 / 1000 if isinstance(waited, float) else waited
        numbers["hit"] = self._hit(history, counters)
        self.details["slow_rate"] = f"longer than {self._setting('long_query_time') or 0:g} s"
        if self.variables.get("log_queries_not_using_indexes") == "ON":
            self.details["slow_rate"] += ", or without an index"
        if "login" in self.modes and "denied" not in counters:
            self.notes.append(("login", "this server does not count refused log-ins apart from aborted connects"))

    def _began(self, now: float | None) -> tuple[str, bool]:
        """Return what changes when the counters begin anew, and whether another server answers than at the last run.

        That is the server, as its address may lead to another one by now, and by its own clock when it was started and its
        counters reset (FLUSH STATUS). The elapsed time between two runs is this host's; the server's Uptime has whole seconds.
        """
        uptime, flushed = self._value("Uptime"), self._value("Uptime_since_flush_status")
        if now is None or uptime is None:
            raise Failed(UNREADABLE, self.db.of, "ask for its time and uptime", "they are no numbers")
        server = " ".join(self.variables[name] for name in SERVER if self.variables.get(name))[:200]
        times = [now - uptime, now - (uptime if flushed is None else flushed)]
        known = self.before.get("began")
        if not (isinstance(known, list) and len(known) == 3):
            known = [server, None, None]
        if server != known[0]:
            self.notes.append(("server", f"is another than at the last run: {server}, and was {known[0]}"))
        # The two statements may see different seconds: what differs by a moment is the same start.
        elif all(isinstance(old, (int, float)) and abs(old - new) <= SLACK for old, new in zip(known[1:], times)):
            times = known[1:]
        self.kept["began"] = [server, *times]
        return f"{samples.boot_id(self.run)} {server} {times[0]:.0f} {times[1]:.0f}", server != known[0]

    def _aborted(self, rate: Callable[[str], Any], counters: Mapping[str, float]) -> Any:
        """Return connects that were aborted, without bare TCP connects (probes of a balancer) and refused log-ins.

        Access_denied_errors counts refused statements, too (looked at on 10.11.19), which are no connects: the difference may
        be too small by them, and is never below 0. MySQL and old MariaDB don't count probes apart.
        """
        rates = [rate(name) for name in ("aborted", "preauth", "denied") if name in counters]
        if "preauth" not in counters:
            self.details["aborted_connects_rate"] = "TCP probes count here, which this server does not tell apart"
        if not rates or "aborted" not in counters or None in rates:
            return None
        if any(isinstance(each, Collecting) for each in rates):
            return COLLECTING
        return max(0.0, rates[0] - sum(rates[1:]))

    def _hit(self, history: samples.History, counters: Mapping[str, float]) -> Any:
        """Return the share of page requests that found their page in memory; FEW of too few."""
        if not {"misses", "requests"} <= set(counters):
            return None
        misses, requests = history.share("misses", "requests"), history.rise("requests")
        if isinstance(misses, float) and isinstance(requests, float):
            return FEW if requests < REQUESTS else max(0.0, 100.0 - misses)
        return misses

    # Sessions

    def _held(self) -> list[Measure]:
        """Return what sessions keep for how long; the longest of each user@host.

        The list of processes silently holds our own alone where PROCESS is missing; the table of transactions then says no, so
        that is asked first, whatever the mode.
        """
        if not self.modes & {"transactions", "queries"}:
            return []
        transactions = self._rows(
            "transactions",
            TRANSACTIONS,
            "PROCESS",
        )
        threads = self._rows(
            "sessions",
            SESSIONS,
            "PROCESS",
        )
        sessions = {row["thread"]: row for row in threads if row.get("thread") != self.own}
        found: list[Measure] = []
        if "queries" in self.modes:
            self.numbers["query"] = 0.0
            for row in sessions.values():
                # What the server does for itself, replication above all, is no query that somebody waits for.
                if row.get("command") in ("Query", "Execute") and row.get("user") not in SERVERS_OWN:
                    found.append(_held("query", row, row.get("seconds")))
        if "transactions" in self.modes:
            found += self._transactions(transactions, sessions)
        worst: dict[tuple[str, str], Measure] = {}
        for held in found:
            if self.run.wants(held.of):
                known = worst.get((held.name, held.of))
                if known is None or held.value > known.value:
                    worst[held.name, held.of] = held
        return [worst[key] for key in sorted(worst)]

    def _transactions(self, rows: Sequence[dict[str, Any]], sessions: Mapping[Any, dict[str, Any]]) -> list[Measure]:
        blockers: Mapping[str, int] | None = {}
        if any(row.get("state") == "LOCK WAIT" for row in rows):
            blockers = self._part("idle_blocker", self._blockers)
        self.numbers.update(longest=0.0, idle_transaction=0.0)
        if blockers is not None:
            self.numbers["idle_blocker"] = 0.0
        found = []
        for row in rows:
            thread = row.get("thread")
            if thread == self.own or (thread and thread not in sessions):
                continue  # ours, or it ended while we asked
            age = _age(row)
            # Without a session: the server rolls it back after a crash, or it was prepared by XA and left so, and keeps its
            # locks over restarts.
            undone = not thread and row.get("state") == "ROLLING BACK"
            nobody = {"user": "rollback after a crash" if undone else "prepared XA transaction", "seconds": age}
            session = sessions[thread] if thread else nobody
            idle = session.get("command") == "Sleep" if thread else not undone
            found.append(_held("longest", session, age, "idle" if idle else ""))
            if idle:
                found.append(_held("idle_transaction", session, session.get("seconds")))
            waiting = (blockers or {}).get(str(row.get("id")), 0)
            if idle and waiting:
                found.append(_held("idle_blocker", session, session.get("seconds"), f"{waiting} wait for it"))
        return found

    def _blockers(self) -> dict[str, int]:
        """Return transaction -> how many wait for it.

        Asked only while somebody waits: the server makes this table while it holds the latch of all locks.
        """
        if self.db.flavour == "mysql" and self.db.version >= (8,):
            if self.variables.get("performance_schema") != "ON":
                error = "transactions wait, and for whom is not told: performance_schema is off"
                raise Failed(ABSENT, "", "ask for lock waits", error)
            rows = self._rows("lock waits", DATA_LOCK_WAITS, "SELECT", "performance_schema.data_lock_waits")
        else:
            rows = self._rows("lock waits", INNODB_LOCK_WAITS, "PROCESS")
        return {str(row.get("id")): int(row.get("waiting") or 0) for row in rows}

    # Columns that count, binary logs, role, cluster

    def _keys(self) -> list[Measure]:
        """Return the AUTO_INCREMENT columns nearest to the end of their type, and note what of them could not be looked at."""
        if "autoincrement" not in self.modes:
            return []
        if self.db.flavour == "mysql" and self.db.version >= (8,):
            # Else the server answers with what it knew up to a day ago, and writes down what it learns.
            self.db.rows("SET SESSION information_schema_stats_expiry = 0")
        tables, columns = (
            [row for row in self.db.rows(statement) if not self.schemas or row["s"] in self.schemas]
            for statement in (TABLES, COLUMNS)
        )
        seen = sorted({_text(row["s"]) for row in tables})
        whole = self._whole_view(seen)
        kinds = {f"{row['s']}.{row['t']}": _text(row["kind"]) for row in columns}
        keys, untold, shut = [], 0, []
        for row in tables:
            name = f"{row['s']}.{row['t']}"
            if row["engine"] is None and self.run.wants(name):
                shut.append(f"{name}: {_text(row['said'])}")
            elif name in kinds and self.run.wants(name):
                if row["counter"] is None:
                    untold += 1  # MySQL says nothing of a table that nobody has used yet
                else:
                    keys.append(_key(name, kinds[name], int(row["counter"])))
        if shut:
            # MySQL to 5.7 and MariaDB leave all empty of a table that is damaged, or locked by an ALTER TABLE.
            also = f", and {len(shut) - 1} more" if shut[1:] else ""
            self.failures.append(Failed(UNREADABLE, "autoincrement", "", f"can't open {shut[0]}{also}"))
        if keys or (whole and not shut):
            told = f"columns that count: {len(keys) + untold}, in {', '.join(seen) or 'no schema'}"
            self.notes.append(("autoincrement", told + (f"; of {untold} no number is told" if untold else "")))
            self.numbers["autoincrement"] = None if untold and not keys else 0.0
        return sorted(keys, key=lambda key: (-key.value, key.of))[:LARGEST]

    def _whole_view(self, seen: Sequence[str]) -> bool:
        """Say whether we are shown every table that was asked for; note what is missing for it.

        A table without a right on it is invisible, as are the columns of one that one may only show: what is seen proves
        nothing of the rest.
        """
        said = (_text(next(iter(row.values()), "")) for row in self.db.rows(GRANTS))
        grants = [found for found in map(GRANT.match, said) if found]
        before = len(self.refused) + len(self.failures)
        for schema in self.schemas or ("",):
            if not _may_see(grants, schema):
                hidden = f"every table of {schema}" if schema else "every table"
                on = f"`{schema}`.*" if schema else "*.*"
                self.refused.append(("autoincrement", _Refused(hidden, "REFERENCES", on)))
            elif schema and schema not in seen:
                self.failures.append(Failed(ABSENT, "autoincrement", "", f"there is no table in a schema {schema}"))
        return len(self.refused) + len(self.failures) == before

    def _binlog(self) -> list[Measure]:
        if "binlog" not in self.modes:
            return []
        if self.variables.get("log_bin") in ("OFF", "0"):
            if self.given:
                raise Failed(ABSENT, "", "", "the binary log is off")
            self.notes.append(("binlog", "the binary log is off"))
            return []
        mariadb = self.db.flavour == "mariadb" and self.db.version >= (10, 5, 2)
        rows = self._rows("binary logs", "SHOW BINARY LOGS", "BINLOG MONITOR" if mariadb else "REPLICATION CLIENT")
        sizes = [_number(row.get("file_size")) for row in rows]
        if not sizes or None in sizes:
            raise Failed(UNREADABLE, "", "SHOW BINARY LOGS", "it lists no file with a size")
        # MariaDB: expire_logs_days, from 10.6 binlog_expire_logs_seconds for the same, from 11.4 max_binlog_total_size.
        bounds = ("expire_logs_days", "binlog_expire_logs_seconds", "max_binlog_total_size")
        purged = self.variables.get("binlog_expire_logs_auto_purge") != "OFF"  # MySQL from 8.0.29
        self.kept_for_ever = not (purged and any(self._setting(name) for name in bounds))
        return [Measure("binlog", sum(size for size in sizes if size is not None), detail=f"{len(sizes)} files")]

    def _role(self) -> Role | None:
        """Return whether writes are taken; a change is known when an earlier run saw it otherwise."""
        if "role" not in self.modes:
            return None
        forbid = []
        for name in ("read_only", "super_read_only", "innodb_read_only"):
            word = self.variables.get(name)
            if word is None and name != "read_only":
                continue
            if word not in READ_ONLY:
                error = f"{name} is '{word}', which is not understood" if word else f"it has no {name}"
                raise Failed(UNREADABLE, "", "SHOW GLOBAL VARIABLES", error)
            if READ_ONLY[word]:
                forbid.append(name)
        writable, now = not forbid, self.run.clock.time()
        known = self.before.get("role")
        changed = None
        if isinstance(known, list) and len(known) == 2:
            changed = known[1] if isinstance(known[1], (int, float)) and known[1] <= now else None
            changed = now if known[0] is not writable else changed
        self.kept["role"] = [writable, changed]
        return Role(writable, ", ".join(forbid), None if changed is None else now - changed)

    def _cut_off(self) -> str:
        """Say why it serves nobody, though it answers all that is asked here; "" if it serves.

        That is a node of a Galera cluster that refuses every table, and MySQL in offline mode, which lets administrators in.
        """
        if self.variables.get("offline_mode", "OFF") != "OFF":
            return f"offline_mode is {self.variables['offline_mode']}"
        if self.variables.get("wsrep_on") != "ON":
            return ""
        told = {
            "wsrep_cluster_status": self.status.get("wsrep_cluster_status", ""),
            "wsrep_ready": self.status.get("wsrep_ready", ""),
            "wsrep_reject_queries": self.variables.get("wsrep_reject_queries", "NONE"),
        }
        right = dict(zip(told, ("primary", "on", "none")))
        return ", ".join(
            f"{name} is {word or 'not told'}" for name, word in told.items() if word.lower() != right[name]
        )


def _held(name: str, session: Mapping[str, Any], seconds: Any, more: str = "") -> Measure:
    """Return one; without the host's port, or no two connections of a service were the same object."""
    user, host = _text(session.get("user")) or "nobody", _text(session.get("host"))
    host = host.rpartition(":")[0] or host
    thread = f"connection {session['thread']}" if session.get("thread") else ""
    detail = ", ".join(word for word in (thread, more) if word)
    # What began while we asked has seconds below 0, or none.
    return Measure(name, max(0.0, _number(seconds) or 0.0), f"{user}@{host}" if host else user, detail)


def _age(row: Mapping[str, Any]) -> float | None:
    """Return a transaction's age in seconds.

    By local time it is an hour too much when summer time began meanwhile, and by UTC below 0 in the last hour of summer time,
    whose times come twice.
    """
    local, utc = _number(row.get("seconds")), _number(row.get("utc"))
    return utc if local is not None and utc is not None and 0 <= utc < local else local


def _may_see(grants: Iterable[re.Match[str]], schema: str) -> bool:
    """Say whether grants show each table and column of a schema; of all schemas with ""."""
    held: set[str] = set()
    revoked: set[str] = set()
    for verb, listed, pattern in (grant.groups() for grant in grants):
        rights = COLUMN_RIGHTS if listed == "ALL PRIVILEGES" else COLUMN_RIGHTS.intersection(listed.split(", "))
        fits = pattern is None or bool(schema and _like(pattern, schema))
        if verb == "GRANT" and fits:
            held |= rights
        # MySQL's partial revokes, of one schema each
        elif verb == "REVOKE" and (fits if schema else pattern not in SYSTEM):
            revoked |= rights
    return bool(held - revoked)


def _like(pattern: str, name: str) -> bool:
    """Say whether a pattern of LIKE, as grants on schemas are, fits a name."""
    words = {"%": ".*", "_": "."}
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return re.fullmatch("".join(words.get(part) or re.escape(part[-1]) for part in parts), name) is not None


def _key(name: str, column_type: str, counter: int) -> Measure:
    """Return how far a column has counted: `counter` is the value that it gives out next."""
    words = column_type.lower().replace("(", " ").split()
    if not words or words[0] not in LIMITS:
        error = f"{name} counts in a column of type '{column_type}', which is not understood"
        raise Failed(UNREADABLE, "", "ask for AUTO_INCREMENT columns", error)
    limit = LIMITS[words[0]]["unsigned" in words]
    share = 100.0 * max(0, counter - 1) / limit
    return Measure("autoincrement", share, name, f"{column_type}, the next is {counter} of {limit}")


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    """Return a number that the server tells as text; None for anything else."""
    try:
        return None if value is None else float(_text(value))
    except ValueError:
        return None


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100.0 * part / whole
