# SPDX-License-Identifier: Apache-2.0
"""The words in which a check says what it is and what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nephoscope.base import Collecting

OK, WARNING, CRITICAL, UNKNOWN = range(4)  # the exit codes of the plugin interface
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
RANK = (0, 2, 3, 1)  # by state: CRITICAL > WARNING > UNKNOWN > OK, as the C plugins have it


def worst(states: Iterable[int]) -> int:
    """Return the state that stands for several; OK for none."""
    return max(states, key=RANK.__getitem__, default=OK)


class Metric(NamedTuple):
    """A measured value, to be held against the threshold of its name.

    value        in the threshold's unit; None: not measured; COLLECTING: a rate that has no earlier sample yet
    of           the object it belongs to, "" for the whole
    least, most  the ends of what is possible, for graphs (a file system's size)
    detail       said behind it where it is not OK: what it is made of, for who has nothing but line 1
    """

    name: str
    value: float | Collecting | None
    of: str = ""
    least: float | None = None
    most: float | None = None
    detail: str = ""


class Finding(NamedTuple):
    """A state that no range decides."""

    state: int
    of: str
    text: str


class Threshold:
    """A named limit: one name, one unit, one pair of ranges.

    name     what `-w NAME=RANGE` means and perfdata says; ending in `_rate`: per second
    unit     "" or s, B, %, c
    warning  range in the classic grammar, or None
    critical
    mode     the mode that measures it, None: every mode
    main     bare -w and -c set this one
    print    "each" object a number, or the "worst" only, with the sum of all where they add up; "apart" as each, but none when
             they are too many, and "top" as worst, but no sum: they don't add up, or not all of them are yielded
    late     there is no value on a first run (rates, rises, shares): printed last, so that no other item changes place
    help     what is measured, as a clause
    """

    __slots__ = ("critical", "help", "late", "main", "mode", "name", "print", "unit", "warning")

    def __init__(
        self,
        name: str,
        unit: str = "",
        warning: str | None = None,
        critical: str | None = None,
        *,
        mode: str | None = None,
        main: bool = False,
        print: str = "each",
        late: bool = False,
        help: str = "",
    ) -> None:
        self.name, self.unit, self.warning, self.critical = name, unit, warning, critical
        self.mode, self.main, self.print, self.help = mode, main, print, help
        self.late = late or name.endswith("_rate")


class Preset:
    """Limits and option values that belong together; what the operator gives outranks them."""

    __slots__ = ("help", "limits", "options")

    def __init__(
        self,
        help: str,
        *,
        limits: Mapping[str, tuple[str | None, str | None]] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.help, self.limits, self.options = help, limits or {}, options or {}


class Sudo:
    """The right to run one command line, exactly, as root."""

    __slots__ = ("argv",)

    def __init__(self, *argv: str) -> None:
        self.argv = argv

    def cure(self) -> str:
        """Return what to tell who lacks it."""
        return f"a sudoers line for `{' '.join(self.argv)}` (nephoscope export sudoers)"


class Group:
    """The right that comes with membership of a group."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def cure(self) -> str:
        """Return what to tell who lacks it."""
        return f"membership of group {self.name} (usermod -aG {self.name} nagios)"


class Grant:
    """A right that the target gives: a database grant, an API role."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def cure(self) -> str:
        """Return what to tell who lacks it."""
        return self.text
