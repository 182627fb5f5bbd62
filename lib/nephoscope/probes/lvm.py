# SPDX-License-Identifier: Apache-2.0
"""Volume groups, volumes and disks of LVM, in its own JSON.

vgs(8), lvs(8), pvs(8), lvmreport(7); JSON since LVM 2.02.158 (2016), seen for real with 2.03.16. LVM opens every block device
that it may use, and a dead path can hold it in the kernel: it runs as a child under a deadline. Without root's rights it lists
nothing and, where it takes no lock, ends with 0 all the same: what it says on stderr tells (seen for real).
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.base.child import Answer
from nephoscope.probes import as_root, high_water

FIELDS = ("vg_name", "vg_attr", "vg_size", "vg_free", "pv_count", "vg_missing_pv_count", "lv_count", "snap_count")
# --readonly: no lock is waited for, the kernel's device-mapper is not asked, and no copy of the metadata is written to
# /etc/lvm, which a plain vgs does whenever its last copy is an older one (seen for real).
VGS = ("/usr/sbin/vgs", "--readonly", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", ",".join(FIELDS))
VOLUME_FIELDS = ("vg_name", "lv_name", "lv_attr", "lv_size", "data_percent", "metadata_percent", "lv_health_status")
# Not --readonly: how full pools and snapshots are is the kernel's knowledge, and is left empty by that. Neither a lock nor a
# copy of the metadata is needed to read (both seen for real).
LVS = (
    *(
        "/usr/sbin/lvs",
        "--nolocking",
        "--config",
        "backup/backup=0",
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
    ),
    *("-o", ",".join(VOLUME_FIELDS)),
)
DISK_FIELDS = ("vg_name", "pv_name", "pv_uuid", "pv_missing")
PVS = ("/usr/sbin/pvs", "--readonly", "--reportformat", "json", "-o", ",".join(DISK_FIELDS))
# Names and sizes alone, which are in the metadata: the kernel need not be asked.
NAME_FIELDS = ("vg_name", "lv_name", "lv_size")
NAMES = (
    *("/usr/sbin/lvs", "--readonly", "--reportformat", "json", "--units", "b", "--nosuffix"),
    *("-o", ",".join(NAME_FIELDS)),
)
# What vgs says of devices while it ends with 0 (seen for real with 2.03.16).
COMPLAINTS = {
    "unreadable": re.compile(r"WARNING: scan failed to get metadata summary from (\S+)"),
    "damaged": re.compile(r"WARNING: repair VG metadata on (\S+) with vgck"),
    "duplicate": re.compile(r"WARNING: Not using device (\S+) for PV "),
}
TEXTS = {
    "unreadable": "has metadata that can't be read: the group on it may be missing here",
    "damaged": "has a damaged copy of the metadata",
    "duplicate": "is a second device of a disk that LVM uses by another one: one path of several?",
    "twice": "is the name of several groups: LVM refuses to work on either by it",
    "exported": "is exported",
    "vanished": "was there before and is not now",
}
ODD = ("damaged", "duplicate", "twice", "vanished")  # of these what serves now, serves on
# A volume of Eucalyptus' overlay back-end is a group as long as it is attached: these come and go.
PASSING = "euca-ebs-storage-vg-vol-"
NO_ROOT = "Running as a non-root user"
NO_KERNEL = "Failure to communicate with kernel device-mapper driver"

# First letter of the attributes, where it matters here (lvs(8)); all others are plain volumes.
KINDS = {"t": "thin pool", "d": "vdo pool", "s": "snapshot", "S": "snapshot"}
# The fifth letter. What is "X" was not told by the kernel.
STATES = {
    "a": "active",
    "-": "inactive",
    "h": "historical",
    "s": "suspended",
    "I": "invalid",
    "S": "invalid and suspended",
    "m": "merge failed",
    "M": "merge failed, suspended",
    "d": "without tables",
    "i": "with an inactive table",
    "c": "check needed",
    "C": "check needed, suspended",
    "X": "unknown",
}
# lv_health_status (lvmreport(7)): RAID and missing disks, thin pools, writecache; "" is well.
HEALTH = (
    *("", "partial", "refresh needed", "mismatches exist", "failed", "out_of_data", "metadata_read_only", "error"),
    "unknown",
)  # fmt: skip


class VolumeGroup(NamedTuple):
    """One volume group.

    size, free  bytes
    disks       physical volumes that it should have
    missing     those of them that are not here
    volumes     logical volumes, snapshots included
    snapshots   classic (not thin) snapshots
    partial     LVM itself says that a part of it is gone
    exported    it was given away by vgexport: its volumes can't be used, and lvs does not list them
    """

    name: str
    size: int
    free: int
    disks: int
    missing: int
    volumes: int
    snapshots: int
    partial: bool
    exported: bool = False

    @property
    def used(self) -> float | None:
        """Share of its extents that volumes have, in percent; None for a group without any."""
        return 100.0 * (self.size - self.free) / self.size if self.size > 0 else None

    @property
    def trouble(self) -> str:
        """What is wrong with it, in words; "" for nothing."""
        if self.missing:
            return f"{self.missing} of {self.disks} disks are missing"
        return "a part of it is gone" if self.partial else ""


class Volume(NamedTuple):
    """One logical volume, pool or snapshot.

    size      bytes; of a thin one what it promises
    kind      "thin pool", "vdo pool", "snapshot" (classic), "" for all others, thin ones included
    state     one of STATES' words, or the letter that is not understood
    health    one of HEALTH, or the word that is not understood
    data      % of a pool or of a snapshot's own space that is used; None: not told
    metadata  % of a thin pool's metadata; None: not told
    """

    group: str
    name: str
    size: int
    kind: str
    state: str
    health: str
    data: float | None
    metadata: float | None

    @property
    def of(self) -> str:
        """The name under which it is told: group/name."""
        return f"{self.group}/{self.name}"


class Survey(NamedTuple):
    """All that was looked at.

    volumes     those of the groups, or why they are not known
    lost        group -> its missing disks, by LVM's uuid
    gaps        groups of whose volumes none is listed
    complaints  (device or group, a word of TEXTS, that in words)
    kept        plain JSON for the next run
    """

    groups: tuple[VolumeGroup, ...]
    volumes: tuple[Volume, ...] | Failed
    lost: dict[str, list[str]] | Failed
    gaps: tuple[Failed, ...] = ()
    complaints: tuple[tuple[str, str, str], ...] = ()
    kept: dict[str, float] | None = None

    @property
    def listed(self) -> tuple[Volume, ...]:
        """The volumes, none where they are not known."""
        return () if isinstance(self.volumes, Failed) else self.volumes

    def said(self, group: VolumeGroup) -> str:
        """Return how a group's disks are, in words, with those that it lacks."""
        lost = () if isinstance(self.lost, Failed) else self.lost.get(group.name, ())
        return f"{group.trouble}{': ' if lost else ''}{', '.join(lost)}" or "has all its disks"

    def pooled(self, group: str) -> bool:
        """Return whether a pool lies in a group: it then holds the room, and the group may well be full."""
        return any(volume.group == group and volume.kind.endswith("pool") for volume in self.listed)

    def summary(self) -> str:
        """Return what was looked at, as a clause."""
        if isinstance(self.volumes, Failed):
            return ""
        return f"{len(self.groups)} groups with {len(self.volumes)} volumes"


def survey(run: Run, remember: float = 0.0) -> Survey:
    """Look at all groups and volumes, and where a group lacks disks at these.

    remember  seconds for which a group that vanished is missed
    Raises Failed as `groups` does. Where volumes or disks alone can't be listed, the
    Failed stands in their place; it belongs to no object, so that no filter can drop it.
    """
    answer = _report(VGS, run, "lvm")
    found = parse(answer.out)
    volumes: tuple[Volume, ...] | Failed = ()
    lost: dict[str, list[str]] | Failed = {}
    gaps: list[Failed] = []
    try:
        volumes = parse_volumes(_report(LVS, run, "").out)
        seen = {volume.group for volume in volumes}
        for group in found:
            if group.volumes and not group.exported and group.name not in seen:
                said = f"none of the {group.volumes} of {group.name} is listed"
                gaps.append(Failed(UNREADABLE, "", "run lvs", said))
    except Failed as failed:
        volumes = failed
    if any(group.trouble for group in found):
        try:
            lost = parse_lost(_report(PVS, run, "").out)
        except Failed as failed:
            lost = failed
    there = [group.name for group in found if not group.name.startswith(PASSING)]
    kept = high_water.seen(run.before, there, run.now().timestamp(), remember)
    gone = tuple((name, "vanished", TEXTS["vanished"]) for name in sorted(kept.keys() - there))
    return Survey(found, volumes, lost, tuple(gaps), (*complaints(answer.err, found), *gone), kept)


def complaints(err: str, found: tuple[VolumeGroup, ...]) -> tuple[tuple[str, str, str], ...]:
    """Return what LVM says of devices on stderr, the worst of each, and what is odd with groups: see `Survey`."""
    told: dict[str, str] = {}
    for word, said in COMPLAINTS.items():
        for match in said.finditer(err):
            told.setdefault(match[1].rstrip("."), word)
    names = [group.name for group in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    exported = (group.name for group in found if group.exported)
    every = (*told.items(), *((name, "twice") for name in twice), *((name, "exported") for name in exported))
    return tuple((of, word, TEXTS[word]) for of, word in every)


def groups(run: Run, seconds: float | None = None, of: str = "lvm") -> tuple[VolumeGroup, ...]:
    """Return all volume groups, by name; none is an empty tuple.

    Raises Failed: absent (no LVM), not-allowed (sudo), unreachable (no answer in its share of the deadline), unreadable.
    """
    return parse(_report(VGS, run, of, seconds).out, of)


def names(run: Run, found: tuple[VolumeGroup, ...], seconds: float | None = None) -> tuple[tuple[str, str, int], ...]:
    """Return (group, volume, bytes) of all volumes; what the kernel makes of them is not asked.

    found  the groups, as `groups` told them: one that has volumes of which none is listed is no list
    Raises Failed as `groups` does.
    """
    text = _report(NAMES, run, "lvm", seconds).out
    try:
        listed = tuple(sorted((row["vg_name"], row["lv_name"], int(row["lv_size"])) for row in _rows(text, "lv")))
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise Failed(UNREADABLE, "lvm", "run lvs", f"not its JSON: {text.strip()[:40]!r}") from None
    seen = {group for group, _, _ in listed}
    for group in found:
        if group.volumes and group.name not in seen:
            why = ", which is exported," if group.exported else ""
            raise Failed(UNREADABLE, "lvm", "run lvs", f"none of the {group.volumes} of {group.name}{why} is listed")
    return listed


def _report(line: tuple[str, ...], run: Run, of: str, seconds: float | None = None) -> Answer:
    """Return what one of LVM's reports says. Raises Failed."""
    name = line[0].rpartition("/")[2]
    # It complains about descriptors that others have left open, on stderr.
    answer = as_root.ask(line, run, of=of, seconds=seconds, env={"LVM_SUPPRESS_FD_WARNINGS": "1"})
    if answer.status:
        said = next((line.strip() for line in reversed(answer.err.splitlines()) if line.strip()), "no word why")
        raise Failed(UNREADABLE, of, f"run {name}", f"it ended with {answer.status}: {said}")
    if NO_ROOT in answer.err:
        raise Failed(
            NOT_ALLOWED, of, f"run {name}", "it does not run as root, and lists nothing", "root's rights, by sudo"
        )
    if NO_KERNEL in answer.err and line is LVS:
        raise Failed(
            UNREADABLE, of, f"run {name}", "the kernel's device-mapper does not answer: what is active is not known"
        )
    return answer


def _rows(text: str, kind: str) -> list[dict[str, str]]:
    """Return the rows of a report. LVM prints some of its messages into the midst of it ("Retrying metadata scan.", seen)."""
    text = "\n".join(line for line in text.splitlines() if line.lstrip()[:1] in tuple('{}[]",'))
    return [row for report in json.loads(text)["report"] for row in report[kind]]


def parse(text: str, of: str = "lvm") -> tuple[VolumeGroup, ...]:
    """Return the volume groups in a report of vgs. Raises Failed unreadable."""
    try:
        return tuple(sorted(_group(row) for row in _rows(text, "vg")))
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise Failed(UNREADABLE, of, "run vgs", f"not its JSON: {text.strip()[:40]!r}") from None


def parse_volumes(text: str) -> tuple[Volume, ...]:
    """Return the volumes in a report of lvs, by group and name. Raises Failed unreadable."""
    try:
        return tuple(sorted(map(_volume, _rows(text, "lv")), key=lambda volume: volume.of))
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError, IndexError):
        raise Failed(UNREADABLE, "", "run lvs", f"not its JSON: {text.strip()[:40]!r}") from None


def parse_lost(text: str) -> dict[str, list[str]]:
    """Return group -> uuids of its missing disks in a report of pvs. Raises Failed unreadable."""
    lost: dict[str, list[str]] = {}
    try:
        for row in _rows(text, "pv"):
            # A setting of lvm.conf makes it "0" or "1", and another leaves out what no row has.
            if row.get("pv_missing", "") not in ("", "0"):
                lost.setdefault(row["vg_name"], []).append(row["pv_uuid"])
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise Failed(UNREADABLE, "", "run pvs", f"not its JSON: {text.strip()[:40]!r}") from None
    return lost


def _group(row: dict[str, str]) -> VolumeGroup:
    size, free, disks, missing, volumes, snapshots = (int(row[name]) for name in FIELDS[2:])
    # The third letter of the attributes is "x" for exported, the fourth "p" for partial (lvmreport(7)).
    exported, partial = row["vg_attr"][2:3] == "x", row["vg_attr"][3:4] == "p"
    return VolumeGroup(row["vg_name"], size, free, disks, missing, volumes, snapshots, partial, exported)


def _volume(row: dict[str, str]) -> Volume:
    # With report/compact_output in lvm.conf a column that no row has is left out (seen).
    attributes, data, metadata = row["lv_attr"], row.get("data_percent", ""), row.get("metadata_percent", "")
    return Volume(
        row["vg_name"],
        row["lv_name"],
        int(row["lv_size"]),
        KINDS.get(attributes[0], ""),
        STATES.get(attributes[4], attributes[4]),
        row.get("lv_health_status", ""),
        float(data) if data else None,
        float(metadata) if metadata else None,
    )
