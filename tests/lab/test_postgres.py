# SPDX-License-Identifier: Apache-2.0
"""check_postgres against real servers of PostgreSQL 15 and 18, with the rights that its page tells and no more."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import threading
import time

import pytest
from nephoscope.base import Clock, Run
from nephoscope.checks.database.check_postgres import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING
from nephoscope.probes import postgres, sql

from tests.lab import postgresql
from tests.lab.support import Daemon, free_port, listening, need, private_folder, wait_for

pytestmark = pytest.mark.lab

# Small files of WAL, and settings that a careful owner has: what is wrong is made wrong by a test.
SOUND = ("fsync=on", "full_page_writes=on", "archive_mode=on", "archive_command=true", "deadlock_timeout=200ms")


def grants(*, old: bool) -> list[str]:
    """The statements of the check's own page: those of PostgreSQL 10 and newer, or those before it."""
    new, before = CHECK.doc.split("PostgreSQL 9.2 to 9.6 have no pg_monitor")
    told = re.findall(r"`((?:CREATE|GRANT|ALTER) [^`]*)`", before if old else new)
    assert len(told) == 3
    return [text.replace("'…'", "'secret'").replace("FOR ROLE owner", "FOR ROLE postgres") for text in told]


@pytest.fixture(scope="module")
def place():
    with private_folder() as path:
        yield path


@pytest.fixture(scope="module", params=["15", "18"])
def server(request, place):
    bin = postgresql.DEBIAN if request.param == "15" else postgresql.programs_of_18(place)
    folder = place / request.param
    with postgresql.server(folder, *SOUND, bin=bin, initdb=("--wal-segsize=1",)) as one:
        for statement in grants(old=False):
            one.sql(statement)
        one.sql("CREATE TABLE things(id bigserial PRIMARY KEY, x int)")
        one.sql("INSERT INTO things(x) SELECT generate_series(1, 100)")
        one.sql("SELECT pg_switch_wal()")
        wait_for(
            lambda: one.sql("SELECT archived_count AS n FROM pg_stat_archiver")[0]["n"], what="a first archived file"
        )
        yield one


@pytest.fixture
def check(folder, monkeypatch):
    def run(server, *argv, user="nagios", password="secret", clock=None, calm=True):
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", password)
        quiet = ["-w", "uptime=~:"] if calm and ("--mode" not in argv or "settings" in argv) else []
        where = [] if "--socket" in argv else ["-H", "127.0.0.1"]
        words = [*where, "-p", str(server.port), "--user", user, "--state-dir", str(folder / "state"), *quiet, *argv]
        return CHECK.run(words, clock=clock)

    return run


def modes(*names):
    return [word for name in names for word in ("--mode", name)]


@contextlib.contextmanager
def sessions(server, number=1, **words):
    """Give open sessions; when the block is left the server ends them: one that still waits in a thread can't be closed."""
    opened = []
    try:
        for _ in range(number):
            opened.append(server.connection(**words))
        pids = [one.info.backend_pid for one in opened]
        yield opened
    finally:
        if opened:
            server.sql(f"SELECT pg_terminate_backend(pid) FROM unnest(ARRAY{pids}) pid")


def later(statement, cursor):
    """Run a statement that waits, in a thread of its own; what it raises is nobody's business."""

    def work():
        with contextlib.suppress(Exception):
            cursor.execute(statement)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def waiting_for(server, number):
    count = "SELECT count(*) AS n FROM pg_catalog.pg_stat_activity WHERE wait_event_type = 'Lock'"
    wait_for(lambda: server.sql(count)[0]["n"] == number, what=f"{number} sessions that wait")


ALL = (
    r"login=0\.\d+s;1;5 connections=3\.703704%;80;90 idle_in_transaction=0;20;50 active=0 longest=0s;3600;21600"
    r" query=0s;300;1800 idle_transaction=0s;300;1800 waiters=0;5;20 waited=0s;60;120 prepared=0s;60;600"
    r" xmin_age=0;10000000;100000000 xid=0\.\d+%;50;70 mxid=[\d.]+%;50;70 freeze=0\.\d+%;125 dead=0%;20;40 wal=[\d.]+%;150;300"
    r" ready=0;10;100( checksum_failures=0;;0 checksum_failures_sum=0)? sequence=0%;75;90 uptime=[\d.]+s;~:"
)


# --- well, and what a role may see ---------------------------------------------------------------------------------------------


def test_all_is_well_with_the_rights_of_the_page(server, check):
    outcome = check(server)
    assert re.fullmatch(
        rf"POSTGRES OK - PostgreSQL (15|18)\.\d+, primary, 1 of 27 connections, rates collecting \| {ALL}", outcome.line
    ), outcome.text
    again = check(server, clock=Clock(shift=300))
    assert again.state == OK, again.text
    rates = r"( hit=[\d.]+%)? rollbacks=0% commits_rate=[\d.]+ temp_rate=0B;100000000 deadlocks_rate=0;0;0\.1667 conflicts_rate=0"
    assert re.search(rf" forced=0%;30{rates} wal_rate=[\d.]+B$", again.line), again.line


@pytest.mark.parametrize("mode", CHECK.modes)
def test_each_mode_alone(server, check, mode):
    outcome = check(server, "--mode", mode)
    if mode == "checksums" and server.folder.name == "15":
        line = "POSTGRES UNKNOWN - checksums: off: nothing notices a damaged page"
    else:
        first = r", 1 of 27 connections" if mode == "connections" else ""
        collecting = r"(, rates collecting)?"
        line = rf"POSTGRES OK - PostgreSQL (15|18)\.\d+, primary{first}{collecting}( \| .*)?"
    assert re.fullmatch(line, outcome.line), outcome.text


def test_a_role_without_pg_monitor(server, check):
    server.sql("CREATE ROLE bare LOGIN PASSWORD 'secret'")
    hidden = (
        "POSTGRES UNKNOWN - the sessions of other roles, the files that wait for the archiver and the files of pg_wal are hidden"
        " from bare: needs GRANT pg_monitor TO bare"
    )
    with sessions(server, 3):
        outcome = check(server, "-w", "sequence=~:", "-c", "sequence=~:", *modes("transactions", "wal"), user="bare")
        assert outcome.state == UNKNOWN
        outcome = check(server, *modes("transactions", "locks", "horizon", "wal"), user="bare")
        assert (outcome.state, outcome.line.partition(" | ")[0]) == (UNKNOWN, hidden)
        assert "active=" not in outcome.line
        assert "xmin_age" not in outcome.line
        free = ("login", "connections", "prepared", "work", "wraparound", "vacuum", "checkpoints")
        assert check(server, *modes(*free), user="bare").state == OK
    alone = check(server, "--mode", "transactions", user="bare")  # the server's own workers are hidden, too
    assert alone.reason == "the sessions of other roles are hidden from bare: needs GRANT pg_monitor TO bare"
    server.sql("DROP ROLE bare")


def test_a_role_that_does_not_inherit(server, check):
    server.sql("CREATE ROLE aloof NOINHERIT LOGIN PASSWORD 'secret' IN ROLE pg_monitor")
    outcome = check(server, "--mode", "transactions", user="aloof")
    server.sql("DROP ROLE aloof")
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "the sessions of other roles are hidden from aloof: needs GRANT pg_monitor TO aloof",
    )


def test_a_right_that_is_taken_back(server, check):
    assert check(server, "--mode", "locks").state == OK
    server.sql("REVOKE pg_monitor FROM nagios")
    try:
        outcome = check(server, "--mode", "locks")
    finally:
        server.sql("GRANT pg_monitor TO nagios")
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "the sessions of other roles are hidden from nagios: needs GRANT pg_monitor TO nagios",
    )


def test_the_view_that_stands_in_for_pg_monitor(server, check):
    """What the page tells for PostgreSQL before 10, run here: the sessions are seen without the right."""
    server.sql("CREATE DATABASE older")
    server.sql("REVOKE pg_monitor FROM nagios")
    try:
        for statement in grants(old=True):
            server.sql(statement, database="older")
        with sessions(server, autocommit=False) as (one,):
            one.cursor().execute("SELECT 1")
            outcome = check(
                server, *modes("transactions", "locks", "horizon"), "--database", "older", "-w", "longest=0"
            )
        assert outcome.state == WARNING, outcome.text
        assert re.fullmatch(
            r"postgres@postgres longest [\d.]+ m?s is above 0 s \(pid \d+, trouble, idle in transaction\)",
            outcome.reason,
        )
    finally:
        server.sql("GRANT pg_monitor TO nagios; ALTER ROLE nagios RESET search_path")
        server.sql("DROP DATABASE older")


def test_no_statement_is_told(server, check):
    with sessions(server, autocommit=False) as (one,):
        one.cursor().execute("SELECT 'gAAAAABtoken', pg_sleep(0)")
        outcome = check(server, "-vvv", "--explain", "-w", "longest=0", "-w", "idle_transaction=0", "--format", "json")
        assert outcome.state == WARNING
        assert "pid" in outcome.text
        assert "gAAAAABtoken" not in outcome.text


# --- sessions ------------------------------------------------------------------------------------------------------------------


def test_long_and_idle_transactions(server, check):
    with sessions(server, 2, autocommit=False) as (idle, busy):
        idle.cursor().execute("SELECT txid_current()")
        later("SELECT pg_sleep(5)", busy.cursor())
        active = "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(5)%' AND state = 'active'"
        wait_for(lambda: server.sql(active)[0]["n"] >= 1, what="a long statement")
        words = ["--mode", "transactions", "-c", "query=0", "-w", "idle_transaction=0", "-w", "idle_in_transaction=0"]
        outcome = check(server, *words)
        assert re.fullmatch(
            r"POSTGRES CRITICAL - postgres@postgres query [\d.]+ m?s is above 0 s \(pid \d+, trouble, active\), WARNING: idle in"
            r" transaction 1 is above 0, postgres@postgres idle transaction [\d.]+ m?s is above 0 s \(pid \d+, trouble, idle in"
            r" transaction\) \| idle_in_transaction=1;0;50 active=1 .*",
            outcome.line,
        ), outcome.text
        without = check(server, *words, "--exclude", "postgres@*")
        assert (without.state, without.reason) == (WARNING, "idle in transaction 1 is above 0")
        assert "left out by --include/--exclude: 1 (postgres@postgres)" in without.text
        busy.cancel()


def test_sessions_that_tell_no_state(server, check):
    server.sql("CREATE ROLE mute SUPERUSER LOGIN; ALTER ROLE mute SET track_activities = off")
    with contextlib.closing(server.connection(user="postgres", autocommit=False)) as one:
        one.cursor().execute("SET track_activities = off")
        outcome = check(server, "--mode", "transactions")
    server.sql("DROP ROLE mute")
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "sessions: 1 of them tell nothing: track_activities is off for them",
    )


def test_connections_that_run_out(server, check):
    with sessions(server, 22):
        assert re.fullmatch(
            r"POSTGRES WARNING - connections 85\.2 % is above 80 % \(23 of 27\) \| connections=85\.185185%;80;90",
            check(server, "--mode", "connections").line,
        )
    wait_for(lambda: server.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE datname IS NOT NULL")[0]["n"] == 1)
    with sessions(server, 27):
        full = check(server, "--mode", "connections")
    assert full.state == CRITICAL
    assert re.fullmatch(rf"POSTGRES CRITICAL - 127\.0\.0\.1:{server.port}: .*", full.line)
    assert re.search(r"too many|connection slots are reserved|connections? left", full.line), full.line
    wait_for(lambda: server.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE datname IS NOT NULL")[0]["n"] == 1)
    with sessions(server, 3, user="nagios", password="secret", host="127.0.0.1"):
        role = check(server, "--mode", "connections")
    assert (role.state, "too many connections for role" in role.line) == (CRITICAL, True), role.line


# --- locks ---------------------------------------------------------------------------------------------------------------------


def test_a_queue_behind_an_idle_transaction(server, check):
    with sessions(server, 4, autocommit=False) as (head, *others):
        head.cursor().execute("UPDATE things SET x = 0 WHERE id = 1")
        threads = []
        for number, one in enumerate(others, 1):
            threads.append(later("UPDATE things SET x = 1 WHERE id = 1", one.cursor()))
            waiting_for(server, number)
        outcome = check(server, "--mode", "locks", "-w", "waiters=2", "-c", "waited=0")
        head.rollback()
        for one, thread in zip(others, threads):
            thread.join(5)
            one.rollback()
    who = r"3 behind pid \d+, postgres@postgres, trouble, idle in transaction for \d+ s"
    assert re.fullmatch(
        rf"waited [\d.]+ m?s is above 0 s \({who}\), WARNING: waiters 3 is above 2 \({who}\)", outcome.reason
    ), outcome.text


def test_a_queue_behind_a_prepared_transaction(server, check):
    with sessions(server, 2, autocommit=False) as (head, other):
        head.cursor().execute("UPDATE things SET x = 0 WHERE id = 2; PREPARE TRANSACTION 'left-behind'")
        head.close()
        thread = later("UPDATE things SET x = 1 WHERE id = 2", other.cursor())
        waiting_for(server, 1)
        try:
            locks = check(server, "--mode", "locks", "-w", "waiters=0")
            prepared = check(server, "--mode", "prepared", "-c", "prepared=0")
            horizon = check(server, "--mode", "horizon", "-w", "xmin_age=0")
        finally:
            server.sql("ROLLBACK PREPARED 'left-behind'")
        thread.join(5)
    assert locks.reason == "waiters 1 is above 0 (1 behind a prepared transaction)"
    assert re.fullmatch(
        r"prepared [\d.]+ m?s is above 0 s \(left-behind of postgres@postgres, 1 in all\)", prepared.reason
    )
    assert re.fullmatch(r"xmin age [12] is above 0 \(held by prepared transaction left-behind\)", horizon.reason)


def test_a_deadlock(server, check):
    assert "deadlocks collecting" in check(server, "--mode", "locks").text
    with sessions(server, 2, autocommit=False) as (one, two):
        first, second = one.cursor(), two.cursor()
        first.execute("UPDATE things SET x = 0 WHERE id = 1")
        second.execute("UPDATE things SET x = 0 WHERE id = 2")
        thread = later("UPDATE things SET x = 0 WHERE id = 2", first)
        with contextlib.suppress(Exception):
            second.execute("UPDATE things SET x = 0 WHERE id = 1")
        two.rollback()
        thread.join(5)
        one.rollback()
    counted = "SELECT sum(deadlocks)::int AS n FROM pg_stat_database"
    wait_for(lambda: server.sql(counted)[0]["n"], what="the count of a deadlock")
    assert check(server, "--mode", "locks", clock=Clock(shift=1)).state == OK  # a second is too short for a rate
    outcome = check(server, "--mode", "locks", clock=Clock(shift=300))
    assert (outcome.state, outcome.reason) == (WARNING, "deadlocks 0.0033/s is above 0/s")


# --- rates ---------------------------------------------------------------------------------------------------------------------


def test_temporary_files(server, check):
    assert check(server, "--mode", "work").state == OK
    server.sql("SET work_mem = '64kB'; SELECT count(*) FROM (SELECT x FROM generate_series(1, 100000) x ORDER BY -x) t")
    counted = "SELECT sum(temp_bytes)::bigint AS n FROM pg_stat_database"
    wait_for(lambda: server.sql(counted)[0]["n"] > 10**6, what="the count of temporary files")
    outcome = check(server, "--mode", "work", "-w", "temp_rate=1000", clock=Clock(shift=300))
    assert outcome.state == WARNING
    assert re.fullmatch(r"temp [\d.]+ KiB/s is above 1000 B/s", outcome.reason), outcome.reason
    assert re.search(r"commits_rate=[\d.]+ temp_rate=\d", outcome.line)


def test_counters_that_were_reset_make_no_rate(server, check):
    words = modes("work", "locks", "checkpoints", "wal")
    first = check(server, *words)
    second = check(server, *words, clock=Clock(shift=300))
    assert ("commits_rate=" in first.line, "commits_rate=" in second.line) == (False, True)
    server.sql("SELECT pg_stat_reset()")
    third = check(server, *words, clock=Clock(shift=600))
    assert (third.state, "commits collecting" in third.text) == (OK, True), third.text
    assert "forced=" in third.line  # which has a reset of its own
    server.sql(f"SELECT pg_stat_reset_shared('{'checkpointer' if server.folder.name == '18' else 'bgwriter'}')")
    fourth = check(server, *words, clock=Clock(shift=900))
    assert (fourth.state, "forced collecting" in fourth.text) == (OK, True), fourth.text
    assert "commits_rate=" in fourth.line


def test_a_restart_between_two_samples(server, check):
    words = modes("work", "settings", "login")
    before = check(server, *words)
    assert before.state == OK
    server.restart()  # statistics are kept
    kept = check(server, *words, clock=Clock(shift=300))
    assert (kept.state, "commits collecting" in kept.text) == (OK, True), kept.text
    server.crash()  # statistics are gone
    gone = check(server, *words, "-w", "uptime=600:", clock=Clock(shift=600))
    assert (gone.state, "commits collecting" in gone.text) == (WARNING, True), gone.text
    assert re.fullmatch(r"uptime [\d.]+ m?s is below 10 min", gone.reason)
    after = check(server, *words, clock=Clock(shift=900))
    assert re.search(r"commits_rate=0\.\d+", after.line), after.line


def test_forced_checkpoints(server, check):
    assert "forced collecting" in check(server, "--mode", "checkpoints").text
    for _ in range(2):
        server.sql("CHECKPOINT")
    assert check(server, "--mode", "checkpoints", clock=Clock(shift=1800)).line.endswith("| forced=0%;30")
    server.sql("CHECKPOINT")
    outcome = check(server, "--mode", "checkpoints", clock=Clock(shift=3600))
    assert (outcome.state, outcome.reason) == (WARNING, "forced 100 % is above 30 %")


# --- what lasts ----------------------------------------------------------------------------------------------------------------


def test_a_slot_that_nobody_reads(server, check):
    server.sql("SELECT pg_create_physical_replication_slot('abandoned', true)")
    try:
        for _ in range(3):
            server.sql("SELECT txid_current()")
            server.sql("SELECT pg_switch_wal()")
        outcome = check(server, "--mode", "wal", "-w", "retained=1", "-c", "retained=1000000")
        assert re.fullmatch(r"abandoned retained [\d.]+ MiB is above 977 KiB \(slot not in use\)", outcome.reason)
        assert outcome.state == CRITICAL
        server.set("max_slot_wal_keep_size=1MB")
        for _ in range(3):
            server.sql("SELECT txid_current()")
            server.sql("SELECT pg_switch_wal()")
        server.sql("CHECKPOINT")
        lost = check(server, "--mode", "wal")
        assert (lost.state, lost.reason) == (CRITICAL, "abandoned slot is lost, not in use")
    finally:
        server.set("max_slot_wal_keep_size=-1")
        server.sql("SELECT pg_drop_replication_slot('abandoned')")


def test_an_archiver_that_fails(server, check):
    server.set("archive_command=false")
    try:
        server.sql("SELECT txid_current()")
        server.sql("SELECT pg_switch_wal()")
        failed = "SELECT last_failed_time > coalesce(last_archived_time, '-infinity') AS n FROM pg_stat_archiver"
        wait_for(lambda: server.sql(failed)[0]["n"], what="a failure of the archiver")
        outcome = check(server, "--mode", "wal", "-w", "ready=0")
    finally:
        server.set("archive_command=true")
    assert outcome.state == CRITICAL
    assert re.fullmatch(
        r"archiver fails at [0-9A-F]{24}, last \d+ s ago, and has archived nothing since, WARNING: ready \d+ is above 0",
        outcome.reason,
    ), outcome.reason
    server.sql("SELECT txid_current()")
    server.sql("SELECT pg_switch_wal()")
    wait_for(lambda: not server.sql(failed)[0]["n"], 70, what="the archiver's recovery")
    assert check(server, "--mode", "wal").state == OK


def test_an_archiver_without_a_command(server, check):
    server.set("archive_command=")
    try:
        outcome = check(server, "--mode", "wal")
    finally:
        server.set("archive_command=true")
    assert (outcome.state, outcome.reason) == (WARNING, "archiver has no command: WAL is kept until it gets one")


def test_the_worst_table_is_told_however_many_have_more_dead_rows(server, check):
    server.sql("CREATE DATABASE many")
    try:
        server.sql(
            "DO $$ BEGIN FOR i IN 1..110 LOOP EXECUTE format('CREATE TABLE t%s WITH (autovacuum_enabled = off) AS"
            " SELECT generate_series(1, 400) AS x', i); EXECUTE format('DELETE FROM t%s WHERE x <= 11', i); END LOOP; END $$",
            database="many",
        )
        server.sql("CREATE TABLE wide(x text)", database="many")
        server.sql("ALTER TABLE wide ALTER x SET STORAGE EXTERNAL", database="many")
        server.sql("INSERT INTO wide SELECT repeat('x', 10000) FROM generate_series(1, 2)", database="many")
        server.sql("DELETE FROM wide", database="many")
        with sessions(server, database="many") as (one,):
            one.cursor().execute("CREATE TEMP TABLE passing AS SELECT generate_series(1, 400) AS x")
            one.cursor().execute("DELETE FROM passing")
            counted = "SELECT count(*) AS n FROM pg_class WHERE pg_stat_get_dead_tuples(oid) >= 10"
            wait_for(lambda: server.sql(counted, database="many")[0]["n"] == 112, what="dead rows of all tables")
            outcome = check(server, "--mode", "vacuum", "--database", "many", "--dead-rows", "10")
    finally:
        server.sql("DROP DATABASE many WITH (FORCE)")
    assert (outcome.state, outcome.reason) == (
        CRITICAL,
        "public.wide (TOAST) dead 100 % is above 40 % (12 rows, never vacuumed)",
    )
    assert "passing" not in outcome.text


def test_dead_rows(server, check):
    server.sql("CREATE TABLE worn(x int) WITH (autovacuum_enabled = off)")
    server.sql("INSERT INTO worn SELECT generate_series(1, 1000)")
    server.sql("DELETE FROM worn WHERE x <= 250")
    dead = "SELECT pg_stat_get_dead_tuples('worn'::regclass) AS n"
    wait_for(lambda: server.sql(dead)[0]["n"] == 250, what="dead rows")
    few = check(server, "--mode", "vacuum")
    many = check(server, "--mode", "vacuum", "--dead-rows", "250")
    server.sql("VACUUM worn")
    wait_for(lambda: server.sql(dead)[0]["n"] == 0, what="a vacuum")
    server.sql("DELETE FROM worn WHERE x <= 500")
    wait_for(lambda: server.sql(dead)[0]["n"] == 250, what="dead rows")
    fresh = check(server, "--mode", "vacuum", "--dead-rows", "250")
    server.sql("DROP TABLE worn")
    assert (few.state, many.state, fresh.state) == (OK, WARNING, OK)
    assert many.reason == "public.worn dead 25 % is above 20 % (250 rows, never vacuumed)"


def test_sequences(server, check):
    server.sql("CREATE TABLE narrow(id int PRIMARY KEY DEFAULT 1)")
    server.sql("CREATE SEQUENCE wide OWNED BY narrow.id; SELECT setval('wide', 2000000000)")
    server.sql("CREATE SEQUENCE turns MAXVALUE 10 CYCLE; SELECT setval('turns', 10)")
    server.sql("CREATE SEQUENCE down INCREMENT -1 MINVALUE -100 MAXVALUE -1; SELECT setval('down', -80)")
    try:
        outcome = check(server, "--mode", "sequences")
        assert (outcome.state, outcome.reason) == (
            CRITICAL,
            "public.wide sequence 93.1 % is above 90 %, WARNING: public.down sequence 79.8 % is above 75 %",
        )
        assert "turns" not in outcome.text  # it begins anew by design
        with sessions(server, autocommit=False) as (one,):
            one.cursor().execute("ALTER SEQUENCE wide INCREMENT 2")
            locked = check(server, *modes("sequences", "prepared"))
        assert (locked.state, locked.reason.partition(" (")[0]) == (
            UNKNOWN,
            f"127.0.0.1:{server.port}: a lock was not granted within a second",
        )
        assert "prepared=0s" in locked.line
        server.sql("CREATE SCHEMA apart; CREATE SEQUENCE apart.secret; REVOKE ALL ON apart.secret FROM nagios")
        hidden = check(server, "--mode", "sequences", "--exclude", "public.*")
        assert (hidden.state, hidden.reason) == (
            UNKNOWN,
            "sequences: 1 of 5 are hidden from nagios: needs GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO nagios, in each"
            " schema",
        )
    finally:
        server.sql("DROP TABLE narrow; DROP SEQUENCE turns, down; DROP SCHEMA IF EXISTS apart CASCADE")


def test_more_sequences_than_a_server_has_locks_for(place, check):
    """8 connections of 64 locks, and 3000 sequences: to read all of them at once ends with "out of shared memory"."""
    with postgresql.server(place / "many", "max_connections=8", "max_wal_senders=0") as server:
        server.sql("CREATE ROLE nagios LOGIN PASSWORD 'secret' IN ROLE pg_monitor")
        for statement in grants(old=False)[-1:]:
            server.sql(statement)
        for first in range(0, 3000, 300):
            server.sql(
                f"DO $$ BEGIN FOR i IN {first}..{first + 299} LOOP EXECUTE 'CREATE SEQUENCE s' || i; END LOOP; END $$"
            )
        server.sql("SELECT setval('s2999', 8000000000000000000)")
        with pytest.raises(Exception, match="out of shared memory"):
            server.sql("SELECT sum(pg_sequence_last_value(seqrelid)) FROM pg_sequence")
        outcome = check(server, "--mode", "sequences", "-v")
        assert (outcome.state, outcome.reason) == (WARNING, "public.s2999 sequence 86.7 % is above 75 %")


def test_settings_of_the_role_change_nothing(server, check):
    for setting in ("statement_timeout = '1ms'", "search_path = nowhere", "datestyle = 'German'", "intervalstyle = 'sql_standard'",
                    "timezone = 'Asia/Kolkata'", "extra_float_digits = -5", "default_transaction_isolation = 'serializable'",
                    "client_encoding = 'LATIN1'", "bytea_output = 'escape'", "lc_messages = 'C'"):  # fmt: skip
        server.sql(f"ALTER ROLE nagios SET {setting}")
    try:
        outcome = check(server)
    finally:
        server.sql("ALTER ROLE nagios RESET ALL")
    assert outcome.state == OK, outcome.text


def test_names_beyond_ascii(server, check):
    """A cluster made in the C locale has databases of SQL_ASCII, and says nothing of how it means its bytes."""
    server.sql("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    server.sql('CREATE DATABASE "日本"')
    try:
        outcome = check(server, "--mode", "wraparound", "--database", "plain", "-v")
        server.sql("ALTER ROLE nagios SET client_encoding = 'LATIN1'")
        narrow = check(server, "--mode", "wraparound", "-v")
    finally:
        server.sql('DROP DATABASE "日本"')
        server.sql("DROP DATABASE plain")
        server.sql("ALTER ROLE nagios RESET ALL")
    for one in (outcome, narrow):
        assert (one.state, "[OK] 日本 xid 0 %" in one.text) == (OK, True), one.text


def test_settings(server, check):
    server.set("max_connections=31", "fsync=off")
    try:
        outcome = check(server, "--mode", "settings")
    finally:
        server.set("max_connections=30", "fsync=on")
    assert (outcome.state, outcome.reason) == (
        WARNING,
        "fsync is off: a crash damages the data, settings wait for a restart: max_connections",
    )


def test_a_setting_that_superusers_alone_may_see(server, check):
    server.sql("CREATE ROLE bare LOGIN PASSWORD 'secret'")
    server.set("external_pid_file=/nonexistent/pid")
    try:
        hidden = check(server, "--mode", "settings", user="bare")
        seen = check(server, "--mode", "settings")
    finally:
        server.sql("ALTER SYSTEM RESET external_pid_file")
        server.sql("DROP ROLE bare")
        server.restart()  # or it is said to wait for one for ever
    assert (hidden.state, hidden.reason) == (
        UNKNOWN,
        "some settings are hidden from bare: needs GRANT pg_monitor TO bare",
    )
    assert (seen.state, seen.reason) == (WARNING, "settings wait for a restart: external_pid_file")


def test_nothing_is_counted(server, check):
    server.set("track_counts=off")
    try:
        outcome = check(server, *modes("work", "vacuum", "login"))
        free = check(server, *modes("login", "connections", "transactions"))
    finally:
        server.set("track_counts=on")
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "vacuum: nothing is counted: track_counts is off, work: nothing is counted: track_counts is off",
    )
    assert free.state == OK


def test_pools_of_eucalyptus(server, check, folder):
    none = check(server, "--preset", "eucalyptus", "--mode", "connections", "--database", "postgres")
    assert (none.state, none.reason) == (
        UNKNOWN,
        "pool: there is no database eucalyptus_shared, database_events, eucalyptus_*",
    )
    server.sql("CREATE DATABASE eucalyptus_shared")
    server.sql("CREATE DATABASE database_events")
    try:
        with sessions(server, 7, database="database_events"):
            outcome = check(server, "--preset", "eucalyptus", "--mode", "connections")
        assert (outcome.state, outcome.reason) == (
            WARNING,
            "database_events pool 87.5 % is above 80 % (7 of 8 from the socket)",
        )
        assert re.search(r" pool=87\.5%;80;95$", outcome.line)
        local = check(server, "--preset", "eucalyptus", "--socket", server.socket, "--mode", "login", user="postgres")
        assert local.state == OK
        away = check(server, "--preset", "eucalyptus", "--mode", "login", "--socket", str(folder))
        assert (away.state, away.reason) == (
            CRITICAL,
            f"{folder}/.s.PGSQL.{server.port}: no socket there: the server does not run (log in)",
        )
    finally:
        for name in ("eucalyptus_shared", "database_events"):
            server.sql(f"DROP DATABASE {name} WITH (FORCE)")


# --- a server that refuses, or is not what was asked for -----------------------------------------------------------------------


def test_a_wrong_password(server, check):
    outcome = check(server, password="not-the-right-one")
    assert (outcome.state, "not-the-right-one" in outcome.text) == (UNKNOWN, False)
    assert outcome.line == (
        f'POSTGRES UNKNOWN - 127.0.0.1:{server.port}: password authentication failed for user "nagios" (log in): needs the'
        " account's password, and a line for it in pg_hba.conf"
    )


def test_nobody_listens(check, server):
    server.stop()
    try:
        outcome = check(server)
    finally:
        server.start()
    assert outcome.line == f"POSTGRES CRITICAL - 127.0.0.1:{server.port}: Connection refused (log in)"


def test_a_frozen_server(server, check):
    server.freeze()
    try:
        begun = time.monotonic()
        outcome = check(server, "-t", "2")
        spent = time.monotonic() - begun
    finally:
        server.thaw()
    assert spent < 2.5
    assert re.fullmatch(
        rf"POSTGRES CRITICAL - 127\.0\.0\.1:{server.port}: no answer in [\d.]+ s \(log in\)", outcome.line
    )


def test_a_database_that_is_not_there(server, check):
    outcome = check(server, "--database", "nowhere")
    assert outcome.line == f'POSTGRES UNKNOWN - 127.0.0.1:{server.port}: database "nowhere" does not exist (log in)'


def test_a_limit_of_a_mode_that_was_not_asked_for(server, check):
    outcome = check(server, "--mode", "locks", "-w", "longest=5")
    assert outcome.line == (
        "POSTGRES UNKNOWN - option -w: 'longest' is a limit of mode transactions, which was not asked for"
    )


def test_a_replica_is_asked_for_what_only_the_primary_knows(server, check, place):
    assert check(server, "--role", "replica", "--mode", "login").line.startswith(
        "POSTGRES CRITICAL - role is primary, and should be replica | login="
    )
    with server.replica(place / f"replica-{server.folder.name}", "follower") as replica:
        whole = check(replica, "--role", "replica", "-v")
        assert whole.state == OK, whole.text
        assert re.match(
            r"POSTGRES OK - PostgreSQL (15|18)\.\d+, replica, 1 of 27 connections, rates collecting \| login",
            whole.line,
        )
        for mode in ("prepared", "vacuum", "checkpoints"):
            assert f"[OK] {mode} this is a replica, and only the primary knows" in whole.text
        assert "[OK] archiver rests on a replica" in whole.text
        assert check(replica, clock=Clock(shift=300)).state == OK
        asked = check(replica, "--mode", "vacuum")
        assert (asked.state, asked.reason) == (UNKNOWN, "vacuum: this is a replica, and only the primary knows")
        wrong = check(replica, "--role", "primary", "--mode", "login")
        assert (wrong.state, wrong.reason) == (CRITICAL, "role is replica, and should be primary")
        assert "[OK] follower slot is reserved, in use" in check(server, "--mode", "wal", "-v").text
    server.sql("SELECT pg_drop_replication_slot('follower')")


# --- servers of their own --------------------------------------------------------------------------------------------------------


def test_another_server_behind_the_same_address(server, place, folder, monkeypatch):
    """A replica has the same identifier, databases and resets as its primary: only when it started tells them apart."""
    services = folder / "services"
    monkeypatch.setenv("PGSERVICEFILE", str(services))

    def look(at, shift):
        services.write_text(f"[db]\nhost=127.0.0.1\nport={at.port}\nuser=nagios\npassword=secret\n")
        services.chmod(0o600)
        words = ["--service", "db", "--state-dir", str(folder / "state"), *modes("work", "locks", "wal")]
        return CHECK.run(words, clock=Clock(shift=shift))

    with server.replica(place / f"other-{server.folder.name}") as replica:
        look(server, 0)
        assert "commits_rate=" in look(server, 300).line
        other = look(replica, 600)
        assert (other.state, "_rate=" in other.line, "commits collecting" in other.text) == (OK, False, True), (
            other.text
        )
        assert re.search(r" commits_rate=[\d.]+ .* wal_rate=\d", look(replica, 900).line)


def test_behind_a_pooler(server, place, check):
    """pgbouncer, which hands a connection on after each transaction."""
    home = place / f"pool-{server.folder.name}"
    home.mkdir()
    port = free_port()
    (home / "users").write_text('"nagios" "secret"\n')
    (home / "pgbouncer.ini").write_text(f"""[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home}/users
admin_users = nagios
pool_mode = transaction
""")
    words = ("-p", str(port))
    with Daemon(
        [need("pgbouncer")[0], home / "pgbouncer.ini"], user="postgres", log=home / "log", ready=listening(port)
    ):
        first = check(server, *words)
        second = check(server, *words, clock=Clock(shift=300))
        console = check(server, *words, "--database", "pgbouncer")
    assert (first.state, second.state) == (OK, OK), first.text + second.text
    assert (console.state, "invalid command" in console.line) == (UNKNOWN, True), console.line  # it is no database
    assert re.search(r"primary, \d of 27 connections, rates collecting \| login=", first.line)
    assert "commits_rate=" in second.line


def test_tls_is_demanded(place, check, folder, monkeypatch):
    hba = "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
    with postgresql.server(place / "tls", hba=hba) as server:
        server.sql("CREATE ROLE nagios LOGIN PASSWORD 'secret' IN ROLE pg_monitor")
        outcome = check(server, "--mode", "login")
        assert (outcome.state, "no pg_hba.conf entry" in outcome.line) == (UNKNOWN, True), outcome.line
        key, certificate = server.data / "server.key", server.data / "server.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=db.example", "-keyout", key,
             "-out", certificate, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True,
        )  # fmt: skip
        for path in (key, certificate):
            shutil.chown(path, server.user, server.user)
        key.chmod(0o600)
        server.configure("ssl=on")
        server.restart()
        assert check(server, "--mode", "login", "--ca-file", str(certificate)).state == OK
        insecure = check(server, "--mode", "login", "--insecure")
        assert insecure.state == OK, insecure.line
        # As the page says it for Eucalyptus, whose lines are hostssl.
        server.sql("CREATE DATABASE eucalyptus_shared")
        passwords = folder / ".pgpass"
        passwords.write_text(f"127.0.0.1:{server.port}:*:nagios:secret\n")
        passwords.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(passwords))
        words = ("--preset", "eucalyptus", "--insecure", *modes("login", "connections", "transactions"))
        eucalyptus = check(server, *words, password="")
        assert (eucalyptus.state, "pool=0%;80;95" in eucalyptus.line) == (OK, True), eucalyptus.text
        passwords.chmod(0o644)
        ignored = check(server, *words, password="")
        assert (ignored.state, str(passwords) in ignored.line) == (UNKNOWN, True), ignored.line
        unknown = check(server, "--mode", "login", "--tls")
        assert (unknown.state, "certificate verify failed" in unknown.line) == (UNKNOWN, True), unknown.line


def test_identifiers_near_their_end(place, check):
    """pg_resetwal (its page, "-x"): the next identifier, with the file of commit states that it lies in."""
    with postgresql.server(place / "old", "autovacuum=off") as server:
        server.sql("CREATE ROLE nagios LOGIN PASSWORD 'secret' IN ROLE pg_monitor")
        assert check(server, "--mode", "wraparound").state == OK
        server.stop()
        age = 1600 << 20
        server.run("pg_resetwal", "-f", "-x", age, "-D", server.data)
        states = server.data / "pg_xact" / f"{age >> 20:04X}"
        states.write_bytes(bytes(1 << 18))
        shutil.chown(states, server.user, server.user)
        server.configure("autovacuum_freeze_max_age=2000000000")  # or it would be mended before we look
        server.start()
        outcome = check(server, "--mode", "wraparound")
        assert outcome.state == CRITICAL
        each = r"xid 78\.1 % is above 70 % \(1677\d{6} transactions old\)"
        assert re.fullmatch(rf"postgres {each}, template0 {each}, template1 {each}", outcome.reason), outcome.reason
        assert re.search(r" \| xid=78\.1\d+%;50;70 mxid=0%;50;70 freeze=83\.8\d+%;125$", outcome.line), outcome.line


def test_damaged_pages(place, check):
    with postgresql.server(place / "sums", initdb=("--data-checksums",)) as server:
        server.sql("CREATE ROLE nagios LOGIN PASSWORD 'secret' IN ROLE pg_monitor")
        green = check(server, "--mode", "checksums")
        assert (green.state, green.perfdata) == (OK, ["checksum_failures=0;;0", "checksum_failures_sum=0"])
        server.sql("CREATE TABLE victim AS SELECT generate_series(1, 1000) AS x")
        path = server.data / server.sql("SELECT pg_relation_filepath('victim') AS n")[0]["n"]
        server.stop()
        damaged = bytearray(path.read_bytes())
        damaged[100:108] = b"\xff" * 8
        path.write_bytes(damaged)
        server.start()
        server.set("track_counts=off")
        with pytest.raises(Exception, match="invalid page"):
            server.sql("SELECT count(*) FROM victim")
        blind = check(server, "--mode", "checksums")
        assert (blind.state, blind.reason) == (UNKNOWN, "checksums: nothing is counted: track_counts is off")
        assert server.sql("SELECT sum(checksum_failures)::int AS n FROM pg_stat_database") == [{"n": 0}]
        server.set("track_counts=on")
        with pytest.raises(Exception, match="invalid page"):
            server.sql("SELECT count(*) FROM victim")
        counted = "SELECT sum(checksum_failures)::int AS n FROM pg_stat_database"
        wait_for(lambda: server.sql(counted)[0]["n"], what="the count of a damaged page")
        outcome = check(server, "--mode", "checksums")
        assert outcome.state == CRITICAL
        assert re.fullmatch(r"postgres checksum failures 1 is above 0 \(last \d+ s ago\)", outcome.reason)


def test_a_server_is_told_what_it_may_not_say_in_its_own_format(server, check):
    document = json.loads(check(server, "--format", "json", password="wrong-word").text)
    assert (document["exit"], document["name"]) == (3, "POSTGRES")


# --- versions that cannot be had ------------------------------------------------------------------------------------------------

# The views of older servers in the words of their manuals (monitoring-stats.html, catalog-pg-replication-slots.html), made of
# those of today: without what came later, with what was dropped. The statements for 9.2 to 9.6 are run against them.
OLDER = """
CREATE SCHEMA older;
CREATE VIEW older.pg_stat_activity AS SELECT datid, datname, pid, usesysid, usename, application_name, client_addr, client_port,
 backend_start, xact_start, query_start, state_change, {waiting}, state, {xmin} query FROM pg_catalog.pg_stat_activity
 WHERE backend_type IN ('client backend', 'autovacuum worker');
CREATE VIEW older.pg_replication_slots AS SELECT slot_name, plugin, slot_type, datoid, database, active, xmin, catalog_xmin,
 restart_lsn FROM pg_catalog.pg_replication_slots;
CREATE FUNCTION older.pg_current_xlog_location() RETURNS pg_lsn LANGUAGE sql AS 'SELECT pg_current_wal_lsn()';
CREATE FUNCTION older.pg_xlog_location_diff(pg_lsn, pg_lsn) RETURNS numeric LANGUAGE sql AS 'SELECT pg_wal_lsn_diff($1, $2)';
"""
WAITING, TYPE = "wait_event_type = 'Lock' AS waiting", "wait_event_type, wait_event"


@pytest.mark.parametrize(
    "version, waiting, xmin, lacks",
    [
        ((9, 2, 24), WAITING, "", {"checksums", "sequences", "wal", "horizon"}),
        ((9, 3, 25), WAITING, "", {"checksums", "sequences", "wal", "horizon"}),
        ((9, 4, 26), WAITING, "backend_xid, backend_xmin,", {"checksums", "sequences"}),
        ((9, 5, 25), WAITING, "backend_xid, backend_xmin,", {"checksums", "sequences"}),
        ((9, 6, 24), TYPE, "backend_xid, backend_xmin,", {"checksums", "sequences"}),
    ],
)
def test_the_statements_of_older_versions(place, older_server, version, waiting, xmin, lacks):
    server = older_server
    server.sql("DROP SCHEMA IF EXISTS older CASCADE")
    server.sql(OLDER.format(waiting=waiting, xmin=xmin))
    options = CHECK.parse("--socket", server.socket, "-p", str(server.port), "--user", "postgres")
    with sessions(server, 3, autocommit=False) as (head, middle, tail):
        head.cursor().execute("UPDATE things SET x = 0 WHERE id = 1")
        threads = []
        for number, one in enumerate((middle, tail), 1):
            threads.append(later("UPDATE things SET x = 1 WHERE id = 1", one.cursor()))
            waiting_for(server, number)
        run = Run()
        with sql.connect(run, sql.access(options, run, "postgres")) as db:
            db.version = version
            found = postgres.look(run, db, tuple(CHECK.modes), pools=(("post*", 100),))
        head.rollback()
        for one, thread in zip((middle, tail), threads):
            thread.join(5)
            one.rollback()
    assert not found.failures
    values = {reading.name: reading for reading in found.readings}
    assert {state.of for state in found.states} >= lacks
    assert (values["waiters"].value, values["longest"].of) == (2, "postgres@postgres")
    assert re.match(
        r"2 behind pid \d+, postgres@postgres, trouble, idle in transaction for \d+ s", values["waiters"].detail
    )
    assert values["pool"] == postgres.Reading("pool", 3.0, "postgres", "3 of 100 from the socket")
    assert ("xmin_age" in values, "wal_rate" in values) == ("horizon" not in lacks, "wal" not in lacks)
    assert ("mxid" in values) == (version >= (9, 5))


@pytest.fixture(scope="module")
def older_server(place):
    with postgresql.server(place / "older", "track_counts=on") as server:
        server.sql("CREATE TABLE things(id bigserial PRIMARY KEY, x int)")
        server.sql("INSERT INTO things(x) SELECT generate_series(1, 100)")
        server.sql("ALTER ROLE postgres SET search_path = older, pg_catalog, public")
        yield server
