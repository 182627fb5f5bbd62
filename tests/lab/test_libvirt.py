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


def test_filters_name_guests(check, node):
    uri = f"test://{node(1, 3)}"
    without = check(*GUESTS, "--uri", uri, "--exclude", "guest-3")
    assert (without.state, "paused=0;0" in without.perfdata) == (OK, True), without.text
    named = check(*GUESTS, "--uri", uri, "--include", "guest-1")
    assert (named.state, "guest-1 running" in named.text) == (OK, True), named.text


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
    assert (hung.state, "no answer in " in hung.reason) == (CRITICAL, True)
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
        assert (hung.state, "bus: no answer in " in hung.reason) == (CRITICAL, True)
    gone = check("--mode", "bus", "--bus", address)
    assert gone.state == CRITICAL
    assert gone.reason.startswith("bus: ")


def test_a_hung_libvirt_leaves_a_real_bus_its_time(check, folder, libvirtd):
    address = f"{folder}/bus"
    config = folder / "bus.conf"
    config.write_text(
        f"<busconfig><type>system</type><listen>unix:path={address}</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow user="*"/></policy></busconfig>'
    )
    argv = ["/usr/bin/dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]
    with Daemon(argv, ready=lambda: os.path.exists(address), log=folder / "bus.log"):
        os.kill(libvirtd.pid, signal.SIGSTOP)
        outcome = check("--mode", "bus", *GUESTS, "--uri", libvirtd.uri, "--bus", address, "-t", "3")
        os.kill(libvirtd.pid, signal.SIGCONT)
    assert {item["of"]: item["state"] for item in outcome.items} == {"bus": "OK", "libvirt": "CRITICAL"}, outcome.text


def test_the_lowest_link_is_named_first(check, folder):
    outcome = check(
        "--mode", "bus", *GUESTS, "--uri", f"test+unix:///default?socket={folder}/none", "--bus", f"{folder}/bus"
    )
    assert outcome.state == CRITICAL
    assert outcome.reason.startswith("bus: ")
    assert [item["of"] for item in outcome.items] == ["bus", "libvirt"]


@pytest.mark.parametrize("device", ["present", "missing"])
@pytest.mark.parametrize("flag", ["vmx", "svm", "none"])
def test_the_kernel_agrees_with_what_libvirt_says_about_it(folder, installed_plugins, flag, device):
    """libvirt's own virt-host-validate beside the installed check, both in a mount name space with another CPU and another /dev."""
    need("virt-host-validate", "unshare", "mknod")
    need_root("to put another /proc/cpuinfo and another /dev in place")
    (folder / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flag} sse\nbogomips\t: 1\n\n")
    steps = [f"mount --bind {folder}/cpuinfo /proc/cpuinfo", "mount -t tmpfs none /dev", "mknod -m 666 /dev/null c 1 3"]
    steps += ["mknod -m 666 /dev/urandom c 1 9"] + ["mknod /dev/kvm c 10 232"] * (device == "present")

    def there(*argv):
        script = " && ".join([*steps, 'exec "$@"'])
        argv = ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, argv)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, "LC_ALL": "C"})

    said = there("virt-host-validate", "qemu").stdout
    passed = [line for line in said.splitlines() if line.endswith(": PASS")]
    theirs = [any(words in line for line in passed) for words in ("hardware virtualization", "/dev/kvm exists")]
    assert theirs == [flag != "none", flag != "none" and device == "present"], (
        said
    )  # it stops at a CPU without the flag
    ours = there(installed_plugins / "check_libvirt", "--mode", "kvm", "--state-dir", folder / "state")
    assert ours.returncode == (OK if all(theirs) else CRITICAL), ours
    assert ("neither vmx nor svm" in ours.stdout) is (flag == "none")


def test_no_such_driver_is_absent(check, libvirtd):
    socket = libvirtd.uri.partition("socket=")[2]
    outcome = check(*GUESTS, "--uri", f"lxc+unix:///system?socket={socket}")
    assert (outcome.state, outcome.absent) == (UNKNOWN, True), outcome.text
