# SPDX-License-Identifier: Apache-2.0
"""What the describe calls give, from answers as the bindings of Eucalyptus 4.4.2 write them (compute-common, ec2-*.xml)."""

from __future__ import annotations

import re
import types
from datetime import datetime, timezone

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import euca_api, euca_ec2
from nephoscope.probes.euca_ec2 import GIB, Attachment, Group, Image, Instance, Snapshot, Volume

from tests.simulators.euca_answers import KEYS, Answers, ec2, error

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)


def access(server, tmp_path):
    keys = tmp_path / "keys.ini"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    words = {"cloud": None, "credentials": str(keys), "hostname": "127.0.0.1", "port": server.port, "signature": "4"}
    trust = dict.fromkeys(("ca_file", "fingerprint", "cert", "key"))
    options = types.SimpleNamespace(**words, **trust, insecure=False, tls=False)
    run = Run(8)
    return run, euca_api.access(options, run)


def clients(server, tmp_path, *names):
    run, there = access(server, tmp_path)
    return (run, *(euca_api.client(run, there, name) for name in names))


def asked(question, answers, tmp_path, name="ec2", version="4.4.2"):
    """The answer of one question, or the Failed that it raised, and the requests that it made."""
    with Answers(answers, version) as server:
        run, client = clients(server, tmp_path, name)
        try:
            return question(run, client), server.asked
        except Failed as failed:
            return failed, server.asked


def test_instances(tmp_path):
    xml = ec2(
        "DescribeInstances",
        """<reservationSet>
        <item><reservationId>r-1</reservationId><ownerId>362121614306</ownerId><groupSet/><instancesSet>
          <item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name></instanceState>
            <reason>NORMAL:  -- []</reason><launchTime>2026-11-20T12:00:00.000Z</launchTime>
            <rootDeviceType>ebs</rootDeviceType>
            <blockDeviceMapping><item><deviceName>/dev/sda</deviceName><ebs><volumeId>vol-1</volumeId></ebs></item>
            </blockDeviceMapping>
            <tagSet><item><key>euca:node</key><value>192.0.2.5</value></item>
              <item><key>euca:node:migration:state</key><value>migrating</value></item>
              <item><key>euca:node:migration:source</key><value>192.0.2.5</value></item>
              <item><key>euca:node:migration:destination</key><value>192.0.2.6</value></item></tagSet></item>
          <item><instanceId>i-2</instanceId><instanceState><code>48</code><name>terminated</name></instanceState>
            <reason>EXPIRED: Instance expired after not being reported.</reason></item>
        </instancesSet></item></reservationSet>""",
    )
    found, requests = asked(euca_ec2.instances, {"DescribeInstances": xml}, tmp_path)
    assert found == [
        Instance(
            "i-1",
            "362121614306",
            "running",
            "192.0.2.5",
            NOON,
            "NORMAL:  -- []",
            "migrating from 192.0.2.5 to 192.0.2.6 (migrating)",
            True,
            ("vol-1",),
        ),
        Instance("i-2", "362121614306", "terminated", reason="EXPIRED: Instance expired after not being reported."),
    ]
    assert [words["InstanceId.1"] for words in requests] == ["verbose"]


@pytest.mark.parametrize(
    "tags, words",
    [
        ({}, ""),
        ({"euca:node": "192.0.2.5"}, ""),
        ({"euca:node:migration:state": "none"}, ""),
        ({"euca:node:migration:state": "preparing"}, "migrating (preparing)"),
        ({"euca:node:migration:destination": "192.0.2.6"}, "migrating to 192.0.2.6"),
    ],
)
def test_migrations(tags, words):
    assert euca_ec2._moving(tags) == words


def test_volumes(tmp_path):
    xml = ec2(
        "DescribeVolumes",
        """<volumeSet>
        <item><volumeId>vol-1</volumeId><size>5</size><snapshotId/><availabilityZone>one</availabilityZone>
          <status>in-use</status><createTime>2026-11-20T12:00:00.000Z</createTime><attachmentSet><item>
          <volumeId>vol-1</volumeId><instanceId>i-1</instanceId><device>/dev/vdb</device><status>detaching</status>
          <attachTime>2026-11-20T12:00:00.000Z</attachTime></item></attachmentSet></item>
        <item><volumeId>vol-2</volumeId><status>unavailable</status><attachmentSet/></item></volumeSet>""",
    )
    found, requests = asked(euca_ec2.volumes, {"DescribeVolumes": xml}, tmp_path)
    assert found == [
        Volume("vol-1", "in-use", 5 * GIB, NOON, (Attachment("i-1", "detaching", NOON),), "one"),
        Volume("vol-2", "unavailable"),
    ]
    assert requests[0]["VolumeId.1"] == "verbose"


def test_snapshots(tmp_path):
    xml = ec2(
        "DescribeSnapshots",
        """<snapshotSet><item><snapshotId>snap-1</snapshotId><volumeId>vol-1</volumeId><status>pending</status>
        <startTime>2026-11-20T12:00:00.000Z</startTime><progress>40%</progress><ownerId>1</ownerId>
        <volumeSize>2</volumeSize></item></snapshotSet>""",
    )
    found, _ = asked(euca_ec2.snapshots, {"DescribeSnapshots": xml}, tmp_path)
    assert found == [Snapshot("snap-1", "1", "pending", "40%", NOON, 2 * GIB, "vol-1")]


def test_images(tmp_path):
    xml = ec2(
        "DescribeImages",
        """<imagesSet><item><imageId>emi-1</imageId><imageState>available</imageState><imageOwnerId>1</imageOwnerId>
        <creationDate>2026-11-20T12:00:00.000Z</creationDate><blockDeviceMapping><item><deviceName>/dev/sda</deviceName>
        <ebs><snapshotId>snap-1</snapshotId></ebs></item></blockDeviceMapping></item>
        <item><imageId>emi-2</imageId><imageState>failed</imageState><imageOwnerId>1</imageOwnerId></item></imagesSet>""",
    )
    found, _ = asked(euca_ec2.images, {"DescribeImages": xml}, tmp_path)
    assert found == [Image("emi-1", "1", "available", ("snap-1",)), Image("emi-2", "1", "failed")]


def autoscaling(action, content):
    return (
        f'<{action}Response xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><{action}Result>{content}</{action}Result>'
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    )


def workers(*activities, serving=1, name="asg-euca-internal-imaging-worker-01"):
    group = (
        f"<member><AutoScalingGroupName>{name}</AutoScalingGroupName><DesiredCapacity>1</DesiredCapacity><Instances>"
        + "<member><InstanceId>i-1</InstanceId><LifecycleState>InService</LifecycleState></member>" * serving
        + "</Instances></member><member><AutoScalingGroupName>tenants</AutoScalingGroupName>"
        "<DesiredCapacity>3</DesiredCapacity><Instances/></member>"
    )
    rows = "".join(
        f"<member><ActivityId>a</ActivityId><AutoScalingGroupName>{name}</AutoScalingGroupName>"
        f"<StatusCode>{status}</StatusCode><StartTime>2026-11-20T12:0{minute}:00.000Z</StartTime>"
        f"<StatusMessage>{said}</StatusMessage></member>"
        for minute, status, said in activities
    )
    return {
        "DescribeAutoScalingGroups": autoscaling(
            "DescribeAutoScalingGroups", f"<AutoScalingGroups>{group}</AutoScalingGroups>"
        ),
        "DescribeScalingActivities": autoscaling("DescribeScalingActivities", f"<Activities>{rows}</Activities>"),
    }


@pytest.mark.parametrize(
    "activities, failure",
    [
        ([], ""),
        ([(1, "Successful", "")], ""),
        ([(2, "Failed", "Not enough resources available: addresses"), (1, "Successful", "")],
         "Not enough resources available: addresses"),
        ([(2, "Successful", ""), (1, "Failed", "then")], ""),
        ([(3, "InProgress", ""), (2, "Failed", "now"), (1, "Successful", "")], "now"),
        ([(2, "Failed", "")], "it tells nothing"),
    ],
)  # fmt: skip
def test_workers_fail_when_the_last_thing_that_ended_did(tmp_path, activities, failure):
    found, requests = asked(euca_ec2.workers, workers(*activities), tmp_path, "autoscaling")
    assert found == [Group("asg-euca-internal-imaging-worker-01", 1, 1, failure)]
    assert [words["Action"] for words in requests] == ["DescribeAutoScalingGroups", "DescribeScalingActivities"]
    assert requests[0]["AutoScalingGroupNames.member.1"] == requests[1]["ActivityIds.member.1"] == "verbose"


def test_a_cloud_without_workers_is_asked_once(tmp_path):
    found, requests = asked(euca_ec2.workers, workers(name="asg-of-a-tenant"), tmp_path, "autoscaling")
    assert found == []
    assert len(requests) == 1


# ---- who may see


def zones(*rows):
    items = "".join(f"<item><zoneName>{name}</zoneName><zoneState>{state}</zoneState></item>" for name, state in rows)
    words = ec2("DescribeAvailabilityZones", f"<availabilityZoneInfo>{items}</availabilityZoneInfo>")
    return {"DescribeAvailabilityZones": words}


IDENTITY = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>arn:aws:iam::362121614306:user/bob</Arn><UserId>AID</UserId><Account>362121614306</Account>"
    "</GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
)


def seen(answers, tmp_path, version="4.4.2"):
    """Why not everything is seen, or None; and what was asked."""
    with Answers(answers, version) as server:
        run, there = access(server, tmp_path)
        try:
            euca_ec2.everywhere(run, there)
        except Failed as failed:
            return failed, server.actions
        return None, server.actions


TYPE = "<item><name>m1.small</name><availability/></item>"


def with_types(*items):
    """DescribeInstanceTypes of 4.4.2, whose root has a Type at its end."""
    space = "http://ec2.amazonaws.com/doc/2014-09-01/"
    inside = f"<requestId>r</requestId><instanceTypeDetails>{''.join(items)}</instanceTypeDetails>"
    xml = f'<DescribeInstanceTypesResponseType xmlns="{space}">{inside}</DescribeInstanceTypesResponseType>'
    return {"DescribeInstanceTypes": xml}


REFUSED = {"DescribeInstanceTypes": (400, error("AuthFailure", "Not permitted to access availability"))}


def test_who_sees_the_types_of_the_zones_sees_everything(tmp_path):
    assert seen({}, tmp_path) == (None, ["DescribeAvailabilityZones"])


def test_a_role_sees_everything_without_the_rows_and_so_does_anybody_who_may_while_no_zone_is_enabled(tmp_path):
    for shown in (zones(("one", "available")), zones()):
        assert seen({**shown, **with_types(TYPE)}, tmp_path) == (
            None,
            ["DescribeAvailabilityZones", "DescribeInstanceTypes"],
        )


def test_an_older_cloud_tells_availability_to_everybody(tmp_path):
    for shown in (zones(("one", "available")), zones()):
        text = "nothing shows that the resources of all accounts are visible"
        expected = Failed(NOT_ALLOWED, "", "DescribeAvailabilityZones verbose", text)
        assert seen({**shown, **with_types(TYPE)}, tmp_path, version="") == (expected, ["DescribeAvailabilityZones"])


def test_a_cloud_that_falls_silent_is_no_missing_right(tmp_path):
    failed, _ = seen({**zones(), "DescribeInstanceTypes": (500, "")}, tmp_path)
    assert failed.kind == UNREACHABLE


@pytest.mark.parametrize(
    "answers, whose",
    [
        ({**REFUSED, "GetCallerIdentity": IDENTITY}, "account 362121614306"),
        (REFUSED, "the caller's own account"),
        (with_types(), "the caller's own account"),
    ],
)
def test_who_does_not_is_told(tmp_path, answers, whose):
    expected = Failed(NOT_ALLOWED, "", "DescribeInstanceTypes", f"only the resources of {whose} are visible")
    assert seen({**zones(("one", "available")), **answers}, tmp_path)[0] == expected


def test_nodes_by_name_and_by_host(tmp_path):
    item = (
        "<item><serviceId><partition>one</partition><name>nc-{0}</name><type>node</type><uri>http://192.0.2.{0}:8775/x</uri>"
        "</serviceId><localState>{1}</localState></item>"
    )
    space = "http://msgs.eucalyptus.com/4.4.2"
    listed = f"<serviceStatuses>{item.format(1, 'ENABLED')}{item.format(2, 'NOTREADY')}</serviceStatuses>"
    xml = f'<DescribeServicesResponseType xmlns="{space}">{{}}</DescribeServicesResponseType>'
    for content, expected in (
        (listed, {"nc-1": "ENABLED", "192.0.2.1": "ENABLED", "nc-2": "NOTREADY", "192.0.2.2": "NOTREADY"}),
        ("<serviceStatuses/>", (NOT_ALLOWED, "no node is listed, as to who has no right, and to everybody before 3.4")),
    ):
        with Answers({"DescribeServices": xml.format(content)}) as server:
            run, there = access(server, tmp_path)
            try:
                found = euca_ec2.nodes(run, there)
            except Failed as failed:
                found = (failed.kind, failed.error)
            assert found == expected
            assert server.asked[0]["ByServiceType"] == "node"


def test_a_silent_cloud_is_not_asked_on():
    def fail(kind):
        raise Failed(kind, "", "Ask", "HTTP 500", "mend it")

    questions = {"a": lambda: 1, "b": lambda: fail(UNREADABLE), "c": lambda: fail(UNREACHABLE), "d": lambda: 2}
    assert euca_ec2.each(Run(8), questions) == {
        "a": 1,
        "b": Failed(UNREADABLE, "", "Ask", "HTTP 500", "mend it"),
        "c": Failed(UNREACHABLE, "", "Ask", "HTTP 500", "mend it"),
    }


# ---- answers that are none


def volumes_of(answer, tmp_path, version="4.4.2"):
    found, _ = asked(euca_ec2.volumes, {"DescribeVolumes": answer}, tmp_path, version=version)
    if isinstance(found, Failed):
        return found.kind, re.sub(r"127\.0\.0\.1:\d+", "HERE", found.error)
    return found


WHOLE = ec2(
    "DescribeVolumes", "<volumeSet><item><volumeId>vol-1</volumeId><status>available</status></item></volumeSet>"
)


def test_a_cut_answer(tmp_path):
    assert volumes_of(WHOLE[:-40], tmp_path) == (
        UNREADABLE,
        "HERE: the answer is cut or no XML: unclosed token: line 1, column 169",
    )


def test_the_document_of_something_else_is_no_empty_list(tmp_path):
    assert volumes_of("<list><item/></list>", tmp_path) == (
        UNREADABLE,
        "HERE: the answer is a <list>, not a <DescribeVolumesResponse>",
    )


def test_html(tmp_path):
    assert volumes_of("<html><body>Welcome</body></html>", tmp_path) == (
        UNREADABLE,
        "HERE: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it",
    )


def test_entities(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + WHOLE
    assert volumes_of(bomb, tmp_path) == (UNREADABLE, "HERE: the answer has a document type or entities: refused")


def test_a_time_or_a_size_that_is_none(tmp_path):
    for word in ("<createTime>yesterday</createTime>", "<size>big</size>"):
        kind, text = volumes_of(WHOLE.replace("<status>", f"{word}<status>"), tmp_path)
        assert (kind, text.startswith("the answer is ")) == (UNREADABLE, True)


def test_no_right(tmp_path):
    refused = (403, error("UnauthorizedOperation", "You are not authorized to perform this operation."))
    kind, text = volumes_of(refused, tmp_path)
    assert (kind, text) == (
        NOT_ALLOWED,
        "HERE: HTTP 403: UnauthorizedOperation",
    )


def test_an_empty_list_is_believed_of_a_cloud_that_refuses_who_has_no_right(tmp_path):
    empty = ec2("DescribeVolumes", "<volumeSet/>")
    assert volumes_of(empty, tmp_path) == []
    assert volumes_of(ec2("DescribeVolumes", ""), tmp_path) == []  # empty lists may be left out: not known
    assert volumes_of(empty, tmp_path, version="") == (
        NOT_ALLOWED,
        "the list is empty, which before version 4.0 is also the answer to who has no right",
    )
    assert volumes_of(WHOLE, tmp_path, version="") == [Volume("vol-1", "available")]


def test_pages_are_followed_and_have_an_end(tmp_path):
    more = WHOLE.replace("</volumeSet>", "</volumeSet><nextToken>t</nextToken>")
    last = WHOLE.replace("vol-1", "vol-2")
    assert volumes_of([more, last], tmp_path) == [Volume("vol-1", "available"), Volume("vol-2", "available")]
    found, requests = asked(euca_ec2.volumes, {"DescribeVolumes": more}, tmp_path)
    assert (found.kind, found.error, len(requests)) == (UNREADABLE, "more than 40 pages", 40)


def test_names_that_are_not_ascii(tmp_path):
    assert volumes_of(WHOLE.replace("vol-1", "vol-ü|"), tmp_path) == [Volume("vol-ü|", "available")]
