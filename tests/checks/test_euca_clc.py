# SPDX-License-Identifier: Apache-2.0
"""check_euca_clc: its judge by equality, the check against simulated clouds, and a cloud controller's own files."""

from __future__ import annotations

import re
import time

import pytest
from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.eucalyptus.check_euca_clc import CHECK, judge
from nephoscope.demo import Demo, heartbeat, sample
from nephoscope.plugin import CRITICAL, OK, WARNING, Finding, Metric
from nephoscope.probes.euca_clc import Clc
from nephoscope.probes.euca_daemon import Running
from nephoscope.probes.heartbeat import Component, Heartbeat

from tests.checks import euca_root


def beat(*components):
    return Heartbeat("h:8773", 0.01, tuple(Component(*one) for one in components))


UP, DOWN, ELSEWHERE = (True, True, True), (False, True, True), (False, False, True)


def found(facts, *argv):
    return list(judge(facts, CHECK.parse(*argv)))


def of(facts, name, *argv):
    return [one for one in found(facts, *argv) if isinstance(one, Finding) and one.of == name]


def test_green():
    clc = Clc(beat(("db", *UP), ("eucalyptus", *UP), ("storage", *ELSEWHERE)), Running("eucalyptus-cloud", 2), True)
    assert found(clc) == [
        Finding(OK, "eucalyptus", "is enabled"),
        Finding(OK, "", "eucalyptus is enabled"),
        Metric("time", 0.01),
        Finding(OK, "", "2 of 2 components of this host are enabled"),
        Metric("enabled", 2),
        Metric("total", 2),
        Finding(OK, "db", "is enabled"),
        Finding(OK, "eucalyptus-cloud", "runs"),
        Finding(OK, "database", "listens on port 8777"),
    ]


@pytest.mark.parametrize(
    "component, standby, finding",
    [
        (UP, False, Finding(OK, "eucalyptus", "is enabled")),
        (DOWN, False, Finding(CRITICAL, "eucalyptus", "is not enabled")),
        (ELSEWHERE, False, Finding(CRITICAL, "eucalyptus", "is not registered on this host: no cloud controller")),
        (None, False, Finding(CRITICAL, "eucalyptus", "is not registered on this host: no cloud controller")),
        (DOWN, True, Finding(OK, "eucalyptus", "is not enabled, as a standby should be")),
        (UP, True, Finding(WARNING, "eucalyptus", "is enabled: the standby has taken over")),
        (ELSEWHERE, True, Finding(CRITICAL, "eucalyptus", "is not registered on this host: no cloud controller")),
    ],
)
def test_the_cloud_controller_itself(component, standby, finding):
    """extras/nagios.sh of upstream looks at local= alone: a controller that is BROKEN or STOPPED is well to it."""
    rows = [("eucalyptus", *component)] if component else [("eucalyptus2", *UP)]
    assert of(Clc(beat(*rows), None, None), "eucalyptus", *(["--standby"] if standby else [])) == [finding]


IMAGE = "is not enabled: as long as its worker image is not installed, --exclude it"


@pytest.mark.parametrize(
    "name, component, argv, findings",
    [
        ("walrusbackend", ELSEWHERE, [], []),  # a separated cloud: it lives on another host
        ("walrusbackend", DOWN, [], [Finding(WARNING, "walrusbackend", "is not enabled")]),
        ("db", ELSEWHERE, [], [Finding(WARNING, "db", "is not registered on this host")]),
        ("imagingbackend", DOWN, [], [Finding(WARNING, "imagingbackend", IMAGE)]),
        ("imagingbackend", UP, [], [Finding(OK, "imagingbackend", "is enabled")]),
        ("objectstorage", ELSEWHERE, ["--expect", "ObjectStorage"], [Finding(CRITICAL, "objectstorage", "is not registered on this host")]),
        ("objectstorage", DOWN, ["--expect", "objectstorage"], [Finding(CRITICAL, "objectstorage", "is not enabled")]),
        ("objectstorage", UP, ["--expect", "objectstorage"], [Finding(OK, "objectstorage", "is enabled")]),
        ("walrusbackend", DOWN, ["--standby"], []),
        ("walrusbackend", DOWN, ["--standby", "--expect", "walrusbackend"], [Finding(CRITICAL, "walrusbackend", "is not enabled")]),
    ],
)  # fmt: skip
def test_the_other_components(name, component, argv, findings):
    assert of(Clc(beat(("eucalyptus", *UP), (name, *component)), None, None), name, *argv) == findings


def test_what_is_expected_and_unknown_here():
    clc = Clc(beat(("eucalyptus", *UP), ("walrusbackend", *UP), ("objectstorage", *UP)), None, None)
    for name in ("walrus", "storage"):  # never a part of a name
        assert of(clc, name, "--expect", name) == [Finding(CRITICAL, name, "is unknown to this version")]


def test_a_long_name_is_expected_by_its_whole_length():
    clc = Clc(beat(("eucalyptus", *UP), ("proxyclustercontroll", *UP)), None, None)
    name = "proxyclustercontroller"
    assert of(clc, name, "--expect", name) == [Finding(OK, name, "is enabled")]
    assert of(clc, "proxyclustercontroll", "--expect", name) == []


@pytest.mark.parametrize(
    "jvm, database, argv, findings",
    [
        (Running("eucalyptus-cloud", 0), True, [], [Finding(CRITICAL, "eucalyptus-cloud", "does not run")]),
        (
            Running("eucalyptus-cloud", 0, ", 1 stopped by a signal"), True, [],
            [Finding(CRITICAL, "eucalyptus-cloud", "does not run, 1 stopped by a signal")],
        ),
        (Running("eucalyptus-cloud", 1), False, [], [Finding(CRITICAL, "database", "does not listen on port 8777")]),
        (Running("eucalyptus-cloud", 1), False, ["--standby"], [Finding(WARNING, "database", "does not listen on port 8777")]),
    ],
)  # fmt: skip
def test_this_host(jvm, database, argv, findings):
    assert [one for one in found(Clc(None, jvm, database), *argv) if one.state != OK] == findings


def test_a_link_that_failed_is_handed_on():
    failed = Failed(UNREACHABLE, "h:8773", "GET /services/Heartbeat", "Connection refused")
    assert found(Clc(failed, None, True)) == [failed, Finding(OK, "database", "listens on port 8777")]


# ---- against simulated clouds


def first(outcome):
    """The first line without the perfdata; a waiting time without its digits."""
    return re.sub(r"in \d+\.\d s", "in N s", outcome.line.partition(" | ")[0])


def green(demo, less=0):
    """How many components this simulated cloud controller has, in words."""
    total = sum("local=true" in line for line in heartbeat.text(demo.cloud, "clc").splitlines())
    return f"{total - less} of {total} components of this host are enabled"


def ask(demo, host="clc", *argv):
    return CHECK.run(["-H", demo.address(host), *argv])


@pytest.mark.parametrize("version", ["3.1.2", "3.4.3", "4.1.2", "4.4.2", "5.1.0"])
def test_every_version_is_understood(version):
    with Demo(sample(version=version)) as demo:
        outcome = ask(demo, "clc", "--exclude", "imagingbackend", "--exclude", "loadbalancingbackend")
        assert outcome.state == OK, outcome.text
        time, enabled, total = outcome.perfdata
        assert re.fullmatch(r"time=[0-9.]+s;2", time)
        enabled, total = (int(item.partition("=")[2]) for item in (enabled, total))
        assert 8 < enabled <= total <= enabled + 2
        assert (
            first(outcome)
            == f"EUCA_CLC OK - eucalyptus is enabled, {enabled} of {total} components of this host are enabled"
        )
        assert [seen[1:] for seen in demo.requests] == [("GET", "/services/Heartbeat", "")]
        assert demo.connections("clc") == 1


@pytest.fixture(scope="module")
def cloud():
    with Demo(sample(split=True)) as demo:
        demo.tell("state", "imagingbackend@clc", "ENABLED")
        yield demo


@pytest.fixture
def demo(cloud):
    yield cloud
    cloud.tell("heal", "clc")
    cloud.tell("start", "clc")


def test_a_separated_cloud_is_green(demo):
    """Walrus, the storage controller and the user services live elsewhere, and this Heartbeat lists them as not local."""
    assert first(ask(demo)) == f"EUCA_CLC OK - eucalyptus is enabled, {green(demo)}"


@pytest.mark.parametrize("state", ["NOTREADY", "BROKEN", "STOPPED", "DISABLED", "LOADED", "GARBLED"])
def test_a_cloud_controller_that_is_not_enabled(demo, state):
    demo.tell("state", "eucalyptus@clc", state)
    try:
        assert first(ask(demo)) == "EUCA_CLC CRITICAL - eucalyptus is not enabled"
        line = f"EUCA_CLC OK - eucalyptus is not enabled, as a standby should be, {green(demo, 1)}"
        assert first(ask(demo, "clc", "--standby")) == line
    finally:
        demo.tell("state", "eucalyptus@clc", "ENABLED")
    assert (
        first(ask(demo, "clc", "--standby")) == "EUCA_CLC WARNING - eucalyptus is enabled: the standby has taken over"
    )


def test_an_internal_component_that_is_not_enabled(demo):
    demo.tell("state", "cloudwatchbackend@clc", "NOTREADY")
    try:
        assert first(ask(demo)) == "EUCA_CLC WARNING - cloudwatchbackend is not enabled"
    finally:
        demo.tell("state", "cloudwatchbackend@clc", "ENABLED")


def test_the_wrong_host(demo):
    assert first(ask(demo, "ufs", "--mode", "heartbeat")) == (
        "EUCA_CLC CRITICAL - eucalyptus is not registered on this host: no cloud controller"
    )


@pytest.mark.parametrize(
    "word, line",
    [
        ("stop", "CRITICAL - {}: Connection refused (GET /services/Heartbeat)"),
        ("hang", "CRITICAL - {}: no answer in N s (GET /services/Heartbeat)"),
        ("drip", "CRITICAL - {}: no answer in N s (GET /services/Heartbeat)"),
        ("error500", "CRITICAL - {}: HTTP 500 (GET /services/Heartbeat)"),
        ("unavailable", "CRITICAL - {}: HTTP 503 (GET /services/Heartbeat)"),
        ("cut", "CRITICAL - {}: the connection was cut before the answer was whole (GET /services/Heartbeat)"),
        ("reset", "CRITICAL - {}: Connection reset by peer (GET /services/Heartbeat)"),
        ("noise", "UNKNOWN - {}: no HTTP: BadStatusLine (GET /services/Heartbeat)"),
        ("empty", "UNKNOWN - {}: an empty answer (GET /services/Heartbeat)"),
        ("login", "UNKNOWN - {}: HTTP 302, to https://sso.example/login (GET /services/Heartbeat)"),
        ("huge", "UNKNOWN - {}: more than 1 MiB (GET /services/Heartbeat)"),
    ],
)
def test_how_a_host_may_fail(demo, word, line):
    of = f"{demo.address('clc')}:8773"
    demo.tell(word, "clc")
    before = demo.connections("clc")
    begun = time.monotonic()
    outcome = ask(demo, "clc", "-t", "2")
    assert time.monotonic() - begun < 2.5
    assert first(outcome) == f"EUCA_CLC {line.format(of)}"
    assert demo.connections("clc") - before == (word != "stop"), "asked once, whatever comes back"


@pytest.mark.parametrize(
    "word, said",
    [
        ("truncated", "it ends in the middle of a line: 'name="),
        ("garbage", "not a line of a Heartbeat: '\\x00\\x01"),
        ("html", "not a line of a Heartbeat: '<!DOCTYPE html>'"),
        ("bomb", "not a line of a Heartbeat: '<"),
    ],
)
def test_an_answer_that_is_no_heartbeat(demo, word, said):
    demo.tell(word, "clc")
    outcome = ask(demo)
    assert outcome.state == 3
    assert first(outcome).startswith(f"EUCA_CLC UNKNOWN - {demo.address('clc')}:8773: {said}")


def test_the_state_of_a_silent_host_can_be_chosen(demo):
    demo.tell("stop", "clc")
    assert ask(demo, "clc", "--unreachable-state", "warning").state == WARNING


def test_plain_http_and_tls_on_the_same_port(demo, tmp_path):
    certificate = str(demo.certificate(tmp_path / "cert.pem"))
    for words in ([], ["--tls", "--ca-file", certificate], ["--insecure"]):
        assert ask(demo, "clc", *words).state == OK
    assert first(ask(demo, "clc", "--tls")) == (
        f"EUCA_CLC UNKNOWN - {demo.address('clc')}:8773: certificate: self-signed certificate (GET /services/Heartbeat):"
        " needs its authority as --ca-file, or the certificate's --fingerprint"
    )


# ---- on the node


def local(demo, root, *argv):
    return CHECK.run(["-H", demo.address("clc"), "--local", *argv], root=str(root))


def test_on_the_node(demo, tmp_path):
    root = euca_root.make(tmp_path, processes=[euca_root.CLOUD], ports=[8773, 8777])
    assert first(local(demo, root)) == f"EUCA_CLC OK - eucalyptus is enabled, {green(demo)}"
    assert "[OK] eucalyptus-cloud runs" in local(demo, root).text
    assert "[OK] database listens on port 8777" in local(demo, root).text


def test_on_the_node_nothing_runs(demo, tmp_path):
    demo.tell("stop", "clc")
    root = euca_root.make(tmp_path, processes=[], ports=[22])
    assert first(local(demo, root)) == (
        f"EUCA_CLC CRITICAL - {demo.address('clc')}:8773: Connection refused (GET /services/Heartbeat),"
        " database does not listen on port 8777, eucalyptus-cloud does not run"
    )


def test_a_pid_file_proves_nothing(demo, tmp_path):
    """tools/status/nagios/check_euca_proc of upstream: a pid file whose number another process has by now is "UP" to it."""
    root = euca_root.make(tmp_path, processes=[(4711, "sshd", ["/usr/sbin/sshd", "-D"])], ports=[8777])
    (tmp_path / "run/eucalyptus").mkdir(parents=True)
    (tmp_path / "run/eucalyptus/eucalyptus-cloud.pid").write_text("4711\n")
    assert first(local(demo, root)) == "EUCA_CLC CRITICAL - eucalyptus-cloud does not run"


def test_its_cassandra_is_not_it(demo, tmp_path):
    """5.0 runs one beside the JVM, with paths of Eucalyptus in its command line."""
    argv = ["java", "-Dcassandra.logdir=/var/log/eucalyptus", "org.apache.cassandra.service.CassandraDaemon"]
    root = euca_root.make(tmp_path, processes=[(4711, "java", argv)], ports=[8777])
    assert first(local(demo, root)) == "EUCA_CLC CRITICAL - eucalyptus-cloud does not run"
    euca_root.process(
        root, 4712, "java", ["java", "-cp", "/usr/share/eucalyptus/*", "com.eucalyptus.bootstrap.SystemBootstrapper"]
    )
    assert local(demo, root).state == OK


def test_it_is_found_without_a_pid_file_and_below_another_home(demo, tmp_path):
    """The same script looks below a hard-coded /opt/eucalyptus, and for a pid file that systemd's unit does not write."""
    root = euca_root.make(tmp_path, processes=[euca_root.CLOUD], ports=[8777], home="/opt/eucalyptus")
    assert local(demo, root).state == OK


def test_processes_that_are_hidden(demo, tmp_path):
    root = euca_root.make(tmp_path, processes=[euca_root.CLOUD], ports=[8777], init=False)
    outcome = local(demo, root)
    assert first(outcome) == (
        "EUCA_CLC UNKNOWN - eucalyptus-cloud: it hides the processes of other users (hidepid) (look through /proc): needs membership"
        " of the group that the option gid= of the /proc mount names, or a /proc without hidepid"
    )


def test_where_eucalyptus_is_not_installed(tmp_path):
    outcome = CHECK.run([], root=str(tmp_path))
    assert first(outcome) == (
        "EUCA_CLC UNKNOWN - eucalyptus.conf: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf)"
    )
    assert outcome.absent


@pytest.mark.parametrize(
    "argv, said",
    [
        (["-H", "clc.example", "--mode", "database"],
         "mode database looks at the host that the check runs on, not at clc.example:"
         " run it there, by NRPE or an agent, without -H or with --local"),
        (["--expect", "storage=2"],
         "option --expect: 'storage=2' is no component type: a Heartbeat tells which run on a host, not how many"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(argv, said):
    assert CHECK.run(argv).line == f"EUCA_CLC UNKNOWN - {said}"


@pytest.mark.parametrize("version", ["3.4.3", "4.4.2", "5.1.0"])
def test_a_simulated_host_of_each_version(tmp_path, version):
    with Demo(sample(version=version)) as demo:
        root = euca_root.of_demo(demo, "clc", tmp_path)
        argv = ["--exclude", "imagingbackend", "--exclude", "loadbalancingbackend"]
        outcome = local(demo, root, *argv)
        assert outcome.state == OK, outcome.text
        demo.tell("kill", "clc", "postgres")
        demo.write("clc", root)
        assert first(local(demo, root, *argv)) == "EUCA_CLC CRITICAL - database does not listen on port 8777"
        demo.tell("kill", "clc", "java")
        demo.write("clc", root)
        assert "eucalyptus-cloud does not run" in local(demo, root, *argv).reason
