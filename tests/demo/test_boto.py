# SPDX-License-Identifier: Apache-2.0
"""botocore, a real client that knows nothing of us, against the simulated cloud: it must be content, and be refused rightly."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nephoscope.demo import Demo, sample

botocore_session = pytest.importorskip("botocore.session")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

PATHS = {
    "ec2": "/services/compute",
    "iam": "/services/Euare/",
    "s3": "/services/objectstorage",
    "cloudwatch": "/services/CloudWatch/",
    "autoscaling": "/services/AutoScaling",
    "sts": "/services/Tokens",
}
NO_RETRY = {"total_max_attempts": 1, "mode": "standard"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Demo]:
    """A cloud that these tests only read, or put back as it was."""
    with Demo(sample(version="4.4.2", zones=2, nodes=2)) as demo:
        yield demo


@pytest.fixture
def own() -> Iterator[Demo]:
    """A cloud that a test may break."""
    with Demo(sample(version="4.4.2", zones=2, nodes=2)) as demo:
        yield demo


def client(demo: Demo, service: str, user: str = "admin", *, secret: str = "", keys: Any = None, tls: str = "") -> Any:
    who = demo.user(user)
    session = botocore_session.Session()
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    if service == "cloudwatch":
        _speak_query(session)
    given = keys or {
        "aws_access_key_id": who.access,
        "aws_secret_access_key": secret or who.secret,
    }
    return session.create_client(
        service,
        "demo",
        endpoint_url=demo.url("clc", tls=bool(tls)) + PATHS[service],
        verify=tls or None,
        config=Config(retries=NO_RETRY, s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=10),
        **given,
    )


def _speak_query(session: Any) -> None:
    """Let botocore use the query protocol for CloudWatch, which newer versions speak in CBOR or JSON."""
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def only_query(*args: Any, **words: Any) -> Any:
        model = load(*args, **words)
        if "query" in model.get("metadata", {}).get("protocols", ()):
            model = {**model, "metadata": {**model["metadata"], "protocols": ["query"], "protocol": "query"}}
        return model

    loader.load_service_model = only_query


def refused(call: Any, *args: Any, **words: Any) -> tuple[int, str, str]:
    """Return status, code and message of the error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(*args, **words)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


# ---- EC2


def test_every_describe_call_is_understood(cloud: Demo) -> None:
    ec2 = client(cloud, "ec2")
    assert [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]] == ["one", "two"]
    assert len(ec2.describe_instances(InstanceIds=["verbose"])["Reservations"]) == 12
    assert len(ec2.describe_volumes(VolumeIds=["verbose"])["Volumes"]) == 5
    assert len(ec2.describe_snapshots()["Snapshots"]) == 4
    assert len(ec2.describe_addresses(PublicIps=["verbose"])["Addresses"]) == 8
    assert [image["Name"] for image in ec2.describe_images()["Images"]] == ["precise-server", "imaging-worker"]
    assert len(ec2.describe_instance_status(InstanceIds=["verbose"])["InstanceStatuses"]) == 10
    assert [group["GroupName"] for group in ec2.describe_security_groups(GroupNames=["verbose"])["SecurityGroups"]] == [
        "default"
    ]
    assert ec2.describe_key_pairs()["KeyPairs"][0]["KeyName"] == "key"
    assert ec2.describe_regions()["Regions"] == []


def test_an_instance_in_full(cloud: Demo) -> None:
    found = client(cloud, "ec2").describe_instances(InstanceIds=["verbose"])["Reservations"][0]
    instance = found["Instances"][0]
    assert found["OwnerId"] == "362121614306"
    assert instance["State"] == {"Code": 16, "Name": "running"}
    assert instance["Placement"]["AvailabilityZone"] == "one"
    assert instance["PrivateIpAddress"] == "10.111.1.20"
    assert instance["PublicIpAddress"] == "198.51.100.10"
    assert instance["Tags"] == [{"Key": "euca:node", "Value": cloud.address("one-nc-1")}]
    age = time.time() - instance["LaunchTime"].timestamp()
    assert age == pytest.approx(86400, abs=60)
    volume = instance["BlockDeviceMappings"][0]["Ebs"]
    assert volume["Status"] == "attached"


def test_verbose_means_nothing_to_a_tenant_and_all_to_the_account_eucalyptus(cloud: Demo) -> None:
    for user in ("admin", "monitor"):
        assert len(client(cloud, "ec2", user).describe_volumes(VolumeIds=["verbose"])["Volumes"]) == 5
        assert client(cloud, "ec2", user).describe_volumes()["Volumes"] == []
    tenant = client(cloud, "ec2", "owner")
    found = tenant.describe_instances(InstanceIds=["verbose"])["Reservations"]
    assert {each["OwnerId"] for each in found} == {"362121614306"}
    assert [
        each["State"] for each in tenant.describe_availability_zones(ZoneNames=["verbose"])["AvailabilityZones"]
    ] == [
        "available",
        "available",
    ]
    assert "Tags" not in found[0]["Instances"][0] or found[0]["Instances"][0]["Tags"] == []


def test_without_the_right_a_call_is_refused(cloud: Demo) -> None:
    nobody = client(cloud, "ec2", "nobody")
    assert refused(nobody.describe_instances, InstanceIds=["verbose"]) == (
        403, "UnauthorizedOperation", "You are not authorized to perform this operation.",
    )  # fmt: skip
    assert refused(nobody.describe_addresses)[1] == "UnauthorizedOperation"


def test_verbose_zones_tell_the_room_and_lose_a_zone_whose_cluster_is_down(own: Demo) -> None:
    ec2 = client(own, "ec2")
    rows = ec2.describe_availability_zones(ZoneNames=["verbose"])["AvailabilityZones"]
    assert rows[0] == {
        "ZoneName": "one",
        "State": f"{own.address('one-cc')} arn:euca:eucalyptus:one:cluster:one-cc-1/",
        "RegionName": "",
        "Messages": [],
    }
    assert [row["State"] for row in rows[1:3]] == ["free / max   cpu   ram  disk", "0058 / 0064   1    256     5"]
    assert len([row for row in rows if not row["ZoneName"].startswith("|-")]) == 2
    own.tell("stop", "two-cc")
    rows = ec2.describe_availability_zones(ZoneNames=["verbose"])["AvailabilityZones"]
    assert [row["ZoneName"] for row in rows if not row["ZoneName"].startswith("|-")] == ["one"]
    plain = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [(row["ZoneName"], row["State"]) for row in plain] == [("one", "available"), ("two", "unavailable")]


def test_addresses_tell_their_owner_and_free_ones_are_nobodys(cloud: Demo) -> None:
    found = client(cloud, "ec2").describe_addresses(PublicIps=["verbose"])["Addresses"]
    assert found[0]["InstanceId"].endswith(" (arn:aws:euare::362121614306:user/admin)")
    assert found[4]["InstanceId"] == " (arn:aws:euare::362121614306:user/admin)"
    assert [each["InstanceId"] for each in found[5:]] == ["nobody", "nobody", "nobody"]


def test_an_unknown_identifier_and_a_parameter_of_a_later_time_are_refused(cloud: Demo) -> None:
    ec2 = client(cloud, "ec2")
    assert refused(ec2.describe_volumes, VolumeIds=["vol-00000000"]) == (
        400, "InvalidVolume.NotFound", "The volume 'vol-00000000' does not exist",
    )  # fmt: skip
    status, code, message = refused(ec2.describe_addresses, DryRun=True)
    assert (status, code) == (400, "InvalidParameterValue")
    assert message.startswith("Failed to bind the following fields:\nDryRun = ")


def test_nothing_that_changes_the_cloud_is_done(cloud: Demo) -> None:
    status, code, _ = refused(client(cloud, "ec2").create_volume, AvailabilityZone="one", Size=1)
    assert (status, code) == (403, "UnauthorizedOperation")


def test_filters_choose_and_pages_are_not_made(cloud: Demo) -> None:
    ec2 = client(cloud, "ec2")
    stopped = [{"Name": "instance-state-name", "Values": ["stopped"]}]
    found = ec2.describe_instances(InstanceIds=["verbose"], Filters=stopped, MaxResults=5)
    assert [each["Instances"][0]["State"]["Name"] for each in found["Reservations"]] == ["stopped", "stopped"]
    assert "NextToken" not in found
    assert len(ec2.describe_instances(InstanceIds=["verbose"], MaxResults=5)["Reservations"]) == 12
    code = refused(ec2.describe_volumes, Filters=[{"Name": "colour", "Values": ["red"]}])[1]
    assert code == "InvalidParameterValue"


def test_a_ghost_on_a_silent_node_fails_its_status_check(own: Demo) -> None:
    own.tell("silent", "one-nc-1")
    own.tell("clock", 700)
    found = client(own, "ec2").describe_instance_status(InstanceIds=["verbose"])["InstanceStatuses"]
    bad = [each for each in found if each["SystemStatus"]["Status"] == "impaired"]
    assert len(bad) == 3
    detail = bad[0]["SystemStatus"]["Details"][0]
    assert (detail["Name"], detail["Status"]) == ("reachability", "failed")
    assert time.time() - detail["ImpairedSince"].timestamp() == pytest.approx(700, abs=30)


# ---- who is let in


def test_a_wrong_key_and_a_key_that_nobody_has(cloud: Demo) -> None:
    assert refused(client(cloud, "ec2", secret="wrong").describe_volumes)[::2] == (403, "Signature validation failed")
    keys = {"aws_access_key_id": "AKINOBODYHASTHISKEY0", "aws_secret_access_key": "x"}
    assert refused(client(cloud, "ec2", keys=keys).describe_volumes)[::2] == (403, "Invalid access key or token")
    assert refused(client(cloud, "s3", secret="wrong").list_buckets)[:2] == (403, "SignatureDoesNotMatch")
    assert refused(client(cloud, "s3", keys=keys).list_buckets)[:2] == (403, "InvalidAccessKeyId")


@pytest.mark.parametrize(
    ("skew", "beginning"),
    [
        (-60, "Message was generated in the future (times in UTC): Timestamp="),
        (1000, "Message has expired (times in UTC): "),
    ],
)
def test_a_skewed_clock_is_told_as_such(own: Demo, skew: float, beginning: str) -> None:
    own.tell("skew", skew)
    status, _, message = refused(client(own, "ec2").describe_volumes)
    assert status == 403
    assert message.startswith(beginning)


def test_s3_lets_a_clock_be_a_quarter_of_an_hour_off_and_no_more(own: Demo) -> None:
    own.tell("skew", 600)
    assert client(own, "s3").list_buckets()["Buckets"]
    own.tell("skew", 1000)
    # botocore corrects its clock by the Date header and asks again; what it was told first is what counts.
    answers: list[int] = []
    s3 = client(own, "s3")
    s3.meta.events.register(
        "response-received.s3", lambda response_dict, **_: answers.append(response_dict["status_code"])
    )
    status, code, _ = refused(s3.list_buckets)
    assert (status, code, answers[0]) == (403, "RequestTimeTooSkewed", 403)


def test_tls_on_the_same_port(cloud: Demo, tmp_path: Any) -> None:
    authority = str(cloud.certificate(tmp_path / "ca.pem"))
    assert len(client(cloud, "ec2", tls=authority).describe_volumes(VolumeIds=["verbose"])["Volumes"]) == 5


def test_temporary_keys_work_and_need_their_token(cloud: Demo) -> None:
    given = client(cloud, "sts").get_session_token(DurationSeconds=900)["Credentials"]
    keys = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"]}
    with_token = client(cloud, "ec2", keys={**keys, "aws_session_token": given["SessionToken"]})
    assert len(with_token.describe_volumes(VolumeIds=["verbose"])["Volumes"]) == 5
    assert refused(client(cloud, "ec2", keys=keys).describe_volumes)[0] == 403
    assert client(cloud, "sts", "monitor").get_caller_identity()["Account"] == "000000000001"
    assert refused(client(cloud, "sts").assume_role, RoleArn="arn:aws:iam::1:role/x", RoleSessionName="xx")[0] == 403


# ---- IAM


def test_users_groups_and_policies_of_the_own_account(cloud: Demo) -> None:
    iam = client(cloud, "iam")
    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["admin", "monitor"]
    assert iam.list_groups()["Groups"] == []
    assert iam.list_user_policies(UserName="monitor")["PolicyNames"] == ["monitoring"]
    policy = iam.get_user_policy(UserName="monitor", PolicyName="monitoring")["PolicyDocument"]
    assert policy["Statement"][0]["Action"] == list(cloud.user("monitor").allowed)
    assert iam.get_account_summary()["SummaryMap"]["Users"] == 2
    assert iam.get_user(UserName="monitor")["User"]["Arn"] == "arn:aws:iam::000000000001:user/monitor"
    assert refused(iam.get_user, UserName="zoe")[:2] == (404, "NoSuchEntity")


def delegated(iam: Any, account: str) -> Any:
    """Add DelegateAccount to each call, as the Eucalyptus tools do; botocore has no such parameter."""
    iam.meta.events.register("before-call.iam", lambda params, **_: params["body"].update({"DelegateAccount": account}))
    return iam


def test_another_account_by_delegation_with_a_limit_on_a_group(own: Demo) -> None:
    own.tell("quota", "tenant", "ec2:quota-vminstancenumber", "2", "group/developers")
    iam = delegated(client(own, "iam"), "tenant")
    assert "alice" in [user["UserName"] for user in iam.list_users()["Users"]]
    assert [group["GroupName"] for group in iam.list_groups()["Groups"]] == ["developers"]
    assert iam.list_group_policies(GroupName="developers")["PolicyNames"] == ["limit-vminstancenumber"]
    policy = iam.get_group_policy(GroupName="developers", PolicyName="limit-vminstancenumber")["PolicyDocument"]
    assert policy["Statement"][0] == {
        "Effect": "Limit", "Action": "ec2:RunInstances", "Resource": "*",
        "Condition": {"NumericLessThanEquals": {"ec2:quota-vminstancenumber": "2"}},
    }  # fmt: skip
    assert refused(delegated(client(own, "iam", "owner"), "research").list_users)[:2] == (403, "NotAuthorized")
    assert refused(delegated(client(own, "iam"), "zoe").list_users)[2] == "Can not find delegation account zoe"


def test_who_may_not_list_users_sees_none_and_may_not_read_policies(cloud: Demo) -> None:
    iam = client(cloud, "iam", "nobody")
    assert iam.list_users()["Users"] == []
    assert refused(iam.list_user_policies, UserName="nobody")[:2] == (403, "NotAuthorized")


def test_a_role_of_the_system_account_without_the_right_is_refused_not_shown_nothing(cloud: Demo) -> None:
    said = refused(client(cloud, "iam", "monitor").list_users)
    assert (*said[:2], said[2]) == (403, "NotAuthorized", "Access not authorized for 000000000001")
    said = refused(delegated(client(cloud, "iam", "monitor"), "tenant").list_groups)
    assert (*said[:2], said[2]) == (403, "NotAuthorized", "Delegation access not authorized for tenant")


# ---- S3


def test_an_object_makes_the_round_trip(own: Demo) -> None:
    s3 = client(own, "s3", "admin")
    s3.create_bucket(Bucket="probe")
    key, content = "a folder/näme+1", bytes(range(256)) * 40
    put = s3.put_object(Bucket="probe", Key=key, Body=content, ContentType="text/x-probe")
    got = s3.get_object(Bucket="probe", Key=key)
    assert (got["Body"].read(), got["ContentType"], got["ETag"]) == (content, "text/x-probe", put["ETag"])
    assert s3.head_object(Bucket="probe", Key=key)["ContentLength"] == len(content)
    assert [each["Key"] for each in s3.list_objects(Bucket="probe")["Contents"]] == [key]
    assert refused(s3.delete_bucket, Bucket="probe")[:2] == (409, "BucketNotEmpty")
    s3.delete_object(Bucket="probe", Key=key)
    assert refused(s3.get_object, Bucket="probe", Key=key)[:2] == (404, "NoSuchKey")
    s3.delete_bucket(Bucket="probe")
    assert refused(s3.head_bucket, Bucket="probe")[0] == 404


def test_buckets_are_their_owners(cloud: Demo) -> None:
    assert [each["Name"] for each in client(cloud, "s3", "admin").list_buckets()["Buckets"]] == ["images"]
    assert refused(client(cloud, "s3", "nobody").list_buckets)[:2] == (403, "AccessDenied")
    assert refused(client(cloud, "s3", "owner").list_objects, Bucket="images")[:2] == (403, "AccessDenied")
    assert refused(client(cloud, "s3", "admin").create_bucket, Bucket="backups")[:2] == (409, "BucketAlreadyExists")


def test_without_its_provider_the_gateway_has_an_internal_error(own: Demo) -> None:
    s3 = client(own, "s3")
    own.tell("state", "walrus-1", "NOTREADY")
    assert refused(s3.get_object, Bucket="images", Key="manifest.xml")[:2] == (500, "InternalError")
    own.tell("state", "walrus-1", "ENABLED")
    assert s3.get_object(Bucket="images", Key="manifest.xml")["Body"].read() == b"<manifest/>"
    own.tell("property", "objectstorage.providerclient", "")
    assert refused(s3.get_object, Bucket="images", Key="manifest.xml")[0] == 503


def test_anonymous_requests_are_let_in_and_refused_in_s3s_own_words(cloud: Demo) -> None:
    import http.client

    def ask(method: str, path: str) -> tuple[int, bytes]:
        link = http.client.HTTPConnection(cloud.address("clc"), 8773, timeout=10)
        link.request(method, path)
        answer = link.getresponse()
        found = answer.status, answer.read()
        link.close()
        return found

    status, body = ask("GET", "/services/objectstorage/")
    assert status == 403
    assert body.startswith(b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message>")
    assert ask("HEAD", "/services/objectstorage") == (405, b"")
    assert ask("GET", "/services/objectstorage/images/manifest.xml")[0] == 403


# ---- CloudWatch, auto scaling


def test_metrics_come_every_five_minutes_and_stop_with_the_service(own: Demo) -> None:
    watch = client(own, "cloudwatch")
    own.tell("metric", "Site", "heartbeat", 1, 120)
    assert ("Site", "heartbeat") in [
        (each["Namespace"], each["MetricName"]) for each in watch.list_metrics()["Metrics"]
    ]
    words = {"Period": 300, "StartTime": time.time() - 3600, "EndTime": time.time(), "Statistics": ["Average"]}
    points = watch.get_metric_statistics(Namespace="Site", MetricName="heartbeat", **words)["Datapoints"]
    assert [point["Average"] for point in points] == [1.0]
    watch.put_metric_data(Namespace="Site", MetricData=[{"MetricName": "other", "Value": 3.5}])
    assert ("Site", "other") in [(each["Namespace"], each["MetricName"]) for each in watch.list_metrics()["Metrics"]]
    assert watch.describe_alarms()["MetricAlarms"] == []
    assert refused(client(own, "cloudwatch", "nobody").list_metrics)[:2] == (403, "AccessDenied")


def test_running_instances_of_the_tenant_report(cloud: Demo) -> None:
    words = {"Period": 300, "StartTime": time.time() - 3600, "EndTime": time.time(), "Statistics": ["Average"]}
    watch = client(cloud, "cloudwatch", "admin")
    assert watch.get_metric_statistics(Namespace="AWS/EC2", MetricName="CPUUtilization", **words)["Datapoints"] == []
    watch = client(cloud, "cloudwatch", "owner")
    points = watch.get_metric_statistics(Namespace="AWS/EC2", MetricName="CPUUtilization", **words)["Datapoints"]
    assert 11 <= len(points) <= 12


def test_a_client_that_speaks_json_or_cbor_is_not_understood(cloud: Demo) -> None:
    who = cloud.user("admin")
    session = botocore_session.Session()
    plain = session.create_client(
        "cloudwatch", "demo", endpoint_url=cloud.url() + PATHS["cloudwatch"], aws_access_key_id=who.access,
        aws_secret_access_key=who.secret, config=Config(retries=NO_RETRY),
    )  # fmt: skip
    if plain.meta.service_model.resolved_protocol == "query":
        assert "Metrics" in plain.list_metrics()  # an older botocore: nothing to find here
    else:
        assert refused(plain.list_metrics)[0] in (403, 404)


def test_scaling_groups_and_their_activities(own: Demo) -> None:
    scaling = client(own, "autoscaling")
    group = "asg-euca-internal-imaging-worker-01"
    names = [each["AutoScalingGroupName"] for each in scaling.describe_auto_scaling_groups(
        AutoScalingGroupNames=["verbose"])["AutoScalingGroups"]]  # fmt: skip
    assert names == [group, "asg-euca-internal-elb-362121614306-web"]
    own.tell("scaling", group, "Failed", 60, "Not enough resources available: addresses; please try again later")
    found = scaling.describe_scaling_activities(ActivityIds=["verbose"])["Activities"]
    assert (found[0]["AutoScalingGroupName"], found[0]["StatusCode"]) == (group, "Failed")
    assert found[0]["Cause"].startswith("Not enough resources available: addresses;")
    assert scaling.describe_scaling_activities()["Activities"] == []
    assert refused(scaling.describe_scaling_activities, AutoScalingGroupName=group)[:2] == (400, "ValidationError")


def test_policies_travel_encoded_as_iam_has_them(cloud: Demo) -> None:
    iam = client(cloud, "iam")
    raw: list[bytes] = []
    iam.meta.events.register("response-received.iam", lambda response_dict, **_: raw.append(response_dict["body"]))
    document = iam.get_user_policy(UserName="monitor", PolicyName="monitoring")["PolicyDocument"]
    assert b"%7B%22Statement%22" in raw[0]
    assert json.dumps(document)[:13] == '{"Statement":'
