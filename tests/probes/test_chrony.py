# SPDX-License-Identifier: Apache-2.0
"""What chronyc prints, turned into facts. The texts are those of chrony 4.3 (Debian 12), started with -x."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import chrony
from nephoscope.probes.chrony import Clock

# `chronyc -n -c -m tracking sources` of a client that was given `offset 0.25` for its only server
FOLLOWS = """\
7F000001,127.0.0.1,9,1795262174.982759476,0.249998897,0.000000043,0.000000234,-0.003,0.000,0.006,0.000006437,0.000001032,1.0,Normal
^,*,127.0.0.1,8,0,37,0,0.000000739,0.000003639,0.000004787
"""
# the same with a server that was never there
NEVER = """\
00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised
^,?,127.0.0.1,0,0,0,4294967295,0.000000000,0.000000000,0.000000000
"""
# `local stratum 8` and no server
ALONE = """\
7F7F0101,,8,1795262122.462321541,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,0.000000000,0.000000000,0.0,Normal
"""


def test_follows():
    error = 0.000006437 / 2 + 0.000001032
    assert chrony.parse(FOLLOWS) == Clock(
        "chronyd", True, False, "127.0.0.1", 0.249998897, error, 9, 1795262174.982759476, 1, 1
    )


def test_an_offset_of_zero_is_no_measurement_without_a_source():
    assert chrony.parse(NEVER) == Clock("chronyd", False, False, "", None, None, None, None, 0, 1)


def test_a_clock_that_follows_itself_is_told_from_one_that_follows_a_source():
    assert chrony.parse(ALONE) == Clock("chronyd", True, True, "", None, None, 8, 1795262122.462321541, 0, 0)


def test_tracking_stays_normal_when_the_source_is_lost():
    lost = chrony.parse(FOLLOWS.replace("^,*,127.0.0.1,8,0,37", "^,?,127.0.0.1,8,0,0"))
    assert (lost.synchronised, lost.offset, lost.error, lost.reachable) == (False, None, None, 0)
    assert lost.synced_at == 1795262174.982759476


def test_reach_is_octal_and_counts_each_source_that_answered():
    more = FOLLOWS + "^,-,10.0.0.1,3,6,200,12,0.1,0.1,0.1\n^,?,10.0.0.2,0,6,0,4294967295,0.0,0.0,0.0\n"
    assert (chrony.parse(more).reachable, chrony.parse(more).sources) == (2, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Reference ID    : 7F000001 (localhost)\n",
        FOLLOWS.replace("Normal", "Sideways"),
        FOLLOWS.replace("0.249998897", "much"),
        FOLLOWS.replace(",37,", ",39,"),  # no octal number
        FOLLOWS[:80],
    ],
)
def test_what_is_not_understood_is_said(text):
    with pytest.raises(Failed) as caught:
        chrony.parse(text)
    assert caught.value.kind == UNREADABLE


@pytest.mark.parametrize(
    "address, words",
    [
        ("", []),
        ("127.0.0.1:11323", ["-h", "127.0.0.1", "-p", "11323"]),
        ("[::1]:323", ["-h", "::1", "-p", "323"]),
        ("[::1]", ["-h", "::1"]),
        ("2001:db8::123", ["-h", "2001:db8::123"]),
        ("/run/chrony/chronyd.sock", ["-h", "/run/chrony/chronyd.sock"]),
        ("time.example", ["-h", "time.example"]),
    ],
)
def test_where_chronyc_asks(address, words):
    assert chrony._where(address) == words


@pytest.mark.parametrize(
    "script, kind",
    [
        ("echo '506 Cannot talk to daemon'; exit 1", UNREACHABLE),
        ("echo 'Could not open connection to daemon' >&2; exit 1", UNREACHABLE),
        ("echo '501 Not authorised'; exit 1", UNREADABLE),
        ("exit 0", UNREADABLE),
        (None, ABSENT),
    ],
)
def test_what_chronyc_answers_instead(script, kind, tmp_path, monkeypatch):
    """The answers are those of chronyc 4.3; the program is a stand-in, the real one is asked in tests/lab."""
    if script is not None:
        program = tmp_path / "chronyc"
        program.write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(program, 0o755)
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    with pytest.raises(Failed) as caught:
        chrony.clock(Run())
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "offset, words", [(0.25, "0.25 s behind"), (-0.25, "0.25 s ahead"), (0.0, "0 s off"), (-0.0, "0 s off")]
)
def test_an_offset_in_words(offset, words):
    clock = chrony.parse(FOLLOWS)._replace(offset=offset)
    assert clock.said == f"chronyd follows 127.0.0.1, the clock is {words}"
