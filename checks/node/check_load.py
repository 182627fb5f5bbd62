# SPDX-License-Identifier: Apache-2.0
"""Is the CPU the bottleneck, or is the load really I/O wait, steal or pressure stall?

Load counts tasks that run, want to run, or wait for a disk. It is judged per processor, over five minutes; where it is too
high, what it is made of stands behind it. That is judged, too: shares of the processors' time since the last runs (five
minutes back), and the kernel's own account of who waited (pressure stall information), which is left out where the kernel
keeps none unless `--mode pressure` asks for it. In a container load and shares are the host's (unless lxcfs gives it its own);
`throttled` is the container's.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import OK, Check, Finding, Metric, Threshold
from nephoscope.probes import cpu

SHARES = {"cpu": ("busy", "user", "system", "throttled"), "iowait": ("iowait",), "steal": ("steal",)}


def options(add):
    pass


def probe(options, run):
    asked = set(options.mode)
    return cpu.look(run, load="load" in asked, shares=not asked.isdisjoint(SHARES), pressure="pressure" in asked)


def judge(seen, options):
    if isinstance(seen.load, Failed):
        yield seen.load
    elif seen.load:
        yield from map(Metric, ("load1", "load5", "load15"), seen.load)
        if not isinstance(seen.cores, Failed):
            yield Metric("load5_per_core", seen.load[1] / seen.cores, detail=seen.words)
    if isinstance(seen.cores, Failed) and seen.cores != seen.shares:
        yield seen.cores
    if isinstance(seen.pressure, Failed):
        if seen.pressure.kind == ABSENT and not options.mode_given:
            yield Finding(OK, "pressure", "is not kept by this kernel")
        else:
            yield seen.pressure
    elif seen.pressure:
        yield from (Metric(f"pressure_{name}", share) for name, share in seen.pressure.items())
    if isinstance(seen.shares, Failed):
        yield seen.shares
    elif seen.shares:
        for mode in options.mode:
            yield from (Metric(name, seen.shares[name]) for name in SHARES.get(mode, ()) if name in seen.shares)


RUNBOOK = """
By hand: `uptime; vmstat 5 5; top`, and `cat /proc/pressure/*`.
busy high: `top` or `pidstat 5` names the process; on a hypervisor `virt-top` names the guest. iowait or io pressure high:
`iostat -x 5` shows the disk, `ps -eo state,wchan:30,cmd | grep ^D` who waits for it. Load high and processors idle: tasks
wait for a dead disk or server: check_filesystem, check_process --mode state. steal high: this is a guest, its host is
overcommitted: look there. throttled high: raise the container's CPU quota. Memory pressure: check_memory.
"""

CHECK = Check(
    options,
    probe,
    judge,
    answers=("W1", "W2", "W8", "W36", "W38"),
    where=("node",),
    runbook=RUNBOOK,
    keep=cpu.Cpu.keep,
    modes={
        "load": "how many tasks run or wait, per processor",
        "cpu": "how busy are the processors",
        "iowait": "do they stand idle waiting for disks",
        "steal": "does the hypervisor give their time to others",
        "pressure": "who waits for processors, disks, memory",
    },
    thresholds=[
        Threshold("load1", mode="load", help="load average of one minute"),
        Threshold("load5", mode="load", help="of five minutes"),
        Threshold("load15", mode="load", help="of fifteen minutes"),
        Threshold("load5_per_core", "", "1", "2", mode="load", main=True, help="of five minutes, for each processor"),
        Threshold("pressure_cpu", "%", "60", "90", mode="pressure", help="time in which some task waited to run"),
        Threshold("pressure_io", "%", "20", "60", mode="pressure", help="time in which all tasks waited for disks"),
        Threshold("pressure_memory", "%", "5", "20", mode="pressure", help="time in which all waited for memory"),
        Threshold("busy", "%", "95", mode="cpu", main=True, late=True, help="user and system time"),
        Threshold("user", "%", mode="cpu", late=True, help="time in programs and guests"),
        Threshold("system", "%", mode="cpu", late=True, help="time in the kernel, interrupts included"),
        Threshold("throttled", "%", "25", mode="cpu", late=True, help="periods that used a container's quota up"),
        Threshold(
            "iowait", "%", "20", "40", mode="iowait", main=True, late=True, help="idle, a disk request under way"
        ),
        Threshold("steal", "%", "5", "15", mode="steal", main=True, late=True, help="time given to other guests"),
    ],
)
main = CHECK.main
