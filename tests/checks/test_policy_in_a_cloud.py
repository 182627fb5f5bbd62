# SPDX-License-Identifier: Apache-2.0
"""The checks of policy and capacity against a simulated cloud that fails in every documented way: each with its first line."""

from __future__ import annotations

import os
import re
import time

import pytest
from nephoscope.checks.policy import check_cloud_capacity, check_ip_pool, check_quota
from nephoscope.demo import Demo, sample

from tests.checks.asked_cloud import Asked

CHECKS = {
    check_cloud_capacity.CHECK: "DescribeInstanceTypes",
    check_ip_pool.CHECK: "DescribeAddresses",
    check_quota.CHECK: "ListAccounts",
}
FAILURES = {
    "hang": "CRITICAL - PLACE: no answer in 1.0 s (ACTION)",
    "drip": "CRITICAL - PLACE: no answer in 1.0 s (ACTION)",
    "error500": "CRITICAL - PLACE: HTTP 500: An internal error has occurred (ACTION)",
    "cut": "CRITICAL - PLACE: the connection was cut before the answer was whole (ACTION)",
    "garbage": "UNKNOWN - PLACE: the answer is cut or no XML: not well-formed (invalid token): line 1, column 0 (ACTION)",
    "bomb": "UNKNOWN - PLACE: the answer has a document type or entities: refused (ACTION)",
    "html": "UNKNOWN - PLACE: the answer is HTML, not XML: no Eucalyptus there, or a proxy before it (ACTION)",
    "login": "UNKNOWN - PLACE: HTTP 302: redirected to https://sso.example/login, which is no service of a cloud (ACTION)",
    "huge": "UNKNOWN - PLACE: more than 64 MiB (ACTION)",
}


@pytest.fixture(scope="module")
def demo():
    with Demo(sample(version="4.4.2", zones=1, nodes=2)) as running:
        yield running


@pytest.fixture
def asked(demo, tmp_path):
    return Asked(demo, tmp_path)


@pytest.fixture(params=CHECKS, ids=lambda check: check.name)
def check(request):
    return request.param


@pytest.fixture(params=FAILURES)
def failure(request, demo):
    for host in ("clc", "ufs"):
        if host in demo.cloud.hosts:
            demo.tell(request.param, host)
    yield request.param
    for host in ("clc", "ufs"):
        if host in demo.cloud.hosts:
            demo.tell("heal", host)


def test_a_cloud_that_fails(asked, check, failure):
    begun = time.monotonic()
    line = re.sub(r"0\.\d s", "1.0 s", asked.line(check, "-t", "2"))  # loading the client is part of the deadline
    assert line == f"{check.title} {FAILURES[failure].replace('ACTION', CHECKS[check])}"
    assert time.monotonic() - begun < 2.5


def test_a_cloud_that_is_down(asked, check):
    asked.demo.tell("stop", "clc")
    try:
        assert asked.line(check) == f"{check.title} CRITICAL - PLACE: Connection refused ({CHECKS[check]})"
        line = asked.line(check, "--unreachable-state", "unknown")
        assert line == f"{check.title} UNKNOWN - PLACE: Connection refused ({CHECKS[check]})"
    finally:
        asked.demo.tell("start", "clc")


def test_a_clock_that_is_a_minute_ahead_is_no_bad_key(asked, check):
    asked.demo.tell("skew", -60)
    try:
        line = asked.line(check)
    finally:
        asked.demo.tell("skew", 0)
    assert line.startswith(f"{check.title} UNKNOWN - PLACE: the clocks differ: this host's ")
    assert " ahead of the server's" in line
    assert "ec2:Describe" not in line


def test_a_key_that_is_wrong(asked, check):
    path = asked.folder / "wrong.ini"
    asked.demo.credentials(path)
    path.write_text(path.read_text().replace("secret-key = ", "secret-key = x"))
    line = asked.plain(check.run(["--dialect", "eucalyptus", "--credentials", str(path)]).line)
    assert line.startswith(f"{check.title} UNKNOWN - PLACE: HTTP 403: Signature validation failed ({CHECKS[check]})")


def test_keys_that_others_can_read(asked, check):
    path = asked.folder / "open.ini"
    asked.demo.credentials(path)
    os.chmod(path, 0o644)
    line = asked.plain(check.run(["--dialect", "eucalyptus", "--credentials", str(path)]).line)
    assert line.startswith(f"{check.title} UNKNOWN - FOLDER/open.ini: ")
    assert "chmod 600" in line


WHO = "a user of account eucalyptus, or a role of it (4.0+) with "
DENIED = "HTTP 403: UnauthorizedOperation"
RIGHTS = {
    check_cloud_capacity.CHECK: f"PLACE: {DENIED} (DescribeInstanceTypes): needs {WHO}"
    '{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}',
    check_ip_pool.CHECK: f"PLACE: {DENIED} (DescribeAddresses): needs {WHO}"
    '{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}',
    check_quota.CHECK: f"PLACE: HTTP 403: NotAuthorized: Not authorized to list accounts (ListAccounts): needs {WHO}"
    '{"Effect":"Allow","Action":["iam:List*","iam:Get*","ec2:Describe*"],"Resource":"*"}',
}
FEW = {
    check_cloud_capacity.CHECK: "PLACE: HTTP 400: AuthFailure: Not permitted to access availability (DescribeInstanceTypes): "
    f"needs {WHO}"
    '{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}',
    check_ip_pool.CHECK: "the list of addresses is empty: no right to see it, or the cloud has no public addresses "
    f"(DescribeAddresses verbose): needs {WHO}"
    '{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}',
    check_quota.CHECK: "the list of accounts is not of all: eucalyptus is not in it (ListAccounts): "
    f"needs {WHO}"
    '{"Effect":"Allow","Action":["iam:List*","iam:Get*","ec2:Describe*"],"Resource":"*"}',
}


@pytest.mark.parametrize("user, said", [("nobody", RIGHTS), ("owner", FEW)])
def test_a_user_without_rights_is_told_the_statement_that_grants_them(asked, check, user, said):
    """Upstream's scripts took the short list of such a user for the whole cloud, and its emptiness for OK."""
    line, text = asked.line(check, user=user), said[check]
    place = max(
        len(host.address) for host in asked.demo.cloud.hosts.values()
    )  # stands for PLACE, and is cut with the rest
    assert line[: 230 - place] == f"{check.title} UNKNOWN - {text}"[: 230 - place]
    assert text in asked.plain(asked.run(check, "-v", user=user).text)


def test_what_it_needs_and_no_more(asked):
    """The policy of the documentation suffices for all but quotas."""
    for check in (check_cloud_capacity.CHECK, check_ip_pool.CHECK):
        assert asked.run(check, user="monitor").state == 0
