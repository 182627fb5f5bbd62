# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import time

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import fc_host
from nephoscope.probes.fc_host import Port

from tests.probes.fc_tree import TARGET, WWPN, port, target
from tests.probes.kernel_tree import put, refuse

WWPN3, WWPN4 = WWPN.format(3), WWPN.format(4)


def look(root, before=None, shift=0.0, expected=(), **words):
    return fc_host.survey(Run(root=str(root), before=before, clock=Clock(shift), **words), expected)


def test_a_good_port(tmp_path):
    port(tmp_path, 3)
    target(tmp_path, 3, 1)
    target(tmp_path, 3, 2)
    target(tmp_path, 3, 3, roles="FCP Initiator")
    target(tmp_path, 13, 4)
    seen = look(tmp_path)
    assert seen.ports == (Port(WWPN3, "host3", "Online", "ok", 16.0, 16.0, 2, 2, (), (), {}, COLLECTING),)
    assert seen.names == {WWPN3, "host3"}


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("Online", "ok"), ("Marginal", "degraded"), ("Linkdown", "failed"), ("Offline", "failed"), ("Blocked", "failed"),
        ("Error", "failed"), ("Not Present", "failed"), ("Bypassed", "failed"), ("Diagnostics", "failed"),
        ("Loopback", "failed"), ("Deleted", "failed"), ("Unknown", "unknown"), ("Sleeping", "unknown"), ("", "unknown"),
    ],
)  # fmt: skip
def test_every_state_of_a_port(tmp_path, word, health):
    (found,) = look(port(tmp_path, 3, port_state=word)).ports
    assert (found.state, found.health) == (word, health)


@pytest.mark.parametrize(
    ("word", "online", "others", "strange"),
    [
        ("Online", 1, 0, 0), ("Marginal", 1, 1, 0), ("Blocked", 0, 1, 0), ("Not Present", 0, 1, 0), ("Unknown", 0, 0, 1),
        ("Sleeping", 0, 0, 1),
    ],
)  # fmt: skip
def test_every_state_of_a_target(tmp_path, word, online, others, strange):
    port(tmp_path, 3)
    (found,) = look(target(tmp_path, 3, 1, word)).ports
    assert (found.targets, len(found.others), len(found.strange)) == (online, others, strange)
    assert (found.others + found.strange)[:1] in ((), (f"{TARGET.format(1)} {word}",))


@pytest.mark.parametrize(
    ("word", "speed"),
    [("16 Gbit", 16.0), ("1 Gbit", 1.0), ("128 Gbit", 128.0), ("Unknown", None), ("Not Negotiated", None), ("", None)],
)
def test_speeds(tmp_path, word, speed):
    assert look(port(tmp_path, 3, speed=word)).good[0].speed == speed


def test_the_usual_speed_is_that_of_before_or_of_its_like(tmp_path):
    port(tmp_path, 3)
    port(tmp_path, 4, speed="8 Gbit")
    port(tmp_path, 5, speed="8 Gbit", supported_speeds="2 Gbit, 4 Gbit, 8 Gbit")
    first = look(tmp_path)
    assert [found.usual for found in first.good] == [16.0, 16.0, 8.0]
    port(tmp_path, 3, speed="4 Gbit")
    port(tmp_path, 5, speed="Unknown", supported_speeds="2 Gbit, 4 Gbit, 8 Gbit")
    later = look(tmp_path, first.kept, 60)
    assert [(found.speed, found.usual) for found in later.good] == [(4.0, 16.0), (8.0, 8.0), (None, 8.0)]
    assert [found.usual for found in look(tmp_path, later.kept, 8 * 86400).good] == [8.0, 8.0, None]


def test_errors_are_rates_by_counter_and_what_is_not_counted_is_left_out(tmp_path):
    counts = {"error_frames": 0x10, "loss_of_sync_count": -1, "nos_count": 0xFFFFFFFF}
    first = look(port(tmp_path, 3, counts=counts))
    port(tmp_path, 3, counts={**counts, "error_frames": 0x16, "invalid_crc_count": 6})
    (found,) = look(tmp_path, first.kept, 120).good
    assert found.errors == {"error_frames": 6.0, "invalid_crc_count": 6.0}
    assert found.rate == pytest.approx(0.1, rel=0.05)
    # A reset of the counters is no error.
    port(tmp_path, 3)
    assert look(tmp_path, look(tmp_path, first.kept, 120).kept, 180).good[0].rate is not None


def test_a_driver_without_counters(tmp_path):
    port(tmp_path, 3)
    shutil.rmtree(f"{tmp_path}/sys/class/fc_host/host3/statistics")
    assert look(tmp_path).good[0].rate is None


def test_what_was_there_is_missed(tmp_path):
    port(tmp_path, 3)
    port(tmp_path, 4)
    target(tmp_path, 3, 1)
    target(tmp_path, 3, 2)
    before = look(tmp_path).kept
    shutil.rmtree(f"{tmp_path}/sys/class/fc_host/host4")
    shutil.rmtree(f"{tmp_path}/sys/class/fc_remote_ports/rport-3:0-2")
    later = look(tmp_path, before, 600)
    assert {name: round(age) for name, age in later.gone.items()} == {WWPN4: 600}
    assert (later.good[0].targets, later.good[0].most) == (1, 2)
    much_later = look(tmp_path, later.kept, 8 * 86400)
    assert (much_later.gone, much_later.good[0].most) == ({}, 1)
    assert look(tmp_path, before, 600, exclude=[WWPN4]).gone == {}
    shutil.rmtree(f"{tmp_path}/sys/class/fc_host/host3")
    assert set(look(tmp_path, before, 600).gone) == {WWPN3, WWPN4}


def test_no_port(tmp_path):
    for folder in ("nothing", "empty"):
        if folder == "empty":
            os.makedirs(f"{tmp_path}/sys/class/fc_host")
        with pytest.raises(Failed) as caught:
            look(tmp_path)
        cause = "the kernel has no Fibre Channel port"
        assert caught.value == Failed(ABSENT, "", "list /sys/class/fc_host", cause)
        assert look(tmp_path, expected=["host3"]).ports == ()


def test_a_port_without_a_name_or_with_a_strange_counter(tmp_path):
    port(tmp_path, 3, port_name="")
    port(tmp_path, 4, counts={"error_frames": "many"})
    assert look(tmp_path).ports == (
        Port("host3", "host3", "Online", "ok", 16.0, 16.0, 0, 0, (), (), {}, COLLECTING),
        Failed(UNREADABLE, WWPN4, "read error_frames", "not a number: 'many'"),
    )


def test_a_port_that_goes_while_it_is_read_is_none(tmp_path):
    put(tmp_path, "/sys/class/fc_host/host3/port_name", WWPN3)
    assert look(tmp_path).ports == ()


def test_a_port_whose_firmware_does_not_answer(tmp_path, monkeypatch):
    port(tmp_path, 3)
    port(tmp_path, 4)
    real = fc_host._read
    monkeypatch.setattr(fc_host, "_read", lambda run, host: time.sleep(60) if host == "host4" else real(run, host))
    seen = look(tmp_path, seconds=1.5)
    assert [found.name for found in seen.good] == [WWPN3]
    assert (seen.ports[1].kind, seen.ports[1].of) == (UNREACHABLE, WWPN4)
    assert "no answer in " in seen.ports[1].error


@pytest.mark.parametrize(
    ("ending", "of"),
    [("host4/port_name", ""), *((f"host4/{name}", WWPN4) for name in ("port_state", "speed", "supported_speeds"))],
)
def test_what_may_not_be_read_is_no_default(tmp_path, monkeypatch, ending, of):
    port(tmp_path, 3)
    port(tmp_path, 4)
    before = look(tmp_path).kept
    refuse(monkeypatch, ending)
    seen = look(tmp_path, before, 60)
    assert ([found.name for found in seen.good], seen.gone, seen.named) == ([WWPN3], {}, bool(of))
    path = f"/sys/class/fc_host/{ending}"
    assert [one for one in seen.ports if isinstance(one, Failed)] == [
        Failed(NOT_ALLOWED, of, f"read {path}", "Permission denied")
    ]


def test_counters_that_may_not_be_read(tmp_path, monkeypatch):
    refuse(monkeypatch, "statistics/invalid_crc_count")
    (found,) = look(port(tmp_path, 3)).ports
    assert (found.kind, found.of) == (NOT_ALLOWED, WWPN3)


@pytest.mark.parametrize("file", ["roles", "port_state", "port_name"])
def test_a_target_that_may_not_be_read(tmp_path, monkeypatch, file):
    port(tmp_path, 3)
    target(tmp_path, 3, 1)
    refuse(monkeypatch, f"rport-3:0-1/{file}")
    (found,) = look(tmp_path).good
    assert (found.targets, found.strange) == (0, ("rport-3:0-1: Permission denied",))


def test_a_target_that_goes_while_it_is_read_is_none(tmp_path):
    port(tmp_path, 3)
    put(tmp_path, "/sys/class/fc_remote_ports/rport-3:0-1/roles", "FCP Target")
    (found,) = look(tmp_path).good
    assert (found.targets, found.others, found.strange) == (0, (), ())


@pytest.mark.parametrize("how", ["gone", "unread"])
def test_what_is_usual_outlives_a_while_in_which_the_port_can_t_be_read(tmp_path, monkeypatch, how):
    port(tmp_path, 3)
    port(tmp_path, 4, supported_speeds="")
    target(tmp_path, 4, 1)
    before = look(tmp_path).kept
    with monkeypatch.context() as patched:
        if how == "gone":
            shutil.rmtree(f"{tmp_path}/sys/class/fc_host/host4")
        else:
            refuse(patched, "host4/port_state")
        meanwhile = look(tmp_path, before, 60).kept
    port(tmp_path, 4, speed="8 Gbit", supported_speeds="")
    shutil.rmtree(f"{tmp_path}/sys/class/fc_remote_ports/rport-4:0-1")
    found = look(tmp_path, meanwhile, 120).good[1]
    assert (found.speed, found.usual, found.targets, found.most) == (8.0, 16.0, 0, 1)
