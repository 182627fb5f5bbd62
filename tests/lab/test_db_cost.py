# SPDX-License-Identifier: Apache-2.0
"""What each SQL check costs its server, by the server's own statistics, and that a thousand times the rows cost no more.

`python -m tests.lab.test_db_cost` writes docs/databases-cost.md anew.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import pytest
from nephoscope.checks.database.check_db_cluster import CHECK as CLUSTER
from nephoscope.checks.database.check_db_connect import CHECK as CONNECT
from nephoscope.checks.database.check_db_growth import CHECK as GROWTH
from nephoscope.checks.database.check_db_invariants import CHECK as INVARIANTS
from nephoscope.checks.database.check_db_soft_deleted import CHECK as SOFT_DELETED
from nephoscope.checks.database.check_mysql import CHECK as MYSQL
from nephoscope.checks.database.check_postgres import CHECK as POSTGRES

from tests.lab import mariadb, openstack_schemas, postgresql
from tests.lab.support import ROOT, private_folder

pytestmark = pytest.mark.lab

PAGE = ROOT / "docs" / "databases-cost.md"
SMALL, LARGE = 200, 200_000
HEAD = f"""# Databases: what a run costs the server

Measured by `tests/lab/test_db_cost.py` from the servers' own statistics, with {SMALL} and with {LARGE:,} rows in nova's table of
instances: MariaDB's performance_schema.events_statements_summary_by_user_by_event_name (statements, rows examined, those of SHOW and
information_schema counted) and information_schema.TABLE_STATISTICS of userstat (rows of tables); PostgreSQL's pg_stat_statements, tup_returned of
pg_stat_database (catalogs counted) and pg_stat_user_tables. `python -m tests.lab.test_db_cost` measures again and writes this page;
the test holds the last column, numbers may vary. check_db_invariants is measured after its first walk over the tables, which is as
long as they are. Each run is one connection. Its settings are not counted: MySQL's
are one or two statements of a session, PostgreSQL's travel in one message with each question, as a pooler may give each another
session.

| server | check | statements | rows examined | rows of tables | with {LARGE:,} rows: statements | rows examined | rows of tables | may read of tables |
|---|---|---|---|---|---|---|---|---|
"""
NONE = 0  # rows of tables that a check may read which asks the server about itself alone

# What is run: check, its words on MariaDB, on PostgreSQL (None: not there), the rows of tables that it may read however many
# there are; None: every one, as asked.
RUNS = (
    (CONNECT, (), (), NONE),
    (MYSQL, (), None, NONE),
    (MYSQL, ("--mode", "connections"), None, NONE),
    (POSTGRES, None, (), NONE),
    (POSTGRES, None, ("--mode", "connections"), NONE),
    (CLUSTER, (), (), NONE),
    (GROWTH, (), (), NONE),
    (SOFT_DELETED, ("--schema", "nova"), ("--schema", "nova"), 3000),
    (SOFT_DELETED, ("--schema", "nova", "--exact"), ("--schema", "nova", "--exact"), None),
    (INVARIANTS, ("--rows", "1000"), None, 20_000),
    (INVARIANTS, ("--rows", "1000", "--exact"), None, None),
)


class Cost(NamedTuple):
    """Statements, rows examined, rows read of tables."""

    statements: int
    examined: int
    tables: int


class Line(NamedTuple):
    """One line of the page; `may` is the bound of the rows of tables."""

    server: str
    check: str
    small: Cost
    large: Cost
    may: int | None


class OfMariaDB:
    """A MariaDB and its statistics."""

    name, kind = "MariaDB 10.11", "mysql"

    def __init__(self, server):
        self.server = server
        openstack_schemas.make(server)
        openstack_schemas.cloud(server)
        server.sql("CREATE USER nagios@'%' IDENTIFIED BY 'sesame'")
        server.sql(
            "GRANT SELECT, REFERENCES, PROCESS, SLAVE MONITOR, BINLOG MONITOR, SHOW DATABASES ON *.* TO nagios@'%'"
        )

    def fill(self, rows):
        self.server.sql("TRUNCATE nova.instances")
        self.server.sql(
            "INSERT INTO nova.instances (id, uuid, host, deleted, deleted_at, created_at) SELECT seq, UUID(), 'node1', IF(seq % 2, seq, 0),"
            f" IF(seq % 2, '2026-01-01', NULL), '2026-01-01' FROM seq_1_to_{rows}", database="nova",
        )  # fmt: skip
        self.server.sql("ANALYZE TABLE nova.instances")

    def reset(self):
        self.server.sql("TRUNCATE performance_schema.events_statements_summary_by_user_by_event_name")
        self.server.sql("FLUSH TABLE_STATISTICS")

    def cost(self):
        [row] = self.server.sql(
            "SELECT SUM(count_star) AS n, SUM(sum_rows_examined) AS r FROM performance_schema.events_statements_summary_by_user_by_event_name"
            " WHERE user = 'nagios' AND event_name LIKE 'statement/sql/%' AND event_name <> 'statement/sql/set_option'"
        )
        [own] = self.server.sql(
            "SELECT COALESCE(SUM(rows_read), 0) AS r FROM information_schema.TABLE_STATISTICS"
            " WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')"
        )
        return Cost(int(row["n"]), int(row["r"]), int(own["r"]))


class OfPostgreSQL:
    """A PostgreSQL and its statistics."""

    name, kind = "PostgreSQL 15", "postgres"

    def __init__(self, server):
        self.server = server
        openstack_schemas.on_postgres(server)
        server.sql("CREATE EXTENSION pg_stat_statements")
        server.sql("CREATE ROLE nagios LOGIN PASSWORD 'sesame'")
        server.sql("GRANT pg_monitor, pg_read_all_data TO nagios")

    def fill(self, rows):
        self.server.sql("TRUNCATE instances", database="nova")
        self.server.sql(
            "INSERT INTO instances (id, uuid, host, deleted, deleted_at, created_at) SELECT n, gen_random_uuid(), 'node1',"
            " CASE n % 2 WHEN 1 THEN n ELSE 0 END, CASE n % 2 WHEN 1 THEN '2026-01-01'::timestamp END, '2026-01-01'"
            f" FROM generate_series(1, {rows}) n", database="nova",
        )  # fmt: skip
        self.server.sql("ANALYZE", database="nova")

    def reset(self):
        time.sleep(0.2)  # a session tells its statistics when it ends
        self.server.sql("SELECT pg_stat_statements_reset()")
        self.read = self.now()

    def now(self):
        [of_all] = self.server.sql("SELECT tup_returned AS n FROM pg_stat_database WHERE datname = 'nova'")
        [own] = self.server.sql(
            "SELECT coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0) AS n FROM pg_stat_user_tables",
            database="nova",
        )
        return int(of_all["n"]), int(own["n"])

    def cost(self):
        time.sleep(0.2)
        [row] = self.server.sql(
            "SELECT sum(calls) AS n FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname = 'nagios' AND toplevel"
            " AND query NOT LIKE 'SET LOCAL %'"
        )
        examined, own = self.now()
        return Cost(int(row["n"]), examined - self.read[0], own - self.read[1])


def measure():
    """Return the lines of the page."""
    kept = os.environ.get("NEPHOSCOPE_PASSWORD")
    os.environ["NEPHOSCOPE_PASSWORD"] = "sesame"
    try:
        with private_folder() as folder:
            options = ("--performance-schema=ON", "--performance-schema-instrument=statement/%=ON", "--log-bin=log", "--log-basename=lab",
                       "--userstat=ON", "--innodb-stats-auto-recalc=OFF")  # fmt: skip
            with mariadb.server(folder / "m", *options) as server:
                found = of(OfMariaDB(server), folder, 1)
            settings = ("shared_preload_libraries=pg_stat_statements", "max_connections=50")
            with postgresql.server(folder / "p", *settings) as server:
                found += of(OfPostgreSQL(server), folder, 2)
    finally:
        del os.environ["NEPHOSCOPE_PASSWORD"]
        if kept is not None:
            os.environ["NEPHOSCOPE_PASSWORD"] = kept
    written = ROOT / ".lab" / PAGE.name
    written.parent.mkdir(exist_ok=True)
    written.write_text(page(found))
    return found


def of(asked, folder, place):
    """Return the lines of one server."""
    costs = {}
    for rows in (SMALL, LARGE):
        asked.fill(rows)
        for number, run in enumerate(RUNS):
            words = run[place]
            if words is None:
                continue
            check = run[0]
            kind = ("--type", asked.kind) if check not in (MYSQL, POSTGRES) else ()
            where = ("-H", "127.0.0.1", "-p", str(asked.server.port), "--user", "nagios", "--database", "nova")
            words = [*where, *kind, "--state-dir", str(folder / f"state-{asked.kind}-{rows}-{number}"), *words]
            if check is INVARIANTS:
                check.run([*words, "--exact", "-t", "60"])
            asked.reset()
            outcome = check.run(words)
            assert "error" not in outcome.text, outcome.text
            costs[number, rows] = asked.cost()
    return [
        Line(asked.name, " ".join((run[0].name, *run[place])), costs[number, SMALL], costs[number, LARGE], run[3])
        for number, run in enumerate(RUNS)
        if run[place] is not None
    ]


def page(lines):
    """Return the page."""
    rows = [
        " | ".join(
            (
                "",
                line.server,
                f"`{line.check}`",
                *(f"{each:,}" for each in (*line.small, *line.large)),
                bound(line.may),
                "",
            )
        ).strip()
        for line in lines
    ]
    return HEAD + "\n".join(rows) + "\n"


def bound(may):
    return "every row, as asked" if may is None else f"{may:,} at most" if may else "none"


def structure(text):
    """Return what may not vary of each line: server, check, bound."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 9 and cells[0] != "server" and not cells[0].startswith("-"):
            found.append((*cells[:2], cells[8]))
    return found


@pytest.fixture(scope="module")
def lines():
    return measure()


def test_no_more_rows_of_tables_than_the_page_says(lines):
    over = [line for line in lines if line.may is not None and max(line.small.tables, line.large.tables) > line.may]
    assert over == []


def test_a_thousand_times_the_rows_cost_the_same(lines):
    """What looks at no table costs the same to the row, give or take the server's own; a sample is a sample."""
    for line in lines:
        if line.may is not None:
            assert line.large.examined <= line.small.examined + max(line.may, 0.2 * line.small.examined), line
            assert line.large.statements <= line.small.statements + 10, line


def test_a_run_is_a_handful_of_statements(lines):
    """But for the rules, of which each is a question of its own."""
    assert [line for line in lines if line.small.statements > 20 and "invariants" not in line.check] == []


def test_the_page_is_of_these_checks(lines):
    """Numbers vary; `python -m tests.lab.test_db_cost` writes the page anew."""
    assert structure(PAGE.read_text()) == structure(page(lines))


if __name__ == "__main__":
    import faulthandler

    faulthandler.dump_traceback_later(170, exit=True)
    PAGE.write_text(page(measure()))
