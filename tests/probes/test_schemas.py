# SPDX-License-Identifier: Apache-2.0
"""Which schemas show and how much of them. The rows are those that MariaDB 10.11 gave for accounts with these grants."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import schemas
from nephoscope.probes.schemas import Place, Sight, quoted, sight

from tests.probes.answering import Database

ME = ("SELECT CURRENT_USER()", [{"u": "nagios@%"}])


def mysql(names, *rights):
    return Database(
        ME,
        ("information_schema.schemata", [{"name": name} for name in names]),
        ("user_privileges", [{"pattern": pattern, "word": word} for pattern, word in rights]),
    )


def whole(found):
    return {name: place.whole for name, place in found.places.items()}


def test_columns_alone_show_a_part():
    assert whole(sight([mysql(["information_schema", "nova"])])) == {"nova": False}


def test_a_right_on_the_schema_shows_all_of_it_and_patterns_are_those_of_like():
    found = sight(
        [mysql(["nova", "nova_cell0", "novaXcell0", "cinder"], ("nova\\_cell%", "REFERENCES"), ("nova", "SELECT"))]
    )
    assert whole(found) == {"nova": True, "nova_cell0": True, "novaXcell0": False, "cinder": False}
    found = sight([mysql(["nova_cell0", "novaXcell0"], ("nova_cell0", "SHOW VIEW"))])
    assert whole(found) == {"nova_cell0": True, "novaXcell0": True}
    assert not found.certain


def test_a_right_on_everything():
    found = sight([mysql(["nova", "mysql", "sys"], ("", "SELECT"))])
    assert (whole(found), found.certain) == ({"nova": True}, True)


@pytest.mark.parametrize("word, certain", [("SHOW DATABASES", True), ("PROCESS", False)])
def test_what_proves_that_a_schema_is_not_there(word, certain):
    found = sight([mysql(["nova"], ("", word))])
    assert (whole(found), found.certain) == ({"nova": False}, certain)


def test_what_could_not_be_opened_proves_nothing():
    failed = Failed("unreachable", "db", "log in", "Connection refused")
    found = sight([mysql(["nova"], ("", "SHOW DATABASES"))], [failed])
    assert (found.certain, found.failures) == (False, [failed])


def test_the_connection_that_shows_more_is_asked():
    first, second = mysql(["nova"]), mysql(["nova"], ("nova", "SELECT"))
    assert sight([first, second]).places["nova"].db is second
    assert sight([second, first]).places["nova"].db is second


@pytest.mark.parametrize(
    "answers, failures",
    [
        ([("CONCAT(@@hostname", "a 3306"), ("CONCAT(@@hostname", "b 3306")], 1),
        ([("CONCAT(@@hostname", "a 3306"), ("CONCAT(@@hostname", "a 3306")], 0),
        ([("wsrep_cluster_state_uuid", "one"), ("wsrep_cluster_state_uuid", "one")], 0),  # two nodes of a cluster
        ([("wsrep_cluster_state_uuid", "one"), ("wsrep_cluster_state_uuid", "two")], 1),
    ],
)
def test_a_schema_of_two_servers(answers, failures):
    """Cells may have servers of their own: what is on the second would not be looked at, and nobody would know."""
    links = [mysql(["nova", "cinder"] if number else ["nova"], ("", "SELECT")) for number in (0, 1)]
    for number, (link, (part, word)) in enumerate(zip(links, answers)):
        link.of = f"db{number}"
        link.answers = (
            (part, [{"variable_name": "x", "value": word} if "wsrep" in part else {"v": word}]),
            *link.answers,
        )
    found = sight(links)
    error = "two servers have such a schema, and one of them alone is looked at: db0 and db1"
    wanted = [Failed(UNREADABLE, "nova", "look for the schema", error, "one check for each server")]
    assert (found.failures, found.places["nova"].db) == (wanted[:failures], links[0])


def test_a_schema_that_is_named_and_missing():
    hidden = sight([mysql(["nova"])])
    assert hidden.choose(["nova", "cinder*"]) == (
        [hidden.places["nova"]],
        [
            Failed(
                NOT_ALLOWED,
                "cinder*",
                "look for the schema",
                "the schema is not there, or the account has no right on it",
                "GRANT REFERENCES ON `cinder%`.* TO 'nagios'@'%'",
            )
        ],
    )
    sure = sight([mysql(["nova"], ("", "SHOW DATABASES"))])
    assert sure.choose(["cinder"]) == ([], [Failed(ABSENT, "cinder", "look for the schema", "there is no such schema")])
    assert [place.name for place in sure.choose([])[0]] == ["nova"]


def postgres(here, *others):
    names = [{"name": name} for name in (here, *others)]
    return Database(
        ("pg_database", names),
        ("current_database", [{"n": here}]),
        ("current_user", [{"u": "nagios"}]),
        kind="postgres",
        flavour="postgres",
        version=(15, 18),
    )


def test_databases_of_postgresql():
    found = sight([postgres("nova", "neutron", "postgres"), postgres("cinder", "nova")])
    assert (sorted(found.places), found.others) == (["cinder", "nova"], {"neutron"})
    assert found.missing("neutron") == Failed(
        NOT_ALLOWED,
        "neutron",
        "look for the schema",
        "the database is there, and the connection is to another one",
        "--database neutron, or the file of a service that uses it",
    )
    assert found.missing("heat").kind == ABSENT
    assert found.surely_without(["heat"])
    assert not found.surely_without(["neut*"])
    assert found.places["nova"].table("ports") == '"public"."ports"'
    assert found.places["nova"].grant("SELECT (id)", "ports") == "GRANT SELECT (id) ON public.ports TO nagios"


def test_names_are_quoted():
    assert quoted(Database(), "a`b") == "`a``b`"
    assert quoted(Database(kind="postgres"), 'a"b') == '"a""b"'
    assert Place("x", Database(ME), "nova", True).table("t") == "`nova`.`t`"


def test_a_whole_schema_is_left_out_by_its_name_and_tables_are_chosen_by_theirs():
    place = Place("heat", Database(), "heat", True)
    run = Run(exclude=["heat"])
    assert schemas.left_out(run, place)
    assert run.left_out == {"heat"}
    assert not schemas.left_out(Run(include=["heat.stack"]), place)
    assert not schemas.left_out(Run(exclude=["heat.stack"]), place)


def test_nobody_looked():
    assert Sight({}).missing("nova").cure == "GRANT REFERENCES ON nova.* TO the account"
