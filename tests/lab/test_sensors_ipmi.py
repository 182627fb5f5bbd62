# SPDX-License-Identifier: Apache-2.0
"""check_hardware_sensors against ipmi_sim (OpenIPMI), by FreeIPMI and by ipmitool, over RMCP+ on the loopback address.

A management controller with two sensors and an event log; its sensors are changed through its console while it runs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.base import child
from nephoscope.checks.node.check_hardware_sensors import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING
from nephoscope.probes import ipmi

from tests.lab.support import need, private_folder, wait_for

pytestmark = pytest.mark.lab

PASSWORD = "se#c$ret;1"  # what FreeIPMI's configuration file would take for a comment
# ipmi_lan(5) and ipmi_sim_cmd(5) of OpenIPMI 2.0.33; the sensor records are those of IPMI 2.0, tables 43-1 and 43-2.
LAN = """\
name "labbmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 1 true "" "" user 10 none md2 md5 straight
  user 2 true "nagios" "{password}" user 10 none md2 md5 straight
"""
START = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
"""
TEMPERATURE = """\
sensor_add 0x20 0 1 1 1
sensor_set_value 0x20 0 1 45 0
sensor_set_threshold 0x20 0 1 settable 111111 95 90 85 1 3 5
sensor_set_event_support 0x20 0 1 enable scanning per-state 000111111000111 000111111000111 000111111000111 000111111000111
main_sdr_add 0x20 0x00 0x00 0x51 0x01 0x33 0x20 0x00 0x01 0x03 0x01 0x7f 0x68 0x01 0x01 0x95 0x7a 0x95 0x7a 0x3f 0x3f 0x00 \
0x01 0x00 0x00 0x01 0x00 0x00 0x00 0x00 0x00 0x07 0x2d 0x50 0x05 0xff 0x00 0x5f 0x5a 0x55 0x01 0x03 0x05 0x02 0x02 0x00 0x00 \
0x00 0xc8 0x43 0x50 0x55 0x20 0x54 0x65 0x6d 0x70
"""
SUPPLY = """\
sensor_add 0x20 0 3 8 0x6f
sensor_set_bit 0x20 0 3 0 1 0
sensor_set_event_support 0x20 0 3 enable scanning per-state 000000000001111 000000000001111 000000000001111 000000000001111
main_sdr_add 0x20 0x00 0x00 0x51 0x02 0x1e 0x20 0x00 0x03 0x0a 0x01 0x67 0x40 0x08 0x6f 0x0f 0x00 0x0f 0x00 0x0f 0x00 0xc0 \
0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0xc3 0x50 0x53 0x31
"""


class Simulator:
    """An ipmi_sim; it ends when its standard input does, and takes its commands there."""

    def __init__(self, program: str, folder: Path, sensors: str, port: int | None = None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port or 0))
            self.port: int = probe.getsockname()[1]
        self.folder, self.log = folder, folder / "sim.log"
        (folder / "lan.conf").write_text(LAN.format(port=self.port, password=PASSWORD))
        (folder / "cmds.emu").write_text(f"{START}{sensors}mc_enable 0x20\n")
        # The records persist in the state folder: each start has its own.
        state = folder / f"state{time.monotonic_ns()}"
        state.mkdir()
        argv = [program, "-c", str(folder / "lan.conf"), "-f", str(folder / "cmds.emu"), "-s", str(state)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        # A bad line stops it before it opens its socket, and it says nothing.
        try:
            wait_for(self._bound, 10, "ipmi_sim")
        except AssertionError as error:
            self.end()
            pytest.fail(f"{error}\n{self.log.read_text(errors='replace')[-2000:]}", pytrace=False)

    def _bound(self) -> bool:
        return f":{self.port:04X} " in Path("/proc/net/udp").read_text()

    def tell(self, *commands: str) -> None:
        assert self.process.stdin
        for command in commands:
            self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()
        time.sleep(0.3)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def program() -> str:
    return need("ipmi_sim", "ipmi-sensors", "ipmi-sel", "ipmitool")[0]


@pytest.fixture
def bmc(program: str) -> Iterator[Simulator]:
    with private_folder() as folder:
        simulator = Simulator(program, folder, TEMPERATURE + SUPPLY)
        try:
            yield simulator
        finally:
            simulator.end()


@pytest.fixture(params=["FreeIPMI", "ipmitool"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "ipmitool":
        monkeypatch.setattr(ipmi, "LOCAL", tuple((f"/nonexistent{line[0]}", *line[1:]) for line in ipmi.LOCAL))
    return request.param


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", PASSWORD)


def ask(bmc: Simulator, *argv: str, user: str = "nagios"):
    given = ["-H", "127.0.0.1", "-p", str(bmc.port), "--mode", "ipmi", "--user", user, "--workaround", "opensesspriv"]
    return CHECK.run([*given, "--state-dir", str(bmc.folder / "kept"), *argv])


def test_a_healthy_machine_then_a_hot_one_with_a_failed_supply(bmc: Simulator, tool: str) -> None:
    outcome = ask(bmc)
    assert (outcome.state, outcome.reason) == (OK, "looked at 2 parts"), outcome.text
    assert any(item.startswith("ipmi_CPU_Temp") and item.endswith("_temp_celsius=45") for item in outcome.perfdata)
    assert "log_used=0%;90" in outcome.perfdata
    kept = "".join(path.read_text(errors="replace") for path in (bmc.folder / "kept").rglob("*.json"))
    assert kept
    assert PASSWORD not in kept

    bmc.tell("sensor_set_value 0x20 0 1 86 0")
    outcome = ask(bmc)
    assert outcome.state == WARNING, outcome.text
    assert outcome.reason.startswith("ipmi CPU Temp ")

    bmc.tell("sensor_set_value 0x20 0 1 92 1", "sensor_set_bit 0x20 0 3 1 1 1")
    outcome = ask(bmc)
    assert outcome.state == CRITICAL
    texts = {item["of"]: item["text"] for item in outcome.items if item["state"] == "CRITICAL"}
    assert "ipmi CPU Temp" in texts
    assert "ailure detected" in texts["ipmi PS1"]
    events = [item for item in outcome.items if item["of"] == "ipmi log"]
    assert len(events) == 2, "the critical limit was passed, and the supply failed"

    bmc.tell("sensor_set_value 0x20 0 1 45 0", "sensor_set_bit 0x20 0 3 1 0 0")
    assert ask(bmc).state in (WARNING, CRITICAL), "the events still count"
    assert ask(bmc, "--period", "0s").state == OK


def test_both_tools_see_the_same(bmc: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    bmc.tell("sensor_set_value 0x20 0 1 92 0")
    by_freeipmi = ask(bmc)
    monkeypatch.setattr(ipmi, "LOCAL", tuple((f"/nonexistent{line[0]}", *line[1:]) for line in ipmi.LOCAL))
    by_ipmitool = ask(bmc)
    assert by_freeipmi.perfdata == by_ipmitool.perfdata
    assert by_freeipmi.state == by_ipmitool.state == CRITICAL


def test_a_wrong_password_or_user_is_unknown(bmc: Simulator, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = ask(bmc, user="nobody")
    assert outcome.state == UNKNOWN
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "wrong#one")
    outcome = ask(bmc)
    assert outcome.state == UNKNOWN
    assert "needs an account of privilege USER" in outcome.text
    assert "wrong#one" not in outcome.text


def test_a_privilege_that_the_controller_does_not_give(bmc: Simulator) -> None:
    given = ["-H", "127.0.0.1", "-p", str(bmc.port), "--mode", "ipmi", "--user", "nagios"]
    outcome = CHECK.run([*given, "--state-dir", str(bmc.folder / "kept")])
    assert outcome.state == UNKNOWN
    assert "privilege level cannot be obtained" in outcome.text, "opensesspriv is needed here"


def test_a_configuration_file_of_freeipmi(bmc: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEPHOSCOPE_PASSWORD")
    config = bmc.folder / "bmc.conf"
    config.write_text(f"username nagios\npassword {PASSWORD.replace('#', chr(92) + '#')}\nprivilege-level USER\n")
    config.chmod(0o644)
    outcome = ask(bmc, "--ipmi-config", str(config), user="")
    assert outcome.state == UNKNOWN
    assert "others may read the password" in outcome.text
    config.chmod(0o600)
    assert ask(bmc, "--ipmi-config", str(config), user="").state == OK


def test_a_hung_controller_is_given_up_in_time_with_no_password_in_any_argv(bmc: Simulator, tool: str) -> None:
    bmc.process.send_signal(signal.SIGSTOP)
    seen: list[bytes] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        begun = time.monotonic()
        outcome = ask(bmc, "-t", "3")
        took = time.monotonic() - begun
    finally:
        done.set()
        watcher.join()
        bmc.process.send_signal(signal.SIGCONT)
    assert outcome.state == CRITICAL, outcome.text
    assert took < 3.5
    assert any(b"ipmi" in line and str(bmc.port).encode() in line for line in seen), "the tool was seen at work"
    assert not any(PASSWORD.encode() in line for line in seen)


def test_a_controller_that_is_gone(bmc: Simulator, tool: str) -> None:
    bmc.end()
    outcome = ask(bmc, "-t", "2")
    assert outcome.state == CRITICAL
    assert ask(bmc, "-t", "2", "--unreachable-state", "warning").state == WARNING


def test_a_sensor_that_vanishes(bmc: Simulator, program: str) -> None:
    assert ask(bmc).state == OK
    bmc.end()
    less = Simulator(program, bmc.folder, TEMPERATURE, bmc.port)
    try:
        for _ in range(2):
            outcome = ask(less)
            assert outcome.state == WARNING
            assert outcome.reason.startswith("ipmi PS1 is missing, it was there 0 min ago")
        assert ask(less, "--remember", "0s").state == OK
    finally:
        less.end()


@pytest.mark.skipif(os.path.exists("/dev/ipmi0"), reason="root of a machine with a BMC of its own")
def test_this_machine_has_none(program: str, tmp_path: Path) -> None:
    outcome = CHECK.run(["--mode", "ipmi", "--state-dir", str(tmp_path)])
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    # What the tool itself says of it, were it asked all the same.
    answer = subprocess.run(
        [child.find("ipmi-sensors") or "", *ipmi.LOCAL[0][1:]], capture_output=True, text=True, timeout=20
    )
    assert answer.returncode != 0
    assert ipmi._refusal(child.Answer(1, answer.stdout, answer.stderr), "ipmi", "x").kind in ("absent", "not-allowed")
