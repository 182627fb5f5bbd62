# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import socket
import time

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, Clock, Failed, Run
from nephoscope.checks.database.check_mysql import CHECK, WORDS, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import mysql

from tests.probes.mysql_server import STATUS, VARIABLES, Database, table

SUMMARY = Finding(OK, "", "MariaDB 10.11.19, 30 of 100 connections")
CONNECTIONS = mysql.Measure("connections", 30.0, "", "30 of 100")


def server(*measures, **facts):
    return mysql.Server("MariaDB 10.11.19", [CONNECTIONS, *measures], **facts)


def found(facts, *argv):
    return list(judge(facts, CHECK.parse(*argv)))


def test_the_judge_yields_what_was_seen_as_it_is():
    missing = Failed(NOT_ALLOWED, "queries", "", "this account is not shown transactions", "GRANT PROCESS …")
    facts = server(
        mysql.Measure("slow_rate", COLLECTING, "", "longer than 10 s"),
        mysql.Measure("idle_blocker", 90.0, "nova@192.0.2.7", "connection 71, 2 wait for it"),
        mysql.Measure("hit", None),
        role=mysql.Role(True),
        notes=(("binlog", "the binary log is off"),),
        failures=(missing,),
    )
    assert found(facts) == [
        missing,
        Metric("connections", 30.0, detail="30 of 100"),
        Metric("slow_rate", COLLECTING, detail="longer than 10 s"),
        Metric("idle_blocker", 90.0, "nova@192.0.2.7", detail="connection 71, 2 wait for it"),
        Metric("hit", None),
        Finding(OK, "role", "takes writes"),
        SUMMARY,
        Finding(OK, "binlog", "the binary log is off"),
    ]


@pytest.mark.parametrize(
    ("facts", "argv", "finding"),
    [
        (
            {"cut_off": "wsrep_ready is OFF"},
            (),
            Finding(CRITICAL, "server", "serves nobody: wsrep_ready is OFF"),
        ),
        (
            {"kept_for_ever": True},
            (),
            Finding(WARNING, "binlog", "nothing removes binary logs: they are kept for ever"),
        ),
        ({"role": mysql.Role(True)}, (), Finding(OK, "role", "takes writes")),
        (
            {"role": mysql.Role(False, "read_only")},
            ("--role", "primary"),
            Finding(CRITICAL, "role", "is read-only (read_only), and should be a primary"),
        ),
        (
            {"role": mysql.Role(True)},
            ("--role", "replica"),
            Finding(CRITICAL, "role", "takes writes, and should be a replica"),
        ),
        (
            {"role": mysql.Role(False, "read_only", 600.0)},
            (),
            Finding(WARNING, "role", "is read-only (read_only), and took writes until 10 min ago"),
        ),
        (
            {"role": mysql.Role(False, "read_only", 600.0)},
            ("--period", "5m"),
            Finding(OK, "role", "is read-only (read_only)"),
        ),
    ],
)
def test_states_that_no_range_decides(facts, argv, finding):
    assert found(server(**facts), *argv) == [Metric("connections", 30.0, detail="30 of 100"), finding, SUMMARY]


def test_every_kind_of_standing_has_a_state():
    kinds = {kind for kind, _, _ in server(cut_off="x", kept_for_ever=True).standings("", 1)}
    for role in (mysql.Role(True), mysql.Role(False, "read_only", 0.0)):
        kinds |= {kind for expected in ("", "primary") for kind, _, _ in server(role=role).standings(expected, 1)}
    assert kinds == set(WORDS)


def test_every_measure_is_a_threshold_and_the_other_way_round():
    names = {threshold.name for threshold in CHECK.thresholds}
    database = Database(TABLES=[table("nova.x", None)[0]])
    seen = {one.name for one in mysql.look(Run(), database, tuple(CHECK.modes), given=True).measures}
    assert seen == names


# First lines, over the wire of a simulated server that tells what MariaDB 10.11.19 told


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """Run the check; `status` and `variables` differ from those of a server that is well, `shift` seconds later."""
    pytest.importorskip("pymysql")
    from tests.simulators.mysql_server import Account, MySQL, Rows

    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")
    accounts = {"nagios": Account("secret", "mysql_native_password")}
    now = int(time.time())
    here = "select unix_timestamp() as now, current_user() as account, connection_id() as id"
    with MySQL("5.5.5-10.11.19-MariaDB-0+deb12u1", accounts, plugin="mysql_native_password") as simulated:

        def run(*argv, status=(), variables=(), shift=0, lacks=(), fault=""):
            told = {**STATUS, "Uptime": 86400 + shift, "Uptime_since_flush_status": 86400 + shift, **dict(status)}
            simulated.status = {name: str(word) for name, word in told.items() if name not in lacks}
            simulated.variables = {**VARIABLES, "version_comment": "Debian 12", **dict(variables)}
            simulated.answers = {here: Rows(("now", "account", "id"), [(now + shift, "nagios@%", 8)])}
            simulated.fault = fault
            where = ["-H", "127.0.0.1", "-p", str(simulated.port), "--state-dir", str(tmp_path / "state")]
            outcome = CHECK.run([*where, "--user", "nagios", *argv], clock=Clock(shift=shift))
            return outcome, re.sub(r"127\.0\.0\.1:\d+", "HOST", outcome.line.partition(" |")[0])

        yield run


PLAIN = ("connections", "statements", "locks", "deadlocks", "history", "innodb", "temporary", "files", "role", "uptime")


def modes(*names):
    return [word for name in names for word in ("--mode", name)]


def test_green(ask):
    outcome, line = ask(*modes(*PLAIN))
    assert (outcome.state, line) == (OK, "MYSQL OK - MariaDB 10.11.19, 30 of 100 connections, rates collecting")


@pytest.mark.parametrize(
    ("mode", "status", "variables", "state", "said"),
    [
        ("connections", {"Threads_connected": "85"}, {}, WARNING, "connections 85 % is above 80 % (85 of 100)"),
        ("connections", {"Threads_connected": "95"}, {}, CRITICAL, "connections 95 % is above 90 % (95 of 100)"),
        ("connections", {"Max_used_connections": "101"}, {}, WARNING, "connections peak 101 % is above 100 %"),
        ("statements", {"Threads_running": "40"}, {}, WARNING, "running 40 is above 32"),
        ("statements", {"Threads_running": "70"}, {}, CRITICAL, "running 70 is above 64"),
        ("locks", {"Innodb_row_lock_current_waits": "6"}, {}, WARNING, "lock waits 6 is above 5"),
        ("locks", {"Innodb_row_lock_current_waits": "21"}, {}, CRITICAL, "lock waits 21 is above 20"),
        ("history", {"Innodb_history_list_length": "100001"}, {}, WARNING, "history 100001 is above 100000"),
        ("history", {"Innodb_history_list_length": "1000001"}, {}, CRITICAL, "history 1000001 is above 1000000"),
        ("innodb", {"Innodb_data_pending_reads": "60"}, {}, WARNING, "pending io 61 is above 50"),
        ("innodb", {"Innodb_data_pending_reads": "200"}, {}, CRITICAL, "pending io 201 is above 200"),
        ("files", {"Open_files": "1900"}, {}, WARNING, "open files 82.6 % is above 80 %"),
        ("files", {"Open_files": "2200"}, {}, CRITICAL, "open files 95.7 % is above 95 %"),
        ("uptime", {"Uptime": "300"}, {}, WARNING, "uptime 5 min is below 10 min"),
        (
            "uptime",
            {"wsrep_cluster_status": "non-Primary", "wsrep_ready": "OFF"},
            {"wsrep_on": "ON"},
            CRITICAL,
            "server serves nobody: wsrep_cluster_status is non-Primary, wsrep_ready is OFF",
        ),
        ("role", {}, {"read_only": "PERHAPS"}, UNKNOWN, "role: read_only is 'PERHAPS', which is not understood (SHOW GLOBAL VARIABLES)"),
        ("binlog", {}, {"log_bin": "OFF"}, UNKNOWN, "binlog: the binary log is off"),
        ("locks", {"Innodb_row_lock_current_waits": "many"}, {}, UNKNOWN, "lock waits was not measured"),
    ],
)  # fmt: skip
def test_each_limit_and_each_finding(ask, monkeypatch, mode, status, variables, state, said):
    monkeypatch.setattr(mysql, "PAUSE", 0)
    outcome, line = ask("--mode", mode, status=status, variables=variables)
    assert (outcome.state, line) == (state, f"MYSQL {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[state]} - {said}")


@pytest.mark.parametrize(
    ("mode", "rises", "state", "said"),
    [
        ("connections", {"Connection_errors_max_connections": 6}, WARNING, "refused 0.1/s is above 0/s"),
        ("connections", {"Connection_errors_max_connections": 120}, CRITICAL, "refused 2/s is above 1/s"),
        ("login", {"Aborted_connects": 120}, WARNING, "aborted connects 2/s is above 1/s"),
        ("login", {"Aborted_connects": 600, "Access_denied_errors": 60}, CRITICAL, "aborted connects 9/s is above 5/s"),
        ("login", {"Access_denied_errors": 120}, WARNING, "denied 2/s is above 1/s"),
        ("login", {"Access_denied_errors": 1200}, CRITICAL, "denied 20/s is above 10/s"),
        ("login", {"Aborted_connects": 6000, "Aborted_connects_preauth": 6000}, OK, ""),
        ("statements", {"Slow_queries": 30}, WARNING, "slow 0.5/s is above 0.1/s (longer than 10 s)"),
        ("statements", {"Slow_queries": 120}, CRITICAL, "slow 2/s is above 1/s (longer than 10 s)"),
        ("deadlocks", {"Innodb_deadlocks": 30}, WARNING, "deadlocks 0.5/s is above 0.2/s"),
        ("deadlocks", {"Innodb_deadlocks": 120}, CRITICAL, "deadlocks 2/s is above 1/s"),
        ("locks", {"Innodb_row_lock_waits": 2, "Innodb_row_lock_time": 6000}, WARNING, "lock wait mean 3 s is above 2 s"),
        ("locks", {"Innodb_row_lock_waits": 2, "Innodb_row_lock_time": 30000}, CRITICAL, "lock wait mean 15 s is above 10 s"),
        ("innodb", {"Innodb_buffer_pool_read_requests": 2000, "Innodb_buffer_pool_reads": 40}, WARNING, "hit 98 % is below 99 %"),
        ("innodb", {"Innodb_buffer_pool_read_requests": 2000, "Innodb_buffer_pool_reads": 200}, CRITICAL, "hit 90 % is below 95 %"),
        ("innodb", {"Innodb_buffer_pool_wait_free": 120}, WARNING, "wait free 2/s is above 1/s"),
        ("innodb", {"Innodb_buffer_pool_wait_free": 1200}, CRITICAL, "wait free 20/s is above 10/s"),
        ("innodb", {"Innodb_log_waits": 120}, WARNING, "log waits 2/s is above 1/s"),
        ("innodb", {"Innodb_log_waits": 1200}, CRITICAL, "log waits 20/s is above 10/s"),
        ("files", {"Table_open_cache_overflows": 1200}, WARNING, "table cache 20/s is above 10/s"),
    ],
)  # fmt: skip
def test_each_limit_of_a_rate(ask, mode, rises, state, said):
    ask("--mode", mode)
    outcome, line = ask(
        "--mode", mode, status={name: int(STATUS[name]) + rise for name, rise in rises.items()}, shift=60
    )
    assert outcome.state == state, outcome.text
    # The two runs are a little more than a minute apart.
    rounded = re.sub(r"(\d+\.\d+|\d+)(?=/s is)", lambda found: f"{float(found[0]):.1f}".replace(".0", ""), line)
    assert not said or rounded == f"MYSQL {('OK', 'WARNING', 'CRITICAL')[state]} - {said}"


def test_a_role_that_flips_between_two_runs(ask):
    assert ask("--mode", "role")[0].state == OK
    outcome, line = ask("--mode", "role", variables={"read_only": "ON"}, shift=60)
    assert (outcome.state, line) == (
        WARNING,
        "MYSQL WARNING - role is read-only (read_only), and took writes until 0 min ago",
    )


@pytest.mark.parametrize(
    ("fault", "state", "said"),
    [
        ("http", UNKNOWN, "HOST: no MySQL server: it speaks HTTP (log in)"),
        (
            *("garbage", UNKNOWN),
            r"HOST: no MySQL server: it begins with b'\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4\xf3\xf2\xf1\xf0' (log in)",
        ),
        ("hang", CRITICAL, "HOST: no answer in N s (log in)"),
        ("drip", CRITICAL, "HOST: no answer in N s (log in)"),
        ("half", CRITICAL, "HOST: the connection was cut before the answer was whole (log in)"),
    ],
)
def test_what_is_no_server_or_none_any_more(ask, fault, state, said):
    begun = time.monotonic()
    outcome, line = ask("-t", "2", fault=fault)
    assert time.monotonic() - begun < 2.5
    word = "CRITICAL" if state == CRITICAL else "UNKNOWN"
    assert (outcome.state, re.sub(r"[0-9.]+ m?s\b", "N s", line)) == (state, f"MYSQL {word} - {said}")


def test_nobody_listens_and_a_wrong_password(ask, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")
    argv = ["-H", "127.0.0.1", "-p", str(port), "--user", "nagios", "--state-dir", str(tmp_path)]
    refused = CHECK.run(argv)
    assert (refused.state, refused.line) == (
        CRITICAL,
        f"MYSQL CRITICAL - 127.0.0.1:{port}: Connection refused (connect)",
    )
    outcome, line = ask("--user", "stranger", "--mode", "uptime")
    assert outcome.state == UNKNOWN
    assert line == (
        "MYSQL UNKNOWN - HOST: log-in refused for user 'stranger' (error 1045) (log in): needs the account's password, "
        "and an account for this host; or --tls, if the account demands it"
    )
    assert "secret" not in outcome.text


def test_a_proxy_that_answers_with_less_than_a_server(ask):
    outcome, line = ask("--mode", "uptime", lacks=("Threads_running",))
    assert (outcome.state, line) == (
        UNKNOWN,
        "MYSQL UNKNOWN - HOST: it has no threads_running: is this a MySQL server? (SHOW GLOBAL STATUS)",
    )


def test_limits_for_what_is_not_asked_for_are_refused():
    for mode, limit in (("login", "hit=90:"), ("role", "binlog=1"), ("queries", "longest=1")):
        outcome = CHECK.run(["--mode", mode, "-w", limit])
        assert outcome.state == UNKNOWN
        assert limit.partition("=")[0] in outcome.line
