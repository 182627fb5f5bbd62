# SPDX-License-Identifier: Apache-2.0
"""Which documented faults has a Eucalyptus component raised and nobody acknowledged yet?

Serves 3.2 to 5.x: on the node it reads the blocks ERR-nnnn in the *-fault.log files of the log directory that eucalyptus.conf
names, those of the C components and of the JVM, rotated ones too. A process logs a fault once in its life, so a fault is
latched until `--ack ID[@WHERE] --reason TEXT`, by the user whose state it is, as in `sudo -u nagios check_euca_faults
--ack 1008@nc --reason "eucanetd restarted"`; WHERE is the component that line 1 names, or the host. The same fault raised
again later is open again. What was acknowledged stays listed. A first run takes all that the logs still hold. The time in a
header is local time, in spite of its Z. A fault silenced by an empty text below etc/eucalyptus/faults can't be raised at all,
which is a warning until it is acknowledged.
With -H, --cloud or --credentials it asks DescribeServices for the events of all services instead: the few faults that come
with their number are latched, other events of severity WARNING or worse are told while they last, and what is only logged is
not seen.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Grant, Group, Metric, Threshold
from nephoscope.plugin.options import BadOption, directory, duration, size
from nephoscope.probes import euca_api, euca_faults

CRITICALS, WARNINGS = ("known", "unknown", "error"), ("intended", "silenced", "warning")
STATES = {**dict.fromkeys(CRITICALS, CRITICAL), **dict.fromkeys(WARNINGS, WARNING), "unseen": UNKNOWN, "well": OK}


def options(add):
    add("--directory", default="", type=directory, metavar="DIR", help="where the logs are (default: eucalyptus.conf)")
    add(
        "--ack",
        repeat=True,
        default=(),
        type=euca_faults.number,
        looks=False,
        saves=True,
        metavar="ID[@WHERE]",
        help="acknowledge what an earlier run found; needs --reason",
    )
    add(
        "--reason", default="", looks=False, metavar="TEXT", help="why it is acknowledged: kept, and shown to everybody"
    )
    add("--period", default=3600.0, type=duration, looks=False, metavar="DURATION", help="how long a fault is new")
    add("--max-read", default=16 << 20, type=size, looks=False, metavar="SIZE", help="bytes read in one run")
    euca_api.options(add)


def probe(options, run):
    if bool(options.ack) != bool(options.reason.strip()):
        raise BadOption("--ack and --reason belong together: who reads this tomorrow must know why")
    afar = options.hostname or options.cloud or options.credentials
    mode = options.mode if options.mode_given else ("events",) if afar else ("logs",)
    if mode != (("events",) if afar else ("logs",)):
        raise BadOption("--mode logs looks at this host, events asks a cloud: give -H or --cloud with events alone")
    if afar:
        return euca_faults.ask(run, euca_api.access(options, run), ack=options.ack, reason=options.reason)
    return euca_faults.look(
        run, folder=options.directory, most=options.max_read, ack=options.ack, reason=options.reason
    )


def judge(found, options):
    yield from found.failures
    if found.seen or found.faults:
        yield Finding(OK, "", found.summary)
        yield Metric("faults", len(found.open))
        yield Metric("new", sum(fault.new(options.period) for fault in found.open))
        if found.silenced is not None:
            quiet = [entry.of for entry in found.silenced if not entry.acknowledged]
            yield Metric("silenced", len(quiet), detail=", ".join(quiet[:5]))
        yield Metric("oldest", max((fault.age for fault in found.open), default=0.0))
    yield from (Finding(STATES[kind], of, text) for kind, of, text in found.words())


CHECK = Check(
    options,
    probe,
    judge,
    keep=lambda found: found.kept,
    where=("node", "remote"),
    uses=("http", "cloud"),
    answers=("W42", "W47"),
    needs=(Group("eucalyptus"), Grant(euca_api.right("euserv:Describe*"))),
    modes={"logs": "the fault logs of this host", "events": "the events of all services, with -H or --cloud"},
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
When it is mended: `sudo -u nagios check_euca_faults --ack ID@WHERE --reason TEXT`, with the scheduler's own options as to where
it looks, if it has any (--directory, --mode, -H, --cloud, --include, --exclude, --state-id, --state-dir).
Silenced: remove the empty file and restart the component, or acknowledge it. Gap: keep more rotated files, or run it
more often.
""",
)
main = CHECK.main
