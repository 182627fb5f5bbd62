# SPDX-License-Identifier: Apache-2.0
"""Names on a back-end, as OverlayManager, DASManager and VolumeCreator of Eucalyptus 3.2 to 4.4.2 make them, and the records' words.

`vg-`/`lv-` and random words of 3.2: Hashes.getRandom(4), in Bouncy Castle's UrlBase64, which pads by dots.
"""

from __future__ import annotations

import os
import types

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import euca_resources, euca_volumes, lvm
from nephoscope.probes.euca_ec2 import Snapshot, Volume
from nephoscope.probes.euca_storage import Backend
from nephoscope.probes.euca_volumes import DOWNLOADS, Listing, owner_of_file, owner_of_volume, records
from nephoscope.probes.volume_orphans import Record, Stored

from tests.probes import stand_ins
from tests.probes.test_lvm import DENIED, listing, report
from tests.probes.test_tgt import target

OLD = "lv-b8hMyA.."


@pytest.mark.parametrize(
    "name, owner",
    [
        ("vol-1A2B3C4D", "vol-1A2B3C4D"),
        ("vol-1a2b3c4d", "vol-1a2b3c4d"),
        ("vol-0123456789abcdef0", "vol-0123456789abcdef0"),
        ("snap-9F8E7D6C", "snap-9F8E7D6C"),
        ("snap-0123456789abcdef0", "snap-0123456789abcdef0"),
        # 6 random bytes in base64: 8 letters, which may be hexadecimal digits too.
        ("vol-1A2B3C4Dxyz_-123", "snapshot of vol-1A2B3C4D under way"),
        ("vol-1A2B3C4Dabcdef01", "snapshot of vol-1A2B3C4D under way"),
        ("vol-0123456789abcdef0xyz_-123", "snapshot of vol-0123456789abcdef0 under way"),
        ("snap-9F8E7D6C--1234567", DOWNLOADS),
        ("snap-9F8E7D6C-1234567", DOWNLOADS),
        ("snap-0123456789abcdef0-12", DOWNLOADS),
        ("lost+found", ""),
        ("vol-12", ""),
        ("volume", ""),
        ("snap-9F8E7D6Cx", ""),
        ("euca-vol-1A2B3C4D", ""),
        ("", ""),
    ],
)
def test_files(name, owner):
    assert owner_of_file(name) == owner


@pytest.mark.parametrize(
    "name, owner",
    [
        ("euca-vol-1A2B3C4D", "vol-1A2B3C4D"),
        ("euca-vol-0123456789abcdef0", "vol-0123456789abcdef0"),
        ("euca-snap-9F8E7D6C", "snap-9F8E7D6C under way"),
        ("euca-vol-1A2B", ""),
        ("euca-", ""),
        ("vol-1A2B3C4D", ""),
        (OLD, ""),
        ("root", ""),
    ],
)
def test_logical_volumes(name, owner):
    assert owner_of_volume(name) == owner


@pytest.mark.parametrize(
    "state, record",
    [
        ("in-use", Record("used")),
        ("available", Record("idle")),
        ("creating", Record()),
        ("unavailable", Record()),
        ("deleting", Record()),
        ("failed", Record()),
        ("error", Record()),
        ("deleted", Record(over=True)),
        ("resting", Record(doubt="its volume is in a state that is not understood: resting")),
        ("", Record(doubt="its volume is in a state that is not understood: none")),
    ],
)
def test_each_state_of_a_volume(state, record):
    found = records([Volume("vol-1", state, zone="one")], [], "one")
    assert found.pop(DOWNLOADS, None) == (Record() if state in ("creating", "unavailable") else None)
    assert found == {"vol-1": record}


def test_every_state_that_is_known_elsewhere_is_known_here():
    assert set(euca_volumes.STATES) == set(euca_resources.VOLUME)
    assert set(euca_volumes.SNAPSHOTS) == set(euca_resources.SNAPSHOT)


def test_another_zone_is_no_orphan_and_lacks_nothing():
    found = records([Volume("vol-1", "in-use", zone="two"), Volume("vol-2", "deleted", zone="two")], [], "one")
    said = "belongs to a volume of zone two, not of one: is --zone right?"
    assert found == {"vol-1": Record(doubt=said), "vol-2": Record(over=True)}


@pytest.mark.parametrize(
    "state, under_way, doubt",
    [
        ("pending", True, ""),
        ("completed", False, ""),
        ("failed", False, ""),
        ("lost", True, "its snapshot is in a state that is not understood: lost"),
    ],
)
def test_each_state_of_a_snapshot(state, under_way, doubt):
    found = records([], [Snapshot("snap-1", "1", state, volume="vol-1")], "one")
    also = {"snap-1 under way": Record(), "snapshot of vol-1 under way": Record()} if under_way else {}
    assert found == {"snap-1": Record(doubt=doubt), **also}


# The listing


LV = '{{"vg_name":"{}", "lv_name":"{}", "lv_size":"{}"}}'
GROUP = (
    '{{"vg_name":"{0}", "vg_attr":"wz--n-", "vg_size":"1000", "vg_free":"0", "pv_count":"1", "vg_missing_pv_count":"0",'
    ' "lv_count":"{1}", "snap_count":"0"}}'
)
DAS = "euca-ebs-storage-vg-Zk3_x9Qw"
OVERLAY = "euca-ebs-storage-vg-vol-1A2B3C4D"


def vgs(**volumes):
    return stand_ins.says(report(*(GROUP.format(name, number) for name, number in volumes.items())))


def lvs(*rows):
    return stand_ins.says(listing("lv", *(LV.format(*row) for row in rows)))


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A listing of a recorded tree, with stand-ins of LVM and tgtadm."""
    volumes = tmp_path / "tree/var/lib/eucalyptus/volumes"
    volumes.mkdir(parents=True)
    (tmp_path / "tree/etc/eucalyptus").mkdir(parents=True)
    (tmp_path / "tree/etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\n')

    def look(backend, *, modes=("backing", "exports"), **scripts):
        tools = {"vgs": vgs(), "lvs": lvs(), "tgtadm": "exit 0", **scripts}
        stand_ins.put(tmp_path / "bin", monkeypatch, **tools)
        options = types.SimpleNamespace(mode=modes, volumes="")
        run = Run(8, root=str(tmp_path / "tree"))
        return euca_volumes.listing(run, options, backend)

    look.volumes = volumes
    return look


def put(path, size):
    path.write_bytes(b"x" * size)
    return path.stat().st_blocks * 512


def test_overlay(there):
    size = put(there.volumes / "vol-1A2B3C4D", 9000)
    copy = put(there.volumes / "vol-1A2B3C4Dxyz_-123", 5000)
    (there.volumes / "lost+found").mkdir()
    put(there.volumes / "notes", 10)
    gone = "euca-ebs-storage-vg-vol-99999999"
    empty = "euca-ebs-storage-vg-vol-77777777"
    found = there(
        Backend("overlay"),
        vgs=vgs(**{OVERLAY: 2, gone: 1, empty: 0, "rhel": 1}),
        lvs=lvs((OVERLAY, "euca-vol-1A2B3C4D", 900), (OVERLAY, "euca-snap-9F8E7D6C", 90), (gone, "euca-vol-99999999", 7), ("rhel", "euca-vol-22222222", 5)),
        tgtadm=stand_ins.says(target()),
    )  # fmt: skip
    assert found == Listing(
        (
            Stored("file", "vol-1A2B3C4D", "vol-1A2B3C4D", size),
            Stored("file", "vol-1A2B3C4Dxyz_-123", "snapshot of vol-1A2B3C4D under way", copy),
            # These are in files that are counted; of the third the file is gone, and its loop device holds it.
            Stored("logical volume", f"{OVERLAY}/euca-snap-9F8E7D6C", "snap-9F8E7D6C under way", 0),
            Stored("logical volume", f"{OVERLAY}/euca-vol-1A2B3C4D", "vol-1A2B3C4D", 0),
            Stored("logical volume", f"{gone}/euca-vol-99999999", "vol-99999999", 7),
            Stored("volume group", empty, "vol-77777777"),
            Stored("export", "iqn.2009-06.com.eucalyptus.one:store1", "vol-1A2B3C4D"),
        ),
        ("notes",),
    )


def test_das(there):
    size = put(there.volumes / "snap-9F8E7D6C", 100)
    found = there(
        Backend("das"),
        vgs=vgs(**{DAS: 4}),
        lvs=lvs((DAS, "euca-vol-1A2B3C4D", 900), (DAS, OLD, 5), (DAS, "lv-data1", 5), (DAS, "lv-snap-b8hMyA..", 5)),
        tgtadm=stand_ins.says(
            target().replace("/dev/euca-ebs-storage-vg-vol-1A2B3C4D/euca-vol-1A2B3C4D", "/srv/other.img")
        ),
    )
    assert found == Listing(
        (
            Stored("file", "snap-9F8E7D6C", "snap-9F8E7D6C", size),
            Stored("logical volume", f"{DAS}/euca-vol-1A2B3C4D", "vol-1A2B3C4D", 900),
        ),
        (f"{DAS}/lv-data1", f"{DAS}/lv-snap-b8hMyA..", "iqn.2009-06.com.eucalyptus.one:store1"),
        (f"{DAS}/{OLD}",),
    )


def test_the_group_that_das_was_given(there):
    scripts = {"vgs": vgs(data=1), "lvs": lvs(("data", "euca-vol-1A2B3C4D", 900))}
    thing = Stored("logical volume", "data/euca-vol-1A2B3C4D", "vol-1A2B3C4D", 900)
    assert there(Backend("das", ("data",)), **scripts).things == (thing,)
    assert there(Backend("das", device="data"), **scripts).things == (thing,)
    found = there(Backend("das", ("lost",)), **scripts)
    assert (found.things, found.broken) == ((), "no volume group lost")
    found = there(Backend("das"), **scripts).failures["logical volume"]
    said = "is DAS, and no volume group has Eucalyptus' name: say by --group which one it uses"
    assert (found.kind, found.error) == (UNREADABLE, said)


def test_each_mode_asks_for_its_own(there):
    put(there.volumes / "vol-1A2B3C4D", 1)
    assert [thing.kind for thing in there(Backend("overlay"), modes=("backing",), tgtadm="exit 1").things] == ["file"]
    assert there(Backend("overlay"), modes=("exports",), vgs="exit 1") == Listing(())


EMPTY = stand_ins.says(report())


@pytest.mark.parametrize(
    "scripts, kind, why, said",
    [
        ({"vgs": f"{EMPTY}\necho '{DENIED}' >&2"}, "logical volume", NOT_ALLOWED, "it does not run as root, and lists nothing"),
        ({"vgs": "exit 5"}, "logical volume", UNREADABLE, "it ended with 5: no word why"),
        ({"lvs": "exit 5"}, "logical volume", UNREADABLE, "it ended with 5: no word why"),
        ({"lvs": lvs()}, "logical volume", UNREADABLE, f"none of the 1 of {DAS} is listed"),
        ({"lvs": f"{lvs()}\necho '{DENIED}' >&2"}, "logical volume", NOT_ALLOWED, "it does not run as root, and lists nothing"),
        ({"lvs": "echo {}"}, "logical volume", UNREADABLE, "not its JSON: '{}'"),
        ({"lvs": lvs((DAS, "x", "1.00g"))}, "logical volume", UNREADABLE, None),
        ({"tgtadm": "exit 22"}, "export", UNREADABLE, "tgtadm ended with 22"),
    ],
)  # fmt: skip
def test_a_list_that_is_none(there, scripts, kind, why, said):
    found = there(Backend("das"), **{"vgs": vgs(**{DAS: 1}), "lvs": lvs((DAS, "euca-vol-1A2B3C4D", 1)), **scripts})
    assert list(found.failures) == [kind]
    failed = found.failures[kind]
    assert failed.kind == why
    assert said is None or failed.error == said
    assert not any(thing.kind == kind for thing in found.things)


def test_the_lines_are_those_that_sudoers_allow(there, tmp_path):
    def told(name, text):
        return f'echo "$@" > {tmp_path}/{name}\n{text}'

    scripts = {"vgs": told("vgs", vgs(**{DAS: 1})), "lvs": told("lvs", lvs((DAS, "euca-vol-1A2B3C4D", 1)))}
    there(Backend("das"), **scripts)
    assert (tmp_path / "vgs").read_text().split() == list(lvm.VGS[1:])
    assert (tmp_path / "lvs").read_text().split() == list(lvm.NAMES[1:])


def test_a_directory_that_only_root_may_read(there, monkeypatch, tmp_path):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(euca_volumes, "_scan", refuse)
    rows = "d:8:/var/lib/eucalyptus/volumes\\0f:16:/var/lib/eucalyptus/volumes/vol-1A2B3C4D\\0d:8:/v/lost+found\\0"
    script = f'echo "$@" > {tmp_path}/find\nprintf "{rows}"'
    found = there(Backend("overlay"), find=script)
    assert found.things == (Stored("file", "vol-1A2B3C4D", "vol-1A2B3C4D", 8192),)
    argv = (tmp_path / "find").read_text().split()
    assert argv == [f"{tmp_path}/tree{euca_volumes.LIST[1]}", *euca_volumes.LIST[2:]]
    failed = there(Backend("overlay"), find="exit 0", sudo=stand_ins.REFUSES).failures["file"]
    assert failed.kind == NOT_ALLOWED
    assert failed.cure.startswith("a sudoers line for `/usr/bin/find ")


@pytest.mark.parametrize("refused", [False, True])
def test_links_are_followed(there, monkeypatch, tmp_path, refused):
    """The directory and one of its volumes lie elsewhere, another leads to nothing; by the real find where the directory is closed."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    if refused:
        monkeypatch.setattr(euca_volumes, "_scan", refuse)
    there.volumes.rename(tmp_path / "big")
    there.volumes.symlink_to(tmp_path / "big")
    put(tmp_path / "big/vol-1A2B3C4D", 1)
    put(tmp_path / "elsewhere", 1)
    (tmp_path / "big/vol-2A2B3C4D").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "big/vol-3A2B3C4D").symlink_to(tmp_path / "gone")
    found = there(Backend("overlay"))
    assert ([thing.name for thing in found.things], found.failures) == (["vol-1A2B3C4D", "vol-2A2B3C4D"], {})


@pytest.mark.parametrize("refused", [False, True])
def test_names_that_are_no_text(there, monkeypatch, refused):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    if refused:
        monkeypatch.setattr(euca_volumes, "_scan", refuse)
    odd = b"vol-1A2B3C4D\xff\n:|x"
    with open(os.fsencode(there.volumes) + b"/" + odd, "wb"):
        pass
    put(there.volumes / "vol-2A2B3C4D", 1)
    found = there(Backend("overlay"))
    assert found.failures == {}
    assert [thing.name for thing in found.things] == ["vol-2A2B3C4D"]
    assert [name.encode("utf-8")[:12] for name in found.strangers] == [b"vol-1A2B3C4D"]


def test_a_directory_that_is_not_there(there):
    there.volumes.rmdir()
    failed = there(Backend("overlay")).failures["file"]
    assert (failed.kind, failed.of) == (ABSENT, "/var/lib/eucalyptus/volumes")


def test_a_directory_without_end(there, monkeypatch):
    monkeypatch.setattr(euca_volumes, "MOST", 3)
    for number in range(4):
        put(there.volumes / f"vol-1A2B3C4{number}", 1)
    failed = there(Backend("overlay")).failures["file"]
    assert isinstance(failed, Failed)
    assert failed.error == "more than 3 names"


def test_old_names_are_matched_by_number():
    whose = "only the database knows whose they are"
    assert euca_volumes._by_number((OLD,), {"vol-1": "used"}) == ({}, "")
    assert euca_volumes._by_number((OLD, "lv-Zk3_x9.."), {"vol-1": "used"}) == (
        None,
        f"2 names of before 3.3 tell no volume, and 1 volumes have no other backing: {whose}",
    )
    assert euca_volumes._by_number((OLD,), None) == (None, f"1 names of before 3.3 tell no volume: {whose}")
