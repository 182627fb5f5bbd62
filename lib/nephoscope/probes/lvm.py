# SPDX-License-Identifier: Apache-2.0
"""Volume groups of LVM, in its own JSON.

vgs(8), lvmreport(7); JSON since LVM 2.02.158 (2016), seen for real with 2.03.16. LVM opens every block device that it may use,
and a dead path can hold it in the kernel: it runs as a child under a deadline. Without root's rights it lists nothing, and ends
with 5.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import as_root

FIELDS = ("vg_name", "vg_attr", "vg_size", "vg_free", "pv_count", "vg_missing_pv_count", "lv_count", "snap_count")
# --readonly: no lock is waited for, the kernel's device-mapper is not asked, and no copy of the metadata is written to
# /etc/lvm, which a plain vgs does whenever its last copy is an older one (seen for real).
VGS = ("/usr/sbin/vgs", "--readonly", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", ",".join(FIELDS))


class VolumeGroup(NamedTuple):
    """One volume group.

    size, free  bytes
    disks       physical volumes that it should have
    missing     those of them that are not here
    volumes     logical volumes, snapshots included
    snapshots   classic (not thin) snapshots
    partial     LVM itself says that a part of it is gone
    """

    name: str
    size: int
    free: int
    disks: int
    missing: int
    volumes: int
    snapshots: int
    partial: bool

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


def groups(run: Run, seconds: float | None = None, of: str = "lvm") -> tuple[VolumeGroup, ...]:
    """Return all volume groups, by name; none is an empty tuple.

    Raises Failed: absent (no LVM), not-allowed (sudo), unreachable (no answer in its share of the deadline), unreadable.
    """
    # It complains about descriptors that others have left open, on stderr, which is read only when it failed.
    answer = as_root.ask(VGS, run, of=of, seconds=seconds, env={"LVM_SUPPRESS_FD_WARNINGS": "1"})
    if answer.status:
        said = next((line.strip() for line in reversed(answer.err.splitlines()) if line.strip()), "no word why")
        raise Failed(UNREADABLE, of, "run vgs", f"it ended with {answer.status}: {said}")
    return parse(answer.out, of)


def parse(text: str, of: str = "lvm") -> tuple[VolumeGroup, ...]:
    """Return the volume groups in a report of vgs. Raises Failed unreadable."""
    try:
        rows = [row for report in json.loads(text)["report"] for row in report["vg"]]
        return tuple(sorted(_group(row) for row in rows))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Failed(UNREADABLE, of, "run vgs", f"not its JSON: {text.strip()[:40]!r}") from None


def _group(row: dict[str, str]) -> VolumeGroup:
    size, free, disks, missing, volumes, snapshots = (int(row[name]) for name in FIELDS[2:])
    # The fourth letter of the attributes is "p" for partial (lvmreport(7)).
    return VolumeGroup(row["vg_name"], size, free, disks, missing, volumes, snapshots, row["vg_attr"][3:4] == "p")
