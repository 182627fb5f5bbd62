# SPDX-License-Identifier: Apache-2.0
"""check_rabbitmq_queues: what it calls each queue, what is told of it and when, over a simulated API; 100,000 queues stay bounded.

Real brokers are in tests/lab/test_rabbitmq.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tracemalloc

import pytest
from nephoscope.base import Clock
from nephoscope.checks.messaging.check_rabbitmq_queues import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import rabbitmq_queues
from nephoscope.probes.rabbitmq_queues import Queues, Top, topics

from tests.simulators.rabbitmq import Rabbit, fresh, queue, quorum, serving

HEX = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")

    def run(rabbit, *argv, at=0):
        base = ["-H", "127.0.0.1", "-p", str(rabbit.port), "--user", "nagios", "--state-dir", str(tmp_path)]
        return CHECK.run([*base, *argv], clock=Clock(at))

    return run


def one(name="q", **fields):
    return rabbitmq_queues.queue(queue(name, **fields), topics(rabbitmq_queues.SERVICES), NOW)


def folded(*entries, before=None, globs=(), expected=()):
    found = Queues("mq.example:15672", NOW, before)
    for entry in entries:
        found.take(rabbitmq_queues.queue(entry, topics(rabbitmq_queues.SERVICES), NOW), globs, expected)
    return found


def told(facts, *argv):
    """What the judge says that is not OK by itself, and every number of an object."""
    return [
        thing for thing in judge(facts, CHECK.parse(*argv))
        if (isinstance(thing, Metric) and thing.of) or (isinstance(thing, Finding) and thing.state != OK)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"reply_{HEX}", "transient"),
        (f"scheduler_fanout_{HEX}", "transient"),
        # oslo.messaging with use_queue_manager, and a fan-out that is a stream
        ("reply_ctl1:nova-conductor:2", "transient"),
        ("q-agent-notifier-port-update_fanout_cmp7:neutron-openvswitch-agent:1", "transient"),
        ("compute_fanout", "transient"),
        ("notifications.info", "notifications"),
        ("versioned_notifications.error", "notifications"),
        ("notifications_designate.info", "notifications"),
        ("conductor", "service"),
        ("compute.cmp7.example", "service"),
        ("cinder-volume.ctl1@ceph", "service"),
        ("q-plugin", "service"),
        ("reply_to_all", "other"),
        ("orders", "other"),
        ("notifications.archive", "other"),
    ],
)
def test_what_a_queue_is_called_for(name, kind):
    assert one(name).kind == kind


def test_a_queue_in_another_virtual_host_is_called_by_both():
    assert (one("x").name, one("x", vhost="nova").name) == ("x", "nova/x")


def test_what_is_missing_is_not_0():
    told_nothing = rabbitmq_queues.queue(fresh("q"), topics(["none"]), NOW)
    assert (told_nothing.messages, told_nothing.consumers, told_nothing.size) == (None, None, None)
    assert one(messages=0).size is None, "no message has no size"


def test_a_mailbox_of_mqtt_tells_nothing_and_is_no_riddle(check):
    """Its list entry has no consumers, for ever (rabbit_mqtt_qos0_queue.erl of 3.12 and later)."""
    box = {"name": "mqtt-subscription-1qos0", "vhost": "/", "type": "rabbit_mqtt_qos0_queue", "state": "running"}
    with serving(Rabbit(queues=[box, {**box, "name": "b", "type": "MQTT QoS 0", "messages": 0}, queue("q")])) as rabbit:
        assert [check(rabbit, at=at).state for at in (0, 120)] == [OK, OK]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2027-01-15 7:00:00", 3600.0),  # 3.8 writes the hour without a zero
        ("2027-01-15 07:00:00", 3600.0),
        ("2027-01-15T07:00:00.000+00:00", 3600.0),
        ("2027-01-15T08:00:00.000+01:00", 3600.0),
        ("2027-01-15T09:00:00.000+00:00", 0.0),  # its clock is ahead
        ("soon", 0.0),
    ],
)
def test_how_long_a_queue_was_idle(text, seconds):
    assert one(f"reply_{HEX}", consumers=0, idle_since=text).idle == seconds


def test_the_highest_are_kept_and_no_more():
    top = Top(3)
    for number in (5, 1, 9, 7, 9, 2):
        top.add(number, one(f"q{number}"))
    assert [value for value, _ in top] == [9, 9, 7]


def test_numbers_stand_in_their_place_when_there_is_nothing():
    numbers = [thing for thing in judge(folded(queue("q")), CHECK.parse()) if isinstance(thing, Metric)]
    assert numbers == [
        Metric("queues", 1),
        Metric("total", 0.0),
        Metric("unconsumed", 0),
        Metric("orphans", 0),
        *(Metric(name, 0.0) for name in ("messages", "notifications", "backlog", "unacked", "bytes")),
        *(Metric(name, 0.0) for name in ("unconsumed_age", "unconsumed_messages", "flow_age", "unacked_age")),
        *(Metric(name, 0.0) for name in ("growth_rate", "forecast")),
    ]


def test_a_service_without_a_consumer_and_one_with_a_backlog():
    found = told(folded(queue("conductor", messages=150), queue("compute.cmp7", consumers=0)))
    assert [thing for thing in found if thing.name in ("backlog", "consumers")] == [
        Metric("backlog", 150.0, "conductor"),
        Metric("backlog", 0.0, "compute.cmp7"),
        Metric("consumers", 0.0, "compute.cmp7"),
        Metric("consumers", 1.0, "conductor"),
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (queue("q", state="crashed"), (CRITICAL, "is crashed")),
        (queue("q", state="down", messages=None, consumers=None), (CRITICAL, "is down")),
        (queue("q", state="stopped"), (CRITICAL, "is stopped")),
        (queue("q", state="terminated"), (CRITICAL, "is terminated")),
        (queue("q", state="minority"), (CRITICAL, "is minority")),
        (queue("q", state="syncing"), (WARNING, "is syncing")),
        (queue("q", state="bewildered"), (UNKNOWN, "is in a state that is not understood: bewildered")),
        (queue("q", state="idle"), None),
        (queue("q", state="flow"), None),
        (quorum("q", ["a", "b", "c"], ["a", "b", "c"], "a"), None),
        (quorum("q", ["a", "b", "c"], ["a", "b"], "a"), (WARNING, "lacks a member: c offline")),
        (quorum("q", ["a", "b", "c"], ["a"], "a"), (CRITICAL, "has lost its majority: b, c offline")),
        (quorum("q", ["a", "b"], ["a"], "a"), (CRITICAL, "has lost its majority: b offline")),
        (quorum("q", ["a", "b", "c"], ["a", "b"], ""), (CRITICAL, "has no leader")),
        (quorum("q", ["a", "b", "c"], ["a", "b"], "c"), (CRITICAL, "has no leader")),
        (queue("q", slave_nodes=["b", "c"], synchronised_slave_nodes=["b"]), (WARNING, "has a mirror that is not in step: c")),
        (queue("q", slave_nodes=["b"], synchronised_slave_nodes=["b"]), None),
    ],
)  # fmt: skip
def test_states_and_replicas(entry, expected):
    found = [thing for thing in told(folded(entry), "--mode", "replicas") if isinstance(thing, Finding)]
    assert found == ([Finding(expected[0], "q", expected[1])] if expected else [])


def test_a_mode_that_was_not_asked_for_finds_nothing():
    found = folded(queue("q", state="crashed"), expected=("gone",))
    argv = ["--expect", "gone", "--mode"]
    for mode, names in (("sizes", set()), ("replicas", {"q"}), ("consumers", {"gone"})):
        assert {thing.of for thing in told(found, *argv, mode) if isinstance(thing, Finding)} == names


def test_an_expected_queue():
    """A pattern that meets nothing is told, never dropped: a peer computes an UNKNOWN for it and throws that away."""
    found = folded(queue("conductor", consumers=2), queue("orders"), expected=("conductor", "ord*", "gone*"))
    argv = ["--expect", "conductor=3", "--expect", "ord*", "--expect", "gone*"]
    assert [thing for thing in told(found, *argv) if isinstance(thing, Finding)] == [
        Finding(CRITICAL, "conductor", "has 2 consumers, not 3"),
        Finding(CRITICAL, "gone*", "does not exist"),
    ]
    found.whole = False
    assert Finding(UNKNOWN, "gone*", "is not among those that were looked at") in told(found, *argv)


def test_an_expected_queue_that_tells_no_consumers_yet_is_unknown():
    found = folded(fresh("orders"), expected=("orders",))
    assert [thing for thing in told(found, "--expect", "orders") if thing.of] == [
        Finding(UNKNOWN, "orders", "tells no consumers (yet)")
    ]
    enough = folded(fresh("orders.1"), queue("orders.2"), expected=("orders*",))
    assert told(enough, "--expect", "orders*") == []


def test_a_stream_is_a_log_and_no_backlog():
    stream = queue("events", type="stream", messages=5_000_000, consumers=0)
    assert told(folded(stream)) == []
    assert folded(stream).total == 0


def test_what_lasts_is_known_from_earlier_runs():
    def run(before, at, *entries):
        found = Queues("", at, before)
        for entry in entries:
            found.take(rabbitmq_queues.queue(entry, topics(()), at), (), ())
        return found

    first = run(None, NOW, queue("q", messages=5, consumers=0))
    assert [(seconds, each.name) for seconds, each in first.held("unconsumed")] == [(0.0, "q")]
    kept = json.loads(json.dumps(first.keep()))
    assert kept["unconsumed"] == {"q": [NOW]}
    later = run(kept, NOW + 400, queue("q", messages=5, consumers=0), queue("new", messages=1, consumers=0))
    assert [(seconds, each.name) for seconds, each in later.held("unconsumed")] == [(400.0, "q"), (0.0, "new")]
    assert run(later.keep(), NOW + 500, queue("q", messages=5)).keep().get("unconsumed") is None, (
        "it was consumed in between"
    )
    for junk in (17, {"unconsumed": 3, "depth": []}, {"unconsumed": {"q": "x"}, "depth": {"q": [[1], None, [1, 2, "x"]]}},
                 {"unconsumed": {"q": [NOW + 9999]}, "depth": {"q": [[NOW + 9999, 1, 1]] * 3}}):  # fmt: skip
        assert [seconds for seconds, _ in run(junk, NOW, queue("q", messages=500, consumers=0)).held("unconsumed")] == [
            0.0
        ]
        assert list(run(junk, NOW, queue("q", messages=500)).growing()) == []


def grown(*depths, published=None, step=60):
    """The queue after these depths, a minute apart; `published` messages at each moment."""
    before = None
    for number, depth in enumerate(depths):
        at = NOW + number * step
        found = Queues("", at, before)
        publish = (published or [0] * len(depths))[number]
        entry = queue("q", messages=depth, message_stats={"publish": publish, "ack": 0})
        found.take(rabbitmq_queues.queue(entry, topics(()), at), (), ())
        before = json.loads(json.dumps(found.keep()))
    return [(round(rate, 3), each.name) for rate, each in found.growing()]


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ((100, 160, 220, 280), [(1.0, "q")]),
        ((100, 160, 220), []),  # two rises may be chance
        ((100, 160, 150, 280), []),
        ((100, 160, 220, 220), []),
        ((10, 20, 30, 40), []),  # too few to matter
        ((5000, 100, 160, 220, 280), [(1.0, "q")]),
    ],
)
def test_a_queue_grows_when_it_rose_in_each_of_the_last_three_runs(depths, expected):
    assert grown(*depths) == expected


def test_a_queue_that_keeps_little_of_much_is_no_growing_one():
    assert grown(100, 160, 220, 280, published=[0, 1000, 2000, 3000]) == []
    assert grown(100, 160, 220, 280, published=[0, 100, 200, 300]) == [(1.0, "q")]


def test_a_queue_whose_statistics_began_anew_is_not_judged_by_them():
    assert grown(1000, 1010, 1020, 1030, published=[10**6, 10**6 + 1000, 10**6 + 2000, 50]) == []


def test_runs_a_moment_apart_are_one_sample():
    assert grown(100, 101, 102, 103, 104, step=2) == []


def test_nothing_is_acknowledged():
    def run(before, at, unacked, acks):
        found = Queues("", at, before)
        entry = queue("q", messages=50, messages_unacknowledged=unacked, message_stats={"publish": 0, "ack": acks})
        found.take(rabbitmq_queues.queue(entry, topics(()), at), (), ())
        return found.keep(), [seconds for seconds, _ in found.held("stuck", found._standstill)]

    kept, ages = run(None, NOW, 10, 5)
    assert ages == [0.0]
    kept, ages = run(kept, NOW + 300, 10, 5)
    assert ages == [300.0]
    assert run(kept, NOW + 700, 12, 5)[1] == [700.0]
    assert run(kept, NOW + 700, 10, 6)[1] == [0.0], "one was acknowledged"
    assert run(kept, NOW + 700, 9, 5)[1] == [0.0], "one went back to the queue"


TROUBLE = [
    ([queue("reports", messages=150_000)], (), CRITICAL,
     "messages 150000 is above 100000, WARNING: total 150000 is above 5000"),
    ([queue("notifications.info", messages=12_000)], (), WARNING,
     "notifications.info notifications 12000 is above 10000 (notifications that nobody reads: driver = noop, "
     "notification_format = unversioned, or a policy with message-ttl)"),
    ([queue("conductor", messages=101)], (), WARNING, "conductor backlog 101 is above 100"),
    ([queue("conductor", messages=1001)], (), CRITICAL, "conductor backlog 1001 is above 1000"),
    ([queue("scheduler", consumers=0)], (), CRITICAL, "scheduler consumers 0 is below 1"),
    ([queue("orders", consumers=0)], (), OK, "1 queues, 0 messages"),
    ([queue("orders", consumers=0)], ("--service", "ord*"), CRITICAL, "orders consumers 0 is below 1"),
    ([queue("orders")], ("--service", "ord*", "-c", "consumers=3:"), CRITICAL, "orders consumers 1 is below 3"),
    ([queue("q", messages=101, messages_unacknowledged=101)], (), WARNING, "q unacked 101 is above 100"),
    ([queue("q", messages=2, message_bytes=4 << 20)], (), WARNING, "q bytes 2 MiB is above 1 MiB"),
    ([queue("q", messages=2, message_bytes=40 << 20)], (), CRITICAL, "q bytes 20 MiB is above 10 MiB"),
    ([queue("q", messages=20_001, consumers=0)], ("--mode", "consumers"), CRITICAL,
     "q unconsumed messages 20001 is above 20000 (20001 messages)"),
    ([queue("q", messages=20, memory=200_000_000, consumers=0)], ("--mode", "consumers"), CRITICAL,
     "q unconsumed memory 12.5 % is above 10 %"),
    ([queue(f"reply_{number:032x}", consumers=0, idle_since="2020-01-01 1:00:00") for number in range(501)], (), WARNING,
     "orphans 501 is above 500"),
    ([queue(f"reply_{number:032x}", consumers=1, idle_since="2020-01-01 1:00:00") for number in range(501)], (), OK,
     "501 queues (501 transient), 0 messages"),
    ([queue("a", messages=30), queue("b", messages=40)], ("-w", "messages/b=20"), WARNING, "b messages 40 is above 20"),
    ([queue("nova/x"), queue("x", "nova", messages=40)], ("-w", "messages/nova/*=20"), WARNING, "nova/x messages 40 is above 20"),
    ([queue("a")], ("-w", "messages/missing*=20"), UNKNOWN, "the limit messages/missing* met nothing: no such value here"),
    ([queue("a")], ("-w", "age=60"), UNKNOWN, "the limit age met nothing: no such value here"),
    ([queue("a", messages=3, head_message_timestamp=1_500_000_000)], ("-w", "age=60"), WARNING, "a age * is above 60 s"),
    ([queue("a")], ("--expect", "b"), CRITICAL, "b does not exist"),
    ([queue("a")], ("--include", "b"), UNKNOWN, "nothing matched --include/--exclude, which left out 1"),
    ([queue("a", state="crashed"), queue("b")], ("--exclude", "a"), OK, "1 queues, 0 messages"),
    ([], (), UNKNOWN, "{of}: no queue here (GET /api/queues)"),
    ([queue("a")], ("--matching", "^b"), UNKNOWN, "{of}: no queue matches (GET /api/queues)"),
    ([queue("a"), queue("b")], ("--matching", "^b"), OK, "1 queues, 0 messages"),
    ([queue("a")], ("--matching", "^b", "--expect", "b"), UNKNOWN, "{of}: no queue matches (GET /api/queues)"),
    ([queue("a")], ("--matching", "("), UNKNOWN, "{of}: HTTP 400 Invalid regexp: ( (GET /api/queues)"),
    ([queue("a")], ("--vhost", "none"), UNKNOWN, "{of}: there is no vhost none (GET /api/queues/none)"),
]  # fmt: skip


@pytest.mark.parametrize(("queues", "argv", "state", "reason"), TROUBLE)
def test_trouble(check, queues, argv, state, reason):
    with serving(Rabbit(queues=queues)) as rabbit:
        rabbit.vhosts = ["/", "nova"]
        outcome = check(rabbit, *argv)
        pattern = re.escape(reason.format(of=f"127.0.0.1:{rabbit.port}")).replace(r"\*", ".*")
        assert outcome.state == state, outcome.text
        assert re.fullmatch(pattern, outcome.reason) or reason in outcome.reason, outcome.line


@pytest.mark.parametrize("version", ["3.8.34", "3.10.8", "3.13.7", "4.0.9", "4.1.8", "4.2.9", "4.3.5"])
def test_each_release(check, version):
    with serving(
        Rabbit(version, queues=[queue("conductor"), quorum("q", ["rabbit@a"], ["rabbit@a"], "rabbit@a")])
    ) as rabbit:
        outcome = check(rabbit)
        assert (outcome.state, outcome.reason) == (OK, "2 queues (1 service), 0 messages")
        assert len(rabbit.requests) == 4
        listed = [path for path in rabbit.requests if path.startswith("/api/queues")]
        assert all("columns=" in path and "page_size=500" in path for path in listed), "never everything of every queue"


def test_no_number_for_a_queue_of_its_own(check):
    """Queues are made by tenants and processes: a series for each would fill a grapher."""
    with serving(Rabbit(queues=[queue(f"orders.{n}", messages=n) for n in range(60)])) as rabbit:
        outcome = check(rabbit)
    names = [item.partition("=")[0] for item in outcome.perfdata]
    assert not [name for name in names if "orders" in name or name.endswith("_sum")]
    assert {"queues", "total", "messages", "bytes", "unconsumed"} <= set(names)


def test_an_unread_queue_becomes_a_finding_after_five_minutes(check):
    """One that is unread when it is first seen may have been so for a second or a year: that is no finding, and said as 0."""
    with serving(Rabbit(queues=[queue("notifications.info", messages=20, consumers=0)])) as rabbit:
        first = check(rabbit)
        assert (first.state, "unconsumed=1" in first.perfdata) == (OK, True)
        assert check(rabbit, at=120).state == OK
        late = check(rabbit, at=420)
        assert (late.state, late.reason) == (
            WARNING,
            "notifications.info unconsumed age 7 min is above 5 min (notifications that nobody reads: driver = noop, "
            "notification_format = unversioned, or a policy with message-ttl)",
        )


def test_a_queue_without_statistics_is_unknown_on_the_second_run(check):
    with serving(Rabbit(queues=[fresh("q"), queue("r")])) as rabbit:
        assert check(rabbit).state == OK
        second = check(rabbit, at=120)
        assert (second.state, second.reason) == (UNKNOWN, "q has told no statistics for 2 min")
        rabbit.queues = [queue("q"), queue("r")]
        assert check(rabbit, at=180).state == OK


def test_a_growing_queue_and_when_it_will_hold_too_much(check):
    with serving(Rabbit()) as rabbit:
        for number in range(4):
            rabbit.queues = [
                queue("q", messages=1000 + 600 * number, message_stats={"publish": 600 * number, "ack": 0})
            ]
            outcome = check(rabbit, at=60 * number)
            assert (outcome.state == OK) == (number < 3), outcome.line
    assert outcome.state == CRITICAL
    # The clock goes on by some milliseconds between two runs: 9.99 messages in a second.
    assert re.fullmatch(
        r"q forecast 21\d\d\d\d(\.\d+)? is above 100000, WARNING: q growth (9\.\d+|10)/s is above 0/s", outcome.reason
    )


def test_flow_that_lasts(check):
    with serving(Rabbit(queues=[queue("q", state="flow")])) as rabbit:
        assert check(rabbit).state == OK
        assert check(rabbit, at=240).reason == "q flow age 4 min is above 3 min"


def test_hidden_queues_are_unknown(check):
    """Without a permission the list is empty and HTTP 200, while the overview counts: the defect of every peer."""
    with serving(Rabbit(queues=[queue("a", "nova"), queue("b", "nova")])) as rabbit:
        of = f"127.0.0.1:{rabbit.port}"
        rabbit.vhosts = ["/", "nova"]
        rabbit.users["nagios"] = ("secret", "monitoring", ("/",))
        outcome = check(rabbit)
        assert outcome.line.partition(" | ")[0] == (
            f"RABBITMQ_QUEUES UNKNOWN - {of}: no permission on vhost nova (GET /api/queues/nova): needs "
            "`rabbitmqctl set_permissions -p nova nagios '^$' '^$' '^$'`"
        )
        assert (outcome.perfdata, "0 queues" in outcome.text) == ([], False)
        # Some are shown: the others are missed all the same, and what is shown is judged.
        rabbit.queues = [queue("a", "nova"), *(queue(f"q{n}") for n in range(99)), queue("conductor", consumers=0)]
        some = check(rabbit)
        assert (some.state, some.reason) == (
            CRITICAL,
            f"conductor consumers 0 is below 1, UNKNOWN: {of}: no permission on vhost nova (GET /api/queues/nova): needs "
            "`rabbitmqctl set_permissions -p nova nagios '^$' '^$' '^$'`",
        )
        missing = check(rabbit, "--expect", "nova/a")
        assert "nova/a is not among those that were looked at" in missing.reason
        named = check(rabbit, "--vhost", "nova")
        assert named.reason.startswith(
            f"{of}: no permission on vhost nova (GET /api/queues/nova): needs `rabbitmqctl set_perm"
        )


def test_a_broker_that_does_not_count_its_queues_may_hide_some(check):
    with serving(Rabbit(queues=[queue("a", "hidden"), queue("b")])) as rabbit:
        rabbit.overview = {"object_totals": {}}
        outcome = check(rabbit)
        assert (outcome.state, outcome.reason) == (
            UNKNOWN,
            f"127.0.0.1:{rabbit.port}: it does not count its queues: whether some are hidden can't be told (GET /api/overview)",
        )


def test_very_many_virtual_hosts_are_not_asked_one_by_one(check):
    """Those that showed a queue are not asked at all, of the others a hundred; that some may be hidden is told all the same."""
    with serving(Rabbit(queues=[queue("q", f"v{n}") for n in range(400)])) as rabbit:
        rabbit.vhosts = ["/", *(f"v{n}" for n in range(400))]
        rabbit.users["nagios"] = ("secret", "monitoring", ("/", *(f"v{n}" for n in range(399))))
        one = check(rabbit)
        assert (one.state, "no permission on vhost v399" in one.reason, len(rabbit.requests)) == (UNKNOWN, True, 7)
        rabbit.requests.clear()
        # Queues that are hidden behind a hundred virtual hosts which have none.
        rabbit.vhosts = [*(f"none{n}" for n in range(200)), "v0", "v1"]
        rabbit.queues = [*(queue(f"q{n}", "v0") for n in range(99)), queue("q", "v1")]
        rabbit.users["nagios"] = ("secret", "monitoring", ("/", "v0", *(f"none{n}" for n in range(200))))
        other = check(rabbit)
        assert (other.state, len(rabbit.requests)) == (UNKNOWN, 107)
        assert "99 of 100 queues are shown to user nagios" in other.reason


def test_a_question_for_what_is_hidden_that_fails_costs_nothing_that_was_learnt(check):
    with serving(Rabbit(queues=[queue("a", "dark"), queue("scheduler", consumers=0)])) as rabbit:
        rabbit.vhosts, rabbit.faults = ["/", "dark"], {"queues/dark": "hang"}
        outcome = check(rabbit, "-t", "2")
    assert outcome.state == CRITICAL
    assert "scheduler consumers 0 is below 1" in outcome.reason
    assert "(GET /api/queues/dark): the log-in was answered" in outcome.reason


def test_hidden_queues_of_a_broker_that_names_no_virtual_host(check):
    with serving(Rabbit(queues=[])) as rabbit:
        rabbit.overview = {"object_totals": {"queues": 7}}
        outcome = check(rabbit)
        assert outcome.reason.startswith(
            f"127.0.0.1:{rabbit.port}: 0 of 7 queues are shown to user nagios (GET /api/queues): needs `rabbitmqctl set_user_tags"
        )
        assert outcome.state == UNKNOWN


def test_queues_that_come_while_we_look_are_no_hidden_ones(check):
    with serving(Rabbit(queues=[queue(f"q{n}") for n in range(50)])) as rabbit:
        rabbit.overview = {"object_totals": {"queues": 52}}
        assert check(rabbit).state == OK


def test_queues_that_go_while_we_look(check):
    class Shrinking(Rabbit):
        def answer(self, path, query, user):
            status, body = super().answer(path, query, user)
            if path == "queues":
                self.queues = self.queues[:400]
            return status, body

    with serving(Shrinking(queues=[queue(f"q{n}") for n in range(700)])) as rabbit:
        outcome = check(rabbit)
    assert (outcome.state, "queues=500" in outcome.perfdata) == (OK, True), outcome.text


CHILD = """
import sys
from nephoscope.checks.messaging.check_rabbitmq_queues import CHECK
print(CHECK.run(sys.argv[1:]).line)
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])
"""


def test_a_hundred_thousand_queues_stay_bounded(tmp_path):
    """A process of its own, whole: its requests, their bytes, its memory at most and what it keeps."""

    def make(number):
        # As 3.10.8 lists a mirrored queue in use, with the columns that are asked for; a tenth in trouble of each kind.
        bad = number % 10 == 0
        return {
            "vhost": "/nova", "type": "classic", "state": "flow" if bad else "running",
            "name": f"reply_{number:032x}" if number % 2 else f"compute.cmp{number:05d}.cloud.example",
            "messages": number % 7, "messages_ready": number % 7, "messages_unacknowledged": number % 7 if bad else 0,
            "message_bytes": 700 * (number % 7), "memory": 30_000 + number, "consumers": 0 if bad else 1,
            "idle_since": "2026-11-21T19:08:27.554+00:00", "head_message_timestamp": None,
            "slave_nodes": ["rabbit@controller2"], "synchronised_slave_nodes": [] if bad else ["rabbit@controller2"],
            "message_stats": {"publish": 100_000 + number, "ack": 100_000 + number},
        }  # fmt: skip

    with serving(Rabbit(queues=(100_000, make))) as rabbit:
        base = ["-H", "127.0.0.1", "-p", str(rabbit.port), "--user", "nagios", "--state-dir", str(tmp_path)]
        argv = [sys.executable, "-c", CHILD, *base, "--exclude", "*nothing*", "-t", "60"]
        done = subprocess.run(
            argv, env={**os.environ, "NEPHOSCOPE_PASSWORD": "secret"}, capture_output=True, text=True, timeout=90
        )
        line, peak = done.stdout.splitlines()
    assert line.startswith("RABBITMQ_QUEUES CRITICAL - "), line
    assert "queues=100000 " in line
    assert len(rabbit.requests) == 203
    assert rabbit.sent < 50_000_000
    assert int(peak) < 64 << 10, "KiB"
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 500_000


def test_what_is_remembered_of_very_many_queues_is_little():
    def make(number):
        return {"name": f"reply_{number:032x}" if number % 2 else f"tenant.{number}", "vhost": "/", "type": "classic", "state": "running",
                "messages": number % 7, "messages_ready": number % 7, "messages_unacknowledged": 0, "message_bytes": 100, "consumers": 1}  # fmt: skip

    tracemalloc.start()
    found = rabbitmq_queues.Queues("", NOW, None)
    services = topics(rabbitmq_queues.SERVICES)
    for number in range(20_000):
        found.take(rabbitmq_queues.queue(make(number), services, NOW), (), ())
    state = json.dumps(found.keep())
    numbers = list(judge(found, CHECK.parse()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.looked == 20_000
    assert peak < 8 << 20
    assert len(numbers) < 600
    assert len(state) < 200_000


def test_too_many_queues_for_the_time_are_said(check):
    class Slow(Rabbit):
        def answer(self, path, query, user):
            if path == "queues":
                time.sleep(0.4)
            return super().answer(path, query, user)

    entry = queue("q")
    with serving(Slow(queues=(50_000, lambda number: entry))) as rabbit:
        started = time.monotonic()
        outcome = check(rabbit, "-t", "3")
        assert time.monotonic() - started < 3.5
    assert outcome.state == UNKNOWN
    assert re.fullmatch(
        rf"127.0.0.1:{rabbit.port}: \d+ of 50000 queues were looked at in the time: narrow it by --vhost or --matching, or raise -t "
        r"\(GET /api/queues\)",
        outcome.reason,
    ), outcome.line
    looked = [int(item.partition("=")[2]) for item in outcome.perfdata if item.startswith("queues=")]
    assert looked and 500 <= looked[0] < 50_000


def test_more_troubles_than_can_be_told_are_counted(check):
    with serving(Rabbit(queues=[queue(f"q{n}", state="crashed") for n in range(450)])) as rabbit:
        outcome = check(rabbit, "-v")
    assert (outcome.state, "[CRITICAL] 350 more queues are not well" in outcome.text) == (CRITICAL, True)


def test_what_is_critical_is_not_lost_behind_many_warnings(check):
    mirrors = [queue(f"q{n}", slave_nodes=["b"], synchronised_slave_nodes=[]) for n in range(400)]
    with serving(Rabbit(queues=[*mirrors, quorum("z", ["a", "b", "c"], ["a"], "a")])) as rabbit:
        outcome = check(rabbit)
    assert (outcome.state, outcome.reason.partition(",")[0]) == (CRITICAL, "z has lost its majority: b")


@pytest.mark.parametrize("argv", [("-w", "notifications=10"), ("-w", "notifications/notifications.*=10")])
def test_notifications_are_not_lost_behind_many_fuller_queues(check, argv):
    fuller = [queue(f"q{n}", messages=20) for n in range(150)]
    with serving(Rabbit(queues=[*fuller, queue("notifications.info", messages=15)])) as rabbit:
        outcome = check(rabbit, *argv)
    assert (outcome.state, outcome.reason.partition(" (")[0]) == (
        WARNING,
        "notifications.info notifications 15 is above 10",
    )


def test_an_unread_queue_is_not_lost_behind_many_fuller_ones(check):
    fuller = [queue(f"q{n}", messages=20, consumers=0) for n in range(150)]
    with serving(Rabbit(queues=[*fuller, queue("fat", messages=2, memory=900_000_000, consumers=0)])) as rabbit:
        assert check(rabbit).reason == "fat unconsumed memory 56.2 % is above 10 %"
        named = check(rabbit, "-c", "unconsumed_messages/fat=1", "--mode", "consumers")
        assert "fat unconsumed messages 2 is above 1 (2 messages)" in named.reason


def test_orphans_of_types_that_do_not_tell_since_when(check):
    """Quorum queues have no idle_since (seen on 3.10.8): those without consumer are counted when as many were so for an hour."""

    def replies(count):
        return [quorum(f"reply_{n:032x}", ["a"], ["a"], "a", consumers=0) for n in range(count)]

    with serving(Rabbit(queues=replies(600))) as rabbit:
        for minute in (0, 20, 40):
            assert check(rabbit, at=60 * minute).state == OK
        outcome = check(rabbit, at=3601)
        assert (outcome.state, outcome.reason) == (WARNING, "orphans 600 is above 500")
        rabbit.queues = [queue("q")]
        assert check(rabbit, at=3900).state == OK
        rabbit.queues = replies(700)
        assert check(rabbit, at=4200).state == OK, "these came a moment ago"
        assert check(rabbit, at=7000).state == OK


def test_a_limit_of_a_mode_that_was_not_asked_for(check):
    with serving(Rabbit(queues=[queue("a")])) as rabbit:
        outcome = check(rabbit, "--expect", "b", "--mode", "sizes")
    assert outcome.line == "RABBITMQ_QUEUES UNKNOWN - --expect is of mode consumers, which was not asked for"


def test_patterns_that_name_too_many_queues_are_said(check):
    with serving(Rabbit(queues=(3000, lambda n: queue(f"q{n}", messages=0)))) as rabbit:
        outcome = check(rabbit, "-w", "messages/q*=10")
    assert (outcome.state, "more than 2000 queues match the patterns of -w and -c: narrow them" in outcome.reason) == (
        UNKNOWN,
        True,
    )


@pytest.mark.parametrize(
    ("faults", "state", "reason"),
    [
        ({"queues": 500}, CRITICAL, "{of}: HTTP 500 (GET /api/queues)"),
        ({"queues": "html"}, UNKNOWN, "{of}: not JSON: b'<!DOCTYPE html><html><title>It works!</t' (GET /api/queues)"),
        ({"queues": "half"}, CRITICAL, "{of}: the connection was cut before the answer was whole (GET /api/queues)"),
        ({"overview": 500}, CRITICAL, "{of}: HTTP 500 (GET /api/overview)"),
        ({"nodes": 500}, CRITICAL, "{of}: HTTP 500 (GET /api/nodes)"),
        ({"": "garbage"}, UNKNOWN,
         "{of}: no HTTP: BadStatusLine (GET /api/whoami): is this the port of RabbitMQ's management API (15672, with --tls 15671)?"),
    ],
)  # fmt: skip
def test_what_can_not_be_asked(check, faults, state, reason):
    with serving(Rabbit(queues=[queue("q")])) as rabbit:
        rabbit.faults = faults
        outcome = check(rabbit)
        assert (outcome.state, outcome.reason) == (state, reason.format(of=f"127.0.0.1:{rabbit.port}"))


def test_a_frozen_peer(check):
    with serving(Rabbit(queues=[queue("q")])) as rabbit:
        rabbit.faults = {"queues": "hang"}
        outcome = check(rabbit, "-t", "2")
        assert re.sub(r"\d\.\d s", "N s", outcome.line.partition(" | ")[0]) == (
            f"RABBITMQ_QUEUES CRITICAL - 127.0.0.1:{rabbit.port}: no answer in N s (GET /api/queues): the log-in was answered: "
            "look for a node of the cluster that is frozen or cut off, the others wait for it"
        )


def test_a_list_of_other_shape(check):
    class Other(Rabbit):
        def answer(self, path, query, user):
            return (200, [{"name": "q"}]) if path == "queues" else super().answer(path, query, user)

    with serving(Other(queues=[queue("q")])) as rabbit:
        outcome = check(rabbit)
        assert outcome.reason == f"127.0.0.1:{rabbit.port}: its fields are not those of RabbitMQ (GET /api/queues)"
        assert outcome.state == UNKNOWN


def test_statistics_that_are_switched_off(check):
    bare = [{"name": "q", "vhost": "/", "type": "classic", "state": "running"}]
    with serving(Rabbit(queues=bare)) as rabbit:
        rabbit.overview = {"disable_stats": True, "object_totals": {"queues": 1}}
        outcome = check(rabbit)
        assert (outcome.state, outcome.reason) == (
            UNKNOWN,
            "the management plug-in keeps no statistics here (management_agent.disable_metrics_collector) (GET /api/overview)",
        )
