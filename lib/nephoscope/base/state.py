# SPDX-License-Identifier: Apache-2.0
"""What a check keeps from one run to the next: one JSON file for a key, locked from reading to saving, replaced atomically.

The directory and its files belong to one user and are closed to others. The lock is flock(2) on a file of its own, because
the data file is replaced. A new file is written before the answer is printed (so that a full disk can still be said) and put
in place after it (so that an event may be told twice, but never lost).
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
import zlib
from typing import Any

from nephoscope.base import files

FORMAT = 1
LIMIT = 4 << 20  # bytes of one state file
SYSTEM = "/var/lib/nephoscope"


class StateError(Exception):
    """The state can't be read or kept; the text names the thing and the cure."""


def directory(given: str | None = None) -> str:
    """Return the state directory: given, else the system's if this user owns it, else that of the XDG specification."""
    if given:
        return os.path.abspath(given)
    try:
        if os.stat(SYSTEM).st_uid == os.geteuid():
            return SYSTEM
    except OSError:
        pass
    base = os.environ.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):
        home = os.environ.get("HOME", "")
        if not home.startswith("/"):
            import pwd

            try:
                home = pwd.getpwuid(os.geteuid()).pw_dir
            except KeyError:
                home = "/nonexistent"
        base = f"{home}/.local/state"
    return f"{base}/nephoscope"


class Store:
    """The state of one key.

    directory  where the files lie; made with mode 0700 when it is missing and saving is wanted
    key        what makes this state different from others': check, target, what is looked at; plain JSON
    force      root may write in another user's directory, and leaves that user the files
    """

    def __init__(self, directory: str, name: str, key: Any, *, force: bool = False) -> None:
        self.directory, self.force = directory, force and os.geteuid() == 0
        self.key = json.loads(json.dumps([name, key]))
        text = json.dumps(self.key, sort_keys=True).encode()
        # Two checksums name the file; the whole key stands in it, so that a clash is seen and never believed.
        self.file = f"{directory}/{name}-{zlib.crc32(text):08x}{zlib.adler32(text):08x}.json"
        self.notes: list[str] = []
        self._lock = -1
        self._pending = ""

    def owned(self) -> bool:
        """Return whether this user may keep state here: the directory is its own, or can be made."""
        try:
            return self.force or os.stat(self.directory).st_uid == os.geteuid()
        except PermissionError:
            return False
        except OSError:
            return True  # not there yet, or in a way that `lock` tells better

    def lock(self, seconds: float = 2.0) -> bool:
        """Take the lock within `seconds`, making the directory if need be; False when another run holds it.

        Raises StateError when the directory can't be made, is not this user's own or is open to others.
        """
        try:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            status = os.lstat(self.directory)
        except OSError as error:
            raise StateError(
                f"no state directory: {error.filename or self.directory}: {error.strerror}; make it or give --state-dir"
            ) from None
        foreign = status.st_uid != os.geteuid() and not self.force
        if not stat.S_ISDIR(status.st_mode) or foreign or status.st_mode & 0o022:
            raise StateError(
                f"state directory {self.directory} is not a directory of this user's own that others can't write:"
                " chown and chmod 0700 it, or give --state-dir"
            )
        try:
            self._lock = os.open(self.file[:-5] + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if self.force:
                os.fchown(self._lock, status.st_uid, status.st_gid)
        except OSError as error:
            raise StateError(self._cure("lock", error)) from None
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                if time.monotonic() >= end:
                    self.release()
                    return False
                time.sleep(0.02)

    def read(self) -> dict[str, Any]:
        """Return what was kept, {} when there is nothing; a damaged or foreign file is said in `notes` and begins anew.

        Raises StateError when the file is there and may not be read.
        """
        try:
            descriptor = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                data = files.upto(descriptor, LIMIT + 1)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise StateError(
                f"may not read the state {self.file}: {error.strerror}; run as its owner or give --state-dir"
            ) from None
        try:
            content = json.loads(data)
            if content["format"] == FORMAT and content["key"] == self.key and isinstance(content["data"], dict):
                kept: dict[str, Any] = content["data"]
                return self._sound(kept)
            self.notes.append(f"state file {self.file} belongs to something else: beginning anew")
        except (ValueError, KeyError, TypeError, RecursionError):
            self.notes.append(f"state file {self.file} was damaged: beginning anew")
        return {}

    def _sound(self, kept: dict[str, Any]) -> dict[str, Any]:
        """Drop the frame's own parts where they are not of the shape that it writes, and say so."""
        hung, runs = kept.get("hung", {}), kept.get("runs", [])
        fits = {
            "hung": isinstance(hung, dict) and all(_numbers(row, 3) for row in hung.values()),
            "runs": isinstance(runs, list) and all(_numbers(row, 2) for row in runs),
        }
        for name, fit in fits.items():
            if not fit:
                del kept[name]
                self.notes.append(f"state file {self.file}: its part '{name}' was damaged: beginning anew")
        return kept

    def prepare(self, data: dict[str, Any]) -> None:
        """Write `data` whole to a file beside the state. Raises StateError (disk full, not writable, too large)."""
        content = json.dumps({"format": FORMAT, "key": self.key, "data": data}, separators=(",", ":")).encode()
        if len(content) > LIMIT:
            raise StateError(f"state of {len(content)} bytes is over the limit of {LIMIT}: look at fewer things")
        pending = self.file[:-5] + ".new"
        try:
            descriptor = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
                os.fsync(descriptor)
                if self.force:
                    owner = os.stat(self.directory)
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
            finally:
                os.close(descriptor)
        except OSError as error:
            try:
                os.unlink(pending)
            except OSError:
                pass
            raise StateError(self._cure("write", error)) from None
        self._pending = pending

    def commit(self) -> None:
        """Put what was prepared in place; a failure here leaves the old state whole."""
        if self._pending:
            try:
                os.replace(self._pending, self.file)
            except OSError:
                pass
            self._pending = ""

    def release(self) -> None:
        """Give the lock back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _cure(self, verb: str, error: OSError) -> str:
        cure = "free some space" if error.errno in (28, 122) else "mend it"  # ENOSPC, EDQUOT
        return f"can't {verb} state in {self.directory}: {error.strerror}; {cure} or give --state-dir"


def _numbers(row: Any, length: int) -> bool:
    return isinstance(row, list) and len(row) == length and all(isinstance(cell, (int, float)) for cell in row)
