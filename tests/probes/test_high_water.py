# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.probes.high_water import mark


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
