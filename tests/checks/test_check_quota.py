# SPDX-License-Identifier: Apache-2.0
"""The judge of check_quota, by equality, and its first lines of a simulated cloud."""

from __future__ import annotations

import pytest
from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.policy.check_quota import CHECK, judge
from nephoscope.demo import Demo, resources, sample
from nephoscope.plugin import OK, WARNING, Finding, Metric
from nephoscope.probes.cloud import Quota, Quotas, Share, Void

from tests.checks.asked_cloud import Asked

RIGHT = (
    "a user of account eucalyptus, or a role of it (4.0+) with "
    '{"Effect":"Allow","Action":["iam:List*","iam:Get*","ec2:Describe*"],"Resource":"*"}'
)

GIB = 1 << 30


def found(quotas, *argv):
    return list(judge(quotas, CHECK.parse("--dialect", "eucalyptus", *argv)))


def test_green():
    quotas = (
        Quota("acme", "", "instances", 16, 4),
        Quota("acme", "", "volume_size", 200 * GIB, 50 * GIB, True),
        Quota("acme", "bob", "addresses", 0, 0),
        Quota("acme", "", "buckets", 10, None),
    )
    promised = (Share("addresses", "addresses", 10, 8),)
    assert found(Quotas(quotas, (), (), 1, 8, promised, 120.0)) == [
        Metric("used", 25.0, of="acme/instances", detail="4 of 16"),
        Metric("used", 25.0, of="acme/volume_size", detail="at least 50 GiB of 200 GiB"),
        Metric("used", 0.0, of="acme/bob/addresses", detail="0 of 0"),
        Metric("unlimited", 0, most=1),
        Metric("oversold", 125.0, of="addresses"),
        Metric("tenants", 1),
        Metric("limits", 4),
        Metric("untold", 1),
        Finding(
            OK,
            "",
            "4 limits of 1 tenant, fullest acme/instances 25 %, use not told: buckets, told in part: volume_size, read within 2 min",
        ),
    ]


def test_voids_the_unlimited_and_what_could_not_be_read():
    failed = Failed(UNREACHABLE, "cloud", "ListUsers", "Connection refused")
    void = Void("group acme/devs", "limits volumes to 5: a limit on a group has no effect")
    assert found(Quotas((), (void,), ("acme", "zed"), 2, failures=(failed,))) == [
        failed,
        Finding(WARNING, "group acme/devs", "limits volumes to 5: a limit on a group has no effect"),
        Metric("unlimited", 2, most=2, detail="acme, zed"),
        Metric("tenants", 2),
        Metric("limits", 0),
        Metric("untold", 0),
        Finding(OK, "", "0 limits of 2 tenants"),
    ]


def test_while_tenants_were_not_read_nobody_counts_as_unlimited():
    assert "unlimited" not in [thing.name for thing in found(Quotas((), (), None, 2)) if isinstance(thing, Metric)]


def test_a_limit_of_nothing_is_full_once_something_is_there():
    assert [Quota("a", "", "volumes", 0, used).percent for used in (0, 1, None)] == [0.0, 100.0, None]


# ---- against a simulated cloud


@pytest.fixture
def asked(tmp_path):
    with Demo(sample(version="4.4.2", zones=1, nodes=2)) as demo:
        demo.tell("quota", "research", "ec2:quota-vminstancenumber", "16")
        yield Asked(demo, tmp_path)


def test_a_cloud_that_is_well(asked):
    assert asked.run(CHECK).line == (
        "QUOTA OK - 8 limits of 2 tenants, fullest tenant/addresses 40 %, use not told: buckets, told in part: volume_size, volumes | used=40%;80;95 "
        "unlimited=0;0;;;2 tenants=2 limits=8 untold=1 addresses_oversold=125%"
    )


def test_a_tenant_close_to_its_limit_and_one_that_reached_it(asked):
    asked.demo.tell("quota", "tenant", "ec2:quota-vminstancenumber", "5")
    assert asked.line(CHECK, "-w", "unlimited=~:") == (
        "QUOTA OK - 8 limits of 2 tenants, fullest tenant/instances 80 %, use not told: buckets, told in part: volume_size, volumes"
    )
    asked.demo.tell("instance", "i-0000beef", "pending")
    assert asked.line(CHECK) == "QUOTA CRITICAL - tenant/instances used 100 % is above 95 % (5 of 5)"
    asked.demo.tell("quota", "tenant", "ec2:quota-vminstancenumber", "6")
    assert asked.line(CHECK) == "QUOTA WARNING - tenant/instances used 83.3 % is above 80 % (5 of 6)"


def test_volumes_are_told_as_at_least(asked):
    asked.demo.tell("quota", "tenant", "ec2:quota-volumetotalsize", "30")
    assert asked.line(CHECK) == (
        "QUOTA CRITICAL - tenant/volume_size used 100 % is above 95 % (at least 30 GiB of 30 GiB)"
    )


def test_a_tenant_without_any_limit(asked):
    asked.demo.tell("quota", "research", "ec2:quota-vminstancenumber", "")
    assert asked.line(CHECK) == "QUOTA WARNING - unlimited 1 is above 0 (research)"
    assert asked.run(CHECK, "-w", "unlimited=1").state == 0


def test_a_limit_on_a_group_has_no_effect_and_is_told(asked):
    asked.demo.tell("quota", "tenant", "ec2:quota-volumenumber", "5", "group/developers")
    assert asked.line(CHECK) == (
        "QUOTA WARNING - group tenant/developers limits volumes to 5: a limit on a group has no effect"
    )


def test_a_limit_whose_action_allocates_nothing_of_it(asked):
    account = resources.accounts(asked.demo.cloud)["research"]
    account.policies["limit-vminstancenumber"]["Statement"][0]["Action"] = "ec2:RebootInstances"
    assert asked.line(CHECK) == (
        "QUOTA WARNING - unlimited 1 is above 0 (research), account research policy limit-vminstancenumber limits"
        " instances to 16: its Action has none of ec2:runinstances"
    )


def test_a_limit_of_a_user_is_held_against_what_is_his(asked):
    asked.demo.tell("quota", "tenant", "ec2:quota-addressnumber", "4", "user/alice")
    assert asked.run(CHECK).state == 0
    for address in resources.things(asked.demo.cloud, resources.Address).values():
        address.user = "alice"
    assert asked.line(CHECK) == "QUOTA CRITICAL - tenant/alice/addresses used 100 % is above 95 % (4 of 4)"


def test_what_was_not_read_yet_is_no_ok(asked):
    assert asked.run(CHECK, "--calls", "1").line == (
        "QUOTA UNKNOWN - the limits of account tenant were not read yet (4 requests in this run, see --calls)"
        " | used=12.5%;80;95 tenants=2 limits=1 untold=0"
    )
    assert asked.line(CHECK, "--calls", "1", shift=60) == (
        "QUOTA UNKNOWN - the limits of user tenant/nobody and 3 more were not read yet (11 requests in this run, see"
        " --calls)"
    )


def test_a_user_who_may_list_accounts_and_not_read_their_policies(asked):
    user = asked.demo.user("monitor")
    asked.demo.cloud.users[user.access] = user._replace(allowed=(*user.allowed, "iam:ListAccounts"))
    text = f"PLACE: HTTP 403: NotAuthorized: Not authorized to ListAccountPolicies by monitor: needs {RIGHT}"
    assert asked.plain(asked.run(CHECK, "-v", user="monitor").text).count(f"[UNKNOWN] {text}\n") == 1
    assert asked.line(CHECK, user="monitor")[:220] == f"QUOTA UNKNOWN - {text}"[:220]


def test_a_user_of_an_account_who_sees_only_that(asked):
    """The admin of an account may list accounts, and gets a list of one."""
    user = asked.demo.user("nobody")
    asked.demo.cloud.users[user.access] = user._replace(allowed=("iam:*", "ec2:*"))
    assert asked.line(CHECK, user="nobody").startswith(
        "QUOTA UNKNOWN - the list of accounts is not of all: eucalyptus is not in it (ListAccounts): needs"
    )


@pytest.mark.parametrize("version", ["3.4.2", "4.1.0", "5.1.0"])
def test_other_versions(version, tmp_path):
    with Demo(sample(version=version, zones=1, nodes=2)) as demo:
        assert Asked(demo, tmp_path).line(CHECK) == "QUOTA WARNING - unlimited 1 is above 0 (research)"
