# SPDX-License-Identifier: Apache-2.0
"""How the rules are asked: windows and turns, references and their homes, what is not seen. (What they mean is in the lab.)"""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace

import pytest
from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import invariants
from nephoscope.probes.invariant_rules import RULES, SCHEMAS, Home, Rule, rights
from nephoscope.probes.invariants import Found, asked, assigned
from nephoscope.probes.schemas import Place, Sight

from tests.probes.answering import Database

NOW = 1_800_000_000.0
ME = ("CURRENT_USER", [{"u": "nagios@%"}])
OPTIONS = SimpleNamespace(rule=(), schema=(), rows=10, exact=False)
STUCK = Rule("stuck", "is stuck", "cinder", "volumes", (("volumes", ("id", "status")),), "t.status = 'x'")
LOST = STUCK._replace(
    name="lost",
    ref="t.instance",
    homes=(Home("cell", "instances", "uuid", "h.deleted = 0"), Home("api", "build_requests", "instance_uuid")),
)


def place(name, *answers):
    return Place(name, Database(ME, *answers), name, True)


def roles(**places):
    return {**{role: [] for role in SCHEMAS}, **{role: list(found) for role, found in places.items()}}


def window(last, n):
    return ("COUNT(*) AS n FROM", [{"last": last, "n": n}])


def again(*bad):
    """Answer what is asked by its key: those of these that are among them."""
    return ("t.id IN", lambda *keys: [hit(key) for key in bad if str(key) in map(str, keys)])


def hit(key, ref=None):
    return {"k": key, "shown": f"v{key}", "ref": ref}


class Still:
    """A clock on which a run takes no time, while each look at what is left of it costs a second."""

    def __init__(self, at=0.0):
        self.at = at
        self.looks = itertools.count()

    def monotonic(self):
        return float(next(self.looks))

    def time(self):
        return NOW + self.at


def ask(rule, where, before=None, options=OPTIONS, sight=None, at=0.0, seconds=1.0):
    """Ask one rule. A run of one second has no time to hurry."""
    return asked(Run(seconds, before, clock=Still(at)), sight or Sight({}), where, [rule], options)


def test_a_small_table_is_one_turn():
    survey = ask(STUCK, roles(cinder=[place("cinder", window(7, 7), ("AS shown", [hit(3)]))]))
    assert survey.found == [Found(STUCK, 1, ("v3",), 7, True)]
    assert survey.kept == {"stuck/cinder": [None, 0, 0, {}, 0.0, [7, 1, {"3": "v3"}, NOW]]}


def test_a_large_table_is_walked_on():
    """The next run goes on after the last key; until the end is reached nobody knows the whole."""
    first = place("cinder", window(10, 10), ("MIN(t.id)", [{"low": 1, "high": 21}]), ("AS shown", [hit(3)]))
    survey = ask(STUCK, roles(cinder=[first]))
    assert survey.found == [Found(STUCK, 1, ("v3",), 10, False, 0.0, 45.0)]
    second = place("cinder", window(14, 4), again(3, 12), ("AS shown", [hit(12)]))
    survey = ask(STUCK, roles(cinder=[second]), survey.kept, at=60)
    assert survey.found == [Found(STUCK, 2, ("v12", "v3"), 14, True, 60.0)]
    statements = [(re.sub(r"\s+", " ", text), values) for text, values in second.db.asked]
    assert "WHERE t.id > %s ORDER BY t.id LIMIT 10" in statements[0][0]
    assert statements[0][1] == (10,)
    assert "t.id <= %s AND t.id > %s AND (t.status = 'x')" in statements[1][0]
    assert statements[1][1] == (14, 10)
    third = place("cinder", window(10, 10), again(12), ("AS shown", []))
    survey = ask(STUCK, roles(cinder=[third]), survey.kept, at=120)
    assert survey.found == [Found(STUCK, 1, ("v12",), 14, True, 120.0)]  # 3 is mended, and its window was walked
    assert "WHERE t.id >" not in third.db.asked[0][0]
    last = place("cinder", window(14, 4))
    assert ask(STUCK, roles(cinder=[last]), survey.kept, at=180).found == [Found(STUCK, 0, (), 14, True, 60.0)]


def test_what_was_mended_is_no_longer_told_wherever_the_walk_is():
    """Each run looks again at what earlier ones met: nobody waits a day for a table to be walked to see that it is well."""
    before = {"stuck/cinder": [100, 90, 2, {"5": "v5", "6": "v6"}, NOW, [400, 3, {"300": "v300", "6": "v6"}, NOW - 9]]}
    cinder = place("cinder", window(110, 10), again(6))
    survey = ask(STUCK, roles(cinder=[cinder]), before)
    # Of the turn before one more is known by number alone: it stands until the walk is through.
    assert survey.kept["stuck/cinder"] == [110, 100, 1, {"6": "v6"}, NOW, [400, 2, {"6": "v6"}, NOW - 9]]
    assert survey.found == [Found(STUCK, 2, ("v6",), 400, True, 9.0)]
    assert [values for text, values in cinder.db.asked if "t.id IN" in text] == [("5", "6", "300")]


def test_until_a_first_turn_is_through_a_run_walks_on(monkeypatch):
    """For half of its time: one window after the other, and the next run goes on there."""
    run = Run(8, clock=Still())
    left = iter([8, 7, 6, 5, 3, 3, 3])
    monkeypatch.setattr(run, "left", lambda: next(left))

    def walk(*after):
        start = after[0] if after else 0
        return [{"last": start + 10, "n": 10}]

    cinder = place("cinder", ("COUNT(*) AS n FROM", walk), ("MIN(t.id)", [{"low": 1, "high": 101}]))
    survey = asked(run, Sight({}), roles(cinder=[cinder]), [STUCK], OPTIONS)
    assert survey.found == [Found(STUCK, 0, (), 40, False, 0.0, 39.0)]
    # When a turn has been seen there is no hurry.
    run = Run(8, {"stuck/cinder": [None, 0, 0, {}, 0.0, [7, 0, {}, NOW]]}, clock=Still())
    assert asked(run, Sight({}), roles(cinder=[cinder]), [STUCK], OPTIONS).found[0].whole


def test_when_the_hurry_ends_late_what_was_seen_stands():
    answers = iter([[{"last": 10, "n": 10}], Failed(LATE, "db", "SELECT", "too long")])

    def walk(*_):
        answer = next(answers)
        if isinstance(answer, Failed):
            raise answer
        return answer

    cinder = place("cinder", ("COUNT(*) AS n FROM", walk))
    survey = ask(STUCK, roles(cinder=[cinder]), seconds=8)
    assert survey.found == [Found(STUCK, 0, (), 10, False)]
    assert survey.kept["stuck/cinder"][:2] == [10, 10]


@pytest.mark.parametrize(
    "low, last, high, part",
    [
        (1, 51, 101, 50.0),
        (900, 910, 1000, 10.0),
        ("00000000-…", "80000000-…", "ffffffff-…", 50.0),
        ("b1", "p1", "z1", None),
        (5, 5, 5, None),
        (None, 5, None, None),
    ],
)
def test_how_far_a_walk_is(low, last, high, part):
    cinder = place("cinder", ("MIN(t.id)", [{"low": low, "high": high}]))
    found = invariants._part(STUCK, cinder, invariants.Window(last))
    assert found == (None if part is None else pytest.approx(part, rel=1e-6))
    refused = place("cinder", ("MIN(t.id)", Failed(LATE, "db", "SELECT", "too long")))
    assert invariants._part(STUCK, refused, invariants.Window(last)) is None


def test_a_connection_that_is_cut_is_told_once():
    rules = [STUCK, STUCK._replace(name="stuck2"), STUCK._replace(name="stuck3")]
    cinder = place("cinder", ("COUNT(*) AS n", Failed("unreachable", "db", "SELECT", "the connection was cut")))
    survey = asked(Run(1), Sight({}), roles(cinder=[cinder]), rules, OPTIONS)
    said = "the connection was cut, so stuck, stuck2 and 1 more could not be asked"
    assert (survey.found, survey.failures) == (
        [],
        [Failed("unreachable", "db.example:3306", "ask the rules", said)],
    )


NEWER = STUCK._replace(newer=("use_quota",))
GONE = Failed(ABSENT, "db", "SELECT", "Unknown column 'v.use_quota' in 'WHERE' (error 1054)")


def test_a_rule_for_a_newer_release_is_passed_over():
    def asking(failed, options=OPTIONS):
        return ask(NEWER, roles(cinder=[place("cinder", ("COUNT(*) AS n FROM", failed))]), options=options)

    assert asking(GONE)[:3] == ([], {}, ["stuck"])
    # A right, another column, or a rule that was asked for by name: not passed over.
    denied = Failed(NOT_ALLOWED, "db", "SELECT", "SELECT command denied for column 'v.use_quota'")
    other = Failed(ABSENT, "db", "SELECT", "Unknown column 't.status'")
    named = SimpleNamespace(**{**vars(OPTIONS), "rule": ("stuck",)})
    for survey, kind in ((asking(denied), NOT_ALLOWED), (asking(other), UNREADABLE), (asking(GONE, named), UNREADABLE)):
        assert (survey.older, [failed.kind for failed in survey.found]) == ([], [kind])


def test_exact_walks_it_all(monkeypatch):
    """From the start to the end in one run, a window at a time: what comes back must fit."""
    monkeypatch.setattr(invariants, "STEP", 10)
    cinder = place(
        "cinder", ("COUNT(*) AS n FROM", lambda *after: [{"last": 20, "n": 3} if after else {"last": 10, "n": 10}])
    )
    options = SimpleNamespace(**{**vars(OPTIONS), "exact": True})
    survey = ask(STUCK, roles(cinder=[cinder]), {"stuck/cinder": [5, 10, 0, {}, NOW, None]}, options)
    assert survey.found == [Found(STUCK, 0, (), 13, True)]
    assert [values for text, values in cinder.db.asked if "COUNT" in text] == [(), (10,)]


def test_a_costly_rule_walks_fewer_rows():
    cinder = place("cinder", window(1, 0))
    ask(STUCK._replace(share=5), roles(cinder=[cinder]))
    assert "LIMIT 2)" in cinder.db.asked[0][0]
    assert len(cinder.db.asked) == 1  # of an empty table nothing more is asked


def test_a_row_is_lost_when_its_reference_lives_nowhere():
    def living(*alive):
        return lambda *values: [{"k": value} for value in values if value in alive]

    cells = [
        place("nova", ("AS k FROM `nova`.`instances`", living("a"))),
        place("nova_cell0", ("instances", living("B"))),
    ]
    api = place("nova_api", ("cell_mappings", [{"n": 2}]), ("build_requests", living("c")))
    rows = [hit(1, "a"), hit(2, "B"), hit(3, "c"), hit(4, "d"), hit(5)]
    cinder = place("cinder", window(5, 5), ("t.id IN", rows[3:]), ("AS shown", rows))
    survey = ask(LOST, roles(cinder=[cinder], cell=cells, api=[api]))
    assert survey.found == [Found(LOST, 2, ("v4", "v5"), 5, True)]
    assert cells[0].db.asked[0][1] == ("B", "a", "c", "d")
    assert cells[1].db.asked[0][1] == ("B", "c", "d")  # each is asked for what the one before did not have
    assert cinder.db.asked[-1][1] == (4, 5)  # and what is lost is read once more


def test_what_was_put_right_meanwhile_is_not_told():
    cinder = place("cinder", window(5, 5), ("t.id IN", [hit(4, "other")]), ("AS shown", [hit(4, "gone")]))
    api = place("nova_api", ("cell_mappings", [{"n": 1}]))
    assert ask(LOST, roles(cinder=[cinder], cell=[place("nova")], api=[api])).found == [Found(LOST, 0, (), 5, True)]


def test_a_cell_that_is_not_seen():
    where = roles(
        cinder=[place("cinder")], cell=[place("nova")], api=[place("nova_api", ("cell_mappings", [{"n": 2}]))]
    )
    survey = ask(LOST, where)
    assert survey.found == []
    assert survey.failures == [
        Failed(
            UNREADABLE,
            "cells",
            "count the cells",
            "nova_api knows 2 cells, and 1 of their schemas are seen (nova), so lost could not be asked",
            "--schema cell=NAME, or the file of a service in the cell",
        )
    ]


@pytest.mark.parametrize(
    "answer, failed",
    [
        (Failed(NOT_ALLOWED, "db", "SELECT", "denied"), Failed(NOT_ALLOWED, "stuck", "read cinder.volumes", "a right is missing",
                                                               "GRANT SELECT (id, status) ON cinder.volumes TO 'nagios'@'%'")),
        (Failed(ABSENT, "db", "SELECT", "no such table"), Failed(UNREADABLE, "stuck", "read cinder.volumes", "no such table: the "
                                                                 "schema is not of a release that the rule was written for")),
        (Failed(LATE, "db", "SELECT", "too long"), Failed(LATE, "stuck", "read cinder.volumes", "too long: -t gives more time, "
                                                           "--rows looks at fewer")),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_asked(answer, failed):
    assert ask(STUCK, roles(cinder=[place("cinder", ("COUNT", answer))])).found == [failed]


def test_a_home_that_cannot_be_read():
    cinder = place("cinder", window(5, 5), ("AS shown", [hit(4, "a")]))
    cell = place("nova", ("instances", Failed(NOT_ALLOWED, "db", "SELECT", "denied")))
    (failed,) = ask(LOST, roles(cinder=[cinder], cell=[cell], api=[place("nova_api", ("cell_map", [{"n": 1}]))])).found
    assert (failed.kind, failed.cure) == (NOT_ALLOWED, "GRANT SELECT (uuid) ON nova.instances TO 'nagios'@'%'")


def test_a_schema_that_is_surely_not_there_is_passed_over_unless_it_was_asked_for():
    sure = Sight({}, certain=True)
    assert ask(STUCK, roles(), sight=sure).skipped == {"cinder": ["stuck"]}
    for options in (
        SimpleNamespace(**{**vars(OPTIONS), "rule": ("stuck",)}),
        SimpleNamespace(**{**vars(OPTIONS), "schema": (("cinder", "cinder"),)}),
    ):
        survey = ask(STUCK, roles(), options=options, sight=sure)
        assert survey.failures == [
            Failed(UNREADABLE, "cinder", "look for the schema", "there is no such schema, so stuck could not be asked")
        ]
    (failed,) = ask(STUCK, roles()).failures
    assert failed.kind == NOT_ALLOWED


def test_versions_of_cells():
    rule = RULES[[rule.name for rule in RULES].index("cell-versions-differ")]
    cells = [
        place(name, ("version_num", [{"v": version}])) for name, version in (("nova", "b"), ("c1", "b"), ("c2", "a"))
    ]
    assert ask(rule, roles(cell=cells)).found == [Found(rule, 1, ("c1 has b", "c2 has a", "nova has b"), 3, True)]
    assert ask(rule, roles(cell=cells[:2])).found == [Found(rule, 0, (), 2, True)]
    assert ask(rule, roles(cell=[place("nova")])).found[0].error == "it is empty"
    gone = ("alembic_version", Failed(ABSENT, "db", "SELECT", "no such table"))
    old = place("nova", gone, ("migrate_version", [{"v": 402}]))
    assert ask(rule, roles(cell=[old])).found == [Found(rule, 0, (), 1, True)]
    assert ask(rule, roles(cell=[place("nova", gone)])).found[0].kind == UNREADABLE


@pytest.mark.parametrize(
    "damaged",
    [
        7,
        "x",
        [1],
        [{}, 0, 0, {}, 0, None],
        [1, 2, 3, 4, 5, 6],
        [1, "x", 0, {}, 0, None],
        [1, 1, 1, {}, 0, [1]],
        [1, 0, 0, {}, None],
    ],
)
def test_damaged_state_begins_anew(damaged):
    survey = ask(STUCK, roles(cinder=[place("cinder", window(7, 7))]), {"stuck/cinder": damaged})
    assert survey.found == [Found(STUCK, 0, (), 7, True)]


def test_what_schemas_are_called():
    places = {
        name: place(name) for name in ("nova", "nova_cell0", "nova_cell7", "nova_api", "ovs_neutron", "neutron", "net")
    }
    found = assigned(Sight(places), ())
    assert [one.name for one in found["cell"]] == ["nova", "nova_cell0", "nova_cell7"]
    assert [one.name for one in found["neutron"]] == ["neutron", "ovs_neutron"]
    found = assigned(Sight(places), (("neutron", "net"), ("cell", "nova_cell7")))
    assert [one.name for one in found["cell"] + found["neutron"]] == ["nova_cell7", "net"]


def test_rules_are_whole():
    """Each column that a rule's SQL names is among those that it says it reads; no word clashes with parameters."""
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        show, key = (f"t.{rule.same}", "") if rule.same else (rule.show, f"t.{rule.key}")
        text = " ".join((rule.where, show, rule.ref, rule.join, key))
        assert "%" not in text
        known = {column for _, columns in rule.uses for column in columns}
        assert set(re.findall(r"\b[a-z]\.([a-z_]+)", text)) <= known, rule.name
        assert set(re.findall(r"\{(\w+)\}", text)) - {"now"} <= {table for table, _ in rule.uses}
        for home in rule.homes:
            assert set(re.findall(r"h\.([a-z_]+)", home.where)) <= set(home.columns)
    assert rights()["api", "cell_mappings"] == ("id",)
    assert not {"connection_info", "transport_url", "database_connection", "admin_pass", "key_data"} & {
        column for columns in rights().values() for column in columns
    }


def test_the_statements_that_grant_it_all():
    statements = invariants.grants({"heat": [place("heat")]})
    assert statements == [
        "GRANT SELECT (deleted_at, engine_id, updated_at) ON heat.service TO 'nagios'@'%'",
        "GRANT SELECT (created_at, deleted_at, id, status, updated_at) ON heat.stack TO 'nagios'@'%'",
        "GRANT SELECT (created_at, engine_id, stack_id) ON heat.stack_lock TO 'nagios'@'%'",
    ]
