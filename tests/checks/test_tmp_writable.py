# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest
from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.node.check_tmp_writable import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.filesystem import Trial

GOOD = Trial("/tmp", "", "", 0o1777, 0.004, 61.5, 88.0)


def judged(*trials, argv=()):
    return list(judge(trials, CHECK.parse(*argv)))


def test_good():
    assert judged(GOOD) == [
        Metric("write", 0.004, "/tmp"),
        Metric("free", 61.5, "/tmp"),
        Metric("inodes_free", 88.0, "/tmp"),
    ]


def test_a_failed_step_is_critical_and_what_is_known_is_still_told():
    assert judged(GOOD._replace(step="create", error="No space left on device", free=0.0)) == [
        Finding(CRITICAL, "/tmp", "create failed: No space left on device"),
        Metric("free", 0.0, "/tmp"),
        Metric("inodes_free", 88.0, "/tmp"),
    ]


def test_the_mode():
    found = Finding(WARNING, "/tmp", "mode is 0777, not 1777")
    assert found in judged(GOOD._replace(mode=0o777))
    assert found not in judged(GOOD._replace(mode=0o777), argv=["--private"])


def test_a_directory_that_is_not_there_has_no_mode_to_complain_about():
    assert judged(Trial("/x", "create", "No such file or directory", 0, 0.001, None, None)) == [
        Finding(CRITICAL, "/x", "create failed: No such file or directory")
    ]


def test_a_hung_one_does_not_hide_the_other():
    failed = Failed(UNREACHABLE, "/var/tmp", "create, sync, read back and remove a file", "no answer in 5 s")
    assert judged(failed, GOOD)[:2] == [failed, Metric("write", 0.004, "/tmp")]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, OK),
        ({"free": 10.0}, OK),
        ({"free": 9.9}, WARNING),
        ({"free": 1.9}, CRITICAL),
        ({"inodes_free": 9.9}, WARNING),
        ({"inodes_free": 0.0}, WARNING),
        ({"seconds": 1.1}, WARNING),
        ({"seconds": 5.1}, CRITICAL),
        ({"free": None, "inodes_free": None}, OK),
    ],
)
def test_the_default_limits(monkeypatch, change, state):
    trial = GOOD._replace(**change)
    monkeypatch.setattr("nephoscope.probes.filesystem.write_trials", lambda paths, run, user: [trial])
    assert CHECK.run([]).state == state


def test_for_real(tmp_path):
    user = "root" if os.geteuid() == 0 else ""
    outcome = CHECK.run(["--path", str(tmp_path), "--private", "--user", user, "-w", "0:", "-c", "0:"])
    assert outcome.state == OK, outcome.text
    assert outcome.line.startswith("TMP_WRITABLE OK - ")
    assert os.listdir(tmp_path) == []


def test_a_missing_directory_for_real(tmp_path):
    outcome = CHECK.run(["--path", f"{tmp_path}/none", "--user", "root" if os.geteuid() == 0 else ""])
    assert outcome.state == CRITICAL
    assert "create failed: No such file or directory" in outcome.line


def test_a_relative_path_is_refused():
    outcome = CHECK.run(["--path", "tmp"])
    assert outcome.state == UNKNOWN
    assert outcome.line == "TMP_WRITABLE UNKNOWN - option --path: 'tmp' is not an absolute path"


def test_a_path_with_a_pipe_and_a_newline_keeps_line_1_whole(tmp_path):
    place = tmp_path / "a|b\nc"
    place.mkdir()
    outcome = CHECK.run(["--path", str(place), "--private", "--user", "root" if os.geteuid() == 0 else ""])
    assert outcome.line.count("|") == 1
    assert outcome.text.splitlines()[0] == outcome.line
