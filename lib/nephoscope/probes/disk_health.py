# SPDX-License-Identifier: Apache-2.0
"""The health of this machine's disks and arrays out of every source there is, with what was known before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, Failed, Run, samples
from nephoscope.probes.conditions import Condition, Reading, Told

DAY = 86400.0
LOOKED = ("ok", "spare", "degraded", "rebuilding", "exposed", "failed")


class Survey(NamedTuple):
    """All that the sources told.

    conditions, readings, failures   as in `Told`; of the readings some are what counters rose by in a day
    failed                           how many things have failed; None where not all could be looked at
    summary                          what was looked at, in words; "" for nothing
    alive                            something gave an answer about itself
    kept                             plain JSON for the next run
    names                            what is there, also what could not be asked; members of md arrays are none of it
    blind                            something could not be looked at, and more may be there
    """

    conditions: Sequence[Condition] = ()
    readings: Sequence[Reading] = ()
    failures: Sequence[Failed] = ()
    failed: int | None = None
    summary: str = ""
    alive: bool = False
    kept: Any = None
    names: Sequence[str] = ()
    blind: bool = False


def look(run: Run, sources: Sequence[str], given: bool, remember: float, expected: bool = False) -> Survey:
    """Ask every source of `sources` ("md", "smart", "raid").

    given     the sources were asked for by name: one that does not exist is a failure, not a gap
    remember  seconds for which what vanished is missed
    expected  something has to be there
    Raises Failed absent when no source exists at all, unless something is expected.
    """
    before = run.before if isinstance(run.before, dict) else {}
    told: dict[str, Told] = {}
    lacking: list[Failed] = []
    failures: list[Failed] = []
    for source in sources:
        try:
            told[source] = _ask(source, run)
        except Failed as failed:
            (lacking if failed.kind == ABSENT and not given else failures).append(failed)
    failures += [failed for one in told.values() for failed in one.failures]
    # What is absent altogether has told everything there is: arrays that were there before are missed.
    whole = {*told, *(failed.of for failed in (*lacking, *failures) if failed.kind == ABSENT)}
    seen = {key: of for one in told.values() for key, of in one.seen.items()}
    now = run.clock.time()
    conditions = [condition for one in told.values() for condition in one.conditions]
    asleep = {condition.of for condition in conditions if condition.health == "asleep"}
    mute = {*asleep, *(failed.of for failed in failures if failed.kind != ABSENT)}
    gone, members = missing(seen, mute, before.get("members"), whole, now, remember)
    names = {condition.of for condition in conditions} | {failed.of for failed in failures}
    if lacking and not (told or failures or gone or expected):
        tried = "; ".join(f"{failed.of}: {failed.error}" for failed in lacking)
        raise Failed(ABSENT, "", "", f"no source of disk health: {tried}")
    since = samples.since(before.get("asleep"), asleep, now)
    conditions = [_for_long(condition, now - since.get(condition.of, now), remember) for condition in conditions]
    history, rises = _rises(run, told, seen, before.get("counters"), set(members))
    said = [one.summary for one in told.values() if one.summary]
    if said and lacking:
        said.append(f"not here: {', '.join(failed.of for failed in lacking)}")
    alive = any(condition.health in LOOKED for condition in conditions)
    if not alive and (failures or any(condition.health == "unknown" for condition in conditions)):
        said = []  # what is said of these is enough
    return Survey(
        [*gone, *conditions],
        [*(reading for one in told.values() for reading in one.readings), *rises],
        failures,
        None if failures else len({condition.of for condition in conditions if condition.health == "failed"}),
        "; ".join(said),
        alive,
        {"members": members, "asleep": since, "counters": history.keep() if history else []},
        sorted(name for name in names if not (name.startswith("md") and "/" in name)),
        any(failed.kind != ABSENT for failed in failures),
    )


def _ask(source: str, run: Run) -> Told:
    if source == "md":
        from nephoscope.probes import md

        return md.arrays(run)
    if source == "smart":
        from nephoscope.probes import smart

        return smart.look(run)
    from nephoscope.probes import megaraid

    return megaraid.look(run)


def missing(
    seen: Mapping[str, str], mute: set[str], before: Any, whole: set[str], now: float, remember: float
) -> tuple[list[Condition], dict[str, list[Any]]]:
    """Return what of `before` is gone, and the members to keep: key ("md md0") -> name, when last seen.

    Only a source that answered (`whole`) can miss something. What is in `mute` sleeps or could not be asked, and so could what
    belongs to it: it is there. What is gone for longer than `remember` s is forgotten. A disk whose serial number was not told,
    now or then, is known by its place ("raid c0/e252/s1").
    """
    gone, members = [], {key: [of, now] for key, of in seen.items()}
    for key, entry in (before if isinstance(before, dict) else {}).items():
        try:
            of, at = str(entry[0]), float(entry[1])
        except (TypeError, ValueError, IndexError, KeyError):
            continue
        if key in seen or now - at > remember:
            continue
        source = key.partition(" ")[0]
        place = f"{source} {of}"
        if key == place and of in seen.values():
            continue
        members[key] = [of, at]
        if place in seen or mute & {of, of.partition("/")[0], source}:
            members[key] = [of, now]
        elif source in whole:
            taken = (
                f" (serial number {key.partition(' ')[2]}; another disk has its place)" if of in seen.values() else ""
            )
            text = f"is missing, it was there {max(0.0, now - at) / 60:.0f} min ago{taken}"
            gone.append(Condition("degraded", of, text))
    return gone, members


def _for_long(condition: Condition, seconds: float, remember: float) -> Condition:
    """Return a condition; of a disk that has slept for longer than `remember` s nothing is known."""
    if condition.health != "asleep" or seconds <= remember:
        return condition
    return Condition("unknown", condition.of, f"{condition.text} for {seconds / DAY:.0f} days")


def _rises(
    run: Run, told: Mapping[str, Told], seen: Mapping[str, str], before: Any, members: set[str]
) -> tuple[samples.History | None, list[Reading]]:
    """Return the history of all counters, and what each disk's rose by in a day.

    Disks are known by their serial numbers, which outlive boots and moves; so do their counters. One that sleeps, or that can't
    be asked just now, keeps what it had.
    """
    now = {f"{name} {key}": value for one in told.values() for (name, key), value in one.counters.items()}
    last: dict[str, Any] = {}
    for entry in before if isinstance(before, list) else ():
        if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], dict):
            last = entry[2]
    carried = {name: value for name, value in last.items() if f"smart {name.partition(' ')[2]}" in members}
    if not now and not carried:
        return None, []
    history = samples.take(run, {**carried, **now}, span=DAY, before=before or [], at=run.clock.time(), boot="disks")
    rises = []
    for name in now:
        kind, _, key = name.partition(" ")
        rises.append(Reading(kind, seen[f"smart {key}"], history.rise(name)))
    return history, rises
