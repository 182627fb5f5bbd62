# SPDX-License-Identifier: Apache-2.0
"""How many node controllers are enabled in each zone, and which are not?

For Eucalyptus 3.4 to 5.x one DescribeServices of the nodes; where that lists none, or the topology file says an older version,
DescribeNodes of the Configuration service. A node that its cluster controller no longer reports vanishes from the list after
ten minutes, and so do all of a zone whose controller is silent: what `--topology FILE` names is missed at once, what earlier
runs saw is missed for `--remember`. Counts are of the nodes that `--include` and `--exclude` (ZONE/NODE) leave in.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Grant, Metric, Threshold
from nephoscope.plugin.options import duration
from nephoscope.plugin.text import human
from nephoscope.probes import euca_api, euca_nodes

DOWN = ("NOTREADY", "STOPPED", "DISABLED", "BROKEN", "BUGGY", "LOADED", "INITIALIZED", "PRIMORDIAL")


def options(add):
    add("--topology", metavar="FILE", help="the nodes that each zone should have, by address or number (TOML)")
    add("--instances", flag=True, help="count the instances on each node, too: two more requests, as an administrator")
    add("--remember", type=duration, default=86400.0, looks=False, help="how long a node that vanished is missed")
    euca_api.options(add)


def probe(options, run):
    return euca_nodes.look(run, options)


def judge(nodes, options):
    yield from nodes.failures
    for zone in nodes.zones:
        for node in zone.nodes:
            yield Finding(*_state(node))
            if node.instances is not None:
                yield Metric("instances", node.instances, node.of)
        for name in zone.missing:
            yield Finding(
                CRITICAL, f"{zone.name}/{name}", "is missing: the topology has it, the cloud does not list it"
            )
        if zone.lacking:
            planned = len(zone.nodes) + len(zone.vanished) + zone.lacking
            yield Finding(CRITICAL, zone.name, f"lists {len(zone.nodes)} of the {planned} nodes that it should have")
        for name, seconds in zone.vanished.items():
            yield Finding(
                WARNING, f"{zone.name}/{name}", f"vanished from the list, it was there {human(seconds, 's')} ago"
            )
        everyone = zone.enabled + zone.not_enabled
        yield Metric("enabled", zone.enabled, zone.name)
        yield Metric("not_enabled", zone.not_enabled, zone.name)
        yield Metric("not_enabled_share", 100 * zone.not_enabled / everyone if everyone else 0.0, zone.name)
    yield Finding(OK, "", nodes.summary)


def _state(node):
    """Return state, name and words of one node."""
    there = f", {node.instances} instances on it" if node.instances else ""
    if node.state == "ENABLED":
        return OK, node.of, "is ENABLED" + ("" if node.planned else ", and not in the topology") + there
    text = f"is {node.state}{there}" + (f": {node.message}" if node.message else "")
    if node.state in DOWN or node.state.startswith("n/a"):
        return WARNING, node.of, text
    return UNKNOWN, node.of, f"is in a state that is not understood: '{node.state}'{there}"


CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    uses=("http", "cloud"),
    needs=[Grant(euca_api.right("euserv:Describe*", "ec2:Describe*"))],
    keep=lambda nodes: nodes.kept,
    answers=("W26",),
    thresholds=[
        Threshold("enabled", "", None, "1:", help="nodes of a zone that are ENABLED"),
        Threshold(
            "not_enabled", help="nodes of a zone that are not, missing ones included; each is a WARNING by itself"
        ),
        Threshold("not_enabled_share", "%", None, "10", main=True, help="how many of a zone's nodes that is"),
        Threshold("instances", print="worst", help="instances on one node (--instances)"),
    ],
    runbook="""
By hand: `euserv-describe-node-controllers`, in 3.x `euca-describe-nodes`; `curl http://NODE:8775/axis2/services` from its CC.
NOTREADY, "not responding to the cluster controller": check_euca_nc on the node (is httpd there, does libvirt answer, is the
clock right), then the way from the CC to port 8775. A message of the node's own: nc.log on the node says more.
A whole zone is missing or not enabled: look at its cluster controller first (check_euca_cc), the nodes may be well.
STOPPED: somebody put it into maintenance (`euserv-modify-service -s start NODE` ends it). `--exclude ZONE/NODE` while it lasts.
Vanished and gone for good: it is forgotten after --remember. Else it is as NOTREADY, for longer than ten minutes: its guests
may run on without anybody seeing them, and the cloud counts them as running for months.
""",
)
main = CHECK.main
