# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import shutil

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Clock, Failed
from nephoscope.checks.storage.check_iscsi_target import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.iscsi_target import Store, Survey
from nephoscope.probes.tgt import Lun, Session, Target, Targets

from tests.probes import lio_tree, stand_ins
from tests.probes.test_iscsi_target import NAME, PATH, lay, processes, tools
from tests.probes.test_tgt import GONE, NEXUS
from tests.probes.test_tgt import target as tgt_target

CONTROLLER, DISK = Lun(0, "controller", 0, True, ""), Lun(1, "disk", 10 << 20, True, "/dev/vg/one")
ONE = Target(1, "iqn.x:1", "ready", (CONTROLLER, DISK), (Session("iqn.x:a", ()), Session("iqn.x:b", ())))
TWO = Target(2, "iqn.x:2", "ready", (CONTROLLER, DISK), (Session("iqn.x:a", ()),))
UNHEARD = Failed(UNREADABLE, "LIO", "read", "not understood")


def judged(*targets, argv=(), seconds=0.5, **words):
    return list(judge(Survey((Targets(seconds, targets),), **words), CHECK.parse(*argv)))


def test_two_good_ones():
    stores = {("iqn.x:1", 1): Store("/dev/vg/one"), ("iqn.x:2", 1): Store("rbd/one", "", False)}
    assert judged(ONE, TWO, stores=stores, most=2, restarts=COLLECTING) == [
        Finding(OK, "iqn.x:1", "serves"),
        Finding(OK, "iqn.x:2", "serves"),
        Finding(OK, "iqn.x:1", "LUN 1 lies on /dev/vg/one"),
        Finding(OK, "iqn.x:2", "LUN 1 is not looked at: rbd/one"),
        Metric("answer", 0.5),
        Metric("restarts", COLLECTING),
        Finding(OK, "", "2 targets serve 2 units"),
        Metric("targets", 2),
        Metric("luns", 2),
        Metric("initiators", 2),
    ]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (ONE._replace(state="offline"), "is offline"),
        (ONE._replace(state="without a portal"), "is without a portal"),
        (ONE._replace(luns=(DISK._replace(online=False),)), "LUN 1 is offline"),
        (ONE._replace(luns=(CONTROLLER,)), "exports no unit"),
        (ONE._replace(luns=()), "exports no unit"),
    ],
)
def test_what_does_not_serve(target, said):
    found = judged(target, TWO)
    assert found[:2] == [Finding(CRITICAL, "iqn.x:1", said), Finding(OK, "iqn.x:2", "serves")]
    assert Finding(OK, "", f"1 targets serve {1 + (DISK.number in [lun.number for lun in target.luns])} units") in found
    assert judged(target, argv=("--expect", "iqn.x:1"))[0] == Finding(
        CRITICAL, "", "iqn.x:1 has 0 of 1 targets that serve"
    )


def test_what_is_expected():
    assert judged(ONE, TWO, argv=("--expect", "iqn.x:*=2"))[0].state == OK
    assert judged(ONE, TWO, argv=("--expect", "iqn.x:*=3"))[0] == Finding(
        CRITICAL, "", "iqn.x:* has 2 of 3 targets that serve"
    )


@pytest.mark.parametrize(
    ("count", "state", "of", "text"),
    [
        (1, OK, "iqn.x:*", "has 1 of 1 targets that serve, 1 left out by a filter"),
        (2, UNKNOWN, "", "iqn.x:* has 1 of 2 targets that serve, 1 left out by a filter"),
        (3, CRITICAL, "", "iqn.x:* has 1 of 3 targets that serve, 1 left out by a filter"),
    ],
)
def test_what_is_expected_and_left_out(count, state, of, text):
    found = judged(ONE, argv=("--expect", f"iqn.x:*={count}"), left_out=("iqn.x:7",))
    assert found[0] == Finding(state, of, text)


def test_a_server_that_is_not_heard():
    survey = Survey((UNHEARD, Targets(0.5, (ONE,))), most=4)
    found = list(judge(survey, CHECK.parse("--expect", "iqn.x:2")))
    assert found == [
        UNHEARD,
        Finding(UNKNOWN, "", "iqn.x:2 has 0 of 1 targets that serve"),
        Finding(OK, "iqn.x:1", "serves"),
        Metric("answer", 0.5),
    ]


def test_stores():
    failed = Failed(NOT_ALLOWED, "iqn.x:1", "look", "Permission denied")
    assert failed in judged(ONE, stores={("iqn.x:1", 1): failed})
    lost = {("iqn.x:1", 1): Store("/dev/vg/one", "has lost its backing store")}
    assert Finding(CRITICAL, "iqn.x:1", "LUN 1 has lost its backing store") in judged(ONE, stores=lost)


def test_fewer_than_before_and_restarts():
    assert Finding(WARNING, "", "1 targets, 2 before") in judged(ONE, most=2)
    assert not [found for found in judged(ONE, most=1) if isinstance(found, Finding) and found.state == WARNING]
    assert Metric("restarts", 2) in judged(ONE, restarts=2)
    hidden = Failed(ABSENT, "tgtd", "look", "hidden")
    assert hidden in judged(ONE, restarts=hidden)


def line(tmp_path, *argv, shift=0.0):
    said = CHECK.run(
        [*argv, "--state-dir", str(tmp_path / "state")], root=str(tmp_path / "root"), clock=Clock(shift)
    ).line
    return re.sub(r"answer=[0-9.e-]+s", "answer=0s", said)


PERF = "answer=0s;2;5 targets=1 luns=1 initiators={}"
LINES = [
    (tgt_target(), (), "OK - 1 targets serve 1 units, rates collecting", PERF.format(0)),
    (tgt_target(nexus=NEXUS), (), "OK - 1 targets serve 1 units, rates collecting", PERF.format(1)),
    (tgt_target(state="offline"), (), f"CRITICAL - {NAME} is offline", PERF.format(0)),
    (tgt_target(online="No"), (), f"CRITICAL - {NAME} LUN 1 is offline", PERF.format(0)),
    (
        tgt_target().replace(PATH, "/gone/vol"),
        (),
        f"CRITICAL - {NAME} LUN 1 has lost its backing store /gone/vol: No such file or directory",
        PERF.format(0),
    ),
    (tgt_target().replace(PATH, "None"), (), f"CRITICAL - {NAME} LUN 1 has no backing store", PERF.format(0)),
    (tgt_target(), ("--expect", "iqn.y*"), "CRITICAL - iqn.y* has 0 of 1 targets that serve", PERF.format(0)),
    (tgt_target(), ("-w", "0:0", "-c", "9"), r"WARNING - answer [0-9.e-]+ m?s is above 0 s", None),
    (tgt_target(), ("-c", "0:0"), r"CRITICAL - answer [0-9.e-]+ m?s is above 0 s", None),
    ("", (), "OK - 0 targets serve 0 units, rates collecting", "answer=0s;2;5 targets=0 luns=0 initiators=0"),
    ("", ("-c", "targets=1:"), "CRITICAL - targets 0 is below 1", "answer=0s;2;5 targets=0;;1: luns=0 initiators=0"),
    (
        tgt_target(state="weary"),
        (),
        "UNKNOWN - tgtd: not understood: 'State: weary' (tgtadm --op show)",
        None,
    ),
    ("<html></html>", (), "UNKNOWN - tgtd: not understood: '<html></html>\\n' (tgtadm --op show)", None),
]


@pytest.mark.parametrize(("text", "argv", "said", "perf"), LINES)
def test_first_lines(tmp_path, monkeypatch, text, argv, said, perf):
    lay(tmp_path, monkeypatch, text)
    found = line(tmp_path, *argv)
    if perf is None and "[0-9" in said:
        assert re.fullmatch(f"ISCSI_TARGET {said} \\| answer=0s.*", found), found
    else:
        assert found == f"ISCSI_TARGET {said}" + (f" | {perf}" if perf else "")


TROUBLES = [
    ({"tgtadm": f'echo "{GONE}" >&2; exit 107'}, (), f"CRITICAL - tgtd: not running: {GONE}"),
    ({"tgtadm": f'echo "{GONE}" >&2; exit 107'}, ("--unreachable-state", "warning"), f"WARNING - tgtd: not running: {GONE}"),
    ({"tgtadm": "exec sleep 20"}, ("-t", "2"), "CRITICAL - tgtd: no answer in 0.8 s (run tgtadm --lld iscsi --mode target --op …)"),
    ({"tgtadm": "exit 0", "sudo": stand_ins.REFUSES}, (), "UNKNOWN - tgtd: sudo: a password is required: needs a sudoers line for `/usr/sbin/tgtadm --lld iscsi --mode target --op show` (nephoscope export sudoers)"),
    ({}, (), "UNKNOWN - tgtd: tgtadm is not installed (run tgtadm --lld iscsi --mode target --op …)"),
    ({}, ("--absent-state", "ok"), "OK - tgtd: tgtadm is not installed (run tgtadm --lld iscsi --mode target --op …)"),
    ({}, ("--server", "lio"), "UNKNOWN - LIO: No such file or directory (list /sys/kernel/config/target/iscsi)"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "argv", "said"), TROUBLES)
def test_no_answer(tmp_path, monkeypatch, words, argv, said):
    lay(tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "bin")
    tools(tmp_path, monkeypatch, **words)
    assert line(tmp_path, *argv) == f"ISCSI_TARGET {said}"


def test_a_tgtd_that_died_and_began_anew_with_less(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch, tgt_target() + tgt_target(2, "iqn.x:2"))
    line(tmp_path)
    tools(tmp_path, monkeypatch, tgtadm=f'echo "{GONE}" >&2; exit 107')
    assert line(tmp_path, shift=60) == f"ISCSI_TARGET CRITICAL - tgtd: not running: {GONE}"
    tools(tmp_path, monkeypatch, tgtadm=stand_ins.says(tgt_target()))
    processes(root, (70, "tgtd", "S", 99000))
    said = line(tmp_path, shift=120)
    both = "restarts 1 is above 0, 1 targets, 2 before"
    assert said == f"ISCSI_TARGET WARNING - {both} | {PERF.format(0)} restarts=1;0"
    assert line(tmp_path, shift=3900) == f"ISCSI_TARGET OK - 1 targets serve 1 units | {PERF.format(0)} restarts=0;0"


def test_hidden_processes(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch)
    shutil.rmtree(root / "proc/1")
    cure = "needs the group that /proc is mounted with (gid=)"
    said = f"UNKNOWN - tgtd: other users' processes are hidden (look for tgtd): {cure}"
    assert line(tmp_path) == f"ISCSI_TARGET {said} | {PERF.format(0)}"


def test_a_store_that_may_not_be_looked_at(tmp_path, monkeypatch):
    lay(tmp_path, monkeypatch)
    real = os.stat

    def refuse(path, **words):
        if str(path).endswith(PATH):
            raise PermissionError(13, "Permission denied")
        return real(path, **words)

    monkeypatch.setattr(os, "stat", refuse)
    cure = f"right to search {PATH.rpartition('/')[0]} (setfacl -m u:USER:x)"
    said = f"UNKNOWN - {NAME}: LUN 1, {PATH}: Permission denied (look at the backing store): needs {cure}"
    assert line(tmp_path)[: len(said) + 13] == f"ISCSI_TARGET {said}"[: len(said) + 13]


def test_what_is_left_out_is_not_counted(tmp_path, monkeypatch):
    lay(tmp_path, monkeypatch, tgt_target() + tgt_target(2, "iqn.x:2").replace(PATH, "/gone"))
    assert line(tmp_path, "--exclude", "iqn.x:*").startswith("ISCSI_TARGET OK - 1 targets serve 1 units")


def test_no_filter_hides_what_is_expected(tmp_path, monkeypatch):
    lay(tmp_path, monkeypatch, tgt_target() + tgt_target(2, "iqn.x:2"))
    argv = ("--include", NAME, "--expect")
    said = "ISCSI_TARGET CRITICAL - iqn.x:3 has 0 of 1 targets that serve | "
    assert line(tmp_path, *argv, "iqn.x:3").startswith(said)
    said = "ISCSI_TARGET UNKNOWN - iqn.x:2 has 0 of 1 targets that serve, 1 left out by a filter | "
    assert line(tmp_path, *argv, "iqn.x:2").startswith(said)
    assert line(tmp_path, *argv, "iqn*").startswith("ISCSI_TARGET OK - 1 targets serve 1 units")


def test_a_target_without_a_unit(tmp_path, monkeypatch):
    text = tgt_target()
    unit = text[text.index("        LUN: 1\n") : text.index("    Account information")]
    lay(tmp_path, monkeypatch, text.replace(unit, ""))
    perf = "answer=0s;2;5 targets=1 luns=0 initiators=0"
    assert line(tmp_path) == f"ISCSI_TARGET CRITICAL - {NAME} exports no unit | {perf}"


@pytest.mark.parametrize(
    ("portals", "said"),
    [
        (":", f"CRITICAL - {NAME} is without a portal"),
        ("echo huh", "UNKNOWN - tgtd: not understood: 'huh' (tgtadm --mode portal --op show)"),
        ("echo no mode >&2; exit 22", "UNKNOWN - tgtd: not understood: 'no mode' (tgtadm --mode portal --op show)"),
        ("exec sleep 20", "UNKNOWN - tgtd: no answer in "),
    ],
)
def test_a_tgtd_that_listens_nowhere(tmp_path, monkeypatch, portals, said):
    lay(tmp_path, monkeypatch)
    tools(tmp_path, monkeypatch, portals, tgtadm=stand_ins.says(tgt_target()))
    assert line(tmp_path, "-t", "2").startswith(f"ISCSI_TARGET {said}")


def test_lio(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch, rows=())
    lio_tree.store(root, "data", PATH)
    client = ((lio_tree.CLIENT.format(1), lio_tree.LOGGED_IN),)
    lio_tree.target(root, 1, stores=("fileio_0/data",), clients=client)
    assert line(tmp_path) == f"ISCSI_TARGET OK - 1 targets serve 1 units | {PERF.format(1)}"
    os.unlink(root / PATH[1:])
    name = lio_tree.TARGET.format(1)
    said = f"{name} LUN 0 has lost its backing store {PATH}: No such file or directory"
    assert line(tmp_path) == f"ISCSI_TARGET CRITICAL - {said} | {PERF.format(1)}"
    lio_tree.put(root, PATH[1:], "x")
    lio_tree.target(root, 1, enable="0\n", clients=client)
    assert line(tmp_path) == f"ISCSI_TARGET CRITICAL - {name} is offline | {PERF.format(1)}"


def test_a_filter_for_a_target_hides_neither_its_store_nor_a_server_that_is_silent(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch, tgt_target().replace(PATH, "/gone"))
    lio_tree.target(root)
    lost = f"CRITICAL - {NAME} LUN 1 has lost its backing store /gone: No such file or directory"
    assert line(tmp_path, "--include", NAME).startswith(f"ISCSI_TARGET {lost} | ")
    tools(tmp_path, monkeypatch, tgtadm=f'echo "{GONE}" >&2; exit 107')
    argv = ("--include", lio_tree.TARGET.format(1))
    assert line(tmp_path, *argv).startswith(f"ISCSI_TARGET CRITICAL - tgtd: not running: {GONE}")


def test_lio_that_lost_all_its_targets(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch, rows=())
    lio_tree.target(root)
    line(tmp_path)
    shutil.rmtree(root / lio_tree.HOME / "iscsi" / lio_tree.TARGET.format(1))
    perf = "answer=0s;2;5 targets=0 luns=0 initiators=0"
    assert line(tmp_path, shift=60) == f"ISCSI_TARGET WARNING - 0 targets, 1 before | {perf}"
