# SPDX-License-Identifier: Apache-2.0
"""Are the volume groups there, with room, and is no thin pool or snapshot about to overflow?

A group that lacks a disk, a volume whose health LVM itself calls bad, and a snapshot or pool that the kernel has given up are
CRITICAL. Thin and VDO pools and classic snapshots are held against limits: a full snapshot is lost, a thin pool that is full
stops its guests, and one whose metadata is full goes read-only. So are a disk whose metadata can't be read, which hides its
group, and what is wrong with an expected group: it is exported, or another one bears its name. A group that an earlier run saw
and that is gone is a warning for a week (`--remember`), unless it is that of an attached volume of Eucalyptus' overlay.

`--expect NAME` says what must be there: a group, or GROUP/VOLUME, which must be active too. Only groups that are expected are
asked for room (`used`), and only those without a pool: an operating system's group is full by design, and a pool takes all of
its group. That a volume is inactive is no fault unless it is expected. Volumes go by GROUP/VOLUME in --include and --exclude.

LVM 2.02.158 or later is asked in its own JSON, by vgs, lvs and, where a disk is missing, pvs; as root by sudo, with arguments
that take no lock and write nothing. The lvs of 2.02 does not know --nolocking: volumes and pools are UNKNOWN there. What it
does not tell (it is not root, the kernel's device-mapper is silent) is UNKNOWN: both look like an empty list otherwise.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Preset, Sudo, Threshold, duration
from nephoscope.probes import lvm

STATE_WORDS = {
    "active": OK, "inactive": OK, "historical": OK, "suspended": WARNING, "without tables": WARNING,
    "with an inactive table": WARNING, "invalid": CRITICAL, "invalid and suspended": CRITICAL, "merge failed": CRITICAL,
    "merge failed, suspended": CRITICAL, "check needed": CRITICAL, "check needed, suspended": CRITICAL,
}  # fmt: skip
COMPLAINT_WORDS = {"unreadable": CRITICAL, "exported": OK, **dict.fromkeys(lvm.ODD, WARNING)}
HEALTH_WORDS = {word: CRITICAL for word in lvm.HEALTH if word not in ("", "unknown")}


def options(add):
    add("--remember", type=duration, default=604800.0, looks=False, help="how long a group that vanished is missed")
    add("--expect", repeat=True, metavar="NAME", help="a group, or GROUP/VOLUME that must be active")


def probe(options, run):
    return lvm.survey(run, options.remember)


def judge(survey, options):
    known = {group.name for group in survey.groups} | {volume.of for volume in survey.listed}
    for name in options.expect:
        if name not in known and ("/" not in name or not isinstance(survey.volumes, Failed)):
            yield Finding(CRITICAL, name, "is not there")
    if not survey.groups and not options.expect:
        yield Failed(ABSENT, "", "run vgs", "there is no volume group: name by --expect what should be there")
    yield from (part for part in (survey.volumes, survey.lost, *survey.gaps) if isinstance(part, Failed))
    for of, word, text in survey.complaints:  # of a group that is expected each is as bad as its loss
        if word != "vanished" or of not in options.expect:  # that is said
            yield Finding(CRITICAL if of in options.expect else COMPLAINT_WORDS[word], of, text)
    for group in survey.groups:
        yield Finding(CRITICAL if group.trouble else OK, group.name, survey.said(group))
        yield Metric("free", group.free, group.name, 0, group.size)
        if group.name in options.expect and not isinstance(survey.volumes, Failed) and not survey.pooled(group.name):
            yield Metric("used", group.used, group.name, 0, 100)
    for volume in survey.listed:
        yield from _volume(volume, volume.of in options.expect)
    if survey.groups and survey.summary():
        yield Finding(OK, "", survey.summary())


def _volume(volume, expected):
    state = STATE_WORDS.get(volume.state, UNKNOWN)
    said = f"is {volume.state}" if state != UNKNOWN else f"is in a state that is not understood: {volume.state}"
    yield Finding(CRITICAL if expected and volume.state != "active" and state != UNKNOWN else state, volume.of, said)
    if volume.health:
        yield Finding(HEALTH_WORDS.get(volume.health, UNKNOWN), volume.of, f"is not well: {volume.health}")
    if volume.state in ("inactive", "historical") or not volume.kind:
        return
    yield Metric("snapshot" if volume.kind == "snapshot" else "data", volume.data, volume.of, 0, 100)
    if volume.kind == "thin pool":
        yield Metric("metadata", volume.metadata, volume.of, 0, 100)


RUNBOOK = """
By hand: `vgs -o +vg_missing_pv_count; lvs -a -o +lv_health_status,metadata_percent; pvs -o +pv_missing; dmesg | grep -i dm-`.
Disk missing: `pvs -o +pv_uuid`, `lsblk`, check_multipath, check_iscsi_session; when it is back `vgextend --restoremissing`.
Do not run `vgreduce --removemissing` before you know what lay on it.
Thin pool filling: `lvextend -L +50G GROUP/POOL`, or delete snapshots; metadata: `lvextend --poolmetadatasize +1G GROUP/POOL`.
Full: guests stop or get errors; extend first, then resume them. Check needed: deactivate the pool, `lvconvert --repair`.
Snapshot filling: `lvextend` it or remove it; an invalid one is lost: `lvremove`.
Refresh needed: `lvchange --refresh`. Mismatches: `lvchange --syncaction check`. Suspended for long: a command was cut in the
middle, `dmsetup info -C`, `dmsetup resume NAME`.
Vanished: was it removed (then run it once with `--remember 0 --save` as the monitoring user), or are all its disks gone
(lsblk, dmesg, /etc/lvm/backup)?
Exported: the group was meant to go to another host; `vgimport` only where no other host uses it.
Metadata damaged: `pvs -o +vg_name,pv_in_use`, `vgck GROUP`; a copy: `vgck --updatemetadata GROUP`. Unreadable: find out which
group is missing (/etc/lvm/backup) before anything writes to the disk; `vgcfgrestore` from there, with the disks at rest.
A second device of a disk: LVM took a single path of multipath (check_multipath; `lvmdevices`, filter in lvm.conf), or a clone
of a disk is attached: take it away. Several groups of one name: `vgs -o +vg_uuid`, `vgrename UUID NEW`.
Group filling (cinder-volumes): orphans by check_volume_orphans, or `vgextend`.
"""

CHECK = Check(
    *(options, probe, judge),
    keep=lambda survey: survey.kept,
    runbook=RUNBOOK,
    needs=[Sudo(*lvm.VGS), Sudo(*lvm.LVS), Sudo(*lvm.PVS)],
    presets={"cinder_volume": Preset("Cinder's LVM back end", options={"expect": ("cinder-volumes",)})},
    thresholds=[
        Threshold(
            "used", "%", "80", "90", main=True, print="apart", help="space of an expected group that volumes have"
        ),
        Threshold("free", "B", print="apart", help="space of a group that no volume has"),
        Threshold("data", "%", "80", "90", print="apart", help="data of a thin or VDO pool"),
        Threshold("metadata", "%", "70", "85", print="apart", help="metadata of a thin pool"),
        Threshold("snapshot", "%", "80", "95", print="top", help="space of a classic snapshot"),
    ],
)
main = CHECK.main
