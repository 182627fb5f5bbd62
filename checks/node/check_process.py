# SPDX-License-Identifier: Apache-2.0
"""Are the right daemons running, in the right number, as the right user, without leaking memory or descriptors?

`--expect NAME=N` says what must run; `--preset` brings the list of a role. A NAME is that of a program, or one of the names
that this suite knows, like `keystone`, an application inside uwsgi or Apache (which must give its processes a display-name), or
`eucalyptus-nc`, an httpd with a configuration of its own. A process that is stopped by a signal or dead does not count as
running. Memory, descriptors and threads are those of the daemon's largest process; growth is known after half a `--period`.
Descriptors of other users' processes can be counted from Linux 6.2 on; before, they are only known to be few when they are.
Without any name, only processes that are stuck are looked for: a minute or longer in uninterruptible sleep, or dead and not
collected.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, NOT_ALLOWED, Failed
from nephoscope.plugin import (
    CRITICAL,
    OK,
    WARNING,
    BadOption,
    Check,
    Finding,
    Metric,
    Preset,
    Threshold,
    duration,
    expect,
)
from nephoscope.probes import daemons, process

STUCK = 60.0  # seconds: a process that waits for a disk is in state D for a moment, and a child is dead for one


def options(add):
    add("--expect", repeat=True, type=expect, metavar="NAME[=N]", help="what must run, at least N times (default 1)")
    add("--user", default="", help="count only processes of this effective user, by name or number")
    add(
        "--cmdline",
        default="",
        metavar="REGEX",
        type=_pattern,
        help="count only processes whose command line has a match",
    )
    add("--cgroup", default="", metavar="GLOB", help="count only processes of this control group, like */httpd.service")
    add(
        "--period",
        type=duration,
        default=3600.0,
        metavar="DURATION",
        help="time over which growth is reckoned (default 1h)",
    )


def _pattern(text):
    import re

    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is no regular expression: {error}") from None
    return text


def probe(options, run):
    if not options.expect and options.mode_given and options.mode != ("state",):
        raise BadOption("without --expect or --preset there is only --mode state to look at")
    narrow = process.Narrow(options.user, options.cmdline, options.cgroup)
    return process.scan(run, options.expect, narrow, period=options.period, ourselves=CHECK.name)


def judge(table, options):
    seen = [group for group in table.groups if not isinstance(group, Failed)]
    if "count" in options.mode and seen:
        yield Finding(OK, "", f"running: {', '.join(f'{_alive(group)} {group.name}' for group in seen)}")
    for group in table.groups:
        yield from [group] if isinstance(group, Failed) else _group(group, options)
    if "state" in options.mode:
        yield from [table.stuck] if isinstance(table.stuck, Failed) else _stuck(table)


def _alive(group):
    return sum(one.alive for one in group.processes)


def _stuck(table):
    long = [item for item in table.stuck if item.seconds >= STUCK]
    yield Finding(OK, "", f"{table.total} processes, {len(long)} of them stuck")
    for item in long:
        yield Finding(
            OK, f"{item.name}[{item.pid}]", f"in state {item.state} for {item.seconds:.0f} s {item.detail}".rstrip()
        )
    yield Metric("blocked", sum(item.state == "D" for item in long))
    yield Metric("zombies", sum(item.state == "Z" for item in long))


def _group(group, options):
    alive = [one for one in group.processes if one.alive]
    if "count" in options.mode:
        yield Metric("count", len(alive), of=group.name)
        yield from _missing(group, len(alive), options)
    elif not alive:
        yield Failed(ABSENT, group.name, "look for its processes", "none runs")
    if not alive or group.guests:
        return
    if "rss" in options.mode:
        yield Metric("rss", max(one.rss for one in alive), of=group.name)
    if "growth" in options.mode:
        yield Metric("growth_rate", group.growth, of=group.name)
    if "threads" in options.mode:
        yield Metric("threads", max(one.threads for one in alive), of=group.name)
    if "age" in options.mode:
        yield Metric("age", max(one.age for one in alive), of=group.name)
    if "fds" in options.mode:
        yield from _descriptors(group.name, alive)


def _missing(group, alive, options):
    stopped = sum(one.state in "Tt" for one in group.processes)
    dead = len(group.processes) - alive - stopped
    if alive < group.need:
        also = [(stopped, "stopped by a signal"), (dead, "dead and not collected"), (group.others, "not as asked for")]
        more = "".join(f", {number} {what}" for number, what in also if number)
        yield Finding(CRITICAL, group.name, f"{alive} running, {group.need} expected{more}")
    elif stopped:
        yield Finding(WARNING, group.name, f"{stopped} of {stopped + alive} stopped by a signal")


def _descriptors(name, alive):
    shares = [100 * one.fds / one.fds_limit for one in alive if one.fds is not None and one.fds_limit]
    if shares:
        yield Metric("fds", max(shares), of=name)
    uncounted = [one for one in alive if one.fds is None]
    # The size of the table is a bound: at most half of the limit is no news whatever the number.
    if any(one.fds_most is None or (one.fds_limit and 2 * one.fds_most > one.fds_limit) for one in uncounted):
        yield Failed(
            NOT_ALLOWED, name, "count open descriptors", "another user's", f"root or {name}'s user, or Linux 6.2"
        )
    elif uncounted:
        yield Finding(
            OK, name, f"has at most {max(one.fds_most for one in uncounted)} descriptors open, less than half"
        )


def keep(table):
    return table.kept


CHECK = Check(
    options,
    probe,
    judge,
    keep=keep,
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
