# SPDX-License-Identifier: Apache-2.0
"""The run-time properties of a Eucalyptus cloud, and the baseline that they are held against.

Sources: PropertiesManager.java (DescribeProperties; a hidden value is shown as ********), properties-binding.xml of 5.x, and
euca2ools' euctl, which prints `NAME = VALUE` and `{}` for a value that is not set. One DescribeProperties gives all: its
own filter is by prefix, and a baseline may name a few of many.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, files
from nephoscope.probes import euca_topology

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.probes import euca_api

HIDDEN = "********"
SIZE = 16 << 20  # bytes of a baseline
SHOWN = 60  # characters of a value that are told
SECRET_NAME = re.compile(
    r"pass(?:word|phrase|wd)?|secret|credential|token|private|(?:access|api|auth|ssh)_?key|chap", re.I
)
SECRET_VALUE = re.compile(
    r"-----BEGIN|://[^/\s:@]*:[^/\s@]+@|\b(?:AKI|ASI)[A-Z0-9]{12,}\b|(?i:passw|secret)"
    r"|(?<![A-Za-z0-9+/=_-])(?=[A-Za-z0-9+/=_-]*\d)(?=[A-Za-z0-9+/=_-]*[a-z])(?=[A-Za-z0-9+/=_-]*[A-Z])[A-Za-z0-9+/=_-]{32,}"
    r"|\b[0-9a-f]{32,}\b"
)


class Property(NamedTuple):
    """One property of the baseline, and what the cloud says of it.

    recorded  the value in the baseline; None: not in it (a new one)
    value     the value in the cloud, "" when it is not set; None: there is none of this name
    """

    name: str
    recorded: str | None
    value: str | None

    @property
    def hidden(self) -> bool:
        """Whether one of both values is not shown to us: then nothing can be compared."""
        return HIDDEN in (self.recorded, self.value)

    @property
    def changed(self) -> bool:
        """Whether both are known and not the same."""
        return None not in (self.recorded, self.value) and not self.hidden and self.recorded != self.value

    @property
    def text(self) -> str:
        """The change in words, without what looks like a secret."""
        old, new = shown(self.name, self.recorded or ""), shown(self.name, self.value or "")
        if old == new:  # both withheld, or alike as far as they are told
            return "is another than the recorded one"
        return f"is {new}, recorded {old}"


class Properties(NamedTuple):
    """The properties that were compared, by name, and how many the cloud has that are not recorded and were not asked for."""

    compared: tuple[Property, ...] = ()
    others: int = 0

    @property
    def absent(self) -> int:
        """How many are recorded and not there."""
        return sum(each.value is None for each in self.compared)

    @property
    def changed(self) -> int:
        """How many have another value than the recorded one."""
        return sum(each.changed for each in self.compared)

    @property
    def same(self) -> int:
        """How many have the recorded value."""
        return sum(each.recorded == each.value and not each.hidden for each in self.compared)

    @property
    def hidden(self) -> int:
        """How many could not be compared."""
        return sum(each.hidden for each in self.compared)

    @property
    def unknown(self) -> int:
        """How many are there and not recorded."""
        return sum(each.recorded is None for each in self.compared)


def look(run: Run, options: Any) -> Properties:
    """Return what the cloud has, beside what was recorded. One request.

    options  of the check: baseline, all, and those of euca_api.access
    Raises Failed; not-allowed, too, when no property at all is shown.
    """
    from nephoscope.probes import euca_api

    recorded = baseline(run, options.baseline)
    access = euca_api.access(options, run)
    current = {name: normal(value) for name, value in described(run, access).items()}
    names = {*recorded, *current} if options.all else set(recorded)
    wanted = [name for name in sorted(names) if run.wants(name)]
    compared = tuple(Property(name, recorded.get(name), current.get(name)) for name in wanted)
    return Properties(compared, len(current.keys() - names))


def described(run: Run, access: euca_api.Access, prefix: str = "") -> dict[str, str]:
    """Return name -> value of the properties whose names begin so. One request.

    Raises Failed; not-allowed, too, when none at all is shown: who lacks the right sees an empty list.
    """
    from nephoscope.probes import euca_api

    action = "DescribeProperties"
    found: dict[str, str] = {}
    root = euca_api.ask(run, access, "properties", action, {"Property.1": prefix} if prefix else {})
    for item in root.iterfind("properties/item"):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise Failed(UNREADABLE, "", action, "an entry of the list has no name")
        if name.startswith(prefix):
            found[name] = item.findtext("value") or ""
    if not found:
        error = f"no property {prefix + '… ' if prefix else ''}is shown"
        raise Failed(NOT_ALLOWED, "", action, error, euca_api.right(f"euprop:{action}"))
    return found


def baseline(run: Run, path: str) -> dict[str, str]:
    """Return what a file records, name -> value. Raises Failed: not-allowed, or unreadable, which a missing file is, too."""
    try:
        content = files.text(run, path, of="baseline", limit=SIZE)
        return parse(content)
    except ValueError as error:
        raise Failed(UNREADABLE, "baseline", f"read {path}", str(error)) from None
    except Failed as failed:
        # A baseline that is gone is a hole, not "nothing of the kind here".
        kind, cure = (
            (UNREADABLE, f"record one: euctl > {path}")
            if failed.kind == ABSENT
            else (failed.kind, euca_topology.READABLE)
        )
        raise Failed(kind, failed.of, failed.tried, failed.error, cure) from None


def parse(content: str) -> dict[str, str]:
    """Return name -> value of a baseline: a JSON object of strings, or the lines `NAME = VALUE` of euctl.

    A value of several lines goes on until the next line that begins with a name and " = ". Lines before the first that are
    empty or begin with # are passed over. Raises ValueError.
    """
    if content.lstrip().startswith("{"):
        return _json(content)
    found: dict[str, str] = {}
    name = ""
    for number, line in enumerate(content.splitlines(), 1):
        match = re.match(r"([A-Za-z0-9][\w.\-]*\.[\w.\-]+) = ?(.*)$", line)
        if match:
            name = match[1]
            if name in found:
                raise ValueError(f"line {number}: {name} is recorded twice")
            found[name] = match[2]
        elif name and line.strip():
            found[name] += "\n" + line
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"line {number} is not NAME = VALUE, as euctl prints it")
    if not found:
        raise ValueError("it records no property")
    return {name: normal(value) for name, value in found.items()}


def _json(content: str) -> dict[str, str]:
    import json

    def once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            raise ValueError("a property is recorded twice")
        return table

    try:
        table = json.loads(content, object_pairs_hook=once, parse_float=str)  # 1.50 is not 1.5
    except RecursionError:
        raise ValueError("nested too deeply") from None
    found = {}
    for name, value in table.items():
        if isinstance(value, bool):
            value = str(value).lower()
        if not (value is None or isinstance(value, (str, int, float))):
            raise ValueError(f"the value of {name[:60]} is no string")
        found[str(name)] = normal("" if value is None else str(value))
    if not found:
        raise ValueError("it records no property")
    return found


def normal(value: str) -> str:
    """Return a value as it is compared: without empty lines and space at ends; `{}`, which euctl prints for none, is ""."""
    value = "\n".join(line.rstrip() for line in value.strip().splitlines() if line.strip())
    return "" if value == "{}" else value


def shown(name: str, value: str) -> str:
    """Return a value as it may be told: cut, on one line, and not at all where name or value look like a secret."""
    if not value:
        return "not set"
    if SECRET_NAME.search(name) or SECRET_VALUE.search(value):
        return "(not shown)"
    line = " ".join(value.split())
    return f"'{line}'" if len(line) <= SHOWN else f"'{line[:SHOWN]}…' ({len(value)} characters)"
