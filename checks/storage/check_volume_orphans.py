# SPDX-License-Identifier: Apache-2.0
"""Which logical volumes, files or exports belong to no volume, and which volumes lack theirs?

Runs on a Eucalyptus storage controller with overlay or DAS, and compares the volumes directory, the groups of LVM and
tgtd's targets with the volumes and snapshots of all accounts. They are read as a user of the account eucalyptus, and whether
all accounts are seen is asked first: who sees his own alone would call all others' volumes orphans. What can't be listed is
UNKNOWN, and makes no volume missing: an empty list of LVM is believed only of root. Where volumes seem to lack theirs, the
back-end is listed before and after the records. Arrays and Ceph do not lie on this host.

What bears a name of Eucalyptus and belongs to no record is an orphan, and counts after `--grace`: creating and deleting take
their time. It is as old as this check has seen it without a break. What belongs to a failed volume, to one on its way, or to a
snapshot of whichever zone is none. A volume in use without its file (overlay) or logical volume (DAS) is critical, one that is
only available a warning; in other states it may have none. That a volume in use has an export is not asked: with a stopped
instance it has none. Zone and back-end are properties; of several zones --zone must name one, and with --backend no property is
asked. Serves 3.3 to 5.1; volumes of LVM older than that bear names that tell nothing, and are UNKNOWN unless as many volumes
lack one. Three to five requests, however many volumes; vgs, lvs, find and tgtadm once, the first three twice where any lacks.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Check, Finding, Grant, Metric, Sudo, Threshold, duration
from nephoscope.plugin.options import directory
from nephoscope.probes import euca_api, euca_volumes, lvm, tgt


def options(add):
    euca_api.options(add)
    add("--zone", default="", help="zone of this storage controller, where there are several")
    add(
        "--backend", choices=tuple(euca_volumes.KINDS), help="what the volumes lie on; with --zone no property is asked"
    )
    add("--group", repeat=True, help="volume group that DAS uses, where no property names it")
    add("--volumes", default="", type=directory, metavar="DIR", help="volumes directory, where it is not the usual one")
    add("--grace", type=duration, default=3600.0, looks=False, help="an orphan counts after so long (default 1h)")


def probe(options, run):
    return euca_volumes.look(run, options)


def judge(found, options):
    yield from found.failures
    yield from (Finding(UNKNOWN, of, text) for of, text in found.doubts)
    if found.broken:
        yield Finding(CRITICAL, "back-end", found.broken)
    yield from (Finding(OK, orphan.thing.name, orphan.said) for orphan in found.orphans)
    yield from (Finding(OK, name, "has no name of the cloud's") for name in found.strangers)
    old = [orphan.thing for orphan in found.orphans if orphan.age >= options.grace]
    if old or not found.failures:  # none of what could be seen is not none
        yield Metric("orphans", len(old), detail=_few([f"{thing.kind} {thing.name}" for thing in old]))
        yield Metric("orphan_bytes", sum(thing.size for thing in old))
    if found.lacking is not None:
        for name, state in (("missing", "used"), ("missing_idle", "idle")):
            yield Metric(name, len(found.lacks(state)), detail=_few(found.lacks(state)))
    young = len(found.orphans) - len(old)
    yield Finding(OK, "", found.looked + (f", {young} of them younger orphans" if young else ""))


def _few(names):
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


RUNBOOK = """
By hand, as an administrator of the cloud: `euca-describe-volumes verbose`, `euca-describe-snapshots`; on the storage controller
`lvs`, `ls -ls /var/lib/eucalyptus/volumes`, `losetup -a`, `tgtadm --lld iscsi --mode target --op show`.
An orphan is somebody's data until the opposite is proven. Remove nothing because it stands in this list. Is it truly in no
record: `euca-describe-volumes vol-ID`, and the database eucalyptus_storage (tables iscsivolumeinfo, volumes, snapshots: SELECT
alone)? Does anybody hold it open: I_T nexus in tgtadm, `lvs -o +lv_device_open`, `losetup -j FILE`, an iSCSI session of a node?
sc.log tells its last operation. Then ask the owner, keep a copy, and only put it aside (`mv`, `lvrename`) for as long as your
back-ups last. A file of a snapshot that failed (vol-ID and random letters): look whether `pending` snapshots of it exist.
A volume in use that lacks its backing: guests run on what is open still. Touch neither tgtd nor the storage controller, and
detach nothing. Is the volumes directory mounted, is the group there (check_lvm), was a path or a disk lost? A file that was
deleted while its loop device is open can be copied back: `losetup -a` shows it as (deleted); read from the loop device first.
All volumes lacking at once: the wrong host, a directory that is not mounted, or a moved volumesdir.
"""

CHECK = Check(
    *(options, probe, judge),
    keep=lambda found: found.kept,
    uses=("http", "cloud"),
    signs=("/etc/eucalyptus/eucalyptus.conf",),
    needs=[
        *(Sudo(*line) for line in (lvm.VGS, lvm.NAMES, euca_volumes.LIST, tgt.SHOW)),
        Grant(euca_volumes.RIGHT),
    ],
    modes={
        "backing": "files and logical volumes against the volumes and snapshots",
        "exports": "targets of tgtd against the volumes",
    },
    thresholds=[
        Threshold("orphans", "", "0", main=True, help="things that have belonged to nothing for --grace"),
        Threshold("orphan_bytes", "B", help="space that they take"),
        Threshold("missing", "", None, "0", mode="backing", help="volumes in use without a backing"),
        Threshold("missing_idle", "", "0", mode="backing", help="available volumes without a backing"),
    ],
    deadline=20,
    runbook=RUNBOOK,
)
main = CHECK.main
