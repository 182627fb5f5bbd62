# SPDX-License-Identifier: Apache-2.0
"""Are instances, volumes, snapshots, images or the cloud's own workers stuck or failed?

Eucalyptus 3.4 to 5.1, through its EC2 and auto scaling services; the resources of all accounts are read, so the caller must
be a user of the account eucalyptus. Whether it is one is asked first: who is not would see his own resources alone, and
find a broken cloud empty and healthy. What is in a passing state (creating, detaching, shutting down, migrating) for longer
than `--stuck-after` is stuck; where the cloud tells no beginning, it is as old as this check has seen it. Failed are volumes
and snapshots that say so, instances that the cloud ended by itself within the last hour, and groups of workers (imaging,
load balancers) whose last activity failed. A ghost is called running on a node that does not serve or is gone; it is told at
once. A state word that is not known is UNKNOWN. Before 4.3 an empty list may mean a missing right and is UNKNOWN too: name
the modes of which there is something.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Check, Finding, Grant, Metric, Threshold, duration
from nephoscope.probes import euca_api, euca_resources


def options(add):
    euca_api.options(add)
    add("--stuck-after", type=duration, default=900.0, looks=False, help="passing for so long is stuck (default 15m)")
    add("--snapshot-after", type=duration, default=86400.0, looks=False, help="the same of snapshots (default 24h)")


def probe(options, run):
    return euca_resources.look(run, options)


def judge(found, options):
    yield from found.failures
    for volume, instances in found.shared.items():
        yield Finding(CRITICAL, volume, f"is in {len(instances)} instances at once: {', '.join(instances)}")
    ages = {"oldest_snapshot" if kind == "snapshots" else "oldest": 0 for kind in found.looked if kind != "ghosts"}
    for thing in found.things:
        if thing.phase == euca_resources.UNKNOWN:
            yield Finding(UNKNOWN, thing.id, f"is in a state that is not understood: {thing.state or 'none'}")
        else:
            yield Finding(OK, thing.id, thing.told + (" (is counted)" if thing.phase != euca_resources.WELL else ""))
        if thing.phase == euca_resources.PASSING:
            name = "oldest_snapshot" if thing.kind == "snapshots" else "oldest"
            ages[name] += 1
            yield Metric(name, thing.age, of=thing.id, detail=thing.state)
    yield from (Metric(name, 0.0) for name, number in ages.items() if not number)
    bad = dict.fromkeys(("stuck", "failed"), 0)
    for kind in found.looked:
        mine = [thing for thing in found.things if thing.kind == kind]
        if kind == "ghosts":
            bad[kind] = len(mine)
            yield Metric(kind, len(mine), detail=_few([thing.said for thing in mine]))
            continue
        limit = options.snapshot_after if kind == "snapshots" else options.stuck_after
        stuck = [thing.said for thing in mine if thing.age > limit]
        failed = [thing.said for thing in mine if thing.phase == euca_resources.FAILED]
        bad = {"stuck": bad["stuck"] + len(stuck), "failed": bad["failed"] + len(failed)}
        yield Metric(f"stuck_{kind}", len(stuck), detail=_few(stuck))
        yield Metric(f"failed_{kind}", len(failed), detail=_few(failed))
    if "instances" in found.looked:
        yield Metric("running", sum(thing.kind == "instances" and thing.state == "running" for thing in found.things))
    if found.looked:
        yield Finding(OK, "", ", ".join(f"{bad[what]} {what}" for what in bad) + f" of {found.summary}")


def _few(said):
    return ", ".join(said[:3]) + (f" and {len(said) - 3} more" if len(said) > 3 else "")


MODES = {
    "instances": "instances and migrations that hang, or that the cloud ended by itself",
    "volumes": "volumes and attachments that hang or failed",
    "snapshots": "snapshots that hang or failed",
    "images": "images that hang or failed",
    "workers": "the cloud's own groups of workers",
    "ghosts": "instances that are called running on a node that does not serve",
}
CHECK = Check(
    *(options, probe, judge),
    keep=lambda found: found.kept,
    where=("remote",),
    uses=("http", "cloud"),
    needs=[Grant(euca_api.right("ec2:Describe*", "autoscaling:Describe*", "euserv:Describe*"))],
    answers=("W9", "W33"),
    modes=MODES,
    thresholds=[
        *(Threshold(f"stuck_{kind}", "", "0", "4", mode=kind, help=f"{kind} stuck") for kind in list(MODES)[:5]),
        *(Threshold(f"failed_{kind}", "", "0", "4", mode=kind, help=f"{kind} failed") for kind in list(MODES)[:5]),
        Threshold("ghosts", "", "0", mode="ghosts", help="instances that run nowhere"),
        Threshold("running", mode="instances", help="instances that run and stay where they are"),
        Threshold("oldest", "s", None, "3600", print="worst", help="time in a passing state, but of snapshots"),
        Threshold("oldest_snapshot", "s", None, "172800", mode="snapshots", print="worst", help="time until completed"),
    ],
    runbook="""
By hand, as an administrator: `euca-describe-instances verbose`, `euca-describe-volumes verbose`,
`euca-describe-snapshots`, `euca-describe-images --all`, `euca-describe-addresses verbose`,
`euscale-describe-scaling-activities verbose`.
Volume stuck in creating, deleting or detaching: look at its zone's storage controller first (check_euca_sc, its log for the
volume's id; tgtd, loop devices, space of the volume group), then at the node's iSCSI session (`iscsiadm -m session -P 3`).
Detach with force only when the instance is known not to write.
Snapshot pending: does it move (progress)? The limit of a transfer is <zone>.storage.snapshottransfertimeoutinhours, 48 h.
Room in the object store, and the property storage.global_total_snapshot_size_limit_gb. Failed ones can be deleted.
Instance pending: check_cloud_capacity, check_ip_pool; nc.log of its node for the id. Shutting down for ever: its node is
silent (check_euca_nodes). Migration: nc.log of both nodes; `euserv-describe-services --filter service-type=node`.
Ghost: the node is dead or forgotten and the instance with it, but it is called running for up to 180 days. Bring the node
back or, when its disks are lost, `euca-terminate-instances` and tell the owner.
Workers: the activity's message says it (addresses used up, image not installed: faults 1014, 1015).
A volume in two instances: stop one of them now, then find out which wrote last.
""",
)
main = CHECK.main
