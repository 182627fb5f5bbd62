# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - statements are made of our own words and of names that `schemas.quoted` quotes; values are parameters
"""The rules of `invariant_rules`, asked of real schemas: a bounded window of each table a run, whatever the table's size.

A run walks at most so many rows of a rule's table along its key, from where the last run stopped; what they refer to is looked
up by the indexes of the tables where it lives. When the end is reached a turn is complete; on a table that is larger than the
window that takes several runs, and what a rule knows is then up to one turn old. Only of the first turn the runs walk as much
as half of their time allows, for until it is complete nobody knows. The lookup takes values and no join, so the schemas may
stand on several servers, with other character sets, or be databases of PostgreSQL. What looks wrong is read a second time
before it is told: a service may have put it right between the two looks; and once more by each later run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, attempt
from nephoscope.probes import schemas
from nephoscope.probes.invariant_rules import EVERY_CELL, RULES, SCHEMAS, Rule, rights
from nephoscope.probes.schemas import Place, Sight

CHUNK = 500  # values in one lookup
STEP = 20_000  # rows that one statement walks: what comes back must fit
NAMED = 200  # contradictions that are kept by name


class Found(NamedTuple):
    """What one rule has met.

    rule    the rule
    rows    contradictions; of tables in several windows those of the last turn and of this one
    names   what the first of them are called, sorted
    looked  rows that were looked at in the turn that is told of
    whole   a turn has been completed; before, `rows` is of what was looked at so far
    age     seconds since that turn began: what was looked at first is as old; 0 when this run walked it all
    part    before: how much of the table that is, in percent by its keys; None when they don't say
    """

    rule: Rule
    rows: int
    names: tuple[str, ...] = ()
    looked: int = 0
    whole: bool = True
    age: float = 0.0
    part: float | None = None


class Survey(NamedTuple):
    """What came of the rules.

    found    Found and Failed in the order of the rules
    skipped  role without a schema -> rules that were not asked
    older    rules that were not asked because the release is older than what they read
    kept     what the next run gets
    """

    found: Sequence[Found | Failed]
    skipped: Mapping[str, Sequence[str]] = {}
    older: Sequence[str] = ()
    failures: Sequence[Failed] = ()
    kept: Any = None


class Window(NamedTuple):
    """Where a walk stands: the last key of this turn (None: at the start), what it met so far, and the turn before.

    names   key as text -> what the contradiction is called
    began   when this turn began, seconds since 1970
    turn    of the turn before: rows looked at, contradictions, names, when it began
    """

    last: Any = None
    looked: int = 0
    rows: int = 0
    names: Mapping[str, str] = {}
    began: float = 0.0
    turn: tuple[int, int, Mapping[str, str], float] | None = None


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
    lacking: dict[str, list[str]] = {}
    skipped: dict[str, list[str]] = {}
    cells: Failed | None = None
    cells_known, blocked = False, []
    named = {role for role, _ in options.schema}
    asking = _Asking(run, roles, options, before)
    hurry = run.left() / 2
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
        asking.ask(rule)
    # Until a first turn is complete nobody knows: one window after the other, of all such tables by turns.
    begun = [rule for rule in rules if asking.unfinished(rule)]
    while begun and run.left() > hurry:
        begun = [rule for rule in begun if asking.go_on(rule) and asking.unfinished(rule)]
    failures = [_lacks(sight, role, names, options.schema) for role, names in lacking.items()]
    failures += [
        Failed(failed.kind, failed.of, "ask the rules", f"{failed.error}{_so(names)}", failed.cure)
        for failed, names in asking.cut.values()
    ]
    if cells is not None and blocked:
        failures.append(Failed(cells.kind, "cells", cells.tried, f"{cells.error}{_so(blocked)}", cells.cure))
    found = [asking.told(rule) for rule in rules if rule.name in asking.found or rule.name in asking.walks]
    return Survey(found, skipped, asking.older, [*sight.failures, *failures], {**before, **asking.kept()})


class _Asking:
    """What the rules have come to so far in this run.

    found  rule -> what it came to, but for those that walk
    walks  rule -> schema -> where the walk stands
    older  rules that read what this release has not yet
    cut    connection -> why it answers no more, and the rules that it left without an answer
    """

    def __init__(self, run: Run, roles: Mapping[str, list[Place]], options: Any, before: Mapping[str, Any]) -> None:
        self.run, self.roles, self.options, self.before = run, roles, options, before
        self.now = run.clock.time()
        self.found: dict[str, Found | Failed] = {}
        self.walks: dict[str, dict[str, Window]] = {}
        self.older: list[str] = []
        self.cut: dict[str, tuple[Failed, list[str]]] = {}

    def ask(self, rule: Rule) -> None:
        """Ask one rule for the first time in this run."""
        try:
            if rule.same:
                self.found[rule.name] = _same(self.run, rule, self.roles)
                return
            windows = {}
            for place in self.roles[rule.role]:
                start = Window() if self.options.exact else _window(self.before.get(f"{rule.name}/{place.name}"))
                windows[place.name] = self._checked(rule, place, start, self._walk(rule, place, start))
            self.walks[rule.name] = windows
        except Failed as failed:
            self._failed(rule, failed)

    def unfinished(self, rule: Rule) -> bool:
        """Say whether a walk has not yet seen the whole of its tables once."""
        return any(window.turn is None for window in self.walks.get(rule.name, {}).values())

    def go_on(self, rule: Rule) -> bool:
        """Walk one window further where the first turn is not complete; say whether that went well."""
        windows = dict(self.walks[rule.name])
        try:
            for place in self.roles[rule.role]:
                if windows[place.name].turn is None:
                    windows[place.name] = self._walk(rule, place, windows[place.name])
        except Failed as failed:
            if failed.kind != LATE:  # else what was seen so far stands, and the next run goes on there
                del self.walks[rule.name]
                self._failed(rule, failed)
            return False
        self.walks[rule.name] = windows
        return True

    def told(self, rule: Rule) -> Found | Failed:
        """Return what a rule came to."""
        if rule.name in self.found:
            return self.found[rule.name]
        windows = self.walks[rule.name]
        walking = [place for place in self.roles[rule.role] if windows[place.name].turn is None]
        parts = [_part(rule, place, windows[place.name]) for place in walking]
        known = [part for part in parts if part is not None]
        part = min(known) if known and len(known) == len(parts) else None
        return _told(rule, list(windows.values()), self.now, part)

    def kept(self) -> dict[str, Any]:
        """Return where the walks stand, as plain JSON."""
        return {f"{rule}/{name}": _plain(one) for rule, here in self.walks.items() for name, one in here.items()}

    def _failed(self, rule: Rule, failed: Failed) -> None:
        if failed.kind == UNREACHABLE:
            self.cut.setdefault(failed.of, (failed, []))[1].append(rule.name)
            return
        # Of a column without a right on it a subselect says so (error 1143), of one that is not there that it is unknown.
        lacks = failed.kind == UNREADABLE and any(f".{column}" in failed.error for column in rule.newer)
        if lacks and rule.name not in self.options.rule:
            self.older.append(rule.name)
            return
        self.found[rule.name] = failed

    def _walk(self, rule: Rule, place: Place, window: Window) -> Window:
        """Go on by as many rows as a run may look at, to the end of the turn at most. Raises Failed."""
        left = sys.maxsize if self.options.exact else max(1, self.options.rows // rule.share)
        while True:
            most = min(left, STEP)
            window = _step(self.run, rule, place, self.roles, window, most, self.now)
            left -= most
            if window.last is None or left <= 0:
                return window

    def _checked(self, rule: Rule, place: Place, start: Window, window: Window) -> Window:
        """Return where a walk stands without the contradictions that earlier runs met and that were mended since.

        start  where it stood before this run
        Raises Failed.
        """
        turn = window.turn
        held = {**start.names, **(turn[2] if turn and turn == start.turn else {})}
        if not held:
            return window
        still = _homeless(self.run, rule, self.roles, _again(rule, place, [{"k": key} for key in held]))
        mended = set(held) - {str(row["k"]) for row in still}

        def left(rows: int, names: Mapping[str, str]) -> tuple[int, dict[str, str]]:
            kept = {key: name for key, name in names.items() if key not in mended}
            return rows - len(names) + len(kept), kept

        rows, names = left(window.rows, window.names)
        if turn is not None:
            turn = (turn[0], *left(turn[1], turn[2]), turn[3])
        return window._replace(rows=rows, names=names, turn=turn)


def _lacks(sight: Sight, role: str, rules: Sequence[str], named: Sequence[tuple[str, str]]) -> Failed:
    """Return why rules could not be asked: their schema is not seen."""
    name = next((glob for of, glob in named if of == role), SCHEMAS[role][0])
    missing = sight.missing(name)
    error = f"{missing.error}{_so(rules)}"
    # Never `absent`: that state can be set to OK, and a rule that was not asked is not OK.
    kind = NOT_ALLOWED if missing.kind == NOT_ALLOWED else UNREADABLE
    cure = missing.cure
    if cure.startswith("GRANT ") and not any(of == role for of, _ in named):  # it may well not be there at all
        cure = f"GRANT SHOW DATABASES ON *.* TO {cure.rpartition(' TO ')[2]}"
    return Failed(kind, name, missing.tried, error, cure)


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
        return Failed(LATE, of, tried, f"{failed.error}: -t gives more time, --rows looks at fewer")
    if failed.kind == UNREACHABLE:  # it is the connection's, and of all rules that need it
        return Failed(UNREACHABLE, place.db.of, tried, failed.error, failed.cure)
    return Failed(failed.kind, of, tried, failed.error, failed.cure)


class _Words(dict):  # type: ignore[type-arg]
    """What the braces in a rule's SQL stand for: {now}, what is given, and {table} of the same schema."""

    def __init__(self, place: Place, **given: str) -> None:
        super().__init__(now=schemas.NOW[place.db.kind], **given)
        self.place = place

    def __missing__(self, table: str) -> str:
        return self.place.table(table)


def _step(
    run: Run, rule: Rule, place: Place, roles: Mapping[str, list[Place]], window: Window, most: int, now: float
) -> Window:
    """Look at the next rows of one table, so many at most. Raises Failed."""
    run.stage(f"{place.db.of}: {rule.name} in {place.name}")
    after, values = ("", ()) if window.last is None else (f" WHERE t.{rule.key} > %s", (window.last,))
    try:
        end = place.db.row(
            f"SELECT MAX(w.k) AS last, COUNT(*) AS n FROM"
            f" (SELECT t.{rule.key} AS k FROM {place.table(rule.table)} t{after} ORDER BY t.{rule.key} LIMIT {most}) w",
            values,
        )
    except Failed as failed:
        raise _refused(failed, rule.name, f"read {place.name}.{rule.table}", place, rule.uses) from None
    looked = int(end["n"])
    bounds = f"t.{rule.key} <= %s" + (f" AND t.{rule.key} > %s" if after else "")
    hits = _suspects(rule, place, bounds, (end["last"], *values)) if looked else []
    bad = _homeless(run, rule, roles, hits)
    met = {str(row["k"]): str(row["shown"]) for row in (_again(rule, place, bad) if bad else ())}
    if not after:
        window = Window(began=now, turn=window.turn)
    names = dict(window.names)
    names.update(list(met.items())[: NAMED - len(names)])
    looked, rows = window.looked + looked, window.rows + len(met)
    if int(end["n"]) < most:
        return Window(turn=(looked, rows, names, window.began))
    return Window(end["last"], looked, rows, names, window.began, window.turn)


def _suspects(rule: Rule, place: Place, bounds: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows within bounds for which the rule's words hold. Raises Failed."""
    select = (
        f"SELECT t.{rule.key} AS k, {rule.show} AS shown, {rule.ref or 'NULL'} AS ref FROM {place.table(rule.table)} t"
        f" {rule.join} WHERE {{bounds}} AND ({rule.where})"
    )
    try:
        rows: list[dict[str, Any]] = place.db.rows(select.format_map(_Words(place, bounds=bounds)), tuple(values))
        return rows
    except Failed as failed:
        raise _refused(failed, rule.name, f"read {place.name}.{rule.table}", place, rule.uses) from None


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


def _again(rule: Rule, place: Place, bad: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those rows that are still suspect and, where they say what they refer to, refer to the same. Raises Failed."""
    wanted = {str(row["k"]): row for row in bad}
    still: list[Mapping[str, Any]] = []
    for start in range(0, len(bad), CHUNK):
        keys = [row["k"] for row in bad[start : start + CHUNK]]
        still += _suspects(rule, place, f"t.{rule.key} IN ({', '.join(['%s'] * len(keys))})", keys)
    return [row for row in still if wanted.get(str(row["k"]), row).get("ref", row["ref"]) == row["ref"]]


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


def _told(rule: Rule, windows: Sequence[Window], now: float, part: float | None) -> Found:
    """Return what a rule knows over all of its schemas."""
    rows, looked, whole, age = 0, 0, True, 0.0
    names: set[str] = set()
    for window in windows:
        met = dict(window.names)
        if window.turn is None:
            whole = False
            rows, looked = rows + window.rows, looked + window.looked
        else:
            seen, before, named, began = window.turn
            met.update(named)
            # What both turns met counts once; beyond NAMED only numbers are known.
            rows, looked = rows + max(len(met), before, window.rows), looked + seen
            age = max(age, now - began)
        names.update(met.values())
    return Found(rule, rows, tuple(sorted(names)), looked, whole, age, None if whole else part)


def _part(rule: Rule, place: Place, window: Window) -> float | None:
    """Return how far a walk has come, in percent, by its key: a number, or a text that begins with hex digits as UUIDs do."""
    ends = attempt(
        place.db.row, f"SELECT MIN(t.{rule.key}) AS low, MAX(t.{rule.key}) AS high FROM {place.table(rule.table)} t"
    )
    if isinstance(ends, Failed):
        return None
    try:
        low, here, high = (
            key if isinstance(key, int) else int(str(key)[:8], 16) for key in (ends["low"], window.last, ends["high"])
        )
    except (ValueError, KeyError):
        return None
    return min(100.0, 100.0 * (here - low) / (high - low)) if low <= here and low < high else None


def _window(kept: Any) -> Window:
    """Return a walk's state from plain JSON; what is damaged begins anew."""
    try:
        last, looked, rows, names, began, turn = kept
        if not isinstance(last, (int, str, type(None))):
            return Window()
        held = {str(key): str(name) for key, name in dict(names).items()}
        if turn is not None:
            named = {str(key): str(name) for key, name in dict(turn[2]).items()}
            turn = (int(turn[0]), int(turn[1]), named, float(turn[3]))
        return Window(last, int(looked), int(rows), held, float(began), turn)
    except (TypeError, ValueError, IndexError):
        return Window()


def _plain(window: Window) -> list[Any]:
    turn = None if window.turn is None else [*window.turn[:2], dict(window.turn[2]), window.turn[3]]
    return [window.last, window.looked, window.rows, dict(window.names), window.began, turn]


def grants(sight_of: Mapping[str, Sequence[Place]], rules: Sequence[Rule] = RULES) -> list[str]:
    """Return the statements that give the account of these schemas all that the rules read, and no more."""
    return [
        place.select(columns, table)
        for (role, table), columns in rights(rules).items()
        for place in sight_of.get(role, ())
    ]
