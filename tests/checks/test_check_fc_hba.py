# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import os
import shutil
import time

import pytest
from nephoscope.base import COLLECTING, UNREACHABLE, Failed
from nephoscope.checks.storage.check_fc_hba import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import fc_host
from nephoscope.probes.fc_host import Port, Survey

from tests.probes.fc_tree import TARGET, WWPN, port, target
from tests.probes.kernel_tree import first_line, refuse

W3, W4 = WWPN.format(3), WWPN.format(4)
GOOD = Port(W3, "host3", speed=16.0, usual=16.0, targets=2, most=2, rate=0.0)


def judged(*ports, argv=(), gone=None):
    return list(judge(Survey(ports, gone or {}), CHECK.parse(*argv)))


def test_a_good_one():
    assert judged(GOOD) == [
        Finding(OK, W3, "(host3) is Online"),
        Metric("targets", 2, W3),
        Metric("speed", 16.0, W3),
        Metric("errors_rate", 0.0, W3),
        Metric("ports_up", 1),
        Finding(OK, "", "1 of 1 ports up: host3 16 Gbit/s"),
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (
            {"state": "Linkdown", "health": "failed"},
            [Finding(CRITICAL, W3, "(host3) is Linkdown"), Metric("ports_up", 0)],
        ),
        ({"state": "X", "health": "unknown"}, [Finding(UNKNOWN, W3, "(host3) is X, which is not understood")]),
    ],
)
def test_one_that_is_not_up(words, found):
    assert judged(GOOD._replace(**words)) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({"state": "Marginal", "health": "degraded"}, Finding(WARNING, W3, "(host3) is Marginal")),
        ({"speed": 8.0}, Finding(WARNING, W3, "(host3) runs at 8 Gbit/s, 16 is usual")),
        ({"speed": None}, Finding(UNKNOWN, W3, "(host3) tells no speed, 16 Gbit/s is usual")),
        ({"targets": 1}, Finding(WARNING, W3, "(host3) sees 1 targets, 2 at most")),
        ({"others": ("0x5 Blocked",)}, Finding(WARNING, W3, "(host3) sees 2 targets, 2 at most: 0x5 Blocked")),
        ({"strange": ("0x5 X",)}, Finding(UNKNOWN, W3, "(host3) sees what is not understood: 0x5 X")),
        (
            {"rate": 0.5, "errors": {"error_frames": 150.0}},
            Metric("errors_rate", 0.5, W3, detail="error_frames 150"),
        ),
        ({"rate": COLLECTING}, Metric("errors_rate", COLLECTING, W3)),
    ],
)
def test_each_trouble(words, found):
    assert found in judged(GOOD._replace(**words))


def test_what_is_expected_and_what_is_gone():
    assert judged(GOOD, argv=("--expect", "host3", "--expect", W3)) == judged(GOOD)
    by_switch = ":".join(W3[at : at + 2] for at in range(2, 18, 2)).upper()
    assert judged(GOOD, argv=("--expect", by_switch, "--expect", W3[2:])) == judged(GOOD)
    assert judged(GOOD, argv=("--expect", W4))[0] == Finding(CRITICAL, W4, "does not exist")
    gone = Finding(WARNING, W4, "is gone, it was there 10 min ago")
    assert judged(GOOD, gone={W4: 600.0})[0] == gone
    assert gone not in judged(GOOD, argv=("--expect", W4), gone={W4: 600.0})
    silent = Failed(UNREACHABLE, W4, "read", "no answer in 5 s")
    assert judged(silent, GOOD, argv=("--expect", W4))[0] == silent
    unnamed = Failed(UNREACHABLE, "", "read", "no answer in 5 s")
    assert judged(unnamed, argv=("--expect", W4))[1] == Finding(UNKNOWN, W4, "was not found")
    assert "ports_up" not in [found.name for found in judged(silent, GOOD) if isinstance(found, Metric)]


line = functools.partial(first_line, CHECK)


def lay(folder):
    for number in (3, 4):
        port(folder / "root", number)
        target(folder / "root", number, 1)
    return folder / "root"


VALUES = f"{W3}_speed=16 {W3}_targets=1 {W4}_speed=16 {W4}_targets=1"


def test_well(tmp_path):
    lay(tmp_path)
    said = "2 of 2 ports up: host3 16 Gbit/s, host4 16 Gbit/s, rates collecting"
    assert line(tmp_path) == f"FC_HBA OK - {said} | ports_up=2;;1: {VALUES}"
    said = said.replace(", rates collecting", "")
    rates = f"{W3}_errors_rate=0;0;0.1667 {W4}_errors_rate=0;0;0.1667"
    assert line(tmp_path, shift=60) == f"FC_HBA OK - {said} | ports_up=2;;1: {VALUES} {rates}"


ONE = f"{W3}_speed=16 {W3}_targets=1"
LINES = [
    (4, {"port_state": "Linkdown"}, (), f"CRITICAL - {W4} (host4) is Linkdown | ports_up=1;;1: {ONE}"),
    (4, {"port_state": "Linkdown"}, ("--exclude", W4), f"OK - 1 of 1 ports up: host3 16 Gbit/s, rates collecting | ports_up=1;;1: {ONE}"),
    (4, {"port_state": "Linkdown"}, ("-w", "ports_up=2:", "--include", "0x*"), f"CRITICAL - {W4} (host4) is Linkdown, WARNING: ports up 1 is below 2 | ports_up=1;2:;1: {ONE}"),
    (4, {"port_state": "Dreaming"}, (), f"UNKNOWN - {W4} (host4) is Dreaming, which is not understood | {ONE}"),
    (4, {"port_state": "Marginal"}, (), f"WARNING - {W4} (host4) is Marginal | ports_up=2;;1: {VALUES}"),
    (4, {"speed": "8 Gbit"}, (), f"WARNING - {W4} (host4) runs at 8 Gbit/s, 16 is usual | ports_up=2;;1: {VALUES.replace(f'{W4}_speed=16', f'{W4}_speed=8')}"),
    (4, {"counts": {"error_frames": "many"}}, (), f"UNKNOWN - {W4}: not a number: 'many' (read error_frames) | {ONE}"),
    (4, {}, ("--expect", "host5"), f"CRITICAL - host5 does not exist | ports_up=2;;1: {VALUES}"),
    (4, {}, ("-w", "speed=32:"), f"WARNING - {W3} speed 16 is below 32, {W4} speed 16 is below 32 | ports_up=2;;1: {VALUES.replace('_speed=16', '_speed=16;32:')}"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "words", "argv", "said"), LINES)
def test_first_lines(tmp_path, number, words, argv, said):
    port(lay(tmp_path), number, **words)
    assert line(tmp_path, *argv) == f"FC_HBA {said}"


def test_a_target_that_is_lost(tmp_path):
    root = lay(tmp_path)
    line(tmp_path)
    target(root, 3, 1, "Blocked")
    said = line(tmp_path, shift=60)
    assert said.startswith(f"FC_HBA WARNING - {W3} (host3) sees 0 targets, 1 at most: {TARGET.format(1)} Blocked | ")
    shutil.rmtree(root / "sys/class/fc_remote_ports/rport-3:0-1")
    assert line(tmp_path, shift=120).startswith(f"FC_HBA WARNING - {W3} (host3) sees 0 targets, 1 at most | ")
    assert line(tmp_path, shift=8 * 86400).startswith("FC_HBA OK - 2 of 2 ports up")


@pytest.mark.parametrize(
    ("frames", "state", "limit"), [(6, "WARNING", "0/s"), (60, "CRITICAL", "0.17/s")]
)  # in 120 s: 3 and 30 in a minute
def test_errors(tmp_path, frames, state, limit):
    root = lay(tmp_path)
    line(tmp_path)
    port(root, 4, counts={"invalid_crc_count": frames})
    said = line(tmp_path, shift=120)
    assert said.startswith(f"FC_HBA {state} - {W4} errors 0.")
    assert f" is above {limit} (invalid_crc_count {frames}) | " in said


def test_a_port_that_is_gone(tmp_path):
    root = lay(tmp_path)
    line(tmp_path)
    shutil.rmtree(root / "sys/class/fc_host/host4")
    assert line(tmp_path, shift=600).startswith(
        f"FC_HBA WARNING - {W4} is gone, it was there 10 min ago | ports_up=1;;1: "
    )
    shutil.rmtree(root / "sys/class/fc_host/host3")
    assert line(tmp_path, shift=1200) == (
        f"FC_HBA CRITICAL - ports up 0 is below 1, WARNING: {W3} is gone, it was there 10 min ago,"
        f" {W4} is gone, it was there 20 min ago | ports_up=0;;1:"
    )


def test_no_port(tmp_path):
    os.makedirs(tmp_path / "root")
    none = "the kernel has no Fibre Channel port (list /sys/class/fc_host)"
    assert line(tmp_path) == f"FC_HBA UNKNOWN - {none}"
    assert line(tmp_path, "--absent-state", "ok") == f"FC_HBA OK - {none}"


def test_a_firmware_that_does_not_answer(tmp_path, monkeypatch):
    lay(tmp_path)
    real = fc_host._read
    monkeypatch.setattr(fc_host, "_read", lambda run, host: time.sleep(60) if host == "host4" else real(run, host))
    begun = time.monotonic()
    said = line(tmp_path, "-t", "2")
    assert time.monotonic() - begun < 2.5
    assert said == f"FC_HBA CRITICAL - {W4}: no answer in 1 s (read a Fibre Channel port) | {ONE}"


def test_nobody_may_read(tmp_path, monkeypatch):
    lay(tmp_path)
    refuse(monkeypatch, "fc_host")
    assert line(tmp_path) == "FC_HBA UNKNOWN - Permission denied (list /sys/class/fc_host)"
