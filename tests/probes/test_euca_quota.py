# SPDX-License-Identifier: Apache-2.0
"""What the policies of Eucalyptus' accounts are read as, and what counts as their use.

The first document is that of Eucalyptus' documentation ("Quotas"); keys and units are those of the QuotaKey classes of 4.4.2.
"""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from nephoscope.base import LATE, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run
from nephoscope.demo import Demo, resources, sample
from nephoscope.probes import euca_quota
from nephoscope.probes.cloud import Quota, Share, Void
from nephoscope.probes.euca_quota import GIB, KEYS, MIB

DOCUMENTED = (
    '{"Statement":[{"Effect":"Limit","Action":"ec2:RunInstances","Resource":"*",'
    '"Condition":{"NumericLessThanEquals":{"ec2:quota-vminstancenumber":"16"}}}]}'
)


def document(key, value="7", action="*", effect="Limit", operator="NumericLessThanEquals", **more):
    named = {} if action is None else {"Action": action}
    statement = {"Effect": effect, "Resource": "*", "Condition": {operator: {key: value}}, **named, **more}
    return json.dumps({"Version": "2011-04-01", "Statement": [statement]})


def read(text):
    return list(euca_quota.statements(text, "acme, policy p"))


@pytest.mark.parametrize("text", [DOCUMENTED, quote(DOCUMENTED, safe=""), f"  {DOCUMENTED}"])
def test_the_documented_limit_plain_and_encoded(text):
    assert read(text) == [("instances", 16.0, "")]


@pytest.mark.parametrize(
    "key, resource, limit",
    [
        ("ec2:quota-memorytotalsize", "ram", 7 * MIB),
        ("ec2:quota-disktotalsize", "disk", 7 * GIB),
        ("ec2:quota-volumetotalsize", "volume_size", 7 * GIB),
        ("s3:quota-buckettotalsize", "buckets_size", 7 * MIB),
        ("s3:quota-bucketsize", "bucket_size", 7 * MIB),
        ("ec2:quota-cputotalsize", "cores", 7),
        ("EC2:Quota-VolumeNumber", "volumes", 7),
        ("new:quota-thingnumber", "new:quota-thingnumber", 7),
    ],
)
def test_units(key, resource, limit):
    assert read(document(key)) == [(resource, limit, "")]


def test_every_key_of_the_documentation_is_known():
    words = {
        "autoscaling": "autoscalinggroupnumber launchconfigurationnumber scalingpolicynumber",
        "cloudformation": "stacknumber",
        "ec2": "addressnumber cputotalsize disktotalsize imagenumber internetgatewaynumber memorytotalsize"
        " securitygroupnumber snapshotnumber vminstancenumber vminstanceactivenumber volumenumber volumetotalsize vpcnumber",
        "elasticloadbalancing": "loadbalancernumber",
        "iam": "groupnumber instanceprofilenumber rolenumber servercertificatenumber usernumber",
        "s3": "bucketnumber bucketobjectnumber bucketsize buckettotalsize",
        "swf": "domainnumber",
        "sqs": "queuenumber",
    }
    assert set(KEYS) == {f"{vendor}:quota-{word}" for vendor, text in words.items() for word in text.split()}
    assert len({key.resource for key in KEYS.values()}) == len(KEYS)


@pytest.mark.parametrize(
    "text, void",
    [
        (document("ec2:quota-volumenumber", action="ec2:RunInstances"), ""),
        (document("ec2:quota-volumenumber", action=["s3:*", "EC2:Create*"]), ""),
        (document("ec2:quota-volumenumber", action=None, NotAction="s3:*"), ""),
        (
            document("ec2:quota-volumenumber", action="ec2:AttachVolume"),
            "its Action has none of ec2:createvolume, ec2:runinstances",
        ),
        (
            document("ec2:quota-addressnumber", action=None, NotAction="ec2:*"),
            "its Action has none of ec2:allocateaddress",
        ),
        (
            document("ec2:quota-addressnumber", operator="NumericLessThan"),
            "NumericLessThan is no condition of a limit",
        ),
    ],
)
def test_limits_that_limit_nothing(text, void):
    assert [found[2] for found in read(text)] == [void]


@pytest.mark.parametrize(
    "text",
    [
        document("ec2:quota-volumenumber", effect="Allow"),
        '{"Statement": []}',
        "{}",
        '{"Statement": {"Effect": "Deny"}}',
    ],
)
def test_statements_that_are_no_limits(text):
    assert read(text) == []


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", document("ec2:quota-volumenumber", "many"), '{"Statement": [1]}']
)
def test_documents_that_are_not_understood(text):
    with pytest.raises(Failed) as caught:
        read(text)
    assert (caught.value.kind, caught.value.of) == (UNREADABLE, "acme, policy p")


def test_of_several_limits_the_smallest_holds_and_the_accounts_of_the_system_have_none():
    assert euca_quota.is_system("eucalyptus")
    assert euca_quota.is_system("(eucalyptus)loadbalancing")
    assert not euca_quota.is_system("eucalyptus-users")


def test_what_is_promised_is_summed_over_accounts_and_not_over_users():
    quotas = [
        Quota("a", "", "addresses", 6, 1),
        Quota("b", "", "addresses", 4, 1),
        Quota("b", "bob", "addresses", 100, 1),
        Quota("b", "", "volumes", 100, 1),
    ]
    assert euca_quota.promised(quotas, {"addresses": 8.0}) == (Share("addresses", "addresses", 10, 8.0),)


# ---- against a simulated cloud


class Options:
    dialect, cloud, hostname, port, tls, signature = "eucalyptus", None, None, None, False, "4"
    ca_file = fingerprint = insecure = cert = key = None

    def __init__(self, credentials, calls=60):
        self.credentials, self.calls = str(credentials), calls


@pytest.fixture
def demo():
    with Demo(sample(version="4.4.2", zones=1, nodes=2)) as running:
        yield running


@pytest.fixture
def look(demo, tmp_path):
    path = demo.credentials(tmp_path / "admin.ini")

    def looked(calls=60, before=None, shift=0):
        return euca_quota.quotas(Options(path, calls), Run(30.0, before, clock=Clock(shift)))

    return looked


def own(found, resource, tenant="tenant", member=""):
    """What is used of a limit, and its limit."""
    quota = next(q for q in found.quotas if (q.tenant, q.member, q.resource) == (tenant, member, resource))
    return quota.used, quota.limit, quota.floor


def test_use_by_account(demo, look):
    for key, value in (
        ("cputotalsize", "10"),
        ("memorytotalsize", "4096"),
        ("disktotalsize", "100"),
        ("vminstanceactivenumber", "5"),
        ("imagenumber", "3"),
        ("securitygroupnumber", "2"),
        ("vpcnumber", "1"),
    ):
        demo.tell("quota", "tenant", f"ec2:quota-{key}", value)
    demo.tell("instance", resources.identifier("i", "one", 0), "stopped")
    demo.tell("instance", "i-0000dead", "terminated")
    mine = [each for each in resources.things(demo.cloud, resources.Instance).values() if each.owner == "tenant"]
    mine = [each for each in mine if each.state != "terminated"]
    running = [each for each in mine if each.state == "running"]
    sizes = [resources.KINDS[each.kind] for each in running]
    assert len(mine) > len(running) > 0
    found = look()
    assert found.failures == ()
    assert own(found, "instances") == (len(mine), 16, False)
    assert own(found, "instances_active") == (len(running), 5, False)
    assert own(found, "cores") == (sum(size.cpu for size in sizes), 10, False)
    assert own(found, "ram") == (sum(size.memory for size in sizes) * MIB, 4096 * MIB, False)
    assert own(found, "disk") == (sum(size.disk for size in sizes) * GIB, 100 * GIB, False)
    assert own(found, "snapshots") == (2, 20, False)
    assert own(found, "addresses")[1:] == (10, False)
    assert own(found, "images") == (0, 3, False)
    assert own(found, "security_groups") == (1, 2, False)
    assert own(found, "users") == (len(resources.accounts(demo.cloud)["tenant"].users), 20, False)
    assert own(found, "buckets") == (None, 10, False)
    assert found.untold == ("buckets", "vpcs")
    assert {share.of for share in found.promised} == {"addresses", "cores", "ram", "disk"}
    assert next(share.total for share in found.promised if share.of == "cores") == 64


def test_volumes_are_counted_where_their_owner_is_known_and_that_is_said(demo, look):
    """One of three volumes is attached to nothing, and nothing tells whose it is."""
    assert own(look(), "volumes") == (2, 20, True)
    assert own(look(), "volume_size") == (30 * GIB, 200 * GIB, True)
    demo.tell("volume", resources.identifier("vol", "one", 2), "gone")
    assert own(look(), "volumes") == (2, 20, False)


def test_tenants_without_any_limit_and_the_accounts_of_the_system(look):
    found = look()
    assert found.unlimited == ("research",)
    assert (found.tenants, found.exempt) == (2, 8)


def test_limits_of_users_and_groups(demo, look):
    demo.tell("quota", "tenant", "ec2:quota-addressnumber", "2", "user/alice")
    demo.tell("quota", "tenant", "ec2:quota-vminstancenumber", "2", "user/alice")
    demo.tell("quota", "tenant", "ec2:quota-volumetotalsize", "5", "group/developers")
    found = look()
    assert own(found, "addresses", member="alice") == (0, 2, False)  # the addresses are the account's admin's
    assert own(found, "instances", member="alice") == (None, 2, False)
    assert found.voids == (
        Void("group tenant/developers", "limits volume_size to 5 GiB: a limit on a group has no effect"),
    )
    assert "volume_size" in {quota.resource for quota in found.quotas if not quota.member}


def test_only_what_is_limited_is_asked_for(demo, look):
    for key in ("vminstancenumber", "volumenumber", "volumetotalsize", "snapshotnumber"):
        demo.tell("quota", "tenant", f"ec2:quota-{key}", "")
    demo.tell("quota", "tenant", "iam:quota-usernumber", "")
    look()
    asked = {seen.action for seen in demo.requests}
    assert {action for action in asked if action.startswith("Describe")} == {"DescribeAddresses"}
    assert "GetAccountSummary" not in asked


def accounts(demo, number):
    for n in range(number):
        name = f"acme-{n:03d}"
        made = resources.accounts(demo.cloud)[name] = resources.Account(name, f"{500000000000 + n}")
        made.users["admin"] = resources.Member("admin", f"AID{n}")
        demo.tell("quota", name, "ec2:quota-addressnumber", "5")


def test_a_run_asks_for_a_bounded_part_and_the_next_one_goes_on(demo, look):
    accounts(demo, 20)  # each costs four requests: two lists, policies, one policy
    kept, at, rounds = None, 0, 0
    while True:
        before = len(demo.requests)
        found = look(calls=20, before=kept, shift=at)
        spent = [seen for seen in demo.requests[before:] if not seen.action.startswith("Describe")]
        assert len(spent) <= 20 + 12
        kept, at, rounds = json.loads(json.dumps(found.kept)), at + 60, rounds + 1
        if not found.failures:
            break
        assert [failed.kind for failed in found.failures] == [LATE]
        assert rounds < 10
    assert rounds > 3
    assert sum(quota.tenant.startswith("acme") for quota in found.quotas) == 20
    assert found.oldest == pytest.approx((rounds - 1) * 60, abs=5)
    # What changed is seen within a turn.
    demo.tell("quota", "acme-003", "ec2:quota-addressnumber", "1")
    for _ in range(rounds + 1):
        found = look(calls=20, before=kept, shift=at)
        kept, at = json.loads(json.dumps(found.kept)), at + 60
    assert own(found, "addresses", tenant="acme-003")[1] == 1


def test_what_was_not_read_yet_is_said(demo, look):
    accounts(demo, 3)
    found = look(calls=1)
    assert [failed.error for failed in found.failures] == [
        "the limits of account tenant and 3 more were not read yet (4 requests in this run, see --calls)"
    ]
    assert set(found.kept["units"]) == {"account acme-000"}


def test_accounts_that_are_gone_are_forgotten(demo, look):
    accounts(demo, 1)
    kept = look().kept
    assert "account acme-000" in kept["units"]
    del resources.accounts(demo.cloud)["acme-000"]
    assert "account acme-000" not in look(before=kept).kept["units"]


def test_a_policy_that_is_not_understood_stops_nobody_elses(demo, look):
    accounts(demo, 2)
    resources.accounts(demo.cloud)["acme-000"].policies["odd"] = {"Statement": [1]}
    found = look()
    assert [(failed.kind, failed.of) for failed in found.failures] == [(UNREADABLE, "acme-000, policy odd")]
    assert own(found, "addresses", tenant="acme-001") == (0, 5, False)


def test_an_instance_of_a_type_that_is_no_more(demo, look, monkeypatch):
    demo.tell("quota", "tenant", "ec2:quota-cputotalsize", "10")
    monkeypatch.setattr(resources, "TYPES", tuple(kind for kind in resources.TYPES if kind.name != "m1.medium"))
    found = look()
    assert [failed.error for failed in found.failures] == [
        "instances of type m1.medium, which the list does not have: cores, ram and disk are not told"
    ]
    assert own(found, "cores") == (None, 10, False)
    assert own(found, "instances")[0] > 0


def test_use_is_not_told_when_the_instances_could_not_be_listed(demo, look, monkeypatch):
    demo.tell("quota", "tenant", "ec2:quota-cputotalsize", "10")

    def refused(*_):
        raise Failed(NOT_ALLOWED, "", "DescribeInstances", "HTTP 403")

    monkeypatch.setattr(euca_quota.Use, "_instances", refused)
    found = look()
    assert [failed.tried for failed in found.failures] == ["DescribeInstances"]
    assert own(found, "cores") == (None, 10, False)
    assert own(found, "volumes")[0] is None


def test_a_list_of_users_without_the_admin_is_no_list_of_all(demo, look):
    """Who may not see a user gets a list without it (EuareService.listUsers asks for each), and no error."""
    demo.tell("quota", "tenant", "ec2:quota-addressnumber", "2", "user/alice")
    resources.accounts(demo.cloud)["tenant"].users.pop("admin")
    failed = look().failures[0]
    assert (failed.kind, failed.tried, failed.error) == (
        NOT_ALLOWED,
        "ListUsers",
        "the users of account tenant are not listed: admin, whom each has, is not in the list",
    )


def test_a_user_and_a_policy_that_are_deleted_while_a_turn_goes_on(demo, look):
    demo.tell("quota", "tenant", "ec2:quota-addressnumber", "2", "user/alice")
    users = resources.accounts(demo.cloud)["tenant"].users
    kept = look(calls=60).kept
    assert "user tenant/alice" in kept["units"]
    del kept["units"]["user tenant/alice"]
    kept["units"]["account research"]["at"] -= 60  # waits longer than the account tenant, which has the user still
    gone = users.pop("alice")
    found = look(calls=1, before=kept)
    assert found.failures == ()
    assert "alice" not in found.kept["units"]["account tenant"]["users"]
    users["alice"] = gone

    class Vanishing(dict):
        def __contains__(self, name):
            return False

    gone.policies = Vanishing(gone.policies)  # named in the list, and not there when it is asked for
    found = look()
    assert (found.failures, "user tenant/alice" in found.kept["units"]) == ((), True)
