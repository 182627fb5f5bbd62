# SPDX-License-Identifier: Apache-2.0
"""The listeners: what comes over the wire, byte for byte where the source says so, and nothing left behind."""

from __future__ import annotations

import gc
import os
import re
import socket
import ssl
import threading
import time

import pytest
from nephoscope.demo import Demo, Unfit, sample, server, topology

from tests.demo.client import ask, fetch, raw, rows

VERSIONS = ("3.4.3", "4.1.2", "4.4.2", "5.1.0")


@pytest.fixture
def demo():
    with Demo(sample()) as cloud:
        yield cloud


def beat(demo: Demo, host: str = "clc") -> dict[str, tuple[str, ...]]:
    """Name -> (enabled, local, initialized)."""
    lines = fetch(demo, host, "/services/Heartbeat").text.splitlines()
    words = [[word.partition("=")[2].strip() for word in re.findall(r"\w+=\S+", line)] for line in lines]
    return {word[0]: tuple(word[1:]) for word in words}


# ---- life


def test_nothing_is_left_when_it_ends():
    with Demo(sample()) as first:
        fetch(first, "clc", "/services/Heartbeat")
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for failure in ("hang", "drip", "delay", "stop", "silent"):
        with Demo(sample()) as demo:
            links = [socket.create_connection((demo.address("clc"), 8773)) for _ in range(3)]
            links[0].sendall(b"GET /services/Heartbeat HTTP/1.1\r\n\r\n")
            demo.tell(failure, "clc", *(["60"] if failure == "delay" else []))
            if failure not in ("stop", "silent"):
                links.append(socket.create_connection((demo.address("clc"), 8773)))
                links[-1].sendall(b"GET /services/Heartbeat HTTP/1.1\r\n\r\n")
            address = demo.address("clc")
        for link in links:
            link.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, 8773), timeout=5)
        assert threading.active_count() == threads
        assert len(os.listdir("/proc/self/fd")) == files


def test_two_clouds_stand_side_by_side():
    with Demo(sample(version="4.4.2")) as one, Demo(sample(version="4.4.1")) as two:
        assert one.address("clc") != two.address("clc")
        assert fetch(one, "clc", "/x").headers["server"] == "Eucalyptus/4.4.2"
        assert fetch(two, "clc", "/x").headers["server"] == "Eucalyptus/4.4.1"


def test_a_cloud_that_is_not_up_says_so():
    with pytest.raises(RuntimeError, match="not up"):
        _ = Demo(sample()).requests


def test_what_was_asked_is_kept(demo):
    fetch(demo, "one-nc-1", "/axis2/services?x=1", port=8775)
    ask(demo, "DescribeServices")
    assert demo.requests == [
        ("one-nc-1", "GET", "/axis2/services", ""),
        ("clc", "POST", "/services/Empyrean", "DescribeServices"),
    ]
    assert (demo.connections("one-nc-1"), demo.connections("clc"), demo.connections("one-cc")) == (1, 1, 0)


def test_two_thousand_nodes_need_no_listener_each():
    before = len(os.listdir("/proc/self/fd"))
    with Demo(sample(zones=10, nodes=200)) as demo:
        assert len(os.listdir("/proc/self/fd")) - before < 110
        found = rows(ask(demo, "DescribeServices", ListAll="true", ByServiceType="node"))
        assert len(found) == 2000
        assert {row["localState"] for row in found} == {"ENABLED"}
        assert {row["partition"] for row in found} == set(topology.ZONE_NAMES)
        # The first of each zone listen, the last ones don't.
        assert fetch(demo, "ten-nc-1", "/axis2/services", port=8775).status == 200
        with pytest.raises(ConnectionRefusedError):
            fetch(demo, "ten-nc-200", "/axis2/services", port=8775)


# ---- Heartbeat


@pytest.mark.parametrize("version", VERSIONS)
def test_every_line_of_a_heartbeat_has_84_characters_and_a_name_of_20(version):
    with Demo(sample(version=version)) as demo:
        text = fetch(demo, "clc", "/services/Heartbeat").text
    line = re.compile(
        r"name=[a-z0-9-]+ *(?<=^name=.{20}) enabled=(true |false) {5} local=(true |false) {5} initialized=(true |false) {5}"
    )
    assert text.endswith("\n")
    for each in text[:-1].split("\n"):
        assert len(each) == 84
        assert line.fullmatch(each), each


def test_what_a_heartbeat_says_of_a_separated_cloud(demo):
    clc, cc = beat(demo, "clc"), beat(demo, "one-cc")
    assert set(clc) == set(cc)  # each JVM lists every component, wherever it lives
    assert clc["eucalyptus"] == ("true", "true", "true")
    assert cc["eucalyptus"] == ("false", "false", "true")
    assert clc["storage"] == ("false", "false", "true")
    assert cc["storage"] == ("true", "true", "true")
    assert cc["walrusbackend"] == ("false", "false", "false")
    assert cc["bootstrap"] == clc["bootstrap"] == ("true", "true", "true")
    demo.tell("state", "one-sc-1", "BROKEN")
    assert beat(demo, "one-cc")["storage"] == ("false", "true", "true")


def test_names_of_components_by_version():
    seen = {}
    for version in VERSIONS:
        with Demo(sample(version=version)) as demo:
            seen[version] = set(beat(demo))
    assert "walrus" in seen["3.4.3"]
    assert not {"walrusbackend", "objectstorage", "compute"} & seen["3.4.3"]
    assert {"walrusbackend", "objectstorage", "compute", "user-api"} <= seen["4.1.2"]
    assert "walrus" not in seen["4.1.2"]
    assert "reporting" in seen["4.1.2"] - seen["4.4.2"]
    assert "loadbalancingbackend" in seen["4.1.2"] - seen["4.4.2"]  # of just 20 characters
    assert "simplequeue" in seen["4.4.2"] - seen["4.1.2"]
    assert {"proxy-cluster", "rds"} <= seen["5.1.0"] - seen["4.4.2"]


def test_the_heartbeat_s_own_headers(demo):
    got = raw(demo, "clc", b"GET /services/Heartbeat HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    date = lines.pop(2)
    assert re.fullmatch(r"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert lines == [
        "HTTP/1.1 200 OK",
        "Content-Type: text/plain; charset=UTF-8",
        "Server: Eucalyptus/4.4.2",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]  # and the server did close: raw() came back


def test_a_heartbeat_takes_get_alone_and_no_query(demo):
    got = fetch(demo, "clc", "/services/Heartbeat", "POST", "x=1")
    assert (got.status, got.text) == (405, "")
    assert fetch(demo, "clc", "/services/Heartbeat?x=1").status == 404
    assert fetch(demo, "clc", "/any/where/services/Heartbeat").status == 200


@pytest.mark.parametrize(
    ("version", "server"), [("4.1.2", None), ("4.3.0", "Eucalyptus/4.3.0"), ("5.1.0", "Eucalyptus/5.1.0")]
)
def test_the_version_is_in_every_answer_since_4_3(version, server):
    with Demo(sample(version=version)) as demo:
        got = fetch(demo, "clc", "/services/Nothing")
    assert got.status == 404
    assert got.headers.get("server") == server
    assert got.headers["content-type"] == "text/plain; charset=UTF-8"
    assert got.text == (
        '<?xml version="1.0"?><Response><Errors><Error><Code>404 Not Found</Code><Message>unknown</Message></Error></Errors>'
        "<RequestID>unknown</RequestID></Response>"
    )


# ---- TLS


def test_tls_and_plain_http_on_the_same_port(demo, tmp_path):
    trusted = ssl.create_default_context(cafile=str(demo.certificate(tmp_path / "ca.pem")))
    place = (demo.address("one-cc"), 8773)
    with trusted.wrap_socket(socket.create_connection(place, timeout=10), server_hostname=place[0]) as secure:
        secure.sendall(b"GET /services/Heartbeat HTTP/1.1\r\nHost: x\r\n\r\n")
        assert secure.recv(15) == b"HTTP/1.1 200 OK"
    assert fetch(demo, "one-cc", "/services/Heartbeat").status == 200
    stranger = ssl.create_default_context()
    with socket.create_connection(place, timeout=10) as link, pytest.raises(ssl.SSLCertVerificationError):
        stranger.wrap_socket(link, server_hostname=place[0])


# ---- axis2


def test_the_page_of_a_node_and_of_a_cluster_controller(demo):
    node = fetch(demo, "one-nc-1", "/axis2/services", port=8775)
    assert node.headers["content-type"] == "text/html"
    assert node.text.startswith(
        '<html><head><title>Axis2C :: Services</title></head><body><font face="courier"><h2>Deployed Services</h2>'
        "<h3><u>EucalyptusNC</u></h3>"
    )
    assert "<li>ncRunInstance</li>" in node.text
    assert node.text.endswith("</font></body></html>\r\n")
    assert node.text.count("\n") == 1
    cluster = fetch(demo, "one-cc", "/axis2/services", port=8774)
    assert "<h3><u>EucalyptusCC</u></h3>" in cluster.text
    assert "EucalyptusNC" not in cluster.text
    assert fetch(demo, "one-nc-1", "/", port=8775).status == 404
    assert fetch(demo, "one-nc-1", "/axis2/services/EucalyptusNC?wsdl", port=8775).text == (
        "Unable to retrieve wsdl for this service"
    )


def test_a_broken_deployment(demo):
    demo.tell("faulty", "one-nc-1")
    deployed, _, faulty = fetch(demo, "one-nc-1", "/axis2/services", port=8775).text.partition("Faulty Services")
    assert "EucalyptusNC" not in deployed
    assert "EucalyptusNC" in faulty
    demo.tell("undeployed", "one-nc-1")
    assert "There are no services deployed" in fetch(demo, "one-nc-1", "/axis2/services", port=8775).text
    demo.tell("heal", "one-nc-1")
    assert "<u>EucalyptusNC</u>" in fetch(demo, "one-nc-1", "/axis2/services", port=8775).text


GET = b"GET /axis2/services HTTP/1.1\r\nHost: x\r\n\r\n"
GET_CLOSE = b"GET /axis2/services HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_a_node_serves_one_client_at_a_time(demo):
    address = (demo.address("one-nc-1"), 8775)
    with socket.create_connection(address, timeout=5) as first, socket.create_connection(address, timeout=5) as second:
        first.sendall(GET)
        answer = first.recv(65536)
        assert b"\r\nConnection: Keep-Alive\r\n" in answer
        assert b"\r\nKeep-Alive: timeout=30" in answer
        second.sendall(GET_CLOSE)
        second.settimeout(0.5)
        with pytest.raises(socket.timeout):  # connected, and not served as long as the first one stays
            second.recv(1)
        first.close()
        second.settimeout(5)
        assert second.recv(15) == b"HTTP/1.1 200 OK"
    started = time.monotonic()
    for _ in range(20):  # who closes holds nobody up
        assert raw(demo, "one-nc-1", GET_CLOSE, port=8775).startswith(b"HTTP/1.1 200 OK")
    assert time.monotonic() - started < 10


def test_a_cluster_controller_serves_eight(demo):
    address = (demo.address("one-cc"), 8774)
    links = [socket.create_connection(address, timeout=5) for _ in range(9)]
    try:
        for link in links:
            link.sendall(GET)
        for link in links[:8]:
            assert link.recv(15) == b"HTTP/1.1 200 OK"
        links[8].settimeout(0.5)
        with pytest.raises(socket.timeout):
            links[8].recv(1)
    finally:
        for link in links:
            link.close()


def test_in_5_x_the_cluster_controller_is_java():
    with Demo(sample(version="5.1.0")) as demo:
        assert beat(demo, "one-cc")["cluster"] == ("true", "true", "true")
        with pytest.raises(ConnectionRefusedError):
            fetch(demo, "one-cc", "/axis2/services", port=8774)


# ---- bad clients


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                                  b"GET / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", b"GET /" + b"x" * 300_000,
                                  CHUNKED + b"zz\r\nab\r\n", CHUNKED + b"-5\r\nab\r\n", CHUNKED + b"9" * 400_000])  # fmt: skip
def test_who_speaks_no_http_is_hung_up_on(demo, data):
    errors = []
    demo.loop.loop.set_exception_handler(lambda _, context: errors.append(context["message"]))
    try:
        assert raw(demo, "clc", data) == b""
    except (ConnectionResetError, BrokenPipeError):
        pass  # also a way of hanging up, on who still sends
    assert fetch(demo, "clc", "/services/Heartbeat").status == 200
    gc.collect()
    assert errors == []


def test_what_was_asked_is_not_kept_for_ever(demo):
    demo.loop.seen.extend([demo.loop.seen] * (server.REMEMBERED + 5))
    assert len(demo.requests) == server.REMEMBERED
    fetch(demo, "clc", "/" + "x" * 100_000)
    assert len(demo.requests[-1].path) == 200


def test_a_body_may_be_announced_or_come_in_chunks(demo):
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    got = raw(demo, "clc", head + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n")
    got = raw(demo, "clc", head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 404 Not Found\r\n")


# ---- topology


def test_a_file_makes_the_same_cloud_at_its_own_addresses(tmp_path):
    with Demo(sample(version="4.1.2", zones=2, nodes=3, split=True)) as one:
        path = one.topology(tmp_path / "topology.toml")
        services = {(s.kind, s.name, s.partition, s.host.address, s.state) for s in one.cloud.services}
    with Demo.of_file(path) as two:
        assert {(s.kind, s.name, s.partition, s.host.address, s.state) for s in two.cloud.services} == services
        assert two.address("one-sc") == one.address("one-sc")
        assert fetch(two, "ufs", "/services/Heartbeat").status == 200


FILE = """
version = "4.4.2"
[zones.one]
nodes = 3
[hosts.clc]
address = "127.62.0.1"
services = ["eucalyptus", "user-api:API_clc"]
[hosts.a]
address = "127.62.1.1"
zone = "one"
services = ["storage:one-sc-1", "cluster"]
[hosts.b]
address = "127.62.1.2"
zone = "one"
services = ["storage:one-sc-2"]
standby = ["storage:one-sc-2"]
[demo]
worker_images = true
bulk = { nodes = 4 }
"""


def test_a_file_with_a_standby_a_number_of_nodes_and_bulk(tmp_path):
    path = tmp_path / "topology.toml"
    path.write_text(FILE)
    cloud = Demo.of_file(path).cloud
    assert [(s.name, s.state) for s in cloud.services if s.kind == "storage"] == [
        ("one-sc-1", "ENABLED"),
        ("one-sc-2", "DISABLED"),
    ]
    assert cloud.find("one-cc-1").partition == "one"
    assert [host.bulk for host in cloud.hosts.values() if "-nc-" in host.name] == [True] * 7
    assert cloud.find("imagingbackend@clc").state == "ENABLED"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('address = "127.62.1.1"', 'address = "192.0.2.1"', "host a: 192.0.2.1 is not in 127.0.0.0/8, and the simulator listens nowhere else"),
        ('address = "127.62.1.1"', 'address = "nowhere"', "host a: Expected 4 octets in 'nowhere'"),
        ('address = "127.62.1.1"', 'address = "127.62.0.1"', "clc and a have the same address 127.62.0.1"),
        ('"cluster"]', '"clutser"]', "host a: no service type clutser in Eucalyptus 4.4.2"),
        ('"cluster"]', '"walrus"]', "host a: no service type walrus in Eucalyptus 4.4.2"),
        ('"cluster"]', '"cluster", "cluster:one-cc-1"]', "two services cluster:one-cc-1"),
        ('zone = "one"\nservices = ["storage:one-sc-1"', 'zone = "two"\nservices = ["storage:one-sc-1"', "host a is in zone two, which is not in [zones]"),
        ('zone = "one"\nservices = ["storage:one-sc-1"', 'services = ["storage:one-sc-1"', "host a: storage needs a zone"),
        ('"4.4.2"', '"9.1"', "no Eucalyptus version 9.1: 3.1 to 5.x, for example 3.4.3, 4.1.2, 4.4.2, 5.1.0"),
        ("nodes = 3", "nodes = -1", "zone one: 0 to 4096 nodes by their number, not -1 and 4"),
        ("nodes = 3", "nodes = 99999999", "zone one: 0 to 4096 nodes by their number, not 99999999 and 4"),
        ('"eucalyptus", ', "", "no host has the service eucalyptus: a cloud needs its controller"),
        ("{ nodes = 4 }", "5", "[demo] bulk is a table of numbers, not 5"),
        ("nodes = 4", 'nodes = "x"', "[demo] bulk nodes: a number up to 100000, not x"),
        ("nodes = 4", "sheep = 4", "[demo] bulk has no sheep: nodes, instances, volumes, snapshots, addresses"),
        ('"4.4.2"', '"new"', "no Eucalyptus version new: 3.1 to 5.x, for example 3.4.3, 4.1.2, 4.4.2, 5.1.0"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_cloud(tmp_path, old, new, said):
    path = tmp_path / "topology.toml"
    assert old in FILE
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(Unfit) as caught:
        Demo.of_file(path)
    assert str(caught.value) == said


def test_names_with_dots_come_back_and_those_of_other_folders_don_t(tmp_path):
    path = tmp_path / "topology.toml"
    path.write_text(FILE.replace("[hosts.clc]", '[hosts."clc.cloud.example"]'))
    demo = Demo.of_file(path)
    assert Demo.of_file(demo.topology(tmp_path / "again.toml")).plan == demo.plan
    for name in ("../../etc", "/etc", "..", "", "a\\nb"):
        path.write_text(FILE.replace("[hosts.clc]", f'[hosts."{name}"]'))
        with pytest.raises(Unfit, match="is no name of a host or zone"):
            Demo.of_file(path)


def test_a_file_that_is_none(tmp_path):
    path = tmp_path / "topology.toml"
    path.write_text("[hosts")
    with pytest.raises(Unfit, match=r"topology\.toml: "):
        Demo.of_file(path)
    path.write_text("[hosts.a]\nservices = []\n")
    with pytest.raises(Unfit, match="KeyError 'address'"):
        Demo.of_file(path)
    with pytest.raises(Unfit, match="1 to 10 zones, not 11"):
        sample(zones=11)


def test_an_address_that_is_taken_is_an_error_for_a_file(tmp_path):
    with Demo(sample()) as demo:
        path = demo.topology(tmp_path / "topology.toml")
        with pytest.raises(OSError, match="Address already in use"):
            Demo.of_file(path).start()
    threads = [thread.name for thread in threading.enumerate()]
    assert "nephoscope-demo" not in threads
