# SPDX-License-Identifier: Apache-2.0
"""The judges of check_db_soft_deleted, check_db_growth and check_db_invariants by equality, and what they say without an answer."""

from __future__ import annotations

import re
import socket
import threading

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, Failed
from nephoscope.checks.database import check_db_growth, check_db_invariants, check_db_soft_deleted
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Finding, Metric
from nephoscope.probes import db_growth, invariants, soft_deleted
from nephoscope.probes.invariant_rules import RULES, SCHEMAS
from nephoscope.probes.soft_deleted import Shadow

CHECKS = (check_db_soft_deleted.CHECK, check_db_growth.CHECK, check_db_invariants.CHECK)
DAY = 86400.0
DENIED = Failed(NOT_ALLOWED, "nova.instances", "read its marks", "a right is missing", "GRANT SELECT …")


# ---- check_db_soft_deleted --------------------------------------------------------------------------------------------------


def marked(*tables, argv=(), **more):
    survey = soft_deleted.Survey(tables, looked=("nova",), **more)
    return list(check_db_soft_deleted.judge(survey, check_db_soft_deleted.CHECK.parse(*argv)))


def table(name="nova.instances", rows=20_000, deleted=15_000, expired=9000, oldest=100 * DAY, exact=False):
    return soft_deleted.Table(name, rows, deleted, expired, oldest, exact)


def test_a_large_table():
    assert marked(table()) == [
        Metric("deleted", 15_000, "nova.instances", 0, detail="reckoned"),
        Metric("share", 75.0, "nova.instances", 0, 100),
        Metric("oldest", 100 * DAY, "nova.instances", 0),
        Metric("shadow", 0.0, "", 0, 100),
        Metric("expired", 9000),
        Finding(
            OK, "", "15000 rows are marked deleted (reckoned), 9000 of them for more than 90 d, in 1 tables of nova"
        ),
    ]


def test_the_share_of_a_small_table_is_not_judged():
    assert marked(table(rows=9999, exact=True, oldest=None), shadows=[Shadow("nova", 9999, 90.0)]) == [
        Metric("deleted", 15_000, "nova.instances", 0),
        Metric("share", 0.0, "", 0, 100),
        Metric("oldest", 0.0, "", 0),
        Metric("shadow", 0.0, "", 0, 100),
        Metric("expired", 9000),
        Finding(
            OK, "", "15000 rows are marked deleted (counted), 9000 of them for more than 90 d, in 1 tables of nova"
        ),
    ]


def test_shadow_tables():
    found = marked(table(), shadows=[Shadow("nova", 10_000, 60.0)])
    assert Metric("shadow", 60.0, "nova", 0, 100, "nova-manage db purge") in found


def test_what_was_not_seen_is_handed_on():
    assert marked(DENIED) == [DENIED]
    assert marked(failures=[DENIED]) == [DENIED]
    assert marked(DENIED, table())[0] == DENIED


# ---- check_db_growth --------------------------------------------------------------------------------------------------------


def sized(argv=(), **more):
    words = {
        "schemas": [db_growth.Growth("nova", 5000, 2.0)],
        "tables": [db_growth.Table("nova.big", 3 << 30, 1 << 30)],
        "growing": [],
        "analysed": {},
        "total": db_growth.Growth("", 5000, 2.0),
        "room": None,
        "days": None,
    }
    return list(check_db_growth.judge(db_growth.Survey(**{**words, **more}), check_db_growth.CHECK.parse(*argv)))


def test_sizes():
    assert sized(analysed={"nova.big": 60.0, "nova.new": None}) == [
        Metric("size", 5000, "nova", 0),
        Metric("growth_rate", 2.0, "nova"),
        Metric("pace", COLLECTING, "nova", 0, detail="usual: 64 MiB a day, nova grows most: 169 KiB a day"),
        Metric("table", 3 << 30, "", 0),
        Metric("fragmented", 100 / 3, "nova.big", 0, 100),
        Metric("analysed", 60.0, "nova.big", 0),
        Finding(OK, "nova.new", "analysed: not known"),
        Finding(OK, "", "4.88 KiB in 1 schemas, the largest table is nova.big, nova grows most: 169 KiB a day; "
                        "neither --size nor --path says when it is full"),
    ]  # fmt: skip


def test_days_that_are_left():
    big = db_growth.Growth("nova.big", 3 << 30, 1.5)
    found = sized(room=1 << 20, days=6.0, growing=[big])
    said = "1 MiB left, nova.big grows most: 127 KiB a day"
    assert Metric("days_left", 6.0, "", 0, detail=said) in found
    fast = sized(schemas=[db_growth.Growth("nova", 5, 9.0, 4.5, 100 << 20)], growing=[big])
    said = "usual: 100 MiB a day, nova.big grows most: 127 KiB a day"
    assert Metric("pace", 4.5, "nova", 0, detail=said) in fast
    assert "neither" not in found[-1].text
    assert Metric("days_left", 0.0, "", 0, detail="0 B left") in sized(room=-5, days=0.0, schemas=[], growing=[])
    assert Metric("days_left", COLLECTING, "", 0, detail="5 B left") in sized(room=5, days=COLLECTING, schemas=[])


def test_small_tables_and_what_could_not_be_seen():
    small = sized(tables=[], analysed=DENIED)
    assert small[3:6] == [Metric("table", 0, "", 0), Metric("fragmented", 0.0, "", 0, 100), DENIED]
    # Of nothing at all no number is made up.
    assert sized(tables=[], failures=[DENIED], schemas=[]) == [DENIED]


# ---- check_db_invariants ----------------------------------------------------------------------------------------------------


def ruled(*found, **more):
    return list(check_db_invariants.judge(invariants.Survey(found, **more), check_db_invariants.CHECK.parse()))


def test_rules_that_hold():
    rule = RULES[0]
    assert ruled(invariants.Found(rule, 0, (), 7), skipped={"heat": ["a", "b"]}) == [
        Metric("rows", 0, rule.name, 0, detail=f"{rule.says}: "),
        Metric("broken", 0),
        Finding(OK, "", "1 rules over 7 rows, 0 broken (no schema of heat: 2 not asked)"),
    ]


def test_a_rule_that_is_broken_and_one_that_has_not_seen_all():
    rule = RULES[0]
    assert ruled(invariants.Found(rule, 6, tuple("abcdef"), 10, False, 0.0, 12.3))[:2] == [
        Metric("rows", 6, rule.name, 0, detail=f"{rule.says}: a, b, c, d, e …"),
        Finding(UNKNOWN, rule.name, "has seen 12 % of the table so far (10 rows), the next run goes on"),
    ]
    assert ruled(invariants.Found(rule, 0, (), 10, False))[1].text == (
        "has seen a part of the table so far (10 rows), the next run goes on"
    )


def test_what_was_passed_over_and_how_old_it_is():
    found = ruled(
        *(invariants.Found(rule, 0, (), 7, True, age) for rule, age in ((RULES[0], 7200.0), (RULES[1], 60.0))),
        skipped={"heat": ["a"]}, older=["cinder-quota-drift"],
    )  # fmt: skip
    assert found[-1] == Finding(
        OK, "", "2 rules over 14 rows, 0 broken (no schema of heat: 1 not asked; not in this release: cinder-quota-drift; "
        "of large tables some rows were seen 2 h ago)",
    )  # fmt: skip
    assert ruled(older=["cinder-quota-drift"]) == []


def test_a_rule_that_was_not_asked():
    assert ruled(DENIED) == [DENIED]
    assert ruled(failures=[DENIED]) == [DENIED]


def test_schemas_are_named_by_their_roles():
    assert check_db_invariants.schema("neutron=ovs_neutron") == ("neutron", "ovs_neutron")
    assert check_db_invariants.schema("api") == ("api", "nova_api")
    outcome = check_db_invariants.CHECK.run(["--schema", "nova=x"])
    assert outcome.reason == (f"option --schema: 'nova' is no role: write {', '.join(SCHEMAS)}, or ROLE=NAME"), (
        outcome.reason
    )


def test_the_page_names_every_rule():
    page = re.sub(r"\s", "", check_db_invariants.CHECK.page())  # which breaks lines at hyphens
    assert [rule.name for rule in RULES if rule.name not in check_db_invariants.__doc__] == []
    assert [rule.name for rule in RULES if rule.name not in page] == []


# ---- all three, without an answer -------------------------------------------------------------------------------------------


def run(check, folder, *argv):
    return check.run(["--state-dir", str(folder / "state"), *argv], root=str(folder / "root"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    for name in ("NEPHOSCOPE_PASSWORD", "PGSERVICE", "PGHOST", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.thing)
def test_nothing_says_what_to_ask(check, folder):
    outcome = run(check, folder)
    assert outcome.state == UNKNOWN
    assert outcome.reason == (
        "nothing says what to ask: --from-service-file FILE; or --type mysql or postgres, and -H or --socket"
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.thing)
@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_a_port_that_refuses(check, kind, folder):
    pytest.importorskip("pymysql" if kind == "mysql" else "psycopg2")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        outcome = run(check, folder, "--type", kind, "-H", "127.0.0.1", "-p", str(port))
    assert outcome.state == CRITICAL
    assert re.fullmatch(rf"127\.0\.0\.1:{port}: Connection refused \(.*\)", outcome.reason), outcome.reason


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.thing)
def test_a_server_that_is_no_database(check, folder):
    pytest.importorskip("pymysql")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet():
            peer, _ = listening.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                peer.recv(100)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        outcome = run(check, folder, "--type", "mysql", "-H", "127.0.0.1", "-p", str(port))
        thread.join(5)
    assert outcome.state == UNKNOWN
    assert outcome.reason == f"127.0.0.1:{port}: no MySQL server: it speaks SSH (log in)"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.thing)
def test_a_service_file_that_is_not_there(check, folder):
    outcome = run(check, folder, "--from-service-file", "/etc/nova/nova.conf")
    assert outcome.state == UNKNOWN
    assert outcome.reason.startswith("nova: No such file or directory"), outcome.reason


def test_the_preset_of_eucalyptus_from_afar_and_on_the_machine(folder):
    """With -H neither its socket nor its disk is meant, and the port is still its own."""
    pytest.importorskip("psycopg2")
    outcome = run(check_db_growth.CHECK, folder, "--preset", "eucalyptus", "-H", "127.0.0.1", "-p", "1")
    assert (outcome.state, outcome.reason) == (CRITICAL, "127.0.0.1:1: Connection refused (log in)")
    outcome = run(check_db_growth.CHECK, folder, "--preset", "eucalyptus", "-H", "127.0.0.1")
    assert outcome.reason == "127.0.0.1:8777: Connection refused (log in)"
    outcome = run(check_db_growth.CHECK, folder, "--preset", "eucalyptus")
    assert "/var/lib/eucalyptus/db/data/.s.PGSQL.8777: no socket there" in outcome.reason
