# SPDX-License-Identifier: Apache-2.0
"""The JSON is that of vgs 2.03.16 of Debian 12; the attributes of a group with a missing disk are those of vgs(8)."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import lvm
from nephoscope.probes.lvm import VolumeGroup

from tests.probes import stand_ins

ROW = (
    '{{"vg_name":"{0}", "vg_attr":"{1}", "vg_size":"37748736", "vg_free":"{2}", "pv_count":"2", "vg_missing_pv_count":"{3}",'
    ' "lv_count":"3", "snap_count":"1"}}'
)


def row(name="vg", attributes="wz--n-", free=9437184, missing=0):
    return ROW.format(name, attributes, free, missing)


def report(*rows):
    return '  {\n      "report": [\n          {\n              "vg": [\n' + ",\n".join(rows) + "\n]\n}\n]\n}\n"


def test_groups_by_name():
    first, second = lvm.parse(report(row("z", "wz-pn-", missing=1), row("a")))
    assert first == VolumeGroup("a", 37748736, 9437184, 2, 0, 3, 1, False)
    assert (first.used, first.trouble) == (75.0, "")
    assert (second.name, second.partial, second.trouble) == ("z", True, "1 of 2 disks are missing")
    assert second._replace(missing=0).trouble == "a part of it is gone"
    assert first._replace(size=0).used is None


def test_none_is_none():
    assert lvm.parse(report()) == ()


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"report": [{}]}', report(row(free="9.00m")), "{" * 5000])
def test_what_is_not_understood(text):
    with pytest.raises(Failed) as caught:
        lvm.parse(text)
    assert caught.value.kind == UNREADABLE


def ask(tmp_path, monkeypatch, seconds=None, **words):
    stand_ins.put(tmp_path / "bin", monkeypatch, **words)
    return lvm.groups(Run(), seconds)


def test_the_command_line_is_the_one_that_sudoers_allow(tmp_path, monkeypatch):
    script = f'echo "$@" > {tmp_path}/argv\n' + stand_ins.says(report(row()))
    assert len(ask(tmp_path, monkeypatch, vgs=script)) == 1
    assert (tmp_path / "argv").read_text().split() == list(lvm.VGS[1:])


DENIED = "  WARNING: Running as a non-root user.\n  /run/lock/lvm/P_global:aux: open failed: Permission denied"


@pytest.mark.parametrize(
    "words, kind, said",
    [
        (
            {"vgs": f"{stand_ins.says(report())}\necho '{DENIED}' >&2; exit 5"},
            UNREADABLE,
            "it ended with 5: /run/lock/lvm/P_global:aux: open failed: Permission denied",
        ),
        ({"vgs": "exit 3"}, UNREADABLE, "it ended with 3: no word why"),
        ({"vgs": "exec sleep 20", "seconds": 0.3}, UNREACHABLE, "no answer in 0.3 s"),
        ({"vgs": "exit 0", "sudo": stand_ins.REFUSES}, NOT_ALLOWED, "sudo: a password is required"),
        ({}, ABSENT, "vgs is not installed"),
    ],
)
def test_trouble(tmp_path, monkeypatch, words, kind, said):
    with pytest.raises(Failed) as caught:
        ask(tmp_path, monkeypatch, **words)
    assert (caught.value.kind, caught.value.error) == (kind, said)
