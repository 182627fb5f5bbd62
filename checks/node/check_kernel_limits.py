# SPDX-License-Identifier: Apache-2.0
"""Is the host about to run into a hard kernel limit?

Tables of the kernel are judged by how full they are: open files, tracked connections, neighbours (ARP and NDP), process
numbers, inotify of the user who has most, System V semaphores and shared memory (PostgreSQL), asynchronous I/O. What was
thrown away because a table was full is a warning of its own. What this kernel has not is left out unless its mode is asked
for by name; so is inotify where other users' descriptors are hidden, or those of the host (in a container).

Loop devices are free without end where the kernel makes them when asked (/dev/loop-control); `--max-loop` says how many there
may be where something else makes them beforehand (Eucalyptus: CREATE_NC_LOOP_DEVICES, CREATE_SC_LOOP_DEVICES). A kernel stays
tainted until it is booted anew: `--accept-taint D` takes note of it.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, NOT_ALLOWED, Failed
from nephoscope.plugin import CRITICAL, OK, Check, Finding, Metric, Sudo, Threshold, count
from nephoscope.probes import kernel


def options(add):
    add("--max-loop", type=count, metavar="N", looks=False, help="how many loop devices there may be")
    add("--accept-taint", repeat=True, metavar="LETTER", looks=False, help="a taint that is known (M, B, D, L)")


def probe(options, run):
    return kernel.look(run, options.mode, sudo=options.mode_given)


def judge(seen, options):
    skipped = []
    for part in (*seen.limits, seen.loops, seen.taint):
        if isinstance(part, Failed):
            absent = part.kind == ABSENT and part.of not in ("files", "pids", "taint")
            hidden = part.kind == NOT_ALLOWED and part.of == "inotify"
            if (absent or hidden) and not options.mode_given:
                skipped.append(f"{part.of} ({part.error})")
            else:
                yield part
    yield from (Metric(limit.name, limit.share, limit.of, 0, 100) for limit in seen.tables)
    yield from (Metric(overflow.name, overflow.rate, overflow.of) for overflow in seen.overflows)
    if isinstance(seen.loops, kernel.Loops):
        yield Metric("loop_used", seen.loops.used)
        most = options.max_loop or (0 if seen.loops.grows else seen.loops.total)
        if most:
            yield Metric("loop_free", max(0, most - seen.loops.used), least=0, most=most)
    for letter in seen.taint if isinstance(seen.taint, str) else ():
        if letter in kernel.DAMAGE and letter not in options.accept_taint:
            yield Finding(CRITICAL, f"taint {letter}", f"since boot the kernel has had {kernel.DAMAGE[letter]}")
    said = seen.summary()
    if said:
        yield Finding(OK, "", said + (f"; not wholly seen: {', '.join(skipped)}" if skipped else ""))


RUNBOOK = """
By hand: `cat /proc/sys/fs/file-nr`, `sysctl net.netfilter net.ipv4.neigh.default`, `ipcs -u`, `losetup -a`, `dmesg | tail -50`
("table full", "neighbour table overflow", "too many open files"). Files: `lsof | awk '{print $1}' | sort | uniq -c | sort -n |
tail`. conntrack: `conntrack -S` (full: early_drop, and drop beyond insert_failed; insert_failed: two packets of a connection
at once, ordinary in small numbers), then raise nf_conntrack_max, or find who floods: `conntrack -L | head`. neigh: raise
gc_thresh1 to 3. pids: `ps -eLf | awk '{print $8}' | sort | uniq -c | sort -n | tail`. inotify: raise
fs.inotify.max_user_instances. ipc: `ipcs -a`; remains of a database that crashed: `ipcrm`. loop: `losetup -l`, detach what
no volume or image uses. Tainted by M or B: memory or processor failing, check_hardware_sensors, move the guests away;
D or L: read the trace in the kernel's log, boot anew.
"""


def full(name, mode, help, print="each"):
    return Threshold(name, "%", "80", "90", mode=mode, main=name == mode, print=print, help=help)


CHECK = Check(
    options,
    probe,
    judge,
    answers=("W7", "W31", "W40"),
    where=("node",),
    needs=[Sudo(*kernel.SCAN)],
    runbook=RUNBOOK,
    keep=kernel.Kernel.keep,
    modes={
        "files": "open files of the host",
        "conntrack": "tracked connections of this network namespace",
        "neigh": "neighbours of the host, IPv4 and IPv6",
        "pids": "threads of the host, and of a container with a limit",
        "inotify": "inotify instances and watches of each user",
        "ipc": "System V semaphores, shared memory, message queues",
        "aio": "asynchronous I/O requests",
        "loop": "loop devices",
        "taint": "has the kernel crashed or met broken hardware since boot",
    },
    thresholds=[
        full("files", "files", "open files"),
        full("conntrack", "conntrack", "tracked connections"),
        full("neigh", "neigh", "neighbours"),
        full("pids", "pids", "process and thread numbers"),
        full("inotify_instances", "inotify", "inotify instances of a user", "worst"),
        full("inotify_watches", "inotify", "inotify watches of a user", "worst"),
        full("ipc", "ipc", "System V objects"),
        full("aio", "aio", "asynchronous I/O requests"),
        Threshold("loop_used", mode="loop", help="loop devices in use"),
        Threshold("loop_free", "", "10:", "5:", mode="loop", main=True, help="loop devices that are left"),
        Threshold("conntrack_full_rate", "", "0", mode="conntrack", help="connections dropped, as the table was full"),
        Threshold(
            "conntrack_insert_failed_rate", mode="conntrack", help="packets that lost a race, or a chain too long"
        ),
        Threshold("neigh_full_rate", "", "0", mode="neigh", help="neighbours refused, as the table was full"),
    ],
)
main = CHECK.main
