# SPDX-License-Identifier: Apache-2.0
"""The wiki's list: each of its 48 items has a check that declares it, or a reason."""

import pytest
from nephoscope import catalogue
from nephoscope.export import wiki
from nephoscope.plugin import Check, Finding


def answering(*items):
    def probe(options, run):
        return None

    return Check(lambda add: None, probe, lambda facts, options: [Finding(0, "", "")], answers=items)


def test_every_item_is_answered_or_explained():
    lines = wiki.page(catalogue.all_checks())
    rows = [line for line in lines if line.startswith("| W")]
    assert [row.split(" | ")[0] for row in rows] == [f"| W{number}" for number in range(1, 49)]
    assert all(row.split(" | ")[3].strip(" |") for row in rows)


def test_an_item_that_nobody_answers_or_that_is_not_there_is_seen():
    every = set(wiki.ITEMS) - set(wiki.UNANSWERED)
    wiki.page([answering(*every)])
    with pytest.raises(ValueError, match="W12"):
        wiki.page([answering(*(every - {"W12"}))])
    with pytest.raises(ValueError, match="W21"):
        wiki.page([answering(*every, "W21")])
    with pytest.raises(ValueError, match="answers W49"):
        wiki.page([answering(*every, "W49")])
