# SPDX-License-Identifier: Apache-2.0
"""A FUSE file system that answers at once, or not at all while a flag file exists.

    /usr/bin/python3 hangfs.py MOUNTPOINT FLAG LOG

While FLAG exists every request but the one for the root directory's attributes is taken and not answered: the caller sleeps
in the kernel and, after any first signal, can't be killed any more, as on a dead NFS server. LOG gets one line for each
request, so that a test can see that nobody asked. Runs under Debian's Python, which has python3-fusepy.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time

import fusepy

CONTENT = b"hello\n"


class HangingFileSystem(fusepy.Operations):
    """One file, `file`, six bytes long."""

    def __init__(self, flag: str, log: str) -> None:
        self.flag, self.log = flag, log

    def gate(self, request: str) -> None:
        with open(self.log, "a") as log:
            log.write(f"{request}\n")
        while os.path.exists(self.flag):
            time.sleep(0.02)

    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o1777, "st_nlink": 2}
        self.gate(f"getattr {path}")
        if path == "/file":
            return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": len(CONTENT)}
        raise fusepy.FuseOSError(errno.ENOENT)

    def readdir(self, path: str, handle: int) -> list[str]:
        self.gate("readdir")
        return [".", "..", "file"]

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        self.gate("read")
        return CONTENT[offset : offset + size]

    def flush(self, path: str, handle: int) -> int:
        self.gate("flush")
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        self.gate("statfs")
        return {
            "f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1000, "f_bfree": 500, "f_bavail": 500,
            "f_files": 100, "f_ffree": 50, "f_favail": 50, "f_namemax": 255,
        }  # fmt: skip


if __name__ == "__main__":
    fusepy.FUSE(
        HangingFileSystem(sys.argv[2], sys.argv[3]), sys.argv[1], foreground=True, nothreads=False,
        fsname="hang", subtype="stub", allow_other=True, attr_timeout=0, entry_timeout=0,
    )  # fmt: skip
