# SPDX-License-Identifier: Apache-2.0
"""What memory is left, what is swapped, whom the kernel killed for it, and the pools of huge pages.

Sources: man proc_meminfo, man proc_vmstat, Documentation/admin-guide/mm/hugetlbpage.rst, cgroup-v2.rst (memory.max),
Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Collecting, Failed, Run, attempt, files

SWAP_SPAN = 300.0  # seconds over which swapping is a rate
OOM_SPAN = 3600.0  # seconds over which kills are counted
MEMINFO, VMSTAT, KMSG = "/proc/meminfo", "/proc/vmstat", "/dev/kmsg"
POOLS = "/sys/kernel/mm/hugepages"
LOG_LIMIT = 16 << 20  # bytes of the kernel's log
JOURNAL_LINES = 20000


class Room(NamedTuple):
    """Memory in bytes: what programs can get without swapping, of how much. `whose` is "host" or "container"."""

    available: int
    total: int
    whose: str = "host"


class Swap(NamedTuple):
    """Swap space in bytes, and pages per second that went in and out."""

    used: int
    total: int
    in_rate: float | Collecting | None
    out_rate: float | Collecting | None


class Kills(NamedTuple):
    """Processes that the kernel killed for want of memory, since about an hour ago.

    number   how many; where no earlier run has counted, as many as the kernel's log tells of
    victims  their command names as the kernel knows them (15 characters), as far as its log still has them, or a Failed
    """

    number: float
    victims: Sequence[str] | Failed = ()


class Pool(NamedTuple):
    """Huge pages of one size, of the host ("2MiB") or of one NUMA node ("node0-2MiB"); free: and not reserved."""

    name: str
    total: int
    free: int


class Memory(NamedTuple):
    """One look; a part that was not asked for is None, one that could not be read a Failed."""

    room: Room | Failed | None = None
    swap: Swap | Failed | None = None
    kills: Kills | Failed | None = None
    pools: Sequence[Pool] | Failed | None = None
    kept: Any = None

    def keep(self) -> Any:
        """Return plain JSON for the next run."""
        return self.kept


def look(run: Run, *, room: bool = True, swap: bool = True, kills: bool = True, pools: bool = True) -> Memory:
    """Read what is asked for. Raises nothing: each part carries its own Failed."""
    kept = dict(run.before) if isinstance(run.before, dict) else {}
    parts: dict[str, Any] = {}
    if room:
        parts["room"] = attempt(_room, run)
    if swap:
        parts["swap"] = attempt(_swap, run, kept)
    if kills:
        parts["kills"] = attempt(_kills, run, kept)
    if pools:
        parts["pools"] = attempt(_pools, run)
    return Memory(**parts, kept=kept)


def _table(run: Run, path: str, scale: int = 1) -> dict[str, int]:
    """Return the lines "name[:] number [kB]" of a file; kB are made bytes."""
    found = {}
    for line in files.text(run, path).splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdigit():
            found[words[0].rstrip(":")] = int(words[1]) * (1024 if words[2:] == ["kB"] else scale)
    return found


def _field(table: Mapping[str, int], path: str, name: str) -> int:
    if name not in table:
        raise Failed(UNREADABLE, path, f"read {path}", f"it has no {name}")
    return table[name]


def _room(run: Run) -> Room:
    run.stage(f"read {MEMINFO}")
    table = _table(run, MEMINFO)
    available = _field(table, MEMINFO, "MemAvailable")  # Linux 3.14
    # What lies in a pool of huge pages was given away for good: it is neither available nor missing.
    pools = table.get("Hugetlb", table.get("HugePages_Total", 0) * table.get("Hugepagesize", 0))
    total = _field(table, MEMINFO, "MemTotal") - pools
    if total <= 0:
        raise Failed(UNREADABLE, MEMINFO, f"read {MEMINFO}", f"MemTotal without huge pages is {total}")
    own = _container(run)
    if own and own.total < total and own.available < available:
        return own
    return Room(available, total)


def _container(run: Run) -> Room | None:
    """Return the room below the limit of the control group at the root of this view: a container's; None: no limit.

    Page cache that was not used lately (inactive_file) is given back before anybody is killed, as MemAvailable has it.
    """
    for limit, usage, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            total = files.number(run, f"/sys/fs/cgroup/{limit}")
            used = files.number(run, f"/sys/fs/cgroup/{usage}")
            return Room(max(0, total - used + _table(run, f"/sys/fs/cgroup/{stat}").get(cache, 0)), total, "container")
        except Failed:
            continue  # a host's own group has no such file, and one without limit says "max"
    return None


def _swap(run: Run, kept: dict[str, Any]) -> Swap:
    from nephoscope.base import samples

    run.stage(f"read {MEMINFO} and {VMSTAT}")
    table = _table(run, MEMINFO)
    total, free = _field(table, MEMINFO, "SwapTotal"), _field(table, MEMINFO, "SwapFree")
    counters = _table(run, VMSTAT)
    pages = {name: _field(counters, VMSTAT, name) for name in ("pswpin", "pswpout")}
    history = samples.take(run, pages, span=SWAP_SPAN, before=kept.get("swap", []))
    kept["swap"] = history.keep()
    return Swap(total - free, total, history.rate("pswpin"), history.rate("pswpout"))


def _kills(run: Run, kept: dict[str, Any]) -> Kills:
    from nephoscope.base import samples

    run.stage(f"read {VMSTAT}")
    counters = _table(run, VMSTAT)
    if "oom_kill" not in counters and "pswpin" in counters:
        raise Failed(ABSENT, "oom", f"read {VMSTAT}", "kills are not counted by this kernel (before 4.13)")
    total = _field(counters, VMSTAT, "oom_kill")
    history = samples.take(run, {"oom_kill": total}, span=OOM_SPAN, before=kept.get("oom", []))
    kept["oom"] = history.keep()
    number = history.rise("oom_kill")
    if number is None or isinstance(number, Collecting):  # the first run, or the first one after a reboot
        if not total or run.clock.boottime() <= OOM_SPAN:
            number = float(total)
        else:
            victims = _recent(_records(run))
            return Kills(float(min(len(victims), total)), victims)
    if not number:
        return Kills(number)
    return Kills(number, attempt(_victims, run, int(number)))


class Record(NamedTuple):
    """A record of the kernel's log: seconds since it was written, and its text."""

    age: float
    text: str


class Log(NamedTuple):
    """The kernel's log, oldest record first; whole: nothing of this boot was lost at its beginning."""

    records: Sequence[Record]
    whole: bool


def _names(records: Sequence[Record]) -> tuple[str, ...]:
    import re

    killed = (re.search(r"Killed process \d+ \((.*?)\),? total-vm:", record.text) for record in records)
    return tuple(match[1] for match in killed if match)


def _victims(run: Run, count: int) -> tuple[str, ...]:
    """Return the last `count` names that the kernel's log says it killed; fewer where the log has lost some."""
    return _names(_records(run).records)[-count:]


def _recent(log: Log) -> tuple[str, ...]:
    """Return the names of who was killed in the last hour. Raises Failed when the log does not reach back so far."""
    names = _names([record for record in log.records if record.age <= OOM_SPAN])
    if not names and not log.whole and (not log.records or log.records[0].age < OOM_SPAN):
        error = "it does not reach back an hour, and no earlier run has counted the kills"
        raise Failed(UNREADABLE, "oom", f"read {KMSG}", error)
    return names


def _records(run: Run) -> Log:
    """Return the kernel's log, from the journal where it is closed (kernel.dmesg_restrict). Raises Failed."""
    run.stage(f"read {KMSG}")
    try:
        return _kmsg(run)
    except OSError as error:
        failed = Failed.of_os_error("oom", f"read {KMSG}", error)
        log = None if run.root else _journal(run)
        if log is None:
            # The journal is also empty where its group is missing: that is no proof that nothing was logged.
            cure = "membership of group systemd-journal, to learn who was killed"
            raise Failed(failed.kind, "oom", failed.tried, failed.error, cure) from None
        return log


def _kmsg(run: Run) -> Log:
    """Read /dev/kmsg, which gives one record for each read: "priority,number,microseconds,flags;text". Raises OSError."""
    import os

    descriptor = os.open(run.path(KMSG), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    parts = []
    size = 0
    try:
        while size < LOG_LIMIT and run.left():
            try:
                part = os.read(descriptor, 8192)
            except BlockingIOError:
                break  # the end of the log
            except BrokenPipeError:
                continue  # this record was overwritten meanwhile: the next read is the oldest one left
            if not part:
                break
            parts.append(part)
            size += len(part)
    finally:
        os.close(descriptor)
    records = []
    whole = False
    now = run.clock.monotonic()  # the time of the log stands still, too, while the machine is suspended
    for line in b"".join(parts).decode("utf-8", "replace").split("\n"):
        fields = line.partition(";")[0].split(",")
        if len(fields) < 4 or not (fields[1].isdigit() and fields[2].isdigit()):
            continue  # the rest of a record: " KEY=value"
        whole = whole or fields[1] == "0"
        records.append(Record(now - int(fields[2]) / 1e6, line.partition(";")[2]))
    return Log(records, whole)


def _journal(run: Run) -> Log | None:
    """Return the kernel's log of this boot as the journal has it, None where it shows nothing of it."""
    from nephoscope.base import child

    argv = ["journalctl", "--dmesg", "--quiet", "--no-pager", "--output=short-unix", f"--lines={JOURNAL_LINES}"]
    try:
        lines = child.command(argv, run, of="oom", limit=LOG_LIMIT).out.splitlines()
    except Failed:
        return None
    records = []
    for line in lines:
        stamp, _, text = line.partition(" ")
        try:
            records.append(Record(run.clock.time() - float(stamp), text))
        except ValueError:
            continue  # a record's second line
    return Log(records, len(lines) < JOURNAL_LINES) if records else None


def _pools(run: Run) -> tuple[Pool, ...]:
    """Return the pools that have pages, the host's and, where there are several NUMA nodes, theirs."""
    run.stage(f"read {POOLS}")
    found = []
    nodes = "/sys/devices/system/node"
    try:
        numa = [name for name in files.names(run, nodes) if name.startswith("node") and name[4:].isdigit()]
    except Failed:
        numa = []  # built without NUMA
    try:
        directories = files.names(run, POOLS, of="hugepages")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        raise Failed(ABSENT, "hugepages", failed.tried, "this kernel has no huge pages") from None
    for directory in directories:
        name = _size(directory)
        total = files.number(run, f"{POOLS}/{directory}/nr_hugepages", of=name)
        if not total:
            continue
        free = files.number(run, f"{POOLS}/{directory}/free_hugepages", of=name)
        found.append(Pool(name, total, free - files.number(run, f"{POOLS}/{directory}/resv_hugepages", of=name)))
        for node in numa if len(numa) > 1 else ():
            base = f"{nodes}/{node}/hugepages/{directory}"
            total, free = (files.number(run, f"{base}/{what}_hugepages", of=node) for what in ("nr", "free"))
            found.append(Pool(f"{node}-{name}", total, free))
    if not found:
        raise Failed(ABSENT, "hugepages", f"read {POOLS}", "no pool of huge pages is set up")
    return tuple(found)


def _size(directory: str) -> str:
    """Return "2MiB" for "hugepages-2048kB"."""
    kib = directory.partition("-")[2].partition("kB")[0]
    if not kib.isdigit():
        raise Failed(UNREADABLE, "hugepages", f"read {POOLS}", f"not understood: {directory[:40]!r}")
    number = int(kib)
    for unit in ("KiB", "MiB"):
        if number % 1024:
            return f"{number}{unit}"
        number //= 1024
    return f"{number}GiB"
