# SPDX-License-Identifier: Apache-2.0
"""Resources of DRBD: 8.3 and 8.4 by /proc/drbd, DRBD 9 by the JSON of drbdsetup.

Sources: drbd 8.4, drbd/drbd_proc.c (lines of a device) and drbd_strings.c (words); drbd-headers, drbd_strings.c (words of
DRBD 9); drbd-utils, user/v9/drbdsetup.c (…_status_json; 9.0 printed some booleans as "yes", "no", "unknown", and no quorum),
scripts/drbd.rules (links by a resource's name). /proc/drbd of DRBD 9 tells the version alone.

Where the module is not loaded drbdsetup loads it (modprobe_drbd in user/v9/drbdsetup_linux.c; seen for real with 9.22): looking
would change the host. So it is asked only where /proc/drbd is there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run, files
from nephoscope.probes import as_root

PROC = "/proc/drbd"
LINKS = "/dev/drbd/by-res"
LINE = ("/usr/sbin/drbdsetup", "status", "--json")
ASKED = "run drbdsetup status"
NOT_TOLD = (
    1 << 63
) - 1  # KiB: -1 sectors, drbdsetup's mark of a number that the kernel did not give, halved as all are
SYNCING = (
    *("StartingSyncS", "StartingSyncT", "WFBitMapS", "WFBitMapT", "WFSyncUUID"),
    *("SyncSource", "SyncTarget", "PausedSyncS", "PausedSyncT"),
)  # fmt: skip
# Up to 8.4 one word tells of connection and replication; these are of replication, and tell that there is a connection.
REPLICATING = (*SYNCING, "VerifyS", "VerifyT", "Ahead", "Behind")
# Word -> health, in the suite's words; what is not here is "unknown".
ROLES = {"Primary": "ok", "Secondary": "ok"}
CONNECTIONS = {
    "Connected": "ok", "StandAlone": "failed", "Connecting": "degraded", "WFConnection": "degraded",
    "WFReportParams": "degraded", "Disconnecting": "degraded", "Unconnected": "degraded", "Timeout": "degraded",
    "BrokenPipe": "degraded", "NetworkFailure": "degraded", "ProtocolError": "degraded", "TearDown": "degraded",
}  # fmt: skip
REPLICATIONS = {"Established": "ok", "Off": "degraded", **dict.fromkeys(REPLICATING, "degraded")}
DISKS = {
    "UpToDate": "ok", "client": "ok", "syncing": "degraded", "Outdated": "degraded", "Consistent": "degraded",
    "Attaching": "degraded", "Detaching": "degraded", "Negotiating": "degraded", "Inconsistent": "failed",
    "Diskless": "failed", "Failed": "failed",
}  # fmt: skip
_MINOR = re.compile(r"drbd\d+")
_DEVICE = re.compile(r" *(\d+): cs:(\S+)(?: ro:([^\s/]+)/(\S+) ds:([^\s/]+)/(\S+) (.) (\S+))?")


BEING = "and is being synchronised"
PERHAPS = "unless another peer is synchronising it"


class Condition(NamedTuple):
    """One thing that was looked at: its health (ok, degraded, failed, unknown), its name, and what is so, as a clause."""

    health: str
    of: str
    text: str


class Disk(NamedTuple):
    """A volume's disk, here or at a peer.

    word     DRBD's word; "DUnknown" of a peer without a connection
    client   it has none by design (DRBD 9)
    syncing  what makes it whole: a synchronisation that runs, is about to, or waits, or perhaps one between others; "": nothing
    """

    word: str
    client: bool = False
    syncing: str = ""

    @property
    def state(self) -> str:
        """DRBD's word, but "client" for one that has no disk by design, and "syncing" for one that is being made whole."""
        if self.word == "Diskless" and self.client:
            return "client"
        return "syncing" if self.word == "Inconsistent" and self.syncing else self.word

    def condition(self, of: str, whose: str) -> Condition:
        """Return how it is."""
        means = {"syncing": f", {self.syncing}", "client": ", by design"}.get(self.state, "")
        return Condition(DISKS.get(self.state, "unknown"), of, f"{whose} is {self.word}{means}")


class Volume(NamedTuple):
    """A volume on this host: its name (resource/number), its disk, and whether it has quorum (None: not told)."""

    of: str
    disk: Disk
    quorum: bool | None = None

    def conditions(self) -> Iterator[Condition]:
        """Yield how it is."""
        yield self.disk.condition(self.of, "disk")
        if self.quorum is False:
            yield Condition("failed", self.of, "has lost quorum")


class Copy(NamedTuple):
    """A volume at a peer.

    replication  DRBD's word; "Off" without a connection
    out_of_sync  bytes known to differ; None: not told, or this host has no disk to compare
    done         % of a synchronisation or verification that runs; None: none does
    counted      whether out_of_sync is known by right: this host has a disk
    """

    of: str
    replication: str
    disk: Disk
    out_of_sync: int | None
    done: float | None = None
    counted: bool = True
    stalled: bool = False

    def conditions(self) -> Iterator[Condition]:
        """Yield how it is; without a connection nobody knows."""
        done = "" if self.done is None else f", {self.done:g} % done"
        said = f"replication is {self.replication}{done}{', and it is stalled' if self.stalled else ''}"
        yield Condition(REPLICATIONS.get(self.replication, "unknown"), self.of, said)
        yield self.disk.condition(self.of, "the peer's disk")


class Peer(NamedTuple):
    """The other side of a connection: name (resource/peer), DRBD's word for the connection, its role, and its copies.

    congested  more is sent than the network takes
    """

    of: str
    connection: str
    role: str
    congested: bool
    copies: tuple[Copy, ...]

    @property
    def connected(self) -> bool:
        """Whether the peer is heard; otherwise its role and disks are not known."""
        return self.connection == "Connected"

    def conditions(self) -> Iterator[Condition]:
        """Yield how the connection is, and what is known by it."""
        yield Condition(CONNECTIONS.get(self.connection, "unknown"), self.of, f"connection is {self.connection}")
        if self.role not in ROLES and (self.connected or self.role != "Unknown"):
            yield Condition("unknown", self.of, f"role of the peer is {self.role}")
        if self.congested:
            yield Condition("degraded", self.of, "connection is congested")
        if self.connected:
            for copy in self.copies:
                yield from copy.conditions()


class Resource(NamedTuple):
    """A resource; up to 8.4 each of its devices is one here.

    name       the resource's ("r0"; "r0/1" for one of several volumes up to 8.4); "drbd1" where it is not known
    names      all names that it may be expected by
    role       this host's, in DRBD's word
    suspended  why I/O is held back; "" where it is not
    failing    all I/O is answered by an error, since somebody took the role of a primary from it by force (DRBD 9)
    """

    name: str
    names: tuple[str, ...]
    role: str
    suspended: str
    volumes: tuple[Volume, ...]
    peers: tuple[Peer, ...]
    failing: bool = False

    @property
    def copies(self) -> tuple[Copy, ...]:
        """Its volumes at all peers."""
        return tuple(copy for peer in self.peers for copy in peer.copies)

    def conditions(self) -> Iterator[Condition]:
        """Yield how it, its volumes and its peers are."""
        yield Condition(ROLES.get(self.role, "unknown"), self.name, f"role is {self.role}")
        if self.suspended:
            yield Condition("failed", self.name, f"I/O is suspended: {self.suspended}")
        if self.failing:
            yield Condition("failed", self.name, "I/O is made to fail (force-io-failures)")
        if not self.volumes or not self.peers:
            yield Condition("degraded", self.name, f"has no {'peer' if self.volumes else 'volume'}")
        for volume in self.volumes:
            yield from volume.conditions()
        for peer in self.peers:
            yield from peer.conditions()

    @property
    def primaries(self) -> list[str]:
        """Who is known to be primary: "this host", and names of peers."""
        here = ["this host"] if self.role == "Primary" else []
        return here + [peer.of.rpartition("/")[2] for peer in self.peers if peer.role == "Primary"]

    @property
    def heard(self) -> bool:
        """Whether the role of every peer is known."""
        return all(peer.connected and peer.role in ("Primary", "Secondary") for peer in self.peers)


class Survey(NamedTuple):
    """What was found.

    version    of the kernel's module, "" where it is not loaded
    resources  those that are configured and up
    named      their names are known; otherwise only the devices' ("drbd1")
    failures   why this is not all
    gone       what was up in an earlier run: name -> seconds ago
    kept       device -> [name, when it was last seen up, seconds since 1970]
    """

    version: str
    resources: tuple[Resource, ...]
    named: bool = True
    failures: tuple[Failed, ...] = ()
    gone: Mapping[str, float] = {}
    kept: Mapping[str, Any] = {}

    @property
    def lack(self) -> str:
        """Why something is not here, as a clause."""
        if not self.version:
            return "the kernel has no DRBD (its module is not loaded)"
        if not self.resources:
            return "no resource of DRBD is up"
        return "is not up" if self.named else "is not known: no link below /dev/drbd/by-res tells the names"

    def has(self, name: str) -> bool:
        """Return whether a resource, or a device, of this name is up."""
        return any(name in resource.names for resource in self.resources)


def survey(run: Run, remember: float = 604800.0) -> Survey:
    """Return all resources that are up on this host, by name, and those that earlier runs saw up and this one does not.

    remember  seconds for which a device that is gone is missed
    Raises Failed: unreadable (not understood, another version), and of DRBD 9 also absent (no drbdsetup), not-allowed (sudo),
    unreachable (silent).
    """
    now = run.clock.time()
    found = _up(run)
    # By device: its name may be lost, or known later, with udev's links.
    seen = {
        device: [resource.name, now]
        for resource in found.resources
        for device in resource.names
        if _MINOR.fullmatch(device)
    }
    gone = {}
    for device, (name, at) in _remembered(run.before).items():
        if device not in seen and 0 <= now - at <= remember:
            gone[name] = now - at
            seen[device] = [name, at]
    return found._replace(gone=gone, kept=seen)


def _remembered(before: Any) -> dict[str, tuple[str, float]]:
    """Return what was kept, as far as it is whole."""
    found = {}
    for device, entry in before.items() if isinstance(before, dict) else ():
        try:
            name, at = entry
            found[str(device)] = (str(name), float(at))
        except (TypeError, ValueError):
            continue
    return found


def _up(run: Run) -> Survey:
    run.stage(f"read {PROC}")
    try:
        text = files.text(run, PROC, of="drbd")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        return Survey("", ())
    found = re.match(r"version: ((\d+)\.(\d+)\S*)", text)
    if found is None or int(found[2]) < 8:
        raise Failed(UNREADABLE, "drbd", f"read {PROC}", f"not understood: {text.strip()[:40]!r}")
    if int(found[2]) > 8:
        return _asked(run, found[1])
    names = links(run)
    resources = parse_proc(text, names)
    return Survey(found[1], resources, all(names.keys() & set(resource.names) for resource in resources))


def links(run: Run) -> dict[str, str]:
    """Return device ("drbd1") -> resource ("r0", "r0/0"), by the links that udev makes; where there are none, an empty one.

    Only links are read, no device is touched. With a single volume 8.3 links by-res/r0, later versions by-res/r0/0.
    """
    found = {}
    try:
        for path in _links_below(run.path(LINKS)):
            found[os.path.basename(os.readlink(path))] = os.path.relpath(path, run.path(LINKS))
    except OSError:
        return {}
    return found


def _links_below(top: str) -> Iterator[str]:
    for directory, folders, names in os.walk(top):
        yield from (
            path for path in (os.path.join(directory, name) for name in folders + names) if os.path.islink(path)
        )


def parse_proc(text: str, links: Mapping[str, str]) -> tuple[Resource, ...]:
    """Return the devices in /proc/drbd of 8.3 or 8.4 that are configured; each has one peer. Raises Failed unreadable."""
    found = []
    for block in re.split(r"(?m)^(?= *\d+: )", text)[1:]:
        head = _DEVICE.match(block)
        if head is None or (head[3] is None and head[2] != "Unconfigured"):
            raise Failed(UNREADABLE, "drbd", f"read {PROC}", f"a device that is not understood: {block.strip()[:60]!r}")
        if head[2] != "Unconfigured":
            found.append(_device(head, block, links))
    return tuple(sorted(found))


def _device(head: re.Match[str], block: str, links: Mapping[str, str]) -> Resource:
    minor, word, role, peer_role, disk, peer_disk, _, flags = head.groups()
    device = f"drbd{minor}"
    name = links.get(device, device)
    resource, _, number = name.partition("/")
    name = resource if number == "0" else name
    connected, syncing = word == "Connected" or word in REPLICATING, BEING if word in SYNCING else ""
    behind = re.search(r" oos:(\d+)", block)
    done = re.search(r"(?:sync'ed|verified): *([\d.]+)%", block)
    counted = disk != "Diskless"
    copy = Copy(
        name,
        word if word in REPLICATING else "Established" if connected else "Off",
        Disk(peer_disk, syncing=syncing),
        int(behind[1]) * 1024 if behind and counted else None,
        float(done[1]) if done else None,
        counted,
        "(stalled)" in block,
    )
    # The fifth of the flags tells what is congested: n, the network; b, the network and the disk (drbd.conf, I/O state flags).
    peer = Peer(f"{name}/peer", "Connected" if connected else word, peer_role, flags[4:5] in ("n", "b"), (copy,))
    suspended = "its flags say so" if flags[0] == "s" else ""
    volumes = (Volume(name, Disk(disk, syncing=syncing)),)
    return Resource(name, tuple(sorted({name, resource, device})), role, suspended, volumes, (peer,))


def _asked(run: Run, version: str) -> Survey:
    answer = as_root.ask(LINE, run, of="drbd")
    if answer.status:
        said = next((line.strip() for line in reversed(answer.err.splitlines()) if line.strip()), "no word why")
        raise Failed(UNREADABLE, "drbd", ASKED, f"it ended with {answer.status}: {said}")
    resources, minors = parse_status(answer.out)
    # What the kernel has and drbdsetup does not list would be an OK without having looked.
    there = {name for name in _blocks(run) if re.fullmatch(r"drbd\d+", name)}
    missing = ", ".join(sorted(there - minors)[:5])
    failed = Failed(UNREADABLE, "", ASKED, f"it does not list {missing}, which the kernel has")
    return Survey(version, resources, failures=(failed,) if missing else ())


def _blocks(run: Run) -> list[str]:
    try:
        return files.names(run, "/sys/block")
    except Failed:
        return []


def parse_status(text: str) -> tuple[tuple[Resource, ...], set[str]]:
    """Return the resources in the JSON of `drbdsetup status`, and their devices ("drbd1"). Raises Failed unreadable."""
    try:
        rows = json.loads(text)
        resources = tuple(sorted((_resource(row) for row in rows), key=lambda resource: resource.name))
        return resources, {f"drbd{device['minor']}" for row in rows for device in row["devices"]}
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise Failed(UNREADABLE, "drbd", ASKED, f"not its JSON: {text.strip()[:40]!r}") from None


def _yes(value: object) -> bool:
    return value is True or value == "yes"


def _told(value: object) -> bool | None:
    if value not in (True, False, None):
        raise TypeError(value)
    return None if value is None else bool(value)


def _resource(row: Mapping[str, Any]) -> Resource:
    name = _word(row["name"])
    syncing = {  # volumes of this host that a peer makes whole
        copy["volume"]
        for peer in row["connections"]
        for copy in peer["peer_devices"]
        if copy["replication-state"] in SYNCING
    }
    has_disk = {device["volume"]: device["disk-state"] != "Diskless" for device in row["devices"]}
    volumes = []
    for device in row["devices"]:
        disk = Disk(_word(device["disk-state"]), _yes(device["client"]), BEING if device["volume"] in syncing else "")
        volumes.append(Volume(f"{name}/{device['volume']}", disk, _told(device.get("quorum"))))
    # Between two that are both made whole by a third the replication is "Established".
    elsewhere = PERHAPS if len(row["connections"]) > 1 else ""
    peers = tuple(_peer(name, peer, has_disk, elsewhere) for peer in row["connections"])
    reasons = [key[10:] for key in row if key.startswith("suspended-") and row[key] is True]
    suspended = (", ".join(reasons) or "no reason is told") if _yes(row["suspended"]) else ""
    names = (name, *(volume.of for volume in volumes), *(f"drbd{device['minor']}" for device in row["devices"]))
    failing = _yes(row.get("force-io-failures"))
    return Resource(name, names, _word(row["role"]), suspended, tuple(volumes), peers, failing)


def _peer(name: str, row: Mapping[str, Any], has_disk: Mapping[int, bool], syncing: str) -> Peer:
    of = f"{name}/{_word(row['name'])}"
    copies = []
    for copy in row["peer_devices"]:
        behind, replication = copy["out-of-sync"], _word(copy["replication-state"])
        done = copy.get("percent-resync-done", copy.get("resync-done"))
        counted = has_disk.get(copy["volume"], True)
        disk = Disk(
            _word(copy["peer-disk-state"]), _yes(copy["peer-client"]), BEING if replication in SYNCING else syncing
        )
        counted = counted and disk.state != "client"
        known = behind * 1024 if counted and 0 <= behind < NOT_TOLD else None
        copies.append(
            Copy(f"{of}/{copy['volume']}", replication, disk, known, None if done is None else float(done), counted)
        )
    return Peer(of, _word(row["connection-state"]), _word(row["peer-role"]), _yes(row["congested"]), tuple(copies))


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
