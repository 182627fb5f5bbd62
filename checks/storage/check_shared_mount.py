# SPDX-License-Identifier: Apache-2.0
"""Is the shared file system mounted, from the right server, writable, and does it answer?

Looked at are the NFS, CIFS, CephFS, GlusterFS and other shared file systems that are mounted or that /etc/fstab lists without
noauto (nofail makes no difference: it is about booting); --path names mount points instead, those of autofs too. What is
mounted on demand is then mounted, and its idle time begins anew. Where nothing, or nothing shared, is mounted it is CRITICAL:
the directory below on the local disk is not looked at. Mounts that share a device and a directory are asked once.

What is mounted is read from the kernel's table, and /etc/fstab says from where and whether read-only. --source, --type,
--option and --without say it for all of the paths: other limits for other mounts are another service. Then each mount is asked
for stat, statvfs (which no client answers from its cache) and the beginning of a listing, in a child that may hang without
holding this check up, and that is not followed by another while it does. A stale handle, a dead server and a cut connection
are CRITICAL.

Nothing is written unless --write DIR asks for it: 4 KiB are written there, synced, read back and removed; as nobody where the
check runs as root. DIR must lie on one of the mounts, else nothing is written and that is CRITICAL.

Of NFS the kernel's /proc/self/mountstats tells calls whose time was up, calls sent again, their time, and a server that answers
nothing. A GlusterFS client tells (`.meta` in its root, 3.6 and later) which bricks it does not reach and how many files wait to
be healed, as the copy it reads from knows it: there may be more. Rights: r-x on the mount point; w on DIR for --write.
"""

from __future__ import annotations

from nephoscope.base import NOT_ALLOWED, Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Metric, Preset, Threshold, directory
from nephoscope.probes import shared_mount

STATES = {"ok": OK, "degraded": WARNING, "failed": CRITICAL}


def options(add):
    add("--path", repeat=True, type=directory, metavar="DIR", help="mount point to look at (default: all shared ones)")
    add("--type", repeat=True, metavar="GLOB", help="types of file systems that count as shared, instead of the usual")
    add(
        "--source", repeat=True, metavar="GLOB", looks=False, help="what it must be mounted from, as nas.example:/nova*"
    )
    add("--option", repeat=True, metavar="GLOB", looks=False, help="option that must be in force, as hard or vers=4.*")
    add("--without", repeat=True, metavar="GLOB", looks=False, help="option that must not be in force, as soft")
    add("--read-only", repeat=True, metavar="GLOB", looks=False, help="mount points that are meant to be read-only")
    add("--write", repeat=True, type=directory, metavar="DIR", help="write and sync a file in DIR, and remove it")


def probe(options, run):
    return shared_mount.survey(run, options.path, options.type, options.write)


def judge(survey, options):
    yield from (failed for failed in (survey.fstab, survey.stats) if failed)
    for path, instead in survey.missing.items():
        yield Finding(CRITICAL, path, f"is not mounted: {instead}")
    for mount in survey.mounts:
        yield from [mount] if isinstance(mount, Failed) else _mount(mount, options)
    for trial in survey.trials:
        yield from [trial] if isinstance(trial, Failed) else _trial(trial)
    if survey.summary():
        yield Finding(OK, "", survey.summary())


def _mount(mount, options):
    yield from (failed for failed in (mount.failed, mount.unseen) if failed)
    for health, text in mount.conditions(options.source, options.option, options.without, options.read_only):
        yield Finding(STATES[health], mount.path, text)
    if mount.seconds is not None:
        yield Metric("probe", mount.seconds, mount.path)
        yield Metric("free", mount.free, mount.path, 0, mount.size)
    if mount.backlog is not None:
        yield Metric("backlog", mount.backlog, mount.path, detail="at least so many files wait to be healed")
    yield from (Metric(name, value, mount.path) for name, value in mount.values.items())


def _trial(trial):
    if trial.denied:
        yield Failed(NOT_ALLOWED, trial.path, f"{trial.step} a file", trial.error, "the right to write there")
    elif trial.error:
        yield Finding(CRITICAL, trial.path, f"{trial.step} failed: {trial.error}" if trial.step else trial.error)
    else:
        yield Metric("write", trial.seconds, trial.path)


RUNBOOK = """
By hand: `findmnt -t nfs4,nfs,cifs,ceph,fuse.glusterfs; findmnt --verify; timeout 5 stat -f DIR`; no `df` while it hangs.
Not mounted: `mount DIR` says why; what services wrote meanwhile lies in the bare directory below: stop them first, then look.
Hung: is the server there (`ping`, `rpcinfo -t SERVER nfs`, check_path_mtu)? Processes in state D wait for it, and go on when it
comes back; `umount -f DIR`, then `umount -l DIR`, end an NFS mount for good. Do not restart services that wait for it.
Stale: the export was made anew or its fsid changed: `umount -l DIR; mount DIR`. Not connected: the FUSE client died, its log in
/var/log/glusterfs or the journal says why; then the same. Read-only: the server's export (`exportfs -v`), its own disk.
Bricks and healing: on a server `gluster volume status; gluster volume heal VOLUME info summary; gluster volume heal VOLUME`.
Calls timed out, sent again: `nfsiostat 5 3`, `mountstats --rpc DIR`, errors of the interface, threads of the server.
"""

PRESETS = {
    "nova_instances": Preset(
        "guests' disks on shared storage", options={"path": ("/var/lib/nova/instances",), "without": ("soft",)}
    ),
    "glance_images": Preset("images on shared storage", options={"path": ("/var/lib/glance/images",)}),
}

CHECK = Check(
    options,
    probe,
    judge,
    runbook=RUNBOOK,
    keep=shared_mount.Survey.keep,
    presets=PRESETS,
    thresholds=[
        Threshold("probe", "s", "1", "5", main=True, print="apart", help="time to stat, measure and list it"),
        Threshold("free", "B", help="space that ordinary processes may use"),
        Threshold(
            "write", "s", "1", "5", print="apart", help="time to write, sync, read back and remove 4 KiB below --write"
        ),
        Threshold("backlog", "", "0", print="apart", help="GlusterFS: files that wait to be healed, at least"),
        Threshold("rtt", "s", late=True, print="apart", help="NFS: time from sending a call to its answer"),
        Threshold("exec", "s", late=True, print="apart", help="NFS: time for a call, with the wait for its turn"),
        Threshold("retrans", "%", late=True, print="apart", help="NFS: calls sent again"),
        Threshold("timeouts_rate", "", "0", late=True, print="apart", help="NFS: calls whose time was up"),
    ],
)
main = CHECK.main
