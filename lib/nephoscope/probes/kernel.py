# SPDX-License-Identifier: Apache-2.0
"""What is used of the kernel's tables, each with its limit; loop devices; and what has tainted the kernel.

Sources: Documentation/admin-guide/sysctl/{fs,kernel}.rst, Documentation/networking/{ip-sysctl,nf_conntrack-sysctl}.rst,
man proc, man 7 inotify, man 7 sysvipc, man 4 loop, Documentation/admin-guide/tainted-kernels.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, LATE, NOT_ALLOWED, UNREADABLE, Collecting, Failed, Run, attempt, files

SPAN = 300.0  # seconds over which overflows are a rate
SYS = "/proc/sys"
# By bit; what a letter means stands in tainted-kernels.rst.
TAINTS = "PFSRMBUDAWCIOELKXTNJ"
# Those that tell of damage, not of what was loaded.
DAMAGE = {"M": "a machine check", "B": "a damaged page of memory", "D": "a crash (oops)", "L": "a soft lock-up"}
# Prints the path of each inotify descriptor, and below it how many lines of its fdinfo are watches.
SCAN = (
    *("/usr/bin/find", "/proc", "-mindepth", "3", "-maxdepth", "3", "-lname", "anon_inode:inotify"),
    *("-print", "-execdir", "/usr/bin/grep", "-c", "inotify", "../fdinfo/{}", ";"),
)
FIRST_PIDS = (
    "pid:[4026531836]"  # the PID namespace that a kernel begins with (include/linux/proc_ns.h, PROC_PID_INIT_INO)
)


class Limit(NamedTuple):
    """How many of a thing there are and may be at most; 0: no limit. `of` tells several tables of one name apart."""

    name: str
    used: int
    most: int
    of: str = ""

    @property
    def share(self) -> float:
        """% of the limit. There must be one."""
        return 100 * self.used / self.most


class Overflow(NamedTuple):
    """How often per second something was thrown away because a table was full."""

    name: str
    rate: float | Collecting | None
    of: str = ""


class Loops(NamedTuple):
    """Loop devices: in use, existing, and whether the kernel makes more when asked (/dev/loop-control, Linux 3.1)."""

    used: int
    total: int
    grows: bool


class Kernel(NamedTuple):
    """One look. The `of` of a Failed among the limits is the mode that it belongs to.

    alone  there are named network namespaces (ip-netns) beside the one whose connections were counted
    """

    limits: tuple[Limit | Failed, ...] = ()
    overflows: tuple[Overflow, ...] = ()
    loops: Loops | Failed | None = None
    taint: str | Failed | None = None
    kept: Any = None
    alone: bool = False

    def keep(self) -> Any:
        """Return plain JSON for the next run."""
        return self.kept

    @property
    def tables(self) -> list[Limit]:
        """Those limits that could be read and have an end."""
        return [limit for limit in self.limits if isinstance(limit, Limit) and limit.most]

    def summary(self) -> str:
        """Return the fullest table and what else was seen, as a clause; "" for nothing."""
        said = []
        if self.tables:
            top = max(self.tables, key=lambda limit: limit.share)
            name = f"{top.of} {top.name}".strip()
            said.append(f"fullest of {len(self.tables)} tables is {name}, {top.used} of {top.most}")
        said += [f"{limit.name} has no limit" for limit in self.limits if isinstance(limit, Limit) and not limit.most]
        if self.alone:
            said.append("conntrack of this network namespace alone")
        if isinstance(self.loops, Loops):
            said.append(f"{self.loops.used} loop devices in use")
        if isinstance(self.taint, str):
            said.append(f"kernel tainted by {self.taint}" if self.taint else "kernel not tainted")
        return ", ".join(said)


def look(run: Run, modes: Collection[str], *, sudo: bool = False) -> Kernel:
    """Read what belongs to the modes: files, conntrack, neigh, pids, inotify, ipc, aio, loop, taint.

    sudo  may ask sudo for what this user does not see
    Raises nothing: what could not be read is a Failed in its place.
    """
    limits: list[Limit | Failed] = []
    counters: dict[str, float] = {}
    for mode, read in READERS.items():
        if mode in modes:
            run.stage(f"count {mode}")
            try:
                limits.extend(read(run, counters, sudo))
            except Failed as failed:
                limits.append(failed)
    overflows: tuple[Overflow, ...] = ()
    kept = run.before
    if counters:
        from nephoscope.base import samples

        history = samples.take(run, counters, span=SPAN)
        kept = history.keep()
        rates = {name: history.rate(name) for name in counters}
        if "drop" in rates:
            rates = {**_drops(*(rates.pop(name) for name in DROPS)), **rates}
        overflows = tuple(
            Overflow(name.partition("/")[0], rate, name.partition("/")[2]) for name, rate in rates.items()
        )
    loops = attempt(_loops, run) if "loop" in modes else None
    taint = attempt(_taint, run) if "taint" in modes else None
    alone = any(isinstance(limit, Limit) and limit.name == "conntrack" for limit in limits) and _namespaces(run)
    return Kernel(tuple(limits), overflows, loops, taint, kept, alone)


def _numbers(run: Run, path: str, of: str, least: int) -> list[int]:
    """Return the whole numbers that a file holds, `least` of them or more."""
    content = files.text(run, path, of=of, limit=4096)
    try:
        found = [int(word) for word in content.split()]
    except ValueError:
        found = []
    if len(found) < least:
        raise Failed(UNREADABLE, of, f"read {path}", f"not understood: {content[:40]!r}")
    return found


def _files(run: Run, counters: dict[str, float], sudo: bool) -> Iterator[Limit]:
    path = f"{SYS}/fs/file-nr"
    allocated, unused, most = _numbers(run, path, "files", 3)[:3]
    yield Limit("files", allocated - unused, most)


def _conntrack(run: Run, counters: dict[str, float], sudo: bool) -> Iterator[Limit]:
    """The count is that of this network namespace, as is what was dropped."""
    base = f"{SYS}/net/netfilter/nf_conntrack_"
    try:
        used = files.number(run, f"{base}count", of="conntrack")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        raise Failed(ABSENT, "conntrack", failed.tried, "connections are not tracked here") from None
    yield Limit("conntrack", used, files.number(run, f"{base}max", of="conntrack"))
    table = _per_cpu(run, "nf_conntrack")
    if "drop" in table:
        counters.update((name, sum(table.get(name, ()))) for name in DROPS)


DROPS = ("drop", "early_drop", "insert_failed")


def _drops(drop: Any, early: Any, clash: Any) -> dict[str, Any]:
    """Return what the rates of DROPS mean (nf_conntrack_core.c).

    early_drop: an entry was thrown out of a full table for a new one; drop: there was none to throw out. But a packet that
    lost the race for its connection's entry is a drop, too, and then an insert_failed as well (nf_ct_resolve_clash): where
    DNS is asked for two addresses at once that is ordinary life. So is not every insert_failed a drop: a chain was too long.
    """
    if isinstance(drop, Collecting) or isinstance(early, Collecting) or isinstance(clash, Collecting):
        return dict.fromkeys(("conntrack_full_rate", "conntrack_insert_failed_rate"), COLLECTING)
    return {"conntrack_full_rate": early + max(0.0, drop - clash), "conntrack_insert_failed_rate": clash}


def _namespaces(run: Run) -> bool:
    """Return whether other network namespaces have a name (man ip-netns), or may have: each counts its own connections."""
    try:
        return bool(files.names(run, "/run/netns"))
    except Failed as failed:
        return failed.kind != ABSENT


def _neigh(run: Run, counters: dict[str, float], sudo: bool) -> Iterator[Limit]:
    """The tables are those of the host, and only its first network namespace has their limits."""
    absent: list[Failed] = []
    for of, version, name in (("ipv4", "ipv4", "arp_cache"), ("ipv6", "ipv6", "ndisc_cache")):
        try:
            most = files.number(run, f"{SYS}/net/{version}/neigh/default/gc_thresh3", of="neigh")
        except Failed as failed:
            if failed.kind != ABSENT:
                raise
            absent.append(failed)
            continue
        table = _per_cpu(run, name)
        if not table.get("entries"):
            raise Failed(UNREADABLE, "neigh", f"read /proc/net/stat/{name}", "it has no column of entries")
        yield Limit("neigh", table["entries"][0], most, of)  # every processor's line tells the same table
        if "table_fulls" in table:
            counters[f"neigh_full_rate/{of}"] = sum(table["table_fulls"])
    if len(absent) == 2:
        raise Failed(ABSENT, "neigh", absent[0].tried, "no limit of neighbours is seen from here")


def _per_cpu(run: Run, name: str) -> Mapping[str, list[int]]:
    """Return the columns of a table in /proc/net/stat: a head line, then hexadecimal numbers, one line a processor.

    {} where the kernel keeps no such table (nf_conntrack: CONFIG_NF_CONNTRACK_PROCFS).
    """
    path = f"/proc/net/stat/{name}"
    try:
        head, *lines = [line.split() for line in files.text(run, path).splitlines() if line.strip()]
        rows = [[int(word, 16) for word in line] for line in lines]
    except Failed as failed:
        if failed.kind == ABSENT:
            return {}
        raise
    except ValueError:
        raise Failed(UNREADABLE, name, f"read {path}", "not understood") from None
    return {column: [row[at] for row in rows if at < len(row)] for at, column in enumerate(head)}


def _pids(run: Run, counters: dict[str, float], sudo: bool) -> Iterator[Limit]:
    """Every thread takes a number. /proc/loadavg counts those of the whole host."""
    content = files.text(run, "/proc/loadavg", of="pids", limit=4096)
    try:
        used = int(content.split()[3].partition("/")[2])
    except (LookupError, ValueError):
        raise Failed(UNREADABLE, "pids", "read /proc/loadavg", f"not understood: {content[:40]!r}") from None
    kernel = f"{SYS}/kernel/"
    most = min(files.number(run, kernel + name, of="pids") for name in ("pid_max", "threads-max"))
    yield Limit("pids", used, most, "host")
    for group in ("/sys/fs/cgroup/", "/sys/fs/cgroup/pids/"):
        try:
            used, most = (files.number(run, f"{group}pids.{what}") for what in ("current", "max"))
        except Failed:
            continue  # a host's own group has no such file, and one without limit says "max"
        yield Limit("pids", used, most, "container")
        return


def _inotify(run: Run, counters: dict[str, float], sudo: bool) -> Iterator[Limit | Failed]:
    """Counted by user id from the descriptors of all processes; one that a fork inherited counts twice."""
    import os

    base = f"{SYS}/fs/inotify/max_user_"
    most = {what: files.number(run, base + what, of="inotify") for what in ("instances", "watches")}
    seen = _watchers(run)
    if seen.hidden and sudo and os.geteuid() != 0:
        seen = _watchers_by_sudo(run)
    inside = _inside(run)
    if not seen.users and not seen.hidden and not inside:
        yield Limit("inotify_instances", 0, most["instances"])
    for uid, (instances, watches) in sorted(seen.users.items()):
        yield Limit("inotify_instances", instances, most["instances"], f"uid{uid}")
        yield Limit("inotify_watches", watches, most["watches"], f"uid{uid}")
    if seen.hidden or inside:
        # "": the frame names the right that is declared. Root, itself or by sudo, can only be short of a capability.
        cure = "" if os.geteuid() and not sudo else "the capability SYS_PTRACE over them"
        if inside:
            cure = "to run outside of this PID namespace (container)"
        yield Failed(NOT_ALLOWED, "inotify", "list /proc/*/fd", "the files of some processes are hidden", cure)
    yield from seen.failures


class _Watchers(NamedTuple):
    """Instances and watches by user id; whether some processes were hidden; what else went wrong, once for each reason."""

    users: dict[int, tuple[int, int]]
    hidden: bool
    failures: tuple[Failed, ...] = ()


def _inside(run: Run) -> bool:
    """Return whether this is a PID namespace of its own, in which the processes of the host are not seen."""
    import os

    try:
        return os.readlink(run.path("/proc/self/ns/pid")) != FIRST_PIDS
    except OSError:
        return False  # a kernel without PID namespaces has but one


def _watchers(run: Run) -> _Watchers:
    """Raises Failed: late."""
    import os

    users: dict[int, tuple[int, int]] = {}
    errors: list[OSError] = []
    for pid in files.names(run, "/proc", of="inotify"):
        if not pid.isdigit():
            continue
        _in_time(run)
        directory = run.path(f"/proc/{pid}")
        try:
            uid = os.stat(directory).st_uid
            numbers = os.listdir(f"{directory}/fd")
        except OSError as error:
            errors.append(error)
            continue
        for number in numbers:
            _in_time(run)
            try:
                if os.readlink(f"{directory}/fd/{number}") == "anon_inode:inotify":
                    instances, watches = users.get(uid, (0, 0))
                    users[uid] = (instances + 1, watches)
                    users[uid] = (instances + 1, watches + _watches(run, f"{directory}/fdinfo/{number}"))
            except OSError as error:
                errors.append(error)
    # Where others' processes are not even listed (hidepid), the first one is missing.
    hidden = not os.path.exists(run.path("/proc/1")) or any(isinstance(error, PermissionError) for error in errors)
    gone = (PermissionError, FileNotFoundError, ProcessLookupError)  # it ended, or closed it, while we looked
    failed = [
        Failed.of_os_error("inotify", "read /proc/*/fdinfo", error) for error in errors if not isinstance(error, gone)
    ]
    return _Watchers(users, hidden, tuple({one.error: one for one in failed}.values()))


def _in_time(run: Run) -> None:
    if not run.left():
        raise Failed(LATE, "inotify", "list /proc/*/fd", "more descriptors than the deadline had time for")


def _watches(run: Run, path: str) -> int:
    """Count the lines `inotify wd:…` of a descriptor (man proc_pid_fdinfo), which may be a million. Raises OSError."""
    count, rest = 0, b"\n"
    with open(path, "rb", buffering=0) as file:
        while part := file.read(1 << 16):
            _in_time(run)
            part = rest + part
            count += part.count(b"\ninotify wd:")
            rest = part[-11:]  # one byte less than what is looked for
    return count


def _watchers_by_sudo(run: Run) -> _Watchers:
    """As `_watchers`, by root. Raises Failed: not-allowed when sudo refuses, unreadable for what find does not say in life."""
    import os

    from nephoscope.base import child

    users: dict[int, tuple[int, int]] = {}
    answer = child.command(SCAN, run, of="inotify", sudo=True)
    # Its status is 1 whenever a process ended meanwhile; a zombie's net is an "Invalid argument".
    odd = [line for line in answer.err.splitlines() if line.strip() and not any(word in line for word in ORDINARY)]
    if answer.status not in (0, 1) or odd:
        error = odd[0].strip()[:200] if odd else f"it ended with {answer.status}"
        raise Failed(UNREADABLE, "inotify", f"run {SCAN[0]}", error)
    uid = None
    for line in answer.out.splitlines():
        if uid is not None and line.isdigit():
            users[uid] = (users[uid][0], users[uid][1] + int(line))
            continue
        try:
            uid = os.stat("/".join(line.split("/")[:3])).st_uid
        except OSError:
            uid = None
            continue
        users[uid] = (users.get(uid, (0, 0))[0] + 1, users.get(uid, (0, 0))[1])
    # In a container root may not look into map_files, and that hides no descriptor.
    hidden = any("Permission denied" in line and "/fd" in line for line in answer.err.splitlines())
    return _Watchers(users, hidden)


ORDINARY = (
    *("No such file or directory", "No such process", "Permission denied"),
    *("/net\u2019: Invalid argument", "/net': Invalid argument", "sudo: unable to resolve host"),
)


def _ipc(run: Run, counters: dict[str, float], sudo: bool) -> Iterator[Limit]:
    """Semaphores, shared memory and message queues of this IPC namespace."""
    import os

    kernel = f"{SYS}/kernel/"
    sets = _ipc_table(run, "sem", "nsems")
    # SEMMSL SEMMNS SEMOPM SEMMNI (man proc)
    _, semaphores, _, arrays = _numbers(run, f"{kernel}sem", "ipc", 4)[:4]
    yield Limit("ipc", len(sets), arrays, "semaphore-sets")
    yield Limit("ipc", sum(sets), semaphores, "semaphores")
    segments = _ipc_table(run, "shm", "size")
    yield Limit("ipc", len(segments), files.number(run, f"{kernel}shmmni", of="ipc"), "shm-segments")
    page = os.sysconf("SC_PAGESIZE")
    pages = sum(-(-size // page) for size in segments)
    yield Limit("ipc", pages, files.number(run, f"{kernel}shmall", of="ipc"), "shm-pages")
    queues = _ipc_table(run, "msg", "qnum")
    yield Limit("ipc", len(queues), files.number(run, f"{kernel}msgmni", of="ipc"), "message-queues")


def _ipc_table(run: Run, name: str, column: str) -> list[int]:
    """Return one column of /proc/sysvipc/NAME: a head line, then one line for each object."""
    path = f"/proc/sysvipc/{name}"
    head, *rows = [line.split() for line in files.text(run, path, of="ipc", limit=16 << 20).splitlines()] or [[]]
    try:
        at = head.index(column)
        return [int(row[at]) for row in rows if row]
    except (LookupError, ValueError):
        raise Failed(UNREADABLE, "ipc", f"read {path}", f"it has no column of {column}") from None


def _aio(run: Run, counters: dict[str, float], sudo: bool) -> Iterator[Limit]:
    used, most = (files.number(run, f"{SYS}/fs/aio-{name}", of="aio") for name in ("nr", "max-nr"))
    yield Limit("aio", used, most)


READERS: Mapping[str, Callable[[Run, dict[str, float], bool], Iterator[Limit | Failed]]] = {
    "files": _files,
    "conntrack": _conntrack,
    "neigh": _neigh,
    "pids": _pids,
    "inotify": _inotify,
    "ipc": _ipc,
    "aio": _aio,
}


def _loops(run: Run) -> Loops:
    """Count the loop devices; one that is in use has a directory `loop` (Documentation/ABI/testing/sysfs-block)."""
    import os

    run.stage("list /sys/block/loop*")
    names = [name for name in files.names(run, "/sys/block", of="loop") if name[:4] == "loop" and name[4:].isdigit()]
    used = sum(os.path.exists(run.path(f"/sys/block/{name}/loop")) for name in names)
    grows = any(os.path.exists(run.path(path)) for path in ("/dev/loop-control", "/sys/class/misc/loop-control"))
    if not names and not grows:
        raise Failed(ABSENT, "loop", "list /sys/block", "no loop devices here")
    return Loops(used, len(names), grows)


def _taint(run: Run) -> str:
    """Return the letters of what has tainted the kernel since it was booted, "" for nothing."""
    bits = files.number(run, f"{SYS}/kernel/tainted", of="taint")
    letters = [letter for bit, letter in enumerate(TAINTS) if bits >> bit & 1]
    return "".join(letters) + ("?" if bits >> len(TAINTS) else "")
