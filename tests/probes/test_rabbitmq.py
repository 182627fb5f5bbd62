# SPDX-License-Identifier: Apache-2.0
"""The probe of RabbitMQ's management API in its parts; the checks' tests go through it whole."""

from __future__ import annotations

import pytest
from nephoscope.base import Failed, Run
from nephoscope.checks.messaging.check_rabbitmq_node import CHECK
from nephoscope.probes import rabbitmq

from tests.simulators import rabbitmq as simulated


@pytest.mark.parametrize(
    ("text", "release"),
    [("3.8.34", (3, 8, 34)), ("3.13.0-rc.2", (3, 13, 0)), ("4.2.9+7.gabc", (4, 2, 9)), ("4.1", (4, 1)), ("next", ())],
)
def test_releases(text, release):
    assert rabbitmq.release(text) == release


@pytest.mark.parametrize("value", ["disk_free_monitoring_disabled", None, True, [], "17", {}])
def test_what_is_no_number_is_none(value):
    assert rabbitmq.number(value) is None


def test_a_node_that_is_down_has_a_name_and_nothing_else():
    down = rabbitmq.node({"name": "rabbit@b", "type": "disc", "running": False})
    assert down == rabbitmq.Node("rabbit@b", False, told=False)
    assert (down.share, down.margin) == (None, None)


def test_a_node_of_4_counts_no_sockets_and_one_of_3_does():
    assert rabbitmq.node(simulated.node("a", "4.2.9")).sockets is None
    assert rabbitmq.node(simulated.node("a", "3.13.7", sockets_used=0)).sockets == 0.0


def test_an_unlimited_or_unknown_number_of_descriptors_is_no_share():
    for words in ({"fd_total": "unknown"}, {"fd_used": "unknown"}, {"fd_total": 0}):
        assert rabbitmq.node(simulated.node("a", **words)).fds is None


def test_samples_are_thinned_where_they_stand_closest():
    pairs = [[float(at), 1.0] for at in (0, 1, 2, 100, 200, 300)]
    assert rabbitmq.thinned(pairs, 4) == [[0.0, 1.0], [100.0, 1.0], [200.0, 1.0], [300.0, 1.0]]


def test_the_password_is_neither_shown_nor_kept():
    options = CHECK.parse("-H", "127.0.0.1", "-p", "1", "--user", "nagios")
    options.password = "secret-one"
    with pytest.raises(Failed) as failed:
        rabbitmq.reach(Run(2.0), options)
    assert "secret" not in str(failed.value.args)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("Login failed", "the log-in of user nagios was refused"),
        ("Not_Authorized", "the log-in of user nagios was refused"),
        ("HTTP access denied: basic auth disabled", "the log-in of user nagios was refused"),
        ("Not management user", "user nagios lacks the tag monitoring"),
        ("Not monitor user", "user nagios lacks the tag monitoring"),
        ("User not authorised to access virtual host", "no permission on vhost nova"),
        ("User can only log in via localhost", "user nagios may log in on the broker's own host only"),
    ],
)
def test_each_refusal_is_told_by_the_server_s_own_reason(reason, error):
    """All of them are HTTP 401 (rabbit_mgmt_util.erl of 3.x, rabbit_web_dispatch_access_control.erl of 4.x)."""
    api = object.__new__(rabbitmq.Api)
    api.user, api.of = "nagios", "mq.example:15672"
    assert api._refused("GET /api/x", reason, "nova").error == error


def test_names_are_quoted_in_a_path():
    assert (rabbitmq.part("/"), rabbitmq.part("a b/ä?")) == ("%2F", "a%20b%2F%C3%A4%3F")


def test_an_answer_has_a_cap(monkeypatch):
    from nephoscope.base import http

    monkeypatch.setattr(http, "LIMIT", 1 << 20)
    with simulated.serving(
        simulated.Rabbit(nodes=[simulated.node("rabbit@a", cluster_links=[{"name": "x" * 2_000_000}])])
    ) as rabbit:
        options = CHECK.parse("-p", str(rabbit.port), "--user", "nagios")
        options.password = "secret"
        with pytest.raises(Failed) as failed:
            rabbitmq.cluster(Run(8.0), options)
    assert failed.value.error == "more than 1 MiB"
