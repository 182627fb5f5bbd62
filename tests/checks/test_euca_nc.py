# SPDX-License-Identifier: Apache-2.0
"""check_euca_nc: its judge by equality, the check against simulated clouds, and a node's own files."""

from __future__ import annotations

import os
import re
import threading
import time

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run, child
from nephoscope.checks.eucalyptus.check_euca_nc import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Finding, Metric
from nephoscope.probes import euca_nc
from nephoscope.probes.axis2 import Services
from nephoscope.probes.euca_daemon import Running
from nephoscope.probes.euca_nc import GIB, MIB, Nc, Room, Stats
from nephoscope.probes.euca_sensor import OFF, State

from tests.checks import euca_root
from tests.probes.one_client import OneClient
from tests.probes.test_axis2 import html

PAGE = Services("h:8775", 0.01, ("EucalyptusGL", "EucalyptusNC"), ())
ROOM = {"cores": Room(30, 32), "mem": Room(7538 * MIB, 8050 * MIB), "disk": Room(47 * GIB, 57 * GIB)}
HTTPD, EUCANETD, DHCPD = Running("eucalyptus-nc", 2), Running("eucanetd", 1), Running("dhcpd", 1)
SENSOR = "euca.components.nc.state"

# As doDescribeInstances of node/handlers.c (4.4.2) prints it.
NC_STATS = """version: 4.4.2
timestamp: 1467097217
node: nc1.example
hypervisor: kvm
network: EDGE
memory (max/avail/used) MB: 8050/7538/512
disk (max/avail/used) GB: 57/47/10
cores (max/avail/used): 32/30/2
id: i-162a8f09 userId: AIDA state: Extant mem: 512 disk: 10 cores: 2 private: 10.111.5.12 public: 10.111.101.15
"""


def found(facts, *argv):
    return list(judge(facts, CHECK.parse(*argv)))


def bad(facts, *argv):
    return [one for one in found(facts, *argv) if isinstance(one, Failed) or getattr(one, "state", OK) != OK]


def test_green_from_afar():
    assert found(Nc(PAGE)) == [
        Finding(OK, "EucalyptusNC", "is serving; state not visible from here"),
        Finding(OK, "", "EucalyptusNC is serving; state not visible from here"),
        Metric("time", 0.01),
    ]


def test_green_on_the_node():
    nc = Nc(
        PAGE, 5.0, False, Stats(1.0, ROOM, "EDGE", 1), State("ENABLED", "OK"), 0.1, "", (HTTPD, EUCANETD), DHCPD, "EDGE"
    )
    assert found(nc) == [
        Finding(OK, "EucalyptusNC", "is serving"),
        Finding(OK, "", "EucalyptusNC is serving"),
        Metric("time", 0.01),
        Finding(OK, "eucalyptus-nc", "runs"),
        Finding(OK, "eucanetd", "runs"),
        Finding(OK, "dhcpd", "runs"),
        Finding(OK, "network", "mode is EDGE"),
        Metric("poll_age", 5.0),
        Metric("cores_free", 30, most=32),
        Metric("mem_free", 7538 * MIB, most=8050 * MIB),
        Metric("disk_free", 47 * GIB, most=57 * GIB),
        Finding(OK, "state", "is ENABLED"),
        Metric("libvirt_time", 0.1),
        Finding(OK, "kvm", "ready"),
    ]


@pytest.mark.parametrize(
    "facts, finding",
    [
        (Nc(Services("h", 0.1, ("EucalyptusGL",), ())), Finding(CRITICAL, "EucalyptusNC", "is not deployed: there is EucalyptusGL")),
        (Nc(Services("h", 0.1, (), ("EucalyptusNC",))), Finding(CRITICAL, "EucalyptusNC", "is faulty: httpd could not load it")),
        (Nc(daemons=(Running("eucalyptus-nc", 0),)), Finding(CRITICAL, "eucalyptus-nc", "does not run")),
        (Nc(daemons=(Running("eucanetd", 0),)), Finding(CRITICAL, "eucanetd", "does not run")),
        (Nc(dhcp=Running("dhcpd", 0)), Finding(CRITICAL, "dhcpd", "does not run")),
        (Nc(state=State("DISABLED", "FAILED")), Finding(CRITICAL, "state", "is DISABLED: it offers no room")),
        (Nc(state=State("BUGGY", "OK")), Finding(UNKNOWN, "state", "is BUGGY")),
        (Nc(kvm="no /dev/kvm"), Finding(CRITICAL, "kvm", "no /dev/kvm")),
        (Nc(network=""), Finding(UNKNOWN, "network", "mode is not known")),
        (Nc(network="EDGEE"), Finding(UNKNOWN, "network", "mode is EDGEE: there is no such mode")),
    ],
)  # fmt: skip
def test_each_cause(facts, finding):
    assert bad(facts) == [finding]


def test_never_polled():
    absent = Failed(ABSENT, "nc-stats", "read x", "No such file or directory")
    nc = Nc(poll_age=5000.0, never=True, stats=absent)
    assert found(nc, "--mode", "poll") == [Metric("poll_age", 5000.0, detail="no poll since the node started")]
    assert found(nc)[0] == absent, "that its room is not known is said"


def test_a_failure_is_told_once():
    failed = Failed(UNREADABLE, "nc-stats", "read x", "y")
    assert found(Nc(poll_age=failed, stats=failed)) == [failed]


def test_room_that_may_not_be_read_hides_no_age():
    refused = Failed(NOT_ALLOWED, "nc-stats", "read x", "Permission denied")
    nc = Nc(poll_age=5.0, stats=Stats(1.0, refused))
    assert found(nc) == [refused, Metric("poll_age", 5.0)]
    assert found(nc, "--mode", "poll") == [Metric("poll_age", 5.0)]


def test_state_is_visible_only_where_it_was_seen():
    """A node whose nc-stats and sensor could not be read shows no more than one that is asked from afar."""
    off = Failed(ABSENT, SENSOR, "read x", "No such file or directory", OFF)
    refused = Failed(NOT_ALLOWED, "nc-stats", "read x", "Permission denied")
    for nc in (Nc(PAGE, state=off), Nc(PAGE, poll_age=refused, state=off)):
        assert Finding(OK, "", "EucalyptusNC is serving; state not visible from here") in found(nc)


def test_links_that_failed_are_handed_on():
    page = Failed(UNREACHABLE, "h:8775", "GET /axis2/services", "Connection refused")
    virt = Failed(UNREACHABLE, "libvirt", "virsh", "no answer in 5 s")
    hidden = Failed(NOT_ALLOWED, "eucalyptus-nc", "look through /proc", "hidepid")
    off = Failed(ABSENT, SENSOR, "read x", "No such file or directory", OFF)
    nc = Nc(page, state=off, libvirt=virt, daemons=(hidden,))
    assert found(nc) == [page, Finding(OK, SENSOR, f"is not there: {OFF}"), virt, hidden]
    assert found(nc, "--mode", "state")[1] == off


def test_nc_stats():
    assert euca_nc.parse(NC_STATS) == Stats(1467097217.0, ROOM, "EDGE", 1)


@pytest.mark.parametrize("text, said", [
    ("", "no line of cores (max/avail/used): ''"),
    (NC_STATS[:100], "no line of cores (max/avail/used): "),
    (NC_STATS.replace("30/2", "30"), "no line of cores (max/avail/used): "),
    (NC_STATS.replace("timestamp", "time"), "no line of timestamp: "),
    (NC_STATS.replace("1467097217", "soon"), "no line of timestamp: "),
    (NC_STATS.replace("network: EDGE", "network:"), "no line of network: "),
])  # fmt: skip
def test_nc_stats_that_are_not_understood(text, said):
    with pytest.raises(Failed) as raised:
        euca_nc.parse(text)
    assert raised.value.kind == UNREADABLE
    assert raised.value.error.startswith(said)


# ---- against simulated clouds


def first(outcome):
    """The first line without the perfdata; a waiting time without its digits."""
    return re.sub(r"in \d+(\.\d)? s", "in N s", outcome.line.partition(" | ")[0])


def ask(demo, host="one-nc-1", *argv):
    return CHECK.run(["-H", demo.address(host), *argv])


@pytest.mark.parametrize("version", ["3.1.2", "3.4.3", "4.1.2", "4.4.2", "5.1.0"])
def test_every_version_is_understood(version):
    with Demo(sample(version=version)) as demo:
        assert first(ask(demo)) == "EUCA_NC OK - EucalyptusNC is serving; state not visible from here"
        assert [(seen.method, seen.path) for seen in demo.requests] == [("GET", "/axis2/services")]
        assert demo.connections("one-nc-1") == 1


@pytest.fixture(scope="module")
def cloud():
    with Demo(sample()) as demo:
        yield demo


@pytest.fixture
def demo(cloud):
    yield cloud
    cloud.tell("heal", "one-nc-1")
    cloud.tell("start", "one-nc-1")
    cloud.cloud.hosts["one-nc-1"].store.clear()


@pytest.mark.parametrize(
    "word, line",
    [
        ("stop", "CRITICAL - {}: Connection refused (GET /axis2/services)"),
        ("silent", "CRITICAL - {}: Connection refused (GET /axis2/services)"),
        ("hang", "CRITICAL - {}: no answer in N s (GET /axis2/services)"),
        ("drip", "CRITICAL - {}: no answer in N s (GET /axis2/services)"),
        ("error500", "CRITICAL - {}: HTTP 500 (GET /axis2/services)"),
        ("unavailable", "CRITICAL - {}: HTTP 503 (GET /axis2/services)"),
        ("cut", "CRITICAL - {}: the connection was cut before the answer was whole (GET /axis2/services)"),
        ("reset", "CRITICAL - {}: Connection reset by peer (GET /axis2/services)"),
        ("noise", "UNKNOWN - {}: no HTTP: BadStatusLine (GET /axis2/services)"),
        ("empty", "UNKNOWN - {}: not Axis2/C's list of services: '' (GET /axis2/services)"),
        ("login", "UNKNOWN - {}: HTTP 302, to https://sso.example/login (GET /axis2/services)"),
        ("huge", "UNKNOWN - {}: more than 1 MiB (GET /axis2/services)"),
        ("faulty", "CRITICAL - EucalyptusNC is faulty: httpd could not load it"),
        ("undeployed", "CRITICAL - EucalyptusNC is not deployed: there is no service at all"),
    ],
)
def test_how_a_node_may_fail(demo, word, line):
    demo.tell(word, "one-nc-1")
    before = demo.connections("one-nc-1")
    begun = time.monotonic()
    outcome = ask(demo, "one-nc-1", "-t", "2")
    assert time.monotonic() - begun < 2.5
    assert first(outcome) == f"EUCA_NC {line.format(demo.address('one-nc-1') + ':8775')}"
    assert demo.connections("one-nc-1") - before <= 1, "never asked again"


@pytest.mark.parametrize("word, said", [("truncated", "the page ends too early: "), ("garbage", "not Axis2/C's"), ("html", "not Axis2/C's"), ("bomb", "not Axis2/C's")])  # fmt: skip
def test_an_answer_that_is_not_the_page(demo, word, said):
    demo.tell(word, "one-nc-1")
    outcome = ask(demo)
    assert outcome.state == UNKNOWN
    assert first(outcome).startswith(f"EUCA_NC UNKNOWN - {demo.address('one-nc-1')}:8775: {said}")


def test_the_wrong_port(demo):
    """A cluster controller's page lists no EucalyptusNC, and a grep for "Eucalyptus" would find one there."""
    of = demo.address("one-cc")
    outcome = CHECK.run(["-H", of, "-p", "8774"])
    assert first(outcome) == "EUCA_NC CRITICAL - EucalyptusNC is not deployed: there is EucalyptusCC, EucalyptusGL"


def test_the_worker_is_free_at_once():
    """A server with one worker and a keep-alive of 30 s, as a node's httpd: the check says that it goes, and goes."""
    server = OneClient("/axis2/services", html(("EucalyptusNC",)), kept=30)
    try:
        assert CHECK.run(server.argv).state == OK
        waited = []

        def cluster_controller():
            begun = time.monotonic()
            CHECK.run([*server.argv, "-t", "20"])
            waited.append(time.monotonic() - begun)

        thread = threading.Thread(target=cluster_controller)
        thread.start()
        thread.join(10)
        assert waited and waited[0] < 5
    finally:
        server.close()
    assert [request.split("\r\n")[0] for request in server.requests] == ["GET /axis2/services HTTP/1.1"] * 2
    assert all("\r\nConnection: close\r\n" in request for request in server.requests)
    assert max(server.lasted) < 5


def test_a_worker_that_another_client_holds(demo):
    """The cluster controller's own connection, kept open: the check waits for its share and says so, no longer."""
    import http.client

    other = http.client.HTTPConnection(demo.address("one-nc-1"), 8775, timeout=10)
    other.request("GET", "/axis2/services")
    other.getresponse().read()
    try:
        line = f"EUCA_NC CRITICAL - {demo.address('one-nc-1')}:8775: no answer in N s (GET /axis2/services)"
        assert first(ask(demo, "one-nc-1", "-t", "2")) == line
    finally:
        other.close()


# ---- on the node


CPU = "processor\t: 0\nflags\t\t: fpu vmx sse2\n"
VIRSH = "#!/bin/sh\nprintf \"Domain: 'i-4e752026'\\n  state.state=1\\n  state.reason=1\\n\\n\"\n"


@pytest.fixture
def node(demo, tmp_path, monkeypatch):
    """The node itself: `node(...)` runs the check on it, `node.write()` renews its files below `node.root`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setattr(child, "PATH", f"{programs}:{child.PATH}")

    def virsh(text):
        (programs / "virsh").write_text(text)
        (programs / "virsh").chmod(0o755)

    def run(*argv, shift=0.0):
        argv = ["-H", demo.address("one-nc-1"), "--local", "--state-dir", str(tmp_path / "state"), *argv]
        return CHECK.run(argv, root=str(run.root), clock=Clock(shift))

    def write():
        run.root = euca_root.of_demo(demo, "one-nc-1", tmp_path / "root")
        euca_root.write(run.root / "proc/cpuinfo", CPU)
        return run.root

    run.write, run.virsh, run.stats = write, virsh, tmp_path / "root/run/eucalyptus/nc-stats"
    virsh(VIRSH)
    write()
    return run


def test_on_the_node(node):
    outcome = node()
    assert first(outcome) == "EUCA_NC OK - EucalyptusNC is serving", outcome.text
    for line in ("eucalyptus-nc runs", "eucanetd runs", "dhcpd runs", "state is ENABLED", "kvm ready"):
        assert f"[OK] {line}" in outcome.text
    names = [item.partition("=")[0] for item in outcome.perfdata]
    assert names == ["time", "poll_age", "cores_free", "mem_free", "disk_free", "libvirt_time"]
    assert re.fullmatch(r"mem_free=\d+B;;;;68719476736", outcome.perfdata[3])


@pytest.mark.parametrize("age, line", [
    (702, "WARNING - poll age 11.7 min is above 10 min"),
    (1500, "CRITICAL - poll age 25 min is above 20 min"),
])  # fmt: skip
def test_a_cluster_controller_that_asks_no_more(node, age, line):
    """W45 and W46 of the wiki's list."""
    text = re.sub(r"timestamp: \d+", f"timestamp: {int(time.time()) - age}", node.stats.read_text())
    node.stats.write_text(text)
    assert first(node("--mode", "poll")) == f"EUCA_NC {line}"


def test_a_node_that_was_never_asked(node):
    node.stats.unlink()
    euca_root.write(node.root / "proc/uptime", "500.00 900.00\n")
    assert node("--mode", "poll").line == "EUCA_NC OK - poll age 8.33 min | poll_age=500s;600;1200"
    euca_root.write(node.root / "proc/uptime", "3000.00 900.00\n")
    assert first(node("--mode", "poll")) == (
        "EUCA_NC CRITICAL - poll age 50 min is above 20 min (no poll since the node started)"
    )


def test_a_clock_that_was_set_back(node):
    assert re.fullmatch(
        r"EUCA_NC UNKNOWN - nc-stats: its time is \d+ s ahead of this node's clock \(read nc-stats\)",
        first(node("--mode", "poll", shift=-300)),
    )


def test_a_file_that_is_just_being_written(node):
    whole = node.stats.read_text()
    node.stats.write_text(whole[:50])
    threading.Timer(0.05, lambda: node.stats.write_text(whole)).start()
    assert node("--mode", "room").state == OK
    node.stats.write_text(whole[:50])
    assert first(node("--mode", "room")).startswith("EUCA_NC UNKNOWN - nc-stats: no line of cores (max/avail/used): ")


def refuse(monkeypatch, path):
    real = os.open

    def opening(name, *words, **more):
        if name == str(path):
            raise PermissionError(13, "Permission denied", name)
        return real(name, *words, **more)

    monkeypatch.setattr(os, "open", opening)


def test_nc_stats_that_may_not_be_read(node, monkeypatch):
    """It belongs to eucalyptus alone: its mtime tells the last poll all the same, and the room is what is not known."""
    refuse(monkeypatch, node.stats)
    os.utime(node.stats, (time.time() - 702,) * 2)
    assert first(node("--mode", "poll")) == "EUCA_NC WARNING - poll age 11.7 min is above 10 min"
    assert first(node("--mode", "room")) == (
        "EUCA_NC UNKNOWN - nc-stats: Permission denied (read /run/eucalyptus/nc-stats): needs a sudoers line for"
        " `/usr/bin/cat /var/run/eucalyptus/nc-stats` (nephoscope export sudoers)"
    )


def test_a_configuration_that_may_not_be_read(demo, node, monkeypatch):
    """What can be asked all the same is: a node that does not answer is no matter of rights."""
    refuse(monkeypatch, node.root / "etc/eucalyptus/eucalyptus.conf")
    conf = (
        "/etc/eucalyptus/eucalyptus.conf: Permission denied (read /etc/eucalyptus/eucalyptus.conf):"
        " needs read permission for all, as its package gives it"
    )
    assert first(node()) == f"EUCA_NC UNKNOWN - {conf}"
    assert first(node("--mode", "poll")) == f"EUCA_NC UNKNOWN - {conf}"
    demo.tell("stop", "one-nc-1")
    assert first(node()).startswith(f"EUCA_NC CRITICAL - {demo.address('one-nc-1')}:8775: Connection refused (GET ")
    assert conf in node().text


def test_nc_stats_by_sudo(tmp_path, monkeypatch):
    """Without the right to read it, the declared line is run by sudo, exactly."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "stats").write_text(NC_STATS)
    (programs / "sudo").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\nexec /bin/cat {tmp_path}/stats\n')
    (programs / "sudo").chmod(0o755)
    monkeypatch.setattr(child, "PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 999)
    monkeypatch.setattr(
        euca_nc.files,
        "text",
        lambda run, path, of: (_ for _ in ()).throw(Failed(NOT_ALLOWED, of, f"read {path}", "no")),
    )
    assert euca_nc.stats(Run(5), {"EUCALYPTUS": "/"}) == Stats(1467097217.0, ROOM, "EDGE", 1)
    assert (tmp_path / "asked").read_text().split(" ", 1)[1] == "/usr/bin/cat /var/run/eucalyptus/nc-stats\n"


@pytest.mark.parametrize("program, line", [
    ("httpd", "CRITICAL - eucalyptus-nc does not run"),
    ("eucanetd", "CRITICAL - eucanetd does not run"),
    ("dhcpd", "CRITICAL - dhcpd does not run"),
])  # fmt: skip
def test_a_daemon_that_does_not_run(demo, node, program, line):
    demo.tell("kill", "one-nc-1", program)
    try:
        node.write()
        assert first(node("--mode", "process", "--mode", "network")) == f"EUCA_NC {line}"
    finally:
        demo.tell("revive", "one-nc-1", program)


def test_a_pid_file_that_names_somebody_else(demo, node):
    """What check_euca_proc of upstream takes for a running node controller."""
    demo.tell("kill", "one-nc-1", "httpd")
    try:
        node.write()
        euca_root.process(node.root, 4711, "sshd", ["/usr/sbin/sshd"])
        for name in ("eucalyptus-node", "eucalyptus-nc"):
            euca_root.write(node.root / f"run/eucalyptus/{name}.pid", "4711\n")
        assert first(node("--mode", "process")) == "EUCA_NC CRITICAL - eucalyptus-nc does not run"
    finally:
        demo.tell("revive", "one-nc-1", "httpd")


def test_without_instances_no_dhcpd_is_missed(demo, node):
    demo.tell("kill", "one-nc-1", "dhcpd")
    try:
        node.write()
        node.stats.write_text("".join(line for line in node.stats.read_text().splitlines(True) if line[:4] != "id: "))
        assert node("--mode", "network").state == OK
    finally:
        demo.tell("revive", "one-nc-1", "dhcpd")


@pytest.mark.parametrize("state", ["Pending", "Teardown"])
def test_an_instance_that_does_not_run_needs_no_dhcpd(demo, node, state):
    """A terminated one stays in nc-stats for three minutes (default_teardown_state_duration), its dhcpd is stopped at once."""
    demo.tell("kill", "one-nc-1", "dhcpd")
    try:
        node.write()
        node.stats.write_text(node.stats.read_text().replace("state: Extant", f"state: {state}"))
        assert node("--mode", "network").line == "EUCA_NC OK - eucanetd runs, network mode is EDGE"
    finally:
        demo.tell("revive", "one-nc-1", "dhcpd")


@pytest.mark.parametrize("runs, line", [
    (True, "OK - dhcpd runs, eucanetd runs, network mode is EDGE"),
    (False, "UNKNOWN - nc-stats: Permission denied (read /run/eucalyptus/nc-stats): needs a sudoers line for"
            " `/usr/bin/cat /var/run/eucalyptus/nc-stats` (nephoscope export sudoers)"),
])  # fmt: skip
def test_whether_a_dhcpd_is_needed_is_not_known_without_nc_stats(demo, node, monkeypatch, runs, line):
    if not runs:
        demo.tell("kill", "one-nc-1", "dhcpd")
    try:
        node.write()
        refuse(monkeypatch, node.stats)
        assert first(node("--mode", "network")) == f"EUCA_NC {line}"
    finally:
        demo.tell("revive", "one-nc-1", "dhcpd")


def test_another_dhcpd_is_not_it(demo, node):
    demo.tell("kill", "one-nc-1", "dhcpd")
    try:
        node.write()
        euca_root.process(node.root, 4712, "dhcpd", ["/usr/sbin/dhcpd", "-cf", "/etc/dhcp/dhcpd.conf"])
        assert first(node("--mode", "network")) == "EUCA_NC CRITICAL - dhcpd does not run"
    finally:
        demo.tell("revive", "one-nc-1", "dhcpd")


def test_a_network_mode_in_small_letters_is_none(demo, node):
    """The node controller compares them to the letter, and does not start."""
    demo.tell("conf", "one-nc-1", "VNET_MODE", "edge")
    node.write()
    assert first(node("--mode", "network")) == "EUCA_NC UNKNOWN - network mode is edge: there is no such mode"


def test_in_other_network_modes_the_node_needs_neither(demo, node):
    demo.tell("conf", "one-nc-1", "VNET_MODE", "VPCMIDO")
    demo.tell("kill", "one-nc-1", "eucanetd")
    try:
        node.write()
        outcome = node("--mode", "network")
        assert first(outcome) == "EUCA_NC OK - network mode is VPCMIDO"
        assert "eucanetd" not in node().text
    finally:
        demo.tell("revive", "one-nc-1", "eucanetd")


def test_a_node_that_offers_nothing(demo, node):
    demo.tell("sensor", "one-nc-1", SENSOR, "state", "DISABLED")
    node.write()
    assert first(node()) == "EUCA_NC CRITICAL - state is DISABLED: it offers no room"


def test_libvirt(node):
    node.virsh(
        "#!/bin/sh\necho 'error: failed to connect to the hypervisor' >&2\necho 'error: Connection refused' >&2\nexit 1\n"
    )
    assert first(node("--mode", "libvirt")) == (
        "EUCA_NC CRITICAL - libvirt: Connection refused (virsh --connect qemu:///system domstats)"
    )
    node.virsh("#!/bin/sh\nexec sleep 30\n")
    begun = time.monotonic()
    outcome = node("-t", "3")
    assert time.monotonic() - begun < 3.5
    assert first(outcome) == (
        "EUCA_NC CRITICAL - libvirt: no answer in N s"
        " (run virsh --quiet --readonly --connect qemu:///system domstats …)"
    )
    assert "[OK] EucalyptusNC is serving" in outcome.text, "the page is asked after a hung libvirt as well"


def test_kvm(node):
    (node.root / "dev/kvm").unlink()
    assert first(node("--mode", "kvm")) == ("EUCA_NC CRITICAL - kvm no /dev/kvm")


def test_a_hung_httpd_hides_nothing_of_the_node(demo, node):
    demo.tell("hang", "one-nc-1")
    outcome = node("-t", "3")
    assert (
        first(outcome) == f"EUCA_NC CRITICAL - {demo.address('one-nc-1')}:8775: no answer in N s (GET /axis2/services)"
    )
    for line in ("eucalyptus-nc runs", "eucanetd runs", "cores free", "kvm ready"):
        assert f"[OK] {line}" in outcome.text


def test_where_eucalyptus_is_not_installed(tmp_path):
    assert first(CHECK.run([], root=str(tmp_path))) == (
        "EUCA_NC UNKNOWN - eucalyptus.conf: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf)"
    )


def test_a_mode_of_the_node_from_afar():
    assert CHECK.run(["-H", "nc.example", "--mode", "poll", "--mode", "kvm"]).line == (
        "EUCA_NC UNKNOWN - mode poll, kvm looks at the host that the check runs on, not at nc.example:"
        " run it there, by NRPE or an agent, without -H or with --local"
    )


@pytest.mark.parametrize("version", ["3.4.3", "4.1.2", "5.1.0"])
def test_a_simulated_node_of_each_version(node, tmp_path, version):
    with Demo(sample(version=version)) as demo:
        root = euca_root.of_demo(demo, "one-nc-1", tmp_path / "other")
        euca_root.write(root / "proc/cpuinfo", CPU)
        outcome = CHECK.run(["-H", demo.address("one-nc-1"), "--local"], root=str(root))
        assert outcome.state == OK, outcome.text
