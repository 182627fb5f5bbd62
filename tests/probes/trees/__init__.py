# SPDX-License-Identifier: Apache-2.0
"""Recorded trees of /proc and /sys, and a way to copy one and change it by hand.

debian12-guest  a guest of two processors without swap (Debian 12, Linux 6.18, Firecracker), November 2026, nearly idle; the files
                were copied with cat, as root. `device` of eth0 is a link in life and a directory here. ifb0 is down: its
                carrier, speed and duplex answer EINVAL in life and are missing here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
GUEST = str(HERE / "debian12-guest")


def tree(where: Path, files: Mapping[str, str | None] | None = None, *, name: str = "debian12-guest") -> str:
    """Return the root of a copy below `where`, in which `files` have these texts; None: the file or directory is gone."""
    root = where / "root"
    if not root.exists():
        shutil.copytree(HERE / name, root, symlinks=True)
    for path, content in (files or {}).items():
        target = root / path.lstrip("/")
        if content is None:
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    return str(root)


def text(path: str, *, name: str = "debian12-guest") -> str:
    """Return a recorded file's text."""
    return (HERE / name / path.lstrip("/")).read_text()
