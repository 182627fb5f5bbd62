# SPDX-License-Identifier: Apache-2.0
"""The yardstick itself, held against the vectors of the projects that it speaks for.

Icinga: test/icinga-perfdata.cpp of release 2.16. Lines: what parse_check_output of Nagios 4 and ParseCheckOutput of Icinga 2
make of one output.
"""

import pytest

from tests.plugin import readers


@pytest.mark.parametrize(
    ("given", "formatted"),
    [
        ("test=123456", ["test=123456"]),
        ("'hello world'=123456", ["hello world=123456"]),
        ("testA=123456 testB=123456", ["testA=123456", "testB=123456"]),
        ("testA=2m;3;4;1;5 testB=2foobar", ["testA=120s;180;240;60;300", "testB=2"]),
        ("test=1kAm", ["test=60000As"]),
        ("test=1gib", ["test=1073741824b"]),
        ("test=123456;1000:2000;0:3000;3000;4000", ["test=123456;;;3000;4000"]),
        (
            "testA=5;;7;1;9 testB=5;7;;1;9 testC=5;;;1;9 testD=2m;;;1 testE=5;;7;;",
            ["testA=5;;7;1;9", "testB=5;7;;1;9", "testC=5;;;1;9", "testD=120s;;;60", "testE=5;;7"],
        ),
        ("test::a=3 b=4", ["test::a=3", "test::b=4"]),
        ("test=1.1e+1", ["test=11"]),
        ("test=+1.5E-15EB", ["test=1500B"]),
        ("a=1.5GiB;2;3;0;4", ["a=1610612736B;2147483648;3221225472;0;4294967296"]),
        ("a=80%;~:90;@95:100;0;100", ["a=80%;;;0;100"]),
        ("a=10s;0.5", ["a=10s;0.500000"]),
        ("a=5Pa", ["a=5000000000000000A"]),
        ("a=5G", ["a=5g"]),
    ],
)
def test_icinga_reads(given, formatted):
    assert [readers.icinga_format(readers.icinga_item(item)) for item in readers.icinga_split(given)] == formatted


@pytest.mark.parametrize(
    "given",
    [
        "123456",
        "test=1,23456",
        "test=123_456",
        "test=",
        "test=inf",
        "a=U",
        "a=nan",
        "a=12:30",
        "a=0x10",
        "a=5m3",
        "a=1;-;2",
    ],
)
def test_icinga_drops(given):
    with pytest.raises(readers.Invalid):
        readers.icinga_item(given)


def test_icinga_splits_at_the_space_alone():
    assert readers.icinga_split("a=1\tb=2") == ["a=1\tb=2"]
    assert readers.icinga_split("a=1;2;3 junk b=2") == ["a=1;2;3", "'junk b'=2"]
    assert readers.icinga_split("fe80::1=3 b=4") == ["fe80::1=3", "fe80::b=4"]


def test_pnp_shifts_what_it_does_not_understand():
    assert readers.pnp("a=1e-05 b=2")[0] == ("a", "1", "e", "-05", "", "", "")
    assert readers.pnp("a=5;90%;95% b=2")[1].label == "%;95% b"
    with pytest.raises(readers.Invalid):
        readers.pnp("a=U b=2")


LINES = [
    ("OK - fine | a=1;2;3", ("OK - fine", "", "a=1;2;3"), ("OK - fine ", "a=1;2;3")),
    ("OK | a=1\nline2", ("OK", "line2", "a=1"), ("OK \nline2", "a=1")),
    ("OK\nx\n| b=2\nc=3", ("OK", "x\n", "b=2 c=3"), ("OK\nx\n\nc=3", "b=2")),
    ("OK | a=1\nlong | b=2\nmore c=3\nlast", ("OK", "long ", "a=1  b=2 more c=3 last"), None),
    ("OK a|b text", ("OK a", "", "b text"), ("OK a|b text", "")),
    ("OK a|b text | c=1", ("OK a", "", "b text | c=1"), ("OK a", "b text | c=1")),
    ("OK; 3 of 4 | a=1;2", ("OK: 3 of 4", "", "a=1;2"), ("OK; 3 of 4 ", "a=1;2")),
]


@pytest.mark.parametrize(("output", "nagios", "icinga"), LINES)
def test_lines_are_split_as_the_engines_split_them(output, nagios, icinga):
    assert readers.nagios_output(output) == nagios
    if icinga:
        assert readers.icinga_output(output) == icinga


@pytest.mark.parametrize(
    "bad", ["a=1  b=2", "a b=1", "a=1e-05", "a=U", "a=5;90%", "a=1 a=2", "a=10C", "a.b=1", "a=1;2;3;4;5;6"]
)
def test_the_yardstick_refuses(bad):
    with pytest.raises((AssertionError, readers.Invalid)):
        readers.check_perfdata(bad)
