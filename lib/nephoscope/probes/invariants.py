# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - statements are made of our own words and of names that `schemas.quoted` quotes; values are parameters
"""The rules of `invariant_rules`, asked of real schemas: a bounded window of each table a run, whatever the table's size.

A run walks at most so many rows of a rule's table along its key, from where the last run stopped; what they refer to is looked
up by the indexes of the tables where it lives. When the end is reached a turn is complete; on a table that is larger than the
window that takes several runs, and what a rule knows is then up to one turn old. The lookup takes values and no join, so the
schemas may stand on several servers, with other character sets, or be databases of PostgreSQL. What looks wrong is read a
second time before it is told: a service may have put it right between the two looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREADABLE, Failed, Run, attempt
from nephoscope.probes import schemas
from nephoscope.probes.invariant_rules import EVERY_CELL, RULES, SCHEMAS, Rule, rights
from nephoscope.probes.schemas import Place, Sight

CHUNK = 500  # values in one lookup
EXACT = 20_000  # rows at a time where whole tables are walked: what comes back must fit
NAMED = 200  # contradictions that are kept by name


class Found(NamedTuple):
    """What one rule has met.

    rule    the rule
    rows    contradictions; of tables in several windows those of the last turn and of this one
    names   what the first of them are called, sorted
    looked  rows that were looked at in the turn that is told of
    whole   a turn has been completed; before, `rows` is of what was looked at so far
    """

    rule: Rule
    rows: int
    names: tuple[str, ...] = ()
    looked: int = 0
    whole: bool = True


class Survey(NamedTuple):
    """Found and Failed in the order of the rules, what was not asked and why, and what the next run gets."""

    found: Sequence[Found | Failed]
    skipped: Mapping[str, Sequence[str]] = {}
    failures: Sequence[Failed] = ()
    kept: Any = None


class Window(NamedTuple):
    """Where a walk stands: the last key of this turn (None: at the start), what it met so far, and the turn before.

    names   key as text -> what the contradiction is called
    """

    last: Any = None
    looked: int = 0
    rows: int = 0
    names: Mapping[str, str] = {}
    turn: tuple[int, int, Mapping[str, str]] | None = None


def survey(run: Run, options: Any) -> Survey:
    """Ask every rule that the options choose. Raises Failed when there is nothing to ask at all."""
    wanted = [rule for rule in RULES if (rule.name in options.rule or not options.rule) and run.wants(rule.name)]
    with schemas.opened(run, options) as sight:
        roles = assigned(sight, options.schema)
        return asked(run, sight, roles, wanted, options)


def assigned(sight: Sight, named: Sequence[tuple[str, str]]) -> dict[str, list[Place]]:
    """Return the schemas of each role: those that were named for it, else what it is usually called."""
    roles: dict[str, list[Place]] = {}
    for role, usual in SCHEMAS.items():
        globs = [glob for of, glob in named if of == role] or list(usual)
        names = [name for name in sorted(sight.places) if any(fnmatchcase(name, glob) for glob in globs)]
        roles[role] = [sight.places[name] for name in names]
    return roles


def asked(run: Run, sight: Sight, roles: Mapping[str, list[Place]], rules: Sequence[Rule], options: Any) -> Survey:
    """Ask these rules of these schemas."""
    before = run.before if isinstance(run.before, dict) else {}
    if sight.blind:
        return Survey((), failures=sight.failures, kept=before)
    kept = dict(before)
    found: list[Found | Failed] = []
    lacking: dict[str, list[str]] = {}
    skipped: dict[str, list[str]] = {}
    cells: Failed | None = None
    cells_known, blocked = False, []
    named = {role for role, _ in options.schema}
    for rule in rules:
        absent = [role for role in rule.roles if not roles[role]]
        for role in absent:
            # Whoever named neither rule nor schema may well have a cloud without that service, if it surely is not there.
            sure = sight.surely_without(SCHEMAS[role]) and not options.rule and role not in named
            (skipped if sure else lacking).setdefault(role, []).append(rule.name)
        if absent:
            continue
        if EVERY_CELL in (home.role for home in rule.homes) and not cells_known:
            cells, cells_known = _every_cell(roles), True
        if cells is not None and EVERY_CELL in (home.role for home in rule.homes):
            blocked.append(rule.name)
            continue
        try:
            if rule.same:
                found.append(_same(run, rule, roles))
                continue
            windows = {}
            for place in roles[rule.role]:
                key = f"{rule.name}/{place.name}"
                if options.exact:
                    windows[key] = _walk(run, rule, place, roles, Window(), EXACT)
                    while windows[key].turn is None:
                        windows[key] = _walk(run, rule, place, roles, windows[key], EXACT)
                else:
                    window = _window(before.get(key))
                    windows[key] = _walk(run, rule, place, roles, window, max(1, options.rows // rule.share))
            kept.update({key: _plain(window) for key, window in windows.items()})
            found.append(_told(rule, list(windows.values())))
        except Failed as failed:
            found.append(failed)
    failures = [_lacks(sight, role, names, options.schema) for role, names in lacking.items()]
    if cells is not None and blocked:
        failures.append(Failed(cells.kind, "cells", cells.tried, f"{cells.error}{_so(blocked)}", cells.cure))
    return Survey(found, skipped, [*sight.failures, *failures], kept)


def _lacks(sight: Sight, role: str, rules: Sequence[str], named: Sequence[tuple[str, str]]) -> Failed:
    """Return why rules could not be asked: their schema is not seen."""
    name = next((glob for of, glob in named if of == role), SCHEMAS[role][0])
    missing = sight.missing(name)
    error = f"{missing.error}{_so(rules)}"
    # Never `absent`: that state can be set to OK, and a rule that was not asked is not OK.
    kind = NOT_ALLOWED if missing.kind == NOT_ALLOWED else UNREADABLE
    return Failed(kind, name, missing.tried, error, missing.cure)


def _so(rules: Sequence[str]) -> str:
    more = f" and {len(rules) - 2} more" if len(rules) > 2 else ""
    return f", so {', '.join(rules[:2])}{more} could not be asked"


def _every_cell(roles: Mapping[str, list[Place]]) -> Failed | None:
    """Return why an instance that is not found could live in a cell that we don't see; None when we see all."""
    if not roles["api"]:
        return Failed(UNREADABLE, "", "count the cells", "without nova_api nobody knows how many cells there are")
    place = roles["api"][0]
    try:
        known = int(place.db.value(f"SELECT COUNT(m.id) AS n FROM {place.table('cell_mappings')} m"))
    except Failed as failed:
        return _refused(failed, "", "count the cells", place, [("cell_mappings", ("id",))])
    seen = [cell.name for cell in roles["cell"]]
    if known == len(seen):
        return None
    error = f"nova_api knows {known} cells, and {len(seen)} of their schemas are seen ({', '.join(seen)})"
    return Failed(UNREADABLE, "", "count the cells", error, "--schema cell=NAME, or the file of a service in the cell")


def _refused(failed: Failed, of: str, tried: str, place: Place, uses: Sequence[tuple[str, Sequence[str]]]) -> Failed:
    """Return a statement's failure as that of a rule: what is missing is never merely absent.

    uses  (table, columns) that the statement reads
    """
    if failed.kind == NOT_ALLOWED:
        grants = [place.select(columns, table) for table, columns in uses]
        return Failed(NOT_ALLOWED, of, tried, "a right is missing", "; ".join(grants))
    if failed.kind == ABSENT:
        error = f"{failed.error}: the schema is not of a release that the rule was written for"
        return Failed(UNREADABLE, of, tried, error)
    if failed.kind == LATE:
        return Failed(LATE, of, tried, f"{failed.error} (--rows looks at fewer)")
    return Failed(failed.kind, of, tried, failed.error, failed.cure)


class _Words(dict):  # type: ignore[type-arg]
    """What the braces in a rule's SQL stand for: {now}, and {table} of the same schema."""

    def __init__(self, place: Place) -> None:
        super().__init__(now=schemas.NOW[place.db.kind])
        self.place = place

    def __missing__(self, table: str) -> str:
        return self.place.table(table)


def _walk(run: Run, rule: Rule, place: Place, roles: Mapping[str, list[Place]], window: Window, most: int) -> Window:
    """Look at the next rows of one table, so many at most. Raises Failed."""
    run.stage(f"{place.db.of}: {rule.name} in {place.name}")
    words = _Words(place)
    table = place.table(rule.table)
    tried = f"read {place.name}.{rule.table}"
    after, values = ("", ()) if window.last is None else (f" WHERE t.{rule.key} > %s", (window.last,))
    try:
        end = place.db.row(
            f"SELECT MAX(w.k) AS last, COUNT(*) AS n FROM"
            f" (SELECT t.{rule.key} AS k FROM {table} t{after} ORDER BY t.{rule.key} LIMIT {most}) w",
            values,
        )
        looked = int(end["n"])
        bounds = f"t.{rule.key} <= %s" + (f" AND t.{rule.key} > %s" if after else "")
        select = (
            f"SELECT t.{rule.key} AS k, {rule.show} AS shown, {rule.ref or 'NULL'} AS ref FROM {table} t {rule.join}"
            f" WHERE {{bounds}} AND ({rule.where})".format_map(_Bounds(words, "{bounds}"))
        )
        hits = place.db.rows(select.replace("{bounds}", bounds), (end["last"], *values)) if looked else []
    except Failed as failed:
        raise _refused(failed, rule.name, tried, place, rule.uses) from None
    bad = _homeless(run, rule, roles, hits)
    if bad:
        bad = _again(rule, place, select, bad)
    names = dict(window.names if after else {})
    names.update({f"{row['k']}": str(row["shown"]) for row in bad[: NAMED - len(names)]})
    looked_all, rows = (window.looked if after else 0) + looked, (window.rows if after else 0) + len(bad)
    if looked < most:
        return Window(None, 0, 0, {}, (looked_all, rows, names))
    return Window(end["last"], looked_all, rows, names, window.turn)


class _Bounds(dict):  # type: ignore[type-arg]
    """A rule's words, with one brace left as it stands for later."""

    def __init__(self, words: _Words, later: str) -> None:
        super().__init__(bounds=later)
        self.words = words

    def __missing__(self, name: str) -> str:
        return str(self.words[name])


def _homeless(
    run: Run, rule: Rule, roles: Mapping[str, list[Place]], hits: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the rows whose reference lives nowhere; all of them for a rule without one. Raises Failed."""
    if not rule.ref:
        return list(hits)
    left = {str(row["ref"]) for row in hits if row["ref"] is not None}
    for home in rule.homes:
        for place in roles[home.role]:
            left -= _living(rule, home, place, sorted(left))
    return [row for row in hits if row["ref"] is None or str(row["ref"]) in left]


def _living(rule: Rule, home: Any, place: Place, values: Sequence[str]) -> set[str]:
    """Return those of the values that live in a home."""
    alive: set[str] = set()
    also = f" AND {home.where}".format_map(_Words(place)) if home.where else ""
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK]
        marks = ", ".join(["%s"] * len(part))
        statement = (
            f"SELECT h.{home.column} AS k FROM {place.table(home.table)} h WHERE h.{home.column} IN ({marks}){also}"
        )
        try:
            answers = place.db.rows(statement, tuple(part))
        except Failed as failed:
            uses = [(home.table, home.columns)]
            raise _refused(failed, rule.name, f"read {place.name}.{home.table}", place, uses) from None
        # The server may not tell upper from lower case; a name that it found is found, however it is written.
        known = {str(row["k"]).lower() for row in answers}
        alive |= {value for value in part if value.lower() in known}
    return alive


def _again(rule: Rule, place: Place, select: str, bad: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those rows that are still as they were."""
    still: set[tuple[str, str]] = set()
    for start in range(0, len(bad), CHUNK):
        keys = [row["k"] for row in bad[start : start + CHUNK]]
        marks = ", ".join(["%s"] * len(keys))
        try:
            rows = place.db.rows(select.replace("{bounds}", f"t.{rule.key} IN ({marks})"), tuple(keys))
        except Failed as failed:
            raise _refused(failed, rule.name, f"read {place.name}.{rule.table}", place, rule.uses) from None
        still |= {(str(row["k"]), str(row["ref"])) for row in rows}
    return [row for row in bad if (str(row["k"]), str(row["ref"])) in still]


def _same(run: Run, rule: Rule, roles: Mapping[str, list[Place]]) -> Found:
    """Compare what a column says in every cell. Raises Failed."""
    said: dict[str, list[str]] = {}
    for place in roles[rule.role]:
        run.stage(f"{place.db.of}: {rule.name} in {place.name}")
        try:
            rows = place.db.rows(f"SELECT t.{rule.same} AS v FROM {place.table(rule.table)} t LIMIT 10")
        except Failed as failed:
            # Nova before Wallaby kept the number of its migration as sqlalchemy-migrate does.
            older = attempt(place.db.rows, f"SELECT t.version AS v FROM {place.table('migrate_version')} t LIMIT 10")
            rows = [] if isinstance(older, Failed) else older
            if rows:
                said.setdefault(" ".join(sorted(str(row["v"]) for row in rows)), []).append(place.name)
                continue
            raise _refused(failed, rule.name, f"read {place.name}.{rule.table}", place, rule.uses) from None
        if not rows:
            raise Failed(UNREADABLE, rule.name, f"read {place.name}.{rule.table}", "it is empty")
        said.setdefault(" ".join(sorted(str(row["v"]) for row in rows)), []).append(place.name)
    usual = max(sorted(said), key=lambda version: len(said[version]))
    names = [f"{name} has {version}" for version, cells in sorted(said.items()) for name in cells]
    odd = sum(len(cells) for version, cells in said.items() if version != usual)
    return Found(rule, odd, tuple(sorted(names)) if odd else (), len(roles[rule.role]), True)


def _told(rule: Rule, windows: Iterable[Window]) -> Found:
    """Return what a rule knows over all of its schemas."""
    rows, looked, whole = 0, 0, True
    names: set[str] = set()
    for window in windows:
        met = dict(window.names)
        if window.turn is None:
            whole = False
            rows, looked = rows + window.rows, looked + window.looked
        else:
            seen, before, named = window.turn
            met.update(named)
            # What both turns met counts once; beyond NAMED only numbers are known.
            rows, looked = rows + max(len(met), before, window.rows), looked + seen
        names.update(met.values())
    return Found(rule, rows, tuple(sorted(names)), looked, whole)


def _window(kept: Any) -> Window:
    """Return a walk's state from plain JSON; what is damaged begins anew."""
    try:
        last, looked, rows, names, turn = kept
        if not isinstance(last, (int, str, type(None))):
            return Window()
        held = {str(key): str(name) for key, name in dict(names).items()}
        if turn is not None:
            turn = (int(turn[0]), int(turn[1]), {str(key): str(name) for key, name in dict(turn[2]).items()})
        return Window(last, int(looked), int(rows), held, turn)
    except (TypeError, ValueError, IndexError):
        return Window()


def _plain(window: Window) -> list[Any]:
    turn = None if window.turn is None else [window.turn[0], window.turn[1], dict(window.turn[2])]
    return [window.last, window.looked, window.rows, dict(window.names), turn]


def grants(sight_of: Mapping[str, Sequence[Place]], rules: Sequence[Rule] = RULES) -> list[str]:
    """Return the statements that give the account of these schemas all that the rules read, and no more."""
    return [
        place.select(columns, table)
        for (role, table), columns in rights(rules).items()
        for place in sight_of.get(role, ())
    ]
