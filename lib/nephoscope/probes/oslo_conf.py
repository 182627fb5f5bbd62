# SPDX-License-Identifier: Apache-2.0
"""Configuration files of OpenStack services, as oslo.config reads them, as far as database connections need it.

Sources: oslo.config, "Configuration Files" and "Configuration Directories" of its documentation (sections, `name = value` or
`name : value`, indented lines go on, a blank line ends a value, a pair of quotes is taken off, `$name` and `${group.name}` are
replaced and `$$` is one dollar; NAME.conf.d/*.conf beside NAME.conf is read after it, in the order of names); of several lines
of one name the last counts. oslo.db: `connection`, `slave_connection`, `connection_parameters`, and the older `sql_connection`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, files
from nephoscope.base.run import Run

NAMES = ("connection", "slave_connection", "sql_connection", "persistence_connection")
# Where the services that have a database keep their configuration, as every distribution lays it.
SERVICES = tuple(
    f"/etc/{name}/{file or name}.conf"
    for name, file in (
        ("keystone", ""), ("glance", "glance-api"), ("placement", ""), ("nova", ""), ("neutron", ""), ("cinder", ""),
        ("heat", ""),
        ("octavia", ""), ("barbican", ""), ("designate", ""), ("manila", ""), ("magnum", ""), ("ironic", ""), ("aodh", ""),
        ("masakari", ""), ("mistral", ""), ("trove", ""), ("watcher", ""), ("zun", ""),
    )
)  # fmt: skip
FILES_MAX = 100  # files of one directory
LIMIT = 4 << 20  # bytes of one file: a nova.conf with all its comments has 0.5 MiB

_DOLLAR = re.compile(r"\$(?:(\$)|\{([A-Za-z_][\w.]*)\}|([A-Za-z_][\w.]*))")


class Connection(NamedTuple):
    """A connection option: its section and name, its value with references replaced, how many lines set it. Shows no value."""

    section: str
    name: str
    value: str
    lines: int
    parameters: str = ""

    def __repr__(self) -> str:
        return f"Connection({self.section!r}, {self.name!r}, ***, {self.lines})"


class Conf:
    """What the files of a service set: (section, name) -> values in the order of their lines; the last one counts."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[str]] = {}

    def add(self, text: str, path: str) -> None:
        """Take a file's text. Raises Failed unreadable, with the number of the line and never its content."""
        section, key = "", None
        for number, line in enumerate(text.splitlines(), 1):
            line = line.rstrip()
            if not line:
                key = None
            elif line[0] in " \t":
                if key is None:
                    raise _wrong(path, number, "goes on with a value that nothing began")
                self.values[key][-1] += "\n" + line.lstrip()
            elif line[0] in "#;":
                key = None
            elif line[0] == "[":
                key = None
                if line[-1] != "]" or len(line) < 3:
                    raise _wrong(path, number, "is no section")
                # Groups are lower-case, whatever the file has; only DEFAULT is not.
                section = line[1:-1] if line[1:-1] == "DEFAULT" else line[1:-1].lower()
            else:
                split = re.match(r"([^=:]*)[=:](.*)", line)
                if split is None or not split[1].strip():
                    raise _wrong(path, number, "is neither a section nor name = value")
                if not section:
                    raise _wrong(path, number, "stands before any section")
                value = split[2].strip()
                if value and value[0] == value[-1] and value[0] in "\"'":
                    value = value[1:-1]
                key = (section, split[1].strip())
                self.values.setdefault(key, []).append(value)

    def get(self, section: str, name: str) -> str:
        """Return the value that counts, references replaced, or "". Raises KeyError of a reference that nothing sets."""
        return self._value(section, name, 0)

    def _value(self, section: str, name: str, depth: int) -> str:
        values = self.values.get((section, name))
        if not values:
            return ""

        def replaced(match: re.Match[str]) -> str:
            if match[1]:
                return "$"
            group, _, plain = (match[2] or match[3]).rpartition(".")
            for where in (group,) if group else (section, "DEFAULT"):
                if (where, plain) in self.values and depth < 10:
                    return self._value(where, plain, depth + 1)
            raise KeyError(match[2] or match[3])

        return _DOLLAR.sub(replaced, values[-1].replace(r"\$", "$$"))

    def connections(self, of: str) -> list[Connection | Failed]:
        """Return every connection option that has a value, in file order; a Failed for one that refers to nothing."""
        found: list[Connection | Failed] = []
        for (section, name), values in self.values.items():
            if name not in NAMES or not values[-1].strip():
                continue
            try:
                value, more = self.get(section, name), self.get(section, "connection_parameters")
            except KeyError as error:
                refers = f"it refers to ${error.args[0]}, which these files do not set"
                found.append(Failed(UNREADABLE, label(of, section, name), "read its connection URL", refers))
                continue
            found.append(Connection(section, name, value, len(values), more))
        return found


def label(of: str, section: str, name: str) -> str:
    """Return an object's name: "nova [api_database]", and the option where it is not `connection`."""
    return f"{of} [{section}]" + ("" if name == "connection" else f" {name}")


def _wrong(path: str, number: int, what: str) -> Failed:
    return Failed(UNREADABLE, path, f"read {path}", f"line {number} {what}: the service would not start with it")


def present(run: Run, paths: Sequence[str]) -> tuple[str, ...]:
    """Return the files that are there; one in a directory that may not be looked into counts as there, and says so when read.

    Raises Failed absent when there is none.
    """
    found = []
    for path in paths:
        try:
            os.stat(run.path(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass
        found.append(path)
    if not found:
        raise Failed(ABSENT, "", f"look for {paths[0]} and its like", "no service's configuration is here")
    return tuple(found)


def names(run: Run, path: str) -> list[str]:
    """Return the files that a service given this file (or directory) reads, in order.

    Raises Failed: absent, not-allowed, unreadable (more than FILES_MAX files).
    """
    if os.path.isdir(run.path(path)):
        return _directory(run, path)
    beside = f"{path}.d"
    return [path, *(_directory(run, beside) if os.path.isdir(run.path(beside)) else [])]


def _directory(run: Run, path: str) -> list[str]:
    try:
        found = [f"{path.rstrip('/')}/{name}" for name in files.names(run, path) if name.endswith(".conf")]
    except Failed as failed:
        raise _closed(run, path, failed) from None
    if len(found) > FILES_MAX:
        raise Failed(UNREADABLE, path, f"list {path}", f"more than {FILES_MAX} files")
    return found


def read(run: Run, path: str) -> Conf:
    """Return what a service's file and the directory beside it set.

    Raises Failed: absent, not-allowed (with the group as cure), unreadable.
    """
    conf = Conf()
    for name in names(run, path):
        run.stage(f"read {name}")
        try:
            text = files.text(run, name, limit=LIMIT)
        except Failed as failed:
            raise _closed(run, name, failed) from None
        conf.add(text, name)
    return conf


def _closed(run: Run, path: str, failed: Failed) -> Failed:
    """Return a Failed of a file or directory with what lets us read it: the group of the first closed one on the way to it."""
    if failed.kind != NOT_ALLOWED:
        return Failed(failed.kind, path, failed.tried, failed.error, failed.cure)
    parts = path.rstrip("/").split("/")
    for end in range(2, len(parts) + 1):
        name = "/".join(parts[:end])
        status = os.stat(run.path(name))  # what leads to it was found open
        into = stat.S_ISDIR(status.st_mode)
        if os.access(run.path(name), (os.X_OK | os.R_OK if name == path.rstrip("/") else os.X_OK) if into else os.R_OK):
            continue
        if not status.st_mode & (stat.S_IXGRP if into else stat.S_IRGRP):
            break
        return Failed(NOT_ALLOWED, path, failed.tried, failed.error, f"the group {_group(status.st_gid)} for {_user()}")
    return Failed(NOT_ALLOWED, path, failed.tried, failed.error, f"a mode of {name} by which {_user()} may read it")


def _group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _user() -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return "the user who runs the check"


def connections(run: Run, path: str, of: str) -> list[Connection | Failed]:
    """Return the connection options of a service's file. Raises Failed as `read` does, absent when there is none."""
    found = read(run, path).connections(of)
    if not found:
        raise Failed(ABSENT, of, f"read {path}", "no line of it sets `connection`")
    return found
