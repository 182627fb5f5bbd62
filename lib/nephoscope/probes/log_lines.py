# SPDX-License-Identifier: Apache-2.0
"""Counting the lines that matter in blocks of a log, cheaply and exactly.

Each block is first searched for a few fixed bytes (about 1.2 instructions a byte for each); only a line that has one is
looked at properly, so a message that merely *says* " ERROR " does not count. Patterns are led by the longest fixed piece
of their text in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from nephoscope.probes import log_format
from nephoscope.probes.log_format import CRITICAL, DEBUG, ERROR, WARNING

LINE = 8192  # bytes of a line that patterns see: Python's re knows no time limit
HEADER = 200  # bytes from a line's beginning in which its level stands
SAMPLES = 3  # lines remembered of one reading, unlike each other
LOOKED_AT = 100  # lines compared for that, at most
REQUESTS = 500  # ids remembered of one reading


def regex(text: str) -> str:
    """Return `text` when it is a regular expression that is safe to run on foreign lines.

    Raises ValueError when it does not compile, matches the empty line, or has a repetition inside an unbounded
    repetition ("(a+)+"), which can take longer than the age of the universe on one line.
    """
    try:
        found = re.compile(text.encode())
        tree = _parse(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if found.search(b""):
        raise ValueError("matches every line")
    if _nested(tree, False):
        raise ValueError("has a repetition inside a repetition, which may never end; write it without")
    return text


def _parse(text: str) -> Any:
    try:
        from re import _parser as parser  # type: ignore[attr-defined]  # 3.11 and newer
    except ImportError:
        import sre_parse as parser
    return parser.parse(text.encode())


def _nested(tree: Any, inside: bool) -> bool:
    """Return whether an unbounded repetition stands inside an unbounded repetition."""
    for operation, argument in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            unbounded = int(argument[1]) > 100
            if (unbounded and inside) or _nested(argument[2], inside or unbounded):
                return True
        elif name == "BRANCH":
            if any(_nested(branch, inside) for branch in argument[1]):
                return True
        elif name == "SUBPATTERN" and _nested(argument[3], inside):
            return True
    return False


def fixed(text: str) -> bytes:
    """Return the longest run of bytes that every match of a regular expression holds, b"" when there is none."""
    best, now = b"", b""
    tree = _parse(text)
    if tree.state.flags & re.IGNORECASE:
        return b""
    for operation, argument in tree:
        if str(operation) == "LITERAL":
            now += bytes((argument,))
            best = max(best, now, key=len)
        else:
            now = b""
    return best if len(best) > 2 and b"\n" not in best else b""


class Wanted(NamedTuple):
    """What to count.

    levels    the suite's words of the levels whose lines count; empty: only patterns count
    patterns  (regular expression, level under which a match counts), checked by `regex`
    ignore    regular expressions; a line that matches one never counts
    requests  whether the request ids of errors are gathered
    form      the lines' format when it is known (log_format.NAMES), "" to find it out
    """

    levels: tuple[str, ...] = (CRITICAL, ERROR, WARNING, DEBUG)
    patterns: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()
    requests: bool = False
    form: str = ""


class Counter:
    """Counts of one log, block by block.

    lines     complete lines seen
    counts    {level: lines}; lines of a traceback belong to the record that they follow and do not count
    formats   names of the line formats met
    samples   [(offset, line)] of errors, unlike each other
    requests  ids of requests that had an error
    known     whether a line of a format that is understood was met by this counter (formats may be those of earlier ones)
    """

    def __init__(self, wanted: Wanted, formats: Iterable[str] = ()) -> None:
        self.wanted = wanted
        self.lines = 0
        self.counts = dict.fromkeys((CRITICAL, ERROR, WARNING, DEBUG), 0)
        self.formats = [wanted.form] if wanted.form else [name for name in formats if name in log_format.NAMES]
        self.samples: list[tuple[int, bytes]] = []
        self.requests: set[str] = set()
        self.known = bool(wanted.form)
        self._alike: set[int] = set()
        self._looked = 0
        self._last = b""
        self._first = True
        self._forms: list[log_format.Format] = []
        self._marks: list[bytes] = []
        self._patterns = [(re.compile(text.encode()), fixed(text), level) for text, level in wanted.patterns]
        self._ignore = [re.compile(text.encode()) for text in wanted.ignore]
        self._prepare()

    def _prepare(self) -> None:
        self._forms = [log_format.get(name) for name in self.formats]
        marks = {mark for form in self._forms for mark, level in form.marks.items() if level in self.wanted.levels}
        # A mark that holds another one would find the same lines twice.
        self._marks = sorted(mark for mark in marks if not any(other in mark for other in marks if other != mark))

    @property
    def levelled(self) -> bool:
        """Whether lines met so far carry a level."""
        return any(form.marks for form in self._forms)

    @property
    def traced(self) -> bool:
        """Whether lines met so far may carry a request id."""
        return any(form.request for form in self._forms)

    def feed(self, block: bytes, at: int = 0) -> None:
        """Count the lines of a block that begins and ends at line ends; `at` is its offset in the log."""
        self.lines += block.count(b"\n")
        if not self.wanted.form and (self._first or not self.formats):
            self._learn(block)
        self._first = False
        for mark in self._marks:
            self._marked(block, at, mark)
        if self._patterns:
            self._matched(block, at)
        start = block.rfind(b"\n", 0, len(block) - 1) + 1
        self._last = block[start : start + 80]

    def _learn(self, block: bytes) -> None:
        """Look at lines all over a block for formats not met before."""
        met = list(self.formats)
        step = max(1, len(block) // 16)
        for place in range(0, len(block), step):
            start = block.rfind(b"\n", 0, place) + 1
            for _ in range(4):
                end = block.find(b"\n", start)
                line = block[start : end if end >= 0 else len(block)][:LINE]
                if line.strip() and (line[:1] not in (b" ", b"\t") or line.startswith(b"  ERR-")):
                    name = log_format.recognise(line, tuple(met))
                    self.known = self.known or bool(name)
                    if name and name not in met:
                        met.append(name)
                if end < 0:
                    break
                start = end + 1
        if met != self.formats:
            # The order of NAMES goes from the particular to the general.
            self.formats = sorted(met, key=log_format.NAMES.index)
            self._prepare()

    def _header(self, block: bytes, start: int) -> tuple[log_format.Format, re.Match[bytes]] | None:
        for form in self._forms:
            match = form.header.match(block, start)
            if match:
                return form, match
        return None

    def _weigh(self, block: bytes, start: int, mark: int | None = None) -> str:
        """Return the level of the record that begins at `start`, "" for what is none or does not count.

        mark  the offset that the level field must cover
        """
        found = self._header(block, start)
        if found is None or not found[0].marks:
            return ""
        form, match = found
        if mark is not None and not mark <= match.start("level") <= mark + 1:
            return ""
        if form.name.startswith("oslo"):
            if match.group("context") is None and self._follows(block, start, match.start("level")):
                return ""
        elif form.name == "euca-fault":
            from nephoscope.probes.euca_log import OFTEN_INTENDED

            return ERROR if match.group("id") in OFTEN_INTENDED else CRITICAL
        return form.level(match)

    def _follows(self, block: bytes, start: int, end: int) -> bool:
        """Return whether the line before has the same time and process: then this one is of its traceback."""
        prefix = block[start:end]
        if start == 0:
            return self._last.startswith(prefix)
        return block.startswith(prefix, block.rfind(b"\n", 0, start - 1) + 1)

    def _marked(self, block: bytes, at: int, mark: bytes) -> None:
        """Count the lines whose level field is where the mark was found.

        Splitting and partitioning cost a tenth of find and rfind for each hit (those parse their arguments).
        """
        levels, counts = self.wanted.levels, self.counts
        oslo = next((form for form in self._forms if form.name == "oslo" and mark in form.marks), None)
        window = 48 if self._forms == [oslo] else HEADER
        pieces = block.split(mark)
        place = -len(mark)
        for number in range(len(pieces) - 1):
            piece = pieces[number]
            place += len(piece) + len(mark)
            _, newline, head = piece[-window:].rpartition(b"\n")
            if not newline and (number or len(piece) > window):
                continue  # too far from its line's beginning, or behind another mark of its line: part of a message
            # 2026-11-21 10:00:00.123 4711, and the mark " ERROR "
            if oslo and 25 <= len(head) <= 34 and head[10] == head[23] == 32 and head[13] == 58 and head[24:].isdigit():
                level = oslo.marks[mark]
                start = place - len(head)
                context = pieces[number + 1][:100].partition(b" ")[2]
                # A following " ERROR " may have cut the piece off: then the slower look decides.
                if context[:1] != b"[" or context[:10] == b"[instance:":
                    level = self._weigh(block, start, place)
            else:
                start = place - len(head)
                level = self._weigh(block, start, place)
            if level in levels and not (self._ignore and self._ignored(block, start, block.find(b"\n", start))):
                counts[level] += 1
                if level in (ERROR, CRITICAL):
                    self._note(block, at, start, pieces[number + 1])

    def _ignored(self, block: bytes, start: int, end: int) -> bool:
        line = block[start : min(end, start + LINE) if end >= 0 else start + LINE]
        return any(pattern.search(line) for pattern in self._ignore)

    def _matched(self, block: bytes, at: int) -> None:
        """Count the lines that match a pattern, once each, unless their level has counted them already."""
        counted: set[int] = set()
        for pattern, piece, level in self._patterns:
            start = 0
            while start < len(block):
                if piece:
                    place = block.find(piece, start)
                    if place < 0:
                        break
                    start = block.rfind(b"\n", 0, place) + 1
                end = block.find(b"\n", start)
                end = len(block) if end < 0 else end
                if start not in counted and pattern.search(block[start : min(end, start + LINE)]):
                    counted.add(start)
                    own = self._weigh(block, start) if self.wanted.levels else ""
                    already = own in self.wanted.levels and own in (CRITICAL, level)
                    if not already and not (self._ignore and self._ignored(block, start, end)):
                        self.counts[level] += 1
                        if own in self.wanted.levels and own in self.counts:
                            self.counts[own] -= 1  # it moves to the pattern's level
                        self._note(block, at, start, block[start : start + 300].partition(b"\n")[0])
                start = end + 1

    def _note(self, block: bytes, at: int, start: int, rest: bytes) -> None:
        """Remember the request and, while few are known, the line; `rest` is what follows the level."""
        if self.wanted.requests and len(self.requests) < REQUESTS:
            if self._forms[:1] and self._forms[0].name == "oslo":
                request = rest[:160].partition(b"req-")[2][:36]
                if len(request) == 36:
                    self.requests.add("req-" + request.decode("ascii", "replace"))
            else:
                self._trace(block[start : start + 600].partition(b"\n")[0])
        if len(self.samples) < SAMPLES and self._looked < LOOKED_AT:
            self._looked += 1
            line = block[start : start + 1000].partition(b"\n")[0]
            alike = signature(line)
            if alike not in self._alike:
                self._alike.add(alike)
                self.samples.append((at + start, line))

    def _trace(self, line: bytes) -> None:
        for form in self._forms:
            found = form.request.search(line) if form.request else None
            if found:
                self.requests.add(found.group().decode("ascii", "replace"))
                return


def signature(line: bytes) -> int:
    """Return a number that is the same for lines that differ only in numbers, times and ids."""
    import zlib

    return zlib.crc32(re.sub(rb"[0-9a-fA-F-]*\d[0-9a-fA-F:.-]*", b"#", line[:600]))


_SECRET: re.Pattern[str] | None = None


def masked(line: bytes, most: int = 240) -> str:
    """Return a line fit for people: decoded, control characters blanked, what looks like a secret masked, cut.

    Of oslo's context (ids of request, user, project, domains) only the request's stays, or the message would be cut off.
    """
    global _SECRET
    if _SECRET is None:
        word = r"passw(?:or)?d|passphrase|token|secret|api[_-]?key|access[_-]?key|private[_-]?key|credential|signature|cookie"
        _SECRET = re.compile(
            # Each begins at a word's beginning alone, and looks ahead for its key once (what was looked ahead is not gone back
            # into): tried from every letter and for every key in it, a line of one word takes the cube of its length.
            # name = value, name: value, "name": "value", u'name': u'value', --name value, <name>value, name 'value'
            rf"(?i)((?<![\w.-])(?=[\w.-]*(?:{word}))[\w.-]+"
            r"[\"']?(?:\s*(?:=>|[=:>])\s*|(?<=[\"'])\s*,\s*|\s+(?=[\"'])))"
            r"(u?[\"'][^\"']*[\"']?|(?:bearer |basic )?[^\s,;&<\"']+)"
            r"|(authorization[\"']?\s*[:=]\s*[\"']?)([^\"'\n]+)"
            r"|((?<!\w)\w+://[^\s/:@]*:)([^\s@]+)(?=@)"
            r"|()(\bgAAAAA[\w-]{20,}=*)"  # a Fernet token of Keystone, wherever it stands
            r"|((?<![\w-])(?=[\w-]*--)[\w-]+(?:(?<=passwd)|(?<=password)|(?<=token)|(?<=secret)|(?<=key))\s+)(\S+)"
        )
    text = line[:4000].decode("utf-8", "replace")
    text = re.sub(r"\[(?:None |- )?(req-[0-9a-f-]{36})[^\]]*\]", r"[\1]", text, count=1)
    text = "".join(char if char.isprintable() else " " for char in text).strip()
    text = _SECRET.sub(lambda match: (match.group(match.lastindex - 1) if match.lastindex else "") + "***", text)
    return text if len(text) <= most else text[: most - 1] + "…"
