# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import time

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, Clock, Failed, Run
from nephoscope.probes import iscsi_target, tgt
from nephoscope.probes.iscsi_target import Store

from tests.probes import lio_tree, stand_ins
from tests.probes.test_tgt import target as tgt_target

PATH = "/dev/euca-ebs-storage-vg-vol-1A2B3C4D/euca-vol-1A2B3C4D"
NAME = "iqn.2009-06.com.eucalyptus.one:store1"
UNIT = (NAME, 1)


def processes(root, *rows):
    """Lay /proc/PID/stat of proc(5): pid, comm, state, start in clock ticks (field 22)."""
    for pid, comm, state, start in ((1, "systemd", "S", 1), *rows):
        lio_tree.put(root, f"proc/{pid}/stat", f"{pid} ({comm}) {state} " + "0 " * 18 + f"{start} 0 0\n")
    lio_tree.put(root, "proc/sys/kernel/random/boot_id", "5a1c0ffe-0000\n")


def tools(tmp_path, monkeypatch, portals="echo Portal: 0.0.0.0:3260,1", **scripts):
    """Lay stand-ins, and a state directory that belongs to whom they make of us.

    portals  what tgtadm does when it is asked for those; the line is one of 1.0.85
    """
    if "tgtadm" in scripts:
        scripts["tgtadm"] = f'case "$*" in *portal*) {portals}; exit;; esac\n{scripts["tgtadm"]}'
    state = tmp_path / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    stand_ins.put(tmp_path / "bin", monkeypatch, **scripts)
    if os.getuid():
        monkeypatch.setattr(os, "geteuid", os.getuid)
    else:
        os.chown(state, 1000, 1000)


def lay(tmp_path, monkeypatch, text=None, rows=((70, "tgtd", "S", 900),)):
    root = tmp_path / "root"
    lio_tree.put(root, PATH[1:], "x")
    processes(root, *rows)
    tools(tmp_path, monkeypatch, tgtadm=stand_ins.says(tgt_target() if text is None else text))
    return root


def survey(root, *servers, before=None, shift=0.0, remember=3600.0, period=3600.0):
    run = Run(root=str(root), clock=Clock(shift), before=before)
    return iscsi_target.survey(run, servers, remember, period)


def test_tgtd_with_a_store(tmp_path, monkeypatch):
    found = survey(lay(tmp_path, monkeypatch))
    assert (found.stores, found.most, found.restarts, found.whole) == ({UNIT: Store(PATH)}, 1, COLLECTING, True)
    assert (found.serving, found.luns, found.initiators) == ([NAME], 1, 0)
    assert (found.kept["daemons"], found.kept["boot"]) == ([[70, 900]], "5a1c0ffe")


def test_lio_and_tgtd(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch)
    lio_tree.store(root, "data", PATH)
    client = ((lio_tree.CLIENT.format(1), lio_tree.LOGGED_IN),)
    lio_tree.target(root, 1, stores=("fileio_0/data",), clients=client)
    lio_tree.target(root, 2, clients=client)
    both = survey(root)
    assert (len(both.servers), len(both.targets), both.luns, both.initiators) == (2, 3, 2, 1)
    processes(root, (70, "sshd", "S", 900))  # nobody here has ever seen a tgtd: LIO alone serves
    assert [len(server.targets) for server in survey(root).servers] == [2]
    assert len(survey(root, before=both.kept).servers) == 2  # it ran before: it is missed
    assert len(survey(root, "tgt").targets) == 1
    assert len(survey(root, "lio").targets) == 2
    stand_ins.put(tmp_path / "empty", monkeypatch)
    assert len(survey(root).servers) == 1


@pytest.mark.parametrize(
    ("daemons", "boot", "restarts"),
    [
        ([[70, 900]], "5a1c0ffe", 0),
        ([[70, 800]], "5a1c0ffe", 1),
        ([[69, 800]], "5a1c0ffe", 1),
        ([[69, 800]], "another", 0),
        ([], "5a1c0ffe", COLLECTING),
    ],
)
def test_restarts(tmp_path, monkeypatch, daemons, boot, restarts):
    before = {"daemons": daemons, "boot": boot}
    assert survey(lay(tmp_path, monkeypatch), before=before).restarts == restarts


def test_a_restart_counts_for_a_while(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch)
    kept = survey(root, before={"daemons": [[70, 800]], "boot": "5a1c0ffe"}).kept
    assert survey(root, before=kept, shift=3000).restarts == 1
    assert survey(root, before=kept, shift=4000).restarts == 0


def test_a_tgtd_that_is_not_seen(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch, rows=((70, "tgtd", "Z", 900), (71, "tgtd x", "S", 900)))
    assert survey(root).restarts.error == "tgtd: it answers, but its process is not seen"
    os.unlink(root / "proc/1/stat")
    os.rmdir(root / "proc/1")
    found = survey(root).restarts
    assert (found.kind, found.error) == (NOT_ALLOWED, "tgtd: other users' processes are hidden")


def test_the_most_is_forgotten(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch)
    kept = {**survey(root).kept, "most": {"targets": [3, Clock().time()]}}
    assert survey(root, before=kept).most == 3
    assert survey(root, before=kept, shift=4000).most == 1
    assert survey(root, before=kept, remember=0.0, shift=1).most == 1


def store_of(root):
    return survey(root).stores[UNIT]


def test_a_store_that_is_gone_or_is_no_store(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch)
    os.unlink(root / PATH[1:])
    assert store_of(root) == Store(PATH, f"has lost its backing store {PATH}: No such file or directory")
    os.symlink("nowhere", root / PATH[1:])
    assert store_of(root).said == f"has lost its backing store {PATH}: No such file or directory"
    os.unlink(root / PATH[1:])
    os.mkdir(root / PATH[1:])
    assert store_of(root).said == f"has a backing store that is neither file nor device: {PATH}"


def test_units_without_a_path(tmp_path, monkeypatch):
    text = tgt_target().replace(PATH, "rbd/volume-1")
    assert store_of(lay(tmp_path, monkeypatch, text)) == Store("rbd/volume-1", "", False)
    text = tgt_target().replace(PATH, "None")
    assert store_of(lay(tmp_path, monkeypatch, text)) == Store("", "has no backing store", True)
    text = text.replace("Type: disk", "Type: cd/dvd")
    assert survey(lay(tmp_path, monkeypatch, text)).stores == {}  # a drive without a medium


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("20480", ""),
        ("0", f"has a backing store without a medium: {PATH}"),
        (None, f"has lost its backing store {PATH}: no device 253:7"),
    ],
)
def test_a_block_device(tmp_path, size, said):
    if size is not None:
        lio_tree.put(tmp_path, "sys/dev/block/253:7/size", f"{size}\n")
    run = Run(root=str(tmp_path))
    assert iscsi_target._store(run, PATH, [0, stat.S_IFBLK, "253:7"]) == Store(PATH, said)


def test_a_size_that_may_not_be_read_is_no_lost_device(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise Failed(NOT_ALLOWED, "x", "read", "Permission denied")

    monkeypatch.setattr(iscsi_target.files, "number", refused)
    found = iscsi_target._store(Run(root=str(tmp_path)), PATH, [0, stat.S_IFBLK, "253:7"])
    assert (found.kind, found.error) == (NOT_ALLOWED, "Permission denied")


def test_no_right_and_a_store_that_hangs(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch)
    real = os.stat

    def refuse(path, **words):
        if str(path).endswith(PATH):
            raise PermissionError(13, "Permission denied")
        return real(path, **words)

    monkeypatch.setattr(os, "stat", refuse)
    found = store_of(root)
    assert (found.kind, found.of, found.error) == (NOT_ALLOWED, NAME, f"LUN 1, {PATH}: Permission denied")
    monkeypatch.setattr(os, "stat", lambda path, **words: time.sleep(30) if str(path).endswith(PATH) else real(path))
    monkeypatch.setattr(iscsi_target, "SECONDS", 0.3)
    found = store_of(root)
    assert (found.kind, found.of, found.error) == (UNREACHABLE, NAME, f"LUN 1, {PATH}: no answer in 0.3 s")


def test_nothing_kept_of_a_server_that_failed(tmp_path, monkeypatch):
    root = lay(tmp_path, monkeypatch)
    before = survey(root).kept
    lio_tree.target(root)
    stand_ins.put(tmp_path / "bin", monkeypatch, tgtadm="echo broken >&2; exit 1")
    found = survey(root, before=before)
    assert (found.whole, found.kept, len(found.targets)) == (False, {**before, "lio": found.kept["lio"]}, 1)
    with pytest.raises(Failed):
        survey(root, "tgt")


def test_daemons(tmp_path):
    processes(tmp_path, (70, "tgtd", "S", 900), (7, "tgtd", "D", 5), (8, "a) tgtd", "S", 5))
    assert tgt.daemons(Run(root=str(tmp_path))) == [[7, 5], [70, 900]]
