# SPDX-License-Identifier: Apache-2.0
"""Is any file system full, out of inodes, read-only by surprise, not mounted, or about to be full?

Every file system on a disk or a storage server is looked at, once, whatever it is bound or mounted to besides. Those of
the kernel, of memory and of layers (tmpfs, overlay, fuse.*, snap and ISO images) are left out unless --type or --path
asks for them. --path names directories and looks at the file systems that hold them, and at those mounted below them.
Space counts as df does: root's reserve is not free.

On very large disks a share alarms too early: `-w used//srv=98 -c used//srv=99.5 -c free//srv=53687091200:` moves the share
aside and sets a floor of 50 GiB. `full_in` is the time until a file system is full if it goes on growing as it did in the
last day (--span), at most a year; a single step (an upgrade, a download) is no growth, and nothing is said before half of
that time was seen.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Metric, Preset, Threshold, directory, duration
from nephoscope.probes import mounts

SURPRISES = {
    ("stopped", ""): (CRITICAL, "was stopped by the kernel after an error and takes no writes"),
    ("read-only", "writable"): (CRITICAL, "is read-only and should be writable"),
    ("read-only", ""): (WARNING, "is read-only, and neither /etc/fstab nor --read-only says so"),
    ("read-only here", "writable"): (WARNING, "is read-only here, by a bind mount or the scheduler's sandbox"),
}


def options(add):
    add(
        "--path",
        repeat=True,
        type=directory,
        metavar="DIR",
        help="look at what holds DIR and is mounted below it (default: all)",
    )
    add("--type", repeat=True, metavar="GLOB", help="file system types to look at, instead of the usual ones")
    add("--writable", repeat=True, type=directory, metavar="DIR", help="must be writable, whatever fstab says")
    add("--read-only", repeat=True, metavar="GLOB", looks=False, help="mount points that are meant to be read-only")
    add("--span", type=duration, looks=False, default=86400.0, help="time over which growth is measured, in seconds")


def probe(options, run):
    return mounts.survey(run, options.path, options.type, options.writable, options.read_only, options.span)


def judge(survey, options):
    if survey.fstab and {"readonly", "mounted"} & set(options.mode):
        yield survey.fstab
    for system in survey.systems:
        if isinstance(system, Failed):
            yield system
            continue
        if "space" in options.mode and system.used is not None:
            yield Metric("used", system.used, system.path, 0, 100)
            yield Metric("free", system.free, system.path, 0, system.size)
        if "inode" in options.mode and system.inodes is not None:
            yield Metric("inodes", system.inodes, system.path, 0, 100)
        if "forecast" in options.mode and system.used is not None:
            yield Metric("full_in", system.full_in, system.path)
        if "readonly" in options.mode:
            state, text = SURPRISES.get((system.access, system.wanted), (OK, f"is {system.access}"))
            yield Finding(state, system.path, f"{text} ({system.why})" if system.why else text)
    if "mounted" in options.mode:
        for path, nofail in survey.missing.items():
            yield Finding(WARNING if nofail else CRITICAL, path, "is listed in /etc/fstab and not mounted")
        for path in survey.present:
            yield Finding(OK, path, "is mounted, as /etc/fstab wants it")
    by_name = options.mode if options.mode_given or (options.type and not survey.systems) else ()
    for text in survey.lacking(by_name):
        yield Failed(ABSENT, "", "", text)
    if any(not isinstance(system, Failed) for system in survey.systems):
        yield Finding(OK, "", survey.summary(options.mode))


PRESETS = {
    name: Preset(help, options={"path": tuple(paths), "writable": tuple(paths)})
    for name, (help, *paths) in {
        "nova_compute": ("disks of guests on this node", "/var/lib/nova", "/var/lib/nova/instances", "/var/log/nova"),
        "glance": ("images", "/var/lib/glance/images", "/var/log/glance"),
        "cinder": ("volumes, conversions and backups", "/var/lib/cinder", "/var/log/cinder"),
        "swift": ("object storage disks", "/srv/node"),
        "mysql": ("MySQL or MariaDB", "/var/lib/mysql", "/var/log"),
        "postgres": ("PostgreSQL", "/var/lib/postgresql", "/var/log"),
        "rabbitmq": ("RabbitMQ", "/var/lib/rabbitmq", "/var/log/rabbitmq"),
        "euca_clc": ("Eucalyptus cloud controller", "/var/lib/eucalyptus/db", "/var/log/eucalyptus"),
        "euca_walrus": ("Walrus", "/var/lib/eucalyptus/bukkits", "/var/log/eucalyptus"),
        "euca_sc": ("Eucalyptus storage controller", "/var/lib/eucalyptus/volumes", "/var/log/eucalyptus"),
        "euca_nc": ("Eucalyptus node controller", "/var/lib/eucalyptus/instances", "/var/log/eucalyptus"),
    }.items()
}

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
    answers=("W5", "W20", "W32", "W44"),
    runbook=RUNBOOK,
    keep=mounts.Survey.keep,
    modes={
        "space": "is there room",
        "inode": "are there inodes",
        "readonly": "is anything read-only that should not be",
        "mounted": "is everything mounted that fstab lists",
        "forecast": "when will it be full",
    },
    presets=PRESETS,
    thresholds=[
        Threshold("used", "%", "85", "95", mode="space", main=True, help="space in use, as a share"),
        Threshold("free", "B", mode="space", help="free space: a floor for very large disks"),
        Threshold("inodes", "%", "85", "95", mode="inode", main=True, help="inodes in use"),
        Threshold(
            "full_in", "s", "604800:", "86400:", mode="forecast", main=True, late=True, help="time until it is full"
        ),
    ],
)
main = CHECK.main
