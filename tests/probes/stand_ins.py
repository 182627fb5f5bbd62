# SPDX-License-Identifier: Apache-2.0
"""Scripts in the place of programs that are run by sudo, for tests without rights and without the programs."""

from __future__ import annotations

import os
from pathlib import Path

from nephoscope.base import child
from nephoscope.probes import as_root

REFUSES = 'echo "sudo: a password is required" >&2; exit 1'


def put(folder: Path, monkeypatch, /, sudo: str = 'shift; exec "$@"', **scripts: str) -> None:
    """Make `folder` the one place where programs are looked for: a shell script for each name ("_" stands for "-").

    They are run by the sudo that lies beside them, also when the tests run as root.
    """
    folder.mkdir(exist_ok=True)
    for name, script in {**scripts, "sudo": sudo}.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setattr(child, "PATH", f"{folder}:/usr/bin:/bin" if scripts else str(folder))
    # Nor by its own path where this machine has it: a lab may have installed it.
    find = child.find
    hidden = ("/usr/", "/sbin/", "/bin/")
    monkeypatch.setattr(as_root, "find_program", lambda name: None if name.startswith(hidden) else find(name))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def says(text: str) -> str:
    """Return a script that prints a text."""
    return f"cat <<'END'\n{text}\nEND"
