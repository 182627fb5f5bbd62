# SPDX-License-Identifier: Apache-2.0
"""What chronyd says about this host's clock, asked through `chronyc -c` (comma separated, for programs).

Fields: man chronyc (4.3), section "tracking" and "sources"; their order in -c is that of the text form, and was compared
with it on chrony 4.3 of Debian 12. Times are in seconds, shares of time not rounded.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, files
from nephoscope.base.child import command

TRACKING = 14
SOURCE = 10
SOCKET = "/run/chrony/chronyd.sock"  # chronyc's default (strings chronyc; man chronyc, "-h")
LEAPS = ("Normal", "Insert second", "Delete second", "Not synchronised")
ITSELF = "7F7F0101"  # the reference id of `local stratum N`: chronyd follows nothing but this host's own clock


class Clock(NamedTuple):
    """The account that a time daemon, or the kernel, gives of this host's clock.

    daemon        chronyd, ntpd, or kernel
    synchronised  whether it follows a source of time just now
    alone         whether it follows nothing but this host's own clock (chrony's `local`, ntpd's LOCAL)
    source        what it follows, "" for none
    offset        seconds between clock and true time as it reckons them, positive: the clock is behind;
                  None when it cannot know (not synchronised, or it does not tell)
    error         seconds that it may be wrong at most, by its own account; None when not synchronised, or with itself alone
    stratum       steps from a reference clock; None when not synchronised or not told
    synced_at     seconds since 1970 of the last update from a source, None for never or not told
    reachable     sources that answered one of the last eight times, None when not told
    sources       sources configured, None when not told
    """

    daemon: str
    synchronised: bool
    alone: bool
    source: str
    offset: float | None
    error: float | None
    stratum: int | None
    synced_at: float | None
    reachable: int | None
    sources: int | None

    @property
    def said(self) -> str:
        """Who follows whom, and how far the clock is off, in words."""
        if self.alone:
            return f"{self.daemon} follows only itself: how far the clock is off is not known"
        if not self.synchronised:
            return f"{self.daemon} is not synchronised: how far the clock is off is not known"
        if self.offset is None:
            return f"{self.daemon} says synchronised, off by at most {self.error or 0:.3g} s"
        side = "behind" if self.offset > 0 else "ahead" if self.offset < 0 else "off"
        return f"{self.daemon} follows {self.source or 'a source'}, the clock is {abs(self.offset):.3g} s {side}"


def clock(run: Run, address: str = "", seconds: float = 3.0) -> Clock:
    """Return chronyd's account.

    address  HOST, HOST:PORT or the path of its command socket; "" for chronyc's own default (the socket, then loopback)
    seconds  chronyc itself would try for 7 s
    Raises Failed: absent (no chronyc), unreachable (chronyd does not answer), not-allowed (chronyd runs, its socket is closed
    to us and its command port to everybody), unreadable.
    """
    argv = ["chronyc", "-n", "-c", *_where(address), "-m", "tracking", "sources"]
    answer = command(argv, run, of="chronyd", seconds=seconds)
    said = (answer.out.strip() or answer.err.strip()).splitlines()
    first = said[0] if said else "nothing"
    # 506: no answer. Over a socket that is not there chronyc only says that it could not open the connection.
    if first.startswith("506 ") or "Could not open connection" in first:
        if _closed(run, address) and _lives(run):
            # No group helps: chronyd makes its socket for its own user (0755), chronyc needs to write beside it.
            cure = "chronyd's command port on loopback (no `cmdport 0`): its socket is for root and its own user"
            raise Failed(NOT_ALLOWED, "chronyd", "run chronyc tracking", f"{first}, but chronyd runs", cure)
        raise Failed(UNREACHABLE, "chronyd", "run chronyc tracking", first)
    if answer.status or not said:
        raise Failed(UNREADABLE, "chronyd", "run chronyc tracking", f"status {answer.status}, {first[:80]!r}")
    return parse(answer.out)


def _closed(run: Run, address: str) -> bool:
    """Return whether the socket that chronyc tries is not ours to use: chronyc writes to it, and makes its own beside it."""
    if address and not address.startswith("/"):
        return False
    path = run.path(address or SOCKET)
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return not (os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK | os.X_OK))


def _lives(run: Run) -> bool:
    """Return whether a process chronyd runs, or may run where /proc hides the processes of others (hidepid)."""
    seen = False
    for entry in files.names(run, "/proc"):
        if entry.isdigit():
            try:
                with open(run.path(f"/proc/{entry}/comm"), "rb") as file:
                    if file.read(32).strip() == b"chronyd":
                        return True
            except OSError:
                continue
            seen = seen or entry == "1"
    return not seen


def _where(address: str) -> list[str]:
    if not address or address.startswith("/"):
        return ["-h", address] if address else []
    from nephoscope.base.dial import host_port

    host, port = host_port(address, 0)
    return ["-h", host, *(["-p", str(port)] if port else [])]


def parse(text: str) -> Clock:
    """Return the account that lines of `tracking` and `sources` give. Raises Failed (unreadable)."""
    rows = [line.split(",") for line in text.splitlines() if line.strip()]
    tracking = rows[0] if rows else []
    sources = rows[1:]
    # Later versions may append fields; in the middle they never did.
    if len(tracking) < TRACKING or any(len(row) < SOURCE for row in sources) or tracking[13] not in LEAPS:
        raise _unreadable(text)
    try:
        stratum, at, offset = int(tracking[2]), float(tracking[3]), float(tracking[4])
        error = float(tracking[10]) / 2 + float(tracking[11])
        # The register of the last eight polls is printed in octal; a reference clock has one as well.
        reachable = sum(int(row[5], 8) != 0 for row in sources)
    except ValueError:
        raise _unreadable(text) from None
    alone = tracking[0] == ITSELF
    # A source that fell silent keeps tracking at "Normal" while the clock drifts: the chosen source must still be there.
    chosen = [row[2] for row in sources if row[1] == "*"]
    synchronised = tracking[13] != "Not synchronised" and (bool(chosen) or alone)
    # Not synchronised, chronyd prints an offset of 0.000000000: that is no measurement.
    return Clock(
        "chronyd",
        synchronised,
        alone,
        chosen[0] if chosen else "",
        offset if synchronised and not alone else None,
        error if synchronised and not alone else None,
        stratum if synchronised else None,
        at or None,
        reachable,
        len(sources),
    )


def _unreadable(text: str) -> Failed:
    return Failed(UNREADABLE, "chronyd", "run chronyc tracking", f"not understood: {text[:80]!r}")
