# SPDX-License-Identifier: Apache-2.0
"""check_unused_resources: its judge by equality, and the whole of it against a simulated cloud."""

from __future__ import annotations

import time

import pytest
from nephoscope.base import NOT_ALLOWED, Clock, Failed
from nephoscope.checks.policy.check_unused_resources import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.cloud import Idle, Unused

from tests.simulators.euca_answers import Answers, ec2, error

RIGHT = (
    "a user of account eucalyptus, or a role of it (4.0+) with "
    '{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}'
)

DAY = 86400.0
GIB = 1 << 30
DIALECT = ("--dialect", "eucalyptus")


def judged(idle, *argv):
    return list(judge(idle, CHECK.parse(*DIALECT, *argv)))


def test_green():
    things = (Unused("volume", "v", "1", 30 * DAY, disk=GIB, text="is attached to nothing"),)
    assert judged(Idle(things, {"volume": 2})) == [
        Finding(OK, "v", "is attached to nothing, for at least 30 d (account 1)"),
        Metric("volumes", 0),
        Metric("volumes_now", 1),
        Finding(OK, "", "0 unused for long; now 1 of 2 volumes"),
        Metric("reclaim_ram", 0),
        Metric("reclaim_disk", 0),
        Metric("reclaim_ips", 0),
    ]


def test_what_is_unused_for_long():
    things = (
        Unused("instance", "i", "1", 31 * DAY, ram=7, disk=GIB, text="is stopped"),
        Unused("volume", "v", "", 31 * DAY, disk=GIB, text="is attached to nothing"),
        Unused("address", "a", "1", 8 * DAY, text="belongs to no instance"),
        Unused("snapshot", "s", "1", 366 * DAY, disk=GIB, text="is in no image"),
        Unused("snapshot", "t", "1", 364 * DAY, disk=GIB, text="is in no image"),
    )
    found = judged(Idle(things, {"instance": 1, "volume": 1, "address": 1, "snapshot": 2}))
    assert [thing for thing in found if not isinstance(thing, Finding)] == [
        Metric("instances", 1, detail="unused for more than 30 d: i"),
        Metric("instances_now", 1),
        Metric("volumes", 1, detail="unused for more than 30 d: v"),
        Metric("volumes_now", 1),
        Metric("addresses", 1, detail="unused for more than 7 d: a"),
        Metric("addresses_now", 1),
        Metric("snapshots", 1, detail="unused for more than 365 d: s"),
        Metric("snapshots_now", 2),
        Metric("reclaim_ram", 7),
        Metric("reclaim_disk", 3 * GIB),
        Metric("reclaim_ips", 1),
    ]


def test_the_oldest_are_named_first_and_not_all():
    things = tuple(Unused("volume", f"v{n}", "", (31 + n) * DAY) for n in range(7))
    assert Metric("volumes", 7, detail="unused for more than 30 d: v6, v5, v4, v3, v2 …") in judged(
        Idle(things, {"volume": 7})
    )


def test_modes_choose_kinds():
    things = (Unused("volume", "v", "", 0.0), Unused("address", "a", "1", 0.0))
    found = judged(Idle(things, {"volume": 1, "address": 1}), "--mode", "addresses")
    assert [thing.name for thing in found if isinstance(thing, Metric)][:2] == ["addresses", "addresses_now"]
    assert Finding(OK, "", "0 unused for long; now 1 of 1 addresses") in found


def test_a_kind_that_was_not_looked_at_has_no_number():
    failed = Failed(NOT_ALLOWED, "", "DescribeVolumes", "HTTP 403")
    assert judged(Idle((), {}, (failed,))) == [failed]


@pytest.fixture(scope="module")
def cloud():
    with Demo(sample(nodes=1)) as demo:
        yield demo


@pytest.fixture
def run(cloud, tmp_path):
    def check(*argv, user="admin", shift=0.0, seconds="8"):
        cloud.credentials(tmp_path / f"{user}.ini", user=user)
        words = ["-H", cloud.address("clc"), "--credentials", str(tmp_path / f"{user}.ini"), "-t", seconds, *DIALECT]
        return CHECK.run([*words, "--state-dir", str(tmp_path / "state"), *argv], clock=Clock(shift))

    yield check
    cloud.tell("heal", "clc")


def test_a_cloud_that_is_looked_at_for_a_month(run, cloud):
    before = len(cloud.requests)
    first = run()
    assert (first.state, len(cloud.requests) - before) == (OK, 6)
    assert first.line.partition(" | ")[0] == (
        "UNUSED_RESOURCES OK - 0 unused for long; now 1 of 6 instances, 1 of 3 volumes, 1 of 5 addresses, "
        "2 of 2 snapshots"
    )
    volume = next(thing for thing in cloud.cloud.resources["Volume"].values() if thing.state == "available")
    instance = next(thing for thing in cloud.cloud.resources["Instance"].values() if thing.state == "stopped")
    week, month, year = (run(shift=days * DAY) for days in (8, 31, 370))
    assert week.line.partition(" | ")[0] == (
        "UNUSED_RESOURCES WARNING - addresses 1 is above 0 (unused for more than 7 d: 198.51.100.14)"
    )
    assert month.line == (
        f"UNUSED_RESOURCES WARNING - instances 1 is above 0 (unused for more than 30 d: {instance.name}), "
        f"volumes 1 is above 0 (unused for more than 30 d: {volume.name}), "
        f"addresses 1 is above 0 (unused for more than 7 d: 198.51.100.14) | instances=1;0 volumes=1;0 addresses=1;0 snapshots=0;0 instances_now=1 "
        f"volumes_now=1 addresses_now=1 snapshots_now=2 reclaim_ram=0B reclaim_disk={volume.size * GIB}B reclaim_ips=1"
    )
    assert "snapshots=2;0" in year.line


def test_it_is_never_critical_by_itself(run):
    assert all(threshold.critical is None for threshold in CHECK.thresholds)
    assert run("--volume-after", "0", "--mode", "volumes", shift=10 * DAY).state in (OK, WARNING)


def test_who_sees_one_account_alone_is_told_so(run):
    outcome = run(user="owner")
    assert outcome.state == UNKNOWN
    assert outcome.line == (
        "UNUSED_RESOURCES UNKNOWN - only the resources of account 362121614306 are visible (DescribeInstanceTypes): "
        f"needs {RIGHT}"
    )


@pytest.mark.parametrize(
    "failure, state, text",
    [
        ("stop", CRITICAL, "Connection refused"),
        ("error500", CRITICAL, "HTTP 500: An internal error has occurred"),
        ("cut", CRITICAL, "the connection was cut before the answer was whole"),
        ("html", UNKNOWN, "the answer is HTML, not XML: no Eucalyptus there, or a proxy before it"),
        ("bomb", UNKNOWN, "the answer has a document type or entities: refused"),
    ],
)
def test_a_host_that_fails(cloud, run, failure, state, text):
    cloud.tell(failure, "clc")
    outcome = run()
    cloud.tell("start" if failure == "stop" else "heal", "clc")
    word = "CRITICAL" if state == CRITICAL else "UNKNOWN"
    where = f"{cloud.address('clc')}:8773"
    assert outcome.line == f"UNUSED_RESOURCES {word} - {where}: {text} (DescribeAvailabilityZones)"
    assert outcome.state == state


def test_silence_ends_at_the_deadline(cloud, run):
    cloud.tell("hang", "clc")
    begun = time.monotonic()
    outcome = run(seconds="2")
    assert time.monotonic() - begun < 2.5
    assert outcome.line.startswith(f"UNUSED_RESOURCES CRITICAL - {cloud.address('clc')}:8773: no answer in")


def test_a_wrong_key_and_a_clock_that_is_ahead(cloud, run, tmp_path):
    cloud.tell("skew", -31)
    assert run().line == (
        f"UNUSED_RESOURCES UNKNOWN - {cloud.address('clc')}:8773: the clocks differ: this host's is about 31 s ahead of the "
        "server's (DescribeAvailabilityZones): needs clocks that agree within 20 s (check_clock); the key may be good"
    )
    cloud.tell("skew", 0)
    cloud.credentials(tmp_path / "bad.ini")
    lines = (tmp_path / "bad.ini").read_text().splitlines()
    (tmp_path / "bad.ini").write_text(
        "\n".join("secret-key = wrong" if "secret-key" in line else line for line in lines)
    )
    outcome = run("--credentials", str(tmp_path / "bad.ini"))
    assert outcome.line == (
        f"UNUSED_RESOURCES UNKNOWN - {cloud.address('clc')}:8773: HTTP 403: Signature validation failed "
        "(DescribeAvailabilityZones): needs the secret key that belongs to it"
    )


def test_an_unknown_dialect_is_named():
    outcome = CHECK.run(["--dialect", "klingon"])
    assert outcome.state == UNKNOWN
    assert "'klingon'" in outcome.line


def test_half_an_answer_is_no_ok(tmp_path):
    refused = (403, error("UnauthorizedOperation", "You are not authorized to perform this operation."))
    answers = {
        "DescribeInstances": ec2("DescribeInstances", "<reservationSet/>"),
        "DescribeVolumes": ec2("DescribeVolumes", "<volumeSet/>"),
        "DescribeAddresses": ec2(
            "DescribeAddresses",
            "<addressesSet><item><publicIp>192.0.2.1</publicIp><instanceId>available (arn:aws:euare::7:user/a)</instanceId>"
            "</item></addressesSet>",
        ),
        "DescribeSnapshots": refused,
        "DescribeImages": ec2("DescribeImages", "<imagesSet/>"),
    }
    with Answers(answers) as server:
        outcome = CHECK.run([*server.argv(tmp_path), *DIALECT])
    assert outcome.state == UNKNOWN
    text = f"127.0.0.1:{server.port}: HTTP 403: UnauthorizedOperation (DescribeSnapshots): needs {RIGHT}"
    assert outcome.line.partition(" | ")[0] == f"UNUSED_RESOURCES UNKNOWN - {text}"
    assert "snapshots" not in outcome.line.partition(" | ")[2]
    assert "192.0.2.1 belongs to no instance, for at least 0 d (account 7)" in outcome.text


def test_only_what_was_asked_for_is_asked(cloud, run):
    before = len(cloud.requests)
    assert run("--mode", "volumes").state == OK
    assert [seen.action for seen in cloud.requests[before:]] == ["DescribeAvailabilityZones", "DescribeVolumes"]


def test_a_huge_cloud(tmp_path):
    with Demo(sample(nodes=1)) as demo:
        demo.tell("bulk", "volumes", 5000)
        demo.credentials(tmp_path / "admin.ini")
        words = ["-H", demo.address("clc"), "--credentials", str(tmp_path / "admin.ini"), "-t", "60", *DIALECT, "-v"]
        words += ["--state-dir", str(tmp_path / "state"), "--save"]
        CHECK.run(words)
        before = len(demo.requests)
        outcome = CHECK.run(words, clock=Clock(40 * DAY))
        assert len(demo.requests) - before == 6
    assert outcome.state == WARNING
    assert len(outcome.line.encode()) <= 4096
    assert len(outcome.text.encode()) <= 60 * 1024
    assert " volumes=5001;0 " in outcome.line
