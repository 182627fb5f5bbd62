# SPDX-License-Identifier: Apache-2.0
"""New entries of the systemd journal and of the kernel's ring buffer since the last run.

The journal is read by `journalctl -o json` (man journalctl, systemd.journal-fields): every value is a string, or a list of
byte values when it is not clean text. The run before left a cursor; it is asked for inclusively, so that an entry that
was vacuumed away in between is noticed. The ring is /dev/kmsg (kernel Documentation/ABI/testing/dev-kmsg): one record per
read, `priority,sequence,microseconds since boot,flags;text`, EPIPE when records were overwritten.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import log_lines, log_window, logfile
from nephoscope.probes.log_format import CRITICAL, DEBUG, ERROR, WARNING

KERNEL = "kernel"
ENTRIES = 20_000  # entries taken when there are too many for one run
LIMIT = 32 << 20  # bytes of journalctl's output
FIELDS = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER"
CURE = "membership of group systemd-journal or adm (usermod -aG systemd-journal nagios)"


class Entry(NamedTuple):
    """One entry: syslog priority 0 to 7 (None: not said), text, who said it, cursor, seconds since 1970."""

    priority: int | None
    message: bytes
    who: str
    cursor: str
    at: float = 0.0


def level(priority: int | None) -> str:
    """Return the suite's word for a syslog priority (man syslog): 0 to 2 critical, 3 error, 4 warning, 7 debug."""
    if priority is None:
        return ""
    return CRITICAL if priority <= 2 else {3: ERROR, 4: WARNING, 7: DEBUG}.get(priority, "")


def parse(text: str) -> list[Entry]:
    """Return the entries of `journalctl -o json`: one object a line.

    Raises Failed (unreadable) for a line that is no object.
    """
    import json

    entries = []
    for line in text.splitlines():
        if not line or line.startswith("-- "):
            continue
        try:
            fields = json.loads(line)
            message = fields.get("MESSAGE") or ""
            if isinstance(message, list):
                # Bytes that are no text; or several MESSAGE fields in one entry.
                whole = all(isinstance(part, int) for part in message)
                message = bytes(message) if whole else b" ".join(_bytes(part) for part in message)
            else:
                message = message.encode("utf-8", "replace")
            priority = fields.get("PRIORITY")
            number = int(priority) if isinstance(priority, str) and priority in "01234567" and priority else None
            who = fields.get("_SYSTEMD_UNIT") or fields.get("SYSLOG_IDENTIFIER") or ""
            entries.append(Entry(number, message, str(who), str(fields.get("__CURSOR", "")), _time(fields)))
        except (ValueError, AttributeError, TypeError) as error:
            raise Failed(UNREADABLE, "", "read journalctl's output", f"not an entry: {error}: {line[:80]!r}") from None
    return entries


def _time(fields: Mapping[str, Any]) -> float:
    text = fields.get("__REALTIME_TIMESTAMP")  # microseconds since 1970
    return int(text) / 1e6 if isinstance(text, str) and text.isdigit() else 0.0


def _bytes(part: Any) -> bytes:
    return bytes(part) if isinstance(part, list) else str(part).encode("utf-8", "replace")


def count(
    entries: Iterable[tuple[int | None, bytes]], wanted: log_lines.Wanted
) -> tuple[dict[str, int], list[bytes], set[str], bool]:
    """Count (priority, message) pairs: {level: entries}, sample messages, request ids of errors, whether any had a level.

    A level in the message's own header (oslo.log writes one to stdout, where the journal makes all of it priority 6)
    outranks the priority.
    """
    import re

    from nephoscope.probes import oslo_log

    patterns = [(re.compile(text.encode()), kind) for text, kind in wanted.patterns]
    ignore = [re.compile(text.encode()) for text in wanted.ignore]
    form = oslo_log.form()
    counts = dict.fromkeys((CRITICAL, ERROR, WARNING, DEBUG), 0)
    samples: list[bytes] = []
    alike: set[int] = set()
    requests: set[str] = set()
    levelled = False
    last = b""
    for priority, message in entries:
        line = message[: log_lines.LINE]
        own = level(priority)
        levelled = levelled or priority is not None
        header = form.header.match(line)
        if header:
            prefix = line[: header.start("level")]
            traceback = header.group("context") is None and last.startswith(prefix)
            own = "" if traceback else form.level(header)
            last = prefix
        kind = own if own in wanted.levels else ""
        if kind not in (CRITICAL, ERROR):
            kind = next((to for pattern, to in patterns if pattern.search(line)), kind)
        if kind not in counts or any(pattern.search(line) for pattern in ignore):
            continue
        counts[kind] += 1
        if kind in (CRITICAL, ERROR):
            if wanted.requests and form.request and len(requests) < log_lines.REQUESTS:
                found = form.request.search(line[:600])
                if found:
                    requests.add(found.group().decode())
            like = log_lines.signature(line)
            if len(samples) < log_lines.SAMPLES and like not in alike:
                alike.add(like)
                samples.append(line)
    return counts, samples, requests, levelled


def look(
    run: Run, units: Sequence[str], files: Sequence[str], asked: logfile.Asked, before: Any
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Read what is new in the journal for each unit, or in the kernel's messages for the word "kernel".

    units   unit names, "kernel" for the kernel's messages, "all" for everything
    files   journal files or directories to read in place of this host's journal
    before  what this function returned last as state
    Returns facts (logfile.Log or Failed), the state, and {request id: [where, …]} of this run.
    """
    known = before if isinstance(before, dict) else {}
    results: list[Any] = []
    state: dict[str, Any] = {}
    requests: dict[str, list[str]] = {}
    for unit in units:
        of = "kernel" if unit == KERNEL else f"journal {unit}"
        if not run.wants(of):
            continue
        found = known.get(unit)
        kept: dict[str, Any] = found if isinstance(found, dict) else {}
        state[unit] = kept
        try:
            if unit == KERNEL and not files:
                log, state[unit], ids = _kernel(run, of, asked, kept)
            else:
                log, state[unit], ids = _journal(run, of, unit, files, asked, kept)
        except Failed as failed:
            results.append(Failed(failed.kind, of, failed.tried, failed.error, failed.cure))
            continue
        results.append(log)
        for request in ids:
            requests.setdefault(request, []).append(of)
    return results, state, requests


def command(unit: str, files: Sequence[str], places: Sequence[str]) -> list[str]:
    """Return journalctl's argument list for a unit; `places` are the arguments that say where to begin."""
    argv = ["journalctl", "-o", "json", "--no-pager", f"--output-fields={FIELDS}", *places]
    for file in files:
        argv.append(f"--directory={file}" if os.path.isdir(file) else f"--file={file}")
    if unit == KERNEL:
        argv.append("_TRANSPORT=kernel")  # not -k: that is this boot only, and the oops before a reboot matters most
    elif unit != "all":
        argv.append(f"--unit={unit}")
    return argv


def _ask(run: Run, of: str, argv: list[str]) -> str:
    from nephoscope.base import child

    answer = child.command(argv, run, of=of, limit=LIMIT)
    error = answer.err.strip()
    low = error.lower()
    if "insufficient permissions" in low or "not seeing messages from other users" in low or "permission denied" in low:
        raise Failed(NOT_ALLOWED, of, "read the journal", "only this user's own messages may be read", CURE)
    if "no journal files were found" in low or "no such file" in low:
        raise Failed(ABSENT, of, "read the journal", error.splitlines()[0])
    if answer.status:
        raise Failed(UNREADABLE, of, " ".join(argv[:3]), (error or f"exit status {answer.status}").splitlines()[0])
    return answer.out


def _journal(
    run: Run, of: str, unit: str, files: Sequence[str], asked: logfile.Asked, kept: Mapping[str, Any]
) -> tuple[logfile.Log, dict[str, Any], set[str]]:
    now = run.clock.time()
    cursor = kept.get("cursor")
    seen = kept.get("seen")
    first = not isinstance(seen, (int, float))
    gap = ""
    since = f"--since=@{(now - asked.period) if first else float(seen or 0):.0f}"
    place = f"--cursor={cursor}" if isinstance(cursor, str) and cursor else since
    notes = [f"first look: the entries of the last {logfile.span(asked.period)}"] if first else []
    try:
        entries = parse(_ask(run, of, command(unit, files, [place])))
    except Failed as failed:
        if failed.kind != UNREADABLE:
            raise
        if "cursor" in failed.error.lower():
            gap = "the journal does not know the place of the last run any more"
            entries = parse(_ask(run, of, command(unit, files, [since])))
        elif "bytes of output" in failed.error:
            # With a cursor or --since these are the first of them (journalctl.c of systemd 252): the next run goes on there.
            gap = f"more than {LIMIT >> 20} MiB since the last run: only {ENTRIES} entries were looked at"
            entries = parse(_ask(run, of, command(unit, files, [place, f"--lines={ENTRIES}"])))
        else:
            raise
    if place != since:
        if entries and entries[0].cursor == cursor:
            entries = entries[1:]
        elif not gap:
            gap = "the journal was vacuumed past the place of the last run"
    new = entries[-1].cursor if entries else (cursor if isinstance(cursor, str) and not gap else "")
    newest = entries[-1].at if entries else 0.0
    if not new:
        new, newest = _last(run, of, unit, files, now - asked.period)
    # Without a place the next run asks for everything since the last time that it knows nothing of.
    state = {"cursor": new, "seen": now if new or first else seen, "newest": newest or kept.get("newest")}
    if first and not new:
        state["seen"] = now - asked.period
    return _log(run, of, asked, kept, [(e.priority, e.message) for e in entries], gap, notes, first, now, state)


def _last(run: Run, of: str, unit: str, files: Sequence[str], before: float) -> tuple[str, float]:
    """Return the cursor of the last entry if it is older than `before`, "" if it is younger; and its time.

    journalctl says nothing and ends well when there is no journal, when it may not be read and when the unit's name is
    wrong: a silence must be told from these. Raises Failed.
    """
    entries = parse(_ask(run, of, command(unit, files, ["--lines=1"])))
    if entries:
        return (entries[-1].cursor if entries[-1].at < before else ""), entries[-1].at
    if unit == "all" or not parse(_ask(run, of, command("all", files, ["--lines=1"]))):
        error = "no entry of anything can be seen: there is no journal, or it may not be read"
        raise Failed(NOT_ALLOWED, of, "read the journal", error, CURE)
    raise Failed(ABSENT, of, "read the journal", f"no entry of {unit} was ever written")


def _kernel(
    run: Run, of: str, asked: logfile.Asked, kept: Mapping[str, Any]
) -> tuple[logfile.Log, dict[str, Any], set[str]]:
    """Read /dev/kmsg, and where that is not allowed or not there, the journal's kernel messages."""
    from nephoscope.base import samples

    try:
        descriptor = os.open(run.path("/dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        try:
            return _journal(run, of, KERNEL, (), asked, kept)
        except Failed as failed:
            if failed.kind in (ABSENT, NOT_ALLOWED) and error.errno in (errno.EPERM, errno.EACCES):
                cure = "a journal and " + CURE + ", or kernel.dmesg_restrict=0 (sysctl)"
                raise Failed(NOT_ALLOWED, of, "read /dev/kmsg", error.strerror or "", cure) from None
            raise
    try:
        records, lost = _ring(run, descriptor)
    finally:
        os.close(descriptor)
    now, up, boot = run.clock.time(), run.clock.boottime(), samples.boot_id(run)
    same = kept.get("boot") == boot and isinstance(kept.get("sequence"), int)
    last = int(kept.get("sequence", -1)) if same else -1
    first = "boot" not in kept and "cursor" not in kept
    gap = ""
    if same and records and records[0][1] > last + 1:
        gap = f"{records[0][1] - last - 1} kernel messages were overwritten before they were read"
    elif lost:
        gap = "kernel messages were overwritten while they were read"
    notes = []
    if first:
        notes.append(f"first look: the kernel messages of the last {logfile.span(asked.period)}")
        records_new = [r for r in records if r[2] / 1e6 >= up - asked.period]
    else:
        records_new = [r for r in records if r[1] > last]
    sequence = records[-1][1] if records else last
    return _log(run, of, asked, kept, [(r[0], r[3]) for r in records_new], gap, notes, first, now,
                {"boot": boot, "sequence": sequence, "seen": now, "newest": 0})  # fmt: skip


def _ring(run: Run, descriptor: int) -> tuple[list[tuple[int, int, int, bytes]], bool]:
    """Return all records as (priority, sequence, microseconds, text), and whether some were lost on the way."""
    records: list[tuple[int, int, int, bytes]] = []
    lost = False
    while run.left() > 0 and len(records) < 200_000:
        try:
            data = os.read(descriptor, 8192)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno == errno.EPIPE:
                lost = True
                continue
            raise Failed.of_os_error("kernel", "read /dev/kmsg", error) from None
        if not data:
            break
        parsed = record(data)
        if parsed:
            records.append(parsed)
    return records, lost


def record(data: bytes) -> tuple[int, int, int, bytes] | None:
    """Return priority, sequence, microseconds since boot and text of one record of /dev/kmsg, None if it is none."""
    head, separator, text = data.partition(b";")
    parts = head.split(b",")
    if not separator or len(parts) < 3 or not all(part.isdigit() for part in parts[:3]):
        return None
    # The priority holds the facility in its higher bits; lines that begin with a blank are its dictionary.
    return int(parts[0]) & 7, int(parts[1]), int(parts[2]), text.partition(b"\n")[0]


def _log(
    run: Run,
    of: str,
    asked: logfile.Asked,
    kept: Mapping[str, Any],
    entries: Sequence[tuple[int | None, bytes]],
    gap: str,
    notes: Sequence[str],
    first: bool,
    now: float,
    place: dict[str, Any],
) -> tuple[logfile.Log, dict[str, Any], set[str]]:
    """Return facts, state and request ids from the entries of this run."""
    wanted = asked.wanted or log_lines.Wanted(levels=())
    counts, samples, requests, levelled = count(entries, wanted)
    window = log_window.add(kept.get("window"), now, {**counts, "gap": int(bool(gap))}, asked.period)
    if not gap and log_window.total(window, "gap"):
        gap = "within the period entries were gone before they had been read"
    size = sum(len(message) + 1 for _, message in entries)
    lines = int(logfile.number(kept.get("lines"))) + len(entries)
    total = int(logfile.number(kept.get("bytes"))) + size
    newest = logfile.number(place.get("newest")) or (now if entries else now - asked.period)
    age = 0.0 if -60 < now - newest < 0 else now - newest  # a clock far in the future is told as it is
    growth = rates = None
    if asked.growth:
        from nephoscope.base import samples as samples_

        history = samples_.take(
            run, {"total": float(total)}, span=max(60.0, asked.period / 2), before=kept.get("growth") or []
        )
        growth, rates = history.rate("total"), history.keep()
    seen = kept.get("seen")
    log = logfile.Log(
        of,
        {name: log_window.total(window, name) for name in counts},
        lines,
        total,
        None if of == KERNEL else age,
        None,
        growth,
        0,
        levelled or bool(kept.get("levelled")) if lines else None,
        True,
        gap,
        tuple(notes),
        tuple(log_lines.masked(line) for line in samples),
        None if first or not isinstance(seen, (int, float)) else max(0.0, now - seen),
    )
    state = {**place, "window": window, "lines": lines, "bytes": total, "newest": newest, "growth": rates,
             "levelled": levelled or bool(kept.get("levelled"))}  # fmt: skip
    return log, state, requests
