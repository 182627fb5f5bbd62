# SPDX-License-Identifier: Apache-2.0
"""check_rabbitmq_node and check_rabbitmq_queues against two real brokers that have joined, and one that speaks TLS.

Both ask as a user with the tag monitoring and the empty permission, and no more. The tests of the pair put back what they broke.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from nephoscope.base import Clock
from nephoscope.checks.messaging.check_rabbitmq_node import CHECK as NODE
from nephoscope.checks.messaging.check_rabbitmq_queues import CHECK as QUEUES
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab import rabbitmq
from tests.lab.support import need, private_folder, wait_for
from tests.simulators import rabbitmq as simulated

pytestmark = pytest.mark.lab

EMPTY = ("^$", "^$", "^$")
A, B = "lab1@localhost", "lab2@localhost"
YOUNG = ("-w", "uptime=1:", "-w", "disk_free=1:")
"""A broker of a test was started a moment ago, on a machine whose disk is not the question."""


@pytest.fixture(scope="module")
def brokers():
    """Two that have joined, and one whose API speaks TLS, with a certificate of its own that expires in ten days; all start together."""
    need("openssl")
    with contextlib.ExitStack() as stack:
        joined, alone = (stack.enter_context(private_folder()) for _ in range(2))
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10", "-subj", "/CN=127.0.0.1"]
        files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{alone}/key.pem", "-out", f"{alone}/cert.pem"]
        subprocess.run(["/usr/bin/openssl", *words, *files], check=True, capture_output=True)
        tls = {"cacertfile": f"{alone}/cert.pem", "certfile": f"{alone}/cert.pem", "keyfile": f"{alone}/key.pem"}
        with ThreadPoolExecutor() as pool:
            third = pool.submit(stack.enter_context, rabbitmq.node(alone, tls=tls))
            two = stack.enter_context(rabbitmq.cluster(joined))
            yield two, third.result()


@pytest.fixture(scope="module")
def pair(brokers):
    first = brokers[0][0]
    first.vhost("nova")
    first.user("nagios", "secret", "monitoring", {"/": EMPTY, "nova": EMPTY})
    return brokers[0]


@pytest.fixture(scope="module")
def secure(brokers):
    brokers[1].user("nagios", "secret", "monitoring", {"/": EMPTY})
    return brokers[1]


@pytest.fixture
def check(folder, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")

    def run(which, broker, *argv, at=0.0):
        port = getattr(broker, "api", None) or broker.port
        base = ["-H", "127.0.0.1", "-p", str(port), "--user", "nagios", "--state-dir", str(folder / "state")]
        return which.run([*base, *(YOUNG if which is NODE and "--mode" not in argv else ()), *argv], clock=Clock(at))

    return run


def first(outcome):
    """The first line without its numbers' accidents: no perfdata, no seconds of ours."""
    return re.sub(r"no answer in \d+\.\d s", "no answer in N s", outcome.line.partition(" | ")[0])


@pytest.fixture
def queue(pair):
    """Make queues that are gone after the test."""
    made = []

    def make(name, vhost="/", **arguments):
        pair[0].queue(name, vhost, **arguments)
        made.append((name, vhost))

    yield make
    for name, vhost in made:
        with contextlib.suppress(rabbitmq.Refused):
            pair[0].delete_queue(name, vhost)


def connection(broker):
    """An AMQP connection for making trouble."""
    amqp = pytest.importorskip("amqp")
    link = amqp.Connection(f"127.0.0.1:{broker.port}", userid="guest", password="guest", heartbeat=0)
    link.connect()
    return link


def test_two_nodes_with_the_least_rights(pair, check):
    outcome = check(NODE, pair[0], "-v", "--expect", A, "--expect", "lab2@localhost", "--expect", "2")
    assert outcome.state == OK, outcome.text
    assert first(outcome) == (
        "RABBITMQ_NODE OK - RabbitMQ 3.10.8, 2 of 2 nodes run, not in this release: metadata-store/initialized, "
        "ready-to-serve-clients, quorum-queues-without-elected-leaders, reached-target-cluster-size, rates collecting"
    )
    for name in ("mem=", "mem_share=", "disk_free=", "disk_margin=", "fds=", "sockets=", "processes=", "uptime="):
        assert sum(name in item for item in outcome.perfdata) == 2, name
    # The other node was asked for its own view, by its name, on the port that it listens on.
    assert "own view" not in outcome.text
    assert check(NODE, pair[0], "--expect", "lab3@localhost").reason == "lab3@localhost is no node of this cluster"


def test_rates_are_those_of_the_broker(pair, check):
    assert check(NODE, pair[0]).state == OK
    links = [connection(pair[0]) for _ in range(6)]
    channel = links[0].channel()
    import amqp

    for _ in range(60):
        channel.basic_publish(amqp.Message("x"), routing_key="nobody.takes.it")
    try:
        wait_for(
            lambda: pair[0].call("GET", "/api/overview")["message_stats"].get("drop_unroutable", 0) >= 60,
            20,
            "statistics",
        )
        outcome = check(NODE, pair[0], "-w", "opened_rate=0.01", at=300)
        assert outcome.state == WARNING, outcome.line
        assert re.fullmatch(r"opened 0\.0\d+/s is above 0\.01/s, unroutable 0\.2/s is above 0\.1/s", outcome.reason), (
            outcome.line
        )
    finally:
        for link in links:
            link.close()


def test_alarms_of_memory_and_disk(pair, check):
    pair[1].ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    pair[0].ctl("set_disk_free_limit", "9000GB")
    blocked = "publishers are blocked in the whole cluster"
    try:
        wait_for(lambda: all(one["disk_free_alarm"] for one in pair[0].call("GET", "/api/nodes")[:1]), 20, "statistics")
        for broker in pair:  # each tells of the whole cluster
            told = first(check(NODE, broker, "--mode", "alarms"))
            assert told == f"RABBITMQ_NODE CRITICAL - {A} disk alarm: {blocked}, {B} memory alarm: {blocked}"
        # What peers build on answers "ok" in this very minute; it is never asked.
        assert pair[1].call("GET", "/api/aliveness-test/%2F") == {"status": "ok"}
    finally:
        pair[1].ctl("set_vm_memory_high_watermark", "absolute", "512MB")
        pair[0].ctl("set_disk_free_limit", "50MB")
        pair[1].delete_queue("aliveness-test")
    wait_for(lambda: check(NODE, pair[0]).state == OK, 15, "the end of the alarm")


def test_queues_and_a_missing_one(pair, check, queue):
    queue("orders")
    queue("x", "nova")
    pair[0].settled("orders", messages=0)
    pair[0].settled("x", "nova", messages=0)
    assert first(check(QUEUES, pair[0])) == "RABBITMQ_QUEUES OK - 2 queues, 0 messages"
    assert check(QUEUES, pair[0], "--expect", "orders=0", "--expect", "nova/x=0").state == OK
    gone = check(QUEUES, pair[0], "--expect", "nova/y")
    assert first(gone) == "RABBITMQ_QUEUES CRITICAL - nova/y does not exist"
    assert check(QUEUES, pair[0], "--vhost", "nova").reason == "1 queues, 0 messages"
    assert check(QUEUES, pair[0], "--matching", "^ord").reason == "1 queues, 0 messages"


def test_no_queue_at_all(pair, check):
    outcome = check(QUEUES, pair[0])
    assert first(outcome) == f"RABBITMQ_QUEUES UNKNOWN - 127.0.0.1:{pair[0].api}: no queue here (GET /api/queues)"


def test_notifications_without_a_consumer(pair, check, queue):
    queue("notifications.info")
    pair[0].publish("notifications.info", count=3)
    pair[0].settled("notifications.info", messages=3, consumers=0)
    assert check(QUEUES, pair[0]).state == OK
    late = check(QUEUES, pair[0], at=420)
    assert first(late) == (
        "RABBITMQ_QUEUES WARNING - notifications.info unconsumed age 7 min is above 5 min (notifications that nobody reads: "
        "driver = noop, notification_format = unversioned, or a policy with message-ttl)"
    )


def test_a_service_topic_without_a_consumer_and_with_one(pair, check, queue):
    queue("conductor")
    pair[0].publish("conductor", count=3)
    pair[0].settled("conductor", messages=3)
    outcome = check(QUEUES, pair[0], "-w", "backlog=2")
    assert (
        first(outcome)
        == "RABBITMQ_QUEUES CRITICAL - conductor consumers 0 is below 1, WARNING: conductor backlog 3 is above 2"
    )
    with contextlib.closing(connection(pair[0])) as link:
        channel = link.channel()
        channel.basic_qos(0, 2, False)
        channel.basic_consume("conductor", callback=lambda message: None)
        pair[0].settled("conductor", consumers=1, messages_unacknowledged=2)
        held = check(QUEUES, pair[0], "-w", "unacked=1")
        assert first(held) == "RABBITMQ_QUEUES WARNING - conductor unacked 2 is above 1"
        stuck = check(QUEUES, pair[0], at=900)
        assert first(stuck) == "RABBITMQ_QUEUES WARNING - conductor unacked age 15 min is above 10 min"


def test_a_healthy_cloud_is_well_without_noise(pair, check, queue):
    """Replies and fan-outs of many processes, topics of services and notifications, each with its consumer; runs a minute apart."""
    processes = [f"{number:032x}" for number in range(30)]
    topics = ["conductor", "scheduler", "q-plugin", "engine", *(f"compute.cmp{number}" for number in range(10))]
    transient = [*(f"reply_{one}" for one in processes), *(f"scheduler_fanout_{one}" for one in processes)]
    for name in (*topics, "notifications.info"):
        queue(name)
    with contextlib.closing(connection(pair[0])) as link:
        import amqp

        channel = link.channel()
        for name in transient:
            channel.queue_declare(name, auto_delete=True)
        for name in (*transient, *topics, "notifications.info"):
            channel.basic_consume(name, no_ack=True, callback=lambda message: None)
        for at in (0, 60, 120, 180, 240):
            for name in (*transient, *topics, "notifications.info"):
                channel.basic_publish(amqp.Message("x" * 900), routing_key=name)
            wait_for(
                lambda: sum(one.get("consumers", 0) for one in pair[0].call("GET", "/api/queues")) == 75,
                20,
                "consumers",
            )
            for broker in pair:
                outcome = check(QUEUES, broker, at=at)
                assert first(outcome) == (
                    "RABBITMQ_QUEUES OK - 75 queues (1 notifications, 14 service, 60 transient), 0 messages"
                ), outcome.text
                assert len(outcome.text) < 4000
                assert check(NODE, broker, at=at).state == OK


def test_a_growing_queue(pair, check, queue):
    queue("reports")
    with contextlib.closing(connection(pair[0])) as link:
        import amqp

        channel = link.channel()
        for number in range(1, 5):
            for _ in range(60):
                channel.basic_publish(amqp.Message("x"), routing_key="reports")
            pair[0].settled("reports", messages=60 * number)
            outcome = check(QUEUES, pair[0], "-c", "forecast=10000", at=60 * number)
            assert (outcome.state == OK) == (number < 4), outcome.line
    assert re.fullmatch(
        r"RABBITMQ_QUEUES CRITICAL - reports forecast 2\d{4}(\.\d+)? is above 10000, WARNING: reports growth (0\.9\d*|1)/s is above 0/s",
        first(outcome),
    ), outcome.line


def test_huge_messages(pair, check, queue):
    queue("heat")
    pair[0].publish("heat", "x" * (2 << 20), count=2)
    pair[0].settled("heat", messages=2)
    outcome = check(QUEUES, pair[0])
    assert first(outcome) == "RABBITMQ_QUEUES WARNING - heat bytes 2 MiB is above 1 MiB", outcome.line


def test_a_fresh_queue_tells_nothing_for_a_moment(pair, check, queue):
    """Not 0, and not a finding on the first run."""
    queue("fresh", x_queue_type="quorum")
    assert check(QUEUES, pair[0]).state == OK


def test_a_mirror_that_is_not_in_step(pair, check, queue):
    queue("mirrored")
    pair[0].publish("mirrored", count=2)
    pair[0].call(
        "PUT",
        "/api/policies/%2F/ha",
        {"pattern": "^mirrored$", "definition": {"ha-mode": "all", "ha-sync-mode": "manual"}},
    )
    try:
        wait_for(lambda: pair[0].settled("mirrored").get("slave_nodes"), 20, "the mirror")
        outcome = check(QUEUES, pair[0])
        assert re.fullmatch(
            "RABBITMQ_QUEUES WARNING - mirrored has a mirror that is not in step: lab[12]@localhost", first(outcome)
        ), outcome.line
    finally:
        pair[0].call("DELETE", "/api/policies/%2F/ha")


def test_a_node_that_is_killed_takes_a_quorum_queue_with_it_and_comes_back(pair, check, queue):
    queue("orders", x_queue_type="quorum")
    wait_for(lambda: len(pair[0].settled("orders").get("online", ())) == 2, 20, "both members")
    assert check(QUEUES, pair[0]).state == OK
    risk = check(NODE, pair[0])
    assert risk.state == WARNING
    assert risk.reason.startswith("node-is-quorum-critical There are quorum queues that would lose their quorum")
    pair[1].kill()
    try:
        wait_for(lambda: f"{B} is not running" in check(NODE, pair[0]).reason, 20, "that it is missed")
        down = check(NODE, pair[0], "--expect", "2", "--mode", "nodes", "-w", "uptime=1:")
        assert first(down) == f"RABBITMQ_NODE CRITICAL - 1 of 2 nodes run, {B} is not running"
        assert check(NODE, pair[0], "--mode", "nodes", "--include", B).state == CRITICAL
        assert first(check(NODE, pair[0], "--mode", "partitions")) == f"RABBITMQ_NODE CRITICAL - {B} is not running"
        lost = wait_for(
            lambda: told(check(QUEUES, pair[0]), "majority", "minority", "is down"), 20, "the loss of a member"
        )
        assert lost.state == CRITICAL
        assert re.match(rf"orders (has lost its majority: {B} offline|is minority|is down)", lost.reason), lost.line
    finally:
        pair[1].start()
    # Its own statistics are there before the cluster's health checks, and they before the queue's members.
    wait_for(lambda: check(NODE, pair[0], "--exclude", "node-is-quorum-critical", at=300).state == OK, 30, "its return")
    young = check(NODE, pair[0], "-w", "uptime=600:", "--include", B)
    assert re.fullmatch(rf"RABBITMQ_NODE WARNING - {B} uptime \d.* is below 10 min", first(young)), young.line


def told(outcome, *words):
    """The outcome, if its reason has one of these words."""
    return outcome if any(word in outcome.reason for word in words) else None


def test_a_frozen_node(pair, check):
    """While one is frozen the other's API stays silent."""
    pair[1].freeze()
    try:
        started = time.monotonic()
        silent = check(NODE, pair[0], "-t", "2")
        assert time.monotonic() - started < 2.5
        assert first(silent) == (
            f"RABBITMQ_NODE CRITICAL - 127.0.0.1:{pair[0].api}: no answer in N s (GET /api/overview): the log-in was answered: look "
            "for a node of the cluster that is frozen or cut off, the others wait for it"
        )
        queues = check(QUEUES, pair[0], "-t", "2")
        assert "the log-in was answered: look for a node of the cluster that is frozen" in queues.line
        itself = check(NODE, pair[1], "-t", "2")
        assert first(itself) == f"RABBITMQ_NODE CRITICAL - 127.0.0.1:{pair[1].api}: no answer in N s (GET /api/whoami)"
    finally:
        pair[1].thaw()
    wait_for(lambda: check(NODE, pair[0]).state == OK, 20, "its thaw")


def test_a_network_partition(pair, check):
    """Clients reach both, and they don't reach each other; once they do again, each knows what it missed."""
    a, b = pair
    other = f"127.0.0.1:{b.api}"
    views = ("--views", other)
    try:
        with rabbitmq.cut(a, b):
            wait_for(lambda: told(check(NODE, a), f"{B} is not running"), 20, "that it is missed")
            wait_for(lambda: told(check(NODE, b), f"{A} is not running"), 20, "that it is missed")
            # Neither lists a partition; only the other one's own answer tells a cut from an end.
            assert all(one.get("partitions", []) == [] for one in a.call("GET", "/api/nodes"))
            split = check(NODE, a, "--mode", "partitions", *views)
            assert first(split) == (
                f"RABBITMQ_NODE CRITICAL - {other} does not see {A}, {B} runs, but {A} does not see it"
            )
            assert "partitions=1" in split.perfdata
            alone = check(NODE, a, "--mode", "partitions")
            assert first(alone) == f"RABBITMQ_NODE CRITICAL - {B} is not running"
        wait_for(lambda: told(check(NODE, a), "is partitioned from"), 30, "the partition")
        wait_for(lambda: "partitions=2" in check(NODE, a).perfdata, 20, "the other side's own view")
        whole = check(NODE, a, "--mode", "partitions", *views)
        assert whole.state == CRITICAL
        for text in (f"{A} is partitioned from", f"{B} is partitioned from"):
            assert text in whole.text
        b.ctl("stop_app")
        stopped = check(NODE, a, "--expect", "2", "--mode", "nodes", "-w", "uptime=1:")
        assert first(stopped) == f"RABBITMQ_NODE CRITICAL - 1 of 2 nodes run, {B} is not running"
        refused = check(NODE, b)
        assert first(refused) == (
            f"RABBITMQ_NODE CRITICAL - {other}: Connection refused (GET /api/whoami): is the broker down, or its "
            "management plug-in off? `rabbitmq-plugins enable rabbitmq_management`"
        )
    finally:
        b.ctl("stop_app")
        b.ctl("start_app")
    wait_for(lambda: check(NODE, a).state == OK, 30, "the end of the partition")


def test_rights_that_are_missing(pair, check, queue, monkeypatch):
    broker = pair[0]
    of = f"127.0.0.1:{broker.api}"
    queue("x", "nova")
    queue("orders")
    broker.settled("orders", messages=0)
    try:
        broker.forbid("nagios", "nova")
        hidden = check(QUEUES, broker)
        assert first(hidden) == (
            f"RABBITMQ_QUEUES UNKNOWN - {of}: no permission on vhost nova (GET /api/queues/nova): needs "
            "`rabbitmqctl set_permissions -p nova nagios '^$' '^$' '^$'`"
        )
        broker.forbid("nagios", "/")
        assert broker.call("GET", "/api/queues?page=1&page_size=500", user=("nagios", "secret"))["items"] == [], (
            "what peers read"
        )
        both = check(QUEUES, broker)
        assert (both.state, both.text.count("no permission on vhost")) == (
            UNKNOWN,
            3,
        )  # on line 1 cut, then each on a line
        assert check(NODE, broker).state == OK, "nodes need no permission"
        broker.user("nagios", "secret", "")
        assert first(check(NODE, broker)) == (
            f"RABBITMQ_NODE UNKNOWN - {of}: user nagios lacks the tag monitoring (GET /api/whoami): needs "
            "`rabbitmqctl set_user_tags nagios monitoring`"
        )
        broker.user("nagios", "secret", "management")
        assert first(check(NODE, broker)) == (
            f"RABBITMQ_NODE UNKNOWN - {of}: user nagios lacks the tag monitoring (GET /api/nodes): needs "
            "`rabbitmqctl set_user_tags nagios monitoring`"
        )
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "wrong-one")
        wrong = check(NODE, broker, "-vvv")
        assert first(wrong) == (
            f"RABBITMQ_NODE UNKNOWN - {of}: the log-in of user nagios was refused (GET /api/whoami): needs the right --user, and its "
            "password in an --extra-opts file or NEPHOSCOPE_PASSWORD"
        )
        assert "wrong-one" not in wrong.text
    finally:
        broker.user("nagios", "secret", "monitoring", {"/": EMPTY, "nova": EMPTY})


def shape(value):
    """What of an answer must agree: keys and kinds, not values; of a list its first member."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def test_the_simulated_broker_answers_as_the_real_one(pair, check, queue):
    """Every question that the checks put is put to both; releases that can't be had differ from this one in what its docstring says."""
    real = pair[0]
    queue("orders")
    real.publish("orders", count=3)
    wait_for(lambda: "idle_since" in real.settled("orders", messages=3), 20, "idleness")
    entry = simulated.queue(
        "orders", messages=3, consumers=0, idle_since="2026-11-21T18:09:08.711+00:00", message_stats={"publish": 3}
    )
    of_release = {"version": "3.10.8", "cluster_links": [{"name": B}]}
    nodes = [simulated.node(A, **of_release), simulated.node(B, **of_release)]
    with simulated.serving(simulated.Rabbit("3.10.8", nodes=nodes, queues=[entry])) as other:
        other.vhosts, other.overview = ["/", "nova"], {"listeners": []}
        check(NODE, other)
        check(QUEUES, other)
        asked = [*dict.fromkeys(other.requests), "/api/queues/none?page=1&page_size=1", "/api/queues?page=9&page_size=500",
                 "/api/health/checks/nonesuch", "/api/queues?page=1&page_size=500&name=%28&use_regex=true"]  # fmt: skip
        assert len(asked) == 16
        for path in asked:
            answers = []
            for base in (f"http://127.0.0.1:{real.api}", f"http://127.0.0.1:{other.port}"):
                answers.append(answer(base + path, "nagios", "secret"))
            (status, body), (simulated_status, simulated_body) = answers
            if path.startswith("/api/overview?columns=node"):
                for one in (body, simulated_body):  # what else is counted there is no question of ours
                    one.pop("listeners", None)
                    one["churn_rates"] = {"connection_created": one["churn_rates"]["connection_created"]}
                    one["message_stats"] = {
                        name: one["message_stats"][name] for name in ("return_unroutable", "drop_unroutable")
                    }
            assert (simulated_status, shape(simulated_body)) == (status, shape(body)), path
        for user, password in (("nagios", "wrong"), ("nobody", "secret")):
            both = [answer(f"http://127.0.0.1:{port}/api/whoami", user, password) for port in (real.api, other.port)]
            assert both[0] == both[1]


def answer(url, user, password):
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {secret}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as got:
            return got.status, json.load(got)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_broker_s_own_client_is_content_with_the_simulated_one():
    (client,) = need(
        "/usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/plugins/rabbitmq_management-3.10.8/priv/www/cli/rabbitmqadmin"
    )
    with simulated.serving(simulated.Rabbit("3.10.8", queues=[simulated.queue("orders", messages=3)])) as rabbit:
        base = [
            "/usr/bin/python3",
            client,
            "-H",
            "127.0.0.1",
            "-P",
            str(rabbit.port),
            "-u",
            "nagios",
            "-p",
            "secret",
            "-f",
            "tsv",
        ]
        for words, said in (
            (("list", "queues", "name", "messages"), "orders\t3"),
            (("list", "nodes", "name", "running"), "rabbit@a\tTrue"),
            (("show", "overview"), "3.10.8"),
        ):
            told = subprocess.run([*base, *words], capture_output=True, text=True, timeout=20)
            assert (told.returncode, said in told.stdout) == (0, True), told.stdout + told.stderr


class Page(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>It works!</html>")


def test_other_ports(pair, check, folder):
    question = "is this the port of RabbitMQ's management API (15672, with --tls 15671)?"
    amqp = check(NODE, pair[0], "-p", str(pair[0].port))
    assert (amqp.state, first(amqp)) == (
        UNKNOWN,
        f"RABBITMQ_NODE UNKNOWN - 127.0.0.1:{pair[0].port}: this port speaks AMQP, not HTTP (GET /api/whoami): {question}",
    )
    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        other = check(NODE, pair[0], "-p", str(server.server_port))
        assert first(other) == (
            f"RABBITMQ_NODE UNKNOWN - 127.0.0.1:{server.server_port}: not JSON: b'<html>It works!</html>' (GET /api/whoami): {question}"
        )
    finally:
        server.shutdown()
        server.server_close()


def test_tls_and_a_certificate_that_expires(secure, check):
    of = f"127.0.0.1:{secure.api}"
    unknown = check(NODE, secure, "--tls")
    assert first(unknown) == (
        f"RABBITMQ_NODE UNKNOWN - {of}: certificate: self-signed certificate (GET /api/whoami): needs its authority as --ca-file, or the "
        "certificate's --fingerprint"
    )
    outcome = check(NODE, secure, "--ca-file", str(secure.folder / "cert.pem"))
    # 3.10 looks at the listeners of AMQP, not at that of the API itself.
    assert (
        first(outcome)
        == f"RABBITMQ_NODE CRITICAL - certificate expires within 14 days: amqp/ssl port {secure.tls_port}"
    )
    plain = check(NODE, secure)
    assert (
        plain.reason
        == f"{of}: no HTTP: BadStatusLine (GET /api/whoami): is this the port of RabbitMQ's management API (15672, with --tls 15671)?"
    )
    assert plain.state == UNKNOWN


def test_the_management_plug_in_is_off(secure, check):
    secure.switch_off()
    outcome = check(NODE, secure, "--ca-file", str(secure.folder / "cert.pem"))
    assert first(outcome) == (
        f"RABBITMQ_NODE CRITICAL - 127.0.0.1:{secure.api}: Connection refused (GET /api/whoami): is the broker down, or its management "
        "plug-in off? `rabbitmq-plugins enable rabbitmq_management`"
    )
