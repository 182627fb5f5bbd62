# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - statements are made of our own words and of names that `schemas.quoted` quotes; values are parameters
"""Which schemas of a database server can be seen, with how much of them, and how tables and rights are named there.

What is a schema here is one of MySQL, or a whole database of PostgreSQL (its namespace `public`): so OpenStack's services lay
their tables on either. MySQL and MariaDB hide from information_schema what an account has no right on; seen whole is a schema
on which the account has some right as a whole (`ON nova.*`, `ON *.*`), by user_privileges and schema_privileges: rights that
come by a role are not reckoned. Only with SHOW DATABASES (or a right on `*.*`) is a schema that is not listed known not to be
there. (MariaDB 10.11, MySQL 8.0: INFORMATION_SCHEMA chapter; seen on 10.11.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, attempt
from nephoscope.probes import sql

SYSTEM = ("information_schema", "performance_schema", "mysql", "sys", "template0", "template1", "postgres")
RESERVED = ("binary",)  # a word of SQL; behind a dot it is a name as it stands, in a GRANT it isn't
TRIED = "look for the schema"
NOW = {"mysql": "UTC_TIMESTAMP()", "postgres": "(now() AT TIME ZONE 'utc')"}
"""The time in UTC by the server's own clock, as OpenStack's services write it: without a zone."""


class Place(NamedTuple):
    """A schema that can be reached.

    name   as the operator says it
    db     the open connection
    inside what its tables are qualified with
    whole  every table of it shows, so that one that doesn't show isn't there
    """

    name: str
    db: Any
    inside: str
    whole: bool

    def table(self, name: str) -> str:
        """Return a table's qualified and quoted name."""
        return f"{quoted(self.db, self.inside)}.{quoted(self.db, name)}"

    def select(self, columns: Sequence[str], table: str) -> str:
        """Return the statement that lets this account read these columns of a table."""
        named = (quoted(self.db, column) if column in RESERVED else column for column in columns)
        return self.grant(f"SELECT ({', '.join(named)})", table)

    def grant(self, what: str, table: str = "*") -> str:
        """Return the statement that gives this account a right on a table, or on all (*)."""
        who = account(self.db)
        if self.db.kind != "mysql" and table == "*":
            return f"GRANT {what} ON ALL TABLES IN SCHEMA {self.inside} TO {who}"
        return f"GRANT {what} ON {self.inside}.{table} TO {who}"


class Sight(NamedTuple):
    """What several connections show together.

    places    schema -> where; of several connections the first that shows it whole
    failures  what could not be opened
    certain   a schema that is not in `places` does not exist
    accounts  who looked, for the statements that would grant more
    others    databases of PostgreSQL to which there is no connection
    """

    places: Mapping[str, Place]
    failures: Sequence[Failed] = ()
    certain: bool = False
    accounts: Sequence[str] = ()
    others: frozenset[str] = frozenset()

    @property
    def blind(self) -> bool:
        """No connection could be opened: of no schema anything is known."""
        return bool(self.failures) and not self.accounts

    def choose(self, names: Sequence[str]) -> tuple[list[Place], list[Failed]]:
        """Return the schemas that names or globs mean (all without any), and a Failed for each that means none.

        Where no connection could be opened that alone is told.
        """
        if self.blind:
            return [], []
        if not names:
            return [self.places[name] for name in sorted(self.places)], []
        found: dict[str, Place] = {}
        missing = []
        for name in names:
            met = [known for known in sorted(self.places) if fnmatchcase(known, name)]
            found.update((known, self.places[known]) for known in met)
            if not met:
                missing.append(self.missing(name))
        return list(found.values()), missing

    def surely_without(self, globs: Sequence[str]) -> bool:
        """Say whether no schema of these names exists, seen or not."""
        known = (*self.places, *self.others)
        return self.certain and not any(fnmatchcase(name, glob) for name in known for glob in globs)

    def missing(self, name: str) -> Failed:
        """Return what stands for a schema that was named and is not seen."""
        if any(fnmatchcase(other, name) for other in self.others):
            error = "the database is there, and the connection is to another one"
            return Failed(NOT_ALLOWED, name, TRIED, error, f"--database {name}, or the file of a service that uses it")
        if self.certain:
            return Failed(ABSENT, name, TRIED, "there is no such schema")
        who = self.accounts[0] if self.accounts else "the account"
        on = "`" + name.replace("*", "%") + "`" if "*" in name else name
        cure = f"GRANT REFERENCES ON {on}.* TO {who}"
        return Failed(NOT_ALLOWED, name, TRIED, "the schema is not there, or the account has no right on it", cure)


def options(add: Any, preset: str) -> None:
    """Declare what the checks of schemas share; `preset` names the one that brings a list."""
    sql.options(add)
    help = f"a schema to look at, which must be there (default: all that are seen; --preset {preset} has a list)"
    add("--schema", repeat=True, metavar="GLOB", help=help)


def left_out(run: Run, place: Place) -> bool:
    """Say whether --exclude names a schema as a whole, and remember it. (--include may name its tables alone.)"""
    return any(fnmatchcase(place.name, glob) for glob in run.exclude) and not run.wants(place.name)


@contextlib.contextmanager
def opened(run: Run, options: Any) -> Iterator[Sight]:
    """Open the connections that the options name, and close them again. A connection that fails is among the failures."""
    with contextlib.ExitStack() as stack:
        connections, failures = [], []
        for access in sql.accesses(options, run):
            try:
                if isinstance(access, Failed):
                    raise access
                connections.append(stack.enter_context(sql.connect(run, access)))
            except Failed as failed:
                failures.append(failed)
        yield sight(connections, failures)


def sight(connections: Iterable[Any], failures: Sequence[Failed] = ()) -> Sight:
    """Ask open connections what they show. Raises Failed."""
    places: dict[str, Place] = {}
    others: set[str] = set()
    certain, accounts = not failures, []
    twice: dict[str, Failed] = {}
    for db in connections:
        shown, all_known, there = _of_mysql(db) if db.kind == "mysql" else _of_postgres(db)
        certain = certain and all_known
        others.update(there)
        accounts.append(account(db))
        for place in shown:
            known = places.get(place.name)
            if known is not None and _server(known.db) != _server(db):
                error = f"two servers have such a schema, and one of them alone is looked at: {known.db.of} and {db.of}"
                twice[place.name] = Failed(UNREADABLE, place.name, TRIED, error, "one check for each server")
            if known is None or (place.whole and not known.whole):
                places[place.name] = place
    return Sight(places, [*failures, *twice.values()], certain, accounts, frozenset(others - set(places)))


def _server(db: Any) -> str:
    """Return what the servers of two connections differ by; nodes of one Galera cluster are one. "" where it doesn't say."""
    if db.kind != "mysql":
        said = attempt(db.value, "SELECT system_identifier FROM pg_control_system()")
    else:
        node = attempt(db.row, "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'")
        said = "" if isinstance(node, Failed) else node.get("value")
        said = said or attempt(db.value, "SELECT CONCAT(@@hostname, ' ', @@port, ' ', @@datadir)")
    return "" if isinstance(said, Failed) or said is None else str(said)


def _of_mysql(db: Any) -> tuple[list[Place], bool, list[str]]:
    grantee = "CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')"
    names = [row["name"] for row in db.rows("SELECT schema_name AS name FROM information_schema.schemata")]
    rights = db.rows(
        "SELECT '' AS pattern, privilege_type AS word FROM information_schema.user_privileges"
        f" WHERE grantee = {grantee} AND privilege_type <> 'USAGE'"
        " UNION ALL SELECT table_schema, privilege_type FROM information_schema.schema_privileges"
        f" WHERE grantee = {grantee} AND privilege_type <> 'USAGE'"
    )
    everywhere = {row["word"] for row in rights if not row["pattern"]}
    whole = everywhere & {"SELECT", "REFERENCES", "SHOW VIEW", "INSERT", "UPDATE", "DELETE"}
    patterns = [row["pattern"] for row in rights if row["pattern"]]
    places = [
        Place(name, db, name, bool(whole) or any(_like(name, pattern) for pattern in patterns))
        for name in names
        if name.lower() not in SYSTEM
    ]
    return places, bool(whole) or "SHOW DATABASES" in everywhere, []


def _of_postgres(db: Any) -> tuple[list[Place], bool, list[str]]:
    """A connection is to one database, whose catalogue shows everything in it to everybody; and the others' names."""
    names = [str(row["name"]) for row in db.rows("SELECT datname AS name FROM pg_database WHERE NOT datistemplate")]
    here = str(db.value("SELECT current_database()"))
    return [Place(here, db, "public", True)], True, [name for name in names if name not in SYSTEM]


def _like(name: str, pattern: str) -> bool:
    """Say whether a name matches a pattern of LIKE, as the grants of a schema are written: `nova\\_cell%`."""
    import re

    words = re.findall(r"\\.|.", pattern, re.DOTALL)
    return (
        re.fullmatch("".join({"%": ".*", "_": "."}.get(word, re.escape(word[-1])) for word in words), name) is not None
    )


def account(db: Any) -> str:
    """Return the account of a connection, as a GRANT names it."""
    if db.kind != "mysql":
        return str(db.value("SELECT current_user"))
    user, _, host = str(db.value("SELECT CURRENT_USER()")).rpartition("@")
    return f"'{user}'@'{host}'"


def quoted(db: Any, name: str) -> str:
    """Return an identifier in the quotes of its server."""
    mark = "`" if db.kind == "mysql" else '"'
    return mark + name.replace(mark, mark * 2) + mark
