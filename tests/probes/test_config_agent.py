# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run, child
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
    monkeypatch.setattr(scheduled, "look", lambda run, is_daemon, starts: schedule)
    found = agent(tmp_path)
    assert (found.started, found.unstarted, found.failures) == (started, unstarted, failures)
    found = agent(tmp_path, schedules=False)
    assert (found.started, found.unstarted, found.failures) == ((), "", ())


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
