# SPDX-License-Identifier: Apache-2.0
"""check_euca_sc against a real tgtd and a real volume group on a loop device, and a simulated Heartbeat beside them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from nephoscope.base import Run
from nephoscope.checks.eucalyptus.check_euca_sc import CHECK
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, WARNING
from nephoscope.probes import lvm, tgt

from tests.lab.support import Daemon, missing, need, need_root

pytestmark = pytest.mark.lab

SOCKETS = Path("/run/tgtd")  # the place of tgtadm's default control port: the very line of sudoers is run
GROUP = "euca-ebs-storage-vg-vol-1A2B3C4D"


def tgtadm(*words):
    argv = ["tgtadm", "--lld", "iscsi", *words]
    subprocess.run(argv, check=True, capture_output=True, timeout=20, env={**os.environ, "LC_ALL": "C"})


@pytest.fixture
def tgtd(folder):
    need("tgtd", "tgtadm")
    need_root("tgtd")
    if SOCKETS.exists():
        missing(f"a tgtd of this machine's own has its sockets in {SOCKETS}")
    SOCKETS.mkdir()
    daemon = Daemon(
        ["tgtd", "-f", "--iscsi", "portal=127.0.0.1:13261"], ready=(SOCKETS / "socket.0").exists, log=folder / "log"
    )
    try:
        with daemon:
            yield daemon
            if daemon.alive():
                os.kill(daemon.pid, signal.SIGKILL)  # with a target it does not heed SIGTERM
    finally:
        shutil.rmtree(SOCKETS)


@pytest.fixture
def target(tgtd, folder):
    store = folder / "lun.img"
    store.write_bytes(b"")
    os.truncate(store, 10 << 20)
    tgtadm("--mode", "target", "--op", "new", "--tid", "1", "--targetname", "iqn.2009-06.com.eucalyptus.one:store1")
    tgtadm("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "--backing-store", str(store))
    tgtadm("--mode", "target", "--op", "bind", "--tid", "1", "--initiator-address", "ALL")
    return store


@pytest.fixture
def check(folder):
    def run(*argv):
        return CHECK.run(["--state-dir", str(folder / "state"), *map(str, argv)])

    return run


def test_a_real_target_and_its_store(target):
    (found,) = tgt.show(Run()).targets
    assert (found.number, found.name, found.state) == (1, "iqn.2009-06.com.eucalyptus.one:store1", "ready")
    assert [lun.backing for lun in found.luns] == ["", str(target)]
    assert (found.luns[1].kind, found.luns[1].size, found.luns[1].online) == ("disk", 10 << 20, True)


def test_without_a_target(check, tgtd):
    outcome = check("--mode", "target")
    assert (outcome.state, "targets=0" in outcome.perfdata) == (OK, True)


def test_what_goes_offline_and_comes_back(check, target):
    assert check("--mode", "target").state == OK
    tgtadm("--mode", "target", "--op", "update", "--tid", "1", "--name", "state", "--value", "offline")
    outcome = check("--mode", "target")
    assert (outcome.state, outcome.reason) == (CRITICAL, "iqn.2009-06.com.eucalyptus.one:store1 is offline")
    tgtadm("--mode", "target", "--op", "update", "--tid", "1", "--name", "state", "--value", "ready")
    tgtadm("--mode", "logicalunit", "--op", "update", "--tid", "1", "--lun", "1", "--params", "online=0")
    outcome = check("--mode", "target")
    assert (outcome.state, outcome.reason) == (CRITICAL, "iqn.2009-06.com.eucalyptus.one:store1 LUN 1 is offline")


def test_a_frozen_tgtd_is_found_while_the_heartbeat_goes_on(check, target, tgtd):
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as demo:
        words = ("--local", "-H", demo.address("one-cc"), "--mode", "target", "--mode", "service", "-t", "3")
        assert check(*words).state == OK
        os.kill(tgtd.pid, signal.SIGSTOP)
        begun = time.monotonic()
        try:
            outcome = check(*words)
        finally:
            os.kill(tgtd.pid, signal.SIGCONT)
        assert time.monotonic() - begun < 3.5
        assert (outcome.state, outcome.reason.partition(" (run")[0]) == (CRITICAL, "tgtd: no answer in 1.4 s")
        assert "storage is enabled" in outcome.text
        assert check(*words).state == OK


def test_a_killed_tgtd(check, target, tgtd):
    os.kill(tgtd.pid, signal.SIGKILL)
    tgtd.process.wait()
    outcome = check("--mode", "target", "--backend", "das")
    said = "tgtd: not running: tgtadm: failed to send request hdr to tgt daemon, "
    assert (outcome.state, outcome.reason.startswith(said)) == (CRITICAL, True), outcome.line


@pytest.fixture
def group(folder):
    need("vgs", "pvcreate", "losetup")
    need_root("a loop device")
    store = folder / "pv.img"
    store.write_bytes(b"")
    os.truncate(store, 40 << 20)

    def run(*argv):
        if argv[0] != "losetup":
            places = f'backup_dir = "{folder}" archive_dir = "{folder}"'
            argv = (*argv, "--config", f"backup {{ {places} }}")  # nothing stays in /etc/lvm
        environment = {**os.environ, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environment, check=False)
        return done.returncode, done.stdout.strip()

    status, device = run("losetup", "-f", "--show", str(store))
    if status:
        missing("this kernel gives no loop device")
    try:
        assert run("pvcreate", "-y", device)[0] == 0
        if run("vgcreate", GROUP, device)[0]:
            missing("this kernel takes no volume group")
        yield run, device
    finally:
        run("vgremove", "-ff", "-y", GROUP)
        run("pvremove", "-ff", "-y", device)
        run("losetup", "-d", device)


def test_a_real_volume_group(check, group):
    places = [Path("/etc/lvm/archive"), Path("/etc/lvm/backup")]
    before = [sorted(place.glob("*")) for place in places]
    (found,) = (one for one in lvm.groups(Run()) if one.name == GROUP)
    assert (found.disks, found.missing, found.volumes, found.partial, found.trouble) == (1, 0, 0, False, "")
    assert (found.used, found.free) == (0.0, found.size)
    outcome = check("--mode", "group", "--backend", "overlay")
    assert (outcome.state, outcome.reason) == (OK, f"{GROUP} is whole")
    assert [sorted(place.glob("*")) for place in places] == before  # a look writes nothing


def test_a_group_of_das_has_room(check, group):
    run, _ = group
    assert run("vgrename", GROUP, "data")[0] == 0
    try:
        outcome = check("--mode", "group", "--backend", "das", "--group", "data", "-w", "group_used=10:")
        assert (outcome.state, outcome.reason) == (WARNING, "data group used 0 % is below 10 %")
    finally:
        run("vgrename", "data", GROUP)


def test_a_group_that_lost_a_disk(check, group, folder):
    """A second disk joins, and goes: as when the loop device of a volume is gone after a restart."""
    run, _ = group
    second = folder / "second.img"
    second.write_bytes(b"")
    os.truncate(second, 40 << 20)
    status, device = run("losetup", "-f", "--show", str(second))
    assert status == 0
    assert run("pvcreate", "-y", device)[0] == 0
    assert run("vgextend", GROUP, device)[0] == 0
    assert run("losetup", "-d", device)[0] == 0
    outcome = check("--mode", "group")
    assert (outcome.state, outcome.reason) == (CRITICAL, f"{GROUP} 1 of 2 disks are missing")
    run("vgreduce", "--removemissing", "--force", GROUP)
