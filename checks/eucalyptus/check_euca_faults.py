# SPDX-License-Identifier: Apache-2.0
"""Which documented faults has a Eucalyptus component raised and nobody acknowledged yet?

Serves 3.2 to 5.x: it reads the blocks ERR-nnnn in the *-fault.log files of the log directory that eucalyptus.conf names, those
of the C components and of the JVM, rotated ones too. A process logs a fault once in its life, so a fault is latched until
`--ack ID[@COMPONENT] --reason TEXT` (as the user whose state it is: `sudo -u nagios check_euca_faults --ack 1008@nc --reason
"eucanetd restarted"`); the same fault raised again later is open again. What was acknowledged stays listed. A first run takes
all that the logs still hold. The time in a header is local time, in spite of its Z. A fault silenced by an empty text below
etc/eucalyptus/faults can't be raised at all, which is a warning until it is acknowledged.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Group, Metric, Threshold, duration, size
from nephoscope.plugin.options import BadOption, directory
from nephoscope.probes import euca_faults

STATES = {"known": CRITICAL, "unknown": CRITICAL, "intended": WARNING}


def options(add):
    add("--directory", default="", type=directory, metavar="DIR", help="where the logs are (default: eucalyptus.conf)")
    add(
        "--ack",
        repeat=True,
        default=(),
        type=euca_faults.number,
        looks=False,
        saves=True,
        metavar="ID[@COMPONENT]",
        help="acknowledge what an earlier run found; needs --reason",
    )
    add(
        "--reason", default="", looks=False, metavar="TEXT", help="why it is acknowledged: kept, and shown to everybody"
    )
    add("--period", default=3600.0, type=duration, looks=False, metavar="DURATION", help="how long a fault is new")
    add("--max-read", default=64 << 20, type=size, looks=False, metavar="SIZE", help="bytes read in one run")


def probe(options, run):
    if bool(options.ack) != bool(options.reason.strip()):
        raise BadOption("--ack and --reason belong together: who reads this tomorrow must know why")
    return euca_faults.look(
        run, folder=options.directory, most=options.max_read, ack=options.ack, reason=options.reason
    )


def judge(found, options):
    raised = [fault for fault in found.faults if not fault.acknowledged]
    yield from found.failures
    if found.logs or found.faults:
        first = ", first look: all that they still hold" if found.beginning else ""
        rest = len(found.faults) - len(raised)
        yield Finding(OK, "", f"{len(raised)} faults open, {rest} acknowledged, {len(found.logs)} fault logs{first}")
        yield Metric("faults", len(raised))
        yield Metric("new", sum(fault.new(options.period) for fault in raised))
        yield Metric("silenced", sum(not entry.acknowledged for entry in found.silenced))
        yield Metric("oldest", max((fault.age for fault in raised), default=0.0))
    for fault in raised:
        unknown = "is in no document: " if fault.kind == "unknown" else ""
        yield Finding(WARNING if fault.silenced else STATES[fault.kind], fault.of, unknown + fault.said)
        yield from [Finding(OK, fault.of, fault.advice)] if fault.advice else []
    for fault in found.faults:
        yield from [Finding(OK, fault.of, f"acknowledged {fault.acknowledged}")] if fault.acknowledged else []
    for entry in found.silenced:
        yield Finding(OK, entry.of, f"is silenced by {entry.path}, acknowledged {entry.acknowledged or 'by nobody'}")
    yield from (Finding(OK, of, "acknowledged now") for of in found.done)
    yield from (Finding(UNKNOWN, of, f"has a gap, a fault may have been missed: {text}") for of, text in found.gaps)
    yield from (
        Finding(UNKNOWN, of, f"{left} bytes are not read yet: more than --max-read") for of, left in found.behind
    )
    yield from (Finding(UNKNOWN, of, f"has {lines} lines that are of no fault block") for of, lines in found.strange)


CHECK = Check(
    options,
    probe,
    judge,
    keep=lambda found: found.kept,
    needs=(Group("eucalyptus"),),
    answers=(),
    thresholds=[
        Threshold("faults", main=True, help="faults that nobody acknowledged"),
        Threshold("new", help="of these, found within --period"),
        Threshold(
            "silenced", "", "0", help="faults that an empty text keeps from being logged, and nobody acknowledged"
        ),
        Threshold("oldest", "s", help="time since the oldest open fault was raised first"),
    ],
    runbook="""
By hand: `tail -n 40 /var/log/eucalyptus/*-fault.log`. The lines below line 1 tell cause and remedy in Eucalyptus' own words.
1003: free space where the named file lives. 1004, 1005: heap or permgen of the JVM; look for *.hprof, then restart
eucalyptus-cloud. 1006: a database pool is nearly used up (check_euca_sensors --mode dbpool). 1008: start the named daemon.
1009: keys differ between the named components: register the node or the cluster again (check_euca_cc, check_euca_nc).
1010, 1011: the database of an HA pair was parted: do not enable it before it was compared. 1013: virtualisation is off in the
firmware. 1014, 1015: install the image of load balancers or of the imaging worker, or acknowledge it. 1016, 1017: eucanetd or
the network's configuration (check_euca_net). 1500, 1501: CloudWatch or reporting was switched off. 2000, 2002: tgtd does not
answer or errs (check_iscsi_target). 2001, 2003: iSCSI on the node. Others: `grep -r ID /usr/share/eucalyptus/faults`.
When it is mended: `sudo -u nagios check_euca_faults --ack ID@COMPONENT --reason TEXT`, with the same --directory and
--state-id as the scheduler's, if it gives any.
Silenced: remove the empty file and restart the component, or acknowledge it. Gap: keep more rotated files, or run it
more often.
""",
)
main = CHECK.main
