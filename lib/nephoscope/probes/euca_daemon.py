# SPDX-License-Identifier: Apache-2.0
"""A daemon of Eucalyptus on this host: its settings, its processes, its port. Each is a fact, or a Failed in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from nephoscope.base import Failed, Run

T = TypeVar("T")


class Running(NamedTuple):
    """The processes of one daemon.

    alive  how many can work
    idle   those that were found and can't, in words that follow others; "" for none
    """

    name: str
    alive: int
    idle: str = ""

    @property
    def words(self) -> str:
        """What to say of it."""
        return "runs" if self.alive else f"does not run{self.idle}"


def attempt(ask: Callable[[], T]) -> T | Failed:
    """Return what a probe gives, or the Failed that it raises."""
    try:
        return ask()
    except Failed as failed:
        return failed


def settings(run: Run) -> dict[str, str]:
    """Return eucalyptus.conf of this host, nothing where it may not be read. Raises Failed, absent: no Eucalyptus here."""
    from nephoscope.base import ABSENT
    from nephoscope.probes import euca_conf

    try:
        return euca_conf.read(run)
    except Failed as failed:
        if failed.kind == ABSENT:
            raise
        return {}


def processes(run: Run, name: str) -> Running | None:
    """Return the processes of a daemon of `daemons.KNOWN`, or of a program; None where filters leave it out. Raises Failed."""
    from nephoscope.probes import process

    for group in process.scan(run, [(name, 1)]).groups:
        if isinstance(group, Failed):
            raise group
        return Running(name, len(group.alive), group.idle)
    return None


def listens(run: Run, port: int) -> bool:
    """Return whether something on this host listens on a TCP port, at whatever address. Raises Failed."""
    from nephoscope.probes import listening

    return port in listening.ports(listening.tcp(run))
