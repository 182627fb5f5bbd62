# SPDX-License-Identifier: Apache-2.0
"""Is the cloud controller alive and enabled, with its internal components and its database port?

Serves Eucalyptus 3.1 to 5.x, without any credential: the JVM tells by its Heartbeat (GET /services/Heartbeat, plain HTTP or TLS
on the same port) which components it has, and from their names the check knows which of them this version's cloud controller
must have. Only what is registered on this host counts, and what `--expect` names: on a separated cloud a Heartbeat lists
everything that lives elsewhere too. On the node itself (without `-H`, or with `--local`) it also looks for the process and for
who listens on 8777. A Heartbeat tells enabled from not enabled, and no more: why, and the other hosts' services, are
check_euca_services' to say.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, BadOption, Check, Finding, Metric, Threshold
from nephoscope.probes import euca_clc, euca_daemon, heartbeat

LOCAL = ("process", "database")


def options(add):
    heartbeat.options(add)
    help = "a component that must be enabled on this host, like objectstorage, or it is CRITICAL"
    add("--expect", repeat=True, type=heartbeat.component, metavar="TYPE", looks=False, help=help)
    add("--standby", flag=True, looks=False, help="the passive half of a pair (up to 4.1): enabled is WARNING")


def probe(options, run):
    if wrong := heartbeat.unseen(options, LOCAL):
        raise BadOption(wrong)
    return euca_clc.look(run, options)


def judge(found, options):
    yield from (part for part in found if isinstance(part, Failed))
    if isinstance(found.beat, heartbeat.Heartbeat):
        if "heartbeat" in options.mode:
            core = _core(found.beat.find("eucalyptus"), options.standby)
            yield from (core, Finding(OK, "", f"eucalyptus {core.text}")) if core.state == OK else (core,)
            yield Metric("time", found.beat.seconds)
        if "components" in options.mode:
            yield from _components(found.beat, options)
    if isinstance(found.jvm, euca_daemon.Running):
        yield Finding(OK if found.jvm.alive else CRITICAL, found.jvm.name, found.jvm.words)
    if isinstance(found.database, bool):
        text = f"{'listens' if found.database else 'does not listen'} on port {euca_clc.DATABASE}"
        bad = WARNING if options.standby else CRITICAL
        yield Finding(OK if found.database else bad, "database", text)


def _core(core, standby):
    if core is None or not core.local:
        return Finding(CRITICAL, "eucalyptus", "is not registered on this host: no cloud controller")
    text = f"is {core.state}"
    if standby:
        text += ": the standby has taken over" if core.enabled else ", as a standby should be"
        return Finding(WARNING if core.enabled else OK, core.name, text)
    return Finding(OK if core.enabled else CRITICAL, core.name, text)


def _components(beat, options):
    local, enabled = beat.local, sum(one.enabled for one in beat.local)
    yield Finding(OK, "", f"{enabled} of {len(local)} components of this host are enabled")
    yield Metric("enabled", enabled)
    yield Metric("total", len(local))
    for one in euca_clc.concerns(beat, options.expect):
        if one.wanted or not options.standby:
            yield Finding(OK if one.well else CRITICAL if one.wanted else WARNING, one.name, f"is {one.state}")


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("http",),
    answers=("W18",),
    modes={
        "heartbeat": "the JVM answers in time, and its cloud controller is enabled",
        "components": "the other components of this host are enabled",
        "process": "the JVM runs (on the node)",
        "database": "the database's port is open (on the node)",
    },
    thresholds=[
        Threshold("time", "s", "2", mode="heartbeat", main=True, help="time until the whole Heartbeat was there"),
        Threshold("enabled", mode="components", help="components of this host that are enabled"),
        Threshold("total", mode="components", help="components that are registered on this host"),
    ],
    runbook="""
By hand: `curl -s http://CLC:8773/services/Heartbeat | grep local=true`; on the host `systemctl status eucalyptus-cloud`,
`ss -ltnp | grep -E '8773|8777'`, `ps -ef | grep eucalyptus-cloud`.
No answer: the JVM is starting (it takes some minutes), out of memory (*.hprof in /var/log/eucalyptus), or stopped: the end of
cloud-output.log and cloud-error.log. Answers slowly: full collections (check_euca_sensors --mode gc) or a busy disk.
Not enabled: `euserv-describe-services` on it says the state and why; most often the database or the clock. Database closed: one
`postgres -D /var/lib/eucalyptus/db/data` must run, started by the JVM; its log is in db/data/pg_log; is the disk full?
Not registered on this host: wrong host, or the host's address has changed; `euserv-describe-services -a`.
A standby that took over: find out why the other one fell, before it is started again (lock files in db/data).
""",
)
main = CHECK.main
