# SPDX-License-Identifier: Apache-2.0
"""Processes, from /proc: which of them belong to a daemon, what they hold, and which are stuck.

Files and fields: man 5 proc. Reading the command line of a stuck process may block in the kernel (it takes the lock of its
memory), so the scan runs in a child that can be abandoned. Of a process that nobody asked for only `stat` and `cmdline` are
read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, Collecting, Failed, Run
from nephoscope.base.child import each
from nephoscope.probes.daemons import Rule, rule

INTERPRETERS = ("python", "perl", "ruby", "bash", "sh", "dash", "node")
KTHREAD = 0x00200000  # PF_KTHREAD of include/linux/sched.h: it has no command line
KEPT = 200  # processes whose memory is followed, the largest
RING = 16  # samples of each
TRIED = "look through /proc"
UNLIMITED = -1
HOST = "pid:[4026531836]"  # PROC_PID_INIT_INO of include/linux/proc_ns.h: the PID name space that the kernel began with


class Process(NamedTuple):
    """One process.

    start     clock ticks since boot: with the pid it names a process for good
    state     the kernel's letter: R S D I run or wait, T t are stopped, Z X are dead
    rss       bytes of memory that it holds
    age       seconds since it began
    fds       descriptors open; None: not ours to count
    fds_most  descriptors that its table has room for, so that no more are open; None: not told
    fds_limit descriptors that it may open; UNLIMITED: no limit; None: not told
    """

    pid: int
    start: int
    state: str
    threads: int
    rss: int
    age: float
    fds: int | None = None
    fds_most: int | None = None
    fds_limit: int | None = None

    @property
    def alive(self) -> bool:
        """Whether it can work: neither dead nor stopped by a signal or a debugger."""
        return self.state not in "ZXxTt"


class Group(NamedTuple):
    """The processes of one daemon.

    need    how many must run, at least
    others  how many more were found of other users, or in other control groups, than those asked for
    guests  made by tenants: to be counted only
    growth  bytes per second of the process that grew most, COLLECTING while none is known long enough, None for no process
    """

    name: str
    need: int
    processes: tuple[Process, ...]
    others: int = 0
    guests: bool = False
    growth: float | Collecting | None = None

    @property
    def alive(self) -> tuple[Process, ...]:
        """Those that can work."""
        return tuple(one for one in self.processes if one.alive)

    @property
    def stopped(self) -> int:
        """How many are stopped by a signal or a debugger."""
        return sum(one.state in "Tt" for one in self.processes)

    @property
    def idle(self) -> str:
        """Those that were found and do not count as running, in words that follow others; "" for none."""
        dead = len(self.processes) - len(self.alive) - self.stopped
        kinds = (
            (self.stopped, "stopped by a signal"),
            (dead, "dead and not collected"),
            (self.others, "not as asked for"),
        )
        return "".join(f", {number} {words}" for number, words in kinds if number)

    @property
    def values(self) -> dict[str, float | Collecting | None]:
        """What those that can work hold, the largest of them each: rss, threads, age, growth_rate, and fds in % of the limit.

        Nothing for guests and when none can work; no fds when of none both number and limit are known.
        """
        alive = self.alive
        if not alive or self.guests:
            return {}
        found: dict[str, float | Collecting | None] = {
            "rss": max(one.rss for one in alive),
            "threads": max(one.threads for one in alive),
            "age": max(one.age for one in alive),
            "growth_rate": self.growth,
        }
        shares = [
            # No limit is never near; and who may open none (a sandbox) holds no more than it was given.
            100 * one.fds / one.fds_limit if one.fds_limit > 0 else 0.0
            for one in alive
            if one.fds is not None and one.fds_limit is not None
        ]
        return {**found, "fds": max(shares)} if shares else found

    @property
    def uncounted(self) -> str | Failed | None:
        """Of processes whose descriptors are not ours to count: words when they are few for certain, else a Failed.

        The size of its table is a bound: half of the limit or less, it is no news whatever the number.
        """
        alive = () if self.guests else self.alive
        if any(one.fds_limit is None for one in alive):
            cure = f"root, or the user of {self.name}"
            return Failed(NOT_ALLOWED, self.name, "read its limit of open files", "it is not told", cure)
        hidden = [one for one in alive if one.fds is None]
        if any(one.fds_most is None or 0 < (one.fds_limit or 0) < 2 * one.fds_most for one in hidden):
            cure = f"root, the user of {self.name}, or Linux 6.2"
            return Failed(NOT_ALLOWED, self.name, "count open descriptors", "they are another user's", cure)
        return f"has at most {max(one.fds_most or 0 for one in hidden)} descriptors open" if hidden else None


class Stuck(NamedTuple):
    """A process in uninterruptible sleep (D) or a zombie (Z), and for how many seconds it was seen to be so without a break.

    detail  where in the kernel it waits, or whose child it is
    """

    pid: int
    name: str
    state: str
    seconds: float
    detail: str

    @property
    def words(self) -> str:
        """State, time and detail, as a person would say it."""
        return f"in state {self.state} for {self.seconds:.0f} s {self.detail}".rstrip()


class Table(NamedTuple):
    """What a scan gives.

    total      processes seen, ours left out
    groups     one for each name asked for, or a Failed
    stuck      those in state D or Z, or a Failed
    kept       plain JSON for the next scan
    container  whether these are the processes of a PID name space only, and not those of the host
    """

    total: int
    groups: tuple[Group | Failed, ...]
    stuck: tuple[Stuck, ...] | Failed
    kept: dict[str, Any]
    container: bool = False

    @property
    def whose(self) -> str:
        """Words that follow a count of processes: nothing on a host."""
        return " of this container" if self.container else ""

    @property
    def running(self) -> str:
        """How many of each name can work, in words; "" when no name was looked for."""
        counts = [f"{len(one.alive)} {one.name}" for one in self.groups if isinstance(one, Group)]
        return ", ".join(counts) + self.whose if counts else ""


def regex(text: str) -> str:
    """Return a regular expression that is one. Raises ValueError."""
    import re

    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is no regular expression: {error}") from None
    return text


class Narrow(NamedTuple):
    """What else must be true of a process: user (name or number), regular expression on its command line, cgroup glob."""

    user: str = ""
    cmdline: str = ""
    cgroup: str = ""


ANY = Narrow()


def scan(
    run: Run, expect: Iterable[tuple[str, int]], narrow: Narrow = ANY, *, period: float = 3600.0, ourselves: str = ""
) -> Table:
    """Return what runs.

    expect     (name, how many at least): a name of `daemons.KNOWN`, or of a program
    period     seconds over which growth is reckoned
    ourselves  a word in the command line of those of our ancestors that are only our wrappers (a shell, sudo)
    Raises Failed: absent (no such user), unreachable (/proc hangs), unreadable.
    """
    wanted = {name: need for name, need in expect if run.wants(name)}
    answer = each(run, {"/proc": _reader(run, tuple(wanted), narrow, os.getpid(), ourselves)}, tried=TRIED)["/proc"]
    if isinstance(answer, Failed):
        raise answer
    before = run.before if isinstance(run.before, dict) else {}
    now = run.clock.boottime()
    rings: dict[str, list[list[float]]] = {}
    groups: list[Group | Failed] = []
    for name, need in wanted.items():
        if answer["hidden"]:
            groups.append(_hidden(name))
            continue
        processes = tuple(Process(*row) for row in answer["found"][name])
        guests = rule(name).guests
        rate = None if guests else _grow(processes, before.get("growth"), rings, now, period)
        groups.append(Group(name, need, processes, answer["others"][name], guests, rate))
    largest = sorted(rings, key=lambda key: -rings[key][-1][1])[:KEPT]
    stuck, since = _stuck(answer["stuck"], before.get("stuck"), run.clock.time())
    kept = {"growth": {key: rings[key] for key in largest}, "stuck": since}
    seen = _hidden("/proc") if answer["hidden"] else stuck
    return Table(answer["total"], tuple(groups), seen, kept, answer["container"])


def _hidden(of: str) -> Failed:
    cure = "membership of the group that the option gid= of the /proc mount names, or a /proc without hidepid"
    return Failed(NOT_ALLOWED, of, TRIED, "it hides the processes of other users (hidepid)", cure)


def _stuck(rows: list[Any], before: Any, now: float) -> tuple[tuple[Stuck, ...], dict[str, float]]:
    from nephoscope.base import samples

    keys = [f"{pid}:{start}:{state}:{switches}" for pid, start, state, switches, _, _ in rows]
    since = samples.since(before, keys, now)
    stuck = [
        Stuck(pid, name, state, now - since[key], detail) for key, (pid, _, state, _, name, detail) in zip(keys, rows)
    ]
    return tuple(sorted(stuck, key=lambda item: -item.seconds)), since


def _grow(
    processes: tuple[Process, ...], before: Any, rings: dict[str, list[list[float]]], now: float, period: float
) -> float | Collecting | None:
    """Add each living process's samples to `rings`, and return the growth of the one that grew most."""
    known = before if isinstance(before, dict) else {}
    rates = []
    for process in processes:
        if process.state in "ZXx":
            continue
        key = f"{process.pid}:{process.start}"
        ring = samples_of(known.get(key), now, period)
        rate = growth(ring, now, process.rss, period)
        if not isinstance(rate, Collecting):
            rates.append(rate)
        if not ring or now - ring[-1][0] >= period / (RING - 3):
            ring.append([round(now, 1), process.rss])
        rings[key] = ring
    return max(rates) if rates else COLLECTING if processes else None


def samples_of(before: Any, now: float, period: float) -> list[list[float]]:
    """Return the kept [seconds of CLOCK_BOOTTIME, bytes] that are of use: not from the future, not much older than a period."""
    ring = []
    for entry in before if isinstance(before, list) else ():
        try:
            at, rss = float(entry[0]), float(entry[1])
        except (TypeError, ValueError, IndexError):
            continue  # foreign or damaged
        if at < now and now - at <= period * 1.25:
            ring.append([at, rss])
    return sorted(ring)[-RING:]


def growth(ring: list[list[float]], now: float, rss: int, period: float) -> float | Collecting:
    """Return bytes per second since the sample nearest to one period ago, never below 0.

    COLLECTING until half a period is known: a daemon that just fills its caches would look like a leak.
    """
    usable = [sample for sample in ring if now - sample[0] >= period / 2]
    if not usable:
        return COLLECTING
    at, then = min(usable, key=lambda sample: abs(now - sample[0] - period))
    return max(0.0, (rss - then) / (now - at))


def names(comm: str, argv: list[str]) -> set[str]:
    """Return the names that a process may be known by: of its program, of the script it runs, of its title, of its comm.

    A title that it gave itself ("neutron-server: api worker (…)", "postgres: checkpointer") counts up to the colon.
    """
    found = {comm} if comm else set()
    if not argv or not argv[0]:
        return found
    first = argv[0]
    if len(argv) == 1 and " " in first:
        first = first.partition(": ")[0].split(" ")[0]
    program = first.rstrip(":").rpartition("/")[2].lstrip("-")  # a log-in shell is called -bash
    found.add(program)
    if program.rstrip("0123456789.") in INTERPRETERS:
        words = iter(argv[1:])
        for word in words:
            if word == "-m":
                found.add(next(words, ""))
                break
            if word == "-c":
                break
            if not word.startswith("-"):
                found.add(word.rpartition("/")[2])
                break
    found.discard("")
    return found


def matches(rule: Rule, known: set[str], line: str) -> bool:
    """Return whether a process of these names and this command line is the daemon of a rule."""
    import re
    from fnmatch import fnmatchcase

    def any_of(globs: tuple[str, ...]) -> bool:
        return not known.isdisjoint(globs) or any(
            fnmatchcase(name, glob) for glob in globs if "*" in glob or "?" in glob or "[" in glob for name in known
        )

    if any_of(rule.programs) and (rule.web or not rule.cmdline or re.search(rule.cmdline, line)):
        return True
    return any_of(rule.web) and re.search(rule.cmdline, line) is not None


class _Stat(NamedTuple):
    comm: str
    state: str
    parent: int
    flags: int
    threads: int
    start: int
    rss: int


def stat_of(data: bytes) -> _Stat:
    """Return the fields of /proc/PID/stat; the name may hold blanks and parentheses. Raises ValueError and IndexError."""
    head, _, tail = data.rpartition(b")")
    fields = tail.split()
    pages = int(fields[21])
    return _Stat(
        head.partition(b"(")[2].decode("utf-8", "replace"),
        fields[0].decode(),
        int(fields[1]),
        int(fields[6]),
        int(fields[17]),
        int(fields[19]),
        pages * os.sysconf("SC_PAGE_SIZE"),
    )


def _reader(run: Run, wanted: tuple[str, ...], narrow: Narrow, own: int, ourselves: str) -> Callable[[], Any]:
    return lambda: read(run, wanted, narrow, own, ourselves)


def read(run: Run, wanted: tuple[str, ...], narrow: Narrow, own: int, ourselves: str) -> dict[str, Any]:
    """Walk through /proc once and return plain JSON: total, hidden, found, others, stuck, container. Runs in the child."""
    import re

    proc = run.path("/proc")
    rules = {name: rule(name) for name in wanted}
    uid = _uid(narrow.user) if narrow.user else None
    pattern = re.compile(narrow.cmdline) if narrow.cmdline else None
    stats, lines = {}, {}
    hidden = False
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        pid = int(entry)
        try:
            stat = stat_of(_bytes(f"{proc}/{entry}/stat"))
            if wanted and not stat.flags & KTHREAD:
                lines[pid] = _bytes(f"{proc}/{entry}/cmdline").decode("utf-8", "replace").rstrip("\0").split("\0")
        except PermissionError:  # hidepid=1, or a security module
            hidden = True
        except (OSError, ValueError, IndexError):  # it ended while we looked
            continue
        else:
            stats[pid] = stat
    hidden = hidden or 1 not in stats  # hidepid=2 shows only our own
    for pid in list(_ours(stats, lines, own, ourselves)) if not run.root else ():
        stats.pop(pid, None)
    uptime = float(_bytes(f"{proc}/uptime").split()[0])
    found: dict[str, list[Any]] = {name: [] for name in wanted}
    others = dict.fromkeys(wanted, 0)
    for pid, stat in sorted(stats.items()):
        argv = lines.get(pid, [])
        line = " ".join(argv)
        known = names(stat.comm, argv)
        for name, how in rules.items():
            if stat.flags & KTHREAD or not matches(how, known, line) or (pattern and not pattern.search(line)):
                continue
            # A zombie has no more than its name: it cannot be told from a daemon's other users, and runs nothing.
            if not _belongs(f"{proc}/{pid}", uid, narrow.cgroup):
                others[name] += 1
                continue
            row = [pid, stat.start, stat.state, stat.threads, stat.rss, max(0.0, uptime - stat.start / TICKS)]
            found[name].append(row if how.guests else row + _descriptors(f"{proc}/{pid}"))
    stuck = [
        [pid, stat.start, stat.state, *_waits(proc, pid, stat, stats)]
        for pid, stat in sorted(stats.items())
        if stat.state in ("D", "Z")
    ]
    seen = {"total": len(stats), "hidden": hidden, "container": _container(proc)}
    return {**seen, "found": found, "others": others, "stuck": stuck[:1000]}


def _container(proc: str) -> bool:
    """Return whether we stand in a PID name space that is not the host's; False where the kernel does not tell (before 3.8)."""
    try:
        return os.readlink(f"{proc}/self/ns/pid") != HOST
    except OSError:
        return False


TICKS = os.sysconf("SC_CLK_TCK")


def _ours(stats: dict[int, _Stat], lines: dict[int, list[str]], own: int, ourselves: str) -> Iterable[int]:
    """Yield the check's own process, this child, and the shells and sudo around it that name it in their command line."""
    yield os.getpid()
    yield own
    pid = stats[own].parent if own in stats else 0
    while ourselves and pid in stats and pid > 1:
        if ourselves in " ".join(lines.get(pid, ())):
            yield pid
        pid = stats[pid].parent


def _bytes(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while True:
            part = os.read(descriptor, 65536)
            parts.append(part)
            if len(part) < 65536 or len(parts) > 32:  # 2 MiB, the longest command line (man execve)
                return b"".join(parts)
    finally:
        os.close(descriptor)


def _uid(user: str) -> int:
    import pwd

    if user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise Failed(ABSENT, user, "look up the user", "there is no such user") from None


def _belongs(folder: str, uid: int | None, cgroup: str) -> bool:
    """Return whether a process has the effective user and the control group asked for; False when it is gone."""
    from fnmatch import fnmatchcase

    try:
        # Not the owner of the directory: that is root for a process that may not be dumped.
        if uid is not None and int(_status(folder)["Uid"].split()[1]) != uid:
            return False
        if cgroup:
            groups = [line.split(":", 2)[2] for line in _bytes(f"{folder}/cgroup").decode().splitlines()]
            return any(fnmatchcase(group, cgroup) for group in groups)
    except (OSError, KeyError, ValueError, IndexError):
        return False
    return True


def _status(folder: str) -> dict[str, str]:
    text = _bytes(f"{folder}/status").decode("utf-8", "replace")
    return {name: value for name, _, value in (line.partition(":") for line in text.splitlines())}


def _descriptors(folder: str) -> list[int | None]:
    """Return how many are open, how many at most by the size of the table, and how many are allowed."""
    count = most = limit = None
    try:
        count = len(os.listdir(f"{folder}/fd"))
    except PermissionError:
        try:
            # Since Linux 6.2 the directory's size is their number, and may be asked by anybody; before that it is 0.
            count = os.stat(f"{folder}/fd").st_size or None
        except OSError:
            pass
    except OSError:
        pass
    try:
        most = int(_status(folder)["FDSize"])
        row = next(
            line for line in _bytes(f"{folder}/limits").decode().splitlines() if line.startswith("Max open files")
        )
        soft = row.split()[3]
        limit = UNLIMITED if soft == "unlimited" else int(soft)
    except (OSError, KeyError, ValueError, IndexError, StopIteration):
        pass
    return [count, most, limit]


def _waits(proc: str, pid: int, stat: _Stat, stats: dict[int, _Stat]) -> list[Any]:
    """Return a number that moves when the process has run, its name, and what it waits for."""
    if stat.state == "Z":
        parent = stats.get(stat.parent)
        return [0, stat.comm, f"its parent is {parent.comm if parent else 'process'} {stat.parent}"]
    switches, detail = 0, ""
    try:
        values = _status(f"{proc}/{pid}")
        switches = int(values["voluntary_ctxt_switches"]) + int(values["nonvoluntary_ctxt_switches"])
        where = _bytes(f"{proc}/{pid}/wchan").decode("ascii", "replace").strip()
        detail = f"in {where}" if where not in ("", "0") else ""
    except (OSError, KeyError, ValueError):
        pass
    return [switches, stat.comm, detail]
