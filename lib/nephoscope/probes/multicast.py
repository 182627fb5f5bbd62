# SPDX-License-Identifier: Apache-2.0
"""Which multicast groups this host has joined, from /proc/net/igmp (net/ipv4/igmp.c of Linux); no right needed."""

from __future__ import annotations

import sys

from nephoscope.base import UNREADABLE, Failed, Run, files

IGMP = "/proc/net/igmp"


def joined(run: Run) -> dict[str, tuple[str, ...]]:
    """Return group ("239.193.7.3") -> the interfaces on which it was joined. Raises Failed: absent, not-allowed, unreadable."""
    run.stage(f"read {IGMP}")
    head, _, rest = files.text(run, IGMP).partition("\n")
    if not head.startswith("Idx\tDevice"):
        raise Failed(UNREADABLE, IGMP, f"read {IGMP}", f"its first line is not understood: {head[:40]!r}")
    found: dict[str, list[str]] = {}
    device = ""
    for line in rest.splitlines():
        words = line.split()
        try:
            if line[:1].isdigit():
                device = words[1].rstrip(":")
            elif words:
                # Printed as the 32-bit number that it is in this machine's memory.
                raw = int(words[0], 16).to_bytes(4, sys.byteorder)
                found.setdefault(".".join(map(str, raw)), []).append(device)
        except (ValueError, IndexError, OverflowError):
            raise Failed(UNREADABLE, IGMP, f"read {IGMP}", f"not understood: {line[:40]!r}") from None
    return {group: tuple(devices) for group, devices in found.items()}
