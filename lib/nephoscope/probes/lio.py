# SPDX-License-Identifier: Apache-2.0
"""iSCSI targets of LIO, the target inside the kernel, from its tree in configfs; no right is needed to read it.

Sources: Linux, Documentation/target/target-export-device (the tree, from backstore to portal);
drivers/target/target_core_configfs.c (udev_path, enable, info), target_core_file.c and target_core_iblock.c (words of info),
drivers/target/iscsi/iscsi_target_configfs.c (enable, dynamic_sessions, and info of an initiator).
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run, files
from nephoscope.base.child import each
from nephoscope.probes.tgt import Lun, Session, Target, Targets

ISCSI, CORE = "/sys/kernel/config/target/iscsi", "/sys/kernel/config/target/core"
TYPES = ("iqn.", "eui.", "naa.")  # RFC 7143, 4.2.7: how the name of a target begins
NOBODY = "No active iSCSI Session for Initiator"
_STORE = re.compile(r"(?:File: (.*?)  Size: |UDEV PATH: (.*?)  readonly: )")


def there(run: Run) -> bool:
    """Return whether LIO has an iSCSI target. Raises Failed (not-allowed)."""
    return any(name.startswith(TYPES) for name in _names(run, ISCSI))


def show(run: Run, seconds: float = 5.0, of: str = "LIO") -> Targets:
    """Return LIO's targets, read in a child: the kernel holds a lock while it stops a target, and may wait for a disk.

    Raises Failed: absent (no such tree), unreachable (no answer in `seconds`), not-allowed, unreadable.
    """
    begun = time.monotonic()
    rows: Any = each(run, {of: lambda: _targets(run)}, tried=f"read {ISCSI}", seconds=seconds)[of]
    if isinstance(rows, Failed):
        raise rows
    found = [
        Target(0, name, state, tuple(Lun(*lun) for lun in luns), tuple(Session(name, ()) for name in initiators))
        for name, state, luns, initiators in rows
    ]
    return Targets(time.monotonic() - begun, tuple(found))


def _targets(run: Run) -> list[Any]:
    rows = []
    for name in files.names(run, ISCSI, of="LIO"):
        if name.startswith(TYPES):
            try:
                rows.append(_target(run, name))
            except Failed as failed:
                if failed.kind != ABSENT or name in files.names(run, ISCSI, of="LIO"):
                    raise  # else it was taken away while we read
    return rows


def _target(run: Run, name: str) -> list[Any]:
    """Return name, state, LUNs and initiators of a target. A group that is not enabled, or has no portal, serves nobody."""
    luns: list[Any] = []
    initiators: list[str] = []
    states = []
    for group in files.names(run, f"{ISCSI}/{name}"):
        if not group.startswith("tpgt_"):
            continue
        home = f"{ISCSI}/{name}/{group}"
        enabled = _flag(run, f"{home}/enable", name)
        portals = _names(run, f"{home}/np")
        states.append("ready" if enabled and portals else "without a portal" if enabled else "offline")
        numbers = [lun for lun in files.names(run, f"{home}/lun") if lun.startswith("lun_")]
        luns += [_lun(run, f"{home}/lun/{lun}", int(lun[4:])) for lun in numbers]
        initiators += _initiators(run, home)
    # The best of its groups: one of several may be meant to rest.
    state = next((word for word in ("ready", "without a portal") if word in states), "offline")
    return [name, state, sorted(luns), sorted(initiators)]


def _lun(run: Run, home: str, number: int) -> list[Any]:
    """Return the fields of a Lun. It is a directory, in which one link leads to CORE/HBA_N/NAME."""
    links = [name for name in files.names(run, home) if os.path.islink(run.path(f"{home}/{name}"))]
    if not links:
        return [number, "disk", None, True, ""]
    hba, device = os.readlink(run.path(f"{home}/{links[0]}")).rstrip("/").split("/")[-2:]
    store = f"{CORE}/{hba}/{device}"
    on = _flag(run, f"{store}/enable", device)
    if hba.startswith("rd_"):
        return [number, "ram disk", None, on, ""]  # its store is memory
    path = files.text(run, f"{store}/udev_path", limit=4096).strip()
    if not path:
        said = _STORE.search(files.text(run, f"{store}/info", limit=65536))
        if said is None and hba.startswith(("fileio_", "iblock_")):
            raise Failed(UNREADABLE, device, f"read {store}/info", "it names no path")
        path = (said[1] or said[2]) if said else f"{hba}/{device}"  # of a driver in user space: a name, no path
    return [number, "disk", None, on, path]


def _initiators(run: Run, home: str) -> list[str]:
    """Return the initiators that are logged in: those with a list entry of their own, and those that come without one."""
    found = []
    for name in _names(run, f"{home}/acls"):
        said = files.text(run, f"{home}/acls/{name}/info", limit=65536)
        if not said.startswith(NOBODY) and "Session State: " not in said:
            raise Failed(UNREADABLE, name, f"read {home}/acls/{name}/info", f"not understood: {said[:40]!r}")
        if "TARG_SESS_STATE_LOGGED_IN" in said:
            found.append(name)
    # Names with a line end and a NUL after each (target_show_dynamic_sessions).
    return found + files.text(run, f"{home}/dynamic_sessions", limit=65536).replace("\0", " ").split()


def _flag(run: Run, path: str, of: str) -> bool:
    word = files.text(run, path, of=of, limit=4096).strip()
    if word not in ("0", "1"):
        raise Failed(UNREADABLE, of, f"read {path}", f"not understood: {word[:40]!r}")
    return word == "1"


def _names(run: Run, directory: str) -> list[str]:
    """Return the names in a directory, none where there is none. Raises Failed."""
    try:
        return files.names(run, directory, of="LIO")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        return []
