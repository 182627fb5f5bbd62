# SPDX-License-Identifier: Apache-2.0
"""New bytes of log files since the last run, through rotation, each byte once.

A renamed file is followed until an hour after it last grew, as its writer may not have reopened it yet. Lines are never kept:
of those to be shown again the place is remembered.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import log_lines, log_window
from nephoscope.probes.log_format import NAMES as FORMATS
from nephoscope.probes.log_lines import regex
from nephoscope.probes.log_rotation import (
    BLOCK,
    COMPRESSED,
    NAME,
    Mark,
    Piece,
    Plan,
    Source,
    archives,
    mark,
    plan,
    written,
)

__all__ = ["FORMATS", "Asked", "Log", "Logs", "Unmatched", "expand", "look", "refused", "regex", "survey"]

LONG = 1 << 20  # bytes: a longer line is counted by its beginning, and the rest is skipped
FIRST = 64 << 20  # bytes that the first run looks at, at most
FOREIGN = (86400.0, 1000)  # seconds and lines without one that is understood, after which the log's format has changed
HOLD = 3600.0  # seconds for which a renamed file that does not grow is still looked at
FILES = 200  # logs in one check
MOUNTINFO = "/proc/self/mountinfo"
# File systems whose server may be dead, by the beginnings of their kinds.
REMOTE = (
    b"nfs", b"cifs", b"smb", b"ceph", b"fuse.", b"fuseblk", b"gluster", b"lustre", b"afs", b"9p", b"ocfs2", b"gfs2",
    b"orangefs", b"beegfs",
)  # fmt: skip
COUNTING = frozenset(("errors", "debug", "correlate"))  # modes of check_log that read lines


class Log(NamedTuple):
    """What is known of one log.

    path      the log, or the journal, as the operator named it
    counts    lines of each level (log_format's words) seen within the period
    lines     lines read since the first run
    bytes     bytes read since the first run
    age       seconds since it was last written, None: not known
    size      bytes of the current file, None: not a file
    growth    bytes per second that it grew by, or COLLECTING; None: not asked
    behind    bytes that this run did not get to
    levelled  its lines carry levels; None: no line has been seen yet
    traced    its lines may carry request ids
    gap       what could not be followed, "" when nothing is missing
    notes     what was looked at, where that is not all of it
    samples   lines that counted, masked and cut
    since     seconds since the last run, None: this is the first
    missing   the file is not there; what its rotated one held was read
    """

    path: str
    counts: Mapping[str, int]
    lines: int = 0
    bytes: int = 0
    age: float | None = None
    size: int | None = None
    growth: Any = None
    behind: int = 0
    levelled: bool | None = None
    traced: bool = False
    gap: str = ""
    notes: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    since: float | None = None
    missing: bool = False

    def blind(self, options: Any) -> str:
        """Return why the log can't answer what check_log's options ask, "" when it can."""
        modes, patterns = set(options.mode), options.pattern or options.critical_pattern or options.only_patterns
        if modes == {"debug"} and options.only_patterns:
            return "is not looked at for levels: --only-patterns and mode debug exclude each other"
        if modes & COUNTING and self.levelled is False and (not patterns or modes == {"debug"}):
            return "has no line with a level that is understood: give --pattern"
        if modes == {"correlate"} and self.levelled and not self.traced:
            return "has lines that carry no request id"
        return ""

    def numbers(self, options: Any) -> list[tuple[str, Any]]:
        """Return what the modes of check_log ask as (name, value); errors are lines of level error and critical."""
        asked, patterns = set(options.mode), options.pattern or options.critical_pattern or options.only_patterns
        values: list[tuple[str, Any]] = []
        if asked & COUNTING and (self.levelled is not False or patterns):
            values += [("lines", self.lines), ("bytes", self.bytes)]
            if "errors" in asked:
                values.append(("errors", self.counts["error"] + self.counts["critical"]))
                values += [("warnings", self.counts["warning"]), ("criticals", self.counts["critical"])]
            if "debug" in asked and self.levelled is not False and not options.only_patterns:
                values.append(("debug", self.counts["debug"]))
        if "fresh" in asked and self.path != "kernel":  # which may well be silent
            values.append(("age", self.age))
        if "growth" in asked:
            values.append(("growth_rate", self.growth))
            values += [("size", self.size)] if self.size is not None else []
        return values


class Unmatched(NamedTuple):
    """Globs that name no file while others do, separated by commas."""

    of: str


class Logs(NamedTuple):
    """All that one run learnt.

    logs      one entry for each log, a Failed where one could not be read
    requests  ids of users' requests with errors within the period -> the logs that tell of them
    state     plain JSON for the next run
    """

    logs: tuple[Log | Unmatched | Failed, ...]
    requests: Mapping[str, Sequence[str]] = {}
    state: Mapping[str, Any] = {}


class Asked(NamedTuple):
    """What is to be learnt.

    wanted    what to count, or None to count nothing and only look at sizes and times
    period    seconds for which counts are kept, and that the first run looks back
    most      bytes read in one run, at most
    archives  directories beside the log's own in which rotated files are looked for (logrotate's olddir)
    growth    whether the rate of growth is asked
    """

    wanted: log_lines.Wanted | None
    period: float = 600.0
    most: int = 256 << 20
    archives: tuple[str, ...] = ()
    growth: bool = True


class Read(NamedTuple):
    """How far a piece was read: the offset, whether in an over-long line, bytes left, and whether all was read."""

    offset: int
    middle: bool
    left: int
    done: bool


def read(piece: Piece, counter: log_lines.Counter, most: int, final: bool, run: Run) -> Read:
    """Feed a piece's lines to a counter, at most `most` bytes, in blocks.

    final  nothing will be added to the file: a last line without its end is counted; otherwise it waits for its end
    Raises OSError and Failed.
    """
    source, offset, middle = piece.source, piece.offset, piece.middle
    size = None if source.packed else source.status.st_size
    end = offset + most if size is None else min(size, offset + most)
    carry = b""
    ended = size is not None and end == size
    while True:
        at = offset + len(carry)
        if at >= end or (run.left() <= 0 and at > piece.offset):
            break
        data = source.read(at, min(BLOCK, end - at), run)
        if not data:
            ended = True  # an archive's end, or a log cut while it is read: the next run sees to that
            break
        if middle:
            cut = data.find(b"\n") + 1
            if not cut:
                offset += len(data)
                continue
            offset, data, middle = offset + cut, data[cut:], False
        if carry:
            data = carry + data
        elif data[:1] == b"\0":
            # The zeros before what a writer without O_APPEND wrote after a truncation.
            offset, data = offset + len(data) - len(data.lstrip(b"\0")), data.lstrip(b"\0")
        cut = data.rfind(b"\n") + 1
        if cut:
            counter.feed(data if cut == len(data) else data[:cut], offset)
            offset += cut
            carry = data[cut:]
        elif len(data) >= LONG:
            counter.feed(_first(data), offset)
            offset += len(data)
            carry, middle = b"", True
        else:
            carry = data
    at = offset + len(carry)
    done = ended and (size is None or at >= size)
    if done and final and carry:
        counter.feed(carry + b"\n", offset)
        offset, carry = at, b""
    elif carry and at >= end and not done and len(carry) >= most:
        # The whole allowance went into one line: go on behind it, or it would be read again for ever.
        counter.feed(_first(carry), offset)
        offset, carry, middle = at, b"", True
    left = 0
    if not done:  # of an archive that is compressed nobody knows how much is in it
        left = max(1, size - at if size is not None else source.status.st_size)
    return Read(offset, middle, left, done)


def _first(line: bytes) -> bytes:
    return line[: log_lines.LINE].lstrip(b"\0") + b"\n"


def begin(source: Source, since: float, now: float, most: int, run: Run) -> tuple[int, str]:
    """Return from which offset a first run reads, and in words what that is.

    The first line not older than `since` (seconds since 1970) is found by bisection over the lines' times. Where lines
    carry no time, or more than `most` bytes are younger, the last `most` bytes are taken.
    """
    from nephoscope.probes import log_format

    size = source.status.st_size
    floor = low = max(0, size - most)
    high = size
    if not size:
        return 0, "is empty"
    names: tuple[str, ...] = log_format.NAMES

    def first(at: int, least: float | None) -> tuple[int | None, float | None]:
        """Return offset and time of the first line behind `at` with a time, and one not older than `least`."""
        place = at
        while place < min(size, at + 2 * BLOCK):
            data = source.read(place, BLOCK, run)
            start = 0 if place == 0 else data.find(b"\n") + 1
            if place and not start:
                place += BLOCK
                continue
            while True:
                end = data.find(b"\n", start)
                if end < 0:
                    break
                when = log_format.stamp(data[start : min(end, start + 200)], now, names)
                if when is not None and (least is None or when >= least):
                    return place + start, when
                start = end + 1
            place += max(start, 1)
            if len(data) < BLOCK:
                break
        return None, None

    sample = first(low, None)[1]
    if sample is None:
        return low, "the whole file, its lines carry no time" if not low else _only(most)
    if sample >= since:
        return low, "" if not low else _only(most)
    while high - low > BLOCK:
        middle = (low + high) // 2
        when = first(middle, None)[1]
        if when is None or when >= since:
            high = middle
        else:
            low = middle
    place = first(low, since)[0]
    if place is None:
        # No complete line is young enough; the last one may not be complete.
        data = source.read(max(floor, size - BLOCK), BLOCK, run)
        place = size - (len(data) - data.rfind(b"\n") - 1) if b"\n" in data else max(floor, size - BLOCK)
    return place, ""


def _only(most: int) -> str:
    return f"only the last {most >> 20} MiB" if most >= 1 << 20 else f"only the last {most} bytes"


def refused(path: str, error: OSError) -> Failed:
    """Return the Failed of a file that could not be opened; a missing right names the group that has it."""
    if not isinstance(error, PermissionError):
        return Failed.of_os_error(path, f"read {path}", error)
    import grp

    thing = path
    while True:
        try:
            status = os.stat(thing)
            break
        except OSError:
            thing = os.path.dirname(thing) or "/"
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    directory = stat.S_ISDIR(status.st_mode)
    needed = stat.S_IXGRP if directory else stat.S_IRGRP
    right = "rx" if directory else "r"
    cure = f"an ACL: setfacl -m u:nagios:{right} {thing}"
    if status.st_mode & needed and group != "root":
        cure = f"membership of group {group} (usermod -aG {group} nagios), or {cure}"
    return Failed(NOT_ALLOWED, path, f"read {path}", error.strerror or "Permission denied", cure)


def expand(run: Run, pattern: str) -> list[str]:
    """Return the files that a path with *, ? and [ ] in it names, sorted; archives of them are left out.

    So are a web server's access logs, which no service of ours writes, unless the pattern says "access".
    Raises Failed: not-allowed when a directory on the way can't be listed (glob would be silent), absent for none.
    """
    if not any(char in pattern for char in "*?["):
        return [pattern]
    found = [""]
    for part in pattern.strip("/").split("/"):
        if not any(char in part for char in "*?["):
            found = [f"{base}/{part}" for base in found]
            continue
        longer: list[str] = []
        for base in found:
            try:
                names = os.listdir(run.path(base or "/"))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise refused(base, error) from None
            hidden = part.startswith(".")
            longer += [f"{base}/{name}" for name in names if fnmatchcase(name, part) and (hidden or name[0] != ".")]
        found = longer
    files = []
    left_out = False
    kept = set(found)
    for path in sorted(found):
        if path.endswith(COMPRESSED) or _rotated(path, kept):
            continue
        if path.endswith(("access.log", "access_log")) and "access" not in os.path.basename(pattern):
            left_out = True
            continue
        try:
            if not stat.S_ISDIR(os.stat(run.path(path)).st_mode):
                files.append(path)
        except FileNotFoundError:
            continue
        except OSError:
            files.append(path)  # reading it says why not
    if not files:
        raise Failed(ABSENT, shown(pattern), "", "only access logs" if left_out else "no such file")
    if len(files) > FILES:
        raise Failed(UNREADABLE, shown(pattern), "", f"names {len(files)} files, more than {FILES}")
    return files


def shown(pattern: str) -> str:
    """Return a glob for people: `lo[g]`, which is a path that may be missing, as `log`."""
    import re

    return re.sub(r"\[([^]!])\]", r"\1", pattern)


def _rotated(path: str, among: Iterable[str]) -> bool:
    """Return whether a path is an archive of a log that is there itself."""
    match = NAME.search(path, path.rfind("/") + 1)
    while match:
        if match.end() == len(path):
            return path[: match.start()] in among
        match = NAME.search(path, match.start() + 1)
    return False


def look(
    run: Run, patterns: Sequence[str], asked: Asked, before: Any
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Read what is new in all the logs that `patterns` name.

    before  what this function returned last as state
    Returns facts (Log or Failed), the state {path: …}, and {request id: [path, …]} of this run.
    """
    known = before if isinstance(before, dict) else {}
    results: list[Any] = []
    nothing: list[Failed] = []
    paths: dict[str, None] = {}
    state: dict[str, Any] = {}
    hung = _hung(run, patterns, asked.archives)
    now = run.clock.time()
    for pattern in patterns:
        of_it = [path for path in known if path == pattern or fnmatchcase(path, pattern)]
        if pattern in hung:
            results.append(hung[pattern])
            state.update((path, known[path]) for path in of_it)
            continue
        try:
            for path in expand(run, pattern):
                paths[path] = None
        except Failed as failed:
            (nothing if failed.kind == ABSENT else results).append(failed)
            if failed.kind != ABSENT:
                state.update((path, known[path]) for path in of_it)
        if any(char in pattern for char in "*?["):
            # A log that a glob named lately and names no more is missing, not forgotten.
            for path in of_it:
                # It is told for one period, and once at least, however rare the runs are.
                kept = known[path] if isinstance(known[path], dict) else {"told": True}
                if not kept.get("told") or now - number(kept.get("seen")) <= asked.period:
                    paths[path] = None
    # Of several globs some may match nothing, which is said; that none matches anything is a finding.
    if paths and nothing:
        results.append(Unmatched(", ".join(failed.of for failed in nothing)))
    elif len(nothing) > 1:
        error = f"none of {len(nothing)} log patterns matches a file: {', '.join(failed.of for failed in nothing)}"
        results.append(Failed(ABSENT, "", "", error))
    else:
        results += nothing
    requests: dict[str, list[str]] = {}
    left = asked.most
    wanted = [path for path in paths if run.wants(path)]
    for index, path in enumerate(wanted):
        kept = known.get(path) if isinstance(known.get(path), dict) else None
        share = max(BLOCK, left // (len(wanted) - index))
        follower = Follower(run, path, asked, kept or {})
        run.stage(f"read what is new in {path}")
        try:
            results.append(follower.result(share))
        except Failed as failed:
            results.append(Failed(failed.kind, path, failed.tried, failed.error, failed.cure))
        except OSError as error:
            results.append(refused(path, error))
            follower.state["told"] = isinstance(error, FileNotFoundError)
        left = max(0, left - follower.used)
        state[path] = follower.state
        for request in follower.requests:
            requests.setdefault(request, []).append(path)
    return results, state, requests


def _hung(run: Run, patterns: Sequence[str], folders: Sequence[str]) -> dict[str, Failed]:
    """Return the patterns that a dead file server makes hang, each with its Failed.

    Where any network file system is mounted the files are first listed, opened and read from in a child that can be
    abandoned. A server that dies between that and our own reading still hangs us; the frame's thread then answers.
    """
    from nephoscope.base import files

    try:
        kinds = [
            line.partition(b" - ")[2].split(b" ")[0] for line in files.data(run, MOUNTINFO, limit=16 << 20).split(b"\n")
        ]
    except Failed:
        kinds = list(REMOTE[:1])  # not told: as if there were one
    if run.left() <= 0 or not any(kind.startswith(REMOTE) for kind in kinds):
        return {}
    import contextlib

    from nephoscope.base import child

    def touch(pattern: str) -> None:
        # What goes wrong here is told when it is read: it answered.
        with contextlib.suppress(Failed):
            for path in expand(run, pattern):
                if run.wants(path):
                    with contextlib.suppress(OSError):
                        os.listdir(os.path.dirname(run.path(path)))  # where its archives are
                        source = Source(run.path(path))
                        os.pread(source.fileno(), 1, max(0, source.status.st_size - 1))
                        source.close()
        for folder in folders:
            with contextlib.suppress(OSError):
                os.listdir(run.path(folder))

    jobs = {pattern: (lambda pattern=pattern: touch(pattern)) for pattern in dict.fromkeys(patterns)}
    answers = child.each(run, jobs, tried="list and open logs", seconds=4)
    return {pattern: answer for pattern, answer in answers.items() if isinstance(answer, Failed)}


def absolute(text: str) -> str:
    """Return a path that is absolute: a scheduler's working directory is nobody's. Raises ValueError."""
    if not text.startswith("/"):
        raise ValueError(f"'{text}' is not an absolute path")
    return text


def survey(options: Any, run: Run) -> Logs:
    """Read all that the options of check_log name: files, units of the journal, the kernel's messages.

    Raises Failed when they name nothing.
    """
    from nephoscope.probes.log_format import CRITICAL, DEBUG, ERROR, WARNING

    units = (*(("kernel",) if options.kernel else ()), *options.journal)
    if options.journal_file and not units:
        units = ("all",)
    if not options.file and not units:
        raise Failed(UNREADABLE, "", "", "nothing to look at: give --file, --journal, --kernel or --preset")
    counting = COUNTING & set(options.mode)
    levels: tuple[str, ...] = ()
    if not options.only_patterns:
        levels = (CRITICAL, ERROR, WARNING) if {"errors", "correlate"} & set(options.mode) else ()
        levels += (DEBUG,) if "debug" in options.mode else ()
    patterns = [(text, CRITICAL) for text in options.critical_pattern] + [(text, ERROR) for text in options.pattern]
    wanted = log_lines.Wanted(
        levels,
        tuple(patterns),
        tuple(options.ignore),
        "correlate" in options.mode,
        "" if options.line_format == "auto" else options.line_format,
    )
    asked = Asked(
        wanted if counting else None, options.period, options.max_read, options.archive_dir, "growth" in options.mode
    )
    before = run.before if isinstance(run.before, dict) else {}
    logs, files, seen = look(run, options.file, asked, before.get("files"))
    state: dict[str, Any] = {"files": files}
    if units:
        from nephoscope.probes import journal

        more, state["journal"], ids = journal.look(run, units, options.journal_file, asked, before.get("journal"))
        logs += more
        for request, where in ids.items():
            seen.setdefault(request, []).extend(where)
    if "correlate" in options.mode:
        state["requests"] = log_window.remember(before.get("requests"), run.clock.time(), seen, options.period)
    requests = {name: entry[1] for name, entry in state.get("requests", {}).items()}
    return Logs(tuple(logs), requests, state)


def number(value: Any) -> float:
    """Return a kept value as a number, 0 for what is none."""
    return float(value) if isinstance(value, (int, float)) else 0.0


class Follower:
    """One log in one run. `state` is what to keep, also when it could not be read; `used` the bytes that were read."""

    def __init__(self, run: Run, path: str, asked: Asked, before: dict[str, Any]) -> None:
        self.run, self.path, self.asked, self.before = run, path, asked, before
        self.state = dict(before)
        self.used = 0
        self.requests: set[str] = set()
        self.broken = ""
        self.now = run.clock.time()
        kept = before.get("marks")
        self.marks = [known for known in map(Mark.of, kept if isinstance(kept, list) else ()) if known]

    def result(self, share: int) -> Log:
        """Return the facts, having read at most `share` bytes. Raises Failed and OSError."""
        seen = number(self.before.get("seen"))
        others = [self.run.path(name) for name in self.asked.archives]
        made = plan(self.run.path(self.path), self.marks, seen, others, self.run)
        try:
            return self._read(made, share, seen)
        finally:
            for piece in made.pieces:
                piece.source.close()

    def _read(self, made: Plan, share: int, seen: float) -> Log:
        wanted = self.asked.wanted
        formats = self.before.get("formats")
        counter = log_lines.Counter(wanted or log_lines.Wanted(levels=()), formats if isinstance(formats, list) else ())
        notes: list[str] = []
        pieces = made.pieces
        first = not self.marks
        if first:
            source = pieces[0].source
            most = min(FIRST, self.asked.most)
            text = ""
            if wanted:
                offset, text = begin(source, self.now - self.asked.period, self.now, most, self.run)
                text = text or f"the lines of the last {span(self.asked.period)}"
                notes.append(f"first look: {text}")
            else:
                offset = source.status.st_size
            pieces = [Piece(source, offset, self._within(source, offset), None)]
            if wanted and not offset and not text.startswith("the whole"):
                earlier = self._earlier(source, most, notes)
                made.pieces.extend(earlier)  # they are closed with it
                pieces = [*earlier, *pieces]
        marks, behind, grew = self._pieces(pieces, made.current, counter, share, bool(wanted))
        fresh = [(offset, line) for offset, line in counter.samples]
        age, last = self._age(made, grew)
        size = made.current.status.st_size if made.current else None
        count = int(number(self.before.get("bytes"))) + self.used
        total = int(number(self.before.get("total"))) + grew
        growth: Any = None
        rates = self.before.get("growth")
        if self.asked.growth:
            from nephoscope.base import samples

            history = samples.take(
                self.run, {"total": float(total)}, span=max(60.0, self.asked.period / 2), before=rates or []
            )
            growth, rates = history.rate("total"), history.keep()
        gap = self.broken or made.gap
        counts = {**counter.counts, "gap": int(bool(gap))}
        window = log_window.add(self.before.get("window"), self.now, counts, self.asked.period)
        if not gap and log_window.total(window, "gap"):
            gap = "within the period a file was gone before it had been read"
        lines = int(number(self.before.get("lines"))) + counter.lines
        looked = lines > 0 and wanted is not None
        # The formats met stay known for ever: a service that was set to write JSON would be silent and well.
        old = self.before.get("foreign")
        at, strange = (number(value) for value in old) if isinstance(old, list) and len(old) == 2 else (self.now, 0.0)
        known = counter.known or any(counter.counts.values())
        at, strange = (self.now, 0.0) if known or not looked else (min(at, self.now), strange + counter.lines)
        foreign = self.now - at > FOREIGN[0] and strange >= FOREIGN[1]
        kept = [list(mark_) for mark_ in marks]
        self.requests = counter.requests
        texts, quoted = self._quotes(fresh, made)
        self.state = {
            "marks": kept, "seen": self.now, "lines": lines, "bytes": count, "total": total, "window": window,
            "formats": counter.formats, "growth": rates, "written": last, "quotes": quoted,
            "foreign": [at, strange],
        }  # fmt: skip
        return Log(
            self.path,
            {level: log_window.total(window, level) for level in counter.counts},
            lines, count, age, size, growth, behind,
            counter.levelled and not foreign if looked else None,
            counter.traced, gap, tuple(notes), texts,
            None if first else max(0.0, self.now - seen),
            made.current is None,
        )  # fmt: skip

    def _earlier(self, current: Source, most: int, notes: list[str]) -> list[Piece]:
        """Return the part of the newest archive that is within the period, for a first run soon after a rotation."""
        since = self.now - self.asked.period
        names = archives(self.run.path(self.path), map(self.run.path, self.asked.archives))[-1:]
        for name in names:
            try:
                if written(name) <= since:
                    continue
                if name.endswith(COMPRESSED):
                    notes.append(f"first look: {os.path.basename(name)} is compressed and was not looked at")
                    continue
                source = Source(name)
            except OSError:
                continue
            if source.same != current.same:
                offset = begin(source, since, self.now, most, self.run)[0]
                return [Piece(source, offset, self._within(source, offset), None)]
            source.close()
        return []

    def _within(self, source: Source, offset: int) -> bool:
        """Return whether an offset lies within a line."""
        return offset > 0 and source.read(offset - 1, 1, self.run) != b"\n"

    def _pieces(
        self, pieces: Sequence[Piece], current: Source | None, counter: log_lines.Counter, share: int, counts: bool
    ) -> tuple[list[Mark], int, int]:
        """Read the pieces in order; return the new marks, the bytes not reached, and the bytes that were new."""
        marks: list[tuple[Mark, bool]] = []
        behind = grew = 0
        for index, piece in enumerate(pieces):
            source = piece.source
            if index and counts and (behind or self.used >= share):
                # The allowance is used up. Marks stay as they are; what has none is found as newer than those.
                behind += max(0, source.status.st_size - piece.offset)
                if piece.known:
                    marks.append((piece.known, True))
                continue
            grown = piece.known.grown if piece.known else self.now
            stale = source is not current and self.now - grown > HOLD
            final = source is not current and (bool(source.packed) or stale)
            if counts:
                part = piece if piece.offset else piece._replace(offset=source.data(0))
                try:
                    done = read(part, counter, max(0, share - self.used), final, self.run)
                except Failed as failed:
                    if not source.packed or failed.kind != UNREADABLE:
                        raise
                    self.broken = f"{source.path} can't be unpacked: {failed.error}"
                    continue
                got = done.offset - part.offset
                self.used += got
            else:
                end = piece.offset if source.packed else source.status.st_size
                done, got = Read(end, False, 0, True), max(0, end - piece.offset)
            grew += got + done.left
            behind += done.left
            grown = self.now if got else grown
            marks.append((mark(source, done.offset, done.middle, grown, self.run), not (done.done and final)))
        if not marks:
            return self.marks, behind, grew
        kept = [known for known, keep in marks[:-1] if keep]
        return [*kept[-5:], marks[-1][0]], behind, grew

    def _age(self, made: Plan, grew: int) -> tuple[float | None, float]:
        """Return the seconds since the log was last written, and when that was.

        A file that rotation has just made or cut has a new time though nothing was written: then the time at which the log
        last had content counts, from the last run or from its newest archive.
        """
        last = number(self.before.get("written"))
        if made.current and made.current.status.st_size:
            last = made.current.status.st_mtime
        elif grew or not last:
            rotated = archives(self.run.path(self.path), ())
            times = [written(name) for name in rotated[-1:]]
            if not times and made.current:
                times = [made.current.status.st_mtime]
            last = max([last, *times])
        age = self.now - last
        if -60 < age < 0:
            age = 0.0  # the clock of a file server; farther in the future it is told as it is
        return (age if last else None), last

    def _quotes(self, fresh: Sequence[tuple[int, bytes]], made: Plan) -> tuple[tuple[str, ...], list[Any]]:
        """Return lines to show and where they stand. Lines are not kept: those of earlier runs are read again."""
        import zlib

        texts = [log_lines.masked(line) for _, line in fresh]
        where: list[Any] = []
        for offset, line in fresh:
            for piece in made.pieces:
                if not piece.source.packed and piece.source.read(offset, min(64, len(line)), self.run) == line[:64]:
                    where.append([*piece.source.same, offset, zlib.crc32(line[:64]), self.now])
                    break
        quotes = self.before.get("quotes")
        for entry in quotes if isinstance(quotes, list) else ():
            try:
                device, inode, offset, check, at = entry
                if self.now - float(at) > self.asked.period or len(texts) >= log_lines.SAMPLES:
                    continue
                for piece in made.pieces:
                    if piece.source.same == (device, inode):
                        line = piece.source.read(int(offset), 1000, self.run).partition(b"\n")[0]
                        if zlib.crc32(line[:64]) == check:
                            texts.append(log_lines.masked(line))
                            where.append(list(entry))
            except (TypeError, ValueError, OSError, Failed):
                continue
        return tuple(texts), where


def span(seconds: float) -> str:
    """Return a duration in words."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
