# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - statements are made of our own words
"""How large the schemas of a database server are, how they grow from run to run, and when what holds them is full.

MySQL and MariaDB: the files of InnoDB by information_schema.innodb_sys_tablespaces (innodb_tablespaces from MySQL 8.0 on),
which needs PROCESS; of other engines, and where all tables lie in one file, data_length + index_length of
information_schema.tables. For InnoDB those are statistics, made anew when a tenth of a table's rows changed
(innodb_stats_auto_recalc) and by ANALYZE: good for a size, blind for growth. Unused is data_free. The server opens each table
of which it is asked that, so it is asked of large ones and those without a file alone; while an ALTER holds one it says NULL
(seen on MariaDB 10.11). When statistics were made: mysql.innodb_table_stats.last_update, local time.

PostgreSQL: pg_database_size of each database, which blocks on nothing; the schemas and tables of the database that the
connection is to by pg_class.relpages, which is as old as the last VACUUM or ANALYZE (pg_total_relation_size would wait for a
lock). Statistics: pg_stat_all_tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from statistics import median
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Collecting, Failed, Run, attempt
from nephoscope.probes import growth, mounts, schemas
from nephoscope.probes.schemas import Place

TABLES = 40  # tables whose growth is followed: the largest
DAY = 86400.0
WEEK = 7  # days before this one, of whose growth the median is what is usual
STEP = 64 << 20  # bytes a day: less is never the usual growth, for files grow in steps of megabytes


class Table(NamedTuple):
    """One table: bytes on disk with its indexes, and those of them that hold nothing."""

    name: str
    size: int
    unused: int

    @property
    def fragmented(self) -> float:
        """What is unused, in percent of the file."""
        return 100.0 * self.unused / self.size if self.size else 0.0


class Growth(NamedTuple):
    """Bytes now, and bytes per second; COLLECTING until half a span was seen.

    pace   growth of the last day, as a multiple of the usual; COLLECTING until there is a week before it
    usual  bytes a day: the median of the seven days before, at least STEP
    """

    name: str
    size: int
    rate: float | Collecting
    pace: float | Collecting = COLLECTING
    usual: float = STEP


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
    if not (options.size or options.path) and any(map(_limits_days, (*options.warning, *options.critical))):
        raise Failed(
            UNREADABLE, "", "", "a limit of days_left needs --size or --path: nothing else says when it is full"
        )
    failures: list[Failed] = []
    sizes: dict[str, int] = {}
    tables: list[Table] = []
    ages: dict[str, float | None] = {}
    analysed: dict[str, float | None] | Failed = ages
    with schemas.opened(run, options) as sight:
        places, missing = sight.choose(options.schema)
        failures += sight.failures
        wanted = [place for place in places if place.db.kind == "mysql" and run.wants(place.name)]
        seen: dict[str, list[Table]] = {}
        for db in {id(place.db): place.db for place in wanted}.values():
            run.stage(f"{db.of}: sizes of tables")
            files = attempt(_files, db)
            if isinstance(files, Failed) and "growth" in options.mode:
                failures.append(files)
            found = attempt(_mysql, [place for place in wanted if place.db is db], files, options.least)
            if isinstance(found, Failed):
                failures.append(found)
                continue
            for name, of_schema in found.items():
                seen[name] = [table for table in of_schema if isinstance(table, Table)]
                failures += [table for table in of_schema if isinstance(table, Failed)]
                # Of a part of the tables the sum would be a smaller truth.
                if sight.places[name].whole and len(seen[name]) == len(of_schema):
                    sizes[name] = sum(table.size for table in seen[name])
        for place in wanted:
            if not place.whole:
                failures.append(_hidden(place))
            elif seen.get(place.name) == [] and options.schema:
                failures.append(Failed(ABSENT, place.name, "read its sizes", "there is no table in it"))
        for place in sight.places.values():  # each connection tells the sizes of all databases of its server
            if place.db.kind == "mysql":
                continue
            run.stage(f"{place.db.of}: sizes of databases and tables")
            answer = attempt(_postgres, place)
            if isinstance(answer, Failed):
                failures.append(Failed(answer.kind, place.name, *answer.args[2:]))
                continue
            mine, of_databases, unseen = answer
            seen[place.name] = mine if place in places else []
            sizes.update({name: size for name, size in of_databases.items() if _named(name, options.schema)})
            failures += [one for one in unseen if _named(one.of, options.schema) and one not in failures]
        told = (*sizes, *(failed.of for failed in failures))
        failures += [one for one in missing if not any(fnmatchcase(name, one.of) for name in told)]
        tables = [table for name in seen for table in seen[name] if run.wants(table.name)]
        for place in places if "analyse" in options.mode else ():
            large = [table for table in seen.get(place.name, ()) if table.size >= options.least]
            said = attempt(_analysed, place, large) if large else {}
            if isinstance(said, Failed):
                analysed = said
                break
            ages.update(said)
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
    tables.sort(key=lambda table: (-table.size, table.name))
    return _grown(run, options, sizes, tables, analysed, room, failures)


def _limits_days(words: str) -> bool:
    """Say whether -w or -c gives a limit of days_left, by its name or by none."""
    name, named, limit = words.partition("=")
    return bool(limit) and name == "days_left" if named else bool(words)


def _named(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _grown(
    run: Run, options: Any, sizes: dict[str, int], tables: list[Table], analysed: Any, room: int | None, failures: Any
) -> Survey:
    """Put the sizes beside those of earlier runs."""
    now = run.clock.time()
    before = run.before if isinstance(run.before, dict) else {}
    kept: dict[str, list[list[float]]] = {}

    def follow(kind: str, name: str, size: int) -> Growth:
        key = f"{kind}/{name}"
        kept[key] = growth.added(before.get(key), now, size, options.span)
        rate = growth.slope(kept[key], options.span)
        if kind != "schema":
            return Growth(name, size, rate)
        day, week = f"day/{name}", f"week/{name}"
        kept[day] = growth.added(before.get(day), now, size, DAY)
        last = growth.slope(kept[day], DAY)
        kept[week], usual = of_days(before.get(week), now, last)
        pace = max(0.0, last * DAY / usual) if usual and not isinstance(last, Collecting) else COLLECTING
        return Growth(name, size, rate, pace, usual or STEP)

    whole = [follow("schema", name, size) for name, size in sorted(sizes.items())]
    growing = [follow("table", table.name, table.size) for table in tables[:TABLES]]
    # Of a run that could not see all, the sum is no sample: it would look like a fall, and then like a growth.
    total = sum(sizes.values())
    if failures:
        # What was not seen is not gone: a server that was down for one run has grown all the same.
        for key in {"total/", *before} - set(kept):
            span = {"day": DAY, "week": (WEEK + 3) * DAY}.get(key.partition("/")[0], options.span)
            kept[key] = growth.kept(before.get(key), now, span)
        kept = {key: samples for key, samples in kept.items() if samples or key == "total/"}
        all_of_it = Growth("", total, COLLECTING)
    else:
        all_of_it = follow("total", "", total)
    days: float | Collecting | None = None
    if room is not None:
        left = growth.full_in(room, all_of_it.rate) if room > 0 else 0.0
        days = left if isinstance(left, Collecting) else left / DAY
    return Survey(whole, tables, growing, analysed, all_of_it, room, days, failures, kept)


def of_days(before: Any, now: float, rate: float | Collecting) -> tuple[list[list[float]], float | None]:
    """Return the kept growth of days, [when, bytes per second], with today's, and what is usual in bytes a day.

    The usual is the median of the seven days before this one, at least STEP; None until there are so many.
    """
    kept = growth.kept(before, now, (WEEK + 3) * DAY)
    earlier = [value for at, value in kept if now - at >= DAY]
    if not isinstance(rate, Collecting) and (not kept or now - kept[-1][0] >= DAY):
        kept.append([now, rate])
    return kept, max(STEP, median(earlier[-WEEK:]) * DAY) if len(earlier) >= WEEK else None


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


def _mysql(places: Sequence[Place], files: Any, least: int) -> dict[str, list[Table | Failed]]:
    """Return the tables of each schema of one connection; a Failed for one that can't be read now. Raises Failed."""
    db = places[0].db
    names = {place.inside: place.name for place in places}
    known = {} if isinstance(files, Failed) else files
    found: dict[str, list[Table | Failed]] = {name: [] for name in names.values()}
    if db.flavour == "mysql":
        attempt(db.rows, "SET SESSION information_schema_stats_expiry = 0")
    within = f"information_schema.tables WHERE table_schema IN ({', '.join(['%s'] * len(names))})"
    listed = db.rows(f"SELECT table_schema AS space, table_name AS name FROM {within}", tuple(names))
    asked = set()
    for row in listed:
        key = str(row["space"]), str(row["name"])
        if known.get(key, least) >= least:
            asked.add(key[1])
        else:
            found[names[key[0]]].append(Table(f"{names[key[0]]}.{key[1]}", known[key], 0))
    if not asked:
        return found
    for row in db.rows(
        "SELECT table_schema AS space, table_name AS name, engine, data_length AS data, index_length AS indexes,"
        f" data_free AS unused FROM {within} AND table_type = 'BASE TABLE' AND table_name IN"
        f" ({', '.join(['%s'] * len(asked))})",
        (*names, *sorted(asked)),
    ):
        key = str(row["space"]), str(row["name"])
        schema, name = names[key[0]], f"{names[key[0]]}.{key[1]}"
        file, unused = known.get(key), int(row["unused"] or 0)
        if file is not None and file < least:  # a small one of that name, told already
            continue
        if file is None and row["data"] is None:
            if row["engine"] is None:  # else it is one whose size nobody can tell
                error = "the server does not tell it: a change of the table holds it, or it is damaged"
                found[schema].append(Failed(UNREADABLE, name, "read its size", error))
            continue
        size = int(row["data"]) + int(row["indexes"] or 0) + unused if file is None else file
        found[schema].append(Table(name, size, min(unused, size)))
    return found


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
        Table(f"{place.name if row['space'] == 'public' else row['space']}.{row['name']}", int(row["size"]), 0)
        for row in place.db.rows(
            "SELECT s.nspname AS space, c.relname AS name, (c.relpages + COALESCE(t.relpages, 0)"
            " + COALESCE((SELECT SUM(x.relpages) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid"
            " WHERE i.indrelid IN (c.oid, c.reltoastrelid)), 0))::bigint * current_setting('block_size')::bigint AS size"
            " FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid"
            " WHERE c.relkind IN ('r', 'm') AND s.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
            " ORDER BY 3 DESC LIMIT 2000"
        )
    ]
    return found, sizes, unseen


def _analysed(place: Place, tables: Sequence[Table]) -> dict[str, float | None]:
    """Return the seconds since the statistics of these tables were made, None: never. Raises Failed."""
    if place.db.kind == "mysql":
        tried = "read mysql.innodb_table_stats"
        statement = (
            "SELECT NULL AS space, table_name AS name, TIMESTAMPDIFF(SECOND, last_update, NOW()) AS age"
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
            "SELECT schemaname AS space, relname AS name,"
            " EXTRACT(EPOCH FROM now() - GREATEST(last_analyze, last_autoanalyze)) AS age FROM pg_stat_all_tables",
        )
    if isinstance(rows, Failed):
        raise rows
    ages: dict[str, float | None] = {table.name: None for table in tables}
    for row in rows:
        space = str(row["space"]) if row["space"] not in (None, "public") else place.name
        name = f"{space}.{str(row['name']).partition('#')[0]}"  # of a partitioned table each part has its own: t#P#p0
        if name in ages and row["age"] is not None:
            ages[name] = max(float(row["age"]), ages[name] or 0.0)
    return ages
