# SPDX-License-Identifier: Apache-2.0
"""Are the right daemons running, in the right number, as the right user, without leaking memory or descriptors?

`--expect NAME=N` says what must run; `--preset` brings the list of a role. A NAME is that of a program, or one of the names
that this suite knows, like `keystone`, an application inside uwsgi or Apache (which must give its processes a display-name), or
`eucalyptus-nc`, an httpd with a configuration of its own. A process that is stopped by a signal or dead does not count as
running. Memory, descriptors and threads are those of the daemon's largest process; growth is known after half a `--period`.
Descriptors of other users' processes can be counted from Linux 6.2 on; before, they are only known to be few when they are.
Without any name, only processes that are stuck are looked for: a minute or longer in uninterruptible sleep, or dead and not
collected. Inside a container only the container's processes are seen, and the summary says so.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Metric, Preset, Threshold, duration, expect
from nephoscope.plugin.options import BadOption
from nephoscope.probes import daemons, process


def options(add):
    add("--expect", repeat=True, type=expect, metavar="NAME[=N]", help="what must run, at least N times (default 1)")
    add("--user", default="", help="count only processes of this effective user, by name or number")
    add("--cmdline", default="", metavar="REGEX", type=process.regex, help="count only command lines that match")
    add("--cgroup", default="", metavar="GLOB", help="count only processes of this control group, like */httpd.service")
    add("--period", type=duration, default=3600.0, help="time over which growth is reckoned (default 1h)")


def probe(options, run):
    narrow = process.Narrow(options.user, options.cmdline, options.cgroup)
    if not options.expect and (any(narrow) or (options.mode_given and set(options.mode) != {"state"})):
        raise BadOption("--user, --cmdline, --cgroup and modes but state look at nothing without --expect or --preset")
    return process.scan(run, options.expect, narrow, period=options.period, ourselves=CHECK.name)


def judge(table, options):
    if "count" in options.mode and table.running:
        yield Finding(OK, "", f"running: {table.running}")
    for group in table.groups:
        yield from [group] if isinstance(group, Failed) else _group(group, options.mode)
    if "state" in options.mode:
        yield from [table.stuck] if isinstance(table.stuck, Failed) else _stuck(table)


def _stuck(table):
    # A minute: a process that waits for a disk is in state D for a moment, and a child is dead for one.
    long = [one for one in table.stuck if one.seconds >= 60]
    yield Finding(OK, "", f"{table.total} processes{table.whose}, {len(long)} of them stuck")
    yield from (Finding(OK, f"{one.name}[{one.pid}]", one.words) for one in long)
    yield Metric("blocked", sum(one.state == "D" for one in long))
    yield Metric("zombies", sum(one.state == "Z" for one in long))


def _group(group, modes):
    if "count" in modes:
        yield Metric("count", len(group.alive), of=group.name)
        if len(group.alive) < group.need:
            yield Finding(CRITICAL, group.name, f"{len(group.alive)} running, {group.need} expected{group.idle}")
        elif group.stopped:
            yield Finding(WARNING, group.name, f"{group.stopped} of {len(group.processes)} stopped by a signal")
    elif not group.alive:
        yield Failed(ABSENT, group.name, "look for its processes", "none runs")
    for name, value in group.values.items():
        if name.partition("_")[0] in modes:
            yield Metric(name, value, of=group.name)
    if "fds" in modes and group.uncounted:
        yield group.uncounted if isinstance(group.uncounted, Failed) else Finding(OK, group.name, group.uncounted)


CHECK = Check(
    options,
    probe,
    judge,
    keep=lambda table: table.kept,
    modes={
        "count": "what must run does",
        "rss": "memory",
        "growth": "memory, over time",
        "fds": "open descriptors",
        "threads": "threads",
        "age": "time since the start",
        "state": "processes that are stuck, whoever's",
    },
    thresholds=[
        Threshold("count", mode="count", main=True, help="processes that run"),
        Threshold("rss", "B", mode="rss", help="memory of the largest process"),
        Threshold("fds", "%", "80", "90", mode="fds", help="open descriptors, as a share of what the process may open"),
        Threshold("threads", mode="threads", help="threads of the process that has most"),
        Threshold("age", "s", mode="age", help="age of the oldest process"),
        Threshold("blocked", "", "0", "4", mode="state", help="processes in uninterruptible sleep for a minute"),
        Threshold("zombies", "", "5", "20", mode="state", help="processes dead and not collected for a minute"),
        # 1 GiB and 4 GiB an hour
        Threshold("growth_rate", "B", "298262", "1193047", mode="growth", help="growth of the process that grew most"),
    ],
    presets={
        name: Preset(words, options={"expect": tuple(map(expect, names))})
        for name, (words, *names) in daemons.ROLES.items()
    },
    runbook="""
See it by hand: `ps -eo pid,user,stat,lstart,rss,nlwp,wchan:20,args | grep NAME`; descriptors: `ls /proc/PID/fd | wc -l`.
Not running: `systemctl status UNIT` and the end of its log; killed for memory: `journalctl -k | grep -i oom`.
Stopped: somebody debugs it, or sent SIGSTOP; `kill -CONT PID` when nobody is at it.
In state D: `cat /proc/PID/wchan /proc/PID/stack` (root) says which driver or file system it waits for; a signal does not help,
the storage behind it must answer. Zombies: their parent does not collect them, and must be restarted, not they.
Growing: note time and size, restart the service in a quiet hour, and look for the request that costs so much.
""",
)
main = CHECK.main
