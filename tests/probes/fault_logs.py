# SPDX-License-Identifier: Apache-2.0
"""Fault logs as Eucalyptus writes them, made by hand after its source.

C: format_eucafault in util/fault.c. Java: Fault.toString in com/eucalyptus/component/fault/Fault.java, by log4j's "%m%n". Both of
4.4.2. The texts are those of util/faults/en_US, the labels of util/faults/ru_RU/common.xml.
"""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

from nephoscope.base import Clock

STARS = "*" * 72
LABELS = ("Condition", "Cause", "Initiator", "Location", "Resolution")
RUSSIAN = ("Условия", "Причина", "Инициатор", "Место", "Решение")
EUCANETD = (
    "eucanetd is not running",
    ("Can't find running eucanetd process", "unknown", "eucalyptus", "eucanetd daemon on localhost"),
    "\n        1) Install eucanetd\n        2) Run eucanetd\n      ",
)
DISK = (
    "Running very low on disk space.",
    (
        "Running very low on disk space.",
        "Not enough disk space.",
        "cloud",
        "Disk partition that hosts /var/lib/eucalyptus",
    ),
    "\n        1) Delete unnecessary files on partition that hosts /var/lib/eucalyptus\n      ",
)
LOGIN = (
    "Unable to login to storage target",
    (
        "Volume operation (attach/detach/snapshot) failed to complete",
        "\n        Failed to login to storage target as the following command returned an error:\n"
        "        Command: iscsiadm --password hunter2\n        Error: code 24\n      ",
        "sc",
        "open iSCSI on sc",
    ),
    "\n        1) Look\n\n        2) Think: then act\n      ",
)
NOW = int(time.time())


class Fixed(Clock):
    """A clock that stands still, so that ages are exact."""

    def time(self) -> float:
        return NOW + self.shift


def stamp(at: float) -> str:
    """Local time, as both writers print it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def in_c(number: str, at: float, text=EUCANETD, labels=LABELS) -> str:
    message, fields, remedy = text
    most = max(map(len, labels))
    lines = [STARS, f"  ERR-{number} {stamp(at)}Z {message}", ""]
    lines += [f"{'':{most - len(label) + 1}} {label}: {value}" for label, value in zip(labels, (*fields, remedy))]
    return "\n".join([*lines, STARS, "", ""])


def in_java(number: int, at: float, text=DISK, labels=LABELS) -> str:
    message, fields, remedy = text
    most = max(map(len, labels))
    lines = [STARS, f"  ERR-{number:04} {stamp(at)} {message}", ""]
    lines += [f"  {label:>{most}}: {value}" for label, value in zip(labels, (*fields, remedy))]
    return "\n".join([*lines, STARS, "", ""])


class Host:
    """A tree with the logs of one host."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "var/log/eucalyptus"
        self.logs.mkdir(parents=True)
        (root / "etc/eucalyptus").mkdir(parents=True)
        (root / "etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\n')

    def log(self, component: str, *texts: str) -> Path:
        path = self.logs / f"{component}-fault.log"
        with path.open("a") as file:
            file.write("".join(texts))
        return path

    def silence(self, number: int, locale: str = "en_US", text: str = "", where: str = "etc/eucalyptus/faults") -> None:
        folder = self.root / where / locale
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.xml").write_text(text)


def packed(path: Path) -> None:
    """Compress a file as logrotate does, its time kept."""
    status = path.stat()
    other = path.with_name(path.name + ".gz")
    other.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(other, (status.st_atime, status.st_mtime))
    path.unlink()
