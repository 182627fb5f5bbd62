# SPDX-License-Identifier: Apache-2.0
"""What is common to the families of arrays; the family here tells what a test gives it."""

from __future__ import annotations

import importlib

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import san
from nephoscope.probes.san import Array, Part, Place, Room, Speed

GOOD = Array("an array", [Part("controller", "A", "ok"), Part("disk", "1", "ok"), Part("volume", "v", "ok")])
DAY = 86400.0


class Family:
    """Stands for a family's module: each address gives an array, or fails."""

    def __init__(self, **answers):
        self.answers, self.asked, self.greeting = answers, [], ""

    def look(self, run, place, modes):
        self.asked.append(("look", place.host, modes, run.left(), place.port))
        return self._answer(place)

    def greet(self, run, place):
        self.asked.append(("greet", place.host, run.left(), place.port))
        return self.greeting + self._answer(place).product

    def _answer(self, place):
        answer = self.answers[place.host]
        if isinstance(answer, Failed):
            raise answer
        return answer


@pytest.fixture
def survey(monkeypatch):
    def ask(
        *hosts, before=None, shift=0.0, modes=("health", "capacity"), seconds=50.0, profile="netapp", asked=False,
        greeting="", **answers,
    ):  # fmt: skip
        ask.family = Family(**answers)
        ask.family.greeting = greeting
        monkeypatch.setattr(san, "family", lambda _profile: ask.family)
        run = Run(seconds, before, clock=Clock(shift=shift))
        return san.survey(run, profile, hosts or tuple(answers), Place("", password="hidden"), modes, asked=asked)

    return ask


def test_every_profile_has_a_module_with_both_functions():
    assert san.MODULES.keys() == san.PROFILES.keys()
    for profile in san.PROFILES:
        module = san.family(profile)
        assert module is importlib.import_module(f"nephoscope.probes.{san.MODULES[profile]}")
        assert callable(module.look)
        assert callable(module.greet)


def test_a_part_that_vanished_is_missed_for_a_while(survey):
    first = survey(a=GOOD)
    assert first.gone == []
    less = GOOD._replace(parts=GOOD.parts[:1])  # a volume may go, a disk may not
    then = survey(a=less, before=first.kept, shift=600.0)
    assert [(of, round(seconds)) for of, seconds in then.gone] == [("disk 1", 600)]
    assert survey(a=less, before=then.kept, shift=8 * DAY).gone == []
    assert survey(a=GOOD, before=then.kept, shift=900.0).gone == []
    # A part whose place is now empty is gone, too.
    empty = GOOD._replace(parts=[*GOOD.parts[:1], Part("disk", "1", "absent")])
    assert [of for of, _ in survey(a=empty, before=first.kept, shift=60.0).gone] == ["disk 1"]


def test_what_could_not_be_asked_is_not_missing(survey):
    kept = survey(a=GOOD).kept
    less = GOOD._replace(parts=GOOD.parts[:1], lost=[Failed(NOT_ALLOWED, "disk", "GET /disks", "HTTP 403")])
    then = survey(a=less, before=kept, shift=600.0)
    assert then.gone == []
    # One disk of many could not be read, or something that leads to all kinds: who knows what is missing?
    for of in ("disk /disks/1", "system /chassis", ""):
        lost = [Failed(NOT_ALLOWED, of, "GET", "HTTP 403")]
        found = survey(a=less._replace(lost=lost), before=kept, shift=600.0)
        assert found.gone == []
        assert found.lost("disk")
        assert found.lost("fan") is (not of.startswith("disk"))
    assert [of for of, _ in survey(a=less._replace(lost=()), before=then.kept, shift=900.0).gone] == ["disk 1"]


@pytest.mark.parametrize("before", ["x", {"seen": 5, "growth": [], "rates": {}}, {"seen": {"disk 1": "x"}}, []])
def test_damaged_state_begins_anew(survey, before):
    assert survey(a=GOOD, before=before).gone == []


def test_rates_of_the_family_are_kept_also_when_it_has_none_this_time(survey):
    kept = survey(a=GOOD._replace(rates={"x": 1})).kept
    assert survey(a=GOOD, before=kept).kept["rates"] == {"x": 1}


def test_a_pool_that_grows_says_when_it_is_full(survey):
    kept, told = None, []
    for day in range(8):
        room = Room("pool", "p", 1000.0, 100.0 + 50.0 * day)
        found = survey(a=GOOD._replace(rooms=[room, Room("volume", "v", 10.0, 1.0)]), before=kept, shift=day * DAY)
        kept = found.kept
        told.append([thing.full_in for thing in found.array.rooms])
    assert repr(told[0]) == "[COLLECTING, None]"
    assert told[7][0] == pytest.approx(11 * DAY, rel=0.01)  # 550 left, 50 a day


def test_the_past_of_a_pool_that_could_not_be_read_is_kept(survey):
    room = Room("pool", "p", 1000.0, 100.0)
    kept = survey(a=GOOD._replace(rooms=[room])).kept
    lost = [Failed(NOT_ALLOWED, "pool", "GET /pools", "HTTP 403")]
    then = survey(a=GOOD._replace(lost=lost), before=kept, shift=3600.0)
    assert then.kept["growth"] == kept["growth"]
    assert survey(a=GOOD, before=kept, shift=9 * DAY).kept["growth"] == {}  # a pool that is no more


@pytest.mark.parametrize(
    ("seconds", "words"), [(40.0, "1 min"), (7199.0, "120 min"), (7200.0, "2 h"), (6 * DAY, "6 d")]
)
def test_how_long_ago(seconds, words):
    assert san.ago(seconds) == words


def test_several_addresses(survey):
    silent = Failed(UNREACHABLE, "", "connect", "no answer in 25 s")
    refused = Failed(NOT_ALLOWED, "", "log in", "HTTP 401", "the right password")
    found = survey("a", "b", "c", a=silent, b=GOOD, c=refused)
    assert found.array.parts == GOOD.parts
    assert found.addresses == {
        "a": Failed(UNREACHABLE, "management a", "connect", "no answer in 25 s"),
        "b": None,
        "c": Failed(NOT_ALLOWED, "management c", "log in", "HTTP 401", "the right password"),
    }
    asked = survey.family.asked
    assert [entry[:2] for entry in asked] == [("look", "a"), ("look", "b"), ("greet", "c")]
    # One that is silent leaves time for the next ones; a greeting has little.
    assert asked[0][3] <= 49.0 / 3
    assert asked[1][3] <= 49.0 / 2
    assert asked[2][2] <= san.GREETING


def test_no_address_answers(survey):
    refused = Failed(NOT_ALLOWED, "", "log in", "HTTP 401")
    silent = Failed(UNREACHABLE, "", "connect", "no answer")
    # Each says why not: the one that is silent must not stand behind the one that refuses.
    found = survey("a", "b", a=refused, b=silent, before={"seen": {"disk 1": 5.0}})
    assert found.array.product == ""
    assert list(found.addresses.values()) == [
        Failed(NOT_ALLOWED, "management a", "log in", "HTTP 401"),
        Failed(UNREACHABLE, "management b", "connect", "no answer"),
    ]
    assert found.kept == {"seen": {"disk 1": 5.0}}
    with pytest.raises(Failed) as caught:
        survey("a", a=silent)
    assert caught.value == silent


@pytest.mark.parametrize("greeting", ["", "greeted as: "])
def test_another_array_at_the_second_address(survey, greeting):
    other = GOOD._replace(product="another one")
    found = survey("a", "b", "c", a=GOOD, b=other, c=GOOD, greeting=greeting)
    error = f"another array than that looked at answers: {greeting}another one"
    assert found.addresses == {
        "a": None,
        "b": Failed(UNREADABLE, "management b", "", error, "a service of its own for it"),
        "c": None,
    }


def test_addresses_with_ports(survey):
    answers = {"a": GOOD, "::1": GOOD}
    survey("a:8080", "[::1]:8443", "a", **answers)
    assert [(entry[1], entry[-1]) for entry in survey.family.asked] == [("a", 8080), ("::1", 8443), ("a", None)]


WHY = "none is told: may this account see it?"


@pytest.mark.parametrize(
    ("profile", "asked", "missing", "untold"),
    [
        ("netapp", False, ["capacity", "performance"], []),
        ("redfish", False, [], ["capacity", "performance"]),
        ("3par", False, ["capacity"], ["performance"]),
        ("redfish", True, ["capacity", "performance"], []),
        ("vnx", False, ["capacity"], ["performance"]),
    ],
)
def test_modes_of_which_nothing_is_told(survey, profile, asked, missing, untold):
    silent = GOOD._replace(speeds=[Speed("")])  # a row of it is there, and no value in it
    found = survey(a=silent, profile=profile, asked=asked, modes=("health", "capacity", "performance"))
    assert list(found.array.lost) == [Failed(ABSENT, of, f"ask for {of}", WHY) for of in missing]
    assert found.untold == untold
    assert found.summary.endswith("; capacity and performance not told") is (len(untold) == 2)


@pytest.mark.parametrize(("profile", "count"), [("pure", 1), ("redfish", 1), ("generic-snmp", 0)])
def test_an_array_without_a_disk(survey, profile, count):
    kept = survey(a=GOOD, modes=("health",)).kept
    less = GOOD._replace(parts=[*GOOD.parts[:1], Part("disk", "2", "absent")])
    found = survey(a=less, modes=("health",), profile=profile, before=kept, shift=60.0)
    assert list(found.array.lost) == [Failed(ABSENT, "disk", "ask for disk", WHY)] * count
    assert [of for of, _ in found.gone] == ["disk 1"]
    # What could not be read is said once.
    denied = less._replace(lost=[Failed(NOT_ALLOWED, "disk", "GET /disks", "HTTP 403")])
    assert survey(a=denied, modes=("health",), profile=profile).array.lost == denied.lost


def test_an_array_that_tells_nothing_is_not_well(survey):
    with pytest.raises(Failed) as caught:
        survey(a=Array("an array"))
    assert (caught.value.kind, caught.value.error) == (ABSENT, "an array told nothing of what was asked")


def test_shares_and_numbers():
    assert Room("pool", "p", 200.0, 50.0, 300.0).share == 25.0
    assert Room("pool", "p", 200.0, 50.0, 300.0).promised == 1.5
    assert Room("pool", "p", 0.0, 0.0).share is None
    assert Speed("").latency is None
    assert Place("::1", 443).base(8080) == "https://[::1]:443"
    assert Place("a.example", plain=True).base(8080) == "http://a.example:8080"


def test_a_word_that_is_in_no_table_is_unknown():
    for word in ("new", None, 7, [], {}):
        assert san.health({"up": "ok"}, word) == "unknown"
    assert san.health({"up": "ok"}, "up") == "ok"
