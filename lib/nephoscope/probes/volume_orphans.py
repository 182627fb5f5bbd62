# SPDX-License-Identifier: Apache-2.0
"""What a block storage back-end holds, beside what its cloud's records say that it should hold.

Pure: whoever knows a cloud and its back-end (`euca_volumes`) gives both as the records of this module. What belongs to nothing
is an orphan, as old as it has been seen so without a break; a volume that must have a backing and has none lacks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nephoscope.base import Failed, Run, samples


class Stored(NamedTuple):
    """One thing of a back-end.

    kind   "file", "logical volume", "volume group", "export"
    name   as the back-end has it
    owner  of what it is: a key of the records
    size   bytes that it takes of the back-end and no other thing counts; 0 for an export
    """

    kind: str
    name: str
    owner: str
    size: int = 0

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.kind}/{self.name}"


class Record(NamedTuple):
    """What a cloud's records say of the owner of things.

    state  of a volume that must have a backing, in the suite's words: "used", "idle"; "": it may have one or not
    over   it is gone, and what bears its name belongs to nothing
    doubt  why what bears its name can't be judged, in words; "": it can
    """

    state: str = ""
    over: bool = False
    doubt: str = ""


class Orphan(NamedTuple):
    """A thing that belongs to nothing; age: seconds for which it has been seen so, at least."""

    thing: Stored
    age: float

    @property
    def said(self) -> str:
        """What it is and since when, in words."""
        hours = self.age / 3600
        since = f"for at least {hours:.0f} h" if hours >= 1 else f"for {self.age / 60:.0f} min so far"
        return f"this {self.thing.kind} belongs to no volume or snapshot, {since}"


class Found(NamedTuple):
    """What was found.

    orphans  the oldest first
    lacking  volumes without a backing -> "used" or "idle"; None: can't be told, and a Failed or a doubt says why
    doubts   (of, why), for what can't be judged
    broken   what there should be of the back-end as a whole and is not, in words
    looked   what was looked at, as a clause
    failures each in the place of what could not be looked at
    kept     plain JSON for the next run
    strangers names that are none of the cloud's
    """

    orphans: tuple[Orphan, ...]
    lacking: Mapping[str, str] | None
    doubts: tuple[tuple[str, str], ...] = ()
    broken: str = ""
    looked: str = ""
    failures: tuple[Failed, ...] = ()
    kept: Mapping[str, float] = {}
    strangers: tuple[str, ...] = ()

    def lacks(self, state: str) -> list[str]:
        """Return the volumes without a backing that are in a state ("used", "idle")."""
        return sorted(name for name, word in (self.lacking or {}).items() if word == state)


def lacking(things: Iterable[Stored], records: Mapping[str, Record], kind: str) -> dict[str, str]:
    """Return the volumes that must have a backing of a kind and have none -> their state."""
    there = {thing.owner for thing in things if thing.kind == kind}
    return {name: record.state for name, record in records.items() if record.state and name not in there}


def orphans(
    things: Iterable[Stored], records: Mapping[str, Record], run: Run, unseen: Iterable[str] = ()
) -> tuple[tuple[Orphan, ...], dict[str, float]]:
    """Return what belongs to nothing, and what is to be kept of it.

    unseen  kinds that could not be looked at now, which makes nothing younger
    """
    lost = [thing for thing in things if records.get(thing.owner, Record(over=True)).over]
    before = run.before if isinstance(run.before, dict) else {}
    blind = tuple(f"{kind}/" for kind in unseen)
    now = run.now().timestamp()
    first = samples.since(
        before, {*(thing.key for thing in lost), *(key for key in before if key.startswith(blind))}, now
    )
    found = (Orphan(thing, now - first[thing.key]) for thing in lost if run.wants(thing.name))
    return tuple(sorted(found, key=lambda orphan: (-orphan.age, orphan.thing.key))), first


def doubts(things: Iterable[Stored], records: Mapping[str, Record], run: Run) -> tuple[tuple[str, str], ...]:
    """Return what can't be judged, and why."""
    told = ((thing.name, records[thing.owner].doubt) for thing in things if thing.owner in records)
    return tuple((name, doubt) for name, doubt in told if doubt and run.wants(name))
