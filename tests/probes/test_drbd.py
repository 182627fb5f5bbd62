# SPDX-License-Identifier: Apache-2.0
"""/proc/drbd is hand-made after drbd 8.4's drbd_proc.c and outputs of 8.3.7, 8.3.8 and 8.4.10 in public reports.

The JSON is hand-made after drbd-utils 9.22, user/v9/drbdsetup.c (resource_, device_, connection_ and peer_device_status_json), and 9.0's.
So is the empty list; what drbdsetup says without a module was printed by drbd-utils 9.22.0 of Debian 12.
"""

from __future__ import annotations

import json

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import drbd
from nephoscope.probes.drbd import BEING, PERHAPS, Condition, Copy, Disk, Peer, Resource, Survey, Volume

from tests.probes import stand_ins

HEAD_83 = "version: 8.3.7 (api:88/proto:86-91)\nsrcversion: EE47D8BF18AC166BE219757 \n"
HEAD_84 = "version: 8.4.10 (api:1/proto:86-101)\nsrcversion: 473968AD625BA317874A57E\n\n"
HEAD_9 = "version: 9.2.4 (api:2/proto:86-122)\nGIT-hash: d757cfbde0fac73aa68b3a5b7f8e4b1f build by root@a, 2023-06-06\nTransports (api:19): tcp (9.2.4)\n"


def device(minor=1, cs="Connected", ro="Primary/Secondary", ds="UpToDate/UpToDate", flags="C r-----", oos=0, more=""):
    numbers = "    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f"
    return f"{minor:2d}: cs:{cs} ro:{ro} ds:{ds} {flags}\n{numbers} oos:{oos}\n{more}"


SYNC_83 = device(
    0,
    "SyncTarget",
    "Secondary/Primary",
    "Inconsistent/UpToDate",
    "C r----",
    813660,
    "\t[===>................] sync'ed: 20.8% (813660/1023932)K queue_delay: 0.0 ms\n\tfinish: 0:00:42 speed: 19,112 (19,112) K/sec\n",
)
VERIFY = device(
    1,
    "VerifyS",
    more="\t[=>..................] verified:  5.0% (9728/10236)M\n\tfinish: 0:03:42 speed: 33,904 (33,956) want: 1 K/sec (stalled)\n",
)


def copy(volume=0, replication="Established", disk="UpToDate", behind=0, client=False, **more):
    return {
        "volume": volume,
        "replication-state": replication,
        "peer-disk-state": disk,
        "peer-client": client,
        "resync-suspended": "no",
        "received": 0,
        "sent": 0,
        "out-of-sync": behind,
        "pending": 0,
        "unacked": 0,
        "has-sync-details": False,
        "has-online-verify-details": False,
        "percent-in-sync": 100.0,
        **more,
    }


def peer(*copies, name="b", state="Connected", role="Secondary", congested=False):
    return {
        "peer-node-id": 1,
        "name": name,
        "connection-state": state,
        "congested": congested,
        "peer-role": role,
        "ap-in-flight": 0,
        "rs-in-flight": 0,
        "peer_devices": list(copies) or [copy()],
    }


def disk(volume=0, minor=1000, state="UpToDate", client=False, **more):
    return {
        "volume": volume,
        "minor": minor,
        "disk-state": state,
        "client": client,
        "quorum": True,
        "size": 1048576,
        "read": 0,
        "written": 0,
        "al-writes": 0,
        "bm-writes": 0,
        "upper-pending": 0,
        "lower-pending": 0,
        **more,
    }


def resource(name="r0", role="Primary", devices=None, peers=None, **more):
    return {
        "name": name,
        "node-id": 0,
        "role": role,
        "suspended": False,
        "write-ordering": "flush",
        "devices": [disk()] if devices is None else devices,
        "connections": [peer()] if peers is None else peers,
        **more,
    }


def status(*resources):
    return json.dumps(resources, indent=2)


GOOD_COPY = Copy("r0/b/0", "Established", Disk("UpToDate"), 0)
GOOD = Resource(
    "r0",
    ("r0", "r0/0", "drbd1000"),
    "Primary",
    "",
    (Volume("r0/0", Disk("UpToDate"), True),),
    (Peer("r0/b", "Connected", "Secondary", False, (GOOD_COPY,)),),
)


def tree(tmp_path, text=None, links=(), blocks=()):
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True, exist_ok=True)
    if text is not None:
        (root / "proc/drbd").write_text(text)
    for name, target in dict(links).items():
        path = root / "dev/drbd/by-res" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    for name in blocks:
        (root / "sys/block" / name).mkdir(parents=True)
    return str(root)


def test_a_device_of_8_4():
    (found,) = drbd.parse_proc(HEAD_84 + device(oos=12349), {"drbd1": "r0/0"})
    there = Copy("r0", "Established", Disk("UpToDate"), 12349 * 1024)
    peers = (Peer("r0/peer", "Connected", "Secondary", False, (there,)),)
    assert found == Resource("r0", ("drbd1", "r0"), "Primary", "", (Volume("r0", Disk("UpToDate")),), peers)


def test_a_synchronisation_of_8_3():
    (found,) = drbd.parse_proc(HEAD_83 + SYNC_83, {})
    assert found.copies == (Copy("drbd0", "SyncTarget", Disk("UpToDate", syncing=BEING), 813660 * 1024, 20.8),)
    assert found.volumes == (Volume("drbd0", Disk("Inconsistent", syncing=BEING)),)
    assert found.peers[0].connected
    said = list(found.conditions())
    assert Condition("degraded", "drbd0", "disk is Inconsistent, and is being synchronised") in said
    assert Condition("degraded", "drbd0", "replication is SyncTarget, 20.8 % done") in said


def test_a_verification_that_is_stalled():
    (found,) = drbd.parse_proc(HEAD_84 + VERIFY, {})
    said = "replication is VerifyS, 5 % done, and it is stalled"
    assert Condition("degraded", "drbd1", said) in list(found.conditions())


def test_several_devices_and_their_names():
    text = HEAD_84 + " 0: cs:Unconfigured\n" + device(1) + device(2) + "\n" + device(10)
    found = drbd.parse_proc(text, {"drbd1": "r0/0", "drbd2": "r0/1"})
    assert [one.name for one in found] == ["drbd10", "r0", "r0/1"]
    assert found[2].names == ("drbd2", "r0", "r0/1")


def test_the_flags_of_8_4():
    (found,) = drbd.parse_proc(HEAD_84 + device(flags="C s---n-"), {})
    assert (found.suspended, found.peers[0].congested) == ("its flags say so", True)
    assert Condition("failed", "drbd1", "I/O is suspended: its flags say so") in list(found.conditions())
    (found,) = drbd.parse_proc(HEAD_83 + device(flags="  r----", cs="StandAlone", ro="Primary/Unknown"), {})
    assert (found.suspended, found.peers[0].congested, found.peers[0].connection) == ("", False, "StandAlone")


def test_without_a_disk_nothing_is_known_to_differ():
    (found,) = drbd.parse_proc(HEAD_84 + device(ds="Diskless/UpToDate"), {})
    assert (found.copies[0].out_of_sync, found.copies[0].counted) == (None, False)
    (found,) = drbd.parse_proc(HEAD_84 + device().replace(" oos:0", ""), {})
    assert (found.copies[0].out_of_sync, found.copies[0].counted) == (None, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "version: 0.7.25 (api:79/proto:74)\n",
        HEAD_84 + " 1: cs:Connected\n",
        HEAD_84 + " 1: nonsense\n",
        "version: 8.2.4 (api:88/proto:86-88)\n\n 0: cs:Connected st:Secondary/Secondary ds:UpToDate/UpToDate C r---\n",
    ],
)
def test_proc_that_is_not_understood(tmp_path, text):
    with pytest.raises(Failed) as caught:
        drbd.survey(Run(root=tree(tmp_path, text)))
    assert caught.value.kind == UNREADABLE


def test_names_by_links(tmp_path):
    links = {"r0": "../../drbd0", "r1/0": "../../../drbd1", "r1/1": "../../../drbd2"}
    root = tree(tmp_path, HEAD_84 + device(0) + device(1) + device(2), links)
    assert drbd.links(Run(root=root)) == {"drbd0": "r0", "drbd1": "r1/0", "drbd2": "r1/1"}
    found = drbd.survey(Run(root=root))
    assert ([one.name for one in found.resources], found.named) == (["r0", "r1", "r1/1"], True)
    assert found.has("drbd2") and found.has("r1") and not found.has("r2")


def test_no_link_no_name(tmp_path):
    found = drbd.survey(Run(root=tree(tmp_path, HEAD_84 + device())))
    assert (found.version, found.named, found.has("drbd1"), found.has("r0")) == ("8.4.10", False, True, False)


def test_without_the_module_drbdsetup_is_not_asked(tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch, drbdsetup=f"touch {tmp_path}/asked; echo '[ ]'")
    assert drbd.survey(Run(root=tree(tmp_path))) == Survey("", ())
    assert not (tmp_path / "asked").exists()


def ask(tmp_path, monkeypatch, script, blocks=(), **words):
    stand_ins.put(tmp_path / "bin", monkeypatch, **{**words, "drbdsetup": script})
    found = drbd.survey(Run(root=tree(tmp_path, HEAD_9, blocks=blocks)))
    assert set(found.kept) == {
        name for resource in found.resources for name in resource.names if name.startswith("drbd")
    }
    return found._replace(kept={})


def test_drbd_9(tmp_path, monkeypatch):
    script = f'echo "$@" > {tmp_path}/argv\n' + stand_ins.says(status(resource()))
    assert ask(tmp_path, monkeypatch, script, ["drbd1000", "sda"]) == Survey("9.2.4", (GOOD,))
    assert (tmp_path / "argv").read_text().split() == list(drbd.LINE[1:])


def test_none_is_none(tmp_path, monkeypatch):
    assert ask(tmp_path, monkeypatch, "printf '[\\n]\\n\\n'") == Survey("9.2.4", ())


def test_a_device_that_is_not_listed(tmp_path, monkeypatch):
    found = ask(tmp_path, monkeypatch, stand_ins.says(status(resource())), ["drbd1000", "drbd1001"])
    assert found.resources == (GOOD,)
    assert [failed.error for failed in found.failures] == ["it does not list drbd1001, which the kernel has"]


@pytest.mark.parametrize(
    ("words", "kind", "error"),
    [
        ({"script": "echo 'Failed to modprobe drbd (No such file or directory)' >&2; exit 20"}, UNREADABLE, "it ended with 20: Failed to modprobe drbd (No such file or directory)"),
        ({"script": "exit 1"}, UNREADABLE, "it ended with 1: no word why"),
        ({"script": "echo '# No currently configured DRBD found.'"}, UNREADABLE, "not its JSON: '# No currently configured DRBD found.'"),
        ({"script": "exit 0", "sudo": stand_ins.REFUSES}, NOT_ALLOWED, "sudo: a password is required"),
    ],
)  # fmt: skip
def test_drbdsetup_that_fails(tmp_path, monkeypatch, words, kind, error):
    with pytest.raises(Failed) as caught:
        ask(tmp_path, monkeypatch, **words)
    assert (caught.value.kind, caught.value.error) == (kind, error)


def test_drbdsetup_that_is_not_there(tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch)
    with pytest.raises(Failed) as caught:
        drbd.survey(Run(root=tree(tmp_path, HEAD_9)))
    assert caught.value.kind == ABSENT


@pytest.mark.parametrize("text", ["", "[", "{}x", "[1]", "{" * 5000, status({}), status(resource(name=7)), status(resource(role=None)), status(resource(peers=[peer(copy(behind="much"))]))])  # fmt: skip
def test_json_that_is_not_understood(text):
    with pytest.raises(Failed) as caught:
        drbd.parse_status(text)
    assert caught.value.kind == UNREADABLE


def test_a_key_that_lacks_is_no_zero():
    lacking = copy()
    del lacking["out-of-sync"]
    with pytest.raises(Failed):
        drbd.parse_status(status(resource(peers=[peer(lacking)])))


def test_out_of_sync():
    def first(*resources):
        ((found,), _) = drbd.parse_status(status(*resources))
        return found.copies[0]

    assert first(resource(peers=[peer(copy(behind=5))])).out_of_sync == 5120
    told = first(resource(peers=[peer(copy(behind=drbd.NOT_TOLD))]))
    assert (told.out_of_sync, told.counted) == (None, True)
    for less in (
        resource(devices=[disk(state="Diskless", client=True)]),
        resource(peers=[peer(copy(disk="Diskless", client=True))]),
    ):
        assert (first(less).out_of_sync, first(less).counted) == (None, False)


@pytest.mark.parametrize("key", ["percent-resync-done", "resync-done"])
def test_how_far_a_synchronisation_is(key):
    running = copy(0, "SyncSource", "Inconsistent", 9, **{key: 35.25})
    ((found,), _) = drbd.parse_status(status(resource(peers=[peer(running)])))
    assert found.copies[0].done == 35.25
    assert [condition for condition in found.conditions() if condition.health != "ok"] == [
        Condition("degraded", "r0/b/0", "replication is SyncSource, 35.25 % done"),
        Condition("degraded", "r0/b/0", "the peer's disk is Inconsistent, and is being synchronised"),
    ]


def test_who_makes_a_copy_whole():
    def disks(*peers, state="UpToDate"):
        ((found,), _) = drbd.parse_status(status(resource(devices=[disk(state=state)], peers=list(peers))))
        return [found.volumes[0].disk.state, *(one.disk.state for one in found.copies)]

    bad = peer(copy(0, "Established", "Inconsistent"))
    assert disks(bad) == ["UpToDate", "Inconsistent"]
    # Three nodes, two of which are made whole by the third: between those two the replication is Established.
    source = peer(copy(0, "SyncTarget"), name="c")
    assert disks(bad, source, state="Inconsistent") == ["syncing", "syncing", "UpToDate"]
    assert disks(peer(), state="Inconsistent") == ["Inconsistent", "UpToDate"]
    assert Disk("Inconsistent", syncing=PERHAPS).condition("x", "disk").text == f"disk is Inconsistent, {PERHAPS}"


def test_9_0_has_words_for_booleans_and_no_quorum():
    old = disk(state="Diskless", client="yes")
    del old["quorum"]
    ((found,), _) = drbd.parse_status(status(resource(devices=[old], peers=[peer(copy(client="no"))])))
    assert found.volumes == (Volume("r0/0", Disk("Diskless", True), None),)
    assert found.copies[0].disk == Disk("UpToDate")
    ((found,), _) = drbd.parse_status(status(resource(devices=[disk(state="Diskless", client="unknown")])))
    assert found.volumes[0].disk.state == "Diskless"


def test_suspended():
    why = {"suspended": True, "suspended-user": False, "suspended-quorum": True, "suspended-no-data": True}
    ((found,), _) = drbd.parse_status(status(resource(**why)))
    assert found.suspended == "quorum, no-data"
    ((found,), _) = drbd.parse_status(status(resource(suspended=True)))
    assert found.suspended == "no reason is told"


CONNECTION_HEALTH = {"Connected": "ok", "StandAlone": "failed"}
OTHER_CONNECTIONS = "Disconnecting Unconnected Timeout BrokenPipe NetworkFailure ProtocolError TearDown Connecting WFConnection WFReportParams"


@pytest.mark.parametrize("word", [*CONNECTION_HEALTH, *OTHER_CONNECTIONS.split(), "?", "TOO_LARGE"])
def test_every_connection(word):
    health = CONNECTION_HEALTH.get(word, "degraded" if word in OTHER_CONNECTIONS.split() else "unknown")
    found = list(Peer("p", word, "Secondary", False, ()).conditions())
    assert found == [Condition(health, "p", f"connection is {word}")]
    assert set(drbd.CONNECTIONS) == {*CONNECTION_HEALTH, *OTHER_CONNECTIONS.split()}


REPLICATIONS = "Off StartingSyncS StartingSyncT WFBitMapS WFBitMapT WFSyncUUID SyncSource SyncTarget VerifyS VerifyT PausedSyncS PausedSyncT Ahead Behind"


@pytest.mark.parametrize("word", ["Established", *REPLICATIONS.split(), "?"])
def test_every_replication(word):
    health = {"Established": "ok", "?": "unknown"}.get(word, "degraded")
    found = list(Copy("c", word, Disk("UpToDate"), 0).conditions())
    assert found == [
        Condition(health, "c", f"replication is {word}"),
        Condition("ok", "c", "the peer's disk is UpToDate"),
    ]
    assert set(drbd.REPLICATIONS) == {"Established", *REPLICATIONS.split()}


DISKS = {
    "Diskless": "failed", "Attaching": "degraded", "Detaching": "degraded", "Failed": "failed", "Negotiating": "degraded",
    "Inconsistent": "failed", "Outdated": "degraded", "DUnknown": "unknown", "Consistent": "degraded", "UpToDate": "ok",
    "?": "unknown",
}  # fmt: skip


@pytest.mark.parametrize("word", DISKS)
def test_every_disk(word):
    assert Disk(word).condition("d", "disk") == Condition(DISKS[word], "d", f"disk is {word}")
    assert set(drbd.DISKS) - {"client", "syncing"} == set(DISKS) - {"DUnknown", "?"}


@pytest.mark.parametrize(
    ("role", "connection", "unknown"),
    [("Primary", "Connected", False), ("Secondary", "Connected", False), ("Unknown", "Connected", True), ("Unknown", "Connecting", False), ("?", "Connecting", True)],
)  # fmt: skip
def test_every_role_of_a_peer(role, connection, unknown):
    found = [condition.health for condition in Peer("p", connection, role, False, ()).conditions()]
    assert ("unknown" in found) == unknown
    assert next(GOOD._replace(role=role).conditions()).health == (
        "ok" if role in ("Primary", "Secondary") else "unknown"
    )


def test_of_who_is_not_heard_nothing_is_said():
    lost = Copy("c", "Off", Disk("DUnknown"), 0)
    assert list(Peer("p", "Connecting", "Unknown", True, (lost,)).conditions()) == [
        Condition("degraded", "p", "connection is Connecting"),
        Condition("degraded", "p", "connection is congested"),
    ]


def test_quorum_and_what_a_resource_lacks():
    assert list(Volume("v", Disk("UpToDate"), False).conditions())[1:] == [Condition("failed", "v", "has lost quorum")]
    assert Condition("degraded", "r0", "has no peer") in list(GOOD._replace(peers=()).conditions())
    assert Condition("degraded", "r0", "has no volume") in list(GOOD._replace(volumes=()).conditions())
    assert not [condition for condition in GOOD.conditions() if condition.health != "ok"]


def test_proc_that_can_not_be_read(tmp_path):
    root = tree(tmp_path)
    (tmp_path / "root/proc/drbd").mkdir()
    with pytest.raises(Failed) as caught:
        drbd.survey(Run(root=root))
    assert caught.value.kind != ABSENT
