# SPDX-License-Identifier: Apache-2.0
"""Which files to read to see every new byte of a log once, through rotation.

What is remembered of a log is a mark: device, inode, offset, and checksums of its first 256 bytes and of the last 64 before
the offset. An inode may be reused and a file cut and grown again: only a file that fits the mark in all of these is the same.
logrotate's ways (man logrotate): rename with or without a compression that comes a turn later, copy and truncate, numbers or
dates as extensions.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from nephoscope.base import LATE, UNREADABLE, Failed, Run

BLOCK = 256 << 10  # bytes read at once
ARCHIVES = 200  # archives of one log that are considered
HEAD, TAIL = 256, 64

PACKED = (".gz", ".xz", ".bz2")  # what can be unpacked here
COMPRESSED = (*PACKED, ".zst", ".lz4", ".Z", ".zip")
NAME = re.compile(r"[.-](?:\d[\d._:T+-]*|old)")  # between a log's name and the ending of its compression
# What logrotate calls a log that its writer made before logrotate's `create` could (createOutputFile in logrotate.c,
# seen with 3.21): NAME-YYYYMMDDHH.backup. Its place is in no order of names.
STRAY = re.compile(r"-\d{10}\.backup")
CLOCK = 0.01  # seconds: a file's time is that of the kernel's last tick


class Source:
    """An open log or archive, read by offset; an archive that is compressed is read forward only, as it unpacks."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.packed = next((ending for ending in PACKED if path.endswith(ending)), "")
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        self.status = os.fstat(self._descriptor)  # of what was opened, whatever the name means by now
        self._stream: Any = None
        self._at = 0

    @property
    def same(self) -> tuple[int, int]:
        """Device and inode."""
        return self.status.st_dev, self.status.st_ino

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def read(self, at: int, most: int, run: Run) -> bytes:
        """Return up to `most` bytes from offset `at`, fewer only at the end.

        Raises Failed: late when the deadline comes while unpacking, unreadable for a damaged archive. Raises OSError.
        """
        if not self.packed:
            parts = []
            while most > 0:
                part = os.pread(self._descriptor, most, at)
                if not part:
                    break
                parts.append(part)
                at, most = at + len(part), most - len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        import zlib

        try:
            if self._stream is None or at < self._at:
                self._open()
            while self._at < at:
                if run.left() <= 0:
                    raise Failed(LATE, self.path, f"unpack {self.path}", "the deadline came before the offset")
                part = self._stream.read(min(BLOCK, at - self._at))
                if not part:
                    return b""
                self._at += len(part)
            data: bytes = self._stream.read(most)
            self._at += len(data)
            return data
        except (EOFError, zlib.error, ValueError) as error:
            raise Failed(UNREADABLE, self.path, f"unpack {self.path}", str(error)) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise Failed(UNREADABLE, self.path, f"unpack {self.path}", str(error)) from None

    def _open(self) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        raw = os.fdopen(os.dup(self._descriptor), "rb")
        if self.packed == ".gz":
            import gzip

            self._stream = gzip.GzipFile(fileobj=raw)
        elif self.packed == ".bz2":
            import bz2

            self._stream = bz2.BZ2File(raw)
        else:
            import lzma

            self._stream = lzma.LZMAFile(raw)  # noqa: SIM115 - closed by close()
        self._at = 0

    def data(self, at: int) -> int:
        """Return the offset of the first data from `at`: a writer without O_APPEND leaves a hole after a truncation."""
        if self.packed or self.status.st_blocks * 512 >= self.status.st_size:
            return at
        try:
            return os.lseek(self._descriptor, at, os.SEEK_DATA)
        except OSError:
            return at

    def close(self) -> None:
        """Close it."""
        if self._stream is not None:
            self._stream.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Mark(NamedTuple):
    """How far a file has been read, and by what it is known again.

    middle  the offset is within an over-long line that has been counted
    grown   seconds since 1970 when it was last seen to have grown
    """

    device: int
    inode: int
    offset: int
    middle: bool
    grown: float
    head: tuple[int, str] = (0, "")
    tail: tuple[int, str] = (0, "")

    @classmethod
    def of(cls, plain: Any) -> Mark | None:
        """Return the mark that `list(mark)` made, None for what is damaged or foreign."""
        try:
            device, inode, offset, middle, grown, head, tail = plain
            mark = cls(
                int(device), int(inode), int(offset), bool(middle), float(grown),
                (int(head[0]), str(head[1])), (int(tail[0]), str(tail[1])),
            )  # fmt: skip
        except (TypeError, ValueError, IndexError):
            return None
        if mark.offset < 0 or not 0 <= mark.head[0] <= HEAD or not 0 <= mark.tail[0] <= min(TAIL, mark.offset):
            return None
        return mark


def _sum(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()[:20]


def mark(source: Source, offset: int, middle: bool, grown: float, run: Run) -> Mark:
    """Return the mark of a file that has been read up to `offset`."""
    head = source.read(0, HEAD, run)
    tail = source.read(max(0, offset - TAIL), min(TAIL, offset), run)
    return Mark(*source.same, offset, middle, grown, (len(head), _sum(head)), (len(tail), _sum(tail)))


def fits(source: Source, known: Mark, run: Run) -> bool:
    """Return whether a file begins as the marked one and holds the same bytes before the mark."""
    if not source.packed and source.status.st_size < known.offset:
        return False
    head = source.read(0, known.head[0], run)
    if len(head) != known.head[0] or _sum(head) != known.head[1]:
        return False
    tail = source.read(known.offset - known.tail[0], known.tail[0], run)
    return len(tail) == known.tail[0] and _sum(tail) == known.tail[1]


def archives(path: str, others: Iterable[str]) -> list[str]:
    """Return the paths of a log's rotated files, oldest first.

    By name where all have numbers (the higher the older) or all have dates, else by the time they were last written. Of a
    file and its compressed copy, which stand beside each other while logrotate compresses, only the first is taken. Strays
    come first.
    """
    folder, base = os.path.split(os.path.realpath(path))
    stem, dot, ending = base.rpartition(".")
    found: dict[str, tuple[str, str]] = {}
    strays = []
    for directory in dict.fromkeys((folder, *others)):
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            packed = next((end for end in COMPRESSED if name.endswith(end)), "")
            plain = name[: len(name) - len(packed)]
            if plain.startswith(base) and plain != base:
                rest = plain[len(base) :]
            elif stem and plain.startswith(stem) and plain.endswith(dot + ending):
                rest = plain[len(stem) : -len(ending) - 1]  # logrotate's `extension`: nova.1.log, nova.1.log.gz
            else:
                continue
            if STRAY.fullmatch(rest):
                strays.append(os.path.join(directory, name))
            elif NAME.fullmatch(rest):
                key = rest[1:]
                if not packed or key not in found:
                    found[key] = (key, os.path.join(directory, name))
    entries = list(found.values())
    if all(key.isdigit() and len(key) < 6 for key, _ in entries):
        entries.sort(key=lambda entry: -int(entry[0]))
    elif all(len(key) >= 6 and key[0].isdigit() for key, _ in entries):
        entries.sort()
    else:
        entries.sort(key=lambda entry: written(entry[1]))
    return [*sorted(strays)[-ARCHIVES:], *([path for _, path in entries][-ARCHIVES:])]


def written(path: str) -> float:
    """Return when a file was last written, seconds since 1970; 0 when it is gone."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


class Piece(NamedTuple):
    """A part to read: from `offset` of a source to its end. `known` is its mark, None for one not seen before."""

    source: Source
    offset: int
    middle: bool
    known: Mark | None


class Plan(NamedTuple):
    """The pieces to read, oldest first, the last one the current file (None while there is none); what is missing."""

    pieces: list[Piece]
    current: Source | None
    gap: str


class _Moved(Exception):
    """A file was renamed or removed between listing and opening: look again."""


def plan(path: str, marks: Sequence[Mark], seen: float, others: Iterable[str], run: Run) -> Plan:
    """Return what to read of a log since its marks (oldest first, the last one its file at the last run).

    seen  seconds since 1970 of the last run
    Raises OSError (not ENOENT, when there is a mark) and Failed.
    """
    for _ in range(5):
        opened: list[Source] = []
        try:
            return _plan(path, marks, seen, others, run, opened)
        except _Moved:
            for source in opened:
                source.close()
        except BaseException:
            for source in opened:
                source.close()
            raise
    raise Failed(UNREADABLE, path, f"read {path}", "its files were renamed faster than they could be opened")


def _plan(path: str, marks: Sequence[Mark], seen: float, others: Iterable[str], run: Run, opened: list[Source]) -> Plan:
    current: Source | None = None
    try:
        current = Source(path)
        opened.append(current)
        if not stat.S_ISREG(current.status.st_mode):
            raise Failed(UNREADABLE, path, f"read {path}", "is not a regular file")
    except FileNotFoundError:
        if not marks:
            raise
    if not marks:
        assert current  # noqa: S101 - for the type checker
        return Plan([Piece(current, 0, False, None)], current, "")
    last, older = marks[-1], list(marks[:-1])
    if current and current.same == (last.device, last.inode) and fits(current, last, run):
        pieces = [Piece(current, last.offset, last.middle, last)]
        last_found = True
        listed = archives(path, others) if older else []
    else:
        listed = archives(path, others)
        pieces, last_found = [], False
    sources: dict[str, Source] = {}

    def look(name: str) -> Source:
        if name not in sources:
            try:
                sources[name] = Source(name)
            except FileNotFoundError:
                raise _Moved from None
            opened.append(sources[name])
        return sources[name]

    gap = ""
    names = [name for name in listed if not name.endswith(COMPRESSED) or name.endswith(PACKED)]
    current_same = current.same if current else None
    if not last_found:
        name = _find(names, last, look, current_same, run)
        if name:
            source = look(name)
            offset = last.offset
            if not source.packed:
                offset = min(offset, source.status.st_size)  # a copy taken before lines that were read were cut off
            pieces.append(Piece(source, offset, last.middle, last))
            late = [other for other in names if other != name and written(other) > seen - CLOCK]
            if name.endswith(".backup"):
                newer = late
            else:
                newer = [other for other in late if other.endswith(".backup")] + names[names.index(name) + 1 :]
        else:
            gap = "the file that was read last time is gone, or its archive can't be read"
            newer = [name for name in names if written(name) > seen]
        for name in newer:
            source = look(name)
            if source.same != current_same and not any(
                source.same == (old.device, old.inode) and fits(source, old, run) for old in older
            ):
                pieces.append(Piece(source, 0, False, None))
        if current:
            pieces.append(Piece(current, 0, False, None))
    for old in reversed(older):
        name = _find(names, old, look, current_same, run)
        if name and not any(piece.source is look(name) for piece in pieces):
            pieces.insert(0, Piece(look(name), old.offset, old.middle, old))
    if not pieces:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    used = {id(piece.source) for piece in pieces}
    for source in opened:
        if id(source) not in used:
            source.close()
    return Plan(pieces, current, gap)


def _find(
    names: Sequence[str], known: Mark, look: Callable[[str], Source], current: tuple[int, int] | None, run: Run
) -> str:
    """Return the archive that holds the marked file: the same inode first, else a copy or a compressed one, or ""."""
    plain = [name for name in reversed(names) if not name.endswith(PACKED)]
    for name in plain:
        source = look(name)
        if source.same == (known.device, known.inode) and source.same != current and fits(source, known, run):
            return name
    if not known.head[0]:
        return ""  # nothing had been written: by content it could be any
    shorter = ""
    for name in reversed(names):
        source = look(name)
        if source.same == current:
            continue
        try:
            if fits(source, known, run):
                return name
            if not shorter and not source.packed and known.head[0] == HEAD:
                head = source.read(0, HEAD, run)
                if _sum(head) == known.head[1]:
                    shorter = name
        except Failed as failed:
            if failed.kind == LATE:
                raise
    return shorter
