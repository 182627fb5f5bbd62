# SPDX-License-Identifier: Apache-2.0
"""What the kernel may not tell: words and directories that one driver or kernel has and the next has not."""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed, Run, files


def word(run: Run, path: str, of: str = "") -> str:
    """Return a word of the kernel, "" where it tells none. Raises Failed when it may not be read."""
    try:
        said = files.text(run, path, of=of, limit=4096).strip()
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        return ""
    return "" if said == "(null)" else said  # as it prints what nobody has set


def names(run: Run, directory: str) -> list[str]:
    """Return the names in a directory, none where there is no such directory. Raises Failed when it may not be read."""
    try:
        return files.names(run, directory, of="")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        return []
