# SPDX-License-Identifier: Apache-2.0
"""Printed by tgtadm 1.0.85 of Debian 12, except the I_T nexus, which is that of usr/target.c (tgt_target_show_all)."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import tgt
from nephoscope.probes.tgt import Lun, Session, Target, Targets

from tests.probes import stand_ins

HEAD = """\
Target {number}: {name}
    System information:
        Driver: iscsi
        State: {state}
    I_T nexus information:
"""
NEXUS = """\
        I_T nexus: 1
            Initiator: iqn.1994-05.com.redhat:nc1 alias: nc1.example
            Connection: 0
                IP Address: 192.0.2.11
"""
LUNS = """\
    LUN information:
        LUN: 0
            Type: controller
            SCSI ID: IET     00010000
            SCSI SN: beaf10
            Size: 0 MB, Block size: 1
            Online: Yes
            Removable media: No
            Prevent removal: No
            Readonly: No
            SWP: No
            Thin-provisioning: No
            Backing store type: null
            Backing store path: None
            Backing store flags: 
        LUN: 1
            Type: disk
            SCSI ID: IET     00010001
            SCSI SN: beaf11
            Size: 10 MB, Block size: 512
            Online: {online}
            Removable media: No
            Prevent removal: No
            Readonly: No
            SWP: No
            Thin-provisioning: No
            Backing store type: rdwr
            Backing store path: /dev/euca-ebs-storage-vg-vol-1A2B3C4D/euca-vol-1A2B3C4D
            Backing store flags: 
    Account information:
        eucalyptus
    ACL information:
        ALL
"""  # noqa: W291


def target(number=1, name="iqn.2009-06.com.eucalyptus.one:store1", state="ready", online="Yes", nexus=""):
    return HEAD.format(number=number, name=name, state=state) + nexus + LUNS.format(online=online)


CONTROLLER = Lun(0, "controller", 0, True, "")
DISK = Lun(1, "disk", 10 << 20, True, "/dev/euca-ebs-storage-vg-vol-1A2B3C4D/euca-vol-1A2B3C4D")


def test_two_targets_of_which_one_is_used():
    first, second = tgt.parse(target(nexus=NEXUS) + target(2, "iqn.2009-06.com.eucalyptus.one:store2"))
    assert first == Target(
        1,
        "iqn.2009-06.com.eucalyptus.one:store1",
        "ready",
        (CONTROLLER, DISK),
        (Session("iqn.1994-05.com.redhat:nc1", ("192.0.2.11",)),),
    )
    assert (second.number, second.sessions, second.luns) == (2, (), (CONTROLLER, DISK))
    assert Targets(0.1, (first, second)).disks == (DISK, DISK)
    assert Targets(0.1, (first, second)).troubles == ()


def test_no_word_is_no_target():
    assert tgt.parse("") == ()


def test_what_does_not_serve():
    found = Targets(0.1, tgt.parse(target(state="offline") + target(2, "iqn.x:2", online="No")))
    assert found.troubles == (
        ("iqn.2009-06.com.eucalyptus.one:store1", "is offline"),
        ("iqn.x:2", "LUN 1 is offline"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "Target 1: iqn.x:1\n",
        target().replace("Online: Yes", "Online: Perhaps"),
        target(state="weary"),
        target(state=""),
        target().replace("            Type: disk\n", ""),
        "<html></html>",
    ],
)
def test_what_is_not_understood(text):
    with pytest.raises(Failed) as caught:
        tgt.parse(text)
    assert caught.value.kind == UNREADABLE


def test_the_size_may_be_left_out():
    assert tgt.parse(target().replace("Size: 10 MB", "Size: huge"))[0].luns[1].size is None


def ask(tmp_path, monkeypatch, seconds=None, **words):
    stand_ins.put(tmp_path / "bin", monkeypatch, **words)
    return tgt.show(Run(), seconds)


def test_the_command_line_is_the_one_that_sudoers_allow(tmp_path, monkeypatch):
    script = f'echo "$@" > {tmp_path}/argv\n' + stand_ins.says(target())
    assert len(ask(tmp_path, monkeypatch, tgtadm=script).targets) == 1
    assert (tmp_path / "argv").read_text().split() == list(tgt.SHOW[1:])


GONE = "tgtadm: failed to send request hdr to tgt daemon, Transport endpoint is not connected"


@pytest.mark.parametrize(
    "words, kind, said",
    [
        ({"tgtadm": f'echo "{GONE}" >&2; exit 107'}, UNREACHABLE, f"not running: {GONE}"),
        ({"tgtadm": 'echo "tgtadm: invalid request" >&2; exit 22'}, UNREADABLE, "tgtadm: invalid request"),
        ({"tgtadm": "exit 3"}, UNREADABLE, "tgtadm ended with 3"),
        ({"tgtadm": "exec sleep 20", "seconds": 0.3}, UNREACHABLE, "no answer in 0.3 s"),
        ({"tgtadm": "exit 0", "sudo": stand_ins.REFUSES}, NOT_ALLOWED, "sudo: a password is required"),
        ({}, ABSENT, "tgtadm is not installed"),
    ],
)
def test_trouble(tmp_path, monkeypatch, words, kind, said):
    with pytest.raises(Failed) as caught:
        ask(tmp_path, monkeypatch, **words)
    assert (caught.value.kind, caught.value.error) == (kind, said)
