# SPDX-License-Identifier: Apache-2.0
"""Service files of PostgreSQL (pg_service.conf), and whether libpq will take a password file (.pgpass).

Sources: PostgreSQL 17 documentation, 34.16 "The Password File", 34.17 "The Connection Service File", 34.15 "Environment
Variables". Passwords of .pgpass, escapes and wildcards are libpq's own business: it reads that one small file as the log-in
needs it. The service file is read here: libpq would look up the host that it names without a deadline, and the libraries
inside Python wheels look for the system's file in a directory that does not exist.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, files
from nephoscope.base.run import Run

SYSTEM = "/etc/postgresql-common/pg_service.conf"  # Debian's; elsewhere PGSYSCONFDIR says


def candidates(environment: Mapping[str, str]) -> list[str]:
    """Return where service files are looked for, the first one first."""
    own = environment.get("PGSERVICEFILE") or os.path.expanduser("~/.pg_service.conf")
    directory = environment.get("PGSYSCONFDIR")
    return [own, f"{directory}/pg_service.conf" if directory else SYSTEM]


def service(run: Run, name: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings of a service, by libpq's words (host, port, user, dbname, password, sslmode …).

    Raises Failed: absent (no file has it), not-allowed (a file that can't be read, or has a password and is open to others),
    unreadable (a line that is none, or a look-up in LDAP, which is not done here).
    """
    paths = candidates(os.environ if environment is None else environment)
    tried = f"look for the service {name}"
    for path in paths:
        try:
            text = files.text(run, path, of=name)
            mode = os.stat(run.path(path)).st_mode
        except OSError as error:
            raise Failed.of_os_error(name, tried, error) from None
        except Failed as failed:
            if failed.kind == ABSENT:
                continue
            raise
        found = _section(text, name, path)
        if found is None:
            continue
        if found.get("password") and mode & 0o007:
            others = f"others can read the password in {path} (mode {mode & 0o777:04o})"
            raise Failed(NOT_ALLOWED, name, tried, others, f"chmod 600 {path}, and change the password")
        return found
    raise Failed(ABSENT, name, tried, f"no [{name}] in {' or '.join(paths)}")


def _section(text: str, name: str, path: str) -> dict[str, str] | None:
    found: dict[str, str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        if line[0] == "[":
            if found is not None:
                break
            if line == f"[{name}]":
                found = {}
        elif found is not None:
            key, equals, value = line.partition("=")
            if line.startswith("ldap"):
                raise Failed(UNREADABLE, name, f"read {path}", f"line {number} asks LDAP, which is not done here")
            if not equals:
                raise Failed(UNREADABLE, name, f"read {path}", f"line {number} is not name=value")
            found[key.strip()] = value.strip()
    return found


def passfile(run: Run, given: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Return the password file that libpq is to read, "" for its own default.

    Raises Failed for one that was given and can't be taken: absent, or not-allowed (open to group or others: libpq passes
    over such a file with a warning that nobody sees).
    """
    if given:
        try:
            status = os.stat(run.path(given))
            if not stat.S_ISREG(status.st_mode):
                raise Failed(UNREADABLE, given, f"read {given}", "it is no regular file")
            with open(run.path(given), "rb"):
                pass
        except OSError as error:
            raise Failed.of_os_error(given, f"read {given}", error) from None
        said = too_open(status.st_mode)
        if said:
            raise Failed(NOT_ALLOWED, given, f"read {given}", said, f"chmod 600 {given}")
        return run.path(given)
    return ""


def ignored(environment: Mapping[str, str] | None = None) -> str:
    """Return why libpq passes over this user's own password file, "" when it does not, or there is none."""
    environment = os.environ if environment is None else environment
    path = environment.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
    try:
        said = too_open(os.stat(path).st_mode)
    except OSError:
        return ""
    return f"{path}: {said}" if said else ""


def too_open(mode: int) -> str:
    """Return libpq's complaint about the mode of a password file, or ""."""
    return f"libpq takes it only with mode 0600, not {mode & 0o777:04o}" if mode & 0o077 else ""
