# SPDX-License-Identifier: Apache-2.0
"""What the lines of a log look like: where time, level and request id stand, and which bytes give a level away.

A format's `marks` are byte strings of which one stands in every line of that level; a reader counts them quickly and
looks properly, with `header`, only at the lines that have one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

# The suite's words for levels. A line counts once, under the level that its level field names.
CRITICAL, ERROR, WARNING, INFO, DEBUG = "critical", "error", "warning", "info", "debug"

LEVELS: Mapping[bytes, str] = {
    b"EMERG": CRITICAL, b"EMERGENCY": CRITICAL, b"ALERT": CRITICAL, b"CRIT": CRITICAL, b"CRITICAL": CRITICAL,
    b"FATAL": CRITICAL, b"ERR": ERROR, b"ERROR": ERROR, b"WARN": WARNING, b"WARNING": WARNING, b"NOTE": INFO,
    b"NOTICE": INFO, b"AUDIT": INFO, b"INFO": INFO, b"DEBUG": DEBUG, b"TRACE": DEBUG, b"EXTREME": DEBUG,
}  # fmt: skip

# A daemon that logs through syslog puts this before its own header (RFC 3164 or rsyslog's ISO form). NULs lead a line
# that a writer without O_APPEND wrote after a truncation.
PREFIX = (
    rb"\0*(?:<\d+>)?(?:(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))"
    rb" \S+ [^\s:\[]+(?:\[\d+\])?: )?"
)
_ZONE = rb"(?:Z|[+-]\d\d:?\d\d)"
_ISO = rb"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?" + _ZONE + rb"?)"
_CTIME = rb"(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4})"


class Format(NamedTuple):
    """One kind of line.

    name     the word of --line-format and of the state
    header   matches at a line's start; groups `time`, `level` (where it has one), `context` (oslo), `id` (faults)
    marks    bytes that a line of a level must have -> that level; empty: such lines carry no level
    request  finds the id that all lines of one user's request share, or None
    """

    name: str
    header: re.Pattern[bytes]
    marks: Mapping[bytes, str]
    request: re.Pattern[bytes] | None = None

    def level(self, match: re.Match[bytes]) -> str:
        """Return the suite's word for a matched line's level; an unknown word counts as info."""
        return LEVELS.get(match.group("level").strip().upper(), INFO) if self.marks else INFO


_UPPER = {b" ERROR": ERROR, b" CRITICAL": CRITICAL, b" FATAL": CRITICAL, b" WARN": WARNING, b" DEBUG": DEBUG}


def _httpd() -> Format:
    """Apache's error log, 2.2 `[Wed Aug 29 14:41:07 2012] [notice] …` and 2.4 `[… 2012] [core:notice] [pid 1]`."""
    header = rb"\0*\[" + _CTIME + rb"\] \[(?:[a-z0-9_]*:)?(?P<level>[a-z]+)\d*\] "
    marks = {b"emerg]": CRITICAL, b"alert]": CRITICAL, b"crit]": CRITICAL, b"error]": ERROR, b"warn]": WARNING,
             b"debug]": DEBUG}  # fmt: skip
    # A child that died is told at level notice (Eucalyptus' CC and NC are such children); it is an error.
    return Format("httpd", re.compile(header + rb"(?P<died>child pid \d+ exit signal )?"), marks)


def _bracket() -> Format:
    """`TIME [pid] [level] …`: MariaDB `2026-11-21 10:00:00 0 [ERROR] …`, RabbitMQ 3.7+ `… [error] <0.1.0> …`."""
    header = rb"\0*" + _ISO + rb" (?:\d+ )?\[(?P<level>[A-Za-z]+)\] "
    marks = {b"[ERROR]": ERROR, b"[error]": ERROR, b"[critical]": CRITICAL, b"[Warning]": WARNING,
             b"[warning]": WARNING, b"[debug]": DEBUG}  # fmt: skip
    return Format("bracket", re.compile(header), marks)


def _plain() -> Format:
    """A time, at most four words, a level in capitals: Python's logging defaults and their like."""
    words = b"|".join(sorted(LEVELS, reverse=True))  # the longer of two with one beginning first
    header = PREFIX + rb"\[?" + _ISO + rb"\]?(?: [^\s\[|]\S*){0,4}? [\[(<]?(?P<level>" + words + rb")(?=[\])>:,| ])"
    return Format("plain", re.compile(header), {**_UPPER, b"[ERROR": ERROR, b"[CRITICAL": CRITICAL, b"[WARN": WARNING})


def _syslog() -> Format:
    """Syslog as rsyslog writes it: no level in the line, so only patterns can judge it."""
    header = (
        rb"\0*(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"
        + _ZONE
        + rb") \S+ "
        rb"[^\s:\[]+(?:\[\d+\])?: "
    )
    return Format("syslog", re.compile(header), {})


NAMES = ("oslo", "oslo-syslog", "eucalyptus", "euca-error", "euca-fault", "httpd", "bracket", "plain", "syslog")
_MADE: dict[str, Format] = {}


def get(name: str) -> Format:
    """Return a format by its name (one of NAMES); it is compiled on first use."""
    if name not in _MADE:
        if name.startswith("oslo"):
            from nephoscope.probes import oslo_log

            _MADE[name] = oslo_log.form(name)
        elif name.startswith("euca"):
            from nephoscope.probes import euca_log

            _MADE[name] = euca_log.form(name)
        else:
            _MADE[name] = {"httpd": _httpd, "bracket": _bracket, "plain": _plain, "syslog": _syslog}[name]()
    return _MADE[name]


def recognise(line: bytes, first: tuple[str, ...] = ()) -> str:
    """Return the name of the format that a line is in, those of `first` tried before the others, or ""."""
    for name in (*first, *NAMES):
        if get(name).header.match(line):
            return name
    return ""


def stamp(line: bytes, now: float, names: tuple[str, ...] = NAMES) -> float | None:
    """Return the time that a line carries, seconds since 1970, or None.

    Times without a zone are local (oslo.log, Eucalyptus, syslog write them so); a year that is not written is the one
    that puts the line not more than a day into the future of `now`.
    """
    for name in names:
        match = get(name).header.match(line)
        if match and "time" in match.re.groupindex and match.group("time"):
            return seconds(match.group("time").decode("ascii", "replace"), now)
    return None


_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


def seconds(text: str, now: float) -> float | None:
    """Return the seconds since 1970 of a time in ISO 8601, ctime or syslog notation, or None."""
    try:
        if text[:4].isdigit():
            date = [int(text[a:b]) for a, b in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
            rest = text[19:]
            if rest.endswith("Z"):
                offset: int | None = 0
            elif len(rest) > 4 and ("+" in rest or "-" in rest):
                zone = rest[max(rest.rfind("+"), rest.rfind("-")) :].replace(":", "")
                offset = (int(zone[1:3]) * 3600 + int(zone[3:5]) * 60) * (-1 if zone[0] == "-" else 1)
            else:
                offset = None
            if offset is None:
                return time.mktime((*date, 0, 0, -1))  # type: ignore[arg-type]
            import calendar

            return float(calendar.timegm((*date, 0, 0, 0)) - offset)
        parts = text.split()
        if len(parts) == 5:  # Sun Nov 18 22:11:13 2012
            month, day, clock, year = parts[1], parts[2], parts[3], int(parts[4])
        else:  # Nov 18 22:11:13
            month, day, clock, year = parts[0], parts[1], parts[2], time.localtime(now).tm_year
        place = _MONTHS.find(month)
        if place < 0:
            return None
        hour, minute, second = clock[:8].split(":")
        fields = [year, place // 3 + 1, int(day), int(hour), int(minute), int(second), 0, 0, -1]
        at = time.mktime(tuple(fields))  # type: ignore[arg-type]
        if len(parts) != 5 and at > now + 86400:
            fields[0] -= 1
            at = time.mktime(tuple(fields))  # type: ignore[arg-type]
        return at
    except (ValueError, OverflowError, IndexError):
        return None
