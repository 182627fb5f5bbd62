# SPDX-License-Identifier: Apache-2.0
"""Is the array healthy: controllers, disks, supplies, pools, ports, and is its management path answering?

`--profile` names the family; the array's own opinion of itself and each of its parts are both read, in one session that is
given back, with requests for whole lists (no request per LUN: docs/storage.md tells how many). Each word of the vendor is
mapped by a table; one that is in no table is UNKNOWN. One failed disk, supply, fan or battery is a warning as long as others
do its work; a second one, or a failed disk without a spare, is critical, as is any other part that failed. A part that
vanished from the answer is a warning for a week (`--remember`); `--expect disk=24` says how many there must be. More than one
management address: `--address` for each, or those that the cloud itself uses, out of a cinder.conf (`--cinder-conf`) or of a
Eucalyptus zone's property sanhost (`--zone`, with credentials). Every one must let us in; the first that does is asked.
Rights: a read-only account; each profile's own is in docs/storage.md.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Metric, Threshold
from nephoscope.plugin.options import duration, expect
from nephoscope.probes import san, san_management

STATES = {
    "ok": OK, "spare": OK, "absent": OK, "rebuilding": WARNING, "degraded": WARNING, "failed": CRITICAL, "unknown": UNKNOWN,
}  # fmt: skip
USED = {"pool": "used", "volume": "volume_used", "snapshot reserve": "reserve_used", "inodes": "inodes_used"}


def options(add):
    add("--profile", required=True, choices=tuple(san.PROFILES), metavar="FAMILY", help=san.HELP)
    add("--password", secret=True, help="the account's password; for pure the api-token")
    add("--plain", flag=True, help="HTTP without TLS: only for a tunnel or a test")
    add("--table", default="", metavar="FILE", help="generic-snmp: what to read, and what its values mean")
    add("--expect", repeat=True, type=expect, metavar="KIND=N", help="how many there must be, as controller=2")
    add("--address", repeat=True, metavar="HOST", help="another management address, which must let us in too")
    add("--cinder-conf", default="", metavar="FILE", help="the addresses that its back-ends use for this array")
    add("--zone", default="", metavar="ZONE", help="the addresses that this Eucalyptus zone uses")
    add("--remember", type=duration, default=604800.0, looks=False, help="how long a part that vanished is missed")


def probe(options, run):
    odd = [kind for kind, _ in options.expect if kind not in san.KINDS]
    if odd:
        raise BadOption(f"--expect {odd[0]}: write one of {', '.join(san.KINDS)}")
    if options.expect and "health" not in options.mode:
        raise BadOption("--expect needs the mode health")
    hosts = san_management.addresses(run, options)
    if not hosts:
        raise BadOption("which array? -H, --address, --cinder-conf or --zone")
    place = san.place(options)
    return san.survey(run, options.profile, hosts, place, options.mode, options.remember, options.mode_given)


def judge(survey, options):
    array = survey.array
    if not array.product:
        yield from survey.addresses.values()
        return
    yield from array.lost
    for kind, count in options.expect:
        if survey.there(kind) < count:
            yield Finding(
                UNKNOWN if survey.lost(kind) else CRITICAL, kind, f"{survey.there(kind)} of {count} are there"
            )
    for part in array.parts:
        state = WARNING if survey.covered(part) else STATES[part.health]
        yield Finding(state, part.of, part.text or part.health)
    for of, seconds in survey.gone:
        yield Finding(WARNING, of, f"is gone from the answer, it was there {san.ago(seconds)} ago")
    for host, answer in survey.addresses.items():
        yield answer if isinstance(answer, Failed) else Finding(OK, f"management {host}", "answers")
    for room in array.rooms:
        yield Metric(USED[room.kind], room.share, room.of)
        if room.promised is not None:
            yield Metric("thin", room.promised, room.of)
        if room.full_in is not None:
            yield Metric("full_in", room.full_in, room.of)
    for speed in array.speeds:
        for name in ("latency", "iops", "throughput"):
            if getattr(speed, name) is not None:
                yield Metric(name, getattr(speed, name), speed.name)
    yield Metric("failed", survey.failed())
    if array.spares is not None:
        yield Metric("spares", array.spares)
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
    where=("remote", "node"),
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
