# SPDX-License-Identifier: Apache-2.0
"""The judge of check_clock, by equality, and the check over stand-ins of chronyc."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from nephoscope.base import UNREACHABLE, Clock, Failed
from nephoscope.checks.node.check_clock import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import chrony
from nephoscope.probes.ntp import Clocks, Peer

from tests.probes.test_chrony import ALONE, FOLLOWS, NEVER
from tests.probes.unprivileged import as_nobody

GOOD = chrony.Clock("chronyd", True, False, "10.0.0.1", -0.0002, 0.004, 3, 1000.0, 3, 4)
LOST = chrony.Clock("chronyd", False, False, "", None, None, None, 1000.0, 0, 4)


def found(facts, *argv):
    return list(judge(facts, CHECK.parse(*argv)))


def test_green():
    assert found(Clocks([], GOOD, 1060.0)) == [
        Finding(OK, "", "chronyd follows 10.0.0.1, the clock is 0.0002 s ahead"),
        Metric("unsynchronised", 0.0),
        Metric("offset", 0.0002),
        Metric("error", 0.004),
        Metric("stratum", 3),
        Metric("last_sync", 60.0),
        Metric("sources", 3),
    ]


def test_without_a_source_nothing_is_claimed_about_the_offset():
    assert found(Clocks([], LOST, 1060.0, 700.0)) == [
        Finding(UNKNOWN, "", "chronyd is not synchronised: how far the clock is off is not known"),
        Metric("unsynchronised", 700.0),
        Metric("last_sync", 60.0),
        Metric("sources", 0),
    ]


KERNEL = chrony.Clock("kernel", True, False, "", None, 1.45, None, None, None, None)


def test_the_kernel_tells_a_bound_and_no_offset():
    assert found(Clocks([], KERNEL, 1060.0)) == [
        Finding(OK, "", "kernel says synchronised, off by at most 1.45 s"),
        Metric("unsynchronised", 0.0),
        Metric("error", 1.45),
    ]


@pytest.mark.parametrize("preset, findings", [("eucalyptus", 0), ("openstack", 1), ("ceph", 1)])
def test_a_preset_that_asks_for_more_than_the_kernel_tells(preset, findings):
    text = "the kernel tells no offset, which this preset limits: run chronyd or ntpd"
    given = found(Clocks([], KERNEL, 1060.0), "--preset", preset)
    assert given.count(Finding(UNKNOWN, "", text)) == findings


@pytest.mark.parametrize(
    "seconds, argv, state, text",
    [
        (1.45, [], OK, "kernel says synchronised, off by at most 1.45 s"),
        (4.5, [], WARNING, "error 4.5 s is above 4 s"),  # systemd-timesyncd has heard nothing for two hours and a half
        (12.5, [], CRITICAL, "error 12.5 s is above 12 s"),
        (1.45, ["-c", "offset=0.1"], UNKNOWN, "the limit offset met nothing"),
        (1.45, ["-w", "0.1"], UNKNOWN, "the limit offset met nothing"),
        (1.45, ["--preset", "openstack"], UNKNOWN, "the kernel tells no offset"),
        (1.45, ["--preset", "eucalyptus"], OK, "off by at most 1.45 s"),
        (5.5, ["--preset", "ceph"], CRITICAL, "error 5.5 s is above 5 s"),
    ],
)
def test_the_kernel_alone(tmp_path, monkeypatch, seconds, argv, state, text):
    """What adjtimex answers under systemd-timesyncd: STA_NANO and STA_PLL, and a bound that grows."""
    monkeypatch.setattr("nephoscope.probes.ntp.adjtimex", lambda: (0x2001, round(seconds * 1e6), 0))
    outcome = CHECK.run(["--state-dir", str(tmp_path), "--mode", "daemon", "--daemon", "kernel", *argv])
    assert (outcome.state, text in outcome.reason) == (state, True), outcome.text
    assert not [item for item in outcome.perfdata if item.startswith("offset=")]


def test_a_clock_that_follows_itself_claims_neither_offset_nor_bound():
    alone = chrony.parse(ALONE)
    assert found(Clocks([], alone, alone.synced_at + 60), "--allow-alone") == [
        Finding(OK, "", "chronyd follows only itself: how far the clock is off is not known"),
        Metric("unsynchronised", 0.0),
        Metric("stratum", 8),
        Metric("last_sync", 60.0),
    ]


def test_a_silent_daemon_is_handed_on():
    failed = Failed(UNREACHABLE, "chronyd", "run chronyc tracking", "506 Cannot talk to daemon")
    assert found(Clocks([], failed)) == [failed]


def test_peers_are_compared_with_us_and_with_each_other():
    failed = Failed(UNREACHABLE, "c", "ask its NTP server", "Connection refused")
    peers = [Peer("a", 0.25, 0.01, 3, True), Peer("b", -0.5, 0.01, 0, False), failed]
    assert found(Clocks(peers), "--mode", "peers") == [
        failed,
        Metric("peer_offset", 0.25, of="a"),
        Finding(WARNING, "b", "is not synchronised, by its own account"),
        Metric("peer_offset", 0.5, of="b"),
        Metric("spread", 0.75),
    ]


def test_one_peer_has_no_spread():
    assert found(Clocks([Peer("a", 0.25, 0.01, 3, True)]), "--mode", "peers") == [Metric("peer_offset", 0.25, of="a")]


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """Return a run of the check whose chronyc prints a given text."""
    monkeypatch.setattr("nephoscope.base.child.PATH", f"{tmp_path}:/usr/bin:/bin")

    def run(text, *argv, shift=0.0):
        (tmp_path / "answer").write_text(text)
        program = tmp_path / "chronyc"
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
        os.chmod(program, 0o755)
        return CHECK.run(["--state-dir", str(tmp_path / "state"), "--mode", "daemon", *argv], clock=Clock(shift=shift))

    return run


def test_limits(clock):
    assert clock(FOLLOWS).state == OK
    assert clock(FOLLOWS.replace("0.249998897", "-1.5")).state == WARNING
    assert clock(FOLLOWS.replace("0.249998897", "6.0")).state == CRITICAL
    assert clock(FOLLOWS.replace("0.249998897", "6.0"), "--preset", "eucalyptus").state == WARNING
    assert clock(FOLLOWS.replace("0.249998897", "16.0"), "--preset", "eucalyptus").state == CRITICAL
    assert clock(FOLLOWS, "--preset", "openstack", "-w", "sources=0:").state == WARNING
    assert clock(FOLLOWS.replace("0.249998897", "0.6"), "--preset", "ceph").state == CRITICAL
    assert clock(FOLLOWS.replace(",9,1795", ",10,1795")).state == WARNING  # stratum
    assert clock(FOLLOWS.replace(",0.000001032,", ",5.0,")).state == WARNING  # root dispersion
    assert clock(FOLLOWS.replace(",0.000001032,", ",17.0,")).state == CRITICAL


def test_unsynchronised_grows_from_unknown_to_critical(clock):
    first = clock(NEVER, "-w", "sources=0:")
    assert (first.state, "not known" in first.reason) == (UNKNOWN, True)
    assert clock(NEVER, "-w", "sources=0:", shift=590).state == UNKNOWN
    assert clock(NEVER, "-w", "sources=0:", shift=660).state == WARNING
    assert clock(NEVER, "-w", "sources=0:", shift=3700).state == CRITICAL
    assert clock(FOLLOWS, shift=3800).state == OK
    again = clock(NEVER, "-w", "sources=0:", shift=3900)  # found its source in between: it counts from now
    assert "unsynchronised=0s;600;3600" in again.perfdata


def test_a_first_run_believes_the_time_of_the_last_update(clock, tmp_path):
    """Installed on a host that lost its servers in 2026 and is looked at years later by its own clock."""
    lost = FOLLOWS.replace("^,*,127.0.0.1,8,0,37", "^,?,127.0.0.1,8,0,0").replace("1795262174", "1000000000")
    assert clock(lost, "-w", "sources=0:").state == CRITICAL


def test_no_source_answers(clock):
    silent = clock(FOLLOWS.replace("^,*,127.0.0.1,8,0,37", "^,*,127.0.0.1,8,0,0"))
    assert (silent.state, silent.reason) == (WARNING, "sources 0 is below 1")


def test_a_clock_that_follows_itself(clock):
    assert clock(ALONE).state == UNKNOWN
    assert clock(ALONE, "--allow-alone").state == OK
    assert clock(ALONE, shift=700).state == WARNING


def test_trouble(clock):
    assert clock("506 Cannot talk to daemon\n").state == CRITICAL
    assert clock("506 Cannot talk to daemon\n", "--unreachable-state", "warning").state == WARNING
    assert clock("<html>\n").state == UNKNOWN


@pytest.fixture
def closed(monkeypatch):
    """Return a run, as nobody, over a chronyc that reaches nothing: `comms` run, chronyd's socket lies in a folder of a mode."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        home = Path(name)
        home.chmod(0o755)
        program = home / "bin/chronyc"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho '506 Cannot talk to daemon'; exit 1\n")
        program.chmod(0o755)
        monkeypatch.setattr("nephoscope.base.child.PATH", str(program.parent))
        socket = home / "run/chrony/chronyd.sock"
        socket.parent.mkdir(parents=True)
        socket.touch()

        def run(comms, folder, *argv, mode=0o755):
            socket.chmod(mode)
            for number, comm in enumerate(comms, 1):
                (home / f"proc/{number}").mkdir(parents=True)
                (home / f"proc/{number}/comm").write_text(f"{comm}\n")
            (home / "proc").mkdir(exist_ok=True)
            socket.parent.chmod(folder)
            try:
                return as_nobody(CHECK, ["--mode", "daemon", *argv], root=name)
            finally:
                socket.parent.chmod(0o755)

        yield run


@pytest.mark.parametrize(
    "folder, mode, argv",
    [
        (0o000, 0o755, []),
        (0o555, 0o555, []),  # it may be seen and not written to
        (0o000, 0o755, ["--control", "/run/chrony/chronyd.sock"]),
    ],
)
def test_a_chronyd_that_is_closed_to_us_is_not_down(closed, folder, mode, argv):
    state, line = closed(["systemd", "chronyd"], folder, *argv, mode=mode)
    assert (state, "506 Cannot talk to daemon, but chronyd runs" in line, "cmdport 0" in line) == (UNKNOWN, True, True)


def test_a_chronyd_that_does_not_run_is_down_whatever_its_socket(closed):
    assert closed(["systemd", "cron"], 0)[0] == CRITICAL


def test_a_chronyd_that_is_asked_by_its_port_is_down(closed):
    assert closed(["systemd", "chronyd"], 0, "--control", "127.0.0.1:323")[0] == CRITICAL


def test_a_proc_that_hides_chronyd(closed):
    """With hidepid=2 pid 1 is missing as well: whether chronyd runs is not known."""
    assert closed([], 0)[0] == UNKNOWN


def test_a_hung_chronyc(tmp_path, monkeypatch):
    program = tmp_path / "chronyc"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    os.chmod(program, 0o755)
    monkeypatch.setattr("nephoscope.base.child.PATH", f"{tmp_path}:/usr/bin:/bin")
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state"), "-t", "1.5"])
    assert (outcome.state, "no answer" in outcome.reason) == (CRITICAL, True)


def test_peers_asked_for_and_none_given():
    assert CHECK.run(["--mode", "peers"]).state == UNKNOWN
