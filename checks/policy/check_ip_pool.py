# SPDX-License-Identifier: Apache-2.0
"""How many public addresses are left?

`--dialect eucalyptus` serves 3.x to 5.x in one request, the verbose list of addresses: an address is free while it belongs to
nobody. What is given to an account counts as used, whether an instance has it or not; how many lie idle is told beside. A user
who may not see all accounts gets a shorter list and no error: that is UNKNOWN, and never an empty or a small pool. A cloud
that is to have no public addresses can't be told from a missing right either, and needs no check of them.
"""

from __future__ import annotations

from nephoscope.plugin import OK, WARNING, Check, Finding, Grant, Metric, Threshold
from nephoscope.probes import cloud, euca_api


def options(add):
    add("--dialect", choices=cloud.DIALECTS, required=True, help="what the cloud speaks")
    add("--range", repeat=True, type=cloud.span, metavar="RANGE", help="where addresses must lie: a network, or A-B")
    euca_api.options(add)


def probe(options, run):
    return cloud.addresses(options, run)


def judge(pools, options):
    yield from pools.failures
    for pool in pools.pools:
        free = pool.total - pool.used
        percent = 100 * pool.used / pool.total if pool.total else None
        yield Metric("used", percent, of=pool.name, detail=f"{free} of {pool.total} free")
        yield Metric("free", free, of=pool.name, least=0, most=pool.total)
        idle = ""
        if pool.idle is not None:
            yield Metric("idle", pool.idle, of=pool.name)
            idle = f", {pool.idle} given and idle"
        for address in pool.strange:
            yield Finding(WARNING, address, f"is in pool {pool.name} and outside of --range")
        yield Finding(OK, "", f"{pool.name}: {free} of {pool.total} addresses free{idle}")


CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http", "cloud"),
    answers=("W14",),
    needs=[Grant(euca_api.right("ec2:Describe*"))],
    thresholds=[
        Threshold("used", "%", "80", "90", main=True, help="share of a pool that is given to somebody"),
        Threshold("free", help="addresses that are left"),
        Threshold("idle", help="addresses that an account has and no instance uses"),
    ],
    runbook="""
By hand, as an administrator of account eucalyptus: `euca-describe-addresses verbose`; free ones read `nobody`.
Nearly used up: instances come up without a public address, or not at all ("Not enough resources available: addresses").
Idle ones first: check_unused_resources names whose they are; `euca-release-address ADDRESS` gives one back. Then more: the
list PublicIps in the property cloud.network.network_configuration (`euctl`), with addresses that are routed to this cloud.
Outside of --range: a typing error in PublicIps, or an old range whose addresses are still given.
""",
)
main = CHECK.main
