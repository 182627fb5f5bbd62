# SPDX-License-Identifier: Apache-2.0
"""The judge of check_ip_pool, by equality."""

from __future__ import annotations

from nephoscope.base import UNREACHABLE, Failed
from nephoscope.checks.policy.check_ip_pool import CHECK, judge
from nephoscope.plugin import OK, WARNING, Finding, Metric
from nephoscope.probes.cloud import Pool, Pools


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
