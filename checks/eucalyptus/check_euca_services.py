# SPDX-License-Identifier: Apache-2.0
"""Does every registered service of the cloud, seen from every host, hold the state that is expected of it?

For Eucalyptus 3.1 to 5.x, which it need not tell apart: DescribeServices is read by its local names, the same in all of
them. It asks the host of -H (the CLC; before 4.4 each host has a view of its own) or of the profile, once, and each host
of `--views` once more. What should exist comes from `--topology FILE` and `--expect`; without them only a service that was
there and vanished is missed. Nodes are counted; check_euca_nodes judges them. With `--heartbeat` nothing is signed: the
hosts of the topology are asked what serves on them, whatever -H names.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, BadOption, Check, Finding, Grant, Metric, Threshold
from nephoscope.plugin.options import duration, expect
from nephoscope.plugin.text import human
from nephoscope.probes import euca_api, euca_services

WORDS = {
    "serves": OK,
    "standby": OK,
    "starting": WARNING,
    "worker": WARNING,
    "lessened": WARNING,
    "unserved": CRITICAL,
    "split": CRITICAL,
    "unknown": UNKNOWN,
}


def options(add):
    add("--topology", metavar="FILE", help="what should exist, by zone and host (TOML); absence is CRITICAL")
    add("--expect", repeat=True, type=expect, metavar="TYPE[=N]", help="at least N ENABLED of a type, or of TYPE_ZONE")
    add("--standby", repeat=True, metavar="NAME", help="a service for which DISABLED is right")
    add("--views", repeat=True, metavar="HOST", help="ask this address, too, and compare; all: every host with a JVM")
    add("--heartbeat", flag=True, help="ask the hosts of --topology for their Heartbeat, without credentials")
    add("--remember", type=duration, default=86400.0, looks=False, help="how long a service that vanished is missed")
    euca_api.options(add)


def probe(options, run):
    if options.heartbeat and (options.views or not options.topology):
        raise BadOption("--heartbeat asks the hosts of --topology: give that, and no --views")
    return euca_services.look(run, options)


def judge(cloud, options):
    yield from cloud.failures
    yield from (Finding(WORDS[kind], of, text) for of, kind, text in cloud.standings())
    for of, where in cloud.missing.items():
        yield Finding(CRITICAL, of, f"is missing: it should be {where}")
    for of, seconds in cloud.vanished.items():
        yield Finding(WARNING, of, f"is no longer listed, it was {human(seconds, 's')} ago")
    for of, said in cloud.split.items():
        yield Finding(CRITICAL, of, f"is {said}: split view")
    yield from (Finding(WORDS[kind], name, text) for name, kind, text in cloud.met(options.expect))
    if not options.heartbeat:  # which has no word for these states
        yield from (Metric("starting", seconds, of) for of, seconds in (cloud.starting or {"": 0.0}).items())
        yield from (Metric(name, cloud.count(name)) for name in ("broken", "notready"))
    yield Metric("views", cloud.views)
    yield from (Metric("enabled", count, group) for group, count in cloud.numbers.items())
    yield Finding(OK if cloud.looked else UNKNOWN, "", cloud.summary)


CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http", "cloud"),
    needs=[Grant(euca_api.right("euserv:Describe*"))],
    keep=lambda cloud: cloud.kept,
    thresholds=[
        Threshold("starting", "s", None, "600", print="worst", help="how long a service is LOADED or on its way there"),
        Threshold("broken", help="services that are BROKEN"),
        Threshold("notready", help="services that are NOTREADY"),
        Threshold("views", help="hosts that told their view"),
        Threshold("enabled", main=True, help="ENABLED services of a type, of a zone where the type belongs to one"),
    ],
    runbook="""
By hand: `euserv-describe-services -a` on the CLC (before 4.2 `euca-describe-services -A -E`), `--show-events` for the reasons;
`curl http://HOST:8773/services/Heartbeat` shows what runs on one host. Bottom first: the CLC's database, the CLC, Walrus or
the provider, then storage and cluster, then the user services.
NOTREADY everywhere at once: the CLC or its database is overloaded or lost its network; do not restart the others.
BROKEN storage: `euctl ZONE.storage.blockstoragemanager=...` was never set, or names a back-end that can't be reached.
BROKEN or DISABLED objectstorage: `euctl objectstorage.providerclient`, then reach its provider from that host by hand.
LOADED for long: cloud-output.log of its host; a storage or cluster that starts before the CLC waits for three minutes.
Redundancy lost: mend the one that is down before anybody touches the other. A split pair: both write; stop one NOW, the one
with the older data. Split view: hosts do not hear each other (multicast, firewall, clocks); after a change it may pass in 20 s.
Missing: deregistered on purpose? Then mend the topology file. STOPPED: ask who did it, `euserv-modify-service -s enable NAME`.
A worker that nobody wants: `--exclude imagingbackend`.
""",
)
main = CHECK.main
