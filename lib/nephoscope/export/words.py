# SPDX-License-Identifier: Apache-2.0
"""What all exports say in the same way: names, marks, descriptions."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nephoscope.export.roles import BadRoles, Roles, Service

if TYPE_CHECKING:
    from nephoscope.plugin import Check
    from nephoscope.plugin.options import Option

PREFIX = "nephoscope_"
MARK = "Written by `nephoscope export {}`: change roles.toml or the check, not this file."
# What a scheduler has no use for: pages, other formats, and permission to a hand run to write.
_NOT_EXPORTED = ("--help", "--version", "--verbose", "--format", "--save")


def command(check: Check) -> str:
    """Return the name of the check in other people's space."""
    return PREFIX + check.thing


def variable(check: Check, option: Option) -> str:
    """Return the custom variable that carries the option."""
    return f"{PREFIX}{check.thing}_{option.dest}"


def exported(check: Check) -> list[Option]:
    """Return the options that a scheduler may set; verbosity, which counts, is not among them."""
    return [option for option in check.options if option.flag not in _NOT_EXPORTED]


def describe(check: Check, option: Option) -> str:
    """Return the option's help on one line, with its choices and its default."""
    text = " ".join((option.help or "").split())
    notes = []
    if option.flag in ("--warning", "--critical"):
        notes.append(limits(check, option.flag == "--warning"))
    elif option.choices and option.flag not in ("--mode", "--preset"):  # the help of these names them
        notes.append(f"one of {', '.join(option.choices)}")
    if not option.common:
        default = ", ".join(shown(option.default))
        if default and "default" not in text:
            notes.append(f"default {default}")
    if option.required:
        notes.append("required")
    if option.repeat:
        notes.append("may be a list")
    notes = [note for note in notes if note]
    return text + (f" ({'; '.join(notes)})" if notes else "")


def shown(value: Any) -> list[str]:
    """Return an option's value, as it would be written, in a list with one text for each of several."""
    if value in (None, "", False):
        return []
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
        return [value[0] if value[1] == 1 else f"{value[0]}={value[1]}"]  # NAME=N
    if isinstance(value, (tuple, list)):
        return [text for item in value for text in shown(item)]
    return [f"{value:g}" if isinstance(value, float) else str(value)]


def limits(check: Check, warning: bool) -> str:
    """Return the default ranges of one severity, "name 80, other 10:"."""
    ranges = ((threshold.name, threshold.warning if warning else threshold.critical) for threshold in check.thresholds)
    return ", ".join(f"{name} {given}" for name, given in ranges if given is not None)


def seconds(check: Check, service: Service | None = None) -> float:
    """Return the deadline of a run, as the service sets it or the check has it."""
    for name, value in service.options if service else ():
        if name == "timeout" and isinstance(value, str):
            from nephoscope.plugin import duration

            return duration(value.partition(":")[0])
    return float(check.deadline)


def on_node(check: Check) -> bool:
    """Say whether the check looks at the machine on which it runs."""
    return "node" in check.where


def at_node(check: Check, service: Service) -> bool:
    """Say whether the service runs on the machine that it is about: by an agent or NRPE."""
    return on_node(check) and not service.remote


def from_afar(check: Check) -> bool:
    """Say whether the check asks the address of the host it is given to, and can do nothing else.

    A check that runs on a node and may also be asked of another one gets that one's name by an option of its service.
    """
    return not on_node(check) and any(option.dest == "hostname" for option in check.options)


def bound(checks: Iterable[Check], roles: Roles) -> dict[str, Check]:
    """Return the checks by name. Raises BadRoles when the roles ask for what the checks do not have."""
    checks = list(checks)
    faults = roles.faults(checks)
    if faults:
        raise BadRoles("; ".join(faults))
    return {check.name: check for check in checks}


def line(plugin_dir: str, check: Check, service: Service) -> str:
    """Return the service's command line, quoted for a shell."""
    return shlex.join([f"{plugin_dir}/{check.name}", *service.argv()])
