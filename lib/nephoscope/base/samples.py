# SPDX-License-Identifier: Apache-2.0
"""Rates and rises of counters between runs, and since when a thing has been so: pure functions over plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base.run import COLLECTING, Collecting, Run

RING = 16  # samples kept at most
PATIENCE = 3  # spans for which a counter may be without anything to compare it with
LEAST = 30.0  # seconds: a forced re-check a moment later must not make a rate of noise


class Sample(NamedTuple):
    """Counters at one moment: `at` in seconds of CLOCK_BOOTTIME, which only compares within one `boot`."""

    boot: str
    at: float
    values: Mapping[str, float]


class History(NamedTuple):
    """The sample of now and the earlier ones that it may be compared with, oldest first.

    span     seconds over which rates and rises are wanted
    time     now, seconds since 1970
    waiting  counter -> since when (as `time`) it could not be compared with anything
    """

    now: Sample
    older: Sequence[Sample] = ()
    span: float = 300.0
    time: float = 0.0
    waiting: Mapping[str, float] = {}

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

    def _none(self, name: str) -> Collecting | None:
        """Return what stands for no base: COLLECTING, or None when that has gone on for too long to be a beginning."""
        waited = self.time - self.waiting.get(name, self.time)
        return None if waited > PATIENCE * max(self.span, LEAST) else COLLECTING

    def rate(self, name: str) -> float | Collecting | None:
        """Return a counter's increase per second over about one span.

        COLLECTING at first; None, which is "not measured", when it was reset before each comparison for three spans.
        """
        base = self._base(name)
        if base is None:
            return self._none(name)
        return (self.now.values[name] - base.values[name]) / (self.now.at - base.at)

    def rise(self, name: str) -> float | Collecting | None:
        """Return a counter's increase since about one span ago; COLLECTING and None as `rate` does."""
        base = self._base(name)
        return self._none(name) if base is None else self.now.values[name] - base.values[name]

    def share(self, part: str, whole: str) -> float | Collecting | None:
        """Return how much of one counter's rise is another's, in percent; 0 when neither moved; else as `rate` does."""
        bases = [self._base(part), self._base(whole)]
        for name, base in zip((part, whole), bases):
            if base is None:
                return self._none(name)
        # From one moment for both, the later: else a reset of one alone makes any number.
        base = max((base for base in bases if base is not None), key=lambda sample: sample.at)
        rises = [self.now.values[name] - base.values[name] for name in (part, whole)]
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
        kept: list[Any] = [[sample.boot, round(sample.at, 3), dict(sample.values)] for sample in ring]
        waiting = {name: self.waiting.get(name, self.time) for name in self.now.values if self._base(name) is None}
        return [*kept, {"waiting": waiting}] if waiting else kept


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
    before = run.before if before is None else before
    last = before[-1] if isinstance(before, list) and before else None
    waiting = last.get("waiting") if isinstance(last, dict) else None
    if not isinstance(waiting, dict) or not all(isinstance(since, (int, float)) for since in waiting.values()):
        waiting = {}
    return History(now, tuple(_usable(now, before, span)), span, run.clock.time(), waiting)


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
