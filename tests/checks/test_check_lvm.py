# SPDX-License-Identifier: Apache-2.0
"""Outputs in the form of LVM 2.03.16 (tests/probes/test_lvm.py); how full active pools are is hand-made after lvmreport(7)."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Clock, Failed
from nephoscope.checks.storage.check_lvm import CHECK, COMPLAINT_WORDS, HEALTH_WORDS, STATE_WORDS, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import lvm
from nephoscope.probes.lvm import Survey, Volume, VolumeGroup

from tests.probes import stand_ins
from tests.probes.test_lvm import listing, lv, pv, report, row

EUID = os.geteuid
GROUP = VolumeGroup("vg", 1000, 250, 2, 0, 3, 1, False)
ROOT = Volume("vg", "root", 10, "", "active", "", None, None)
POOL = Volume("vg", "pool", 10, "thin pool", "active", "", 50.0, 9.0)
SNAP = Volume("vg", "snap", 10, "snapshot", "active", "", 40.0, None)
FAILED = Failed(UNREADABLE, "", "run lvs", "x")


def judged(*volumes, groups=(GROUP,), lost=None, argv=()):
    listed = volumes[0] if volumes and isinstance(volumes[0], Failed) else volumes
    return list(judge(Survey(groups, listed, lost or {}), CHECK.parse(*argv)))


def test_good():
    assert judged(ROOT, SNAP, argv=("--expect", "vg", "--expect", "vg/root")) == [
        Finding(OK, "vg", "has all its disks"),
        Metric("free", 250, "vg", 0, 1000),
        Metric("used", 75.0, "vg", 0, 100),
        Finding(OK, "vg/root", "is active"),
        Finding(OK, "vg/snap", "is active"),
        Metric("snapshot", 40.0, "vg/snap", 0, 100),
        Finding(OK, "", "1 groups with 2 volumes"),
    ]


def test_a_group_with_a_pool_may_be_full():
    found = judged(POOL, argv=("--expect", "vg"))
    assert not [thing for thing in found if isinstance(thing, Metric) and thing.name == "used"]
    assert Metric("data", 50.0, "vg/pool", 0, 100) in found
    assert Metric("metadata", 9.0, "vg/pool", 0, 100) in found


def test_what_nobody_expects_is_not_asked_for_room():
    assert not [thing for thing in judged(ROOT) if isinstance(thing, Metric) and thing.name == "used"]


@pytest.mark.parametrize(
    "word, state",
    [
        ("unreadable", CRITICAL),
        ("damaged", WARNING),
        ("duplicate", WARNING),
        ("twice", WARNING),
        ("exported", OK),
        ("vanished", WARNING),
    ],
)
def test_every_complaint(word, state):
    assert set(COMPLAINT_WORDS) == set(lvm.TEXTS)
    survey = Survey((GROUP,), (ROOT,), {}, (), (("vg", word, "is odd"),))
    assert Finding(state, "vg", "is odd") in list(judge(survey, CHECK.parse()))
    expected = Finding(CRITICAL, "vg", "is odd") in list(judge(survey, CHECK.parse("--expect", "vg")))
    assert expected == (word != "vanished")  # of which is said that it is not there


def test_a_group_that_vanished(tmp_path, monkeypatch):
    def line(*names, argv=(), shift=0):
        rows = [row(name) for name in names]
        lvs = volumes(*(lv(group=name) for name in names))
        stand_ins.put(tmp_path / "bin", monkeypatch, vgs=stand_ins.says(report(*rows)), lvs=lvs)
        monkeypatch.setattr(os, "geteuid", EUID)
        words = ["--state-dir", str(tmp_path / "state"), *argv]
        return CHECK.run(words, clock=Clock(shift)).line.partition(" | ")[0]

    assert line("a", "b", "euca-ebs-storage-vg-vol-1A2B3C4D") == "LVM OK - 3 groups with 3 volumes"
    said = "b was there before and is not now"
    assert line("a", shift=60) == f"LVM WARNING - {said}"
    assert line("a", argv=("--expect", "b"), shift=90) == "LVM CRITICAL - b is not there"
    assert line("a", shift=604_000) == f"LVM WARNING - {said}"
    assert line("a", shift=605_000) == "LVM OK - 1 groups with 1 volumes"
    assert line("a", "b", shift=606_000) == "LVM OK - 2 groups with 2 volumes"
    assert line("a", argv=("--remember", "0"), shift=606_100) == "LVM OK - 1 groups with 1 volumes"
    assert line("a", shift=606_200) == "LVM OK - 1 groups with 1 volumes"


def test_a_gap_hides_nothing():
    found = list(judge(Survey((GROUP,), (POOL._replace(data=99.0),), {}, (FAILED,)), CHECK.parse()))
    assert FAILED in found
    assert Metric("data", 99.0, "vg/pool", 0, 100) in found


@pytest.mark.parametrize("word", ["inactive", "historical"])
def test_a_pool_that_is_not_active_has_no_share(word):
    assert not [thing for thing in judged(POOL._replace(state=word, data=None)) if getattr(thing, "name", "") == "data"]


@pytest.mark.parametrize("word", [*lvm.STATES.values(), "Q"])
def test_every_state_of_a_volume(word):
    state = {
        **dict.fromkeys(["active", "inactive", "historical"], OK),
        **dict.fromkeys(["suspended", "without tables", "with an inactive table"], WARNING),
        **dict.fromkeys(["unknown", "Q"], UNKNOWN),
    }.get(word, CRITICAL)
    said = f"is {word}" if state != UNKNOWN else f"is in a state that is not understood: {word}"
    assert Finding(state, "vg/root", said) in judged(ROOT._replace(state=word))
    expected = judged(ROOT._replace(state=word), argv=("--expect", "vg/root"))
    wanted = {"active": OK, "unknown": UNKNOWN, "Q": UNKNOWN}.get(word, CRITICAL)
    assert Finding(wanted, "vg/root", said) in expected


@pytest.mark.parametrize("word", [*lvm.HEALTH[1:], "quite new"])
def test_every_health_of_a_volume(word):
    state = UNKNOWN if word in ("unknown", "quite new") else CRITICAL
    assert Finding(state, "vg/root", f"is not well: {word}") in judged(ROOT._replace(health=word))


def test_the_tables_are_whole():
    assert set(STATE_WORDS) == set(lvm.STATES.values()) - {"unknown"}
    assert set(HEALTH_WORDS) == set(lvm.HEALTH) - {"", "unknown"}


def test_missing_disks_are_named():
    group = GROUP._replace(missing=1)
    assert Finding(CRITICAL, "vg", "1 of 2 disks are missing: AAA") in judged(groups=(group,), lost={"vg": ["AAA"]})
    assert Finding(CRITICAL, "vg", "a part of it is gone") in judged(groups=(GROUP._replace(partial=True),))


def test_what_is_expected():
    assert judged(groups=(), argv=("--expect", "vg", "--expect", "vg/x")) == [
        Finding(CRITICAL, "vg", "is not there"),
        Finding(CRITICAL, "vg/x", "is not there"),
    ]
    # Where volumes could not be listed, nobody knows whether one is there.
    found = judged(FAILED, argv=("--expect", "vg", "--expect", "vg/root"))
    assert found == [FAILED, Finding(OK, "vg", "has all its disks"), Metric("free", 250, "vg", 0, 1000)]


def test_no_group():
    (failed,) = judged(groups=())
    assert failed.kind == ABSENT


VGS, DISK = stand_ins.says(report(row("vg"))), stand_ins.says(report(row("vg", "wz-pn-", missing=1)))
WELL = [lv("root"), lv("pool", "twi-aotz--", "50.00", "9.00"), lv("snap", "swi-a-s---", "40.00")]
FREE = "vg_free=9437184B;;;0;37748736"
SLEEPS = "exec sleep 20"


def theirs(tmp_path):
    """A state directory of the user as whom stand_ins has the check run."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    if EUID() == 0:
        os.chown(path, 1000, 1000)
    return str(path)


def volumes(*rows):
    return stand_ins.says(listing("lv", *rows))


@pytest.mark.parametrize(
    ("argv", "scripts", "expected"),
    [
        ([], {"vgs": VGS, "lvs": volumes(*WELL)}, f"OK - 1 groups with 3 volumes | snapshot=40%;80;95 {FREE} vg_pool-61cbc2_data=50%;80;90;0;100 vg_pool-61cbc2_metadata=9%"),
        ([], {"vgs": VGS, "lvs": volumes(lv("pool", "twi-aotz--", "81.5", "9"))}, "WARNING - vg/pool data 81.5 % is above 80 %"),
        ([], {"vgs": VGS, "lvs": volumes(lv("pool", "twi-aotz--", "91", "9"))}, "CRITICAL - vg/pool data 91 % is above 90 %"),
        ([], {"vgs": VGS, "lvs": volumes(lv("pool", "twi-aotz--", "1", "71"))}, "WARNING - vg/pool metadata 71 % is above 70 %"),
        ([], {"vgs": VGS, "lvs": volumes(lv("pool", "twi-aotz--", "1", "86"))}, "CRITICAL - vg/pool metadata 86 % is above 85 %"),
        ([], {"vgs": VGS, "lvs": volumes(lv("pool", "dwi-a-v---", "91"))}, "CRITICAL - vg/pool data 91 % is above 90 %"),
        ([], {"vgs": VGS, "lvs": volumes(lv("pool", "twi-aotz--", "", "9"))}, "UNKNOWN - vg/pool data was not measured"),
        ([], {"vgs": VGS, "lvs": volumes(lv("snap", "swi-a-s---", "81"))}, "WARNING - vg/snap snapshot 81 % is above 80 %"),
        ([], {"vgs": VGS, "lvs": volumes(lv("snap", "swi-a-s---", "96"))}, "CRITICAL - vg/snap snapshot 96 % is above 95 %"),
        ([], {"vgs": VGS, "lvs": volumes(lv("root", "-wi-Q-----"))}, "UNKNOWN - vg/root is in a state that is not understood: Q"),
        (
            [],
            {"vgs": DISK, "lvs": volumes(*WELL), "pvs": stand_ins.says(listing("pv", pv("AAA", "missing")))},
            "CRITICAL - vg 1 of 2 disks are missing: AAA",
        ),
        (["--expect", "vg"], {"vgs": VGS, "lvs": volumes(lv())}, f"OK - 1 groups with 1 volumes | {FREE} vg_used=75%;80;90;0;100"),
        (
            ["--expect", "vg"],
            {"vgs": stand_ins.says(report(row("vg", free=3700000))), "lvs": volumes(lv())},
            "CRITICAL - vg used 90.2 % is above 90 %",
        ),
        (["--preset", "cinder_volume"], {"vgs": VGS, "lvs": volumes(lv())}, "CRITICAL - cinder-volumes is not there"),
        (["--expect", "vg/root"], {"vgs": VGS, "lvs": volumes(lv("root", "-wi-------"))}, "CRITICAL - vg/root is inactive"),
        ([], {"vgs": stand_ins.says(report()), "lvs": volumes()}, "UNKNOWN - there is no volume group: name by --expect what should be there (run vgs)"),
        ([], {"vgs": "exit 0", "sudo": stand_ins.REFUSES}, "UNKNOWN - lvm: sudo: a password is required: needs a sudoers line for `/usr/sbin/vgs --readonly "),
        ([], {}, "UNKNOWN - lvm: vgs is not installed (run vgs --readonly --reportformat json --units b …)"),
        ([], {"vgs": "echo '<html>'"}, "UNKNOWN - lvm: not its JSON: '<html>' (run vgs)"),
        (["-t", "2"], {"vgs": SLEEPS}, "CRITICAL - lvm: no answer in 1 s (run vgs --readonly --reportformat json --units b …)"),
        (["--include", "vg"], {"vgs": VGS, "lvs": "exit 5"}, "UNKNOWN - it ended with 5: no word why (run lvs) | vg_free="),
        (["--include", "vg"], {"vgs": VGS, "lvs": volumes()}, "UNKNOWN - none of the 3 of vg is listed (run lvs) | vg_free="),
        (
            ["-t", "2"],
            {"vgs": VGS, "lvs": SLEEPS},
            "CRITICAL - no answer in 1 s (run lvs --nolocking --config backup/backup=0 --reportformat json …)",
        ),
    ],
)  # fmt: skip
def test_first_lines(tmp_path, monkeypatch, argv, scripts, expected):
    stand_ins.put(tmp_path / "bin", monkeypatch, **scripts)
    line = CHECK.run([*argv, "--state-dir", theirs(tmp_path)]).line
    assert line.replace("in 0.9 s", "in 1 s").startswith(f"LVM {expected}"), line


def test_a_thousand_snapshots_are_one_number(tmp_path, monkeypatch):
    rows = [lv(f"snap{n}", "swi-a-s---", f"{n / 20}") for n in range(1000)]
    stand_ins.put(tmp_path / "bin", monkeypatch, vgs=VGS, lvs=volumes(*rows))
    outcome = CHECK.run(["--state-dir", theirs(tmp_path)])
    assert outcome.state == OK
    assert [item.partition("=")[0] for item in outcome.perfdata] == ["snapshot", "vg_free"]
