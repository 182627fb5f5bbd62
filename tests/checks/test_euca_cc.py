# SPDX-License-Identifier: Apache-2.0
"""check_euca_cc: its judge by equality, the check against simulated clouds, and a cluster controller's own files."""

from __future__ import annotations

import json
import os
import re
import time

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, Clock, Failed, Run
from nephoscope.checks.eucalyptus.check_euca_cc import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import euca_sensor
from nephoscope.probes.axis2 import Services
from nephoscope.probes.euca_cc import Cc
from nephoscope.probes.euca_daemon import Running
from nephoscope.probes.euca_sensor import OFF, Messages, State
from nephoscope.probes.heartbeat import Component, Heartbeat

from tests.checks import euca_root

PAGE = Services("h:8774", 0.01, ("EucalyptusCC", "EucalyptusGL"), ())
SENSOR = "euca.components.cc.state"


def found(facts, *argv):
    return list(judge(facts, CHECK.parse(*argv)))


def bad(facts, *argv):
    return [one for one in found(facts, *argv) if isinstance(one, Finding) and one.state != OK]


def test_green_from_afar():
    assert found(Cc(PAGE)) == [
        Finding(OK, "EucalyptusCC", "is serving; state not visible from here"),
        Finding(OK, "", "EucalyptusCC is serving; state not visible from here"),
        Metric("time", 0.01),
    ]


def test_green_on_the_node():
    assert found(Cc(PAGE, Running("eucalyptus-cc", 6), State("ENABLED", "OK"), Messages(0.0, "", []), 12.0)) == [
        Finding(OK, "EucalyptusCC", "is serving"),
        Finding(OK, "", "EucalyptusCC is serving"),
        Metric("time", 0.01),
        Finding(OK, "eucalyptus-cc", "runs"),
        Metric("workers", 6),
        Finding(OK, "state", "is ENABLED"),
        Finding(OK, "self-test", "says OK"),
        Metric("view_age", 12.0),
        Metric("msg_fail", 0.0),
    ]


@pytest.mark.parametrize(
    "deployed, faulty, text",
    [
        (("EucalyptusGL",), (), "is not deployed: there is EucalyptusGL"),
        (("EucalyptusGL",), ("EucalyptusCC",), "is faulty: httpd could not load it"),
        (("EucalyptusCC2",), (), "is not deployed: there is EucalyptusCC2"),
        (("EucalyptusNC",), (), "is not deployed: there is EucalyptusNC"),
        ((), (), "is not deployed: there is no service at all"),
    ],
)
def test_a_page_without_it(deployed, faulty, text):
    assert bad(Cc(Services("h:8774", 0.1, deployed, faulty))) == [Finding(CRITICAL, "EucalyptusCC", text)]


@pytest.mark.parametrize(
    "component, text",
    [
        (("cluster", True, True, True), None),
        (("cluster", False, True, True), "is not enabled"),
        (("cluster", False, False, True), "is not registered on this host"),
        (("clusterservice", True, True, True), "is unknown to this version"),
    ],
)
def test_the_java_one(component, text):
    beat = Heartbeat("h:8773", 0.01, (Component(*component),))
    assert bad(Cc(beat)) == ([Finding(CRITICAL, "cluster", text)] if text else [])
    assert (Finding(OK, "", "cluster is enabled") in found(Cc(beat))) == (text is None)


@pytest.mark.parametrize(
    "word, state, standby",
    [
        ("ENABLED", OK, WARNING),
        ("DISABLED", CRITICAL, OK),
        ("STOPPED", CRITICAL, CRITICAL),
        ("NOTREADY", CRITICAL, CRITICAL),
        ("BROKEN", CRITICAL, CRITICAL),
        ("LOADED", WARNING, WARNING),
        ("INITIALIZED", WARNING, WARNING),
        ("PRIMORDIAL", WARNING, WARNING),
        ("UNKNOWN", UNKNOWN, UNKNOWN),
        ("SHUTDOWNCC", UNKNOWN, UNKNOWN),
    ],
)
def test_the_state_of_its_sensor(word, state, standby):
    cc = Cc(PAGE, state=State(word, "OK"))
    assert Finding(state, "state", f"is {word}") in found(cc)
    assert Finding(standby, "state", f"is {word}") in found(cc, "--standby")


@pytest.mark.parametrize("check, state", [("OK", OK), ("FAILED", CRITICAL), ("MAYBE", UNKNOWN)])
def test_its_self_test(check, state):
    """tools/status/nagios/check_component_health of upstream prints DOWN for FAILED, and exits with 0."""
    assert Finding(state, "self-test", f"says {check}") in found(Cc(PAGE, state=State("ENABLED", check)))


def test_what_is_switched_off_is_told_and_what_may_not_be_read_is_unknown():
    off = Failed(ABSENT, SENSOR, "read x", "No such file or directory", OFF)
    assert found(Cc(PAGE, state=off))[0] == Finding(OK, SENSOR, f"is not there: {OFF}")
    assert found(Cc(PAGE, state=off), "--mode", "state")[0] == off
    secret = Failed(NOT_ALLOWED, SENSOR, "read x", "Permission denied")
    assert found(Cc(PAGE, state=secret))[0] == secret


def test_nothing_runs():
    refused = Failed(UNREACHABLE, "h:8774", "GET /axis2/services", "Connection refused")
    assert found(Cc(refused, Running("eucalyptus-cc", 0))) == [
        refused,
        Finding(CRITICAL, "eucalyptus-cc", "does not run"),
        Metric("workers", 0),
    ]


def test_a_first_run_collects():
    assert found(Cc(PAGE, messages=Messages(COLLECTING, "", [])))[-1] == Metric("msg_fail", COLLECTING)


# ---- against simulated clouds


def first(outcome):
    """The first line without the perfdata; a waiting time without its digits."""
    return re.sub(r"in \d+\.\d s", "in N s", outcome.line.partition(" | ")[0])


def ask(demo, host="one-cc", *argv):
    return CHECK.run(["-H", demo.address(host), *argv])


@pytest.mark.parametrize(
    "version, line, path",
    [
        ("3.1.2", "EucalyptusCC is serving; state not visible from here", "/axis2/services"),
        ("3.4.3", "EucalyptusCC is serving; state not visible from here", "/axis2/services"),
        ("4.4.2", "EucalyptusCC is serving; state not visible from here", "/axis2/services"),
        ("5.1.0", "cluster is enabled", "/services/Heartbeat"),
    ],
)
def test_every_version_is_understood(version, line, path):
    with Demo(sample(version=version)) as demo:
        assert first(ask(demo)) == f"EUCA_CC OK - {line}"
        assert [(seen.method, seen.path) for seen in demo.requests] == [("GET", path)], "one request"


def test_the_java_one_that_is_not_enabled():
    with Demo(sample(version="5.1.0")) as demo:
        assert first(ask(demo, "one-cc", "--jvm")) == "EUCA_CC OK - cluster is enabled"
        demo.tell("state", "one-cc-1", "NOTREADY")
        assert first(ask(demo)) == "EUCA_CC CRITICAL - cluster is not enabled"
        assert first(ask(demo, "clc", "--jvm")) == "EUCA_CC CRITICAL - cluster is not registered on this host"
        demo.tell("stop", "one-cc")
        refused = "Connection refused (GET"
        assert first(ask(demo)) == f"EUCA_CC CRITICAL - {demo.address('one-cc')}:8774: {refused} /axis2/services)"
        line = f"EUCA_CC CRITICAL - {demo.address('one-cc')}:8773: {refused} /services/Heartbeat)"
        assert first(ask(demo, "one-cc", "--jvm")) == line


@pytest.fixture(scope="module")
def cloud():
    with Demo(sample()) as demo:
        yield demo


@pytest.fixture
def demo(cloud):
    yield cloud
    cloud.tell("heal", "one-cc")
    cloud.tell("start", "one-cc")


def test_a_storage_controller_on_the_same_host_does_not_hide_a_dead_httpd(demo):
    """Up to 4.4 the JVM of the storage controller lists `cluster` too: that is no Java cluster controller."""
    of = demo.address("clc")  # a JVM, and no httpd
    assert first(CHECK.run(["-H", of])) == f"EUCA_CC CRITICAL - {of}:8774: Connection refused (GET /axis2/services)"


@pytest.mark.parametrize(
    "word, line",
    [
        ("stop", "CRITICAL - {}: Connection refused (GET /axis2/services)"),
        ("hang", "CRITICAL - {}: no answer in N s (GET /axis2/services)"),
        ("drip", "CRITICAL - {}: no answer in N s (GET /axis2/services)"),
        ("error500", "CRITICAL - {}: HTTP 500 (GET /axis2/services)"),
        ("unavailable", "CRITICAL - {}: HTTP 503 (GET /axis2/services)"),
        ("cut", "CRITICAL - {}: the connection was cut before the answer was whole (GET /axis2/services)"),
        ("reset", "CRITICAL - {}: Connection reset by peer (GET /axis2/services)"),
        ("noise", "UNKNOWN - {}: no HTTP: BadStatusLine (GET /axis2/services)"),
        ("empty", "UNKNOWN - {}: not Axis2/C's list of services: '' (GET /axis2/services)"),
        ("login", "UNKNOWN - {}: HTTP 302, to https://sso.example/login (GET /axis2/services)"),
        ("huge", "UNKNOWN - {}: more than 1 MiB (GET /axis2/services)"),
        ("faulty", "CRITICAL - EucalyptusCC is faulty: httpd could not load it"),
        ("undeployed", "CRITICAL - EucalyptusCC is not deployed: there is no service at all"),
    ],
)
def test_how_a_host_may_fail(demo, word, line):
    demo.tell(word, "one-cc")
    begun = time.monotonic()
    outcome = ask(demo, "one-cc", "-t", "2")
    assert time.monotonic() - begun < 2.5
    assert first(outcome) == f"EUCA_CC {line.format(demo.address('one-cc') + ':8774')}"


@pytest.mark.parametrize("word, said", [("truncated", "the page ends too early: "), ("garbage", "not Axis2/C's"), ("html", "not Axis2/C's"), ("bomb", "not Axis2/C's")])  # fmt: skip
def test_an_answer_that_is_not_the_page(demo, word, said):
    demo.tell(word, "one-cc")
    outcome = ask(demo)
    assert outcome.state == UNKNOWN
    assert first(outcome).startswith(f"EUCA_CC UNKNOWN - {demo.address('one-cc')}:8774: {said}")


def test_slow(demo):
    demo.tell("delay", "one-cc", 0.3)
    assert re.fullmatch(r"EUCA_CC WARNING - time \d+ ms is above 100 ms", first(ask(demo, "one-cc", "-w", "0.1")))


# ---- on the node


@pytest.fixture
def node(demo, tmp_path):
    """The cluster controller's host: `node(...)` runs the check on it, `node.root` is where its files lie."""

    def run(*argv, shift=0.0):
        argv = ["-H", demo.address("one-cc"), "--local", "--state-dir", str(tmp_path / "state"), "--save", *argv]
        return CHECK.run(argv, root=str(run.root), clock=Clock(shift))

    def write():
        run.root = euca_root.of_demo(demo, "one-cc", tmp_path / "root")
        return run.root

    run.write = write
    write()
    yield run
    demo.cloud.hosts["one-cc"].store.clear()


def test_on_the_node(node):
    outcome = node()
    assert first(outcome) == "EUCA_CC OK - EucalyptusCC is serving, rates collecting"
    assert "[OK] state is ENABLED" in outcome.text
    assert [item.partition("=")[0] for item in outcome.perfdata] == ["time", "workers", "view_age"]


@pytest.mark.parametrize("word, line", [
    ("DISABLED", "CRITICAL - state is DISABLED"),
    ("NOTREADY", "CRITICAL - state is NOTREADY"),
    ("LOADED", "WARNING - state is LOADED"),
    ("GARBLED", "UNKNOWN - state is GARBLED"),
])  # fmt: skip
def test_the_sensor_knows_better_than_the_page(demo, node, word, line):
    demo.tell("sensor", "one-cc", SENSOR, "state", word)
    node.write()
    assert first(node()) == f"EUCA_CC {line}"


def test_a_self_test_that_failed(demo, node):
    demo.tell("sensor", "one-cc", SENSOR, "check", "FAILED")
    node.write()
    assert first(node()) == "EUCA_CC CRITICAL - self-test says FAILED"


def test_sensors_that_are_switched_off(demo, node, tmp_path):
    demo.tell("sensors", "one-cc", "off")
    import shutil

    shutil.rmtree(tmp_path / "root/run/eucalyptus/status")
    node.write()
    assert first(node()) == "EUCA_CC OK - EucalyptusCC is serving; state not visible from here"
    assert f"[OK] {SENSOR} is not there: {OFF}" in node().text
    assert first(node("--mode", "state")) == (
        f"EUCA_CC UNKNOWN - {SENSOR}: No such file or directory (read /run/eucalyptus/status/euca/components/cc/state): {OFF}"
    )


@pytest.mark.parametrize("word, said", [
    ("stale", "the last reading is 10 min old: its writer does not run, or hangs"),
    ("half", "is no JSON: "),
    ("garbage", "is no JSON: "),
])  # fmt: skip
def test_sensors_that_can_not_be_believed(demo, node, word, said):
    demo.tell("sensors", "one-cc", word)
    node.write()
    outcome = node("--mode", "state")
    assert outcome.state == UNKNOWN
    assert first(outcome).startswith(f"EUCA_CC UNKNOWN - {SENSOR}: {said}")
    assert node().state == UNKNOWN, "a state that was not learnt is not OK"


def test_a_sensor_of_the_future(node):
    line = first(node("--mode", "state", shift=-200))
    assert re.fullmatch(
        rf"EUCA_CC UNKNOWN - {SENSOR}: is 1[89]\d s in the future: compare the clocks \(read /run/eucalyptus/status/.*\)",
        line,
    )


def test_messages_that_fail(node):
    """`failure_count` is wrong in every C component: count - success_count is told, and only what happened since."""
    path = node.root / "run/eucalyptus/status/euca/components/cc/msgs/stats"

    def tell(count, success, at):
        stats = {"count": count, "success_count": success, "failure_count": count, "mean": 8, "min": 3, "max": 31}
        values = {"enabled": True, "DescribeInstances": stats}
        document = {
            "sensor": "euca.components.cc.msgs.stats",
            "timestamp": time.time() + at,
            "ttl": 61,
            "values": values,
        }
        path.write_text(json.dumps(document))

    tell(1000, 500, 0)
    assert first(node("--mode", "messages")) == "EUCA_CC OK - rates collecting"
    tell(1100, 595, 300)
    assert first(node("--mode", "messages", shift=300)) == "EUCA_CC OK - msg fail 5 %"
    tell(1200, 605, 600)
    line = node("--mode", "messages", shift=600).line
    assert line == "EUCA_CC WARNING - msg fail 90 % is above 10 % (90 of 100 DescribeInstances) | msg_fail=90%;10"


def test_messages_that_are_not_counted(node):
    """update_message_stats returns at once while the sensor is switched off: no message fails, and none is counted."""
    path = node.root / "run/eucalyptus/status/euca/components/cc/msgs/stats"
    document = json.loads(path.read_text())
    document["values"]["enabled"] = False
    path.write_text(json.dumps(document))
    assert first(node("--mode", "messages")) == (
        "EUCA_CC UNKNOWN - euca.components.cc.msgs.stats: it counts no messages"
    )


def test_a_view_that_is_old(demo, node):
    path = node.root / "run/eucalyptus/cc_global_network_info.xml"
    for age, said in (
        (702, "WARNING - view age 11.7 min is above 10 min"),
        (2402, "CRITICAL - view age 40 min is above 30 min"),
    ):
        os.utime(path, (time.time() - age,) * 2)
        assert first(node("--mode", "view")) == f"EUCA_CC {said}"


def test_no_view_at_all(demo, node):
    (node.root / "run/eucalyptus/cc_global_network_info.xml").unlink()
    euca_root.write(node.root / "proc/uptime", "3000.00 900.00\n")
    assert first(node("--mode", "view")) == (
        "EUCA_CC CRITICAL - view age 50 min is above 30 min (none since the host started)"
    )
    euca_root.write(node.root / "proc/uptime", "60.00 900.00\n")
    assert node("--mode", "view").line == "EUCA_CC OK - view age 60 s | view_age=60s;600;1800"
    demo.tell("conf", "one-cc", "VNET_MODE", "MANAGED")
    node.write()
    (node.root / "run/eucalyptus/cc_global_network_info.xml").unlink(missing_ok=True)
    assert first(node()) == "EUCA_CC OK - EucalyptusCC is serving, rates collecting"
    assert first(node("--mode", "view")) == (
        "EUCA_CC UNKNOWN - view: there is none (VNET_MODE MANAGED) (look at /run/eucalyptus/cc_global_network_info.xml)"
    )


@pytest.mark.parametrize("version, state", [
    ("4.0.2", OK), ("4.1.2", OK), ("3.4.3\n", OK), ("4.2.0", CRITICAL), ("4.4.2\n", CRITICAL), ("4.10", CRITICAL), ("", CRITICAL),
])  # fmt: skip
def test_before_4_2_no_view_is_left(node, version, state):
    """broadcast_network_info of 4.0 and 4.1 passes the view on and writes no file, in EDGE mode too."""
    (node.root / "run/eucalyptus/cc_global_network_info.xml").unlink()
    euca_root.write(node.root / "proc/uptime", "3000.00 900.00\n")
    euca_root.write(node.root / "etc/eucalyptus/eucalyptus-version", version)
    assert node().state == state
    if state == OK:
        assert f"[OK] view is not there: none is kept before 4.2: this is {version.strip()}" in node().text
        assert first(node("--mode", "view")) == (
            f"EUCA_CC UNKNOWN - view: none is kept before 4.2: this is {version.strip()}"
            " (look at /run/eucalyptus/cc_global_network_info.xml)"
        )


def test_the_httpd_of_somebody_else_is_not_it(demo, tmp_path):
    """A pid file, or an httpd with another configuration, proves nothing."""
    other = (77, "httpd", ["/usr/sbin/httpd", "-DFOREGROUND"])
    root = euca_root.make(tmp_path, processes=[other], conf="")
    euca_root.write(root / "usr/sbin/eucalyptus-cluster", "")
    euca_root.write(root / "run/eucalyptus/eucalyptus-cluster.pid", "77\n")
    outcome = CHECK.run(["-H", demo.address("one-cc"), "--local", "--mode", "process"], root=str(root))
    assert first(outcome) == "EUCA_CC CRITICAL - eucalyptus-cc does not run"


@pytest.mark.parametrize("comm", ["/run/eucalyptus/httpd-cc.conf", "/opt/eucalyptus/run/eucalyptus/httpd-cc.conf"])
def test_workers_are_counted(demo, tmp_path, comm):
    web = [(number, "httpd", ["/usr/sbin/httpd", "-f", comm]) for number in range(70, 76)]
    root = euca_root.make(tmp_path, processes=web)
    euca_root.write(root / "usr/sbin/eucalyptus-cluster", "")
    outcome = CHECK.run(["-H", demo.address("one-cc"), "--local", "--mode", "process"], root=str(root))
    assert outcome.line == "EUCA_CC OK - workers 6, eucalyptus-cc runs | workers=6"


def test_the_port_of_the_configuration(tmp_path):
    """Without -H this host is asked, at the port that eucalyptus.conf says."""
    root = euca_root.make(tmp_path, conf='CC_PORT="1"\n')
    euca_root.write(root / "usr/sbin/eucalyptus-cluster", "")
    assert first(CHECK.run(["--mode", "service"], root=str(root))) == (
        "EUCA_CC CRITICAL - 127.0.0.1:1: Connection refused (GET /axis2/services)"
    )


def test_where_eucalyptus_is_not_installed(tmp_path):
    assert first(CHECK.run([], root=str(tmp_path))) == (
        "EUCA_CC UNKNOWN - eucalyptus.conf: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf)"
    )


def test_a_sensor_that_may_not_be_read(node, monkeypatch):
    def refuse(run, path, **words):
        raise Failed(NOT_ALLOWED, words["of"], f"read {path}", "Permission denied")

    monkeypatch.setattr(euca_sensor.files, "text", refuse)
    with pytest.raises(Failed) as raised:
        euca_sensor.state(Run(3), {"EUCALYPTUS": "/", "run": "/run/eucalyptus"}, "cc")
    path = "/run/eucalyptus/status/euca/components/cc/state"
    cure = "membership of group eucalyptus-status"
    assert raised.value == Failed(NOT_ALLOWED, SENSOR, f"read {path}", "Permission denied", cure)


def test_keys_of_both_kinds_are_read(tmp_path):
    """C writes `state`, Java `State`: sensor_utils.py of upstream asked for "Check" and failed on every C component."""
    for keys in (("state", "check"), ("State", "Check")):
        values = dict(zip(keys, ("ENABLED", "OK")))
        document = {"sensor": SENSOR, "timestamp": time.time(), "ttl": 61, "values": values}
        euca_root.write(tmp_path / "run/eucalyptus/status/euca/components/cc/state", json.dumps(document))
        assert euca_sensor.state(Run(3, root=str(tmp_path)), {"run": "/run/eucalyptus"}, "cc") == State("ENABLED", "OK")


def test_a_configuration_that_may_not_be_read(demo, node, monkeypatch):
    real = os.open

    def opening(name, *words, **more):
        if str(name).endswith("/eucalyptus.conf"):
            raise PermissionError(13, "Permission denied", name)
        return real(name, *words, **more)

    monkeypatch.setattr(os, "open", opening)
    conf = (
        "/etc/eucalyptus/eucalyptus.conf: Permission denied (read /etc/eucalyptus/eucalyptus.conf):"
        " needs read permission for all, as its package gives it"
    )
    assert first(node()) == f"EUCA_CC UNKNOWN - {conf}"
    assert first(node("--mode", "view")) == f"EUCA_CC UNKNOWN - {conf}"
    demo.tell("stop", "one-cc")
    assert first(node()).startswith(f"EUCA_CC CRITICAL - {demo.address('one-cc')}:8774: Connection refused (GET ")
    assert conf in node().text


def test_the_java_one_on_its_host(tmp_path):
    """Without a C one here nothing is asked on 8774, and its process is the JVM."""
    with Demo(sample(version="5.1.0")) as demo:
        root = euca_root.of_demo(demo, "one-cc", tmp_path)
        outcome = CHECK.run(["-H", demo.address("one-cc"), "--local"], root=str(root))
        assert first(outcome) == "EUCA_CC OK - cluster is enabled", outcome.text
        assert "[OK] eucalyptus-cloud runs" in outcome.text
        assert [seen.path for seen in demo.requests] == ["/services/Heartbeat"]
        none = "only the C one has it, and none is installed here"
        assert f"[OK] state, messages, view is not there: {none}" in outcome.text
        argv = ["-H", demo.address("one-cc"), "--local", "--mode", "view"]
        assert first(CHECK.run(argv, root=str(root))) == f"EUCA_CC UNKNOWN - view: {none}"


@pytest.mark.parametrize("version", ["3.4.3", "4.1.2", "4.4.2", "5.1.0"])
def test_a_simulated_host_of_each_version(tmp_path, version):
    with Demo(sample(version=version)) as demo:
        root = euca_root.of_demo(demo, "one-cc", tmp_path / "root")
        euca_root.write(root / "proc/uptime", "90000.00 9000.00\n")
        argv = ["-H", demo.address("one-cc"), "--local", "--state-dir", str(tmp_path / "state"), "--save"]
        outcome = CHECK.run(argv, root=str(root))
        assert outcome.state == OK, outcome.text
