# SPDX-License-Identifier: Apache-2.0
"""The INI files of --extra-opts, as the monitoring plugins read them."""

from __future__ import annotations

import os
import stat

from nephoscope.base import files
from nephoscope.plugin.options import BadOption

NAMES = ("monitoring-plugins.ini", "plugins.ini", "nagios-plugins.ini")
FILES = (
    "/usr/local/etc/monitoring-plugins/monitoring-plugins.ini",
    "/usr/local/etc/monitoring-plugins.ini",
    "/etc/monitoring-plugins/monitoring-plugins.ini",
    "/etc/monitoring-plugins.ini",
    "/etc/nagios/plugins.ini",
    "/usr/local/nagios/etc/plugins.ini",
    "/usr/local/etc/nagios/plugins.ini",
    "/etc/opt/nagios/plugins.ini",
    "/etc/nagios-plugins.ini",
    "/usr/local/etc/nagios-plugins.ini",
    "/etc/opt/nagios-plugins.ini",
)
LIMIT = 1 << 20


def read(spec: str, prog: str, secrets: frozenset[str]) -> list[tuple[str, str]]:
    """Return (flag, value) pairs of `[SECTION][@FILE]` in the order of the file.

    No section: the program's name. No file: the first that exists on the search path. A file with a secret must not be
    readable by others. Raises BadOption.
    """
    section, _, file = spec.partition("@")
    section = section.strip() or prog
    file = file.strip() or _find()
    lines, mode, owner = _lines(file)
    pairs: list[tuple[str, str]] = []
    seen = current = False
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            if not line.endswith("]"):
                raise BadOption(f"{file}, line {number}: a section is written [name]")
            current = line[1:-1].strip() == section
            seen = seen or current
        elif current:
            name, equals, value = (part.strip() for part in line.partition("="))
            if not equals or not name:
                raise BadOption(f"{file}, line {number}: write name = value")
            pairs.append(("-" + name if len(name) == 1 else "--" + name.replace("_", "-"), value))
    if not seen:
        raise BadOption(f"{file} has no section [{section}]")
    # Others may read nothing; a group may, if root gave it the file (0640 root:nagios).
    if any(flag in secrets for flag, _ in pairs) and (mode & 0o037 or (mode & 0o040 and owner != 0)):
        raise BadOption(f"{file} holds a secret and has mode {mode & 0o777:04o}: chmod 0600 {file}")
    return pairs


def _find() -> str:
    paths = [os.environ["MP_CONFIG_FILE"]] if os.environ.get("MP_CONFIG_FILE") else []
    for directory in filter(None, os.environ.get("NAGIOS_CONFIG_PATH", "").split(":")):
        paths += [f"{directory}/{name}" for name in NAMES]
    for path in (*paths, *FILES):
        if os.path.exists(path):
            return path
    raise BadOption(
        "--extra-opts: no configuration file found: write --extra-opts=[SECTION]@FILE or set MP_CONFIG_FILE"
    )


def _lines(file: str) -> tuple[list[str], int, int]:
    """Return the file's lines, its mode and its owner; standard input counts as closed to others."""
    try:
        if file == "-":
            return _text(0, file).splitlines(), 0o600, os.geteuid()
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BadOption(f"--extra-opts: {file} is not a regular file")
            return _text(descriptor, file).splitlines(), status.st_mode, status.st_uid
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadOption(f"--extra-opts: can't read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadOption(f"--extra-opts: {file} is not text in UTF-8") from None


def _text(descriptor: int, file: str) -> str:
    content = files.upto(descriptor, LIMIT + 1)
    if len(content) > LIMIT:
        raise BadOption(f"--extra-opts: {file} is larger than {LIMIT} bytes")
    return content.decode("utf-8")
