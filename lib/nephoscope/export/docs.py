# SPDX-License-Identifier: Apache-2.0
"""Documentation: a page for each check, and an index by group."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nephoscope.export import wiki, words
from nephoscope.plugin import Group, Sudo

if TYPE_CHECKING:
    from nephoscope.export.roles import Roles
    from nephoscope.plugin import Check


def render(checks: Sequence[Check], roles: Roles, plugin_dir: str) -> dict[str, str]:
    """Return <check>.md for every check, index.md, and wiki-monitoring.md."""
    words.bound(checks, roles)
    pages = {f"{check.name}.md": _page(check, roles, plugin_dir) for check in checks}
    answers = "\n".join([*_mark(), *wiki.page(checks)]) + "\n"
    return {**pages, "index.md": _index(checks, roles), "wiki-monitoring.md": answers}


def cell(text: str) -> str:
    """Return a text as it can stand in a Markdown table or paragraph."""
    for letter in "\\|<*_`":
        text = text.replace(letter, f"&#{ord(letter)};" if letter in "<|" else "\\" + letter)
    return " ".join(text.split())


def code(text: str) -> str:
    """Return a text as code in a Markdown table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    return [f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *(f"| {' | '.join(row)} |" for row in rows), ""]


def _mark() -> list[str]:
    return [f"<!-- {words.MARK.format('docs')} -->", ""]


def _page(check: Check, roles: Roles, plugin_dir: str) -> str:
    lines = [*_mark(), f"# {check.name}", "", check.question, ""]
    body = (check.doc or "").strip()
    if body.startswith(check.question):
        body = body[len(check.question) :].strip()
    if body:
        lines += [textwrap.dedent(body), ""]
    lines += _limits(check) + _modes(check) + _presets(check)
    lines += ["## Options", ""]
    own = [option for option in check.options if not option.common]
    rows = []
    for option in own:
        flag = option.flag if option.is_flag else f"{option.flag} {option.metavar}"
        note = f" Taken from an `--extra-opts` file or `${option.environment}` only." if option.secret else ""
        rows.append((code(flag), cell(words.describe(check, option)) + note))
    lines += _table(("option", "meaning"), rows) or ["It has none of its own.", ""]
    lines += ["Options that every check has: [index](index.md#options-of-every-check).", ""]
    lines += _rights(check) + _schedulers(check, roles, plugin_dir)
    if check.runbook:
        lines += ["## At 3 a.m.", "", textwrap.dedent(check.runbook).strip(), ""]
    return "\n".join(lines).rstrip() + "\n"


def _limits(check: Check) -> list[str]:
    rows = []
    for threshold in check.thresholds:
        name = code(threshold.name) + (" (bare `-w`, `-c`)" if threshold.main else "")
        ranges = [code(threshold.warning or ""), code(threshold.critical or "")]
        meaning = cell(threshold.help) + (" (the worst is printed)" if threshold.print in ("worst", "top") else "")
        rows.append((name, threshold.unit or "", *ranges, threshold.mode or "", meaning))
    table = _table(("name", "unit", "warning outside", "critical outside", "mode", "what is measured"), rows)
    return ["## Limits", "", *table] if table else []


def _modes(check: Check) -> list[str]:
    table = _table(("mode", "question"), [(code(name), cell(help)) for name, help in check.modes.items()])
    return ["## Modes", "", "All are asked without `--mode`.", "", *table] if table else []


def _presets(check: Check) -> list[str]:
    rows = []
    for name, preset in check.presets.items():
        sets = []
        for key, value in preset.options.items():
            values = ["is given"] if value is True else words.shown(value)
            sets.append(f"--{key.replace('_', '-')} {' '.join(values)}")
        sets += [f"{key} {warning or '-'} / {critical or '-'}" for key, (warning, critical) in preset.limits.items()]
        rows.append((code(name), cell(preset.help), cell("; ".join(sets))))
    table = _table(("preset", "for", "sets"), rows)
    return ["## Presets", "", *table] if table else []


def _rights(check: Check) -> list[str]:
    lines = ["## Rights", ""]
    for need in check.needs:
        if isinstance(need, Sudo):
            lines.append(f"- root for exactly `{' '.join(need.argv)}` (`nephoscope export sudoers`)")
        elif isinstance(need, Group):
            lines.append(f"- membership of group `{need.name}`")
        else:
            lines.append(f"- {cell(need.cure())}")
    if len(lines) == 2:
        lines.append("None on this machine: any user may run it.")
    return [*lines, ""]


def _schedulers(check: Check, roles: Roles, plugin_dir: str) -> list[str]:
    name = words.command(check)
    lines = ["## Schedulers", "", f"Icinga 2: CheckCommand `{name}`, options as custom variables `{name}_<option>`"]
    lines[-1] += f" (`vars.{name}_warning`). Deadline {check.deadline:g} s."
    rows = []
    for role, service in roles.all_services():
        if service.check == check.name:
            runs = " ".join([check.name, *service.argv()])
            rows.append((code(role.name), code(words.PREFIX + service.name), code(runs), f"{service.interval} s"))
    lines += ["", *_table(("role", "service and NRPE command", "runs", "every"), rows)]
    return lines if rows else [*lines, "No role has it.", ""]


def _index(checks: Sequence[Check], roles: Roles) -> str:
    lines = [*_mark(), "# The checks", ""]
    for group in dict.fromkeys(check.group for check in checks):
        lines += [f"## {group}", ""]
        rows = [(f"[{check.name}]({check.name}.md)", cell(check.question)) for check in checks if check.group == group]
        lines += _table(("check", "question"), rows)
    lines += ["What of the Eucalyptus wiki's list they answer: [wiki-monitoring](wiki-monitoring.md).", ""]
    lines += ["## Roles", ""]
    for role in roles.roles:
        services = ", ".join(f"`{service.name}`" for service in role.services) or "nothing of its own yet"
        besides = f", and those of {', '.join(f'`{name}`' for name in role.includes)}" if role.includes else ""
        if role.without:
            besides += f" without {', '.join(f'`{name}`' for name in role.without)}"
        lines.append(f"- **{role.name}**: {role.about}. Services: {services}{besides}.")
    lines += ["", "## Options of every check", ""]
    seen: dict[str, tuple[str, str]] = {}
    for check in checks:
        for option in check.options:
            if option.common and option.flag not in ("--mode", "--preset"):
                flag = option.flag if option.is_flag else f"{option.flag} {option.metavar}"
                names = f"{option.short}, {flag}" if option.short else flag
                seen.setdefault(option.flag, (code(names), cell(option.help)))
    lines += _table(("option", "meaning"), list(seen.values()))
    return "\n".join(lines).rstrip() + "\n"
