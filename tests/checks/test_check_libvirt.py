# SPDX-License-Identifier: Apache-2.0
"""The judge of check_libvirt, by equality, and the check over a stand-in of virsh."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import time

import pytest
from nephoscope.base import UNREACHABLE, Clock, Failed
from nephoscope.checks.node.check_libvirt import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.libvirt import OFF, Chain, Guest, Guests, Kvm


def found(chain, *argv):
    return list(judge(chain, CHECK.parse(*argv)))


def counts(running=0, paused=0, io_error=0, passing=0, shutoff=0, crashed=0, ages=()):
    return [
        Metric("running", running),
        Metric("paused", paused),
        Metric("io_error", io_error),
        Metric("passing", passing),
        Metric("shutoff", shutoff),
        Metric("crashed", crashed),
        *(ages or [Metric("passing_age", 0.0)]),
    ]


def test_green():
    guests = (Guest("a", "running", ""), Guest("b", "running", ""), Guest("c", "shutoff", "shutdown"))
    assert found(Chain(0.001, Kvm(True, "vmx", "kvm_intel"), Guests(0.08, guests))) == [
        Finding(OK, "bus", "answers"),
        Finding(OK, "kvm", "ready"),
        Metric("answer", 0.08),
        Finding(OK, "a", "running"),
        Finding(OK, "b", "running"),
        Finding(OK, "c", "shutoff (shutdown)"),
        *counts(running=2, shutoff=1),
    ]


def test_links_that_failed_are_handed_on():
    bus = Failed(UNREACHABLE, "bus", "greet", "no such socket")
    libvirt = Failed(UNREACHABLE, "libvirt", "virsh", "Connection refused")
    assert found(Chain(bus, None, libvirt)) == [bus, libvirt]


@pytest.mark.parametrize(
    "kvm, finding",
    [
        (Kvm(True, "svm", "kvm_amd"), Finding(OK, "kvm", "ready")),
        (Kvm(True, None, "kvm"), Finding(OK, "kvm", "ready")),
        (Kvm(False, "vmx", ""), Finding(CRITICAL, "kvm", "no /dev/kvm: the CPU has vmx, its module is not loaded")),
        (Kvm(False, "vmx", "kvm"), Finding(CRITICAL, "kvm", "no /dev/kvm: the CPU has vmx, its module is not loaded")),
        (Kvm(False, "vmx", "kvm_intel"), Finding(CRITICAL, "kvm", "no /dev/kvm")),
        (Kvm(False, None, ""), Finding(CRITICAL, "kvm", "no /dev/kvm")),
        (Kvm(False, "", ""), Finding(CRITICAL, "kvm", f"the CPU shows neither vmx nor svm: {OFF}")),
        (Kvm(True, "", "kvm"), Finding(CRITICAL, "kvm", f"the CPU shows neither vmx nor svm: {OFF}")),
    ],
)
def test_kvm(kvm, finding):
    assert found(Chain(kvm=kvm), "--mode", "kvm") == [finding]


def test_guests_that_pass_have_an_age():
    guests = (Guest("g", "paused", "migration"), Guest("h", "shutting down", ""))
    chain = Chain(guests=Guests(0.1, guests, {"h": 0.0, "g": 901.0}))
    assert found(chain, "--mode", "guests") == [
        Finding(OK, "g", "paused (migration)"),
        Finding(OK, "h", "shutting down"),
        *counts(passing=2, ages=[Metric("passing_age", 901.0, of="g"), Metric("passing_age", 0.0, of="h")]),
    ]


@pytest.mark.parametrize(
    "guest, text, kind",
    [
        (Guest("g", "paused", "snapshot"), "paused (snapshot)", "passing"),
        (Guest("g", "shutoff", "saved"), "shutoff (saved)", "shutoff"),
        (Guest("g", "paused", "from-snapshot"), "paused (from-snapshot)", "paused"),
        (Guest("g", "paused", "user"), "paused (user)", "paused"),
        (Guest("g", "paused", "watchdog"), "paused (watchdog)", "paused"),
        (Guest("g", "paused", "unknown 99"), "paused (unknown 99)", "paused"),
        (Guest("g", "asleep", ""), "asleep", "paused"),
        (Guest("g", "paused", "crashed"), "paused (crashed)", "crashed"),
        (Guest("g", "shutoff", "crashed"), "shutoff (crashed)", "crashed"),
        (Guest("g", "crashed", ""), "crashed", "crashed"),
    ],
)
def test_guests_that_are_named(guest, text, kind):
    expected = [Finding(OK, "g", text), *counts(**{kind: 1})]
    assert found(Chain(guests=Guests(0.1, (guest,))), "--mode", "guests") == expected


def test_each_guest_with_an_io_error_is_a_finding_of_its_own():
    guests = tuple(Guest(f"g{n}", "paused", "io-error") for n in range(2))
    assert found(Chain(guests=Guests(0.1, guests)), "--mode", "guests") == [
        Finding(CRITICAL, "g0", "is paused on an I/O error"),
        Finding(CRITICAL, "g1", "is paused on an I/O error"),
        *counts(io_error=2),
    ]


@pytest.mark.parametrize("state", ["unknown 9", "no state"])
def test_a_state_that_nobody_knows(state):
    assert found(Chain(guests=Guests(0.1, (Guest("g", state, ""),))), "--mode", "guests") == [
        Finding(UNKNOWN, "g", f"is in a state that is not understood: {state}"),
        *counts(),
    ]


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a run of the modes libvirt and guests, with a script for virsh."""
    monkeypatch.setattr("nephoscope.base.child.PATH", f"{tmp_path}:/usr/bin:/bin")

    def run(script, *argv, shift=0.0):
        program = tmp_path / "virsh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(program, 0o755)
        words = ["--state-dir", str(tmp_path / "state"), "--mode", "libvirt", "--mode", "guests", *argv]
        return CHECK.run(words, clock=Clock(shift=shift))

    return run


def guest(state, reason=0, name="a"):
    return f"echo \"Domain: '{name}'\"; echo '  state.state={state}'; echo '  state.reason={reason}'"


def test_states(check):
    assert check(guest(1)).state == OK
    assert check(guest(3, 1)).state == WARNING
    assert check(guest(3, 5)).state == CRITICAL
    assert check(guest(6)).state == WARNING
    assert check(guest(9)).state == UNKNOWN
    assert check("exit 0").state == OK  # a hypervisor without guests
    assert check(guest(1), "-w", "0").reason.startswith("answer ")


def test_what_should_pass_and_does_not(check):
    """A migration that hangs; libvirt that is silent in between makes it no younger, its end does."""
    migrating = guest(3, 2)
    first = check(migrating)
    assert (first.state, "passing_age=0s;900;3600" in first.perfdata) == (OK, True)
    assert check(migrating, shift=890).state == OK
    assert check("exit 1", shift=900).state == UNKNOWN
    late = check(migrating, shift=960)
    assert (late.state, late.reason) == (WARNING, "a passing age 16 min is above 15 min")
    assert check(guest(4), shift=3700).state == CRITICAL
    assert check(guest(1), shift=3760).state == OK
    assert check(migrating, shift=3800).state == OK
    assert check(guest(3, 7), "--state-id", "x").state == WARNING  # from-snapshot: paused until somebody resumes it


def test_a_limit_on_the_age_while_no_guest_passes(check):
    assert check(guest(1), "-w", "passing_age=60").state == OK


def test_filters_reach_the_guests(check):
    both = guest(3, 5, "known") + "; " + guest(1, 0, "healthy")
    named = check(both)
    assert (named.state, named.reason) == (CRITICAL, "known is paused on an I/O error")
    without = check(both, "--exclude", "known")
    assert (without.state, "io_error=0" in without.perfdata, "known" in without.reason) == (OK, True, False)
    assert "left out by --include/--exclude: 1 (known)" in without.text
    healthy = check(both, "--include", "healthy")
    assert (healthy.state, "healthy running" in healthy.text, "running=1" in healthy.perfdata) == (OK, True, True)
    assert check(both, "--include", "nobody").state == UNKNOWN


def test_many_guests_that_lost_their_storage(check):
    """The storage of a whole node is gone: all are counted, the first are named, and line 1 stays short."""
    each = "echo \"Domain: 'guest-$n'\"; echo '  state.state=3'; echo '  state.reason=5'"
    outcome = check(f"n=0; while [ $n -lt 2000 ]; do n=$((n+1)); {each}; done")
    assert (outcome.state, "io_error=2000" in outcome.perfdata) == (CRITICAL, True)
    assert outcome.reason.startswith("guest-1 is paused on an I/O error, guest-10 is paused")
    assert outcome.reason.endswith(" more")
    assert len(outcome.text) < 60 * 1024


@contextlib.contextmanager
def bus(path, wait):
    """Serve one caller of a message bus, who waits that many seconds for the answer."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        server.settimeout(10)

        def serve():
            link, _ = server.accept()
            with link:
                link.recv(256)
                time.sleep(wait)
                with contextlib.suppress(OSError):
                    link.sendall(b"OK 1234deadbeef\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(10)


def test_a_hung_libvirt_leaves_a_slow_bus_its_time(check, tmp_path):
    with tempfile.TemporaryDirectory() as folder, bus(f"{folder}/bus", 0.2):
        outcome = check("exec sleep 30", "--mode", "bus", "--bus", f"{folder}/bus", "-t", "3")
    states = {item["of"]: item["state"] for item in outcome.items}
    assert states == {"bus": "OK", "libvirt": "CRITICAL"}, outcome.text
    assert outcome.reason.startswith("libvirt: no answer in 1.")


def test_trouble(check, tmp_path):
    assert check("echo garbage").state == UNKNOWN
    gone = "echo 'error: failed to connect to the hypervisor' >&2; echo 'error: x: Connection refused' >&2; exit 1"
    assert check(gone).state == CRITICAL
    assert check(gone, "--unreachable-state", "unknown").state == UNKNOWN
    denied = gone.replace("Connection refused", "Permission denied")
    assert (check(denied).state, "polkit" in check(denied).reason) == (UNKNOWN, True)
    hung = check("exec sleep 30", "-t", "1.5")
    assert (hung.state, "no answer" in hung.reason) == (CRITICAL, True)


def test_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state")])
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    assert CHECK.run(["--state-dir", str(tmp_path / "state"), "--absent-state", "ok"]).state == OK
