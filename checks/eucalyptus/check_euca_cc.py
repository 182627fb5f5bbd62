# SPDX-License-Identifier: Apache-2.0
"""Is the cluster controller serving, in the state it should be, and does the cloud controller's word reach it?

Serves the C one of Eucalyptus 3.1 to 4.4, an httpd on 8774, and the Java one of 5.x, which lives in the JVM on 8773: it asks
8774 first and, where nothing serves there, whether a 5.x answers on 8773 (`--jvm` asks that alone). From afar the C one shows
that its module is loaded, and not its state; the line says so. On the node (without `-H`, or with `--local`) its sensors tell
the state and how many messages failed, where they are switched on; and the age of the view of the network that it passes on
to its nodes tells whether the cloud controller still talks to it. Whether each node answers is check_euca_nodes' question, and
errors in cc.log are check_log's.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Group, Metric, Threshold
from nephoscope.probes import euca_cc, euca_daemon, euca_sensor, heartbeat

LOCAL = ("process", "state", "messages", "view")
STATES = {
    "ENABLED": OK,
    "LOADED": WARNING,
    "INITIALIZED": WARNING,
    "PRIMORDIAL": WARNING,
}  # these three: it is starting
STATES.update(dict.fromkeys(("DISABLED", "STOPPED", "NOTREADY", "BROKEN"), CRITICAL))


def options(add):
    heartbeat.options(add)
    add("--jvm", flag=True, help="it is the Java one of 5.x: ask the Heartbeat on 8773, and nothing on 8774")
    add("--standby", flag=True, looks=False, help="the passive half of a pair (up to 4.1): ENABLED is WARNING")


def probe(options, run):
    if wrong := heartbeat.unseen(options, LOCAL):
        raise BadOption(wrong)
    return euca_cc.look(run, options)


def judge(found, options):
    for part in found:
        if isinstance(part, Failed):
            off = part.kind == ABSENT and not options.mode_given
            yield Finding(OK, part.of, f"is not there: {part.cure or part.error}") if off else part
    if found.service:
        name, lacks, well = found.service
        yield Finding(CRITICAL if lacks else OK, name, lacks or well)
        yield from () if lacks else (Finding(OK, "", f"{name} {well}"),)
        yield Metric("time", found.serving.seconds)
    if isinstance(found.daemon, euca_daemon.Running):
        yield Finding(OK if found.daemon.alive else CRITICAL, found.daemon.name, found.daemon.words)
        yield Metric("workers", found.daemon.alive)
    if isinstance(found.state, euca_sensor.State):
        states = {**STATES, "ENABLED": WARNING, "DISABLED": OK} if options.standby else STATES
        yield Finding(states.get(found.state.word, UNKNOWN), "state", f"is {found.state.word}")
        check = {"OK": OK, "FAILED": CRITICAL}.get(found.state.check, UNKNOWN)
        yield Finding(check, "self-test", f"says {found.state.check}")
    if isinstance(found.view_age, float):
        yield Metric("view_age", found.view_age, detail="none since the host started" if found.never else "")
    if isinstance(found.messages, euca_sensor.Messages):
        yield Metric("msg_fail", found.messages.failed, detail=found.messages.detail)


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("http",),
    needs=[Group(euca_sensor.GROUP)],
    answers=("W28",),
    keep=lambda found: found.kept,
    modes={
        "service": "it is deployed and answers in time",
        "process": "its httpd, or the JVM, runs (on the node)",
        "state": "the state that its sensor tells (on the node)",
        "messages": "messages that failed, by its sensor (on the node)",
        "view": "age of the network's view from the cloud controller (on the node)",
    },
    thresholds=[
        Threshold("time", "s", "3", mode="service", main=True, help="time until the whole page was there"),
        Threshold("workers", mode="process", help="processes of its httpd with their parent, or of the JVM"),
        # The cloud controller sends its view every 30 s.
        Threshold("view_age", "s", "600", "1800", mode="view", help="age of the network's view"),
        Threshold("msg_fail", "%", "10", mode="messages", late=True, help="messages that failed"),
    ],
    runbook="""
By hand: `curl -s http://CC:8774/axis2/services`; on it `systemctl status eucalyptus-cluster`, `ps -ef | grep httpd-cc.conf`,
`cat /run/eucalyptus/status/euca/components/cc/state`, the end of cc.log, axis2c.log and httpd-cluster_error_log.
Refused: httpd is down. `child pid N exit signal Segmentation fault` in its error log: it dies at each message. Not deployed or
faulty: a library is missing or of another version (`ldd` on the service's .so, the package rampartc).
NOTREADY or DISABLED: the cloud controller does not enable it: clock (20 s are too much), keys (axis2c.log:
`[rampart][eucalyptus-verify]`), or it was disabled by hand (`euserv-describe-services -E`). Self-test FAILED: is
/usr/lib/eucalyptus/euca_rootwrap there? cc.log names what it misses.
View too old: the cloud controller does not reach it, or itself is down; instances go on, changes of security groups do not.
""",
)
main = CHECK.main
