# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run, child, files
from nephoscope.probes import config_agent, scheduled
from nephoscope.probes.config_agent import Agent, LastRun
from nephoscope.probes.scheduled import Schedule

from tests.probes.test_puppet import AT, CHANGED, UNCHANGED

DENIED = Failed(NOT_ALLOWED, "/var/spool/cron/crontabs", "list it", "Permission denied")
NOTHING = "neither a daemon nor a timer nor a cron entry"


class At(Clock):
    def __init__(self, after: float) -> None:
        super().__init__()
        self.after = after

    def time(self) -> float:
        return AT.timestamp() + self.after


def agent(tree: Path, after: float = 600, before: object = None, **words: object) -> Agent:
    summary = tree / "var/cache/puppet/public/last_run_summary.yaml"
    if not summary.exists():
        summary.parent.mkdir(parents=True)
        summary.write_text(UNCHANGED)
    run = Run(root=str(tree), clock=At(after), before=before)
    (found,) = config_agent.look(run, ("puppet",), **words)
    assert isinstance(found, Agent)
    return found


@pytest.mark.parametrize(
    ("schedule", "started", "unstarted", "failures"),
    [
        (Schedule(), (), NOTHING, ()),
        (Schedule((), ("x.timer is inactive",)), (), "x.timer is inactive", ()),
        (Schedule((), (), (DENIED,)), (), "", (DENIED,)),
        (Schedule((), ("x.timer is inactive",), (DENIED,)), (), "x.timer is inactive", (DENIED,)),
        (Schedule(("timer y",), ("x.timer is inactive",), (DENIED,)), ("timer y",), "", ()),
    ],
)
def test_nothing_found_is_only_nothing_when_all_was_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: Schedule,
    started: tuple[str, ...],
    unstarted: str,
    failures: tuple[Failed, ...],
) -> None:
    monkeypatch.setattr(scheduled, "look", lambda run, is_daemon, starts, scan: schedule)
    found = agent(tmp_path)
    assert (found.started, found.unstarted, found.failures) == (started, unstarted, failures)
    found = agent(tmp_path, schedules=False)
    assert (found.started, found.unstarted, found.failures) == ((), "", ())


@pytest.fixture
def readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[tuple[int, str]]]:
    """Which process has read the command lines: pid and path. That of 813 is stuck, and so is who reads it."""
    real = files.text
    log = tmp_path / "readers"
    log.write_text("")

    def text(run: Run, path: str, **words: Any) -> str:
        if path.endswith("/cmdline"):
            with open(log, "a") as lines:
                lines.write(f"{os.getpid()} {path}\n")
        if path == "/proc/813/cmdline":
            time.sleep(60)
        return real(run, path, **words)

    monkeypatch.setattr(files, "text", text)
    return lambda: [(int(line.split()[0]), line.split()[1]) for line in log.read_text().splitlines()]


def host(tmp_path: Path, *pids: int) -> str:
    for path in ("usr/bin/puppet", "usr/bin/cf-agent", "usr/bin/ansible-pull", "var/cache/puppet/state/state.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    for pid in pids:
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/cmdline").write_text("puppet\0agent\0")
        (tmp_path / f"proc/{pid}/status").write_text(f"NSpid:\t{pid}\n")
    return str(tmp_path)


def test_command_lines_are_read_once_for_all_agents_and_never_by_the_check_itself(
    tmp_path: Path, readers: Callable[[], list[tuple[int, str]]]
) -> None:
    run = Run(root=host(tmp_path, 1, 812))
    (tmp_path / "var/cache/puppet/state/agent_catalog_run.lock").write_text("812")
    puppet, cfengine = config_agent.look(run)
    assert (puppet.started, cfengine.unstarted) == (("daemon, pid 1", "daemon, pid 812"), NOTHING)
    assert puppet.lock is not None
    assert puppet.lock.alive
    paths = [path for _, path in readers()]
    # The one of the lock is asked for by itself.
    assert sorted(paths) == ["/proc/1/cmdline", "/proc/812/cmdline", "/proc/812/cmdline"]
    assert os.getpid() not in {pid for pid, _ in readers()}


def test_a_process_that_is_stuck_hangs_no_check(tmp_path: Path, readers: Callable[[], list[tuple[int, str]]]) -> None:
    run = Run(1.0, root=host(tmp_path, 1, 813))
    for agent in config_agent.look(run):
        assert (agent.started, agent.unstarted) == ((), "")
        assert [(failed.kind, failed.tried) for failed in agent.failures] == [(UNREACHABLE, "list the processes")]
    assert [path for _, path in readers()] == ["/proc/1/cmdline", "/proc/813/cmdline"]


def test_the_lock_of_a_process_that_is_stuck_is_not_stale(
    tmp_path: Path, readers: Callable[[], list[tuple[int, str]]]
) -> None:
    root = host(tmp_path, 1, 813)
    (tmp_path / "var/cache/puppet/state/agent_catalog_run.lock").write_text("813")
    (found,) = config_agent.look(Run(1.0, root=root), ("puppet",), schedules=False)
    assert found.lock is None
    assert [(failed.kind, failed.tried) for failed in found.failures] == [(UNREACHABLE, "read its command line")]


def test_a_run_that_is_yet_to_come_has_no_age(tmp_path: Path) -> None:
    found = agent(tmp_path, after=-3600, schedules=False)
    error = "the last run ended at 2026-11-21 11:53 UTC, later than now"
    assert found.failures == (Failed(UNREADABLE, "puppet", "tell its age", error),)
    assert agent(tmp_path, after=-60, schedules=False).failures == ()  # clocks of two programs on one host
    assert found.since(AT) == 0.0
    assert found.since(AT - timedelta(hours=2)) == 3600.0


def test_a_first_run_that_is_under_way_is_not_never(tmp_path: Path) -> None:
    for path, text in (
        ("proc/812/cmdline", "puppet\0agent\0"),
        ("var/cache/puppet/state/agent_catalog_run.lock", "812"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/puppet").write_text("")
    (found,) = config_agent.look(Run(root=str(tmp_path)), (), schedules=False)
    assert isinstance(found, Agent)
    assert [failed.error for failed in found.failures] == ["its first run is under way"]
    (tmp_path / "proc/812/cmdline").unlink()
    (found,) = config_agent.look(Run(root=str(tmp_path)), (), schedules=False)
    assert isinstance(found, Agent)
    assert (found.failures, found.last) == ((), None)


def test_an_agent_that_could_not_be_looked_at_keeps_its_count(tmp_path: Path) -> None:
    run = Run(root=str(tmp_path), before={"chef": [7.0, 3]})
    (found,) = config_agent.look(run, ("chef",))
    assert (found.last, found.changed_runs, found.counted) == (None, 3, 7.0)
    assert [(failed.kind, failed.error) for failed in found.failures] == [(ABSENT, "chef is not installed")]


def test_runs_with_changes_are_counted_once_each(tmp_path: Path) -> None:
    summary = tmp_path / "var/cache/puppet/public/last_run_summary.yaml"
    assert agent(tmp_path, schedules=False).changed_runs == 0
    summary.write_text(CHANGED)
    for before, expected in (
        (None, 1),
        ({"puppet": [AT.timestamp() - 1800, 3]}, 4),
        ({"puppet": [AT.timestamp(), 3]}, 3),
        ({"puppet": "garbage"}, 1),
        ("garbage", 1),
    ):
        found = agent(tmp_path, before=before, schedules=False)
        assert (found.changed_runs, found.counted) == (expected, AT.timestamp())
    summary.write_text(UNCHANGED)
    assert agent(tmp_path, before={"puppet": [7.0, 3]}, schedules=False).changed_runs == 0
    summary.write_text("garbage")  # it could not be told: the count waits
    found = agent(tmp_path, before={"puppet": [7.0, 3]}, schedules=False)
    assert (found.changed_runs, found.counted) == (3, 7.0)


def test_the_end_of_a_large_file_is_read_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "wb") as log:
        log.truncate(1 << 30)  # sparse
        log.seek(0, os.SEEK_END)
        log.write(b"the end\n")
    text = config_agent.tail(Run(root=str(tmp_path)), "/log", "x")
    assert len(text) == config_agent.TAIL
    assert text.endswith("the end\n")


def test_a_closed_file_is_asked_for_by_the_one_command_of_sudoers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    answer = child.Answer(0, "---\n", "")

    def closed(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    def command(argv: list[str], run: Run, **words: object) -> child.Answer:
        asked.append((argv, words))
        return answer

    monkeypatch.setattr(config_agent.os, "open", closed)
    monkeypatch.setattr(child, "command", command)
    path = "/var/lib/cfengine3/promise_summary.log"
    assert config_agent.tail(Run(), path, "cfengine") == "---\n"
    assert asked == [(["/usr/bin/tail", "-c", "262144", path], {"of": "cfengine", "sudo": True})]
    answer = child.Answer(1, "", "/usr/bin/tail: cannot open '…' for reading: No such file or directory\n")
    with pytest.raises(Failed) as caught:
        config_agent.tail(Run(), path, "cfengine")
    assert caught.value.kind == ABSENT
    asked.clear()
    with pytest.raises(Failed) as caught:
        config_agent.tail(Run(), "/etc/shadow", "cfengine", "a cure")
    assert (caught.value.kind, caught.value.cure, asked) == (NOT_ALLOWED, "a cure", [])


def test_a_refused_sudo_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    def refused(argv: list[str], run: Run, **words: object) -> child.Answer:
        raise Failed(NOT_ALLOWED, "cfengine", "run tail", "sudo: a password is required")

    monkeypatch.setattr(config_agent.os, "open", closed)
    monkeypatch.setattr(child, "command", refused)
    with pytest.raises(Failed) as caught:
        config_agent.tail(Run(), config_agent.CLOSED[0], "puppet", "a sudoers line")
    assert (caught.value.kind, caught.value.cure) == (NOT_ALLOWED, "a sudoers line")


@pytest.mark.parametrize("text", ["puppet", "puppet=", "puppet=relative", "cfengin=/var"])
def test_a_place_is_name_and_absolute_path(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=PATH"):
        config_agent.place(text)
    assert config_agent.place("puppet=/a=b") == ("puppet", "/a=b")


@pytest.mark.parametrize("status", ["ok", "changed", "failed", "aborted", "empty", "skipped"])
def test_every_status_has_words(status: str) -> None:
    assert "in the run of 2026-11-21 11:53 UTC: x" in LastRun(AT, status, reason="x").words


def test_a_run_that_left_things_out_of_sync_had_something_to_do() -> None:
    assert LastRun(AT, "ok", out_of_sync=14).words == "changed nothing in the run of 2026-11-21 11:53 UTC"
