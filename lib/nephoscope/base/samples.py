# SPDX-License-Identifier: Apache-2.0
"""Rates and rises of counters between runs, and since when a thing has been so: pure functions over plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base.run import COLLECTING, Collecting, Run

RING = 16  # samples kept at most
LEAST = 30.0  # seconds: a forced re-check a moment later must not make a rate of noise


class Sample(NamedTuple):
    """Counters at one moment: `at` in seconds of CLOCK_BOOTTIME, which only compares within one `boot`."""

    boot: str
    at: float
    values: Mapping[str, float]


class History(NamedTuple):
    """The sample of now and the earlier ones that it may be compared with, oldest first."""

    now: Sample
    older: Sequence[Sample] = ()
    span: float = 300.0

    def _base(self, name: str) -> Sample | None:
        """Return the earlier sample nearest to one span ago whose counter has not been reset since."""
        usable: list[Sample] = []
        last = self.now.values.get(name)
        for sample in reversed(self.older):
            value = sample.values.get(name)
            if last is None or value is None or value > last:  # a counter never falls: it was reset in between
                break
            last = value
            if self.now.at - sample.at >= LEAST:
                usable.append(sample)
        if not usable:
            return None
        return min(usable, key=lambda sample: abs(self.now.at - sample.at - self.span))

    def rate(self, name: str) -> float | Collecting:
        """Return a counter's increase per second over about one span, or COLLECTING."""
        base = self._base(name)
        if base is None:
            return COLLECTING
        return (self.now.values[name] - base.values[name]) / (self.now.at - base.at)

    def rise(self, name: str) -> float | Collecting:
        """Return a counter's increase since about one span ago, or COLLECTING."""
        base = self._base(name)
        return COLLECTING if base is None else self.now.values[name] - base.values[name]

    def share(self, part: str, whole: str) -> float | Collecting:
        """Return how much of one counter's rise is another's, in percent; 0 when neither moved; or COLLECTING."""
        rises = self.rise(part), self.rise(whole)
        if isinstance(rises[0], Collecting) or isinstance(rises[1], Collecting):
            return COLLECTING
        return 100.0 * rises[0] / rises[1] if rises[1] > 0 else 0.0

    @property
    def seconds(self) -> float:
        """Seconds between now and the oldest sample."""
        return self.now.at - self.older[0].at if self.older else 0.0

    def keep(self) -> list[Any]:
        """Return plain JSON from which `take` makes the next history."""
        ring = [*self.older, self.now]
        while len(ring) > RING:
            # Thin out where the samples stand closest; first and last stay.
            gaps = [(ring[i + 1].at - ring[i - 1].at, i) for i in range(1, len(ring) - 1)]
            del ring[min(gaps)[1]]
        return [[sample.boot, round(sample.at, 3), dict(sample.values)] for sample in ring]


def boot_id(run: Run) -> str:
    """Return the kernel's name for this boot (/proc/sys/kernel/random/boot_id), "" where it tells none."""
    from nephoscope.base import files
    from nephoscope.base.failed import Failed

    try:
        return files.text(run, "/proc/sys/kernel/random/boot_id").strip()[:8]
    except Failed:
        return ""


def take(
    run: Run,
    values: Mapping[str, float],
    *,
    span: float = 300.0,
    before: Any = None,
    at: float | None = None,
    boot: str | None = None,
) -> History:
    """Return the history that ends now.

    values  counters that only grow, by name
    span    seconds over which rates and rises are wanted
    before  what `History.keep` gave last time; `run.before` unless said
    at      seconds since the target began to count, by its own clock (a database's Uptime); since this host's boot
            unless said
    boot    what changes when the target begins anew (its start time, its UUID): older samples then count no more
    """
    if boot is None:
        boot = boot_id(run)
    now = Sample(boot, run.clock.boottime() if at is None else at, dict(values))
    return History(now, tuple(_usable(now, run.before if before is None else before, span)), span)


def _usable(now: Sample, before: Any, span: float) -> Iterable[Sample]:
    """Yield the kept samples of this boot, not from the future, none older than the last one before the span."""
    ring = []
    for entry in before if isinstance(before, list) else ():
        try:
            boot, at, values = entry
            sample = Sample(str(boot), float(at), {str(name): float(value) for name, value in values.items()})
        except (TypeError, ValueError, AttributeError):
            continue  # a foreign or damaged entry is no sample
        if sample.boot == now.boot and sample.at < now.at:
            ring.append(sample)
    ring.sort(key=lambda sample: sample.at)
    while len(ring) > 1 and now.at - ring[1].at >= span:
        del ring[0]
    return ring[-RING:]


def since(before: Any, present: Iterable[str], now: float) -> dict[str, float]:
    """Return when each of `present` was first seen without a gap: seconds since 1970, plain JSON.

    before  what this function returned last time (None at first)
    """
    known = before if isinstance(before, dict) else {}
    first: dict[str, float] = {}
    for name in present:
        at = known.get(name)
        first[name] = float(at) if isinstance(at, (int, float)) and at <= now else now
    return first
