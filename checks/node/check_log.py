# SPDX-License-Identifier: Apache-2.0
"""Did lines that matter appear in this log lately, is it still being written and rotated, and was debug left on?

New bytes only, each once, through rotation (renamed, copied and truncated, compressed). A line matters by its level (oslo.log,
Eucalyptus' C, Java and fault formats, httpd, MariaDB, RabbitMQ and most others) or by a pattern. Counts stand for the last
--period, so an event is told for one whole period after it was found. The first run judges the last period, at most 64 MiB,
and says so. Lines of a traceback belong to the record above them. Secrets in quoted lines are masked.
A pattern of --file passes over archives, and over a web server's access logs unless its last part says "access". Where a
network file system is mounted, logs are first opened in a child, so that a dead server holds up its own logs only.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import OK, UNKNOWN, WARNING, Check, Finding, Group, Metric, Preset, Threshold, duration, size
from nephoscope.probes import log_packs, logfile


def options(add):
    add("--file", repeat=True, default=(), type=logfile.absolute, metavar="PATH", help="log file; * ? [ ] match")
    add("--journal", repeat=True, default=(), metavar="UNIT", help="unit whose journal is read; all: every entry")
    add("--journal-file", repeat=True, default=(), metavar="PATH", help="journal file or directory to read instead")
    add("--kernel", flag=True, help="read the kernel's messages (/dev/kmsg, else the journal)")
    add("--archive-dir", repeat=True, default=(), metavar="DIR", help="where rotated files are moved to (olddir)")
    add("--line-format", default="auto", choices=("auto", *logfile.FORMATS), help="format of the lines")
    add("--pattern", repeat=True, default=(), type=logfile.regex, metavar="REGEX", help="matching lines are errors")
    add("--critical-pattern", repeat=True, default=(), type=logfile.regex, metavar="REGEX", help="… are critical")
    add("--ignore", repeat=True, default=(), type=logfile.regex, metavar="REGEX", help="matching lines do not count")
    add("--only-patterns", flag=True, help="levels do not count, only patterns do")
    add("--period", default=600.0, type=duration, metavar="DURATION", help="how far back lines count")
    add("--max-read", default=256 << 20, type=size, metavar="SIZE", help="bytes read in one run", looks=False)


def probe(options, run):
    return logfile.survey(options, run)


def judge(logs, options):
    for log in logs.logs:
        if isinstance(log, logfile.Log):
            yield from judge_one(log, options)
        else:
            yield log if isinstance(log, Failed) else Finding(OK, "no file matches", log.of)
    if "correlate" in options.mode and any(isinstance(log, logfile.Log) for log in logs.logs):
        yield Metric("requests", len(logs.requests))
        for request in sorted(logs.requests)[:5]:
            yield Finding(OK, "request", f"{request} had errors in {', '.join(logs.requests[request])}")


def judge_one(log, options):
    if log.missing:
        yield Failed(ABSENT, log.path, "", "is missing; what its rotated file held was read")
    if log.gap:
        yield Finding(UNKNOWN, log.path, f"has a gap: {log.gap}")
    if log.behind:
        yield Finding(WARNING, log.path, f"is behind by {log.behind} bytes: more was written than one run may read")
    if log.blind(options):
        yield Finding(UNKNOWN, log.path, log.blind(options))
    for name, value in log.numbers(options):
        yield Metric(name, value, of=log.path)
    for text in (*log.notes, *(f"has: {sample}" for sample in log.samples)):
        yield Finding(OK, log.path, text)


RUNBOOK = """
By hand: `less +G LOG` (or `journalctl -u UNIT -p err --since -1h`, `dmesg -T -l err`), and for one request on all hosts
`grep req-… /var/log/*/*.log`. The lines below line 1 quote some of what was counted.
Errors: find the first one, not the loudest; a traceback's last line names the cause; the request id leads to the other
services. A known harmless line: `--ignore`. Too old: is the service running (`systemctl status`), is the disk full, did
it lose its file at rotation (`ls -l /proc/PID/fd | grep deleted`)? Growing or large: what repeats
(`tail -n 10000 LOG | cut -c25-80 | sort | uniq -c | sort -n | tail`), does logrotate run (`logrotate -d
/etc/logrotate.conf`)? Debug: `debug = False` in the service's configuration, then restart it. Behind: raise --max-read
and -t, or run it more often. Gap: keep one rotation more (`rotate`), say where rotated files go (--archive-dir), or run
it more often than files are rotated away.
"""

MODES = {
    "errors": "how many lines that matter there were in --period",
    "fresh": "is it still written",
    "growth": "how fast it grows, and whether it is rotated at all",
    "debug": "was debug left on",
    "correlate": "how many user requests had errors, by request id over all logs",
}

PRESETS = {
    "kernel": Preset("hung tasks, machine checks, file systems, conntrack, memory", options=log_packs.KERNEL),
    "amqp": Preset("OpenStack services that lost the message bus", options=log_packs.AMQP),
    "cinder": Preset("the volume service", options=log_packs.CINDER),
    "nova-imagecache": Preset("base files that the image cache removes", options=log_packs.NOVA_IMAGECACHE),
    "dnsmasq": Preset("address pools used up, refused leases", options=log_packs.DNSMASQ),
    "euca-clc": Preset("Eucalyptus cloud controller and its faults", options=log_packs.EUCA_CLC),
    "euca-sc": Preset("Eucalyptus storage controller and its faults", options=log_packs.EUCA_SC),
    "euca-cc": Preset(
        "Eucalyptus cluster controller, its talk with the nodes, and its faults", options=log_packs.EUCA_CC
    ),
    "euca-walrus": Preset("Eucalyptus object store and gateway, and their faults", options=log_packs.EUCA_WALRUS),
    "euca-nc": Preset("Eucalyptus node controller and its faults", options=log_packs.EUCA_NC),
    "periodic": Preset("periodic tasks that fail or outlast their interval", options=log_packs.PERIODIC),
    "controller": Preset("all logs of an OpenStack controller", options=log_packs.CONTROLLER),
    "compute": Preset("nova-compute and the network agents", options=log_packs.COMPUTE),
}

CHECK = Check(
    options, probe, judge, keep=lambda logs: logs.state, needs=(Group("adm"),), modes=MODES, presets=PRESETS, runbook=RUNBOOK,
    answers=("W13", "W16", "W22", "W26", "W35", "W38"),
    thresholds=[
        Threshold("errors", "", "0", "9", mode="errors", main=True, help="lines of level error or worse, and matches"),
        Threshold("warnings", "", mode="errors", help="lines of level warning"),
        Threshold("criticals", "", None, "0", mode="errors", help="lines of level critical, fatal or worse; faults"),
        Threshold("age", "s", "900", "3600", mode="fresh", main=True, help="time since the log was last written"),
        Threshold("growth_rate", "B", "174763", mode="growth", main=True, help="growth; default 10 MiB a minute"),
        Threshold("size", "B", "4294967296", mode="growth", help="size of the current file: rotation has stopped"),
        Threshold("debug", "", "0", mode="debug", main=True, help="lines of level debug or finer"),
        Threshold("requests", "", mode="correlate", main=True, help="user requests with at least one error"),
        Threshold("lines", "c", help="lines read since the first run"),
        Threshold("bytes", "c", help="bytes read since the first run"),
    ],
)  # fmt: skip
main = CHECK.main
