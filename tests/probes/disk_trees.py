# SPDX-License-Identifier: Apache-2.0
"""Trees of disks, written into a folder: /proc/diskstats and the few files of sysfs that are read with it.

Columns: Documentation/admin-guide/iostats.rst of Linux 6.1. The line of vda is one of a running 6.18; the other values are hand-made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VDA = "254 0 vda 6571606 955165 186631866 4418140 5313405 4964187 333110184 3169634 0 1035972 8042924 4956260 364 621041760 391144 1096796 64005"


def line(name, reads=0, read_ms=0, writes=0, write_ms=0, in_flight=0, busy_ms=0, columns=17, flushes=0):
    """A line of 11 columns (before Linux 4.18), 15 or 17."""
    more = [0, 0, 0, 0, flushes, 0][: columns - 11]
    numbers = [reads, 0, 0, read_ms, writes, 0, 0, write_ms, in_flight, busy_ms, 0, *more]
    return " ".join(["  8", "0", name, *map(str, numbers)])


def tree(root: Path, *lines: str, whole: tuple[str, ...] | None = None, files: Mapping[str, str] | None = None) -> str:
    """Write the lines, a directory for each whole disk (all, unless said), and more files below /sys/block; return the root."""
    path = root / "proc/diskstats"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in lines))
    for name in [text.split()[2] for text in lines] if whole is None else whole:
        (root / "sys/block" / name.replace("/", "!")).mkdir(parents=True, exist_ok=True)
    for name, content in (files or {}).items():
        file = root / "sys/block" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return str(root)
