# SPDX-License-Identifier: Apache-2.0
"""check_amqp_roundtrip and check_amqp_connections against a real RabbitMQ, over plain TCP and TLS."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from nephoscope.base import Clock
from nephoscope.checks.messaging.check_amqp_connections import CHECK as CONNECTIONS
from nephoscope.checks.messaging.check_amqp_roundtrip import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab import rabbitmq
from tests.lab.support import Daemon, free_port, need, need_root, private_folder, wait_for
from tests.probes.stand_ins import put
from tests.probes.talker import Talker, silent
from tests.probes.unprivileged import as_nobody

pytestmark = pytest.mark.lab
amqp = pytest.importorskip("amqp")


@pytest.fixture(scope="module")
def authority():
    """A certificate of 127.0.0.1, signed by an authority of its own."""
    need("openssl")
    with private_folder("nephoscope-tls-") as folder:

        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=lab", "-keyout", "ca.key", "-out", "ca.pem")
        openssl("req", *curve, "-subj", "/CN=broker", "-keyout", "key.pem", "-out", "request.pem")
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", "request.pem", *signed, "-out", "cert.pem")
        for path in folder.iterdir():
            path.chmod(0o644)
        yield folder


@pytest.fixture(scope="module")
def broker(authority):
    tls = {name: str(authority / path) for name, path in
           {"cacertfile": "ca.pem", "certfile": "cert.pem", "keyfile": "key.pem"}.items()}  # fmt: skip
    with private_folder() as folder, rabbitmq.node(folder, tls=tls) as node:
        yield node


@pytest.fixture
def check(folder, broker):
    """Run the round trip against the broker, or whatever `port` says."""

    def run(*argv, port=None):
        where = [] if port == 0 else ["-H", "127.0.0.1", "-p", str(port or broker.port)]
        return CHECK.run([*where, *argv, "--state-dir", str(folder / "state")])

    return run


def ours(broker):
    """Return what there is of ours at the broker: queues and connections."""
    queues = [queue["name"] for queue in broker.call("GET", "/api/queues") if queue["name"].startswith("nephoscope")]
    clients = broker.call("GET", "/api/connections")
    return queues + [one["name"] for one in clients if one.get("client_properties", {}).get("product") == "nephoscope"]


def test_green_and_nothing_is_left_behind(broker, check):
    outcome = check()
    assert re.fullmatch(
        r"AMQP_ROUNDTRIP OK - RabbitMQ 3\.\d+\.\d+ \| time=0\.\d+s;0\.5;2 login=0\.\d+s;2;5", outcome.line
    ), outcome.line
    wait_for(lambda: not ours(broker), 10, "the end of our connection")
    assert "client unexpectedly closed TCP connection" not in broker.log()


def test_tls(check, broker, authority):
    of = f"127.0.0.1:{broker.tls_port}"
    for words in (["--ca-file", str(authority / "ca.pem")], ["--insecure"]):
        outcome = check(*words, port=broker.tls_port)
        assert re.match(r"AMQP_ROUNDTRIP OK - RabbitMQ 3\.\d+\.\d+, TLSv1\.[23] \| ", outcome.line), outcome.line
    assert check("--tls", port=broker.tls_port).line == (
        f"AMQP_ROUNDTRIP UNKNOWN - {of}: certificate: self-signed certificate in certificate chain (speak TLS):"
        " needs its authority as --ca-file"
    )
    name = CHECK.run(["-H", "localhost", "-p", str(broker.tls_port), "--ca-file", str(authority / "ca.pem")])
    assert name.state == UNKNOWN
    assert "certificate: Hostname mismatch, certificate is not valid for 'localhost'" in name.reason
    assert check("--tls").line == f"AMQP_ROUNDTRIP UNKNOWN - 127.0.0.1:{broker.port}: it does not speak TLS"
    assert check(port=broker.tls_port).line == f"AMQP_ROUNDTRIP UNKNOWN - {of}: it wants TLS (log in): give --tls"


def test_a_wrong_password_and_an_unknown_user(check, broker, monkeypatch):
    for user in ("guest", "nobody-of-that-name"):
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter22")
        outcome = check("--user", user, "-vvv", "--explain")
        assert outcome.line == (
            f"AMQP_ROUNDTRIP UNKNOWN - 127.0.0.1:{broker.port}: it refuses the log-in (log in):"
            f" needs the right password of user {user}"
        )
        assert "hunter22" not in outcome.text


def test_no_such_virtual_host(check, broker):
    assert check("--vhost", "nova").line == (
        f"AMQP_ROUNDTRIP UNKNOWN - 127.0.0.1:{broker.port}/nova: there is no virtual host nova (log in)"
    )


@pytest.mark.parametrize("vhost", ["nephoscope", "/"])
def test_with_the_rights_that_the_page_names_and_no_more(check, broker, monkeypatch, vhost):
    """The very commands of the page are run, then one right after the other is taken away."""
    lines = [shlex.split(line.strip()) for line in CHECK.doc.splitlines() if line.strip().startswith("rabbitmqctl ")]
    assert [words[1] for words in lines] == ["add_vhost", "add_user", "set_permissions"]
    for _, *words in lines:
        words = ["hunter22" if word == "PASSWORD" else word for word in words]
        if vhost == "/":
            words = [vhost if before == "-p" else word for before, word in zip(["", *words], words)]
            if words[0] != "set_permissions":
                continue
        broker.ctl(*words)
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter22")
    argv = ["--vhost", vhost, "--user", "nephoscope"]
    assert check(*argv).state == OK
    place = f"127.0.0.1:{broker.port}" + ("" if vhost == "/" else f"/{vhost}")
    configure, write, read = lines[-1][-3:]
    needs = f"needs `rabbitmqctl set_permissions -p {vhost} nephoscope '{configure}' '{write}' '{read}'`"
    for rights, step in (
        (("^$", write, read), "declare a queue"),
        ((configure, write, "^$"), "consume from it"),
        ((configure, "^$", read), "publish"),
    ):
        broker.permit("nephoscope", vhost, *rights)
        outcome = check(*argv)
        assert outcome.line == (
            f"AMQP_ROUNDTRIP UNKNOWN - {place}: it refuses that (ACCESS_REFUSED) ({step}): {needs}"
        ), outcome.line
    broker.permit("nephoscope", vhost, configure, write, read)
    stranger = amqp.Connection(f"127.0.0.1:{broker.port}", "nephoscope", "hunter22", virtual_host=vhost)
    with stranger, pytest.raises(amqp.exceptions.AccessRefused):
        stranger.channel().queue_declare("nova")
    broker.forbid("nephoscope", vhost)
    assert check(*argv).line == f"AMQP_ROUNDTRIP UNKNOWN - {place}: it refuses virtual host {vhost} (log in): {needs}"
    wait_for(lambda: not ours(broker), 10, "the end of our connections")


def test_an_alarm_blocks_publishers(check, broker):
    """It is no time-out: the broker says so. It reads nothing from who it blocks: that we have gone, heartbeats tell it."""
    broker.ctl("eval", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).")
    try:
        begun = time.monotonic()
        outcome = check("-t", "4", "-w", "1")
        assert time.monotonic() - begun < 2
        assert outcome.line == (
            f"AMQP_ROUNDTRIP CRITICAL - 127.0.0.1:{broker.port}: it blocks publishers because of an alarm: low on memory"
        )
        wait_for(lambda: not ours(broker), 25, "the broker to miss a client that is blocked and gone")
    finally:
        broker.ctl("eval", "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).")
    wait_for(lambda: check("-t", "4").state == OK, 10, "the end of the alarm")


def test_a_disk_alarm(check, broker):
    broker.ctl("set_disk_free_limit", "100000GB")
    try:
        said = f"127.0.0.1:{broker.port}: it blocks publishers because of an alarm: low on disk"
        wait_for(lambda: check("-t", "4").reason == said, 15, "the alarm")
    finally:
        broker.ctl("set_disk_free_limit", "50MB")
    wait_for(lambda: check("-t", "4").state == OK, 15, "the end of the alarm")


def test_a_limit_of_connections(check, broker):
    broker.call("PUT", "/api/vhost-limits/%2F/max-connections", {"value": 0})
    try:
        assert check().line == (
            f"AMQP_ROUNDTRIP CRITICAL - 127.0.0.1:{broker.port}:"
            " a limit of connections is reached: its own, the user's or the virtual host's (log in)"
        )
    finally:
        broker.call("DELETE", "/api/vhost-limits/%2F/max-connections")


def test_a_frozen_broker(check, broker):
    broker.freeze()
    try:
        for words in ([], ["--insecure"]):
            begun = time.monotonic()
            outcome = check(*words, "-t", "2", port=broker.tls_port if words else None)
            assert time.monotonic() - begun < 2.5
            assert outcome.state == CRITICAL
            assert re.search(r"no answer in 1\.0 s \((log in|speak TLS)\)$", outcome.reason), outcome.reason
    finally:
        broker.thaw()
    assert check().state == OK


def test_what_is_no_broker(check, broker):
    outcome = check(port=broker.api)
    assert outcome.state in (CRITICAL, UNKNOWN)
    assert outcome.reason.endswith("(log in)") or outcome.reason.endswith("give --tls"), outcome.reason
    closed = free_port()
    assert check(port=closed).line == f"AMQP_ROUNDTRIP CRITICAL - 127.0.0.1:{closed}: Connection refused (connect)"


def test_the_brokers_of_services(check, broker, folder, authority):
    """A password of nothing but special characters, a virtual host with a slash, TLS as a service has it, a broker that is down."""
    broker.vhost("a/b")
    broker.user("nova", "p@s:/%#,?", permissions={"a/b": (".*", ".*", ".*")})
    login = "nova:p%40s%3A%2F%25%23%2C%3F"
    closed = free_port()
    (folder / "nova.conf").write_text(
        f"[DEFAULT]\ntransport_url = rabbit://{login}@127.0.0.1:{broker.port},{login}@127.0.0.1:{closed}/a%2Fb\n"
    )
    (folder / "glance.conf").write_text(
        f"[DEFAULT]\ntransport_url = rabbit://guest:guest@localhost:{broker.tls_port}/\n"
        f"[oslo_messaging_rabbit]\nssl = True\nssl_ca_file = {authority}/ca.pem\n"
    )
    argv = ["--from-service-file", str(folder / "nova.conf"), "--from-service-file", str(folder / "glance.conf")]
    outcome = check(*argv, port=0)
    states = {item["of"]: item["state"] for item in reversed(outcome.items)}
    assert states == {
        f"nova@127.0.0.1:{broker.port}/a/b": "OK",
        f"nova@127.0.0.1:{closed}/a/b": "CRITICAL",
        f"guest@localhost:{broker.tls_port}": "OK",
    }
    assert outcome.reason == f"nova@127.0.0.1:{closed}/a/b: Connection refused (connect)"
    assert len(outcome.perfdata) == 4
    assert "p@s" not in outcome.text
    well = check(*argv, "--exclude", f"*:{closed}*", port=0)
    assert well.state == OK, well.text


SERVICE = """
import amqp, signal, sys, time
link = amqp.Connection(sys.argv[1], heartbeat=0)
link.connect()
link.sock.setsockopt(6, 18, 0)  # TCP_USER_TIMEOUT: the library's second would end it at once
def push(*_):
    link.sock.setblocking(False)
    try:
        while True:
            link.sock.send(bytes(65536))
    except OSError:
        pass
signal.signal(signal.SIGUSR1, push)
open(sys.argv[2], "w").close()
while True:
    time.sleep(1)
"""


@pytest.fixture
def service(folder, broker):
    """A process known as a service of OpenStack that is connected to the broker; SIGUSR1 makes it send without end."""
    name = "nova-compute-of-the-lab"
    script, ready = folder / name, folder / "ready"
    script.write_text(SERVICE)
    argv = [sys.executable, script, f"127.0.0.1:{broker.port}", ready]
    with Daemon(argv, ready=ready.exists, log=folder / "service.log") as daemon:
        yield SimpleNamespace(name=name, pid=daemon.pid)


@pytest.fixture
def sockets(folder, broker, service):
    argv = ["--expect", service.name, "--broker", f"127.0.0.1:{broker.port}"]

    def run(*more, at=0):
        return CONNECTIONS.run([*argv, *more, "--state-dir", str(folder / "state")], clock=Clock(shift=at))

    return run


def test_a_service_that_is_connected(sockets, service, broker):
    outcome = sockets()
    assert outcome.line == (
        f"AMQP_CONNECTIONS OK - 1 processes hold 1 connections to 127.0.0.1"
        f" | alone=0s;;60 stuck=0;0 {service.name}_connections=1"
    )
    assert sockets("--expect", f"{service.name}=2").reason == f"{service.name} has 1 of 2 connections to a broker"
    wrong = CONNECTIONS.run(["--expect", service.name, "--broker", "127.0.0.1:1"])
    assert (wrong.state, wrong.reason) == (WARNING, f"{service.name} has no connection to a broker")


def test_a_stopped_and_an_ended_service(sockets, service):
    os.kill(service.pid, signal.SIGSTOP)
    try:
        # The signal works when the process is next on a processor.
        wait_for(lambda: sockets().state == CRITICAL, 5, "its stop")
        assert sockets().reason == f"{service.name} does not run, 1 stopped by a signal"
    finally:
        os.kill(service.pid, signal.SIGCONT)
    os.kill(service.pid, signal.SIGKILL)
    wait_for(lambda: sockets().state == CRITICAL, 5, "its end")
    assert sockets().reason in (
        f"{service.name} does not run",
        f"{service.name} does not run, 1 dead and not collected",
    )


def test_a_broker_that_takes_nothing(sockets, service, broker):
    assert sockets().state == OK
    broker.freeze()
    try:
        os.kill(service.pid, signal.SIGUSR1)
        seen = [0]

        def full():
            """Until the kernel on the other side takes no more either."""
            seen.append(queue_of(service.pid))
            time.sleep(0.3)
            return seen[-1] > 100_000 and seen[-1] == seen[-2]

        wait_for(full, 10, "a full send queue")
        assert sockets().state == OK, "for a moment it may stand"
        later = sockets(at=60)
        assert later.state == WARNING
        assert re.fullmatch(rf"{service.name} stuck 1 is above 0 \(for 6[01] s\)", later.reason), later.reason
    finally:
        broker.thaw()
    # What it sent is no AMQP: the broker resets the connection, and the service does not notice.
    said = f"{service.name} has no connection to a broker"
    wait_for(lambda: sockets("--state-id", "other").reason == said, 20, "the broker to close")
    assert sockets(at=120).state == WARNING
    gone = sockets(at=300)
    assert (gone.state, gone.reason) == (CRITICAL, f"{service.name} alone 3 min is above 60 s, WARNING: {said}")


def queue_of(pid):
    """Return the largest send queue of a process, as ss tells it."""
    out = subprocess.run(["ss", "-Htnp"], capture_output=True, text=True, check=True).stdout
    return max([int(line.split()[2]) for line in out.splitlines() if f"pid={pid}," in line], default=0)


def test_a_service_of_another_user(service, broker):
    """Never "no connection"."""
    need_root("to be another user")
    argv = ["--expect", service.name, "--broker", f"127.0.0.1:{broker.port}"]
    state, line = as_nobody(CONNECTIONS, argv)
    assert state == UNKNOWN
    assert line.startswith(
        f"AMQP_CONNECTIONS UNKNOWN - {service.name}: they are another user's (list its descriptors):"
        f" needs root, the user of {service.name}, or a sudoers line for `/usr/bin/ss -H -t -n -p -e -O`"
    ), line


def test_ss_tells_whose_a_socket_is(sockets, service, folder, monkeypatch):
    """The real ss, as sudo would run it; our own look at the descriptors is refused."""
    need_root("ss names processes to root alone")
    need("ss")
    real = os.listdir

    def listdir(path="."):
        if path == f"/proc/{service.pid}/fd":
            raise PermissionError(13, "Permission denied")
        return real(path)

    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", 1000, 1000)
    put(folder / "bin", monkeypatch, nothing="exit 0")
    monkeypatch.setattr(os, "listdir", listdir)
    outcome = sockets()
    assert outcome.reason == "1 processes hold 1 connections to 127.0.0.1"


ALONE = """
import socket, subprocess, sys, time
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 5672))
link = socket.create_connection(("127.0.0.1", 5672))
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def test_a_service_in_a_network_of_its_own(folder):
    need_root("a network name space")
    need("unshare", "ip")
    name = "neutron-agent-of-the-lab"
    (folder / name).write_text(ALONE)
    with Daemon(["unshare", "-n", sys.executable, folder / name, folder / "up"], ready=(folder / "up").exists):
        argv = ["--expect", name, "--broker", "127.0.0.1"]
        assert CONNECTIONS.run(argv).reason == "1 processes hold 1 connections to 127.0.0.1"
        state, line = as_nobody(CONNECTIONS, argv)
        assert (state, line) == (
            UNKNOWN,
            f"AMQP_CONNECTIONS UNKNOWN - {name}: they are another user's, in a network of its own (list its descriptors):"
            f" needs root, or the user of {name}",
        )


KNOCKS = """
import socket, sys, time
link = socket.socket()
link.setblocking(False)
link.connect_ex(("127.0.0.1", int(sys.argv[1])))
open(sys.argv[2], "w").close()
time.sleep(60)
"""


def test_a_service_that_gets_no_answer(folder):
    """A firewall that drops looks the same: the kernel sends again and again."""
    name = "cinder-volume-of-the-lab"
    (folder / name).write_text(KNOCKS)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        held = [socket.socket() for _ in range(4)]
        for one in held:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        with Daemon([sys.executable, folder / name, str(port), folder / "up"], ready=(folder / "up").exists):
            outcome = CONNECTIONS.run(["--expect", name, "--broker", f"127.0.0.1:{port}"])
            assert (outcome.state, outcome.reason) == (
                WARNING, f"{name} has no connection to a broker, 1 attempts without an answer"
            )  # fmt: skip
        for one in held:
            one.close()


def test_a_service_that_sleeps_while_it_was_closed(folder):
    name = "heat-engine-of-the-lab"
    (folder / name).write_text(KNOCKS)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with Daemon([sys.executable, folder / name, str(port), folder / "up"], ready=(folder / "up").exists):
            server.accept()[0].close()
            outcome = CONNECTIONS.run(["--expect", name, "--broker", f"127.0.0.1:{port}"])
            assert (outcome.state, outcome.reason) == (
                WARNING, f"{name} has no connection to a broker, 1 that the broker has closed"
            )  # fmt: skip


def test_the_end_of_the_broker(check, broker, sockets, service):
    """Last, as it does not come back."""
    assert sockets().state == OK
    broker.kill()
    assert check().line == f"AMQP_ROUNDTRIP CRITICAL - 127.0.0.1:{broker.port}: Connection refused (connect)"
    gone = sockets()
    assert (gone.state, gone.reason) == (WARNING, f"{service.name} has no connection to a broker")
    assert sockets(at=100).state == CRITICAL
    with Talker(silent) as other:
        assert check("-t", "2", port=other.port).reason == f"{other.of}: no answer in 1.0 s (log in)"
