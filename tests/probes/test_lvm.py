# SPDX-License-Identifier: Apache-2.0
"""The JSON is that of vgs, lvs and pvs 2.03.16 of Debian 12, and so are the attributes of inactive volumes and missing disks.

What only an active volume has (percentages, health of pools, states) is as lvs(8) and lvmreport(7) give it.
"""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import lvm
from nephoscope.probes.lvm import Volume, VolumeGroup

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


def lv(name="lv", attr="-wi-a-----", data="", metadata="", health="", group="vg", size=8388608):
    return (
        f'{{"vg_name":"{group}", "lv_name":"{name}", "lv_attr":"{attr}", "lv_size":"{size}", "data_percent":"{data}", '
        f'"metadata_percent":"{metadata}", "lv_health_status":"{health}"}}'
    )


def pv(uuid, missing="", group="vg", name="/dev/sda"):
    return f'{{"vg_name":"{group}", "pv_name":"{name}", "pv_uuid":"{uuid}", "pv_missing":"{missing}"}}'


def listing(kind, *rows):
    return report(*rows).replace('"vg": [', f'"{kind}": [')


# Printed by lvs 2.03.16 for a group of which a disk is missing, without device-mapper.
REAL = """
  {
      "report": [
          {
              "lv": [
                  {"vg_name":"labvg", "lv_name":"pool", "lv_attr":"twi---tzp-", "lv_size":"8388608", "data_percent":"", "metadata_percent":"", "lv_health_status":"partial"},
                  {"vg_name":"labvg", "lv_name":"root", "lv_attr":"owi-XXs-p-", "lv_size":"8388608", "data_percent":"", "metadata_percent":"", "lv_health_status":"partial"},
                  {"vg_name":"labvg", "lv_name":"snap", "lv_attr":"swi-XXs-p-", "lv_size":"4194304", "data_percent":"", "metadata_percent":"", "lv_health_status":"partial"},
                  {"vg_name":"labvg", "lv_name":"thin1", "lv_attr":"Vwi-XXtzp-", "lv_size":"83886080", "data_percent":"", "metadata_percent":"", "lv_health_status":"partial"}
              ]
          }
      ]
  }
"""


def test_real_volumes():
    assert lvm.parse_volumes(REAL) == (
        Volume("labvg", "pool", 8388608, "thin pool", "inactive", "partial", None, None),
        Volume("labvg", "root", 8388608, "", "unknown", "partial", None, None),
        Volume("labvg", "snap", 4194304, "snapshot", "unknown", "partial", None, None),
        Volume("labvg", "thin1", 83886080, "", "unknown", "partial", None, None),
    )


@pytest.mark.parametrize(
    ("attributes", "kind", "state"),
    [
        ("twi-aotz--", "thin pool", "active"),
        ("dwi-a-v---", "vdo pool", "active"),
        ("swi-a-s---", "snapshot", "active"),
        ("Swi-a-s---", "snapshot", "active"),
        ("swi-I-s---", "snapshot", "invalid"),
        ("swi-S-s---", "snapshot", "invalid and suspended"),
        ("owi-m-----", "", "merge failed"),
        ("owi-M-----", "", "merge failed, suspended"),
        ("-wi-s-----", "", "suspended"),
        ("-wi-d-----", "", "without tables"),
        ("-wi-i-----", "", "with an inactive table"),
        ("twi-cotz--", "thin pool", "check needed"),
        ("twi-Cotz--", "thin pool", "check needed, suspended"),
        ("Vwi-h-tz--", "", "historical"),
        ("rwi-------", "", "inactive"),
        ("-wi-X-----", "", "unknown"),
        ("-wi-Q-----", "", "Q"),
    ],
)
def test_each_state(attributes, kind, state):
    (volume,) = lvm.parse_volumes(listing("lv", lv(attr=attributes)))
    assert (volume.kind, volume.state) == (kind, state)


def test_every_state_is_tried():
    assert len(lvm.STATES) == 13


def test_how_full():
    pool, thin = lvm.parse_volumes(listing("lv", lv("a", "twi-aotz--", "71.25", "9.00"), lv("b", data="")))
    assert (pool.data, pool.metadata, thin.data, thin.metadata) == (71.25, 9.0, None, None)


def test_missing_disks():
    text = listing("pv", pv("AAA"), pv("BBB", "missing", name="[unknown]"), pv("CCC", group=""))
    assert lvm.parse_lost(text) == {"vg": ["BBB"]}


@pytest.mark.parametrize(
    "text", ["", "garbage", "[]", "[1]", '{"report": [{}]}', listing("lv", lv(attr="")), listing("lv", lv(data="9,5"))]
)
def test_volumes_and_disks_that_are_not_understood(text):
    with pytest.raises(Failed) as caught:
        lvm.parse_volumes(text)
    assert caught.value.kind == UNREADABLE
    if "lv" not in text:
        with pytest.raises(Failed) as caught:
            lvm.parse_lost(text)
        assert caught.value.kind == UNREADABLE


def look(tmp_path, monkeypatch, **words):
    stand_ins.put(tmp_path / "bin", monkeypatch, **words)
    return lvm.survey(Run())


VGS, LVS = stand_ins.says(report(row())), stand_ins.says(listing("lv", lv()))


def test_all_command_lines_are_those_that_sudoers_allow(tmp_path, monkeypatch):
    noted = f'echo "$0 $@" >> {tmp_path}/argv\n'
    survey = look(
        tmp_path,
        monkeypatch,
        vgs=noted + stand_ins.says(report(row(attributes="wz-pn-", missing=1))),
        lvs=noted + LVS,
        pvs=noted + stand_ins.says(listing("pv", pv("BBB", "missing"))),
    )
    assert (len(survey.groups), len(survey.listed), survey.lost) == (1, 1, {"vg": ["BBB"]})
    lines = [line.partition("bin/")[2] for line in (tmp_path / "argv").read_text().splitlines()]
    assert lines == [" ".join(line).replace("/usr/sbin/", "") for line in (lvm.VGS, lvm.LVS, lvm.PVS)]


def test_disks_are_not_asked_where_none_is_missing(tmp_path, monkeypatch):
    survey = look(tmp_path, monkeypatch, vgs=VGS, lvs=LVS, pvs="exit 1")
    assert survey.lost == {}
    assert survey.summary() == "1 groups with 1 volumes"


@pytest.mark.parametrize(
    ("lvs", "kind", "said"),
    [
        (
            stand_ins.says(listing("lv", lv(attr="twi---tz--"))) + f"\necho '  {lvm.NO_KERNEL}.' >&2",
            UNREADABLE,
            "the kernel's device-mapper does not answer: what is active is not known",
        ),
        (
            stand_ins.says(listing("lv")) + f"\necho '  WARNING: {lvm.NO_ROOT}.' >&2",
            NOT_ALLOWED,
            "it does not run as root, and lists nothing",
        ),
        ("echo \"lvs: unrecognized option '--nolocking'\" >&2; exit 3", UNREADABLE, "it ended with 3: lvs: unrecognized option '--nolocking'"),
        ("echo '<html>'", UNREADABLE, "not its JSON: '<html>'"),
    ],
)  # fmt: skip
def test_what_would_look_like_nothing(tmp_path, monkeypatch, lvs, kind, said):
    survey = look(tmp_path, monkeypatch, vgs=VGS, lvs=lvs)
    assert isinstance(survey.volumes, Failed)
    assert (survey.volumes.kind, survey.volumes.error, survey.listed, survey.summary()) == (kind, said, (), "")


def test_a_group_whose_volumes_are_not_listed_hides_no_other(tmp_path, monkeypatch):
    two = stand_ins.says(report(row("vg"), row("other")))
    survey = look(tmp_path, monkeypatch, vgs=two, lvs=stand_ins.says(listing("lv", lv("root"))))
    assert [volume.of for volume in survey.listed] == ["vg/root"]
    assert survey.gaps == (Failed(UNREADABLE, "", "run lvs", "none of the 3 of other is listed"),)


def test_an_exported_group_is_not_listed_by_lvs(tmp_path, monkeypatch):
    """Seen with 2.03.16: vgs counts its volumes, lvs leaves them out and ends with 0."""
    two = stand_ins.says(report(row("away", "wzx-n-"), row("vg")))
    survey = look(tmp_path, monkeypatch, vgs=two, lvs=stand_ins.says(listing("lv", lv("root"))))
    assert ([group.exported for group in survey.groups], survey.gaps) == ([True, False], ())
    with pytest.raises(Failed) as caught:
        stand_ins.put(tmp_path / "bin", monkeypatch, lvs=stand_ins.says(listing("lv")))
        lvm.names(Run(), survey.groups[:1])
    assert caught.value.error == "none of the 3 of away, which is exported, is listed"


def test_names_alone(tmp_path, monkeypatch):
    script = f'echo "$@" > {tmp_path}/argv\n' + stand_ins.says(listing("lv", lv("b", size=5), lv("a", group="aa")))
    stand_ins.put(tmp_path / "bin", monkeypatch, lvs=script)
    assert lvm.names(Run(), lvm.parse(report(row()))) == (("aa", "a", 8388608), ("vg", "b", 5))
    assert (tmp_path / "argv").read_text().split() == list(lvm.NAMES[1:])


def test_settings_of_lvm_conf():
    """report/compact_output leaves columns out that no row has, report/binary_values_as_numeric makes "missing" a 1 (seen)."""
    (volume,) = lvm.parse_volumes(
        listing("lv", '{"vg_name":"vg", "lv_name":"lv", "lv_attr":"-wi-a-----", "lv_size":"5"}')
    )
    assert volume == Volume("vg", "lv", 5, "", "active", "", None, None)
    assert lvm.parse_lost(listing("pv", pv("AAA", "0"), pv("BBB", "1"))) == {"vg": ["BBB"]}
    assert lvm.parse_lost(listing("pv", '{"vg_name":"vg", "pv_name":"/dev/sda", "pv_uuid":"AAA"}')) == {}


def test_messages_in_the_midst_of_the_json():
    """Printed by vgs 2.03.16 when the metadata of a disk can't be read."""
    lines = report(row()).splitlines()
    lines.insert(2, "  Retrying metadata scan.")
    assert lines[1].strip() == '"report": ['
    assert lvm.parse("\n".join(lines)) == lvm.parse(report(row()))


# Printed by vgs 2.03.16: the one copy of a group's metadata is bad; one of two copies; a clone of a disk.
UNREAD = """  WARNING: Checksum error on /dev/loop1 at offset 8704.
  WARNING: bad metadata text on /dev/loop1 in mda1
  WARNING: scanning /dev/loop1 mda1 failed to read metadata summary.
  WARNING: repair VG metadata on /dev/loop1 with vgck --updatemetadata.
  WARNING: scan failed to get metadata summary from /dev/loop1 PVID Ppm2YSguviMvutksx39XusEOByhz0pXB
"""
ONE_COPY = """  WARNING: couldn't read volume group metadata from /dev/loop1.
  WARNING: reading /dev/loop1 mda1 failed to read metadata.
  WARNING: repair VG metadata on /dev/loop1 with vgck --updatemetadata.
  WARNING: Reading VG revone on /dev/loop1 failed.
"""
CLONE = """  WARNING: Not using device /dev/loop2 for PV sEh8L2-zulL-7NZn-7rGU-yrR2-8sYu-id3zH8.
  WARNING: PV sEh8L2-zulL-7NZn-7rGU-yrR2-8sYu-id3zH8 prefers device /dev/loop0 because device name matches previous.
"""


@pytest.mark.parametrize(
    "err, found",
    [
        (UNREAD, {"/dev/loop1": "unreadable"}),
        (ONE_COPY, {"/dev/loop1": "damaged"}),
        (CLONE, {"/dev/loop2": "duplicate"}),
        (CLONE + UNREAD, {"/dev/loop1": "unreadable", "/dev/loop2": "duplicate"}),
        ("File descriptor 9 (/dev/null) leaked on vgs invocation.", {}),
        ("", {}),
    ],
)
def test_what_lvm_complains_of(tmp_path, monkeypatch, err, found):
    script = stand_ins.says(report(row())) + f"\ncat >&2 <<'END'\n{err}\nEND"
    survey = look(tmp_path, monkeypatch, vgs=script, lvs=stand_ins.says(listing("lv", lv())))
    assert survey.complaints == tuple((of, word, lvm.TEXTS[word]) for of, word in found.items())


def test_what_is_odd_with_groups(tmp_path, monkeypatch):
    rows = stand_ins.says(report(row("a"), row("b"), row("a", "wzx-n-", free=7)))
    survey = look(tmp_path, monkeypatch, vgs=rows, lvs=stand_ins.says(listing("lv", lv(group="a"), lv(group="b"))))
    assert [(of, word) for of, word, _ in survey.complaints] == [("a", "twice"), ("a", "exported")]


def test_groups_without_roots_rights_are_not_no_groups(tmp_path, monkeypatch):
    with pytest.raises(Failed) as caught:
        ask(tmp_path, monkeypatch, vgs=f"{stand_ins.says(report())}\necho '  WARNING: {lvm.NO_ROOT}.' >&2")
    assert caught.value.kind == NOT_ALLOWED


def test_disks_that_can_not_be_listed(tmp_path, monkeypatch):
    survey = look(tmp_path, monkeypatch, vgs=stand_ins.says(report(row(missing=1))), lvs=LVS, pvs="exit 5")
    assert survey.lost == Failed(UNREADABLE, "", "run pvs", "it ended with 5: no word why")
