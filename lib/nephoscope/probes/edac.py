# SPDX-License-Identifier: Apache-2.0
"""Memory errors that the memory controller corrected, or could not: /sys/devices/system/edac.

Source: Linux Documentation/ABI/testing/sysfs-devices-edac and Documentation/driver-api/edac.rst (6.1): counters since the
driver was loaded, or since somebody wrote to reset_counters.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nephoscope.base import ABSENT, Failed, Run, files

CLASS = "/sys/devices/system/edac/mc"


class Memory(NamedTuple):
    """Errors of one memory module since the driver was loaded: corrected, and uncorrectable."""

    name: str
    corrected: int
    uncorrected: int


def memory(run: Run) -> list[Memory]:
    """Return the error counts of every memory module, and of what the controller could not place in one.

    Raises Failed absent when no driver watches a memory controller: then nobody counts, which is not "no errors".
    """
    run.stage(f"read {CLASS}")
    try:
        controllers = [name for name in files.names(run, CLASS, of="edac") if re.fullmatch(r"mc\d+", name)]
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        controllers = []
    if not controllers:
        raise Failed(ABSENT, "edac", f"list {CLASS}", "no EDAC driver watches the memory (no ECC, or none loaded)")
    found = []
    for controller in controllers:
        path = f"{CLASS}/{controller}"
        # dimmN and rankN since Linux 3.6; the csrowN of before are still there and would count twice.
        modules = [name for name in files.names(run, path) if re.fullmatch(r"(dimm|rank)\d+", name)]
        placed = []
        for module in modules:
            try:
                label = files.text(run, f"{path}/{module}/dimm_label").strip()
            except Failed:
                label = ""
            placed.append(
                Memory(
                    f"{controller} {label or module}",
                    files.number(run, f"{path}/{module}/dimm_ce_count"),
                    files.number(run, f"{path}/{module}/dimm_ue_count"),
                )
            )
        corrected = files.number(run, f"{path}/ce_count") - sum(module.corrected for module in placed)
        uncorrected = files.number(run, f"{path}/ue_count") - sum(module.uncorrected for module in placed)
        if corrected > 0 or uncorrected > 0 or not placed:
            placed.append(Memory(f"{controller} (no module named)", max(0, corrected), max(0, uncorrected)))
        found += placed
    return found
