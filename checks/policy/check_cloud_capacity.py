# SPDX-License-Identifier: Apache-2.0
"""How many more instances of each size fit into each zone of the cloud?

`--dialect eucalyptus` serves 3.1 to 5.x in two requests: DescribeInstanceTypes with availability since 3.3, the verbose list of
zones where a cloud does not know that. A zone whose cluster controller is down vanishes from both; it is CRITICAL while the
plain list still has it, while `--expect` names it, and for `--remember` after it was last seen. Numbers of several sizes don't
add up: each is reckoned as if the others took nothing more. `used` is measured in the size of which most fit. `fits` is
judged for that size, or for those that `--size` names instead; others are told as `room`: a size as big as a node fits nowhere
once each node has one small instance, and the cloud is well. No node is told apart here: whether the load still fits after the
loss of one, Eucalyptus does not say.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Check, Finding, Grant, Metric, Threshold, duration
from nephoscope.probes import cloud, euca_api

STATES = {"ok": OK, "failed": CRITICAL, "absent": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add("--dialect", choices=cloud.DIALECTS, required=True, help="what the cloud speaks")
    add("--expect", repeat=True, metavar="ZONE", help="zone that must exist")
    add("--size", repeat=True, metavar="GLOB", help="sizes (instance types) of which there must be room", looks=False)
    add("--remember", type=duration, default=604800.0, looks=False, help="how long a zone that vanished is missed")
    euca_api.options(add)


def probe(options, run):
    return cloud.capacity(options, run)


def judge(room, options):
    yield from room.failures
    for zone in room.zones:
        yield Finding(STATES[zone.state], zone.name, zone.said)
        if zone.cores is not None:
            yield Metric("cores", zone.cores, of=zone.name)
    for share in room.shares:
        detail = f"{share.total - share.used:.0f} of {share.total:.0f} {share.what} free"
        yield Metric("used", share.percent, of=share.of, detail=detail)
    measures = {(share.of, share.what) for share in room.shares}
    for size in room.sizes:
        if options.size:
            held = any(fnmatchcase(size.name, glob) for glob in options.size)
        else:
            held = (size.zone, size.name) in measures or size.most is None
        yield Metric("fits" if held else "room", size.free, of=size.of, least=0, most=size.most)
    for glob in options.size:
        if room.sizes and not any(fnmatchcase(size.name, glob) for size in room.sizes):
            yield Failed(ABSENT, glob, room.source, "no size has this name")
    more = f"; and {len(room.shares) - 3} more" if len(room.shares) > 3 else ""
    yield Finding(OK, "", "; ".join(_told(room)[:3]) + more or "no zone has room")


def _told(room):
    """For each zone, the fullest first, what is free in its own measure, and the largest size that still fits."""
    told = []
    for share in sorted(room.shares, key=lambda share: -(share.percent or 0)):
        fitting = [size for size in room.sizes if size.zone == share.of and size.free]
        largest = max(fitting, key=lambda size: (size.cores, size.ram, size.disk), default=None)
        up_to = f", up to {largest.name}" if largest else ""
        told.append(f"{share.of}: {share.total - share.used:.0f} of {share.total:.0f} {share.what} free{up_to}")
    return told


CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http", "cloud"),
    answers=("W11", "W12", "W15"),
    needs=[Grant(euca_api.right("ec2:Describe*"))],
    keep=lambda room: room.kept,
    thresholds=[
        Threshold("used", "%", "80", "90", main=True, help="share of a zone that is taken, in its finest size"),
        Threshold("cores", help="cores that a zone can still hand out, at least"),
        Threshold("fits", "", "10:", "1:", help="instances of a size that still fit into a zone"),
        Threshold("room", print="apart", help="the same of sizes that are not judged"),
    ],
    runbook="""
By hand: `euca-describe-availability-zones verbose` as an administrator of account eucalyptus; `euserv-describe-services
--filter service-type=cluster`, `euca-describe-nodes`.
A zone is gone or unavailable: its cluster controller is down or not ENABLED; look there with check_euca_cc and at
/var/log/eucalyptus/cc.log. Instances of the zone go on, none can be started.
A zone is there and holds nothing even when empty: no node controller reports; check_euca_nodes, and eucanetd on the nodes (a
node whose eucanetd is dead offers nothing).
Full: check_unused_resources names stopped instances and what else can be given back; check_quota tells who may still take
more. Fewer fit than the free cores say: memory or disk is short, or what is free is scattered over nodes; the nodes' nc.log
tells each one's resources. A new node: `clusteradmin-register-nodes` (before 4.3 `euca_conf --register-nodes`).
""",
)
main = CHECK.main
