# SPDX-License-Identifier: Apache-2.0
"""Sizes, samples of them, and when what may be used is used up."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, Clock, Failed, Run
from nephoscope.probes import db_growth, schemas
from nephoscope.probes.db_growth import Growth, Table, added, survey
from nephoscope.probes.schemas import Place, Sight

from tests.probes.answering import Database

DAY = 86400.0
MIB = 1 << 20


def options(**more):
    return SimpleNamespace(
        **{"schema": (), "size": 0, "path": "", "span": 3 * DAY, "least": MIB, "mode": ("size", "growth"), **more}
    )


def mysql(files, *tables, flavour="mariadb", version=(10, 11, 19)):
    rows = [{"name": name, "data": data, "indexes": 0, "unused": unused, "n": 1} for name, data, unused in tables]
    return Database(
        ("CURRENT_USER", [{"u": "nagios@%"}]), ("tablespaces", files), ("information_schema.tables", rows),
        ("innodb_table_stats", [{"name": "big", "age": 3600}]), flavour=flavour, version=version,
    )  # fmt: skip


@pytest.fixture
def look(monkeypatch):
    """Look at what these connections show; `before` and `at` make a later run."""

    def run(*places, before=None, at=0.0, failures=(), **more):
        sight = Sight({place.name: place for place in places}, failures)
        monkeypatch.setattr(schemas, "opened", lambda *_: contextlib.nullcontext(sight))
        return survey(Run(before=before, clock=Clock(shift=at)), options(**more))

    return run


def test_a_file_is_larger_than_its_statistics(look):
    files = [{"name": "nova/big", "size": 30 * MIB}, {"name": "innodb_system", "size": 12 * MIB},
             {"name": "nova/part#P#p0", "size": 2 * MIB}, {"name": "nova/part#p#p1", "size": 3 * MIB},
             {"name": "nova/a@002db", "size": 7 * MIB}]  # fmt: skip
    found = look(
        Place("nova", mysql(files, ("big", MIB, 15 * MIB), ("part", 1, 0), ("a-b", 1, 0), ("aria", 5, 2)), "nova", True)
    )
    assert found.tables == [
        Table("nova.big", 30 * MIB, 15 * MIB, 1),
        Table("nova.a-b", 7 * MIB, 0, 1),
        Table("nova.part", 5 * MIB, 0, 1),
        Table("nova.aria", 7, 2, 1),
    ]
    assert found.tables[0].fragmented == 50.0
    assert found.schemas == [Growth("nova", 42 * MIB + 7, COLLECTING)]
    assert found.failures == []


@pytest.mark.parametrize(
    "flavour, version, table", [("mariadb", (11, 4, 2), "innodb_sys_tablespaces"), ("mysql", (5, 7, 44), "innodb_sys_tablespaces"),
                                ("mysql", (8, 0, 45), "information_schema.innodb_tablespaces")]
)  # fmt: skip
def test_where_files_are_listed(look, flavour, version, table):
    db = mysql([], ("big", MIB, 0), flavour=flavour, version=version)
    look(Place("nova", db, "nova", True))
    assert sum(table in statement for statement, _ in db.asked) == 1
    assert any("stats_expiry = 0" in statement for statement, _ in db.asked) == (flavour == "mysql")


def test_without_the_right_to_see_files_growth_is_not_told(look):
    refused = Failed(NOT_ALLOWED, "db", "SELECT", "denied")
    db = mysql(refused, ("big", 20 * MIB, 0))
    found = look(Place("nova", db, "nova", True))
    right = Failed(
        NOT_ALLOWED,
        "",
        "read the sizes of InnoDB's files",
        "a right is missing",
        "GRANT PROCESS ON *.* TO 'nagios'@'%'",
    )
    assert found.failures == [right]
    assert look(Place("nova", db, "nova", True), mode=("size",)).failures == []
    assert found.schemas[0].size == 20 * MIB


def test_a_schema_of_which_a_part_is_seen_has_no_size(look):
    found = look(
        Place("nova", mysql([], ("big", MIB, 0)), "nova", False), Place("heat", mysql([], ("t", MIB, 0)), "heat", True)
    )
    assert [one.name for one in found.schemas] == ["heat"]
    assert [(one.of, one.cure) for one in found.failures] == [("nova", "GRANT REFERENCES ON nova.* TO 'nagios'@'%'")]
    assert found.total.rate is COLLECTING


def test_nothing_is_seen(look):
    with pytest.raises(Failed, match="the account sees no schema"):
        look()


def grow(look, sizes, step=DAY / 2, **more):
    kept = found = None
    for number, size in enumerate(sizes):
        db = mysql([{"name": "nova/big", "size": size}], ("big", 1, 0))
        found = look(Place("nova", db, "nova", True), before=kept, at=number * step, **more)
        kept = found.kept
    return found


def test_growth_and_the_days_that_are_left(look):
    found = grow(look, [(100 + 5 * number) * MIB for number in range(7)], size=230 * MIB)
    assert found.schemas[0].rate * DAY / MIB == pytest.approx(10, 1e-3)
    assert found.room == 100 * MIB
    assert found.days == pytest.approx(10, 1e-3)
    assert found.fastest.name == "nova.big"


def test_days_are_known_when_half_of_the_span_was_seen(look):
    assert grow(look, [100 * MIB, 105 * MIB], size=230 * MIB).days is COLLECTING
    assert grow(look, [100 * MIB] * 5, size=230 * MIB).days == 365
    assert grow(look, [100 * MIB] * 5).days is None
    assert grow(look, [100 * MIB] * 5, size=99 * MIB).days == 0


def test_a_step_is_no_growth(look):
    assert grow(look, [100 * MIB] * 3 + [500 * MIB] * 3, size=1000 * MIB).days == 365


def test_a_run_that_saw_a_part_makes_no_fall(look):
    """A sum without one schema would look like a fall now and like a growth the next time."""
    whole = grow(look, [(100 + 5 * number) * MIB for number in range(7)], size=230 * MIB)
    hidden = Place("nova", mysql([], ("big", 1, 0)), "nova", False)
    heat = Place("heat", mysql([{"name": "heat/t", "size": MIB}], ("t", 1, 0)), "heat", True)
    part = look(hidden, heat, before=whole.kept, at=3.25 * DAY, size=230 * MIB)
    assert part.days is COLLECTING
    assert part.kept["total/"] == whole.kept["total/"][-len(part.kept["total/"]) :]


def test_samples_are_thinned_and_grow_old():
    kept = []
    for number in range(2000):
        kept = added(kept, number * 300.0, number, 3 * DAY)
    assert len(kept) <= db_growth.SAMPLES + 5
    assert kept[0][0] >= 1999 * 300.0 - 3.4 * DAY
    assert kept[-1] == [1999 * 300.0, 1999.0]
    assert added("junk", 5.0, 1, DAY) == [[5.0, 1.0]]
    assert added([["x"], [1.0, 2.0], [9.0, 1.0]], 5.0, 1, DAY) == [[1.0, 2.0], [5.0, 1.0]]


def test_statistics_of_large_tables(look):
    db = mysql([{"name": "nova/big", "size": 9 * MIB}], ("big", 1, 0), ("small", 1, 0))
    assert look(Place("nova", db, "nova", True), mode=("analyse",)).analysed == {"nova.big": 3600.0}
    db.answers = [(part, answer) for part, answer in db.answers if part != "innodb_table_stats"]
    assert look(Place("nova", db, "nova", True), mode=("analyse",)).analysed == {"nova.big": None}
    db.answers.insert(0, ("innodb_table_stats", Failed(NOT_ALLOWED, "db", "SELECT", "denied")))
    failed = look(Place("nova", db, "nova", True), mode=("analyse",)).analysed
    assert failed.cure == (
        "GRANT SELECT (database_name, table_name, last_update) ON mysql.innodb_table_stats TO 'nagios'@'%'"
    )


def test_databases_of_postgresql(look):
    """An old server has no role pg_read_all_stats, and no word of it may be in the statement; a hidden size is no size of 0."""
    for version, named in (((15, 18), True), ((9, 2, 24), False)):
        db = Database(
            ("pg_database_size", [{"name": "a", "size": 10}, {"name": "b", "size": None}]),
            ("pg_class", [{"space": "public", "name": "t", "n": -1.0, "size": 8192}]),
            ("current_user", [{"u": "nagios"}]),
            kind="postgres", flavour="postgres", version=version,
        )  # fmt: skip
        found = look(Place("a", db, "public", True))
        assert found.schemas == [Growth("a", 10, COLLECTING)]
        assert found.tables == [Table("public.t", 8192, 0, None)]
        assert found.failures == [
            Failed(NOT_ALLOWED, "b", "read its size", "a right is missing", "GRANT pg_read_all_stats TO nagios")
        ]
        assert ("pg_read_all_stats" in db.asked[0][0]) is named
        assert not any("pg_total_relation_size" in statement for statement, _ in db.asked)
