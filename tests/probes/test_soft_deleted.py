# SPDX-License-Identifier: Apache-2.0
"""How tables mark their rows, where the sample is taken, and what it says of the whole."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from nephoscope.base import LATE, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import schemas, soft_deleted
from nephoscope.probes.schemas import Place, Sight
from nephoscope.probes.soft_deleted import (
    DEPTH,
    PROBES,
    Mark,
    Shadow,
    Table,
    marked,
    of_schema,
    reckoned,
    strata,
    survey,
)

from tests.probes.answering import Database

NOW = datetime(2026, 11, 21, 12)
MYSQL = Place("nova", Database(("CURRENT_USER", [{"u": "nagios@%"}])), "nova", True)
POSTGRES = Place("nova", Database(kind="postgres"), "public", True)
OPTIONS = SimpleNamespace(exact=False, retention=90 * 86400.0)


@pytest.mark.parametrize(
    "place, name, columns, mark",
    [
        # nova 34, cinder 29, manila (a text), heat 27, keystone 30; what marks nothing
        (MYSQL, "instances", {"id": "int", "deleted": "int", "deleted_at": "datetime"},
         Mark("t.deleted <> 0", "t.deleted_at", "id", ("id", "deleted", "deleted_at"))),
        (POSTGRES, "volumes", {"id": "character varying", "deleted": "boolean", "deleted_at": "timestamp without time zone"},
         Mark("t.deleted", "t.deleted_at", "id", ("id", "deleted", "deleted_at"))),
        (MYSQL, "shares", {"id": "varchar", "deleted": "varchar", "deleted_at": "datetime"},
         Mark("t.deleted_at IS NOT NULL", "t.deleted_at", "id", ("id", "deleted", "deleted_at"))),
        (MYSQL, "stack", {"id": "varchar", "deleted_at": "datetime"},
         Mark("t.deleted_at IS NOT NULL", "t.deleted_at", "id", ("id", "deleted_at"))),
        (MYSQL, "token", {"id": "varchar", "expires": "datetime"},
         Mark("t.expires < UTC_TIMESTAMP()", "t.expires", "id", ("id", "expires"))),
        (POSTGRES, "revocation_event", {"id": "integer", "expires_at": "timestamp"},
         Mark("t.expires_at < (now() AT TIME ZONE 'utc')", "t.expires_at", "id", ("id", "expires_at"))),
        (MYSQL, "encryption", {"deleted": "tinyint"}, Mark("t.deleted <> 0", "NULL", "", ("deleted",))),
        (POSTGRES, "encryption", {"deleted": "boolean"}, Mark("t.deleted", "CAST(NULL AS timestamp)", "", ("deleted",))),
        (MYSQL, "images", {"id": "varchar"}, None),
        (MYSQL, "trust", {"id": "varchar", "expires_at": "datetime"}, None),
    ],
)  # fmt: skip
def test_how_a_table_marks_its_rows(place, name, columns, mark):
    assert marked(place, name, columns) == mark


def test_where_the_sample_is_taken():
    assert strata(1, 2000)[:3] == [1, 101, 201]
    assert len(strata(1, 2000)) == PROBES
    assert strata(1, 3) == [1, 2, 3]  # a few keys only
    assert strata("0a…", "ff…") == ["", "0c", "19", "26", "33", "40", "4c", "59", "66", "73", "80", "8c", "99", "a6", "b3", "c0",
                                    "cc", "d9", "e6", "f3"]  # fmt: skip


def part(number, n, gone=0, expired=0, oldest=None, first=None, last=None):
    return {"part": number, "n": n, "gone": gone, "expired": expired, "oldest": oldest, "first": first, "last": last}


def test_an_even_table():
    """Half of every part is gone: half of the table, whatever its size."""
    cuts = strata(1, 1_000_000)
    answers = [
        part(number, DEPTH, 10, 5, NOW - timedelta(days=99), cut, cut + DEPTH - 1) for number, cut in enumerate(cuts)
    ]
    assert reckoned("t", 1_000_000, cuts, 1_000_000, answers, NOW) == Table(
        "t", 1_000_000, 400_000, 200_000, 99 * 86400, False
    )


def test_thin_parts_weigh_little():
    """Of a first half of ids almost all rows were archived: its few living ones say nothing of the dense, dead second half."""
    cuts = strata(1, 2000)
    answers = [part(number, 1, 0, 0, None, cut, cut) for number, cut in enumerate(cuts[:10])]
    answers += [part(10 + number, DEPTH, DEPTH, 0, None, cut, cut + DEPTH - 1) for number, cut in enumerate(cuts[10:])]
    found = reckoned("t", 1010, cuts, 2000, answers, NOW)
    assert found.deleted == 1000
    assert found.oldest is None


def test_random_keys_weigh_alike():
    cuts = strata("0", "f")
    answers = [part(number, DEPTH, DEPTH if number < 5 else 0, 0, None, "x", "y") for number in range(PROBES)]
    assert reckoned("t", 80_000, cuts, "f", answers, NOW).deleted == 20_000


def test_an_empty_answer_is_nothing():
    assert reckoned("t", 5000, [1], 1, [part(0, 0)], NOW) == Table("t", 5000, 0, 0, None, False)
    assert Table("t", 0, 0, 0, None, True).share == 0.0


def database(tables, *more):
    """A MySQL with these tables: name -> (rows, bytes, columns)."""
    sizes = [{"name": name, "n": rows, "size": size} for name, (rows, size, _) in tables.items()]
    columns = [
        {"name": name, "col": col, "kind": "int", "indexed": "PRI" if col == "id" else ""}
        for name, (_, _, cols) in tables.items()
        for col in cols
    ]
    return Database(
        ("CURRENT_USER", [{"u": "nagios@%"}]),
        ("UTC_TIMESTAMP()", [{"now": NOW}]),
        ("information_schema.tables", sizes),
        ("information_schema.columns", columns),
        *more,
    )


FULL = ("id", "deleted", "deleted_at")
COUNTED = {"part": 0, "n": 3, "gone": 1, "expired": 0, "oldest": NOW}


def test_small_tables_are_counted_the_smallest_first():
    counted = [
        {"part": number, "n": 10, "gone": 4, "expired": 1, "oldest": NOW - timedelta(days=2)} for number in (0, 1)
    ]
    tables = {"b": (50, 10, FULL), "a": (5, 30, FULL), "plain": (9, 5, ("id",)), "shadow_a": (7, 60, FULL)}
    db = database(tables, ("LIMIT 1001", counted))
    tables, shadow = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    assert tables == [Table("nova.a", 10, 4, 1, 172800.0, True), Table("nova.b", 10, 4, 1, 172800.0, True)]
    assert shadow == Shadow("nova", 7, 100 * 60 / 105)
    limits = [values for statement, values in db.asked if "LIMIT 1001" in statement]
    assert limits == [(NOW - timedelta(days=90),) * 2]  # both by one statement


def test_a_large_table_is_sampled_by_two_statements():
    db = database({"a": (9_000_000, 1, FULL)}, ("MIN(t.id) AS low", [{"low": 1, "high": 9_000_000}]),
                  ("UNION ALL", [part(0, DEPTH, DEPTH, 0, NOW, 1, DEPTH)]))  # fmt: skip
    (table,), _ = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    assert table == Table("nova.a", 9_000_000, 9_000_000, 0, 0.0, False)
    assert len(db.asked) == 6
    statement = db.asked[-1][0]
    assert statement.count(f"LIMIT {DEPTH}") == PROBES
    assert "COUNT(*) AS n, SUM" in statement


def test_statistics_that_call_a_large_table_small_are_not_believed():
    db = database({"a": (3, 1, FULL)}, ("LIMIT 1001", [{"part": 0, "n": 1001, "gone": 1, "expired": 0, "oldest": NOW}]),
                  ("MIN(t.id) AS low", [{"low": 1, "high": 5000}]), ("UNION ALL", [part(0, DEPTH, 0, 0, None, 1, 25)]))  # fmt: skip
    (table,), _ = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    assert table.rows == 1001
    assert not table.exact


@pytest.mark.parametrize(
    "failed, said",
    [
        (Failed(NOT_ALLOWED, "db", "SELECT …", "SELECT command denied"),
         Failed(NOT_ALLOWED, "nova.a", "read its marks", "a right is missing",
                "GRANT SELECT (id, deleted, deleted_at) ON nova.a TO 'nagios'@'%'")),
        (Failed("late", "db", "SELECT …", "a lock was not granted within a second"),
         Failed("late", "nova.a", "read its marks", "a lock was not granted within a second")),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read(failed, said):
    db = database({"a": (3, 1, FULL)}, ("LIMIT 1001", failed))
    assert of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)[0] == [said]


def test_what_the_server_does_not_know():
    db = database(
        {"a": (None, 1, FULL)}, ("LIMIT 1001", [{"part": 0, "n": 1001, "gone": 1, "expired": 0, "oldest": NOW}])
    )
    (failed,), _ = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    assert (failed.kind, failed.of, failed.error) == (UNREADABLE, "nova.a", "the server has no statistics of it")
    db = database({"a": (5000, 1, ("deleted", "key"))})
    (failed,), _ = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    assert (failed.error, failed.cure) == ("it has none with an index", "--exact counts it")


def test_an_id_without_an_index_is_not_walked_along():
    db = database({"a": (5000, 1, ())})
    db.answers = (
        ("information_schema.columns", [{"name": "a", "col": col, "kind": "int", "indexed": ""} for col in FULL]),
        *db.answers,
    )
    (failed,), _ = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    assert failed == Failed(UNREADABLE, "nova.a", "read its marks", "it has none with an index", "--exact counts it")
    assert not any("MIN(t.id)" in statement for statement, _ in db.asked)


def test_a_table_that_shows_no_column():
    """While an ALTER holds it the server leaves it out: nobody knows whether its rows are marked."""
    tables = {"a": (3, 1, FULL), "held": (None, 0, ()), "shadow_held": (None, 0, ())}
    db = database(tables, ("LIMIT 1001", [{"part": 0, "n": 3, "gone": 1, "expired": 0, "oldest": NOW}]))
    found, _ = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    error = "the server does not tell its columns: a change of the table holds it, or it is damaged"
    assert found == [
        Failed(UNREADABLE, "nova.held", "look for its marks", error),
        Table("nova.a", 3, 1, 0, 0.0, True),
    ]
    # Where tables hide for want of a right, that is told of the schema; and what is left out is left out.
    assert len(of_schema(Run(), Place("nova", db, "nova", False), OPTIONS)[0]) == 1
    assert len(of_schema(Run(exclude=["nova.held"]), Place("nova", db, "nova", True), OPTIONS)[0]) == 1


def test_a_time_that_is_none():
    db = database(
        {"a": (3, 1, FULL)},
        ("LIMIT 1001", [{"part": 0, "n": 1, "gone": 1, "expired": 0, "oldest": "0000-00-00 00:00:00"}]),
    )
    (failed,), _ = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)
    assert failed.error == "'0000-00-00 00:00:00' is no time"


def test_a_table_that_a_filter_leaves_out_is_not_touched():
    db = database({"a": (3, 1, FULL)})
    assert of_schema(Run(exclude=["nova.a"]), Place("nova", db, "nova", True), OPTIONS)[0] == []
    assert not any("`a`" in statement for statement, _ in db.asked)
    assert soft_deleted._nothing([]).kind == NOT_ALLOWED


def test_one_small_table_that_fails_takes_no_other_with_it():
    """Many are counted by one statement; when that fails each is asked by itself, and the one that can't be is named."""
    denied = Failed(NOT_ALLOWED, "db", "SELECT", "denied")
    answers = [("`a`", denied), ("`b`", [{"n": 3, "gone": 1, "expired": 0, "oldest": NOW}])]
    db = database({"a": (3, 1, FULL), "b": (3, 1, FULL)}, *answers)
    first, second = of_schema(Run(), Place("nova", db, "nova", True), OPTIONS)[0]
    assert (first.of, first.kind) == ("nova.a", NOT_ALLOWED)
    assert second == Table("nova.b", 3, 1, 0, 0.0, True)


@pytest.fixture
def look(monkeypatch):
    def run(*places, seconds=8.0, schema=()):
        sight = Sight({place.name: place for place in places}, accounts=["nagios"], certain=True)
        monkeypatch.setattr(schemas, "opened", lambda *_: contextlib.nullcontext(sight))
        return survey(Run(seconds), SimpleNamespace(**{**vars(OPTIONS), "schema": schema}))

    return run


def test_a_schema_without_marks_costs_two_statements(look):
    """Sizes would make the server open each of its tables."""
    plain, nova = database({"a": (3, 1, ("id",))}), database({"a": (3, 1, FULL)}, ("LIMIT 1001", [COUNTED]))
    found = look(Place("blog", plain, "blog", True), Place("nova", nova, "nova", True))
    assert (found.looked, found.failures) == (["nova"], [])
    assert [sum("table_rows" in text for text, _ in db.asked) for db in (plain, nova)] == [0, 1]
    assert len(plain.asked) == 2


def test_when_the_time_is_up_the_rest_is_one_failure(look):
    places = [Place(f"s{number}", database({"a": (3, 1, FULL)}), f"s{number}", True) for number in range(500)]
    found = look(*places, seconds=0.4)
    said = "the time was up, 500 of 500 schemas were not looked at"
    assert found.failures == [Failed(LATE, "", "look at schemas", said, "-t gives more")]
    assert not any(place.db.asked for place in places)
