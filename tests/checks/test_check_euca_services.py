# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, Clock, Failed
from nephoscope.checks.eucalyptus.check_euca_services import CHECK, WORDS, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.euca_services import Cloud, Service

RIGHT = (
    "a user of account eucalyptus, or a role of it (4.0+) with "
    '{"Effect":"Allow","Action":"euserv:Describe*","Resource":"*"}'
)

NOT_TOLD = "what never was there is not missed without --topology or --expect"


def service(kind, zone, name, state):
    return Service(kind, zone, name, state=state)


def findings(cloud, *argv):
    return [found for found in judge(cloud, CHECK.parse(*argv)) if isinstance(found, Finding)]


def test_green():
    cloud = Cloud(
        (service("storage", "one", "sc", "ENABLED"), service("compute", "A", "A.compute", "ENABLED")),
        {"one": (3, 4)},
        views=2,
        told=True,
    )
    assert list(judge(cloud, CHECK.parse())) == [
        Finding(OK, "storage sc", "is ENABLED"),
        Finding(OK, "compute A.compute", "is ENABLED"),
        Metric("starting", 0.0, ""),
        Metric("broken", 0),
        Metric("notready", 0),
        Metric("views", 2),
        Metric("enabled", 1, "compute"),
        Metric("enabled", 1, "storage_one"),
        Metric("enabled", 3, "node_one"),
        Finding(OK, "", "2 services, 3 of 4 nodes enabled, 2 views"),
    ]


def state_of(of, cloud):
    return next(found.state for found in findings(cloud) if found.of == of)


@pytest.mark.parametrize(
    ("state", "alone", "in_pair", "among_others"),
    [
        # what is seen        alone     twin ENABLED  others of a user service ENABLED (facts/2.4, row by row)
        ("ENABLED", OK, CRITICAL, OK),
        ("DISABLED", CRITICAL, OK, OK),
        ("STOPPED", CRITICAL, WARNING, WARNING),
        ("NOTREADY", CRITICAL, WARNING, WARNING),
        ("BROKEN", CRITICAL, WARNING, WARNING),
        ("n/a: java.lang.Exception", CRITICAL, WARNING, WARNING),
        ("BUGGY", CRITICAL, WARNING, WARNING),
        ("LOADED", WARNING, WARNING, WARNING),
        ("INITIALIZED", WARNING, WARNING, WARNING),
        ("PRIMORDIAL", WARNING, WARNING, WARNING),
        ("RUNNING", UNKNOWN, UNKNOWN, UNKNOWN),
        ("", UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_the_state_of_every_word(state, alone, in_pair, among_others):
    one = service("storage", "one", "a", state)
    assert state_of("storage a", Cloud((one,))) == alone
    assert state_of("storage a", Cloud((one, service("storage", "two", "b", "ENABLED")))) == alone, "not its zone"
    assert state_of("storage a", Cloud((one, service("storage", "one", "b", "ENABLED")))) == in_pair
    user = service("compute", "A", "A.compute", state)
    assert state_of("compute A.compute", Cloud((user,))) == alone
    other = service("compute", "B", "B.compute", "ENABLED")
    assert state_of("compute A.compute", Cloud((user, other))) == among_others


@pytest.mark.parametrize(("standby", "state"), [(frozenset(), WARNING), (frozenset({"objectstorage a"}), OK)])
def test_an_object_gateway_that_is_disabled_lost_its_provider(standby, state):
    pair = (service("objectstorage", "A", "a", "DISABLED"), service("objectstorage", "B", "b", "ENABLED"))
    assert state_of("objectstorage a", Cloud(pair, standby=standby)) == state
    assert state_of("objectstorage a", Cloud(pair[:1], standby=standby)) == CRITICAL


@pytest.mark.parametrize("kind", ["imagingbackend", "loadbalancingbackend"])
def test_workers_without_an_image_are_only_a_warning(kind):
    assert state_of(f"{kind} a", Cloud((service(kind, "", "a", "NOTREADY"),))) == WARNING
    assert state_of(f"{kind} a", Cloud((service(kind, "", "a", "STOPPED"),))) == CRITICAL


def test_every_way_of_standing_has_a_state():
    assert set(WORDS) == {"serves", "standby", "starting", "worker", "lessened", "unserved", "split", "unknown"}


def test_what_is_missing_vanished_split_expected_and_starting():
    failed = Failed(UNREACHABLE, "ufs", "DescribeServices", "Connection refused")
    cloud = Cloud(
        missing={"storage sc": "in zone one on host h"},
        vanished={"user-api API": 1200.0},
        split={"cluster cc": "ENABLED for a, NOTREADY for b"},
        starting={"storage x": 30.0},
        failures=(failed,),
    )
    assert list(judge(cloud, CHECK.parse("--expect", "compute=2"))) == [
        failed,
        Finding(CRITICAL, "storage sc", "is missing: it should be in zone one on host h"),
        Finding(WARNING, "user-api API", "is no longer listed, it was 20 min ago"),
        Finding(CRITICAL, "cluster cc", "is ENABLED for a, NOTREADY for b: split view"),
        Finding(CRITICAL, "compute", "has 0 ENABLED, 2 expected"),
        Metric("starting", 30.0, "storage x"),
        Metric("broken", 0),
        Metric("notready", 0),
        Metric("views", 1),
        Finding(OK, "", f"0 services; {NOT_TOLD}"),
    ]


def test_of_heartbeats_only_what_they_tell():
    """A Heartbeat has no word for BROKEN, NOTREADY or LOADED: 0 of them would be a number that nobody measured."""
    sc = service("storage", "one", "sc", "ENABLED")
    argv = ("--heartbeat", "--topology", "t", "--expect", "node")
    cloud = Cloud((sc,), unseen="nodes are not seen by Heartbeat", told=True)
    assert list(judge(cloud, CHECK.parse(*argv))) == [
        Finding(OK, "storage sc", "is ENABLED"),
        Finding(UNKNOWN, "node", "is not seen by Heartbeat"),
        Metric("views", 1),
        Metric("enabled", 1, "storage_one"),
        Finding(OK, "", "1 service; nodes are not seen by Heartbeat"),
    ]


def test_nothing_is_never_ok():
    assert list(judge(Cloud(told=True), CHECK.parse()))[-1] == Finding(UNKNOWN, "", "0 services")
    assert list(judge(Cloud(missing={"dns a": "on host a"}), CHECK.parse()))[-1].state == OK, "that is said already"


# ---- against the simulator


class Cloudy:
    """A simulated cloud, and runs of the check against it."""

    def __init__(self, demo, folder):
        self.demo, self.folder = demo, folder
        self.topology = str(demo.topology(folder / "topology.toml"))
        self.tell, self.address = demo.tell, demo.address
        self.keys = {user: str(demo.credentials(folder / f"{user}.ini", user=user)) for user in ("monitor", "nobody")}

    def run(self, *argv, user="monitor", topology=True, clock=None, workers=False):
        words = ["--credentials", self.keys[user], "--state-dir", str(self.folder / "state")]
        words += ["--topology", self.topology] if topology else []
        words += [] if workers else ["--exclude", "imagingbackend", "--exclude", "loadbalancingbackend"]
        return CHECK.run([*words, *argv], clock=clock)

    def line(self, *argv, **words):
        outcome = self.run(*argv, **words)
        assert "bug in" not in outcome.text, outcome.text
        return outcome.line.partition(" | ")[0]


@pytest.fixture(params=[("4.4.2", True)])
def cloud(request, tmp_path):
    version, split = request.param
    with Demo(sample(version=version, split=split)) as demo:
        yield Cloudy(demo, tmp_path)


VERSIONS = pytest.mark.parametrize(
    "cloud", [("3.4.3", False), ("4.1.2", True), ("4.4.2", False), ("5.1.0", True)], indirect=True, ids=lambda p: p[0]
)
SIGNED = [("clc", "POST", "/services/Empyrean", "DescribeServices")]


@VERSIONS
def test_every_version_is_green_with_one_request(cloud):
    outcome = cloud.run()
    assert outcome.state == OK, outcome.text
    assert outcome.reason.endswith(" services, 2 of 2 nodes enabled")
    assert {"storage_one_enabled=1", "cluster_one_enabled=1", "node_one_enabled=2"} <= set(outcome.perfdata)
    assert [tuple(seen) for seen in cloud.demo.requests] == SIGNED


@VERSIONS
def test_each_view_is_one_more_request(cloud):
    outcome = cloud.run("--views", "all")
    assert outcome.state == OK, outcome.text
    asked = [seen.host for seen in cloud.demo.requests]
    others = {seen.host for seen in cloud.demo.requests} - {"clc"}
    assert sorted(asked) == sorted({"clc", *others}), "each host once"
    assert f"views={1 + len(others)}" in outcome.perfdata
    without = cloud.run("--views", "all", topology=False)
    assert f"views={1 + len(others)}" in without.perfdata, "the bootstrap services name the hosts, too"


@VERSIONS
def test_workers_without_an_image(cloud):
    line = cloud.line(workers=True)
    if cloud.demo.cloud.at_least(4):
        assert line.startswith("EUCA_SERVICES WARNING - imagingbackend ")
        assert "is NOTREADY, as it is without a worker image" in line
    else:
        assert line.startswith("EUCA_SERVICES OK - ")


@VERSIONS
def test_heartbeats_need_no_credential(cloud):
    outcome = CHECK.run(["--heartbeat", "--topology", cloud.topology, "--state-dir", str(cloud.folder / "s")])
    assert outcome.state == OK, outcome.text
    seen = {(request.method, request.path) for request in cloud.demo.requests}
    assert seen == {("GET", "/services/Heartbeat")}
    assert len({request.host for request in cloud.demo.requests}) == len(cloud.demo.requests)
    assert "not seen by Heartbeat" in outcome.reason


def test_without_anything_that_says_what_should_exist_this_is_said(cloud):
    assert cloud.line(topology=False).endswith(f" 2 of 2 nodes enabled; {NOT_TOLD}")


def test_a_broken_storage(cloud):
    text = (
        "SC blockstoragemanager not configured. Found empty or unset manager(unset). Legal values are: das,overlay,ceph"
    )
    cloud.tell("state", "one-sc-1", "BROKEN", text)
    assert cloud.line() == f"EUCA_SERVICES CRITICAL - storage one-sc-1 is BROKEN, nobody serves zone one: {text}"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("n/a: java.lang.NullPointerException", "CRITICAL - storage one-sc-1 is n/a: java.lang.NullPointerException, nobody serves zone one"),
        ("STOPPED", "CRITICAL - storage one-sc-1 is STOPPED, nobody serves zone one"),
        ("DISABLED", "CRITICAL - storage one-sc-1 is DISABLED, nobody serves zone one"),
        ("PAUSED", "UNKNOWN - storage one-sc-1 is in a state that is not understood: 'PAUSED'"),
        ("LOADED", "WARNING - storage one-sc-1 is LOADED, nobody serves zone one"),
        ("weird|one", "UNKNOWN - storage one-sc-1 is in a state that is not understood: 'weird one'"),
    ],
)  # fmt: skip
def test_states_of_a_storage(cloud, state, said):
    cloud.tell("state", "one-sc-1", state)
    assert cloud.line() == f"EUCA_SERVICES {said}"


def test_a_service_that_starts_for_ever(cloud):
    cloud.tell("state", "one-sc-1", "LOADED")
    assert cloud.run().state == WARNING
    assert cloud.line(clock=Clock(601)) == (
        "EUCA_SERVICES CRITICAL - storage one-sc-1 starting 10 min is above 10 min,"
        " WARNING: storage one-sc-1 is LOADED, nobody serves zone one"
    )
    cloud.tell("state", "one-sc-1", "ENABLED")
    assert cloud.run(clock=Clock(700)).state == OK


def test_what_the_topology_names_and_the_cloud_does_not_list(cloud):
    cloud.tell("unregister", "one-sc-1")
    cloud.tell("unregister", "eucalyptus@clc")
    assert cloud.line() == (
        f"EUCA_SERVICES CRITICAL - eucalyptus {cloud.address('clc')} is missing: it should be on host clc,"
        " storage one-sc-1 is missing: it should be in zone one on host one-sc"
    )


def test_what_vanished_is_missed_for_a_day(cloud):
    assert cloud.run(topology=False).state == OK
    cloud.tell("unregister", "one-sc-1")
    said = "EUCA_SERVICES WARNING - storage one-sc-1 is no longer listed, it was 20 min ago"
    assert cloud.line(topology=False, clock=Clock(1200)) == said
    assert cloud.run(topology=False, clock=Clock(86500)).state == OK


def test_expectations(cloud):
    outcome = cloud.run("--expect", "storage_one=1", "--expect", "cluster", "--expect", "compute=2", topology=False)
    assert outcome.line.startswith("EUCA_SERVICES CRITICAL - compute has 1 ENABLED, 2 expected | ")
    assert cloud.run("-c", "enabled/compute=2:").reason == "compute enabled 1 is below 2"


def test_a_type_is_left_out_by_its_name(cloud):
    cloud.tell("state", "one-sc-1", "BROKEN")
    outcome = cloud.run("--exclude", "storage")
    assert outcome.state == OK
    assert "storage one-sc-1" in outcome.text, "what is left out is said"
    assert cloud.run("--include", "storage*").reason.startswith("storage one-sc-1 is BROKEN")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "nodes are not seen by Heartbeat"),
        ('[hosts.a]\naddress = "127.0.0.1"\nzone = "one"\nservices = ["cluster"]\n',
         "nodes and 1 service outside a JVM are not seen by Heartbeat"),
    ],
)  # fmt: skip
def test_a_topology_of_which_heartbeats_show_nothing(tmp_path, more, said):
    path = tmp_path / "t.toml"
    path.write_text(f"[zones.one]\nnodes = 2\n{more}")
    outcome = CHECK.run(["--heartbeat", "--topology", str(path), "--state-dir", str(tmp_path / "s")])
    assert outcome.line == f"EUCA_SERVICES UNKNOWN - 0 services; {said} | views=0"


def test_who_leaves_out_everything_is_not_told_that_all_is_well(cloud):
    assert cloud.run("--exclude", "*").state == UNKNOWN


def test_a_type_that_is_left_out_is_neither_missed_nor_compared(cloud):
    cloud.tell("unregister", "one-sc-1")
    assert cloud.run("--exclude", "storage").state == OK
    assert cloud.run("--exclude", "storage", "--views", "all").state == OK
    assert (
        CHECK.run(
            [
                "--heartbeat",
                "--topology",
                cloud.topology,
                "--exclude",
                "storage",
                "--state-dir",
                str(cloud.folder / "h"),
            ]
        ).state
        == OK
    )
    assert cloud.run().state == CRITICAL


def test_a_type_that_is_left_out_is_not_compared(cloud):
    assert cloud.run("--exclude", "storage", "--views", "all").state == OK
    cloud.tell("view", "ufs", {"one-sc-1": "NOTREADY"})
    assert cloud.run("--exclude", "storage", "--views", "all").state == OK
    assert cloud.run("--views", "all").state == CRITICAL


def test_a_host_of_views_that_sends_on_tells_no_view(cloud):
    """Regression: the answer of the host that it sends to was counted as its own, and nothing could differ."""
    clc = f"{cloud.address('clc')}:8773"

    class Sends(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", f"http://{clc}/services/Empyrean")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    other = f"127.6.200.{os.getpid() % 250 + 1}"
    with HTTPServer((other, 8773), Sends) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        outcome = cloud.run("--views", other)
    assert outcome.reason == f"{other}: HTTP 307: sends on to {clc}, has no answer of its own (DescribeServices)"
    assert (outcome.state, "views=1" in outcome.perfdata) == (UNKNOWN, True)


HA = """
version = "3.4.3"
[zones.one]
nodes = 1
[hosts.clc]
address = "{block}.1"
services = ["eucalyptus", "walrus:walrus-1"]
[hosts.sc-a]
address = "{block}.2"
zone = "one"
services = ["cluster:cc-a", "storage:sc-a"]
[hosts.sc-b]
address = "{block}.3"
zone = "one"
services = ["storage:sc-b"]
standby = ["storage:sc-b"]
"""


FRONTS = """
version = "4.4.2"
[hosts.clc]
address = "{block}.1"
services = ["eucalyptus", "walrusbackend:walrus-1"]
[hosts.ufs-a]
address = "{block}.2"
services = ["user-api:A", "dns"]
[hosts.ufs-b]
address = "{block}.3"
services = ["user-api:B", "dns"]
"""


@pytest.fixture
def pair(request, tmp_path):
    for octet in range(10, 60):
        path = tmp_path / "ha.toml"
        path.write_text(getattr(request, "param", HA).format(block=f"127.6.{octet}"))
        try:
            demo = Demo.of_file(path).start()
            break
        except OSError:  # another test run has these addresses
            continue
    yield Cloudy(demo, tmp_path)
    demo.close()


def test_a_pair_of_high_availability(pair):
    def line():
        # the internal services of the second host come and go with versions: what is asked here is the pair
        return pair.line("--include", "storage*")

    assert pair.run().state == OK
    pair.tell("state", "sc-b", "NOTREADY", "lost")
    said = "EUCA_SERVICES WARNING - storage sc-b is NOTREADY: redundancy lost, sc-a serves alone: lost"
    assert line() == said
    pair.tell("state", "sc-b", "ENABLED")
    assert line() == (
        "EUCA_SERVICES CRITICAL - storage sc-a is ENABLED, and so is sc-b: only one of a pair may serve,"
        " storage sc-b is ENABLED, and so is sc-a: only one of a pair may serve"
    )
    pair.tell("state", "sc-a", "NOTREADY")
    assert line() == "EUCA_SERVICES WARNING - storage sc-a is NOTREADY: redundancy lost, sc-b serves alone"
    pair.tell("state", "sc-b", "DISABLED")
    assert line() == (
        "EUCA_SERVICES CRITICAL - storage sc-a is NOTREADY, nobody serves zone one,"
        " storage sc-b is DISABLED, nobody serves zone one"
    )
    pair.tell("state", "sc-a", "ENABLED")
    pair.tell("unregister", "sc-b")
    assert line() == "EUCA_SERVICES CRITICAL - storage sc-b is missing: it should be in zone one on host sc-b"


def test_a_pair_by_heartbeat(pair):
    def run():
        return CHECK.run(["--heartbeat", "--topology", pair.topology, "--state-dir", str(pair.folder / "s")])

    assert (run().state, "sc-b is not enabled, as it should be while sc-a serves" in run().text) == (OK, True)
    pair.tell("state", "sc-a", "NOTREADY")
    assert run().line.partition(" | ")[0] == (
        "EUCA_SERVICES CRITICAL - storage sc-a is not enabled, nobody serves zone one,"
        " storage sc-b is not enabled, nobody serves zone one"
    )
    pair.tell("state", "sc-b", "ENABLED")
    assert run().reason == "storage sc-a is not enabled: redundancy lost, sc-b serves alone"


CLCS = HA.replace(
    'services = ["storage:sc-b"]\nstandby = ["storage:sc-b"]', 'services = ["eucalyptus"]\nstandby = ["eucalyptus"]'
)


@pytest.mark.parametrize("pair", [CLCS], indirect=True, ids=["clcs"])
def test_a_standby_that_has_no_name_is_the_one_on_its_host(pair):
    """Regression: `standby = ["eucalyptus"]` was read, and held for nothing."""
    argv = ["--heartbeat", "--topology", pair.topology, "--state-dir", str(pair.folder / "s")]
    outcome = CHECK.run(argv)
    assert outcome.state == OK, outcome.text
    assert "is not enabled, as it should be while " in outcome.text
    assert pair.run().state == OK


@pytest.mark.parametrize("pair", [FRONTS], indirect=True, ids=["fronts"])
def test_two_hosts_of_user_services(pair):
    assert pair.run("--expect", "compute=2", "--expect", "dns=2").state == OK
    pair.tell("state", "B.compute", "NOTREADY", "no database")
    assert pair.line() == "EUCA_SERVICES WARNING - compute B.compute is NOTREADY, others serve: no database"
    assert pair.line("--expect", "compute=2") == (
        "EUCA_SERVICES CRITICAL - compute has 1 ENABLED, 2 expected,"
        " WARNING: compute B.compute is NOTREADY, others serve: no database"
    )
    pair.tell("state", "A.compute", "BROKEN")
    assert pair.line().startswith(
        "EUCA_SERVICES CRITICAL - compute A.compute is BROKEN, nobody else serves, compute B."
    )
    pair.tell("state", "A.compute", "ENABLED")
    pair.tell("state", "B.compute", "ENABLED")
    pair.tell("state", "B.objectstorage", "DISABLED")
    assert pair.line() == "EUCA_SERVICES WARNING - objectstorage B.objectstorage is DISABLED, others serve"
    assert pair.run("--standby", "B.objectstorage").state == OK
    pair.tell("state", "A.objectstorage", "NOTREADY")
    assert pair.run("--standby", "B.objectstorage").state == CRITICAL


def test_heartbeat_looks_at_enabled_not_at_local(cloud):
    """Regression (extras/nagios.sh): `local=true` is said of what is registered, in whatever state."""
    argv = ["--heartbeat", "--topology", cloud.topology, "--state-dir", str(cloud.folder / "s")]
    for state in ("NOTREADY", "BROKEN", "STOPPED", "DISABLED"):
        cloud.tell("state", "one-sc-1", state)
        assert CHECK.run(argv).line.partition(" | ")[0] == (
            "EUCA_SERVICES CRITICAL - storage one-sc-1 is not enabled, nobody serves zone one"
        )
    cloud.tell("state", "one-sc-1", "ENABLED")
    cloud.tell("unregister", "one-sc-1")
    assert CHECK.run(argv).line.partition(" | ")[0] == (
        "EUCA_SERVICES CRITICAL - storage one-sc-1 is missing:"
        " it should be on host one-sc, whose Heartbeat does not have it as registered there"
    )


def test_storage_is_not_objectstorage(cloud):
    """Regression (extras/nagios.sh): names were found as parts of others; two lines were never `true`."""
    outcome = CHECK.run(["--heartbeat", "--topology", cloud.topology, "--state-dir", str(cloud.folder / "s")])
    assert "storage_one_enabled=1" in outcome.perfdata
    cloud.tell("state", "API_ufs.objectstorage", "BROKEN")
    assert cloud.line() == "EUCA_SERVICES CRITICAL - objectstorage API_ufs.objectstorage is BROKEN, nobody else serves"


def test_several_hosts_of_one_type_are_all_looked_at(tmp_path):
    """Regression (extras/nagios.sh): a quoted list, and two misspelt variables, lost every host but one."""
    with Demo(sample(zones=3)) as demo:
        cloud = Cloudy(demo, tmp_path)
        for zone in ("one", "two", "three"):
            cloud.tell("state", f"{zone}-sc-1", "BROKEN")
        outcome = cloud.run()
        assert "broken=3" in outcome.perfdata
        for zone in ("one", "two", "three"):
            assert f"storage {zone}-sc-1 is BROKEN, nobody serves zone {zone}" in outcome.text


def test_heartbeat_of_a_host_that_is_silent(cloud):
    argv = ["--heartbeat", "--topology", cloud.topology, "--state-dir", str(cloud.folder / "s"), "-t", "3"]
    cloud.tell("hang", "one-sc")
    begun = time.monotonic()
    assert CHECK.run(argv).line.partition(" | ")[0] == (
        "EUCA_SERVICES CRITICAL - one-sc: no answer in 2.0 s (GET /services/Heartbeat)"
    )
    assert time.monotonic() - begun < 3.5
    cloud.tell("heal", "one-sc")
    cloud.tell("stop", "one-sc")
    assert CHECK.run(argv).line.partition(" | ")[0] == (
        "EUCA_SERVICES CRITICAL - one-sc: Connection refused (GET /services/Heartbeat)"
    )
    cloud.tell("heal", "one-sc")
    cloud.tell("garbage", "one-sc")
    assert CHECK.run(argv).line.startswith("EUCA_SERVICES UNKNOWN - one-sc: ")


@pytest.mark.parametrize("more", [(), ("-H", "clc.example"), ("--topology", "t", "--views", "all")])
def test_heartbeat_goes_by_the_topology_alone(more, tmp_path):
    assert CHECK.run(["--heartbeat", *more, "--state-dir", str(tmp_path)]).line == (
        "EUCA_SERVICES UNKNOWN - --heartbeat asks the hosts of --topology: give that, and no --views"
    )


def test_a_split_view_names_service_and_host(cloud):
    cloud.tell("view", "ufs", {"one-sc-1": "NOTREADY"})
    assert cloud.run().state == OK, "nobody asked the other host"
    assert cloud.line("--views", "ufs", "--views", "walrus") == (
        f"EUCA_SERVICES CRITICAL - storage one-sc-1 is ENABLED for {cloud.address('clc')}:8773, NOTREADY for ufs: split view"
    )
    address = cloud.address("ufs")
    assert cloud.line("--views", address, topology=False).partition(" - ")[2] == (
        f"storage one-sc-1 is ENABLED for {cloud.address('clc')}:8773, NOTREADY for {address}: split view"
    )


def test_a_host_that_does_not_answer_its_view(cloud):
    cloud.tell("error500", "ufs")
    assert cloud.line("--views", "all") == (
        "EUCA_SERVICES CRITICAL - ufs: HTTP 500: An internal error has occurred (DescribeServices)"
    )
    cloud.tell("html", "ufs")
    assert cloud.line("--views", "all") == (
        "EUCA_SERVICES UNKNOWN - ufs: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it (DescribeServices)"
    )
    outcome = cloud.run("--views", "all")
    assert "views=3" in outcome.perfdata


def test_a_view_that_hangs_costs_no_more_than_the_deadline(cloud):
    cloud.tell("hang", "ufs")
    begun = time.monotonic()
    outcome = cloud.run("--views", "all", "-t", "2", "--include", "ufs")
    assert time.monotonic() - begun < 2.5
    assert outcome.reason.startswith("ufs: no answer in ")
    assert outcome.state == CRITICAL


FAILURES = {
    "hang": (CRITICAL, "{at}: no answer in 1.0 s (DescribeServices)"),
    "drip": (CRITICAL, "{at}: no answer in 1.0 s (DescribeServices)"),
    "stop": (CRITICAL, "{at}: Connection refused (DescribeServices)"),
    "cut": (CRITICAL, "{at}: the connection was cut before the answer was whole (DescribeServices)"),
    "error500": (CRITICAL, "{at}: HTTP 500: An internal error has occurred (DescribeServices)"),
    "html": (UNKNOWN, "{at}: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it (DescribeServices)"),
    "login": (UNKNOWN, "{at}: HTTP 302: redirected to https://sso.example/login, which is no service of a cloud (DescribeServices)"),
    "bomb": (UNKNOWN, "{at}: the answer has a document type or entities: refused (DescribeServices)"),
    "huge": (UNKNOWN, "{at}: more than 64 MiB (DescribeServices)"),
}  # fmt: skip
STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_cloud_that_fails(cloud, failure):
    state, text = FAILURES[failure]
    cloud.tell(failure, "clc")
    begun = time.monotonic()
    assert cloud.line("-t", "2") == f"EUCA_SERVICES {STATES[state]} - {text.format(at=cloud.address('clc') + ':8773')}"
    assert time.monotonic() - begun < 2.5


def test_garbage_is_not_understood(cloud):
    cloud.tell("garbage", "clc")
    outcome = cloud.run()
    assert outcome.state == UNKNOWN
    assert outcome.reason.startswith(f"{cloud.address('clc')}:8773: the answer ")


def test_who_may_not_look(cloud):
    assert cloud.line(user="nobody") == (
        f"EUCA_SERVICES UNKNOWN - {cloud.address('clc')}:8773: HTTP 403: Forbidden (DescribeServices): needs {RIGHT}"
    )


def test_who_sees_only_what_everybody_sees(cloud, monkeypatch):
    """A policy of another account may allow the call: what comes back then is a part that looks healthy."""
    user = cloud.demo.user("nobody")
    cloud.demo.cloud.users[user.access] = user._replace(allowed=("euserv:*",))
    line = cloud.line(user="nobody", topology=False)
    count = line.partition(" - ")[2].partition(" ")[0]
    assert int(count) > 0
    assert line == (
        f"EUCA_SERVICES UNKNOWN - {count} services are shown, and only such as any user sees"
        f" (DescribeServices): needs {RIGHT}"
    )


def test_a_clock_that_is_ahead(cloud):
    cloud.tell("skew", -31)
    line = cloud.line()
    assert line.startswith("EUCA_SERVICES UNKNOWN - ")
    assert "the clocks differ" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[zones", "not TOML: "),
        ('[hosts.a]\naddress="x"\nservices=["walrusback"]', "host 'a': 'walrusback' is no component type of Eucalyptus: did you mean walrusbackend?"),
        ('[hosts.a]\naddress="x"\nzone="two"', "host 'a' is in zone 'two', which is none of: none is defined"),
        ('[zones.one]\n[hosts.a]\naddress="x"\nzone="one"\nservices=["storage:s"]\n[hosts.b]\naddress="y"\nzone="one"\nservices=["storage:s"]',
         "host 'b': service 'storage:s' is already on host 'a'"),
    ],
)  # fmt: skip
def test_a_topology_that_is_refused(tmp_path, content, said):
    path = tmp_path / "t.toml"
    path.write_text(content)
    outcome = CHECK.run(["--topology", str(path), "--state-dir", str(tmp_path), "--absent-state", "ok"])
    assert outcome.line.startswith(f"EUCA_SERVICES UNKNOWN - topology: {said}")
    assert f"(read {path})" in outcome.line or "not TOML" in said


def test_a_topology_that_is_not_there(tmp_path):
    path = str(tmp_path / "no.toml")
    assert CHECK.run(["--topology", path, "--state-dir", str(tmp_path), "--absent-state", "ok"]).line == (
        f"EUCA_SERVICES UNKNOWN - topology: No such file or directory (read {path})"
    )


def test_names_from_outside_are_made_harmless(cloud):
    service = cloud.demo.cloud.find("one-sc-1")
    service.name = "sc|'\"<ä>; rm -rf"
    cloud.tell("state", service.name, "BROKEN", "text | with=1 'quotes' ünd\nlines")
    outcome = cloud.run(topology=False)
    assert outcome.line.partition(" | ")[0] == (
        "EUCA_SERVICES CRITICAL - storage sc '\"<ä>; rm -rf is BROKEN, nobody serves zone one: text with=1 'quotes' ünd"
    )
    assert outcome.line.count("|") == 1


def test_tls_on_the_same_port(cloud):
    address = cloud.address("clc")
    assert cloud.run("-H", address, "--insecure", "--views", "all").state == OK
    assert cloud.line("-H", address, "--tls").startswith(f"EUCA_SERVICES UNKNOWN - {address}:8773: certificate: ")
    argv = ["--heartbeat", "--topology", cloud.topology, "--state-dir", str(cloud.folder / "s"), "--insecure"]
    assert CHECK.run([*argv, "-H", "clc.example"]).state == OK, "the topology names the hosts"
    assert CHECK.run(argv).state == OK


def test_a_partial_look_is_never_ok():
    failed = Failed(NOT_ALLOWED, "ufs", "DescribeServices", "HTTP 403")
    assert failed in list(judge(Cloud((service("storage", "one", "a", "ENABLED"),), failures=(failed,)), CHECK.parse()))
