# SPDX-License-Identifier: Apache-2.0
"""The most of something that was there at once, remembered for a while: what is fewer now is missed, until it is forgotten."""

from __future__ import annotations

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
