# SPDX-License-Identifier: Apache-2.0
"""check_mysql against a real MariaDB with the rights that its page names and no more; each trouble is made, and found."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

import pytest
from nephoscope.base import Clock
from nephoscope.checks.database.check_mysql import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab.galera import cluster
from tests.lab.mariadb import server
from tests.lab.support import free_port, private_folder, wait_for

pytestmark = pytest.mark.lab

GREEN = ("-w", "uptime=0:")  # of a server that was started for the test
RIGHTS = ("PROCESS", "REFERENCES", "BINLOG MONITOR")
GRANT = "needs GRANT {} ON *.* TO 'nagios'@'127.0.0.%';"


def documented() -> dict[str, str]:
    """Return right -> the statement of the check's own page that grants it."""
    statements = re.findall(r"`((?:GRANT|CREATE USER) [^`]+;)`", CHECK._judge.__globals__["__doc__"])
    here = [" ".join(one.split()).replace("192.0.2.%", "127.0.0.%").replace("'...'", "'secret'") for one in statements]
    return {re.match(r"CREATE USER|GRANT (.*?) ON", one)[1] or "": one for one in here}


@pytest.fixture(scope="module")
def db():
    """A server whose sessions keep another time zone than its system, with a second way in."""
    extra = free_port()
    with private_folder() as folder:
        options = (
            "--log-bin=b",
            "--server-id=1",
            "--expire-logs-days=10",
            "--max-connections=20",
            "--long-query-time=0.05",
        )
        with server(
            folder / "db", *options, f"--extra-port={extra}", "--extra-max-connections=3", "--default-time-zone=-07:00"
        ) as database:
            database.extra = extra
            database.sql("CREATE DATABASE nova")
            database.sql("CREATE TABLE nova.t (id INT AUTO_INCREMENT PRIMARY KEY, x INT) ENGINE=InnoDB")
            database.sql("INSERT INTO nova.t VALUES (1, 1), (2, 2), (3, 3)")
            statements = documented()
            for right in ("", *RIGHTS):
                database.sql(statements[right])
            database.sql("CREATE USER 'bare'@'127.0.0.%' IDENTIFIED BY 'secret'")
            database.sql("CREATE USER 'nova'@'127.0.0.%' IDENTIFIED BY 'nova'")
            database.sql("GRANT ALL ON nova.* TO 'nova'@'127.0.0.%'")
            yield database


@pytest.fixture
def check(db, folder):
    """Run the check as the documented account; `shift` seconds later, and as another `user`."""

    def run(*argv, user="nagios", shift=0, port=0):
        options = folder / f"{user}.cnf"
        options.write_text(f"[client]\nuser={user}\npassword=secret\nhost=127.0.0.1\nport={port or db.port}\n")
        options.chmod(0o600)
        words = ["--defaults-file", str(options), "--state-dir", str(folder / "state"), *argv]
        return CHECK.run(words, clock=Clock(shift=shift))

    return run


def line(outcome):
    """The first line without perfdata."""
    return outcome.line.partition(" |")[0]


def value(outcome, name):
    """The number that a label has in perfdata; None without."""
    found = re.search(rf"(?:^| ){name}=([0-9.]+)", " ".join(outcome.perfdata))
    return float(found[1]) if found else None


@contextlib.contextmanager
def session(db, user="nova", password=None, **more):
    """A connection of a service, over TCP, that is closed again whatever it waits for."""
    password = user if password is None else password
    link = db.connection(user, password, database="nova", host="127.0.0.1", port=db.port, **more)
    try:
        yield link
    finally:
        with contextlib.suppress(Exception):
            link.close()


def as_root(folder, database):
    """Arguments for a server that has no other account, through its socket."""
    options = folder / "root.cnf"
    options.write_text(f"[client]\nuser=root\nsocket={database.socket}\n")
    options.chmod(0o600)
    return [*GREEN, "--defaults-file", str(options), "--state-dir", str(folder / "state")]


def say(link, statement):
    with link.cursor() as cursor:
        cursor.execute(statement)


@contextlib.contextmanager
def doing(link, statement):
    """Let a connection work on a statement in the background; whatever comes of it is of no interest."""

    def work():
        with contextlib.suppress(Exception):
            say(link, statement)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(20)


def test_green_with_the_documented_rights_and_no_more(db, check):
    grants = str(db.sql("SHOW GRANTS FOR 'nagios'@'127.0.0.%'"))
    (held,) = re.findall(r"GRANT (.*?) ON", grants)
    assert sorted(held.split(", ")) == sorted(RIGHTS)
    before = db.sql("SELECT @@global.read_only r, (SELECT COUNT(*) FROM nova.t) n")
    first = check(*GREEN)
    assert (first.state, line(first)) == (OK, f"MYSQL OK - {described(db)}, rates collecting"), first.text
    second = check(*GREEN, shift=60)
    assert (second.state, line(second)) == (OK, f"MYSQL OK - {described(db)}"), second.text
    labels = [item.partition("=")[0] for item in second.perfdata]
    asked = {threshold.name for threshold in CHECK.thresholds}
    assert asked - set(labels) <= {"hit"}  # of a server with next to no page requests
    assert value(second, "binlog") > 300
    assert value(second, "autoincrement") == 0
    assert db.sql("SELECT @@global.read_only r, (SELECT COUNT(*) FROM nova.t) n") == before


def described(db):
    version = ".".join(db.sql("SELECT version() v")[0]["v"].partition("-")[0].split("."))
    return f"MariaDB {version}, 1 of 20 connections"


def test_one_connection_and_as_many_statements_as_the_page_says(db, check):
    """By the server's own counters: the fewest, all modes of a calm server, and all that MariaDB can be asked."""
    least, most = promised()
    with contextlib.ExitStack() as stack:
        counting = stack.enter_context(session(db, "root", password=""))

        def counted():
            with counting.cursor() as cursor:
                names = "'Questions', 'Connections', 'Threads_connected'"
                cursor.execute(f"SHOW GLOBAL STATUS WHERE variable_name IN ({names})")
                return {row["Variable_name"]: int(row["Value"]) for row in cursor.fetchall()}

        def cost(*argv):
            before, looks = counted(), []
            state = check(*GREEN, *argv).state
            while not looks or looks[-1]["Threads_connected"] > before["Threads_connected"]:
                looks.append(counted())
            # The counting is a question itself, and so is a farewell.
            questions = looks[-1]["Questions"] - before["Questions"] - len(looks) - 1
            return state, looks[-1]["Connections"] - before["Connections"], questions

        assert cost("--mode", "uptime") == (OK, 1, least)
        assert cost() == (OK, 1, 12)
        idle, waiting, *busy = [stack.enter_context(session(db, autocommit=False)) for _ in range(7)]
        say(idle, "UPDATE t SET x = 7 WHERE id = 1")
        stack.enter_context(doing(waiting, "UPDATE t SET x = 8 WHERE id = 1"))
        for link in busy:
            stack.enter_context(doing(link, "SELECT SLEEP(4)"))
        wait_for(lambda: int(db.status("Threads_running")) > 6, 10, "sessions at work")
        assert cost() == (OK, 1, 15)  # MySQL's INNODB_METRICS and a setting for its dictionary make the rest
        idle.rollback()
    assert most == 15 + 2


def promised():
    """Return the fewest and the most statements, as the page has them."""
    return map(int, re.search(r"A run takes (\d+) to (\d+) statements", CHECK._judge.__globals__["__doc__"]).groups())


def test_without_any_right_what_needs_none_works(check):
    modes = (
        "login",
        "connections",
        "statements",
        "locks",
        "deadlocks",
        "history",
        "innodb",
        "temporary",
        "files",
        "role",
    )
    argv = [word for mode in (*modes, "uptime") for word in ("--mode", mode)]
    assert [check(*GREEN, *argv, user="bare", shift=shift).state for shift in (0, 60)] == [OK, OK]
    everything = check(*GREEN, user="bare")
    assert (everything.state, line(everything)) == (
        UNKNOWN,
        "MYSQL UNKNOWN - transactions and queries, autoincrement, binlog: this account is not shown transactions, every table, "
        "binary logs: needs GRANT PROCESS, REFERENCES, BINLOG MONITOR ON *.* TO 'bare'@'127.0.0.%';",
    )
    assert value(everything, "connections") == 5.0
    assert value(everything, "longest") is None


@pytest.mark.parametrize(
    ("right", "mode", "hidden"),
    [
        ("PROCESS", "transactions", "transactions"),
        ("PROCESS", "queries", "transactions"),
        ("REFERENCES", "autoincrement", "every table"),
        ("BINLOG MONITOR", "binlog", "binary logs"),
    ],
)
def test_a_revoked_grant_is_unknown_and_named(db, check, right, mode, hidden):
    assert check("--mode", mode).state == OK
    db.sql(f"REVOKE {right} ON *.* FROM 'nagios'@'127.0.0.%'")
    try:
        refused = check("--mode", mode)
        assert (refused.state, line(refused)) == (
            UNKNOWN,
            f"MYSQL UNKNOWN - {mode}: this account is not shown {hidden}: {GRANT.format(right)}",
        )
        assert check(*GREEN, "--mode", "uptime").state == OK
    finally:
        db.sql(documented()[right])


@pytest.mark.parametrize("right", ["SHOW VIEW", "REFERENCES"])
def test_a_right_on_one_schema_says_nothing_of_the_others(db, check, right):
    """SHOW VIEW shows no column, either."""
    db.sql("REVOKE REFERENCES ON *.* FROM 'nagios'@'127.0.0.%'")
    db.sql(f"GRANT {right} ON nova.* TO 'nagios'@'127.0.0.%'")
    db.sql("CREATE DATABASE heat")
    db.sql("CREATE TABLE heat.tiny (id TINYINT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 127")
    try:
        assert line(check("--mode", "autoincrement")) == (
            f"MYSQL UNKNOWN - autoincrement: this account is not shown every table: {GRANT.format('REFERENCES')}"
        )
        named = check("--mode", "autoincrement", "--schema", "nova")
        assert named.state == (OK if right == "REFERENCES" else UNKNOWN), named.text
    finally:
        db.sql("DROP DATABASE heat")
        db.sql(f"REVOKE {right} ON nova.* FROM 'nagios'@'127.0.0.%'")
        db.sql(documented()["REFERENCES"])


def test_the_right_may_be_a_roles(db, check):
    for statement in (
        "CREATE USER 'roled'@'127.0.0.%' IDENTIFIED BY 'secret'",
        "CREATE ROLE monitoring",
        "GRANT REFERENCES ON *.* TO monitoring",
        "GRANT monitoring TO 'roled'@'127.0.0.%'",
        "SET DEFAULT ROLE monitoring FOR 'roled'@'127.0.0.%'",
    ):
        db.sql(statement)
    assert check("--mode", "autoincrement", user="roled").state == OK


def test_a_table_that_cannot_be_opened_is_not_skipped(db, check):
    db.sql("CREATE TABLE nova.damaged (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=MyISAM")
    db.sql("FLUSH TABLES")
    index = db.data / "nova" / "damaged.MYI"
    whole = index.read_bytes()
    index.write_bytes(b"damaged")
    try:
        found = check("--mode", "autoincrement", "-v")
        assert (found.state, line(found)) == (
            UNKNOWN,
            "MYSQL UNKNOWN - autoincrement: can't open nova.damaged: Incorrect file format 'damaged'",
        )
        assert "[OK] nova.t autoincrement 0 %" in found.text
    finally:
        index.write_bytes(whole)
        db.sql("DROP TABLE nova.damaged")


def test_an_idle_session_holds_a_row_that_another_waits_for(db, check):
    with session(db, autocommit=False) as idle, session(db, autocommit=False) as waiting:
        say(idle, "UPDATE t SET x = 7 /* TOKEN-1 */ WHERE id = 1")
        number = idle.thread_id()
        with doing(waiting, "UPDATE t SET x = 8 /* TOKEN-2 */ WHERE id = 1"):
            wait_for(lambda: db.status("Innodb_row_lock_current_waits") == "1", 10, "a wait for a row")
            time.sleep(1.2)
            found = check("--mode", "transactions", "-w", "idle_blocker=0", "-vv")
            locks = check("--mode", "locks", "-w", "0")
            everything = check(*GREEN, "-w", "lock_waits=0", "-vv", "--format", "json")
            idle.rollback()
    assert found.state == WARNING
    assert re.fullmatch(
        rf"MYSQL WARNING - nova@127\.0\.0\.1 idle blocker [1-9] s is above 0 s \(connection {number}, 1 wait for it\)",
        line(found),
    )
    assert value(found, "idle_blocker") >= 1
    assert line(locks) == "MYSQL WARNING - lock waits 1 is above 0"
    assert "TOKEN" not in found.text + everything.text


def test_deadlocks(db, check):
    assert check("--mode", "deadlocks").state == OK
    for _ in range(15):
        with session(db, autocommit=False) as one, session(db, autocommit=False) as two:
            say(one, "UPDATE t SET x = x + 1 WHERE id = 1")
            say(two, "UPDATE t SET x = x + 1 WHERE id = 2")
            waits = db.status("Innodb_row_lock_waits")
            with doing(one, "UPDATE t SET x = x + 1 WHERE id = 2"):
                wait_for(lambda before=waits: db.status("Innodb_row_lock_waits") != before, 10, "the first wait")
                with contextlib.suppress(Exception):
                    say(two, "UPDATE t SET x = x + 1 WHERE id = 1")
                two.rollback()
            one.rollback()
    found = check("--mode", "deadlocks", shift=60)
    assert (found.state, re.sub(r"0\.2[0-9]+", "0.2x", line(found))) == (
        WARNING,
        "MYSQL WARNING - deadlocks 0.2x/s is above 0.2/s",
    )


def test_a_long_transaction_an_idle_one_and_a_long_query(db, check):
    with session(db, autocommit=False) as idle, session(db, autocommit=False) as busy:
        say(idle, "UPDATE t SET x = 7 WHERE id = 1")
        say(busy, "UPDATE t SET x = 7 WHERE id = 2")
        with doing(busy, "SELECT SLEEP(4), 'TOKEN'"):
            time.sleep(1.3)
            limits = ("-w", "longest=0", "-w", "idle_transaction=0", "-c", "query=0")
            found = check("--mode", "transactions", "--mode", "queries", *limits, "-vv")
            spared = check("--mode", "transactions", "--mode", "queries", *limits, "--exclude", "nova@*")
            plain = check("--mode", "transactions", "--mode", "queries")
        idle.rollback()
    assert (found.state, plain.state, spared.state) == (CRITICAL, OK, OK), spared.text
    # Seconds, not the seven hours that lie between the session's time zone and the system's.
    assert 1 <= value(plain, "longest") < 60
    assert re.fullmatch(
        rf"MYSQL CRITICAL - nova@127\.0\.0\.1 query [1-9] s is above 0 s \(connection {busy.thread_id()}\), "
        rf"WARNING: nova@127\.0\.0\.1 idle transaction [1-9] s is above 0 s \(connection {idle.thread_id()}\), "
        rf"nova@127\.0\.0\.1 longest [1-9] s is above 0 s \(connection \d+(, idle)?\)",
        line(found),
    )
    assert "TOKEN" not in found.text
    assert "left out by --include/--exclude: 1 (nova@127.0.0.1)" in spared.text


def test_a_prepared_transaction_that_nobody_ends(db, check):
    with session(db) as link:
        for statement in ("XA START 'lab'", "UPDATE t SET x = 7 WHERE id = 3", "XA END 'lab'", "XA PREPARE 'lab'"):
            say(link, statement)
    try:
        wait_for(lambda: db.status("Threads_connected") == "1", 10, "the end of the session")
        time.sleep(1.1)
        found = check("--mode", "transactions", "-w", "idle_transaction=0", "-w", "longest=~:")
        assert found.state == WARNING
        assert re.fullmatch(
            r"MYSQL WARNING - prepared XA transaction idle transaction [1-9] s is above 0 s", line(found)
        )
    finally:
        db.sql("XA ROLLBACK 'lab'")


def test_full_and_the_second_way_in(db, check):
    first = check("--mode", "connections")
    assert (first.state, value(first, "connections")) == (OK, 5.0)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(session(db))
        full = check("--mode", "connections")
        assert (full.state, line(full)) == (
            CRITICAL,
            f"MYSQL CRITICAL - 127.0.0.1:{db.port}: too many connections (error 1040) (log in)",
        ), full.text
        assert check("--mode", "connections", "--unreachable-state", "WARNING").state == WARNING
        inside = check("--mode", "connections", port=db.extra)
        assert (inside.state, line(inside)) == (
            CRITICAL,
            "MYSQL CRITICAL - connections 100 % is above 90 % (20 of 20), WARNING: connections peak 105 % is above 100 %",
        )
    after = check("--mode", "connections", shift=60)
    # MariaDB counts nobody as refused who got as far as the place that it keeps for an administrator: only its peak tells.
    assert (after.state, line(after)) == (WARNING, "MYSQL WARNING - connections peak 105 % is above 100 %")
    assert value(after, "refused_rate") == 0
    with contextlib.ExitStack() as stack:
        for user in (*["nova"] * 20, "root"):
            stack.enter_context(session(db, user, password="" if user == "root" else None))
        for _ in range(3):
            with pytest.raises(Exception, match="Too many connections"), session(db):
                pass
    refused = check("--mode", "connections", "-w", "connections_peak=~:", shift=120)
    assert refused.state == WARNING, refused.text
    assert re.fullmatch(r"MYSQL WARNING - refused 0\.02[0-9]*/s is above 0/s", line(refused))
    db.sql("FLUSH STATUS")
    assert check("--mode", "connections", shift=180).state == OK


def test_the_history_grows_while_a_snapshot_is_open(db, check):
    with session(db, autocommit=False) as snapshot, session(db) as writer:
        say(snapshot, "SELECT * FROM t")
        for n in range(300):
            say(writer, f"UPDATE t SET x = {n} WHERE id = 1")
        found = check("--mode", "history", "-w", "200")
        assert found.state == WARNING, found.text
        assert 200 < value(found, "history") < 2000
        assert re.fullmatch(r"MYSQL WARNING - history \d+ is above 200", line(found))


def test_slow_statements(db, check):
    assert check("--mode", "statements").state == OK
    with session(db) as link:
        for _ in range(8):
            say(link, "SELECT SLEEP(0.06)")
    found = check("--mode", "statements", shift=60)
    assert found.state == WARNING
    assert re.fullmatch(r"MYSQL WARNING - slow 0\.1[0-9]*/s is above 0\.1/s \(longer than 0\.05 s\)", line(found))


def test_wrong_passwords_and_probes_of_a_balancer_are_told_apart(db, check):
    assert check("--mode", "login").state == OK
    before = int(db.status("Aborted_connects_preauth"))
    for _ in range(150):
        with socket.create_connection(("127.0.0.1", db.port)) as probe:
            assert probe.recv(1)  # one by one, or some find it full
    wait_for(lambda: int(db.status("Aborted_connects_preauth")) - before == 150, 10, "the count of the probes")
    probes = check("--mode", "login", shift=60)
    assert (probes.state, value(probes, "aborted_connects_rate"), value(probes, "denied_rate")) == (OK, 0, 0), (
        probes.text
    )
    for _ in range(72):
        with contextlib.suppress(Exception), session(db, user="nobody"):
            pass
    denied = check("--mode", "login", "-w", "denied_rate=0.4", shift=120)
    assert denied.state == WARNING, denied.text
    assert re.fullmatch(r"MYSQL WARNING - denied 0\.[56][0-9]*/s is above 0\.4/s", line(denied))
    assert value(denied, "aborted_connects_rate") == pytest.approx(0, abs=0.05)


def test_refused_statements_do_not_make_a_rate_negative(db, check):
    """Access_denied_errors counts them, too, and Aborted_connects does not."""
    assert check("--mode", "login").state == OK
    with session(db) as link:
        for _ in range(30):
            with contextlib.suppress(Exception):
                say(link, "SELECT * FROM mysql.user")
    found = check("--mode", "login", shift=60)
    assert value(found, "denied_rate") == pytest.approx(0.5, rel=0.2)
    assert value(found, "aborted_connects_rate") == 0


def test_a_restart_and_a_reset_between_two_runs(db, check):
    time.sleep(max(0.0, 3 - float(db.status("Uptime_since_flush_status"))))  # two resets in two seconds are one
    argv = ("--mode", "statements", "--mode", "login", "--mode", "uptime")
    check(*GREEN, *argv)
    assert value(check(*GREEN, *argv, shift=60), "slow_rate") == 0
    db.sql("FLUSH STATUS")
    flushed = check(*GREEN, *argv, shift=120)
    assert (flushed.state, value(flushed, "slow_rate"), value(flushed, "denied_rate")) == (OK, None, None)
    assert value(check(*GREEN, *argv, shift=180), "slow_rate") is not None
    time.sleep(2.1)
    db.restart()
    began = check(*argv, shift=240)
    assert (began.state, re.sub(r"uptime \d", "uptime N", line(began))) == (
        WARNING,
        "MYSQL WARNING - uptime N s is below 10 min",
    )
    assert value(began, "slow_rate") is None
    assert value(check(*GREEN, *argv, shift=300), "slow_rate") == 0


def test_the_address_leads_to_another_server(folder):
    """Two that were started together, as nodes of a cluster are: the second one's counters are not the first one's."""
    with contextlib.ExitStack() as stack:
        pair = [
            stack.enter_context(server(folder / name, f"--server-id={n}")) for n, name in enumerate(("one", "two"), 1)
        ]
        again = [threading.Thread(target=one.restart) for one in pair]
        for thread in again:
            thread.start()
        for thread in again:
            thread.join()
        assert abs(int(pair[0].status("Uptime")) - int(pair[1].status("Uptime"))) <= 2
        with pair[1].connection() as link:
            for statement in ("SET SESSION long_query_time = 0", *["SELECT 1"] * 500):
                say(link, statement)
        address = folder / "address.sock"
        options = folder / "address.cnf"
        options.write_text(f"[client]\nuser=root\nsocket={address}\n")
        options.chmod(0o600)
        argv = [*GREEN, "--defaults-file", str(options), "--state-dir", str(folder / "state"), "-v"]
        found = []
        for shift, leads in ((0, pair[0]), (60, pair[0]), (120, pair[1]), (180, pair[1])):
            address.unlink(missing_ok=True)
            address.symlink_to(leads.socket)
            found.append(CHECK.run(argv, clock=Clock(shift=shift)))
    assert [one.state for one in found] == [OK] * 4, found[2].text
    assert [value(one, "slow_rate") for one in found] == [None, 0, None, 0]
    assert "[OK] server is another than at the last run" in found[2].text
    assert "is another" not in found[1].text + found[3].text


def test_read_only_is_flipped(db, check):
    assert check("--mode", "role").state == OK
    db.sql("SET GLOBAL read_only = ON")
    try:
        flipped = check("--mode", "role", shift=60)
        assert (flipped.state, line(flipped)) == (
            WARNING,
            "MYSQL WARNING - role is read-only (read_only), and took writes until 0 min ago",
        )
        assert line(check("--mode", "role", shift=1260)).endswith("took writes until 20 min ago")
        assert check("--mode", "role", shift=4000).state == OK
        primary = check("--mode", "role", "--role", "primary")
        assert (primary.state, line(primary)) == (
            CRITICAL,
            "MYSQL CRITICAL - role is read-only (read_only), and should be a primary",
        )
        assert check("--mode", "role", "--role", "replica").state == OK
    finally:
        db.sql("SET GLOBAL read_only = OFF")
    assert (
        line(check("--mode", "role", "--role", "replica"))
        == "MYSQL CRITICAL - role takes writes, and should be a replica"
    )


def test_a_key_that_is_near_its_end(db, check):
    db.sql("CREATE TABLE nova.tiny (id TINYINT UNSIGNED AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB")
    try:
        for counter, state, words in (
            (201, WARNING, "WARNING - nova.tiny autoincrement 78.4 % is above 75 % (tinyint(3) unsigned, the next is 201 of 255)"),
            (241, CRITICAL, "CRITICAL - nova.tiny autoincrement 94.1 % is above 90 % (tinyint(3) unsigned, the next is 241 of 255)"),
        ):  # fmt: skip
            db.sql(f"ALTER TABLE nova.tiny AUTO_INCREMENT = {counter}")
            found = check("--mode", "autoincrement")
            assert (found.state, line(found)) == (state, f"MYSQL {words}")
        db.sql("INSERT INTO nova.tiny VALUES (255)")
        assert value(check("--mode", "autoincrement"), "autoincrement") > 99
        assert check("--mode", "autoincrement", "--schema", "nova", "--exclude", "nova.tiny").state == OK
        assert line(check("--mode", "autoincrement", "--schema", "heat")) == (
            "MYSQL UNKNOWN - autoincrement: there is no table in a schema heat"
        )
    finally:
        db.sql("DROP TABLE nova.tiny")


def test_a_limit_for_a_mode_that_is_not_asked_for(check):
    for limit, mode in (("hit=90:", "login"), ("binlog=1", "role"), ("nosuch=1", "locks")):
        refused = check("--mode", mode, "-w", limit)
        assert refused.state == UNKNOWN
        assert limit.partition("=")[0] in line(refused)
        assert "127.0.0.1" not in refused.text  # nobody was asked


def test_a_server_that_stands_still(db, check):
    db.freeze()
    try:
        begun = time.monotonic()
        hung = check("-t", "3")
        assert time.monotonic() - begun < 3.5
    finally:
        db.thaw()
    assert (hung.state, re.sub(r"\d+(\.\d+)? s", "N s", line(hung))) == (
        CRITICAL,
        f"MYSQL CRITICAL - 127.0.0.1:{db.port}: no answer in N s (log in)",
    )
    assert check(*GREEN).state == OK


def test_performance_schema_without_a_binary_log(folder, db):
    """What is measured is the same, and what is not there is said: by name it is UNKNOWN."""
    with server(folder / "other", "--performance-schema=ON") as other:
        argv = as_root(folder, other)
        assert other.sql("SELECT @@performance_schema p") == [{"p": 1}]
        with other.connection(autocommit=False) as one, other.connection(autocommit=False) as two:
            say(one, "CREATE DATABASE nova")
            say(one, "CREATE TABLE nova.t (id INT PRIMARY KEY, x INT) ENGINE=InnoDB")
            say(one, "INSERT INTO nova.t VALUES (1, 1)")
            with doing(two, "INSERT INTO nova.t VALUES (1, 2)"):
                wait_for(lambda: other.status("Innodb_row_lock_current_waits") == "1", 10, "a wait for a row")
                found = CHECK.run([*argv, "-v"])
                one.rollback()
        assert found.state == OK, found.text
        assert value(found, "lock_waits") == 1
        assert "[OK] root@localhost idle blocker 0 s" in found.text
        assert "[OK] binlog the binary log is off" in found.text
        asked = CHECK.run([*argv[2:], "--mode", "binlog"])
        assert (asked.state, line(asked)) == (UNKNOWN, "MYSQL UNKNOWN - binlog: the binary log is off")


def test_a_node_that_is_cut_off_from_its_cluster(folder):
    """It logs us in, counts and answers; only tables are refused."""
    with cluster(folder, 2) as (first, second):
        argv = as_root(folder, first)
        assert CHECK.run(argv).state == OK
        first.sql("SET GLOBAL wsrep_reject_queries = ALL")
        rejecting = CHECK.run([*argv, "--mode", "uptime"])
        first.sql("SET GLOBAL wsrep_reject_queries = NONE")
        assert (rejecting.state, line(rejecting)) == (
            CRITICAL,
            "MYSQL CRITICAL - server serves nobody: wsrep_reject_queries is ALL",
        )
        second.freeze()
        first.wait("cluster_status", "non-Primary")
        cut = CHECK.run([*argv, "--mode", "uptime"])
        assert (cut.state, line(cut)) == (
            CRITICAL,
            "MYSQL CRITICAL - server serves nobody: wsrep_cluster_status is non-Primary, wsrep_ready is OFF",
        )
        assert CHECK.run(argv).state == CRITICAL
