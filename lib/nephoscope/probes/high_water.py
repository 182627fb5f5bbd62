# SPDX-License-Identifier: Apache-2.0
"""What was there before, remembered for a while: what is gone or fewer now is missed, until it is forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def mark(before: Any, name: str, value: float, now: float, remember: float) -> list[float]:
    """Return the most that was seen, and when it last was (seconds since 1970): plain JSON, to be kept by name.

    before    what was kept last time: name -> such a list; anything else is as nothing
    remember  seconds after which a larger number counts no more
    """
    old = before.get(name) if isinstance(before, dict) else None
    try:
        most, at = map(float, old or ())
    except (TypeError, ValueError):
        return [value, now]
    return [value, now] if value >= most or not 0 <= now - at <= remember else [most, at]


def seen(before: Any, present: Iterable[str], now: float, remember: float) -> dict[str, float]:
    """Return when each name was last seen: those of now, and those of before that are not older than `remember` seconds.

    before  what this function returned last time (None at first); what is no such thing in it is dropped
    """
    last = {
        str(name): float(at)
        for name, at in (before.items() if isinstance(before, dict) else ())
        if isinstance(at, (int, float)) and now - remember < at <= now
    }
    last.update(dict.fromkeys(present, now))
    return last
