# SPDX-License-Identifier: Apache-2.0
"""check_rabbitmq_node: its judge by equality, each way to fail by its first line, over a simulated API of several releases.

Real brokers are in tests/lab/test_rabbitmq.py.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time

import pytest
from nephoscope.base import COLLECTING, UNREACHABLE, Clock, Failed
from nephoscope.checks.messaging.check_rabbitmq_node import CHECK, STATES, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.rabbitmq import Cluster, Node, Standing, View

from tests.simulators.rabbitmq import Rabbit, node, serving

RELEASES = ("3.8.34", "3.10.8", "3.13.7", "4.0.9", "4.1.8", "4.2.9", "4.3.5")
A = Node("rabbit@a", True, 400e6, 1600e6, 50e9, 50e6, 10.0, 1.0, 2.0, 0.5, 86400.0, False, (), (), (), "3.13.7")


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")

    def run(rabbit, *argv, clock=None, port=None):
        base = ["-H", "127.0.0.1", "-p", str(port or rabbit.port), "--user", "nagios", "--state-dir", str(tmp_path)]
        return CHECK.run([*base, *argv], clock=clock)

    return run


def cluster(*nodes, **given):
    found = Cluster("mq.example:15672")
    found.version, found.asked, found.answer, found.backlog, found.connections = (
        "3.13.7",
        nodes[0].name,
        0.01,
        0.0,
        10.0,
    )
    found.opened = found.unroutable = COLLECTING
    found.nodes = list(nodes)
    for name, value in given.items():
        setattr(found, name, value)
    return found


def judged(facts, *argv):
    return list(judge(facts, CHECK.parse(*argv)))


def findings(facts, *argv):
    return [thing for thing in judged(facts, *argv) if isinstance(thing, Finding) and thing.state != OK]


def test_everything_is_measured():
    assert judged(cluster(A)) == [
        Finding(OK, "rabbit@a", "runs"),
        Metric("answer", 0.01),
        Metric("nodes", 1),
        Metric("partitions", 0),
        Metric("stats_backlog", 0.0),
        Metric("connections", 10.0),
        Metric("connections_lost", COLLECTING),
        Metric("opened_rate", COLLECTING),
        Metric("unroutable_rate", COLLECTING),
        Metric("mem", 400e6, "rabbit@a", 0, 1600e6),
        Metric("mem_share", 25.0, "rabbit@a"),
        Metric("mem_growth", None, "rabbit@a"),
        Metric("disk_free", 50e9, "rabbit@a"),
        Metric("disk_margin", 1000.0, "rabbit@a"),
        Metric("fds", 10.0, "rabbit@a", 0, 100),
        Metric("sockets", 1.0, "rabbit@a", 0, 100),
        Metric("processes", 2.0, "rabbit@a", 0, 100),
        Metric("run_queue", None, "rabbit@a"),
        Metric("uptime", 86400.0, "rabbit@a"),
        Finding(OK, "", "RabbitMQ 3.13.7, 1 of 1 nodes run"),
    ]


def test_a_release_that_counts_no_sockets_has_none_rather_than_0():
    names = {thing.name for thing in judged(cluster(A._replace(sockets=None))) if isinstance(thing, Metric)}
    assert "sockets" not in names
    assert "fds" in names


DOWN = Node("rabbit@b", False, told=False)


@pytest.mark.parametrize(
    ("facts", "argv", "expected"),
    [
        ((A, DOWN), (), [(CRITICAL, "rabbit@b", "is not running")]),
        ((A, DOWN), ("--expect", "2"), [
            (CRITICAL, "", "1 of 2 nodes run"), (CRITICAL, "rabbit@b", "is not running")]),
        ((A, A._replace(name="rabbit@b")), ("--expect", "3", "--mode", "nodes"), [(WARNING, "", "2 of 3 nodes run")]),
        ((A,), ("--expect", "3"), [(CRITICAL, "", "1 of 3 nodes run")]),
        ((A,), ("--expect", "rabbit@a", "--expect", "a", "--expect", "rabbit@c"), [
            (CRITICAL, "rabbit@c", "is no node of this cluster")]),
        ((A._replace(draining=True),), (), [(WARNING, "rabbit@a", "is in maintenance mode")]),
        ((A._replace(told=False),), (), [(UNKNOWN, "rabbit@a", "runs, but tells no statistics (yet)")]),
        ((A, A._replace(name="rabbit@b", version="4.0.9")), ("--mode", "nodes"), [
            (WARNING, "", "releases are mixed: rabbit@a 3.13.7, rabbit@b 4.0.9")]),
        ((A._replace(alarms=("memory",)),), (), [
            (CRITICAL, "rabbit@a", "memory alarm: publishers are blocked in the whole cluster")]),
        ((A._replace(alarms=("disk",)),), ("--mode", "memory"), []),
        ((A._replace(links=()), A._replace(name="rabbit@b", links=("rabbit@a", "rabbitmqcli-7-rabbit@b"))), (), [
            (WARNING, "rabbit@a", "has no connection to rabbit@b")]),
        ((A._replace(partitions=("rabbit@b",)), A._replace(name="rabbit@b", links=None)), ("--mode", "partitions"), [
            (CRITICAL, "rabbit@b", "is partitioned from rabbit@a"), (WARNING, "rabbit@a", "has no connection to rabbit@b")]),
    ],
)  # fmt: skip
def test_what_has_a_state_of_its_own(facts, argv, expected):
    assert findings(cluster(*facts), *argv) == [Finding(*row) for row in expected]


def test_an_alarm_that_the_statistics_do_not_know_yet_is_told_once():
    both = cluster(A._replace(alarms=("memory",)), alarms=[("rabbit@a", "memory"), ("rabbit@b", "disk")])
    assert [(thing.of, thing.text[:12]) for thing in findings(both, "--mode", "alarms")] == [
        ("rabbit@a", "memory alarm"),
        ("rabbit@b", "disk alarm: "),
    ]


def test_an_alarm_that_is_told_in_two_words_is_one(check):
    """The health check calls "disk space" what the node's own field calls disk (seen on 3.10.8)."""
    rabbit = Rabbit(nodes=[node("rabbit@a", disk_free_alarm=True)])
    rabbit.health = {"alarms": {"reason": "x", "alarms": [{"node": "rabbit@a", "resource": "disk space"}]}}
    with serving(rabbit):
        assert check(rabbit).reason == "rabbit@a disk alarm: publishers are blocked in the whole cluster"


def test_a_node_that_sees_others_than_the_one_that_was_asked():
    b = A._replace(name="rabbit@b", links=("rabbit@a",))
    seen = cluster(
        A._replace(links=("rabbit@b",)), b, views={"rabbit@b": View(frozenset({"rabbit@b"}), frozenset({"rabbit@a"}))}
    )
    assert findings(seen, "--mode", "partitions") == [
        Finding(CRITICAL, "rabbit@a", "is partitioned from rabbit@b"),
        Finding(CRITICAL, "rabbit@b", "does not see rabbit@a"),
    ]
    assert Metric("partitions", 1) in judged(seen)


def test_a_node_that_is_cut_off_is_not_called_down():
    """While the net is cut neither side lists a partition: each only has the other as not running."""
    seen = cluster(A, DOWN, views={"rabbit@b": View(frozenset({"rabbit@b"}), frozenset())})
    text = "runs, but rabbit@a does not see it"
    for argv in ((), ("--mode", "partitions"), ("--mode", "nodes")):
        assert findings(seen, *argv) == [Finding(CRITICAL, "rabbit@b", text)]
    assert Metric("partitions", 1) in judged(seen)
    given = cluster(A, DOWN, views={"b:15672": View(frozenset({"rabbit@b"}), frozenset())})
    assert findings(given) == [
        Finding(CRITICAL, "rabbit@b", text),
        Finding(CRITICAL, "b:15672", "does not see rabbit@a"),
    ]


@pytest.mark.parametrize("mode", ["nodes", "partitions", "memory", "disk", "limits", "traffic"])
def test_a_node_that_tells_nothing_is_unknown_in_each_mode_that_looks_at_what_it_tells(mode):
    assert findings(
        cluster(A._replace(links=None), A._replace(name="rabbit@b", links=None, told=False)), "--mode", mode
    ) == [Finding(UNKNOWN, "rabbit@b", "runs, but tells no statistics (yet)")]


def test_a_node_that_does_not_run_is_no_part_of_a_whole_cluster():
    assert findings(cluster(A, DOWN), "--mode", "partitions") == [Finding(CRITICAL, "rabbit@b", "is not running")]


def test_a_view_that_could_not_be_had_counts_only_where_it_was_asked_for():
    refused = Failed(UNREACHABLE, "b:15672", "GET /api/nodes", "Connection refused")
    told = judged(cluster(A, views={"rabbit@b": refused}))
    assert Finding(OK, "rabbit@b", "was not asked for its own view: Connection refused") in told
    asked = judged(cluster(A, views={"b": refused}, wanted_views=True, failures=[refused]), "--views", "b")
    assert asked[0] == refused
    assert not [thing for thing in asked if isinstance(thing, Finding) and "own view" in thing.text]


def test_every_word_has_a_state():
    health = [
        Standing(("health",), "certificate", kind, "")
        for kind in ("expires", "expires soon", "down", "at risk", "runs")
    ]
    assert [thing.state for thing in judged(cluster(A, health=health)) if isinstance(thing, Finding) and thing.of == "certificate"] == [
        WARNING, CRITICAL, CRITICAL, WARNING, OK]  # fmt: skip
    assert set(STATES.values()) == {OK, WARNING, CRITICAL, UNKNOWN}


@pytest.mark.parametrize("version", RELEASES)
def test_each_release_is_read_whole(check, version):
    with serving(Rabbit(version)) as rabbit:
        outcome = check(rabbit, "-v")
        assert (outcome.state, rabbit.version in outcome.line) == (OK, True), outcome.text
        lacking = re.search(r"not in this release: ([^|]*), rates", outcome.line)
        assert lacking
        health = "node-is-mirror-sync-critical" if version > "4" else "ready-to-serve-clients"
        assert health in lacking[1]
        assert ("sockets" in outcome.line) == (version < "4")
        # What a release lacks is not asked, and nothing that writes or that a release made a no-op ever is.
        assert not [path for path in rabbit.requests if "aliveness" in path or "healthchecks" in path]
        assert len(rabbit.requests) == len(set(rabbit.requests)) <= 12
        assert rabbit.sent < 10_000


@pytest.mark.parametrize(
    ("version", "change", "line"),
    [
        ("3.8.34", {"nodes": [node("rabbit@a", "3.8.34", mem_used=1_500_000_000)]},
         "CRITICAL - rabbit@a mem share 93.8 % is above 90 %"),
        ("3.13.7", {"nodes": [node("rabbit@a", mem_used=1_300_000_000)]}, "WARNING - rabbit@a mem share 81.2 % is above 80 %"),
        ("3.13.7", {"nodes": [node("rabbit@a", disk_free=1_000_000_000)]},
         "WARNING - rabbit@a disk free 954 MiB is below 2 GiB"),
        ("3.13.7", {"nodes": [node("rabbit@a", disk_free=5_000_000_000, disk_free_limit=4_000_000_000)]},
         "WARNING - rabbit@a disk margin 1.25 is below 2"),
        ("3.13.7", {"nodes": [node("rabbit@a", disk_free="disk_free_monitoring_disabled", disk_free_limit="disk_free_monitoring_disabled")]},
         "UNKNOWN - rabbit@a disk free was not measured, rabbit@a disk margin was not measured"),
        ("3.13.7", {"nodes": [node("rabbit@a", fd_used=60000)]}, "CRITICAL - rabbit@a fds 91.6 % is above 90 %"),
        ("3.13.7", {"nodes": [node("rabbit@a", sockets_used=50000)]}, "WARNING - rabbit@a sockets 84.9 % is above 80 %"),
        ("4.2.9", {"nodes": [node("rabbit@a", "4.2.9", proc_used=1_000_000)]},
         "CRITICAL - rabbit@a processes 95.4 % is above 90 %"),
        ("4.2.9", {"nodes": [node("rabbit@a", "4.2.9", uptime=120_000)]}, "WARNING - rabbit@a uptime 2 min is below 10 min"),
        ("4.2.9", {"nodes": [node("rabbit@a", "4.2.9", being_drained=True)]}, "WARNING - rabbit@a is in maintenance mode"),
        ("3.13.7", {"nodes": [node("rabbit@a", mem_alarm=True)]},
         "CRITICAL - rabbit@a memory alarm: publishers are blocked in the whole cluster"),
        # The statistics of a node that was just joined have no key mem_alarm: missing is not false.
        ("3.13.7", {"nodes": [node("rabbit@a", mem_alarm=None, partitions=None)]},
         "UNKNOWN - rabbit@a runs, but tells no statistics (yet)"),
        # One that is down has name, type and running only: peers end here with a KeyError, which is WARNING.
        ("3.13.7", {"nodes": [node("rabbit@a"), {"name": "rabbit@b", "type": "disc", "running": False}]},
         "CRITICAL - rabbit@b is not running"),
        ("3.13.7", {"overview": {"statistics_db_event_queue": 20000}}, "CRITICAL - stats backlog 20000 is above 10000"),
        ("4.1.8", {"health": {"alarms": {"reason": "x", "alarms": [{"node": "rabbit@a", "resource": "disk space"}]}}},
         "CRITICAL - rabbit@a disk alarm: publishers are blocked in the whole cluster"),
        ("4.1.8", {"health": {"alarms": {"reason": "x", "alarms": [{"node": "rabbit@a", "resource": "file descriptors"}]}}},
         "CRITICAL - rabbit@a descriptor alarm: it takes no new connections"),
        ("3.13.7", {"health": {"node-is-quorum-critical": {"reason": "There are quorum queues that would lose their quorum",
                                                           "queues": [{"readable_name": f"queue 'q{n}' in vhost '/'"} for n in range(5)]}}},
         "WARNING - node-is-quorum-critical There are quorum queues that would lose their quorum: queue 'q0' in vhost '/', "
         "queue 'q1' in vhost '/', queue 'q2' in vhost '/' and 2 more"),
        ("3.13.7", {"health": {"virtual-hosts": {"reason": "Some virtual hosts are down", "virtual-hosts": ["nova"]}}},
         "CRITICAL - virtual-hosts Some virtual hosts are down: nova"),
        ("4.2.9", {"health": {"reached-target-cluster-size": {"reason": "target cluster size not reached: 1 of 3 nodes are online"}}},
         "WARNING - reached-target-cluster-size target cluster size not reached: 1 of 3 nodes are online"),
        ("4.2.9", {"expiring": {10: [{"protocol": "amqp/ssl", "port": 5671}]}},
         "CRITICAL - certificate expires within 14 days: amqp/ssl port 5671"),
        ("4.2.9", {"expiring": {20: [{"protocol": "https", "port": 15671}]}},
         "WARNING - certificate expires within 30 days: https port 15671"),
    ],
)  # fmt: skip
def test_trouble(check, version, change, line):
    rabbit = Rabbit(version)
    for name, value in change.items():
        setattr(rabbit, name, value)
    with serving(rabbit):
        outcome = check(rabbit)
    assert outcome.line.partition(" | ")[0] == f"RABBITMQ_NODE {line}" + (
        ", rates collecting" if " OK " in line else ""
    )


def test_two_runs_make_rates_and_a_restart_makes_none(check):
    rabbit = Rabbit()
    with serving(rabbit):
        assert check(rabbit).line.partition(" | ")[0].endswith(", rates collecting")
        rabbit.overview = {
            "churn_rates": {"connection_created": 100 + 20 * 300},
            "message_stats": {"return_unroutable": 30, "drop_unroutable": 60},
            "object_totals": {"connections": 5, "queues": 0},
        }
        rabbit.nodes = [node("rabbit@a", run_queue=60, uptime=86_700_000)]
        outcome = check(rabbit, clock=Clock(300))
        assert (outcome.state, outcome.reason) == (
            WARNING,
            "opened 20/s is above 10/s, unroutable 0.3/s is above 0.1/s",
        )
        # Both runs had waiting processes, the first only one for four CPUs.
        assert "rabbit_a-42e267_run_queue=0.25;5;20" in outcome.perfdata
        rabbit.nodes = [node("rabbit@a", run_queue=60, uptime=5_000_000)]
        restarted = check(rabbit, clock=Clock(600))
        assert not [item for item in restarted.perfdata if item.startswith(("opened", "unroutable"))]
        assert restarted.reason == "rabbit@a run queue 15 is above 5"


def test_a_node_that_comes_back_is_no_storm_of_connections(check):
    """Its counters, which are old, are in the sum again: only nodes that were there both times make a rate."""
    rabbit = Rabbit(nodes=[node("rabbit@a"), node("rabbit@b")])
    with serving(rabbit):
        for minute, nodes, created in (
            (0, rabbit.nodes, 1_000_000),
            (1, rabbit.nodes[:1], 500_000),
            (2, rabbit.nodes, 1_000_010),
        ):
            rabbit.nodes, rabbit.overview = nodes, {"churn_rates": {"connection_created": created}}
            outcome = check(rabbit, "--mode", "traffic", clock=Clock(60 * minute))
            assert (outcome.state, [item for item in outcome.perfdata if "opened" in item]) == (OK, []), outcome.line
        rabbit.overview = {"churn_rates": {"connection_created": 1_000_070}}
        (rate,) = [item for item in check(rabbit, "--mode", "traffic", clock=Clock(180)).perfdata if "opened" in item]
        assert float(rate.partition("=")[2].partition(";")[0]) == pytest.approx(1.0, abs=0.01)


def test_a_run_queue_that_is_not_told_is_not_empty(check):
    rabbit = Rabbit(nodes=[node("rabbit@a", run_queue=None)])
    with serving(rabbit):
        outcome = check(rabbit)
    assert (outcome.state, outcome.reason) == (UNKNOWN, "rabbit@a run queue was not measured")


def test_connections_that_vanish(check):
    rabbit = Rabbit()
    with serving(rabbit):
        rabbit.overview = {"object_totals": {"connections": 400, "queues": 0}}
        assert check(rabbit).state == OK
        rabbit.overview = {"object_totals": {"connections": 100, "queues": 0}}
        outcome = check(rabbit, clock=Clock(60))
        assert (outcome.state, outcome.reason) == (WARNING, "connections lost 75 % is above 30 %")
        rabbit.overview = {"object_totals": {"connections": 5, "queues": 0}}
        check(rabbit, clock=Clock(120))
        rabbit.overview = {"object_totals": {"connections": 1, "queues": 0}}
        assert check(rabbit, clock=Clock(180)).state == OK, "a share of five says nothing"


def test_memory_that_doubles_within_an_hour(check):
    rabbit = Rabbit()
    with serving(rabbit):
        for minute, used in ((0, 400), (20, 500), (40, 700)):
            rabbit.nodes = [node("rabbit@a", mem_used=used * 1_000_000, uptime=86_400_000 + minute * 60_000)]
            outcome = check(rabbit, clock=Clock(60 * minute))
            growth = [item for item in outcome.perfdata if "mem_growth" in item]
            assert bool(growth) == (minute >= 30), outcome.line
        assert re.fullmatch(r"rabbit@a mem growth 11[23] % is above 100 %", outcome.reason), outcome.reason
        rabbit.nodes = [node("rabbit@a", mem_used=100_000_000, uptime=60_000)]
        assert "mem growth collecting" in check(rabbit, "-w", "uptime=1:", clock=Clock(3000)).text


def test_a_small_broker_may_double(check):
    """From 50 to 150 MB of a mark of 1.6 GB is a start, no leak: growth is measured against a fifth of the mark at least."""
    rabbit = Rabbit()
    with serving(rabbit):
        for minute, used in ((0, 50), (60, 150)):
            rabbit.nodes = [node("rabbit@a", mem_used=used * 1_000_000)]
            outcome = check(rabbit, clock=Clock(60 * minute))
    (growth,) = [item for item in outcome.perfdata if "mem_growth" in item]
    assert (outcome.state, float(growth.partition("=")[2].partition("%")[0])) == (OK, pytest.approx(31.25, abs=0.1))


def test_each_other_node_is_asked_for_its_own_view(check):
    names = ("rabbit@127.0.0.1", "rabbit@127.0.0.2")
    two = [node(names[0], cluster_links=[{"name": names[1]}]), node(names[1], cluster_links=[{"name": names[0]}])]
    other = Rabbit(nodes=[node(names[1], partitions=[names[0]]), {"name": names[0], "type": "disc", "running": False}])
    with serving(other), serving(Rabbit(nodes=two)) as rabbit:
        # The listener tells the port; the name of the node tells the host, which 127.0.0.2 is not here.
        rabbit.overview = {"listeners": [{"node": names[1], "protocol": "http", "port": other.port}]}
        alone = check(rabbit, "-v")
        assert (alone.state, "was not asked for its own view" in alone.text) == (OK, True)
        given = check(rabbit, "--views", f"127.0.0.1:{other.port}")
        assert (given.state, given.reason) == (
            CRITICAL,
            f"127.0.0.1:{other.port} does not see {names[0]}, {names[0]} is partitioned from 127.0.0.1:{other.port}",
        )
        asked = [path for path in other.requests if path.startswith("/api/nodes")]
        assert asked == ["/api/nodes?columns=name,running,partitions"]
        assert check(rabbit, "--views", "none").state == OK
        assert len(other.requests) == 1
    with serving(Rabbit(nodes=two)) as rabbit:
        gone = check(rabbit, "--views", f"127.0.0.1:{other.port}")
        assert (gone.state, gone.reason) == (
            CRITICAL,
            f"127.0.0.1:{other.port}: Connection refused (GET /api/nodes)",
        )
        junk = check(rabbit, "--views", "a:b:c")
        assert (junk.state, junk.reason) == (UNKNOWN, "a:b:c: is no HOST or HOST:PORT")


def test_a_node_that_is_said_not_to_run_is_asked_where_the_others_listen(check):
    """Its listeners are forgotten with it."""
    down = {"name": "rabbit@127.0.0.1", "type": "disc", "running": False}
    other = Rabbit(nodes=[node("rabbit@127.0.0.1"), {"name": "rabbit@a", "type": "disc", "running": False}])
    with serving(other), serving(Rabbit(nodes=[node("rabbit@a"), down])) as rabbit:
        rabbit.overview = {"listeners": [{"node": "rabbit@a", "protocol": "http", "port": other.port}]}
        outcome = check(rabbit)
        assert (outcome.state, outcome.reason) == (CRITICAL, "rabbit@127.0.0.1 runs, but rabbit@a does not see it")
        assert check(rabbit, "--views", "none").reason == "rabbit@127.0.0.1 is not running"
        # Behind a port that is forwarded stands a node of another name, which proves nothing of this one.
        other.nodes = [node("rabbit@elsewhere")]
        elsewhere = check(rabbit, "-v")
        assert elsewhere.reason == "rabbit@127.0.0.1 is not running"
        assert "rabbit@127.0.0.1 was not asked for its own view: another node answered" in elsewhere.text


def test_nodes_that_are_silent_from_here_cost_two_seconds_together(check):
    rabbit = Rabbit(nodes=[node("rabbit@a")])
    with serving(rabbit), serving(Rabbit()) as silent:
        silent.faults = {"": "hang"}
        rabbit.overview = {"listeners": [{"node": "rabbit@127.0.0.1", "protocol": "http", "port": silent.port}]}
        started = time.monotonic()
        outcome = check(rabbit, "-v")
        assert time.monotonic() - started < 3
        assert outcome.state == OK
        assert re.search(r"rabbit@127.0.0.1 was not asked for its own view: no answer in [12]\.\d s", outcome.text), (
            outcome.text
        )
        given = check(rabbit, "--views", f"127.0.0.1:{silent.port}", "-t", "3")
        assert (given.state, "no answer in 2.0 s (GET /api/nodes)" in given.reason) == (CRITICAL, True), given.line


def test_the_password_is_in_no_address(check):
    """A peer puts it into the URL, where every proxy and process list shows it."""
    with serving(Rabbit()) as rabbit:
        outcome = check(rabbit, "-vvv")
    assert not [path for path in rabbit.requests if "secret" in path]
    assert "secret" not in outcome.text


FIRST = [
    ({"": 500}, (), CRITICAL, "{of}: HTTP 500 (GET /api/whoami)"),
    ({"": 503}, (), CRITICAL,
     "{of}: HTTP 503 (GET /api/whoami): is the broker down, or its management plug-in off? `rabbitmq-plugins enable rabbitmq_management`"),
    ({"": 404}, (), UNKNOWN,
     "{of}: HTTP 404 (GET /api/whoami): is this the port of RabbitMQ's management API (15672, with --tls 15671)?"),
    ({"": "html"}, (), UNKNOWN,
     "{of}: not JSON: b'<!DOCTYPE html><html><title>It works!</t' (GET /api/whoami): "
     "is this the port of RabbitMQ's management API (15672, with --tls 15671)?"),
    ({"": "garbage"}, (), UNKNOWN,
     "{of}: no HTTP: BadStatusLine (GET /api/whoami): is this the port of RabbitMQ's management API (15672, with --tls 15671)?"),
    ({"": "half"}, (), CRITICAL, "{of}: the connection was cut before the answer was whole (GET /api/whoami)"),
    ({"nodes": 500}, (), CRITICAL, "{of}: HTTP 500 (GET /api/nodes)"),
    ({"nodes": "html"}, (), UNKNOWN, "{of}: not JSON: b'<!DOCTYPE html><html><title>It works!</t' (GET /api/nodes)"),
    ({"health/checks/alarms": 503}, (), CRITICAL, "{of}: HTTP 503 (GET /api/health/checks/alarms)"),
    ({"health/checks/alarms": 403}, (), UNKNOWN,
     "{of}: HTTP 403 (GET /api/health/checks/alarms): needs `rabbitmqctl set_user_tags nagios monitoring`, "
     "for each virtual host `rabbitmqctl set_permissions -p VHOST nagios '^$' '^$' '^$'`"),
    ({"health/checks/virtual-hosts": 200}, (), UNKNOWN, "{of}: not JSON: b'' (GET /api/health/checks/virtual-hosts)"),
]  # fmt: skip


@pytest.mark.parametrize(("faults", "argv", "state", "reason"), FIRST)
def test_what_can_not_be_asked(check, faults, argv, state, reason):
    with serving(Rabbit()) as rabbit:
        rabbit.faults = faults
        outcome = check(rabbit, *argv)
        assert (outcome.state, outcome.reason) == (state, reason.format(of=f"127.0.0.1:{rabbit.port}")[:240])


def test_a_health_check_that_a_release_lacks_is_never_critical(check):
    """404 means that it is not there; peers take it for a failure, or for an OK."""
    with serving(Rabbit("3.13.7")) as rabbit:
        rabbit.faults = {"health/checks/node-is-mirror-sync-critical": 404}
        outcome = check(rabbit, "-v")
    assert (outcome.state, "not in this release: node-is-mirror-sync-critical" in outcome.line) == (OK, True)


def test_health_checks_that_are_all_missing_are_no_health(check):
    rabbit = Rabbit("3.7.28")
    rabbit.faults = {f"health/checks/certificate-expiration/{days}/days": 404 for days in (14, 30)}
    with serving(rabbit):
        assert check(rabbit).state == OK
        outcome = check(rabbit, "--mode", "health")
        assert (outcome.state, outcome.reason) == (
            UNKNOWN,
            f"127.0.0.1:{rabbit.port}: RabbitMQ 3.7.28 has no health checks (GET /api/health/checks)",
        )


def test_a_release_of_unknown_words_is_asked_everything(check):
    rabbit = Rabbit()
    rabbit.health = {"virtual-hosts": {"reason": "Some virtual hosts are down", "virtual-hosts": ["nova"]}}
    rabbit.overview = {"rabbitmq_version": "next"}
    with serving(rabbit):
        assert check(rabbit).reason == "virtual-hosts Some virtual hosts are down: nova"


@pytest.mark.parametrize("version", ["3.8.34", "3.13.7", "4.2.9"])
def test_a_log_in_that_is_refused(check, monkeypatch, version):
    with serving(Rabbit(version)) as rabbit:
        of = f"127.0.0.1:{rabbit.port}"
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "wrong-one")
        outcome = check(rabbit)
        assert outcome.line == (
            f"RABBITMQ_NODE UNKNOWN - {of}: the log-in of user nagios was refused (GET /api/whoami): needs the right --user, "
            "and its password in an --extra-opts file or NEPHOSCOPE_PASSWORD"
        )
        assert "wrong-one" not in check(rabbit, "-vvv").text
        assert len([path for path in rabbit.requests if path == "/api/whoami"]) == 2, (
            "a wrong password is tried once a run"
        )


def test_a_user_without_the_tag(check):
    with serving(Rabbit()) as rabbit:
        of = f"127.0.0.1:{rabbit.port}"
        rabbit.users["nagios"] = ("secret", "", ("/",))
        text = "user nagios lacks the tag monitoring"
        assert check(rabbit).line == (
            f"RABBITMQ_NODE UNKNOWN - {of}: {text} (GET /api/whoami): needs `rabbitmqctl set_user_tags nagios monitoring`"
        )
        rabbit.users["nagios"] = ("secret", "management", ("/",))
        outcome = check(rabbit)
        assert (outcome.state, f"{of}: {text} (GET /api/" in outcome.line) == (UNKNOWN, True), outcome.line


def test_no_password_is_asked_for_before_anything_is_sent(check, monkeypatch):
    monkeypatch.delenv("NEPHOSCOPE_PASSWORD")
    with serving(Rabbit()) as rabbit:
        outcome = check(rabbit)
        assert outcome.line == (
            "RABBITMQ_NODE UNKNOWN - no password of user nagios was given (log in): needs an --extra-opts file or NEPHOSCOPE_PASSWORD"
        )
        assert rabbit.requests == []


def test_statistics_that_are_switched_off_are_no_zeros(check):
    """management_agent.disable_metrics_collector: a node has its name and whether it runs, the overview no counters."""
    bare = {"name": "rabbit@a", "type": "disc", "running": True}
    rabbit = Rabbit(nodes=[bare])
    rabbit.overview = {
        "disable_stats": True,
        "message_stats": None,
        "churn_rates": None,
        "statistics_db_event_queue": None,
    }
    with serving(rabbit):
        outcome = check(rabbit)
    assert outcome.state == UNKNOWN
    assert outcome.reason.startswith(
        "the management plug-in keeps no statistics here (management_agent.disable_metrics_collector) (GET /api/overview), "
        "rabbit@a runs, but tells no statistics (yet)"
    ), outcome.line
    assert [item.partition("=")[0] for item in outcome.perfdata] == ["answer", "nodes", "partitions", "connections"]


def test_alarms_need_no_statistics(check):
    rabbit = Rabbit(nodes=[{"name": "rabbit@a", "type": "disc", "running": True}])
    rabbit.overview = {"disable_stats": True}
    with serving(rabbit):
        assert check(rabbit, "--mode", "alarms", "--mode", "health").state == OK


def test_a_peer_that_is_frozen_is_told_with_the_stage(check):
    with serving(Rabbit()) as rabbit:
        rabbit.faults = {"nodes": "hang"}
        started = time.monotonic()
        outcome = check(rabbit, "-t", "2")
        assert time.monotonic() - started < 2.5
        assert re.sub(r"\d\.\d s", "N s", outcome.line) == (
            f"RABBITMQ_NODE CRITICAL - 127.0.0.1:{rabbit.port}: no answer in N s (GET /api/nodes): the log-in was answered: "
            "look for a node of the cluster that is frozen or cut off, the others wait for it"
        )


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_one_that_is_silent_or_drips_ends_with_the_deadline(check, fault):
    with serving(Rabbit()) as rabbit:
        rabbit.faults = {"": fault}
        started = time.monotonic()
        outcome = check(rabbit, "-t", "2")
        assert time.monotonic() - started < 2.5
        assert re.sub(r"\d\.\d s", "N s", outcome.line) == (
            f"RABBITMQ_NODE CRITICAL - 127.0.0.1:{rabbit.port}: no answer in N s (GET /api/whoami)"
        )


def test_a_health_check_that_hangs_costs_the_rest_and_not_what_was_learnt(check):
    with serving(Rabbit()) as rabbit:
        rabbit.faults = {"health/checks/virtual-hosts": "hang"}
        outcome = check(rabbit, "-t", "2")
        assert outcome.state == CRITICAL
        assert re.sub(r"\d\.\d s", "N s", outcome.reason) == (
            f"127.0.0.1:{rabbit.port}: no answer in N s (GET /api/health/checks/virtual-hosts)"
        )
        assert [item for item in outcome.perfdata if "mem_share" in item]


def test_nobody_listens(check):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    outcome = check(None, port=port)
    assert outcome.line == (
        f"RABBITMQ_NODE CRITICAL - 127.0.0.1:{port}: Connection refused (GET /api/whoami): is the broker down, or its management "
        "plug-in off? `rabbitmq-plugins enable rabbitmq_management`"
    )
    assert check(None, "--unreachable-state", "warning", port=port).state == WARNING


@pytest.mark.parametrize("greets", [True, False])
def test_the_port_of_amqp_is_told_from_a_broker_that_resets(check, greets):
    """A broker reads eight bytes, greets and closes: what it left unread makes a reset, which may come before the greeting."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for turn in range(2):
                with contextlib.suppress(OSError), server.accept()[0] as sock:
                    sock.recv(8)
                    if greets and turn:
                        sock.sendall(b"AMQP\x00\x00\x09\x01")
                    else:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        outcome = check(None, port=port)
    if greets:
        cure = "is this the port of RabbitMQ's management API (15672, with --tls 15671)?"
        expected = (UNKNOWN, f"127.0.0.1:{port}: this port speaks AMQP, not HTTP (GET /api/whoami): {cure}")
    else:
        expected = (CRITICAL, f"127.0.0.1:{port}: Connection reset by peer (GET /api/whoami)")
    assert (outcome.state, outcome.reason) == expected


def test_other_json_is_no_rabbitmq(check):
    class Other(Rabbit):
        def answer(self, path, query, user):
            return 200, {"name": "x"}

    with serving(Other()) as rabbit:
        outcome = check(rabbit)
        assert outcome.line == (
            f"RABBITMQ_NODE UNKNOWN - 127.0.0.1:{rabbit.port}: this is no RabbitMQ: it does not say who logged in (GET /api/whoami)"
        )


def test_no_node_at_all(check):
    with serving(Rabbit(nodes=[])) as rabbit:
        outcome = check(rabbit)
        assert (
            outcome.line
            == f"RABBITMQ_NODE UNKNOWN - 127.0.0.1:{rabbit.port}: it lists no node, not even itself (GET /api/nodes)"
        )


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("--expect", "a", "--mode", "memory"), "--expect is of mode nodes, which was not asked for"),
        (("--views", "a", "--mode", "memory"), "--views is of mode partitions, which was not asked for"),
        (("-w", "fds=80", "--mode", "memory"), "option -w: 'fds' is a limit of mode limits, which was not asked for"),
        (("-c", "sockets=95"), "the limit sockets met nothing: no such value here"),
        (("-w", "mem_share/rabbit@c=50"), "the limit mem_share/rabbit@c met nothing: no such value here"),
        (("--include", "rabbit@c"), "nothing matched --include/--exclude, which left out 8"),
    ],
)
def test_limits_and_filters_that_meet_nothing_are_unknown(check, argv, line):
    with serving(Rabbit("4.2.9")) as rabbit:
        outcome = check(rabbit, *argv)
        assert (outcome.state, line in outcome.reason) == (UNKNOWN, True), outcome.line


def test_user_password_and_hosts_of_a_service(tmp_path, monkeypatch):
    monkeypatch.delenv("NEPHOSCOPE_PASSWORD", raising=False)
    conf = tmp_path / "nova.conf"
    with serving(Rabbit()) as rabbit:
        rabbit.users["nova"] = ("p@ss/w:rd", "monitoring", ("/",))
        conf.write_text(
            "[DEFAULT]\ntransport_url = rabbit://nova:p%40ss%2Fw%3Ard@127.0.0.3:5672,nova:x@127.0.0.1:5672/nova\n"
        )
        argv = ["--from-service-file", str(conf), "-p", str(rabbit.port), "--state-dir", str(tmp_path)]
        outcome = CHECK.run(argv)
        assert outcome.state == OK, outcome.line  # 127.0.0.3 refuses: the second host speaks for the cluster
        assert "p@ss" not in CHECK.run([*argv, "-vvv"]).text
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "for-another-check")
        assert CHECK.run(argv).state == OK, "a service's user has the service's password"
        monkeypatch.delenv("NEPHOSCOPE_PASSWORD")
        given = CHECK.run([*argv, "--user", "nagios"])
        assert given.line == (
            "RABBITMQ_NODE UNKNOWN - no password of user nagios was given (log in): needs an --extra-opts file or NEPHOSCOPE_PASSWORD"
        )
    conf.write_text("[DEFAULT]\ndebug = true\n")
    absent = CHECK.run(argv)
    assert absent.line == f"RABBITMQ_NODE UNKNOWN - {conf}: no line of it sets `transport_url` (read {conf})"


def test_guest_needs_no_password(tmp_path, monkeypatch):
    monkeypatch.delenv("NEPHOSCOPE_PASSWORD", raising=False)
    with serving(Rabbit()) as rabbit:
        rabbit.users["guest"] = ("guest", "administrator", ("/",))
        assert CHECK.run(["-p", str(rabbit.port), "--state-dir", str(tmp_path)]).state == OK
