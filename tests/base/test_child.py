# SPDX-License-Identifier: Apache-2.0
"""Children: answers, failures, lateness, and that one which can't be killed is left alone until it is gone."""

import os
import signal
import stat
import time

import pytest
from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, child


def script(tmp_path, body, name="tool"):
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def alive(pid):
    """Whether a process lives, a moment from now: SIGKILL takes one to do its work on what is not our own child."""
    end = time.monotonic() + 5
    while child.start_time(pid) is not None and time.monotonic() < end:
        time.sleep(0.01)
    return child.start_time(pid) is not None


def test_a_command_answers_with_status_and_both_outputs(tmp_path):
    tool = script(tmp_path, 'echo "out $1"; echo err >&2; exit 4')
    assert child.command([tool, "a b"], Run()) == child.Answer(4, "out a b\n", "err\n")


def test_a_command_gets_a_bare_environment_no_stdin_and_its_own_session(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter22")
    tool = script(tmp_path, "env; cat; pwd; ps -o sid= -p $$ 2>/dev/null")
    out = child.command([tool], Run(), env={"EXTRA": "1"}).out
    assert "hunter22" not in out
    assert {"LC_ALL=C", "EXTRA=1", f"PATH={child.PATH}"} <= set(out.splitlines())
    assert child.command([script(tmp_path, "cat", "in")], Run(), stdin=b"given").out == "given"


def test_bytes_that_are_no_text_are_replaced(tmp_path):
    assert child.command([script(tmp_path, "printf 'a\\377b'")], Run()).out == "a\ufffdb"


@pytest.mark.parametrize(("argv", "kind"), [(["nosuchprogram"], ABSENT), (["/nonexistent/tool"], ABSENT)])
def test_a_missing_program_is_absent(argv, kind):
    with pytest.raises(Failed, match="is not installed") as raised:
        child.command(argv, Run(), of="thing")
    assert (raised.value.kind, raised.value.of) == (kind, "thing")


def test_a_program_without_the_x_bit_is_not_allowed(tmp_path):
    path = tmp_path / "plain"
    path.write_text("")
    with pytest.raises(Failed, match="may not be executed") as raised:
        child.command([str(path)], Run())
    assert raised.value.kind == NOT_ALLOWED


def test_a_silent_command_is_killed_with_its_children(tmp_path):
    tool = script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    begun = time.monotonic()
    with pytest.raises(Failed, match=r"no answer in 0\.3 s") as raised:
        child.command([tool], Run(8), seconds=0.3)
    assert time.monotonic() - begun < 0.8
    assert raised.value.kind == UNREACHABLE
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_command_that_can_not_be_killed_is_not_started_again(tmp_path, monkeypatch):
    tool = script(tmp_path, f"echo x >> {tmp_path}/starts; exec sleep 30")
    kill = child._kill_all
    monkeypatch.setattr(child, "_kill_all", set)  # they all stay, as in uninterruptible sleep
    run = Run()
    errors = []
    for _ in range(10):
        with pytest.raises(Failed) as caught:
            child.command([tool, "a"], run, seconds=0.5)
        errors.append(caught.value.error)
    ((name, (pid, started, _)),) = run.hung.items()
    assert (name, child.start_time(pid)) == (f"run {tool} a", started)
    assert errors == ["no answer in 0.5 s"] + [f"hung for 0 min: process {pid} still waits in the kernel for it"] * 9
    assert (tmp_path / "starts").read_text() == "x\n"
    monkeypatch.undo()
    kill([pid])
    assert not alive(pid)
    script(tmp_path, "echo back")
    assert child.command([tool, "a"], run).out == "back\n"
    assert run.hung == {}


def test_what_a_script_has_started_and_can_not_be_killed_is_not_started_again(tmp_path, monkeypatch):
    starts = script(tmp_path, f"sleep 30 & echo $! >> {tmp_path}/pids; wait", "waits")
    leaves = script(tmp_path, f"sleep 30 & echo $! >> {tmp_path}/pids", "leaves")
    kill = os.killpg
    # Of the groups nobody dies, as in uninterruptible sleep; who leads them does.
    monkeypatch.setattr(os, "killpg", lambda group, number: kill(group, 0))
    run = Run()
    for tool, said in (
        (starts, "no answer in 0.5 s"),
        (leaves, "it ended, and something that it started holds its output"),
    ):
        (tmp_path / "pids").unlink(missing_ok=True)
        for number in range(3):
            with pytest.raises(Failed) as caught:
                child.command([tool], run, seconds=0.5)
            assert caught.value.error.startswith("hung for 0 min: process " if number else said), caught.value.error
        (pid,) = map(int, (tmp_path / "pids").read_text().split())
        assert run.hung[f"run {tool}"][:2] == [pid, child.start_time(pid)]
        os.kill(pid, signal.SIGKILL)
        assert not alive(pid)


def test_a_command_that_hung_is_forgotten_when_it_is_gone_though_another_is_run(tmp_path):
    run = Run(
        hung={"run tool of-yesterday": [os.getpid(), 1, 1], "lives": [os.getpid(), child.start_time(os.getpid()), 1]}
    )
    child.command([script(tmp_path, "echo")], run)
    assert list(run.hung) == ["lives"]


def test_a_command_that_closed_its_outputs_and_goes_on_is_late(tmp_path):
    with pytest.raises(Failed, match="no answer"):
        child.command([script(tmp_path, "exec >&- 2>&-; sleep 60")], Run(8), seconds=0.3)


def test_an_answer_that_is_not_whole_is_no_answer(tmp_path):
    for _ in range(5):  # whether it has exited when the limit is seen is a race
        with pytest.raises(Failed, match="more than 1000 bytes of output"):
            child.command([script(tmp_path, "head -c 60000 /dev/zero")], Run(), limit=1000)
    holder = script(tmp_path, f"echo a; (sleep 30; echo b) & echo $! > {tmp_path}/pid; exit 0", "holder")
    begun = time.monotonic()
    with pytest.raises(Failed, match="holds its output open") as raised:
        child.command([holder], Run(8))
    assert time.monotonic() - begun < 1
    assert raised.value.kind == UNREADABLE
    assert not alive(int((tmp_path / "pid").read_text()))


def test_nothing_is_begun_without_time(tmp_path):
    with pytest.raises(Failed, match="not begun") as raised:
        child.command([script(tmp_path, f"touch {tmp_path}/begun")], Run(0))
    assert raised.value.kind == LATE
    assert not (tmp_path / "begun").exists()


def test_a_command_does_not_outlive_an_interruption(tmp_path):
    class Interrupted(BaseException):
        pass

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Interrupted):
            child.command([script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 30")], Run(8))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_odd_arguments(tmp_path):
    with pytest.raises(Failed, match="null byte"):
        child.command([script(tmp_path, "true"), "a\0b"], Run())
    with pytest.raises(ValueError, match="do not fit"):
        child.command([script(tmp_path, "cat")], Run(), stdin=b"x" * 70_000)


def test_a_child_that_answers_and_can_not_exit_is_not_waited_for():
    def stubborn():
        os.closerange(3, 64)  # the pipe too: for the parent it has ended
        time.sleep(30)

    begun = time.monotonic()
    answers = child.each(Run(4), {"x": stubborn}, tried="look", seconds=1)
    assert time.monotonic() - begun < 1
    assert answers["x"] == Failed(UNREADABLE, "x", "look", "the child died without an answer")


def test_no_more_processes_is_told_for_each(monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fork", refuse)
    answers = child.each(Run(), {"x": lambda: 1, "y": lambda: 2}, tried="look")
    assert {failed.error for failed in answers.values()} == {"Resource temporarily unavailable"}
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_flood_is_cut(tmp_path):
    with pytest.raises(Failed, match="more than 100000 bytes of output") as raised:
        child.command([script(tmp_path, "yes")], Run(), limit=100_000)
    assert raised.value.kind == UNREADABLE


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("sudo: a password is required", True),
        ("Sorry, user nagios is not allowed to execute '/bin/true' as root on node1.", True),
        ("nagios is not in the sudoers file.", True),
        ("nagios is not in the sudoers file.  This incident will be reported.", True),
        ("Sorry, user nagios may not run sudo on node1.", True),
        ("sudo: unable to resolve host node1: Name or service not known", False),
        ("find: '/proc/12': No such file or directory", False),
    ],
)
def test_a_refusal_of_sudo_is_told_from_a_command_that_fails(tmp_path, monkeypatch, said, refused):
    """The words are those of sudo 1.9.13 (Debian 12); the stand-in says them as sudo does, on stderr with status 1."""
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin", f'echo "{said}" >&2; exit 1', "sudo")
    monkeypatch.setattr(child, "PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if refused:
        with pytest.raises(Failed) as raised:
            child.command(["true"], Run(), sudo=True)
        assert (raised.value.kind, raised.value.error) == (NOT_ALLOWED, said)
    else:
        assert child.command(["true"], Run(), sudo=True).status == 1


def test_each_gives_every_answer_in_order():
    run = Run()
    jobs = {str(number): (lambda n=number: [n, n * 2]) for number in range(40)}
    answers = child.each(run, jobs, tried="double")
    assert answers == {str(number): [number, number * 2] for number in range(40)}
    assert list(answers) == list(jobs)
    assert run.hung == {}


def raiser(error):
    raise error


def test_each_tells_failures_apart():
    answers = child.each(
        Run(),
        {
            "failed": lambda: raiser(Failed(ABSENT, "failed", "a", "b", "c")),
            "denied": lambda: raiser(PermissionError(13, "Permission denied")),
            "bug": lambda: 1 / 0,
            "died": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "odd": lambda: {"\udcff": "\ud800"},
            "big": lambda: "x" * 3_000_000,
        },
        tried="do it",
    )
    assert answers["failed"] == Failed(ABSENT, "failed", "a", "b", "c")
    assert answers["denied"] == Failed(NOT_ALLOWED, "denied", "do it", "Permission denied")
    assert answers["bug"] == Failed(UNREADABLE, "bug", "do it", "ZeroDivisionError: division by zero")
    assert answers["died"] == Failed(UNREADABLE, "died", "do it", "the child died without an answer")
    assert answers["odd"] == {"\udcff": "\ud800"}
    assert len(answers["big"]) == 3_000_000


def test_late_children_are_killed_side_by_side():
    run = Run(8)
    begun = time.monotonic()
    jobs = {**{str(n): (lambda: time.sleep(60)) for n in range(10)}, "ok": lambda: 1}
    answers = child.each(run, jobs, tried="sleep", seconds=0.3)
    assert time.monotonic() - begun < 2
    assert answers.pop("ok") == 1
    assert {failed.kind for failed in answers.values()} == {UNREACHABLE}
    assert answers["3"].error == "no answer in 0.3 s"
    assert run.hung == {}  # a sleeper dies of SIGKILL: nothing is left to remember


def test_what_was_not_begun_in_time_is_late():
    answers = child.each(Run(0.6), {str(n): (lambda: time.sleep(60)) for n in range(20)}, tried="sleep", seconds=5)
    assert answers["19"] == Failed(LATE, "19", "sleep", "not begun: the time was up")
    assert answers["0"].kind == UNREACHABLE


def test_an_object_whose_child_still_lives_is_not_touched_again():
    sleeper = os.fork()
    if not sleeper:
        time.sleep(60)
        os._exit(0)
    try:
        touched = []
        run = Run(hung={"/mnt": [sleeper, child.start_time(sleeper), time.time() - 600]})
        answers = child.each(run, {"/mnt": lambda: touched.append(1)}, tried="stat")
        assert answers["/mnt"].error.startswith(f"hung for 10 min: process {sleeper} still waits")
        assert run.hung
    finally:
        os.kill(sleeper, signal.SIGKILL)
        os.waitpid(sleeper, 0)
    assert child.each(run, {"/mnt": lambda: "back"}, tried="stat") == {"/mnt": "back"}
    assert run.hung == {}


def test_a_pid_that_belongs_to_another_process_by_now_holds_nothing_back():
    run = Run(hung={"/mnt": [os.getpid(), 1, time.time()]})
    assert child.each(run, {"/mnt": lambda: 5}, tried="stat") == {"/mnt": 5}


def test_a_child_holds_no_descriptor_of_its_parent(tmp_path):
    with open(tmp_path / "held", "w"):
        answers = child.each(
            Run(),
            {
                "x": lambda: [
                    os.readlink(f"/proc/self/fd/{fd}")
                    for fd in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{fd}")
                ]
            },
            tried="look",
        )
    assert [path for path in answers["x"] if "held" in path] == []


def test_start_time_of_this_process_and_of_none():
    assert child.start_time(os.getpid()) > 0
    assert child.start_time(2**22 + 1) is None


def test_find_takes_programs_only(tmp_path):
    assert stat.S_ISREG(os.stat(child.find("sh")).st_mode)
    assert child.find(str(tmp_path / "nosuch")) is None
