# SPDX-License-Identifier: Apache-2.0
"""check_libvirt against a real libvirtd with its test driver, and a real message bus."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from nephoscope.checks.node.check_libvirt import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab.support import Daemon, need, need_root

pytestmark = pytest.mark.lab

# The test driver begins a domain in the state that its own element names (libvirt, src/test/test_driver.c).
DOMAIN = """<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
<name>guest-{0}</name><memory>8192</memory><os><type>hvm</type></os><test:runstate>{0}</test:runstate></domain>"""


@pytest.fixture(autouse=True)
def programs():
    need("libvirtd", "virsh", "dbus-daemon")


@pytest.fixture
def node(folder):
    """Return the path of a description of a node whose guests are in the given states (virDomainState)."""

    def write(*states):
        for state in states:
            (folder / f"{state}.xml").write_text(DOMAIN.format(state))
        files = "".join(f"<domain file='{folder}/{state}.xml'/>" for state in states)
        (folder / "node.xml").write_text(f"<node>{files}</node>")
        return f"{folder}/node.xml"

    return write


@pytest.fixture
def check(folder):
    def run(*argv):
        return CHECK.run(["--state-dir", str(folder / "state"), *argv])

    return run


GUESTS = ("--mode", "libvirt", "--mode", "guests")


def test_a_running_guest(check):
    outcome = check(*GUESTS, "--uri", "test:///default")
    assert outcome.state == OK, outcome.text
    assert "running=1" in outcome.perfdata


def test_every_state_that_the_test_driver_knows(check, node):
    outcome = check(*GUESTS, "--uri", f"test://{node(1, 3, 5, 6, 7)}")
    assert (outcome.state, outcome.reason) == (WARNING, "paused 2 is above 0, crashed 1 is above 0")
    for item in ("running=1", "paused=2;0", "io_error=0", "passing=0", "shutoff=1", "crashed=1;0"):
        assert item in outcome.perfdata


def test_a_node_without_guests(check, node):
    outcome = check(*GUESTS, "--uri", f"test://{node()}")
    assert (outcome.state, "running=0" in outcome.perfdata) == (OK, True)


def test_a_hypervisor_that_cannot_be_opened(check, folder):
    assert check(*GUESTS, "--uri", f"test://{folder}/none.xml").state == CRITICAL


@pytest.fixture
def libvirtd(folder):
    """Start a libvirtd with its sockets in our folder. It makes /run/libvirt all the same."""
    need_root("libvirtd for the system keeps its files in /run/libvirt")
    sockets = folder / "run"
    sockets.mkdir()
    (folder / "libvirtd.conf").write_text(
        f'listen_tls = 0\nauth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_dir = "{sockets}"\n'
        f'log_outputs = "2:file:{folder}/libvirtd.log"\n'
    )
    argv = ["/usr/sbin/libvirtd", "-f", str(folder / "libvirtd.conf"), "-p", str(folder / "pid")]
    with Daemon(argv, ready=(sockets / "libvirt-sock-ro").exists, log=folder / "libvirtd.log") as daemon:
        daemon.uri = f"test+unix:///default?socket={sockets}/libvirt-sock-ro"
        daemon.private = f"test+unix:///default?socket={sockets}/libvirt-sock"
        yield daemon


def test_libvirtd_answers_hangs_comes_back_and_dies(check, libvirtd):
    def ask():
        return check(*GUESTS, "--uri", libvirtd.uri, "-t", "3")

    assert ask().state == OK
    os.kill(libvirtd.pid, signal.SIGSTOP)
    hung = ask()
    os.kill(libvirtd.pid, signal.SIGCONT)
    assert (hung.state, "no answer in 2 s" in hung.reason) == (CRITICAL, True)
    assert ask().state == OK
    libvirtd.stop()
    gone = ask()
    assert (gone.state, "libvirt-sock-ro" in gone.reason) == (CRITICAL, True)


def test_a_socket_without_the_right_to_use_it(libvirtd):
    os.chmod(libvirtd.private.partition("socket=")[2], 0o600)
    argv = ["virsh", "--quiet", "-r", "-c", libvirtd.private, "domstats", "--raw", "--state"]
    answer = subprocess.run(
        argv, user=65534, group=65534, extra_groups=[], env={"LC_ALL": "C"}, capture_output=True, text=True
    )
    from nephoscope.probes import libvirt

    failed = libvirt.refused(libvirtd.private, answer.stderr)
    assert (answer.returncode, failed.kind) == (1, "not-allowed")


def test_a_real_bus_answers_hangs_and_dies(check, folder):
    address = f"{folder}/bus"
    config = folder / "bus.conf"
    config.write_text(
        "<busconfig><type>system</type>"
        f"<listen>unix:path={address}</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow user="*"/></policy></busconfig>'
    )
    argv = ["/usr/bin/dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]
    with Daemon(argv, ready=lambda: os.path.exists(address), log=folder / "bus.log") as bus:
        assert check("--mode", "bus", "--bus", address).state == OK
        os.kill(bus.pid, signal.SIGSTOP)
        hung = check("--mode", "bus", "--bus", address)
        os.kill(bus.pid, signal.SIGCONT)
        assert (hung.state, "bus: no answer in 2 s" in hung.reason) == (CRITICAL, True)
    gone = check("--mode", "bus", "--bus", address)
    assert gone.state == CRITICAL
    assert gone.reason.startswith("bus: ")


def test_the_lowest_link_is_named_first(check, folder):
    outcome = check(
        "--mode", "bus", *GUESTS, "--uri", f"test+unix:///default?socket={folder}/none", "--bus", f"{folder}/bus"
    )
    assert outcome.state == CRITICAL
    assert outcome.reason.startswith("bus: ")
    assert [item["of"] for item in outcome.items] == ["bus", "libvirt"]


def test_the_kernel_of_this_machine(check):
    """Whatever this machine offers: the word must agree with its files, asked another way."""
    flagged = subprocess.run(["grep", "-qwE", "vmx|svm", "/proc/cpuinfo"]).returncode == 0
    outcome = check("--mode", "kvm")
    expected = OK if flagged and os.path.exists("/dev/kvm") else CRITICAL
    assert outcome.state in ((expected,) if os.uname().machine == "x86_64" else (OK, CRITICAL))


def test_no_such_driver_is_absent(check, libvirtd):
    socket = libvirtd.uri.partition("socket=")[2]
    outcome = check(*GUESTS, "--uri", f"lxc+unix:///system?socket={socket}")
    assert (outcome.state, outcome.absent) == (UNKNOWN, True), outcome.text
