# SPDX-License-Identifier: Apache-2.0
"""Counts over the last period, kept between runs: pure functions over plain JSON.

A count belongs to the time at which it was *seen*, not to the time in its line: so an event is told for one whole period
after the run that found it, however late that run was, and clocks and time zones of the writers do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST = 24  # buckets kept for one log


def add(before: Any, now: float, counts: Mapping[str, int], period: float) -> list[Any]:
    """Return the buckets [seconds since 1970, {name: count}] with those of now, the ones over a period old dropped.

    Too many are joined two and two under the later time, which tells an event rather longer than shorter. Damaged
    entries and such from the future (a clock that was set back) are dropped or drawn to now.
    """
    buckets: list[Any] = []
    for entry in before if isinstance(before, list) else ():
        try:
            at, values = min(float(entry[0]), now), {str(name): int(value) for name, value in entry[1].items()}
        except (TypeError, ValueError, AttributeError, IndexError, KeyError):
            continue
        if now - at <= period:
            buckets.append([at, values])
    if any(counts.values()):
        buckets.append([now, {name: value for name, value in counts.items() if value}])
    if len(buckets) > MOST:
        joined = [_join(buckets[i : i + 2]) for i in range(0, len(buckets) - 2, 2)]
        buckets = joined + buckets[2 * len(joined) :]
    return buckets


def _join(pair: Sequence[Any]) -> list[Any]:
    values: dict[str, int] = {}
    for _, counts in pair:
        for name, value in counts.items():
            values[name] = values.get(name, 0) + value
    return [pair[-1][0], values]


def total(buckets: Sequence[Any], name: str) -> int:
    """Return the sum of one name's counts over all buckets."""
    return sum(values.get(name, 0) for _, values in buckets)


def remember(
    before: Any, now: float, seen: Mapping[str, Sequence[str]], period: float, most: int = 500
) -> dict[str, Any]:
    """Return {id: [seconds since 1970 when last seen, [where, …]]} of the ids seen within one period, at most `most`.

    seen   the ids of this run and where each was seen (at most eight places are kept for each)
    """
    known: dict[str, Any] = {}
    for name, entry in before.items() if isinstance(before, dict) else ():
        try:
            at, places = min(float(entry[0]), now), [str(place) for place in entry[1]]
        except (TypeError, ValueError, IndexError, KeyError):
            continue
        if now - at <= period:
            known[str(name)] = [at, places]
    for name, where in seen.items():
        old = known.pop(name, [now, []])[1]
        known[name] = [now, sorted({*old, *where})[:8]]
    return dict(list(known.items())[-most:])
