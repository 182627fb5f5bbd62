# SPDX-License-Identifier: Apache-2.0
"""The faults that Eucalyptus' components have raised, kept until somebody acknowledges them.

A process logs one fault with the same variables once in its life (is_redundant_eucafault in util/fault.c; logOnFirstRun in
FaultBuilderImpl.java): a log that has been quiet for a day says nothing about the trouble being over. So what was read is
latched in the check's state.

Blocks in /var/log/eucalyptus/*-fault.log, C (format_eucafault in util/fault.c) and Java (Fault.java), 3.2 to 5.x:

    ************************************************************************
      ERR-1008 2013-06-11 08:52:10Z eucanetd is not running

       Condition: Can't find running eucanetd process
           Cause: unknown
       Initiator: eucalyptus
        Location: eucanetd daemon on localhost
      Resolution:
            1) Install eucanetd
    ************************************************************************

The time is local in spite of the Z, which Java does not write. The five labels are translated (ru_RU), their order is not; the
colons of all five stand below each other. The name before `-fault.log` is the component's, or "cloud" for those in the JVM.
An empty ID.xml below etc/eucalyptus/faults or usr/share/eucalyptus/faults silences a fault (util/README.faults).

From afar DescribeServices tells the events of each service. Few faults come with their number, as their header's line (so 1014,
in LoadBalancingServiceBootstrapper.java): those are latched too. An event without one is told while it lasts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREADABLE, Failed, Run, files
from nephoscope.probes import euca_conf, log_lines, log_rotation, logfile
from nephoscope.probes.euca_log import OFTEN_INTENDED
from nephoscope.probes.log_rotation import COMPRESSED, NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.probes.euca_api import Access

MOST = (
    500  # different faults that are latched; beyond that acknowledged ones are forgotten, and then only numbers count
)
BLOCK = 64 << 10  # bytes of one block: a longer one is cut, its writer died within it
SETTLED = 60.0  # seconds after which a block without its lower border is taken as it is
DAY = 86400.0  # seconds for which a log that is gone, or a gap, is told
ARCHIVES = 12  # rotated files of one log that are followed or looked at first: log4j keeps ten
TEXT = 240
LOG = "-fault.log"

# util/faults/en_US of 4.4.2, the HA faults of 3.x, and the event codes of the wiki (Eucalyptus-Event-Codes).
KNOWN = frozenset(
    (10, 11, *range(1001, 1007), *range(1008, 1018), 1500, 1501, *range(2000, 2004)),
)
KINDS = {
    **dict.fromkeys(("TRACE", "DEBUG", "INFO"), ""),
    "WARNING": "warning",
    **dict.fromkeys(("ERROR", "URGENT", "FATAL"), "error"),
}
"""What an event's severity means (Faults.groovy's ServiceChecks.Severity); "" tells of nothing bad."""
INTENDED = frozenset(int(number) for number in OFTEN_INTENDED)


class Block(NamedTuple):
    """One fault as it was logged.

    stamp   the time in the header, local, as it was written
    raised  the same in seconds since 1970 by this host's time zone, None when it is no time
    """

    id: int
    stamp: str
    raised: float | None
    message: str
    condition: str = ""
    cause: str = ""
    initiator: str = ""
    location: str = ""
    resolution: str = ""


class Fault(NamedTuple):
    """A fault that was raised at least once.

    where         the component whose log has it (cc, nc, cloud, sc, …)
    message, location, initiator, cause, remedy   in the words of its text, masked and cut
    since, last   when it was first and last raised, as the headers say it: local time
    age           seconds since it was first raised (or found, where the header has no time)
    found         seconds since it was last found raised anew
    raised        seconds since it was last raised, by its header
    first         it was found when its log was looked at for the first time
    times         how often it was raised
    kind          "known", "intended" (something that is often switched off on purpose) or "unknown" (a number of no document)
    acknowledged  who, when and why, "" for nobody
    silenced      by a text of no length: it can't be raised again
    """

    id: int
    where: str
    message: str
    location: str = ""
    initiator: str = ""
    cause: str = ""
    remedy: str = ""
    since: str = ""
    last: str = ""
    age: float = 0.0
    found: float = 0.0
    raised: float = 0.0
    first: bool = False
    times: int = 1
    kind: str = "known"
    acknowledged: str = ""
    silenced: bool = False

    @property
    def of(self) -> str:
        """What it is called on line 1, and by --ack."""
        return f"ERR-{self.id:04}@{self.where}"

    def new(self, period: float) -> bool:
        """Return whether it was found within a period; what a first look found counts by the time that it bears."""
        return self.found < period and (not self.first or self.raised < period)

    @property
    def said(self) -> str:
        """What and where, in one clause."""
        place = self.location or self.initiator
        text = self.message + (f" ({place})" if place and place not in self.message else "")
        often = f", {self.times} times until {self.last}" if self.times > 1 else ""
        return f"{text}, since {self.since}{often}"

    @property
    def advice(self) -> str:
        """Cause and remedy, as far as the fault tells them."""
        known = [("cause", self.cause), ("remedy", self.remedy)]
        return "; ".join(f"{name}: {text}" for name, text in known if text)


class Silenced(NamedTuple):
    """A fault that will not be logged, because `path` is empty; who accepted that, when and why, "" for nobody."""

    id: int
    path: str
    acknowledged: str = ""

    @property
    def of(self) -> str:
        """What it is called on line 1."""
        return f"ERR-{self.id:04}"


class Event(NamedTuple):
    """What a service says of itself now, without a fault's number.

    kind  "error", "warning", or "unseen": its severity is no known word
    """

    of: str
    kind: str
    text: str


class Faults(NamedTuple):
    """All that one run learnt.

    seen       what was looked at, in words; "" when nothing could be
    faults     what is latched, the newest first
    silenced   faults that can't be raised; None: not to be seen from here
    failures   logs that could not be read
    gaps       (log, what was missed)
    behind     (log, bytes that this run did not get to)
    strange    (log, lines that belong to no block)
    beginning  nothing had been kept before: all that the logs still hold was read
    events     what services say of themselves now (from afar only)
    done       what --ack did
    kept       plain JSON for the next run
    """

    seen: str = ""
    faults: tuple[Fault, ...] = ()
    silenced: tuple[Silenced, ...] | None = ()
    failures: tuple[Failed, ...] = ()
    gaps: tuple[tuple[str, str], ...] = ()
    behind: tuple[tuple[str, int], ...] = ()
    strange: tuple[tuple[str, int], ...] = ()
    beginning: bool = False
    events: tuple[Event, ...] = ()
    done: tuple[str, ...] = ()
    kept: Mapping[str, Any] = {}

    @property
    def open(self) -> tuple[Fault, ...]:
        """The faults that nobody acknowledged."""
        return tuple(fault for fault in self.faults if not fault.acknowledged)

    @property
    def summary(self) -> str:
        """How many faults there are and where they were looked for, in words."""
        number, rest = len(self.open), len(self.faults) - len(self.open)
        text = f"{number or 'no'} open fault{'s' * (number != 1)} in {self.seen or 'what was kept (nothing could be read)'}"
        text += f", {rest} acknowledged" if rest else ""
        return text + " (first look: read from the start)" * self.beginning

    def words(self) -> Iterable[tuple[str, str, str]]:
        """Yield all that is to be told as (kind, of, text).

        Kinds: "known", "unknown", "intended", "silenced" (an open fault, by its number, or that can't be raised again), "error"
        and "warning" (events), "unseen" (what may have been missed), "well" (everything else)
        """
        for fault in self.open:
            unknown = "is in no document: " if fault.kind == "unknown" else ""
            yield "silenced" if fault.silenced else fault.kind, fault.of, unknown + fault.said
            if fault.advice:
                yield "well", fault.of, fault.advice
        for fault in self.faults:
            if fault.acknowledged:
                yield "well", fault.of, f"acknowledged {fault.acknowledged}"
        for entry in self.silenced or ():
            yield "well", entry.of, f"is silenced by {entry.path}, acknowledged {entry.acknowledged or 'by nobody'}"
        for event in self.events:
            yield event.kind, event.of, f"says: {event.text}"
        for of in self.done:
            yield "well", of, "acknowledged now"
        for of, text in self.gaps:
            yield "unseen", of, f"has a gap, a fault may have been missed: {text}"
        for of, left in self.behind:
            yield "unseen", of, f"{left} bytes are not read yet: more than one run reads"
        for of, lines in self.strange:
            yield "unseen", of, f"has {lines} line{'s' * (lines != 1)} of no fault block"


class Parser:
    """Blocks of one log, from its bytes.

    blocks   those that have ended
    open     the offset at which the one that has not ended begins, None for none
    strange  lines that are neither of a block nor a border nor empty
    """

    def __init__(self) -> None:
        import re

        self.blocks: list[Block] = []
        self.open: int | None = None
        self.strange = 0
        self.lines = 0
        self._header = re.compile(rb"[ \0]*ERR-(\d{1,6})\b *(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?Z? *([^\n]*)")
        self._text: list[bytes] = []
        self._border = -BLOCK
        self._alike: dict[bytes, Sequence[str]] = {}  # most blocks of a long log say the same

    def feed(self, block: bytes, at: int = 0) -> None:
        """Take complete lines; `at` is their offset in the log. (The way in which logfile.read hands them on.)"""
        for line in block.split(b"\n")[:-1]:
            self._line(line.rstrip(b"\r"), at)
            at += len(line) + 1

    def _line(self, line: bytes, at: int) -> None:
        self.lines += 1
        bare = line.strip(b" \0\t")
        if len(bare) > 8 and not bare.strip(b"*"):
            self.end()
            self._border = at
        elif self._header.match(line):
            self.end()
            self.open = self._border if 0 <= at - self._border < 200 else at
            self._text = [line]
        elif self.open is None:
            self.strange += bool(bare)
        else:
            self._text.append(line)
            if at - self.open > BLOCK:
                self.end()

    def end(self) -> None:
        """Take what is open as it is."""
        if self.open is not None:
            self.blocks.append(self._parsed())
            self.open, self._text = None, []

    def pending(self) -> Block | None:
        """Return what is open, as far as it has been written."""
        return self._parsed() if self.open is not None else None

    def _parsed(self) -> Block:
        match = self._header.match(self._text[0])
        assert match  # noqa: S101 - for the type checker
        stamp = (match[2] or b"").decode()
        body = b"\n".join((match[3], *self._text[1:]))
        if body not in self._alike:
            if len(self._alike) > 100:
                self._alike.clear()
            self._alike[body] = (said(match[3]) or "(no words)", *self._fields())
        message, condition, cause, initiator, location, resolution = self._alike[body]
        return Block(int(match[1]), stamp, local(stamp), message, condition, cause, initiator, location, resolution)

    def _fields(self) -> list[str]:
        fields = [""] * 5
        column, number, value = -1, -1, b""
        for raw in self._text[1:]:
            # Columns are those of characters, labels may be Cyrillic; a value may hold anything, undecodable bytes too.
            line = raw.decode("utf-8", "replace")
            place = line.find(": ") if column < 0 else column
            place = len(line) - 1 if place < 0 and line.endswith(":") else place
            label = line[:place].strip()
            if number < 4 and place > 0 and line[place : place + 1] == ":" and label and ":" not in label:
                if number >= 0:
                    fields[number] = said(value)
                column, number, value = place, number + 1, line[place + 1 :].encode()
            elif len(value) <= 4 * TEXT:
                value += b" " + raw
        if number >= 0:
            fields[number] = said(value)
        return fields


def said(data: bytes) -> str:
    """Return a value fit for people and for the state: on one line, cut, without what looks like a secret."""
    return log_lines.masked(b" ".join(data[: 4 * TEXT].split()), TEXT)


def local(stamp: str) -> float | None:
    """Return a local time in seconds since 1970, None when it is none ("0000-00-00 00:00:00" where localtime_r failed)."""
    import time

    try:
        numbers = [int(stamp[at:to]) for at, to in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
        if not 1970 <= numbers[0] <= 9999 or not 1 <= numbers[1] <= 12 or not 1 <= numbers[2] <= 31:
            return None
        return time.mktime((numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], 0, 0, -1))
    except (ValueError, OverflowError):
        return None


def identity(where: str, block: Block) -> str:
    """Return what makes two blocks one fault: number, component and the places in which variables name an object.

    Not its condition and cause: error texts and counts change from time to time.
    """
    import hashlib

    text = "\0".join((where, str(block.id), block.message, block.initiator, block.location))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def number(text: str) -> str:
    """Return what --ack names as NUMBER or NUMBER@WHERE, without ERR- and leading zeros. Raises ValueError."""
    name, at, where = text.partition("@")
    bare = name.upper()[4:] if name.upper().startswith("ERR-") else name
    if not bare.isdecimal() or len(bare) > 6 or (at and not where):
        raise ValueError(f"'{text}' names no fault: write 1008, or 1008@nc as line 1 has it")
    return f"{int(bare)}{at}{where}"


def look(run: Run, *, folder: str = "", most: int = 16 << 20, ack: Sequence[str] = (), reason: str = "") -> Faults:
    """Read what is new in all fault logs of this host, and return what is latched.

    folder  where the logs are, "" for what eucalyptus.conf says
    most    bytes read in one run, at most
    ack     faults (see `number`) to acknowledge for `reason`: of those that an earlier run knew
    Raises Failed: absent (no fault log, and none known), not-allowed; unreadable when --ack names a fault that is not latched.
    """
    conf, without = _conf(run)
    folder = folder or euca_conf.directory(conf, "log")
    before = run.before if isinstance(run.before, dict) else {}
    known: dict[str, Any] = before["logs"] if isinstance(before.get("logs"), dict) else {}
    latched = {key: entry for key, entry in _pairs(before.get("latched")) if _sound(entry)}
    earlier = set(latched)
    failures: list[Failed] = []
    try:
        # A log that was renamed and not made again has rotated files alone, and its writer may go on with them.
        found = logfile.expand(run, f"{folder}/*-fault.log*")
        split = (path.rpartition(LOG) for path in found)
        paths = list(dict.fromkeys(base + LOG for base, _, end in split if not end or NAME.fullmatch(end)))
    except Failed as failed:
        if failed.kind == ABSENT and without is not None and not os.path.isdir(run.path(folder)) and not known:
            raise without from None
        failures.append(Failed(failed.kind, folder, f"look for {folder}/*-fault.log", failed.error, failed.cure))
        paths = []
    now = run.clock.time()
    reader = Reader(run, most, now)
    state: dict[str, Any] = {}
    wanted = list(dict.fromkeys((*paths, *known)))
    logs = []
    for index, path in enumerate(wanted):
        run.stage(f"read what is new in {path}")
        kept = known[path] if isinstance(known.get(path), dict) else {}
        state[path], missing = kept, False
        try:
            state[path], there = reader.log(path, kept, len(wanted) - index)
        except FileNotFoundError:
            there, missing = False, True
        except OSError as error:
            failures.append(logfile.refused(path, error))
            continue
        except Failed as failed:
            failures.append(Failed(failed.kind, path, failed.tried, failed.error, failed.cure))
            continue
        if there:
            logs.append(path)
            continue
        gone = logfile.number(kept.get("gone")) or now
        state[path] = {**state[path], "gone": gone}
        if now - gone <= DAY:
            failures.append(Failed(ABSENT, path, "", "is gone; what it raised before is kept"))
        elif missing:
            del state[path]
    for path, blocks, first in reader.found:
        for block in blocks:
            _latch(latched, where(path), block, now, first)
    silenced, refused = _silenced(run, conf)
    quiet = {entry.id for entry in silenced}
    here = (os.uname().nodename, "localhost")
    done = _acknowledge(latched, earlier, silenced, ack, reason, now, before, here) if ack else ((), _quiet(before))
    kept = {"logs": state, "latched": latched, "quiet": done[1]}
    # What is still being written is told at once, and latched when it is complete.
    shown = dict(latched)
    for path, block in reader.pending:
        _latch(shown, where(path), block, now, False)
    return Faults(
        f"{len(logs)} fault log{'s' * (len(logs) != 1)}" if logs else "",
        _shown(run, shown, now, quiet),
        tuple(entry._replace(acknowledged=done[1].get(str(entry.id), "")) for entry in silenced if run.wants(entry.of)),
        (*failures, *refused),
        tuple(reader.gaps),
        tuple(reader.behind),
        tuple(reader.strange),
        not before,
        (),
        done[0],
        kept,
    )


def ask(run: Run, there: Access, *, ack: Sequence[str] = (), reason: str = "") -> Faults:
    """Return the faults and events that services tell by DescribeServices, and what is latched.

    ack  as in `look`
    Raises Failed as euca_api.ask does; unreadable when --ack names a fault that is not latched.
    """
    from nephoscope.probes import euca_api, euca_services

    before = run.before if isinstance(run.before, dict) else {}
    latched = {key: entry for key, entry in _pairs(before.get("latched")) if _sound(entry)}
    earlier, lasting = set(latched), before.get("present")
    lasting = lasting if isinstance(lasting, list) else []
    now = run.clock.time()
    of = euca_services.place(there)
    right = euca_api.right("euserv:Describe*")
    params = {"ListAll": "true", "ShowEvents": "true"}
    try:
        root = euca_api.ask(run, there, "bootstrap", "DescribeServices", params, of=of)
        services = list(euca_services.parse(root, of))
        if not any(service.type in euca_services.PRIVATE for service in services):
            # Who is outside the account eucalyptus is told of public services only, and is refused nothing.
            raise Failed(NOT_ALLOWED, of, "DescribeServices", "lists no service of the cloud itself", right)
    except Failed as failed:
        # The rights that reading logs needs are no cure here.
        cure = failed.cure or (right if failed.kind == NOT_ALLOWED else "")
        failed = Failed(failed.kind, failed.of, failed.tried, failed.error, cure)
        if ack or not latched:
            raise failed from None
        return Faults("", _shown(run, latched, now), silenced=None, failures=(failed,), kept=before)
    events: list[Event] = []
    present: dict[str, None] = {}
    for service, item in zip(services, root.iterfind("serviceStatuses/item")):
        for event in item.iterfind("statusDetails/item"):
            text, severity = event.findtext("message") or "", (event.findtext("severity") or "").strip()
            parser = Parser()
            parser.feed(text.encode() + b"\n")
            parser.end()
            for block in parser.blocks:
                present[identity(service.name, block)] = None
                if identity(service.name, block) not in lasting:
                    _latch(latched, service.name, block, now, False, service.host)
            line = next((line.strip() for line in text.splitlines() if line.strip()), "")
            kind = KINDS.get(severity, "unseen")
            if kind and not parser.blocks and line not in euca_services.NO_MESSAGE and run.wants(service.of):
                line += f" (of severity '{severity}', which is not known)" * (kind == "unseen")
                events.append(Event(service.of, kind, said(line.encode())))
    here = (of.rpartition(":")[0],)
    done, quiet = _acknowledge(latched, earlier, (), ack, reason, now, before, here) if ack else ((), {})
    return Faults(
        f"the events of {len(services)} services (what is only logged is not seen from here)",
        _shown(run, latched, now),
        silenced=None,
        events=tuple(events),
        done=done,
        kept={"latched": latched, "present": list(present), "quiet": quiet},
    )


def _conf(run: Run) -> tuple[Mapping[str, str], Failed | None]:
    """Return the configuration, or what holds without one, and why there is none."""
    try:
        return euca_conf.read(run), None
    except Failed as failed:
        return {"EUCALYPTUS": "/"}, failed


def where(path: str) -> str:
    """Return the component whose fault log a path is."""
    return path.rpartition("/")[2].removesuffix(LOG)


class Reader:
    """The new blocks of several logs in one run.

    found    (log, blocks that have ended, whether the log was looked at for the first time)
    pending  (log, a block that is being written)
    """

    def __init__(self, run: Run, most: int, now: float) -> None:
        self.run, self.left, self.now = run, most, now
        self.found: list[tuple[str, list[Block], bool]] = []
        self.pending: list[tuple[str, Block]] = []
        self.gaps: list[tuple[str, str]] = []
        self.behind: list[tuple[str, int]] = []
        self.strange: list[tuple[str, int]] = []

    def log(self, path: str, kept: Mapping[str, Any], logs: int) -> tuple[dict[str, Any], bool]:
        """Read one log; return what to keep of it, and whether it is there itself and not only its rotated files.

        logs  how many are still to be read
        Raises OSError and Failed.
        """
        rows = kept.get("marks")
        marks = [mark for mark in map(log_rotation.Mark.of, rows if isinstance(rows, list) else ()) if mark]
        try:
            made = log_rotation.plan(self.run.path(path), marks, logfile.number(kept.get("seen")), (), self.run)
        except FileNotFoundError:
            made = log_rotation.Plan([], None, "")
        # Behind a gap all is read again that is there: times tell what is known, and a clock may have been set back.
        anew = not marks or bool(made.gap)
        pieces = list(made.pieces)
        try:
            if anew:
                pieces[:0], gap = self._archives(path, pieces)
                made = made._replace(gap=made.gap or gap)
            if not pieces:
                raise FileNotFoundError(path)
            state = self._read(path, kept, pieces, made, anew, max(1 << 16, self.left // logs))
            return state, made.current is not None
        finally:
            for piece in pieces:
                piece.source.close()

    def _archives(self, path: str, current: Sequence[Any]) -> tuple[list[Any], str]:
        """Return the rotated files of a log that are not read already, and why one can't be."""
        pieces, gap = [], ""
        for name in log_rotation.archives(self.run.path(path), ())[-ARCHIVES + 1 :]:
            try:
                source = log_rotation.Source(name)
            except OSError as error:
                gap = f"{name} can't be read: {error.strerror}"
                continue
            strange = not stat.S_ISREG(source.status.st_mode) or (not source.packed and name.endswith(COMPRESSED))
            gap = f"{name} can't be unpacked here" if strange else gap
            if strange or any(source.same == piece.source.same for piece in current):
                source.close()
            else:
                pieces.append(log_rotation.Piece(source, 0, False, None))
        return pieces, gap

    def _read(
        self, path: str, kept: Mapping[str, Any], pieces: Sequence[Any], made: Any, first: bool, share: int
    ) -> dict[str, Any]:
        marks, behind, gap = [], 0, made.gap
        blocks: list[Block] = []
        strange = 0
        for piece in pieces:
            source, current = piece.source, piece.source is made.current
            if share <= 0:
                behind += max(1, source.status.st_size - piece.offset)
                marks.append(list(log_rotation.mark(source, piece.offset, piece.middle, self.now, self.run)))
                continue
            grown = piece.known.grown if piece.known else self.now
            # A component of C opens its log once and never again (initialize_faultlog): a renamed one may grow for ever.
            final = not current and bool(source.packed)
            settled = final or self.now - source.status.st_mtime > SETTLED
            parser = Parser()
            try:
                got = logfile.read(piece, parser, share, settled, self.run)  # type: ignore[arg-type]
            except Failed as failed:
                if not source.packed or failed.kind == LATE:
                    raise
                gap = f"{source.path} can't be unpacked: {failed.error}"
                continue
            offset, middle = got.offset, got.middle
            if parser.open is not None and got.done:
                if settled:
                    parser.end()
                else:
                    block = parser.pending()
                    assert block and parser.open is not None  # noqa: S101 - for the type checker
                    self.pending.append((path, block))
                    offset, middle = parser.open, False
            elif parser.open is not None:
                offset, middle = parser.open, False  # the rest of it in the next run, unless nothing else was read
                if offset <= piece.offset:
                    parser.end()
                    offset, middle = got.offset, got.middle
            share -= max(0, got.offset - piece.offset)
            self.left -= max(0, got.offset - piece.offset)
            behind += got.left
            blocks += parser.blocks
            strange += parser.strange if parser.lines else 0
            if not (got.done and final):
                grown = self.now if offset > piece.offset else grown
                marks.append(list(log_rotation.mark(source, offset, middle, grown, self.run)))
        if blocks:
            self.found.append((path, blocks, first))
        if behind:
            self.behind.append((path, behind))
        if strange:
            self.strange.append((path, strange))
        missed = kept.get("gap") if isinstance(kept.get("gap"), list) else None
        missed = [self.now, gap] if gap else missed
        if missed and self.now - float(missed[0]) <= DAY:
            self.gaps.append((path, str(missed[1])))
        else:
            missed = None
        return {"marks": marks[-ARCHIVES:], "seen": self.now, "gap": missed}


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _sound(entry: Any) -> bool:
    """Return whether an entry of the state is one that we wrote."""
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(name), int) for name in ("id", "count"))
        and all(isinstance(entry.get(name), str) for name in ("where", "message", "since", "last"))
        and all(isinstance(entry.get(name), (int, float)) for name in ("first", "raised", "found"))
        and (entry.get("ack") is None or isinstance(entry["ack"], dict))
    )


def _latch(latched: dict[str, Any], component: str, block: Block, now: float, first: bool, host: str = "") -> None:
    """Add one block to what is latched.

    first  its log had not been looked at before: then it may be one that is known, and counts only when it is newer
    host   of a service that tells it from afar
    """
    key = identity(component, block)
    if key not in latched and len(latched) >= MOST:
        done = [name for name, entry in latched.items() if entry["ack"]]
        if done:
            del latched[min(done, key=lambda name: float(latched[name]["found"]))]
        else:
            key = f"{component} {block.id if block.id in KNOWN else 'others'}"
    raised = now if block.raised is None else block.raised
    entry = latched.get(key)
    if entry is None:
        latched[key] = {
            "id": block.id, "where": component, "message": block.message, "location": block.location,
            "initiator": block.initiator, "cause": block.cause, "remedy": block.resolution,
            "since": block.stamp or "a time unknown", "last": block.stamp, "first": raised, "raised": raised,
            "found": now, "count": 1, "ack": None, "old": first, "host": host,
        }  # fmt: skip
        return
    # A copy of a block that is known, in an archive or behind a copying rotation, has the very same time. Any other time is
    # another event, an earlier one too: in the hour that comes twice when summer time ends.
    if raised == entry["raised"] or (first and raised <= entry["raised"]):
        return
    latched[key] = {
        **entry, "last": block.stamp, "raised": raised, "found": now, "count": entry["count"] + 1, "ack": None, "old": first,
        "cause": block.cause or entry.get("cause", ""), "remedy": block.resolution or entry.get("remedy", ""),
    }  # fmt: skip
    if entry["ack"]:
        # What was acknowledged was the trouble of then.
        latched[key].update(since=block.stamp or "a time unknown", first=raised, count=1)


def _fault(entry: Mapping[str, Any], now: float, quiet: Iterable[int]) -> Fault:
    ack = entry["ack"]
    kind = "intended" if entry["id"] in INTENDED else "known" if entry["id"] in KNOWN else "unknown"
    text = {name: str(entry.get(name) or "") for name in ("location", "initiator", "cause", "remedy")}
    return Fault(
        entry["id"], entry["where"], entry["message"], **text,
        since=entry["since"], last=entry["last"], age=max(0.0, now - entry["first"]),
        found=max(0.0, now - entry["found"]), raised=max(0.0, now - entry["raised"]), first=bool(entry.get("old")),
        times=entry["count"], kind=kind,
        acknowledged=f"by {ack.get('by')} on {ack.get('at')}: {ack.get('reason')}" if ack else "",
        silenced=entry["id"] in quiet,
    )  # fmt: skip


def _shown(run: Run, latched: Mapping[str, Any], now: float, quiet: Iterable[int] = ()) -> tuple[Fault, ...]:
    """Return what is latched, the newest first, without what a filter leaves out."""
    faults = sorted((_fault(entry, now, quiet) for entry in latched.values()), key=lambda one: (one.age, one.of))
    return tuple(fault for fault in faults if run.wants(fault.of))


def _silenced(run: Run, conf: Mapping[str, str]) -> tuple[list[Silenced], list[Failed]]:
    """Return the faults whose text is empty: of each locale the operator's own text, if there is one, outranks the shipped."""
    found: dict[int, str] = {}
    spoken: set[tuple[str, int]] = set()
    failures = []
    for folder in (euca_conf.directory(conf, "faults"), euca_conf.directory(conf, "texts")):
        try:
            locales = files.names(run, folder)
        except Failed as failed:
            if failed.kind != ABSENT:
                failures.append(failed)
            continue
        for locale in locales:
            try:
                names = files.names(run, f"{folder}/{locale}", limit=2000)
            except Failed as failed:
                if failed.kind != ABSENT:
                    failures.append(failed)
                continue
            for name in names:
                stem = name[:-4]
                if not name.endswith(".xml") or not stem.isdecimal() or (locale, int(stem)) in spoken:
                    continue
                path = f"{folder}/{locale}/{name}"
                try:
                    size = os.stat(run.path(path)).st_size
                except OSError as error:
                    lost = Failed.of_os_error(path, f"look at {path}", error)
                    if lost.kind == ABSENT:
                        continue  # a link to nothing is no text
                    failures.append(lost)
                    break  # a folder that lists its names and opens none: one word for all of them
                spoken.add((locale, int(stem)))
                if size == 0:
                    found.setdefault(int(stem), path)
    return [Silenced(*pair) for pair in sorted(found.items())], failures


def _quiet(before: Mapping[str, Any]) -> dict[str, Any]:
    return {name: text for name, text in _pairs(before.get("quiet")) if isinstance(text, str)}


def _acknowledge(
    latched: dict[str, Any],
    earlier: set[str],
    silenced: Sequence[Silenced],
    ack: Sequence[str],
    reason: str,
    now: float,
    before: Mapping[str, Any],
    hosts: Sequence[str],
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Write down who acknowledges what; return what was done, in words, and the silenced faults that are accepted.

    Only what an earlier run knew: what was read a moment ago nobody has seen yet.
    hosts  which any of them may be named after
    """
    import time

    by, at = _somebody(), time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
    quiet = _quiet(before)
    done: list[str] = []
    for name in ack:
        before_it = len(done)
        bare, _, place = name.partition("@")
        hits = {key: entry for key, entry in latched.items() if str(entry["id"]) == bare and _at(entry, place, hosts)}
        for key, entry in hits.items():
            if key in earlier and entry["found"] != now and not entry["ack"]:
                entry["ack"] = {"by": by, "at": at, "reason": reason[:TEXT]}
                done.append(f"ERR-{int(bare):04}@{entry['where']}")
        if any(entry.id == int(bare) for entry in silenced) and bare not in quiet:
            quiet[bare] = f"by {by} on {at}: {reason[:TEXT]}"
            done.append(f"ERR-{int(bare):04} (silenced)")
        if len(done) == before_it:
            text = "is not among the open faults: run without --ack"
            if not before:
                text = "no earlier run is known: acknowledge as the scheduler's user, with the same options"
            elif any(not entry["ack"] for entry in hits.values()):
                text = "was found just now: look at it first"
            raise Failed(UNREADABLE, f"ERR-{int(bare):04}", f"acknowledge {name}", text)
    return tuple(done), quiet


def _at(entry: Mapping[str, Any], place: str, hosts: Iterable[str]) -> bool:
    """Return whether --ack means this one by what it has after the @: its component, or a host, by its short name too."""
    place = place.lower()
    names = [name.lower() for name in (*hosts, str(entry.get("host") or "")) if name]
    short = {name.partition(".")[0] for name in names if not name.replace(".", "").isdecimal()}
    return place in ("", entry["where"].lower(), *names, *short) or (
        place.partition(".")[0] in short.intersection(names)
    )


def _somebody() -> str:
    """Return who stands behind this run, as far as it can be told."""
    name = os.environ.get("SUDO_USER", "")
    if name and name.isprintable():
        return name[:64]
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
