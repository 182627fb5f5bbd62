# SPDX-License-Identifier: Apache-2.0
"""What the tenants of a simulated cloud own: the seed, what can be told, capacity, and who is said to own what."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from nephoscope.demo import Demo, resources, sample
from nephoscope.demo.autoscaling import answer as scaling_answer
from nephoscope.demo.ec2 import answer as ec2_answer
from nephoscope.demo.euare import answer as iam_answer
from nephoscope.demo.markup import date, element
from nephoscope.demo.model import Answer, Cloud, Request
from nephoscope.demo.resources import Address, Image, Instance, ScalingGroup, Snapshot, Volume, things


@pytest.fixture
def demo() -> Iterator[Demo]:
    with Demo(sample(version="4.4.2", zones=2, nodes=2)) as found:
        yield found


def ask(demo: Demo, action: str, user: str = "admin", answer: object = ec2_answer, **params: str) -> Answer:
    """Ask a service without the wire: what the signature would have told is given."""
    named = {"Action": action, **{key.replace("__", "."): value for key, value in params.items()}}
    request = Request("clc", "POST", "/services/compute", "", {}, b"", named, demo.user(user))
    found: Answer = answer(demo.cloud, request)  # type: ignore[operator]
    return found


def body(answer: Answer) -> str:
    return answer.body.decode()


# ---- markup


def test_elements_are_escaped_left_out_or_empty() -> None:
    assert element("a", [("b", 'x<&>"'), ("c", None), ("d", ""), ("e", True), ("f", 0)]) == (
        '<a><b>x&lt;&amp;&gt;"</b><d/><e>true</e><f>0</f></a>'
    )
    assert date(1370940730.25) == "2013-06-11T08:52:10.250Z"


# ---- the seed


def test_the_seed_is_well_and_of_the_size_that_the_facts_give(demo: Demo) -> None:
    cloud = demo.cloud
    counts = [len(things(cloud, kind)) for kind in (Instance, Volume, Snapshot, Address)]
    assert counts == [12, 5, 4, 8]
    assert [each.owner for each in things(cloud, Address).values()].count("nobody") == 3
    assert {each.state for each in things(cloud, Volume).values()} == {"available", "in-use"}
    assert {each.state for each in things(cloud, Instance).values()} == {"running", "stopped"}
    assert {each.state for each in things(cloud, Snapshot).values()} == {"completed"}
    assert set(resources.accounts(cloud)) >= {"eucalyptus", "tenant", "research", "(eucalyptus)blockstorage"}
    assert not any(account.policies for name, account in resources.accounts(cloud).items() if name != "tenant")


def test_a_troubled_cloud(demo: Demo) -> None:
    demo.tell("seed", "troubled")
    cloud = demo.cloud
    stuck = [each for each in things(cloud, Volume).values() if each.state == "creating"]
    assert [round(cloud.elapsed() - each.since) for each in stuck] == [7200]
    assert [each.state for each in things(cloud, Volume).values()].count("error") == 1
    assert [each.state for each in things(cloud, Snapshot).values()].count("failed") == 1
    assert [each.state for each in things(cloud, Instance).values()].count("pending") == 1
    group = things(cloud, ScalingGroup)["asg-euca-internal-imaging-worker-01"]
    assert [each.status for each in group.activities] == ["Failed", "Successful"]


def test_bulk_is_added_and_the_wire_carries_it(demo: Demo) -> None:
    demo.tell("bulk", "volumes", 2000)
    demo.tell("bulk", "instances", 300)
    text = body(ask(demo, "DescribeVolumes", VolumeId__1="verbose"))
    assert text.count("<item><volumeId>vol-b") == 2000
    assert len(things(demo.cloud, Instance)) == 312
    assert {each.node for each in things(demo.cloud, Instance).values()} == {
        "", *(demo.address(f"{zone}-nc-{number}") for zone in ("one", "two") for number in (1, 2))
    }  # fmt: skip


def test_identifiers_are_the_same_in_every_cloud_and_well_formed(demo: Demo) -> None:
    with Demo(sample(version="4.4.2", zones=2, nodes=2)) as other:
        assert list(things(other.cloud, Volume)) == list(things(demo.cloud, Volume))
    for kind, form in ((Instance, "i"), (Volume, "vol"), (Snapshot, "snap"), (Image, "emi")):
        assert all(re.fullmatch(form + "-[0-9a-f]{8}", name) for name in things(demo.cloud, kind))


# ---- told


def test_a_volume_goes_through_its_states_and_ages_with_the_clock(demo: Demo) -> None:
    demo.tell("volume", "vol-12345678", "creating", 3600)
    text = body(ask(demo, "DescribeVolumes", VolumeId__1="vol-12345678"))
    assert "<status>creating</status>" in text
    assert "<attachmentSet/>" in text
    demo.tell("clock", 3600)
    found = re.search("<createTime>(.*?)</createTime>", body(ask(demo, "DescribeVolumes", VolumeId__1="vol-12345678")))
    assert found is not None
    assert found[1][:16] in {date(time.time() - 7200 - late)[:16] for late in (0, 30)}
    demo.tell("volume", "vol-12345678", "in-use", 60, "detaching")
    text = body(ask(demo, "DescribeVolumes", VolumeId__1="vol-12345678"))
    assert "<status>in-use</status>" in text
    assert "<status>detaching</status>" in text
    demo.tell("volume", "vol-12345678", "gone")
    assert "InvalidVolume.NotFound" in body(ask(demo, "DescribeVolumes", VolumeId__1="vol-12345678"))


def test_instances_snapshots_images_and_addresses_are_told_too(demo: Demo) -> None:
    cloud = demo.cloud
    name = next(iter(things(cloud, Instance)))
    demo.tell("instance", name, "terminated", 10, "Instance expired after not being reported.")
    text = body(ask(demo, "DescribeInstances", InstanceId__1=name))
    assert "<code>48</code><name>terminated</name>" in text
    assert "<reason>Instance expired after not being reported.</reason>" in text
    assert "euca:node" not in text
    with pytest.raises(KeyError):
        demo.tell("instance", name, "dancing")
    demo.tell("migration", list(things(cloud, Instance))[1], demo.address("one-nc-2"))
    assert "euca:node:migration:destination" in body(ask(demo, "DescribeInstances", InstanceId__1="verbose"))
    demo.tell("snapshot", "snap-00000001", "pending", 200000, "12%")
    assert "<progress>12%</progress>" in body(ask(demo, "DescribeSnapshots", SnapshotId__1="snap-00000001"))
    demo.tell("image", "emi-00000001", "deregistered")
    assert "emi-00000001" not in body(ask(demo, "DescribeImages"))
    assert "emi-00000001" in body(ask(demo, "DescribeImages", ImageId__1="verbose"))
    demo.tell("address", "198.51.100.17", "research")
    text = body(ask(demo, "DescribeAddresses", PublicIp__1="verbose"))
    assert "<instanceId> (arn:aws:euare::408396244283:user/admin)</instanceId>" in text
    assert text.count("<instanceId>nobody</instanceId>") == 2


def test_who_is_not_of_the_account_eucalyptus_sees_tags_of_no_node(demo: Demo) -> None:
    assert "euca:node" in body(ask(demo, "DescribeInstances", "monitor", InstanceId__1="verbose"))
    text = body(ask(demo, "DescribeInstances", "owner", InstanceId__1="verbose"))
    assert "<instanceId>" in text
    assert "euca:node" not in text


def test_before_4_0_a_missing_right_is_an_empty_list_and_administrators_are_fewer() -> None:
    with Demo(sample(version="3.4.3")) as demo:
        found = ask(demo, "DescribeVolumes", "nobody", VolumeId__1="verbose")
        assert (found.status, "<volumeSet/>" in body(found)) == (200, True)
        assert "<volumeSet/>" in body(ask(demo, "DescribeVolumes", "monitor", VolumeId__1="verbose"))
        assert body(ask(demo, "DescribeVolumes", VolumeId__1="verbose")).count("<volumeType>") == 3
        free = body(ask(demo, "DescribeAddresses", PublicIp__1="verbose"))
        assert free.count("<instanceId>available (arn:aws:euare::362121614306:user/admin)</instanceId>") == 1


def test_rows_of_verbose_zones_are_for_who_may_do_all(demo: Demo) -> None:
    assert "|- m1.small" in body(ask(demo, "DescribeAvailabilityZones", ZoneName__1="verbose"))
    assert "|- " not in body(ask(demo, "DescribeAvailabilityZones", "monitor", ZoneName__1="verbose"))
    assert "<availability><item>" in body(ask(demo, "DescribeInstanceTypes", "monitor", Availability="true"))
    assert "Not permitted to access" in body(ask(demo, "DescribeInstanceTypes", "owner", Availability="true"))
    with Demo(sample(version="4.1.2")) as old:
        assert "<availability><item>" in body(ask(old, "DescribeInstanceTypes", "owner", Availability="true"))


def test_verbose_addresses_of_a_tenant_are_none_at_all(demo: Demo) -> None:
    assert body(ask(demo, "DescribeAddresses", "owner")).count("<publicIp>") == 4
    assert "<addressesSet/>" in body(ask(demo, "DescribeAddresses", "owner", PublicIp__1="verbose"))


def test_auto_scaling_refuses_who_has_no_right_and_tells_who_serves(demo: Demo) -> None:
    asked = {"AutoScalingGroupNames.member.1": "verbose"}
    refused = ask(demo, "DescribeAutoScalingGroups", "nobody", scaling_answer, **asked)
    assert (refused.status, "<Code>UnauthorizedOperation</Code>" in body(refused)) == (403, True)
    serving = "<LifecycleState>InService</LifecycleState>"
    assert body(ask(demo, "DescribeAutoScalingGroups", "admin", scaling_answer, **asked)).count(serving) == 2
    demo.tell("serving", "asg-euca-internal-imaging-worker-01", 0)
    assert body(ask(demo, "DescribeAutoScalingGroups", "admin", scaling_answer, **asked)).count(serving) == 1
    with Demo(sample(version="3.4.2")) as old:
        found = ask(old, "DescribeAutoScalingGroups", "nobody", scaling_answer, **asked)
        assert (found.status, "<AutoScalingGroups/>" in body(found)) == (200, True)


# ---- capacity


def rows(demo: Demo) -> dict[str, tuple[int, int]]:
    return resources.capacity(demo.cloud, "one")


def test_capacity_counts_what_fits_on_each_enabled_node(demo: Demo) -> None:
    demo.tell("capacity", 4, 2048, 40)
    assert rows(demo)["m1.small"] == (2, 8)  # 4 of 4 cores of one node are used, and 2 of 4 of the other
    assert rows(demo)["cc1.4xlarge"] == (0, 0)
    demo.tell("state", "one-nc-2", "NOTREADY")
    assert rows(demo)["m1.small"] == (0, 4)


def test_instance_types_with_availability_are_for_the_account_eucalyptus(demo: Demo) -> None:
    text = body(ask(demo, "DescribeInstanceTypes", Availability="true", InstanceType__1="m1.small"))
    assert text.startswith(
        '<DescribeInstanceTypesResponseType xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>'
    )
    assert (
        "<item><name>m1.small</name><cpu>1</cpu><disk>5</disk><memory>256</memory><networkInterfaces>2</networkInterfaces>"
        "<availability><item><name>m1.small</name><zoneName>one</zoneName><max>64</max><available>58</available></item>"
        "<item><name>m1.small</name><zoneName>two</zoneName><max>64</max><available>58</available></item></availability>"
        "<ephemeralDisk/></item>"
    ) in text
    refused = ask(demo, "DescribeInstanceTypes", "owner", Availability="true")
    assert (
        refused.status,
        "<Code>AuthFailure</Code><Message>Not permitted to access availability</Message>" in body(refused),
    ) == (
        400,
        True,
    )


def test_the_namespace_is_that_of_the_version_that_was_sent(demo: Demo) -> None:
    for version, there in (("2013-10-15", "2013-10-15"), ("2025-01-01", "2016-11-15"), ("eucalyptus", "2016-11-15")):
        text = body(ask(demo, "DescribeRegions", Version=version))
        assert f'xmlns="http://ec2.amazonaws.com/doc/{there}/"' in text


# ---- quotas


def iam(demo: Demo, action: str, user: str = "admin", **params: str) -> Answer:
    return ask(demo, action, user, iam_answer, **params)


def test_accounts_and_their_policies(demo: Demo) -> None:
    text = body(iam(demo, "ListAccounts"))
    assert "<member><AccountName>tenant</AccountName><AccountId>362121614306</AccountId></member>" in text
    assert text.startswith(
        '<ListAccountsResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListAccountsResult><Accounts><member>'
    )
    demo.tell("quota", "tenant", "ec2:quota-volumetotalsize", "55")
    text = body(iam(demo, "GetAccountPolicy", AccountName="tenant", PolicyName="limit-volumetotalsize"))
    assert "%22ec2%3Aquota-volumetotalsize%22%3A%20%2255%22" in text
    refused = iam(demo, "ListUserPolicies", DelegateAccount="tenant", UserName="admin")
    assert refused.status == 403  # an account's policies are those of its `admin`, and are asked for as the account's
    assert "Not authorized to list user policies for admin by admin" in body(refused)
    assert iam(demo, "GetUserPolicy", DelegateAccount="tenant", UserName="admin", PolicyName="p").status == 403
    demo.tell("quota", "tenant", "ec2:quota-volumetotalsize", "")
    gone = iam(demo, "GetAccountPolicy", AccountName="tenant", PolicyName="limit-volumetotalsize")
    assert (gone.status, "<Code>NoSuchEntity</Code>" in body(gone)) == (404, True)


def test_other_accounts_are_for_the_account_eucalyptus(demo: Demo) -> None:
    own = body(iam(demo, "ListAccounts", "owner"))
    assert re.findall("<AccountName>(.*?)<", own) == ["tenant"]
    assert iam(demo, "ListAccounts", "nobody").status == 403
    assert iam(demo, "ListAccountPolicies", "owner", AccountName="research").status == 403
    assert iam(demo, "ListAccountPolicies", "owner", AccountName="tenant").status == 403
    assert iam(demo, "ListUserPolicies", "owner", UserName="admin").status == 403


def test_a_user_may_have_a_limit_of_its_own(demo: Demo) -> None:
    demo.tell("quota", "tenant", "s3:quota-buckettotalsize", "100", "user/alice")
    text = body(iam(demo, "ListUserPolicies", DelegateAccount="tenant", UserName="alice"))
    assert re.findall("<member>(.*?)</member>", text) == ["limit-buckettotalsize"]


def test_the_seed_happens_once(demo: Demo) -> None:
    demo.tell("volume", next(iter(things(demo.cloud, Volume))), "gone")
    resources.seed(demo.cloud)
    assert len(things(demo.cloud, Volume)) == 4


def test_a_cloud_without_zones_can_be_seeded() -> None:
    cloud = Cloud("4.4.2")
    resources.seed(cloud)
    assert things(cloud, Instance) == {}
    assert len(things(cloud, Address)) == 8


def test_a_topology_file_says_how_much_there_is_and_how_ill(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "cloud.toml").write_text(
        'version = "4.4.2"\n[zones.one]\nnodes = 2\n'
        '[hosts.clc]\naddress = "127.62.0.1"\nservices = ["eucalyptus", "user-api:API_clc"]\n'
        '[hosts.one-cc]\naddress = "127.62.1.1"\nzone = "one"\nservices = ["cluster:one-cc-1", "storage:one-sc-1"]\n'
        '[demo]\nseed = "troubled"\nnode_size = [4, 2048, 40]\nbulk = { instances = 4, volumes = 10, addresses = 20 }\n'
    )
    cloud = Demo.of_file(tmp_path / "cloud.toml").cloud  # its model; nothing listens
    resources.seed(cloud)
    counts = [len(things(cloud, kind)) for kind in (Instance, Volume, Snapshot, Address)]
    assert counts == [6 + 4 + 1, 3 + 10 + 1, 2, 8 + 20]  # the seed of one zone, the bulk, and what is stuck
    assert resources.capacity(cloud, "one")["m1.small"] == (
        0,
        8,
    )  # the two that were free went to bulk and to what is stuck
