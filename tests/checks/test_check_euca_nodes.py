# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import subprocess
import sys

import pytest
from nephoscope.base import NOT_ALLOWED, Clock, Failed
from nephoscope.checks.eucalyptus.check_euca_nodes import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.euca_nodes import Node, Nodes, Zone

RIGHT = (
    "a user of account eucalyptus, or a role of it (4.0+) with "
    '{"Effect":"Allow","Action":["euserv:Describe*","ec2:Describe*"],"Resource":"*"}'
)

NOT_TOLD = "what never was there is not missed without --topology"
SILENT = "the node is not responding to the cluster controller"


def judged(*zones, **words):
    return list(judge(Nodes(zones, **{"told": True, **words}), CHECK.parse()))


def test_green():
    assert judged(Zone("one", (Node("one", "a", "ENABLED"), Node("one", "b", "ENABLED", "fine", False, 7)))) == [
        Finding(OK, "one/a", "is ENABLED"),
        Finding(OK, "one/b", "is ENABLED, and not in the topology, 7 instances on it"),
        Metric("instances", 7, "one/b"),
        Metric("enabled", 2, "one"),
        Metric("not_enabled", 0, "one"),
        Metric("not_enabled_share", 0.0, "one"),
        Finding(OK, "", "2 of 2 nodes enabled in one"),
    ]


@pytest.mark.parametrize(
    ("state", "message", "code", "text"),
    [
        ("NOTREADY", SILENT, WARNING, f"is NOTREADY: {SILENT}"),
        ("NOTREADY", "", WARNING, "is NOTREADY"),
        ("STOPPED", "the node is not accepting new instances", WARNING, "is STOPPED: the node is not accepting new instances"),
        ("DISABLED", "", WARNING, "is DISABLED"),
        ("BROKEN", "", WARNING, "is BROKEN"),
        ("BUGGY", "", WARNING, "is BUGGY"),
        ("LOADED", "", WARNING, "is LOADED"),
        ("INITIALIZED", "", WARNING, "is INITIALIZED"),
        ("PRIMORDIAL", "", WARNING, "is PRIMORDIAL"),
        ("n/a: x.y.Z", "", WARNING, "is n/a: x.y.Z"),
        ("WEIRD", "m", UNKNOWN, "is in a state that is not understood: 'WEIRD'"),
        ("enabled", "", UNKNOWN, "is in a state that is not understood: 'enabled'"),
        ("", "", UNKNOWN, "is in a state that is not understood: ''"),
    ],
)  # fmt: skip
def test_every_state(state, message, code, text):
    assert judged(Zone("one", (Node("one", "a", state, message),)))[0] == Finding(code, "one/a", text)


def test_missing_lacking_and_vanished_count_as_not_enabled():
    failed = Failed(NOT_ALLOWED, "", "DescribeInstances", "no")
    zones = (
        Zone("one", (Node("one", "a", "ENABLED"),), ("b", "c"), vanished={"d": 600.0}),
        Zone("two", (Node("two", "e", "ENABLED"),) * 6, lacking=2),
        Zone("void"),
    )
    found = judged(*zones, failures=(failed,), told=False)
    assert [thing for thing in found if not (isinstance(thing, Finding) and thing.state == OK)] == [
        failed,
        Finding(CRITICAL, "one/b", "is missing: the topology has it, the cloud does not list it"),
        Finding(CRITICAL, "one/c", "is missing: the topology has it, the cloud does not list it"),
        Finding(WARNING, "one/d", "vanished from the list, it was there 10 min ago"),
        Metric("enabled", 1, "one"),
        Metric("not_enabled", 3, "one"),
        Metric("not_enabled_share", 75.0, "one"),
        Finding(CRITICAL, "two", "lists 6 of the 8 nodes that it should have"),
        Metric("enabled", 6, "two"),
        Metric("not_enabled", 2, "two"),
        Metric("not_enabled_share", 25.0, "two"),
        Metric("enabled", 0, "void"),
        Metric("not_enabled", 0, "void"),
        Metric("not_enabled_share", 0.0, "void"),
    ]
    assert found[-1] == Finding(OK, "", f"7 of 7 nodes enabled in one, two, void; {NOT_TOLD}")


# ---- against the simulator


class Cloudy:
    """A simulated cloud, and runs of the check against it."""

    def __init__(self, demo, folder):
        self.demo, self.folder = demo, folder
        self.topology = str(demo.topology(folder / "topology.toml"))
        self.tell, self.address = demo.tell, demo.address
        self.keys = {name: str(demo.credentials(folder / name, user=name)) for name in ("admin", "monitor", "nobody")}

    def run(self, *argv, user="monitor", topology=True, clock=None):
        words = ["--credentials", self.keys[user], "--state-dir", str(self.folder / "state")]
        words += ["--topology", self.topology] if topology else []
        outcome = CHECK.run([*words, *argv], clock=clock)
        assert "bug in" not in outcome.text, outcome.text
        return outcome

    def line(self, *argv, **words):
        return self.run(*argv, **words).line.partition(" | ")[0]


@pytest.fixture
def cloud(request, tmp_path):
    with Demo(sample(**getattr(request, "param", {"zones": 2, "nodes": 12}))) as demo:
        yield Cloudy(demo, tmp_path)


ONE = ("clc", "POST", "/services/Empyrean", "DescribeServices")


@pytest.mark.parametrize(
    "cloud", [{"version": v, "zones": 2} for v in ("3.4.3", "4.1.2", "4.4.2", "5.1.0")], indirect=True, ids=str
)
def test_every_version_is_green_with_one_request(cloud):
    outcome = cloud.run()
    assert outcome.line.startswith("EUCA_NODES OK - 4 of 4 nodes enabled in one, two | ")
    assert outcome.perfdata == [
        "one_enabled=2;;1:", "one_not_enabled=0", "one_not_enabled_share=0%;;10",
        "two_enabled=2;;1:", "two_not_enabled=0", "two_not_enabled_share=0%;;10",
    ]  # fmt: skip
    assert [tuple(seen) for seen in cloud.demo.requests] == [ONE]
    assert cloud.line(topology=False) == f"EUCA_NODES OK - 4 of 4 nodes enabled in one, two; {NOT_TOLD}"


def test_one_node_is_a_warning_and_a_tenth_of_a_zone_critical(cloud):
    cloud.tell("silent", "one-nc-1")
    first, second = cloud.address("one-nc-1"), cloud.address("one-nc-2")
    assert cloud.line() == f"EUCA_NODES WARNING - one/{first} is NOTREADY: {SILENT}"
    cloud.tell("state", "one-nc-2", "STOPPED")
    assert cloud.line() == (
        f"EUCA_NODES CRITICAL - one not enabled share 16.7 % is above 10 %, WARNING: one/{first} is NOTREADY: {SILENT},"
        f" one/{second} is STOPPED: the node is not accepting new instances"
    )
    assert cloud.run("-c", "20").state == WARNING
    assert cloud.run("--exclude", f"one/{first}", "--exclude", f"one/{second}").state == OK


@pytest.mark.parametrize("cloud", [{"zones": 1, "nodes": 2}], indirect=True)
def test_a_zone_without_any(cloud):
    cloud.tell("state", "one-nc-1", "NOTREADY", "no KVM")
    cloud.tell("state", "one-nc-2", "WEIRD")
    first, second = cloud.address("one-nc-1"), cloud.address("one-nc-2")
    assert cloud.line() == (
        "EUCA_NODES CRITICAL - one enabled 0 is below 1, one not enabled share 100 % is above 10 %,"
        f" WARNING: one/{first} is NOTREADY: no KVM,"
        f" UNKNOWN: one/{second} is in a state that is not understood: 'WEIRD'"
    )


def test_a_node_that_its_controller_no_longer_reports(cloud):
    address = cloud.address("one-nc-3")
    assert cloud.run(topology=False).state == OK
    cloud.tell("silent", "one-nc-3")
    assert cloud.line() == f"EUCA_NODES WARNING - one/{address} is NOTREADY: {SILENT}"
    cloud.tell("clock", 601)
    assert cloud.line() == (
        f"EUCA_NODES CRITICAL - one/{address} is missing: the topology has it, the cloud does not list it"
    )
    # without a topology, what an earlier run saw is missed for a day
    assert cloud.line(topology=False, clock=Clock(660)) == (
        f"EUCA_NODES WARNING - one/{address} vanished from the list, it was there 11 min ago"
    )
    assert cloud.line(topology=False, clock=Clock(80000)).startswith("EUCA_NODES WARNING - one/")
    assert cloud.line(topology=False, clock=Clock(86500)) == (
        f"EUCA_NODES OK - 23 of 23 nodes enabled in one, two; {NOT_TOLD}"
    )


def test_a_zone_whose_controller_is_silent_vanishes_whole(cloud):
    assert cloud.run(topology=False).state == OK
    cloud.tell("stop", "two-cc")
    cloud.tell("clock", 601)
    assert cloud.line().startswith(
        "EUCA_NODES CRITICAL - two enabled 0 is below 1, two not enabled share 100 % is above 10 %,"
        f" two/{cloud.address('two-nc-1')} is missing: "
    )
    assert cloud.line(topology=False, clock=Clock(660)).startswith(
        "EUCA_NODES CRITICAL - two enabled 0 is below 1, two not enabled share 100 % is above 10 %, WARNING: two/"
    )


def test_a_zone_that_is_left_out_whole_has_no_opinion(cloud):
    for topology in (True, False):
        outcome = cloud.run("--exclude", "two/*", topology=topology)
        assert outcome.state == OK
        assert outcome.reason.startswith("12 of 12 nodes enabled in one")
        assert "left out by --include/--exclude: 12 (two/" in outcome.text
    assert cloud.run("--include", "one/*").reason == "12 of 12 nodes enabled in one"
    assert cloud.run("--include", "three/*").state == UNKNOWN, "nothing is left"


@pytest.mark.parametrize("cloud", [{"zones": 1, "nodes": 2}], indirect=True)
def test_a_topology_may_give_only_the_number(cloud):
    path = cloud.folder / "numbers.toml"
    cloud.topology = str(path)
    path.write_text("[zones.one]\nnodes = 2\n")
    assert cloud.line() == "EUCA_NODES OK - 2 of 2 nodes enabled in one"
    path.write_text("[zones.one]\nnodes = 3\n[zones.two]\nnodes = 1\n")
    assert cloud.line() == (
        "EUCA_NODES CRITICAL - one lists 2 of the 3 nodes that it should have, one not enabled share 33.3 % is above 10 %,"
        " two lists 0 of the 1 nodes that it should have, two enabled 0 is below 1,"
        " two not enabled share 100 % is above 10 %"
    )


@pytest.mark.parametrize("cloud", [{"zones": 1, "nodes": 0}], indirect=True)
def test_no_node_at_all(cloud):
    """An empty list is also what a missing right gives: the clusters show which of both it is."""
    assert cloud.line(topology=False) == "EUCA_NODES CRITICAL - one enabled 0 is below 1"
    asked = [(seen.path, seen.action) for seen in cloud.demo.requests]
    assert asked == [
        ("/services/Empyrean", "DescribeServices"),
        ("/services/Configuration", "DescribeNodes"),
        ("/services/Empyrean", "DescribeServices"),
    ]
    user = cloud.demo.user("nobody")
    cloud.demo.cloud.users[user.access] = user._replace(allowed=("euserv:*",))
    text = "no node and no cluster is shown, as to a user outside account eucalyptus (DescribeServices): needs " + RIGHT
    assert cloud.line(topology=False, user="nobody") == f"EUCA_NODES UNKNOWN - {text}"


@pytest.mark.parametrize("cloud", [{"version": "3.1.2", "zones": 1, "nodes": 2}], indirect=True)
def test_before_3_4_the_configuration_service_knows_the_nodes(cloud):
    cloud.tell("silent", "one-nc-1")
    address = cloud.address("one-nc-1")
    assert cloud.line("-c", "60", user="admin") == f"EUCA_NODES WARNING - one/{address} is NOTREADY: {SILENT}"
    assert [(seen.path, seen.action) for seen in cloud.demo.requests] == [("/services/Configuration", "DescribeNodes")]


def test_instances_on_each_node(cloud):
    outcome = cloud.run("--instances")
    assert outcome.state == OK, outcome.text
    values = dict(item.partition(";")[0].split("=") for item in outcome.perfdata)
    assert 0 < int(values["instances"]) <= int(values["instances_sum"])
    assert [seen.action for seen in cloud.demo.requests] == [
        "DescribeServices", "DescribeAvailabilityZones", "DescribeInstanceTypes", "DescribeInstances",
    ]  # fmt: skip
    cloud.tell("silent", "one-nc-1")
    text = cloud.run("--instances").text
    assert f"one/{cloud.address('one-nc-1')} is NOTREADY, " in text
    assert f" instances on it: {SILENT}" in text


def test_instances_on_a_node_that_vanished_are_told(cloud):
    """Regression: they were in no count, and the sum was less than what the cloud says it runs."""
    address = cloud.address("one-nc-1")
    (count,) = re.findall(rf"one/{address} is ENABLED, (\d+) instances on it", cloud.run("--instances", "-v").text)
    cloud.tell("silent", "one-nc-1")
    cloud.tell("clock", 601)
    outcome = cloud.run("--instances", topology=False, clock=Clock(90000))  # long forgotten
    said = f"{count} instances are on hosts that are not listed as nodes: {address} (DescribeInstances)"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)


@pytest.mark.parametrize("cloud", [{"zones": 2, "nodes": 2}], indirect=True)
def test_a_zone_of_which_the_topology_says_nothing(cloud):
    cloud.topology = str(cloud.folder / "less.toml")
    for text in ("[zones.one]\nnodes = 2\n[zones.two]\n", "[zones.one]\nnodes = 2\n"):
        (cloud.folder / "less.toml").write_text(text)
        assert cloud.line() == "EUCA_NODES OK - 4 of 4 nodes enabled in one, two; the topology has no nodes for two"


@pytest.mark.parametrize("cloud", [{"version": "4.1.2", "zones": 2, "nodes": 12}], indirect=True)
def test_instances_that_may_not_be_seen_are_not_counted(cloud):
    """To who lacks the right Eucalyptus may answer with an empty list: a number, and a wrong one."""
    user = cloud.demo.user("monitor")
    cloud.demo.cloud.users[user.access] = user._replace(allowed=("euserv:*",))
    outcome = cloud.run("--instances")
    assert outcome.state == UNKNOWN, outcome.text
    text = f"{cloud.address('clc')}:8773: HTTP 403: UnauthorizedOperation (DescribeAvailabilityZones): needs {RIGHT}"
    assert outcome.reason == text
    assert not any(item.startswith("instances") for item in outcome.perfdata)
    assert "one_enabled=12;;1:" in outcome.perfdata, "what was seen is told all the same"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("hang", "CRITICAL - {at}: no answer in 1.0 s (DescribeServices)"),
        ("drip", "CRITICAL - {at}: no answer in 1.0 s (DescribeServices)"),
        ("stop", "CRITICAL - {at}: Connection refused (DescribeServices)"),
        ("cut", "CRITICAL - {at}: the connection was cut before the answer was whole (DescribeServices)"),
        ("error500", "CRITICAL - {at}: HTTP 500: An internal error has occurred (DescribeServices)"),
        ("html", "UNKNOWN - {at}: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it (DescribeServices)"),
        ("bomb", "UNKNOWN - {at}: the answer has a document type or entities: refused (DescribeServices)"),
    ],
)  # fmt: skip
def test_a_cloud_that_fails(cloud, failure, said):
    cloud.tell(failure, "clc")
    assert cloud.line("-t", "2") == f"EUCA_NODES {said.format(at=cloud.address('clc') + ':8773')}"


def test_who_may_not_look(cloud):
    assert cloud.line(user="nobody") == (
        f"EUCA_NODES UNKNOWN - {cloud.address('clc')}:8773: HTTP 403: Forbidden (DescribeServices): needs {RIGHT}"
    )


# ---- 2,000 nodes

LARGE = {"zones": 10, "nodes": 200}
CHILD = """
import sys
from nephoscope import catalogue
outcome = catalogue.load(sys.argv[1]).run(sys.argv[2:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]), outcome.line)
"""


@pytest.mark.parametrize("cloud", [LARGE], indirect=True, ids=["10x200"])
@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("check_euca_nodes", (), "2000 of 2000 nodes enabled in eight, five, "),
        ("check_euca_services", ("--exclude", "imagingbackend", "--views", "all"), " services, 2000 of 2000 nodes enabled, "),
    ],
)  # fmt: skip
def test_two_thousand_nodes_take_less_than_150_mb(cloud, name, more, said):
    """VmHWM, not getrusage: ru_maxrss of a child begins with what its parent had (man getrusage, vfork)."""
    words = [
        "--credentials",
        cloud.keys["monitor"],
        "--topology",
        cloud.topology,
        "--state-dir",
        str(cloud.folder),
        *more,
    ]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, name, *words, "-t", "60"], capture_output=True, text=True, timeout=120
    )
    kilobytes, _, line = done.stdout.partition(" ")
    assert " OK - " in line, done
    assert said in line
    assert int(kilobytes) < 150_000
    hosts = [seen.host for seen in cloud.demo.requests]
    assert len(hosts) == len(set(hosts)), "no host is asked twice"


@pytest.mark.parametrize("cloud", [LARGE], indirect=True, ids=["10x200"])
def test_two_thousand_nodes_that_fail_stay_under_the_cap_worst_first(cloud):
    for service in cloud.demo.cloud.services:
        if service.kind == "node" and service.name != cloud.address("two-nc-7"):
            service.state, service.message = "NOTREADY", "x" * 300
    cloud.tell("unregister", cloud.address("two-nc-7"))
    for more in ((), ("-v",), ("--format", "json")):
        outcome = cloud.run("-t", "60", *more)
        assert outcome.state == CRITICAL
        if not more or more == ("-v",):
            assert len(outcome.line.encode()) <= 4096
            assert len(outcome.text.encode()) <= 60 << 10
            assert outcome.line.startswith("EUCA_NODES CRITICAL - eight enabled 0 is below 1, ")
    text = cloud.run("-t", "60").text
    assert f"[CRITICAL] two/{cloud.address('two-nc-7')} is missing: the topology has it" in text
    assert "… and " in text.splitlines()[0]
    assert " more (-v shows them)" in text
