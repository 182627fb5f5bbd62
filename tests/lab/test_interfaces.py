# SPDX-License-Identifier: Apache-2.0
"""A real veth pair in a network namespace of its own: the link is cut, flaps, shrinks, drops, is used, and goes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nephoscope.plugin import CRITICAL, OK, WARNING

from tests.lab.support import ROOT, need, need_root

pytestmark = pytest.mark.lab

CHECK = """
import json, sys
from nephoscope.base import Clock
from nephoscope.checks.node.check_interface import CHECK
outcome = CHECK.run(sys.argv[2:], clock=Clock(shift=float(sys.argv[1])))
print(json.dumps([outcome.state, outcome.reason, outcome.text, outcome.perfdata]))
"""
# Frames of an experimental EtherType that nobody takes (RFC 3692 style, 0x88b5), from the far end of the cable.
SEND = """
import socket, sys
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(("far", 0))
mac = bytes.fromhex(open("/sys/class/net/near/address").read().strip().replace(":", ""))
for _ in range(int(sys.argv[1])):
    sender.send(mac + bytes(6) + b"\\x88\\xb5" + bytes(1386))
"""


class Net:
    """A network namespace with the two ends of a cable, `near` (with a default route) and `far`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", "-netns", self.name, *words], check=True)

    def python(self, code: str, *argv: str) -> str:
        line = ["ip", "netns", "exec", self.name, sys.executable, "-c", code, *argv]
        return subprocess.run(line, check=True, cwd=ROOT, capture_output=True, text=True).stdout

    def check(self, *argv: str, shift: float = 0) -> tuple[int, str, str, list[str]]:
        answer: Any = json.loads(self.python(CHECK, str(shift), *argv, "--state-dir", str(self.folder / "state")))
        return answer[0], answer[1], answer[2], answer[3]


@pytest.fixture
def net(folder: Path) -> Iterator[Net]:
    need_root("a network namespace")
    need("ip")
    name = f"nephoscope{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    made = Net(name, folder)
    try:
        made.ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        for end in ("near", "far"):
            made.ip("link", "set", end, "up")
        made.ip("address", "add", "192.0.2.1/24", "dev", "near")
        made.ip("route", "add", "default", "via", "192.0.2.2")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_the_end_with_the_default_route_is_looked_at(net: Net) -> None:
    state, reason, _, _ = net.check()
    assert (state, reason) == (OK, "1 looked at: near 10000 Mbit/s; not: 2 others, rates collecting")


def test_a_cut_cable(net: Net) -> None:
    net.ip("link", "set", "far", "down")
    state, reason, _, _ = net.check()
    assert (state, reason) == (CRITICAL, "near is not up: no carrier")


def test_a_cable_that_flaps(net: Net) -> None:
    assert net.check("--mode", "carrier")[0] == OK
    for _ in range(2):
        net.ip("link", "set", "far", "down")
        net.ip("link", "set", "far", "up")
    state, reason, _, perfdata = net.check("--mode", "carrier", shift=600)
    assert (state, reason) == (WARNING, "near carrier changes 4 is above 2")
    assert perfdata == ["near_carrier_changes=4;2"]


def test_expectations(net: Net) -> None:
    net.ip("link", "set", "near", "alias", "storage net")
    assert net.check("--expect", "storage net=10G/1500")[0] == OK
    net.ip("link", "set", "near", "mtu", "1400")
    state, reason, _, _ = net.check("--expect", "storage net=25G/1500", "--expect", "management")
    assert state == CRITICAL
    assert reason == (
        "management does not exist, near runs at 10000 Mbit/s, expected 25000, near has MTU 1400, expected 1500"
    )


def test_one_that_is_switched_off_or_gone(net: Net) -> None:
    net.ip("link", "set", "near", "down")
    assert net.check("--expect", "near")[:2] == (CRITICAL, "near is switched off")
    net.ip("link", "delete", "near")
    assert net.check("--expect", "near")[:2] == (CRITICAL, "near does not exist")


def test_an_end_of_a_guest_is_looked_at_when_it_is_named(net: Net) -> None:
    state, _, text, _ = net.check("--include", "far")
    assert state == OK
    assert "1 looked at: far 10000 Mbit/s" in text


def test_drops_and_use(net: Net) -> None:
    """6000 frames of 1400 bytes that nobody takes, told as if sent within a minute."""
    argv = ("--mode", "drops", "--mode", "use", "-w", "use=0.005")
    assert net.check(*argv)[0] == OK
    net.python(SEND, "6000")
    state, reason, text, perfdata = net.check(*argv, shift=60)
    assert state == WARNING, text
    numbers = {item.partition("=")[0]: float(item.partition("=")[2].split(";")[0].rstrip("%c")) for item in perfdata}
    # The run itself takes some seconds of its own, and IPv6 says a word or two.
    assert 80 < numbers["near_drops_rate"] < 102
    assert 0.8 * 0.0112 < numbers["near_use"] < 1.05 * 0.0112
    assert 8_400_000 <= numbers["near_in"] < 8_500_000
    assert "near drops" in reason and "near use" in reason
