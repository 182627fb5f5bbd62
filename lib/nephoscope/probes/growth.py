# SPDX-License-Identifier: Apache-2.0
"""How fast something grows, out of samples [seconds since 1970, value] that runs keep for each other, and when it is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nephoscope.base import COLLECTING
from nephoscope.base.run import Collecting

SAMPLES = 28  # kept of each thing, over one span
YEAR = 31_536_000.0  # seconds


def kept(before: Any, now: float, span: float) -> list[list[float]]:
    """Return the kept samples, [seconds since 1970, bytes], of the span; what is damaged counts as none."""
    found = []
    for entry in before if isinstance(before, list) else ():
        try:
            at, value = entry
            found.append([float(at), float(value)])
        except (TypeError, ValueError):
            continue
    return sorted(sample for sample in found if now - span * 1.1 <= sample[0] < now)


def added(before: Any, now: float, size: float, span: float) -> list[list[float]]:
    """Return the samples with that of now, thinned to SAMPLES at even distances."""
    samples = kept(before, now, span)
    # The last one gives way while it is too near to the one before it: what stays is spread over the span.
    if len(samples) > 1 and samples[-1][0] - samples[-2][0] < span / SAMPLES:
        samples.pop()
    return [*samples[-SAMPLES - 2 :], [now, float(size)]]


def slope(samples: Sequence[Sequence[float]], span: float) -> float | Collecting:
    """Return the growth per second of samples (seconds, value), oldest first: over the whole span or over its newer half,
    whichever is smaller, so that what has ended soon counts no more. COLLECTING until they cover half the span.
    """
    if len(samples) < 3 or samples[-1][0] - samples[0][0] < span / 2:
        return COLLECTING
    newer = [sample for sample in samples if samples[-1][0] - sample[0] <= span / 2]
    return min(_usual_slope(samples), _usual_slope(newer if len(newer) > 2 else samples))


def _usual_slope(samples: Sequence[Sequence[float]]) -> float:
    """Return a slope that a single step, however high, does not move: an upgrade or a download is no growth that goes on.

    Of the slopes between any two samples it has two fifths below it. (The median is Theil's and Sen's estimate; a step
    in the middle lies between n/(2n-2) of all pairs, which is more than half of them, and from n = 5 on at most 3/5.)
    """
    slopes = sorted(
        (value - earlier) / (at - before)
        for number, (at, value) in enumerate(samples)
        for before, earlier in samples[:number]
        if at > before
    )
    return slopes[(len(slopes) - 1) * 2 // 5]


def full_in(free: float, growth: float | Collecting) -> float | Collecting:
    """Return the seconds in which growth (bytes per second) uses up what is free, at most a year."""
    if isinstance(growth, Collecting):
        return growth
    return min(YEAR, free / growth) if growth > 0 else YEAR
