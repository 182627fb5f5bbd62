# SPDX-License-Identifier: Apache-2.0
"""The health of a node's hardware out of every source there is: hwmon, EDAC, IPMI and Redfish, with what was known before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, Failed, Run, samples
from nephoscope.probes.edac import Memory
from nephoscope.probes.ipmi import Event
from nephoscope.probes.parts import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.probes import redfish

DAY = 86400.0


class Hardware(NamedTuple):
    """All that the sources told.

    parts      sensors and parts, each with its own health, reading and limits
    signs      the same shape for what is no part: one that vanished, an entry of the BMC's event log of the last period
    memory     error counts per module since the driver was loaded
    corrected  their history: `rise` over about a day
    log_used   how full the BMC's event log is, %, or None
    failures   what could not be looked at
    summary    what was looked at, in words; "" for nothing
    alive      a part, or the memory controller, gave an answer
    kept       plain JSON for the next run
    """

    parts: Sequence[Part] = ()
    signs: Sequence[Part] = ()
    memory: Sequence[Memory] = ()
    corrected: samples.History | None = None
    log_used: float | None = None
    failures: Sequence[Failed] = ()
    summary: str = ""
    alive: bool = False
    kept: Mapping[str, Any] = {}


def look(run: Run, sources: Sequence[str], asked: Any) -> Hardware:
    """Ask every source of `sources` ("hwmon", "edac", "ipmi", "redfish").

    asked  the check's options: hostname, port, user, password, ipmi_config, cipher, workaround, plain, ca_file, fingerprint,
           insecure, cert, key; mode_given (a source asked for by name that does not exist is a failure, not a gap);
           period (s for which an event counts, from when it was first seen); remember (s for which a vanished part is missed)
    Raises Failed absent when no source exists at all.
    """
    before = run.before if isinstance(run.before, dict) else {}
    now = run.clock.time()
    made = Hardware()
    parts: list[Part] = []
    signs: list[Part] = []
    failures: list[Failed] = []
    lacking: list[Failed] = []
    whole: set[str] = set()  # sources that told everything: only there a missing part is a missing part
    kept: dict[str, Any] = {name: before[name] for name in ("ecc", "events") if name in before}
    for source in sources:
        try:
            if source == "hwmon":
                parts += _hwmon(run)
            elif source == "redfish":
                from nephoscope.probes import redfish

                found = redfish.parts(run, _web(asked))
                parts += [thing for thing in found if isinstance(thing, Part)]
                lost = [thing for thing in found if isinstance(thing, Failed)]
                failures += lost
                if lost:
                    continue
            elif source == "edac":
                from nephoscope.probes import edac

                memory = edac.memory(run)
                counts = {module.name: float(module.corrected) for module in memory}
                history = samples.take(run, counts, span=DAY, before=before.get("ecc") or [])
                kept["ecc"] = history.keep()
                made = made._replace(memory=memory, corrected=history)
            elif source == "ipmi":
                from nephoscope.probes import ipmi

                bmc = ipmi.Bmc(
                    asked.hostname or "", asked.port or 623, asked.user, asked.password or "", asked.ipmi_config, asked.cipher,
                    asked.workaround,
                )  # fmt: skip
                parts += ipmi.sensors(run, bmc)
                whole.add(source)  # the sensors are, whatever becomes of the log
                log = ipmi.log(run, bmc)
                fresh, kept["events"] = recent(log.events, before.get("events"), now, asked.period)
                signs += [Part("ipmi", "log", "event", event.severity, f"{event.text} ({event.at})") for event in fresh]
                if log.overflow:
                    signs.append(Part("ipmi", "log", "event", "degraded", "dropped events for lack of space"))
                made = made._replace(log_used=log.used)
            whole.add(source)
        except Failed as failed:
            (lacking if failed.kind == ABSENT and not asked.mode_given else failures).append(failed)
    if lacking and not (parts or made.memory or failures):
        tried = "; ".join(f"{failed.of}: {failed.error}" for failed in lacking)
        raise Failed(ABSENT, "", "", f"no source of hardware health: {tried}")
    gone, kept["members"] = missing(parts, before.get("members"), whole, now, asked.remember)
    alive = [part for part in parts if part.health != "absent"]
    return made._replace(
        parts=parts,
        signs=[*gone, *signs],
        failures=failures,
        summary=_summary(parts, alive, made.memory, lacking),
        alive=bool(alive or made.memory),
        kept=kept,
    )


def _summary(parts: Sequence[Part], alive: Sequence[Part], memory: Sequence[Memory], lacking: Sequence[Failed]) -> str:
    if not parts and not memory:
        return ""
    if not alive and not memory:
        return f"none of {len(parts)} parts gives a reading: is the machine switched off?"
    counted = [f"{len(alive)} parts"] * bool(alive) + [f"{len(memory)} memory modules' counters"] * bool(memory)
    text = f"looked at {' and '.join(counted)}"
    mute = sum(not part.health and part.value is None for part in alive)
    if mute:
        text += f"; {mute} tell no health"
    return text + (f"; not here: {', '.join(failed.of for failed in lacking)}" if lacking else "")


def _web(asked: Any) -> redfish.Bmc:
    from nephoscope.probes import redfish

    host = f"[{asked.hostname}]" if ":" in asked.hostname else asked.hostname
    base = f"http{'' if asked.plain else 's'}://{host}:{asked.port or (80 if asked.plain else 443)}"
    trust = (asked.ca_file, asked.fingerprint, asked.insecure, asked.cert, asked.key)
    return redfish.Bmc(base, asked.user, asked.password or "", *trust)


def _hwmon(run: Run) -> list[Part]:
    """Read the kernel's sensors in a child: drivetemp asks a disk, and a disk may hang."""
    from nephoscope.base import child
    from nephoscope.probes import hwmon

    answer = child.each(run, {"hwmon": lambda: hwmon.sensors(run)}, tried=f"read {hwmon.CLASS}", seconds=5)["hwmon"]
    if isinstance(answer, Failed):
        raise answer
    return [Part(*fields) for fields in answer]


def missing(
    parts: Sequence[Part], before: Any, whole: set[str], now: float, remember: float
) -> tuple[list[Part], dict[str, float]]:
    """Return the parts of `before` that are missing now, and the members to keep: name -> when last seen.

    Only a source that told everything (`whole`) can miss a part; what is missing longer than `remember` s is forgotten.
    """
    present = {part.of: now for part in parts if part.health != "absent"}
    known = before if isinstance(before, dict) else {}
    gone, members = [], dict(present)
    for of, at in known.items():
        if of in present or not isinstance(at, (int, float)) or now - at > remember:
            continue
        members[of] = at
        source, _, name = of.partition(" ")
        if source in whole:
            text = f"is missing, it was there {max(0.0, now - at) / 60:.0f} min ago"
            gone.append(Part(source, name, "gone", "degraded", text))
    return gone, members


def recent(events: Sequence[Event], before: Any, now: float, period: float) -> tuple[list[Event], dict[str, float]]:
    """Return the events first seen within `period` s, and what to keep of all: key -> when first seen.

    On a first run the BMC's own dates decide; an event without one (before its clock was set) is then an old one.
    """
    import zlib

    first = not isinstance(before, dict)
    known = {} if first else before
    fresh, seen = [], {}
    for event in events:
        key = f"{event.key} {zlib.crc32(event.text.encode()):08x}"
        at = known.get(key, _when(event.at) if first else now)
        seen[key] = at if isinstance(at, (int, float)) and at <= now + DAY else now
        if now - seen[key] <= period:
            fresh.append(event)
    return fresh, seen


def _when(text: str) -> float:
    """Return the time of an event in seconds since 1970, taken for UTC; 0 when the BMC gives none."""
    from datetime import datetime, timezone

    for form in ("%b-%d-%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M:%S"):
        try:
            return datetime.strptime(text.replace(" UTC", ""), form).replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            continue
    return 0.0
