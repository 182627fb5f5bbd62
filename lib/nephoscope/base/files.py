# SPDX-License-Identifier: Apache-2.0
"""Small files of the kernel and of agents, read through the run's root, bounded, with every failure named."""

from __future__ import annotations

import os

from nephoscope.base.failed import UNREADABLE, Failed
from nephoscope.base.run import Run


def upto(descriptor: int, size: int) -> bytes:
    """Return what a descriptor still has, at most `size` bytes. Raises OSError."""
    parts = []
    while size > 0:
        part = os.read(descriptor, min(65536, size))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def data(run: Run, path: str, *, of: str | None = None, limit: int = 1 << 20) -> bytes:
    """Return a file's content.

    Raises Failed: absent, not-allowed, or unreadable when the file is larger than `limit` bytes.
    """
    of = path if of is None else of
    try:
        # Not open(): its buffering and decoding layers cost more than the read itself.
        descriptor = os.open(run.path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            content = upto(descriptor, limit + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Failed.of_os_error(of, f"read {path}", error) from None
    if len(content) > limit:
        raise Failed(UNREADABLE, of, f"read {path}", f"larger than {limit} bytes")
    return content


def text(run: Run, path: str, *, of: str | None = None, limit: int = 1 << 20) -> str:
    """Return a file's content as text, undecodable bytes replaced. Raises Failed as `data` does."""
    return data(run, path, of=of, limit=limit).decode("utf-8", "replace")


def number(run: Run, path: str, *, of: str | None = None) -> int:
    """Return the whole number that a file holds (sysfs and sysctl style).

    Raises Failed: absent, not-allowed, or unreadable when it is not one whole number.
    """
    content = text(run, path, of=of, limit=4096)
    try:
        return int(content)
    except ValueError:
        raise Failed(
            UNREADABLE, path if of is None else of, f"read {path}", f"not a number: {content[:40]!r}"
        ) from None


def names(run: Run, directory: str, *, of: str | None = None, limit: int = 100_000) -> list[str]:
    """Return the sorted names in a directory.

    Raises Failed: absent, not-allowed, or unreadable when it has more than `limit` entries.
    """
    found = []
    try:
        with os.scandir(run.path(directory)) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) > limit:
                    raise Failed(
                        UNREADABLE, directory if of is None else of, f"list {directory}", f"more than {limit} entries"
                    )
    except OSError as error:
        raise Failed.of_os_error(directory if of is None else of, f"list {directory}", error) from None
    return sorted(found)
