# SPDX-License-Identifier: Apache-2.0
"""check_clock against real chronyds, none of which touches this machine's clock (-x)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest
from nephoscope.checks.node.check_clock import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab.support import Daemon, need, need_root, wait_for
from tests.probes.unprivileged import as_nobody

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def programs():
    need("chronyd", "chronyc")
    need_root("chronyd refuses to run as anybody else")


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", 0))
        return link.getsockname()[1]


class Chronyd(Daemon):
    """A chronyd of its own folder; `control` is its command port on loopback, `ntp` its NTP port."""

    def __init__(self, folder, name, *lines, follows=True, command_port=True):
        home = folder / name
        home.mkdir(mode=0o700)
        self.ntp, port = udp_port(), udp_port()
        self.control, self.socket = f"127.0.0.1:{port}", str(home / "chronyd.sock")
        (home / "chrony.conf").write_text(
            "\n".join(
                [
                    *lines,
                    f"port {self.ntp}",
                    "bindaddress 127.0.0.1",
                    "allow 127.0.0.1",
                    f"cmdport {port if command_port else 0}",
                    "bindcmdaddress 127.0.0.1",
                    f"bindcmdaddress {self.socket}",
                    f"pidfile {home}/pid",
                    "",
                ]
            )
        )
        super().__init__(
            ["/usr/sbin/chronyd", "-x", "-n", "-u", "root", "-f", str(home / "chrony.conf")],
            ready=self._ready(follows),
            log=home / "log",
        )

    def ask(self, *words):
        argv = ["/usr/bin/chronyc", "-n", "-c", "-h", self.socket, *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=5).stdout

    def _ready(self, follows):
        return lambda: os.path.exists(self.socket) and (not follows or "^,*," in self.ask("sources"))


@pytest.fixture
def server(folder):
    with Chronyd(folder, "server", "local stratum 8", follows=False) as daemon:
        yield daemon


def follower(folder, server, *words, name="client"):
    line = f"server 127.0.0.1 port {server.ntp} iburst minpoll 0 maxpoll 0 {' '.join(words)}"
    return Chronyd(folder, name, line)


@pytest.fixture
def check(folder):
    def run(*argv):
        return CHECK.run(["--state-dir", str(folder / "state"), "--daemon", "chronyd", *argv])

    return run


def test_green_by_port_and_by_socket(folder, server, check):
    with follower(folder, server) as client:
        for address in (client.control, client.socket):
            outcome = check("--control", address)
            assert outcome.state == OK, outcome.text
            assert outcome.reason.startswith("chronyd follows 127.0.0.1, the clock is ")
        assert "stratum=9;9" in outcome.perfdata
        assert "sources=1;1:" in outcome.perfdata


def test_an_offset_of_a_quarter_second(folder, server, check):
    """chrony's own `offset` option makes the server seem 0.25 s ahead."""
    with follower(folder, server, "offset", "0.25") as client:
        outcome = check("--control", client.control)
        assert outcome.state == OK
        assert "the clock is 0.25 s behind" in outcome.reason
        tight = check("--control", client.control, "--preset", "openstack", "-w", "sources=0:")
        assert tight.state == WARNING
        assert tight.reason == "offset 250 ms is above 50 ms"
        assert check("--control", client.control, "-c", "0.2").state == CRITICAL
        wide = check("--control", client.control, "--preset", "eucalyptus", "-w", "0.1")
        assert wide.reason == "offset 250 ms is above 100 ms"


def test_the_server_falls_silent(folder, server, check):
    """Reach runs out after eight polls of a second; tracking says "Normal" all the while."""
    with follower(folder, server) as client:
        assert check("--control", client.control).state == OK
        os.kill(server.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: "^,*," not in client.ask("sources"), 20, "the loss of the source")
            assert client.ask("tracking").strip().endswith("Normal")
            outcome = check("--control", client.control, "--state-id", "first run")
            assert outcome.state == WARNING
            assert outcome.reason == (
                "sources 0 is below 1, UNKNOWN: chronyd is not synchronised: how far the clock is off is not known"
            )
            assert not [item for item in outcome.perfdata if item.startswith("offset")]
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_a_server_that_was_never_there(folder, check):
    line = f"server 127.0.0.1 port {udp_port()} iburst minpoll 0 maxpoll 0"
    with Chronyd(folder, "client", line, follows=False) as client:
        outcome = check("--control", client.control, "-w", "sources=0:")
        assert outcome.state == UNKNOWN
        assert "is not synchronised" in outcome.reason


def test_a_clock_that_follows_itself(server, check):
    assert check("--control", server.control).state == UNKNOWN
    assert check("--control", server.control, "--allow-alone").state == OK


def test_chronyd_hangs_and_dies(folder, server, check):
    os.kill(server.pid, signal.SIGSTOP)
    hung = check("--control", server.control, "-t", "3")
    os.kill(server.pid, signal.SIGCONT)
    assert (hung.state, "no answer" in hung.reason) == (CRITICAL, True)
    server.stop()
    for address in (server.control, server.socket):
        gone = check("--control", address)
        assert gone.state == CRITICAL, gone.text
    assert "Cannot talk to daemon" in check("--control", server.control).reason


@pytest.mark.parametrize("mode", [0o750, 0o755])
def test_a_chronyd_that_is_closed_to_an_ordinary_user(folder, mode):
    """With `cmdport 0` only the socket is left, which root and chronyd's own user may use; gone, it is down for everybody."""
    with Chronyd(folder, "closed", "local stratum 8", follows=False, command_port=False) as daemon:
        os.chmod(os.path.dirname(daemon.socket), mode)
        argv = ["--daemon", "chronyd", "--control", daemon.socket, "--allow-alone"]
        state, line = as_nobody(CHECK, argv)
        assert (state, "but chronyd runs" in line, "no `cmdport 0`" in line) == (UNKNOWN, True, True), line
        assert CHECK.run([*argv, "--state-dir", str(folder / "state")]).state == OK
        os.chmod(os.path.dirname(daemon.socket), 0o777)
        os.chmod(daemon.socket, 0o777)
        assert as_nobody(CHECK, argv)[0] == OK
    gone, line = as_nobody(CHECK, argv)
    assert (gone, "Could not open connection" in line) == (CRITICAL, True), line


def test_an_open_command_port_is_enough_for_an_ordinary_user(server):
    state, line = as_nobody(CHECK, ["--daemon", "chronyd", "--control", server.control, "--allow-alone"])
    assert state == OK, line


def test_peers_against_each_other(folder, server, check):
    """The clients answer by the clock they would set: one is told that it is a quarter second behind."""
    with follower(folder, server, name="a") as first, follower(folder, server, "offset", "0.25", name="b") as second:
        hosts = [f"127.0.0.1:{daemon.ntp}" for daemon in (server, first, second)]
        argv = [word for host in hosts for word in ("--peer", host)]
        outcome = check("--mode", "peers", *argv, "-w", "spread=0.1")
        spread = next(float(item[7:].partition("s")[0]) for item in outcome.perfdata if item.startswith("spread="))
        assert spread == pytest.approx(0.25, abs=0.02)
        assert (outcome.state, outcome.reason) == (WARNING, "spread 250 ms is above 100 ms")


def test_a_peer_that_follows_nobody_and_one_that_is_not_there(folder, server, check):
    line = f"server 127.0.0.1 port {udp_port()}"
    with Chronyd(folder, "lost", line, follows=False) as lost:
        unsynchronised = check("--mode", "peers", "--peer", f"127.0.0.1:{lost.ntp}")
        assert unsynchronised.state == WARNING
        assert unsynchronised.reason.endswith("is not synchronised, by its own account")
    gone = check("--mode", "peers", "--peer", f"127.0.0.1:{lost.ntp}", "--peer", f"127.0.0.1:{server.ntp}")
    assert (gone.state, "Connection refused" in gone.reason) == (CRITICAL, True)
    assert gone.perfdata
