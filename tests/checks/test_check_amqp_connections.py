# SPDX-License-Identifier: Apache-2.0
"""check_amqp_connections: its judge by equality, and the check over a /proc that is written here.

Real sockets, other users' processes and other networks are in tests/lab/test_amqp.py.
"""

from __future__ import annotations

import os
import socket
import sys

import pytest
from nephoscope.base import NOT_ALLOWED, Clock, Failed
from nephoscope.checks.messaging.check_amqp_connections import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.broker_sockets import SS, Host, Service, broker

from tests.probes.stand_ins import put, says
from tests.probes.test_listening import HEAD
from tests.probes.test_process import Proc

LITTLE = pytest.mark.skipif(sys.byteorder != "little", reason="the rows are those of a little-endian host")


def found(*services, brokers="192.0.2.1"):
    return list(judge(Host(services, brokers, {}), CHECK.parse()))


def metrics(name, connections=0, alone=0.0, stuck=0, standing=0):
    return [
        Metric("connections", connections, of=name),
        Metric("alone", alone, of=name),
        Metric("stuck", stuck, of=name, detail=f"for {standing} s"),
    ]


def test_services_that_are_connected():
    assert found(Service("a", 1, 2, 4), Service("b", 0, 1)) == [
        Finding(OK, "", "3 processes hold 4 connections to 192.0.2.1"),
        *metrics("a", 4),
        *metrics("b"),
    ]


@pytest.mark.parametrize(
    "service, finding",
    [
        (Service("a", 1, 1), Finding(WARNING, "a", "has no connection to a broker")),
        (
            Service("a", 1, 1, trying=2, left=1, elsewhere=("192.0.2.9:5672",)),
            Finding(
                WARNING,
                "a",
                "has no connection to a broker, 2 attempts without an answer, 1 that the broker has closed,"
                " connected to 192.0.2.9:5672",
            ),
        ),
        (Service("a", 4, 4, 3), Finding(WARNING, "a", "has 3 of 4 connections to a broker")),
        (Service("a", 1, 0), Finding(CRITICAL, "a", "does not run")),
        (
            Service("a", 1, 0, idle=", 1 stopped by a signal"),
            Finding(CRITICAL, "a", "does not run, 1 stopped by a signal"),
        ),
    ],
)
def test_services_that_are_not(service, finding):
    assert found(service)[1:] == [*metrics("a", service.connected), finding]


def test_what_could_not_be_looked_at_is_handed_on():
    failed = Failed(NOT_ALLOWED, "a", "list its descriptors", "they are another user's")
    assert found(failed) == [failed]


def test_limits_of_time_and_of_queues():
    (alone, stuck) = (Service("a", 1, 1, alone=61.0), Service("b", 1, 1, 1, stuck=1, standing=95.0))
    assert found(alone, stuck)[1:] == [
        *metrics("a", alone=61.0),
        Finding(WARNING, "a", "has no connection to a broker"),
        *metrics("b", 1, stuck=1, standing=95),
    ]


@pytest.mark.parametrize(
    "text, place",
    [
        ("h.example", ("h.example", 0)),
        ("h.example:5673", ("h.example", 5673)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("[2001:db8::1]:5671", ("2001:db8::1", 5671)),
        ("[2001:db8::1]", ("2001:db8::1", 0)),
        ("2001:db8::1", ("2001:db8::1", 0)),
    ],
)
def test_how_a_broker_is_named(text, place):
    assert broker(text) == place


@pytest.mark.parametrize("text", ["", ":5672", "h:x", "h:99999", "rabbit://u:p@h", "u:hunter22@h"])
def test_what_names_none(text):
    with pytest.raises(ValueError, match="is no broker"):
        broker(text)


class Node(Proc):
    """A /proc with processes, their sockets and one network for each `net`."""

    def __init__(self, root):
        super().__init__(root)
        self.inode = 100
        self.network("net", 1)
        (root / "proc/net").symlink_to("1/net")

    def network(self, name, pid):
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        for table in ("tcp", "tcp6"):
            if not (folder / table).exists():
                (folder / table).write_text(HEAD)
        (self.root / "proc" / str(pid) / "net").symlink_to(folder)
        return folder

    def service(self, pid, name, *links, net="net", **words):
        """Add a process; a link is (address, port, state, bytes in its send queue, timer and retransmissions)."""
        folder = self.add(pid, name[:15], f"/usr/bin/{name}", fds=0, **words)
        self.network(net, pid)
        for link in links:
            self.link(pid, *link, net=net)
        return folder

    def link(self, pid, address, port, state="01", queue=0, timer="04:00000076 00000000", *, net="net", inode=None):
        six = ":" in address
        raw = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
        words = "".join(f"{int.from_bytes(raw[at : at + 4], 'little'):08X}" for at in range(0, len(raw), 4))
        if inode is None:
            self.inode += 1
            inode = self.inode
        own = "0" * len(words)
        asks = timer if queue else "00:00000000 00000000"
        row = f"   0: {own}:{inode:04X} {words}:{port:04X} {state} {queue:08X}:00000000 {asks}   112 0 {inode} 1 0 20\n"
        path = self.root / net / ("tcp6" if six else "tcp")
        path.write_text(path.read_text() + row)
        fds = self.root / "proc" / str(pid) / "fd"
        (fds / str(len(list(fds.iterdir())))).symlink_to(f"socket:[{inode}]")
        return inode

    def queue(self, old, new):
        path = self.root / "net/tcp"
        path.write_text(path.read_text().replace(f"01 {old:08X}:", f"01 {new:08X}:"))


@pytest.fixture
def node(tmp_path):
    (tmp_path / "root").mkdir()
    return Node(tmp_path / "root")


@pytest.fixture
def check(tmp_path, node):
    def run(*argv, at=0):
        return CHECK.run([*argv, "--state-dir", str(tmp_path / "state")], root=str(node.root), clock=Clock(shift=at))

    return run


BROKER = ["--broker", "192.0.2.1"]


@LITTLE
def test_green(node, check):
    node.service(7, "nova-compute", ("192.0.2.1", 5672), ("192.0.2.1", 5671), ("192.0.2.5", 3306))
    node.service(8, "neutron-l3-agent", ("192.0.2.1", 5672), ("192.0.2.1", 5672, "06"))
    node.service(9, "nova-api", ("192.0.2.1", 5672))
    outcome = check(*BROKER)
    assert outcome.line == (
        "AMQP_CONNECTIONS OK - 2 processes hold 3 connections to 192.0.2.1"
        " | alone=0s;;60 stuck=0;0 stuck_sum=0 neutron-l3-agent_connections=1 nova-compute_connections=2"
    )
    assert check().reason == "2 processes hold 3 connections to any broker"


@LITTLE
def test_ipv6_and_what_it_wraps(node, check):
    node.service(7, "nova-compute", ("2001:db8::1", 5672), ("::ffff:192.0.2.1", 5672))
    assert check("--broker", "::ffff:192.0.2.1").reason == "1 processes hold 1 connections to ::ffff:192.0.2.1"
    assert check("--broker", "[2001:db8::1]:5672").reason == "1 processes hold 1 connections to 2001:db8::1"
    assert check(*BROKER, "--broker", "2001:db8::1").state == OK
    assert check(*BROKER, "--expect", "nova-compute=2", "--broker", "2001:db8::1").state == OK


@LITTLE
def test_none_at_once_and_for_a_minute(node, check):
    node.service(7, "nova-compute", ("192.0.2.1", 5672, "02"), ("192.0.2.1", 5672, "08"), ("192.0.2.9", 5672))
    said = (
        "nova-compute has no connection to a broker, 1 attempts without an answer, 1 that the broker has closed,"
        " connected to 192.0.2.9:5672"
    )
    assert (check(*BROKER).state, check(*BROKER).reason) == (WARNING, said)
    assert check(*BROKER, at=50).state == WARNING
    later = check(*BROKER, at=120)
    assert (later.state, later.reason) == (CRITICAL, f"nova-compute alone 2 min is above 60 s, WARNING: {said}")
    node.link(7, "192.0.2.1", 5672)
    assert check(*BROKER, at=180).state == OK
    (node.root / "net/tcp").write_text(HEAD)
    assert check(*BROKER, at=240).state == WARNING, "it begins anew"


@LITTLE
def test_a_send_queue_that_does_not_move(node, check):
    node.service(7, "nova-compute", ("192.0.2.1", 5672, "01", 0x500), ("192.0.2.1", 5672))
    assert check(*BROKER).state == OK
    assert check(*BROKER, at=20).state == OK
    stuck = check(*BROKER, at=60)
    assert (stuck.state, stuck.reason) == (WARNING, "nova-compute stuck 1 is above 0 (for 60 s)")
    node.queue(0x500, 0x900)
    assert check(*BROKER, at=120).reason == "nova-compute stuck 1 is above 0 (for 120 s)"
    node.queue(0x900, 0x800)  # something was taken
    assert check(*BROKER, at=180).state == OK
    node.queue(0x800, 0)
    assert check(*BROKER, at=240).state == OK
    node.queue(0, 0x800)
    assert check(*BROKER, at=300).state == OK


@LITTLE
@pytest.mark.parametrize(
    "timer, state",
    [
        ("01:00000015 00000000", OK),  # sent and not yet acknowledged: a connection that is busy is never without
        ("00:00000000 00000000", OK),
        ("02:00000015 00000000", OK),  # keepalive
        ("01:00000060 00000004", WARNING),  # sent again, without an answer
        ("04:00000198 00000000", WARNING),  # the other end has no room
    ],
)
def test_a_send_queue_of_a_busy_connection_is_none_that_stands(node, check, timer, state):
    node.service(7, "nova-compute", ("192.0.2.1", 5672, "01", 0x500, timer))
    assert [check(*BROKER, at=at).state for at in (0, 60)] == [OK, state]


@LITTLE
def test_a_stopped_service_is_told_without_being_named(node, check):
    node.service(7, "nova-compute", ("192.0.2.1", 5672), state="T")
    node.service(8, "neutron-l3-agent", ("192.0.2.1", 5672))
    outcome = check()
    assert (outcome.state, outcome.reason) == (CRITICAL, "nova-compute does not run, 1 stopped by a signal")


@LITTLE
def test_fewer_than_expected_and_none_that_runs(node, check):
    node.service(7, "nova-conductor", ("192.0.2.1", 5672))
    node.service(8, "nova-conductor", ("192.0.2.1", 5672))
    outcome = check(*BROKER, "--expect", "nova-conductor=3", "--expect", "nova-compute", "--expect", "cinder-volume=0")
    assert (outcome.state, outcome.reason) == (
        CRITICAL,
        "nova-compute does not run, WARNING: nova-conductor has 2 of 3 connections to a broker",
    )
    assert check(*BROKER, "--expect", "nova-conductor=2").state == OK


@LITTLE
def test_a_socket_that_two_processes_share_is_one(node, check):
    node.service(7, "nova-conductor", ("192.0.2.1", 5672))
    node.service(8, "nova-conductor")
    (node.root / "proc/8/fd/0").symlink_to(f"socket:[{node.inode}]")
    assert check(*BROKER).reason == "2 processes hold 1 connections to 192.0.2.1"


@LITTLE
def test_a_container_has_a_network_of_its_own(node, check):
    """Its sockets are in its own table; an inode of the host's that is the same number belongs to another."""
    node.service(7, "nova-compute", ("192.0.2.1", 5672), net="other")
    node.service(8, "neutron-l3-agent")
    outcome = check(*BROKER)
    assert outcome.reason == "neutron-l3-agent has no connection to a broker"
    assert "nova-compute_connections=1" in outcome.perfdata


def test_nothing_of_the_kind_runs(check):
    assert check().line == (
        "AMQP_CONNECTIONS UNKNOWN - no service of OpenStack that keeps a connection to a broker runs here"
        " (look through /proc): name what runs here by --expect"
    )
    assert check().absent


def test_a_broker_whose_name_is_not_known(node, check):
    node.service(7, "nova-compute", ("192.0.2.1", 5672))
    outcome = check("--broker", "nowhere.invalid")
    assert (outcome.state, outcome.reason.startswith("nowhere.invalid: ")) == (CRITICAL, True), outcome.text
    assert "holds" not in outcome.text
    assert check("--broker", "a..b.example").line == (
        "AMQP_CONNECTIONS UNKNOWN - a..b.example: that is no name of a host (look up its address)"
    )


@LITTLE
def test_brokers_of_a_service_file(node, check):
    (node.root / "etc").mkdir()
    (node.root / "etc/nova.conf").write_text(
        "[DEFAULT]\ntransport_url = rabbit://u:hunter22@192.0.2.1,u:x@192.0.2.2/\n"
    )
    node.service(7, "nova-compute", ("192.0.2.2", 5672))
    outcome = check("--from-service-file", "/etc/nova.conf")
    assert outcome.reason == "1 processes hold 1 connections to 192.0.2.1, 192.0.2.2"
    assert "hunter22" not in outcome.text
    assert check("--from-service-file", "/etc/nowhere.conf").line == (
        "AMQP_CONNECTIONS UNKNOWN - /etc/nowhere.conf: No such file or directory (read /etc/nowhere.conf)"
    )


class Closed:
    """Descriptors that belong to another user: what the kernel says to who may not see them."""

    def __init__(self, monkeypatch, *pids):
        real = os.listdir

        def listdir(path="."):
            if any(str(path).endswith(f"/{pid}/fd") for pid in pids):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "listdir", listdir)


def bound(tmp_path, monkeypatch, **scripts):
    """Put scripts in the place of programs, also when root runs the tests; the state is then that user's, too."""
    me = os.geteuid()
    put(tmp_path / "bin", monkeypatch, **scripts)
    (tmp_path / "state").mkdir(mode=0o700)
    if me == 0:
        os.chown(tmp_path / "state", 1000, 1000)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: me)


RIGHT = f"needs root, the user of nova-compute, or a sudoers line for `{' '.join(SS)}` (nephoscope export sudoers)"


@LITTLE
def test_descriptors_of_another_user(node, check, monkeypatch, tmp_path):
    """Never "no connection", and never OK."""
    node.service(7, "nova-compute", ("192.0.2.1", 5672))
    node.service(8, "neutron-l3-agent", ("192.0.2.1", 5672))
    Closed(monkeypatch, 7)
    bound(tmp_path, monkeypatch, sudo='echo "sudo: a password is required" >&2; exit 1', ss="exit 1")
    outcome = check(*BROKER)
    said = f"nova-compute: they are another user's (list its descriptors): {RIGHT}"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)
    assert not [item for item in outcome.perfdata if item.startswith("nova-compute")]
    assert "neutron-l3-agent_connections=1" in outcome.perfdata


ROW = 'ESTAB 0      0      192.0.2.7:101 192.0.2.1:5672 users:(("nova-compute",pid=7,fd=5)) uid:64060 ino:101 sk:1 <->'


@LITTLE
@pytest.mark.parametrize(
    "out, state, said",
    [
        (ROW, OK, "1 processes hold 1 connections to 192.0.2.1"),
        (ROW.replace("pid=7", "pid=9"), WARNING, "nova-compute has no connection to a broker"),
        # ss without rights names nobody, and an old one has no inode: neither is "no connection".
        (ROW.replace('users:(("nova-compute",pid=7,fd=5))', ""), UNKNOWN,
            f"nova-compute: they are another user's (list its descriptors): {RIGHT}"),
        (ROW.replace("ino:101 ", ""), UNKNOWN, f"nova-compute: they are another user's (list its descriptors): {RIGHT}"),
        ("", UNKNOWN, f"nova-compute: they are another user's (list its descriptors): {RIGHT}"),
    ],
)  # fmt: skip
def test_what_ss_says_by_sudo(node, check, monkeypatch, tmp_path, out, state, said):
    node.service(7, "nova-compute", ("192.0.2.1", 5672))
    Closed(monkeypatch, 7)
    bound(tmp_path, monkeypatch, ss=says(out))
    outcome = check(*BROKER)
    assert (outcome.state, outcome.reason) == (state, said)


@LITTLE
def test_no_right_is_needed_where_nobody_is_connected(node, check, monkeypatch, tmp_path):
    """The tables are everybody's to read: without a socket to a broker there is none of this service's."""
    node.service(7, "nova-compute", ("192.0.2.5", 3306))
    node.service(8, "neutron-l3-agent", ("192.0.2.1", 5672, "02"), net="other")
    Closed(monkeypatch, 7, 8)
    bound(tmp_path, monkeypatch, sudo="exit 1", ss="exit 1")
    outcome = check(*BROKER)
    assert outcome.reason == (
        "nova-compute has no connection to a broker, UNKNOWN: neutron-l3-agent: they are another user's,"
        " in a network of its own (list its descriptors): needs root, or the user of neutron-l3-agent"
    )


@LITTLE
def test_a_root_that_does_not_see_everything(node, check, monkeypatch, tmp_path):
    """In a container without CAP_SYS_PTRACE ss names the container's own alone: what is nobody's may be the service's."""
    node.service(7, "nova-compute", ("192.0.2.1", 5672))
    Closed(monkeypatch, 7)
    nobody = ROW.replace('users:(("nova-compute",pid=7,fd=5))', "")
    ours = 'ESTAB 0 0 192.0.2.7:99 192.0.2.5:5665 users:(("icinga2",pid=3,fd=5)) ino:99 sk:2 <->'
    bound(tmp_path, monkeypatch, ss=says(f"{nobody}\n{ours}"))
    outcome = check(*BROKER)
    assert (outcome.state, outcome.reason) == (
        UNKNOWN, f"nova-compute: they are another user's (list its descriptors): {RIGHT}"
    )  # fmt: skip


@LITTLE
def test_sudo_does_not_see_into_another_network(node, check, monkeypatch, tmp_path):
    node.service(7, "nova-compute", ("192.0.2.1", 5672), net="other")
    Closed(monkeypatch, 7)
    bound(tmp_path, monkeypatch, ss=says(ROW))
    outcome = check(*BROKER)
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "nova-compute: they are another user's, in a network of its own (list its descriptors):"
        " needs root, or the user of nova-compute",
    )


@LITTLE
@pytest.mark.parametrize(
    "text, said",
    [
        (b"nonsense\n", "its first line is not understood: b'nonsense' (read /proc/7/net/tcp)"),
        (HEAD.encode() + b"   0: 0:0 nonsense\n", "not understood: b' 0: 0:0 nonsense' (read /proc/7/net/tcp)"),
    ],
)
def test_a_table_that_is_garbage(node, check, text, said):
    node.service(7, "nova-compute", ("192.0.2.1", 5672))
    (node.root / "net/tcp").write_bytes(text)
    assert check(*BROKER).line == f"AMQP_CONNECTIONS UNKNOWN - /proc/7/net/tcp: {said}"


def test_kept_state_that_is_damaged(node, check):
    from nephoscope.base import Run
    from nephoscope.probes.broker_sockets import look

    node.service(7, "nova-compute", ("192.0.2.1", 5672, "01", 9))
    for before in ([], {"queues": [], "alone": 3}, {"queues": {"101:101": ["x"]}, "alone": {"nova-compute": "y"}}):
        host = look(Run(before=before, root=str(node.root)), [("nova-compute", 1)], (), (), own="x")
        assert host.services[0].stuck == 0


def test_a_process_that_ends_meanwhile(node, check):
    node.service(7, "nova-compute")
    (node.root / "proc/7/net").unlink()
    outcome = check(*BROKER)
    assert outcome.reason == "nova-compute has no connection to a broker"


def test_absent_is_a_kind_of_its_own(check):
    assert check("--absent-state", "ok").state == OK
