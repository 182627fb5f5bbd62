# SPDX-License-Identifier: Apache-2.0
"""How many instances of each type still fit into each zone of a Eucalyptus cloud.

Two requests. `DescribeInstanceTypes Availability=true` tells free and maximum per type and zone since 3.3, and since 4.2 to the
account `eucalyptus` alone (VmTypesManager, 3.3.2 to 4.4.2); where a cloud does not know it, the rows of
`DescribeAvailabilityZones verbose` do (ClusterEndpoint, "%04d / %04d  %2d   %4d  %4d": free, maximum, cores, MB, GB), for the
users of that account. Both tell of zones whose cluster controller is ENABLED and of no other: a zone that is down is simply
not there. So the plain list is asked too: since 4.0 it has the zones of DISABLED controllers as `unavailable`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import euca_api
from nephoscope.probes.cloud import Room, Share, Size, Zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MIB, GIB = 1 << 20, 1 << 30
TYPES, ZONES = "DescribeInstanceTypes", "DescribeAvailabilityZones"
ROW = re.compile(r"\s*(\d+)\s*/\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*")
DOWN = "is registered and offers nothing: is its cluster controller down?"
EMPTY = "has no room for one instance of any type, even when empty: does no node serve?"


def room(options: Any, run: Run) -> Room:
    """Return the room of every zone. Raises Failed when free and maximum can't be learnt.

    options  `expect` (names of zones that must exist) and `remember` (s for which a zone that vanished is missed)
    """
    there = euca_api.access(options, run)
    failures: list[Failed] = []
    sizes, source = _sizes(run, there)
    said: Mapping[str, str] = {}
    try:
        said = plain(_zones(run, there, {}))
    except Failed as failed:
        failures.append(failed)
    before = run.before.get("zones", {}) if isinstance(run.before, dict) else {}
    zones, kept = members(sizes, said, options.expect, before, run.clock.time(), options.remember)
    if not zones and not failures:
        raise Failed(ABSENT, "", ZONES, "the cloud has no zone")
    return Room(zones, sizes, shares(sizes), source, tuple(failures), {"zones": kept})


def _sizes(run: Run, there: euca_api.Access) -> tuple[tuple[Size, ...], str]:
    """Ask for free and maximum, in the way that this cloud knows."""
    try:
        return of_types(availability(run, there)), TYPES
    except Failed as failed:
        if failed.kind != UNREADABLE or ": HTTP 4" not in failed.error:
            raise
    return of_rows(_zones(run, there, {"ZoneName.1": "verbose"})), f"{ZONES} verbose"


def availability(run: Run, there: euca_api.Access) -> Element:
    """Ask for the instance types with free and maximum in each zone. Raises Failed, unreadable of a cloud that has none."""
    run.stage(f"ask for {TYPES} with availability")
    return euca_api.ask(run, there, "compute", TYPES, {"Availability": "true"})


def _zones(run: Run, there: euca_api.Access, words: Mapping[str, str]) -> Element:
    run.stage(f"ask for {' '.join((ZONES, *words.values()))}")
    return euca_api.ask(run, there, "compute", ZONES, words)


def types(answer: Element) -> dict[str, tuple[int, int, int]]:
    """Return cores, memory and disk in bytes of each type out of an answer of DescribeInstanceTypes.

    Raises Failed not-allowed for an empty list, which is what a missing right gives, unreadable for a number that is none.
    """
    items = answer.findall("instanceTypeDetails/item")
    if not items:
        raise Failed(NOT_ALLOWED, "", TYPES, "the list of instance types is empty")
    try:
        return {
            _name(item, "name"): (_number(item, "cpu"), _number(item, "memory") * MIB, _number(item, "disk") * GIB)
            for item in items
        }
    except ValueError as error:
        raise Failed(UNREADABLE, "", TYPES, f"not understood: {error}") from None


def of_types(answer: Element) -> tuple[Size, ...]:
    """Return the sizes of every zone out of an answer of DescribeInstanceTypes with availability. Raises Failed as types()."""
    known = types(answer)
    found = []
    try:
        for item in answer.findall("instanceTypeDetails/item"):
            name = _name(item, "name")
            for row in item.findall("availability/item"):
                zone = _name(row, "zoneName")
                found.append(Size(zone, name, _number(row, "available"), _number(row, "max"), *known[name]))
    except ValueError as error:
        raise Failed(UNREADABLE, "", TYPES, f"not understood: {error}") from None
    return tuple(sorted(found))


def _name(element: Element, name: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise ValueError(f"a row without its {name}")
    return text


def _number(element: Element, name: str) -> int:
    text = (element.findtext(name) or "").strip()
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name} is {text[:40]!r}")
    return int(text)


def of_rows(answer: Element) -> tuple[Size, ...]:
    """Return the sizes out of the verbose list of zones: a row that does not begin with `|-` opens a zone.

    Raises Failed not-allowed when there are zones and no rows: who may not see them gets the plain list, and no error.
    """
    tried = f"{ZONES} verbose"
    zone = ""
    found = []
    items = answer.findall("availabilityZoneInfo/item")
    for item in items:
        name, text = ((item.findtext(field) or "").strip() for field in ("zoneName", "zoneState"))
        if not name.startswith("|-"):
            zone = name
            continue
        row = ROW.fullmatch(text)
        if row:
            free, most, cores, ram, disk = (int(number) for number in row.groups())
            found.append(Size(zone, name[2:].strip(), free, most, cores, ram * MIB, disk * GIB))
        elif "free" not in text:  # the heading
            raise Failed(UNREADABLE, "", tried, f"not understood: {name} {text[:60]!r}")
    if not found:
        what = "tells no instance types" if items else "is empty"
        raise Failed(NOT_ALLOWED, "", tried, f"the verbose list of zones {what}")
    return tuple(sorted(found))


def plain(answer: Element) -> dict[str, str]:
    """Return the state of each zone as the plain list has it: available, unavailable; host and ARN of the controller in 3.1."""
    items = answer.findall("availabilityZoneInfo/item")
    named = {(item.findtext("zoneName") or "").strip(): (item.findtext("zoneState") or "").strip() for item in items}
    named.pop("", None)
    return named


def members(
    sizes: Iterable[Size],
    said: Mapping[str, str],
    expected: Iterable[str],
    before: Mapping[str, float],
    now: float,
    remember: float,
) -> tuple[tuple[Zone, ...], dict[str, float]]:
    """Return every zone that there is or should be, and when each was last there (Unix time) for the next run.

    said    state by zone in the plain list
    before  what this gave last time; a zone is missed for `remember` seconds
    """
    by_zone: dict[str, list[Size]] = {}
    for size in sizes:
        by_zone.setdefault(size.zone, []).append(size)
    zones = []
    for name in sorted({*by_zone, *said}):
        word = said.get(name, "available")
        rows = by_zone.get(name, [])
        if word == "unavailable":
            state, text = "failed", f"{DOWN} (unavailable)"
        elif not rows:
            state, text = "failed", DOWN
        elif word != "available" and "arn:" not in word:
            state, text = "unknown", f"is in a state that is not understood: {word[:60]}"
        elif not any(size.most for size in rows):
            state, text = "failed", EMPTY
        else:
            state, text = "ok", "serves"
        cores = max((size.free * size.cores for size in rows), default=None)
        zones.append(Zone(name, state, text, cores))
    there = {zone.name for zone in zones}
    kept = {name: float(at) for name, at in before.items() if now - float(at) <= remember and name not in there}
    for name in sorted({*expected, *kept} - there):
        when = f"last seen {_span(now - kept[name])} ago" if name in kept else "but expected"
        zones.append(Zone(name, "absent", f"is in no list of zones, {when}: is its cluster controller down?"))
    return tuple(zones), {**kept, **dict.fromkeys(sorted(there), now)}


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def shares(sizes: Iterable[Size]) -> tuple[Share, ...]:
    """Return how much of each zone is taken, in instances of the type of which most fit: the finest measure that is told."""
    finest: dict[str, Size] = {}
    for size in sizes:
        had = finest.get(size.zone)
        if had is None or _fineness(size) > _fineness(had):
            finest[size.zone] = size
    return tuple(
        # A place given back just after a refresh is counted twice (ResourceState.releaseToken): more free than there are.
        Share(zone, size.name, max(0, (size.most or 0) - size.free), size.most or 0)
        for zone, size in sorted(finest.items())
        if size.most
    )


def _fineness(size: Size) -> tuple[int, int, int, int]:
    return size.most or 0, -size.cores, -size.ram, -size.disk
