# SPDX-License-Identifier: Apache-2.0
"""check_volume_orphans against real volume groups on loop files, real files, a real tgtd, and a simulated Eucalyptus.

Logical volumes are written into a group's metadata: no device-mapper is needed for that, nor to list them.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess

import pytest
from nephoscope.base import Clock
from nephoscope.checks.storage.check_volume_orphans import CHECK
from nephoscope.demo import Demo, sample
from nephoscope.demo.resources import Snapshot, Volume, things
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING
from nephoscope.probes import lvm

from tests.lab.support import missing, need, need_root, private_folder
from tests.lab.test_euca_storage import tgtadm, tgtd
from tests.lab.test_lvm import LINEAR

pytestmark = pytest.mark.lab
__all__ = ["tgtd"]  # a fixture
DAS = f"euca-ebs-storage-vg-Zk3_{os.getpid()}"
EXTENT = 4 << 20
STRIPE = 'type = "striped" stripe_count = 1 stripes = [ "pv0", {} ]'


class Host:
    """A storage controller: loop devices and groups, a tree with a volumes directory, and its cloud."""

    def __init__(self, demo, folder, stack):
        self.demo, self.folder, self.stack = demo, folder, stack
        self.volumes = folder / "tree/var/lib/eucalyptus/volumes"
        self.volumes.mkdir(parents=True)
        (folder / "tree/etc/eucalyptus").mkdir(parents=True)
        (folder / "tree/etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\n')
        for name in things(demo.cloud, Snapshot):
            (self.volumes / name).write_bytes(b"x")
        demo.credentials(folder / "admin.ini", user="admin")

    @property
    def ids(self):
        return list(things(self.demo.cloud, Volume))

    def one(self, state):
        return next(one for one in things(self.demo.cloud, Volume).values() if one.state == state)

    def call(self, *argv):
        places = f'backup {{ backup_dir="{self.folder}/b" archive_dir="{self.folder}/a" }}'
        more = () if argv[0] == "losetup" else ("--config", places)  # nothing stays in /etc/lvm
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
        done = subprocess.run([*argv, *more], capture_output=True, text=True, env=environment, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def group(self, name, path, size):
        """Make a volume group on a file of this size."""
        path.write_bytes(b"")
        os.truncate(path, size)
        try:
            device = self.call("losetup", "-f", "--show", str(path))
        except AssertionError as error:
            missing(f"no loop device: {error}")
        self.stack.callback(subprocess.run, ["losetup", "-d", device], capture_output=True, check=False)
        self.call("pvcreate", "-y", device)
        self.call("vgcreate", name, device)

    def give(self, group, *volumes):
        """Write logical volumes of one extent each, and no others, into the metadata of a group."""
        path = self.folder / "metadata"
        self.call("vgcfgbackup", "-f", str(path), group)
        text = re.sub(r"^(\s+)logical_volumes \{.*?^\1\}\n", "", path.read_text(), flags=re.S | re.M)
        rows = ""
        for number, name in enumerate(volumes):
            kind = re.sub(r" (?=\w+ = )", "\n            ", STRIPE.format(number))
            rows += LINEAR.format(name=name, number=number, visible=', "VISIBLE"', extents=1, kind=kind)
        head, brace, tail = text.rstrip().rpartition("}")
        path.write_text(f"{head}    logical_volumes {{\n{rows}    }}\n{brace}{tail}\n")
        self.call("vgcfgrestore", "--force", "-f", str(path), group)

    def run(self, *argv, shift=0):
        words = ["--credentials", str(self.folder / "admin.ini"), "--state-dir", str(self.folder / "state")]
        modes = [] if "--mode" in argv else ["--mode", "backing"]
        return CHECK.run([*words, *modes, *argv], root=str(self.folder / "tree"), clock=Clock(shift))


@pytest.fixture
def host():
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    need("vgs", "lvs", "pvcreate", "losetup")
    need_root("loop devices and LVM")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        demo = stack.enter_context(Demo(sample(version="4.4.2", zones=1, nodes=1)))
        yield Host(demo, folder, stack)


@pytest.fixture
def das(host):
    host.demo.tell("property", "one.storage.blockstoragemanager", "das")
    host.demo.tell("property", "one.storage.dasdevice", "/dev/sdb")
    host.group(DAS, host.folder / "sdb", 64 << 20)
    host.give(DAS, *(f"euca-{name}" for name in host.ids))
    return host


def test_das_is_as_the_records_say(das):
    outcome = das.run()
    assert outcome.line == (
        "VOLUME_ORPHANS OK - 5 things on the back-end, 3 volumes in zone one |"
        " orphans=0;0 orphan_bytes=0B missing=0;;0 missing_idle=0;0"
    )


def test_an_orphan_and_a_volume_that_is_lost(das):
    lost = das.one("in-use").name
    kept = [f"euca-{name}" for name in das.ids if name != lost]
    das.give(DAS, *kept, "euca-vol-0BADCAFE", "root")
    assert das.run().reason == f"missing 1 is above 0 ({lost})"
    outcome = das.run(shift=3700)
    assert (outcome.state, outcome.reason) == (
        CRITICAL,
        f"missing 1 is above 0 ({lost}), WARNING: orphans 1 is above 0 (logical volume {DAS}/euca-vol-0BADCAFE)",
    )
    assert outcome.perfdata == ["orphans=1;0", f"orphan_bytes={EXTENT}B", "missing=1;;0", "missing_idle=0;0"]
    das.give(DAS, *(f"euca-{name}" for name in das.ids))
    assert das.run(shift=3800).state == OK


def test_without_rights_nothing_is_missing(das, monkeypatch):
    """LVM itself, as nobody: an empty list and exit 0."""
    need("setpriv")
    drop = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    tools = das.folder / "bin"
    tools.mkdir()
    for name in ("vgs", "lvs"):
        (tools / name).write_text(f'#!/bin/sh\nexec {drop} /usr/sbin/{name} "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setattr("nephoscope.base.child.PATH", f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin")
    assert das.run().line == (
        "VOLUME_ORPHANS UNKNOWN - lvm: it does not run as root, and lists nothing (run vgs): needs root's rights, by sudo"
    )
    (tools / "vgs").unlink()
    assert das.run().line == (
        "VOLUME_ORPHANS UNKNOWN - lvm: it does not run as root, and lists nothing (run lvs): needs root's rights, by sudo"
    )


def test_a_look_writes_nothing(das):
    places = [das.folder / "a", das.folder / "b"]
    before = [sorted(str(one) for one in place.rglob("*")) for place in places]
    argv = lvm.NAMES
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert DAS in done.stdout
    assert das.run().state == OK
    assert [sorted(str(one) for one in place.rglob("*")) for place in places] == before


def test_overlay(host):
    """Each volume is a file; an attached one is a loop device with a group of its own too."""
    used = host.one("in-use").name
    for name in host.ids:
        (host.volumes / name).write_bytes(b"x")
    group = f"euca-ebs-storage-vg-{used}"
    host.group(group, host.volumes / used, 20 << 20)
    host.give(group, f"euca-{used}")
    assert host.run().reason == "6 things on the back-end, 3 volumes in zone one"
    # The file is deleted while its loop device is open: the group goes on, and the data with it, until it is detached.
    (host.volumes / used).unlink()
    assert host.run().reason == f"missing 1 is above 0 ({used})"
    # And its record goes too: what the loop device holds belongs to nothing.
    del things(host.demo.cloud, Volume)[used]
    host.run(shift=10)
    outcome = host.run(shift=3700)
    assert (outcome.state, outcome.reason) == (WARNING, f"orphans 1 is above 0 (logical volume {group}/euca-{used})")
    assert outcome.perfdata[1] == f"orphan_bytes={EXTENT}B"


def test_a_directory_that_is_hidden(host):
    host.volumes.rename(host.volumes.with_name("elsewhere"))
    outcome = host.run()
    assert (outcome.state, "missing" in outcome.line) == (UNKNOWN, False)


def test_an_export_of_nothing(host, tgtd, request):
    for name in host.ids:
        (host.volumes / name).write_bytes(b"x")
    store = host.folder / "euca-vol-0BADCAFE"
    store.write_bytes(b"")
    os.truncate(store, 1 << 20)
    name = "iqn.2009-06.com.eucalyptus.one:store7"
    tgtadm("--mode", "target", "--op", "new", "--tid", "1", "--targetname", name)
    tgtadm("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "--backing-store", str(store))
    words = ("--mode", "backing", "--mode", "exports")
    assert host.run(*words).state == OK
    outcome = host.run(*words, shift=3700)
    assert (outcome.state, outcome.reason) == (WARNING, f"orphans 1 is above 0 (export {name})")
