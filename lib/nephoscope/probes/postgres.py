# SPDX-License-Identifier: Apache-2.0
"""What a PostgreSQL server (9.2 to 18) tells of itself, in two or three statements of one connection.

Sources are named in `postgres_statements`, which has the statements; here is what the answers mean.

Rows of pg_stat_activity that belong to others are there for everybody, with every column that tells something NULL and "query"
saying `<insufficient privilege>` (pg_stat_get_activity in pgstatfuncs.c, not translated): whoever counts states without looking
at that counts too few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREADABLE, Collecting, Failed, Run, attempt
from nephoscope.probes import postgres_statements as statements

RATES_SPAN = 300.0  # seconds over which rates and shares are reckoned
CHECKPOINTS_SPAN = 3600.0  # a checkpoint comes every five minutes at most, by default
SHUTDOWN = 1 << 31  # transactions after which identifiers begin anew
PAGES = 20  # of sequences
VOLUME = 1000  # blocks: the share of fewer that were in the cache is noise
FEW = Collecting(f"is not told of fewer than {VOLUME} blocks")
FORCED = 2  # checkpoints that were asked for and are still no habit: a backup asks for one
PRIMARY = ("prepared", "vacuum", "checkpoints")  # modes whose facts a replica does not have
STATISTICS = ("locks", "work", "vacuum", "checksums")  # modes that need track_counts
OF_ONE = ("vacuum", "sequences")  # modes that look at the database asked alone
MIB = 1 << 20
UNITS = {"B": 1, "kB": 1 << 10, "8kB": 8 << 10, "MB": 1 << 20, "16MB": 16 << 20, "GB": 1 << 30}


STATES = {
    "active": "active", "fastpath function call": "active", "starting": "active",  # starting: PostgreSQL 18
    "idle": "idle", "idle in transaction": "idle_in_transaction", "idle in transaction (aborted)": "idle_in_transaction",
}  # fmt: skip
SLOTS = {None: "ok", "reserved": "ok", "extended": "ok", "unreserved": "degraded", "lost": "failed"}
COUNTERS = ("xact_commit", "xact_rollback", "blks_read", "blks_hit", "temp_bytes", "deadlocks", "conflicts")
RATES = {
    "deadlocks_rate": ("locks", "deadlocks"),
    "conflicts_rate": ("locks", "conflicts"),
    "commits_rate": ("work", "xact_commit"),
    "temp_rate": ("work", "temp_bytes"),
    "wal_rate": ("wal", "wal"),
}


class Reading(NamedTuple):
    """A number that a limit may be held against: the threshold's name, its value, whose it is, what it is made of."""

    name: str
    value: float | Collecting | None
    of: str = ""
    detail: str = ""


class Standing(NamedTuple):
    """Something that is so, in one of these words: ok, degraded, failed, unknown."""

    of: str
    kind: str
    text: str


class Server(NamedTuple):
    """One look at one server.

    text      its version in words
    replica   it is in recovery: it follows another
    used      sessions, "3 of 97"; "" not looked at
    readings  numbers
    states    what is so
    failures  what could not be learnt
    kept      plain JSON for the next run
    """

    text: str
    replica: bool = False
    used: str = ""
    readings: Sequence[Reading] = ()
    states: Sequence[Standing] = ()
    failures: Sequence[Failed] = ()
    kept: Any = None

    def standings(self, role: str | None) -> list[Standing]:
        """Return what is so, what the server is first; `role` is what it should be: "primary", "replica" or None."""
        now = "replica" if self.replica else "primary"
        wrong = [Standing("role", "failed", f"is {now}, and should be {role}")] if role not in (None, now) else []
        text = f"{self.text}, {now}" + (f", {self.used} connections" if self.used else "")
        return [Standing("", "ok", text), *wrong, *self.states]


class _Look:
    """What is known of one server while the parts are put together."""

    def __init__(self, db: Any, modes: Sequence[str], given: bool, first: Mapping[str, Any]) -> None:
        self.version, self.text = tuple(db.version), str(db.text)
        self.role = str(first["role"])
        self.replica = bool(first["replica"])
        self.uptime = max(0.0, float(first["uptime"]))
        self.started = str(first["started"])
        self.settings = {row["name"]: _setting(row) for row in first["settings"] or ()}
        self.may = {name for name in ("waldir", "ready") if first[name]}
        self.all_settings, self.no_command = bool(first["all_settings"]), bool(first["no_command"])
        self.readings: list[Reading] = []
        self.standings: list[Standing] = []
        self.failures: list[Failed] = []
        self.used = ""
        self.hidden: list[str] = []  # what the role may not see
        self.modes = [mode for mode in modes if self._here(mode, given)]

    def _here(self, mode: str, given: bool) -> bool:
        """Say whether a mode has anything to look at on this server, and tell why not: a failure where it was asked for."""
        why = ""
        if self.replica and mode in PRIMARY:
            why = "this is a replica, and only the primary knows"
        elif mode == "checksums" and self.version < (12,):
            why = "failures are counted from PostgreSQL 12 on"
        elif mode == "checksums" and self.settings.get("data_checksums") != "on":
            why = "off: nothing notices a damaged page"
        elif mode == "sequences" and self.version < (10,):
            why = "can be read from PostgreSQL 10 on"
        elif mode in ("wal", "horizon") and self.version < (9, 4):
            why = "can be read from PostgreSQL 9.4 on"
        elif mode in STATISTICS and self.settings.get("track_counts") == "off":
            self.failures.append(Failed(UNREADABLE, mode, "", "nothing is counted: track_counts is off"))
            return False
        if why and given:
            self.failures.append(Failed(ABSENT, mode, "", why))
        elif why:
            self.tell(mode, "ok", why)
        return not why

    def number(self, name: str, default: float | None = None) -> float:
        """Return a setting that is a number. Raises Failed."""
        value = self.settings.get(name, default)
        if not isinstance(value, float):
            raise Failed(UNREADABLE, name, "read pg_settings", f"is {value or 'missing'}")
        return value

    def put(self, name: str, value: float | Collecting | None, of: str = "", detail: str = "") -> None:
        """Add a reading."""
        self.readings.append(Reading(name, value, of, detail))

    def tell(self, of: str, kind: str, text: str) -> None:
        """Add a standing."""
        self.standings.append(Standing(of, kind, text))


def _setting(row: Mapping[str, Any]) -> float | str:
    """Return a setting as a number, of bytes where its unit is one of size, or as its word."""
    text = str(row["setting"])
    if text.lstrip("-").isdigit():
        return float(text) * UNITS.get(row["unit"] or "", 1)
    return text


def look(
    run: Run, db: Any, modes: Sequence[str], *, given: bool = False, pools: Sequence[tuple[str, int]] = (),
    dead: int = statements.DEAD, vacuumed: float = statements.VACUUMED,
) -> Server:  # fmt: skip
    """Ask an open connection (`sql.Connection`) for the facts of these modes: two statements, and one for each 500 sequences.

    given           the modes were asked for by name: one that this server can't have is a failure
    pools           (database or glob, sessions that one client's pool may open), the first that fits counts
    dead, vacuumed  of tables those with so many dead rows, not vacuumed for so many seconds
    Raises Failed when the server can't be asked at all; one that is older than 9.2 is unreadable.
    """
    if tuple(db.version) < (9, 2):
        raise Failed(UNREADABLE, "", "", f"{db.text} is older than 9.2, the first that this check can ask")
    run.stage(f"ask {db.of} for its role, its settings and what may be seen")
    first = db.row(statements.first(db.version))
    state = _Look(db, modes, given, first)
    pools = pools if "connections" in state.modes else ()
    run.stage(f"ask {db.of} for {', '.join(state.modes)}")
    facts = db.row(
        statements.second(
            *(state.version, state.modes),
            replica=state.replica,
            may=tuple(state.may),
            pools=bool(pools),
            dead=dead,
            vacuumed=vacuumed,
        )
    )
    kept = dict(run.before) if isinstance(run.before, dict) else {}
    if facts.get("masked"):
        state.hidden.append("the sessions of other roles")
    if facts.get("masked_senders"):
        state.hidden.append("the snapshots of replicas")
    parts: dict[str, Any] = {
        "login": lambda: state.put("login", db.login),
        "connections": lambda: _connections(state, facts),
        "transactions": lambda: _transactions(state, facts),
        "locks": lambda: _locks(state, facts["waits"]),
        "prepared": lambda: _prepared(state, facts["prepared"]),
        "horizon": lambda: _horizon(state, facts["horizon"]),
        "wraparound": lambda: _wraparound(state, facts["wraparound"]),
        "vacuum": lambda: _vacuum(state, facts["tables"]),
        "checkpoints": lambda: _checkpoints(state, run, kept, facts["checkpoints"]),
        "wal": lambda: _wal(state, facts),
        "checksums": lambda: _checksums(state, facts["checksums"]),
        "sequences": lambda: _sequences(state, run, db),
        "settings": lambda: _settings(state, facts.get("pending")),
    }
    for mode in state.modes:
        if mode in OF_ONE:
            state.tell(mode, "ok", f"of database {first['database']} alone")
        masked = facts.get("masked") and mode in statements.SESSIONS
        if mode in parts and not masked and not (facts.get("masked_senders") and mode == "horizon"):
            failed = attempt(parts[mode])
            if isinstance(failed, Failed):
                state.failures.append(failed)
    if pools and not facts["masked"]:
        _pools(state, facts, pools)
    _rates(state, run, kept, facts)
    if state.hidden:
        state.failures.insert(0, _hidden(state))
    parts_told = (tuple(state.readings), tuple(state.standings), tuple(state.failures))
    return Server(state.text, state.replica, state.used, *parts_told, kept)


def _hidden(state: _Look) -> Failed:
    cure = f"GRANT pg_monitor TO {state.role}"
    if state.version < (10,):
        cure = "a superuser, or the view that --explain shows: pg_monitor came with PostgreSQL 10"
    said = state.hidden[0] if len(state.hidden) == 1 else f"{', '.join(state.hidden[:-1])} and {state.hidden[-1]}"
    return Failed(NOT_ALLOWED, "", "", f"{said} are hidden from {state.role}", cure)


def _person(row: Mapping[str, Any]) -> str:
    return f"{row['user'] or '?'}@{row['database']}"  # a role that was dropped has no name


def _session(row: Mapping[str, Any]) -> str:
    """Return which session a row of pg_stat_activity is, without whose."""
    return ", ".join(word for word in (f"pid {row['pid']}", row["application"], row["state"]) if word)


def _connections(state: _Look, facts: Mapping[str, Any]) -> None:
    used = sum(row["numbackends"] or 0 for row in facts["databases"] or ()) + (facts.get("senders") or 0)
    room = state.number("max_connections") - state.number("superuser_reserved_connections")
    room -= state.number("reserved_connections", 0.0)  # PostgreSQL 16
    state.used = f"{used} of {room:.0f}"
    state.put("connections", 100.0 * used / room if room > 0 else None, "", state.used)


def _pools(state: _Look, facts: Mapping[str, Any], pools: Sequence[tuple[str, int]]) -> None:
    from fnmatch import fnmatchcase

    limits: dict[str, int] = {}
    for name in facts["names"] or ():
        for glob, number in pools:
            if fnmatchcase(name, glob):
                limits.setdefault(name, number)
    if not limits:
        wanted = ", ".join(glob for glob, _ in pools)
        state.failures.append(Failed(ABSENT, "pool", "", f"there is no database {wanted}"))
    most: dict[str, tuple[int, str]] = dict.fromkeys(limits, (0, ""))
    for row in facts["pools"] or ():
        if row["database"] in most:
            most[row["database"]] = max(most[row["database"]], (row["number"], row["client"]))
    for name, (number, client) in sorted(most.items()):
        share = 100.0 * number / limits[name] if limits[name] else None
        state.put("pool", share, name, f"{number} of {limits[name]} from {client}" if client else "")


def _transactions(state: _Look, facts: Mapping[str, Any]) -> None:
    counts = dict.fromkeys(STATES.values(), 0)
    for row in facts["states"] or ():
        word = row["state"]
        if word in STATES:
            counts[STATES[word]] += row["number"]
        elif word not in (None, "disabled"):
            state.tell("sessions", "unknown", f"{row['number']} are in a state that is not understood: {word}")
    if facts["disabled"]:
        text = f"{facts['disabled']} of them tell nothing: track_activities is off for them"
        state.failures.append(Failed(UNREADABLE, "sessions", "", text))
    for name in ("active", "idle_in_transaction"):
        state.put(name, counts[name])
    for name in ("longest", "query", "idle_transaction"):
        for row in facts[name] or ():
            state.put(name, row["seconds"], _person(row), _session(row))
        if not facts[name]:
            state.put(name, 0.0)


def _locks(state: _Look, waits: Mapping[str, Any]) -> None:
    waiters = waits["waiters"] or []
    chains = {row["pid"]: [pid for pid in row["blockers"] or () if pid != row["pid"]] for row in waiters}
    holders = {row["pid"]: row for row in waits["holders"] or ()}
    behind: dict[int, int] = {}
    for pid in chains:
        root = _root(pid, chains)
        if root is not None:
            behind[root] = behind.get(root, 0) + 1
    detail = ""
    if behind:
        root = max(behind, key=lambda pid: behind[pid])
        who = f"pid {root}" if root else "a prepared transaction"
        if root in holders:
            row = holders[root]
            words = (who, _person(row), row["application"], f"{row['state']} for {row['seconds'] or 0:.0f} s")
            who = ", ".join(word for word in words if word)
        detail = f"{behind[root]} behind {who}"
    state.put("waiters", waiters[0]["number"] if waiters else 0, "", detail)
    state.put("waited", waiters[0]["seconds"] if waiters else 0.0, "", detail)


def _root(pid: int, chains: Mapping[int, Sequence[int]]) -> int | None:
    """Return who stands at the head of a queue: waits for nobody, and a 0 is a prepared transaction. None: nobody any more."""
    seen: set[int] = set()
    while pid in chains and pid not in seen:
        seen.add(pid)
        if not chains[pid]:
            return None
        pid = chains[pid][0]
    return pid


def _prepared(state: _Look, rows: Sequence[Mapping[str, Any]] | None) -> None:
    row = next(iter(rows or ()), None)
    if row is None:
        state.put("prepared", 0.0)
        return
    state.put(
        "prepared", row["seconds"], "", f"{row['gid']} of {row['user']}@{row['database']}, {row['number']} in all"
    )


def _horizon(state: _Look, rows: Sequence[Mapping[str, Any]] | None) -> None:
    row = next(iter(rows or ()), None)
    state.put(
        "xmin_age", row["age"] if row else 0, "", f"held by {row['kind']} {row['name'] or ''}".strip() if row else ""
    )


def _wraparound(state: _Look, rows: Sequence[Mapping[str, Any]] | None) -> None:
    """Take each database's age: of all identifiers there are, and of the age at which vacuum must have frozen it."""
    limits = {"xid": state.number("autovacuum_freeze_max_age")}
    if state.version >= (9, 5):
        limits["mxid"] = state.number("autovacuum_multixact_freeze_max_age")
    for row in rows or ():
        for name in limits:
            state.put(name, 100.0 * row[name] / SHUTDOWN, row["name"], f"{row[name]} transactions old")
        state.put("freeze", max(100.0 * row[name] / limit for name, limit in limits.items()), row["name"])


def _vacuum(state: _Look, rows: Sequence[Mapping[str, Any]] | None) -> None:
    off = state.settings.get("autovacuum") == "off"
    state.tell("autovacuum", "degraded" if off else "ok", "is off" if off else "is on")
    for row in rows or ():
        when = "never vacuumed" if row["never"] else f"vacuumed {row['vacuumed'] / 86400:.1f} days ago"
        state.put("dead", row["share"], row["name"], f"{row['dead']} rows, {when}")
    if not rows:
        state.put("dead", 0.0)


def _checkpoints(state: _Look, run: Run, kept: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    from nephoscope.base import samples

    row = rows[0]
    counters = {"forced": row["forced"], "all": row["forced"] + row["timed"]}
    history = samples.take(
        run, counters, span=CHECKPOINTS_SPAN, before=kept.get("checkpoints", []), boot=_began(state, run, row["reset"])
    )
    kept["checkpoints"] = history.keep()
    forced = history.rise("forced")
    share = history.share("forced", "all")
    if isinstance(forced, (int, float)) and forced <= FORCED:
        share = 0.0
    state.put("forced", share)


def _wal(state: _Look, facts: Mapping[str, Any]) -> None:
    mode = state.settings.get("archive_mode")
    row: Mapping[str, Any] = next(iter(facts["archiver"] or ()), {})
    if mode == "off" or (state.replica and mode != "always"):
        state.tell("archiver", "ok", "is off" if mode == "off" else "rests on a replica")
    elif state.no_command:
        state.tell("archiver", "degraded", "has no command: WAL is kept until it gets one")
    elif row.get("failing"):
        text = f"fails at {row['segment']}, last {row['seconds']:.0f} s ago, and has archived nothing since"
        state.tell("archiver", "failed", text)
    else:
        state.tell("archiver", "ok", f"has archived {row.get('archived', 0)} files")
    if "ready" in facts:
        state.put("ready", facts["ready"])
    elif state.version >= (12,):
        state.hidden.append("the files that wait for the archiver")
    if "waldir" in facts:
        keep = state.number("wal_keep_size", 0.0) or (
            state.number("wal_keep_segments", 0.0) * state.number("wal_segment_size")
        )
        room = state.number("max_wal_size") + keep
        state.put("wal", 100.0 * facts["waldir"] / room, "", f"{facts['waldir'] / MIB:.0f} of {room / MIB:.0f} MiB")
    elif state.version >= (10,):
        state.hidden.append("the files of pg_wal")
    for slot in facts["slots"] or ():
        kind = SLOTS.get(slot["status"], "unknown")
        use = "in use" if slot["active"] else "not in use"
        state.tell(slot["name"], kind, f"slot is {slot['status'] or 'there'}, {use}")
        state.put("retained", slot["retained"] or 0.0, slot["name"], f"slot {use}")


def _checksums(state: _Look, rows: Sequence[Mapping[str, Any]] | None) -> None:
    for row in rows or ():
        failures = row["failures"]
        state.put("checksum_failures", failures, row["name"], f"last {row['seconds']:.0f} s ago" if failures else "")


def _sequences(state: _Look, run: Run, db: Any) -> None:
    run.stage(f"ask {db.of} for its sequences")  # by itself: a sequence that is locked must not cost all the rest
    number, hidden, ended = 0, 0, 0
    worst: list[Mapping[str, Any]] = []
    for _ in range(PAGES):
        row = db.row(statements.SEQUENCES, (ended,))
        number, hidden, ended = number + row["number"], hidden + row["hidden"], row["ended"]
        worst = sorted([*worst, *(row["worst"] or ())], key=lambda one: -one["share"])[: statements.LISTED]
        if row["number"] < statements.PAGE:
            break
    else:
        state.failures.append(Failed(LATE, "sequences", "", f"there are more than the {number} that were looked at"))
    if hidden:
        text = f"{hidden} of {number} are hidden from {state.role}"
        cure = f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {state.role}, in each schema"
        state.failures.append(Failed(NOT_ALLOWED, "sequences", "", text, cure))
    for one in worst:
        state.put("sequence", one["share"], one["name"])
    if not worst and not hidden:
        state.put("sequence", 0.0)


def _settings(state: _Look, pending: Sequence[str] | None) -> None:
    state.put("uptime", state.uptime)
    for name in ("fsync", "full_page_writes"):
        if state.settings.get(name) == "off":
            state.tell(name, "degraded", "is off: a crash damages the data")
    if not state.all_settings and state.version >= (10,):
        state.hidden.append("some settings")
    elif not state.all_settings:  # no right lends them
        state.tell("settings", "ok", "that superusers alone may see are not looked at")
    if pending:
        state.tell("settings", "degraded", f"wait for a restart: {', '.join(pending)}")


def _began(state: _Look, run: Run, *marks: object) -> str:
    """Return what changes when counters begin anew: our boot (for our clock), the server's start, what resets say."""
    from nephoscope.base import samples

    return " ".join(map(str, (samples.boot_id(run), state.started, *marks)))


def _rates(state: _Look, run: Run, kept: dict[str, Any], facts: Mapping[str, Any]) -> None:
    """Reckon what a second saw since some five minutes ago, of all databases together."""
    from nephoscope.base import samples

    rows = facts.get("databases") or ()
    counters: dict[str, float] = {}
    if facts.get("position") is not None:
        counters["wal"] = facts["position"]
    if rows:
        total = {name: float(sum(row[name] or 0 for row in rows)) for name in COUNTERS}
        counters.update(
            total, asked=total["blks_hit"] + total["blks_read"], ended=total["xact_commit"] + total["xact_rollback"]
        )
    # A reset of one database, one that came or went: sums over others than before are no rise.
    marks = (max((row["reset"] or 0 for row in rows), default=0), sum(row["id"] or 0 for row in rows))
    history = samples.take(
        run, counters, span=RATES_SPAN, before=kept.get("rates", []), boot=_began(state, run, *marks)
    )
    kept["rates"] = history.keep()
    for name, (mode, counter) in RATES.items():
        if mode in state.modes:
            state.put(name, history.rate(counter))
    if "work" in state.modes:
        volume = history.rise("asked")
        few = isinstance(volume, (int, float)) and volume < VOLUME
        state.put("hit", FEW if few else history.share("blks_hit", "asked"))
        state.put("rollbacks", history.share("xact_rollback", "ended"))
