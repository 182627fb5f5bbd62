# SPDX-License-Identifier: Apache-2.0
"""check_hardware_sensors against the emulator of sushy-tools, and two real clients against our simulated controller.

sushy-tools 2.2 (OpenStack's emulator) offers systems, chassis, managers and Thermal, no power and no sessions; its storage answers
500 and its memory links to nothing. What it has not, tests/simulators/redfish.py has: sushy (Ironic's client) and redfish (the
DMTF's own) must be content with it.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.checks.node.check_hardware_sensors import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN

from tests.lab.support import Daemon, free_port, lab_venv, listening, need, private_folder
from tests.simulators.redfish import Bmc

pytestmark = pytest.mark.lab

SYSTEM = "10000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def home() -> Path:
    return lab_venv("sensors_redfish")


@pytest.fixture(scope="module")
def emulator(home: Path) -> Iterator[int]:
    with private_folder() as folder:
        port = free_port()
        nics = [{"mac": "00:5c:52:31:3a:9c", "ip": "172.22.0.100"}]
        systems = [{"uuid": SYSTEM, "name": "fake1", "power_state": "On", "nics": nics}]
        make = "import bcrypt; print('admin:' + bcrypt.hashpw(b'password', bcrypt.gensalt(4)).decode())"
        (folder / "htpasswd").write_bytes(subprocess.check_output([home / "bin/python", "-c", make], timeout=60))
        (folder / "emulator.conf").write_text(
            f"SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {port}\nSUSHY_EMULATOR_FAKE_DRIVER = True\n"
            f"SUSHY_EMULATOR_STATE_DIR = '{folder}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}\n"
            f"SUSHY_EMULATOR_AUTH_FILE = '{folder}/htpasswd'\n"
        )
        argv = [home / "bin/sushy-emulator", "--config", folder / "emulator.conf"]
        with Daemon(argv, ready=listening(port), log=folder / "log"):
            yield port


def ask(port: int, folder: Path, *argv: str):
    given = ["-H", "127.0.0.1", "-p", str(port), "--mode", "redfish", "--state-dir", str(folder), *argv]
    return CHECK.run(given)


def test_the_emulator(emulator: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "password")
    argv = ["--plain", "--user", "admin"]
    outcome = ask(emulator, tmp_path, *argv)
    found = {item["of"]: item["state"] for item in outcome.items if item["state"] != "OK"}
    home = f"redfish /redfish/v1/Systems/{SYSTEM}"
    assert found == {f"{home}/Storage": "CRITICAL", f"{home}/Memory": "UNKNOWN"}, outcome.text
    assert outcome.state == CRITICAL
    outcome = ask(emulator, tmp_path, *argv, "--exclude", "*/Storage", "--exclude", "*/Memory")
    assert outcome.state == OK, outcome.text
    readings = {item.rpartition("=")[0].partition("-")[0]: item.rpartition("=")[2] for item in outcome.perfdata}
    assert readings["redfish_CPU_Temp"] == "41"
    assert readings["redfish_BaseBoard_System_Fan"] == "2100"


@pytest.mark.parametrize("given", ["wrong", ""])
def test_the_emulator_refuses_a_wrong_password(
    emulator: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", given)
    outcome = ask(emulator, tmp_path, "--plain", "--user", "admin")
    assert outcome.state == UNKNOWN
    assert "401" in outcome.reason


def test_what_is_no_redfish_at_all(emulator: int, tmp_path: Path) -> None:
    outcome = ask(emulator, tmp_path)
    assert outcome.state == UNKNOWN, "TLS is spoken to a plain server"
    assert "TLS" in outcome.reason


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    openssl = need("openssl")[0]
    path = tmp_path / "bmc.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path, "-out", tmp_path / "cert.pem", "-days", "2",
         "-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with path.open("a") as file:
        file.write((tmp_path / "cert.pem").read_text())
    return path


def test_a_self_signed_certificate(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")
    cert = certificate.parent / "cert.pem"
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()
    with Bmc(certificate=str(certificate)) as bmc:
        argv = ["--user", "nagios"]
        outcome = ask(bmc.port, tmp_path, *argv)
        assert outcome.state == UNKNOWN
        assert "--fingerprint" in outcome.text
        assert bmc.log == [], "nothing was said to a stranger, least of all the password"
        assert ask(bmc.port, tmp_path, *argv, "--fingerprint", "ab" * 32).state == UNKNOWN
        assert bmc.log == []
        for trust in (["--fingerprint", digest], ["--ca-file", str(cert)], ["--insecure"]):
            assert ask(bmc.port, tmp_path, *argv, *trust).state == OK, trust
        assert bmc.sessions == {}


SUSHY = """
import json, sys, sushy
from sushy import auth
root = sushy.Sushy(sys.argv[1], auth=auth.SessionAuth("nagios", "secret"))
system = root.get_system("/redfish/v1/Systems/1")
chassis = root.get_chassis("/redfish/v1/Chassis/1")
drives = [drive for storage in system.storage.get_members() for drive in storage.drives]
print(json.dumps({
    "power": system.power_state.value, "health": system.status.health.value, "cpus": [cpu.identity for cpu in system.processors.get_members()],
    "drives": [drive.name for drive in drives], "volumes": [v.name for s in system.storage.get_members() for v in s.volumes.get_members()],
    "fans": [(fan.name, fan.reading, fan.reading_units.value) for fan in chassis.thermal.fans],
    "temperatures": [(t.name, t.reading_celsius) for t in chassis.thermal.temperatures],
    "supplies": [(supply.name, supply.status.health.value) for supply in chassis.power.power_supplies],
    "manager": root.get_manager("/redfish/v1/Managers/1").firmware_version,
}))
"""

DMTF = """
import json, sys, redfish
client = redfish.redfish_client(base_url=sys.argv[1], username="nagios", password="secret", default_prefix="/redfish/v1/")
client.login(auth="session")
seen, queue = [], ["/redfish/v1/"]
while queue:
    path = queue.pop()
    if path in seen or "#" in path or "SessionService" in path:
        continue
    answer = client.get(path)
    assert answer.status == 200, path
    seen.append(path)
    def links(thing):
        if isinstance(thing, dict):
            if isinstance(thing.get("@odata.id"), str):
                queue.append(thing["@odata.id"])
            for value in thing.values():
                links(value)
        elif isinstance(thing, list):
            for value in thing:
                links(value)
    links(answer.dict)
client.logout()
print(json.dumps(sorted(seen)))
"""


def client(home: Path, program: str, port: int):
    answer = subprocess.run(
        [home / "bin/python", "-c", program, f"http://127.0.0.1:{port}"], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_ironics_client_is_content_with_the_simulated_controller(home: Path) -> None:
    with Bmc() as bmc:
        seen = client(home, SUSHY, bmc.port)
    assert seen == {
        "power": "On", "health": "OK", "cpus": ["CPU 1"], "manager": "6.00.30",
        "drives": ["Disk 0", "Disk 1"], "volumes": ["Virtual Disk 0"],
        "fans": [["Fan 1", 5640, "RPM"], ["Fan 2", 34, "Percent"]],
        "temperatures": [["Inlet Temp", 23], ["CPU1 Temp", 51], ["CPU2 Temp", None]],
        "supplies": [["PS1", "OK"], ["PS2", "OK"]],
    }  # fmt: skip


def test_the_dmtfs_client_walks_every_link_of_it(home: Path) -> None:
    with Bmc() as bmc:
        seen = client(home, DMTF, bmc.port)
        assert seen == sorted(path for path in bmc.tree if "SessionService" not in path)
        assert bmc.sessions == {}
