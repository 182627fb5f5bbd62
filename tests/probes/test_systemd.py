# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run, child
from nephoscope.probes import systemd

from tests.probes import systemctl
from tests.probes.systemctl import FAILED, STOPPED


@pytest.fixture
def units(tmp_path, monkeypatch):
    def make(units, **words):
        monkeypatch.setattr(child, "PATH", systemctl.write(tmp_path, units, **words))

    return make


def look(*modes, names=(), before=None, clock=None, **words):
    return systemd.look(Run(before=before, clock=clock, **words), modes, names, 3600.0)


@pytest.mark.parametrize("columns", [False, True])
def test_failed_units_with_their_reason(units, columns):
    units(
        {"good.service": {}, "bad.service": FAILED, "srv.mount": {**FAILED, "Result": "timeout", "ExecMainStatus": ""}},
        columns=columns,
    )
    host = look("failed")
    assert [(unit.name, unit.words) for unit in host.failed] == [
        ("bad.service", "is failed (failed: exit-code, status 1)"),
        ("srv.mount", "is failed (failed: timeout)"),
    ]
    assert host.state == "running"


def test_a_signal_is_told_as_one(units):
    units({"bad.service": {**FAILED, "Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "11"}})
    assert look("failed").failed[0].why == "signal, signal 11"


def test_what_the_filters_leave_out_is_not_asked(units):
    units({"bad.service": FAILED, "other.service": FAILED})
    assert [unit.name for unit in look("failed", exclude=["bad*"]).failed] == ["other.service"]


def test_required_units_by_name_alias_and_glob(units):
    units({"nova-compute.service": {}, "nova-api.service": STOPPED, "ssh.service": {"LoadState": "masked", **STOPPED}})
    found = look("units", names=("nova-*", "ssh", "gone", "x*.service")).required
    assert [(unit.name, unit.load, unit.words) for unit in found] == [
        ("nova-compute.service", "loaded", "is active (running)"),
        ("nova-api.service", "loaded", "is inactive (dead)"),
        ("ssh.service", "masked", "is masked"),
        ("gone.service", "not-found", "is not-found"),
        ("x*.service", "not-found", "is not-found: no unit matches"),
    ]


@pytest.mark.parametrize(
    ("values", "missed"),
    [
        (STOPPED, True),
        ({**STOPPED, "WantedBy": "graphical.target"}, False),  # wanted by a target that is not active
        ({**STOPPED, "WantedBy": ""}, False),
        ({**STOPPED, "Type": "oneshot"}, False),  # it ran, and well
        ({**STOPPED, "Type": "oneshot", "ExecMainStartTimestampMonotonic": "0"}, True),  # it never ran
        ({**STOPPED, "Type": "oneshot", "Result": "exit-code"}, True),
        ({**STOPPED, "ConditionResult": "no"}, False),
        ({**STOPPED, "ConditionResult": "no", "ConditionTimestampMonotonic": "0"}, True),  # nobody tried yet
        ({**STOPPED, "TriggeredBy": "x.socket"}, False),
        ({**STOPPED, "TriggeredBy": "dead.socket"}, True),
        ({**STOPPED, "UnitFileState": "disabled"}, False),
        (FAILED, False),  # told by the mode that is for it
        ({"ActiveState": "activating", "SubState": "start"}, False),
    ],
)
def test_enabled_and_not_active(units, values, missed):
    units({"x.service": values, "x.socket": {"WantedBy": ""}, "dead.socket": {**STOPPED, "WantedBy": ""}})
    assert [unit.name for unit in look("enabled").enabled] == (["x.service"] if missed else [])


def row(name="a.service", restarts=0, start="aa"):
    return {"Id": name, "NRestarts": str(restarts), "InvocationID": start}


def test_starts_are_counted_whoever_starts():
    totals = systemd.count_starts([row(restarts=5)], None, True)
    assert totals == {"a.service": [0, 5, "aa"]}
    totals = systemd.count_starts([row(restarts=7, start="bb")], totals, True)
    assert totals == {"a.service": [2, 7, "bb"]}, "two automatic ones"
    totals = systemd.count_starts([row(restarts=0, start="cc")], totals, True)
    assert totals == {"a.service": [3, 0, "cc"]}, "by hand, which puts NRestarts back"
    totals = systemd.count_starts([row(restarts=0, start="")], totals, True)
    assert totals == {"a.service": [3, 0, "cc"]}, "stopped"
    totals = systemd.count_starts([row(restarts=2, start="dd")], totals, True)
    assert totals["a.service"][0] in (5, 6)
    assert systemd.count_starts([row(restarts=1, start="ee")], totals, False) == {"a.service": [0, 1, "ee"]}, (
        "another boot"
    )
    assert systemd.count_starts([row(start="", name="never.service"), {"Id": "x.target"}], None, True) == {}
    assert systemd.count_starts([row()], {"a.service": "garbage"}, True) == {"a.service": [0, 0, "aa"]}


def test_restarts_over_two_runs(units):
    units({"a.service": {}, "b.service": {}})
    first = look("restarts")
    assert {unit.name: unit.restarts for unit in first.restarted} == {"a.service": COLLECTING, "b.service": COLLECTING}
    units({"a.service": {"NRestarts": "4", "InvocationID": "bb"}, "b.service": {}})
    second = look("restarts", before=first.kept, clock=Clock(shift=600))
    assert {unit.name: unit.restarts for unit in second.restarted} == {"a.service": 4, "b.service": 0}
    later = look("restarts", before=second.kept, clock=Clock(shift=8000))
    assert {unit.name: unit.restarts for unit in later.restarted} == {"a.service": 0, "b.service": 0}
    only = look("restarts", names=["b"])
    assert [unit.name for unit in only.restarted] == ["b.service"]


def wtmp(*records):
    """Records of utmp(5) as Linux writes them: ut_type, ut_user."""
    return b"".join(struct.pack("=hxxi32s4s32s256s52x", kind, 0, b"~", b"~~", user, b"6.1.0") for kind, user in records)


BOOT, DOWN, LOGIN = (2, b"reboot"), (1, b"shutdown"), (7, b"root")


@pytest.mark.parametrize(
    ("records", "shutdown"),
    [
        ([BOOT, LOGIN, DOWN, BOOT, LOGIN], "clean"),
        ([BOOT, LOGIN, BOOT, LOGIN], "none"),
        ([DOWN, BOOT, LOGIN, BOOT], "none"),
        ([BOOT, LOGIN], ""),
        ([DOWN, BOOT], "clean"),
        ([], ""),
    ],
)
def test_boot(tmp_path, records, shutdown):
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "proc/uptime").write_text("4078.47 8000.00\n")
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("1bdf8a3c-2f3e-4f9c-8a57-0d5f0f3a5b11\n")
    (tmp_path / "var/log/wtmp").write_bytes(wtmp(*records) + b"half a record")
    assert len(wtmp(BOOT)) == 384
    host = look("boot", root=str(tmp_path))
    assert (host.boot, host.kept) == (systemd.Boot(4078.47, False, shutdown), {"boot": "1bdf8a3c"})
    assert look("boot", root=str(tmp_path), before={"boot": "0000"}).boot.new
    assert not look("boot", root=str(tmp_path), before={"boot": "1bdf8a3c"}).boot.new
    (tmp_path / "proc/uptime").write_text("soon")
    with pytest.raises(Failed) as caught:
        look("boot", root=str(tmp_path))
    assert caught.value.kind == UNREADABLE


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        # the first two as printed by systemctl 252 where pid 1 is another program
        (
            "System has not been booted with systemd as init system (PID 1). Can't operate.\nFailed to connect to bus: Host is down",
            ABSENT,
        ),
        ("Failed to connect to bus: Host is down", ABSENT),
        ("Failed to connect to bus: No such file or directory", UNREACHABLE),
        ("Failed to list units: Connection timed out", UNREACHABLE),
        ("Failed to connect to bus: Permission denied", NOT_ALLOWED),
        ("Failed to get properties: Access denied", NOT_ALLOWED),
        ("Unknown operation show.", UNREADABLE),
    ],
)
def test_a_systemd_that_does_not_answer(tmp_path, monkeypatch, message, kind):
    monkeypatch.setattr(child, "PATH", systemctl.refuse(tmp_path, message))
    with pytest.raises(Failed) as caught:
        look("failed")
    assert (caught.value.kind, caught.value.error) == (kind, message.split("\n")[0])


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("echo SystemState=offline", ABSENT),
        ("echo hello", UNREADABLE),
        ("", UNREADABLE),
        ("case $* in *list-units*) echo '[{\"unit\": 1}]';; *) echo SystemState=running;; esac", UNREADABLE),
        ("case $* in *list-units*) echo 'what is this';; *) echo SystemState=running;; esac", UNREADABLE),
        ("case $* in *list-units*) echo '[';; *) echo SystemState=running;; esac", UNREADABLE),
        ("sleep 20", UNREACHABLE),
    ],
)
def test_what_is_not_understood(tmp_path, monkeypatch, script, kind):
    monkeypatch.setattr(child, "PATH", systemctl.program(tmp_path, f"#!/bin/sh\n{script}\n"))
    with pytest.raises(Failed) as caught:
        systemd.look(Run(1.5), ("failed",), (), 3600.0)
    assert caught.value.kind == kind


def test_no_systemctl_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "PATH", str(tmp_path))
    with pytest.raises(Failed) as caught:
        look("failed")
    assert caught.value.kind == ABSENT
