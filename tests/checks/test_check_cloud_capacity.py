# SPDX-License-Identifier: Apache-2.0
"""The judge of check_cloud_capacity, by equality."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, UNREACHABLE, Failed
from nephoscope.checks.policy.check_cloud_capacity import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Finding, Metric
from nephoscope.probes.cloud import Room, Share, Size, Zone

SMALL = Size("one", "m1.small", 12, 30, 1, 512, 10)
LARGE = Size("one", "m1.large", 4, 9, 4, 2048, 40)
HUGE = Size("one", "x.huge", 0, 0, 48, 65536, 4000)
ROOM = Room(
    (Zone("one", "ok", "serves", 16),),
    (LARGE, SMALL, HUGE),
    (Share("one", "m1.small", 18, 30),),
    "DescribeInstanceTypes",
)


def found(room, *argv):
    return list(judge(room, CHECK.parse("--dialect", "eucalyptus", *argv)))


def test_green():
    assert found(ROOM) == [
        Finding(OK, "one", "serves"),
        Metric("cores", 16, of="one"),
        Metric("used", 60.0, of="one", detail="12 of 30 m1.small free"),
        Metric("room", 4, of="one/m1.large", least=0, most=9),
        Metric("fits", 12, of="one/m1.small", least=0, most=30),
        Metric("room", 0, of="one/x.huge", least=0, most=0),
        Finding(OK, "", "one: 12 of 30 m1.small free, up to m1.large"),
    ]


def test_sizes_that_are_asked_for_are_judged_and_no_others():
    metrics = [thing for thing in found(ROOM, "--size", "*.large", "--size", "x.*") if isinstance(thing, Metric)]
    assert [(metric.name, metric.of) for metric in metrics] == [
        ("cores", "one"),
        ("used", "one"),
        ("fits", "one/m1.large"),
        ("room", "one/m1.small"),
        ("fits", "one/x.huge"),
    ]


def test_a_size_that_no_zone_knows():
    assert Failed(ABSENT, "m9.*", "DescribeInstanceTypes", "no size has this name") in found(ROOM, "--size", "m9.*")


@pytest.mark.parametrize("state, judged", [("failed", CRITICAL), ("absent", CRITICAL), ("unknown", UNKNOWN)])
def test_zones_that_do_not_serve(state, judged):
    assert found(Room((Zone("two", state, "is gone"),), ())) == [
        Finding(judged, "two", "is gone"),
        Finding(OK, "", "no zone has room"),
    ]


def test_a_full_zone_and_what_could_not_be_asked():
    failed = Failed(UNREACHABLE, "cloud", "DescribeAvailabilityZones", "Connection refused")
    full = SMALL._replace(free=0)
    room = Room((Zone("one", "ok", "serves", 0),), (full,), (Share("one", "m1.small", 30, 30),), "x", (failed,))
    assert found(room) == [
        failed,
        Finding(OK, "one", "serves"),
        Metric("cores", 0, of="one"),
        Metric("used", 100.0, of="one", detail="0 of 30 m1.small free"),
        Metric("fits", 0, of="one/m1.small", least=0, most=30),
        Finding(OK, "", "one: 0 of 30 m1.small free"),
    ]


def test_a_cloud_that_tells_no_maximum_has_every_size_judged():
    room = Room((Zone("one", "ok", "serves"),), (SMALL._replace(most=None),))
    assert found(room) == [
        Finding(OK, "one", "serves"),
        Metric("fits", 12, of="one/m1.small", least=0, most=None),
        Finding(OK, "", "no zone has room"),
    ]
