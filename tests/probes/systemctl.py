# SPDX-License-Identifier: Apache-2.0
"""A `systemctl` that answers from a table, in the very forms that systemd 252 of Debian 12 prints (tests/lab asks the real one)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

BASE = {
    "Type": "simple", "Result": "success", "NRestarts": "0", "ExecMainStartTimestampMonotonic": "4050047953", "ExecMainCode": "0",
    "ExecMainStatus": "0", "RequiredBy": "", "WantedBy": "multi-user.target", "TriggeredBy": "", "LoadState": "loaded",
    "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "ConditionResult": "yes",
    "ConditionTimestampMonotonic": "4050047525", "InvocationID": "452297df3cbc485dbe6cdb534637debc",
}  # fmt: skip
NOT_FOUND = {
    **dict.fromkeys(BASE, ""), "Result": "success", "NRestarts": "0", "ExecMainStartTimestampMonotonic": "0",
    "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "ConditionResult": "no", "ConditionTimestampMonotonic": "0",
}  # fmt: skip
STOPPED = {"ActiveState": "inactive", "SubState": "dead"}
FAILED = {
    "ActiveState": "failed",
    "SubState": "failed",
    "Result": "exit-code",
    "ExecMainCode": "1",
    "ExecMainStatus": "1",
}
TARGET = {
    "multi-user.target": {"WantedBy": "", "Type": "", "SubState": "active", "NRestarts": "", "UnitFileState": "static"}
}


def write(
    folder: Path, units: Mapping[str, Mapping[str, str]], *, state: str = "running", columns: bool = False
) -> str:
    """Put a systemctl into `folder` that knows these units (what differs from a running, enabled service); return the folder."""
    rows = {name: {"Id": name, **BASE, **values} for name, values in {**TARGET, **units}.items()}
    shown = folder / "shown"
    shown.mkdir(exist_ok=True)
    for old in shown.iterdir():
        old.unlink()
    for name, row in rows.items():
        (shown / name).write_text("".join(f"{key}={value}\n" for key, value in row.items()) + "\n")
    (folder / "not-found").write_text("".join(f"{key}={value}\n" for key, value in NOT_FOUND.items()) + "\n")
    entries = [
        {
            "unit": name,
            "load": row["LoadState"],
            "active": row["ActiveState"],
            "sub": row["SubState"],
            "description": "A unit",
        }
        for name, row in rows.items()
    ]
    table = "".join(f"{e['unit']:40} {e['load']:9} {e['active']:8} {e['sub']:7} {e['description']}\n" for e in entries)
    (folder / "units").write_text(table if columns else json.dumps(entries))
    enabled = [name for name, row in rows.items() if row["UnitFileState"] == "enabled"]
    (folder / "files").write_text(
        "".join(f"{name:26} enabled         enabled\n" for name in [*enabled, "getty@.service"])
    )
    script = f"""#!/bin/sh
for word; do case "$word" in
  list-units) cat {folder}/units; exit;;
  list-unit-files) cat {folder}/files; exit;;
  --) break;;
esac; done
while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
[ $# -gt 0 ] || {{ echo Version=252.39-1~deb12u2; echo SystemState={state}; exit; }}
shift
for name; do
  if [ -f "{folder}/shown/$name" ]; then cat "{folder}/shown/$name"; else echo "Id=$name"; grep -v ^Id= {folder}/not-found; echo; fi
done
"""
    return program(folder, script)


def refuse(folder: Path, message: str, status: int = 1) -> str:
    """Put a systemctl into `folder` that prints this on stderr and fails."""
    return program(folder, f'#!/bin/sh\necho "{message}" >&2\nexit {status}\n')


def program(folder: Path, script: str) -> str:
    """Put this script into `folder` as systemctl; /bin and /usr/bin stand behind it on the path that is returned."""
    (folder / "systemctl").write_text(script)
    (folder / "systemctl").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"
