# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Failed
from nephoscope.checks.node.check_memory import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.memory import Kills, Memory, Pool, Room, Swap

from tests.probes.trees import GUEST

GIB = 1 << 30
NO_POOL = Failed(ABSENT, "hugepages", "read /sys", "no pool of huge pages is set up")
WELL = Memory(Room(40 * GIB, 100 * GIB), Swap(GIB, 4 * GIB, 2.0, 3.0), Kills(0.0), (Pool("2MiB", 100, 30),))


def judged(seen, *argv):
    return list(judge(seen, CHECK.parse(*argv)))


def killed(*names, number=None):
    return WELL._replace(kills=Kills(float(len(names) if number is None else number), names))


def test_all_modes_of_a_good_one():
    assert judged(WELL) == [
        Metric("available", 40.0, "", 0, 100),
        Metric("available_size", 40 * GIB, "", 0, 100 * GIB),
        Metric("swap_used", GIB, "", 0, 4 * GIB),
        Metric("swap_in_rate", 2.0),
        Metric("swap_out_rate", 3.0),
        Metric("oom_kills", 0.0),
        Metric("hugepages_total", 100, "2MiB"),
        Metric("hugepages_free", 30, "2MiB", 0, 100),
    ]


def test_a_mode_that_was_not_asked_for_says_nothing():
    assert judged(Memory(room=WELL.room)) == judged(WELL)[:2]


@pytest.mark.parametrize("of", ["hugepages", "oom"])
def test_what_the_kernel_does_not_have_matters_only_where_it_was_asked_for(of):
    absent = Failed(ABSENT, of, "", "not here")
    seen = Memory(pools=absent) if of == "hugepages" else Memory(kills=absent)
    assert judged(seen, "-v") == [Finding(OK, of, "not here")]
    assert judged(seen) == ([] if of == "hugepages" else [Finding(OK, of, "not here")])
    assert judged(seen, "--mode", of) == [absent]


def test_a_missing_meminfo_matters_always():
    absent = Failed(ABSENT, "/proc/meminfo", "read /proc/meminfo", "No such file or directory")
    assert judged(Memory(room=absent)) == [absent]


def test_victims_are_named_once_and_counted():
    found = judged(Memory(kills=Kills(3.0, ("python3", "mysqld", "python3"))))
    assert found == [
        Metric("oom_kills", 3.0),
        Finding(CRITICAL, "mysqld", "was killed for want of memory (1 in the last hour)"),
        Finding(OK, "python3", "was killed for want of memory (2 in the last hour)"),
    ]


def test_who_is_vital_can_be_said():
    seen = Memory(kills=Kills(2.0, ("python3", "mysqld")))
    assert [found.state for found in judged(seen, "--vital", "py*")[1:]] == [OK, CRITICAL]


def test_unnamed_victims_are_said():
    assert judged(Memory(kills=Kills(1.0)))[1:] == [
        Finding(OK, "oom", "the kernel's log no longer says who was killed")
    ]


@pytest.mark.parametrize(
    "name",
    [
        "eucalyptus-clou",
        "virtqemud",
        "libvirtd",
        "nova-compute",
        "ovn-controller",
        "ovn-northd",
        "httpd",
        "apache2",
        "haproxy",
    ],
)
def test_what_a_cloud_lives_on_is_vital(name):
    """The names as /proc/PID/comm has them: eucalyptus-cloud is cut."""
    assert [found.state for found in judged(Memory(kills=Kills(1.0, (name,))))[1:]] == [CRITICAL]


def test_a_long_name_given_is_found_as_the_kernel_cuts_it():
    seen = Memory(kills=Kills(1.0, ("neutron-openvsw",)))
    for glob, state in (("neutron-openvswitch-agent", CRITICAL), ("neutron-server", OK)):
        assert judged(seen, "--vital", glob)[1].state == state


@pytest.mark.parametrize(
    ("seen", "argv", "state", "text"),
    [
        (WELL, [], OK, "available 40 %"),
        (WELL._replace(room=Room(9, 100)), [], WARNING, "available 9 % is below 10 %"),
        (WELL._replace(room=Room(4, 100)), [], CRITICAL, "available 4 % is below 5 %"),
        (WELL._replace(room=Room(3 * GIB, 100 * GIB)), ["--preset", "hypervisor"], OK, "available 3 %"),
        (WELL._replace(room=Room(3 * GIB // 2, 100 * GIB)), ["--preset", "hypervisor"], WARNING, "is below 2 GiB"),
        (WELL._replace(room=Room(GIB // 2, 100 * GIB)), ["--preset", "hypervisor"], CRITICAL, "is below 1 GiB"),
        (WELL, ["-c", f"available_size={50 * GIB}:"], CRITICAL, "available size 40 GiB is below 50 GiB"),
        (WELL._replace(swap=Swap(0, 0, 101.0, 0.0)), [], WARNING, "swap in 101/s is above 100/s"),
        (WELL._replace(swap=Swap(0, 0, 1001.0, 0.0)), [], CRITICAL, "swap in 1001/s is above 1000/s"),
        (WELL._replace(swap=Swap(0, 0, COLLECTING, COLLECTING)), [], OK, "rates collecting"),
        (killed("python3"), [], WARNING, "oom kills 1 is above 0"),
        (killed("python3", "qemu-system-x86"), [], CRITICAL, "qemu-system-x86 was killed for want of memory"),
        (WELL._replace(kills=Kills(1.0, Failed(NOT_ALLOWED, "oom", "read /dev/kmsg", "Permission denied"))), [], WARNING,
         "UNKNOWN: oom: Permission denied (read /dev/kmsg): needs membership of group systemd-journal"),
        (WELL._replace(room=Failed(UNREADABLE, "/proc/meminfo", "", "it has no MemAvailable")), [], UNKNOWN, "MemAvailable"),
        (WELL, ["-c", "hugepages_free/2MiB=50:"], CRITICAL, "2MiB hugepages free 30 is below 50"),
        (WELL._replace(pools=NO_POOL), ["-v"], OK, "no pool of huge pages"),
    ],
)  # fmt: skip
def test_the_limits(monkeypatch, tmp_path, seen, argv, state, text):
    monkeypatch.setattr("nephoscope.probes.memory.look", lambda run, **words: seen)
    outcome = CHECK.run([*argv, "--state-dir", str(tmp_path / "state")])
    assert (outcome.state, text in outcome.text) == (state, True), outcome.text


def test_the_recorded_guest(tmp_path):
    outcome = CHECK.run(["--state-dir", str(tmp_path)], root=GUEST)
    assert outcome.state == OK
    assert "huge" not in outcome.text
    assert outcome.perfdata[0].startswith("available=98.036128%;10:;5:;0;100")


def test_no_pool_is_absence_where_it_was_asked_for(tmp_path):
    argv = ["--mode", "hugepages", "--state-dir", str(tmp_path)]
    outcome = CHECK.run(argv, root=GUEST)
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    assert CHECK.run([*argv, "--absent-state", "ok"], root=GUEST).state == OK
