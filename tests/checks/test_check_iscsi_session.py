# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import os
import shutil

import pytest
from nephoscope.base import NOT_ALLOWED, Failed
from nephoscope.checks.storage.check_iscsi_session import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.iscsi_session import Place, Session, Survey

from tests.probes.iscsi_tree import TARGET, multipath, processes, session
from tests.probes.kernel_tree import first_line, refuse

T1, P1, P2 = TARGET.format(1), "192.0.2.10:3260", "192.0.2.11:3260"
ONE, TWO = Session(f"{T1} {P1}", T1, P1), Session(f"{T1} {P2}", T1, P2)
UNREAD = Failed(NOT_ALLOWED, "session3", "read", "Permission denied")


def judged(*sessions, argv=(), most=None, daemon=True):
    return list(judge(Survey(sessions, most or {}, daemon), CHECK.parse(*argv)))


def test_two_good_ones():
    assert judged(ONE, TWO._replace(timeout=15.0), most={T1: 2}) == [
        Finding(OK, ONE.name, "is logged in"),
        Metric("stale_age", 0.0, ONE.name),
        Finding(OK, TWO.name, "is logged in"),
        Metric("stale_age", 0.0, TWO.name),
        Metric("failover", 15.0, TWO.name),
        Finding(OK, "", "2 sessions logged in"),
        Metric("sessions", 2),
        Metric("failed", 0),
        Metric("stale", 0),
    ]


@pytest.mark.parametrize(
    ("health", "state"), [("ok", OK), ("recovering", WARNING), ("failed", CRITICAL), ("unknown", UNKNOWN)]
)
def test_each_health(health, state):
    found = judged(ONE._replace(health=health, said="says so"))
    assert found[0] == Finding(state, ONE.name, "says so")
    assert Metric("failed", int(health in ("recovering", "failed"))) in found


def test_what_is_expected():
    assert judged(ONE, argv=("--expect", T1, "--expect", "iqn.*:vol?", "--portal", "192.0.2.10")) == judged(ONE)
    bad = TWO._replace(health="recovering", said="is FAILED")
    assert judged(ONE, bad, argv=("--expect", f"{T1}=2"))[0] == Finding(CRITICAL, T1, "has 1 of 2 sessions logged in")
    assert judged(ONE, bad, argv=("--portal", "192.0.2.11"))[0] == Finding(CRITICAL, P2, "has no session logged in")
    assert judged(argv=("--expect", T1))[0] == Finding(CRITICAL, T1, "has 0 of 1 sessions logged in")
    # What could not be read may be what is missed.
    assert judged(UNREAD, argv=("--expect", T1))[1] == Finding(UNKNOWN, T1, "has 0 of 1 sessions logged in")
    assert judged(UNREAD, argv=("--portal", P1))[1] == Finding(UNKNOWN, P1, "has no session logged in")


def test_paths_of_the_zone():
    here, there = Place(P1, "iface0", "eth1"), Place(P1, "iface1", "eth2")
    bound = ONE._replace(netdev="eth1")
    survey = Survey((bound,), paths=(here, there, UNREAD))
    found = [one for one in judge(survey, CHECK.parse()) if one not in judged(bound)]
    assert found == [Finding(CRITICAL, f"{P1} by eth2", "has no session logged in"), UNREAD]


@pytest.mark.parametrize(
    ("disk", "state"), [("recovering", WARNING), ("failed", CRITICAL), ("unknown", UNKNOWN), ("ok", None)]
)
def test_disks_of_a_session_that_is_logged_in(disk, state):
    found = judged(ONE._replace(disk=disk, ill="has disks" if state is not None else ""))
    assert [one for one in found if one not in judged(ONE)] == (
        [Finding(state, ONE.name, "has disks")] if state is not None else []
    )
    assert Metric("failed", 0) in found


def test_fewer_than_before_and_no_daemon():
    assert judged(ONE, most={T1: 2})[0] == Finding(WARNING, T1, "has 1 sessions, 2 before")
    assert judged(UNREAD, ONE, most={T1: 2})[1] != Finding(WARNING, T1, "has 1 sessions, 2 before")
    assert judged(ONE, daemon=False)[0] == Finding(CRITICAL, "iscsid", "does not run: no session will recover")
    assert judged(ONE, daemon=UNREAD)[0] == UNREAD
    assert judged(ONE, daemon=None) == judged(ONE)


def test_what_could_not_be_read_is_not_counted():
    assert [found.name for found in judged(UNREAD, ONE) if isinstance(found, Metric)] == ["stale_age"]


line = functools.partial(first_line, CHECK)


def lay(folder, **words):
    root = folder / "root"
    processes(root, "systemd", "iscsid")
    session(root, 1, disk="sdb")
    session(root, 2, "192.0.2.11", **{"disk": "sdc", **words})
    return root


LINES = [
    ({}, (), "OK - 2 sessions logged in | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({}, ("--expect", "iqn.2026-11.example:*=3"), "CRITICAL - iqn.2026-11.example:* has 2 of 3 sessions logged in | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({}, ("--portal", "192.0.2.12"), "CRITICAL - 192.0.2.12:3260 has no session logged in | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({"state": "FAILED"}, (), f"WARNING - {T1} {P2} is FAILED | sessions=2 failed=1 stale=0 stale_age=0s;60"),
    ({"connection": "failed"}, (), f"WARNING - {T1} {P2} has a connection that is failed | sessions=2 failed=1 stale=0 stale_age=0s;60"),
    ({"state": "RESTING"}, (), f"UNKNOWN - {T1} {P2} is 'RESTING', which is not understood | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({"disk_state": "transport-offline"}, (), f"CRITICAL - {T1} {P2} has disks that do not run: sdc transport-offline | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({}, ("--paths", "192.0.2.10, 192.0.2.11"), "OK - 2 sessions logged in | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({}, ("--paths", "192.0.2.10,192.0.2.12"), "CRITICAL - 192.0.2.12:3260 has no session logged in | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({}, ("--paths", "iface0:192.0.2.10"), "UNKNOWN - paths: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf) | sessions=2 failed=0 stale=0 stale_age=0s;60"),
    ({"disk": ""}, (), "OK - 2 sessions logged in | sessions=2 failed=0 stale=1 stale_age=0s;60"),
    ({}, ("-c", "sessions=4:"), "CRITICAL - sessions 2 is below 4 | sessions=2;;4: failed=0 stale=0 stale_age=0s;60"),
    ({"state": "RESTING"}, ("--include", f"*{P1}"), "OK - 1 sessions logged in | sessions=1 failed=0 stale=0 stale_age=0s;60"),
    ({}, ("--include", "x"), "UNKNOWN - nothing matched --include/--exclude, which left out 2 | sessions=0 failed=0 stale=0"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "argv", "said"), LINES)
def test_first_lines(tmp_path, words, argv, said):
    lay(tmp_path, **words)
    assert line(tmp_path, *argv) == f"ISCSI_SESSION {said}"


def test_a_session_that_fails_and_is_given_up(tmp_path):
    lay(tmp_path)
    line(tmp_path)
    lay(tmp_path, state="FAILED")
    perf = "sessions=2 failed=1 stale=0 stale_age=0s;60"
    assert line(tmp_path, shift=60) == f"ISCSI_SESSION WARNING - {T1} {P2} is FAILED | {perf}"
    assert line(tmp_path, shift=190) == f"ISCSI_SESSION CRITICAL - {T1} {P2} is FAILED for 130 s | {perf}"
    lay(tmp_path, state="FREE", connection="down")
    said = f"{T1} {P2} is FREE: its recovery was given up"
    assert line(tmp_path, shift=240) == f"ISCSI_SESSION CRITICAL - {said} | {perf}"


def test_a_session_that_goes_is_missed_and_a_target_that_goes_is_not(tmp_path):
    root = lay(tmp_path)
    line(tmp_path)
    shutil.rmtree(root / "sys/class/iscsi_session/session2")
    perf = "sessions=1 failed=0 stale=0 stale_age=0s;60"
    assert line(tmp_path, shift=60) == f"ISCSI_SESSION WARNING - {T1} has 1 sessions, 2 before | {perf}"
    assert line(tmp_path, shift=8 * 86400) == f"ISCSI_SESSION OK - 1 sessions logged in | {perf}"


def test_one_that_is_left_over(tmp_path):
    lay(tmp_path, disk="")
    line(tmp_path)
    shutil.rmtree(tmp_path / "root/sys/class/iscsi_session/session2/device")
    said = line(tmp_path, shift=90)
    assert said.startswith(
        f"ISCSI_SESSION WARNING - {T1} {P2} stale age 90 s is above 60 s | sessions=2 failed=0 stale=1 "
    )


def test_a_slow_failover(tmp_path):
    multipath(lay(tmp_path), "sdc")
    said = f"{T1} {P2} failover 2 min is above 30 s"
    assert (
        line(tmp_path)
        == f"ISCSI_SESSION WARNING - {said} | sessions=2 failed=0 stale=0 stale_age=0s;60 failover=120s;30"
    )


def test_no_daemon_or_hidden(tmp_path):
    root = lay(tmp_path)
    processes(root, "systemd", "sshd")
    perf = "sessions=2 failed=0 stale=0 stale_age=0s;60"
    assert line(tmp_path) == f"ISCSI_SESSION CRITICAL - iscsid does not run: no session will recover | {perf}"
    shutil.rmtree(root / "proc/1")
    said = (
        "iscsid: other users' processes are hidden (look for iscsid): needs the group that /proc is mounted with (gid=)"
    )
    assert line(tmp_path) == f"ISCSI_SESSION UNKNOWN - {said} | {perf}"


def test_no_session(tmp_path):
    os.makedirs(tmp_path / "root")
    none = "there is no iSCSI session (list /sys/class/iscsi_session)"
    assert line(tmp_path) == f"ISCSI_SESSION UNKNOWN - {none}"
    assert line(tmp_path, "--absent-state", "ok") == f"ISCSI_SESSION OK - {none}"
    assert line(tmp_path, "--paths", "192.0.2.10", "--absent-state", "ok") == f"ISCSI_SESSION OK - {none}"
    said = f"{T1} has 0 of 1 sessions logged in"
    assert line(tmp_path, "--expect", T1) == f"ISCSI_SESSION CRITICAL - {said} | sessions=0 failed=0 stale=0"


def test_nobody_may_read(tmp_path, monkeypatch):
    lay(tmp_path)
    refuse(monkeypatch, "iscsi_session")
    assert line(tmp_path) == "ISCSI_SESSION UNKNOWN - Permission denied (list /sys/class/iscsi_session)"


def test_a_portal_that_is_none():
    assert "is not ADDRESS[:PORT]" in CHECK.run(["--portal", "a b"]).line
    assert "'{}' is not ADDRESS[:PORT]" in CHECK.run(["--paths", "{}"]).line
