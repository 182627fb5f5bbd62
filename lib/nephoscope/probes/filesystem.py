# SPDX-License-Identifier: Apache-2.0
"""Trial writes: what a directory does when an ordinary process uses it. Sizes and mounts are in `mounts`."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from typing import NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, Failed, Run, child

TRIED = "create, sync, read back and remove a file"
SIZE = 4096  # bytes written: one page, one block
PREFIX = ".nephoscope-"
OLD = 60.0  # seconds after which no trial can still be using its file
REMOVED, LOOKED = 100, 20_000  # remains that one trial removes, names that it looks at, at most


class Trial(NamedTuple):
    """What one directory did.

    path         the directory
    step, error  the step that failed and why; both "" when all went well
    mode         permission bits of the directory
    seconds      from the first step to the last one that was done
    free         % of the space that this account may use and that is free; None: the file system has no size
    inodes_free  %; None: the file system counts no inodes (btrfs)
    synced       seconds of write and fsync alone; None: it did not come so far
    """

    path: str
    step: str
    error: str
    mode: int
    seconds: float
    free: float | None
    inodes_free: float | None
    synced: float | None = None

    @property
    def denied(self) -> bool:
        """Whether this account may not write there, which tells nothing about the disk."""
        return self.error in (os.strerror(errno.EACCES), os.strerror(errno.EPERM))


def write_trials(paths: Sequence[str], run: Run, *, user: str = "", seconds: float = 5.0) -> list[Trial | Failed]:
    """Try every directory, each in a child of its own, side by side.

    user     the account that tries; "" is this process's own, or nobody when that is root, who may write anywhere
    seconds  the longest that one trial may take
    A child that was killed or hangs leaves one empty or 4 KiB file `.nephoscope-*` behind, which a later trial removes.
    """
    jobs = {path: (lambda path=path: _trial(run.path(path), path, user)) for path in paths}
    answers = child.each(run, jobs, tried=TRIED, seconds=seconds)
    return [a if isinstance(a, Failed) else Trial(path, *a) for path, a in answers.items()]


def _become(user: str, path: str) -> None:
    """Turn this process, a child, into `user` for good."""
    if not user and os.geteuid() != 0:
        return
    asked, user = bool(user), user or "nobody"
    import pwd

    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise Failed(ABSENT, path, f"become {user}", "no such account") from None
    if account.pw_uid == os.geteuid():
        return
    if os.geteuid() != 0:
        cure = f"start the whole check as {user} (sudo -n -u {user} check_tmp_writable …, allowed with exactly these arguments)"
        raise Failed(NOT_ALLOWED, path, f"become {user}", "only root may", cure)
    try:
        if asked:
            os.initgroups(user, account.pw_gid)
        else:
            os.setgroups([])  # nobody is in no group, and a silent directory server need not be asked for it
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except OSError as error:
        cure = "run the check from an ordinary account"
        raise Failed(NOT_ALLOWED, path, f"become {user}", error.strerror or str(error), cure) from None


def _sweep(place: str) -> None:
    """Remove what trials of this account that were given up have left behind; runs in a child."""
    from itertools import islice

    directory = -1
    try:
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, LOOKED) if entry.name.startswith(PREFIX)]
        removed = 0
        for name in names:
            status = os.lstat(name, dir_fd=directory)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_size <= SIZE
            if ours and time.time() - status.st_mtime > OLD:
                os.unlink(name, dir_fd=directory)
                removed += 1
                if removed == REMOVED:
                    break
    except OSError:
        pass  # what is wrong with the directory is told by the trial
    finally:
        if directory >= 0:
            os.close(directory)


def _trial(place: str, path: str, user: str) -> list[object]:
    """Do all steps in `place`; runs in a child, returns the fields of Trial after the path."""
    import tempfile

    _become(user, path)
    _sweep(place)
    data = os.urandom(SIZE)
    step, problem, name, descriptor = "create", "", "", -1
    synced = None
    begun = time.monotonic()
    try:
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, dir=place)
        step = "write"
        writing = time.monotonic()
        written = os.write(descriptor, data)
        if written != SIZE:
            raise OSError(0, f"only {written} of {SIZE} bytes were taken")
        step = "sync"
        os.fsync(descriptor)
        synced = time.monotonic() - writing
        step = "read back"
        # Clean pages go out of the cache, so that the disk is read and not our own memory (man posix_fadvise).
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.pread(descriptor, SIZE + 1, 0) != data:
            raise OSError(0, "other bytes than were written")
        step = "remove"
        os.unlink(name)
        name, step = "", ""
    except OSError as error:
        problem = error.strerror or str(error)
    took = time.monotonic() - begun
    try:
        if name:
            os.unlink(name)
        if descriptor >= 0:
            os.close(descriptor)
    except OSError:
        pass  # the step that failed first is the one to tell
    mode, free, inodes_free = 0, None, None
    try:
        mode = os.stat(place).st_mode & 0o7777
        room = os.statvfs(place)
        usable = room.f_blocks - room.f_bfree + room.f_bavail  # as df counts: root's reserve is no one else's
        free = 100.0 * room.f_bavail / usable if usable > 0 else None
        inodes_free = 100.0 * room.f_favail / room.f_files if room.f_files > 0 else None
    except OSError as error:
        if not problem:
            step, problem = "statvfs", error.strerror or str(error)
    return [step, problem, mode, took, free, inodes_free, synced]
