# SPDX-License-Identifier: Apache-2.0
"""Is everything that Eucalyptus should do on this host being done?

Serves 3.1 to 5.x: it finds out by the files of the packages which components live here (CLC, user services, Walrus, SC, CC, NC,
eucanetd, console; `--role` declares them instead), and looks for each whether its processes run and its ports are listened on,
whether its log had errors lately, whether faults were raised, and at heap dumps, the setuid wrapper, the keys and /tmp. One
verdict, one line for each component. It asks no service anything: check_euca_clc, check_euca_cc and check_euca_nc do. A fault
counts for one --period here; check_euca_faults keeps it until it is acknowledged. A CLC and a host with user services alone are
told apart by the database; where this user can see neither its folder nor its port, `--role` must say it.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Group, Metric, Threshold, duration
from nephoscope.probes import euca_conf, euca_host

SIGNS = {"heap dump": WARNING, "wrapper": CRITICAL, "keys": CRITICAL, "tmp": WARNING}


def options(add):
    add("--role", repeat=True, default=(), choices=euca_conf.ROLES, help="component that must be here (default: found)")
    add("--period", default=3600.0, type=duration, metavar="DURATION", help="how long lines of logs and faults count")


def probe(options, run):
    return euca_host.look(run, options.mode, options.role, options.period)


def judge(host, options):
    yield from host.failures
    yield Finding(OK, "", host.summary)
    yield Metric("roles", len(host.roles))
    for role in host.roles:
        yield Finding(CRITICAL if role.stopped or role.silent else OK, role.name, role.text)
    if any(role.runs is not None for role in host.roles):
        yield Metric("missing_procs", host.stopped)
    if any(role.listens is not None for role in host.roles):
        yield Metric("missing_ports", host.silent)
    if host.errors is not None:
        yield Metric("errors", host.errors, detail=host.loud)
        yield Metric("fatals", host.fatals, detail=host.loudest)
    elif "logs" in options.mode and not host.failures:
        text = "no log is looked at here"
        yield Failed(ABSENT, "logs", "", text) if options.mode_given else Finding(OK, "logs", text)
    if host.faults is not None:
        yield Metric("faults", len(host.faults))
        for fault in host.faults:
            intended = fault.kind == "intended" or fault.acknowledged
            yield Finding(WARNING if intended else CRITICAL, fault.of, fault.said)
    yield from (Finding(UNKNOWN, of, text) for of, text in host.unseen)
    yield from (Finding(SIGNS[sign.kind], sign.of, sign.text) for sign in host.signs)


CHECK = Check(
    options,
    probe,
    judge,
    keep=lambda host: host.kept,
    needs=(Group("eucalyptus"),),
    answers=("W18", "W23", "W28", "W37", "W48"),
    modes={
        "processes": "the components' processes run",
        "ports": "something listens on their ports",
        "logs": "lines of level ERROR and FATAL in their logs",
        "faults": "faults that were raised",
        "files": "heap dumps, euca_rootwrap, keys, /tmp",
    },
    thresholds=[
        Threshold("roles", help="components on this host"),
        Threshold(
            "missing_procs", mode="processes", main=True, help="processes that do not run, each of which is CRITICAL"
        ),
        Threshold("missing_ports", mode="ports", main=True, help="ports that nothing listens on, each is CRITICAL"),
        Threshold("errors", "", "10", mode="logs", main=True, help="lines of level ERROR or FATAL within --period"),
        Threshold("fatals", "", None, "0", mode="logs", help="lines of level FATAL within --period"),
        Threshold("faults", mode="faults", main=True, help="faults raised within --period"),
    ],
    runbook="""
By hand: `systemctl status eucalyptus-cloud eucalyptus-cluster eucalyptus-node eucanetd eucaconsole` (up to 4.2
`service eucalyptus-cloud status`, eucalyptus-cc, eucalyptus-nc), `ss -ltnp`, `tail /var/log/eucalyptus/*-fault.log`.
A process is missing: start its unit, then read the end of its log (cloud-output.log, cc.log, nc.log, eucanetd.log, and
httpd-*_error_log for crashes of CC and NC). It runs and the port is silent: it is starting (a CLC takes minutes), or stuck;
check_euca_clc, check_euca_cc and check_euca_nc ask it. Database missing: without it all services of the cloud stop; look for
space (check_filesystem) first. Instances go on without eucanetd, nothing changes any more. Errors: `grep -E ' (ERROR|FATAL) '`
in the named log; check_log quotes and counts them. Heap dump: note when it was, keep it for the developers on another disk,
remove it here (it is as large as the heap). euca_rootwrap: reinstall the package eucalyptus. Keys: register the component
again.
""",
)
main = CHECK.main
