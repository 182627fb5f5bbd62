# SPDX-License-Identifier: Apache-2.0
"""Ours beside check_mysql_health, check_postgres and check_pgactivity, on the same servers at the same moment.

`python -m tests.lab.test_db_peers` writes docs/databases-agreement.md anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time

import pytest
from nephoscope.base import Clock
from nephoscope.checks.database.check_db_cluster import CHECK as CLUSTER
from nephoscope.checks.database.check_mysql import CHECK as MYSQL
from nephoscope.checks.database.check_postgres import CHECK as POSTGRES

from tests.lab import mariadb, postgresql
from tests.lab.db_agreement import OTHER, PAGE, ROOT, WITHIN, WRONG, Row, page, structure
from tests.lab.support import need, private_folder, wait_for

pytestmark = pytest.mark.lab

HEALTH = "/usr/lib/nagios/plugins/check_mysql_health"
BUCARDO = "/usr/bin/check_postgres"
ACTIVITY = "/usr/lib/nagios/plugins/check_pgactivity"
SHIFT = 60.0  # seconds by which our second run is later than it is: a rate is made of 30 at least


def said(*argv):
    """Return what a peer prints."""
    environment = {**os.environ, "PGPASSWORD": "sesame", "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environment, cwd="/")
    return done.stdout


def number(text, label):
    """Return a value of perfdata, whose label may be quoted."""
    found = re.search(rf"(?:^|\s)'?{re.escape(label)}'?=(-?[0-9.]+)", text.rpartition("|")[2])
    assert found, f"no {label} in {text}"
    return float(found[1])


class Ours:
    """Runs our checks with one folder of state; `at` says when a run was made."""

    def __init__(self, folder):
        self.folder, self.at = str(folder / "state"), 0.0

    def __call__(self, check, port, *argv, shift=0.0):
        self.at = time.monotonic() + shift
        words = ["-H", "127.0.0.1", "-p", str(port), "--user", "nagios", "--state-dir", self.folder, *argv]
        return check.run(words, clock=Clock(shift=shift))


def perf(outcome, label):
    return number(" ".join(outcome.perfdata), label)


def beside(ask, peer, ours):
    """Return before, ours, after of one measure."""
    before = peer(ask())
    time.sleep(0.1)  # a session that has just ended is counted for a moment
    mine = ours()
    time.sleep(0.1)
    return before, mine, peer(ask())


def measure():
    """Measure everything; the page goes to .lab, too."""
    need("perl", HEALTH, BUCARDO, ACTIVITY)
    kept = os.environ.get("NEPHOSCOPE_PASSWORD")
    os.environ["NEPHOSCOPE_PASSWORD"] = "sesame"
    try:
        with private_folder() as folder:
            found = [*of_mariadb(folder), *of_postgres(folder)]
    finally:
        del os.environ["NEPHOSCOPE_PASSWORD"]
        if kept is not None:
            os.environ["NEPHOSCOPE_PASSWORD"] = kept
    written = ROOT / ".lab" / PAGE.name
    written.parent.mkdir(exist_ok=True)
    written.write_text(page(found))
    return found


@pytest.fixture(scope="module")
def rows():
    return measure()


# ---------------------------------------------------------------- MariaDB


def of_mariadb(folder):
    """Return the rows of a MariaDB and its asynchronous replica."""
    options = ("--server-id=1", "--log-bin=log", "--long-query-time=0.2", "--log-basename=lab")
    with mariadb.server(folder / "primary", *options) as primary:
        for statement in (
            "CREATE USER nagios@'%' IDENTIFIED BY 'sesame'",
            "GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO nagios@'%'",
            "CREATE USER repl@'%' IDENTIFIED BY 'sesame'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'", "CREATE DATABASE lab",
            "CREATE TABLE lab.t (id INT PRIMARY KEY, v INT)", "INSERT INTO lab.t VALUES (1, 1), (2, 2)",
            "CREATE TABLE lab.big (id INT PRIMARY KEY, v CHAR(250)) CHARSET latin1",
            "INSERT INTO lab.big SELECT seq, REPEAT('x', 250) FROM lab.seq_1_to_120000",
        ):  # fmt: skip
            primary.sql(statement)
        ours = Ours(folder)
        return [
            *at_one_moment(primary, ours),
            *over_a_window(primary, ours, folder),
            *a_replica_behind(primary, ours, folder),
        ]


def health(server, mode, folder="/tmp"):
    """Ask check_mysql_health."""
    return said(
        HEALTH, "--hostname", "127.0.0.1", "--port", str(server.port), "--username", "nagios", "--password", "sesame",
        "--statefilesdir", str(folder), "--mode", mode,
    )  # fmt: skip


def at_one_moment(server, ours):
    with contextlib.ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(contextlib.closing(server.connection()))
        busy = stack.enter_context(contextlib.closing(server.connection()))
        stack.enter_context(working(busy, "SELECT SLEEP(20)"))
        most = int(server.sql("SELECT @@max_connections AS n")[0]["n"])
        limit = int(server.sql("SELECT @@open_files_limit AS n")[0]["n"])
        for measure, mode, label, ask in (
            (
                "sessions",
                "threads-connected",
                "threads_connected",
                lambda one: round(perf(one, "connections") * most / 100, 2),
            ),
            ("threads that run", "threads-running", "threads_running", lambda one: perf(one, "running")),
            ("open files", "open-files", "open_files", lambda one: round(perf(one, "open_files") * limit / 100, 2)),
            ("uptime", "uptime", "uptime", lambda one: perf(one, "uptime")),
        ):
            values = beside(
                lambda mode=mode: health(server, mode), lambda text, label=label: number(text, label),
                lambda ask=ask: ask(ours(MYSQL, server.port)),
            )  # fmt: skip
            yield Row(
                "MariaDB 10.11", measure, f"check_mysql_health {mode}", *values, "s" if measure == "uptime" else ""
            )
        began = time.monotonic()
        with contextlib.closing(server.connection(autocommit=False)) as idle, idle.cursor() as cursor:
            cursor.execute("SELECT * FROM lab.t")
            time.sleep(2)
            mine = perf(ours(MYSQL, server.port, "--mode", "transactions"), "longest")
            age = time.monotonic() - began
            yield Row("MariaDB 10.11", "longest transaction", "the test's own clock (check_mysql_health has no such mode)",
                      2.0, mine, age, "s", 1.0, WITHIN, "the server counts whole seconds")  # fmt: skip


@contextlib.contextmanager
def working(link, statement):
    """Have a connection run a statement for as long as the block lasts."""

    def work():
        with contextlib.suppress(Exception):
            link.cursor().execute(statement)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(0.3)
    try:
        yield
    finally:
        if hasattr(link, "cancel"):  # psycopg2 would wait for the statement when it is closed
            link.cancel()
            thread.join(10)


WINDOW = ("innodb", "statements", "temporary", "login", "deadlocks")


def over_a_window(server, ours, folder):
    """Two runs of each, with work in between; check_mysql_health before and after ours have a memory each."""
    before, after = folder / "before", folder / "after"
    for place in (before, after):
        place.mkdir()
    modes = {mode: {} for mode in ("bufferpool-hitrate", "slow-queries", "tmp-disk-tables", "connects-aborted")}
    asked = [word for mode in WINDOW for word in ("--mode", mode)]
    outcomes, moments = [], []
    for turn in range(2):
        for place in (before, after):
            for mode, told in modes.items():
                told[place, turn] = health(server, mode, place)
            if place == before:
                outcomes.append(ours(MYSQL, server.port, *asked, shift=turn * SHIFT))
                moments.append(ours.at)
        if not turn:
            deadlocks = int(server.status("Innodb_deadlocks"))
            work_mariadb(server)
    first, second = outcomes
    passed = moments[1] - moments[0]

    def theirs(mode, what):
        return [what(modes[mode][place, 1]) for place in (before, after)]

    def row(measure, mode, what, mine, unit="", step=0.0, verdict=WITHIN, why=""):
        low, high = theirs(mode, what)
        return Row("MariaDB 10.11", measure, f"check_mysql_health {mode}", low, mine, high, unit, step, verdict, why)

    yield row("hit ratio of the buffer pool, in the window", "bufferpool-hitrate",
              lambda text: number(text, "bufferpool_hitrate_now"), round(perf(second, "hit"), 2), "%", 0.05)  # fmt: skip
    yield row("hit ratio, what it alarms on", "bufferpool-hitrate", lambda text: number(text, "bufferpool_hitrate"),
              round(perf(second, "hit"), 2), "%", 0.05, WRONG,
              "it judges the mean since the server's start, in which the last minutes drown")  # fmt: skip
    yield row("slow statements in the window", "slow-queries", lambda text: float(re.search(r"(\d+) slow queries in", text)[1]),
              round(perf(second, "slow_rate") * passed, 1), "", 0.1)  # fmt: skip
    first_rate = [
        float(re.search(r"in (\d+) seconds", modes["slow-queries"][place, 0])[1]) for place in (before, after)
    ]
    assert "slow_rate" not in " ".join(first.perfdata)
    yield Row("MariaDB 10.11", "window of the first run", "check_mysql_health slow-queries", first_rate[0], 0.0, first_rate[1], "s", 0.0, WRONG,
              "without a memory it divides by the seconds since 1970, and says OK; ours says that it is collecting")  # fmt: skip
    yield row("temporary tables on disk, in the window", "tmp-disk-tables", lambda text: number(text, "pct_tmp_table_on_disk_now"),
              round(perf(second, "tmp_disk"), 2), "%", 1.0, WITHIN, "their own statements make such tables, too")  # fmt: skip
    yield row("aborted connects, after 20 bare TCP connects", "connects-aborted", lambda text: number(text, "connects_aborted_per_sec"),
              perf(second, "aborted_connects_rate"), "/s", 0.0, WRONG,
              "it takes the probes of a load balancer for aborted log-ins; the server counts these apart")  # fmt: skip
    risen = int(server.status("Innodb_deadlocks")) - deadlocks
    yield Row("MariaDB 10.11", "deadlocks in the window", "SHOW GLOBAL STATUS (check_mysql_health has no such mode)", risen,
              round(perf(second, "deadlocks_rate") * passed, 1), risen, "", 0.1)  # fmt: skip


def work_mariadb(server):
    """Read pages that are not in memory, slowly; sort on disk; probe the port; make a deadlock."""
    server.sql(
        "SELECT COUNT(*) FROM (SELECT seq * 7919 % 120000 + 1 AS n FROM lab.seq_1_to_40000) s JOIN lab.big b ON b.id = s.n WHERE b.v > 'a'"
    )
    for _ in range(3):
        server.sql("SELECT SLEEP(0.3)")
    with contextlib.closing(server.connection()) as link, link.cursor() as cursor:
        cursor.execute("SET SESSION tmp_memory_table_size = 1024")
        for _ in range(30):
            cursor.execute("SELECT COUNT(DISTINCT v, id) FROM (SELECT * FROM lab.big LIMIT 500) x GROUP BY id LIMIT 1")
            cursor.fetchall()
    import socket

    for _ in range(20):
        socket.create_connection(("127.0.0.1", server.port)).close()
    wait_for(lambda: int(server.status("Aborted_connects_preauth")) >= 20, 10, "the probes to be counted")
    with (
        contextlib.closing(server.connection(autocommit=False)) as one,
        contextlib.closing(server.connection(autocommit=False)) as two,
    ):
        deadlock(one, two, "UPDATE lab.t SET v = v + 1 WHERE id = 1", "UPDATE lab.t SET v = v + 1 WHERE id = 2")


def deadlock(one, two, first, second):
    """Let two connections wait for each other; the server ends one of them."""
    one.cursor().execute(first)
    two.cursor().execute(second)
    waiting = threading.Thread(target=lambda: quietly(one, second), daemon=True)
    waiting.start()
    time.sleep(0.3)
    quietly(two, first)
    waiting.join(10)
    for link in (one, two):
        link.rollback()


def quietly(link, statement):
    with contextlib.suppress(Exception):
        link.cursor().execute(statement)


def a_replica_behind(primary, ours, folder):
    """A replica whose SQL thread waits for a table lock: both threads run, and the lag grows."""
    place = primary.sql("SHOW MASTER STATUS")[0]
    with mariadb.server(folder / "replica", "--server-id=2") as replica:
        replica.sql("CREATE DATABASE lab")
        replica.sql("CREATE TABLE lab.t (id INT PRIMARY KEY, v INT)")
        replica.sql("CREATE USER nagios@'%' IDENTIFIED BY 'sesame'")
        replica.sql("GRANT SLAVE MONITOR ON *.* TO nagios@'%'")
        replica.sql(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='repl', MASTER_PASSWORD='sesame',"
            f" MASTER_LOG_FILE='{place['File']}', MASTER_LOG_POS={place['Position']}"
        )
        replica.sql("START SLAVE")
        with contextlib.closing(replica.connection()) as holder, holder.cursor() as cursor:
            cursor.execute("LOCK TABLES lab.t WRITE")
            primary.sql("INSERT INTO lab.t VALUES (3, 3)")

            def behind():
                return (replica.sql("SHOW SLAVE STATUS")[0]["Seconds_Behind_Master"] or 0) >= 3

            wait_for(behind, 20, "a lag")
            values = beside(
                lambda: health(replica, "slave-lag"), lambda text: float(re.search(r"(\d+) seconds behind", text)[1]),
                lambda: perf(ours(CLUSTER, replica.port, "--type", "mysql", "--mode", "replica"), "lag"),
            )  # fmt: skip
            yield Row("MariaDB 10.11, replica", "replication lag", "check_mysql_health slave-lag", *values, "s")
        replica.sql("STOP SLAVE SQL_THREAD")


# ---------------------------------------------------------------- PostgreSQL


def of_postgres(folder):
    """Return the rows of a PostgreSQL with a standby."""
    settings = (
        "max_prepared_transactions=5",
        "deadlock_timeout=200ms",
        "archive_mode=on",
        "archive_command=false",
        "shared_buffers=4MB",
    )
    with postgresql.server(folder / "pg", *settings) as server:
        server.sql("CREATE ROLE nagios LOGIN PASSWORD 'sesame'")
        server.sql("GRANT pg_monitor TO nagios")
        server.sql("CREATE DATABASE nova")
        server.sql(
            "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT n, n FROM generate_series(1, 10) n",
            database="nova",
        )
        server.sql(
            "CREATE TABLE big AS SELECT n, repeat('x', 500) AS v FROM generate_series(1, 40000) n", database="nova"
        )
        server.sql(
            "CREATE TABLE small AS SELECT n, repeat('x', 500) AS v FROM generate_series(1, 2000) n", database="nova"
        )
        with contextlib.closing(server.connection(database="nova")) as link:  # a good past, against a bad present
            for _ in range(1000):
                link.cursor().execute("SELECT count(*) FROM small")
        ours = Ours(folder)
        yield from sessions_of_postgres(server, ours)
        yield from window_of_postgres(server, ours, folder)
        with server.replica(folder / "standby", "standby") as standby:
            yield from standby_behind(server, standby, ours)


def bucardo(server, action, *more):
    return said(BUCARDO, "--action", action, "-H", "127.0.0.1", "-p", str(server.port), "-u", "nagios", *more)


def activity(server, service, *more, status="/dev/null"):
    return said(ACTIVITY, "-s", service, "-h", "127.0.0.1", "-p", str(server.port), "-U", "nagios", "-d", "nova", "-F", "nagios",
                "--status-file", str(status), *more)  # fmt: skip


def sessions_of_postgres(server, ours):
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(contextlib.closing(server.connection(database="nova"))) for _ in range(6)]
        for link in links[:4]:
            link.autocommit = False
        links[0].cursor().execute("UPDATE t SET v = 0 WHERE id = 1")
        links[2].cursor().execute("SELECT 1")
        quietly(links[3], "SELECT 1 / 0")  # idle, its transaction aborted
        stack.enter_context(working(links[1], "UPDATE t SET v = 1 WHERE id = 1"))  # waits for the first
        stack.enter_context(working(links[4], "SELECT pg_sleep(60)"))
        with contextlib.closing(server.connection(database="nova", autocommit=False)) as prepared:
            prepared.cursor().execute("UPDATE t SET v = 5 WHERE id = 5")
            prepared.cursor().execute("PREPARE TRANSACTION 'forgotten'")
        time.sleep(2.5)
        links[2].cursor().execute("SELECT 1")  # a busy transaction: idle since now only

        room = int(
            server.sql(
                "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS n"
            )[0]["n"]
        )

        def row(measure, peer, ask, what, mine, unit="", step=0.0, verdict=WITHIN, why=""):
            values = beside(ask, what, lambda: mine(ours(POSTGRES, server.port)))
            return Row("PostgreSQL 15", measure, peer, *values, unit, step, verdict, why)

        def used(outcome):
            return round(perf(outcome, "connections") * room / 100, 2)

        hour = ("-w", "1h", "-c", "2h")
        yield row("sessions", "check_postgres backends", lambda: bucardo(server, "backends"),
                  lambda text: float(re.search(r"(\d+) of \d+ connections", text)[1]), used)  # fmt: skip
        yield row("sessions", "check_pgactivity backends_status", lambda: activity(server, "backends_status"),
                  lambda text: float(re.search(r"(\d+) backend", text)[1]), used)  # fmt: skip
        yield row("longest transaction", "check_postgres txn_time", lambda: bucardo(server, "txn_time", "-w", "100 seconds"),
                  lambda text: number(text, "transaction_time"), lambda one: perf(one, "longest"), "s", 0.51)  # fmt: skip
        yield row("longest statement", "check_postgres query_time", lambda: bucardo(server, "query_time", "-w", "100 seconds"),
                  lambda text: number(text, "query_time"), lambda one: perf(one, "query"), "s", 0.51)  # fmt: skip
        yield row("longest statement", "check_pgactivity longest_query", lambda: activity(server, "longest_query", *hour),
                  lambda text: number(text, "nova max"), lambda one: perf(one, "query"), "s", 1.0)  # fmt: skip
        yield row("longest idle in a transaction", "check_postgres txn_idle", lambda: bucardo(server, "txn_idle", "-w", "100 seconds"),
                  lambda text: number(text, "transaction_time"), lambda one: perf(one, "idle_transaction"), "s", 0.51)  # fmt: skip
        yield row("longest idle in a transaction", "check_pgactivity backends_status", lambda: activity(server, "backends_status"),
                  lambda text: max(number(text, "oldest idle in transaction"), number(text, "oldest idle in transaction (aborted)")),
                  lambda one: perf(one, "idle_transaction"), "s", 0.01)  # fmt: skip
        yield row("sessions idle in a transaction, one of them aborted", "check_pgactivity backends_status", lambda: activity(server, "backends_status"),
                  lambda text: number(text, "idle in transaction") + number(text, "idle in transaction (aborted)"),
                  lambda one: perf(one, "idle_in_transaction"))  # fmt: skip
        yield row("sessions that wait for a lock", "check_pgactivity backends_status", lambda: activity(server, "backends_status"),
                  lambda text: number(text, "waiting for lock"), lambda one: perf(one, "waiters"))  # fmt: skip
        yield row("longest wait for a lock", "check_pgactivity backends_status", lambda: activity(server, "backends_status"),
                  lambda text: number(text, "oldest waiting for lock"), lambda one: perf(one, "waited"), "s", 0.1)  # fmt: skip
        yield row("age of a prepared transaction", "check_postgres prepared_txns", lambda: bucardo(server, "prepared_txns", "-w", "1000"),
                  lambda text: number(text, "nova"), lambda one: perf(one, "prepared"), "s", 0.51)  # fmt: skip
        yield row("age of a prepared transaction", "check_pgactivity oldest_2pc", lambda: activity(server, "oldest_2pc", *hour),
                  lambda text: number(text, "nova max"), lambda one: perf(one, "prepared"), "s", 1.0)  # fmt: skip
        yield row("uptime", "check_pgactivity uptime", lambda: activity(server, "uptime"),
                  lambda text: number(text, "postmaster uptime"), lambda one: perf(one, "uptime"), "s", 1.0)  # fmt: skip
    server.sql("ROLLBACK PREPARED 'forgotten'", database="nova")


def window_of_postgres(server, ours, folder):
    """Two runs of each, with work in between; check_pgactivity before and after ours have a memory each."""
    before, after = folder / "pga-before", folder / "pga-after"
    told, outcomes, moments = {}, [], []
    asked = ("--database", "nova", "--mode", "work", "--mode", "locks", "--mode", "wal")
    services = {"hit_ratio": ("-w", "10%", "-c", "5%"), "commit_ratio": ()}
    for turn in range(2):
        for place in (before, after):
            for service, more in services.items():
                told[service, place, turn] = activity(server, service, *more, status=place)
            if place == before:
                outcomes.append(ours(POSTGRES, server.port, *asked, shift=turn * SHIFT))
                moments.append(ours.at)
        if not turn:
            dead = deadlocks_of(server)
            work_postgres(server)
    second, passed = outcomes[1], moments[1] - moments[0]

    def theirs(service, label):
        return [number(told[service, place, 1], label) for place in (before, after)]

    low, high = theirs("hit_ratio", "nova")
    yield Row("PostgreSQL 15", "hit ratio, in the window", "check_pgactivity hit_ratio", low, round(perf(second, "hit"), 2), high, "%", 1.0,
              WITHIN, "theirs is of database nova alone; ours has the shared catalogs, too, less than 1 % here")  # fmt: skip
    since = number(bucardo(server, "hitratio"), "nova")
    yield Row("PostgreSQL 15", "hit ratio, in the window", "check_postgres hitratio", since, round(perf(second, "hit"), 2),
              number(bucardo(server, "hitratio"), "nova"), "%", 1.5, OTHER,
              "theirs is the mean since the statistics were reset, in which the last minutes drown")  # fmt: skip
    low, high = theirs("commit_ratio", "nova_rollback_ratio")
    yield Row("PostgreSQL 15", "transactions rolled back, in the window", "check_pgactivity commit_ratio", low, round(perf(second, "rollbacks"), 2),
              high, "%", 0.3, WITHIN, "theirs is of database nova alone")  # fmt: skip
    risen = deadlocks_of(server) - dead
    yield Row("PostgreSQL 15", "deadlocks in the window", "pg_stat_database (neither peer counts them)", risen,
              round(perf(second, "deadlocks_rate") * passed, 1), risen, "", 0.1)  # fmt: skip

    def ready():
        return perf(ours(POSTGRES, server.port, "--mode", "wal"), "ready")

    values = beside(lambda: bucardo(server, "archive_ready"), lambda text: number(text, "files"), ready)
    yield Row("PostgreSQL 15", "files that wait for the archiver", "check_postgres archive_ready", *values, "", 0.0, WRONG,
              "from PostgreSQL 10 on it looks for them in pg_wal itself, where none ever is, and says OK")  # fmt: skip
    kept = server.data / "pg_wal" / "archive_status"
    values = beside(lambda: kept.glob("*.ready"), lambda files: float(len(list(files))), ready)
    yield Row(
        "PostgreSQL 15",
        "files that wait for the archiver",
        "the files themselves (check_pgactivity archiver needs a superuser)",
        *values,
    )


def deadlocks_of(server):
    return int(server.sql("SELECT sum(deadlocks) AS n FROM pg_stat_database", database="nova")[0]["n"])


def work_postgres(server):
    """Read more than the cache holds, roll back every third transaction, make a deadlock and segments of WAL."""
    with contextlib.closing(server.connection(database="nova", autocommit=False)) as link:
        for turn in range(1500):
            link.cursor().execute("SELECT count(*) FROM big" if turn < 100 else "SELECT v FROM t WHERE id = 2")
            link.rollback() if turn % 3 == 0 else link.commit()
    with (
        contextlib.closing(server.connection(database="nova", autocommit=False)) as one,
        contextlib.closing(server.connection(database="nova", autocommit=False)) as two,
    ):
        deadlock(one, two, "UPDATE t SET v = 1 WHERE id = 1", "UPDATE t SET v = 2 WHERE id = 2")
    for _ in range(3):
        server.sql("CREATE TABLE IF NOT EXISTS x (n int); INSERT INTO x VALUES (1)", database="nova")
        server.sql("SELECT pg_switch_wal()", database="nova")
    time.sleep(1.2)  # a session tells its statistics when it ends, or once a second


def standby_behind(server, standby, ours):
    """A standby that receives and does not replay."""
    both = ("-H", "127.0.0.1,127.0.0.1", "-p", f"{server.port},{standby.port}", "-u", "nagios")
    server.sql("CREATE TABLE y (n int); INSERT INTO y VALUES (1)", database="nova")
    wait_for(
        lambda: standby.sql("SELECT pg_last_xact_replay_timestamp() IS NOT NULL AS t")[0]["t"], 20, "a first commit"
    )
    standby.sql("SELECT pg_wal_replay_pause()")
    server.sql("INSERT INTO y SELECT n FROM generate_series(1, 20000) n", database="nova")
    wait_for(
        lambda: standby.sql("SELECT pg_last_wal_receive_lsn() <> pg_last_wal_replay_lsn() AS t")[0]["t"], 20, "a lag"
    )
    time.sleep(2)

    def delay():
        return said(BUCARDO, "--action", "hot_standby_delay", *both, "-w", "1000000000 and 1000 seconds")

    def held():
        return ours(CLUSTER, standby.port, "--type", "postgres", "--mode", "standby")

    def seen():
        return ours(CLUSTER, server.port, "--type", "postgres", "--mode", "primary")

    where = "PostgreSQL 15, standby"
    yield Row(where, "replay lag, of the standby", "check_postgres hot_standby_delay",
              *beside(delay, lambda text: number(text, "time_delay"), lambda: perf(held(), "lag")), "s", 1.0)  # fmt: skip
    limits = ("-w", "1GB", "-c", "2GB")

    def replay(text):
        return float(re.search(r"'replay delta [^']*'=(\d+)", text)[1])

    def behind(outcome):
        found = re.search(r"_?(?:behind|lag_bytes|replay)=(\d+)B", " ".join(outcome.perfdata))
        assert found, outcome.text
        return float(found[1])

    yield Row(where, "replay lag, in bytes, of the primary", "check_postgres hot_standby_delay",
              *beside(delay, lambda text: number(text, "replay_delay"), lambda: behind(seen())), "B")  # fmt: skip
    yield Row(where, "replay lag, in bytes, of the primary", "check_pgactivity streaming_delta",
              *beside(lambda: activity(server, "streaming_delta", *limits), replay, lambda: behind(seen())), "B")  # fmt: skip
    standby.sql("SELECT pg_wal_replay_resume()")


# ---------------------------------------------------------------- the tests


def test_ours_lies_within_what_two_runs_of_theirs_bracket(rows):
    assert [row for row in rows if not row.holds] == []
    assert len(rows) > 25


def test_the_page_has_these_rows_and_verdicts(rows):
    """Numbers vary; `python -m tests.lab.test_db_peers` writes the page anew."""
    assert structure(PAGE.read_text()) == structure(page(rows))


if __name__ == "__main__":
    import faulthandler

    faulthandler.dump_traceback_later(170, exit=True)
    measured = measure()
    for each in measured:
        print("" if each.holds else "!!!", *each, sep="\t")
    PAGE.write_text(page(measured))
