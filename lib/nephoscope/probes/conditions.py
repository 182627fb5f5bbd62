# SPDX-License-Identifier: Apache-2.0
"""What several sources of disk health say in the same words: how a thing is, its numbers, and what was there to be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nephoscope.base import Collecting, Failed

HEALTH = ("ok", "spare", "asleep", "degraded", "rebuilding", "exposed", "failed", "unknown")
"""ok; spare; asleep (not looked at); degraded (a fault, redundancy is left); rebuilding (redundancy is being made); exposed (no
redundancy is left); failed; unknown (a word that is not understood)."""


class Condition(NamedTuple):
    """One thing that was looked at: its health (one of HEALTH), its name, and what is so, as a clause."""

    health: str
    of: str
    text: str


class Reading(NamedTuple):
    """A number: what it is, of what, and its value (None: not measured)."""

    name: str
    of: str
    value: float | Collecting | None


class Told(NamedTuple):
    """What one source told.

    conditions  how each thing is
    readings    numbers
    failures    things that could not be looked at
    seen        key, which outlives a boot -> name: what should still be there next time
    counters    counters that only grow, by (name of their rise, key)
    summary     what was looked at, as a clause
    """

    conditions: Sequence[Condition] = ()
    readings: Sequence[Reading] = ()
    failures: Sequence[Failed] = ()
    seen: Mapping[str, str] = {}
    counters: Mapping[tuple[str, str], float] = {}
    summary: str = ""
