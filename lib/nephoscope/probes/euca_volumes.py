# SPDX-License-Identifier: Apache-2.0
"""What lies on the back-end of a Eucalyptus storage controller, and what the cloud's records say of it.

Names, of 3.3 to 5.1 (OverlayManager.java, DASManager.java, LVMWrapper.java, VolumeCreator.java of clc/modules/block-storage):

* overlay: the file `vol-ID` in the volumes directory is the volume. While it is attached or copied it is a loop device with the
  group `euca-ebs-storage-vg-vol-ID` and in it `euca-vol-ID`. `vol-ID` and 8 random letters is the file of a snapshot under way.
* DAS: `euca-vol-ID` in the one group; `euca-snap-ID` there while a snapshot is copied, and left by a copy that failed.
* both: the file `snap-ID` is a snapshot, of whichever zone: each zone that made a volume of it keeps a copy. `snap-ID-` and a
  number is a download for a volume under way. A target's store is /dev/GROUP/euca-vol-ID.

Up to 3.2 groups and volumes of LVM bear random names (`vg-XXXX`, `lv-XXXX`, `lv-snap-XXXX`), which tell no volume; the database
keeps them for ever. A storage controller deletes what belongs to a volume within about 30 s of the record's deletion, and the
things of a failed one after ten minutes; it forgets a thing that it could not delete.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, attempt, child
from nephoscope.probes import (
    as_root,
    euca_api,
    euca_conf,
    euca_ec2,
    euca_settings,
    euca_storage,
    lvm,
    tgt,
    volume_orphans,
)
from nephoscope.probes.volume_orphans import Found, Record, Stored

KINDS = {"overlay": "file", "das": "logical volume"}  # back-end -> what is the backing of a volume on it
# The slash and %Y follow links: the directory often lies elsewhere, and find without them lists the link alone.
LIST = ("/usr/bin/find", "/var/lib/eucalyptus/volumes/", "-maxdepth", "1", "-printf", "%Y:%b:", "-print0")
RIGHT = euca_api.right("ec2:Describe*", "euprop:DescribeProperties")
MOST = euca_storage.MOST
TRIED = euca_storage.TRIED
_ID = "[0-9A-Fa-f]{17}|[0-9A-Fa-f]{8}"
_COPY = re.compile(f"(vol-(?:{_ID})).+")
_DOWNLOAD = re.compile(f"snap-(?:{_ID})-.+")
_OLD = re.compile(r"lv-[A-Za-z0-9_-]{6}\.\.")  # 4 random bytes, as Bouncy Castle's UrlBase64 writes them
DOWNLOADS = "volumes under way"
# A volume's state -> must it have a backing; those that are not here may have one or not.
STATES = {
    "in-use": Record("used"),
    "available": Record("idle"),
    "deleted": Record(over=True),
    **dict.fromkeys(("creating", "unavailable", "deleting", "failed", "error"), Record()),
}
SNAPSHOTS = ("pending", "completed", "failed")


class Listing(NamedTuple):
    """What lies on a back-end.

    things    of the volumes and snapshots of Eucalyptus
    strangers names that are not of Eucalyptus
    old       volumes of LVM named as up to 3.2
    failures  kind of what could not be listed -> why
    broken    what there should be of the back-end as a whole and is not, in words
    """

    things: tuple[Stored, ...]
    strangers: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    failures: Mapping[str, Failed] = {}
    broken: str = ""


def copy_of(volume: str) -> str:
    """Return the owner of what is there while a snapshot of a volume is made."""
    return f"snapshot of {volume} under way"


def owner_of_file(name: str) -> str:
    """Return of what a file of the volumes directory is, "" for one that is not of Eucalyptus."""
    if euca_storage.OWN.fullmatch(name):
        return name
    if _DOWNLOAD.fullmatch(name):
        return DOWNLOADS
    copy = _COPY.fullmatch(name)
    return copy_of(copy[1]) if copy else ""


def owner_of_volume(name: str) -> str:
    """Return of what a logical volume is, "" for one whose name does not tell."""
    inner = name[5:] if name.startswith("euca-") else ""
    if not euca_storage.OWN.fullmatch(inner):
        return ""
    return inner if inner.startswith("vol-") else f"{inner} under way"


def records(volumes: Iterable[euca_ec2.Volume], snapshots: Iterable[euca_ec2.Snapshot], zone: str) -> dict[str, Record]:
    """Return owner -> what the cloud says of it; the volumes of other zones are no business of this one's back-end."""
    found: dict[str, Record] = {}
    for snapshot in snapshots:
        known = snapshot.state in SNAPSHOTS
        doubt = "" if known else f"its snapshot is in a state that is not understood: {snapshot.state or 'none'}"
        found[snapshot.id] = Record(doubt=doubt)
        if snapshot.state == "pending" or not known:
            found[f"{snapshot.id} under way"] = found[copy_of(snapshot.volume)] = Record()
    for volume in volumes:
        record = STATES.get(volume.state)
        if record is None:
            record = Record(doubt=f"its volume is in a state that is not understood: {volume.state or 'none'}")
        elif volume.zone != zone and not record.over:
            record = Record(
                doubt=f"belongs to a volume of zone {volume.zone or '(none)'}, not of {zone}: is --zone right?"
            )
        if volume.state in ("creating", "unavailable"):
            found[DOWNLOADS] = Record()
        found[volume.id] = record
    return found


def look(run: Run, options: Any) -> Found:
    """Compare the back-end of this host with the records of its zone.

    Three to five requests: the properties (or the zones, where --zone and --backend are said), who is seen (one or two),
    volumes, and snapshots where something of one lies here. Where a volume seems to lack its backing the back-end is listed
    once more, so that what came or went meanwhile is not missed.
    Raises Failed: as `euca_api.access`, `euca_storage.told` and `euca_ec2.everywhere` do; absent where the back-end is none of
    this host.
    """
    there = _asked(euca_api.access, options, run)
    zone, backend = _asked(_backend, run, options, there)
    first = listing(run, options, backend)
    client = _asked(euca_ec2.everywhere, run, there)
    volumes = _asked(euca_ec2.volumes, run, client)
    failures = [*first.failures.values()]
    snapshots: Any = ()
    if any(not thing.owner.startswith("vol-") for thing in first.things):
        snapshots = attempt(_asked, euca_ec2.snapshots, run, client)
    things = first.things
    if isinstance(snapshots, Failed):
        failures.append(snapshots)
        things, snapshots = tuple(thing for thing in things if thing.owner.startswith("vol-")), ()
    known = records(volumes, snapshots, zone)
    lacking = _lacking(run, options, backend, first, known)
    unseen = {*first.failures, *(("file", "logical volume") if len(things) < len(first.things) else ())}
    if "logical volume" in unseen:
        unseen.add("volume group")
    orphans, kept = volume_orphans.orphans(things, known, run, unseen)
    doubts = list(volume_orphans.doubts(things, known, run))
    told = {thing.owner for thing in things}
    mine = [volume for volume in volumes if volume.zone == zone]
    doubts += [(v.id, known[v.id].doubt) for v in mine if known[v.id].doubt and v.id not in told and run.wants(v.id)]
    if first.old:
        lacking, doubt = _by_number(first.old, lacking)
        doubts += [("lv-*", doubt)] if doubt else []
    number = sum(volume.state != "deleted" for volume in mine)
    looked = f"{len(first.things)} things on the back-end, {number} volumes in zone {zone}"
    strangers = tuple(name for name in first.strangers if run.wants(name))
    if strangers:
        looked += f", {len(strangers)} not of Eucalyptus"
    lacking = None if lacking is None else {name: state for name, state in lacking.items() if run.wants(name)}
    return Found(orphans, lacking, tuple(dict.fromkeys(doubts)), first.broken, looked, tuple(failures), kept, strangers)


def _asked(question: Callable[..., Any], *arguments: Any) -> Any:
    """Return the answer of the cloud; its refusal names the right to it, and not those to this host."""
    try:
        return question(*arguments)
    except Failed as failed:
        if failed.kind != NOT_ALLOWED or failed.cure:
            raise
        raise Failed(failed.kind, failed.of, failed.tried, failed.error, RIGHT) from None


def _by_number(old: tuple[str, ...], lacking: Mapping[str, str] | None) -> tuple[dict[str, str] | None, str]:
    """Return what is known to be lacking, and the doubt that stays, where volumes of LVM bear names that tell no volume.

    As many volumes without a backing as there are such names may well be theirs.
    """
    if lacking is not None and len(lacking) == len(old):
        return {}, ""
    beside = "" if lacking is None else f", and {len(lacking)} volumes have no other backing"
    return None, f"{len(old)} names of before 3.3 tell no volume{beside}: only the database knows whose they are"


def _lacking(
    run: Run, options: Any, backend: euca_storage.Backend, first: Listing, known: Mapping[str, Record]
) -> dict[str, str] | None:
    """Return the volumes without a backing -> their state; None where the back-end could not be listed."""
    kind = KINDS[backend.kind]
    if "backing" not in options.mode or kind in first.failures:
        return None
    found = volume_orphans.lacking(first.things, known, kind)
    if not found:
        return found
    again = listing(run, options, backend, exports=False)
    if kind in again.failures:
        return None
    return volume_orphans.lacking((*first.things, *again.things), known, kind)


def _backend(run: Run, options: Any, there: euca_api.Access) -> tuple[str, euca_storage.Backend]:
    """Return the zone of this host and its back-end. One request. Raises Failed."""
    zone = options.zone
    if options.backend and zone:
        client = euca_api.client(run, there, "ec2")
        answer = euca_api.call(run, client, "describe_availability_zones")
        zones = sorted(item.get("ZoneName", "") for item in answer.get("AvailabilityZones", ()))
        if zone not in zones:
            error = f"there is no zone {zone}, but {', '.join(zones[:20]) or 'none'}"
            raise Failed(ABSENT, "", "DescribeAvailabilityZones", error)
        return zone, euca_storage.Backend(options.backend, options.group)
    values = euca_settings.of(run, there, f"{zone}.storage." if zone else "")
    zone, backend = euca_storage.told(values, zone, options.group)
    if options.backend:
        backend = backend._replace(kind=options.backend)
    if backend.kind not in KINDS:
        error = (
            f"the back-end of zone {zone} is {'Ceph' if backend.kind == 'ceph' else 'an array'}: none of it lies here"
        )
        raise Failed(ABSENT, "", "DescribeProperties", error)
    return zone, backend


def listing(run: Run, options: Any, backend: euca_storage.Backend, exports: bool = True) -> Listing:
    """List what lies on the back-end of this host: LVM's volumes, the volumes directory, tgtd's targets (`exports`).

    What can't be listed is a Failed in its place: an empty list is only what was seen to be empty.
    """
    failures: dict[str, Failed] = {}
    things: list[Stored] = []
    strangers: list[str] = []
    old: list[str] = []
    broken = ""
    share = max(0.5, run.left() / 6)
    if "backing" in options.mode:
        path = options.volumes or backend.volumes or euca_conf.directory(euca_conf.read(run), "volumes")
        files = attempt(_files, run, path, share)
        if isinstance(files, Failed):
            failures["file"] = files
        else:
            owned = [(name, owner_of_file(name), size) for name, size in files]
            things += [Stored("file", name, owner, size) for name, owner, size in owned if owner]
            strangers += [name for name, owner, _ in owned if not owner]
        volumes = attempt(_volumes, run, backend, {thing.name for thing in things}, share)
        if isinstance(volumes, Failed):
            failures["logical volume"] = volumes
        else:
            things += volumes.things
            strangers += volumes.strangers
            old += volumes.old
            broken = volumes.broken
    if exports and "exports" in options.mode:
        targets = attempt(tgt.show, run, max(share, run.left() / 3))  # its disks may hold it up for seconds
        if isinstance(targets, Failed):
            failures["export"] = targets
        else:
            for target in targets.targets:
                owners = [owner_of_volume(lun.backing.rpartition("/")[2]) for lun in target.luns if lun.backing]
                things += [Stored("export", target.name, owner) for owner in owners if owner]
                strangers += [target.name] if "" in owners else []
    return Listing(tuple(things), tuple(strangers), tuple(old), failures, broken)


def _volumes(run: Run, backend: euca_storage.Backend, files: set[str], seconds: float) -> Listing:
    """Return what is in the groups of Eucalyptus.

    Raises Failed as lvm's functions do; unreadable where it can't be told which group is that of DAS.
    """
    every = lvm.groups(run, seconds)
    named = (*backend.groups, backend.device)
    groups = tuple(group for group in every if group.name in named or group.name.startswith(euca_storage.GROUP))
    seen = euca_storage.Storage(backend=backend, groups=groups)
    if seen.hidden:
        raise Failed(UNREADABLE, "back-end", "run vgs", seen.hidden)
    things: list[Stored] = []
    strangers: list[str] = []
    old: list[str] = []
    sizes = {group.name: (euca_storage.overlay(group), group) for group in groups}
    steady = tuple(group for group in groups if not euca_storage.overlay(group))  # those of overlay come and go
    for group, name, size in lvm.names(run, steady, seconds) if groups else ():
        if group not in sizes:
            continue
        loop = sizes[group][0]
        owner = owner_of_volume(name)
        if owner:
            # What lies in the group of an overlay volume is in its file, which is counted; unless that was deleted meanwhile.
            inside = loop and (group[len(euca_storage.GROUP) :] in files)
            things.append(Stored("logical volume", f"{group}/{name}", owner, 0 if inside else size))
        elif _OLD.fullmatch(name):
            old.append(f"{group}/{name}")
        else:
            strangers.append(f"{group}/{name}")
    for group, (loop, facts) in sizes.items():
        if loop and not facts.volumes:
            things.append(Stored("volume group", group, group[len(euca_storage.GROUP) :]))
    return Listing(tuple(things), tuple(strangers), tuple(old), broken=seen.lacks)


def _files(run: Run, path: str, seconds: float) -> list[tuple[str, int]]:
    """Return name and bytes on the disk of what is in the volumes directory, in a child that can be abandoned; else by sudo."""
    found = child.each(run, {path: lambda: _scan(run, path)}, tried=TRIED, seconds=seconds)[path]
    if isinstance(found, Failed) and found.kind == NOT_ALLOWED:
        line = (*LIST[:1], f"{run.path(path).rstrip('/')}/", *LIST[2:])
        rows = as_root.find(line, run, of=path, seconds=seconds)
        found = [(name.rpartition("/")[2], int(blocks) * 512) for what, blocks, name in rows if what == "f"]
    if isinstance(found, Failed):
        raise found
    return sorted((name, size) for name, size in found)


def _scan(run: Run, path: str) -> list[tuple[str, int]]:
    """Return name and bytes of the plain files of a directory, and of those that links lead to; runs in a child."""
    found: list[tuple[str, int]] = []
    with os.scandir(run.path(path)) as entries:
        for entry in entries:
            if len(found) >= MOST:
                raise Failed(UNREADABLE, path, TRIED, f"more than {MOST} names")
            try:
                facts = entry.stat()
            except FileNotFoundError:
                continue  # it was done while we looked, or is a link to nothing
            if stat.S_ISREG(facts.st_mode):
                name = os.fsencode(entry.name).decode("utf-8", "replace")  # as it is told by find
                found.append((name, facts.st_blocks * 512))
    return found
