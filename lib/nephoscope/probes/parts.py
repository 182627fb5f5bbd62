# SPDX-License-Identifier: Apache-2.0
"""What every source of hardware health says in the same words: a part, how it is, and its reading with its own limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

HEALTH = ("ok", "degraded", "failed", "absent", "unknown", "")
"""ok, degraded (warning), failed (critical), absent (no reading, empty slot), unknown (a word that is not understood),
"" (the source gives no opinion)."""

QUANTITIES = {
    "C": "temp_celsius", "RPM": "fan_rpm", "%": "fan_percent", "W": "power_watts", "V": "volts", "life%": "media_life",
}  # fmt: skip
"""Units of readings that are told as numbers, and the names of these."""


class Part(NamedTuple):
    """A sensor or a replaceable part, as one source sees it.

    source         "hwmon", "ipmi" or "redfish"
    name           unique within its source
    kind           temperature, fan, voltage, current, power, or what the source calls it
    health         one of HEALTH
    text           the source's own words for it
    value, unit    the reading: C, RPM, V, A, W, % (of a fan), life% (what is left of a flash drive); None: no reading
    low_critical … high_critical   the part's own limits, in the unit of the reading; None: it has none
    """

    source: str
    name: str
    kind: str
    health: str
    text: str = ""
    value: float | None = None
    unit: str = ""
    low_critical: float | None = None
    low_warning: float | None = None
    high_warning: float | None = None
    high_critical: float | None = None

    @property
    def of(self) -> str:
        """The name under which the part is reported."""
        return f"{self.source} {self.name}"

    @property
    def quantity(self) -> str:
        """What the reading is, one of QUANTITIES; "" when there is none, or none that is told."""
        return QUANTITIES.get(self.unit, "") if self.value is not None else ""

    def beyond(self) -> tuple[str, str]:
        """Return "failed" or "degraded", and why, where the reading has reached one of the part's own limits; else two "".

        At a limit is beyond it, as IPMI has it (2.0, 35.14). Limits that contradict each other are none.
        """
        low, high = self.low_critical, self.high_critical
        if self.value is None or (low is not None and high is not None and high <= low):
            return "", ""
        pairs = (("failed", low, high), ("degraded", self.low_warning, self.high_warning))
        for health, lower, upper in pairs:
            if upper is not None and self.value >= upper:
                return health, f"{self.value:g} {self.unit} has reached its own upper limit {upper:g}"
            if lower is not None and self.value <= lower:
                return health, f"{self.value:g} {self.unit} has reached its own lower limit {lower:g}"
        return "", ""


def distinct(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with a number behind names that occur again (Dell calls several sensors "Temp")."""
    seen: dict[str, int] = {}
    out = []
    for part in parts:
        number = seen[part.name] = seen.get(part.name, 0) + 1
        out.append(part if number == 1 else part._replace(name=f"{part.name} #{number}"))
    return out
