# SPDX-License-Identifier: Apache-2.0
"""The wiki's list: each of its 48 items has a check that declares it, or a reason."""

from nephoscope import catalogue
from nephoscope.export import wiki
from nephoscope.plugin import Check, Finding


def answering(*items):
    def probe(options, run):
        return None

    return Check(lambda add: None, probe, lambda facts, options: [Finding(0, "", "")], answers=items)


def test_every_item_is_answered_or_explained():
    checks = catalogue.all_checks()
    assert wiki.faults(checks) == []
    rows = [line.split(" | ") for line in wiki.page(checks) if line.startswith("| W")]
    assert [row[0] for row in rows] == [f"| W{number}" for number in range(1, 49)]
    assert all(row[3].strip(" |") for row in rows)


def test_an_item_that_nobody_answers_or_that_is_not_there_is_seen():
    every = set(wiki.ITEMS) - set(wiki.UNANSWERED)
    assert wiki.faults([answering(*every)]) == []
    assert wiki.faults([answering(*(every - {"W12"}))]) == ["W12"]
    assert wiki.faults([answering(*every, "W10")]) == ["W10"]
    assert wiki.faults([answering(*every, "W49")]) == ["W49"]
