# SPDX-License-Identifier: Apache-2.0
"""The clock of this host as ntpd and the kernel see it, and the clocks of other hosts, asked by SNTP.

ntpd is asked by ntpq (man ntpq; the output was compared with ntpsec 1.2.2 of Debian 12), the kernel by adjtimex (man adjtimex,
linux/timex.h), other hosts by one packet of RFC 4330 (SNTP) that every NTP server answers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.base.child import command, each
from nephoscope.probes.chrony import Clock

EPOCH = 2208988800  # seconds from 1900, where NTP counts from, to 1970
VARIABLES = "rv 0 leap,stratum,refid,offset,rootdisp,rootdelay,reftime"
TALLIES = " x.-+#*o"  # what ntpq -c peers begins a line with; * and o (by a pulse) are the one that is followed
LOCAL = ("LOCAL", "LOCL", ".LOCL.", ".LOCAL.", "127.127.1.0", "127.127.1.1")  # the undisciplined clock of this host

# linux/timex.h
STA_UNSYNC = 0x0040
TIME_ERROR = 5


def ntpd(run: Run, address: str = "", seconds: float = 3.0) -> Clock:
    """Return ntpd's account of this host's clock.

    address  the host that ntpq asks, "" for this one
    Raises Failed: absent (no ntpq), unreachable (ntpd does not answer), unreadable.
    """
    argv = ["ntpq", "-n", "-c", VARIABLES, "-c", "peers", address or "127.0.0.1"]
    answer = command(argv, run, of="ntpd", seconds=seconds)
    # ntpq ends with 0 whatever happened (ntpsec 1.2.2, ntp 4.2.8), and says it on stderr.
    said = " ".join(f"{answer.out} {answer.err}".split())
    if "***" in answer.err or "Connection refused" in said or "timed out" in said:
        raise Failed(UNREACHABLE, "ntpd", "run ntpq -c rv", answer.err.strip()[:80] or said[:80])
    return parse_ntpq(answer.out)


def parse_ntpq(text: str) -> Clock:
    """Return the account in what `ntpq -n -c "rv 0 …" -c peers` prints. Raises Failed (unreadable)."""
    import re

    head, rule, table = text.partition("\n====")
    values = dict(re.findall(r"([a-z_]+)=([^,\s]*)", head))
    try:
        leap, stratum = values["leap"], int(values["stratum"])
        offset = float(values["offset"]) / 1000  # ntpq prints milliseconds
        error = (float(values["rootdelay"]) / 2 + float(values["rootdisp"])) / 1000
        at = _ntp_time(values["reftime"])
    except (KeyError, ValueError):
        raise _unreadable(text) from None
    if leap not in ("00", "01", "10", "11"):
        raise _unreadable(text)
    rows = [line for line in table.splitlines()[1:] if line.strip()]
    reachable, followed = 0, ""
    for row in rows:
        fields = row[1:].split()
        # remote refid st t when poll reach delay offset jitter
        if row[0] not in TALLIES or len(fields) < 10:
            raise _unreadable(row)
        try:
            reachable += int(fields[6], 8) != 0
        except ValueError:
            raise _unreadable(row) from None
        if row[0] in "*o":
            followed = fields[0]
    alone = bool(followed) and any(followed.startswith(name) for name in LOCAL)
    synchronised = leap != "11" and stratum < 16 and bool(followed)
    # Not synchronised, ntpd says offset=0.0: that is no measurement. ntpd's offset is server minus clock, as chronyd's.
    return Clock(
        "ntpd",
        synchronised,
        alone,
        followed,
        offset if synchronised and not alone else None,
        error if synchronised and not alone else None,
        stratum if synchronised else None,
        at,
        reachable if rule else None,
        len(rows) if rule else None,
    )


def _ntp_time(text: str) -> float | None:
    """Return seconds since 1970 of a time stamp as ntpq prints it ("eeac07bc.76af0e12"), None for none."""
    whole, _, part = text.partition(".")
    stamp = int(whole, 16) + int(part or "0", 16) / 2**32
    if not stamp:
        return None
    if stamp < 2**31:  # the second era, from 2036 on (RFC 4330, section 3)
        stamp += 2**32
    return stamp - EPOCH


def _unreadable(text: str) -> Failed:
    return Failed(UNREADABLE, "ntpd", "run ntpq -c rv", f"not understood: {text[:80]!r}")


def kernel(run: Run) -> Clock:
    """Return the kernel's own account of its clock: what is left when no time daemon can be asked. Raises Failed."""
    run.stage("adjtimex: ask the kernel about its clock")
    return of_timex(*adjtimex())


def adjtimex() -> tuple[int, int, int]:
    """Return status word, maxerror (microseconds) and state that adjtimex gives without changing anything.

    Raises Failed: not-allowed where a sandbox forbids the call, unreadable.
    """
    import ctypes
    import os

    class Timex(ctypes.Structure):
        """Have struct timex as man adjtimex and linux/timex.h give it, with a reserve at the end."""

        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("reserve", ctypes.c_long * 40),
        )

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        timex = Timex()  # modes 0: read only
        state = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError) as error:
        raise Failed(UNREADABLE, "kernel", "adjtimex", f"no such call here: {error}") from None
    if state < 0:
        number = ctypes.get_errno()
        raise Failed.of_os_error("kernel", "adjtimex", OSError(number, os.strerror(number)))
    return timex.status, timex.maxerror, state


def of_timex(status: int, maxerror: int, state: int) -> Clock:
    """Return the account in the words of adjtimex: status bits, maxerror (µs), state.

    Its `offset` is no measurement: it is what is left of the correction being applied, 0.5 s at most (MAXPHASE of
    linux/timex.h; 0 for a daemon that steers by frequency or steps the clock). maxerror is what a daemon set at its last update
    (systemd-timesyncd: 0) and grows by 500 ppm, 1.8 s an hour; at 16 s the kernel itself sets STA_UNSYNC (kernel/time/ntp.c,
    second_overflow).
    """
    synchronised = not status & STA_UNSYNC and state != TIME_ERROR
    return Clock(
        "kernel",
        synchronised,
        False,
        "",
        None,
        maxerror / 1e6 if synchronised else None,
        None,
        None,
        None,
        None,
    )


class Peer(NamedTuple):
    """What another host's NTP server says.

    host          as it was asked for
    offset        seconds that its clock is ahead of ours
    delay         seconds of the round trip: the offset is right to half of it
    stratum       0: it is not synchronised
    synchronised  by its own account
    """

    host: str
    offset: float
    delay: float
    stratum: int
    synchronised: bool


def peers(run: Run, hosts: tuple[str, ...], seconds: float = 3.0) -> list[Peer | Failed]:
    """Return what each of `hosts` (HOST or HOST:PORT) says, a Failed where it says nothing; asked side by side.

    Each in a child of its own: looking up a name has no deadline that could be set.
    """
    share = max(0.1, min(seconds, run.left() - 0.3))
    jobs = {host: _asker(host, share) for host in hosts if run.wants(host)}
    answers = each(run, jobs, tried="ask its NTP server", seconds=share + 0.2)
    return [answer if isinstance(answer, Failed) else Peer(*answer) for answer in answers.values()]


def _asker(host: str, seconds: float) -> Any:
    return lambda: list(ask(host, seconds))


def ask(host: str, seconds: float) -> Peer:
    """Ask one NTP server, three times where there is time, and return the answer with the shortest way.

    Raises Failed: unreachable, not-allowed (it refuses us), unreadable.
    """
    import socket

    from nephoscope.base.dial import host_port

    name, port = host_port(host, 123)
    tried = "ask its NTP server"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as link:
            link.connect(address)  # answers of others are not taken, a closed port is told
            return _best(link, host, seconds)
    except OSError as error:
        if isinstance(error, TimeoutError) or type(error).__name__ == "timeout":
            raise Failed(UNREACHABLE, host, tried, f"no answer in {seconds:.3g} s") from None
        raise Failed.of_os_error(host, tried, error) from None


def _best(link: Any, host: str, seconds: float) -> Peer:
    import os
    import time

    end = time.monotonic() + seconds
    best: Peer | None = None
    for _ in range(3):
        # A nonce for a transmit time: it comes back as the origin, so a late or forged answer is told from ours,
        # and our clock is nobody's business.
        nonce = os.urandom(8)
        sent, began = time.time(), time.monotonic()
        try:
            link.send(b"\x23" + bytes(39) + nonce)  # version 4, mode 3 (client)
            while True:
                link.settimeout(max(0.01, end - time.monotonic()))
                data = link.recv(512)
                got = sent + (time.monotonic() - began)
                if len(data) >= 48 and data[24:32] != nonce and time.monotonic() < end:
                    continue
                break
        except OSError:
            if best is not None:
                break
            raise
        peer = read(data, nonce, host, sent, got)
        if best is None or peer.delay < best.delay:
            best = peer
    assert best is not None  # noqa: S101 - the loop returns or raises
    return best


def read(data: bytes, nonce: bytes, host: str, sent: float, got: float) -> Peer:
    """Return what an answer of 48 bytes or more says (RFC 4330, sections 4 and 5).

    nonce      what stood in our transmit time
    sent, got  seconds since 1970 by our clock
    Raises Failed: unreadable, not-allowed (a kiss of death).
    """
    import struct

    tried = "ask its NTP server"
    if len(data) < 48 or data[0] & 7 != 4 or data[24:32] != nonce:
        raise Failed(UNREADABLE, host, tried, f"not an answer of NTP: {data[:16].hex() or 'empty'}")
    leap, stratum = data[0] >> 6, data[1]
    if stratum == 0 and data[12:16] in (b"DENY", b"RSTR", b"RATE"):
        raise Failed(
            NOT_ALLOWED,
            host,
            tried,
            f"it refuses: {data[12:16].decode()}",
            "an `allow` or `restrict` line on that server",
        )
    words = struct.unpack(">IIII", data[32:48])
    received, transmitted = _stamp(words[0], words[1], sent), _stamp(words[2], words[3], sent)
    if received is None or transmitted is None:
        raise Failed(UNREADABLE, host, tried, "an answer without times")
    offset = ((received - sent) + (transmitted - got)) / 2
    delay = max(0.0, (got - sent) - (transmitted - received))
    return Peer(host, offset, delay, stratum, leap != 3 and 0 < stratum < 16)


def _stamp(whole: int, part: int, near: float) -> float | None:
    """Return seconds since 1970 of an NTP time stamp, in the era that is nearest to `near`; None for a zero one."""
    if not whole and not part:
        return None
    reference = int(near) + EPOCH
    difference = (whole - reference + 2**31) % 2**32 - 2**31
    return reference + difference - EPOCH + part / 2**32


def account(run: Run, daemon: str = "auto", address: str = "") -> Clock:
    """Return the account of the time daemon that is here, asked in the order chronyd, ntpd, kernel.

    daemon   auto, chronyd, ntpd or kernel
    address  where chronyc or ntpq asks, see `chrony.clock` and `ntpd`
    Raises Failed. A daemon that is installed and does not answer is never passed over for the kernel.
    """
    from nephoscope.probes import chrony

    if daemon == "kernel":
        return kernel(run)
    silent: Failed | None = None
    for name, asked in (("chronyd", chrony.clock), ("ntpd", ntpd)):
        if daemon not in ("auto", name):
            continue
        try:
            return asked(run, address)
        except Failed as failed:
            if daemon == name or failed.kind not in (ABSENT, UNREACHABLE):
                raise
            if failed.kind == UNREACHABLE and silent is None:
                silent = failed
    if silent is not None:
        raise silent
    return kernel(run)


class Clocks(NamedTuple):
    """All that is known about this host's clock and others.

    peers           what each other host says, or a Failed
    clock           this host's, or a Failed; None: not asked
    at              seconds since 1970, this host's clock, when it was asked
    unsynchronised  seconds since it was first seen to follow nobody, None when it follows a source; without one, a clock's
                    own word about offset, error and stratum is worth nothing, and is taken out of `clock`
    kept            plain JSON from which the next run knows since when
    """

    peers: list[Peer | Failed]
    clock: Clock | Failed | None = None
    at: float = 0.0
    unsynchronised: float | None = None
    kept: dict[str, float] | None = None


def since(run: Run, peers: list[Peer | Failed], daemon: str, address: str, alone: bool) -> Clocks:
    """Return this host's clock, with how long it has followed nobody.

    alone  a clock that follows only itself is taken for synchronised
    The other arguments are those of `account`. A first run believes the daemon's last update: it may come in the middle.
    """
    from nephoscope.base import samples

    try:
        clock = account(run, daemon, address)
    except Failed as failed:
        return Clocks(peers, failed, kept=run.before if isinstance(run.before, dict) else None)
    now = run.clock.time()
    if clock.synchronised and (alone or not clock.alone):
        return Clocks(peers, clock, now, None, {})
    first = run.before is None and clock.synced_at is not None and not clock.alone
    before = {"unsynchronised": clock.synced_at} if first else run.before
    kept = samples.since(before, ("unsynchronised",), now)
    clock = clock._replace(offset=None, error=None, stratum=None)
    return Clocks(peers, clock, now, now - kept["unsynchronised"], kept)
