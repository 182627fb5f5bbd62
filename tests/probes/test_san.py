# SPDX-License-Identifier: Apache-2.0
"""What is common to the families of arrays; the family here tells what a test gives it."""

from __future__ import annotations

import importlib

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, Clock, Failed, Run
from nephoscope.probes import san
from nephoscope.probes.san import Array, Part, Place, Room, Speed

GOOD = Array("an array", [Part("controller", "A", "ok"), Part("disk", "1", "ok"), Part("volume", "v", "ok")])
DAY = 86400.0


class Family:
    """Stands for a family's module: each address gives an array, or fails."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def look(self, run, place, modes):
        self.asked.append(("look", place.host, modes, run.left()))
        return self._answer(place)

    def greet(self, run, place):
        self.asked.append(("greet", place.host, run.left()))
        return self._answer(place).product

    def _answer(self, place):
        answer = self.answers[place.host]
        if isinstance(answer, Failed):
            raise answer
        return answer


@pytest.fixture
def survey(monkeypatch):
    def ask(*hosts, before=None, shift=0.0, modes=("health", "capacity"), seconds=50.0, **answers):
        ask.family = Family(**answers)
        monkeypatch.setattr(san, "family", lambda _profile: ask.family)
        run = Run(seconds, before, clock=Clock(shift=shift))
        return san.survey(run, "netapp", hosts or tuple(answers), Place("", password="hidden"), modes)

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
    silent = Failed(UNREACHABLE, "", "connect", "no answer")
    with pytest.raises(Failed) as caught:
        survey("a", "b", a=silent, b=silent)
    assert caught.value == Failed(UNREACHABLE, "management a", "connect", "no answer")
    with pytest.raises(Failed) as caught:
        survey("a", a=silent)
    assert caught.value == silent


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
