# SPDX-License-Identifier: Apache-2.0
"""check_lvm against real volume groups on loop files. Volumes are written into the metadata: no device-mapper is needed for that."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from nephoscope.base import Run
from nephoscope.checks.storage.check_lvm import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING
from nephoscope.probes import lvm

from tests.lab.support import missing, need, need_root, private_folder

pytestmark = pytest.mark.lab
GROUP = f"nephoscope{os.getpid()}"
MIB = 1 << 20
UUID = r"[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}"
LINEAR = """
    {name} {{
        id = "AAAAAA-0000-0000-0000-0000-0000-00000{number}"
        status = ["READ", "WRITE"{visible}]
        flags = []
        segment_count = 1
        segment1 {{
            start_extent = 0
            extent_count = {extents}
            {kind}
        }}
    }}
"""
POOL = 'type = "thin-pool" metadata = "pool_tmeta" pool = "pool_tdata" transaction_id = 0 chunk_size = 128 discards = "passdown"'


def volumes():
    """The section of a group's metadata with a linear volume and a thin pool; they are in no kernel, as after a reboot."""
    text = ""
    for number, (name, extents, visible, kind) in enumerate(
        [
            ("root", 2, True, 'type = "striped" stripe_count = 1 stripes = [ "pv0", 0 ]'),
            ("pool", 2, True, POOL),
            ("pool_tmeta", 1, False, 'type = "striped" stripe_count = 1 stripes = [ "pv1", 0 ]'),
            ("pool_tdata", 2, False, 'type = "striped" stripe_count = 1 stripes = [ "pv1", 1 ]'),
        ]
    ):
        shown = ', "VISIBLE"' if visible else ""
        kind = re.sub(r" (?=\w+ = )", "\n            ", kind)
        text += LINEAR.format(name=name, number=number, visible=shown, extents=extents, kind=kind)
    return f"    logical_volumes {{\n{text}    }}\n"


class Group:
    """A volume group on two loop devices of 40 MiB, whose commands keep nothing in /etc/lvm."""

    def __init__(self, folder):
        self.folder = folder
        places = f'backup_dir="{folder}/backup" archive_dir="{folder}/archive"'
        self.config = ("--config", f"backup {{ {places} }}")
        self.devices = []

    def run(self, *argv):
        more = () if argv[0] == "losetup" else self.config
        done = subprocess.run(
            [*argv, *more], capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def begin(self):
        for name in ("a", "b"):
            path = self.folder / name
            with path.open("wb") as file:
                file.truncate(40 * MIB)
            try:
                self.devices.append(self.run("losetup", "-f", "--show", str(path)))
            except AssertionError as error:
                missing(f"no loop device: {error}")
        self.run("pvcreate", "-y", *self.devices)
        self.run("vgcreate", GROUP, *self.devices)

    def detach(self):
        self.run("losetup", "-d", self.devices.pop())

    def give_volumes(self):
        path = self.folder / "metadata"
        self.run("vgcfgbackup", "-f", str(path), GROUP)
        path.write_text(path.read_text().rstrip().removesuffix("}") + volumes() + "}\n")
        self.run("vgcfgrestore", "--force", "-f", str(path), GROUP)

    def end(self):
        for device in self.devices:  # what is on the files goes with them
            subprocess.run(["losetup", "-d", device], capture_output=True, check=False)


@pytest.fixture
def group():
    need("vgs", "lvs", "pvs", "pvcreate", "losetup")
    need_root("loop devices and LVM")
    with private_folder() as folder:
        made = Group(folder)
        with contextlib.closing(contextlib.ExitStack()) as stack:
            stack.callback(made.end)
            made.begin()
            yield made


def look(*argv):
    with private_folder() as folder:
        return CHECK.run(["--include", f"{GROUP}*", "--state-dir", str(folder), *argv])


def files(*places):
    return {str(path): path.stat().st_mtime_ns for place in places for path in Path(place).rglob("*")}


def test_a_group_with_room(group):
    before = files("/etc/lvm", str(group.folder))
    outcome = look("--expect", GROUP, "-w", f"free/{GROUP}=1000:")
    assert re.fullmatch(
        rf"LVM OK - \d+ groups with \d+ volumes \| {GROUP}_free=75497472B;1000:;;0;75497472 {GROUP}_used=0%;80;90;0;100",
        outcome.line,
    )
    assert files("/etc/lvm", str(group.folder)) == before, "looking writes nothing"


def test_a_group_that_is_not_there(group):
    outcome = look("--expect", f"{GROUP}-volumes")
    assert outcome.state == CRITICAL
    assert outcome.line.startswith(f"LVM CRITICAL - {GROUP}-volumes is not there | {GROUP}_free=")


def test_a_disk_that_is_gone(group):
    group.detach()
    outcome = look()
    assert re.match(rf"LVM CRITICAL - {GROUP} 1 of 2 disks are missing: {UUID} \| {GROUP}_free=", outcome.line)


def test_volumes_that_the_kernel_does_not_have(group):
    group.give_volumes()
    outcome = look("--expect", f"{GROUP}/root")
    if "device-mapper" in Path("/proc/misc").read_text():
        assert outcome.state == CRITICAL
        assert outcome.line.startswith(f"LVM CRITICAL - {GROUP}/root is inactive | ")
    else:  # lvs ends with 0 and says that the pool is inactive, which it can't know
        assert outcome.state == UNKNOWN
        assert outcome.line.startswith(
            "LVM UNKNOWN - the kernel's device-mapper does not answer: what is active is not known (run lvs) | "
        )


def test_what_lvs_prints_is_understood(group):
    group.give_volumes()
    done = subprocess.run(lvm.LVS, capture_output=True, text=True, check=True)
    found = [volume for volume in lvm.parse_volumes(done.stdout) if volume.group == GROUP]
    assert [(volume.name, volume.size, volume.kind) for volume in found] == [
        ("pool", 8 * MIB, "thin pool"),
        ("root", 8 * MIB, ""),
    ]
    assert {volume.state for volume in found} <= {"inactive", "unknown"}
    assert all(volume.data is None and volume.health == "" for volume in found)
    group.detach()
    done = subprocess.run(lvm.LVS, capture_output=True, text=True, check=True)
    assert {volume.health for volume in lvm.parse_volumes(done.stdout) if volume.of == f"{GROUP}/pool"} == {"partial"}


def test_without_rights_an_empty_list_is_no_answer(group, monkeypatch):
    need("setpriv")
    # LVM itself, as nobody: an empty list, exit 0, and a word on stderr.
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*drop, *lvm.VGS], capture_output=True, text=True, check=False)
    assert (done.returncode, lvm.parse(done.stdout)) == (0, ())
    assert lvm.NO_ROOT in done.stderr
    with private_folder() as folder:
        wrapper = folder / "vgs"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(drop)} /usr/sbin/vgs "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setattr("nephoscope.base.child.PATH", f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin")
        assert look().line == (
            "LVM UNKNOWN - lvm: it does not run as root, and lists nothing (run vgs): needs root's rights, by sudo"
        )


def damage(path):
    """Overwrite the metadata on a disk, behind its label and the area's header (4 KiB and 512 bytes)."""
    with path.open("r+b") as file:
        file.seek(4608)
        file.write(bytes(100 << 10))


def test_an_exported_group_hides_nothing(group):
    group.give_volumes()
    group.run("vgexport", GROUP)
    (found,) = (one for one in lvm.groups(Run()) if one.name == GROUP)
    assert (found.exported, found.volumes) == (True, 2)
    outcome = look()
    assert (outcome.state, f"[OK] {GROUP} is exported" in look("-v").text) == (OK, True), outcome.line
    outcome = look("--expect", GROUP)
    assert (outcome.state, outcome.reason) == (CRITICAL, f"{GROUP} is exported")


def test_a_damaged_copy_of_the_metadata(group):
    damage(group.folder / "b")
    outcome = look("--include", "/dev/loop*")
    assert (outcome.state, outcome.reason) == (WARNING, f"{group.devices[1]} has a damaged copy of the metadata")


def test_metadata_that_can_not_be_read_hides_a_group(group):
    """vgs ends with 0, leaves the group out, and prints a message into its JSON."""
    for name in ("a", "b"):
        damage(group.folder / name)
    outcome = look("--include", "/dev/loop*")
    said = f"{group.devices[0]} has metadata that can't be read: the group on it may be missing here"
    assert (outcome.state, said in outcome.reason) == (CRITICAL, True), outcome.line


def test_a_clone_of_a_disk(group):
    path = group.folder / "clone"
    shutil.copy(group.folder / "a", path)
    group.devices.append(group.run("losetup", "-f", "--show", str(path)))
    outcome = look("--include", "/dev/loop*")
    said = r"/dev/loop\d+ is a second device of a disk that LVM uses by another one: one path of several\?"
    assert outcome.state == WARNING
    assert re.fullmatch(said, outcome.reason), outcome.line


def test_two_groups_of_one_name(group):
    path = group.folder / "c"
    with path.open("wb") as file:
        file.truncate(40 * MIB)
    device = group.run("losetup", "-f", "--show", str(path))
    group.devices.append(device)
    group.run("pvcreate", "-y", "--devices", device, device)
    group.run("vgcreate", "--devices", device, GROUP, device)
    said = f"{GROUP} is the name of several groups: LVM refuses to work on either by it"
    outcome = look()
    assert (outcome.state, outcome.reason) == (WARNING, said)
    assert look("--expect", GROUP).state == CRITICAL
