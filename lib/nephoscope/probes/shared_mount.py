# SPDX-License-Identifier: Apache-2.0
"""File systems that several machines share: mounted from where, do they answer, and what their clients know of the servers.

What is mounted is read from the kernel's table, which touches none of them. Everything that touches one runs in a child that
can be abandoned. statvfs is among it because clients answer stat and even a listing from their caches, and statvfs never.

Sources: man 5 proc (mountinfo), nfs(5), mount.glusterfs(8); Linux, net/sunrpc/stats.c and xprtsock.c (mountstats: per-op lines
hold operations, transmissions, time-outs, bytes sent and received, and ms in queue, until the answer, and in all; xprt lines);
GlusterFS 10.3, asked: `.meta` in the root of a mount, and the virtual attribute glusterfs.xattrop_index_count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREACHABLE, UNREADABLE, Collecting, Failed, Run, child, files
from nephoscope.probes import mounts
from nephoscope.probes.mounts import FSTAB, STORES, Listed, Mount, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.samples import History
    from nephoscope.probes.filesystem import Trial

MOUNTSTATS = "/proc/self/mountstats"
SHARED = STORES | {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "ocfs2", "gfs2", "lustre", "gpfs", "beegfs", "afs"),
    *("orangefs", "pvfs2", "9p", "virtiofs", "quobyte", "fuse.lizardfs", "fuse.juicefs", "fuse.JuiceFS"),
}  # fmt: skip
BECOMES = {"nfs": ("nfs4",), "nfs4": ("nfs",), "cifs": ("smb3",), "smb3": ("cifs",)}  # type in fstab -> in the kernel
GLUSTER, NFS = "fuse.glusterfs", ("nfs", "nfs4")
TRIED, SETTLE = "stat, statvfs and list", "resolve the path"
CURE = "search and read permission (r-x) for the check's account, or a directory of its own that is exported"
SILENT = 60.0  # seconds for which a call must have gone unanswered before its server is called silent
SETS = ("cluster/replicate", "cluster/disperse")  # of bricks that hold the same files
GRAPH, PARTS, NAMES = (
    ".meta/graphs/active",
    2048,
    8,
)  # translators that are looked at; names that are asked for the backlog
ACCESS = {
    "read-only": f"is read-only, and neither {FSTAB} nor --read-only says so",
    "read-only here": f"is read-only here, and neither {FSTAB} nor --read-only says so",
    "stopped": "was stopped by the kernel after an error and takes no writes",
}
COPIES = {
    "enough": ("degraded", "a copy"),
    "too few": ("failed", "nor enough of its copies"),
    "none": ("failed", "which has no copy"),
}
IDLE = Collecting("no call was made")
KEPT = ("ops", "trans", "timeouts", "rtt", "exec", "sends", "recvs")  # counters of an NFS mount


class Brick(NamedTuple):
    """A brick that a GlusterFS client does not reach: its name, and what other bricks hold of the same files.

    copies  "enough", "too few" (none, or less than the volume's quorum), "none" (it keeps no copies)
    """

    name: str
    copies: str


class Shared(NamedTuple):
    """One shared file system, by its mount point.

    kind, source  as mounted: "nfs4", "nas.example:/nova"
    listed        what /etc/fstab says it should be mounted from; "" when that is the same, or nothing is said
    options       of the mount and of the file system
    access        as of `mounts.FileSystem`
    read_only     fstab wants it so
    failed        what went wrong with TRIED; None when all went well
    seconds       for TRIED
    size, free    bytes, as `mounts.FileSystem`
    silent        seconds for which a call has waited while the server (NFS) answered none; None: it answers
    values        of NFS, by name, over the last minutes; COLLECTING on a first run:
                  rtt, exec      seconds for a call: from sending it to its answer, and with the wait for its turn
                  retrans        % of calls that were sent again
                  timeouts_rate  calls a second whose time was up
    bricks        GlusterFS: those that this client does not reach
    backlog       GlusterFS: at least so many files wait to be healed; None: the volume has no copies
    unseen        NFS, GlusterFS: why the client's own knowledge could not be read
    """

    path: str
    kind: str
    source: str
    listed: str = ""
    options: Sequence[str] = ()
    access: str = "writable"
    read_only: bool = False
    failed: Failed | None = None
    seconds: float | None = None
    size: int = 0
    free: int = 0
    silent: float | None = None
    values: Mapping[str, float | Collecting | None] = {}
    bricks: Sequence[Brick] = ()
    backlog: int | None = None
    unseen: Failed | None = None

    def has(self, option: str) -> bool:
        """Whether an option, given as a glob, is in force."""
        return any(fnmatchcase(word, option) for word in self.options)

    def conditions(
        self, sources: Sequence[str], wanted: Sequence[str], unwanted: Sequence[str], read_only: Sequence[str]
    ) -> list[tuple[str, str]]:
        """Return what is wrong with it, each as "failed" or "degraded" and a clause; one "ok" where nothing is.

        sources    globs of what it may be mounted from; () leaves it to fstab
        wanted     globs of options that must be in force, `unwanted` of those that must not
        read_only  globs of mount points that are meant to be read-only
        """
        found = []
        if sources and not any(fnmatchcase(self.source.rstrip("/"), glob.rstrip("/")) for glob in sources):
            found.append(("failed", f"is mounted from {self.source}, not from {' or '.join(sources)}"))
        elif self.listed and not sources:
            found.append(("degraded", f"is mounted from {self.source}, {FSTAB} says {self.listed}"))
        if self.access != "writable":
            meant = self.read_only or any(fnmatchcase(self.path, glob) for glob in read_only)
            if self.access == "stopped" or not meant:
                found.append(("failed", ACCESS[self.access]))
        found += [("degraded", f"is mounted without {word}") for word in wanted if not self.has(word)]
        found += [("degraded", f"is mounted with {word}") for word in unwanted if self.has(word)]
        if self.silent is not None:
            found.append(("failed", f"its server has answered nothing for {self.silent:.0f} s"))
        for brick in self.bricks:
            said = f"does not reach brick {brick.name}"
            health, words = COPIES[brick.copies]
            found.append((health, f"{said}, {words}"))
        if not found and not self.failed:
            found.append(("ok", f"is mounted from {self.source} ({self.kind}, {self.access})"))
        return found


class Survey(NamedTuple):
    """All that was looked at.

    mounts   a Failed stands for a path that could not be resolved
    missing  path where nothing (or nothing shared) is mounted -> what is there instead
    trials   of writing
    fstab    why fstab could not be read; None when it was
    stats    why mountstats could not be read; None when it was, or there was no need
    again    mount points of the same directories of the same file systems, which were not looked at
    kept     plain JSON for the next run
    """

    mounts: Sequence[Shared | Failed]
    missing: Mapping[str, str] = {}
    trials: Sequence[Trial | Failed] = ()
    fstab: Failed | None = None
    stats: Failed | None = None
    again: Sequence[str] = ()
    kept: Any = None

    def keep(self) -> Any:
        """Return what the next run wants to know: the counters of NFS."""
        return self.kept

    def summary(self) -> str:
        """Return what was looked at as a clause; "" when nothing was."""
        names = [mount.path for mount in self.mounts if isinstance(mount, Shared)]
        if not names:
            return ""
        rest = f"; {len(self.again)} more mounts of the same" if self.again else ""
        return f"{len(names)} looked at: {', '.join(names[:6])}{' …' if len(names) > 6 else ''}{rest}"


def survey(
    run: Run, paths: Sequence[str] = (), types: Sequence[str] = (), write: Sequence[str] = (), seconds: float = 5.0
) -> Survey:
    """Look at the shared file systems that are mounted or listed in fstab, or at the mount points `paths` alone.

    types    globs of file system types, instead of SHARED; of `paths` what each must be
    write    directories in which a file is written, synced, read back and removed: only where they lie on one of these
    seconds  the longest that one of them may take
    Raises Failed: absent when there is none, and what reading the kernel's table raises.
    """
    table = mounts.mounted(run)
    fstab: Failed | None = None
    wishes: dict[str, Listed] = {}
    try:
        wishes = {wish.path: _plain(wish) for wish in mounts.listed(run)}
    except Failed as failed:
        fstab = failed
    again: list[str] = []
    wanted = [path.rstrip("/") or "/" for path in paths] or _of_type(table, wishes, types, again)
    wanted = [path for path in wanted if run.wants(shown(path))]
    if not (wanted or write or fstab or run.left_out):
        error = f"no shared file system is mounted, and {FSTAB} lists none: name by --path what should be"
        raise Failed(ABSENT, "", f"read {mounts.MOUNTINFO}", error)
    failures, missing, chosen = _settle(run, table, wanted, types, seconds)
    jobs = {shown(path): (lambda path=path, mount=mount: _look(run, path, mount)) for path, mount in chosen.items()}
    answers = child.each(run, jobs, tried=TRIED, seconds=seconds)
    trials = _write(run, write, chosen, {name for name, said in answers.items() if isinstance(said, Failed)}, seconds)
    stats: Failed | None = None
    history: History | None = None
    calls: dict[str, list[Any]] = {}
    before = run.before if isinstance(run.before, dict) else {}
    by_mount = {shown(mount.path) for mount in chosen.values() if mount.kind in NFS}
    if by_mount:
        try:
            history = _history(run, by_mount, before.get("samples"))
            calls = _calls(before.get("calls"), history, by_mount)
        except Failed as failed:
            stats = failed
    after = {(mount.number, mount.device) for mount in mounts.mounted(run)}
    found: list[Shared | Failed] = [*failures]
    for path, mount in chosen.items():
        name = shown(path)
        if (mount.number, mount.device) not in after:
            missing[name] = "was unmounted just now"  # what was touched may have been the directory below it
        else:
            found.append(_shared(name, mount, wishes.get(mount.path), answers[name], history, calls))
    kept = {"samples": history.keep(), "calls": calls} if history else None
    return Survey(tuple(found), missing, trials, fstab, stats, again, kept)


def _plain(wish: Listed) -> Listed:
    """Return a line of fstab with TYPE#SOURCE of the type fuse, an older way of mount.fuse(8), as the kernel shows it."""
    kind, _, source = wish.source.partition("#")
    return wish._replace(kind=f"fuse.{kind}", source=source) if wish.kind == "fuse" and source else wish


def _is_shared(kind: str, types: Sequence[str]) -> bool:
    return any(fnmatchcase(kind, glob) for glob in types) if types else kind in SHARED


def _of_type(table: Sequence[Mount], wishes: Mapping[str, Listed], types: Sequence[str], again: list[str]) -> list[str]:
    """Return the mount points of shared types, one for each directory that is mounted, and those that fstab lists.

    `again` is filled with the others.
    """
    found: dict[tuple[str, str], str] = {}
    for mount in table:
        if _is_shared(mount.kind, types):
            known = found.get((mount.device, mount.root))
            if known is None or (mount.path in wishes and known not in wishes):
                found[mount.device, mount.root] = mount.path
    listed = [
        wish.path
        for wish in wishes.values()
        if "noauto" not in wish.options
        and any(_is_shared(kind, types) for kind in (wish.kind, f"fuse.{wish.kind}", *BECOMES.get(wish.kind, ())))
    ]
    wanted = {*found.values(), *listed}
    again += [m.path for m in table if _is_shared(m.kind, types) and m.path not in wanted]
    return sorted(wanted)


def _settle(
    run: Run, table: Sequence[Mount], wanted: Sequence[str], types: Sequence[str], seconds: float
) -> tuple[list[Failed], dict[str, str], dict[str, Mount]]:
    """Find what is mounted at each path: what could not be resolved, what is missing, and path -> mount.

    A path that is not in the table may be a link, or wait for somebody to go there (autofs): a child does that.
    """
    by_path = {mount.path: mount for mount in table}
    unclear = [path for path in wanted if path not in by_path or by_path[path].kind == "autofs"]
    answers: dict[str, Any] = {}
    if unclear:
        jobs = {shown(path): (lambda path=path: _go(run, path)) for path in unclear}
        answers = child.each(run, jobs, tried=SETTLE, seconds=seconds)
        table = mounts.mounted(run)
        by_path = {mount.path: mount for mount in table}
    failures: list[Failed] = []
    missing: dict[str, str] = {}
    chosen: dict[str, Mount] = {}
    for path in wanted:
        name = shown(path)
        answer = answers.get(name, path)
        if isinstance(answer, Failed):
            if answer.kind == ABSENT:
                holder = _holder(table, path)
                by = "autofs does not mount it" if holder and holder.kind == "autofs" else "there is no such directory"
                missing[name] = by
            else:
                failures.append(answer)
            continue
        mount = by_path.get(answer)
        if mount is not None and _is_shared(mount.kind, types):
            chosen[path] = mount
            continue
        holder = mount or _holder(table, answer)
        what = f"{shown(holder.source)}, {holder.kind}" if holder else "no mount at all"
        if mount is not None and mount.kind != "autofs":
            missing[name] = f"what is mounted there is {what}"
        elif holder is not None:
            missing[name] = f"it lies on {shown(holder.path)} ({what})"
        else:
            missing[name] = f"it lies on {what}"
    return failures, missing, chosen


def _go(run: Run, path: str) -> str:
    """Go to a directory, so that what is mounted on demand is, and return its path without links; runs in a child."""
    place = os.path.realpath(os.fsencode(run.path(path)))
    try:
        with os.scandir(place) as entries:
            next(entries, None)
    except PermissionError:
        os.stat(place)  # the way there is what matters
    real = place.decode("utf-8", "surrogateescape")
    return (real[len(run.root) :] or "/") if run.root and real.startswith(run.root) else real


def _holder(table: Sequence[Mount], path: str) -> Mount | None:
    """Return the mount that a path without links lies on."""
    holding = [m for m in table if path == m.path or path.startswith(m.path.rstrip("/") + "/")]
    return max(holding, key=lambda mount: len(mount.path), default=None)


def _look(run: Run, path: str, mount: Mount) -> list[Any]:
    """Do all of TRIED; runs in a child. Returns seconds, size, free, and what a GlusterFS client knows. Raises Failed."""
    place = os.fsencode(run.path(path))
    step = "stat"
    begun = time.monotonic()
    try:
        os.stat(place)
        step = "statvfs"
        room = os.statvfs(place)
        step = "list"
        with os.scandir(place) as entries:
            names = [entry.name for entry, _ in zip(entries, range(NAMES))]
    except PermissionError as denied:
        raise Failed.of_os_error(shown(path), step, denied, CURE) from None
    except (
        OSError
    ) as trouble:  # stale, not connected, gone, an error of the server's disk: it is mounted, and of no use
        tried = f"{step}, mounted from {shown(mount.source)}"
        raise Failed(UNREACHABLE, shown(path), tried, trouble.strerror or str(trouble)) from None
    seconds = time.monotonic() - begun
    size = (room.f_blocks - room.f_bfree + room.f_bavail) * room.f_frsize
    known = _gluster(place, names) if mount.kind == GLUSTER else None
    return [seconds, size, room.f_bavail * room.f_frsize, known]


def _gluster(place: bytes, names: Sequence[bytes]) -> list[Any]:
    """Return the bricks that this client does not reach, the backlog of healing, and why they can't be told; in a child."""
    graph = os.path.join(place, os.fsencode(GRAPH))
    lost: dict[bytes, str] = {}
    kinds: dict[bytes, str] = {}
    try:
        for name in sorted(os.listdir(graph))[:PARTS]:
            try:
                kinds[name] = _meta(graph, name, "type")
            except NotADirectoryError:
                continue  # the volume's own file
        copies = any(kind in SETS for kind in kinds.values())
        clients = [name for name, kind in kinds.items() if kind == "protocol/client"]
        if not clients:
            return [[], None, "it shows no brick"]
        for name in clients:
            words = [line.split(" = ") for line in _meta(graph, name, "private").splitlines()]
            connected = [word[1] for word in words if word[0] == "connected"]
            if connected not in (["0"], ["1"]):
                return [[], None, f"{os.fsdecode(name)}/private does not say whether it is connected"]
            if connected == ["0"]:
                host, brick = (_meta(graph, name, f"options/{word}") for word in ("remote-host", "remote-subvolume"))
                lost[name] = f"{host}:{brick}"
        without = _without(graph, kinds, lost) if lost and copies else set()
        bricks = [
            [brick, "none" if not copies else "too few" if name in without else "enough"]
            for name, brick in lost.items()
        ]
    except OSError as error:
        return [[], None, error.strerror or str(error)]
    backlog: int | None = None
    if copies:
        # Each name is read from one of its copies, chosen by name; the most that one of them knows of is told.
        for place_ in (place, *(os.path.join(place, name) for name in names)):
            try:
                said = os.getxattr(place_, "glusterfs.xattrop_index_count", follow_symlinks=False)
                backlog = max(backlog or 0, int(said.strip(b"\0 \n")))
            except (OSError, ValueError):
                continue
        if backlog is None:
            return [bricks, None, "it does not tell how many files wait to be healed"]
    return [bricks, backlog, ""]


def _without(graph: bytes, kinds: Mapping[bytes, str], lost: Collection[bytes]) -> set[bytes]:
    """Return those of the lost clients whose sets of copies serve no more. Raises OSError.

    A set is down where none of its bricks is reached, and where cluster/distribute says so, which knows its quorum.
    """
    down = set()
    for name in (name for name, kind in kinds.items() if kind == "cluster/distribute"):
        told = dict(line.split(" = ", 1) for line in _meta(graph, name, "private").splitlines() if " = " in line)
        numbers = {
            key[len("subvolume_status") :]
            for key, word in told.items()
            if key.startswith("subvolume_status[") and word == "0"
        }
        down |= {os.fsencode(told.get(f"subvolumes{number}", "").partition(".")[2]) for number in numbers}
    without = set()
    for name in (name for name, kind in kinds.items() if kind in SETS):
        links = os.path.join(graph, name, b"subvolumes")
        members = {os.path.basename(os.readlink(os.path.join(links, link))) for link in os.listdir(links)}
        if name in down or members <= set(lost):
            without |= members & set(lost)
    return without


def _meta(graph: bytes, name: bytes, file: str) -> str:
    with open(os.path.join(graph, name, os.fsencode(file)), "rb") as stream:
        return stream.read(65536).decode("utf-8", "replace").strip()


def _write(
    run: Run, write: Sequence[str], chosen: Mapping[str, Mount], hung: Collection[str], seconds: float
) -> tuple[Trial | Failed, ...]:
    """Try to write in each directory that lies on one of the mounts looked at, and on none that has just not answered."""
    if not write:
        return ()
    from nephoscope.probes import filesystem

    silent = [path for path in chosen if shown(path) in hung]
    asked = [path for path in write if not any(path == s or path.startswith(f"{s}/") for s in silent)]
    jobs = {shown(path): (lambda path=path: _go(run, path)) for path in asked}
    reals = child.each(run, jobs, tried=SETTLE, seconds=seconds)
    table = mounts.mounted(run)
    places = {mount.number for mount in chosen.values()}
    results: list[Trial | Failed] = []
    good = []
    for path in asked:
        real = reals[shown(path)]
        if isinstance(real, Failed):
            results.append(real)
            continue
        holder = _holder(table, real)
        if holder is None or holder.number not in places:
            where = f"on {shown(holder.path)} ({shown(holder.source)}, {holder.kind})" if holder else "on no mount"
            step = f"nothing was written: it lies {where}, which is not one of the shared mounts looked at"
            results.append(filesystem.Trial(shown(path), "", step, 0, 0.0, None, None))
        else:
            good.append(path)
    return (*results, *filesystem.write_trials(good, run, seconds=seconds))


def _shared(
    name: str, mount: Mount, wish: Listed | None, answer: Any, history: History | None, calls: Mapping[str, list[Any]]
) -> Shared:
    """Put together what is known of one mount."""
    shared = Shared(
        name,
        mount.kind,
        shown(mount.source),
        listed=_other_source(mount, wish),
        options=tuple(dict.fromkeys([*mount.options.split(","), *mount.super_options.split(",")])),
        access=mounts.access(mount),
        read_only=wish is not None and [o for o in wish.options if o in ("ro", "rw", "defaults")][-1:] == ["ro"],
    )
    key = shown(mount.path)
    if history is not None and f"{key} ops" in history.now.values:
        since = calls[key][3]
        silent = None if since is None or history.now.at - since < SILENT else history.now.at - since
        shared = shared._replace(silent=silent, values=_values(history, key))
    elif mount.kind in NFS and history is not None:
        shared = shared._replace(unseen=Failed(UNREADABLE, name, f"read {MOUNTSTATS}", "it does not list this mount"))
    if isinstance(answer, Failed):
        return shared._replace(failed=answer)
    seconds, size, free, known = answer
    shared = shared._replace(seconds=seconds, size=size, free=free)
    if known is not None:
        lost, backlog, unseen = known
        shared = shared._replace(
            bricks=tuple(Brick(*brick) for brick in lost),
            backlog=backlog,
            unseen=Failed(UNREADABLE, name, f"read {GRAPH}", unseen) if unseen else None,
        )
    return shared


def _other_source(mount: Mount, wish: Listed | None) -> str:
    """Return what fstab says the source is where that is another; "" where it is not, or can't be compared.

    CephFS shows the addresses of its monitors where fstab has names.
    """
    if wish is None or not wish.source or mount.kind in ("ceph", "fuse.ceph", "fuse.ceph-fuse"):
        return ""
    if not (wish.source.startswith("//") or ":" in wish.source):
        return ""
    (hosts, path), (host, real) = (_parts(source) for source in (wish.source, mount.source))
    return "" if path == real and set(host.split(",")) & set(hosts.split(",")) else shown(wish.source)


def _parts(source: str) -> tuple[str, str]:
    """Return servers and what they export, of `host:/path`, `host:volume` and `//host/share`; a closing slash says nothing."""
    host, _, path = source[2:].partition("/") if source.startswith("//") else source.rpartition(":")
    return host.lower(), path.strip("/")


def _history(run: Run, names: Collection[str], before: Any) -> History:
    """Return the history of the counters of these NFS mounts. Raises Failed: not-allowed, absent, unreadable."""
    from nephoscope.base import samples

    counters: dict[str, float] = {}
    name, steps = "", False
    numbers: dict[str, float] = {}
    for line in [*files.data(run, MOUNTSTATS, limit=16 << 20).split(b"\n"), b"device "]:
        if line.startswith(b"device "):
            if name in names and {"ops", "recvs"} <= set(numbers):
                counters.update({f"{name} {key}": numbers[key] for key in KEPT})
            words = line.split(b" ")
            name, steps, numbers = "", False, {}
            if b" with fstype nfs" in line and len(words) > 4:
                name = shown(mounts.plain(words[4]))
            continue
        if name not in names or not name:
            continue
        words = line.split()
        try:
            if words[:1] == [b"xprt:"]:
                sends, recvs = (int(word) for word in (words[4:6] if words[1] == b"udp" else words[7:9]))
                numbers["sends"] = numbers.get("sends", 0) + sends
                numbers["recvs"] = numbers.get("recvs", 0) + recvs
            elif words[:1] == [b"per-op"]:
                steps = True
                numbers.update(dict.fromkeys(("ops", "trans", "timeouts", "rtt", "exec"), 0))
            elif steps and words and words[0] != b"NULL:":
                values = [int(word) for word in words[1:9]]
                for key, value in zip(("ops", "trans", "timeouts", "rtt", "exec"), (*values[:3], *values[6:8])):
                    numbers[key] += value
                if len(values) < 8:
                    raise ValueError
        except (ValueError, IndexError):
            raise Failed(UNREADABLE, "", f"read {MOUNTSTATS}", f"a line is not understood: {line[:60]!r}") from None
    return samples.take(run, counters, before=before or [])


def _values(history: History, name: str) -> dict[str, float | Collecting | None]:
    ops = history.rise(f"{name} ops")
    timeouts = history.rate(f"{name} timeouts")
    if ops is None or isinstance(ops, Collecting):
        return {**dict.fromkeys(("rtt", "exec", "retrans"), ops), "timeouts_rate": timeouts}
    values: dict[str, float | Collecting | None] = {"timeouts_rate": timeouts}
    for key in ("rtt", "exec"):
        rise = history.rise(f"{name} {key}")
        values[key] = _share(rise, ops, 0.001)
    sent = history.rise(f"{name} trans")
    values["retrans"] = _share(sent - ops if isinstance(sent, (int, float)) else sent, ops, 100.0)
    return values


def _share(part: float | Collecting | None, ops: float, factor: float) -> float | Collecting | None:
    if part is None or isinstance(part, Collecting):
        return part
    return max(0.0, part) * factor / ops if ops else IDLE


def _calls(before: Any, history: History, names: Collection[str]) -> dict[str, list[Any]]:
    """Return, by mount, boot, calls sent less received, calls received, and since when (of boot) one waits: plain JSON.

    before  what was returned last time
    What waits is told by the kernel only as sent less received, which also holds what was lost in a broken connection: so
    it must have grown from one run to the next, and nothing have come since.
    """
    kept: dict[str, list[Any]] = {}
    now, boot = history.now, history.now.boot
    for name in names:
        if f"{name} recvs" not in now.values:
            continue
        received = now.values[f"{name} recvs"]
        open_ = now.values[f"{name} sends"] - received
        since: float | None = None
        try:
            old_boot, old_open, old_received, old_since = before[name]
            if old_boot == boot and old_received == received:
                since = float(old_since) if old_since is not None else now.at if open_ > old_open else None
        except (TypeError, ValueError, KeyError):
            pass
        kept[name] = [boot, open_, received, since]
    return kept
