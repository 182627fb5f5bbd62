# SPDX-License-Identifier: Apache-2.0
"""What do Eucalyptus' own sensors say about heap, collections, threads, database pools, messages and states?

Serves 4.1 to 5.x: it reads the JSON files below the status directory in Eucalyptus' run directory, written by the JVM and by
the CC and NC of C when their sensors are switched on, which they are not by default. Each file tells for how long it holds
(ttl): what is older is not believed, and becomes a warning at twice its ttl and critical at five times, so that a process that
stopped is not shown as healthy. A sensor that an earlier run saw and that is gone is missed for a week. The share of failed
messages is that of the last five minutes; their mean is over all since the CC or NC was started, and so is slow to rise. `gc`
is the share of time that collections took over five minutes.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Group, Metric, Threshold
from nephoscope.plugin.options import directory
from nephoscope.probes import euca_sensors

STATES = {"ok": OK, "standby": WARNING, "passing": WARNING, "worker": WARNING, "failed": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add("--directory", default="", type=directory, metavar="DIR", help="the sensors' place (default: eucalyptus.conf)")
    add("--standby", repeat=True, default=(), metavar="TYPE", looks=False, help="component for which DISABLED is right")


def probe(options, run):
    return euca_sensors.look(run, options.directory)


def judge(found, options):
    yield from found.failures
    yield Finding(OK, "", found.summary)
    for sensor in found.sensors:
        age = f"{sensor.age:.0f} s old, holds for {sensor.ttl:.0f} s"
        yield Metric("stale", sensor.stale, of=sensor.name, detail=age)
        if sensor.stuck:
            yield Finding(WARNING, sensor.name, "is not written: a crash left its .new file behind, remove that")
    yield from (Metric(value.name, value.value, of=value.of, detail=value.detail) for value in found.values)
    for word in found.words:
        if word.mode in options.mode:
            declared = word.kind == "standby" and word.of in options.standby
            yield Finding(OK if declared else STATES[word.kind], word.of, word.text)
    for mode in options.mode:
        if mode in found.missing:
            text = "no sensor of it is here"
            yield Failed(ABSENT, mode, "", text) if options.mode_given else Finding(OK, mode, text)
        if mode in found.void:
            yield Finding(UNKNOWN, mode, "is not known: its sensors are too old to be believed")


CHECK = Check(
    options,
    probe,
    judge,
    keep=lambda found: found.kept,
    needs=(Group("eucalyptus-status"),),
    answers=("W17",),
    modes={
        "heap": "memory of the JVM",
        "gc": "time that the JVM spends collecting garbage",
        "threads": "threads of the JVM, and deadlocks",
        "dbpool": "pools of database connections",
        "messages": "messages of the CC or NC: failures and duration",
        "state": "each component's own check and state",
    },
    thresholds=[
        Threshold("stale", "%", "200", "500", print="worst", help="age of a sensor, as a share of its ttl"),
        Threshold("heap", "%", "80", "90", mode="heap", main=True, help="old generation, as a share of its maximum"),
        Threshold("perm", "%", "90", "95", mode="heap", help="permanent generation (before Java 8)"),
        Threshold("heap_used", "B", mode="heap", help="heap in use"),
        Threshold("deadlocked", "", None, "0", mode="threads", main=True, help="threads in a deadlock"),
        Threshold("threads", mode="threads", help="threads"),
        Threshold("pool", "%", "80", "95", mode="dbpool", main=True, help="connections of a pool in use"),
        Threshold("msg_mean", "s", "5", "30", mode="messages", help="mean duration of a message since the start"),
        Threshold("gc", "%", "10", "30", mode="gc", main=True, late=True, help="share of time spent collecting"),
        Threshold("msg_fail", "%", "5", "20", mode="messages", main=True, late=True, help="messages that failed"),
    ],
    runbook="""
By hand: `find /run/eucalyptus/status -type f -exec grep -H . {} +`; each file tells timestamp, ttl and values.
Stale, or gone: does the process run (`systemctl status eucalyptus-cloud eucalyptus-cluster eucalyptus-node`), is /run full, is
there a left-over *.new beside it (remove it)? Switched off meanwhile: `euctl stats.enable_stats`, ENABLED_SENSORS in
eucalyptus.conf. Nothing at all: switch them on in the same two places.
Heap: look for *.hprof in the log directory; raise -Xmx in CLOUD_OPTS, or find what holds it (`jmap -histo:live PID | head`).
Collections beyond a tenth of the time go before an OutOfMemoryError. Deadlock: `jstack PID`, then restart eucalyptus-cloud.
Pool: who holds connections (check_postgres, `pg_stat_activity` on port 8777)? Messages: cc.log or nc.log at the same minute.
A check that FAILED, or NOTREADY, BROKEN: `euserv-describe-services --events` tells why. An NC that is DISABLED takes no
instances: look at eucanetd first. DISABLED on a standby is right: `--standby TYPE`.
""",
)
main = CHECK.main
