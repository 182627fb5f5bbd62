# SPDX-License-Identifier: Apache-2.0
"""check_swift_recon: its judge by equality, each way to fail by its first line. Real servers: tests/lab/test_swift_recon.py."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import time

import pytest
from nephoscope.base import UNREACHABLE, Clock, Failed
from nephoscope.checks.storage.check_swift_recon import CHECK, WORDS, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import swift_recon
from nephoscope.probes.swift_recon import KINDS, PORTS, Answers, Measure, Server, Survey, Trouble

from tests.probes.recon_server import OTHER, Recon, answers, disk, silent, write_ring
from tests.probes.talker import Talker

A, B = "127.0.0.2", "127.0.0.3"
SERVER = Server("object", A, 6200)


@pytest.fixture
def check(tmp_path):
    def run(*argv, clock=None, root=""):
        return CHECK.run(["--state-dir", str(tmp_path / "state"), *map(str, argv)], clock=clock, root=root)

    return run


@pytest.fixture(scope="module")
def servers():
    """Give two hosts, each with one server of each kind."""
    with contextlib.ExitStack() as stack:
        yield {(kind, host): stack.enter_context(Recon(kind, host=host)) for kind in PORTS for host in (A, B)}


@pytest.fixture
def cluster(servers, tmp_path):
    """Give them, all well, and write the ring files that name them, as they tell, below a root."""
    for kind in PORTS:
        devices = [(host, servers[kind, host].port, name, 100.0) for host in (A, B) for name in ("d1", "d2")]
        write_ring(tmp_path / "etc/swift", kind, devices)
    sums = {
        f"/etc/swift/{path.name}": hashlib.new("md5", path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in (tmp_path / "etc/swift").iterdir()
    }
    for (kind, _), server in servers.items():
        server.told, server.asked, server.connections, server.ahead = answers(kind, ringmd5=sums), [], 0, 0.0
    return servers


@pytest.fixture
def ringed(check, cluster, tmp_path):
    return lambda *argv, **words: check(*argv, root=str(tmp_path), **words)


def reason(outcome):
    return outcome.line.partition(" | ")[0]


def judged(*troubles, measures=(), failures=(), heard=True):
    said = (Answers(SERVER, "2.30.1", 0.0, 0.0, {}),) if heard else ()
    return list(judge(Survey(said, failures, troubles, measures), CHECK.parse()))


def test_judge():
    failed = Failed(UNREACHABLE, SERVER.name, "GET /recon/version", "Connection refused")
    assert judged(failures=[failed], heard=False) == [failed]
    assert judged(
        Trouble("well", "x", "answers"), Trouble("odd", "x", "y"), measures=[Measure("repl_age", 7.0, "x", "z")]
    ) == [
        Finding(OK, "x", "answers"),
        Finding(WARNING, "x", "y"),
        Metric("repl_age", 7.0, "x", detail="z"),
        Finding(OK, "", "1 servers on 1 hosts answer, Swift 2.30.1"),
    ]


def test_every_word_has_its_state():
    assert WORDS == {"differs": CRITICAL, "lacks": CRITICAL, "dying": CRITICAL, "odd": WARNING, "unknown": UNKNOWN, "well": OK}  # fmt: skip


def test_all_is_well(ringed, cluster):
    outcome = ringed()
    number = r"[0-9.]+"
    assert re.fullmatch(
        r"SWIFT_RECON OK - 6 servers on 2 hosts answer, Swift 2\.30\.1, rates collecting \| "
        rf"repl_age={number}s;3600;21600 async=0;1000 async_sum=0 unmounted=0;0;2 quarantined=0 disk_max=50%;80;90 "
        rf"disk_spread=10% repl_failed=0%;5 audit_age={number}s;86400;604800 async_age={number}s;3600 clock={number}s;5;30",
        outcome.line,
    ), outcome.line
    assert [len(server.asked) for server in cluster.values()] == [12, 12, 9, 9, 9, 9]
    assert [server.connections for server in cluster.values()] == [1] * 6


def worse(kind, host, **changed):
    def change(cluster):
        server = cluster[kind, host]
        told = answers(kind, time.time(), **changed)
        server.told.update({path.replace("__", "/"): told[path.replace("__", "/")] for path in changed})

    return change


def since(seconds):
    return lambda _: (200, f'{{"replication_last": {time.time() - seconds}, "replication_stats": null}}')


GOOD_SUMS = {"/etc/swift/account.ring.gz": OTHER}
TROUBLES = {
    "old replication": (
        worse("object", B, replication__object=since(7300)),
        r"WARNING - {object B} repl age 2\.0\d h is above 60 min",
    ),
    "very old replication": (
        worse("object", B, replication__object=since(7 * 3600)),
        r"CRITICAL - {object B} repl age 7 h is above 6 h",
    ),
    "replication that never ended": (
        worse("account", A, replication__account={"replication_last": None, "replication_stats": None}),
        "UNKNOWN - {account A} no pass of replication has ended: recon has no time of one",
    ),
    "copies that fail": (
        worse("container", A, replication__container={"replication_last": time.time(), "replication_stats": {"success": 1, "failure": 1, "failure_nodes": {B: {}}}}),
        rf"WARNING - {{container A}} repl failed 50 % is above 5 % \(1 of 2, towards {re.escape(B)}\)",
    ),
    "updates that wait": (
        worse("object", A, **{"async": {"async_pending": 1001, "async_pending_last": None}}),
        rf"WARNING - {re.escape(A)} async 1001 is above 1000",
    ),
    "updates that are not counted": (
        worse("object", A, **{"async": {"async_pending": None, "async_pending_last": None}}),
        rf"UNKNOWN - {re.escape(A)} pending updates are not counted: swift-recon-cron does not run there",
    ),
    "an old count": (
        worse("object", A, **{"async": {"async_pending": 0, "async_pending_last": 7.0}}),
        rf"WARNING - {re.escape(A)} async age .* is above 60 min",
    ),
    "one disk unmounted": (
        worse("account", A, diskusage=[disk("d1", False), disk("d2", used=40)]),
        rf"WARNING - unmounted 1 is above 0 \({re.escape(A)} d1\)",
    ),
    "three disks gone": (
        lambda cluster: [worse(kind, host, diskusage=rows, devices={"/srv/node": [row["device"] for row in rows]})(cluster) for kind in PORTS for host, rows in ((A, []), (B, [disk("d1", False), disk("d2")]))],
        rf"CRITICAL - unmounted 3 is above 2 \({re.escape(A)} d1 \(not there\), {re.escape(A)} d2 \(not there\), {re.escape(B)} d1\)",
    ),
    "a disk that recon skips": (
        lambda cluster: [worse(kind, B, diskusage=[disk("d2")])(cluster) for kind in PORTS],
        rf"CRITICAL - {re.escape(B)} d1 can't be looked at: recon skips it, as no directory, or as one whose stat fails \|",
    ),
    "a disk that fails": (
        worse("object", B, diskusage=[disk("d1", "[Errno 5] Input/output error"), disk("d2", used=40)]),
        rf"CRITICAL - {re.escape(B)} d1 can't be looked at: \[Errno 5\] Input/output error",
    ),
    "a full disk": (
        lambda cluster: [worse(kind, B, diskusage=[disk("d1", used=91), disk("d2")])(cluster) for kind in PORTS],
        rf"CRITICAL - {re.escape(B)} d1 disk max 91 % is above 90 %",
    ),
    "errors of a drive": (
        worse("object", B, driveaudit={"drive_audit_errors": 2}),
        "WARNING - {object B} drive errors 2 is above 0",
    ),
    "an audit that stopped": (
        worse("container", B, auditor__container={"container_audits_since": time.time() - 8 * 86400}),
        "CRITICAL - {container B} audit age 8 d is above 7 d",
    ),
    "an audit that never ran": (
        worse("container", B, auditor__container={"container_audits_since": None}),
        "UNKNOWN - {container B} the auditor has told nothing: it never ran",
    ),
    "reconstruction that stopped": (
        worse("object", B, reconstruction__object={"object_reconstruction_last": time.time() - 7205}),
        r"WARNING - {object B} reconstruct age 2(\.0\d)? h is above 60 min",
    ),
    "a ring that differs": (
        worse("account", B, ringmd5=GOOD_SUMS),
        "CRITICAL - {account B} account.ring.gz differs from this host's, {account B} lacks container.ring.gz, which this host has"
    ),
    "rings that differ": (
        lambda cluster: [worse(kind, B, ringmd5={f"/etc/swift/{name}.ring.gz": OTHER for name in PORTS})(cluster) for kind in PORTS],
        "CRITICAL - {account B} account.ring.gz differs from this host's, {account B} container.ring.gz differs from this host's, {account B} object.ring.gz differs from this host's",
    ),
    "swift.conf that differs": (
        lambda cluster: [worse(kind, B, swiftconfmd5={"/etc/swift/swift.conf": "7" * 32})(cluster) for kind in PORTS],
        "WARNING - {account A} /etc/swift/swift.conf is ff6bee1b, and none has a majority, {account B} /etc/swift/swift.conf is 77777777, and none has a majority",
    ),
    "500 for one item": (
        worse("object", B, quarantined=(500, "Internal server error.")),
        r"CRITICAL - {object B}: HTTP 500 \(GET /recon/quarantined\)",
    ),
    "no JSON": (
        worse("object", B, ringmd5=(200, "<html>")),
        r"UNKNOWN - {object B}: not JSON: b'<html>' \(GET /recon/ringmd5\)",
    ),
    "another shape": (
        worse("object", B, diskusage={"d1": 7}),
        r"UNKNOWN - {object B}: not understood: \"\{'d1': 7\}\" \(GET /recon/diskusage\)",
    ),
    "no recon": (
        lambda cluster: cluster["object", B].told.update(version=(400, "Invalid path: /recon/version")),
        r"UNKNOWN - {object B}: HTTP 400: no recon in its pipeline, or no storage server \(GET /recon/version\)",
    ),
    "no recon, 404": (
        lambda cluster: cluster["object", B].told.clear(),
        r"UNKNOWN - {object B}: HTTP 404: no recon in its pipeline, or no storage server \(GET /recon/version\)",
    ),
    "a log-in": (
        lambda cluster: cluster["object", B].told.update(version=(401, "")),
        r"UNKNOWN - {object B}: HTTP 401: no recon in its pipeline, or no storage server \(GET /recon/version\)",
    ),
    "503": (
        lambda cluster: cluster["object", B].told.update(version=(503, "")),
        r"CRITICAL - {object B}: HTTP 503 \(GET /recon/version\)",
    ),
    "another service": (
        lambda cluster: cluster["object", B].told.update(version={"versions": []}),
        r"UNKNOWN - {object B}: not recon's answer: \"\{'versions': \[\]\}\" \(GET /recon/version\)",
    ),
    "a clock that is off": (
        lambda cluster: setattr(cluster["object", B], "ahead", 31.0),
        r"CRITICAL - {object B} clock (31|30\.9\d*) s is above 30 s",
    ),
    "no time": (
        lambda cluster: cluster["object", B].told.update(time={"now": 1}),
        r"UNKNOWN - {object B}: not a time: \"\{'now': 1\}\" \(GET /recon/time\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble(ringed, cluster, name):
    change, pattern = TROUBLES[name]
    change(cluster)
    for (kind, host), server in cluster.items():
        pattern = pattern.replace(f"{{{kind} {'A' if host == A else 'B'}}}", re.escape(server.name))
    outcome = ringed()
    assert re.match(f"SWIFT_RECON {pattern}", outcome.line), outcome.line


def test_a_server_that_is_silent_takes_only_its_share(ringed, cluster):
    cluster["object", B].told["replication/object"] = silent
    begun = time.monotonic()
    outcome = ringed()
    assert time.monotonic() - begun < 6
    name = cluster["object", B].name
    assert re.fullmatch(
        rf"SWIFT_RECON CRITICAL - {name}: no answer in (4|3\.9) s \(GET /recon/replication/object\)(, rates collecting)?",
        reason(outcome).replace("4.0 s", "4 s"),
    ), outcome.line
    assert "repl_age=" in outcome.line


def test_silence_leaves_the_rest_unasked(ringed, cluster):
    cluster["object", B].told["replication/object"] = silent
    ringed("-t", "3")
    assert cluster["object", B].asked[-1] == "replication/object"


def test_a_server_that_is_gone(check):
    with Recon("account") as server:
        pass
    outcome = check("--host", server.name)
    assert reason(outcome) == f"SWIFT_RECON CRITICAL - {server.name}: Connection refused (GET /recon/version)"
    assert check("--host", server.name, "--unreachable-state", "warning").state == WARNING


def test_a_server_that_cuts(check):
    with Talker(lambda peer: peer.recv(100)) as server:
        outcome = check("--host", f"object@127.0.0.1:{server.port}")
    text = f"object@127.0.0.1:{server.port}: the connection was cut before the answer was whole (GET /recon/version)"
    assert reason(outcome) == f"SWIFT_RECON CRITICAL - {text}"


def test_a_server_of_another_protocol(check):
    with Talker(lambda peer: peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as server:
        outcome = check("--host", f"object@127.0.0.1:{server.port}")
    text = f"object@127.0.0.1:{server.port}: no HTTP: BadStatusLine (GET /recon/version)"
    assert reason(outcome) == f"SWIFT_RECON UNKNOWN - {text}"


def test_what_was_not_told_is_no_zero(check):
    """The server answers, and each daemon's word is null: nothing is printed as 0."""
    nothing = {path: {} for path in ("replication/object", "auditor/object", "async", "driveaudit")}
    with Recon("object", {**answers("object"), **nothing}) as server:
        outcome = check("--host", server.name, "--mode", "replication", "--mode", "audit", "--mode", "async")
    assert outcome.state == UNKNOWN
    assert "|" not in outcome.line, outcome.line


def test_one_host_has_nothing_to_compare_its_rings_with(check):
    with Recon("object") as server:
        outcome = check("--host", server.name)
        assert reason(outcome) == (
            f"SWIFT_RECON UNKNOWN - {server.name} its rings are compared with nothing: name more hosts, or --rings DIR"
        )
        assert check("--host", server.name, "--mode", "replication").state == OK


def test_without_rings_and_hosts(check, tmp_path):
    assert (
        reason(check(root=str(tmp_path)))
        == "SWIFT_RECON UNKNOWN - /etc/swift: No such file or directory (list /etc/swift)"
    )
    (tmp_path / "etc/swift").mkdir(parents=True)
    assert reason(check(root=str(tmp_path))) == (
        "SWIFT_RECON UNKNOWN - no ring files: name the servers by --host, or --rings DIR (read /etc/swift)"
    )


def test_a_ring_that_is_missing_is_said(ringed, cluster, tmp_path):
    (tmp_path / "etc/swift/account.ring.gz").unlink()
    for server in cluster.values():
        server.told["ringmd5"] = {path: md5 for path, md5 in server.told["ringmd5"].items() if "account" not in path}
    text = "account.ring.gz: it is not there: which servers there are is not known (read /etc/swift/account.ring.gz)"
    assert reason(ringed()) == f"SWIFT_RECON UNKNOWN - {text}"
    (tmp_path / "etc/swift/account.ring.gz").write_bytes(b"no ring")
    text = "account.ring.gz: it is no gzip file (read /etc/swift/account.ring.gz)"
    assert reason(ringed("--mode", "clock")) == f"SWIFT_RECON UNKNOWN - {text}"


def test_disks_of_a_ring_that_is_not_read_are_disks(ringed, cluster, tmp_path):
    (tmp_path / "etc/swift/object.ring.gz").write_bytes(b"no ring")
    for kind in PORTS:
        cluster[kind, B].told.update(devices={"/srv/node": ["d1", "d2", "d3"]}, diskusage=[disk("d1"), disk("d2"), disk("d3", False)])  # fmt: skip
    text = "object.ring.gz: it is no gzip file (read /etc/swift/object.ring.gz)"
    assert reason(ringed("--mode", "disks")) == (
        f"SWIFT_RECON WARNING - unmounted 1 is above 0 ({B} d3), UNKNOWN: {text}"
    )


def test_this_hosts_ring_is_old(ringed, cluster, tmp_path):
    write_ring(tmp_path / "etc/swift", "object", [(host, cluster["object", host].port, "d1", 1.0) for host in (A, B)])
    assert (
        reason(ringed("--mode", "rings")) == "SWIFT_RECON CRITICAL - this host has another object.ring.gz than 2 others"
    )


def test_include_names_servers_and_all_their_disks_count(ringed, cluster):
    worse("object", B, diskusage=[disk("d1", False), disk("d2")])(cluster)
    outcome = ringed("--include", "object@*", "--mode", "disks")
    assert reason(outcome) == f"SWIFT_RECON WARNING - unmounted 1 is above 0 ({B} d1)"


def test_what_is_newly_quarantined(ringed, cluster):
    def hold(objects):
        for kind in PORTS:
            cluster[kind, A].told["quarantined"] = {"objects": objects, "containers": 0, "accounts": 0, "policies": {}}
        return ringed("--mode", "quarantine", clock=Clock(shift=300 * (objects - 4)))

    assert reason(hold(4)).startswith("SWIFT_RECON OK - ")
    outcome = hold(6)
    assert reason(outcome) == f"SWIFT_RECON WARNING - quarantined new 2 is above 0 ({A} 2)"
    assert outcome.line.endswith(" | quarantined=6 quarantined_new=2;0")


def test_what_the_rings_name_beside_host_is_said(ringed, cluster):
    outcome = ringed("--rings", "/etc/swift", "--host", cluster["object", A].name, "--mode", "rings")
    text = "1 servers on 1 hosts answer, Swift 2.30.1; 5 of the rings not asked"
    assert outcome.line == f"SWIFT_RECON OK - {text}"
    assert cluster["object", B].asked == []


def test_rings_that_may_not_be_read(ringed, cluster, monkeypatch, tmp_path):
    path = str(tmp_path / "etc/swift/object.ring.gz")

    def deny(name, *words, **more):
        if name == path:
            raise PermissionError(13, "Permission denied")
        return open(name, *words, **more)

    monkeypatch.setattr(swift_recon, "open", deny, raising=False)
    outcome = ringed("--mode", "clock")
    assert reason(outcome) == (
        "SWIFT_RECON UNKNOWN - object.ring.gz: Permission denied (read /etc/swift/object.ring.gz): "
        "needs read on it for the monitoring's user"
    )


def test_filters_choose_servers_and_disks(ringed, cluster):
    outcome = ringed("--exclude", f"object@{B}:*", "--exclude", f"{A} d1")
    assert cluster["object", B].asked == []
    assert outcome.state == OK
    assert f"{A} d1 disk max" not in outcome.text
    assert f"{A} d2 disk max 40 %" in outcome.text


def test_more_servers_than_are_asked_at_a_time(check, tmp_path):
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Recon("object", host=f"127.0.1.{number}")) for number in range(1, 31)]
        outcome = check(*(word for server in servers for word in ("--host", server.name)))
    assert reason(outcome) == "SWIFT_RECON OK - 30 servers on 30 hosts answer, Swift 2.30.1, rates collecting"
    assert outcome.line.count("=") < 15


def test_many_silent_servers_are_all_told(check):
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(40):  # they take connections, and say nothing
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(listener.getsockname()[1])
        begun = time.monotonic()
        outcome = check("-t", "3", *(word for port in ports for word in ("--host", f"object@127.0.0.1:{port}")))
        assert time.monotonic() - begun < 3.5
    assert outcome.state == CRITICAL
    assert all(f"object@127.0.0.1:{port}: " in outcome.text for port in ports)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--host", "n1:8080"], "does not say what serves there: write object@n1:8080, container@… or account@…"),
        (["--host", "proxy@n1"], "is no server: write HOST, HOST:PORT or KIND@HOST:PORT"),
        (["--rings", "etc"], "'etc' is not an absolute path"),
        (["--mode", "clock", "-w", "repl_age=7"], "repl_age"),
    ],
)
def test_options_that_are_refused(check, argv, text):
    outcome = check(*argv)
    assert outcome.state == UNKNOWN
    assert text in outcome.line


def test_ports():
    assert KINDS == {6200: "object", 6201: "container", 6202: "account", 6000: "object", 6001: "container", 6002: "account"}  # fmt: skip
