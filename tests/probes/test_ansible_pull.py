# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import ansible_pull
from nephoscope.probes.config_agent import LastRun, Lock


def at(text: str) -> float:
    return time.mktime(time.strptime(f"2026-11-21 {text}", "%Y-%m-%d %H:%M:%S"))


# As ansible-pull of ansible-core 2.19.14 logged them (paths and warnings shortened); its times are local.
START = """2026-11-21 12:02:44,762 p=15709 u=root n=ansible INFO| Starting Ansible Pull at 2026-11-21 12:02:44
2026-11-21 12:02:45,098 p=15711 u=root n=ansible WARNING| [WARNING]: Could not match supplied host pattern, ignoring: vm

2026-11-21 12:02:45,544 p=15711 u=root n=ansible INFO| localhost | CHANGED => {
    "changed": true
}
2026-11-21 12:02:46,008 p=15763 u=root n=ansible INFO| PLAY [localhost] **********
"""
RECAP = """2026-11-21 12:02:46,614 p=15763 u=root n=ansible INFO| PLAY RECAP ************
2026-11-21 12:02:46,614 p=15763 u=root n=ansible INFO| localhost                  : ok=3    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   
"""  # noqa: W291
ERROR = """2026-11-21 12:02:46,100 p=15763 u=root n=ansible ERROR| [ERROR]: Task failed: Module failed: non-zero return code
Origin: /checkout/local.yml:5:7
2026-11-21 12:02:46,200 p=15763 u=root n=ansible INFO| fatal: [localhost]: FAILED! => {"changed": true}
"""
UNCHANGED = """2026-11-21 12:02:47,007 p=15807 u=root n=ansible INFO| Starting Ansible Pull at 2026-11-21 12:02:47
2026-11-21 12:02:48,011 p=15807 u=root n=ansible INFO| Repository has not changed, quitting: b'localhost | SUCCESS'
"""
# The prefix of ansible 2.7 to 2.18 has no level.
OLD = (START + RECAP).replace(" INFO|", " |").replace(" WARNING|", " |")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "proc/15709").mkdir(parents=True)
    return tmp_path


def log(tree: Path, text: str, modified: float, name: str = "ansible-pull.log") -> None:
    path = tree / "var/log" / name
    path.write_text(text)
    os.utime(path, (modified, modified))


def look(tree: Path):
    return ansible_pull.look(Run(root=str(tree)), "", ())


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


@pytest.mark.parametrize("text", [START + RECAP, OLD, UNCHANGED + START + RECAP])
def test_a_recap_says_what_the_run_came_to(tree: Path, text: str) -> None:
    end = at("12:02:46") + 0.614
    log(tree, text, end)
    assert look(tree).last == LastRun(utc(end), "changed", 0, 1, None, 0.0, end - at("12:02:44"))


def test_the_file_s_time_is_right_where_the_log_s_is_of_another_zone(tree: Path) -> None:
    log(tree, START + RECAP, at("12:02:46") + 3 * 3600)
    assert look(tree).last.at == utc(at("12:02:46") + 3 * 3600)
    log(tree, START + RECAP, at("12:30:00"))  # something else wrote into it
    assert look(tree).last.at == utc(at("12:02:46"))


def test_a_run_that_had_nothing_new_in_its_repository_is_well(tree: Path) -> None:
    log(tree, START + ERROR + UNCHANGED, at("12:02:48"))
    assert (look(tree).last.status, look(tree).last.reason) == ("ok", "")


def test_a_failed_task_stops_the_play(tree: Path) -> None:
    log(tree, START + ERROR + RECAP.replace("failed=0", "failed=1"), at("12:02:46"))
    assert look(tree).last == LastRun(
        utc(at("12:02:46")), "aborted", 1, 1, None, 25.0, 2.0, "Task failed: Module failed: non-zero return code"
    )
    log(tree, START + RECAP.replace("unreachable=0", "unreachable=1"), at("12:02:46"))
    assert (look(tree).last.status, look(tree).last.reason) == ("aborted", "the play stopped at a failed task")


def test_a_run_without_a_recap_failed_or_is_under_way(tree: Path) -> None:
    log(tree, START, at("12:02:46"))
    assert (look(tree).last.status, look(tree).last.reason) == ("aborted", "it ended without a PLAY RECAP")
    log(tree, UNCHANGED + START, at("12:02:46"))
    (tree / "proc/15709/cmdline").write_text("python3\0/usr/bin/ansible-pull\0")
    found = look(tree)
    assert found.lock == Lock("its log", 15709, True, utc(at("12:02:44")))
    assert found.last.status == "ok"
    log(tree, START, at("12:02:46"))
    assert look(tree).last is None
    assert look(tree).lock.pid == 15709


def test_a_play_that_had_no_task_did_nothing(tree: Path) -> None:
    log(tree, START + RECAP.replace("ok=3", "ok=0").replace("changed=1", "changed=0"), at("12:02:46"))
    assert look(tree).last.status == "empty"


def test_a_log_that_was_just_rotated(tree: Path) -> None:
    log(tree, START + RECAP, at("12:02:46"), "ansible-pull.log.1")
    log(tree, "", at("12:03:00"))
    assert look(tree).last.status == "changed"


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ('{"rc": 0, "start": 90, "end": 100}', LastRun(utc(100), "ok", seconds=10.0)),
        ('{"rc": 2, "start": 90, "end": 100}', LastRun(utc(100), "aborted", seconds=10.0, reason="exit status 2")),
        ('{"rc": 0, "changed": 3, "failures": 0}', LastRun(utc(7), "changed", 0, 3)),
        ("", LastRun(utc(7), "ok")),
    ],
)
def test_a_stamp(text: str, run: LastRun) -> None:
    assert ansible_pull.stamp(text, 7.0) == run


@pytest.mark.parametrize("text", ["{", "[]", '{"end": 7}', '{"rc": "0"}', "\0"])
def test_what_is_no_stamp_is_not_understood(tree: Path, text: str) -> None:
    with pytest.raises(Failed) as caught:
        ansible_pull.stamp(text, 7.0)
    assert caught.value.kind == UNREADABLE


def test_stamp_and_log_of_one_run_are_put_together(tree: Path) -> None:
    end = at("12:02:46")
    log(tree, START + RECAP, end)
    log(tree, f'{{"rc": 0, "start": {end - 9:.0f}, "end": {end + 1:.0f}}}', end + 1, "ansible-pull.json")
    assert look(tree).last == LastRun(utc(end + 1), "changed", 0, 1, None, 0.0, 10.0)
    log(tree, f'{{"rc": 4, "end": {end + 1:.0f}}}', end + 1, "ansible-pull.json")
    assert (look(tree).last.status, look(tree).last.reason) == ("aborted", "exit status 4")
    log(tree, f'{{"rc": 0, "end": {end + 900:.0f}}}', end + 900, "ansible-pull.json")
    assert look(tree).last == LastRun(utc(end + 900), "ok")
    log(tree, f'{{"rc": 0, "end": {end - 900:.0f}}}', end - 900, "ansible-pull.json")
    assert look(tree).last.status == "changed"  # the log is the newer one


def test_nothing_left_is_said(tree: Path) -> None:
    failed = look(tree).last
    assert (failed.kind, failed.error) == (UNREADABLE, "no run has left a result")
    log(tree, "2026-11-21 12:02:44,762 p=1 u=root n=ansible | some ad-hoc command\n", 7)
    assert look(tree).last.kind == UNREADABLE
