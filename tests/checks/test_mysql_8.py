# SPDX-License-Identifier: Apache-2.0
"""The SQL checks asked of a simulated MySQL 8.0 to 9.4, which answers what their manuals say and MariaDB does not."""

from __future__ import annotations

import datetime
import re

import pytest

pytest.importorskip("pymysql")

from nephoscope.base import Clock
from nephoscope.checks.database.check_db_cluster import CHECK as CLUSTER
from nephoscope.checks.database.check_db_connect import CHECK as CONNECT
from nephoscope.checks.database.check_db_growth import CHECK as GROWTH
from nephoscope.checks.database.check_db_soft_deleted import CHECK as SOFT_DELETED
from nephoscope.checks.database.check_mysql import CHECK as MYSQL
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING
from nephoscope.probes import mysql

from tests.probes.one_client import certificate
from tests.simulators.mysql_answers import READ_WAITS, RIGHTS, healthy, instances, lock_wait, session, tables, trx
from tests.simulators.mysql_server import Error, MySQL, rsa_key

VERSIONS = pytest.mark.parametrize("version", ["8.0.40", "8.4.3", "9.4.0"])
NOON = datetime.datetime(2026, 11, 21, 12, 0, 0, tzinfo=datetime.timezone.utc)
NATIVE = "mysql_native_password"


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """Run a check against a server: a log-in from its cache, unless `cached=False`, as TLS is another test's matter."""
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")

    def run(check, server, *argv, shift=0.0, cached=True):
        if cached:
            server.cached.add("monitor")
        words = [
            "-H",
            "127.0.0.1",
            "-p",
            str(server.port),
            "--user",
            "monitor",
            "--state-dir",
            str(tmp_path / "state"),
            *argv,
        ]
        return check.run(words, clock=Clock(shift=shift))

    return run


def line(outcome):
    """Return the first line without perfdata, with the port of this run as PORT and the time of a log-in as TIME."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", outcome.line.partition(" |")[0])
    return re.sub(r"\b[0-9.]+ m?s\b", "TIME", text)


def perfdata(outcome):
    return dict(item.split("=", 1) for item in outcome.perfdata)


# ---------------------------------------------------------------- check_mysql


@VERSIONS
def test_a_server_that_is_well(ask, version):
    with healthy(version) as server:
        first, second = ask(MYSQL, server), ask(MYSQL, server, shift=60)
        assert [one.state for one in (first, second)] == [OK, OK], second.text
        assert line(first) == f"MYSQL OK - MySQL {version}, 20 of 151 connections, rates collecting"
        told = perfdata(second)
        assert told["deadlocks_rate"] == "0;0.2;1"
        assert told["history"] == "20;100000;1000000"
        assert told["binlog"] == "1073745920B"
        assert "denied_rate" not in told  # MySQL does not count it: no number, and no 0 either
        # Nothing was asked that only MariaDB has, no right is used that was not granted, both sessions were ended.
        assert server.unknown == []
        assert server.wait_until_left() == 2
        assert all(statement.startswith(("/* nephoscope */", "SET NAMES")) for statement in server.log)
        assert server.attributes["program_name"] == "nephoscope"
        assert not [statement for statement in server.log if "max_statement_time" in statement or "wsrep" in statement]


@VERSIONS
def test_a_blocker_is_found_though_the_lock_tables_have_gone(ask, version):
    """pmp-check-mysql-innodb asks information_schema.innodb_lock_waits, which MySQL 8 has not, and says OK."""
    with healthy(version, tables=blocked(), status={"Innodb_row_lock_current_waits": "2"}) as server:
        server.now = NOON
        outcome = ask(MYSQL, server, "--mode", "transactions", "--mode", "locks")
        assert outcome.state == WARNING
        assert line(outcome) == (
            "MYSQL WARNING - nova@192.0.2.7 idle blocker 90 s is above 60 s (connection 11, 2 wait for it)"
        ).replace("90 s", "TIME").replace("60 s", "TIME")
        assert perfdata(outcome)["idle_blocker"] == "90s;60;600"
        assert not [statement for statement in server.log if "innodb_lock_waits" in statement.lower()]
        assert "s3cr3t" not in outcome.text  # what the statements hold
        assert ask(MYSQL, server, "--mode", "transactions", "-c", "idle_blocker=80").state == CRITICAL


@VERSIONS
def test_no_run_takes_more_statements_than_the_page_says(ask, monkeypatch, version):
    """All modes while sessions wait and many run; the driver's own SET NAMES is one of them."""
    monkeypatch.setattr(mysql, "PAUSE", 0)
    with healthy(version, tables=blocked(), status={"Threads_running": "90"}) as server:
        server.now = NOON
        assert line(ask(MYSQL, server)).startswith("MYSQL CRITICAL - running 90 is above 64")
        assert server.unknown == []
        most = re.search(r"A run takes 6 to (\d+) statements", MYSQL._judge.__globals__["__doc__"])
        assert len(server.log) == int(most[1])


def blocked():
    """Return a server's tables where connection 11 sleeps in a transaction and 12 and 13 wait for it."""
    made = tables([session(11, "nova", "Sleep", 90), session(12, "nova", "Query", 30, "UPDATE t SET token='s3cr3t'"),
                   session(13, "cinder", "Query", 20, "UPDATE t SET token='s3cr3t'")])  # fmt: skip
    waiting = {"trx_state": "LOCK WAIT", "trx_wait_started": "2026-11-21 11:59:30"}
    made["information_schema.innodb_trx"].rows.extend(
        [
            trx(11, "2026-11-21 11:58:00"),
            trx(12, "2026-11-21 11:59:30", **waiting),
            trx(13, "2026-11-21 11:59:40", **waiting),
        ]
    )
    made["performance_schema.data_lock_waits"].rows.extend([lock_wait(12, 11), lock_wait(13, 11)])
    return made


def test_who_waits_and_whom_for_is_not_to_be_seen(ask):
    """Without the grant, and without performance_schema, a wait is seen and its cause is not: never OK."""
    with healthy(tables=blocked(), rights=RIGHTS - {READ_WAITS}) as server:
        server.now = NOON
        outcome = ask(MYSQL, server, "--mode", "transactions")
        assert line(outcome) == (
            "MYSQL UNKNOWN - idle_blocker: this account is not shown lock waits: needs GRANT SELECT ON performance_schema.data_lock_waits TO 'monitor'@'%';"
        )
        assert "idle_blocker" not in perfdata(outcome)
    with healthy(tables=blocked(), variables={"performance_schema": "OFF"}) as server:
        server.now = NOON
        outcome = ask(MYSQL, server, "--mode", "transactions")
        assert outcome.state == UNKNOWN
        assert line(outcome) == (
            "MYSQL UNKNOWN - idle_blocker: transactions wait, and for whom is not told: performance_schema is off (ask for lock waits)"
        )


@VERSIONS
def test_without_process(ask, version):
    """INNODB_TRX says no; PROCESSLIST would silently show our own session alone."""
    with healthy(version, tables=blocked(), rights=RIGHTS - {"PROCESS"}) as server:
        for mode, part in (
            ("transactions", "transactions"),
            ("queries", "transactions"),
            ("deadlocks", "deadlocks"),
            ("history", "history"),
        ):
            outcome = ask(MYSQL, server, "--mode", mode)
            assert (
                line(outcome)
                == f"MYSQL UNKNOWN - {mode}: this account is not shown {part}: needs GRANT PROCESS ON *.* TO 'monitor'@'%';"
            )
            assert outcome.perfdata == []


def test_without_the_rights_that_other_modes_take(ask):
    with healthy(rights=frozenset()) as server:
        assert line(ask(MYSQL, server, "--mode", "binlog")) == (
            "MYSQL UNKNOWN - binlog: this account is not shown binary logs: needs GRANT REPLICATION CLIENT ON *.* TO 'monitor'@'%';"
        )
        assert line(ask(MYSQL, server, "--mode", "autoincrement")) == (
            "MYSQL UNKNOWN - autoincrement: this account is not shown every table: needs GRANT REFERENCES ON *.* TO 'monitor'@'%';"
        )
        modes = ("login", "connections", "statements", "locks", "innodb", "temporary", "files", "role", "uptime")
        outcome = ask(MYSQL, server, *(word for mode in modes for word in ("--mode", mode)))
        assert outcome.state == OK, outcome.text


def test_deadlocks_and_history_come_from_the_metrics(ask):
    with healthy() as server:
        assert ask(MYSQL, server, "--mode", "deadlocks").state == OK
        server.tables = tables(deadlocks=120, history=2_000_000)
        outcome = ask(MYSQL, server, "--mode", "deadlocks", shift=60)
        assert outcome.state == CRITICAL
        assert line(outcome) == "MYSQL CRITICAL - deadlocks 2/s is above 1/s"
        assert line(ask(MYSQL, server, "--mode", "history")) == "MYSQL CRITICAL - history 2000000 is above 1000000"


def test_metrics_that_are_not_counted_are_no_zero(ask):
    """innodb_monitor_disable, or innodb_monitor_reset at start: the row is there, and its count stays 0."""
    with healthy(tables=tables(off=True)) as server:
        outcome = ask(MYSQL, server, "--mode", "history")
        assert outcome.state == UNKNOWN
        assert line(outcome) == (
            "MYSQL UNKNOWN - history: trx_rseg_history_len is not counted: its state is 'disabled' (ask INNODB_METRICS):"
            " SET GLOBAL innodb_monitor_enable = trx_rseg_history_len"
        )


def test_a_restart_between_two_runs(ask):
    with healthy() as server:

        def at(minutes, slow, uptime):
            server.now = NOON + datetime.timedelta(minutes=minutes)
            server.status.update(Slow_queries=str(slow), Uptime=str(uptime), Uptime_since_flush_status=str(uptime))
            return ask(MYSQL, server, "--mode", "statements", shift=minutes * 60)

        assert at(0, 5000, 90000).state == OK
        restarted = at(1, 6000, 30)  # higher than before the restart: no step back betrays it
        assert (restarted.state, "slow_rate" in perfdata(restarted)) == (OK, False), restarted.text
        assert line(at(2, 6300, 90)) == "MYSQL CRITICAL - slow 5/s is above 1/s (longer than TIME)"


def test_roles_keys_and_logs(ask):
    keys = [
        ("nova", "instances", "int", 2_000_000_001),
        ("nova", "new", "int unsigned", None),
        ("glance", "images", "bigint unsigned", 5),
    ]
    with healthy(tables=tables(keys=keys), variables={"super_read_only": "ON", "read_only": "ON"}) as server:
        assert line(ask(MYSQL, server, "--mode", "role", "--role", "primary")) == (
            "MYSQL CRITICAL - role is read-only (read_only, super_read_only), and should be a primary"
        )
        assert line(ask(MYSQL, server, "--mode", "autoincrement")) == (
            "MYSQL CRITICAL - nova.instances autoincrement 93.1 % is above 90 % (int, the next is 2000000001 of 2147483647)"
        )
        # Else the answer is up to a day old ("Optimizing INFORMATION_SCHEMA Queries").
        assert "/* nephoscope */ SET SESSION information_schema_stats_expiry = 0" in server.log
        nowhere = line(ask(MYSQL, server, "--mode", "autoincrement", "--schema", "keystone"))
        assert nowhere == "MYSQL UNKNOWN - autoincrement: there is no table in a schema keystone"
    with healthy("8.4.3", variables={"binlog_expire_logs_seconds": "0"}) as server:
        assert line(ask(MYSQL, server, "--mode", "binlog")) == (
            "MYSQL WARNING - binlog nothing removes binary logs: they are kept for ever"
        )


# ---------------------------------------------------------------- check_db_cluster

REPLICAS = pytest.mark.parametrize("version", ["8.0.20", "8.0.40", "8.4.3"])
RUNS = "replication from source.example:3306"


def cluster(ask, server, *argv):
    return ask(CLUSTER, server, "--type", "mysql", *argv)


@REPLICAS
def test_a_replica_that_follows(ask, version):
    with healthy(version, channels=[{"Seconds_Behind_Source": 3}]) as server:
        outcome = cluster(ask, server)
        assert (outcome.state, perfdata(outcome)) == (OK, {"lag": "3s;60;300"})
        assert line(outcome) == "DB_CLUSTER OK - a replica of source.example:3306"
        old = version == "8.0.20"
        assert server.log[-1] == f"/* nephoscope */ SHOW {'SLAVE' if old else 'REPLICA'} STATUS"
        assert server.unknown == []
        assert server.wait_until_left() == 1


@REPLICAS
@pytest.mark.parametrize(
    ("channel", "state", "words"),
    [
        ({"Seconds_Behind_Source": 400}, CRITICAL, "lag TIME is above TIME"),
        ({"Seconds_Behind_Source": 90, "SQL_Delay": 80}, OK, "a replica of source.example:3306"),
        # NULL is no 0: while both threads run it is told, too ("Seconds_Behind_Source" of the manual)
        ({"Seconds_Behind_Source": None}, CRITICAL, f"{RUNS} does not know its lag (NULL)"),
        ({"Replica_SQL_Running": "No", "Last_SQL_Errno": 1062, "Last_SQL_Error": "Duplicate entry 's3cr3t' for key", "Seconds_Behind_Source": None},
         CRITICAL, f"{RUNS} is stopped: its SQL thread does not run (error 1062, duplicate key)"),
        ({"Replica_IO_Running": "Connecting", "Last_IO_Errno": 2003, "Seconds_Behind_Source": None},
         CRITICAL, f"{RUNS} is not connected: its IO thread is Connecting (error 2003, can't connect)"),
        ({"Replica_IO_Running": "Perhaps"}, UNKNOWN, f"{RUNS} has an IO thread in a state that is not understood: Perhaps"),
    ],
)  # fmt: skip
def test_a_replica_in_trouble(ask, version, channel, state, words):
    with healthy(version, channels=[channel]) as server:
        outcome = cluster(ask, server)
        said = line(outcome)
        assert (outcome.state, re.sub(r"[0-9.]+ (min|s)\b", "TIME", said.partition(" - ")[2])) == (state, words)
        assert "s3cr3t" not in outcome.text


def test_one_channel_of_several(ask):
    """Group replication's own channels are none from a primary."""
    channels = [{"Channel_Name": "east"}, {"Channel_Name": "west", "Replica_IO_Running": "No", "Seconds_Behind_Source": None},
                {"Channel_Name": "group_replication_applier", "Replica_IO_Running": "", "Seconds_Behind_Source": None}]  # fmt: skip
    with healthy("8.4.3", channels=channels) as server:
        outcome = cluster(ask, server)
        assert line(outcome) == f"DB_CLUSTER CRITICAL - west {RUNS} is stopped: its IO thread does not run"
        assert perfdata(outcome) == {"east_lag": "0s;60;300"}


@REPLICAS
def test_replication_is_not_to_be_seen(ask, version):
    """Without the grant it is an error, which must not pass for a server that is no replica."""
    with healthy(version, channels=[{}], rights=frozenset()) as server:
        word = "SLAVE" if version == "8.0.20" else "REPLICA"
        assert line(cluster(ask, server)) == (
            "DB_CLUSTER UNKNOWN - Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT privilege(s) for this"
            f" operation (error 1227) (SHOW {word} STATUS): needs GRANT REPLICATION CLIENT ON *.* TO the account"
        )


def test_no_replica_and_no_galera(ask):
    with healthy() as server:
        assert cluster(ask, server).state == UNKNOWN
        assert line(cluster(ask, server, "--mode", "replica")) == (
            "DB_CLUSTER CRITICAL - is no replica: it has no connection to a primary"
        )
        outcome = cluster(ask, server, "--mode", "galera")
        assert line(outcome) == "DB_CLUSTER CRITICAL - is no Galera node: wsrep is off"


# ---------------------------------------------------------------- check_db_connect: MySQL 8's ways to log in


@pytest.fixture
def reach(ask):
    def run(server, *argv):
        return ask(CONNECT, server, "--type", "mysql", *argv, cached=False)

    return run


def failure(outcome, server):
    """Return what the first line says of the only server."""
    return line(outcome).partition(" - ")[2].removeprefix("127.0.0.1:PORT: ")


@pytest.fixture
def secured(tmp_path):
    cert, _ = certificate(tmp_path)
    return cert, str(tmp_path / "key.pem")


def test_caching_sha2_password_over_tls(reach, secured):
    with healthy(certificate=secured) as server:
        for _ in range(2):
            outcome = reach(server, "--tls", "--ca-file", secured[0])
            assert (outcome.state, perfdata(outcome)["unencrypted"]) == (OK, "0"), outcome.text
        assert server.ways == ["full over TLS", "fast"]
        strict = failure(reach(server, "--tls"), server).replace(
            "self signed", "self-signed"
        )  # OpenSSL 1.1 has no hyphen
        assert strict == "certificate: self-signed certificate (log in): needs its authority as --ca-file"
        assert server.clear == []


def test_caching_sha2_password_without_tls(reach, monkeypatch):
    """The first log-in of an account goes by RSA, which PyMySQL leaves to another module; later ones are in the server's cache."""
    import pymysql._auth

    with healthy() as server:
        monkeypatch.setattr(pymysql._auth, "_have_cryptography", False)
        outcome = reach(server)
        assert (outcome.state, failure(outcome, server)) == (
            UNKNOWN, "this way to authenticate needs TLS, or the Python module cryptography (log in without TLS): needs --tls",
        )  # fmt: skip
        server.cached.add("monitor")
        outcome = reach(server)
        assert (outcome.state, server.ways, perfdata(outcome)["unencrypted"]) == (OK, ["fast"], "1")
        assert server.clear == []


def test_caching_sha2_password_by_rsa(reach, monkeypatch):
    """As with the module cryptography, in whose place the test seals what PyMySQL wants sealed."""
    import pymysql._auth

    def seal(password, salt, public_key):
        assert public_key == rsa_key().pem()
        return rsa_key().seal(pymysql._auth._xor_password(password + b"\0", salt))

    monkeypatch.setattr(pymysql._auth, "sha2_rsa_encrypt", seal)
    with healthy() as server:
        assert [reach(server).state for _ in range(2)] == [OK, OK]
        assert (server.ways, server.clear) == (["full by RSA", "fast"], [])


def test_a_password_is_not_given_to_whoever_asks(reach, secured):
    """mysql_clear_password: PyMySQL alone would hand it out over an open line."""
    with healthy(plugin="mysql_clear_password") as server:
        outcome = reach(server)
        assert (outcome.state, failure(outcome, server)) == (
            UNKNOWN, "the server asks for the password itself, and the connection is not encrypted (log in without TLS): needs --tls",
        )  # fmt: skip
        assert server.clear == []
    with healthy(plugin="mysql_clear_password", certificate=secured) as server:
        assert reach(server, "--ca-file", secured[0]).state == OK  # as LDAP and PAM want it, encrypted on the way


@pytest.mark.parametrize(
    ("server", "state", "words"),
    [
        (lambda: healthy("8.4.3", plugin=NATIVE), UNKNOWN,
         "Plugin 'mysql_native_password' is not loaded (error 1524) (log in): needs an account whose way to authenticate the server has"),
        (lambda: MySQL(fault=Error(1040, "08004", "Too many connections")), CRITICAL, "too many connections (error 1040) (log in)"),
        (lambda: MySQL(fault=Error(1129, "HY000", "Host '192.0.2.7' is blocked because of many connection errors")), CRITICAL,
         "this host is blocked after many connection errors (error 1129) (log in)"),
        (lambda: MySQL(fault=Error(1130, "HY000", "Host '192.0.2.7' is not allowed to connect to this MySQL server")), UNKNOWN,
         "the server has no account for this host (error 1130) (log in): needs an account for this host"),
        (lambda: MySQL(fault=Error(1053, "08S01", "Server shutdown in progress")), CRITICAL, "the server is shutting down (error 1053) (log in)"),
        (lambda: MySQL(fault="http"), UNKNOWN, "no MySQL server: it speaks HTTP (log in)"),
        (lambda: MySQL(fault="half"), CRITICAL, "the connection was cut before the answer was whole (log in)"),
        (lambda: MySQL(fault="cut"), CRITICAL, "the connection was cut before the answer was whole (log in)"),
        (lambda: MySQL(fault="hang"), CRITICAL, "no answer in TIME (log in)"),
        (lambda: MySQL(fault="drip"), CRITICAL, "no answer in TIME (log in)"),
    ],
)  # fmt: skip
def test_log_ins_that_fail(reach, server, state, words):
    with server() as running:
        outcome = reach(running, "-t", "2")
        assert (outcome.state, failure(outcome, running)) == (state, words)
        assert "secret" not in outcome.text


def test_a_server_that_demands_tls_and_one_that_has_none(reach, secured):
    with healthy(certificate=secured, secure_only=True) as server:
        assert failure(reach(server), server) == "the server demands TLS (error 3159) (log in): needs --tls"
    with healthy() as server:
        assert failure(reach(server, "--ca-file", secured[0]), server) == "the server does not offer TLS (log in)"
        assert server.clear == []


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ("hang", CRITICAL, "no answer in TIME (SELECT 1)"),
        ("drip", CRITICAL, "no answer in TIME (SELECT 1)"),
        ("half", CRITICAL, "the connection was cut before the answer was whole (SELECT 1)"),
        ("flood", UNKNOWN, "more than 64 MiB (SELECT 1)"),
    ],
)
def test_a_server_that_fails_after_the_log_in(reach, fault, state, words):
    answers = {"select 1, version() as version, @@version_comment as comment": fault}
    with healthy(plugin=NATIVE, answers=answers) as server:
        outcome = reach(server, "-t", "2.5" if fault != "flood" else "8")
        assert (outcome.state, failure(outcome, server)) == (state, words)


# ---------------------------------------------------------------- the checks of schemas

READER = RIGHTS | {"SELECT"}


def with_instances(dead=50):
    """Return a server's tables with a hundred instances, of which so many are marked deleted."""
    return instances(
        tables(), [(n, n if n <= dead else 0, "2026-01-01 00:00:00" if n <= dead else None) for n in range(1, 101)]
    )


def schemas(ask, check, server, *argv):
    server.now = NOON
    return ask(check, server, "--type", "mysql", *argv)


@VERSIONS
def test_rows_that_are_marked_deleted(ask, version):
    with healthy(version, tables=with_instances(), rights=READER) as server:
        for words in ((), ("--exact",)):
            outcome = schemas(ask, SOFT_DELETED, server, "--schema", "nova", *words)
            assert line(outcome) == "DB_SOFT_DELETED WARNING - nova.instances oldest 324 d is above 97 d"
            assert (
                "[OK] 50 rows are marked deleted (counted), 50 of them for more than 90 d, in 1 tables of nova"
                in outcome.text
            )
        assert server.unknown == []
    with healthy(version, tables=with_instances(), rights=frozenset()) as server:
        outcome = schemas(ask, SOFT_DELETED, server, "--schema", "nova")
        assert outcome.state == UNKNOWN
        assert "needs GRANT REFERENCES ON nova.* TO 'monitor'@'%'" in outcome.line


@VERSIONS
def test_sizes_are_of_the_files_that_mysql_8_calls_by_another_name(ask, version):
    """INNODB_TABLESPACES, where MariaDB and MySQL 5.7 have INNODB_SYS_TABLESPACES."""
    with healthy(version, tables=with_instances(), rights=READER) as server:
        outcome = schemas(ask, GROWTH, server)
        assert (outcome.state, perfdata(outcome)["nova_size"]) == (OK, "114688B;;;0"), outcome.text
        assert server.unknown == []
    with healthy(version, tables=with_instances(), rights=READER - {"PROCESS"}) as server:
        outcome = schemas(ask, GROWTH, server, "--mode", "growth")
        assert line(outcome) == (
            "DB_GROWTH UNKNOWN - a right is missing (read the sizes of InnoDB's files): needs GRANT PROCESS ON *.* TO 'monitor'@'%'"
        )
