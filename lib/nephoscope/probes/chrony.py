# SPDX-License-Identifier: Apache-2.0
"""What chronyd says about this host's clock, asked through `chronyc -c` (comma separated, for programs).

Fields: man chronyc (4.3), section "tracking" and "sources"; their order in -c is that of the text form, and was compared
with it on chrony 4.3 of Debian 12. Times are in seconds, shares of time not rounded.
"""

from __future__ import annotations

from typing import NamedTuple

from nephoscope.base import UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.base.child import command

TRACKING = 14
SOURCE = 10
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
    error         seconds that it may be wrong at most, by its own account; None when not synchronised
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
        if self.alone and self.offset is None and self.error is None:
            return f"{self.daemon} follows only itself: how far the clock is off is not known"
        if not self.synchronised:
            return f"{self.daemon} is not synchronised: how far the clock is off is not known"
        if self.offset is None:
            return f"{self.daemon} says synchronised, the offset it does not tell"
        side = "behind" if self.offset > 0 else "ahead"
        return f"{self.daemon} follows {self.source or 'a source'}, the clock is {abs(self.offset):.3g} s {side}"


def clock(run: Run, address: str = "", seconds: float = 3.0) -> Clock:
    """Return chronyd's account.

    address  HOST, HOST:PORT or the path of its command socket; "" for chronyc's own default (the socket, then loopback)
    seconds  chronyc itself would try for 7 s
    Raises Failed: absent (no chronyc), unreachable (chronyd does not answer), unreadable.
    """
    argv = ["chronyc", "-n", "-c", *_where(address), "-m", "tracking", "sources"]
    answer = command(argv, run, of="chronyd", seconds=seconds)
    said = (answer.out.strip() or answer.err.strip()).splitlines()
    first = said[0] if said else "nothing"
    # 506: no answer. Over a socket that is not there chronyc only says that it could not open the connection.
    if first.startswith("506 ") or "Could not open connection" in first:
        raise Failed(UNREACHABLE, "chronyd", "run chronyc tracking", first)
    if answer.status or not said:
        raise Failed(UNREADABLE, "chronyd", "run chronyc tracking", f"status {answer.status}, {first[:80]!r}")
    return parse(answer.out)


def _where(address: str) -> list[str]:
    if not address:
        return []
    host, colon, port = address.rpartition(":")
    if address.startswith("/") or not colon or not port.isdigit():
        return ["-h", address]
    return ["-h", host.strip("[]"), "-p", port]


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
        error if synchronised else None,
        stratum if synchronised else None,
        at or None,
        reachable,
        len(sources),
    )


def _unreadable(text: str) -> Failed:
    return Failed(UNREADABLE, "chronyd", "run chronyc tracking", f"not understood: {text[:80]!r}")
