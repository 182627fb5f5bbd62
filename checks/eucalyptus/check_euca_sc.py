# SPDX-License-Identifier: Apache-2.0
"""Is the Storage Controller alive and enabled, and does what its volumes lie on answer?

Serves Eucalyptus 3.1 to 5.1: the Heartbeat of its JVM is the same in all of them and wants no credential; only `storage` by its
exact name counts, and only where it is registered on that host. With -H that is all; without, or with --local, this host is
looked at as well: tgtd (asked under a deadline: a hung one stops every attachment, while the Heartbeat goes on), the volume
groups, the management end-point of an array, the volumes directory and the snapshots under way in it. Which back-end it is
stands in the database alone: say --backend, or give --cloud or --credentials, and the property is asked; else tgtd and the
groups that bear Eucalyptus' name are looked at. Ceph is another check's question.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Metric, Sudo, Threshold
from nephoscope.plugin.options import directory
from nephoscope.probes import euca_storage, heartbeat, lvm, mounts, tgt

STATES = {"ok": OK, "degraded": WARNING, "failed": CRITICAL}


def options(add):
    heartbeat.options(add)
    add("--standby", flag=True, looks=False, help="the passive half of a pair (up to 4.1): enabled is WARNING")
    add("--backend", choices=euca_storage.BACKENDS, help="what the volumes lie on")
    add("--zone", default="", help="zone whose properties name the back-end")
    add("--group", repeat=True, help="volume group that DAS uses, where Eucalyptus did not make it")
    add(
        "--san", repeat=True, type=euca_storage.address, metavar="HOST[:PORT]", help="management end-point of the array"
    )
    add("--volumes", default="", type=directory, metavar="DIR", help="volumes directory, where it is not the usual one")


def probe(options, run):
    if wrong := heartbeat.unseen(options, euca_storage.LOCAL):
        raise BadOption(wrong)
    return euca_storage.look(run, options, heartbeat.here(options))


def judge(storage, options):
    yield from (fact for fact in storage if isinstance(fact, Failed))
    if isinstance(storage.heart, heartbeat.Heartbeat):
        word, text = euca_storage.standing(storage.heart, "storage", options.standby)
        yield Finding(STATES[word], "" if word == "ok" else "storage", text)
        yield Metric("time", storage.heart.seconds)
    if isinstance(storage.targets, tgt.Targets):
        yield Metric("target_time", storage.targets.seconds)
        yield Metric("targets", len(storage.targets.targets))
        yield from (Finding(CRITICAL, name, text) for name, text in storage.targets.troubles)
    yield from _backend(storage)
    if isinstance(storage.room, mounts.Room):
        yield Metric("volumes_used", storage.room.used)
    if isinstance(storage.volumes, euca_storage.Volumes):
        yield Metric("snapshots_running", storage.snapshots)
        yield from (Metric("snapshot_age", age, of=name) for name, age in storage.volumes.ages.items())


def _backend(storage):
    for group in storage.groups if isinstance(storage.groups, tuple) else ():
        yield Finding(CRITICAL if group.trouble else OK, group.name, group.trouble or "is whole")
        if not euca_storage.overlay(group):
            yield Metric("group_used", group.used, of=group.name)
    for of, seconds in (storage.san or {}).items():
        yield seconds if isinstance(seconds, Failed) else Finding(OK, of, "opens")
    notes = ((CRITICAL, storage.lacks), (UNKNOWN, storage.hidden), (OK, storage.passed))
    yield from (Finding(state, "back-end", text) for state, text in notes if text)


CHECK = Check(
    *(options, probe, judge),
    where=("node", "remote"),
    uses=("http", "cloud"),
    needs=[Sudo(*tgt.SHOW), Sudo(*lvm.VGS), Sudo(*euca_storage.LIST)],
    answers=("W32", "W33", "W34", "W37"),
    modes={
        "service": "the Heartbeat on 8773 shows storage enabled",
        "target": "tgtd answers and all targets serve (this host)",
        "group": "volume groups are whole and have room (this host)",
        "san": "the array's management end-point opens (from this host)",
        "space": "room of the volumes directory (this host)",
        "snapshots": "snapshots under way, and what failed ones have left (this host)",
    },
    thresholds=[
        Threshold("time", "s", "2", mode="service", main=True, help="time until the Heartbeat was there"),
        Threshold("target_time", "s", "2", mode="target", main=True, help="time that tgtd takes to list its targets"),
        Threshold("targets", mode="target", help="targets of tgtd"),
        Threshold(
            "volumes_used", "%", "80", "90", mode="space", main=True, help="file system of the volumes directory"
        ),
        Threshold("snapshots_running", mode="snapshots", help="snapshots under way, by what is made for each"),
        # snapshottransfertimeoutinhours is 48 by default: what is older nobody finishes.
        Threshold(
            "snapshot_age", "s", "172800", mode="snapshots", print="worst", help="since such a file was last written"
        ),
        Threshold("group_used", "%", "80", "90", mode="group", main=True, help="extents of a group of DAS in use"),
    ],
    runbook="""
By hand: `curl -s http://HOST:8773/services/Heartbeat | grep '^name=storage '`; on the host `tgtadm --lld iscsi --mode target
--op show`, `vgs`, `df /var/lib/eucalyptus/volumes`, `losetup -a`.
Not enabled: `euserv-describe-services --filter service-type=storage -E` says why. BROKEN straight after the installation: its
blockstoragemanager is not set (`euctl ZONE.storage.blockstoragemanager`). NOTREADY for three minutes after a start is normal.
tgtd does not answer: it waits for a disk (dmesg, iostat -x) or is stopped. Volumes that are attached live through it as long as
it runs: restarting it cuts every attached volume, so look for what it waits for first.
Missing disks of an overlay group: its loop device is gone; is the volume's file still there? `losetup -a`.
Directory full: snapshots wait there until they are transferred. Old temporary files are left of failed snapshots: compare with
`euca-describe-snapshots verbose` before you remove them.
""",
)
main = CHECK.main
