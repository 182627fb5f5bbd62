# SPDX-License-Identifier: Apache-2.0
"""Ring files, what is asked of whom, and what becomes of each answer. Real servers are in tests/lab/test_swift_recon.py."""

from __future__ import annotations

import base64
import gzip
import hashlib
import pickle
import struct

import pytest
from nephoscope.base import ABSENT, COLLECTING, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import swift_recon
from nephoscope.probes.swift_recon import Answers, Measure, Ring, Server, Trouble, host, ring, rings

from tests.probes.recon_server import OTHER, SUM, Recon, answers, disk, write_ring

ALL = ("rings", "replication", "async", "disks", "quarantine", "audit", "clock")
NOW = 1795296825.0
# Written by Swift's own RingBuilder of 2.38.1: `get_ring().save(path, format_version=2)`, three devices, the last without weight.
VERSION_2 = """
H4sICPQqhE0C/29iamVjdC0yLnJpbmcAAAYA+f9SMU5HAAIAAAD//2JgAAPPaqWU1LL4zJT4pMqS
1GIlKwUjHQWlgsSikvjijMy0EqCAsQFQpCi1ICczOTE+Ob80DyRoqAcSLUstKs7MzwPyTWoBAAAA
//9iYAABxj/R1UopqWWZyalKVgpKKYZKOgpKmSlAtgGIUQASNLQ00jPQM9IDy+WmliSCBEHsgvyi
EiDbzMgApLgoNT0zPw/INwRzCnIykxNLgCLxWExBlkY1pTw1Mz0DxDc0MNADCVTl54GcZliro4DD
pYYYLjWiikuNqORSI7hLjQbYpWjujAUAAAD//2JgAAMOIGYEQgYAAAAA//9czjFuwzAMBdD0JoZm
A5EoSiR7lSIDJUqph3iojXQoevfKHdKgnD458P3T6ZiX9cttn0vfzx/Lej3rti3X9dbWfXOv0xuk
PE/Zx3kCgpGCzJPb3nXc3UiiKLmjIOXkPbDGjparZMmc2bigVeuEFnpT8qFWEO1SFIqIEbvL8e5P
t3ZfavuVQxgy04AfFZ7hUMFMopIQdDUb6/DIp2QxIQtVbUipQg9VFXvxrWYbBZuC5PAfvrVdTXc9
ZPTDm6dHgSfWY7ZuqqTBfCvQEjTumNAkNdAYueQEVhiiVh6tSBJLYJbqCwR1l+8fAAAA//8ACAD3
/wAAAAAAAAJrAAAA//8ACAD3/wAAAAAAAAEQAAAA//8BAAD//18wINbxAwAA
"""


def of_server(kind, modes=ALL, at=NOW, clock=0.0, **changed):
    said = Answers(Server(kind, "192.0.2.1", 6200), "2.30.1", at, clock, answers(kind, at, **changed))
    return list(swift_recon._of_server(said, modes))


def heard(host, kind="object", devices=("d1", "d2"), **changed):
    return Answers(Server(kind, host, 6200, devices), "2.30.1", NOW, 0.0, answers(kind, NOW, **changed))


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("n1.example", (("object", "n1.example", 6200), ("container", "n1.example", 6201), ("account", "n1.example", 6202))),
        ("account@n1.example", (("account", "n1.example", 6202),)),
        ("n1.example:6201", (("container", "n1.example", 6201),)),
        ("n1.example:6000", (("object", "n1.example", 6000),)),
        ("object@192.0.2.1:6210", (("object", "192.0.2.1", 6210),)),
        ("[2001:db8::1]:6202", (("account", "2001:db8::1", 6202),)),
        ("object@2001:db8::1", (("object", "2001:db8::1", 6200),)),
    ],
)  # fmt: skip
def test_what_host_names(text, servers):
    assert host(text) == servers
    assert [Server(*one).name.count("@") for one in servers] == [1] * len(servers)


@pytest.mark.parametrize(
    "text", ["", "@n1", "proxy@n1", "n1:0", "n1:70000", "n1:x", "n1:8080", "http://n1:6200", "a b", "n1/x"]
)
def test_what_host_refuses(text):
    with pytest.raises(ValueError, match=r"server|port|serves"):
        host(text)


def test_a_ring_file(tmp_path):
    write_ring(tmp_path, "object-1", [("192.0.2.1", 6200, "d1", 100.0), None, ("2001:db8::1", 6210, "d2", 0)])
    path = tmp_path / "object-1.ring.gz"
    md5 = hashlib.new("md5", path.read_bytes(), usedforsecurity=False).hexdigest()
    devices = (("192.0.2.1", 6200, "d1", 100.0), ("2001:db8::1", 6210, "d2", 0.0))
    assert ring(Run(), str(path)) == Ring("object-1.ring.gz", md5, devices)


def test_a_ring_file_of_version_2(tmp_path):
    path = tmp_path / "object.ring.gz"
    path.write_bytes(base64.b64decode(VERSION_2))
    assert ring(Run(), str(path)).devices == (
        ("192.0.2.1", 6200, "d1", 100.0),
        ("192.0.2.2", 6200, "d1", 100.0),
        ("192.0.2.2", 6200, "d2", 0.0),
    )


CUT = "it is cut, or no ring file"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", CUT),
        (b"not packed", "it is no gzip file"),
        (gzip.compress(pickle.dumps({"devs": []}, 2)), "no ring file of version 1 or 2"),
        (gzip.compress(struct.pack("!4sH", b"R1NG", 3) + bytes(9)), "no ring file of version 1 or 2"),
        (gzip.compress(struct.pack("!4sHI", b"R1NG", 1, 90) + b'{"devs": ['), CUT),
        (gzip.compress(struct.pack("!4sHI", b"R1NG", 1, 2) + b"{}"), "its list of devices was not found"),
        (gzip.compress(struct.pack("!4sHI", b"R1NG", 1, 2) + b"[]"), CUT),
        (gzip.compress(struct.pack("!4sHI", b"R1NG", 1, 14) + b'{"devs": [{}]}'), CUT),
        (gzip.compress(struct.pack("!4sHI", b"R1NG", 1, 1 << 31)), "its list of devices was not found"),
        (gzip.compress(struct.pack("!4sHQ", b"R1NG", 2, 2) + b"{}"), CUT),
        (gzip.compress(struct.pack("!4sHI", b"R1NG", 1, 14) + b'{"devs": [1]} ')[:-12], CUT),
    ],
    ids=range(11),  # not the bytes: gzip writes the time into them
)
def test_no_ring_file(tmp_path, data, error):
    path = tmp_path / "object.ring.gz"
    path.write_bytes(data)
    with pytest.raises(Failed) as caught:
        ring(Run(), str(path))
    assert caught.value == Failed(UNREADABLE, "object.ring.gz", f"read {path}", error)


def test_a_directory_of_rings(tmp_path):
    for name in ("account", "object-1", "objectionable"):
        write_ring(tmp_path, name, [("192.0.2.1", 6200, "d1", 1)])
    (tmp_path / "object.builder").touch()
    lacking, *found = rings(Run(), str(tmp_path))
    text = "it is not there: which servers there are is not known"
    assert lacking == Failed(ABSENT, "container.ring.gz", f"read {tmp_path}/container.ring.gz", text)
    assert [one.name for one in found] == ["account.ring.gz", "object-1.ring.gz"]


@pytest.mark.parametrize(("kind", "requests"), [("account", 9), ("container", 9), ("object", 12)])
def test_how_much_is_asked(kind, requests):
    with Recon(kind) as server:
        said = swift_recon.ask(Run(), Server(kind, server.host, server.port), ALL)
    assert (len(server.asked), len(set(server.asked)), server.connections) == (requests, requests, 1)
    assert server.asked[:2] == ["version", "time"]
    assert not [one for one in said.told.values() if isinstance(one, Failed)]


def test_only_what_a_mode_wants():
    assert swift_recon.paths("account", ["clock", "async"]) == []
    assert swift_recon.paths("object", ["async", "disks"]) == ["devices", "async", "diskusage", "driveaudit"]


def test_a_disk_that_spoils_its_list():
    told = answers("object", diskusage=(500, "Internal server error."), unmounted=[{"device": "d1", "mounted": False}])
    with Recon("object", told) as server:
        said = swift_recon.ask(Run(), Server("object", server.host, server.port), ["disks"])
    assert said.told["diskusage"].error == "HTTP 500"
    found = list(swift_recon._disks(Run(), swift_recon._stores([said]), set(), set()))
    assert found == [Measure("unmounted", 1, "", "127.0.0.1 d1")]


def test_a_server_that_is_well():
    assert of_server("object") == [
        Measure("clock", 0.0, "object@192.0.2.1:6200"),
        Measure("repl_age", 60.0, "object@192.0.2.1:6200"),
        Measure("repl_failed", 0.0, "object@192.0.2.1:6200", "0 of 24"),
        Measure("audit_age", 600.0, "object@192.0.2.1:6200"),
    ]
    assert [one.name for one in of_server("account", ["audit"])] == ["clock", "repl_age", "repl_failed", "audit_age"][
        1:
    ]


NEVER = "no pass of replication has ended: recon has no time of one"
ODD = "the time of its last repl is not understood: "


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"replication_last": None}, NEVER),
        ({"replication_last": 0}, NEVER),
        ({}, NEVER),
        ({"replication_last": NOW + 3600}, f"{ODD}{NOW + 3600!r}"),
        ({"replication_last": -1}, f"{ODD}-1"),
        ({"replication_last": "yesterday"}, f"{ODD}'yesterday'"),
        ({"replication_last": True}, f"{ODD}True"),
        ({"replication_last": float("nan")}, f"{ODD}nan"),
        ({"replication_last": 10**400}, f"{ODD}1{'0' * 39}"),
    ],
)
def test_a_replication_without_a_time(told, said):
    found = of_server("object", ["replication"], replication__object=told)
    assert found[0] == Trouble("unknown", "object@192.0.2.1:6200", said)


def test_replication():
    def told(**words):
        found = of_server("object", ["replication"], replication__object={"replication_last": NOW + 5, **words})
        return [one[:2] + one[3:] for one in found if one.name.startswith("rep")]

    assert told() == [("repl_age", 0.0, "")]
    assert told(replication_stats=None) == [("repl_age", 0.0, "")]
    assert told(replication_stats={"success": 0, "failure": 0})[1] == ("repl_failed", 0.0, "0 of 0")
    stats = {"success": 30, "failure": 10, "failure_nodes": {"192.0.2.9": {"d1": 10}}}
    assert told(replication_stats=stats)[1] == ("repl_failed", 25.0, "10 of 40, towards 192.0.2.9")
    old = {"replication_last": None, "object_replication_last": NOW - 7}
    assert of_server("object", ["replication"], replication__object=old)[0].value == 7.0


@pytest.mark.parametrize("stats", [7, {}, {"success": "1", "failure": 0}, {"success": 1}])
def test_copies_that_are_not_understood(stats):
    found = of_server(
        "object", ["replication"], replication__object={"replication_last": NOW, "replication_stats": stats}
    )
    assert found[1] == Trouble(
        "unknown", "object@192.0.2.1:6200", f"replication_stats is not understood: {stats!r:.40}"
    )


@pytest.mark.parametrize("path", ["devices", "swiftconfmd5"])
def test_an_empty_answer_is_not_recons(path):
    with Recon("object", {**answers("object"), path: {}}) as server:
        said = swift_recon.ask(Run(), Server("object", server.host, server.port), ALL)
    assert said.told[path] == Failed(UNREADABLE, server.name, f"GET /recon/{path}", "not understood: '{}'")


def test_a_release_that_does_not_tell_of_reconstruction():
    """Recon tells of it since 2.17; before it said 404 to that path as to any it did not know."""
    told = answers("object")
    del told["reconstruction/object"]
    with Recon("object", told) as server:
        said = swift_recon.ask(Run(), Server("object", server.host, server.port), ALL)
    assert "reconstruction/object" not in said.told
    assert not [one for one in said.told.values() if isinstance(one, Failed)]


def test_what_only_some_have():
    found = of_server(
        "object",
        ["replication", "disks"],
        reconstruction__object={"object_reconstruction_last": NOW - 9},
        driveaudit={"drive_audit_errors": 3},
    )
    assert Measure("reconstruct_age", 9.0, "object@192.0.2.1:6200") in found
    assert Measure("drive_errors", 3, "object@192.0.2.1:6200") in found
    odd = of_server("object", ["disks"], driveaudit={"drive_audit_errors": "3"})
    assert Trouble("unknown", "object@192.0.2.1:6200", "drive_audit_errors is not understood: '3'") in odd


SILENT = "the auditor has told nothing: it never ran"
NOTHING = f"{SILENT}, or has no object to look at"


@pytest.mark.parametrize(
    ("kind", "told", "found"),
    [
        ("account", {"account_audits_since": NOW - 5}, ("audit_age", 5.0)),
        ("account", {"account_audits_since": None, "account_auditor_pass_completed": 0.2}, ("well", swift_recon.NO_TIME)),
        ("account", {"account_audits_since": None, "account_auditor_pass_completed": None}, ("unknown", SILENT)),
        ("container", {}, ("unknown", SILENT)),
        ("object", {"object_auditor_stats_ALL": None}, ("unknown", NOTHING)),
        ("object", {"object_auditor_stats_ALL": {}}, ("unknown", NOTHING)),
        ("object", {"object_auditor_stats_ALL": {"start_time": NOW - 8}}, ("audit_age", 8.0)),
        ("object", {"object_auditor_stats_ALL": {"d1d2": {"start_time": NOW - 3}, "d3": {"start_time": NOW - 90}}}, ("audit_age", 90.0)),
        ("object", {"object_auditor_stats_ALL": {"d1": {"start_time": "x"}}}, ("unknown", "the time of its last audit is not understood: 'x'")),
        ("object", {"object_auditor_stats_ALL": [1]}, ("unknown", "the time of its last audit is not understood: [1]")),
    ],
)  # fmt: skip
def test_audits(kind, told, found):
    said = Answers(Server(kind, "192.0.2.1", 6200), "2.30.1", NOW, 0.0, {f"auditor/{kind}": told})
    (one,) = swift_recon._of_server(said, ["audit"])
    assert ((one.name, one.value) if isinstance(one, Measure) else (one.word, one.text)) == found


def compared(*said, local=None):
    return [(one.word, one.of, one.text) for one in swift_recon._compared(said, local or {})]


def ringed(host, kind="object", conf=OTHER, **sums):
    sums = {"account": SUM, "container": SUM, "object": SUM, **sums}
    told = {f"/etc/swift/{name.replace('_', '-')}.ring.gz": md5 for name, md5 in sums.items() if md5 != "lacks"}
    return heard(host, kind, ringmd5=told, swiftconfmd5={"/etc/swift/swift.conf": conf})


def test_equal_rings():
    assert compared(ringed("a"), ringed("b"), ringed("b", "account")) == []
    assert compared(ringed("a"), local={f"{name}.ring.gz": SUM for name in ("account", "container", "object")}) == []


def test_rings_that_differ():
    assert compared(ringed("a"), ringed("b"), ringed("c", object=OTHER), ringed("c", "account", object=OTHER)) == [
        ("differs", "object@c:6200", "object.ring.gz differs from that of 2 others")
    ]
    assert compared(ringed("a"), ringed("b", object=OTHER)) == [
        ("differs", "object@a:6200", f"object.ring.gz is {SUM[:8]}, and none has a majority"),
        ("differs", "object@b:6200", f"object.ring.gz is {OTHER[:8]}, and none has a majority"),
    ]
    local = {"account.ring.gz": SUM, "container.ring.gz": SUM, "object.ring.gz": OTHER}
    assert compared(ringed("a"), local=local) == [
        ("differs", "object@a:6200", "object.ring.gz differs from this host's")
    ]


def test_this_hosts_ring_is_the_one_that_differs():
    local = {"account.ring.gz": SUM, "container.ring.gz": SUM, "object.ring.gz": OTHER}
    assert compared(ringed("a"), ringed("b"), local=local) == [
        ("differs", "this host", "has another object.ring.gz than 2 others")
    ]
    assert compared(ringed("a"), ringed("b"), ringed("c", object=OTHER), ringed("d"), local=local) == [
        ("differs", "this host", "has another object.ring.gz than 3 others"),
        ("differs", "object@c:6200", "object.ring.gz differs from that of 3 others"),
    ]
    assert compared(ringed("a"), ringed("b"), ringed("c", object=OTHER), local=local) == [
        ("differs", "object@a:6200", "object.ring.gz differs from this host's"),
        ("differs", "object@b:6200", "object.ring.gz differs from this host's"),
    ]


def test_rings_that_are_not_there():
    assert compared(ringed("a", object_1=SUM), ringed("b")) == [
        ("lacks", "object@b:6200", "lacks object-1.ring.gz, which others have")
    ]
    local = {"account.ring.gz": SUM, "container.ring.gz": SUM, "object.ring.gz": SUM, "object-1.ring.gz": SUM}
    assert compared(ringed("a"), local=local) == [
        ("lacks", "object@a:6200", "lacks object-1.ring.gz, which this host has")
    ]
    assert compared(ringed("a"), ringed("b", object=None)) == [("lacks", "object@b:6200", "can't read object.ring.gz")]
    assert compared(ringed("a", object=None), ringed("b", object=None)) == [
        ("lacks", "object@a:6200", "can't read object.ring.gz"),
        ("lacks", "object@b:6200", "can't read object.ring.gz"),
    ]
    assert compared(ringed("a"), ringed("b"), heard("c", ringmd5={})) == [
        ("lacks", "object@c:6200", "has no ring files")
    ]
    assert compared(ringed("a"), ringed("b", object=7)) == [
        ("unknown", "object@b:6200", "object.ring.gz is not understood: 7")
    ]


def test_one_host_is_compared_with_nothing():
    text = "its rings are compared with nothing: name more hosts, or --rings DIR"
    assert compared(ringed("a"), ringed("a", "account")) == [("unknown", "object@a:6200", text)]
    failed = Failed(UNREADABLE, "", "", "")
    assert compared(heard("a", ringmd5=failed), ringed("b")) == [("unknown", "object@b:6200", text)]


def test_servers_of_one_host_in_containers_have_files_of_their_own():
    assert compared(ringed("a"), ringed("a", "account", object=OTHER), ringed("b")) == [
        ("differs", "account@a:6200", "object.ring.gz differs from that of 2 others")
    ]


def test_swift_conf():
    assert compared(ringed("a"), ringed("b"), ringed("c", conf=SUM)) == [
        ("odd", "object@c:6200", "/etc/swift/swift.conf differs from that of 2 others")
    ]
    assert compared(ringed("a"), ringed("b", conf=None)) == [
        ("unknown", "object@b:6200", "/etc/swift/swift.conf can't be read there")
    ]


def disks(*said, in_rings=(), known=(), run=None):
    return list(swift_recon._disks(run or Run(), swift_recon._stores(said), set(in_rings), set(known)))


def test_disks_count_once():
    assert disks(heard("a"), heard("a", "account"), heard("b")) == [
        Measure("disk_max", 50.0, "a d1"),
        Measure("disk_max", 40.0, "a d2"),
        Measure("disk_max", 50.0, "b d1"),
        Measure("disk_max", 40.0, "b d2"),
        Measure("unmounted", 0),
        Measure("disk_spread", 10.0),
    ]


def test_two_directories_of_one_host_are_two():
    other = heard("a", devices=(), devices_=None)
    other = other._replace(told={**other.told, "devices": {"/srv/2": ["d1"]}, "diskusage": [disk("d1", False)]})
    assert disks(heard("a"), other)[2:] == [
        Measure("unmounted", 1, "", "a:/srv/2 d1"),
        Measure("disk_spread", 10.0),
    ]


def test_disks_that_are_not_well():
    told = [disk("d1", False), disk("d2", "[Errno 5] Input/output error: '/srv/node/d2'"), disk("d4", 1), {"device": "d5", "mounted": True, "size": 0, "used": 0}, 7]  # fmt: skip
    found = disks(heard("a", devices=("d1", "d2", "d3"), diskusage=told))
    assert found == [
        Trouble("unknown", "a", "a disk is not understood: 7"),
        Trouble("dying", "a d2", "can't be looked at: [Errno 5] Input/output error: '/srv/node/d2'"),
        Trouble("unknown", "a d4", "its state is not understood: 1"),
        Trouble("unknown", "a d5", "its state is not understood: 0"),
        Measure("unmounted", 2, "", "a d1, a d3 (not there)"),
    ]


def test_a_disk_of_which_recon_tells_nothing():
    """Recon leaves out of diskusage and unmounted what its os.path.isdir denies: a disk whose stat fails, a link to nowhere."""

    def told(devices, diskusage):
        said = heard("a", devices=devices, diskusage=diskusage)
        return said._replace(told={**said.told, "devices": {"/srv/node": ["d1", "d2", "README", ".keep"]}})

    rows = [disk("d2", used=40)]
    assert disks(told(("d1", "d2"), rows), in_rings={("a", "d1"), ("a", "d2")}, known={"a"}) == [
        Trouble("dying", "a d1", f"can't be looked at: {swift_recon.SKIPPED}"),
        Measure("disk_max", 40.0, "a d2"),
        Measure("unmounted", 0),
    ]
    assert disks(told((), rows))[:2] == [
        Trouble("unknown", "a README", f"is not looked at: {swift_recon.SKIPPED}"),
        Trouble("unknown", "a d1", f"is not looked at: {swift_recon.SKIPPED}"),
    ]
    # `unmounted`, which is asked where diskusage fails, names only the bad ones: no word of a disk is no trouble then.
    assert disks(told(("d1", "d2"), Failed(UNREADABLE, "", "", ""))) == []


def test_a_bad_word_outlives_a_good_one():
    for order in (1, -1):
        said = [heard("a"), heard("a", "account", diskusage=[disk("d1", False), disk("d2", used=40)])][::order]
        assert Measure("unmounted", 1, "", "a d1") in disks(*said)


def test_directories_of_no_ring_are_no_disks():
    told = [disk("d1"), disk("d2"), disk("lost+found", False)]
    said = heard("a", diskusage=told)
    assert Measure("unmounted", 1, "", "a lost+found") in disks(said)
    rings = {("a", "d1"), ("a", "d2"), ("b", "lost+found")}
    assert Measure("unmounted", 0) in disks(said, in_rings=rings, known={"a", "b"})
    assert Measure("unmounted", 1, "", "a lost+found") in disks(said, in_rings=rings, known={"b"})


def test_a_host_without_devices():
    said = heard("a", devices=(), diskusage=[])
    said = said._replace(told={**said.told, "devices": {"/srv/node": []}})
    assert disks(said) == [Trouble("lacks", "a", "has no devices in /srv/node")]
    assert disks(said, in_rings={("a", "d1")}, known={"a"}) == []  # its weight there is 0
    said = said._replace(server=said.server._replace(devices=("d1",)))
    assert disks(said, in_rings={("a", "d1")}, known={"a"}) == [Measure("unmounted", 1, "", "a d1 (not there)")]


def test_disks_that_were_not_seen_are_not_counted():
    failed = Failed(UNREADABLE, "", "", "")
    assert disks(heard("a", diskusage=failed, unmounted=failed)) == []
    said = heard("a")
    assert disks(said._replace(told={**said.told, "devices": failed})) == []
    assert disks(heard("a"), run=Run(include=["object@*"])) == disks(heard("a")), "it names servers"
    assert Measure("unmounted", 0) in disks(
        heard("a", diskusage=[disk("d1", False)]), heard("b"), run=Run(exclude=["a d1", "a d2"])
    )


def test_updates_that_wait():
    def told(*answers):
        return list(swift_recon._asyncs(swift_recon._stores([heard("a", **{"async": answer}) for answer in answers])))

    assert told({"async_pending": 7, "async_pending_last": NOW - 30}) == [
        Measure("async", 7, "a"),
        Measure("async_age", 30.0, "a"),
    ]
    assert told({"async_pending": 7}) == [Measure("async", 7, "a")]
    assert told({"async_pending": 7}, {"async_pending": 7}) == [Measure("async", 7, "a")]
    never = Trouble("unknown", "a", "pending updates are not counted: swift-recon-cron does not run there")
    assert told({"async_pending": None, "async_pending_last": None}) == [never]
    assert told({}) == [never]
    assert told({"async_pending": "7"}) == [Trouble("unknown", "a", "async_pending is not understood: '7'")]


def counted(before, shift, *said, asked=("a", "b")):
    run = Run(before=before, clock=Clock(shift=shift))
    found, history = swift_recon._quarantined(run, swift_recon._stores(said), asked, 86400.0)
    return found, history.keep()


def quarantine(host, objects):
    return heard(host, quarantined={"objects": objects, "containers": 1, "accounts": 0, "policies": {}})


def test_what_is_new_in_quarantine():
    found, kept = counted(None, 0, quarantine("a", 2), quarantine("a", 2), quarantine("b", 0))
    assert found == [Measure("quarantined", 4.0, "", "2 objects, 2 containers"), Measure("quarantined_new", COLLECTING)]
    found, kept = counted(kept, 300, quarantine("b", 0))  # the other is silent
    assert found == [Measure("quarantined", 1.0, "", "1 containers"), Measure("quarantined_new", 0.0)]
    found, kept = counted(kept, 600, quarantine("a", 5), quarantine("b", 0))
    assert found[1] == Measure("quarantined_new", 3.0, "", "a 3")
    assert counted(counted(None, 0, quarantine("2001:db8::1", 0))[1], 300, quarantine("2001:db8::1", 1))[0][1] == (
        Measure("quarantined_new", 1.0, "", "2001:db8::1 1")
    )
    found, kept = counted(kept, 900, quarantine("a", 0), quarantine("b", 0))  # somebody cleaned up
    assert found[1] == Measure("quarantined_new", 0.0)
    found, kept = counted(kept, 1200, quarantine("b", 0), asked=["b"])  # a node that is no longer asked is forgotten
    assert "a:/srv/node" not in kept[-1][2] if isinstance(kept[-1], list) else "a:/srv/node" not in kept[-2][2]


def test_many_hosts_with_something_new_are_not_all_named():
    hosts = [f"n{number:02}" for number in range(20)]
    _, kept = counted(None, 0, *(quarantine(host, 0) for host in hosts), asked=hosts)
    found, _ = counted(kept, 300, *(quarantine(host, number) for number, host in enumerate(hosts)), asked=hosts)
    assert found[1] == Measure(
        "quarantined_new", 190.0, "", "n19 19, n18 18, n17 17, n16 16, n15 15, n14 14, n13 13, n12 12 …"
    )


@pytest.mark.parametrize(
    "told", [{}, {"objects": None, "containers": 0, "accounts": 0}, {"objects": -1, "containers": 0, "accounts": 0}]
)
def test_a_quarantine_that_is_not_understood(told):
    found, _ = counted(None, 0, heard("a", quarantined=told))
    assert found == [Trouble("unknown", "a", f"its quarantine is not understood: {told!r:.40}")]


@pytest.mark.parametrize(
    "before", [7, [], [7], [[1, 2]], [["x", 1.0, 7]], [["x", 1.0, {"a:/srv/node": "7"}]], {"a": 1}]
)
def test_a_foreign_state_is_as_none(before):
    assert counted(before, 0, quarantine("a", 0))[0][1] == Measure("quarantined_new", COLLECTING)
