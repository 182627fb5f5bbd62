# SPDX-License-Identifier: Apache-2.0
"""check_volume_orphans: its judge by equality; then a simulated cloud beside a recorded tree, with stand-ins of LVM and tgtadm."""

from __future__ import annotations

import os
import re
import time

import pytest
from nephoscope.base import NOT_ALLOWED, Clock, Failed
from nephoscope.checks.storage.check_volume_orphans import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.demo.resources import Snapshot, Volume, bulk, things
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import euca_ec2
from nephoscope.probes.volume_orphans import Found, Orphan, Stored

from tests.probes import stand_ins
from tests.probes.test_euca_volumes import DAS, EMPTY, OLD, lvs, vgs
from tests.probes.test_lvm import DENIED

FILE = Stored("file", "vol-1A2B3C4D", "vol-1A2B3C4D", 512)
EUID = os.geteuid
EXPORT = Stored("export", "iqn.x:1", "vol-1A2B3C4D")


def judged(found, *argv):
    return list(judge(found, CHECK.parse(*argv)))


def none(lacking=True):
    return [Metric("missing", 0), Metric("missing_idle", 0)] if lacking else []


def test_nothing_but_what_should_be():
    assert judged(Found((), {}, looked="3 things")) == [
        *(Metric("orphans", 0), Metric("orphan_bytes", 0), *none()),
        Finding(OK, "", "3 things"),
    ]


def test_an_orphan_counts_after_the_grace():
    found = Found((Orphan(FILE, 3600.0), Orphan(EXPORT, 3599.0)), {}, looked="2 things")
    assert judged(found) == [
        Finding(OK, "vol-1A2B3C4D", "this file belongs to no volume or snapshot, for at least 1 h"),
        Finding(OK, "iqn.x:1", "this export belongs to no volume or snapshot, for 60 min so far"),
        Metric("orphans", 1, detail="file vol-1A2B3C4D"),
        Metric("orphan_bytes", 512),
        *none(),
        Finding(OK, "", "2 things, 1 of them younger orphans"),
    ]
    assert Metric("orphans", 2, detail="file vol-1A2B3C4D, export iqn.x:1") in judged(found, "--grace", "10m")


def test_many_are_not_all_named():
    six = tuple(Orphan(FILE._replace(name=f"vol-{number}"), 9000.0) for number in range(6))
    named = ", ".join(f"file vol-{number}" for number in range(5))
    assert Metric("orphans", 6, detail=f"{named} and 1 more") in judged(Found(six, {}))


def test_lacking():
    found = judged(Found((), {"vol-b": "used", "vol-c": "idle", "vol-a": "used"}))
    assert found[2:4] == [Metric("missing", 2, detail="vol-a, vol-b"), Metric("missing_idle", 1, detail="vol-c")]


def test_what_could_not_be_looked_at_is_not_none():
    failed = Failed(NOT_ALLOWED, "lvm", "run vgs", "no")
    found = Found((), None, (("vol-1", "who knows"),), "no volume group data", "2 things", (failed,))
    assert judged(found) == [
        failed,
        Finding(UNKNOWN, "vol-1", "who knows"),
        Finding(CRITICAL, "back-end", "no volume group data"),
        Finding(OK, "", "2 things"),
    ]
    assert Metric("orphans", 1, detail="file vol-1A2B3C4D") in judged(found._replace(orphans=(Orphan(FILE, 9e3),)))


# A cloud


@pytest.fixture
def demo():
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as cloud:
        yield cloud


class Host:
    """A storage controller whose directory holds what its cloud says, and what a test puts there beside it."""

    def __init__(self, demo, folder, monkeypatch):
        self.demo, self.folder, self.monkeypatch = demo, folder, monkeypatch
        self.volumes = folder / "tree/var/lib/eucalyptus/volumes"
        self.volumes.mkdir(parents=True)
        (folder / "tree/etc/eucalyptus").mkdir(parents=True)
        (folder / "tree/etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\n')
        for name in [*self.of("one"), *things(demo.cloud, Snapshot)]:
            self.put(name)

    def of(self, zone):
        return [one.name for one in things(self.demo.cloud, Volume).values() if one.zone == zone]

    def put(self, name, size=1):
        (self.volumes / name).write_bytes(b"x" * size)

    def used(self):
        return next(one for one in things(self.demo.cloud, Volume).values() if one.state == "in-use")

    def idle(self):
        return next(one for one in things(self.demo.cloud, Volume).values() if one.state == "available")

    def run(self, *argv, user="admin", shift=0, **scripts):
        tools = {"vgs": vgs(), "lvs": lvs(), "tgtadm": "exit 0", **scripts}
        stand_ins.put(self.folder / "bin", self.monkeypatch, **tools)
        self.monkeypatch.setattr(os, "geteuid", EUID)  # its state is that of the user who the tests are
        self.demo.credentials(self.folder / f"{user}.ini", user=user)
        words = ["--credentials", str(self.folder / f"{user}.ini"), "--state-dir", str(self.folder / "state"), *argv]
        return CHECK.run(words, root=str(self.folder / "tree"), clock=Clock(shift))

    def line(self, *argv, **more):
        """The first line, PLACE for the address of the cloud and N for bytes."""
        text = self.run(*argv, **more).line.replace(f"{self.demo.address('clc')}:8773", "PLACE")
        return re.sub(r"orphan_bytes=[1-9]\d*", "orphan_bytes=N", text)

    def asked(self):
        return [seen.action for seen in self.demo.requests]


@pytest.fixture
def host(demo, tmp_path, monkeypatch):
    return Host(demo, tmp_path, monkeypatch)


NONE = "orphans=0;0 orphan_bytes=0B missing=0;;0 missing_idle=0;0"


def test_all_is_as_the_records_say(host):
    assert host.line() == f"VOLUME_ORPHANS OK - 5 things on the back-end, 3 volumes in zone one | {NONE}"
    actions = ["DescribeProperties", "DescribeAvailabilityZones", "DescribeVolumes", "DescribeSnapshots"]
    assert host.asked() == actions


def test_snapshots_are_asked_for_only_where_there_is_one(host):
    for name in things(host.demo.cloud, Snapshot):
        (host.volumes / name).unlink()
    assert host.run().state == OK
    assert host.asked() == ["DescribeProperties", "DescribeAvailabilityZones", "DescribeVolumes"]


@pytest.mark.parametrize("name", ["vol-0BADCAFE", "snap-0BADCAFE", "vol-0BADCAFExyz_-123", "snap-0BADCAFE--12"])
def test_a_file_of_nothing(host, name):
    host.put(name)
    said = "VOLUME_ORPHANS OK - 6 things on the back-end, 3 volumes in zone one, 1 of them younger orphans"
    assert host.line() == f"{said} | {NONE}"
    assert host.run(shift=3500).state == OK
    assert host.line(shift=3700) == (
        f"VOLUME_ORPHANS WARNING - orphans 1 is above 0 (file {name}) | orphans=1;0 orphan_bytes=NB missing=0;;0 missing_idle=0;0"
    )
    assert host.line("--exclude", name, shift=3800).startswith("VOLUME_ORPHANS OK - ")
    (host.volumes / name).unlink()
    assert host.run(shift=3900).state == OK


def test_a_volume_in_use_without_its_file(host):
    lost = host.used()
    (host.volumes / lost.name).unlink()
    assert host.line() == (
        f"VOLUME_ORPHANS CRITICAL - missing 1 is above 0 ({lost.name}) | orphans=0;0 orphan_bytes=0B missing=1;;0 missing_idle=0;0"
    )
    lost.state = "available"
    assert host.line() == (
        f"VOLUME_ORPHANS WARNING - missing idle 1 is above 0 ({lost.name}) |"
        " orphans=0;0 orphan_bytes=0B missing=0;;0 missing_idle=1;0"
    )


@pytest.mark.parametrize("state", ["creating", "deleting", "deleted", "failed", "error"])
def test_a_volume_that_need_not_have_a_file(host, state):
    lost = host.idle()
    (host.volumes / lost.name).unlink()
    lost.state = state
    assert host.run().state == OK


@pytest.mark.parametrize(
    "state, orphans", [("creating", 0), ("deleting", 0), ("failed", 0), ("error", 0), ("deleted", 1)]
)
def test_whose_file_is_an_orphan(host, state, orphans):
    host.idle().state = state
    host.run()
    outcome = host.run(shift=3700)
    assert (outcome.state, outcome.perfdata[0]) == (WARNING if orphans else OK, f"orphans={orphans};0")


def test_a_state_that_is_not_understood(host):
    one = host.idle()
    one.state = "resting"
    said = f"{one.name} its volume is in a state that is not understood: resting"
    assert host.line() == f"VOLUME_ORPHANS UNKNOWN - {said} | {NONE}"
    (host.volumes / one.name).unlink()
    assert host.line() == f"VOLUME_ORPHANS UNKNOWN - {said} | {NONE}"


def test_a_snapshot_under_way(host):
    one = host.used()
    host.put(f"{one.name}xyz_-123")
    snapshot = next(iter(things(host.demo.cloud, Snapshot).values()))
    snapshot.state, snapshot.volume = "pending", one.name
    host.run()
    assert host.run(shift=3700).state == OK
    snapshot.state = "completed"
    host.run(shift=3800)
    assert host.run(shift=7500).reason == f"orphans 1 is above 0 (file {one.name}xyz_-123)"


def test_the_volumes_of_other_zones(demo, tmp_path, monkeypatch):
    with Demo(sample(version="4.4.2", zones=2, nodes=1)) as two:
        host = Host(two, tmp_path, monkeypatch)
        assert host.line() == (
            "VOLUME_ORPHANS UNKNOWN - back-end: which of the zones one, two is it? Say it by --zone (DescribeProperties)"
        )
        # The other zone's volumes are not here, and need not be; its snapshots may be.
        assert host.line("--zone", "one").startswith(
            "VOLUME_ORPHANS OK - 7 things on the back-end, 3 volumes in zone one |"
        )
        outcome = host.run("--zone", "two")
        assert outcome.state == CRITICAL  # it is another host's zone, as the other lines say
        assert "belongs to a volume of zone one, not of two: is --zone right?" in outcome.text
        assert host.line("--zone", "three").startswith("VOLUME_ORPHANS UNKNOWN - no property three.storage.… is shown")
        assert host.line("--zone", "three", "--backend", "overlay") == (
            "VOLUME_ORPHANS UNKNOWN - there is no zone three, but one, two (DescribeAvailabilityZones)"
        )
        before = len(host.asked())
        assert host.run("--zone", "one", "--backend", "overlay").state == OK
        assert "DescribeProperties" not in host.asked()[before:]


def test_who_sees_his_own_alone_is_told_so(host):
    outcome = host.run("--zone", "one", "--backend", "overlay", user="owner")
    assert (outcome.state, outcome.perfdata) == (UNKNOWN, [])
    said = "only the resources of account 362121614306 are visible (DescribeInstanceTypes): needs a user of account eucalyptus"
    assert said in outcome.line
    said = "PLACE: HTTP 403: Forbidden (DescribeProperties): needs a user of account eucalyptus, or a role of it (4.0+) with "
    assert host.line(user="owner").startswith(f"VOLUME_ORPHANS UNKNOWN - {said}")


def test_an_empty_list_of_an_old_cloud_is_no_proof(tmp_path, monkeypatch):
    """Before 4.3 no answer tells a version, and before 4.0 who has no right sees nothing."""
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    with Demo(sample(version="4.1.2", zones=1, nodes=1)) as demo:
        host = Host(demo, tmp_path, monkeypatch)
        assert host.run().state == OK
        things(demo.cloud, Volume).clear()
        said = "the list is empty, which before version 4.0 is also the answer to who has no right (DescribeVolumes): needs"
        assert host.line().startswith(f"VOLUME_ORPHANS UNKNOWN - {said} a user of account eucalyptus, or a role")


def test_snapshots_that_are_not_told_leave_theirs_aside(host, monkeypatch):
    def refused(*_):
        raise Failed(NOT_ALLOWED, "", "DescribeSnapshots", "no")

    host.put("snap-0BADCAFE")
    host.put("vol-0BADCAFE")
    host.run()
    monkeypatch.setattr(euca_ec2, "snapshots", refused)
    outcome = host.run(shift=3700)
    assert (outcome.state, outcome.perfdata[0]) == (WARNING, "orphans=1;0")  # the volume's
    assert outcome.reason.startswith(
        "orphans 1 is above 0 (file vol-0BADCAFE), UNKNOWN: no (DescribeSnapshots): needs a user"
    )
    monkeypatch.undo()
    host.monkeypatch = monkeypatch
    assert host.run(shift=3800).perfdata[0] == "orphans=2;0"  # the snapshot's is no younger for it


@pytest.mark.parametrize(
    "property_, said",
    [
        ("ceph-rbd", "the back-end of zone one is Ceph: none of it lies here (DescribeProperties)"),
        ("netapp", "the back-end of zone one is an array: none of it lies here (DescribeProperties)"),
        ("", "back-end: one.storage.blockstoragemanager is not set: the storage controller stays BROKEN (DescribeProperties)"),
    ],
)  # fmt: skip
def test_what_does_not_lie_here(host, property_, said):
    host.demo.tell("property", "one.storage.blockstoragemanager", property_)
    assert host.line() == f"VOLUME_ORPHANS UNKNOWN - {said}"


@pytest.mark.parametrize(
    "word, state, said",
    [
        ("stop", CRITICAL, "PLACE: Connection refused (DescribeProperties)"),
        ("error500", CRITICAL, "PLACE: HTTP 500: An internal error has occurred (DescribeProperties)"),
        (
            "html",
            UNKNOWN,
            "PLACE: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it (DescribeProperties)",
        ),
    ],
)
def test_a_cloud_that_does_not_answer(host, word, state, said):
    host.demo.tell(word, "clc")
    outcome = host.run()
    assert (outcome.state, outcome.line.replace(host.demo.address("clc") + ":8773", "PLACE")) == (
        state,
        f"VOLUME_ORPHANS {'CRITICAL' if state == CRITICAL else 'UNKNOWN'} - {said}",
    )


def test_a_cloud_that_hangs(host):
    host.demo.tell("hang", "clc")
    begun = time.monotonic()
    outcome = host.run("-t", "3")
    assert time.monotonic() - begun < 3.5
    assert (outcome.state, "no answer in" in outcome.line) == (CRITICAL, True)


# DAS


@pytest.fixture
def das(host):
    host.demo.tell("property", "one.storage.blockstoragemanager", "das")
    host.demo.tell("property", "one.storage.dasdevice", "/dev/sdb")
    for name in host.of("one"):
        (host.volumes / name).unlink()
    return host


def volumes(host, *more, without=()):
    rows = [(DAS, f"euca-{name}", 1 << 30) for name in host.of("one") if name not in without] + list(more)
    return {"vgs": vgs(**{DAS: len(rows)}), "lvs": lvs(*rows)}


def test_das(das):
    assert das.line(**volumes(das)) == f"VOLUME_ORPHANS OK - 5 things on the back-end, 3 volumes in zone one | {NONE}"
    lost = das.used().name
    assert das.run(**volumes(das, without=[lost])).reason == f"missing 1 is above 0 ({lost})"
    more = volumes(das, (DAS, "euca-vol-0BADCAFE", 5 << 30), (DAS, "swap", 1 << 30))
    das.run(**more)
    outcome = das.run(shift=3700, **more)
    assert (outcome.state, outcome.reason) == (
        WARNING,
        f"orphans 1 is above 0 (logical volume {DAS}/euca-vol-0BADCAFE)",
    )
    assert outcome.perfdata[1] == "orphan_bytes=5368709120B"
    outcome = das.run("-v", **volumes(das, (DAS, "swap", 1 << 30)))
    assert outcome.reason.endswith(", 1 not of Eucalyptus")
    assert f"[OK] {DAS}/swap has no name of the cloud's" in outcome.text


def test_a_snapshot_of_das_under_way(das):
    snapshot = next(iter(things(das.demo.cloud, Snapshot).values()))
    more = volumes(das, (DAS, f"euca-{snapshot.name}", 7))
    snapshot.state = "pending"
    das.run(**more)
    assert das.run(shift=3700, **more).state == OK
    snapshot.state = "completed"  # and its copy in the group was left behind
    das.run(shift=3800, **more)
    assert das.run(shift=7500, **more).reason == f"orphans 1 is above 0 (logical volume {DAS}/euca-{snapshot.name})"


def test_a_group_that_is_lost(das):
    das.demo.tell("property", "one.storage.dasdevice", "data")
    outcome = das.run()
    said = r"missing 2 is above 0 \((vol-\w+, )vol-\w+\), back-end no volume group data, WARNING: missing idle 1 is above 0 .*"
    assert (outcome.state, bool(re.fullmatch(said, outcome.reason))) == (CRITICAL, True), outcome.line
    assert "missing=2;;0" in outcome.perfdata


def test_names_that_tell_nothing(das):
    lost = das.used().name
    more = volumes(das, (DAS, OLD, 7), without=[lost])
    assert das.line(**more) == f"VOLUME_ORPHANS OK - 4 things on the back-end, 3 volumes in zone one | {NONE}"
    said = "lv-* 1 names of before 3.3 tell no volume, and 0 volumes have no other backing: only the database"
    outcome = das.run(**volumes(das, (DAS, OLD, 7)))
    assert (outcome.state, outcome.reason.startswith(said)) == (UNKNOWN, True), outcome.line


NO_LIST = f"{EMPTY}\necho '{DENIED}' >&2"


@pytest.mark.parametrize(
    "scripts, state, said",
    [
        ({"vgs": NO_LIST}, UNKNOWN, "lvm: it does not run as root, and lists nothing (run vgs): needs root's rights, by sudo"),
        ({"lvs": NO_LIST}, UNKNOWN, "lvm: it does not run as root, and lists nothing (run lvs): needs root's rights, by sudo"),
        ({"lvs": lvs()}, UNKNOWN, f"lvm: none of the 3 of {DAS} is listed (run lvs)"),
        ({"vgs": vgs()}, UNKNOWN, "back-end: is DAS, and no volume group has Eucalyptus' name: say by --group which one it uses (run vgs)"),
        ({"lvs": "echo x"}, UNKNOWN, "lvm: not its JSON: 'x' (run lvs)"),
        ({"tgtadm": "echo x"}, UNKNOWN, "tgtd: not understood: 'x\\n' (tgtadm --op show)"),
    ],
)  # fmt: skip
def test_an_empty_list_makes_nothing_missing(das, scripts, state, said):
    line = das.line(**{**volumes(das), **scripts})
    assert line.partition(" | ")[0] == f"VOLUME_ORPHANS {'CRITICAL' if state else 'UNKNOWN'} - {said}".replace(
        "CRITICAL", ("OK", "WARNING", "CRITICAL", "UNKNOWN")[state]
    )
    assert "missing=" not in line or "tgtadm" in scripts


def test_a_hung_lvm_makes_nothing_missing(das):
    begun = time.monotonic()
    outcome = das.run("-t", "4", **{**volumes(das), "lvs": "exec sleep 30"})
    assert time.monotonic() - begun < 4.5
    assert (outcome.state, outcome.reason) == (
        CRITICAL,
        "lvm: no answer in 0.5 s (run lvs --readonly --reportformat json --units b …)",
    )
    assert not any(item.startswith("missing") for item in outcome.perfdata)


def test_a_tgtd_that_is_busy_is_waited_for(das):
    """Its disks hold it up for seconds, and LVM was quick: it has more than its share."""
    assert das.run("-t", "8", **volumes(das), tgtadm="sleep 1.5").state == OK


def test_a_list_that_failed_once_is_not_made_up_for_by_the_next(das, tmp_path):
    more = volumes(das, without=[das.used().name])
    once = f"if [ ! -e {tmp_path}/once ]; then touch {tmp_path}/once; exit 5; fi\n"
    assert das.line(**{**more, "lvs": once + more["lvs"]}) == (
        "VOLUME_ORPHANS UNKNOWN - lvm: it ended with 5: no word why (run lvs)"
    )


def test_what_comes_while_it_looks_is_not_missed(das, tmp_path):
    """A volume that became available between the two lists is in the second one."""
    late = das.idle().name
    first, second = volumes(das, without=[late]), volumes(das)
    lines = f"if [ -e {tmp_path}/once ]; then\n{second['lvs']}\nelse touch {tmp_path}/once\n{first['lvs']}\nfi"
    assert das.run(vgs=second["vgs"], lvs=lines).state == OK


def test_exports(das):
    def target(volume):
        from tests.probes.test_tgt import target

        store = "/dev/euca-ebs-storage-vg-vol-1A2B3C4D/euca-vol-1A2B3C4D"
        return stand_ins.says(target().replace(store, f"/dev/{DAS}/euca-{volume}"))

    assert das.run(**volumes(das), tgtadm=target(das.used().name)).state == OK
    more = {**volumes(das), "tgtadm": target("vol-0BADCAFE")}
    das.run(**more)
    outcome = das.run(shift=3700, **more)
    said = "orphans 1 is above 0 (export iqn.2009-06.com.eucalyptus.one:store1)"
    assert (outcome.state, outcome.reason) == (WARNING, said)
    assert das.run("--mode", "backing", **more).state == OK
    outcome = das.run("--mode", "exports", **{**more, "vgs": "exit 1"})
    assert (outcome.state, outcome.perfdata) == (OK, ["orphans=0;0", "orphan_bytes=0B"])


def test_five_thousand_volumes_by_as_many_requests(tmp_path, monkeypatch):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as demo:
        bulk(demo.cloud, "volumes", 5000)
        host = Host(demo, tmp_path, monkeypatch)
        assert host.line().startswith("VOLUME_ORPHANS OK - 5005 things on the back-end, 5003 volumes in zone one |")
        assert len(host.asked()) == 4
