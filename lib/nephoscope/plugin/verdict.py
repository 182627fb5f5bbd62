# SPDX-License-Identifier: Apache-2.0
"""From what a judge yields to a state, a first line, perfdata and the lines below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import nagiosplugin

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, Collecting, Failed
from nephoscope.plugin.model import OK, RANK, UNKNOWN, WORDS, Finding, Metric, Threshold, worst
from nephoscope.plugin.nagios import Context, Performance
from nephoscope.plugin.text import LABEL_MAX, clean, cut, human, number, shorten

REASON_MAX = 240  # bytes of the text on line 1
LINE_MAX = 4096  # bytes of line 1
OUTPUT_MAX = 60 * 1024  # bytes of everything: NRPE 3 and 4 carry 64 KiB
PERFDATA_MAX = 100  # items
LINES_MAX = 40  # below line 1, unless -v
VALUE_MAX = 16  # bytes reckoned for a value: a size in bytes, a share with its decimals


class Item:
    """One thing that was found, with its state and the words for it."""

    __slots__ = ("collecting", "leads", "of", "result", "state", "text")

    def __init__(
        self, state: int, of: str, text: str, *, result: Any = None, leads: bool = False, collecting: bool = False
    ) -> None:
        self.state, self.of, self.text = state, of, text
        self.result, self.leads, self.collecting = result, leads, collecting


class Verdict:
    """What a run came to, before it is printed in one format or another."""

    def __init__(self) -> None:
        self.state = UNKNOWN
        self.reason = ""
        self.items: list[Item] = []
        self.perfdata: list[Performance] = []
        self.notes: list[str] = []  # said below line 1, whatever the state
        self.softened = ""  # why the state is another than that of the items
        self.absent = False
        self.objects: dict[str, tuple[str, str]] = {}  # perfdata label -> threshold name, object

    def soften(self, why: str, state: int) -> None:
        """Give the verdict another state than its items have, and say why on line 1."""
        self.softened = f"{why} {self.softened}".strip()
        self.state, self.reason = state, cut(f"{why} {self.reason}", REASON_MAX)


def evaluate(
    found: Iterable[Any],
    contexts: Mapping[str, Context],
    thresholds: Sequence[Threshold],
    options: Any,
    needs: Sequence[Any],
    run: Any,
    scrub: Callable[[str], str] = str,
) -> Verdict:
    """Return the verdict over everything that the judge yields; `scrub` takes secrets out of text from outside.

    Raises TypeError and KeyError where the judge breaks its contract: a bug, told as one.
    """
    verdict = Verdict()
    asleep = {threshold.name for threshold in thresholds} - set(contexts)  # of modes that were not asked for
    found = [_scrubbed(thing, scrub) for thing in found if not (isinstance(thing, Metric) and thing.name in asleep)]
    excused = {thing.of for thing in found if isinstance(thing, Failed)}
    seen = bool(found)
    # Something that filters choose from, or a failure to look at all; what is measured of the whole is enough for --exclude.
    kept = False
    for thing in found:
        if thing.of and not run.wants(thing.of):
            continue
        kept = (
            kept or bool(thing.of) or isinstance(thing, Failed) or (isinstance(thing, Metric) and not options.include)
        )
        if isinstance(thing, Failed):
            verdict.items.append(_failed(thing, options, needs))
        elif isinstance(thing, Finding):
            leads = not thing.of and thing.state == OK
            verdict.items.append(Item(thing.state, thing.of, _of(thing.of, thing.text), leads=leads))
        else:
            item = _metric(thing, contexts, excused)
            if item:
                verdict.items.append(item)
    if run.left_out:
        names = sorted(run.left_out)
        verdict.notes.append(f"left out by --include/--exclude: {len(names)} ({cut(', '.join(names), 200)})")
    if (run.left_out or options.include) and not kept:
        text = f"nothing matched --include/--exclude, which left out {len(run.left_out)}"
        verdict.items.append(Item(options.absent_state, "", text))
        verdict.absent = True
    elif not seen:
        verdict.items.append(Item(UNKNOWN, "", "nothing was looked at"))
    failures = [thing for thing in found if isinstance(thing, Failed)]
    verdict.items += _unmet(found, contexts, excused)
    if failures and len(failures) == len(found) and all(failed.kind == ABSENT for failed in failures):
        verdict.absent = True
    _perfdata(verdict, contexts, thresholds)
    conclude(verdict)
    return verdict


def _scrubbed(thing: Any, scrub: Callable[[str], str]) -> Any:
    """Return what a judge yielded with the secrets taken out of its words. Raises TypeError for anything else."""
    if scrub is str and isinstance(thing, (Metric, Finding, Failed)):  # there are none
        return thing
    if isinstance(thing, Failed):
        return Failed(thing.kind, *(scrub(word) for word in thing.args[1:]))
    if isinstance(thing, Finding):
        return Finding(thing.state, scrub(thing.of), scrub(thing.text))
    if isinstance(thing, Metric):
        return thing._replace(of=scrub(thing.of), detail=scrub(thing.detail))
    raise TypeError(f"a judge yields Metric, Finding or Failed, not {type(thing).__name__}")


def conclude(verdict: Verdict) -> None:
    """Set state and reason from the items, worst first, within one state by name."""
    verdict.state = worst(item.state for item in verdict.items) if verdict.items else UNKNOWN
    verdict.items.sort(key=lambda item: (-RANK[item.state], not item.leads, item.of))  # else as the judge has them
    verdict.reason = _reason(verdict)


def _of(of: str, text: str) -> str:
    return clean(f"{of} {text}" if of else text) or "(no words for it)"


def _unmet(found: Sequence[Any], contexts: Mapping[str, Context], excused: set[str]) -> list[Item]:
    """Return an item for each limit that the operator gave and that met no value: it would be a hole nobody sees.

    A failure excuses the limits of its object, a failure of the whole excuses all.
    """
    from fnmatch import fnmatchcase

    items = []
    for name, context in contexts.items():
        if not context.asked:
            continue
        objects = [thing.of for thing in found if isinstance(thing, Metric) and thing.name == name]
        for glob in sorted(context.asked):
            known = excused if not objects or glob else ()
            if "" in known or any(fnmatchcase(of, glob or "*") for of in (*objects, *known)):
                continue
            text = f"the limit {name}{'/' if glob else ''}{glob} met nothing: no such value here"
            items.append(Item(UNKNOWN, "", clean(text)))
    return items


def _failed(failed: Failed, options: Any, needs: Sequence[Any]) -> Item:
    late = options.timeout[1]
    state = {
        UNREACHABLE: options.unreachable_state,
        ABSENT: options.absent_state,
        LATE: UNKNOWN if late is None else late,
    }.get(failed.kind, UNKNOWN)
    text = f"{failed.of}: {failed.error}" if failed.of else failed.error
    if failed.tried and failed.tried not in text:
        text = f"{text} ({failed.tried})"
    cure = failed.cure
    if failed.kind == NOT_ALLOWED and not cure and needs:
        cure = " or ".join(need.cure() for need in needs)
    if cure and failed.kind == NOT_ALLOWED:
        text = f"{text}: needs {cure}"
    elif cure:
        text = f"{text}: {cure}"
    return Item(state, failed.of, _of("", text))


def _metric(metric: Metric, contexts: Mapping[str, Context], excused: set[str]) -> Item | None:
    if metric.name not in contexts:
        raise KeyError(f"metric '{metric.name}' is no declared threshold")
    context = contexts[metric.name]
    words = context.spoken
    value = metric.value
    if isinstance(value, Collecting):
        text = f"{words} {value.why or 'collecting'}"
        return Item(OK, metric.of, _of(metric.of, text), collecting=not value.why)
    if value is not None and not isinstance(value, (int, float)):
        value = float(value)  # a Decimal from a database
    if value is None or not abs(value) < 1e300:  # not measured, NaN, or no number of this world
        if metric.of in excused:
            return None
        return Item(UNKNOWN, metric.of, _of(metric.of, f"{words} was not measured"))
    # nagiosplugin carries the resource along: for us it is the name of the object.
    noun = nagiosplugin.Metric(
        metric.name, value, context.unit, metric.least, metric.most, context.name, context, metric.of
    )
    result = noun.evaluate()
    text = f"{words} {human(value, context.unit, context.name)}"
    if result.hint:
        text = f"{text} is {result.hint}"
    if metric.detail and int(result.state) != OK:
        text = clean(f"{text} ({metric.detail})")
    return Item(int(result.state), metric.of, _of(metric.of, text), result=result)


def _perfdata(verdict: Verdict, contexts: Mapping[str, Context], thresholds: Sequence[Threshold]) -> None:
    """Choose and order the items: fixed names as declared, then those of objects by label, rates last."""
    by_name: dict[str, list[Any]] = {name: [] for name in contexts}
    for item in verdict.items:
        if item.result is not None:
            by_name[item.result.metric.name].append(item.result)
    each = {threshold.name for threshold in thresholds if threshold.print in ("each", "apart")}
    apart = {threshold.name for threshold in thresholds if threshold.print == "apart"}
    late = {threshold.name for threshold in thresholds if threshold.late}
    top = {threshold.name for threshold in thresholds if threshold.print == "top"}
    budget = LINE_MAX - REASON_MAX - 100
    chosen = _chosen(by_name, each, late, top)
    while len(chosen) > PERFDATA_MAX or _width(chosen) > budget:
        # Too much for one line: the threshold with the most objects is told as its worst and its sum.
        sizes = {
            name: len([result for result in by_name[name] if result.metric.resource]) for name in each & set(by_name)
        }
        most = max(sorted(sizes), key=lambda name: sizes[name], default=None)
        if most is None or sizes[most] <= 1:
            chosen = chosen[:PERFDATA_MAX]
            while _width(chosen) > budget:
                chosen.pop()
            break
        each.discard(most)
        instead = "has none of them" if most in apart else "has their worst and their sum"
        verdict.notes.append(f"{most}: {sizes[most]} objects are too many for perfdata, which {instead}")
        if most in apart:
            by_name[most] = []
        chosen = _chosen(by_name, each, late, top)
    verdict.perfdata = [performance for _, _, performance in chosen]
    verdict.objects = {performance.label: (name, of) for name, of, performance in chosen}


def _width(chosen: Sequence[tuple[str, str, Performance]]) -> int:
    """Return the bytes that the items may take, whatever their values are today: the choice must not flip with a digit."""
    return sum(
        len(item.label)
        + len(f"{item.warn};{item.crit}")
        + max(VALUE_MAX, len(number(item.value)))
        + 6
        + 2 * VALUE_MAX * (item.max != "")
        for _, _, item in chosen
    )


def _chosen(
    by_name: Mapping[str, list[Any]], each: set[str], late: set[str], top: set[str]
) -> list[tuple[str, str, Performance]]:
    fixed: list[tuple[str, str, Performance]] = []
    objects: list[tuple[str, str, Performance]] = []
    for name, results in by_name.items():
        if not results:
            continue
        if name in each:
            for result in results:
                entry = (name, result.metric.resource, result.metric.performance())
                (objects if result.metric.resource else fixed).append(entry)
            continue
        worst = _worst(results)
        context = worst.metric.contextobj
        warning, critical = context.ranges(worst.metric.resource)
        fixed.append((name, "", Performance(name, worst.metric.value, context.unit, warning, critical)))
        if context.unit in ("", "B", "c") and len(results) > 1 and not name.endswith("_rate") and name not in top:
            total = sum(result.metric.value for result in results)
            fixed.append((name + "_sum", "", Performance(name + "_sum", total, context.unit)))
    objects.sort(key=lambda entry: entry[2].label)
    ordered = fixed + objects
    unique: dict[str, tuple[str, str, Performance]] = {}
    # Stable, so the late ones move to the end; those of no object come first and keep their labels.
    for name, of, item in sorted(ordered, key=lambda entry: entry[0].removesuffix("_sum") in late):
        if item.label in unique and unique[item.label][:2] != (name, of):
            # Two objects by one label ("a b" and "a_b" never, but `free` of x_inodes and `inodes_free` of x): tell them apart.
            item = item._replace(label=shorten(item.label, f"{name}={of}", LABEL_MAX))
        unique.setdefault(item.label, (name, of, item))
    return list(unique.values())


def _worst(results: Sequence[Any]) -> Any:
    """Return the worst result of one threshold; of equal states the farthest in the direction that alerts."""
    context = results[0].metric.contextobj
    limit = context.critical if context.critical.given else context.warning
    low = limit.given and not limit.invert and limit.end == float("inf")
    return max(results, key=lambda r: (RANK[int(r.state)], -r.metric.value if low else r.metric.value))


def _reason(verdict: Verdict) -> str:
    """Return what stands on line 1: each bad thing, worst first, or what was looked at and found well."""
    bad = [item for item in verdict.items if item.state != OK]
    if bad:
        parts = []
        state = verdict.state
        for item in bad:
            text = item.text
            if item.state != state:
                text = f"{WORDS[item.state]}: {text}"
                state = item.state
            parts.append(text)
    else:
        leads = [item.text for item in verdict.items if item.leads]
        later = ["rates collecting"] if any(item.collecting for item in verdict.items) else []
        parts = (leads or _well([item for item in verdict.items if not item.collecting])) + later
    line = ""
    for at, part in enumerate(parts):
        longer = f"{line}, {part}" if line else part
        rest = len(parts) - at - 1
        more = f" … and {rest} more" if rest else ""
        if len((longer + more).encode("utf-8", "replace")) > REASON_MAX:
            if not line:
                return cut(part, REASON_MAX - 16) + (f" and {rest} more" if rest else "")
            return f"{line} … and {rest + 1} more"
        line = longer
    return line


def _well(items: Sequence[Item]) -> list[str]:
    """Return the words of an OK: plain values, and of many objects their number and the worst value of each name."""
    plain = [item.text for item in items if not item.of]
    objects = sorted({item.of for item in items if item.of})
    if len(objects) <= 3:
        return plain + [item.text for item in items if item.of]
    by_name: dict[str, list[Any]] = {}
    for item in items:
        if item.of and item.result is not None:
            by_name.setdefault(item.result.metric.name, []).append(item.result)
    told = [f"{len(objects)} looked at"]
    for results in by_name.values():
        top = _worst(results)
        text = next(item.text for item in items if item.result is top)
        told.append(text)
    return plain + told


def long_lines(verdict: Verdict, verbose: int) -> list[str]:
    """Return the lines below line 1: one for an item, worst first, capped; then the notes."""
    lines = []
    if len(verdict.items) > 1 or (
        verdict.items and cut(verdict.items[0].text, REASON_MAX - 16) != verdict.items[0].text
    ):
        shown = verdict.items if verbose else verdict.items[:LINES_MAX]
        lines = [f"[{WORDS[item.state]}] {cut(item.text, 1000)}" for item in shown]
        if len(shown) < len(verdict.items):
            lines.append(f"… and {len(verdict.items) - len(shown)} more (-v shows them)")
    return lines + [f"note: {clean(note)}" for note in verdict.notes]
