# SPDX-License-Identifier: Apache-2.0
"""The judge of check_libvirt, by equality, and the check over a stand-in of virsh."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.node.check_libvirt import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.libvirt import OFF, Chain, Guest, Guests, Kvm


def found(chain, *argv):
    return list(judge(chain, CHECK.parse(*argv)))


def counts(running=0, paused=0, io_error=0, passing=0, shutoff=0, crashed=0):
    return [
        Metric("running", running),
        Metric("paused", paused),
        Metric("io_error", io_error),
        Metric("passing", passing),
        Metric("shutoff", shutoff),
        Metric("crashed", crashed),
    ]


def test_green():
    guests = (Guest("a", "running", ""), Guest("b", "running", ""), Guest("c", "shutoff", "shutdown"))
    assert found(Chain(0.001, Kvm(True, "vmx", "kvm_intel"), Guests(0.08, guests))) == [
        Finding(OK, "bus", "answers"),
        Finding(OK, "kvm", "ready"),
        Metric("answer", 0.08),
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


@pytest.mark.parametrize(
    "guest, kind",
    [
        (Guest("g", "paused", "snapshot"), "passing"),
        (Guest("g", "paused", "migration"), "passing"),
        (Guest("g", "shutting down", ""), "passing"),
        (Guest("g", "shutoff", "saved"), "shutoff"),
    ],
)
def test_guests_that_are_only_counted(guest, kind):
    assert found(Chain(guests=Guests(0.1, (guest,))), "--mode", "guests") == counts(**{kind: 1})


@pytest.mark.parametrize(
    "guest, text, kind",
    [
        (Guest("g", "paused", "user"), "paused (user)", "paused"),
        (Guest("g", "paused", "watchdog"), "paused (watchdog)", "paused"),
        (Guest("g", "paused", "unknown 99"), "paused (unknown 99)", "paused"),
        (Guest("g", "asleep", ""), "asleep (no reason)", "paused"),
        (Guest("g", "paused", "crashed"), "paused (crashed)", "crashed"),
        (Guest("g", "shutoff", "crashed"), "shutoff (crashed)", "crashed"),
        (Guest("g", "crashed", ""), "crashed (no reason)", "crashed"),
    ],
)
def test_guests_that_are_named(guest, text, kind):
    expected = [Finding(OK, "g", text), *counts(**{kind: 1})]
    assert found(Chain(guests=Guests(0.1, (guest,))), "--mode", "guests") == expected


def test_io_errors_are_named_on_one_line():
    guests = tuple(Guest(f"g{n}", "paused", "io-error") for n in range(7))
    assert found(Chain(guests=Guests(0.1, guests)), "--mode", "guests") == [
        Finding(CRITICAL, "", "paused on an I/O error: g0, g1, g2, g3, g4 and 2 more"),
        *counts(io_error=7),
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

    def run(script, *argv):
        program = tmp_path / "virsh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(program, 0o755)
        return CHECK.run(["--state-dir", str(tmp_path / "state"), "--mode", "libvirt", "--mode", "guests", *argv])

    return run


def guest(state, reason=0):
    return f"echo \"Domain: 'a'\"; echo '  state.state={state}'; echo '  state.reason={reason}'"


def test_states(check):
    assert check(guest(1)).state == OK
    assert check(guest(3, 1)).state == WARNING
    assert check(guest(3, 5)).state == CRITICAL
    assert check(guest(6)).state == WARNING
    assert check(guest(9)).state == UNKNOWN
    assert check("exit 0").state == OK  # a hypervisor without guests
    assert check(guest(1), "-w", "0").reason.startswith("answer ")


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
