# SPDX-License-Identifier: Apache-2.0
"""What virsh prints and the kernel shows, turned into facts. virsh's texts are those of libvirt 9.0 (Debian 12)."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import libvirt
from nephoscope.probes.libvirt import Chain, Guest, Kvm

# `virsh --quiet -r -c test:////…/node.xml domstats --raw --state`; guest-1 was suspended and saved before
STATES = """\
Domain: 'guest-7'
  state.state=7
  state.reason=0

Domain: 'guest-1'
  state.state=5
  state.reason=5

Domain: 'it's "one"'
  state.state=1
  state.reason=1

Domain: 'guest-6'
  state.state=6
  state.reason=0

"""


def test_states():
    assert libvirt.parse(STATES) == (
        Guest("guest-7", "asleep", ""),
        Guest("guest-1", "shutoff", "saved"),
        Guest('it\'s "one"', "running", ""),
        Guest("guest-6", "crashed", ""),
    )


def test_no_domain_is_an_empty_list():
    assert libvirt.parse("\n") == ()


@pytest.mark.parametrize(
    "numbers, state, reason",
    [
        ((3, 5), "paused", "io-error"),  # VIR_DOMAIN_PAUSED_IOERROR
        ((3, 7), "paused", "from-snapshot"),  # VIR_DOMAIN_PAUSED_FROM_SNAPSHOT
        ((3, 1), "paused", "user"),
        ((3, 99), "paused", "unknown 99"),
        ((5, 3), "shutoff", "crashed"),
        ((2, 0), "running", ""),
        ((0, 0), "no state", ""),
        ((9, 0), "unknown 9", ""),
    ],
)
def test_numbers(numbers, state, reason):
    text = f"Domain: 'a'\n  state.state={numbers[0]}\n  state.reason={numbers[1]}\n"
    assert libvirt.parse(text) == (Guest("a", state, reason),)


@pytest.mark.parametrize(
    "text",
    [
        " 1   test   running\n",  # `virsh list`: not what was asked for
        "Domain: 'a'\n  state.state=on\n",
        "Domain: 'a'\nDomain: 'b'\n  state.state=1\n",
        "  state.state=1\n",
        "Domain: 'a'\n  state.reason=1\n",
    ],
)
def test_what_is_not_understood_is_said(text):
    with pytest.raises(Failed) as caught:
        libvirt.parse(text)
    assert caught.value.kind == UNREADABLE


HEAD = "error: failed to connect to the hypervisor\nerror: "


@pytest.mark.parametrize(
    "text, kind",
    [
        (
            HEAD + "Failed to connect socket to '/var/run/libvirt/libvirt-sock-ro': No such file or directory\n",
            UNREACHABLE,
        ),
        (HEAD + "Failed to connect socket to '/var/run/libvirt/libvirt-sock-ro': Connection refused\n", UNREACHABLE),
        (HEAD + "unable to connect to server at '127.0.0.1:11509': Connection refused\n", UNREACHABLE),
        (HEAD + "Failed to connect socket to '/tmp/lv/run/libvirt-sock': Permission denied\n", NOT_ALLOWED),
        (HEAD + "authentication unavailable: no polkit agent available to authenticate\n", NOT_ALLOWED),
        (HEAD + "no connection driver available for foo:///x\n", ABSENT),
        ("error: internal error: client socket is closed\n", UNREACHABLE),
        ("error: command 'domstats' doesn't support option --state\n", UNREADABLE),
        ("", UNREADABLE),
    ],
)
def test_refusals(text, kind):
    assert libvirt.refused("qemu:///system", text).kind == kind


def tree(root, flags="flags\t\t: fpu vmx sse\n", module="kvm_intel", device=True):
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: GenuineIntel\n{flags}bogomips\t: 4000\n\n")
    if module:
        (root / "sys/module" / module).mkdir(parents=True)
        (root / "sys/module/kvm").mkdir(exist_ok=True)
    if device:
        (root / "dev").mkdir()
        (root / "dev/kvm").touch()
    return Run(root=str(root))


@pytest.mark.parametrize(
    "shape, expected",
    [
        ({}, Kvm(True, "vmx", "kvm_intel")),
        ({"flags": "flags\t\t: fpu svm\n", "module": "kvm_amd"}, Kvm(True, "svm", "kvm_amd")),
        ({"flags": "flags\t\t: fpu vmxx sse\n"}, Kvm(True, "", "kvm_intel")),
        ({"flags": "Features\t: fp asimd\n", "module": "kvm"}, Kvm(True, None, "kvm")),  # arm64
        ({"module": "", "device": False}, Kvm(False, "vmx", "")),
    ],
)
def test_kvm(tmp_path, shape, expected):
    assert libvirt.kvm(tree(tmp_path, **shape)) == expected


def test_kvm_without_proc(tmp_path):
    with pytest.raises(Failed):
        libvirt.kvm(Run(root=str(tmp_path)))


def virsh(folder, script):
    program = folder / "virsh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(program, 0o755)


def test_a_link_that_fails_does_not_hide_the_others(tmp_path, monkeypatch):
    virsh(tmp_path, "exit 1")
    monkeypatch.setattr("nephoscope.base.child.PATH", f"{tmp_path}:/bin")
    chain = libvirt.chain(tree(tmp_path), ("bus", "kvm", "libvirt"), "qemu:///system", "/nowhere")
    assert (chain.bus.kind, chain.bus.of) == (UNREACHABLE, "bus")
    assert chain.kvm == Kvm(True, "vmx", "kvm_intel")
    assert (chain.guests.kind, chain.guests.of) == (UNREADABLE, "libvirt")


def test_what_was_not_asked_for_is_not_touched(tmp_path):
    assert libvirt.chain(tree(tmp_path), ("kvm",), "x", "/nowhere") == Chain(kvm=Kvm(True, "vmx", "kvm_intel"))


def test_without_libvirt_the_rest_of_the_chain_is_no_finding(tmp_path, monkeypatch):
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    with pytest.raises(Failed) as caught:
        libvirt.chain(tree(tmp_path), ("bus", "kvm", "libvirt"), "qemu:///system", "/nowhere")
    assert caught.value.kind == ABSENT


def test_a_hung_libvirt_leaves_time_for_the_bus(tmp_path, monkeypatch):
    virsh(tmp_path, "exec sleep 30")
    monkeypatch.setattr("nephoscope.base.child.PATH", f"{tmp_path}:/bin")
    run = Run(2.0, root=str(tree(tmp_path).root))  # 1 s of it may be used
    chain = libvirt.chain(run, ("bus", "libvirt"), "qemu:///system", "/nowhere")
    assert (chain.guests.kind, chain.bus.kind) == (UNREACHABLE, UNREACHABLE)
    assert "no answer in 0.7 s" in chain.guests.error
    assert "no such socket" in chain.bus.error
