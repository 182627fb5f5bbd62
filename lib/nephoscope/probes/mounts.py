# SPDX-License-Identifier: Apache-2.0
"""What is mounted, what should be, how full it is, and how fast it fills.

The kernel's table (/proc/self/mountinfo, man 5 proc) says what is there without touching it; everything that touches a file
system runs in a child that can be abandoned.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import (
    ABSENT,
    UNREACHABLE,
    UNREADABLE,
    Collecting,
    Failed,
    Run,
    child,
    files,
)
from nephoscope.probes import growth

MOUNTINFO = "/proc/self/mountinfo"
FSTAB = "/etc/fstab"
TRIED = "ask the file system for its size"
CURE = "search permission (x) on its parent directories, e.g. setfacl -m u:nagios:x DIR, or --exclude"
LIMIT = 16 << 20  # bytes of mountinfo: 100 000 mounts
SAMPLES = 24  # kept for one span of the forecast

# fmt: off
# The kernel's own, with nothing in them that could run out.
KERNEL = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nfsd", "nsfs", "proc", "pstore", "ramfs", "resctrl", "rootfs", "rpc_pipefs",
    "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
))
# Made full and read-only.
IMAGES = frozenset(("cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf"))
# Memory, layers over other file systems, and users' own mounts.
OTHERS = ("tmpfs", "overlay", "aufs", "fuse.*", "ecryptfs")
# FUSE file systems that clouds keep data on.
STORES = frozenset((
    "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.mfs", "fuse.moosefs", "fuse.quobyte", "fuse.s3fs", "fuse.sshfs",
))
# fmt: on


class Mount(NamedTuple):
    """One line of mountinfo. Paths are text with surrogate escapes for bytes that are no UTF-8."""

    number: int
    parent: int
    device: str  # "major:minor"
    root: str  # the directory of the file system that is mounted: "/" unless it is a bind mount or a subvolume
    path: str
    options: str  # of this mount
    kind: str
    source: str
    super_options: str  # of the file system


class Listed(NamedTuple):
    """One line of fstab that names a mount point."""

    path: str
    kind: str
    options: Sequence[str]
    source: str = ""


class FileSystem(NamedTuple):
    """One file system, named by its mount point.

    size, free   bytes that ordinary processes may use: all, and what is left (df's Avail)
    used         % of size; None: the file system has no size, or is an image and full by nature
    inodes       % of inodes in use; None: it counts none
    access       "writable"; "read-only"; "read-only here": by this mount alone (bind mount, a service's sandbox);
                 "stopped": by the kernel after an error
    wanted, why  "writable", "read-only" or "" (nobody says), and who says so
    full_in      seconds until it is full, growing as over the last span; at most a year, which also stands for never
    """

    path: str
    kind: str
    size: int
    free: int
    used: float | None
    inodes: float | None
    access: str
    wanted: str
    why: str
    full_in: float | Collecting


class Survey(NamedTuple):
    """All that was looked at.

    systems   in the order of their paths; a Failed stands for one that could not be measured
    missing   mount points of fstab with nothing mounted -> whether it says nofail
    present   mount points of fstab with something mounted
    fstab     why fstab could not be read, None when it was
    left_out  file system type -> how many mounts were left out for it; "kernel" for all of the kernel's own
    kept      plain JSON for the next run
    """

    systems: Sequence[FileSystem | Failed]
    missing: Mapping[str, bool]
    present: Sequence[str]
    fstab: Failed | None
    left_out: Mapping[str, int]
    kept: Mapping[str, Any]

    def keep(self) -> Mapping[str, Any]:
        """Return what the next run wants to know: who was writable, and how full all were."""
        return self.kept

    def summary(self, modes: Sequence[str]) -> str:
        """Return in one line how many were looked at, for each of `modes` what stands out, and what was not looked at."""
        systems = [system for system in self.systems if isinstance(system, FileSystem)]
        parts = [f"{len(systems)} looked at"]
        used = max(((system.used, system.path) for system in systems if system.used is not None), default=None)
        if used and {"space", "forecast"} & set(modes):
            parts.append(f"fullest {used[1]} {used[0]:.3g} %")
        if "mounted" in modes:
            parts.append(f"{len(self.present) + len(self.missing) or 'none'} listed in {FSTAB}")
        inodes = max(((system.inodes, system.path) for system in systems if system.inodes is not None), default=None)
        if inodes and "inode" in modes:
            parts.append(f"most inodes in use {inodes[1]} {inodes[0]:.3g} %")
        if "readonly" in modes:
            parts.append(f"{sum(system.access == 'writable' for system in systems)} writable")
        left_out = ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))
        return ", ".join(parts) + (f"; left out by type: {left_out}" if left_out else "")

    def lacking(self, modes: Sequence[str]) -> list[str]:
        """Return what is not here of that which `modes` ask about; what failed is no lack, and says so itself."""
        asked, lacks = set(modes), []
        systems = [system for system in self.systems if isinstance(system, FileSystem)]
        if not self.systems and asked - {"mounted"}:
            lacks.append("no file system of these types is mounted")
        elif len(systems) == len(self.systems):
            if {"space", "forecast"} & asked and all(system.used is None for system in systems):
                lacks.append("no file system here has a size that could run out")
            if "inode" in asked and all(system.inodes is None for system in systems):
                lacks.append("no file system here counts inodes")
        if "mounted" in asked and not (self.fstab or self.missing or self.present):
            lacks.append(f"{FSTAB} lists nothing that should be mounted here")
        return lacks


def shown(path: str) -> str:
    r"""Return a path as printable text: bytes that are no UTF-8 as \xff."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def mounted(run: Run) -> list[Mount]:
    """Return the mounts that can be reached: those hidden under a later mount, or whose directory is gone, are not there.

    Raises Failed: absent, not-allowed, or unreadable when a line is not understood.
    """
    found = {}
    # Bytes, cut at newlines alone: names in it need not be UTF-8, and may hold any byte but the newline.
    for line in files.data(run, MOUNTINFO, limit=LIMIT).split(b"\n"):
        if not line:
            continue
        try:
            head, _, tail = line.partition(b" - ")
            number, parent, device, root, path, options = (plain(field) for field in head.split(b" ")[:6])
            kind, source, super_options = (plain(field) for field in tail.split(b" ")[:3])
            found[int(number)] = Mount(
                int(number), int(parent), device, root, path, options, kind, source, super_options
            )
        except ValueError:
            raise Failed(UNREADABLE, "", f"read {MOUNTINFO}", f"a line is not understood: {line[:80]!r}") from None
    standing: dict[int, set[str]] = {}  # number of a mount -> paths of the mounts that stand on it
    for mount in found.values():
        if mount.number != mount.parent:
            standing.setdefault(mount.parent, set()).add(mount.path)

    def hidden(mount: Mount) -> bool:
        # Something is mounted right on it, or on a directory between it and what it stands on; and so on downwards.
        if mount.path in standing.get(mount.number, ()):
            return True
        while True:
            parent = found.get(mount.parent)
            if parent is None or parent.number == mount.number:
                return False
            above = mount.path.rpartition("/")[0]
            while len(above) > len(parent.path.rstrip("/")):
                if above in standing[parent.number]:
                    return True
                above = above.rpartition("/")[0]
            if parent.path != mount.path and parent.path in standing[parent.number]:
                return True
            mount = parent

    return [mount for mount in found.values() if not mount.path.endswith("//deleted") and not hidden(mount)]


def listed(run: Run) -> list[Listed]:
    """Return what /etc/fstab (man 5 fstab) wants mounted at a path, `noauto` too; no fstab is an empty list.

    Raises Failed: not-allowed, or unreadable when a line has fewer than three fields.
    """
    entries = []
    try:
        lines = files.data(run, FSTAB).split(b"\n")
    except Failed as failed:
        if failed.kind == ABSENT:
            return []
        raise
    for number, line in enumerate(lines, 1):
        fields = line.replace(b"\t", b" ").strip().split()
        if not fields or fields[0].startswith(b"#"):
            continue
        if len(fields) < 3:
            raise Failed(UNREADABLE, FSTAB, f"read {FSTAB}", f"line {number} has fewer than three fields")
        path = plain(fields[1])
        if path.startswith("/") and fields[2] != b"swap":
            options = plain(fields[3]).split(",") if len(fields) > 3 else ["defaults"]
            entries.append(Listed(path.rstrip("/") or "/", plain(fields[2]), tuple(options), plain(fields[0])))
    return entries


def survey(
    run: Run,
    paths: Sequence[str] = (),
    types: Sequence[str] = (),
    writable: Sequence[str] = (),
    read_only: Sequence[str] = (),
    span: float = 86400.0,
    seconds: float = 5.0,
) -> Survey:
    """Look at every file system of an interesting type; with `paths` at those that hold them, and at those mounted below.

    types      globs of file system types, instead of the usual choice
    writable   directories whose file system must be writable
    read_only  globs of mount points that are meant to be read-only
    span       seconds over which growth is measured
    seconds    the longest that one file system may take
    Raises Failed when the kernel's table can't be read.
    """
    table = mounted(run)
    fstab: Failed | None = None
    wishes: Sequence[Listed] = ()
    try:
        wishes = listed(run)
    except Failed as failed:
        fstab = failed
    left_out: dict[str, int] = {}
    failures: list[Failed] = []
    reals: dict[str, str] = {}
    if paths:
        chosen, answers, failures = _holding(run, table, paths, types, left_out, seconds, reals)
    else:
        chosen = _choose(run, table, types, left_out)
        answers = _measure_all(run, chosen, seconds)
    told = {failed.of for failed in failures}
    asked = [path for path in writable if shown(path) not in reals and shown(path) not in told]
    reals.update(_real(run, asked, seconds, failures))
    held = {_mount_of(table, reals[shown(path)]): shown(path) for path in writable if shown(path) in reals}
    before = run.before if isinstance(run.before, dict) else {}
    now = round(run.clock.time(), 1)
    systems: list[FileSystem | Failed] = list(failures)
    seen: list[str] = []
    histories: dict[str, Any] = {}
    for mount in chosen:
        name = shown(mount.path)
        answer = answers[name]
        how = access(mount)
        earlier = name in (before.get("writable") or ())
        if how == "writable" or earlier:
            seen.append(name)
        samples = histories[name] = _samples(before, name)
        if isinstance(answer, Failed):
            systems.append(answer)
            continue
        size, free, inodes, inodes_free = answer
        samples = [sample for sample in samples if now - span * 1.1 <= sample[0] < now]
        newest = [now, float(size - free)]
        spaced = not samples or now - samples[-1][0] >= span / SAMPLES
        histories[name] = [*samples, newest] if spaced else samples
        image = mount.kind in IMAGES
        wanted, why = _wish(mount, wishes, held.get(mount, ""), read_only, earlier)
        if mount in held and how == "read-only here":
            how = "read-only"  # the operator's word is about this very place
        elif how == "stopped":
            wanted = why = ""  # nobody wants that
        system = FileSystem(
            path=name,
            kind=mount.kind,
            size=size,
            free=free,
            used=100.0 * (size - free) / size if size > 0 and not image else None,
            inodes=100.0 * (inodes - inodes_free) / inodes if inodes > 0 and not image else None,
            access=how,
            wanted=wanted,
            why=why,
            full_in=growth.full_in(free, growth.slope([*samples, newest], span)),
        )
        systems.append(system)
    # Of the paths asked for, only the file systems that should hold them, or be mounted below, matter.
    places = {place for path in paths for place in (path, reals.get(shown(path), path))}
    wishes = [
        wish
        for wish in wishes
        if "noauto" not in wish.options
        and (not paths or any(_below(place, wish.path) or _below(wish.path, place) for place in places))
    ]
    missing = _missing(run, table, wishes, seconds)
    names = {shown(wish.path) for wish in wishes}
    present = sorted(name for name in names if name not in missing and run.wants(name))
    kept = {"writable": seen, "samples": histories}
    return Survey(tuple(systems), missing, tuple(present), fstab, left_out, kept)


def plain(field: bytes) -> str:
    r"""Undo the octal escapes (\040) of mountinfo and fstab."""
    first, *rest = field.split(b"\\")
    for part in rest:
        code = part[:3]
        octal = len(code) == 3 and all(digit in b"01234567" for digit in code)
        first += bytes([int(code, 8) & 255]) + part[3:] if octal else b"\\" + part
    return first.decode("utf-8", "surrogateescape")


def _below(path: str, directory: str) -> bool:
    return path == directory or directory == "/" or path.startswith(directory + "/")


def _mount_of(table: Iterable[Mount], path: str) -> Mount | None:
    """Return the mount that a path without symbolic links lies on."""
    holding = [mount for mount in table if _below(path, mount.path)]
    return max(holding, key=lambda mount: len(mount.path)) if holding else None


def _choose(run: Run, table: Sequence[Mount], types: Sequence[str], left_out: dict[str, int]) -> list[Mount]:
    """Return one mount for each file system of an interesting type, those that hold the whole of it first."""
    devices: dict[str, list[Mount]] = {}
    for mount in table:
        if types:
            wanted = any(fnmatchcase(mount.kind, glob) for glob in types)
        elif mount.path == "/":
            wanted = mount.kind not in IMAGES  # the root is always of interest, even an overlay
        else:
            wanted = mount.kind in STORES or not (
                mount.kind in KERNEL or mount.kind in IMAGES or any(fnmatchcase(mount.kind, glob) for glob in OTHERS)
            )
        if wanted:
            devices.setdefault(mount.device, []).append(mount)
        else:
            kind = "kernel" if mount.kind in KERNEL else mount.kind
            left_out[kind] = left_out.get(kind, 0) + 1
    chosen = []
    for mounts in devices.values():
        mounts.sort(key=lambda mount: (mount.root != "/", len(mount.path), mount.path))
        # Bind mounts are other names of the same thing: they count only when one is asked for by name.
        for mount in mounts if run.include else mounts[:1]:
            if run.wants(shown(mount.path)):
                chosen.append(mount)
                break
    return sorted(chosen, key=lambda mount: mount.path)


def _holding(
    run: Run,
    table: Sequence[Mount],
    paths: Sequence[str],
    types: Sequence[str],
    left_out: dict[str, int],
    seconds: float,
    reals: dict[str, str],
) -> tuple[list[Mount], dict[str, Any], list[Failed]]:
    """Find the mounts that hold `paths`, and those below: the mounts, the measurements by mount point, and what failed.

    A mount that holds one is of any type; of those below, only the interesting ones count (`types`, `left_out`).
    `reals` is filled: path -> path without symbolic links.
    """
    jobs = {
        shown(path): (lambda path=path: [_realpath(run, path), _measure(run, path, mounted=False)]) for path in paths
    }
    chosen: dict[str, Mount] = {}
    answers: dict[str, Any] = {}
    failures = []
    for path, answer in child.each(run, jobs, tried=TRIED, seconds=seconds).items():
        if isinstance(answer, Failed):
            failures.append(answer)
            continue
        real, numbers = answer
        reals[path] = real
        mount = _mount_of(table, real)
        if mount is None:
            failures.append(Failed(UNREADABLE, path, f"find its mount in {MOUNTINFO}", "no mount holds it"))
        elif mount.device not in chosen:
            chosen[mount.device] = mount
            answers[shown(mount.path)] = numbers
    # Swift's disks, or a volume driver's NFS exports: the directory's own file system says nothing about them.
    inner = [
        mount
        for mount in table
        if mount.device not in chosen and any(_below(mount.path, real) for real in reals.values())
    ]
    below = _choose(run, inner, types, left_out)
    answers.update(_measure_all(run, below, seconds))
    return sorted([*chosen.values(), *below], key=lambda mount: mount.path), answers, failures


def _measure_all(run: Run, chosen: Sequence[Mount], seconds: float) -> dict[str, Any]:
    """Return mount point -> what `_measure` says of it, or Failed."""
    jobs = {shown(mount.path): (lambda mount=mount: _measure(run, mount.path)) for mount in chosen}
    return child.each(run, jobs, tried=TRIED, seconds=seconds)


def _real(run: Run, paths: Sequence[str], seconds: float, failures: list[Failed]) -> dict[str, str]:
    """Return path -> path without symbolic links; what can't be resolved goes to `failures`."""
    jobs = {shown(path): (lambda path=path: _realpath(run, path)) for path in paths}
    resolved = {}
    for path, answer in child.each(run, jobs, tried="resolve the path", seconds=seconds).items():
        if isinstance(answer, Failed):
            failures.append(answer)
        else:
            resolved[path] = answer
    return resolved


def _realpath(run: Run, path: str) -> str:
    """Follow symbolic links; runs in a child. Raises OSError when the path does not exist."""
    place = os.path.realpath(_bytes(run.path(path)))
    try:
        os.stat(place)
    except PermissionError as denied:
        raise Failed.of_os_error(shown(path), "resolve the path", denied, CURE) from None
    real = place.decode("utf-8", "surrogateescape")
    return (real[len(run.root) :] or "/") if run.root and real.startswith(run.root) else real


def _measure(run: Run, path: str, mounted: bool = True) -> list[int]:
    """Return size and free bytes, all and free inodes of the file system at a path; runs in a child."""
    place = _bytes(run.path(path))
    try:
        os.stat(place)  # an XFS that was shut down answers statvfs, but not this
        room = os.statvfs(place)
    except PermissionError as denied:
        raise Failed.of_os_error(shown(path), TRIED, denied, CURE) from None
    except FileNotFoundError:
        if not mounted:
            raise
        error = "no such directory, though it is mounted"
        raise Failed(UNREACHABLE, shown(path), TRIED, error) from None
    # As df counts: what only root may use is neither used nor free.
    usable = (room.f_blocks - room.f_bfree + room.f_bavail) * room.f_frsize
    return [usable, room.f_bavail * room.f_frsize, room.f_files, room.f_favail]


class Room(NamedTuple):
    """The file system that holds a path: bytes that ordinary processes may use, and those of them that are free."""

    size: int
    free: int

    @property
    def used(self) -> float | None:
        """In percent; None for a file system without a size."""
        return 100.0 * (self.size - self.free) / self.size if self.size > 0 else None


def room(run: Run, path: str) -> Room:
    """Return the room of the file system that holds a path; may hang, so call it in a child. Raises Failed and OSError."""
    return Room(*_measure(run, path, mounted=False)[:2])


def room_of(run: Run, path: str, seconds: float) -> Room:
    """Return what `room` does, asked in a child that can be abandoned after its share of the deadline. Raises Failed."""
    answer = child.each(run, {path: lambda: list(room(run, path))}, tried=TRIED, seconds=seconds)[path]
    if isinstance(answer, Failed):
        raise answer
    return Room(*answer)


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def access(mount: Mount) -> str:
    """Return how a file system may be used: the word of `FileSystem.access`."""
    options = mount.super_options.split(",")
    # ext4 since Linux 6.15 stays "rw" after an error under errors=remount-ro and says this instead.
    if "emergency_ro" in options or "shutdown" in options:
        return "stopped"
    if "ro" in options:
        return "read-only"
    return "read-only here" if "ro" in mount.options.split(",") else "writable"


def _wish(
    mount: Mount, wishes: Sequence[Listed], must: str, read_only: Sequence[str], earlier: bool
) -> tuple[str, str]:
    """Return who wants this mount how: the operator's word outranks fstab's, and that outranks the past."""
    if any(fnmatchcase(shown(mount.path), glob) for glob in read_only):
        return "read-only", "--read-only"
    if must:
        return "writable", f"--writable {must}"
    for wish in wishes:
        if wish.path == mount.path:
            # Of several words the last one counts, as for mount(8).
            words = [option for option in wish.options if option in ("ro", "rw", "defaults")]
            return "read-only" if words[-1:] == ["ro"] else "writable", FSTAB
    if mount.kind in IMAGES:
        return "read-only", mount.kind
    if earlier:
        return "writable", "it was on an earlier run"
    # Whoever mounts an export read-only may mean it; a disk is mounted to be written.
    return ("", "") if mount.source.startswith("/dev/") else ("read-only", mount.kind)


def _missing(run: Run, table: Sequence[Mount], wishes: Sequence[Listed], seconds: float) -> dict[str, bool]:
    """Return the mount points of fstab where nothing is mounted -> whether it says nofail."""
    present = {mount.path for mount in table}
    absent = {shown(wish.path): wish for wish in wishes if wish.path not in present}
    # The kernel's table has no symbolic links, fstab may: look twice before saying that something is missing.
    for name, real in _real(run, [wish.path for wish in absent.values()], seconds, []).items():
        if real in present:
            del absent[name]
    return {name: "nofail" in wish.options for name, wish in absent.items() if run.wants(name)}


def _samples(before: Mapping[str, Any], name: str) -> list[list[float]]:
    """Return the kept samples of a file system, [seconds since 1970, bytes used]; what is damaged counts as none."""
    kept = before.get("samples")
    samples = []
    for entry in (kept.get(name) or ()) if isinstance(kept, dict) else ():
        try:
            at, value = entry
            samples.append([float(at), float(value)])
        except (TypeError, ValueError):
            continue
    return samples[-SAMPLES - 2 :]
