# SPDX-License-Identifier: Apache-2.0
"""Our session against net-snmp's agent in every protocol, check_san_health against the same, and net-snmp's tools against our
simulated agent. The agent's own users and values are in its configuration; it writes nothing outside of the lab's folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, Failed, Run
from nephoscope.checks.storage.check_san_health import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN
from nephoscope.probes import snmp
from nephoscope.probes.san import Place

from tests.lab.support import Daemon, need, private_folder
from tests.simulators.snmp_agent import Agent, counter32, counter64, gauge, oid, table, ticks

pytestmark = pytest.mark.lab

A = "1.3.6.1.4.1.99999"
AUTH, PRIV = "authpass12", "privpass12"
USERS = {  # user -> protocols of authentication and privacy
    "md5des": ("MD5", "DES"),
    "shaaes": ("SHA", "AES"),
    "sha224aes": ("SHA-224", "AES"),
    "sha256aes256": ("SHA-256", "AES-256"),
    "sha384aes192": ("SHA-384", "AES-192"),
    "sha512aes256": ("SHA-512", "AES-256"),
    "shaaes256": ("SHA", "AES-256"),  # its key is longer than its digest
    "sha512": ("SHA-512", ""),
    "nobody": ("", ""),
}
TABLE = f"""
[array]
name = Acme
product = 1.3.6.1.4.1.8072.3.2
[disk]
name = {A}.1.1.2
state = {A}.1.1.3
ok = 1
spare = 2
failed = 3
[pool]
name = {A}.2.1.2
state = {A}.2.1.3
ok = online
size = {A}.2.1.4
used = {A}.2.1.5
unit = GiB
"""


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


class Snmpd(Daemon):
    """net-snmp's agent of a folder; `values` are what it answers besides its own."""

    def __init__(self, folder: Path, port: int, values: dict[str, Any], boots: int = 1) -> None:
        self.port = port
        lines = [
            f"agentaddress udp:127.0.0.1:{port},udp6:[::1]:{port}",
            "rocommunity public 127.0.0.1",
            "rocommunity6 public ::1",
            "view little included .1.3.6.1.2.1.1",
            "rocommunity narrow 127.0.0.1 -V little",
            "sysLocation lab",
            "exactEngineID 0x80001f88046c6162",
            "oldEngineID 0x80001f88046c6162",  # else it would begin to count anew
            f"engineBoots {boots}",
        ]
        for user, (auth, priv) in USERS.items():
            words = [auth and f"{auth} {AUTH}", priv and f"{priv} {PRIV}"]
            lines.append(f"createUser {user} {' '.join(word for word in words if word)}")
            lines.append(f"rouser {user} {'authpriv' if priv else 'authnopriv' if auth else 'noauth'}")
        for name, value in values.items():
            kind, shown = ("integer", value) if isinstance(value, int) else ("octet_str", f'"{value}"')
            lines.append(f"override .{name} {kind} {shown}")
        (folder / "snmpd.conf").write_text("\n".join([*lines, ""]))
        env = {
            **os.environ,
            "SNMP_PERSISTENT_FILE": str(folder / "persist"),
            "SNMP_PERSISTENT_DIR": str(folder),
            "MIBS": "",
        }
        argv = [
            "/usr/sbin/snmpd",
            "-f",
            "-C",
            "-c",
            folder / "snmpd.conf",
            "-Lo",
            "-I",
            "-smux,mteTrigger,mteTriggerConf",
        ]
        super().__init__(argv, env=env, ready=self._answers, log=folder / "log")

    def _answers(self) -> bool:
        try:
            with snmp.Session(Run(1.5), Place("127.0.0.1", self.port, community="public")) as agent:
                return bool(agent.identity().product)
        except Failed:
            return False


def values(bad: int = 1) -> dict[str, Any]:
    return {
        **{f"{A}.1.1.{column}.{disk}": value for disk in (1, 2, 3) for column, value in ((2, f"d{disk}"), (3, bad if disk == 2 else 1))},
        f"{A}.1.1.2.4": "d4",
        f"{A}.1.1.3.4": 2,
        f"{A}.2.1.2.1": "p1",
        f"{A}.2.1.3.1": "online",
        f"{A}.2.1.4.1": 100,
        f"{A}.2.1.5.1": 40,
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    need("snmpd", "snmpget", "snmpbulkwalk")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with private_folder() as folder, Snmpd(folder, udp_port(), values()) as agent:
        yield agent.port


def place(port: int, user: str, **words: Any) -> Place:
    auth, priv = USERS.get(user, ("SHA", "AES"))
    given = {
        "auth_protocol": auth or "SHA",
        "priv_protocol": priv or "AES",
        "auth_password": AUTH if auth else "",
        "priv_password": PRIV if priv else "",
    }
    return Place("127.0.0.1", port, user=user, **{**given, **words})


def failure(asked: Place, seconds: float = 8.0) -> Failed:
    with snmp.Session(Run(seconds), asked) as agent, pytest.raises(Failed) as caught:
        agent.walk(f"{A}.1.1.2", f"{A}.1.1.3")
    return caught.value


@pytest.mark.parametrize("user", USERS)
def test_every_protocol(port: int, user: str) -> None:
    with snmp.Session(Run(), place(port, user)) as agent:
        assert agent.identity().product == "1.3.6.1.4.1.8072.3.2.10"
        rows = agent.walk(f"{A}.1.1.2", f"{A}.1.1.3")
    assert rows == {(1,): (b"d1", 1), (2,): (b"d2", 1), (3,): (b"d3", 1), (4,): (b"d4", 2)}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_every_address(port: int, host: str) -> None:
    with snmp.Session(Run(), Place(host, port, community="public")) as agent:
        assert len(agent.walk(f"{A}.1.1.2")) == 4


def test_what_net_snmp_itself_reads(port: int) -> None:
    names = ["1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0", "1.3.6.1.2.1.1.6.0", "1.3.6.1.2.1.2.1.0"]
    argv = ["snmpget", "-v2c", "-c", "public", "-Onqv", "-Ih", f"127.0.0.1:{port}", *names]
    shown = subprocess.run(
        argv, capture_output=True, text=True, timeout=20, check=True, env={**os.environ, "MIBS": ""}
    ).stdout
    with snmp.Session(Run(), place(port, "sha256aes256")) as agent:
        found = agent.get(*names)
    told = [f".{value}" if isinstance(value, snmp.Oid) else snmp.text(value) for value in found.values()]
    assert [" ".join(line.strip('"').split()) for line in shown.splitlines()] == told


@pytest.mark.parametrize(
    ("user", "words", "error", "cure"),
    [
        ("shaaes", {"auth_password": "wrongwrong"}, "wrong digest", "the right authentication password, and its --auth-protocol"),
        ("shaaes", {"auth_protocol": "MD5"}, "wrong digest", "the right authentication password, and its --auth-protocol"),
        ("stranger", {}, "unknown user", "a user that it has (--user)"),
        ("sha512", {"priv_password": PRIV}, "the agent does not let this user in at this security level", "a user of this security level"),
    ],
)  # fmt: skip
def test_what_the_agent_reports(port: int, user: str, words: dict[str, str], error: str, cure: str) -> None:
    assert failure(place(port, user, **words)) == Failed(
        NOT_ALLOWED, "", f"ask 127.0.0.1:{port} by SNMPv3", error, cure
    )


def test_a_user_below_its_level(port: int) -> None:
    found = failure(place(port, "shaaes", priv_password=""))
    assert (found.kind, found.error) == (NOT_ALLOWED, "authorizationError")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Place("127.0.0.1", 0, community="wrong"), "this community"),
        (Place("127.0.0.1", 0, user="shaaes", auth_password=AUTH, priv_password="wrongwrong"), "this privacy password"),
        (
            Place("127.0.0.1", 0, user="sha512", auth_protocol="SHA-512", auth_password=AUTH, context="none"),
            "this context",
        ),
    ],
)
def test_silence_has_two_meanings(port: int, asked: Place, said: str) -> None:
    found = failure(asked._replace(port=port), 3.0)
    assert (found.kind, found.error) == (
        UNREACHABLE,
        f"no answer in 2.0 s: the agent is silent, or does not take {said}",
    )


def test_refused() -> None:
    assert failure(Place("127.0.0.1", udp_port(), community="public")).error == "Connection refused"


def test_an_agent_that_hangs_and_one_that_was_restarted() -> None:
    with private_folder() as folder:
        port = udp_port()
        with Snmpd(folder, port, {}) as agent, snmp.Session(Run(60.0), place(port, "shaaes")) as asked:
            assert asked.identity().description
            boots = asked._who.boots
            agent.stop()
            with Snmpd(folder, port, {}, boots=9):  # the same engine, started once more
                assert asked.identity().description
                assert asked._who.boots > boots
        with Snmpd(folder, port, {}) as agent:
            os.kill(agent.pid, signal.SIGSTOP)
            try:
                assert failure(place(port, "shaaes"), 3.0).error == "no answer in 2.0 s"
            finally:
                os.kill(agent.pid, signal.SIGCONT)


class Between(threading.Thread):
    """Who stands between us and an agent, and changes its answers from the second one on."""

    def __init__(self, port: int, change: Callable[[bytes], bytes]) -> None:
        super().__init__(daemon=True)
        self.change, self.count, self.open = change, 0, True
        self.inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inside.bind(("127.0.0.1", 0))
        self.inside.settimeout(0.1)
        self.outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outside.connect(("127.0.0.1", port))
        self.outside.settimeout(2)
        self.port = self.inside.getsockname()[1]

    def run(self) -> None:
        while self.open:
            with contextlib.suppress(TimeoutError, OSError):
                data, peer = self.inside.recvfrom(65535)
                self.outside.send(data)
                answer = self.outside.recv(65535)
                self.count += 1
                self.inside.sendto(answer if self.count < 2 else self.change(answer), peer)

    def __enter__(self) -> Between:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False
        self.join()
        self.inside.close()
        self.outside.close()


@pytest.mark.parametrize("user", ["sha256aes256", "sha512"])
def test_an_answer_that_somebody_changed_is_refused(port: int, user: str) -> None:
    with Between(port, lambda answer: answer[:-1] + bytes([answer[-1] ^ 1])) as between:
        found = failure(place(between.port, user))
    assert found.error == "an answer whose digest is wrong: it is not from the agent"


def test_an_old_answer_is_no_answer(port: int) -> None:
    kept: list[bytes] = []

    def replay(answer: bytes) -> bytes:
        kept.append(answer)
        return kept[0]

    with Between(port, replay) as between, snmp.Session(Run(3.5), place(between.port, "sha256aes256")) as agent:
        assert agent.identity().description  # the answer that is kept
        with pytest.raises(Failed) as caught:
            agent.identity()
    assert caught.value.kind == UNREACHABLE


def check(port: int, folder: Path, *words: str) -> Any:
    (folder / "array.ini").write_text(TABLE)
    argv = ["--profile", "generic-snmp", "--table", str(folder / "array.ini"), "-H", "127.0.0.1", "-p", str(port)]
    return CHECK.run([*argv, "--state-dir", str(folder), "--mode", "health", "--mode", "capacity", *words])


@pytest.fixture
def community(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_COMMUNITY", "public")


@pytest.mark.usefixtures("community")
def test_the_check_of_an_array_that_is_well(port: int, folder: Path) -> None:
    outcome = check(port, folder)
    assert (outcome.state, outcome.line.partition(" | ")[0]) == (
        OK,
        "SAN_HEALTH OK - Acme: 4 disks, 1 pool, rates collecting",
    )


def test_the_check_by_version_3(port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_AUTH_PASSWORD", AUTH)
    monkeypatch.setenv("NEPHOSCOPE_PRIV_PASSWORD", PRIV)
    words = ["--user", "sha256aes256", "--auth-protocol", "SHA-256", "--priv-protocol", "AES-256"]
    outcome = check(port, folder, *words)
    assert (outcome.state, outcome.line.partition(" | ")[0]) == (
        OK,
        "SAN_HEALTH OK - Acme: 4 disks, 1 pool, rates collecting",
    )
    monkeypatch.setenv("NEPHOSCOPE_AUTH_PASSWORD", "wrongwrong")
    outcome = check(port, folder, *words)
    assert (outcome.state, outcome.line.partition(" | ")[0]) == (
        UNKNOWN,
        f"SAN_HEALTH UNKNOWN - wrong digest (ask 127.0.0.1:{port} by SNMPv3): needs the right authentication password, "
        "and its --auth-protocol",
    )


@pytest.mark.usefixtures("community")
def test_the_check_of_a_failed_disk_and_of_an_unknown_word(folder: Path) -> None:
    for bad, state, line in (
        (3, 1, "SAN_HEALTH WARNING - disk d2 state 3"),
        (7, UNKNOWN, "SAN_HEALTH UNKNOWN - disk d2 state 7"),
    ):
        with private_folder() as home, Snmpd(home, udp_port(), values(bad)) as agent:
            outcome = check(agent.port, folder)
            assert (outcome.state, outcome.line.partition(" | ")[0].partition(" (")[0]) == (state, line)


def test_the_check_of_what_it_may_not_see(port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_COMMUNITY", "narrow")
    outcome = check(port, folder)
    assert outcome.state == UNKNOWN
    assert "it is empty" in outcome.line


def test_the_check_of_a_silent_array(folder: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_COMMUNITY", "wrong")
    outcome = check(port, folder)
    assert (outcome.state, outcome.line.partition(" | ")[0]) == (
        CRITICAL,
        "SAN_HEALTH CRITICAL - no answer in 5 s: the agent is silent, or does not take this community "
        f"(ask 127.0.0.1:{port} by SNMPv2c)",
    )


def test_net_snmp_reads_our_simulated_agent() -> None:
    given = {
        f"{A}.3.1.0": -5, f"{A}.3.2.0": "text", f"{A}.3.3.0": oid("1.3.6.1.4.1.789"), f"{A}.3.4.0": counter32(2**32 - 1),
        f"{A}.3.5.0": gauge(7), f"{A}.3.6.0": ticks(360000), f"{A}.3.7.0": counter64(2**64 - 1),
        **table(f"{A}.4.1", {f"1.{row}": {2: f"disk {row}", 3: row} for row in range(1, 301)}),
    }  # fmt: skip
    env = {**os.environ, "MIBS": ""}
    with Agent(given) as agent:
        for tool, count in (("snmpwalk", 608), ("snmpbulkwalk", 608)):
            argv = [tool, "-v2c", "-c", "public", "-On", f"127.0.0.1:{agent.port}", A]
            lines = subprocess.run(
                argv, capture_output=True, text=True, timeout=60, check=True, env=env
            ).stdout.splitlines()
            assert len([line for line in lines if line.startswith(f".{A}")]) == count
        assert lines[:7] == [
            f".{A}.3.1.0 = INTEGER: -5",
            f'.{A}.3.2.0 = STRING: "text"',
            f".{A}.3.3.0 = OID: .1.3.6.1.4.1.789",
            f".{A}.3.4.0 = Counter32: 4294967295",
            f".{A}.3.5.0 = Gauge32: 7",
            f".{A}.3.6.0 = Timeticks: (360000) 1:00:00.00",
            f".{A}.3.7.0 = Counter64: 18446744073709551615",
        ]
