# SPDX-License-Identifier: Apache-2.0
"""Is any file system full, out of inodes, read-only by surprise, not mounted, or about to be full?

Every file system on a disk or a storage server is looked at, once, whatever it is bound or mounted to besides. Those of
the kernel, of memory and of layers (tmpfs, overlay, fuse.*, snap and ISO images) are left out unless --type or --path
asks for them. --path names directories and looks at the file systems that hold them. Space counts as df does: root's
reserve is not free.

On very large disks a share alarms too early: `-w used//srv=98 -c used//srv=99.5 -c free//srv=53687091200:` moves the share
aside and sets a floor of 50 GiB. `full_in` is the time until a file system is full if it goes on growing as it did in the
last day (--span), at most a year.
"""

from __future__ import annotations

from nephoscope.base import COLLECTING, Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Metric, Preset, Threshold, duration
from nephoscope.probes import mounts

YEAR = 31_536_000


def directory(text):
    if not text.startswith("/"):
        raise ValueError(f"'{text}' is not an absolute path")
    return text.rstrip("/") or "/"


def options(add):
    add(
        "--path",
        repeat=True,
        type=directory,
        metavar="DIR",
        help="look at the file system that holds DIR (default: all)",
    )
    add("--type", repeat=True, metavar="GLOB", help="file system types to look at, instead of the usual ones")
    add("--writable", repeat=True, type=directory, metavar="DIR", help="must be writable, whatever fstab says")
    add("--read-only", repeat=True, metavar="GLOB", looks=False, help="mount points that are meant to be read-only")
    add(
        "--span",
        type=duration,
        metavar="DURATION",
        default=86400.0,
        help="time over which growth is measured (default 1d)",
    )


def probe(options, run):
    return mounts.survey(
        run,
        paths=options.path,
        types=options.type,
        writable=options.writable,
        read_only=options.read_only,
        span=options.span,
    )


def judge(survey, options):
    fullest = None
    if survey.fstab and ("readonly" in options.mode or "mounted" in options.mode):
        yield survey.fstab
    for system in survey.systems:
        if isinstance(system, Failed):
            yield system
            continue
        if "space" in options.mode and system.used is not None:
            yield Metric("used", system.used, system.path, 0, 100)
            yield Metric("free", system.free, system.path, 0, system.size)
            fullest = max(fullest or (0, ""), (system.used, system.path))
        if "inode" in options.mode and system.inodes is not None:
            yield Metric("inodes", system.inodes, system.path, 0, 100)
        if "readonly" in options.mode:
            yield readonly(system)
        if "forecast" in options.mode and system.used is not None:
            yield Metric("full_in", full_in(system), system.path)
    if "mounted" in options.mode:
        for path, nofail in survey.missing.items():
            yield Finding(WARNING if nofail else CRITICAL, path, "is listed in /etc/fstab and not mounted")
        for path in survey.present:
            yield Finding(OK, path, "is mounted, as /etc/fstab wants it")
    looked = sum(not isinstance(system, Failed) for system in survey.systems)
    if looked:
        text = f"{looked} looked at" + (f", fullest {fullest[1]} {fullest[0]:.3g}%" if fullest else "")
        if "mounted" in options.mode:
            text += f", fstab lists {len(survey.missing) + len(survey.present) or 'nothing'}"
        rest = ", ".join(f"{count} {kind}" for kind, count in sorted(survey.left_out.items()))
        yield Finding(OK, "", text + (f"; left out by type: {rest}" if rest else ""))


def readonly(system):
    should = f"and should be writable ({system.why})"
    if system.access == "stopped" and system.why != "--read-only":
        return Finding(CRITICAL, system.path, "was stopped by the kernel after an error and takes no writes")
    if system.access == "read-only" and system.wanted == "writable":
        return Finding(CRITICAL, system.path, f"is read-only {should}")
    if system.access == "read-only" and not system.wanted:
        return Finding(WARNING, system.path, "is read-only, and neither /etc/fstab nor --read-only says so")
    if system.access == "read-only here" and system.wanted == "writable":
        state = CRITICAL if system.why.startswith("--writable") else WARNING
        text = f"is mounted read-only here {should}: a bind mount, or the scheduler's sandbox"
        return Finding(state, system.path, text)
    return Finding(OK, system.path, "is writable" if system.access == "writable" else "is read-only, as it should be")


def full_in(system):
    if system.growth is COLLECTING:
        return COLLECTING
    return min(YEAR, system.free / system.growth) if system.growth > 0 else YEAR


def role(help, *paths):
    return Preset(help, options={"path": paths, "writable": paths})


RUNBOOK = """
By hand: `df -h; df -i; findmnt --verify; findmnt -T DIR; dmesg | tail -50`.
Full: `du -xh --max-depth=2 MOUNT | sort -h | tail`, deleted files that are still open: `lsof +L1 MOUNT`.
Out of inodes: `du -x --inodes MOUNT | sort -n | tail`. Not mounted: `mount MOUNT` says why; what was written to the bare
directory meanwhile lies below it. Read-only or stopped: read dmesg first, the disk or array below may be failing; move
guests away, unmount, fsck, mount. Hung: look at the server or the paths below (multipath, NFS); the process named here
goes away when they answer.
"""

CHECK = Check(
    options,
    probe,
    judge,
    where=("node",),
    runbook=RUNBOOK,
    keep=mounts.Survey.keep,
    modes={
        "space": "is there room",
        "inode": "are there inodes",
        "readonly": "is anything read-only that should not be",
        "mounted": "is everything mounted that fstab lists",
        "forecast": "when will it be full",
    },
    presets={
        "nova_compute": role("disks of guests on this node", "/var/lib/nova/instances", "/var/log/nova"),
        "glance": role("images", "/var/lib/glance/images", "/var/log/glance"),
        "cinder": role("volumes, conversions and backups", "/var/lib/cinder", "/var/log/cinder"),
        "swift": role("object storage disks", "/srv/node"),
        "mysql": role("MySQL or MariaDB", "/var/lib/mysql", "/var/log"),
        "postgres": role("PostgreSQL", "/var/lib/postgresql", "/var/log"),
        "rabbitmq": role("RabbitMQ", "/var/lib/rabbitmq", "/var/log/rabbitmq"),
        "euca_clc": role("Eucalyptus cloud controller", "/var/lib/eucalyptus/db", "/var/log/eucalyptus"),
        "euca_walrus": role("Walrus", "/var/lib/eucalyptus/bukkits", "/var/log/eucalyptus"),
        "euca_sc": role("Eucalyptus storage controller", "/var/lib/eucalyptus/volumes", "/var/log/eucalyptus"),
        "euca_nc": role("Eucalyptus node controller", "/var/lib/eucalyptus/instances", "/var/log/eucalyptus"),
    },
    thresholds=[
        Threshold("used", "%", "85", "95", mode="space", main=True, help="space in use, as a share"),
        Threshold("free", "B", mode="space", help="free space: a floor for very large disks"),
        Threshold("inodes", "%", "85", "95", mode="inode", main=True, help="inodes in use"),
        Threshold("full_in", "s", "604800:", "86400:", mode="forecast", main=True, help="time until it is full"),
    ],
)
main = CHECK.main
