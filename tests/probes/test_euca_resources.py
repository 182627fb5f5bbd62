# SPDX-License-Identifier: Apache-2.0
"""What is stuck and what failed, from what the describe calls gave: pure functions, by equality."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from nephoscope.base import ABSENT, UNREACHABLE, Clock, Failed, Run
from nephoscope.probes.euca_ec2 import Attachment, Group, Image, Instance, Snapshot, Volume
from nephoscope.probes.euca_resources import (
    FAILED,
    GHOST,
    PASSING,
    UNKNOWN,
    WELL,
    Found,
    Thing,
    found,
    of_ghosts,
    of_images,
    of_instances,
    of_snapshots,
    of_volumes,
    of_workers,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
EXPIRED = "EXPIRED: Instance expired after not being reported."


class Noon(Clock):
    """Noon, and a few seconds."""

    def time(self):
        return NOON.timestamp() + self.shift


def at(shift=0.0, before=None, **words):
    return Run(8, before, clock=Noon(shift), **words)


@pytest.mark.parametrize(
    "instance, thing",
    [
        (Instance("i", "1", "running"), Thing("instances", "i", "running", WELL, "1")),
        (Instance("i", "1", "stopped"), Thing("instances", "i", "stopped", WELL, "1")),
        (Instance("i", "1", "terminated", reason="USER_TERMINATED: User terminated."),
         Thing("instances", "i", "terminated", WELL, "1")),
        (Instance("i", "1", "terminated", reason=EXPIRED),
         Thing("instances", "i", f"terminated: {EXPIRED}", FAILED, "1")),
        (Instance("i", "1", "stopped", reason=EXPIRED), Thing("instances", "i", f"stopped: {EXPIRED}", FAILED, "1")),
        (Instance("i", "1", "pending", launched=NOON), Thing("instances", "i", "pending", PASSING, "1", NOON)),
        # started again: it was launched when it was new
        (Instance("i", "1", "pending", launched=NOON, ebs=True), Thing("instances", "i", "pending", PASSING, "1")),
        (Instance("i", "1", "shutting-down", launched=NOON), Thing("instances", "i", "shutting-down", PASSING, "1")),
        (Instance("i", "1", "stopping", launched=NOON), Thing("instances", "i", "stopping", PASSING, "1")),
        (Instance("i", "1", "running", moving="migrating to b"), Thing("instances", "i", "migrating to b", PASSING, "1")),
        (Instance("i", "1", "dreaming"), Thing("instances", "i", "dreaming", UNKNOWN, "1")),
        (Instance("i", "1", ""), Thing("instances", "i", "", UNKNOWN, "1")),
    ],
)  # fmt: skip
def test_instances(instance, thing):
    assert list(of_instances([instance])) == [thing]


@pytest.mark.parametrize(
    "state, phase, began",
    [
        ("available", WELL, None),
        ("in-use", WELL, None),
        ("deleted", WELL, None),
        ("creating", PASSING, NOON),
        ("unavailable", PASSING, NOON),
        ("deleting", PASSING, None),
        ("failed", FAILED, None),
        ("error", FAILED, None),
        ("frozen", UNKNOWN, None),
    ],
)
def test_volumes(state, phase, began):
    assert list(of_volumes([Volume("v", state, 1, NOON)])) == [Thing("volumes", "v", state, phase, "", began)]


@pytest.mark.parametrize(
    "state, things",
    [
        ("attached", []),
        ("detached", []),
        ("", []),
        ("attaching", [Thing("volumes", "v", "attaching to i", PASSING, "", NOON)]),
        ("detaching", [Thing("volumes", "v", "detaching from i", PASSING)]),
        ("attaching_failed", [Thing("volumes", "v", "attaching failed to i", FAILED)]),
        ("detaching_failed", [Thing("volumes", "v", "detaching failed from i", FAILED)]),
        ("floating", [Thing("volumes", "v", "floating to i", UNKNOWN)]),
    ],
)
def test_attachments(state, things):
    volume = Volume("v", "in-use", 1, NOON, (Attachment("i", state, NOON),))
    assert list(of_volumes([volume]))[1:] == things


def test_snapshots_images_and_workers():
    snapshots = [
        Snapshot("a", "1", "completed"),
        Snapshot("b", "1", "pending", "40%", NOON),
        Snapshot("c", "1", "failed"),
    ]
    assert list(of_snapshots([*snapshots, Snapshot("d", "1", "lost")])) == [
        Thing("snapshots", "a", "completed", WELL, "1"),
        Thing("snapshots", "b", "pending", PASSING, "1", NOON),
        Thing("snapshots", "c", "failed", FAILED, "1"),
        Thing("snapshots", "d", "lost", UNKNOWN, "1"),
    ]
    words = {"available": WELL, "deregistered": WELL, "hidden": WELL, "pending": PASSING, "failed": FAILED}
    words.update(unavailable=FAILED, odd=UNKNOWN)
    assert list(of_images([Image("e", "1", word) for word in words])) == [
        Thing("images", "e", word, phase, "1") for word, phase in words.items()
    ]
    assert list(of_workers([Group("a", 1, 1), Group("b", 2, 1), Group("c", 1, 1, "no room"), Group("d", 0, 0)])) == [
        Thing("workers", "a", "1 in service", WELL),
        Thing("workers", "b", "short of instances in service", PASSING),
        Thing("workers", "c", "last activity failed: no room", FAILED),
        Thing("workers", "d", "0 in service", WELL),
    ]


def test_ghosts():
    nodes = {"n1": "ENABLED", "n2": "STOPPED", "n3": "NOTREADY"}
    instances = [Instance(f"i{n}", "1", "running", f"n{n}") for n in (1, 2, 3, 4)]
    lost = [*instances, Instance("i5", "1", "running")]
    assert list(of_ghosts(lost, nodes)) == [
        Thing("ghosts", "i3", "is called running on n3, which is NOTREADY", GHOST, "1"),
        Thing("ghosts", "i4", "is called running on n4, which is not known to the cloud", GHOST, "1"),
        Thing("ghosts", "i5", "runs on a node that is not told", GHOST, "1"),
    ]
    rest = [Instance("i6", "1", "stopped", "n3"), Instance("i7", "1", "pending")]
    every = found({"instances": [*lost, *rest], "nodes": nodes}, ("ghosts",), at())
    assert (every.things, every.looked, every.kept) == (tuple(of_ghosts(lost, nodes)), {"ghosts": 5}, {})


def test_ages_are_told_or_seen():
    """By the cloud's time where it has one, else since the first look; a change of state begins anew."""
    asked = {"volumes": [Volume("a", "creating", 1, NOON - timedelta(hours=2)), Volume("b", "deleting", 1, NOON)]}
    first = found(asked, ("volumes",), at())
    assert [thing.age for thing in first.things] == [7200.0, 0.0]
    assert first.kept == {"volumes/a/creating": NOON.timestamp(), "volumes/b/deleting": NOON.timestamp()}
    second = found(asked, ("volumes",), at(600, first.kept))
    assert [thing.age for thing in second.things] == [7800.0, 600.0]
    asked["volumes"][1] = Volume("b", "available", 1, NOON)
    assert list(found(asked, ("volumes",), at(900, second.kept)).kept) == ["volumes/a/creating"]


def test_what_could_not_be_asked_is_no_younger_for_it():
    first = found({"volumes": [Volume("b", "deleting")]}, ("volumes",), at())
    failed = Failed(UNREACHABLE, "", "DescribeVolumes", "HTTP 500")
    second = found({"volumes": failed}, ("volumes",), at(600, first.kept))
    assert second == Found((), {}, {}, (failed,), first.kept)
    assert found({"volumes": [Volume("b", "deleting")]}, ("volumes",), at(1200, second.kept)).things[0].age == 1200.0


def test_a_clock_that_went_back_makes_no_age_negative():
    asked = {"volumes": [Volume("a", "creating", 1, NOON + timedelta(minutes=5))]}
    assert found(asked, ("volumes",), at()).things[0].age == 0.0


def test_state_of_others_is_no_state():
    for before in ([1], "x", {"volumes/b/deleting": "soon"}):
        assert found({"volumes": [Volume("b", "deleting")]}, ("volumes",), at(5, before)).things[0].age == 0.0


def test_filters_choose_what_is_counted():
    run = at(exclude=["b"])
    result = found({"volumes": [Volume("a", "error"), Volume("b", "error")]}, ("volumes",), run)
    assert result.looked == {"volumes": 1}
    assert run.left_out == {"b"}


def test_a_volume_in_two_instances():
    both = {
        "volumes": [Volume("v", "in-use", 1, NOON, (Attachment("i1", "attached"),)), Volume("w", "available")],
        "instances": [
            Instance("i1", "1", "running", volumes=("v",)),
            Instance("i2", "1", "stopped", volumes=("v",)),
            Instance("i3", "1", "terminated", volumes=("v", "w")),
        ],
    }
    assert found(both, ("instances", "volumes"), at()).shared == {"v": ("i1", "i2")}


def test_workers_that_do_not_exist():
    assert found({"workers": []}, ("workers",), at()).looked == {"workers": 0}
    absent = Failed(ABSENT, "", "DescribeAutoScalingGroups verbose", "the cloud has no workers of its own")
    assert found({"workers": []}, ("workers",), at(), True) == Found((), {}, {}, (absent,), {})


def test_ghosts_need_both_answers():
    failed = Failed(UNREACHABLE, "", "DescribeServices", "HTTP 503")
    half = {"instances": [Instance("i", "1", "running", "n")], "nodes": failed}
    assert found(half, ("ghosts",), at()) == Found((), {}, {}, (failed,), {})
    assert found({**half, "nodes": {}}, ("ghosts",), at()).looked == {"ghosts": 1}
