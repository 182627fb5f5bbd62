# SPDX-License-Identifier: Apache-2.0
"""What Eucalyptus' lists of types and zones are read as.

The rows of the verbose list are those of Eucalyptus' own documentation (euca-describe-availability-zones verbose); the other answers
are built after the bindings and VmTypesManager of 4.4.2.
"""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import euca_api, euca_capacity
from nephoscope.probes.cloud import Share, Size, Zone
from nephoscope.probes.euca_capacity import DOWN, EMPTY, GIB, MIB

HOST = "192.0.2.1:8773"
VERBOSE = """<DescribeAvailabilityZonesResponse><availabilityZoneInfo>
<item><zoneName>one</zoneName><zoneState>10.111.5.71 arn:euca:eucalyptus:one:cluster:one-cc-1/</zoneState></item>
<item><zoneName>|- vm types</zoneName><zoneState>free / max   cpu   ram  disk</zoneState></item>
<item><zoneName>|- m1.small</zoneName><zoneState>0012 / 0030   1    512    10</zoneState></item>
<item><zoneName>|- m1.large</zoneName><zoneState>0006 / 0015   2   1024    15</zoneState></item>
<item><zoneName>two</zoneName><zoneState>10.111.5.72 arn:euca:eucalyptus:two:cluster:two-cc-1/</zoneState></item>
<item><zoneName>|- vm types</zoneName><zoneState>free / max   cpu   ram  disk</zoneState></item>
<item><zoneName>|- m1.small</zoneName><zoneState>12345 / 20000   1    512    10</zoneState></item>
</availabilityZoneInfo></DescribeAvailabilityZonesResponse>"""
ROWS = (
    Size("one", "m1.large", 6, 15, 2, 1024 * MIB, 15 * GIB),
    Size("one", "m1.small", 12, 30, 1, 512 * MIB, 10 * GIB),
    Size("two", "m1.small", 12345, 20000, 1, 512 * MIB, 10 * GIB),
)


def types(*rows, cpu="1", memory="512", disk="10"):
    """An answer with one type and these rows of (zone, free, maximum)."""
    items = "".join(
        f"<item><name>m1.small</name><zoneName>{zone}</zoneName><max>{most}</max><available>{free}</available></item>"
        for zone, free, most in rows
    )
    return ElementTree.fromstring(
        f"<R><instanceTypeDetails><item><name>m1.small</name><cpu>{cpu}</cpu><disk>{disk}</disk><memory>{memory}</memory>"
        f"<availability>{items}</availability></item></instanceTypeDetails></R>"
    )


def small(zone, free, most):
    return Size(zone, "m1.small", free, most, 1, 512 * MIB, 10 * GIB)


def test_types_with_their_availability():
    found = euca_capacity.of_types(types(("two", 3, 30), ("one", 12, 30)))
    assert found == (small("one", 12, 30), small("two", 3, 30))


def test_types_without_any_zone_are_no_sizes():
    assert euca_capacity.of_types(types()) == ()


@pytest.mark.parametrize(
    "answer, said",
    [
        (types(("one", -1, 30)), "not understood: available is '-1'"),
        (types(("one", "", 30)), "not understood: available is ''"),
        (types(("one", "٣", 30)), "not understood: available is '٣'"),
        (types(("one", 1, 30), memory="much"), "not understood: memory is 'much'"),
        (types(("", 1, 30)), "not understood: a row without its zoneName"),
    ],
)
def test_numbers_that_are_none(answer, said):
    with pytest.raises(Failed) as caught:
        euca_capacity.of_types(answer)
    assert caught.value == Failed(UNREADABLE, "", "DescribeInstanceTypes", said)


def test_an_empty_list_of_types_is_a_missing_right():
    with pytest.raises(Failed) as caught:
        euca_capacity.of_types(ElementTree.fromstring("<R><instanceTypeDetails/></R>"))
    assert caught.value == Failed(NOT_ALLOWED, "", "DescribeInstanceTypes", "the list of instance types is empty")


def test_the_verbose_list_of_several_zones():
    assert euca_capacity.of_rows(ElementTree.fromstring(VERBOSE)) == ROWS


@pytest.mark.parametrize(
    "before, after, kind, said",
    [
        ("|- ", "", NOT_ALLOWED, "the verbose list of zones tells no instance types"),
        ("item>", "x>", NOT_ALLOWED, "the verbose list of zones is empty"),
        ("0012 / 0030 ", "0012 von 0030 ", UNREADABLE, "not understood: |- m1.small '0012 von 0030   1    512    10'"),
    ],
)
def test_a_verbose_list_that_is_none(before, after, kind, said):
    with pytest.raises(Failed) as caught:
        euca_capacity.of_rows(ElementTree.fromstring(VERBOSE.replace(before, after)))
    assert (caught.value.kind, caught.value.error) == (kind, said)


def test_the_plain_list():
    answer = ElementTree.fromstring(
        VERBOSE.replace("10.111.5.71 arn:euca:eucalyptus:one:cluster:one-cc-1/", "available")
    )
    assert euca_capacity.plain(answer)["one"] == "available"


def members(sizes=(), said=None, expected=(), before=None, now=1000.0, remember=600.0):
    return euca_capacity.members(sizes, said or {}, expected, before or {}, now, remember)


def test_zones_that_serve_are_remembered():
    zones, kept = members(ROWS, {"one": "available", "two": "10.1.1.1 arn:euca:eucalyptus:two:cluster:cc/"})
    assert zones == (Zone("one", "ok", "serves", 12), Zone("two", "ok", "serves", 12345))
    assert kept == {"one": 1000.0, "two": 1000.0}


@pytest.mark.parametrize(
    "sizes, said, zone",
    [
        ((), {"one": "unavailable"}, Zone("one", "failed", f"{DOWN} (unavailable)")),
        ((), {"one": "available"}, Zone("one", "failed", DOWN)),
        ((small("one", 3, 9),), {"one": "unavailable"}, Zone("one", "failed", f"{DOWN} (unavailable)", 3)),
        ((small("one", 0, 0),), {"one": "available"}, Zone("one", "failed", EMPTY, 0)),
        (
            (small("one", 3, 9),),
            {"one": "impaired"},
            Zone("one", "unknown", "is in a state that is not understood: impaired", 3),
        ),
        ((small("one", 0, 9),), {}, Zone("one", "ok", "serves", 0)),
    ],
)
def test_zones_that_do_not(sizes, said, zone):
    assert members(sizes, said)[0] == (zone,)


def test_a_zone_that_vanished_is_missed_for_a_while():
    gone = "is in no list of zones, last seen 5 min ago: is its cluster controller down?"
    assert members(before={"one": 700.0}) == ((Zone("one", "absent", gone),), {"one": 700.0})
    assert members(before={"one": 399.0}) == ((), {})
    assert members((small("one", 1, 9),), before={"one": 700.0})[0] == (Zone("one", "ok", "serves", 1),)


def test_a_zone_that_is_expected_is_missed_for_ever():
    gone = "is in no list of zones, but expected: is its cluster controller down?"
    assert members(expected=["one"]) == ((Zone("one", "absent", gone),), {})


def test_a_share_is_measured_in_the_finest_size_whatever_its_name():
    """check_euca_capacity.sh of the upstream Nagios scripts takes m1.small for one core, and there to be one zone."""
    tiny = Size("one", "x.tiny", 40, 100, 1, MIB, GIB)
    fat = Size("one", "m1.small", 5, 10, 8, GIB, GIB)
    also = Size("one", "x.other", 40, 100, 2, MIB, GIB)
    none = Size("two", "m1.small", 0, 0, 8, GIB, GIB)
    assert euca_capacity.shares([fat, also, tiny, none]) == (Share("one", "x.tiny", 60, 100),)
    assert euca_capacity.shares([tiny._replace(free=101)]) == (Share("one", "x.tiny", 0, 100),)
    zones, _ = members([fat, tiny, also], {})
    assert zones == (Zone("one", "ok", "serves", 80),)


class Options:
    dialect, cloud, hostname, port, tls, signature = "eucalyptus", None, "192.0.2.1", None, False, "4"
    credentials = ca_file = fingerprint = insecure = cert = key = None
    expect, remember = (), 600.0


@pytest.fixture
def old(monkeypatch):
    """A cloud before 3.3, as its documents have it: it does not know DescribeInstanceTypes, and `state` is its plain list."""
    answers = {
        "state": "10.111.5.71 arn:euca:eucalyptus:one:cluster:one-cc-1/",
        "error": f"{HOST}: HTTP 400: DescribeInstanceTypes",
    }

    def ask(run, there, service, action, params=None, of=""):
        if action == "DescribeInstanceTypes":
            raise Failed(UNREADABLE, of, action, answers["error"])
        if params == {"ZoneName.1": "verbose"}:
            return ElementTree.fromstring(answers.get("verbose", VERBOSE))
        zones = "".join(
            f"<item><zoneName>{z}</zoneName><zoneState>{answers['state']}</zoneState></item>" for z in ("one", "two")
        )
        return ElementTree.fromstring(f"<R><availabilityZoneInfo>{zones}</availabilityZoneInfo></R>")

    monkeypatch.setattr(euca_api, "ask", ask)
    monkeypatch.setenv("EC2_ACCESS_KEY", "AKIEXAMPLE")
    monkeypatch.setenv("EC2_SECRET_KEY", "example")
    return answers


def test_a_cloud_that_does_not_know_types_is_asked_for_the_rows(old):
    room = euca_capacity.room(Options, Run(8.0))
    assert room.sizes == ROWS
    assert room.zones == (Zone("one", "ok", "serves", 12), Zone("two", "ok", "serves", 12345))
    assert (room.source, room.failures) == ("DescribeAvailabilityZones verbose", ())


def test_a_verbose_list_without_rows_is_a_missing_right_and_no_cloud_without_room(old):
    old["verbose"] = VERBOSE.replace("|-", "")
    with pytest.raises(Failed) as caught:
        euca_capacity.room(Options, Run(8.0))
    error = "the verbose list of zones tells no instance types"
    assert caught.value == Failed(NOT_ALLOWED, "", "DescribeAvailabilityZones verbose", error)


def test_html_is_no_old_cloud(old):
    old["error"] = "the answer is HTML, not XML: no Eucalyptus there, or a proxy before it"
    with pytest.raises(Failed) as caught:
        euca_capacity.room(Options, Run(8.0))
    assert caught.value.error == old["error"]


def test_the_room_is_told_although_the_plain_list_is_not(monkeypatch, old):
    real = euca_api.ask

    def ask(run, there, service, action, params=None, of=""):
        if action == "DescribeAvailabilityZones" and not params:
            raise Failed(UNREACHABLE, "", action, f"{HOST}: Connection refused")
        return real(run, there, service, action, params, of)

    monkeypatch.setattr(euca_api, "ask", ask)
    room = euca_capacity.room(Options, Run(8.0))
    assert room.sizes == ROWS
    assert room.failures == (Failed(UNREACHABLE, "", "DescribeAvailabilityZones", f"{HOST}: Connection refused"),)
