# SPDX-License-Identifier: Apache-2.0
"""Ranges: the classic grammar (monitoring plugins' developer guidelines), junk refused with the right spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nephoscope.plugin.nagios import Range

ALERTS = [
    # spec, values that alert, values that do not
    ("10", [-1, 10.001, 11], [0, 5, 10]),
    ("0", [-1, 0.1, 1], [0]),
    ("0:10", [-1, 11], [0, 10]),
    ("10:", [9.999, -5], [10, 1e12]),
    (":10", [-1, 11], [0, 10]),
    ("~:10", [10.1], [10, -1e9]),
    ("10:20", [9.9, 20.1], [10, 20]),
    ("@10:20", [10, 15, 20], [9.9, 20.1]),
    ("@10", [0, 5, 10], [-1, 10.1]),
    ("-10:-2", [-10.1, -1.9, 0], [-10, -5, -2]),
    ("-10.5:-2.5", [-10.6, -2.4], [-10.5, -5.5, -2.5]),
    ("~:-95.99", [-95, 0], [-96, -95.99]),
    ("1:1", [0, 2, 1.1], [1]),
    ("010", [-1, 11], [10]),
    (".5", [0.51], [0.5]),
    ("5.", [5.1], [5]),
    ("~:", [], [-1e9, 0, 1e9]),
    ("@~:", [0, -1e9, 1e9], []),
    (" 10 ", [11], [10]),
]


@pytest.mark.parametrize(("spec", "alerting", "quiet"), ALERTS)
def test_range_alerts_outside_both_ends_inclusive(spec, alerting, quiet):
    limit = Range(spec)
    assert [value for value in alerting if not limit.alert(value)] == []
    assert [value for value in quiet if limit.alert(value)] == []


@pytest.mark.parametrize("spec", ["", "   ", None])
def test_an_empty_range_is_not_given_and_never_alerts(spec):
    limit = Range(spec)
    assert not limit.given
    assert [limit.alert(value) for value in (-1, 0, 1e12)] == ["", "", ""]
    assert str(limit) == ""


REFUSED = [
    ("-10", "did you mean '-10:' (alert below) or '~:-10' (alert above)?"),
    ("20:10", "did you mean '10:20'?"),
    ("@20:10", "did you mean '@10:20'?"),
    (":", "'~:' never alerts"),
    ("@", "'~:' never alerts"),
    ("~", "'~:' never alerts"),
    ("@:", "'~:' never alerts"),
    ("~:~", "'~:' never alerts"),
    ("10:~", "did you mean '10:'?"),
    ("10%", "did you mean '10'?"),
    ("1,5", "did you mean '1.5'?"),
    ("100MiB", "did you mean '104857600'?"),
    ("5m:", "did you mean '300:'?"),
    ("2h:1d", "did you mean '7200:86400'?"),
    ("1e3", "write [@][start:]end"),
    ("0x10", "write [@][start:]end"),
    ("10abc", "write [@][start:]end"),
    ("1_0", "write [@][start:]end"),
    ("ten", "write [@][start:]end"),
    ("1:2:3", "write [@][start:]end"),
    ("--5", "write [@][start:]end"),
]


@pytest.mark.parametrize(("spec", "cure"), REFUSED)
def test_junk_is_refused_with_the_spelling_that_was_meant(spec, cure):
    with pytest.raises(ValueError) as raised:
        Range(spec)
    assert cure in str(raised.value)
    assert f"'{spec}'" in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "printed"),
    [("0:80", "80"), ("80", "80"), (":80", "80"), ("10:", "10:"), ("0:", "0:"), ("~:10", "~:10"), ("@0:5", "@5"),
     ("1.50:2.0", "1.5:2"), ("010", "10"), ("~:", "~:"), ("-5:-1", "-5:-1"), ("0", "0")],
)  # fmt: skip
def test_range_prints_in_its_shortest_form(spec, printed):
    assert str(Range(spec)) == printed


numbers = st.decimals(-(10**6), 10**6, places=3).map(lambda d: format(d, "f"))


@given(numbers, numbers, st.booleans(), st.floats(-2e6, 2e6))
def test_what_is_printed_means_the_same(one, other, invert, value):
    low, high = sorted((one, other), key=float)
    limit = Range(f"{'@' if invert else ''}{low}:{high}")
    assert bool(Range(str(limit)).alert(value)) == bool(limit.alert(value))
    assert bool(limit.alert(value)) == ((float(low) <= value <= float(high)) == invert)
