# SPDX-License-Identifier: Apache-2.0
"""A verdict as text: the plugin language, JSON, OpenMetrics."""

from __future__ import annotations

from typing import Any

from nephoscope.plugin.model import WORDS
from nephoscope.plugin.text import clean, cut
from nephoscope.plugin.verdict import LINE_MAX, OUTPUT_MAX, Verdict, long_lines


def nagios(title: str, verdict: Verdict, verbose: int, below: list[str]) -> str:
    """Return line 1 with all perfdata, then the lines below, within 60 KiB."""
    line = f"{title} {WORDS[verdict.state]} - {verdict.reason}"
    perfdata = " ".join(str(item) for item in verdict.perfdata)
    if perfdata:
        line = f"{line} | {perfdata}"
    assert len(line.encode()) <= LINE_MAX, "line 1 is bounded where it is made"  # noqa: S101
    lines = [line]
    room = OUTPUT_MAX - len(line.encode()) - 200
    rest = [*long_lines(verdict, verbose), *below]
    for number, text in enumerate(rest):
        room -= len(text.encode("utf-8", "replace")) + 1
        if room < 0:
            lines.append(f"… and {len(rest) - number} more lines")
            break
        lines.append(text)
    return "\n".join(lines)


def document(title: str, verdict: Verdict, below: list[str]) -> dict[str, Any]:
    """Return a verdict as plain data: what `--format json` prints and what `nephoscope run` passes on."""
    return {
        "name": title,
        "state": WORDS[verdict.state],
        "exit": verdict.state,
        "reason": verdict.reason,
        "absent": verdict.absent,
        "items": [{"state": WORDS[item.state], "of": item.of, "text": item.text} for item in verdict.items],
        "metrics": [
            {
                "label": item.label,
                "name": verdict.objects[item.label][0],
                "of": verdict.objects[item.label][1],
                "value": item.value,
                "unit": item.uom,
                "warning": str(item.warn),
                "critical": str(item.crit),
            }
            for item in verdict.perfdata
        ],
        "notes": verdict.notes,
        "explanation": below,
    }


def as_json(title: str, verdict: Verdict, below: list[str]) -> str:
    """Return the document as JSON, its lists cut until it fits into 60 KiB; what was cut is said in `cut`."""
    import json

    made = document(title, verdict, below)
    cut: dict[str, int] = {}
    while True:
        text = json.dumps({**made, "cut": cut} if cut else made)
        if len(text) <= OUTPUT_MAX:
            return text
        longest = max(("items", "metrics", "notes", "explanation"), key=lambda key: len(json.dumps(made[key])))
        drop = len(made[longest]) // 2 + 1
        cut[longest] = cut.get(longest, 0) + drop
        made[longest] = made[longest][: len(made[longest]) - drop]


def openmetrics(title: str, verdict: Verdict) -> str:
    """Return the values in the text format of OpenMetrics 1.0, every name prefixed, the state beside them."""
    thing = title.lower()
    lines = state_lines(thing, verdict.state, verdict.reason)
    families: dict[str, list[str]] = {}
    for item in verdict.perfdata:
        name, of = verdict.objects[item.label]
        kind = "unknown" if item.uom == "c" else "gauge"
        unit = {"s": "_seconds", "B": "_bytes", "%": "_percent"}.get(item.uom, "")
        metric = f"nephoscope_{thing}_{name}".replace("-", "_") + unit
        family = families.setdefault(metric, [f"# TYPE {metric} {kind}"])
        family.append(
            f'{metric}{{of="{_escape(cut(of, 200))}"}} {str(item).partition("=")[2].partition(";")[0].rstrip("sBc%")}'
        )
    for family in families.values():
        lines += family
    return "\n".join([*lines, "# EOF"])


def state_lines(thing: str, state: int, reason: str) -> list[str]:
    """Return the state as a sample; its reason in the help, as a label would make a new series of every run."""
    return [
        "# TYPE nephoscope_check_state gauge",
        f"# HELP nephoscope_check_state 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN: {_escape(reason)}",
        f'nephoscope_check_state{{check="{thing}"}} {state}',
    ]


def _escape(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')
