# SPDX-License-Identifier: Apache-2.0
"""check_amqp_roundtrip: its judge by equality, and the check over a simulated broker in the real wire format.

The real one is in tests/lab/test_amqp.py.
"""

from __future__ import annotations

import re
import time

import pytest
from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.messaging.check_amqp_roundtrip import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Finding, Metric
from nephoscope.probes.amqp import Trip

from tests.probes.talker import Talker, cuts, drips, greets, says, silent
from tests.simulators.amqp_broker import PROPERTIES, Broker

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
RIGHTS = r"needs `rabbitmqctl set_permissions -p / guest '^nephoscope\.' '^amq\.default$' '^nephoscope\.'`"


def found(*trips):
    return list(judge(trips, CHECK.parse()))


def test_a_message_that_came_back():
    assert found(Trip("", "RabbitMQ 3.10.8", "", 0.02, 0.001)) == [
        Metric("login", 0.02),
        Finding(OK, "", "RabbitMQ 3.10.8"),
        Metric("time", 0.001),
    ]


def test_several_brokers():
    failed = Failed(UNREACHABLE, "u@b:5672", "log in", "no answer in 5.0 s")
    assert found(Trip("u@a:5671", "RabbitMQ 4.1.0", "TLSv1.3", 0.02, 0.001), failed) == [
        Metric("login", 0.02, of="u@a:5671"),
        Finding(OK, "u@a:5671", "RabbitMQ 4.1.0, TLSv1.3"),
        Metric("time", 0.001, of="u@a:5671"),
        failed,
    ]


def test_a_message_that_did_not():
    assert found(Trip("", "RabbitMQ 3.10.8", "", 0.02, None, "the message was refused by the broker (nack)")) == [
        Metric("login", 0.02),
        Finding(CRITICAL, "", "the message was refused by the broker (nack)"),
    ]


@pytest.fixture
def check(tmp_path):
    def run(server, *argv):
        return CHECK.run([*(server.argv if server else []), *argv, "--state-dir", str(tmp_path / "state")])

    return run


def test_green(check):
    with Talker(Broker()) as server:
        outcome = check(server)
        assert re.fullmatch(
            r"AMQP_ROUNDTRIP OK - RabbitMQ 3\.10\.8 \| time=[0-9.]+s;0\.5;2 login=[0-9.]+s;2;5", outcome.line
        ), outcome.line
        assert server.gone.wait(5)
        steps = ["log in", (10, 31), "open", "channel", "confirm", "declare", "consume", "publish", "delete", "close"]
        assert server.behave.heard == steps
        ((queue, bits),) = server.behave.declared
        assert re.fullmatch(r"nephoscope\.[0-9a-f]{24}", queue)
        assert bits == 0b01100  # exclusive and auto-delete; not durable, not passive


@pytest.mark.parametrize(
    "at, does, state, said",
    [
        ("log in", (403, "ACCESS_REFUSED - Login was refused"), UNKNOWN,
         "it refuses the log-in (log in): needs the right password of user guest"),
        ("open", (530, "NOT_ALLOWED - vhost / not found"), UNKNOWN, "there is no virtual host / (log in)"),
        ("open", (530, "NOT_ALLOWED - access to vhost '/' refused for user 'guest'"), UNKNOWN,
         f"it refuses virtual host / (log in): {RIGHTS}"),
        ("open", (530, "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (0) is reached"),
         CRITICAL, "a limit of connections is reached: its own, the user's or the virtual host's (log in)"),
        ("open", (541, "INTERNAL_ERROR - access to vhost '/' refused for user 'guest': vhost '/' is down"),
         CRITICAL, "virtual host / is down (log in)"),
        ("channel", (530, "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of (1)"),
         CRITICAL, "a limit of channels is reached: its own, the user's or the virtual host's (open a channel)"),
        ("declare", (541, "INTERNAL_ERROR"), CRITICAL, "it can't (541 INTERNAL_ERROR) (declare a queue)"),
        ("open", (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"), CRITICAL,
         "it closed the connection (CONNECTION_FORCED): it shuts down (log in)"),
        ("declare", (403, "ACCESS_REFUSED - access to queue 'x' in vhost '/' refused", "channel"), UNKNOWN,
         f"it refuses that (ACCESS_REFUSED) (declare a queue): {RIGHTS}"),
        ("declare", (406, "PRECONDITION_FAILED - cannot declare queue 'x': queue limit in vhost '/' (0) is reached", "channel"),
         CRITICAL, "a limit of queues is reached: its own, the user's or the virtual host's (declare a queue)"),
        ("declare", (406, "PRECONDITION_FAILED - inequivalent arg", "channel"), UNKNOWN,
         "it answers 406 PRECONDITION_FAILED (declare a queue)"),
        ("consume", (403, "ACCESS_REFUSED - x", "channel"), UNKNOWN,
         f"it refuses that (ACCESS_REFUSED) (consume from it): {RIGHTS}"),
        ("publish", (403, "ACCESS_REFUSED - x", "channel"), UNKNOWN, f"it refuses that (ACCESS_REFUSED) (publish): {RIGHTS}"),
        ("publish", "blocked", CRITICAL, "it blocks publishers because of an alarm: low on memory"),
        ("consume", (320, "CONNECTION_FORCED - Closed via management plugin"), CRITICAL,
         "it closed the connection (CONNECTION_FORCED) (consume from it)"),
        ("publish", "cancel", CRITICAL, "it took the queue away before the message was back (publish)"),
        ("publish", "nack", CRITICAL, "the message was refused by the broker (nack)"),
        ("publish", "return", CRITICAL, "the message was returned: NO_ROUTE"),
        ("publish", "alter", CRITICAL, "the message came back altered"),
        ("publish", "cut", CRITICAL, "the connection was cut before the answer was whole (publish)"),
        ("greet", "cut", CRITICAL, "the connection was cut before the answer was whole (log in)"),
        ("log in", "cut", CRITICAL, "the connection was cut before the answer was whole (log in)"),
        ("greet", "large", UNKNOWN, "its answer is no AMQP: a frame is too large (log in)"),
        ("declare", "large", UNKNOWN, "its answer is no AMQP: a frame is too large (declare a queue)"),
        ("greet", "open-ended", UNKNOWN, "its answer is no AMQP: a frame has no end (log in)"),
        ("declare", "garbage", UNKNOWN, "its answer is no AMQP (AMQPNotImplementedError) (declare a queue)"),
        ("consume", "heartbeats", UNKNOWN, "more than 1 MiB of an answer (consume from it)"),
    ],
)  # fmt: skip
def test_what_goes_wrong(check, at, does, state, said):
    with Talker(Broker(at, does)) as server:
        # A hundred thousand heartbeats are much work for the client, and more under a tracer.
        outcome = check(server, "-t", "60" if does == "heartbeats" else "4")
        of = "" if said.startswith("the message") else f"{server.of}: "
        assert (outcome.state, outcome.reason) == (state, of + said)
        assert server.gone.wait(5)
        assert server.behave.queues == set()


@pytest.mark.parametrize("at", ["greet", "log in", "open", "channel", "declare", "consume", "publish"])
@pytest.mark.parametrize("does", ["hang", "drip"])
def test_a_broker_that_freezes_or_drips(check, at, does):
    with Talker(Broker(at, does)) as server:
        begun = time.monotonic()
        outcome = check(server, "-t", "1")
        assert time.monotonic() - begun < 1.5
        assert outcome.state == CRITICAL
        assert re.fullmatch(rf"{server.of}: no answer in 0\.[45] s \([a-z ]+\)", outcome.reason), outcome.reason
        assert server.gone.wait(5)


@pytest.mark.parametrize("does", ["unconfirmed", "undelivered"])
def test_a_message_that_is_only_half_there(check, does):
    with Talker(Broker("publish", does)) as server:
        outcome = check(server, "-t", "1")
        assert (outcome.state, outcome.reason) == (CRITICAL, f"{server.of}: no answer in 0.5 s (publish)")


@pytest.mark.parametrize("does", ["hang", "cut", (403, "ACCESS_REFUSED - x", "channel")])
def test_a_farewell_that_fails_is_no_news(check, does):
    """The queue goes with the connection."""
    with Talker(Broker("delete", does)) as server:
        begun = time.monotonic()
        assert check(server, "-t", "30").state == OK
        assert time.monotonic() - begun < 1.5, "what is known already is not held back for it"
        assert server.gone.wait(5)
        assert server.behave.queues == set()


@pytest.mark.parametrize(
    "behave, state, said",
    [
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), UNKNOWN, "this is a web server, no AMQP broker (log in)"),
        (greets(b"SSH-2.0-OpenSSH_9.2p1\r\n"), UNKNOWN, "this is an SSH server, no AMQP broker (log in)"),
        (says(b"AMQP\x03\x01\x00\x00"), UNKNOWN, "it speaks AMQP 1.0, not 0-9-1 (log in)"),
        (says(b"AMQP\x00\x01\x00\x00"), UNKNOWN, "it speaks AMQP 1.0, not 0-9-1 (log in)"),
        (says(b"AMQP\x01\x01\x00\x0a"), UNKNOWN, "it speaks AMQP 0-10, not 0-9-1 (log in)"),
        (says(b"\x15\x03\x03\x00\x02\x02\x16"), UNKNOWN, "it wants TLS (log in): give --tls"),
        (says(b"ERROR\r\n"), UNKNOWN, "this is memcached, no AMQP broker (log in)"),
        (says(bytes(range(256))), UNKNOWN, "its answer is no AMQP (log in)"),
        (cuts(), CRITICAL, "the connection was cut before the answer was whole (log in)"),
        (silent, CRITICAL, "no answer in 0.5 s (log in)"),
        (drips(b"AMQP\x00"), UNKNOWN, None),
    ],
)
def test_what_is_no_broker(check, behave, state, said):
    with Talker(behave) as server:
        outcome = check(server, "-t", "1")
        assert outcome.state == state or said is None, outcome.text
        if said:
            assert outcome.line == f"AMQP_ROUNDTRIP {WORDS[state]} - {server.of}: {said}"
        assert outcome.state != OK


def test_nobody_listens(check):
    with Talker(silent) as server:
        pass
    assert check(server).line == f"AMQP_ROUNDTRIP CRITICAL - {server.of}: Connection refused (connect)"


def test_a_broker_that_knows_no_log_in_of_ours(check):
    with Talker(Broker(mechanisms="GSSAPI")) as server:
        assert check(server).reason == (
            f"{server.of}: it offers no way to log in that we know: needs PLAIN or AMQPLAIN"
        )


def test_a_broker_that_says_nothing_of_itself(check):
    with Talker(Broker(properties={})) as server:
        assert check(server).reason == "a broker"
    with Talker(Broker(properties={**PROPERTIES, "version": "4|\x1b[31m" + "9" * 200})) as server:
        assert check(server).state == OK


def test_the_password_shows_nowhere(check, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter22")
    with Talker(Broker(users={"mon": "hunter22"})) as server:
        assert check(server, "--user", "mon").state == OK
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter23")
        outcome = check(server, "--user", "mon", "--explain", "-vvv")
        assert outcome.reason == f"{server.of}: it refuses the log-in (log in): needs the right password of user mon"
        assert "hunter2" not in outcome.text


def written(tmp_path, *urls):
    names = []
    for number, url in enumerate(urls):
        path = tmp_path / f"service{number}.conf"
        path.write_text(f"[DEFAULT]\ntransport_url = {url}\n")
        names += ["--from-service-file", str(path)]
    return names


def test_every_host_of_every_service_is_an_object(check, tmp_path):
    with Talker(Broker(users={"nova": "a", "cinder": "b"})) as one, Talker(Broker(users={})) as two:
        argv = written(
            tmp_path,
            f"rabbit://nova:a@{one.of},nova:a@{two.of}/",
            f"rabbit://cinder:b@{one.of}/",
            f"rabbit://nova:a@{one.of}//",
            "kafka://x.example",
        )
        outcome = check(None, *argv)
        assert outcome.state == UNKNOWN
        assert {(item["state"], item["of"]) for item in outcome.items} == {
            ("UNKNOWN", f"nova@{two.of}"),
            ("OK", f"nova@{one.of}"),
            ("OK", f"cinder@{one.of}"),
            ("UNKNOWN", argv[-1]),
        }
        assert f"nova@{two.of}: it refuses the log-in (log in): needs the right password of user nova" in outcome.text
        assert "its transport is kafka, not RabbitMQ" in outcome.text
        assert len([item for item in outcome.perfdata if "time=" in item]) == 2
        assert one.clients == 2
        chosen = check(None, *argv, "--include", f"cinder@{one.of}")
        assert (chosen.state, f"cinder@{one.of} RabbitMQ 3.10.8" in chosen.reason) == (OK, True), chosen.text
        assert (one.clients, two.clients) == (3, 1)


def test_one_frozen_broker_does_not_hide_the_other(check, tmp_path):
    with Talker(Broker()) as one, Talker(Broker("log in", "hang")) as two:
        begun = time.monotonic()
        outcome = check(None, *written(tmp_path, f"rabbit://nova:a@{two.of},nova:a@{one.of}/"), "-t", "2")
        assert time.monotonic() - begun < 2.5
        assert outcome.state == CRITICAL
        assert re.match(rf"nova@{two.of}: no answer in 1(\.0)? s", outcome.reason), outcome.reason
        assert {item["of"]: item["state"] for item in outcome.items}[f"nova@{one.of}"] == "OK"


def test_two_services_with_one_name_and_two_passwords_are_two(check, tmp_path):
    """Else the wrong one of them would never be tried."""
    with Talker(Broker(users={"os": "a"})) as server:
        argv = written(tmp_path, *(f"rabbit://os:{word}@{server.of}/" for word in "aba"))
        outcome = check(None, *argv)
        of = f"os@{server.of} of {argv[3]} [DEFAULT]"
        assert (outcome.state, outcome.reason) == (
            UNKNOWN, f"{of}: it refuses the log-in (log in): needs the right password of user os"
        )  # fmt: skip
        assert {item["of"]: item["state"] for item in outcome.items} == {f"os@{server.of}": "OK", of: "UNKNOWN"}
        assert server.clients == 2


def test_a_file_that_is_not_there(check):
    assert check(None, "--from-service-file", "/nowhere.conf").line == (
        "AMQP_ROUNDTRIP UNKNOWN - /nowhere.conf: No such file or directory (read /nowhere.conf)"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--hostname", "x.example"],
        ["--port", "5671"],
        ["--user", "x"],
        ["--vhost", "x"],
        ["--ca-file", "/x"],
        ["--tls"],
    ],
)
def test_options_that_do_not_go_together(check, words):
    """The file says where, as whom and by which authority: what stands beside it would be ignored without a word."""
    outcome = check(None, "--from-service-file", "/etc/nova/nova.conf", *words)
    assert (outcome.state, outcome.reason) == (UNKNOWN, f"--from-service-file and {words[0]} do not go together")
