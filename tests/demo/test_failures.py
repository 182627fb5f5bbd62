# SPDX-License-Identifier: Apache-2.0
"""Every way in which a host can be told to fail: what comes over the wire, and that heal ends it."""

from __future__ import annotations

import http.client
import json
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
        (["skew", "soon"], "write a number from -1000000000 to 1000000000, not soon"),
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["skew", "nan"], "write a number from -1000000000 to 1000000000, not nan"),
        (["clock", "inf"], "write a number from -1000000000 to 1000000000, not inf"),
        (["delay", "clc", "-1"], "write a number from 0 to 3600, not -1"),
        (["sensors", "clc"], "write sensors HOST WORD [AGE]"),
        (["state"], "write state SERVICE STATE [MESSAGE...]"),
        (["address", "198.51.100.17", "nobdy"], "no account nobdy in this cloud"),
        (["address", "198.51.100.17", "tenant", "i-0"], "no instance i-0"),
        (["instance", "i-12345678", "runing"], "no instance state runing; there are pending, running, shutting-down, terminated, stopping, stopped, unreachable and gone"),
        (["volume", "zzz", "gone"], "no volume zzz"),
        (["volume", "vol-12345678", "creating", "long"], "write a number from -1000000000 to 1000000000, not long"),
        (["node-of", "i-none", "one-nc-1"], "no instance i-none"),
        (["serving", "asg", "1"], "no scalinggroup asg"),
        (["quota", "tenant", "ec2:quota-volumenumber", "5", "role/x"], "write user/NAME or group/NAME, not role/x"),
        (["bulk", "volume", "5"], "no kind volume: instances, volumes, snapshots, addresses"),
        (["bulk", "volumes", "999999999"], "write a number from 0 to 100000, not 999999999"),
        (["fault", "one-nc", "1008"], "no host one-nc: did you mean one-nc-2?"),
        (["fault", "one-nc-1", "1008", "spleen"], "no component spleen: cc, nc, cloud, sc, services, walrus, walrusbackend"),
        (["rotate", "clc", "../../etc/passwd"], "write the name of a log, not ../../etc/passwd"),
        (["log", "clc", "../x", "INFO", "text"], "write the name of a log, not ../x"),
        (["silence", "clc", "../1008"], "no fault ../1008: 1002, 1003, 1004, 1005, 1006, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1017, 1500, 1501, 2000, 2001, 2002, 2003"),
        (["kill", "one-nc-1", "java"], "no java on one-nc-1: sshd, chronyd, httpd, libvirtd, qemu-kvm, eucanetd, dhcpd"),
        (["cache", "one-nc-1", "999999"], "write a number from 0 to 2048, not 999999"),
        (["keys", "one-nc-1", "lost"], "no word lost: differ, same"),
        (["sensor", "one-nc-1", "euca.jvm.gc", "a", "1"], "no sensor euca.jvm.gc on one-nc-1: euca.components.nc.state, euca.components.nc.msgs.stats"),
    ],
)  # fmt: skip
def test_what_would_harm_the_cloud_or_do_nothing_is_refused(demo, tmp_path, words, said):
    with pytest.raises((ValueError, KeyError)) as caught:
        demo.tell(*words)
    assert caught.value.args[0] == said
    for host in ("clc", "one-nc-1"):
        demo.write(host, tmp_path / host)  # nothing of it is left that would come up later
    assert ask(demo, "DescribeAddresses", "compute", version="2014-09-01", **{"PublicIp.1": "verbose"}).status == 200


def test_words_may_be_strings_as_a_command_line_has_them(demo, tmp_path):
    demo.tell("fault", demo.address("one-nc-1"), "1008", "daemon=eucanetd", "3600")
    demo.tell("sensors", "one-nc-1", "stale", "300")
    demo.tell("sensor", "clc", "euca.jvm.memory.pools", "PS Old Gen.PercentOfMaxUsed", "97.5")
    demo.tell("conf", "one-nc-1", "SCHEDPOLICY")
    demo.tell("keys", "one-nc-1", "same")
    demo.tell("node-of", next(iter(demo.cloud.resources["Instance"])), "one-nc-2")
    for host in ("clc", "one-nc-1", "one-cc"):
        demo.write(host, tmp_path / host)
    node = tmp_path / "one-nc-1"
    assert "eucanetd is not running" in (node / "var/log/eucalyptus/nc-fault.log").read_text()
    assert "SCHEDPOLICY" not in (node / "etc/eucalyptus/eucalyptus.conf").read_text()
    pools = json.loads((tmp_path / "clc/run/eucalyptus/status/euca/jvm/memory/pools").read_text())
    assert pools["values"]["PS Old Gen.PercentOfMaxUsed"] == 97.5
    key = "var/lib/eucalyptus/keys/node-cert.pem"
    assert (node / key).read_text() == (tmp_path / "one-cc" / key).read_text()
    instance = next(iter(demo.cloud.resources["Instance"].values()))
    assert instance.node == demo.address("one-nc-2")
