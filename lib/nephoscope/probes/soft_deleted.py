# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - statements are made of our own words and of names that `schemas.quoted` quotes; values are parameters
"""Rows that a service has marked as deleted and goes on carrying: how many of each table, and since when.

OpenStack's services mark a row by `deleted` (nova the row's id, cinder and glance a boolean) and `deleted_at`, UTC; heat by
`deleted_at` alone; keystone's tables of tokens and revocations are full of what has expired (nova 34, cinder 29, glance 33,
heat 27, keystone 30: their models). Nova moves such rows to `shadow_…` tables, where they no longer slow a query.

What it costs: no index serves these questions, so a count reads the whole table. By default the number of rows is the server's
own statistic (information_schema.tables.table_rows, pg_class.reltuples), and the share of marked ones comes from a sample of
at most PROBES times DEPTH rows, taken along the primary key at even distances: as much on a table of any size. A table of at
most SMALL rows is counted. MySQL's statistic of an InnoDB table may be wrong by half (manual, SHOW TABLE STATUS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, attempt
from nephoscope.probes import schemas
from nephoscope.probes.schemas import Place

SMALL = 1000  # rows up to which a table is counted
PROBES, DEPTH = 20, 25
TOGETHER = 20  # small tables that one statement counts
LEAST = 0.5  # seconds in which a schema can be looked at
SHADOW = "shadow_"
EXPIRES = {("token", "expires"), ("revocation_event", "expires_at")}  # keystone: gone is what has expired
COLUMNS = ("id", "deleted", "deleted_at", *sorted({column for _, column in EXPIRES}))


class Table(NamedTuple):
    """What one table holds.

    name     "nova.instances"
    rows     all rows; by statistics unless `exact`
    deleted  rows marked as deleted
    expired  those of them that were so for longer than the retention
    oldest   seconds since the first of them was marked, at least; None: none is marked
    exact    counted, not reckoned
    """

    name: str
    rows: int
    deleted: int
    expired: int
    oldest: float | None
    exact: bool

    @property
    def share(self) -> float:
        """Marked rows, in percent of all."""
        return 100.0 * self.deleted / self.rows if self.rows else 0.0


class Shadow(NamedTuple):
    """The shadow tables of one schema: rows by statistics, and their part of the schema's bytes, in percent."""

    schema: str
    rows: int
    share: float


class Survey(NamedTuple):
    """Tables and Failed in their place, the shadow tables of each schema, and the names of the schemas looked at."""

    tables: Sequence[Table | Failed]
    shadows: Sequence[Shadow] = ()
    looked: Sequence[str] = ()
    failures: Sequence[Failed] = ()


class Mark(NamedTuple):
    """How a table says that a row is gone: SQL over the alias t, and the column that says since when ("" for none)."""

    gone: str
    since: str
    key: str
    columns: tuple[str, ...]


def survey(run: Run, options: Any) -> Survey:
    """Look at every table with soft-deleted rows in the schemas that the options name. Raises Failed."""
    with schemas.opened(run, options) as sight:
        places, failures = sight.choose(options.schema)
        tables: list[Table | Failed] = []
        shadows: list[Shadow] = []
        looked = []
        for number, place in enumerate(places):
            if run.left() < LEAST:
                error = f"the time was up, {len(places) - number} of {len(places)} schemas were not looked at"
                failures.append(Failed(LATE, "", "look at schemas", error, "-t gives more"))
                break
            if schemas.left_out(run, place):
                continue
            try:
                found, shadow = of_schema(run, place, options)
            except Failed as failed:
                failures.append(Failed(failed.kind, place.name, *failed.args[2:]))
                continue
            if not found and options.schema:
                error = "no table with rows that are marked as deleted"
                failures.append(Failed(ABSENT, place.name, "look for its tables", error))
            if not place.whole and (found or options.schema):
                failures.append(half_seen(place))
            tables += found
            shadows += [shadow] if shadow else []
            looked += [place.name] if found else []
        failures = [*sight.failures, *failures]
        if not failures and not tables:
            failures = [_nothing(places)]
    return Survey(tables, shadows, looked, failures)


def _nothing(places: Sequence[Place]) -> Failed:
    """Return why there is not a single table to look at."""
    if not places:
        return Failed(NOT_ALLOWED, "", "list the schemas", "the account sees no schema")
    names = ", ".join(place.name for place in places)
    return Failed(ABSENT, "", "look for tables", f"no table with rows that are marked as deleted in {names}")


def half_seen(place: Place) -> Failed:
    """Return what stands for the tables of a schema that this account does not even see."""
    error = "only tables with a grant of their own are seen, others may be there"
    return Failed(NOT_ALLOWED, place.name, "list its tables", error, place.grant("REFERENCES"))


def of_schema(run: Run, place: Place, options: Any) -> tuple[list[Table | Failed], Shadow | None]:
    """Return the tables of one schema, the smallest first, and what its shadow tables hold. Raises Failed."""
    run.stage(f"{place.db.of}: statistics of {place.name}")
    sizes, columns, hidden = (_mysql if place.db.kind == "mysql" else _postgres)(place)
    if not sizes:
        return [], None
    now = place.db.value(f"SELECT {schemas.NOW[place.db.kind]}")
    if not isinstance(now, datetime):
        raise Failed(UNREADABLE, place.name, "ask the server for its time", "no time came back")
    jobs: list[tuple[str, Mark, int | None]] = []
    found: list[Table | Failed] = []
    for name in sizes:
        if name.startswith(SHADOW):
            continue
        mark = marked(place, name, columns.get(name, {}))
        if mark and run.wants(f"{place.name}.{name}"):
            jobs.append((name, mark, sizes[name][0]))
        elif name in hidden and run.wants(f"{place.name}.{name}"):
            error = "the server does not tell its columns: a change of the table holds it, or it is damaged"
            found.append(Failed(UNREADABLE, f"{place.name}.{name}", "look for its marks", error))
    jobs.sort(key=lambda job: (job[2] or 0, job[0]))
    ask = _Ask(run, place, now, options.retention)
    small = [] if options.exact else [job for job in jobs if job[2] is None or job[2] <= SMALL]
    counted = ask.small(small)
    for name, mark, rows in jobs:
        try:
            found.append(counted.get(name) or ask.one(name, mark, rows, options.exact))
        except Failed as failed:
            found.append(_said(place, name, mark, failed))
    total = sum(size for _, size in sizes.values())
    shadow = [sizes[name] for name in sizes if name.startswith(SHADOW)]
    bytes_of = sum(size for _, size in shadow)
    share = 100.0 * bytes_of / total if total else 0.0
    return found, Shadow(place.name, sum(rows or 0 for rows, _ in shadow), share) if shadow else None


class Seen(NamedTuple):
    """What a schema shows: rows (None: unknown) and bytes of tables, types of the columns that matter, tables without any."""

    sizes: dict[str, tuple[int | None, int]]
    columns: dict[str, dict[str, str]]
    hidden: frozenset[str] = frozenset()


def _mysql(place: Place) -> Seen:
    """Ask information_schema.

    While an ALTER holds a table, MariaDB's information_schema leaves its columns out (seen on 10.11): each table is asked for
    its first column too, so that one which shows none is known. An id without an index is none: along it there is no walking.
    """
    columns: dict[str, dict[str, str]] = {}
    marks = ", ".join(["%s"] * len(COLUMNS))
    for row in place.db.rows(
        "SELECT table_name AS name, column_name AS col, data_type AS kind, column_key AS indexed"
        " FROM information_schema.columns"
        f" WHERE table_schema = %s AND (column_name IN ({marks}) OR ordinal_position = 1)",
        (place.inside, *COLUMNS),
    ):
        of_table = columns.setdefault(str(row["name"]), {})
        if row["col"] in COLUMNS and (row["col"] != "id" or row["indexed"]):
            of_table[str(row["col"])] = str(row["kind"]).lower()
    names = place.db.rows(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = %s", (place.inside,)
    )
    if not any(marked(place, *table) for table in columns.items()) and all(row["name"] in columns for row in names):
        return Seen({}, {})  # sizes make the server open every table
    if place.db.flavour == "mysql":  # 8.0 keeps such statistics for a day unless told otherwise
        attempt(place.db.rows, "SET SESSION information_schema_stats_expiry = 0")
    sizes: dict[str, tuple[int | None, int]] = {}
    for row in place.db.rows(
        "SELECT table_name AS name, table_rows AS n, COALESCE(data_length, 0) + COALESCE(index_length, 0) AS size"
        " FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
        (place.inside,),
    ):
        sizes[str(row["name"])] = (None if row["n"] is None else int(row["n"]), int(row["size"]))
    return Seen(sizes, columns, frozenset(set(sizes) - set(columns) if place.whole else ()))


def _postgres(place: Place) -> Seen:
    """As `_mysql`; sizes from relpages, which takes no lock (pg_total_relation_size would wait for one)."""
    sizes: dict[str, tuple[int | None, int]] = {}
    columns: dict[str, dict[str, str]] = {}
    marks = ", ".join(["%s"] * len(COLUMNS))
    for row in place.db.rows(
        "SELECT c.relname AS name, c.reltuples AS n, c.relpages * current_setting('block_size')::bigint AS size,"
        " a.attname AS col, format_type(a.atttypid, NULL) AS kind"
        " FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace"
        f" LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attname IN ({marks})"
        " AND (a.attname <> 'id' OR EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum))"
        " WHERE s.nspname = %s AND c.relkind = 'r'",
        (*COLUMNS, place.inside),
    ):
        name, rows = str(row["name"]), float(row["n"])
        sizes[name] = (None if rows < 0 else int(rows), int(row["size"]))  # -1: never analysed
        if row["col"]:
            columns.setdefault(name, {})[str(row["col"])] = str(row["kind"]).lower()
    return Seen(sizes, columns)


def marked(place: Place, name: str, columns: Mapping[str, str]) -> Mark | None:
    """Return how a table marks its rows, None when it doesn't."""
    key = "id" if "id" in columns else ""
    for column in sorted(columns):
        if (name, column) in EXPIRES:
            gone = f"t.{column} < {schemas.NOW[place.db.kind]}"
            return Mark(gone, f"t.{column}", key, (*([key] if key else []), column))
    kind, since = columns.get("deleted", ""), "deleted_at" in columns
    if "int" in kind:
        gone = "t.deleted <> 0"
    elif kind.startswith("bool"):
        gone = "t.deleted"
    elif since:  # a `deleted` of text, as manila's, says 'False'; deleted_at is left empty all the same
        gone = "t.deleted_at IS NOT NULL"
    else:
        return None
    used = (*([key] if key else []), *(name for name in ("deleted", "deleted_at") if name in columns))
    never = "NULL" if place.db.kind == "mysql" else "CAST(NULL AS timestamp)"  # there a bare NULL is a text
    return Mark(gone, "t.deleted_at" if since else never, key, used)


def _said(place: Place, name: str, mark: Mark, failed: Failed) -> Failed:
    whole = f"{place.name}.{name}"
    if failed.kind == NOT_ALLOWED:
        return Failed(NOT_ALLOWED, whole, "read its marks", "a right is missing", place.select(mark.columns, name))
    return Failed(failed.kind, whole, "read its marks", failed.error, failed.cure)


SUMS = (
    "COUNT(*) AS n, SUM(CASE WHEN gone THEN 1 ELSE 0 END) AS gone,"
    " SUM(CASE WHEN gone AND since < %s THEN 1 ELSE 0 END) AS expired, MIN(CASE WHEN gone THEN since END) AS oldest"
)


class _Ask:
    """The questions about the tables of one schema."""

    def __init__(self, run: Run, place: Place, now: datetime, retention: float) -> None:
        self.run, self.place, self.now = run, place, now
        cutoff = datetime.fromtimestamp(_time(now).timestamp() - retention, timezone.utc)
        self.limit = cutoff.replace(tzinfo=None)

    def _picked(self, name: str, mark: Mark) -> str:
        return f"{mark.gone} AS gone, {mark.since} AS since FROM {self.place.table(name)} t"

    def small(self, jobs: Sequence[tuple[str, Mark, int | None]]) -> dict[str, Table]:
        """Count the tables that are small, many by one statement; those that aren't, and of which it fails, are left out."""
        counted: dict[str, Table] = {}
        for start in range(0, len(jobs), TOGETHER):
            part = jobs[start : start + TOGETHER]
            statement = " UNION ALL ".join(
                f"SELECT {number} AS part, {SUMS} FROM (SELECT {self._picked(name, mark)} LIMIT {SMALL + 1}) w{number}"
                for number, (name, mark, _) in enumerate(part)
            )
            self.run.stage(f"{self.place.db.of}: count {len(part)} small tables of {self.place.name}")
            try:
                for row in self.place.db.rows(statement, (self.limit,) * len(part)):
                    if int(row["n"]) <= SMALL:
                        name = part[int(row["part"])][0]
                        counted[name] = _counted(f"{self.place.name}.{name}", row, self.now)
            except Failed as failed:
                if failed.kind == UNREACHABLE:
                    raise
        return counted

    def one(self, name: str, mark: Mark, rows: int | None, exact: bool) -> Table:
        """Look at one table: count it where that is asked or it is small, else take a sample. Raises Failed."""
        db, whole, table = self.place.db, f"{self.place.name}.{name}", self.place.table(name)
        self.run.stage(f"{db.of}: {'count' if exact else 'sample'} {whole}")
        picked = self._picked(name, mark)
        if exact:
            return _counted(whole, db.row(f"SELECT {SUMS} FROM (SELECT {picked}) w", (self.limit,)), self.now)
        if rows is None or rows <= SMALL:
            row = db.row(f"SELECT {SUMS} FROM (SELECT {picked} LIMIT {SMALL + 1}) w", (self.limit,))
            if int(row["n"]) <= SMALL:
                return _counted(whole, row, self.now)
        if rows is None:
            raise Failed(
                UNREADABLE, whole, "read its statistics", "the server has no statistics of it", f"ANALYZE {name}"
            )
        if not mark.key:
            raise Failed(UNREADABLE, whole, "sample it along its id", "it has none with an index", "--exact counts it")
        ends = db.row(f"SELECT MIN(t.id) AS low, MAX(t.id) AS high FROM {table} t")
        cuts = strata(ends["low"], ends["high"])
        parts, values = [], []
        for number, (start, end) in enumerate(zip(cuts, [*cuts[1:], None])):
            below = "" if end is None else " AND t.id < %s"
            parts.append(
                f"SELECT {number} AS part, {SUMS}, MIN(k) AS first, MAX(k) AS last FROM"
                f" (SELECT t.id AS k, {picked} WHERE t.id >= %s{below} ORDER BY t.id LIMIT {DEPTH}) w{number}"
            )
            values += [self.limit, start] + ([] if end is None else [end])
        answers = db.rows(" UNION ALL ".join(parts), tuple(values))
        return reckoned(whole, max(rows, SMALL + 1), cuts, ends["high"], answers, self.now)


def strata(low: Any, high: Any) -> list[Any]:
    """Return where the PROBES parts of a key begin: numbers at even distances, texts by their first two hex digits."""
    if isinstance(low, int) and isinstance(high, int):
        return sorted({low + (high - low + 1) * part // PROBES for part in range(PROBES)})
    return ["", *(f"{256 * part // PROBES:02x}" for part in range(1, PROBES))]


def reckoned(
    name: str, rows: int, cuts: Sequence[Any], high: Any, answers: Sequence[Mapping[str, Any]], now: datetime
) -> Table:
    """Return what the sample says of the whole table: each part weighs what it holds, by the distance of its keys.

    A part that gave fewer than DEPTH rows was read whole. Random keys (UUIDs) lie evenly: their full parts weigh alike.
    """
    weights = []
    for row in answers:
        number, count = int(row["part"]), int(row["n"])
        weight = float(count)
        if count == DEPTH:
            first, last = row["first"], row["last"]
            if isinstance(first, int):
                end = cuts[number + 1] if number + 1 < len(cuts) else high + 1
                weight = max(weight, (count - 1) / max(1, last - first) * (end - first))
            else:
                weight = max(float(count), rows / len(cuts))
        weights.append(weight)
    total = sum(weights) or 1.0

    def part_of(column: str) -> int:
        met = sum(w * int(row[column] or 0) / int(row["n"]) for w, row in zip(weights, answers) if int(row["n"]))
        return round(rows * met / total)

    since = [row["oldest"] for row in answers if row["oldest"] is not None]
    return Table(name, rows, part_of("gone"), part_of("expired"), _age(min(since) if since else None, now), False)


def _counted(name: str, row: Mapping[str, Any], now: datetime) -> Table:
    return Table(name, int(row["n"]), int(row["gone"] or 0), int(row["expired"] or 0), _age(row["oldest"], now), True)


def _age(since: Any, now: datetime) -> float | None:
    if since is None:
        return None
    if not isinstance(since, datetime):
        raise Failed(UNREADABLE, "", "read when a row was deleted", f"{str(since)[:40]!r} is no time")
    return max(0.0, (_time(now) - _time(since)).total_seconds())


def _time(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)
