# SPDX-License-Identifier: Apache-2.0
"""nagiosplugin's nouns, with its faults corrected in this one place.

range     an empty one alerted on negative values, junk like `1_0` passed, the number 0 meant no limit
printing  floats printed as 1e-05, an infinite end printed as such

Its Results (UNKNOWN outranked CRITICAL), Summary (only the first problem reached line 1), Check and Runtime (perfdata sorted,
and moved when verbose; argparse's exit 2) are not used: order, words and exit are the frame's (verdict.py, door.py).
"""

from __future__ import annotations

import re
from typing import Any

import nagiosplugin
from nagiosplugin.state import ServiceState

from nephoscope.plugin.text import human, label, number

STATES: tuple[ServiceState, ...] = (nagiosplugin.Ok, nagiosplugin.Warn, nagiosplugin.Critical, nagiosplugin.Unknown)

_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_RANGE = re.compile(rf"(@)?(?:(~|-?(?:{_NUMBER}))?:)?(-?(?:{_NUMBER}))?")


class Range(nagiosplugin.Range):  # type: ignore[misc]
    """A threshold range, `[@][start:]end`, bounds inclusive; one that is not given matches everything.

    Source: the monitoring plugins' developer guidelines, "Threshold and Ranges".
    """

    given: bool

    def __new__(cls, spec: str | None) -> Range:
        """Parse strictly; raises ValueError with the spelling that was probably meant."""
        if spec is None or not spec.strip():
            made: Range = tuple.__new__(cls, (False, float("-inf"), float("inf")))
            made.given = False
            return made
        text = spec.strip()
        match = _RANGE.fullmatch(text)
        if not match or (match[2] is None and match[3] is None and text != "~:"):
            raise ValueError(_mend(text))
        start = float("-inf") if match[2] == "~" else float(match[2] or 0)
        end = float(match[3]) if match[3] else float("inf")
        if start > end:
            raise ValueError(_mend(text))
        made = tuple.__new__(cls, (bool(match[1]), start, end))
        made.given = True
        return made

    def __str__(self) -> str:
        """Print it in the shortest form: `80`, never `0:80`, which not every reader takes."""
        if not self.given:
            return ""
        end = "" if self.end == float("inf") else number(self.end)
        if self.start == float("-inf"):
            start = "~:"
        elif self.start == 0 and end:
            start = ""
        else:
            start = f"{number(self.start)}:"
        return f"{'@' if self.invert else ''}{start}{end}"

    def alert(self, value: float) -> str:
        """Return how a value breaks this range ("above", "below", "within"), "" when it does not."""
        if not self.given or self.match(value):
            return ""
        if self.invert:
            return "within"
        return "above" if value > self.end else "below"

    def words(self, how: str, unit: str, name: str) -> str:
        """Return the broken range as a person says it: "above 80 %"."""
        if how == "within":
            if self.start == float("-inf") or self.end == float("inf"):
                return f"within {self}"
            return f"within {number(self.start)} to {number(self.end)}"
        return f"{how} {human(self.end if how == 'above' else self.start, unit, name)}"


def _mend(text: str) -> str:
    """Return the complaint about a range, with the spelling that was probably meant."""
    from nephoscope.plugin.options import duration, size

    said = f"'{text}' is no range"
    if re.fullmatch(rf"-(?:{_NUMBER})", text):
        return f"{said}: did you mean '{text}:' (alert below) or '~:{text}' (alert above)?"
    backwards = re.fullmatch(rf"(@?)(-?(?:{_NUMBER})):(-?(?:{_NUMBER}))", text)
    if backwards:
        return f"{said}, its start is over its end: did you mean '{backwards[1]}{backwards[3]}:{backwards[2]}'?"
    if re.fullmatch(r"@?~?:?~?", text):
        return f"{said}: '~:' never alerts, '10:' alerts below 10, '10' above 10 or below 0"
    if re.fullmatch(rf"@?(-?(?:{_NUMBER}):)~", text):
        return f"{said}: did you mean '{text[:-1]}'?"

    def plain(match: re.Match[str]) -> str:
        word = match[0].replace(",", ".").rstrip("%")
        for convert in (float, size, duration):
            try:
                return number(convert(word))
            except ValueError:
                pass
        return match[0]

    better = re.sub(r"[0-9.,]+[A-Za-z%]*", plain, text)
    match = _RANGE.fullmatch(better)
    if better != text and match and (match[2] or match[3]):
        return f"{said}, it takes plain numbers in base units: did you mean '{better}'?"
    return f"{said}: write [@][start:]end, like '80', '10:' or '@5:10'"


class Performance(nagiosplugin.Performance):  # type: ignore[misc]
    """One perfdata item in the grammar that Icinga 2, Nagios, PNP and nagflux read alike."""

    def __str__(self) -> str:
        fields = [f"{self.label}={number(self.value)}{self.uom}", str(self.warn), str(self.crit)]
        fields += ["" if end == "" or not abs(end) < 1e300 else number(end) for end in (self.min, self.max)]
        return ";".join(fields).rstrip(";")


class Context(nagiosplugin.ScalarContext):  # type: ignore[misc]
    """Evaluates one threshold: critical first, then warning, worded once for every check."""

    def __init__(self, name: str, unit: str, warning: str | None, critical: str | None) -> None:
        super(nagiosplugin.ScalarContext, self).__init__(name)
        self.unit = unit
        self.spoken = (name[:-5] if name.endswith("_rate") else name).replace("_", " ")
        self.warning, self.critical = Range(warning), Range(critical)
        self.overrides: list[tuple[int, str, Range]] = []  # state, glob of objects, range: the last that matches wins
        self.asked: set[str] = set()  # globs for which the operator gave a limit, "" for all objects

    def ranges(self, of: str) -> tuple[Range, Range]:
        """Return the warning and critical range that hold for one object."""
        warning, critical = self.warning, self.critical
        if self.overrides:
            from fnmatch import fnmatchcase

            for state, glob, limit in self.overrides:
                if fnmatchcase(of, glob):
                    if state == 1:
                        warning = limit
                    else:
                        critical = limit
        return warning, critical

    def evaluate(self, metric: nagiosplugin.Metric, resource: Any) -> nagiosplugin.Result:
        """Return the result: its state, and as its hint how the value stands to its limit."""
        warning, critical = self.ranges(metric.resource)
        for state, limit in ((2, critical), (1, warning)):
            how = limit.alert(metric.value)
            if how:
                return nagiosplugin.Result(STATES[state], limit.words(how, self.unit, self.name), metric)
        return nagiosplugin.Result(STATES[0], None, metric)

    def performance(self, metric: nagiosplugin.Metric, resource: Any) -> Performance:
        """Return the perfdata item, with both limits and the ends of what is possible."""
        warning, critical = self.ranges(metric.resource)
        return Performance(
            label(self.name, metric.resource), metric.value, self.unit, warning, critical, metric.min, metric.max
        )
