# SPDX-License-Identifier: Apache-2.0
"""One memcached, by its text protocol: what it counts, and a round trip of one key of ours.

Protocol and counters: doc/protocol.txt of memcached; names as memcached 1.6.18 prints them. A client of our own, because
those of the field (pymemcache, python-memcached) have a time-out for each read and none for the whole.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Collecting, Failed, Run, attempt
from nephoscope.base.samples import History, boot_id, take
from nephoscope.probes import stream
from nephoscope.probes.stream import Stream

PORT = 11211
MOST = 1 << 18  # bytes of one answer; a real one has 3 KiB
# One write. The last two do nothing but tell where the answer ends, and make it longer than the 24 bytes that a server of the
# binary protocol waits for: it closes then, and would be silent for ever after a shorter question (memcached 1.6.18).
QUESTION = b"stats\r\nstats settings\r\nversion\r\n"
BINARY_VERSION = b"\x80\x0b" + bytes(22)  # doc/protocol-binary.xml: magic of a request, operation "version"
COUNTED = ("cmd_get", "get_hits", "evictions", "reclaimed")
PRINTED = {"gets": "cmd_get", "reclaimed": "reclaimed"}  # counters that are printed as they stand, by our names
REFUSED = ("rejected_connections", "listen_disabled_num")
TTL = 60  # seconds that a key of ours would live, were it not deleted
KEY = "nephoscope:"
WANTS = "it wants a log-in"
CURE = "--user and --password of a line in its -Y file"


class Trial(NamedTuple):
    """One key of ours set, got and deleted: seconds that it took, and the step that failed and how, or ""."""

    seconds: float
    step: str = ""
    error: str = ""


class Cache(NamedTuple):
    """One memcached.

    seconds      from the first byte to the last of statistics
    most         connections that it allows at most; None: not told
    held         descriptors in use, of those: connections and what its threads keep for themselves
    accepting    False: it stopped to take connections (with no_maxconns_fast)
    items, used, room   items in it, bytes that they take, bytes that it may take
    history      the counters of COUNTED, and `refused`
    """

    version: str
    seconds: float
    held: int | None
    most: int | None
    accepting: bool
    items: int | None
    used: int | None
    room: int | None
    history: History
    trial: Trial | Failed | None = None

    def rate(self, name: str) -> float | Collecting | None:
        """Return a counter's increase per second, None when the server does not count it."""
        return self.history.rate(name) if name in self.history.now.values else None

    @property
    def hit(self) -> float | Collecting | None:
        """How many of the gets found something, in percent, since about five minutes; None when they are not counted."""
        if not {"get_hits", "cmd_get"} <= set(self.history.now.values):
            return None
        share = self.history.share("get_hits", "cmd_get")
        # More hits than gets: they were reset meanwhile, and have passed what they were.
        return COLLECTING if isinstance(share, float) and share > 101 else share

    def total(self, name: str) -> int | None:
        """Return a counter as it stands; None when the server does not count it."""
        value = self.history.now.values.get(name)
        return None if value is None else int(value)

    @property
    def connections(self) -> float | None:
        """How much of what it allows is in use, in percent; None when one of the two is not told."""
        return 100.0 * self.held / self.most if self.held is not None and self.most else None

    @property
    def memory(self) -> float | None:
        """How much of its memory is in use, in percent; None when it is not told."""
        return 100.0 * self.used / self.room if self.used is not None and self.room else None


def options(add: Any) -> None:
    """Declare where it is, beside -H and -p, and as whom to speak where it wants that (memcached -Y)."""
    add("--socket", default="", metavar="PATH", help="its Unix socket, instead of -H and -p")
    add("--user", default="", help="user, where it was started with -Y")
    add("--password", secret=True, help="that user's password")


def look(run: Run, options: Any, *, trial: bool) -> Cache:
    """Return what one memcached counts, and with `trial` how a key of ours fared.

    Raises Failed: unreachable (refused, silent, too many connections), not-allowed (it wants a log-in), unreadable (no
    memcached, binary protocol only, options that do not go together).
    """
    stream.agree(options, "socket", "hostname", "port", *stream.TLS)
    try:
        return _look(run, options, trial, log_in=False)
    except Failed as failed:
        if failed.kind != NOT_ALLOWED or failed.error != WANTS or not options.user:
            raise
    # Only now: where no log-in is wanted, this would store the password as anybody's value.
    return _look(run, options, trial, log_in=True)


def _look(run: Run, options: Any, trial: bool, *, log_in: bool) -> Cache:
    with _connect(run, options) as link:
        try:
            if log_in:
                _log_in(link, options.user, options.password or "")
            link.ask("stats")
            begun = time.monotonic()
            stats, settings = _statistics(link)
            seconds = time.monotonic() - begun
        except Failed as failed:
            if failed.kind == UNREACHABLE and not link.received:
                _binary(run, options, failed)
            raise
        tried = attempt(_attempt, link) if trial else None
    return _cache(run, stats, settings, seconds, tried)


def _connect(run: Run, options: Any) -> Stream:
    if options.socket:
        return stream.unix(run, options.socket)
    return stream.tcp(run, options.hostname or "127.0.0.1", options.port or PORT, stream.tls_of(options))


def _binary(run: Run, options: Any, cut: Failed) -> None:
    """Raise Failed unreadable when a server that closed without a word answers in the binary protocol."""
    try:
        with _connect(run, options) as link:
            link.ask("version (binary)")
            link.send(BINARY_VERSION)
            answer = link.receive(24)
    except Failed:
        return
    if answer[:2] == b"\x81\x0b":
        said = "it speaks the binary protocol only (memcached -S or -B binary)"
        raise Failed(UNREADABLE, cut.of, "stats", said)


def _log_in(link: Stream, user: str, password: str) -> None:
    """Log in as doc/protocol.txt has it: user and password as the value of any key."""
    link.ask("log in")
    value = f"{user} {password}".encode()
    link.send(b"set nephoscope 0 0 %d\r\n%s\r\n" % (len(value), value))
    answer = _line(link, bytearray())
    if answer != "STORED":
        refused = answer.startswith("CLIENT_ERROR")
        raise Failed(
            NOT_ALLOWED if refused else UNREADABLE, link.of, link.tried, _said(answer), CURE if refused else ""
        )


def _statistics(link: Stream) -> tuple[dict[str, str], dict[str, str]]:
    """Ask, and return what `stats` and `stats settings` said."""
    link.send(QUESTION)
    buffer = bytearray()
    answers: list[dict[str, str]] = [{}, {}]
    for answer in answers:
        while True:
            line = _line(link, buffer)
            if line == "END":
                break
            word, _, rest = line.partition(" ")
            name, _, value = rest.partition(" ")
            if word != "STAT" or not name:
                raise _refusal(link, line)
            answer[name] = value
    if not answers[0]:
        raise Failed(UNREADABLE, link.of, link.tried, "it counts nothing: its statistics are empty")
    line = _line(link, buffer)
    if not line.startswith("VERSION "):
        raise _refusal(link, line)
    return answers[0], answers[1]


def _line(link: Stream, buffer: bytearray) -> str:
    """Return the next line, without its end; what came behind it stays in the buffer."""
    while b"\n" not in buffer:
        data = link.receive()
        if not data:
            if buffer:
                raise _refusal(link, buffer.decode("utf-8", "replace"))
            raise link.cut()
        buffer += data
        who = stream.looks_like(bytes(buffer[:16]))
        if who and who != "memcached":
            raise Failed(UNREADABLE, link.of, link.tried, f"this is {who}, no memcached")
        if link.received > MOST:
            raise Failed(UNREADABLE, link.of, link.tried, f"more than {MOST >> 10} KiB of an answer")
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return line.rstrip(b"\r").decode("utf-8", "replace")


def _said(line: str) -> str:
    return f"it answers {line[:60]!r}"


def _refusal(link: Stream, line: str) -> Failed:
    """Return the Failed for a line that is no statistic."""
    if line.startswith("ERROR Too many open connections"):
        return Failed(UNREACHABLE, link.of, link.tried, "it refuses us: too many open connections")
    if line == "CLIENT_ERROR unauthenticated":
        return Failed(NOT_ALLOWED, link.of, link.tried, WANTS, CURE)
    return Failed(UNREADABLE, link.of, link.tried, _said(line))


def _attempt(link: Stream) -> Trial:
    """Set, get and delete one key of ours, which nobody else can have."""
    key = f"{KEY}{os.urandom(12).hex()}"
    value = os.urandom(16).hex()
    begun = time.monotonic()
    buffer = bytearray()
    steps = (
        ("set", f"set {key} 0 {TTL} {len(value)}\r\n{value}\r\n", ["STORED"]),
        ("get", f"get {key}\r\n", [f"VALUE {key} 0 {len(value)}", value, "END"]),
        ("delete", f"delete {key}\r\n", ["DELETED"]),
    )
    for step, text, wanted in steps:
        link.ask(f"{step} of a key of ours")
        link.send(text.encode())
        for expected in wanted:
            line = _line(link, buffer)
            if line != expected:
                lost = step != "set" and line in ("END", "NOT_FOUND")
                if step == "get" and not lost:
                    link.send(f"delete {key}\r\n".encode())
                return Trial(
                    time.monotonic() - begun, step, "the key that was just set is gone" if lost else _said(line)
                )
    return Trial(time.monotonic() - begun)


def _cache(
    run: Run, stats: dict[str, str], settings: dict[str, str], seconds: float, trial: Trial | Failed | None
) -> Cache:
    def number(name: str, of: dict[str, str] = stats) -> int | None:
        text = of.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else None

    most = number("max_connections")
    if most is None:  # before 1.4.21
        most = number("maxconns", settings)
    held = number("curr_connections")
    if held is not None:
        held += number("reserved_fds") or 0
    counters = {name: value for name in COUNTED if (value := number(name)) is not None}
    refused = [value for name in REFUSED if (value := number(name)) is not None]
    if refused:
        counters["refused"] = sum(refused)
    uptime, now = number("uptime"), number("time")
    # The moment of its start, which both give to the second (memcached.c: process_started); with it a restart is never missed.
    began = f"{stats.get('pid', '')}:{now - uptime if now is not None and uptime is not None else ''}"
    return Cache(
        version=stats.get("version", ""),
        seconds=seconds,
        held=held,
        most=most,
        accepting=number("accepting_conns") != 0,
        items=number("curr_items"),
        used=number("bytes"),
        room=number("limit_maxbytes"),
        # By our clock: its own has whole seconds, and stands still when it is frozen.
        history=take(run, counters, boot=f"{boot_id(run)}:{began}"),
        trial=trial,
    )
