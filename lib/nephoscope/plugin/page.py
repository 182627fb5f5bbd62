# SPDX-License-Identifier: Apache-2.0
"""The page about a check, for --help and `nephoscope explain`, and what --explain adds to a run."""

from __future__ import annotations

import textwrap
from typing import Any

from nephoscope import __version__

WIDTH = 100

STATES = """\
0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; together CRITICAL > WARNING > UNKNOWN > OK. What could not be looked at is UNKNOWN;
a target that refuses or is silent is CRITICAL (--unreachable-state); nothing of the kind here UNKNOWN (--absent-state)."""

RANGES = """\
A range is [@][start:]end in base units, both ends inside: 80 alerts above 80 and below 0, 10: below 10, ~:10 above 10,
5:10 outside, @5:10 inside, ~: never. -w NAME=RANGE sets a named limit, -w NAME/GLOB=RANGE that of matching objects."""


def text(check: Any) -> str:
    """Return the whole page as plain text."""
    out = [check.question, ""]
    if check.doc:
        out += [
            _fill(paragraph) if not paragraph.startswith((" ", "*", "-")) else paragraph
            for paragraph in _parts(check.doc)
        ]
    out += [f"usage: {check.name} [options]", ""]
    own = [option for option in check.options if not option.common]
    out += _options("options of this check:", own) if own else []
    out += _options("options of every check:", [option for option in check.options if option.common])
    if check.thresholds:
        out += ["limits:"]
        for threshold in check.thresholds:
            name = f"  {threshold.name}" + (f" [{threshold.unit}]" if threshold.unit else "")
            marks = " (set by bare -w and -c)" if threshold.main else ""
            mode = f" (mode {threshold.mode})" if threshold.mode else ""
            limits = f"-w {threshold.warning or 'none'} -c {threshold.critical or 'none'}"
            out += _item(name, f"{threshold.help or threshold.name.replace('_', ' ')}{mode}{marks}: {limits}")
        out += ["", *RANGES.splitlines(), ""]
    rights = [need.cure() for need in check.needs]
    out += ["rights: " + ("; ".join(rights) if rights else "none"), "runs: " + ", ".join(check.where), ""]
    if check.runbook:
        out += ["what to do:", *("  " + line for line in textwrap.dedent(check.runbook).splitlines()), ""]
    out += [*STATES.splitlines(), "", f"nephoscope {__version__}, Apache-2.0"]
    return "\n".join(out)


def explanation(check: Any, options: Any) -> list[str]:
    """Return the lines that --explain adds: the question, how it is looked at and with which rights, what to do next."""
    lines = [f"question: {check.question}"]
    lines += [f"about: {line}" for line in check.doc.splitlines() if line.strip()]
    if check.modes:
        lines.append("modes: " + "; ".join(f"{name}: {check.modes[name]}" for name in options.mode))
    rights = [need.cure() for need in check.needs]
    lines.append("rights: " + ("; ".join(rights) if rights else "none on this machine"))
    lines += [f"what to do: {line}" for line in textwrap.dedent(check.runbook).splitlines() if line.strip()]
    # A pipe below line 1 would be read as perfdata.
    return [line.replace("|", "¦") for line in lines]


def _parts(doc: str) -> list[str]:
    return [part + "\n" for part in textwrap.dedent(doc).split("\n\n")]


def _fill(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), WIDTH) + "\n"


def _options(title: str, options: list[Any]) -> list[str]:
    out = [title]
    for option in options:
        flag = f"  {option.short}, {option.flag}" if option.short else f"  {option.flag}"
        if option.metavar:
            flag = f"{flag} {option.metavar}"
        about = option.help
        if option.repeat:
            about += "; repeatable"
        if option.secret:
            about += f"; from --extra-opts or ${option.environment} only"
        elif not option.common and option.default not in (None, (), False, ""):
            defaults = option.default if isinstance(option.default, tuple) else (option.default,)
            shown = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in defaults)
            about += f" (default: {shown})"
        out += _item(flag, about)
    return [*out, ""]


def _item(head: str, about: str) -> list[str]:
    lines = textwrap.wrap(about, WIDTH - 30) or [""]
    first = f"{head:<28}  {lines[0]}" if len(head) <= 28 else ""
    rest = lines[1:] if first else lines
    return ([first] if first else [head]) + [" " * 30 + line for line in rest]
