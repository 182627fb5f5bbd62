# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import time

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import lio
from nephoscope.probes.tgt import Lun, Session, Target

from tests.probes.lio_tree import CLIENT, HOME, IBLOCK, LOGGED_IN, NOBODY, TARGET, put, store, target


def show(root, seconds=5.0):
    return lio.show(Run(root=str(root)), seconds).targets


def one(root):
    (found,) = show(root)
    return found


def test_a_file_and_a_device_and_who_uses_them(tmp_path):
    store(tmp_path, "data", "/srv/a b.img", udev=False)
    store(tmp_path, "disk", "/dev/vg/lv", hba="iblock_0", info=IBLOCK)
    clients = ((CLIENT.format(1), LOGGED_IN), (CLIENT.format(2), NOBODY))
    target(tmp_path, stores=("fileio_0/data", "iblock_0/disk"), clients=clients, dynamic=(CLIENT.format(3),))
    assert one(tmp_path) == Target(
        0,
        TARGET.format(1),
        "ready",
        (Lun(0, "disk", None, True, "/srv/a b.img"), Lun(1, "disk", None, True, "/dev/vg/lv")),
        (Session(CLIENT.format(1), ()), Session(CLIENT.format(3), ())),
    )


def test_a_path_that_only_info_tells(tmp_path):
    store(tmp_path, "disk", "/dev/vg/lv", hba="iblock_0", info=IBLOCK, udev=False)
    target(tmp_path, stores=("iblock_0/disk",))
    assert one(tmp_path).luns[0].backing == "/dev/vg/lv"


def test_stores_without_a_path(tmp_path):
    store(tmp_path, "ram", "", hba="rd_mcp_0", info="Status: ACTIVATED\n")
    store(tmp_path, "image", "", hba="user_0", info="Status: ACTIVATED\n        Config: rbd/pool/image\n")
    target(tmp_path, stores=("rd_mcp_0/ram", "user_0/image", ""))
    assert one(tmp_path).luns == (
        Lun(0, "ram disk", None, True, ""),
        Lun(1, "disk", None, True, "user_0/image"),
        Lun(2, "disk", None, True, ""),
    )


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ({}, "ready"),
        ({"enable": "0\n"}, "offline"),
        ({"portals": ()}, "without a portal"),
        ({"enable": "0\n", "portals": ()}, "offline"),
    ],
)
def test_each_state(tmp_path, words, state):
    target(tmp_path, **words)
    assert one(tmp_path).state == state


def test_the_best_of_two_groups_counts(tmp_path):
    target(tmp_path, enable="0\n")
    target(tmp_path, group=2)
    assert one(tmp_path).state == "ready"


def test_a_store_that_is_not_enabled(tmp_path):
    store(tmp_path, "data", "/srv/a.img", enable="0\n")
    target(tmp_path, stores=("fileio_0/data",))
    assert lio.show(Run(root=str(tmp_path))).troubles == ((TARGET.format(1), "LUN 0 is offline"),)


@pytest.mark.parametrize("state", ["FREE", "STATE_ACTIVE", "STATE_FAILED", "STATE_IN_CONTINUE"])
def test_an_initiator_that_is_not_logged_in(tmp_path, state):
    text = LOGGED_IN.replace("STATE_LOGGED_IN", state)
    target(tmp_path, clients=((CLIENT.format(1), text),))
    assert one(tmp_path).sessions == ()


def test_whether_it_has_a_target(tmp_path):
    run = Run(root=str(tmp_path))
    assert lio.there(run) is False
    put(tmp_path, f"{HOME}/iscsi/lio_version", "Datera Inc. iSCSI Target v4.1.0\n")
    assert (lio.there(run), show(tmp_path)) == (False, ())
    target(tmp_path)
    assert lio.there(run) is True


def trouble(root, seconds=5.0):
    with pytest.raises(Failed) as caught:
        show(root, seconds)
    return caught.value.kind, caught.value.error


def test_no_tree(tmp_path):
    assert trouble(tmp_path)[0] == ABSENT


@pytest.mark.parametrize(
    ("where", "text", "said"),
    [
        ("enable", "perhaps\n", "not understood: 'perhaps'"),
        (f"acls/{CLIENT.format(1)}/info", "<html>", "not understood: '<html>'"),
    ],
)
def test_what_is_not_understood(tmp_path, where, text, said):
    target(tmp_path, clients=((CLIENT.format(1), NOBODY),))
    put(tmp_path, f"{HOME}/iscsi/{TARGET.format(1)}/tpgt_1/{where}", text)
    assert trouble(tmp_path) == (UNREADABLE, said)


def test_a_file_store_that_names_no_path_is_not_passed_over(tmp_path):
    store(tmp_path, "data", "", info="Status: ACTIVATED\n")
    target(tmp_path, stores=("fileio_0/data",))
    assert trouble(tmp_path) == (UNREADABLE, "it names no path")


def test_a_group_that_lacks_a_file_is_no_target_that_went(tmp_path):
    target(tmp_path)
    os.unlink(tmp_path / HOME / "iscsi" / TARGET.format(1) / "tpgt_1/enable")
    assert trouble(tmp_path)[0] == ABSENT


def test_no_right_and_a_kernel_that_hangs(tmp_path, monkeypatch):
    target(tmp_path)

    def refusing(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refusing)
    assert trouble(tmp_path) == (NOT_ALLOWED, "Permission denied")
    monkeypatch.setattr(os, "scandir", lambda path: time.sleep(30))
    assert trouble(tmp_path, 0.3)[0] == UNREACHABLE
