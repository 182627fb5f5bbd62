# SPDX-License-Identifier: Apache-2.0
"""Is the array healthy: controllers, disks, supplies, pools, ports, and is its management path answering?

`--profile` names the family; the array's own opinion of itself and each of its parts are both read, in one session that is
given back, with requests for whole lists (no request per LUN: docs/storage.md tells how many). Each word of the vendor is
mapped by a table; one that is in no table is UNKNOWN. One failed disk, supply, fan or battery is a warning as long as others
do its work; a second one, or a failed disk without a spare, is critical, as is any other part that failed. A part that
vanished from the answer is a warning for a week (`--remember`); `--expect disk=24` says how many there must be. More than one
management address: `--address` for each, or those that the cloud itself uses, out of a cinder.conf (`--cinder-conf`) or of a
Eucalyptus zone's property sanhost (`--zone`, with credentials). Every one must let us in; the first that does is asked, and
where another array answers that is UNKNOWN: each array wants a service of its own.
A mode or disks of which nothing is told are UNKNOWN, too: a missing right looks like this.
Rights: a read-only account; each profile's own is in docs/storage.md.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Metric, Threshold
from nephoscope.plugin.options import duration, expect
from nephoscope.probes import san, san_management

STATES = {"ok": OK, "spare": OK, "absent": OK, "failed": CRITICAL, "unknown": UNKNOWN}
STATES |= {"rebuilding": WARNING, "degraded": WARNING}


def options(add):
    add("--profile", required=True, choices=tuple(san.PROFILES), metavar="FAMILY", help=san.HELP)
    add("--password", secret=True, help="the account's password; for pure the api-token")
    add("--plain", flag=True, help="HTTP without TLS: only for a tunnel or a test")
    add("--table", default="", metavar="FILE", help="generic-snmp: what to read, and what its values mean")
    add("--expect", repeat=True, type=expect, metavar="KIND=N", help="how many there must be, as controller=2")
    add("--address", repeat=True, metavar="HOST", help="another management address, which must let us in too")
    add("--cinder-conf", default="", metavar="FILE", help="the addresses that its back-ends of this family use")
    add("--zone", default="", metavar="ZONE", help="the addresses that this Eucalyptus zone uses")
    add(
        "--remember",
        type=duration,
        default=604800.0,
        metavar="DURATION",
        looks=False,
        help="how long a part that vanished is missed",
    )


def probe(options, run):
    if options.expect and not ("health" in options.mode and {kind for kind, _ in options.expect} <= {*san.KINDS}):
        raise BadOption(f"--expect needs the mode health, and as KIND one of {', '.join(san.KINDS)}")
    if not (options.hostname or options.address or options.cinder_conf or options.zone):
        raise BadOption("which array? -H, --address, --cinder-conf or --zone")
    return san_management.survey(run, options)


def judge(survey, options):
    yield from survey.array.lost
    for host, failed in survey.addresses.items():
        yield failed or Finding(OK, f"management {host}", "answers")
    if not survey.array.product:
        return
    for kind, count in options.expect:
        if survey.there(kind) < count:
            state = UNKNOWN if survey.lost(kind) else CRITICAL
            yield Finding(state, kind, f"{survey.there(kind)} of {count} are there")
    for part in survey.array.parts:
        state = WARNING if survey.covered(part) else STATES[part.health]
        yield Finding(state, part.of, part.text or part.health)
    for of, seconds in survey.gone:
        yield Finding(WARNING, of, f"is gone from the answer, it was there {san.ago(seconds)} ago")
    yield from (Metric(*measure) for measure in survey.measures)
    yield Finding(OK, "", survey.summary)


RUNBOOK = """
Log in at the array's own page or command line first and read what it says of the part that is named; its events tell when it
began. One disk failed: is the rebuild running, is a spare left? Change it before a second one goes; never pull a disk that is
not named. Controller down or taken over: paths of the hosts (check_multipath, check_iscsi_session) before anything else.
Power supply: the cord and the feed before the part. Pool nearly full: a thin pool that is full stops writes of all guests;
delete snapshots that nobody needs, grow the pool, stop new volumes (quota). Latency: which volume (the array's own page),
check_io_latency on the hosts, a rebuild or a snapshot copy running? Management silent while data goes on: new volumes and
snapshots fail; look at the management network, then at the controller's service. Log-in refused: account locked or its
password changed; arrays lock an account after a few attempts, so stop this check meanwhile. UNKNOWN for a word: a new
firmware; tell us the word. A part that was taken away on purpose: `--exclude` it, or wait until it is forgotten.
"""

CHECK = Check(
    *(options, probe, judge),
    where=("remote",),  # also on the host that has --cinder-conf; but never unasked on any machine
    uses=("https", "snmp", "cloud"),
    keep=lambda survey: survey.kept,
    deadline=50,  # a management processor is slow, and hundreds of disks are many
    runbook=RUNBOOK,
    modes={
        "health": "the array's opinion of itself, and every part",
        "capacity": "pools, over-provisioning, volumes that can be full",
        "performance": "latency and load of the array, its controllers and pools",
    },
    thresholds=[
        Threshold("failed", mode="health", main=True, help="parts that failed"),
        Threshold("spares", "", "1:", mode="health", help="spare disks"),
        Threshold("used", "%", "80", "90", mode="capacity", help="used space of a pool"),
        Threshold("thin", "", "2", "4", mode="capacity", print="top", help="times its size that a pool was promised"),
        Threshold("full_in", "s", "604800:", "86400:", mode="capacity", print="top", late=True, help="time until it is full"),
        Threshold("volume_used", "%", "85", "95", mode="capacity", print="top", help="used space of a volume"),
        Threshold("reserve_used", "%", "85", "95", mode="capacity", print="top", help="used snapshot reserve"),
        Threshold("inodes_used", "%", "85", "95", mode="capacity", print="top", help="used inodes of a volume"),
        Threshold("latency", "s", "0.02", "0.1", mode="performance", late=True, help="time per request, reads or writes"),
        Threshold("iops", mode="performance", late=True, help="requests per second"),
        Threshold("throughput", "B", mode="performance", late=True, help="bytes per second"),
    ],
)  # fmt: skip
main = CHECK.main
