# SPDX-License-Identifier: Apache-2.0
"""What nobody uses, from what the describe calls gave: pure functions, by equality."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from nephoscope.base import UNREACHABLE, Clock, Failed, Run
from nephoscope.probes.cloud import Idle, Unused
from nephoscope.probes.euca_addresses import Address
from nephoscope.probes.euca_ec2 import GIB, Attachment, Image, Instance, Snapshot, Volume
from nephoscope.probes.euca_unused import found

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
NOW = NOON.timestamp()
ASKED = {
    "instances": [Instance("i1", "1", "running"), Instance("i2", "1", "stopped"), Instance("i3", "1", "terminated")],
    "volumes": [
        Volume("v1", "available", 2 * GIB),
        Volume("v2", "in-use", GIB, None, (Attachment("i1", "attached"),)),
        Volume("v3", "creating", GIB),
        Volume("v4", "available"),
    ],
    "addresses": [Address("a1", "", ""), Address("a2", "1", ""), Address("a3", "1", "i1")],
    "snapshots": [
        Snapshot("s1", "1", "completed", "100%", NOON - timedelta(days=400), GIB),
        Snapshot("s2", "1", "completed", "100%", NOON - timedelta(days=400), GIB),
        Snapshot("s3", "1", "pending", "40%", NOON - timedelta(days=400), GIB),
    ],
    "images": [Image("e1", "1", "available", ("s2",))],
}


class Noon(Clock):
    def time(self):
        return NOW + self.shift


def at(shift=0.0, before=None, **words):
    return Run(8, before, clock=Noon(shift), **words)


def test_what_is_unused():
    assert found(ASKED, at()) == Idle(
        (
            Unused("instance", "i2", "1", 0.0, text="is stopped"),
            Unused("volume", "v1", "", 0.0, disk=2 * GIB, text="is attached to nothing"),
            Unused("volume", "v4", "", 0.0, text="is attached to nothing"),
            Unused("address", "a2", "1", 0.0, text="belongs to no instance"),
            Unused("snapshot", "s1", "1", 400 * 86400.0, disk=GIB, text="is in no image"),
        ),
        {"instance": 2, "volume": 4, "address": 2, "snapshot": 3},
        (),
        {"instance/i2": NOW, "volume/v1": NOW, "volume/v4": NOW, "address/a2": NOW},
    )


def test_what_has_no_time_of_its_own_is_as_old_as_it_was_seen():
    first = found(ASKED, at())
    second = found(ASKED, at(86400, first.kept))
    assert [thing.age for thing in second.things] == [86400.0] * 4 + [401 * 86400.0]
    used = {**ASKED, "addresses": [Address("a2", "1", "i9")]}
    assert "address/a2" not in found(used, at(86400, first.kept)).kept


def test_a_question_without_an_answer_hides_its_kind_alone_and_makes_nothing_younger():
    first = found(ASKED, at())
    failed = Failed(UNREACHABLE, "", "DescribeImages", "HTTP 500")
    half = {**ASKED, "volumes": failed, "images": failed}
    second = found(half, at(60, first.kept))
    assert dict(second.looked) == {"instance": 2, "address": 2}
    assert second.failures == (failed, failed)
    assert found(ASKED, at(86400, second.kept)).kept == first.kept


def test_filters_and_a_foreign_state():
    run = at(before=["x"], include=["v*"])
    assert [thing.name for thing in found(ASKED, run).things] == ["v1", "v4"]
    assert found(ASKED, at(5, {"volume/v1": "then"})).things[1].age == 0.0
