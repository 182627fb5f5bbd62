# SPDX-License-Identifier: Apache-2.0
"""EMC VNX and CLARiiON, by naviseccli in its XML form.

Requests: 7 commands for health (getagent, faults, getcrus, getdisk, getcache, getlun, storagepool -list; this one is for
capacity, too) and one more for performance (getcontrol); none per disk or LUN. Each opens and closes a session of its own.
Credentials: the security file that `naviseccli -AddUserSecurity` has made, of a user with the role operator, scope 0 (global);
never an argument. The SP's certificate must have been accepted by this user, or `security -certificate -setLevel low` set.

Sources: EMC, "VNX Series Command Line Interface Reference for Block" (commands and words of getcrus, getdisk, getcache, getlun,
getcontrol, storagepool, faults); the form of -Xml, CIM's SIMPLERSP with one PARAMVALUE per line of the text form, from a
published answer of `storagepool -list`; check_emc_clariion and Centreon's navisphere plugin for the words of getcrus. Revision
05.33 is VNX2, whose cache is told by `cache -sp -info -state`, and whose cache is always mirrored; it has no hot spares, any
unbound disk steps in (EMC, "VNX MCx", h12090).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, attempt, child, samples
from nephoscope.probes.san import Array, Part, Place, Room, Speed, health

PROGRAM = "/opt/Navisphere/bin/naviseccli"
GETLUN = ("getlun", "-state", "-owner", "-default")
LIMIT = 16 << 20  # bytes of one answer; 2,000 LUNs make 1.5 MB
BLOCK = 512
Pairs = Sequence[tuple[str, str]]

CRU = {
    "Present": "ok", "Valid": "ok", "N/A": "absent", "Testing": "ok", "Charging": "rebuilding", "Low Power": "degraded",
    "Removed": "degraded", "Empty": "degraded", "Invalid1": "degraded", "Invalid2": "degraded", "Invalid": "degraded",
    "Not Ready": "degraded", "Faulted": "failed", "Failed": "failed", "Missing": "failed",
}  # fmt: skip
DISK = {
    "Enabled": "ok", "Unbound": "ok", "Binding": "ok", "Expanding": "ok", "Ready": "ok", "Powering Up": "ok",
    "Transitioning": "ok", "Formatting": "ok", "Standby": "ok", "Hot Spare Ready": "spare", "Empty": "absent",
    "Equalizing": "rebuilding", "Rebuilding": "rebuilding", "Copying to Hot Spare": "rebuilding",
    "Requested to Bypass": "failed", "Removed": "failed", "Failed": "failed", "Faulted": "failed", "Off": "failed",
    "Bypassed": "failed", "Unsupported": "degraded",
}  # fmt: skip
LUN = {
    "Bound": "ok", "Ready": "ok", "Binding": "ok", "Expanding": "ok", "Transitioning": "degraded",
    "Rebuilding": "rebuilding", "Degraded": "degraded", "Faulted": "failed", "Offline": "failed",
}  # fmt: skip
POOL = {
    "Ready": "ok", "Initializing": "ok", "Expanding": "ok", "Destroying": "ok", "Degraded": "degraded",
    "Offline": "failed", "Faulted": "failed",
}  # fmt: skip
CACHE = {
    "Enabled": "ok",
    "Enabling": "ok",
    "Disabled": "failed",
    "Disabling": "failed",
    "Frozen": "failed",
    "Dumping": "failed",
}
MIRRORED = {"YES": "ok", "NO": "failed"}
# What a unit's name says it is, the first that is in it; the words of getcrus.
UNITS = (("Power", "power supply"), ("Fan", "fan"), ("SPS", "battery"), ("BBU", "battery"), ("SP", "controller"))
_WHERE = re.compile(r"Bus (\d+) Enclosure (\d+|\w+)(?:\s+Disk (\d+))?")
_LUN = re.compile(r"LOGICAL UNIT NUMBER\s*(\d*)")
CURE = "naviseccli -AddUserSecurity -user NAME -scope 0, by the user that runs this check (role operator)"
# What naviseccli says, and what it means. †: the words are those of its messages; not seen by us.
REFUSALS = (
    ("security file", NOT_ALLOWED, CURE),
    ("invalid username", NOT_ALLOWED, CURE),
    ("not authorized", NOT_ALLOWED, CURE),
    (
        "certificate",
        NOT_ALLOWED,
        "accept the SP's certificate once by hand as this user, or -certificate -setLevel low",
    ),
    ("network error", UNREACHABLE, ""),
    ("could not connect", UNREACHABLE, ""),
    ("timed out", UNREACHABLE, ""),
    ("unable to resolve", UNREACHABLE, ""),
)


def greet(run: Run, place: Place) -> str:
    """Return the model, revision and serial number, which both storage processors tell alike. Raises Failed as `look`."""
    told = dict(_ask(run, place, "getagent"))
    model = told.get("Model", "")
    if not model:
        raise Failed(UNREADABLE, "system", "run naviseccli getagent", "it tells no Model")
    family = "" if model.startswith(("VNX", "CX")) else "VNX"
    return " ".join(filter(None, (family, model, told.get("Revision"), told.get("Serial No"))))


def look(run: Run, place: Place, modes: Sequence[str]) -> Array:
    """Ask the storage processor at this address for the whole array.

    Raises Failed: absent (naviseccli is not installed), not-allowed (no security file, log-in or certificate refused),
    unreachable, unreadable.
    """
    product = greet(run, place)
    parts: list[Part] = []
    lost: list[Failed] = []

    def ask(of: str, *words: str) -> Pairs:
        told: Pairs | Failed = attempt(_ask, run, place, *words)
        if not isinstance(told, Failed) and told:
            return told
        failed = told if isinstance(told, Failed) else Failed(UNREADABLE, of, _tried(words), "the answer is empty")
        lost.append(Failed(failed.kind, of, failed.tried, failed.error, failed.cure))
        return ()

    def some(of: str, found: Iterable[Part], *words: str) -> list[Part]:
        """Return the parts that a command told, of which there is one at least."""
        told = list(found)
        if not told and not any(failed.of == of for failed in lost):
            lost.append(Failed(UNREADABLE, of, _tried(words), f"it tells of no {of}"))
        return told

    newer = re.search(r"\b0?5\.3[3-9]\.", product)
    spares = None
    if "health" in modes:
        parts += some("fault list", _faults(ask("fault list", "faults", "-list")), "faults", "-list")
        units = list(_crus(ask("controller", "getcrus")))
        some("controller", (unit for unit in units if unit.kind == "controller"), "getcrus")
        disks = some("disk", _disks(ask("disk", "getdisk", "-state")), "getdisk", "-state")
        cache = ("cache", "-sp", "-info", "-state") if newer else ("getcache",)
        parts += [*units, *disks, *some("write cache", _cache(ask("write cache", *cache)), *cache)]
        parts += some("volume", _luns(ask("volume", *GETLUN)), *GETLUN)
        ready = [disk for disk in disks if disk.health == "spare" or (newer and disk.text == "Unbound")]
        spares = len(ready) if disks else None
    rooms: list[Room] = []
    if "health" in modes or "capacity" in modes:
        for pool in _blocks(ask("pool", "storagepool", "-list"), "Pool Name"):
            state = pool.get("State", "")
            parts.append(Part("pool", pool["Pool Name"], health(POOL, state), state or "tells no state"))
            size, free = _size(pool, "User Capacity"), _size(pool, "Available Capacity")
            used = size - free if size is not None and free is not None else None
            if "capacity" in modes:
                rooms.append(Room("pool", pool["Pool Name"], size, used, _size(pool, "Total Subscribed Capacity")))
        some("pool", (part for part in parts if part.kind == "pool"), "storagepool", "-list")
    speeds: list[Speed] = []
    rates: Any = None
    if "performance" in modes:
        speeds, rates = _speed(run, dict(ask("performance", "getcontrol")))
    return Array(product, parts, rooms, speeds, spares, lost, rates)


def _tried(words: Sequence[str]) -> str:
    return "run naviseccli " + " ".join(words)


def _ask(run: Run, place: Place, *words: str) -> Pairs:
    """Run one command and return the lines of its answer, as (label, value); a line without a label has an empty one."""
    port = ("-Port", str(place.port)) if place.port else ()
    program = PROGRAM if os.path.exists(PROGRAM) else "naviseccli"
    answer = child.command((program, "-Xml", "-h", place.host, *port, *words), run, limit=LIMIT)
    tried, text = _tried(words), answer.out.strip()
    start = text.find("<CIM")
    if start < 0 or "<!" in text:
        raise _refused(tried, text or answer.err.strip())
    from xml.etree import ElementTree

    try:
        tree = ElementTree.fromstring(text[start:])  # noqa: S314 - without a DTD, as was looked for
    except ElementTree.ParseError:
        raise Failed(UNREADABLE, "", tried, "its XML is cut or broken") from None
    verdict = {each.get("NAME"): each.findtext("VALUE") or "" for each in tree.iter("PROPERTY")}
    if verdict.get("success", "true").lower() != "true" or verdict.get("errorCode", "0").strip() not in ("", "0"):
        raise _refused(tried, verdict.get("why") or f"error {verdict.get('errorCode')}")
    return [
        ((each.get("NAME") or "").strip(), (each.findtext("VALUE") or "").strip()) for each in tree.iter("PARAMVALUE")
    ]


def _refused(tried: str, said: str) -> Failed:
    line = " ".join(said.split())[:120]
    for words, kind, cure in REFUSALS:
        if words in line.lower():
            return Failed(kind, "", tried, line, cure)
    return Failed(UNREADABLE, "", tried, f"not understood: {line}" if line else "no answer")


def _faults(told: Pairs) -> Iterator[Part]:
    """Yield the array's own opinion. What is faulted is told again by its own part, which decides how bad it is."""
    said = [f"{label}: {value}" if label else value for label, value in told if value]
    if any("operating normally" in line for line in said):
        yield Part("system", "", "ok", "operating normally")
    elif said:
        yield Part("system", "", "degraded", "; ".join(said[:3])[:160])


def _crus(told: Pairs) -> Iterator[Part]:
    """Yield the field-replaceable units: `SP A State`, `Bus 0 Enclosure 1 Power A State`, … and enclosures that are missing."""
    for label, value in told:
        name, _, last = label.rpartition(" ")
        if last == "State" and name:
            short = _WHERE.sub(lambda where: f"{where[1]}_{where[2]}", name)
            kind = next((kind for word, kind in UNITS if re.search(rf"\b{word}\b", name)), "enclosure")
            yield Part(kind, short, health(CRU, value), value or "tells no state")
        elif "Enclosure" in label + value and re.search(r"Missing|FAULT", label + value):
            where = _WHERE.search(label + value)
            yield Part("enclosure", f"{where[1]}_{where[2]}" if where else label or value, "failed", value or label)


def _disks(told: Pairs) -> Iterator[Part]:
    name = ""
    for label, value in told:
        where = _WHERE.search(label or value)
        if where and where[3]:
            name = f"{where[1]}_{where[2]}_{where[3]}"
        elif label == "State" and name:
            yield Part("disk", name, health(DISK, value), value or "tells no state")


def _cache(told: Pairs) -> Iterator[Part]:
    for label, value in told:
        label = label.rstrip(":")
        if label.endswith("Write Cache State"):
            yield Part("system", "write cache", health(CACHE, value), value)
        elif label.endswith("Read Cache State"):
            word = health(CACHE, value)  # reads go on without it, only slower
            yield Part("system", "read cache", "degraded" if word == "failed" else word, value)
        elif label == "Write Cache Mirrored":
            yield Part("system", "mirror of the write cache", health(MIRRORED, value.upper()), value)


def _luns(told: Pairs) -> Iterator[Part]:
    """Yield the LUNs: their state, and those that are not with the storage processor that they belong to."""
    lun: dict[str, str] = {}
    for label, value in (*told, ("LOGICAL UNIT NUMBER", "")):
        number = _LUN.match(label or value)
        if not number:
            lun[label] = value
            continue
        if "number" in lun:
            state, owner, home = lun.get("State", ""), lun.get("Current owner", ""), lun.get("Default Owner", "")
            word = health(LUN, state)
            away = owner != home and owner and home
            text = f"{state or 'tells no state'}{f', with {owner} instead of {home}' if away else ''}"
            yield Part("volume", lun["number"], "degraded" if away and word == "ok" else word, text)
        lun = {"number": number[1] or value}


def _blocks(told: Pairs, first: str) -> Iterator[dict[str, str]]:
    """Yield what is told of each thing, whose lines begin with the label `first`."""
    thing: dict[str, str] = {}
    for label, value in (*told, (first, "")):
        if label == first:
            if thing:
                yield thing
            thing = {label: value}
        elif thing:
            thing[label] = value


def _size(pool: dict[str, str], label: str) -> float | None:
    try:
        return float(pool[f"{label} (Blocks)"]) * BLOCK
    except (KeyError, ValueError):
        return None


def _speed(run: Run, told: dict[str, str]) -> tuple[list[Speed], Any]:
    """Return the load of this storage processor since the last run; with statistics logging off the counters stand still."""
    try:
        counters = {
            "requests": float(told["Read_requests"]) + float(told["Write_requests"]),
            "blocks": float(told["Blocks_read"]) + float(told["Blocks_written"]),
        }
    except (KeyError, ValueError):
        return [], None
    if told.get("Statistics Logging", "ON").upper() != "ON":
        return [], None
    before = run.before if isinstance(run.before, dict) else {}
    history = samples.take(run, counters, before=before.get("rates") or [])
    blocks = history.rate("blocks")
    throughput = blocks * BLOCK if isinstance(blocks, float) else blocks
    return [Speed("", None, history.rate("requests"), throughput)], history.keep()
