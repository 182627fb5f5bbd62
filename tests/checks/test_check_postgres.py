# SPDX-License-Identifier: Apache-2.0
"""The judge of check_postgres by equality, and the check's first lines: on recorded answers, and on what is no server."""

from __future__ import annotations

import contextlib
import re
import socket
import threading

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, Failed
from nephoscope.checks.database.check_postgres import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import sql
from nephoscope.probes.postgres import Reading, Server, Standing

from tests.probes.test_postgres import Answers, Still

LEAD = Finding(OK, "", "PostgreSQL 15.18, primary")


def found(server, *argv):
    return list(judge(server, CHECK.parse(*argv)))


def test_green():
    readings = (Reading("login", 0.01), Reading("connections", 3.7, "", "1 of 27"), Reading("hit", COLLECTING))
    server = Server("PostgreSQL 15.18", False, "1 of 27", readings, (Standing("archiver", "ok", "is off"),))
    assert found(server) == [
        Finding(OK, "", "PostgreSQL 15.18, primary, 1 of 27 connections"),
        Finding(OK, "archiver", "is off"),
        Metric("login", 0.01),
        Metric("connections", 3.7, detail="1 of 27"),
        Metric("hit", COLLECTING),
    ]


def test_failures_are_handed_on():
    failed = Failed(NOT_ALLOWED, "", "", "the sessions of other roles are hidden from bare", "GRANT pg_monitor TO bare")
    assert found(Server("PostgreSQL 15.18", failures=(failed,))) == [failed, LEAD]


@pytest.mark.parametrize("kind, state", [("ok", OK), ("degraded", WARNING), ("failed", CRITICAL), ("unknown", UNKNOWN)])
def test_states(kind, state):
    server = Server("PostgreSQL 15.18", states=(Standing("s1", kind, "is so"),))
    assert found(server) == [LEAD, Finding(state, "s1", "is so")]


def test_the_role_that_is_wanted():
    server = Server("PostgreSQL 15.18", True)
    assert found(server, "--role", "primary") == [
        Finding(OK, "", "PostgreSQL 15.18, replica"),
        Finding(CRITICAL, "role", "is replica, and should be primary"),
    ]
    assert found(server, "--role", "replica") == [Finding(OK, "", "PostgreSQL 15.18, replica")]


@pytest.fixture
def answered(monkeypatch, tmp_path):
    """Run the check on recorded answers."""

    def run(db, *argv, clock=None):
        @contextlib.contextmanager
        def connect(_run, _access):
            yield db

        monkeypatch.setattr(sql, "connect", connect)
        return CHECK.run(["-H", "192.0.2.1", "--state-dir", str(tmp_path / "state"), *argv], clock=clock)

    return run


def test_the_first_line_of_a_server_in_trouble(answered):
    outcome = answered(Answers("16"))
    assert outcome.state == CRITICAL
    assert re.match(
        r"POSTGRES CRITICAL - archiver fails at 000000010000000000000008, last \d s ago, and has archived nothing since,"
        r" public\.wide sequence 93\.1 % is above 90 %, WARNING: uptime 2\.\d+ s is below 10 min",
        outcome.line,
    ), outcome.line


def test_tables_that_nobody_vacuums(answered):
    db = Answers()
    outcome = answered(db, "--mode", "vacuum", "--dead-rows", "500", "--vacuumed", "2d")
    assert outcome.line == (
        "POSTGRES WARNING - public.things dead 33.3 % is above 20 % (10000 rows, never vacuumed) | dead=33.333333%;20;40"
    )
    assert "WHERE dead >= 500 AND coalesce(vacuumed < now() - interval '1 second' * 172800, true)" in db.asked[1]


def test_a_limit_for_each_cause(answered):
    """Every threshold of a number that is measured at once is held: a limit of its own makes it CRITICAL."""
    for threshold in CHECK.thresholds:
        if threshold.late or threshold.mode is None:
            continue
        db = Answers("16")
        db.second["checksums"] = [{"name": "nova", "failures": 2, "seconds": 5}]
        pool = ("--pool", "postgres=10") if threshold.name == "pool" else ()
        outcome = answered(db, "--mode", threshold.mode, *pool, "-c", f"{threshold.name}=~:-1")
        assert outcome.state == CRITICAL, (threshold.name, outcome.text)
        assert f"{threshold.name.replace('_', ' ')} " in outcome.reason, outcome.reason


def test_a_role_without_the_right(answered):
    outcome = answered(Answers("15 bare"), "--mode", "transactions", "--mode", "locks", "-w", "longest=5")
    assert outcome.line == (
        "POSTGRES UNKNOWN - the sessions of other roles are hidden from bare: needs GRANT pg_monitor TO bare"
    )


def test_only_a_part_is_here(answered):
    db = Answers()
    db.set("data_checksums", "off")
    asked = answered(db, "--mode", "checksums")
    assert asked.line == "POSTGRES UNKNOWN - checksums: off: nothing notices a damaged page"
    db = Answers()
    db.set("data_checksums", "off")
    assert "[OK] checksums off: nothing notices a damaged page" in answered(db, "-v").text


def test_rates_appear_on_the_second_run(answered):
    first = answered(Answers(), "--mode", "locks", clock=Still())
    assert (first.state, [item.partition("=")[0] for item in first.perfdata]) == (OK, ["waiters", "waited"])
    db = Answers()
    db.second["databases"][1]["deadlocks"] += 30
    second = answered(db, "--mode", "locks", clock=Still(300))
    assert (second.state, second.reason) == (WARNING, "deadlocks 0.1/s is above 0/s")
    assert second.perfdata == [*first.perfdata, "deadlocks_rate=0.1;0;0.1667", "conflicts_rate=0"]


def test_filters_name_databases_users_and_slots(answered):
    words = ("--mode", "wraparound", "--mode", "transactions", "-c", "longest=1")
    assert answered(Answers(), *words).state == CRITICAL
    outcome = answered(Answers(), *words, "--exclude", "postgres@*")
    assert (outcome.state, "left out by --include/--exclude: 1 (postgres@postgres)" in outcome.text) == (OK, True)


def test_a_limit_of_another_mode_is_refused():
    assert CHECK.run(["--mode", "wal", "-w", "xid=5"]).line == (
        "POSTGRES UNKNOWN - option -w: 'xid' is a limit of mode wraparound, which was not asked for"
    )


def test_a_bare_limit_needs_one_mode():
    assert CHECK.run(["-w", "5"]).line.startswith(
        "POSTGRES UNKNOWN - option -w: a bare range could mean any of login, connections"
    )
    assert CHECK.parse("--mode", "locks", "-w", "3").warning == ("3",)


def test_the_preset_of_eucalyptus():
    options = CHECK.parse("--preset", "eucalyptus")
    assert (options.port, options.socket, options.database) == (
        8777,
        "/var/lib/eucalyptus/db/data",
        "eucalyptus_shared",
    )
    assert dict(options.pool) == {"eucalyptus_shared": 1024, "database_events": 8, "eucalyptus_*": 512}
    assert CHECK.parse("--preset", "eucalyptus", "--pool", "eucalyptus_cloud=100").pool == (("eucalyptus_cloud", 100),)


def test_what_was_said_outranks_the_socket_of_eucalyptus(tmp_path, monkeypatch):
    (tmp_path / "services").write_text("[clc]\nhost=127.0.0.1\nuser=nagios\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    words = ("--preset", "eucalyptus", "-p", "1", "--state-dir", str(tmp_path))
    for where in (("-H", "127.0.0.1"), ("--service", "clc")):
        assert CHECK.run([*words, *where]).line == "POSTGRES CRITICAL - 127.0.0.1:1: Connection refused (log in)"


def test_no_socket_of_eucalyptus_here(tmp_path):
    outcome = CHECK.run(["--preset", "eucalyptus", "--state-dir", str(tmp_path)])
    assert outcome.line == (
        "POSTGRES CRITICAL - /var/lib/eucalyptus/db/data/.s.PGSQL.8777: no socket there: the server does not run (log in)"
    )


def test_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        outcome = CHECK.run(["-H", "127.0.0.1", "-p", str(port), "--state-dir", str(tmp_path)])
    assert outcome.line == f"POSTGRES CRITICAL - 127.0.0.1:{port}: Connection refused (log in)"


@pytest.fixture
def speaker():
    """Start something that is no PostgreSQL: it takes connections, says these words to each, and listens no more."""
    with contextlib.ExitStack() as stack:

        def start(words):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            taken = []

            def serve():
                with contextlib.suppress(OSError):
                    while True:
                        one = server.accept()[0]
                        taken.append(stack.enter_context(one))
                        if words:
                            one.sendall(words)

            threading.Thread(target=serve, daemon=True).start()
            return server.getsockname()[1]

        yield start


def test_silent(speaker, tmp_path):
    port = speaker(b"")
    outcome = CHECK.run(["-H", "127.0.0.1", "-p", str(port), "--state-dir", str(tmp_path), "-t", "1.5"])
    assert re.fullmatch(rf"POSTGRES CRITICAL - 127\.0\.0\.1:{port}: no answer in [\d.]+ s \(log in\)", outcome.line)


def test_no_database_at_all(speaker, tmp_path):
    port = speaker(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    outcome = CHECK.run(["-H", "127.0.0.1", "-p", str(port), "--state-dir", str(tmp_path), "-t", "3"])
    assert outcome.line == f"POSTGRES UNKNOWN - 127.0.0.1:{port}: no PostgreSQL server: it speaks HTTP (log in)"


def test_what_is_absent_has_a_state_of_its_own(answered):
    words = ("--mode", "connections", "--pool", "eucalyptus_*=5")
    assert answered(Answers(), *words).line.startswith("POSTGRES UNKNOWN - pool: there is no database eucalyptus_* | ")
    assert answered(Answers(), *words, "--absent-state", "ok").state == OK
