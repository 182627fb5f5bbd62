# SPDX-License-Identifier: Apache-2.0
"""`nephoscope run` outlives whatever a check does: hangs, crashes, dies, floods, leaves children behind."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from nephoscope.cli import running
from nephoscope.cli.running import Job, Result, Runner
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING


def outcome(state: int = OK, reason: str = "fine", **more: Any) -> SimpleNamespace:
    fields = {"line": f"X - {reason}", "text": f"X - {reason}\n", "items": [], "perfdata": [], "absent": False}
    return SimpleNamespace(state=state, reason=reason, **{**fields, **more})


def run(*looks: Callable[[], Any], **words: Any) -> dict[str, Result]:
    seconds = words.pop("each", 8.0)
    jobs = [Job(f"check_{number}", (), "label", look, seconds) for number, look in enumerate(looks)]
    return {result.name: result for result in Runner(jobs, **words).run()}


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE", 0.2)


def test_an_outcome_arrives_whole() -> None:
    made = outcome(WARNING, "a | b é \udcff", text="line\n" * 5000, items=[["x", 1]], perfdata=["a=1"], absent=True)
    result = run(lambda: made)["check_0"]
    assert result[3:10] == (WARNING, made.reason, made.line, made.text, [["x", 1]], ["a=1"], True)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def segfault() -> None:
    faulthandler.disable()
    os.write(1, b"about to\n")
    ctypes.string_at(0)


def raises() -> None:
    raise RuntimeError("no such luck")


def leaves() -> None:
    os.write(2, b"the library's\nlast words\n")
    os._exit(7)


def test_what_dies_is_unknown_and_the_others_go_on() -> None:
    results = run(segfault, raises, leaves, lambda: die(signal.SIGKILL), lambda: sys.exit(0), lambda: outcome(CRITICAL))
    assert [results[f"check_{number}"].state for number in range(6)] == [UNKNOWN] * 5 + [CRITICAL]
    assert "by signal SIGSEGV: about to" in results["check_0"].reason
    assert "RuntimeError: no such luck" in results["check_1"].reason
    assert results["check_2"].reason == "ended without an answer, with exit status 7: last words"
    assert "by signal SIGKILL" in results["check_3"].reason
    assert results["check_4"].state == UNKNOWN


def hang(folder: Path) -> None:
    """Ignore SIGTERM, and leave a child in a session of its own that holds the pipe open."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        os.setsid()
    (folder / ("grandchild" if child == 0 else "child")).write_text(str(os.getpid()))
    time.sleep(60)


def wait_gone(pid: int) -> bool:
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    results = run(lambda: hang(tmp_path), outcome, each=0.5)
    assert abs(time.monotonic() - began - 0.7) < 0.5
    assert results["check_0"].state == UNKNOWN
    assert results["check_0"].reason == "no answer 0.2 s after its deadline of 0.5 s: ended"
    assert results["check_1"].state == OK
    assert wait_gone(int((tmp_path / "child").read_text()))
    assert wait_gone(int((tmp_path / "grandchild").read_text()))


def answers_but_leaves_a_child(folder: Path) -> SimpleNamespace:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    (folder / "grandchild").write_text(str(child))
    return outcome(WARNING, "answered")


def test_a_child_left_behind_does_not_hold_the_answer_up(tmp_path: Path) -> None:
    began = time.monotonic()
    result = run(lambda: answers_but_leaves_a_child(tmp_path))["check_0"]
    assert (result.state, result.reason) == (WARNING, "answered")
    assert time.monotonic() - began < 0.5
    os.kill(int((tmp_path / "grandchild").read_text()), signal.SIGKILL)


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LIMIT", 1 << 20)
    result = run(lambda: outcome(text="x" * (3 << 20)))["check_0"]
    assert (result.state, result.reason) == (UNKNOWN, "answered more than 1 MiB: ended")


def test_the_time_of_the_whole_run_is_kept_and_what_is_known_is_told() -> None:
    began = time.monotonic()
    results = run(outcome, lambda: time.sleep(60), outcome, lambda: outcome(CRITICAL), parallel=2, seconds=0.5, each=60)
    assert abs(time.monotonic() - began - 0.5) < 0.5
    assert [results[f"check_{number}"].state for number in range(4)] == [OK, UNKNOWN, OK, CRITICAL]
    assert results["check_1"].reason == "the time for the whole run is over: ended"
    results = run(lambda: time.sleep(60), outcome, parallel=1, seconds=0.2, each=60)
    assert results["check_1"].reason == "not run: the time for the whole run is over"


def test_never_more_at_a_time_than_asked(tmp_path: Path) -> None:
    def look() -> SimpleNamespace:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.05)
        seen = len(list(tmp_path.iterdir()))
        (tmp_path / str(os.getpid())).unlink()
        return outcome(reason=str(seen))

    results = run(*[look] * 9, parallel=3)
    assert max(int(result.reason) for result in results.values()) == 3


def test_stdin_is_empty_and_nothing_reaches_our_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    def look() -> SimpleNamespace:
        os.write(1, b"noise")
        os.write(2, b"noise")
        return outcome(reason=repr(os.read(0, 10)))

    assert run(look)["check_0"].reason == "b''"
    assert capfd.readouterr() == ("", "")


def leave_nothing() -> None:
    before = set(os.listdir("/proc/self/fd"))
    run(outcome, segfault, lambda: time.sleep(60), each=0.2)
    assert set(os.listdir("/proc/self/fd")) == before
    assert [child.pid for child in psutil.Process().children()] == []


def test_no_descriptor_and_no_zombie_is_left() -> None:
    """In a process of its own: what other tests left open may be closed meanwhile, and the two sets would differ by it."""
    code = "from tests.cli import test_running; test_running.leave_nothing()"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
