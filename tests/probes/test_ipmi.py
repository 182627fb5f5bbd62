# SPDX-License-Identifier: Apache-2.0
"""The two tools' answers, as FreeIPMI 1.6.10 and ipmitool 1.8.19 print them (what ipmi_sim cannot make is marked)."""

from __future__ import annotations

import os
import stat
import time

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, child
from nephoscope.probes import ipmi
from nephoscope.probes.parts import Part

# printed by ipmi-sensors against ipmi_sim; from FAN1 on made by hand after freeipmi_interpret_sensor.conf(5)
SENSORS = """\
1,CPU Temp,Temperature,Nominal,86.00,C,1.00,3.00,5.00,85.00,90.00,95.00,'At or Above (>=) Upper Non-Critical Threshold'
2,PS1,Power Supply,Critical,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,'Power Supply Failure detected'
3,FAN1,Fan,Nominal,4200.00,RPM,300.00,400.00,500.00,N/A,N/A,N/A,'OK'
4,Power, all,Current,Nominal,210.00,W,N/A,N/A,N/A,896.00,980.00,N/A,'OK'
5,PS Redundancy,Power Unit,Critical,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,'Redundancy Lost' 'Non-redundant:Sufficient Resources'
6,DIMM Temp,Temperature,N/A,N/A,C,N/A,N/A,N/A,N/A,N/A,N/A,N/A
7,OEM 7,OEM Reserved,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,'OEM Event = 0001h'
8,Odd,Temperature,Weird,20.00,C,N/A,N/A,N/A,N/A,N/A,N/A,'OK'
9,FAN1,Fan,Nominal,4300.00,RPM,300.00,400.00,500.00,N/A,N/A,N/A,'OK'
"""
SEL = """\
1,PostInit,PostInit,CPU Temp,Temperature,Warning,Upper Non-critical - going high ; Sensor Reading = 92.00 C ; Threshold = 85.00 C
3,Nov-20-2026,10:11:12,PS1,Power Supply,Critical,Power Supply Failure detected
5,PostInit,PostInit,PS1,Power Supply,Nominal,Presence detected
"""
INFO = """\
SEL version                            : 1.5
Number of log entries                  : 5
Free space remaining                   : 15920 bytes
Events dropped due to lack of space    : No
"""
# printed by ipmitool; the fourth and later lines are made by hand after its man page
SDR = """\
CPU Temp,92,degrees C,ucr
PS1,03h,ok,10.1,Presence detected, Failure detected
PS2,04h,ok,10.2,Presence detected
FAN1,4200,RPM,ok
DIMM Temp,,,ns
Redundancy,05h,ok,21.1,Redundancy Degraded
Thing,06h,ok,7.1,Something nobody knows
Odd,20,degrees C,xx
"""
ELIST = """\
1, Pre-Init ,0000001532,Temperature CPU Temp,Upper Non-critical going high,Asserted,Reading 92 > Threshold 85 degrees C
4, Pre-Init ,0000001533,Temperature CPU Temp,Upper Critical going high,Deasserted,Reading 86 < Threshold 90 degrees C
"""
SEL_INFO = "SEL Information\nEntries          : 3\nFree Space       : 15952 bytes \nOverflow         : true\n"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put programs of ours in the place of the two tools: each prints what it was told to and notes how it was called."""

    def make(answers=None, *, freeipmi=True, status=0, err="", sleep=0):
        lines = []
        for number, answer in enumerate(answers or ("", "", "")):
            (tmp_path / f"answer{number}").write_text(answer)
            (tmp_path / "err").write_text(err)
            program = tmp_path / f"tool{number}"
            program.write_text(
                f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/argv{number}\ncat > {tmp_path}/stdin{number}\n"
                f'echo "$IPMI_PASSWORD" > {tmp_path}/env{number}\nsleep {sleep}\n'
                f"cat {tmp_path}/answer{number}\ncat {tmp_path}/err >&2\nexit {status}\n"
            )
            program.chmod(0o755)
            source = ipmi.LOCAL if freeipmi else ipmi.LOCAL_IPMITOOL
            lines.append((str(program), *source[number][1:]))
        none = (("/nonexistent/tool", "-I", "open"),) * 3
        monkeypatch.setattr(ipmi, "LOCAL", tuple(lines) if freeipmi else none)
        monkeypatch.setattr(ipmi, "LOCAL_IPMITOOL", none if freeipmi else tuple(lines))
        return tmp_path

    return make


BMC = ipmi.Bmc("bmc.example", 623, "nagios", 'pa"ss#w\\ord')


def running(tmp_path, seconds=8.0):
    return Run(seconds, root=str(tmp_path), cache_directory=str(tmp_path / "cache"))


def test_freeipmi_sensors(tool, tmp_path):
    parts = ipmi.sensors(running(tool((SENSORS, "", ""))), BMC)
    limits = (5.0, 85.0)
    assert parts[0] == Part(
        "ipmi",
        "CPU Temp",
        "temperature",
        "ok",
        "At or Above (>=) Upper Non-Critical Threshold",
        86.0,
        "C",
        3.0,
        *limits,
        90.0,
    )
    assert parts[0].beyond() == ("degraded", "86 C has reached its own upper limit 85"), "FreeIPMI calls this Nominal"
    assert [(part.name, part.health, part.text, part.quantity) for part in parts[1:]] == [
        ("PS1", "failed", "Power Supply Failure detected", ""),
        ("FAN1", "ok", "", "fan_rpm"),
        ("Power, all", "ok", "", "power_watts"),
        ("PS Redundancy", "failed", "Redundancy Lost, Non-redundant:Sufficient Resources", ""),
        ("DIMM Temp", "absent", "gives no reading", ""),
        ("OEM 7", "", "OEM Event = 0001h", ""),
        ("Odd", "unknown", "state 'Weird'", "temp_celsius"),
        ("FAN1 #2", "ok", "", "fan_rpm"),
    ]


def test_freeipmi_log(tool):
    log = ipmi.log(running(tool(("", SEL, INFO))), BMC)
    assert [(event.key, event.at, event.severity, event.text[:14]) for event in log.events] == [
        ("1 PostInit PostInit", "PostInit PostInit", "degraded", "CPU Temp: Uppe"),
        ("3 Nov-20-2026 10:11:12", "Nov-20-2026 10:11:12", "failed", "PS1: Power Sup"),
        ("5 PostInit PostInit", "PostInit PostInit", "ok", "PS1: Presence "),
    ]
    assert (log.used, log.overflow) == (pytest.approx(0.5), False)


def test_ipmitool_sensors(tool):
    parts = ipmi.sensors(running(tool((SDR, "", ""), freeipmi=False)), BMC)
    assert [(part.name, part.health, part.value) for part in parts] == [
        ("CPU Temp", "failed", 92.0),
        ("PS1", "failed", None),
        ("PS2", "ok", None),
        ("FAN1", "ok", 4200.0),
        ("DIMM Temp", "absent", None),
        ("Redundancy", "degraded", None),
        ("Thing", "", None),
        ("Odd", "unknown", 20.0),
    ]


def test_ipmitool_log(tool):
    log = ipmi.log(running(tool(("", ELIST, SEL_INFO), freeipmi=False)), BMC)
    assert [(event.at, event.severity, event.text) for event in log.events] == [
        ("Pre-Init 0000001532", "degraded", "Temperature CPU Temp: Upper Non-critical going high"),
        ("Pre-Init 0000001533", "ok", "Temperature CPU Temp: Upper Critical going high"),
    ]
    assert (log.used, log.overflow) == (pytest.approx(0.3), True)


def test_the_password_is_never_in_argv(tool):
    home = tool((SENSORS, "", ""))
    ipmi.sensors(running(home), BMC)
    argv = (home / "argv0").read_text().splitlines()
    assert not any("ss#w" in word or 'pa"' in word for word in argv)
    assert {"--config-file=/dev/stdin", "--hostname=bmc.example:623", "--driver-type=LAN_2_0"} <= set(argv)
    assert argv.count("--driver-type=OPENIPMI") == 0
    assert (home / "stdin0").read_text() == 'username "nagios"\npassword "pa\\"ss\\#w\\\\ord"\nprivilege-level "USER"\n'
    assert stat.S_IMODE((home / "cache/sdr").stat().st_mode) == 0o700

    home = tool((SDR, "", ""), freeipmi=False)
    ipmi.sensors(running(home), BMC)
    assert "ss#w" not in (home / "argv0").read_text()
    assert (home / "env0").read_text() == BMC.password + "\n"


def test_a_configuration_file_of_ones_own(tool, tmp_path):
    home = tool((SENSORS, "", ""))
    (tmp_path / "bmc.conf").write_text("username nagios\npassword secret\n")
    (tmp_path / "bmc.conf").chmod(0o640)
    bmc = ipmi.Bmc("bmc.example", config="/bmc.conf")
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(home), bmc)
    assert (caught.value.kind, caught.value.cure) == (NOT_ALLOWED, "chmod 600 /bmc.conf")
    (tmp_path / "bmc.conf").chmod(0o600)
    assert len(ipmi.sensors(running(home), bmc)) == 9
    assert f"--config-file={tmp_path}/bmc.conf" in (home / "argv0").read_text()
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(home), bmc._replace(config="/nowhere"))
    assert caught.value.kind == ABSENT


@pytest.mark.parametrize(
    ("err", "kind", "text"),
    [
        ("ipmi-sensors: password invalid", NOT_ALLOWED, "password invalid"),
        ("ipmi-sensors: username invalid", NOT_ALLOWED, "username invalid"),
        ("ipmi-sensors: privilege level cannot be obtained for this user", NOT_ALLOWED, "privilege level"),
        ("ipmi-sensors: permission denied", NOT_ALLOWED, "permission denied"),
        ("ipmi-sensors: connection timeout", UNREACHABLE, "connection timeout"),
        ("ipmi-sensors: password verification timeout", UNREACHABLE, "timeout"),
        ("ipmi-sensors: invalid hostname", UNREACHABLE, "invalid hostname"),
        ("ipmi-sensors: BMC busy", UNREACHABLE, "BMC busy"),
        ("could not find inband device", ABSENT, "could not find"),
        ("ipmi-sensors: device not found", ABSENT, "device not found"),
        (
            "Loading IANA PEN Registry...\n> RAKP 2 HMAC is invalid\nError: Unable to establish IPMI v2 / RMCP+ session",
            NOT_ALLOWED,
            "HMAC",
        ),
        ("Get Auth Capabilities error\nError: Unable to establish IPMI v2 / RMCP+ session", UNREACHABLE, "Unable"),
        (
            "Could not open device at /dev/ipmi0 or /dev/ipmi/0 or /dev/ipmidev/0: No such file or directory",
            ABSENT,
            "device",
        ),
        ("ipmi-sensors: unrecognized option '--x'\nTry `ipmi-sensors --help'", UNREADABLE, "unrecognized"),
        ("", UNREADABLE, "exit status 1"),
    ],
)
def test_the_words_of_a_failed_command(tool, err, kind, text):
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(tool(status=1, err=err)), BMC)
    assert (caught.value.kind, caught.value.of) == (kind, "ipmi bmc.example")
    assert text in caught.value.error


@pytest.mark.parametrize(
    "line", ["garbage", "x,CPU,Temperature,Nominal,1,C", "<html><body>,,,,,,,,,,,,", "1,2,3,4,5,6,7,8,9,10,11,12,13"]
)
def test_what_is_not_understood_is_not_healthy(tool, line):
    home = tool((line, line, INFO))
    for ask in (ipmi.sensors, ipmi.log):
        if ask is ipmi.sensors and line.startswith("1,2"):
            assert ask(running(home), BMC)[0].health == "unknown"
            continue
        with pytest.raises(Failed) as caught:
            ask(running(home), BMC)
        assert caught.value.kind == UNREADABLE


def test_nothing_listed_and_no_tool_and_no_device(tool, tmp_path):
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(tool()), BMC)
    assert (caught.value.kind, caught.value.error) == (ABSENT, "the BMC lists no sensor")
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(tmp_path), ipmi.Bmc())
    assert (caught.value.kind, caught.value.tried) == (ABSENT, "look for /dev/ipmi0")


def test_neither_tool(monkeypatch, tmp_path):
    monkeypatch.setattr(child, "find", lambda program: None)
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(tmp_path), BMC)
    assert caught.value.kind == ABSENT
    assert "freeipmi-tools" in caught.value.error


def test_hosts_that_freeipmi_would_take_for_many(tool):
    for host in ("node[1-9]", "a,b"):
        with pytest.raises(Failed) as caught:
            ipmi.sensors(running(tool((SENSORS, "", ""))), BMC._replace(host=host))
        assert caught.value.kind == UNREADABLE
    home = tool((SENSORS, "", ""))
    ipmi.sensors(running(home), BMC._replace(host="fe80::1"))
    assert "--hostname=[fe80::1]:623" in (home / "argv0").read_text()


def test_a_silent_tool_is_given_up_in_time(tool):
    home = tool((SENSORS, "", ""), sleep=30)
    begun = time.monotonic()
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(home, 2.0), BMC)
    assert caught.value.kind == UNREACHABLE
    assert time.monotonic() - begun < 1.5


def test_local_without_sudo_names_the_cure(tool, tmp_path, monkeypatch):
    home = tool((SENSORS, "", ""))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").write_text("")
    (tmp_path / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setattr(child, "PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(Failed) as caught:
        ipmi.sensors(running(home), ipmi.Bmc())
    assert (caught.value.kind, caught.value.error) == (NOT_ALLOWED, "sudo: a password is required")
    assert "sudoers" in caught.value.cure


def test_local_runs_the_declared_lines_exactly(tool, tmp_path, monkeypatch):
    home = tool((SENSORS, SEL, INFO))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").write_text("")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert len(ipmi.sensors(running(home), ipmi.Bmc())) == 9
    assert len(ipmi.log(running(home), ipmi.Bmc()).events) == 3
    for number in range(3):
        assert (home / f"argv{number}").read_text().splitlines() == list(ipmi.LOCAL[number][1:])
