# SPDX-License-Identifier: Apache-2.0
"""The judge of check_ip_pool, by equality."""

from __future__ import annotations

import pytest
from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.policy.check_ip_pool import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import OK, WARNING, Finding, Metric
from nephoscope.probes.cloud import Pool, Pools

from tests.checks.asked_cloud import Asked


def found(pools, *argv):
    return list(judge(pools, CHECK.parse("--dialect", "eucalyptus", *argv)))


def test_green():
    assert found(Pools((Pool("public", 3, 8, 1),))) == [
        Metric("used", 37.5, of="public", detail="5 of 8 free"),
        Metric("free", 5, of="public", least=0, most=8),
        Metric("idle", 1, of="public"),
        Finding(OK, "", "public: 5 of 8 addresses free, 1 given and idle"),
    ]


def test_a_pool_of_nothing_is_not_measured_and_what_is_idle_may_be_untold():
    failed = Failed(UNREACHABLE, "cloud", "ask", "Connection refused")
    assert found(Pools((Pool("public", 0, 0),), (failed,))) == [
        failed,
        Metric("used", None, of="public", detail="0 of 0 free"),
        Metric("free", 0, of="public", least=0, most=0),
        Finding(OK, "", "public: 0 of 0 addresses free"),
    ]


def test_addresses_outside_of_the_range():
    assert Finding(WARNING, "192.0.2.9", "is in pool public and outside of --range") in found(
        Pools((Pool("public", 0, 1, 0, ("192.0.2.9",)),))
    )


@pytest.fixture
def asked(tmp_path):
    with Demo(sample(version="4.4.2", zones=1, nodes=2)) as demo:
        yield Asked(demo, tmp_path)


def test_a_pool_that_is_well(asked):
    outcome = asked.run(CHECK)
    assert outcome.line == (
        "IP_POOL OK - public: 3 of 8 addresses free, 1 given and idle"
        " | public_free=3;;;0;8 public_idle=1 public_used=62.5%;80;90"
    )
    assert asked.actions() == ["DescribeAddresses"]


def test_a_pool_that_runs_out(asked):
    asked.demo.tell("address", "198.51.100.15", "research")
    asked.demo.tell("address", "198.51.100.16", "research")
    assert asked.line(CHECK) == "IP_POOL WARNING - public used 87.5 % is above 80 % (1 of 8 free)"
    asked.demo.tell("address", "198.51.100.17", "research")
    assert asked.line(CHECK) == "IP_POOL CRITICAL - public used 100 % is above 90 % (0 of 8 free)"
    assert asked.line(CHECK, "-c", "used=~:", "-w", "used=~:", "-c", "free=3:") == (
        "IP_POOL CRITICAL - public free 0 is below 3"
    )


def test_addresses_outside_of_a_range_that_is_given(asked):
    assert asked.line(CHECK, "--range", "198.51.100.0/24") == (
        "IP_POOL OK - public: 3 of 8 addresses free, 1 given and idle"
    )
    assert asked.line(CHECK, "--range", "198.51.100.10-198.51.100.16") == (
        "IP_POOL WARNING - 198.51.100.17 is in pool public and outside of --range"
    )
    assert asked.line(CHECK, "--range", "198.51.100.10-") == (
        "IP_POOL UNKNOWN - option --range: '198.51.100.10-' is no range of addresses like 192.0.2.0/24 or"
        " 192.0.2.10-192.0.2.20"
    )


@pytest.mark.parametrize("version", ["3.4.2", "4.1.0", "5.1.0"])
def test_other_versions(version, tmp_path):
    with Demo(sample(version=version, zones=1, nodes=2)) as demo:
        asked = Asked(demo, tmp_path)
        assert asked.line(CHECK) == "IP_POOL OK - public: 3 of 8 addresses free, 1 given and idle"
