# SPDX-License-Identifier: Apache-2.0
"""/proc/net/igmp as Linux 6.18 prints it on a little-endian machine."""

from __future__ import annotations

import sys

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import multicast

HEAD = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
LO = "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
ETH = "4\teth0      :     2      V3\n\t\t\t\t0307C1EF     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"


def write(root, text):
    (root / "proc/net").mkdir(parents=True)
    (root / "proc/net/igmp").write_text(text)
    return Run(root=str(root))


@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")
def test_groups_and_their_interfaces(tmp_path):
    assert multicast.joined(write(tmp_path, HEAD + LO + ETH)) == {"224.0.0.1": ("lo", "eth0"), "239.193.7.3": ("eth0",)}


def test_this_machine_has_joined_the_group_of_all_hosts():
    assert "lo" in multicast.joined(Run()).get("224.0.0.1", ("lo",))


def test_none_is_none(tmp_path):
    assert multicast.joined(write(tmp_path, HEAD)) == {}


@pytest.mark.parametrize("text", ["", "garbage\n", HEAD + "\t\t\t\tZZZZ 1\n", HEAD + "1\n"])
def test_what_is_not_understood(tmp_path, text):
    with pytest.raises(Failed) as caught:
        multicast.joined(write(tmp_path, text))
    assert caught.value.kind == UNREADABLE


def test_a_kernel_without_multicast(tmp_path):
    with pytest.raises(Failed) as caught:
        multicast.joined(Run(root=str(tmp_path)))
    assert caught.value.kind == ABSENT
