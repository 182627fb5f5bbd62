# SPDX-License-Identifier: Apache-2.0
"""Option files of MySQL and MariaDB (my.cnf), as their own clients read them, as far as a log-in needs it.

Sources: MySQL 8.0 manual 4.2.2.2 "Using Option Files", MariaDB "Configuring MariaDB with Option Files": groups, `name`,
`name=value`, spaces around both dropped, quotes around a value taken off, the escapes \\b \\t \\n \\r \\\\ \\s and those of
quotes (other backslashes stay), `#` outside quotes also begins a comment in mid-line, `;` only at the start of one; `-` and `_`
in names are one; !include FILE and !includedir DIRECTORY (files that end in .cnf). my_print_defaults is what the lab compares
with, where the manuals leave a thing open. PyMySQL's read_default_file is not used: it is configparser,
which knows neither the escapes nor !include nor comments behind a value, raises its own errors with the file's lines in them
(a password among them), and passes over a file that may not be read.
"""

from __future__ import annotations

import os
import re
import stat

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, files
from nephoscope.base.run import Run

DEFAULTS = ("/etc/my.cnf", "/etc/mysql/my.cnf", "~/.my.cnf")
GROUPS = ("client", "client-server", "client-mariadb")  # what the clients of both read always
FILES_MAX, DEPTH = 100, 10
CURE = "a copy of its [client] group that this user may read, mode 0600"

_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " ", '"': '"', "'": "'"}


def defaults(run: Run, group: str = "client") -> dict[str, str]:
    """Return what the standard files say to a client of this user; files that are absent or closed say nothing.

    Raises Failed: not-allowed of one that could be read and is refused for its mode (without what it says another server would
    be asked, and nobody told), absent when none has the group that was asked for, unreadable.
    """
    reader = _Reader(run, group)
    for path in DEFAULTS:
        try:
            reader.file(os.path.expanduser(path), 0)
        except Failed as failed:
            closed = failed.kind == NOT_ALLOWED and not os.access(run.path(failed.of), os.R_OK)
            if failed.kind != ABSENT and not closed:
                raise
    if group not in GROUPS and not reader.seen:
        raise Failed(ABSENT, "", f"look for the group [{group}]", f"none in {', '.join(DEFAULTS)}")
    return reader.values


def read(run: Run, path: str, group: str = "client") -> dict[str, str]:
    """Return name -> value of the clients' groups and of `group`, in the order of the file: later lines win.

    Names have `-` for `_`; an option without a value is "". Raises Failed: absent, not-allowed (also for a file with a
    password that others may read), unreadable (a line that is none, too many includes; the line is not shown), absent when a
    group other than "client" was asked for and no file has it.
    """
    reader = _Reader(run, group)
    reader.file(path, 0)
    if group not in GROUPS and not reader.seen:
        raise Failed(ABSENT, path, f"read {path}", f"it has no group [{group}]")
    return reader.values


class _Reader:
    def __init__(self, run: Run, group: str) -> None:
        self.run, self.groups, self.group = run, {*GROUPS, group}, group
        self.values: dict[str, str] = {}
        self.count, self.seen = 0, False

    def file(self, path: str, depth: int) -> None:
        self.count += 1
        if self.count > FILES_MAX or depth > DEPTH:
            raise Failed(UNREADABLE, path, f"read {path}", "too many files include each other")
        self.run.stage(f"read {path}")
        try:
            text = files.text(self.run, path)
            mode = os.stat(self.run.path(path)).st_mode
        except OSError as error:
            raise Failed.of_os_error(path, f"read {path}", error) from None
        except Failed as failed:
            if failed.kind == NOT_ALLOWED:
                raise Failed(NOT_ALLOWED, path, failed.tried, failed.error, CURE) from None
            raise
        # As the clients have it: what everybody may write is nobody's configuration.
        if mode & stat.S_IWOTH:
            raise Failed(NOT_ALLOWED, path, f"read {path}", "everybody may write to it", f"chmod o-w {path}")
        ours = False
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            if line[0] == "!":
                self._include(path, number, line, depth)
            elif line[0] == "[":
                name, bracket, _ = line[1:].partition("]")
                if not bracket:
                    raise _wrong(path, number)
                ours = name.strip() in self.groups
                self.seen = self.seen or name.strip() == self.group
            elif ours:
                name, value = split(line)
                if not name:
                    raise _wrong(path, number)
                if name == "password" and value and mode & 0o007:
                    others = f"others can read the password in it (mode {mode & 0o777:04o})"
                    raise Failed(
                        NOT_ALLOWED, path, f"read {path}", others, f"chmod 600 {path}, and change the password"
                    )
                self.values[name] = value

    def _include(self, path: str, number: int, line: str, depth: int) -> None:
        word, _, target = line.partition(" ")
        target = target.strip()
        if not target or word not in ("!include", "!includedir"):
            raise _wrong(path, number)
        target = os.path.join(os.path.dirname(path), target)
        if word == "!include":
            self.file(target, depth + 1)
            return
        try:
            found = files.names(self.run, target)
        except Failed as failed:
            if failed.kind == ABSENT:
                return
            raise
        for name in found:
            if name.endswith(".cnf"):
                self.file(f"{target.rstrip('/')}/{name}", depth + 1)


def split(line: str) -> tuple[str, str]:
    """Return name and value of a line: comment, spaces, quotes and escapes taken off; "" for a name that is none."""
    name, equals, value = _uncommented(line).partition("=")
    name = name.strip().lower().replace("_", "-")
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return name, re.sub(r"\\([btnrs\\'\"])", lambda match: _ESCAPES[match[1]], value) if equals else ""


def _uncommented(line: str) -> str:
    """Return a line up to the first `#` that stands in no quotes; inside quotes a backslash takes the next one along."""
    quote, escaped = "", False
    for at, character in enumerate(line):
        if character in "'\"" and quote in ("", character) and not escaped:
            quote = "" if quote else character
        elif character == "#" and not quote:
            return line[:at]
        escaped = bool(quote) and character == "\\" and not escaped
    return line


def _wrong(path: str, number: int) -> Failed:
    return Failed(UNREADABLE, path, f"read {path}", f"line {number} is neither a group nor an option")
