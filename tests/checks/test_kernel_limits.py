# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Failed
from nephoscope.checks.node.check_kernel_limits import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.kernel import Kernel, Limit, Loops, Overflow

from tests.probes.trees import GUEST

WELL = Kernel(
    (Limit("files", 10, 100), Limit("neigh", 5, 10, "ipv6")),
    (Overflow("neigh_full_rate", 0.0, "ipv6"),),
    Loops(3, 8, True),
    "PO",
)
HIDDEN = Failed(NOT_ALLOWED, "inotify", "list /proc/*/fd", "the files of some processes are hidden")


def judged(seen, *argv):
    return list(judge(seen, CHECK.parse(*argv)))


def test_all_of_a_good_one():
    assert judged(WELL) == [
        Metric("files", 10.0, "", 0, 100),
        Metric("neigh", 50.0, "ipv6", 0, 100),
        Metric("neigh_full_rate", 0.0, "ipv6"),
        Metric("loop_used", 3),
        Finding(OK, "", "fullest of 2 tables is ipv6 neigh, 5 of 10, 3 loop devices in use, kernel tainted by PO"),
    ]


def test_a_table_without_a_limit_is_never_full():
    assert judged(Kernel((Limit("conntrack", 10, 0),))) == [Finding(OK, "", "conntrack has no limit")]


@pytest.mark.parametrize(
    ("loops", "argv", "metrics"),
    [
        (Loops(3, 8, False), [], [Metric("loop_used", 3), Metric("loop_free", 5, "", 0, 8)]),
        (Loops(3, 8, True), ["--max-loop", "256"], [Metric("loop_used", 3), Metric("loop_free", 253, "", 0, 256)]),
        (Loops(9, 9, True), ["--max-loop", "8"], [Metric("loop_used", 9), Metric("loop_free", 0, "", 0, 8)]),
    ],
)
def test_free_loop_devices_where_there_is_an_end(loops, argv, metrics):
    assert judged(Kernel(loops=loops), *argv)[:-1] == metrics


@pytest.mark.parametrize("mode", ["conntrack", "neigh", "inotify", "ipc", "aio", "loop"])
def test_what_the_kernel_does_not_have_matters_only_where_it_was_asked_for(mode):
    absent = Failed(ABSENT, mode, "read it", "not here")
    seen = WELL._replace(loops=absent) if mode == "loop" else WELL._replace(limits=(*WELL.limits, absent))
    assert absent not in judged(seen)
    assert judged(seen)[-1].text.endswith(f"; not wholly seen: {mode} (not here)")
    assert absent in judged(seen, "--mode", mode)


@pytest.mark.parametrize("mode", ["files", "pids", "taint"])
def test_what_every_kernel_has_matters_always(mode):
    absent = Failed(ABSENT, mode, "read it", "No such file or directory")
    seen = Kernel(taint=absent) if mode == "taint" else Kernel((absent,))
    assert judged(seen) == [absent]


def test_hidden_descriptors_matter_only_where_they_were_asked_for():
    seen = Kernel((Limit("inotify_instances", 1, 128), HIDDEN))
    assert HIDDEN not in judged(seen)
    assert HIDDEN in judged(seen, "--mode", "inotify")


def test_other_rights_that_are_missing_matter_always():
    failed = Failed(NOT_ALLOWED, "conntrack", "read it", "Permission denied")
    assert judged(Kernel((failed,))) == [failed]


@pytest.mark.parametrize("letter", "MBDL")
def test_a_taint_is_critical_until_it_is_known(letter):
    (bad,) = [found for found in judged(Kernel(taint=f"P{letter}")) if found.state != OK]
    assert (bad.state, bad.of) == (CRITICAL, f"taint {letter}")
    assert [found.state for found in judged(Kernel(taint=f"P{letter}"), "--accept-taint", letter)] == [OK]


def test_a_kernel_that_is_not_tainted():
    assert judged(Kernel(taint="")) == [Finding(OK, "", "kernel not tainted")]


@pytest.mark.parametrize(
    "name", ["files", "conntrack", "neigh", "pids", "inotify_instances", "inotify_watches", "ipc", "aio"]
)
@pytest.mark.parametrize(("used", "state"), [(80, OK), (81, WARNING), (91, CRITICAL)])
def test_the_limits_of_tables(monkeypatch, tmp_path, name, used, state):
    seen = Kernel((Limit(name, used, 100, "some"),))
    assert run(monkeypatch, tmp_path, seen).state == state


@pytest.mark.parametrize(
    ("seen", "argv", "state", "text"),
    [
        (WELL, [], OK, "fullest of 2 tables is ipv6 neigh, 5 of 10"),
        (WELL._replace(overflows=(Overflow("neigh_full_rate", 0.1, "ipv6"),)), [], WARNING, "ipv6 neigh full 0.1/s"),
        (
            WELL._replace(overflows=(Overflow("conntrack_full_rate", 0.1),)),
            [],
            WARNING,
            "conntrack full 0.1/s is above",
        ),
        (WELL._replace(overflows=(Overflow("conntrack_insert_failed_rate", 9.0),)), [], OK, "insert_failed_rate=9"),
        (WELL._replace(overflows=(Overflow("conntrack_full_rate", COLLECTING),)), [], OK, "fullest"),
        (WELL._replace(alone=True), [], OK, "conntrack of this network namespace alone"),
        (WELL._replace(loops=Loops(7, 16, False)), [], WARNING, "loop free 9 is below 10"),
        (WELL, ["--max-loop", "7"], CRITICAL, "loop free 4 is below 5"),
        (WELL._replace(taint="D"), [], CRITICAL, "taint D since boot the kernel has had a crash (oops)"),
        (WELL._replace(taint=Failed(UNREADABLE, "taint", "", "not a number")), [], UNKNOWN, "taint: not a number"),
        (Kernel((HIDDEN,)), ["--mode", "inotify"], UNKNOWN, "needs a sudoers line for `/usr/bin/find /proc"),
        (Kernel((HIDDEN,)), [], UNKNOWN, "nothing was looked at"),
    ],
)
def test_the_other_limits(monkeypatch, tmp_path, seen, argv, state, text):
    outcome = run(monkeypatch, tmp_path, seen, *argv)
    assert (outcome.state, text in outcome.text) == (state, True), outcome.text


def run(monkeypatch, tmp_path, seen, *argv):
    monkeypatch.setattr("nephoscope.probes.kernel.look", lambda run, modes, **words: seen)
    return CHECK.run([*argv, "--state-dir", str(tmp_path / "state")])


def test_the_recorded_guest(tmp_path):
    outcome = CHECK.run(["--state-dir", str(tmp_path)], root=GUEST)
    assert outcome.state == OK
    assert "fullest of 11 tables is ipv6 neigh, 5 of 1024" in outcome.reason
    assert "conntrack=0%;80;90;0;100" in outcome.perfdata
