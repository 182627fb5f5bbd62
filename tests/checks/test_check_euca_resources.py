# SPDX-License-Identifier: Apache-2.0
"""check_euca_resources: its judge by equality, and the whole of it against a simulated cloud."""

from __future__ import annotations

import time

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, Clock, Failed
from nephoscope.checks.eucalyptus.check_euca_resources import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.plugin.text import cut
from nephoscope.probes.euca_resources import FAILED, GHOST, PASSING, WELL, Found, Thing
from nephoscope.probes.euca_resources import UNKNOWN as ODD

from tests.simulators.euca_answers import Answers, ec2, error

# ---- the judge


def judged(found, *argv):
    return list(judge(found, CHECK.parse(*argv)))


def test_green():
    things = (Thing("volumes", "v", "available", WELL), Thing("snapshots", "s", "completed", WELL))
    assert judged(Found(things, {"volumes": 1, "snapshots": 1})) == [
        Finding(OK, "v", "available"),
        Finding(OK, "s", "completed"),
        Metric("oldest", 0.0),
        Metric("oldest_snapshot", 0.0),
        Metric("stuck_volumes", 0),
        Metric("failed_volumes", 0),
        Metric("stuck_snapshots", 0),
        Metric("failed_snapshots", 0),
        Finding(OK, "", "0 stuck, 0 failed of 1 volume, 1 snapshot"),
    ]


def test_stuck_and_failed():
    things = (
        Thing("volumes", "a", "creating", PASSING, "", None, 900.0),
        Thing("volumes", "b", "deleting", PASSING, "", None, 901.0),
        Thing("volumes", "c", "error", FAILED),
        Thing("snapshots", "s", "pending", PASSING, "1", None, 86401.0),
    )
    assert judged(Found(things, {"volumes": 3, "snapshots": 1})) == [
        Finding(OK, "a", "creating (is counted)"),
        Metric("oldest", 900.0, of="a", detail="creating"),
        Finding(OK, "b", "deleting (is counted)"),
        Metric("oldest", 901.0, of="b", detail="deleting"),
        Finding(OK, "c", "error (is counted)"),
        Finding(OK, "s", "pending (account 1) (is counted)"),
        Metric("oldest_snapshot", 86401.0, of="s", detail="pending"),
        Metric("stuck_volumes", 1, detail="b deleting"),
        Metric("failed_volumes", 1, detail="c error"),
        Metric("stuck_snapshots", 1, detail="s pending"),
        Metric("failed_snapshots", 0),
        Finding(OK, "", "2 stuck, 1 failed of 3 volumes, 1 snapshot"),
    ]


def test_instances_that_run_are_counted():
    things = (Thing("instances", "i", "running", WELL), Thing("instances", "j", "stopped", WELL))
    assert judged(Found(things, {"instances": 2, "ghosts": 1}))[2:] == [
        Metric("oldest", 0.0),
        Metric("stuck_instances", 0),
        Metric("failed_instances", 0),
        Metric("ghosts", 0),
        Metric("running", 1),
        Finding(OK, "", "0 stuck, 0 failed, 0 ghosts of 2 instances, 1 running instance"),
    ]


def test_limits_of_age_are_options():
    things = (
        Thing("volumes", "a", "creating", PASSING, "", None, 100.0),
        Thing("snapshots", "s", "pending", PASSING, "1", None, 100.0),
    )
    found = judged(Found(things, {"volumes": 1, "snapshots": 1}), "--stuck-after", "99", "--snapshot-after", "101")
    assert Metric("stuck_volumes", 1, detail="a creating") in found
    assert Metric("stuck_snapshots", 0) in found


def test_ghosts_are_counted_at_once():
    things = tuple(Thing("ghosts", f"i{n}", "is lost", GHOST) for n in range(4))
    assert judged(Found(things, {"ghosts": 9}))[-2:] == [
        Metric("ghosts", 4, detail="i0 is lost, i1 is lost, i2 is lost and 1 more"),
        Finding(OK, "", "0 stuck, 0 failed, 4 ghosts of 9 running instances"),
    ]


def test_words_that_are_not_known_and_volumes_in_two_instances():
    found = Found(
        (Thing("volumes", "v", "frozen", ODD), Thing("volumes", "w", "", ODD)), {"volumes": 2}, {"v": ("i", "j")}
    )
    assert judged(found)[:3] == [
        Finding(CRITICAL, "v", "is in 2 instances at once: i, j"),
        Finding(UNKNOWN, "v", "is in a state that is not understood: frozen"),
        Finding(UNKNOWN, "w", "is in a state that is not understood: none"),
    ]


def test_failures_are_handed_on_and_nothing_is_made_up_beside_them():
    failed = Failed(NOT_ALLOWED, "", "DescribeVolumes", "HTTP 403")
    assert judged(Found((), {}, {}, (failed,))) == [failed]


# ---- the whole


@pytest.fixture(scope="module")
def cloud():
    with Demo(sample(zones=2, nodes=2)) as demo:
        yield demo


@pytest.fixture
def run(cloud, tmp_path):
    """Return a run against the cloud, as a user of it; what it was told is healed afterwards."""

    def check(*argv, user="admin", shift=0.0, seconds="8"):
        file = tmp_path / f"{user}.ini"
        cloud.credentials(file, user=user)
        words = ["-H", cloud.address("clc"), "--credentials", str(file), "--state-dir", str(tmp_path / "state")]
        return CHECK.run([*words, "-t", seconds, *argv], clock=Clock(shift))

    yield check
    cloud.tell("heal", "clc")


def test_a_healthy_cloud(run, cloud):
    before = len(cloud.requests)
    outcome = run()
    assert outcome.state == OK
    assert outcome.line.startswith(
        "EUCA_RESOURCES OK - 0 stuck, 0 failed, 0 ghosts of 12 instances, 5 volumes, 4 snapshots, 2 images, "
        "2 groups of workers, 10 running instances | "
    )
    assert run(shift=86400).state == OK
    requests = cloud.requests[before : before + 8]
    assert [seen.action for seen in requests] == [
        "DescribeAvailabilityZones",
        "DescribeInstances",
        "DescribeVolumes",
        "DescribeSnapshots",
        "DescribeImages",
        "DescribeAutoScalingGroups",
        "DescribeScalingActivities",
        "DescribeServices",
    ]


@pytest.mark.parametrize(
    "told, argv, state, text",
    [
        (("volume", "vol-00000001", "creating", 1800), ("--mode", "volumes"), WARNING,
         "stuck volumes 1 is above 0 (vol-00000001 creating)"),
        (("volume", "vol-00000001", "creating", 7200), ("--mode", "volumes"), CRITICAL,
         "vol-00000001 oldest 2 h is above 60 min (creating), WARNING: stuck volumes 1 is above 0 (vol-00000001 creating)"),
        (("volume", "vol-00000001", "error"), ("--mode", "volumes"), WARNING,
         "failed volumes 1 is above 0 (vol-00000001 error)"),
        (("volume", "vol-00000001", "frozen"), ("--mode", "volumes"), UNKNOWN,
         "vol-00000001 is in a state that is not understood: frozen"),
        (("snapshot", "snap-00000001", "failed"), ("--mode", "snapshots"), WARNING,
         "failed snapshots 1 is above 0 (snap-00000001 failed)"),
        (("snapshot", "snap-00000001", "pending", 100000), ("--mode", "snapshots"), WARNING,
         "stuck snapshots 1 is above 0 (snap-00000001 pending)"),
        (("snapshot", "snap-00000001", "pending", 200000), ("--mode", "snapshots"), CRITICAL,
         "snap-00000001 oldest snapshot 2.31 d is above 2 d (pending), "
         "WARNING: stuck snapshots 1 is above 0 (snap-00000001 pending)"),
        (("image", "emi-00000001", "failed"), ("--mode", "images"), WARNING,
         "failed images 1 is above 0 (emi-00000001 failed)"),
        (("instance", "i-00000001", "pending", 1000), ("--mode", "instances"), WARNING,
         "stuck instances 1 is above 0 (i-00000001 pending)"),
        (("instance", "i-00000001", "terminated", 60, "EXPIRED: Instance expired after not being reported."),
         ("--mode", "instances"), WARNING,
         "failed instances 1 is above 0 "
         "(i-00000001 terminated: EXPIRED: Instance expired after not being reported.)"),
    ],
)  # fmt: skip
def test_what_is_found(told, argv, state, text, tmp_path):
    with Demo(sample(nodes=1)) as demo:
        demo.credentials(tmp_path / "admin.ini", user="admin")
        words = ["-H", demo.address("clc"), "--credentials", str(tmp_path / "admin.ini"), *argv]
        demo.tell(*told)
        outcome = CHECK.run([*words, "--state-dir", str(tmp_path / "state")])
    assert (
        outcome.line.partition(" | ")[0] == f"EUCA_RESOURCES {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[state]} - {text}"
    )
    assert outcome.state == state


def test_what_the_cloud_tells_no_time_of_is_as_old_as_it_was_seen(tmp_path):
    with Demo(sample(nodes=1)) as demo:
        demo.credentials(tmp_path / "admin.ini", user="admin")
        state = str(tmp_path / "state")
        words = ["-H", demo.address("clc"), "--credentials", str(tmp_path / "admin.ini"), "--state-dir", state]
        words += ["--mode", "volumes"]
        name = next(iter(sorted(demo.cloud.resources["Volume"])))
        demo.tell("volume", name, "in-use", 90000, "detaching")
        first, second = (CHECK.run(words, clock=Clock(shift)) for shift in (0, 1000))
        assert (first.state, second.state) == (OK, WARNING)
        assert f"stuck volumes 1 is above 0 ({name} detaching from i-" in second.line
        demo.tell("volume", name, "available")
        assert CHECK.run(words, clock=Clock(2000)).state == OK


def test_a_migration_that_hangs_and_a_node_that_is_silent(tmp_path):
    with Demo(sample(nodes=2)) as demo:
        demo.credentials(tmp_path / "admin.ini", user="admin")
        state = str(tmp_path / "state")
        words = ["-H", demo.address("clc"), "--credentials", str(tmp_path / "admin.ini"), "--state-dir", state]
        instance = next(one for one in demo.cloud.resources["Instance"].values() if one.state == "running")
        demo.tell("migration", instance.name, "192.0.2.9")
        moving = [CHECK.run([*words, "--mode", "instances"], clock=Clock(shift)) for shift in (0, 1000)]
        assert [one.state for one in moving] == [OK, WARNING]
        assert f"({instance.name} migrating from {instance.node} to 192.0.2.9" in moving[1].line
        demo.tell("silent", "one-nc-2")
        address = demo.cloud.hosts["one-nc-2"].address
        lost = [one for one in demo.cloud.resources["Instance"].values() if one.node == address]
        assert len(lost) == 2
        for seconds, state in ((0, "NOTREADY"), (601, "not known to the cloud")):
            demo.tell("clock", seconds)
            said = [f"{one.name} is called running on {address}, which is {state}" for one in lost]
            assert CHECK.run([*words, "--mode", "ghosts"]).line == (
                f"EUCA_RESOURCES WARNING - ghosts 2 is above 0 ({', '.join(said)}) | ghosts=2;0"
            )


RIGHT = (
    "a user of account eucalyptus, or a role of it (4.0+) with "
    '{"Effect":"Allow","Action":["ec2:Describe*","autoscaling:Describe*","euserv:Describe*"],"Resource":"*"}'
)


def test_who_sees_one_account_alone_is_told_so(run):
    outcome = run(user="owner")
    assert outcome.state == UNKNOWN
    text = "only the resources of account 362121614306 are visible (DescribeInstanceTypes): needs " + RIGHT
    assert outcome.line == f"EUCA_RESOURCES UNKNOWN - {cut(text, 224)}"


def test_who_has_no_right_at_all_is_told_which(run, cloud):
    text = f"{cloud.address('clc')}:8773: HTTP 403: UnauthorizedOperation (DescribeAvailabilityZones): needs {RIGHT}"
    assert run(user="nobody").line == f"EUCA_RESOURCES UNKNOWN - {cut(text, 224)}"


def test_a_role_with_the_right_sees_all(run):
    outcome = run(user="monitor")
    assert (outcome.state, outcome.line.startswith("EUCA_RESOURCES OK - 0 stuck, 0 failed, 0 ghosts of 12 ")) == (
        OK,
        True,
    )


def test_a_wrong_key(run, cloud, tmp_path):
    cloud.credentials(tmp_path / "bad.ini", user="admin")
    text = (tmp_path / "bad.ini").read_text()
    secret = next(line.split("=")[1].strip() for line in text.splitlines() if line.startswith("secret-key"))
    (tmp_path / "bad.ini").write_text(text.replace(secret, "x" * len(secret)))
    outcome = run("--credentials", str(tmp_path / "bad.ini"))
    assert outcome.state == UNKNOWN
    assert outcome.line == (
        f"EUCA_RESOURCES UNKNOWN - {cloud.address('clc')}:8773: HTTP 403: Signature validation failed "
        "(DescribeAvailabilityZones): needs the secret key that belongs to it"
    )


def test_clocks_that_differ(cloud, run):
    cloud.tell("skew", -31)
    outcome = run()
    cloud.tell("skew", 0)
    assert outcome.state == UNKNOWN
    assert outcome.line == (
        f"EUCA_RESOURCES UNKNOWN - {cloud.address('clc')}:8773: the clocks differ: this host's is about 31 s ahead of the server's "
        "(DescribeAvailabilityZones): needs clocks that agree within 20 s (check_clock); the key may be good"
    )


@pytest.mark.parametrize(
    "failure, state, text",
    [
        ("stop", CRITICAL, "Connection refused"),
        ("error500", CRITICAL, "HTTP 500: An internal error has occurred"),
        ("cut", CRITICAL, "the connection was cut before the answer was whole"),
        ("html", UNKNOWN, "the answer is HTML, not XML: no Eucalyptus there, or a proxy before it"),
        ("login", UNKNOWN, "HTTP 302: redirected to https://sso.example/login, which is no service of a cloud"),
        ("bomb", UNKNOWN, "the answer has a document type or entities: refused"),
        ("huge", UNKNOWN, "more than 64 MiB"),
    ],
)
def test_a_host_that_fails(cloud, run, failure, state, text):
    cloud.tell(failure, "clc")
    outcome = run()
    cloud.tell("start" if failure == "stop" else "heal", "clc")
    word = "CRITICAL" if state == CRITICAL else "UNKNOWN"
    where = f"{cloud.address('clc')}:8773"
    assert outcome.line == f"EUCA_RESOURCES {word} - {where}: {text} (DescribeAvailabilityZones)"
    assert outcome.state == state


def test_garbage(cloud, run):
    cloud.tell("garbage", "clc")
    outcome = run()
    assert outcome.state == UNKNOWN
    assert outcome.line.startswith(f"EUCA_RESOURCES UNKNOWN - {cloud.address('clc')}:8773: the answer ")


@pytest.mark.parametrize("failure", ["hang", "drip"])
def test_silence_ends_at_the_deadline(cloud, run, failure):
    cloud.tell(failure, "clc")
    begun = time.monotonic()
    outcome = run(seconds="2")
    assert time.monotonic() - begun < 2.5
    assert outcome.state == CRITICAL
    assert outcome.line.startswith(f"EUCA_RESOURCES CRITICAL - {cloud.address('clc')}:8773: no answer in")


def test_a_right_that_is_missing_for_one_question_hides_no_other(tmp_path):
    volumes = ec2(
        "DescribeVolumes", "<volumeSet><item><volumeId>vol-1</volumeId><status>error</status></item></volumeSet>"
    )
    refused = (403, error("UnauthorizedOperation", "You are not authorized to perform this operation."))
    with Answers({"DescribeVolumes": volumes, "DescribeSnapshots": refused}) as server:
        outcome = CHECK.run([*server.argv(tmp_path), "--mode", "volumes", "--mode", "snapshots"])
        alone = CHECK.run([*server.argv(tmp_path), "--mode", "snapshots"])
    assert outcome.line.startswith(
        "EUCA_RESOURCES WARNING - failed volumes 1 is above 0 (vol-1 error) … and 1 more | stuck_volumes=0;0;4 failed_volumes=1"
    )
    text = f"127.0.0.1:{server.port}: HTTP 403: UnauthorizedOperation (DescribeSnapshots): needs {RIGHT}"
    assert f"[UNKNOWN] {text}" in outcome.text
    assert alone.line == f"EUCA_RESOURCES UNKNOWN - {text}"


def test_workers_that_cannot_start(tmp_path):
    name = "asg-euca-internal-imaging-worker-01"
    documents = {
        "DescribeAutoScalingGroups": f"<AutoScalingGroups><member><AutoScalingGroupName>{name}</AutoScalingGroupName>"
        "<DesiredCapacity>1</DesiredCapacity><Instances/></member></AutoScalingGroups>",
        "DescribeScalingActivities": f"<Activities><member><AutoScalingGroupName>{name}</AutoScalingGroupName>"
        "<StatusCode>Failed</StatusCode><StartTime>2026-11-20T12:00:00.000Z</StartTime>"
        "<StatusMessage>Not enough resources available: addresses</StatusMessage></member></Activities>",
    }
    space = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
    answers = {
        action: f'<{action}Response xmlns="{space}"><{action}Result>{content}</{action}Result>'
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
        for action, content in documents.items()
    }
    with Answers(answers) as server:
        outcome = CHECK.run([*server.argv(tmp_path), "--mode", "workers"])
    assert outcome.line == (
        f"EUCA_RESOURCES WARNING - failed workers 1 is above 0 ({name} last activity failed: "
        "Not enough resources available: addresses) | stuck_workers=0;0;4 failed_workers=1;0;4 oldest=0s;;3600"
    )


def test_a_cloud_that_falls_silent_half_way_is_not_asked_on(tmp_path):
    with Answers({"DescribeInstances": (500, "")}) as server:
        outcome = CHECK.run(server.argv(tmp_path))
        assert outcome.line.startswith(
            f"EUCA_RESOURCES CRITICAL - 127.0.0.1:{server.port}: HTTP 500 (DescribeInstances)"
        )
        assert server.actions == ["DescribeAvailabilityZones", "DescribeInstances"]


def test_names_that_hurt(tmp_path):
    name = "vol-ü|‮ 'x'; rm"
    volumes = ec2(
        "DescribeVolumes", f"<volumeSet><item><volumeId>{name}</volumeId><status>error</status></item></volumeSet>"
    )
    with Answers({"DescribeVolumes": volumes}) as server:
        outcome = CHECK.run([*server.argv(tmp_path), "--mode", "volumes"])
    assert outcome.line.startswith("EUCA_RESOURCES WARNING - failed volumes 1 is above 0 (vol-ü")
    assert outcome.line.count("|") == 1


def test_workers_asked_for_by_name_that_are_not_there(tmp_path):
    groups = (
        '<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
        "<DescribeAutoScalingGroupsResult><AutoScalingGroups/></DescribeAutoScalingGroupsResult>"
        "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DescribeAutoScalingGroupsResponse>"
    )
    with Answers({"DescribeAutoScalingGroups": groups}) as server:
        outcome = CHECK.run([*server.argv(tmp_path), "--mode", "workers"])
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    assert outcome.line == (
        "EUCA_RESOURCES UNKNOWN - the cloud has no workers of its own (DescribeAutoScalingGroups verbose)"
    )
    assert judged(Found((), {}, {}, (Failed(ABSENT, "", "a", "b"),))) == [Failed(ABSENT, "", "a", "b")]


def test_a_huge_cloud_in_which_everything_is_stuck(tmp_path):
    """5,000 instances: eight requests, one line of the allowed length, the worst named."""
    with Demo(sample(nodes=2)) as demo:
        demo.tell("bulk", "instances", 5000)
        for instance in demo.cloud.resources["Instance"].values():
            instance.state = "pending"
        demo.credentials(tmp_path / "admin.ini", user="admin")
        before = len(demo.requests)
        words = ["-H", demo.address("clc"), "--credentials", str(tmp_path / "admin.ini"), "-t", "60"]
        outcome = CHECK.run([*words, "--state-dir", str(tmp_path / "state")])
        assert len(demo.requests) - before == 8
    assert outcome.state == CRITICAL
    assert len(outcome.line.encode()) <= 4096
    assert len(outcome.text.encode()) <= 60 * 1024
    assert "stuck_instances=5006;0;4" in outcome.line
