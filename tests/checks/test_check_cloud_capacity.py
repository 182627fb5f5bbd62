# SPDX-License-Identifier: Apache-2.0
"""The judge of check_cloud_capacity, by equality."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, UNREACHABLE, Failed
from nephoscope.checks.policy.check_cloud_capacity import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Finding, Metric
from nephoscope.probes.cloud import Room, Share, Size, Zone

from tests.checks.asked_cloud import Asked

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


@pytest.fixture(scope="module")
def demo():
    with Demo(sample(version="4.4.2", zones=2, nodes=2)) as running:
        yield running


@pytest.fixture
def asked(demo, tmp_path):
    return Asked(demo, tmp_path)


def test_a_cloud_with_room(asked):
    outcome = asked.run(CHECK, "--include", "one", "--include", "one/m1.*")
    assert outcome.line == (
        "CLOUD_CAPACITY OK - one: 58 of 64 m1.small free, up to cr1.8xlarge; two: 58 of 64 m1.small free, up to cr1.8xlarge | "
        "one_cores=58 one_m1_large-22ab07_room=29;;;0;32 one_m1_medium-39071d_room=58;;;0;64 "
        "one_m1_small-0c68aa_fits=58;10:;1:;0;64 one_m1_xlarge-b0b206_room=29;;;0;32 one_used=9.375%;80;90"
    )
    asked.actions()
    asked.run(CHECK)
    assert asked.actions() == ["DescribeInstanceTypes", "DescribeAvailabilityZones"]


def test_a_full_zone(asked):
    only = ("--include", "one", "--include", "one/m1.small")
    try:
        asked.demo.tell("capacity", 3, 1024, 100)
        assert asked.line(CHECK, *only) == (
            "CLOUD_CAPACITY WARNING - one used 83.3 % is above 80 % (1 of 6 m1.small free), one/m1.small fits 1 is below 10"
        )
        asked.demo.tell("capacity", 2, 1024, 100)
        assert asked.line(CHECK, *only) == (
            "CLOUD_CAPACITY CRITICAL - one used 100 % is above 90 % (0 of 4 m1.small free), one/m1.small fits 0 is below 1"
        )
    finally:
        asked.demo.tell("capacity", 32, 65536, 500)


def test_a_zone_whose_controller_is_down_is_missed_although_it_is_in_no_list_of_sizes(asked):
    asked.demo.tell("state", "two-cc-1", "DISABLED")
    try:
        assert asked.line(CHECK) == (
            "CLOUD_CAPACITY CRITICAL - two is registered and offers nothing: is its cluster controller down? (unavailable)"
        )
    finally:
        asked.demo.tell("state", "two-cc-1", "ENABLED")


def test_a_zone_that_vanished_is_remembered_and_one_that_is_expected_is_missed(asked):
    asked.run(CHECK)
    asked.demo.tell("state", "two-cc-1", "STOPPED")
    try:
        assert asked.line(CHECK, shift=120) == (
            "CLOUD_CAPACITY CRITICAL - two is in no list of zones, last seen 2 min ago: is its cluster controller down?"
        )
        assert asked.run(CHECK, "--include", "one*", shift=130).state == 0
        assert asked.run(CHECK, shift=9 * 86400).state == 0  # a week later it is forgotten
        assert asked.line(CHECK, "--expect", "two", shift=10 * 86400) == (
            "CLOUD_CAPACITY CRITICAL - two is in no list of zones, but expected: is its cluster controller down?"
        )
    finally:
        asked.demo.tell("state", "two-cc-1", "ENABLED")


def test_a_zone_without_a_node_that_serves(asked):
    for node in ("two-nc-1", "two-nc-2"):
        asked.demo.tell("state", node, "STOPPED")
    try:
        assert asked.line(CHECK).startswith(
            "CLOUD_CAPACITY CRITICAL - two has no room for one instance of any type, even when empty: does no node serve?"
        )
    finally:
        for node in ("two-nc-1", "two-nc-2"):
            asked.demo.tell("state", node, "ENABLED")


def test_of_many_zones_the_fullest_are_told():
    shares = tuple(Share(name, "m1.small", used, 30) for name, used in (("a", 1), ("b", 3), ("c", 2), ("d", 4)))
    assert found(Room((), (), shares))[-1] == Finding(
        OK, "", "d: 26 of 30 m1.small free; b: 27 of 30 m1.small free; c: 28 of 30 m1.small free; and 1 more"
    )


def test_a_size_as_big_as_a_node_that_fits_nowhere_is_no_alarm(tmp_path):
    """Twelve nodes of 16 cores, each with an instance or two: nothing of 16 cores fits, and seven eighths are free."""
    with Demo(sample(zones=1, nodes=12)) as demo:
        demo.tell("capacity", 16, 65536, 2000)
        demo.tell("bulk", "instances", 18)
        asked = Asked(demo, tmp_path)
        assert asked.line(CHECK) == "CLOUD_CAPACITY OK - one: 168 of 192 m1.small free, up to hi1.4xlarge"
        assert asked.line(CHECK, "--size", "cc2.*") == "CLOUD_CAPACITY CRITICAL - one/cc2.8xlarge fits 0 is below 1"


def test_many_zones_and_nothing_summed_over_sizes(tmp_path):
    with Demo(sample(zones=5, nodes=2)) as demo:
        outcome = Asked(demo, tmp_path).run(CHECK)
    assert outcome.line.startswith(
        "CLOUD_CAPACITY OK - five: 58 of 64 m1.small free, up to cr1.8xlarge; four: 58 of 64 m1.small free, up to "
        "cr1.8xlarge; one: 58 of 64 m1.small free, up to cr1.8xlarge; and 2 more | "
    )
    assert outcome.line.count("_fits=") == 5
    assert "room" not in outcome.line
    assert "room: 85 objects are too many for perfdata, which has none of them" in outcome.text


def test_a_size_that_no_cloud_has(asked):
    assert asked.line(CHECK, "--size", "m9.nosuch") == (
        "CLOUD_CAPACITY UNKNOWN - m9.nosuch: no size has this name (DescribeInstanceTypes)"
    )


def test_it_must_be_told_what_the_cloud_speaks():
    assert CHECK.run([]).line.startswith("CLOUD_CAPACITY UNKNOWN - option --dialect is required")
    assert CHECK.run(["--dialect", "klingon"]).line == (
        "CLOUD_CAPACITY UNKNOWN - option --dialect: 'klingon' is none of eucalyptus"
    )


@pytest.mark.parametrize("version", ["3.4.2", "4.1.0", "5.1.0"])
def test_other_versions(version, tmp_path):
    with Demo(sample(version=version, zones=1, nodes=2)) as demo:
        assert Asked(demo, tmp_path).line(CHECK) == (
            "CLOUD_CAPACITY OK - one: 58 of 64 m1.small free, up to cr1.8xlarge"
        )
