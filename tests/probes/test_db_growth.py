# SPDX-License-Identifier: Apache-2.0
"""Sizes, samples of them, and when what may be used is used up."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import db_growth, growth, schemas
from nephoscope.probes.db_growth import Growth, Table, survey
from nephoscope.probes.schemas import Place, Sight

from tests.probes.answering import Database

DAY = 86400.0
MIB = 1 << 20


def options(**more):
    usual = {"schema": (), "size": 0, "path": "", "span": 3 * DAY, "least": MIB, "mode": ("size", "growth")}
    return SimpleNamespace(**{**usual, "warning": (), "critical": (), **more})


def mysql(files, *tables, flavour="mariadb", version=(10, 11, 19), of="db.example:3306"):
    """A server with these tables: name of the table in nova, or schema and name, bytes, of them unused."""
    keys = [name if isinstance(name, tuple) else ("nova", name) for name, *_ in tables]
    listed = [{"space": space, "name": name} for space, name in keys]
    rows = [
        {**key, "engine": "InnoDB" if data is not None else None, "data": data, "indexes": 0, "unused": unused}
        for key, (_, data, unused) in zip(listed, tables)
    ]

    def details(*asked):
        return [row for row in rows if row["space"] in asked and row["name"] in asked]

    return Database(
        ("CURRENT_USER", [{"u": "nagios@%"}]), ("tablespaces", files), ("data_length", details),
        ("information_schema.tables", lambda *asked: [row for row in listed if row["space"] in asked]),
        ("innodb_table_stats", [{"space": None, "name": "big", "age": 3600}]), flavour=flavour, version=version, of=of,
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
        Table("nova.big", 30 * MIB, 15 * MIB),
        Table("nova.a-b", 7 * MIB, 0),
        Table("nova.part", 5 * MIB, 0),
        Table("nova.aria", 7, 2),
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


def test_small_tables_are_not_opened(look):
    """Of a table with a file of its own the size is known; what else there is to know makes the server open it."""
    files = [{"name": "nova/small", "size": 5}, {"name": "heat/big", "size": 2 * MIB}, {"name": "nova/big", "size": 7}]
    db = mysql(files, ("small", 1, 1), ("big", 1, 1), (("heat", "big"), 1, MIB), (("heat", "memory"), 3, 0))
    found = look(Place("nova", db, "nova", True), Place("heat", db, "heat", True))
    assert found.tables == [
        Table("heat.big", 2 * MIB, MIB),
        Table("nova.big", 7, 0),
        Table("nova.small", 5, 0),
        Table("heat.memory", 3, 0),
    ]
    assert [values for text, values in db.asked if "data_length" in text] == [("heat", "nova", "big", "memory")]
    assert len(db.asked) == 3  # files, names, and what large ones and those without a file are like: of both schemas
    db = mysql(files[:1], ("small", 1, 1))
    look(Place("nova", db, "nova", True))
    assert not any("data_length" in text for text, _ in db.asked)


def test_a_table_that_is_being_changed(look):
    """The server says NULL of it: its size is that of its file; without one the schema's is not known, and no smaller one."""
    locked = ("big", None, None)
    found = look(Place("nova", mysql([{"name": "nova/big", "size": 30 * MIB}], locked), "nova", True))
    assert (found.tables, found.failures) == ([Table("nova.big", 30 * MIB, 0)], [])
    found = look(Place("nova", mysql([], locked, ("t", 5, 0)), "nova", True))
    error = "the server does not tell it: a change of the table holds it, or it is damaged"
    assert found.failures == [Failed(UNREADABLE, "nova.big", "read its size", error)]
    assert found.schemas == []
    db = mysql([], locked, ("t", 5, 0))
    remote = {"space": "nova", "name": "remote", "engine": "X", "data": None, "unused": None}
    db.answers = (("data_length", [remote]), *db.answers)
    assert look(Place("nova", db, "nova", True)).failures == []  # an engine that has no size


def test_a_schema_of_which_a_part_is_seen_has_no_size(look):
    heat = mysql([], (("heat", "t"), MIB, 0), of="other")
    found = look(Place("nova", mysql([], ("big", MIB, 0)), "nova", False), Place("heat", heat, "heat", True))
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
    heat = Place("heat", mysql([{"name": "heat/t", "size": MIB}], (("heat", "t"), 1, 0), of="other"), "heat", True)
    part = look(hidden, heat, before=whole.kept, at=3.25 * DAY, size=230 * MIB)
    assert part.days is COLLECTING
    assert part.kept["total/"] == whole.kept["total/"][-len(part.kept["total/"]) :]


def test_a_server_that_was_down_for_a_run_has_grown_all_the_same(look):
    whole = grow(look, [(100 + 5 * number) * MIB for number in range(7)])
    down = look(
        before=whole.kept, at=3.25 * DAY, failures=[Failed(UNREADABLE, "db.example:3306", "log in", "no answer")]
    )
    assert (down.schemas, set(down.kept)) == ([], set(whole.kept))
    db = mysql([{"name": "nova/big", "size": 135 * MIB}], ("big", 1, 0))
    back = look(Place("nova", db, "nova", True), before=down.kept, at=3.5 * DAY)
    assert back.schemas[0].rate * DAY / MIB == pytest.approx(10, 1e-3)
    late = look(before=whole.kept, at=30 * DAY, failures=down.failures)
    assert set(late.kept) == {"total/"}


def test_a_schema_that_grows_faster_than_it_used_to(look):
    """The last day against the median of the seven before it; until there are so many nobody knows."""
    size, kept, paces = 1000 * MIB, None, []
    for hours in range(0, 11 * 24, 4):
        size += (500 if hours >= 9 * 24 else 100) * MIB // 6
        db = mysql([{"name": "nova/big", "size": size}], ("big", 1, 0))
        found = look(Place("nova", db, "nova", True), before=kept, at=hours * 3600)
        kept = found.kept
        paces.append((hours / 24, found.schemas[0].pace))
    assert {pace for day, pace in paces if day < 7} == {COLLECTING}
    assert [pace for day, pace in paces if 8 < day < 9] == pytest.approx([1.0] * 5, rel=0.01)
    assert paces[-1][1] == pytest.approx(5.0, rel=0.01)
    assert found.schemas[0].usual == pytest.approx(100 * MIB, rel=0.01)


def test_what_is_usual():
    """One growth of each day; of a schema that hardly grows the usual is 64 MiB, for files grow in steps."""
    kept = None
    for hour in range(24 * 20):
        kept, usual = db_growth.of_days(kept, hour * 3600.0, 10.0)
    assert [at / 3600 for at, _ in kept] == [24 * day for day in range(9, 20)]
    assert usual == 64 * MIB
    assert (
        db_growth.of_days([[day * DAY, -5.0 if day % 2 else 5e3] for day in range(7)], 8 * DAY, COLLECTING)[1]
        == 5e3 * DAY
    )
    assert db_growth.of_days(kept, 400 * DAY, COLLECTING) == ([], None)  # long ago is not usual


def test_samples_are_thinned_and_grow_old():
    kept = []
    for number in range(2000):
        kept = growth.added(kept, number * 300.0, number, 3 * DAY)
    assert len(kept) <= growth.SAMPLES + 5
    assert kept[0][0] >= 1999 * 300.0 - 3.4 * DAY
    assert kept[-1] == [1999 * 300.0, 1999.0]
    assert growth.added("junk", 5.0, 1, DAY) == [[5.0, 1.0]]
    assert growth.added([["x"], [1.0, 2.0], [9.0, 1.0]], 5.0, 1, DAY) == [[1.0, 2.0], [5.0, 1.0]]


def test_statistics_of_large_tables(look):
    db = mysql([{"name": "nova/big", "size": 9 * MIB}], ("big", 1, 0), ("small", 1, 0))
    assert look(Place("nova", db, "nova", True), mode=("analyse",)).analysed == {"nova.big": 3600.0}
    db.answers = [(part, answer) for part, answer in db.answers if part != "innodb_table_stats"]
    assert look(Place("nova", db, "nova", True), mode=("analyse",)).analysed == {"nova.big": None}
    parts = [{"space": None, "name": f"big#P#p{age}", "age": age} for age in (5, 90, 7)]
    db.answers.insert(0, ("innodb_table_stats", parts))
    assert look(Place("nova", db, "nova", True), mode=("analyse",)).analysed == {"nova.big": 90.0}
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
            ("pg_class", [{"space": "public", "name": "t", "size": 8192}, {"space": "other", "name": "u", "size": 1}]),
            ("current_user", [{"u": "nagios"}]),
            kind="postgres", flavour="postgres", version=version,
        )  # fmt: skip
        found = look(Place("a", db, "public", True))
        assert found.schemas == [Growth("a", 10, COLLECTING)]
        assert found.tables == [Table("a.t", 8192, 0), Table("other.u", 1, 0)]
        assert found.failures == [
            Failed(NOT_ALLOWED, "b", "read its size", "a right is missing", "GRANT pg_read_all_stats TO nagios")
        ]
        assert ("pg_read_all_stats" in db.asked[0][0]) is named
        assert not any("pg_total_relation_size" in statement for statement, _ in db.asked)


def test_databases_of_postgresql_that_are_named(look):
    """A connection tells the sizes of all of its server's databases: what was named is told, to whichever it leads."""
    sizes = [{"name": "nova", "size": 10}, {"name": "heat", "size": 20}, {"name": "hidden", "size": None}]
    db = Database(
        ("pg_database_size", sizes), ("pg_class", [{"space": "public", "name": "t", "size": 1}]),
        ("current_user", [{"u": "nagios"}]), kind="postgres", flavour="postgres", version=(15, 18),
    )  # fmt: skip
    found = look(Place("postgres", db, "public", True), schema=("nov*",))
    assert (found.schemas, found.tables, found.failures) == ([Growth("nova", 10, COLLECTING)], [], [])
    found = look(Place("heat", db, "public", True), schema=("heat", "hidden"))
    assert (found.schemas, found.tables) == ([Growth("heat", 20, COLLECTING)], [Table("heat.t", 1, 0)])
    assert [one.error for one in found.failures] == ["a right is missing"]
    sure = look(Place("heat", db, "public", True), schema=("glance",))
    assert [(one.of, one.error) for one in sure.failures] == [
        ("glance", "the schema is not there, or the account has no right on it")
    ]


@pytest.mark.parametrize("words", [("30:",), ("days_left=30:",), ("size=5", "days_left=30:")])
def test_a_limit_of_days_that_nothing_can_meet(look, words):
    db = mysql([], ("big", MIB, 0))
    for more in ({"warning": words}, {"critical": words}):
        with pytest.raises(Failed, match="a limit of days_left needs --size or --path"):
            look(Place("nova", db, "nova", True), **more)
    assert look(Place("nova", db, "nova", True), warning=words, size=MIB).failures == []
    assert look(Place("nova", db, "nova", True), warning=("days_left=", "size=5", "")).failures == []
