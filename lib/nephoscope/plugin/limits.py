# SPDX-License-Identifier: Apache-2.0
"""Which limits hold in a run: the check's own, those of presets, those given by -w and -c."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nephoscope.plugin.model import Preset, Threshold
from nephoscope.plugin.nagios import Context, Range
from nephoscope.plugin.options import BadOption


def contexts(thresholds: Sequence[Threshold], presets: Mapping[str, Preset], options: Any) -> dict[str, Context]:
    """Return the contexts by name, in declared order. Raises BadOption for a limit that is junk or meant for nothing."""
    active = [t for t in thresholds if t.mode is None or t.mode in options.mode]
    made: dict[str, Context] = {}
    for threshold in active:
        warning, critical = threshold.warning, threshold.critical
        for name in options.preset:
            if threshold.name in presets[name].limits:
                warning, critical = presets[name].limits[threshold.name]
        made[threshold.name] = Context(threshold.name, threshold.unit, warning, critical)
    for option, state, specs in (("-w", 1, options.warning), ("-c", 2, options.critical)):
        for spec in specs:
            target, equals, text = spec.rpartition("=")
            name, _, glob = target.partition("/")
            if not equals:
                name = _main(option, active)
            if name not in made:
                raise BadOption(_nothing(option, name, thresholds))
            try:
                limit = Range(text)
            except ValueError as error:
                raise BadOption(f"option {option}: {error}") from None
            if not limit.given:
                continue
            made[name].asked.add(glob)
            if glob:
                made[name].overrides.append((state, glob, limit))
            elif state == 1:
                made[name].warning = limit
            else:
                made[name].critical = limit
    return made


def _main(option: str, active: Sequence[Threshold]) -> str:
    """Return the name of the threshold that a bare limit sets."""
    names = [threshold.name for threshold in active if threshold.main]
    if len(names) == 1:
        return names[0]
    known = ", ".join(threshold.name for threshold in active) or "none"
    which = f"any of {', '.join(names)}" if names else "nothing by itself"
    raise BadOption(f"option {option}: a bare range could mean {which}: write {option} NAME=RANGE (names: {known})")


def _nothing(option: str, name: str, thresholds: Sequence[Threshold]) -> str:
    for threshold in thresholds:
        if threshold.name == name:
            return f"option {option}: '{name}' is a limit of mode {threshold.mode}, which was not asked for"
    import difflib

    names = [threshold.name for threshold in thresholds]
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"names: {', '.join(names) or 'none'}"
    return f"option {option}: no limit is named '{name}': {hint}"
