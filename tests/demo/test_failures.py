# SPDX-License-Identifier: Apache-2.0
"""Every way in which a host can be told to fail: what comes over the wire, and that heal ends it."""

from __future__ import annotations

import http.client
import socket

import pytest
from nephoscope.demo import Demo, sample
from nephoscope.demo.telling import FAILURES

from tests.demo.client import ask, fetch, raw, rows, states

BEAT = b"GET /services/Heartbeat HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def shared():
    with Demo(sample(zones=2)) as cloud:
        yield cloud


@pytest.fixture
def demo(shared):
    yield shared
    for host in shared.cloud.hosts:
        shared.tell("heal", host)
    shared.tell("skew", 0)
    for service in shared.cloud.services:
        service.state, service.message = ("NOTREADY" if service.kind == "imagingbackend" else "ENABLED"), ""
    shared.cloud.passed = 0.0
    shared.cloud.touch()


@pytest.mark.parametrize("failure", sorted(FAILURES))
def test_heal_ends_it_for_connections_that_were_open_too(demo, failure):
    demo.tell(failure, "one-cc")
    with socket.create_connection((demo.address("one-cc"), 8773), timeout=5) as link:
        link.sendall(BEAT)
        demo.tell("heal", "one-cc")
        link.settimeout(5)
        try:
            while link.recv(1 << 20):
                pass  # what was on its way
        except ConnectionResetError:
            pass
    assert fetch(demo, "one-cc", "/services/Heartbeat").status == 200


@pytest.mark.parametrize("port", [8773, 8774])
def test_hang_takes_the_connection_and_says_nothing(demo, port):
    demo.tell("hang", "one-cc")
    with socket.create_connection((demo.address("one-cc"), port), timeout=5) as link:
        link.sendall(BEAT)
        link.settimeout(0.5)
        with pytest.raises(socket.timeout):
            link.recv(1)
    assert states(demo)["one-cc-1"] == states(demo)["one-sc-1"] == "NOTREADY"


def test_a_connection_that_was_kept_open_hangs_too(demo):
    with socket.create_connection((demo.address("one-cc"), 8773), timeout=5) as link:
        link.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        demo.tell("hang", "one-cc")
        link.settimeout(5)
        with pytest.raises((ConnectionError, AssertionError)):  # cut when the failure begins
            while True:
                assert link.recv(65536)


def test_stop_refuses_and_start_serves(demo):
    demo.tell("stop", "two-cc")
    for port in (8773, 8774):
        with pytest.raises(ConnectionRefusedError):
            raw(demo, "two-cc", BEAT, port=port)
    assert states(demo)["two-cc-1"] == "NOTREADY"
    demo.tell("start", "two-cc")
    assert raw(demo, "two-cc", BEAT).startswith(b"HTTP/1.1 200 OK")
    assert states(demo)["two-cc-1"] == "ENABLED"


def test_stop_cuts_what_is_open(demo):
    with socket.create_connection((demo.address("two-cc"), 8774), timeout=5) as link:
        link.sendall(b"GET /axis2/services HTTP/1.1\r\nHost: x\r\n\r\n")
        assert link.recv(15) == b"HTTP/1.1 200 OK"
        demo.tell("stop", "two-cc")
        with pytest.raises((ConnectionError, AssertionError)):
            while True:
                assert link.recv(65536)


def test_error500(demo):
    demo.tell("error500", "clc")
    got = fetch(demo, "clc", "/services/Heartbeat")
    assert (got.status, got.message) == (500, "An internal error has occurred")


def test_unavailable(demo):
    demo.tell("unavailable", "clc")
    got = fetch(demo, "clc", "/services/Heartbeat")
    assert (got.status, got.text, got.headers["content-length"]) == (503, "", "0")


def test_cut_and_truncated(demo):
    whole = fetch(demo, "clc", "/services/Heartbeat").text
    demo.tell("cut", "clc")
    with pytest.raises(http.client.IncompleteRead) as caught:
        fetch(demo, "clc", "/services/Heartbeat")
    assert len(caught.value.partial) == len(whole) // 2
    assert caught.value.expected == len(whole) - len(whole) // 2
    demo.tell("truncated", "clc")
    assert len(fetch(demo, "clc", "/services/Heartbeat").text) == len(whole) // 2


def test_cut_of_an_answer_without_a_body(demo):
    demo.tell("cut", "clc")
    assert raw(demo, "clc", BEAT.replace(b"GET", b"PUT")) == b"HTTP/1.1"


def test_garbage_noise_and_nothing(demo):
    demo.tell("garbage", "clc")
    with pytest.raises(UnicodeDecodeError):
        fetch(demo, "clc", "/services/Heartbeat")
    demo.tell("noise", "clc")
    assert not raw(demo, "clc", BEAT).startswith(b"HTTP")
    with pytest.raises(http.client.BadStatusLine):
        fetch(demo, "clc", "/services/Heartbeat")
    demo.tell("empty", "clc")
    got = fetch(demo, "clc", "/services/Heartbeat")
    assert (got.status, got.text) == (200, "")


def test_a_proxy_s_page_and_one_for_logging_in(demo):
    demo.tell("html", "clc")
    got = fetch(demo, "clc", "/services/Heartbeat")
    assert (got.status, got.headers["content-type"]) == (200, "text/html")
    assert got.text.startswith("<!DOCTYPE html>")
    demo.tell("login", "clc")
    got = fetch(demo, "clc", "/services/Heartbeat")
    assert (got.status, got.headers["location"]) == (302, "https://sso.example/login?next=/")


def test_drip(demo):
    demo.tell("drip", "clc")
    with socket.create_connection((demo.address("clc"), 8773), timeout=5) as link:
        link.sendall(BEAT)
        assert link.recv(65536) == b"H"
        assert link.recv(65536) == b"T"


def test_huge(demo):
    demo.tell("huge", "clc")
    with socket.create_connection((demo.address("clc"), 8773), timeout=5) as link:
        link.sendall(BEAT)
        size = 0
        while size < 70 << 20:
            size += len(link.recv(1 << 20))


def test_bomb(demo):
    demo.tell("bomb", "clc")
    got = ask(demo, "DescribeServices")
    assert got.headers["content-type"] == "application/xml; charset=UTF-8"
    assert "<!ENTITY j " in got.text
    assert len(got.text) < 2000


def test_reset(demo):
    demo.tell("reset", "clc")
    with pytest.raises(ConnectionResetError):
        raw(demo, "clc", BEAT)


def test_delay(demo):
    demo.tell("delay", "clc", "0.7")
    with socket.create_connection((demo.address("clc"), 8773), timeout=5) as link:
        link.sendall(BEAT)
        link.settimeout(0.3)
        with pytest.raises(socket.timeout):
            link.recv(1)
        link.settimeout(5)
        assert link.recv(15) == b"HTTP/1.1 200 OK"


def test_a_failure_is_the_host_s_alone(demo):
    demo.tell("error500", "clc")
    assert fetch(demo, "one-cc", "/services/Heartbeat").status == 200


def test_a_node_falls_silent_and_is_forgotten_after_ten_minutes(demo):
    address = demo.address("one-nc-1")
    demo.tell("silent", "one-nc-1")
    with pytest.raises(ConnectionRefusedError):
        raw(demo, "one-nc-1", BEAT, port=8775)
    found = {row["name"]: row for row in rows(ask(demo, "DescribeServices", ShowEvents="true"))}
    assert found[address]["localState"] == "NOTREADY"
    assert found[address]["message"] == "the node is not responding to the cluster controller"
    demo.tell("clock", 590)
    assert address in states(demo)
    demo.tell("clock", 11)
    assert address not in states(demo)
    assert address not in states(demo, ByServiceType="node", ListAll="true")
    demo.tell("start", "one-nc-1")
    assert states(demo)[address] == "ENABLED"


def test_a_zone_without_its_cluster_controller_loses_its_nodes(demo):
    demo.tell("stop", "two-cc")
    nodes = {demo.address("two-nc-1"), demo.address("two-nc-2")}
    assert nodes <= set(states(demo))
    demo.tell("clock", 601)
    assert not nodes & set(states(demo))
    assert {demo.address("one-nc-1"), demo.address("one-nc-2")} <= set(states(demo))


def test_a_host_s_own_view(demo):
    demo.tell("view", "one-cc", {"one-sc-1": "NOTREADY"})
    assert states(demo, "one-cc")["one-sc-1"] == "NOTREADY"
    assert states(demo, "clc")["one-sc-1"] == "ENABLED"
    demo.tell("view", "one-cc", "two-sc-1=STOPPED", "one-sc-1=BROKEN")
    assert states(demo, "one-cc")["two-sc-1"] == "STOPPED"
    assert states(demo, "one-cc")["one-sc-1"] == "BROKEN"
    assert rows(ask(demo, "DescribeServices", host="one-cc", ByState="BROKEN"))[0]["name"] == "one-sc-1"
    demo.tell("heal", "one-cc")
    assert states(demo, "one-cc")["one-sc-1"] == "ENABLED"


def test_a_view_is_of_one_service_though_others_have_its_name(demo):
    demo.tell("view", "one-cc", "eucalyptus@clc=DISABLED")
    at = demo.address("clc")
    found = rows(ask(demo, "DescribeServices", host="one-cc", ByHost=at, ListAll="true"))
    assert {row["type"] for row in found if row["localState"] == "DISABLED"} == {"eucalyptus"}
    assert len([row for row in found if row["name"] == at]) > 4


def test_a_service_is_unregistered():
    with Demo(sample()) as own:
        own.tell("unregister", "one-sc-1")
        assert "one-sc-1" not in states(own)
        assert "one-cc-1" in states(own)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stat", "one-sc-1", "BROKEN"], "no word stat: did you mean state?"),
        (["zzz"], "no word zzz"),
        (["state", "one-sc-9", "BROKEN"], "no service one-sc-9 in this cloud"),
        (["hang", "one-c"], "no host one-c: did you mean one-cc?"),
        (["view", "clc", "one-sc-1"], "write SERVICE=STATE, not one-sc-1"),
        (["skew", "soon"], "could not convert string to float: 'soon'"),
    ],
)
def test_what_makes_no_sense_is_refused(demo, words, said):
    with pytest.raises((ValueError, KeyError)) as caught:
        demo.tell(*words)
    assert caught.value.args[0] == said


def test_each_word_has_a_line_of_help(demo):
    lines = demo.words()
    assert "state SERVICE STATE [MESSAGE...]" in lines[0]
    for failure, about in FAILURES.items():
        assert f"{failure + ' HOST':<36}  {about}" in lines
