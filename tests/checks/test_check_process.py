# SPDX-License-Identifier: Apache-2.0
"""The judge of check_process, by equality, and the check over a /proc that is written here."""

from __future__ import annotations

import subprocess

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, Clock, Failed
from nephoscope.checks.node.check_process import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.process import UNLIMITED, Group, Process, Stuck, Table

from tests.probes.test_process import PAGE, Proc

ONE = Process(7, 100, "S", 4, 1000, 60.0, 256, 512, 1024)
TWO = Process(8, 900, "R", 2, 3000, 10.0, 512, 512, 1024)


def found(table, *modes):
    return list(judge(table, CHECK.parse(*(word for mode in modes for word in ("--mode", mode)))))


def group(*processes, need=1, **words):
    return Table(50, (Group("d", need, processes, **words),), (), {})


def test_green_in_every_mode():
    assert found(group(ONE, TWO, growth=5.0)) == [
        Finding(OK, "", "running: 2 d"),
        Metric("count", 2, of="d"),
        Metric("rss", 3000, of="d"),
        Metric("threads", 4, of="d"),
        Metric("age", 60.0, of="d"),
        Metric("growth_rate", 5.0, of="d"),
        Metric("fds", 50.0, of="d"),
        Finding(OK, "", "50 processes, 0 of them stuck"),
        Metric("blocked", 0),
        Metric("zombies", 0),
    ]


@pytest.mark.parametrize(
    "table, findings",
    [
        (group(), [Finding(CRITICAL, "d", "0 running, 1 expected")]),
        (group(ONE, need=2), [Finding(CRITICAL, "d", "1 running, 2 expected")]),
        (group(ONE, need=1), []),
        (group(ONE, need=0), []),
        (group(need=0), []),
        (group(others=3), [Finding(CRITICAL, "d", "0 running, 1 expected, 3 not as asked for")]),
        (
            group(ONE._replace(state="T"), TWO._replace(state="Z")),
            [Finding(CRITICAL, "d", "0 running, 1 expected, 1 stopped by a signal, 1 dead and not collected")],
        ),
        (group(ONE, TWO._replace(state="T")), [Finding(WARNING, "d", "1 of 2 stopped by a signal")]),
        (group(ONE, TWO._replace(state="t")), [Finding(WARNING, "d", "1 of 2 stopped by a signal")]),
        (group(ONE._replace(state="D")), []),  # for how long is the question of mode state
    ],
)
def test_what_must_run(table, findings):
    alive = sum(one.state in "SRD" for one in table.groups[0].processes)
    assert found(table, "count") == [Finding(OK, "", f"running: {alive} d"), Metric("count", alive, of="d"), *findings]


def test_nothing_to_measure_is_said():
    assert found(group(), "rss") == [Failed(ABSENT, "d", "look for its processes", "none runs")]


def test_growth_that_is_not_known_yet():
    assert found(group(ONE, growth=COLLECTING), "growth") == [Metric("growth_rate", COLLECTING, of="d")]


def test_guests_are_only_counted():
    assert found(group(ONE, guests=True), "count", "rss", "fds") == [
        Finding(OK, "", "running: 1 d"),
        Metric("count", 1, of="d"),
    ]


def test_descriptors_that_are_not_ours_to_count():
    few = ONE._replace(fds=None, fds_most=512)
    many = ONE._replace(fds=None, fds_most=513)
    boundless = ONE._replace(fds=None, fds_most=4096, fds_limit=UNLIMITED)
    unknown = ONE._replace(fds=None, fds_most=None)
    unlimited = ONE._replace(fds_limit=UNLIMITED)
    untold = ONE._replace(fds_limit=None)
    not_allowed = Failed(
        NOT_ALLOWED, "d", "count open descriptors", "they are another user's", "root, the user of d, or Linux 6.2"
    )
    no_limit_told = Failed(NOT_ALLOWED, "d", "read its limit of open files", "it is not told", "root, or the user of d")
    assert found(group(unlimited), "fds") == [Metric("fds", 0.0, of="d")]
    assert found(group(untold), "fds") == [no_limit_told]
    assert found(group(TWO, untold), "fds") == [Metric("fds", 50.0, of="d"), no_limit_told]
    assert found(group(few._replace(fds_limit=None)), "fds") == [no_limit_told]
    assert found(group(boundless), "fds") == [Finding(OK, "d", "has at most 4096 descriptors open")]
    assert found(group(few), "fds") == [Finding(OK, "d", "has at most 512 descriptors open")]
    assert found(group(many), "fds") == [not_allowed]
    assert found(group(unknown), "fds") == [not_allowed]
    assert found(group(TWO, many), "fds") == [Metric("fds", 50.0, of="d"), not_allowed]


def test_stuck_for_a_minute():
    stuck = (
        Stuck(5, "ls", "D", 300.4, "in nfs_wait"),
        Stuck(6, "cp", "D", 59.9, ""),
        Stuck(7, "w", "Z", 60.0, "its parent is ls 5"),
    )
    assert found(Table(50, (), stuck, {}), "state") == [
        Finding(OK, "", "50 processes, 2 of them stuck"),
        Finding(OK, "ls[5]", "in state D for 300 s in nfs_wait"),
        Finding(OK, "w[7]", "in state Z for 60 s its parent is ls 5"),
        Metric("blocked", 1),
        Metric("zombies", 1),
    ]


def test_a_container_is_not_taken_for_its_host(check, proc):
    folder = proc.root / "proc/self/ns"
    folder.mkdir(parents=True)
    proc.add(5, "cron", "/usr/sbin/cron")
    (folder / "pid").symlink_to("pid:[4026531836]")
    assert check("--expect", "cron", "--mode", "count").reason == "running: 1 cron"
    assert check().reason.startswith("2 processes, 0 of them stuck")
    (folder / "pid").unlink()
    (folder / "pid").symlink_to("pid:[4026532201]")
    assert check("--expect", "cron", "--mode", "count").reason == "running: 1 cron of this container"
    assert check().reason.startswith("2 processes of this container, 0 of them stuck")


def test_failures_are_handed_on():
    hidden = Failed(NOT_ALLOWED, "d", "look through /proc", "hidden")
    assert found(Table(5, (hidden,), hidden, {})) == [hidden, hidden]


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path)


@pytest.fixture
def check(proc, tmp_path):
    def run(*argv, shift=0.0):
        return CHECK.run(["--state-dir", str(tmp_path / "state"), *argv], root=str(tmp_path), clock=Clock(shift=shift))

    return run


def test_a_leak(check, proc):
    page = (1 << 20) // PAGE
    folder = proc.add(5, "leak", "/usr/bin/leak", pages=100 * page)
    argv = ("--expect", "leak", "--mode", "growth")
    assert (check(*argv).state, "collecting" in check(*argv).reason) == (OK, True)
    stat = (folder / "stat").read_text()
    for mebibytes, state in ((1000, OK), (1200, WARNING), (4300, CRITICAL)):
        (folder / "stat").write_text(stat.replace(f" {100 * page} ", f" {mebibytes * page} "))
        assert check(*argv, shift=3600).state == state, mebibytes


def test_descriptors(check, proc):
    proc.add(5, "eater", "/usr/bin/eater", fds=85, limit="100")
    assert check("--expect", "eater", "--mode", "fds").state == WARNING
    proc.add(6, "eater", "/usr/bin/eater", fds=95, limit="100")
    outcome = check("--expect", "eater", "--mode", "fds")
    assert (outcome.state, outcome.reason) == (CRITICAL, "eater fds 95 % is above 90 %")


def test_stuck(check, proc):
    for pid in range(10, 15):
        proc.add(pid, "ls", "ls", state="D")
    assert check().state == OK  # seen for the first time
    outcome = check(shift=120)
    assert (outcome.state, outcome.reason) == (CRITICAL, "blocked 5 is above 4")
    for pid in range(10, 14):
        subprocess.run(["rm", "-r", str(proc.root / f"proc/{pid}")], check=True)
    assert check(shift=180).reason == "blocked 1 is above 0"
    for pid in range(20, 26):
        proc.add(pid, "child", state="Z")
    check(shift=180)
    assert "zombies 6 is above 5" in check(shift=300).reason


def test_roles(check, proc):
    outcome = check("--preset", "euca_nc", "--mode", "count")
    assert (outcome.state, outcome.reason.count(" expected")) == (CRITICAL, 3)
    proc.add(5, "httpd", "/usr/sbin/httpd", "-f", "/var/run/eucalyptus/httpd-nc.conf")
    proc.add(6, "libvirtd", "/usr/sbin/libvirtd", "--listen")
    proc.add(7, "chronyd", "/usr/sbin/chronyd")
    outcome = check("--preset", "euca_nc", "--mode", "count")
    assert (outcome.state, outcome.reason) == (OK, "running: 1 eucalyptus-nc, 1 libvirt, 0 qemu, 1 ntp")


def test_limits_on_a_count(check, proc):
    proc.add(5, "cron", "/usr/sbin/cron")
    proc.add(6, "cron", "/usr/sbin/cron")
    outcome = check("--expect", "cron", "--mode", "count", "-w", "1:1")
    assert (outcome.state, outcome.reason) == (WARNING, "cron count 2 is above 1")


def test_hidden(check, proc):
    subprocess.run(["rm", "-r", str(proc.root / "proc/1")], check=True)
    outcome = check("--expect", "cron")
    assert (outcome.state, "gid=" in outcome.reason) == (UNKNOWN, True)


def test_options():
    assert "no regular expression" in CHECK.run(["--cmdline", "("]).reason
    assert "no such user" in CHECK.run(["--expect", "x", "--user", "no-such-user"]).reason


@pytest.mark.parametrize(
    "argv",
    [
        ["--mode", "rss"],
        ["--mode", "rss", "--mode", "state", "-c", "rss=1"],
        ["--cmdline", "nova-api"],
        ["--cgroup", "*/x.service"],
        ["--user", "root", "--mode", "state"],
    ],
)
def test_what_looks_at_nothing_without_a_name(check, argv):
    outcome = check(*argv)
    assert (outcome.state, "look at nothing without --expect or --preset" in outcome.reason) == (UNKNOWN, True)
    assert "look at nothing" not in check(*argv, "--expect", "systemd").reason


@pytest.mark.parametrize("argv", [[], ["--mode", "state"]])
def test_without_a_name_the_stuck_are_looked_for(check, argv):
    assert (check(*argv).state, check(*argv).reason) == (OK, "1 processes, 0 of them stuck")
