# SPDX-License-Identifier: Apache-2.0
"""A cache for tokens, one 0600 file for a key, shared by the checks of one user."""

from __future__ import annotations

import _thread
import json
import os
import zlib
from typing import Any

from nephoscope.base.run import Clock
from nephoscope.base.state import directory as state_directory

MARGIN = 60.0  # seconds before its end at which a thing is no longer handed out


class Cache:
    """Values with an end, by key.

    A key names cloud, user and project, never a secret; a value is plain JSON, and may be one (a token). A cache that can't
    be read or written is an empty one: it saves work, it never decides anything.
    """

    def __init__(self, directory: str = "", clock: Clock | None = None) -> None:
        self.directory = directory or state_directory() + "/cache"
        self.clock = clock or Clock()

    def _file(self, key: str) -> str:
        data = key.encode()
        return f"{self.directory}/{zlib.crc32(data):08x}{zlib.adler32(data):08x}.json"

    def get(self, key: str) -> Any:
        """Return the value of a key, None when there is none or it ends within a minute."""
        try:
            descriptor = os.open(self._file(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                    return None  # not ours, or open to others: what is in it can't be trusted
                content = json.loads(file.read(1 << 20))
            if content["key"] == key and content["until"] - MARGIN > self.clock.time():
                return content["value"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def put(self, key: str, value: Any, until: float) -> None:
        """Keep a value until a moment (seconds since 1970)."""
        path = self._file(key)
        pending = f"{path}.{os.getpid()}.{_thread.get_ident()}"
        try:
            os.makedirs(self.directory, 0o700, exist_ok=True)
            descriptor = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"key": key, "value": value, "until": until}, file)
            os.replace(pending, path)
        except OSError:
            try:
                os.unlink(pending)
            except OSError:
                pass

    def drop(self, key: str) -> None:
        """Forget a key: the server said that its token is no good."""
        try:
            os.unlink(self._file(key))
        except OSError:
            pass
