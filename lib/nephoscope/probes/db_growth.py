# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - statements are made of our own words
"""How large the schemas of a database server are, how they grow from run to run, and when what holds them is full.

MySQL and MariaDB: the files of InnoDB by information_schema.innodb_sys_tablespaces (innodb_tablespaces from MySQL 8.0 on),
which needs PROCESS; of other engines, and where all tables lie in one file, data_length + index_length of
information_schema.tables. For InnoDB those are statistics, made anew when a tenth of a table's rows changed
(innodb_stats_auto_recalc) and by ANALYZE: good for a size, blind for growth. Unused is data_free. When statistics were made:
mysql.innodb_table_stats.last_update, local time.

PostgreSQL: pg_database_size of each database, which blocks on nothing; the schemas and tables of the database that the
connection is to by pg_class.relpages, which is as old as the last VACUUM or ANALYZE (pg_total_relation_size would wait for a
lock). Statistics: pg_stat_all_tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, Collecting, Failed, Run, attempt
from nephoscope.probes import mounts, schemas
from nephoscope.probes.schemas import Place

SAMPLES = 28  # kept of each thing, over one span
TABLES = 40  # tables whose growth is followed: the largest
DAY = 86400.0


class Table(NamedTuple):
    """One table: bytes on disk with its indexes, those of them that hold nothing, rows by statistics (None: unknown)."""

    name: str
    size: int
    unused: int
    rows: int | None

    @property
    def fragmented(self) -> float:
        """What is unused, in percent of the file."""
        return 100.0 * self.unused / self.size if self.size else 0.0


class Growth(NamedTuple):
    """Bytes now, and bytes per second; COLLECTING until half a span was seen."""

    name: str
    size: int
    rate: float | Collecting


class Survey(NamedTuple):
    """What was found.

    schemas   each schema (database of PostgreSQL)
    tables    the largest tables, the largest first
    growing   those tables with their growth
    analysed  table -> seconds since its statistics were made (None: never), for those of at least `least` bytes; or a Failed
    total     all schemas together
    room      bytes that may still be used; None when nothing says so
    days      until that is used up; COLLECTING; None without room
    failures  what could not be seen
    kept      samples for the next run
    """

    schemas: Sequence[Growth]
    tables: Sequence[Table]
    growing: Sequence[Growth]
    analysed: Mapping[str, float | None] | Failed
    total: Growth
    room: int | None
    days: float | Collecting | None
    failures: Sequence[Failed] = ()
    kept: Any = None

    @property
    def fastest(self) -> Growth | None:
        """The table that grows most; of a server whose tables are not followed the schema; None while nothing grows."""
        for things in (self.growing, self.schemas):
            known = [(one.rate, one) for one in things if not isinstance(one.rate, Collecting) and one.rate > 0]
            if known:
                return max(known)[1]
        return None


def survey(run: Run, options: Any) -> Survey:
    """Look at the sizes that the options ask for. Raises Failed when there is none at all."""
    failures: list[Failed] = []
    sizes: dict[str, int] = {}
    tables: list[Table] = []
    analysed: dict[str, float | None] | Failed = {}
    files: dict[str, Any] = {}
    with schemas.opened(run, options) as sight:
        places, missing = sight.choose(options.schema)
        failures += [*sight.failures, *missing]
        for place in places:
            if place.db.kind == "mysql" and not run.wants(place.name):
                continue
            run.stage(f"{place.db.of}: sizes of {place.name}")
            if place.db.kind == "mysql" and place.db.of not in files:
                files[place.db.of] = attempt(_files, place.db)
                if isinstance(files[place.db.of], Failed) and "growth" in options.mode:
                    failures.append(files[place.db.of])
            found = (
                attempt(_postgres, place) if place.db.kind != "mysql" else attempt(_mysql, place, files[place.db.of])
            )
            if isinstance(found, Failed):
                failures.append(Failed(found.kind, place.name, *found.args[2:]))
                continue
            mine, of_databases, unseen = found
            failures += unseen
            if not place.whole:
                failures.append(_hidden(place))
            elif not mine and options.schema and place.db.kind == "mysql":
                failures.append(Failed(ABSENT, place.name, "read its sizes", "there is no table in it"))
            tables += mine
            if place.whole:  # of a part of the tables the sum would be a smaller truth
                sizes.update(of_databases or {place.name: sum(table.size for table in mine)})
            if "analyse" in options.mode and not isinstance(analysed, Failed):
                large = [table for table in mine if table.size >= options.least]
                said = attempt(_analysed, place, large) if large else {}
                if isinstance(said, Failed):
                    analysed = said
                else:
                    analysed.update(said)
        if not sizes and not failures:
            raise Failed(NOT_ALLOWED, "", "list the schemas", "the account sees no schema")
    sizes = {name: size for name, size in sizes.items() if run.wants(name)}
    room = options.size - sum(sizes.values()) if options.size else None
    if options.path:
        free = attempt(mounts.room_of, run, options.path, 3.0)
        if isinstance(free, Failed):
            failures.append(free)
        else:
            room = free.free if room is None else min(room, free.free)
    tables = [table for table in tables if run.wants(table.name)]
    tables.sort(key=lambda table: (-table.size, table.name))
    return _grown(run, options, sizes, tables, analysed, room, failures)


def _grown(
    run: Run, options: Any, sizes: dict[str, int], tables: list[Table], analysed: Any, room: int | None, failures: Any
) -> Survey:
    """Put the sizes beside those of earlier runs."""
    now = run.clock.time()
    before = run.before if isinstance(run.before, dict) else {}
    kept: dict[str, list[list[float]]] = {}

    def growth(kind: str, name: str, size: int) -> Growth:
        key = f"{kind}/{name}"
        kept[key] = added(before.get(key), now, size, options.span)
        return Growth(name, size, mounts.slope(kept[key], options.span))

    whole = [growth("schema", name, size) for name, size in sorted(sizes.items())]
    growing = [growth("table", table.name, table.size) for table in tables[:TABLES]]
    # Of a run that could not see all, the sum is no sample: it would look like a fall, and then like a growth.
    total = sum(sizes.values())
    if failures:
        kept["total/"] = _samples(before.get("total/"), now, options.span)
        all_of_it = Growth("", total, COLLECTING)
    else:
        all_of_it = growth("total", "", total)
    days: float | Collecting | None = None
    if room is not None:
        left = mounts.full_in(room, all_of_it.rate) if room > 0 else 0.0
        days = left if isinstance(left, Collecting) else left / DAY
    return Survey(whole, tables, growing, analysed, all_of_it, room, days, failures, kept)


def _samples(before: Any, now: float, span: float) -> list[list[float]]:
    """Return the kept samples, [seconds since 1970, bytes], of the span; what is damaged counts as none."""
    found = []
    for entry in before if isinstance(before, list) else ():
        try:
            at, value = entry
            found.append([float(at), float(value)])
        except (TypeError, ValueError):
            continue
    return sorted(sample for sample in found if now - span * 1.1 <= sample[0] < now)


def added(before: Any, now: float, size: int, span: float) -> list[list[float]]:
    """Return the samples with that of now, thinned to SAMPLES at even distances."""
    samples = _samples(before, now, span)
    # The last one gives way while it is too near to the one before it: what stays is spread over the span.
    if len(samples) > 1 and samples[-1][0] - samples[-2][0] < span / SAMPLES:
        samples.pop()
    return [*samples[-SAMPLES - 2 :], [now, float(size)]]


def _hidden(place: Place) -> Failed:
    error = "not all of its tables are seen, so its size is not known"
    return Failed(NOT_ALLOWED, place.name, "read its sizes", error, place.grant("REFERENCES"))


def _files(db: Any) -> dict[tuple[str, str], int]:
    """Return the bytes of InnoDB's file of each schema and table. Raises Failed."""
    new = db.flavour == "mysql" and db.version >= (8,)
    found: dict[tuple[str, str], int] = {}
    try:
        rows = db.rows(
            f"SELECT name, file_size AS size FROM information_schema.innodb_{'' if new else 'sys_'}tablespaces"
        )
    except Failed as failed:
        if failed.kind != NOT_ALLOWED:
            raise
        cure = f"GRANT PROCESS ON *.* TO {schemas.account(db)}"
        raise Failed(NOT_ALLOWED, "", "read the sizes of InnoDB's files", "a right is missing", cure) from None
    for row in rows:
        schema, slash, table = _decoded(str(row["name"])).partition("/")
        if slash and row["size"]:
            key = schema, table.partition("#")[0]  # a part of a partitioned table: t#P#p0
            found[key] = found.get(key, 0) + int(row["size"])
    return found


def _decoded(name: str) -> str:
    """Return a name as SQL has it: in a file's, what is no letter or digit is @ and four hex digits (manual)."""
    import re

    return re.sub(r"@([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), name)


def _mysql(place: Place, files: Any) -> tuple[list[Table], dict[str, int], list[Failed]]:
    """Return the tables of a schema. Raises Failed."""
    if place.db.flavour == "mysql":
        attempt(place.db.rows, "SET SESSION information_schema_stats_expiry = 0")
    rows = place.db.rows(
        "SELECT table_name AS name, data_length AS data, index_length AS indexes, data_free AS unused, table_rows AS n"
        " FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
        (place.inside,),
    )
    found = []
    for row in rows:
        if row["data"] is None:  # an engine without a size, or no right on it
            continue
        unused = int(row["unused"] or 0)
        file = None if isinstance(files, Failed) else files.get((place.inside, str(row["name"])))
        size = int(row["data"]) + int(row["indexes"] or 0) + unused if file is None else file
        found.append(Table(f"{place.name}.{row['name']}", size, min(unused, size), row["n"]))
    return found, {}, []


def _postgres(place: Place) -> tuple[list[Table], dict[str, int], list[Failed]]:
    """Return the tables of the database that the connection is to, and the sizes of all databases that we may see."""
    sizes: dict[str, int] = {}
    unseen = []
    role = " OR pg_has_role(current_user, 'pg_read_all_stats', 'member')" if place.db.version >= (10,) else ""
    for row in place.db.rows(
        f"SELECT d.datname AS name, CASE WHEN has_database_privilege(d.oid, 'CONNECT'){role}"
        " THEN pg_database_size(d.oid) END AS size FROM pg_database d WHERE NOT d.datistemplate"
    ):
        if row["size"] is None:
            cure = f"GRANT pg_read_all_stats TO {schemas.account(place.db)}"
            unseen.append(Failed(NOT_ALLOWED, str(row["name"]), "read its size", "a right is missing", cure))
        else:
            sizes[str(row["name"])] = int(row["size"])
    found = [
        Table(
            f"{row['space']}.{row['name']}",
            int(row["size"]),
            0,
            None if row["n"] is None or row["n"] < 0 else int(row["n"]),
        )
        for row in place.db.rows(
            "SELECT s.nspname AS space, c.relname AS name, c.reltuples AS n, (c.relpages + COALESCE(t.relpages, 0)"
            " + COALESCE((SELECT SUM(x.relpages) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid"
            " WHERE i.indrelid IN (c.oid, c.reltoastrelid)), 0))::bigint * current_setting('block_size')::bigint AS size"
            " FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid"
            " WHERE c.relkind IN ('r', 'm') AND s.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
            " ORDER BY 4 DESC LIMIT 2000"
        )
    ]
    return found, sizes, unseen


def _analysed(place: Place, tables: Sequence[Table]) -> dict[str, float | None]:
    """Return the seconds since the statistics of these tables were made, None: never. Raises Failed."""
    if place.db.kind == "mysql":
        tried = "read mysql.innodb_table_stats"
        statement = (
            "SELECT table_name AS name, TIMESTAMPDIFF(SECOND, last_update, NOW()) AS age"
            " FROM mysql.innodb_table_stats WHERE database_name = %s"
        )
        rows = attempt(place.db.rows, statement, (place.inside,))
        if isinstance(rows, Failed) and rows.kind == NOT_ALLOWED:
            columns = "SELECT (database_name, table_name, last_update)"
            cure = place._replace(inside="mysql").grant(columns, "innodb_table_stats")
            raise Failed(NOT_ALLOWED, "", tried, "a right is missing", cure)
    else:
        rows = attempt(
            place.db.rows,
            "SELECT schemaname || '.' || relname AS name,"
            " EXTRACT(EPOCH FROM now() - GREATEST(last_analyze, last_autoanalyze)) AS age FROM pg_stat_all_tables",
        )
    if isinstance(rows, Failed):
        raise rows
    prefix = f"{place.name}." if place.db.kind == "mysql" else ""
    ages = {f"{prefix}{row['name']}": row["age"] for row in rows}
    return {table.name: None if ages.get(table.name) is None else float(ages[table.name]) for table in tables}
