# SPDX-License-Identifier: Apache-2.0
"""What a Eucalyptus storage controller stands on: its back-end, its volumes directory, snapshots under way.

Sources: OverlayManager, DASManager, LVMWrapper, TGTWrapper of Eucalyptus 4.4 (clc/modules/block-storage), the wiki's pages
Storage-Controller and Properties-Service-5.0. A volume group of DAS on a bare device is called `euca-ebs-storage-vg-` and a
random word, one of overlay `euca-ebs-storage-vg-` and the volume's name: that is full by nature, as it holds one volume.
The volumes directory is flat: `vol-` or `snap-` and 8 hexadecimal digits, 17 with long identifiers; a longer name is the
temporary file of a snapshot (the volume's name and a random word), and an old one is left of a snapshot that failed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, attempt, child
from nephoscope.probes import as_root, euca_conf, euca_settings, heartbeat, lvm, mounts, tgt

BACKENDS = ("overlay", "das", "ceph", "san")
LOCAL = ("target", "group", "san", "space", "snapshots")
MANAGERS = {"overlay": "overlay", "das": "das", "ceph-rbd": "ceph", "ceph": "ceph"}  # all others are arrays of a vendor
GROUP = "euca-ebs-storage-vg-"
OWN = re.compile(r"(?:vol|snap)-[0-9A-Fa-f]{8}(?:[0-9A-Fa-f]{9})?")
TEMPORARY = re.compile(r"(?:vol|snap)-[0-9A-Fa-f]{8}.+")
SAN_PORT = 443
PORTS = {"equallogic": 22}  # managed by ssh; all others of which a port is known, by https
TRIED = "look into the volumes directory"
# The storage controller makes it 0700 at each start (checkVolumesDir), which leaves no list of rights a chance.
# By its slash a link is followed: without it find lists the link alone, which looks like a directory without snapshots.
LIST = ("/usr/bin/find", "/var/lib/eucalyptus/volumes/", "-maxdepth", "1", "-printf", "%T@:", "-print0")
MOST = 200_000  # names in the volumes directory that are looked at


class Address(NamedTuple):
    """A management end-point: host, port, and both as they stand in messages."""

    host: str
    port: int

    @property
    def of(self) -> str:
        """ "host:port"."""
        return f"{self.host}:{self.port}"


def address(text: str, usual: int = SAN_PORT) -> Address:
    """Return HOST[:PORT], or [IPV6]:PORT, with the usual port unless it is said. Raises ValueError."""
    from nephoscope.base.dial import host_port

    host, port = host_port(text, usual)
    if not host or host.count(":") == 1 or "[" in host or "]" in host:  # a port that is none stays with the host
        raise ValueError(f"'{text}' is not HOST or HOST:PORT")
    return Address(host, port)


class Backend(NamedTuple):
    """What the volumes lie on.

    kind     a word of BACKENDS, "" where nobody said it: then tgtd and the groups that bear Eucalyptus' name are looked at
    groups   volume groups that DAS was given by name
    san      end-points of the array
    volumes  the directory that the properties name, "" where they were not asked
    device   last part of what they name for DAS: its group, if there is one of that name
    """

    kind: str
    groups: tuple[str, ...] = ()
    san: tuple[Address, ...] = ()
    volumes: str = ""
    device: str = ""


class Volumes(NamedTuple):
    """What is in the volumes directory: files of snapshots under way -> seconds since they were last written."""

    temporary: dict[str, float]

    @property
    def ages(self) -> dict[str, float]:
        """The same, and 0 for the whole while there is none: the number keeps its place."""
        return self.temporary or {"": 0.0}


class Storage(NamedTuple):
    """All that was looked at; None: not asked, a Failed: could not be looked at.

    groups  the volume groups of Eucalyptus alone
    san     end-point -> seconds until it opened, or Failed
    room    of the file system of the volumes directory
    """

    heart: heartbeat.Heartbeat | Failed | None = None
    backend: Backend | Failed | None = None
    targets: tgt.Targets | Failed | None = None
    groups: tuple[lvm.VolumeGroup, ...] | Failed | None = None
    san: dict[str, Any] | None = None
    room: mounts.Room | Failed | None = None
    volumes: Volumes | Failed | None = None

    @property
    def das(self) -> tuple[lvm.VolumeGroup, ...]:
        """The groups that DAS keeps its volumes in."""
        return tuple(group for group in self.groups if not overlay(group)) if isinstance(self.groups, tuple) else ()

    @property
    def snapshots(self) -> int:
        """Snapshots under way: DAS has each in its group while it is copied, overlay a temporary file in the directory."""
        files = len(self.volumes.temporary) if isinstance(self.volumes, Volumes) else 0
        return files + sum(group.snapshots for group in self.das)

    @property
    def lacks(self) -> str:
        """What there should be of the back-end and is not, in words; "" for nothing."""
        if not isinstance(self.backend, Backend) or not isinstance(self.groups, tuple):
            return ""
        names = [group.name for group in self.groups]
        missing = [name for name in self.backend.groups if name not in names]
        return f"no volume group {', '.join(missing)}" if missing else ""

    @property
    def hidden(self) -> str:
        """What of the back-end can't be looked at, in words; "" for nothing."""
        if not isinstance(self.backend, Backend):
            return ""
        if self.backend.kind == "san" and not self.backend.san:
            return "is an array whose management end-point nothing names: say it by --san"
        if self.backend.kind == "das" and isinstance(self.groups, tuple) and not (self.das or self.backend.groups):
            return "is DAS, and no volume group has Eucalyptus' name: say by --group which one it uses"
        return ""

    @property
    def passed(self) -> str:
        """What of the back-end is not looked at on purpose, in words; "" for nothing."""
        ceph = isinstance(self.backend, Backend) and self.backend.kind == "ceph"
        return "is Ceph, which is not looked at here (check_ceph)" if ceph else ""


def standing(heart: heartbeat.Heartbeat, name: str, standby: bool = False) -> tuple[str, str]:
    """Return how a component stands that belongs on the host that was asked: "ok", "degraded" or "failed", and that in words.

    standby  it is the passive half of a pair: DISABLED is right, and ENABLED means that it took over
    """
    found = heart.find(name)
    if found is None or not found.local:
        return "failed", "is not registered on this host"
    if standby:
        text = (
            "is enabled: the standby has taken over"
            if found.enabled
            else f"{name} is not enabled, as a standby should be"
        )
        return "degraded" if found.enabled else "ok", text
    return ("ok", f"{name} is enabled") if found.enabled else ("failed", "is registered on this host and not enabled")


def look(run: Run, options: Any, local: bool) -> Storage:
    """Look at what the modes ask for; what may hang has a share of the deadline, and the Heartbeat the rest.

    tgtd has the most (4.9 of 7 s): when its disks are busy it may take five seconds, as its owner waits ten.

    local  also at this host
    Raises Failed, absent, when the components of this host are asked for and it has no Eucalyptus.
    """

    if local and not options.hostname and "service" in options.mode:
        euca_conf.require(run)
    modes = set(options.mode) if local else set(options.mode) - set(LOCAL)
    whole = run.left()

    def share(most: float, later: float) -> float:
        """Return seconds: a part of the whole, and what is left when a part of it is kept for what comes later."""
        return max(0.05 * whole, min(most * whole, run.left() - later * whole))

    backend = attempt(find_backend, run, options) if modes & set(LOCAL) else None
    known = backend if isinstance(backend, Backend) else Backend("none")
    iscsi = known.kind in ("", "overlay", "das")
    targets = attempt(tgt.show, run, share(0.7, 0.2)) if "target" in modes and iscsi else None
    if isinstance(targets, Failed) and not known.kind and targets.kind != NOT_ALLOWED:
        cure = "on Ceph or an array there need be none: say so by --backend"
        targets = Failed(targets.kind, targets.of, targets.tried, targets.error, cure)
    vgs = "group" in modes or (known.kind == "das" and "snapshots" in modes)
    groups = attempt(_groups, run, known, share(0.4, 0.2)) if vgs and iscsi else None
    san = opened(run, known.san, share(0.15, 0.1)) if "san" in modes and known.san else None
    there = options.volumes or known.volumes

    def path() -> str:
        return there or euca_conf.directory(euca_conf.read(run), "volumes")

    room = attempt(lambda: mounts.room_of(run, path(), share(0.15, 0.1))) if "space" in modes else None
    volumes = attempt(lambda: look_into(run, path(), share(0.15, 0.1))) if "snapshots" in modes else None
    heart = attempt(heartbeat.ask, run, options) if "service" in modes else None
    return Storage(heart, backend, targets, groups, san, room, volumes)


def find_backend(run: Run, options: Any) -> Backend:
    """Return what the operator said, or else the cloud's properties, where credentials were given; or that it is not known.

    Raises Failed: as `euca_settings.values` does; absent when the zone has no storage controller; unreadable when it can't be
    told which zone's is meant.
    """
    if options.backend or options.san or not euca_settings.given(options):
        kind = options.backend or ("san" if options.san else "das" if options.group else "")
        return Backend(kind, options.group, options.san)
    found = euca_settings.values(run, options, f"{options.zone}.storage." if options.zone else "")
    return told(found, options.zone, options.group)[1]


def told(found: Mapping[str, str], wanted: str = "", named: tuple[str, ...] = ()) -> tuple[str, Backend]:
    """Return a zone and what its volumes lie on, by property -> value ("" for an unset one).

    wanted  the zone; "": the only one that there is
    named   volume groups of DAS that the operator named
    Raises Failed: absent when the zone has no storage controller; unreadable when it can't be told which zone's is meant.
    """
    suffix = ".storage.blockstoragemanager"
    tried = "DescribeProperties"
    zones = sorted(name[: -len(suffix)] for name in found if name.endswith(suffix))
    if not zones:
        raise Failed(ABSENT, "back-end", tried, f"no property {wanted or 'ZONE'}{suffix}")
    if len(zones) > 1:
        raise Failed(
            UNREADABLE, "back-end", tried, f"which of the zones {', '.join(zones[:20])} is it? Say it by --zone"
        )
    zone = zones[0]
    manager = found[zone + suffix]
    if not manager:
        raise Failed(ABSENT, "back-end", tried, f"{zone}{suffix} is not set: the storage controller stays BROKEN")
    kind = MANAGERS.get(manager, "san")
    hosts = found.get(f"{zone}.storage.sanhost", "").replace(",", " ").split() if kind == "san" else []
    # dasdevice is a volume group, by its name or as /dev/NAME, or else a device: that is in a group of some other name.
    device = found.get(f"{zone}.storage.dasdevice", "") if kind == "das" else ""
    groups = named or ((device,) if device and "/" not in device else ())
    try:
        san = tuple(address(host, PORTS.get(manager, SAN_PORT)) for host in hosts)
    except ValueError as error:
        raise Failed(UNREADABLE, "back-end", tried, f"{zone}.storage.sanhost: {error}") from None
    volumes = found.get(f"{zone}.storage.volumesdir", "") if kind in ("overlay", "das") else ""
    volumes = volumes if volumes.startswith("/") else ""
    return zone, Backend(kind, groups, san, volumes, device.rpartition("/")[2])


def _groups(run: Run, backend: Backend, seconds: float) -> tuple[lvm.VolumeGroup, ...]:
    found = lvm.groups(run, seconds)
    named = (*backend.groups, backend.device)
    return tuple(group for group in found if group.name in named or group.name.startswith(GROUP))


def overlay(group: lvm.VolumeGroup) -> bool:
    """Return whether a group holds one volume of the overlay back-end, and is full by nature."""
    return group.name.startswith(GROUP) and OWN.match(group.name, len(GROUP)) is not None


def opened(run: Run, addresses: Sequence[Address], seconds: float) -> dict[str, Any]:
    """Return end-point -> seconds until a TCP connection stood, or Failed; side by side, in children."""
    jobs = {one.of: (lambda one=one: _open(run, one)) for one in addresses}
    return child.each(run, jobs, tried="connect", seconds=seconds)


def _open(run: Run, there: Address) -> float:
    from nephoscope.base.dial import dial

    begun = run.clock.monotonic()
    dial(run, there.host, there.port).close()
    return run.clock.monotonic() - begun


def look_into(run: Run, path: str, seconds: float) -> Volumes:
    """Look for files of snapshots in the volumes directory, in a child that can be abandoned, by sudo where nobody else may.

    Raises Failed: absent, not-allowed, unreachable (it hangs), unreadable.
    """
    files = child.each(run, {path: lambda: _listed(run, path)}, tried=TRIED, seconds=seconds)[path]
    if isinstance(files, Failed) and files.kind == NOT_ALLOWED:
        line = (*LIST[:1], f"{run.path(path).rstrip('/')}/", *LIST[2:])
        found = as_root.find(line, run, of=path, seconds=seconds)
        files = [[name.rpartition("/")[2], float(written)] for written, name in found]
    if isinstance(files, Failed):
        raise files
    now = run.clock.time()
    return Volumes({n: max(0.0, now - at) for n, at in files if TEMPORARY.fullmatch(n) and not OWN.fullmatch(n)})


def _listed(run: Run, path: str) -> list[tuple[str, float]]:
    """Return the names in a directory and when each was last written; runs in a child."""
    found: list[tuple[str, float]] = []
    with os.scandir(run.path(path)) as entries:
        for entry in entries:
            if len(found) >= MOST:
                raise Failed(UNREADABLE, path, TRIED, f"more than {MOST} names")
            try:
                found.append((entry.name, entry.stat(follow_symlinks=False).st_mtime))
            except FileNotFoundError:
                continue  # it was done while we looked
    return found
