# SPDX-License-Identifier: Apache-2.0
"""What a back-end holds beside what the records say: pure, by equality."""

from __future__ import annotations

import pytest
from nephoscope.base import Clock, Run
from nephoscope.probes.volume_orphans import Found, Orphan, Record, Stored, doubts, lacking, orphans

A = Stored("file", "vol-a", "vol-a", 512)
B = Stored("logical volume", "vg/euca-vol-b", "vol-b", 1024)


def at(run_before=None, shift=0.0, **words):
    run = Run(8, clock=Clock(shift), **words)
    run.before = run_before
    return run


def test_what_has_a_record_is_none():
    records = {"vol-a": Record("used"), "vol-b": Record()}
    assert orphans([A, B], records, at()) == ((), {})


def test_what_has_none_or_one_that_is_over_is_an_orphan():
    found, kept = orphans([A, B], {"vol-b": Record(over=True)}, at())
    assert [(one.thing, one.age) for one in found] == [(A, 0.0), (B, 0.0)]
    assert set(kept) == {"file/vol-a", "logical volume/vg/euca-vol-b"}


def test_the_age_is_that_of_the_first_sight_and_a_break_ends_it():
    _, kept = orphans([A], {}, at())
    (found,), kept = orphans([A], {}, at(kept, 7200))
    assert (7199 < found.age < 7202, found.said) == (
        True,
        "this file belongs to no volume or snapshot, for at least 2 h",
    )
    _, kept = orphans([], {}, at(kept, 7300))
    assert kept == {}
    (found,), _ = orphans([A], {}, at(kept, 7400))
    assert (found.age, found.said) == (0.0, "this file belongs to no volume or snapshot, for 0 min so far")


def test_what_could_not_be_looked_at_is_no_younger_for_it():
    _, kept = orphans([A, B], {}, at())
    found, later = orphans([B], {}, at(kept, 3600), ["file"])
    assert [one.thing for one in found] == [B]
    assert later == kept


def test_the_oldest_first_and_what_the_filter_leaves():
    _, kept = orphans([B], {}, at())
    found, _ = orphans([A, B], {}, at(kept, 60))
    assert [one.thing for one in found] == [B, A]
    found, later = orphans([A, B], {}, at(kept, 60, exclude=("vg/*",)))
    assert ([one.thing for one in found], len(later)) == ([A], 2)


@pytest.mark.parametrize("before", [None, [], "x", {"file/vol-a": "x"}, {"file/vol-a": 1e15}])
def test_a_state_that_is_not_ours(before):
    (found,), _ = orphans([A], {}, at(before))
    assert found == Orphan(A, 0.0)


def test_lacking():
    records = {"vol-a": Record("used"), "vol-b": Record("idle"), "vol-c": Record(), "vol-d": Record("used", doubt="")}
    assert lacking([A, B], records, "file") == {"vol-b": "idle", "vol-d": "used"}
    assert lacking([A, B], records, "logical volume") == {"vol-a": "used", "vol-d": "used"}
    found = Found((), {"vol-z": "used", "vol-b": "idle", "vol-a": "used"})
    assert (found.lacks("used"), found.lacks("idle")) == (["vol-a", "vol-z"], ["vol-b"])
    assert Found((), None).lacks("used") == []


def test_doubts():
    records = {"vol-a": Record(doubt="who knows"), "vol-b": Record()}
    assert doubts([A, B], records, at()) == (("vol-a", "who knows"),)
    assert doubts([A, B], records, at(exclude=("vol-*",))) == ()
