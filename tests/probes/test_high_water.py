# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.probes.high_water import mark, seen


@pytest.mark.parametrize(
    ("before", "value", "now", "kept"),
    [
        (None, 4, 100.0, [4, 100.0]),
        ({"a": [4, 100.0]}, 2, 150.0, [4, 100.0]),
        ({"a": [4, 100.0]}, 2, 160.0, [4, 100.0]),
        ({"a": [4, 100.0]}, 2, 160.1, [2, 160.1]),
        ({"a": [4, 100.0]}, 4, 150.0, [4, 150.0]),
        ({"a": [4, 100.0]}, 5, 150.0, [5, 150.0]),
        ({"a": [4, 100.0]}, 2, 99.0, [2, 99.0]),  # the clock went back
        ({"a": "nonsense"}, 2, 99.0, [2, 99.0]),
        ({"a": [None, 1]}, 2, 99.0, [2, 99.0]),
        (["a"], 2, 99.0, [2, 99.0]),
    ],
)
def test_the_most_is_kept_for_a_while(before, value, now, kept):
    assert mark(before, "a", value, now, 60.0) == kept


def test_what_was_there_is_remembered_for_a_while():
    before = {"a": 990.0, "b": 901.0, "c": 900.0, "d": "x", "e": 1001.0}
    assert seen(None, ["a"], 1000.0, 100.0) == {"a": 1000.0}
    assert seen(before, ["a"], 1000.0, 100.0) == {"a": 1000.0, "b": 901.0}
    assert seen({"b": 999.0}, [], 1000.0, 0.0) == {}
    assert seen("foreign", [], 1000.0, 100.0) == {}
