# SPDX-License-Identifier: Apache-2.0
import errno
import os
import socket

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run, attempt, files


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), NOT_ALLOWED),
        (OSError(errno.EPERM, "Operation not permitted"), NOT_ALLOWED),
        (FileNotFoundError(errno.ENOENT, "No such file"), ABSENT),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), UNREACHABLE),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), UNREACHABLE),
        (OSError(errno.ESTALE, "Stale file handle"), UNREACHABLE),
        (OSError(errno.EIO, "Input/output error"), UNREACHABLE),
        (TimeoutError("timed out"), UNREACHABLE),
        (socket.timeout("timed out"), UNREACHABLE),
        (socket.gaierror(-2, "Name or service not known"), UNREACHABLE),
        (OSError(errno.EISDIR, "Is a directory"), UNREADABLE),
        (OSError("odd"), UNREADABLE),
    ],
)
def test_an_os_error_has_its_kind(error, kind):
    failed = Failed.of_os_error("x", "try", error)
    assert failed.kind == kind
    assert failed.error


def test_failures_compare_by_what_they_say():
    assert Failed(ABSENT, "a", "b", "c") == Failed(ABSENT, "a", "b", "c")
    assert Failed(ABSENT, "a", "b", "c") != Failed(UNREADABLE, "a", "b", "c")
    assert len({Failed(ABSENT, "a", "b", "c"), Failed(ABSENT, "a", "b", "c")}) == 1
    assert str(Failed(ABSENT, "a", "b", "c")) == "b: c"


def test_a_failure_is_not_changed_after_it_was_made():
    """What is copied and compared is `args`: words put into an attribute would be lost on the way to line 1."""
    failed = Failed(ABSENT, "a", "b", "c", "d")
    for name in ("kind", "of", "tried", "error", "cure"):
        with pytest.raises(AttributeError):
            setattr(failed, name, "x")
    assert Failed(*failed.args) == failed


def test_time_left_keeps_the_answers_share_back():
    assert 6.9 < Run(8).left() <= 7
    assert 0.2 < Run(0.5).left() <= 0.25
    assert Run(0.0).left() == 0


def test_clock_can_be_ahead():
    assert Clock(100).time() - Clock().time() > 99
    assert Clock(100).boottime() - Clock().boottime() > 99
    assert Run(8, clock=Clock(3600)).now().tzinfo is not None
    assert 6.9 < Run(8, clock=Clock(3600)).left() <= 7


def test_filters_remember_what_they_left_out():
    run = Run(include=("/srv*", "/var"), exclude=("/srv/x",))
    assert [name for name in ("/srv", "/srv/x", "/var", "/tmp") if run.wants(name)] == ["/srv", "/var"]
    assert run.left_out == {"/srv/x", "/tmp"}


def test_stages_are_bounded():
    run = Run()
    for number in range(1000):
        run.stage(f"stage {number}")
    assert len(run.stages) == 200
    assert run.stages[-1] == "stage 999"


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "loadavg").write_text("0.1 0.2 0.3 1/2 3\n")
    (tmp_path / "proc" / "number").write_text("-42\n")
    (tmp_path / "proc" / "bytes").write_bytes(b"a\xffb")
    return Run(root=str(tmp_path))


def test_files_are_read_below_the_root(tree):
    assert files.text(tree, "/proc/loadavg") == "0.1 0.2 0.3 1/2 3\n"
    assert files.number(tree, "/proc/number") == -42
    assert files.text(tree, "/proc/bytes") == "a\ufffdb"
    assert files.names(tree, "/proc") == ["bytes", "loadavg", "number"]


def test_files_that_can_not_be_read_say_why(tree):
    for read, path, kind, said in (
        (files.text, "/proc/nosuch", ABSENT, "read /proc/nosuch: No such file or directory"),
        (files.text, "/proc", UNREADABLE, "read /proc: Is a directory"),
        (files.number, "/proc/loadavg", UNREADABLE, "not a number"),
        (files.names, "/proc/loadavg", ABSENT, "list /proc/loadavg: Not a directory"),
    ):
        with pytest.raises(Failed) as raised:
            read(tree, path)
        assert raised.value.kind == kind
        assert said in str(raised.value)
        assert raised.value.of == path


def test_files_are_bounded(tree):
    with pytest.raises(Failed, match="larger than 5 bytes"):
        files.text(tree, "/proc/loadavg", limit=5)
    assert files.text(tree, "/proc/loadavg", limit=18)
    with pytest.raises(Failed, match="more than 2 entries"):
        files.names(tree, "/proc", limit=2)


def test_a_pipe_without_a_writer_does_not_hold_a_read_up(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert files.text(Run(root=str(tmp_path)), "/fifo") == ""


def test_an_attempt_is_the_facts_or_the_failure_in_their_place():
    def ask(number, of="x"):
        if number:
            raise Failed(ABSENT, of, "look", "nothing there")
        return "facts"

    assert attempt(ask, 0) == "facts"
    assert attempt(ask, 1, "y") == Failed(ABSENT, "y", "look", "nothing there")
    with pytest.raises(ZeroDivisionError):  # a bug is no failure to look
        attempt(lambda: 1 / 0)


def test_a_signal_waits_for_a_log_in_and_not_for_more():
    run, said = Run(10.0), []

    def log_in():
        assert run.owing == 1.5
        run.interrupt(KeyError("SIGTERM"))
        said.append("logged in")

    with pytest.raises(KeyError):
        run.held(log_in, 1.5)
    assert said == ["logged in"]
    # The log-out is still owed until it was tried; what ended the run comes again after it.
    assert run.owing == 1.5
    with pytest.raises(KeyError):
        run.held(lambda: said.append("logged out"), 0.0)
    assert (said, run.owing) == (["logged in", "logged out"], 0.0)


def test_a_log_in_that_fails_owes_nothing():
    run = Run(10.0)

    def log_in():
        raise Failed(UNREACHABLE, "", "log in", "no answer")

    with pytest.raises(Failed):
        run.held(log_in, 1.5)
    assert run.owing == 0.0
    assert run.held(lambda: 5, 1.5) == 5
    assert run.owing == 1.5
    with pytest.raises(KeyError):
        run.interrupt(KeyError("SIGTERM"))  # at once, when nothing is held
