# SPDX-License-Identifier: Apache-2.0
"""A daemon of Eucalyptus on this host: its settings, its processes, its port. Each is a fact, or a Failed in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nephoscope.base import Failed, Run


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


def uptime(run: Run) -> float:
    """Return the seconds since this host started. Raises Failed."""
    from nephoscope.base import UNREADABLE, files

    text = files.text(run, "/proc/uptime", limit=4096)
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        raise Failed(UNREADABLE, "/proc/uptime", "read /proc/uptime", f"not understood: {text[:40]!r}") from None


def several(run: Run, names: Sequence[str], cmdline: str = "") -> tuple[Running | Failed, ...]:
    """Return the processes of daemons of `daemons.KNOWN`, or of programs, by one look, without those that filters leave out.

    cmdline  regular expression that must be found in their command lines
    """
    from nephoscope.probes import process

    if not names:
        return ()
    try:
        groups = process.scan(run, [(name, 1) for name in names], process.Narrow(cmdline=cmdline)).groups
    except Failed as failed:
        return (failed,)
    return tuple(one if isinstance(one, Failed) else Running(one.name, len(one.alive), one.idle) for one in groups)


def processes(run: Run, name: str) -> Running | Failed | None:
    """Return the processes of one daemon, as `several` does; None where filters leave it out."""
    return next(iter(several(run, [name])), None)


def listens(run: Run, port: int) -> bool:
    """Return whether something on this host listens on a TCP port, at whatever address. Raises Failed."""
    from nephoscope.probes import listening

    return port in listening.ports(listening.tcp(run))
