# SPDX-License-Identifier: Apache-2.0
"""What is allocated, and has been used by nobody for long?

`--dialect eucalyptus` serves 3.4 to 5.1 and reads the resources of all accounts: the caller must be a user of the account
eucalyptus, which is asked first, for others would see their own alone. Stopped instances, unattached volumes, addresses
without an instance, snapshots that no image is made of. Where the cloud tells no time, a thing has been unused for as long
as this check has seen it so: a new installation counts nothing for a while, and says how much is unused now. It warns and
is never critical; it deletes nothing. Before 4.3 an empty list may mean a missing right and is UNKNOWN: name the modes of
which there is something.
"""

from __future__ import annotations

from nephoscope.plugin import OK, Check, Finding, Grant, Metric, Threshold, duration
from nephoscope.probes import cloud, euca_api

DAY = 86400.0
KINDS = {"instance": "instances", "volume": "volumes", "address": "addresses", "snapshot": "snapshots"}


def options(add):
    euca_api.options(add)
    add("--dialect", choices=cloud.DIALECTS, required=True, help="what the cloud speaks")
    add("--instance-after", type=duration, default=30 * DAY, looks=False, help="stopped for long (default 30d)")
    add("--volume-after", type=duration, default=30 * DAY, looks=False, help="unattached for long (default 30d)")
    add(
        "--address-after", type=duration, default=7 * DAY, looks=False, help="without an instance for long (default 7d)"
    )
    add("--snapshot-after", type=duration, default=365 * DAY, looks=False, help="an old snapshot (default 365d)")


def probe(options, run):
    return cloud.unused(options, run)


def judge(idle, options):
    yield from idle.failures
    told, total, reclaim = [], 0, dict.fromkeys(("ram", "disk", "ips"), 0)
    for kind, name in KINDS.items():
        if kind not in idle.looked or name not in options.mode:
            continue
        limit = getattr(options, f"{kind}_after")
        mine = [thing for thing in idle.things if thing.kind == kind]
        long = sorted((thing for thing in mine if thing.age > limit), key=lambda thing: (-thing.age, thing.name))
        for thing in mine:
            owner = f" (account {thing.owner})" if thing.owner else ""
            yield Finding(OK, thing.name, f"{thing.text}, for at least {thing.age / DAY:.0f} d{owner}")
        names = ", ".join(thing.name for thing in long[:5]) + (" …" if long[5:] else "")
        yield Metric(name, len(long), detail=f"unused for more than {limit / DAY:g} d: {names}" if long else "")
        yield Metric(f"{name}_now", len(mine))
        told.append(f"{len(mine)} of {idle.looked[kind]} {name}")
        total += len(long)
        reclaim["ram"] += sum(thing.ram for thing in long)
        reclaim["disk"] += sum(thing.disk for thing in long)
        reclaim["ips"] += len(long) if kind == "address" else 0
    if told:
        yield Finding(OK, "", f"{total} unused for long; now {', '.join(told)}")
        yield from (Metric(f"reclaim_{what}", amount) for what, amount in reclaim.items())


CHECK = Check(
    *(options, probe, judge),
    keep=lambda idle: idle.kept,
    where=("remote",),
    uses=("http", "cloud"),
    needs=[Grant(euca_api.right("ec2:Describe*"))],
    modes={
        "instances": "instances that are stopped",
        "volumes": "volumes that are attached to nothing",
        "addresses": "addresses that belong to an account and to no instance",
        "snapshots": "old snapshots that no image is made of",
    },
    thresholds=[
        *(Threshold(name, "", "0", mode=name, main=True, help=f"{name} unused for long") for name in KINDS.values()),
        *(Threshold(f"{name}_now", mode=name, help=f"{name} unused now") for name in KINDS.values()),
        Threshold("reclaim_ram", "B", help="memory of what is unused for long"),
        Threshold("reclaim_disk", "B", help="disk of what is unused for long"),
        Threshold("reclaim_ips", help="addresses of what is unused for long"),
    ],
    runbook="""
`-v` lists everything that is unused, `-w volumes=50` sets how much of it is bearable, `--exclude vol-0a1b2c3d` leaves out what
somebody wants to keep.
By hand: `euca-describe-volumes verbose | grep available`, `euca-describe-addresses verbose`,
`euca-describe-instances verbose | grep stopped`, `euca-describe-snapshots`.
Ask the owner (the account's id is told; volumes tell none: `euca-describe-tags`) before anything is given up. A snapshot is
somebody's backup until he says that it is not. Quotas (check_quota) make people tidy by themselves.
""",
)
main = CHECK.main
